// SPDX-License-Identifier: MIT OR Apache-2.0
//! Retrieve, relinquish and reclaim: each mistake is refused and changes nothing (T1 to T24).

use bulkhead_abi::FfaError::{self, Aborted, Busy, Denied, InvalidParameters};
use bulkhead_abi::memory::attributes::{DataAccess, Device, InstructionAccess, MemoryType};
use bulkhead_abi::memory::{Constituent, Handle};
use bulkhead_abi::{EndpointId, Function, Registers, Version, Width};
use bulkhead_mm::attrs::Space;
use bulkhead_mm::owner::{Hold, Owner};
use bulkhead_sim::sharing::{Desk, Retrieve, Retrieved, Send, Who, run};
use bulkhead_sim::{assert_error, assert_function, call, ffa};

#[path = "sharing_retrieve/death.rs"]
mod death;
#[path = "sharing_retrieve/fragments.rs"]
mod fragments;
#[path = "sharing_retrieve/handles.rs"]
mod handles;

const NORMAL: Who = Who::Normal;
const P1: Who = Who::Sp(0);
const P2: Who = Who::Sp(1);
const P3: Who = Who::Sp(2);
/// The partition that sends.
const P4: Who = Who::Sp(3);
/// Neither sender nor receiver.
const P5: Who = Who::Sp(4);
const ALL: [Who; 3] = [P1, P2, P3];
const SENDS: [Function; 3] = [Function::MemDonate, Function::MemLend, Function::MemShare];
const CLEAR: u32 = 1 << 0;
const CLEAR_RELINQUISH: u32 = 1 << 2;
const BYPASS: u32 = 1 << 10;

fn desk() -> Desk {
    Desk::new(5)
}

/// Three constituents of five pages.
fn runs(who: Who) -> [Constituent; 3] {
    let base = who.memory();
    [run(base, 1), run(base + 0x6000, 2), run(base + 0x3000, 2)]
}

/// The addresses of all pages of [`runs`].
fn pages(who: Who) -> [u64; 5] {
    [0, 0x6000, 0x7000, 0x3000, 0x4000].map(|page| who.memory() + page)
}

fn space(who: Who) -> Space {
    match who {
        Who::Normal => Space::NonSecure,
        Who::Sp(_) => Space::Secure,
    }
}

fn send_of(function: Function, who: Who) -> Send {
    let to: &[Who] = match function {
        Function::MemDonate => &[P2],
        _ => &ALL,
    };
    Send::new(function, who, to, &runs(who))
}

/// Puts a value into each page.
fn fill(desk: &Desk, who: Who, value: u64) {
    desk.sim.memory(|memory| {
        for page in pages(who) {
            memory.contents.insert((space(who), page), value);
        }
    });
}

/// What each page holds.
#[track_caller]
fn assert_content(desk: &Desk, who: Who, value: u64) {
    desk.sim.memory(|memory| {
        for page in pages(who) {
            let found = memory.contents.get(&(space(who), page)).copied();
            assert_eq!(found, Some(value), "{page:#x}");
        }
    });
}

/// The request is refused, and nothing has changed.
#[track_caller]
fn refused(desk: &mut Desk, who: Who, request: &Retrieve, error: FfaError) {
    let before = desk.world();
    assert_eq!(desk.retrieve(who, request), Err(error), "{request:?}");
    assert!(desk.world() == before, "{request:?} changed something");
}

#[track_caller]
fn relinquish_refused(desk: &mut Desk, who: Who, handle: Handle, flags: u32, error: FfaError) {
    let before = desk.world();
    assert_eq!(desk.relinquish(who, handle, flags), Err(error));
    assert!(desk.world() == before, "relinquish changed something");
}

#[track_caller]
fn reclaim_refused(desk: &mut Desk, who: Who, handle: Handle, flags: u32, error: FfaError) {
    let before = desk.world();
    assert_eq!(desk.reclaim(who, handle, flags), Err(error));
    assert!(desk.world() == before, "reclaim changed something");
}

