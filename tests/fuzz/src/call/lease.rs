// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory that the core takes for ever, given back after each run: ten million runs would leak
//! tens of gigabytes.

/// What was lent; dropping it frees all of it.
#[derive(Default)]
pub struct Lease {
    give_back: Vec<Box<dyn FnOnce()>>,
}

impl Lease {
    /// Lends `value`.
    ///
    /// # Safety
    /// When the lease is dropped, nobody uses the reference again.
    pub unsafe fn lend<T: ?Sized + 'static>(&mut self, value: Box<T>) -> &'static mut T {
        let pointer = Box::into_raw(value);
        // SAFETY: the pointer is of a box that nobody else has; it is made a box again once, when
        // the caller says that the reference is not used any more.
        self.give_back
            .push(Box::new(move || drop(unsafe { Box::from_raw(pointer) })));
        // SAFETY: as above, until then.
        unsafe { &mut *pointer }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        for give_back in self.give_back.drain(..) {
            give_back();
        }
    }
}
