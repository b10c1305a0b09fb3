// SPDX-License-Identifier: MIT OR Apache-2.0
//! One case of each P rule with its whole message: file, node, property, value, rule, and what to write.

mod fixture;
#[path = "fixture/packages.rs"]
#[allow(dead_code, reason = "each test program uses its part of this module")]
mod packages;

use bulkhead_manifest::{
    Accepted, Document, ManifestError, Package, SpManifest, SpmcManifest, check_package,
    check_partition,
};
use fixture::{blob, sp, spmc};
use packages::{List, TAG_BINARY, TAG_HOB_LIST, TAG_MANIFEST, spkg};

/// The message with the names of the files that a caller gives.
fn text(error: ManifestError<'_>) -> String {
    let error = error.in_file(Document::Spmc, "spmc.dtb");
    error.in_file(Document::Partition, "alpha.dtb").to_string()
}

/// What is said of alpha's manifest, changed.
fn of_alpha(changes: &[(&str, &str)]) -> String {
    text(sp("partition.dts", changes).unwrap_err())
}

/// What is said of alpha's manifest below an SPMC manifest, both changed.
fn of_both(spmc_changes: &[(&str, &str)], changes: &[(&str, &str)]) -> String {
    let spmc = spmc("spmc.dts", spmc_changes).unwrap();
    let alpha = sp("partition.dts", changes).unwrap();
    let vm = spmc.partitions().next().unwrap();
    text(check_partition(&spmc, &vm, &alpha, &[], core::iter::empty()).unwrap_err())
}

/// What is said of alpha's manifest, changed, as that of the second partition.
fn of_second(changes: &[(&str, &str)]) -> String {
    let spmc = spmc("spmc.dts", &[]).unwrap();
    let alpha = sp("partition.dts", &[]).unwrap();
    let mut vms = spmc.partitions();
    let (first, second) = (vms.next().unwrap(), vms.next().unwrap());
    let layout = check_partition(&spmc, &first, &alpha, &[], core::iter::empty()).unwrap();
    let accepted = Accepted {
        name: "first",
        layout,
        manifest: alpha,
    };
    let manifest = sp("partition.dts", changes).unwrap();
    text(check_partition(&spmc, &second, &manifest, &[], [accepted].into_iter()).unwrap_err())
}

fn of_bytes(bytes: &[u8]) -> String {
    text(SpManifest::parse(bytes).unwrap_err())
}

#[test]
fn p1_a_bad_header() {
    let mut bytes = blob("partition.dts", &[]).to_vec();
    bytes[0] ^= 1;
    assert_eq!(
        of_bytes(&bytes),
        "alpha.dtb, /: the device tree's header is wrong (at 0x0) [BadFdtHeader]: compile the source with dtc -O dtb -V 17 and load it where the header is expected"
    );
}

#[test]
fn p2_a_truncated_tree() {
    let bytes = blob("partition.dts", &[]);
    assert_eq!(
        of_bytes(&bytes[..bytes.len() - 1]),
        "alpha.dtb, /: the device tree is truncated (0x91a bytes) [Truncated]: load all the bytes that its header announces"
    );
}

#[test]
fn p3_a_flipped_bit() {
    let mut bytes = blob("partition.dts", &[]).to_vec();
    let level = bytes
        .windows(8)
        .position(|cells| cells == b"\0\0\0\x02\0\0\0\x03")
        .unwrap();
    bytes[level + 3] ^= 4;
    assert_eq!(
        of_bytes(&bytes),
        "alpha.dtb, /: property exception-level = 0x6 is not supported [NotCompatible]: write exception-level = <1>; for S-EL0 or <2>; for S-EL1"
    );
}

#[test]
fn p4_a_property_longer_than_its_block() {
    let bytes = blob("partition.dts", &[]);
    let structure = usize::try_from(u32::from_be_bytes(bytes[8..12].try_into().unwrap())).unwrap();
    let mut bytes = bytes.to_vec();
    bytes[structure + 12..structure + 16].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(
        of_bytes(&bytes),
        "alpha.dtb, /: the device tree's structure is wrong (at 0x40) [BadStructure]: end it with FDT_END, and keep names and values within its blocks"
    );
}

