// SPDX-License-Identifier: MIT OR Apache-2.0
//! Call chains: C of the abuse cases.

use arrayvec::ArrayVec;
use bulkhead_abi::{EndpointId, FfaError, Function, Width};
use bulkhead_payload::{Request, counter};

use crate::normal_world::{NormalWorld, Role, Tester};
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_world::PartitionWorld;
use crate::protocol::{Caller, run_half};
use crate::{cases, ensure, skip};

cases! {
    c1_a_request_back_to_the_requester_is_denied: [relay_half, denied_half, sends_half];
    c2_a_request_back_to_the_first_of_three_is_denied: [relay_half, denied_half, sends_half];
    c3_the_longest_chain_ends_in_a_refusal: [c3_half, sends_half];
    c4_only_the_last_of_a_preempted_chain_runs: [relay_half, spin_half];
}

const NO_RESULTS: [u64; 4] = [0; 4];

/// Ids of a chain in one argument, 16 bits each, the next one lowest.
fn path<const N: usize>(ids: [EndpointId; N]) -> u64 {
    ids.iter()
        .rev()
        .fold(0, |path, id| path << 16 | u64::from(id.0))
}

fn next(path: u64) -> EndpointId {
    EndpointId(path as u16)
}

/// Half 0 calls the next of the path: as itself while two or more follow, else the last one's half 1.
fn relay_half(world: &mut PartitionWorld, [path, target, _]: [u64; 3]) -> TestResult<[u64; 4]> {
    let (to, rest) = (next(path), path >> 16);
    let half = usize::from(rest == 0);
    let [depth, ..] = world.invoke(to, half, [rest, target, 0])?;
    Ok([depth + 1, 0, 0, 0])
}

/// Half 1 is the last of the chain: its request to the target, which waits for it, is denied.
fn denied_half(world: &mut PartitionWorld, [_, target, _]: [u64; 3]) -> TestResult<[u64; 4]> {
    for width in [Width::W32, Width::W64] {
        world
            .direct(width, next(target), [0; 5])
            .refused(FfaError::Denied)?;
    }
    Ok([1, 0, 0, 0])
}

/// Whether the partition may send at all: without that, a refusal proves nothing.
fn sends_half(world: &mut PartitionWorld, [to, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    let reply = world.direct(Width::W64, next(to), [0; 5]);
    Ok([reply.is(Function::MsgSendDirectResp).into(), 0, 0, 0])
}

/// Skips unless the last of a chain may send.
fn needs_sender(world: &mut NormalWorld, last: EndpointId, to: EndpointId) -> TestResult {
    let [sends, ..] = world.invoke(last, 2, [to.0.into(), 0, 0])?;
    if sends == 0 {
        skip!("{last} may not send messages in this configuration");
    }
    Ok(())
}

fn c1_a_request_back_to_the_requester_is_denied(world: &mut NormalWorld) -> TestResult {
    let (a, b) = (world.tester(Role::Primary)?, world.tester(Role::Secondary)?);
    needs_sender(world, b, a)?;
    let [depth, ..] = world.invoke(a, 0, [path([b]), a.0.into(), 0])?;
    equal("the length of the chain", depth, 2)
}

fn c2_a_request_back_to_the_first_of_three_is_denied(world: &mut NormalWorld) -> TestResult {
    let (a, b) = (world.tester(Role::Primary)?, world.tester(Role::Secondary)?);
    let c = world.tester(Role::Tertiary)?;
    needs_sender(world, c, a)?;
    for target in [a, b] {
        let [depth, ..] = world.invoke(a, 0, [path([b, c]), target.0.into(), 0])?;
        equal("the length of the chain", depth, 3)?;
    }
    Ok(())
}

/// Through every tester that sends; the last one's request closes the ring.
fn c3_the_longest_chain_ends_in_a_refusal(world: &mut NormalWorld) -> TestResult {
    let (primary, secondary) = (world.tester(Role::Primary)?, world.tester(Role::Secondary)?);
    let mut ids = ArrayVec::<EndpointId, 8>::new();
    for Tester { id, .. } in world.testers() {
        let to = if id == primary { secondary } else { primary };
        if let [1, ..] = world.invoke(id, 1, [to.0.into(), 0, 0])? {
            ids.push(id);
        }
    }
    let [first, _, ..] = ids[..] else {
        skip!("fewer than two testers may send messages in this configuration");
    };
    // Three arguments of four ids each, though eight are the most.
    let mut arguments = [0; 3];
    for (index, id) in ids.iter().enumerate().skip(1) {
        arguments[(index - 1) / 4] |= u64::from(id.0) << (16 * ((index - 1) % 4));
    }
    let [depth, ..] = world.invoke(first, 0, [arguments[0], arguments[1], first.0.into()])?;
    equal("the length of the chain", depth, ids.len() as u64)
}

fn c3_half(
    world: &mut PartitionWorld,
    [mut low, mut high, first]: [u64; 3],
) -> TestResult<[u64; 4]> {
    let to = next(low);
    low = low >> 16 | high << 48;
    high >>= 16;
    if to.0 != 0 {
        let [depth, ..] = world.invoke(to, 0, [low, high, first])?;
        return Ok([depth + 1, 0, 0, 0]);
    }
    let back = world.direct(Width::W64, next(first), [0; 5]);
    back.refused_with_one_of(&[FfaError::Busy, FfaError::Denied])?;
    Ok([1, 0, 0, 0])
}

fn c4_only_the_last_of_a_preempted_chain_runs(world: &mut NormalWorld) -> TestResult {
    let (a, b) = (world.tester(Role::Primary)?, world.tester(Role::Secondary)?);
    let request = Request::direct(
        Width::W64,
        world.id(),
        a,
        run_half(world.case(), 0, [path([b]), 0, 0]),
    );
    let mut reply = world.interrupted(request)?;
    equal(
        "the context in w1 of FFA_INTERRUPT",
        reply.x(1),
        u64::from(b.0) << 16,
    )?;
    world.call(Request::run(a, 0)).refused(FfaError::Denied)?;
    world
        .direct(Width::W64, a, [0; 5])
        .refused(FfaError::Busy)?;
    for _ in 0..100 {
        reply = world.call(Request::run(b, 0));
        if !reply.is(Function::Interrupt) {
            break;
        }
    }
    ensure!(
        reply.sender() == a,
        "the answer came from {}",
        reply.sender()
    );
    let [depth, ..] = world.results(a, &reply)?;
    equal("the length of the chain", depth, 1)
}

fn spin_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    counter::spin(counter::microseconds(crate::normal_world::LONG_SPIN));
    Ok(NO_RESULTS)
}
