// SPDX-License-Identifier: MIT OR Apache-2.0
//! A partition against the SPMC manifest, the platform's reserved ranges, and the partitions before it.
//!
//! Pure functions: the caller keeps the accepted partitions and decides what a refusal means (the
//! partition is left out, the others boot: B-57).

mod regions;
mod warning;

use bulkhead_abi::{EndpointId, Uuid};

use crate::claims::first_clash;
use crate::error::{Document, ManifestError, NodePath, Rule};
use crate::ipa;
use crate::package::{BOOT_INFO_SIZE, Package};
use crate::policy::{AbortAction, ExecutionState};
use crate::range::{Range, covered};
use crate::sp::{self, SpManifest};
use crate::spmc::{self, MemoryKind, SpmcManifest, VmNode};
use regions::{Check, Others};

pub use warning::{Warning, Warnings};

const SECURE_BIT: u32 = 0x8000;
const INSTRUCTION_SIZE: u64 = 4;
const PAGE: u64 = 0x1000;

/// A range that no partition gets, and who has it (DECISIONS 13): EL3, Bulkhead, the GIC, a UART.
pub type Reserved = (&'static str, Range);

/// Where a partition runs and as what: the answers that manifests leave to the SPMC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartitionLayout {
    /// Its id.
    pub id: EndpointId,
    /// Its own memory: image, data and free space from the load address, in whole pages.
    pub memory: Range,
    /// Where it sees its own memory: an intermediate physical address.
    pub ipa: u64,
    /// The intermediate physical address of its first instruction.
    pub entry: u64,
    /// The number of its execution contexts.
    pub vcpu_count: u32,
    /// Where a copy of the memory as loaded is kept, if the partition may be restarted (P19).
    pub image_copy: Option<Range>,
    /// What the manifests say that is not done.
    pub warnings: Warnings,
}

impl PartitionLayout {
    /// Where the partition sees `range` of its memory regions, of which `stated` is the region's own word.
    pub const fn sees(&self, range: Range, stated: Option<u64>) -> u64 {
        match stated {
            Some(ipa) => ipa,
            None if self.memory.contains(&range) => range
                .base
                .wrapping_sub(self.memory.base)
                .wrapping_add(self.ipa),
            None => range.base,
        }
    }
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
    if sp.request_queue != 0 && vcpu_count != 1 {
        return Err(
            in_root(sp::REQUEST_QUEUE, Rule::RequestQueue).value(u64::from(sp.request_queue))
        );
    }
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
    let ipa = own_ipa(sp, memory)?;
    let entry = entry_point(sp, memory, ipa)?;
    let image_copy = image_copy(spmc, vm, sp, memory, &others)?;
    Check {
        spmc,
        sp,
        memory,
        ipa,
        image_copy,
        others,
    }
    .run()?;
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
        ipa,
        entry,
        vcpu_count,
        image_copy,
        warnings: Warnings([
            id_warning,
            load_warning,
            size_warning,
            vcpu_warning,
            shared_uuid(sp, earlier),
        ]),
    })
}

/// Checks a partition's package against its layout: the entry point lies in the image (P14), which fits the
/// memory, and there is room for the boot information that the partition asks for (P20).
///
/// # Errors
/// `BadLayout`, `BootInfoTooSmall`.
pub fn check_package<'a>(
    package: &Package,
    sp: &SpManifest<'a>,
    layout: &PartitionLayout,
) -> Result<(), ManifestError<'a>> {
    let image_fits = package.image.end() <= layout.memory.size;
    if !image_fits || !package.image.contains_address(sp.entrypoint_offset) {
        return Err(in_root(sp::ENTRYPOINT, Rule::BadLayout).value(sp.entrypoint_offset));
    }
    match sp.gp_register_num {
        Some(register) if package.boot_info_space() < BOOT_INFO_SIZE => {
            Err(in_root(sp::GP_REGISTER_PACKAGE, Rule::BootInfoTooSmall).value(u64::from(register)))
        }
        _ => Ok(()),
    }
}

