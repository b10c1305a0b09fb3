// SPDX-License-Identifier: MIT OR Apache-2.0
//! The boot-information blob that a partition finds at the start of its package (B-53).
//!
//! A header, then an array of 32-byte descriptors, then the contents that descriptors point to.
//! Layouts: FF-A 1.1 EAC0 tables 5.8 and 5.9, as quoted in Hafnium's `inc/vmapi/hf/ffa.h` and the
//! `arm-ffa` crate.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::{Uuid, Version};

/// The signature in the header.
pub const SIGNATURE: u32 = 0x0ffa;
/// The size of a header, in bytes; the descriptors follow it directly.
pub const HEADER_SIZE: usize = size_of::<Header>();
/// The size of a descriptor, in bytes.
pub const DESCRIPTOR_SIZE: usize = size_of::<Descriptor>();

/// The boot-information header.
#[derive(Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    /// Offset 0, length 4: [`SIGNATURE`].
    pub signature: U32,
    /// Offset 4, length 4: the partition's FF-A version, as FFA_VERSION encodes it.
    pub version: U32,
    /// Offset 8, length 4: size of the blob in bytes, with the contents that descriptors point to.
    pub blob_size: U32,
    /// Offset 12, length 4: size of a descriptor, 32.
    pub descriptor_size: U32,
    /// Offset 16, length 4: count of descriptors.
    pub descriptor_count: U32,
    /// Offset 20, length 4: offset of the descriptor array from the start of the header.
    pub descriptor_offset: U32,
    /// Offset 24, length 8: must be zero.
    pub reserved: U64,
}

/// A boot-information descriptor.
#[derive(Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Descriptor {
    /// Offset 0, length 16: name, zero-terminated text or a UUID as `flags` bits 1:0 say.
    pub name: [u8; 16],
    /// Offset 16, length 1: bit 7 implementation defined, bits 6:0 identifier.
    pub kind: u8,
    /// Offset 17, length 1: must be zero.
    pub reserved: u8,
    /// Offset 18, length 2: bits 1:0 format of `name` (0 text, 1 UUID), bits 3:2 format of
    /// `contents` (0 address, 1 value), the rest zero.
    pub flags: U16,
    /// Offset 20, length 4: size in bytes of what `contents` is or points to.
    pub size: U32,
    /// Offset 24, length 8: address in the partition's translation regime, or value.
    pub contents: U64,
}

/// Bit 7 of [`Descriptor::kind`].
const KIND_IMPLEMENTATION_DEFINED: u8 = 1 << 7;
/// Bits 1:0 of [`Descriptor::flags`]: the name is a UUID.
const FLAG_NAME_UUID: u16 = 1;
/// Bits 3:2 of [`Descriptor::flags`]: the contents are a value.
const FLAG_CONTENTS_VALUE: u16 = 1 << 2;

/// What a descriptor is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// 0: a flattened device tree, the partition's manifest.
    DeviceTree,
    /// 1: a hand-off block list.
    HandOffBlocks,
    /// Another identifier, of the specification's (bit 7 clear) or of ours (bit 7 set).
    Other(u8),
}

impl Kind {
    const fn to_byte(self) -> u8 {
        match self {
            Self::DeviceTree => 0,
            Self::HandOffBlocks => 1,
            Self::Other(byte) => byte,
        }
    }

    const fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::DeviceTree,
            1 => Self::HandOffBlocks,
            _ => Self::Other(byte),
        }
    }

    /// Whether the identifier is outside the specification.
    pub const fn is_implementation_defined(self) -> bool {
        self.to_byte() & KIND_IMPLEMENTATION_DEFINED != 0
    }
}

/// The name of a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Name<'a> {
    /// Up to 15 bytes, none of them zero. Hafnium leaves it empty.
    Text(&'a str),
    /// A UUID.
    Uuid(Uuid),
}

/// What a descriptor carries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Contents {
    /// Memory that the partition can read.
    Address {
        /// Its address in the partition's translation regime.
        address: u64,
        /// Its size, in bytes.
        size: u32,
    },
    /// A value in the descriptor itself.
    Value {
        /// The value.
        value: u64,
        /// How many of its bytes count: 1 to 8.
        size: u32,
    },
}

/// A boot-information descriptor, decoded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Entry<'a> {
    /// Its name.
    pub name: Name<'a>,
    /// What it is about.
    pub kind: Kind,
    /// What it carries.
    pub contents: Contents,
}

