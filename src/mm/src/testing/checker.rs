// SPDX-License-Identifier: MIT OR Apache-2.0
//! Follows the steps of edits as TLBs, caches and other cores may see them, and names the rule that
//! a step breaks. It is pessimistic: what may be cached is cached, until the steps that Arm's rules
//! ask for have all been taken, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;
use std::{assert_eq, fmt};

use super::walker::Kind;
use super::{RecordedMemory, Recorder, Step, Target, Walker};
use crate::table::{ENTRIES, Walks};
use crate::tlb::{Barrier, Roots, Tlbi};

/// What an edit must not do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Rule {
    /// X1: a valid descriptor is replaced by another.
    MakeWithoutBreak,
    /// X1: a descriptor is made while TLBs may hold what was there before.
    MakeBeforeInvalidation,
    /// X2: at the end TLBs may hold what was removed.
    NotInvalidated,
    /// X2: an invalidation without a DSB after the write: a walk may bring the old entry back.
    InvalidatedUnordered,
    /// X2: stage 1 is invalidated before the invalidation of stage 2 is complete.
    StagesUnordered,
    /// X2, DECISIONS 28: an invalidation while another VMID is loaded.
    WrongVmid,
    /// DECISIONS 28: an invalidation without an ISB after VTTBR_EL2 was written.
    RootsUnsynchronised,
    /// DECISIONS 28: what was in VTTBR_EL2 and VSTTBR_EL2 before the edit is not there after it.
    RootsNotRestored,
    /// X2: the NS bit of the operand is that of the other IPA space.
    WrongSpace,
    /// The operand has another ASID.
    WrongAsid,
    /// An invalidation of the other translation regime.
    WrongRegime,
    /// X2: no ISB at the end: this core may still go by what was there before.
    NotSynchronised,
    /// X3: a VMID stands for other tables while TLBs may hold its old translations.
    VmidReused,
    /// X6: a table is linked that was not zeroed since it was last linked.
    LinkedUnzeroed,
    /// X6: a linked table is zeroed.
    LinkedTableZeroed,
    /// X6: a table is reused while a walk may still reach it.
    ReusedBeforeInvalidation,
    /// A table is linked before its descriptors are visible to walks.
    LinkedUnpublished,
    /// At the end, new descriptors may not be visible to walks.
    NotPublished,
    /// A table is linked in two places.
    LinkedTwice,
    /// A contiguous run of which a part is missing, or is unlike the rest.
    RunMixed,
    /// The output address lacks the alignment of its block or run.
    OutputUnaligned,
    /// DECISIONS 29: a table is linked whose descriptors are in caches only.
    LinkedUncleaned,
    /// DECISIONS 29: an invalidation while the break is in caches only.
    InvalidatedUncleaned,
    /// DECISIONS 29: at the end, descriptors are in caches only.
    NotCleaned,
}

/// A rule that was broken, and by which step; `None` is the end of the edit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// The step.
    pub step: Option<Step>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.rule)?;
        match self.step {
            Some(step) => write!(f, " by {step:x?}"),
            None => f.write_str(" at the end"),
        }
    }
}

/// Where a linked table is in the tree.
#[derive(Clone, Copy, Debug)]
struct Place {
    level: i32,
    /// The first input address that the table maps.
    input: u64,
}

/// How far the invalidation of a stale entry has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    /// The break is written.
    Written,
    /// Walks see it.
    Ordered,
    /// Stage 2: the invalidation is under way.
    StageTwoIssued,
    /// Stage 2: it is complete; entries that combine both stages are left.
    StageTwoDone,
    /// The last invalidation is under way.
    Issued,
}

/// An input range whose old descriptor cores may still hold.
#[derive(Clone, Copy, Debug)]
struct Stale {
    start: u64,
    /// Inclusive, because the upper half ends at 2^64.
    end: u64,
    /// The run of which the descriptor was part: cores may hold all of it.
    run: Option<(u64, u64)>,
    /// The table to which the descriptor pointed.
    table: Option<u64>,
    /// The table and the index where the descriptor was.
    slot: (u64, usize),
    phase: Phase,
}

