// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory handles.

use core::fmt;

use zerocopy::little_endian::U64;

/// Who made a handle: bit 63 (H5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Allocator {
    /// 0: the SPMC.
    Spmc,
    /// 1: the hypervisor.
    Hypervisor,
}

/// The name of a memory transaction. Which of bits 62:0 are an index and which a generation is the
/// allocator's business.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Handle(pub u64);

impl Handle {
    /// Bit 63.
    const ALLOCATOR: u64 = 1 << 63;
    /// What a request has that makes a transaction, which has no handle yet (S15).
    pub const NONE: Self = Self(0);

    /// From two registers, bits 31:0 in the first one: w1, w2 of FFA_MEM_RECLAIM, FFA_MEM_FRAG_RX
    /// and FFA_MEM_FRAG_TX (H4).
    #[inline]
    pub fn from_words(low: u32, high: u32) -> Self {
        Self((u64::from(high) << 32) | u64::from(low))
    }

    /// To two registers, the inverse of [`Handle::from_words`]; w2, w3 of the FFA_SUCCESS that
    /// answers a donate, lend or share.
    #[inline]
    pub const fn to_words(self) -> (u32, u32) {
        let [b0, b1, b2, b3, b4, b5, b6, b7] = self.0.to_le_bytes();
        (
            u32::from_le_bytes([b0, b1, b2, b3]),
            u32::from_le_bytes([b4, b5, b6, b7]),
        )
    }

    /// Who made it.
    #[inline]
    pub const fn allocator(self) -> Allocator {
        if self.0 & Self::ALLOCATOR == 0 {
            Allocator::Spmc
        } else {
            Allocator::Hypervisor
        }
    }
}

impl From<U64> for Handle {
    fn from(value: U64) -> Self {
        Self(value.get())
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h4_the_low_half_comes_first() {
        let handle = Handle(0x8000_0001_0000_0002);
        assert_eq!(handle.to_words(), (2, 0x8000_0001));
        assert_eq!(Handle::from_words(2, 0x8000_0001), handle);
    }

    #[test]
    fn h5_bit_63_names_the_allocator() {
        assert_eq!(Handle(1 << 63).allocator(), Allocator::Hypervisor);
        assert_eq!(Handle(u64::MAX >> 1).allocator(), Allocator::Spmc);
    }
}
