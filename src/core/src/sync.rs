// SPDX-License-Identifier: MIT OR Apache-2.0
//! The locks and atomics of the core, named once so that tests can put others in their place: with
//! the feature `shuttle`, which only `tests/schedules` has, tests choose who goes on at each of them.

#[cfg(not(feature = "shuttle"))]
pub use core::sync::atomic;

/// A fair lock: whoever waits longest is next.
#[cfg(not(feature = "shuttle"))]
pub type Mutex<T> = spin::mutex::TicketMutex<T, Relax>;

/// What holds a [`Mutex`].
#[cfg(not(feature = "shuttle"))]
pub type MutexGuard<'a, T> = spin::mutex::TicketMutexGuard<'a, T, Relax>;

/// How a core waits for a [`Mutex`].
#[cfg(not(feature = "shuttle"))]
#[derive(Debug)]
pub struct Relax;

#[cfg(not(feature = "shuttle"))]
impl spin::RelaxStrategy for Relax {
    #[inline(always)]
    fn relax() {
        relax();
    }
}

/// What a core does between two looks at what it waits for. A WFE that SEVL ends at once costs little, and has an
/// emulator that runs the cores in turns, as QEMU does with `-icount`, go on to the next one; the standard library's
/// hint, an ISB, does not.
#[inline(always)]
pub fn relax() {
    #[cfg(target_arch = "aarch64")]
    {
        aarch64_cpu::asm::sevl();
        aarch64_cpu::asm::wfe();
    }
    #[cfg(not(target_arch = "aarch64"))]
    core::hint::spin_loop();
}

#[cfg(feature = "shuttle")]
mod explored;
#[cfg(feature = "shuttle")]
pub use explored::{Mutex, MutexGuard, deepest, held};
#[cfg(feature = "shuttle")]
pub use shuttle::sync::atomic;