/// Descriptors in a cache line of 64 bytes.
const LINE: usize = 8;

/// Follows the steps of edits of one tree.
#[derive(Clone, Debug)]
pub struct Checker {
    target: Target,
    walks: Walks,
    walker: Walker,
    tables: BTreeMap<u64, [u64; ENTRIES]>,
    /// The tables that walks reach.
    linked: BTreeMap<u64, Place>,
    /// Tables that were zeroed and not linked since.
    zeroed: BTreeSet<u64>,
    /// Tables with valid descriptors, or zeroes, that no barrier has followed.
    unpublished: BTreeSet<u64>,
    /// Lines of tables that were written and not cleaned.
    uncleaned: BTreeSet<(u64, usize)>,
    stale: Vec<Stale>,
    /// What VTTBR_EL2 and VSTTBR_EL2 hold, and whether an ISB has followed.
    loaded: (Roots, bool),
    /// Whether something is complete that no ISB has followed.
    unsynchronised: bool,
    /// The roots whose translations TLBs may hold, by VMID.
    vmids: BTreeMap<u64, Roots>,
    /// VMIDs of which everything has been invalidated, but not completely yet.
    flushing: BTreeSet<u64>,
}

type Checked = Result<(), Rule>;

/// The VMID in `roots`.
fn vmid(roots: Roots) -> u64 {
    roots.vttbr >> 48
}

impl Checker {
    /// A checker of the tree that `walker` walks and that is empty in `mem`.
    pub fn new(target: Target, walks: Walks, walker: Walker, mem: &RecordedMemory) -> Self {
        let shift = Walker::low(walker.start);
        let base = if walker.upper {
            u64::MAX << (64 - walker.tsz)
        } else {
            0
        };
        let linked = (0..walker.root_entries().div_ceil(512))
            .map(|page| {
                let input = base.wrapping_add((page * 512) << shift);
                let level = walker.start;
                (walker.base + page * 4096, Place { level, input })
            })
            .collect();
        Self {
            target,
            walks,
            walker,
            tables: mem.tables.clone(),
            linked,
            zeroed: BTreeSet::new(),
            unpublished: BTreeSet::new(),
            uncleaned: BTreeSet::new(),
            stale: Vec::new(),
            loaded: (Recorder::ELSEWHERE, true),
            unsynchronised: false,
            vmids: BTreeMap::from([(vmid(Recorder::ELSEWHERE), Recorder::ELSEWHERE)]),
            flushing: BTreeSet::new(),
        }
    }

    /// Checks one whole edit: at its end, what it wrote must be visible, and what it removed must be
    /// gone.
    ///
    /// # Errors
    /// The first rule that was broken.
    pub fn edit(&mut self, steps: &[Step]) -> Result<(), Violation> {
        let before = self.loaded.0;
        for step in steps {
            let step = *step;
            self.step(&step).map_err(|rule| Violation {
                rule,
                step: Some(step),
            })?;
        }
        let linked = |table: &u64| self.linked.contains_key(table);
        let uncleaned = self.uncleaned.iter().any(|(table, _)| linked(table));
        let failed = [
            (!self.stale.is_empty(), Rule::NotInvalidated),
            (self.unpublished.iter().any(linked), Rule::NotPublished),
            (uncleaned, Rule::NotCleaned),
            (self.runs_are_mixed(), Rule::RunMixed),
            (self.loaded.0 != before, Rule::RootsNotRestored),
            (self.unsynchronised, Rule::NotSynchronised),
        ];
        match failed.into_iter().find(|(broken, _)| *broken) {
            Some((_, rule)) => Err(Violation { rule, step: None }),
            None => Ok(()),
        }
    }

