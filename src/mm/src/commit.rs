// SPDX-License-Identifier: MIT OR Apache-2.0
//! The second half of an edit: the writes, in an order that is safe while other cores walk the
//! tables.
//!
//! - A table is filled, and published, before it is linked.
//! - A valid descriptor is made invalid, and invalidated, before another takes its place.
//! - A table is freed after its link has been invalidated.

use crate::addr::{PAGE_SIZE, Pa};
use crate::plan::MapError;
use crate::pool::PagePool;
use crate::table::{
    Descriptor, ENTRIES, INVALID, Level, Part, Span, TableMemory, attribute_bits, leaf_descriptor,
    table_descriptor,
};
use crate::tlb::Maintenance;
use crate::tree::{Format, Request, Tree};

/// Whether a walk can reach a table while it is being edited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Link {
    /// It is part of the tree.
    Linked,
    /// It is being made.
    New,
}

/// What an edit works with.
pub(crate) struct Editor<'a, 'b, M: ?Sized, B: ?Sized> {
    pub(crate) pool: &'a mut PagePool<'b>,
    pub(crate) mem: &'a mut M,
    pub(crate) maintenance: &'a mut B,
}

/// What an edit has removed and not yet invalidated.
#[derive(Default)]
struct Removed {
    /// The blocks and pages, and the smallest one's size.
    leaves: Option<(Span, u64)>,
    /// The tables: the last one, whose first descriptor holds the address of the one before it. As
    /// a descriptor, that address is invalid.
    tables: Option<Pa>,
}

impl Removed {
    fn add_leaf(&mut self, entry: Span) {
        let (span, stride) = self.leaves.unwrap_or((entry, entry.bytes()));
        let span = Span {
            start: span.start.min(entry.start),
            end: span.end.max(entry.end),
        };
        self.leaves = Some((span, stride.min(entry.bytes())));
    }

    fn add_table(&mut self, table: Pa, mem: &mut (impl TableMemory + ?Sized)) {
        mem.write(table, 0, self.tables.map_or(INVALID, |before| before.0));
        self.tables = Some(table);
    }
}

impl<M: TableMemory + ?Sized, B: Maintenance + ?Sized> Editor<'_, '_, M, B> {
    /// Maps `request`.
    pub(crate) fn map<F: Format>(
        &mut self,
        tree: &Tree<F>,
        request: &Request,
    ) -> Result<(), MapError> {
        self.reserve(tree.tables_to_map(request, self.mem)?)?;
        let start = tree.geometry.start();
        self.fill(tree, tree.root, start, request.span, request, Link::Linked)?;
        self.maintenance.publish();
        Ok(())
    }

    /// Unmaps `span`.
    pub(crate) fn unmap<F: Format>(&mut self, tree: &Tree<F>, span: Span) -> Result<(), MapError> {
        self.reserve(tree.tables_to_unmap(span, self.mem)?)?;
        let mut removed = Removed::default();
        self.clear(tree, tree.root, tree.geometry.start(), span, &mut removed)?;
        if let Some((span, stride)) = removed.leaves {
            self.maintenance.invalidate(tree.invalidation(span, stride));
        }
        self.free_chain(removed.tables);
        Ok(())
    }

    /// Unmaps everything and frees all tables.
    pub(crate) fn release<F: Format>(&mut self, tree: &Tree<F>) {
        let mut removed = Removed::default();
        let everything = tree.everything();
        let level = tree.geometry.start();
        for part in everything.parts(level) {
            let (table, index) = tree.geometry.slot(tree.root, level, part.entry.start);
            let bits = self.mem.read(table, index);
            self.mem.write(table, index, INVALID);
            self.detach(bits, level, &mut removed);
        }
        self.maintenance
            .invalidate(tree.invalidation(everything, PAGE_SIZE));
        self.free_chain(removed.tables);
        let mut root = tree.root.0;
        for _ in 0..tree.geometry.root_pages() {
            self.free(Pa(root));
            root = root.saturating_add(PAGE_SIZE);
        }
    }

    /// Refuses an edit for which the pool lacks pages: with this, no allocation of it fails.
    fn reserve(&self, tables: usize) -> Result<(), MapError> {
        if tables <= self.pool.available() {
            Ok(())
        } else {
            Err(MapError::NoMemory)
        }
    }

