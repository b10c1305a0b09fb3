// SPDX-License-Identifier: MIT OR Apache-2.0
//! Very many random edits of one tree against a flat model. The tables are walked after each, and
//! each edit first fails with every number of pages that is too small.
//!
//! `MM_OPERATIONS` says how many (10,000), `MM_SEED` the first seed (1). Ten million take minutes with
//! `cargo test --release`.

use crate::MapError;
use crate::addr::{PAGE_SIZE, Pa, PageRange};
use crate::attrs::{MemoryType, Permissions, Space, Stage2Attributes};
use crate::pool::{Account, PagePool, PageRecord, Quota};
use crate::stage2::{Stage2, Stage2Layout};
use crate::table::{ENTRIES, TableMemory};
use crate::testing::{Walker, Words};
use crate::tlb::Unused;

use super::fixture::{GIB, KIB_4, MIB_2, vtcr};

const POOL: u64 = 0x0e10_3000;
const POOL_PAGES: usize = 48;
/// Three tables of pages, of which the middle one starts a GiB.
const WINDOW: usize = 3 * ENTRIES;
const INPUT: u64 = 2 * GIB - MIB_2;
/// After so many edits a new tree is started, with another layout.
const EDITS: u64 = 2000;

const ATTRIBUTES: [Stage2Attributes; 3] = [
    attributes(MemoryType::Normal, Permissions::READ_WRITE_EXECUTE),
    attributes(MemoryType::Normal, Permissions::READ_ONLY),
    attributes(MemoryType::Device, Permissions::READ_WRITE),
];

const fn attributes(memory: MemoryType, permissions: Permissions) -> Stage2Attributes {
    Stage2Attributes {
        memory,
        permissions,
    }
}

/// The pages of the pool, and what was in the words written since [`Memory::mark`].
struct Memory {
    words: Vec<u64>,
    overwritten: Vec<(usize, u64)>,
}

impl Memory {
    fn index(table: Pa, index: usize) -> usize {
        (table.0 - POOL) as usize / 8 + index
    }

    fn set(&mut self, index: usize, word: u64) {
        let old = std::mem::replace(&mut self.words[index], word);
        self.overwritten.push((index, old));
    }

    fn mark(&mut self) {
        self.overwritten.clear();
    }

    /// Whether each word is what it was at the mark.
    fn is_as_marked(&self) -> bool {
        if self.overwritten.is_empty() {
            return true;
        }
        let mut words = self.words.clone();
        for &(index, old) in self.overwritten.iter().rev() {
            words[index] = old;
        }
        words == self.words
    }
}

impl TableMemory for Memory {
    fn read(&self, table: Pa, index: usize) -> u64 {
        self.words[Self::index(table, index)]
    }

    fn write(&mut self, table: Pa, index: usize, descriptor: u64) {
        self.set(Self::index(table, index), descriptor);
    }

    fn zero(&mut self, table: Pa) {
        let first = Self::index(table, 0);
        (first..first + ENTRIES).for_each(|index| self.set(index, 0));
    }

    fn clean(&mut self, _: Pa, _: usize, _: usize) {}
}

impl Words for Memory {
    fn word(&self, byte: u64) -> u64 {
        self.words[(byte - POOL) as usize / 8]
    }
}

/// Xorshift, so that a seed says all.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

/// What a page is mapped to.
type Flat = Vec<Option<(u64, usize)>>;

#[derive(Clone, Copy, Debug)]
enum Edit {
    Map { pa: u64, attributes: usize },
    Unmap,
    Change { attributes: usize },
}

struct World {
    tree: Stage2,
    pool: PagePool<'static>,
    mem: Memory,
    walker: Walker,
    flat: Flat,
    account: Account,
}

impl World {
    fn new(layout: Stage2Layout) -> Self {
        let account = Account::partition(0).unwrap();
        let range = PageRange::new(Pa(POOL), POOL_PAGES as u64 * PAGE_SIZE).unwrap();
        let records = Box::leak(vec![PageRecord::UNUSED; POOL_PAGES].into_boxed_slice());
        let mut pool = PagePool::new(range, records).unwrap();
        pool.open_accounts(Box::leak(Box::new([Quota::NONE])));
        pool.grant(account, layout.root_pages()).unwrap();
        let mut mem = Memory {
            words: vec![!0; POOL_PAGES * ENTRIES],
            overwritten: Vec::new(),
        };
        let tree = Stage2::new(layout, Space::Secure, true, account, &mut pool, &mut mem).unwrap();
        let walker = Walker::stage2(tree.root(), vtcr(&layout));
        Self {
            tree,
            pool,
            mem,
            walker,
            flat: vec![None; WINDOW],
            account,
        }
    }

