// SPDX-License-Identifier: MIT OR Apache-2.0
//! System registers at S-EL2 with HCR_EL2.E2H = 1: how they are read and written, and the layouts
//! that the `aarch64-cpu` crate lacks or has for E2H = 0 only (DECISIONS 1).
//!
//! Accesses here are memory barriers for the compiler, unlike those of `aarch64-cpu`: a write to a
//! register that changes what memory means must not move across the accesses around it. With
//! E2H = 1 the plain `_EL1` names mean EL2's registers, so EL1's own state is named by encoding, in
//! [`context`](crate::context) alone.

pub use aarch64_cpu::registers::{ESR_EL2, HCR_EL2, MDCR_EL2, SPSR_EL2};

/// Reads a system register by name or by encoding (`S3_4_C14_C5_1`).
macro_rules! read {
    ($name:expr) => {{
        let value: u64;
        // SAFETY: reading a register that exists at this level changes nothing; callers name
        // registers that the architecture has at S-EL2 or that were probed.
        unsafe {
            core::arch::asm!(
                concat!("mrs {}, ", $name),
                out(reg) value,
                options(nostack, preserves_flags),
            );
        }
        value
    }};
}

/// Writes a system register by name or by encoding. The caller holds the `unsafe`: it says why the
/// new value upholds what memory and the other levels rely on.
macro_rules! write {
    ($name:literal, $value:expr) => {{
        let value: u64 = $value;
        core::arch::asm!(
            concat!("msr ", $name, ", {}"),
            in(reg) value,
            options(nostack, preserves_flags),
        );
    }};
}

pub(crate) use {read, write};

/// Instruction synchronisation barrier: earlier register writes take effect.
#[inline]
pub fn isb() {
    // SAFETY: a barrier changes no state.
    unsafe { core::arch::asm!("isb", options(nostack, preserves_flags)) }
}

/// Completes earlier memory accesses and maintenance for the whole system.
#[inline]
pub fn dsb() {
    // SAFETY: a barrier changes no state.
    unsafe { core::arch::asm!("dsb sy", options(nostack, preserves_flags)) }
}

pub use layouts::{CNTHCTL, CPTR, PAR, SCTLR, TCR};

#[expect(
    missing_docs,
    reason = "the fields are documented; the macro adds items that are not"
)]
mod layouts {
    use tock_registers::register_bitfields;

