// SPDX-License-Identifier: MIT OR Apache-2.0
//! X1, X2, X3, X5, X6 and DECISIONS 28, 29: the trace checker lets correct edits pass, and names the
//! rule that each seeded mistake breaks. Mistakes are made one at a time in the recorded steps of
//! correct edits. X5: what changes its owner at run time is pages of tables, whose zeros reach memory before
//! the page is linked.

mod edits;

use std::collections::BTreeSet;

use edits::*;

use crate::testing::{Rule, Step};
use crate::tests::fixture::KIB_4;
use crate::tlb::{Barrier, Tlbi};

/// A mistake: what it is, in which edit, how, and which rule it breaks.
type Mistake = (&'static str, fn() -> Recorded, fn(&mut Vec<Step>), Rule);

fn is_break(step: &Step) -> bool {
    matches!(step, Step::Write { descriptor, .. } if descriptor & 1 == 0)
}

fn is_make(step: &Step) -> bool {
    matches!(step, Step::Write { descriptor, .. } if descriptor & 1 == 1)
}

fn is_tlbi(step: &Step) -> bool {
    matches!(step, Step::Tlbi(_))
}

fn is_clean(step: &Step) -> bool {
    matches!(step, Step::Clean { .. })
}

fn is(barrier: Barrier) -> impl Fn(&Step) -> bool {
    move |step| *step == Step::Barrier(barrier)
}

/// The index of step number `number` of those that `which` takes; from the end, if negative.
fn find(steps: &[Step], number: isize, which: impl Fn(&Step) -> bool) -> usize {
    let found: Vec<usize> = (0..steps.len()).filter(|&i| which(&steps[i])).collect();
    found[number.rem_euclid(found.len() as isize) as usize]
}

/// Leaves that step out, and returns it.
fn omit(steps: &mut Vec<Step>, number: isize, which: impl Fn(&Step) -> bool) -> Step {
    let index = find(steps, number, which);
    steps.remove(index)
}

/// Moves a step before another.
fn advance(steps: &mut Vec<Step>, from: usize, to: usize) {
    assert!(to < from, "{to} {from}");
    let step = steps.remove(from);
    steps.insert(to, step);
}

/// Changes the operands of all invalidations by address.
fn operands(steps: &mut [Step], change: fn(u64) -> u64) {
    for step in steps {
        if let Step::Tlbi(Tlbi::Ipa(operand) | Tlbi::Va(operand)) = step {
            *operand = change(*operand);
        }
    }
}

const MISTAKES: &[Mistake] = &[
    // X1: break before make.
    (
        "a block's place is taken without a break",
        split,
        |s| _ = omit(s, 1, is_break),
        Rule::MakeWithoutBreak,
    ),
    (
        "the table is linked before the invalidation",
        split,
        |s| advance(s, find(s, -1, is_make), find(s, 0, is_tlbi)),
        Rule::MakeBeforeInvalidation,
    ),
    (
        "stage 2 is not invalidated",
        split,
        |s| _ = omit(s, 0, is_tlbi),
        Rule::MakeBeforeInvalidation,
    ),
    (
        "stage 1 is not invalidated after stage 2",
        split,
        |s| _ = omit(s, 0, |step| *step == Step::Tlbi(Tlbi::StageOne)),
        Rule::MakeBeforeInvalidation,
    ),
    (
        "the make does not wait for the invalidation",
        split,
        |s| _ = omit(s, 1, is(Barrier::All)),
        Rule::MakeBeforeInvalidation,
    ),
    (
        "the block behind is invalidated",
        split,
        |s| operands(s, |operand| operand + 0x200),
        Rule::MakeBeforeInvalidation,
    ),
    (
        "a page-sized operand, not shifted",
        split,
        |s| operands(s, |operand| operand << 12),
        Rule::WrongSpace,
    ),
    (
        "a table's place is taken without a break",
        merge_block,
        |s| _ = omit(s, 0, is_break),
        Rule::MakeWithoutBreak,
    ),
    (
        "a merged table's pages stay in stage 2",
        merge_block,
        |s| {
            let index = find(s, 0, is_tlbi);
            s[index] = Step::Tlbi(Tlbi::StageOne);
        },
        Rule::MakeBeforeInvalidation,
    ),
    (
        "pages that are no block are merged",
        merge_block,
        |s| change(s, 0, |bits| bits + KIB_4),
        Rule::OutputUnaligned,
    ),
    // Contiguous runs.
    (
        "one entry of a run stays valid",
        split_run,
        |s| _ = omit(s, 9, is_break),
        Rule::MakeBeforeInvalidation,
    ),
    (
        "one page of a run is invalidated",
        split_run,
        |s| {
            let first = find(s, 0, is_tlbi);
            s.drain(first + 1..first + 16);
        },
        Rule::MakeBeforeInvalidation,
    ),
    (
        "a run is split and stays contiguous",
        split_run,
        |s| (0..15).for_each(|n| change(s, n, |bits| bits | 1 << 52)),
        Rule::RunMixed,
    ),
    (
        "one entry of a split run stays contiguous",
        split_run,
        |s| change(s, 0, |bits| bits | 1 << 52),
        Rule::RunMixed,
    ),
    (
        "a run is made of valid entries",
        merge_run,
        |s| s.retain(|step| !is_break(step)),
        Rule::MakeWithoutBreak,
    ),
    (
        "an entry of a run is left out",
        merge_run,
        |s| _ = omit(s, -1, is_make),
        Rule::RunMixed,
    ),
    (
        "an entry of a run is that of another",
        merge_run,
        |s| change(s, 7, |bits| bits + 16 * KIB_4),
        Rule::RunMixed,
    ),
    (
        "a run that starts a page late",
        merge_run,
        |s| change(s, 1, |bits| bits + KIB_4),
        Rule::OutputUnaligned,
    ),
    // X2: what is removed is gone when the call returns.
    (
        "nothing is invalidated",
        unmap_many,
        |s| s.retain(|step| !is_tlbi(step)),
        Rule::NotInvalidated,
    ),
    (
        "the last invalidation is not waited for",
        unmap_many,
        |s| _ = omit(s, -1, is(Barrier::All)),
        Rule::NotInvalidated,
    ),
    (
        "one of three pages is not invalidated",
        reuse,
        |s| _ = omit(s, 1, is_tlbi),
        Rule::NotInvalidated,
    ),
    (
        "the invalidation comes before the write",
        own_unmap,
        |s| advance(s, find(s, 0, is_tlbi), 0),
        Rule::NotInvalidated,
    ),
    (
        "one of two own pages is not invalidated",
        own_unmap,
        |s| _ = omit(s, 1, is_tlbi),
        Rule::NotInvalidated,
    ),
    (
        "walks may not see the break",
        split,
        |s| _ = omit(s, 1, is(Barrier::Stores)),
        Rule::InvalidatedUnordered,
    ),
    (
        "walks may not see the own break",
        own_unmap,
        |s| _ = omit(s, 0, is(Barrier::Stores)),
        Rule::InvalidatedUnordered,
    ),
    (
        "stage 1 does not wait for stage 2",
        split,
        |s| _ = omit(s, 0, is(Barrier::All)),
        Rule::StagesUnordered,
    ),
    (
        "the NS bit is left out",
        split,
        |s| operands(s, |operand| operand & !(1 << 63)),
        Rule::WrongSpace,
    ),
    (
        "the NS bit is set for a secure IPA",
        reuse,
        |s| operands(s, |operand| operand | 1 << 63),
        Rule::WrongSpace,
    ),
    (
        "another partition's VMID is loaded",
        split,
        |s| _ = omit(s, 0, is_load),
        Rule::WrongVmid,
    ),
    (
        "VTTBR_EL2 is not synchronised",
        split,
        |s| _ = omit(s, 1, is(Barrier::Instructions)),
        Rule::RootsUnsynchronised,
    ),
    (
        "VTTBR_EL2 is not restored",
        split,
        |s| _ = omit(s, -1, is_load),
        Rule::RootsNotRestored,
    ),
    (
        "this core is not synchronised",
        split,
        |s| _ = omit(s, -1, is(Barrier::Instructions)),
        Rule::NotSynchronised,
    ),
    (
        "an ASID where there is none",
        own_unmap,
        |s| operands(s, |operand| operand | 1 << 48),
        Rule::WrongAsid,
    ),
    (
        "the partitions' regime is invalidated",
        own_unmap,
        |s| s[4] = Step::Tlbi(Tlbi::AllEl1),
        Rule::WrongRegime,
    ),
    // New tables.
    (
        "a table is linked before its entries are seen",
        map,
        |s| _ = omit(s, 0, is(Barrier::Stores)),
        Rule::LinkedUnpublished,
    ),
    (
        "the link may not be seen",
        map,
        |s| _ = omit(s, 1, is(Barrier::Stores)),
        Rule::NotPublished,
    ),
    (
        "a new mapping is not synchronised",
        map,
        |s| _ = omit(s, -1, is(Barrier::Instructions)),
        Rule::NotSynchronised,
    ),
    (
        "a table is linked twice",
        map,
        |s| {
            let link = s[find(s, -1, is_make)];
            s.push(elsewhere(link));
        },
        Rule::LinkedTwice,
    ),
    // X6.
    (
        "a table is not zeroed",
        map,
        |s| _ = omit(s, 0, is_zero),
        Rule::LinkedUnzeroed,
    ),
    (
        "a table in use is handed out again",
        map,
        |s| s.push(s[find(s, 0, is_zero)]),
        Rule::LinkedTableZeroed,
    ),
    (
        "a table is reused before its link is invalidated",
        reuse,
        |s| advance(s, find(s, 0, is_zero), find(s, 0, is_tlbi)),
        Rule::ReusedBeforeInvalidation,
    ),
    (
        "a merged table is reused at once",
        merge_block,
        |s| advance(s, find(s, 0, is_zero), find(s, 0, is_tlbi)),
        Rule::ReusedBeforeInvalidation,
    ),
    // X3.
    (
        "a VMID is not invalidated",
        reuse_vmid,
        |s| _ = omit(s, 0, is_tlbi),
        Rule::VmidReused,
    ),
    (
        "another VMID is invalidated",
        reuse_vmid,
        |s| _ = omit(s, 2, is_load),
        Rule::VmidReused,
    ),
    (
        "a VMID's invalidation is not waited for",
        reuse_vmid,
        |s| _ = omit(s, 0, is(Barrier::All)),
        Rule::VmidReused,
    ),
    (
        "all VMIDs are used again, none is invalidated",
        reuse_vmid,
        |s| _ = omit(s, 1, is_tlbi),
        Rule::VmidReused,
    ),
    // DECISIONS 29.
    (
        "a table stays in the cache",
        dma_map,
        |s| _ = omit(s, 0, is_clean),
        Rule::LinkedUncleaned,
    ),
    (
        "a table is cleaned, then filled",
        dma_map,
        |s| advance(s, find(s, 0, is_clean), find(s, 0, is_make)),
        Rule::LinkedUncleaned,
    ),
    (
        "one line of a table is cleaned",
        dma_map,
        |s| {
            let index = find(s, 0, is_clean);
            if let Step::Clean { count, .. } = &mut s[index] {
                *count = 8;
            }
        },
        Rule::LinkedUncleaned,
    ),
    (
        "the link stays in the cache",
        dma_map,
        |s| _ = omit(s, -1, is_clean),
        Rule::NotCleaned,
    ),
    (
        "the break stays in the cache",
        dma_unmap,
        |s| _ = omit(s, 0, is_clean),
        Rule::InvalidatedUncleaned,
    ),
];

fn is_load(step: &Step) -> bool {
    matches!(step, Step::LoadRoots(_))
}

fn is_zero(step: &Step) -> bool {
    matches!(step, Step::Zero(_))
}

/// Changes the descriptor of make number `number` of those that follow the last break.
fn change(steps: &mut [Step], number: usize, change: fn(u64) -> u64) {
    let after = steps.iter().rposition(is_break).unwrap_or(0);
    let first = (after..steps.len())
        .filter(|&index| is_make(&steps[index]))
        .nth(number);
    if let Step::Write { descriptor, .. } = &mut steps[first.unwrap()] {
        *descriptor = change(*descriptor);
    }
}

/// The same write, seven entries behind.
fn elsewhere(step: Step) -> Step {
    match step {
        Step::Write {
            table,
            index,
            descriptor,
        } => Step::Write {
            table,
            index: index + 7,
            descriptor,
        },
        other => other,
    }
}

#[test]
fn x1_x2_x3_x5_x6_correct_edits_pass() {
    for edit in MISTAKES.iter().map(|(_, edit, ..)| edit) {
        let (mut checker, steps) = edit();
        assert_eq!(checker.edit(&steps), Ok(()));
    }
}

#[test]
fn x1_x2_x3_x5_x6_each_mistake_is_caught_by_its_rule() {
    let mut rules = BTreeSet::new();
    for (name, edit, mistake, rule) in MISTAKES {
        let (mut checker, mut steps) = edit();
        mistake(&mut steps);
        let found = checker.edit(&steps).err().map(|violation| violation.rule);
        assert_eq!(found, Some(*rule), "{name}");
        rules.insert(*rule);
    }
    let names: BTreeSet<&str> = MISTAKES.iter().map(|(name, ..)| *name).collect();
    assert_eq!(names.len(), MISTAKES.len());
    assert!(MISTAKES.len() >= 20);
    assert_eq!(
        rules.len(),
        24,
        "there is a mistake for each rule: {rules:?}"
    );
}
