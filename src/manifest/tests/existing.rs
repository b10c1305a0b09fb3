// SPDX-License-Identifier: MIT OR Apache-2.0
//! Manifests as they are in the field are read completely (B-01, B-40 to B-45, DECISIONS 11 to 14).

mod fixture;

use bulkhead_abi::{EndpointId, Uuid, Version};
use bulkhead_manifest::spmc::SpmcWarning;
use bulkhead_manifest::{
    AbortAction, ExceptionLevel, InterruptTrigger, InterruptType, LiveRegister, MemoryKind,
    NsInterruptsAction, OtherSInterruptsAction, Placement, PowerMessages, Range, SriPolicy,
    UnknownProperty, VmMessages, Warning, check_partition,
};
use fixture::{blob, sp, spmc};

fn range(base: u64, size: u64) -> Range {
    Range::new(base, size).unwrap()
}

#[test]
fn b40_the_attribute_node_is_read() {
    let manifest = spmc("spmc.dts", &[]).unwrap();
    assert_eq!(manifest.id, EndpointId(0x8000));
    assert_eq!(manifest.version, Version::V1_2);
    assert_eq!(manifest.load_address, 0x0e10_0000);
    assert_eq!(manifest.entrypoint, 0x0e10_0000);
    assert_eq!(manifest.binary_size, 0x8_0000);
    assert_eq!(manifest.init_timeout_ms, Some(5000));
    assert_eq!(manifest.run_timeout_ms, Some(100));
    assert_eq!(manifest.warnings().count(), 0);
}

#[test]
fn b40_addresses_may_have_one_cell_or_two_and_may_be_left_out() {
    let short = spmc(
        "spmc.dts",
        &[
            (
                "load_address = <0x0 0x0e100000>",
                "load_address = <0x0e100000>",
            ),
            ("entrypoint = <0x0 0x0e100000>;", ""),
        ],
    )
    .unwrap();
    assert_eq!(short.load_address, 0x0e10_0000);
    assert_eq!(short.entrypoint, 0);
}

#[test]
fn b41_partitions_come_in_the_order_of_their_numbers() {
    let manifest = spmc("spmc.dts", &[]).unwrap();
    let partitions: Vec<_> = manifest.partitions().collect();
    let names: Vec<_> = partitions.iter().map(|vm| vm.debug_name).collect();
    assert_eq!(names, ["alpha", "beta", "gamma"]);
    let ids: Vec<_> = partitions.iter().map(|vm| vm.id.0).collect();
    assert_eq!(ids, [0x8001, 0x8002, 0x8003]);
    assert_eq!(partitions[2].load_address, 0x0e50_0000);
    assert_eq!(partitions[2].vcpu_count, None);
    assert_eq!(partitions[2].mem_size, Some(0x10_0000));
    assert!(partitions[2].smc_whitelist_permissive);
    assert!(!partitions[0].smc_whitelist_permissive);
    let list: Vec<_> = partitions[0].smc_whitelist().collect();
    assert_eq!(list, [0xbe00_0000, 0x8200_0100, 0xc400_0050]);
    assert_eq!(partitions[1].smc_whitelist().count(), 0);
}

#[test]
fn b42_memory_is_read_by_the_cells_of_the_root() {
    let manifest = spmc("spmc.dts", &[]).unwrap();
    let secure: Vec<_> = manifest.memory(MemoryKind::Secure).collect();
    assert_eq!(
        secure,
        [
            range(0x0e00_0000, 0x80_0000),
            range(0x0e80_0000, 0x80_0000),
            range(0x20_0000_0000, 0x20_0000)
        ]
    );
    let normal: Vec<_> = manifest.memory(MemoryKind::NonSecure).collect();
    assert_eq!(normal, [range(0x4000_0000, 0x1_0000_0000)]);
    assert_eq!(manifest.memory(MemoryKind::SecureDevice).count(), 1);
    assert_eq!(manifest.memory(MemoryKind::NonSecureDevice).count(), 1);

    let one_size_cell = spmc("fvp-spmc.dts", &[]).unwrap();
    let secure: Vec<_> = one_size_cell.memory(MemoryKind::Secure).collect();
    assert_eq!(
        secure,
        [
            range(0x600_0000, 0x200_0000),
            range(0xff00_0000, 0x100_0000)
        ]
    );
    assert_eq!(one_size_cell.memory(MemoryKind::SecureDevice).count(), 3);
}

