// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls of memory sharing, by partitions and by the normal world; and what holds of all memory when no core
//! is in the SPMC (O1 to O8).

use bulkhead_abi::memory::Handle;
use bulkhead_abi::memory::registers::Fragment;
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Version, Width};
use bulkhead_mm::addr::Pa;
use bulkhead_mm::attrs::Space;
use bulkhead_mm::owner::{Hold, Owner};
use bulkhead_sim::sharing::{Retrieve, Send, Who, run};
use bulkhead_sim::{call, error, ffa};

use crate::errand::Errand;
use crate::machine::{NORMAL_MEMORY, PAGE, image};
use crate::program::Deed;
use crate::rest;
use crate::world::{Core, NORMAL_PAGES, Outcome, SHARES, id, refusal};

/// The first page of each endpoint's memory that scenarios send.
const FIRST: u64 = 16;
/// How many pages of each endpoint are looked at after a schedule, from [`FIRST`] on: more than most scenarios send.
const LOOKED_AT: u64 = 8;

/// The address of a page of an endpoint, of which there are few.
pub fn page(who: Who, number: u64) -> u64 {
    let base = match who {
        Who::Normal => NORMAL_MEMORY,
        Who::Sp(index) => image(index),
    };
    base + (FIRST + number) * PAGE
}

/// What a call ended with: registers, or the error; `None` if its context did not come back from it, or was not
/// entered for it.
pub type Ending = Option<Result<Registers, FfaError>>;

/// A transaction that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// What was sent.
    pub send: Send,
    /// By whom.
    pub sender: Who,
    /// The handle.
    pub handle: Handle,
}

/// A donation, lend or share of pages from `first` on, as constituents of one page each, to the partitions `to`.
pub fn sending(function: Function, from: Who, to: &[Who], first: u64, count: u64) -> Send {
    let pages: Vec<_> = (first..first + count)
        .map(|number| run(page(from, number), 1))
        .collect();
    Send::new(function, from, to, &pages)
}

/// The call that sends; all but the last `later` constituents are in the first fragment.
pub fn send(send: &Send, later: usize) -> Errand {
    let mut tx = send.encode(Version::V1_2);
    let total = tx.len() as u64;
    tx.truncate(tx.len() - 16 * later);
    let call = ffa(send.function, [total, tx.len() as u64, 0, 0]);
    Errand { call, tx }
}

/// FFA_MEM_FRAG_TX of some constituents of `send`, as fragment of the transaction with `handle`.
pub fn fragment(send: &Send, sender: Who, handle: Handle, from: usize, count: usize) -> Errand {
    let all = send.encode(Version::V1_2);
    let head = all.len() - 16 * send.constituents.len();
    let tx = all[head + 16 * from..head + 16 * (from + count)].to_vec();
    let fragment = Fragment {
        handle,
        position: u32::try_from(tx.len()).expect("small"),
        endpoint: named(sender),
    };
    Errand {
        call: call(fragment.transmit()),
        tx,
    }
}

/// FFA_MEM_FRAG_RX from `position` on.
pub fn more(sent: &Sent, who: Who, position: u32) -> Errand {
    let fragment = Fragment {
        handle: sent.handle,
        position,
        endpoint: named(who),
    };
    plain(call(fragment.receive()))
}

fn named(who: Who) -> EndpointId {
    match who {
        Who::Normal => who.id(),
        Who::Sp(_) => EndpointId(0),
    }
}

/// FFA_MEM_RETRIEVE_REQ.
pub fn retrieve(sent: &Sent) -> Errand {
    let tx = Retrieve::of(&sent.send, sent.handle).encode(Version::V1_2);
    let length = tx.len() as u64;
    let call = ffa(Function::MemRetrieveReq, [length, length, 0, 0]);
    Errand { call, tx }
}

