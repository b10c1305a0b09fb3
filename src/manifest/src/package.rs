// SPDX-License-Identifier: MIT OR Apache-2.0
//! Partition packages: where in the loaded bytes the manifest and the image are (B-50, P16).

use core::fmt;

use zerocopy::byteorder::little_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::range::Range;

/// "SPKG" in memory order.
const MAGIC: u32 = 0x474b_5053;
/// The signature of a firmware handoff transfer list (B-51).
const TRANSFER_LIST: u32 = 0x4a0f_b10b;
const PAGE: u64 = 0x1000;

/// The bytes that [`Package::parse`] needs.
pub const HEADER_SIZE: usize = size_of::<Header>();

/// The header: 24 bytes, little-endian.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: U32,
    version: U32,
    manifest_offset: U32,
    manifest_size: U32,
    image_offset: U32,
    image_size: U32,
}

/// The revision of the format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PackageVersion {
    /// The manifest follows the header.
    V1,
    /// Page-aligned: header and boot information, manifest, image.
    V2,
}

/// A package whose header is right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Package {
    /// The format's revision.
    pub version: PackageVersion,
    /// The manifest: offset from the load address, and length.
    pub manifest: Range,
    /// The image: offset from the load address, and length.
    pub image: Range,
}

impl Package {
    /// Parses the header at the start of `first_bytes` (at least [`HEADER_SIZE`]). Manifest and image
    /// lie within `loaded_len_limit` bytes of the load address: the partition's memory size.
    ///
    /// # Errors
    /// Which field is wrong.
    pub fn parse(first_bytes: &[u8], loaded_len_limit: u64) -> Result<Self, PackageError> {
        let (header, _) =
            Header::read_from_prefix(first_bytes).map_err(|_| PackageError::Truncated)?;
        match header.magic.get() {
            MAGIC => {}
            TRANSFER_LIST => return Err(PackageError::TransferList),
            magic => return Err(PackageError::BadMagic(magic)),
        }
        let version = match header.version.get() {
            1 => PackageVersion::V1,
            2 => PackageVersion::V2,
            version => return Err(PackageError::BadVersion(version)),
        };
        // Two 32-bit numbers cannot leave 64 bits, so what is left to check is the limit.
        let part = |offset: U32, size: U32, part: Part| {
            if size.get() == 0 {
                return Err(PackageError::Empty(part));
            }
            Range::new(u64::from(offset.get()), u64::from(size.get()))
                .filter(|range| range.end() <= loaded_len_limit)
                .ok_or(PackageError::OutOfBounds(part))
        };
        let manifest = part(header.manifest_offset, header.manifest_size, Part::Manifest)?;
        let image = part(header.image_offset, header.image_size, Part::Image)?;
        let header_end = match version {
            PackageVersion::V1 => u64::try_from(HEADER_SIZE).unwrap_or(u64::MAX),
            // The first page becomes the boot information.
            PackageVersion::V2 => PAGE,
        };
        if manifest.base < header_end {
            return Err(PackageError::Overlap(Part::Manifest));
        }
        if image.base < manifest.end() {
            return Err(PackageError::Overlap(Part::Image));
        }
        if version == PackageVersion::V2 {
            for (range, part) in [(manifest, Part::Manifest), (image, Part::Image)] {
                if !range.base.is_multiple_of(PAGE) {
                    return Err(PackageError::Unaligned(part));
                }
            }
        }
        Ok(Self {
            version,
            manifest,
            image,
        })
    }

    /// The bytes before the manifest that may hold the boot information; none in version 1.
    pub const fn boot_info_space(&self) -> u64 {
        match self.version {
            PackageVersion::V1 => 0,
            PackageVersion::V2 => self.manifest.base,
        }
    }
}

/// A part of a package.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The partition manifest (pm_offset, pm_size).
    Manifest,
    /// The image (img_offset, img_size).
    Image,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manifest => "manifest",
            Self::Image => "image",
        })
    }
}

/// Why a package is refused: the rule `BadPackage` of P16, by field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PackageError {
    /// There are fewer bytes than a header has.
    Truncated,
    /// No package starts here.
    BadMagic(u32),
    /// A transfer list, which this version does not read.
    TransferList,
    /// No known revision.
    BadVersion(u32),
    /// A part without a byte.
    Empty(Part),
    /// A part leaves the partition's memory.
    OutOfBounds(Part),
    /// A part starts before the end of what stands before it.
    Overlap(Part),
    /// A part of a version 2 package does not start on a page.
    Unaligned(Part),
}

