// SPDX-License-Identifier: MIT OR Apache-2.0
//! A partition that knows nothing of Bulkhead: what any S-EL1 image of the field does, by SMC and in FF-A 1.0.
//!
//! It asks for its version, id and the features that it needs, prints a line, waits, and answers every direct
//! message with the payload it got.
#![no_std]
#![no_main]

use bulkhead_abi::{Function, Version, Width};
use bulkhead_payload::call::smc;
use bulkhead_payload::console::{self, Console};
use bulkhead_payload::{EntryState, println};

bulkhead_payload::entry!(main);

fn call(id: u64, arguments: [u64; 7]) -> [u64; 18] {
    let mut x = [0; 18];
    x[0] = id;
    x[1..8].copy_from_slice(&arguments);
    smc(&mut x);
    x
}

fn main(_: &EntryState) -> ! {
    console::select(Console::Log32);
    let ask = |function: Function, w1| call(function.id(Width::W32), [w1, 0, 0, 0, 0, 0, 0]);
    let version = ask(Function::Version, Version::V1_0.to_word().into())[0];
    let id = ask(Function::IdGet, 0)[2];
    let direct = ask(
        Function::Features,
        Function::MsgSendDirectReq.id(Width::W32),
    )[0];
    let known = if direct == Function::Success.id(Width::W32) {
        "has"
    } else {
        "lacks"
    };
    println!(
        "[plain] partition {id:#06x} of an SPMC of version {version:#x} that {known} direct messages"
    );
    let mut message = ask(Function::MsgWait, 0);
    loop {
        let width = if message[0] == Function::MsgSendDirectReq.id(Width::W64) {
            Width::W64
        } else {
            Width::W32
        };
        message = if message[0] == Function::MsgSendDirectReq.id(width) {
            let ends = (message[1] & 0xffff) << 16 | message[1] >> 16 & 0xffff;
            let response = Function::MsgSendDirectResp.id(width);
            call(
                response,
                [
                    ends, 0, message[3], message[4], message[5], message[6], message[7],
                ],
            )
        } else {
            ask(Function::MsgWait, 0)
        };
    }
}
