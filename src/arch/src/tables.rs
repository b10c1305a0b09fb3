// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where translation tables lie, and how TLBs hear of changes to them.

use core::sync::atomic::{AtomicU64, Ordering};

use bulkhead_mm::addr::{PAGE_SIZE, Pa, PageRange};
use bulkhead_mm::attrs::Space;
use bulkhead_mm::stage2::Stage2;
use bulkhead_mm::table::{ENTRIES, TableMemory};
use bulkhead_mm::tlb::{Invalidation, Maintenance, Stage};

use crate::context::StageTwo;
use crate::entry;
use crate::features::Features;
use crate::sysreg;

/// The pages that tables are made of: a part of Bulkhead's RAM, in the linear area.
#[derive(Clone, Copy, Debug)]
pub struct TablePages {
    range: PageRange,
    /// The virtual address of the range.
    base: usize,
}

impl TablePages {
    /// The pages of `range`.
    ///
    /// # Safety
    /// The range is part of the linear area, mapped readable and writable, and no Rust object is or
    /// will be there: it is accessed through values of this type alone.
    pub unsafe fn new(range: PageRange) -> Self {
        Self {
            range,
            base: entry::linear(range.base().0),
        }
    }

    fn entry(&self, table: Pa, index: usize) -> &AtomicU64 {
        let offset = table.0.wrapping_sub(self.range.base().0);
        assert!(
            offset < self.range.bytes() && offset.is_multiple_of(PAGE_SIZE) && index < ENTRIES,
            "entry {index} of {table:?} is not among the pages for tables"
        );
        let address = self.base + offset as usize + index * size_of::<u64>();
        // SAFETY: the assertion and `new`: the entry is a mapped, aligned word that is accessed as an
        // atomic alone.
        unsafe { &*core::ptr::with_exposed_provenance(address) }
    }
}

impl TableMemory for TablePages {
    fn read(&self, table: Pa, index: usize) -> u64 {
        self.entry(table, index).load(Ordering::Relaxed)
    }

    fn write(&mut self, table: Pa, index: usize, descriptor: u64) {
        self.entry(table, index)
            .store(descriptor, Ordering::Relaxed);
    }

    fn zero(&mut self, table: Pa) {
        let first = core::ptr::from_ref(self.entry(table, 0)).cast_mut();
        // SAFETY: `entry` checked the page, whose entries follow each other; whoever zeroes a table
        // has it alone.
        unsafe { first.write_bytes(0, ENTRIES) }
    }
}

/// Beyond this many operations, everything of the stage is invalidated instead.
const MANY: u64 = 512;

fn publish() {
    // SAFETY: barriers change no state.
    unsafe { core::arch::asm!("dsb ishst", "isb", options(nostack, preserves_flags)) }
}

/// The operand's address field: bits 55:12 of an address in 43:0.
const fn operand(address: u64) -> u64 {
    (address >> 12) & 0xfff_ffff_ffff
}

fn addresses(what: Invalidation) -> Option<impl Iterator<Item = u64>> {
    let count = what.bytes.checked_div(what.stride)?;
    (count <= MANY).then(|| (0..count).map(move |step| what.start + step * what.stride))
}

/// TLB maintenance of S-EL2's own stage 1.
#[derive(Clone, Copy, Default, Debug)]
pub struct OwnTlb;

impl Maintenance for OwnTlb {
    fn publish(&mut self) {
        publish();
    }

    fn invalidate(&mut self, what: Invalidation) {
        debug_assert_eq!(what.stage, Stage::One);
        // SAFETY: invalidation makes walks happen again, no more.
        unsafe {
            core::arch::asm!("dsb ishst", options(nostack, preserves_flags));
            match addresses(what) {
                Some(addresses) => {
                    for address in addresses {
                        core::arch::asm!(
                            "tlbi vae2is, {}",
                            in(reg) operand(address),
                            options(nostack, preserves_flags),
                        );
                    }
                }
                None => core::arch::asm!("tlbi alle2is", options(nostack, preserves_flags)),
            }
            core::arch::asm!("dsb ish", "isb", options(nostack, preserves_flags));
        }
    }
}

