// SPDX-License-Identifier: MIT OR Apache-2.0
//! FFA_MEM_SHARE, LEND, DONATE and FRAG_TX: the order of their checks.
use crate::call::{Constituent, Data, FragTx, Instruction, Send, Shape, Type, TypeField};
use crate::check::{Case, Check, row};
use crate::page::{Domain, Hold, Id, Kind, Mapping, Owner, PAGE_SIZE, Page};
use crate::world::{Phase, Transaction, World, page_numbers};
use bulkhead_abi::FfaError::{Aborted, Denied, InvalidParameters, NoMemory};
use std::collections::BTreeSet;

/// Whether the sender decides attributes and the receivers may not: share, and lend to many.
fn sender_decides(send: &Send) -> bool {
    send.kind == Type::Share || (send.kind == Type::Lend && send.receivers.len() != 1)
}

fn all_receivers(case: &Case<Send>, holds: impl Fn(Id) -> bool) -> bool {
    case.call
        .receivers
        .iter()
        .all(|receiver| holds(receiver.id))
}

fn normal_world_receivers(send: &Send) -> usize {
    send.receivers
        .iter()
        .filter(|receiver| receiver.id.domain() == Domain::NormalWorld)
        .count()
}

/// Whether each is aligned and has pages, within 64 bits.
fn are_pages(constituents: &[Constituent]) -> bool {
    constituents.iter().all(|run| {
        let end = (run.address).checked_add(u64::from(run.count) * PAGE_SIZE);
        run.count != 0
            && run.address.is_multiple_of(PAGE_SIZE)
            && end.is_some_and(|end| end <= 1 << 52)
    })
}

/// Whether the constituents that have come have the declared pages, or leave a page for each that is missing.
fn adds_up(send: &Send, come: &[Constituent]) -> bool {
    let sum: u64 = come.iter().map(|run| u64::from(run.count)).sum();
    let missing = u64::from(send.count).saturating_sub(come.len() as u64);
    let pages = u64::from(send.pages);
    sum + missing <= pages && (missing != 0 || sum == pages)
}

