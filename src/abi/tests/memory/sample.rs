// SPDX-License-Identifier: MIT OR Apache-2.0
//! A descriptor to damage, and random ones.

use bulkhead_abi::memory::attributes::{
    Attributes, Cacheability, DataAccess, InstructionAccess, MemoryType, Shareability,
};
use bulkhead_abi::memory::encode::{Encoded, RegionOf, encode_for};
use bulkhead_abi::memory::transaction::{Transaction, parse};
use bulkhead_abi::memory::version::Retrieval;
use bulkhead_abi::memory::{
    Constituent, Flags, Handle, Header, Kind, Malformed, Permissions, Receiver,
};
use bulkhead_abi::{EndpointId, Version, World};
use proptest::prelude::*;

pub const VERSIONS: [Version; 4] = [Version::V1_0, Version::V1_1, Version::V1_2, Version::V1_3];
pub const MAXIMUM_RECEIVERS: u32 = 4;

/// Where the parts of [`good`] are.
pub struct Places {
    pub receivers: usize,
    pub receiver_size: usize,
    pub composite: usize,
    pub constituents: usize,
}

pub fn places(version: Version) -> Places {
    let (receivers, receiver_size) = match version {
        Version::V1_0 => (32, 16),
        Version::V1_1 => (48, 16),
        _ => (48, 32),
    };
    let composite = receivers + 2 * receiver_size;
    Places {
        receivers,
        receiver_size,
        composite,
        constituents: composite + 16,
    }
}

pub fn header(kind: Kind) -> Header {
    let (flags, handle) = match kind {
        Kind::Send => (Flags::CLEAR, Handle::NONE),
        _ => (Flags::CLEAR | 0x10, Handle(0x1234_5678_9abc)),
    };
    Header {
        sender: EndpointId(0x8001),
        attributes: Attributes {
            memory_type: MemoryType::Normal(Cacheability::WriteBack, Shareability::Inner),
            world: World::Secure,
        },
        flags: Flags(flags),
        handle,
        tag: 0x5432_10fe_dcba_9876,
    }
}

pub fn receiver(endpoint: u16) -> Receiver {
    Receiver {
        endpoint: EndpointId(endpoint),
        permissions: Permissions {
            data: DataAccess::ReadWrite,
            instruction: InstructionAccess::NotSpecified,
        },
        retrieval: Retrieval::Borrower,
        implementation_defined: [0; 16],
    }
}

pub const CONSTITUENTS: [Constituent; 3] = [
    Constituent {
        address: 0x4000_0000,
        page_count: 1,
    },
    Constituent {
        address: 0x4800_0000,
        page_count: 7,
    },
    Constituent {
        address: 0x8_0000_1000,
        page_count: 2,
    },
];

pub fn region(constituents: &[Constituent]) -> RegionOf<impl Iterator<Item = Constituent>> {
    RegionOf {
        constituent_count: constituents.len() as u32,
        page_count: constituents.iter().map(|one| one.page_count).sum(),
        constituents: constituents.iter().copied(),
    }
}

/// The bytes of a whole descriptor.
pub fn bytes(
    version: Version,
    header: &Header,
    receivers: &[Receiver],
    constituents: Option<&[Constituent]>,
) -> Vec<u8> {
    let mut out = vec![0xee; 64 + 32 * receivers.len() + 16 * constituents.map_or(0, <[_]>::len)];
    let receivers = receivers.iter().copied();
    let encoded = encode_for(
        version,
        header,
        receivers,
        constituents.map(region),
        &mut out,
    );
    let Encoded {
        total_length,
        fragment_length,
        ..
    } = encoded.expect("it fits");
    assert_eq!(total_length, fragment_length);
    out.truncate(total_length as usize);
    out
}

/// Two receivers and three constituents.
pub fn good(version: Version, kind: Kind) -> Vec<u8> {
    let receivers = [receiver(0x8002), receiver(0x8003)];
    let constituents = match kind {
        Kind::RetrieveRequest => None,
        _ => Some(&CONSTITUENTS[..]),
    };
    bytes(version, &header(kind), &receivers, constituents)
}

/// The good send descriptor.
pub fn send(version: Version) -> Vec<u8> {
    good(version, Kind::Send)
}

/// Every kind of descriptor.
pub const KINDS: [Kind; 3] = [Kind::Send, Kind::RetrieveRequest, Kind::RetrieveResponse];

/// Parses bytes that are a whole descriptor.
pub fn whole(version: Version, bytes: &[u8], kind: Kind) -> Result<Transaction<'_>, Malformed> {
    parse(version, bytes, bytes.len() as u32, kind, MAXIMUM_RECEIVERS)
}

/// What a transaction says, encoded again.
pub fn again(version: Version, transaction: &Transaction<'_>) -> Vec<u8> {
    let receivers: Vec<_> = transaction.receivers.iter().collect();
    let constituents: Option<Vec<_>> = transaction
        .region
        .map(|region| region.constituents.iter().collect());
    bytes(
        version,
        &transaction.header,
        &receivers,
        constituents.as_deref(),
    )
}

pub fn put(bytes: &mut [u8], offset: usize, value: u32) {
    bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
}

prop_compose! {
    pub fn any_receiver()(
        endpoint in any::<u16>(),
        data in 0_u8..3,
        instruction in 0_u8..3,
        implementation_defined in any::<[u8; 16]>(),
    ) -> Receiver {
        Receiver {
            endpoint: EndpointId(endpoint),
            permissions: Permissions::decode(data | instruction << 2).expect("it is defined"),
            retrieval: Retrieval::Borrower,
            implementation_defined,
        }
    }
}

prop_compose! {
    pub fn any_constituent()(page in 0_u64..1 << 40, page_count in 1_u32..1 << 20) -> Constituent {
        Constituent { address: page << 12, page_count }
    }
}

prop_compose! {
    pub fn any_header(kind: Kind)(
        sender in any::<u16>(),
        attributes in prop::sample::select(vec![0_u16, 0x10, 0x14, 0x18, 0x1c, 0x24, 0x2f, 0x2c]),
        flags in any::<u32>(),
        handle in any::<u64>(),
        tag in any::<u64>(),
    ) -> Header {
        Header {
            sender: EndpointId(sender),
            attributes: Attributes::decode(attributes).expect("it is defined"),
            flags: Flags(flags & Flags::defined(kind)),
            handle: if kind == Kind::Send { Handle::NONE } else { Handle(handle) },
            tag,
        }
    }
}
