// SPDX-License-Identifier: MIT OR Apache-2.0
//! The layouts of transaction descriptors and of their receivers, by version.
//!
//! | | 1.0 | 1.1 | 1.2, 1.3 |
//! |---|---|---|---|
//! | attributes | 8 bits | 16 bits | 16 bits |
//! | header | 32 bytes | 48 bytes | 48 bytes |
//! | receivers at | 32 | a field says | a field says |
//! | size of one | 16 bytes | a field says 16 | a field says 32, or 16 |

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::attributes::{Attributes, Flags, Permissions};
use super::{Handle, Malformed};
use crate::EndpointId;

/// The header of a transaction descriptor of FF-A 1.0: 32 bytes, which the receivers follow.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct HeaderLayout1_0 {
    /// Offset 0, length 2: the owner or lender.
    pub sender: U16,
    /// Offset 2, length 1: [`Attributes`].
    pub attributes: u8,
    /// Offset 3, length 1: must be zero.
    pub reserved_3: u8,
    /// Offset 4, length 4: [`Flags`].
    pub flags: U32,
    /// Offset 8, length 8: [`Handle`].
    pub handle: U64,
    /// Offset 16, length 8: what sender and receivers agreed on.
    pub tag: U64,
    /// Offset 24, length 4: must be zero.
    pub reserved_24: U32,
    /// Offset 28, length 4: count of receivers.
    pub receiver_count: U32,
}

/// The header of a transaction descriptor from FF-A 1.1: 48 bytes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct HeaderLayout1_1 {
    /// Offset 0, length 2: the owner or lender.
    pub sender: U16,
    /// Offset 2, length 2: [`Attributes`].
    pub attributes: U16,
    /// Offset 4, length 4: [`Flags`].
    pub flags: U32,
    /// Offset 8, length 8: [`Handle`].
    pub handle: U64,
    /// Offset 16, length 8: what sender and receivers agreed on.
    pub tag: U64,
    /// Offset 24, length 4: size of a receiver, in bytes.
    pub receiver_size: U32,
    /// Offset 28, length 4: count of receivers.
    pub receiver_count: U32,
    /// Offset 32, length 4: offset of the first receiver, a multiple of 16.
    pub receivers_offset: U32,
    /// Offset 36, length 12: must be zero.
    pub reserved_36: [u8; 12],
}

/// An endpoint memory access descriptor of FF-A 1.0 and 1.1: 16 bytes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ReceiverLayout16 {
    /// Offset 0, length 2: the receiver.
    pub endpoint: U16,
    /// Offset 2, length 1: [`Permissions`].
    pub permissions: u8,
    /// Offset 3, length 1: [`Retrieval`] in bit 0, the rest zero.
    pub flags: u8,
    /// Offset 4, length 4: offset of the composite descriptor from the start of the transaction
    /// descriptor; zero for none.
    pub composite_offset: U32,
    /// Offset 8, length 8: must be zero.
    pub reserved: U64,
}

/// An endpoint memory access descriptor from FF-A 1.2: 32 bytes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ReceiverLayout32 {
    /// Offset 0, length 2: the receiver.
    pub endpoint: U16,
    /// Offset 2, length 1: [`Permissions`].
    pub permissions: u8,
    /// Offset 3, length 1: [`Retrieval`] in bit 0, the rest zero.
    pub flags: u8,
    /// Offset 4, length 4: offset of the composite descriptor from the start of the transaction
    /// descriptor; zero for none.
    pub composite_offset: U32,
    /// Offset 8, length 16: what sender and receiver agreed on.
    pub implementation_defined: [u8; 16],
    /// Offset 24, length 8: must be zero.
    pub reserved: U64,
}

/// Whether a receiver that a retrieve request lists is one that retrieves: bit 0 of its flags. Of a
/// donate, lend or share the bit is zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Retrieval {
    /// 0: it retrieves.
    Borrower,
    /// 1: it is only named.
    NonRetrievalBorrower,
}

