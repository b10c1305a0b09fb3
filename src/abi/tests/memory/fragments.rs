// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors in fragments: F3, F5 and F12 of the abuse cases.

use bulkhead_abi::memory::attributes::Kind;
use bulkhead_abi::memory::encode::{encode_constituents, encode_for};
use bulkhead_abi::memory::transaction::parse;
use bulkhead_abi::memory::{Constituent, Malformed};
use proptest::prelude::*;

use crate::sample::*;

#[test]
fn f5_a_first_fragment_ends_between_constituents() {
    for version in VERSIONS {
        let bytes = good(version, Kind::Send);
        let places = places(version);
        for length in 0..bytes.len() {
            let total = bytes.len() as u32;
            let found = parse(version, &bytes[..length], total, Kind::Send, 4);
            let at_boundary =
                length >= places.constituents && (length - places.constituents).is_multiple_of(16);
            assert_eq!(found.is_ok(), at_boundary, "{version} {length}");
            if let Ok(found) = found {
                let region = found.region.unwrap();
                let here = (length - places.constituents) / 16;
                assert!(
                    region
                        .constituents
                        .iter()
                        .eq(CONSTITUENTS[..here].iter().copied())
                );
                assert_eq!(region.expected.constituents(), 3 - here as u32);
                assert_eq!(region.expected.bytes(), u64::from(total) - length as u64);
            }
        }
    }
}

#[test]
fn f5_a_later_fragment_that_splits_a_constituent_is_refused_and_takes_nothing() {
    for version in VERSIONS {
        let bytes = good(version, Kind::Send);
        let start = places(version).constituents;
        let first = parse(version, &bytes[..start], bytes.len() as u32, Kind::Send, 4).unwrap();
        let before = first.region.unwrap().expected;
        for end in start..=bytes.len() {
            let mut expected = before;
            let found = expected.take(&bytes[start..end]);
            if end == start || !(end - start).is_multiple_of(16) {
                assert_eq!(found, Err(Malformed::Fragment));
                assert_eq!(expected, before);
            } else {
                assert_eq!(found.unwrap().len(), (end - start) / 16);
                assert_eq!(expected.is_complete(), end == bytes.len());
            }
        }
    }
}

#[test]
fn f3_a_fragment_beyond_the_announced_constituents_is_refused() {
    for version in VERSIONS {
        let mut bytes = good(version, Kind::Send);
        let start = places(version).constituents;
        let total = bytes.len() as u32;
        bytes.extend(CONSTITUENT_TOO_MANY);
        let first = parse(version, &bytes[..start + 16], total, Kind::Send, 4).unwrap();
        let before = first.region.unwrap().expected;
        let mut expected = before;
        let found = expected.take(&bytes[start + 16..]);
        assert_eq!(found, Err(Malformed::ConstituentCount));
        assert_eq!(expected, before);
        expected.take(&bytes[start + 16..total as usize]).unwrap();
        assert!(expected.is_complete());
        assert_eq!(
            expected.take(&CONSTITUENT_TOO_MANY),
            Err(Malformed::ConstituentCount)
        );
    }
}

const CONSTITUENT_TOO_MANY: [u8; 16] = [0, 0x10, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn s10_the_sum_is_checked_over_all_fragments() {
    for version in VERSIONS {
        let mut bytes = good(version, Kind::Send);
        let places = places(version);
        put(&mut bytes, places.composite, 11);
        let cut = places.constituents + 16;
        let first = parse(version, &bytes[..cut], bytes.len() as u32, Kind::Send, 4).unwrap();
        let mut expected = first.region.unwrap().expected;
        let found = expected.take(&bytes[cut..]);
        assert_eq!(found, Err(Malformed::TotalPageCount));
        assert!(!expected.is_complete());
    }
}

#[test]
fn s10_fewer_pages_than_constituents_are_refused_before_the_first_constituent() {
    for version in VERSIONS {
        let mut bytes = good(version, Kind::Send);
        let places = places(version);
        put(&mut bytes, places.composite, 2);
        let first = &bytes[..places.constituents];
        let found = parse(version, first, bytes.len() as u32, Kind::Send, 4);
        assert_eq!(found, Err(Malformed::TotalPageCount));
    }
}

proptest! {
    #[test]
    fn f12_all_ways_to_split_give_the_same_constituents(
        constituents in prop::collection::vec(any_constituent(), 1..12),
        cuts in prop::collection::vec(1_usize..5, 12),
        version in 0_usize..4,
    ) {
        let version = VERSIONS[version];
        let receivers = [receiver(0x8002)];
        let bytes = bytes(version, &header(Kind::Send), &receivers, Some(&constituents));
        let first_length = bytes.len() - 16 * constituents.len() + 16 * (cuts[0] - 1);
        let first_length = first_length.min(bytes.len());
        let total = bytes.len() as u32;
        let first = parse(version, &bytes[..first_length], total, Kind::Send, 4).unwrap();
        let region = first.region.unwrap();
        let mut found: Vec<_> = region.constituents.iter().collect();
        let mut expected = region.expected;
        let mut rest = &bytes[first_length..];
        for cut in &cuts[1..] {
            let (fragment, tail) = rest.split_at((cut * 16).min(rest.len()));
            if !fragment.is_empty() {
                found.extend(expected.take(fragment).unwrap().iter());
            }
            rest = tail;
        }
        prop_assert!(rest.is_empty());
        prop_assert!(expected.is_complete());
        prop_assert_eq!(found, constituents);
    }

    #[test]
    fn f12_an_encoder_with_little_room_gives_the_same_bytes(
        constituents in prop::collection::vec(any_constituent(), 1..12),
        room in 0_usize..200,
        later in 16_usize..60,
        version in 0_usize..4,
    ) {
        let version = VERSIONS[version];
        let head = header(Kind::RetrieveResponse);
        let receivers = [receiver(0x8002)];
        let whole = bytes(version, &head, &receivers, Some(&constituents));
        let mut iter = constituents.iter().copied();
        let all = region(&constituents);
        let region = bulkhead_abi::memory::encode::RegionOf::<&mut dyn Iterator<Item = Constituent>> {
            constituents: &mut iter,
            constituent_count: all.constituent_count,
            page_count: all.page_count,
        };
        let mut out = vec![0xee; room];
        let encoded = encode_for(version, &head, receivers.into_iter(), Some(region), &mut out);
        let least = whole.len() - 16 * constituents.len();
        let Some(encoded) = encoded else {
            prop_assert!(room < least);
            return Ok(());
        };
        prop_assert_eq!(encoded.total_length as usize, whole.len());
        let fragment = encoded.fragment_length as usize;
        prop_assert_eq!(fragment, least + 16 * encoded.constituents as usize);
        prop_assert!(out[fragment..].iter().all(|&byte| byte == 0xee));
        out.truncate(fragment);
        loop {
            let mut next = vec![0; later];
            let count = encode_constituents(&mut iter, &mut next) as usize;
            if count == 0 {
                break;
            }
            out.extend(&next[..16 * count]);
        }
        prop_assert_eq!(out, whole);
    }
}
