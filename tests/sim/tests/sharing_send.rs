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
fn s4_a_buffer_other_than_tx_is_refused() {
    let mut desk = desk();
    for (address, pages) in [(0x4000_0000, 1), (0x4000_0000, 0), (0, 1)] {
        let before = desk.world();
        let bytes = share(NORMAL).encode(Version::V1_2);
        desk.write_tx(NORMAL, &bytes);
        let length = END as u64;
        let words = [length, length, address, pages];
        let answer = desk.call(NORMAL, &ffa(Function::MemShare, words));
        assert_error(&answer, InvalidParameters);
        assert_unchanged(&desk, &before, words);
    }
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
fn s13_a_constituent_that_wraps_is_refused_and_one_outside_memory_too() {
    let mut desk = desk();
    for who in [NORMAL, P4] {
        for place in 0..3 {
            for (address, pages) in [(!0xfff, 1), (!0xfff, 2), (0, u32::MAX), (1 << 52, 1)] {
                let mut send = share(who);
                send.constituents[place] = run(address, pages);
                let before = desk.world();
                let error = desk.send(who, &send).expect_err("it is nobody's");
                assert!(matches!(error, InvalidParameters | Denied), "{error:?}");
                if address == !0xfff && pages == 2 {
                    assert_eq!(error, InvalidParameters);
                }
                assert_unchanged(&desk, &before, &send);
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

#[test]
fn s26_overlapping_constituents_are_refused() {
    let mut desk = desk();
    for who in [NORMAL, P4] {
        let base = who.memory();
        for other in [
            run(base, 4),
            run(base + 0x1000, 2),
            run(base + 0x3000, 4),
            run(base, 1),
        ] {
            for function in [Function::MemLend, Function::MemShare] {
                let first = run(base, 4);
                let away = run(base + 0x10000, 1);
                for order in [
                    [first, away, other],
                    [other, first, away],
                    [away, other, first],
                ] {
                    let send = Send::new(function, who, &ALL, &order);
                    refused(&mut desk, who, &send, InvalidParameters);
                }
            }
        }
    }
}

/// Every way of sending `bad` among pages that are right is refused.
#[track_caller]
fn page_denied(desk: &mut Desk, who: Who, bad: Constituent) {
    for place in 0..3 {
        for function in SENDS {
            let to: &[Who] = if function == Function::MemDonate {
                &[P2]
            } else {
                &ALL
            };
            let mut all = runs(who);
            all[place] = bad;
            refused(desk, who, &Send::new(function, who, to, &all), Denied);
        }
    }
}

#[test]
fn s27_s34_s35_pages_that_are_not_the_senders_are_denied() {
    let mut desk = desk();
    // Nothing, the SPMC's pages, another partition's, the other world's.
    for address in [
        0x3000_0000,
        0x0e10_0000,
        0x0e20_0000,
        P1.memory(),
        NORMAL.memory(),
    ] {
        page_denied(&mut desk, P4, run(address, 1));
    }
    // Nothing, the SPMC's pages, partitions', those beside the normal world's memory, partly and wholly.
    for address in [
        0x3000_0000,
        0x0e10_0000,
        P1.memory(),
        0x3fff_f000,
        0x5000_0000,
    ] {
        page_denied(&mut desk, NORMAL, run(address, 1));
    }
    page_denied(&mut desk, NORMAL, run(0x4fff_f000, 2));
    page_denied(&mut desk, NORMAL, run(0x3fff_f000, 2));
}

#[test]
fn s28_borrowed_pages_are_denied() {
    let mut desk = desk();
    let send = Send::new(Function::MemShare, P1, &[P2, P3, P4], &runs(P1));
    let handle = desk.send(P1, &send).unwrap();
    desk.retrieve(P4, &Retrieve::of(&send, handle)).unwrap();
    for page in [P1.memory(), P1.memory() + 0x7000, P1.memory() + 0x3000] {
        assert!(desk.mapped(P4, Space::Secure, page).is_some());
        page_denied(&mut desk, P4, run(page, 1));
    }
}

#[test]
fn s29_s30_pages_that_are_away_already_are_denied_also_among_others() {
    for who in [NORMAL, P4] {
        for function in SENDS {
            let mut desk = desk();
            let to: &[Who] = if function == Function::MemDonate {
                &[P2]
            } else {
                &ALL
            };
            let base = who.memory() + 0x1_0000;
            let away = [run(base, 1), run(base + 0x4000, 2), run(base + 0x8000, 1)];
            let first = Send::new(function, who, to, &away);
            let handle = desk.send(who, &first).unwrap();
            for page in [base, base + 0x5000, base + 0x8000] {
                page_denied(&mut desk, who, run(page, 1));
            }
            page_denied(&mut desk, who, run(base + 0x3000, 2));
            assert_eq!(desk.reclaim(who, handle, 0), Ok(()));
            accepted(&mut desk, who, &first);
        }
    }
}

/// P4 has one more region, at [`EXTRA`].
fn desk_with(kind: RegionKind, space: Space, permissions: Permissions) -> Desk {
    Desk::with(4, Quotas::default(), |index, spec| {
        if index != 3 {
            return spec;
        }
        spec.with(|config| {
            let own = config.regions[0];
            let range = PageRange::new(Pa(EXTRA), 0x8000).unwrap();
            let more = Region {
                kind,
                space,
                range,
                permissions,
                ..own
            };
            config.regions = vec![own, more].leak();
        })
    })
}

const EXTRA: u64 = 0x2000_0000;

fn extra() -> [Constituent; 3] {
    [
        run(EXTRA, 1),
        run(EXTRA + 0x3000, 2),
        run(EXTRA + 0x6000, 1),
    ]
}

#[test]
fn s31_secure_and_non_secure_pages_do_not_mix() {
    let mut desk = desk_with(
        RegionKind::Memory,
        Space::NonSecure,
        Permissions::READ_WRITE,
    );
    assert!(desk.mapped(P4, Space::NonSecure, EXTRA).is_some());
    page_denied(&mut desk, P4, run(EXTRA, 1));
    // Alone, they have two owners, and are nobody's to send.
    let send = Send::new(Function::MemShare, P4, &ALL, &extra());
    refused(&mut desk, P4, &send, Denied);
}

#[test]
fn s32_a_device_is_lent_to_one_receiver_only() {
    let mut desk = desk_with(RegionKind::Device, Space::Secure, Permissions::READ_WRITE);
    let device = Some(MemoryType::Device(Device::NGnRnE));
    page_denied(&mut desk, P4, run(EXTRA, 1));
    for (function, to) in [
        (Function::MemShare, &ALL[..1]),
        (Function::MemShare, &ALL),
        (Function::MemLend, &ALL),
    ] {
        for given in [device, Some(WRITE_BACK)] {
            let mut send = Send::new(function, P4, to, &extra());
            send.memory_type = given;
            refused(&mut desk, P4, &send, Denied);
        }
    }
    let donate = Send::new(Function::MemDonate, P4, &[P2], &extra());
    refused(&mut desk, P4, &donate, Denied);
    let mut lend = Send::new(Function::MemLend, P4, &[P2], &extra());
    accepted(&mut desk, P4, &lend);
    lend.flags = 1;
    refused(&mut desk, P4, &lend, Denied);
}

#[test]
fn s33_m23_buffers_are_denied_until_they_are_unmapped() {
    let mut desk = desk();
    for who in [NORMAL, P4] {
        let rx = Desk::rx_address(who);
        for page in [rx, rx + 0x1000] {
            page_denied(&mut desk, who, run(page, 1));
        }
        let before = desk.world();
        let unmap = ffa(Function::RxtxUnmap, [0; 4]);
        assert_function(&desk.call(who, &unmap), Function::Success);
        // Its descriptors need a TX buffer elsewhere.
        let elsewhere = who.memory() + 0x1_8000;
        let id = Function::RxtxMap.id(Width::W64);
        let map = |at: u64| call([id, at + 0x1000, at, 1, 0, 0, 0, 0]);
        assert_function(&desk.call(who, &map(elsewhere)), Function::Success);
        let buffers = [run(rx, 1), run(who.memory(), 1), run(rx + 0x1000, 1)];
        accepted(
            &mut desk,
            who,
            &Send::new(Function::MemLend, who, &ALL, &buffers),
        );
        assert_function(&desk.call(who, &unmap), Function::Success);
        assert_function(&desk.call(who, &map(rx)), Function::Success);
        assert_unchanged(&desk, &before, who);
    }
}

#[test]
fn m9_pages_that_are_away_or_borrowed_are_no_buffers() {
    for function in SENDS {
        for who in [NORMAL, P4] {
            let mut desk = desk();
            let to: &[Who] = if function == Function::MemDonate {
                &[P2]
            } else {
                &ALL
            };
            let send = Send::new(function, who, to, &runs(who));
            let handle = desk.send(who, &send).unwrap();
            let unmap = ffa(Function::RxtxUnmap, [0; 4]);
            assert_function(&desk.call(who, &unmap), Function::Success);
            let before = desk.world();
            let free = who.memory() + 0x1_8000;
            let id = Function::RxtxMap.id(Width::W64);
            for away in [0, 0x3000, 0x7000].map(|page| who.memory() + page) {
                for (tx, rx) in [(away, free), (free, away)] {
                    let answer: Registers = desk.call(who, &call([id, tx, rx, 1, 0, 0, 0, 0]));
                    let error = bulkhead_sim::error(&answer);
                    let code = |error: FfaError| Some(u64::from(error.code().cast_unsigned()));
                    assert!(
                        error == code(Denied) || error == code(InvalidParameters),
                        "{function:?} {who:?} {error:x?}"
                    );
                    assert_unchanged(&desk, &before, (function, who, tx, rx));
                }
            }
            assert_eq!(desk.reclaim(who, handle, 0), Ok(()));
        }
    }
}

#[test]
fn s36_a_donated_page_is_donated_on_by_its_new_owner_only() {
    let mut desk = desk();
    let send = Send::new(Function::MemDonate, P4, &[P1], &runs(P4));
    let handle = desk.send(P4, &send).unwrap();
    desk.retrieve(P1, &Retrieve::of(&send, handle)).unwrap();
    for function in SENDS {
        let again = Send::new(function, P4, &[P2], &runs(P4));
        refused(&mut desk, P4, &again, Denied);
    }
    let on = Send::new(Function::MemDonate, P1, &[P3], &runs(P4));
    let handle = desk.send(P1, &on).unwrap();
    desk.retrieve(P3, &Retrieve::of(&on, handle)).unwrap();
    for page in [0, 0x3000, 0x4000, 0x6000, 0x7000] {
        let state = desk.state(Space::Secure, P4.memory() + page);
        assert_eq!(state.owner, bulkhead_mm::owner::Owner::Partition(P3.id().0));
        assert_eq!(state.hold, Hold::Exclusive);
        assert!(desk.mapped(P1, Space::Secure, P4.memory() + page).is_none());
    }
    refused(
        &mut desk,
        P1,
        &Send::new(Function::MemDonate, P1, &[P2], &runs(P4)),
        Denied,
    );
}

#[test]
fn s37_the_first_and_the_last_page_of_each_range_are_the_owners() {
    let mut desk = desk_with(RegionKind::Memory, Space::Secure, Permissions::READ_WRITE);
    for (who, first, last) in [
        (NORMAL, 0x4000_0000, 0x4fff_f000),
        (P4, EXTRA, EXTRA + 0x7000),
    ] {
        for (page, is_own) in [
            (first, true),
            (last, true),
            (first - 0x1000, false),
            (last + 0x1000, false),
        ] {
            let send = Send::new(Function::MemShare, who, &ALL, &[run(page, 1)]);
            if is_own {
                accepted(&mut desk, who, &send);
            } else {
                refused(&mut desk, who, &send, Denied);
            }
        }
    }
}

#[test]
fn s38_s43_read_only_pages_are_neither_written_nor_zeroed() {
    let read_only = Permissions {
        write: false,
        ..Permissions::READ_WRITE
    };
    let mut desk = desk_with(RegionKind::Memory, Space::Secure, read_only);
    for function in [Function::MemLend, Function::MemShare] {
        let mut send = Send::new(function, P4, &ALL, &extra());
        refused(&mut desk, P4, &send, Denied);
        // One who writes is enough.
        send.receivers[0].1 = DataAccess::ReadOnly;
        send.receivers[2].1 = DataAccess::ReadOnly;
        refused(&mut desk, P4, &send, Denied);
        send.receivers[1].1 = DataAccess::ReadOnly;
        accepted(&mut desk, P4, &send);
        if function == Function::MemLend {
            send.flags = 1;
            refused(&mut desk, P4, &send, Denied);
        }
    }
    let mut donate = Send::new(Function::MemDonate, P4, &[P1], &extra());
    donate.flags = 1;
    refused(&mut desk, P4, &donate, Denied);
    // One such constituent among others is enough, too.
    page_denied_to_write(&mut desk);
}

#[track_caller]
fn page_denied_to_write(desk: &mut Desk) {
    for place in 0..3 {
        let mut all = runs(P4);
        all[place] = run(EXTRA, 1);
        refused(
            desk,
            P4,
            &Send::new(Function::MemShare, P4, &ALL, &all),
            Denied,
        );
    }
}

#[test]
fn s39_the_sender_gives_no_instruction_access() {
    let mut desk = desk();
    for who in [NORMAL, P4] {
        for receiver in 0..3 {
            // Not executable, executable.
            for instruction in [1, 2] {
                let mut bytes = share(who).encode(Version::V1_2);
                bytes[RECEIVERS + receiver * RECEIVER + 2] |= instruction << 2;
                bytes_refused(&mut desk, who, &bytes, (who, receiver, instruction));
            }
        }
    }
}

#[test]
fn s40_s41_another_memory_type_is_denied() {
    let mut desk = desk();
    for who in [NORMAL, P4] {
        for wrong in [
            MemoryType::NotSpecified,
            MemoryType::Device(Device::NGnRnE),
            MemoryType::Device(Device::GRE),
            MemoryType::Normal(Cacheability::NonCacheable, Shareability::Inner),
            MemoryType::Normal(Cacheability::WriteBack, Shareability::Outer),
            MemoryType::Normal(Cacheability::WriteBack, Shareability::NonShareable),
        ] {
            for function in [Function::MemLend, Function::MemShare] {
                let mut send = Send::new(function, who, &ALL, &runs(who));
                send.memory_type = Some(wrong);
                refused(&mut desk, who, &send, Denied);
            }
        }
        // Where the receiver decides, none is given.
        for function in [Function::MemLend, Function::MemDonate] {
            let mut send = Send::new(function, who, &[P2], &runs(who));
            send.memory_type = Some(WRITE_BACK);
            refused(&mut desk, who, &send, InvalidParameters);
        }
    }
}

#[test]
fn s42_the_non_secure_bit_is_refused() {
    let mut desk = desk();
    for who in [NORMAL, P4] {
        let mut bytes = share(who).encode(Version::V1_2);
        bytes[ATTRIBUTES] |= 1 << 6;
        bytes_refused(&mut desk, who, &bytes, who);
    }
}

#[test]
fn s43_s44_s45_flags_that_a_send_does_not_have_are_refused() {
    let mut desk = desk();
    for who in [NORMAL, P4] {
        for function in SENDS {
            let to: &[Who] = if function == Function::MemDonate {
                &[P2]
            } else {
                &ALL
            };
            for bit in 0..32 {
                let mut send = Send::new(function, who, to, &runs(who));
                send.flags = 1 << bit;
                if bit == 0 && function != Function::MemShare {
                    accepted(&mut desk, who, &send);
                } else {
                    refused(&mut desk, who, &send, InvalidParameters);
                }
            }
        }
    }
}
