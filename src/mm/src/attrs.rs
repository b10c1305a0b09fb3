// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a mapping allows.

/// A physical or intermediate physical address space.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Space {
    /// Secure.
    Secure,
    /// Non-secure.
    NonSecure,
}
