// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who owns each physical page, and in which transaction it is (O1, O4, O7, O8).
//!
//! A transaction first claims its pages, all or none, which is also how a page that is named twice,
//! or that another transaction has, is found. What follows, table edits for example, may fail and
//! cancel the claim; committing or cancelling takes no memory, and cannot fail. In between, nobody
//! else can claim the pages, so no lock has to be held.
//!
//! A map covers one range of addresses. Ranges that are locked apart are maps of their own, with
//! nodes of their own: the normal world cannot use up those of secure memory.

use core::fmt;

use crate::addr::{PAGE_SIZE, Pa, PageRange};
use crate::attrs::{MemoryType, Space};
use crate::radix::{MAX_VALUE, Pages, Radix};

pub use crate::radix::Node;

/// Whose a page is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Owner {
    /// Nobody's: nothing is there that anyone may have.
    Hole,
    /// EL3's.
    El3,
    /// The SPMC's own.
    Spmc,
    /// The normal world's.
    NormalWorld,
    /// That of the partition with this endpoint id.
    Partition(u16),
}

/// A memory transaction, by the number that the share records give it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Transaction(pub u32);

/// What the owner has done with a page.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Hold {
    /// Nothing: it is the owner's alone, and in no transaction.
    Exclusive,
    /// It is being put into or taken out of a transaction, or changes its owner.
    Claimed(Transaction),
    /// It is shared: the owner still has access.
    Shared(Transaction),
    /// It is lent: the owner has no access.
    Lent(Transaction),
    /// It is donated, and not yet the receiver's.
    Donated(Transaction),
    /// It is part of an RX or TX buffer, of the mailbox with this number.
    Buffer(Transaction),
}

/// The state of a page.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PageState {
    /// Whose it is.
    pub owner: Owner,
    /// What the owner has done with it.
    pub hold: Hold,
    /// Its physical address space (O10).
    pub space: Space,
    /// Whether it is memory or a device's registers.
    pub memory: MemoryType,
}

impl PageState {
    /// What a page is before anything is known of it.
    pub const HOLE: Self = Self::exclusive(Owner::Hole, Space::Secure, MemoryType::Normal);

    /// A page that is `owner`'s alone.
    pub const fn exclusive(owner: Owner, space: Space, memory: MemoryType) -> Self {
        Self {
            owner,
            hold: Hold::Exclusive,
            space,
            memory,
        }
    }

    /// The same page, with which the owner has done `hold`.
    #[must_use]
    pub const fn with(mut self, hold: Hold) -> Self {
        self.hold = hold;
        self
    }

    /// The state as a number: transaction [31:0], id [47:32], owner [50:48], hold [53:51],
    /// space [54], memory [55].
    fn encode(self) -> u64 {
        let (owner, id) = match self.owner {
            Owner::Hole => (0, 0),
            Owner::El3 => (1, 0),
            Owner::Spmc => (2, 0),
            Owner::NormalWorld => (3, 0),
            Owner::Partition(id) => (4, id),
        };
        let (hold, transaction) = match self.hold {
            Hold::Exclusive => (0, 0),
            Hold::Claimed(Transaction(number)) => (1, number),
            Hold::Shared(Transaction(number)) => (2, number),
            Hold::Lent(Transaction(number)) => (3, number),
            Hold::Donated(Transaction(number)) => (4, number),
            Hold::Buffer(Transaction(number)) => (5, number),
        };
        let fields: [(u64, u32); 6] = [
            (u64::from(transaction), 0),
            (u64::from(id), 32),
            (owner, 48),
            (hold, 51),
            (u64::from(self.space == Space::NonSecure), 54),
            (u64::from(self.memory == MemoryType::Device), 55),
        ];
        let word = fields
            .into_iter()
            .fold(0, |word, (field, shift)| word | field.unbounded_shl(shift));
        word & MAX_VALUE
    }

