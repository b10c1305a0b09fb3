// SPDX-License-Identifier: MIT OR Apache-2.0
//! Partition information descriptors: FFA_PARTITION_INFO_GET and _REGS.
//!
//! The caller's version chooses the descriptor (D7) and, with the described partition's version,
//! the property bits (D9). The 48-byte layout is that of an FF-A compliance suite's `val_ffa.h`,
//! in agreement with A-12 and Hafnium's 48 bytes; unverified against the specification.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::{EndpointId, FfaError, Registers, Uuid, Version, World};

/// The descriptor of FF-A 1.0: 8 bytes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Descriptor8 {
    /// Offset 0, length 2: partition id.
    pub id: U16,
    /// Offset 2, length 2: count of execution contexts.
    pub contexts: U16,
    /// Offset 4, length 4: [`Properties`].
    pub properties: U32,
}

/// The descriptor of FF-A 1.1 and 1.2: 24 bytes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Descriptor24 {
    /// Offset 0, length 8: the descriptor of FF-A 1.0.
    pub base: Descriptor8,
    /// Offset 8, length 16: protocol UUID; zero when the query had one (D6).
    pub uuid: Uuid,
}

/// The descriptor of FF-A 1.3: 48 bytes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Descriptor48 {
    /// Offset 0, length 24: the descriptor of FF-A 1.1.
    pub base: Descriptor24,
    /// Offset 24, length 16: UUID of the partition's image.
    pub image_uuid: Uuid,
    /// Offset 40, length 4: the partition's FF-A version.
    pub version: U32,
    /// Offset 44, length 4: must be zero.
    pub reserved: U32,
}

/// The largest descriptor, in bytes.
pub const MAXIMUM_SIZE: usize = size_of::<Descriptor48>();

/// The size of the descriptors that a caller of this version is given: also w3 of
/// FFA_PARTITION_INFO_GET's reply from 1.1, and the stride of FFA_PARTITION_INFO_GET_REGS.
///
/// Linux up to 7.0 speaks 1.2 and has a fixed stride of 24 (COMPATIBILITY).
pub const fn descriptor_size(version: Version) -> usize {
    match (version.major, version.minor) {
        (0, _) | (1, 0) => size_of::<Descriptor8>(),
        (1, 1 | 2) => size_of::<Descriptor24>(),
        _ => size_of::<Descriptor48>(),
    }
}

/// Partition properties.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Properties(pub u32);

impl Properties {
    /// None.
    pub const NONE: Self = Self(0);
    /// Bit 0: receives FFA_MSG_SEND_DIRECT_REQ.
    pub const DIRECT_REQ_RECEIVE: Self = Self(1 << 0);
    /// Bit 1: sends FFA_MSG_SEND_DIRECT_REQ. Not shown to the normal world.
    pub const DIRECT_REQ_SEND: Self = Self(1 << 1);
    /// Bit 2: sends and receives indirect messages.
    pub const INDIRECT: Self = Self(1 << 2);
    /// Bit 3, from 1.1: receives notifications.
    pub const NOTIFICATIONS: Self = Self(1 << 3);
    /// Bits 5:4, from 1.1: what the id is; 0 for an endpoint with execution contexts.
    pub const ID_TYPE: Self = Self(3 << 4);
    /// Bit 6, from 1.1: subscribed to VM creation. Shown to the normal world only, and only with
    /// bit 0.
    pub const VM_CREATED: Self = Self(1 << 6);
    /// Bit 7, from 1.1: subscribed to VM destruction. As bit 6.
    pub const VM_DESTROYED: Self = Self(1 << 7);
    /// Bit 8, from 1.1: runs in AArch64.
    pub const AARCH64: Self = Self(1 << 8);
    /// Bit 9, from 1.2: receives FFA_MSG_SEND_DIRECT_REQ2.
    pub const DIRECT_REQ2_RECEIVE: Self = Self(1 << 9);
    /// Bit 10, from 1.2: sends FFA_MSG_SEND_DIRECT_REQ2. Not shown to the normal world.
    pub const DIRECT_REQ2_SEND: Self = Self(1 << 10);
    /// Bit 11, from 1.3: supports live activation.
    pub const LIVE_ACTIVATION: Self = Self(1 << 11);
    /// Bit 12, from 1.3: live activation needs all cores to meet.
    pub const CPU_RENDEZVOUS: Self = Self(1 << 12);

