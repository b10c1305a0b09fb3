// SPDX-License-Identifier: MIT OR Apache-2.0
//! For tests only (feature `testing`): memory that records its writes, a walker that follows the
//! tables as hardware does, and a checker of the order of writes and invalidations.
//!
//! The walker and the checker share no code with the engine: they work on bytes and bit positions.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]

extern crate std;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::string::String;
use std::vec::Vec;
use std::{assert, assert_eq, format};

use crate::addr::Pa;
use crate::attrs::Space;
use crate::table::{ENTRIES, TableMemory};
use crate::tlb::{Invalidation, Maintenance, Stage};

/// What the engine did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// It wrote a descriptor.
    Write {
        /// The table.
        table: Pa,
        /// The index in it.
        index: usize,
        /// The descriptor.
        descriptor: u64,
    },
    /// It zeroed a table.
    Zero(Pa),
    /// It called [`Maintenance::publish`].
    Publish,
    /// It called [`Maintenance::invalidate`].
    Invalidate(Invalidation),
}

/// The steps of an edit in order, shared by the memory and the maintenance that record them.
#[derive(Clone, Default, Debug)]
pub struct Trace(Rc<RefCell<Vec<Step>>>);

impl Trace {
    /// Takes the steps so far out of the trace.
    pub fn take(&self) -> Vec<Step> {
        self.0.take()
    }

    fn push(&self, step: Step) {
        self.0.borrow_mut().push(step);
    }
}

/// A recording [`Maintenance`].
#[derive(Clone, Default, Debug)]
pub struct Recorder(pub Trace);

impl Maintenance for Recorder {
    fn publish(&mut self) {
        self.0.push(Step::Publish);
    }

    fn invalidate(&mut self, invalidation: Invalidation) {
        self.0.push(Step::Invalidate(invalidation));
    }
}

/// A recording [`TableMemory`]. A page that was never written holds garbage.
#[derive(Clone, Default, Debug)]
pub struct RecordedMemory {
    /// The tables by address.
    pub tables: BTreeMap<u64, [u64; ENTRIES]>,
    /// Where the steps go.
    pub trace: Trace,
}

/// What an untouched page holds: it looks like a page descriptor.
const GARBAGE: u64 = 0xdead_beef_dead_beef;

impl TableMemory for RecordedMemory {
    fn read(&self, table: Pa, index: usize) -> u64 {
        assert!(index < ENTRIES);
        self.tables
            .get(&table.0)
            .map_or(GARBAGE, |entries| entries[index])
    }

    fn write(&mut self, table: Pa, index: usize, descriptor: u64) {
        self.tables.entry(table.0).or_insert([GARBAGE; ENTRIES])[index] = descriptor;
        self.trace.push(Step::Write {
            table,
            index,
            descriptor,
        });
    }

    fn zero(&mut self, table: Pa) {
        self.tables.insert(table.0, [0; ENTRIES]);
        self.trace.push(Step::Zero(table));
    }
}

/// A walk as the registers of a regime describe it.
#[derive(Clone, Copy, Debug)]
pub struct Walker {
    /// The physical address in the base register.
    pub base: u64,
    /// T0SZ or T1SZ.
    pub tsz: u32,
    /// The level at which the walk starts.
    pub start: u32,
    /// Whether the input addresses are those of an upper half.
    pub upper: bool,
}

/// What a walk ended in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translation {
    /// The output address.
    pub pa: u64,
    /// The descriptor.
    pub descriptor: u64,
    /// How many bytes the descriptor maps.
    pub bytes: u64,
}

impl Walker {
    /// The walk of stage 2 with VTCR_EL2 fields `t0sz` and `sl0`.
    pub fn stage2(base: Pa, t0sz: u64, sl0: u64) -> Self {
        Self {
            base: base.0,
            tsz: t0sz as u32,
            start: 2 - sl0 as u32,
            upper: false,
        }
    }

    /// The walk of S-EL2's upper half with TCR_EL2.T1SZ `t1sz`.
    pub fn stage1(base: Pa, t1sz: u64) -> Self {
        // Arm's formula for the 4 KiB granule: 4 − ⌈(address bits − 12) / 9⌉.
        let start = 4 - (64 - t1sz as u32 - 12).div_ceil(9);
        Self {
            base: base.0,
            tsz: t1sz as u32,
            start,
            upper: true,
        }
    }

