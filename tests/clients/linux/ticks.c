// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A kernel module that has the timers of two partitions tick (tests/partitions/src/bin/ticker.rs) beside Linux's own for
 * as long as it is told to. Each partition has one execution context, which is asked on one core after the other, and so
 * takes its timer along. It prints what it found: tests/clients/linux/init looks at the numbers of these lines.
 *
 * Then each partition is asked to answer only after some more ticks: it executes WFI inside the direct request, which ends
 * with FFA_YIELD. The driver sleeps for a millisecond then, whatever time the partition asks for, and goes on with FFA_RUN.
 */
#define pr_fmt(format) KBUILD_MODNAME ": " format

#include <linux/arm_ffa.h>
#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/timex.h>

static unsigned int seconds = 60;
module_param(seconds, uint, 0444);
MODULE_PARM_DESC(seconds, "for how long the timers tick");

/* Between two looks at both partitions. */
#define LOOK_MS 50
/* So often a partition waits for so many ticks inside a request. */
#define WAITS 20
#define WAIT_TICKS 3
/* So often it is asked at most. */
#define MOST_TRIES 1000

/* What a partition does when it is asked, and the answer. */
enum ask { START = 1, TELL = 2, WAIT = 3, STOP = 4 };
struct told {
	unsigned long ticks, missed, stray, latest, elapsed;
};

static struct ticker {
	const char *name;
	struct ffa_device_id id;
	/* From one tick to the next, and which timer. */
	unsigned long microseconds, which;
	struct ffa_device *device;
	/* The counter before it was asked to start, and the last answer. */
	u64 start;
	struct told told;
	/* So many answers were none, or had not all ticks that were due. */
	unsigned int unanswered, uncounted;
	/* How often it had to be asked again. */
	unsigned int busy;
} tickers[] = {
	{ "physical", { UUID_INIT(0x6d1c0f52, 0x8e47, 0x4b93, 0xa1, 0xd5, 0x27, 0xf0, 0xc9, 0x3e, 0x8b, 0x64) }, 10000, 0 },
	{ "virtual", { UUID_INIT(0xc8254e1b, 0x39f7, 0x4d0a, 0xb6, 0xc2, 0x50, 0xe1, 0x87, 0x4f, 0xd9, 0x3a) }, 7000, 1 },
};
#define TICKERS ARRAY_SIZE(tickers)

static struct ffa_device_id partitions[TICKERS + 1];

static u64 frequency(void)
{
	return read_sysreg(cntfrq_el0);
}

static u64 period(const struct ticker *ticker)
{
	return div_u64(frequency() * ticker->microseconds, USEC_PER_SEC);
}

static s64 nanoseconds(s64 cycles)
{
	return div_s64(cycles * USEC_PER_SEC, frequency() / MSEC_PER_SEC);
}

static void ask(struct ticker *ticker, enum ask what, unsigned long first, unsigned long second)
{
	struct ffa_send_direct_data data;
	unsigned int tries = 0;
	int status;
	u64 due;

	/* FFA_RUN has to follow on the same core. The partition is busy while it handles a tick on another one. */
	migrate_disable();
	do {
		data = (struct ffa_send_direct_data){ what, first, second };
		status = ticker->device->ops->msg_ops->sync_send_receive(ticker->device, &data);
	} while (status == -EBUSY && ++tries < MOST_TRIES);
	migrate_enable();
	ticker->busy += tries;
	if (status) {
		ticker->unanswered++;
		return;
	}
	memcpy(&ticker->told, &data, sizeof(ticker->told));
	/* The last one may be on its way. */
	due = div64_u64(ticker->told.elapsed, period(ticker));
	ticker->uncounted += ticker->told.ticks + ticker->told.missed + 1 < due;
}

/* Goes on on another core. */
static void move(unsigned int turn)
{
	unsigned int cpu = cpumask_nth(turn % num_online_cpus(), cpu_online_mask);

	set_cpus_allowed_ptr(current, cpumask_of(cpu));
}

