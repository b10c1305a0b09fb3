// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packages that are transfer lists of the Firmware Handoff specification, version 1 (B-51).
//!
//! A header, then entries that each start on a multiple of eight: tag, length of the entry's header,
//! length of its data. Only three tags matter here; void and foreign entries are stepped over.

use core::fmt;

use zerocopy::byteorder::little_endian::U32;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{PAGE, Package, PackageError, PackageFormat, Part};
use crate::range::Range;

/// The first four bytes of a transfer list.
pub(super) const SIGNATURE: u32 = 0x4a0f_b10b;
const VERSION: u8 = 1;
/// Where entries start, and the alignment of a hand-off block list.
const GRANULE: u64 = 8;
/// The list's bytes add up to zero.
const HAS_CHECKSUM: u32 = 1;
/// A list holds a handful of entries; each one costs a look at the package's memory.
const MAX_ENTRIES: usize = 1024;
/// How many bytes are added up at once: small, as it lies on the stack.
const CHUNK: usize = 1024;

const TAG_HOB_LIST: u32 = 3;
const TAG_SP_BINARY: u32 = 0x103;
const TAG_FFA_MANIFEST: u32 = 0x106;

/// The list's header: 24 bytes, little-endian.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    /// Offset 0, length 4.
    signature: U32,
    /// Offset 4, length 1: makes all bytes of the list add up to zero, if the flags say so.
    checksum: u8,
    /// Offset 5, length 1.
    version: u8,
    /// Offset 6, length 1: of this header, to the first entry.
    header_size: u8,
    /// Offset 7, length 1: the largest alignment of an entry's data, as a power of two.
    alignment: u8,
    /// Offset 8, length 4: of header and entries.
    size: U32,
    /// Offset 12, length 4: of the memory that the list may grow into.
    max_size: U32,
    /// Offset 16, length 4.
    flags: U32,
    /// Offset 20, length 4.
    reserved: U32,
}

/// The header of an entry: 8 bytes, little-endian.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct EntryHeader {
    /// Offset 0, length 3.
    tag: [u8; 3],
    /// Offset 3, length 1: of this header, to the data.
    header_size: u8,
    /// Offset 4, length 4.
    data_size: U32,
}

const ENTRY_HEADER: u64 = 8;
const _: () = assert!(size_of::<EntryHeader>() == 8 && size_of::<Header>() == super::HEADER_SIZE);

/// Why a transfer list is refused. Offsets count from the start of the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ListError {
    /// No known version.
    Version(u8),
    /// The header's size is less than 24, or not a multiple of 8.
    HeaderSize(u8),
    /// The alignment is not that of any memory.
    Alignment(u8),
    /// The size is less than the header's, or above `max_size`.
    Size(u32),
    /// The size leaves the partition's memory.
    OutOfBounds(u32),
    /// What the bytes add up to, modulo 256.
    Checksum(u8),
    /// An entry's header at this offset is less than 8 bytes.
    EntryHeader(u64),
    /// The entry at this offset leaves the list.
    EntryOutOfBounds(u64),
    /// More entries than any package has.
    TooManyEntries,
    /// A part that must be there is not.
    Missing(Part),
    /// A part that there may be one of stands there twice, the second time at this offset.
    Twice(Part, u64),
    /// An entry stands behind the SP binary, at this offset.
    BinaryNotLast(u64),
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("transfer list: ")?;
        match self {
            Self::Version(version) => write!(
                f,
                "version {version} is not supported [BadPackage]: write 1"
            ),
            Self::HeaderSize(size) => write!(
                f,
                "header size {size} is not one [BadPackage]: write 24, or more in multiples of 8"
            ),
            Self::Alignment(order) => write!(
                f,
                "alignment {order} is not one [BadPackage]: write 3 to 31, the power of two of the largest alignment"
            ),
            Self::Size(size) => write!(
                f,
                "size {size:#x} is less than the header's or more than max_size [BadPackage]: write the sum of \
                 header and entries"
            ),
            Self::OutOfBounds(size) => write!(
                f,
                "size {size:#x} leaves the partition's memory [BadPackage]: raise mem_size or make it smaller"
            ),
            Self::Checksum(sum) => write!(
                f,
                "the bytes add up to {sum:#04x} [BadPackage]: correct the checksum so that they add up to 0"
            ),
            Self::EntryHeader(at) => write!(
                f,
                "the entry at {at:#x} has a header of less than 8 bytes [BadPackage]: write 8"
            ),
            Self::EntryOutOfBounds(at) => write!(
                f,
                "the entry at {at:#x} leaves the list [BadPackage]: correct its data size or the list's size"
            ),
            Self::TooManyEntries => write!(
                f,
                "there are more than {MAX_ENTRIES} entries [BadPackage]: keep to manifest, HOB list and binary"
            ),
            Self::Missing(part) => write!(
                f,
                "there is no {part} [BadPackage]: add an entry with tag {:#x}",
                tag_of(*part)
            ),
            Self::Twice(part, at) => write!(
                f,
                "the entry at {at:#x} is a second {part} [BadPackage]: keep one entry with tag {:#x}",
                tag_of(*part)
            ),
            Self::BinaryNotLast(at) => write!(
                f,
                "the entry at {at:#x} stands behind the image [BadPackage]: make the SP binary the last entry"
            ),
        }
    }
}

const fn tag_of(part: Part) -> u32 {
    match part {
        Part::Manifest => TAG_FFA_MANIFEST,
        Part::Image => TAG_SP_BINARY,
        Part::HobList => TAG_HOB_LIST,
    }
}

