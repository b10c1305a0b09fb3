// SPDX-License-Identifier: MIT OR Apache-2.0
//! FFA_CONSOLE_LOG: what partitions print.

use bulkhead_abi::{FfaError, Width, console};

use crate::event::Action;
use crate::hardware::Hardware;
use crate::spmc::{CoreState, Spmc};

/// The longest line that is printed in one piece.
const LINE: usize = 120;

/// The line that a partition is printing, kept until it is complete so that lines of several
/// partitions do not mix.
#[derive(Debug)]
pub struct Line {
    bytes: [u8; LINE],
    length: usize,
}

impl Line {
    pub(crate) const fn new() -> Self {
        Self {
            bytes: [0; LINE],
            length: 0,
        }
    }

    /// Adds a character. What cannot be printed, and could forge a line of another partition,
    /// becomes a dot (D14).
    fn push(&mut self, character: u8) {
        let shown = match character {
            b' '..=b'~' | b'\t' => character,
            _ => b'.',
        };
        if let Some(slot) = self.bytes.get_mut(self.length) {
            *slot = shown;
            self.length = self.length.saturating_add(1);
        }
    }

    fn is_full(&self) -> bool {
        self.length >= LINE
    }

    fn take(&mut self) -> &str {
        let length = core::mem::take(&mut self.length);
        self.bytes
            .get(..length)
            .and_then(|bytes| core::str::from_utf8(bytes).ok())
            .unwrap_or("")
    }
}

impl<H: Hardware> Spmc<H> {
    /// FFA_CONSOLE_LOG: a newline or NUL ends a line.
    pub(crate) fn console_log(
        &self,
        core: &mut CoreState<H>,
        width: Width,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        let version = self.caller_version(core);
        let partition = self.running_partition(core).ok_or(FfaError::NotSupported)?;
        let vcpu = core
            .current
            .as_ref()
            .map_or(0, |current| current.vcpu.vcpu());
        let characters = console::characters(core.caller(), width, version)?;
        let name = partition.config.name;
        let mut line = partition.line.lock();
        for character in characters.as_bytes() {
            match character {
                b'\r' => continue,
                b'\n' | 0 => {
                    if line.length > 0 {
                        hw.print(format_args!("[{name} {vcpu}] {}", line.take()));
                    }
                }
                other => {
                    line.push(*other);
                    if line.is_full() {
                        hw.print(format_args!("[{name} {vcpu}] {}", line.take()));
                    }
                }
            }
        }
        drop(line);
        Ok(self.succeed(core, [0; 6]))
    }
}
