// SPDX-License-Identifier: MIT OR Apache-2.0
//! The version that an endpoint speaks, while it is negotiated and after.

use bulkhead_abi::version::Negotiation;
use bulkhead_abi::{FfaError, Version};

use crate::sync::atomic::{AtomicU32, Ordering};

/// The version of an endpoint: negotiable until its first other call (A-01, DECISIONS 18).
pub struct NegotiatedVersion(AtomicU32);

/// Bit 31 is never part of a version; here it says that the version is settled.
const SETTLED: u32 = 0x8000_0000;

impl NegotiatedVersion {
    /// `initial` holds until the endpoint asks for another.
    pub fn new(initial: Version) -> Self {
        Self(AtomicU32::new(initial.to_word()))
    }

    /// The version at this moment.
    pub fn get(&self) -> Version {
        Version::from_word(self.0.load(Ordering::Relaxed) & !SETTLED).unwrap_or(Version::V1_0)
    }

    /// Ends the negotiation: the endpoint made another call. Returns the version, which holds from now
    /// on.
    #[inline]
    pub fn settle(&self) -> Version {
        let mut word = self.0.load(Ordering::Relaxed);
        if word & SETTLED == 0 {
            word = self.0.fetch_or(SETTLED, Ordering::Relaxed);
        }
        Version::from_word(word & !SETTLED).unwrap_or(Version::V1_0)
    }

    /// Answers FFA_VERSION with `wanted`, and stores it where it counts.
    ///
    /// # Errors
    /// NOT_SUPPORTED for bit 31 (V1), another major version, or another version once settled (V5).
    pub fn negotiate(&self, wanted: u32) -> Result<Version, FfaError> {
        let negotiation = Negotiation::of(wanted);
        if negotiation == Negotiation::Refused {
            return Err(FfaError::NotSupported);
        }
        let mut current = self.0.load(Ordering::Relaxed);
        loop {
            if current & SETTLED != 0 {
                return if current & !SETTLED == wanted {
                    Ok(Version::OURS)
                } else {
                    Err(FfaError::NotSupported)
                };
            }
            let Negotiation::Adopted(version) = negotiation else {
                return Ok(Version::OURS);
            };
            match self.0.compare_exchange_weak(
                current,
                version.to_word(),
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(Version::OURS),
                Err(now) => current = now,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> NegotiatedVersion {
        NegotiatedVersion::new(Version::V1_1)
    }

    #[test]
    fn v1_bit_31_is_refused_and_changes_nothing() {
        let version = fresh();
        assert_eq!(version.negotiate(0x8001_0000), Err(FfaError::NotSupported));
        assert_eq!(version.get(), Version::V1_1);
    }

    #[test]
    fn v2_another_major_version_is_refused() {
        for word in [0, 0x0000_0001, 0x0002_0000, 0x7fff_ffff] {
            let version = fresh();
            assert_eq!(version.negotiate(word), Err(FfaError::NotSupported));
            assert_eq!(version.get(), Version::V1_1);
        }
    }

    #[test]
    fn v3_a_higher_minor_version_gets_ours_and_is_not_stored() {
        let version = fresh();
        assert_eq!(version.negotiate(0x0001_0004), Ok(Version::OURS));
        assert_eq!(version.get(), Version::V1_1);
    }

    #[test]
    fn v4_a_lower_minor_version_is_stored() {
        let version = fresh();
        assert_eq!(version.negotiate(0x0001_0000), Ok(Version::OURS));
        assert_eq!(version.get(), Version::V1_0);
    }

    #[test]
    fn v5_v6_once_settled_only_the_same_version_is_accepted() {
        let version = fresh();
        version.settle();
        assert_eq!(version.negotiate(0x0001_0002), Err(FfaError::NotSupported));
        assert_eq!(version.negotiate(0x0001_0004), Err(FfaError::NotSupported));
        assert_eq!(version.negotiate(0x0001_0001), Ok(Version::OURS));
        assert_eq!(version.get(), Version::V1_1);
    }
}