/// TLB maintenance of a partition's stage 2.
#[derive(Clone, Copy, Debug)]
pub struct PartitionTlb(pub StageTwo);

/// Bit 63 of the operand: the address is in the non-secure IPA space (bug class 59).
const NON_SECURE: u64 = 1 << 63;

impl Maintenance for PartitionTlb {
    fn publish(&mut self) {
        publish();
    }

    fn invalidate(&mut self, what: Invalidation) {
        debug_assert_eq!(what.stage, Stage::Two);
        let space = match what.space {
            Space::Secure => 0,
            Space::NonSecure => NON_SECURE,
        };
        let loaded = (sysreg::read!("vttbr_el2"), sysreg::read!("S3_4_C2_C6_0"));
        // SAFETY: the partition's own roots are loaded while its VMID is needed (DECISIONS 28), and
        // those that were loaded come back; no lower level runs in between.
        unsafe {
            sysreg::write!("vttbr_el2", self.0.vttbr);
            sysreg::write!("S3_4_C2_C6_0", self.0.vsttbr);
            core::arch::asm!("isb", "dsb ishst", options(nostack, preserves_flags));
            match addresses(what) {
                Some(addresses) => {
                    for address in addresses {
                        core::arch::asm!(
                            "tlbi ipas2e1is, {}",
                            in(reg) operand(address) | space,
                            options(nostack, preserves_flags),
                        );
                    }
                    // Combined entries hold stage-2 results too (W9).
                    core::arch::asm!(
                        "dsb ish",
                        "tlbi vmalle1is",
                        options(nostack, preserves_flags),
                    );
                }
                None => core::arch::asm!("tlbi vmalls12e1is", options(nostack, preserves_flags)),
            }
            core::arch::asm!("dsb ish", "isb", options(nostack, preserves_flags));
            sysreg::write!("vttbr_el2", loaded.0);
            sysreg::write!("S3_4_C2_C6_0", loaded.1);
        }
        sysreg::isb();
    }
}

/// Invalidates everything of the EL1&0 regime on all cores: before VMIDs are used for the first time.
pub fn invalidate_all_partitions() {
    // SAFETY: as above.
    unsafe {
        core::arch::asm!(
            "dsb ishst",
            "tlbi alle1is",
            "dsb ish",
            "isb",
            options(nostack)
        );
    }
}

/// VTCR_EL2 and VSTCR_EL2: walks of inner shareable write-back memory, 4 KiB granule.
const WALKS: u64 = 1 << 8 | 1 << 10 | 0b11 << 12;
/// VTCR_EL2.VS: VMIDs of 16 bits.
const VTCR_VS: u64 = 1 << 19;
/// VTCR_EL2.NSA: the non-secure IPA space leads to the non-secure physical one. NSW = 0: its tables
/// are secure.
const VTCR_NSA: u64 = 1 << 30;
/// VTCR_EL2 and VSTCR_EL2: RES1. VSTCR_EL2.SA = SW = 0: the secure IPA space and its tables are
/// secure.
const RES1: u64 = 1 << 31;

impl StageTwo {
    /// The registers for a partition with the two roots and `vmid`, which is not zero and fits
    /// [`Features::vmid16`].
    pub fn new(secure: &Stage2, non_secure: &Stage2, vmid: u16, features: &Features) -> Self {
        let layout = secure.layout();
        let shape = layout.t0sz() | layout.sl0() << 6;
        let pa_size = u64::from(features.pa_range) << 16;
        let vmid_size = if features.vmid16 { VTCR_VS } else { 0 };
        Self {
            vttbr: u64::from(vmid) << 48 | non_secure.root().0,
            vsttbr: secure.root().0,
            vtcr: RES1 | VTCR_NSA | vmid_size | pa_size | WALKS | shape,
            vstcr: RES1 | shape,
        }
    }
}
