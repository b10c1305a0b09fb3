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

use crate::features::Features;
use crate::sysreg::{self, CPTR};

/// V0 to V31, FPCR and FPSR.
#[derive(Clone, Debug, Default)]
#[repr(C, align(16))]
pub struct FpState {
    /// V0 at index 0, low half first.
    v: [[u64; 2]; 32],
    control: Control,
}

#[derive(Clone, Debug, Default)]
#[repr(C)]
struct Control {
    fpcr: u64,
    fpsr: u64,
}

impl FpState {
    /// Fills `self` from this core's registers. FP must not trap ([`allow`]).
    fn save(&mut self) {
        // SAFETY: the callers, all in this module, have allowed FP at S-EL2.
        unsafe {
            save_v(&mut self.v);
            save_control(&mut self.control);
        }
    }

    /// Puts `self` into this core's registers. FP must not trap ([`allow`]).
    fn restore(&self) {
        // SAFETY: as in `save`; the callers have saved what is wanted.
        unsafe {
            restore_v(&self.v);
            restore_control(&self.control);
        }
    }
}

/// CPTR_EL2 while a partition that does not own the FP registers is loaded, and while the normal
/// world is away: everything traps.
const TRAP: u64 = CPTR::TAM.val(1).value
    | CPTR::TTA.val(1).value
    | CPTR::FPEN::Trap.value
    | CPTR::ZEN::Trap.value
    | CPTR::SMEN::Trap.value;

/// CPTR_EL2 while a partition owns the FP registers.
const FP_ONLY: u64 = TRAP | CPTR::FPEN::Allow.value;

/// SVCR: the streaming mode.
const SVCR_SM: u64 = 1;

/// Whose state this core's FP registers hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Owner {
    /// The normal world's.
    NormalWorld,
    /// That of the context which is loaded.
    Partition,
    /// Nobody's: the normal world's and every partition's state is saved.
    Nobody,
}

/// The FP registers of a core.
#[derive(Debug)]
pub struct Fp {
    owner: Owner,
    normal_world: FpState,
    /// The normal world's Z, P and FFR, with SVE.
    vectors: Option<&'static mut [u8]>,
    /// The normal world's SVCR, with SME.
    svcr: u64,
    sme: bool,
}

impl Fp {
    /// The registers of this core, which hold the normal world's state. `vectors` has
    /// [`vector_state_size`] bytes if that is not zero.
    pub fn new(features: &Features, vectors: &'static mut [u8]) -> Self {
        let fp = Self {
            owner: Owner::NormalWorld,
            normal_world: FpState::default(),
            vectors: features.sve.then_some(vectors),
            svcr: 0,
            sme: features.sme,
        };
        set_cptr(TRAP);
        fp
    }

    /// Whether the loaded context already has the FP registers, so that a trap was not for FP.
    pub fn is_given(&self) -> bool {
        self.owner == Owner::Partition
    }

    /// The loaded context uses FP: gives it the registers.
    pub fn give(&mut self, context: &FpState) {
        if self.owner == Owner::NormalWorld {
            self.allow_all();
            self.save_normal_world();
        }
        set_cptr(FP_ONLY);
        sysreg::isb();
        context.restore();
        self.owner = Owner::Partition;
    }

    /// The context that was loaded leaves this core.
    #[inline]
    pub fn take(&mut self, context: &mut FpState) {
        if self.owner == Owner::Partition {
            context.save();
            set_cptr(TRAP);
            self.owner = Owner::Nobody;
        }
    }

    /// Gives the registers back to the normal world.
    #[inline]
    pub fn return_to_normal_world(&mut self) {
        if self.owner == Owner::Nobody {
            self.allow_all();
            self.restore_normal_world();
            set_cptr(TRAP);
            self.owner = Owner::NormalWorld;
        }
    }

    fn allow_all(&self) {
        let mut cptr = FP_ONLY;
        if self.vectors.is_some() {
            cptr |= CPTR::ZEN::Allow.value;
        }
        if self.sme {
            cptr |= CPTR::SMEN::Allow.value;
        }
        set_cptr(cptr);
        sysreg::isb();
    }

