// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stage 2 of a partition: one tree for its secure IPA space (VSTTBR_EL2), one for its non-secure
//! IPA space (VTTBR_EL2).

use crate::addr::Pa;
use crate::attrs::{Space, Stage2Attributes};
use crate::commit::Editor;
use crate::plan::MapError;
use crate::pool::PagePool;
use crate::table::{Geometry, Level, TableMemory};
use crate::tlb::{Maintenance, Stage};
use crate::tree::{Format, Mapping, Split, Tree};

/// The smallest IPA size that [`Stage2Layout::new`] takes, in bits.
pub const MIN_IPA_BITS: u32 = 32;
/// The largest IPA size that [`Stage2Layout::new`] takes, in bits: without FEAT_LPA2.
pub const MAX_IPA_BITS: u32 = 48;
/// The largest IPA size for which a walk starts at level 1: 16 concatenated tables of 512 GiB.
const MAX_LEVEL_1_BITS: u32 = 43;
/// The width of an address, from which T0SZ counts down.
const ADDRESS_BITS: u32 = 64;
/// SL0 for a walk that starts at level 1, with the 4 KiB granule.
const SL0_LEVEL_1: u64 = 1;
/// SL0 for a walk that starts at level 0, with the 4 KiB granule.
const SL0_LEVEL_0: u64 = 2;

/// How large an IPA space is, and so where its walk starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stage2Layout {
    geometry: Geometry,
}

impl Stage2Layout {
    /// An IPA space of `ipa_bits` bits; `None` unless it is from [`MIN_IPA_BITS`] to
    /// [`MAX_IPA_BITS`]. The caller takes no more than the physical address size of every core
    /// (ID_AA64MMFR0_EL1.PARange): a walk of a larger space faults.
    pub const fn new(ipa_bits: u32) -> Option<Self> {
        if ipa_bits < MIN_IPA_BITS || ipa_bits > MAX_IPA_BITS {
            return None;
        }
        let start = if ipa_bits <= MAX_LEVEL_1_BITS {
            Level::One
        } else {
            Level::Zero
        };
        Some(Self {
            geometry: Geometry::new(start, ipa_bits),
        })
    }

    /// How many bits an IPA has.
    pub const fn ipa_bits(&self) -> u32 {
        self.geometry.input_bits()
    }

    /// The T0SZ field of VTCR_EL2 and VSTCR_EL2, not shifted.
    pub fn t0sz(&self) -> u64 {
        u64::from(ADDRESS_BITS.saturating_sub(self.geometry.input_bits()))
    }

    /// The SL0 field of VTCR_EL2 and VSTCR_EL2, not shifted.
    pub const fn sl0(&self) -> u64 {
        match self.geometry.start() {
            Level::Zero => SL0_LEVEL_0,
            _ => SL0_LEVEL_1,
        }
    }

    /// The level at which a walk starts.
    pub const fn start_level(&self) -> Level {
        self.geometry.start()
    }

    /// How many pages the root takes: 1 to 16, aligned to their number.
    pub const fn root_pages(&self) -> usize {
        self.geometry.root_pages()
    }
}

/// The descriptors of stage 2.
#[derive(Clone, Copy, Debug)]
struct Stage2Format {
    space: Space,
    fwb: bool,
}

impl Format for Stage2Format {
    type Attributes = Stage2Attributes;
    const STAGE: Stage = Stage::Two;
    const BASE: u64 = 0;
    // A partition that touches the rest of the block in the meantime faults once, and is resumed.
    const SPLIT: Split = Split::BreakBeforeMake;

    fn space(&self) -> Space {
        self.space
    }

    fn encode(&self, attributes: Stage2Attributes) -> Option<u64> {
        attributes.encode(self.fwb)
    }

    fn decode(&self, bits: u64) -> Option<Stage2Attributes> {
        Stage2Attributes::decode(bits, self.fwb)
    }
}

/// The stage-2 tables of one IPA space of a partition. The tables belong to `pool`, which must be
/// the same at every call, and lie in secure memory whichever space they map.
#[derive(Debug)]
pub struct Stage2 {
    tree: Tree<Stage2Format>,
}

