// SPDX-License-Identifier: MIT OR Apache-2.0
//! Timers of partitions and the tick of the normal world together, without loss: C-02, C-19 and C-20 of the features.

use core::sync::atomic::{AtomicU64, Ordering};

use bulkhead_abi::EndpointId;
use bulkhead_payload::board::HYPERVISOR_TIMER_INTID;
use bulkhead_payload::cores::Core;
use bulkhead_payload::counter::{self, hypervisor_timer, microseconds};
use bulkhead_payload::devices::Device;
use bulkhead_payload::exception::{handle_with, mask_interrupts, unmask_interrupts};
use bulkhead_payload::timers::wait_for_interrupt;
use bulkhead_payload::{gic, println};

use super::cases_of_driver;
use super::driver::{count, flag};
use super::halves::half;
use super::scene::{Part, counts, prepare, quiet};
use crate::ensure;
use crate::normal_world::NormalWorld;
use crate::outcome::{TestResult, equal};
use crate::protocol::Caller;

cases_of_driver! {
    c19_timers_of_partitions_and_the_normal_worlds_tick_lose_nothing;
}

/// How long they run without `seconds=`.
const SECONDS: u64 = 10;
/// The period of the normal world's tick, in microseconds.
const TICK: u64 = 4_000;

/// The normal world's clock on the boot core, which the handler of its interrupt alone changes.
struct Clock {
    ticks: AtomicU64,
    deadline: AtomicU64,
    latest: AtomicU64,
    foreign: AtomicU64,
}

static CLOCK: Clock = Clock {
    ticks: AtomicU64::new(0),
    deadline: AtomicU64::new(0),
    latest: AtomicU64::new(0),
    foreign: AtomicU64::new(0),
};

impl Clock {
    fn tick(&self) {
        let Some(intid) = gic::acknowledge() else {
            return;
        };
        if intid == HYPERVISOR_TIMER_INTID {
            let deadline = self.deadline.load(Ordering::Relaxed);
            let late = counter::now().wrapping_sub(deadline);
            let latest = self.latest.load(Ordering::Relaxed).max(late);
            self.latest.store(latest, Ordering::Relaxed);
            self.ticks
                .store(self.ticks.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            let next = deadline + microseconds(TICK);
            self.deadline.store(next, Ordering::Relaxed);
            hypervisor_timer::arm_at(next);
        } else {
            let foreign = self.foreign.load(Ordering::Relaxed) + 1;
            self.foreign.store(foreign, Ordering::Relaxed);
        }
        gic::end(intid);
    }

    fn start(&self) -> u64 {
        let first = counter::now() + microseconds(TICK);
        for (field, value) in [
            (&self.ticks, 0),
            (&self.deadline, first),
            (&self.latest, 0),
            (&self.foreign, 0),
        ] {
            field.store(value, Ordering::Relaxed);
        }
        handle_with(Some(|_| CLOCK.tick()));
        gic::enable(HYPERVISOR_TIMER_INTID);
        hypervisor_timer::arm_at(first);
        unmask_interrupts();
        first
    }

    fn stop(&self) {
        mask_interrupts();
        hypervisor_timer::disarm();
        gic::disable(HYPERVISOR_TIMER_INTID);
        handle_with(None);
    }
}

/// A periodic timer of a partition, which began with its first deadline.
struct Periodic {
    part: Part,
    id: EndpointId,
    timer: u64,
    period: u64,
    first: u64,
}

impl Periodic {
    fn start(world: &mut NormalWorld, part: Part, timer: u64, period: u64) -> TestResult<Self> {
        let id = part.id(world)?;
        let period = microseconds(period);
        let [first, ..] = world.invoke(id, half::ARM, [timer, period, period])?;
        Ok(Self {
            part,
            id,
            timer,
            period,
            first,
        })
    }

