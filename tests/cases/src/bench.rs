// SPDX-License-Identifier: MIT OR Apache-2.0
//! Windows in which `scripts/bench` counts instructions.

use core::arch::asm;

/// Runs `call` between the two hints that the emulator's plugin looks for: 0x60 begins a window and 0x61
/// ends it. Both are NOPs to a core.
pub fn window<T>(call: impl FnOnce() -> T) -> T {
    // SAFETY: NOPs; they are not `nomem`, so that the call stays between them.
    unsafe { asm!("hint #0x60", options(nostack)) };
    let result = call();
    // SAFETY: as above.
    unsafe { asm!("hint #0x61", options(nostack)) };
    result
}