/// A receiver of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Receiver {
    /// Who.
    pub endpoint: EndpointId,
    /// What it may do.
    pub permissions: Permissions,
    /// Whether it retrieves.
    pub retrieval: Retrieval,
    /// What sender and receiver agreed on; zero below 1.2.
    pub implementation_defined: [u8; 16],
}

/// What every version's header says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Header {
    /// The owner or lender.
    pub sender: EndpointId,
    /// The memory's attributes.
    pub attributes: Attributes,
    /// The flags, of which the kind of descriptor tells which are defined.
    pub flags: Flags,
    /// The transaction's name; [`Handle::NONE`] in a request that makes one.
    pub handle: Handle,
    /// What sender and receivers agreed on.
    pub tag: u64,
}

/// Where the receivers are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Array {
    /// Size of one, in bytes.
    pub size: u32,
    /// How many.
    pub count: u32,
    /// Offset of the first one.
    pub offset: u32,
}

/// A header's fields, before [`Flags`] are checked against the kind.
pub type Fields = (Header, Array);

mod sealed {
    /// Keeps the versions to those of this module.
    pub trait Sealed {}
}

/// A version's layout of transaction descriptors.
pub trait DescriptorVersion: sealed::Sealed + Sized {
    /// The header.
    type Header: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned;
    /// The size of a receiver that an encoder writes, in bytes.
    const RECEIVER_SIZE: usize;

    /// Whether a receiver may have this size.
    fn accepts_receiver_size(size: u32) -> bool;

    /// Decodes a header.
    ///
    /// # Errors
    /// Reserved fields or bits of this version (S14).
    fn decode(header: &Self::Header) -> Result<Fields, Malformed>;

    /// A header with `count` receivers that follow it directly.
    fn encode(header: &Header, count: u32) -> Self::Header;
}

/// FF-A 1.0.
#[derive(Clone, Copy, Debug)]
pub struct V1_0;
/// FF-A 1.1.
#[derive(Clone, Copy, Debug)]
pub struct V1_1;
/// FF-A 1.2 and 1.3.
#[derive(Clone, Copy, Debug)]
pub struct V1_2;

impl sealed::Sealed for V1_0 {}
impl sealed::Sealed for V1_1 {}
impl sealed::Sealed for V1_2 {}

impl DescriptorVersion for V1_0 {
    type Header = HeaderLayout1_0;
    const RECEIVER_SIZE: usize = 16;

    fn accepts_receiver_size(size: u32) -> bool {
        size == 16
    }

    fn decode(layout: &HeaderLayout1_0) -> Result<Fields, Malformed> {
        if layout.reserved_3 != 0 || layout.reserved_24 != U32::ZERO {
            return Err(Malformed::Reserved("field of the header"));
        }
        let header = Header {
            sender: EndpointId(layout.sender.get()),
            attributes: Attributes::decode(u16::from(layout.attributes))?,
            flags: Flags(layout.flags.get()),
            handle: layout.handle.into(),
            tag: layout.tag.get(),
        };
        let array = Array {
            size: 16,
            count: layout.receiver_count.get(),
            offset: 32,
        };
        Ok((header, array))
    }

    fn encode(header: &Header, count: u32) -> HeaderLayout1_0 {
        let [attributes, _] = header.attributes.encode().to_le_bytes();
        HeaderLayout1_0 {
            sender: U16::new(header.sender.0),
            attributes,
            reserved_3: 0,
            flags: U32::new(header.flags.0),
            handle: U64::new(header.handle.0),
            tag: U64::new(header.tag),
            reserved_24: U32::ZERO,
            receiver_count: U32::new(count),
        }
    }
}

fn decode_1_1(layout: &HeaderLayout1_1) -> Result<Fields, Malformed> {
    if layout.reserved_36 != [0; 12] {
        return Err(Malformed::Reserved("field of the header"));
    }
    let header = Header {
        sender: EndpointId(layout.sender.get()),
        attributes: Attributes::decode(layout.attributes.get())?,
        flags: Flags(layout.flags.get()),
        handle: layout.handle.into(),
        tag: layout.tag.get(),
    };
    let array = Array {
        size: layout.receiver_size.get(),
        count: layout.receiver_count.get(),
        offset: layout.receivers_offset.get(),
    };
    Ok((header, array))
}

