// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory is sent, retrieved, relinquished and reclaimed on several cores at once (T12, T16, T20, T21, S36, S37).

use bulkhead_abi::memory::Flags;
use bulkhead_abi::memory::registers::Reclaim;
use bulkhead_abi::{FfaError, Function, Width};
use bulkhead_sim::sharing::{Send, Who};
use bulkhead_sim::{assert_function, call};

use super::all_on;
use super::notification::negotiate;
use crate::machine::{NORMAL_MEMORY, PAGE};
use crate::program::Deed;
use crate::sharing::{
    self, Sent, done, reclaim, relinquish, retrieve, send, sending, sent, settle,
};
use crate::world::{Core, Outcome, Spec, at_once, choose, pick};

/// The partition that sends.
pub(super) const SENDER: usize = 0;
/// The one that receives.
pub(super) const RECEIVER: usize = 1;
/// Each has a context on each core.
const SPECS: [Spec; 2] = [Spec::Multi, Spec::Multi];
/// The receiver sees the memory at addresses of its own.
const ELSEWHERE: [Spec; 2] = [Spec::Multi, Spec::MultiElsewhere];
/// How many pages a transaction has.
pub(super) const PAGES: u64 = 3;
/// FFA_MEM_RELINQUISH zeroes.
pub(super) const CLEAR: u32 = 1;

/// A system of partitions that have buffers, as the normal world has.
pub(super) fn office(specs: &[Spec], count: usize) -> Vec<Core> {
    let mut cores = all_on(specs, count);
    let core = &mut cores[0];
    negotiate(core);
    let map = [
        Function::RxtxMap.id(Width::W64),
        NORMAL_MEMORY,
        NORMAL_MEMORY + PAGE,
        1,
        0,
        0,
        0,
        0,
    ];
    assert_function(&core.call(&call(map)), Function::Success);
    for index in 0..specs.len() {
        assert_eq!(core.ask(index, &[Deed::Map]), Outcome::Answer(0));
    }
    let interrupts = pick(2) == 0;
    core.machine
        .with_memory(|memory| memory.interrupts = interrupts);
    cores
}

/// Any transaction of a partition or of the normal world; a lend or donation is to be zeroed, sometimes.
pub(super) fn any(kinds: &[Function], senders: &[Who]) -> (Who, Send) {
    let sender = choose(senders);
    let function = choose(kinds);
    let mut sending = sending(function, sender, &[Who::Sp(RECEIVER)], 0, PAGES);
    if function != Function::MemShare && pick(2) == 0 {
        sending.flags = Flags::CLEAR;
    }
    (sender, sending)
}

pub(super) const ANY_KIND: [Function; 3] =
    [Function::MemShare, Function::MemLend, Function::MemDonate];
const ANY_SENDER: [Who; 2] = [Who::Sp(SENDER), Who::Normal];

/// What a call ended with, without its registers.
pub(super) type Short = Result<(), FfaError>;

fn short<T>(result: Result<T, FfaError>) -> Short {
    result.map(|_| ())
}

/// The sender reclaims on one core what the receiver retrieves on the other: one of them has it.
pub fn t21_a_reclaim_races_a_retrieve() {
    let mut cores = office(&SPECS, 2);
    let (sender, sending) = any(&ANY_KIND, &ANY_SENDER);
    let sent = sent(&mut cores[0], sender, &sending);
    let all = [sent.clone()];
    let donated = sending.function == Function::MemDonate;
    let (cores, ends) = at_once(cores, move |core| match core.index() {
        0 => short(done(
            core,
            sent.sender,
            reclaim(&sent, u32::from(pick(2) == 0) * Reclaim::CLEAR),
        )),
        _ => short(done(core, Who::Sp(RECEIVER), retrieve(&sent))),
    });
    let (reclaimed, retrieved) = (ends[0], ends[1]);
    match reclaimed {
        Ok(()) => assert_eq!(retrieved, Err(FfaError::InvalidParameters), "T21"),
        Err(error) => {
            let ended = match donated {
                true => FfaError::InvalidParameters,
                false => FfaError::Denied,
            };
            assert_eq!((error, retrieved), (ended, Ok(())), "T21");
        }
    }
    settle(cores, &all);
}

