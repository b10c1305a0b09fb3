// SPDX-License-Identifier: MIT OR Apache-2.0
//! The counter, S-EL2's own timer CNTHPS (PPI 20, Group 1 Secure), and the EL1 virtual timer of partitions
//! (DECISIONS 26).
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

/// CNTV_CTL_EL0: the timer is on.
const ENABLE: u64 = 1;
/// CNTV_CTL_EL0: its interrupt is masked.
pub(crate) const IMASK: u64 = 1 << 1;
/// CNTV_CTL_EL0: the counter has reached the value.
const ISTATUS: u64 = 1 << 2;

/// Whether a timer with this CNTV_CTL_EL0 will fire.
#[inline]
pub(crate) const fn is_on(control: u64) -> bool {
    control & (ENABLE | IMASK) == ENABLE
}

/// CNTV_CTL_EL0 and CNTV_CVAL_EL0 of the loaded EL1 state.
pub(crate) fn virtual_registers() -> (u64, u64) {
    (
        sysreg::read!("S3_5_C14_C3_1"),
        sysreg::read!("S3_5_C14_C3_2"),
    )
}

/// Whether the loaded EL1 virtual timer asks for an interrupt.
pub(crate) fn virtual_fired() -> bool {
    let (control, _) = virtual_registers();
    is_on(control) && control & ISTATUS != 0
}

/// Masks the loaded EL1 virtual timer.
pub(crate) fn mask_virtual() {
    let (control, _) = virtual_registers();
    // SAFETY: the timer is the loaded partition's own.
    unsafe { sysreg::write!("S3_5_C14_C3_1", control & ENABLE | IMASK) }
    sysreg::isb();
}
