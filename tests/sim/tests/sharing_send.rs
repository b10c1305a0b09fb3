// SPDX-License-Identifier: MIT OR Apache-2.0
//! Donate, lend and share: each mistake of a descriptor is refused and changes nothing (S1 to S45, M9, M23).

use std::fmt::Debug;

use bulkhead_abi::FfaError::{self, Aborted, Denied, InvalidParameters};
use bulkhead_abi::memory::attributes::{
    Cacheability, DataAccess, Device, MemoryType, Shareability,
};
use bulkhead_abi::memory::{Constituent, Handle};
use bulkhead_abi::{EndpointId, Function, Registers, Version, Width};
use bulkhead_core::region::{Region, RegionKind};
use bulkhead_mm::addr::{Pa, PageRange};
use bulkhead_mm::attrs::{Permissions, Space};
use bulkhead_mm::owner::Hold;
use bulkhead_sim::memory::Quotas;
use bulkhead_sim::sharing::{Desk, NORMAL as WRITE_BACK, Retrieve, Send, Who, run};
use bulkhead_sim::{assert_error, assert_function, call, ffa};

#[path = "sharing_send/buffer.rs"]
mod buffer;
#[path = "sharing_send/memory.rs"]
mod memory;

const NORMAL: Who = Who::Normal;
const P1: Who = Who::Sp(0);
const P2: Who = Who::Sp(1);
const P3: Who = Who::Sp(2);
/// The partition that sends.
const P4: Who = Who::Sp(3);
const ALL: [Who; 3] = [P1, P2, P3];
const SENDS: [Function; 3] = [Function::MemDonate, Function::MemLend, Function::MemShare];

/// Where fields are in a descriptor of 1.2 with three receivers, in bytes.
const ATTRIBUTES: usize = 2;
const HANDLE: usize = 8;
const TAG: usize = 16;
const RECEIVER_SIZE: usize = 24;
const RECEIVER_COUNT: usize = 28;
const RECEIVERS_OFFSET: usize = 32;
const RECEIVERS: usize = 48;
const RECEIVER: usize = 32;
const COMPOSITE: usize = RECEIVERS + 3 * RECEIVER;
const CONSTITUENTS: usize = COMPOSITE + 16;
const END: usize = CONSTITUENTS + 3 * 16;

fn desk() -> Desk {
    Desk::new(4)
}

/// Three constituents of five pages.
fn runs(who: Who) -> [Constituent; 3] {
    let base = who.memory();
    [run(base, 1), run(base + 0x6000, 2), run(base + 0x3000, 2)]
}

/// A share with three receivers.
fn share(who: Who) -> Send {
    Send::new(Function::MemShare, who, &ALL, &runs(who))
}

#[track_caller]
fn assert_unchanged(desk: &Desk, before: &str, what: impl Debug) {
    assert!(desk.world() == before, "{what:?} changed something");
}

/// `send` is refused, and nothing has changed.
#[track_caller]
fn refused(desk: &mut Desk, who: Who, send: &Send, error: FfaError) {
    let before = desk.world();
    assert_eq!(desk.send(who, send), Err(error), "{send:?}");
    assert_unchanged(desk, &before, send);
}

/// `bytes` are refused, and nothing has changed.
#[track_caller]
fn bytes_refused(desk: &mut Desk, who: Who, bytes: &[u8], what: impl Debug) {
    let before = desk.world();
    let answer = desk.describe(who, Function::MemShare, bytes);
    assert_eq!(
        bulkhead_sim::error(&answer),
        Some(u64::from(InvalidParameters.code().cast_unsigned())),
        "{what:?}"
    );
    assert_unchanged(desk, &before, what);
}

/// `send` is accepted, and its reclaim gives back what there was.
#[track_caller]
fn accepted(desk: &mut Desk, who: Who, send: &Send) {
    let before = desk.world();
    let handle = desk.send(who, send).expect("it is as it should be");
    assert_eq!(desk.reclaim(who, handle, 0), Ok(()));
    assert_unchanged(desk, &before, send);
}

