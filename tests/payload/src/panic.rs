// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a payload does when it cannot go on.

use bulkhead_abi::{FfaError, Function, Width};

use crate::call::smc;
use crate::entry::{ExceptionLevel, exception_level, image_start};
use crate::{memory, println, psci};

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    match info.location() {
        Some(location) => println!(
            "[panic] {} ({}:{})",
            info.message(),
            location.file(),
            location.line()
        ),
        None => println!("[panic] {}", info.message()),
    }
    match exception_level() {
        ExceptionLevel::El2 => psci::system_off(),
        ExceptionLevel::El0 | ExceptionLevel::El1 => abort(),
    }
}

/// Ends this partition: as a failed initialisation where that is what it does, else by FFA_ABORT, else
/// by touching memory that is not its own, so that whoever waits for it is told.
pub fn abort() -> ! {
    let mut x = [0; 18];
    x[0] = Function::Error.id(Width::W32);
    x[2] = FfaError::Aborted.to_register();
    smc(&mut x);
    x = [0; 18];
    x[0] = Function::Abort.id(Width::W32);
    smc(&mut x);
    loop {
        memory::store(foreign_address(), 0);
    }
}

/// An address that is not the partition's: below the package that it was loaded from.
pub fn foreign_address() -> usize {
    /// From the start of a package to its image, and a page more.
    const BELOW: usize = 0x5000;
    image_start() - BELOW
}