    fn apply(&mut self, first: usize, pages: usize, edit: Edit) -> Result<(), MapError> {
        let (pool, mem) = (&mut self.pool, &mut self.mem);
        let ipa = INPUT + first as u64 * KIB_4;
        let bytes = pages as u64 * KIB_4;
        match edit {
            Edit::Map { pa, attributes } => {
                let a = ATTRIBUTES[attributes];
                self.tree.map(ipa, Pa(pa), bytes, a, pool, mem, &mut Unused)
            }
            Edit::Unmap => self.tree.unmap(ipa, bytes, pool, mem, &mut Unused),
            Edit::Change { attributes } => {
                let a = ATTRIBUTES[attributes];
                self.tree.change(ipa, bytes, a, pool, mem, &mut Unused)
            }
        }
    }

    /// Applies an edit with as few pages as it takes, and to the model; compares them.
    fn step(&mut self, first: usize, pages: usize, edit: Edit) {
        let range = first..first + pages;
        let mapped = self.flat[range.clone()].iter().flatten().count();
        let expected = match edit {
            Edit::Map { .. } if mapped > 0 => Err(MapError::Overlap),
            Edit::Unmap | Edit::Change { .. } if mapped < pages => Err(MapError::NotMapped),
            _ => Ok(()),
        };
        let mut result;
        loop {
            self.mem.mark();
            result = self.apply(first, pages, edit);
            if result.is_err() {
                assert!(
                    self.mem.is_as_marked(),
                    "a failed edit leaves the tables as they were"
                );
            }
            if result != Err(MapError::NoMemory) {
                break;
            }
            self.pool.grant(self.account, 1).unwrap();
        }
        assert_eq!(result, expected);
        if result.is_ok() {
            for (number, page) in (0..).zip(&mut self.flat[range]) {
                *page = match (edit, *page) {
                    (Edit::Map { pa, attributes }, _) => Some((pa + number * KIB_4, attributes)),
                    (Edit::Unmap, _) => None,
                    (Edit::Change { attributes }, page) => page.map(|(pa, _)| (pa, attributes)),
                };
            }
        }
        self.pool.withdraw(self.account);
        self.compare();
    }

    /// Compares what a walk finds with the model.
    fn compare(&self) {
        let mut found = 0;
        let lpa2 = self.tree.layout().ds() == 1;
        self.walker.leaves(&self.mem, &mut |input, leaf| {
            assert_eq!(leaf.pa % leaf.bytes, 0);
            let first = ((input - INPUT) / KIB_4) as usize;
            for number in 0..(leaf.bytes / KIB_4) as usize {
                let (pa, attributes) = self.flat[first + number].unwrap();
                assert_eq!(leaf.pa + number as u64 * KIB_4, pa);
                let fields = 0x0060_0000_0000_0cfc | if lpa2 { 0 } else { 0x300 };
                let expected = ATTRIBUTES[attributes].encode(true).unwrap() & fields;
                assert_eq!(leaf.descriptor & fields, expected);
                found += 1;
            }
        });
        assert_eq!(found, self.flat.iter().flatten().count());
        let tables = self.walker.tables(&self.mem).len() + self.tree.layout().root_pages();
        assert_eq!(self.pool.used(), tables, "no page is lost");
    }

    fn random_step(&mut self, random: &mut Random) {
        let first = random.below(WINDOW as u64) as usize;
        let most = [4, 40, WINDOW as u64][random.below(3) as usize];
        let mut pages = (1 + random.below(most) as usize).min(WINDOW - first);
        let here = self.flat[first];
        // Often as many pages as are alike.
        if random.below(4) != 0 {
            let rest = &self.flat[first..];
            let alike = |page: &&Option<_>| page.is_some() == here.is_some();
            pages = pages.min(rest.iter().take_while(alike).count());
        }
        let attributes = random.below(3) as usize;
        // Often where blocks and runs fit, and mostly with the same attributes.
        let shift = [0, 0, 0, KIB_4, 16 * KIB_4, MIB_2][random.below(6) as usize];
        let (pa, like) = (5 * GIB - MIB_2 + first as u64 * KIB_4, random.below(4) != 0);
        let edit = match (here, random.below(3)) {
            (Some(_), 0) => Edit::Change {
                attributes: if like { 0 } else { attributes },
            },
            (Some(_), _) => Edit::Unmap,
            _ => Edit::Map {
                pa: pa + shift,
                attributes: if like { 0 } else { attributes },
            },
        };
        self.step(first, pages, edit);
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

#[test]
fn random_edits_are_a_flat_map() {
    let (operations, seed) = (number("MM_OPERATIONS", 10_000), number("MM_SEED", 1));
    for round in 0..operations.div_ceil(EDITS) {
        let bits = 32 + (seed + round) % 17;
        let layout = match (seed + round) % 3 {
            0 => Stage2Layout::lpa2(bits as u32 + 4),
            _ => Stage2Layout::new(bits as u32),
        };
        let mut world = World::new(layout.unwrap());
        let mut random = Random((seed + round).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..EDITS {
            world.random_step(&mut random);
        }
    }
}
