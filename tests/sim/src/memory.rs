// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory of the simulated machine: real stage-2 tables, the pool that they and records are made of, and
//! what each page holds.

use std::collections::HashMap;
use std::ops::Range;

use bulkhead_abi::FfaError;
use bulkhead_core::hardware::{CopyFault, Run};
use bulkhead_core::partition::{Level, PartitionConfig};
use bulkhead_core::region::RegionKind;
use bulkhead_mm::addr::{PAGE_SIZE, Pa, PageRange};
use bulkhead_mm::attrs::{BranchTargets, MemoryType, Permissions, Space, Stage2Attributes};
use bulkhead_mm::el0::{El0Stage1, MAX_VA_BITS};
use bulkhead_mm::pool::{Account, PagePool, PageRecord, Quota};
use bulkhead_mm::stage2::{Stage2, Stage2Layout};
use bulkhead_mm::table::{ENTRIES, TableMemory};
use bulkhead_mm::tlb::Unused;
use bulkhead_mm::{MapError, Reshape};

/// Where the pool's pages are.
const POOL: u64 = 0x0e20_0000;
/// How many bits an IPA has.
const IPA_BITS: u32 = 36;

/// The contents of the pool's pages.
#[derive(Debug)]
pub struct Words {
    pages: Vec<[u64; ENTRIES]>,
    edits: Vec<u64>,
}

impl Words {
    /// The words of a page.
    pub fn page(&self, page: Pa) -> &[u64; ENTRIES] {
        &self.pages[number(page)]
    }

    /// How many edits of tables the page has seen: as long as it is the same, the table is.
    pub fn edits(&self, table: Pa) -> u64 {
        self.edits[number(table)]
    }
}

fn number(page: Pa) -> usize {
    usize::try_from((page.0 - POOL) / PAGE_SIZE).expect("a page of the pool")
}

impl TableMemory for Words {
    fn read(&self, table: Pa, index: usize) -> u64 {
        self.pages[number(table)][index]
    }

    fn write(&mut self, table: Pa, index: usize, descriptor: u64) {
        self.pages[number(table)][index] = descriptor;
        self.edits[number(table)] += 1;
    }

    fn zero(&mut self, table: Pa) {
        self.pages[number(table)] = [0; ENTRIES];
        self.edits[number(table)] += 1;
    }

    fn clean(&mut self, _: Pa, _: usize, _: usize) {}
}

/// How many pages the pool has and who may have them.
#[derive(Clone, Copy, Debug)]
pub struct Quotas {
    /// Each partition.
    pub partition: usize,
    /// The normal world.
    pub normal_world: usize,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            partition: 48,
            normal_world: 128,
        }
    }
}

/// All of it.
#[derive(Debug)]
pub struct Memory {
    /// The pool.
    pub pool: PagePool<'static>,
    /// What is in its pages.
    pub words: Words,
    /// The two spaces of each partition.
    pub spaces: Vec<[Stage2; 2]>,
    /// In place of those, the stage 1 of each partition at S-EL0.
    pub el0: Vec<Option<El0Stage1>>,
    /// What a page holds that is not as it was at first: whatever a test put there, 0 once zeroed.
    pub contents: HashMap<(Space, u64), u64>,
    /// The bytes of pages that hold a descriptor. What S-EL2 has read is something else when it looks again.
    pub texts: HashMap<(Space, u64), Vec<u8>>,
    /// Pages that do not answer.
    pub broken: Vec<(Space, u64)>,
    /// How many interrupts come while S-EL2 zeroes, one at a time.
    pub interrupts: usize,
}

fn space_index(space: Space) -> usize {
    match space {
        Space::Secure => 0,
        Space::NonSecure => 1,
    }
}

