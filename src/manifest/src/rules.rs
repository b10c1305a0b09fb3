// SPDX-License-Identifier: MIT OR Apache-2.0
//! A partition against the SPMC manifest, the platform's reserved ranges, and the partitions before it.
//!
//! Pure functions: the caller keeps the accepted partitions and decides what a refusal means (the
//! partition is left out, the others boot: B-57).

use core::fmt;

use bulkhead_abi::{EndpointId, Uuid};

use crate::error::{Document, ManifestError, NodePath, Rule};
use crate::package::Package;
use crate::policy::ExecutionState;
use crate::range::{Range, covered};
use crate::region::{self, DeviceRegion, MemoryRegion, Placement};
use crate::sp::{self, SpManifest};
use crate::spmc::{self, MemoryKind, SpmcManifest, VmNode, memory_range};

const SECURE_BIT: u32 = 0x8000;
const INSTRUCTION_SIZE: u64 = 4;
const OWN_MEMORY: &str = "the partition's own memory";
const MOVE_REGION: &str =
    "move one of them, or write load-address-relative-offset for a part of the partition's memory";

/// A range that no partition gets, and who has it (DECISIONS 13): EL3, Bulkhead, the GIC, a UART.
pub type Reserved = (&'static str, Range);

/// Where a partition runs and as what: the answers that manifests leave to the SPMC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartitionLayout {
    /// Its id.
    pub id: EndpointId,
    /// Its own memory: image, data and free space from the load address, in whole pages.
    pub memory: Range,
    /// The address of its first instruction.
    pub entry: u64,
    /// The number of its execution contexts.
    pub vcpu_count: u32,
    /// What the manifests say that is not done.
    pub warnings: Warnings,
}

/// A partition that was accepted earlier.
#[derive(Clone, Copy, Debug)]
pub struct Accepted<'a> {
    /// Its name for messages.
    pub name: &'a str,
    /// What [`check_partition`] returned.
    pub layout: PartitionLayout,
    /// Its manifest.
    pub manifest: SpManifest<'a>,
}

impl<'a> Accepted<'a> {
    /// Every range that the partition has.
    fn ranges(&self) -> impl Iterator<Item = Range> {
        let base = self.layout.memory.base;
        let memory = self
            .manifest
            .memory_regions()
            .filter_map(move |region| region.range(base));
        let devices = self.manifest.device_regions().map(|region| region.range());
        core::iter::once(self.layout.memory)
            .chain(memory)
            .chain(devices)
    }
}

/// Something that manifests in the field say and that is not done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Warning {
    /// `id` without bit 15, as OP-TEE's (DECISIONS 11).
    IdIgnored {
        /// As written.
        written: u32,
        /// What the partition gets.
        used: EndpointId,
    },
    /// The partition manifest's `load-address` differs from the SPMC manifest's (B-09).
    LoadAddressIgnored {
        /// As written.
        written: u64,
        /// Where the package is.
        used: u64,
    },
    /// The partition manifest's `mem-size` differs from the SPMC manifest's `mem_size`.
    MemSizeIgnored {
        /// As written.
        written: u64,
        /// What the partition gets.
        used: u64,
    },
    /// Another partition has the same service: legal, but rarely meant.
    SharedUuid {
        /// The service.
        uuid: Uuid,
        /// The other partition.
        with: EndpointId,
    },
    /// `vcpu_count` of a multi-core partition is not the number of cores.
    VcpuCount {
        /// As written.
        vcpus: u32,
        /// The cores of the machine.
        cores: u32,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IdIgnored { written, used } => write!(
                f,
                "id = {written:#x} is not a secure id and is ignored: the partition is {used}"
            ),
            Self::LoadAddressIgnored { written, used } => write!(
                f,
                "load-address = {written:#x} is ignored: the package is at {used:#x}"
            ),
            Self::MemSizeIgnored { written, used } => write!(
                f,
                "mem-size = {written:#x} is ignored: mem_size of the SPMC manifest is {used:#x}"
            ),
            Self::SharedUuid { uuid, with } => {
                write!(f, "service {uuid} is also one of partition {with}")
            }
            Self::VcpuCount { vcpus, cores } => write!(
                f,
                "vcpu_count = {vcpus} differs from the number of cores, {cores}"
            ),
        }
    }
}

/// The warnings about one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Warnings([Option<Warning>; 5]);

impl Warnings {
    /// One by one.
    pub fn iter(&self) -> impl Iterator<Item = Warning> {
        self.0.into_iter().flatten()
    }
}

