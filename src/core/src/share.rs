// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory sharing: donate, lend and share; retrieve, relinquish and reclaim.
//!
//! A transaction is a [`Share`] in a slot. Its handle names the slot and the generation of what is in it, so
//! that a handle that has ended never comes back (H2). Its receivers and constituents are in a
//! [`Record`] of pool pages, which count against the sender's quota, as do the tables of what it maps.
//!
//! What can fail comes first, and is undone when something after it fails; relinquish, reclaim and the
//! death of a party take no memory.
//!
//! Lock order: mailbox → free slots → slot → ownership → a partition's stage 2 → pool.

mod borrower;
mod death;
mod describe;
mod fragment;
mod owner;
mod record;
mod release;
mod retrieve;
pub(crate) mod rule;
mod send;
mod zero;

pub use owner::PageOwners;
pub use release::{RECLAIM, RELINQUISH};
pub use retrieve::RETRIEVE;
pub use rule::Rule;
pub use send::SEND;

use bulkhead_abi::memory::{Constituent, Expected, Handle};
use bulkhead_abi::{EndpointId, FfaError};
use bulkhead_mm::attrs::{MemoryType, Permissions, Space};
use bulkhead_mm::owner::{Hold, Owner, PageState, Transaction};

use crate::hardware::Hardware;
use crate::partition::Health;
use crate::spmc::{CoreState, Spmc};
use crate::sync::{Mutex, MutexGuard};
use record::{Described, Ranges, Record, Run};
use zero::Progress;

/// Bits of a handle that are the index of the slot.
const INDEX_BITS: u32 = 16;

/// What the sender does with the memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// FFA_MEM_DONATE: the owner gives the pages away.
    Donate,
    /// FFA_MEM_LEND: the owner gives up access.
    Lend,
    /// FFA_MEM_SHARE: the owner keeps access.
    Share,
}

/// How far a transaction is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Fragments are missing; no page has changed.
    Filling(Expected),
    /// The pages are in the transaction.
    Sent,
    /// A donation whose pages are the receiver's already, and whose description it still fetches.
    Taken,
}

/// A transaction.
#[derive(Debug)]
struct Share {
    kind: Kind,
    sender: EndpointId,
    /// Who pays for the record.
    account: usize,
    tag: u64,
    /// The sender wants the pages zeroed before anyone sees them.
    clear: bool,
    /// The memory type that the sender named, if it did.
    described: Option<MemoryType>,
    /// The length of the sender's descriptor up to its first constituent, in bytes.
    head: u32,
    phase: Phase,
    space: Space,
    memory: MemoryType,
    /// The most that the sender's own mappings allow.
    ceiling: Permissions,
    /// Receivers; they come first in the record, two pairs each.
    receivers: u32,
    constituents: u32,
    pages: u32,
    record: Record,
    /// How many receivers have the pages.
    holders: u32,
    /// The sender is dead: it ends when the last receiver leaves.
    orphan: bool,
    /// What `clear` asks for is done.
    cleared: bool,
    /// A receiver that left asked for zeroing: due when the last one leaves.
    clear_due: bool,
    /// How far the zeroing is that is under way.
    zeroing: Progress,
    /// How many constituents the hypervisor was told.
    hypervisor_told: Option<u32>,
}

impl Share {
    /// Where the constituents begin in the record.
    const fn first(&self) -> u32 {
        self.receivers.saturating_mul(2)
    }

    /// The pages, in the sender's order.
    fn ranges<'a, H: Hardware>(&self, hw: &'a H) -> Ranges<'a, H> {
        Ranges::new(self.record.pairs(self.first(), u32::MAX, hw), hw)
    }

    /// The constituents from `start` on, for one who has them at their own addresses or one after the other
    /// at `place`: they are one then.
    fn described<'a, H: Hardware>(
        &self,
        start: u32,
        place: Option<u64>,
        hw: &'a H,
    ) -> Described<'a, H> {
        match place {
            Some(address) => Described::Whole((start == 0).then_some(Constituent {
                address,
                page_count: self.pages,
            })),
            None => {
                let first = self.first().saturating_add(start);
                Described::Ranges(Ranges::new(self.record.pairs(first, u32::MAX, hw), hw))
            }
        }
    }

    /// How many constituents [`described`](Self::described) has from 0 on.
    fn seen(&self, place: Option<u64>) -> u32 {
        place.map_or(self.constituents, |_| 1)
    }

    /// How many constituents there are so far.
    fn received(&self) -> u32 {
        self.record.len().saturating_sub(self.first())
    }

    /// What the pages are to the ownership map while they are in the transaction at `index`.
    fn state(&self, index: usize) -> PageState {
        let transaction = transaction(index);
        let hold = match self.kind {
            Kind::Share => Hold::Shared(transaction),
            Kind::Lend => Hold::Lent(transaction),
            Kind::Donate => Hold::Donated(transaction),
        };
        PageState::exclusive(owner_of(self.sender), self.space, self.memory).with(hold)
    }

    /// Whether the receivers have no say in the memory's attributes.
    fn sender_decides(&self) -> bool {
        self.kind == Kind::Share || self.receivers > 1
    }
}