    /// How a service is reached and what it sends, as its manifest's messaging method says it:
    /// all other bits are the partition's.
    pub const MESSAGING: Self = Self::DIRECT_REQ_RECEIVE
        .union(Self::DIRECT_REQ_SEND)
        .union(Self::INDIRECT)
        .union(Self::DIRECT_REQ2_RECEIVE)
        .union(Self::DIRECT_REQ2_SEND);

    /// Both sets together.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What both sets have.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether every bit of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// This set without `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The bits that a version defines. Of 1.0: bits 2:0 (Hafnium's `inc/hf/ffa_v1_0.h`).
    pub const fn defined_by(version: Version) -> Self {
        match (version.major, version.minor) {
            (0, _) | (1, 0) => Self(0x0007),
            (1, 1) => Self(0x01ff),
            (1, 2) => Self(0x07ff),
            _ => Self(0x1fff),
        }
    }

    /// The bits of a partition of version `owner` that a caller may see (A-11, D9).
    pub const fn shown(self, owner: Version, caller: Version, world: World) -> Self {
        let known = Self::defined_by(caller).0 & Self::defined_by(owner).0;
        let mut shown = Self(self.0 & known);
        if shown.0 & Self::ID_TYPE.0 != 0 {
            shown = Self(shown.0 & (Self::ID_TYPE.0 | Self::AARCH64.0));
        }
        let subscriptions = Self::VM_CREATED.union(Self::VM_DESTROYED);
        match world {
            World::Normal => {
                shown = shown.without(Self::DIRECT_REQ_SEND.union(Self::DIRECT_REQ2_SEND));
                if !shown.contains(Self::DIRECT_REQ_RECEIVE) {
                    shown = shown.without(subscriptions);
                }
                shown
            }
            World::Secure => shown.without(subscriptions),
        }
    }
}

/// One partition under one of its protocol UUIDs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PartitionInfo {
    /// Its id.
    pub id: EndpointId,
    /// How many execution contexts it has.
    pub contexts: u16,
    /// All its properties, before masking.
    pub properties: Properties,
    /// The protocol UUID; [`Uuid::NIL`] when the query had one (D6).
    pub uuid: Uuid,
    /// The UUID of its image.
    pub image_uuid: Uuid,
    /// Its FF-A version.
    pub version: Version,
}

/// Writes the descriptor that a caller of `version` in `world` is given to the start of `out`.
/// Returns its size, or `None`, with `out` untouched, when it does not fit.
pub fn encode(
    version: Version,
    world: World,
    info: &PartitionInfo,
    out: &mut [u8],
) -> Option<usize> {
    let descriptor = Descriptor48 {
        base: Descriptor24 {
            base: Descriptor8 {
                id: U16::new(info.id.0),
                contexts: U16::new(info.contexts),
                properties: U32::new(info.properties.shown(info.version, version, world).0),
            },
            uuid: info.uuid,
        },
        image_uuid: info.image_uuid,
        version: U32::new(info.version.to_word()),
        reserved: U32::ZERO,
    };
    let size = descriptor_size(version);
    out.get_mut(..size)?
        .copy_from_slice(descriptor.as_bytes().get(..size)?);
    Some(size)
}

/// Reads the descriptor at the start of `bytes`, of the layout of `version`. What the layout does
/// not have is nil, and the version then 1.0. For tests and for partitions.
pub fn decode(version: Version, bytes: &[u8]) -> Option<PartitionInfo> {
    let mut descriptor = Descriptor48::new_zeroed();
    descriptor.version = U32::new(Version::V1_0.to_word());
    let size = descriptor_size(version);
    descriptor
        .as_mut_bytes()
        .get_mut(..size)?
        .copy_from_slice(bytes.get(..size)?);
    let Descriptor24 { base, uuid } = descriptor.base;
    Some(PartitionInfo {
        id: EndpointId(base.id.get()),
        contexts: base.contexts.get(),
        properties: Properties(base.properties.get()),
        uuid,
        image_uuid: descriptor.image_uuid,
        version: Version::from_word(descriptor.version.get())?,
    })
}

