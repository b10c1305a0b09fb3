// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random calls: mostly right ones, each field spoilt now and then.
use crate::call::{Data, Instruction, Oracle, Request, Send, Shape, Type, TypeField};
use crate::case_world::{SP, VM};
use crate::explore::Letter;
use crate::page::{Id, Kind, Owner};
use crate::well_formed::{
    by, frag_rx, frag_tx, hypervisor_retrieve, receiver, reclaim, relinquish, retrieve, run, send,
};
use crate::world::{Phase, World};

/// A xorshift generator.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) as usize) % end
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of `choices`.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

const EVERYBODY: [Id; 6] = [SP[0], SP[1], SP[2], VM[0], VM[1], Id::HYPERVISOR];
const DATA: [Data; 3] = [Data::ReadOnly, Data::ReadWrite, Data::Unspecified];
const TYPES: [TypeField; 4] = [
    TypeField::Unspecified,
    TypeField::Is(Kind::Normal),
    TypeField::Is(Kind::Device),
    TypeField::Other,
];

fn random_send(random: &mut Random) -> Send {
    let kind = random.pick(&[Type::Share, Type::Lend, Type::Donate]);
    let sender = random.pick(&EVERYBODY);
    let mut receivers = vec![random.pick(&SP)];
    while kind != Type::Donate && random.one_in(2) && receivers.len() < 3 {
        receivers.push(random.pick(&EVERYBODY));
    }
    let grants: Vec<_> = receivers
        .into_iter()
        .map(|id| {
            (
                id,
                if kind == Type::Donate {
                    Data::Unspecified
                } else {
                    random.pick(&DATA[..2])
                },
            )
        })
        .collect();
    let mut pages = Vec::new();
    for _ in 0..=random.below(3) {
        let first = match (random.below(8), sender) {
            (0, _) => random.below(40) as u64,
            (1, _) => 4 + random.below(4) as u64,
            (_, Id(0x8001)) => random.below(4) as u64,
            (_, Id(0x8002)) => 10 + random.below(3) as u64,
            (_, Id(0x8003)) => random.pick(&[0, 1, 2, 3, 10, 11, 12]),
            _ => 16 + random.below(3) as u64,
        };
        pages.push(run(first, if random.one_in(8) { 2 } else { 1 }));
    }
    let mut call = send(kind, sender, &grants, &pages);
    call.tag = random.below(2) as u64;
    call.zero = kind != Type::Share && random.one_in(3);
    if random.one_in(4) {
        call.constituents
            .truncate(random.below(call.constituents.len()));
    }
    if random.one_in(6) {
        spoil(&mut call, random);
    }
    call
}

fn spoil(call: &mut Send, random: &mut Random) {
    match random.below(16) {
        0 => call.shape = Shape::Bad,
        1 => call.sender = random.pick(&EVERYBODY),
        2 => call.handle = 1,
        3 => call.zero = true,
        4 => call.time_slice = true,
        5 => call.other_flags = true,
        6 => call.memory = random.pick(&TYPES),
        7 => call.ns = true,
        8 => call.receivers.clear(),
        9 => call
            .receivers
            .iter_mut()
            .for_each(|own| own.data = random.pick(&DATA)),
        10 => call
            .receivers
            .iter_mut()
            .for_each(|own| own.instruction = Instruction::Execute),
        11 => call.pages = call.pages.wrapping_sub(1),
        12 => call.count = random.below(3) as u32,
        13 => call
            .constituents
            .iter_mut()
            .for_each(|run| run.address += 8),
        14 => call
            .constituents
            .iter_mut()
            .for_each(|run| run.count = random.pick(&[0, u32::MAX])),
        _ => call.receivers.push(receiver(Id(0x7777), Data::ReadOnly)),
    }
}

fn random_retrieve(random: &mut Random, world: &World, handle: u64) -> (Id, Request) {
    let Some(live) = world.transaction(handle).filter(|_| !random.one_in(20)) else {
        return (
            Id::HYPERVISOR,
            Request::Retrieve(hypervisor_retrieve(handle)),
        );
    };
    let borrower = if random.one_in(8) {
        random.pick(&EVERYBODY)
    } else {
        live.sent.receivers[random.below(live.sent.receivers.len())].id
    };
    let mut call = retrieve(live, handle, borrower);
    if random.one_in(3) {
        let (data, execute) = (random.pick(&DATA), random.one_in(3));
        for own in call.receivers.iter_mut().filter(|own| own.id == borrower) {
            own.data = data;
            own.instruction = if execute {
                Instruction::Execute
            } else {
                Instruction::Unspecified
            };
        }
    }
    call.zero_after = random.one_in(4);
    call.zero = random.one_in(8);
    if random.one_in(6) {
        match random.below(11) {
            0 => call.shape = Shape::Bad,
            1 => call.sender = random.pick(&EVERYBODY),
            2 => call.tag ^= 1,
            3 => {
                call.kind = random.pick(&[
                    None,
                    Some(Type::Share),
                    Some(Type::Lend),
                    Some(Type::Donate),
                ])
            }
            4 => call.hint = true,
            5 => call.other_flags = true,
            6 => call.memory = random.pick(&TYPES),
            7 => call.ns = true,
            8 => call.receivers.reverse(),
            9 => call.ranges = true,
            _ => {
                call.bypass = true;
                call.receivers.retain(|own| own.id == borrower);
            }
        }
    }
    (borrower, Request::Retrieve(call))
}

