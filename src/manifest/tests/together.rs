// SPDX-License-Identifier: MIT OR Apache-2.0
//! A partition against the SPMC manifest, the reserved ranges and the partitions before it.

mod fixture;

use bulkhead_abi::EndpointId;
use bulkhead_manifest::{
    Accepted, ManifestError, Package, PartitionLayout, Range, Reserved, Rule, SpManifest,
    SpmcManifest, Warning, check_package, check_partition,
};
use fixture::{sp, spmc};

const EL3: Reserved = (
    "EL3",
    Range {
        base: 0x0e00_0000,
        size: 0x10_0000,
    },
);
const SPMC: Reserved = (
    "SPMC",
    Range {
        base: 0x0e10_0000,
        size: 0x10_0000,
    },
);
const GIC: Reserved = (
    "GIC",
    Range {
        base: 0x0800_0000,
        size: 0x100_0000,
    },
);
const RESERVED: [Reserved; 3] = [EL3, SPMC, GIC];

/// What beta's manifest needs so that nothing of it is alpha's.
const BETA: [(&str, &str); 16] = [
    ("description = \"alpha\"", "description = \"beta\""),
    ("0xb4b5671e 0x4a904fe1 0xb81ffb13 0xdae1dacb", "1 2 3 4"),
    ("0xfed46119 0xb57c449f 0xa852c15f 0xd346b1fc", "5 6 7 8"),
    ("execution-ctx-count = <4>", "execution-ctx-count = <1>"),
    ("boot-order = <1>", "boot-order = <2>"),
    ("load-address = <0x0e300000>", "load-address = <0x0e400000>"),
    ("<0x0 0x0e600000>", "<0x0 0x0e610000>"),
    ("<0x0 0x0e601000>", "<0x0 0x0e611000>"),
    ("<0x0e800000>", "<0x0e820000>"),
    ("offset = <0x400000>", "offset = <0x410000>"),
    ("<0x0 0x48000000>", "<0x0 0x48010000>"),
    ("<0x0 0x09100000>", "<0x0 0x09110000>"),
    ("<0x0 0x09200000>", "<0x0 0x09210000>"),
    ("<0x0 0x0a000000>", "<0x0 0x0a001000>"),
    (
        "interrupts = <56 0x900>, <57 0xb80>, <5000 0x901>",
        "interrupts = <58 0x900>, <59 0xb80>",
    ),
    ("interrupts-target = <57 0x1 0x100>;", ""),
];
const BETA_STREAMS: [(&str, &str); 2] = [
    ("stream-ids = <5 6>", "stream-ids = <7 8>"),
    (
        "smmu-id = <0>;\n\t\t\tstream-ids = <5 6>;\n\t\t};",
        "smmu-id = <0>; stream-ids = <7 8>; };",
    ),
];

struct World {
    spmc: SpmcManifest<'static>,
    alpha: SpManifest<'static>,
}

fn world() -> World {
    World {
        spmc: spmc("spmc.dts", &[]).unwrap(),
        alpha: sp("partition.dts", &[]).unwrap(),
    }
}

impl World {
    fn check(
        &self,
        index: usize,
        sp: &SpManifest<'static>,
        earlier: &[Accepted<'static>],
    ) -> Result<PartitionLayout, ManifestError<'static>> {
        let vm = self.spmc.partitions().nth(index).unwrap();
        check_partition(&self.spmc, &vm, sp, &RESERVED, earlier.iter().copied())
    }

    fn accepted_alpha(&self) -> Accepted<'static> {
        Accepted {
            name: "alpha",
            layout: self.check(0, &self.alpha, &[]).unwrap(),
            manifest: self.alpha,
        }
    }
}

/// Alpha's manifest, changed, as the first partition.
fn alpha(changes: &[(&str, &str)]) -> Result<PartitionLayout, ManifestError<'static>> {
    world().check(0, &sp("partition.dts", changes).unwrap(), &[])
}

/// Alpha's manifest, unchanged, below a changed SPMC manifest.
fn alpha_below(changes: &[(&str, &str)]) -> Result<PartitionLayout, ManifestError<'static>> {
    let mut world = world();
    world.spmc = spmc("spmc.dts", changes).unwrap();
    world.check(0, &world.alpha, &[])
}