    /// The reverse of `encode`.
    fn decode(word: u64) -> Self {
        let field = |shift: u32, mask: u64| word.unbounded_shr(shift) & mask;
        let transaction = Transaction(u32::try_from(field(0, 0xffff_ffff)).unwrap_or(0));
        let id = u16::try_from(field(32, 0xffff)).unwrap_or(0);
        Self {
            owner: match field(48, 0b111) {
                1 => Owner::El3,
                2 => Owner::Spmc,
                3 => Owner::NormalWorld,
                4 => Owner::Partition(id),
                _ => Owner::Hole,
            },
            hold: match field(51, 0b111) {
                1 => Hold::Claimed(transaction),
                2 => Hold::Shared(transaction),
                3 => Hold::Lent(transaction),
                4 => Hold::Donated(transaction),
                5 => Hold::Buffer(transaction),
                _ => Hold::Exclusive,
            },
            space: match field(54, 1) {
                0 => Space::Secure,
                _ => Space::NonSecure,
            },
            memory: match field(55, 1) {
                0 => MemoryType::Normal,
                _ => MemoryType::Device,
            },
        }
    }
}

/// Why pages were not claimed. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClaimError {
    /// The range is not in the map.
    OutOfRange(PageRange),
    /// These pages, the first such ones, are in another state.
    Unexpected(PageRange, PageState),
    /// The page is named twice.
    Twice(Pa),
    /// There are too few nodes (NO_MEMORY).
    NoMemory,
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange(range) => write!(f, "{range} is no memory"),
            Self::Unexpected(range, state) => write!(f, "{range} is {state:?}"),
            Self::Twice(page) => write!(f, "{page} is named twice"),
            Self::NoMemory => f.write_str("too few nodes left to tell the pages apart"),
        }
    }
}

impl core::error::Error for ClaimError {}

/// Pages that were claimed. It is given back to [`Ownership::commit`] or [`Ownership::cancel`],
/// with the ranges that were claimed.
#[must_use]
#[derive(PartialEq, Eq, Debug)]
pub struct Claim {
    transaction: Transaction,
    expected: PageState,
}

impl Claim {
    /// What the pages are meanwhile.
    fn claimed(&self) -> PageState {
        self.expected.with(Hold::Claimed(self.transaction))
    }
}

/// The state of each page of a range of addresses.
#[derive(Debug)]
pub struct Ownership<'b> {
    range: PageRange,
    tree: Radix<'b>,
}

impl<'b> Ownership<'b> {
    /// A map of `range` in which every page is [`PageState::HOLE`]. What `nodes` hold is
    /// overwritten. `None` if the range is larger than addresses can be.
    ///
    /// A range in one state takes at most two nodes for each power of 16 in the map's pages, and few
    /// where it is aligned: 4 GiB in one state take none. In the worst case, each page unlike its
    /// neighbours, nodes take 8.6 bytes a page.
    pub fn new(range: PageRange, nodes: &'b mut [Node]) -> Option<Self> {
        let tree = Radix::new(range.pages(), PageState::HOLE.encode(), nodes)?;
        Some(Self { range, tree })
    }

    /// The range of addresses.
    pub const fn range(&self) -> PageRange {
        self.range
    }

    /// How many nodes are in use.
    pub const fn used_nodes(&self) -> usize {
        self.tree.used()
    }

    /// How many nodes are free.
    pub const fn free_nodes(&self) -> usize {
        self.tree.available()
    }

    /// The state of the page in which `address` is; a hole outside of the map.
    pub fn state(&self, address: Pa) -> PageState {
        match self.number(address) {
            Some(page) => PageState::decode(self.tree.entry(page).0),
            None => PageState::HOLE,
        }
    }

    /// The states in `range`, ascending: the longest ranges of pages in the same state. What is
    /// outside of the map is left out.
    pub fn states(&self, range: PageRange) -> impl Iterator<Item = (PageRange, PageState)> {
        let mut next = self.pages(self.clipped(range));
        core::iter::from_fn(move || {
            let rest = next?;
            let (value, mut found) = self.tree.entry(rest.start);
            while found.end < rest.end {
                let (other, following) = self.tree.entry(found.end);
                if other != value {
                    break;
                }
                found = following;
            }
            let end = found.end.min(rest.end);
            next = (end < rest.end).then_some(Pages { start: end, ..rest });
            let here = self.addresses(Pages { end, ..rest })?;
            Some((here, PageState::decode(value)))
        })
    }

    /// Whether every page of `range` is in the map and in `state`.
    pub fn all_are(&self, range: PageRange, state: PageState) -> bool {
        self.states(range).next() == Some((range, state))
    }

