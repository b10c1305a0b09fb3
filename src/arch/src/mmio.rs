// SPDX-License-Identifier: MIT OR Apache-2.0
//! Device registers: one load or store each, in a form that a hypervisor could emulate.

/// A mapped frame of device registers.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    base: usize,
}

impl Frame {
    /// The frame at the virtual address `base`.
    ///
    /// # Safety
    /// `base` is mapped as device memory for as long as the value is used, as far as offsets are
    /// used, and belongs to a device whose registers cannot break Rust's memory when they are used
    /// as its driver does.
    pub const unsafe fn new(base: usize) -> Self {
        Self { base }
    }

    /// The frame `offset` bytes further, which the mapping covers too.
    #[must_use]
    pub const fn at(self, offset: usize) -> Self {
        Self {
            base: self.base + offset,
        }
    }

    /// Reads 32 bits.
    #[inline]
    pub fn read(self, offset: usize) -> u32 {
        let value: u32;
        // SAFETY: `new`'s contract.
        unsafe {
            core::arch::asm!(
                "ldr {:w}, [{}]",
                out(reg) value,
                in(reg) self.base + offset,
                options(nostack, preserves_flags),
            );
        }
        value
    }

    /// Reads 64 bits.
    #[inline]
    pub fn read64(self, offset: usize) -> u64 {
        let value: u64;
        // SAFETY: `new`'s contract.
        unsafe {
            core::arch::asm!(
                "ldr {}, [{}]",
                out(reg) value,
                in(reg) self.base + offset,
                options(nostack, preserves_flags),
            );
        }
        value
    }

    /// Writes 32 bits.
    #[inline]
    pub fn write(self, offset: usize, value: u32) {
        // SAFETY: `new`'s contract.
        unsafe {
            core::arch::asm!(
                "str {:w}, [{}]",
                in(reg) value,
                in(reg) self.base + offset,
                options(nostack, preserves_flags),
            );
        }
    }

    /// Writes 8 bits.
    #[inline]
    pub fn write8(self, offset: usize, value: u8) {
        // SAFETY: `new`'s contract.
        unsafe {
            core::arch::asm!(
                "strb {:w}, [{}]",
                in(reg) u32::from(value),
                in(reg) self.base + offset,
                options(nostack, preserves_flags),
            );
        }
    }
}
