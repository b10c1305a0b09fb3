// SPDX-License-Identifier: MIT OR Apache-2.0
//! Partitions that see their memory, and what they retrieve, elsewhere than it is.

use bulkhead_abi::FfaError::{Denied, InvalidParameters, NoMemory};
use bulkhead_abi::Function;
use bulkhead_abi::memory::{Constituent, Handle};
use bulkhead_core::region::{Region, RegionKind};
use bulkhead_mm::addr::{Pa, PageRange};
use bulkhead_mm::attrs::Space;
use bulkhead_mm::owner::{Hold, Owner};
use bulkhead_sim::memory::Quotas;
use bulkhead_sim::sharing::{Desk, Retrieve, Retrieved, Send, Who, run};

const NORMAL: Who = Who::Normal;
/// Two partitions of one image: they see their memory and what they retrieve at the same addresses.
const TWINS: [Who; 2] = [Who::Sp(0), Who::Sp(1)];
/// It sees everything where it is.
const PLAIN: Who = Who::Sp(2);
const OWN: u64 = 0x9000_0000;
/// Behind its own memory the first twin has a region that is elsewhere.
const MORE: u64 = OWN + 0x10_0000;
const MORE_PA: u64 = 0x2000_0000;
const WINDOW: u64 = 0xa000_0000;
const WINDOW_PAGES: u64 = 400;
const PAGE: u64 = 4096;

fn desk() -> Desk {
    Desk::with(3, Quotas::default(), |index, spec| {
        if index == 2 {
            return spec;
        }
        spec.with(|config| {
            let own = Region {
                ipa: OWN,
                ..config.regions[0]
            };
            let more = Region {
                kind: RegionKind::Memory,
                range: PageRange::new(Pa(MORE_PA), 2 * PAGE).unwrap(),
                ipa: MORE,
                ..own
            };
            let regions = [own, more];
            config.regions = regions[..2 - index].to_vec().leak();
            config.image.0 = OWN;
            config.entry = OWN + 0x4000;
            config.retrieved_memory = Some(WINDOW..WINDOW + WINDOW_PAGES * PAGE);
        })
    })
}

/// Three constituents of five pages, at the addresses where the memory is.
fn pages(who: Who) -> [u64; 5] {
    [0, 0x6000, 0x7000, 0x3000, 0x4000].map(|page| who.memory() + page)
}

/// The same, as its owner sees them.
fn runs(desk: &Desk, who: Who) -> [Constituent; 3] {
    let at = |offset| desk.sees(who, who.memory() + offset);
    [run(at(0), 1), run(at(0x6000), 2), run(at(0x3000), 2)]
}

fn take(desk: &mut Desk, who: Who, send: &Send, handle: Handle) -> Retrieved {
    desk.retrieve(who, &Retrieve::of(send, handle))
        .expect("it may have it")
}

/// Where `who` sees `count` pages from `from` on really are.
fn behind(desk: &Desk, who: Who, space: Space, from: u64, count: u64) -> Vec<Option<u64>> {
    let page = |number| desk.mapped(who, space, from + number * PAGE);
    (0..count)
        .map(|number| page(number).map(|run| run.pa.0))
        .collect()
}

#[test]
fn a59_one_image_at_two_places_sees_the_same_addresses() {
    let mut desk = desk();
    for who in TWINS {
        let own = behind(&desk, who, Space::Secure, OWN, 1);
        assert_eq!(own, [Some(who.memory() & !0xf_ffff)], "{who:?}");
    }
    for function in [Function::MemShare, Function::MemLend] {
        let before = desk.world();
        let send = Send::new(
            function,
            NORMAL,
            &[TWINS[0], TWINS[1], PLAIN],
            &runs(&desk, NORMAL),
        );
        let handle = desk.send(NORMAL, &send).unwrap();
        for who in TWINS {
            let taken = take(&mut desk, who, &send, handle);
            assert_eq!(taken.constituents, [run(WINDOW, 5)], "{who:?}");
            let mapped = behind(&desk, who, Space::NonSecure, WINDOW, 6);
            assert_eq!(mapped[..5], pages(NORMAL).map(Some));
            assert_eq!(mapped[5], None);
            assert_eq!(behind(&desk, who, Space::Secure, WINDOW, 1), [None]);
        }
        let taken = take(&mut desk, PLAIN, &send, handle);
        assert_eq!(taken.constituents, runs(&desk, NORMAL));
        for who in [TWINS[1], PLAIN, TWINS[0]] {
            assert_eq!(desk.relinquish(who, handle, 0), Ok(()));
            let gone = behind(&desk, who, Space::NonSecure, WINDOW, 5);
            assert_eq!(gone, [None; 5]);
        }
        assert_eq!(desk.reclaim(NORMAL, handle, 0), Ok(()));
        assert!(desk.world() == before);
    }
}

