// SPDX-License-Identifier: MIT OR Apache-2.0
//! Physical pages for tables.
//!
//! A page is free, in use, or retired: a table that is no longer linked but that walks may still
//! reach until its link has been invalidated (X6). Each has a record beside the pages, which holds
//! the links of free and retired pages and the number of valid descriptors of those in use, so that
//! nothing is ever looked for in a table.
//!
//! Every page belongs to one account's quota. Quotas are granted out of the SPMC's own, so that an
//! account always gets what it was granted, and never more.

use core::fmt;

use crate::addr::{PAGE_SIZE, Pa, PageRange};
use crate::table::TableMemory;

/// A page that was to be freed is not in the pool, or not in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotInUse(pub Pa);

/// The account has no such number of pages left, or there are none in a row (NO_MEMORY).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoPages;

/// Whose quota a page counts against.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Account(u16);

impl Account {
    /// The SPMC's own, which a pool has from the start.
    pub const SPMC: Self = Self(0);

    /// The account of partition `index`, counted from zero: [`PagePool::open_accounts`].
    pub const fn partition(index: u16) -> Option<Self> {
        match index.checked_add(1) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The index among the partitions' accounts.
    fn index(self) -> Option<usize> {
        self.0.checked_sub(1).map(usize::from)
    }
}

/// How many pages an account may have, and has.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Quota {
    limit: usize,
    used: usize,
}

impl Quota {
    /// Nothing granted.
    pub const NONE: Self = Self { limit: 0, used: 0 };

    /// How many pages the account may have.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// How many pages the account has.
    pub const fn used(&self) -> usize {
        self.used
    }

    /// How many more pages the account may have.
    pub const fn available(&self) -> usize {
        self.limit.saturating_sub(self.used)
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} pages", self.used, self.limit)
    }
}

/// What the pool knows of a page.
#[derive(Clone, Copy, Debug)]
pub struct PageRecord(State);

impl PageRecord {
    /// What the records are made of before [`PagePool::new`] takes them.
    pub const UNUSED: Self = Self(State::Free {
        before: NONE,
        after: NONE,
    });
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// One of the list of free pages.
    Free { before: u32, after: u32 },
    /// Handed out.
    Used {
        account: Account,
        /// How many valid descriptors the table has, if the page is one.
        live: u16,
    },
    /// One of a list of unlinked tables.
    Retired { account: Account, before: u32 },
}

/// No page, as a page's index: a pool is smaller.
const NONE: u32 = u32::MAX;

/// Pages of one physical range, handed out zeroed. `'b` is the lifetime of its records.
#[derive(Debug)]
pub struct PagePool<'b> {
    range: PageRange,
    pages: u32,
    records: &'b mut [PageRecord],
    /// The free page that is handed out next.
    first_free: u32,
    spmc: Quota,
    partitions: &'b mut [Quota],
}

impl<'b> PagePool<'b> {
    /// A pool of all pages of `range`, none in use, with all of them in the SPMC's quota. What
    /// `records` holds is overwritten. `None` if there are fewer records than pages.
    pub fn new(range: PageRange, records: &'b mut [PageRecord]) -> Option<Self> {
        let pages = u32::try_from(range.pages()).ok()?;
        let limit = usize::try_from(pages).ok()?;
        if pages == NONE {
            return None;
        }
        let mut before = NONE;
        for (page, record) in (0..pages).zip(records.get_mut(..limit)?) {
            let after = page.saturating_add(1);
            let after = if after < pages { after } else { NONE };
            *record = PageRecord(State::Free { before, after });
            before = page;
        }
        Some(Self {
            range,
            pages,
            records,
            first_free: 0,
            spmc: Quota { limit, used: 0 },
            partitions: &mut [],
        })
    }

    /// Takes `quotas` for the accounts of partitions, to which nothing is granted yet. What
    /// `quotas` holds is overwritten. Earlier accounts must have no grants: this is called once.
    pub fn open_accounts(&mut self, quotas: &'b mut [Quota]) {
        quotas.fill(Quota::NONE);
        self.partitions = quotas;
    }

    /// Moves `pages` pages of quota from the SPMC to `account`, which has them from now on.
    ///
    /// # Errors
    /// [`NoPages`] if the SPMC has not that many left, or if there is no such account; nothing has
    /// changed.
    pub fn grant(&mut self, account: Account, pages: usize) -> Result<(), NoPages> {
        if self.spmc.available() < pages || self.quota(account).is_none() {
            return Err(NoPages);
        }
        self.spmc.limit = self.spmc.limit.saturating_sub(pages);
        let quota = self.quota_mut(account).ok_or(NoPages)?;
        quota.limit = quota.limit.saturating_add(pages);
        Ok(())
    }

