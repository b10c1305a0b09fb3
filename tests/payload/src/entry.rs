// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the first instruction to a Rust function: relocation, memory, stack and vectors.

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bulkhead_abi::Registers;

use crate::exception;

/// How many cores, or execution contexts of a partition, have a stack.
pub const CORES: usize = 8;
/// The size of the first stack, in bytes: a test in the normal world holds much.
const FIRST_STACK_SIZE: usize = 64 * 1024;
/// The size of each other stack, in bytes.
const STACK_SIZE: usize = 32 * 1024;
/// The lowest words of a stack, which nothing may ever write.
const STACK_END: usize = 64;

global_asm!(
    include_str!("entry.s"),
    first_stack_size = const FIRST_STACK_SIZE,
    stack_size = const STACK_SIZE,
    cores = const CORES,
);

#[repr(C, align(4096))]
struct Stacks {
    first: [u64; FIRST_STACK_SIZE / 8],
    others: [[u64; STACK_SIZE / 8]; CORES - 1],
}

/// The entry code takes its address.
#[unsafe(no_mangle)]
static mut payload_stacks: Stacks = Stacks {
    first: [0; FIRST_STACK_SIZE / 8],
    others: [[0; STACK_SIZE / 8]; CORES - 1],
};

/// The core, or execution context, that used more stack than there is.
pub fn stack_overflow() -> Option<usize> {
    let first = (&raw const payload_stacks).cast::<u64>();
    (0..CORES).find(|&core| {
        let words = match core {
            0 => 0,
            _ => (FIRST_STACK_SIZE + (core - 1) * STACK_SIZE) / 8,
        };
        // SAFETY: the words are in `payload_stacks`, and no stack that fits its place reaches them.
        (0..STACK_END).any(|word| unsafe { first.add(words + word).read_volatile() } != 0)
    })
}

/// Written by the entry code before .bss is cleared, so it must not be there.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.entry")]
static mut payload_entry_registers: Registers = Registers::ZERO;

/// Written by the entry code at S-EL0 alone, as the registers.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.entry")]
static payload_at_el0: AtomicBool = AtomicBool::new(false);

/// What a payload was started with.
pub type EntryState = Registers;

/// The payload's main function, of type `fn(&EntryState) -> !`.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn payload_main(entry: &$crate::EntryState) -> ! {
            $main(entry)
        }
    };
}

/// The exception level that the payload runs at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExceptionLevel {
    /// A partition at S-EL0.
    El0,
    /// A partition at S-EL1.
    El1,
    /// The normal world.
    El2,
}

/// The exception level that the payload runs at.
pub fn exception_level() -> ExceptionLevel {
    if payload_at_el0.load(Ordering::Relaxed) {
        return ExceptionLevel::El0;
    }
    let current: u64;
    // SAFETY: reads a register that has no side effect.
    unsafe { asm!("mrs {}, CurrentEL", out(reg) current, options(nomem, nostack)) };
    if current >> 2 & 3 == 2 {
        ExceptionLevel::El2
    } else {
        ExceptionLevel::El1
    }
}

/// The affinity fields of MPIDR_EL1: Aff3 in 39:32, Aff2 to Aff0 in 23:0.
const AFFINITY: u64 = 0xff_00ff_ffff;

/// The affinity of this core or execution context.
pub fn affinity() -> u64 {
    let mpidr: u64;
    // SAFETY: reads a register that has no side effect.
    unsafe { asm!("mrs {}, mpidr_el1", out(reg) mpidr, options(nomem, nostack)) };
    mpidr & AFFINITY
}

/// The index of this core, as it was started, or of this execution context: MPIDR_EL1.Aff0. It is below
/// [`CORES`].
pub fn core_index() -> usize {
    let index: usize;
    match exception_level() {
        ExceptionLevel::El0 => 0,
        ExceptionLevel::El1 => affinity() as usize % CORES,
        ExceptionLevel::El2 => {
            // SAFETY: reads a register that `payload_prepare_core` writes.
            unsafe { asm!("mrs {}, tpidr_el2", out(reg) index, options(nomem, nostack)) };
            index % CORES
        }
    }
}

/// The address of the first byte of the image.
pub fn image_start() -> usize {
    unsafe extern "C" {
        static __image_start: u8;
    }
    &raw const __image_start as usize
}

/// The address of the first byte after the image, .bss and stacks included.
pub fn image_end() -> usize {
    unsafe extern "C" {
        static __image_end: u8;
    }
    &raw const __image_end as usize
}

static SECONDARY_MAIN: AtomicUsize = AtomicUsize::new(0);

/// Chooses the function that other cores, or execution contexts, run, and returns the address at
/// which they start. The function gets the index of its core.
pub fn secondary_entry(main: fn(usize) -> !) -> usize {
    unsafe extern "C" {
        fn payload_secondary_entry();
    }
    SECONDARY_MAIN.store(main as usize, Ordering::Relaxed);
    payload_secondary_entry as *const () as usize
}

#[unsafe(no_mangle)]
extern "C" fn payload_secondary_main(index: usize) -> ! {
    let main = SECONDARY_MAIN.load(Ordering::Relaxed);
    assert!(
        main != 0,
        "core {index} was started without a function to run"
    );
    // SAFETY: `secondary_entry` is the only writer, and what it stored is such a function.
    let main: fn(usize) -> ! = unsafe { core::mem::transmute(main) };
    main(index)
}

/// Brings the system registers that a payload depends on to known values, and sets the vectors. At EL2,
/// TPIDR_EL2 holds the core's `index` from here on.
#[unsafe(no_mangle)]
extern "C" fn payload_prepare_core(index: usize) {
    match exception_level() {
        // No vectors either: whatever it may not do ends it.
        ExceptionLevel::El0 => return,
        ExceptionLevel::El1 => {
            /// CPACR_EL1.FPEN: FP and SIMD do not trap.
            const FPEN: u64 = 3 << 20;
            // SAFETY: no translation or memory attribute changes.
            unsafe { asm!("msr cpacr_el1, {}", "isb", in(reg) FPEN, options(nostack)) };
        }
        ExceptionLevel::El2 => {
            /// FMO, IMO, AMO: interrupts come here once they are unmasked. RW: EL1 is AArch64. APK, API: keys and
            /// instructions of pointer authentication do not trap.
            const HCR: u64 = 0b111 << 3 | 1 << 31 | 1 << 40 | 1 << 41;
            /// RES1 bits, and A: alignment is checked. MMU and caches off.
            const SCTLR: u64 = 0x30c5_0830 | 1 << 1;
            /// RES1 bits without those that trap FP (TFP, 10), SVE (TZ, 8) and SME (TSM, 12).
            const CPTR: u64 = 0x22ff;
            // SAFETY: the MMU is off before and after, and E2H was 0 as TF-A enters BL33.
            unsafe {
                asm!(
                    "msr hcr_el2, {hcr}",
                    "isb",
                    "msr sctlr_el2, {sctlr}",
                    "msr cptr_el2, {cptr}",
                    "msr tpidr_el2, {index}",
                    "isb",
                    hcr = in(reg) HCR,
                    sctlr = in(reg) SCTLR,
                    cptr = in(reg) CPTR,
                    index = in(reg) index,
                    options(nostack),
                );
            }
        }
    }
    exception::install_vectors();
}
