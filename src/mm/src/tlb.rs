// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the tables' editor asks of the translation lookaside buffers.

use crate::attrs::Space;

/// A stage of translation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stage {
    /// The EL2&0 regime of S-EL2: virtual to physical addresses.
    One,
    /// A partition's stage 2: intermediate physical to physical addresses.
    Two,
}

/// A range of input addresses of which nothing may stay cached, neither translations nor
/// intermediate walk steps. Stage-2 entries are those of the VMID to which the tables belong:
/// the implementation knows it, and must have it in VTTBR_EL2 (`DECISIONS.md` 28).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Invalidation {
    /// The stage.
    pub stage: Stage,
    /// Stage 2: the space of the input addresses (the NS bit of the operand). Stage 1: secure.
    pub space: Space,
    /// The first address: an IPA, or a whole virtual address including its upper bits.
    pub start: u64,
    /// The length in bytes, a multiple of `stride`.
    pub bytes: u64,
    /// The size in bytes of the smallest entry removed in the range: invalidating one address in
    /// each `stride` bytes from `start` on is enough.
    pub stride: u64,
}

/// Barriers and invalidations.
pub trait Maintenance {
    /// Orders earlier table writes before later accesses and table walks of all cores. It is called
    /// after new valid descriptors have been written, and before a table that was filled is linked
    /// into a tree that may be in use.
    fn publish(&mut self);

    /// Makes earlier table writes visible to table walks, invalidates on all cores, and returns
    /// when that is complete. It is called after descriptors have been made invalid, before others
    /// take their place and before tables that they pointed to are reused.
    fn invalidate(&mut self, invalidation: Invalidation);
}

/// For tables that no core uses yet: nothing can be cached, and whoever puts the tables to use
/// publishes them.
#[derive(Clone, Copy, Default, Debug)]
pub struct Unused;

impl Maintenance for Unused {
    fn publish(&mut self) {}
    fn invalidate(&mut self, _: Invalidation) {}
}
