// SPDX-License-Identifier: MIT OR Apache-2.0
//! FFA_MEM_RELINQUISH and RECLAIM: the order of their checks.
use crate::call::{Reclaim, Relinquish, Shape, Type};
use crate::check::{Case, Check, row};
use crate::page::Kind;
use crate::world::{Held, Phase, Transaction};
use bulkhead_abi::FfaError::{Denied, InvalidParameters};

fn borrowed<'a>(case: &Case<'a, Relinquish>) -> Option<&'a Transaction> {
    let live = case.world.transaction(case.call.handle)?;
    live.receiver(*case.call.endpoints.first()?)?;
    Some(live)
}

fn held<'a>(case: &Case<'a, Relinquish>) -> Option<&'a Held> {
    borrowed(case)?.held.get(case.call.endpoints.first()?)
}

fn is_memory(live: &Transaction) -> bool {
    live.pages
        .iter()
        .all(|(_, mapping)| mapping.kind == Kind::Normal)
}

/// RELINQUISH.
pub const RELINQUISH: &[Check<Relinquish>] = &[
    row(
        "S1",
        "the caller has a TX buffer and the bytes decode",
        InvalidParameters,
        |case| case.mailbox().is_some() && case.call.shape == Shape::Good,
    ),
    row(
        "T16",
        "one endpoint: the caller, or one of its VMs",
        InvalidParameters,
        |case| matches!(case.call.endpoints[..], [only] if only.domain() == case.from),
    ),
    row("T16", "no other flag", InvalidParameters, |case| {
        !case.call.other_flags
    }),
    row(
        "H2",
        "a live handle, and a borrower of it",
        InvalidParameters,
        |case| borrowed(case).is_some(),
    ),
    row(
        "T16",
        "complete and not a donation",
        InvalidParameters,
        |case| {
            borrowed(case)
                .is_some_and(|live| live.phase == Phase::Sent && live.sent.kind != Type::Donate)
        },
    ),
    row("T16", "retrieved", Denied, |case| held(case).is_some()),
    row(
        "T19",
        "its description is fetched to the end",
        InvalidParameters,
        |case| {
            let count = borrowed(case).map_or(0, |live| live.sent.count);
            held(case).is_none_or(|held| held.told == count)
        },
    ),
    row(
        "T9",
        "nothing to zero in a share",
        InvalidParameters,
        |case| !case.call.zero || borrowed(case).is_some_and(|live| live.sent.kind == Type::Lend),
    ),
    row("T9", "zeroed by who may write memory", Denied, |case| {
        let memory = borrowed(case).is_some_and(is_memory);
        !case.call.zero || (memory && held(case).is_some_and(|held| held.access.write))
    }),
];

fn live<'a>(case: &Case<'a, Reclaim>) -> Option<&'a Transaction> {
    case.world.transaction(case.call.handle)
}

/// RECLAIM.
pub const RECLAIM: &[Check<Reclaim>] = &[
    row("T20", "no other flag", InvalidParameters, |case| {
        !case.call.other_flags
    }),
    row("H2", "a live handle (T23)", InvalidParameters, |case| {
        live(case).is_some()
    }),
    row("T20", "the caller's", Denied, |case| {
        live(case).is_some_and(|live| live.sent.sender.domain() == case.from)
    }),
    row("T22", "not donated away", Denied, |case| {
        live(case).is_some_and(|live| live.phase != Phase::Taken)
    }),
    row("T20b", "no borrower has it", Denied, |case| {
        live(case).is_some_and(|live| live.held.is_empty())
    }),
    row("A-49", "zeroed by who may write memory", Denied, |case| {
        !case.call.zero || live(case).is_some_and(|live| is_memory(live) && live.ceiling().write)
    }),
];