/// Checks a partition against everything outside its own manifest and works out its layout.
///
/// `earlier` are the partitions accepted so far. The order of partitions is the caller's; the first one
/// keeps what two claim.
///
/// # Errors
/// The first rule that is broken: of id (P11), boot order (P12), execution contexts (P13), memory and
/// entry point (P7, P8, P14), regions (P6 to P8), interrupts and streams (P11).
pub fn check_partition<'a>(
    spmc: &SpmcManifest<'a>,
    vm: &VmNode<'a>,
    sp: &SpManifest<'a>,
    reserved: &[Reserved],
    earlier: impl Iterator<Item = Accepted<'a>> + Clone,
) -> Result<PartitionLayout, ManifestError<'a>> {
    if sp.execution_state != ExecutionState::AArch64 {
        return Err(in_root(sp::EXECUTION_STATE, Rule::NotCompatible));
    }
    let (id, id_warning) = effective_id(spmc, vm, sp, earlier.clone())?;
    check_boot_order(sp, earlier.clone())?;
    let (vcpu_count, vcpu_warning) = vcpus(spmc, vm, sp)?;
    let (memory, size_warning) = memory(spmc, vm, sp)?;
    let others = Others {
        reserved,
        earlier: earlier.clone(),
    };
    if let Some(other) = others.taken(&memory) {
        return Err(in_vm(vm, spmc::LOAD_ADDRESS, Rule::RegionOverlap)
            .value(memory.base)
            .other(other));
    }
    let entry = entry_point(sp, memory)?;
    let check = Check {
        spmc,
        sp,
        memory,
        others,
    };
    for (index, region) in sp.memory_regions().enumerate() {
        check.memory_region(&region, index)?;
    }
    for region in sp.device_regions() {
        check.device_region(&region)?;
    }
    let load_warning = sp
        .load_address
        .filter(|&written| written != vm.load_address)
        .map(|written| Warning::LoadAddressIgnored {
            written,
            used: vm.load_address,
        });
    Ok(PartitionLayout {
        id,
        memory,
        entry,
        vcpu_count,
        warnings: Warnings([
            id_warning,
            load_warning,
            size_warning,
            vcpu_warning,
            shared_uuid(sp, earlier),
        ]),
    })
}

/// Checks a partition's package against its layout: the entry point lies in the image (P14). That the
/// image fits the memory is [`Package::parse`]'s limit.
///
/// # Errors
/// `BadLayout`.
pub fn check_package<'a>(
    package: &Package,
    sp: &SpManifest<'a>,
    layout: &PartitionLayout,
) -> Result<(), ManifestError<'a>> {
    let image_fits = package.image.end() <= layout.memory.size;
    if image_fits && package.image.contains_address(sp.entrypoint_offset) {
        Ok(())
    } else {
        Err(in_root(sp::ENTRYPOINT, Rule::BadLayout).value(sp.entrypoint_offset))
    }
}

/// DECISIONS 11: a secure id is honoured, another one is not, and a clash is refused.
fn effective_id<'a>(
    spmc: &SpmcManifest<'a>,
    vm: &VmNode<'a>,
    sp: &SpManifest<'a>,
    mut earlier: impl Iterator<Item = Accepted<'a>>,
) -> Result<(EndpointId, Option<Warning>), ManifestError<'a>> {
    let (id, warning) = match sp.id {
        None => (vm.id, None),
        Some(written) if written & SECURE_BIT == 0 => {
            let used = vm.id;
            (used, Some(Warning::IdIgnored { written, used }))
        }
        Some(written) => match u16::try_from(written).map(EndpointId) {
            Ok(id) if id != EndpointId::SPMD && id != spmc.id => (id, None),
            _ => return Err(in_root(sp::ID, Rule::ReservedId).value(u64::from(written))),
        },
    };
    match earlier.find(|other| other.layout.id == id) {
        Some(other) => Err(in_root(sp::ID, Rule::DuplicateId)
            .value(u64::from(id.0))
            .other(other.name)),
        None => Ok((id, warning)),
    }
}

fn check_boot_order<'a>(
    sp: &SpManifest<'a>,
    mut earlier: impl Iterator<Item = Accepted<'a>>,
) -> Result<(), ManifestError<'a>> {
    let Some(order) = sp.boot_order else {
        return Ok(());
    };
    match earlier.find(|other| other.manifest.boot_order == Some(order)) {
        Some(other) => Err(in_root(sp::BOOT_ORDER, Rule::BootOrder)
            .value(u64::from(order))
            .other(other.name)),
        None => Ok(()),
    }
}

