// SPDX-License-Identifier: MIT OR Apache-2.0
//! The partitions in boot order, as the core wants them.

use bulkhead_abi::paravirt::Line;
use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::{EndpointId, Uuid};
use bulkhead_arch::context::{Context, Epoch, PointerKeys, Translation};
use bulkhead_arch::entropy::{Entropy, Source};
use bulkhead_arch::features::Features;
use bulkhead_core::device::gic::{Layout, VirtualGic};
use bulkhead_core::few;
use bulkhead_core::notify::bitmaps::Received;
use bulkhead_core::partition::{Level, Service};
use bulkhead_core::vcpu::{NonSecureInterrupts, Vcpu};
use bulkhead_core::virtual_interrupt::VirtualInterrupt;
use bulkhead_core::{Partition, PartitionConfig, Region, RegionKind};
use bulkhead_manifest::{
    AbortAction, Accepted, ExceptionLevel, MemoryKind, NsInterruptsAction, OtherSInterruptsAction,
    Range, Reserved, SpManifest, SpmcManifest, VirtualInterruptController,
};
use bulkhead_mm::addr::{PAGE_SIZE, Pa, PageRange};
use bulkhead_mm::attrs::{Permissions, Space};
use bulkhead_spmc::arena::{Arena, ArenaFull};
use bulkhead_spmc::interrupts::Interrupts;
use bulkhead_spmc::machine::Machine;
use bulkhead_spmc::memory::{Memory, account};
use bulkhead_spmc::space::{self, AddressSpace, NewSpace};

use crate::load::{Loaded, Loader, Refused};

/// What was loaded.
pub struct Partitions {
    /// In boot order.
    pub partitions: &'static [Partition<Machine>],
    /// Their addresses, in the same order.
    pub spaces: &'static [AddressSpace],
    /// The name of the partition that has the console's registers to itself.
    pub console_owner: Option<&'static str>,
}

/// A partition, and its stage 2 until that is finished.
type Slot = Option<(Loaded, Option<NewSpace>)>;

/// Loads every partition that the manifest announces; those that are refused are named and left out.
/// `console` is where the console's registers are. The interrupts of their devices are configured.
///
/// # Errors
/// [`ArenaFull`] when there is no memory even for those that were loaded.
pub fn load(
    memory: &Memory,
    manifest: &SpmcManifest<'static>,
    reserved: &'static [Reserved],
    console: u64,
    features: &Features,
    interrupts: &mut Interrupts,
    arena: &mut Arena,
) -> Result<Partitions, ArenaFull> {
    let slots = arena.slice(manifest.partition_count() as usize, |_, _| {
        Ok::<_, ArenaFull>(None)
    })?;
    if let Some(layout) = space::layout(highest_address(manifest), features) {
        let loader = Loader {
            memory,
            manifest,
            reserved,
            layout,
            features,
        };
        load_all(&loader, slots, arena);
    } else {
        log::error!("the manifest's memory is beyond what every core can address");
    }
    // Boot order first, then the order of the manifest; those without an order come last (B-11).
    let order = |slot: &Slot| {
        slot.as_ref().map_or((u32::MAX, u32::MAX), |(loaded, _)| {
            let order = loaded.accepted.manifest.boot_order;
            let order = order.map_or(u32::from(u16::MAX), u32::from);
            (order, loaded.vm.index)
        })
    };
    few::sort(slots, |one, other| order(one) < order(other));
    let count = slots.iter().flatten().count();
    let mut vmids = (0..=u16::MAX).filter_map(|index| vmid(index, features.vmid16));
    let mut new_spaces = slots
        .iter_mut()
        .flatten()
        .filter_map(|(_, space)| space.take());
    let spaces = arena.slice(count, |_, index| {
        let space = new_spaces.next().zip(vmids.next()).zip(account(index));
        space
            .map(|((space, vmid), account)| space.finish(vmid, index as u16 + 1, account, features))
            .ok_or(ArenaFull)
    })?;
    let loaded = || slots.iter().flatten().map(|(loaded, _)| loaded);
    let mut entropy = Entropy::new();
    if features.pointer_authentication && entropy.source() == Source::Counter {
        log::info!(
            "neither RNDR nor a TRNG: keys of pointer authentication are made of the counter"
        );
    }
    let devices = || loaded().flat_map(|loaded| loaded.accepted.manifest.device_regions());
    interrupts.make_room(
        devices().map(|device| device.interrupt_ids().count()).sum(),
        arena,
    )?;
    let mut ready = loaded().zip(spaces.iter());
    let partitions = arena.slice(count, |arena, _| {
        let (loaded, space) = ready.next().ok_or(ArenaFull)?;
        make(
            loaded,
            space.translation(),
            &entropy.keys(),
            interrupts,
            arena,
        )
    })?;
    let console_owner = loaded().find_map(|loaded| owns(&loaded.accepted, console));
    Ok(Partitions {
        partitions,
        spaces,
        console_owner,
    })
}

