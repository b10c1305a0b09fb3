// SPDX-License-Identifier: MIT OR Apache-2.0
//! The CPU interface of a core: priority mask, acknowledge, end of interrupt, SGIs.

use super::{KICK, Redistributor, is_special};
use crate::mmio::Frame;
use crate::sysreg;

/// A priority mask that lets secure interrupts through and keeps non-secure ones, whose priorities
/// are 0x80 and up as seen from here, pending.
const MASK_NON_SECURE: u64 = 0x80;

/// The INTID in a value of ICC_IAR1_EL1 or ICC_HPPIR0_EL1: 24 bits.
fn intid(value: u64) -> u32 {
    (value & 0xff_ffff) as u32
}

/// What an acknowledge found.
pub type Intid = Option<u32>;

/// Sends [`KICK`] to the core with this affinity, which then sees what this core has written before.
pub fn send_kick(affinity: u64) {
    let [aff0, aff1, aff2, ..] = affinity.to_le_bytes();
    let aff3 = affinity >> 32 & 0xff;
    let value = aff3 << 48
        | u64::from(aff0 >> 4) << 44
        | u64::from(aff2) << 32
        | u64::from(KICK) << 24
        | u64::from(aff1) << 16
        | 1 << (aff0 & 0xf);
    sysreg::dsb();
    // SAFETY: the other core acknowledges it, at S-EL2; nothing else depends on it.
    unsafe { sysreg::write!("S3_0_C12_C11_5", value) }
    sysreg::isb();
}

/// This core's CPU interface, with the redistributor behind it.
#[derive(Debug)]
pub struct Interface {
    redistributor: Redistributor<Frame>,
    /// ICC_PMR_EL1 of the normal world, while a partition may run.
    normal_mask: u64,
    /// ICC_PMR_EL1 while partitions run.
    mask: u64,
    masked: bool,
    control: u64,
    binary_point: u64,
    /// ICC_AP1R0_EL1: the active priorities of Group 1 Secure.
    active: u64,
    /// The same of Group 0, where EL3 lets us see them.
    group0: Option<Group0>,
}

/// What a partition may have changed of Group 0's interface.
#[derive(Clone, Copy, Debug)]
struct Group0 {
    /// ICC_AP0R0_EL1.
    active: u64,
    /// ICC_IGRPEN0_EL1.
    enable: u64,
    /// ICC_BPR0_EL1.
    binary_point: u64,
}

impl Group0 {
    fn read() -> Self {
        Self {
            active: sysreg::read!("S3_0_C12_C8_4"),
            enable: sysreg::read!("S3_0_C12_C12_6"),
            binary_point: sysreg::read!("S3_0_C12_C8_3"),
        }
    }
}

/// ICC_CTLR_EL1.EOImode: end of interrupt drops the priority, and deactivation is separate.
const CTLR_EOIMODE: u64 = 1 << 1;
/// ICC_SRE_EL2: system registers, for lower levels too; no bypass.
const SRE: u64 = 0xf;

impl Interface {
    /// Sets up this core's interface, in front of a redistributor that is set up.
    pub fn set_up(redistributor: Redistributor<Frame>) -> Self {
        // SAFETY: which interrupts reach this core matters to nothing here: it runs with them masked
        // at S-EL2.
        unsafe { sysreg::write!("S3_4_C12_C9_5", SRE) }
        sysreg::isb();
        let control = sysreg::read!("S3_0_C12_C12_4") | CTLR_EOIMODE;
        // SAFETY: as above.
        unsafe {
            sysreg::write!("S3_0_C12_C12_4", control);
            sysreg::write!("S3_0_C12_C12_7", 1);
        }
        sysreg::isb();
        let mask = sysreg::read!("S3_0_C4_C6_0");
        Self {
            redistributor,
            normal_mask: mask,
            mask,
            masked: false,
            control: sysreg::read!("S3_0_C12_C12_4"),
            binary_point: sysreg::read!("S3_0_C12_C12_3"),
            active: 0,
            group0: crate::copy::probe(crate::copy::Probe::Hppir0).map(|_| Group0::read()),
        }
    }

    /// The normal world leaves this core to a partition.
    #[inline]
    pub fn leave_normal_world(&mut self) {
        self.normal_mask = sysreg::read!("S3_0_C4_C6_0");
        self.active = sysreg::read!("S3_0_C12_C9_0");
        if let Some(group0) = &mut self.group0 {
            *group0 = Group0::read();
        }
        self.mask = if self.masked {
            MASK_NON_SECURE
        } else {
            self.normal_mask
        };
        self.load();
    }

    /// The normal world gets this core back.
    #[inline]
    pub fn return_to_normal_world(&mut self) {
        // SAFETY: it is the normal world's own value.
        unsafe { sysreg::write!("S3_0_C4_C6_0", self.normal_mask) }
    }

    /// Puts back what a partition may have changed: on some machines S-EL1 reaches these registers
    /// (W1, W2).
    #[inline]
    pub fn load(&self) {
        // SAFETY: as in `set_up`.
        unsafe {
            sysreg::write!("S3_0_C4_C6_0", self.mask);
            sysreg::write!("S3_0_C12_C12_4", self.control);
            sysreg::write!("S3_0_C12_C12_3", self.binary_point);
            sysreg::write!("S3_0_C12_C12_7", 1);
            sysreg::write!("S3_0_C12_C9_0", self.active);
            if let Some(group0) = &self.group0 {
                sysreg::write!("S3_0_C12_C8_4", group0.active);
                sysreg::write!("S3_0_C12_C12_6", group0.enable);
                sysreg::write!("S3_0_C12_C8_3", group0.binary_point);
            }
        }
    }

    /// Whether non-secure interrupts stay pending while partitions run.
    #[inline]
    pub fn mask_non_secure(&mut self, masked: bool) {
        self.masked = masked;
        self.mask = if masked {
            MASK_NON_SECURE
        } else {
            self.normal_mask
        };
    }

    /// Acknowledges the pending secure interrupt of highest priority and drops its priority; it
    /// stays active. `None` if there was none.
    pub fn acknowledge(&mut self) -> Intid {
        let intid = intid(sysreg::read!("S3_0_C12_C12_0"));
        if is_special(intid) {
            return None;
        }
        // Completes the acknowledge before what follows from it.
        sysreg::dsb();
        // SAFETY: the interrupt was acknowledged just now, on this core.
        unsafe { sysreg::write!("S3_0_C12_C12_1", u64::from(intid)) }
        sysreg::isb();
        Some(intid)
    }

    /// Deactivates an acknowledged interrupt of S-EL2 itself, which is private.
    pub fn deactivate_own(&mut self, intid: u32) {
        if let Some(line) = self.redistributor.line(intid) {
            line.deactivate();
            sysreg::dsb();
        }
    }

    /// Whether the schedule receiver interrupt is the normal world's, as it must be to arrive there.
    pub fn scheduler_is_non_secure(&self) -> bool {
        self.redistributor.scheduler_is_non_secure()
    }

    /// Makes the schedule receiver interrupt pending on this core.
    pub fn raise_schedule_receiver(&mut self) {
        // What it tells of is visible to the normal world's cores first.
        sysreg::dsb();
        self.redistributor.raise_schedule_receiver();
        sysreg::dsb();
    }

    /// Whether a Group 0 interrupt, which is EL3's, is pending. Where that cannot be seen the board
    /// has none.
    pub fn group0_is_pending(&self) -> bool {
        crate::copy::probe(crate::copy::Probe::Hppir0)
            .is_some_and(|value| !is_special(intid(value)))
    }
}
