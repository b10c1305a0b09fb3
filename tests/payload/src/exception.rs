// SPDX-License-Identifier: MIT OR Apache-2.0
//! Exceptions that the payload takes: those that a test expects are skipped, interrupts go to the handler of their
//! core, any other is a panic.

use core::arch::{asm, global_asm};
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::entry::{CORES, ExceptionLevel, core_index, exception_level};

global_asm!(include_str!("exception.s"), frame_size = const size_of::<Frame>());

/// What the vectors keep.
#[repr(C, align(16))]
struct Frame {
    x: [u64; 31],
    elr: u64,
    spsr: u64,
    esr: u64,
    far: u64,
}

const _: () = assert!(core::mem::offset_of!(Frame, elr) == 248 && size_of::<Frame>() == 288);

/// The vector of a synchronous exception at the current exception level with its own stack pointer.
const SYNCHRONOUS: u64 = 4;

/// The vectors of a synchronous exception from EL0, in AArch64 and in AArch32.
const FROM_EL0: [u64; 2] = [8, 12];
/// PSTATE of EL1 with its own stack pointer, exceptions masked.
const EL1H: u64 = 0x3c5;
/// SPSR_ELx.IL: the PSTATE that was asked for is illegal.
const ILLEGAL: u64 = 1 << 20;
/// The vectors of IRQ, FIQ and SError at the current exception level with its own stack pointer.
const IRQ: u64 = 5;
const FIQ: u64 = 6;
const SERROR: u64 = 7;
/// PSTATE.I and PSTATE.F in SPSR.
const MASKS: u64 = 1 << 7 | 1 << 6;

/// Exception classes, ESR_ELx.EC.
pub mod class {
    /// Unknown reason: an undefined instruction.
    pub const UNDEFINED: u64 = 0x00;
    /// Illegal execution state: a return to a PSTATE that is illegal.
    pub const ILLEGAL_STATE: u64 = 0x0e;
    /// A trapped access to SVE.
    pub const SVE: u64 = 0x19;
    /// A trapped access to SME.
    pub const SME: u64 = 0x1d;
    /// SVC in AArch32.
    pub const SVC32: u64 = 0x11;
    /// SVC in AArch64.
    pub const SVC64: u64 = 0x15;
    /// BRK.
    pub const BRK: u64 = 0x3c;
    /// A trapped MRS, MSR or system instruction.
    pub const SYSTEM_REGISTER: u64 = 0x18;
    /// An instruction abort without a change of exception level.
    pub const INSTRUCTION_ABORT: u64 = 0x21;
    /// A data abort without a change of exception level.
    pub const DATA_ABORT: u64 = 0x25;
}

/// An exception that a test expected and got.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Exception {
    /// The syndrome, ESR_ELx.
    pub syndrome: u64,
    /// The fault address, FAR_ELx, where the class has one.
    pub address: u64,
}

impl Exception {
    /// The exception class: one of [`class`], or another.
    pub fn class(self) -> u64 {
        self.syndrome >> 26 & 0x3f
    }
}

impl fmt::Debug for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "exception class {:#04x}, ESR {:#x}, FAR {:#x}",
            self.class(),
            self.syndrome,
            self.address
        )
    }
}

/// The expectation of one core. Only that core uses it.
struct Expectation {
    armed: AtomicBool,
    seen: AtomicBool,
    syndrome: AtomicU64,
    address: AtomicU64,
    /// The vector of the last interrupt.
    interrupt: AtomicU64,
    /// The [`Handler`] of interrupts; zero for none.
    handler: AtomicUsize,
}

static EXPECTATIONS: [Expectation; CORES] = [const {
    Expectation {
        armed: AtomicBool::new(false),
        seen: AtomicBool::new(false),
        syndrome: AtomicU64::new(0),
        address: AtomicU64::new(0),
        interrupt: AtomicU64::new(0),
        handler: AtomicUsize::new(0),
    }
}; CORES];

/// Points VBAR of the current exception level at the payload's vectors.
pub fn install_vectors() {
    unsafe extern "C" {
        fn payload_vectors();
    }
    let vectors = payload_vectors as *const () as usize;
    // SAFETY: the vectors are aligned and keep all registers.
    unsafe {
        match exception_level() {
            ExceptionLevel::El0 => {}
            ExceptionLevel::El1 => {
                asm!("msr vbar_el1, {}", "isb", in(reg) vectors, options(nostack))
            }
            ExceptionLevel::El2 => {
                asm!("msr vbar_el2, {}", "isb", in(reg) vectors, options(nostack))
            }
        }
    }
}

