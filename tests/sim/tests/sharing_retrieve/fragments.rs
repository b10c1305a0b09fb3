// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fragments, both ways (F1 to F11, T13).

use super::*;

/// A send of 600 constituents whose first fragment only has come.
fn begun(desk: &mut Desk, who: Who, most: usize) -> (Send, Vec<u8>, Handle) {
    let base = who.memory();
    let count = if who == NORMAL { 600 } else { 24 };
    let step = if who == NORMAL { 0x2000 } else { 0x1000 };
    // From the last to the first, so that none is next to the one before.
    let many: Vec<_> = (0..count)
        .rev()
        .map(|page| run(base + page * step, 1))
        .collect();
    let send = Send::new(Function::MemShare, who, &ALL, &many);
    let bytes = send.encode(Version::V1_2);
    desk.write_tx(who, &bytes[..most]);
    let words = [bytes.len() as u64, most as u64, 0, 0];
    let answer = desk.call(who, &ffa(Function::MemShare, words));
    assert_function(&answer, Function::MemFragRx);
    let handle = Handle::from_words(answer.w::<1>(), answer.w::<2>());
    (send, bytes, handle)
}

/// FFA_MEM_FRAG_TX.
fn bring(desk: &mut Desk, who: Who, handle: Handle, length: u64, sender: u16) -> Registers {
    let (low, high) = handle.to_words();
    let words = [
        u64::from(low),
        u64::from(high),
        length,
        u64::from(sender) << 16,
    ];
    desk.call(who, &ffa(Function::MemFragTx, words))
}

const HEAD: usize = 48 + 3 * 32 + 16;

#[test]
fn f1_f2_f4_fragments_of_others_of_nothing_and_after_the_end_change_nothing() {
    let mut desk = desk();
    for who in [NORMAL, P4] {
        let (_, bytes, handle) = begun(&mut desk, who, HEAD + 32);
        let before = desk.world();
        let wrong = [
            (P5, handle, 0),
            (if who == NORMAL { P4 } else { NORMAL }, handle, 0),
            (who, Handle(handle.0 + (1 << 16)), 0),
            (who, Handle(handle.0.rotate_left(32)), 0),
            (who, handle, 9),
            (who, handle, 0x8002),
        ];
        for (caller, handle, sender) in wrong {
            desk.write_tx(caller, &bytes[HEAD + 32..HEAD + 64]);
            let answer = bring(&mut desk, caller, handle, 32, sender);
            assert_error(&answer, InvalidParameters);
            assert!(desk.world() == before, "{caller:?} {handle:?} {sender:#x}");
        }
        // It goes on as if nothing had been.
        let mut sent = HEAD + 32;
        while sent < bytes.len() {
            let next = (sent + 4096).min(bytes.len());
            desk.write_tx(who, &bytes[sent..next]);
            let answer = bring(&mut desk, who, handle, (next - sent) as u64, 0);
            assert!(bulkhead_sim::error(&answer).is_none());
            sent = next;
        }
        let before = desk.world();
        let answer = bring(&mut desk, who, handle, 16, 0);
        assert_error(&answer, InvalidParameters);
        assert!(desk.world() == before, "F2");
        assert_eq!(desk.reclaim(who, handle, 0), Ok(()));
    }
}

#[test]
fn f3_f5_a_wrong_fragment_ends_the_transaction_and_frees_its_memory() {
    let mut desk = desk();
    for who in [NORMAL, P4] {
        for first in [HEAD, HEAD + 16, HEAD + 48] {
            for wrong in [
                Some(0),
                Some(8),
                Some(24),
                Some(4112),
                Some(u64::from(u32::MAX)),
                None,
            ] {
                let before = desk.world();
                let (send, bytes, handle) = begun(&mut desk, who, first);
                // Too long by one constituent; for the partition it fits into TX.
                let length = wrong.unwrap_or((bytes.len() - first) as u64 + 16);
                let answer = bring(&mut desk, who, handle, length, 0);
                assert_error(&answer, InvalidParameters);
                assert!(desk.world() == before, "{who:?} {length}");
                assert_eq!(desk.reclaim(who, handle, 0), Err(InvalidParameters));
                refused(
                    &mut desk,
                    P2,
                    &Retrieve::of(&send, handle),
                    InvalidParameters,
                );
            }
        }
    }
}

