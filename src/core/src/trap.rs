// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trapped instructions of partitions: ID registers are answered with what a partition may use, its timers'
//! registers are emulated ([`crate::timer`]), everything else is undefined to it, and ends one at S-EL0.

use crate::event::{Action, Direction, SystemRegisterAccess};
use crate::hardware::{Hardware, SystemRegister, VcpuContext};
use crate::partition::Level;
use crate::spmc::{CoreState, Spmc};

/// What a partition sees of an ID register.
#[derive(Clone, Copy, Debug)]
struct IdRegister {
    register: SystemRegister,
    /// The fields that keep the machine's value; all others read zero.
    keep: u64,
}

/// An AArch64 ID register: op0 = 3, op1 = 0, CRn = 0.
const fn id(crm: u8, op2: u8) -> SystemRegister {
    SystemRegister {
        op0: 3,
        op1: 0,
        crn: 0,
        crm,
        op2,
    }
}

/// A mask of 4-bit fields by their lowest bits.
const fn fields<const N: usize>(shifts: [u32; N]) -> u64 {
    let mut mask = 0;
    let mut rest: &[u32] = &shifts;
    while let [shift, tail @ ..] = rest {
        mask |= 0xf << *shift;
        rest = tail;
    }
    mask
}

/// The registers of which a partition sees something (D-06). An ID register that is not here reads
/// zero, which means that the feature is not there.
///
/// Hidden: what Bulkhead traps or does not switch between partitions (EL2 and virtualisation, SVE,
/// SME, RAS error records, MPAM, AMU, debug beyond the architecture version, PMU, trace, LOR,
/// pointer-authentication apart, which is switched).
static ID_REGISTERS: [IdRegister; 9] = [
    // ID_AA64PFR0_EL1: EL0 (0), EL1 (4), EL3 (12), FP (16), AdvSIMD (20), GIC (24) hidden, CSV2
    // (56), CSV3 (60), DIT (48).
    IdRegister {
        register: id(4, 0),
        keep: fields([0, 4, 12, 16, 20, 48, 56, 60]),
    },
    // ID_AA64PFR1_EL1: BT (0), SSBS (4), MTE (8).
    IdRegister {
        register: id(4, 1),
        keep: fields([0, 4, 8]),
    },
    // ID_AA64DFR0_EL1: DebugVer (0) must not be zero; PMUVer (8) 0 is "not there".
    IdRegister {
        register: id(5, 0),
        keep: fields([0]),
    },
    // ID_AA64ISAR0_EL1: all but TME (24).
    IdRegister {
        register: id(6, 0),
        keep: !fields([24]),
    },
    // ID_AA64ISAR1_EL1: all but LS64 (60), XS (56).
    IdRegister {
        register: id(6, 1),
        keep: !fields([56, 60]),
    },
    // ID_AA64ISAR2_EL1: WFxT (0), RPRES (4), GPA3 (8), APA3 (12), BC (20), PAC_frac (24), CLRBHB
    // (28).
    IdRegister {
        register: id(6, 2),
        keep: fields([0, 4, 8, 12, 20, 24, 28]),
    },
    // ID_AA64MMFR0_EL1: all but ECV (60), FGT (56).
    IdRegister {
        register: id(7, 0),
        keep: !fields([56, 60]),
    },
    // ID_AA64MMFR1_EL1: HAFDBS (0), VMIDBits (4), HPDS (12), PAN (20), SpecSEI (24), XNX (28),
    // ETS (36), AFP (44), CMOW (56).
    IdRegister {
        register: id(7, 1),
        keep: fields([0, 4, 12, 20, 24, 28, 36, 44, 56]),
    },
    // ID_AA64MMFR2_EL1: CnP (0), UAO (4), LSM (8), IESB (12), VARange (16), CCIDX (20), AT (32),
    // IDS (36), TTL (48), BBM (52), E0PD (60).
    IdRegister {
        register: id(7, 2),
        keep: fields([0, 4, 8, 12, 16, 20, 32, 36, 48, 52, 60]),
    },
];

/// Whether a register is one of the ID registers that HCR_EL2.TID3 traps: op0 = 3, op1 = 0,
/// CRn = 0, CRm = 1 to 7.
fn is_id_register(register: SystemRegister) -> bool {
    register.op0 == 3 && register.op1 == 0 && register.crn == 0 && (1..=7).contains(&register.crm)
}

/// What a partition reads of an ID register whose value is `raw`.
pub fn sanitised(register: SystemRegister, raw: u64) -> u64 {
    match ID_REGISTERS.iter().find(|row| row.register == register) {
        Some(row) => raw & row.keep,
        None => 0,
    }
}

impl<H: Hardware> Spmc<H> {
    /// An MRS or MSR of the running partition trapped. Out of line, so that the run loop is one function with what is
    /// done most often.
    #[inline(never)]
    pub(crate) fn system_register(
        &self,
        core: &mut CoreState<H>,
        access: SystemRegisterAccess,
        hw: &mut H,
    ) -> Action {
        let level = (self.running_partition(core)).map_or(Level::SEl1, |own| own.config.level);
        if level == Level::SEl1
            && let Some(action) = self.timer_register(core, access, hw)
        {
            return action;
        }
        let Some(context) = core.context() else {
            return core.resume();
        };
        if access.direction == Direction::Read && is_id_register(access.register) {
            let value = sanitised(access.register, hw.id_register(access.register));
            // Register 31 is XZR: the value goes nowhere.
            if let Some(x) = context.registers_mut().x.get_mut(usize::from(access.rt)) {
                *x = value;
            }
            context.skip_instruction();
        } else if level == Level::SEl0 {
            let register = access.register;
            return self.abort_running(core, hw, format_args!("{register} is not for S-EL0"));
        } else {
            log::debug!("{} is undefined to partitions", access.register);
            hw.inject_undefined(context);
        }
        core.resume()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d06_a_partition_sees_no_sve_sme_ras_el2_or_amu() {
        let seen = sanitised(id(4, 0), u64::MAX);
        assert_eq!(seen, 0xff0f_0000_00ff_f0ff);
    }

    #[test]
    fn d06_mte_and_bti_stay_visible_and_sme_does_not() {
        assert_eq!(sanitised(id(4, 1), u64::MAX), 0xfff);
    }

    #[test]
    fn d06_an_id_register_that_is_not_listed_reads_zero() {
        // ID_AA64ZFR0_EL1 and ID_AA64SMFR0_EL1.
        assert_eq!(sanitised(id(4, 4), u64::MAX), 0);
        assert_eq!(sanitised(id(4, 5), u64::MAX), 0);
    }

    #[test]
    fn only_the_registers_of_tid3_are_id_registers() {
        assert!(is_id_register(id(7, 7)));
        assert!(!is_id_register(id(0, 0)));
        assert!(!is_id_register(id(8, 0)));
        assert!(!is_id_register(SystemRegister {
            op0: 3,
            op1: 3,
            crn: 0,
            crm: 4,
            op2: 0
        }));
    }
}
