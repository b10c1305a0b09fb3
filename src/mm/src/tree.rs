// SPDX-License-Identifier: MIT OR Apache-2.0
//! A tree of tables, whatever its stage, and how it is read.

use crate::addr::Pa;
use crate::attrs::Space;
use crate::plan::MapError;
use crate::pool::{Account, PagePool};
use crate::table::{CONTIGUOUS, Descriptor, Geometry, Level, RUN, Span, TableMemory, Walks};
use crate::tlb::{Invalidation, Stage};

/// Whether valid descriptors may be replaced by others that map the same in another shape. All that
/// such a descriptor maps is unmapped for a moment: who touches it faults once and is resumed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reshape {
    /// A block or a contiguous run of which a part is unmapped is split, and pages that have become
    /// a block or a run are merged.
    SplitAndMerge,
    /// Blocks and runs are split, and never merged.
    Split,
    /// Neither: a request that needs it is refused. For what cannot be resumed: S-EL2's own map,
    /// which may hold the code or the stack that changes it, and tables under DMA
    /// (`DECISIONS.md` 27).
    Never,
}

/// The attributes of one stage's descriptors.
pub(crate) trait Format: Copy {
    type Attributes: Copy + PartialEq;

    /// The attribute bits of a descriptor; `None` if the attributes are refused.
    fn encode(&self, attributes: Self::Attributes) -> Option<u64>;
    /// The reverse of `encode`.
    fn decode(&self, bits: u64) -> Option<Self::Attributes>;
}

/// A tree of tables, whose attributes are only bits. Within the engine an input address is an offset
/// from `base`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) root: Pa,
    pub(crate) geometry: Geometry,
    pub(crate) stage: Stage,
    /// The space of the input addresses.
    pub(crate) space: Space,
    /// The input address that the first entry of the root maps.
    pub(crate) base: u64,
    pub(crate) reshape: Reshape,
    pub(crate) walks: Walks,
    /// Whose quota the tables count against.
    pub(crate) account: Account,
}

/// A tree of tables.
#[derive(Debug)]
pub(crate) struct Tree<F> {
    pub(crate) shape: Shape,
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
    /// Maps `span`, which is a part of a tree's, to `output` with the bits `attributes`.
    pub(crate) const fn new(span: Span, output: u64, attributes: u64) -> Self {
        Self {
            span,
            output,
            attributes,
        }
    }

    /// The descriptor of `level` that maps `entry`, if one can: if the request covers all of it,
    /// and if the output address has the alignment. It is contiguous if that holds of a whole run.
    pub(crate) fn leaf(&self, geometry: &Geometry, level: Level, entry: &Span) -> Option<u64> {
        let format = geometry.format();
        if !level.can_map(format) || !self.span.contains(entry) {
            return None;
        }
        let offset = entry.start.checked_sub(self.span.start)?;
        let output = self.output.checked_add(offset)?;
        if output & level.offset_mask() != 0 {
            return None;
        }
        let leaf = format.leaf(level, output, self.attributes);
        let run = Span::run(level, entry.start).is_some_and(|run| {
            // Both addresses are at the same place in their runs.
            let unlike = (output ^ entry.start) & level.run_mask().unwrap_or(0);
            unlike == 0 && self.span.contains(&run)
        });
        Some(if run { leaf | CONTIGUOUS } else { leaf })
    }
}

/// What a row of descriptors maps to consecutive output addresses with the same attributes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Uniform {
    pub(crate) output: u64,
    pub(crate) attributes: u64,
    /// Whether the descriptors are contiguous runs.
    pub(crate) contiguous: bool,
}

impl Shape {
    /// Takes the root's pages from the pool: the shape of a tree in which nothing is mapped.
    pub(crate) fn with_root(
        mut self,
        pool: &mut PagePool<'_>,
        mem: &mut (impl TableMemory + ?Sized),
    ) -> Option<Self> {
        let pages = self.geometry.root_pages();
        let root = pool.alloc_contiguous(self.account, pages, pages, mem);
        self.root = root.ok()?;
        self.clean_root(mem);
        Some(self)
    }

    /// Cleans the root, if it is walked with caches off.
    pub(crate) fn clean_root(&self, mem: &mut (impl TableMemory + ?Sized)) {
        let level = self.geometry.start();
        self.clean(mem, self.root, level, self.everything());
    }

    /// Cleans the descriptors of `table` for `span`, if they are walked with caches off.
    pub(crate) fn clean(
        &self,
        mem: &mut (impl TableMemory + ?Sized),
        table: Pa,
        level: Level,
        span: Span,
    ) {
        if self.walks == Walks::Cached {
            return;
        }
        // What one page of descriptors maps: concatenated roots have several.
        let page = level.table_mask();
        let mut start = span.start;
        while start < span.end {
            let end = (start | page).saturating_add(1).min(span.end);
            let (slot, first) = self.geometry.slot(table, level, start);
            let (_, last) = self.geometry.slot(table, level, end.saturating_sub(1));
            mem.clean(slot, first, last.saturating_sub(first).saturating_add(1));
            start = end;
        }
    }