#[track_caller]
fn take(desk: &mut Desk, who: Who, send: &Send, handle: Handle) -> Retrieved {
    let request = Retrieve::of(send, handle);
    desk.retrieve(who, &request).expect("it may have it")
}

/// A request of P2 for a transaction of each sender, changed so that it is wrong, is refused, and the right one is not.
#[track_caller]
fn wrong(function: Function, error: FfaError, change: impl Fn(&mut Retrieve)) {
    for sender in [NORMAL, P4] {
        let mut desk = desk();
        let send = send_of(function, sender);
        let handle = desk.send(sender, &send).unwrap();
        let mut request = Retrieve::of(&send, handle);
        change(&mut request);
        refused(&mut desk, P2, &request, error);
        take(&mut desk, P2, &send, handle);
    }
}

#[test]
fn t1_h1_h3_a_stranger_is_told_the_same_as_of_a_handle_that_is_nobodys() {
    let mut desk = desk();
    for function in SENDS {
        let send = send_of(function, P4);
        let handle = desk.send(P4, &send).unwrap();
        for who in [P5, P4, NORMAL] {
            let mut other = Retrieve::of(&send, handle);
            refused(&mut desk, who, &other, InvalidParameters);
            if who != NORMAL {
                other.receivers[0].endpoint = who.id();
                refused(&mut desk, who, &other, InvalidParameters);
            }
            other.handle = Handle(0x1234_5678);
            refused(&mut desk, who, &other, InvalidParameters);
            relinquish_refused(&mut desk, who, handle, 0, InvalidParameters);
        }
        assert_eq!(desk.reclaim(P4, handle, 0), Ok(()));
    }
}

#[test]
fn t2_a_full_or_absent_rx_is_busy() {
    let mut desk = desk();
    let send = send_of(Function::MemShare, P4);
    let handle = desk.send(P4, &send).unwrap();
    let bytes = Retrieve::of(&send, handle).encode(Version::V1_2);
    // RX is full: of the count of partitions.
    let info = ffa(Function::PartitionInfoGet, [0; 4]);
    assert_function(&desk.call(P2, &info), Function::Success);
    let before = desk.world();
    let answer = desk.describe(P2, Function::MemRetrieveReq, &bytes);
    assert_error(&answer, Busy);
    assert!(desk.world() == before);
    assert_function(
        &desk.call(P2, &ffa(Function::RxRelease, [0; 4])),
        Function::Success,
    );
    take(&mut desk, P2, &send, handle);
    let unmap = ffa(Function::RxtxUnmap, [0; 4]);
    assert_function(&desk.call(P3, &unmap), Function::Success);
    let before = desk.world();
    let length = bytes.len() as u64;
    let answer = desk.call(P3, &ffa(Function::MemRetrieveReq, [length, length, 0, 0]));
    assert_error(&answer, Busy);
    assert!(desk.world() == before);
}

#[test]
fn t3_a_wrong_tag_or_sender_is_refused() {
    for function in SENDS {
        wrong(function, InvalidParameters, |request| {
            request.tag ^= 1 << 40
        });
        for id in [EndpointId(0x8002), EndpointId(0x8005), EndpointId(9)] {
            wrong(function, InvalidParameters, |request| request.sender = id);
        }
    }
}

#[test]
fn t4_t7_other_types_time_slices_and_hints_are_refused() {
    for (function, own) in SENDS.into_iter().zip([3, 2, 1]) {
        for kind in 1..4 {
            if kind != own {
                let flags = kind << 3;
                wrong(function, InvalidParameters, |request| request.flags = flags);
            }
        }
        for flags in [1 << 1, 1 << 5, 1 << 9, 1 << 9 | 3 << 5, 1 << 11, 1 << 31] {
            wrong(function, InvalidParameters, |request| request.flags = flags);
        }
        let mut desk = desk();
        let send = send_of(function, P4);
        let handle = desk.send(P4, &send).unwrap();
        let mut request = Retrieve::of(&send, handle);
        request.flags = own << 3;
        desk.retrieve(P2, &request).unwrap();
    }
}

