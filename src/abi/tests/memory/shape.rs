// SPDX-License-Identifier: MIT OR Apache-2.0
//! S1 to S17, S42 and S45 of the abuse cases, in every version.

use bulkhead_abi::memory::attributes::Kind;
use bulkhead_abi::memory::transaction::parse;
use bulkhead_abi::memory::{Constituent, Flags, Handle, Header, Malformed};
use bulkhead_abi::{FfaError, Version};
use proptest::prelude::*;

use crate::sample::*;

const KINDS: [Kind; 3] = [Kind::Send, Kind::RetrieveRequest, Kind::RetrieveResponse];

fn send(version: Version) -> Vec<u8> {
    good(version, Kind::Send)
}

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
fn s13_a_range_that_wraps_is_refused() {
    for version in VERSIONS {
        for (address, page_count, verdict) in [
            (u64::MAX << 12, 1, Err(Malformed::Wrap)),
            (u64::MAX << 13, 1, Ok(())),
            (u64::MAX << 13, 2, Err(Malformed::Wrap)),
            ((u64::MAX << 44) + 0x1000, u32::MAX, Err(Malformed::Wrap)),
            (u64::MAX << 45, u32::MAX, Ok(())),
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

/// The reserved bytes of [`good`], by version.
fn reserved(version: Version) -> Vec<usize> {
    let places = places(version);
    let mut offsets = match version {
        Version::V1_0 => vec![3, 24, 25, 26, 27],
        _ => (36..48).collect(),
    };
    for index in 0..2 {
        let end = places.receivers + (index + 1) * places.receiver_size;
        offsets.extend(end - 8..end);
    }
    offsets.extend(places.composite + 8..places.composite + 16);
    for index in 0..3 {
        let end = places.constituents + 16 * (index + 1);
        offsets.extend(end - 4..end);
    }
    offsets
}

#[test]
fn s14_every_reserved_byte_must_be_zero() {
    for version in VERSIONS {
        for offset in reserved(version) {
            for bit in 0..8 {
                let mut bytes = send(version);
                bytes[offset] |= 1 << bit;
                let found = whole(version, &bytes, Kind::Send);
                assert!(
                    matches!(found, Err(Malformed::Reserved(_))),
                    "{version} byte {offset}: {found:?}"
                );
            }
        }
    }
}

#[test]
fn s14_reserved_bits_of_attributes_permissions_and_flags_must_be_zero() {
    for version in VERSIONS {
        let receiver = places(version).receivers;
        let attributes: &[(usize, u8)] = match version {
            Version::V1_0 => &[(2, 7)],
            _ => &[(2, 7), (3, 0), (3, 1), (3, 4), (3, 7)],
        };
        let permissions = (4..8).map(|bit| (receiver + 2, bit));
        let flags = (0..8).map(|bit| (receiver + 3, bit));
        for (offset, bit) in attributes.iter().copied().chain(permissions).chain(flags) {
            let mut bytes = send(version);
            bytes[offset] |= 1 << bit;
            let found = whole(version, &bytes, Kind::Send);
            assert!(
                matches!(found, Err(Malformed::Reserved(_))),
                "{version} byte {offset} bit {bit}: {found:?}"
            );
        }
    }
}

#[test]
fn s15_a_handle_on_send_is_refused() {
    for version in VERSIONS {
        for bit in 0..64 {
            let mut bytes = send(version);
            bytes[8 + bit / 8] |= 1 << (bit % 8);
            let found = whole(version, &bytes, Kind::Send);
            assert_eq!(found, Err(Malformed::Handle), "{version} {bit}");
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

/// Where a bit may be flipped without a change of meaning: the attributes' low bits once the type is
/// one that has none, which takes a flip in the same byte.
fn is_ignored(bytes: &[u8], again: &[u8]) -> bool {
    let mut normal = bytes.to_vec();
    normal[2] &= match bytes[2] >> 4 {
        0 => 0xf0,
        1 => 0xfc,
        _ => 0xff,
    };
    normal == again
}

#[test]
fn s17_a_flipped_bit_is_refused_or_a_value() {
    for version in VERSIONS {
        for kind in KINDS {
            let bytes = good(version, kind);
            let before = whole(version, &bytes, kind).unwrap();
            let mut accepted = 0;
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let Ok(found) = whole(version, &flipped, kind) else {
                    continue;
                };
                accepted += 1;
                let again = again(version, &found);
                assert!(
                    again == flipped || is_ignored(&flipped, &again),
                    "{version} {kind:?} bit {bit}"
                );
                assert_ne!(found, before, "{version} {kind:?} bit {bit}");
            }
            // Ids, tags, addresses, implementation-defined values and the like.
            assert!(accepted > 100, "{version} {kind:?} {accepted}");
        }
    }
}

#[test]
fn s42_a_sender_may_not_set_the_ns_bit_and_a_response_may() {
    for version in VERSIONS {
        for kind in KINDS {
            let mut bytes = good(version, kind);
            bytes[2] |= 0x40;
            let found = whole(version, &bytes, kind);
            assert_eq!(
                found.is_ok(),
                kind == Kind::RetrieveResponse,
                "{version} {kind:?}"
            );
        }
    }
}

#[test]
fn s45_flags_of_another_kind_are_refused() {
    for version in VERSIONS {
        for kind in KINDS {
            for bit in 0..32 {
                let mut bytes = good(version, kind);
                bytes[4 + bit / 8] |= 1 << (bit % 8);
                let defined = Flags::defined(kind) & (1 << bit) != 0;
                let found = whole(version, &bytes, kind);
                assert_eq!(found.is_ok(), defined, "{version} {kind:?} {bit}");
            }
        }
    }
}

#[test]
fn t10_a_retrieve_request_with_ranges_is_refused() {
    for version in VERSIONS {
        let receivers = [receiver(0x8002)];
        let bytes = bytes(
            version,
            &header(Kind::RetrieveRequest),
            &receivers,
            Some(&CONSTITUENTS),
        );
        let found = whole(version, &bytes, Kind::RetrieveRequest);
        assert_eq!(found, Err(Malformed::CompositeOffset));
        assert!(whole(version, &bytes, Kind::RetrieveResponse).is_ok());
    }
}

#[test]
fn a46_a_retrieve_request_is_as_long_as_its_parts() {
    for version in VERSIONS {
        let mut bytes = good(version, Kind::RetrieveRequest);
        let found = whole(version, &bytes, Kind::RetrieveRequest).unwrap();
        assert_eq!(found.region, None);
        assert_eq!(found.receivers.len(), 2);
        assert!(!found.is_hypervisor_retrieve());
        let length = bytes.len() as u32;
        for total in [length + 1, length + 16] {
            let found = parse(version, &bytes, total, Kind::RetrieveRequest, 4);
            assert_eq!(found, Err(Malformed::Length));
        }
        bytes.extend([0; 16]);
        let found = whole(version, &bytes, Kind::RetrieveRequest);
        assert_eq!(found, Err(Malformed::Length));
    }
}

#[test]
fn a51_a_hypervisor_retrieves_by_handle_alone() {
    let handle = Handle(0x8765);
    for version in VERSIONS {
        // Protected KVM: 48 bytes at every version, zero but for the handle.
        let mut kvm = vec![0; 48];
        kvm[8..16].copy_from_slice(&handle.0.to_le_bytes());
        let encoded = bytes(version, &Header::of_handle(handle), &[], None);
        for bytes in [&kvm, &encoded] {
            let found = whole(version, bytes, Kind::RetrieveRequest).unwrap();
            assert!(found.is_hypervisor_retrieve());
            assert_eq!(found.header, Header::of_handle(handle));
            assert_eq!(found.receivers.iter().len(), 0);
            for kind in [Kind::Send, Kind::RetrieveResponse] {
                assert!(whole(version, bytes, kind).is_err());
            }
        }
        // Attributes, flags, tag, size and offset: anything else set is refused.
        for offset in [2, 4, 16, 23, 24, 32].into_iter().chain(36..48) {
            if version == Version::V1_0 && offset >= 32 {
                continue;
            }
            let mut bytes = kvm.clone();
            bytes[offset] = 0x20;
            let found = whole(version, &bytes, Kind::RetrieveRequest);
            assert!(found.is_err(), "{version} byte {offset}");
        }
        let found = parse(version, &kvm, 64, Kind::RetrieveRequest, 4);
        assert_eq!(found, Err(Malformed::Length));
    }
}

#[test]
fn every_refusal_is_invalid_parameters() {
    for version in VERSIONS {
        let refusal = whole(version, &[], Kind::Send).unwrap_err();
        assert_eq!(FfaError::from(refusal), FfaError::InvalidParameters);
        assert_eq!(refusal.to_string(), "length");
    }
}

proptest! {
    #[test]
    fn a40_descriptors_come_back_in_every_version(
        header in any_header(Kind::Send),
        receivers in prop::collection::vec(any_receiver(), 1..=4),
        constituents in prop::collection::vec(any_constituent(), 1..20),
    ) {
        for version in VERSIONS {
            let bytes = bytes(version, &header, &receivers, Some(&constituents));
            let found = whole(version, &bytes, Kind::Send).unwrap();
            prop_assert_eq!(found.header, header);
            for (found, sent) in found.receivers.iter().zip(&receivers) {
                let mut sent = *sent;
                if version < Version::V1_2 {
                    sent.implementation_defined = [0; 16];
                }
                prop_assert_eq!(found, sent);
            }
            let region = found.region.unwrap();
            prop_assert!(region.constituents.iter().eq(constituents.iter().copied()));
            prop_assert!(region.expected.is_complete());
        }
    }

    #[test]
    fn a40_a_descriptor_of_one_version_becomes_one_of_another(
        header in any_header(Kind::RetrieveResponse),
        receivers in prop::collection::vec(any_receiver(), 1..=4),
        constituents in prop::collection::vec(any_constituent(), 1..20),
        from in 0_usize..4,
        to in 0_usize..4,
    ) {
        let (from, to) = (VERSIONS[from], VERSIONS[to]);
        let kind = Kind::RetrieveResponse;
        let first = bytes(from, &header, &receivers, Some(&constituents));
        let parsed = whole(from, &first, kind).unwrap();
        let second = again(to, &parsed);
        let converted = whole(to, &second, kind).unwrap();
        prop_assert_eq!(converted.header, parsed.header);
        prop_assert_eq!(converted.region, parsed.region);
        let ids = |receivers: &mut dyn Iterator<Item = _>| -> Vec<_> {
            receivers.map(|one: bulkhead_abi::memory::Receiver| one.endpoint).collect()
        };
        prop_assert_eq!(
            ids(&mut converted.receivers.iter()),
            ids(&mut parsed.receivers.iter())
        );
        if from <= to {
            prop_assert_eq!(again(from, &converted), first);
        }
    }

    #[test]
    fn s17_damaged_descriptors_never_panic_and_mean_what_they_say(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        version in 0_usize..4,
        kind in 0_usize..3,
        total in prop::option::of(any::<u32>()),
    ) {
        let (version, kind) = (VERSIONS[version], KINDS[kind]);
        let mut bytes = good(version, kind);
        for (place, value) in damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        let total = total.unwrap_or(bytes.len() as u32);
        if let Ok(found) = parse(version, &bytes, total, kind, MAXIMUM_RECEIVERS) {
            if found.is_hypervisor_retrieve() {
                prop_assert_eq!(kind, Kind::RetrieveRequest);
            } else if found.region.is_none_or(|region| region.expected.is_complete()) {
                let once = again(version, &found);
                let reparsed = whole(version, &once, kind).unwrap();
                prop_assert_eq!(reparsed.header, found.header);
                prop_assert!(reparsed.receivers.iter().eq(found.receivers.iter()));
                prop_assert_eq!(reparsed.region, found.region);
            }
        }
    }

    #[test]
    fn s17_any_bytes_never_panic(
        bytes in prop::collection::vec(0_u8..64, 0..300),
        total in 0_u32..300,
        version in 0_usize..4,
        kind in 0_usize..3,
    ) {
        let _ = parse(VERSIONS[version], &bytes, total, KINDS[kind], u32::MAX);
    }
}
