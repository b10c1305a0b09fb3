// SPDX-License-Identifier: MIT OR Apache-2.0
//! The EL1 timers of partitions: C-19 and C-20 of the features, I18 of the abuse cases.

use bulkhead_abi::EndpointId;
use bulkhead_payload::counter::{self, microseconds};
use bulkhead_payload::timers::{ENABLE, IMASK, ISTATUS, Timer};

use super::cases_of_driver;
use super::driver::{count, flag};
use super::halves::{SPUN, half};
use super::scene::{
    Part, WAYS, complete, counts, half_request, invoke_on, prepare, quiet, results_of, second_core,
    start_on,
};
use crate::ensure;
use crate::normal_world::{INTERRUPT_AFTER, LONG_SPIN, NormalWorld};
use crate::outcome::{TestResult, equal};
use crate::protocol::Caller;

cases_of_driver! {
    c19_a_timer_enters_its_partition_that_waits;
    c19_a_timer_interrupts_its_partition_that_runs;
    c19_a_timer_enters_its_partition_that_awaits_an_answer;
    c19_a_timer_waits_for_its_partition_that_is_preempted;
    c19_a_timer_preempts_another_partition;
    c19_timers_of_all_partitions_at_once_fire_once_each;
    i18_a_timer_goes_with_its_partition_to_another_core;
    i18_a_deadline_in_the_past_fires_at_once_and_once;
    i18_a_deadline_that_never_comes_does_not_fire;
    i18_a_timer_that_is_masked_or_off_does_not_fire;
    i18_a_timer_that_is_set_anew_fires_at_its_last_deadline;
    c19_the_registers_of_a_timer_read_as_the_architecture_has_it;
    c20_the_virtual_counter_keeps_its_offset;
}

/// A short time, in microseconds.
const SOON: u64 = 1_000;
/// How late a timer may come where nothing is in its way, in microseconds.
const LATE: u64 = 500;

fn which(timer: Timer) -> u64 {
    (timer == Timer::Virtual).into()
}

fn count_of(timer: Timer) -> usize {
    count::PHYSICAL + which(timer) as usize
}

fn name(timer: Timer) -> &'static str {
    match timer {
        Timer::Physical => "how often the physical timer fired",
        Timer::Virtual => "how often the virtual timer fired",
    }
}

fn late_of(timer: Timer) -> usize {
    count::PHYSICAL_LATE + which(timer) as usize
}

/// Arms a timer of a partition for `time` microseconds from now; its deadline.
#[track_caller]
fn arm(world: &mut NormalWorld, id: EndpointId, timer: Timer, time: u64) -> TestResult<u64> {
    let arguments = [which(timer), microseconds(time), 0];
    let [deadline, ..] = world.invoke(id, half::ARM, arguments)?;
    Ok(deadline)
}

/// The timer has fired so often, the other one never, and nothing else came.
#[track_caller]
fn fired(
    world: &mut NormalWorld,
    id: EndpointId,
    timer: Timer,
    times: u64,
) -> TestResult<super::scene::Counts> {
    let counts = counts(world, id)?;
    for other in Timer::ALL {
        let expected = if other == timer { times } else { 0 };
        counts.has(count_of(other), name(other), expected)?;
    }
    counts.are_clean()?;
    Ok(counts)
}

fn c19_a_timer_enters_its_partition_that_waits(world: &mut NormalWorld) -> TestResult {
    for part in [Part::Plain, Part::Wide] {
        let id = part.id(world)?;
        for timer in Timer::ALL {
            for way in WAYS {
                prepare(world, id, flag::TIMERS | way, None)?;
                for times in 1..=3 {
                    arm(world, id, timer, SOON)?;
                    counter::spin(microseconds(2 * SOON));
                    let counts = fired(world, id, timer, times)?;
                    counts.has(count::ENTRIES, "entries by FFA_INTERRUPT", times)?;
                    counts.has(
                        count::ENTRY_INTID,
                        "w2 of FFA_INTERRUPT",
                        timer.intid().into(),
                    )?;
                    let late = counts.0[late_of(timer)];
                    ensure!(late < microseconds(LATE), "{timer:?} was {late} ticks late");
                }
                quiet(world, id)?;
            }
        }
    }
    world.no_state_change()
}

fn c19_a_timer_interrupts_its_partition_that_runs(world: &mut NormalWorld) -> TestResult {
    for part in [Part::Plain, Part::Wide] {
        let id = part.id(world)?;
        for timer in Timer::ALL {
            prepare(world, id, flag::TIMERS | flag::UNMASKED, None)?;
            for times in 1..=3 {
                arm(world, id, timer, SOON)?;
                let [spun, ..] = world.invoke(id, half::SPIN, [3 * SOON, 0, 0])?;
                equal("the result", spun, SPUN)?;
                let counts = fired(world, id, timer, times)?;
                counts.has(count::ENTRIES, "entries by FFA_INTERRUPT", 0)?;
                let late = counts.0[late_of(timer)];
                ensure!(late < microseconds(LATE), "{timer:?} was {late} ticks late");
            }
            quiet(world, id)?;
        }
    }
    Ok(())
}

