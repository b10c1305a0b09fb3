// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the tables of all partitions map, by page: read from their words as hardware does, not with the code that
//! makes them.

use bulkhead_core::hardware::Run;
use bulkhead_mm::addr::{PAGE_SIZE, Pa};
use bulkhead_mm::attrs::{MemoryType, Permissions, Space};
use bulkhead_mm::stage2::Stage2;
use bulkhead_sim::memory::{Memory, Words};

use crate::pair::Divergence;

/// The spaces of a partition, in their order in [`Memory::spaces`].
pub const SPACES: [Space; 2] = [Space::Secure, Space::NonSecure];

/// All that is mapped.
pub struct Tables {
    /// Whether there is a page with this number.
    exists: Vec<bool>,
    /// By partition and space.
    trees: Vec<[Tree; 2]>,
}

/// What the tables of a space map, as they were when they were read.
#[derive(Default)]
struct Tree {
    /// Each table with the number of its edits.
    tables: Vec<(Pa, u64)>,
    /// By number of page.
    map: Vec<Option<Run>>,
}

impl Tables {
    /// Of a machine that has pages with these numbers, which are in order.
    pub fn new(pages: impl Iterator<Item = u64>) -> Self {
        let mut exists = Vec::new();
        for page in pages {
            exists.resize(usize::try_from(page).expect("few pages"), false);
            exists.push(true);
        }
        Self {
            exists,
            trees: Vec::new(),
        }
    }

    /// Reads all tables that were edited since.
    ///
    /// # Errors
    /// Something is mapped where there is no page.
    pub fn read(&mut self, memory: &Memory) -> Result<(), Divergence> {
        self.trees
            .resize_with(memory.spaces.len(), Default::default);
        for (index, (trees, spaces)) in self.trees.iter_mut().zip(&memory.spaces).enumerate() {
            for ((tree, space), stage2) in trees.iter_mut().zip(SPACES).zip(spaces) {
                if tree.is_current(&memory.words) {
                    continue;
                }
                tree.read(stage2, &memory.words, &self.exists)
                    .map_err(|page| format!("partition {index}, {space:?}: page {page:#x}"))?;
            }
        }
        Ok(())
    }

    /// Every table of every space, in the order of the walks.
    pub fn all(&self) -> impl Iterator<Item = Pa> + '_ {
        let trees = self.trees.iter().flatten();
        trees.flat_map(|tree| tree.tables.iter().map(|(table, _)| *table))
    }

    /// What a partition sees of a page, by the number of its space in [`SPACES`].
    pub fn run(&self, partition: usize, space: usize, page: u64) -> Option<Run> {
        *self.trees[partition][space]
            .map
            .get(usize::try_from(page).ok()?)?
    }
}

impl Tree {
    fn is_current(&self, words: &Words) -> bool {
        let same = |(table, edits): &(Pa, u64)| words.edits(*table) == *edits;
        !self.tables.is_empty() && self.tables.iter().all(same)
    }

    /// The error is a mapped page that there is not.
    fn read(&mut self, stage2: &Stage2, words: &Words, exists: &[bool]) -> Result<(), u64> {
        self.tables.clear();
        self.map.clear();
        self.map.resize(exists.len(), None);
        // SL0 says at which level a walk starts.
        self.table(stage2.root(), 2 - stage2.layout().sl0(), 0, words, exists)
    }

    fn table(
        &mut self,
        table: Pa,
        level: u64,
        start: u64,
        words: &Words,
        exists: &[bool],
    ) -> Result<(), u64> {
        self.tables.push((table, words.edits(table)));
        let pages = 1u64 << (9 * (3 - level));
        for (eight, some) in (0..).step_by(8).zip(words.page(table).chunks_exact(8)) {
            // Most are empty.
            if some.iter().fold(0, |all, word| all | word) & 1 == 0 {
                continue;
            }
            for (entry, word) in (eight..).zip(some) {
                let first = start + entry * pages;
                let output = Pa(word & 0x0000_ffff_ffff_f000);
                match (word & 3, level) {
                    (3, 0..=2) => self.table(output, level + 1, first, words, exists)?,
                    (1, 1 | 2) | (3, 3) => {
                        self.leaf(*word, output, first..first + pages, exists)?
                    }
                    // Also what is lent.
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn leaf(
        &mut self,
        word: u64,
        output: Pa,
        pages: std::ops::Range<u64>,
        exists: &[bool],
    ) -> Result<(), u64> {
        for (offset, page) in (0..).zip(pages) {
            let place = usize::try_from(page).expect("an IPA");
            if exists.get(place) != Some(&true) {
                return Err(page);
            }
            self.map[place] = Some(Run {
                pa: Pa(output.0 + offset * PAGE_SIZE),
                bytes: PAGE_SIZE,
                memory: match word >> 2 & 0xf {
                    0 => MemoryType::Device,
                    6 => MemoryType::Normal,
                    _ => return Err(page),
                },
                permissions: Permissions {
                    read: word >> 6 & 1 == 1,
                    write: word >> 7 & 1 == 1,
                    execute: word >> 53 & 3 == 0,
                },
            });
        }
        Ok(())
    }
}
