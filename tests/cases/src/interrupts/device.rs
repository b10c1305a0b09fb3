// SPDX-License-Identifier: MIT OR Apache-2.0
//! Level-triggered device interrupts: each event costs one delivery, wherever it finds its partition. C-02, C-07 to
//! C-10 and C-13 of the features, I5, I17 and K5 of the abuse cases.

use bulkhead_abi::Function;
use bulkhead_payload::cores::Core;
use bulkhead_payload::counter::{self, microseconds};
use bulkhead_payload::devices::Device;
use bulkhead_payload::{fp, gic};

use super::cases_of_driver;
use super::driver::{count, flag};
use super::halves::{LEAVES, SPUN, half};
use super::scene::{
    Part, WAYS, all_handled, complete, counts, event, half_request, prepare, quiet, raise_from,
    results_of, route, same_priorities, second_core, settled, start_on,
};
use crate::normal_world::{LONG_SPIN, NormalWorld};
use crate::outcome::{TestResult, equal};
use crate::protocol::Caller;
use crate::{ensure, skip};

cases_of_driver! {
    c02_an_interrupt_in_the_normal_world_is_delivered_once;
    c02_a_thousand_interrupts_are_a_thousand_deliveries;
    c07_an_interrupt_of_the_running_partition_is_delivered_once;
    c08_an_interrupt_while_another_partition_runs_is_delivered_once;
    c08_a_partition_that_handles_one_answers_whoever_it_interrupted;
    c09_an_interrupt_of_one_that_awaits_an_answer_is_delivered_once;
    c10_an_interrupt_of_a_preempted_partition_waits_for_it;
    c10_an_interrupt_of_one_that_runs_on_another_core_is_delivered_there;
    c10_an_interrupt_that_another_core_takes_is_delivered_once;
    k5_an_interrupt_waits_for_a_partition_that_masks_it;
    i17_an_interrupt_leaves_priorities_as_they_were;
    i1_an_interrupt_that_is_gone_before_it_is_taken_disturbs_nobody;
    l3_fp_registers_of_all_survive_handlers_that_use_them;
}

/// How long another core waits before it raises an interrupt, in microseconds.
const GAP: u64 = 500;

fn c02_an_interrupt_in_the_normal_world_is_delivered_once(world: &mut NormalWorld) -> TestResult {
    let owner = Part::Clock.id(world)?;
    for way in WAYS {
        prepare(world, owner, way, Some(Device::Rtc))?;
        for events in 1..=5 {
            event(Device::Rtc)?;
            let counts = counts(world, owner)?;
            counts.are_of_device(events)?;
            counts.has(count::ENTRIES, "entries by FFA_INTERRUPT", events)?;
            counts.has(
                count::ENTRY_INTID,
                "w2 of FFA_INTERRUPT",
                Device::Rtc.intid().into(),
            )?;
            let lines = match way {
                0 => [0, 0],
                flag::UNMASKED => [events, 0],
                _ => [0, events],
            };
            counts.has(count::IRQS, "exceptions on IRQ", lines[0])?;
            counts.has(count::FIQS, "exceptions on FIQ", lines[1])?;
        }
        quiet(world, owner)?;
    }
    Ok(())
}

/// In both partitions by turns, neither of which sees the other's.
fn c02_a_thousand_interrupts_are_a_thousand_deliveries(world: &mut NormalWorld) -> TestResult {
    const EVENTS: u64 = 1000;
    let (clock, gpio) = (Part::Clock.id(world)?, Part::Gpio.id(world)?);
    prepare(world, clock, flag::UNMASKED, Some(Device::Rtc))?;
    prepare(world, gpio, 0, Some(Device::Gpio))?;
    for _ in 0..EVENTS {
        event(Device::Rtc)?;
        event(Device::Gpio)?;
    }
    for id in [clock, gpio] {
        let counts = counts(world, id)?;
        counts.are_of_device(EVENTS)?;
        counts.has(count::ENTRIES, "entries by FFA_INTERRUPT", EVENTS)?;
        quiet(world, id)?;
    }
    world.no_state_change()
}