/// Beta's manifest, changed, after alpha.
fn beta(changes: &[(&str, &str)]) -> Result<PartitionLayout, ManifestError<'static>> {
    let world = world();
    let all: Vec<_> = BETA
        .iter()
        .chain(&BETA_STREAMS)
        .chain(changes)
        .copied()
        .collect();
    world.check(
        1,
        &sp("partition.dts", &all).unwrap(),
        &[world.accepted_alpha()],
    )
}

fn assert_refused(
    result: Result<PartitionLayout, ManifestError<'static>>,
    rule: Rule,
    property: &str,
    other: Option<&str>,
) {
    let error = result.expect_err(property);
    assert_eq!(
        (error.rule, error.property, error.other),
        (rule, Some(property), other),
        "{error}"
    );
}

#[test]
fn a_good_partition_gets_its_layout_without_a_warning() {
    let layout = alpha(&[]).unwrap();
    assert_eq!(layout.id, EndpointId(0x8001));
    assert_eq!(
        layout.memory,
        Range {
            base: 0x0e30_0000,
            size: 0x10_0000
        }
    );
    assert_eq!(layout.entry, 0x0e30_4000);
    assert_eq!(layout.vcpu_count, 4);
    assert_eq!(layout.warnings.iter().count(), 0);
}

#[test]
fn a_second_partition_with_nothing_of_the_first_is_accepted() {
    let layout = beta(&[]).unwrap();
    assert_eq!(layout.id, EndpointId(0x8002));
    assert_eq!(layout.vcpu_count, 1);
    assert_eq!(layout.warnings.iter().count(), 0);
}

#[test]
fn b05_an_id_with_bit_15_is_honoured() {
    let layout = alpha(&[("boot-order = <1>", "id = <0x8123>; boot-order = <1>")]).unwrap();
    assert_eq!(layout.id, EndpointId(0x8123));
    assert_eq!(layout.warnings.iter().count(), 0);
}

#[test]
fn d11_an_id_without_bit_15_is_warned_of_and_ignored() {
    let layout = alpha(&[("boot-order = <1>", "id = <1>; boot-order = <1>")]).unwrap();
    assert_eq!(layout.id, EndpointId(0x8001));
    let warnings: Vec<_> = layout.warnings.iter().collect();
    assert_eq!(
        warnings,
        [Warning::IdIgnored {
            written: 1,
            used: EndpointId(0x8001)
        }]
    );
    assert!(warnings[0].to_string().contains("ignored"));
}

#[test]
fn p11_reserved_and_clashing_ids_are_refused() {
    for id in ["0xffff", "0x8000", "0x18001", "0xffff8001"] {
        let text = format!("id = <{id}>; boot-order = <1>");
        assert_refused(
            alpha(&[("boot-order = <1>", &text)]),
            Rule::ReservedId,
            "id",
            None,
        );
    }
    let clash = [("boot-order = <2>", "id = <0x8001>; boot-order = <2>")];
    assert_refused(beta(&clash), Rule::DuplicateId, "id", Some("alpha"));
}

#[test]
fn p12_a_boot_order_twice_is_refused_unless_it_is_the_last() {
    let same = [("boot-order = <2>", "boot-order = <1>")];
    assert_refused(beta(&same), Rule::BootOrder, "boot-order", Some("alpha"));
    assert!(beta(&[("boot-order = <2>", "boot-order = <0xffff>")]).is_ok());
    assert!(beta(&[("boot-order = <2>;", "")]).is_ok());
}

#[test]
fn d12_p13_the_image_is_made_for_at_least_as_many_contexts_as_there_are() {
    let contexts = |count: &str| {
        let text = format!("execution-ctx-count = <{count}>");
        alpha(&[("execution-ctx-count = <4>", &text)])
    };
    assert_eq!(contexts("1").unwrap().vcpu_count, 1);
    assert_eq!(contexts("8").unwrap().vcpu_count, 4);
    for count in ["2", "3"] {
        assert_refused(
            contexts(count),
            Rule::ExecutionContexts,
            "execution-ctx-count",
            None,
        );
    }
    // Without vcpu_count it is the number of cores; with another one there is a warning.
    let cores = alpha_below(&[("vcpu_count = <4>;", "")]).unwrap();
    assert_eq!(cores.vcpu_count, 4);
    let fewer = alpha_below(&[("vcpu_count = <4>", "vcpu_count = <2>")]).unwrap();
    assert_eq!(fewer.vcpu_count, 2);
    assert_eq!(
        fewer.warnings.iter().collect::<Vec<_>>(),
        [Warning::VcpuCount { vcpus: 2, cores: 4 }]
    );
    let more = alpha_below(&[("vcpu_count = <4>", "vcpu_count = <5>")]);
    assert_refused(more, Rule::ExecutionContexts, "execution-ctx-count", None);
}

