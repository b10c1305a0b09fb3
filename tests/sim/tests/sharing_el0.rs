// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory transactions with partitions at S-EL0, which have one stage 1 in place of two stages 2 (D-03).

use bulkhead_abi::memory::Handle;
use bulkhead_abi::memory::attributes::{DataAccess, InstructionAccess};
use bulkhead_abi::{FfaError, Function, Width};
use bulkhead_core::region::{Region, RegionKind};
use bulkhead_mm::addr::{Pa, PageRange};
use bulkhead_mm::attrs::{Permissions, Space};
use bulkhead_mm::owner::{Hold, Owner};
use bulkhead_sim::memory::Quotas;
use bulkhead_sim::sharing::{Desk, Retrieve, Send, Who, run};
use bulkhead_sim::{assert_function, call};

const NORMAL: Who = Who::Normal;
/// At S-EL0.
const P1: Who = Who::Sp(0);
const P2: Who = Who::Sp(1);
/// At S-EL0.
const P3: Who = Who::Sp(2);

/// Two partitions at S-EL0, whose memory may be read and written, around one at S-EL1.
fn desk_with(quotas: Quotas) -> Desk {
    Desk::with(3, quotas, |index, spec| match index {
        1 => spec,
        _ => spec.at_el0().with(|config| {
            let mut regions = config.regions.to_vec();
            for region in &mut regions {
                region.permissions = Permissions::READ_WRITE;
            }
            config.regions = regions.leak();
        }),
    })
}

fn desk() -> Desk {
    desk_with(Quotas::default())
}

/// Three constituents.
fn runs(base: u64) -> [bulkhead_abi::memory::Constituent; 3] {
    [run(base, 1), run(base + 0x5000, 3), run(base + 0x2000, 2)]
}

#[test]
fn d03_s_el0_borrows_from_the_normal_world_beside_s_el1() {
    let mut desk = desk();
    let before = desk.dump();
    let base = NORMAL.memory();
    let mut send = Send::new(Function::MemShare, NORMAL, &[P1, P2, P3], &runs(base));
    send.receivers[2].1 = DataAccess::ReadOnly;
    let handle = desk.send(NORMAL, &send).unwrap();
    for (who, write) in [(P1, true), (P2, true), (P3, false)] {
        let found = desk.retrieve(who, &Retrieve::of(&send, handle)).unwrap();
        assert_eq!(found.constituents, runs(base));
        for page in [0, 0x2000, 0x3000, 0x5000, 0x6000, 0x7000] {
            let mapped = desk.mapped(who, Space::NonSecure, base + page).unwrap();
            assert_eq!(mapped.pa.0, base + page);
            let allowed = mapped.permissions;
            assert_eq!((allowed.write, allowed.execute), (write, false));
            assert!(desk.mapped(who, Space::Secure, base + page).is_none());
        }
        assert!(desk.mapped(who, Space::NonSecure, base + 0x1000).is_none());
    }
    for who in [P1, P2, P3] {
        assert_eq!(desk.relinquish(who, handle, 0), Ok(()));
        assert!(desk.mapped(who, Space::NonSecure, base).is_none());
    }
    assert_eq!(desk.reclaim(NORMAL, handle, 0), Ok(()));
    assert_eq!(desk.dump(), before);
}

#[test]
fn d03_s_el0_lends_to_s_el1_and_to_s_el0_and_loses_its_pages_meanwhile() {
    for receiver in [P2, P3] {
        let mut desk = desk();
        let base = P1.memory();
        let send = Send::new(Function::MemLend, P1, &[receiver], &runs(base));
        let handle = desk.send(P1, &send).unwrap();
        for page in [0, 0x2000, 0x5000, 0x7000] {
            assert!(desk.mapped(P1, Space::Secure, base + page).is_none());
        }
        assert!(desk.mapped(P1, Space::Secure, base + 0x1000).is_some());
        let state = desk.state(Space::Secure, base);
        assert!(matches!(state.hold, Hold::Lent(_)));
        desk.retrieve(receiver, &Retrieve::of(&send, handle))
            .unwrap();
        let mapped = desk.mapped(receiver, Space::Secure, base + 0x6000).unwrap();
        assert_eq!(mapped.permissions, Permissions::READ_WRITE);
        assert_eq!(desk.reclaim(P1, handle, 0), Err(FfaError::Denied));
        assert_eq!(desk.relinquish(receiver, handle, 0), Ok(()));
        assert!(desk.mapped(receiver, Space::Secure, base).is_none());
        assert_eq!(desk.reclaim(P1, handle, 0), Ok(()));
        let mapped = desk.mapped(P1, Space::Secure, base + 0x6000).unwrap();
        assert_eq!(mapped.permissions, Permissions::READ_WRITE);
        assert_eq!(desk.state(Space::Secure, base).hold, Hold::Exclusive);
    }
}

#[test]
fn d03_s_el0_donates_and_is_given() {
    for (from, to) in [(P1, P2), (P2, P1), (P1, P3)] {
        let mut desk = desk();
        let base = from.memory();
        let send = Send::new(Function::MemDonate, from, &[to], &runs(base));
        let handle = desk.send(from, &send).unwrap();
        desk.retrieve(to, &Retrieve::of(&send, handle)).unwrap();
        assert!(desk.mapped(from, Space::Secure, base).is_none());
        let owner = desk.state(Space::Secure, base + 0x5000).owner;
        assert_eq!(owner, Owner::Partition(to.id().0));
        // The new owner shares it on (S36).
        let again = Send::new(Function::MemShare, to, &[from], &runs(base));
        let handle = desk.send(to, &again).unwrap();
        desk.retrieve(from, &Retrieve::of(&again, handle)).unwrap();
        assert!(desk.mapped(from, Space::Secure, base).is_some());
    }
}

