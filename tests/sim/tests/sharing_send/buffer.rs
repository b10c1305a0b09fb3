// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors in a buffer other than TX (A-57, S4).

use bulkhead_abi::features;
use bulkhead_abi::memory::Handle;
use bulkhead_sim::error;

use super::*;

const PAGE: u64 = 4096;
/// Pages that no transaction of these tests has.
const BUFFER: u64 = 0x1_0000;

fn space(who: Who) -> Space {
    match who {
        NORMAL => Space::NonSecure,
        Who::Sp(_) => Space::Secure,
    }
}

/// What a call is about: lengths, address and pages.
type Words = [u64; 4];

fn send(desk: &mut Desk, who: Who, function: Function, width: Width, words: Words) -> Registers {
    let [w1, w2, w3, w4] = words;
    desk.call(who, &call([function.id(width), w1, w2, w3, w4, 0, 0, 0]))
}

fn handle(answer: &Registers) -> Handle {
    assert_function(answer, Function::Success);
    Handle::from_words(answer.w::<2>(), answer.w::<3>())
}

/// Puts `bytes` into a buffer of `who`, `at` bytes from its memory on.
fn put(desk: &mut Desk, who: Who, at: u64, bytes: &[u8]) -> u64 {
    let address = who.memory() + at;
    desk.write_memory(space(who), address, bytes);
    address
}

#[test]
fn a57_a_descriptor_may_be_in_any_buffer_of_the_sender() {
    for who in [NORMAL, P4] {
        for function in SENDS {
            for (width, pages) in [(Width::W32, 1), (Width::W64, 1), (Width::W64, 16)] {
                let mut desk = desk();
                let to = &ALL[..if function == Function::MemDonate {
                    1
                } else {
                    3
                }];
                let described = Send::new(function, who, to, &runs(who));
                let expected = {
                    let mut desk = self::desk();
                    desk.send(who, &described).unwrap();
                    desk.world()
                };
                let bytes = described.encode(Version::V1_2);
                let address = put(&mut desk, who, BUFFER, &bytes);
                let length = bytes.len() as u64;
                let words = [length, length, address, pages];
                let answer = send(&mut desk, who, function, width, words);
                handle(&answer);
                assert!(desk.world() == expected, "{who:?} {function:?} {width:?}");
            }
        }
    }
}

#[test]
fn a57_it_takes_no_mailbox() {
    let mut desk = desk();
    for who in [NORMAL, P4] {
        let unmapped = desk.call(who, &ffa(Function::RxtxUnmap, [0; 4]));
        assert_function(&unmapped, Function::Success);
        let before = desk.world();
        let bytes = share(who).encode(Version::V1_2);
        let address = put(&mut desk, who, BUFFER, &bytes);
        let words = [END as u64, END as u64, address, 1];
        let answer = send(&mut desk, who, Function::MemShare, Width::W64, words);
        let handle = handle(&answer);
        assert_eq!(desk.reclaim(who, handle, 0), Ok(()));
        assert_unchanged(&desk, &before, who);
    }
}

/// More than the first part that is read, over a page's end.
#[test]
fn a57_m24_a_long_descriptor_is_read_once() {
    for who in [NORMAL, P4] {
        let mut desk = desk();
        let base = who.memory();
        // Every second page, in descending order: 700 constituents, 11 KiB.
        let base = if who == NORMAL {
            base + 0x10_0000
        } else {
            base
        };
        let count = if who == NORMAL { 700 } else { 6 };
        let runs: Vec<_> = (0..count)
            .map(|n| run(base + (count - 1 - n) * 0x2000, 1))
            .collect();
        let described = Send::new(Function::MemShare, who, &[P1], &runs);
        let bytes = described.encode(Version::V1_2);
        let address = put(&mut desk, who, BUFFER, &bytes);
        let length = bytes.len() as u64;
        let words = [length, length, address, length.div_ceil(PAGE)];
        let before = desk.world();
        let answer = send(&mut desk, who, Function::MemShare, Width::W32, words);
        let handle = handle(&answer);
        let found = desk
            .retrieve(P1, &Retrieve::of(&described, handle))
            .unwrap();
        assert_eq!(found.constituents.len(), runs.len());
        assert_eq!(desk.relinquish(P1, handle, 0), Ok(()));
        assert_eq!(desk.reclaim(who, handle, 0), Ok(()));
        assert_unchanged(&desk, &before, who);
    }
}

