// SPDX-License-Identifier: MIT OR Apache-2.0
//! SMC, HVC and SVC with every general-purpose register as input and as output.

use core::arch::global_asm;

use bulkhead_abi::Registers;

use crate::entry::{ExceptionLevel, exception_level};

global_asm!(include_str!("call.s"));

/// The instruction of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conduit {
    /// SMC #0, from both worlds.
    Smc,
    /// HVC #0, from a partition at S-EL1.
    Hvc,
    /// SVC #0, from a partition at S-EL0.
    Svc,
}

impl Conduit {
    /// The instruction that every payload at this exception level can make FF-A calls with.
    pub fn own() -> Self {
        match exception_level() {
            ExceptionLevel::El0 => Self::Svc,
            ExceptionLevel::El1 | ExceptionLevel::El2 => Self::Smc,
        }
    }
}

/// Makes a call with x0–x30 from `registers` and leaves there what came back. Returns PSTATE.DAIF
/// after the call.
pub fn call(conduit: Conduit, registers: &mut Registers) -> u64 {
    unsafe extern "C" {
        fn payload_call_smc(registers: *mut Registers) -> u64;
        fn payload_call_hvc(registers: *mut Registers) -> u64;
        fn payload_call_svc(registers: *mut Registers) -> u64;
    }
    let registers: *mut Registers = registers;
    // SAFETY: the functions keep the caller's registers and write the 31 values only; whatever the
    // callee does to this payload's memory is what the payload exists to find out.
    unsafe {
        match conduit {
            Conduit::Smc => payload_call_smc(registers),
            Conduit::Hvc => payload_call_hvc(registers),
            Conduit::Svc => payload_call_svc(registers),
        }
    }
}

/// Makes a call by SMC, or SVC at S-EL0, with x0–x17 as arguments and results. x18–x30 go in as zero and are not looked at.
pub fn smc(x: &mut [u64; 18]) {
    plain(Conduit::own(), x);
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
