// SPDX-License-Identifier: MIT OR Apache-2.0
//! A tree of tables, whatever its stage, and how it is read.

use crate::addr::Pa;
use crate::attrs::Space;
use crate::plan::MapError;
use crate::table::{
    Descriptor, Geometry, Level, OUTPUT_END, Span, TableMemory, attribute_bits, leaf_descriptor,
};
use crate::tlb::{Invalidation, Stage};

/// What becomes of a block of which a part is unmapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Split {
    /// A table takes its place. All of the block is unmapped for a moment.
    BreakBeforeMake,
    /// The request is refused.
    Refuse,
}

/// The descriptors of one stage.
pub(crate) trait Format: Copy {
    type Attributes: Copy + PartialEq;
    const STAGE: Stage;
    /// The input address that the first entry of the root maps.
    const BASE: u64;
    const SPLIT: Split;

    /// The space of the input addresses.
    fn space(&self) -> Space;
    /// The attribute bits of a descriptor; `None` if the attributes are refused.
    fn encode(&self, attributes: Self::Attributes) -> Option<u64>;
    /// The reverse of `encode`.
    fn decode(&self, bits: u64) -> Option<Self::Attributes>;
}

/// A tree of tables. Within the engine an input address is an offset from [`Format::BASE`].
#[derive(Debug)]
pub(crate) struct Tree<F> {
    pub(crate) root: Pa,
    pub(crate) geometry: Geometry,
    pub(crate) format: F,
}

/// A range that is mapped to consecutive output addresses with the same attributes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping<A> {
    /// The first input address: an IPA or a virtual address.
    pub start: u64,
    /// The output address of `start`.
    pub pa: Pa,
    /// The length in bytes.
    pub bytes: u64,
    /// What is allowed.
    pub attributes: A,
}

/// A request to map that has the right form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) span: Span,
    /// The output address of the span's start.
    output: u64,
    /// The attribute bits of its descriptors.
    attributes: u64,
}

impl Request {
    /// The descriptor of `level` that maps `entry`, if one can: if the request covers all of it,
    /// and if the output address has the alignment.
    pub(crate) fn leaf(&self, level: Level, entry: &Span) -> Option<u64> {
        if !level.can_map() || !self.span.contains(entry) {
            return None;
        }
        let offset = entry.start.checked_sub(self.span.start)?;
        let output = self.output.checked_add(offset)?;
        let aligned = output & level.offset_mask() == 0;
        aligned.then(|| leaf_descriptor(level, output, self.attributes))
    }
}

impl<F: Format> Tree<F> {
    /// Checks the form of a request to map.
    pub(crate) fn request(
        &self,
        start: u64,
        pa: Pa,
        bytes: u64,
        attributes: F::Attributes,
    ) -> Result<Request, MapError> {
        let span = self.span(start, bytes)?;
        if pa.0 & Level::Three.offset_mask() != 0 {
            return Err(MapError::Unaligned);
        }
        let end = pa.0.checked_add(bytes).ok_or(MapError::OutOfRange)?;
        if end > OUTPUT_END {
            return Err(MapError::OutOfRange);
        }
        let attributes = self.format.encode(attributes).ok_or(MapError::Attributes)?;
        Ok(Request {
            span,
            output: pa.0,
            attributes,
        })
    }

    /// Checks a range of input addresses.
    pub(crate) fn span(&self, start: u64, bytes: u64) -> Result<Span, MapError> {
        if (start | bytes) & Level::Three.offset_mask() != 0 {
            return Err(MapError::Unaligned);
        }
        let start = self.offset(start).ok_or(MapError::OutOfRange)?;
        let end = start.checked_add(bytes).ok_or(MapError::OutOfRange)?;
        if bytes == 0 || end > self.geometry.input_end() {
            return Err(MapError::OutOfRange);
        }
        Ok(Span { start, end })
    }

    /// An input address as offset from the base, if the tree covers it.
    fn offset(&self, input: u64) -> Option<u64> {
        input
            .checked_sub(F::BASE)
            .filter(|&offset| offset < self.geometry.input_end())
    }

    /// All that the tree can map.
    pub(crate) fn everything(&self) -> Span {
        Span {
            start: 0,
            end: self.geometry.input_end(),
        }
    }

    /// What to invalidate after entries of at least `stride` bytes in `span` have been removed.
    pub(crate) fn invalidation(&self, span: Span, stride: u64) -> Invalidation {
        Invalidation {
            stage: F::STAGE,
            space: self.format.space(),
            // The offset is below the tree's size, and base plus size at most 2^64.
            start: F::BASE.wrapping_add(span.start),
            bytes: span.bytes(),
            stride,
        }
    }

