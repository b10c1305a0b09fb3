// SPDX-License-Identifier: MIT OR Apache-2.0
//! A partition that masks all exceptions and spins while it initialises.
#![no_std]
#![no_main]

use bulkhead_payload::console::{self, Console};
use bulkhead_payload::{EntryState, println};

bulkhead_payload::entry!(main);

fn main(_: &EntryState) -> ! {
    console::select(Console::Log32);
    println!("[spin] about to spin for ever");
    // SAFETY: nothing in this partition waits for an exception.
    unsafe { core::arch::asm!("msr daifset, #0xf", options(nostack)) };
    loop {
        core::hint::spin_loop();
    }
}