    /// Moves the quota of `account` that it does not use back to the SPMC; returns how much that is.
    pub fn withdraw(&mut self, account: Account) -> usize {
        let Some(quota) = self.quota_mut(account) else {
            return 0;
        };
        let unused = quota.available();
        quota.limit = quota.used;
        self.spmc.limit = self.spmc.limit.saturating_add(unused);
        unused
    }

    /// What `account` may have, and has; `None` if there is no such account.
    pub fn quota(&self, account: Account) -> Option<Quota> {
        match account.index() {
            None => Some(self.spmc),
            Some(index) => self.partitions.get(index).copied(),
        }
    }

    fn quota_mut(&mut self, account: Account) -> Option<&mut Quota> {
        match account.index() {
            None => Some(&mut self.spmc),
            Some(index) => self.partitions.get_mut(index),
        }
    }

    /// The range from which the pages are.
    pub const fn range(&self) -> PageRange {
        self.range
    }

    /// How many pages `account` can still get, one by one.
    pub fn available(&self, account: Account) -> usize {
        self.quota(account).map_or(0, |quota| quota.available())
    }

    /// How many pages are in use or retired, in all accounts together.
    pub fn used(&self) -> usize {
        self.partitions
            .iter()
            .fold(self.spmc.used, |sum, quota| sum.saturating_add(quota.used))
    }

    /// A free page, zeroed.
    ///
    /// # Errors
    /// [`NoPages`] if the account has none left.
    pub fn alloc(
        &mut self,
        account: Account,
        mem: &mut (impl TableMemory + ?Sized),
    ) -> Result<Pa, NoPages> {
        if self.available(account) == 0 {
            return Err(NoPages);
        }
        self.take(self.first_free, account, mem).ok_or(NoPages)
    }

    /// `pages` free pages in a row, zeroed, whose address is a multiple of `align_pages` pages, a
    /// power of two.
    ///
    /// # Errors
    /// [`NoPages`] if the account has not that many left, if there are none such, or if either
    /// number makes no sense.
    pub fn alloc_contiguous(
        &mut self,
        account: Account,
        pages: usize,
        align_pages: usize,
        mem: &mut (impl TableMemory + ?Sized),
    ) -> Result<Pa, NoPages> {
        if pages == 0 || !align_pages.is_power_of_two() || self.available(account) < pages {
            return Err(NoPages);
        }
        let run = self.free_run(pages, align_pages).ok_or(NoPages)?;
        for page in run.clone() {
            self.take(page, account, mem).ok_or(NoPages)?;
        }
        self.address(run.start).ok_or(NoPages)
    }

    /// The lowest `pages` free pages in a row with the alignment.
    fn free_run(&self, pages: usize, align_pages: usize) -> Option<core::ops::Range<u32>> {
        let pages = u32::try_from(pages).ok()?;
        let mut first = 0;
        loop {
            first = self.aligned(first, align_pages)?;
            let end = first.checked_add(pages)?;
            if end > self.pages {
                return None;
            }
            match (first..end).rev().find(|&page| !self.is_free(page)) {
                Some(page) => first = page.saturating_add(1),
                None => return Some(first..end),
            }
        }
    }

    /// Takes back the page at `page`.
    ///
    /// # Errors
    /// [`NotInUse`] if the address is not that of a page of the pool, or if the page is not in use;
    /// the pool stays as it was.
    pub fn free(&mut self, page: Pa) -> Result<(), NotInUse> {
        match self.state(page) {
            Some((index, State::Used { account, .. })) => {
                self.put_back(index, account);
                Ok(())
            }
            _ => Err(NotInUse(page)),
        }
    }

    /// Puts the table `page`, which is unlinked but may still be walked, before the list of retired
    /// tables `list`; returns the new list, to be given to [`PagePool::free_retired`].
    pub(crate) fn retire(&mut self, page: Pa, list: Option<Pa>) -> Option<Pa> {
        let Some((index, State::Used { account, .. })) = self.state(page) else {
            return list;
        };
        let before = list.and_then(|page| self.index(page)).unwrap_or(NONE);
        self.set(index, State::Retired { account, before });
        Some(page)
    }

    /// Frees the retired tables of `list`, which no walk reaches any more.
    pub(crate) fn free_retired(&mut self, list: Option<Pa>) {
        let mut next = list.and_then(|page| self.index(page)).unwrap_or(NONE);
        while let Some(State::Retired { account, before }) = self.record(next) {
            self.put_back(next, account);
            next = before;
        }
    }

