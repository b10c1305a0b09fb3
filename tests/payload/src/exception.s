// SPDX-License-Identifier: MIT OR Apache-2.0
// Exception vectors for EL1 and EL2. Every vector keeps x0–x30, ELR, SPSR, ESR and FAR in a frame on the stack and
// calls payload_exception(frame, vector), which may change ELR in the frame.

    .macro payload_vector number
    .balign 128
    sub     sp, sp, #{frame_size}
    stp     x0, x1, [sp]
    mov     x1, #\number
    b       payload_exception_common
    .endm

    .section .text.vectors, "ax"
    .balign 2048
    .global payload_vectors
payload_vectors:
    payload_vector 0
    payload_vector 1
    payload_vector 2
    payload_vector 3
    payload_vector 4
    payload_vector 5
    payload_vector 6
    payload_vector 7
    payload_vector 8
    payload_vector 9
    payload_vector 10
    payload_vector 11
    payload_vector 12
    payload_vector 13
    payload_vector 14
    payload_vector 15

payload_exception_common:
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
    mrs     x0, CurrentEL
    tbnz    x0, #3, 1f
    mrs     x2, elr_el1
    mrs     x3, spsr_el1
    mrs     x4, esr_el1
    mrs     x5, far_el1
    b       2f
1:  mrs     x2, elr_el2
    mrs     x3, spsr_el2
    mrs     x4, esr_el2
    mrs     x5, far_el2
2:  stp     x30, x2, [sp, #240]
    stp     x3, x4, [sp, #256]
    str     x5, [sp, #272]
    mov     x0, sp
    bl      payload_exception
    ldp     x30, x2, [sp, #240]
    ldr     x3, [sp, #256]
    mrs     x0, CurrentEL
    tbnz    x0, #3, 3f
    msr     elr_el1, x2
    msr     spsr_el1, x3
    b       4f
3:  msr     elr_el2, x2
    msr     spsr_el2, x3
4:  ldp     x2, x3, [sp, #16]
    ldp     x4, x5, [sp, #32]
    ldp     x6, x7, [sp, #48]
    ldp     x8, x9, [sp, #64]
    ldp     x10, x11, [sp, #80]
    ldp     x12, x13, [sp, #96]
    ldp     x14, x15, [sp, #112]
    ldp     x16, x17, [sp, #128]
    ldp     x18, x19, [sp, #144]
    ldp     x20, x21, [sp, #160]
    ldp     x22, x23, [sp, #176]
    ldp     x24, x25, [sp, #192]
    ldp     x26, x27, [sp, #208]
    ldp     x28, x29, [sp, #224]
    ldp     x0, x1, [sp]
    add     sp, sp, #{frame_size}
    eret
