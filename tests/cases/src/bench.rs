// SPDX-License-Identifier: MIT OR Apache-2.0
//! Windows in which `scripts/bench` counts instructions.

use core::arch::asm;

/// Runs `call` between the two hints that the emulator's plugin looks for: 0x60 begins a window and 0x61
/// ends it. Both are NOPs to a core.
pub fn window<T>(call: impl FnOnce() -> T) -> T {
    begin();
    let result = call();
    end();
    result
}

/// Ends the window that someone else began with [`begin`].
pub fn end() {
    // SAFETY: as in `begin`.
    unsafe { asm!("hint #0x61", options(nostack)) };
}

/// Begins a window that someone else ends with [`end`].
pub fn begin() {
    // SAFETY: a NOP; it is not `nomem`, so that what comes after it stays there.
    unsafe { asm!("hint #0x60", options(nostack)) };
}