/// DECISIONS 12: one execution context stays one; more mean multi-core, with `vcpu_count` of them,
/// else one for each core; the image must be made for at least as many.
fn vcpus<'a>(
    spmc: &SpmcManifest<'a>,
    vm: &VmNode<'a>,
    sp: &SpManifest<'a>,
) -> Result<(u32, Option<Warning>), ManifestError<'a>> {
    if sp.execution_ctx_count == 1 {
        return Ok((1, None));
    }
    let cores = u32::try_from(spmc.cpus().count()).unwrap_or(u32::MAX);
    let vcpus = vm.vcpu_count.unwrap_or(cores);
    if sp.execution_ctx_count < vcpus {
        return Err(
            in_root(sp::CONTEXTS, Rule::ExecutionContexts).value(u64::from(sp.execution_ctx_count))
        );
    }
    let warning = (vcpus != cores).then_some(Warning::VcpuCount { vcpus, cores });
    Ok((vcpus, warning))
}

/// The partition's memory: `mem_size` of its vmN node, else `mem-size` of its manifest, from the load
/// address, within the SPMC's secure memory (P8).
fn memory<'a>(
    spmc: &SpmcManifest<'a>,
    vm: &VmNode<'a>,
    sp: &SpManifest<'a>,
) -> Result<(Range, Option<Warning>), ManifestError<'a>> {
    let (size, warning) = match (vm.mem_size, sp.mem_size) {
        (Some(used), Some(written)) if used != written => {
            (used, Some(Warning::MemSizeIgnored { written, used }))
        }
        (Some(size), _) | (None, Some(size)) => (size, None),
        (None, None) => return Err(in_vm(vm, spmc::MEM_SIZE, Rule::MissingProperty)),
    };
    if size == 0 {
        return Err(in_root(sp::MEM_SIZE, Rule::RegionEmpty).value(size));
    }
    let memory = memory_range(vm.load_address, size)
        .ok_or_else(|| in_root(sp::MEM_SIZE, Rule::Overflow).value(size))?;
    if !covered(&memory, spmc.memory(MemoryKind::Secure)) {
        return Err(
            in_vm(vm, spmc::LOAD_ADDRESS, Rule::OutsideAllowedMemory).value(vm.load_address)
        );
    }
    Ok((memory, warning))
}

/// The first instruction lies within the memory and is one (P14).
fn entry_point<'a>(sp: &SpManifest<'a>, memory: Range) -> Result<u64, ManifestError<'a>> {
    memory
        .base
        .checked_add(sp.entrypoint_offset)
        .filter(|&entry| memory.contains_address(entry) && entry.is_multiple_of(INSTRUCTION_SIZE))
        .ok_or_else(|| in_root(sp::ENTRYPOINT, Rule::BadLayout).value(sp.entrypoint_offset))
}

fn shared_uuid<'a>(
    sp: &SpManifest<'a>,
    mut earlier: impl Iterator<Item = Accepted<'a>>,
) -> Option<Warning> {
    earlier.find_map(|other| {
        let uuid = other
            .manifest
            .uuids()
            .find(|theirs| sp.uuids().any(|ours| ours == *theirs))?;
        Some(Warning::SharedUuid {
            uuid,
            with: other.layout.id,
        })
    })
}

/// Who has memory already.
struct Others<'r, I> {
    reserved: &'r [Reserved],
    earlier: I,
}

impl<'a, I: Iterator<Item = Accepted<'a>> + Clone> Others<'_, I> {
    /// The name of whoever has a part of `range`.
    fn taken(&self, range: &Range) -> Option<&'a str> {
        let reserved = self
            .reserved
            .iter()
            .find(|(_, reserved)| reserved.overlaps(range))
            .map(|&(name, _)| name);
        reserved.or_else(|| {
            self.earlier
                .clone()
                .find(|other| other.ranges().any(|theirs| theirs.overlaps(range)))
                .map(|other| other.name)
        })
    }
}

/// The checks of one partition's regions.
struct Check<'c, 'a, I> {
    spmc: &'c SpmcManifest<'a>,
    sp: &'c SpManifest<'a>,
    memory: Range,
    others: Others<'c, I>,
}

impl<'a, I: Iterator<Item = Accepted<'a>> + Clone> Check<'_, 'a, I> {
    fn memory_region(
        &self,
        region: &MemoryRegion<'a>,
        index: usize,
    ) -> Result<(), ManifestError<'a>> {
        let (written, property) = match region.base {
            Placement::Absolute(base) => (base, region::BASE_ADDRESS.name),
            Placement::LoadRelative(offset) => (offset, region::RELATIVE_OFFSET.name),
            Placement::Dynamic => return Ok(()),
        };
        let error = |rule, fix| {
            ManifestError::new(Document::Partition, region.node, rule, fix)
                .property(property)
                .value(written)
        };
        let range = region.range(self.memory.base).ok_or_else(|| {
            error(
                Rule::Overflow,
                "write an offset that stays within the address space",
            )
        })?;
        let overlap = |other| Err(error(Rule::RegionOverlap, MOVE_REGION).other(other));

