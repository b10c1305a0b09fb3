// SPDX-License-Identifier: MIT OR Apache-2.0
//! The locks and atomics of the core, named once so that tests can put others in their place: with
//! the feature `shuttle`, which only `tests/schedules` has, tests choose who goes on at each of them.

#[cfg(not(feature = "shuttle"))]
pub use core::sync::atomic;

/// A fair lock: whoever waits longest is next.
#[cfg(not(feature = "shuttle"))]
pub type Mutex<T> = spin::mutex::TicketMutex<T>;

/// What holds a [`Mutex`].
#[cfg(not(feature = "shuttle"))]
pub type MutexGuard<'a, T> = spin::mutex::TicketMutexGuard<'a, T>;

#[cfg(feature = "shuttle")]
mod explored;
#[cfg(feature = "shuttle")]
pub use explored::{Mutex, MutexGuard, deepest, held};
#[cfg(feature = "shuttle")]
pub use shuttle::sync::atomic;
