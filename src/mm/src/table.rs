// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tables of 512 descriptors: where they are read and written, which addresses their entries cover,
//! and what a descriptor says (VMSAv8-64, 4 KiB granule, output addresses of 48 or, with FEAT_LPA2,
//! 52 bits).

use crate::addr::{PAGE_SIZE, Pa};
use crate::attrs::SH_INNER;

/// How many descriptors a table holds.
pub const ENTRIES: usize = 512;
/// How many bits of an input address one table resolves.
const INDEX_BITS: u32 = 9;
/// The bits of an entry number that select within one table.
const INDEX_MASK: u64 = 0x1ff;
/// Bits [1:0] of a block descriptor of levels 1 and 2.
const TYPE_BLOCK: u64 = 0b01;
/// Bits [1:0] of a table descriptor of levels 0 to 2, and of a page descriptor of level 3.
const TYPE_TABLE_OR_PAGE: u64 = 0b11;
/// The bits that hold the type.
const TYPE_MASK: u64 = 0b11;
/// The bits that hold the output address or the next table's address: [47:12].
const ADDRESS_48: u64 = 0x0000_ffff_ffff_f000;
/// As [`ADDRESS_48`], with FEAT_LPA2: bits [49:12], of which …
const ADDRESS_52_LOW: u64 = 0x0003_ffff_ffff_f000;
/// … bits [51:50] are in bits [9:8], where the shareability is otherwise.
const ADDRESS_52_HIGH: u64 = 0b11 << 8;
/// From where bits [51:50] of an address go to bits [9:8].
const ADDRESS_52_SHIFT: u32 = 42;
/// Contiguous, bit 52: the entry is one of a run of [`RUN`] that translate alike.
pub(crate) const CONTIGUOUS: u64 = 1 << 52;
/// How many entries make a contiguous run: 64 KiB of pages, 32 MiB of 2 MiB blocks, 16 GiB of 1 GiB
/// blocks.
pub(crate) const RUN: usize = 16;
/// The logarithm of [`RUN`].
const RUN_BITS: u32 = 4;
/// A descriptor that faults.
pub(crate) const INVALID: u64 = 0;
/// Bit 0 of a descriptor that is not invalid. An invalid descriptor whose other bits are not all zero is a suspended
/// leaf: what it maps when bit 0 is set again.
pub(crate) const VALID: u64 = 1;

// A table is a page.
const _: () = assert!(Level::Three.bytes() == PAGE_SIZE);

/// The memory that tables lie in. The addresses that an implementation meets come from the pool of
/// the caller; indices are below [`ENTRIES`].
pub trait TableMemory {
    /// The descriptor at `index` of the table at `table`, read with a single copy-atomic access.
    fn read(&self, table: Pa, index: usize) -> u64;
    /// Writes the descriptor at `index` of the table at `table` with a single copy-atomic access.
    fn write(&mut self, table: Pa, index: usize, descriptor: u64);
    /// Makes each descriptor of the table at `table` invalid (zero).
    fn zero(&mut self, table: Pa);
    /// Cleans `count` descriptors from `index` on of the table at `table` to the point of coherency,
    /// and returns when that is complete. Called for tables that are walked with caches off
    /// ([`Walks::Uncached`]).
    fn clean(&mut self, table: Pa, index: usize, count: usize);
}

/// How those who walk a table see it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Walks {
    /// Through coherent caches, as cores do whose TCR or VTCR says so.
    Cached,
    /// From memory, as an SMMU that is not coherent does: what is written is cleaned to the point of
    /// coherency before anything relies on it (`DECISIONS.md` 29).
    Uncached,
}

/// How descriptors hold addresses. Chosen once for all cores: FEAT_LPA2 must be on each of them
/// (`DECISIONS.md` 9).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AddressFormat {
    /// Output addresses have 48 bits.
    Bits48,
    /// Output addresses have 52 bits (VTCR_EL2.DS or TCR_EL2.DS = 1), and the shareability of all
    /// that is mapped is what that register says.
    Bits52,
}

impl AddressFormat {
    /// The byte after the last one that a descriptor can name.
    pub const fn output_end(self) -> u64 {
        match self {
            Self::Bits48 => 1 << 48,
            Self::Bits52 => 1 << 52,
        }
    }

    /// The bits of a descriptor that hold its address.
    const fn mask(self) -> u64 {
        match self {
            Self::Bits48 => ADDRESS_48,
            Self::Bits52 => ADDRESS_52_LOW | ADDRESS_52_HIGH,
        }
    }

    /// The address of a descriptor.
    const fn address(self, bits: u64) -> u64 {
        match self {
            Self::Bits48 => bits & ADDRESS_48,
            Self::Bits52 => {
                (bits & ADDRESS_52_LOW) | (bits & ADDRESS_52_HIGH).unbounded_shl(ADDRESS_52_SHIFT)
            }
        }
    }