    fn step(&mut self, step: &Step) -> Checked {
        match *step {
            Step::Publish | Step::Invalidate(_) => Ok(()),
            Step::Barrier(barrier) => self.barrier(barrier),
            Step::Tlbi(operation) => self.tlbi(operation),
            Step::LoadRoots(roots) => {
                self.loaded = (roots, false);
                Ok(())
            }
            Step::Clean {
                table,
                index,
                count,
            } => {
                let lines = index / LINE..=(index + count - 1) / LINE;
                self.uncleaned
                    .retain(|(dirty, line)| *dirty != table.0 || !lines.contains(line));
                Ok(())
            }
            Step::Zero(table) => self.zero(table.0),
            Step::Write {
                table,
                index,
                descriptor,
            } => self.write(table.0, index, descriptor),
        }
    }

    fn barrier(&mut self, barrier: Barrier) -> Checked {
        match barrier {
            Barrier::Instructions => {
                self.unsynchronised = false;
                let roots = self.loaded.0;
                self.loaded.1 = true;
                let held = self.vmids.insert(vmid(roots), roots);
                if held.is_some_and(|held| held != roots) {
                    return Err(Rule::VmidReused);
                }
            }
            Barrier::Stores => self.order(),
            Barrier::All => {
                self.order();
                let before = self.stale.len();
                self.stale.retain(|stale| stale.phase != Phase::Issued);
                self.unsynchronised |= self.stale.len() != before;
                for stale in &mut self.stale {
                    if stale.phase == Phase::StageTwoIssued {
                        stale.phase = Phase::StageTwoDone;
                    }
                }
                for vmid in core::mem::take(&mut self.flushing) {
                    self.vmids.remove(&vmid);
                }
            }
        }
        Ok(())
    }

    /// Earlier writes are visible to walks.
    fn order(&mut self) {
        self.unsynchronised |= !self.unpublished.is_empty();
        self.unpublished.clear();
        for stale in &mut self.stale {
            stale.phase = stale.phase.max(Phase::Ordered);
        }
    }

    fn tlbi(&mut self, operation: Tlbi) -> Checked {
        self.check_regime(operation)?;
        if let Tlbi::BothStages | Tlbi::AllEl1 = operation {
            let loaded = vmid(self.loaded.0);
            let all = operation == Tlbi::AllEl1;
            let flushed = self.vmids.keys().filter(|vmid| all || **vmid == loaded);
            self.flushing.extend(flushed);
        }
        for number in 0..self.stale.len() {
            let stale = self.stale[number];
            if self.may_come_back(&stale) {
                continue;
            }
            let next = match operation {
                Tlbi::Va(operand) if names(operand, 44, &stale) => Phase::Issued,
                Tlbi::Ipa(operand) if names(operand, 40, &stale) => Phase::StageTwoIssued,
                Tlbi::AllEl2 | Tlbi::BothStages | Tlbi::AllEl1 => Phase::Issued,
                Tlbi::StageOne => match stale.phase {
                    Phase::StageTwoIssued => return Err(Rule::StagesUnordered),
                    Phase::StageTwoDone => Phase::Issued,
                    _ => continue,
                },
                _ => continue,
            };
            let (table, index) = stale.slot;
            if self.uncleaned.contains(&(table, index / LINE)) {
                return Err(Rule::InvalidatedUncleaned);
            }
            if stale.phase == Phase::Written {
                return Err(Rule::InvalidatedUnordered);
            }
            self.stale[number].phase = stale.phase.max(next);
        }
        Ok(())
    }

