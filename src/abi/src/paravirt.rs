// SPDX-License-Identifier: MIT OR Apache-2.0
//! The paravirtual interrupt calls (HVC or SVC #0; COMPATIBILITY, "Paravirtual interrupt
//! interface"), and the virtual interrupt ids that partitions know.

/// The `type` argument of [`Paravirt::InterruptEnable`], in x3.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Line {
    /// 0: virtual IRQ.
    Irq,
    /// 1: virtual FIQ.
    Fiq,
}

impl Line {
    /// Decodes x3.
    pub const fn from_register(x3: u64) -> Option<Self> {
        match x3 {
            0 => Some(Self::Irq),
            1 => Some(Self::Fiq),
            _ => None,
        }
    }
}

/// The `command` argument of [`Paravirt::InterruptReconfigure`], in x2.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reconfigure {
    /// 0: value is the index of the target processing element.
    TargetPe,
    /// 1: value is the security state.
    SecurityState,
    /// 2: value is whether the interrupt is enabled.
    Enable,
}

impl Reconfigure {
    /// Decodes x2.
    pub const fn from_register(x2: u64) -> Option<Self> {
        match x2 {
            0 => Some(Self::TargetPe),
            1 => Some(Self::SecurityState),
            2 => Some(Self::Enable),
            _ => None,
        }
    }
}

/// A paravirtual call. The result is in x0 as a signed 64-bit value; x1–x17 are preserved.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Paravirt {
    /// 0xff03: x1 INTID, x2 whether to enable, x3 [`Line`]; 0 or −1.
    InterruptEnable,
    /// 0xff04: the oldest pending and enabled virtual INTID, acknowledged; [`NO_INTERRUPT`] if
    /// none.
    InterruptGet,
    /// 0xff08: x1 physical INTID, x2 virtual INTID, equal; ends it.
    InterruptDeactivate,
    /// 0xff09: x1 INTID, x2 [`Reconfigure`], x3 value; 0 or −1.
    InterruptReconfigure,
    /// 0xff0a: x1 index of another vCPU of the caller's partition, on which [`INTID_IPI`] pends.
    SendIpi,
}

impl Paravirt {
    /// Every call.
    pub const ALL: [Self; 5] = [
        Self::InterruptEnable,
        Self::InterruptGet,
        Self::InterruptDeactivate,
        Self::InterruptReconfigure,
        Self::SendIpi,
    ];

    /// The id in x0.
    pub const fn id(self) -> u64 {
        match self {
            Self::InterruptEnable => 0xff03,
            Self::InterruptGet => 0xff04,
            Self::InterruptDeactivate => 0xff08,
            Self::InterruptReconfigure => 0xff09,
            Self::SendIpi => 0xff0a,
        }
    }

    /// Decodes a function id without SVE hint, as [`Call::Other`](crate::Call::Other) has it.
    #[inline]
    pub const fn decode(id: u32) -> Option<Self> {
        match id {
            0xff03 => Some(Self::InterruptEnable),
            0xff04 => Some(Self::InterruptGet),
            0xff08 => Some(Self::InterruptDeactivate),
            0xff09 => Some(Self::InterruptReconfigure),
            0xff0a => Some(Self::SendIpi),
            _ => None,
        }
    }
}

/// x0 of a paravirtual call that succeeded and returns nothing.
pub const SUCCESS: u64 = 0;
/// x0 of a paravirtual call that failed: −1.
pub const FAILURE: u64 = u64::MAX;
/// x0 of [`Paravirt::InterruptGet`] when nothing is pending and enabled.
pub const NO_INTERRUPT: u64 = 0xffff_ffff;

/// The partition's virtual or emulated physical timer.
pub const INTID_TIMER: u32 = 3;
/// Managed exit: finish soon and give the core back.
pub const INTID_MANAGED_EXIT: u32 = 4;
/// Notification pending.
pub const INTID_NOTIFICATION_PENDING: u32 = 5;
/// An inter-processor interrupt from another vCPU of the partition.
pub const INTID_IPI: u32 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_paravirtual_id_decodes_to_itself() {
        for call in Paravirt::ALL {
            assert_eq!(
                Paravirt::decode(u32::try_from(call.id()).unwrap()),
                Some(call)
            );
        }
        for id in [0, 0xff02, 0xff05, 0xff07, 0xff0b, 0x8400_0060] {
            assert_eq!(Paravirt::decode(id), None);
        }
    }

    #[test]
    fn arguments_out_of_range_are_refused() {
        assert_eq!(Line::from_register(1), Some(Line::Fiq));
        assert_eq!(Line::from_register(2), None);
        assert_eq!(Reconfigure::from_register(2), Some(Reconfigure::Enable));
        assert_eq!(Reconfigure::from_register(3), None);
        assert_eq!(Reconfigure::from_register(1 << 32), None);
    }
}