/// The partition's name if it has the device at `address` to itself.
fn owns(accepted: &Accepted<'static>, address: u64) -> Option<&'static str> {
    let mut regions = accepted.manifest.device_regions();
    let claims = regions.any(|region| region.exclusive && region.range().contains_address(address));
    claims.then_some(accepted.name)
}

/// The VMID of the partition at `index`: no other one's and not zero; `None` when there are no more.
///
/// Of 16 bits the upper eight are counted first, so that a mistake in the width shows with two partitions,
/// not with 257.
const fn vmid(index: u16, wide: bool) -> Option<u16> {
    match index.checked_add(1) {
        Some(number) if wide => Some(number.swap_bytes()),
        Some(number) if number <= 0xff => Some(number),
        _ => None,
    }
}

// Those of 255 partitions differ in bits 15:8 alone; all are different, and none is zero, since swapping
// bytes loses nothing. VMIDs of 8 bits end before they would come again.
const _: () = {
    let mut index = 0;
    while index < 255 {
        assert!(matches!(vmid(index, true), Some(vmid) if vmid == (index + 1) << 8));
        assert!(matches!(vmid(index, false), Some(vmid) if vmid == index + 1));
        index += 1;
    }
    assert!(matches!(vmid(255, true), Some(1)));
    assert!(vmid(255, false).is_none());
    assert!(matches!(vmid(u16::MAX - 1, true), Some(u16::MAX)));
    assert!(vmid(u16::MAX, true).is_none());
};

fn load_all(loader: &Loader<'_>, slots: &mut [Slot], arena: &mut Arena) {
    for (position, vm) in loader.manifest.partitions().enumerate() {
        let (earlier, rest) = slots.split_at_mut(position);
        let accepted = earlier.iter().flatten().map(|(loaded, _)| loaded.accepted);
        let index = u16::try_from(position).ok();
        let result = if index.is_some_and(|index| vmid(index, loader.features.vmid16).is_some()) {
            loader.load(vm, accepted, arena)
        } else {
            Err(Refused::NotSupported("more partitions than VMIDs"))
        };
        match result {
            Ok((loaded, space)) => {
                announce(&loaded.accepted);
                rest[0] = Some((loaded, Some(space)));
            }
            Err(refused) => log::error!("{} ({}) is refused: {refused}", vm.debug_name, vm.id),
        }
    }
}

fn announce(accepted: &Accepted<'static>) {
    let Accepted {
        name,
        layout,
        manifest,
    } = accepted;
    log::info!(
        "{name} ({}): FF-A {}, {} vCPU, {}",
        layout.id,
        manifest.ffa_version,
        layout.vcpu_count,
        layout.memory,
    );
    if let Some(action @ (AbortAction::Destroy | AbortAction::Restart | AbortAction::Propagate)) =
        manifest.abort_action
    {
        log::warn!("{name}: abort-action {action:?} is not done yet: a fatal error stops it");
    }
}

/// Makes the partition and its execution contexts.
fn make(
    loaded: &Loaded,
    translation: Translation,
    keys: &PointerKeys,
    interrupts: &mut Interrupts,
    arena: &mut Arena,
) -> Result<Partition<Machine>, ArenaFull> {
    let Loaded {
        vm,
        accepted,
        boot_information,
    } = *loaded;
    let Accepted {
        name,
        layout,
        manifest,
    } = accepted;
    let services = arena.slice(manifest.services().count(), |_, index| {
        let service = manifest.services().nth(index).ok_or(ArenaFull)?;
        Ok(Service {
            uuid: service.uuid,
            messaging: Properties(service.messaging.bits()),
        })
    })?;
    let interrupts = interrupts.claim(name, manifest.device_regions());
    let epoch = if manifest.virtual_counter_from_boot {
        Some(&*arena.value(Epoch::default())?)
    } else {
        None
    };
    let gic = match &manifest.interrupt_controller {
        Some(controller) => Some(gic(
            controller,
            interrupts,
            layout.vcpu_count as usize,
            arena,
        )?),
        None => None,
    };
    let vcpus = arena.slice(layout.vcpu_count as usize, |arena, index| {
        let context = Context::new(index as u16, translation, keys.clone(), epoch);
        let context = arena.value(context)?;
        if let Some(gic) = gic {
            return Ok(Vcpu::with_gic(context, gic, index));
        }
        let own = arena.collect(interrupts.iter().copied().map(VirtualInterrupt::new))?;
        Ok::<_, ArenaFull>(Vcpu::new(context, own))
    })?;
    let config = PartitionConfig {
        id: EndpointId(layout.id.0),
        name,
        services,
        image_uuid: manifest.live_activation.image_uuid.unwrap_or(Uuid::NIL),
        level: match manifest.exception_level {
            ExceptionLevel::SEl0 => Level::SEl0,
            ExceptionLevel::SEl1 => Level::SEl1,
        },
        version: manifest.ffa_version,
        properties: properties(&manifest),
        non_secure_interrupts: match manifest.ns_interrupts_action {
            NsInterruptsAction::Queued => NonSecureInterrupts::Queued,
            NsInterruptsAction::ManagedExit => NonSecureInterrupts::ManagedExit,
            NsInterruptsAction::Signaled => NonSecureInterrupts::Signaled,
        },
        managed_exit_line: match manifest.managed_exit_virq {
            true => Line::Irq,
            false => Line::Fiq,
        },
        entry: layout.entry,
        boot_information,
        image: (layout.ipa, layout.memory.size),
        retrieved_memory: manifest
            .retrieved_memory
            .map(|range| range.base..range.end()),
        regions: regions(&accepted, arena)?,
        smc_allow_list: arena.collect(vm.smc_whitelist())?,
        smc_permissive: vm.smc_whitelist_permissive,
        interrupts,
        virtual_serror: manifest.virtual_serror,
        interrupt_share: manifest.interrupt_share,
        other_secure_interrupts_queued: manifest.other_s_interrupts_action
            == OtherSInterruptsAction::Queued,
        sri_while_waiting: manifest.sri_policy.while_waiting,
        sri_on_entering_wait: manifest.sri_policy.on_entering_wait,
        run_timeout_ms: manifest.run_timeout_ms,
    };
    let received = if manifest.notification_support {
        vcpus.len()
    } else {
        0
    };
    let received = arena.slice(received, |_, _| Ok::<_, ArenaFull>(Received::default()))?;
    let places = arena.slice(usize::from(manifest.request_queue), |_, _| {
        Ok::<_, ArenaFull>(None)
    })?;
    Ok(Partition::new(config, vcpus, received)
        .with_queue(places)
        .with_gic(gic))
}

/// The interrupt controller of a partition with `vcpus` execution contexts and the interrupts of `devices`.
fn gic(
    controller: &VirtualInterruptController,
    devices: &[u32],
    vcpus: usize,
    arena: &mut Arena,
) -> Result<&'static VirtualGic, ArenaFull> {
    let layout = Layout {
        distributor: controller.distributor.base,
        cpu_interface: controller.cpu_interface.base,
        timer: controller.timer,
        managed_exit: controller.managed_exit,
        notification_pending: controller.notification_pending,
        firmware_initialised: controller.firmware_initialised,
    };
    let cpus = arena.slice(vcpus, |_, _| {
        Ok::<_, ArenaFull>(VirtualGic::cpu(&layout, devices))
    })?;
    let banks = arena.collect(VirtualGic::banks(devices))?;
    let links = arena.collect(VirtualGic::links(devices, vcpus))?;
    Ok(arena.value(VirtualGic::new(layout, cpus, banks, links))?)
}

