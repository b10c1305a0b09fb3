// SPDX-License-Identifier: MIT OR Apache-2.0
//! A partition's own stage 1: 39 bits of virtual address, the first gigabytes mapped to themselves, and
//! windows of a page each that a test aims where it likes.

use core::arch::asm;
use core::cell::UnsafeCell;

use crate::entry::{ExceptionLevel, exception_level};
use crate::memory::PAGE_SIZE;

/// How many descriptors a table has.
const ENTRIES: usize = PAGE_SIZE / 8;
/// Gigabytes that are mapped to themselves: where partitions are.
const IDENTITY: usize = 2;
/// The gigabyte of the windows.
const WINDOW_INDEX: usize = 4;
/// The virtual address of the first window.
pub const WINDOWS: usize = WINDOW_INDEX << 30;

/// A descriptor that points to a table.
pub const TABLE: u64 = 0b11;
/// A table descriptor whose tables, and all that they map, are non-secure (NSTable).
pub const NON_SECURE_TABLE: u64 = 1 << 63 | TABLE;
/// A page of normal memory: accessed, inner shareable, readable and writable at EL1 alone.
pub const PAGE: u64 = AF | SH_INNER | 0b11;
/// As [`PAGE`], for EL1 and EL0.
pub const PAGE_EL0: u64 = PAGE | 1 << 6;
const BLOCK: u64 = AF | SH_INNER | 0b01;
const AF: u64 = 1 << 10;
const SH_INNER: u64 = 0b11 << 8;

/// MAIR_EL1: attribute 0 is normal write-back memory.
const MAIR: u64 = 0xff;
/// TCR_EL1: T0SZ 25, walks of inner shareable write-back memory, no walks of the upper half, 48 bits of
/// output.
const TCR: u64 = 25 | 1 << 8 | 1 << 10 | 0b11 << 12 | 1 << 23 | 0b101 << 32;
/// SCTLR_EL1: RES1 bits, MMU and caches.
const SCTLR: u64 = 0x30d0_0980 | 1 | 1 << 2 | 1 << 12;

/// A table of descriptors.
#[repr(C, align(4096))]
pub struct Table(UnsafeCell<[u64; ENTRIES]>);

// SAFETY: every access is a volatile one of a word; see `Page`.
unsafe impl Sync for Table {}

impl Table {
    const fn empty() -> Self {
        Self(UnsafeCell::new([0; ENTRIES]))
    }

    /// Its address, virtual and physical.
    pub fn address(&self) -> u64 {
        self.0.get() as u64
    }

    /// Writes a descriptor.
    pub fn set(&self, index: usize, descriptor: u64) {
        assert!(index < ENTRIES, "entry {index} of a table");
        // SAFETY: in bounds; see the impl of `Sync`.
        unsafe {
            self.0
                .get()
                .cast::<u64>()
                .add(index)
                .write_volatile(descriptor)
        };
        flush();
    }
}

static ROOT: Table = Table::empty();
static LEVEL_2: Table = Table::empty();
static LEVEL_3: Table = Table::empty();

/// The root: entry N is gigabyte N.
pub fn root() -> &'static Table {
    &ROOT
}

/// Makes the tables, and turns the MMU on. S-EL0 has tables of Bulkhead's.
pub fn enable() {
    if exception_level() == ExceptionLevel::El0 {
        return;
    }
    for gigabyte in 0..IDENTITY {
        ROOT.set(gigabyte, (gigabyte as u64) << 30 | BLOCK);
    }
    ROOT.set(WINDOW_INDEX, LEVEL_2.address() | TABLE);
    LEVEL_2.set(0, LEVEL_3.address() | TABLE);
    registers(ROOT.address(), TCR, MAIR, SCTLR);
}

/// Aims window `index` with a page descriptor; returns the window's address: at S-EL0 where the page is.
pub fn window(index: usize, descriptor: u64) -> usize {
    if exception_level() == ExceptionLevel::El0 {
        const ADDRESS: u64 = 0xffff_ffff_f000;
        return (descriptor & ADDRESS) as usize;
    }
    LEVEL_3.set(index, descriptor);
    WINDOWS + index * PAGE_SIZE
}

/// Writes the registers of the EL1&0 regime, SCTLR_EL1 last.
pub fn registers(ttbr0: u64, tcr: u64, mair: u64, sctlr: u64) {
    // SAFETY: what the values do is the test's purpose.
    unsafe {
        asm!(
            "dsb sy",
            "msr mair_el1, {mair}",
            "msr tcr_el1, {tcr}",
            "msr ttbr0_el1, {ttbr0}",
            "isb",
            "tlbi vmalle1",
            "dsb sy",
            "isb",
            "msr sctlr_el1, {sctlr}",
            "isb",
            mair = in(reg) mair,
            tcr = in(reg) tcr,
            ttbr0 = in(reg) ttbr0,
            sctlr = in(reg) sctlr,
            options(nostack),
        );
    }
}

/// Turns the MMU off again.
pub fn disable() {
    if exception_level() == ExceptionLevel::El0 {
        return;
    }
    // SAFETY: code and data are mapped to themselves.
    unsafe {
        asm!("dsb sy", "msr sctlr_el1, {}", "isb", in(reg) SCTLR & !0x1005, options(nostack))
    };
    flush();
}

/// Forgets translations, after a change of a table.
pub fn flush() {
    // SAFETY: invalidation makes walks happen again, no more.
    unsafe { asm!("dsb sy", "tlbi vmalle1", "dsb sy", "isb", options(nostack)) };
}
