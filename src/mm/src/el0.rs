// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stage 1 of a partition at S-EL0: the lower half of S-EL2's EL2&0 regime (TTBR0_EL2), with an ASID.
//! Such a partition has no stage 2 (`DECISIONS.md` 7): these tables are all that confines it.

use crate::addr::{Pa, Va};
use crate::attrs::{BranchTargets, Space, Stage1Attributes};
use crate::commit::Editor;
use crate::plan::MapError;
use crate::pool::{Account, PagePool};
use crate::table::{AddressFormat, Geometry, Level, TableMemory, Walks};
use crate::tlb::{Maintenance, Stage};
use crate::tree::{Format, Mapping, Reshape, Shape, Tree};

/// The smallest virtual address size, in bits.
pub const MIN_VA_BITS: u32 = 32;
/// The largest virtual address size, in bits. TCR_EL2.DS, which allows for more, is that of S-EL2's
/// own half too.
pub const MAX_VA_BITS: u32 = 48;
/// The largest size for which a walk starts at level 1: stage 1 has no concatenated tables.
const MAX_LEVEL_1_BITS: u32 = 39;
/// The width of an address, from which T0SZ counts down.
const ADDRESS_BITS: u32 = 64;

/// The descriptors.
#[derive(Clone, Copy, Debug)]
struct El0Format {
    targets: BranchTargets,
}

impl Format for El0Format {
    type Attributes = Stage1Attributes;

    fn encode(&self, attributes: Stage1Attributes) -> Option<u64> {
        attributes.encode_el0(self.targets)
    }

    fn decode(&self, bits: u64) -> Option<Stage1Attributes> {
        Stage1Attributes::decode_el0(bits)
    }
}

/// The stage-1 tables of a partition at S-EL0. The tables belong to `pool`, which must be the same at
/// every call. Entries belong to the partition's ASID, which `maintenance` knows.
#[derive(Debug)]
pub struct El0Stage1 {
    tree: Tree<El0Format>,
}

impl El0Stage1 {
    /// A lower half of `va_bits` bits, from [`MIN_VA_BITS`] to [`MAX_VA_BITS`], in which nothing is
    /// mapped. Its tables count against the quota of `account`. `None` for other sizes, or if the
    /// account has no page for the root.
    pub fn new(
        va_bits: u32,
        targets: BranchTargets,
        account: Account,
        pool: &mut PagePool<'_>,
        mem: &mut (impl TableMemory + ?Sized),
    ) -> Option<Self> {
        if !(MIN_VA_BITS..=MAX_VA_BITS).contains(&va_bits) {
            return None;
        }
        let start = if va_bits <= MAX_LEVEL_1_BITS {
            Level::One
        } else {
            Level::Zero
        };
        let shape = Shape {
            root: Pa(0),
            geometry: Geometry::new(start, va_bits, AddressFormat::Bits48),
            stage: Stage::One,
            space: Space::Secure,
            base: 0,
            reshape: Reshape::SplitAndMerge,
            walks: Walks::Cached,
            account,
        };
        let shape = shape.with_root(pool, mem)?;
        let format = El0Format { targets };
        let tree = Tree { shape, format };
        Some(Self { tree })
    }

    /// The root's address, for TTBR0_EL2.
    pub const fn root(&self) -> Pa {
        self.tree.shape.root
    }

    /// The T0SZ field of TCR_EL2, not shifted.
    pub fn t0sz(&self) -> u64 {
        u64::from(ADDRESS_BITS.saturating_sub(self.tree.shape.geometry.input_bits()))
    }

    /// Maps `bytes` bytes from `va` on to `pa`, with the largest blocks that fit.
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
        va: Va,
        pa: Pa,
        bytes: u64,
        attributes: Stage1Attributes,
        pool: &mut PagePool<'_>,
        mem: &mut (impl TableMemory + ?Sized),
        maintenance: &mut impl Maintenance,
    ) -> Result<(), MapError> {
        let request = self.tree.request(va.0, pa, bytes, attributes)?;
        Editor {
            pool,
            mem,
            maintenance,
        }
        .map(&self.tree.shape, &request)
    }

    /// Unmaps `bytes` bytes from `va` on, all of which must be mapped, and frees tables that become
    /// empty. A block of which a part stays mapped is split.
    ///
    /// # Errors
    /// [`MapError`], and nothing has changed.
    pub fn unmap(
        &mut self,
        va: Va,
        bytes: u64,
        pool: &mut PagePool<'_>,
        mem: &mut (impl TableMemory + ?Sized),
        maintenance: &mut impl Maintenance,
    ) -> Result<(), MapError> {
        let span = self.tree.shape.span(va.0, bytes)?;
        Editor {
            pool,
            mem,
            maintenance,
        }
        .unmap(&self.tree.shape, span)
    }

    /// Gives `bytes` bytes from `va` on, all of which must be mapped, the attributes `attributes`.
    /// They are unmapped for a moment, and so is the rest of a block that is split for it.
    ///
    /// # Errors
    /// [`MapError`], and nothing has changed.
    pub fn change(
        &mut self,
        va: Va,
        bytes: u64,
        attributes: Stage1Attributes,
        pool: &mut PagePool<'_>,
        mem: &mut (impl TableMemory + ?Sized),
        maintenance: &mut impl Maintenance,
    ) -> Result<(), MapError> {
        let (span, attributes) = self.tree.change(va.0, bytes, attributes)?;
        Editor {
            pool,
            mem,
            maintenance,
        }
        .change(&self.tree.shape, span, attributes)
    }

    /// The physical address of the byte at `va`, and what is allowed there.
    pub fn lookup(
        &self,
        va: Va,
        mem: &(impl TableMemory + ?Sized),
    ) -> Option<(Pa, Stage1Attributes)> {
        self.tree.lookup(va.0, mem)
    }

    /// As [`El0Stage1::lookup`], for `bytes` bytes that must be mapped to consecutive physical
    /// addresses with the same attributes.
    pub fn lookup_range(
        &self,
        va: Va,
        bytes: u64,
        mem: &(impl TableMemory + ?Sized),
    ) -> Option<(Pa, Stage1Attributes)> {
        self.tree.lookup_range(va.0, bytes, mem)
    }

    /// Calls `visitor` for each maximal range with consecutive addresses and the same attributes,
    /// in ascending order.
    pub fn walk(
        &self,
        mem: &(impl TableMemory + ?Sized),
        mut visitor: impl FnMut(Mapping<Stage1Attributes>),
    ) {
        self.tree.walk(mem, &mut visitor);
    }

    /// Unmaps everything, invalidates, and gives all tables back to the pool. No core may have the
    /// root in TTBR0_EL2 any more, and the ASID stays in use until this returns.
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