    fn save_normal_world(&mut self) {
        if self.sme {
            self.svcr = sysreg::read!("S3_3_C4_C2_2");
        }
        let streaming = self.svcr & SVCR_SM != 0;
        // SAFETY: `allow_all` ran. The vector store has room for the longest vectors of both modes.
        unsafe {
            save_control(&mut self.normal_world.control);
            match &mut self.vectors {
                Some(vectors) => {
                    let ffr = save_vectors(vectors.as_mut_ptr());
                    if !streaming {
                        save_ffr(ffr);
                    }
                }
                None => save_v(&mut self.normal_world.v),
            }
            if streaming {
                // Partitions run outside of streaming mode; ZA stays.
                sysreg::write!("S3_3_C4_C2_2", self.svcr & !SVCR_SM);
            }
        }
    }

    fn restore_normal_world(&mut self) {
        let streaming = self.svcr & SVCR_SM != 0;
        // SAFETY: `allow_all` ran; partitions' state is saved.
        unsafe {
            if streaming {
                sysreg::write!("S3_3_C4_C2_2", self.svcr);
            }
            match &mut self.vectors {
                Some(vectors) => {
                    if !streaming {
                        restore_ffr(vectors.as_ptr());
                    }
                    restore_vectors(vectors.as_ptr());
                }
                None => restore_v(&self.normal_world.v),
            }
            restore_control(&self.normal_world.control);
        }
    }
}

fn set_cptr(value: u64) {
    // SAFETY: Bulkhead uses none of what the register governs, except in this module.
    unsafe { sysreg::write!("cptr_el2", value) }
}

/// The bytes that a core needs for the normal world's Z, P and FFR: for the longest vector that EL3
/// lets S-EL2 have. The length that the normal world chose (ZCR_EL2, SMCR_EL2) is left as it is.
pub fn vector_state_size(features: &Features) -> usize {
    if !features.sve {
        return 0;
    }
    set_cptr(FP_ONLY | CPTR::ZEN::Allow.value);
    sysreg::isb();
    let zcr = sysreg::read!("S3_4_C1_C2_0");
    // SAFETY: ZCR_EL2 governs nothing that Bulkhead uses; its value comes back at once. No SVE state
    // is live before the normal world runs on this core.
    let mut longest = unsafe {
        sysreg::write!("S3_4_C1_C2_0", ZCR_LEN);
        sysreg::isb();
        let length = vector_length();
        sysreg::write!("S3_4_C1_C2_0", zcr);
        length
    };
    if features.sme {
        // The longest streaming vector cannot be asked for outside of streaming mode without SME
        // instructions; the architecture allows no more than this.
        longest = STREAMING_LIMIT.max(longest);
    }
    set_cptr(TRAP);
    sysreg::isb();
    32 * longest + 17 * (longest / 8)
}

/// ZCR_EL2.LEN: as long as EL3 allows.
const ZCR_LEN: u64 = 0xf;
/// Bytes of the longest streaming vector (2048 bits).
const STREAMING_LIMIT: usize = 256;

/// Saves V0 to V31.
///
/// # Safety
/// The extension does not trap at S-EL2.
#[unsafe(naked)]
unsafe extern "C" fn save_v(_to: *mut [[u64; 2]; 32]) {
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
        "ret",
        ".arch_extension nosimd",
        ".arch_extension nofp",
    )
}

/// Restores V0 to V31.
///
/// # Safety
/// The extension does not trap at S-EL2, and what the registers hold is saved or not wanted.
#[unsafe(naked)]
unsafe extern "C" fn restore_v(_from: *const [[u64; 2]; 32]) {
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
        "ret",
        ".arch_extension nosimd",
        ".arch_extension nofp",
    )
}

