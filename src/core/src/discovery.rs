// SPDX-License-Identifier: MIT OR Apache-2.0
//! Discovery: which partitions there are and what they serve.

use bulkhead_abi::id::World;
use bulkhead_abi::partition_info::{self, PartitionInfo, RegsReply, RegsRequest, Wanted};
use bulkhead_abi::registers::Extended;
use bulkhead_abi::{FfaError, Function, Uuid, Version, Width};

use crate::event::Action;
use crate::hardware::Hardware;
use crate::partition::Health;
use crate::spmc::{CoreState, Spmc};

impl<H: Hardware> Spmc<H> {
    /// FFA_PARTITION_INFO_GET: a descriptor for each protocol UUID of each partition, in the
    /// layout of the caller's version, or their number.
    pub(crate) fn partition_info_get(
        &self,
        core: &mut CoreState<H>,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        let version = self.caller_version(core);
        let world = caller_world(core);
        let call = core.caller();
        let uuid = call.uuid_w1_w4();
        let wanted = Wanted::decode(call.w::<5>())?;
        let found = self.descriptors(uuid, version, world).count();
        if found == 0 && uuid != Uuid::NIL {
            return Err(FfaError::InvalidParameters);
        }
        if wanted == Wanted::Count {
            let found = u64::try_from(found).unwrap_or(u64::MAX);
            return Ok(self.succeed(core, [found, 0, 0, 0, 0, 0]));
        }
        let size = partition_info::descriptor_size(version);
        let (slot, mailbox) = self.mailbox(core);
        let mut mailbox = mailbox.lock();
        let space = mailbox.writable()?;
        let needed = found.checked_mul(size).ok_or(FfaError::NoMemory)?;
        if needed > space {
            return Err(FfaError::NoMemory);
        }
        // A partition that another core ends meanwhile is not in the list, nor in its length.
        let mut offset = 0usize;
        let mut written = 0u64;
        for info in self.descriptors(uuid, version, world).take(found) {
            let mut bytes = [0; partition_info::MAXIMUM_SIZE];
            let length = partition_info::encode(version, world, &info, &mut bytes)
                .ok_or(FfaError::NoMemory)?;
            let bytes = bytes.get(..length).ok_or(FfaError::NoMemory)?;
            hw.write_rx(slot, offset, bytes)
                .map_err(|_| FfaError::Aborted)?;
            offset = offset.saturating_add(length);
            written = written.saturating_add(1);
        }
        if written == 0 && uuid != Uuid::NIL {
            return Err(FfaError::InvalidParameters);
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
        Ok(self.succeed(core, [written, size, 0, 0, 0, 0]))
    }

    /// FFA_PARTITION_INFO_GET_REGS: as many of the descriptors from an index on as x3 to x17
    /// hold, at the stride of the caller's version.
    ///
    /// The tag tells one list of partitions from the next: a walk that goes on after a partition
    /// ended gets RETRY and starts again from index 0, where no tag is needed (D10).
    pub(crate) fn partition_info_get_regs(
        &self,
        core: &mut CoreState<H>,
    ) -> Result<Action, FfaError> {
        let version = self.caller_version(core);
        let world = caller_world(core);
        let call = core.caller();
        let uuid = call.uuid_x1_x2();
        let RegsRequest { start, tag } = RegsRequest::decode(call.x::<3>());
        let current_tag = self.list_tag();
        if tag != current_tag && (start, tag) != (0, 0) {
            return Err(FfaError::Retry);
        }
        let found = self.descriptors(uuid, version, world).count();
        let last = found.checked_sub(1).ok_or(FfaError::InvalidParameters)?;
        let last = u16::try_from(last).map_err(|_| FfaError::NoMemory)?;
        if start > last {
            return Err(FfaError::InvalidParameters);
        }

        let mut bytes = [0; partition_info::REGS_BYTES];
        let mut rest = bytes.as_mut_slice();
        let size = partition_info::descriptor_size(version);
        let mut written = 0u16;
        // One by one: `skip` makes the image larger by kilobytes.
        let infos = (0..).zip(self.descriptors(uuid, version, world));
        let infos = infos.filter_map(|(index, info)| (index >= start).then_some(info));
        for info in infos.take(partition_info::descriptors_per_call(version)) {
            partition_info::encode(version, world, &info, rest).ok_or(FfaError::NoMemory)?;
            rest = rest.get_mut(size..).unwrap_or_default();
            written = written.saturating_add(1);
        }
        // A partition that ended since they were counted is in the next list.
        let written = written.checked_sub(1).ok_or(FfaError::Retry)?;
        let reply = RegsReply {
            last,
            current: start.saturating_add(written),
            tag: current_tag,
            size: u16::try_from(size).map_err(|_| FfaError::NoMemory)?,
        };
        if self.list_tag() != current_tag {
            return Err(FfaError::Retry);
        }
        let results = [
            Function::Success.id(Width::W64),
            0,
            reply.encode(),
            0,
            0,
            0,
            0,
            0,
        ];
        let registers = core.caller();
        registers.reply(Extended::Clear, results);
        partition_info::write_registers(registers, &bytes);
        Ok(core.resume())
    }

    /// A descriptor for each service that matches `uuid` of each partition that takes part (D11), with
    /// the service's own messaging; for a caller at 1.0, whose descriptors name no service, one for
    /// each partition, with what any of its services does. With a filter the caller knows the UUID, and
    /// the field is zero (D6).
    fn descriptors(
        &self,
        uuid: Uuid,
        version: Version,
        world: World,
    ) -> impl Iterator<Item = PartitionInfo> {
        let all = uuid == Uuid::NIL;
        let whole = all && version == Version::V1_0;
        let per_partition = if whole { 1 } else { usize::MAX };
        self.partitions
            .iter()
            .filter(|partition| partition.health() != Health::Aborted)
            .flat_map(move |partition| {
                let config = &partition.config;
                let services = config.services.iter();
                services
                    .filter(move |service| all || service.uuid == uuid)
                    .take(per_partition)
                    .map(move |service| PartitionInfo {
                        id: config.id,
                        contexts: u16::try_from(partition.vcpus.len()).unwrap_or(u16::MAX),
                        properties: if whole {
                            config.properties
                        } else {
                            config.properties_of(service)
                        },
                        uuid: if all { service.uuid } else { Uuid::NIL },
                        image_uuid: config.image_uuid,
                        version: partition.version(),
                    })
            })
            .chain(self.logical_descriptors(uuid, world))
    }

    /// The logical partitions of the SPMD that match `uuid`. The SPMD tells the normal world itself.
    fn logical_descriptors(&self, uuid: Uuid, world: World) -> impl Iterator<Item = PartitionInfo> {
        let all = uuid == Uuid::NIL;
        let count = match world {
            World::Secure => self.logical.count(),
            World::Normal => 0,
        };
        (0..count)
            .filter_map(|index| self.logical.get(index))
            .filter(move |info| all || info.uuid == uuid)
            .map(move |info| PartitionInfo {
                uuid: if all { info.uuid } else { Uuid::NIL },
                ..info
            })
    }

    /// A number that changes whenever a partition leaves the list.
    fn list_tag(&self) -> u16 {
        let gone = self
            .partitions
            .iter()
            .filter(|partition| partition.health() == Health::Aborted);
        u16::try_from(gone.count()).unwrap_or(u16::MAX)
    }
}

fn caller_world<H: Hardware>(core: &CoreState<H>) -> World {
    match core.current {
        Some(_) => World::Secure,
        None => World::Normal,
    }
}