/// Each of `values` at `offset` of a right share, by the normal world and by a partition.
#[track_caller]
fn words_refused(offset: usize, values: &[u32]) {
    let mut desk = desk();
    for who in [NORMAL, P4] {
        for value in values {
            let mut bytes = share(who).encode(Version::V1_2);
            assert_eq!(bytes.len(), END);
            let field = &mut bytes[offset..offset + 4];
            assert_ne!(field, value.to_le_bytes(), "it is the right value");
            field.copy_from_slice(&value.to_le_bytes());
            bytes_refused(&mut desk, who, &bytes, (who, offset, value));
        }
        accepted(&mut desk, who, &share(who));
    }
}

#[test]
fn s1_s2_wrong_lengths_are_refused() {
    let mut desk = desk();
    let length = END as u64;
    let wrong = [
        (0, 0),
        (47, 47),
        (48, 48),
        (length, 0),
        (length - 1, length - 1),
        (length + 1, length + 1),
        (length + 16, length + 16),
        (length, length - 8),
        (length + 16, length),
        (4097, 4097),
        (1 << 31, 1 << 31),
        // S2: more in the fragment than in all.
        (length - 16, length),
        (0, length),
    ];
    for who in [NORMAL, P4] {
        for function in SENDS {
            let bytes = share(who).encode(Version::V1_2);
            desk.write_tx(who, &bytes);
            for (total, fragment) in wrong {
                let before = desk.world();
                let answer = desk.call(who, &ffa(function, [total, fragment, 0, 0]));
                assert_error(&answer, InvalidParameters);
                assert_unchanged(&desk, &before, (function, total, fragment));
            }
        }
    }
}

#[test]
fn s3_what_is_announced_takes_no_memory_before_it_comes() {
    let mut desk = desk();
    let before = desk.world();
    let count: u32 = 0x0fff_0000;
    let mut bytes = share(NORMAL).encode(Version::V1_2);
    bytes[COMPOSITE..COMPOSITE + 4].copy_from_slice(&(count + 2).to_le_bytes());
    bytes[COMPOSITE + 4..COMPOSITE + 8].copy_from_slice(&count.to_le_bytes());
    let total = (CONSTITUENTS as u64) + 16 * u64::from(count);
    desk.write_tx(NORMAL, &bytes);
    let answer = desk.call(NORMAL, &ffa(Function::MemShare, [total, END as u64, 0, 0]));
    assert_function(&answer, Function::MemFragRx);
    let handle = Handle::from_words(answer.w::<1>(), answer.w::<2>());
    assert_eq!(desk.reclaim(NORMAL, handle, 0), Ok(()));
    assert_unchanged(&desk, &before, total);
}

#[test]
fn s5_wrong_counts_of_receivers_are_refused() {
    words_refused(RECEIVER_COUNT, &[0, 4, 127, 0x1000, u32::MAX]);
}

#[test]
fn s6_wrong_offsets_of_receivers_are_refused() {
    let wrong = [0, 16, 47, 49, 56, 0x1000, 0xffff_fff0, u32::MAX];
    words_refused(RECEIVERS_OFFSET, &wrong);
}

#[test]
fn s6_receivers_are_where_the_offset_says() {
    const GAP: usize = 16;
    let mut desk = desk();
    for who in [NORMAL, P4] {
        let send = share(who);
        let mut bytes = send.encode(Version::V1_2);
        // What is between is no receiver.
        bytes.splice(RECEIVERS..RECEIVERS, [0; GAP]);
        let mut more = |offset: usize| {
            let field = &mut bytes[offset..offset + 4];
            let value = u32::from_le_bytes(field.try_into().unwrap()) + GAP as u32;
            field.copy_from_slice(&value.to_le_bytes());
        };
        more(RECEIVERS_OFFSET);
        for number in 0..send.receivers.len() {
            more(RECEIVERS + GAP + number * RECEIVER + 4);
        }
        let answer = desk.describe(who, Function::MemShare, &bytes);
        assert_function(&answer, Function::Success);
        let handle = Handle::from_words(answer.w::<2>(), answer.w::<3>());
        for receiver in ALL {
            desk.retrieve(receiver, &Retrieve::of(&send, handle))
                .unwrap();
            desk.relinquish(receiver, handle, 0).unwrap();
        }
        desk.reclaim(who, handle, 0).unwrap();
    }
}

