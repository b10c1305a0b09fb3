// SPDX-License-Identifier: MIT OR Apache-2.0
//! A party of a memory transaction ends while the transaction goes on (K7, A-60, T18, S25).
//!
//! It ends on the last core; another context of it, or the other party, makes calls on the first one.

use bulkhead_abi::memory::registers::Reclaim;
use bulkhead_abi::{FfaError, Function};
use bulkhead_mm::attrs::Space;
use bulkhead_sim::sharing::Who;

use super::sharing::{ANY_KIND, CLEAR, PAGES, RECEIVER, SENDER, any, office};
use crate::program::Deed;
use crate::sharing::{
    self, Ending, Sent, done, make, page, reclaim, relinquish, retrieve, send, sending, sent,
    settle,
};
use crate::world::{Core, Outcome, Spec, at_once, choose, pick};

const SPECS: [Spec; 2] = [Spec::Multi, Spec::Multi];
const ABORTED: Outcome = Outcome::Error(FfaError::Aborted);

fn end(core: &mut Core, index: usize) {
    assert_eq!(core.ask(index, &[Deed::Fault]), ABORTED, "C8");
}

/// What a call ended with, if its context came back from it.
fn short(ending: &Ending) -> Option<Result<(), FfaError>> {
    ending
        .as_ref()
        .map(|result| result.as_ref().map(|_| ()).map_err(|error| *error))
}

/// A context of the sender sends while another one faults: there is no transaction then.
pub fn k7_a60_the_sender_ends_while_it_sends() {
    let mut cores = office(&SPECS, 2);
    let earlier = sending(
        Function::MemShare,
        Who::Sp(SENDER),
        &[Who::Sp(RECEIVER)],
        PAGES,
        1,
    );
    let mut all = Vec::new();
    if pick(2) == 0 {
        all.push(sent(&mut cores[0], Who::Sp(SENDER), &earlier));
    }
    let (mut cores, _) = at_once(cores, move |core| {
        if core.index() == 1 {
            return end(core, SENDER);
        }
        let receivers = [Who::Sp(RECEIVER)];
        let sending = sending(choose(&ANY_KIND), Who::Sp(SENDER), &receivers, 0, PAGES);
        let later = choose(&[0, 1]);
        let ending = short(&make(core, Who::Sp(SENDER), send(&sending, later)));
        assert!(
            matches!(
                ending,
                // It may have lost its TX already.
                None | Some(Ok(()) | Err(FfaError::Aborted | FfaError::InvalidParameters))
            ),
            "{ending:?}"
        );
    });
    let none = cores[0].machine.with_memory(|memory| memory.taken());
    assert_eq!(
        none, 0,
        "A-60: a transaction of a partition that ended is left"
    );
    for earlier in &all {
        let late = done(&mut cores[0], Who::Sp(RECEIVER), retrieve(earlier));
        assert_eq!(late.map(|_| ()), Err(FfaError::InvalidParameters), "H2");
    }
    settle(cores, &all);
}

/// The sender ends while the receiver retrieves and relinquishes: what it sent is wiped, and ends with the receiver.
pub fn k7_a60_the_sender_ends_while_the_receiver_comes_and_goes() {
    let mut cores = office(&SPECS, 2);
    let (_, sending) = any(&ANY_KIND, &[Who::Sp(SENDER)]);
    let sent = sent(&mut cores[0], Who::Sp(SENDER), &sending);
    let donated = sending.function == Function::MemDonate;
    let all = [sent.clone()];
    let (cores, ends) = at_once(cores, move |core| {
        if core.index() == 1 {
            end(core, SENDER);
            return None;
        }
        let who = Who::Sp(RECEIVER);
        let came = make(core, who, retrieve(&sent));
        let stays = pick(4) == 0;
        let left = (!stays).then(|| make(core, who, relinquish(&sent, who, 0)));
        Some((short(&came), left.map(|left| short(&left))))
    });
    let (came, left) = ends[0].expect("the receiver's");
    let came = came.expect("it lives");
    match came {
        Ok(()) => {
            let expected = match donated {
                true => Err(FfaError::InvalidParameters),
                false => Ok(()),
            };
            assert!(left.is_none_or(|left| left == Some(expected)), "{left:?}");
        }
        Err(error) => assert!(
            matches!(error, FfaError::InvalidParameters | FfaError::Aborted),
            "K7: {error:?}"
        ),
    }
    let kept = came.is_ok() && left.is_none() && !donated;
    let mut cores = cores;
    if kept {
        // Until now it has the pages still.
        let who = Who::Sp(RECEIVER);
        done(&mut cores[0], who, relinquish(&all[0], who, 0)).expect("it has them");
    }
    if !(donated && came.is_ok()) {
        wiped(&cores[0], Who::Sp(SENDER));
    }
    settle(cores, &all);
}

/// The pages of a transaction whose sender ended were zeroed, and nobody has them.
fn wiped(core: &Core, sender: Who) {
    core.machine.with_memory(|memory| {
        for number in 0..PAGES {
            let clean = memory.is_clean(Space::Secure, page(sender, number));
            assert!(clean, "K7: page {number} of {sender:?} is not wiped");
        }
    });
}