#[test]
fn a57_further_fragments_come_through_tx() {
    for who in [NORMAL, P4] {
        let mut desk = desk();
        let before = desk.world();
        let bytes = share(who).encode(Version::V1_2);
        let (first, rest) = bytes.split_at(END - 16);
        let address = put(&mut desk, who, BUFFER, first);
        let words = [END as u64, first.len() as u64, address, 1];
        let answer = send(&mut desk, who, Function::MemShare, Width::W64, words);
        assert_function(&answer, Function::MemFragRx);
        let (low, high) = (answer.x[1], answer.x[2]);
        desk.write_tx(who, rest);
        let words = [low, high, rest.len() as u64, 0];
        let answer = desk.call(who, &ffa(Function::MemFragTx, words));
        let handle = handle(&answer);
        assert_eq!(desk.reclaim(who, handle, 0), Ok(()));
        assert_unchanged(&desk, &before, who);
    }
}

/// A right descriptor at `address`, which is refused with `expected`.
#[track_caller]
fn refused_at(desk: &mut Desk, who: Who, address: u64, pages: u64, expected: FfaError) {
    let bytes = share(who).encode(Version::V1_2);
    for space in [Space::Secure, Space::NonSecure] {
        desk.write_memory(space, address & !(PAGE - 1), &bytes);
    }
    let before = desk.world();
    let words = [END as u64, END as u64, address, pages];
    let answer = send(desk, who, Function::MemShare, Width::W64, words);
    assert_error(&answer, expected);
    assert_unchanged(desk, &before, (who, address, pages));
}

#[test]
fn s4_an_address_without_a_length_is_refused() {
    for who in [NORMAL, P4] {
        let mut desk = desk();
        refused_at(&mut desk, who, who.memory() + BUFFER, 0, InvalidParameters);
        refused_at(&mut desk, who, 0, 1, InvalidParameters);
    }
}

#[test]
fn s4_a_retrieve_request_is_in_tx() {
    let mut desk = desk();
    let described = share(NORMAL);
    let handle = desk.send(NORMAL, &described).unwrap();
    let bytes = Retrieve::of(&described, handle).encode(Version::V1_2);
    let length = bytes.len() as u64;
    desk.write_tx(P1, &bytes);
    let address = put(&mut desk, P1, BUFFER, &bytes);
    let before = desk.world();
    for (address, pages) in [(address, 1), (address, 0), (0, 1)] {
        let words = [length, length, address, pages];
        let answer = send(&mut desk, P1, Function::MemRetrieveReq, Width::W64, words);
        assert_error(&answer, InvalidParameters);
        assert_unchanged(&desk, &before, words);
    }
}

#[test]
fn a57_a_buffer_that_is_none_is_refused() {
    for who in [NORMAL, P4] {
        let mut desk = desk();
        let buffer = who.memory() + BUFFER;
        for (address, pages) in [
            (buffer + 1, 1),
            (buffer + 0x800, 1),
            (buffer, 17),
            (buffer, u64::from(u32::MAX)),
            (!(PAGE - 1), 1),
            (!(PAGE - 1), 16),
            (1 << 52, 1),
        ] {
            refused_at(&mut desk, who, address, pages, InvalidParameters);
        }
        // The fragment is longer than the buffer.
        let bytes = share(who).encode(Version::V1_2);
        let address = put(&mut desk, who, BUFFER, &bytes);
        let before = desk.world();
        let words = [PAGE + 16, PAGE + 16, address, 1];
        let answer = send(&mut desk, who, Function::MemShare, Width::W64, words);
        assert_error(&answer, InvalidParameters);
        assert_unchanged(&desk, &before, words);
    }
}

