// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--dump`: what was understood, as text.

use bulkhead_manifest::{
    Accepted, DeviceRegion, MemoryKind, MemoryRegion, Package, Placement, RegionAttributes,
    SpManifest, SpmcManifest,
};

use crate::source::{Contents, Source};

/// Prints what a file says.
pub fn print(source: &Source) {
    println!("{}: {}", source.name, source.contents.describe());
    match &source.contents {
        Contents::Spmc(manifest) => spmc(manifest),
        Contents::Partition(manifest) => partition(manifest),
        Contents::Package {
            package, manifest, ..
        } => {
            parts(package);
            partition(manifest);
        }
        Contents::LoadList(_) => {}
    }
}

/// Prints what the SPMC makes of a partition.
pub fn print_layout(placed: &Accepted<'_>) {
    let layout = &placed.layout;
    println!("{}: {}", placed.name, layout.id);
    println!("  memory {}, entry {:#x}", layout.memory, layout.entry);
    println!("  execution contexts {}", layout.vcpu_count);
    if let Some(copy) = layout.image_copy {
        println!("  copy of the image {copy}");
    }
}

fn spmc(manifest: &SpmcManifest<'_>) {
    println!("  id {}, FF-A {}", manifest.id, manifest.version);
    println!(
        "  load_address {:#x}, entrypoint {:#x}, binary_size {:#x}",
        manifest.load_address, manifest.entrypoint, manifest.binary_size
    );
    for (name, timeout) in [
        ("init", manifest.init_timeout_ms),
        ("run", manifest.run_timeout_ms),
    ] {
        if let Some(timeout) = timeout {
            println!("  {name} timeout {timeout} ms");
        }
    }
    if let Some(range) = manifest.page_memory {
        println!("  memory for tables and records {range}");
    }
    let cpus: Vec<_> = manifest.cpus().map(|mpidr| format!("{mpidr:#x}")).collect();
    println!("  cores {}", cpus.join(" "));
    for kind in MemoryKind::ALL {
        for range in manifest.memory(kind) {
            println!("  {} {range}", kind.device_type());
        }
    }
    if let Some(console) = manifest.console() {
        println!("  console {console}");
    }
    if let Some(controller) = manifest.interrupt_controller() {
        for range in controller.distributors() {
            println!("  distributor {range}");
        }
        for range in controller.redistributors() {
            println!("  redistributors {range}");
        }
    }
    for (index, smmu) in manifest.smmus().enumerate() {
        println!(
            "  SMMU {index} {}, stream ID bits {:?}",
            smmu.frames, smmu.stream_id_bits
        );
    }
    for vm in manifest.partitions() {
        println!(
            "  {}: {} {}, load_address {:#x}, mem_size {:x?}, vcpu_count {:?}",
            vm.node, vm.debug_name, vm.id, vm.load_address, vm.mem_size, vm.vcpu_count
        );
        let allowed: Vec<_> = vm.smc_whitelist().map(|id| format!("{id:#x}")).collect();
        if vm.smc_whitelist_permissive || !allowed.is_empty() {
            let more = if vm.smc_whitelist_permissive {
                " and all others"
            } else {
                ""
            };
            println!("    SMCs {}{more}", allowed.join(" "));
        }
        if vm.critical {
            println!("    critical");
        }
    }
}

fn parts(package: &Package) {
    println!(
        "  {:?}: manifest {}, image {}",
        package.format, package.manifest, package.image
    );
    if let Some(list) = package.hob_list {
        println!("  HOB list {list}");
    }
}

