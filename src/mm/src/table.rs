// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tables of 512 descriptors: where they are read and written, which addresses their entries cover,
//! and what a descriptor says (VMSAv8-64, 4 KiB granule, 48-bit output addresses).

use crate::addr::{PAGE_SIZE, Pa};

/// How many descriptors a table holds.
pub const ENTRIES: usize = 512;
/// How many bits of an input address one table resolves.
const INDEX_BITS: u32 = 9;
/// The bits of an entry number that select within one table.
const INDEX_MASK: u64 = 0x1ff;
/// How many bits an output address has at most.
pub const OUTPUT_BITS: u32 = 48;
/// The byte after the last one that a descriptor can name.
pub(crate) const OUTPUT_END: u64 = 1 << OUTPUT_BITS;

/// Bits [1:0] of a block descriptor of levels 1 and 2.
const TYPE_BLOCK: u64 = 0b01;
/// Bits [1:0] of a table descriptor of levels 0 to 2, and of a page descriptor of level 3.
const TYPE_TABLE_OR_PAGE: u64 = 0b11;
/// The bits that hold the type.
const TYPE_MASK: u64 = 0b11;
/// The bits that hold the output address or the next table's address: [47:12].
const ADDRESS_MASK: u64 = 0x0000_ffff_ffff_f000;
/// A descriptor that faults.
pub(crate) const INVALID: u64 = 0;

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
}

/// A level of translation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    /// 512 GiB an entry; tables only.
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

    /// The level of the tables to which this level's table descriptors point.
    pub const fn next(self) -> Option<Self> {
        match self {
            Self::Zero => Some(Self::One),
            Self::One => Some(Self::Two),
            Self::Two => Some(Self::Three),
            Self::Three => None,
        }
    }

    /// Whether an entry can map memory: not at level 0.
    pub const fn can_map(self) -> bool {
        !matches!(self, Self::Zero)
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
    /// Reads the descriptor `bits` of a table of `level`. Encodings that are reserved without
    /// FEAT_LPA2 fault, so they are invalid.
    pub const fn decode(bits: u64, level: Level) -> Self {
        let address = Pa(bits & ADDRESS_MASK);
        match (bits & TYPE_MASK, level) {
            (TYPE_BLOCK, Level::One | Level::Two) => {
                Self::Block(Pa(address.0 & !level.offset_mask()))
            }
            (TYPE_TABLE_OR_PAGE, Level::Three) => Self::Page(address),
            (TYPE_TABLE_OR_PAGE, _) => Self::Table(address),
            _ => Self::Invalid,
        }
    }
}

/// The descriptor that points to the table at `next`. It restricts nothing below it.
pub(crate) const fn table_descriptor(next: Pa) -> u64 {
    (next.0 & ADDRESS_MASK) | TYPE_TABLE_OR_PAGE
}

/// The block or page descriptor of `level` that maps `output` with the bits `attributes`.
pub(crate) const fn leaf_descriptor(level: Level, output: u64, attributes: u64) -> u64 {
    let kind = match level {
        Level::Three => TYPE_TABLE_OR_PAGE,
        _ => TYPE_BLOCK,
    };
    (output & ADDRESS_MASK) | attributes | kind
}

/// The attributes of a block or page descriptor: what is neither address nor type.
pub(crate) const fn attribute_bits(descriptor: u64) -> u64 {
    descriptor & !(ADDRESS_MASK | TYPE_MASK)
}

/// How a table tree resolves input addresses: at which level it starts, and how many bits it takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    start: Level,
    input_bits: u32,
}

impl Geometry {
    pub(crate) const fn new(start: Level, input_bits: u32) -> Self {
        Self { start, input_bits }
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
                Descriptor::decode(address | attributes | kind, level),
                expected
            );
        }
        for level in [Zero, One, Two, Three] {
            for kind in [0b00, 0b10] {
                assert_eq!(
                    Descriptor::decode(address | attributes | kind, level),
                    Invalid
                );
            }
        }
    }

    #[test]
    fn leaf_descriptors_have_the_type_of_their_level() {
        assert_eq!(leaf_descriptor(Level::One, 0x4000_0000, 0x7fc), 0x4000_07fd);
        assert_eq!(leaf_descriptor(Level::Two, 0x4020_0000, 0x7fc), 0x4020_07fd);
        assert_eq!(
            leaf_descriptor(Level::Three, 0x4020_1000, 0x7fc),
            0x4020_17ff
        );
        assert_eq!(table_descriptor(Pa(0x0e10_3000)), 0x0e10_3003);
        assert_eq!(attribute_bits(0x0040_ffff_ffff_f7ff), 0x0040_0000_0000_07fc);
    }

    #[test]
    fn levels_cover_the_granule_of_4_kib() {
        let levels = [Level::Zero, Level::One, Level::Two, Level::Three];
        let bytes = [512 << 30, 1 << 30, 2 << 20, 4 << 10];
        assert_eq!(levels.map(Level::bytes), bytes);
        assert_eq!(levels.map(Level::offset_mask), bytes.map(|bytes| bytes - 1));
        assert_eq!(levels.map(Level::can_map), [false, true, true, true]);
        assert_eq!(
            levels.map(Level::next),
            [Some(Level::One), Some(Level::Two), Some(Level::Three), None]
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
        let geometry = Geometry::new(Level::One, 41);
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
