// SPDX-License-Identifier: MIT OR Apache-2.0
//! What partitions may and may not do about interrupts: G17, G18, R10, C9, I3, I4 and I16 of the abuse cases.

use bulkhead_abi::{FfaError, Function};
use bulkhead_payload::board::HYPERVISOR_TIMER_INTID;
use bulkhead_payload::counter::{self, hypervisor_timer, microseconds};
use bulkhead_payload::devices::Device;
use bulkhead_payload::{Request, gic};

use super::cases_of_driver;
use super::driver::{count, flag};
use super::halves::{EXITS, LEAVES, SPUN, half};
use super::scene::{
    Part, complete, counts, event, half_request, has_gic, prepare, progress, quiet, settled,
};
use crate::normal_world::{INTERRUPT_AFTER, LONG_SPIN, NormalWorld};
use crate::outcome::{TestResult, Verdict, equal};
use crate::protocol::Caller;
use crate::{ensure, fail, skip};

cases_of_driver! {
    g17_an_answer_with_an_interrupt_pending_arrives_once;
    g18_a_request_of_a_partition_that_handles_an_interrupt_to_one_that_is_preempted_is_refused;
    r10_waiting_without_deactivating_is_denied_once;
    c9_a_chain_of_managed_exits_comes_back_in_order;
    i3_a_partition_goes_on_under_a_storm_of_non_secure_interrupts;
    i4_an_interrupt_that_is_never_cleared_leaves_the_normal_world_its_time;
    i4_the_tick_of_the_normal_world_survives_a_stuck_interrupt;
}

/// With interrupts masked, the partition raises its own and answers.
fn g17_an_answer_with_an_interrupt_pending_arrives_once(world: &mut NormalWorld) -> TestResult {
    let owner = Part::Clock.id(world)?;
    prepare(world, owner, 0, Some(Device::Rtc))?;
    for events in 1..=20 {
        world.invoke(owner, half::RAISE, [1 | LEAVES, 0, 0])?;
        settled(Device::Rtc)?;
        let payload = [0xa5a5 + events, 2, 3, 4, 5];
        let reply = world.direct(bulkhead_abi::Width::W64, owner, payload);
        equal("x3 of the next answer", reply.x(3), !payload[0])?;
        let counts = counts(world, owner)?;
        counts.are_of_device(events)?;
        counts.has(count::ENTRIES, "entries by FFA_INTERRUPT", events)?;
    }
    quiet(world, owner)
}

fn g18_a_request_of_a_partition_that_handles_an_interrupt_to_one_that_is_preempted_is_refused(
    world: &mut NormalWorld,
) -> TestResult {
    let (owner, preempted) = (Part::Clock.id(world)?, Part::Plain.id(world)?);
    let arguments = [flag::ASKS, Device::Rtc.intid().into(), preempted.0.into()];
    world.invoke(owner, half::PREPARE, arguments)?;
    let spin = half_request(world, preempted, half::SPIN, [LONG_SPIN, 0, 0]);
    let interrupt = world.interrupted(spin)?;
    event(Device::Rtc)?;
    let reply = complete(world, interrupt)?;
    let [spun, ..] = world.results(preempted, &reply)?;
    equal("the result of the preempted partition", spun, SPUN)?;
    let counts = counts(world, owner)?;
    counts.are_of_device(1)?;
    let error = Function::Error.id(bulkhead_abi::Width::W32);
    counts.has(count::ASKED, "x0 of the request", error)?;
    let status = counts.0[count::ASKED_STATUS];
    ensure!(
        [FfaError::Busy, FfaError::Denied]
            .iter()
            .any(|error| error.to_register() == status),
        "the status is {status:#x}"
    );
    // To one that waits it is answered.
    event(Device::Rtc)?;
    let counts = super::scene::counts(world, owner)?;
    let response = Function::MsgSendDirectResp.id(bulkhead_abi::Width::W64);
    counts.has(
        count::ASKED,
        "x0 of the request to one that waits",
        response,
    )?;
    counts.are_of_device(2)?;
    quiet(world, owner)
}

fn r10_waiting_without_deactivating_is_denied_once(world: &mut NormalWorld) -> TestResult {
    const EVENTS: u64 = 5;
    let owner = Part::Clock.id(world)?;
    if has_gic(world, owner)? {
        skip!("what is active in its GIC is the partition's own affair");
    }
    for way in [0, flag::UNMASKED] {
        prepare(world, owner, way | flag::ACTIVE, Some(Device::Rtc))?;
        for events in 1..=EVENTS {
            event(Device::Rtc)?;
            let counts = counts(world, owner)?;
            counts.has(count::DEVICE, "device interrupts", events)?;
            counts.has(count::WAIT_REFUSED, "FFA_MSG_WAIT refused", events)?;
            counts.has(count::ENTRIES, "entries by FFA_INTERRUPT", events)?;
        }
        // It learns.
        prepare(world, owner, way, Some(Device::Rtc))?;
        event(Device::Rtc)?;
        counts(world, owner)?.are_of_device(1)?;
        quiet(world, owner)?;
    }
    Ok(())
}

