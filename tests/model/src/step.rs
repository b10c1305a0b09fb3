// SPDX-License-Identifier: MIT OR Apache-2.0
//! One step: checks, then effects that cannot fail.
use crate::call::{
    Call, FragRx, FragTx, Oracle, Outcome, Reclaim, Relinquish, Request, Retrieve, Send,
};
use crate::check::{Case, Mistake, Rules};
use crate::effect;
use crate::page::{Access, Content, Domain, Hold, Id, Kind, Owner, Space};
use crate::world::{Mailbox, Phase, Slot, World};
use crate::{release, retrieve, send};
use bulkhead_abi::FfaError::{Denied, InvalidParameters};

/// What `call`, made on `core`, does to `world`.
pub fn step(world: &World, core: usize, call: &Call, oracle: Oracle) -> (World, Outcome) {
    Rules::default().step(world, core, call, oracle)
}

impl Rules {
    /// [`step`], under rules that may have a mistake.
    pub fn step(
        &self,
        world: &World,
        core: usize,
        call: &Call,
        oracle: Oracle,
    ) -> (World, Outcome) {
        let mut next = world.clone();
        let outcome = self.act(&mut next, core, call, oracle);
        (next, outcome)
    }

    /// [`step`](Self::step) on a world that nobody needs as it was.
    pub fn act(&self, world: &mut World, core: usize, call: &Call, oracle: Oracle) -> Outcome {
        let alive = (world.parties.get(&call.from)).is_some_and(|party| party.alive);
        if !alive {
            return Outcome::Fault;
        }
        let from = call.from;
        let outcome = match &call.request {
            Request::Send(call) => self.send(world, from, call, oracle),
            Request::FragTx(call) => self.frag_tx(world, from, call, oracle),
            Request::Retrieve(call) => self.retrieve(world, from, call, oracle),
            Request::FragRx(call) => self.frag_rx(world, from, call, oracle),
            Request::Relinquish(call) => self.relinquish(world, from, call, oracle),
            Request::Reclaim(call) => self.reclaim(world, from, call, oracle),
            Request::RxRelease => rx_release(world, from),
            Request::RxtxMap { rx, tx } => rxtx_map(world, from, *rx, *tx),
            Request::RxtxUnmap => rxtx_unmap(world, from),
            Request::Death => self.death(world, from),
            Request::VmDestroyed(id) => self.vm_destroyed(world, from, *id),
            Request::Touch { page, write } => touch(world, core, from, *page, *write),
        };
        if !self.makes(Mistake::NoInvalidation) {
            effect::invalidate(world);
        }
        outcome
    }

    fn send(&self, world: &mut World, from: Domain, call: &Send, oracle: Oracle) -> Outcome {
        let case = Case {
            world,
            from,
            call,
            oracle,
        };
        let whole = call.constituents.len() as u64 == u64::from(call.count);
        let memory = || {
            self.refusal(send::MEMORY, &case)
                .or_else(|| self.refusal(send::RECORD, &case))
        };
        let refusal = self
            .refusal(send::HEADER, &case)
            .or_else(|| if whole { memory() } else { None });
        if let Some(error) = refusal {
            return Outcome::Error(error);
        }
        let Some(slot) = world.slots.iter().position(|slot| slot.live.is_none()) else {
            return Outcome::Fault;
        };
        let handle = world.handle(slot);
        effect::record(world, slot, call);
        if whole {
            effect::commit_send(self, world, slot);
            Outcome::Handle(handle)
        } else {
            Outcome::SendMore(handle, call.constituents.len() as u32)
        }
    }