/// A context of the sender reclaims while another one faults.
pub fn k7_a60_the_sender_ends_while_it_reclaims() {
    let mut cores = office(&SPECS, 2);
    let (_, sending) = any(&ANY_KIND, &[Who::Sp(SENDER)]);
    let sent = sent(&mut cores[0], Who::Sp(SENDER), &sending);
    let all = [sent.clone()];
    let (mut cores, _) = at_once(cores, move |core| {
        if core.index() == 1 {
            return end(core, SENDER);
        }
        let flags = u32::from(pick(2) == 0) * Reclaim::CLEAR;
        let ending = short(&make(core, Who::Sp(SENDER), reclaim(&sent, flags)));
        assert!(
            matches!(
                ending,
                None | Some(Ok(()) | Err(FfaError::InvalidParameters))
            ),
            "{ending:?}"
        );
    });
    let none = cores[0].machine.with_memory(|memory| memory.taken());
    assert_eq!(
        none, 0,
        "A-60: a transaction of a partition that ended is left"
    );
    let late = done(&mut cores[0], Who::Sp(RECEIVER), retrieve(&all[0]));
    assert_eq!(late.map(|_| ()), Err(FfaError::InvalidParameters), "H2");
    settle(cores, &all);
}

/// A context of the receiver retrieves or relinquishes while another one faults: it has nothing then, unless that was
/// given to it.
pub fn k7_t18_the_receiver_ends_while_it_comes_and_goes() {
    let mut cores = office(&SPECS, 2);
    let (sender, sending) = any(&ANY_KIND, &[Who::Sp(SENDER), Who::Normal]);
    let sent = sent(&mut cores[0], sender, &sending);
    let donated = sending.function == Function::MemDonate;
    let has_it = !donated && pick(2) == 0;
    let who = Who::Sp(RECEIVER);
    if has_it {
        done(&mut cores[0], who, retrieve(&sent)).expect("it is there");
    }
    let all = [sent.clone()];
    let clears = sending.function == Function::MemLend;
    let (mut cores, _) = at_once(cores, move |core| {
        if core.index() == 1 {
            return end(core, RECEIVER);
        }
        let came = match has_it {
            true => Some(Ok(())),
            false => short(&make(core, who, retrieve(&sent))),
        };
        assert!(
            matches!(
                came,
                None | Some(Ok(()) | Err(FfaError::Aborted | FfaError::Busy))
            ),
            "{came:?}"
        );
        let flags = if clears && pick(2) == 0 { CLEAR } else { 0 };
        make(core, who, relinquish(&sent, who, flags));
    });
    sharing::check(&cores[0]);
    // T18: the sender has it back, unless it is the receiver's.
    let result = done(&mut cores[0], sender, reclaim(&all[0], 0)).map(|_| ());
    let gone = donated && result == Err(FfaError::InvalidParameters);
    assert!(gone || result == Ok(()), "T18: {result:?}");
    settle(cores, &all);
}

/// The receiver faults, or leaves and faults, while the sender reclaims.
pub fn k7_t18_the_receiver_ends_while_the_sender_reclaims() {
    let mut cores = office(&SPECS, 2);
    let (sender, sending) = any(&ANY_KIND[..2], &[Who::Sp(SENDER), Who::Normal]);
    let sent = sent(&mut cores[0], sender, &sending);
    let who = Who::Sp(RECEIVER);
    if pick(4) != 0 {
        done(&mut cores[0], who, retrieve(&sent)).expect("it is there");
    }
    let all = [sent.clone()];
    let (cores, ends) = at_once(cores, move |core| {
        if core.index() == 1 {
            if pick(2) == 0 {
                make(core, who, relinquish(&sent, who, 0));
            }
            end(core, RECEIVER);
            return Ok(());
        }
        let flags = u32::from(pick(2) == 0) * Reclaim::CLEAR;
        done(core, sent.sender, reclaim(&sent, flags)).map(|_| ())
    });
    assert!(
        matches!(ends[0], Ok(()) | Err(FfaError::Denied)),
        "T20: {ends:?}"
    );
    settle(cores, &all);
}

/// Sends to a partition that ends: it is refused, or the sender can reclaim.
pub fn s25_a60_the_receiver_ends_while_it_is_sent_to() {
    let cores = office(&SPECS, 2);
    let sender = choose(&[Who::Sp(SENDER), Who::Normal]);
    let (mut cores, ends) = at_once(cores, move |core| {
        if core.index() == 1 {
            end(core, RECEIVER);
            return None;
        }
        let sending = sending(choose(&ANY_KIND), sender, &[Who::Sp(RECEIVER)], 0, PAGES);
        match done(core, sender, send(&sending, 0)) {
            Ok(answer) => Some(Sent {
                send: sending,
                sender,
                handle: sharing::handle(&answer),
            }),
            Err(error) => {
                assert_eq!(error, FfaError::Aborted, "S25");
                None
            }
        }
    });
    let all: Vec<Sent> = ends.into_iter().flatten().collect();
    for sent in &all {
        done(&mut cores[0], sender, reclaim(sent, 0)).expect("nobody has it");
    }
    settle(cores, &all);
}

/// Both parties end at once, on a core each, while the receiver has the pages.
pub fn k7_a60_both_parties_end_at_once() {
    let mut cores = office(&SPECS, 2);
    let (_, sending) = any(&ANY_KIND[..2], &[Who::Sp(SENDER)]);
    let sent = sent(&mut cores[0], Who::Sp(SENDER), &sending);
    let who = Who::Sp(RECEIVER);
    let has_it = pick(4) != 0;
    if has_it {
        done(&mut cores[0], who, retrieve(&sent)).expect("it is there");
    }
    let all = [sent.clone()];
    let (cores, _) = at_once(cores, move |core| {
        if core.index() == 1 {
            return end(core, SENDER);
        }
        if !has_it {
            make(core, who, retrieve(&sent));
        }
        end(core, RECEIVER);
    });
    let none = cores[0].machine.with_memory(|memory| memory.taken());
    assert_eq!(none, 0, "A-60: a transaction without parties is left");
    wiped(&cores[0], Who::Sp(SENDER));
    settle(cores, &all);
}
