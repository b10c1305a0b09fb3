// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors come and go in fragments, from and to several cores at once (F6, F9, F10, F11, T19).

use bulkhead_abi::memory::registers::Lengths;
use bulkhead_abi::{FfaError, Function, Registers, Width};
use bulkhead_sim::sharing::{Send, Who};

use super::sharing::{ANY_KIND, RECEIVER, SENDER, office};
use crate::program::Deed;
use crate::sharing::{
    self, Sent, done, fragment, make, more, reclaim, relinquish, retrieve, send, sending, settle,
};
use crate::world::{Core, Outcome, Spec, at_once, choose, pick};

const SPECS: [Spec; 2] = [Spec::Multi, Spec::Multi];
const ANY_SENDER: [Who; 2] = [Who::Sp(SENDER), Who::Normal];
/// Constituents that do not fit into one page with what is before them.
const MANY: u64 = 300;
/// The length of a response up to its first constituent, in bytes (1.2).
const HEAD: u32 = 96;
/// The size of a buffer, in bytes.
const BUFFER: u32 = 4096;

fn is(answer: &Registers, function: Function) -> bool {
    answer.x[0] == function.id(Width::W32)
}

/// A transaction of which all but the first constituent are to come.
fn begun(core: &mut Core, sender: Who, sending: &Send) -> Sent {
    let later = sending.constituents.len() - 1;
    let answer = done(core, sender, send(sending, later)).expect("a place");
    assert!(is(&answer, Function::MemFragRx), "F12: {answer:x?}");
    Sent {
        send: sending.clone(),
        sender,
        handle: sharing::handle(&answer),
    }
}

/// Two cores bring a fragment each of one transaction, through the same TX buffer: the result is that of some order.
pub fn f9_two_cores_bring_fragments_of_one_transaction() {
    let mut cores = office(&SPECS, 2);
    let sender = choose(&ANY_SENDER);
    let sending = sending(choose(&ANY_KIND), sender, &[Who::Sp(RECEIVER)], 0, 3);
    let sent = begun(&mut cores[0], sender, &sending);
    let all = [sent.clone()];
    let (mut cores, ends) = at_once(cores, move |core| {
        let errand = fragment(&sent.send, sender, sent.handle, core.index() + 1, 1);
        done(core, sender, errand)
    });
    let first = |end: &Result<Registers, FfaError>| {
        end.as_ref()
            .is_ok_and(|answer| is(answer, Function::MemFragRx))
    };
    assert_eq!(
        ends.iter().filter(|end| first(end)).count(),
        1,
        "F9: {ends:?}"
    );
    let last = ends.iter().find(|end| !first(end)).expect("the other one");
    match last {
        Ok(answer) => {
            assert_eq!(sharing::handle(answer), all[0].handle, "F9");
            let who = Who::Sp(RECEIVER);
            done(&mut cores[0], who, retrieve(&all[0])).expect("all of it is there");
        }
        // One core wrote over TX before the other's call: the same constituent came twice (S26).
        Err(error) => {
            assert_eq!(*error, FfaError::InvalidParameters, "F9");
            let taken = cores[0].machine.with_memory(|memory| memory.taken());
            assert_eq!(taken, 0, "F3: the transaction has ended");
        }
    }
    if sending.function == Function::MemDonate && last.is_ok() {
        // It is the receiver's now.
        let late = done(&mut cores[0], sender, reclaim(&all[0], 0)).map(|_| ());
        assert_eq!(late, Err(FfaError::InvalidParameters), "T22");
    }
    settle(cores, &all);
}

/// The last fragment comes on one core while the sender reclaims, or the receiver retrieves, on the other.
pub fn f6_f9_the_last_fragment_races_a_reclaim_and_a_retrieve() {
    let mut cores = office(&SPECS, 2);
    let sender = choose(&ANY_SENDER);
    let sending = sending(choose(&ANY_KIND), sender, &[Who::Sp(RECEIVER)], 0, 3);
    let sent = begun(&mut cores[0], sender, &sending);
    let all = [sent.clone()];
    let reclaims = pick(2) == 0;
    let (cores, ends) = at_once(cores, move |core| {
        let (who, errand) = match (core.index(), reclaims) {
            (0, _) => (sender, fragment(&sent.send, sender, sent.handle, 1, 2)),
            (_, true) => (sender, reclaim(&sent, 0)),
            _ => (Who::Sp(RECEIVER), retrieve(&sent)),
        };
        done(core, who, errand).map(|_| ())
    });
    let invalid = Err(FfaError::InvalidParameters);
    if reclaims {
        // Nobody has it: it can be reclaimed at any time.
        assert_eq!(ends[1], Ok(()), "F6");
        assert!(ends[0] == Ok(()) || ends[0] == invalid, "F2: {ends:?}");
    } else {
        assert_eq!(ends[0], Ok(()), "F9");
        assert!(ends[1] == Ok(()) || ends[1] == invalid, "T13: {ends:?}");
    }
    settle(cores, &all);
}

