// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A kernel module that has each core of Linux send direct messages to partitions, because Linux has no call by which a
 * program could. It is a driver of Linux's own FF-A bus, for the three partitions of manifests/qemu-virt/linux-kvm:
 *
 * - a thread of each core asks `signalled`, which any interrupt of the normal world preempts;
 * - a timer of each core asks `queued` inside its interrupt, where nothing of a guest's state that KVM left in the
 *   core's registers has been put away. An interrupt cannot preempt that partition, or the call would never return:
 *   the interrupt would still be pending at each FFA_RUN;
 * - `storm` (tests/partitions/src/bin/ticker.rs) has a timer on each core, which fires every storm_us microseconds
 *   whatever the core does. The thread starts it, and asks each time how many ticks came.
 *
 * The first two invert what they get. Each parameter of the module but the first two is read only, and a list with a
 * number for each core: how many answers were right, and how many were not; and how often the storm's timer has fired.
 */
#define pr_fmt(format) KBUILD_MODNAME ": " format

#include <linux/arm_ffa.h>
#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/kthread.h>
#include <linux/module.h>

#define CORES 8

static unsigned int period_us = 2000;
module_param(period_us, uint, 0444);
MODULE_PARM_DESC(period_us, "microseconds from one message of a core to its next one of that kind");

static unsigned int storm_us = 200;
module_param(storm_us, uint, 0444);
MODULE_PARM_DESC(storm_us, "microseconds from one interrupt of a core's storm to the next one");

static unsigned long storm_ticks[CORES], storm_wrong[CORES];
module_param_array(storm_ticks, ulong, NULL, 0444);
module_param_array(storm_wrong, ulong, NULL, 0444);
static unsigned long thread_right[CORES], thread_wrong[CORES], timer_right[CORES], timer_wrong[CORES];
module_param_array(thread_right, ulong, NULL, 0444);
module_param_array(thread_wrong, ulong, NULL, 0444);
module_param_array(timer_right, ulong, NULL, 0444);
module_param_array(timer_wrong, ulong, NULL, 0444);

enum kind { THREAD, TIMER, STORM, KINDS };

static const struct ffa_device_id partitions[] = {
	[THREAD] = { UUID_INIT(0x5e40d2a1, 0x7b1c, 0x4c0e, 0x9f, 0x37, 0x61, 0xd2, 0x0b, 0x8e, 0x45, 0x9a) },
	[TIMER] = { UUID_INIT(0xb3c96f18, 0x24ad, 0x4e75, 0x86, 0x0a, 0xc7, 0x19, 0x5d, 0xf0, 0x3e, 0x62) },
	[STORM] = { UUID_INIT(0xe19b7d40, 0x62c5, 0x4f38, 0x9a, 0xd1, 0x8c, 0x30, 0xf5, 0x42, 0x7b, 0xe6) },
	{}
};

/* What the partition of the storm does when it is asked, and the answer. */
enum ask { START = 1, TELL = 2, STOP = 4 };
struct told {
	unsigned long ticks, missed, stray, latest, elapsed;
};

static struct ffa_device *devices[KINDS];
static struct task_struct *threads[CORES];
static struct hrtimer timers[CORES];

/* Sends a message that no other was like, and checks that each register of the answer is inverted. */
static bool ask(enum kind kind, unsigned int cpu, unsigned long number)
{
	struct ffa_device *device = devices[kind];
	unsigned long seed = (number * 2 + kind) * CORES + cpu;
	struct ffa_send_direct_data data;
	unsigned long sent[5];
	int status, i;

	for (i = 0; i < 5; i++)
		sent[i] = (seed * 8 + i + 1) * 0x9e3779b97f4a7c15UL;
	memcpy(&data, sent, sizeof(sent));
	status = device->ops->msg_ops->sync_send_receive(device, &data);
	for (i = 0; i < 5 && !status; i++)
		if (((unsigned long *)&data)[i] != ~sent[i])
			status = 1;
	if (status)
		pr_err_once("core %u, %s, message %lu: status %d, %lx %lx %lx %lx %lx instead of %lx %lx %lx %lx %lx\n",
			    cpu, kind == THREAD ? "thread" : "timer", number, status, data.data0, data.data1,
			    data.data2, data.data3, data.data4, ~sent[0], ~sent[1], ~sent[2], ~sent[3], ~sent[4]);
	return !status;
}