#[test]
fn s6_a_receiver_inside_the_header_is_refused() {
    let mut desk = desk();
    for who in [NORMAL, P4] {
        let send = Send::new(Function::MemShare, who, &[P1], &runs(who));
        let mut bytes = send.encode(Version::V1_2);
        // The tag reads as the first half of a receiver.
        bytes.copy_within(RECEIVERS..RECEIVERS + 8, TAG);
        bytes[RECEIVERS_OFFSET..RECEIVERS_OFFSET + 4].copy_from_slice(&(TAG as u32).to_le_bytes());
        bytes_refused(&mut desk, who, &bytes, who);
    }
}

#[test]
fn s7_wrong_sizes_of_a_receiver_are_refused() {
    words_refused(RECEIVER_SIZE, &[0, 1, 8, 24, 33, 48, 0x1000, u32::MAX]);
}

#[test]
fn s8_wrong_offsets_of_the_composite_descriptor_are_refused() {
    let end = u32::try_from(END).unwrap();
    let right = u32::try_from(COMPOSITE).unwrap();
    let wrong = [
        0,
        16,
        64,
        right - 16,
        right + 8,
        right + 16,
        end,
        0x1000,
        0xffff_fff0,
    ];
    for receiver in 0..3 {
        // The other two have the right one, so that they are different, too.
        words_refused(RECEIVERS + receiver * RECEIVER + 4, &wrong);
    }
}

#[test]
fn s9_wrong_counts_of_constituents_are_refused() {
    words_refused(
        COMPOSITE + 4,
        &[0, 2, 4, 0x1000_0000, 0x1000_0003, u32::MAX],
    );
}

#[test]
fn s10_a_wrong_total_of_pages_is_refused() {
    words_refused(COMPOSITE, &[0, 4, 6, 0x8000_0005, u32::MAX]);
    // Their sum is 5 modulo 2^32.
    let mut desk = desk();
    let base = NORMAL.memory();
    let half = 0x8000_0000;
    let wraps = [run(base, half), run(base, half), run(base, 5)];
    let send = Send::new(Function::MemShare, NORMAL, &ALL, &wraps);
    refused(&mut desk, NORMAL, &send, InvalidParameters);
}

#[test]
fn s11_s12_an_empty_or_unaligned_constituent_is_refused_wherever_it_is() {
    let mut desk = desk();
    for who in [NORMAL, P4] {
        for place in 0..3 {
            let mut send = share(who);
            send.constituents[place].page_count = 0;
            refused(&mut desk, who, &send, InvalidParameters);
            for low in [1, 8, 0x800, 0xfff] {
                let mut send = share(who);
                send.constituents[place].address += low;
                refused(&mut desk, who, &send, InvalidParameters);
            }
        }
    }
}

#[test]
fn s13_a_constituent_past_the_end_of_addresses_is_refused_and_one_outside_memory_too() {
    let mut desk = desk();
    for who in [NORMAL, P4] {
        for place in 0..3 {
            for (address, pages, error) in [
                (!0xfff, 1, InvalidParameters),
                (!0xfff, 2, InvalidParameters),
                (1 << 52, 1, InvalidParameters),
                ((1 << 52) - 0x1000, 2, InvalidParameters),
                ((1 << 52) - 0x1000, 1, Denied),
                (0, u32::MAX, Denied),
            ] {
                let mut send = share(who);
                send.constituents[place] = run(address, pages);
                // All pages are counted in 32 bits (S10).
                let all: u64 = (send
                    .constituents
                    .iter()
                    .map(|run| u64::from(run.page_count)))
                .sum();
                let error = if all > u64::from(u32::MAX) {
                    InvalidParameters
                } else {
                    error
                };
                refused(&mut desk, who, &send, error);
            }
        }
    }
}

