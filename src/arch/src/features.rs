// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the cores have, within what EL3 allows.
//!
//! ID registers do not show what EL3 traps (DECISIONS 8). System registers are probed by a read that
//! recovers from a fault; FP, SVE, SME and pointer authentication cannot be probed, because EL3 may
//! answer a trapped use with a panic: the board says what EL3 allows.

use bulkhead_core::hardware::SystemRegister;

use crate::copy::{self, Probe};
use crate::sysreg;

/// What EL3 lets the secure world use, as the board knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allowed {
    /// FP and Advanced SIMD (CPTR_EL3.TFP = 0).
    pub fp: bool,
    /// SVE (CPTR_EL3.EZ = 1).
    pub sve: bool,
    /// SME (CPTR_EL3.ESM = 1).
    pub sme: bool,
    /// Pointer authentication at lower levels (SCR_EL3.API, APK).
    pub pointer_authentication: bool,
    /// Memory tagging (SCR_EL3.ATA), where the machine has it.
    pub memory_tagging: bool,
}

/// What Bulkhead uses. Tables and VMIDs are shared by all cores, so it is what the boot core found,
/// and every other core must have it too (DECISIONS 9).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Features {
    /// FP for partitions.
    pub fp: bool,
    /// The normal world may have SVE state.
    pub sve: bool,
    /// The normal world may be in streaming mode.
    pub sme: bool,
    /// Pointer authentication for partitions.
    pub pointer_authentication: bool,
    /// Memory tagging for partitions.
    pub memory_tagging: bool,
    /// Stage 2 decides about cacheability (FEAT_S2FWB).
    pub forced_write_back: bool,
    /// VMIDs have 16 bits.
    pub vmid16: bool,
    /// Physical address bits as ID_AA64MMFR0_EL1.PARange encodes them, at most 5 (48 bits), or 6
    /// (52 bits) with `lpa2`.
    pub pa_range: u8,
    /// Stage 2 has 52-bit descriptors with the 4 KiB granule (FEAT_LPA2).
    pub lpa2: bool,
    /// HCRX_EL2 is there.
    pub hcrx: bool,
    /// The registers of fine-grained traps are there.
    pub fine_grained_traps: bool,
    /// Performance counters, for MDCR_EL2.HPMN.
    pub counters: u8,
    /// Whether a pending Group 0 interrupt can be seen.
    pub sees_group0: bool,
    /// Virtualisation host extensions, without which nothing here works.
    pub vhe: bool,
    /// FEAT_PAN: exceptions set PSTATE.PAN as SCTLR_EL1.SPAN says.
    pub pan: bool,
    /// FEAT_ECV: accesses to the EL1 virtual timer can be trapped.
    pub ecv: bool,
    /// Partitions can run at S-EL0: EL3 lets them use all that S-EL2 cannot trap there, which is PACGA.
    pub el0: bool,
    /// FEAT_E0PD: accesses of S-EL0 to S-EL2's half fault without a look at its tables.
    pub e0pd: bool,
    /// FEAT_SSBS: exceptions set PSTATE.SSBS as SCTLR_EL1.DSSBS says.
    pub ssbs: bool,
}

/// The widest output addresses that the 48-bit table format reaches.
pub const PA_RANGE_48: u8 = 5;
/// The widest output addresses that the 52-bit table format reaches.
const PA_RANGE_52: u8 = 6;

/// Whether stage 2 has 52-bit descriptors with the 4 KiB granule: ID_AA64MMFR0_EL1.TGran4_2 says so,
/// or leaves it to TGran4.
fn lpa2(mmfr0: u64) -> bool {
    match field(mmfr0, 40) {
        0 => field(mmfr0, 28) == 1,
        granule => granule == 3,
    }
}

fn field(register: u64, shift: u32) -> u8 {
    ((register >> shift) & 0xf) as u8
}

