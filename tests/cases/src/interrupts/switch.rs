// SPDX-License-Identifier: MIT OR Apache-2.0
//! An interrupt at every instruction of the world switch: I15, I17 and R13 of the abuse cases.
//!
//! Where instructions drive the counter and one is a tick of it, as on a machine with one core, a deadline that is a
//! tick later each time visits every instruction of a round trip. With more cores the steps are longer.

use bulkhead_abi::{EndpointId, Function, Width};
use bulkhead_payload::board::HYPERVISOR_TIMER_INTID;
use bulkhead_payload::counter::{self, hypervisor_timer, microseconds};
use bulkhead_payload::{Reply, Request, cores, gic, println};

use super::cases_of_driver;
use super::driver::{count, flag};
use super::halves::half;
use super::scene::{Part, counts, prepare, quiet, same_priorities};
use crate::normal_world::NormalWorld;
use crate::outcome::{TestResult, Verdict, equal};
use crate::protocol::{Caller, echo};
use crate::{ensure, fail};

cases_of_driver! {
    i15_a_non_secure_interrupt_at_every_instruction_of_a_message_changes_nothing;
    i15_a_secure_interrupt_at_every_instruction_of_a_message_changes_nothing;
    i15_both_interrupts_at_every_instruction_of_a_message_change_nothing;
    r13_a_timer_that_is_due_at_the_switch_to_its_partition_fires_once;
}

/// More steps than any round trip takes.
const MOST: u64 = 60_000;

/// From one deadline to the next one, in ticks.
fn step() -> u64 {
    if cores::exists(1) { 997 } else { 1 }
}

/// An echo to `to` that arrives however it is interrupted; how often it was.
fn message(world: &mut NormalWorld, to: EndpointId, value: u64) -> TestResult<u64> {
    let payload = [value, !value, value << 32, 0x5a5a, value * 3];
    let reply = world.direct(Width::W64, to, payload);
    let (reply, interrupted) = settle(world, reply)?;
    let reply = reply.returned(Function::MsgSendDirectResp)?;
    equal(
        "x1 of the answer",
        reply.x(1),
        EndpointId::pair(to, world.id()),
    )?;
    for (index, expected) in echo(Width::W64, payload).into_iter().enumerate() {
        equal("a register of the answer", reply.x(3 + index), expected)?;
    }
    Ok(interrupted)
}

/// FFA_RUN of whoever was interrupted, with the timer's interrupt taken back.
fn settle(world: &mut NormalWorld, mut reply: Reply) -> TestResult<(Reply, u64)> {
    for interrupted in 0..100 {
        if !reply.is(Function::Interrupt) {
            return Ok((reply, interrupted));
        }
        hypervisor_timer::disarm();
        reply = world.call(Request::run(reply.sender(), reply.receiver().0));
    }
    fail!("interrupted a hundred times");
}

/// Calls `visit` with growing delays, in ticks, until it says twice in a row that the deadline came too late to interrupt
/// anything; the results that were not so.
fn sweep(
    world: &mut NormalWorld,
    mut visit: impl FnMut(&mut NormalWorld, u64) -> TestResult<bool>,
) -> TestResult<u64> {
    const IN_A_ROW: u64 = 32;
    let before = gic::priorities();
    let mut late = 0;
    for index in 0..MOST {
        let was_late = visit(world, index * step())?;
        same_priorities(before)?;
        late = if was_late { late + 1 } else { 0 };
        if late >= IN_A_ROW {
            return Ok(index - late);
        }
    }
    fail!("{MOST} steps did not cover the round trip");
}

fn i15_a_non_secure_interrupt_at_every_instruction_of_a_message_changes_nothing(
    world: &mut NormalWorld,
) -> TestResult {
    let id = Part::Plain.id(world)?;
    quiet(world, id)?;
    gic::enable(HYPERVISOR_TIMER_INTID);
    let mut interrupted = 0;
    let steps = sweep(world, |world, delay| {
        hypervisor_timer::arm(delay);
        let times = message(world, id, delay)?;
        interrupted += u64::from(times > 0);
        let late = times == 0 && !hypervisor_timer::is_due();
        hypervisor_timer::disarm();
        Ok(late)
    });
    hypervisor_timer::disarm();
    gic::disable(HYPERVISOR_TIMER_INTID);
    println!(
        "[switch] {} steps, {interrupted} messages interrupted",
        steps.clone()?
    );
    ensure!(interrupted > 0, "no message was ever interrupted");
    world.no_violation()?;
    world.no_state_change()
}

