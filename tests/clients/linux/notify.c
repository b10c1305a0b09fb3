// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A kernel module that gets notifications from a partition (tests/partitions/src/bin/signaller.rs) by Linux's own FF-A
 * driver, and signals one to it. It asks the partition by direct messages, and prints what the driver calls back with:
 * tests/clients/linux/init looks for these lines.
 */
#define pr_fmt(format) KBUILD_MODNAME ": " format

#include <linux/arm_ffa.h>
#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/module.h>

/* Notifications of the partition: one in each half of the bitmap. */
#define GLOBAL 5
#define PER_VCPU 37
/* The framework's: the RX buffer is full. */
#define RX_FULL 0
/* The notification of the normal world that the partition has bound. */
#define TO_PARTITION 3

/* What the partition does when it is asked. */
enum ask { SIGNAL = 1, SEND = 2, TELL = 3 };
#define FLAG_PER_VCPU 1UL
#define FLAG_DELAY_SRI 2UL

static const struct ffa_device_id partitions[] = {
	{ UUID_INIT(0x1f4c9b70, 0x5d2e, 0x4a83, 0x9c, 0x61, 0x0e, 0x77, 0xb8, 0x32, 0xd4, 0x15) },
	{}
};

static struct ffa_device *device;
static DECLARE_COMPLETION(called);

static void on_global(int id, void *data)
{
	pr_info("notification %d\n", id);
	complete(&called);
}

static void on_vcpu(int id, void *data)
{
	pr_info("notification %d of vCPU %u\n", id, raw_smp_processor_id());
	complete(&called);
}

static void on_message(int id, void *data, void *message)
{
	pr_info("RX full (%d): %.8s\n", id, (char *)message);
	complete(&called);
}

static void on_schedule(u16 vcpu, bool per_vcpu, void *data)
{
	pr_info("partition is to be scheduled: vCPU %u, %s\n", vcpu, per_vcpu ? "alone" : "or another");
	complete(&called);
}

/*
 * Has the partition do something; 0, or what it or the driver says is wrong. The schedule receiver interrupt preempts the
 * partition, and the driver goes on with FFA_RUN on whatever core it is then: that has to be the same one.
 */
static int ask(enum ask what, unsigned long first, unsigned long second, unsigned long third, unsigned long *answer)
{
	struct ffa_send_direct_data data = { what, first, second, third };
	int status;

	migrate_disable();
	status = device->ops->msg_ops->sync_send_receive(device, &data);
	migrate_enable();
	if (answer)
		*answer = data.data1;
	return status ?: (int)data.data0;
}

/* Waits for the callback of what the last call led to. */
static void expect(const char *what, int status)
{
	if (status)
		pr_err("%s: status %d\n", what, status);
	else if (!wait_for_completion_timeout(&called, HZ))
		pr_err("%s: no callback within a second\n", what);
}

static void try_all(void)
{
	const struct ffa_notifier_ops *ops = device->ops->notifier_ops;
	unsigned long text, uuid[2], pending = 0;
	unsigned int cpu;
	int status;

	expect("global", ask(SIGNAL, 0, BIT(GLOBAL), 0, NULL));
	expect("global, delayed", ask(SIGNAL, FLAG_DELAY_SRI, BIT(GLOBAL), 0, NULL));
	for_each_online_cpu(cpu)
		expect("per vCPU", ask(SIGNAL, FLAG_PER_VCPU | (unsigned long)cpu << 16, BIT(PER_VCPU), 0, NULL));

	memcpy(&text, "bulkhead", sizeof(text));
	memcpy(uuid, &device->uuid, sizeof(uuid));
	expect("message", ask(SEND, text, uuid[0], uuid[1], NULL));

	expect("to the partition", ops->notify_send(device, TO_PARTITION, false, 0));
	status = ask(TELL, 0, 0, 0, &pending);
	pr_info("partition got %#lx, status %d\n", pending, status);
}

static int probe(struct ffa_device *found)
{
	const struct ffa_notifier_ops *ops = found->ops->notifier_ops;
	int global = ops->notify_request(found, false, on_global, NULL, GLOBAL);
	int vcpu = ops->notify_request(found, true, on_vcpu, NULL, PER_VCPU);
	int message = ops->fwk_notify_request(found, on_message, NULL, RX_FULL);
	int schedule = ops->sched_recv_cb_register(found, on_schedule, NULL);

	pr_info("requested: global %d, per vCPU %d, RX full %d, scheduling %d\n", global, vcpu, message, schedule);
	device = found;
	return 0;
}

static void remove(struct ffa_device *lost)
{
	const struct ffa_notifier_ops *ops = lost->ops->notifier_ops;
	int schedule = ops->sched_recv_cb_unregister(lost);
	int message = ops->fwk_notify_relinquish(lost, RX_FULL);
	int vcpu = ops->notify_relinquish(lost, PER_VCPU);
	int global = ops->notify_relinquish(lost, GLOBAL);

	pr_info("relinquished: global %d, per vCPU %d, RX full %d, scheduling %d\n", global, vcpu, message, schedule);
}

static struct ffa_driver driver = {
	.name = KBUILD_MODNAME,
	.probe = probe,
	.remove = remove,
	.id_table = partitions,
};

static int __init notify_init(void)
{
	int status = ffa_register(&driver);

	if (status)
		return status;
	if (!device) {
		ffa_unregister(&driver);
		return -ENODEV;
	}
	try_all();
	return 0;
}

static void __exit notify_exit(void)
{
	ffa_unregister(&driver);
}

module_init(notify_init);
module_exit(notify_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("Notifications from a partition and to it, for a test of Bulkhead");
