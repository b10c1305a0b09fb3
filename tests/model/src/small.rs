// SPDX-License-Identifier: MIT OR Apache-2.0
//! The small worlds of issue 7 and their alphabets.
use crate::call::{Data, Oracle, Request, Type};
use crate::explore::{Letter, plain};
use crate::page::{Access, Domain, Id, Kind, Page, Space};
use crate::well_formed::{
    by, frag_rx, frag_tx, hypervisor_retrieve, reclaim, relinquish, retrieve, run, send,
};
use crate::world::{Phase, Transaction, World};

/// The first partition.
pub const P1: Id = Id(0x8001);
/// The second partition.
pub const P2: Id = Id(0x8002);
/// The normal world.
pub const NWD: Id = Id::HYPERVISOR;

/// Two partitions and the normal world; pages 0 and 1 are the first partition's, 2 and 3 the normal world's; two
/// handles. Mailboxes lie in pages of their own.
pub fn world(cores: usize, fragment: u32) -> World {
    let mut world = World::new(2, cores, fragment);
    for (id, space, mailbox) in [
        (P1, Space::Secure, 10),
        (P2, Space::Secure, 12),
        (NWD, Space::NonSecure, 14),
    ] {
        world.add_party(id.domain(), 2, Some(mailbox));
        for number in [mailbox, mailbox + 1] {
            world.pages.insert(
                number,
                Page::of(id.domain(), space, Kind::Normal, Access::RW),
            );
        }
    }
    for number in 0..4 {
        let (domain, space) = if number < 2 {
            (P1.domain(), Space::Secure)
        } else {
            (Domain::NormalWorld, Space::NonSecure)
        };
        world
            .pages
            .insert(number, Page::of(domain, space, Kind::Normal, Access::RW));
    }
    world
}

fn grants(kind: Type, ids: &[Id], data: Data) -> Vec<(Id, Data)> {
    ids.iter()
        .map(|id| {
            (
                *id,
                if kind == Type::Donate {
                    Data::Unspecified
                } else {
                    data
                },
            )
        })
        .collect()
}

/// Sender, type, borrowers, data access, first page, pages, how many of them come at once.
type Row = (Id, Type, &'static [Id], Data, u64, usize, usize);

/// Sends of the small world.
const SENDS: &[Row] = &[
    (P1, Type::Share, &[P2], Data::ReadWrite, 0, 2, 2),
    (P1, Type::Lend, &[P2], Data::ReadWrite, 0, 1, 1),
    (P1, Type::Lend, &[P2], Data::ReadOnly, 0, 2, 1),
    (P1, Type::Donate, &[P2], Data::ReadWrite, 0, 1, 1),
    (P2, Type::Share, &[P1], Data::ReadWrite, 0, 1, 1),
    (NWD, Type::Share, &[P1, P2], Data::ReadWrite, 2, 2, 1),
    (NWD, Type::Lend, &[P1, P2], Data::ReadOnly, 2, 1, 1),
    (NWD, Type::Donate, &[P1], Data::ReadWrite, 2, 1, 1),
];

/// The sends. A lend of one page asks for zeroing.
pub fn sends() -> Vec<Letter> {
    let row = |&(sender, kind, ids, data, page, pages, first): &(
        Id,
        Type,
        &[Id],
        Data,
        u64,
        usize,
        usize,
    )| {
        let runs: Vec<_> = (page..).take(pages).map(|page| run(page, 1)).collect();
        let mut call = send(kind, sender, &grants(kind, ids, data), &runs);
        call.zero = kind == Type::Lend && pages == 1;
        call.constituents.truncate(first);
        plain(by(sender, Request::Send(call)))
    };
    SENDS.iter().map(row).collect()
}

fn of_transaction(letters: &mut Vec<Letter>, live: &Transaction, handle: u64) {
    let sender = live.sent.sender;
    let next = live
        .sent
        .constituents
        .last()
        .map_or(0, |last| last.address / crate::page::PAGE_SIZE + 1);
    if live.phase == Phase::Filling {
        for caller in [P1, P2, NWD] {
            letters.push(plain(by(
                caller,
                Request::FragTx(frag_tx(handle, caller, &[run(next, 1)])),
            )));
        }
        letters.push(plain(by(
            sender,
            Request::FragTx(frag_tx(handle, sender, &[run(next - 1, 1)])),
        )));
        letters.push(plain(by(
            sender,
            Request::FragTx(frag_tx(handle, sender, &[])),
        )));
    }
    for id in [P1, P2] {
        let request = retrieve(live, handle, id);
        let mut after = request.clone();
        after.zero_after = true;
        let mut read_only = request.clone();
        read_only
            .receivers
            .iter_mut()
            .filter(|own| own.id == id)
            .for_each(|own| own.data = Data::ReadOnly);
        let mut wrong = request.clone();
        wrong.tag += 1;
        for request in [request.clone(), after, read_only, wrong] {
            letters.push(plain(by(id, Request::Retrieve(request))));
        }
        let oracle = Oracle {
            no_memory: true,
            interrupt: false,
        };
        letters.push(Letter {
            core: 0,
            call: by(id, Request::Retrieve(request)),
            oracle,
        });
        letters.push(plain(by(id, Request::FragRx(frag_rx(handle, id, 1)))));
    }
    letters.push(plain(by(
        NWD,
        Request::Retrieve(hypervisor_retrieve(handle)),
    )));
}

fn of_handle(letters: &mut Vec<Letter>, handle: u64) {
    for id in [P1, P2] {
        letters.push(plain(by(id, Request::Relinquish(relinquish(handle, id)))));
    }
    for id in [P1, P2, NWD] {
        let mut zero = reclaim(handle);
        letters.push(plain(by(id, Request::Reclaim(zero.clone()))));
        zero.zero = true;
        letters.push(plain(by(id, Request::Reclaim(zero))));
    }
}

/// All calls of memory management: right ones, ones of the wrong caller, ones with the handle before.
pub fn calls(world: &World) -> Vec<Letter> {
    let mut letters = sends();
    for slot in 0..world.slots.len() {
        let handle = world.handle(slot);
        if let Some(live) = &world.slots[slot].live {
            of_transaction(&mut letters, live, handle);
        }
        of_handle(&mut letters, handle);
        of_handle(&mut letters, handle - (1 << 16));
    }
    letters.push(plain(by(P1, Request::Death)));
    letters.push(plain(by(P2, Request::Death)));
    letters
}

/// FFA_RX_RELEASE of everybody.
pub fn releases() -> Vec<Letter> {
    [P1, P2, NWD]
        .map(|id| plain(by(id, Request::RxRelease)))
        .to_vec()
}

/// Everybody reads its RX at once.
pub fn read_at_once(world: &mut World) {
    for party in world.parties.values_mut() {
        party
            .mailbox
            .iter_mut()
            .for_each(|mailbox| mailbox.full = false);
    }
}

/// Loads and stores of every endpoint from two cores.
pub fn touches(pages: &[u64]) -> Vec<Letter> {
    let mut letters = Vec::new();
    for page in pages {
        for id in [P1, P2, NWD] {
            for core in 0..2 {
                // Core 0 loads, core 1 stores.
                let call = by(
                    id,
                    Request::Touch {
                        page: *page,
                        write: core == 1,
                    },
                );
                letters.push(Letter {
                    core,
                    call,
                    oracle: Oracle::default(),
                });
            }
        }
    }
    letters
}
