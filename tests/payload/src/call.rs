// SPDX-License-Identifier: MIT OR Apache-2.0
//! SMC and HVC with every general-purpose register as input and as output.

use core::arch::global_asm;

use bulkhead_abi::Registers;

global_asm!(include_str!("call.s"));

/// The instruction of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conduit {
    /// SMC #0, from both worlds.
    Smc,
    /// HVC #0, from a partition.
    Hvc,
}

/// Makes a call with x0–x30 from `registers` and leaves there what came back. Returns PSTATE.DAIF
/// after the call.
pub fn call(conduit: Conduit, registers: &mut Registers) -> u64 {
    unsafe extern "C" {
        fn payload_call_smc(registers: *mut Registers) -> u64;
        fn payload_call_hvc(registers: *mut Registers) -> u64;
    }
    let registers: *mut Registers = registers;
    // SAFETY: the functions keep the caller's registers and write the 31 values only; whatever the
    // callee does to this payload's memory is what the payload exists to find out.
    unsafe {
        match conduit {
            Conduit::Smc => payload_call_smc(registers),
            Conduit::Hvc => payload_call_hvc(registers),
        }
    }
}

/// Makes a call with x0–x17 as arguments and results. x18–x30 go in as zero and are not looked at.
pub fn smc(x: &mut [u64; 18]) {
    plain(Conduit::Smc, x);
}

/// As [`smc`], by HVC.
pub fn hvc(x: &mut [u64; 18]) {
    plain(Conduit::Hvc, x);
}

fn plain(conduit: Conduit, x: &mut [u64; 18]) {
    let mut registers = Registers::ZERO;
    registers.x[..18].copy_from_slice(x);
    call(conduit, &mut registers);
    x.copy_from_slice(&registers.x[..18]);
}