impl Features {
    /// What this core has, within `allowed`.
    pub fn detect(allowed: Allowed) -> Self {
        let pfr0 = sysreg::read!("id_aa64pfr0_el1");
        let pfr1 = sysreg::read!("id_aa64pfr1_el1");
        let isar1 = sysreg::read!("id_aa64isar1_el1");
        let isar2 = sysreg::read!("S3_0_C0_C6_2");
        let mmfr0 = sysreg::read!("id_aa64mmfr0_el1");
        let mmfr1 = sysreg::read!("id_aa64mmfr1_el1");
        let mmfr2 = sysreg::read!("id_aa64mmfr2_el1");
        let dfr0 = sysreg::read!("id_aa64dfr0_el1");
        let keys = field(isar1, 4) | field(isar1, 8) | field(isar1, 24) | field(isar1, 28);
        let pointer_authentication = keys | field(isar2, 8) | field(isar2, 12) != 0;
        let pmu = field(dfr0, 8);
        let counters = (pmu != 0 && pmu != 0xf)
            .then(|| copy::probe(Probe::Pmcr))
            .flatten()
            .map_or(0, |pmcr| ((pmcr >> 11) & 0x1f) as u8);
        Self {
            fp: allowed.fp && field(pfr0, 16) != 0xf,
            sve: allowed.sve && field(pfr0, 32) != 0,
            sme: allowed.sme && field(pfr1, 24) != 0,
            pointer_authentication: allowed.pointer_authentication && pointer_authentication,
            memory_tagging: allowed.memory_tagging
                && field(pfr1, 8) >= 2
                && copy::probe(Probe::Gcr).is_some(),
            forced_write_back: field(mmfr2, 40) != 0,
            vmid16: field(mmfr1, 4) == 2,
            pa_range: field(mmfr0, 0).min(if lpa2(mmfr0) {
                PA_RANGE_52
            } else {
                PA_RANGE_48
            }),
            lpa2: lpa2(mmfr0),
            hcrx: field(mmfr1, 40) != 0 && copy::probe(Probe::Hcrx).is_some(),
            fine_grained_traps: field(mmfr0, 56) != 0 && copy::probe(Probe::Hfgrtr).is_some(),
            counters,
            sees_group0: copy::probe(Probe::Hppir0).is_some(),
            vhe: field(mmfr1, 8) != 0,
            pan: field(mmfr1, 20) != 0,
            ecv: field(mmfr0, 60) != 0,
            el0: allowed.pointer_authentication || !pointer_authentication,
            e0pd: field(mmfr2, 60) != 0,
            ssbs: field(pfr1, 4) != 0,
        }
    }

    /// The bits of the ID register `register` that speak of what the machine has and EL3 does not
    /// allow.
    pub fn hidden_fields(&self, register: SystemRegister) -> u64 {
        const ISAR1_KEYS: u64 = 0xff << 24 | 0xff << 4;
        const ISAR2_KEYS: u64 = 0xff << 8;
        const PFR1_MTE: u64 = 0xf << 8;
        match (register.crm, register.op2) {
            (6, 1) if !self.pointer_authentication => ISAR1_KEYS,
            (6, 2) if !self.pointer_authentication => ISAR2_KEYS,
            (4, 1) if !self.memory_tagging => PFR1_MTE,
            _ => 0,
        }
    }

    /// The first of the features that tables and contexts of the boot core rely on and that this
    /// core, described by `other`, lacks.
    pub fn lacking(&self, other: &Self) -> Option<&'static str> {
        let relied_on = [
            (
                self.forced_write_back,
                other.forced_write_back,
                "FEAT_S2FWB",
            ),
            (self.vmid16, other.vmid16, "FEAT_VMID16"),
            (self.lpa2, other.lpa2, "FEAT_LPA2"),
            (
                self.pa_range > other.pa_range,
                false,
                "the physical address size",
            ),
            (
                self.pointer_authentication,
                other.pointer_authentication,
                "FEAT_PAuth",
            ),
            (self.memory_tagging, other.memory_tagging, "FEAT_MTE2"),
            (self.sve, other.sve, "FEAT_SVE"),
            (self.fp, other.fp, "FEAT_FP"),
            (self.ecv, other.ecv, "FEAT_ECV"),
        ];
        relied_on
            .into_iter()
            .find(|(ours, theirs, _)| *ours && !theirs)
            .map(|(.., name)| name)
    }
}