/// Runs `attempt`; an instruction in it that causes a synchronous exception is skipped. Returns what
/// `attempt` returned, and the last exception.
///
/// After a fetch from a bad address, execution goes on at x30: reach such an address by a call.
pub fn expect<T>(attempt: impl FnOnce() -> T) -> (T, Option<Exception>) {
    let expectation = &EXPECTATIONS[core_index()];
    install_vectors();
    expectation.seen.store(false, Ordering::SeqCst);
    expectation.armed.store(true, Ordering::SeqCst);
    let result = attempt();
    expectation.armed.store(false, Ordering::SeqCst);
    let seen = expectation.seen.load(Ordering::SeqCst).then(|| Exception {
        syndrome: expectation.syndrome.load(Ordering::SeqCst),
        address: expectation.address.load(Ordering::SeqCst),
    });
    (result, seen)
}

/// An interrupt by its line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interrupt {
    /// IRQ.
    Irq,
    /// FIQ.
    Fiq,
    /// SError.
    SError,
}

/// What a core or an execution context does about its interrupts. It runs with all of them masked, and what it
/// interrupted keeps all of its registers but FP, which no code of a payload uses unasked.
pub type Handler = fn(Interrupt);

/// Has this core's interrupts handled; what handled them before is returned.
pub fn handle_with(handler: Option<Handler>) -> Option<Handler> {
    let slot = &EXPECTATIONS[core_index()].handler;
    let before = slot.load(Ordering::SeqCst);
    slot.store(
        handler.map_or(0, |handler| handler as usize),
        Ordering::SeqCst,
    );
    handler_from(before)
}

fn handler_from(address: usize) -> Option<Handler> {
    // SAFETY: not zero, so it is what `handle_with` stored: such a function.
    (address != 0).then(|| unsafe { core::mem::transmute::<usize, Handler>(address) })
}

/// PSTATE.A, I and F, as DAIF has them.
const DAIF_AIF: u64 = 7 << 6;

/// Lets IRQ, FIQ and SError in until [`mask_interrupts`]. There is to be a handler.
pub fn unmask_interrupts() {
    install_vectors();
    // SAFETY: the vectors keep all registers, and come back here.
    unsafe { asm!("msr daifclr, #7", "isb", options(nostack)) };
}

/// Keeps IRQ, FIQ and SError out; whether all of them were.
pub fn mask_interrupts() -> bool {
    let before: u64;
    // SAFETY: changes the masks alone.
    unsafe { asm!("mrs {}, daif", "msr daifset, #7", out(reg) before, options(nostack)) };
    before & DAIF_AIF == DAIF_AIF
}

/// Runs `work` with interrupts masked, and leaves the masks as they were.
pub fn without_interrupts<T>(work: impl FnOnce() -> T) -> T {
    let masked = mask_interrupts();
    let result = work();
    if !masked {
        unmask_interrupts();
    }
    result
}

/// Lets interrupts in for a moment; the one that came. Both lines are masked again then.
pub fn take_interrupt() -> Option<Interrupt> {
    let seen = &EXPECTATIONS[core_index()].interrupt;
    install_vectors();
    seen.store(0, Ordering::SeqCst);
    // SAFETY: the vectors keep all registers, and come back here.
    unsafe {
        asm!(
            "msr daifclr, #3",
            "isb",
            "nop",
            "nop",
            "msr daifset, #3",
            options(nostack)
        )
    };
    match seen.load(Ordering::SeqCst) {
        IRQ => Some(Interrupt::Irq),
        FIQ => Some(Interrupt::Fiq),
        _ => None,
    }
}

#[unsafe(no_mangle)]
extern "C" fn payload_exception(frame: &mut Frame, vector: u64) {
    let exception = Exception {
        syndrome: frame.esr,
        address: frame.far,
    };
    if FROM_EL0.contains(&vector)
        && let Some(next) = crate::lower::ended(exception, frame.x[0], frame.elr, frame.spsr)
    {
        (frame.elr, frame.spsr) = (next, EL1H);
        return;
    }
    let expectation = &EXPECTATIONS[core_index()];
    if let (IRQ | FIQ | SERROR, Some(handler)) = (
        vector,
        handler_from(expectation.handler.load(Ordering::SeqCst)),
    ) {
        handler(match vector {
            IRQ => Interrupt::Irq,
            FIQ => Interrupt::Fiq,
            _ => Interrupt::SError,
        });
        return;
    }
    if let IRQ | FIQ = vector {
        expectation.interrupt.store(vector, Ordering::SeqCst);
        frame.spsr |= MASKS;
        return;
    }
    if vector != SYNCHRONOUS || !expectation.armed.load(Ordering::SeqCst) {
        panic!(
            "{exception:?}, vector {vector}, at image offset {:#x}",
            frame.elr.wrapping_sub(crate::entry::image_start() as u64)
        );
    }
    expectation
        .syndrome
        .store(exception.syndrome, Ordering::SeqCst);
    expectation
        .address
        .store(exception.address, Ordering::SeqCst);
    expectation.seen.store(true, Ordering::SeqCst);
    frame.spsr &= !ILLEGAL;
    frame.elr = match exception.class() {
        class::INSTRUCTION_ABORT => frame.x[30],
        _ => frame.elr + 4,
    };
}
