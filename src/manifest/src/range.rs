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
        !self.is_empty() && !other.is_empty() && self.base < other.end() && other.base < self.end()
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
        match ranges
            .clone()
            .find(|range| range.contains_address(position))
        {
            Some(range) => position = range.end(),
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(base: u64, size: u64) -> Range {
        Range::new(base, size).unwrap()
    }

    #[test]
    fn p6_base_plus_size_must_fit() {
        assert_eq!(Range::new(u64::MAX, 1), None);
        assert_eq!(Range::new(1, u64::MAX), None);
        assert_eq!(range(0, u64::MAX).end(), u64::MAX);
        assert_eq!(
            Range {
                base: u64::MAX,
                size: 2
            }
            .end(),
            u64::MAX
        );
    }

    #[test]
    fn p7_equal_nested_enclosing_and_partial_ranges_overlap_and_adjacent_ones_do_not() {
        let middle = range(0x2000, 0x2000);
        for other in [
            middle,
            range(0x2000, 0x1000),
            range(0x3000, 0x1000),
            range(0x2800, 1),
            range(0x1000, 0x8000),
            range(0x1000, 0x1001),
            range(0x3fff, 0x1000),
        ] {
            assert!(
                middle.overlaps(&other) && other.overlaps(&middle),
                "{other}"
            );
        }
        for other in [
            range(0x1000, 0x1000),
            range(0x4000, 0x1000),
            range(0x3000, 0),
            range(0, 0),
        ] {
            assert!(
                !middle.overlaps(&other) && !other.overlaps(&middle),
                "{other}"
            );
        }
    }

    #[test]
    fn p8_partial_containment_is_none_and_adjacent_ranges_cover_together() {
        let memory = [
            range(0x4000, 0x1000),
            range(0x1000, 0x2000),
            range(0x3000, 0x1000),
        ];
        let is_covered = |base, size| covered(&range(base, size), memory.iter().copied());
        assert!(is_covered(0x1000, 0x1000));
        assert!(is_covered(0x1000, 0x4000));
        assert!(is_covered(0x2800, 0x1000));
        assert!(!is_covered(0x0, 0x2000));
        assert!(!is_covered(0x4000, 0x1001));
        assert!(!is_covered(0x0, 0x8000));
        assert!(!is_covered(0x5000, 1));
    }
}
