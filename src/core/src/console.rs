// SPDX-License-Identifier: MIT OR Apache-2.0
//! FFA_CONSOLE_LOG: what partitions print.

use bulkhead_abi::{FfaError, Width, console};

use crate::event::Action;
use crate::hardware::Hardware;
use crate::spmc::{CoreState, Spmc};

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
                    if !line.is_empty() {
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
