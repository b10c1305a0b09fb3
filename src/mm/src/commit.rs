// SPDX-License-Identifier: MIT OR Apache-2.0
//! The second half of an edit: the writes, in an order that is safe while other cores walk the
//! tables.
//!
//! - A table is filled, and published, before it is linked.
//! - A valid descriptor is made invalid, and invalidated, before another takes its place; of a
//!   contiguous run, all descriptors.
//! - A table is retired when it is unlinked, and freed after its link has been invalidated.

use crate::addr::{PAGE_SIZE, Pa};
use crate::plan::{MapError, cuts_run};
use crate::pool::PagePool;
use crate::table::{
    CONTIGUOUS, Descriptor, ENTRIES, INVALID, Level, Part, Span, TableMemory, VALID,
};
use crate::tlb::Maintenance;
use crate::tree::{Request, Reshape, Shape};

/// Whether a walk can reach a table while it is being edited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Link {
    /// It is part of the tree.
    Linked,
    /// It is being made.
    New,
}

/// What an edit works with.
pub(crate) struct Editor<'a, 'b, M: ?Sized> {
    pub(crate) pool: &'a mut PagePool<'b>,
    pub(crate) mem: &'a mut M,
    /// Not a type parameter: the engine is in the image once.
    pub(crate) maintenance: &'a mut dyn Maintenance,
}

/// What becomes of leaves that are unmapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leaves {
    /// Nothing is left of them.
    Erased,
    /// They are invalid, but for bit 0 as they were.
    Suspended,
}

/// What becomes of suspended leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// They are valid again.
    Resumed,
    /// Nothing is left of them.
    Forgotten,
}

/// What an edit has removed and not yet invalidated.
#[derive(Default)]
struct Removed {
    /// The blocks and pages, and the smallest one's size.
    leaves: Option<(Span, u64)>,
    /// The retired tables.
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
}

impl<M: TableMemory + ?Sized> Editor<'_, '_, M> {
    /// Maps `request`.
    pub(crate) fn map(&mut self, tree: &Shape, request: &Request) -> Result<(), MapError> {
        self.reserve(tree, tree.tables_to_map(request, self.mem)?)?;
        let start = tree.geometry.start();
        self.fill(tree, tree.root, start, request.span, request, Link::Linked)?;
        self.merge_runs(tree, tree.root, start, request.span);
        self.maintenance.publish();
        Ok(())
    }

    /// Unmaps `span`.
    pub(crate) fn unmap(&mut self, tree: &Shape, span: Span) -> Result<(), MapError> {
        self.reserve(tree, tree.tables_to_unmap(span, self.mem)?)?;
        let mut removed = Removed::default();
        let start = tree.geometry.start();
        self.clear(tree, tree.root, start, span, Leaves::Erased, &mut removed)?;
        self.complete(tree, &removed);
        Ok(())
    }

    /// Makes the leaves of `span`, all of which is mapped, invalid, and keeps the rest of their descriptors:
    /// a table in which such a leaf is stays, and nothing else is mapped there.
    pub(crate) fn suspend(&mut self, tree: &Shape, span: Span) -> Result<(), MapError> {
        self.reserve(tree, tree.tables_to_unmap(span, self.mem)?)?;
        let mut removed = Removed::default();
        let start = tree.geometry.start();
        self.clear(
            tree,
            tree.root,
            start,
            span,
            Leaves::Suspended,
            &mut removed,
        )?;
        self.complete(tree, &removed);
        Ok(())
    }

    /// Makes the suspended leaves of `span` valid again. This takes no memory and cannot fail.
    pub(crate) fn resume(&mut self, tree: &Shape, span: Span) {
        let mut removed = Removed::default();
        let start = tree.geometry.start();
        self.settle(tree, tree.root, start, span, Fate::Resumed, &mut removed);
        self.maintenance.publish();
    }