        // A part of the partition's own memory may get its own permissions, if the manifest says so.
        let relative = matches!(region.base, Placement::LoadRelative(_));
        let own = relative && self.memory.contains(&range);
        if !own && self.memory.overlaps(&range) {
            return overlap(OWN_MEMORY);
        }
        let kind = if region.attributes.non_secure {
            MemoryKind::NonSecure
        } else {
            MemoryKind::Secure
        };
        if !self.within(&range, kind) {
            return Err(error(
                Rule::OutsideAllowedMemory,
                "write a region within the memory (or for attributes with 8, ns-memory) nodes of \
                 the SPMC manifest",
            ));
        }
        if !own && let Some(other) = self.others.taken(&range) {
            return overlap(other);
        }
        let overlaps = |other: Option<Range>| other.is_some_and(|other| other.overlaps(&range));
        let earlier = self
            .sp
            .memory_regions()
            .take(index)
            .find(|earlier| overlaps(earlier.range(self.memory.base)));
        if let Some(earlier) = earlier {
            return overlap(earlier.node.name);
        }
        let device = self
            .sp
            .device_regions()
            .find(|device| overlaps(Some(device.range())));
        match device {
            Some(device) => overlap(device.node.name),
            None => Ok(()),
        }
    }

    /// Whether a range is memory or devices of a kind (P8). Secure memory that a manifest lists as part
    /// of another kind, too, stays secure. A kind that the manifest leaves out, as those in the field
    /// do, is whatever it gives to no other kind.
    fn within(&self, range: &Range, kind: MemoryKind) -> bool {
        let listed_as = |other| self.spmc.memory(other).any(|memory| memory.overlaps(range));
        if kind == MemoryKind::Secure {
            return covered(range, self.spmc.memory(kind));
        }
        if self.spmc.memory(kind).next().is_none() {
            return !MemoryKind::ALL.into_iter().any(listed_as);
        }
        covered(range, self.spmc.memory(kind)) && !listed_as(MemoryKind::Secure)
    }

    fn device_region(&self, region: &DeviceRegion<'a>) -> Result<(), ManifestError<'a>> {
        let range = region.range();
        let error = |rule, fix| {
            ManifestError::new(Document::Partition, region.node, rule, fix)
                .property(region::BASE_ADDRESS.name)
                .value(region.base)
        };
        let kind = if region.attributes.non_secure {
            MemoryKind::NonSecureDevice
        } else {
            MemoryKind::SecureDevice
        };
        if !self.within(&range, kind) {
            return Err(error(
                Rule::OutsideAllowedMemory,
                "write a region within the device-memory (or for attributes with 8, \
                 ns-device-memory) nodes of the SPMC manifest",
            ));
        }
        if self.memory.overlaps(&range) {
            return Err(error(Rule::RegionOverlap, MOVE_REGION).other(OWN_MEMORY));
        }
        if let Some(other) = self.others.taken(&range) {
            return Err(error(
                Rule::RegionOverlap,
                "give the device to one partition, and none of the SPMC's own devices",
            )
            .other(other));
        }
        self.device_claims(region)
    }

    /// Interrupts and streams belong to one device of the system (P11).
    fn device_claims(&self, region: &DeviceRegion<'a>) -> Result<(), ManifestError<'a>> {
        for other in self.others.earlier.clone() {
            for theirs in other.manifest.device_regions() {
                let error = |field: crate::dt::Field, rule, value: u32| {
                    Err(
                        ManifestError::new(Document::Partition, region.node, rule, field.fix)
                            .property(field.name)
                            .value(u64::from(value))
                            .other(other.name),
                    )
                };
                if let Some(id) = region.interrupt_ids().find(|&id| theirs.has_interrupt(id)) {
                    return error(region::INTERRUPTS, Rule::DuplicateInterrupt, id);
                }
                let stream = region
                    .stream_ids()
                    .filter(|_| region.smmu_id == theirs.smmu_id)
                    .find(|ours| theirs.stream_ids().any(|taken| taken == *ours));
                if let Some(stream) = stream {
                    return error(region::STREAM_IDS, Rule::DuplicateStream, stream);
                }
            }
        }
        Ok(())
    }
}

/// An error about a property in the root of the partition's manifest.
const fn in_root<'a>(field: crate::dt::Field, rule: Rule) -> ManifestError<'a> {
    ManifestError::new(Document::Partition, NodePath::ROOT, rule, field.fix).property(field.name)
}

/// An error about a property of the partition's node in the SPMC manifest.
const fn in_vm<'a>(vm: &VmNode<'a>, field: crate::dt::Field, rule: Rule) -> ManifestError<'a> {
    ManifestError::new(Document::Spmc, vm.node, rule, field.fix).property(field.name)
}
