// SPDX-License-Identifier: MIT OR Apache-2.0
//! Direct responses, and what else a partition may not do while it has a request: G of the abuse cases.

use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::{EndpointId, FfaError, Function, Width};
use bulkhead_payload::Request;

use crate::normal_world::{NormalWorld, Role};
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_world::PartitionWorld;
use crate::protocol::{Caller, run_half, status};
use crate::{cases, ensure, fail};

cases! {
    g14_a_response_without_a_request_is_denied: [g14_arm_half, g14_result_half];
    g15_a_response_to_another_requester_is_denied: [g15_half];
    a06_a_response_with_a_foreign_sender_is_refused: [a06_half];
    g8_reserved_flags_of_a_response_are_refused: [g8_half];
    g16_a_response_of_the_other_kind_is_denied: [g16_resp2_half, g16_resp_half];
    g32_waiting_while_a_request_is_open_is_denied: [g32_half];
    g34_calls_out_of_place_change_nothing: [g34_half];
}

const NO_RESULTS: [u64; 4] = [0; 4];
const WIDTHS: [Width; 2] = [Width::W32, Width::W64];

fn g14_a_response_without_a_request_is_denied(world: &mut NormalWorld) -> TestResult {
    let primary = world.tester(Role::Primary)?;
    world.invoke(primary, 0, [0; 3])?;
    world
        .call(Request::run(primary, 0))
        .returned(Function::MsgWait)?;
    world.invoke(primary, 1, [0; 3])?;
    Ok(())
}

/// What a response without request left in the partition's notes: its statuses, and that it was tried.
fn g14_arm_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let Some(boot) = &world.boot else {
        fail!("this context did not boot the partition")
    };
    ensure!(
        boot.response == Some(FfaError::Denied.code()),
        "a response while initialising returned {:?}",
        boot.response
    );
    world.notes = [0; 8];
    world.on_run = Some(|world| {
        for (index, width) in WIDTHS.into_iter().enumerate() {
            let response = Request::response(width, world.id(), EndpointId::NORMAL_WORLD, [0; 5]);
            let reply = world.call(response);
            world.notes[index] = reply.error().unwrap_or(0) as u64;
        }
        world.notes[2] = 1;
    });
    Ok(NO_RESULTS)
}

fn g14_result_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let denied = FfaError::Denied.code() as u64;
    equal("how often FFA_RUN brought it here", world.notes[2], 1)?;
    equal("the status of a 32-bit response", world.notes[0], denied)?;
    equal("the status of a 64-bit response", world.notes[1], denied)?;
    Ok(NO_RESULTS)
}

fn g15_a_response_to_another_requester_is_denied(world: &mut NormalWorld) -> TestResult {
    let (primary, secondary) = (world.tester(Role::Primary)?, world.tester(Role::Secondary)?);
    world.invoke(primary, 0, [secondary.0.into(), 0, 0])?;
    Ok(())
}