fn c07_an_interrupt_of_the_running_partition_is_delivered_once(
    world: &mut NormalWorld,
) -> TestResult {
    const EVENTS: u64 = 100;
    let owner = Part::Clock.id(world)?;
    for way in [flag::UNMASKED, flag::UNMASKED | flag::FIQ] {
        prepare(world, owner, way, Some(Device::Rtc))?;
        world.invoke(owner, half::RAISE, [EVENTS, 0, 0])?;
        let counts = counts(world, owner)?;
        counts.are_of_device(EVENTS)?;
        counts.has(count::ENTRIES, "entries by FFA_INTERRUPT", 0)?;
        quiet(world, owner)?;
    }
    Ok(())
}

/// The plain partition spins on this core, to which the interrupt is routed, and another core raises it.
fn c08_an_interrupt_while_another_partition_runs_is_delivered_once(
    world: &mut NormalWorld,
) -> TestResult {
    const EVENTS: u64 = 10;
    let (owner, busy) = (Part::Clock.id(world)?, Part::Plain.id(world)?);
    let mut core = second_core()?;
    for way in WAYS {
        prepare(world, owner, way, Some(Device::Rtc))?;
        route(world, owner, Device::Rtc, 0)?;
        raise_from(&mut core, Device::Rtc, EVENTS, GAP);
        let [spun, ..] = world.invoke(busy, half::SPIN, [LONG_SPIN, 0, 0])?;
        equal(
            "the result of the partition that was interrupted",
            spun,
            SPUN,
        )?;
        ensure!(
            core.is_done(),
            "the partition answered before all interrupts were handled"
        );
        all_handled(&mut core)?;
        let counts = counts(world, owner)?;
        counts.are_of_device(EVENTS)?;
        counts.has(count::ENTRIES, "entries by FFA_INTERRUPT", EVENTS)?;
        quiet(world, owner)?;
    }
    world.no_state_change()
}

/// The interrupt comes while the partition that spins has a request of a partition that has one of the normal world.
fn c08_a_partition_that_handles_one_answers_whoever_it_interrupted(
    world: &mut NormalWorld,
) -> TestResult {
    const EVENTS: u64 = 5;
    let (owner, first) = (Part::Clock.id(world)?, Part::Wide.id(world)?);
    let last = Part::Plain.id(world)?;
    let mut core = second_core()?;
    prepare(world, owner, flag::UNMASKED, Some(Device::Rtc))?;
    prepare(world, first, 0, None)?;
    route(world, owner, Device::Rtc, 0)?;
    raise_from(&mut core, Device::Rtc, EVENTS, GAP);
    let what = u64::from(last.0) | (half::SPIN as u64) << 16;
    let [spun, ..] = world.invoke(first, half::ASK, [what, LONG_SPIN, 0])?;
    equal("the result through the chain", spun, SPUN)?;
    all_handled(&mut core)?;
    counts(world, owner)?.are_of_device(EVENTS)?;
    quiet(world, owner)?;
    quiet(world, first)
}

/// The owner asked the plain partition, which spins.
fn c09_an_interrupt_of_one_that_awaits_an_answer_is_delivered_once(
    world: &mut NormalWorld,
) -> TestResult {
    const ROUNDS: u64 = 5;
    let (owner, callee) = (Part::Clock.id(world)?, Part::Plain.id(world)?);
    let mut core = second_core()?;
    for way in WAYS {
        prepare(world, owner, way, Some(Device::Rtc))?;
        route(world, owner, Device::Rtc, 0)?;
        let what = u64::from(callee.0) | (half::SPIN as u64) << 16;
        for _ in 0..ROUNDS {
            raise_from(&mut core, Device::Rtc, 2, GAP);
            let [spun, ..] = world.invoke(owner, half::ASK, [what, LONG_SPIN / 4, 0])?;
            equal("the answer that it awaited", spun, SPUN)?;
            all_handled(&mut core)?;
        }
        let counts = counts(world, owner)?;
        counts.are_of_device(2 * ROUNDS)?;
        counts.has(count::UNBLOCKED, "entries while it awaited", 2 * ROUNDS)?;
        counts.has(count::ENTRIES, "entries while it waited", 0)?;
        quiet(world, owner)?;
    }
    Ok(())
}

