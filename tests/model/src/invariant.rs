// SPDX-License-Identifier: MIT OR Apache-2.0
//! What holds of every world, by the ids of ABUSE-CASES 2.2.
use crate::call::{Data, Type};
use crate::page::{Access, Content, Domain, Hold, Kind, Mapping, Owner, Page, Space};
use crate::world::{Phase, Transaction, World};

/// One invariant.
pub struct Invariant {
    /// Id.
    pub id: &'static str,
    /// Whether it holds.
    pub holds: fn(&World) -> bool,
}

/// The first invariant that does not hold.
pub fn check(world: &World) -> Result<(), &'static str> {
    INVARIANTS
        .iter()
        .find(|invariant| !(invariant.holds)(world))
        .map_or(Ok(()), |broken| Err(broken.id))
}

fn covering(world: &World, number: u64) -> impl Iterator<Item = &Transaction> {
    world
        .live()
        .filter(move |live| live.pages.iter().any(|(page, _)| *page == number))
}

fn each_mapping(world: &World, holds: impl Fn(u64, &Page, Domain, &Mapping) -> bool) -> bool {
    world.pages.iter().all(|(number, page)| {
        page.map
            .iter()
            .all(|(domain, mapping)| holds(*number, page, *domain, mapping))
    })
}

fn borrows(live: &Transaction, domain: Domain) -> bool {
    live.phase == Phase::Sent && live.held.keys().any(|id| id.domain() == domain)
}

/// O3: more than one writer needs a share, or a lend that grants W to each.
fn writers(world: &World) -> bool {
    world.pages.iter().all(|(number, page)| {
        let writers: Vec<_> = page
            .map
            .iter()
            .filter(|(_, mapping)| mapping.access.write)
            .collect();
        writers.len() < 2
            || covering(world, *number).any(|live| {
                let granted = |domain: Domain| {
                    let owner = live.sent.kind == Type::Share && page.owner == Owner::Of(domain);
                    owner
                        || live.sent.receivers.iter().any(|receiver| {
                            receiver.id.domain() == domain && receiver.data == Data::ReadWrite
                        })
                };
                writers.iter().all(|(domain, _)| granted(**domain))
            })
    })
}

/// O4: what the page says of itself, its owner's mapping and the transactions agree.
fn holds_agree(world: &World) -> bool {
    world.pages.iter().all(|(number, page)| {
        let kinds: Vec<_> = covering(world, *number)
            .map(|live| live.sent.kind)
            .collect();
        let Owner::Of(owner) = page.owner else {
            return kinds.is_empty();
        };
        let dead = world.parties.get(&owner).is_none_or(|party| !party.alive);
        match page.hold {
            Hold::Exclusive => {
                let only = page.map.keys().all(|domain| *domain == owner);
                kinds.is_empty() && only && page.map.contains_key(&owner) != dead
            }
            Hold::Shared => kinds == [Type::Share] && page.map.contains_key(&owner) != dead,
            Hold::Lent => kinds == [Type::Lend] && !page.map.contains_key(&owner),
            Hold::Donated => kinds == [Type::Donate] && page.map.is_empty(),
        }
    })
}

/// O5: borrower <= grant <= sender's mapping when it sent.
fn within_grants(world: &World) -> bool {
    world.live().all(|live| {
        live.held.iter().all(|(id, held)| {
            let granted = live.receiver(*id).is_some_and(|own| match own.data {
                Data::ReadOnly => !held.access.write,
                Data::ReadWrite | Data::Unspecified => true,
            });
            let sender = live.phase == Phase::Taken || held.access.within(live.ceiling());
            let mapped = id.domain() == Domain::NormalWorld
                || live.pages.iter().all(|(number, _)| {
                    let page = world.pages.get(number);
                    page.and_then(|page| page.map.get(&id.domain()))
                        .is_some_and(|is| is.access == held.access)
                });
            granted && sender && mapped
        })
    })
}

/// O6: no W with X; X of secure memory only; a device only in a lend to one.
fn execution(world: &World) -> bool {
    let mappings = each_mapping(world, |_, page, _, mapping| {
        let memory = page.kind == Kind::Normal && page.space == Space::Secure;
        !mapping.access.execute || (!mapping.access.write && memory)
    });
    let devices = world.live().all(|live| {
        let one = live.sent.kind == Type::Lend && live.sent.receivers.len() == 1;
        one || live
            .pages
            .iter()
            .all(|(_, mapping)| mapping.kind == Kind::Normal)
    });
    mappings && devices
}

/// O7: a page is in at most one transaction, once.
fn once(world: &World) -> bool {
    world.pages.keys().all(|number| {
        let places = world
            .live()
            .flat_map(|live| &live.pages)
            .filter(|(page, _)| page == number)
            .count();
        places <= 1
    })
}