#[test]
fn a59_a_sender_names_what_it_sees_and_loses_it_there() {
    for function in [Function::MemShare, Function::MemLend] {
        let mut desk = desk();
        let before = desk.world();
        let [sender, other] = TWINS;
        let send = Send::new(function, sender, &[other, PLAIN], &runs(&desk, sender));
        let handle = desk.send(sender, &send).unwrap();
        let shared = function == Function::MemShare;
        for constituent in runs(&desk, sender) {
            let mapped = desk.mapped(sender, Space::Secure, constituent.address);
            assert_eq!(mapped.is_some(), shared);
        }
        for page in pages(sender) {
            let state = desk.state(Space::Secure, page);
            assert_eq!(state.owner, Owner::Partition(sender.id().0));
            assert!(matches!(state.hold, Hold::Shared(_) | Hold::Lent(_)));
        }
        assert_eq!(
            take(&mut desk, other, &send, handle).constituents,
            [run(WINDOW, 5)]
        );
        let mapped = behind(&desk, other, Space::Secure, WINDOW, 5);
        assert_eq!(mapped, pages(sender).map(Some));
        // Another one sees it where it is.
        let taken = take(&mut desk, PLAIN, &send, handle);
        let [first, .., last] = pages(sender);
        assert_eq!(taken.constituents[0], run(first, 1));
        assert_eq!(taken.constituents[2], run(last - PAGE, 2));
        assert_eq!(desk.relinquish(PLAIN, handle, 0), Ok(()));
        assert_eq!(desk.relinquish(other, handle, 0), Ok(()));
        assert_eq!(desk.reclaim(sender, handle, 0), Ok(()));
        assert!(desk.world() == before);
    }
}

#[test]
fn a59_s27_physical_addresses_are_nothing_to_who_sees_others() {
    let mut desk = desk();
    let before = desk.world();
    let [sender, other] = TWINS;
    let wrong = Send::new(
        Function::MemLend,
        sender,
        &[other],
        &[run(sender.memory(), 1)],
    );
    assert_eq!(desk.send(sender, &wrong), Err(Denied));
    assert!(desk.world() == before);
}

#[test]
fn a59_a_constituent_is_in_one_piece_where_it_is() {
    let mut desk = desk();
    let before = desk.world();
    let [sender, other] = TWINS;
    // The two pages are next to each other for the sender alone.
    let across = Send::new(Function::MemLend, sender, &[other], &[run(MORE - PAGE, 2)]);
    assert_eq!(desk.send(sender, &across), Err(Denied));
    assert!(desk.world() == before);
    let apart = [run(MORE - PAGE, 1), run(MORE, 1)];
    let send = Send::new(Function::MemLend, sender, &[other], &apart);
    let handle = desk.send(sender, &send).unwrap();
    assert_eq!(
        take(&mut desk, other, &send, handle).constituents,
        [run(WINDOW, 2)]
    );
    let last = (sender.memory() | 0xf_ffff) - 0xfff;
    let mapped = behind(&desk, other, Space::Secure, WINDOW, 2);
    assert_eq!(mapped, [Some(last), Some(MORE_PA)]);
    assert_eq!(desk.relinquish(other, handle, 0), Ok(()));
    assert_eq!(desk.reclaim(sender, handle, 0), Ok(()));
    assert!(desk.world() == before);
}

#[test]
fn a59_a_donation_goes_from_place_to_place() {
    let mut desk = desk();
    let [first, second] = TWINS;
    let mut owner = first;
    let mut named = runs(&desk, first).to_vec();
    for next in [second, PLAIN, first, second] {
        let send = Send::new(Function::MemDonate, owner, &[next], &named);
        let handle = desk.send(owner, &send).unwrap();
        let taken = take(&mut desk, next, &send, handle);
        for constituent in &named {
            assert!(
                desk.mapped(owner, Space::Secure, constituent.address)
                    .is_none()
            );
        }
        for page in pages(first) {
            let state = desk.state(Space::Secure, page);
            assert_eq!(state.owner, Owner::Partition(next.id().0));
        }
        named = taken.constituents;
        if next != PLAIN {
            assert_eq!(named, [run(WINDOW, 5)]);
            let mapped = behind(&desk, next, Space::Secure, WINDOW, 5);
            assert_eq!(mapped, pages(first).map(Some));
            // In pieces, since they are in pieces where they are.
            named = (0..5).map(|page| run(WINDOW + page * PAGE, 1)).collect();
        }
        owner = next;
    }
    // What it gave away it has no more, and its own address for it stays empty.
    for constituent in runs(&desk, first) {
        assert!(
            desk.mapped(first, Space::Secure, constituent.address)
                .is_none()
        );
    }
}