/// Saves FPCR and FPSR.
///
/// # Safety
/// The extension does not trap at S-EL2.
#[unsafe(naked)]
unsafe extern "C" fn save_control(_to: *mut Control) {
    naked_asm!("mrs x1, fpcr", "mrs x2, fpsr", "stp x1, x2, [x0]", "ret",)
}

/// Restores FPCR and FPSR.
///
/// # Safety
/// The extension does not trap at S-EL2, and what the registers hold is saved or not wanted.
#[unsafe(naked)]
unsafe extern "C" fn restore_control(_from: *const Control) {
    naked_asm!("ldp x1, x2, [x0]", "msr fpcr, x1", "msr fpsr, x2", "ret",)
}

/// Saves Z0 to Z31 and P0 to P15; returns where FFR goes.
///
/// # Safety
/// The extension does not trap at S-EL2.
#[unsafe(naked)]
unsafe extern "C" fn save_vectors(_to: *mut u8) -> *mut u8 {
    naked_asm!(
        ".arch_extension sve",
        "str z0, [x0, #0, mul vl]",
        "str z1, [x0, #1, mul vl]",
        "str z2, [x0, #2, mul vl]",
        "str z3, [x0, #3, mul vl]",
        "str z4, [x0, #4, mul vl]",
        "str z5, [x0, #5, mul vl]",
        "str z6, [x0, #6, mul vl]",
        "str z7, [x0, #7, mul vl]",
        "str z8, [x0, #8, mul vl]",
        "str z9, [x0, #9, mul vl]",
        "str z10, [x0, #10, mul vl]",
        "str z11, [x0, #11, mul vl]",
        "str z12, [x0, #12, mul vl]",
        "str z13, [x0, #13, mul vl]",
        "str z14, [x0, #14, mul vl]",
        "str z15, [x0, #15, mul vl]",
        "str z16, [x0, #16, mul vl]",
        "str z17, [x0, #17, mul vl]",
        "str z18, [x0, #18, mul vl]",
        "str z19, [x0, #19, mul vl]",
        "str z20, [x0, #20, mul vl]",
        "str z21, [x0, #21, mul vl]",
        "str z22, [x0, #22, mul vl]",
        "str z23, [x0, #23, mul vl]",
        "str z24, [x0, #24, mul vl]",
        "str z25, [x0, #25, mul vl]",
        "str z26, [x0, #26, mul vl]",
        "str z27, [x0, #27, mul vl]",
        "str z28, [x0, #28, mul vl]",
        "str z29, [x0, #29, mul vl]",
        "str z30, [x0, #30, mul vl]",
        "str z31, [x0, #31, mul vl]",
        "addvl x0, x0, #31",
        "addvl x0, x0, #1",
        "str p0, [x0, #0, mul vl]",
        "str p1, [x0, #1, mul vl]",
        "str p2, [x0, #2, mul vl]",
        "str p3, [x0, #3, mul vl]",
        "str p4, [x0, #4, mul vl]",
        "str p5, [x0, #5, mul vl]",
        "str p6, [x0, #6, mul vl]",
        "str p7, [x0, #7, mul vl]",
        "str p8, [x0, #8, mul vl]",
        "str p9, [x0, #9, mul vl]",
        "str p10, [x0, #10, mul vl]",
        "str p11, [x0, #11, mul vl]",
        "str p12, [x0, #12, mul vl]",
        "str p13, [x0, #13, mul vl]",
        "str p14, [x0, #14, mul vl]",
        "str p15, [x0, #15, mul vl]",
        "addpl x0, x0, #16",
        "ret",
        ".arch_extension nosve",
    )
}

