// SPDX-License-Identifier: MIT OR Apache-2.0
//! PSCI calls of the normal world.

use crate::call::smc;

/// PSCI_VERSION.
pub const VERSION: u64 = 0x8400_0000;
/// CPU_SUSPEND, 32-bit.
pub const CPU_SUSPEND: u64 = 0x8400_0001;
/// CPU_OFF.
pub const CPU_OFF: u64 = 0x8400_0002;
/// CPU_ON, 64-bit.
pub const CPU_ON: u64 = 0xc400_0003;
/// SYSTEM_OFF.
pub const SYSTEM_OFF: u64 = 0x8400_0008;
/// SYSTEM_RESET.
pub const SYSTEM_RESET: u64 = 0x8400_0009;

/// Powers the machine off.
pub fn system_off() -> ! {
    let mut x = [0; 18];
    x[0] = SYSTEM_OFF;
    smc(&mut x);
    loop {
        core::hint::spin_loop();
    }
}