#[test]
fn p15_aarch32_is_refused() {
    let aarch32 = alpha(&[("execution-state = <0>", "execution-state = <1>")]);
    assert_refused(aarch32, Rule::NotCompatible, "execution-state", None);
}

#[test]
fn b52_the_size_comes_from_either_manifest_and_from_the_spmc_first() {
    let none = alpha_below(&[("mem_size = <0x100000>;\n\t\t\tsmc", "smc")]);
    assert_refused(none, Rule::MissingProperty, "mem_size", None);

    let mut world = world();
    let own = [(
        "boot-order = <1>",
        "mem-size = <0x180000>; boot-order = <1>",
    )];
    let sized = sp("partition.dts", &own).unwrap();
    let layout = world.check(0, &sized, &[]).unwrap();
    assert_eq!(layout.memory.size, 0x10_0000);
    assert_eq!(
        layout.warnings.iter().collect::<Vec<_>>(),
        [Warning::MemSizeIgnored {
            written: 0x18_0000,
            used: 0x10_0000
        }]
    );
    world.spmc = spmc("spmc.dts", &[("mem_size = <0x100000>;\n\t\t\tsmc", "smc")]).unwrap();
    let sized = [(
        "boot-order = <1>",
        "mem-size = <0x0fff01>; boot-order = <1>",
    )];
    let layout = world
        .check(0, &sp("partition.dts", &sized).unwrap(), &[])
        .unwrap();
    assert_eq!(layout.memory.size, 0x10_0000);
    let wraps = [(
        "boot-order = <1>",
        "mem-size = <0xffffffff 0xfffff000>; boot-order = <1>",
    )];
    let wraps = world.check(0, &sp("partition.dts", &wraps).unwrap(), &[]);
    assert_refused(wraps, Rule::Overflow, "mem-size", None);
}

#[test]
fn b09_another_load_address_in_the_partitions_manifest_is_warned_of() {
    let layout = alpha(&[("load-address = <0x0e300000>", "load-address = <0x6280000>")]).unwrap();
    assert_eq!(layout.memory.base, 0x0e30_0000);
    assert_eq!(
        layout.warnings.iter().collect::<Vec<_>>(),
        [Warning::LoadAddressIgnored {
            written: 0x628_0000,
            used: 0x0e30_0000
        }]
    );
}

#[test]
fn p8_memory_lies_wholly_within_the_secure_memory() {
    // Across the two adjacent ranges it does, across their end and outside it does not.
    let at = |address: &str| {
        let text = format!("load_address = <{address}>");
        alpha_below(&[("load_address = <0x0e300000>", &text)])
    };
    let world = World {
        spmc: spmc("spmc.dts", &[("<0x0e300000>", "<0x0e780000>")]).unwrap(),
        alpha: sp("partition.dts", &[("<0x0e800000>", "<0x0e900000>")]).unwrap(),
    };
    assert!(world.check(0, &world.alpha, &[]).is_ok());
    for address in ["0x0ef80000", "0x0f000000", "0x20000000", "0x40000000"] {
        assert_refused(
            at(address),
            Rule::OutsideAllowedMemory,
            "load_address",
            None,
        );
    }
}

#[test]
fn d13_nothing_reserved_goes_to_a_partition() {
    for (address, name) in [
        ("0x0e080000", "EL3"),
        ("0x0e180000", "SPMC"),
        ("0x0e0ff000", "EL3"),
    ] {
        let text = format!("load_address = <{address}>");
        let result = alpha_below(&[("load_address = <0x0e300000>", &text)]);
        assert_refused(result, Rule::RegionOverlap, "load_address", Some(name));
    }
    let memory = alpha(&[("<0x0e800000>", "<0x0e1ff000>")]);
    assert_refused(memory, Rule::RegionOverlap, "base-address", Some("SPMC"));
    let device = alpha(&[("<0x0 0x09100000>", "<0x0 0x08fff000>")]);
    assert_refused(device, Rule::RegionOverlap, "base-address", Some("GIC"));
}

