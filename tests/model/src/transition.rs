// SPDX-License-Identifier: MIT OR Apache-2.0
//! What holds of every step: a world, a call and the world after it.
use crate::call::{Call, Outcome, Request};
use crate::page::{Content, Hold, Owner};
use crate::world::{Phase, World};

/// The first rule that the step breaks.
pub fn check_step(
    before: &World,
    call: &Call,
    outcome: &Outcome,
    after: &World,
) -> Result<(), &'static str> {
    let rules: [(&str, bool); 7] = [
        ("O1", owners(before, call, after)),
        ("O15", contents(before, call, outcome, after)),
        ("TX1", handles(before, after)),
        ("TX3", reclaimed(before, call, outcome, after)),
        ("TX4", descriptors(before, after)),
        ("TX5", failures(before, call, outcome, after)),
        ("T20z", zeroed(before, call, outcome, after)),
    ];
    rules
        .iter()
        .find(|(_, holds)| !holds)
        .map_or(Ok(()), |(id, _)| Err(id))
}

/// O1: pages stay, and an owner changes by the retrieve of a donation only.
fn owners(before: &World, call: &Call, after: &World) -> bool {
    let same = before.pages.keys().eq(after.pages.keys());
    let pages = before.pages.values().zip(after.pages.values());
    let mut changed = pages.filter(|(old, new)| old.owner != new.owner);
    same && changed.all(|(old, new)| {
        let taken = old.hold == Hold::Donated && new.owner == Owner::Of(call.from);
        taken && matches!(call.request, Request::Retrieve(_))
    })
}

/// O15: data changes by its writer or to zero; the latter never by a call that was refused.
fn contents(before: &World, call: &Call, outcome: &Outcome, after: &World) -> bool {
    let pages = before.pages.values().zip(after.pages.values());
    let mut changed = pages.filter(|(old, new)| old.content != new.content);
    changed.all(|(old, new)| match call.request {
        Request::Touch { write: true, .. } => {
            new.content == Content::Of(call.from)
                && old.map.get(&call.from).is_some_and(|is| is.access.write)
        }
        Request::Touch { .. } => false,
        _ => new.content == Content::Zero && !matches!(outcome, Outcome::Error(_)),
    })
}

/// TX1: a handle that ended never comes back.
fn handles(before: &World, after: &World) -> bool {
    (0..before.slots.len()).all(|slot| {
        let (old, new) = (&before.slots[slot], &after.slots[slot]);
        let ended = old.live.is_some() && new.live.is_none();
        if ended {
            new.generation > old.generation
        } else {
            new.generation >= old.generation
        }
    })
}

/// TX3: a reclaim leaves no handle and the owner's mapping as it was.
fn reclaimed(before: &World, call: &Call, outcome: &Outcome, after: &World) -> bool {
    let (Request::Reclaim(reclaim), Outcome::Success) = (&call.request, outcome) else {
        return true;
    };
    let Some(live) = before.transaction(reclaim.handle) else {
        return false;
    };
    let restored = live.pages.iter().all(|(number, mapping)| {
        after.pages.get(number).is_some_and(|page| {
            let owned = page.owner == Owner::Of(call.from) && page.hold == Hold::Exclusive;
            owned && page.map.len() == 1 && page.map.get(&call.from) == Some(mapping)
        })
    });
    live.held.is_empty() && restored && after.transaction(reclaim.handle).is_none()
}

/// TX4: a complete transaction's descriptor and pages stay.
fn descriptors(before: &World, after: &World) -> bool {
    before
        .slots
        .iter()
        .zip(&after.slots)
        .filter(|(old, new)| old.generation == new.generation)
        .all(|(old, new)| {
            let (Some(old), Some(new)) = (&old.live, &new.live) else {
                return true;
            };
            let taken = new.phase == Phase::Taken;
            old.phase == Phase::Filling
                || (old.sent == new.sent && (taken || old.pages == new.pages))
        })
}

/// TX5: a refused or interrupted call changes nothing, but that a bad fragment ends its transaction (F3).
fn failures(before: &World, call: &Call, outcome: &Outcome, after: &World) -> bool {
    if !matches!(
        outcome,
        Outcome::Error(_) | Outcome::Interrupt | Outcome::Fault
    ) || before == after
    {
        return true;
    }
    let Request::FragTx(fragment) = &call.request else {
        return false;
    };
    let ended = before
        .transaction(fragment.handle)
        .is_some_and(|live| live.phase == Phase::Filling && live.sent.sender.domain() == call.from);
    ended && before.pages == after.pages && after.transaction(fragment.handle).is_none()
}

/// T20: the zero flag reaches every page.
fn zeroed(before: &World, call: &Call, outcome: &Outcome, after: &World) -> bool {
    let (Request::Reclaim(reclaim), Outcome::Success) = (&call.request, outcome) else {
        return true;
    };
    let pages = before
        .transaction(reclaim.handle)
        .map_or(&[][..], |live| &live.pages);
    let zero = |number: &u64| {
        after
            .pages
            .get(number)
            .is_some_and(|page| page.content == Content::Zero)
    };
    !reclaim.zero || pages.iter().all(|(number, _)| zero(number))
}