#[test]
fn a57_memory_of_others_is_no_buffer() {
    let mut desk = desk();
    for (who, others) in [
        (NORMAL, [P4.memory(), 0x1000, 0xe10_0000]),
        (P4, [NORMAL.memory(), P1.memory(), 0xe10_0000]),
    ] {
        for other in others {
            refused_at(&mut desk, who, other, 1, InvalidParameters);
        }
    }
}

#[test]
fn a57_pages_that_are_away_are_no_buffer() {
    for who in [NORMAL, P4] {
        for function in SENDS {
            let mut desk = desk();
            let buffer = who.memory() + BUFFER;
            let away = Send::new(function, who, &[P1], &[run(buffer, 1)]);
            let handle = desk.send(who, &away).unwrap();
            // What a partition has lent is not mapped any more.
            let lent = who != NORMAL && function != Function::MemShare;
            let error = if lent { InvalidParameters } else { Denied };
            refused_at(&mut desk, who, buffer, 1, error);
            assert_eq!(desk.reclaim(who, handle, 0), Ok(()));
        }
    }
}

#[test]
fn a57_m9_mailboxes_are_no_other_buffer() {
    let mut desk = desk();
    for who in [NORMAL, P4] {
        let rx = Desk::rx_address(who);
        for address in [rx, rx + PAGE] {
            refused_at(&mut desk, who, address, 1, Denied);
        }
    }
}

#[test]
fn a57_what_is_sent_is_not_its_own_descriptor() {
    for who in [NORMAL, P4] {
        for function in SENDS {
            let mut desk = desk();
            let buffer = who.memory() + BUFFER;
            let described = Send::new(function, who, &[P1], &[run(buffer - PAGE, 3)]);
            let bytes = described.encode(Version::V1_2);
            put(&mut desk, who, BUFFER, &bytes);
            let before = desk.world();
            let length = bytes.len() as u64;
            let words = [length, length, buffer, 1];
            let answer = send(&mut desk, who, function, Width::W64, words);
            assert_error(&answer, Denied);
            assert_unchanged(&desk, &before, (who, function));
        }
    }
}

#[test]
fn a55_a_buffer_that_does_not_answer_is_aborted() {
    for who in [NORMAL, P4] {
        let mut desk = desk();
        let buffer = who.memory() + BUFFER;
        desk.sim
            .memory(|memory| memory.broken.push((space(who), buffer)));
        refused_at(&mut desk, who, buffer, 1, Aborted);
    }
}

#[test]
fn a57_each_allocation_failed_once_changes_nothing() {
    let mut failed = 0;
    for left in 0.. {
        let mut desk = Desk::with(
            4,
            Quotas {
                partition: left,
                normal_world: left,
            },
            |_, spec| spec,
        );
        let bytes = share(P4).encode(Version::V1_2);
        let address = put(&mut desk, P4, BUFFER, &bytes);
        let before = desk.world();
        let words = [END as u64, END as u64, address, 1];
        let answer = send(&mut desk, P4, Function::MemShare, Width::W64, words);
        if error(&answer).is_none() {
            break;
        }
        assert_error(&answer, FfaError::NoMemory);
        assert_unchanged(&desk, &before, left);
        failed += 1;
    }
    assert!(failed > 0, "nothing was allocated");
}

#[test]
fn a57_features_say_so_of_what_sends() {
    let mut desk = desk();
    for who in [NORMAL, P4] {
        for function in SENDS {
            for width in [Width::W32, Width::W64] {
                let asked = function.id(width);
                let answer = desk.call(who, &ffa(Function::Features, [asked, 0, 0, 0]));
                assert_function(&answer, Function::Success);
                assert_eq!(answer.w::<2>(), features::MEM_DYNAMIC_BUFFER);
            }
        }
        let asked = Function::MemRetrieveReq.id(Width::W32);
        let answer = desk.call(who, &ffa(Function::Features, [asked, 2, 0, 0]));
        assert_eq!(answer.w::<2>() & features::MEM_DYNAMIC_BUFFER, 0);
    }
}