/// What `abort-action` needs of the SPMC manifest (P19): to end the whole system takes its consent, and to
/// restart takes a copy of the partition's memory as loaded.
fn image_copy<'a, I: Iterator<Item = Accepted<'a>> + Clone>(
    spmc: &SpmcManifest<'a>,
    vm: &VmNode<'a>,
    sp: &SpManifest<'a>,
    memory: Range,
    others: &Others<'_, I>,
) -> Result<Option<Range>, ManifestError<'a>> {
    let refused = |action: u64| Err(in_root(sp::ABORT_ACTION, Rule::LifecyclePolicy).value(action));
    let base = match (sp.abort_action, vm.image_copy) {
        (Some(AbortAction::Propagate), _) if !vm.critical => return refused(3),
        (Some(AbortAction::Restart), None) => return refused(2),
        (_, None) => return Ok(None),
        (_, Some(base)) => base,
    };
    let error = |rule| in_vm(vm, spmc::IMAGE_COPY, rule).value(base);
    if !base.is_multiple_of(PAGE) {
        return Err(error(Rule::RegionUnaligned));
    }
    let copy = Range::new(base, memory.size).ok_or_else(|| error(Rule::Overflow))?;
    if !covered(&copy, spmc.memory(MemoryKind::Secure)) {
        return Err(error(Rule::OutsideAllowedMemory));
    }
    if copy.overlaps(&memory) {
        return Err(error(Rule::RegionOverlap).other("the partition's own memory"));
    }
    match others.taken(&copy) {
        Some(other) => Err(error(Rule::RegionOverlap).other(other)),
        None => Ok(Some(copy)),
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

/// Where the partition sees its own memory.
fn own_ipa<'a>(sp: &SpManifest<'a>, memory: Range) -> Result<u64, ManifestError<'a>> {
    let Some(base) = sp.ipa_base else {
        return Ok(memory.base);
    };
    match Range::new(base, memory.size) {
        Some(_) => Ok(base),
        None => Err(in_root(ipa::BASE, Rule::Overflow).value(base)),
    }
}

/// The first instruction lies within the memory and is one (P14).
fn entry_point<'a>(sp: &SpManifest<'a>, memory: Range, ipa: u64) -> Result<u64, ManifestError<'a>> {
    Some(sp.entrypoint_offset)
        .filter(|&offset| offset < memory.size && offset.is_multiple_of(INSTRUCTION_SIZE))
        .and_then(|offset| ipa.checked_add(offset))
        .ok_or_else(|| in_root(sp::ENTRYPOINT, Rule::BadLayout).value(sp.entrypoint_offset))
}

fn shared_uuid<'a>(
    sp: &SpManifest<'a>,
    earlier: impl Iterator<Item = Accepted<'a>> + Clone,
) -> Option<Warning> {
    let theirs = |each: &mut dyn FnMut((EndpointId, Uuid))| {
        for other in earlier.clone() {
            let id = other.layout.id;
            other.manifest.uuids().for_each(|uuid| each((id, uuid)));
        }
    };
    let clash = first_clash(sp.uuids(), theirs, |ours, (_, theirs)| ours == theirs);
    clash.map(|(uuid, (with, _))| Warning::SharedUuid { uuid, with })
}

/// `size` bytes of partition memory, rounded up to pages.
pub(crate) fn memory_range(base: u64, size: u64) -> Option<Range> {
    Range::new(base, size.checked_next_multiple_of(PAGE)?)
}

/// An error about a property in the root of the partition's manifest.
const fn in_root<'a>(field: crate::dt::Field, rule: Rule) -> ManifestError<'a> {
    ManifestError::new(Document::Partition, NodePath::ROOT, rule, field.fix).property(field.name)
}

/// An error about a property of the partition's node in the SPMC manifest.
const fn in_vm<'a>(vm: &VmNode<'a>, field: crate::dt::Field, rule: Rule) -> ManifestError<'a> {
    ManifestError::new(Document::Spmc, vm.node, rule, field.fix).property(field.name)
}