/// What FFA_PARTITION_INFO_GET asks for: w5.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Wanted {
    /// Bit 0 clear: descriptors in the RX buffer.
    Descriptors,
    /// Bit 0 set: the count only, which needs no RX buffer (D5).
    Count,
}

impl Wanted {
    /// Decodes w5.
    ///
    /// # Errors
    /// INVALID_PARAMETERS when a reserved bit is set (D2).
    pub const fn decode(w5: u32) -> Result<Self, FfaError> {
        match w5 {
            0 => Ok(Self::Descriptors),
            1 => Ok(Self::Count),
            _ => Err(FfaError::InvalidParameters),
        }
    }
}

/// x3 of FFA_PARTITION_INFO_GET_REGS.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RegsRequest {
    /// Bits 15:0: the first descriptor wanted.
    pub start: u16,
    /// Bits 31:16: the tag of the reply that `start` continues.
    pub tag: u16,
}

impl RegsRequest {
    /// Decodes x3.
    pub const fn decode(x3: u64) -> Self {
        let [b0, b1, b2, b3, ..] = x3.to_le_bytes();
        Self {
            start: u16::from_le_bytes([b0, b1]),
            tag: u16::from_le_bytes([b2, b3]),
        }
    }
}

/// x2 of FFA_PARTITION_INFO_GET_REGS's reply (A-10; TF-A `el3_spmd_logical_sp.h`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RegsReply {
    /// Bits 15:0: the index of the last descriptor that exists.
    pub last: u16,
    /// Bits 31:16: the index of the last descriptor in this reply.
    pub current: u16,
    /// Bits 47:32: the tag.
    pub tag: u16,
    /// Bits 63:48: the size of a descriptor.
    pub size: u16,
}

impl RegsReply {
    /// x2.
    pub const fn encode(self) -> u64 {
        let [l0, l1] = self.last.to_le_bytes();
        let [c0, c1] = self.current.to_le_bytes();
        let [t0, t1] = self.tag.to_le_bytes();
        let [s0, s1] = self.size.to_le_bytes();
        u64::from_le_bytes([l0, l1, c0, c1, t0, t1, s0, s1])
    }

    /// Decodes x2.
    pub const fn decode(x2: u64) -> Self {
        let [l0, l1, c0, c1, t0, t1, s0, s1] = x2.to_le_bytes();
        Self {
            last: u16::from_le_bytes([l0, l1]),
            current: u16::from_le_bytes([c0, c1]),
            tag: u16::from_le_bytes([t0, t1]),
            size: u16::from_le_bytes([s0, s1]),
        }
    }
}

/// The bytes of descriptors that x3–x17 hold.
pub const REGS_BYTES: usize = 15 * 8;

/// How many descriptors one reply of FFA_PARTITION_INFO_GET_REGS holds: five up to 1.2, two of 1.3.
pub const fn descriptors_per_call(version: Version) -> usize {
    match REGS_BYTES.checked_div(descriptor_size(version)) {
        Some(count) => count,
        None => 0,
    }
}

