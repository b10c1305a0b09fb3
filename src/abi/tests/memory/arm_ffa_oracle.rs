// SPDX-License-Identifier: MIT OR Apache-2.0
//! `arm-ffa` 0.5.0 as a second opinion on 1.1 descriptors, the only layout that it has. It wants the
//! bytes packed, at no particular alignment.

use arm_ffa::memory_management::{
    Cacheability, ConstituentMemRegion, DataAccessPerm, DeviceMemAttributes, Handle,
    InstuctionAccessPerm, MemAccessPerm, MemRegionAttributes, MemRegionSecurity, MemRelinquishDesc,
    MemTransactionDesc, MemTransactionFlags, MemType, Shareability,
};
use bulkhead_abi::Version;
use bulkhead_abi::memory::attributes::Kind;
use bulkhead_abi::memory::relinquish::Relinquish;
use bulkhead_abi::memory::{Constituent, Header, Receiver, Transaction};
use proptest::prelude::*;

use crate::sample::*;

const MEMORY_TYPES: [MemType; 5] = [
    MemType::NotSpecified,
    MemType::Device(DeviceMemAttributes::DevnGnRnE),
    MemType::Device(DeviceMemAttributes::DevnGRE),
    MemType::Normal {
        cacheability: Cacheability::WriteBack,
        shareability: Shareability::Inner,
    },
    MemType::Normal {
        cacheability: Cacheability::NonCacheable,
        shareability: Shareability::Outer,
    },
];

/// What both sides of a comparison are turned into.
#[derive(Clone, PartialEq, Debug)]
struct Plain {
    header: (u16, u16, u32, u64, u64),
    receivers: Vec<(u16, u8, u8)>,
    constituents: Option<Vec<(u64, u32)>>,
}

fn ours(transaction: &Transaction<'_>) -> Plain {
    let Header {
        sender,
        attributes,
        flags,
        handle,
        tag,
    } = transaction.header;
    let receiver = |one: Receiver| {
        let layout = one.layout16(0);
        (one.endpoint.0, layout.permissions, layout.flags)
    };
    let constituent = |one: Constituent| (one.address, one.page_count);
    Plain {
        header: (sender.0, attributes.encode(), flags.0, handle.0, tag),
        receivers: transaction.receivers.iter().map(receiver).collect(),
        constituents: transaction
            .region
            .map(|region| region.constituents.iter().map(constituent).collect()),
    }
}

fn theirs(bytes: &[u8]) -> Option<Plain> {
    let (desc, receivers, constituents) = MemTransactionDesc::unpack(bytes).ok()?;
    let mut plain = Plain {
        header: (
            desc.sender_id,
            desc.mem_region_attr.into(),
            desc.flags.0,
            desc.handle.0,
            desc.tag,
        ),
        receivers: Vec::new(),
        constituents: None,
    };
    for receiver in receivers {
        let receiver = receiver.ok()?;
        let permissions = receiver.data_access as u8 | receiver.instr_access as u8;
        plain
            .receivers
            .push((receiver.endpoint_id, permissions, receiver.flags));
    }
    if let Some(constituents) = constituents {
        let list = constituents.map(|one| one.map(|one| (one.address, one.page_cnt)).ok());
        plain.constituents = Some(list.collect::<Option<_>>()?);
    }
    Some(plain)
}

proptest! {
    #[test]
    fn a40_what_arm_ffa_packs_we_parse(
        sender_id in any::<u16>(),
        memory_type in 0_usize..5,
        flags in 0_u32..4,
        tag in any::<u64>(),
        receivers in prop::collection::vec((any::<u16>(), 0_usize..9), 1..=4),
        constituents in prop::collection::vec(any_constituent(), 1..10),
    ) {
        const DATA: [DataAccessPerm; 3] = [
            DataAccessPerm::NotSpecified,
            DataAccessPerm::ReadOnly,
            DataAccessPerm::ReadWrite,
        ];
        const INSTRUCTION: [InstuctionAccessPerm; 3] = [
            InstuctionAccessPerm::NotSpecified,
            InstuctionAccessPerm::NotExecutable,
            InstuctionAccessPerm::Executable,
        ];
        let desc = MemTransactionDesc {
            sender_id,
            mem_region_attr: MemRegionAttributes {
                security: MemRegionSecurity::Secure,
                mem_type: MEMORY_TYPES[memory_type],
            },
            flags: MemTransactionFlags(flags),
            handle: Handle(0),
            tag,
        };
        let ranges: Vec<_> = constituents
            .iter()
            .map(|one| ConstituentMemRegion { address: one.address, page_cnt: one.page_count })
            .collect();
        let access: Vec<_> = receivers
            .iter()
            .map(|&(endpoint_id, permissions)| MemAccessPerm {
                endpoint_id,
                instr_access: INSTRUCTION[permissions / 3],
                data_access: DATA[permissions % 3],
                flags: 0,
            })
            .collect();
        let mut bytes = [0; 1024];
        let length = desc.pack(&ranges, &access, &mut bytes);
        let bytes = &bytes[..length];
        let found = whole(Version::V1_1, bytes, Kind::Send).unwrap();
        prop_assert_eq!(Some(ours(&found)), theirs(bytes));
        prop_assert_eq!(again(Version::V1_1, &found), bytes);
    }

    /// Ours is the stricter: it also refuses receivers in the header, reserved fields and flags,
    /// addresses that are unaligned or wrap, constituents without pages, lengths that do not match,
    /// composite descriptors that are misplaced or differ between receivers, and a handle on send.
    #[test]
    fn s17_what_we_accept_arm_ffa_reads_alike(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        kind in 0_usize..3,
    ) {
        let kind = [Kind::Send, Kind::RetrieveRequest, Kind::RetrieveResponse][kind];
        let mut bytes = good(Version::V1_1, kind);
        for (place, value) in damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let Ok(found) = whole(Version::V1_1, &bytes, kind) {
            // arm-ffa refuses a hypervisor's retrieve request, which has no receivers.
            if !found.is_hypervisor_retrieve() {
                prop_assert_eq!(Some(ours(&found)), theirs(&bytes));
            }
        }
    }

    #[test]
    fn a50_relinquish_descriptors_are_read_alike(
        bytes in prop::collection::vec(any::<u8>(), 0..40),
        count in 0_u32..12,
        flags in 0_u32..4,
    ) {
        let mut bytes = bytes;
        if bytes.len() >= 16 {
            put(&mut bytes, 8, flags);
            put(&mut bytes, 12, count);
        }
        let theirs = MemRelinquishDesc::unpack(&bytes).ok();
        match Relinquish::decode(&bytes) {
            Ok(found) => {
                let (desc, endpoints) = theirs.unwrap();
                prop_assert_eq!(found.handle.0, desc.handle.0);
                prop_assert_eq!(found.flags, desc.flags);
                prop_assert!(found.endpoints().map(|id| id.0).eq(endpoints));
            }
            // arm-ffa accepts no endpoints.
            Err(_) => prop_assert!(theirs.is_none() || count == 0),
        }
    }
}