#[test]
fn a59_t14_the_lowest_free_addresses_are_used_and_a_full_window_is_no_memory() {
    let mut desk = desk();
    let [who, _] = TWINS;
    let send = |desk: &mut Desk, page: u64, count: u64| {
        let from = NORMAL.memory() + page * PAGE;
        let send = Send::new(
            Function::MemShare,
            NORMAL,
            &[who],
            &[run(from, count as u32)],
        );
        let handle = desk.send(NORMAL, &send).unwrap();
        (Retrieve::of(&send, handle), handle)
    };
    let mut place = 0;
    let mut all = Vec::new();
    for (page, count) in [(0, 10), (10, 100), (110, 20), (130, WINDOW_PAGES - 130)] {
        let (request, handle) = send(&mut desk, page, count);
        let taken = desk.retrieve(who, &request).unwrap();
        assert_eq!(
            taken.constituents,
            [run(WINDOW + place * PAGE, count as u32)]
        );
        place += count;
        all.push((handle, WINDOW + (place - count) * PAGE));
    }
    let (one, _) = send(&mut desk, WINDOW_PAGES, 1);
    let before = desk.world();
    assert_eq!(desk.retrieve(who, &one), Err(NoMemory));
    assert!(desk.world() == before);
    // The second one leaves, and its place is the lowest.
    assert_eq!(desk.relinquish(who, all[1].0, 0), Ok(()));
    let (large, _) = send(&mut desk, WINDOW_PAGES + 1, 101);
    assert_eq!(desk.retrieve(who, &large), Err(NoMemory));
    assert_eq!(
        desk.retrieve(who, &one).unwrap().constituents,
        [run(all[1].1, 1)]
    );
}

#[test]
fn a59_a44_fragments_of_many_constituents_are_one_for_who_has_a_place() {
    let mut desk = desk();
    let [sender, other] = TWINS;
    let at = |page: u64| desk.sees(sender, sender.memory() + 2 * page * PAGE);
    let many: Vec<_> = (0..90).map(|page| run(at(page), 1)).collect();
    let send = Send::new(Function::MemShare, sender, &[other, PLAIN], &many);
    let handle = desk.send_in(sender, &send, 512).unwrap();
    let taken = take(&mut desk, other, &send, handle);
    assert_eq!(
        (taken.constituents, taken.fragments),
        (vec![run(WINDOW, 90)], 1)
    );
    let place = |page: u64| sender.memory() + 2 * page * PAGE;
    let mapped = behind(&desk, other, Space::Secure, WINDOW, 90);
    assert_eq!(
        mapped,
        (0..90).map(|page| Some(place(page))).collect::<Vec<_>>()
    );
    let told = take(&mut desk, PLAIN, &send, handle).constituents;
    assert_eq!(
        told,
        (0..90).map(|page| run(place(page), 1)).collect::<Vec<_>>()
    );
    assert_eq!(desk.relinquish(other, handle, 0), Ok(()));
    assert_eq!(desk.relinquish(other, handle, 0), Err(Denied));
}

#[test]
fn a59_a49_zeroing_finds_the_pages_where_they_are() {
    let mut desk = desk();
    let [sender, other] = TWINS;
    let mut send = Send::new(Function::MemLend, sender, &[other], &runs(&desk, sender));
    let fill = |desk: &Desk, value: u64| {
        desk.sim.memory(|memory| {
            for page in pages(sender) {
                memory.contents.insert((Space::Secure, page), value);
            }
        });
    };
    let content = |desk: &Desk| {
        let all = |page: u64| {
            desk.sim
                .memory(|memory| memory.contents[&(Space::Secure, page)])
        };
        pages(sender).map(all)
    };
    fill(&desk, 7);
    send.flags = 1;
    let handle = desk.send(sender, &send).unwrap();
    let mut request = Retrieve::of(&send, handle);
    request.flags = 1 << 2;
    desk.retrieve(other, &request).unwrap();
    assert_eq!(content(&desk), [0; 5]);
    fill(&desk, 9);
    assert_eq!(desk.relinquish(other, handle, 0), Ok(()));
    assert_eq!(content(&desk), [0; 5]);
    fill(&desk, 11);
    assert_eq!(desk.reclaim(sender, handle, 0), Ok(()));
    assert_eq!(content(&desk), [11; 5]);
}

#[test]
fn a59_k7_either_party_ends() {
    let [sender, other] = TWINS;
    for dies in TWINS {
        let mut desk = desk();
        let send = Send::new(
            Function::MemLend,
            sender,
            &[other, PLAIN],
            &runs(&desk, sender),
        );
        let handle = desk.send(sender, &send).unwrap();
        take(&mut desk, other, &send, handle);
        desk.end(dies);
        if dies == other {
            assert_eq!(behind(&desk, other, Space::Secure, WINDOW, 5), [None; 5]);
            assert_eq!(desk.reclaim(sender, handle, 0), Ok(()));
            for constituent in runs(&desk, sender) {
                assert!(
                    desk.mapped(sender, Space::Secure, constituent.address)
                        .is_some()
                );
            }
        } else {
            let mapped = behind(&desk, other, Space::Secure, WINDOW, 5);
            assert_eq!(mapped, pages(sender).map(Some));
            assert_eq!(desk.relinquish(other, handle, 0), Ok(()));
            assert_eq!(desk.relinquish(other, handle, 0), Err(InvalidParameters));
        }
        for page in pages(sender) {
            assert_eq!(desk.state(Space::Secure, page).hold, Hold::Exclusive);
        }
    }
}