fn c10_an_interrupt_of_a_preempted_partition_waits_for_it(world: &mut NormalWorld) -> TestResult {
    let owner = Part::Clock.id(world)?;
    prepare(world, owner, flag::UNMASKED, Some(Device::Rtc))?;
    for round in 1..=3 {
        let spin = half_request(world, owner, half::SPIN, [LONG_SPIN, 0, 0]);
        let interrupt = world.interrupted(spin)?;
        Device::Rtc.raise();
        counter::spin(microseconds(2000));
        ensure!(
            Device::Rtc.is_raised(),
            "a partition that is preempted handled an interrupt"
        );
        let reply = complete(world, interrupt)?;
        let [spun, ..] = world.results(owner, &reply)?;
        equal("the result", spun, SPUN)?;
        settled(Device::Rtc)?;
        counts(world, owner)?.are_of_device(round)?;
    }
    quiet(world, owner)
}

/// The owner spins on another core, and this one takes the interrupt.
fn c10_an_interrupt_of_one_that_runs_on_another_core_is_delivered_there(
    world: &mut NormalWorld,
) -> TestResult {
    const EVENTS: u64 = 10;
    let owner = Part::Clock.id(world)?;
    let mut core = second_core()?;
    for way in [flag::UNMASKED, flag::UNMASKED | flag::FIQ] {
        prepare(world, owner, way, Some(Device::Rtc))?;
        route(world, owner, Device::Rtc, 0)?;
        start_on(
            &mut core,
            half_request(world, owner, half::SPIN, [LONG_SPIN, 0, 0]),
        );
        counter::spin(microseconds(LONG_SPIN / 4));
        for _ in 0..EVENTS {
            event(Device::Rtc)?;
        }
        ensure!(!core.is_done(), "the owner did not run all the time");
        let [spun, ..] = results_of(&mut core)?;
        equal("the result", spun, SPUN)?;
        let counts = counts(world, owner)?;
        counts.are_of_device(EVENTS)?;
        counts.has(count::ENTRIES, "entries by FFA_INTERRUPT", 0)?;
        quiet(world, owner)?;
    }
    Ok(())
}

/// The owner waits; whichever core the interrupt is routed to enters it.
fn c10_an_interrupt_that_another_core_takes_is_delivered_once(
    world: &mut NormalWorld,
) -> TestResult {
    const ROUNDS: u64 = 20;
    let owner = Part::Clock.id(world)?;
    let core = second_core()?;
    prepare(world, owner, flag::UNMASKED, Some(Device::Rtc))?;
    for round in 0..ROUNDS {
        let target = if round % 2 == 0 { core.index() } else { 0 };
        route(world, owner, Device::Rtc, target)?;
        event(Device::Rtc)?;
    }
    let counts = counts(world, owner)?;
    counts.are_of_device(ROUNDS)?;
    counts.has(count::ENTRIES, "entries by FFA_INTERRUPT", ROUNDS)?;
    route(world, owner, Device::Rtc, 0)?;
    quiet(world, owner)
}

/// The partition spins with interrupts masked; the normal world's timer gets the core all the same.
fn k5_an_interrupt_waits_for_a_partition_that_masks_it(world: &mut NormalWorld) -> TestResult {
    let owner = Part::Clock.id(world)?;
    let mut core = second_core()?;
    prepare(world, owner, 0, Some(Device::Rtc))?;
    route(world, owner, Device::Rtc, 0)?;
    raise_from(&mut core, Device::Rtc, 1, GAP);
    let spin = half_request(world, owner, half::SPIN, [LONG_SPIN, 0, 0]);
    let interrupt = world.interrupted(spin)?;
    ensure!(
        !core.is_done(),
        "a partition that masks interrupts handled one"
    );
    let reply = complete(world, interrupt)?;
    reply.is(Function::MsgSendDirectResp);
    let [spun, ..] = world.results(owner, &reply)?;
    equal("the result", spun, SPUN)?;
    all_handled(&mut core)?;
    let counts = counts(world, owner)?;
    counts.are_of_device(1)?;
    counts.has(count::ENTRIES, "entries by FFA_INTERRUPT", 1)?;
    quiet(world, owner)
}