    /// Whether an invalidation is of the regime, the VMID, the space, the ASID of the tables.
    fn check_regime(&self, operation: Tlbi) -> Checked {
        match (self.target, operation) {
            (Target::StageOne { asid }, Tlbi::Va(operand)) => {
                if operand >> 48 != u64::from(asid) {
                    return Err(Rule::WrongAsid);
                }
            }
            (Target::StageOne { .. }, Tlbi::AllEl2) => {}
            (Target::StageTwo { .. }, Tlbi::AllEl1) => {}
            (_, Tlbi::BothStages | Tlbi::StageOne | Tlbi::Ipa(_)) if !self.loaded.1 => {
                return Err(Rule::RootsUnsynchronised);
            }
            // All of the VMID that is loaded, whichever it is, when no edit asks for it.
            (_, Tlbi::BothStages) if self.stale.is_empty() => {}
            (Target::StageTwo { roots, space }, _) => {
                if vmid(roots) != vmid(self.loaded.0) {
                    return Err(Rule::WrongVmid);
                }
                match operation {
                    Tlbi::Ipa(operand) => {
                        if (operand >> 63 == 1) != (space == crate::attrs::Space::NonSecure) {
                            return Err(Rule::WrongSpace);
                        }
                    }
                    Tlbi::BothStages | Tlbi::StageOne => {}
                    _ => return Err(Rule::WrongRegime),
                }
            }
            _ => return Err(Rule::WrongRegime),
        }
        Ok(())
    }

    /// Whether another descriptor of the run still brings all of it back.
    fn may_come_back(&self, stale: &Stale) -> bool {
        let (table, index) = stale.slot;
        stale.run.is_some()
            && self.linked.contains_key(&table)
            && self.tables[&table][index & !15..][..16]
                .iter()
                .any(|word| word & 1 == 1 && word >> 52 & 1 == 1)
    }

    fn zero(&mut self, table: u64) -> Checked {
        if self.linked.contains_key(&table) {
            return Err(Rule::LinkedTableZeroed);
        }
        if self.stale.iter().any(|stale| stale.table == Some(table)) {
            return Err(Rule::ReusedBeforeInvalidation);
        }
        self.tables.insert(table, [0; ENTRIES]);
        self.zeroed.insert(table);
        self.unpublished.insert(table);
        if self.walks == Walks::Uncached {
            self.uncleaned
                .extend((0..ENTRIES / LINE).map(|line| (table, line)));
        }
        Ok(())
    }

    fn write(&mut self, table: u64, index: usize, new: u64) -> Checked {
        let entries = self
            .tables
            .entry(table)
            .or_insert([super::GARBAGE; ENTRIES]);
        let old = core::mem::replace(&mut entries[index], new);
        if let Some(place) = self.linked.get(&table).copied() {
            self.check_linked(place, (table, index), old, new)?;
        } else if new & 1 != 0 && self.stale.iter().any(|stale| stale.table == Some(table)) {
            return Err(Rule::ReusedBeforeInvalidation);
        }
        if new & 1 != 0 {
            self.unpublished.insert(table);
        }
        if self.walks == Walks::Uncached {
            self.uncleaned.insert((table, index / LINE));
        }
        Ok(())
    }

    fn check_linked(&mut self, place: Place, slot: (u64, usize), old: u64, new: u64) -> Checked {
        let (start, end) = range(place, slot.1);
        match (old & 1 != 0, new & 1 != 0) {
            (true, true) => Err(Rule::MakeWithoutBreak),
            (true, false) => {
                self.remove(place, slot, old);
                Ok(())
            }
            (false, true) => {
                let meets = |stale: &Stale| {
                    let (first, last) = stale.run.unwrap_or((stale.start, stale.end));
                    first <= end && start <= last
                };
                if self.stale.iter().any(meets) {
                    return Err(Rule::MakeBeforeInvalidation);
                }
                self.check_leaf(place, slot, new)?;
                match self.walker.kind(new, place.level) {
                    Kind::Table(table) => self.link(table, below(place, slot.1)),
                    _ => Ok(()),
                }
            }
            (false, false) => Ok(()),
        }
    }

    /// Makes what the descriptor `old` mapped stale, and what its table mapped.
    fn remove(&mut self, place: Place, slot: (u64, usize), old: u64) {
        let (start, end) = range(place, slot.1);
        let table = match self.walker.kind(old, place.level) {
            Kind::Table(table) => Some(table),
            _ => None,
        };
        let run = (table.is_none() && old >> 52 & 1 == 1).then(|| {
            let bytes = 16 << Walker::low(place.level);
            let first = start & !(bytes - 1);
            (first, first + (bytes - 1))
        });
        self.stale.push(Stale {
            start,
            end,
            run,
            table,
            slot,
            phase: Phase::Written,
        });
        let Some(table) = table else { return };
        self.zeroed.remove(&table);
        if let Some(place) = self.linked.remove(&table) {
            for (index, word) in self.tables[&table].into_iter().enumerate() {
                if word & 1 != 0 {
                    self.remove(place, (table, index), word);
                }
            }
        }
    }