/*
 * Asks the storm of this core how it goes: each tick came, or was due when the one before it came, and nothing else did.
 * The last one may be on its way.
 */
static void ask_storm(enum ask what, unsigned int cpu)
{
	struct ffa_send_direct_data data = { what, storm_us, 0 };
	struct ffa_device *device = devices[STORM];
	u64 period = div_u64(read_sysreg(cntfrq_el0) * storm_us, USEC_PER_SEC), due;
	struct told told;
	int status = device->ops->msg_ops->sync_send_receive(device, &data);

	memcpy(&told, &data, sizeof(told));
	due = div64_u64(told.elapsed, period);
	if (status || told.stray || told.ticks + told.missed + 1 < due) {
		storm_wrong[cpu]++;
		pr_err_once("core %u, storm: status %d, %lu ticks, %lu missed, %lu stray in %lu of %llu\n", cpu, status,
			    told.ticks, told.missed, told.stray, told.elapsed, period);
	} else {
		storm_ticks[cpu] = told.ticks;
	}
}

static int thread(void *unused)
{
	unsigned int cpu = raw_smp_processor_id();

	ask_storm(START, cpu);
	while (!kthread_should_stop()) {
		if (ask(THREAD, cpu, thread_right[cpu] + thread_wrong[cpu]))
			thread_right[cpu]++;
		else
			thread_wrong[cpu]++;
		ask_storm(TELL, cpu);
		usleep_range(period_us, period_us);
	}
	ask_storm(STOP, cpu);
	return 0;
}

static enum hrtimer_restart timer(struct hrtimer *hrtimer)
{
	unsigned int cpu = hrtimer - timers;

	if (ask(TIMER, cpu, timer_right[cpu] + timer_wrong[cpu]))
		timer_right[cpu]++;
	else
		timer_wrong[cpu]++;
	hrtimer_forward_now(hrtimer, us_to_ktime(period_us));
	return HRTIMER_RESTART;
}

static void start_timer(void *unused)
{
	hrtimer_start(&timers[raw_smp_processor_id()], us_to_ktime(period_us), HRTIMER_MODE_REL_PINNED_HARD);
}

static void stop(void)
{
	unsigned int cpu;

	for (cpu = 0; cpu < CORES; cpu++) {
		if (!threads[cpu])
			continue;
		hrtimer_cancel(&timers[cpu]);
		kthread_stop(threads[cpu]);
		threads[cpu] = NULL;
	}
}

static int start(void)
{
	unsigned int cpu;

	for_each_online_cpu(cpu) {
		struct task_struct *new;

		if (cpu >= CORES)
			break;
		new = kthread_create_on_cpu(thread, NULL, cpu, "messages/%u");
		if (IS_ERR(new))
			return PTR_ERR(new);
		threads[cpu] = new;
		hrtimer_setup(&timers[cpu], timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
		wake_up_process(new);
		smp_call_function_single(cpu, start_timer, NULL, 1);
	}
	return 0;
}

static int probe(struct ffa_device *device)
{
	enum kind kind;

	for (kind = 0; kind < KINDS; kind++)
		if (uuid_equal(&device->uuid, &partitions[kind].uuid))
			devices[kind] = device;
	return 0;
}

static struct ffa_driver driver = {
	.name = KBUILD_MODNAME,
	.probe = probe,
	.id_table = partitions,
};

static int __init messages_init(void)
{
	int status = ffa_register(&driver);

	if (status)
		return status;
	status = devices[THREAD] && devices[TIMER] && devices[STORM] ? start() : -ENODEV;
	if (status) {
		stop();
		ffa_unregister(&driver);
	}
	return status;
}

static void __exit messages_exit(void)
{
	stop();
	ffa_unregister(&driver);
}

module_init(messages_init);
module_exit(messages_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("Direct messages from every core, for a test of Bulkhead");
