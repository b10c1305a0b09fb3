// SPDX-License-Identifier: MIT OR Apache-2.0
//! Effects of calls that passed their checks. None of them can fail.
use crate::call::{Constituent, Outcome, Response, Retrieve, Send, Type};
use crate::check::{Mistake, Rules};
use crate::page::{Access, Content, Domain, Hold, Id, Kind, Mapping, Owner, Page, Space};
use crate::world::{Held, Phase, Transaction, World};
use crate::{retrieve, send};
use std::collections::BTreeMap;

/// Calls `edit` for each page of a transaction, with its place in it.
fn each_page(world: &mut World, slot: usize, mut edit: impl FnMut(usize, &mut Page, Mapping)) {
    let World { pages, slots, .. } = world;
    let all = slots[slot].live.iter().flat_map(|live| live.pages.iter());
    for (place, (number, before)) in all.enumerate() {
        if let Some(page) = pages.get_mut(number) {
            edit(place, page, *before);
        }
    }
}

fn live(world: &mut World, slot: usize) -> Option<&mut Transaction> {
    world.slots.get_mut(slot)?.live.as_mut()
}

/// Ends a transaction: its handle is never valid again.
pub fn free(rules: &Rules, world: &mut World, slot: usize) {
    world.slots[slot].live = None;
    if !rules.makes(Mistake::NoGeneration) {
        world.slots[slot].generation += 1;
    }
}

/// Notes a descriptor; pages do not change yet.
pub fn record(world: &mut World, slot: usize, call: &Send) {
    world.slots[slot].live = Some(Transaction {
        sent: call.clone(),
        phase: Phase::Filling,
        orphan: false,
        zeroed: false,
        zero_due: false,
        held: BTreeMap::new(),
        hypervisor_told: None,
        pages: Vec::new(),
    });
}

/// Gives the pages up.
pub fn commit_send(rules: &Rules, world: &mut World, slot: usize) {
    let Some(sent) = live(world, slot).map(|live| live.sent.clone()) else {
        return;
    };
    let pages = send::pages(world, &sent);
    if let Some(live) = live(world, slot) {
        live.pages = pages;
        live.phase = Phase::Sent;
    }
    let hold = match sent.kind {
        Type::Share => Hold::Shared,
        Type::Lend => Hold::Lent,
        Type::Donate => Hold::Donated,
    };
    let keeps = sent.kind == Type::Share || rules.makes(Mistake::LenderKeepsMapping);
    let forgets = sent.kind == Type::Share && rules.makes(Mistake::HoldForgotten);
    each_page(world, slot, |_, page, _| {
        if !forgets {
            page.hold = hold;
        }
        if !keeps {
            page.map.remove(&sent.sender.domain());
        }
    });
}

/// What the mistake of a missing rollback leaves.
pub fn map_first_page(world: &mut World, call: &Retrieve) {
    let Some(slot) = world.slot(call.handle) else {
        return;
    };
    each_page(world, slot, |place, page, before| {
        if place == 0 {
            page.map.insert(call.borrower.domain(), before);
        }
    });
}

/// Zeroes if due, maps for the borrower; a donation changes its owner.
pub fn commit_retrieve(rules: &Rules, world: &mut World, slot: usize, call: &Retrieve) {
    let borrower = call.borrower.domain();
    let Some(live) = live(world, slot) else {
        return;
    };
    let own = call
        .receivers
        .iter()
        .find(|receiver| receiver.id == call.borrower);
    let Some(access) = own.map(|own| retrieve::wanted(live, *own)) else {
        return;
    };
    let donation = live.sent.kind == Type::Donate;
    let zero = live.sent.zero && !live.zeroed;
    live.zeroed |= zero;
    live.held.insert(
        call.borrower,
        Held {
            access,
            zero_after: call.zero_after,
            told: 0,
        },
    );
    if donation {
        live.phase = Phase::Taken;
    }
    each_page(world, slot, |_, page, _| {
        if zero {
            page.content = Content::Zero;
        }
        let secure = rules.makes(Mistake::SpaceFromEndpoint);
        let space = if secure { Space::Secure } else { page.space };
        // The normal world sees its memory already: a VM's share is the hypervisor's to map.
        if borrower != Domain::NormalWorld {
            page.map.insert(
                borrower,
                Mapping {
                    access,
                    kind: page.kind,
                    space,
                },
            );
        }
        if donation {
            page.owner = Owner::Of(borrower);
            page.hold = Hold::Exclusive;
        }
    });
    if let Some(taken) = world.slots[slot].live.as_mut().filter(|_| donation) {
        taken.pages.clear();
    }
}

/// Writes the next constituents to RX.
pub fn tell(
    world: &mut World,
    slot: usize,
    from: Domain,
    borrower: Option<Id>,
) -> Vec<Constituent> {
    let fragment = world.fragment;
    if let Some(mailbox) = world
        .parties
        .get_mut(&from)
        .and_then(|party| party.mailbox.as_mut())
    {
        mailbox.full = true;
    }
    let Some(live) = live(world, slot) else {
        return Vec::new();
    };
    let told = match borrower {
        Some(id) => live.held.get_mut(&id).map(|held| &mut held.told),
        None => live.hypervisor_told.as_mut(),
    };
    let Some(told) = told else { return Vec::new() };
    let start = *told as usize;
    let end = live.sent.constituents.len().min(start + fragment as usize);
    *told = end as u32;
    live.sent.constituents[start..end].to_vec()
}

