// SPDX-License-Identifier: MIT OR Apache-2.0
//! Physical pages for tables.

use crate::addr::{PAGE_SIZE, Pa, PageRange};
use crate::table::TableMemory;

/// How many pages a word of the bitmap stands for.
const WORD_BITS: usize = 64;

/// How many words of bitmap a pool of `pages` pages needs.
pub const fn bitmap_words(pages: usize) -> usize {
    pages.div_ceil(WORD_BITS)
}

/// A page that was to be freed is not in the pool, or not in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotInUse(pub Pa);

/// Pages of one physical range, handed out zeroed. `'b` is the bitmap's lifetime.
#[derive(Debug)]
pub struct PagePool<'b> {
    range: PageRange,
    pages: usize,
    used: usize,
    /// Bit n is set while page n is in use.
    bitmap: &'b mut [u64],
    /// No page below this one is free.
    first_free: usize,
}

impl<'b> PagePool<'b> {
    /// A pool of all pages of `range`, none in use. What `bitmap` holds is overwritten. `None` if
    /// `bitmap` has fewer than [`bitmap_words`] words.
    pub fn new(range: PageRange, bitmap: &'b mut [u64]) -> Option<Self> {
        let pages = usize::try_from(range.pages()).ok()?;
        if bitmap.len() < bitmap_words(pages) {
            return None;
        }
        bitmap.fill(0);
        Some(Self {
            range,
            pages,
            used: 0,
            bitmap,
            first_free: 0,
        })
    }

    /// The range from which the pages are.
    pub const fn range(&self) -> PageRange {
        self.range
    }

    /// How many pages are free.
    pub const fn available(&self) -> usize {
        self.pages.saturating_sub(self.used)
    }

    /// How many pages are in use.
    pub const fn used(&self) -> usize {
        self.used
    }

    /// A free page, zeroed.
    pub fn alloc(&mut self, mem: &mut (impl TableMemory + ?Sized)) -> Option<Pa> {
        let page = self.lowest_free()?;
        self.first_free = page.saturating_add(1);
        self.take(page, mem)
    }

    /// `pages` free pages in a row, zeroed, whose address is a multiple of `align_pages` pages, a
    /// power of two. `None` if there are none such, or if either number makes no sense.
    pub fn alloc_contiguous(
        &mut self,
        pages: usize,
        align_pages: usize,
        mem: &mut (impl TableMemory + ?Sized),
    ) -> Option<Pa> {
        if pages == 0 || !align_pages.is_power_of_two() {
            return None;
        }
        let mut first = self.lowest_free()?;
        loop {
            first = self.aligned(first, align_pages)?;
            let end = first.checked_add(pages)?;
            if end > self.pages {
                return None;
            }
            match (first..end).rev().find(|&page| self.in_use(page)) {
                Some(page) => first = page.saturating_add(1),
                None => break,
            }
        }
        for page in first..first.saturating_add(pages) {
            self.take(page, mem)?;
        }
        self.address(first)
    }

    /// Takes back the page at `page`.
    ///
    /// # Errors
    /// [`NotInUse`] if the address is not that of a page of the pool, or if the page is free; the
    /// pool stays as it was.
    pub fn free(&mut self, page: Pa) -> Result<(), NotInUse> {
        let index = self
            .index(page)
            .filter(|&index| self.in_use(index))
            .ok_or(NotInUse(page))?;
        let (word, bit) = position(index);
        let word = self.bitmap.get_mut(word).ok_or(NotInUse(page))?;
        *word &= !bit;
        self.used = self.used.saturating_sub(1);
        self.first_free = self.first_free.min(index);
        Ok(())
    }

    /// The lowest free page.
    fn lowest_free(&self) -> Option<usize> {
        let mut page = self.first_free;
        while page < self.pages {
            let (word, _) = position(page);
            // The pages of the word that are below `first_free` are in use.
            let free = !self.bitmap.get(word)?;
            let base = word.saturating_mul(WORD_BITS);
            if free != 0 {
                let offset = usize::try_from(free.trailing_zeros()).ok()?;
                return Some(base.saturating_add(offset)).filter(|&page| page < self.pages);
            }
            page = base.saturating_add(WORD_BITS);
        }
        None
    }

    /// The lowest page from `from` on whose address is a multiple of `align_pages` pages.
    fn aligned(&self, from: usize, align_pages: usize) -> Option<usize> {
        let align = PAGE_SIZE.checked_mul(u64::try_from(align_pages).ok()?)?;
        let address = self.address(from)?.0.checked_next_multiple_of(align)?;
        usize::try_from(
            address
                .checked_sub(self.range.base().0)?
                .checked_div(PAGE_SIZE)?,
        )
        .ok()
    }

    /// Marks a free page as used, and zeroes it.
    fn take(&mut self, page: usize, mem: &mut (impl TableMemory + ?Sized)) -> Option<Pa> {
        let address = self.address(page)?;
        let (word, bit) = position(page);
        *self.bitmap.get_mut(word)? |= bit;
        self.used = self.used.saturating_add(1);
        mem.zero(address);
        Some(address)
    }

