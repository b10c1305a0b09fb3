// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory of a send: whose it is, what it is, and what it allows (S26 to S45, M9, M23).

use super::*;

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
                ipa: range.base().0,
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
                    // Pages that a partition lent or donated are not in its tables.
                    let is_mapped = who == NORMAL || function == Function::MemShare;
                    let wanted = if is_mapped { Denied } else { InvalidParameters };
                    let code = u64::from(wanted.code().cast_unsigned());
                    assert_eq!(error, Some(code), "{function:?} {who:?}");
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