/// FFA_MEM_RELINQUISH.
pub fn relinquish(sent: &Sent, who: Who, flags: u32) -> Errand {
    let mut tx = sent.handle.0.to_le_bytes().to_vec();
    tx.extend(flags.to_le_bytes());
    tx.extend(1_u32.to_le_bytes());
    tx.extend(who.id().0.to_le_bytes());
    let call = ffa(Function::MemRelinquish, [0; 4]);
    Errand { call, tx }
}

/// FFA_MEM_RECLAIM.
pub fn reclaim(sent: &Sent, flags: u32) -> Errand {
    let (low, high) = sent.handle.to_words();
    let words = [u64::from(low), u64::from(high), u64::from(flags), 0];
    plain(ffa(Function::MemReclaim, words))
}

fn plain(call: Registers) -> Errand {
    Errand {
        call,
        tx: Vec::new(),
    }
}

/// The handle in an answer to a send or to one of its fragments.
pub fn handle(answer: &Registers) -> Handle {
    if answer.x[0] == Function::MemFragRx.id(Width::W32) {
        return Fragment::decode(answer).handle;
    }
    bulkhead_sim::assert_function(answer, Function::Success);
    Handle::from_words(answer.w::<2>(), answer.w::<3>())
}

/// Has an endpoint make a call on `core`, and release RX then.
pub fn make(core: &mut Core, who: Who, errand: Errand) -> Ending {
    match who {
        Who::Normal => {
            core.machine.write_tx(0, &errand.tx);
            let answer = core.call(&errand.call);
            core.call(&ffa(Function::RxRelease, [0; 4]));
            Some(ended(answer))
        }
        Who::Sp(index) => {
            let number = core.world.errands.keep(errand);
            let outcome = core.ask(index, &[Deed::Errand(number), Deed::Release]);
            assert!(
                matches!(
                    outcome,
                    Outcome::Answer(_) | Outcome::Error(FfaError::Aborted)
                ),
                "{outcome:?}"
            );
            core.world.errands.answer(number).map(ended)
        }
    }
}

fn ended(answer: Registers) -> Result<Registers, FfaError> {
    match error(&answer) {
        Some(code) => Err(refusal(code)),
        None => Ok(answer),
    }
}

/// As [`make`], of a partition that lives.
pub fn done(core: &mut Core, who: Who, errand: Errand) -> Result<Registers, FfaError> {
    make(core, who, errand).expect("the call of a partition that lives comes back")
}

/// Sends all of it.
pub fn sent(core: &mut Core, sender: Who, sending: &Send) -> Sent {
    let answer = done(core, sender, send(sending, 0)).expect("a transaction");
    Sent {
        send: sending.clone(),
        sender,
        handle: handle(&answer),
    }
}

fn is_ended(core: &Core, who: Who) -> bool {
    matches!(who, Who::Sp(index) if core.world.is_ended(index))
}

fn everyone(core: &Core) -> impl Iterator<Item = Who> + use<> {
    let partitions = (0..core.world.specs.len()).map(Who::Sp);
    partitions.chain([Who::Normal])
}

/// Fails unless O1 to O8 hold of the pages that scenarios send.
pub fn check(core: &Core) {
    for who in everyone(core) {
        let space = match who {
            Who::Normal => Space::NonSecure,
            Who::Sp(_) => Space::Secure,
        };
        for number in 0..LOOKED_AT {
            check_page(core, space, page(who, number));
        }
    }
    // What ended has nothing of others any more (K7).
    for index in 0..core.world.specs.len() {
        let others = core.machine.with_memory(|memory| memory.others(index));
        for (space, page) in others {
            let owner = core.world.spmc.owners.state(space, Pa(page)).owner;
            let own = owner == Owner::Partition(id(index).0);
            let ended = core.world.is_ended(index);
            assert!(own || !ended, "K7: {} has {page:#x} still", id(index));
        }
    }
}

