// SPDX-License-Identifier: MIT OR Apache-2.0
//! Setup and discovery: versions, features, ids, buffers and partition information.

use bulkhead_abi::features::{self, BufferGranule, Query};
use bulkhead_abi::id::World;
use bulkhead_abi::partition_info::{self, PartitionInfo, Wanted};
use bulkhead_abi::{EndpointId, FfaError, Function, Uuid, Version, Width};
use bulkhead_mm::addr::{PAGE_SIZE, Pa, PageRange};
use bulkhead_mm::attrs::Space;

use crate::dispatch::{self, Instance};
use crate::event::Action;
use crate::hardware::{Hardware, MailboxBuffers};
use crate::mailbox::{MAX_PAGES, Mailbox, RxOwner};
use crate::partition::{Health, Partition};
use crate::runtime_model::RuntimeModel;
use crate::spmc::{CoreState, Spmc};
use crate::sync::Mutex;

/// The mailbox slot of the normal world; that of a partition is its index plus one.
const NORMAL_WORLD_SLOT: usize = 0;

impl<H: Hardware> Partition<H> {
    /// Takes the buffers of a partition that is over out of S-EL2's map.
    pub(crate) fn release_mailbox(&self, index: usize, hw: &mut H) {
        let mut mailbox = self.mailbox.lock();
        if matches!(*mailbox, Mailbox::Mapped { .. }) {
            hw.unmap_mailbox(index.saturating_add(1));
            *mailbox = Mailbox::Unmapped;
        }
    }
}

impl<H: Hardware> Spmc<H> {
    /// FFA_VERSION: the answer is a version or an error code in w0.
    pub(crate) fn ffa_version(&self, core: &mut CoreState<H>) -> Action {
        let wanted = core.caller().w::<1>();
        let negotiation = match self.running_partition(core) {
            Some(partition) => &partition.version,
            None => &self.normal_world.version,
        };
        let result = match negotiation.negotiate(wanted) {
            Ok(version) => u64::from(version.to_word()),
            Err(error) => error.to_register(),
        };
        let extended = self.extended_rule(core);
        core.caller().reply(extended, [result, 0, 0, 0, 0, 0, 0, 0]);
        core.resume()
    }

    /// FFA_FEATURES: any id that is not known to this caller is NOT_SUPPORTED (A-03, V11).
    pub(crate) fn features(&self, core: &mut CoreState<H>) -> Result<Action, FfaError> {
        let instance = match core.current {
            Some(_) => Instance::Partition,
            None => Instance::NormalWorld,
        };
        let version = self.caller_version(core);
        let call = core.caller();
        let (id, input) = (call.w::<1>(), call.w::<2>());
        // The feature ids belong to notifications and managed exit, which are not there.
        let Query::Function(function, _) = Query::decode(id) else {
            return Err(FfaError::NotSupported);
        };
        let answers = dispatch::find(function, instance, version).is_some()
            || matches!(
                function,
                Function::Success | Function::Error | Function::Interrupt
            );
        if !answers || (input != 0 && version >= Version::V1_1) {
            return Err(FfaError::NotSupported);
        }
        let properties = match function {
            Function::RxtxMap => {
                let maximum = if version >= Version::V1_2 {
                    MAX_PAGES
                } else {
                    0
                };
                features::rxtx_map_properties(BufferGranule::Size4K, maximum)
            }
            _ => 0,
        };
        Ok(self.succeed(core, [u64::from(properties), 0, 0, 0, 0, 0]))
    }

    /// FFA_ID_GET.
    pub(crate) fn id_get(&self, core: &mut CoreState<H>) -> Result<Action, FfaError> {
        let id = u64::from(self.caller_id(core).0);
        Ok(self.succeed(core, [id, 0, 0, 0, 0, 0]))
    }

    /// FFA_SPM_ID_GET: the SPMC serves both instances.
    pub(crate) fn spm_id_get(&self, core: &mut CoreState<H>) -> Result<Action, FfaError> {
        let id = u64::from(self.id.0);
        Ok(self.succeed(core, [id, 0, 0, 0, 0, 0]))
    }

