// SPDX-License-Identifier: MIT OR Apache-2.0
//! FP and Advanced SIMD state, and the normal world's SVE state that shares its registers.
//!
//! Bulkhead is built without FP. Partitions may use FP and Advanced SIMD; SVE and SME are not there
//! for them. S-EL2 cannot trap the normal world's use (EL3 swaps CPTR_EL2), so the first use by a
//! partition traps, saves what the normal world has, and it is back before the normal world runs
//! again (DECISIONS 3).
//!
//! A partition's write to a V register clears the rest of the Z register. So where the machine has
//! SVE and EL3 allows it, the normal world's full Z, P and FFR are kept; where it has SME, in
//! whichever mode the normal world was, streaming or not. ZA is never touched: it stays in place.

use core::arch::naked_asm;

/// V0 to V31, FPCR and FPSR.
#[derive(Clone, Debug)]
#[repr(C, align(16))]
pub struct FpState {
    /// V0 at index 0, low half first.
    pub v: [[u64; 2]; 32],
    /// FPCR.
    pub fpcr: u64,
    /// FPSR.
    pub fpsr: u64,
}

impl Default for FpState {
    fn default() -> Self {
        Self { v: [[0; 2]; 32], fpcr: 0, fpsr: 0 }
    }
}

/// The bytes of Z0 to Z31, P0 to P15 and FFR at a vector length of `vector` bytes.
pub const fn vector_state_size(vector: usize) -> usize {
    32 * vector + 17 * (vector / 8)
}

/// Saves V0 to V31, FPCR and FPSR of this core.
///
/// # Safety
/// FP does not trap at S-EL2.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn save_fp(_to: *mut FpState) {
    naked_asm!(
        ".arch_extension fp",
        ".arch_extension simd",
        "stp q0, q1, [x0], #32",
        "stp q2, q3, [x0], #32",
        "stp q4, q5, [x0], #32",
        "stp q6, q7, [x0], #32",
        "stp q8, q9, [x0], #32",
        "stp q10, q11, [x0], #32",
        "stp q12, q13, [x0], #32",
        "stp q14, q15, [x0], #32",
        "stp q16, q17, [x0], #32",
        "stp q18, q19, [x0], #32",
        "stp q20, q21, [x0], #32",
        "stp q22, q23, [x0], #32",
        "stp q24, q25, [x0], #32",
        "stp q26, q27, [x0], #32",
        "stp q28, q29, [x0], #32",
        "stp q30, q31, [x0], #32",
        "mrs x1, fpcr",
        "mrs x2, fpsr",
        "stp x1, x2, [x0]",
        "ret",
        ".arch_extension nosimd",
        ".arch_extension nofp",
    )
}

/// Restores what [`save_fp`] saved.
///
/// # Safety
/// FP does not trap at S-EL2, and what this core has in the registers is saved or not wanted.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn restore_fp(_from: *const FpState) {
    naked_asm!(
        ".arch_extension fp",
        ".arch_extension simd",
        "ldp q0, q1, [x0], #32",
        "ldp q2, q3, [x0], #32",
        "ldp q4, q5, [x0], #32",
        "ldp q6, q7, [x0], #32",
        "ldp q8, q9, [x0], #32",
        "ldp q10, q11, [x0], #32",
        "ldp q12, q13, [x0], #32",
        "ldp q14, q15, [x0], #32",
        "ldp q16, q17, [x0], #32",
        "ldp q18, q19, [x0], #32",
        "ldp q20, q21, [x0], #32",
        "ldp q22, q23, [x0], #32",
        "ldp q24, q25, [x0], #32",
        "ldp q26, q27, [x0], #32",
        "ldp q28, q29, [x0], #32",
        "ldp q30, q31, [x0], #32",
        "ldp x1, x2, [x0]",
        "msr fpcr, x1",
        "msr fpsr, x2",
        "ret",
        ".arch_extension nosimd",
        ".arch_extension nofp",
    )
}
