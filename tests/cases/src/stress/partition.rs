// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a partition does in the stress: it serves requests, and passes some on.

use bulkhead_abi::{EndpointId, FfaError, Function, Width};
use bulkhead_payload::Canary;
use bulkhead_payload::counter::{self, microseconds};
use bulkhead_payload::fp::FpState;
use bulkhead_payload::system_register::{Values, World};

use super::{NARROW, SPINS, WORK, answer};
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_world::PartitionWorld;
use crate::protocol::{Caller, run_half, status};
use crate::{ensure, fail};

/// How long a partition spins that is told to, in microseconds.
const SPIN: u64 = 300;

/// What a link of a chain sends to the next one.
const fn passed_on(value: u64) -> u64 {
    value ^ 0x5a5a_0000
}

/// Positions in [`PartitionWorld::notes`].
mod note {
    /// Requests that it served.
    pub const SERVED: usize = 0;
    /// Requests of its own that were answered.
    pub const ANSWERED: usize = 1;
    /// Requests of its own that were refused.
    pub const REFUSED: usize = 2;
}

/// Fills the FP, EL1 and EL0 registers of the context with new canaries.
fn fill(world: &mut PartitionWorld) {
    let canary = Canary::new(world.id());
    FpState::canaries(canary).load();
    world.fp = Some(FpState::current());
    let mut values = match world.el1 {
        Some(values) => values,
        None => {
            let mut values = Values::probe(World::Partition);
            values.capture();
            world.el1_before = Some(values);
            values
        }
    };
    values.fill(canary);
    world.el1 = Some(values);
}

/// Fails unless they are as they were filled, if they were.
fn check(world: &PartitionWorld) -> TestResult {
    let fp = world.fp.as_ref();
    let fp = fp.and_then(|expected| expected.difference(&FpState::current()));
    let el1 = world.el1.as_ref().and_then(Values::difference);
    if let Some((name, expected, found)) = fp.or(el1) {
        fail!("{name} was {expected:#x} and came back as {found:#x}");
    }
    Ok(())
}

/// Serves one request: `value`, the partitions to pass it on to (16 bits each, the next one lowest), and
/// flags. The canaries stay until the next request.
pub(super) fn work_half(
    world: &mut PartitionWorld,
    [value, path, flags]: [u64; 3],
) -> TestResult<[u64; 4]> {
    check(world)?;
    fill(world);
    world.notes[note::SERVED] += 1;
    if flags & SPINS != 0 {
        counter::spin(microseconds(SPIN));
    }
    let next = EndpointId(path as u16);
    if next.0 != 0 {
        let width = if flags & NARROW == 0 {
            Width::W64
        } else {
            Width::W32
        };
        let sent = passed_on(value);
        let payload = run_half(world.case(), WORK, [sent, path >> 16 & 0xffff, flags]);
        let reply = world.direct(width, next, payload);
        if reply.is(Function::MsgSendDirectResp) {
            ensure!(
                reply.sender() == next && reply.receiver() == world.id(),
                "an answer of somebody else: {reply}"
            );
            let [status, result, ..] = reply.payload();
            equal("the status of the next", status, status::OK)?;
            equal("the answer of the next", result, answer(sent))?;
            world.notes[note::ANSWERED] += 1;
        } else {
            // Busy with another core's chain, or with this one.
            reply.refused_with_one_of(&[FfaError::Busy, FfaError::Denied])?;
            world.notes[note::REFUSED] += 1;
        }
    }
    check(world)?;
    Ok([answer(value), 0, 0, 0])
}

/// What the context has counted since the last report, and how often FFA_RUN ran it.
pub(super) fn report_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    check(world)?;
    if let Some(before) = world.el1_before.take() {
        before.restore();
    }
    (world.el1, world.fp) = (None, None);
    let counts = core::mem::take(&mut world.notes);
    let runs = core::mem::take(&mut world.runs);
    Ok([
        counts[note::SERVED],
        counts[note::ANSWERED],
        counts[note::REFUSED],
        runs,
    ])
}
