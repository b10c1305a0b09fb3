// SPDX-License-Identifier: MIT OR Apache-2.0
//! The exception vectors of S-EL2.
//!
//! From a lower level (AArch64, and AArch32 below an AArch64 S-EL1: DECISIONS 6) every exception is
//! the end of a run: the general-purpose registers go into the context that
//! [`switch`](crate::switch) entered, and its `enter` returns. At the current level one exception is
//! legal: an abort inside of the copy that recovers from faults ([`copy`](crate::copy)). All others
//! are a crash.

use core::arch::global_asm;
use core::mem::offset_of;

use bulkhead_abi::Registers;

use crate::context::Context;
use crate::layout::STACK_LIMIT;
use crate::switch;

/// The registers at a crash, as the vectors leave them on the stack.
#[repr(C)]
#[derive(Debug)]
pub struct Frame {
    /// x0 to x30.
    pub registers: Registers,
    /// SP_EL2.
    pub sp: u64,
    /// ELR_EL2.
    pub elr: u64,
    /// SPSR_EL2.
    pub spsr: u64,
    /// ESR_EL2.
    pub esr: u64,
    /// FAR_EL2.
    pub far: u64,
}

/// Which vector a crash came through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum CrashKind {
    /// A synchronous exception at S-EL2.
    Synchronous = 0,
    /// An IRQ at S-EL2, where interrupts are masked.
    Irq = 1,
    /// An FIQ at S-EL2.
    Fiq = 2,
    /// An SError at S-EL2.
    SError = 3,
    /// A synchronous exception because the stack overflowed; on the emergency stack.
    StackOverflow = 4,
}

global_asm!(
    r#"
    // An exception from a lower level: [sp + context] is the context.
    .macro lower kind
    .balign 128
    stp     x0, x1, [sp, #-16]!
    ldr     x0, [sp, #(16 + {frame_context})]
    stp     x2, x3, [x0, #16]
    stp     x4, x5, [x0, #32]
    stp     x6, x7, [x0, #48]
    stp     x8, x9, [x0, #64]
    stp     x10, x11, [x0, #80]
    stp     x12, x13, [x0, #96]
    stp     x14, x15, [x0, #112]
    stp     x16, x17, [x0, #128]
    stp     x18, x19, [x0, #144]
    stp     x20, x21, [x0, #160]
    stp     x22, x23, [x0, #176]
    stp     x24, x25, [x0, #192]
    stp     x26, x27, [x0, #208]
    stp     x28, x29, [x0, #224]
    str     x30, [x0, #240]
    mov     x1, x0
    ldp     x2, x3, [sp], #16
    stp     x2, x3, [x1]
    mov     x0, #\kind
    b       bulkhead_leave
    .endm

    // An exception at the current level.
    .macro current kind
    .balign 128
    sub     sp, sp, {frame_size}
    // One bit of SP tells an overflow. No register is free to look at it yet:
    // sp' = sp + x0; x0' = sp' - x0 = sp; back by the same way.
    add     sp, sp, x0
    sub     x0, sp, x0
    tbnz    x0, {overflow_bit}, 1f
    sub     x0, sp, x0
    sub     sp, sp, x0
    stp     x0, x1, [sp]
    mov     x0, #\kind
    b       bulkhead_current
1:  sub     x0, sp, x0
    sub     sp, sp, x0
    b       bulkhead_overflow
    .endm

    .section .text.vectors, "ax"
    .balign 2048
    .global bulkhead_vectors
bulkhead_vectors:
    current 0                           // SP_EL0: never used at S-EL2
    current 1
    current 2
    current 3
    .balign 128
    b       bulkhead_current_sync
    current 1
    current 2
    current 3
    lower 0
    lower 1
    lower 2
    lower 3
    lower 0
    lower 1
    lower 2
    lower 3
    .balign 128

    // As `current`, but a fault inside of the routines that recover goes on at their fix-up.
bulkhead_current_sync:
    sub     sp, sp, {frame_size}
    add     sp, sp, x0
    sub     x0, sp, x0
    tbnz    x0, {overflow_bit}, 2f
    sub     x0, sp, x0
    sub     sp, sp, x0
    stp     x0, x1, [sp]
    mrs     x0, elr_el2
    adrp    x1, bulkhead_try_start
    add     x1, x1, :lo12:bulkhead_try_start
    cmp     x0, x1
    b.lo    1f
    adrp    x1, bulkhead_try_end
    add     x1, x1, :lo12:bulkhead_try_end
    cmp     x0, x1
    b.hs    1f
    adrp    x1, bulkhead_try_failed
    add     x1, x1, :lo12:bulkhead_try_failed
    msr     elr_el2, x1
    ldp     x0, x1, [sp]
    add     sp, sp, {frame_size}
    eret
    dsb     nsh
    isb
1:  mov     x0, #0
    b       bulkhead_current
2:  sub     x0, sp, x0
    sub     sp, sp, x0
    b       bulkhead_overflow

    // The stack cannot be used: the frame goes to the emergency stack. What is lost of EL0's
    // registers on the way nobody will need.
bulkhead_overflow:
    msr     tpidr_el0, x0
    add     x0, sp, {frame_size}
    msr     tpidrro_el0, x0             // SP at the crash
    adrp    x0, bulkhead_emergency_stack_top
    add     x0, x0, :lo12:bulkhead_emergency_stack_top
    sub     sp, x0, {frame_size}
    mrs     x0, tpidr_el0
    stp     x0, x1, [sp]
    mrs     x0, tpidrro_el0
    str     x0, [sp, {frame_sp}]
    mov     x0, {overflow_kind}
    b       bulkhead_crashed

    // x0 = kind; x0 and x1 of the crash are on the stack, in the frame.
bulkhead_current:
    add     x1, sp, {frame_size}
    str     x1, [sp, {frame_sp}]
bulkhead_crashed:
    stp     x2, x3, [sp, #16]
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    stp     x18, x19, [sp, #144]
    stp     x20, x21, [sp, #160]
    stp     x22, x23, [sp, #176]
    stp     x24, x25, [sp, #192]
    stp     x26, x27, [sp, #208]
    stp     x28, x29, [sp, #224]
    str     x30, [sp, #240]
    mrs     x1, elr_el2
    mrs     x2, spsr_el2
    stp     x1, x2, [sp, {frame_elr}]
    mrs     x1, esr_el2
    mrs     x2, far_el2
    stp     x1, x2, [sp, {frame_esr}]
    mov     x1, sp
    mov     x30, xzr
    b       bulkhead_crash

    .section .bss.emergency_stack, "aw", %nobits
    .balign 16
    .space  4096
bulkhead_emergency_stack_top:
"#,
    frame_context = const switch::FRAME_CONTEXT,
    frame_size = const size_of::<Frame>().next_multiple_of(16),
    frame_sp = const offset_of!(Frame, sp),
    frame_elr = const offset_of!(Frame, elr),
    frame_esr = const offset_of!(Frame, esr),
    overflow_bit = const STACK_LIMIT.trailing_zeros(),
    overflow_kind = const CrashKind::StackOverflow as u64,
);

// The vectors name registers of a context by their distance from its start.
const _: () = assert!(offset_of!(Context, registers) == 0);