#[test]
fn t5_more_than_granted_is_denied() {
    let mut desk = desk();
    for sender in [NORMAL, P4] {
        for function in [Function::MemLend, Function::MemShare] {
            let mut send = send_of(function, sender);
            send.receivers[1].1 = DataAccess::ReadOnly;
            let handle = desk.send(sender, &send).unwrap();
            let mut request = Retrieve::of(&send, handle);
            request.receivers[1].permissions.data = DataAccess::ReadWrite;
            refused(&mut desk, P2, &request, Denied);
            request.receivers[1].permissions.data = DataAccess::NotSpecified;
            desk.retrieve(P2, &request).unwrap();
            for page in pages(sender) {
                let mapped = desk.mapped(P2, space(sender), page).unwrap();
                assert!(!mapped.permissions.write && !mapped.permissions.execute);
            }
            desk.relinquish(P2, handle, 0).unwrap();
            desk.reclaim(sender, handle, 0).unwrap();
        }
    }
    // X: never with W, and never of the normal world's memory.
    for sender in [NORMAL, P4] {
        let mut send = Send::new(Function::MemLend, sender, &[P2], &runs(sender));
        for data in [DataAccess::ReadWrite, DataAccess::ReadOnly] {
            send.receivers[0].1 = data;
            let handle = desk.send(sender, &send).unwrap();
            let mut request = Retrieve::of(&send, handle);
            request.receivers[0].permissions.instruction = InstructionAccess::Executable;
            if sender == P4 && data == DataAccess::ReadOnly {
                desk.retrieve(P2, &request).unwrap();
                for page in pages(sender) {
                    let mapped = desk.mapped(P2, Space::Secure, page).unwrap();
                    assert!(mapped.permissions.execute && !mapped.permissions.write);
                }
                desk.relinquish(P2, handle, 0).unwrap();
            } else {
                refused(&mut desk, P2, &request, Denied);
            }
            desk.reclaim(sender, handle, 0).unwrap();
        }
    }
}

#[test]
fn t6_what_must_not_be_specified_is_refused() {
    for function in [Function::MemLend, Function::MemShare] {
        for instruction in [
            InstructionAccess::NotExecutable,
            InstructionAccess::Executable,
        ] {
            for receiver in 0..3 {
                wrong(function, InvalidParameters, |request| {
                    request.receivers[receiver].permissions.instruction = instruction;
                });
            }
        }
        for other in [0, 2] {
            for data in [DataAccess::NotSpecified, DataAccess::ReadOnly] {
                wrong(function, InvalidParameters, |request| {
                    request.receivers[other].permissions.data = data;
                });
            }
        }
    }
    for function in SENDS {
        wrong(function, Denied, |request| {
            request.memory_type = MemoryType::Device(Device::NGnRnE);
        });
    }
}

#[test]
fn t8_zeroing_before_is_the_lenders_wish_and_reaches_every_page_once() {
    for function in SENDS {
        wrong(function, InvalidParameters, |request| request.flags = CLEAR);
    }
    for sender in [NORMAL, P4] {
        let mut desk = desk();
        let mut send = send_of(Function::MemLend, sender);
        send.flags = CLEAR;
        send.receivers[2].1 = DataAccess::ReadOnly;
        fill(&desk, sender, 7);
        let handle = desk.send(sender, &send).unwrap();
        assert_content(&desk, sender, 7);
        let mut request = Retrieve::of(&send, handle);
        request.flags = CLEAR;
        refused(&mut desk, P3, &request, Denied);
        assert_content(&desk, sender, 7);
        desk.retrieve(P1, &request).unwrap();
        assert_content(&desk, sender, 0);
        // What the first receiver writes stays.
        fill(&desk, sender, 8);
        refused(&mut desk, P2, &request, Denied);
        take(&mut desk, P2, &send, handle);
        assert_content(&desk, sender, 8);
    }
}