fn partition(manifest: &SpManifest<'_>) {
    println!(
        "  description {:?}, id {:x?}, auxiliary id {:x?}",
        manifest.description, manifest.id, manifest.auxiliary_id
    );
    println!(
        "  FF-A {}, {:?}, {:?}, execution contexts {}",
        manifest.ffa_version,
        manifest.exception_level,
        manifest.execution_state,
        manifest.execution_ctx_count
    );
    println!(
        "  load address {:x?}, entry point offset {:#x}, memory size {:x?}, granule {:#x}, boot order {:?}",
        manifest.load_address,
        manifest.entrypoint_offset,
        manifest.mem_size,
        manifest.xlat_granule.bytes(),
        manifest.boot_order
    );
    for service in manifest.services() {
        println!(
            "  service {}, messaging method {:#x}",
            service.uuid,
            service.messaging.bits()
        );
    }
    println!(
        "  non-secure interrupts {:?}{}, other secure interrupts {:?}",
        manifest.ns_interrupts_action,
        if manifest.managed_exit_virq {
            " by vIRQ"
        } else {
            ""
        },
        manifest.other_s_interrupts_action
    );
    println!("  {:?}", manifest.sri_policy);
    println!(
        "  notifications {}, power messages {:?}, {:?}",
        manifest.notification_support,
        manifest.power_management_messages,
        manifest.vm_availability_messages
    );
    println!(
        "  request queue {}, run timeout {:?} ms, interrupt share {} %, virtual counter from boot {}, virtual SError {}",
        manifest.request_queue,
        manifest.run_timeout_ms,
        manifest.interrupt_share,
        manifest.virtual_counter_from_boot,
        manifest.virtual_serror
    );
    if let Some(gic) = &manifest.interrupt_controller {
        println!("  {gic:x?}");
    }
    println!(
        "  lifecycle support {}, abort action {:?}, primary scheduler {}, uncut memory calls {}",
        manifest.lifecycle_support,
        manifest.abort_action,
        manifest.has_primary_scheduler,
        manifest.time_slice_mem
    );
    println!(
        "  boot information in x{:?}: {:?}",
        manifest.gp_register_num, manifest.boot_info
    );
    let live = &manifest.live_activation;
    println!(
        "  live activation {}, register {:?}, image {:?}, state buffer {:?}",
        live.support,
        live.register,
        live.image_uuid,
        live.state_buffer.map(|region| region.name)
    );
    if let Some(buffers) = manifest.rx_tx {
        println!(
            "  RX buffer {}, TX buffer {}",
            buffers.rx.name, buffers.tx.name
        );
    }
    manifest
        .memory_regions()
        .for_each(|region| memory_region(&region));
    manifest
        .device_regions()
        .for_each(|region| device_region(&region));
}

fn memory_region(region: &MemoryRegion<'_>) {
    let place = match region.base {
        Placement::Absolute(base) => format!("at {base:#x}"),
        Placement::LoadRelative(offset) => format!("at the load address + {offset:#x}"),
        Placement::Dynamic => "anywhere".to_owned(),
    };
    println!(
        "  memory {} {place}, {:#x} bytes, {}",
        region.name,
        region.size,
        permissions(region.attributes)
    );
    streams(region.smmu_id, region.stream_ids());
}

fn device_region(region: &DeviceRegion<'_>) {
    let exclusive = if region.exclusive { ", exclusive" } else { "" };
    println!(
        "  device {} {}, {}{exclusive}",
        region.name,
        region.range(),
        permissions(region.attributes)
    );
    streams(region.smmu_id, region.stream_ids());
    for interrupt in region.interrupts() {
        println!(
            "    interrupt {}: {:?} {:?} priority {:#x}, {}, target {:x?}",
            interrupt.id,
            interrupt.kind(),
            interrupt.trigger(),
            interrupt.priority(),
            if interrupt.is_secure() {
                "secure"
            } else {
                "non-secure"
            },
            interrupt.target
        );
    }
}

fn permissions(attributes: RegionAttributes) -> String {
    let mut text = String::new();
    for (given, letter) in [
        (attributes.read, 'R'),
        (attributes.write, 'W'),
        (attributes.execute, 'X'),
    ] {
        text.push(if given { letter } else { '-' });
    }
    text.push_str(if attributes.non_secure {
        " non-secure"
    } else {
        " secure"
    });
    text
}

fn streams(smmu_id: Option<u32>, ids: impl Iterator<Item = u32>) {
    if let Some(smmu) = smmu_id {
        let ids: Vec<_> = ids.map(|id| id.to_string()).collect();
        println!("    SMMU {smmu}, streams {}", ids.join(" "));
    }
}
