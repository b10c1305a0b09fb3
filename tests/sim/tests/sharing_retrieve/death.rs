// SPDX-License-Identifier: MIT OR Apache-2.0
//! Senders and receivers that end (K7, T18, A-60).

use super::*;

#[test]
fn t18_k7_a_receiver_that_ends_leaves_all_and_the_sender_reclaims() {
    for sender in [NORMAL, P4] {
        let mut desk = desk();
        let send = send_of(Function::MemLend, sender);
        let handle = desk.send(sender, &send).unwrap();
        fill(&desk, sender, 7);
        let mut request = Retrieve::of(&send, handle);
        for who in [P1, P3] {
            take(&mut desk, who, &send, handle);
        }
        request.flags = CLEAR_RELINQUISH;
        desk.retrieve(P2, &request).unwrap();
        desk.end(P2);
        for page in pages(sender) {
            assert!(desk.mapped(P2, space(sender), page).is_none());
            assert!(desk.mapped(P1, space(sender), page).is_some());
        }
        reclaim_refused(&mut desk, sender, handle, 0, Denied);
        desk.end(P1);
        assert_content(&desk, sender, 7);
        desk.end(P3);
        // What P2 asked for is done when the last one has left.
        assert_content(&desk, sender, 0);
        assert_eq!(desk.reclaim(sender, handle, 0), Ok(()));
        for page in pages(sender) {
            assert_eq!(desk.state(space(sender), page).hold, Hold::Exclusive);
        }
    }
}

#[test]
fn k7_a60_what_a_sender_that_ended_gave_stays_until_the_last_leaves_and_is_wiped() {
    for function in [Function::MemLend, Function::MemShare] {
        let mut desk = desk();
        let send = send_of(function, P4);
        let handle = desk.send(P4, &send).unwrap();
        for who in [P1, P2] {
            take(&mut desk, who, &send, handle);
        }
        fill(&desk, P4, 7);
        desk.end(P4);
        assert_content(&desk, P4, 7);
        refused(&mut desk, P3, &Retrieve::of(&send, handle), Aborted);
        assert_eq!(desk.relinquish(P1, handle, 0), Ok(()));
        assert_content(&desk, P4, 7);
        for page in pages(P4) {
            assert!(desk.mapped(P2, Space::Secure, page).is_some());
        }
        assert_eq!(desk.relinquish(P2, handle, 0), Ok(()));
        assert_content(&desk, P4, 0);
        relinquish_refused(&mut desk, P2, handle, 0, InvalidParameters);
        for page in pages(P4) {
            assert!(desk.mapped(P2, Space::Secure, page).is_none());
            assert_eq!(desk.state(Space::Secure, page).hold, Hold::Exclusive);
        }
    }
}

#[test]
fn k7_a60_what_nobody_has_of_a_sender_that_ended_is_wiped_at_once() {
    for function in SENDS {
        let mut desk = desk();
        let send = send_of(function, P4);
        let handle = desk.send(P4, &send).unwrap();
        fill(&desk, P4, 7);
        desk.end(P4);
        assert_content(&desk, P4, 0);
        refused(
            &mut desk,
            P2,
            &Retrieve::of(&send, handle),
            InvalidParameters,
        );
    }
}

#[test]
fn k7_memory_that_does_not_answer_at_a_receivers_end_is_passed_over_and_reclaimed() {
    for sender in [NORMAL, P4] {
        let mut desk = desk();
        let send = send_of(Function::MemLend, sender);
        let handle = desk.send(sender, &send).unwrap();
        fill(&desk, sender, 7);
        let mut request = Retrieve::of(&send, handle);
        request.flags = CLEAR_RELINQUISH;
        desk.retrieve(P2, &request).unwrap();
        let broken = pages(sender)[1];
        desk.sim
            .memory(|memory| memory.broken.push((space(sender), broken)));
        desk.end(P2);
        desk.sim.memory(|memory| {
            for page in pages(sender) {
                let expected = if page == broken { 7 } else { 0 };
                assert_eq!(memory.contents[&(space(sender), page)], expected);
            }
        });
        assert_eq!(desk.reclaim(sender, handle, 0), Ok(()));
        for page in pages(sender) {
            assert_eq!(desk.state(space(sender), page).hold, Hold::Exclusive);
        }
    }
}
