// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stage 1 of S-EL2 itself: the upper half of its EL2&0 regime (TTBR1_EL2, HCR_EL2.E2H = 1).

use crate::addr::{Pa, Va};
use crate::attrs::{BranchTargets, Space, Stage1Attributes};
use crate::commit::Editor;
use crate::plan::MapError;
use crate::pool::{Account, PagePool};
use crate::table::{AddressFormat, Geometry, Level, TableMemory, Walks};
use crate::tlb::{Maintenance, Stage};
use crate::tree::{Format, Mapping, Reshape, Shape, Tree};

/// How many bits of a virtual address the tables resolve.
pub const VA_BITS: u32 = 39;
/// The T1SZ field of TCR_EL2, not shifted.
pub const T1SZ: u64 = 25;
/// The first virtual address of the upper half; the last one is the last of all.
pub const UPPER_HALF: Va = Va(0xffff_ff80_0000_0000);

/// The descriptors of stage 1.
#[derive(Clone, Copy, Debug)]
struct Stage1Format {
    targets: BranchTargets,
}

impl Format for Stage1Format {
    type Attributes = Stage1Attributes;

    fn encode(&self, attributes: Stage1Attributes) -> Option<u64> {
        attributes.encode(self.targets)
    }

    fn decode(&self, bits: u64) -> Option<Stage1Attributes> {
        Stage1Attributes::decode(bits)
    }
}

/// The stage-1 tables of S-EL2. The tables belong to `pool`, which must be the same at every call.
/// Mappings are global: they belong to no ASID.
#[derive(Debug)]
pub struct Stage1 {
    tree: Tree<Stage1Format>,
}

impl Stage1 {
    /// An upper half in which nothing is mapped, and branch targets are unchecked. `None` if the
    /// pool has no page for the root. The tables count against the SPMC's quota.
    pub fn new(pool: &mut PagePool<'_>, mem: &mut (impl TableMemory + ?Sized)) -> Option<Self> {
        let geometry = Geometry::new(Level::One, VA_BITS, AddressFormat::Bits48);
        let format = Stage1Format {
            targets: BranchTargets::Unchecked,
        };
        let shape = Shape {
            root: Pa(0),
            geometry,
            stage: Stage::One,
            space: Space::Secure,
            base: UPPER_HALF.0,
            // A block may hold the code or the stack that splits it (`reference/BUG-CLASSES.md` 61).
            reshape: Reshape::Never,
            walks: Walks::Cached,
            account: Account::SPMC,
        };
        let shape = shape.with_root(pool, mem)?;
        let tree = Tree { shape, format };
        Some(Self { tree })
    }

    /// The same tables, whose executable mappings from now on say `targets`.
    #[must_use]
    pub const fn with_branch_targets(mut self, targets: BranchTargets) -> Self {
        self.tree.format.targets = targets;
        self
    }

    /// The root's address, for TTBR1_EL2.
    pub const fn root(&self) -> Pa {
        self.tree.shape.root
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
    /// empty.
    ///
    /// # Errors
    /// [`MapError`], and nothing has changed. A range that ends within a block or a contiguous run
    /// is [`MapError::Split`]: all of it would be unmapped for a moment, and it may hold the code
    /// that does this. Unmap what was mapped by one call.
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

    /// The physical address of the byte at `va`, and what is allowed there.
    pub fn lookup(
        &self,
        va: Va,
        mem: &(impl TableMemory + ?Sized),
    ) -> Option<(Pa, Stage1Attributes)> {
        self.tree.lookup(va.0, mem)
    }

    /// As [`Stage1::lookup`], for `bytes` bytes that must be mapped to consecutive physical
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
}