    /// Translates `address`; the error is the level of the translation fault.
    ///
    /// # Errors
    /// The level at which the address does not translate.
    pub fn translate(&self, mem: &RecordedMemory, address: u64) -> Result<Translation, u32> {
        let bits = 64 - self.tsz;
        let top = address >> bits;
        if top != if self.upper { u64::MAX >> bits } else { 0 } {
            return Err(0);
        }
        let mut high = bits;
        let mut table = self.base;
        for level in self.start..4 {
            let low = 12 + 9 * (3 - level);
            let index = (address & ((1 << high) - 1)) >> low;
            let byte = table + index * 8;
            let word = mem.read(Pa(byte & !0xfff), (byte & 0xfff) as usize / 8);
            let output = word & 0x0000_ffff_ffff_ffff & !((1 << low) - 1);
            let leaf = match (word & 3, level) {
                (1, 1 | 2) | (3, 3) => true,
                (3, _) => false,
                _ => return Err(level),
            };
            if leaf {
                // The access flag: without it the access would fault.
                assert!(word & (1 << 10) != 0, "access flag of {word:#x}");
                let bytes = 1_u64 << low;
                let pa = output + (address & (bytes - 1));
                return Ok(Translation {
                    pa,
                    descriptor: word,
                    bytes,
                });
            }
            table = word & 0x0000_ffff_ffff_f000;
            high = low;
        }
        Err(3)
    }

    /// The addresses of all tables but the root's.
    pub fn tables(&self, mem: &RecordedMemory) -> BTreeSet<u64> {
        let entries = 1_u64 << (64 - self.tsz - (12 + 9 * (3 - self.start)));
        let mut found = BTreeSet::new();
        let mut pending: Vec<(u64, u64, u32)> = std::vec![(self.base, entries, self.start)];
        while let Some((table, entries, level)) = pending.pop() {
            for entry in 0..entries {
                let byte = table + entry * 8;
                let word = mem.read(Pa(byte & !0xfff), (byte & 0xfff) as usize / 8);
                if word & 3 == 3 && level < 3 {
                    let next = word & 0x0000_ffff_ffff_f000;
                    assert!(found.insert(next), "table {next:#x} is linked twice");
                    pending.push((next, 512, level + 1));
                }
            }
        }
        found
    }
}

/// Where a linked table is in the tree.
#[derive(Clone, Copy, Debug)]
struct Place {
    level: u32,
    /// The first input address that the table maps.
    input: u64,
}

/// An input range whose old descriptor cores may still hold.
#[derive(Clone, Copy, Debug)]
struct Stale {
    start: u64,
    end: u64,
    /// The table to which the descriptor pointed.
    table: Option<u64>,
}

/// Follows the steps of edits, and says what of break-before-make or of the barriers was left out.
#[derive(Clone, Debug)]
pub struct Checker {
    stage: Stage,
    space: Space,
    walker: Walker,
    tables: BTreeMap<u64, [u64; ENTRIES]>,
    /// The tables that walks reach.
    linked: BTreeMap<u64, Place>,
    /// Tables with valid descriptors, or zeroes, that no barrier has followed.
    unpublished: BTreeSet<u64>,
    stale: Vec<Stale>,
}

impl Checker {
    /// A checker of the tree that `walker` walks and that is empty in `mem`.
    pub fn new(stage: Stage, space: Space, walker: Walker, mem: &RecordedMemory) -> Self {
        let shift = 12 + 9 * (3 - walker.start);
        let entries = 1_u64 << (64 - walker.tsz - shift);
        let base = if walker.upper {
            u64::MAX << (64 - walker.tsz)
        } else {
            0
        };
        let linked = (0..entries.div_ceil(512))
            .map(|page| {
                let input = base.wrapping_add((page * 512) << shift);
                (
                    walker.base + page * 4096,
                    Place {
                        level: walker.start,
                        input,
                    },
                )
            })
            .collect();
        let (unpublished, stale) = (BTreeSet::new(), Vec::new());
        Self {
            stage,
            space,
            walker,
            tables: mem.tables.clone(),
            linked,
            unpublished,
            stale,
        }
    }