#[test]
fn p5_a_property_absent_and_one_of_the_wrong_size() {
    assert_eq!(
        of_alpha(&[("pages-count = <2>;", "")]),
        "alpha.dtb, /memory-regions/outside: property pages-count is missing [MissingProperty]: write pages-count = <N>; with the number of pages, at least 1"
    );
    assert_eq!(
        of_alpha(&[("ffa-version = <0x00010002>", "ffa-version = [00]")]),
        "alpha.dtb, /: property ffa-version is not an integer of the right size [MalformedInteger]: write ffa-version = <0x10000>; to <0x10003>; for FF-A 1.0 to 1.3"
    );
}

#[test]
fn p6_base_plus_pages_overflows() {
    assert_eq!(
        of_alpha(&[(
            "base-address = <0x0e800000>",
            "base-address = <0xffffffff 0xfffff000>"
        )]),
        "alpha.dtb, /memory-regions/code: property pages-count = 0x1 leaves the address space [Overflow]: write pages-count = <N>; with the number of pages, at least 1"
    );
}

#[test]
fn p7_a_region_overlaps_another_one_and_another_partition() {
    assert_eq!(
        of_alpha(&[("<0x0 0x0e601000>", "<0x0 0x0e600000>")]),
        "alpha.dtb, /memory-regions/tx-buffer: property base-address = 0xe600000 overlaps rx-buffer [RegionOverlap]: move one of them, or make it smaller"
    );
    assert_eq!(
        of_second(&[
            ("boot-order = <1>;", ""),
            ("offset = <0x400000>", "offset = <0x410000>")
        ]),
        "alpha.dtb, /memory-regions/rx-buffer: property base-address = 0xe600000 overlaps first [RegionOverlap]: move one of them, or write load-address-relative-offset for a part of the partition's memory"
    );
}

#[test]
fn p8_a_region_is_partly_outside() {
    let partly = (
        "<0x0e800000>;\n\t\t\tpages-count = <1>",
        "<0x0efff000>;\n\t\t\tpages-count = <2>",
    );
    assert_eq!(
        of_both(&[], &[partly]),
        "alpha.dtb, /memory-regions/code: property base-address = 0xefff000 is not within memory of its kind [OutsideAllowedMemory]: write a region within the memory (or for attributes with 8, ns-memory) nodes of the SPMC manifest"
    );
}

#[test]
fn p9_a_region_is_unaligned_empty_or_too_large() {
    let region =
        |to: &str| of_alpha(&[("base-address = <0x0e800000>;\n\t\t\tpages-count = <1>", to)]);
    assert_eq!(
        region("base-address = <0x0e800800>;\n\t\t\tpages-count = <1>"),
        "alpha.dtb, /memory-regions/code: property base-address = 0xe800800 is not a multiple of the page size [RegionUnaligned]: write base-address = <PA>; with a page-aligned address"
    );
    assert_eq!(
        region("base-address = <0x0e800000>;\n\t\t\tpages-count = <0>"),
        "alpha.dtb, /memory-regions/code: property pages-count = 0x0 is empty [RegionEmpty]: write pages-count = <N>; with the number of pages, at least 1"
    );
    assert_eq!(
        region("base-address = <0x0e800000>;\n\t\t\tpages-count = <0x100000 0>"),
        "alpha.dtb, /memory-regions/code: property pages-count = 0x10000000000000 is larger than the address space [RegionTooLarge]: write pages-count = <N>; with the number of pages, at least 1"
    );
}

#[test]
fn p10_write_and_execute_without_read() {
    assert_eq!(
        of_alpha(&[("attributes = <0x5>", "attributes = <0x6>")]),
        "alpha.dtb, /memory-regions/code: property attributes = 0x6 is not a permission that a region may have [BadPermissions]: write attributes = <1> (read), <3> (read and write) or <5> (read and execute), plus 8 for non-secure memory, which is never executable"
    );
}

