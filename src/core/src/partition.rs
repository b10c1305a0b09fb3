// SPDX-License-Identifier: MIT OR Apache-2.0
//! A partition: what its manifest says, and its state.

use bulkhead_abi::paravirt;
use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::{EndpointId, FfaError, Uuid, Version};

use crate::device::gic::VirtualGic;
use crate::hardware::Hardware;
use crate::line::Line;
use crate::mailbox::Mailbox;
use crate::notify::bitmaps::{Notifications, Received, Scopes};
use crate::queue::{Place, Queue};
use crate::region::Region;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::vcpu::{NonSecureInterrupts, Vcpu};
use crate::version::NegotiatedVersion;

/// What is known of a partition when it is loaded.
#[derive(Clone, Debug)]
pub struct PartitionConfig {
    /// Its endpoint id, unique.
    pub id: EndpointId,
    /// Its name in logs.
    pub name: &'static str,
    /// What it serves, at least one service, each with another UUID.
    pub services: &'static [Service],
    /// The UUID of its image; nil without one.
    pub image_uuid: Uuid,
    /// Where it runs (B-08).
    pub level: Level,
    /// The FF-A version of its manifest, until it negotiates another.
    pub version: Version,
    /// What it may send and receive: what one of its services may.
    pub properties: Properties,
    /// What a non-secure interrupt does to it.
    pub non_secure_interrupts: NonSecureInterrupts,
    /// Where it is told to leave the core, if it asks for a managed exit (B-13).
    pub managed_exit_line: paravirt::Line,
    /// The secure IPA of its first instruction.
    pub entry: u64,
    /// The register (x0 to x3) and address of its boot information.
    pub boot_information: Option<(u8, u64)>,
    /// Its secure memory by IPA, first byte and length in bytes: where entry points may lie.
    pub image: (u64, u64),
    /// The intermediate physical addresses for what it retrieves; `None` for the memory's own addresses.
    pub retrieved_memory: Option<core::ops::Range<u64>>,
    /// What it has by its manifest, its own memory included.
    pub regions: &'static [Region],
    /// SMCs that it may make to EL3, by function id.
    pub smc_allow_list: &'static [u32],
    /// Whether every SMC that is not FF-A or PSCI goes to EL3.
    pub smc_permissive: bool,
    /// The interrupts of its devices.
    pub interrupts: &'static [u32],
    /// How much of a core's time a context may spend in RTM_SEC_INTERRUPT, in percent.
    pub interrupt_share: u8,
    /// Whether an SError while it runs becomes a virtual one (F-10); otherwise it ends the partition.
    pub virtual_serror: bool,
    /// Other partitions' secure interrupts wait while it runs (`other-s-interrupts-action`, B-14).
    pub other_secure_interrupts_queued: bool,
    /// The schedule receiver interrupt is raised when one of its interrupts comes while it waits
    /// (`sri-interrupts-policy` bit 0, B-15).
    pub sri_while_waiting: bool,
    /// The schedule receiver interrupt is raised when it enters the waiting state with an interrupt pending
    /// (`sri-interrupts-policy` bit 1, B-15).
    pub sri_on_entering_wait: bool,
    /// How long it may keep non-secure interrupts waiting, in milliseconds; `None`: the SPMC's bound.
    pub run_timeout_ms: Option<u32>,
}

/// The exception level of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// S-EL1, below two stage-2 address spaces.
    SEl1,
    /// S-EL0 of S-EL2's own regime (D-03): one stage 1, whose virtual addresses stand for IPAs, and no virtual
    /// interrupts. Whatever it may not do ends it: there is no S-EL1 to take an exception.
    SEl0,
}

/// A service of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Service {
    /// Its protocol UUID, not nil.
    pub uuid: Uuid,
    /// How it is reached and what it sends: bits of [`Properties::MESSAGING`].
    pub messaging: Properties,
}

impl PartitionConfig {
    /// What a descriptor of `service` shows: its own messaging, and what the partition as a whole has.
    pub fn properties_of(&self, service: &Service) -> Properties {
        let messaging = service.messaging.intersection(Properties::MESSAGING);
        self.properties
            .without(Properties::MESSAGING)
            .union(messaging)
    }

    /// Whether a service receives FFA_MSG_SEND_DIRECT_REQ2; without one (the nil UUID), whether
    /// any does.
    ///
    /// # Errors
    /// INVALID_PARAMETERS for a UUID that the partition does not serve (G7).
    #[inline(never)]
    pub(crate) fn receives_request2(&self, service: Uuid) -> Result<bool, FfaError> {
        if service.is_nil() {
            return Ok(self.properties.contains(Properties::DIRECT_REQ2_RECEIVE));
        }
        let found = self.services.iter().find(|known| known.uuid == service);
        let found = found.ok_or(FfaError::InvalidParameters)?;
        Ok(found.messaging.contains(Properties::DIRECT_REQ2_RECEIVE))
    }
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
    pub(crate) notifications: Mutex<Notifications>,
    pub(crate) line: Mutex<Line>,
    /// The entry of execution contexts other than the first; zero until registered.
    secondary_entry: AtomicU64,
    live: AtomicBool,
    aborted: AtomicBool,
    pub(crate) warned_smc: AtomicBool,
    pub(crate) queue: Option<Queue<H>>,
    pub(crate) gic: Option<&'static VirtualGic>,
}

impl<H: Hardware> Partition<H> {
    /// A partition that has not run. More than one execution context makes it a multi-core
    /// partition, with one context for each core. `received` has an element for each context, if the
    /// partition receives notifications.
    pub fn new(
        config: PartitionConfig,
        vcpus: &'static [Vcpu<H>],
        received: &'static mut [Received],
    ) -> Self {
        let mut notifications = Notifications::new(received);
        if config.properties.contains(Properties::NOTIFICATIONS) {
            let scopes = if vcpus.len() > 1 {
                Scopes::Both
            } else {
                Scopes::Global
            };
            // It has room for them; without, the partition receives none.
            let _ = notifications.receive(vcpus.len(), scopes);
        }
        Self {
            version: NegotiatedVersion::new(config.version),
            config,
            vcpus,
            mailbox: Mutex::new(Mailbox::Unmapped),
            notifications: Mutex::new(notifications),
            line: Mutex::new(Line::new()),
            secondary_entry: AtomicU64::new(0),
            live: AtomicBool::new(false),
            aborted: AtomicBool::new(false),
            warned_smc: AtomicBool::new(false),
            queue: None,
            gic: None,
        }
    }

    /// Gives it an interrupt controller, the one that its execution contexts have ([`Vcpu::with_gic`]).
    #[must_use]
    pub fn with_gic(mut self, gic: Option<&'static VirtualGic>) -> Self {
        self.gic = gic;
        self
    }

    /// The INTID by which it gets an event of FF-A.
    pub(crate) fn virtual_number(&self, intid: u32) -> u32 {
        self.gic.map_or(intid, |gic| gic.layout.number(intid))
    }

    /// Lets as many requests wait for it as `places` has elements. No effect on a multi-core partition.
    #[must_use]
    pub fn with_queue(mut self, places: &'static mut [Option<Place>]) -> Self {
        if !self.is_multi_core() && !places.is_empty() {
            self.queue = Some(Queue::new(places));
        }
        self
    }

    /// How many requests wait for it.
    pub fn queued(&self) -> usize {
        self.queue.as_ref().map_or(0, Queue::length)
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
