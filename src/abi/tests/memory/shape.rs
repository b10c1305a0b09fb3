// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lengths, counts, offsets and ranges: S1 to S13 and S16 of the abuse cases, in every version.

use bulkhead_abi::Version;
use bulkhead_abi::memory::attributes::Kind;
use bulkhead_abi::memory::transaction::parse;
use bulkhead_abi::memory::{Constituent, Malformed};

use crate::sample::*;

/// A send descriptor with this word at this offset.
fn with(version: Version, offset: usize, value: u32) -> Result<(), Malformed> {
    let mut bytes = send(version);
    put(&mut bytes, offset, value);
    whole(version, &bytes, Kind::Send).map(drop)
}

#[test]
fn a40_the_bytes_of_each_version() {
    let header = |version: Version| match version {
        Version::V1_0 => vec![
            1, 0x80, 0x2f, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x76, 0x98, 0xba, 0xdc, 0xfe,
            0x10, 0x32, 0x54, 0, 0, 0, 0, 2, 0, 0, 0,
        ],
        _ => vec![
            1,
            0x80,
            0x2f,
            0,
            1,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0x76,
            0x98,
            0xba,
            0xdc,
            0xfe,
            0x10,
            0x32,
            0x54,
            if version == Version::V1_1 { 16 } else { 32 },
            0,
            0,
            0,
            2,
            0,
            0,
            0,
            48,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ],
    };
    for (version, composite) in [
        (Version::V1_0, 64),
        (Version::V1_1, 80),
        (Version::V1_2, 112),
        (Version::V1_3, 112),
    ] {
        let mut expected = header(version);
        for id in [2, 3] {
            expected.extend([id, 0x80, 2, 0, composite, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            if version >= Version::V1_2 {
                expected.extend([0; 16]);
            }
        }
        expected.extend([10, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([0, 0, 0, 0x40, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([0, 0, 0, 0x48, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([0, 0x10, 0, 0, 8, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(send(version), expected, "{version}");

        let found = whole(version, &expected, Kind::Send).unwrap();
        assert_eq!(found.header, crate::sample::header(Kind::Send));
        assert!(
            found
                .receivers
                .iter()
                .eq([receiver(0x8002), receiver(0x8003)])
        );
        let region = found.region.unwrap();
        assert_eq!((region.constituent_count, region.page_count), (3, 10));
        assert!(region.constituents.iter().eq(CONSTITUENTS));
        assert!(region.expected.is_complete());
    }
}

#[test]
fn a40_implementation_defined_values_are_of_1_2_and_later() {
    let mut one = receiver(0x8002);
    one.implementation_defined = *b"sixteen letters!";
    for version in VERSIONS {
        let bytes = bytes(version, &header(Kind::Send), &[one], Some(&CONSTITUENTS));
        let found = whole(version, &bytes, Kind::Send).unwrap();
        let value = found
            .receivers
            .iter()
            .next()
            .unwrap()
            .implementation_defined;
        if version >= Version::V1_2 {
            assert_eq!(value, one.implementation_defined);
            assert_eq!(bytes[48 + 8..48 + 24], one.implementation_defined);
        } else {
            assert_eq!(value, [0; 16]);
        }
    }
}

#[test]
fn a40_a_1_2_caller_may_send_receivers_of_16_bytes() {
    // Linux until late 2025.
    let bytes = send(Version::V1_1);
    for version in [Version::V1_2, Version::V1_3] {
        let found = whole(version, &bytes, Kind::Send).unwrap();
        assert_eq!(found, whole(Version::V1_1, &bytes, Kind::Send).unwrap());
    }
    let bytes = send(Version::V1_2);
    let found = whole(Version::V1_1, &bytes, Kind::Send);
    assert_eq!(found, Err(Malformed::ReceiverSize));
}

#[test]
fn s1_every_truncation_is_refused() {
    for version in VERSIONS {
        for kind in KINDS {
            let bytes = good(version, kind);
            for length in 0..bytes.len() {
                let found = whole(version, &bytes[..length], kind);
                assert!(found.is_err(), "{version} {kind:?} {length}");
            }
        }
    }
}

#[test]
fn s2_a_fragment_longer_than_the_whole_is_refused() {
    for version in VERSIONS {
        for kind in KINDS {
            let bytes = good(version, kind);
            for total in 0..bytes.len() as u32 {
                let found = parse(version, &bytes, total, kind, MAXIMUM_RECEIVERS);
                assert_eq!(found, Err(Malformed::Length), "{version} {kind:?} {total}");
            }
        }
    }
}

#[test]
fn s2_a_whole_longer_than_its_parts_is_refused() {
    for version in VERSIONS {
        let bytes = send(version);
        for more in [1, 8, 16, 32, 4096] {
            let total = bytes.len() as u32 + more;
            let found = parse(version, &bytes, total, Kind::Send, MAXIMUM_RECEIVERS);
            assert_eq!(found, Err(Malformed::Length), "{version} {more}");
        }
    }
}

#[test]
fn s5_a_receiver_count_of_none_too_many_or_far_too_many_is_refused() {
    for version in VERSIONS {
        for count in [0, 3, 5, 0x0800_0000, 0x1000_0002, 0x8000_0002, u32::MAX] {
            assert!(with(version, 28, count).is_err(), "{version} {count:#x}");
        }
        assert_eq!(with(version, 28, 0), Err(Malformed::ReceiverCount));
        for count in [5, u32::MAX] {
            assert_eq!(with(version, 28, count), Err(Malformed::ReceiverCount));
        }
        // Without a limit of ours the length is the limit.
        for count in [0x0800_0000, 0x1000_0002, 0x8000_0002, u32::MAX] {
            let mut bytes = send(version);
            put(&mut bytes, 28, count);
            let found = parse(version, &bytes, bytes.len() as u32, Kind::Send, u32::MAX);
            assert_eq!(found, Err(Malformed::ReceiverCount));
        }
    }
}

#[test]
fn s6_receivers_in_the_header_unaligned_or_past_the_end_are_refused() {
    for version in [Version::V1_1, Version::V1_2, Version::V1_3] {
        let end = send(version).len() as u32;
        for offset in [
            0,
            16,
            32,
            47,
            49,
            52,
            56,
            end,
            end + 1,
            u32::MAX,
            u32::MAX - 15,
        ] {
            let found = with(version, 32, offset);
            assert!(
                matches!(
                    found,
                    Err(Malformed::ReceiversOffset | Malformed::ReceiverCount)
                ),
                "{version} {offset}: {found:?}"
            );
        }
        // Into the composite descriptor and the constituents.
        for offset in (64..end).step_by(16) {
            assert!(with(version, 32, offset).is_err(), "{version} {offset}");
        }
    }
}

#[test]
fn s6_receivers_need_not_follow_the_header_directly() {
    for version in [Version::V1_1, Version::V1_2] {
        let places = places(version);
        let mut bytes = send(version);
        bytes.splice(48..48, [0xee; 32]);
        put(&mut bytes, 32, 80);
        for index in 0..2 {
            let place = 80 + index * places.receiver_size + 4;
            put(&mut bytes, place, places.composite as u32 + 32);
        }
        let found = whole(version, &bytes, Kind::Send).unwrap();
        assert_eq!(again(version, &found), send(version));
    }
}

#[test]
fn s7_a_receiver_of_a_wrong_size_is_refused() {
    for version in [Version::V1_1, Version::V1_2, Version::V1_3] {
        for size in [0, 1, 8, 15, 17, 24, 31, 33, 48, 64, 0x8000_0010, u32::MAX] {
            assert_eq!(with(version, 24, size), Err(Malformed::ReceiverSize));
        }
    }
    assert_eq!(with(Version::V1_1, 24, 32), Err(Malformed::ReceiverSize));
}

#[test]
fn s8_a_composite_descriptor_misplaced_or_not_shared_is_refused() {
    for version in VERSIONS {
        let places = places(version);
        let end = send(version).len() as u32;
        let composite = places.composite as u32;
        let both = |offset: u32| {
            let mut bytes = send(version);
            for index in 0..2 {
                let place = places.receivers + index * places.receiver_size + 4;
                put(&mut bytes, place, offset);
            }
            whole(version, &bytes, Kind::Send).map(drop)
        };
        assert_eq!(both(composite), Ok(()));
        for offset in [
            0,
            8,
            composite - 16,
            composite - 8,
            end - 8,
            end,
            u32::MAX - 7,
        ] {
            assert_eq!(both(offset), Err(Malformed::CompositeOffset), "{offset}");
        }
        for offset in composite + 1..composite + 8 {
            assert_eq!(both(offset), Err(Malformed::CompositeOffset), "{offset}");
        }
        for offset in (composite + 8..end).step_by(8) {
            assert!(both(offset).is_err(), "{offset}");
        }
        for index in 0..2 {
            let place = places.receivers + index * places.receiver_size + 4;
            assert_eq!(
                with(version, place, composite + 16),
                Err(Malformed::CompositeOffset)
            );
        }
    }
}

#[test]
fn s9_a_constituent_count_of_none_or_one_that_overflows_is_refused() {
    for version in VERSIONS {
        let place = places(version).composite + 4;
        assert_eq!(with(version, place, 0), Err(Malformed::ConstituentCount));
        for count in [1, 2, 4, 0x1000_0003, 0x8000_0003, u32::MAX] {
            assert!(with(version, place, count).is_err(), "{version} {count:#x}");
        }
        // 0x1000_0003 * 16 is 48 modulo 2^32: pages enough, so that only the length speaks.
        let mut bytes = send(version);
        put(&mut bytes, place, 0x1000_0003);
        put(&mut bytes, place - 4, u32::MAX);
        let found = whole(version, &bytes, Kind::Send);
        assert_eq!(found, Err(Malformed::Length));
    }
}

#[test]
fn s10_a_total_that_is_not_the_sum_is_refused_even_modulo_2_to_the_32() {
    for version in VERSIONS {
        let places = places(version);
        for total in [0, 1, 3, 9, 11, u32::MAX] {
            let found = with(version, places.composite, total);
            assert_eq!(found, Err(Malformed::TotalPageCount), "{version} {total}");
        }
        let mut bytes = send(version);
        put(&mut bytes, places.constituents + 8, u32::MAX);
        put(&mut bytes, places.constituents + 24, 12);
        // u32::MAX + 12 + 2 is 13 modulo 2^32.
        put(&mut bytes, places.composite, 13);
        let found = whole(version, &bytes, Kind::Send);
        assert_eq!(found, Err(Malformed::TotalPageCount));
    }
}

#[test]
fn s11_a_constituent_without_pages_is_refused() {
    for version in VERSIONS {
        let places = places(version);
        for (index, one) in CONSTITUENTS.iter().enumerate() {
            let mut bytes = send(version);
            put(&mut bytes, places.constituents + 16 * index + 8, 0);
            put(&mut bytes, places.composite, 10 - one.page_count);
            let found = whole(version, &bytes, Kind::Send);
            assert_eq!(found, Err(Malformed::PageCount), "{version} {index}");
        }
    }
}

#[test]
fn s12_an_unaligned_address_is_refused() {
    for version in VERSIONS {
        for index in 0..3 {
            for bit in 0..12 {
                let mut bytes = send(version);
                bytes[places(version).constituents + 16 * index + bit / 8] |= 1 << (bit % 8);
                let found = whole(version, &bytes, Kind::Send);
                assert_eq!(found, Err(Malformed::Address), "{version} {index} {bit}");
            }
        }
    }
}

#[test]
fn s13_a_range_that_wraps_or_ends_past_52_bits_is_refused() {
    for version in VERSIONS {
        for (address, page_count, verdict) in [
            (u64::MAX << 12, 1, Err(Malformed::Wrap)),
            (u64::MAX << 13, 2, Err(Malformed::Wrap)),
            ((u64::MAX << 44) + 0x1000, u32::MAX, Err(Malformed::Wrap)),
            ((1 << 52) - 0x1000, 1, Ok(())),
            ((1 << 52) - 0x1000, 2, Err(Malformed::Wrap)),
            (1 << 52, 1, Err(Malformed::Wrap)),
            ((1 << 52) - (u64::from(u32::MAX) << 12), u32::MAX, Ok(())),
        ] {
            let one = [Constituent {
                address,
                page_count,
            }];
            let bytes = bytes(
                version,
                &header(Kind::Send),
                &[receiver(0x8002)],
                Some(&one),
            );
            let found = whole(version, &bytes, Kind::Send).map(drop);
            assert_eq!(found, verdict, "{version} {address:#x}");
        }
    }
}

#[test]
fn s16_only_the_exact_length_is_accepted_up_to_a_whole_page() {
    for version in VERSIONS {
        let fixed = places(version).composite - places(version).receiver_size + 16;
        let most = (4096 - fixed) / 16;
        for count in [1, 2, most - 1, most] {
            let many: Vec<_> = (0..count as u64)
                .map(|page| Constituent {
                    address: page << 13,
                    page_count: 1,
                })
                .collect();
            let one = [receiver(0x8002)];
            let mut bytes = bytes(version, &header(Kind::Send), &one, Some(&many));
            let exact = fixed + 16 * count;
            assert_eq!(bytes.len(), exact);
            bytes.resize(exact + 64, 0);
            for length in exact - 33..exact + 33 {
                let found = whole(version, &bytes[..length], Kind::Send);
                assert_eq!(found.is_ok(), length == exact, "{version} {count} {length}");
            }
        }
        assert!(fixed + 16 * most > 4096 - 16);
    }
}
