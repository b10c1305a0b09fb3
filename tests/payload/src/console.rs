// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a payload prints: a UART in the normal world, FFA_CONSOLE_LOG in a partition.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicUsize, Ordering};

use arrayvec::ArrayVec;
use bulkhead_abi::{Function, Width};

use crate::board;
use crate::call::smc;

/// A console.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Console {
    /// Nowhere.
    None,
    /// The normal world's PL011.
    Uart,
    /// FFA_CONSOLE_LOG with 24 characters in six 32-bit registers.
    Log32,
    /// FFA_CONSOLE_LOG with 48 characters in six 64-bit registers.
    Log64,
    /// FFA_CONSOLE_LOG with 128 characters in sixteen 64-bit registers, from FF-A 1.2.
    Log64Extended,
}

impl Console {
    const ALL: [Self; 5] = [
        Self::None,
        Self::Uart,
        Self::Log32,
        Self::Log64,
        Self::Log64Extended,
    ];

    /// How many characters one call takes, or one write may hold back.
    const fn capacity(self) -> usize {
        match self {
            Self::None | Self::Uart => 1,
            Self::Log32 => 24,
            Self::Log64 => 48,
            Self::Log64Extended => 128,
        }
    }

    fn send(self, characters: &[u8]) {
        match self {
            Self::None => {}
            Self::Uart => characters
                .iter()
                .for_each(|&character| uart_send(character)),
            Self::Log32 => log(Width::W32, 4, characters),
            Self::Log64 | Self::Log64Extended => log(Width::W64, 8, characters),
        }
    }
}

static CONSOLE: AtomicUsize = AtomicUsize::new(0);

/// Chooses the console of [`println!`] and of panics.
pub fn select(console: Console) {
    CONSOLE.store(
        Console::ALL
            .iter()
            .position(|&other| other == console)
            .unwrap_or(0),
        Ordering::Relaxed,
    );
}

fn log(width: Width, per_register: usize, characters: &[u8]) {
    let mut x = [0; 18];
    x[0] = Function::ConsoleLog.id(width);
    x[1] = characters.len() as u64;
    for (register, chunk) in x[2..].iter_mut().zip(characters.chunks(per_register)) {
        for (index, &character) in chunk.iter().enumerate() {
            *register |= u64::from(character) << (8 * index);
        }
    }
    // A console that refuses is no reason to stop.
    smc(&mut x);
}

fn uart_send(character: u8) {
    /// UARTFR, and its bit for a full transmit FIFO.
    const FLAGS: usize = 0x18;
    const TRANSMIT_FULL: u32 = 1 << 5;
    if character == b'\n' {
        uart_send(b'\r');
    }
    // SAFETY: registers of the normal world's UART; the MMU is off.
    unsafe {
        while ((board::UART + FLAGS) as *const u32).read_volatile() & TRANSMIT_FULL != 0 {}
        (board::UART as *mut u32).write_volatile(u32::from(character));
    }
}

/// Collects characters for calls that take several.
struct Writer {
    console: Console,
    waiting: ArrayVec<u8, 128>,
}

impl Writer {
    fn flush(&mut self) {
        if !self.waiting.is_empty() {
            self.console.send(&self.waiting);
            self.waiting.clear();
        }
    }
}

impl Write for Writer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.bytes() {
            if self.waiting.len() == self.console.capacity() {
                self.flush();
            }
            self.waiting.push(character);
        }
        Ok(())
    }
}

/// Prints; see [`print!`](crate::print).
pub fn write(arguments: fmt::Arguments<'_>) {
    let console = Console::ALL[CONSOLE.load(Ordering::Relaxed)];
    let mut writer = Writer {
        console,
        waiting: ArrayVec::new(),
    };
    // Only the formatted values' own implementations can fail, and then the rest is missing.
    let _ = writer.write_fmt(arguments);
    writer.flush();
}

/// Prints without a line end.
#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => {
        $crate::console::write(format_args!($($argument)*))
    };
}

/// Prints a line.
#[macro_export]
macro_rules! println {
    ($($argument:tt)*) => {
        $crate::console::write(format_args!("{}\n", format_args!($($argument)*)))
    };
}
