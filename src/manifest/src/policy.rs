// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a partition's manifest says about its level, its messages and its interrupts.

use core::fmt;

/// The exception level a partition runs at (B-08).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExceptionLevel {
    /// 1: S-EL0, below a shim of the SPMC's own.
    SEl0,
    /// 2: S-EL1.
    SEl1,
}

/// The execution state a partition starts in (B-08).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExecutionState {
    /// 0.
    AArch64,
    /// 1.
    AArch32,
}

/// The translation granule of a partition, which is also the unit of `pages-count` (B-10).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum XlatGranule {
    /// 0, and the default.
    #[default]
    K4,
    /// 1.
    K16,
    /// 2.
    K64,
}

impl XlatGranule {
    /// The page size in bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::K4 => 0x1000,
            Self::K16 => 0x4000,
            Self::K64 => 0x1_0000,
        }
    }
}

/// `messaging-method`: how a partition or one of its services is reached, and what it may send (B-04).
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct MessagingMethod(u32);

impl MessagingMethod {
    const RECEIVES_DIRECT: u32 = 1 << 0;
    const SENDS_DIRECT: u32 = 1 << 1;
    const INDIRECT: u32 = 1 << 2;
    const RECEIVES_DIRECT2: u32 = 1 << 9;
    const SENDS_DIRECT2: u32 = 1 << 10;
    const DIRECT2: u32 = Self::RECEIVES_DIRECT2 | Self::SENDS_DIRECT2;
    const ALL: u32 = Self::RECEIVES_DIRECT | Self::SENDS_DIRECT | Self::INDIRECT | Self::DIRECT2;

    /// The method, or `None` where a bit is set that the binding does not define.
    pub const fn from_bits(bits: u32) -> Option<Self> {
        if bits & !Self::ALL == 0 {
            Some(Self(bits))
        } else {
            None
        }
    }

    /// The bits as the binding numbers them; the partition information descriptor has the same ones.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// What either allows.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Receives FFA_MSG_SEND_DIRECT_REQ.
    pub const fn receives_direct(self) -> bool {
        self.0 & Self::RECEIVES_DIRECT != 0
    }

    /// Sends FFA_MSG_SEND_DIRECT_REQ.
    pub const fn sends_direct(self) -> bool {
        self.0 & Self::SENDS_DIRECT != 0
    }

    /// Sends and receives indirect messages.
    pub const fn indirect(self) -> bool {
        self.0 & Self::INDIRECT != 0
    }

    /// Receives FFA_MSG_SEND_DIRECT_REQ2.
    pub const fn receives_direct2(self) -> bool {
        self.0 & Self::RECEIVES_DIRECT2 != 0
    }

    /// Sends FFA_MSG_SEND_DIRECT_REQ2.
    pub const fn sends_direct2(self) -> bool {
        self.0 & Self::SENDS_DIRECT2 != 0
    }

    /// Whether it needs FF-A 1.2.
    pub const fn needs_v1_2(self) -> bool {
        self.0 & Self::DIRECT2 != 0
    }
}

impl fmt::Debug for MessagingMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessagingMethod({:#x})", self.0)
    }
}

/// What a non-secure interrupt does while the partition runs (B-13).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NsInterruptsAction {
    /// 0: it waits.
    Queued,
    /// 1: the partition is asked to exit.
    ManagedExit,
    /// 2, and the default: the partition is preempted.
    Signaled,
}

/// What a secure interrupt of another partition does while the partition runs (B-14).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OtherSInterruptsAction {
    /// 0: it waits.
    Queued,
    /// 1, and the default: the partition is preempted.
    Signaled,
}

/// `sri-interrupts-policy`: when the schedule receiver interrupt is raised instead of resuming a
/// waiting partition for its secure interrupt (B-15).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SriPolicy {
    /// Bit 0: an interrupt fired while the partition waits.
    pub while_waiting: bool,
    /// Bit 1: the partition goes to wait with an interrupt pending.
    pub on_entering_wait: bool,
}

/// `power-management-messages`: which of these the partition subscribes to (B-20).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PowerMessages {
    /// Bit 0.
    pub cpu_off: bool,
    /// Bit 1.
    pub cpu_suspend: bool,
    /// Bit 2.
    pub cpu_suspend_resume: bool,
}

/// `vm-availability-messages`: which of these the partition subscribes to (B-21).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VmMessages {
    /// Bit 0.
    pub created: bool,
    /// Bit 1.
    pub destroyed: bool,
}

/// `abort-action`: what the SPMC does when the partition meets a fatal error (B-22).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AbortAction {
    /// 0.
    Stop,
    /// 1.
    Destroy,
    /// 2.
    Restart,
    /// 3.
    Propagate,
}

/// What the partition wants in its boot information blob (B-19).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BootInfoWanted {
    /// `ffa_manifest`: its manifest, as FDT.
    pub fdt: bool,
    /// `hob_list`: a hand-off block list.
    pub hob: bool,
}

/// `live-activation-register` (B-23). The public text of the binding lacks it (unverified): it is kept as written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LiveRegister {
    /// Not there.
    #[default]
    Absent,
    /// There, without a value.
    Present,
    /// There, with this value.
    Number(u32),
}
