// SPDX-License-Identifier: MIT OR Apache-2.0
//! FFA_RUN: R of the abuse cases.

use bulkhead_abi::{EndpointId, FfaError, Function};
use bulkhead_payload::Request;

use crate::normal_world::{NormalWorld, Role};
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_world::PartitionWorld;
use crate::protocol::Caller;
use crate::{cases, skip};

cases! {
    r1_running_what_does_not_exist_is_refused;
    r2_running_the_context_of_another_core_is_refused;
    r3_running_a_context_that_runs_elsewhere_is_busy;
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

fn r3_running_a_context_that_runs_elsewhere_is_busy(_: &mut NormalWorld) -> TestResult {
    skip!("the normal world's payload runs on one core");
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