    /// How many valid descriptors the table at `page` has.
    pub(crate) fn live(&self, page: Pa) -> usize {
        match self.state(page) {
            Some((_, State::Used { live, .. })) => usize::from(live),
            _ => 0,
        }
    }

    /// Counts descriptors of the table at `page` that became valid, and then such that became
    /// invalid.
    pub(crate) fn count(&mut self, page: Pa, made: u16, broken: u16) {
        if let Some((index, State::Used { account, live })) = self.state(page) {
            let live = live.saturating_add(made).saturating_sub(broken);
            self.set(index, State::Used { account, live });
        }
    }

    /// Makes a used or retired page the first free one.
    fn put_back(&mut self, index: u32, account: Account) {
        let after = self.first_free;
        self.link_before(after, index);
        let before = NONE;
        self.set(index, State::Free { before, after });
        self.first_free = index;
        if let Some(quota) = self.quota_mut(account) {
            quota.used = quota.used.saturating_sub(1);
        }
    }

    /// Hands out a free page, zeroed. The account has one left.
    fn take(
        &mut self,
        index: u32,
        account: Account,
        mem: &mut (impl TableMemory + ?Sized),
    ) -> Option<Pa> {
        let State::Free { before, after } = self.record(index)? else {
            return None;
        };
        let address = self.address(index)?;
        let quota = self.quota_mut(account)?;
        quota.used = quota.used.saturating_add(1);
        match self.record(before) {
            Some(State::Free { before: first, .. }) => self.set(
                before,
                State::Free {
                    before: first,
                    after,
                },
            ),
            _ => self.first_free = after,
        }
        self.link_before(after, before);
        self.set(index, State::Used { account, live: 0 });
        mem.zero(address);
        Some(address)
    }

    /// Writes that `before` stands before the free page `page` in the list, if that is a page.
    fn link_before(&mut self, page: u32, before: u32) {
        if let Some(State::Free { after, .. }) = self.record(page) {
            self.set(page, State::Free { before, after });
        }
    }

    /// The lowest page from `from` on whose address is a multiple of `align_pages` pages.
    fn aligned(&self, from: u32, align_pages: usize) -> Option<u32> {
        let align = PAGE_SIZE.checked_mul(u64::try_from(align_pages).ok()?)?;
        let address = self.address(from)?.0.checked_next_multiple_of(align)?;
        u32::try_from(
            address
                .checked_sub(self.range.base().0)?
                .checked_div(PAGE_SIZE)?,
        )
        .ok()
    }

    fn is_free(&self, index: u32) -> bool {
        matches!(self.record(index), Some(State::Free { .. }))
    }

    fn record(&self, index: u32) -> Option<State> {
        let index = usize::try_from(index).ok()?;
        self.records.get(index).map(|record| record.0)
    }

    fn set(&mut self, index: u32, state: State) {
        let record = usize::try_from(index)
            .ok()
            .and_then(|index| self.records.get_mut(index));
        if let Some(record) = record {
            *record = PageRecord(state);
        }
    }

    fn state(&self, page: Pa) -> Option<(u32, State)> {
        let index = self.index(page)?;
        Some((index, self.record(index)?))
    }

    fn address(&self, page: u32) -> Option<Pa> {
        let offset = u64::from(page).checked_mul(PAGE_SIZE)?;
        self.range.base().0.checked_add(offset).map(Pa)
    }

    fn index(&self, page: Pa) -> Option<u32> {
        let offset = page.0.checked_sub(self.range.base().0)?;
        let index = u32::try_from(offset.checked_div(PAGE_SIZE)?).ok()?;
        (offset.is_multiple_of(PAGE_SIZE) && index < self.pages).then_some(index)
    }
}

