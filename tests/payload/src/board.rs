// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where things are on QEMU's `virt` machine, for the normal world.
//!
//! Partitions use none of these but the devices that their manifests give them: what else they know of the machine
//! comes from their boot information.

/// The PL011 UART that belongs to the normal world.
pub const UART: usize = 0x0900_0000;
/// The GICv3 distributor.
pub const GIC_DISTRIBUTOR: usize = 0x0800_0000;
/// The GICv3 redistributor of the boot core.
pub const GIC_REDISTRIBUTOR: usize = 0x080a_0000;
/// From one core's redistributor to the next one's.
pub const GIC_REDISTRIBUTOR_STRIDE: usize = 0x2_0000;
/// The INTID of the non-secure EL2 physical timer, a private peripheral interrupt.
pub const HYPERVISOR_TIMER_INTID: u32 = 26;
/// Where the emulator's loader puts the command line: ASCII, NUL-terminated.
pub const COMMAND_LINE: usize = 0x4f00_0000;
/// The longest command line, in bytes.
pub const COMMAND_LINE_SIZE: usize = 4096;
/// The PL031 real-time clock, and the INTID of its interrupt, which is level-triggered.
pub const RTC: usize = 0x0901_0000;
/// See [`RTC`].
pub const RTC_INTID: u32 = 34;
/// The PL061 general-purpose inputs and outputs, and the INTID of their interrupt, which is level-triggered.
pub const GPIO: usize = 0x0903_0000;
/// See [`GPIO`].
pub const GPIO_INTID: u32 = 39;