/// The number of the transaction in the slot at `index`.
fn transaction(index: usize) -> Transaction {
    Transaction(u32::try_from(index).unwrap_or(u32::MAX))
}

/// Whose pages those of an endpoint are: the SPMC cannot tell VMs apart.
fn owner_of(id: EndpointId) -> Owner {
    if id.is_secure() {
        Owner::Partition(id.0)
    } else {
        Owner::NormalWorld
    }
}

/// A place for a transaction.
#[derive(Debug)]
pub struct ShareSlot(Mutex<Slot>);

#[derive(Debug)]
struct Slot {
    /// Counts the transactions that were here, the present one included.
    generation: u32,
    /// The next free place, while this one is.
    next: Option<u16>,
    /// Who is in the transaction, by [`Domain::bit`]; 0 while there is none.
    parties: u64,
    share: Option<Share>,
}

impl ShareSlot {
    /// A free place.
    pub const fn new() -> Self {
        Self(Mutex::new(Slot {
            generation: 0,
            next: None,
            parties: 0,
            share: None,
        }))
    }
}

impl Default for ShareSlot {
    fn default() -> Self {
        Self::new()
    }
}

/// All transactions.
pub(crate) struct Shares {
    slots: &'static [ShareSlot],
    free: Mutex<Option<u16>>,
}

/// A transaction, locked.
struct Locked {
    index: usize,
    slot: MutexGuard<'static, Slot>,
}

impl Shares {
    /// No transaction; as many at a time as there are `slots`, at most 65,535.
    pub(crate) fn new(slots: &'static [ShareSlot]) -> Self {
        let mut free = None;
        for (index, slot) in (0..u16::MAX).zip(slots).rev() {
            slot.0.lock().next = free;
            free = Some(index);
        }
        Self {
            slots,
            free: Mutex::new(free),
        }
    }

    /// A free place, locked, for a new transaction.
    #[inline(never)]
    fn take(&self) -> Option<Locked> {
        let mut free = self.free.lock();
        let index = usize::from((*free)?);
        let mut slot = self.slots.get(index)?.0.lock();
        *free = slot.next.take();
        slot.generation = slot.generation.saturating_add(1);
        Some(Locked { index, slot })
    }

    /// Makes a place free, whose transaction has ended; its handle is never valid again (TX1).
    #[inline(never)]
    fn put_back<H: Hardware>(&self, mut locked: Locked, hw: &mut H) {
        if let Some(mut share) = locked.slot.share.take() {
            share.record.truncate(0, hw);
        }
        locked.slot.parties = 0;
        let Locked { index, slot } = locked;
        if slot.generation == u32::MAX {
            // A place that has no new names left stays empty.
            return;
        }
        // The free list comes before a slot in the lock order.
        drop(slot);
        let mut free = self.free.lock();
        if let (Some(place), Ok(number)) = (self.slots.get(index), u16::try_from(index)) {
            place.0.lock().next = free.replace(number);
        }
    }

    /// The live transaction that `handle` names, if it has one of `parties` in it. For all others this takes as
    /// many instructions, and what follows too, as for a handle that never was (H1): the place is looked at in
    /// any case, and all is asked at once.
    #[inline(never)]
    fn find(&self, handle: Handle, parties: u64) -> Option<Locked> {
        let index = usize::try_from(handle.0 & u64::from(u16::MAX)).ok()?;
        let index = index.min(self.slots.len().checked_sub(1)?);
        let slot = self.slots.get(index)?.0.lock();
        let locked = Locked { index, slot };
        let differs = locked.handle().0 ^ handle.0;
        let strange = u64::from(locked.slot.parties & parties == 0);
        (differs | strange == 0).then_some(locked)
    }

    /// Each place, locked in turn.
    fn each(&self) -> impl Iterator<Item = Locked> {
        self.slots.iter().enumerate().map(|(index, slot)| Locked {
            index,
            slot: slot.0.lock(),
        })
    }
}

impl Locked {
    /// Bits 47:16 are the generation, which is never 0, and 15:0 the index (A-45: bit 63 is clear).
    fn handle(&self) -> Handle {
        let generation = u64::from(self.slot.generation).unbounded_shl(INDEX_BITS);
        Handle(generation | u64::try_from(self.index).unwrap_or(0))
    }