/// Writes descriptor bytes to x3–x17, eight a register, the first in bits 7:0, and zero behind
/// them. Bytes past x17 are ignored.
pub fn write_registers(registers: &mut Registers, descriptors: &[u8]) {
    let mut chunks = descriptors.chunks(8);
    for register in registers.x.iter_mut().take(18).skip(3) {
        let mut bytes = [0; 8];
        for (to, from) in bytes.iter_mut().zip(chunks.next().unwrap_or_default()) {
            *to = *from;
        }
        *register = u64::from_le_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VERSIONS: [Version; 4] = [Version::V1_0, Version::V1_1, Version::V1_2, Version::V1_3];

    fn info() -> PartitionInfo {
        PartitionInfo {
            id: EndpointId(0x8003),
            contexts: 4,
            properties: Properties(0x1fcf),
            uuid: Uuid::parse("486178e0-e7f8-11e3-bc5e-0002a5d5c51b").unwrap(),
            image_uuid: Uuid::parse("00112233-4455-6677-8899-aabbccddeeff").unwrap(),
            version: Version::V1_3,
        }
    }

    fn bytes(version: Version, world: World) -> Vec<u8> {
        let mut out = [0xee; MAXIMUM_SIZE];
        let size = encode(version, world, &info(), &mut out).unwrap();
        assert_eq!(size, descriptor_size(version));
        assert!(out[size..].iter().all(|&byte| byte == 0xee));
        out[..size].to_vec()
    }

    #[test]
    fn d7_each_version_gets_its_own_layout() {
        let uuid = [
            0x48, 0x61, 0x78, 0xe0, 0xe7, 0xf8, 0x11, 0xe3, 0xbc, 0x5e, 0x00, 0x02, 0xa5, 0xd5,
            0xc5, 0x1b,
        ];
        let image = [
            0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd,
            0xee, 0xff,
        ];
        assert_eq!(
            bytes(Version::V1_0, World::Secure),
            [3, 0x80, 4, 0, 7, 0, 0, 0]
        );

        let mut expected = vec![3, 0x80, 4, 0, 0x0f, 0x01, 0, 0];
        expected.extend(uuid);
        assert_eq!(bytes(Version::V1_1, World::Secure), expected);

        expected[5] = 0x07;
        assert_eq!(bytes(Version::V1_2, World::Secure), expected);

        expected[5] = 0x1f;
        expected.extend(image);
        expected.extend([3, 0, 1, 0, 0, 0, 0, 0]);
        assert_eq!(bytes(Version::V1_3, World::Secure), expected);
    }

    #[test]
    fn a11_the_normal_world_sees_subscriptions_and_no_senders() {
        let all = Properties(u32::MAX).without(Properties::ID_TYPE);
        for (version, normal, secure) in [
            (Version::V1_0, 0x0005, 0x0007),
            (Version::V1_1, 0x01cd, 0x010f),
            (Version::V1_2, 0x03cd, 0x070f),
            (Version::V1_3, 0x1bcd, 0x1f0f),
        ] {
            assert_eq!(all.shown(Version::V1_3, version, World::Normal).0, normal);
            assert_eq!(all.shown(Version::V1_3, version, World::Secure).0, secure);
        }
    }

    #[test]
    fn a11_subscriptions_need_direct_requests() {
        let subscribed = Properties::VM_CREATED.union(Properties::VM_DESTROYED);
        let shown = subscribed.shown(Version::V1_1, Version::V1_1, World::Normal);
        assert_eq!(shown, Properties::NONE);
        let with = subscribed.union(Properties::DIRECT_REQ_RECEIVE);
        assert_eq!(
            with.shown(Version::V1_1, Version::V1_1, World::Normal),
            with
        );
    }

    #[test]
    fn a11_only_endpoints_have_messaging_bits() {
        let peripheral = Properties(0x1fff);
        let shown = peripheral.shown(Version::V1_3, Version::V1_3, World::Secure);
        assert_eq!(shown, Properties::ID_TYPE.union(Properties::AARCH64));
    }

    #[test]
    fn d9_no_bit_newer_than_the_described_partition_is_shown() {
        for owner in VERSIONS {
            for caller in VERSIONS {
                for world in [World::Normal, World::Secure] {
                    let shown = info().properties.shown(owner, caller, world);
                    assert_eq!(shown.without(Properties::defined_by(owner)).0, 0);
                    assert_eq!(shown.without(Properties::defined_by(caller)).0, 0);
                }
            }
        }
    }

    #[test]
    fn d4_what_does_not_fit_is_not_written() {
        for version in VERSIONS {
            let mut out = vec![0xee; descriptor_size(version) - 1];
            assert_eq!(encode(version, World::Normal, &info(), &mut out), None);
            assert!(out.iter().all(|&byte| byte == 0xee));
            assert_eq!(decode(version, &out), None);
        }
    }

    #[test]
    fn d2_reserved_flags_are_invalid() {
        assert_eq!(Wanted::decode(0), Ok(Wanted::Descriptors));
        assert_eq!(Wanted::decode(1), Ok(Wanted::Count));
        for w5 in [2, 3, 0x8000_0000, 0x8000_0001] {
            assert_eq!(Wanted::decode(w5), Err(FfaError::InvalidParameters));
        }
    }

    #[test]
    fn a10_regs_words_are_packed_as_the_spmd_reads_them() {
        let reply = RegsReply {
            last: 6,
            current: 4,
            tag: 0x1234,
            size: 24,
        };
        assert_eq!(reply.encode(), 0x0018_1234_0004_0006);
        assert_eq!(RegsReply::decode(reply.encode()), reply);
        let request = RegsRequest::decode(0xffff_ffff_1234_0005);
        assert_eq!(
            request,
            RegsRequest {
                start: 5,
                tag: 0x1234
            }
        );
    }

    #[test]
    fn a10_a_1_2_caller_reads_five_descriptors_at_a_stride_of_three_registers() {
        assert_eq!(descriptors_per_call(Version::V1_2), 5);
        assert_eq!(descriptors_per_call(Version::V1_3), 2);
        let mut registers = Registers { x: [u64::MAX; 31] };
        let mut buffer = Vec::new();
        for id in 0x8001..0x8004 {
            let mut one = [0; 24];
            let info = PartitionInfo {
                id: EndpointId(id),
                ..info()
            };
            encode(Version::V1_2, World::Normal, &info, &mut one).unwrap();
            buffer.extend(one);
        }
        write_registers(&mut registers, &buffer);
        for (index, id) in (0x8001..0x8004).enumerate() {
            assert_eq!(registers.x[3 + index * 3] & 0xffff, id);
            assert_eq!(registers.x[4 + index * 3], 0xe311_f8e7_e078_6148);
        }
        assert_eq!(registers.x[12..18], [0; 6]);
        assert_eq!(registers.x[..3], [u64::MAX; 3]);
        assert_eq!(registers.x[18..], [u64::MAX; 13]);
    }

    #[test]
    fn a10_a_partial_register_is_padded_with_zero() {
        let mut registers = Registers { x: [u64::MAX; 31] };
        write_registers(&mut registers, &[1; 11]);
        assert_eq!(registers.x[3..6], [0x0101_0101_0101_0101, 0x01_0101, 0]);
        write_registers(&mut registers, &[2; 200]);
        assert_eq!(registers.x[17], 0x0202_0202_0202_0202);
        assert_eq!(registers.x[18], u64::MAX);
    }

    proptest! {
        #[test]
        fn a09_descriptors_come_back_masked(
            id in any::<u16>(),
            contexts in any::<u16>(),
            properties in any::<u32>(),
            uuid in any::<[u8; 16]>(),
            image_uuid in any::<[u8; 16]>(),
            owner in 0_usize..4,
            caller in 0_usize..4,
        ) {
            let (owner, caller) = (VERSIONS[owner], VERSIONS[caller]);
            let info = PartitionInfo {
                id: EndpointId(id),
                contexts,
                properties: Properties(properties),
                uuid: Uuid(uuid),
                image_uuid: Uuid(image_uuid),
                version: owner,
            };
            for world in [World::Normal, World::Secure] {
                let mut out = [0; MAXIMUM_SIZE];
                let size = encode(caller, world, &info, &mut out).unwrap();
                let found = decode(caller, &out[..size]).unwrap();
                prop_assert_eq!(found.id, info.id);
                prop_assert_eq!(found.contexts, info.contexts);
                prop_assert_eq!(found.properties, info.properties.shown(owner, caller, world));
                if size >= 24 {
                    prop_assert_eq!(found.uuid, info.uuid);
                }
                if size >= 48 {
                    prop_assert_eq!(found.image_uuid, info.image_uuid);
                    prop_assert_eq!(found.version, info.version);
                }
            }
        }
    }
}