/// Restores Z0 to Z31 and P0 to P15.
///
/// # Safety
/// The extension does not trap at S-EL2, and what the registers hold is saved or not wanted.
#[unsafe(naked)]
unsafe extern "C" fn restore_vectors(_from: *const u8) {
    naked_asm!(
        ".arch_extension sve",
        "ldr z0, [x0, #0, mul vl]",
        "ldr z1, [x0, #1, mul vl]",
        "ldr z2, [x0, #2, mul vl]",
        "ldr z3, [x0, #3, mul vl]",
        "ldr z4, [x0, #4, mul vl]",
        "ldr z5, [x0, #5, mul vl]",
        "ldr z6, [x0, #6, mul vl]",
        "ldr z7, [x0, #7, mul vl]",
        "ldr z8, [x0, #8, mul vl]",
        "ldr z9, [x0, #9, mul vl]",
        "ldr z10, [x0, #10, mul vl]",
        "ldr z11, [x0, #11, mul vl]",
        "ldr z12, [x0, #12, mul vl]",
        "ldr z13, [x0, #13, mul vl]",
        "ldr z14, [x0, #14, mul vl]",
        "ldr z15, [x0, #15, mul vl]",
        "ldr z16, [x0, #16, mul vl]",
        "ldr z17, [x0, #17, mul vl]",
        "ldr z18, [x0, #18, mul vl]",
        "ldr z19, [x0, #19, mul vl]",
        "ldr z20, [x0, #20, mul vl]",
        "ldr z21, [x0, #21, mul vl]",
        "ldr z22, [x0, #22, mul vl]",
        "ldr z23, [x0, #23, mul vl]",
        "ldr z24, [x0, #24, mul vl]",
        "ldr z25, [x0, #25, mul vl]",
        "ldr z26, [x0, #26, mul vl]",
        "ldr z27, [x0, #27, mul vl]",
        "ldr z28, [x0, #28, mul vl]",
        "ldr z29, [x0, #29, mul vl]",
        "ldr z30, [x0, #30, mul vl]",
        "ldr z31, [x0, #31, mul vl]",
        "addvl x0, x0, #31",
        "addvl x0, x0, #1",
        "ldr p0, [x0, #0, mul vl]",
        "ldr p1, [x0, #1, mul vl]",
        "ldr p2, [x0, #2, mul vl]",
        "ldr p3, [x0, #3, mul vl]",
        "ldr p4, [x0, #4, mul vl]",
        "ldr p5, [x0, #5, mul vl]",
        "ldr p6, [x0, #6, mul vl]",
        "ldr p7, [x0, #7, mul vl]",
        "ldr p8, [x0, #8, mul vl]",
        "ldr p9, [x0, #9, mul vl]",
        "ldr p10, [x0, #10, mul vl]",
        "ldr p11, [x0, #11, mul vl]",
        "ldr p12, [x0, #12, mul vl]",
        "ldr p13, [x0, #13, mul vl]",
        "ldr p14, [x0, #14, mul vl]",
        "ldr p15, [x0, #15, mul vl]",
        "ret",
        ".arch_extension nosve",
    )
}

/// Saves FFR; P0 is lost.
///
/// # Safety
/// The extension does not trap at S-EL2.
#[unsafe(naked)]
unsafe extern "C" fn save_ffr(_to: *mut u8) {
    naked_asm!(
        ".arch_extension sve",
        "rdffr p0.b",
        "str p0, [x0]",
        "ret",
        ".arch_extension nosve",
    )
}

/// Restores FFR from `from`, the start of the vector state; P0 is lost.
///
/// # Safety
/// The extension does not trap at S-EL2, and what the registers hold is saved or not wanted.
#[unsafe(naked)]
unsafe extern "C" fn restore_ffr(_from: *const u8) {
    naked_asm!(
        ".arch_extension sve",
        "addvl x0, x0, #31",
        "addvl x0, x0, #1",
        "addpl x0, x0, #16",
        "ldr p0, [x0]",
        "wrffr p0.b",
        "ret",
        ".arch_extension nosve",
    )
}

/// Bytes in a vector.
///
/// # Safety
/// The extension does not trap at S-EL2.
#[unsafe(naked)]
unsafe extern "C" fn vector_length() -> usize {
    naked_asm!(
        ".arch_extension sve",
        "rdvl x0, #1",
        "ret",
        ".arch_extension nosve",
    )
}
