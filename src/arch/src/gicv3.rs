// SPDX-License-Identifier: MIT OR Apache-2.0
//! The part of a GICv3 that S-EL2 touches.
//!
//! | INTID | group | priority | enabled | by |
//! |---|---|---|---|---|
//! | 20, CNTHPS | 1 Secure | 0x40 | yes | [`Redistributor::set_up`] on each core |
//! | 8, schedule receiver | 1 Non-secure | the normal world's | the normal world's | the same |
//! | 25–28, 30 | – | – | – | the normal world; never touched |
//! | others | – | – | as EL3 left them | – |
//!
//! (DECISIONS 25.) Interrupts are deactivated by writing GICR_ICACTIVER0 or GICD_ICACTIVER, since
//! ICC_DIR_EL1 does nothing at S-EL2 on some machines (W3).

use crate::mmio::Frame;
use crate::{sysreg, timer};

/// The SGI that tells the normal world's scheduler of pending notifications.
pub const SCHEDULE_RECEIVER: u32 = 8;

/// The first shared peripheral interrupt.
const FIRST_SPI: u32 = 32;
/// INTIDs from here on say that there is no interrupt for the reader.
const FIRST_SPECIAL: u32 = 1020;

/// The priority of S-EL2's own interrupts: above those of partitions' devices.
const PRIORITY: u8 = 0x40;
/// A priority mask that lets secure interrupts through and keeps non-secure ones, whose priorities
/// are 0x80 and up as seen from here, pending.
const MASK_NON_SECURE: u64 = 0x80;

/// Frame of a redistributor; the SGI and PPI frame follows the control frame.
const FRAME: usize = 0x1_0000;
const GICR_TYPER: usize = 0x8;
const GICR_IGROUPR0: usize = FRAME + 0x80;
const GICR_ISENABLER0: usize = FRAME + 0x100;
const GICR_ICENABLER0: usize = FRAME + 0x180;
const GICR_ISPENDR0: usize = FRAME + 0x200;
const GICR_ICPENDR0: usize = FRAME + 0x280;
const GICR_ICACTIVER0: usize = FRAME + 0x380;
const GICR_IPRIORITYR: usize = FRAME + 0x400;
const GICR_IGRPMODR0: usize = FRAME + 0xd00;
const TYPER_VLPIS: u64 = 1 << 1;
const TYPER_LAST: u64 = 1 << 4;

const GICD_ICENABLER: usize = 0x180;
const GICD_ICPENDR: usize = 0x280;
const GICD_ICACTIVER: usize = 0x380;

/// The distributor. Its registers that are written here are write-one-to-act, so cores need no lock.
#[derive(Clone, Copy, Debug)]
pub struct Distributor(Frame);

/// This core's redistributor.
#[derive(Clone, Copy, Debug)]
pub struct Redistributor(Frame);

const fn bit(intid: u32) -> u32 {
    1 << (intid % 32)
}

/// The register for `intid` in an array with one bit each.
const fn word(intid: u32) -> usize {
    (intid / 32) as usize * 4
}

impl Distributor {
    /// The size of the frame.
    pub const SIZE: usize = FRAME;

    /// The distributor whose registers are at `frame`.
    pub fn new(frame: Frame) -> Self {
        Self(frame)
    }
}

impl Redistributor {
    /// This core's redistributor among those in `length` bytes from `frame` on; `None` if it is not
    /// there.
    pub fn find(frame: Frame, length: usize, affinity: u64) -> Option<Self> {
        let wanted = (affinity >> 8) & 0xff00_0000 | affinity & 0x00ff_ffff;
        let mut offset = 0;
        while offset + 2 * FRAME <= length {
            let candidate = frame.at(offset);
            let kind = candidate.read64(GICR_TYPER);
            if kind >> 32 == wanted {
                return Some(Self(candidate));
            }
            if kind & TYPER_LAST != 0 {
                return None;
            }
            offset += if kind & TYPER_VLPIS != 0 {
                4 * FRAME
            } else {
                2 * FRAME
            };
        }
        None
    }