#[test]
fn t5_s_el0_executes_nothing_that_it_may_write() {
    let mut desk = desk();
    let base = P2.memory();
    let send = Send::new(Function::MemLend, P2, &[P1], &runs(base));
    let handle = desk.send(P2, &send).unwrap();
    let before = desk.dump();
    let mut request = Retrieve::of(&send, handle);
    request.receivers[0].permissions.instruction = InstructionAccess::Executable;
    assert_eq!(desk.retrieve(P1, &request), Err(FfaError::Denied));
    assert_eq!(desk.dump(), before);
    request.receivers[0].permissions.data = DataAccess::ReadOnly;
    desk.retrieve(P1, &request).unwrap();
    let mapped = desk.mapped(P1, Space::Secure, base).unwrap();
    assert_eq!(mapped.permissions, Permissions::READ_EXECUTE);
}

#[test]
fn s31_s_el0_grants_no_more_than_it_has() {
    let base = P1.memory();
    let mut desk = Desk::with(2, Quotas::default(), |index, spec| match index {
        0 => spec.at_el0().with(|config| {
            let mut regions = config.regions.to_vec();
            regions[0].permissions = Permissions::READ_WRITE;
            regions.push(Region {
                kind: RegionKind::Memory,
                name: "constants",
                range: PageRange::new(Pa(base), 0x8000).unwrap(),
                ipa: base,
                permissions: Permissions::READ_ONLY,
                ..regions[0]
            });
            config.regions = regions.leak();
        }),
        _ => spec,
    });
    let before = desk.dump();
    let mut send = Send::new(Function::MemShare, P1, &[P2], &runs(base));
    assert_eq!(desk.send(P1, &send), Err(FfaError::Denied));
    assert_eq!(desk.dump(), before);
    send.receivers[0].1 = DataAccess::ReadOnly;
    let handle = desk.send(P1, &send).unwrap();
    desk.retrieve(P2, &Retrieve::of(&send, handle)).unwrap();
    let mapped = desk.mapped(P2, Space::Secure, base).unwrap();
    assert_eq!(mapped.permissions, Permissions::READ_ONLY);
}

#[test]
fn t14_without_pages_for_tables_nothing_of_s_el0_changes() {
    // One constituent in each of many blocks takes a table each.
    let base = NORMAL.memory();
    let far: Vec<_> = (0..6)
        .map(|block| run(base + block * 0x20_0000, 1))
        .collect();
    let mut failed = 0;
    for partition in 0..12 {
        let mut desk = desk_with(Quotas {
            partition,
            normal_world: 64,
        });
        let send = Send::new(Function::MemShare, NORMAL, &[P1], &far);
        let Ok(handle) = desk.send(NORMAL, &send) else {
            continue;
        };
        let before = desk.dump();
        match desk.retrieve(P1, &Retrieve::of(&send, handle)) {
            Ok(_) => {
                assert_eq!(desk.relinquish(P1, handle, 0), Ok(()));
                assert_eq!(desk.dump(), before);
            }
            Err(error) => {
                assert_eq!(error, FfaError::NoMemory);
                assert_eq!(desk.dump(), before);
                failed += 1;
            }
        }
    }
    assert!((1..12).contains(&failed), "{failed}");
}

#[test]
fn k7_what_s_el0_borrowed_is_not_mapped_when_it_has_ended() {
    let mut desk = desk();
    let base = P2.memory();
    let send = Send::new(Function::MemLend, P2, &[P1], &runs(base));
    let handle = desk.send(P2, &send).unwrap();
    desk.retrieve(P1, &Retrieve::of(&send, handle)).unwrap();
    desk.end(P1);
    assert!(desk.mapped(P1, Space::Secure, base).is_none());
    assert_eq!(desk.reclaim(P2, handle, 0), Ok(()));
    assert!(desk.mapped(P2, Space::Secure, base).is_some());
    // And what it lent itself comes back to nobody: its pages stay its own.
    let send = Send::new(Function::MemLend, P3, &[P2], &runs(P3.memory()));
    let handle = desk.send(P3, &send).unwrap();
    desk.retrieve(P2, &Retrieve::of(&send, handle)).unwrap();
    desk.end(P3);
    assert!(desk.mapped(P2, Space::Secure, P3.memory()).is_some());
    assert_eq!(desk.relinquish(P2, handle, 0), Ok(()));
    assert!(desk.mapped(P2, Space::Secure, P3.memory()).is_none());
}

#[test]
fn a57_s_el0_sends_by_a_descriptor_in_a_page_of_its_own() {
    let mut desk = desk();
    let base = P1.memory();
    let send = Send::new(Function::MemShare, P1, &[P2, P3], &runs(base));
    let bytes = send.encode(desk.version(P1));
    let buffer = base + 0x1_0000;
    desk.write_memory(Space::Secure, buffer, &bytes);
    let before = desk.dump();
    let length = bytes.len() as u64;
    let id = Function::MemShare.id(Width::W64);
    let message = call([id, length, length, buffer, 1, 0, 0, 0]);
    let answer = desk.call(P1, &message);
    assert_function(&answer, Function::Success);
    let handle = Handle::from_words(answer.w::<2>(), answer.w::<3>());
    assert_eq!(desk.reclaim(P1, handle, 0), Ok(()));
    assert_eq!(desk.dump(), before);
}
