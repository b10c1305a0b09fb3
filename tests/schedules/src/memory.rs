// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory as sharing sees it: what stage 2 of each partition maps, the pages of the pool, and which pages were
//! zeroed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bulkhead_abi::FfaError;
use bulkhead_core::hardware::Run;
use bulkhead_mm::addr::{Pa, PageRange};
use bulkhead_mm::attrs::{MemoryType, Permissions, Space};

use crate::machine::{IMAGE, PAGE, image};

/// Where the pages of the pool are.
const POOL: u64 = 0x0e20_0000;
/// The words of a page.
const WORDS: usize = 512;

/// A page that a partition has in its stage 2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its physical address.
    pub pa: u64,
    /// What it may do.
    pub permissions: Permissions,
    /// Only the place is kept.
    pub suspended: bool,
    /// It is of its own image.
    pub own: bool,
}

/// A space, where `true` is secure, and the address of a page.
type Key = (bool, u64);

fn key(space: Space, page: u64) -> Key {
    (space == Space::Secure, page)
}

struct PoolPage {
    account: usize,
    words: Vec<u64>,
}

/// All of it.
pub struct Memory {
    /// How many pages each account can still get: the partitions', and behind them the normal world's.
    left: Vec<usize>,
    /// The pages that are taken.
    taken: BTreeMap<u64, PoolPage>,
    /// How often a page was taken: no address comes twice, so that what is given back is found when it is used.
    count: u64,
    /// By partition and IPA, what differs from its own image.
    changed: Vec<BTreeMap<Key, Option<Entry>>>,
    /// Pages that were zeroed, and not mapped writable for anyone since.
    clean: BTreeSet<Key>,
    /// Whether interrupts come while S-EL2 zeroes.
    pub interrupts: bool,
}

impl Memory {
    /// Of so many partitions; each of them, and the normal world, can have `quota` pages.
    pub fn new(partitions: usize, quota: usize) -> Self {
        Self {
            left: vec![quota; partitions + 1],
            taken: BTreeMap::new(),
            count: 0,
            changed: vec![BTreeMap::new(); partitions],
            clean: BTreeSet::new(),
            interrupts: false,
        }
    }

    /// The number of pages that are taken.
    pub fn taken(&self) -> usize {
        self.taken.len()
    }

    fn entry(&self, partition: usize, space: Space, ipa: u64) -> Option<Entry> {
        let changed = self.changed[partition].get(&key(space, ipa)).copied();
        changed.unwrap_or_else(|| {
            let own = image(partition)..image(partition) + IMAGE;
            (space == Space::Secure && own.contains(&ipa)).then_some(Entry {
                pa: ipa,
                permissions: Permissions::READ_WRITE,
                suspended: false,
                own: true,
            })
        })
    }

    /// What the partition has of the page at the physical address `pa`.
    pub fn has(&self, partition: usize, space: Space, pa: u64) -> Option<Entry> {
        let same = self.entry(partition, space, pa);
        let own = same.filter(|entry| entry.own || entry.pa == pa);
        let all = self.changed[partition].iter();
        let elsewhere = all
            .filter(|((secure, ipa), _)| *secure == (space == Space::Secure) && *ipa != pa)
            .filter_map(|(_, entry)| *entry)
            .filter(|entry| entry.pa == pa);
        let mut found = own.into_iter().chain(elsewhere);
        let first = found.next();
        assert!(found.next().is_none(), "O7: {pa:#x} is in stage 2 twice");
        first
    }

    /// All pages that the partition has beside its own image, by their physical addresses.
    pub fn others(&self, partition: usize) -> Vec<(Space, u64)> {
        let all = self.changed[partition].iter();
        all.filter_map(|((secure, _), entry)| {
            let entry = entry.filter(|entry| !entry.own)?;
            let space = match secure {
                true => Space::Secure,
                false => Space::NonSecure,
            };
            Some((space, entry.pa))
        })
        .collect()
    }

    /// Whether the page was zeroed, and nobody could write to it since.
    pub fn is_clean(&self, space: Space, page: u64) -> bool {
        self.clean.contains(&key(space, page))
    }

    fn set(&mut self, partition: usize, space: Space, ipa: u64, entry: Option<Entry>) {
        self.changed[partition].insert(key(space, ipa), entry);
    }

    pub(crate) fn take_page(&mut self, account: usize) -> Option<Pa> {
        let left = self.left[account].checked_sub(1)?;
        self.left[account] = left;
        let page = POOL + self.count * PAGE;
        self.count += 1;
        let words = vec![0; WORDS];
        self.taken.insert(page, PoolPage { account, words });
        Some(Pa(page))
    }

    pub(crate) fn give_page(&mut self, page: Pa) {
        let page = self.taken.remove(&page.0);
        let page = page.expect("O1: a page of the pool is given back twice");
        self.left[page.account] += 1;
    }

    pub(crate) fn pages_left(&self, account: usize) -> usize {
        self.left[account]
    }

    pub(crate) fn load_words(&self, page: Pa, index: usize, words: &mut [u64]) {
        let page = self.taken.get(&page.0);
        let page = page.expect("O1: a page of the pool is read that was given back");
        words.copy_from_slice(&page.words[index..index + words.len()]);
    }