/* Has it wait. The driver may sleep for longer than from one tick to the next: that is no fault of the timer's. */
static void await(struct ticker *ticker)
{
	unsigned int turn, early = 0, awake = 0;

	ask(ticker, START, ticker->microseconds, ticker->which);
	for (turn = 0; turn < WAITS; turn++) {
		unsigned long before = ticker->told.ticks, slept = current->nvcsw;

		move(turn);
		ask(ticker, WAIT, WAIT_TICKS, 0);
		early += ticker->told.ticks < before + WAIT_TICKS;
		awake += current->nvcsw == slept;
	}
	pr_info("%s: waits %u: early %u, awake %u\n", ticker->name, turn, early, awake);
	ask(ticker, STOP, 0, 0);
}

/* The counter at the beginning of a jiffy, which is returned. */
static u64 edge(u64 *cycles)
{
	unsigned long seen;

	preempt_disable();
	seen = jiffies;
	while (READ_ONCE(jiffies) == seen)
		cpu_relax();
	*cycles = get_cycles();
	preempt_enable();
	return get_jiffies_64();
}

static void look(unsigned int turn)
{
	unsigned int i;

	move(turn);
	for (i = 0; i < TICKERS; i++)
		ask(&tickers[i], TELL, 0, 0);
}

static void report(struct ticker *ticker)
{
	/* It answers right after a tick. */
	ask(ticker, WAIT, 1, 0);
	pr_info("%s: ticks %lu of %lu ns: missed %lu, stray %lu, uncounted %u, unanswered %u, busy %u, latest %lld ns, drift %lld ns\n",
		ticker->name, ticker->told.ticks, ticker->microseconds * 1000, ticker->told.missed, ticker->told.stray,
		ticker->uncounted, ticker->unanswered, ticker->busy, nanoseconds(ticker->told.latest),
		nanoseconds(get_cycles() - ticker->start - ticker->told.ticks * period(ticker)));
	ask(ticker, STOP, 0, 0);
}

static void tick(void)
{
	u64 first, last, start, end;
	unsigned int turn, i;

	start = edge(&first);
	for (i = 0; i < TICKERS; i++) {
		tickers[i].start = get_cycles();
		ask(&tickers[i], START, tickers[i].microseconds, tickers[i].which);
	}
	for (turn = 0; get_cycles() - first < seconds * frequency(); turn++) {
		look(turn);
		msleep(LOOK_MS);
	}
	for (i = 0; i < TICKERS; i++)
		report(&tickers[i]);
	end = edge(&last);
	pr_info("jiffies: ticks %llu of %lu ns: drift %lld ns, looks %u\n", end - start, NSEC_PER_SEC / HZ,
		nanoseconds(last - first) - (s64)(end - start) * (NSEC_PER_SEC / HZ), turn);
	for (i = 0; i < TICKERS; i++)
		await(&tickers[i]);
	set_cpus_allowed_ptr(current, cpu_possible_mask);
}

static int probe(struct ffa_device *device)
{
	unsigned int i;

	for (i = 0; i < TICKERS; i++)
		if (uuid_equal(&device->uuid, &tickers[i].id.uuid))
			tickers[i].device = device;
	return 0;
}

static struct ffa_driver driver = {
	.name = KBUILD_MODNAME,
	.probe = probe,
	.id_table = partitions,
};

static int __init ticks_init(void)
{
	unsigned int i;
	int status;

	for (i = 0; i < TICKERS; i++)
		partitions[i] = tickers[i].id;
	status = ffa_register(&driver);
	if (status)
		return status;
	for (i = 0; i < TICKERS; i++) {
		if (!tickers[i].device) {
			ffa_unregister(&driver);
			return -ENODEV;
		}
	}
	tick();
	return 0;
}

static void __exit ticks_exit(void)
{
	ffa_unregister(&driver);
}

module_init(ticks_init);
module_exit(ticks_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("Timers of partitions beside Linux's own, for a test of Bulkhead");