impl Entry<'_> {
    fn descriptor(&self) -> Option<Descriptor> {
        let (name, name_flag) = match self.name {
            Name::Uuid(uuid) => (uuid.0, FLAG_NAME_UUID),
            Name::Text(text) => {
                let mut name = [0; 16];
                let (last, room) = name.split_last_mut()?;
                room.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
                *last = 0;
                if text.contains('\0') {
                    return None;
                }
                (name, 0)
            }
        };
        let (contents, size, contents_flag) = match self.contents {
            Contents::Address { address, size } => (address, size, 0),
            Contents::Value {
                value,
                size: size @ 1..=8,
            } => (value, size, FLAG_CONTENTS_VALUE),
            Contents::Value { .. } => return None,
        };
        Some(Descriptor {
            name,
            kind: self.kind.to_byte(),
            reserved: 0,
            flags: U16::new(name_flag | contents_flag),
            size: U32::new(size),
            contents: U64::new(contents),
        })
    }
}

impl Descriptor {
    /// Decodes the descriptor; `None` when reserved bits are set, an encoding is unknown or the
    /// name is not a zero-terminated UTF-8 text.
    pub fn entry(&self) -> Option<Entry<'_>> {
        let flags = self.flags.get();
        let size = self.size.get();
        if self.reserved != 0 || flags & !(FLAG_NAME_UUID | FLAG_CONTENTS_VALUE) != 0 {
            return None;
        }
        let name = if flags & FLAG_NAME_UUID != 0 {
            Name::Uuid(Uuid(self.name))
        } else {
            let text = core::ffi::CStr::from_bytes_until_nul(&self.name).ok()?;
            Name::Text(text.to_str().ok()?)
        };
        let contents = if flags & FLAG_CONTENTS_VALUE == 0 {
            Contents::Address {
                address: self.contents.get(),
                size,
            }
        } else if (1..=8).contains(&size) {
            Contents::Value {
                value: self.contents.get(),
                size,
            }
        } else {
            return None;
        };
        Some(Entry {
            name,
            kind: Kind::from_byte(self.kind),
            contents,
        })
    }
}