/// The request came from the normal world; that its answer still arrives is the other half of the case.
fn g15_half(world: &mut PartitionWorld, [other, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    for to in [
        EndpointId(other as u16),
        EndpointId(7),
        EndpointId(0x8000),
        world.id(),
    ] {
        for width in WIDTHS {
            let response = Request::response(width, world.id(), to, [0; 5]);
            world.call(response).refused(FfaError::Denied)?;
        }
    }
    Ok(NO_RESULTS)
}

fn a06_a_response_with_a_foreign_sender_is_refused(world: &mut NormalWorld) -> TestResult {
    let (primary, secondary) = (world.tester(Role::Primary)?, world.tester(Role::Secondary)?);
    world.invoke(primary, 0, [secondary.0.into(), 0, 0])?;
    Ok(())
}

fn a06_half(world: &mut PartitionWorld, [other, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    for from in [EndpointId(other as u16), EndpointId(0), EndpointId(0x8000)] {
        for width in WIDTHS {
            let response = Request::response(width, from, EndpointId::NORMAL_WORLD, [0; 5]);
            world.call(response).refused(FfaError::InvalidParameters)?;
        }
    }
    Ok(NO_RESULTS)
}

fn g8_reserved_flags_of_a_response_are_refused(world: &mut NormalWorld) -> TestResult {
    world.invoke(world.tester(Role::Primary)?, 0, [0; 3])?;
    Ok(())
}

/// Reserved bits, and the bit of a framework message: this is none.
fn g8_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    for width in WIDTHS {
        for bit in [0, 8, 30, 31] {
            let to = EndpointId::NORMAL_WORLD;
            let mut response = Request::response(width, world.id(), to, [0; 5]);
            response.x[2] = 1 << bit;
            world.call(response).refused(FfaError::InvalidParameters)?;
        }
    }
    Ok(NO_RESULTS)
}

/// FFA_MSG_SEND_DIRECT_RESP2 to the normal world.
fn response2(world: &PartitionWorld) -> Request {
    Request::ffa(Function::MsgSendDirectResp2, Width::W64)
        .with([EndpointId::pair(world.id(), EndpointId::NORMAL_WORLD)])
}

fn g16_a_response_of_the_other_kind_is_denied(world: &mut NormalWorld) -> TestResult {
    let primary = world.tester(Role::Primary)?;
    world.invoke(primary, 0, [0; 3])?;
    let receives = Properties::DIRECT_REQ2_RECEIVE;
    if !world
        .descriptor(primary)
        .is_some_and(|partition| partition.properties.contains(receives))
    {
        return Ok(());
    }
    // The request of the second kind runs the other half, by the protocol's own words.
    let [a, b, c, d, e] = run_half(world.case(), 1, [0; 3]);
    let pair = EndpointId::pair(world.id(), primary);
    let request =
        Request::ffa(Function::MsgSendDirectReq2, Width::W64).with([pair, 0, 0, a, b, c, d, e]);
    let reply = world.call(request).returned(Function::MsgSendDirectResp2)?;
    equal("x4, the status of the half", reply.x(4), status::OK)
}

fn g16_resp2_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let known = world
        .ffa(
            Function::Features,
            [Function::MsgSendDirectResp2.id(Width::W64)],
        )
        .is(Function::Success);
    let expected = if known {
        FfaError::Denied
    } else {
        FfaError::NotSupported
    };
    let response = response2(world);
    world.call(response).refused(expected)?;
    Ok(NO_RESULTS)
}

fn g16_resp_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    for width in WIDTHS {
        let response = Request::response(width, world.id(), EndpointId::NORMAL_WORLD, [0; 5]);
        world.call(response).refused(FfaError::Denied)?;
    }
    Ok(NO_RESULTS)
}

fn g32_waiting_while_a_request_is_open_is_denied(world: &mut NormalWorld) -> TestResult {
    world.invoke(world.tester(Role::Primary)?, 0, [0; 3])?;
    Ok(())
}

fn g32_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    for _ in 0..3 {
        world.ffa(Function::MsgWait, []).refused(FfaError::Denied)?;
    }
    Ok(NO_RESULTS)
}

fn g34_calls_out_of_place_change_nothing(world: &mut NormalWorld) -> TestResult {
    world.invoke(world.tester(Role::Primary)?, 0, [0; 3])?;
    Ok(())
}

fn g34_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let calls = [
        Function::NormalWorldResume,
        Function::Interrupt,
        Function::El3IntrHandle,
        Function::RxAcquire,
        Function::Success,
        Function::Error,
        Function::MemRetrieveResp,
    ];
    for function in calls {
        let reply = world.ffa(function, []);
        let codes = [
            FfaError::NotSupported,
            FfaError::Denied,
            FfaError::InvalidParameters,
        ];
        if !codes.into_iter().any(|code| reply.is_error(code)) {
            fail!("{function} returned {reply}");
        }
    }
    Ok(NO_RESULTS)
}