#[test]
fn p11_something_twice_or_reserved() {
    let twice = (
        "<0xfed46119 0xb57c449f 0xa852c15f 0xd346b1fc>",
        "<0xb4b5671e 0x4a904fe1 0xb81ffb13 0xdae1dacb>",
    );
    assert_eq!(
        of_alpha(&[twice]),
        "alpha.dtb, /: property uuid names one UUID twice [DuplicateUuid]: write uuid = <W0 W1 W2 W3>; with four cells for each UUID, none of them nil or twice"
    );
    assert_eq!(
        of_alpha(&[("<56 0x900>, <57", "<56 0x900>, <56")]),
        "alpha.dtb, /device-regions/watchdog: property interrupts = 0x38 names an interrupt that is already assigned [DuplicateInterrupt]: write interrupts = <INTID ATTRIBUTES ...>; each INTID once in the system"
    );
    assert_eq!(
        of_both(
            &[],
            &[("boot-order = <1>", "id = <0xffff>; boot-order = <1>")]
        ),
        "alpha.dtb, /: property id = 0xffff is not an id for a partition [ReservedId]: write id = <ID>; with an unused id from 0x8001 to 0xfffe, or leave it out for 0x8000 + N of vmN"
    );
}

#[test]
fn p12_a_boot_order_twice() {
    assert_eq!(
        of_second(&[("load-address = <0x0e300000>", "load-address = <0x0e400000>")]),
        "alpha.dtb, /: property boot-order = 0x1 is not a boot order of its own (first) [BootOrder]: write boot-order = <N>; below 0xffff and unlike that of every other partition"
    );
}

#[test]
fn p13_execution_contexts_that_cannot_be_had() {
    assert_eq!(
        of_both(
            &[],
            &[("execution-ctx-count = <4>", "execution-ctx-count = <3>")]
        ),
        "alpha.dtb, /: property execution-ctx-count = 0x3 is not a possible number of execution contexts [ExecutionContexts]: write execution-ctx-count = <N>; 1, or for S-EL1 the number of the partition's vCPUs"
    );
}

#[test]
fn p14_an_entry_point_outside_the_memory() {
    assert_eq!(
        of_both(
            &[],
            &[(
                "entrypoint-offset = <0x4000>",
                "entrypoint-offset = <0x100000>"
            )]
        ),
        "alpha.dtb, /: property entrypoint-offset = 0x100000 does not fit the partition's layout [BadLayout]: write entrypoint-offset = <OFFSET>; from the load address to an instruction of the image"
    );
}

#[test]
fn v10_a_version_that_this_spmc_does_not_speak() {
    for (version, shown) in [
        ("0x00010004", "0x10004"),
        ("0x00020000", "0x20000"),
        ("0x00000009", "0x9"),
    ] {
        let line = format!("ffa-version = <{version}>");
        assert_eq!(
            of_alpha(&[("ffa-version = <0x00010002>", &line)]),
            format!(
                "alpha.dtb, /: property ffa-version = {shown} is not supported [NotCompatible]: write ffa-version = <0x10000>; to <0x10003>; for FF-A 1.0 to 1.3"
            )
        );
    }
}

#[test]
fn p15_s_el0_with_several_contexts() {
    assert_eq!(
        of_alpha(&[("exception-level = <2>", "exception-level = <1>")]),
        "alpha.dtb, /: property execution-ctx-count = 0x4 is not supported [NotCompatible]: write execution-ctx-count = <N>; 1, or for S-EL1 the number of the partition's vCPUs"
    );
}

