// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the core takes for ever, given back after each schedule: 100,000 of them would leak
//! gigabytes.

/// A value that was lent: where it is, and how it is freed.
struct Loan {
    value: *mut (),
    free: unsafe fn(*mut ()),
}

// SAFETY: a loan does nothing with its value but free it, and `lend` takes only what may be sent.
unsafe impl Send for Loan {}
// SAFETY: a shared loan can do nothing at all.
unsafe impl Sync for Loan {}

/// What was lent; dropping it frees all of it.
#[derive(Default)]
pub struct Lease {
    loans: Vec<Loan>,
}

/// Frees a value that [`Lease::lend`] took.
///
/// # Safety
/// `value` is of a box of `T`, and nobody uses it again.
unsafe fn free<T>(value: *mut ()) {
    // SAFETY: as the caller says.
    drop(unsafe { Box::from_raw(value.cast::<T>()) });
}

impl Lease {
    /// Lends `value`.
    ///
    /// # Safety
    /// When the lease is dropped, nobody uses the reference again.
    pub unsafe fn lend<T: Send + Sync + 'static>(&mut self, value: T) -> &'static mut T {
        let value = Box::into_raw(Box::new(value));
        self.loans.push(Loan {
            value: value.cast(),
            free: free::<T>,
        });
        // SAFETY: the pointer is of a box that lives until the lease is dropped, and there is no
        // other reference.
        unsafe { &mut *value }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Other cores may still be in the middle of something.
            return;
        }
        for loan in self.loans.drain(..) {
            // SAFETY: `value` and `free` come from the same call of `lend`, and whoever made it said
            // that nobody uses the value any more.
            unsafe { (loan.free)(loan.value) };
        }
    }
}
