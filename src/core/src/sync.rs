// SPDX-License-Identifier: MIT OR Apache-2.0
//! The locks of the core, named once so that tests can put others in their place.

/// A fair lock: whoever waits longest is next.
pub type Mutex<T> = spin::mutex::TicketMutex<T>;

/// What holds a [`Mutex`].
pub type MutexGuard<'a, T> = spin::mutex::TicketMutexGuard<'a, T>;