    /// FFA_RXTX_MAP of the caller's own buffers.
    pub(crate) fn rxtx_map(
        &self,
        core: &mut CoreState<H>,
        width: Width,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        /// Bits 5:0 of w3.
        const PAGE_COUNT: u32 = 0x3f;
        let call = core.caller();
        let (tx, rx, count) = (call.arg::<1>(width), call.arg::<2>(width), call.w::<3>());
        if count == 0 || count & !PAGE_COUNT != 0 || count > u32::from(MAX_PAGES) {
            return Err(FfaError::InvalidParameters);
        }
        let (tx, rx) = (buffer(tx, count)?, buffer(rx, count)?);
        if tx.overlaps(&rx) {
            return Err(FfaError::InvalidParameters);
        }
        let (slot, mailbox) = self.mailbox(core);
        let mut mailbox = mailbox.lock();
        let over = |partition: &Partition<H>| partition.health() == Health::Aborted;
        if self.running_partition(core).is_some_and(over) {
            // Another core ended it since this call began, and has taken its buffers out already.
            return Err(FfaError::Aborted);
        }
        if *mailbox != Mailbox::Unmapped {
            return Err(FfaError::Denied);
        }
        let buffers = match slot.checked_sub(1) {
            None => {
                let owned = self.normal_world.owns(&tx) && self.normal_world.owns(&rx);
                owned.then_some(MailboxBuffers {
                    rx,
                    tx,
                    space: Space::NonSecure,
                })
            }
            Some(partition) => partition_buffers(hw, partition, tx, rx, count),
        };
        let buffers = buffers.ok_or(FfaError::InvalidParameters)?;
        hw.map_mailbox(slot, &buffers)
            .map_err(|_| FfaError::NoMemory)?;
        *mailbox = Mailbox::Mapped {
            buffers,
            rx: RxOwner::Producer,
        };
        drop(mailbox);
        Ok(self.succeed(core, [0; 6]))
    }

    /// FFA_RXTX_UNMAP of the caller's own buffers.
    pub(crate) fn rxtx_unmap(
        &self,
        core: &mut CoreState<H>,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        self.names_caller(core)?;
        let (slot, mailbox) = self.mailbox(core);
        let mut mailbox = mailbox.lock();
        if *mailbox == Mailbox::Unmapped {
            return Err(FfaError::InvalidParameters);
        }
        hw.unmap_mailbox(slot);
        *mailbox = Mailbox::Unmapped;
        drop(mailbox);
        Ok(self.succeed(core, [0; 6]))
    }

    /// FFA_RX_RELEASE.
    pub(crate) fn rx_release(&self, core: &mut CoreState<H>) -> Result<Action, FfaError> {
        if core.current.is_none() && core.caller().w::<1>() != 0 {
            // The buffer of a VM, which a hypervisor would have had to forward.
            return Err(FfaError::InvalidParameters);
        }
        self.mailbox(core).1.lock().release()?;
        Ok(self.succeed(core, [0; 6]))
    }

    /// FFA_PARTITION_INFO_GET: a descriptor for each protocol UUID of each partition, in the
    /// layout of the caller's version, or their number.
    pub(crate) fn partition_info_get(
        &self,
        core: &mut CoreState<H>,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        let version = self.caller_version(core);
        let world = match core.current {
            Some(_) => World::Secure,
            None => World::Normal,
        };
        let call = core.caller();
        let uuid = call.uuid_w1_w4();
        let wanted = Wanted::decode(call.w::<5>())?;
        let found = self.descriptors(uuid, version).count();
        if found == 0 && uuid != Uuid::NIL {
            return Err(FfaError::InvalidParameters);
        }
        let found_register = u64::try_from(found).unwrap_or(u64::MAX);
        if wanted == Wanted::Count {
            return Ok(self.succeed(core, [found_register, 0, 0, 0, 0, 0]));
        }
        let size = partition_info::descriptor_size(version);
        let (slot, mailbox) = self.mailbox(core);
        let mut mailbox = mailbox.lock();
        let space = mailbox.writable()?;
        let needed = found.checked_mul(size).ok_or(FfaError::NoMemory)?;
        if needed > space {
            return Err(FfaError::NoMemory);
        }
        let mut offset = 0usize;
        for (partition, service) in self.descriptors(uuid, version) {
            let info = PartitionInfo {
                id: partition.config.id,
                contexts: u16::try_from(partition.vcpus.len()).unwrap_or(u16::MAX),
                properties: partition.config.properties,
                // With a filter the caller knows it (D6).
                uuid: if uuid == Uuid::NIL {
                    service
                } else {
                    Uuid::NIL
                },
                image_uuid: Uuid::NIL,
                version: partition.version(),
            };
            let mut bytes = [0; partition_info::MAXIMUM_SIZE];
            let length = partition_info::encode(version, world, &info, &mut bytes)
                .ok_or(FfaError::NoMemory)?;
            let bytes = bytes.get(..length).ok_or(FfaError::NoMemory)?;
            hw.write_rx(slot, offset, bytes)
                .map_err(|_| FfaError::Aborted)?;
            offset = offset.saturating_add(length);
        }
        // Nothing of an earlier answer stays behind (D8).
        hw.clear_rx(slot, offset).map_err(|_| FfaError::Aborted)?;
        mailbox.give();
        drop(mailbox);
        let size = if version >= Version::V1_1 {
            u64::try_from(size).unwrap_or(0)
        } else {
            0
        };
        Ok(self.succeed(core, [found_register, size, 0, 0, 0, 0]))
    }

