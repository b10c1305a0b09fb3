// SPDX-License-Identifier: MIT OR Apache-2.0
//! The boot-information blob of a partition (B-53), read independently of the firmware's own writer.

use core::fmt;

/// The signature of a blob.
pub const SIGNATURE: u32 = 0x0ffa;
/// The size of the header, in bytes.
pub const HEADER_SIZE: usize = 32;
/// The size of a descriptor, in bytes.
pub const DESCRIPTOR_SIZE: usize = 32;
/// The type of a descriptor that holds a flattened device tree: the partition's manifest.
pub const TYPE_FDT: u8 = 0;
/// The type of a descriptor that holds a list of hand-off blocks.
pub const TYPE_HOB: u8 = 1;

/// The header of a blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// [`SIGNATURE`].
    pub signature: u32,
    /// The FF-A version that the blob is written in: the partition's own.
    pub version: u32,
    /// The size of the blob, in bytes, contents included where they follow.
    pub size: u32,
    /// [`DESCRIPTOR_SIZE`].
    pub descriptor_size: u32,
    /// How many descriptors there are.
    pub descriptor_count: u32,
    /// Where they start, in bytes from the header.
    pub descriptor_offset: u32,
    /// Reserved, zero.
    pub reserved: u64,
}

/// A descriptor of a blob.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// The name, padded with NUL.
    pub name: [u8; 16],
    /// The type: [`TYPE_FDT`] or [`TYPE_HOB`]; bit 7 set means implementation defined.
    pub kind: u8,
    /// Reserved, zero.
    pub reserved: u8,
    /// Bits 3:2: 0 when `content` is an address, 1 when it is the value itself.
    pub flags: u16,
    /// The size of the content, in bytes.
    pub size: u32,
    /// The address of the content, or the content.
    pub content: u64,
}

impl fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            flags,
            size,
            content,
            ..
        } = self;
        write!(
            f,
            "type {kind:#x}, flags {flags:#x}, {size} bytes at {content:#x}"
        )
    }
}

/// A blob in this partition's memory.
#[derive(Clone, Copy)]
pub struct BootInfo {
    address: usize,
}

impl BootInfo {
    /// The blob at `address`, which a partition got in a register; `None` when nothing is there.
    ///
    /// # Safety
    /// `address` is zero or 8-byte aligned, and a page of this partition's readable memory starts there.
    pub unsafe fn at(address: u64) -> Option<Self> {
        let blob = Self {
            address: usize::try_from(address).ok()?,
        };
        (address != 0 && blob.header().signature == SIGNATURE).then_some(blob)
    }

    /// Where the blob is.
    pub fn address(self) -> usize {
        self.address
    }

    fn bytes<const N: usize>(self, offset: usize) -> [u8; N] {
        // SAFETY: `at` was promised a readable page, and callers stay within it; see `descriptors`.
        core::array::from_fn(|index| unsafe {
            ((self.address + offset + index) as *const u8).read_volatile()
        })
    }

    fn word(self, offset: usize) -> u32 {
        u32::from_le_bytes(self.bytes(offset))
    }

    /// The header.
    pub fn header(self) -> Header {
        Header {
            signature: self.word(0),
            version: self.word(4),
            size: self.word(8),
            descriptor_size: self.word(12),
            descriptor_count: self.word(16),
            descriptor_offset: self.word(20),
            reserved: u64::from_le_bytes(self.bytes(24)),
        }
    }

    /// The descriptors that lie in the blob's first page.
    pub fn descriptors(self) -> impl Iterator<Item = Descriptor> {
        let header = self.header();
        let (size, first) = (
            header.descriptor_size as usize,
            header.descriptor_offset as usize,
        );
        (0..header.descriptor_count as usize)
            .map(move |index| first + index * size)
            .take_while(|start| start + DESCRIPTOR_SIZE <= crate::memory::PAGE_SIZE)
            .map(move |start| Descriptor {
                name: self.bytes(start),
                kind: self.bytes::<1>(start + 16)[0],
                reserved: self.bytes::<1>(start + 17)[0],
                flags: u16::from_le_bytes(self.bytes(start + 18)),
                size: self.word(start + 20),
                content: u64::from_le_bytes(self.bytes(start + 24)),
            })
    }
}
