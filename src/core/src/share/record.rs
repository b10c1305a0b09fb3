// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a transaction is made of, in pages of the pool: pairs of words, 255 to a page, and a link.
//!
//! There is no limit but the sender's quota of pages.

use bulkhead_abi::memory::Constituent;
use bulkhead_mm::addr::{PAGE_SIZE, Pa, PageRange};

use crate::hardware::{Hardware, OutOfMemory};

/// The unit of a record.
pub(crate) type Pair = [u64; 2];

/// How many pairs a page has, besides its link.
const PAIRS: u32 = 255;
/// The word in which the address of the next page stands, with [`PRESENT`] set.
const NEXT: usize = 510;
const PRESENT: u64 = 1;
/// How many pairs are read at a time.
const BATCH: usize = 8;

/// A growing list of pairs.
#[derive(Debug, Default)]
pub(crate) struct Record {
    first: Option<Pa>,
    last: Option<Pa>,
    length: u32,
}

impl Record {
    /// Adds a pair; a page that this takes counts against `account`.
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing was added.
    #[inline(never)]
    pub(crate) fn push<H: Hardware>(
        &mut self,
        pair: Pair,
        account: usize,
        hw: &mut H,
    ) -> Result<(), OutOfMemory> {
        let index = self.length.checked_rem(PAIRS).unwrap_or(0);
        let page = match self.last {
            Some(page) if index != 0 => page,
            last => {
                let page = hw.take_page(account).ok_or(OutOfMemory)?;
                match last {
                    Some(last) => hw.store_words(last, NEXT, &[page.0 | PRESENT]),
                    None => self.first = Some(page),
                }
                self.last = Some(page);
                page
            }
        };
        hw.store_words(page, word(index), &pair);
        self.length = self.length.saturating_add(1);
        Ok(())
    }

    /// How many pairs there are.
    pub(crate) const fn len(&self) -> u32 {
        self.length
    }

    /// Drops all pairs from `length` on, and the pages that only they need.
    #[inline(never)]
    pub(crate) fn truncate<H: Hardware>(&mut self, length: u32, hw: &mut H) {
        let mut keep = length.div_ceil(PAIRS);
        let mut next = self.first;
        let mut last = None;
        while let Some(page) = next {
            next = link(page, hw);
            if keep == 0 {
                hw.give_page(page);
            } else {
                keep = keep.saturating_sub(1);
                last = Some(page);
                if keep == 0 {
                    hw.store_words(page, NEXT, &[0]);
                }
            }
        }
        self.last = last;
        if last.is_none() {
            self.first = None;
        }
        self.length = self.length.min(length);
    }

    /// Writes over the pair at `index`.
    pub(crate) fn set<H: Hardware>(&self, index: u32, pair: Pair, hw: &mut H) {
        if let Some((page, index)) = self.place(index, hw) {
            hw.store_words(page, word(index), &pair);
        }
    }

    /// `count` pairs from `start` on.
    #[inline(never)]
    pub(crate) fn pairs<H: Hardware>(&self, start: u32, count: u32, hw: &H) -> Pairs {
        let left = count.min(self.length.saturating_sub(start));
        let (page, index) = match self.place(start, hw) {
            Some((page, index)) => (Some(page), index),
            None => (None, 0),
        };
        Pairs {
            page,
            index,
            left,
            batch: [[0; 2]; BATCH],
            taken: 0,
            loaded: 0,
        }
    }

    fn place<H: Hardware>(&self, index: u32, hw: &H) -> Option<(Pa, u32)> {
        let mut page = self.first?;
        for _ in 0..index.checked_div(PAIRS)? {
            page = link(page, hw)?;
        }
        Some((page, index.checked_rem(PAIRS)?))
    }
}

fn link<H: Hardware>(page: Pa, hw: &H) -> Option<Pa> {
    let mut next = [0];
    hw.load_words(page, NEXT, &mut next);
    let [next] = next;
    (next & PRESENT != 0).then_some(Pa(next & !PRESENT))
}

/// The first word of the pair at `index` of a page.
fn word(index: u32) -> usize {
    usize::try_from(index).unwrap_or(0).saturating_mul(2)
}

/// A walk over pairs. The machine is needed only for the next one, so that it can be changed meanwhile.
#[derive(Clone, Debug)]
pub(crate) struct Pairs {
    page: Option<Pa>,
    index: u32,
    left: u32,
    batch: [Pair; BATCH],
    taken: u32,
    loaded: u32,
}