    /// Writes the part `span` of `request` into `table`.
    fn fill<F: Format>(
        &mut self,
        tree: &Tree<F>,
        table: Pa,
        level: Level,
        span: Span,
        request: &Request,
        link: Link,
    ) -> Result<(), MapError> {
        for part in span.parts(level) {
            let (slot, index) = tree.geometry.slot(table, level, part.entry.start);
            let present = Descriptor::decode(self.mem.read(slot, index), level);
            if let (Descriptor::Invalid, Some(leaf)) = (present, request.leaf(level, &part.entry)) {
                self.mem.write(slot, index, leaf);
                continue;
            }
            let next_level = level.next().ok_or(MapError::Overlap)?;
            match present {
                Descriptor::Table(next) => {
                    self.fill(tree, next, next_level, part.span, request, link)?;
                }
                Descriptor::Invalid => {
                    let next = self.alloc()?;
                    self.fill(tree, next, next_level, part.span, request, Link::New)?;
                    self.link(slot, index, next, link);
                }
                Descriptor::Block(_) | Descriptor::Page(_) => return Err(MapError::Overlap),
            }
        }
        Ok(())
    }

    /// Removes `span` from `table`, all of which is mapped.
    fn clear<F: Format>(
        &mut self,
        tree: &Tree<F>,
        table: Pa,
        level: Level,
        span: Span,
        removed: &mut Removed,
    ) -> Result<(), MapError> {
        for part in span.parts(level) {
            let (slot, index) = tree.geometry.slot(table, level, part.entry.start);
            let bits = self.mem.read(slot, index);
            match (Descriptor::decode(bits, level), level.next()) {
                (Descriptor::Table(next), Some(next_level)) => {
                    self.clear(tree, next, next_level, part.span, removed)?;
                    if part.is_whole() || self.is_empty(next) {
                        self.mem.write(slot, index, INVALID);
                        removed.add_table(next, self.mem);
                    }
                }
                (Descriptor::Block(_) | Descriptor::Page(_), _) if part.is_whole() => {
                    self.mem.write(slot, index, INVALID);
                    removed.add_leaf(part.entry);
                }
                (Descriptor::Block(output), Some(next_level)) => {
                    let attributes = attribute_bits(bits);
                    let next = self.split(tree, next_level, &part, output.0, attributes)?;
                    self.maintenance.publish();
                    self.mem.write(slot, index, INVALID);
                    self.maintenance
                        .invalidate(tree.invalidation(part.entry, level.bytes()));
                    self.mem.write(slot, index, table_descriptor(next));
                    self.maintenance.publish();
                }
                _ => return Err(MapError::NotMapped),
            }
        }
        Ok(())
    }

    /// A new table of `level` that maps `block.entry` to `output` with the bits `attributes`, but
    /// not its part `block.span`.
    fn split<F: Format>(
        &mut self,
        tree: &Tree<F>,
        level: Level,
        block: &Part,
        output: u64,
        attributes: u64,
    ) -> Result<Pa, MapError> {
        let table = self.alloc()?;
        for part in block.entry.parts(level) {
            let offset = part.entry.start.saturating_sub(block.entry.start);
            let output = output.saturating_add(offset);
            let descriptor = match (part.entry.intersection(&block.span), level.next()) {
                (None, _) => leaf_descriptor(level, output, attributes),
                (Some(hole), Some(next)) if hole != part.entry => {
                    let block = Part {
                        span: hole,
                        entry: part.entry,
                    };
                    table_descriptor(self.split(tree, next, &block, output, attributes)?)
                }
                (Some(_), _) => continue,
            };
            let (slot, index) = tree.geometry.slot(table, level, part.entry.start);
            self.mem.write(slot, index, descriptor);
        }
        Ok(table)
    }

    /// Puts the tables at and below a descriptor of `level`, which is not linked any more, among
    /// those to free.
    fn detach(&mut self, bits: u64, level: Level, removed: &mut Removed) {
        let (Descriptor::Table(table), Some(level)) =
            (Descriptor::decode(bits, level), level.next())
        else {
            return;
        };
        if level != Level::Three {
            for index in 0..ENTRIES {
                let bits = self.mem.read(table, index);
                self.detach(bits, level, removed);
            }
        }
        removed.add_table(table, self.mem);
    }

    /// Makes the empty entry `index` of `table` point to the new table `next`.
    fn link(&mut self, table: Pa, index: usize, next: Pa, link: Link) {
        if link == Link::Linked {
            self.maintenance.publish();
        }
        self.mem.write(table, index, table_descriptor(next));
    }

    fn is_empty(&self, table: Pa) -> bool {
        (0..ENTRIES).all(|index| self.mem.read(table, index) == INVALID)
    }

    /// A table. The plan has counted it, so there is one.
    fn alloc(&mut self) -> Result<Pa, MapError> {
        self.pool.alloc(self.mem).ok_or(MapError::NoMemory)
    }

    fn free(&mut self, table: Pa) {
        // Every table came from the pool, which the tests' balance shows; one that had not would be
        // lost, and nothing else.
        let _ = self.pool.free(table);
    }

    /// Frees tables chained by [`Removed::add_table`].
    fn free_chain(&mut self, last: Option<Pa>) {
        let mut next = last;
        while let Some(table) = next {
            let before = self.mem.read(table, 0);
            self.free(table);
            next = (before != INVALID).then_some(Pa(before));
        }
    }
}
