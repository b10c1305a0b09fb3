// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packages that are transfer lists (B-51, P16).

#[path = "fixture/packages.rs"]
#[allow(dead_code, reason = "each test program uses its part of this module")]
mod packages;

use bulkhead_manifest::package::Part;
use bulkhead_manifest::{ListError, Package, PackageError, PackageFormat, Range};
use packages::{List, TAG_BINARY, TAG_HOB_LIST, TAG_MANIFEST, TAG_VOID, sum_up, transfer_list};

const LIMIT: u64 = 0x10_0000;
const MANIFEST: [u8; 100] = [0xd0; 100];
const HOBS: [u8; 48] = [0x48; 48];
const IMAGE: [u8; 3000] = [0x14; 3000];

fn good() -> Vec<u8> {
    transfer_list(&MANIFEST, &HOBS, &IMAGE)
}

fn parse(bytes: &[u8]) -> Result<Package, PackageError> {
    Package::parse(bytes, LIMIT)
}

fn range(base: u64, size: u64) -> Range {
    Range::new(base, size).unwrap()
}

/// The good list with some bytes written over, and its checksum corrected.
fn with(offset: usize, value: &[u8]) -> Result<Package, PackageError> {
    let mut bytes = good();
    bytes[offset..offset + value.len()].copy_from_slice(value);
    sum_up(&mut bytes);
    parse(&bytes)
}

fn refused(result: Result<Package, PackageError>, error: ListError) {
    assert_eq!(result, Err(PackageError::List(error)));
    let text = PackageError::List(error).to_string();
    assert!(text.starts_with("package: transfer list: "), "{text}");
    assert!(text.contains(" [BadPackage]: "), "{text}");
}

#[test]
fn b51_manifest_hob_list_and_binary_are_found() {
    let package = parse(&good()).unwrap();
    assert_eq!(package.format, PackageFormat::TransferList);
    assert_eq!(package.manifest, range(0x1000, 100));
    assert_eq!(package.hob_list, Some(range(0x1070, 48)));
    assert_eq!(package.image, range(0x2000, 3000));
    // The first page becomes the boot information.
    assert_eq!(package.boot_info_space(), 0x1000);
}

#[test]
fn b51_the_first_bytes_are_those_of_the_handoff_specification() {
    let bytes = good();
    assert_eq!(bytes[..4], [0x0b, 0xb1, 0x0f, 0x4a]);
    // Version 1, a header of 24 bytes, pages as the largest alignment.
    assert_eq!(bytes[5..8], [1, 24, 12]);
    // The first entry: void, tag 0, a header of 8 bytes, up to the manifest's header at 0xff8.
    assert_eq!(bytes[24..32], [0, 0, 0, 8, 0xd8, 0x0f, 0, 0]);
    assert_eq!(bytes[0xff8..0x1000], [6, 1, 0, 8, 100, 0, 0, 0]);
}

#[test]
fn b51_void_and_foreign_entries_are_stepped_over_and_the_hob_list_is_optional() {
    let list = List::new()
        .entry(TAG_VOID, &[])
        .entry(0x00ff_ffff, &[1, 2, 3])
        .raw(0x105, 16, &[7; 5])
        .page_entry(TAG_MANIFEST, &MANIFEST)
        .entry(TAG_VOID, &[0xff; 9])
        .page_entry(TAG_BINARY, &IMAGE);
    let package = parse(&list.finish()).unwrap();
    assert_eq!(package.manifest, range(0x1000, 100));
    assert_eq!(package.hob_list, None);
    assert_eq!(package.image, range(0x2000, 3000));
}

#[test]
fn b51_a_hob_list_in_the_first_page_leaves_no_page_for_boot_information() {
    let list = List::new()
        .entry(TAG_HOB_LIST, &HOBS)
        .page_entry(TAG_MANIFEST, &MANIFEST)
        .page_entry(TAG_BINARY, &IMAGE);
    let package = parse(&list.finish()).unwrap();
    assert_eq!(package.boot_info_space(), 32);
}

#[test]
fn b51_without_the_checksum_flag_the_bytes_are_not_added_up() {
    let mut bytes = good();
    bytes[16] = 0;
    bytes[4] = 0x55;
    assert!(parse(&bytes).is_ok());
}