#[test]
fn b42_secure_memory_that_is_also_listed_as_non_secure_is_a_warning() {
    let manifest = spmc("fvp-spmc.dts", &[]).unwrap();
    let warnings: Vec<_> = manifest.warnings().collect();
    assert_eq!(
        warnings,
        [SpmcWarning::MixedMemory {
            secure: range(0xff00_0000, 0x100_0000),
            normal: range(0x9000_0000, 0x7000_0000),
        }]
    );
}

#[test]
fn b43_cores_may_stand_in_any_order() {
    let manifest = spmc("spmc.dts", &[]).unwrap();
    let cpus: Vec<_> = manifest.cpus().collect();
    // Bit 31 of an MPIDR is no affinity.
    assert_eq!(cpus, [0x2, 0x100, 0x0, 0x1_0000_0000]);
    let descending = spmc("fvp-spmc.dts", &[]).unwrap();
    assert_eq!(descending.cpus().count(), 8);
    assert_eq!(descending.cpus().nth(1), Some(0x1_0300));
}

#[test]
fn b44_interrupt_controller_of_two_chips_is_read() {
    let manifest = spmc("spmc.dts", &[]).unwrap();
    let gic = manifest.interrupt_controller().unwrap();
    let distributors: Vec<_> = gic.distributors().map(|frame| frame.base).collect();
    assert_eq!(distributors, [0x0800_0000, 0x1800_0000]);
    let redistributors: Vec<_> = gic.redistributors().map(|frame| frame.base).collect();
    assert_eq!(redistributors, [0x080a_0000, 0x081a_0000, 0x180a_0000]);
}

#[test]
fn b45_the_console_is_the_first_uart_that_is_not_disabled() {
    let manifest = spmc("spmc.dts", &[]).unwrap();
    assert_eq!(manifest.console(), Some(range(0x0904_0000, 0x1000)));
    let smmus: Vec<_> = manifest.smmus().collect();
    assert_eq!(smmus.len(), 2);
    assert_eq!(smmus[0].frames, range(0x0905_0000, 0x2_0000));
    assert_eq!(smmus[0].stream_id_bits, None);
    assert_eq!(smmus[1].stream_id_bits, Some(8));
    let bare = spmc("op-tee-spmc.dts", &[]).unwrap();
    assert_eq!(bare.console(), None);
    assert!(bare.interrupt_controller().is_none());
}

#[test]
fn b01_op_tee_on_the_manifests_that_its_chains_have() {
    let spmc = spmc("op-tee-spmc.dts", &[]).unwrap();
    assert_eq!(
        spmc.warnings().collect::<Vec<_>>(),
        [SpmcWarning::NoNormalMemory]
    );
    let sp = sp("op-tee.dts", &[]).unwrap();
    assert_eq!(sp.description, "op-tee");
    assert_eq!(sp.ffa_version, Version::V1_0);
    assert_eq!(sp.ns_interrupts_action, NsInterruptsAction::ManagedExit);
    assert_eq!(sp.mem_size, Some(0xd0_0000));
    assert_eq!(sp.boot_order, Some(0));
    assert_eq!(sp.gp_register_num, Some(0));
    assert!(sp.boot_info.fdt && !sp.boot_info.hob);
    assert_eq!(
        sp.uuids().collect::<Vec<_>>(),
        [Uuid::parse("486178e0-e7f8-11e3-bc5e-0002a5d5c51b").unwrap()]
    );
    assert_eq!(sp.unknown_properties().count(), 0);

    let vm = spmc.partitions().next().unwrap();
    let layout = check_partition(&spmc, &vm, &sp, &[], core::iter::empty()).unwrap();
    assert_eq!(layout.id, EndpointId(0x8001));
    assert_eq!(layout.vcpu_count, 4);
    assert_eq!(layout.entry, 0x0e30_4000);
    assert_eq!(layout.memory, range(0x0e30_0000, 0xd0_0000));
    let warnings: Vec<_> = layout.warnings.iter().collect();
    assert_eq!(
        warnings,
        [Warning::IdIgnored {
            written: 1,
            used: EndpointId(0x8001)
        }]
    );
}

#[test]
fn a_partition_may_have_a_run_timeout_and_a_virtual_counter_of_its_own() {
    let written = "gp-register-num = <0>; bulkhead,run-timeout-ms = <60000>; \
                   bulkhead,virtual-counter-from-boot; bulkhead,virtual-serror; bulkhead,interrupt-share = <100>";
    let sp = sp("partition.dts", &[("gp-register-num = <0>", written)]).unwrap();
    assert_eq!(sp.run_timeout_ms, Some(60_000));
    assert!(sp.virtual_counter_from_boot && sp.virtual_serror);
    assert_eq!(sp.interrupt_share, 100);
    assert!(
        !sp.unknown_properties()
            .any(|unknown| unknown.name.starts_with("bulkhead,"))
    );
}