    /// Erases the suspended leaves of `span`, and frees tables that become empty. This takes no memory and
    /// cannot fail.
    pub(crate) fn forget(&mut self, tree: &Shape, span: Span) {
        let mut removed = Removed::default();
        let start = tree.geometry.start();
        self.settle(tree, tree.root, start, span, Fate::Forgotten, &mut removed);
        self.complete(tree, &removed);
    }

    /// Invalidates what was removed; then no walk reaches its tables any more.
    fn complete(&mut self, tree: &Shape, removed: &Removed) {
        if let Some((span, stride)) = removed.leaves {
            self.maintenance.invalidate(tree.invalidation(span, stride));
        }
        self.pool.free_retired(removed.tables);
    }

    /// Settles what becomes of the suspended leaves of `span` in `table`; all others are left alone.
    fn settle(
        &mut self,
        tree: &Shape,
        table: Pa,
        level: Level,
        span: Span,
        fate: Fate,
        removed: &mut Removed,
    ) {
        let mut broken = 0_u16;
        for part in span.parts(level) {
            let (slot, index) = tree.geometry.slot(table, level, part.entry.start);
            let bits = self.mem.read(slot, index);
            match (tree.decode(bits, level), level.next()) {
                (Descriptor::Table(next), Some(next_level)) => {
                    self.settle(tree, next, next_level, part.span, fate, removed);
                    match fate {
                        Fate::Resumed => {
                            if !self.merge_table(tree, table, level, next, part.entry) {
                                self.merge_runs(tree, next, next_level, part.span);
                            }
                        }
                        Fate::Forgotten if self.pool.live(next) == 0 => {
                            self.mem.write(slot, index, INVALID);
                            removed.tables = self.pool.retire(next, removed.tables);
                            broken = broken.saturating_add(1);
                        }
                        Fate::Forgotten => {}
                    }
                }
                (Descriptor::Invalid, _) if bits != INVALID && part.is_whole() => match fate {
                    Fate::Resumed => self.mem.write(slot, index, bits | VALID),
                    Fate::Forgotten => {
                        self.mem.write(slot, index, INVALID);
                        removed.add_leaf(part.entry);
                        broken = broken.saturating_add(1);
                    }
                },
                _ => {}
            }
        }
        tree.clean(self.mem, table, level, span);
        self.pool.count(table, 0, broken);
    }

    /// Gives all of `span`, which is mapped, the attribute bits `attributes`. Each part of it is
    /// unmapped for a moment.
    pub(crate) fn change(
        &mut self,
        tree: &Shape,
        span: Span,
        attributes: u64,
    ) -> Result<(), MapError> {
        let tables = tree.tables_to_unmap(span, self.mem)?;
        if tree.reshape == Reshape::Never {
            return Err(MapError::Split);
        }
        // Mapping a stretch again takes no more tables than unmapping it has freed: what mapped it
        // fits, and a block of which a part was outside has been split.
        self.reserve(tree, tables)?;
        let mut rest = span;
        while rest.start < rest.end {
            let (stretch, output) = tree.stretch(self.mem, rest).ok_or(MapError::NotMapped)?;
            self.unmap(tree, stretch)?;
            self.map(tree, &Request::new(stretch, output, attributes))?;
            rest.start = stretch.end;
        }
        Ok(())
    }

    /// Unmaps everything and frees all tables.
    pub(crate) fn release(&mut self, tree: &Shape) {
        let mut retired = None;
        let everything = tree.everything();
        let level = tree.geometry.start();
        for part in everything.parts(level) {
            let (table, index) = tree.geometry.slot(tree.root, level, part.entry.start);
            let bits = self.mem.read(table, index);
            self.mem.write(table, index, INVALID);
            self.detach(tree, bits, level, &mut retired);
        }
        tree.clean_root(self.mem);
        self.maintenance
            .invalidate(tree.invalidation(everything, PAGE_SIZE));
        self.pool.free_retired(retired);
        let mut root = tree.root.0;
        for _ in 0..tree.geometry.root_pages() {
            self.free(Pa(root));
            root = root.saturating_add(PAGE_SIZE);
        }
    }

