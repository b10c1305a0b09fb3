// SPDX-License-Identifier: MIT OR Apache-2.0
//! FFA_YIELD (A-76, G33).

use bulkhead_abi::{EndpointId, FfaError, Function, Width, cycles};
use bulkhead_payload::{Reply, Request};

use crate::normal_world::{NormalWorld, Role};
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_world::PartitionWorld;
use crate::protocol::{Caller, run_half};
use crate::{cases, ensure};

cases! {
    a76_the_normal_world_gets_a_yield_and_resumes_it: [yields_half];
    a76_a_chain_that_yields_goes_to_the_normal_world_whole: [yields_half, relay_half];
    g33_a_yield_with_reserved_registers_is_refused: [reserved_half];
}

const TIMEOUTS: [u64; 4] = [0, 1, 0x1_2345_6789, u64::MAX];
const RESULT: u64 = 0x600d;

fn yields(timeout: u64) -> Request {
    Request::ffa(Function::Yield, Width::W32).with([0, timeout & 0xffff_ffff, timeout >> 32])
}

/// Yields with the timeout of its argument.
fn yields_half(world: &mut PartitionWorld, [timeout, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    let reply = world.call(yields(timeout)).succeeded()?;
    for index in 1..8 {
        equal("a register of FFA_SUCCESS", reply.x(index), 0)?;
    }
    Ok([RESULT, timeout, 0, 0])
}

/// Half 0 of another partition, whose results are this one's.
fn relay_half(world: &mut PartitionWorld, [timeout, to, _]: [u64; 3]) -> TestResult<[u64; 4]> {
    world.invoke(EndpointId(to as u16), 0, [timeout, 0, 0])
}

/// The request of half `half` to `asked`, in which context 0 of `last` yields.
fn yielded(
    world: &mut NormalWorld,
    asked: EndpointId,
    half: usize,
    last: EndpointId,
    timeout: u64,
) -> TestResult<Reply> {
    let arguments = [timeout, last.0.into(), 0];
    let payload = run_half(world.case(), half, arguments);
    let mut reply = world.direct(Width::W64, asked, payload);
    if reply.is(Function::Interrupt) {
        reply = world.resume(&reply)?;
    }
    let reply = reply.returned(Function::Yield)?;
    equal("w1 of FFA_YIELD", reply.x(1), u64::from(last.0) << 16)?;
    equal(
        "the timeout",
        cycles::yield_timeout(&reply.registers),
        timeout,
    )?;
    for index in 4..8 {
        equal("a reserved register of FFA_YIELD", reply.x(index), 0)?;
    }
    Ok(reply)
}

/// The results of the half that `asked` ran, when what `reply` names goes on.
fn resumed(world: &mut NormalWorld, asked: EndpointId, reply: &Reply, timeout: u64) -> TestResult {
    let end = world.resume(reply)?;
    ensure!(end.sender() == asked, "{} answered", end.sender());
    let [result, echoed, ..] = world.results(asked, &end)?;
    equal("the result", result, RESULT)?;
    equal("the timeout that it yielded with", echoed, timeout)
}

fn a76_the_normal_world_gets_a_yield_and_resumes_it(world: &mut NormalWorld) -> TestResult {
    for role in [Role::Primary, Role::Secondary] {
        let asked = world.tester(role)?;
        for timeout in TIMEOUTS {
            let reply = yielded(world, asked, 0, asked, timeout)?;
            world
                .direct(Width::W64, asked, [0; 5])
                .refused(FfaError::Busy)?;
            resumed(world, asked, &reply, timeout)?;
        }
    }
    Ok(())
}

fn a76_a_chain_that_yields_goes_to_the_normal_world_whole(world: &mut NormalWorld) -> TestResult {
    let (a, b) = (world.tester(Role::Primary)?, world.tester(Role::Secondary)?);
    for timeout in TIMEOUTS {
        let reply = yielded(world, a, 1, b, timeout)?;
        world.call(Request::run(a, 0)).refused(FfaError::Denied)?;
        for busy in [a, b] {
            world
                .direct(Width::W64, busy, [0; 5])
                .refused(FfaError::Busy)?;
        }
        resumed(world, a, &reply, timeout)?;
    }
    Ok(())
}

fn g33_a_yield_with_reserved_registers_is_refused(world: &mut NormalWorld) -> TestResult {
    world.invoke(world.tester(Role::Primary)?, 0, [0; 3])?;
    Ok(())
}

fn reserved_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    for register in [1, 4, 5, 6, 7] {
        let mut call = yields(5);
        call.x[register] = 0x8000_0001;
        world.call(call).refused(FfaError::InvalidParameters)?;
    }
    Ok([0; 4])
}
