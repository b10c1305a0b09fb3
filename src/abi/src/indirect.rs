// SPDX-License-Identifier: MIT OR Apache-2.0
//! Indirect messages: the header that FFA_MSG_SEND2 finds in the sender's TX buffer.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::{EndpointId, FfaError, Uuid, Version};

/// The message header of FF-A 1.2: 40 bytes. That of 1.1 is its first 20.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Layout {
    /// Offset 0, length 4: must be zero.
    pub flags: U32,
    /// Offset 4, length 4: should be zero; not looked at.
    pub reserved_4: U32,
    /// Offset 8, length 4: offset of the message from the start of the header.
    pub offset: U32,
    /// Offset 12, length 2: the receiver.
    pub receiver: U16,
    /// Offset 14, length 2: the sender.
    pub sender: U16,
    /// Offset 16, length 4: size of the message in bytes.
    pub size: U32,
    /// Offset 20, length 4, from 1.2: should be zero; not looked at.
    pub reserved_20: U32,
    /// Offset 24, length 16, from 1.2: the protocol's UUID; nil for none.
    pub uuid: Uuid,
}

/// The size of a header in the layout of `version`, in bytes.
pub const fn header_size(version: Version) -> usize {
    match (version.major, version.minor) {
        (0, _) | (1, 0 | 1) => 20,
        _ => size_of::<Layout>(),
    }
}

/// The size of the largest header, in bytes.
pub const MAXIMUM_HEADER: usize = size_of::<Layout>();

/// Bit 1 of w2 of FFA_MSG_SEND2, of a partition: the schedule receiver interrupt can wait until the
/// partition itself returns to the normal world, as in FFA_NOTIFICATION_SET.
pub const DELAY_SCHEDULE_RECEIVER: u32 = 1 << 1;

/// The header of an indirect message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Header {
    /// The sender.
    pub sender: EndpointId,
    /// The receiver.
    pub receiver: EndpointId,
    /// The protocol's UUID; nil for none, and below 1.2.
    pub uuid: Uuid,
    /// Offset of the message in the buffer, in bytes.
    pub offset: u32,
    /// Size of the message, in bytes; may be zero.
    pub size: u32,
}

impl Header {
    /// Decodes the header in `bytes`, a private copy of the first bytes that the TX buffer of a sender of
    /// `version` holds. The message is in the buffer, which has `buffer_length` bytes, and not in the header.
    ///
    /// # Errors
    /// INVALID_PARAMETERS: flags (G29), a message in the header, past the buffer's end or with a size
    /// that overflows (G25). Whether it fits the receiver's RX buffer is for the core to say.
    pub fn decode(version: Version, bytes: &[u8], buffer_length: usize) -> Result<Self, FfaError> {
        let mut layout = Layout::new_zeroed();
        let length = header_size(version);
        let (Some(to), Some(from)) = (layout.as_mut_bytes().get_mut(..length), bytes.get(..length))
        else {
            return Err(FfaError::InvalidParameters);
        };
        to.copy_from_slice(from);
        let header = Self {
            sender: EndpointId(layout.sender.get()),
            receiver: EndpointId(layout.receiver.get()),
            uuid: layout.uuid,
            offset: layout.offset.get(),
            size: layout.size.get(),
        };
        let behind_header = usize::try_from(header.offset).is_ok_and(|offset| offset >= length);
        if layout.flags != U32::ZERO || !behind_header || !header.fits(buffer_length) {
            return Err(FfaError::InvalidParameters);
        }
        Ok(header)
    }

    /// Whether the message ends within a buffer of `length` bytes.
    pub fn fits(&self, length: usize) -> bool {
        self.offset
            .checked_add(self.size)
            .and_then(|end| usize::try_from(end).ok())
            .is_some_and(|end| end <= length)
    }

    /// The header for a receiver of `version`: the message stays where it is, unless that version's
    /// header reaches there.
    pub fn for_receiver(self, version: Version) -> Self {
        let least = u32::try_from(header_size(version)).unwrap_or(u32::MAX);
        Self {
            offset: self.offset.max(least),
            ..self
        }
    }

