// SPDX-License-Identifier: MIT OR Apache-2.0
//! FFA_RUN: R of the abuse cases.

use bulkhead_abi::{EndpointId, FfaError, Function, Width};
use bulkhead_payload::second_core::SecondCore;
use bulkhead_payload::{Canary, Request, counter};

use crate::normal_world::{LONG_SPIN, NormalWorld, Role};
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_world::PartitionWorld;
use crate::protocol::{Caller, command, run_half};
use crate::{cases, ensure, fail, rules, skip};

cases! {
    r1_running_what_does_not_exist_is_refused;
    r2_running_the_context_of_another_core_is_refused;
    r3_running_a_context_that_runs_elsewhere_is_busy: [spin_half];
    g10_a_request_to_a_partition_that_runs_elsewhere_is_busy: [spin_half];
    a20_a_multi_core_partition_answers_on_the_core_that_asks;
    r5_a_waiting_partition_runs_once_and_waits_again: [runs_half];
    r6_a_partition_may_not_run_the_normal_world: [r6_half];
    r7_a_partition_may_not_run_one_that_waits: [r7_half];
}

const NO_RESULTS: [u64; 4] = [0; 4];

fn r1_running_what_does_not_exist_is_refused(world: &mut NormalWorld) -> TestResult {
    let primary = world.tester(Role::Primary)?;
    let contexts = world
        .descriptor(primary)
        .map_or(1, |partition| partition.contexts);
    let unknown = world.unknown_partition();
    for (partition, context) in [
        (unknown, 0),
        (unknown, 0xffff),
        (EndpointId(0), 0),
        (EndpointId(3), 0),
        (primary, contexts),
        (primary, 0xffff),
    ] {
        world
            .call(Request::run(partition, context))
            .refused(FfaError::InvalidParameters)?;
    }
    Ok(())
}

fn r2_running_the_context_of_another_core_is_refused(world: &mut NormalWorld) -> TestResult {
    let Some(partition) = world
        .partitions
        .iter()
        .find(|partition| partition.contexts > 1)
        .copied()
    else {
        skip!("no partition has more than one execution context");
    };
    for context in 1..partition.contexts {
        world
            .call(Request::run(partition.id, context))
            .refused(FfaError::InvalidParameters)?;
    }
    Ok(())
}

/// The second core's request to a partition that spins, on its way.
fn busy_elsewhere(world: &mut NormalWorld) -> TestResult<(EndpointId, SecondCore)> {
    let busy = world.tester(Role::Secondary)?;
    let mut core = world.second_core()?;
    let payload = run_half(world.case(), 0, [0; 3]);
    let request = Request::direct(Width::W64, world.id(), busy, payload);
    core.post(request, Canary::new(world.id()));
    Ok((busy, core))
}

/// Repeats a call on this core until it is refused with BUSY, as long as the other one has not returned.
/// `idle` is what it returns while the partition waits.
fn until_busy(
    world: &mut NormalWorld,
    mut core: SecondCore,
    request: Request,
    idle: Function,
) -> TestResult {
    let mut refused = false;
    while !core.is_done() && !refused {
        let reply = world.call(request);
        refused = reply.is_error(FfaError::Busy);
        if !refused {
            reply.returned(idle)?;
        }
        counter::pause();
    }
    let reply = core.reply();
    if let Some(what) = rules::broken(&reply) {
        fail!("after the second core's call, {what}");
    }
    let [result, ..] = world.results(reply.sender(), &reply)?;
    equal("the result of the half", result, 0x600d)?;
    ensure!(refused, "the call was never refused with BUSY");
    Ok(())
}

fn r3_running_a_context_that_runs_elsewhere_is_busy(world: &mut NormalWorld) -> TestResult {
    let (busy, core) = busy_elsewhere(world)?;
    until_busy(world, core, Request::run(busy, 0), Function::MsgWait)
}

fn g10_a_request_to_a_partition_that_runs_elsewhere_is_busy(world: &mut NormalWorld) -> TestResult {
    let (busy, core) = busy_elsewhere(world)?;
    let request = Request::direct(Width::W64, world.id(), busy, [0; 5]);
    until_busy(world, core, request, Function::MsgSendDirectResp)
}

fn spin_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    counter::spin(counter::microseconds(LONG_SPIN));
    Ok([0x600d, 0, 0, 0])
}

fn a20_a_multi_core_partition_answers_on_the_core_that_asks(world: &mut NormalWorld) -> TestResult {
    let wide = world.partitions.iter().find(|partition| {
        partition.contexts > 1
            && world
                .testers()
                .iter()
                .any(|tester| tester.id == partition.id)
    });
    let Some(wide) = wide.map(|partition| partition.id) else {
        skip!("no tester has more than one execution context");
    };
    let mut core = world.second_core()?;
    let hello = [command::HELLO, 0, 0, 0, 0];
    let here = world
        .direct(Width::W64, wide, hello)
        .returned(Function::MsgSendDirectResp)?;
    core.post(
        Request::direct(Width::W64, world.id(), wide, hello),
        Canary::new(world.id()),
    );
    let there = core.reply().returned(Function::MsgSendDirectResp)?;
    equal("the context that answers the boot core", here.x(7), 0)?;
    equal("the context that answers the second core", there.x(7), 1)
}

fn r5_a_waiting_partition_runs_once_and_waits_again(world: &mut NormalWorld) -> TestResult {
    let primary = world.tester(Role::Primary)?;
    let [before, ..] = world.invoke(primary, 0, [0; 3])?;
    for _ in 0..3 {
        world
            .call(Request::run(primary, 0))
            .returned(Function::MsgWait)?;
    }
    let [after, ..] = world.invoke(primary, 0, [0; 3])?;
    equal("how often the partition ran", after - before, 3)
}

fn runs_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    Ok([world.runs, 0, 0, 0])
}

fn r6_a_partition_may_not_run_the_normal_world(world: &mut NormalWorld) -> TestResult {
    world.invoke(world.tester(Role::Primary)?, 0, [0; 3])?;
    Ok(())
}

fn r6_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    for vm in [0, 1] {
        world
            .call(Request::run(EndpointId(vm), 0))
            .refused(FfaError::Denied)?;
    }
    Ok(NO_RESULTS)
}

fn r7_a_partition_may_not_run_one_that_waits(world: &mut NormalWorld) -> TestResult {
    let (primary, secondary) = (world.tester(Role::Primary)?, world.tester(Role::Secondary)?);
    world.invoke(primary, 0, [secondary.0.into(), 0, 0])?;
    Ok(())
}

fn r7_half(world: &mut PartitionWorld, [waiting, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    world
        .call(Request::run(EndpointId(waiting as u16), 0))
        .refused(FfaError::Denied)?;
    Ok(NO_RESULTS)
}
