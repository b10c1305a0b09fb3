// SPDX-License-Identifier: MIT OR Apache-2.0
//! Page ownership: by example, and against a flat model.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::addr::{PAGE_SIZE, Pa, PageRange};
use crate::attrs::{MemoryType, Space};
use crate::owner::{ClaimError, Hold, Node, Owner, Ownership, PageState, Transaction};

const NORMAL: MemoryType = MemoryType::Normal;
const NS: PageState = PageState::exclusive(Owner::NormalWorld, Space::NonSecure, NORMAL);
const SP: PageState = PageState::exclusive(Owner::Partition(0x8001), Space::Secure, NORMAL);
const T1: Transaction = Transaction(1);
const T2: Transaction = Transaction(2);
const BASE: u64 = 0x4000_0000;
const GIB: u64 = 1 << 30;

fn range(base: u64, bytes: u64) -> PageRange {
    PageRange::new(Pa(base), bytes).unwrap()
}

/// Page `page` of the map.
fn page(page: u64) -> PageRange {
    range(BASE + page * PAGE_SIZE, PAGE_SIZE)
}

/// A map of `bytes` bytes from [`BASE`] on, all of which are `state`.
fn map(bytes: u64, nodes: usize, state: PageState) -> Ownership<'static> {
    let nodes = Box::leak(vec![Node::UNUSED; nodes].into_boxed_slice());
    let mut map = Ownership::new(range(BASE, bytes), nodes).unwrap();
    map.assign(map.range(), PageState::HOLE, state).unwrap();
    map
}

/// All there is to see of a map.
fn contents(map: &Ownership) -> (Vec<(PageRange, PageState)>, usize) {
    (map.states(map.range()).collect(), map.used_nodes())
}

#[test]
fn a_million_pages_in_one_state_take_no_node() {
    let mut map = map(4 * GIB, 8, NS);
    assert_eq!(map.used_nodes(), 0);
    assert!(map.all_are(range(BASE, 4 * GIB), NS));
    assert!(!map.all_are(range(BASE, 4 * GIB + PAGE_SIZE), NS));
    // A page out of 2^20: a node for each of five powers of 16.
    let shared = NS.with(Hold::Shared(T1));
    let claim = map.claim([page(77)].into_iter(), NS, T1, 0).unwrap();
    map.commit(claim, [page(77)].into_iter(), shared);
    assert_eq!(map.used_nodes(), 5);
    assert_eq!(map.state(Pa(BASE + 77 * PAGE_SIZE + 9)), shared);
    let found: Vec<_> = map.states(range(BASE, 4 * GIB)).collect();
    let end = 4 * GIB - 78 * PAGE_SIZE;
    let after = range(BASE + 78 * PAGE_SIZE, end);
    assert_eq!(
        found,
        [
            (range(BASE, 77 * PAGE_SIZE), NS),
            (page(77), shared),
            (after, NS)
        ]
    );
    map.assign(page(77), shared, NS).unwrap();
    assert_eq!(contents(&map), (vec![(range(BASE, 4 * GIB), NS)], 0));
}

#[test]
fn the_map_is_made_of_what_the_platform_says_and_overlaps_are_refused() {
    let mut map = map(GIB, 64, PageState::HOLE);
    let secure = range(BASE, 0x100_0000);
    let own = range(BASE + 0x10_0000, 0x20_0000);
    let hole = PageState::HOLE;
    let el3 = PageState::exclusive(Owner::El3, Space::Secure, NORMAL);
    let spmc = PageState::exclusive(Owner::Spmc, Space::Secure, NORMAL);
    map.assign(own, hole, spmc).unwrap();
    let found = map.assign(secure, hole, el3);
    assert_eq!(found, Err(ClaimError::Unexpected(own, spmc)));
    map.assign(range(BASE, 0x10_0000), hole, el3).unwrap();
    map.assign(range(BASE + 0x30_0000, 0xd0_0000), hole, SP)
        .unwrap();
    let states: Vec<_> = map.states(secure).map(|(_, state)| state.owner).collect();
    assert_eq!(states, [Owner::El3, Owner::Spmc, Owner::Partition(0x8001)]);
    assert_eq!(map.state(Pa(BASE - 1)), hole);
    assert_eq!(map.state(Pa(BASE + GIB)), hole);
    let outside = range(BASE - PAGE_SIZE, 2 * PAGE_SIZE);
    assert_eq!(
        map.assign(outside, hole, SP),
        Err(ClaimError::OutOfRange(outside))
    );
    assert_eq!(
        map.states(outside).count(),
        1,
        "one page of it is in the map"
    );
    assert_eq!(map.states(range(0, PAGE_SIZE)).count(), 0);
}