#[test]
fn b02_to_b22_every_property_of_a_partition_is_read() {
    let sp = sp("partition.dts", &[]).unwrap();
    assert_eq!(sp.ffa_version, Version::V1_2);
    assert_eq!(sp.id, None);
    assert_eq!(sp.description, "alpha");
    assert_eq!(sp.execution_ctx_count, 4);
    assert_eq!(sp.exception_level, ExceptionLevel::SEl1);
    assert_eq!(sp.load_address, Some(0x0e30_0000));
    assert_eq!(sp.entrypoint_offset, 0x4000);
    assert_eq!(sp.boot_order, Some(1));
    assert_eq!(sp.ns_interrupts_action, NsInterruptsAction::Queued);
    assert_eq!(sp.other_s_interrupts_action, OtherSInterruptsAction::Queued);
    assert_eq!(
        sp.sri_policy,
        SriPolicy {
            while_waiting: true,
            on_entering_wait: true
        }
    );
    assert_eq!(
        (sp.run_timeout_ms, sp.virtual_counter_from_boot),
        (None, false)
    );
    assert!(sp.notification_support);
    assert_eq!(
        sp.power_management_messages,
        Some(PowerMessages {
            cpu_off: true,
            cpu_suspend: true,
            cpu_suspend_resume: true
        })
    );
    assert_eq!(
        sp.vm_availability_messages,
        VmMessages {
            created: true,
            destroyed: true
        }
    );
    assert!(sp.boot_info.fdt && sp.boot_info.hob);
    let method = sp.messaging_method;
    assert!(method.receives_direct() && method.sends_direct() && method.indirect());
    assert!(method.receives_direct2() && method.sends_direct2());
    assert_eq!(sp.services().count(), 2);
    assert!(sp.services().all(|service| service.messaging == method));
}

#[test]
fn b03_five_services_of_binding_1_1_each_have_their_messaging_method() {
    let sp = sp("services.dts", &[]).unwrap();
    assert_eq!(sp.exception_level, ExceptionLevel::SEl0);
    assert_eq!(sp.description, "services");
    assert_eq!(sp.abort_action, Some(AbortAction::Restart));
    assert!(sp.lifecycle_support);
    assert_eq!(sp.boot_order, None);
    assert_eq!(sp.ns_interrupts_action, NsInterruptsAction::Signaled);
    assert_eq!(
        sp.other_s_interrupts_action,
        OtherSInterruptsAction::Signaled
    );
    let bits: Vec<_> = sp
        .services()
        .map(|service| service.messaging.bits())
        .collect();
    assert_eq!(bits, [0x1, 0x200, 0x600, 0x4, 0x3]);
    assert_eq!(sp.messaging_method.bits(), 0x607);
    let third = sp.uuids().nth(2).unwrap();
    assert_eq!(third.to_string(), "33d532ed-e699-0942-c09c-a798d9cd722d");
}

#[test]
fn b04_one_messaging_method_for_each_uuid() {
    let sp = sp(
        "partition.dts",
        &[("messaging-method = <0x607>", "messaging-method = <0x1 0x6>")],
    )
    .unwrap();
    let bits: Vec<_> = sp
        .services()
        .map(|service| service.messaging.bits())
        .collect();
    assert_eq!(bits, [0x1, 0x6]);
    assert_eq!(sp.messaging_method.bits(), 0x7);
}

#[test]
fn b11_the_boot_order_0xffff_is_the_last_one_and_not_unique() {
    let sp = sp(
        "partition.dts",
        &[("boot-order = <1>", "boot-order = <0xffff>")],
    )
    .unwrap();
    assert_eq!(sp.boot_order, None);
}

#[test]
fn b12_rx_and_tx_buffers_are_found_by_phandle() {
    let buffers = sp("partition.dts", &[]).unwrap().rx_tx.unwrap();
    assert_eq!(buffers.rx.name, "rx");
    assert_eq!(buffers.tx.name, "tx-buffer");
    assert_eq!(buffers.tx.base, Placement::Absolute(0x0e60_1000));
}