/// Where the parts of a list are.
#[derive(Default)]
struct Parts {
    manifest: Option<Range>,
    image: Option<Range>,
    hob_list: Option<Range>,
}

/// Reads the list whose first bytes are `first`.
pub(super) fn read<E: From<PackageError>>(
    first: &[u8],
    limit: u64,
    bytes: &mut impl FnMut(u64, &mut [u8]) -> Result<(), E>,
) -> Result<Package, E> {
    let (header, _) = Header::read_from_prefix(first).map_err(|_| PackageError::Truncated)?;
    let size = check_header(&header, limit).map_err(PackageError::List)?;
    if header.flags.get() & HAS_CHECKSUM != 0 {
        let sum = add_up(size, bytes)?;
        if sum != 0 {
            return Err(PackageError::List(ListError::Checksum(sum)).into());
        }
    }
    let parts = find_parts(u64::from(header.header_size), size, bytes)?;
    let require = |part: Option<Range>, name: Part| {
        let range = part.ok_or(PackageError::List(ListError::Missing(name)))?;
        if range.is_empty() {
            return Err(PackageError::Empty(name));
        }
        Ok(range)
    };
    let manifest = require(parts.manifest, Part::Manifest)?;
    let image = require(parts.image, Part::Image)?;
    for (part, name, alignment) in [
        (Some(manifest), Part::Manifest, PAGE),
        (Some(image), Part::Image, PAGE),
        (parts.hob_list, Part::HobList, GRANULE),
    ] {
        if part.is_some_and(|range| !range.base.is_multiple_of(alignment)) {
            return Err(PackageError::Unaligned(name).into());
        }
    }
    Ok(Package {
        format: PackageFormat::TransferList,
        manifest,
        image,
        hob_list: parts.hob_list.filter(|range| !range.is_empty()),
    })
}

/// The size of a list whose header is right.
fn check_header(header: &Header, limit: u64) -> Result<u64, ListError> {
    let size = header.size.get();
    let header_size = u64::from(header.header_size);
    if header.version != VERSION {
        return Err(ListError::Version(header.version));
    }
    if usize::from(header.header_size) < super::HEADER_SIZE || !header_size.is_multiple_of(GRANULE)
    {
        return Err(ListError::HeaderSize(header.header_size));
    }
    if !(3..=31).contains(&header.alignment) {
        return Err(ListError::Alignment(header.alignment));
    }
    if u64::from(size) < header_size || size > header.max_size.get() {
        return Err(ListError::Size(size));
    }
    if u64::from(size) > limit {
        return Err(ListError::OutOfBounds(size));
    }
    Ok(u64::from(size))
}

/// The sum of the first `size` bytes, modulo 256.
fn add_up<E>(size: u64, bytes: &mut impl FnMut(u64, &mut [u8]) -> Result<(), E>) -> Result<u8, E> {
    let mut chunk = [0; CHUNK];
    let mut sum = 0_u8;
    let mut position = 0_u64;
    while position < size {
        let left = usize::try_from(size.saturating_sub(position)).unwrap_or(CHUNK);
        let Some(part) = chunk.get_mut(..left.min(CHUNK)) else {
            break;
        };
        bytes(position, part)?;
        sum = part.iter().fold(sum, |sum, &byte| sum.wrapping_add(byte));
        position = position.saturating_add(u64::try_from(part.len()).unwrap_or(u64::MAX));
    }
    Ok(sum)
}

/// Walks the entries from `position` on.
fn find_parts<E: From<PackageError>>(
    mut position: u64,
    size: u64,
    bytes: &mut impl FnMut(u64, &mut [u8]) -> Result<(), E>,
) -> Result<Parts, E> {
    let refuse = |error| E::from(PackageError::List(error));
    let mut parts = Parts::default();
    let mut count = 0_usize;
    while position < size {
        count = count.saturating_add(1);
        if count > MAX_ENTRIES {
            return Err(refuse(ListError::TooManyEntries));
        }
        let out = || refuse(ListError::EntryOutOfBounds(position));
        if size.saturating_sub(position) < ENTRY_HEADER {
            return Err(out());
        }
        let mut entry = EntryHeader::new_zeroed();
        bytes(position, entry.as_mut_bytes())?;
        if u64::from(entry.header_size) < ENTRY_HEADER {
            return Err(refuse(ListError::EntryHeader(position)));
        }
        let data = position
            .checked_add(u64::from(entry.header_size))
            .and_then(|start| Range::new(start, u64::from(entry.data_size.get())))
            .filter(|data| data.end() <= size)
            .ok_or_else(out)?;
        let [low, middle, high] = entry.tag;
        let (slot, part) = match u32::from_le_bytes([low, middle, high, 0]) {
            TAG_FFA_MANIFEST => (Some(&mut parts.manifest), Part::Manifest),
            TAG_HOB_LIST => (Some(&mut parts.hob_list), Part::HobList),
            TAG_SP_BINARY => (Some(&mut parts.image), Part::Image),
            _ => (None, Part::Image),
        };
        if let Some(slot) = slot
            && slot.replace(data).is_some()
        {
            return Err(refuse(ListError::Twice(part, position)));
        }
        if parts.image.is_some_and(|image| image.base < data.base) {
            return Err(refuse(ListError::BinaryNotLast(position)));
        }
        position = data.end().next_multiple_of(GRANULE);
    }
    Ok(parts)
}