#[test]
fn s26_o7_a_page_is_in_one_transaction_and_once_in_it() {
    let mut map = map(GIB, 64, SP);
    let ranges = [range(BASE, 3 * PAGE_SIZE), page(9), page(12)];
    let claim = map.claim(ranges.into_iter(), SP, T1, 0).unwrap();
    let before = contents(&map);
    // Another transaction wants the middle one, last.
    let other = [page(30), page(20), page(9)];
    let found = map.claim(other.into_iter(), SP, T2, 0);
    let claimed = SP.with(Hold::Claimed(T1));
    assert_eq!(found, Err(ClaimError::Unexpected(page(9), claimed)));
    // The same page, an overlap, and a range inside another, each of three.
    for (twice, at) in [
        ([page(30), page(31), page(30)], 30),
        (
            [
                range(BASE + 0x1_4000, 0x3000),
                page(30),
                range(BASE + 0x1_6000, 0x2000),
            ],
            22,
        ),
        ([range(BASE + 0x1_4000, 0x3000), page(21), page(30)], 21),
    ] {
        let found = map.claim(twice.into_iter(), SP, T2, 0);
        assert_eq!(found, Err(ClaimError::Twice(page(at).base())));
        assert_eq!(contents(&map), before, "a refused claim changes nothing");
    }
    let lent = SP.with(Hold::Lent(T1));
    map.commit(claim, ranges.into_iter(), lent);
    assert!(ranges.iter().all(|&range| map.all_are(range, lent)));
    assert_eq!(
        map.claim([page(9)].into_iter(), SP, T2, 0),
        Err(ClaimError::Unexpected(page(9), lent))
    );
}

#[test]
fn abutting_ranges_are_committed_one_by_one() {
    // All 16 pages of a node are claimed as four ranges, in any order, and become one entry.
    let mut map = map(GIB, 64, NS);
    let ranges = [4, 0, 12, 8].map(|first| range(BASE + first * PAGE_SIZE, 4 * PAGE_SIZE));
    let shared = NS.with(Hold::Shared(T1));
    let claim = map.claim(ranges.into_iter(), NS, T1, 0).unwrap();
    map.commit(claim, ranges.into_iter(), shared);
    let all = range(BASE, 16 * PAGE_SIZE);
    assert!(map.all_are(all, shared));
    let claim = map.claim([all].into_iter(), shared, T1, 0).unwrap();
    map.cancel(claim, [all].into_iter());
    assert!(map.all_are(all, shared));
    assert!(map.all_are(range(BASE + 16 * PAGE_SIZE, PAGE_SIZE), NS));
}

#[test]
fn without_nodes_nothing_changes() {
    let mut map = map(4 * GIB, 5, NS);
    let before = contents(&map);
    // The first takes all five nodes, the second is far away.
    let ranges = [page(0), page(1 << 19)];
    let found = map.claim(ranges.into_iter(), NS, T1, 0);
    assert_eq!(found, Err(ClaimError::NoMemory));
    assert_eq!(contents(&map), before);
    assert_eq!(
        map.claim([page(0)].into_iter(), NS, T1, 1),
        Err(ClaimError::NoMemory)
    );
    let claim = map.claim([page(0)].into_iter(), NS, T1, 0).unwrap();
    assert_eq!(map.free_nodes(), 0);
    map.cancel(claim, [page(0)].into_iter());
    assert_eq!(contents(&map), before);
}

#[test]
fn what_large_and_scattered_shares_take() {
    let nodes = |ranges: &[PageRange]| {
        let mut map = map(4 * GIB, 1 << 16, NS);
        let claim = map.claim(ranges.iter().copied(), NS, T1, 0).unwrap();
        map.commit(claim, ranges.iter().copied(), NS.with(Hold::Shared(T1)));
        let used = map.used_nodes();
        for range in ranges {
            map.assign(*range, NS.with(Hold::Shared(T1)), NS).unwrap();
        }
        assert_eq!(map.used_nodes(), 0);
        used
    };
    let scattered = |count: u64, step: u64| -> Vec<_> {
        (0..count).map(|number| page(number * step)).collect()
    };
    // 1 GiB in one range; 64 MiB in 16,384 pages; every other page of those; a page in each 2 MiB.
    assert_eq!(nodes(&[range(BASE + GIB, GIB)]), 1);
    assert_eq!(nodes(&scattered(16384, 1)), 2);
    assert_eq!(nodes(&scattered(8192, 2)), 1094);
    assert_eq!(nodes(&scattered(2048, 512)), 4369);
    assert_eq!(size_of::<Node>(), 128);
}

/// A claim of a few ranges, and what becomes of it.
#[derive(Clone, Debug)]
struct Attempt {
    /// First page and number of pages.
    ranges: Vec<(u64, u64)>,
    expected: usize,
    new: usize,
    commits: bool,
    keep: usize,
}

const PAGES: u64 = 700;

fn states() -> [PageState; 4] {
    [
        NS,
        SP,
        NS.with(Hold::Shared(T2)),
        PageState::exclusive(Owner::El3, Space::Secure, MemoryType::Device),
    ]
}

