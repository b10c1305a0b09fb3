// SPDX-License-Identifier: MIT OR Apache-2.0
//! Addresses that say what they address, and ranges of physical pages.

use core::fmt;

/// The size of a page and of a table in bytes.
pub const PAGE_SIZE: u64 = 4096;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name(pub u64);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    };
}

address!(
    /// A physical address, in whichever physical address space the context says.
    Pa
);
address!(
    /// An address in the secure IPA space of a partition.
    SecureIpa
);
address!(
    /// An address in the non-secure IPA space of a partition.
    NonSecureIpa
);
address!(
    /// A virtual address of S-EL2.
    Va
);

/// A range of whole physical pages whose end does not overflow. It may be empty only through
/// arithmetic that its user does; the constructors make none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PageRange {
    base: Pa,
    bytes: u64,
}

impl PageRange {
    /// `bytes` bytes from `base` on; `None` if either is not a multiple of the page size, if there
    /// are none, or if the end overflows.
    pub fn new(base: Pa, bytes: u64) -> Option<Self> {
        let aligned = base.0.is_multiple_of(PAGE_SIZE) && bytes.is_multiple_of(PAGE_SIZE);
        let fits = base.0.checked_add(bytes).is_some();
        (aligned && bytes != 0 && fits).then_some(Self { base, bytes })
    }

    /// The first byte.
    pub const fn base(&self) -> Pa {
        self.base
    }

    /// The length in bytes.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The length in pages.
    pub const fn pages(&self) -> u64 {
        self.bytes / PAGE_SIZE
    }

    /// The byte after the last one.
    pub const fn end(&self) -> Pa {
        Pa(self.base.0.saturating_add(self.bytes))
    }

    /// Whether the ranges have a byte in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.base < other.end() && other.base < self.end()
    }

    /// Whether `address` is in the range.
    pub fn contains(&self, address: Pa) -> bool {
        self.base <= address && address < self.end()
    }

    /// Whether all of `other` is in the range.
    pub fn contains_range(&self, other: &Self) -> bool {
        self.base <= other.base && other.end() <= self.end()
    }

    /// The address of each page.
    pub fn iter(&self) -> impl Iterator<Item = Pa> + use<> {
        let base = self.base.0;
        (0..self.pages()).map(move |page| Pa(base.saturating_add(page.saturating_mul(PAGE_SIZE))))
    }
}

impl fmt::Display for PageRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.base, self.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(base: u64, bytes: u64) -> PageRange {
        PageRange::new(Pa(base), bytes).unwrap()
    }

    #[test]
    fn a_range_is_whole_pages_and_not_empty() {
        assert!(PageRange::new(Pa(0x1000), 0x1000).is_some());
        assert!(PageRange::new(Pa(0x1001), 0x1000).is_none());
        assert!(PageRange::new(Pa(0x1000), 0x1001).is_none());
        assert!(PageRange::new(Pa(0x1000), 0).is_none());
        assert!(PageRange::new(Pa(0xffff_ffff_ffff_f000), 0x1000).is_none());
        assert!(PageRange::new(Pa(0xffff_ffff_ffff_e000), 0x1000).is_some());
    }

    #[test]
    fn neighbours_do_not_overlap() {
        let middle = range(0x3000, 0x2000);
        assert!(!middle.overlaps(&range(0x1000, 0x2000)));
        assert!(!middle.overlaps(&range(0x5000, 0x1000)));
        for other in [
            range(0x2000, 0x2000),
            range(0x4000, 0x2000),
            range(0x3000, 0x1000),
            range(0, 0x9000),
            middle,
        ] {
            assert!(middle.overlaps(&other) && other.overlaps(&middle));
        }
    }

    #[test]
    fn containment_includes_the_base_and_excludes_the_end() {
        let outer = range(0x3000, 0x3000);
        assert!(outer.contains(Pa(0x3000)) && outer.contains(Pa(0x5fff)));
        assert!(!outer.contains(Pa(0x2fff)) && !outer.contains(Pa(0x6000)));
        assert!(outer.contains_range(&range(0x5000, 0x1000)) && outer.contains_range(&outer));
        assert!(!outer.contains_range(&range(0x5000, 0x2000)));
        assert!(!outer.contains_range(&range(0x2000, 0x2000)));
        let pages: Vec<_> = outer.iter().collect();
        assert_eq!(pages, [Pa(0x3000), Pa(0x4000), Pa(0x5000)]);
        assert_eq!((outer.pages(), outer.end()), (3, Pa(0x6000)));
        assert_eq!(outer.to_string(), "0x3000..0x6000");
    }
}
