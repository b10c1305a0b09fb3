// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cache maintenance by address.

use crate::sysreg;

macro_rules! by_line {
    ($operation:literal, $address:expr, $length:expr) => {{
        let line = data_line();
        let end = $address.saturating_add($length);
        let mut at = $address & !(line - 1);
        while at < end {
            // SAFETY: cleaning (and invalidating after cleaning) changes no value that any observer
            // is entitled to see.
            unsafe {
                core::arch::asm!(
                    concat!("dc ", $operation, ", {}"),
                    in(reg) at,
                    options(nostack, preserves_flags),
                );
            }
            at = at.saturating_add(line);
        }
        sysreg::dsb();
    }};
}

/// The smallest data cache line of the system in bytes.
fn data_line() -> usize {
    4 << ((sysreg::read!("ctr_el0") >> 16) & 0xf)
}

/// Cleans `length` bytes at the mapped virtual address `address` to the point of coherency: whoever
/// reads with caches off sees them (DECISIONS 29).
pub fn clean_to_coherency(address: usize, length: usize) {
    by_line!("cvac", address, length);
}

/// Cleans and invalidates `length` bytes at the mapped virtual address `address` to the point of
/// coherency.
pub fn flush(address: usize, length: usize) {
    by_line!("civac", address, length);
}

/// Invalidates all instruction caches of the inner shareable domain.
pub fn invalidate_instructions() {
    // SAFETY: instruction caches hold no state of their own.
    unsafe {
        core::arch::asm!(
            "ic ialluis",
            "dsb sy",
            "isb",
            options(nostack, preserves_flags)
        )
    }
}