    /// Refuses an edit for which the account lacks pages: with this, no allocation of it fails.
    fn reserve(&self, tree: &Shape, tables: usize) -> Result<(), MapError> {
        if tables <= self.pool.available(tree.account) {
            Ok(())
        } else {
            Err(MapError::NoMemory)
        }
    }

    /// Writes the part `span` of `request` into `table`.
    fn fill(
        &mut self,
        tree: &Shape,
        table: Pa,
        level: Level,
        span: Span,
        request: &Request,
        link: Link,
    ) -> Result<(), MapError> {
        let mut made = 0_u16;
        for part in span.parts(level) {
            let (slot, index) = tree.geometry.slot(table, level, part.entry.start);
            let present = tree.decode(self.mem.read(slot, index), level);
            let leaf = request.leaf(&tree.geometry, level, &part.entry);
            if let (Descriptor::Invalid, Some(leaf)) = (present, leaf) {
                self.mem.write(slot, index, leaf);
                made = made.saturating_add(1);
                continue;
            }
            let next_level = level.next().ok_or(MapError::Overlap)?;
            match present {
                Descriptor::Table(next) => {
                    self.fill(tree, next, next_level, part.span, request, link)?;
                    if !self.merge_table(tree, table, level, next, part.entry) {
                        self.merge_runs(tree, next, next_level, part.span);
                    }
                }
                Descriptor::Invalid => {
                    let next = self.pool.alloc(tree.account, self.mem)?;
                    self.fill(tree, next, next_level, part.span, request, Link::New)?;
                    tree.clean(self.mem, next, next_level, part.entry);
                    if link == Link::Linked {
                        self.maintenance.publish();
                    }
                    let descriptor = tree.geometry.format().table(next);
                    self.mem.write(slot, index, descriptor);
                    made = made.saturating_add(1);
                }
                Descriptor::Block(_) | Descriptor::Page(_) => return Err(MapError::Overlap),
            }
        }
        if link == Link::Linked {
            tree.clean(self.mem, table, level, span);
        }
        self.pool.count(table, made, 0);
        Ok(())
    }

    /// Puts a block in the place of the table `next`, to which the descriptor of `level` for `entry`
    /// in `table` points, if `next` maps just what a block would. Whether it did.
    fn merge_table(
        &mut self,
        tree: &Shape,
        table: Pa,
        level: Level,
        next: Pa,
        entry: Span,
    ) -> bool {
        let format = tree.geometry.format();
        let merges = tree.reshape == Reshape::SplitAndMerge && level.can_map(format);
        if !merges || self.pool.live(next) != ENTRIES {
            return false;
        }
        let below = level
            .next()
            .and_then(|below| Some((below, tree.uniform(self.mem, next, 0, ENTRIES, below)?)));
        let Some((below, uniform)) = below else {
            return false;
        };
        let (slot, index) = tree.geometry.slot(table, level, entry.start);
        self.mem.write(slot, index, INVALID);
        tree.clean(self.mem, table, level, entry);
        self.maintenance
            .invalidate(tree.invalidation(entry, below.bytes()));
        let block = format.leaf(level, uniform.output, uniform.attributes);
        self.mem.write(slot, index, block);
        tree.clean(self.mem, table, level, entry);
        self.free(next);
        true
    }

    /// Makes contiguous the runs of `table` that `span` has completed: those at its ends.
    fn merge_runs(&mut self, tree: &Shape, table: Pa, level: Level, span: Span) {
        if tree.reshape != Reshape::SplitAndMerge || !level.can_map(tree.geometry.format()) {
            return;
        }
        let ends = [span.start, span.end.saturating_sub(1)];
        let [first, last] = ends.map(|input| Span::run(level, input));
        for run in [first, last.filter(|last| Some(*last) != first)] {
            let Some(run) = run else { continue };
            match tree.uniform_run(self.mem, table, level, &run) {
                Some(uniform) if !uniform.contiguous => {
                    self.break_run(tree, table, level, run);
                    let attributes = uniform.attributes | CONTIGUOUS;
                    self.make_run(tree, table, level, run, uniform.output, attributes, None);
                }
                _ => {}
            }
        }
    }

