// SPDX-License-Identifier: MIT OR Apache-2.0
//! Device registers: one load or store each, in a form that a hypervisor could emulate.

/// Device registers by their offset in bytes; in tests a trace of what is done to them.
pub trait Mmio: Copy {
    /// The registers `offset` bytes further.
    #[must_use]
    fn at(self, offset: usize) -> Self;
    /// Reads 32 bits.
    fn read(self, offset: usize) -> u32;
    /// Reads 64 bits.
    fn read64(self, offset: usize) -> u64;
    /// Writes 8 bits.
    fn write8(self, offset: usize, value: u8);
    /// Writes 32 bits.
    fn write(self, offset: usize, value: u32);
    /// Writes 64 bits.
    fn write64(self, offset: usize, value: u64);
}

#[cfg(target_arch = "aarch64")]
pub use frame::Frame;

#[cfg(target_arch = "aarch64")]
mod frame {
    use super::Mmio;

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
    }

    macro_rules! load {
        ($instruction:literal, $type:ty, $self:expr, $offset:expr) => {{
            let value: $type;
            // SAFETY: `new`'s contract.
            unsafe {
                core::arch::asm!(
                    $instruction,
                    out(reg) value,
                    in(reg) $self.base + $offset,
                    options(nostack, preserves_flags),
                );
            }
            value
        }};
    }

    macro_rules! store {
        ($instruction:literal, $value:expr, $self:expr, $offset:expr) => {
            // SAFETY: `new`'s contract.
            unsafe {
                core::arch::asm!(
                    $instruction,
                    in(reg) $value,
                    in(reg) $self.base + $offset,
                    options(nostack, preserves_flags),
                );
            }
        };
    }

    impl Mmio for Frame {
        fn at(self, offset: usize) -> Self {
            Self {
                base: self.base + offset,
            }
        }

        #[inline]
        fn read(self, offset: usize) -> u32 {
            load!("ldr {:w}, [{}]", u32, self, offset)
        }

        #[inline]
        fn read64(self, offset: usize) -> u64 {
            load!("ldr {}, [{}]", u64, self, offset)
        }

        #[inline]
        fn write8(self, offset: usize, value: u8) {
            store!("strb {:w}, [{}]", u32::from(value), self, offset);
        }

        #[inline]
        fn write(self, offset: usize, value: u32) {
            store!("str {:w}, [{}]", value, self, offset);
        }

        #[inline]
        fn write64(self, offset: usize, value: u64) {
            store!("str {}, [{}]", value, self, offset);
        }
    }
}
