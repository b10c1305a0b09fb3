// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where translation tables lie, and how TLBs hear of changes to them.

use core::sync::atomic::{AtomicU64, Ordering};

use bulkhead_mm::addr::{PAGE_SIZE, Pa, PageRange};
use bulkhead_mm::stage2::Stage2;
use bulkhead_mm::table::{ENTRIES, TableMemory};
use bulkhead_mm::tlb::{
    self, Barrier, Instructions, Invalidation, Maintenance, Roots, Stage, Tlbi,
};

use crate::context::StageTwo;
use crate::features::{Features, PA_RANGE_48};
use crate::{cache, entry, sysreg};

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

    /// The pages of `range`, which are mapped from `base` on.
    ///
    /// # Safety
    /// As [`new`](Self::new), but for where they are mapped: for good, one after the other.
    pub const unsafe fn at(range: PageRange, base: usize) -> Self {
        Self { range, base }
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
        let first = core::ptr::from_ref(self.entry(table, 0)).addr();
        // SAFETY: `entry` checked the page, which is mapped and whose entries follow each other;
        // whoever zeroes a table has it alone.
        unsafe {
            core::arch::asm!(
                "2:",
                "stp xzr, xzr, [{next}]",
                "stp xzr, xzr, [{next}, #16]",
                "stp xzr, xzr, [{next}, #32]",
                "stp xzr, xzr, [{next}, #48]",
                "add {next}, {next}, #64",
                "cmp {next}, {end}",
                "b.lo 2b",
                next = inout(reg) first => _,
                end = in(reg) first + ENTRIES * size_of::<u64>(),
                options(nostack),
            );
        }
    }

    fn clean(&mut self, table: Pa, index: usize, count: usize) {
        let first = core::ptr::from_ref(self.entry(table, index)).addr();
        cache::clean_to_coherency(first, count * size_of::<u64>());
    }
}

/// This core: the sequences of [`tlb`], executed.
#[derive(Clone, Copy, Default, Debug)]
struct Core;

macro_rules! execute {
    ($($instruction:literal),+ $(, $operand:expr)?) => {
        // SAFETY: barriers and invalidations change no state that Rust knows of: walks happen again,
        // no more.
        unsafe {
            core::arch::asm!(
                $($instruction),+,
                $(in(reg) $operand,)?
                options(nostack, preserves_flags),
            )
        }
    };
}

impl Instructions for Core {
    #[inline]
    fn barrier(&mut self, barrier: Barrier) {
        match barrier {
            Barrier::Stores => execute!("dsb ishst"),
            Barrier::All => execute!("dsb ish"),
            Barrier::Instructions => execute!("isb"),
        }
    }

    #[inline]
    fn tlbi(&mut self, operation: Tlbi) {
        match operation {
            Tlbi::Va(operand) => execute!("tlbi vae2is, {}", operand),
            Tlbi::AllEl2 => execute!("tlbi alle2is"),
            Tlbi::Ipa(operand) => execute!("tlbi ipas2e1is, {}", operand),
            Tlbi::StageOne => execute!("tlbi vmalle1is"),
            Tlbi::BothStages => execute!("tlbi vmalls12e1is"),
            Tlbi::AllEl1 => execute!("tlbi alle1is"),
        }
    }

    fn roots(&self) -> Roots {
        Roots {
            vttbr: sysreg::read!("vttbr_el2"),
            vsttbr: sysreg::read!("S3_4_C2_C6_0"),
        }
    }

    fn load_roots(&mut self, roots: Roots) {
        // SAFETY: `Instructions::load_roots`: no lower level runs until the roots are its own again.
        unsafe {
            sysreg::write!("vttbr_el2", roots.vttbr);
            sysreg::write!("S3_4_C2_C6_0", roots.vsttbr);
        }
    }
}

/// TLB maintenance of S-EL2's own stage 1.
#[derive(Clone, Copy, Default, Debug)]
pub struct OwnTlb;

impl Maintenance for OwnTlb {
    fn publish(&mut self) {
        tlb::publish(&mut Core);
    }

    fn invalidate(&mut self, what: Invalidation) {
        debug_assert_eq!(what.stage, Stage::One);
        tlb::invalidate_stage_one(&mut Core, 0, what);
    }
}

/// TLB maintenance of a partition's tables.
#[derive(Clone, Copy, Debug)]
pub enum PartitionTlb {
    /// Those of its stage 2.
    StageTwo(StageTwo),
    /// Those of S-EL0, which has this ASID.
    El0(u16),
}

impl Maintenance for PartitionTlb {
    fn publish(&mut self) {
        tlb::publish(&mut Core);
    }

    fn invalidate(&mut self, what: Invalidation) {
        match self {
            Self::StageTwo(registers) => {
                debug_assert_eq!(what.stage, Stage::Two);
                tlb::invalidate_stage_two(&mut Core, registers.roots(), what);
            }
            Self::El0(asid) => {
                debug_assert_eq!(what.stage, Stage::One);
                tlb::invalidate_stage_one(&mut Core, *asid, what);
            }
        }
    }
}

/// Invalidates everything of the EL1&0 regime on all cores: before VMIDs are used for the first time.
pub fn invalidate_all_partitions() {
    tlb::invalidate_all_vmids(&mut Core);
}

/// VTCR_EL2 and VSTCR_EL2: walks of inner shareable write-back memory, 4 KiB granule.
const WALKS: u64 = 1 << 8 | 1 << 10 | 0b11 << 12;
/// VTCR_EL2.VS: VMIDs of 16 bits.
const VTCR_VS: u64 = 1 << 19;
/// VTCR_EL2.NSA: the non-secure IPA space leads to the non-secure physical one. NSW = 0: its tables
/// are secure.
const VTCR_NSA: u64 = 1 << 30;
/// VTCR_EL2.DS: descriptors hold 52-bit addresses.
const VTCR_DS_SHIFT: u32 = 32;
/// VTCR_EL2 and VSTCR_EL2: SL2, which with SL0 says where a walk starts.
const SL2_SHIFT: u32 = 33;
/// VTCR_EL2 and VSTCR_EL2: RES1. VSTCR_EL2.SA = SW = 0: the secure IPA space and its tables are
/// secure.
const RES1: u64 = 1 << 31;

impl StageTwo {
    const fn roots(&self) -> Roots {
        Roots {
            vttbr: self.vttbr,
            vsttbr: self.vsttbr,
        }
    }

    /// The registers for a partition with the two roots and `vmid`, which is not zero and fits
    /// [`Features::vmid16`].
    pub fn new(secure: &Stage2, non_secure: &Stage2, vmid: u16, features: &Features) -> Self {
        let layout = secure.layout();
        let shape = layout.t0sz() | layout.sl0() << 6 | layout.sl2() << SL2_SHIFT;
        let format = layout.ds() << VTCR_DS_SHIFT;
        // Without DS, output addresses have 48 bits at most.
        let pa_range = match layout.ds() {
            0 => features.pa_range.min(PA_RANGE_48),
            _ => features.pa_range,
        };
        let pa_size = u64::from(pa_range) << 16;
        let vmid_size = if features.vmid16 { VTCR_VS } else { 0 };
        Self {
            vttbr: u64::from(vmid) << 48 | non_secure.root().0,
            vsttbr: secure.root().0,
            vtcr: RES1 | VTCR_NSA | vmid_size | pa_size | format | WALKS | shape,
            vstcr: RES1 | shape,
        }
    }
}