    /// Checks one whole edit: what it wrote must be published and invalidated at its end.
    ///
    /// # Errors
    /// The rule that was broken, and by which step.
    pub fn edit(&mut self, steps: &[Step]) -> Result<(), String> {
        for step in steps {
            self.step(step)
                .map_err(|rule| format!("{rule}: {step:x?}"))?;
        }
        if let Some(stale) = self.stale.first() {
            return Err(format!("not invalidated at the end: {stale:x?}"));
        }
        match self
            .unpublished
            .iter()
            .find(|table| self.linked.contains_key(table))
        {
            Some(table) => Err(format!("not published at the end: {table:#x}")),
            None => Ok(()),
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match *step {
            Step::Publish => self.unpublished.clear(),
            Step::Invalidate(invalidation) => {
                if (invalidation.stage, invalidation.space) != (self.stage, self.space) {
                    return Err("wrong stage or space".into());
                }
                if invalidation.bytes == 0 || invalidation.bytes % invalidation.stride != 0 {
                    return Err("malformed range".into());
                }
                self.stale.retain(|stale| !covers(&invalidation, stale));
            }
            Step::Zero(table) => {
                self.reuse(table.0)?;
                self.tables.insert(table.0, [0; ENTRIES]);
                self.unpublished.insert(table.0);
            }
            Step::Write {
                table,
                index,
                descriptor,
            } => self.write(table.0, index, descriptor)?,
        }
        Ok(())
    }

    fn reuse(&self, table: u64) -> Result<(), String> {
        if self.linked.contains_key(&table) {
            return Err("a linked table is zeroed".into());
        }
        if self.stale.iter().any(|stale| stale.table == Some(table)) {
            return Err("a table is reused before its link is invalidated".into());
        }
        Ok(())
    }

    fn write(&mut self, table: u64, index: usize, new: u64) -> Result<(), String> {
        let old = self.tables[&table][index];
        if let Some(place) = self.linked.get(&table).copied() {
            self.check_linked(place, index, old, new)?;
        } else if new & 1 != 0 && self.stale.iter().any(|stale| stale.table == Some(table)) {
            return Err("a detached table is filled before its link is invalidated".into());
        }
        self.tables.get_mut(&table).unwrap()[index] = new;
        if new & 1 != 0 {
            self.unpublished.insert(table);
        }
        Ok(())
    }

    fn check_linked(
        &mut self,
        place: Place,
        index: usize,
        old: u64,
        new: u64,
    ) -> Result<(), String> {
        let shift = 12 + 9 * (3 - place.level);
        let start = place.input + ((index as u64) << shift);
        // Inclusive, because the upper half ends at 2^64.
        let end = start + ((1 << shift) - 1);
        let next =
            |word: u64| (word & 3 == 3 && place.level < 3).then_some(word & 0xffff_ffff_f000);
        match (old & 1 != 0, new & 1 != 0) {
            (true, true) => return Err("make without break".into()),
            (true, false) => {
                self.stale.push(Stale {
                    start,
                    end,
                    table: next(old),
                });
                if let Some(table) = next(old) {
                    self.unlink(table);
                }
            }
            (false, true) => {
                if self
                    .stale
                    .iter()
                    .any(|stale| stale.start <= end && start <= stale.end)
                {
                    return Err("make before the invalidation".into());
                }
                if let Some(table) = next(new) {
                    self.link(
                        table,
                        Place {
                            level: place.level + 1,
                            input: start,
                        },
                    )?;
                }
            }
            (false, false) => {}
        }
        Ok(())
    }

    fn link(&mut self, table: u64, place: Place) -> Result<(), String> {
        if self.unpublished.contains(&table) {
            return Err("a table is linked before it is published".into());
        }
        if self.linked.insert(table, place).is_some() {
            return Err("a table is linked twice".into());
        }
        if place.level < 3 {
            let shift = 12 + 9 * (3 - place.level);
            for (index, word) in self.tables[&table].into_iter().enumerate() {
                if word & 3 == 3 {
                    let input = place.input + ((index as u64) << shift);
                    let place = Place {
                        level: place.level + 1,
                        input,
                    };
                    self.link(word & 0xffff_ffff_f000, place)?;
                }
            }
        }
        Ok(())
    }

    fn unlink(&mut self, table: u64) {
        let place = self.linked.remove(&table).unwrap();
        let shift = 12 + 9 * (3 - place.level);
        for (index, word) in self.tables[&table].into_iter().enumerate() {
            if word & 1 == 0 {
                continue;
            }
            // What was still mapped below is stale with it.
            let start = place.input + ((index as u64) << shift);
            let next = (word & 3 == 3 && place.level < 3).then_some(word & 0xffff_ffff_f000);
            self.stale.push(Stale {
                start,
                end: start + ((1 << shift) - 1),
                table: next,
            });
            if let Some(next) = next {
                self.unlink(next);
            }
        }
    }

    /// Checks that the tables are those of `mem`, as far as walks reach.
    ///
    /// # Panics
    /// If they are not.
    pub fn agrees_with(&self, mem: &RecordedMemory) {
        for table in self.linked.keys() {
            assert_eq!(
                self.tables.get(table),
                mem.tables.get(table),
                "table {table:#x}"
            );
        }
        let root = self.linked.len() - self.walker.tables(mem).len();
        let bits = 64 - self.walker.tsz - (12 + 9 * (3 - self.walker.start));
        assert_eq!(root as u64, (1_u64 << bits).div_ceil(512));
    }
}

/// Whether one of the addresses that `invalidation` names is in the range of `stale`, and, if it is
/// a block or page, whether all of it is in the range of `invalidation`.
fn covers(invalidation: &Invalidation, stale: &Stale) -> bool {
    let last = invalidation.start + (invalidation.bytes - 1);
    let whole = invalidation.start <= stale.start && stale.end <= last;
    if stale.table.is_none() && !whole {
        return false;
    }
    // The first named address that is not below the range.
    let behind = stale.start.saturating_sub(invalidation.start);
    let steps = behind.div_ceil(invalidation.stride);
    let named = invalidation.start.checked_add(steps * invalidation.stride);
    named.is_some_and(|named| named <= stale.end && named <= last)
}