    /// # Errors
    /// INVALID_PARAMETERS; there always is one, `None` only spares a panic.
    fn share(&mut self) -> Result<&mut Share, FfaError> {
        self.slot.share.as_mut().ok_or(FfaError::InvalidParameters)
    }
}

/// Everybody, for [`Shares::find`].
const ANYBODY: u64 = u64::MAX;

/// Whose memory a caller uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Domain {
    /// The normal world: all of its endpoints together.
    NormalWorld,
    /// The partition with this index and id.
    Partition(usize, EndpointId),
}

impl Domain {
    /// Whether `id` is the caller, or one of its VMs.
    fn speaks_for(self, id: EndpointId) -> bool {
        match self {
            Self::NormalWorld => !id.is_secure(),
            Self::Partition(_, own) => own == id,
        }
    }

    /// One bit for the domain, that of another partition too where there are more than 63.
    fn bit(self) -> u64 {
        match self {
            Self::NormalWorld => 1 << 63,
            Self::Partition(index, _) => 1 << (index % 63),
        }
    }

    /// The sender as registers of fragments name it: to and by partitions, not at all (F4).
    const fn names(self, sender: EndpointId) -> EndpointId {
        match self {
            Self::NormalWorld => sender,
            Self::Partition(..) => EndpointId(0),
        }
    }

    fn owner(self) -> Owner {
        match self {
            Self::NormalWorld => Owner::NormalWorld,
            Self::Partition(_, id) => Owner::Partition(id.0),
        }
    }
}

impl<H: Hardware> Spmc<H> {
    /// Who calls on `core`.
    fn domain(&self, core: &CoreState<H>) -> Domain {
        match &core.current {
            None => Domain::NormalWorld,
            Some(current) => {
                Domain::Partition(current.vcpu.partition(), current.partition.config.id)
            }
        }
    }

    /// The domain of an endpoint.
    fn domain_of(&self, id: EndpointId) -> Domain {
        self.find(id).map_or(Domain::NormalWorld, |(index, _)| {
            Domain::Partition(index, id)
        })
    }

    /// The account that pays for what the caller keeps: a partition's index, or the one after them all.
    fn account(&self, domain: Domain) -> usize {
        match domain {
            Domain::NormalWorld => self.partitions.len(),
            Domain::Partition(index, _) => index,
        }
    }

    /// Whether the endpoint exists, alive or not.
    #[inline(never)]
    fn knows(&self, id: EndpointId) -> bool {
        let vm = || {
            let known = &self.normal_world;
            known.vm(id).is_some() || known.bitmaps.find(id).is_some()
        };
        id == EndpointId::NORMAL_WORLD || self.find(id).is_some() || (!id.is_secure() && vm())
    }

    /// Whether a partition that makes a call was ended by another core meanwhile. With a slot locked, this
    /// decides: who ends a partition marks it first, and looks at each slot then.
    fn is_ended(&self, domain: Domain) -> bool {
        match domain {
            Domain::NormalWorld => false,
            Domain::Partition(index, _) => self
                .partitions
                .get(index)
                .is_none_or(|partition| partition.health() == Health::Aborted),
        }
    }

    /// Gives the pages of a transaction of `domain` back to it in its stage 2, if it lost them there.
    fn resume_sender(&self, share: &Share, hw: &mut H) {
        if let (Some((index, _)), Kind::Lend | Kind::Donate) = (self.find(share.sender), share.kind)
        {
            Self::for_each_run(share, hw, |hw, run| {
                hw.resume(index, share.space, run.ipa, run.range.bytes());
            });
        }
    }

    /// Calls `act` for each constituent.
    fn for_each_run(share: &Share, hw: &mut H, mut act: impl FnMut(&mut H, Run)) {
        let mut pairs = share.record.pairs(share.first(), u32::MAX, hw);
        while let Some(run) = pairs.next(hw).and_then(record::run) {
            act(hw, run);
        }
    }

    /// Calls `act` for each constituent, and if one fails, `undo` for those before it.
    ///
    /// # Errors
    /// That of `act`.
    fn try_each_run(
        share: &Share,
        hw: &mut H,
        mut act: impl FnMut(&mut H, Run) -> Result<(), FfaError>,
        mut undo: impl FnMut(&mut H, Run),
    ) -> Result<(), FfaError> {
        let first = share.first();
        let mut done = 0_u32;
        let mut pairs = share.record.pairs(first, u32::MAX, hw);
        while let Some(run) = pairs.next(hw).and_then(record::run) {
            if let Err(error) = act(hw, run) {
                let mut pairs = share.record.pairs(first, done, hw);
                while let Some(run) = pairs.next(hw).and_then(record::run) {
                    undo(hw, run);
                }
                return Err(error);
            }
            done = done.saturating_add(1);
        }
        Ok(())
    }
}