/// What the first call says of the transaction. Checked in this order, before any memory is looked at.
pub const HEADER: &[Check<Send>] = &[
    row(
        "S1",
        "the caller has a TX buffer and the bytes decode",
        InvalidParameters,
        |case| case.mailbox().is_some() && case.call.shape == Shape::Good,
    ),
    row(
        "S2",
        "no more constituents than declared",
        InvalidParameters,
        |case| case.call.constituents.len() as u64 <= u64::from(case.call.count),
    ),
    row("S15", "no handle", InvalidParameters, |case| {
        case.call.handle == 0
    }),
    row("S42", "NS bit clear", InvalidParameters, |case| {
        !case.call.ns
    }),
    row("S45", "no other flag", InvalidParameters, |case| {
        !case.call.other_flags
    }),
    row("S5", "there is a receiver", InvalidParameters, |case| {
        !case.call.receivers.is_empty()
    }),
    row(
        "S9",
        "constituents are declared",
        InvalidParameters,
        |case| case.call.count != 0,
    ),
    row(
        "S11",
        "no empty constituent, aligned (S12), within 52 bits (S13)",
        InvalidParameters,
        |case| are_pages(&case.call.constituents),
    ),
    row(
        "S10",
        "as many pages as declared, or at least one for each that is missing",
        InvalidParameters,
        |case| adds_up(case.call, &case.call.constituents),
    ),
    row(
        "S18",
        "the sender is the caller, or one of its VMs",
        Denied,
        |case| case.call.sender.domain() == case.from && case.world.knows(case.call.sender),
    ),
    row("S44", "no time slicing", InvalidParameters, |case| {
        !case.call.time_slice
    }),
    row(
        "S43",
        "nothing to zero in a share",
        InvalidParameters,
        |case| !(case.call.zero && case.call.kind == Type::Share),
    ),
    row(
        "S22",
        "one receiver of a donation",
        InvalidParameters,
        |case| case.call.kind != Type::Donate || case.call.receivers.len() == 1,
    ),
    row(
        "S19",
        "no receiver is the sender",
        InvalidParameters,
        |case| all_receivers(case, |id| id != case.call.sender),
    ),
    row("S20", "no receiver twice", InvalidParameters, |case| {
        let ids: BTreeSet<_> = case
            .call
            .receivers
            .iter()
            .map(|receiver| receiver.id)
            .collect();
        ids.len() == case.call.receivers.len()
    }),
    row("S21", "receivers exist", InvalidParameters, |case| {
        all_receivers(case, |id| case.world.knows(id))
    }),
    row(
        "S23",
        "a partition's receivers are partitions",
        Denied,
        |case| case.from == Domain::NormalWorld || normal_world_receivers(case.call) == 0,
    ),
    row(
        "S24",
        "one receiver is a partition; beside it at most one VM, of a share",
        Denied,
        |case| match normal_world_receivers(case.call) {
            0 => true,
            1 => case.call.receivers.len() > 1 && case.call.kind == Type::Share,
            _ => false,
        },
    ),
    row("S25", "receivers live", Aborted, |case| {
        all_receivers(case, |id| {
            case.world
                .parties
                .get(&id.domain())
                .is_some_and(|party| party.alive)
        })
    }),
    row(
        "A-41",
        "data access is given for share and lend only",
        InvalidParameters,
        |case| {
            let donation = case.call.kind == Type::Donate;
            case.call
                .receivers
                .iter()
                .all(|receiver| (receiver.data == Data::Unspecified) == donation)
        },
    ),
    row(
        "S39",
        "instruction access is not given",
        InvalidParameters,
        |case| {
            case.call
                .receivers
                .iter()
                .all(|receiver| receiver.instruction == Instruction::Unspecified)
        },
    ),
    row(
        "A-41",
        "no memory type for a donation or one borrower's lend",
        InvalidParameters,
        |case| sender_decides(case.call) || case.call.memory == TypeField::Unspecified,
    ),
    row(
        "S41",
        "a memory type that is supported otherwise",
        Denied,
        |case| !sender_decides(case.call) || matches!(case.call.memory, TypeField::Is(_)),
    ),
    row("TX6", "quota and memory for a record", NoMemory, |case| {
        let quota = case.party().map_or(0, |party| party.quota);
        let whole = case.call.count as usize == case.call.constituents.len();
        // A complete call is refused for what it says of memory first: its record comes last.
        whole || (case.world.used(case.from) < quota && has_record(case))
    }),
];

fn has_record(case: &Case<Send>) -> bool {
    !case.oracle.no_memory && case.world.slots.iter().any(|slot| slot.live.is_none())
}

fn mapping<'a>(case: &Case<'a, Send>, number: u64) -> Option<(&'a Page, &'a Mapping)> {
    let page = case.world.pages.get(&number)?;
    Some((page, page.map.get(&case.call.sender.domain())?))
}

fn all_pages(case: &Case<Send>, holds: impl Fn(&Page, &Mapping) -> bool) -> bool {
    page_numbers(&case.call.constituents)
        .all(|number| mapping(case, number).is_some_and(|(page, mapping)| holds(page, mapping)))
}

fn one_value<T: Ord>(case: &Case<Send>, of: impl Fn(&Page) -> T) -> bool {
    let values: BTreeSet<T> = page_numbers(&case.call.constituents)
        .filter_map(|number| case.world.pages.get(&number))
        .map(of)
        .collect();
    values.len() <= 1
}