impl Memory {
    /// The memory of a machine with these partitions.
    pub fn new(partitions: &[&PartitionConfig], quotas: Quotas) -> Self {
        let roots = 40;
        let count = partitions.len();
        let pages = (quotas.partition + roots) * count + quotas.normal_world;
        let records = vec![PageRecord::UNUSED; pages].leak();
        let range = PageRange::new(Pa(POOL), pages as u64 * PAGE_SIZE).expect("a valid range");
        let mut pool = PagePool::new(range, records).expect("a record for each page");
        pool.open_accounts(vec![Quota::NONE; count + 1].leak());
        let mut words = Words {
            pages: vec![[0; ENTRIES]; pages],
            edits: vec![0; pages],
        };
        let layout = Stage2Layout::new(IPA_BITS).expect("a valid size");
        let (mut memory, mut all_el0) = (Vec::new(), Vec::new());
        for (index, config) in partitions.iter().enumerate() {
            let account = account(index);
            let spaces = [Space::Secure, Space::NonSecure].map(|space| {
                Stage2::new(layout, space, true, Account::SPMC, &mut pool, &mut words)
                    .expect("pages for a root")
            });
            let mut el0 = (config.level == Level::SEl0).then(|| {
                let (bits, targets) = (MAX_VA_BITS, BranchTargets::Unchecked);
                El0Stage1::new(bits, targets, Account::SPMC, &mut pool, &mut words)
                    .expect("a page for a root")
            });
            let mut spaces = spaces;
            map_regions(&mut spaces, &mut el0, config, &mut pool, &mut words);
            pool.grant(account, quotas.partition)
                .expect("there are as many");
            all_el0.push(el0.map(|el0| el0.ready(Reshape::Split, account)));
            memory
                .push(spaces.map(|space| space.with_reshape(Reshape::Split).with_account(account)));
        }
        pool.grant(account(count), quotas.normal_world)
            .expect("there are as many");
        Self {
            pool,
            words,
            spaces: memory,
            el0: all_el0,
            contents: HashMap::new(),
            texts: HashMap::new(),
            broken: Vec::new(),
            interrupts: 0,
        }
    }

    fn space(&mut self, partition: usize, space: Space) -> Option<Parts<'_>> {
        let Self {
            pool,
            words,
            spaces,
            el0,
            ..
        } = self;
        let stage2 = tables(el0.get_mut(partition)?, spaces.get_mut(partition)?, space);
        Some((stage2, pool, words))
    }

    /// As [`Hardware::take_page`](bulkhead_core::Hardware::take_page), and so on below.
    pub fn take_page(&mut self, number: usize) -> Option<Pa> {
        self.pool.alloc(account(number), &mut self.words).ok()
    }

    /// Of a page that was taken.
    pub fn give_page(&mut self, page: Pa) {
        self.pool.free(page).expect("a page that was taken");
    }

    /// Of an account.
    pub fn pages_left(&self, number: usize) -> usize {
        self.pool.available(account(number))
    }

    /// Of a page that was taken.
    pub fn load_words(&self, page: Pa, index: usize, words: &mut [u64]) {
        let page = &self.words.pages[number(page)];
        words.copy_from_slice(&page[index..index + words.len()]);
    }

    /// Of a page that was taken.
    pub fn store_words(&mut self, page: Pa, index: usize, words: &[u64]) {
        let page = &mut self.words.pages[number(page)];
        page[index..index + words.len()].copy_from_slice(words);
    }

    /// What stage 2 of a partition maps.
    pub fn lookup(&self, partition: usize, space: Space, ipa: u64, bytes: u64) -> Option<Run> {
        let found = match self.el0.get(partition)? {
            Some(el0) => el0.lookup_run(space, ipa, bytes, &self.words),
            None => {
                self.spaces.get(partition)?[space_index(space)].lookup_run(ipa, bytes, &self.words)
            }
        };
        let (pa, bytes, attributes) = found?;
        Some(Run {
            pa,
            bytes,
            memory: attributes.memory,
            permissions: attributes.permissions,
        })
    }

    /// Of a partition.
    pub fn gap(
        &self,
        partition: usize,
        space: Space,
        window: Range<u64>,
        bytes: u64,
    ) -> Option<u64> {
        match self.el0.get(partition)? {
            Some(el0) => el0.gap(window, bytes, PAGE_SIZE, &self.words),
            None => self.spaces.get(partition)?[space_index(space)].gap(
                window,
                bytes,
                PAGE_SIZE,
                &self.words,
            ),
        }
    }

    /// In a partition.
    ///
    /// # Errors
    /// As there.
    pub fn map_borrowed(
        &mut self,
        partition: usize,
        space: Space,
        ipa: u64,
        range: PageRange,
        attributes: Stage2Attributes,
    ) -> Result<(), FfaError> {
        let (stage2, pool, words) = self
            .space(partition, space)
            .ok_or(FfaError::InvalidParameters)?;
        let (base, bytes) = (range.base(), range.bytes());
        let mapped = stage2.map(ipa, base, bytes, attributes, pool, words, &mut Unused);
        mapped.map_err(error)
    }

    /// In a partition.
    pub fn unmap_borrowed(&mut self, partition: usize, space: Space, ipa: u64, bytes: u64) {
        if let Some((stage2, pool, words)) = self.space(partition, space) {
            let done = stage2.unmap(ipa, bytes, pool, words, &mut Unused);
            done.expect("what was mapped so is unmapped without a page");
        }
    }

    /// In a partition.
    ///
    /// # Errors
    /// As there.
    pub fn suspend(
        &mut self,
        partition: usize,
        space: Space,
        ipa: u64,
        bytes: u64,
    ) -> Result<(), FfaError> {
        let (stage2, pool, words) = self
            .space(partition, space)
            .ok_or(FfaError::InvalidParameters)?;
        let suspended = stage2.suspend(ipa, bytes, pool, words, &mut Unused);
        suspended.map_err(error)
    }

    /// In a partition.
    pub fn resume(&mut self, partition: usize, space: Space, ipa: u64, bytes: u64) {
        if let Some((stage2, pool, words)) = self.space(partition, space) {
            stage2.resume(ipa, bytes, pool, words, &mut Unused);
        }
    }

    /// In a partition.
    pub fn forget(&mut self, partition: usize, space: Space, ipa: u64, bytes: u64) {
        if let Some((stage2, pool, words)) = self.space(partition, space) {
            stage2.forget(ipa, bytes, pool, words, &mut Unused);
        }
    }

    /// Of a partition at S-EL0.
    ///
    /// # Errors
    /// As there.
    pub fn protect(
        &mut self,
        partition: usize,
        address: u64,
        bytes: u64,
        permissions: Permissions,
    ) -> Result<(), FfaError> {
        let (stage1, pool, words) = self
            .space(partition, Space::Secure)
            .ok_or(FfaError::InvalidParameters)?;
        let attributes = Stage2Attributes {
            memory: MemoryType::Normal,
            permissions,
        };
        let changed = stage1.change(address, bytes, attributes, pool, words, &mut Unused);
        changed.map_err(error)
    }

    /// Memory of a space.
    ///
    /// # Errors
    /// As there.
    pub fn zero(&mut self, space: Space, range: PageRange) -> Result<(), CopyFault> {
        for page in range.iter() {
            if self.broken.contains(&(space, page.0)) {
                return Err(CopyFault);
            }
            self.contents.insert((space, page.0), 0);
        }
        Ok(())
    }

    /// Memory of a space.
    ///
    /// # Errors
    /// As there.
    pub fn read_pages(
        &mut self,
        space: Space,
        range: PageRange,
        offset: usize,
        to: &mut [u8],
    ) -> Result<(), CopyFault> {
        assert!(offset as u64 + to.len() as u64 <= range.bytes());
        for (at, byte) in (offset as u64..).zip(to) {
            let address = range.base().0 + at;
            let page = (space, address & !(PAGE_SIZE - 1));
            if self.broken.contains(&page) {
                return Err(CopyFault);
            }
            let text = self.texts.get_mut(&page);
            let found = text.and_then(|text| text.get_mut((address % PAGE_SIZE) as usize));
            *byte = found.map_or(0, |found| core::mem::replace(found, !*found));
        }
        Ok(())
    }
}

