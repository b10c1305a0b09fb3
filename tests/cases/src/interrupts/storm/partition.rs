// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a partition does in the storm, besides handling its interrupts.

use bulkhead_abi::{EndpointId, FfaError, Function, Width};
use bulkhead_payload::Canary;
use bulkhead_payload::counter::{self, microseconds};
use bulkhead_payload::fp::FpState;
use bulkhead_payload::timers::{Timer, wait_for_interrupt};

use crate::interrupts::driver;
use crate::interrupts::halves::half;
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_world::PartitionWorld;
use crate::protocol::{Caller, run_half, status};
use crate::{ensure, fail};

/// The half's number.
pub(super) const STORM: usize = half::STORM;

/// What a request wishes, as bits.
pub(super) mod wish {
    /// How many bits there are that any request may have.
    pub const BITS: u64 = 5;
    /// The partition spins.
    pub const SPINS: u64 = 1 << 0;
    /// It sets the physical timer, unless that is set.
    pub const PHYSICAL: u64 = 1 << 1;
    /// It sets the virtual timer, unless that is set.
    pub const VIRTUAL: u64 = 1 << 2;
    /// It asks another partition.
    pub const ASKS: u64 = 1 << 3;
    /// It waits for an interrupt.
    pub const WAITS: u64 = 1 << 4;
    /// Whom it asks ends.
    pub const FATAL: u64 = 1 << 5;
}

/// How long a partition that handles an interrupt may be busy, in microseconds.
pub(super) const PATIENCE: u64 = 100_000;

/// What a partition makes of a value, which has 31 bits.
pub(super) const fn answer(value: u64) -> u64 {
    !value & 0x7fff_ffff
}

/// Serves one request: a value, wishes, and whom to ask in bits 15:0 with a time in microseconds above.
pub(in crate::interrupts) fn storm_half(
    world: &mut PartitionWorld,
    [value, wishes, what]: [u64; 3],
) -> TestResult<[u64; 4]> {
    let (next, time) = (EndpointId(what as u16), what >> 16);
    FpState::canaries(Canary::new(world.id())).load();
    let fp = FpState::current();
    for (timer, bit) in [
        (Timer::Physical, wish::PHYSICAL),
        (Timer::Virtual, wish::VIRTUAL),
    ] {
        if wishes & bit != 0 {
            driver::arm_if_free(timer, microseconds(time));
        }
    }
    if wishes & wish::SPINS != 0 {
        counter::spin(microseconds(time / 4));
    }
    if wishes & wish::WAITS != 0 {
        // Ended by an interrupt, or by FFA_RUN.
        wait_for_interrupt();
    }
    if wishes & wish::ASKS != 0 {
        ask(world, next, value ^ 0x55, wishes)?;
    }
    if let Some((name, expected, found)) = fp.difference(&FpState::current()) {
        fail!("{name} was {expected:#x} and came back as {found:#x}");
    }
    Ok([answer(value), 0, 0, 0])
}

fn ask(world: &mut PartitionWorld, next: EndpointId, value: u64, wishes: u64) -> TestResult {
    let is_fatal = wishes & wish::FATAL != 0;
    let wanted = if is_fatal { half::FAULT } else { STORM };
    let own_wishes = wishes & wish::SPINS;
    let payload = run_half(world.case(), wanted, [value, own_wishes, 100 << 16]);
    let mut reply = world.direct(Width::W64, next, payload);
    if is_fatal {
        // Another core may have it handle an interrupt just now.
        let end = counter::now() + microseconds(PATIENCE);
        while reply.is_error(FfaError::Busy) && counter::now() < end {
            counter::pause();
            reply = world.direct(Width::W64, next, payload);
        }
    }
    let reply = driver::await_answer(world, reply);
    if is_fatal {
        return reply.refused(FfaError::Aborted);
    }
    if reply.is(Function::MsgSendDirectResp) {
        ensure!(
            reply.sender() == next,
            "an answer of somebody else: {reply}"
        );
        let [found, result, ..] = reply.payload();
        equal("the status of the next", found, status::OK)?;
        return equal("the answer of the next", result, answer(value));
    }
    // Busy with another core's chain, or with this one.
    reply.refused_with_one_of(&[FfaError::Busy, FfaError::Denied])
}