fn random_handle(random: &mut Random, world: &World) -> u64 {
    let handle = world.handle(random.below(world.slots.len()));
    match random.below(24) {
        0 => handle - (1 << 16),
        1 => handle.rotate_left(32),
        2 => handle | (1 << 63),
        3 => random.0,
        _ => handle,
    }
}

fn borrower(random: &mut Random, world: &World, handle: u64) -> Id {
    let held: Vec<Id> = world
        .transaction(handle)
        .iter()
        .flat_map(|live| live.held.keys().copied())
        .collect();
    if held.is_empty() || random.one_in(8) {
        random.pick(&EVERYBODY)
    } else {
        random.pick(&held)
    }
}

/// A random letter for [`crate::case_world::case_world`].
pub fn letter(random: &mut Random, world: &World) -> Letter {
    let handle = random_handle(random, world);
    let live = world.transaction(handle);
    let (caller, request) = match random.below(32) {
        0..=6 => {
            let call = random_send(random);
            (
                if random.one_in(20) {
                    random.pick(&EVERYBODY)
                } else {
                    call.sender
                },
                Request::Send(call),
            )
        }
        7..=13 => match live {
            Some(live) if live.phase == Phase::Filling && !random.one_in(6) => {
                let missing =
                    (live.sent.count as usize).saturating_sub(live.sent.constituents.len());
                let first = random.below(20) as u64;
                let pages: Vec<_> = (0..random.below(missing + 2) as u64)
                    .map(|more| run(first + more, 1))
                    .collect();
                let call = frag_tx(handle, live.sent.sender, &pages);
                (
                    if random.one_in(8) {
                        random.pick(&EVERYBODY)
                    } else {
                        live.sent.sender
                    },
                    Request::FragTx(call),
                )
            }
            _ => random_retrieve(random, world, handle),
        },
        14..=16 => {
            let id = borrower(random, world, handle);
            let told = live
                .and_then(|live| live.held.get(&id))
                .map_or(random.below(4) as u32, |held| held.told);
            (id, Request::FragRx(frag_rx(handle, id, told)))
        }
        17..=20 => {
            let id = borrower(random, world, handle);
            let mut call = relinquish(handle, id);
            call.zero = random.one_in(4);
            call.other_flags = random.one_in(30);
            (id, Request::Relinquish(call))
        }
        21..=23 => {
            let mut call = reclaim(handle);
            call.zero = random.one_in(3);
            call.other_flags = random.one_in(30);
            let sender = live.map_or(SP[0], |live| live.sent.sender);
            (
                if random.one_in(8) {
                    random.pick(&EVERYBODY)
                } else {
                    sender
                },
                Request::Reclaim(call),
            )
        }
        24..=27 => {
            let full = |id: &Id| {
                let party = world.parties.get(&id.domain());
                party
                    .and_then(|party| party.mailbox.as_ref())
                    .is_some_and(|mailbox| mailbox.full)
            };
            let reader = EVERYBODY
                .into_iter()
                .find(full)
                .filter(|_| !random.one_in(8));
            (
                reader.unwrap_or(random.pick(&EVERYBODY)),
                Request::RxRelease,
            )
        }
        28 if random.one_in(8) => (random.pick(&EVERYBODY), Request::RxtxUnmap),
        28 => {
            let rx = random.pick(&[32, 34, 36, 38, 32, 34, 36, 38, 0, 10, 16]);
            let owner = world.pages.get(&rx).map(|page| page.owner);
            let id = EVERYBODY
                .into_iter()
                .find(|id| owner == Some(Owner::Of(id.domain())));
            (
                id.unwrap_or(random.pick(&EVERYBODY)),
                Request::RxtxMap { rx, tx: rx + 1 },
            )
        }
        29 if random.one_in(60) => (random.pick(&EVERYBODY), Request::Death),
        29 if random.one_in(40) => (Id::HYPERVISOR, Request::VmDestroyed(random.pick(&VM))),
        _ => {
            let page = random.below(20) as u64;
            (
                random.pick(&EVERYBODY),
                Request::Touch {
                    page,
                    write: random.one_in(2),
                },
            )
        }
    };
    let oracle = Oracle {
        no_memory: random.one_in(16),
        interrupt: random.one_in(16),
    };
    Letter {
        core: random.below(world.cores.len().max(1)),
        call: by(caller, request),
        oracle,
    }
}