/// The normal world asks one partition that asks for a managed exit, that asks another one, and that spins: each is told
/// and answers, the last one first.
fn c9_a_chain_of_managed_exits_comes_back_in_order(world: &mut NormalWorld) -> TestResult {
    let (first, last) = (Part::Managed.id(world)?, Part::ManagedToo.id(world)?);
    let flags = flag::MANAGED_EXIT | flag::UNMASKED;
    for id in [first, last] {
        prepare(world, id, flags, None)?;
    }
    for round in 1..=5 {
        gic::enable(HYPERVISOR_TIMER_INTID);
        hypervisor_timer::arm(microseconds(INTERRUPT_AFTER));
        let what = u64::from(last.0) | (half::SPIN as u64) << 16;
        let begin = counter::now();
        let result = world.invoke(first, half::ASK, [what, (10 * LONG_SPIN) | EXITS, 0]);
        let took = counter::now().wrapping_sub(begin);
        hypervisor_timer::disarm();
        gic::disable(HYPERVISOR_TIMER_INTID);
        let [spun, left, _, first_left] = result?;
        equal("the result of the last one", spun, SPUN)?;
        equal("whether it was told to leave", left, 1)?;
        equal("whether the first one was told, too", first_left, 1)?;
        ensure!(
            took < microseconds(LONG_SPIN),
            "the chain took {took} ticks"
        );
        for id in [first, last] {
            let counts = counts(world, id)?;
            counts.has(count::MANAGED_EXIT, "managed exits", round)?;
            counts.are_clean()?;
        }
    }
    for id in [first, last] {
        quiet(world, id)?;
    }
    Ok(())
}

/// Every 300 us; each FFA_RUN must bring it further.
fn i3_a_partition_goes_on_under_a_storm_of_non_secure_interrupts(
    world: &mut NormalWorld,
) -> TestResult {
    const EVERY: u64 = 300;
    let id = Part::Plain.id(world)?;
    quiet(world, id)?;
    let mut next = half_request(world, id, half::SPIN, [20_000, 0, 0]);
    gic::enable(HYPERVISOR_TIMER_INTID);
    for round in 0..1000 {
        hypervisor_timer::arm(microseconds(EVERY));
        let reply = world.call(next);
        hypervisor_timer::disarm();
        if !reply.is(Function::Interrupt) {
            gic::disable(HYPERVISOR_TIMER_INTID);
            let [spun, ..] = world.results(id, &reply)?;
            ensure!(round > 10, "it was interrupted {round} times");
            return equal("the result", spun, SPUN);
        }
        next = Request::run(reply.sender(), reply.receiver().0);
    }
    gic::disable(HYPERVISOR_TIMER_INTID);
    fail!("the partition did not come to its end in a thousand runs");
}

/// The handler fetches and deactivates the interrupt and does not clear its cause.
fn i4_an_interrupt_that_is_never_cleared_leaves_the_normal_world_its_time(
    world: &mut NormalWorld,
) -> TestResult {
    const TIME: u64 = 40_000;
    let owner = Part::Clock.id(world)?;
    for way in [flag::STUCK, flag::STUCK | flag::ACTIVE] {
        prepare(world, owner, way, Some(Device::Rtc))?;
        let [calm, _] = progress(TIME);
        Device::Rtc.raise();
        let [stormy, longest] = progress(TIME);
        let stuck = Device::Rtc.is_raised();
        Device::Rtc.clear();
        ensure!(stuck, "the interrupt was cleared");
        ensure!(
            stormy > calm / 8,
            "the normal world made {stormy} steps instead of {calm}, the longest {longest} ticks"
        );
        // What was delivered is over, and the interrupt works.
        counter::spin(microseconds(20_000));
        prepare(world, owner, 0, Some(Device::Rtc))?;
        event(Device::Rtc)?;
        counts(world, owner)?.are_of_device(1)?;
        quiet(world, owner)?;
    }
    Ok(())
}

fn i4_the_tick_of_the_normal_world_survives_a_stuck_interrupt(
    world: &mut NormalWorld,
) -> TestResult {
    const PERIOD: u64 = 1_000;
    const TICKS: u64 = 40;
    let owner = Part::Clock.id(world)?;
    prepare(world, owner, flag::STUCK, Some(Device::Rtc))?;
    gic::enable(HYPERVISOR_TIMER_INTID);
    Device::Rtc.raise();
    let mut deadline = counter::now();
    let mut latest = 0;
    for _ in 0..TICKS {
        deadline += microseconds(PERIOD);
        hypervisor_timer::arm_at(deadline);
        while gic::take().is_none() {}
        latest = latest.max(counter::now().wrapping_sub(deadline));
        hypervisor_timer::disarm();
    }
    gic::disable(HYPERVISOR_TIMER_INTID);
    Device::Rtc.clear();
    counter::spin(microseconds(20_000));
    quiet(world, owner)?;
    ensure!(
        latest < microseconds(10 * PERIOD),
        "a tick was {latest} ticks of the counter late"
    );
    world
        .call(Request::run(owner, 0))
        .returned(Function::MsgWait)?;
    Ok(())
}