    /// Claims all pages of `ranges` for `transaction`, which no one else uses, if each is named once
    /// and is `expected`. At least `keep` nodes stay free.
    ///
    /// # Errors
    /// [`ClaimError`], and nothing has changed.
    pub fn claim(
        &mut self,
        ranges: impl Iterator<Item = PageRange> + Clone,
        expected: PageState,
        transaction: Transaction,
        keep: usize,
    ) -> Result<Claim, ClaimError> {
        let claim = Claim {
            transaction,
            expected,
        };
        for (number, range) in ranges.clone().enumerate() {
            if let Err(error) = self.claim_one(range, &claim, keep) {
                self.cancel(claim, ranges.take(number));
                return Err(error);
            }
        }
        Ok(claim)
    }

    fn claim_one(
        &mut self,
        range: PageRange,
        claim: &Claim,
        keep: usize,
    ) -> Result<(), ClaimError> {
        if !self.range.contains_range(&range) {
            return Err(ClaimError::OutOfRange(range));
        }
        let other = self
            .states(range)
            .find(|(_, state)| *state != claim.expected);
        match other {
            Some((pages, state)) if state == claim.claimed() => {
                return Err(ClaimError::Twice(pages.base()));
            }
            Some((pages, state)) => return Err(ClaimError::Unexpected(pages, state)),
            None => {}
        }
        let pages = self
            .pages(Some(range))
            .ok_or(ClaimError::OutOfRange(range))?;
        if self.tree.cost(pages).saturating_add(keep) > self.tree.available() {
            return Err(ClaimError::NoMemory);
        }
        self.tree.set(pages, claim.claimed().encode());
        Ok(())
    }

    /// Gives all pages of `claim`, which are `ranges`, the state `new`. This cannot fail.
    pub fn commit(
        &mut self,
        claim: Claim,
        ranges: impl Iterator<Item = PageRange>,
        new: PageState,
    ) {
        self.settle(ranges, claim.claimed(), new);
    }

    /// Gives those of `ranges`, all pages of a transaction, that are `from`, a state of that transaction, the
    /// state `to`. This cannot fail.
    pub fn settle(
        &mut self,
        ranges: impl Iterator<Item = PageRange>,
        from: PageState,
        to: PageState,
    ) {
        let (from, to) = (from.encode(), to.encode());
        for range in ranges {
            if let Some(pages) = self.pages(self.clipped(range)) {
                // An entry that reaches beyond this range is the transaction's there, too, by a range beside it.
                self.tree.rewrite(pages, from, to);
            }
        }
    }

    /// Gives all pages of `claim`, which are `ranges`, the state that they had. This cannot fail.
    pub fn cancel(&mut self, claim: Claim, ranges: impl Iterator<Item = PageRange>) {
        let before = claim.expected;
        self.commit(claim, ranges, before);
    }

    /// Gives `range`, all of which must be `expected`, the state `new`: for what is known at boot.
    ///
    /// # Errors
    /// [`ClaimError`], and nothing has changed.
    pub fn assign(
        &mut self,
        range: PageRange,
        expected: PageState,
        new: PageState,
    ) -> Result<(), ClaimError> {
        let ranges = core::iter::once(range);
        let claim = self.claim(ranges.clone(), expected, Transaction(u32::MAX), 0)?;
        self.commit(claim, ranges, new);
        Ok(())
    }

    /// What of `range` is in the map.
    fn clipped(&self, range: PageRange) -> Option<PageRange> {
        let base = range.base().max(self.range.base());
        let end = range.end().min(self.range.end());
        PageRange::new(base, end.0.checked_sub(base.0)?)
    }

    /// The numbers of the pages of `range`, which is in the map.
    fn pages(&self, range: Option<PageRange>) -> Option<Pages> {
        let range = range?;
        let start = self.number(range.base())?;
        let end = start.checked_add(range.pages())?;
        Some(Pages { start, end })
    }

    /// The number of the page in which `address` is.
    fn number(&self, address: Pa) -> Option<u64> {
        let offset = address.0.checked_sub(self.range.base().0)?;
        (offset < self.range.bytes()).then_some(offset / PAGE_SIZE)
    }

    /// The addresses of `pages`.
    fn addresses(&self, pages: Pages) -> Option<PageRange> {
        let offset = pages.start.checked_mul(PAGE_SIZE)?;
        let base = self.range.base().0.checked_add(offset)?;
        let count = pages.end.checked_sub(pages.start)?;
        PageRange::new(Pa(base), count.checked_mul(PAGE_SIZE)?)
    }
}