/// Writes header and descriptors to the start of `blob` and zeroes the rest of it (L9). Returns the
/// bytes used, or `None`, with `blob` untouched, when they do not fit or an entry cannot be encoded.
///
/// The header's blob size is `blob.len()` plus the sizes of all contents by address: as in Hafnium
/// (`src/boot_info.c`), contents are taken to follow `blob` without a gap.
pub fn write(blob: &mut [u8], version: Version, entries: &[Entry<'_>]) -> Option<usize> {
    let used = entries
        .len()
        .checked_mul(DESCRIPTOR_SIZE)?
        .checked_add(HEADER_SIZE)?;
    let mut blob_size = u32::try_from(blob.len()).ok()?;
    for entry in entries {
        entry.descriptor()?;
        if let Contents::Address { size, .. } = entry.contents {
            blob_size = blob_size.checked_add(size)?;
        }
    }
    let header = Header {
        signature: U32::new(SIGNATURE),
        version: U32::new(version.to_word()),
        blob_size: U32::new(blob_size),
        descriptor_size: U32::new(u32::try_from(DESCRIPTOR_SIZE).ok()?),
        descriptor_count: U32::new(u32::try_from(entries.len()).ok()?),
        descriptor_offset: U32::new(u32::try_from(HEADER_SIZE).ok()?),
        reserved: U64::ZERO,
    };
    let (target, rest) = blob.split_at_mut_checked(used)?;
    let (head, array) = target.split_at_mut_checked(HEADER_SIZE)?;
    header.write_to(head).ok()?;
    for (entry, slot) in entries.iter().zip(array.chunks_exact_mut(DESCRIPTOR_SIZE)) {
        entry.descriptor()?.write_to(slot).ok()?;
    }
    rest.fill(0);
    Some(used)
}

/// Reads a blob: its header, and its descriptors in order. `None` when the signature, the
/// descriptor size or a bound is wrong. For tests and for partitions.
pub fn read(blob: &[u8]) -> Option<(&Header, &[Descriptor])> {
    let (header, _) = Header::ref_from_prefix(blob).ok()?;
    let offset = usize::try_from(header.descriptor_offset.get()).ok()?;
    let count = usize::try_from(header.descriptor_count.get()).ok()?;
    if header.signature.get() != SIGNATURE
        || usize::try_from(header.descriptor_size.get()) != Ok(DESCRIPTOR_SIZE)
    {
        return None;
    }
    let array = blob.get(offset..)?;
    let (descriptors, _) = <[Descriptor]>::ref_from_prefix_with_elems(array, count).ok()?;
    Some((header, descriptors))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn manifest() -> Entry<'static> {
        Entry {
            name: Name::Text("fdt"),
            kind: Kind::DeviceTree,
            contents: Contents::Address {
                address: 0x0e30_1000,
                size: 0x234,
            },
        }
    }

    #[test]
    fn b53_layout_is_byte_exact() {
        let mut blob = [0xff; 0x80];
        let uuid = Uuid::parse("00112233-4455-6677-8899-aabbccddeeff").unwrap();
        let entries = [
            manifest(),
            Entry {
                name: Name::Uuid(uuid),
                kind: Kind::Other(0x85),
                contents: Contents::Value {
                    value: 0x1122_3344_5566_7788,
                    size: 8,
                },
            },
        ];
        assert_eq!(write(&mut blob, Version::V1_1, &entries), Some(96));
        #[rustfmt::skip]
        let expected: [u8; 96] = [
            0xfa, 0x0f, 0, 0,  1, 0, 1, 0,  0xb4, 0x02, 0, 0,  32, 0, 0, 0,
            2, 0, 0, 0,  32, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0,

            b'f', b'd', b't', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0,  0x34, 0x02, 0, 0,  0x00, 0x10, 0x30, 0x0e, 0, 0, 0, 0,

            0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
            0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
            0x85, 0, 0x05, 0,  8, 0, 0, 0,  0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
        ];
        assert_eq!(blob[..96], expected);
        assert_eq!(blob[96..], [0; 32], "the rest is wiped");
    }

    #[test]
    fn b53_a_blob_reads_back() {
        let mut blob = [0; 4096];
        let hob = Entry {
            name: Name::Text(""),
            kind: Kind::HandOffBlocks,
            contents: Contents::Address {
                address: 0x7000,
                size: 0x1000,
            },
        };
        let flag = Entry {
            name: Name::Text("fifteen letters"),
            kind: Kind::Other(7),
            contents: Contents::Value { value: 1, size: 1 },
        };
        let entries = [manifest(), hob, flag];
        assert_eq!(write(&mut blob, Version::V1_2, &entries), Some(128));
        let (header, descriptors) = read(&blob).unwrap();
        assert_eq!(header.blob_size.get(), 4096 + 0x234 + 0x1000);
        assert_eq!(header.version.get(), 0x0001_0002);
        let found: Vec<_> = descriptors
            .iter()
            .map(|descriptor| descriptor.entry())
            .collect();
        assert_eq!(found, entries.map(Some));
    }

    #[test]
    fn b53_what_does_not_fit_leaves_the_blob_alone() {
        let entry = manifest();
        for length in [0, 31, 32, 63] {
            let mut blob = vec![0x5a; length];
            assert_eq!(write(&mut blob, Version::V1_1, &[entry]), None);
            assert!(blob.iter().all(|&byte| byte == 0x5a));
        }
        let long = Entry {
            name: Name::Text("sixteen letters!"),
            ..entry
        };
        let split = Entry {
            name: Name::Text("a\0b"),
            ..entry
        };
        let empty = Entry {
            contents: Contents::Value { value: 0, size: 0 },
            ..entry
        };
        let wide = Entry {
            contents: Contents::Value { value: 0, size: 9 },
            ..entry
        };
        let huge = Entry {
            contents: Contents::Address {
                address: 0,
                size: u32::MAX,
            },
            ..entry
        };
        for bad in [long, split, empty, wide, huge] {
            let mut blob = [0x5a; 128];
            assert_eq!(write(&mut blob, Version::V1_1, &[entry, bad, entry]), None);
            assert_eq!(blob, [0x5a; 128]);
        }
    }

    #[test]
    fn b53_broken_headers_are_refused() {
        let mut good = [0; 96];
        write(&mut good, Version::V1_1, &[manifest(), manifest()]).unwrap();
        assert!(read(&good).is_some());
        assert!(read(&good[..95]).is_none());
        for (offset, value) in [
            (0, 0xfb),
            (12, 24),
            (16, 3),
            (20, 33),
            (23, 0xff),
            (19, 0xff),
        ] {
            let mut bad = good;
            bad[offset] = value;
            assert!(read(&bad).is_none(), "byte {offset}");
        }
    }

    proptest! {
        #[test]
        fn b53_reading_any_bytes_never_panics(blob in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut blob = blob;
            for signed in [false, true] {
                if signed && blob.len() >= HEADER_SIZE {
                    blob[..4].copy_from_slice(&SIGNATURE.to_le_bytes());
                    blob[12..16].copy_from_slice(&32_u32.to_le_bytes());
                    blob[17..20].fill(0);
                    blob[21..24].fill(0);
                }
                if let Some((_, descriptors)) = read(&blob) {
                    for descriptor in descriptors {
                        if let Some(entry) = descriptor.entry() {
                            prop_assert_eq!(entry.descriptor().unwrap().flags, descriptor.flags);
                        }
                    }
                }
            }
        }
    }
}