/// What the partition has, by name.
fn regions(
    accepted: &Accepted<'static>,
    arena: &mut Arena,
) -> Result<&'static [Region], ArenaFull> {
    let own = accepted.layout.memory;
    let manifest = accepted.manifest;
    let region = |kind, name, range: Range, ipa, space, permissions| {
        let bytes = range.size.next_multiple_of(PAGE_SIZE);
        // What was accepted is page-aligned and not empty.
        PageRange::new(Pa(range.base), bytes).map(|range| Region {
            kind,
            name,
            space,
            range,
            ipa,
            permissions,
        })
    };
    let all = match manifest.exception_level {
        ExceptionLevel::SEl0 => Permissions::READ_EXECUTE,
        ExceptionLevel::SEl1 => Permissions::READ_WRITE_EXECUTE,
    };
    let itself = region(
        RegionKind::Own,
        accepted.name,
        own,
        accepted.layout.ipa,
        Space::Secure,
        all,
    );
    let memory = || {
        manifest.memory_regions().filter_map(move |memory| {
            let (space, permissions) = (
                space::space(memory.attributes),
                space::permissions(memory.attributes),
            );
            let range = memory.range(own.base)?;
            region(
                RegionKind::Memory,
                memory.node.name,
                range,
                accepted.layout.sees(range, memory.ipa),
                space,
                permissions,
            )
        })
    };
    let devices = || {
        manifest.device_regions().filter_map(move |device| {
            let (space, permissions) = (
                space::space(device.attributes),
                space::permissions(device.attributes),
            );
            region(
                RegionKind::Device,
                device.node.name,
                device.range(),
                device.ipa.unwrap_or(device.base),
                space,
                permissions,
            )
        })
    };
    // Each of them has an address, or the partition was refused.
    let mut next = itself.into_iter().chain(memory()).chain(devices());
    let count = 1 + manifest.memory_regions().count() + manifest.device_regions().count();
    let regions = arena.slice(count, |_, _| next.next().ok_or(ArenaFull))?;
    Ok(regions)
}

/// What the manifest says of messages and notifications, in the bits of partition information.
fn properties(manifest: &SpManifest<'_>) -> Properties {
    let mut properties = Properties(manifest.messaging_method.bits()).union(Properties::AARCH64);
    for (said, bit) in [
        (manifest.notification_support, Properties::NOTIFICATIONS),
        (
            manifest.vm_availability_messages.created,
            Properties::VM_CREATED,
        ),
        (
            manifest.vm_availability_messages.destroyed,
            Properties::VM_DESTROYED,
        ),
    ] {
        if said {
            properties = properties.union(bit);
        }
    }
    properties
}

/// The byte after the last one that the manifest gives to anybody.
fn highest_address(manifest: &SpmcManifest<'static>) -> u64 {
    let kinds = MemoryKind::ALL.into_iter();
    kinds
        .flat_map(|kind| manifest.memory(kind))
        .map(|range: Range| range.end())
        .fold(0, u64::max)
}
