// SPDX-License-Identifier: MIT OR Apache-2.0
//! The partition that runs the partitions' halves of the two-world tests.
//!
//! It registers an entry for its other execution contexts, which a partition with one context is refused.
#![no_std]
#![no_main]

use bulkhead_cases::PARTITION_HALVES;
use bulkhead_cases::partition_world::start;
use bulkhead_payload::EntryState;

bulkhead_payload::entry!(main);

fn main(entry: &EntryState) -> ! {
    start(entry, &PARTITION_HALVES).serve()
}