    /// The reverse of [`AddressFormat::address`].
    const fn place(self, address: u64) -> u64 {
        match self {
            Self::Bits48 => address & ADDRESS_48,
            Self::Bits52 => {
                (address & ADDRESS_52_LOW)
                    | (address.unbounded_shr(ADDRESS_52_SHIFT) & ADDRESS_52_HIGH)
            }
        }
    }

    /// The descriptor that points to the table at `next`. It restricts nothing below it.
    pub(crate) const fn table(self, next: Pa) -> u64 {
        self.place(next.0) | TYPE_TABLE_OR_PAGE
    }

    /// The block or page descriptor of `level` that maps `output` with the bits `attributes`.
    pub(crate) const fn leaf(self, level: Level, output: u64, attributes: u64) -> u64 {
        let kind = match level {
            Level::Three => TYPE_TABLE_OR_PAGE,
            _ => TYPE_BLOCK,
        };
        self.place(output) | (attributes & !self.mask()) | kind
    }

    /// The attributes of a block or page descriptor as the 48-bit format has them: what is neither
    /// address nor type nor the contiguous bit.
    pub(crate) const fn attributes(self, descriptor: u64) -> u64 {
        let bits = descriptor & !(self.mask() | TYPE_MASK | CONTIGUOUS);
        match self {
            Self::Bits48 => bits,
            Self::Bits52 => bits | SH_INNER,
        }
    }
}

/// A level of translation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    /// 256 TiB an entry; tables only, and with FEAT_LPA2 only.
    MinusOne,
    /// 512 GiB an entry; with FEAT_LPA2 a block, otherwise tables only.
    Zero,
    /// 1 GiB an entry.
    One,
    /// 2 MiB an entry.
    Two,
    /// 4 KiB an entry; pages only.
    Three,
}

impl Level {
    /// The lowest bit of an input address that the level's index contains.
    pub const fn shift(self) -> u32 {
        match self {
            Self::MinusOne => 48,
            Self::Zero => 39,
            Self::One => 30,
            Self::Two => 21,
            Self::Three => 12,
        }
    }

    /// How many bytes an entry of the level covers.
    pub const fn bytes(self) -> u64 {
        1_u64.unbounded_shl(self.shift())
    }

    /// The bits of an address within an entry.
    pub const fn offset_mask(self) -> u64 {
        self.bytes().wrapping_sub(1)
    }

    /// The bits of an address within what one page of the level's descriptors covers.
    pub(crate) const fn table_mask(self) -> u64 {
        self.bytes().unbounded_shl(INDEX_BITS).wrapping_sub(1)
    }

    /// The level of the tables to which this level's table descriptors point.
    pub const fn next(self) -> Option<Self> {
        match self {
            Self::MinusOne => Some(Self::Zero),
            Self::Zero => Some(Self::One),
            Self::One => Some(Self::Two),
            Self::Two => Some(Self::Three),
            Self::Three => None,
        }
    }

    /// Whether an entry can map memory.
    pub const fn can_map(self, format: AddressFormat) -> bool {
        match self {
            Self::MinusOne => false,
            Self::Zero => matches!(format, AddressFormat::Bits52),
            Self::One | Self::Two | Self::Three => true,
        }
    }

    /// The bits of an address within a contiguous run of entries, at the levels that have such runs.
    pub(crate) const fn run_mask(self) -> Option<u64> {
        match self {
            Self::MinusOne | Self::Zero => None,
            Self::One | Self::Two | Self::Three => {
                Some(self.bytes().unbounded_shl(RUN_BITS).wrapping_sub(1))
            }
        }
    }
}

/// What a descriptor says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Descriptor {
    /// An access faults.
    Invalid,
    /// A block of [`Level::bytes`] starts at this output address.
    Block(Pa),
    /// The next level's table is there.
    Table(Pa),
    /// A page starts at this output address.
    Page(Pa),
}

impl Descriptor {
    /// Reads the descriptor `bits` of a table of `level`. Encodings that are reserved fault, so they
    /// are invalid.
    pub const fn decode(bits: u64, level: Level, format: AddressFormat) -> Self {
        let address = format.address(bits);
        match (bits & TYPE_MASK, level) {
            (TYPE_BLOCK, Level::Three) => Self::Invalid,
            (TYPE_BLOCK, _) if level.can_map(format) => {
                Self::Block(Pa(address & !level.offset_mask()))
            }
            (TYPE_TABLE_OR_PAGE, Level::Three) => Self::Page(Pa(address)),
            (TYPE_TABLE_OR_PAGE, _) => Self::Table(Pa(address)),
            _ => Self::Invalid,
        }
    }
}

