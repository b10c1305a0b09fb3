// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a partition has by its manifest, by name: for the line that says how it ended.

use core::fmt;

use bulkhead_mm::addr::PageRange;
use bulkhead_mm::attrs::{Permissions, Space};

/// Where a region comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegionKind {
    /// The partition's memory: its package, and what the SPMC manifest adds.
    Own,
    /// A node of `memory-regions` (B-24).
    Memory,
    /// A node of `device-regions` (B-25).
    Device,
}

/// A range of a partition's memory or devices.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    /// Where it comes from.
    pub kind: RegionKind,
    /// The name of the node; of no meaning for [`RegionKind::Own`].
    pub name: &'static str,
    /// The space of its addresses.
    pub space: Space,
    /// The physical addresses.
    pub range: PageRange,
    /// Where the partition sees it: the first intermediate physical address.
    pub ipa: u64,
    /// What stage 2 allows there.
    pub permissions: Permissions,
}

impl Region {
    /// A partition's own memory, which it sees where that is.
    pub const fn own(name: &'static str, range: PageRange) -> Self {
        Self {
            kind: RegionKind::Own,
            name,
            space: Space::Secure,
            range,
            ipa: range.base().0,
            permissions: Permissions::READ_WRITE_EXECUTE,
        }
    }

    /// Whether the byte at `ipa` in `space` is in the region.
    pub fn contains(&self, space: Space, ipa: u64) -> bool {
        let offset = ipa.checked_sub(self.ipa);
        self.space == space && offset.is_some_and(|offset| offset < self.range.bytes())
    }
}

/// As a partition's author finds it: the path in the manifest, or words.
impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            RegionKind::Own => f.write_str("its own memory"),
            RegionKind::Memory => write!(f, "/memory-regions/{}", self.name),
            RegionKind::Device => write!(f, "/device-regions/{}", self.name),
        }
    }
}

/// Memory that no partition has, and whose it is (DECISIONS 13).
#[derive(Clone, Copy, Debug)]
pub struct Reserved {
    /// Whose.
    pub owner: &'static str,
    /// The physical addresses.
    pub range: PageRange,
}

/// The region of `regions` that holds `ipa`: a part of the partition's own memory with permissions of
/// its own goes before that memory.
pub(crate) fn find(regions: &[Region], space: Space, ipa: u64) -> Option<&Region> {
    let holds = |region: &&Region| region.contains(space, ipa);
    let named = |region: &&Region| region.kind != RegionKind::Own;
    regions
        .iter()
        .filter(named)
        .find(holds)
        .or_else(|| regions.iter().find(holds))
}
