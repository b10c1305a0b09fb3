// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one table of EL1 and EL0 system registers that a partition and the normal world must get back
//! (DECISIONS 1 and 2): it makes save and restore (`bulkhead_arch::context`), the canaries of the
//! two-world tests (`bulkhead_payload::system_register`) and the table in the README.

/// When a core has the registers of a bank, and they are switched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// Always.
    Always,
    /// With pointer authentication, where EL3 lets partitions use it.
    PointerAuthentication,
    /// With memory tagging (FEAT_MTE2), where EL3 allows it.
    MemoryTagging,
}

/// Calls the macro `$consumer` with all banks: documentation, type, save, restore, [`Presence`], and rows
/// of two registers. A register is
///
/// `field: name = encoding from S-EL2, encoding from its own level, masks`
///
/// With E2H = 1 S-EL2 reaches most of them by names of their own. The three masks are of the bits that
/// hold canaries in the tests: those of the normal world, those of a partition while its MMU is off, and
/// those that are set besides so that the others have no effect. In a partition, SCTLR_EL1 changes in bits
/// that concern EL0 only, CPACR_EL1 not in FPEN, and VBAR_EL1 only while no exception comes. CNTKCTL_EL1
/// without EVNTEN starts no event stream; the timer is masked by IMASK.
#[macro_export]
macro_rules! system_state {
    ($consumer:ident) => {
        $consumer! {
            /// EL1 and EL0 registers that every core has. VDISR_EL2 is DISR_EL1 to a partition.
            El1State, save_el1, restore_el1, Always:
            (sctlr: "SCTLR_EL1" = "S3_5_C1_C0_0", "sctlr_el1", !1, 0x0405_c310, 0;
             cpacr: "CPACR_EL1" = "S3_5_C1_C0_2", "cpacr_el1", 0x1333_0000, 0x1000_0000, 0)
            (ttbr0: "TTBR0_EL1" = "S3_5_C2_C0_0", "ttbr0_el1", !0, !0, 0;
             ttbr1: "TTBR1_EL1" = "S3_5_C2_C0_1", "ttbr1_el1", !0, !0, 0)
            (tcr: "TCR_EL1" = "S3_5_C2_C0_2", "tcr_el1", !0, 0xffff_ffff, 0;
             mair: "MAIR_EL1" = "S3_5_C10_C2_0", "mair_el1", !0, !0, 0)
            (amair: "AMAIR_EL1" = "S3_5_C10_C3_0", "amair_el1", !0, !0, 0;
             vbar: "VBAR_EL1" = "S3_5_C12_C0_0", "vbar_el1", !0, !0, 0)
            (esr: "ESR_EL1" = "S3_5_C5_C2_0", "esr_el1", 0xffff_ffff, 0xffff_ffff, 0;
             far: "FAR_EL1" = "S3_5_C6_C0_0", "far_el1", !0, !0, 0)
            (afsr0: "AFSR0_EL1" = "S3_5_C5_C1_0", "afsr0_el1", !0, !0, 0;
             afsr1: "AFSR1_EL1" = "S3_5_C5_C1_1", "afsr1_el1", !0, !0, 0)
            (elr: "ELR_EL1" = "S3_5_C4_C0_1", "elr_el1", !0, !0, 0;
             spsr: "SPSR_EL1" = "S3_5_C4_C0_0", "spsr_el1", 0xffff_ffff, 0xffff_ffff, 0)
            (contextidr: "CONTEXTIDR_EL1" = "S3_5_C13_C0_1", "contextidr_el1", 0xffff_ffff, 0xffff_ffff, 0;
             cntkctl: "CNTKCTL_EL1" = "S3_5_C14_C1_0", "cntkctl_el1", 0x3fb, 0x3fb, 0)
            (sp_el0: "SP_EL0" = "sp_el0", "sp_el0", !0, !0, 0;
             sp_el1: "SP_EL1" = "sp_el1", "sp_el1", !0, 0, 0)
            (tpidr_el0: "TPIDR_EL0" = "tpidr_el0", "tpidr_el0", !0, !0, 0;
             tpidrro_el0: "TPIDRRO_EL0" = "tpidrro_el0", "tpidrro_el0", !0, !0, 0)
            (tpidr_el1: "TPIDR_EL1" = "tpidr_el1", "tpidr_el1", !0, !0, 0;
             par: "PAR_EL1" = "par_el1", "par_el1", !0, !0, 0)
            (csselr: "CSSELR_EL1" = "csselr_el1", "csselr_el1", 3, 3, 0;
             mdscr: "MDSCR_EL1" = "mdscr_el1", "mdscr_el1", 1 << 12, 0, 0)
            (vdisr: "VDISR_EL2" = "S3_4_C12_C1_1", "S3_0_C12_C1_1", 0, 0, 0;
             vsesr: "VSESR_EL2" = "S3_4_C5_C2_3", "S3_4_C5_C2_3", 0, 0, 0)
            (cntv_ctl: "CNTV_CTL_EL0" = "S3_5_C14_C3_1", "cntv_ctl_el0", 1, 1, 2;
             cntv_cval: "CNTV_CVAL_EL0" = "S3_5_C14_C3_2", "cntv_cval_el0", !0, !0, 0)

            /// The keys of pointer authentication, switched where EL3 lets partitions use it.
            PointerKeys, save_keys, restore_keys, PointerAuthentication:
            (apia_lo: "APIAKeyLo_EL1" = "S3_0_C2_C1_0", "S3_0_C2_C1_0", !0, !0, 0;
             apia_hi: "APIAKeyHi_EL1" = "S3_0_C2_C1_1", "S3_0_C2_C1_1", !0, !0, 0)
            (apib_lo: "APIBKeyLo_EL1" = "S3_0_C2_C1_2", "S3_0_C2_C1_2", !0, !0, 0;
             apib_hi: "APIBKeyHi_EL1" = "S3_0_C2_C1_3", "S3_0_C2_C1_3", !0, !0, 0)
            (apda_lo: "APDAKeyLo_EL1" = "S3_0_C2_C2_0", "S3_0_C2_C2_0", !0, !0, 0;
             apda_hi: "APDAKeyHi_EL1" = "S3_0_C2_C2_1", "S3_0_C2_C2_1", !0, !0, 0)
            (apdb_lo: "APDBKeyLo_EL1" = "S3_0_C2_C2_2", "S3_0_C2_C2_2", !0, !0, 0;
             apdb_hi: "APDBKeyHi_EL1" = "S3_0_C2_C2_3", "S3_0_C2_C2_3", !0, !0, 0)
            (apga_lo: "APGAKeyLo_EL1" = "S3_0_C2_C3_0", "S3_0_C2_C3_0", !0, !0, 0;
             apga_hi: "APGAKeyHi_EL1" = "S3_0_C2_C3_1", "S3_0_C2_C3_1", !0, !0, 0)

            /// The state of memory tagging, switched where the machine has it and EL3 allows it.
            TagState, save_tags, restore_tags, MemoryTagging:
            (gcr: "GCR_EL1" = "S3_0_C1_C0_6", "S3_0_C1_C0_6", 0x1_ffff, 0x1_ffff, 0;
             rgsr: "RGSR_EL1" = "S3_0_C1_C0_5", "S3_0_C1_C0_5", 0xff_ff0f, 0xff_ff0f, 0)
            (tfsr: "TFSR_EL1" = "S3_5_C5_C6_0", "S3_0_C5_C6_0", 3, 3, 0;
             tfsre0: "TFSRE0_EL1" = "S3_0_C5_C6_1", "S3_0_C5_C6_1", 3, 3, 0)
        }
    };
}

macro_rules! names {
    ($(
        $(#[$doc:meta])*
        $bank:ident, $save:ident, $restore:ident, $presence:ident:
        $((
            $a:ident: $a_name:literal = $a_code:literal, $($a_rest:expr),*;
            $b:ident: $b_name:literal = $b_code:literal, $($b_rest:expr),*
        ))*
    )*) => {
        /// The names of the registers, by bank.
        pub const BANKS: &[(Presence, &[&str])] = &[
            $((Presence::$presence, &[$($a_name, $b_name),*])),*
        ];
    };
}

system_state!(names);