    /// The descriptor of `level` for `input` in `table`, as bits.
    pub(crate) fn read(
        &self,
        mem: &(impl TableMemory + ?Sized),
        table: Pa,
        level: Level,
        input: u64,
    ) -> u64 {
        let (table, index) = self.geometry.slot(table, level, input);
        mem.read(table, index)
    }

    /// The block or page that maps `input`: its output address, its level, its descriptor.
    fn leaf(&self, mem: &(impl TableMemory + ?Sized), input: u64) -> Option<(Pa, Level, u64)> {
        let (mut table, mut level) = (self.root, self.geometry.start());
        loop {
            let bits = self.read(mem, table, level, input);
            match Descriptor::decode(bits, level) {
                Descriptor::Invalid => return None,
                Descriptor::Block(pa) | Descriptor::Page(pa) => return Some((pa, level, bits)),
                Descriptor::Table(next) => (table, level) = (next, level.next()?),
            }
        }
    }

    /// The output address of `input`, and its attributes.
    pub(crate) fn lookup(
        &self,
        input: u64,
        mem: &(impl TableMemory + ?Sized),
    ) -> Option<(Pa, F::Attributes)> {
        let offset = self.offset(input)?;
        let (pa, level, bits) = self.leaf(mem, offset)?;
        let attributes = self.format.decode(attribute_bits(bits))?;
        Some((Pa(pa.0 | (offset & level.offset_mask())), attributes))
    }

    /// As [`Tree::lookup`], for `bytes` bytes that must be mapped in a row with the same attributes.
    pub(crate) fn lookup_range(
        &self,
        input: u64,
        bytes: u64,
        mem: &(impl TableMemory + ?Sized),
    ) -> Option<(Pa, F::Attributes)> {
        let (first, attributes) = self.lookup(input, mem)?;
        let end = self.offset(input)?.checked_add(bytes)?;
        let mut offset = self.offset(input)?;
        let mut expected = first.0;
        while offset < end {
            let (pa, level, bits) =
                (offset < self.geometry.input_end()).then(|| self.leaf(mem, offset))??;
            let within = offset & level.offset_mask();
            let same = self.format.decode(attribute_bits(bits)) == Some(attributes);
            if !same || pa.0 | within != expected {
                return None;
            }
            let step = level.bytes().saturating_sub(within);
            offset = offset.checked_add(step)?;
            expected = expected.checked_add(step)?;
        }
        Some((first, attributes))
    }

    /// Calls `visitor` for each maximal mapped range, in ascending order.
    pub(crate) fn walk(
        &self,
        mem: &(impl TableMemory + ?Sized),
        visitor: &mut impl FnMut(Mapping<F::Attributes>),
    ) {
        let mut pending = None;
        self.visit(
            mem,
            self.root,
            self.geometry.start(),
            self.everything(),
            &mut |leaf| {
                pending = match pending.take() {
                    None => Some(leaf),
                    Some(previous) => match joined(previous, leaf) {
                        Some(mapping) => Some(mapping),
                        None => {
                            visitor(previous);
                            Some(leaf)
                        }
                    },
                };
            },
        );
        if let Some(mapping) = pending {
            visitor(mapping);
        }
    }

    /// Calls `visitor` for each block and page of `table`, which covers `span`.
    fn visit<M: TableMemory + ?Sized>(
        &self,
        mem: &M,
        table: Pa,
        level: Level,
        span: Span,
        visitor: &mut dyn FnMut(Mapping<F::Attributes>),
    ) {
        for part in span.parts(level) {
            let bits = self.read(mem, table, level, part.entry.start);
            match Descriptor::decode(bits, level) {
                Descriptor::Invalid => {}
                Descriptor::Block(pa) | Descriptor::Page(pa) => {
                    if let Some(attributes) = self.format.decode(attribute_bits(bits)) {
                        visitor(Mapping {
                            start: F::BASE.wrapping_add(part.entry.start),
                            pa,
                            bytes: level.bytes(),
                            attributes,
                        });
                    }
                }
                Descriptor::Table(next) => {
                    if let Some(level) = level.next() {
                        self.visit(mem, next, level, part.entry, visitor);
                    }
                }
            }
        }
    }
}

/// The two mappings as one, if the second continues the first.
fn joined<A: PartialEq + Copy>(first: Mapping<A>, second: Mapping<A>) -> Option<Mapping<A>> {
    let input = first.start.checked_add(first.bytes) == Some(second.start);
    let output = first.pa.0.checked_add(first.bytes) == Some(second.pa.0);
    let bytes = first.bytes.checked_add(second.bytes)?;
    (input && output && first.attributes == second.attributes).then_some(Mapping { bytes, ..first })
}
