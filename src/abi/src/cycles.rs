// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers of the calls that give and take CPU cycles: FFA_RUN, FFA_YIELD, and
//! what FFA_INTERRUPT, FFA_MSG_WAIT and FFA_YIELD say in w1 when they answer FFA_RUN.

use crate::{EndpointId, Registers, VcpuIndex};

/// An execution context of an endpoint: w1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Target {
    /// Bits 31:16: the endpoint.
    pub endpoint: EndpointId,
    /// Bits 15:0: its vCPU.
    pub vcpu: VcpuIndex,
}

impl Target {
    /// Reads w1.
    #[inline]
    pub fn decode(registers: &Registers) -> Self {
        Self {
            endpoint: registers.sender(),
            vcpu: VcpuIndex(registers.receiver().0),
        }
    }

    /// w1.
    #[inline]
    pub fn encode(self) -> u64 {
        EndpointId::pair(self.endpoint, EndpointId(self.vcpu.0))
    }
}

/// When FFA_YIELD's caller wants to run again, in nanoseconds from now: bits 31:0 in w2, bits 63:32
/// in w3; zero for no wish.
pub fn yield_timeout(registers: &Registers) -> u64 {
    (u64::from(registers.w::<3>()) << 32) | u64::from(registers.w::<2>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a75_a_target_is_an_endpoint_and_a_vcpu() {
        let mut call = Registers::ZERO;
        call.x[1] = 0xdead_beef_8001_0003;
        let target = Target {
            endpoint: EndpointId(0x8001),
            vcpu: VcpuIndex(3),
        };
        assert_eq!(Target::decode(&call), target);
        assert_eq!(target.encode(), 0x8001_0003);
    }

    #[test]
    fn a76_a_timeout_has_its_low_half_in_w2() {
        let mut call = Registers::ZERO;
        call.x[2] = 0xffff_ffff_0000_0001;
        call.x[3] = 0xffff_ffff_0000_0002;
        assert_eq!(yield_timeout(&call), 0x2_0000_0001);
    }
}
