// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors that are right, or nearly so.

use bulkhead_abi::Version;
use bulkhead_abi::memory::Kind;

use crate::input::Input;

/// A number that is `usual` unless the input says otherwise.
fn field(input: &mut Input<'_>, usual: u64) -> u64 {
    match input.byte() {
        0..=0xf7 => usual,
        _ => input.number(),
    }
}

fn put(bytes: &mut Vec<u8>, value: u64, length: usize) {
    bytes.extend(&value.to_le_bytes()[..length]);
}

/// Constituents, mostly with few pages.
pub fn constituents(input: &mut Input<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..input.byte() % 6 {
        let address = u64::from(input.half()) << 12;
        constituent(input, &mut bytes, address);
    }
    if input.byte() == 0xff {
        bytes.truncate(bytes.len() - bytes.len().min(5));
    }
    bytes
}

fn constituent(input: &mut Input<'_>, bytes: &mut Vec<u8>, address: u64) -> u64 {
    let count = u64::from(input.byte() % 4) + 1;
    let count = field(input, count);
    let address = field(input, address);
    put(bytes, address, 8);
    put(bytes, count, 4);
    let reserved = field(input, 0);
    put(bytes, reserved, 4);
    count & 0xffff_ffff
}

/// A composite descriptor with its constituents.
fn composite(input: &mut Input<'_>, bytes: &mut Vec<u8>) {
    let count = u64::from(input.byte() % 5) + u64::from(input.byte() < 0xf0);
    let mut ranges = Vec::new();
    let mut pages = 0;
    for _ in 0..count {
        let address = u64::from(input.half()) << 12;
        pages += constituent(input, &mut ranges, address);
    }
    let pages = field(input, pages);
    put(bytes, pages, 4);
    let count = field(input, count);
    put(bytes, count, 4);
    let reserved = field(input, 0);
    put(bytes, reserved, 8);
    bytes.extend(ranges);
}

/// The 32-bit number at `at`.
fn number(bytes: &[u8], at: usize) -> u64 {
    let field = bytes
        .get(at..at + 4)
        .and_then(|field| field.try_into().ok());
    field.map_or(0, |field| u64::from(u32::from_le_bytes(field)))
}

/// The first fragment of a transaction descriptor, and the length of all of it.
pub fn transaction(input: &mut Input<'_>, version: Version, kind: Kind) -> (Vec<u8>, u32) {
    let mut bytes = Vec::new();
    if input.byte() >= 0xf0 {
        let total = input.word();
        bytes.extend(input.take(512));
        return (bytes, total);
    }
    let old = version == Version::V1_0;
    let count = u64::from(input.byte() % 4);
    let wide = version >= Version::V1_2 && input.byte() & 3 != 0;
    let size: usize = if wide { 32 } else { 16 };
    let header: usize = if old { 32 } else { 48 };
    let gap = if old {
        0
    } else {
        usize::from(input.byte() % 8 / 7) * 16
    };
    let receivers = header + gap;
    let end = receivers + size * usize::try_from(count).expect("small");
    let composite_gap = usize::from(input.byte() % 8 / 7) * 8;
    // Now and then the composite descriptor is said to be in the receivers.
    let nested = kind != Kind::RetrieveRequest && count != 0 && input.byte() >= 0xf8;
    let composite_at = if kind == Kind::RetrieveRequest {
        0
    } else {
        end + composite_gap
    };
    let composite_at = if nested { end - 16 } else { composite_at };

    let sender = u64::from(input.half());
    put(&mut bytes, sender, 2);
    let attributes = input.choose(&[0_u64, 0x2f, 0x25, 0x10, 0x1c, 0x2e, 0x21, 0x30, 0x6f, 0x80]);
    let attributes = field(input, attributes);
    put(&mut bytes, attributes, if old { 1 } else { 2 });
    if old {
        let reserved = field(input, 0);
        put(&mut bytes, reserved, 1);
    }
    let flags = input.choose(&[0_u64, 1, 3, 8, 0x10, 0x7ff, 0x800]);
    let flags = field(input, flags);
    put(&mut bytes, flags, 4);
    let handle = if kind == Kind::Send { 0 } else { input.long() };
    let handle = field(input, handle);
    put(&mut bytes, handle, 8);
    let tag = if count == 0 { 0 } else { input.long() };
    put(&mut bytes, tag, 8);
    // Now and then the receivers are said to be in the header.
    let inside = !old && kind == Kind::RetrieveRequest && input.byte() >= 0xf8;
    let (count, receivers) = if inside { (1, 32) } else { (count, receivers) };
    let array = [
        if old {
            0
        } else {
            u64::try_from(size).expect("small")
        },
        count,
        u64::try_from(receivers).expect("small"),
        0,
        0,
        0,
    ];
    for value in &array[..if old { 2 } else { 6 }] {
        let value = field(input, *value);
        put(&mut bytes, value, 4);
    }
    bytes.resize(receivers.max(header), 0);
    for _ in 0..if inside { 0 } else { count } {
        let endpoint = u64::from(input.half());
        put(&mut bytes, endpoint, 2);
        let permissions = input.choose(&[6_u64, 0, 1, 2, 5, 0xa, 9, 3, 0xc, 0x10]);
        let permissions = field(input, permissions);
        put(&mut bytes, permissions, 1);
        let flags = field(input, 0);
        put(&mut bytes, flags, 1);
        let offset = field(input, u64::try_from(composite_at).expect("small"));
        put(&mut bytes, offset, 4);
        if wide {
            let value = input.long();
            put(&mut bytes, value, 8);
            put(&mut bytes, value, 8);
        }
        let reserved = field(input, 0);
        put(&mut bytes, reserved, 8);
    }
    if composite_at != 0 && count != 0 && !nested {
        bytes.resize(composite_at, 0);
        composite(input, &mut bytes);
    }
    for _ in 0..input.byte() % 16 / 14 {
        let at = usize::from(input.half()) % bytes.len();
        bytes[at] = input.byte();
    }
    let total = u64::try_from(bytes.len()).expect("small");
    let total = if nested {
        let announced = number(&bytes, composite_at + 4);
        total + announced * 16
    } else {
        total
    };
    let total = field(input, total);
    if input.byte() >= 0xc0 {
        // A first fragment.
        let cut = usize::from(input.byte() % 6) * 16;
        bytes.truncate(bytes.len() - bytes.len().min(cut));
    }
    (bytes, u32::try_from(total & 0xffff_ffff).expect("32 bits"))
}

/// The descriptor of a VM's RX and TX buffers.
pub fn endpoint_buffers(input: &mut Input<'_>) -> Vec<u8> {
    let mut rx = Vec::new();
    composite(input, &mut rx);
    let mut tx = Vec::new();
    composite(input, &mut tx);
    let start = input.choose(&[12, 16, 12, 32]);
    let mut bytes = Vec::new();
    let endpoint = u64::from(input.half());
    put(&mut bytes, endpoint, 2);
    let reserved = field(input, 0);
    put(&mut bytes, reserved, 2);
    let rx_offset = field(input, start);
    put(&mut bytes, rx_offset, 4);
    let tx_offset = field(input, start + u64::try_from(rx.len()).expect("small"));
    put(&mut bytes, tx_offset, 4);
    bytes.resize(usize::try_from(start).expect("small"), 0);
    bytes.extend(rx);
    bytes.extend(tx);
    bytes
}
