// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is left to do when Bulkhead itself is wrong: say where, and stop.

use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use bulkhead_abi::Registers;
use bulkhead_arch::vectors::{CrashKind, Frame};
use bulkhead_arch::{conduit, layout, percore, sysreg};
use bulkhead_spmc::console::CrashConsole;
use bulkhead_spmc::run;

use crate::boot;

/// Frames of the backtrace.
const DEPTH: usize = 16;

/// A crash on a core that reports one already: there is no point in going on.
static REPORTING: AtomicBool = AtomicBool::new(false);

/// An exception at S-EL2 that nothing recovers from; called by the vectors.
// SAFETY: the name is Bulkhead's own, and the only definition of it.
#[unsafe(no_mangle)]
extern "C" fn bulkhead_crash(kind: CrashKind, frame: &Frame) -> ! {
    if !REPORTING.swap(true, Ordering::AcqRel) {
        report(kind, frame);
    }
    stop()
}

fn report(kind: CrashKind, frame: &Frame) {
    let mut console = CrashConsole::open();
    let core = percore::current().map_or(0, |core| core.index);
    // The crash console does not fail.
    let _ = writeln!(
        console,
        "bulkhead: crash: {kind:?} exception at S-EL2 on core {core}\n\
         esr {:#010x} far {:#018x} elr {:#018x} spsr {:#x} sp {:#018x}",
        frame.esr, frame.far, frame.elr, frame.spsr, frame.sp,
    );
    for (row, registers) in frame.registers.x.chunks(4).enumerate() {
        let _ = write!(console, "x{:<2}", row * 4);
        for value in registers {
            let _ = write!(console, " {value:#018x}");
        }
        let _ = writeln!(console);
    }
    backtrace(&mut console, frame.elr, frame.registers.x[29]);
}

fn backtrace(console: &mut CrashConsole, pc: u64, mut frame: u64) {
    let _ = write!(console, "backtrace {pc:#x}");
    let stack = match percore::current() {
        Some(core) => core.stack(),
        None => layout::early_stack(),
    };
    for _ in 0..DEPTH {
        let address = frame as usize;
        if !stack.contains(&address)
            || !stack.contains(&(address + 15))
            || !address.is_multiple_of(8)
        {
            break;
        }
        let record = core::ptr::with_exposed_provenance::<[u64; 2]>(address);
        // SAFETY: the frame record lies whole and aligned in this core's own stack.
        let [caller, link] = unsafe { record.read_volatile() };
        if link == 0 {
            break;
        }
        let _ = write!(console, " {:#x}", link.wrapping_sub(4));
        if caller <= frame {
            break;
        }
        frame = caller;
    }
    let _ = writeln!(console);
}

/// A panic of Rust code.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    if !REPORTING.swap(true, Ordering::AcqRel) {
        let mut console = CrashConsole::open();
        let core = percore::current().map_or(0, |core| core.index);
        let _ = writeln!(console, "bulkhead: crash: panic on core {core}: {info}");
        backtrace(&mut console, sysreg::pc(), sysreg::frame_pointer());
    }
    stop()
}

/// Tells EL3 that this SPMC is no more, and waits in vain. During boot the normal world goes on
/// without the secure one (DECISIONS 17); afterwards EL3 stops the system if it knows FFA_ABORT.
fn stop() -> ! {
    const FFA_ABORT_32: u64 = 0x8400_0090;
    if run::is_over() {
        let mut registers = Registers::ZERO;
        registers.x[0] = FFA_ABORT_32;
        conduit::smc(&mut registers);
    } else {
        boot::give_up();
    }
    loop {
        sysreg::wait_for_interrupt();
    }
}