/// The receiver relinquishes on one core what its sender reclaims on the other.
pub fn t20_t21_a_reclaim_races_a_relinquish() {
    let mut cores = office(&SPECS, 2);
    let (sender, sending) = any(&ANY_KIND[..2], &ANY_SENDER);
    let sent = sent(&mut cores[0], sender, &sending);
    done(&mut cores[0], Who::Sp(RECEIVER), retrieve(&sent)).expect("it is there");
    let all = [sent.clone()];
    let lent = sending.function == Function::MemLend;
    let (cores, ends) = at_once(cores, move |core| match core.index() {
        0 => short(done(
            core,
            sent.sender,
            reclaim(&sent, u32::from(pick(2) == 0) * Reclaim::CLEAR),
        )),
        _ => {
            let flags = if lent && pick(2) == 0 { CLEAR } else { 0 };
            let who = Who::Sp(RECEIVER);
            short(done(core, who, relinquish(&sent, who, flags)))
        }
    });
    assert_eq!(ends[1], Ok(()), "T21");
    assert!(
        matches!(ends[0], Ok(()) | Err(FfaError::Denied)),
        "T20: {ends:?}"
    );
    settle(cores, &all);
}

/// Two contexts of the receiver retrieve the same transaction: it has it once.
pub fn t12_two_contexts_of_a_receiver_retrieve() {
    let mut cores = office(&SPECS, 2);
    let (sender, sending) = any(&ANY_KIND, &ANY_SENDER);
    let sent = sent(&mut cores[0], sender, &sending);
    let all = [sent.clone()];
    let donated = sending.function == Function::MemDonate;
    let (cores, ends) = at_once(cores, move |core| {
        short(done(core, Who::Sp(RECEIVER), retrieve(&sent)))
    });
    let won = ends.iter().filter(|end| end.is_ok()).count();
    assert_eq!(won, 1, "T12: {ends:?}");
    let lost = match donated {
        true => FfaError::InvalidParameters,
        false => FfaError::Denied,
    };
    // RX may be the other context's still (T2).
    let fine = |end: &Short| end.is_ok() || [Err(lost), Err(FfaError::Busy)].contains(end);
    assert!(ends.iter().all(fine), "T12: {ends:?}");
    settle(cores, &all);
}

/// Two contexts of the receiver relinquish the same transaction: it leaves once.
pub fn t16_two_contexts_of_a_receiver_relinquish() {
    let mut cores = office(&SPECS, 2);
    let (sender, sending) = any(&ANY_KIND[..2], &ANY_SENDER);
    let sent = sent(&mut cores[0], sender, &sending);
    let who = Who::Sp(RECEIVER);
    done(&mut cores[0], who, retrieve(&sent)).expect("it is there");
    let flags = if sending.function == Function::MemLend && pick(2) == 0 {
        CLEAR
    } else {
        0
    };
    let all = [sent.clone()];
    let (cores, mut ends) = at_once(cores, move |core| {
        short(done(core, who, relinquish(&sent, who, flags)))
    });
    ends.sort_by_key(|end| end.is_err());
    assert_eq!(ends, [Ok(()), Err(FfaError::Denied)], "T16");
    settle(cores, &all);
}

