// SPDX-License-Identifier: MIT OR Apache-2.0
//! A partition that touches memory outside of its stage 2 while it initialises.
#![no_std]
#![no_main]

use bulkhead_payload::console::{self, Console};
use bulkhead_payload::panic::foreign_address;
use bulkhead_payload::{EntryState, memory, println};

bulkhead_payload::entry!(main);

fn main(_: &EntryState) -> ! {
    console::select(Console::Log32);
    let address = foreign_address();
    println!("[crash] about to write to {address:#x}");
    memory::store(address, 0);
    println!("[crash] survived the write");
    loop {
        core::hint::spin_loop();
    }
}