fn encode_1_1(header: &Header, count: u32, size: u32) -> HeaderLayout1_1 {
    HeaderLayout1_1 {
        sender: U16::new(header.sender.0),
        attributes: U16::new(header.attributes.encode()),
        flags: U32::new(header.flags.0),
        handle: U64::new(header.handle.0),
        tag: U64::new(header.tag),
        receiver_size: U32::new(size),
        receiver_count: U32::new(count),
        receivers_offset: U32::new(48),
        reserved_36: [0; 12],
    }
}

impl DescriptorVersion for V1_1 {
    type Header = HeaderLayout1_1;
    const RECEIVER_SIZE: usize = 16;

    fn accepts_receiver_size(size: u32) -> bool {
        size == 16
    }

    fn decode(layout: &HeaderLayout1_1) -> Result<Fields, Malformed> {
        decode_1_1(layout)
    }

    fn encode(header: &Header, count: u32) -> HeaderLayout1_1 {
        encode_1_1(header, count, 16)
    }
}

impl DescriptorVersion for V1_2 {
    type Header = HeaderLayout1_1;
    const RECEIVER_SIZE: usize = 32;

    /// 16 too: until late 2025 Linux spoke 1.2 with receivers of that size, and Hafnium takes them.
    fn accepts_receiver_size(size: u32) -> bool {
        matches!(size, 16 | 32)
    }

    fn decode(layout: &HeaderLayout1_1) -> Result<Fields, Malformed> {
        decode_1_1(layout)
    }

    fn encode(header: &Header, count: u32) -> HeaderLayout1_1 {
        encode_1_1(header, count, 32)
    }
}

impl Receiver {
    /// Decodes a receiver of 16 or 32 bytes, and its composite offset.
    ///
    /// # Errors
    /// Reserved fields or bits, reserved encodings, or another size.
    pub fn decode(bytes: &[u8]) -> Result<(Self, u32), Malformed> {
        let (layout, tail) =
            ReceiverLayout16::ref_from_prefix(bytes).map_err(|_| Malformed::ReceiverSize)?;
        let (implementation_defined, reserved) = if tail.is_empty() {
            ([0; 16], layout.reserved)
        } else {
            let layout =
                ReceiverLayout32::ref_from_bytes(bytes).map_err(|_| Malformed::ReceiverSize)?;
            (layout.implementation_defined, layout.reserved)
        };
        if reserved != U64::ZERO {
            return Err(Malformed::Reserved("field of a receiver"));
        }
        let retrieval = match layout.flags {
            0 => Retrieval::Borrower,
            1 => Retrieval::NonRetrievalBorrower,
            _ => return Err(Malformed::Reserved("bit of a receiver's flags")),
        };
        let receiver = Self {
            endpoint: EndpointId(layout.endpoint.get()),
            permissions: Permissions::decode(layout.permissions)?,
            retrieval,
            implementation_defined,
        };
        Ok((receiver, layout.composite_offset.get()))
    }

    /// As it stands in a descriptor of 32 bytes.
    pub fn layout32(&self, composite_offset: u32) -> ReceiverLayout32 {
        let base = self.layout16(composite_offset);
        ReceiverLayout32 {
            endpoint: base.endpoint,
            permissions: base.permissions,
            flags: base.flags,
            composite_offset: base.composite_offset,
            implementation_defined: self.implementation_defined,
            reserved: U64::ZERO,
        }
    }

    /// As it stands in a descriptor of 16 bytes, which has no room for what is implementation
    /// defined.
    pub fn layout16(&self, composite_offset: u32) -> ReceiverLayout16 {
        ReceiverLayout16 {
            endpoint: U16::new(self.endpoint.0),
            permissions: self.permissions.encode(),
            flags: match self.retrieval {
                Retrieval::Borrower => 0,
                Retrieval::NonRetrievalBorrower => 1,
            },
            composite_offset: U32::new(composite_offset),
            reserved: U64::ZERO,
        }
    }
}
