// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rules of transaction descriptors a second time, field by field, in wide arithmetic.

use bulkhead_abi::Version;
use bulkhead_abi::memory::Kind;

/// The little-endian number of `length` bytes at `at`.
fn number(bytes: &[u8], at: u128, length: usize) -> Option<u128> {
    let at = usize::try_from(at).ok()?;
    let field = bytes.get(at..)?.get(..length)?;
    Some(
        field
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u128::from(*byte)),
    )
}

fn ensure(condition: bool) -> Option<()> {
    condition.then_some(())
}

fn attributes_are_right(bits: u128) -> bool {
    bits >> 7 == 0
        && match bits >> 4 & 3 {
            0 | 1 => true,
            2 => bits & 4 != 0 && bits & 3 != 1,
            _ => false,
        }
}

/// `Some` if the descriptor is right.
pub fn accepts(version: Version, bytes: &[u8], total: u32, kind: Kind, maximum: u32) -> Option<()> {
    let length = u128::try_from(bytes.len()).ok()?;
    let total = u128::from(total);
    let old = version == Version::V1_0;
    let header = if old { 32 } else { 48 };
    let field = |at, length| number(bytes, at, length);
    ensure(length <= total && length >= header)?;
    let attributes = field(2, if old { 1 } else { 2 })?;
    let (flags, handle, tag) = (field(4, 4)?, field(8, 8)?, field(16, 8)?);
    let reserved = if old {
        field(3, 1)? + field(24, 4)?
    } else {
        field(36, 4)? + field(40, 8)?
    };
    let (size, count, offset) = if old {
        (16, field(28, 4)?, 32)
    } else {
        (field(24, 4)?, field(28, 4)?, field(32, 4)?)
    };
    ensure(reserved == 0 && attributes_are_right(attributes))?;
    let defined = match kind {
        Kind::Send => 0b11,
        Kind::RetrieveRequest => 0x7ff,
        Kind::RetrieveResponse => 0x1f,
    };
    ensure(flags & !defined == 0)?;
    ensure(kind != Kind::Send || handle == 0)?;
    ensure(kind == Kind::RetrieveResponse || attributes & 0x40 == 0)?;
    if count == 0 && kind == Kind::RetrieveRequest {
        let default = if version >= Version::V1_2 { 32 } else { 16 };
        let place = (size, offset) == (0, 0) || (size, offset) == (default, header);
        return ensure(place && attributes >> 4 == 0 && flags == 0 && tag == 0 && length == total);
    }
    ensure(count >= 1 && count <= u128::from(maximum))?;
    ensure(size == 16 || version >= Version::V1_2 && size == 32)?;
    ensure(offset >= header && offset % 16 == 0)?;
    let end = offset + count * size;
    ensure(end <= length)?;
    let composite = field(offset + 4, 4)?;
    for index in 0..count {
        let at = offset + index * size;
        let permissions = field(at + 2, 1)?;
        ensure(permissions < 0x10 && permissions & 3 != 3 && permissions & 0xc != 0xc)?;
        ensure(field(at + 3, 1)? <= u128::from(kind != Kind::Send))?;
        ensure(field(at + 4, 4)? == composite)?;
        ensure(field(at + size - 8, 8)? == 0)?;
    }
    if kind == Kind::RetrieveRequest {
        return ensure(composite == 0 && length == end && total == end);
    }
    ensure(composite >= end && composite % 8 == 0 && composite + 16 <= length)?;
    let (mut pages, mut ranges) = (field(composite, 4)?, field(composite + 4, 4)?);
    ensure(field(composite + 8, 8)? == 0 && ranges >= 1 && pages >= ranges)?;
    ensure(total == composite + 16 + ranges * 16)?;
    let mut at = composite + 16;
    while at < length {
        let (address, count) = (field(at, 8)?, field(at + 8, 4)?);
        ensure(field(at + 12, 4)? == 0 && count >= 1 && address % 4096 == 0)?;
        ensure(address + count * 4096 <= 1 << 52 && pages >= count && ranges >= 1)?;
        pages -= count;
        ranges -= 1;
        at += 16;
    }
    ensure(at == length && pages >= ranges && (ranges > 0 || pages == 0))
}