    /// Makes the run `run` of `table` invalid, and invalidates it.
    fn break_run(&mut self, tree: &Shape, table: Pa, level: Level, run: Span) {
        for part in run.parts(level) {
            let (slot, index) = tree.geometry.slot(table, level, part.entry.start);
            self.mem.write(slot, index, INVALID);
        }
        tree.clean(self.mem, table, level, run);
        self.maintenance
            .invalidate(tree.invalidation(run, level.bytes()));
    }

    /// Fills the broken run `run` of `table`, but not the entries in `hole`, which are erased or suspended;
    /// returns how many are erased.
    #[expect(clippy::too_many_arguments, reason = "what to write, and where")]
    fn make_run(
        &mut self,
        tree: &Shape,
        table: Pa,
        level: Level,
        run: Span,
        output: u64,
        attributes: u64,
        hole: Option<(Span, Leaves)>,
    ) -> u16 {
        let mut left_out = 0_u16;
        for part in run.parts(level) {
            let hole = hole.filter(|(hole, _)| hole.contains(&part.entry));
            if matches!(hole, Some((_, Leaves::Erased))) {
                left_out = left_out.saturating_add(1);
                continue;
            }
            let offset = part.entry.start.saturating_sub(run.start);
            let output = output.saturating_add(offset);
            let (slot, index) = tree.geometry.slot(table, level, part.entry.start);
            let valid = if hole.is_some() { 0 } else { VALID };
            let descriptor = tree.geometry.format().leaf(level, output, attributes);
            self.mem.write(slot, index, (descriptor & !VALID) | valid);
        }
        tree.clean(self.mem, table, level, run);
        left_out
    }

    /// Splits the contiguous run of `table` in which `input` is; what of it is in `span` is removed.
    /// Returns how many entries that is.
    fn split_run(
        &mut self,
        tree: &Shape,
        table: Pa,
        level: Level,
        input: u64,
        span: Span,
        leaves: Leaves,
    ) -> Result<u16, MapError> {
        let run = Span::run(level, input).ok_or(MapError::NotMapped)?;
        let uniform = tree
            .uniform_run(self.mem, table, level, &run)
            .ok_or(MapError::NotMapped)?;
        self.break_run(tree, table, level, run);
        let (output, attributes) = (uniform.output, uniform.attributes);
        let hole = Some((span, leaves));
        let removed = self.make_run(tree, table, level, run, output, attributes, hole);
        self.maintenance.publish();
        Ok(removed)
    }