#[test]
fn s14_reserved_bytes_are_zero() {
    let mut reserved: Vec<usize> = (36..RECEIVERS).collect();
    for receiver in 0..3 {
        let start = RECEIVERS + receiver * RECEIVER;
        reserved.push(start + 3);
        reserved.extend(start + 24..start + RECEIVER);
    }
    reserved.extend(COMPOSITE + 8..CONSTITUENTS);
    for constituent in 0..3 {
        let start = CONSTITUENTS + constituent * 16;
        reserved.extend(start + 12..start + 16);
    }
    let mut desk = desk();
    for who in [NORMAL, P4] {
        for place in &reserved {
            for value in [1, 0x80, 0xff] {
                let mut bytes = share(who).encode(Version::V1_2);
                bytes[*place] = value;
                bytes_refused(&mut desk, who, &bytes, (who, place, value));
            }
        }
    }
}

#[test]
fn s15_a_handle_is_refused() {
    let mut desk = desk();
    for place in HANDLE..HANDLE + 8 {
        for function in SENDS {
            let mut bytes = share(P4).encode(Version::V1_2);
            bytes[place] = 1;
            let before = desk.world();
            assert_error(&desk.describe(P4, function, &bytes), InvalidParameters);
            assert_unchanged(&desk, &before, (place, function));
        }
    }
}

#[test]
fn s16_a_descriptor_may_fill_tx_to_its_last_byte() {
    let mut desk = desk();
    let base = NORMAL.memory();
    let full: Vec<_> = (0..246).map(|page| run(base + page * 0x2000, 1)).collect();
    let send = Send::new(Function::MemShare, NORMAL, &ALL, &full);
    let bytes = send.encode(Version::V1_2);
    assert_eq!(bytes.len(), 4096);
    accepted(&mut desk, NORMAL, &send);
    for length in [4095, 4097, 4080, 4112] {
        let before = desk.world();
        let answer = desk.call(NORMAL, &ffa(Function::MemShare, [length, length, 0, 0]));
        assert_error(&answer, InvalidParameters);
        assert_unchanged(&desk, &before, length);
    }
}

/// Fields in which another bit makes another descriptor that is right, too: the tag, permissions, what is
/// implementation defined, where the memory is, and the count of receivers: there may be room behind them.
fn may_differ(place: usize) -> bool {
    let of_receiver = |start: usize| {
        (RECEIVERS..COMPOSITE).contains(&place) && (place - RECEIVERS) % RECEIVER == start
    };
    (TAG..TAG + 8).contains(&place)
        || place == RECEIVER_COUNT
        || of_receiver(2)
        || (8..24).any(of_receiver)
        || (place >= CONSTITUENTS && (place - CONSTITUENTS) % 16 < 8)
}

#[test]
fn s17_a_descriptor_with_another_bit_is_refused_or_means_what_it_says() {
    let mut desk = desk();
    let before = desk.world();
    let right = share(P4).encode(Version::V1_2);
    let mut taken = 0;
    for bit in 0..right.len() * 8 {
        let mut bytes = right.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let answer = desk.describe(P4, Function::MemShare, &bytes);
        if bulkhead_sim::error(&answer).is_none() {
            assert_function(&answer, Function::Success);
            assert!(may_differ(bit / 8), "bit {bit}");
            let handle = Handle::from_words(answer.w::<2>(), answer.w::<3>());
            assert_eq!(desk.reclaim(P4, handle, 0), Ok(()));
            taken += 1;
        }
        assert_unchanged(&desk, &before, bit);
    }
    // The tag and what is implementation defined, at least.
    assert!(taken >= 64 + 3 * 128, "{taken}");
}