fn attempts() -> impl Strategy<Value = Vec<Attempt>> {
    let range = (
        0..PAGES,
        prop_oneof![1..6_u64, Just(16), Just(256), 1..PAGES],
    );
    let ranges = proptest::collection::vec(range, 1..5);
    let attempt = (ranges, 0..4_usize, 0..4_usize, 0..4_u8, 0..2_usize).prop_map(
        |(ranges, expected, new, commits, keep)| Attempt {
            ranges,
            expected,
            new,
            commits: commits > 0,
            keep: keep * 20,
        },
    );
    proptest::collection::vec(attempt, 1..40)
}

/// How many nodes the smallest tree of `height` has, and the value it has if it is an entry.
fn smallest(flat: &[PageState], height: u32, start: usize) -> (usize, Option<PageState>) {
    // What is behind the end stays a hole.
    let at = |page: usize| flat.get(page).copied().unwrap_or(PageState::HOLE);
    if height == 0 {
        return (0, Some(at(start)));
    }
    let below: Vec<_> = (0..16)
        .map(|number| smallest(flat, height - 1, start + number * 16_usize.pow(height - 1)))
        .collect();
    let same = below
        .iter()
        .all(|(_, value)| value.is_some() && *value == below[0].1);
    if same {
        return (0, below[0].1);
    }
    (
        1 + below.iter().map(|(nodes, _)| nodes).sum::<usize>(),
        None,
    )
}

proptest! {
    /// Claims succeed if and only if the flat model says so, change what it says and nothing else,
    /// and the tree has no node more than it needs.
    #[test]
    fn o1_ownership_is_a_flat_map(attempts in attempts(), nodes in prop_oneof![Just(400_usize), 0..40_usize]) {
        let mut map = map(PAGES * PAGE_SIZE, nodes.max(3), NS);
        let mut flat = vec![NS; PAGES as usize];
        for (number, attempt) in (100..).zip(&attempts) {
            let (expected, new) = (states()[attempt.expected], states()[attempt.new]);
            let ranges: Vec<PageRange> = attempt
                .ranges
                .iter()
                .map(|&(first, count)| range(BASE + first * PAGE_SIZE, count * PAGE_SIZE))
                .collect();
            let pages: Vec<u64> = attempt
                .ranges
                .iter()
                .flat_map(|&(first, count)| first..first + count)
                .collect();
            let mut times: BTreeMap<u64, u32> = BTreeMap::new();
            pages.iter().for_each(|page| *times.entry(*page).or_default() += 1);
            let right = times.iter().all(|(&page, &times)| {
                times == 1 && flat.get(page as usize) == Some(&expected)
            });
            let before = contents(&map);
            let iter = ranges.iter().copied();
            match map.claim(iter.clone(), expected, Transaction(number), attempt.keep) {
                Ok(claim) => {
                    prop_assert!(right);
                    let claimed = expected.with(Hold::Claimed(Transaction(number)));
                    prop_assert!(ranges.iter().all(|&range| map.all_are(range, claimed)));
                    prop_assert!(map.free_nodes() >= attempt.keep || map.used_nodes() <= before.1);
                    if attempt.commits {
                        map.commit(claim, iter, new);
                        pages.iter().for_each(|&page| flat[page as usize] = new);
                    } else {
                        map.cancel(claim, iter);
                        prop_assert_eq!(&contents(&map), &before);
                    }
                }
                Err(error) => {
                    prop_assert!(!right || error == ClaimError::NoMemory);
                    prop_assert_eq!(&contents(&map), &before);
                }
            }
            for (page, state) in (0..).zip(&flat) {
                prop_assert_eq!(map.state(Pa(BASE + page * PAGE_SIZE)), *state);
            }
            prop_assert_eq!(map.used_nodes(), smallest(&flat, 3, 0).0);
            // O1: the ranges cover every page once, and neighbours differ.
            let (states, _) = contents(&map);
            let covered: u64 = states.iter().map(|(range, _)| range.pages()).sum();
            prop_assert_eq!(covered, PAGES);
            for pair in states.windows(2) {
                prop_assert_eq!(pair[0].0.end(), pair[1].0.base());
                prop_assert!(pair[0].1 != pair[1].1);
            }
        }
    }

    #[test]
    fn states_are_kept_as_they_are(owner in 0..5_u8, id: u16, hold in 0..5_u8, number: u32, ns: bool, device: bool) {
        let owners = [Owner::Hole, Owner::El3, Owner::Spmc, Owner::NormalWorld, Owner::Partition(id)];
        let transaction = Transaction(number);
        let holds = [
            Hold::Exclusive,
            Hold::Claimed(transaction),
            Hold::Shared(transaction),
            Hold::Lent(transaction),
            Hold::Donated(transaction),
        ];
        let state = PageState {
            owner: owners[usize::from(owner)],
            hold: holds[usize::from(hold)],
            space: if ns { Space::NonSecure } else { Space::Secure },
            memory: if device { MemoryType::Device } else { NORMAL },
        };
        let mut map = map(PAGE_SIZE, 0, NS);
        map.assign(page(0), NS, state).unwrap();
        prop_assert_eq!(map.state(Pa(BASE)), state);
    }
}
