// SPDX-License-Identifier: MIT OR Apache-2.0
//! The timers of a partition at S-EL1, and what waits for them.

use core::arch::asm;

use bulkhead_abi::paravirt::INTID_TIMER;

/// CNTx_CTL_EL0.ENABLE.
pub const ENABLE: u64 = 1;
/// CNTx_CTL_EL0.IMASK.
pub const IMASK: u64 = 1 << 1;
/// CNTx_CTL_EL0.ISTATUS.
pub const ISTATUS: u64 = 1 << 2;

/// A timer by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timer {
    /// The EL1 physical timer, CNTP.
    Physical,
    /// The EL1 virtual timer, CNTV.
    Virtual,
}

macro_rules! register {
    ($timer:expr, read $physical:literal $virtual:literal) => {{
        let value: u64;
        // SAFETY: reads a register that has no side effect.
        unsafe {
            match $timer {
                Timer::Physical => asm!("isb", concat!("mrs {}, ", $physical), out(reg) value, options(nostack)),
                Timer::Virtual => asm!("isb", concat!("mrs {}, ", $virtual), out(reg) value, options(nostack)),
            }
        }
        value
    }};
    ($timer:expr, write $value:expr, $physical:literal $virtual:literal) => {
        // SAFETY: the timer is the payload's own; its interrupt is handled or masked.
        unsafe {
            match $timer {
                Timer::Physical => asm!(concat!("msr ", $physical, ", {}"), "isb", in(reg) $value, options(nostack)),
                Timer::Virtual => asm!(concat!("msr ", $virtual, ", {}"), "isb", in(reg) $value, options(nostack)),
            }
        }
    };
}

impl Timer {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Physical, Self::Virtual];

    /// The INTID of its virtual interrupt. That of the virtual timer is the private interrupt of the machine.
    pub const fn intid(self) -> u32 {
        match self {
            Self::Physical => INTID_TIMER,
            Self::Virtual => 27,
        }
    }

    /// Its counter: CNTPCT_EL0 or CNTVCT_EL0.
    pub fn count(self) -> u64 {
        register!(self, read "cntpct_el0" "cntvct_el0")
    }

    /// CNTx_CTL_EL0.
    pub fn control(self) -> u64 {
        register!(self, read "cntp_ctl_el0" "cntv_ctl_el0")
    }

    /// Sets CNTx_CTL_EL0.
    pub fn set_control(self, value: u64) {
        register!(self, write value, "cntp_ctl_el0" "cntv_ctl_el0");
    }

    /// CNTx_CVAL_EL0.
    pub fn deadline(self) -> u64 {
        register!(self, read "cntp_cval_el0" "cntv_cval_el0")
    }

    /// Sets CNTx_CVAL_EL0.
    pub fn set_deadline(self, value: u64) {
        register!(self, write value, "cntp_cval_el0" "cntv_cval_el0");
    }

    /// CNTx_TVAL_EL0: 32 bits with sign.
    pub fn remaining(self) -> i32 {
        let value = register!(self, read "cntp_tval_el0" "cntv_tval_el0");
        value as u32 as i32
    }

    /// Sets CNTx_TVAL_EL0.
    pub fn set_remaining(self, value: i32) {
        let value = value as u32 as u64;
        register!(self, write value, "cntp_tval_el0" "cntv_tval_el0");
    }

    /// Has it fire at the counter value `deadline`, once.
    pub fn arm(self, deadline: u64) {
        self.set_deadline(deadline);
        self.set_control(ENABLE);
    }

    /// Disables it.
    pub fn disarm(self) {
        self.set_control(0);
    }
}

/// WFI.
pub fn wait_for_interrupt() {
    // SAFETY: an interrupt that is masked ends it, too.
    unsafe { asm!("wfi", options(nostack)) };
}

/// WFE.
pub fn wait_for_event() {
    // SAFETY: goes on at any time.
    unsafe { asm!("wfe", options(nostack)) };
}
