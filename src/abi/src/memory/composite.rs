// SPDX-License-Identifier: MIT OR Apache-2.0
//! Composite memory region descriptors and their constituents, which all versions share.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Malformed;

/// The page size of FF-A, in bytes: the unit of every page count.
pub const PAGE_SIZE: u64 = 4096;
/// The size of a composite descriptor without its constituents, in bytes.
pub const COMPOSITE_SIZE: usize = size_of::<CompositeLayout>();
/// The size of a constituent, in bytes.
pub const CONSTITUENT_SIZE: usize = size_of::<ConstituentLayout>();

/// A composite memory region descriptor; the constituents follow it directly.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct CompositeLayout {
    /// Offset 0, length 4: pages of all constituents together.
    pub total_page_count: U32,
    /// Offset 4, length 4: count of constituents.
    pub constituent_count: U32,
    /// Offset 8, length 8: must be zero.
    pub reserved: U64,
}

/// A constituent memory region descriptor.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ConstituentLayout {
    /// Offset 0, length 8: address of the first byte, on a page boundary.
    pub address: U64,
    /// Offset 8, length 4: count of 4 KiB pages.
    pub page_count: U32,
    /// Offset 12, length 4: must be zero.
    pub reserved: U32,
}

/// A contiguous range of pages.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Constituent {
    /// Address of the first byte, on a page boundary: of the sender's regime in a request, of the
    /// receiver's in a response.
    pub address: u64,
    /// Count of 4 KiB pages; not zero.
    pub page_count: u32,
}

impl Constituent {
    /// The address behind the last byte, or `None` past 2^64 - 1.
    pub fn end(&self) -> Option<u64> {
        u64::from(self.page_count)
            .checked_mul(PAGE_SIZE)
            .and_then(|bytes| self.address.checked_add(bytes))
    }

    /// Whether the two share a page.
    pub fn overlaps(&self, other: &Self) -> bool {
        let below = |one: &Self, two: &Self| one.end().is_some_and(|end| end <= two.address);
        !below(self, other) && !below(other, self)
    }

    /// As it stands in a descriptor.
    pub fn layout(&self) -> ConstituentLayout {
        ConstituentLayout {
            address: U64::new(self.address),
            page_count: U32::new(self.page_count),
            reserved: U32::ZERO,
        }
    }

    fn unchecked(layout: &ConstituentLayout) -> Self {
        Self {
            address: layout.address.get(),
            page_count: layout.page_count.get(),
        }
    }
}

/// The end of the largest address space that a core can have: 52 bits.
const ADDRESSES: u64 = 1 << 52;

impl ConstituentLayout {
    /// Decodes one constituent (S11 to S14).
    ///
    /// # Errors
    /// No pages, an unaligned address, a range past [`ADDRESSES`], or reserved bits.
    pub fn decode(&self) -> Result<Constituent, Malformed> {
        let constituent = Constituent::unchecked(self);
        if constituent.page_count == 0 {
            return Err(Malformed::PageCount);
        }
        if !constituent.address.is_multiple_of(PAGE_SIZE) {
            return Err(Malformed::Address);
        }
        if constituent.end().is_none_or(|end| end > ADDRESSES) {
            return Err(Malformed::Wrap);
        }
        if self.reserved != U32::ZERO {
            return Err(Malformed::Reserved("field of a constituent"));
        }
        Ok(constituent)
    }
}

/// Constituents that were checked one by one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Constituents<'a>(&'a [ConstituentLayout]);

impl<'a> Constituents<'a> {
    /// None.
    pub const EMPTY: Self = Self(&[]);

    /// Each of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Constituent> + Clone + use<'a> {
        self.0.iter().map(Constituent::unchecked)
    }

    /// How many.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a composite descriptor announces and has not delivered yet. Its constituents may come in
/// several fragments, each of which is given to [`Expected::take`] in turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expected {
    constituents: u32,
    pages: u32,
}

impl Expected {
    /// Decodes a composite descriptor.
    ///
    /// # Errors
    /// Reserved bits, no constituents, or fewer pages than constituents.
    pub fn of(layout: &CompositeLayout) -> Result<Self, Malformed> {
        let expected = Self {
            constituents: layout.constituent_count.get(),
            pages: layout.total_page_count.get(),
        };
        if layout.reserved != U64::ZERO {
            return Err(Malformed::Reserved("field of the composite descriptor"));
        }
        if expected.constituents == 0 {
            return Err(Malformed::ConstituentCount);
        }
        if expected.pages < expected.constituents {
            return Err(Malformed::TotalPageCount);
        }
        Ok(expected)
    }

    /// How many constituents are missing.
    pub const fn constituents(&self) -> u32 {
        self.constituents
    }

    /// How many pages are missing.
    pub const fn pages(&self) -> u32 {
        self.pages
    }

    /// Whether nothing is missing.
    pub const fn is_complete(&self) -> bool {
        self.constituents == 0 && self.pages == 0
    }

    /// The bytes that the missing constituents take.
    pub fn bytes(&self) -> u64 {
        u64::from(self.constituents).saturating_mul(16)
    }

    /// Checks the next constituents. After an error nothing was taken.
    ///
    /// # Errors
    /// - [`Malformed::Fragment`]: empty, or a constituent is split (F3, F5).
    /// - [`Malformed::ConstituentCount`]: more than announced (S9).
    /// - [`Malformed::TotalPageCount`]: their sum is not what was announced, not even modulo 2^32
    ///   (S10).
    /// - What [`ConstituentLayout::decode`] says.
    pub fn take<'a>(&mut self, bytes: &'a [u8]) -> Result<Constituents<'a>, Malformed> {
        let layouts =
            <[ConstituentLayout]>::ref_from_bytes(bytes).map_err(|_| Malformed::Fragment)?;
        if layouts.is_empty() {
            return Err(Malformed::Fragment);
        }
        let count = u32::try_from(layouts.len()).map_err(|_| Malformed::ConstituentCount)?;
        let constituents = self
            .constituents
            .checked_sub(count)
            .ok_or(Malformed::ConstituentCount)?;
        let mut pages = self.pages;
        for layout in layouts {
            pages = pages
                .checked_sub(layout.decode()?.page_count)
                .ok_or(Malformed::TotalPageCount)?;
        }
        if pages < constituents || (constituents == 0 && pages != 0) {
            return Err(Malformed::TotalPageCount);
        }
        *self = Self {
            constituents,
            pages,
        };
        Ok(Constituents(layouts))
    }
}
