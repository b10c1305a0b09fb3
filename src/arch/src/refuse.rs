// SPDX-License-Identifier: MIT OR Apache-2.0
//! A core without an SPMC: what it answers for ever, so that EL3 and the normal world go on.
//!
//! One routine serves the boot core after a fatal error, the cores that come on after it, and a core
//! that no manifest names. It uses no memory, so it runs with and without an MMU, at any address.
//!
//! | what the SPMD hands over | answer |
//! |---|---|
//! | the entry of the core | FFA_ERROR NOT_SUPPORTED: this core has no SPMC (DECISIONS 17) |
//! | framework message 8, FFA_VERSION of the normal world | message 9, NOT_SUPPORTED (A-02) |
//! | framework message 0, PSCI | message 2, success (DECISIONS 22) |
//! | FFA_INTERRUPT | FFA_NORMAL_WORLD_RESUME (DECISIONS 23) |
//! | any other call of the normal world | FFA_MSG_SEND, which no caller takes for success |
//!
//! The last row is not FFA_ERROR because TF-A 2.12's SPMD takes that, at any time, for the end of an
//! initialisation that failed, and returns to a stack that is no longer there.

use core::arch::global_asm;

use bulkhead_abi::framework::Message;
use bulkhead_abi::{FfaError, Function, Width};

use crate::entry;

global_asm!(
    r#"
    .section .text.stub, "ax"

    // Never returns. Uses x0 to x7 and x18 only.
    .global bulkhead_refuse
bulkhead_refuse:
    ldr     w0, ={error}
    mov     x1, xzr
    mov     w2, {not_supported}
    mov     x3, xzr
    b       6f

1:  ldr     w18, ={request}
    cmp     w0, w18
    b.ne    3f
    ldr     w18, ={version_request}
    cmp     w2, w18
    b.ne    2f
    ldr     w2, ={version_response}
    mov     w3, {not_supported}
    b       4f
2:  ldr     w18, ={psci_request}
    cmp     w2, w18
    b.ne    5f
    ldr     w2, ={power_response}
    mov     x3, xzr
    b       4f
3:  ldr     w18, ={interrupt}
    cmp     w0, w18
    b.ne    5f
    ldr     w0, ={resume}
    mov     x1, xzr
    mov     x2, xzr
    mov     x3, xzr
    b       6f
4:  ldr     w0, ={response}
    ror     w1, w1, #16
    b       6f
5:  ldr     w0, ={send}
    mov     x1, xzr
    mov     x2, xzr
    mov     x3, xzr
6:  mov     x4, xzr
    mov     x5, xzr
    mov     x6, xzr
    mov     x7, xzr
    smc     #0
    b       1b

    // What cores enter at that come on after a fatal error.
    .global bulkhead_refuse_entry
bulkhead_refuse_entry:
    msr     daifset, #0xf
    b       bulkhead_refuse
    .ltorg
"#,
    error = const Function::Error.id(Width::W32),
    not_supported = const FfaError::NotSupported.code(),
    request = const Function::MsgSendDirectReq.id(Width::W32),
    response = const Function::MsgSendDirectResp.id(Width::W32),
    interrupt = const Function::Interrupt.id(Width::W32),
    resume = const Function::NormalWorldResume.id(Width::W32),
    send = const Function::MsgSend.id(Width::W32),
    version_request = const word(Message::VersionRequest),
    version_response = const word(Message::VersionResponse),
    psci_request = const word(Message::PsciRequest),
    power_response = const word(Message::PowerResponse),
);

/// w2 of a framework message.
const fn word(message: Message) -> u32 {
    bulkhead_abi::framework::FRAMEWORK | message.number() as u32
}

unsafe extern "C" {
    fn bulkhead_refuse() -> !;
    fn bulkhead_refuse_entry();
}

/// Answers for a core without an SPMC, for ever. The core may go off and come on again.
pub fn refuse() -> ! {
    entry::open_identity_map();
    // SAFETY: the routine needs nothing and touches no memory.
    unsafe { bulkhead_refuse() }
}

/// Where cores shall enter that come on after a fatal error, as a physical address.
pub fn refusal_entry() -> u64 {
    entry::physical(bulkhead_refuse_entry as *const () as usize)
}