impl Pairs {
    /// The next pair.
    #[inline(never)]
    pub(crate) fn next<H: Hardware>(&mut self, hw: &H) -> Option<Pair> {
        if self.taken == self.loaded {
            self.load(hw)?;
        }
        let pair = self.batch.get(usize::try_from(self.taken).ok()?)?;
        self.taken = self.taken.saturating_add(1);
        Some(*pair)
    }

    /// How many are left.
    pub(crate) const fn left(&self) -> u32 {
        self.left
            .saturating_add(self.loaded.saturating_sub(self.taken))
    }

    fn load<H: Hardware>(&mut self, hw: &H) -> Option<()> {
        if self.left == 0 {
            return None;
        }
        if self.index == PAIRS {
            self.page = link(self.page?, hw);
            self.index = 0;
        }
        let room = PAIRS.saturating_sub(self.index);
        let count = self.left.min(room).min(u32::try_from(BATCH).ok()?);
        let into = self.batch.get_mut(..usize::try_from(count).ok()?)?;
        hw.load_words(self.page?, word(self.index), into.as_flattened_mut());
        self.index = self.index.saturating_add(count);
        self.left = self.left.saturating_sub(count);
        (self.taken, self.loaded) = (0, count);
        Some(())
    }
}

/// The constituents of a transaction as ranges of physical pages, while nothing changes the machine.
pub(crate) struct Ranges<'a, H> {
    pairs: Pairs,
    hw: &'a H,
}

impl<'a, H: Hardware> Ranges<'a, H> {
    pub(crate) const fn new(pairs: Pairs, hw: &'a H) -> Self {
        Self { pairs, hw }
    }
}

impl<H> Clone for Ranges<'_, H> {
    fn clone(&self) -> Self {
        Self {
            pairs: self.pairs.clone(),
            hw: self.hw,
        }
    }
}

impl<H: Hardware> Iterator for Ranges<'_, H> {
    type Item = PageRange;

    fn next(&mut self) -> Option<PageRange> {
        run(self.pairs.next(self.hw)?).map(|run| run.range)
    }
}

/// Constituents as a descriptor has them.
pub(crate) enum Described<'a, H> {
    /// At their own addresses.
    Ranges(Ranges<'a, H>),
    /// All pages in one piece, until that was told.
    Whole(Option<Constituent>),
}

impl<H: Hardware> Iterator for Described<'_, H> {
    type Item = Constituent;

    fn next(&mut self) -> Option<Constituent> {
        match self {
            Self::Whole(whole) => whole.take(),
            Self::Ranges(ranges) => ranges.next().and_then(|range| {
                Some(Constituent {
                    address: range.base().0,
                    page_count: u32::try_from(range.pages()).ok()?,
                })
            }),
        }
    }
}

/// Pages as their sender sees them, and where they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    /// The first address by which the sender knows them: an intermediate physical one.
    pub(crate) ipa: u64,
    pub(crate) range: PageRange,
}

/// Bit 63 of the second word: the physical address is known, and another one than the sender's.
const PLACED: u64 = 1 << 63;
/// How many bits of the number of the physical page are in the first word; 28 more are in the second.
const LOW_BITS: u32 = 12;
const LOW: u64 = 0xfff;
const HIGH_SHIFT: u32 = 32;
const HIGH: u64 = 0xfff_ffff;
const PAGES: u64 = 0xffff_ffff;

/// A constituent as a pair: the sender's address [63:12], page [11:0] of the physical address; pages [31:0],
/// page [39:12] of the physical address [59:32], [`PLACED`].
pub(crate) fn pair(constituent: Constituent) -> Pair {
    [constituent.address, u64::from(constituent.page_count)]
}

/// The same constituent, of which the physical address is `pa`.
pub(crate) fn place(run: Run, pa: Pa) -> Pair {
    let (address, pages) = (run.ipa, run.range.pages());
    if pa.0 == address {
        return [address, pages];
    }
    let number = pa.0.unbounded_shr(LOW_BITS);
    let high = number.unbounded_shr(LOW_BITS) & HIGH;
    let high = high.unbounded_shl(HIGH_SHIFT);
    [address | (number & LOW), pages | high | PLACED]
}

/// The reverse of [`pair`] and [`place`].
pub(crate) fn run([first, second]: Pair) -> Option<Run> {
    let ipa = first & !LOW;
    let base = if second & PLACED == 0 {
        ipa
    } else {
        let high = second.unbounded_shr(HIGH_SHIFT) & HIGH;
        let number = high.unbounded_shl(LOW_BITS) | (first & LOW);
        number.unbounded_shl(LOW_BITS)
    };
    let range = PageRange::new(Pa(base), (second & PAGES).checked_mul(PAGE_SIZE)?)?;
    Some(Run { ipa, range })
}