/// How a table tree resolves input addresses: at which level it starts, and how many bits it takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    start: Level,
    input_bits: u32,
    format: AddressFormat,
}

impl Geometry {
    pub(crate) const fn new(start: Level, input_bits: u32, format: AddressFormat) -> Self {
        Self {
            start,
            input_bits,
            format,
        }
    }

    /// How descriptors hold addresses.
    pub const fn format(&self) -> AddressFormat {
        self.format
    }

    /// The level of the root.
    pub const fn start(&self) -> Level {
        self.start
    }

    /// How many bits an input address has.
    pub const fn input_bits(&self) -> u32 {
        self.input_bits
    }

    /// The byte after the last one that the tree can map.
    pub const fn input_end(&self) -> u64 {
        1_u64.unbounded_shl(self.input_bits)
    }

    /// How many tables, one after the other, make up the root. The root is aligned to them all.
    pub const fn root_pages(&self) -> usize {
        let one_table = self.start.shift().saturating_add(INDEX_BITS);
        1_usize.unbounded_shl(self.input_bits.saturating_sub(one_table))
    }

    /// Where the descriptor of `level` for `input` is, `table` being the level's table, or the
    /// root at the start level: the table and the index in it.
    pub(crate) fn slot(&self, table: Pa, level: Level, input: u64) -> (Pa, usize) {
        let entry = input.unbounded_shr(level.shift());
        let page = if level == self.start {
            entry.unbounded_shr(INDEX_BITS)
        } else {
            0
        };
        let table = Pa(table.0.saturating_add(page.saturating_mul(PAGE_SIZE)));
        // The masked value fits any usize.
        (table, usize::try_from(entry & INDEX_MASK).unwrap_or(0))
    }
}

/// A non-empty range of input addresses, end exclusive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// The part of a span that lies in one entry of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Part {
    /// What of the span is in the entry.
    pub(crate) span: Span,
    /// What the entry covers.
    pub(crate) entry: Span,
}

