// SPDX-License-Identifier: MIT OR Apache-2.0
//! A partition that makes FF-A calls for ever while it initialises, and never waits.
#![no_std]
#![no_main]

use bulkhead_abi::{Function, Width};
use bulkhead_payload::call::smc;
use bulkhead_payload::console::{self, Console};
use bulkhead_payload::{EntryState, println};

bulkhead_payload::entry!(main);

fn main(_: &EntryState) -> ! {
    console::select(Console::Log32);
    println!("[neverwait] about to ask for ever");
    loop {
        for function in [Function::IdGet, Function::Features, Function::RxRelease] {
            let mut x = [0; 18];
            x[0] = function.id(Width::W32);
            smc(&mut x);
        }
    }
}