fn check_page(core: &Core, space: Space, page: u64) {
    let state = core.world.spmc.owners.state(space, Pa(page));
    let entry = |index| {
        core.machine
            .with_memory(|memory| memory.has(index, space, page))
    };
    let owner = match state.owner {
        Owner::NormalWorld => None,
        Owner::Partition(of) => (0..core.world.specs.len()).find(|index| id(*index).0 == of),
        other => panic!("O1: {page:#x} is {other:?}'s"),
    };
    let borrowable = matches!(state.hold, Hold::Shared(_) | Hold::Lent(_));
    assert!(
        !matches!(state.hold, Hold::Claimed(_)),
        "O13: {page:#x} is in the middle of something"
    );
    for index in (0..core.world.specs.len()).filter(|index| Some(*index) != owner) {
        if let Some(entry) = entry(index) {
            assert!(
                borrowable && !entry.suspended,
                "O2, O4: {} has {page:#x}, which is {state:?}",
                id(index)
            );
        }
    }
    let Some(owner) = owner.filter(|owner| !core.world.is_ended(*owner)) else {
        return;
    };
    let suspended = matches!(state.hold, Hold::Lent(_) | Hold::Donated(_));
    let entry = entry(owner).unwrap_or_else(|| panic!("O1: {page:#x} is not there: {state:?}"));
    assert_eq!(entry.suspended, suspended, "O4: {page:#x} {state:?}");
}

/// Everyone gives back what it has, and takes back what it sent; then all pages are their owners' alone, the pool is
/// full, every place for a transaction is free, and everything else is as [`rest::settle`] says.
pub fn settle(mut cores: Vec<Core>, all: &[Sent]) {
    check(&cores[0]);
    let core = &mut cores[0];
    for sent in all {
        for (receiver, _) in &sent.send.receivers {
            let who = everyone(core).find(|who| who.id() == *receiver);
            let who = who.expect("a known receiver");
            if !is_ended(core, who) {
                let result = done(core, who, relinquish(sent, who, 0));
                assert!(
                    matches!(
                        result,
                        Ok(_) | Err(FfaError::InvalidParameters | FfaError::Denied)
                    ),
                    "{result:?}"
                );
            }
        }
        check(core);
        if !is_ended(core, sent.sender) {
            let result = done(core, sent.sender, reclaim(sent, 0)).map(|_| ());
            assert!(
                matches!(result, Ok(()) | Err(FfaError::InvalidParameters)),
                "T20: nobody has it, and it is not given back: {result:?}"
            );
            let again = done(core, sent.sender, reclaim(sent, 0)).map(|_| ());
            assert_eq!(again, Err(FfaError::InvalidParameters), "T23");
        }
        check(core);
    }
    for who in everyone(core) {
        let space = match who {
            Who::Normal => Space::NonSecure,
            Who::Sp(_) => Space::Secure,
        };
        for number in 0..LOOKED_AT {
            let state = core.world.spmc.owners.state(space, Pa(page(who, number)));
            assert_eq!(
                state.hold,
                Hold::Exclusive,
                "O7: page {number} of {who:?} stays in a transaction"
            );
        }
    }
    let taken = core.machine.with_memory(|memory| memory.taken());
    assert_eq!(taken, 0, "O1: pages of the pool are lost");
    places(core);
    rest::settle(cores);
}

/// There is a place for as many transactions as there are at all.
fn places(core: &mut Core) {
    let Some(receiver) = everyone(core).find(|who| !is_ended(core, *who)) else {
        return;
    };
    if receiver == Who::Normal {
        return;
    }
    let last = NORMAL_PAGES - FIRST - 1;
    let all: Vec<Sent> = (0..u64::try_from(SHARES).expect("small"))
        .map(|number| {
            let share = sending(
                Function::MemShare,
                Who::Normal,
                &[receiver],
                last - number,
                1,
            );
            sent(core, Who::Normal, &share)
        })
        .collect();
    for sent in all {
        done(core, Who::Normal, reclaim(&sent, 0)).expect("it is the normal world's");
    }
}