#[test]
fn s18_a_sender_other_than_the_caller_is_denied() {
    let mut desk = desk();
    for function in SENDS {
        let to: &[Who] = if function == Function::MemDonate {
            &[P2]
        } else {
            &ALL
        };
        for (caller, named) in [
            (P4, EndpointId(0x8001)),
            (P4, EndpointId(0)),
            (P4, EndpointId(0x8009)),
            (NORMAL, EndpointId(0x8004)),
            (NORMAL, EndpointId(0x8009)),
            (NORMAL, EndpointId(7)),
        ] {
            let mut send = Send::new(function, caller, to, &runs(caller));
            send.sender = named;
            refused(&mut desk, caller, &send, Denied);
        }
    }
}

#[test]
fn s19_s20_s21_the_sender_a_second_time_and_unknown_receivers_are_refused() {
    let mut desk = desk();
    for who in [NORMAL, P4] {
        for place in 0..3 {
            let right = share(who);
            let twice = right.receivers[(place + 1) % 3].0;
            for wrong in [who.id(), twice, EndpointId(0x8009), EndpointId(9)] {
                let mut send = right.clone();
                send.receivers[place].0 = wrong;
                refused(&mut desk, who, &send, InvalidParameters);
            }
        }
    }
}

#[test]
fn s22_a_donation_has_one_receiver() {
    let mut desk = desk();
    for who in [NORMAL, P4] {
        for to in [&ALL[..], &ALL[..2]] {
            let send = Send::new(Function::MemDonate, who, to, &runs(who));
            refused(&mut desk, who, &send, InvalidParameters);
        }
    }
}

#[test]
fn s23_a_partition_does_not_send_to_the_normal_world() {
    let mut desk = desk();
    for function in SENDS {
        let send = Send::new(function, P4, &[NORMAL], &runs(P4));
        refused(&mut desk, P4, &send, Denied);
    }
    let send = Send::new(Function::MemShare, P4, &[P1, P2, NORMAL], &runs(P4));
    refused(&mut desk, P4, &send, Denied);
}

#[test]
fn s24_the_normal_world_does_not_send_to_itself_alone() {
    let mut desk = desk();
    let vms = [EndpointId(5), EndpointId(6)];
    for vm in vms {
        let id = Function::NotificationBitmapCreate.id(Width::W32);
        let create = call([id, u64::from(vm.0), 1, 0, 0, 0, 0, 0]);
        assert_function(&desk.call(NORMAL, &create), Function::Success);
    }
    for function in SENDS {
        let mut send = Send::new(function, NORMAL, &[P1], &runs(NORMAL));
        send.receivers[0].0 = vms[0];
        refused(&mut desk, NORMAL, &send, Denied);
    }
    // Two of them beside a partition; one in a lend; one in a share.
    let mut send = share(NORMAL);
    send.receivers[0].0 = vms[0];
    accepted(&mut desk, NORMAL, &send);
    send.receivers[2].0 = vms[1];
    refused(&mut desk, NORMAL, &send, Denied);
    let mut send = Send::new(Function::MemLend, NORMAL, &ALL, &runs(NORMAL));
    send.receivers[0].0 = vms[0];
    refused(&mut desk, NORMAL, &send, Denied);
}

#[test]
fn s25_a_receiver_that_ended_is_aborted() {
    let mut desk = desk();
    desk.end(P2);
    for who in [NORMAL, P4] {
        refused(&mut desk, who, &share(who), Aborted);
        let lend = Send::new(Function::MemLend, who, &[P2], &runs(who));
        refused(&mut desk, who, &lend, Aborted);
        accepted(
            &mut desk,
            who,
            &Send::new(Function::MemShare, who, &[P1, P3], &runs(who)),
        );
    }
}
