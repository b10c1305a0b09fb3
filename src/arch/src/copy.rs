// SPDX-License-Identifier: MIT OR Apache-2.0
//! Accesses that may fault and say so: copies to and from memory that is not Bulkhead's, and probes
//! of registers that EL3 may trap.
//!
//! All of them are leaf routines between two labels. A synchronous exception in there at the current
//! level ends the routine with a failure ([`vectors`](crate::vectors)).

use core::arch::global_asm;

/// An access did not succeed; some bytes may have been copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AccessFault;

global_asm!(
    r#"
    .section .text.copy, "ax"
    .balign 16
    .global bulkhead_try_start, bulkhead_try_end, bulkhead_try_failed
bulkhead_try_start:

    // x0 = to, x1 = from, x2 = bytes. Eight at a time where both are aligned.
    .global bulkhead_try_copy
bulkhead_try_copy:
    orr     x3, x0, x1
    tst     x3, #7
    b.ne    2f
1:  subs    x2, x2, #8
    b.lo    3f
    ldr     x3, [x1], #8
    str     x3, [x0], #8
    b       1b
3:  add     x2, x2, #8
2:  subs    x2, x2, #1
    b.lo    4f
    ldrb    w3, [x1], #1
    strb    w3, [x0], #1
    b       2b
4:  mov     x0, #0
    ret

    // x0 = to, x1 = bytes, both multiples of 8.
    .global bulkhead_try_zero
bulkhead_try_zero:
1:  subs    x1, x1, #8
    b.lo    2f
    str     xzr, [x0], #8
    b       1b
2:  mov     x0, #0
    ret

    // x0 = where the value goes.
    .macro probe name, register
    .global bulkhead_try_\name
bulkhead_try_\name:
    mrs     x1, \register
    str     x1, [x0]
    mov     x0, #0
    ret
    .endm
    probe   gcr, S3_0_C1_C0_6
    probe   hcrx, S3_4_C1_C2_2
    probe   hfgrtr, S3_4_C1_C1_4
    probe   pmcr, S3_3_C9_C12_0
    probe   hppir0, S3_0_C12_C8_2
    probe   rndr, S3_3_C2_C4_0

bulkhead_try_end:

bulkhead_try_failed:
    mov     x0, #1
    ret
"#
);

unsafe extern "C" {
    fn bulkhead_try_copy(to: *mut u8, from: *const u8, bytes: usize) -> u64;
    fn bulkhead_try_zero(to: *mut u8, bytes: usize) -> u64;
    fn bulkhead_try_gcr(to: *mut u64) -> u64;
    fn bulkhead_try_hcrx(to: *mut u64) -> u64;
    fn bulkhead_try_hfgrtr(to: *mut u64) -> u64;
    fn bulkhead_try_pmcr(to: *mut u64) -> u64;
    fn bulkhead_try_hppir0(to: *mut u64) -> u64;
    fn bulkhead_try_rndr(to: *mut u64) -> u64;
}

fn outcome(failed: u64) -> Result<(), AccessFault> {
    if failed == 0 {
        Ok(())
    } else {
        Err(AccessFault)
    }
}

/// Copies `to.len()` bytes from the virtual address `from`.
///
/// # Errors
/// [`AccessFault`] when the memory does not answer.
///
/// # Safety
/// `from` and the bytes after it are foreign memory: no Rust object lies there.
pub unsafe fn copy_in(to: &mut [u8], from: usize) -> Result<(), AccessFault> {
    let source = core::ptr::with_exposed_provenance(from);
    // SAFETY: `to` is writable for its length; a fault on `from` is recovered from.
    outcome(unsafe { bulkhead_try_copy(to.as_mut_ptr(), source, to.len()) })
}

/// Copies `from` to the virtual address `to`.
///
/// # Errors
/// [`AccessFault`] when the memory does not answer.
///
/// # Safety
/// `to` and the bytes after it are foreign memory: no Rust object lies there.
pub unsafe fn copy_out(to: usize, from: &[u8]) -> Result<(), AccessFault> {
    let target = core::ptr::with_exposed_provenance_mut(to);
    // SAFETY: the caller says that nothing of Rust's is at `to`; a fault there is recovered from.
    outcome(unsafe { bulkhead_try_copy(target, from.as_ptr(), from.len()) })
}

/// Clears `bytes` bytes at the virtual address `to`; both are multiples of 8.
///
/// # Errors
/// [`AccessFault`] when the memory does not answer.
///
/// # Safety
/// As [`copy_out`].
pub unsafe fn zero(to: usize, bytes: usize) -> Result<(), AccessFault> {
    debug_assert!(to.is_multiple_of(8) && bytes.is_multiple_of(8));
    // SAFETY: the caller says that nothing of Rust's is at `to`; a fault there is recovered from.
    outcome(unsafe { bulkhead_try_zero(core::ptr::with_exposed_provenance_mut(to), bytes) })
}

/// A register that ID registers promise but EL3 may trap (DECISIONS 8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Probe {
    /// GCR_EL1: memory tagging.
    Gcr,
    /// HCRX_EL2.
    Hcrx,
    /// HFGRTR_EL2: fine-grained traps.
    Hfgrtr,
    /// PMCR_EL0: the performance monitors.
    Pmcr,
    /// ICC_HPPIR0_EL1: the highest pending interrupt of Group 0.
    Hppir0,
    /// RNDR: a random number, or zero when there is none at the moment.
    Rndr,
}

/// Reads a register that may trap; `None` if it does or is not there.
pub fn probe(register: Probe) -> Option<u64> {
    let mut value = 0;
    let routine = match register {
        Probe::Gcr => bulkhead_try_gcr,
        Probe::Hcrx => bulkhead_try_hcrx,
        Probe::Hfgrtr => bulkhead_try_hfgrtr,
        Probe::Pmcr => bulkhead_try_pmcr,
        Probe::Hppir0 => bulkhead_try_hppir0,
        Probe::Rndr => bulkhead_try_rndr,
    };
    // SAFETY: reading these registers has no effect; an undefined one is recovered from.
    outcome(unsafe { routine(&mut value) }).ok().map(|()| value)
}
