// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory transactions from the first call to the last.

use std::collections::BTreeSet;

use bulkhead_abi::memory::Handle;
use bulkhead_abi::memory::attributes::{DataAccess, InstructionAccess};
use bulkhead_abi::{FfaError, Function, Version};
use bulkhead_core::region::{Region, RegionKind};
use bulkhead_mm::addr::{Pa, PageRange};
use bulkhead_mm::attrs::Space;
use bulkhead_mm::owner::{Hold, Owner};
use bulkhead_sim::memory::{Memory, Quotas};
use bulkhead_sim::sharing::{Desk, Retrieve, Send, Who, run};

const NORMAL: Who = Who::Normal;
const P1: Who = Who::Sp(0);
const P2: Who = Who::Sp(1);
const P3: Who = Who::Sp(2);

#[test]
fn a43_the_normal_world_shares_with_three_partitions_and_reclaims() {
    let mut desk = Desk::new(3);
    let before = desk.dump();
    let base = NORMAL.memory();
    let runs = [run(base, 1), run(base + 0x5000, 3), run(base + 0x2000, 2)];
    let mut send = Send::new(Function::MemShare, NORMAL, &[P1, P2, P3], &runs);
    send.receivers[1].1 = DataAccess::ReadOnly;
    let handle = desk.send(NORMAL, &send).unwrap();
    for (who, write) in [(P1, true), (P2, false), (P3, true)] {
        assert!(desk.mapped(who, Space::NonSecure, base).is_none());
        let found = desk.retrieve(who, &Retrieve::of(&send, handle)).unwrap();
        assert_eq!(found.constituents, runs);
        assert_eq!(found.receivers.len(), 1);
        let told = found.receivers[0].permissions;
        assert_eq!(told.data == DataAccess::ReadWrite, write);
        assert_eq!(told.instruction, InstructionAccess::NotExecutable);
        for page in [0, 0x2000, 0x3000, 0x5000, 0x6000, 0x7000] {
            let mapped = desk.mapped(who, Space::NonSecure, base + page).unwrap();
            assert_eq!(mapped.pa.0, base + page);
            assert_eq!(mapped.permissions.write, write);
            assert!(!mapped.permissions.execute);
        }
        assert!(desk.mapped(who, Space::NonSecure, base + 0x1000).is_none());
        assert!(desk.mapped(who, Space::Secure, base).is_none());
    }
    assert_eq!(desk.reclaim(NORMAL, handle, 0), Err(FfaError::Denied));
    for who in [P1, P2, P3] {
        assert_eq!(desk.relinquish(who, handle, 0), Ok(()));
        assert!(desk.mapped(who, Space::NonSecure, base).is_none());
    }
    assert_eq!(desk.reclaim(NORMAL, handle, 0), Ok(()));
    assert_eq!(desk.dump(), before);
    assert_eq!(
        desk.reclaim(NORMAL, handle, 0),
        Err(FfaError::InvalidParameters)
    );
}

#[test]
fn a41_a_partition_lends_and_gets_back_what_it_had() {
    let mut desk = Desk::new(2);
    let before = desk.dump();
    let base = P1.memory();
    let runs = [run(base, 2), run(base + 0x4000, 1)];
    let send = Send::new(Function::MemLend, P1, &[P2], &runs);
    let handle = desk.send(P1, &send).unwrap();
    assert!(desk.mapped(P1, Space::Secure, base).is_none());
    assert!(desk.mapped(P1, Space::Secure, base + 0x2000).is_some());
    let state = desk.state(Space::Secure, base + 0x4000);
    assert!(matches!(state.hold, Hold::Lent(_)));
    desk.retrieve(P2, &Retrieve::of(&send, handle)).unwrap();
    assert!(desk.mapped(P2, Space::Secure, base + 0x1000).is_some());
    assert_eq!(desk.relinquish(P2, handle, 0), Ok(()));
    assert_eq!(desk.reclaim(P1, handle, 0), Ok(()));
    let mapped = desk.mapped(P1, Space::Secure, base).unwrap();
    assert!(mapped.permissions.write && mapped.permissions.execute);
    // Blocks may be in pieces.
    assert_eq!(desk.state(Space::Secure, base).hold, Hold::Exclusive);
    drop(before);
}

#[test]
fn a41_a_donation_changes_the_owner() {
    let mut desk = Desk::new(2);
    let base = P1.memory();
    let send = Send::new(Function::MemDonate, P1, &[P2], &[run(base, 4)]);
    let handle = desk.send(P1, &send).unwrap();
    desk.retrieve(P2, &Retrieve::of(&send, handle)).unwrap();
    let state = desk.state(Space::Secure, base);
    assert_eq!(
        (state.owner, state.hold),
        (Owner::Partition(P2.id().0), Hold::Exclusive)
    );
    assert!(desk.mapped(P1, Space::Secure, base).is_none());
    assert_eq!(
        desk.reclaim(P1, handle, 0),
        Err(FfaError::InvalidParameters)
    );
    // The new owner shares it on (S36).
    let again = Send::new(Function::MemShare, P2, &[P1], &[run(base, 4)]);
    let handle = desk.send(P2, &again).unwrap();
    desk.retrieve(P1, &Retrieve::of(&again, handle)).unwrap();
    assert!(desk.mapped(P1, Space::Secure, base).is_some());
}