    register_bitfields! {u64,
        /// CPTR_EL2 with E2H = 1, which is CPACR_EL1's layout.
        pub CPTR [
            /// Traps accesses to CPACR_EL1 from EL1.
            TCPAC OFFSET(31) NUMBITS(1) [],
            /// Traps the activity monitors.
            TAM OFFSET(30) NUMBITS(1) [],
            /// Traps trace registers.
            TTA OFFSET(28) NUMBITS(1) [],
            /// SME: streaming mode, ZA and SMCR.
            SMEN OFFSET(24) NUMBITS(2) [Trap = 0, Allow = 3],
            /// FP and Advanced SIMD.
            FPEN OFFSET(20) NUMBITS(2) [Trap = 0, Allow = 3],
            /// SVE and ZCR.
            ZEN OFFSET(16) NUMBITS(2) [Trap = 0, Allow = 3],
        ],
        /// CNTHCTL_EL2 with E2H = 1.
        pub CNTHCTL [
            /// EL1's reads of the virtual counter trap (FEAT_ECV).
            EL1TVCT OFFSET(14) NUMBITS(1) [],
            /// EL1's accesses to the virtual timer trap (FEAT_ECV).
            EL1TVT OFFSET(13) NUMBITS(1) [],
            /// Physical timer registers at EL1 and EL0 do not trap.
            EL1PTEN OFFSET(11) NUMBITS(1) [],
            /// The physical counter at EL1 and EL0 does not trap.
            EL1PCTEN OFFSET(10) NUMBITS(1) [],
            /// The virtual counter at EL0 does not trap, while HCR_EL2.TGE is set.
            EL0VCTEN OFFSET(1) NUMBITS(1) [],
            /// The physical counter at EL0 does not trap, while HCR_EL2.TGE is set.
            EL0PCTEN OFFSET(0) NUMBITS(1) [],
        ],
        /// TCR_EL2 with E2H = 1.
        pub TCR [
            /// EL0's accesses to the upper half fault (FEAT_E0PD).
            E0PD1 OFFSET(56) NUMBITS(1) [],
            /// Output address size.
            IPS OFFSET(32) NUMBITS(3) [],
            /// Granule of the upper half.
            TG1 OFFSET(30) NUMBITS(2) [KiB4 = 2],
            /// Shareability of walks of the upper half.
            SH1 OFFSET(28) NUMBITS(2) [Inner = 3],
            /// Outer cacheability of walks of the upper half.
            ORGN1 OFFSET(26) NUMBITS(2) [WriteBack = 1],
            /// Inner cacheability of walks of the upper half.
            IRGN1 OFFSET(24) NUMBITS(2) [WriteBack = 1],
            /// No walks of the upper half.
            EPD1 OFFSET(23) NUMBITS(1) [],
            /// 64 minus the address bits of the upper half.
            T1SZ OFFSET(16) NUMBITS(6) [],
            /// Granule of the lower half.
            TG0 OFFSET(14) NUMBITS(2) [KiB4 = 0],
            /// Shareability of walks of the lower half.
            SH0 OFFSET(12) NUMBITS(2) [Inner = 3],
            /// Outer cacheability of walks of the lower half.
            ORGN0 OFFSET(10) NUMBITS(2) [WriteBack = 1],
            /// Inner cacheability of walks of the lower half.
            IRGN0 OFFSET(8) NUMBITS(2) [WriteBack = 1],
            /// No walks of the lower half.
            EPD0 OFFSET(7) NUMBITS(1) [],
            /// 64 minus the address bits of the lower half.
            T0SZ OFFSET(0) NUMBITS(6) [],
        ],
        /// SCTLR_EL2 with E2H = 1, which is SCTLR_EL1's layout.
        pub SCTLR [
            /// Pointer authentication with instruction key A.
            ENIA OFFSET(31) NUMBITS(1) [],
            /// With instruction key B.
            ENIB OFFSET(30) NUMBITS(1) [],
            /// With data key A.
            ENDA OFFSET(27) NUMBITS(1) [],
            /// Cache maintenance is for EL0, too.
            UCI OFFSET(26) NUMBITS(1) [],
            /// LDM and STM to device memory are not trapped (RES1 without FEAT_LSMAOC).
            LSMAOE OFFSET(29) NUMBITS(1) [],
            /// As LSMAOE, for alignment.
            NTLSMD OFFSET(28) NUMBITS(1) [],
            /// PSTATE.PAN is left alone by exceptions of EL0.
            SPAN OFFSET(23) NUMBITS(1) [],
            /// Exception entry synchronises context.
            EIS OFFSET(22) NUMBITS(1) [],
            /// SCXTNUM_EL0 is not for EL0.
            TSCXT OFFSET(20) NUMBITS(1) [],
            /// What is writable is not executable.
            WXN OFFSET(19) NUMBITS(1) [],
            /// EL0's WFE does not trap.
            NTWE OFFSET(18) NUMBITS(1) [],
            /// CTR_EL0 is for EL0, too.
            UCT OFFSET(15) NUMBITS(1) [],
            /// DC ZVA is for EL0, too.
            DZE OFFSET(14) NUMBITS(1) [],
            /// Pointer authentication with data key B.
            ENDB OFFSET(13) NUMBITS(1) [],
            /// Instruction cache.
            I OFFSET(12) NUMBITS(1) [],
            /// Exception return synchronises context.
            EOS OFFSET(11) NUMBITS(1) [],
            /// SETEND is not for EL0.
            SED OFFSET(8) NUMBITS(1) [],
            /// IT restrictions for EL0.
            ITD OFFSET(7) NUMBITS(1) [],
            /// SP alignment check of EL0.
            SA0 OFFSET(4) NUMBITS(1) [],
            /// SP alignment check.
            SA OFFSET(3) NUMBITS(1) [],
            /// Data cache.
            C OFFSET(2) NUMBITS(1) [],
            /// Alignment check.
            A OFFSET(1) NUMBITS(1) [],
            /// MMU.
            M OFFSET(0) NUMBITS(1) [],
        ],
        /// PAR_EL1 after a successful or failed address translation.
        pub PAR [
            /// The output address, bits 51:12.
            PA OFFSET(12) NUMBITS(40) [],
            /// The output is in the non-secure space (translations from the secure state).
            NS OFFSET(9) NUMBITS(1) [],
            /// The translation failed.
            F OFFSET(0) NUMBITS(1) [],
        ],
    }
}

/// Waits for an interrupt, masked or not.
pub fn wait_for_interrupt() {
    // SAFETY: waiting changes no state.
    unsafe { core::arch::asm!("wfi", options(nostack, preserves_flags)) }
}

/// The address of the calling code, for reports.
#[inline(always)]
pub fn pc() -> u64 {
    let value;
    // SAFETY: reads PC.
    unsafe { core::arch::asm!("adr {}, .", out(reg) value, options(nostack, preserves_flags)) }
    value
}

/// The caller's frame pointer, for reports.
#[inline(always)]
pub fn frame_pointer() -> u64 {
    let value;
    // SAFETY: reads x29.
    unsafe { core::arch::asm!("mov {}, x29", out(reg) value, options(nostack, preserves_flags)) }
    value
}