    /// It fired at each of its deadlines, none was a period late, and it is not ahead.
    fn check(&self, world: &mut NormalWorld) -> TestResult<u64> {
        let [now, _, _, deadline] = world.invoke(self.id, half::PEEK, [self.timer, 0, 0])?;
        let counts = counts(world, self.id)?;
        let fired = counts.0[count::PHYSICAL + self.timer as usize];
        let due = (now - self.first) / self.period + 1;
        ensure!(
            due.abs_diff(fired) <= 1,
            "timer {} of {:?} fired {fired} times instead of {due}",
            self.timer,
            self.part
        );
        let drift = deadline
            .abs_diff(self.first + (now - self.first) / self.period * self.period + self.period);
        ensure!(
            drift <= self.period,
            "timer {} of {:?} drifts by {drift}",
            self.timer,
            self.part
        );
        let late = counts.0[count::PHYSICAL_LATE + self.timer as usize];
        ensure!(
            late < self.period,
            "timer {} of {:?} was {late} ticks late",
            self.timer,
            self.part
        );
        counts.are_clean()?;
        println!(
            "[clocks] timer {} of {:?}: {fired} times, at most {late} ticks late",
            self.timer, self.part
        );
        Ok(fired)
    }
}

/// Two timers of each of two partitions and one of a third, with periods that have no common divisor; messages to all
/// and a device's interrupts in between.
fn c19_timers_of_partitions_and_the_normal_worlds_tick_lose_nothing(
    world: &mut NormalWorld,
) -> TestResult {
    // Cores without work would only cost the emulator time.
    for index in 1..4 {
        if let Some(core) = Core::start(index) {
            ensure!(core.stop(), "core {index} did not go off");
        }
    }
    let seconds = world.seconds.unwrap_or(SECONDS);
    let parts = [Part::Clock, Part::Plain, Part::Managed];
    for part in parts {
        let id = part.id(world)?;
        let device = (part == Part::Clock).then_some(Device::Rtc);
        prepare(world, id, flag::TIMERS | flag::UNMASKED, device)?;
    }
    let clocks = [
        Periodic::start(world, Part::Clock, 0, 3_000)?,
        Periodic::start(world, Part::Clock, 1, 7_000)?,
        Periodic::start(world, Part::Plain, 0, 11_000)?,
        Periodic::start(world, Part::Plain, 1, 5_000)?,
        Periodic::start(world, Part::Managed, 1, 13_000)?,
    ];
    let first = CLOCK.start();
    let end = first + microseconds(seconds * 1_000_000);
    let mut events = 0;
    let mut wrong = None;
    while counter::now() < end {
        wait_for_interrupt();
        let tick = CLOCK.ticks.load(Ordering::Relaxed);
        if tick.is_multiple_of(16) {
            let id = clocks[(tick / 16) as usize % clocks.len()].id;
            let reply = world.direct(bulkhead_abi::Width::W64, id, [tick, 0, 0, 0, 0]);
            let reply = super::scene::complete(world, reply);
            if !reply.is_ok_and(|reply| reply.x(3) == !tick) {
                wrong.get_or_insert(tick);
            }
            Device::Rtc.raise();
            events += 1;
            let _ = super::scene::settled(Device::Rtc);
        }
    }
    mask_interrupts();
    let now = counter::now();
    CLOCK.stop();
    let ticks = CLOCK.ticks.load(Ordering::Relaxed);
    let due = (now - first) / microseconds(TICK) + 1;
    let latest = CLOCK.latest.load(Ordering::Relaxed);
    println!("[clocks] the normal world: {ticks} ticks, at most {latest} late");
    equal(
        "interrupts that are nobody's",
        CLOCK.foreign.load(Ordering::Relaxed),
        0,
    )?;
    ensure!(
        wrong.is_none(),
        "a message was not answered at tick {wrong:?}"
    );
    ensure!(
        due.abs_diff(ticks) <= 1,
        "the normal world ticked {ticks} times instead of {due}"
    );
    ensure!(
        latest < microseconds(TICK),
        "a tick was {latest} ticks of the counter late"
    );
    for clock in &clocks {
        clock.check(world)?;
    }
    let clock = Part::Clock.id(world)?;
    counts(world, clock)?.has(count::DEVICE, "device interrupts", events)?;
    for part in parts {
        let id = part.id(world)?;
        quiet(world, id)?;
    }
    Ok(())
}
