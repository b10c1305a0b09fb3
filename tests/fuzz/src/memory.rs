// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory descriptors: accepted exactly if [`naive`] accepts them, read as arm-ffa 0.5.0 reads what
//! it covers, and the same after a round trip and in fragments.

mod generate;
mod naive;

use arm_ffa::memory_management::{Handle as TheirHandle, MemRelinquishDesc, MemTransactionDesc};
use bulkhead_abi::memory::attributes::Attributes;
use bulkhead_abi::memory::composite::{CONSTITUENT_SIZE, CompositeLayout};
use bulkhead_abi::memory::encode::{RegionOf, encode_for};
use bulkhead_abi::memory::relinquish::Relinquish;
use bulkhead_abi::memory::transaction::{self, Transaction};
use bulkhead_abi::memory::version::Retrieval;
use bulkhead_abi::memory::{Constituent, Expected, Handle, Kind, Malformed};
use bulkhead_abi::rxtx::EndpointBuffers;
use bulkhead_abi::{FfaError, Version};

use crate::input::Input;

const VERSIONS: [Version; 4] = [Version::V1_0, Version::V1_1, Version::V1_2, Version::V1_3];
const KINDS: [Kind; 3] = [Kind::Send, Kind::RetrieveRequest, Kind::RetrieveResponse];

/// Runs the target: which descriptor, then the bytes of it.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 8 {
        0 => relinquish(&mut input),
        1 => endpoint_buffers(&mut input),
        2 => fragments(&mut input),
        3 => handles(&mut input),
        _ => transaction_descriptor(&mut input),
    }
}

fn handles(input: &mut Input<'_>) {
    let (low, high) = (input.word(), input.word());
    let ours = Handle::from_words(low, high);
    assert_eq!(ours.0, TheirHandle::from([low, high]).0);
    assert_eq!(ours.to_words(), (low, high));
}

fn transaction_descriptor(input: &mut Input<'_>) {
    let version = input.choose(&VERSIONS);
    let kind = input.choose(&KINDS);
    let maximum = u32::from(input.byte() % 8);
    let (bytes, total) = generate::transaction(input, version, kind);
    let parsed = transaction::parse(version, &bytes, total, kind, maximum);
    let expected = naive::accepts(version, &bytes, total, kind, maximum);
    assert_eq!(parsed.is_ok(), expected.is_some(), "{parsed:?}");
    match &parsed {
        Ok(parsed) => {
            round_trip(version, kind, maximum, parsed);
            read_on(&bytes, total, parsed);
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert_eq!(FfaError::from(*error), FfaError::InvalidParameters);
        }
    }
    if version == Version::V1_1 {
        against_arm_ffa(&bytes, total, &parsed);
    }
}

/// What is encoded again is parsed again to the same.
fn round_trip(version: Version, kind: Kind, maximum: u32, parsed: &Transaction<'_>) {
    let mut out = vec![0xa5; 8192];
    let region = parsed.region.map(|region| RegionOf {
        constituents: region.constituents.iter(),
        constituent_count: region.constituent_count,
        page_count: region.page_count,
    });
    let encoded = encode_for(
        version,
        &parsed.header,
        parsed.receivers.iter(),
        region,
        &mut out,
    );
    let encoded = encoded.expect("it fits");
    let length = usize::try_from(encoded.fragment_length).expect("32 bits");
    assert!(
        out[length..].iter().all(|byte| *byte == 0xa5),
        "written behind the fragment"
    );
    let again = transaction::parse(version, &out[..length], encoded.total_length, kind, maximum);
    let again = again.expect("what was encoded");
    assert_eq!(again.header, parsed.header);
    assert!(again.receivers.iter().eq(parsed.receivers.iter()));
    match (&again.region, &parsed.region) {
        (None, None) => {}
        (Some(again), Some(parsed)) => {
            assert!(again.constituents.iter().eq(parsed.constituents.iter()));
            assert_eq!(again.expected, parsed.expected);
        }
        (again, parsed) => panic!("{again:?} and {parsed:?}"),
    }
}

/// The counts of an accepted region, and that the missing constituents are what completes it.
fn read_on(bytes: &[u8], total: u32, parsed: &Transaction<'_>) {
    let Some(region) = parsed.region else {
        assert_eq!(usize::try_from(total), Ok(bytes.len()));
        return;
    };
    let pages: u64 = region
        .constituents
        .iter()
        .map(|one| u64::from(one.page_count))
        .sum();
    assert_eq!(
        pages + u64::from(region.expected.pages()),
        u64::from(region.page_count)
    );
    let count = u64::try_from(region.constituents.len()).expect("small");
    let missing = u64::from(region.expected.constituents());
    assert_eq!(count + missing, u64::from(region.constituent_count));
    let length = u64::try_from(bytes.len()).expect("small");
    assert_eq!(length + missing * 16, u64::from(total));
    assert_eq!(region.expected.bytes(), missing * 16);
    assert_eq!(region.expected.is_complete(), missing == 0);
}