    fn frag_tx(&self, world: &mut World, from: Domain, call: &FragTx, oracle: Oracle) -> Outcome {
        let case = Case {
            world,
            from,
            call,
            oracle,
        };
        if let Some(error) = self.refusal(send::FRAGMENT_OWNER, &case) {
            return Outcome::Error(error);
        }
        let Some(slot) = world.slot(call.handle) else {
            return Outcome::Fault;
        };
        if let Some(error) = self.refusal(send::FRAGMENT, &case) {
            effect::free(self, world, slot);
            return Outcome::Error(error);
        }
        if let Some(error) = self.refusal(send::FRAGMENT_RECORD, &case) {
            return Outcome::Error(error);
        }
        let Some(live) = world.slots[slot].live.as_mut() else {
            return Outcome::Fault;
        };
        live.sent.constituents.extend_from_slice(&call.constituents);
        let sent = live.sent.clone();
        let received = sent.constituents.len() as u32;
        if received < sent.count {
            return Outcome::SendMore(call.handle, received);
        }
        if let Some(error) = self.refusal(
            send::MEMORY,
            &Case {
                world,
                from,
                call: &sent,
                oracle,
            },
        ) {
            effect::free(self, world, slot);
            return Outcome::Error(error);
        }
        effect::commit_send(self, world, slot);
        Outcome::Handle(call.handle)
    }

    fn retrieve(
        &self,
        world: &mut World,
        from: Domain,
        call: &Retrieve,
        oracle: Oracle,
    ) -> Outcome {
        let case = Case {
            world,
            from,
            call,
            oracle,
        };
        let hypervisor = retrieve::is_hypervisor(from, call);
        let table = if hypervisor {
            retrieve::HYPERVISOR
        } else {
            retrieve::BORROWER
        };
        if let Some(error) = self
            .refusal(retrieve::BUFFERS, &case)
            .or_else(|| self.refusal(table, &case))
        {
            if oracle.no_memory && self.makes(Mistake::NoRollback) {
                effect::map_first_page(world, call);
            }
            return Outcome::Error(error);
        }
        let Some(slot) = world.slot(call.handle) else {
            return Outcome::Fault;
        };
        if hypervisor {
            return effect::describe(world, slot, from, None);
        }
        let zeroes = world.slots[slot]
            .live
            .as_ref()
            .is_some_and(|live| live.sent.zero && !live.zeroed);
        if zeroes && interrupted(from, oracle) {
            return Outcome::Interrupt;
        }
        effect::commit_retrieve(self, world, slot, call);
        effect::describe(world, slot, from, Some(call.borrower))
    }

    fn frag_rx(&self, world: &mut World, from: Domain, call: &FragRx, oracle: Oracle) -> Outcome {
        if let Some(error) = self.refusal(
            retrieve::FRAGMENT,
            &Case {
                world,
                from,
                call,
                oracle,
            },
        ) {
            return Outcome::Error(error);
        }
        let Some(slot) = world.slot(call.handle) else {
            return Outcome::Fault;
        };
        let borrower = (call.borrower != Id::HYPERVISOR).then_some(call.borrower);
        let constituents = effect::tell(world, slot, from, borrower);
        let taken = world.slots[slot].live.as_ref().is_some_and(|live| {
            live.phase == Phase::Taken
                && live.held.values().all(|held| held.told == live.sent.count)
        });
        if taken {
            effect::free(self, world, slot);
        }
        Outcome::Fragment(constituents)
    }

    fn relinquish(
        &self,
        world: &mut World,
        from: Domain,
        call: &Relinquish,
        oracle: Oracle,
    ) -> Outcome {
        if let Some(error) = self.refusal(
            release::RELINQUISH,
            &Case {
                world,
                from,
                call,
                oracle,
            },
        ) {
            return Outcome::Error(error);
        }
        let (Some(slot), Some(id)) = (world.slot(call.handle), call.endpoints.first()) else {
            return Outcome::Fault;
        };
        let zeroes = world.slots[slot].live.as_ref().is_some_and(|live| {
            let own = live.held.get(id).is_some_and(|held| held.zero_after);
            live.held.len() == 1 && (own || call.zero || live.zero_due)
        });
        if zeroes && interrupted(from, oracle) {
            return Outcome::Interrupt;
        }
        effect::leave(self, world, slot, *id, call.zero);
        Outcome::Success
    }

    fn reclaim(&self, world: &mut World, from: Domain, call: &Reclaim, oracle: Oracle) -> Outcome {
        if let Some(error) = self.refusal(
            release::RECLAIM,
            &Case {
                world,
                from,
                call,
                oracle,
            },
        ) {
            return Outcome::Error(error);
        }
        let Some(slot) = world.slot(call.handle) else {
            return Outcome::Fault;
        };
        let filling = world.slots[slot]
            .live
            .as_ref()
            .is_some_and(|live| live.phase == Phase::Filling);
        if filling {
            effect::free(self, world, slot);
            return Outcome::Success;
        }
        if call.zero && interrupted(from, oracle) {
            return Outcome::Interrupt;
        }
        effect::give_back(self, world, slot, call.zero);
        Outcome::Success
    }

