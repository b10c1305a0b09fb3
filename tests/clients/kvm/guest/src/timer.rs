// SPDX-License-Identifier: MIT OR Apache-2.0
//! The virtual timer, by an interrupt that is pending and never taken.

use core::arch::asm;

use bulkhead_payload::counter;

/// The INTID of the virtual timer, a private peripheral interrupt.
pub const INTID: u32 = 27;

/// CNTV_CTL_EL0.ENABLE; with IMASK zero.
const ENABLE: u64 = 1;
/// ICC_IAR1_EL1 when no interrupt is pending.
const NONE: u32 = 1023;

/// Asserts the interrupt `ticks` from now, and returns the value of the counter then.
pub fn arm(ticks: u64) -> u64 {
    let due = counter::now() + ticks;
    // SAFETY: interrupts are masked in PSTATE.
    unsafe {
        asm!(
            "msr cntv_cval_el0, {due}",
            "msr cntv_ctl_el0, {enable}",
            "isb",
            due = in(reg) due,
            enable = in(reg) ENABLE,
            options(nostack),
        );
    }
    due
}

/// Waits until an interrupt is pending: asleep, or looking for it.
pub fn wait(asleep: bool) {
    /// ISR_EL1.I: an interrupt is pending.
    const PENDING: u64 = 1 << 7;
    loop {
        let pending: u64;
        // SAFETY: reads a register that has no side effect.
        unsafe { asm!("isb", "mrs {}, isr_el1", out(reg) pending, options(nostack)) };
        if pending & PENDING != 0 {
            return;
        }
        if asleep {
            // SAFETY: a pending interrupt ends it, masked or not.
            unsafe { asm!("wfi", options(nostack)) };
        } else {
            core::hint::spin_loop();
        }
    }
}

fn acknowledge() -> u32 {
    let intid: u64;
    // SAFETY: the caller ends the interrupt that it gets.
    unsafe { asm!("mrs {}, S3_0_C12_C12_0", "dsb sy", out(reg) intid, options(nostack)) };
    intid as u32
}

/// Acknowledges the timer's interrupt, disables the timer and ends the interrupt.
///
/// # Errors
/// The INTID of what was pending instead, or was pending still.
pub fn take() -> Result<(), u32> {
    let first = acknowledge();
    // SAFETY: ends what was acknowledged; a disabled timer asserts nothing.
    unsafe {
        asm!(
            "msr cntv_ctl_el0, xzr",
            "isb",
            "msr S3_0_C12_C12_1, {first}", // ICC_EOIR1_EL1
            "isb",
            first = in(reg) u64::from(first),
            options(nostack),
        );
    }
    match (first, acknowledge()) {
        (INTID, NONE) => Ok(()),
        (INTID, other) | (other, _) => Err(other),
    }
}