fn c19_a_timer_enters_its_partition_that_awaits_an_answer(world: &mut NormalWorld) -> TestResult {
    let (id, callee) = (Part::Plain.id(world)?, Part::Wide.id(world)?);
    let what = u64::from(callee.0) | (half::SPIN as u64) << 16;
    for timer in Timer::ALL {
        for way in WAYS {
            prepare(world, id, flag::TIMERS | way, None)?;
            arm(world, id, timer, SOON)?;
            let [spun, ..] = world.invoke(id, half::ASK, [what, 3 * SOON, 0])?;
            equal("the answer that it awaited", spun, SPUN)?;
            let counts = fired(world, id, timer, 1)?;
            counts.has(count::UNBLOCKED, "entries while it awaited", 1)?;
            quiet(world, id)?;
        }
    }
    Ok(())
}

fn c19_a_timer_waits_for_its_partition_that_is_preempted(world: &mut NormalWorld) -> TestResult {
    let id = Part::Plain.id(world)?;
    for timer in Timer::ALL {
        prepare(world, id, flag::TIMERS | flag::UNMASKED, None)?;
        arm(world, id, timer, INTERRUPT_AFTER + SOON)?;
        let interrupt =
            world.interrupted(half_request(world, id, half::SPIN, [LONG_SPIN, 0, 0]))?;
        counter::spin(microseconds(2 * SOON));
        let reply = complete(world, interrupt)?;
        let [spun, ..] = world.results(id, &reply)?;
        equal("the result", spun, SPUN)?;
        let counts = fired(world, id, timer, 1)?;
        counts.has(count::ENTRIES, "entries by FFA_INTERRUPT", 0)?;
        let late = counts.0[late_of(timer)];
        ensure!(
            late > microseconds(LATE),
            "it came while the partition was preempted"
        );
        quiet(world, id)?;
    }
    Ok(())
}

fn c19_a_timer_preempts_another_partition(world: &mut NormalWorld) -> TestResult {
    let (id, busy) = (Part::Plain.id(world)?, Part::Wide.id(world)?);
    for timer in Timer::ALL {
        prepare(world, id, flag::TIMERS, None)?;
        for times in 1..=3 {
            arm(world, id, timer, SOON)?;
            let [spun, ..] = world.invoke(busy, half::SPIN, [3 * SOON, 0, 0])?;
            equal("the result of who was preempted", spun, SPUN)?;
            let counts = fired(world, id, timer, times)?;
            let late = counts.0[late_of(timer)];
            ensure!(late < microseconds(LATE), "{timer:?} was {late} ticks late");
        }
        quiet(world, id)?;
    }
    Ok(())
}

/// All for the same moment, while a partition runs, and while the normal world does.
fn c19_timers_of_all_partitions_at_once_fire_once_each(world: &mut NormalWorld) -> TestResult {
    const PARTS: [Part; 5] = [
        Part::Clock,
        Part::Plain,
        Part::Wide,
        Part::Gpio,
        Part::Managed,
    ];
    for spins in [false, true] {
        for part in PARTS {
            let id = part.id(world)?;
            prepare(world, id, flag::TIMERS | flag::UNMASKED, None)?;
        }
        let moment = counter::now() + microseconds(10 * SOON);
        for part in PARTS {
            let id = part.id(world)?;
            for timer in Timer::ALL {
                // The same counter, but for the one that began later.
                let [now, ..] = world.invoke(id, half::PEEK, [which(timer), 0, 0])?;
                let [here, ..] = world.invoke(id, half::PEEK, [0, 0, 0])?;
                let lag = here.wrapping_sub(now);
                let offset = if lag < microseconds(SOON) { 0 } else { lag };
                world.invoke(
                    id,
                    half::SET,
                    [which(timer), moment.wrapping_sub(offset), ENABLE],
                )?;
            }
        }
        ensure!(counter::now() < moment, "the moment is over");
        if spins {
            let busy = Part::ManagedToo.id(world)?;
            world.invoke(busy, half::SPIN, [20 * SOON, 0, 0])?;
        } else {
            counter::spin(microseconds(20 * SOON));
        }
        for part in PARTS {
            let id = part.id(world)?;
            let counts = counts(world, id)?;
            for timer in Timer::ALL {
                counts.has(count_of(timer), name(timer), 1)?;
            }
            counts.are_clean()?;
            quiet(world, id)?;
        }
    }
    Ok(())
}

