// SPDX-License-Identifier: MIT OR Apache-2.0
//! A partition: what its manifest says, and its state.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::version::Negotiation;
use bulkhead_abi::{EndpointId, FfaError, Uuid, Version};

use crate::console::Line;
use crate::hardware::Hardware;
use crate::mailbox::Mailbox;
use crate::sync::Mutex;
use crate::vcpu::{NonSecureInterrupts, Vcpu};

/// What is known of a partition when it is loaded.
#[derive(Clone, Debug)]
pub struct PartitionConfig {
    /// Its endpoint id, unique.
    pub id: EndpointId,
    /// Its name in logs.
    pub name: &'static str,
    /// The protocol UUIDs that it serves, at least one.
    pub uuids: &'static [Uuid],
    /// The FF-A version of its manifest, until it negotiates another.
    pub version: Version,
    /// What it may send and receive.
    pub properties: Properties,
    /// What a non-secure interrupt does to it.
    pub non_secure_interrupts: NonSecureInterrupts,
    /// The secure IPA of its first instruction.
    pub entry: u64,
    /// The register (x0 to x3) and address of its boot information.
    pub boot_information: Option<(u8, u64)>,
    /// Its secure memory by IPA, first byte and length in bytes: where entry points may lie.
    pub image: (u64, u64),
    /// SMCs that it may make to EL3, by function id.
    pub smc_allow_list: &'static [u32],
    /// Whether every SMC that is not FF-A or PSCI goes to EL3.
    pub smc_permissive: bool,
    /// The interrupts of its devices.
    pub interrupts: &'static [u32],
}

/// Whether a partition still takes part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    /// It has not finished its initialisation.
    Starting,
    /// It is there.
    Live,
    /// A fault ended it.
    Aborted,
}

/// A partition.
pub struct Partition<H: Hardware + 'static> {
    /// What its manifest says.
    pub config: PartitionConfig,
    pub(crate) vcpus: &'static [Vcpu<H>],
    pub(crate) version: NegotiatedVersion,
    pub(crate) mailbox: Mutex<Mailbox>,
    pub(crate) line: Mutex<Line>,
    /// The entry of execution contexts other than the first; zero until registered.
    secondary_entry: AtomicU64,
    live: AtomicBool,
    aborted: AtomicBool,
    pub(crate) warned_smc: AtomicBool,
}

impl<H: Hardware> Partition<H> {
    /// A partition that has not run. More than one execution context makes it a multi-core
    /// partition, with one context for each core.
    pub fn new(config: PartitionConfig, vcpus: &'static [Vcpu<H>]) -> Self {
        Self {
            version: NegotiatedVersion::new(config.version),
            config,
            vcpus,
            mailbox: Mutex::new(Mailbox::Unmapped),
            line: Mutex::new(Line::new()),
            secondary_entry: AtomicU64::new(0),
            live: AtomicBool::new(false),
            aborted: AtomicBool::new(false),
            warned_smc: AtomicBool::new(false),
        }
    }

    /// Its execution contexts.
    pub fn vcpus(&self) -> &'static [Vcpu<H>] {
        self.vcpus
    }

    /// Whether each core has an execution context of its own here.
    pub fn is_multi_core(&self) -> bool {
        self.vcpus.len() > 1
    }

    /// The execution context that serves `core`: pinned, or the only one.
    pub fn vcpu_for_core(&self, core: usize) -> usize {
        if self.is_multi_core() { core } else { 0 }
    }

    /// Whether it still takes part.
    pub fn health(&self) -> Health {
        if self.aborted.load(Ordering::Acquire) {
            Health::Aborted
        } else if self.live.load(Ordering::Acquire) {
            Health::Live
        } else {
            Health::Starting
        }
    }

    /// The version that the partition speaks.
    pub fn version(&self) -> Version {
        self.version.get()
    }

    pub(crate) fn set_live(&self) {
        self.live.store(true, Ordering::Release);
    }

    /// Marks the partition as ended; whether this call was the one that did.
    pub(crate) fn set_aborted(&self) -> bool {
        !self.aborted.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn secondary_entry(&self) -> Option<u64> {
        match self.secondary_entry.load(Ordering::Acquire) {
            0 => None,
            entry => Some(entry),
        }
    }

    pub(crate) fn set_secondary_entry(&self, entry: u64) {
        self.secondary_entry.store(entry, Ordering::Release);
    }

    /// Whether `entry` may be an entry point: inside of its memory and aligned to an instruction.
    pub(crate) fn may_enter_at(&self, entry: u64) -> bool {
        let (base, length) = self.config.image;
        entry.is_multiple_of(4)
            && entry
                .checked_sub(base)
                .is_some_and(|offset| offset < length)
    }
}

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

    /// Ends the negotiation: the endpoint made another call.
    pub fn settle(&self) {
        if self.0.load(Ordering::Relaxed) & SETTLED == 0 {
            self.0.fetch_or(SETTLED, Ordering::Relaxed);
        }
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
