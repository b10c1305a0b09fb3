// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reserved bits, flipped bits and what each kind of descriptor may say: S14, S15, S17, S42, S45 and
//! T10 of the abuse cases, in every version; conversion between versions.

use bulkhead_abi::memory::attributes::Kind;
use bulkhead_abi::memory::transaction::parse;
use bulkhead_abi::memory::{Flags, Handle, Header, Malformed};
use bulkhead_abi::{FfaError, Version};
use proptest::prelude::*;

use crate::sample::*;

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
