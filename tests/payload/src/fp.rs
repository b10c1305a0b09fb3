// SPDX-License-Identifier: MIT OR Apache-2.0
//! The FP/SIMD registers. Nothing else in a payload uses them, so they keep what is put there.

use core::arch::{asm, global_asm};

use crate::request::Canary;

/// V0–V31, FPSR and FPCR.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C, align(16))]
pub struct FpState {
    /// V0–V31, each as its low and its high half.
    pub v: [[u64; 2]; 32],
    /// The status register.
    pub fpsr: u64,
    /// The control register.
    pub fpcr: u64,
}

global_asm!(
    ".arch_extension fp",
    ".arch_extension simd",
    ".macro payload_fp_registers operation",
    "\\operation q0, q1, [x0]",
    "\\operation q2, q3, [x0, #32]",
    "\\operation q4, q5, [x0, #64]",
    "\\operation q6, q7, [x0, #96]",
    "\\operation q8, q9, [x0, #128]",
    "\\operation q10, q11, [x0, #160]",
    "\\operation q12, q13, [x0, #192]",
    "\\operation q14, q15, [x0, #224]",
    "\\operation q16, q17, [x0, #256]",
    "\\operation q18, q19, [x0, #288]",
    "\\operation q20, q21, [x0, #320]",
    "\\operation q22, q23, [x0, #352]",
    "\\operation q24, q25, [x0, #384]",
    "\\operation q26, q27, [x0, #416]",
    "\\operation q28, q29, [x0, #448]",
    "\\operation q30, q31, [x0, #480]",
    ".endm",
    ".global payload_fp_load",
    "payload_fp_load:",
    "payload_fp_registers ldp",
    "add x0, x0, #512",
    "ldp x1, x2, [x0]",
    "msr fpsr, x1",
    "msr fpcr, x2",
    "ret",
    ".global payload_fp_store",
    "payload_fp_store:",
    "payload_fp_registers stp",
    "mrs x1, fpsr",
    "mrs x2, fpcr",
    "add x0, x0, #512",
    "stp x1, x2, [x0]",
    "ret",
    ".arch_extension nosimd",
    ".arch_extension nofp",
);

unsafe extern "C" {
    fn payload_fp_load(state: *const FpState);
    fn payload_fp_store(state: *mut FpState);
}

impl FpState {
    /// A state with different bits in every register.
    pub fn canaries(canary: Canary) -> Self {
        /// FPSR's cumulative flags, QC and IDC to IOC: writing them has no effect.
        const FPSR: u64 = 0x0800_009f;
        /// FPCR's AHP, DN, FZ and RMode: no trap is enabled.
        const FPCR: u64 = 0x07c0_0000;
        let mut state = Self {
            v: core::array::from_fn(|index| {
                [canary.pattern(2 * index), canary.pattern(2 * index + 1)]
            }),
            fpsr: canary.pattern(64) & FPSR,
            fpcr: canary.pattern(65) & FPCR,
        };
        // Two occasions may not share these few bits with zero, the value after reset.
        state.fpsr |= 1;
        state.fpcr |= 1 << 24;
        state
    }

    /// Loads the registers from this state.
    pub fn load(&self) {
        // SAFETY: the compiler does not use these registers, and FP does not trap at this level.
        unsafe { payload_fp_load(self) };
    }

    /// The registers' state.
    pub fn current() -> Self {
        let mut state = Self {
            v: [[0; 2]; 32],
            fpsr: 0,
            fpcr: 0,
        };
        // SAFETY: writes `state` only; FP does not trap at this level.
        unsafe { payload_fp_store(&mut state) };
        state
    }

    /// The name of the first register that differs, with the value expected here and the one found.
    pub fn difference(&self, found: &Self) -> Option<(&'static str, u64, u64)> {
        const NAMES: [&str; 32] = [
            "V0", "V1", "V2", "V3", "V4", "V5", "V6", "V7", "V8", "V9", "V10", "V11", "V12", "V13",
            "V14", "V15", "V16", "V17", "V18", "V19", "V20", "V21", "V22", "V23", "V24", "V25",
            "V26", "V27", "V28", "V29", "V30", "V31",
        ];
        for (name, (expected, found)) in NAMES.iter().zip(self.v.iter().zip(&found.v)) {
            if let Some(half) = (0..2).find(|&half| expected[half] != found[half]) {
                return Some((name, expected[half], found[half]));
            }
        }
        [
            ("FPSR", self.fpsr, found.fpsr),
            ("FPCR", self.fpcr, found.fpcr),
        ]
        .into_iter()
        .find(|(_, expected, found)| expected != found)
    }
}

/// Whether the core has FP and SIMD: ID_AA64PFR0_EL1.FP and AdvSIMD are not 15.
pub fn present() -> bool {
    let features: u64;
    // SAFETY: reads a register that has no side effect.
    unsafe { asm!("mrs {}, id_aa64pfr0_el1", out(reg) features, options(nomem, nostack)) };
    features >> 16 & 0xf != 0xf && features >> 20 & 0xf != 0xf
}
