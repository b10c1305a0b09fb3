// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stage-1 translation of a faulting address by the running partition's own tables.
//!
//! HPFAR_EL2 does not tell the IPA space on some machines, and nothing at all after a permission
//! fault (W4, bug class 66): the address translation instructions do.

use crate::syndrome::{Exception, StageOne, Translate};
use crate::sysreg::{self, PAR};

use bulkhead_mm::attrs::Space;
use tock_registers::LocalRegisterCopy;

/// Translates by the context that is loaded on this core.
#[derive(Clone, Copy, Debug)]
pub struct LoadedContext;

const SCTLR_M: u64 = 1;

impl Translate for LoadedContext {
    fn stage_one(&self, address: u64, level: Exception) -> Option<StageOne> {
        // A partition at S-EL0 has a SCTLR_EL1 that says so, too: its virtual addresses stand for IPAs.
        if sysreg::read!("S3_5_C1_C0_0") & SCTLR_M == 0 {
            return Some(StageOne {
                ipa: address,
                space: Space::Secure,
            });
        }
        let saved = sysreg::read!("par_el1");
        // SAFETY: the translation writes PAR_EL1 alone, which is the partition's and comes back.
        unsafe {
            match level {
                Exception::El0 => {
                    core::arch::asm!("at s1e0r, {}", in(reg) address, options(nostack));
                }
                Exception::El1 => {
                    core::arch::asm!("at s1e1r, {}", in(reg) address, options(nostack));
                }
            }
        }
        sysreg::isb();
        let par = sysreg::read!("par_el1");
        // SAFETY: the partition's own value.
        unsafe { sysreg::write!("par_el1", saved) }
        let par = LocalRegisterCopy::<u64, PAR::Register>::new(par);
        if par.is_set(PAR::F) {
            return None;
        }
        let space = if par.is_set(PAR::NS) {
            Space::NonSecure
        } else {
            Space::Secure
        };
        Some(StageOne {
            ipa: par.read(PAR::PA) << 12 | address & 0xfff,
            space,
        })
    }
}