#[test]
fn p14_the_entry_point_lies_within_memory_and_image() {
    for offset in ["0x100000", "0xffffffff 0xffffffff", "0x4002"] {
        let text = format!("entrypoint-offset = <{offset}>");
        let result = alpha(&[("entrypoint-offset = <0x4000>", &text)]);
        assert_refused(result, Rule::BadLayout, "entrypoint-offset", None);
    }
    let header = [0x474b_5053_u32, 2, 0x1000, 0x1000, 0x4000, 0x1_0000];
    let bytes: Vec<u8> = header.iter().flat_map(|cell| cell.to_le_bytes()).collect();
    let package = Package::parse(&bytes, 0x10_0000).unwrap();
    let layout = alpha(&[]).unwrap();
    for (offset, fits) in [
        ("0x4000", true),
        ("0x13ffc", true),
        ("0x14000", false),
        ("0x3ffc", false),
        ("0", false),
    ] {
        let text = format!("entrypoint-offset = <{offset}>");
        let sp = sp("partition.dts", &[("entrypoint-offset = <0x4000>", &text)]).unwrap();
        assert_eq!(
            check_package(&package, &sp, &layout).is_ok(),
            fits,
            "{offset}"
        );
    }
}

#[test]
fn p7_regions_overlap_the_partitions_own_memory() {
    let own = Some("the partition's own memory");
    // Equal, nested, enclosing, and one page at each end.
    for (base, pages) in [
        ("0x0e300000", "0x100"),
        ("0x0e380000", "1"),
        ("0x0e2ff000", "0x110"),
        ("0x0e2ff000", "2"),
        ("0x0e3ff000", "2"),
    ] {
        let base = format!("<{base}>;\n\t\t\tpages-count = <{pages}>");
        let result = alpha(&[("<0x0e800000>;\n\t\t\tpages-count = <1>", &base)]);
        assert_refused(result, Rule::RegionOverlap, "base-address", own);
    }
    let partly = alpha(&[(
        "offset = <0xf0000>;\n\t\t\tpages-count = <0x10>",
        "offset = <0xff000>;\n\t\t\tpages-count = <2>",
    )]);
    assert_refused(
        partly,
        Rule::RegionOverlap,
        "load-address-relative-offset",
        own,
    );
    // Placed differently, two regions meet only once the load address is known.
    let meets = alpha(&[("<0x0e800000>", "<0x0e701000>")]);
    assert_refused(meets, Rule::RegionOverlap, "base-address", Some("outside"));
}

#[test]
fn p8_regions_lie_wholly_within_memory_of_their_kind() {
    let code = |base: &str| alpha(&[("<0x0e800000>", base)]);
    for base in ["<0x0f000000>", "<0x48100000>", "<0x09300000>"] {
        assert_refused(code(base), Rule::OutsideAllowedMemory, "base-address", None);
    }
    let partly = alpha(&[(
        "<0x0e800000>;\n\t\t\tpages-count = <1>",
        "<0x0efff000>;\n\t\t\tpages-count = <2>",
    )]);
    assert_refused(partly, Rule::OutsideAllowedMemory, "base-address", None);
    // Non-secure memory that is secure, devices that are memory, and devices of the other world.
    let secure = alpha(&[("<0x0 0x48000000>", "<0x0 0x0e900000>")]);
    assert_refused(secure, Rule::OutsideAllowedMemory, "base-address", None);
    let memory = alpha(&[("<0x0 0x09100000>", "<0x0 0x48100000>")]);
    assert_refused(memory, Rule::OutsideAllowedMemory, "base-address", None);
    let other_world = alpha(&[("<0x0 0x0a000000>", "<0x0 0x09300000>")]);
    assert_refused(
        other_world,
        Rule::OutsideAllowedMemory,
        "base-address",
        None,
    );
    let wraps = alpha(&[("offset = <0x400000>", "offset = <0xffffffff 0xf1cff000>")]);
    assert_refused(wraps, Rule::Overflow, "load-address-relative-offset", None);
}

#[test]
fn p8_a_kind_that_the_manifest_leaves_out_is_what_no_other_kind_has() {
    let world = World {
        spmc: spmc("op-tee-spmc.dts", &[]).unwrap(),
        alpha: sp("op-tee.dts", &[]).unwrap(),
    };
    assert!(world.check(0, &world.alpha, &[]).is_ok());
    let in_memory = sp("op-tee.dts", &[("0x09040000", "0x0e200000")]).unwrap();
    let result = world.check(0, &in_memory, &[]);
    assert_refused(result, Rule::OutsideAllowedMemory, "base-address", None);
    let in_gic = sp("op-tee.dts", &[("0x09040000", "0x08000000")]).unwrap();
    assert_refused(
        world.check(0, &in_gic, &[]),
        Rule::RegionOverlap,
        "base-address",
        Some("GIC"),
    );
}

