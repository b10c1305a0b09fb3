// SPDX-License-Identifier: MIT OR Apache-2.0
//! FF-A versions and their negotiation.

use core::fmt;

/// An FF-A version as FFA_VERSION and the manifests carry it: major in bits 30:16, minor in 15:0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Major version: incompatible changes.
    pub major: u16,
    /// Minor version: compatible additions.
    pub minor: u16,
}

impl Version {
    /// FF-A 1.0.
    pub const V1_0: Self = Self { major: 1, minor: 0 };
    /// FF-A 1.1.
    pub const V1_1: Self = Self { major: 1, minor: 1 };
    /// FF-A 1.2.
    pub const V1_2: Self = Self { major: 1, minor: 2 };
    /// FF-A 1.3.
    pub const V1_3: Self = Self { major: 1, minor: 3 };
    /// The version that Bulkhead implements.
    pub const OURS: Self = Self::V1_3;

    /// Decodes a version word; `None` when bit 31 is set (V1).
    pub fn from_word(word: u32) -> Option<Self> {
        if word & 0x8000_0000 != 0 {
            return None;
        }
        let [b3, b2, b1, b0] = word.to_be_bytes();
        Some(Self {
            major: u16::from_be_bytes([b3, b2]),
            minor: u16::from_be_bytes([b1, b0]),
        })
    }

    /// The version as a register or manifest word.
    pub fn to_word(self) -> u32 {
        (u32::from(self.major) << 16) | u32::from(self.minor)
    }
}

/// What FFA_VERSION makes of a requested version, before the state of the caller is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Negotiation {
    /// Bit 31 set, or another major version: NOT_SUPPORTED in w0, nothing stored (V1, V2).
    Refused,
    /// A higher minor version than ours: answer with ours, nothing stored (V3).
    Answered,
    /// Answer with ours; the caller speaks this version from now on (V4).
    Adopted(Version),
}

impl Negotiation {
    /// The rules of DECISIONS 18 for the word in w1. Whether the caller may still change its
    /// version (V5, V6) is the core's to say.
    pub fn of(word: u32) -> Self {
        match Version::from_word(word) {
            Some(asked) if asked.major != Version::OURS.major => Self::Refused,
            Some(asked) if asked.minor > Version::OURS.minor => Self::Answered,
            Some(asked) => Self::Adopted(asked),
            None => Self::Refused,
        }
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v1_bit_31_is_refused() {
        assert_eq!(Version::from_word(0x8001_0001), None);
        assert_eq!(Negotiation::of(0x8001_0001), Negotiation::Refused);
        assert_eq!(Negotiation::of(0xffff_ffff), Negotiation::Refused);
    }

    #[test]
    fn v2_another_major_version_is_refused() {
        for word in [0x0000_0000, 0x0000_ffff, 0x0002_0000, 0x7fff_0001] {
            assert_eq!(Negotiation::of(word), Negotiation::Refused, "{word:#x}");
        }
    }

    #[test]
    fn v3_a_higher_minor_is_answered_and_not_stored() {
        assert_eq!(Negotiation::of(0x0001_0004), Negotiation::Answered);
        assert_eq!(Negotiation::of(0x0001_ffff), Negotiation::Answered);
    }

    #[test]
    fn v4_a_lower_or_equal_minor_is_adopted() {
        for version in [Version::V1_0, Version::V1_1, Version::V1_2, Version::V1_3] {
            assert_eq!(
                Negotiation::of(version.to_word()),
                Negotiation::Adopted(version)
            );
        }
    }
}
