// SPDX-License-Identifier: MIT OR Apache-2.0
// Entry of a payload: EL2 or EL1, MMU off, interrupts masked, at any 4 KiB aligned address. One instruction later,
// that of S-EL0: its manifest says so.

    .section .text.entry, "ax"
    .global payload_entry
payload_entry:
    b       1f
    b       payload_entry_el0
1:
    // What the loader left in x0–x30, before anything is changed. SP_EL0 holds x30 meanwhile.
    msr     sp_el0, x30
    adrp    x30, payload_entry_registers
    add     x30, x30, :lo12:payload_entry_registers
    stp     x0, x1, [x30]
    stp     x2, x3, [x30, #16]
    stp     x4, x5, [x30, #32]
    stp     x6, x7, [x30, #48]
    stp     x8, x9, [x30, #64]
    stp     x10, x11, [x30, #80]
    stp     x12, x13, [x30, #96]
    stp     x14, x15, [x30, #112]
    stp     x16, x17, [x30, #128]
    stp     x18, x19, [x30, #144]
    stp     x20, x21, [x30, #160]
    stp     x22, x23, [x30, #176]
    stp     x24, x25, [x30, #192]
    stp     x26, x27, [x30, #208]
    stp     x28, x29, [x30, #224]
    mrs     x0, sp_el0
    str     x0, [x30, #240]

payload_relocate:
    // The image is linked at 0: every R_AARCH64_RELATIVE (0x403) gets the address it runs at.
    adrp    x20, __image_start
    adrp    x21, __rela_start
    add     x21, x21, :lo12:__rela_start
    adrp    x22, __rela_end
    add     x22, x22, :lo12:__rela_end
1:  cmp     x21, x22
    b.hs    2f
    ldp     x23, x24, [x21], #16
    ldr     x25, [x21], #8
    cmp     x24, #0x403
    b.ne    payload_park
    add     x25, x25, x20
    str     x25, [x20, x23]
    b       1b

    // .bss is not in the file, and memory need not be zero.
2:  adrp    x21, __bss_start
    adrp    x22, __bss_end
3:  stp     xzr, xzr, [x21], #16
    cmp     x21, x22
    b.lo    3b

    adrp    x19, payload_stacks
    add     x19, x19, :lo12:payload_stacks
    mov     x21, #{first_stack_size}
    add     sp, x19, x21
    mov     x0, xzr
    bl      payload_prepare_core
    adrp    x0, payload_entry_registers
    add     x0, x0, :lo12:payload_entry_registers
    mov     x29, xzr
    mov     x30, xzr
    bl      payload_main
    b       payload_park

    // Entry of another core, x0 = its index, or of an execution context, whose index is MPIDR_EL1.Aff0.
    .global payload_secondary_entry
payload_secondary_entry:
    mov     x20, x0
    mrs     x21, currentel
    cmp     x21, #(2 << 2)
    b.eq    4f
    mrs     x20, mpidr_el1
    and     x20, x20, #0xff
4:  cmp     x20, #{cores}
    b.hs    payload_park
    adrp    x19, payload_stacks
    add     x19, x19, :lo12:payload_stacks
    mov     x21, #{first_stack_size}
    add     x19, x19, x21
    mov     x22, #{stack_size}
    madd    x19, x20, x22, x19
    mov     sp, x19
    mov     x0, x20
    bl      payload_prepare_core
    mov     x0, x20
    mov     x29, xzr
    mov     x30, xzr
    bl      payload_secondary_main

    // Entry at S-EL0: all pages may be read and executed, none written. Those that are relocated or data become so by
    // FFA_MEM_PERM_SET (64-bit: address, pages, 5). x4 to x17, which the call changes, are kept as one value in x4;
    // x30 is not kept.
payload_entry_el0:
    mov     x18, x0
    mov     x19, x1
    mov     x20, x2
    mov     x21, x3
    orr     x22, x4, x5
    .irp    register, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15, x16, x17
    orr     x22, x22, \register
    .endr
    movz    x0, #0x0089
    movk    x0, #0xc400, lsl #16
    adrp    x1, __relocated_start
    adrp    x2, __image_end
    sub     x2, x2, x1
    lsr     x2, x2, #12
    mov     x3, #5
    mov     x4, xzr
    mov     x5, xzr
    mov     x6, xzr
    mov     x7, xzr
    svc     #0
    tbnz    w2, #31, payload_park
    adrp    x30, payload_entry_registers
    add     x30, x30, :lo12:payload_entry_registers
    stp     x18, x19, [x30]
    stp     x20, x21, [x30, #16]
    stp     x22, x23, [x30, #32]
    stp     x24, x25, [x30, #48]
    stp     x26, x27, [x30, #64]
    stp     x28, x29, [x30, #80]
    adrp    x30, payload_at_el0
    mov     w29, #1
    strb    w29, [x30, :lo12:payload_at_el0]
    b       payload_relocate

payload_park:
    wfe
    b       payload_park
