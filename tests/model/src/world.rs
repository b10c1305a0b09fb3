// SPDX-License-Identifier: MIT OR Apache-2.0
//! The state: pages, domains, transactions and what cores cached.
use crate::call::{Constituent, Receiver, Send};
use crate::page::{Access, Domain, Id, Mapping, PAGE_SIZE, Page};
use std::collections::{BTreeMap, BTreeSet};

/// A pair of RX/TX buffers.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Mailbox {
    /// Page number of RX.
    pub rx: u64,
    /// Page number of TX.
    pub tx: u64,
    /// RX belongs to its endpoint until it releases it.
    pub full: bool,
}

/// A domain.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Party {
    /// Runs, or may run again.
    pub alive: bool,
    /// FF-A 1.1 or later: responses tell the NS bit.
    pub tells_ns: bool,
    /// Buffers.
    pub mailbox: Option<Mailbox>,
    /// Live transactions that it may have as sender.
    pub quota: usize,
}

/// What a borrower that has retrieved got.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Held {
    /// Rights.
    pub access: Access,
    /// It asked for zeroing when it relinquishes.
    pub zero_after: bool,
    /// Constituents that it was told.
    pub told: u32,
}

/// Where a transaction is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Phase {
    /// Fragments are missing; no page has changed.
    Filling,
    /// Complete.
    Sent,
    /// A donation that was taken and whose description the receiver still fetches.
    Taken,
}

/// A transaction.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Transaction {
    /// The descriptor; does not change after `Filling`.
    pub sent: Send,
    /// Progress.
    pub phase: Phase,
    /// The sender died: ends when the last borrower leaves.
    pub orphan: bool,
    /// The lender's zeroing is done.
    pub zeroed: bool,
    /// A borrower that left asked for zeroing; due when the last leaves.
    pub zero_due: bool,
    /// Borrowers that have retrieved.
    pub held: BTreeMap<Id, Held>,
    /// Constituents that the hypervisor was told.
    pub hypervisor_told: Option<u32>,
    /// Each page and the owner's mapping before.
    pub pages: Vec<(u64, Mapping)>,
}

impl Transaction {
    /// The entry of a borrower.
    pub fn receiver(&self, id: Id) -> Option<&Receiver> {
        self.sent
            .receivers
            .iter()
            .find(|receiver| receiver.id == id)
    }

    /// The most that the sender's own mappings allow.
    pub fn ceiling(&self) -> Access {
        let all =
            |right: fn(Access) -> bool| self.pages.iter().all(|(_, mapping)| right(mapping.access));
        Access {
            write: all(|access| access.write),
            execute: all(|access| access.execute),
        }
    }
}

/// A place in the table of transactions.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Slot {
    /// Counts the transactions that ended here, from 1.
    pub generation: u32,
    /// The live one.
    pub live: Option<Transaction>,
}

/// Everything.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct World {
    /// Pages by number. What is missing is a hole.
    pub pages: BTreeMap<u64, Page>,
    /// Domains.
    pub parties: BTreeMap<Domain, Party>,
    /// VMs that the hypervisor made known.
    pub vms: BTreeSet<Id>,
    /// Transactions.
    pub slots: Vec<Slot>,
    /// The last translation that each core used.
    pub cores: Vec<Option<(Domain, u64, Access)>>,
    /// Constituents that fit into one response fragment.
    pub fragment: u32,
}

impl World {
    /// No pages, domains or VMs; `slots` handles, `cores` cores, `fragment` constituents a fragment.
    pub fn new(slots: usize, cores: usize, fragment: u32) -> Self {
        Self {
            pages: BTreeMap::new(),
            parties: BTreeMap::new(),
            vms: BTreeSet::new(),
            slots: vec![
                Slot {
                    generation: 1,
                    live: None
                };
                slots
            ],
            cores: vec![None; cores],
            fragment,
        }
    }

    /// Adds a domain with 1.1 responses and a mailbox in the pages `rx` and `rx + 1`, which are added by the caller.
    pub fn add_party(&mut self, domain: Domain, quota: usize, rx: Option<u64>) {
        let mailbox = rx.map(|rx| Mailbox {
            rx,
            tx: rx + 1,
            full: false,
        });
        self.parties.insert(
            domain,
            Party {
                alive: true,
                tells_ns: true,
                mailbox,
                quota,
            },
        );
    }

    /// The handle of a slot's current generation: never 0, bit 63 clear (A-45: the SPMC allocates).
    pub fn handle(&self, slot: usize) -> u64 {
        (u64::from(self.slots[slot].generation) << 16) | (slot as u64 + 1)
    }

    /// The slot of a live handle.
    pub fn slot(&self, handle: u64) -> Option<usize> {
        let slot = usize::try_from((handle & 0xffff).checked_sub(1)?).ok()?;
        let known = self.slots.get(slot)?;
        (known.live.is_some() && handle == self.handle(slot)).then_some(slot)
    }

    /// A live transaction.
    pub fn transaction(&self, handle: u64) -> Option<&Transaction> {
        self.slots[self.slot(handle)?].live.as_ref()
    }

    /// All live transactions.
    pub fn live(&self) -> impl Iterator<Item = &Transaction> {
        self.slots.iter().filter_map(|slot| slot.live.as_ref())
    }

    /// Live transactions of a sender's domain.
    pub fn used(&self, domain: Domain) -> usize {
        self.live()
            .filter(|live| live.sent.sender.domain() == domain)
            .count()
    }

    /// Whether a page is somebody's buffer.
    pub fn is_mailbox(&self, page: u64) -> bool {
        let within = |mailbox: &Mailbox| mailbox.rx == page || mailbox.tx == page;
        self.parties
            .values()
            .any(|party| party.mailbox.as_ref().is_some_and(within))
    }

    /// Whether an endpoint exists, alive or not.
    pub fn knows(&self, id: Id) -> bool {
        id == Id::HYPERVISOR
            || self.vms.contains(&id)
            || (id.domain() != Domain::NormalWorld && self.parties.contains_key(&id.domain()))
    }
}

/// The page numbers of constituents, lazily; only for aligned ones that do not wrap.
pub fn page_numbers(constituents: &[Constituent]) -> impl Iterator<Item = u64> + '_ {
    constituents.iter().flat_map(|run| {
        let first = run.address / PAGE_SIZE;
        first..first.saturating_add(u64::from(run.count))
    })
}
