// SPDX-License-Identifier: MIT OR Apache-2.0
//! Endpoint and execution context identifiers.

use core::fmt;

/// A 16-bit FF-A endpoint id. Bit 15 tells the secure world from the normal world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(pub u16);

impl EndpointId {
    /// The hypervisor, or the OS kernel where there is none.
    pub const NORMAL_WORLD: Self = Self(0);
    /// The SPMD at EL3.
    pub const SPMD: Self = Self(0xffff);

    /// Whether the id belongs to the secure world.
    pub const fn is_secure(self) -> bool {
        self.0 & 0x8000 != 0
    }

    /// The world that the id belongs to. Of memory, the page's own state says (design rule 8).
    pub const fn world(self) -> World {
        if self.is_secure() {
            World::Secure
        } else {
            World::Normal
        }
    }

    /// The sender of a direct message or of FFA_RUN-style registers: bits 31:16 of w1.
    pub const fn high_half(w1: u64) -> Self {
        let [_, _, _, _, b3, b2, _, _] = w1.to_be_bytes();
        Self(u16::from_be_bytes([b3, b2]))
    }

    /// The receiver: bits 15:0 of w1.
    pub const fn low_half(w1: u64) -> Self {
        let [.., b1, b0] = w1.to_be_bytes();
        Self(u16::from_be_bytes([b1, b0]))
    }

    /// `high` in bits 31:16 and `low` in bits 15:0.
    pub fn pair(high: Self, low: Self) -> u64 {
        (u64::from(high.0) << 16) | u64::from(low.0)
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

/// A security state, of a caller or of an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum World {
    /// The normal world: its OS or hypervisor, and VMs.
    Normal,
    /// The secure world: partitions, the SPMC and the SPMD.
    Secure,
}

/// The index of an execution context (vCPU) within its partition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VcpuIndex(pub u16);

impl VcpuIndex {
    /// The first execution context, which initialises the partition.
    pub const BOOT: Self = Self(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a06_bit_15_tells_the_world() {
        assert_eq!(EndpointId::NORMAL_WORLD.world(), World::Normal);
        assert_eq!(EndpointId(0x7fff).world(), World::Normal);
        assert_eq!(EndpointId(0x8000).world(), World::Secure);
        assert_eq!(EndpointId::SPMD.world(), World::Secure);
    }

    #[test]
    fn v17_halves_of_w1_ignore_the_upper_half_of_x1() {
        let x1 = 0xdead_beef_8001_0002;
        assert_eq!(EndpointId::high_half(x1), EndpointId(0x8001));
        assert_eq!(EndpointId::low_half(x1), EndpointId(0x0002));
        assert_eq!(
            EndpointId::pair(EndpointId(0x8001), EndpointId(2)),
            0x8001_0002
        );
    }
}