    /// Checks the alignment of a block or page, and that its run is all contiguous or not at all.
    fn check_leaf(&self, place: Place, (table, index): (u64, usize), word: u64) -> Checked {
        let contiguous = word >> 52 & 1;
        if let Kind::Leaf(output) = self.walker.kind(word, place.level) {
            let (start, _) = range(place, index);
            let bytes = 1_u64 << Walker::low(place.level);
            let unlike = (output ^ start) & (16 * bytes - 1);
            if output & (bytes - 1) != 0 || contiguous == 1 && unlike != 0 {
                return Err(Rule::OutputUnaligned);
            }
        } else if contiguous == 1 {
            return Err(Rule::RunMixed);
        }
        let run = &self.tables[&table][index & !15..][..16];
        let mixed = |other: &u64| other & 1 == 1 && other >> 52 & 1 != contiguous;
        if run.iter().any(mixed) {
            return Err(Rule::RunMixed);
        }
        Ok(())
    }

    fn link(&mut self, table: u64, place: Place) -> Checked {
        if self.linked.insert(table, place).is_some() {
            return Err(Rule::LinkedTwice);
        }
        if !self.zeroed.remove(&table) {
            return Err(Rule::LinkedUnzeroed);
        }
        if self.uncleaned.iter().any(|(dirty, _)| *dirty == table) {
            return Err(Rule::LinkedUncleaned);
        }
        if self.unpublished.contains(&table) {
            return Err(Rule::LinkedUnpublished);
        }
        for (index, word) in self.tables[&table].into_iter().enumerate() {
            if word & 1 == 1 {
                self.check_leaf(place, (table, index), word)?;
            }
            if let Kind::Table(next) = self.walker.kind(word, place.level) {
                self.link(next, below(place, index))?;
            }
        }
        Ok(())
    }

    /// Whether a linked table has a contiguous run of which an entry is missing or unlike the rest.
    fn runs_are_mixed(&self) -> bool {
        let address = |word| self.walker.address(word);
        let attributes = !0x0003_ffff_ffff_f000 & !if self.walker.lpa2 { 0x300 } else { 0 };
        self.linked.iter().any(|(table, place)| {
            let bytes = 1 << Walker::low(place.level);
            let Some(entries) = self.tables.get(table) else {
                return false;
            };
            entries.chunks(16).any(|run| {
                let is_run = run.iter().any(|word| word & 1 == 1 && word >> 52 & 1 == 1);
                let alike = (0..).zip(run).all(|(number, word)| {
                    word & attributes == run[0] & attributes
                        && address(*word) == address(run[0]) + number * bytes
                });
                is_run && !alike
            })
        })
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
        assert_eq!(root as u64, self.walker.root_entries().div_ceil(512));
    }
}

/// The first and the last input address of entry `index` of the table at `place`.
fn range(place: Place, index: usize) -> (u64, u64) {
    let shift = Walker::low(place.level);
    let start = place.input + ((index as u64) << shift);
    (start, start + ((1 << shift) - 1))
}

/// The place of the table to which entry `index` of the table at `place` points.
fn below(place: Place, index: usize) -> Place {
    Place {
        level: place.level + 1,
        input: range(place, index).0,
    }
}

/// Whether the operand, whose address has `bits` bits from bit 12 of the address on, names an address
/// of the entry.
fn names(operand: u64, bits: u32, stale: &Stale) -> bool {
    let field = (1 << bits) - 1;
    let address = operand & field;
    let pages = |address: u64| address >> 12 & field;
    pages(stale.start) <= address && address <= pages(stale.end)
}