#[test]
fn t9_zeroing_after_is_of_a_lend_by_who_writes_and_waits_for_the_last() {
    for function in [Function::MemDonate, Function::MemShare] {
        wrong(function, InvalidParameters, |request| {
            request.flags = CLEAR_RELINQUISH
        });
    }
    wrong(Function::MemLend, Denied, |request| {
        request.receivers[1].permissions.data = DataAccess::ReadOnly;
        request.flags = CLEAR_RELINQUISH;
    });
    for sender in [NORMAL, P4] {
        for at_relinquish in [false, true] {
            let mut desk = desk();
            let mut send = send_of(Function::MemLend, sender);
            send.receivers[2].1 = DataAccess::ReadOnly;
            let handle = desk.send(sender, &send).unwrap();
            let mut request = Retrieve::of(&send, handle);
            request.flags = if at_relinquish { 0 } else { CLEAR_RELINQUISH };
            desk.retrieve(P1, &request).unwrap();
            for who in [P2, P3] {
                take(&mut desk, who, &send, handle);
            }
            fill(&desk, sender, 7);
            relinquish_refused(&mut desk, P3, handle, 1, Denied);
            assert_eq!(
                desk.relinquish(P1, handle, u32::from(at_relinquish)),
                Ok(())
            );
            assert_eq!(desk.relinquish(P3, handle, 0), Ok(()));
            assert_content(&desk, sender, 7);
            assert_eq!(desk.relinquish(P2, handle, 0), Ok(()));
            assert_content(&desk, sender, 0);
            assert_eq!(desk.reclaim(sender, handle, 0), Ok(()));
        }
    }
    // A share is not zeroed by a receiver.
    let mut desk = desk();
    let send = send_of(Function::MemShare, P4);
    let handle = desk.send(P4, &send).unwrap();
    take(&mut desk, P2, &send, handle);
    relinquish_refused(&mut desk, P2, handle, 1, InvalidParameters);
}

#[test]
fn t10_address_ranges_are_refused() {
    let mut desk = desk();
    for sender in [NORMAL, P4] {
        let send = send_of(Function::MemShare, sender);
        let handle = desk.send(sender, &send).unwrap();
        let mut bytes = Retrieve::of(&send, handle).encode(Version::V1_2);
        let end = bytes.len() as u32;
        bytes.extend([0; 32]);
        for receiver in 0..3 {
            bytes[48 + 32 * receiver + 4..48 + 32 * receiver + 8]
                .copy_from_slice(&end.to_le_bytes());
            let before = desk.world();
            let answer = desk.describe(P2, Function::MemRetrieveReq, &bytes);
            assert_error(&answer, InvalidParameters);
            assert!(desk.world() == before);
        }
    }
}

#[test]
fn t11_a_list_other_than_the_lenders_is_refused() {
    for function in [Function::MemLend, Function::MemShare] {
        for missing in 0..3 {
            wrong(function, InvalidParameters, |request| {
                request.receivers.remove(missing);
            });
        }
        for id in [0x8001, 0x8002, 0x8004, 0x8005, 0x8009] {
            wrong(function, InvalidParameters, |request| {
                request.receivers[2].endpoint = EndpointId(id);
            });
        }
        for (one, other) in [(0, 1), (1, 2), (0, 2)] {
            wrong(function, InvalidParameters, |request| {
                request.receivers.swap(one, other);
            });
        }
        wrong(function, InvalidParameters, |request| {
            let more = request.receivers[0];
            request.receivers.push(more);
        });
        // Bypass means the caller alone, and needs others whom it passes (S45).
        wrong(function, InvalidParameters, |request| {
            request.flags = BYPASS
        });
        let mut desk = desk();
        let send = send_of(function, P4);
        let handle = desk.send(P4, &send).unwrap();
        let mut request = Retrieve::of(&send, handle);
        request.flags = BYPASS;
        request.receivers = vec![request.receivers[1]];
        desk.retrieve(P2, &request).unwrap();
    }
    wrong(Function::MemDonate, InvalidParameters, |request| {
        request.flags = BYPASS
    });
}

#[test]
fn t12_a_second_retrieve_is_denied_until_relinquish() {
    let mut desk = desk();
    for sender in [NORMAL, P4] {
        for function in [Function::MemLend, Function::MemShare] {
            let send = send_of(function, sender);
            let handle = desk.send(sender, &send).unwrap();
            for _ in 0..3 {
                take(&mut desk, P2, &send, handle);
                refused(&mut desk, P2, &Retrieve::of(&send, handle), Denied);
                assert_eq!(desk.relinquish(P2, handle, 0), Ok(()));
            }
            assert_eq!(desk.reclaim(sender, handle, 0), Ok(()));
        }
    }
}

