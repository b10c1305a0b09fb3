// SPDX-License-Identifier: MIT OR Apache-2.0
//! Text without an allocator.

use core::fmt;

use arrayvec::ArrayString;

/// The longest [`Text`], in bytes.
pub const TEXT_SIZE: usize = 240;

/// A short text; what does not fit is cut off.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Text(ArrayString<TEXT_SIZE>);

impl Text {
    /// Formats a text.
    pub fn new(arguments: fmt::Arguments<'_>) -> Self {
        let mut text = Self::default();
        // The only error is a full buffer, and then the text is cut off.
        let _ = fmt::write(&mut text, arguments);
        text
    }

    /// The text from its bytes, up to the first that is not printable ASCII.
    pub fn from_ascii(bytes: impl IntoIterator<Item = u8>) -> Self {
        let mut text = Self::default();
        for byte in bytes {
            if !(b' '..=b'~').contains(&byte) || text.0.try_push(char::from(byte)).is_err() {
                break;
            }
        }
        text
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            self.0.try_push(character).map_err(|_| fmt::Error)?;
        }
        Ok(())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
