// SPDX-License-Identifier: MIT OR Apache-2.0
//! The partition of the demo: says what it found at boot, answers direct messages by inverting them, and
//! forwards one to another partition when asked to.
#![no_std]
#![no_main]

use bulkhead_abi::Version;
use bulkhead_cases::partition_world::start;
use bulkhead_cases::protocol::Caller;
use bulkhead_payload::boot_info::{TYPE_FDT, TYPE_HOB};
use bulkhead_payload::entry::image_start;
use bulkhead_payload::{EntryState, println};

bulkhead_payload::entry!(main);

fn main(entry: &EntryState) -> ! {
    let world = start(entry, &[]);
    let offered = world
        .boot
        .as_ref()
        .and_then(|boot| boot.negotiation.offered())
        .unwrap_or(Version::V1_0);
    println!(
        "[echo] partition {} runs at {:#x} and speaks FF-A {} with an SPMC of {offered}",
        world.id(),
        image_start(),
        world.version
    );
    match world.boot.as_ref().and_then(|boot| boot.info) {
        None => println!("[echo] partition {} found no boot information", world.id()),
        Some(info) => {
            let header = info.header();
            println!(
                "[echo] boot information at {:#x}: {} bytes",
                info.address(),
                header.size
            );
            for descriptor in info.descriptors() {
                let what = match descriptor.kind {
                    TYPE_FDT => "device tree",
                    TYPE_HOB => "hand-off blocks",
                    _ => "something else",
                };
                println!(
                    "[echo]   {what}: {} bytes at {:#x}",
                    descriptor.size, descriptor.content
                );
            }
        }
    }
    world.serve()
}
