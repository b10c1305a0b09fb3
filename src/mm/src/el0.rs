// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stage 1 of a partition at S-EL0: the lower half of S-EL2's EL2&0 regime (TTBR0_EL2), with an ASID.
//! Such a partition has no stage 2 (`DECISIONS.md` 7): these tables are all that confines it.

use crate::addr::Pa;
use crate::attrs::{BranchTargets, Space, Stage2Attributes};
use crate::pool::{Account, PagePool};
use crate::stage2::{PartitionFormat, Stage2};
use crate::table::{AddressFormat, Geometry, Level, TableMemory, Walks};
use crate::tlb::Stage;
use crate::tree::{Reshape, Shape, Tree};

/// The smallest virtual address size, in bits.
pub const MIN_VA_BITS: u32 = 32;
/// The largest virtual address size, in bits. TCR_EL2.DS, which allows for more, is that of S-EL2's
/// own half too.
pub const MAX_VA_BITS: u32 = 48;
/// The largest size for which a walk starts at level 1: stage 1 has no concatenated tables.
const MAX_LEVEL_1_BITS: u32 = 39;
/// The width of an address, from which T0SZ counts down.
const ADDRESS_BITS: u32 = 64;

/// The stage-1 tables of a partition at S-EL0, which has the pages of both spaces there. Entries belong to the
/// partition's ASID, which the [`Maintenance`](crate::tlb::Maintenance) of each call knows.
#[derive(Debug)]
pub struct El0Stage1 {
    tables: Stage2,
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
        let space = Space::Secure;
        let shape = Shape {
            root: Pa(0),
            geometry: Geometry::new(start, va_bits, AddressFormat::Bits48),
            stage: Stage::One,
            space,
            base: 0,
            reshape: Reshape::SplitAndMerge,
            walks: Walks::Cached,
            account,
        };
        let shape = shape.with_root(pool, mem)?;
        let format = PartitionFormat::El0 { space, targets };
        let tree = Tree { shape, format };
        Some(Self {
            tables: Stage2 { tree },
        })
    }

    /// The root's address, for TTBR0_EL2.
    pub const fn root(&self) -> Pa {
        self.tables.root()
    }

    /// The T0SZ field of TCR_EL2, not shifted.
    pub fn t0sz(&self) -> u64 {
        let bits = self.tables.tree.shape.geometry.input_bits();
        u64::from(ADDRESS_BITS.saturating_sub(bits))
    }

    /// The tables, for what leads to `space`: virtual addresses stand for IPAs. What is mapped from now on leads
    /// there, and what leads elsewhere is mapped, but is not found.
    ///
    /// Pages that are writable and executable, or of the normal world and executable, are
    /// [`MapError::Attributes`](crate::MapError::Attributes).
    pub const fn of(&mut self, space: Space) -> &mut Stage2 {
        if let PartitionFormat::El0 { space: of, .. } = &mut self.tables.tree.format {
            *of = space;
        }
        &mut self.tables
    }

    /// As [`Stage2::lookup_run`] of [`of`](Self::of), for who may not change anything.
    pub fn lookup_run(
        &self,
        space: Space,
        va: u64,
        bytes: u64,
        mem: &(impl TableMemory + ?Sized),
    ) -> Option<(Pa, u64, Stage2Attributes)> {
        let targets = BranchTargets::Unchecked;
        let tree = Tree {
            shape: self.tables.tree.shape,
            format: PartitionFormat::El0 { space, targets },
        };
        tree.lookup_run(va, bytes, mem)
    }

    /// As [`Stage2::gap`], whatever the space.
    pub fn gap(
        &self,
        window: core::ops::Range<u64>,
        bytes: u64,
        align: u64,
        mem: &(impl TableMemory + ?Sized),
    ) -> Option<u64> {
        self.tables.gap(window, bytes, align, mem)
    }

    /// The same tables, of which `reshape` holds from now on, and of which those that are made from now on count
    /// against the quota of `account`.
    #[must_use]
    pub fn ready(mut self, reshape: Reshape, account: Account) -> Self {
        self.tables = self.tables.with_reshape(reshape).with_account(account);
        self
    }

    /// As [`Stage2::release`].
    pub fn release(
        self,
        pool: &mut PagePool<'_>,
        mem: &mut (impl TableMemory + ?Sized),
        maintenance: &mut impl crate::tlb::Maintenance,
    ) {
        self.tables.release(pool, mem, maintenance);
    }
}