/// The first fragment of a description.
pub fn describe(world: &mut World, slot: usize, from: Domain, borrower: Option<Id>) -> Outcome {
    let tells_ns = world.parties.get(&from).is_some_and(|party| party.tells_ns);
    let Some(live) = live(world, slot) else {
        return Outcome::Fault;
    };
    if borrower.is_none() {
        live.hypervisor_told = Some(0);
    }
    let sent = live.sent.clone();
    let constituents = tell(world, slot, from, borrower);
    let page = constituents
        .first()
        .and_then(|run| world.pages.get(&(run.address / crate::page::PAGE_SIZE)));
    let (memory, space) = page.map_or((Kind::Normal, Space::NonSecure), |page| {
        (page.kind, page.space)
    });
    if sent.kind == Type::Donate && borrower.is_some() && constituents.len() as u32 == sent.count {
        free(&Rules::default(), world, slot);
    }
    Outcome::Retrieved(Box::new(Response {
        sender: sent.sender,
        tag: sent.tag,
        kind: sent.kind,
        zero: sent.zero,
        memory,
        ns: tells_ns.then_some(space),
        receivers: sent
            .receivers
            .into_iter()
            .filter(|own| borrower.is_none_or(|id| id == own.id))
            .collect(),
        count: sent.count,
        constituents,
    }))
}

/// A borrower gives its access up. Zeroing waits for the last one.
pub fn leave(rules: &Rules, world: &mut World, slot: usize, id: Id, zero: bool) {
    let Some(live) = live(world, slot) else {
        return;
    };
    let Some(held) = live.held.remove(&id) else {
        return;
    };
    live.zero_due |= zero || held.zero_after;
    let last = live.held.is_empty();
    let zeroes = last && live.zero_due;
    live.zero_due &= !last;
    let ends = last && live.orphan;
    let count = live.pages.len();
    let domain = id.domain();
    each_page(world, slot, |place, page, _| {
        let forgets = rules.makes(Mistake::RelinquishLeavesLastPage) && place + 1 == count;
        if domain != Domain::NormalWorld && !forgets {
            page.map.remove(&domain);
        }
        if zeroes {
            page.content = Content::Zero;
        }
    });
    if ends {
        end_orphan(rules, world, slot);
    }
}

/// The owner gets its pages back as they were.
pub fn give_back(rules: &Rules, world: &mut World, slot: usize, zero: bool) {
    let Some(owner) = live(world, slot).map(|live| live.sent.sender.domain()) else {
        return;
    };
    each_page(world, slot, |place, page, before| {
        let access = if rules.makes(Mistake::ReclaimWidens) {
            Access::RW
        } else {
            before.access
        };
        page.map.insert(owner, Mapping { access, ..before });
        page.hold = Hold::Exclusive;
        if zero && (place == 0 || !rules.makes(Mistake::ZeroesFirstPage)) {
            page.content = Content::Zero;
        }
    });
    free(rules, world, slot);
}

/// Borrowers that are gone leave; an untaken rest of a donation's description goes with its receiver.
pub fn leave_all(rules: &Rules, world: &mut World, slot: usize, gone: impl Fn(Id) -> bool) {
    let Some(live) = live(world, slot) else {
        return;
    };
    let taken = live.phase == Phase::Taken;
    let ids: Vec<Id> = live.held.keys().copied().filter(|id| gone(*id)).collect();
    if taken && !ids.is_empty() {
        free(rules, world, slot);
        return;
    }
    for id in ids {
        leave(rules, world, slot, id, false);
    }
}

/// The sender died: what is not complete ends, what is borrowed ends with the last borrower.
pub fn orphan(rules: &Rules, world: &mut World, slot: usize, sender: Domain) {
    let Some(live) = live(world, slot).filter(|live| live.sent.sender.domain() == sender) else {
        return;
    };
    match live.phase {
        Phase::Filling => free(rules, world, slot),
        Phase::Taken => {}
        Phase::Sent => {
            live.orphan = true;
            if live.held.is_empty() {
                end_orphan(rules, world, slot);
            }
        }
    }
}

/// Pages of a dead owner that nobody borrows any more: wiped, mapped nowhere.
fn end_orphan(rules: &Rules, world: &mut World, slot: usize) {
    each_page(world, slot, |_, page, _| {
        page.map.clear();
        page.hold = Hold::Exclusive;
        if !rules.makes(Mistake::NoWipe) && page.kind == Kind::Normal {
            page.content = Content::Zero;
        }
    });
    free(rules, world, slot);
}

/// Drops what cores cached and the tables no longer say.
pub fn invalidate(world: &mut World) {
    for cached in &mut world.cores {
        let stale = cached.is_some_and(|(domain, number, access)| {
            let mapping = world
                .pages
                .get(&number)
                .and_then(|page| page.map.get(&domain));
            !mapping.is_some_and(|mapping| access.within(mapping.access))
        });
        if stale {
            *cached = None;
        }
    }
}