#[test]
fn p8_memory_that_is_listed_as_both_stays_secure() {
    let spmc = spmc("spmc.dts", &[("0x40000000 0x1 0x0", "0x0e000000 0x1 0x0")]).unwrap();
    let world = World {
        spmc,
        alpha: sp("partition.dts", &[("<0x0 0x48000000>", "<0x0 0x0e900000>")]).unwrap(),
    };
    let result = world.check(0, &world.alpha, &[]);
    assert_refused(result, Rule::OutsideAllowedMemory, "base-address", None);
}

#[test]
fn p7_a_second_partition_overlaps_the_first() {
    // Its memory, a region, a region relative to its load address, non-secure memory, a device.
    for address in [
        "0x0e300000",
        "0x0e2ff000",
        "0x0e3ff000",
        "0x0e5ff000",
        "0x0e700000",
    ] {
        let mut world = world();
        let text = format!("load_address = <{address}>");
        world.spmc = spmc("spmc.dts", &[("load_address = <0x0e400000>", &text)]).unwrap();
        let changes: Vec<_> = BETA.iter().chain(&BETA_STREAMS).copied().collect();
        let beta = sp("partition.dts", &changes).unwrap();
        let result = world.check(1, &beta, &[world.accepted_alpha()]);
        assert_refused(result, Rule::RegionOverlap, "load_address", Some("alpha"));
    }
    for (from, to) in [
        ("<0x0e820000>", "<0x0e800000>"),
        ("<0x0e820000>", "<0x0e380000>"),
        ("<0x0e820000>", "<0x0e701000>"),
        ("<0x0 0x48010000>", "<0x0 0x48001000>"),
        ("<0x0 0x09110000>", "<0x0 0x09101000>"),
        ("<0x0 0x0a001000>", "<0x0 0x0a000000>"),
    ] {
        assert_refused(
            beta(&[(from, to)]),
            Rule::RegionOverlap,
            "base-address",
            Some("alpha"),
        );
    }
}

#[test]
fn i10_p11_interrupts_and_streams_belong_to_one_partition() {
    let interrupt = beta(&[("<59 0xb80>", "<57 0xb80>")]);
    assert_refused(
        interrupt,
        Rule::DuplicateInterrupt,
        "interrupts",
        Some("alpha"),
    );
    let streams = [
        ("stream-ids = <7 8>", "stream-ids = <6 8>"),
        ("stream-ids = <7 8>", "stream-ids = <6 8>"),
    ];
    assert_refused(
        beta(&streams),
        Rule::DuplicateStream,
        "stream-ids",
        Some("alpha"),
    );
    // Another SMMU has streams of its own.
    let other_smmu = [
        ("smmu-id = <0>", "smmu-id = <1>"),
        ("smmu-id = <0>", "smmu-id = <1>"),
        ("stream-ids = <7 8>", "stream-ids = <6 8>"),
        ("stream-ids = <7 8>", "stream-ids = <6 8>"),
    ];
    assert!(beta(&other_smmu).is_ok());
}

#[test]
fn a_service_in_two_partitions_is_warned_of() {
    let layout = beta(&[("<5 6 7 8>", "<0xfed46119 0xb57c449f 0xa852c15f 0xd346b1fc>")]).unwrap();
    let warnings: Vec<_> = layout.warnings.iter().collect();
    assert!(matches!(
        warnings[..],
        [Warning::SharedUuid {
            with: EndpointId(0x8001),
            ..
        }]
    ));
}

