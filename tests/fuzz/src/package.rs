// SPDX-License-Identifier: MIT OR Apache-2.0
//! Partition packages: the parts of an accepted one are where its header says, in order, and
//! within the limit (P16).

use bulkhead_manifest::package::{HEADER_SIZE, Package, PackageFormat};

use crate::input::Input;

/// Runs the target: a 32-bit limit, then the bytes at the load address.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let limit = u64::from(input.word());
    let bytes = input.take(usize::MAX);
    let package = match Package::parse(bytes, limit) {
        Ok(package) => package,
        Err(error) => {
            assert!(error.to_string().contains(": "));
            return;
        }
    };
    if package.format == PackageFormat::TransferList {
        // The target transfer_list's.
        return;
    }
    let cell = |index: usize| {
        let at = index * 4;
        let bytes = bytes[at..at + 4].try_into().expect("four bytes");
        u64::from(u32::from_le_bytes(bytes))
    };
    assert_eq!(&bytes[..4], b"SPKG");
    let (manifest, image) = (package.manifest, package.image);
    assert_eq!([manifest.base, manifest.size], [cell(2), cell(3)]);
    assert_eq!([image.base, image.size], [cell(4), cell(5)]);
    assert!(manifest.size > 0 && image.size > 0);
    assert!(manifest.base + manifest.size <= image.base);
    assert!(image.base + image.size <= limit);
    match package.format {
        PackageFormat::SpkgV1 => {
            assert_eq!(cell(1), 1);
            assert!(manifest.base >= u64::try_from(HEADER_SIZE).expect("small"));
            assert_eq!(package.boot_info_space(), 0);
        }
        PackageFormat::SpkgV2 => {
            assert_eq!(cell(1), 2);
            assert_eq!((manifest.base % 0x1000, image.base % 0x1000), (0, 0));
            assert_eq!(package.boot_info_space(), manifest.base);
            assert!(manifest.base >= 0x1000);
        }
        PackageFormat::TransferList => unreachable!("the first bytes are SPKG"),
    }
}
