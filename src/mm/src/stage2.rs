// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stage 2 of a partition: one tree for its secure IPA space (VSTTBR_EL2), one for its non-secure
//! IPA space (VTTBR_EL2). A partition at S-EL0 has one tree for both, which is no stage 2
//! ([`El0Stage1`](crate::el0::El0Stage1)): the operations on it are these, too.

use crate::addr::Pa;
use crate::attrs::{BranchTargets, Space, Stage1Attributes, Stage2Attributes};
use crate::commit::Editor;
use crate::plan::MapError;
use crate::pool::{Account, PagePool};
use crate::table::{AddressFormat, Geometry, Level, TableMemory, Walks};
use crate::tlb::{Maintenance, Stage};
use crate::tree::{Format, Mapping, Reshape, Shape, Tree};

/// The smallest IPA size that [`Stage2Layout::new`] takes, in bits.
pub const MIN_IPA_BITS: u32 = 32;
/// The largest IPA size that [`Stage2Layout::new`] takes, in bits: without FEAT_LPA2.
pub const MAX_IPA_BITS: u32 = 48;
/// The largest IPA size that [`Stage2Layout::lpa2`] takes, in bits.
pub const MAX_LPA2_IPA_BITS: u32 = 52;
/// The largest IPA size for which a walk starts at level 1: 16 concatenated tables of 512 GiB.
const MAX_LEVEL_1_BITS: u32 = 43;
/// The width of an address, from which T0SZ counts down.
const ADDRESS_BITS: u32 = 64;
/// SL0 for a walk that starts at level 1, with the 4 KiB granule.
const SL0_LEVEL_1: u64 = 1;
/// SL0 for a walk that starts at level 0, with the 4 KiB granule.
const SL0_LEVEL_0: u64 = 2;
/// SL0, together with SL2 = 1, for a walk that starts at level −1.
const SL0_LEVEL_MINUS_1: u64 = 0;

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
        if ipa_bits > MAX_IPA_BITS {
            return None;
        }
        Self::of(ipa_bits, AddressFormat::Bits48)
    }

    /// As [`Stage2Layout::new`], with 52-bit descriptors and up to [`MAX_LPA2_IPA_BITS`] bits. Every
    /// core must have FEAT_LPA2 for the 4 KiB granule at stage 2 (`DECISIONS.md` 9).
    pub const fn lpa2(ipa_bits: u32) -> Option<Self> {
        Self::of(ipa_bits, AddressFormat::Bits52)
    }

    const fn of(ipa_bits: u32, format: AddressFormat) -> Option<Self> {
        if ipa_bits < MIN_IPA_BITS || ipa_bits > MAX_LPA2_IPA_BITS {
            return None;
        }
        let start = if ipa_bits <= MAX_LEVEL_1_BITS {
            Level::One
        } else if ipa_bits <= MAX_IPA_BITS {
            Level::Zero
        } else {
            Level::MinusOne
        };
        Some(Self {
            geometry: Geometry::new(start, ipa_bits, format),
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
            Level::MinusOne => SL0_LEVEL_MINUS_1,
            Level::Zero => SL0_LEVEL_0,
            _ => SL0_LEVEL_1,
        }
    }

    /// The SL2 field of VTCR_EL2 and VSTCR_EL2, not shifted.
    pub fn sl2(&self) -> u64 {
        u64::from(self.geometry.start() == Level::MinusOne)
    }

    /// The DS field of VTCR_EL2, not shifted.
    pub fn ds(&self) -> u64 {
        u64::from(self.geometry.format() == AddressFormat::Bits52)
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

/// The descriptors of a partition's tables.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PartitionFormat {
    /// Stage 2, for cores with HCR_EL2.FWB as it says.
    Stage2 {
        /// HCR_EL2.FWB.
        fwb: bool,
    },
    /// Stage 1 of S-EL0: those that lead to `space`. All others are none.
    El0 {
        /// The space of the output addresses.
        space: Space,
        /// Whether branches are checked.
        targets: BranchTargets,
    },
}

impl Format for PartitionFormat {
    type Attributes = Stage2Attributes;

    fn encode(&self, attributes: Stage2Attributes) -> Option<u64> {
        let Stage2Attributes {
            memory,
            permissions,
        } = attributes;
        match *self {
            Self::Stage2 { fwb } => attributes.encode(fwb),
            Self::El0 { space, targets } => Stage1Attributes {
                memory,
                permissions,
                space,
            }
            .encode_el0(targets),
        }
    }

    fn decode(&self, bits: u64) -> Option<Stage2Attributes> {
        match *self {
            Self::Stage2 { fwb } => Stage2Attributes::decode(bits, fwb),
            Self::El0 { space, .. } => Stage1Attributes::decode_el0(bits)
                .filter(|found| found.space == space)
                .map(|found| Stage2Attributes {
                    memory: found.memory,
                    permissions: found.permissions,
                }),
        }
    }
}

/// The stage-2 tables of one IPA space of a partition. The tables belong to `pool`, which must be
/// the same at every call, and lie in secure memory whichever space they map.
#[derive(Debug)]
pub struct Stage2 {
    pub(crate) tree: Tree<PartitionFormat>,
}

/// A tree without a root that is walked through caches and never reshaped.
const fn shape(layout: Stage2Layout, space: Space, account: Account) -> Shape {
    Shape {
        root: Pa(0),
        geometry: layout.geometry,
        stage: Stage::Two,
        space,
        base: 0,
        reshape: Reshape::Never,
        walks: Walks::Cached,
        account,
    }
}

impl Stage2 {
    /// An IPA space `space` in which nothing is mapped, for cores with HCR_EL2.FWB = `fwb`. Its
    /// tables count against the quota of `account`. `None` if that has no pages for the root.
    ///
    /// Blocks are split and merged as needed: a partition that touches the rest of one in that
    /// moment faults once, and is resumed. [`Stage2::with_reshape`] changes that.
    pub fn new(
        layout: Stage2Layout,
        space: Space,
        fwb: bool,
        account: Account,
        pool: &mut PagePool<'_>,
        mem: &mut (impl TableMemory + ?Sized),
    ) -> Option<Self> {
        let format = PartitionFormat::Stage2 { fwb };
        let mut shape = shape(layout, space, account);
        shape.reshape = Reshape::SplitAndMerge;
        let shape = shape.with_root(pool, mem)?;
        let tree = Tree { shape, format };
        Some(Self { tree })
    }

    /// As [`Stage2::new`], for the stage 2 of a stream of a device, whose walks are `walks`. No
    /// block or contiguous run is ever replaced: the device could not be resumed (`DECISIONS.md`
    /// 27). A request that needs it is [`MapError::Split`].
    pub fn for_dma(
        layout: Stage2Layout,
        space: Space,
        walks: Walks,
        account: Account,
        pool: &mut PagePool<'_>,
        mem: &mut (impl TableMemory + ?Sized),
    ) -> Option<Self> {
        let format = PartitionFormat::Stage2 { fwb: false };
        let mut shape = shape(layout, space, account);
        shape.walks = walks;
        let shape = shape.with_root(pool, mem)?;
        let tree = Tree { shape, format };
        Some(Self { tree })
    }

    /// The same tables, of which `reshape` holds from now on.
    #[must_use]
    pub const fn with_reshape(mut self, reshape: Reshape) -> Self {
        self.tree.shape.reshape = reshape;
        self
    }

    /// The same tables, of which those that are made from now on count against the quota of `account`.
    #[must_use]
    pub const fn with_account(mut self, account: Account) -> Self {
        self.tree.shape.account = account;
        self
    }

    /// The root's address, for VTTBR_EL2 or VSTTBR_EL2.
    pub const fn root(&self) -> Pa {
        self.tree.shape.root
    }

    /// The IPA space that the tables map.
    pub const fn space(&self) -> Space {
        self.tree.shape.space
    }

    /// The size of the IPA space.
    pub const fn layout(&self) -> Stage2Layout {
        Stage2Layout {
            geometry: self.tree.shape.geometry,
        }
    }

    /// How many pages [`Stage2::map`] takes from the pool at most, with the same arguments. What
    /// several requests take together is at most the sum of what each takes, if they are all to map
    /// or all to unmap and do not overlap.
    ///
    /// # Errors
    /// Those of [`Stage2::map`], but not [`MapError::NoMemory`].
    pub fn pages_to_map(
        &self,
        ipa: u64,
        pa: Pa,
        bytes: u64,
        attributes: Stage2Attributes,
        mem: &(impl TableMemory + ?Sized),
    ) -> Result<usize, MapError> {
        let request = self.tree.request(ipa, pa, bytes, attributes)?;
        self.tree.shape.tables_to_map(&request, mem)
    }

    /// As [`Stage2::pages_to_map`], for [`Stage2::unmap`].
    ///
    /// # Errors
    /// Those of [`Stage2::unmap`], but not [`MapError::NoMemory`].
    pub fn pages_to_unmap(
        &self,
        ipa: u64,
        bytes: u64,
        mem: &(impl TableMemory + ?Sized),
    ) -> Result<usize, MapError> {
        let span = self.tree.shape.span(ipa, bytes)?;
        self.tree.shape.tables_to_unmap(span, mem)
    }

    /// Maps `bytes` bytes from `ipa` on to `pa`, with the largest blocks that fit, and makes a block
    /// of what is one now.
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
        maintenance: &mut impl Maintenance,
    ) -> Result<(), MapError> {
        let request = self.tree.request(ipa, pa, bytes, attributes)?;
        Editor {
            pool,
            mem,
            maintenance,
        }
        .map(&self.tree.shape, &request)
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
        maintenance: &mut impl Maintenance,
    ) -> Result<(), MapError> {
        let span = self.tree.shape.span(ipa, bytes)?;
        Editor {
            pool,
            mem,
            maintenance,
        }
        .unmap(&self.tree.shape, span)
    }

    /// Takes `bytes` bytes from `ipa` on, all of which must be mapped, away for a time: they are not mapped,
    /// and nothing else can be mapped there, until [`Stage2::resume`] or [`Stage2::forget`], neither of
    /// which takes memory. A block of which a part stays mapped is split, for which the pool must have pages.
    ///
    /// # Errors
    /// [`MapError`], and nothing has changed.
    pub fn suspend(
        &mut self,
        ipa: u64,
        bytes: u64,
        pool: &mut PagePool<'_>,
        mem: &mut (impl TableMemory + ?Sized),
        maintenance: &mut impl Maintenance,
    ) -> Result<(), MapError> {
        let span = self.tree.shape.span(ipa, bytes)?;
        Editor {
            pool,
            mem,
            maintenance,
        }
        .suspend(&self.tree.shape, span)
    }

    /// Maps what was suspended in `bytes` bytes from `ipa` on again, as it was.
    pub fn resume(
        &mut self,
        ipa: u64,
        bytes: u64,
        pool: &mut PagePool<'_>,
        mem: &mut (impl TableMemory + ?Sized),
        maintenance: &mut impl Maintenance,
    ) {
        if let Ok(span) = self.tree.shape.span(ipa, bytes) {
            Editor {
                pool,
                mem,
                maintenance,
            }
            .resume(&self.tree.shape, span);
        }
    }

    /// Unmaps for good what was suspended in `bytes` bytes from `ipa` on, and frees tables that become empty.
    pub fn forget(
        &mut self,
        ipa: u64,
        bytes: u64,
        pool: &mut PagePool<'_>,
        mem: &mut (impl TableMemory + ?Sized),
        maintenance: &mut impl Maintenance,
    ) {
        if let Ok(span) = self.tree.shape.span(ipa, bytes) {
            Editor {
                pool,
                mem,
                maintenance,
            }
            .forget(&self.tree.shape, span);
        }
    }

    /// Gives `bytes` bytes from `ipa` on, all of which must be mapped, the attributes `attributes`.
    /// They are unmapped for a moment, and so is the rest of a block that is split for it.
    ///
    /// # Errors
    /// [`MapError`], and nothing has changed.
    pub fn change(
        &mut self,
        ipa: u64,
        bytes: u64,
        attributes: Stage2Attributes,
        pool: &mut PagePool<'_>,
        mem: &mut (impl TableMemory + ?Sized),
        maintenance: &mut impl Maintenance,
    ) -> Result<(), MapError> {
        let (span, attributes) = self.tree.change(ipa, bytes, attributes)?;
        Editor {
            pool,
            mem,
            maintenance,
        }
        .change(&self.tree.shape, span, attributes)
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

    /// As [`Stage2::lookup`], with the length in bytes, at most `bytes`, for which consecutive physical
    /// addresses with the same attributes follow.
    pub fn lookup_run(
        &self,
        ipa: u64,
        bytes: u64,
        mem: &(impl TableMemory + ?Sized),
    ) -> Option<(Pa, u64, Stage2Attributes)> {
        self.tree.lookup_run(ipa, bytes, mem)
    }

    /// The lowest address in `window` from which `bytes` bytes are neither mapped nor suspended; it is a
    /// multiple of `align`, a power of two.
    pub fn gap(
        &self,
        window: core::ops::Range<u64>,
        bytes: u64,
        align: u64,
        mem: &(impl TableMemory + ?Sized),
    ) -> Option<u64> {
        self.tree.gap(window, bytes, align, mem)
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
        maintenance: &mut impl Maintenance,
    ) {
        Editor {
            pool,
            mem,
            maintenance,
        }
        .release(&self.tree.shape);
    }
}