/// Handled in the normal world, in the running partition, and while it is preempted.
fn i17_an_interrupt_leaves_priorities_as_they_were(world: &mut NormalWorld) -> TestResult {
    let owner = Part::Clock.id(world)?;
    let before = gic::priorities();
    prepare(world, owner, flag::UNMASKED, Some(Device::Rtc))?;
    for _ in 0..10 {
        event(Device::Rtc)?;
        same_priorities(before)?;
        world.invoke(owner, half::RAISE, [1, 0, 0])?;
        same_priorities(before)?;
        world.invoke(owner, half::RAISE, [1 | LEAVES, 0, 0])?;
        settled(Device::Rtc)?;
        same_priorities(before)?;
    }
    counts(world, owner)?.are_of_device(30)?;
    quiet(world, owner)
}

/// Another core raises the interrupt and takes it back after none to a few steps, over and over.
fn i1_an_interrupt_that_is_gone_before_it_is_taken_disturbs_nobody(
    world: &mut NormalWorld,
) -> TestResult {
    const ROUNDS: u64 = 500;
    let (owner, busy) = (Part::Clock.id(world)?, Part::Plain.id(world)?);
    let mut core = second_core()?;
    prepare(world, owner, flag::UNMASKED, Some(Device::Rtc))?;
    route(world, owner, Device::Rtc, 0)?;
    core.post(
        |_, _| {
            for round in 0..ROUNDS {
                Device::Rtc.raise();
                for _ in 0..round % 32 {
                    counter::pause();
                }
                Device::Rtc.clear();
                counter::spin(microseconds(100));
            }
        },
        [0; 8],
    );
    while !core.is_done() {
        let [spun, ..] = world.invoke(busy, half::SPIN, [GAP, 0, 0])?;
        equal("the result of who runs meanwhile", spun, SPUN)?;
        counter::spin(microseconds(GAP));
    }
    core.finish();
    let seen = counts(world, owner)?;
    ensure!(
        seen.0[count::DEVICE] <= ROUNDS,
        "{} deliveries of {ROUNDS} interrupts",
        seen.0[count::DEVICE]
    );
    seen.are_clean()?;
    prepare(world, owner, flag::UNMASKED, Some(Device::Rtc))?;
    event(Device::Rtc)?;
    counts(world, owner)?.are_of_device(1)?;
    quiet(world, owner)
}

/// The partition that is interrupted, the one that handles the interrupt, the one that a timer interrupts, and the
/// normal world each have values of their own.
fn l3_fp_registers_of_all_survive_handlers_that_use_them(world: &mut NormalWorld) -> TestResult {
    const EVENTS: u64 = 10;
    if !fp::present() {
        skip!("this core has no FP");
    }
    let (owner, busy) = (Part::Clock.id(world)?, Part::Plain.id(world)?);
    let flags = flag::UNMASKED | flag::FP;
    prepare(world, owner, flags, Some(Device::Rtc))?;
    prepare(world, busy, flags | flag::TIMERS, None)?;
    route(world, owner, Device::Rtc, 0)?;
    world.invoke(busy, half::ARM, [0, microseconds(GAP), microseconds(GAP)])?;
    for _ in 0..EVENTS {
        event(Device::Rtc)?;
        let [spun, ..] = world.invoke(busy, half::SPIN, [4 * GAP, 0, 0])?;
        equal("the result of who was interrupted", spun, SPUN)?;
        let [spun, ..] = world.invoke(owner, half::SPIN, [GAP, 0, 0])?;
        equal("the result of the owner", spun, SPUN)?;
    }
    if let Some(mut core) = Core::start(1) {
        raise_from(&mut core, Device::Rtc, EVENTS, GAP);
        let [spun, ..] = world.invoke(busy, half::SPIN, [LONG_SPIN, 0, 0])?;
        equal("the result of who was interrupted", spun, SPUN)?;
        all_handled(&mut core)?;
    }
    for id in [owner, busy] {
        counts(world, id)?.are_clean()?;
        quiet(world, id)?;
    }
    world.no_state_change()
}