    pub(crate) fn store_words(&mut self, page: Pa, index: usize, words: &[u64]) {
        let page = self.taken.get_mut(&page.0);
        let page = page.expect("O1: a page of the pool is written that was given back");
        page.words[index..index + words.len()].copy_from_slice(words);
    }

    /// Consecutive pages that can be used and have the same permissions, from `ipa` on.
    pub(crate) fn lookup(
        &self,
        partition: usize,
        space: Space,
        ipa: u64,
        bytes: u64,
    ) -> Option<Run> {
        let usable = |ipa| {
            let entry = self.entry(partition, space, ipa);
            entry.filter(|entry| !entry.suspended)
        };
        let first = usable(ipa)?;
        let follows = |page: &u64| {
            usable(ipa + page * PAGE).is_some_and(|entry| {
                entry.permissions == first.permissions && entry.pa == first.pa + page * PAGE
            })
        };
        let same = (0..bytes / PAGE).take_while(follows).count();
        Some(Run {
            pa: Pa(first.pa),
            bytes: u64::try_from(same).expect("small") * PAGE,
            memory: MemoryType::Normal,
            permissions: first.permissions,
        })
    }

    /// The first place in `window` where nothing is.
    pub(crate) fn gap(
        &self,
        partition: usize,
        space: Space,
        window: Range<u64>,
        bytes: u64,
    ) -> Option<u64> {
        let is_free = |ipa| self.entry(partition, space, ipa).is_none();
        let fits = |ipa: &u64| pages(*ipa, bytes).all(is_free);
        pages(
            window.start,
            window.end.checked_sub(window.start + bytes)? + PAGE,
        )
        .find(fits)
    }

    pub(crate) fn map_borrowed(
        &mut self,
        partition: usize,
        space: Space,
        ipa: u64,
        range: PageRange,
        permissions: Permissions,
    ) -> Result<(), FfaError> {
        assert!(
            !(permissions.write && permissions.execute),
            "O6: W and X of {range}"
        );
        if pages(ipa, range.bytes()).any(|ipa| self.entry(partition, space, ipa).is_some()) {
            return Err(FfaError::Denied);
        }
        for (ipa, pa) in pages(ipa, range.bytes()).zip(range.iter()) {
            let entry = Entry {
                pa: pa.0,
                permissions,
                suspended: false,
                own: false,
            };
            self.set(partition, space, ipa, Some(entry));
            if permissions.write {
                self.clean.remove(&key(space, pa.0));
            }
        }
        Ok(())
    }

    pub(crate) fn unmap_borrowed(&mut self, partition: usize, space: Space, ipa: u64, bytes: u64) {
        for ipa in pages(ipa, bytes) {
            let entry = self.entry(partition, space, ipa);
            let borrowed = entry.is_some_and(|entry| !entry.suspended && !entry.own);
            assert!(borrowed, "O2: {ipa:#x} is unmapped that is not borrowed");
            self.set(partition, space, ipa, None);
        }
    }

    pub(crate) fn suspend(
        &mut self,
        partition: usize,
        space: Space,
        ipa: u64,
        bytes: u64,
    ) -> Result<(), FfaError> {
        let there = |ipa| {
            let entry = self.entry(partition, space, ipa);
            entry.is_some_and(|entry| !entry.suspended)
        };
        if !pages(ipa, bytes).all(there) {
            return Err(FfaError::Denied);
        }
        for ipa in pages(ipa, bytes) {
            self.change(partition, space, ipa, |entry| entry.suspended = true);
        }
        Ok(())
    }

    pub(crate) fn resume(&mut self, partition: usize, space: Space, ipa: u64, bytes: u64) {
        for ipa in pages(ipa, bytes) {
            let pa = self.change(partition, space, ipa, |entry| {
                assert!(entry.suspended, "O4: {ipa:#x} is given back twice");
                entry.suspended = false;
            });
            self.clean.remove(&key(space, pa));
        }
    }

    pub(crate) fn forget(&mut self, partition: usize, space: Space, ipa: u64, bytes: u64) {
        for ipa in pages(ipa, bytes) {
            let entry = self.entry(partition, space, ipa);
            let suspended = entry.is_some_and(|entry| entry.suspended);
            assert!(suspended, "O4: {ipa:#x} has another owner, and is in use");
            self.set(partition, space, ipa, None);
        }
    }

    /// Changes what is at `ipa`; its physical address.
    fn change(
        &mut self,
        partition: usize,
        space: Space,
        ipa: u64,
        what: impl Fn(&mut Entry),
    ) -> u64 {
        let entry = self.entry(partition, space, ipa);
        let mut entry = entry.expect("O4: a page that is not there is changed");
        what(&mut entry);
        self.set(partition, space, ipa, Some(entry));
        entry.pa
    }

    pub(crate) fn zero(&mut self, space: Space, range: PageRange) {
        let all = range.iter().map(|page| key(space, page.0));
        self.clean.extend(all);
    }
}

/// The addresses of the pages of `bytes` bytes from `base` on.
fn pages(base: u64, bytes: u64) -> impl Iterator<Item = u64> {
    (0..bytes / PAGE).map(move |page| base + page * PAGE)
}
