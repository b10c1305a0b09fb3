// SPDX-License-Identifier: MIT OR Apache-2.0
//! Partition packages: where in the loaded bytes the manifest and the image are (B-50, B-51, P16).

mod list;

use core::fmt;

use zerocopy::byteorder::little_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::range::Range;

pub use list::ListError;

/// "SPKG" in memory order.
const MAGIC: u32 = 0x474b_5053;
const PAGE: u64 = 0x1000;

/// The bytes that a package has at least: the header of either format.
pub const HEADER_SIZE: usize = size_of::<Header>();
/// What the boot information may take of a package, in bytes: its first page.
pub const BOOT_INFO_SIZE: u64 = PAGE;

/// The header of an SPKG package: 24 bytes, little-endian.
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

/// The format of a package.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PackageFormat {
    /// SPKG version 1: the manifest follows the header.
    SpkgV1,
    /// SPKG version 2, page-aligned: header and boot information, manifest, image.
    SpkgV2,
    /// A transfer list (B-51).
    TransferList,
}

/// A package whose headers are right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Package {
    /// The format.
    pub format: PackageFormat,
    /// The manifest: offset from the load address, and length.
    pub manifest: Range,
    /// The image: offset from the load address, and length.
    pub image: Range,
    /// The hand-off block list, if the package brings one: offset from the load address, and length.
    pub hob_list: Option<Range>,
}

impl Package {
    /// Parses the package at the start of `bytes`, of which an SPKG header may be all and a transfer list
    /// needs as many as it says. Its parts lie within `loaded_len_limit` bytes of the load address: the
    /// partition's memory size.
    ///
    /// # Errors
    /// Which field is wrong.
    pub fn parse(bytes: &[u8], loaded_len_limit: u64) -> Result<Self, PackageError> {
        Self::read(loaded_len_limit, |offset, to| {
            let start = usize::try_from(offset).map_err(|_| PackageError::Truncated)?;
            let from = start
                .checked_add(to.len())
                .and_then(|end| bytes.get(start..end))
                .ok_or(PackageError::Truncated)?;
            to.copy_from_slice(from);
            Ok(())
        })
    }

    /// [`Package::parse`] for a package that is no slice: `bytes` copies from an offset, and is asked for
    /// nothing beyond `loaded_len_limit`.
    ///
    /// # Errors
    /// Which field is wrong, or what `bytes` failed with.
    pub fn read<E: From<PackageError>>(
        loaded_len_limit: u64,
        mut bytes: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut first = [0; HEADER_SIZE];
        if u64::try_from(HEADER_SIZE).unwrap_or(u64::MAX) > loaded_len_limit {
            return Err(PackageError::Truncated.into());
        }
        bytes(0, &mut first)?;
        let (header, _) = Header::read_from_prefix(&first).map_err(|_| PackageError::Truncated)?;
        match header.magic.get() {
            MAGIC => Ok(from_spkg(&header, loaded_len_limit)?),
            list::SIGNATURE => list::read(&first, loaded_len_limit, &mut bytes),
            magic => Err(PackageError::BadMagic(magic).into()),
        }
    }

    /// The bytes in front of the first part that may hold the boot information; none in SPKG version 1.
    pub fn boot_info_space(&self) -> u64 {
        let hob_list = self.hob_list.map_or(u64::MAX, |range| range.base);
        match self.format {
            PackageFormat::SpkgV1 => 0,
            _ => self.manifest.base.min(self.image.base).min(hob_list),
        }
    }
}

/// Reads an SPKG header (B-50).
fn from_spkg(header: &Header, limit: u64) -> Result<Package, PackageError> {
    let format = match header.version.get() {
        1 => PackageFormat::SpkgV1,
        2 => PackageFormat::SpkgV2,
        version => return Err(PackageError::BadVersion(version)),
    };
    // Two 32-bit numbers cannot leave 64 bits, so what is left to check is the limit.
    let part = |offset: U32, size: U32, part: Part| {
        if size.get() == 0 {
            return Err(PackageError::Empty(part));
        }
        Range::new(u64::from(offset.get()), u64::from(size.get()))
            .filter(|range| range.end() <= limit)
            .ok_or(PackageError::OutOfBounds(part))
    };
    let manifest = part(header.manifest_offset, header.manifest_size, Part::Manifest)?;
    let image = part(header.image_offset, header.image_size, Part::Image)?;
    let header_end = match format {
        PackageFormat::SpkgV1 => u64::try_from(HEADER_SIZE).unwrap_or(u64::MAX),
        // The first page becomes the boot information.
        _ => PAGE,
    };
    if manifest.base < header_end {
        return Err(PackageError::Overlap(Part::Manifest));
    }
    if image.base < manifest.end() {
        return Err(PackageError::Overlap(Part::Image));
    }
    if format == PackageFormat::SpkgV2 {
        for (range, part) in [(manifest, Part::Manifest), (image, Part::Image)] {
            if !range.base.is_multiple_of(PAGE) {
                return Err(PackageError::Unaligned(part));
            }
        }
    }
    Ok(Package {
        format,
        manifest,
        image,
        hob_list: None,
    })
}

/// A part of a package.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The partition manifest (pm_offset, pm_size).
    Manifest,
    /// The image (img_offset, img_size).
    Image,
    /// The hand-off block list of a transfer list.
    HobList,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manifest => "manifest",
            Self::Image => "image",
            Self::HobList => "HOB list",
        })
    }
}

/// Why a package is refused: the rule `BadPackage` of P16, by field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PackageError {
    /// There are fewer bytes than the header has, or than it announces.
    Truncated,
    /// No package starts here.
    BadMagic(u32),
    /// No known revision.
    BadVersion(u32),
    /// A part without a byte.
    Empty(Part),
    /// A part leaves the partition's memory.
    OutOfBounds(Part),
    /// A part starts before the end of what stands before it.
    Overlap(Part),
    /// A part does not start where it must: manifest and image on a page but in SPKG version 1, a HOB list
    /// on a multiple of eight.
    Unaligned(Part),
    /// A rule of transfer lists.
    List(ListError),
}

impl fmt::Display for PackageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("package: ")?;
        match self {
            Self::Truncated => {
                f.write_str("it is truncated [BadPackage]: load all of it at load_address")
            }
            Self::BadMagic(magic) => write!(
                f,
                "the magic is {magic:#010x} [BadPackage]: load an SPKG package or a transfer list at load_address"
            ),
            Self::BadVersion(version) => {
                write!(
                    f,
                    "version {version} is not supported [BadPackage]: write 1 or 2"
                )
            }
            Self::Empty(part) => write!(
                f,
                "the {part} is empty [BadPackage]: put it into the package"
            ),
            Self::OutOfBounds(part) => write!(
                f,
                "the {part} leaves the partition's memory [BadPackage]: raise mem_size or make it smaller"
            ),
            Self::Overlap(part) => write!(
                f,
                "the {part} overlaps what stands before it [BadPackage]: order header, manifest, image"
            ),
            Self::Unaligned(part @ Part::HobList) => {
                write!(
                    f,
                    "the {part} is not aligned [BadPackage]: move it to a multiple of 8"
                )
            }
            Self::Unaligned(part) => write!(
                f,
                "the {part} is not page-aligned [BadPackage]: move it to a multiple of 0x1000"
            ),
            Self::List(error) => error.fmt(f),
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
        assert_eq!(package.format, PackageFormat::SpkgV2);
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
        assert_eq!(package.format, PackageFormat::SpkgV1);
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
            (
                0,
                list::SIGNATURE,
                PackageError::List(ListError::Version(0)),
            ),
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
