// SPDX-License-Identifier: MIT OR Apache-2.0
//! The generic counter.

use core::arch::asm;

use crate::entry::{ExceptionLevel, exception_level};

/// The counter, in ticks: the virtual one in a partition, and the physical one in the normal world,
/// which uses CNTVOFF_EL2 as a place for canaries.
pub fn now() -> u64 {
    let ticks: u64;
    // SAFETY: reads a register that has no side effect; ISB keeps the read in its place.
    unsafe {
        match exception_level() {
            ExceptionLevel::El0 | ExceptionLevel::El1 => {
                asm!("isb", "mrs {}, cntvct_el0", out(reg) ticks, options(nostack))
            }
            ExceptionLevel::El2 => {
                asm!("isb", "mrs {}, cntpct_el0", out(reg) ticks, options(nostack))
            }
        }
    }
    ticks
}

/// Ticks of the counter in so many microseconds.
pub fn microseconds(count: u64) -> u64 {
    let frequency: u64;
    // SAFETY: reads a register that has no side effect.
    unsafe { asm!("mrs {}, cntfrq_el0", out(reg) frequency, options(nomem, nostack)) };
    frequency * count / 1_000_000
}

/// The counter, which starts with the machine, in microseconds.
pub fn since_reset_in_microseconds() -> u64 {
    now() / microseconds(1)
}

/// Does nothing for at least `ticks`.
pub fn spin(ticks: u64) {
    let start = now();
    while now().wrapping_sub(start) < ticks {
        pause();
    }
}

/// A step of a loop that waits for another core. An emulator that runs one core after the other goes on
/// with the next one at `yield`.
pub fn pause() {
    // SAFETY: a hint.
    unsafe { asm!("yield", options(nostack)) };
}

/// The non-secure EL2 physical timer; for the normal world only.
pub mod hypervisor_timer {
    use core::arch::asm;

    /// Asserts the timer's interrupt `ticks` from now.
    pub fn arm(ticks: u64) {
        // SAFETY: the interrupt stays pending as long as the payload masks interrupts, which it does.
        unsafe {
            asm!(
                "isb",
                "mrs {now}, cntpct_el0",
                "add {now}, {now}, {ticks}",
                "msr cnthp_cval_el2, {now}",
                "msr cnthp_ctl_el2, {enable}",
                "isb",
                now = out(reg) _,
                ticks = in(reg) ticks,
                enable = in(reg) 1_u64,
                options(nostack),
            );
        }
    }

    /// Asserts the timer's interrupt from the counter value `deadline` on.
    pub fn arm_at(deadline: u64) {
        // SAFETY: the interrupt is masked or handled.
        unsafe {
            asm!(
                "msr cnthp_cval_el2, {deadline}",
                "msr cnthp_ctl_el2, {enable}",
                "isb",
                deadline = in(reg) deadline,
                enable = in(reg) 1_u64,
                options(nostack),
            );
        }
    }

    /// Whether the timer asserts its interrupt.
    pub fn is_due() -> bool {
        let control: u64;
        // SAFETY: reads a register that has no side effect.
        unsafe { asm!("isb", "mrs {}, cnthp_ctl_el2", out(reg) control, options(nostack)) };
        control & 0b101 == 0b101
    }

    /// Disables the timer, which takes its interrupt back.
    pub fn disarm() {
        // SAFETY: as `arm`.
        unsafe { asm!("msr cnthp_ctl_el2, xzr", "isb", options(nostack)) };
    }
}
