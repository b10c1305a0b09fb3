// SPDX-License-Identifier: MIT OR Apache-2.0
//! A simulated machine: cores, an SPMD, memory for mailboxes, and partitions whose code is a Rust
//! closure, around the same core that the firmware runs.
//!
//! A scenario builds a [`Sim`], boots it, and makes calls from the normal world. A partition's
//! program is straight-line code on a thread of its own that only runs while its execution context
//! is entered, so a scenario is deterministic unless it uses several cores at once on purpose.
#![forbid(unsafe_code)]

pub mod coverage;
mod gic;
mod interrupts;
mod machine;
pub mod memory;
mod program;
mod puppet;
pub mod sharing;
pub mod tables;
mod world;

pub use gic::Line;
pub use interrupts::Gate;
pub use machine::{Context, Machine, PAGE, Pending};
pub use program::{Ended, Sp};
pub use puppet::Puppet;
pub use world::{Core, Look, Sim, SimBuilder, Spec, VM_BITMAPS, VMS, services};

use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Width};

/// Registers with x0 to x7 given and a recognisable value in every other.
pub fn call(x: [u64; 8]) -> Registers {
    let mut registers = Registers::ZERO;
    for (index, slot) in (0u64..).zip(&mut registers.x) {
        *slot = canary(index);
    }
    registers.x[..8].copy_from_slice(&x);
    registers
}

/// What [`call`] puts into register `index`.
pub fn canary(index: u64) -> u64 {
    0xcafe_0000_0000_0000 | (index << 8) | 0x5a
}

/// A call of `function` in its 32-bit form with w1 to w4.
pub fn ffa(function: Function, w: [u64; 4]) -> Registers {
    call([function.id(Width::W32), w[0], w[1], w[2], w[3], 0, 0, 0])
}

/// FFA_MSG_SEND_DIRECT_REQ in the given width.
pub fn request(width: Width, from: EndpointId, to: EndpointId, payload: [u64; 5]) -> Registers {
    let [a, b, c, d, e] = payload;
    let ids = EndpointId::pair(from, to);
    call([Function::MsgSendDirectReq.id(width), ids, 0, a, b, c, d, e])
}

/// FFA_MSG_SEND_DIRECT_RESP in the given width.
pub fn response(width: Width, from: EndpointId, to: EndpointId, payload: [u64; 5]) -> Registers {
    let mut registers = request(width, from, to, payload);
    registers.x[0] = Function::MsgSendDirectResp.id(width);
    registers
}

/// FFA_RUN.
pub fn run(partition: EndpointId, vcpu: u16) -> Registers {
    ffa(
        Function::Run,
        [EndpointId::pair(partition, EndpointId(vcpu)), 0, 0, 0],
    )
}

/// The error code of a reply, if it is FFA_ERROR with nothing else in x0 to x7.
pub fn error(reply: &Registers) -> Option<u64> {
    let [x0, x1, code, x3, x4, x5, x6, x7] = reply.x[..8] else {
        return None;
    };
    let clean = [x1, x3, x4, x5, x6, x7] == [0; 6];
    (x0 == Function::Error.id(Width::W32) && clean).then_some(code)
}

/// Fails unless `reply` is FFA_ERROR with `expected` and nothing else.
#[track_caller]
pub fn assert_error(reply: &Registers, expected: FfaError) {
    assert_eq!(
        error(reply),
        Some(expected.to_register()),
        "{:#x?}",
        &reply.x[..8]
    );
}

/// Fails unless `reply` is `function`.
#[track_caller]
pub fn assert_function(reply: &Registers, function: Function) {
    assert!(
        reply.x[0] == function.id(Width::W32) || reply.x[0] == function.id(Width::W64),
        "expected {function}, got {:#x?}",
        &reply.x[..8]
    );
}