/// O9: the normal world has no secure page, and its transactions none.
fn worlds_apart(world: &World) -> bool {
    let mapped = each_mapping(world, |_, page, domain, _| {
        domain != Domain::NormalWorld || page.space == Space::NonSecure
    });
    let sent = world
        .live()
        .filter(|live| live.sent.sender.domain() == Domain::NormalWorld)
        .all(|live| {
            live.pages.iter().all(|(number, _)| {
                world
                    .pages
                    .get(number)
                    .is_some_and(|page| page.space == Space::NonSecure)
            })
        });
    mapped && sent
}

/// O12: mailbox pages are the owner's alone.
fn mailboxes(world: &World) -> bool {
    world.parties.iter().all(|(domain, party)| {
        party
            .mailbox
            .iter()
            .flat_map(|mailbox| [mailbox.rx, mailbox.tx])
            .all(|number| {
                world.pages.get(&number).is_some_and(|page| {
                    let mapped = page
                        .map
                        .get(domain)
                        .is_some_and(|mapping| mapping.access == Access::RW);
                    page.owner == Owner::Of(*domain) && page.hold == Hold::Exclusive && mapped
                })
            })
    })
}

/// O14: cores cache nothing that the tables do not say.
fn caches(world: &World) -> bool {
    world
        .cores
        .iter()
        .flatten()
        .all(|(domain, number, access)| {
            let mapping = world
                .pages
                .get(number)
                .and_then(|page| page.map.get(domain));
            mapping.is_some_and(|mapping| access.within(mapping.access))
        })
}

/// O15: memory of the dead that nobody borrows is wiped.
fn wiped(world: &World) -> bool {
    world.pages.values().all(|page| {
        let Owner::Of(owner) = page.owner else {
            return true;
        };
        let alive = world.parties.get(&owner).is_some_and(|party| party.alive);
        alive
            || page.hold != Hold::Exclusive
            || page.kind == Kind::Device
            || page.content == Content::Zero
    })
}

/// TX2: an incomplete transaction has no pages, no borrower and not all constituents; a complete one has all.
fn filling(world: &World) -> bool {
    world.live().all(|live| {
        let missing = (live.sent.constituents.len() as u64) < u64::from(live.sent.count);
        match live.phase {
            Phase::Filling => missing && live.pages.is_empty() && live.held.is_empty(),
            Phase::Sent => !missing && !live.pages.is_empty(),
            Phase::Taken => !missing && live.sent.kind == Type::Donate && live.held.len() == 1,
        }
    })
}

/// The dead hold nothing: no borrowed memory, no incomplete transaction, no buffers.
fn dead(world: &World) -> bool {
    let alive = |domain: Domain| world.parties.get(&domain).is_some_and(|party| party.alive);
    let borrowers = world.live().all(|live| {
        live.held
            .keys()
            .all(|id| alive(id.domain()) && world.knows(*id))
    });
    let senders = world.live().all(|live| {
        let gone = !alive(live.sent.sender.domain());
        !gone || live.phase == Phase::Taken || (live.orphan && !live.held.is_empty())
    });
    borrowers
        && senders
        && world
            .parties
            .values()
            .all(|party| party.alive || party.mailbox.is_none())
}

/// All of them. O1 is the type's (one owner) and [`crate::transition`]'s; O11 needs devices and O13 real tables.
pub const INVARIANTS: &[Invariant] = &[
    Invariant {
        id: "O2",
        holds: |world| {
            each_mapping(world, |number, page, domain, _| {
                page.owner == Owner::Of(domain)
                    || covering(world, number).any(|live| borrows(live, domain))
            })
        },
    },
    Invariant {
        id: "O3",
        holds: writers,
    },
    Invariant {
        id: "O4",
        holds: holds_agree,
    },
    Invariant {
        id: "O5",
        holds: within_grants,
    },
    Invariant {
        id: "O6",
        holds: execution,
    },
    Invariant {
        id: "O7",
        holds: once,
    },
    Invariant {
        id: "O8",
        holds: |world| {
            world.pages.iter().all(|(number, page)| {
                let somebody = matches!(page.owner, Owner::Of(_));
                somebody
                    || (page.map.is_empty()
                        && !world.is_mailbox(*number)
                        && page.hold == Hold::Exclusive)
            })
        },
    },
    Invariant {
        id: "O9",
        holds: worlds_apart,
    },
    Invariant {
        id: "O10",
        holds: |world| {
            each_mapping(world, |_, page, _, mapping| {
                mapping.space == page.space && mapping.kind == page.kind
            })
        },
    },
    Invariant {
        id: "O12",
        holds: mailboxes,
    },
    Invariant {
        id: "O14",
        holds: caches,
    },
    Invariant {
        id: "O15",
        holds: wiped,
    },
    Invariant {
        id: "TX1",
        holds: |world| {
            (0..world.slots.len())
                .all(|slot| world.handle(slot) != 0 && world.handle(slot) >> 63 == 0)
        },
    },
    Invariant {
        id: "TX2",
        holds: filling,
    },
    Invariant {
        id: "TX6",
        holds: |world| {
            world
                .parties
                .iter()
                .all(|(domain, party)| world.used(*domain) <= party.quota)
        },
    },
    Invariant {
        id: "A-60",
        holds: dead,
    },
];
