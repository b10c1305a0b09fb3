// SPDX-License-Identifier: MIT OR Apache-2.0
//! Transfer lists as packages (B-51): accepted exactly if a second walk accepts them, with the same
//! parts.

use bulkhead_manifest::Range;
use bulkhead_manifest::package::{Package, PackageFormat};

use crate::input::Input;

const SIGNATURE: u32 = 0x4a0f_b10b;
const HOB_LIST: u32 = 3;
const SP_BINARY: u32 = 0x103;
const FFA_MANIFEST: u32 = 0x106;

/// Runs the target: how the list is made, then its bytes or its entries.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = input.byte();
    let mut bytes = if choice & 1 == 0 {
        generate(&mut input)
    } else {
        input.take(0x4000).to_vec()
    };
    if choice & 2 == 0 {
        correct_checksum(&mut bytes);
    }
    let length = u64::try_from(bytes.len()).expect("small");
    let limit = if choice & 0x1c == 0x1c {
        input.number()
    } else {
        length
    };
    let parsed = Package::parse(&bytes, limit);
    if !bytes.starts_with(&SIGNATURE.to_le_bytes()) {
        return;
    }
    let expected = accepts(&bytes, limit);
    match (&parsed, expected) {
        (Ok(package), Some([manifest, image, hob_list])) => {
            assert_eq!(package.format, PackageFormat::TransferList);
            assert_eq!(Some(package.manifest), manifest);
            assert_eq!(Some(package.image), image);
            assert_eq!(package.hob_list, hob_list);
            let first = [manifest, image, hob_list]
                .into_iter()
                .flatten()
                .map(|part| part.base)
                .min();
            assert_eq!(Some(package.boot_info_space()), first);
        }
        (Err(error), None) => assert!(!error.to_string().is_empty()),
        (parsed, expected) => panic!("{parsed:?} and {expected:?}"),
    }
}

/// Sets the checksum so that the announced bytes add up to zero.
fn correct_checksum(bytes: &mut [u8]) {
    if bytes.len() < 24 {
        return;
    }
    let size = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    let size = usize::try_from(size).expect("32 bits").min(bytes.len());
    let sum = bytes[..size]
        .iter()
        .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    bytes[4] = bytes[4].wrapping_sub(sum);
}

fn field(input: &mut Input<'_>, usual: u64) -> u64 {
    match input.byte() {
        0..=0xf9 => usual,
        _ => input.number(),
    }
}

/// Entries in an order of the input's, manifest and image on pages.
fn generate(input: &mut Input<'_>) -> Vec<u8> {
    let header_size = field(input, 24);
    let mut bytes = vec![0; 24];
    for index in 0..input.byte() % 6 {
        let usual = [FFA_MANIFEST, SP_BINARY, HOB_LIST, 0, 0x42, FFA_MANIFEST][usize::from(index)];
        let tag = match input.byte() {
            0..=0xdf => usual,
            byte => [HOB_LIST, SP_BINARY, FFA_MANIFEST, 0][usize::from(byte % 4)],
        };
        let on_page = tag != HOB_LIST && input.byte() < 0xf8;
        let start = bytes.len().next_multiple_of(8);
        let data_at = if on_page {
            (start + 8).next_multiple_of(0x1000)
        } else {
            start + 8
        };
        let void = data_at - 8 - start;
        bytes.resize(start, 0);
        if void >= 8 {
            // An empty entry up to the page.
            bytes.extend([0, 0, 0, 8]);
            bytes.extend(u32::try_from(void - 8).expect("small").to_le_bytes());
            bytes.resize(data_at - 8, 0);
        }
        let header = field(input, 8) & 0xff;
        bytes.extend(&tag.to_le_bytes()[..3]);
        bytes.push(header.to_le_bytes()[0]);
        let length = usize::from(input.byte());
        let said = field(input, u64::try_from(length).expect("small"));
        bytes.extend(&said.to_le_bytes()[..4]);
        bytes.resize(bytes.len() + length, input.byte());
    }
    let size = u64::try_from(bytes.len()).expect("small");
    let size = field(input, size);
    let maximum = field(input, size);
    let flags = input.choose(&[1_u32, 0, 1, 0xffff_ffff]);
    bytes[..4].copy_from_slice(&SIGNATURE.to_le_bytes());
    bytes[5] = field(input, 1).to_le_bytes()[0];
    bytes[6] = header_size.to_le_bytes()[0];
    bytes[7] = field(input, 12).to_le_bytes()[0];
    bytes[8..12].copy_from_slice(&size.to_le_bytes()[..4]);
    bytes[12..16].copy_from_slice(&maximum.to_le_bytes()[..4]);
    bytes[16..20].copy_from_slice(&flags.to_le_bytes());
    bytes
}

/// Manifest, image and hand-off block list of a list that is right.
fn accepts(bytes: &[u8], limit: u64) -> Option<[Option<Range>; 3]> {
    let number = |at: u64, length: usize| -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        let field = bytes.get(at..)?.get(..length)?;
        Some(
            field
                .iter()
                .rev()
                .fold(0, |number, byte| number << 8 | u64::from(*byte)),
        )
    };
    let ensure = |condition: bool| condition.then_some(());
    ensure(limit >= 24)?;
    let (size, maximum, flags) = (number(8, 4)?, number(12, 4)?, number(16, 4)?);
    number(20, 4)?;
    let header = number(6, 1)?;
    ensure(number(5, 1)? == 1 && header >= 24 && header % 8 == 0)?;
    ensure((3..=31).contains(&number(7, 1)?))?;
    ensure(header <= size && size <= maximum && size <= limit)?;
    if flags & 1 != 0 {
        let all = bytes.get(..usize::try_from(size).ok()?)?;
        let sum: u64 = all.iter().map(|byte| u64::from(*byte)).sum();
        ensure(sum.is_multiple_of(256))?;
    }
    let mut parts = [None; 3];
    let (mut at, mut count) = (header, 0);
    while at < size {
        count += 1;
        ensure(count <= 1024 && at + 8 <= size)?;
        let (tag, entry, length) = (number(at, 3)?, number(at + 3, 1)?, number(at + 4, 4)?);
        let base = at + entry;
        ensure(entry >= 8 && base + length <= size)?;
        // The binary is the last.
        ensure(parts[1].is_none_or(|image: Range| image.base >= base))?;
        let slot = match u32::try_from(tag).ok()? {
            FFA_MANIFEST => Some(0),
            SP_BINARY => Some(1),
            HOB_LIST => Some(2),
            _ => None,
        };
        if let Some(slot) = slot {
            ensure(parts[slot].is_none())?;
            parts[slot] = Some(Range { base, size: length });
        }
        at = (base + length).next_multiple_of(8);
    }
    let [manifest, image, hob_list] = parts;
    ensure(manifest?.size > 0 && manifest?.base % 4096 == 0)?;
    ensure(image?.size > 0 && image?.base % 4096 == 0)?;
    ensure(hob_list.is_none_or(|list| list.base % 8 == 0))?;
    Some([manifest, image, hob_list.filter(|list| list.size > 0)])
}
