// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bulkhead's own lines.

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::console;

struct Logger;

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let message = record.args();
        match record.level() {
            Level::Error => console::print(format_args!("bulkhead: error: {message}")),
            Level::Warn => console::print(format_args!("bulkhead: warning: {message}")),
            Level::Info => console::print(format_args!("bulkhead: {message}")),
            Level::Debug | Level::Trace => console::print(format_args!("bulkhead: .. {message}")),
        }
    }

    fn flush(&self) {}
}

/// Has the `log` macros print on the console, up to `level`.
pub fn start(level: LevelFilter) {
    // Fails only when called twice; the first logger stays, which is the same one.
    let _ = log::set_logger(&Logger);
    log::set_max_level(level);
}