fn i18_a_timer_goes_with_its_partition_to_another_core(world: &mut NormalWorld) -> TestResult {
    let id = Part::Plain.id(world)?;
    let mut core = second_core()?;
    for timer in Timer::ALL {
        for way in [flag::UNMASKED, 0] {
            prepare(world, id, flag::TIMERS | way, None)?;
            // It runs there for a moment, and waits when the time comes.
            arm(world, id, timer, 2 * SOON)?;
            invoke_on(&mut core, world, id, half::SPIN, [SOON / 4, 0, 0])?;
            counter::spin(microseconds(4 * SOON));
            fired(world, id, timer, 1)?;
            // There and back.
            arm(world, id, timer, 4 * SOON)?;
            invoke_on(&mut core, world, id, half::SPIN, [SOON / 4, 0, 0])?;
            world.invoke(id, half::SPIN, [SOON / 4, 0, 0])?;
            counter::spin(microseconds(8 * SOON));
            let counts = fired(world, id, timer, 2)?;
            counts.has(count::ENTRIES, "entries by FFA_INTERRUPT", 2)?;
        }
        // It runs there when the time comes.
        prepare(world, id, flag::TIMERS | flag::UNMASKED, None)?;
        arm(world, id, timer, 2 * SOON)?;
        start_on(
            &mut core,
            half_request(world, id, half::SPIN, [5 * SOON, 0, 0]),
        );
        let [spun, ..] = results_of(&mut core)?;
        equal("the result", spun, SPUN)?;
        let counts = fired(world, id, timer, 1)?;
        counts.has(count::ENTRIES, "entries by FFA_INTERRUPT", 0)?;
        let late = counts.0[late_of(timer)];
        ensure!(late < microseconds(LATE), "{timer:?} was {late} ticks late");
        quiet(world, id)?;
    }
    Ok(())
}

const BY_TVAL: u64 = 1 << 1;

#[track_caller]
fn set(
    world: &mut NormalWorld,
    id: EndpointId,
    which: u64,
    value: u64,
    control: u64,
) -> TestResult<[u64; 4]> {
    world.invoke(id, half::SET, [which, value, control])
}

fn i18_a_deadline_in_the_past_fires_at_once_and_once(world: &mut NormalWorld) -> TestResult {
    let id = Part::Plain.id(world)?;
    for timer in Timer::ALL {
        prepare(world, id, flag::TIMERS | flag::UNMASKED, None)?;
        let by_cval = [0, 1, 1000].map(|value| (which(timer), value));
        let by_tval = [0, -1_i32, -1000].map(|value| (which(timer) | BY_TVAL, value as u32 as u64));
        let mut times = 0;
        for (which, value) in by_cval.into_iter().chain(by_tval) {
            times += 1;
            set(world, id, which, value, ENABLE)?;
            fired(world, id, timer, times)?;
            counter::spin(microseconds(SOON));
            fired(world, id, timer, times)?;
        }
        quiet(world, id)?;
    }
    Ok(())
}

fn i18_a_deadline_that_never_comes_does_not_fire(world: &mut NormalWorld) -> TestResult {
    let id = Part::Plain.id(world)?;
    for timer in Timer::ALL {
        prepare(world, id, flag::TIMERS | flag::UNMASKED, None)?;
        for (which, value) in [
            (which(timer), u64::MAX),
            (which(timer), u64::MAX - 1),
            (which(timer), 1 << 63),
            (which(timer) | BY_TVAL, i32::MAX as u64),
        ] {
            let [control, ..] = set(world, id, which, value, ENABLE)?;
            equal("CNTx_CTL_EL0", control, ENABLE)?;
            counter::spin(microseconds(SOON));
            let [spun, ..] = world.invoke(id, half::SPIN, [SOON, 0, 0])?;
            equal("the result", spun, SPUN)?;
            fired(world, id, timer, 0)?;
        }
        // And one that comes, after them.
        arm(world, id, timer, SOON)?;
        counter::spin(microseconds(2 * SOON));
        fired(world, id, timer, 1)?;
        quiet(world, id)?;
    }
    Ok(())
}

fn i18_a_timer_that_is_masked_or_off_does_not_fire(world: &mut NormalWorld) -> TestResult {
    let id = Part::Plain.id(world)?;
    for timer in Timer::ALL {
        prepare(world, id, flag::TIMERS | flag::UNMASKED, None)?;
        let [control, ..] = set(world, id, which(timer), 1, ENABLE | IMASK)?;
        equal("CNTx_CTL_EL0, masked", control, ENABLE | IMASK | ISTATUS)?;
        counter::spin(microseconds(SOON));
        fired(world, id, timer, 0)?;
        set(world, id, which(timer), 1, 0)?;
        counter::spin(microseconds(SOON));
        fired(world, id, timer, 0)?;
        // Its condition still holds.
        set(world, id, which(timer), 1, ENABLE | IMASK)?;
        set(world, id, which(timer), 1, ENABLE)?;
        fired(world, id, timer, 1)?;
        quiet(world, id)?;
    }
    Ok(())
}