impl Stage2 {
    /// An IPA space `space` in which nothing is mapped, for cores with HCR_EL2.FWB = `fwb`. `None`
    /// if the pool has no pages for the root.
    pub fn new(
        layout: Stage2Layout,
        space: Space,
        fwb: bool,
        pool: &mut PagePool<'_>,
        mem: &mut (impl TableMemory + ?Sized),
    ) -> Option<Self> {
        let pages = layout.root_pages();
        let root = pool.alloc_contiguous(pages, pages, mem)?;
        let format = Stage2Format { space, fwb };
        Some(Self {
            tree: Tree {
                root,
                geometry: layout.geometry,
                format,
            },
        })
    }

    /// The root's address, for VTTBR_EL2 or VSTTBR_EL2.
    pub const fn root(&self) -> Pa {
        self.tree.root
    }

    /// The IPA space that the tables map.
    pub const fn space(&self) -> Space {
        self.tree.format.space
    }

    /// The size of the IPA space.
    pub const fn layout(&self) -> Stage2Layout {
        Stage2Layout {
            geometry: self.tree.geometry,
        }
    }

    /// Maps `bytes` bytes from `ipa` on to `pa`, with the largest blocks that fit.
    ///
    /// # Errors
    /// [`MapError`], and nothing has changed. A page that is already mapped is
    /// [`MapError::Overlap`], whatever it is mapped to.
    #[expect(
        clippy::too_many_arguments,
        reason = "the last three are one environment"
    )]
    pub fn map(
        &mut self,
        ipa: u64,
        pa: Pa,
        bytes: u64,
        attributes: Stage2Attributes,
        pool: &mut PagePool<'_>,
        mem: &mut (impl TableMemory + ?Sized),
        maintenance: &mut (impl Maintenance + ?Sized),
    ) -> Result<(), MapError> {
        let request = self.tree.request(ipa, pa, bytes, attributes)?;
        Editor {
            pool,
            mem,
            maintenance,
        }
        .map(&self.tree, &request)
    }

    /// Unmaps `bytes` bytes from `ipa` on, all of which must be mapped, and frees tables that
    /// become empty. A block of which a part stays mapped is split, for which the pool must have
    /// pages; all of the block is unmapped for a moment.
    ///
    /// # Errors
    /// [`MapError`], and nothing has changed.
    pub fn unmap(
        &mut self,
        ipa: u64,
        bytes: u64,
        pool: &mut PagePool<'_>,
        mem: &mut (impl TableMemory + ?Sized),
        maintenance: &mut (impl Maintenance + ?Sized),
    ) -> Result<(), MapError> {
        let span = self.tree.span(ipa, bytes)?;
        Editor {
            pool,
            mem,
            maintenance,
        }
        .unmap(&self.tree, span)
    }

    /// The physical address of the byte at `ipa`, and what is allowed there.
    pub fn lookup(
        &self,
        ipa: u64,
        mem: &(impl TableMemory + ?Sized),
    ) -> Option<(Pa, Stage2Attributes)> {
        self.tree.lookup(ipa, mem)
    }

    /// As [`Stage2::lookup`], for `bytes` bytes that must be mapped to consecutive physical
    /// addresses with the same attributes.
    pub fn lookup_range(
        &self,
        ipa: u64,
        bytes: u64,
        mem: &(impl TableMemory + ?Sized),
    ) -> Option<(Pa, Stage2Attributes)> {
        self.tree.lookup_range(ipa, bytes, mem)
    }

    /// Calls `visitor` for each maximal range with consecutive addresses and the same attributes,
    /// in ascending order.
    pub fn walk(
        &self,
        mem: &(impl TableMemory + ?Sized),
        mut visitor: impl FnMut(Mapping<Stage2Attributes>),
    ) {
        self.tree.walk(mem, &mut visitor);
    }

    /// Unmaps everything, invalidates, and gives all tables back to the pool. No core may have the
    /// root in VTTBR_EL2 or VSTTBR_EL2 any more, and the VMID stays in use until this returns.
    pub fn release(
        self,
        pool: &mut PagePool<'_>,
        mem: &mut (impl TableMemory + ?Sized),
        maintenance: &mut (impl Maintenance + ?Sized),
    ) {
        Editor {
            pool,
            mem,
            maintenance,
        }
        .release(&self.tree);
    }
}