#[test]
fn t15_a_retrieve_whose_answer_cannot_be_written_is_undone() {
    let mut desk = desk();
    let mut send = send_of(Function::MemLend, P4);
    send.flags = CLEAR;
    fill(&desk, P4, 7);
    let handle = desk.send(P4, &send).unwrap();
    let before = desk.world();
    let bytes = Retrieve::of(&send, handle).encode(Version::V1_2);
    desk.write_tx(P2, &bytes);
    desk.sim.break_mailbox(P2.slot());
    let length = bytes.len() as u64;
    let answer = desk.call(P2, &ffa(Function::MemRetrieveReq, [length, length, 0, 0]));
    assert_error(&answer, Aborted);
    assert!(desk.world() == before);
    assert_content(&desk, P4, 7);
    assert_eq!(desk.reclaim(P4, handle, 0), Ok(()));
}

/// A relinquish with these words, count of endpoints and endpoint.
fn relinquish_of(desk: &mut Desk, who: Who, handle: Handle, flags: u32, ids: &[u16]) -> Registers {
    let mut bytes = handle.0.to_le_bytes().to_vec();
    bytes.extend(flags.to_le_bytes());
    bytes.extend((ids.len() as u32).to_le_bytes());
    for id in ids {
        bytes.extend(id.to_le_bytes());
    }
    desk.write_tx(who, &bytes);
    desk.call(who, &ffa(Function::MemRelinquish, [0; 4]))
}

#[test]
fn t16_a_wrong_relinquish_is_refused() {
    let mut desk = desk();
    for sender in [NORMAL, P4] {
        let send = send_of(Function::MemLend, sender);
        let handle = desk.send(sender, &send).unwrap();
        take(&mut desk, P2, &send, handle);
        let wrong: [(u32, &[u16]); 9] = [
            (0, &[]),
            (0, &[0x8002, 0x8003]),
            (0, &[0x8002, 0x8002]),
            (0, &[0x8001]),
            (0, &[0x8004]),
            (0, &[0]),
            (2, &[0x8002]),
            (4, &[0x8002]),
            (1 << 31, &[0x8002]),
        ];
        for (flags, ids) in wrong {
            let before = desk.world();
            let answer = relinquish_of(&mut desk, P2, handle, flags, ids);
            assert_error(&answer, InvalidParameters);
            assert!(desk.world() == before, "{flags:#x} {ids:x?}");
        }
        relinquish_refused(&mut desk, P1, handle, 0, Denied);
        relinquish_refused(&mut desk, P5, handle, 0, InvalidParameters);
        assert_eq!(desk.relinquish(P2, handle, 0), Ok(()));
        relinquish_refused(&mut desk, P2, handle, 0, Denied);
        assert_eq!(desk.reclaim(sender, handle, 0), Ok(()));
    }
}

#[test]
fn t17_after_relinquish_every_page_is_unmapped_for_this_receiver_only() {
    let mut desk = desk();
    for sender in [NORMAL, P4] {
        let send = send_of(Function::MemShare, sender);
        let handle = desk.send(sender, &send).unwrap();
        for who in ALL {
            take(&mut desk, who, &send, handle);
        }
        for (gone, who) in ALL.into_iter().enumerate() {
            assert_eq!(desk.relinquish(who, handle, 0), Ok(()));
            for (index, other) in ALL.into_iter().enumerate() {
                for page in pages(sender) {
                    let mapped = desk.mapped(other, space(sender), page).is_some();
                    assert_eq!(mapped, index > gone, "{other:?} {page:#x}");
                }
            }
        }
        assert_eq!(desk.reclaim(sender, handle, 0), Ok(()));
    }
}