/// Before it fires, and after it fired and before its interrupt was fetched.
fn i18_a_timer_that_is_set_anew_fires_at_its_last_deadline(world: &mut NormalWorld) -> TestResult {
    let id = Part::Plain.id(world)?;
    for timer in Timer::ALL {
        prepare(world, id, flag::TIMERS | flag::UNMASKED, None)?;
        arm(world, id, timer, 2 * SOON)?;
        arm(world, id, timer, 8 * SOON)?;
        counter::spin(microseconds(4 * SOON));
        fired(world, id, timer, 0)?;
        counter::spin(microseconds(8 * SOON));
        fired(world, id, timer, 1)?;
        arm(world, id, timer, 20 * SOON)?;
        arm(world, id, timer, SOON)?;
        counter::spin(microseconds(3 * SOON));
        fired(world, id, timer, 2)?;
        prepare(world, id, flag::TIMERS, None)?;
        let [control, ..] = set(world, id, which(timer), 1, ENABLE)?;
        equal("CNTx_CTL_EL0", control, ENABLE | ISTATUS)?;
        quiet(world, id)?;
        prepare(world, id, flag::TIMERS | flag::UNMASKED, None)?;
        arm(world, id, timer, SOON)?;
        counter::spin(microseconds(3 * SOON));
        fired(world, id, timer, 1)?;
        quiet(world, id)?;
    }
    Ok(())
}

fn c19_the_registers_of_a_timer_read_as_the_architecture_has_it(
    world: &mut NormalWorld,
) -> TestResult {
    let id = Part::Plain.id(world)?;
    for timer in Timer::ALL {
        quiet(world, id)?;
        let far = 1 << 40;
        let [control, deadline, remaining, now] = set(world, id, which(timer), far, u64::MAX)?;
        equal("CNTx_CTL_EL0", control, ENABLE | IMASK)?;
        equal("CNTx_CVAL_EL0", deadline, far)?;
        // TVAL was read before the counter.
        let behind = (far.wrapping_sub(now) as u32)
            .wrapping_sub(remaining as u32)
            .cast_signed();
        ensure!(
            (-(microseconds(LATE) as i32)..=0).contains(&behind),
            "CNTx_TVAL_EL0 is {remaining:#x} at {now:#x}"
        );
        let [control, ..] = set(world, id, which(timer), far, IMASK)?;
        equal("CNTx_CTL_EL0 of a timer that is off", control, IMASK)?;
        let (value, tval) = (12_345_678, which(timer) | BY_TVAL);
        let [control, deadline, _, now] = set(world, id, tval, value, ENABLE | IMASK)?;
        equal("CNTx_CTL_EL0", control, ENABLE | IMASK)?;
        let ahead = deadline.wrapping_sub(now);
        ensure!(
            ahead <= value && value - ahead < microseconds(LATE),
            "CNTx_TVAL_EL0 made {deadline:#x} at {now:#x}"
        );
        quiet(world, id)?;
    }
    Ok(())
}

/// The offset between the two counters of a partition is the same in each run of it, on each core. One partition's
/// manifest has it count from its boot.
fn c20_the_virtual_counter_keeps_its_offset(world: &mut NormalWorld) -> TestResult {
    let mut core = bulkhead_payload::cores::Core::start(1);
    for (part, from_boot) in [(Part::Plain, false), (Part::Managed, true)] {
        let id = part.id(world)?;
        let mut offsets = [0; 4];
        for (round, offset) in offsets.iter_mut().enumerate() {
            let mut peek = |which: u64| match (&mut core, round % 2) {
                (Some(core), 1) => invoke_on(core, world, id, half::PEEK, [which, 0, 0]),
                _ => world.invoke(id, half::PEEK, [which, 0, 0]),
            };
            let ([first, ..], [virtual_, ..], [last, ..]) = (peek(0)?, peek(1)?, peek(0)?);
            ensure!(first <= last, "the physical counter went back");
            let middle = first + (last - first) / 2;
            *offset = middle.wrapping_sub(virtual_);
        }
        // Either may be a little below zero.
        let near = |a: u64, b: u64| (a.wrapping_sub(b) as i64).unsigned_abs() < microseconds(SOON);
        for offset in offsets {
            ensure!(near(offset, offsets[0]), "the offsets are {offsets:x?}");
        }
        let is_zero = near(offsets[0].wrapping_add(1 << 40), 1 << 40);
        ensure!(is_zero != from_boot, "the offset is {:#x}", offsets[0]);
        ensure!(
            offsets[0] as i64 >= -(microseconds(SOON) as i64),
            "it is ahead"
        );
    }
    Ok(())
}
