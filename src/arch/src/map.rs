// SPDX-License-Identifier: MIT OR Apache-2.0
//! Additions to the early map, until the final one replaces it.

use core::sync::atomic::{AtomicU64, Ordering};

use bulkhead_mm::attrs::{BranchTargets, MemoryType, Permissions, Space, Stage1Attributes};

use crate::entry;
use crate::layout::{self, EARLY_RAM_LIMIT, EARLY_WINDOW, IMAGE_BASE, PAGE_SIZE};
use crate::sysreg;

/// Bits 1:0 of a page's descriptor.
const VALID_PAGE: u64 = 0b11;

/// What the early map is asked to add.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EarlyPage {
    /// Device registers, readable and writable.
    Device,
    /// Secure memory, readable.
    ReadOnly,
}

/// Maps the page at the physical address `pa` into slot `slot` of the early map's windows; returns
/// its virtual address. Only while the early map is in use.
pub fn early_window(slot: usize, pa: u64, page: EarlyPage) -> usize {
    let attributes = match page {
        EarlyPage::Device => attributes(MemoryType::Device, Permissions::READ_WRITE),
        EarlyPage::ReadOnly => attributes(MemoryType::Normal, Permissions::READ_ONLY),
    };
    set_early_entry(7, slot, pa | attributes);
    EARLY_WINDOW + slot * PAGE_SIZE
}

/// Maps RAM behind the image into the early map, readable and writable; returns how many bytes from
/// the load address on are mapped then, at most `size`.
pub fn early_ram(size: usize) -> usize {
    let end = size.min(EARLY_RAM_LIMIT) / PAGE_SIZE;
    let first = (layout::image().end - IMAGE_BASE).div_ceil(PAGE_SIZE);
    for page in first..end {
        let pa = entry::load_address() + (page * PAGE_SIZE) as u64;
        set_early_entry(
            6,
            page,
            pa | attributes(MemoryType::Normal, Permissions::READ_WRITE),
        );
    }
    end * PAGE_SIZE
}

/// The descriptor bits of a secure page, apart from its address.
const fn attributes(memory: MemoryType, permissions: Permissions) -> u64 {
    let attributes = Stage1Attributes {
        memory,
        permissions,
        space: Space::Secure,
    };
    match attributes.encode(BranchTargets::Unchecked) {
        Some(bits) => bits | VALID_PAGE,
        None => panic!("the early map has no such pages"),
    }
}

/// Writes an entry that was invalid of the early map's table number `table` (see `entry`).
fn set_early_entry(table: usize, index: usize, value: u64) {
    assert!(
        index < PAGE_SIZE / size_of::<u64>(),
        "the early map has no entry {index}"
    );
    let tables = layout::early_tables().start;
    let entry = core::ptr::with_exposed_provenance::<AtomicU64>(
        tables + table * PAGE_SIZE + index * size_of::<u64>(),
    );
    // SAFETY: the early tables are mapped with the image and accessed as atomics alone; `index` is
    // within the page.
    unsafe { &*entry }.store(value, Ordering::Relaxed);
    sysreg::dsb();
    sysreg::isb();
}