/// arm-ffa has the layout of 1.1 only, and checks less.
fn against_arm_ffa(bytes: &[u8], total: u32, ours: &Result<Transaction<'_>, Malformed>) {
    let theirs = MemTransactionDesc::unpack(bytes);
    let whole = usize::try_from(total) == Ok(bytes.len());
    match (ours, theirs) {
        (Ok(ours), Ok((header, receivers, constituents))) => {
            assert_eq!(ours.header.sender.0, header.sender_id);
            assert_eq!(ours.header.flags.0, header.flags.0);
            assert_eq!(ours.header.handle.0, header.handle.0);
            assert_eq!(ours.header.tag, header.tag);
            assert_eq!(
                ours.header.attributes.encode(),
                u16::from(header.mem_region_attr)
            );
            let theirs: Vec<_> = receivers
                .map(|one| one.expect("a receiver that is right"))
                .collect();
            assert_eq!(theirs.len(), ours.receivers.len());
            for (ours, theirs) in ours.receivers.iter().zip(theirs) {
                assert_eq!(ours.endpoint.0, theirs.endpoint_id);
                let permissions = theirs.data_access as u8 | theirs.instr_access as u8;
                assert_eq!(ours.permissions.encode(), permissions);
                assert_eq!(
                    theirs.flags & 1 != 0,
                    ours.retrieval == Retrieval::NonRetrievalBorrower
                );
            }
            let ours: Vec<_> = ours
                .region
                .iter()
                .flat_map(|region| region.constituents.iter())
                .collect();
            let theirs: Vec<_> = constituents
                .into_iter()
                .flatten()
                .map(|one| one.expect("a constituent that is right"))
                .map(|one| Constituent {
                    address: one.address,
                    page_count: one.page_cnt,
                })
                .collect();
            assert_eq!(ours, theirs);
        }
        // It has no fragments, and no retrieve request of a hypervisor.
        (Ok(ours), Err(error)) => {
            assert!(!whole || ours.is_hypervisor_retrieve(), "{error:?}");
        }
        // It checks these itself.
        (Err(ours), Ok(_)) => assert!(
            !matches!(
                ours,
                Malformed::ReceiverSize | Malformed::Value("memory attributes")
            ),
            "{ours:?}"
        ),
        (Err(_), Err(_)) => {}
    }
    let bits = u16::from_le_bytes([
        bytes.first().copied().unwrap_or(0),
        bytes.get(1).copied().unwrap_or(0),
    ]);
    let theirs = arm_ffa::memory_management::MemRegionAttributes::try_from(bits);
    match (Attributes::decode(bits), theirs) {
        (Ok(ours), Ok(theirs)) => assert_eq!(ours.encode(), u16::from(theirs)),
        (Err(_), Err(_)) => {}
        (ours, theirs) => panic!("{bits:#x}: {ours:?} and {theirs:?}"),
    }
}

fn relinquish(input: &mut Input<'_>) {
    let mut bytes = Vec::new();
    if input.byte() & 1 == 0 {
        bytes.extend(input.long().to_le_bytes());
        bytes.extend(u32::from(input.byte() % 8).to_le_bytes());
        bytes.extend(u32::from(input.byte() % 8).to_le_bytes());
    }
    bytes.extend(input.take(64));
    let ours = Relinquish::decode(&bytes);
    match (ours, MemRelinquishDesc::unpack(&bytes)) {
        (Ok(ours), Ok((theirs, endpoints))) => {
            assert_eq!((ours.handle.0, ours.flags), (theirs.handle.0, theirs.flags));
            assert!(ours.endpoints().map(|endpoint| endpoint.0).eq(endpoints));
            assert_ne!(ours.endpoints().len(), 0);
        }
        // It checks no flags and takes no endpoints.
        (Err(_), Ok((theirs, mut endpoints))) => {
            assert!(theirs.flags & !3 != 0 || endpoints.next().is_none());
        }
        (Ok(_), Err(error)) => panic!("arm-ffa refuses: {error:?}"),
        (Err(_), Err(_)) => {}
    }
}

fn endpoint_buffers(input: &mut Input<'_>) {
    let maximum = u32::from(input.byte() % 20);
    let bytes = generate::endpoint_buffers(input);
    let Ok(buffers) = EndpointBuffers::decode(&bytes, maximum) else {
        return;
    };
    let mut pages = std::collections::HashSet::new();
    for ranges in [buffers.rx, buffers.tx] {
        assert!(!ranges.is_empty());
        let total: u64 = ranges.iter().map(|one| u64::from(one.page_count)).sum();
        assert!((1..=u64::from(maximum)).contains(&total));
        for one in ranges.iter() {
            assert_eq!(one.address % 4096, 0);
            for page in 0..u64::from(one.page_count) {
                let address = one.address.checked_add(page * 4096).expect("no wrap");
                assert!(pages.insert(address), "a page twice: {address:#x}");
            }
        }
    }
    assert_eq!(buffers.endpoint.0, u16::from_le_bytes([bytes[0], bytes[1]]));
}

/// Fragments of any bytes: one that is refused takes nothing, and what is taken adds up.
fn fragments(input: &mut Input<'_>) {
    let mut layout = CompositeLayout {
        total_page_count: u32::from(input.byte()).into(),
        constituent_count: u32::from(input.byte() % 32).into(),
        reserved: 0.into(),
    };
    if input.byte() == 0xff {
        layout.total_page_count = input.word().into();
        layout.reserved = input.long().into();
    }
    let Ok(mut expected) = Expected::of(&layout) else {
        let (pages, count) = (
            layout.total_page_count.get(),
            layout.constituent_count.get(),
        );
        assert!(layout.reserved.get() != 0 || count == 0 || pages < count);
        return;
    };
    while !input.is_empty() && !expected.is_complete() {
        let bytes = generate::constituents(input);
        let before = expected;
        match expected.take(&bytes) {
            Ok(taken) => {
                assert_eq!(taken.len() * CONSTITUENT_SIZE, bytes.len());
                let pages: u64 = taken.iter().map(|one| u64::from(one.page_count)).sum();
                assert_eq!(
                    pages + u64::from(expected.pages()),
                    u64::from(before.pages())
                );
                let count = u32::try_from(taken.len()).expect("small");
                assert_eq!(count + expected.constituents(), before.constituents());
                assert!(
                    taken
                        .iter()
                        .all(|one| one.address % 4096 == 0 && one.end().is_some())
                );
            }
            Err(_) => assert_eq!(expected, before, "a refusal took something"),
        }
    }
}
