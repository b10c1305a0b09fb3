// SPDX-License-Identifier: MIT OR Apache-2.0
//! FFA_NS_RES_INFO_GET: what of the normal world's memory partitions can reach.
//!
//! Reserved bits of registers are refused by [`reserved::check`](crate::reserved::check). Field
//! order and widths of the descriptor: unverified against an implementation.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::{EndpointId, Registers};

/// Whose access is asked about: bit 0 of x2, and bits 15:0 of x1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Target {
    /// Bit 0 clear: every partition's.
    All,
    /// Bit 0 set: this one's.
    Endpoint(EndpointId),
}

/// Bit 4 of x2.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Progress {
    /// 0: from the start; ends a retrieval that is under way.
    Start,
    /// 1: from where the last answer ended.
    Continue,
}

/// A request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Request {
    /// Whose access.
    pub target: Target,
    /// Whether it starts.
    pub progress: Progress,
}

impl Request {
    const TARGET_VALID: u64 = 1 << 0;
    const CONTINUE: u64 = 1 << 4;

    /// Reads the registers.
    pub fn decode(registers: &Registers) -> Self {
        let flags = registers.x::<2>();
        Self {
            target: if flags & Self::TARGET_VALID == 0 {
                Target::All
            } else {
                Target::Endpoint(registers.receiver())
            },
            progress: if flags & Self::CONTINUE == 0 {
                Progress::Start
            } else {
                Progress::Continue
            },
        }
    }
}

/// x2 of the answer: `written` bytes in the RX buffer in bits 63:32, `remaining` ones in bits 31:0.
pub fn lengths(written: u32, remaining: u32) -> u64 {
    (u64::from(written) << 32) | u64::from(remaining)
}

/// The header of what the RX buffer is given, in one piece or several.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct HeaderLayout {
    /// Offset 0, length 4: size of an address map descriptor, 16.
    pub descriptor_size: U32,
    /// Offset 4, length 4: count of them.
    pub descriptor_count: U32,
    /// Offset 8, length 4: offset of the first one, a multiple of 16.
    pub descriptors_offset: U32,
    /// Offset 12, length 4: must be zero.
    pub reserved: U32,
}

impl HeaderLayout {
    /// The header of this many descriptors that follow it directly.
    pub fn new(count: u32) -> Self {
        Self {
            descriptor_size: U32::new(16),
            descriptor_count: U32::new(count),
            descriptors_offset: U32::new(16),
            reserved: U32::ZERO,
        }
    }
}

/// An address map descriptor.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct DescriptorLayout {
    /// Offset 0, length 8: physical address of the first byte, on a page boundary.
    pub address: U64,
    /// Offset 8, length 4: count of 4 KiB pages.
    pub page_count: U32,
    /// Offset 12, length 1: [`Rights`], privileged in bits 7:4, unprivileged in bits 3:0.
    pub permissions: u8,
    /// Offset 13, length 2: whose access; of an indirect one the SPMC.
    pub endpoint: U16,
    /// Offset 15, length 1: bit 0 set for an indirect access, the rest zero.
    pub flags: u8,
}

/// Rights of one privilege level.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rights(u8);

impl Rights {
    /// None.
    pub const NONE: Self = Self(0);
    /// Bit 0.
    pub const READ: Self = Self(1);
    /// Bit 1.
    pub const WRITE: Self = Self(2);
    /// Bit 2.
    pub const EXECUTE: Self = Self(4);

    /// Both sets together.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// How a region is reached.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    /// By the partition itself.
    Direct,
    /// By the SPMC on a partition's behalf, such as a VM's RX buffer.
    Indirect,
}

/// A region that a component can reach.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AddressMap {
    /// Physical address of the first byte, on a page boundary.
    pub address: u64,
    /// Count of 4 KiB pages.
    pub page_count: u32,
    /// What S-EL1 may do.
    pub privileged: Rights,
    /// What S-EL0 may do.
    pub unprivileged: Rights,
    /// Whose access; of an indirect one the SPMC.
    pub endpoint: EndpointId,
    /// How.
    pub access: Access,
}

/// The bytes of a descriptor, and of the header.
pub const UNIT: usize = size_of::<DescriptorLayout>();

impl HeaderLayout {
    /// The header of this many descriptors as it stands in the RX buffer.
    pub fn bytes(count: u32) -> [u8; UNIT] {
        zerocopy::transmute!(Self::new(count))
    }
}

impl AddressMap {
    /// As it stands in the RX buffer.
    pub fn bytes(&self) -> [u8; UNIT] {
        zerocopy::transmute!(self.layout())
    }

    /// As it stands in the RX buffer.
    pub fn layout(&self) -> DescriptorLayout {
        DescriptorLayout {
            address: U64::new(self.address),
            page_count: U32::new(self.page_count),
            permissions: (self.privileged.0 << 4) | self.unprivileged.0,
            endpoint: U16::new(self.endpoint.0),
            flags: match self.access {
                Access::Direct => 0,
                Access::Indirect => 1,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a13_requests_name_a_target_or_all() {
        let mut call = Registers::ZERO;
        call.x[1] = 0x8001;
        for (flags, target, progress) in [
            (0, Target::All, Progress::Start),
            (1, Target::Endpoint(EndpointId(0x8001)), Progress::Start),
            (0x10, Target::All, Progress::Continue),
            (
                0x11,
                Target::Endpoint(EndpointId(0x8001)),
                Progress::Continue,
            ),
        ] {
            call.x[2] = flags;
            assert_eq!(Request::decode(&call), Request { target, progress });
        }
    }

    #[test]
    fn a13_the_bytes_of_header_and_descriptor() {
        let header = [16, 0, 0, 0, 3, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(HeaderLayout::new(3).as_bytes(), header);
        let map = AddressMap {
            address: 0x4_5678_9000,
            page_count: 0x0102,
            privileged: Rights::READ.union(Rights::WRITE),
            unprivileged: Rights::READ,
            endpoint: EndpointId(0x8001),
            access: Access::Indirect,
        };
        let bytes = [
            0, 0x90, 0x78, 0x56, 4, 0, 0, 0, 2, 1, 0, 0, 0x31, 1, 0x80, 1,
        ];
        assert_eq!(map.layout().as_bytes(), bytes);
        assert_eq!(lengths(32, 16), 0x20_0000_0010);
    }
}
