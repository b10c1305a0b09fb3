// SPDX-License-Identifier: MIT OR Apache-2.0
//! A core that waits for another one: WFE and SEV.

use crate::sysreg;

/// CNTHCTL_EL2 with E2H = 1, EVNTEN: the counter makes events.
const EVENT_STREAM: u64 = 1 << 2;
/// EVNTI: at each rise of this bit of the counter, so that a pending interrupt, which does not end WFE while
/// PSTATE masks it, is seen within 2^13 ticks.
const EVENT_BIT: u64 = 12 << 4;
/// ISR_EL1: an IRQ is pending, masked or not.
const ISR_IRQ: u64 = 1 << 7;
/// ISR_EL1: an FIQ is pending.
const ISR_FIQ: u64 = 1 << 6;

/// An interrupt that is pending at S-EL2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pending {
    /// None.
    None,
    /// A secure interrupt.
    Irq,
    /// A non-secure interrupt, or one of Group 0.
    Fiq,
}

/// What is pending on this core.
pub fn pending() -> Pending {
    let pending = sysreg::read!("isr_el1");
    if pending & ISR_IRQ != 0 {
        Pending::Irq
    } else if pending & ISR_FIQ != 0 {
        Pending::Fiq
    } else {
        Pending::None
    }
}

/// Sleeps until an event or a pending interrupt, at most a few thousand ticks of the counter.
pub fn wait() -> Pending {
    let before = pending();
    if before != Pending::None {
        return before;
    }
    let control = sysreg::read!("cnthctl_el2");
    // SAFETY: the event stream ends WFE and does nothing else; lower levels find what they had.
    unsafe {
        sysreg::write!("cnthctl_el2", control | EVENT_STREAM | EVENT_BIT);
        sysreg::isb();
        core::arch::asm!("wfe", options(nostack, preserves_flags));
        sysreg::write!("cnthctl_el2", control);
    }
    pending()
}

/// Ends the sleep of every core that waits, after all that this core has written.
pub fn signal() {
    sysreg::dsb();
    // SAFETY: an event changes no state but that of cores in WFE.
    unsafe { core::arch::asm!("sev", options(nostack, preserves_flags)) }
}
