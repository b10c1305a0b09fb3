// SPDX-License-Identifier: MIT OR Apache-2.0
//! Discovery: which partitions there are and what they serve.

use bulkhead_abi::id::World;
use bulkhead_abi::partition_info::{self, PartitionInfo, RegsReply, RegsRequest, Wanted};
use bulkhead_abi::registers::Extended;
use bulkhead_abi::{FfaError, Function, Uuid, Version, Width};

use crate::event::Action;
use crate::hardware::Hardware;
use crate::partition::{Health, Partition, Service};
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
    /// the field is zero (D6). The logical partitions of the SPMD follow, of which it tells the normal world
    /// itself.
    const fn descriptors(&self, uuid: Uuid, version: Version, world: World) -> Descriptors<'_, H> {
        let all = matches!(uuid, Uuid::NIL);
        Descriptors {
            spmc: self,
            uuid,
            all,
            whole: all && matches!(version, Version::V1_0),
            world,
            partition: 0,
            service: 0,
            logical: 0,
        }
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

/// What [`Spmc::descriptors`] lists, and how far it is.
struct Descriptors<'a, H: Hardware + 'static> {
    spmc: &'a Spmc<H>,
    uuid: Uuid,
    /// Whatever they serve.
    all: bool,
    /// Each partition once.
    whole: bool,
    world: World,
    partition: usize,
    service: usize,
    logical: usize,
}

impl<'a, H: Hardware> Descriptors<'a, H> {
    /// The next service of the partitions.
    #[inline(never)]
    fn next_service(&mut self) -> Option<(&'a Partition<H>, &'a Service)> {
        loop {
            let partition = self.spmc.partitions.get(self.partition)?;
            let gone = self.service == 0 && partition.health() == Health::Aborted;
            let service = partition.config.services.get(self.service);
            let Some(service) = service.filter(|_| !gone) else {
                self.next_partition();
                continue;
            };
            self.service = self.service.saturating_add(1);
            if !self.all && service.uuid != self.uuid {
                continue;
            }
            if self.whole {
                self.next_partition();
            }
            return Some((partition, service));
        }
    }

    fn describe(&self, partition: &Partition<H>, service: &Service) -> PartitionInfo {
        let config = &partition.config;
        PartitionInfo {
            id: config.id,
            contexts: u16::try_from(partition.vcpus.len()).unwrap_or(u16::MAX),
            properties: if self.whole {
                config.properties
            } else {
                config.properties_of(service)
            },
            uuid: self.shown(service.uuid),
            image_uuid: config.image_uuid,
            version: partition.version(),
        }
    }

    const fn shown(&self, uuid: Uuid) -> Uuid {
        if self.all { uuid } else { Uuid::NIL }
    }

    const fn next_partition(&mut self) {
        self.partition = self.partition.saturating_add(1);
        self.service = 0;
    }

    /// The descriptor of the next logical partition.
    fn next_logical(&mut self) -> Option<PartitionInfo> {
        while self.world == World::Secure {
            let info = self.spmc.logical.get(self.logical)?;
            self.logical = self.logical.saturating_add(1);
            if self.all || info.uuid == self.uuid {
                let uuid = self.shown(info.uuid);
                return Some(PartitionInfo { uuid, ..info });
            }
        }
        None
    }
}

impl<H: Hardware> Iterator for Descriptors<'_, H> {
    type Item = PartitionInfo;

    #[inline(never)]
    fn next(&mut self) -> Option<PartitionInfo> {
        match self.next_service() {
            Some((partition, service)) => Some(self.describe(partition, service)),
            None => self.next_logical(),
        }
    }

    /// Their number, of which no descriptor has to be made.
    fn count(mut self) -> usize {
        let mut count = 0_usize;
        while self.next_service().is_some() || self.next_logical().is_some() {
            count = count.saturating_add(1);
        }
        count
    }
}

fn caller_world<H: Hardware>(core: &CoreState<H>) -> World {
    match core.current {
        Some(_) => World::Secure,
        None => World::Normal,
    }
}