/// What all constituents say together; with the last fragment, or at once.
pub const MEMORY: &[Check<Send>] = &[
    row("S26", "no overlap", InvalidParameters, |case| {
        let mut runs: Vec<_> = case
            .call
            .constituents
            .iter()
            .map(|run| (run.address, run.count))
            .collect();
        runs.sort_unstable();
        runs.windows(2)
            .all(|pair| pair[0].0 + u64::from(pair[0].1) * PAGE_SIZE <= pair[1].0)
    }),
    row(
        "S27",
        "mapped at the sender, so not a hole or others' (S34, S35)",
        Denied,
        |case| all_pages(case, |_, _| true),
    ),
    row("S28", "owned by the sender", Denied, |case| {
        let owner = Owner::Of(case.call.sender.domain());
        page_numbers(&case.call.constituents).all(|number| {
            case.world
                .pages
                .get(&number)
                .is_some_and(|page| page.owner == owner)
        })
    }),
    row("S29", "in no other transaction", Denied, |case| {
        all_pages(case, |page, _| page.hold == Hold::Exclusive)
    }),
    row("S33", "no mailbox page", Denied, |case| {
        page_numbers(&case.call.constituents).all(|number| !case.world.is_mailbox(number))
    }),
    row("S31", "of one space", Denied, |case| {
        one_value(case, |page| page.space)
    }),
    row(
        "S40",
        "of one memory type, that which is given",
        Denied,
        |case| {
            let given = |kind| match case.call.memory {
                TypeField::Is(memory) => memory == kind,
                _ => true,
            };
            one_value(case, |page| page.kind) && all_pages(case, |page, _| given(page.kind))
        },
    ),
    row(
        "S32",
        "devices are lent to one borrower only, and not zeroed",
        Denied,
        |case| {
            let lend =
                case.call.kind == Type::Lend && case.call.receivers.len() == 1 && !case.call.zero;
            lend || all_pages(case, |page, _| page.kind == Kind::Normal)
        },
    ),
    row(
        "S38",
        "nobody is given more than the sender has",
        Denied,
        |case| {
            let writes = case
                .call
                .receivers
                .iter()
                .any(|receiver| receiver.data == Data::ReadWrite);
            !writes || all_pages(case, |_, mapping| mapping.access.write)
        },
    ),
    row("S43", "who cannot write cannot zero", Denied, |case| {
        !case.call.zero || all_pages(case, |_, mapping| mapping.access.write)
    }),
];

/// What a record needs, after every other check.
pub const RECORD: &[Check<Send>] = &[row(
    "TX6",
    "quota and memory for a record",
    NoMemory,
    |case| {
        let quota = case.party().map_or(0, |party| party.quota);
        case.world.used(case.from) < quota && has_record(case)
    },
)];

fn filling<'a>(case: &Case<'a, FragTx>) -> Option<&'a Transaction> {
    case.world.transaction(case.call.handle)
}

/// FRAG_TX: whose transaction it is. A refusal here changes nothing.
pub const FRAGMENT_OWNER: &[Check<FragTx>] = &[
    row(
        "F1",
        "the caller's transaction, with a TX buffer",
        InvalidParameters,
        |case| {
            case.mailbox().is_some()
                && filling(case).is_some_and(|live| live.sent.sender.domain() == case.from)
        },
    ),
    row(
        "F4",
        "the sender's id from the normal world, 0 from a partition",
        InvalidParameters,
        |case| {
            let wanted = match case.from {
                Domain::NormalWorld => filling(case).map(|live| live.sent.sender),
                Domain::Partition(_) => Some(Id(0)),
            };
            wanted == Some(case.call.sender)
        },
    ),
    row("F2", "not complete yet", InvalidParameters, |case| {
        filling(case).is_some_and(|live| live.phase == Phase::Filling)
    }),
];

/// FRAG_TX: the fragment. A refusal here ends the transaction (F3).
pub const FRAGMENT: &[Check<FragTx>] = &[row(
    "F3",
    "whole constituents, some, not more than are missing (F5)",
    InvalidParameters,
    |case| {
        let missing = filling(case).map_or(0, |live| {
            u64::from(live.sent.count) - live.sent.constituents.len() as u64
        });
        let brings = case.call.constituents.len() as u64;
        let pages = are_pages(&case.call.constituents);
        let fits = filling(case).is_some_and(|live| {
            let come = [&live.sent.constituents[..], &case.call.constituents].concat();
            adds_up(&live.sent, &come)
        });
        case.call.shape == Shape::Good && brings != 0 && brings <= missing && pages && fits
    },
)];

/// FRAG_TX: memory for the fragment. A refusal here changes nothing: the same fragment may come again.
pub const FRAGMENT_RECORD: &[Check<FragTx>] =
    &[row("F7", "memory for the fragment", NoMemory, |case| {
        !case.oracle.no_memory
    })];

/// The pages of a checked descriptor with the sender's mappings.
pub fn pages(world: &World, send: &Send) -> Vec<(u64, Mapping)> {
    let owner = send.sender.domain();
    page_numbers(&send.constituents)
        .filter_map(|number| Some((number, *world.pages.get(&number)?.map.get(&owner)?)))
        .collect()
}
