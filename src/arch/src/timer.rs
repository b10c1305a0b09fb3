// SPDX-License-Identifier: MIT OR Apache-2.0
//! The counter, and S-EL2's own timer CNTHPS (PPI 20, Group 1 Secure).
//!
//! With E2H = 1 the names CNTP_* and CNTHP_* at S-EL2 reach the non-secure timer (W5): CNTHPS is
//! named by encoding.

use crate::sysreg;

const CTL_ENABLE: u64 = 1;

/// The physical counter.
#[inline]
pub fn now() -> u64 {
    sysreg::isb();
    sysreg::read!("cntpct_el0")
}

/// Ticks of the counter per second.
pub fn ticks_per_second() -> u64 {
    sysreg::read!("cntfrq_el0")
}

/// Has CNTHPS fire when the counter reaches `deadline`, or not at all.
#[inline]
pub fn set_deadline(deadline: Option<u64>) {
    // SAFETY: the timer raises an interrupt that S-EL2 acknowledges; nothing else depends on it.
    unsafe {
        match deadline {
            Some(deadline) => {
                sysreg::write!("S3_4_C14_C5_2", deadline);
                sysreg::write!("S3_4_C14_C5_1", CTL_ENABLE);
            }
            None => sysreg::write!("S3_4_C14_C5_1", 0),
        }
    }
}