#[test]
fn f6_t13_an_incomplete_transaction_is_not_retrieved_and_reclaim_frees_it() {
    let mut desk = desk();
    for who in [NORMAL, P4] {
        let before = desk.world();
        let (send, _, handle) = begun(&mut desk, who, HEAD + 32);
        refused(
            &mut desk,
            P2,
            &Retrieve::of(&send, handle),
            InvalidParameters,
        );
        relinquish_refused(&mut desk, P2, handle, 0, InvalidParameters);
        reclaim_refused(&mut desk, P2, handle, 0, Denied);
        assert_eq!(desk.reclaim(who, handle, 0), Ok(()));
        assert!(desk.world() == before);
    }
}

#[test]
fn f8_transactions_that_never_end_use_up_their_senders_memory_only() {
    let mut desk = desk();
    let before = desk.world();
    let mut begun_ones = Vec::new();
    let bytes = {
        let base = P4.memory();
        let many: Vec<_> = (0..24)
            .rev()
            .map(|page| run(base + page * 0x1000, 1))
            .collect();
        Send::new(Function::MemShare, P4, &ALL, &many).encode(Version::V1_2)
    };
    loop {
        desk.write_tx(P4, &bytes[..HEAD + 32]);
        let words = [bytes.len() as u64, HEAD as u64 + 32, 0, 0];
        let answer = desk.call(P4, &ffa(Function::MemShare, words));
        if bulkhead_sim::error(&answer).is_some() {
            assert_error(&answer, FfaError::NoMemory);
            break;
        }
        begun_ones.push(Handle::from_words(answer.w::<1>(), answer.w::<2>()));
        assert!(begun_ones.len() < 1_000, "there is a quota");
    }
    for who in [NORMAL, P5] {
        let send = send_of(Function::MemShare, who);
        let handle = desk.send(who, &send).unwrap();
        take(&mut desk, P2, &send, handle);
        desk.relinquish(P2, handle, 0).unwrap();
        desk.reclaim(who, handle, 0).unwrap();
    }
    for handle in begun_ones {
        desk.reclaim(P4, handle, 0).unwrap();
    }
    assert!(desk.world() == before);
}

#[test]
fn f10_what_a_sender_that_ended_had_begun_is_dropped() {
    let mut desk = desk();
    let pool = |desk: &Desk| desk.dump().lines().next().map(str::to_string);
    let before = pool(&desk);
    let (send, _, handle) = begun(&mut desk, P4, HEAD + 32);
    assert_ne!(pool(&desk), before);
    desk.end(P4);
    assert_eq!(pool(&desk), before);
    refused(
        &mut desk,
        P2,
        &Retrieve::of(&send, handle),
        InvalidParameters,
    );
}

#[test]
fn f11_a_description_is_fetched_in_order_by_its_receiver_with_a_free_rx() {
    let mut desk = desk();
    let base = NORMAL.memory();
    let many: Vec<_> = (0..600).map(|page| run(base + page * 0x2000, 1)).collect();
    let send = Send::new(Function::MemShare, NORMAL, &ALL, &many);
    let handle = desk.send(NORMAL, &send).unwrap();
    take(&mut desk, P1, &send, handle);
    let (low, high) = handle.to_words();
    let id = Function::MemFragRx.id(Width::W32);
    let fetch = |at: u64| call([id, u64::from(low), u64::from(high), at, 0, 0, 0, 0]);
    let bytes = Retrieve::of(&send, handle).encode(Version::V1_2);
    let answer = desk.describe(P2, Function::MemRetrieveReq, &bytes);
    assert_function(&answer, Function::MemRetrieveResp);
    let told = answer.x[2];
    assert!(told < answer.x[1]);
    let total = answer.x[1];
    let before = desk.world();
    assert_error(&desk.call(P2, &fetch(told)), Busy);
    let release = ffa(Function::RxRelease, [0; 4]);
    assert_function(&desk.call(P2, &release), Function::Success);
    for wrong in [
        0,
        16,
        told - 16,
        told + 16,
        total,
        total + 16,
        u64::from(u32::MAX),
    ] {
        assert_error(&desk.call(P2, &fetch(wrong)), InvalidParameters);
        assert!(desk.world() == before, "{wrong}");
    }
    // Who has not retrieved, who is told all, and who is no receiver.
    for other in [P3, P1, P5] {
        assert_error(&desk.call(other, &fetch(told)), InvalidParameters);
    }
    let answer = desk.call(P2, &fetch(told));
    assert_function(&answer, Function::MemFragTx);
    assert_eq!(answer.x[4], 0, "F4: a partition is not told the sender");
    assert_function(&desk.call(P2, &release), Function::Success);
    // No repeat.
    assert_error(&desk.call(P2, &fetch(told)), InvalidParameters);
    assert!(desk.world() == before);
}
