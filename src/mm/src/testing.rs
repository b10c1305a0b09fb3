// SPDX-License-Identifier: MIT OR Apache-2.0
//! For tests only (feature `testing`): memory and a machine that record what is done to them, a
//! walker that follows the tables as hardware does, and a checker of the order of table writes,
//! barriers, invalidations and cache cleaning.
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

mod checker;
mod walker;

use std::assert;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::vec::Vec;

use crate::addr::Pa;
use crate::attrs::Space;
use crate::table::{ENTRIES, TableMemory};
use crate::tlb::{self, Barrier, Instructions, Invalidation, Maintenance, Roots, Tlbi};

pub use checker::{Checker, Rule, Violation};
pub use walker::{Translation, Walker, Words};

/// What the engine did, and what the machine executed for it.
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
    /// It cleaned descriptors to the point of coherency.
    Clean {
        /// The table.
        table: Pa,
        /// The first index in it.
        index: usize,
        /// How many descriptors.
        count: usize,
    },
    /// It called [`Maintenance::publish`]; what that executes follows.
    Publish,
    /// It called [`Maintenance::invalidate`]; what that executes follows.
    Invalidate(Invalidation),
    /// A barrier was executed.
    Barrier(Barrier),
    /// An invalidation was executed.
    Tlbi(Tlbi),
    /// VTTBR_EL2 and VSTTBR_EL2 were written.
    LoadRoots(Roots),
}

impl Step {
    /// Whether the machine executed it, on behalf of a call that stands before it.
    pub const fn is_instruction(&self) -> bool {
        matches!(self, Self::Barrier(_) | Self::Tlbi(_) | Self::LoadRoots(_))
    }
}

/// The steps of an edit in order, shared by the memory and the machine that record them.
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

/// Whose tables are edited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// Stage 1 of S-EL2's own upper half, or of a partition at S-EL0.
    StageOne {
        /// Zero for S-EL2's own.
        asid: u16,
    },
    /// Stage 2 of a partition.
    StageTwo {
        /// The IPA space.
        space: Space,
        /// The partition's roots and VMID.
        roots: Roots,
    },
}

/// A machine that records what it executes. As a [`Maintenance`] it executes the sequences of
/// [`tlb`] for its target.
#[derive(Clone, Debug)]
pub struct Recorder {
    /// Where the steps go.
    pub trace: Trace,
    /// Whose tables are edited.
    pub target: Target,
    loaded: Roots,
}

impl Recorder {
    /// What is loaded before and after each edit: the roots of another partition, of VMID 0x1ff.
    pub const ELSEWHERE: Roots = Roots {
        vttbr: 0x01ff_0000_7000_0000,
        vsttbr: 0x7001_0000,
    };

    /// A machine that edits the tables of `target`.
    pub fn new(trace: Trace, target: Target) -> Self {
        Self {
            trace,
            target,
            loaded: Self::ELSEWHERE,
        }
    }
}

impl Instructions for Recorder {
    fn barrier(&mut self, barrier: Barrier) {
        self.trace.push(Step::Barrier(barrier));
    }

    fn tlbi(&mut self, operation: Tlbi) {
        self.trace.push(Step::Tlbi(operation));
    }

    fn roots(&self) -> Roots {
        self.loaded
    }

    fn load_roots(&mut self, roots: Roots) {
        self.loaded = roots;
        self.trace.push(Step::LoadRoots(roots));
    }
}

impl Maintenance for Recorder {
    fn publish(&mut self) {
        self.trace.push(Step::Publish);
        tlb::publish(self);
    }

    fn invalidate(&mut self, invalidation: Invalidation) {
        self.trace.push(Step::Invalidate(invalidation));
        match self.target {
            Target::StageOne { asid } => tlb::invalidate_stage_one(self, asid, invalidation),
            Target::StageTwo { roots, .. } => {
                tlb::invalidate_stage_two(self, roots, invalidation);
            }
        }
    }
}

/// A recording [`TableMemory`]. A page that was never written holds garbage.
#[derive(Clone, Default, Debug)]
pub struct RecordedMemory {
    /// The tables by address.
    pub tables: BTreeMap<u64, [u64; ENTRIES]>,
    /// Where the steps go.
    pub trace: Trace,
    /// How many descriptors were read.
    pub reads: Cell<usize>,
}

/// What an untouched page holds: it looks like a page descriptor.
const GARBAGE: u64 = 0xdead_beef_dead_beef;

impl Words for RecordedMemory {
    fn word(&self, byte: u64) -> u64 {
        self.tables
            .get(&(byte & !0xfff))
            .map_or(GARBAGE, |entries| entries[(byte & 0xfff) as usize / 8])
    }
}

impl TableMemory for RecordedMemory {
    fn read(&self, table: Pa, index: usize) -> u64 {
        assert!(index < ENTRIES);
        self.reads.set(self.reads.get() + 1);
        self.word(table.0 + index as u64 * 8)
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

    fn clean(&mut self, table: Pa, index: usize, count: usize) {
        assert!(count > 0 && index + count <= ENTRIES);
        self.trace.push(Step::Clean {
            table,
            index,
            count,
        });
    }
}
