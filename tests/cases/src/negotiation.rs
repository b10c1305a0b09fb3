// SPDX-License-Identifier: MIT OR Apache-2.0
//! Each payload's first calls: FFA_VERSION with what must not be accepted, then its own version.

use bulkhead_abi::{Function, Version, Width};
use bulkhead_payload::Request;

/// w0 of the answers to the first calls of a payload, in order.
#[derive(Clone, Copy, Debug)]
pub struct Negotiation {
    /// To a version with bit 31 set.
    pub bit_31: u64,
    /// To the next major version.
    pub next_major: u64,
    /// To the major version before 1.
    pub previous_major: u64,
    /// To a minor version that does not exist yet.
    pub next_minor: u64,
    /// To the version that the payload uses.
    pub wanted: u64,
}

/// A minor version above any that there is.
pub const NEXT_MINOR: Version = Version {
    major: 1,
    minor: 0x7fff,
};

/// FFA_VERSION.
pub fn version_request(word: u32) -> Request {
    Request::ffa(Function::Version, Width::W32).with([u64::from(word)])
}

impl Negotiation {
    /// Negotiates `wanted`; `ask` makes a call and returns x0.
    pub fn run(wanted: Version, mut ask: impl FnMut(Request) -> u64) -> Self {
        let mut version = |word| ask(version_request(word));
        Self {
            bit_31: version(0x8000_0000 | wanted.to_word()),
            next_major: version(Version { major: 2, minor: 0 }.to_word()),
            previous_major: version(Version { major: 0, minor: 9 }.to_word()),
            next_minor: version(NEXT_MINOR.to_word()),
            wanted: version(wanted.to_word()),
        }
    }

    /// The version that the SPMC implements, if it accepted the payload's.
    pub fn offered(&self) -> Option<Version> {
        Version::from_word(self.wanted as u32)
    }
}
