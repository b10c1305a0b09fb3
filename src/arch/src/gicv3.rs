// SPDX-License-Identifier: MIT OR Apache-2.0
//! The part of a GICv3 that S-EL2 touches.
//!
//! | INTID | group | priority | enabled | by |
//! |---|---|---|---|---|
//! | 9, the kick of another core | 1 Secure | 0x40 | yes | [`Redistributor::set_up`] on each core |
//! | 20, CNTHPS | 1 Secure | 0x40 | yes | the same |
//! | 8, schedule receiver | 1 Non-secure | the normal world's | the normal world's | the same |
//! | 25–28, 30 | – | – | – | the normal world; never touched |
//! | those of partitions' devices | 1 Secure | 0x48 to 0x78 | as the partition says | [`Line::configure`]: shared ones at boot, private ones on each core |
//! | others | – | – | as EL3 left them | – |
//!
//! (DECISIONS 25.) All of it is repeated when a core comes on, as far as its redistributor has it. Interrupts are
//! deactivated by writing GICR_ICACTIVER or GICD_ICACTIVER, since ICC_DIR_EL1 does nothing at S-EL2 on some
//! machines (W3).

mod distributor;
#[cfg(target_arch = "aarch64")]
mod interface;
mod line;
mod redistributor;
mod routes;
#[cfg(test)]
mod tests;

pub use distributor::Distributor;
#[cfg(target_arch = "aarch64")]
pub use interface::{Interface, send_kick};
pub use line::{Configuration, Line, Refused, Trigger};
pub use redistributor::Redistributor;
pub use routes::Routes;

/// The SGI that tells the normal world's scheduler of pending notifications.
pub const SCHEDULE_RECEIVER: u32 = 8;
/// The secure SGI with which a core brings another one to S-EL2.
pub const KICK: u32 = 9;
/// The interrupt of CNTHPS, S-EL2's own timer.
pub const TIMER: u32 = 20;

/// The priority of S-EL2's own interrupts: above those of partitions' devices.
const PRIORITY: u8 = 0x40;
/// The priorities of partitions' devices. A machine with two security states has at least 5 priority bits: steps
/// of 8; from 0x80 on is the non-secure half.
pub const DEVICE_PRIORITIES: core::ops::RangeInclusive<u8> = 0x48..=0x78;

/// The frames of registers are this large: the distributor has one, a redistributor two.
pub const FRAME: usize = 0x1_0000;

/// Whether the INTID is one of each core: SGI, PPI, or extended PPI.
pub const fn is_private(intid: u32) -> bool {
    matches!(intid, 0..=31 | 1056..=1119)
}

/// Whether the INTID says that there is no interrupt for the reader of ICC_IAR1_EL1 or ICC_HPPIR0_EL1. Those of extended
/// interrupts are larger, and are interrupts.
pub const fn is_special(intid: u32) -> bool {
    matches!(intid, 1020..=1023)
}

/// The priority that a device gets whose manifest says `wanted`: within [`DEVICE_PRIORITIES`].
pub fn device_priority(wanted: u8) -> u8 {
    (wanted & 0xf8).clamp(*DEVICE_PRIORITIES.start(), *DEVICE_PRIORITIES.end())
}