    fn in_use(&self, page: usize) -> bool {
        let (word, bit) = position(page);
        self.bitmap.get(word).is_some_and(|word| word & bit != 0)
    }

    fn address(&self, page: usize) -> Option<Pa> {
        let offset = u64::try_from(page).ok()?.checked_mul(PAGE_SIZE)?;
        self.range.base().0.checked_add(offset).map(Pa)
    }

    fn index(&self, page: Pa) -> Option<usize> {
        let offset = page.0.checked_sub(self.range.base().0)?;
        let index = usize::try_from(offset.checked_div(PAGE_SIZE)?).ok()?;
        (offset.is_multiple_of(PAGE_SIZE) && index < self.pages).then_some(index)
    }
}

/// The word in which a page's bit is, and the bit.
const fn position(page: usize) -> (usize, u64) {
    // The remainder is below 64.
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        reason = "const fn"
    )]
    let shift = (page % WORD_BITS) as u32;
    (page / WORD_BITS, 1_u64.unbounded_shl(shift))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::RecordedMemory;

    const BASE: u64 = 0x0e10_3000;

    fn range(pages: u64) -> PageRange {
        PageRange::new(Pa(BASE), pages * PAGE_SIZE).unwrap()
    }

    #[test]
    fn the_bitmap_has_a_bit_a_page() {
        assert_eq!(
            [0, 1, 64, 65, 128, 129].map(bitmap_words),
            [0, 1, 1, 2, 2, 3]
        );
        assert!(PagePool::new(range(65), &mut [0]).is_none());
        assert!(PagePool::new(range(64), &mut [0]).is_some());
    }

    #[test]
    fn each_page_is_handed_out_once_and_zeroed() {
        let (mut bitmap, mut mem) = ([u64::MAX; 3], RecordedMemory::default());
        let mut pool = PagePool::new(range(130), &mut bitmap).unwrap();
        for page in 0..130 {
            let address = pool.alloc(&mut mem).unwrap();
            assert_eq!(address, Pa(BASE + page * PAGE_SIZE));
            assert!(mem.tables[&address.0].iter().all(|&word| word == 0));
        }
        assert_eq!(pool.alloc(&mut mem), None);
        assert_eq!(mem.tables.len(), 130);
        assert_eq!((pool.used(), pool.available()), (130, 0));
        assert_eq!(pool.range(), range(130));
    }

    #[test]
    fn what_is_not_in_use_is_not_freed() {
        let (mut bitmap, mut mem) = ([0; 1], RecordedMemory::default());
        let mut pool = PagePool::new(range(3), &mut bitmap).unwrap();
        let page = pool.alloc(&mut mem).unwrap();
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
        let (mut bitmap, mut mem) = ([0; 1], RecordedMemory::default());
        let mut pool = PagePool::new(range(40), &mut bitmap).unwrap();
        // 0x0e10_3000 is page 3 modulo 16.
        assert_eq!(
            pool.alloc_contiguous(16, 16, &mut mem),
            Some(Pa(0x0e11_0000))
        );
        assert_eq!(pool.alloc_contiguous(16, 16, &mut mem), None);
        assert_eq!(pool.alloc_contiguous(4, 4, &mut mem), Some(Pa(0x0e10_4000)));
        assert_eq!(pool.alloc_contiguous(12, 1, &mut mem), None);
        assert_eq!(
            pool.alloc_contiguous(11, 1, &mut mem),
            Some(Pa(0x0e12_0000))
        );
        for (pages, align) in [(0, 1), (1, 0), (1, 3), (usize::MAX, 1), (1, 1 << 63)] {
            assert_eq!(pool.alloc_contiguous(pages, align, &mut mem), None);
        }
    }

    proptest! {
        /// Pages come and go as in a set, and are found whenever there are any.
        #[test]
        fn a_pool_is_a_set(
            size in 1..200_u64,
            steps in proptest::collection::vec((0..4_u8, 0..200_usize, 0..4_u32), 1..120),
        ) {
            let mut bitmap = vec![u64::MAX; bitmap_words(200)];
            let mut mem = RecordedMemory::default();
            let mut pool = PagePool::new(range(size), &mut bitmap).unwrap();
            let mut used: Vec<Pa> = Vec::new();
            for (kind, number, align) in steps {
                match kind {
                    0 if !used.is_empty() => {
                        let page = used.swap_remove(number % used.len());
                        prop_assert_eq!(pool.free(page), Ok(()));
                    }
                    0 | 1 => match pool.alloc(&mut mem) {
                        Some(page) => used.push(page),
                        None => prop_assert_eq!(used.len() as u64, size),
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
                            pool.alloc_contiguous(pages as usize, align as usize, &mut mem);
                        prop_assert_eq!(found, lowest.map(Pa));
                        used.extend(found.iter().flat_map(|start| {
                            (0..pages).map(|page| Pa(start.0 + page * PAGE_SIZE))
                        }));
                    }
                }
                let set: BTreeSet<Pa> = used.iter().copied().collect();
                prop_assert_eq!(set.len(), used.len());
                prop_assert_eq!(pool.used(), used.len());
                prop_assert_eq!(pool.available(), size as usize - used.len());
            }
        }
    }
}