#[test]
fn p16_truncated_at_every_byte() {
    let bytes = good();
    for length in 0..bytes.len() {
        assert_eq!(
            parse(&bytes[..length]),
            Err(PackageError::Truncated),
            "{length}"
        );
    }
}

#[test]
fn p16_every_wrong_field_of_the_header_has_its_own_error() {
    let size = u32::try_from(good().len()).unwrap();
    for version in [0, 2, 0xff] {
        refused(with(5, &[version]), ListError::Version(version));
    }
    for header_size in [0, 8, 23, 25, 31] {
        refused(with(6, &[header_size]), ListError::HeaderSize(header_size));
    }
    for order in [0, 2, 32, 64, 0xff] {
        refused(with(7, &[order]), ListError::Alignment(order));
    }
    for wrong in [0, 23, size + 1, u32::MAX] {
        refused(with(8, &wrong.to_le_bytes()), ListError::Size(wrong));
    }
    refused(with(12, &(size - 1).to_le_bytes()), ListError::Size(size));
    let outside = [u32::MAX.to_le_bytes(), u32::MAX.to_le_bytes()].concat();
    refused(with(8, &outside), ListError::OutOfBounds(u32::MAX));
    assert_eq!(
        Package::parse(&good(), u64::from(size) - 1),
        Err(PackageError::List(ListError::OutOfBounds(size)))
    );
    assert!(Package::parse(&good(), u64::from(size)).is_ok());
}

