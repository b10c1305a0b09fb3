// SPDX-License-Identifier: MIT OR Apache-2.0
//! PSCI calls of the normal world.

use bulkhead_abi::Width;
use bulkhead_abi::psci::Psci;

use crate::call::smc;

/// Powers the machine off.
pub fn system_off() -> ! {
    let mut x = [0; 18];
    x[0] = u64::from(Psci::SystemOff.id(Width::W32));
    smc(&mut x);
    loop {
        core::hint::spin_loop();
    }
}