#[test]
fn b24_memory_regions_are_read_in_their_order() {
    let sp = sp("partition.dts", &[]).unwrap();
    let regions: Vec<_> = sp.memory_regions().collect();
    let bases: Vec<_> = regions.iter().map(|region| region.base).collect();
    assert_eq!(
        bases,
        [
            Placement::Absolute(0x0e60_0000),
            Placement::Absolute(0x0e60_1000),
            Placement::LoadRelative(0xf_0000),
            Placement::LoadRelative(0x40_0000),
            Placement::Absolute(0x0e80_0000),
            Placement::Absolute(0x4800_0000),
            Placement::Dynamic,
        ]
    );
    assert_eq!(regions[2].pages, 0x10);
    assert_eq!(
        regions[2].range(0x0e30_0000),
        Some(range(0x0e3f_0000, 0x1_0000))
    );
    assert_eq!(regions[3].smmu_id, Some(0));
    assert_eq!(regions[3].stream_ids().collect::<Vec<_>>(), [5, 6]);
    assert!(regions[3].stream_permissions.unwrap().write);
    assert!(regions[4].attributes.execute && !regions[4].attributes.write);
    assert!(regions[5].attributes.non_secure);
    assert_eq!(regions[6].range(0x0e30_0000), None);
}

#[test]
fn b25_device_regions_and_their_interrupts_are_read() {
    let sp = sp("partition.dts", &[]).unwrap();
    let devices: Vec<_> = sp.device_regions().collect();
    assert_eq!(devices.len(), 3);
    assert!(devices[0].exclusive && !devices[1].exclusive);
    assert_eq!(devices[0].range(), range(0x0910_0000, 0x2000));
    let interrupts: Vec<_> = devices[0].interrupts().collect();
    assert_eq!(interrupts.len(), 3);
    assert_eq!(interrupts[0].id, 56);
    assert_eq!(interrupts[0].kind(), InterruptType::Spi);
    assert_eq!(interrupts[0].trigger(), InterruptTrigger::Edge);
    assert!(interrupts[0].is_secure());
    assert_eq!(interrupts[0].target, None);
    assert_eq!(interrupts[1].trigger(), InterruptTrigger::Level);
    assert_eq!(interrupts[1].priority(), 0x80);
    assert_eq!(interrupts[1].target, Some(0x1_0000_0100));
    assert_eq!(interrupts[2].id, 5000);
    assert_eq!(devices[1].stream_ids().collect::<Vec<_>>(), [5, 6]);
}

#[test]
fn b26_unknown_properties_are_listed_and_accepted() {
    let sp = sp(
        "partition.dts",
        &[
            ("description = \"rx\";", "description = \"rx\"; odd;"),
            (
                "pages-count = <2>;\n\t\t\tattributes = <0x3>;\n\t\t\tinterrupts",
                "pages-count = <2>; strange = \"x\";\n\t\t\tattributes = <0x3>;\n\t\t\tinterrupts",
            ),
        ],
    )
    .unwrap();
    let unknown: Vec<_> = sp
        .unknown_properties()
        .map(|unknown| format!("{} {}", unknown.node, unknown.name))
        .collect();
    assert_eq!(
        unknown,
        [
            "/ stray-property",
            "/memory-regions/rx-buffer odd",
            "/device-regions/watchdog strange"
        ]
    );
}

#[test]
fn b40_bytes_behind_the_tree_are_not_looked_at() {
    let mut bytes = blob("spmc.dts", &[]).to_vec();
    let size = bytes.len();
    bytes.resize(0x1_0000, 0xa5);
    let manifest = bulkhead_manifest::SpmcManifest::parse(&bytes).unwrap();
    assert_eq!(manifest.size(), size);
}