/// The tables of a partition for what is of `space`.
fn tables<'a>(
    el0: &'a mut Option<El0Stage1>,
    spaces: &'a mut [Stage2; 2],
    space: Space,
) -> &'a mut Stage2 {
    match el0 {
        Some(el0) => el0.of(space),
        None => &mut spaces[space_index(space)],
    }
}

type Parts<'a> = (&'a mut Stage2, &'a mut PagePool<'static>, &'a mut Words);

/// The account of a partition, or after them all of the normal world.
pub fn account(number: usize) -> Account {
    let number = u16::try_from(number).expect("few partitions");
    Account::partition(number).expect("few partitions")
}

fn error(error: MapError) -> FfaError {
    match error {
        MapError::NoMemory => FfaError::NoMemory,
        _ => FfaError::Denied,
    }
}

fn map_regions(
    spaces: &mut [Stage2; 2],
    el0: &mut Option<El0Stage1>,
    config: &PartitionConfig,
    pool: &mut PagePool<'static>,
    words: &mut Words,
) {
    for region in config.regions {
        let memory = match region.kind {
            RegionKind::Own | RegionKind::Memory => MemoryType::Normal,
            RegionKind::Device => MemoryType::Device,
        };
        let attributes = Stage2Attributes {
            memory,
            permissions: region.permissions,
        };
        let (ipa, base, bytes) = (region.ipa, region.range.base(), region.range.bytes());
        let stage2 = tables(el0, spaces, region.space);
        let none = &mut Unused;
        match stage2.map(ipa, base, bytes, attributes, pool, words, none) {
            // A part of its own memory with permissions of its own.
            Err(MapError::Overlap) => stage2.change(ipa, bytes, attributes, pool, words, none),
            other => other,
        }
        .expect("pages for the regions");
    }
}
