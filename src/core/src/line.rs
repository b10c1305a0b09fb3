// SPDX-License-Identifier: MIT OR Apache-2.0
//! A line of text that a partition is printing.

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
    pub(crate) fn push(&mut self, character: u8) {
        let shown = match character {
            b' '..=b'~' | b'\t' => character,
            _ => b'.',
        };
        if let Some(slot) = self.bytes.get_mut(self.length) {
            *slot = shown;
            self.length = self.length.saturating_add(1);
        }
    }

    /// Whether it has no character.
    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether it takes no further character.
    pub(crate) fn is_full(&self) -> bool {
        self.length >= LINE
    }

    /// The line so far; a new one begins.
    pub(crate) fn take(&mut self) -> &str {
        let length = core::mem::take(&mut self.length);
        self.bytes
            .get(..length)
            .and_then(|bytes| core::str::from_utf8(bytes).ok())
            .unwrap_or("")
    }
}