/// The sender reclaims the same transaction on two cores: it ends once, and whoever comes too late can send its pages
/// again.
pub fn t20_t23_two_cores_reclaim() {
    let mut cores = office(&SPECS, 2);
    let (sender, sending) = any(&ANY_KIND, &ANY_SENDER);
    let first = sent(&mut cores[0], sender, &sending);
    let mut all = vec![first.clone()];
    let (cores, ends) = at_once(cores, move |core| {
        let flags = u32::from(pick(2) == 0) * Reclaim::CLEAR;
        let end = short(done(core, sender, reclaim(&first, flags)));
        if end.is_ok() {
            return (end, None);
        }
        let again = done(core, sender, send(&first.send, 0));
        let answer = again.expect("T23: the transaction has ended, and its pages are in it");
        let again = Sent {
            handle: sharing::handle(&answer),
            ..first.clone()
        };
        (end, Some(again))
    });
    let (mut ends, again): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
    ends.sort_by_key(|end| end.is_err());
    assert_eq!(ends, [Ok(()), Err(FfaError::InvalidParameters)], "T20, T23");
    all.extend(again.into_iter().flatten());
    settle(cores, &all);
}

/// Two contexts of a partition send pages of which they have one in common: one of them does.
pub fn s37_two_cores_send_overlapping_pages() {
    let cores = office(&SPECS, 2);
    let sender = choose(&ANY_SENDER);
    // Both have the same TX: what is read there is the one descriptor or the other.
    let kind = choose(&ANY_KIND);
    let (cores, ends) = at_once(cores, move |core| {
        // The last page of one is the first of the other.
        let first = u64::try_from(core.index()).expect("small") * (PAGES - 1);
        let receivers = [Who::Sp(RECEIVER)];
        let sending = sending(kind, sender, &receivers, first, PAGES);
        let result = done(core, sender, send(&sending, 0));
        result.map(|answer| Sent {
            send: sending,
            sender,
            handle: sharing::handle(&answer),
        })
    });
    let won: Vec<Sent> = ends.iter().flatten().cloned().collect();
    assert_eq!(won.len(), 1, "S37: {ends:?}");
    let mut lost = ends.iter().filter_map(|end| end.as_ref().err());
    assert!(
        lost.all(|error| *error == FfaError::Denied),
        "S37: {ends:?}"
    );
    settle(cores, &won);
}

/// The sender shares the pages again that the receiver of its donation is taking.
pub fn s36_a_donation_is_retrieved_and_its_pages_sent_again() {
    let mut cores = office(&SPECS, 2);
    let donation = sending(
        Function::MemDonate,
        Who::Sp(SENDER),
        &[Who::Sp(RECEIVER)],
        0,
        PAGES,
    );
    let donation = sent(&mut cores[0], Who::Sp(SENDER), &donation);
    let mut all = vec![donation.clone()];
    let (cores, ends) = at_once(cores, move |core| {
        if core.index() == 1 {
            done(core, Who::Sp(RECEIVER), retrieve(&donation)).expect("it is there");
            // What it owns now it can send.
            let mut back = donation.send.clone();
            back.function = Function::MemLend;
            back.sender = Who::Sp(RECEIVER).id();
            back.receivers = vec![(
                Who::Sp(SENDER).id(),
                bulkhead_abi::memory::attributes::DataAccess::ReadWrite,
            )];
            let sender = Who::Sp(RECEIVER);
            return Some(sent(core, sender, &back));
        }
        let again = sending(
            choose(&ANY_KIND),
            Who::Sp(SENDER),
            &[Who::Sp(RECEIVER)],
            PAGES - 1,
            2,
        );
        let result = short(done(core, Who::Sp(SENDER), send(&again, 0)));
        assert_eq!(result, Err(FfaError::Denied), "S36");
        None
    });
    all.extend(ends.into_iter().flatten());
    settle(cores, &all);
}