    /// The message in the buffer; `None` when it is not all in there.
    pub fn message<'a>(&self, buffer: &'a [u8]) -> Option<&'a [u8]> {
        let start = usize::try_from(self.offset).ok()?;
        let size = usize::try_from(self.size).ok()?;
        buffer.get(start..start.checked_add(size)?)
    }

    /// The header in the layout of `version`, and how many of the bytes that is. What the receiver's
    /// version has no field for is left out; the offset is written as it is.
    pub fn encode(&self, version: Version) -> ([u8; size_of::<Layout>()], usize) {
        let mut layout = Layout::new_zeroed();
        layout.offset = U32::new(self.offset);
        layout.receiver = U16::new(self.receiver.0);
        layout.sender = U16::new(self.sender.0);
        layout.size = U32::new(self.size);
        layout.uuid = self.uuid;
        let mut bytes = [0; size_of::<Layout>()];
        let length = header_size(version);
        if let (Some(to), Some(from)) = (bytes.get_mut(..length), layout.as_bytes().get(..length)) {
            to.copy_from_slice(from);
        }
        (bytes, length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VERSIONS: [Version; 3] = [Version::V1_1, Version::V1_2, Version::V1_3];

    fn header(version: Version) -> Header {
        Header {
            sender: EndpointId(0x8001),
            receiver: EndpointId(0x8002),
            uuid: if version >= Version::V1_2 {
                Uuid::parse("486178e0-e7f8-11e3-bc5e-0002a5d5c51b").unwrap()
            } else {
                Uuid::NIL
            },
            offset: header_size(version) as u32,
            size: 5,
        }
    }

    fn buffer(version: Version) -> Vec<u8> {
        let (bytes, length) = header(version).encode(version);
        let mut buffer = bytes[..length].to_vec();
        buffer.extend(b"hello");
        buffer
    }

    #[test]
    fn a23_each_version_has_its_own_header() {
        let short = [
            0, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 2, 0x80, 1, 0x80, 5, 0, 0, 0,
        ];
        assert_eq!(buffer(Version::V1_1)[..20], short);
        let long = buffer(Version::V1_2);
        assert_eq!(long[8], 40);
        assert_eq!(long[20..28], [0, 0, 0, 0, 0x48, 0x61, 0x78, 0xe0]);
        for version in VERSIONS {
            let buffer = buffer(version);
            let found = Header::decode(version, &buffer, buffer.len()).unwrap();
            assert_eq!(found, header(version));
            assert_eq!(found.message(&buffer), Some(&b"hello"[..]));
        }
    }

    #[test]
    fn g25_a_message_in_the_header_or_past_the_end_is_refused() {
        for version in VERSIONS {
            let good = buffer(version);
            let least = header_size(version) as u32;
            for (offset, size, fits) in [
                (least, 5, true),
                (least + 5, 0, true),
                (least, 6, false),
                (least + 1, 5, false),
                (least + 6, 0, false),
                (least - 1, 5, false),
                (0, 5, false),
                (least, u32::MAX, false),
                (u32::MAX, 5, false),
                (u32::MAX, u32::MAX, false),
                (u32::MAX - 4, 5, false),
            ] {
                let mut bytes = good.clone();
                bytes[8..12].copy_from_slice(&offset.to_le_bytes());
                bytes[16..20].copy_from_slice(&size.to_le_bytes());
                let found = Header::decode(version, &bytes, bytes.len());
                assert_eq!(found.is_ok(), fits, "{version} {offset} {size}");
            }
            for length in 0..good.len() {
                assert!(Header::decode(version, &good[..length], length).is_err());
            }
        }
    }

    #[test]
    fn g29_flags_are_refused_and_reserved_words_are_not_looked_at() {
        for version in VERSIONS {
            for bit in 0..32 {
                let mut bytes = buffer(version);
                bytes[bit / 8] |= 1 << (bit % 8);
                let found = Header::decode(version, &bytes, bytes.len());
                assert_eq!(found, Err(FfaError::InvalidParameters), "{version} {bit}");
            }
            let mut bytes = buffer(version);
            bytes[4..8].fill(0xff);
            if version >= Version::V1_2 {
                bytes[20..24].fill(0xff);
            }
            assert_eq!(
                Header::decode(version, &bytes, bytes.len()),
                Ok(header(version))
            );
        }
    }

    #[test]
    fn a23_a_message_makes_room_for_a_longer_header() {
        let short = header(Version::V1_1);
        assert_eq!(short.for_receiver(Version::V1_1), short);
        let moved = short.for_receiver(Version::V1_2);
        assert_eq!(
            moved,
            Header {
                offset: 40,
                ..short
            }
        );
        let long = header(Version::V1_2);
        assert_eq!(long.for_receiver(Version::V1_1), long);
        assert!(long.fits(45) && !long.fits(44));
    }

    proptest! {
        #[test]
        fn a23_what_decodes_encodes_to_the_same(
            mut bytes in prop::collection::vec(any::<u8>(), 0..100),
            offset in 0_u32..100,
            size in 0_u32..100,
            version in 0_usize..3,
        ) {
            let version = VERSIONS[version];
            if bytes.len() >= 24 {
                bytes[..8].fill(0);
                bytes[8..12].copy_from_slice(&offset.to_le_bytes());
                bytes[16..20].copy_from_slice(&size.to_le_bytes());
                bytes[20..24].fill(0);
            }
            if let Ok(header) = Header::decode(version, &bytes, bytes.len()) {
                let (again, length) = header.encode(version);
                prop_assert_eq!(&again[..length], &bytes[..length]);
                prop_assert_eq!(header.message(&bytes).unwrap().len() as u32, header.size);
            }
        }
    }
}