#[test]
fn b05_b17_b23_what_nothing_uses_yet_is_kept() {
    let bare = sp("partition.dts", &[]).unwrap();
    assert!(bare.has_primary_scheduler && bare.time_slice_mem);
    assert_eq!(bare.live_activation.register, LiveRegister::Absent);
    assert!(bare.live_activation.state_buffer.is_none());
    let live = "live-activation-support; live-activation-register = <2>; auxiliary-id = <0x8101>; \
                image-uuid = \"486178e0-e7f8-11e3-bc5e-0002a5d5c51b\"; managed-exit-virq; xlat-granule = <0>;";
    let info = "live-state-buffer-info { live-state-buffer = <&tx>; };\n\n\trx_tx-info {";
    let full = sp(
        "partition.dts",
        &[("xlat-granule = <0>;", live), ("rx_tx-info {", info)],
    )
    .unwrap();
    assert_eq!(full.auxiliary_id, Some(0x8101));
    assert!(full.managed_exit_virq && full.live_activation.support);
    assert_eq!(full.live_activation.register, LiveRegister::Number(2));
    let uuid = Uuid::parse("486178e0-e7f8-11e3-bc5e-0002a5d5c51b");
    assert_eq!(full.live_activation.image_uuid, uuid);
    assert_eq!(full.live_activation.state_buffer.unwrap().name, "tx-buffer");
    // The same UUID as four cells, and a register without a number.
    let cells = "image-uuid = <0xe0786148 0xe311f8e7 0x02005ebc 0x1bc5d5a5>; live-activation-register; xlat-granule = <0>;";
    let cells = sp("partition.dts", &[("xlat-granule = <0>;", cells)]).unwrap();
    assert_eq!(cells.live_activation.image_uuid, uuid);
    assert_eq!(cells.live_activation.register, LiveRegister::Present);
}

#[test]
fn b10_pages_of_16_and_64_kib_are_the_unit_of_regions() {
    for (granule, bytes) in [(1, 0x4000), (2, 0x1_0000)] {
        let granule = format!("xlat-granule = <{granule}>");
        let sp = sp(
            "services.dts",
            &[(
                "execution-ctx-count = <1>;",
                &format!("execution-ctx-count = <1>; {granule};"),
            )],
        )
        .unwrap();
        assert_eq!(sp.xlat_granule.bytes(), bytes);
        let heap = sp.memory_regions().next().unwrap();
        assert_eq!((heap.pages, heap.size), (0x10, 0x10 * bytes));
    }
}

#[test]
fn b26_an_unknown_property_is_listed_once_by_name_and_no_more_than_16_are() {
    let text = |unknown: UnknownProperty<'_>| unknown.to_string();
    let twice = sp(
        "partition.dts",
        &[
            ("description = \"rx\";", "description = \"rx\"; odd;"),
            (
                "base-address = <0x0e800000>;",
                "base-address = <0x0e800000>; odd = <1>; stray-property;",
            ),
        ],
    )
    .unwrap();
    assert_eq!(
        twice.unknown_properties().map(text).collect::<Vec<_>>(),
        [
            "/: property stray-property is unknown and ignored",
            "/memory-regions/rx-buffer: property odd is unknown and ignored"
        ]
    );
    let many: String = (0..40).map(|number| format!("odd{number}; ")).collect();
    let many = sp("partition.dts", &[("stray-property = <1>;", &many)]).unwrap();
    assert_eq!(many.unknown_properties().count(), 16);

    let spmc = spmc(
        "spmc.dts",
        &[
            (
                "exec_state = <0x0>;",
                "exec_state = <0x0>; exec-state = <0>;",
            ),
            ("vcpu_count = <4>;", "vcpu_count = <4>; vcpu-count = <4>;"),
            ("vcpu_count = <1>;", "vcpu_count = <1>; vcpu-count = <4>;"),
            (
                "device_type = \"ns-memory\";",
                "device_type = \"ns-memory\"; sise = <1>;",
            ),
        ],
    )
    .unwrap();
    assert_eq!(
        spmc.unknown_properties().map(text).collect::<Vec<_>>(),
        [
            "/attribute: property exec-state is unknown and ignored",
            "/hypervisor/vm1: property vcpu-count is unknown and ignored",
            "/memory@40000000: property sise is unknown and ignored"
        ]
    );
}

#[test]
fn b44_the_interrupt_controller_may_say_which_chip_has_which_spis() {
    let one = spmc("spmc.dts", &[]).unwrap();
    let none = one.interrupt_controller().unwrap().spi_regions().count();
    assert_eq!(none, 0);
    let manifest = spmc(
        "spmc.dts",
        &[
            (
                "#distributor-regions = <2>;",
                "#distributor-regions = <2>; #spi-regions = <2>;",
            ),
            (
                "<0x180a0000 0x100000>;",
                "<0x180a0000 0x100000>, <32 479>, <512 479>;",
            ),
        ],
    )
    .unwrap();
    let controller = manifest.interrupt_controller().unwrap();
    let regions: Vec<_> = controller
        .spi_regions()
        .map(|range| (range.base, range.size))
        .collect();
    assert_eq!(regions, [(32, 479), (512, 479)]);
    assert_eq!(controller.redistributors().count(), 3);
}
