// SPDX-License-Identifier: MIT OR Apache-2.0
//! The console: a PL011, and a ring in memory that keeps the last lines whether or not they were
//! printed.
//!
//! When a partition claims the UART for itself, Bulkhead's lines go to the ring only, except a crash
//! report (DECISIONS 14).

use core::fmt::{self, Write};

use bulkhead_arch::mmio::{Frame, Mmio};
use bulkhead_core::sync::Mutex;

/// PL011 registers: data, and flags with "transmit FIFO full".
const UARTDR: usize = 0x00;
const UARTFR: usize = 0x18;
const UARTFR_TXFF: u32 = 1 << 5;

/// How much the ring keeps.
const RING_SIZE: usize = 8 * 1024;

/// Where lines go besides the ring.
#[derive(Clone, Copy, Debug)]
enum Sink {
    /// Nowhere yet.
    None,
    /// To the UART.
    Uart(Frame),
    /// Nowhere any more: the UART belongs to a partition. A crash report still uses it.
    Claimed(Frame),
}

struct Console {
    sink: Sink,
    ring: Ring,
}

struct Ring {
    bytes: [u8; RING_SIZE],
    next: usize,
}

static CONSOLE: Mutex<Console> = Mutex::new(Console {
    sink: Sink::None,
    ring: Ring {
        bytes: [0; RING_SIZE],
        next: 0,
    },
});

impl Console {
    fn put(&mut self, byte: u8) {
        self.ring.bytes[self.ring.next] = byte;
        self.ring.next = (self.ring.next + 1) % RING_SIZE;
        if let Sink::Uart(frame) = self.sink {
            put_uart(frame, byte);
        }
    }
}

fn put_uart(frame: Frame, byte: u8) {
    if byte == b'\n' {
        put_uart(frame, b'\r');
    }
    while frame.read(UARTFR) & UARTFR_TXFF != 0 {
        core::hint::spin_loop();
    }
    frame.write(UARTDR, u32::from(byte));
}

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.put(byte));
        Ok(())
    }
}

/// Prints a line whole: no line of another core comes in between.
pub fn print(line: fmt::Arguments<'_>) {
    // The console's `write_str` does not fail.
    let _ = writeln!(CONSOLE.lock(), "{line}");
}

/// Has lines go to the PL011 at `frame` from now on.
pub fn set_uart(frame: Frame) {
    CONSOLE.lock().sink = Sink::Uart(frame);
}

/// Leaves the UART to the partition that claimed it.
pub fn leave_uart() {
    let mut console = CONSOLE.lock();
    if let Sink::Uart(frame) = console.sink {
        console.sink = Sink::Claimed(frame);
    }
}

/// The console of a crash report: the UART whoever has it, without waiting for a lock that the
/// crashed code may hold.
pub struct CrashConsole(Option<Frame>);

impl CrashConsole {
    /// The console. The lock is waited for as long as another core could need for a line, then
    /// passed by.
    pub fn open() -> Self {
        const PATIENCE: u32 = 1_000_000;
        for _ in 0..PATIENCE {
            if let Some(console) = CONSOLE.try_lock() {
                return Self::of(console.sink);
            }
            core::hint::spin_loop();
        }
        // SAFETY: the sink is a plain value that is written at boot only, before other cores run.
        Self::of(unsafe { (*CONSOLE.as_mut_ptr()).sink })
    }

    fn of(sink: Sink) -> Self {
        match sink {
            Sink::None => Self(None),
            Sink::Uart(frame) | Sink::Claimed(frame) => Self(Some(frame)),
        }
    }
}

impl Write for CrashConsole {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if let Self(Some(frame)) = *self {
            text.bytes().for_each(|byte| put_uart(frame, byte));
        }
        Ok(())
    }
}