#[test]
fn f12_descriptors_in_all_kinds_of_fragments_are_the_same() {
    let mut desk = Desk::new(1);
    let base = NORMAL.memory();
    let runs: Vec<_> = (0..600).map(|page| run(base + page * 0x2000, 1)).collect();
    let send = Send::new(Function::MemShare, NORMAL, &[P1], &runs);
    let before = desk.dump();
    for most in [112, 128, 4096] {
        let handle = desk.send_in(NORMAL, &send, most).unwrap();
        let found = desk.retrieve(P1, &Retrieve::of(&send, handle)).unwrap();
        assert_eq!(found.constituents, runs);
        assert_eq!(found.fragments, 3);
        desk.relinquish(P1, handle, 0).unwrap();
        desk.reclaim(NORMAL, handle, 0).unwrap();
        assert_eq!(desk.dump(), before);
    }
}

#[test]
fn f12_a44_a_receiver_of_each_version_fetches_all_fragments() {
    let base = NORMAL.memory();
    let runs: Vec<_> = (0..600).map(|page| run(base + page * 0x2000, 1)).collect();
    let send = Send::new(Function::MemShare, NORMAL, &[P1], &runs);
    for version in [Version::V1_0, Version::V1_1, Version::V1_2] {
        let mut desk = Desk::with(1, Quotas::default(), |_, spec| {
            spec.with(|config| config.version = version)
        });
        desk.versions[P1.slot()] = version;
        let before = desk.dump();
        let handle = desk.send(NORMAL, &send).unwrap();
        let found = desk.retrieve(P1, &Retrieve::of(&send, handle)).unwrap();
        assert_eq!(found.constituents, runs, "{version:?}");
        assert_eq!(found.fragments, 3, "{version:?}");
        desk.relinquish(P1, handle, 0).unwrap();
        desk.reclaim(NORMAL, handle, 0).unwrap();
        assert_eq!(desk.dump(), before, "{version:?}");
    }
}

/// Quotas of pages, from none on.
fn quotas(partition: usize, normal_world: usize) -> Quotas {
    Quotas {
        partition,
        normal_world,
    }
}