    /// What a descriptor of `level` says.
    pub(crate) fn decode(&self, bits: u64, level: Level) -> Descriptor {
        Descriptor::decode(bits, level, self.geometry.format())
    }

    /// What `count` descriptors of `level` in a row from `index` on in `table` map, if they are
    /// blocks or pages of consecutive output addresses, the first aligned to all of them, with the
    /// same attributes.
    pub(crate) fn uniform(
        &self,
        mem: &(impl TableMemory + ?Sized),
        table: Pa,
        index: usize,
        count: usize,
        level: Level,
    ) -> Option<Uniform> {
        let bytes = level.bytes();
        let mut first: Option<Uniform> = None;
        let mut expected = 0;
        for index in index..index.saturating_add(count) {
            let bits = mem.read(table, index);
            let (Descriptor::Block(output) | Descriptor::Page(output)) = self.decode(bits, level)
            else {
                return None;
            };
            let attributes = self.geometry.format().attributes(bits);
            match first {
                Some(first) if (output.0, attributes) != (expected, first.attributes) => {
                    return None;
                }
                Some(_) => {}
                None => {
                    let all = bytes.checked_mul(u64::try_from(count).ok()?)?;
                    if !output.0.is_multiple_of(all) {
                        return None;
                    }
                    let contiguous = bits & CONTIGUOUS != 0;
                    first = Some(Uniform {
                        output: output.0,
                        attributes,
                        contiguous,
                    });
                }
            }
            expected = output.0.saturating_add(bytes);
        }
        first
    }