impl fmt::Display for PackageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("package: ")?;
        match self {
            Self::Truncated => {
                f.write_str("the header is truncated: load all of the package at load_address")
            }
            Self::BadMagic(magic) => write!(
                f,
                "the magic is {magic:#010x}: load a package made by sptool (SPKG) at load_address"
            ),
            Self::TransferList => f.write_str(
                "this is a transfer list, which is not supported: make the package with sptool",
            ),
            Self::BadVersion(version) => {
                write!(f, "version {version} is not supported: write 1 or 2")
            }
            Self::Empty(part) => write!(f, "the {part} is empty: put it into the package"),
            Self::OutOfBounds(part) => write!(
                f,
                "the {part} leaves the partition's memory: raise mem_size or make it smaller"
            ),
            Self::Overlap(part) => write!(
                f,
                "the {part} overlaps what stands before it: order header, manifest, image"
            ),
            Self::Unaligned(part) => {
                write!(
                    f,
                    "the {part} is not page-aligned: move it to a multiple of 0x1000"
                )
            }
        }
    }
}

impl core::error::Error for PackageError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header: magic, version, manifest offset and size, image offset and size.
    fn header(cells: [u32; 6]) -> Vec<u8> {
        cells.iter().flat_map(|cell| cell.to_le_bytes()).collect()
    }

    const V2: [u32; 6] = [MAGIC, 2, 0x1000, 0x800, 0x4000, 0x2_0000];
    const LIMIT: u64 = 0x10_0000;

    fn with(index: usize, value: u32) -> Result<Package, PackageError> {
        let mut cells = V2;
        cells[index] = value;
        Package::parse(&header(cells), LIMIT)
    }

    #[test]
    fn b50_version_2_is_read() {
        let package = Package::parse(&header(V2), LIMIT).unwrap();
        assert_eq!(package.version, PackageVersion::V2);
        assert_eq!(
            package.manifest,
            Range {
                base: 0x1000,
                size: 0x800
            }
        );
        assert_eq!(
            package.image,
            Range {
                base: 0x4000,
                size: 0x2_0000
            }
        );
        assert_eq!(package.boot_info_space(), 0x1000);
        assert_eq!(header(V2)[..4], *b"SPKG");
    }

    #[test]
    fn b50_version_1_has_the_manifest_behind_the_header() {
        let package =
            Package::parse(&header([MAGIC, 1, 24, 0x800, 0x1000, 0x1000]), LIMIT).unwrap();
        assert_eq!(package.version, PackageVersion::V1);
        assert_eq!(package.manifest.base, 24);
        assert_eq!(package.boot_info_space(), 0);
        let inside = header([MAGIC, 1, 23, 0x800, 0x1000, 0x1000]);
        assert_eq!(
            Package::parse(&inside, LIMIT),
            Err(PackageError::Overlap(Part::Manifest))
        );
    }

    #[test]
    fn p16_truncated_at_every_byte() {
        for length in 0..HEADER_SIZE {
            let bytes = header(V2);
            assert_eq!(
                Package::parse(&bytes[..length], LIMIT),
                Err(PackageError::Truncated)
            );
        }
    }

    #[test]
    fn p16_every_wrong_field_has_its_own_error() {
        use Part::{Image, Manifest};
        for (index, value, error) in [
            (0, MAGIC ^ 1, PackageError::BadMagic(MAGIC ^ 1)),
            (0, TRANSFER_LIST, PackageError::TransferList),
            (1, 0, PackageError::BadVersion(0)),
            (1, 3, PackageError::BadVersion(3)),
            (2, 0, PackageError::Overlap(Manifest)),
            (2, 24, PackageError::Overlap(Manifest)),
            (2, 0x1001, PackageError::Unaligned(Manifest)),
            (2, u32::MAX, PackageError::OutOfBounds(Manifest)),
            (3, 0, PackageError::Empty(Manifest)),
            (3, u32::MAX, PackageError::OutOfBounds(Manifest)),
            (3, 0x3001, PackageError::Overlap(Image)),
            (4, 0x1000, PackageError::Overlap(Image)),
            (4, 0x4800, PackageError::Unaligned(Image)),
            (4, u32::MAX, PackageError::OutOfBounds(Image)),
            (5, 0, PackageError::Empty(Image)),
            (5, 0xf_c001, PackageError::OutOfBounds(Image)),
            (5, u32::MAX, PackageError::OutOfBounds(Image)),
        ] {
            assert_eq!(with(index, value), Err(error), "field {index} = {value:#x}");
            assert!(error.to_string().starts_with("package: "));
        }
        assert!(with(5, 0xf_c000).is_ok());
        assert!(with(3, 0x3000).is_ok());
    }

    #[test]
    fn p16_every_single_bit_flip_is_refused_or_stays_within_the_limit() {
        for bit in 0..HEADER_SIZE * 8 {
            let mut bytes = header(V2);
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(package) = Package::parse(&bytes, LIMIT) {
                assert!(package.manifest.end() <= package.image.base);
                assert!(package.image.end() <= LIMIT);
            }
        }
    }
}