#[test]
fn tx6_t14_every_allocation_of_a_retrieve_fails_once_and_changes_nothing() {
    // Three tables of level 3, under two of level 2.
    let base = NORMAL.memory();
    let runs = [
        run(base, 1),
        run(base + 0x40_0000, 2),
        run(base + 0x80_0000, 1),
    ];
    let send = Send::new(Function::MemShare, NORMAL, &[P1], &runs);
    let mut refused = 0;
    for pages in 0..16 {
        let mut desk = Desk::with(1, quotas(pages, 8), |_, spec| spec);
        let handle = desk.send(NORMAL, &send).unwrap();
        let before = desk.dump();
        match desk.retrieve(P1, &Retrieve::of(&send, handle)) {
            Ok(_) => break,
            Err(error) => {
                assert_eq!(error, FfaError::NoMemory);
                assert_eq!(desk.dump(), before, "with {pages} pages");
                desk.reclaim(NORMAL, handle, 0).unwrap();
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 4, "a table of level 2 and three of level 3");
}

#[test]
fn tx6_every_allocation_of_a_lend_fails_once_and_changes_nothing() {
    // A record, and a table for each block that is split.
    let mut refused = 0;
    for pages in 0..16 {
        let big = |index: usize, spec: bulkhead_sim::Spec| {
            if index == 0 {
                spec.with(|config| {
                    let own = config.regions[0];
                    let more = Region {
                        kind: RegionKind::Memory,
                        range: PageRange::new(Pa(0x2000_0000), 0x60_0000).unwrap(),
                        ipa: 0x2000_0000,
                        ..own
                    };
                    config.regions = vec![own, more].leak();
                })
            } else {
                spec
            }
        };
        let mut desk = Desk::with(2, quotas(pages, 8), big);
        let runs = [
            run(0x2000_0000, 1),
            run(0x2021_0000, 3),
            run(0x2040_0000, 1),
        ];
        let send = Send::new(Function::MemLend, P1, &[P2], &runs);
        let before = desk.dump();
        match desk.send(P1, &send) {
            Ok(handle) => {
                desk.reclaim(P1, handle, 0).unwrap();
                break;
            }
            Err(error) => {
                assert_eq!(error, FfaError::NoMemory);
                for page in [0x2000_0000, 0x2021_0000, 0x2040_0000] {
                    assert!(desk.mapped(P1, Space::Secure, page).is_some());
                    assert_eq!(desk.state(Space::Secure, page).hold, Hold::Exclusive);
                }
                // Blocks that were split for it stay so; nothing else differs.
                let walks = |dump: &str| dump.split_once('\n').map(|(_, walk)| walk.to_string());
                assert_eq!(walks(&desk.dump()), walks(&before), "with {pages} pages");
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 4, "a record and three tables");
}

#[test]
fn f7_a_fragment_without_memory_changes_nothing_and_comes_again() {
    let base = NORMAL.memory();
    let runs: Vec<_> = (0..600).map(|page| run(base + page * 0x2000, 1)).collect();
    let send = Send::new(Function::MemShare, NORMAL, &[P1], &runs);
    for pages in 0..3 {
        let mut desk = Desk::with(1, quotas(8, pages), |_, spec| spec);
        let empty = desk.dump();
        assert_eq!(desk.send(NORMAL, &send), Err(FfaError::NoMemory));
        // What the fragments before brought is there until the sender gives it up.
        if pages > 0 {
            desk.reclaim(NORMAL, Handle(1 << 16), 0).unwrap();
        }
        assert_eq!(desk.dump(), empty, "with {pages} pages");
    }
    let mut desk = Desk::with(1, quotas(8, 3), |_, spec| spec);
    desk.send(NORMAL, &send).unwrap();
}

#[test]
fn a44_sixteen_thousand_pages_one_by_one_and_back() {
    let mut desk = Desk::with(1, quotas(200, 100), |_, spec| spec);
    let before = desk.dump();
    let base = NORMAL.memory();
    let runs: Vec<_> = (0..16_384)
        .map(|page| run(base + page * 0x3000, 1))
        .collect();
    let send = Send::new(Function::MemShare, NORMAL, &[P1], &runs);
    let handle = desk.send(NORMAL, &send).unwrap();
    let found = desk.retrieve(P1, &Retrieve::of(&send, handle)).unwrap();
    assert_eq!(found.constituents, runs);
    for page in [0, 1, 8_191, 16_383] {
        let address = base + page * 0x3000;
        assert!(desk.mapped(P1, Space::NonSecure, address).is_some());
        assert!(
            desk.mapped(P1, Space::NonSecure, address + 0x1000)
                .is_none()
        );
    }
    desk.relinquish(P1, handle, 0).unwrap();
    desk.reclaim(NORMAL, handle, 0).unwrap();
    assert_eq!(desk.dump(), before);
}

#[test]
fn tx1_ten_thousand_cycles_leak_nothing_and_repeat_no_handle() {
    let mut desk = Desk::new(1);
    let before = desk.dump();
    let base = NORMAL.memory();
    let runs = [run(base, 1), run(base + 0x5000, 3), run(base + 0x2000, 2)];
    let send = Send::new(Function::MemShare, NORMAL, &[P1], &runs);
    let mut seen = BTreeSet::new();
    for _ in 0..10_000 {
        let handle = desk.send(NORMAL, &send).unwrap();
        assert!(seen.insert(handle), "TX1: {handle} comes back");
        desk.reclaim(NORMAL, handle, 0).unwrap();
    }
    assert_eq!(desk.dump(), before);
}

#[test]
fn a58_zeroing_is_interrupted_and_goes_on() {
    let mut desk = Desk::new(2);
    let base = P1.memory();
    // More than one piece each.
    let runs = [run(base, 40), run(base + 0x4_0000, 40)];
    let mut send = Send::new(Function::MemLend, P1, &[P2], &runs);
    send.flags = 1;
    let handle = desk.send(P1, &send).unwrap();
    desk.sim.memory(|memory| memory.interrupts = 4);
    let found = desk.retrieve(P2, &Retrieve::of(&send, handle)).unwrap();
    assert_eq!(found.constituents, runs);
    let pages = runs
        .iter()
        .flat_map(|run| (0..40).map(|page| run.address + page * 0x1000));
    for page in pages {
        let content = |memory: &mut Memory| memory.contents.get(&(Space::Secure, page)).copied();
        assert_eq!(desk.sim.memory(content), Some(0), "{page:#x}");
    }
    assert_eq!(desk.sim.memory(|memory| memory.interrupts), 0);
    // The borrower's zeroing is interrupted, too: nobody else sees the pages meanwhile.
    for page in runs.map(|run| run.address) {
        desk.sim
            .memory(|memory| memory.contents.insert((Space::Secure, page), 7));
    }
    desk.sim.memory(|memory| memory.interrupts = 5);
    desk.relinquish(P2, handle, 1).unwrap();
    for page in runs.map(|run| run.address) {
        let content = |memory: &mut Memory| memory.contents.get(&(Space::Secure, page)).copied();
        assert_eq!(desk.sim.memory(content), Some(0), "{page:#x}");
        assert!(desk.mapped(P2, Space::Secure, page).is_none());
    }
    assert_eq!(desk.sim.memory(|memory| memory.interrupts), 0);
    desk.reclaim(P1, handle, 0).unwrap();
}