#[test]
fn p16_a_package_of_an_unknown_version() {
    let package = spkg(3, blob("partition.dts", &[]), &[0; 64]);
    let error = Package::parse(&package, 0x10_0000).unwrap_err();
    assert_eq!(
        format!("alpha.pkg: {error}"),
        "alpha.pkg: package: version 3 is not supported [BadPackage]: write 1 or 2"
    );
    let mut list = packages::transfer_list(blob("partition.dts", &[]), &[], &[0; 64]);
    list[100] ^= 1;
    let error = Package::parse(&list, 0x10_0000).unwrap_err();
    assert_eq!(
        format!("alpha.pkg: {error}"),
        "alpha.pkg: package: transfer list: the bytes add up to 0x01 [BadPackage]: correct the checksum so that they add up to 0"
    );
}

#[test]
fn p17_a_stream_beyond_the_smmu_and_a_missing_smmu() {
    let small = [(
        "reg = <0x09050000 0x20000>;",
        "reg = <0x09050000 0x20000>; bulkhead,sid-size = <2>;",
    )];
    assert_eq!(
        of_both(&small, &[]),
        "alpha.dtb, /memory-regions/outside: property stream-ids = 0x5 does not describe DMA consistently [DmaPolicy]: write stream IDs that fit the SMMU's bulkhead,sid-size"
    );
    let other = [
        ("smmu-id = <0>", "smmu-id = <2>"),
        ("smmu-id = <0>", "smmu-id = <2>"),
    ];
    assert_eq!(
        of_both(&[], &other),
        "alpha.dtb, /memory-regions/outside: property smmu-id = 0x2 does not describe DMA consistently [DmaPolicy]: write the position of one of the SPMC manifest's SMMU nodes, from 0"
    );
    assert_eq!(
        of_alpha(&[("permissions = <0x3 0x3>", "permissions = <0x7 0x7>")]),
        "alpha.dtb, /memory-regions/outside: property stream-ids-access-permissions = 0x7 does not describe DMA consistently [DmaPolicy]: write one equal permission for each of stream-ids, none that attributes lacks"
    );
}

#[test]
fn p17_streams_that_just_fit_are_accepted() {
    let fits = [(
        "reg = <0x09050000 0x20000>;",
        "reg = <0x09050000 0x20000>; bulkhead,sid-size = <3>;",
    )];
    let spmc = spmc("spmc.dts", &fits).unwrap();
    let alpha = sp("partition.dts", &[]).unwrap();
    let vm = spmc.partitions().next().unwrap();
    assert!(check_partition(&spmc, &vm, &alpha, &[], core::iter::empty()).is_ok());
}

#[test]
fn p18_direct_requests_2_below_ffa_1_2() {
    assert_eq!(
        of_alpha(&[("ffa-version = <0x00010002>", "ffa-version = <0x00010001>")]),
        "alpha.dtb, /: property messaging-method = 0x607 contradicts the partition's version [MessagingContradiction]: write messaging-method = <BITS>; of bits 0, 1, 2, 9 and 10, the last two from ffa-version 1.2"
    );
}

#[test]
fn p19_lifecycle_actions_that_the_spmc_manifest_does_not_allow() {
    let action = |action: &str| {
        [(
            "boot-order = <1>;".to_owned(),
            format!("abort-action = <{action}>; boot-order = <1>;"),
        )]
    };
    let said = |spmc_changes: &[(&str, &str)], number: &str| {
        let [(from, to)] = action(number);
        of_both(spmc_changes, &[(&from, &to)])
    };
    assert_eq!(
        said(&[], "3"),
        "alpha.dtb, /: property abort-action = 0x3 is not an action that the SPMC manifest allows [LifecyclePolicy]: write abort-action = <0>; (stop), <1>; (destroy), <2>; (restart, with bulkhead,image-copy in vmN) or <3>; (propagate, with bulkhead,critical; in vmN)"
    );
    assert_eq!(
        said(&[], "2"),
        "alpha.dtb, /: property abort-action = 0x2 is not an action that the SPMC manifest allows [LifecyclePolicy]: write abort-action = <0>; (stop), <1>; (destroy), <2>; (restart, with bulkhead,image-copy in vmN) or <3>; (propagate, with bulkhead,critical; in vmN)"
    );
    let copy = |address: &str| format!("vcpu_count = <4>; bulkhead,image-copy = <{address}>;");
    let placed = |address: &str| said(&[("vcpu_count = <4>;", &copy(address))], "2");
    assert_eq!(
        placed("0x0e380000"),
        "spmc.dtb, /hypervisor/vm1: property bulkhead,image-copy = 0xe380000 overlaps the partition's own memory [RegionOverlap]: write bulkhead,image-copy = <PA>; for mem_size bytes of secure memory that are nobody else's"
    );
    assert!(placed("0x40000000").contains("[OutsideAllowedMemory]"));
    assert!(placed("0x0e500800").contains("[RegionUnaligned]"));
    assert!(placed("0xffffffff 0xfffff000").contains("[Overflow]"));
    // The copy is nobody else's: not even a region's of the partition.
    assert!(placed("0x0e580000").contains("/memory-regions/rx-buffer: property base-address = 0xe600000 overlaps bulkhead,image-copy [RegionOverlap]"));
}