impl Span {
    pub(crate) const fn bytes(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether all of `other` is in the span.
    pub(crate) const fn contains(&self, other: &Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// What the spans have in common.
    pub(crate) fn intersection(&self, other: &Self) -> Option<Self> {
        let span = Self {
            start: self.start.max(other.start),
            end: self.end.min(other.end),
        };
        (span.start < span.end).then_some(span)
    }

    /// The span of the contiguous run at `level` in which `input` is, if the level has runs.
    pub(crate) fn run(level: Level, input: u64) -> Option<Self> {
        let mask = level.run_mask()?;
        let start = input & !mask;
        let end = start.checked_add(mask)?.checked_add(1)?;
        Some(Self { start, end })
    }

    /// The span cut into the entries of `level`, ascending.
    pub(crate) fn parts(self, level: Level) -> impl Iterator<Item = Part> {
        let mut next = self.start;
        core::iter::from_fn(move || {
            if next >= self.end {
                return None;
            }
            let start = next & !level.offset_mask();
            let entry = Self {
                start,
                end: start.saturating_add(level.bytes()),
            };
            let span = Self {
                start: next,
                end: entry.end.min(self.end),
            };
            next = span.end;
            Some(Part { span, entry })
        })
    }
}

impl Part {
    /// Whether the span covers all of the entry.
    pub(crate) fn is_whole(&self) -> bool {
        self.span == self.entry
    }
}

#[cfg(test)]
mod tests {
    use super::AddressFormat::{Bits48, Bits52};
    use super::*;

    #[test]
    fn descriptors_of_each_level() {
        use Descriptor::{Block, Invalid, Page, Table};
        use Level::{One, Three, Two, Zero};
        let address = 0x0000_fff8_c765_4000;
        let attributes = 0x0070_0000_0000_0ffc;
        for (level, kind, expected) in [
            (Zero, 0b01, Invalid),
            (Zero, 0b11, Table(Pa(address))),
            (One, 0b01, Block(Pa(0x0000_fff8_c000_0000))),
            (One, 0b11, Table(Pa(address))),
            (Two, 0b01, Block(Pa(0x0000_fff8_c760_0000))),
            (Two, 0b11, Table(Pa(address))),
            (Three, 0b01, Invalid),
            (Three, 0b11, Page(Pa(address))),
        ] {
            assert_eq!(
                Descriptor::decode(address | attributes | kind, level, Bits48),
                expected
            );
        }
        for level in [Zero, One, Two, Three] {
            for kind in [0b00, 0b10] {
                assert_eq!(
                    Descriptor::decode(address | attributes | kind, level, Bits48),
                    Invalid
                );
            }
        }
    }

    #[test]
    fn leaf_descriptors_have_the_type_of_their_level() {
        let leaf = |level, output| Bits48.leaf(level, output, 0x7fc);
        assert_eq!(leaf(Level::One, 0x4000_0000), 0x4000_07fd);
        assert_eq!(leaf(Level::Two, 0x4020_0000), 0x4020_07fd);
        assert_eq!(leaf(Level::Three, 0x4020_1000), 0x4020_17ff);
        assert_eq!(Bits48.table(Pa(0x0e10_3000)), 0x0e10_3003);
        assert_eq!(
            Bits48.attributes(0x0050_ffff_ffff_f7ff),
            0x0040_0000_0000_07fc
        );
    }

    #[test]
    fn with_lpa2_the_highest_address_bits_stand_in_bits_9_and_8() {
        let output = 0x000e_8000_0000_0000;
        let bits = 0x0042_8000_0000_03fd | 0b11 << 8;
        assert_eq!(
            Bits52.leaf(Level::Zero, output, 0x0040_0000_0000_07fc),
            bits & !(0b11 << 8) | 0b11 << 8 | 1 << 10
        );
        let page = Bits52.leaf(Level::Three, 0x0005_0000_1234_5000, 0x7fc);
        assert_eq!(page, 0x0001_0000_1234_55ff);
        assert_eq!(
            Descriptor::decode(page, Level::Three, Bits52),
            Descriptor::Page(Pa(0x0005_0000_1234_5000))
        );
        assert_eq!(Bits52.attributes(page), 0x7fc);
        let table = Bits52.table(Pa(0x000f_ffff_ffff_f000));
        assert_eq!(table, 0x0003_ffff_ffff_f303);
        assert_eq!(
            Descriptor::decode(table, Level::MinusOne, Bits52),
            Descriptor::Table(Pa(0x000f_ffff_ffff_f000))
        );
        let block = Descriptor::decode(0x401, Level::Zero, Bits52);
        assert_eq!(block, Descriptor::Block(Pa(0)));
        for format in [Bits48, Bits52] {
            let block = Descriptor::decode(0x401, Level::MinusOne, format);
            assert_eq!(block, Descriptor::Invalid);
        }
    }

    #[test]
    fn levels_cover_the_granule_of_4_kib() {
        use Level::{MinusOne, One, Three, Two, Zero};
        let levels = [MinusOne, Zero, One, Two, Three];
        let bytes = [1 << 48, 512 << 30, 1 << 30, 2 << 20, 4 << 10];
        assert_eq!(levels.map(Level::bytes), bytes);
        assert_eq!(levels.map(Level::offset_mask), bytes.map(|bytes| bytes - 1));
        let can_map = |format| levels.map(|level| level.can_map(format));
        assert_eq!(can_map(Bits48), [false, false, true, true, true]);
        assert_eq!(can_map(Bits52), [false, true, true, true, true]);
        let next = [Some(Zero), Some(One), Some(Two), Some(Three), None];
        assert_eq!(levels.map(Level::next), next);
        let runs = [None, None, Some(16 << 30), Some(32 << 20), Some(64 << 10)];
        assert_eq!(
            levels.map(|level| level.run_mask().map(|mask| mask + 1)),
            runs
        );
    }

    #[test]
    fn parts_cut_at_the_entries() {
        let span = Span {
            start: 0x1f_f000,
            end: 0x40_1000,
        };
        let parts: Vec<_> = span.parts(Level::Two).collect();
        let spans: Vec<_> = parts
            .iter()
            .map(|part| (part.span.start, part.span.end))
            .collect();
        assert_eq!(
            spans,
            [
                (0x1f_f000, 0x20_0000),
                (0x20_0000, 0x40_0000),
                (0x40_0000, 0x40_1000)
            ]
        );
        let whole: Vec<_> = parts.iter().map(Part::is_whole).collect();
        assert_eq!(whole, [false, true, false]);
    }

    #[test]
    fn a_root_slot_counts_on_through_the_concatenated_tables() {
        let geometry = Geometry::new(Level::One, 41, Bits48);
        assert_eq!(geometry.root_pages(), 4);
        let root = Pa(0x8000);
        assert_eq!(
            geometry.slot(root, Level::One, 0x1ff_ffff_ffff),
            (Pa(0xb000), 511)
        );
        assert_eq!(
            geometry.slot(root, Level::One, 0x80_0000_0000),
            (Pa(0x9000), 0)
        );
        assert_eq!(geometry.slot(root, Level::Two, 0x80_0020_0000), (root, 1));
        assert_eq!(
            geometry.slot(root, Level::Three, 0x80_001f_f000),
            (root, 511)
        );
    }
}
