// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers of one interrupt, in the distributor or in a redistributor.

use core::fmt;

use crate::mmio::Mmio;

/// How often a write that takes effect late is looked at: it does so after a few hundred cycles.
const PATIENCE: u32 = 1 << 20;

/// Registers with a field for each INTID: their offset for SPIs in the distributor, which is also that for
/// private interrupts in the second frame of a redistributor, and for extended SPIs in the distributor.
///
/// Extended PPIs follow the others in a redistributor: INTID 1056 is the 32nd.
#[derive(Clone, Copy)]
struct Array {
    plain: usize,
    extended: usize,
}

const fn array(plain: usize, extended: usize) -> Array {
    Array { plain, extended }
}

/// IGROUPR, one bit each.
const GROUP: Array = array(0x80, 0x1000);
/// ISENABLER, one bit each.
const SET_ENABLE: Array = array(0x100, 0x1200);
/// ICENABLER, one bit each.
const CLEAR_ENABLE: Array = array(0x180, 0x1400);
/// ISPENDR, one bit each.
const SET_PENDING: Array = array(0x200, 0x1600);
/// ICPENDR, one bit each.
const CLEAR_PENDING: Array = array(0x280, 0x1800);
/// ICACTIVER, one bit each.
const CLEAR_ACTIVE: Array = array(0x380, 0x1c00);
/// IPRIORITYR, one byte each.
const PRIORITY: Array = array(0x400, 0x2000);
/// ICFGR, two bits each, of which the upper one says edge.
const CONFIGURATION: Array = array(0xc00, 0x3000);
/// IGRPMODR, one bit each.
const MODIFIER: Array = array(0xd00, 0x3400);
/// IROUTER, 64 bits each.
const ROUTE: Array = array(0x6000, 0x8000);

/// How an interrupt is signalled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// Once at each rise of the line.
    Edge,
    /// While the line is high.
    Level,
}

/// What an interrupt that a partition owns is to be, as Group 1 Secure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Configuration {
    /// Which one.
    pub intid: u32,
    /// Its priority.
    pub priority: u8,
    /// How it is signalled; the machine may have its own idea of a private one.
    pub trigger: Trigger,
}

/// Why an interrupt is not a partition's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// The machine has no such interrupt.
    Absent,
    /// It is enabled in Group 0.
    OfEl3,
    /// It stays out of Group 1 Secure.
    NotSecure,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "the machine does not have it",
            Self::OfEl3 => "EL3 has it, in Group 0",
            Self::NotSecure => "it cannot be made Group 1 Secure",
        })
    }
}

/// The highest priority that the normal world can give: those below 0x80 are secure.
const NON_SECURE_PRIORITY: u8 = 0x80;

/// One interrupt: its place in the registers of the distributor or of a redistributor.
#[derive(Clone, Copy, Debug)]
pub struct Line<M> {
    /// GICD_CTLR or GICR_CTLR, at offset 0.
    pub(super) control: M,
    /// The bit there that says that disabling has not taken effect everywhere.
    pub(super) write_pending: u32,
    /// What the arrays are in.
    pub(super) frame: M,
    /// The position in the arrays.
    pub(super) index: usize,
    /// Whether the arrays of extended SPIs are meant.
    pub(super) extended: bool,
}

impl<M: Mmio> Line<M> {
    /// Makes it a disabled Group 1 Secure interrupt that is neither pending nor active.
    ///
    /// # Errors
    /// [`Refused`]; nothing was written then, but for an attempt to change the group.
    pub fn configure(self, configuration: &Configuration) -> Result<(), Refused> {
        let in_group0 = !self.is_set(GROUP) && !self.is_set(MODIFIER);
        if in_group0 && self.is_set(SET_ENABLE) {
            return Err(Refused::OfEl3);
        }
        self.enable(false);
        self.change(GROUP, false);
        self.change(MODIFIER, true);
        if self.is_set(GROUP) || !self.is_set(MODIFIER) {
            return Err(Refused::NotSecure);
        }
        self.frame
            .write8(self.base(PRIORITY) + self.index, configuration.priority);
        self.set_trigger(configuration.trigger);
        self.act(CLEAR_PENDING);
        self.act(CLEAR_ACTIVE);
        Ok(())
    }

    /// Makes it Group 1 Non-secure, with a priority that a mask of non-secure interrupts masks: EL3 may have given it
    /// a secure one.
    pub(super) fn give_to_normal_world(self) {
        if !self.is_non_secure() {
            self.frame
                .write8(self.base(PRIORITY) + self.index, NON_SECURE_PRIORITY);
        }
        self.change(GROUP, true);
        self.change(MODIFIER, false);
    }

    /// Whether it is Group 1 Non-secure.
    pub(super) fn is_non_secure(self) -> bool {
        self.is_set(GROUP) && !self.is_set(MODIFIER)
    }

    /// Whether it may fire. A disabled one does not any more when this returns.
    pub fn enable(self, enable: bool) {
        if enable {
            self.act(SET_ENABLE);
            return;
        }
        self.act(CLEAR_ENABLE);
        for _ in 0..PATIENCE {
            if self.control.read(0) & self.write_pending == 0 {
                return;
            }
        }
    }

    /// Makes it pending.
    pub(super) fn raise(self) {
        self.act(SET_PENDING);
    }

    /// Ends that it is pending, unless its line is high and it is signalled by level.
    pub fn clear_pending(self) {
        self.act(CLEAR_PENDING);
    }

    /// Ends that it is active: it may fire again.
    pub fn deactivate(self) {
        self.act(CLEAR_ACTIVE);
    }

    /// Has it go to the core with this affinity, as MPIDR_EL1 has it. For shared interrupts only.
    pub(super) fn route(self, affinity: u64) {
        self.frame
            .write64(self.base(ROUTE) + 8 * self.index, affinity);
    }

    const fn base(self, array: Array) -> usize {
        if self.extended {
            array.extended
        } else {
            array.plain
        }
    }

    /// The register with its bit.
    const fn word(self, array: Array) -> usize {
        self.base(array) + self.index / 32 * 4
    }

    const fn bit(self) -> u32 {
        1 << (self.index % 32)
    }

    fn is_set(self, array: Array) -> bool {
        self.frame.read(self.word(array)) & self.bit() != 0
    }

    /// Writes a one to its bit, and nothing to those of others.
    fn act(self, array: Array) {
        self.frame.write(self.word(array), self.bit());
    }

    fn change(self, array: Array, set: bool) {
        let others = self.frame.read(self.word(array)) & !self.bit();
        let bit = if set { self.bit() } else { 0 };
        self.frame.write(self.word(array), others | bit);
    }

    fn set_trigger(self, trigger: Trigger) {
        let register = self.base(CONFIGURATION) + self.index / 16 * 4;
        let shift = self.index % 16 * 2;
        let others = self.frame.read(register) & !(0b11 << shift);
        let edge = match trigger {
            Trigger::Edge => 0b10 << shift,
            Trigger::Level => 0,
        };
        self.frame.write(register, others | edge);
    }
}