    /// Removes `span` from `table`, all of which is mapped.
    fn clear(
        &mut self,
        tree: &Shape,
        table: Pa,
        level: Level,
        span: Span,
        leaves: Leaves,
        removed: &mut Removed,
    ) -> Result<(), MapError> {
        let mut broken = 0_u16;
        for part in span.parts(level) {
            let (slot, index) = tree.geometry.slot(table, level, part.entry.start);
            let mut bits = self.mem.read(slot, index);
            let leaf = tree.decode(bits, level) != Descriptor::Invalid;
            if leaf && cuts_run(bits, level, &part, &span) {
                let start = part.entry.start;
                let removed = self.split_run(tree, table, level, start, span, leaves)?;
                broken = broken.saturating_add(removed);
                bits = self.mem.read(slot, index);
            }
            match (tree.decode(bits, level), level.next()) {
                // Removed with its run.
                (Descriptor::Invalid, _) => continue,
                (Descriptor::Table(next), Some(next_level)) => {
                    self.clear(tree, next, next_level, part.span, leaves, removed)?;
                    if self.pool.live(next) != 0 {
                        continue;
                    }
                    self.mem.write(slot, index, INVALID);
                    removed.tables = self.pool.retire(next, removed.tables);
                    broken = broken.saturating_add(1);
                }
                (Descriptor::Block(_) | Descriptor::Page(_), _) if part.is_whole() => {
                    removed.add_leaf(part.entry);
                    match leaves {
                        Leaves::Erased => {
                            self.mem.write(slot, index, INVALID);
                            broken = broken.saturating_add(1);
                        }
                        Leaves::Suspended => self.mem.write(slot, index, bits & !VALID),
                    }
                }
                (Descriptor::Block(output), Some(next_level)) => {
                    let attributes = tree.geometry.format().attributes(bits);
                    let next = self.split(tree, next_level, &part, output.0, attributes, leaves)?;
                    self.maintenance.publish();
                    self.mem.write(slot, index, INVALID);
                    tree.clean(self.mem, table, level, part.entry);
                    self.maintenance
                        .invalidate(tree.invalidation(part.entry, level.bytes()));
                    let descriptor = tree.geometry.format().table(next);
                    self.mem.write(slot, index, descriptor);
                    tree.clean(self.mem, table, level, part.entry);
                    self.maintenance.publish();
                }
                _ => return Err(MapError::NotMapped),
            }
        }
        tree.clean(self.mem, table, level, span);
        self.pool.count(table, 0, broken);
        Ok(())
    }

    /// A new table of `level` that maps `block.entry` to `output` with the bits `attributes`, but
    /// not its part `block.span`.
    fn split(
        &mut self,
        tree: &Shape,
        level: Level,
        block: &Part,
        output: u64,
        attributes: u64,
        leaves: Leaves,
    ) -> Result<Pa, MapError> {
        let table = self.pool.alloc(tree.account, self.mem)?;
        let format = tree.geometry.format();
        let mut made = 0_u16;
        for part in block.entry.parts(level) {
            let offset = part.entry.start.saturating_sub(block.entry.start);
            let output = output.saturating_add(offset);
            let descriptor = match (part.entry.intersection(&block.span), level.next()) {
                (None, _) => {
                    let run = Span::run(level, part.entry.start);
                    let whole = run.is_some_and(|run| run.intersection(&block.span).is_none());
                    let contiguous = if whole { CONTIGUOUS } else { 0 };
                    format.leaf(level, output, attributes | contiguous)
                }
                (Some(hole), Some(next)) if hole != part.entry => {
                    let block = Part {
                        span: hole,
                        entry: part.entry,
                    };
                    format.table(self.split(tree, next, &block, output, attributes, leaves)?)
                }
                (Some(_), _) if leaves == Leaves::Suspended => {
                    format.leaf(level, output, attributes) & !VALID
                }
                (Some(_), _) => continue,
            };
            let (slot, index) = tree.geometry.slot(table, level, part.entry.start);
            self.mem.write(slot, index, descriptor);
            made = made.saturating_add(1);
        }
        tree.clean(self.mem, table, level, block.entry);
        self.pool.count(table, made, 0);
        Ok(table)
    }

    /// Retires the tables at and below a descriptor of `level`, which is not linked any more.
    fn detach(&mut self, tree: &Shape, bits: u64, level: Level, retired: &mut Option<Pa>) {
        let (Descriptor::Table(table), Some(level)) = (tree.decode(bits, level), level.next())
        else {
            return;
        };
        if level != Level::Three {
            for index in 0..ENTRIES {
                let bits = self.mem.read(table, index);
                self.detach(tree, bits, level, retired);
            }
        }
        *retired = self.pool.retire(table, *retired);
    }

    fn free(&mut self, table: Pa) {
        // Every table came from the pool, which the tests' balance shows; one that had not would be
        // lost, and nothing else.
        let _ = self.pool.free(table);
    }
}
