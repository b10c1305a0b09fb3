// SPDX-License-Identifier: MIT OR Apache-2.0
//! Register decoding and small descriptors against arm-ffa 0.5.0, where both cover them. Each place
//! where the two may differ says why.

mod calls;
mod descriptors;
mod later;

use crate::input::Input;

/// Runs the target: what is decoded, then the bytes of it.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 8 {
        0 => descriptors::partition_info(&mut input),
        1 => descriptors::boot_info_read(&mut input),
        2 => descriptors::boot_info_write(&mut input),
        3 => descriptors::registers_reply(&mut input),
        4 => calls::framework_response(&mut input),
        5 => later::indirect(&mut input),
        _ => calls::registers(&mut input),
    }
}