/// Arms the physical timer of `timed` for `delay` ticks after a base, sends a message to another partition, and waits
/// until it has fired; whether it fired after the answer.
fn secure(
    world: &mut NormalWorld,
    [timed, to]: [EndpointId; 2],
    delay: u64,
    seen: &mut u64,
) -> TestResult<bool> {
    let [deadline, ..] = world.invoke(timed, half::ARM, [0, delay, 0])?;
    message(world, to, delay)?;
    let late = counter::now() < deadline;
    while counter::now() < deadline + microseconds(2) {}
    *seen += 1;
    has_fired(world, timed, *seen)?;
    Ok(late)
}

/// The physical timer of `timed` has fired so often; asked every sixteenth time.
fn has_fired(world: &mut NormalWorld, timed: EndpointId, seen: u64) -> TestResult {
    if !seen.is_multiple_of(16) {
        return Ok(());
    }
    let counted = world.invoke(timed, half::COUNTS, [count::DEVICE as u64, 0, 0])?;
    equal("how often the timer fired", counted[count::PHYSICAL], seen)
}

fn i15_a_secure_interrupt_at_every_instruction_of_a_message_changes_nothing(
    world: &mut NormalWorld,
) -> TestResult {
    let (timed, to) = (Part::Plain.id(world)?, Part::Managed.id(world)?);
    quiet(world, to)?;
    prepare(world, timed, flag::TIMERS | flag::UNMASKED, None)?;
    let mut seen = 0;
    let steps = sweep(world, |world, delay| {
        secure(world, [timed, to], delay, &mut seen)
    })?;
    println!("[switch] {steps} steps");
    let all = counts(world, timed)?;
    all.has(count::PHYSICAL, "how often the timer fired", seen)?;
    all.are_clean()?;
    quiet(world, timed)?;
    world.no_violation()?;
    world.no_state_change()
}

/// The normal world's timer comes a while after the partition's.
fn i15_both_interrupts_at_every_instruction_of_a_message_change_nothing(
    world: &mut NormalWorld,
) -> TestResult {
    let (timed, to) = (Part::Plain.id(world)?, Part::Wide.id(world)?);
    quiet(world, to)?;
    prepare(world, timed, flag::TIMERS, None)?;
    gic::enable(HYPERVISOR_TIMER_INTID);
    let mut seen = 0;
    let steps = sweep(world, |world, delay| {
        // Every seventh step, at seven distances.
        let (delay, distance) = (delay * 7, delay / step() % 7 * 300);
        let [deadline, ..] = world.invoke(timed, half::ARM, [0, delay, 0])?;
        hypervisor_timer::arm_at(deadline + distance);
        message(world, to, delay)?;
        let late = counter::now() < deadline;
        hypervisor_timer::disarm();
        while counter::now() < deadline + microseconds(2) {}
        seen += 1;
        has_fired(world, timed, seen)?;
        Ok(late)
    });
    hypervisor_timer::disarm();
    gic::disable(HYPERVISOR_TIMER_INTID);
    println!("[switch] {} steps", steps?);
    let all = counts(world, timed)?;
    all.has(count::PHYSICAL, "how often the timer fired", seen)?;
    all.are_clean()?;
    quiet(world, timed)?;
    world.no_state_change()
}

/// FFA_RUN of the partition whose timer it is, whether it polls or takes its interrupt.
fn r13_a_timer_that_is_due_at_the_switch_to_its_partition_fires_once(
    world: &mut NormalWorld,
) -> TestResult {
    for (part, ticks) in [(Part::Plain, 3), (Part::Wide, 7)] {
        let id = part.id(world)?;
        for way in [flag::UNMASKED, 0] {
            prepare(world, id, flag::TIMERS | way, None)?;
            let mut seen = 0;
            let steps = sweep(world, |world, delay| {
                let [deadline, ..] = world.invoke(id, half::ARM, [0, ticks * delay, 0])?;
                world
                    .call(Request::run(id, 0))
                    .returned(Function::MsgWait)?;
                let late = counter::now() < deadline;
                while counter::now() < deadline + microseconds(2) {}
                seen += 1;
                has_fired(world, id, seen)?;
                Ok(late)
            })?;
            println!("[switch] {part:?}: {steps} steps");
            let all = counts(world, id)?;
            all.has(count::PHYSICAL, "how often the timer fired", seen)?;
            all.are_clean()?;
            quiet(world, id)?;
        }
    }
    Ok(())
}