    /// Sets up the interrupts of the table above for this core; again after each CPU_ON.
    pub fn set_up(self) {
        let frame = self.0;
        let ours = bit(timer::INTID);
        let scheduler = bit(SCHEDULE_RECEIVER);
        frame.write(GICR_ICENABLER0, ours);
        let group = frame.read(GICR_IGROUPR0);
        frame.write(GICR_IGROUPR0, (group & !ours) | scheduler);
        let modifier = frame.read(GICR_IGRPMODR0);
        frame.write(GICR_IGRPMODR0, (modifier | ours) & !scheduler);
        frame.write8(GICR_IPRIORITYR + timer::INTID as usize, PRIORITY);
        frame.write(GICR_ISENABLER0, ours);
        sysreg::dsb();
    }

    /// Whether the schedule receiver interrupt is the normal world's, as it must be to arrive there.
    pub fn scheduler_is_non_secure(self) -> bool {
        let scheduler = bit(SCHEDULE_RECEIVER);
        self.0.read(GICR_IGROUPR0) & scheduler != 0 && self.0.read(GICR_IGRPMODR0) & scheduler == 0
    }
}

/// What an acknowledge found.
pub type Intid = Option<u32>;

/// This core's CPU interface, with the distributor and redistributor behind it.
#[derive(Debug)]
pub struct Interface {
    distributor: Distributor,
    redistributor: Redistributor,
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
    /// Sets up this core's interface.
    pub fn set_up(distributor: Distributor, redistributor: Redistributor) -> Self {
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
        redistributor.set_up();
        sysreg::isb();
        let mask = sysreg::read!("S3_0_C4_C6_0");
        Self {
            distributor,
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
        let intid = (sysreg::read!("S3_0_C12_C12_0") & 0xff_ffff) as u32;
        if (FIRST_SPECIAL..FIRST_SPECIAL + 4).contains(&intid) {
            return None;
        }
        // Completes the acknowledge before what follows from it.
        sysreg::dsb();
        // SAFETY: the interrupt was acknowledged just now, on this core.
        unsafe { sysreg::write!("S3_0_C12_C12_1", u64::from(intid)) }
        sysreg::isb();
        Some(intid)
    }

    /// Deactivates an acknowledged interrupt of this core.
    pub fn deactivate(&mut self, intid: u32) {
        self.act(GICR_ICACTIVER0, GICD_ICACTIVER, intid);
    }

    /// Keeps an interrupt from firing: disabled, not pending, not active.
    pub fn disable(&mut self, intid: u32) {
        self.act(GICR_ICENABLER0, GICD_ICENABLER, intid);
        self.act(GICR_ICPENDR0, GICD_ICPENDR, intid);
        self.act(GICR_ICACTIVER0, GICD_ICACTIVER, intid);
    }

    /// Whether the schedule receiver interrupt is the normal world's, as it must be to arrive there.
    pub fn scheduler_is_non_secure(&self) -> bool {
        self.redistributor.scheduler_is_non_secure()
    }

    /// Makes the schedule receiver interrupt pending on this core.
    pub fn raise_schedule_receiver(&mut self) {
        // What it tells of is visible to the normal world's cores first.
        sysreg::dsb();
        self.redistributor
            .0
            .write(GICR_ISPENDR0, bit(SCHEDULE_RECEIVER));
        sysreg::dsb();
    }

    /// Whether a Group 0 interrupt, which is EL3's, is pending. Where that cannot be seen the board
    /// has none.
    pub fn group0_is_pending(&self) -> bool {
        crate::copy::probe(crate::copy::Probe::Hppir0)
            .is_some_and(|intid| (intid & 0xff_ffff) < u64::from(FIRST_SPECIAL))
    }

    fn act(&self, own: usize, shared: usize, intid: u32) {
        if intid < FIRST_SPI {
            self.redistributor.0.write(own, bit(intid));
        } else if intid < FIRST_SPECIAL {
            self.distributor.0.write(shared + word(intid), bit(intid));
        }
        sysreg::dsb();
    }
}