#[test]
fn p16_every_single_bit_flip_breaks_the_checksum_or_is_named_or_changes_nothing() {
    let good = good();
    let package = parse(&good).unwrap();
    let mut bytes = good.clone();
    let mut by_checksum = 0;
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        match parse(&bytes) {
            Err(PackageError::List(ListError::Checksum(sum))) => {
                assert_ne!(sum, 0);
                by_checksum += 1;
            }
            Err(_) => assert!(bit / 8 < 24, "bit {bit}"),
            // The flag of the checksum, and nothing else, goes unnoticed.
            Ok(flipped) => assert_eq!((bit, flipped), (16 * 8, package)),
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(by_checksum > (bytes.len() - 24) * 8);
}

#[test]
fn p16_sizes_of_entries_that_wrap_or_leave_the_list_are_refused() {
    let manifest_entry = 0xff8;
    for size in [u32::MAX, u32::MAX - 7, 0x8000_0000, 0x2000] {
        let result = with(manifest_entry + 4, &size.to_le_bytes());
        refused(result, ListError::EntryOutOfBounds(0xff8));
    }
    for header_size in [0, 1, 7] {
        refused(
            with(manifest_entry + 3, &[header_size]),
            ListError::EntryHeader(0xff8),
        );
    }
    // Less than an entry's header is left at the end.
    let mut bytes = good();
    bytes.extend([0; 4]);
    let size = u32::try_from(bytes.len()).unwrap().to_le_bytes();
    bytes[8..12].copy_from_slice(&size);
    bytes[12..16].copy_from_slice(&size);
    sum_up(&mut bytes);
    refused(parse(&bytes), ListError::EntryOutOfBounds(0x2bb8));
}

#[test]
fn p16_parts_that_are_missing_empty_twice_or_behind_the_binary_are_refused() {
    let manifest = || List::new().page_entry(TAG_MANIFEST, &MANIFEST);
    refused(
        parse(&List::new().page_entry(TAG_BINARY, &IMAGE).finish()),
        ListError::Missing(Part::Manifest),
    );
    refused(parse(&manifest().finish()), ListError::Missing(Part::Image));
    refused(
        parse(&List::new().finish()),
        ListError::Missing(Part::Manifest),
    );
    let two = manifest()
        .page_entry(TAG_MANIFEST, &MANIFEST)
        .page_entry(TAG_BINARY, &IMAGE);
    refused(
        parse(&two.finish()),
        ListError::Twice(Part::Manifest, 0x1ff8),
    );
    let two = manifest()
        .entry(TAG_HOB_LIST, &HOBS)
        .entry(TAG_HOB_LIST, &HOBS);
    refused(
        parse(&two.finish()),
        ListError::Twice(Part::HobList, 0x10a0),
    );
    let two = manifest()
        .page_entry(TAG_BINARY, &IMAGE)
        .page_entry(TAG_BINARY, &IMAGE);
    assert!(matches!(
        parse(&two.finish()),
        // The void entry before the second binary stands behind the first.
        Err(PackageError::List(ListError::BinaryNotLast(0x2bb8)))
    ));
    let two = manifest()
        .page_entry(TAG_BINARY, &IMAGE)
        .entry(TAG_BINARY, &IMAGE);
    refused(parse(&two.finish()), ListError::Twice(Part::Image, 0x2bb8));
    for tag in [TAG_VOID, TAG_HOB_LIST, 0x105] {
        let behind = manifest().page_entry(TAG_BINARY, &IMAGE).entry(tag, &HOBS);
        refused(parse(&behind.finish()), ListError::BinaryNotLast(0x2bb8));
    }
    let empty = manifest().page_entry(TAG_BINARY, &[]);
    assert_eq!(
        parse(&empty.finish()),
        Err(PackageError::Empty(Part::Image))
    );
    let empty = List::new()
        .page_entry(TAG_MANIFEST, &[])
        .page_entry(TAG_BINARY, &IMAGE);
    assert_eq!(
        parse(&empty.finish()),
        Err(PackageError::Empty(Part::Manifest))
    );
}

#[test]
fn p16_parts_that_are_not_aligned_are_refused() {
    let list = List::new()
        .entry(TAG_MANIFEST, &MANIFEST)
        .page_entry(TAG_BINARY, &IMAGE);
    assert_eq!(
        parse(&list.finish()),
        Err(PackageError::Unaligned(Part::Manifest))
    );
    let list = List::new()
        .page_entry(TAG_MANIFEST, &MANIFEST)
        .entry(TAG_BINARY, &IMAGE);
    assert_eq!(
        parse(&list.finish()),
        Err(PackageError::Unaligned(Part::Image))
    );
    let list = List::new()
        .page_entry(TAG_MANIFEST, &MANIFEST)
        .raw(TAG_HOB_LIST, 9, &HOBS)
        .page_entry(TAG_BINARY, &IMAGE);
    assert_eq!(
        parse(&list.finish()),
        Err(PackageError::Unaligned(Part::HobList))
    );
}

#[test]
fn p16_a_list_of_many_entries_is_refused_at_the_limit() {
    let mut list = List::new();
    for _ in 0..1025 {
        list = list.entry(TAG_VOID, &[]);
    }
    refused(parse(&list.finish()), ListError::TooManyEntries);
}

#[test]
fn p16_nothing_beyond_the_limit_is_read() {
    let bytes = good();
    let limit = u64::try_from(bytes.len()).unwrap();
    let read = Package::read::<PackageError>(limit, |offset, to| {
        let start = usize::try_from(offset).unwrap();
        assert!(start + to.len() <= bytes.len() && !to.is_empty());
        to.copy_from_slice(&bytes[start..start + to.len()]);
        Ok(())
    });
    assert_eq!(read, parse(&bytes));
}

#[test]
fn p16_what_the_memory_fails_with_is_handed_on() {
    #[derive(PartialEq, Eq, Debug)]
    enum Failure {
        Memory,
        Package(PackageError),
    }
    impl From<PackageError> for Failure {
        fn from(error: PackageError) -> Self {
            Self::Package(error)
        }
    }
    let bytes = good();
    for fails_at in [0, 1, 2, 5] {
        let mut reads = 0;
        let result = Package::read(LIMIT, |offset, to| {
            let start = usize::try_from(offset).unwrap();
            to.copy_from_slice(&bytes[start..start + to.len()]);
            reads += 1;
            if reads > fails_at {
                Err(Failure::Memory)
            } else {
                Ok(())
            }
        });
        assert_eq!(result, Err(Failure::Memory), "{fails_at}");
    }
    assert_eq!(
        Package::read(23, |_, _| Ok(())),
        Err(Failure::Package(PackageError::Truncated))
    );
}
