// SPDX-License-Identifier: MIT OR Apache-2.0
//! What belongs to a core and must be found without a pointer: TPIDR_EL2 holds the address of the
//! core's [`PerCore`]. Everything else a core owns is passed down from its run loop.

use core::ops::Range;

use crate::sysreg;

/// The affinity fields of MPIDR_EL1: Aff3 in 39:32, Aff2 to Aff0 in 23:0.
pub const AFFINITY: u64 = 0xff_00ff_ffff;

/// A core's place. The entry stub reads it: see `entry`.
#[repr(C)]
#[derive(Debug)]
pub struct PerCore {
    /// The affinity fields of its MPIDR.
    pub mpidr: u64,
    /// The end of its stack.
    pub stack_top: usize,
    /// The first byte of its stack.
    pub stack_bottom: usize,
    /// Its linear index.
    pub index: usize,
}

impl PerCore {
    /// A core with this MPIDR, linear index and stack.
    pub const fn new(mpidr: u64, index: usize, stack: &Range<usize>) -> Self {
        Self {
            mpidr,
            stack_top: stack.end,
            stack_bottom: stack.start,
            index,
        }
    }

    /// Its stack.
    pub const fn stack(&self) -> Range<usize> {
        self.stack_bottom..self.stack_top
    }
}

/// This core's affinity.
pub fn affinity() -> u64 {
    sysreg::read!("mpidr_el1") & AFFINITY
}

/// This core's [`PerCore`]; `None` while the boot core has none.
pub fn current() -> Option<&'static PerCore> {
    let pointer =
        core::ptr::with_exposed_provenance::<PerCore>(sysreg::read!("tpidr_el2") as usize);
    // SAFETY: TPIDR_EL2 is zero, or set by `adopt` and the entry stub to an element of a `'static`
    // table that is not changed after boot.
    unsafe { pointer.as_ref() }
}

/// Makes `core` the one that this core is.
pub fn adopt(core: &'static PerCore) {
    // SAFETY: `current` relies on exactly this: a `'static` value.
    unsafe {
        sysreg::write!(
            "tpidr_el2",
            core::ptr::from_ref(core).expose_provenance() as u64
        )
    }
}