    fn death(&self, world: &mut World, from: Domain) -> Outcome {
        if from == Domain::NormalWorld {
            return Outcome::Error(Denied);
        }
        if let Some(party) = world.parties.get_mut(&from) {
            party.alive = false;
            party.mailbox = None;
        }
        for slot in 0..world.slots.len() {
            effect::leave_all(self, world, slot, |id| id.domain() == from);
            effect::orphan(self, world, slot, from);
        }
        for page in world.pages.values_mut() {
            if page.owner == Owner::Of(from)
                && page.hold != Hold::Lent
                && page.hold != Hold::Donated
            {
                page.map.remove(&from);
                let memory = page.kind == Kind::Normal;
                if memory && page.hold == Hold::Exclusive && !self.makes(Mistake::NoWipe) {
                    page.content = Content::Zero;
                }
            }
        }
        Outcome::Success
    }

    fn vm_destroyed(&self, world: &mut World, from: Domain, id: Id) -> Outcome {
        if from != Domain::NormalWorld || !world.vms.remove(&id) {
            return Outcome::Error(InvalidParameters);
        }
        for slot in 0..world.slots.len() {
            effect::leave_all(self, world, slot, |borrower| borrower == id);
        }
        Outcome::Success
    }
}

/// Only a partition's call is interrupted while it zeroes (DECISIONS.md 20).
fn interrupted(from: Domain, oracle: Oracle) -> bool {
    oracle.interrupt && from != Domain::NormalWorld
}

fn rx_release(world: &mut World, from: Domain) -> Outcome {
    match world
        .parties
        .get_mut(&from)
        .and_then(|party| party.mailbox.as_mut())
    {
        Some(mailbox) if mailbox.full => mailbox.full = false,
        _ => return Outcome::Error(Denied),
    }
    Outcome::Success
}

fn rxtx_map(world: &mut World, from: Domain, rx: u64, tx: u64) -> Outcome {
    if rx == tx {
        return Outcome::Error(InvalidParameters);
    }
    let usable = |number: u64| {
        world.pages.get(&number).is_some_and(|page| {
            let writes = page
                .map
                .get(&from)
                .is_some_and(|mapping| mapping.access == Access::RW);
            // A partition names its buffers by secure addresses.
            let space = from == Domain::NormalWorld || page.space == Space::Secure;
            page.owner == Owner::Of(from) && page.hold == Hold::Exclusive && writes && space
        }) && !world.is_mailbox(number)
    };
    let free = world
        .parties
        .get(&from)
        .is_some_and(|party| party.mailbox.is_none());
    if !free || !usable(rx) || !usable(tx) {
        return Outcome::Error(Denied);
    }
    if let Some(party) = world.parties.get_mut(&from) {
        party.mailbox = Some(Mailbox {
            rx,
            tx,
            full: false,
        });
    }
    Outcome::Success
}

fn rxtx_unmap(world: &mut World, from: Domain) -> Outcome {
    match world.parties.get_mut(&from) {
        Some(party) if party.mailbox.is_some() => party.mailbox = None,
        _ => return Outcome::Error(InvalidParameters),
    }
    Outcome::Success
}

fn touch(world: &mut World, core: usize, from: Domain, number: u64, write: bool) -> Outcome {
    let Some(page) = world.pages.get_mut(&number) else {
        return Outcome::Fault;
    };
    let Some(mapping) = page
        .map
        .get(&from)
        .filter(|mapping| mapping.access.write || !write)
    else {
        return Outcome::Fault;
    };
    if let Some(cached) = world.cores.get_mut(core) {
        *cached = Some((from, number, mapping.access));
    }
    if write {
        page.content = Content::Of(from);
    }
    Outcome::Data(page.content)
}

/// Renames generations so that worlds that differ only in how many transactions ended are one.
pub fn forget_generations(world: &mut World) {
    for slot in &mut world.slots {
        *slot = Slot {
            generation: 2,
            live: slot.live.take(),
        };
    }
}