impl fmt::Display for PagePool<'_> {
    /// Each account in use, e.g. `SPMC 12 of 200 pages, partition 0 3 of 16 pages`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SPMC {}", self.spmc)?;
        for (index, quota) in self.partitions.iter().enumerate() {
            if *quota != Quota::NONE {
                write!(f, ", partition {index} {quota}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::RecordedMemory;

    const BASE: u64 = 0x0e10_3000;
    const SPMC: Account = Account::SPMC;

    fn range(pages: u64) -> PageRange {
        PageRange::new(Pa(BASE), pages * PAGE_SIZE).unwrap()
    }

    fn records(pages: usize) -> Vec<PageRecord> {
        let used = State::Used {
            account: SPMC,
            live: 7,
        };
        vec![PageRecord(used); pages]
    }

    fn partition(index: u16) -> Account {
        Account::partition(index).unwrap()
    }

    #[test]
    fn there_is_a_record_a_page() {
        assert!(PagePool::new(range(65), &mut records(64)).is_none());
        assert!(PagePool::new(range(64), &mut records(64)).is_some());
        assert!(size_of::<PageRecord>() <= 12);
    }

    #[test]
    fn each_page_is_handed_out_once_and_zeroed() {
        let (mut records, mut mem) = (records(131), RecordedMemory::default());
        let mut pool = PagePool::new(range(130), &mut records).unwrap();
        for page in 0..130 {
            let address = pool.alloc(SPMC, &mut mem).unwrap();
            assert_eq!(address, Pa(BASE + page * PAGE_SIZE));
            assert!(mem.tables[&address.0].iter().all(|&word| word == 0));
        }
        assert_eq!(pool.alloc(SPMC, &mut mem), Err(NoPages));
        assert_eq!(mem.tables.len(), 130);
        assert_eq!((pool.used(), pool.available(SPMC)), (130, 0));
        assert_eq!(pool.range(), range(130));
    }

    #[test]
    fn what_is_not_in_use_is_not_freed() {
        let (mut records, mut mem) = (records(3), RecordedMemory::default());
        let mut pool = PagePool::new(range(3), &mut records).unwrap();
        let page = pool.alloc(SPMC, &mut mem).unwrap();
        for wrong in [
            BASE + 1,
            BASE + PAGE_SIZE,
            BASE + 3 * PAGE_SIZE,
            BASE - PAGE_SIZE,
            0,
        ] {
            assert_eq!(pool.free(Pa(wrong)), Err(NotInUse(Pa(wrong))));
        }
        assert_eq!(pool.used(), 1);
        assert_eq!(pool.free(page), Ok(()));
        assert_eq!(pool.free(page), Err(NotInUse(page)));
        assert_eq!(pool.used(), 0);
    }

    #[test]
    fn contiguous_pages_are_aligned_to_the_address() {
        let (mut records, mut mem) = (records(40), RecordedMemory::default());
        let mut pool = PagePool::new(range(40), &mut records).unwrap();
        let mut alloc = |pages, align| pool.alloc_contiguous(Account::SPMC, pages, align, &mut mem);
        // 0x0e10_3000 is page 3 modulo 16.
        assert_eq!(alloc(16, 16), Ok(Pa(0x0e11_0000)));
        assert_eq!(alloc(16, 16), Err(NoPages));
        assert_eq!(alloc(4, 4), Ok(Pa(0x0e10_4000)));
        assert_eq!(alloc(12, 1), Err(NoPages));
        assert_eq!(alloc(11, 1), Ok(Pa(0x0e12_0000)));
        for (pages, align) in [(0, 1), (1, 0), (1, 3), (usize::MAX, 1), (1, 1 << 63)] {
            assert_eq!(alloc(pages, align), Err(NoPages));
        }
    }

    #[test]
    fn an_account_gets_what_it_was_granted_and_no_more() {
        let (mut records, mut mem) = (records(10), RecordedMemory::default());
        let mut quotas = [Quota { limit: 9, used: 9 }; 2];
        let mut pool = PagePool::new(range(10), &mut records).unwrap();
        assert_eq!(pool.grant(partition(0), 1), Err(NoPages), "no such account");
        pool.open_accounts(&mut quotas);
        assert_eq!(pool.alloc(partition(0), &mut mem), Err(NoPages));
        assert_eq!(pool.grant(partition(0), 3), Ok(()));
        assert_eq!(pool.grant(partition(1), 8), Err(NoPages));
        assert_eq!(pool.grant(partition(2), 1), Err(NoPages));
        assert_eq!(pool.available(partition(2)), 0);
        // The SPMC cannot take what was granted, nor can one partition take what another has.
        for _ in 0..7 {
            pool.alloc(SPMC, &mut mem).unwrap();
        }
        assert_eq!(pool.alloc(SPMC, &mut mem), Err(NoPages));
        assert_eq!(pool.grant(partition(1), 1), Err(NoPages));
        let three = pool.alloc_contiguous(partition(0), 4, 1, &mut mem);
        assert_eq!(three, Err(NoPages));
        let page = pool.alloc_contiguous(partition(0), 3, 1, &mut mem).unwrap();
        assert_eq!(pool.alloc(partition(0), &mut mem), Err(NoPages));
        assert_eq!(
            pool.to_string(),
            "SPMC 7 of 7 pages, partition 0 3 of 3 pages"
        );
        // What is freed goes back to its own account.
        pool.free(page).unwrap();
        assert_eq!(pool.alloc(SPMC, &mut mem), Err(NoPages));
        assert_eq!(pool.withdraw(partition(0)), 1);
        assert_eq!(pool.quota(partition(0)), Some(Quota { limit: 2, used: 2 }));
        assert_eq!(pool.alloc(partition(0), &mut mem), Err(NoPages));
        assert_eq!(pool.alloc(SPMC, &mut mem), Ok(page));
        assert_eq!(pool.withdraw(partition(7)), 0);
        assert_eq!(pool.used(), 10);
    }

    #[test]
    fn x6_a_retired_page_is_not_handed_out() {
        let (mut records, mut mem) = (records(3), RecordedMemory::default());
        let mut pool = PagePool::new(range(3), &mut records).unwrap();
        let pages: Vec<Pa> = (0..3)
            .map(|_| pool.alloc(SPMC, &mut mem).unwrap())
            .collect();
        let list = pages[..2]
            .iter()
            .fold(None, |list, &page| pool.retire(page, list));
        assert_eq!(pool.retire(pages[0], list), list, "it is retired once");
        assert_eq!(pool.used(), 3);
        assert_eq!(pool.alloc(SPMC, &mut mem), Err(NoPages));
        assert_eq!(pool.free(pages[0]), Err(NotInUse(pages[0])));
        pool.free_retired(list);
        pool.free_retired(list);
        assert_eq!(pool.used(), 1);
        mem.tables.insert(pages[0].0, [!0; crate::table::ENTRIES]);
        assert_eq!(pool.alloc(SPMC, &mut mem), Ok(pages[0]));
        assert_eq!(mem.tables[&pages[0].0], [0; crate::table::ENTRIES]);
        assert_eq!(pool.alloc(SPMC, &mut mem), Ok(pages[1]));
        assert_eq!(pool.alloc(SPMC, &mut mem), Err(NoPages));
    }

    #[test]
    fn valid_descriptors_are_counted_a_page() {
        let (mut records, mut mem) = (records(2), RecordedMemory::default());
        let mut pool = PagePool::new(range(2), &mut records).unwrap();
        let page = pool.alloc(SPMC, &mut mem).unwrap();
        pool.count(page, 512, 0);
        pool.count(page, 1, 2);
        assert_eq!(pool.live(page), 511);
        pool.free(page).unwrap();
        assert_eq!(pool.live(page), 0);
        pool.alloc(SPMC, &mut mem).unwrap();
        assert_eq!(pool.live(page), 0, "a new table has none");
        pool.count(Pa(0), 1, 0);
        assert_eq!(pool.live(Pa(0)), 0);
    }

    proptest! {
        /// Pages come and go as in a set, and are found whenever there are any.
        #[test]
        fn a_pool_is_a_set(
            size in 1..200_u64,
            steps in proptest::collection::vec((0..4_u8, 0..200_usize, 0..4_u32), 1..120),
        ) {
            let mut records = records(200);
            let mut mem = RecordedMemory::default();
            let mut pool = PagePool::new(range(size), &mut records).unwrap();
            let mut used: Vec<Pa> = Vec::new();
            for (kind, number, align) in steps {
                match kind {
                    0 if !used.is_empty() => {
                        let page = used.swap_remove(number % used.len());
                        prop_assert_eq!(pool.free(page), Ok(()));
                    }
                    0 | 1 => match pool.alloc(SPMC, &mut mem) {
                        Ok(page) => used.push(page),
                        Err(NoPages) => prop_assert_eq!(used.len() as u64, size),
                    },
                    _ => {
                        let (pages, align) = (number as u64 % 9 + 1, 1 << align);
                        let set: BTreeSet<u64> = used.iter().map(|page| page.0).collect();
                        let lowest = (0..size)
                            .map(|page| BASE + page * PAGE_SIZE)
                            .filter(|start| start % (align * PAGE_SIZE) == 0)
                            .find(|&start| (0..pages).all(|page| {
                                let page = start + page * PAGE_SIZE;
                                page < BASE + size * PAGE_SIZE && !set.contains(&page)
                            }));
                        let found =
                            pool.alloc_contiguous(SPMC, pages as usize, align as usize, &mut mem);
                        prop_assert_eq!(found.ok(), lowest.map(Pa));
                        used.extend(found.iter().flat_map(|start| {
                            (0..pages).map(|page| Pa(start.0 + page * PAGE_SIZE))
                        }));
                    }
                }
                let set: BTreeSet<Pa> = used.iter().copied().collect();
                prop_assert_eq!(set.len(), used.len());
                prop_assert_eq!(pool.used(), used.len());
                prop_assert_eq!(pool.available(SPMC), size as usize - used.len());
            }
        }
    }
}
