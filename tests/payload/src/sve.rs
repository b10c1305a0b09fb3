// SPDX-License-Identifier: MIT OR Apache-2.0
//! The SVE registers of the normal world, or of a guest there, at the longest vector length that higher levels leave it.

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;

use crate::entry::{ExceptionLevel, exception_level};
use crate::request::Canary;

/// The longest vector, in bytes.
const MAXIMUM: usize = 256;
/// Z0–Z31, P0–P15 and FFR at the longest length, in words.
const WORDS: usize = (32 * MAXIMUM + 17 * MAXIMUM / 8) / 8;

/// Memory for all registers. Z registers come first, then P registers and FFR, each as long as the
/// vector length makes it.
#[repr(C, align(16))]
struct SveMemory(UnsafeCell<[u64; WORDS]>);

// SAFETY: only the boot core of the normal world, or of a guest, uses SVE.
unsafe impl Sync for SveMemory {}

static EXPECTED: SveMemory = SveMemory(UnsafeCell::new([0; WORDS]));
static FOUND: SveMemory = SveMemory(UnsafeCell::new([0; WORDS]));

global_asm!(
    ".arch_extension sve",
    ".macro payload_sve_z operation",
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "\\operation z\\n, [x0, #\\n, mul vl]",
    ".endr",
    ".endm",
    ".macro payload_sve_p operation",
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
    "\\operation p\\n, [x1, #\\n, mul vl]",
    ".endr",
    ".endm",
    // payload_sve_load(z, p)
    ".global payload_sve_load",
    "payload_sve_load:",
    "payload_sve_z ldr",
    "ldr p0, [x1, #16, mul vl]",
    "wrffr p0.b",
    "payload_sve_p ldr",
    "ret",
    // payload_sve_store(z, p)
    ".global payload_sve_store",
    "payload_sve_store:",
    "payload_sve_z str",
    "payload_sve_p str",
    "rdffr p0.b",
    "str p0, [x1, #16, mul vl]",
    "ldr p0, [x1]",
    "ret",
    // payload_sve_length(): the vector length in bytes
    ".global payload_sve_length",
    "payload_sve_length:",
    "rdvl x0, #1",
    "ret",
    ".arch_extension nosve",
);

unsafe extern "C" {
    fn payload_sve_load(z: *const u64, p: *const u64);
    fn payload_sve_store(z: *mut u64, p: *mut u64);
    fn payload_sve_length() -> usize;
}

/// Whether the core has SVE: ID_AA64PFR0_EL1.SVE. EL3 may trap it all the same (DECISIONS 8).
pub fn present() -> bool {
    let features: u64;
    // SAFETY: reads a register that has no side effect.
    unsafe { asm!("mrs {}, id_aa64pfr0_el1", out(reg) features, options(nomem, nostack)) };
    features >> 32 & 0xf != 0
}

/// Asks for the longest vectors and returns their length in bytes.
pub fn enable() -> usize {
    /// ZCR_ELx.LEN: the longest.
    const LENGTH: u64 = 0xf;
    /// CPACR_EL1.FPEN and ZEN: FP, SIMD and SVE do not trap.
    const CPACR: u64 = 3 << 20 | 3 << 16;
    // SAFETY: ZCR changes the length of registers that only this module uses, and traps are not changed
    // but for SVE.
    unsafe {
        match exception_level() {
            // It does not have SVE.
            ExceptionLevel::El0 => {}
            ExceptionLevel::El1 => asm!(
                "msr cpacr_el1, {cpacr}",
                "isb",
                "msr S3_0_C1_C2_0, {length}", // ZCR_EL1
                "isb",
                cpacr = in(reg) CPACR,
                length = in(reg) LENGTH,
                options(nomem, nostack),
            ),
            ExceptionLevel::El2 => {
                asm!("msr S3_4_C1_C2_0, {}", "isb", in(reg) LENGTH, options(nomem, nostack));
            }
        }
        payload_sve_length()
    }
}

/// Fills all registers with canaries for vectors of `length` bytes.
pub fn fill(canary: Canary, length: usize) {
    let z_words = 32 * length / 8;
    let words = EXPECTED.0.get().cast::<u64>();
    // SAFETY: in bounds, as `length` is at most MAXIMUM; only this core uses the memory. FFR takes
    // only a run of ones from bit 0 (the rest would be UNPREDICTABLE): the last predicate.
    unsafe {
        for index in 0..WORDS {
            words.add(index).write(canary.pattern(index));
        }
        let p_size = length / 8;
        let ffr = words.add(z_words).cast::<u8>().add(16 * p_size);
        for byte in 0..p_size {
            ffr.add(byte).write(if byte == 0 { 0x3f } else { 0 });
        }
        payload_sve_load(words, words.add(z_words));
    }
}

/// Compares all registers with what [`fill`] put there: the first byte that differs, counted from Z0.
pub fn difference(length: usize) -> Option<usize> {
    let z_words = 32 * length / 8;
    let (expected, found) = (EXPECTED.0.get().cast::<u8>(), FOUND.0.get().cast::<u64>());
    // SAFETY: as in `fill`.
    unsafe {
        payload_sve_store(found, found.add(z_words));
        let found = found.cast::<u8>();
        (0..32 * length + 17 * length / 8)
            .find(|&index| expected.add(index).read() != found.add(index).read())
    }
}
