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

/// What CNTHPS is armed for.
pub(crate) fn deadline() -> Option<u64> {
    let armed = sysreg::read!("S3_4_C14_C5_1") & CTL_ENABLE != 0;
    armed.then(|| sysreg::read!("S3_4_C14_C5_2"))
}

/// CNTV_CTL_EL0: the timer is on.
const ENABLE: u64 = 1;
/// CNTV_CTL_EL0: its interrupt is masked.
pub(crate) const IMASK: u64 = 1 << 1;
/// CNTV_CTL_EL0: the counter has reached the value.
const ISTATUS: u64 = 1 << 2;

/// The physical counter's value at which a virtual timer with these registers fires, whose counter lags by `offset`;
/// `None` if it does not.
#[inline]
pub(crate) fn virtual_deadline(control: u64, value: u64, offset: u64) -> Option<u64> {
    let on = control & (ENABLE | IMASK) == ENABLE;
    if on { value.checked_add(offset) } else { None }
}

/// [`virtual_deadline`] of the loaded EL1 state.
pub(crate) fn loaded_virtual_deadline(offset: u64) -> Option<u64> {
    let control = sysreg::read!("S3_5_C14_C3_1");
    virtual_deadline(control, sysreg::read!("S3_5_C14_C3_2"), offset)
}

/// Whether the loaded EL1 virtual timer asks for an interrupt.
pub(crate) fn virtual_fired() -> bool {
    let control = sysreg::read!("S3_5_C14_C3_1");
    control & (ENABLE | IMASK | ISTATUS) == ENABLE | ISTATUS
}

/// Masks the loaded EL1 virtual timer.
pub(crate) fn mask_virtual() {
    set_virtual_control(sysreg::read!("S3_5_C14_C3_1") & ENABLE | IMASK);
}

/// The loaded EL1 virtual timer was masked when it had fired. Whether that is over: the partition has turned it off
/// or unmasked it, or set it to a value that is not reached, and it is unmasked now.
pub(crate) fn unmask_virtual_if_set_again() -> bool {
    let control = sysreg::read!("S3_5_C14_C3_1");
    if control & (ENABLE | IMASK) != ENABLE | IMASK {
        return true;
    }
    let again = control & ISTATUS == 0;
    if again {
        set_virtual_control(ENABLE);
    }
    again
}

fn set_virtual_control(control: u64) {
    // SAFETY: the timer is the loaded partition's own.
    unsafe { sysreg::write!("S3_5_C14_C3_1", control) }
    sysreg::isb();
}
