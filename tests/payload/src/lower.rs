// SPDX-License-Identifier: MIT OR Apache-2.0
//! Code at EL0 of this payload, AArch64 or AArch32, up to its first exception.

use core::arch::global_asm;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::exception::Exception;
use crate::memory::Page;

global_asm!(
    r#"
    .section .text.lower, "ax"
    // payload_lower_enter(pc, pstate, x0): comes back from payload_lower_return, where the handler sends
    // the first exception from EL0.
    .global payload_lower_enter
payload_lower_enter:
    stp     x29, x30, [sp, #-96]!
    stp     x19, x20, [sp, #16]
    stp     x21, x22, [sp, #32]
    stp     x23, x24, [sp, #48]
    stp     x25, x26, [sp, #64]
    stp     x27, x28, [sp, #80]
    msr     elr_el1, x0
    msr     spsr_el1, x1
    mov     x0, x2
    isb
    eret
    .global payload_lower_return
payload_lower_return:
    ldp     x27, x28, [sp, #80]
    ldp     x25, x26, [sp, #64]
    ldp     x23, x24, [sp, #48]
    ldp     x21, x22, [sp, #32]
    ldp     x19, x20, [sp, #16]
    ldp     x29, x30, [sp], #96
    ret
"#
);

static RUNNING: AtomicBool = AtomicBool::new(false);
static SYNDROME: AtomicU64 = AtomicU64::new(0);
static ADDRESS: AtomicU64 = AtomicU64::new(0);
static X0: AtomicU64 = AtomicU64::new(0);
static PC: AtomicU64 = AtomicU64::new(0);
static PSTATE: AtomicU64 = AtomicU64::new(0);

/// PSTATE at EL0 in AArch64, exceptions masked.
pub const AARCH64: u64 = 0x3c0;
/// PSTATE in User mode of AArch32, A32 instructions, exceptions masked.
pub const AARCH32: u64 = 0x1d0;

/// What ended a run at EL0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended {
    /// The exception.
    pub exception: Exception,
    /// x0, or R0.
    pub x0: u64,
    /// ELR_EL1.
    pub pc: u64,
    /// SPSR_EL1.
    pub pstate: u64,
}

static CODE: Page = Page::zeroed();

/// Puts instructions where [`run`] finds them; returns their address.
pub fn load(instructions: &[u32]) -> u64 {
    let bytes = instructions.iter().flat_map(|word| word.to_le_bytes());
    CODE.write(0, bytes);
    // SAFETY: instruction caches hold no state of their own.
    unsafe { core::arch::asm!("dsb sy", "ic iallu", "dsb sy", "isb", options(nostack)) };
    CODE.address()
}

/// Runs code at EL0 until its first exception to EL1.
pub fn run(pc: u64, pstate: u64, x0: u64) -> Ended {
    unsafe extern "C" {
        fn payload_lower_enter(pc: u64, pstate: u64, x0: u64);
    }
    crate::exception::install_vectors();
    RUNNING.store(true, Ordering::SeqCst);
    // SAFETY: the callee-saved registers come back; what runs in between is the test's.
    unsafe { payload_lower_enter(pc, pstate, x0) };
    Ended {
        exception: Exception {
            syndrome: SYNDROME.load(Ordering::SeqCst),
            address: ADDRESS.load(Ordering::SeqCst),
        },
        x0: X0.load(Ordering::SeqCst),
        pc: PC.load(Ordering::SeqCst),
        pstate: PSTATE.load(Ordering::SeqCst),
    }
}

/// Takes note of an exception from EL0; where to go on, if such code runs.
pub(crate) fn ended(exception: Exception, x0: u64, pc: u64, pstate: u64) -> Option<u64> {
    unsafe extern "C" {
        fn payload_lower_return();
    }
    if !RUNNING.swap(false, Ordering::SeqCst) {
        return None;
    }
    SYNDROME.store(exception.syndrome, Ordering::SeqCst);
    ADDRESS.store(exception.address, Ordering::SeqCst);
    X0.store(x0, Ordering::SeqCst);
    PC.store(pc, Ordering::SeqCst);
    PSTATE.store(pstate, Ordering::SeqCst);
    Some(payload_lower_return as *const () as u64)
}