#[test]
fn p19_lifecycle_actions_with_what_they_need_are_accepted() {
    for (vm, action, copy) in [
        ("bulkhead,critical;", 3, None),
        (
            "bulkhead,image-copy = <0x0e900000>;",
            2,
            Some((0x0e90_0000, 0x10_0000)),
        ),
        ("", 0, None),
        ("", 1, None),
    ] {
        let vm = format!("vcpu_count = <4>; {vm}");
        let action = format!("abort-action = <{action}>; boot-order = <1>;");
        let spmc = spmc("spmc.dts", &[("vcpu_count = <4>;", &vm)]).unwrap();
        let alpha = sp("partition.dts", &[("boot-order = <1>;", &action)]).unwrap();
        let vm = spmc.partitions().next().unwrap();
        let layout = check_partition(&spmc, &vm, &alpha, &[], core::iter::empty()).unwrap();
        assert_eq!(layout.image_copy.map(|copy| (copy.base, copy.size)), copy);
    }
}

#[test]
fn p20_no_room_for_the_boot_information() {
    let spmc: SpmcManifest<'_> = spmc("spmc.dts", &[]).unwrap();
    let bytes = blob(
        "partition.dts",
        &[(
            "entrypoint-offset = <0x4000>",
            "entrypoint-offset = <0x2000>",
        )],
    );
    let alpha = SpManifest::parse(bytes).unwrap();
    let vm = spmc.partitions().next().unwrap();
    let layout = check_partition(&spmc, &vm, &alpha, &[], core::iter::empty()).unwrap();
    let check = |bytes: &[u8]| {
        let package = Package::parse(bytes, layout.memory.size).unwrap();
        check_package(&package, &alpha, &layout).map_err(text)
    };
    let image = [0; 0x2000];
    assert_eq!(
        check(&spkg(1, bytes, &image)).unwrap_err(),
        "alpha.dtb, /: property gp-register-num = 0x0 asks for boot information that the package has no room for [BootInfoTooSmall]: leave the first page of the package to it (SPKG version 2), or leave gp-register-num out"
    );
    let hobs_first = List::new()
        .entry(TAG_HOB_LIST, &[0; 8])
        .page_entry(TAG_MANIFEST, bytes)
        .page_entry(TAG_BINARY, &image);
    assert!(
        check(&hobs_first.finish())
            .unwrap_err()
            .contains("[BootInfoTooSmall]")
    );
    assert_eq!(check(&spkg(2, bytes, &image)), Ok(()));
}

#[test]
fn p21_a_tree_that_is_too_large() {
    let mut bytes = blob("partition.dts", &[]).to_vec();
    bytes[4..8].copy_from_slice(&0x1_0001_u32.to_be_bytes());
    assert_eq!(
        of_bytes(&bytes),
        "alpha.dtb, /: the device tree is too large (0x10001 bytes) [TreeTooLarge]: keep a manifest below 64 KiB"
    );
}