    /// As [`Tree::uniform`], for the contiguous run of `level` in which `input` is.
    pub(crate) fn uniform_run(
        &self,
        mem: &(impl TableMemory + ?Sized),
        table: Pa,
        level: Level,
        run: &Span,
    ) -> Option<Uniform> {
        let (slot, index) = self.geometry.slot(table, level, run.start);
        self.uniform(mem, slot, index, RUN, level)
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
            .checked_sub(self.base)
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
            stage: self.stage,
            space: self.space,
            // The offset is below the tree's size, and base plus size at most 2^64.
            start: self.base.wrapping_add(span.start),
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

    /// The part of `span` from its start on that is mapped to consecutive output addresses, and the
    /// first of them.
    pub(crate) fn stretch(
        &self,
        mem: &(impl TableMemory + ?Sized),
        span: Span,
    ) -> Option<(Span, u64)> {
        let mut output = None;
        let mut end = span.start;
        while end < span.end {
            let (pa, level, _) = self.leaf(mem, end)?;
            let within = end & level.offset_mask();
            let here = pa.0.checked_add(within)?;
            let first = *output.get_or_insert(here);
            let length = end.checked_sub(span.start)?;
            if here != first.checked_add(length)? {
                break;
            }
            end = end.checked_add(level.bytes().saturating_sub(within))?;
        }
        let end = end.min(span.end);
        Some((Span { end, ..span }, output?))
    }

    /// The block or page that maps `input`: its output address, its level, its descriptor.
    #[inline(never)]
    fn leaf(&self, mem: &(impl TableMemory + ?Sized), input: u64) -> Option<(Pa, Level, u64)> {
        let (mut table, mut level) = (self.root, self.geometry.start());
        loop {
            let bits = self.read(mem, table, level, input);
            match self.decode(bits, level) {
                Descriptor::Invalid => return None,
                Descriptor::Block(pa) | Descriptor::Page(pa) => return Some((pa, level, bits)),
                Descriptor::Table(next) => (table, level) = (next, level.next()?),
            }
        }
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
        let span = self.shape.span(start, bytes)?;
        if pa.0 & Level::Three.offset_mask() != 0 {
            return Err(MapError::Unaligned);
        }
        let end = pa.0.checked_add(bytes).ok_or(MapError::OutOfRange)?;
        if end > self.shape.geometry.format().output_end() {
            return Err(MapError::OutOfRange);
        }
        let attributes = self.format.encode(attributes).ok_or(MapError::Attributes)?;
        Ok(Request {
            span,
            output: pa.0,
            attributes,
        })
    }

    /// Checks the form of a request to change attributes: the span, and the attributes' bits.
    pub(crate) fn change(
        &self,
        start: u64,
        bytes: u64,
        attributes: F::Attributes,
    ) -> Result<(Span, u64), MapError> {
        let span = self.shape.span(start, bytes)?;
        let bits = self.format.encode(attributes).ok_or(MapError::Attributes)?;
        Ok((span, bits))
    }

    /// What the attributes of the descriptor `bits` are.
    #[inline(never)]
    fn attributes(&self, bits: u64) -> Option<F::Attributes> {
        let bits = self.shape.geometry.format().attributes(bits);
        self.format.decode(bits)
    }

    /// The output address of `input`, and its attributes.
    pub(crate) fn lookup(
        &self,
        input: u64,
        mem: &(impl TableMemory + ?Sized),
    ) -> Option<(Pa, F::Attributes)> {
        let offset = self.shape.offset(input)?;
        let (pa, level, bits) = self.shape.leaf(mem, offset)?;
        let attributes = self.attributes(bits)?;
        Some((Pa(pa.0 | (offset & level.offset_mask())), attributes))
    }

    /// As [`Tree::lookup`], for `bytes` bytes that must be mapped in a row with the same attributes.
    pub(crate) fn lookup_range(
        &self,
        input: u64,
        bytes: u64,
        mem: &(impl TableMemory + ?Sized),
    ) -> Option<(Pa, F::Attributes)> {
        let (first, length, attributes) = self.lookup_run(input, bytes, mem)?;
        (length == bytes).then_some((first, attributes))
    }

    /// As [`Tree::lookup`], with the length, at most `bytes`, for which it goes on in a row with the same
    /// attributes.
    pub(crate) fn lookup_run(
        &self,
        input: u64,
        bytes: u64,
        mem: &(impl TableMemory + ?Sized),
    ) -> Option<(Pa, u64, F::Attributes)> {
        let (first, attributes) = self.lookup(input, mem)?;
        let start = self.shape.offset(input)?;
        let end = start.checked_add(bytes)?;
        let (mut offset, mut expected) = (start, first.0);
        while offset < end && offset < self.shape.geometry.input_end() {
            let Some((pa, level, bits)) = self.shape.leaf(mem, offset) else {
                break;
            };
            let within = offset & level.offset_mask();
            if self.attributes(bits) != Some(attributes) || pa.0 | within != expected {
                break;
            }
            let step = level.bytes().saturating_sub(within);
            offset = offset.checked_add(step)?;
            expected = expected.checked_add(step)?;
        }
        Some((first, offset.min(end).checked_sub(start)?, attributes))
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
            self.shape.root,
            self.shape.geometry.start(),
            self.shape.everything(),
            &mut |start, level, bits| {
                let Some(leaf) = self.mapping(start, level, bits) else {
                    return;
                };
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

    /// The lowest address in `window` from which `bytes` bytes are neither mapped nor suspended; it is a
    /// multiple of `align`, a power of two.
    pub(crate) fn gap(
        &self,
        window: core::ops::Range<u64>,
        bytes: u64,
        align: u64,
        mem: &(impl TableMemory + ?Sized),
    ) -> Option<u64> {
        let length = window.end.checked_sub(window.start)?;
        let span = self.shape.span(window.start, length).ok()?;
        let mut found = window.start.checked_next_multiple_of(align);
        let root = self.shape.geometry.start();
        self.visit(mem, self.shape.root, root, span, &mut |start, level, _| {
            let used_end = self
                .shape
                .base
                .wrapping_add(start)
                .checked_add(level.bytes());
            let meets = |candidate: u64| {
                let end = candidate.saturating_add(bytes);
                self.shape.base.wrapping_add(start) < end && Some(candidate) < used_end
            };
            if found.is_some_and(meets) {
                found = used_end.and_then(|end| end.checked_next_multiple_of(align));
            }
        });
        found.filter(|start| {
            start
                .checked_add(bytes)
                .is_some_and(|end| end <= window.end)
        })
    }

    /// Calls `visitor` for each entry of `table`, which covers `span`, and of the tables below it that is not
    /// empty and no table: its first address from the start of the tree, its level and its bits.
    fn visit<M: TableMemory + ?Sized>(
        &self,
        mem: &M,
        table: Pa,
        level: Level,
        span: Span,
        visitor: &mut dyn FnMut(u64, Level, u64),
    ) {
        for part in span.parts(level) {
            let bits = self.shape.read(mem, table, level, part.entry.start);
            match (self.shape.decode(bits, level), level.next()) {
                (Descriptor::Table(next), Some(level)) => {
                    self.visit(mem, next, level, part.entry, visitor);
                }
                _ if bits == 0 => {}
                _ => visitor(part.entry.start, level, bits),
            }
        }
    }

    /// What the entry `bits` maps, at `start` from the start of the tree.
    fn mapping(&self, start: u64, level: Level, bits: u64) -> Option<Mapping<F::Attributes>> {
        match self.shape.decode(bits, level) {
            Descriptor::Block(pa) | Descriptor::Page(pa) => Some(Mapping {
                start: self.shape.base.wrapping_add(start),
                pa,
                bytes: level.bytes(),
                attributes: self.attributes(bits)?,
            }),
            Descriptor::Invalid | Descriptor::Table(_) => None,
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
