// SPDX-License-Identifier: MIT OR Apache-2.0
//! Locks whose order of acquisition a test chooses, and which count how many of them a core holds.

use core::cell::Cell;
use core::ops::{Deref, DerefMut};

shuttle::thread_local! {
    /// How many locks the core holds, and the most that it ever held.
    static DEPTH: Cell<(usize, usize)> = Cell::new((0, 0));
}

/// How many locks the calling core holds.
pub fn held() -> usize {
    DEPTH.with(Cell::get).0
}

/// The most locks that the calling core has held at once.
pub fn deepest() -> usize {
    DEPTH.with(Cell::get).1
}

/// A lock. It is not fair: a test may let whoever it wants be next.
#[derive(Debug, Default)]
pub struct Mutex<T>(shuttle::sync::Mutex<T>);

/// What holds a [`Mutex`].
pub struct MutexGuard<'a, T>(shuttle::sync::MutexGuard<'a, T>);

impl<T> Mutex<T> {
    /// A free lock around `value`.
    pub const fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    /// Waits until the lock is free, and takes it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        // Whoever panics with a lock ends the test.
        let guard = self
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        DEPTH.with(|depth| {
            let (held, deepest) = depth.get();
            let held = held.saturating_add(1);
            depth.set((held, deepest.max(held)));
        });
        MutexGuard(guard)
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        // A core that ends by a panic counts no more.
        let _ = DEPTH.try_with(|depth| {
            let (held, deepest) = depth.get();
            depth.set((held.saturating_sub(1), deepest));
        });
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