#[test]
fn t19_relinquish_before_the_description_is_fetched_is_refused() {
    let mut desk = desk();
    let base = NORMAL.memory();
    let many: Vec<_> = (0..600).map(|page| run(base + page * 0x2000, 1)).collect();
    let send = Send::new(Function::MemShare, NORMAL, &ALL, &many);
    let handle = desk.send(NORMAL, &send).unwrap();
    let bytes = Retrieve::of(&send, handle).encode(Version::V1_2);
    let answer = desk.describe(P2, Function::MemRetrieveReq, &bytes);
    assert_function(&answer, Function::MemRetrieveResp);
    relinquish_refused(&mut desk, P2, handle, 0, InvalidParameters);
    reclaim_refused(&mut desk, NORMAL, handle, 0, Denied);
}

#[test]
fn t20_a_wrong_reclaim_is_refused_and_zeroing_reaches_every_constituent() {
    for sender in [NORMAL, P4] {
        for function in SENDS {
            let mut desk = desk();
            let send = send_of(function, sender);
            fill(&desk, sender, 7);
            let before = desk.world();
            let handle = desk.send(sender, &send).unwrap();
            for other in [P1, P2, P5, NORMAL, P4] {
                if other != sender {
                    reclaim_refused(&mut desk, other, handle, 0, Denied);
                }
            }
            for bit in 1..32 {
                reclaim_refused(&mut desk, sender, handle, 1 << bit, InvalidParameters);
            }
            if function != Function::MemDonate {
                for who in ALL {
                    take(&mut desk, who, &send, handle);
                }
                for who in ALL {
                    reclaim_refused(&mut desk, sender, handle, 0, Denied);
                    reclaim_refused(&mut desk, sender, handle, 1, Denied);
                    assert_eq!(desk.relinquish(who, handle, 0), Ok(()));
                }
            }
            assert_content(&desk, sender, 7);
            assert_eq!(desk.reclaim(sender, handle, 1), Ok(()));
            assert_content(&desk, sender, 0);
            fill(&desk, sender, 7);
            assert!(desk.world() == before);
            reclaim_refused(&mut desk, sender, handle, 0, InvalidParameters);
        }
    }
}

#[test]
fn t22_a_donation_is_reclaimed_only_before_it_is_taken() {
    for sender in [NORMAL, P4] {
        let mut desk = desk();
        let send = send_of(Function::MemDonate, sender);
        let handle = desk.send(sender, &send).unwrap();
        assert_eq!(desk.reclaim(sender, handle, 0), Ok(()));
        let handle = desk.send(sender, &send).unwrap();
        take(&mut desk, P2, &send, handle);
        // All of it is told: the handle has ended (H2).
        reclaim_refused(&mut desk, sender, handle, 0, InvalidParameters);
        relinquish_refused(&mut desk, P2, handle, 0, InvalidParameters);
        for page in pages(sender) {
            let state = desk.state(space(sender), page);
            assert_eq!(state.owner, Owner::Partition(P2.id().0));
            assert_eq!(state.hold, Hold::Exclusive);
        }
    }
}

#[test]
fn t24_the_hypervisor_reads_the_normal_worlds_transactions_only() {
    let mut desk = desk();
    let own = send_of(Function::MemShare, NORMAL);
    let own = desk.send(NORMAL, &own).unwrap();
    let theirs = desk.send(P4, &send_of(Function::MemShare, P4)).unwrap();
    for (handle, is_own) in [(theirs, false), (own, true)] {
        let mut bytes = vec![0; 48];
        bytes[8..16].copy_from_slice(&handle.0.to_le_bytes());
        let before = desk.world();
        let answer = desk.describe(NORMAL, Function::MemRetrieveReq, &bytes);
        assert!(desk.world() == before, "it maps nothing");
        if is_own {
            assert_function(&answer, Function::MemRetrieveResp);
            let release = ffa(Function::RxRelease, [0; 4]);
            assert_function(&desk.call(NORMAL, &release), Function::Success);
        } else {
            assert_error(&answer, Denied);
        }
        // No partition is a hypervisor.
        let answer = desk.describe(P2, Function::MemRetrieveReq, &bytes);
        assert_error(&answer, InvalidParameters);
    }
}