    /// The partitions that take part and the services that match `uuid`: one entry for each service,
    /// or, for a caller at 1.0, whose descriptors name no service, one for each partition.
    fn descriptors(
        &self,
        uuid: Uuid,
        version: Version,
    ) -> impl Iterator<Item = (&'static Partition<H>, Uuid)> {
        let per_partition = if version == Version::V1_0 {
            1
        } else {
            usize::MAX
        };
        self.partitions
            .iter()
            .filter(|partition| partition.health() != Health::Aborted)
            .flat_map(move |partition| {
                partition
                    .config
                    .uuids
                    .iter()
                    .filter(move |service| uuid == Uuid::NIL || **service == uuid)
                    .take(per_partition)
                    .map(move |service| (partition, *service))
            })
    }

    /// FFA_SECONDARY_EP_REGISTER from a multi-core partition that initialises (A-81, D13).
    pub(crate) fn secondary_ep_register(
        &self,
        core: &mut CoreState<H>,
    ) -> Result<Action, FfaError> {
        let partition = self.running_partition(core).ok_or(FfaError::Denied)?;
        let model = core
            .current
            .as_ref()
            .map(|current| current.activation.model);
        if !partition.is_multi_core() {
            return Err(FfaError::NotSupported);
        }
        if model != Some(RuntimeModel::Init) || partition.health() != Health::Starting {
            return Err(FfaError::Denied);
        }
        let entry = core.caller().x::<1>();
        if !partition.may_enter_at(entry) {
            return Err(FfaError::InvalidParameters);
        }
        partition.set_secondary_entry(entry);
        Ok(self.succeed(core, [0; 6]))
    }

    /// The mailbox of the caller, and its slot at S-EL2.
    fn mailbox(&self, core: &CoreState<H>) -> (usize, &Mutex<Mailbox>) {
        match &core.current {
            Some(current) => (
                current.vcpu.partition().saturating_add(1),
                &current.partition.mailbox,
            ),
            None => (NORMAL_WORLD_SLOT, &self.normal_world.mailbox),
        }
    }

    /// Whether bits 31:16 of w1 name the caller; a partition may leave them zero (M17, M18).
    fn names_caller(&self, core: &mut CoreState<H>) -> Result<(), FfaError> {
        let own = self.caller_id(core);
        let named = core.caller().sender();
        let low = core.caller().receiver();
        let matches = named == own || (core.current.is_some() && named == EndpointId(0));
        if matches && low == EndpointId(0) {
            Ok(())
        } else {
            Err(FfaError::InvalidParameters)
        }
    }
}

/// A buffer as a caller names it.
fn buffer(address: u64, pages: u32) -> Result<PageRange, FfaError> {
    let bytes = u64::from(pages)
        .checked_mul(PAGE_SIZE)
        .ok_or(FfaError::InvalidParameters)?;
    PageRange::new(Pa(address), bytes).ok_or(FfaError::InvalidParameters)
}

/// Where the buffers that a partition names by secure IPA lie.
fn partition_buffers<H: Hardware>(
    hw: &H,
    partition: usize,
    tx: PageRange,
    rx: PageRange,
    pages: u32,
) -> Option<MailboxBuffers> {
    let place = |range: PageRange| {
        let pa = hw.translate(partition, Space::Secure, range.base().0, pages)?;
        PageRange::new(pa, range.bytes())
    };
    Some(MailboxBuffers {
        rx: place(rx)?,
        tx: place(tx)?,
        space: Space::Secure,
    })
}
