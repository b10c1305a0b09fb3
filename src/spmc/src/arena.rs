// SPDX-License-Identifier: MIT OR Apache-2.0
//! The boot arena: memory for what lives as long as the firmware, handed out once and sealed before
//! the first partition runs (DESIGN.md rule 4).

use core::mem::MaybeUninit;

/// The arena has no room; the board gives Bulkhead too little RAM for its manifest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArenaFull;

impl core::fmt::Display for ArenaFull {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Bulkhead's memory is full: give it more RAM in the board crate")
    }
}

/// Memory that is handed out from its start.
#[derive(Debug)]
pub struct Arena {
    next: usize,
    end: usize,
}

impl Arena {
    /// An arena of the bytes from `start` to `end`.
    ///
    /// # Safety
    /// The memory is mapped readable and writable for good, and nothing else is there.
    pub const unsafe fn new(start: usize, end: usize) -> Self {
        Self { next: start, end }
    }

    /// How many bytes are left.
    pub const fn available(&self) -> usize {
        self.end - self.next
    }

    /// Ends it: what is left is never handed out.
    pub fn seal(self) {}

    fn take(&mut self, size: usize, align: usize) -> Result<usize, ArenaFull> {
        let start = self.next.checked_next_multiple_of(align).ok_or(ArenaFull)?;
        let end = start
            .checked_add(size)
            .filter(|end| *end <= self.end)
            .ok_or(ArenaFull)?;
        self.next = end;
        Ok(start)
    }

    /// Room for `length` values.
    ///
    /// # Errors
    /// [`ArenaFull`].
    pub fn slots<T>(&mut self, length: usize) -> Result<&'static mut [MaybeUninit<T>], ArenaFull> {
        let size = size_of::<T>().checked_mul(length).ok_or(ArenaFull)?;
        let start = self.take(size, align_of::<T>())?;
        let first = core::ptr::with_exposed_provenance_mut(start);
        // SAFETY: the bytes are aligned, mapped for good (`new`) and handed out this once;
        // uninitialised is what they may be.
        Ok(unsafe { core::slice::from_raw_parts_mut(first, length) })
    }

    /// A value that lives from now on.
    ///
    /// # Errors
    /// [`ArenaFull`].
    pub fn value<T>(&mut self, value: T) -> Result<&'static mut T, ArenaFull> {
        let slots = self.slots(1)?;
        Ok(slots[0].write(value))
    }

    /// `length` values, each made by `make` from its index.
    ///
    /// # Errors
    /// [`ArenaFull`], or what `make` returns.
    pub fn slice<T, E: From<ArenaFull>>(
        &mut self,
        length: usize,
        mut make: impl FnMut(&mut Self, usize) -> Result<T, E>,
    ) -> Result<&'static mut [T], E> {
        let slots = self.slots(length)?;
        for (index, slot) in slots.iter_mut().enumerate() {
            slot.write(make(self, index)?);
        }
        // SAFETY: each slot was written.
        Ok(unsafe { slots.assume_init_mut() })
    }

    /// The values of an iterator, which yields the same ones when it is cloned.
    ///
    /// # Errors
    /// [`ArenaFull`].
    pub fn collect<T>(
        &mut self,
        values: impl Iterator<Item = T> + Clone,
    ) -> Result<&'static mut [T], ArenaFull> {
        let slots = self.slots(values.clone().count())?;
        let mut filled = 0;
        for (slot, value) in slots.iter_mut().zip(values) {
            slot.write(value);
            filled += 1;
        }
        // SAFETY: the first `filled` slots were written.
        Ok(unsafe { slots[..filled].assume_init_mut() })
    }

    /// `size` zeroed bytes on a boundary of `align` bytes.
    ///
    /// # Errors
    /// [`ArenaFull`].
    pub fn bytes(&mut self, size: usize, align: usize) -> Result<&'static mut [u8], ArenaFull> {
        let start = self.take(size, align)?;
        let first = core::ptr::with_exposed_provenance_mut::<u8>(start);
        // SAFETY: as in `slots`; any byte is a `u8` once it is written, which happens first.
        unsafe {
            first.write_bytes(0, size);
            Ok(core::slice::from_raw_parts_mut(first, size))
        }
    }
}