/// The sender ends while another context of it brings a fragment.
pub fn f10_k7_the_sender_ends_while_it_brings_a_fragment() {
    let mut cores = office(&SPECS, 2);
    let sender = Who::Sp(SENDER);
    let sending = sending(choose(&ANY_KIND), sender, &[Who::Sp(RECEIVER)], 0, 3);
    let sent = begun(&mut cores[0], sender, &sending);
    let all = [sent.clone()];
    let count = choose(&[1, 2]);
    let (cores, _) = at_once(cores, move |core| {
        if core.index() == 1 {
            let outcome = core.ask(SENDER, &[Deed::Fault]);
            assert_eq!(outcome, Outcome::Error(FfaError::Aborted), "C8");
            return;
        }
        let errand = fragment(&sent.send, sender, sent.handle, 1, count);
        let ending = make(core, sender, errand);
        let error = ending.and_then(Result::err);
        assert!(
            matches!(error, None | Some(FfaError::InvalidParameters)),
            "F10: {error:?}"
        );
    });
    let taken = cores[0].machine.with_memory(|memory| memory.taken());
    assert_eq!(
        taken, 0,
        "F10: a transaction of a partition that ended is left"
    );
    settle(cores, &all);
}

/// A transaction whose description does not fit into RX, and where the receiver goes on to fetch it.
fn retrieved(core: &mut Core, function: Function) -> (Sent, u32) {
    let sender = Who::Sp(SENDER);
    let sending = sending(function, sender, &[Who::Sp(RECEIVER)], 0, MANY);
    let constituents = u32::try_from(MANY).expect("small");
    let room = usize::try_from((BUFFER - HEAD) / 16).expect("small");
    let later = sending.constituents.len() - room;
    let answer = done(core, sender, send(&sending, later)).expect("a place");
    let handle = sharing::handle(&answer);
    let rest = fragment(&sending, sender, handle, room, later);
    let answer = done(core, sender, rest).expect("the rest");
    assert_eq!(sharing::handle(&answer), handle);
    let sent = Sent {
        send: sending,
        sender,
        handle,
    };
    let answer = done(core, Who::Sp(RECEIVER), retrieve(&sent)).expect("it is there");
    let lengths = Lengths::decode(&answer).expect("lengths");
    assert_eq!(lengths.total, HEAD + 16 * constituents);
    assert_eq!(lengths.fragment, BUFFER);
    (sent, lengths.fragment)
}

/// Two contexts of the receiver ask for the next part of a description: one of them gets it.
pub fn f11_two_contexts_fetch_one_description() {
    let mut cores = office(&SPECS, 2);
    let function = choose(&ANY_KIND);
    let (sent, position) = retrieved(&mut cores[0], function);
    let all = [sent.clone()];
    let who = Who::Sp(RECEIVER);
    let (cores, ends) = at_once(cores, move |core| {
        done(core, who, more(&sent, who, position)).map(|answer| {
            assert!(is(&answer, Function::MemFragTx), "F11: {answer:x?}");
        })
    });
    let won = ends.iter().filter(|end| end.is_ok()).count();
    assert_eq!(won, 1, "F11: {ends:?}");
    let fine = |end: &Result<(), FfaError>| {
        matches!(
            end,
            Ok(()) | Err(FfaError::Busy | FfaError::InvalidParameters)
        )
    };
    assert!(ends.iter().all(fine), "F11: {ends:?}");
    settle(cores, &all);
}

/// A context of the receiver fetches the last part while another one relinquishes, or faults.
pub fn f11_t19_k7_the_receiver_leaves_while_it_fetches_a_description() {
    let mut cores = office(&SPECS, 2);
    let function = choose(&ANY_KIND);
    let (sent, position) = retrieved(&mut cores[0], function);
    let all = [sent.clone()];
    let who = Who::Sp(RECEIVER);
    let ends = pick(2) == 0;
    let (cores, results) = at_once(cores, move |core| match (core.index(), ends) {
        (0, _) => make(core, who, more(&sent, who, position)),
        (_, true) => {
            let outcome = core.ask(RECEIVER, &[Deed::Fault]);
            assert_eq!(outcome, Outcome::Error(FfaError::Aborted), "C8");
            None
        }
        (_, false) => make(core, who, relinquish(&sent, who, 0)),
    });
    if !ends {
        let result = |index: usize| results[index].as_ref().map(Result::is_ok);
        // T19: not before the last part is there.
        assert_eq!(result(0), Some(true), "F11: {results:?}");
        let donated = function == Function::MemDonate;
        assert!(!(donated && result(1) == Some(true)), "T16: {results:?}");
    }
    settle(cores, &all);
}