#[test]
fn a59_what_a_partition_sees_elsewhere() {
    let layout = alpha(&[]).unwrap();
    assert_eq!((layout.ipa, layout.entry), (0x0e30_0000, 0x0e30_4000));
    let layout = alpha(&[(
        "gp-register-num = <0>;",
        "gp-register-num = <0>; bulkhead,ipa-base = <0x40000000>;",
    )])
    .unwrap();
    assert_eq!(layout.memory.base, 0x0e30_0000);
    assert_eq!((layout.ipa, layout.entry), (0x4000_0000, 0x4000_4000));
    let range = |base| Range { base, size: 0x1000 };
    // A part of its own memory, a region elsewhere, and one that says where.
    assert_eq!(layout.sees(range(0x0e3f_0000), None), 0x400f_0000);
    assert_eq!(layout.sees(range(0x0e80_0000), None), 0x0e80_0000);
    assert_eq!(layout.sees(range(0x0e80_0000), Some(0x1000)), 0x1000);
    let end = alpha(&[(
        "gp-register-num = <0>;",
        "gp-register-num = <0>; bulkhead,ipa-base = <0xffffffff 0xfffff000>;",
    )]);
    assert_refused(end, Rule::Overflow, "bulkhead,ipa-base", None);
    let part = alpha(&[(
        "offset = <0xf0000>;",
        "offset = <0xf0000>; bulkhead,ipa-address = <0x1000>;",
    )]);
    assert_refused(part, Rule::BadLayout, "bulkhead,ipa-address", None);
}

#[test]
fn a59_a_partition_sees_no_two_things_at_one_address() {
    let root = |text: &str| {
        let text = format!("gp-register-num = <0>; {text}");
        alpha(&[("gp-register-num = <0>;", &text)])
    };
    let code = |ipa: &str| {
        let text = format!("<0x0e800000>; bulkhead,ipa-address = <{ipa}>;");
        alpha(&[("<0x0e800000>;", &text)])
    };
    let window = |base: &str, size: &str| {
        root(&format!(
            "bulkhead,retrieved-memory-base = <{base}>; bulkhead,retrieved-memory-size = <{size}>;"
        ))
    };
    let own = Some("the partition's own memory");
    assert!(code("0x1000").is_ok());
    // One page at each end of its own memory.
    for ipa in ["0x0e300000", "0x0e3ff000"] {
        assert_refused(code(ipa), Rule::RegionOverlap, "bulkhead,ipa-address", own);
    }
    assert!(code("0x0e2ff000").is_ok() && code("0x0e400000").is_ok());
    let rx = code("0x0e600000");
    let other = Some("rx-buffer");
    assert_refused(rx, Rule::RegionOverlap, "bulkhead,ipa-address", other);
    // The non-secure memory is in another space.
    assert!(code("0x48000000").is_ok());
    let device = alpha(&[(
        "<0x0 0x09100000>;",
        "<0x0 0x09100000>; bulkhead,ipa-address = <0x0e800000>;",
    )]);
    assert_refused(
        device,
        Rule::RegionOverlap,
        "bulkhead,ipa-address",
        Some("code"),
    );
    // Its own memory moves to where something else is.
    let moved = root("bulkhead,ipa-base = <0x0e800000>;");
    assert_refused(moved, Rule::RegionOverlap, "base-address", own);
    // What is retrieved may be of either space.
    assert!(window("0x50000000", "0x1000").is_ok());
    for (base, other) in [
        ("0x0e3ff000", "the partition's own memory"),
        ("0x48000000", "normal"),
        ("0x0a000000", "normal-device"),
        ("0x09100000", "watchdog"),
    ] {
        let property = "bulkhead,retrieved-memory-base";
        assert_refused(
            window(base, "0x1000"),
            Rule::RegionOverlap,
            property,
            Some(other),
        );
    }
    assert!(window("0x0e400000", "0x1000").is_ok());
}

#[test]
fn c18_a_partition_sees_its_interrupt_controller_and_nothing_else_there() {
    let controller = |distributor: &str, interface: &str| {
        let text = format!(
            "bulkhead,interrupt-controller {{ compatible = \"bulkhead,gicv2\"; distributor = <{distributor}>; \
             cpu-interface = <{interface}>; }}; boot-info {{"
        );
        alpha(&[("boot-info {", &text), ("<5000 0x901>", "<58 0x901>")])
    };
    assert!(controller("0x08000000", "0x08010000").is_ok());
    let own = Some("the partition's own memory");
    for (distributor, interface, property, other) in [
        ("0x0e300000", "0x08010000", "distributor", own),
        ("0x08000000", "0x0e3ff000", "cpu-interface", own),
        ("0x08000000", "0x0e2ff000", "cpu-interface", own),
        ("0x0e800000", "0x08010000", "distributor", Some("code")),
        (
            "0x08000000",
            "0x07fff000",
            "cpu-interface",
            Some("distributor"),
        ),
    ] {
        assert_refused(
            controller(distributor, interface),
            Rule::RegionOverlap,
            property,
            other,
        );
    }
}
