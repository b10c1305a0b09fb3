// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ranges of addresses or offsets.

use core::fmt;

/// `size` bytes from `base`. Made by [`Range::new`], which refuses a range that leaves 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// The first address or offset.
    pub base: u64,
    /// The length in bytes.
    pub size: u64,
}

impl Range {
    /// The range, or `None` where `base + size` does not fit (P6).
    pub const fn new(base: u64, size: u64) -> Option<Self> {
        match base.checked_add(size) {
            Some(_) => Some(Self { base, size }),
            None => None,
        }
    }

    /// The first address behind the range.
    pub const fn end(&self) -> u64 {
        self.base.saturating_add(self.size)
    }

    /// Whether the range has no byte.
    pub const fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// Whether both have a byte in common: equal, nested, enclosing or partial (P7).
    pub const fn overlaps(&self, other: &Self) -> bool {
        !self.is_empty()
            && !other.is_empty()
            && self.base < other.end()
            && other.base < self.end()
    }

    /// Whether all of `other` lies within.
    pub const fn contains(&self, other: &Self) -> bool {
        self.base <= other.base && other.end() <= self.end()
    }

    /// Whether `address` lies within.
    pub const fn contains_address(&self, address: u64) -> bool {
        self.base <= address && address < self.end()
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.base, self.end())
    }
}

/// Whether `ranges` together cover all of `wanted` (P8): adjacent ranges count as one.
pub fn covered(wanted: &Range, ranges: impl Iterator<Item = Range> + Clone) -> bool {
    let mut position = wanted.base;
    while position < wanted.end() {
        // The end lies behind the position, so each round makes progress.
        match ranges.clone().find(|range| range.contains_address(position)) {
            Some(range) => position = range.end(),
            None => return false,
        }
    }
    true
}