/// Two receivers come and go while the sender tries to reclaim.
pub fn t18_t20_two_receivers_come_and_go_while_the_sender_reclaims() {
    const SECOND: usize = 2;
    let mut cores = office(&[Spec::Multi, Spec::Multi, Spec::Multi], 3);
    let sender = choose(&ANY_SENDER);
    let receivers = [Who::Sp(RECEIVER), Who::Sp(SECOND)];
    let function = choose(&ANY_KIND[..2]);
    let mut sending = sending(function, sender, &receivers, 0, 2);
    if function == Function::MemLend && pick(2) == 0 {
        sending.flags = Flags::CLEAR;
    }
    let sent = sent(&mut cores[0], sender, &sending);
    let all = [sent.clone()];
    let (cores, ends) = at_once(cores, move |core| {
        if core.index() == 0 {
            return (short(done(core, sent.sender, reclaim(&sent, 0))), None);
        }
        let who = Who::Sp(core.index());
        let came = short(done(core, who, retrieve(&sent)));
        let flags = if function == Function::MemLend && pick(2) == 0 {
            CLEAR
        } else {
            0
        };
        (
            came,
            Some(short(done(core, who, relinquish(&sent, who, flags)))),
        )
    });
    let invalid = Err(FfaError::InvalidParameters);
    let (reclaimed, _) = ends[0];
    for (came, left) in &ends[1..] {
        match came {
            Ok(()) => assert_eq!(*left, Some(Ok(())), "T16"),
            _ => {
                assert_eq!((*came, *left), (invalid, Some(invalid)), "T21, T23");
                assert_eq!(reclaimed, Ok(()), "T21");
            }
        }
    }
    assert!(
        matches!(reclaimed, Ok(()) | Err(FfaError::Denied)),
        "T20: {reclaimed:?}"
    );
    settle(cores, &all);
}

/// The sender reclaims, and sends something else, while the receiver retrieves by the old handle.
pub fn h2_t23_an_old_handle_names_nothing_else() {
    let mut cores = office(&SPECS, 2);
    let (sender, sending) = any(&ANY_KIND, &ANY_SENDER);
    let old = sent(&mut cores[0], sender, &sending);
    let all = [old.clone()];
    let (cores, ends) = at_once(cores, move |core| {
        if core.index() == 1 {
            return (short(done(core, Who::Sp(RECEIVER), retrieve(&old))), None);
        }
        let reclaimed = short(done(core, sender, reclaim(&old, 0)));
        let next = sharing::sending(old.send.function, sender, &[Who::Sp(RECEIVER)], PAGES, 1);
        (reclaimed, Some(sent(core, sender, &next)))
    });
    let ((reclaimed, next), (retrieved, _)) = (ends[0].clone(), ends[1].clone());
    let next = next.expect("another one");
    assert_ne!(next.handle, all[0].handle, "H2");
    assert_ne!(
        reclaimed.is_ok(),
        retrieved.is_ok(),
        "H2, T21: {retrieved:?}"
    );
    settle(cores, &[all[0].clone(), next]);
}

/// Two contexts of a receiver retrieve a transaction each, and leave: both get their place among the receiver's own
/// addresses.
pub fn a59_two_contexts_of_a_receiver_look_for_a_place() {
    let mut cores = office(&ELSEWHERE, 2);
    let kinds = &ANY_KIND[..2];
    let sender = choose(&ANY_SENDER);
    let all = [0, PAGES].map(|first| {
        let sending = sending(choose(kinds), sender, &[Who::Sp(RECEIVER)], first, PAGES);
        sent(&mut cores[0], sender, &sending)
    });
    let transactions = all.clone();
    let leaves = pick(2) == 0;
    let (cores, ends) = at_once(cores, move |core| {
        let who = Who::Sp(RECEIVER);
        let own = &transactions[core.index()];
        let came = short(done(core, who, retrieve(own)));
        // Both use one TX and one RX: it may have asked for what the other one has, or for nothing that makes sense.
        let fine = |end: Short| {
            use FfaError::{Busy, Denied, InvalidParameters};
            matches!(end, Ok(()) | Err(Busy | Denied | InvalidParameters))
        };
        assert!(fine(came), "A-59: {came:?}");
        if leaves && came.is_ok() {
            let left = short(done(core, who, relinquish(own, who, 0)));
            assert!(fine(left), "T16: {left:?}");
        }
        came
    });
    assert!(ends.iter().any(Result::is_ok), "A-59: {ends:?}");
    settle(cores, &all);
}
