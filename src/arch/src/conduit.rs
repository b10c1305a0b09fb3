// SPDX-License-Identifier: MIT OR Apache-2.0
//! SMC to EL3.

use core::arch::naked_asm;

use bulkhead_abi::Registers;

/// Makes an SMC with x0 to x17 of `registers`, and puts x0 to x17 of the answer there. x18 to x30 are
/// neither passed nor changed.
///
/// The SPMD may run the normal world before it answers: EL1 and FP state must be its own by then
/// ([`Cpu::return_to_normal_world`](crate::switch::Cpu::return_to_normal_world)).
#[inline]
pub fn smc(registers: &mut Registers) {
    // SAFETY: the routine keeps to the procedure call standard; x0 to x17 are all that EL3 changes
    // (SMCCC), and EL3 keeps S-EL2's other registers across the normal world's run.
    unsafe { bulkhead_smc(registers) }
}

#[unsafe(naked)]
unsafe extern "C" fn bulkhead_smc(_registers: *mut Registers) {
    naked_asm!(
        "stp x29, x30, [sp, #-32]!",
        "mov x29, sp",
        "str x0, [sp, #16]",
        "ldp x2, x3, [x0, #16]",
        "ldp x4, x5, [x0, #32]",
        "ldp x6, x7, [x0, #48]",
        "ldp x8, x9, [x0, #64]",
        "ldp x10, x11, [x0, #80]",
        "ldp x12, x13, [x0, #96]",
        "ldp x14, x15, [x0, #112]",
        "ldp x16, x17, [x0, #128]",
        "ldp x0, x1, [x0]",
        "smc #0",
        "ldr x30, [sp, #16]",
        "stp x0, x1, [x30]",
        "stp x2, x3, [x30, #16]",
        "stp x4, x5, [x30, #32]",
        "stp x6, x7, [x30, #48]",
        "stp x8, x9, [x30, #64]",
        "stp x10, x11, [x30, #80]",
        "stp x12, x13, [x30, #96]",
        "stp x14, x15, [x30, #112]",
        "stp x16, x17, [x30, #128]",
        "ldp x29, x30, [sp], #32",
        "ret",
    )
}
