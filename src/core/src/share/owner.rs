// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whose each page is: one map for secure memory, one for the normal world's, so that neither uses up the
//! other's nodes.

use bulkhead_abi::FfaError;
use bulkhead_mm::addr::{Pa, PageRange};
use bulkhead_mm::attrs::{MemoryType, Space};
use bulkhead_mm::owner::{Claim, ClaimError, Hold, Owner, Ownership, PageState, Transaction};

use crate::hardware::Hardware;
use crate::partition::Partition;
use crate::region::RegionKind;
use crate::sync::{Mutex, MutexGuard};

/// The state of every page that may be somebody's.
#[derive(Debug)]
pub struct PageOwners {
    secure: Mutex<Ownership<'static>>,
    non_secure: Mutex<Ownership<'static>>,
}

impl PageOwners {
    /// The maps of both physical address spaces, as the manifests have them.
    pub const fn new(secure: Ownership<'static>, non_secure: Ownership<'static>) -> Self {
        Self {
            secure: Mutex::new(secure),
            non_secure: Mutex::new(non_secure),
        }
    }

    /// Gives every page to whom the manifests give it. What nobody has cannot be sent, and neither can
    /// non-secure memory that a partition has by its manifest: it has two owners.
    pub(crate) fn give_all<H: Hardware>(
        &self,
        partitions: &[Partition<H>],
        normal_world: &[PageRange],
    ) {
        let (hole, secure, normal) = (PageState::HOLE, Space::Secure, Space::NonSecure);
        let theirs = PageState::exclusive(Owner::NormalWorld, normal, MemoryType::Normal);
        for range in normal_world {
            self.give("the normal world", normal, *range, hole, theirs);
        }
        for partition in partitions {
            let (id, name) = (partition.config.id, partition.config.name);
            let own = |kind| PageState::exclusive(Owner::Partition(id.0), secure, kind);
            for region in partition.config.regions {
                let kind = match region.kind {
                    RegionKind::Own | RegionKind::Memory => MemoryType::Normal,
                    RegionKind::Device => MemoryType::Device,
                };
                let (range, own) = (region.range, own(kind));
                match region.space {
                    Space::NonSecure => self.give(name, normal, range, theirs, hole),
                    Space::Secure if self.of(secure).all_are(range, own) => {}
                    Space::Secure => self.give(name, secure, range, hole, own),
                }
            }
        }
    }

    #[inline(never)]
    fn give(&self, name: &str, space: Space, range: PageRange, from: PageState, to: PageState) {
        if let Err(error) = self.of(space).assign(range, from, to) {
            log::warn!("{name} cannot share {range}: {error}");
        }
    }

    fn of(&self, space: Space) -> MutexGuard<'_, Ownership<'static>> {
        match space {
            Space::Secure => self.secure.lock(),
            Space::NonSecure => self.non_secure.lock(),
        }
    }

    /// The state of the page in which `address` is.
    pub fn state(&self, space: Space, address: Pa) -> PageState {
        self.of(space).state(address)
    }

    /// How many bytes of `range`, from its start on, are `state`.
    #[inline(never)]
    pub(crate) fn bytes_that_are(&self, range: PageRange, state: PageState) -> u64 {
        let map = self.of(state.space);
        let alike = map.states(range).take_while(|(_, found)| *found == state);
        alike.fold(0, |bytes, (part, _)| part.bytes().saturating_add(bytes))
    }

    /// Claims `ranges`, each page of which must be `expected`.
    ///
    /// # Errors
    /// INVALID_PARAMETERS for a page that is named twice (S26), NO_MEMORY, DENIED for any other page than
    /// those expected (S27 to S29, S33 to S35); nothing has changed.
    #[inline(never)]
    pub(super) fn claim(
        &self,
        ranges: impl Iterator<Item = PageRange> + Clone,
        expected: PageState,
        transaction: Transaction,
    ) -> Result<Claim, FfaError> {
        let mut map = self.of(expected.space);
        let claimed = map.claim(ranges, expected, transaction, 0);
        claimed.map_err(|error| match error {
            ClaimError::Twice(_) => FfaError::InvalidParameters,
            ClaimError::NoMemory => FfaError::NoMemory,
            ClaimError::OutOfRange(_) | ClaimError::Unexpected(..) => FfaError::Denied,
        })
    }

    /// Gives claimed pages their new state.
    #[inline(never)]
    pub(super) fn commit(
        &self,
        claim: Claim,
        ranges: impl Iterator<Item = PageRange>,
        new: PageState,
    ) {
        self.of(new.space).commit(claim, ranges, new);
    }

    /// Gives claimed pages the state that they had.
    pub(super) fn cancel(
        &self,
        claim: Claim,
        ranges: impl Iterator<Item = PageRange>,
        space: Space,
    ) {
        self.of(space).cancel(claim, ranges);
    }

    /// Gives pages that are in a transaction, as `from` says, the state `to`.
    #[inline(never)]
    pub(super) fn settle(
        &self,
        ranges: impl Iterator<Item = PageRange>,
        from: PageState,
        to: PageState,
    ) {
        self.of(from.space).settle(ranges, from, to);
    }

    /// Lets `ranges`, which must all be `expected`, be RX or TX buffers of the mailbox `slot`: nobody can
    /// send them meanwhile (S33). Nobody can send memory without an owner either: that stays as it is.
    ///
    /// # Errors
    /// As [`claim`](Self::claim).
    #[inline(never)]
    pub(crate) fn take_buffers(
        &self,
        ranges: impl Iterator<Item = PageRange> + Clone,
        expected: PageState,
        slot: usize,
    ) -> Result<(), FfaError> {
        let transaction = mailbox(slot);
        let new = expected.with(Hold::Buffer(transaction));
        for mut rest in ranges.clone() {
            loop {
                let found = self.of(expected.space).states(rest).next();
                let Some((range, state)) = found else { break };
                if state != PageState::HOLE {
                    let range = core::iter::once(range);
                    match self.claim(range.clone(), expected, transaction) {
                        Ok(claim) => self.commit(claim, range, new),
                        Err(error) => {
                            self.return_buffers(ranges, expected, slot);
                            return Err(error);
                        }
                    }
                }
                match behind(rest, range) {
                    Some(next) => rest = next,
                    None => break,
                }
            }
        }
        Ok(())
    }

    /// The reverse of [`take_buffers`](Self::take_buffers).
    #[inline(never)]
    pub(crate) fn return_buffers(
        &self,
        ranges: impl Iterator<Item = PageRange>,
        expected: PageState,
        slot: usize,
    ) {
        let transaction = mailbox(slot);
        let old = expected.with(Hold::Buffer(transaction));
        self.settle(ranges, old, expected);
    }
}

/// What of `range` comes after `part` of it.
fn behind(range: PageRange, part: PageRange) -> Option<PageRange> {
    let bytes = range.end().0.checked_sub(part.end().0)?;
    PageRange::new(part.end(), bytes)
}

/// The number of a mailbox, which no transaction has.
pub(super) fn mailbox(slot: usize) -> Transaction {
    const MAILBOX: u32 = 1 << 31;
    Transaction(u32::try_from(slot).map_or(u32::MAX, |slot| slot | MAILBOX))
}
