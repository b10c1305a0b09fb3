// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a manifest must not say by itself: each case with its rule, its property, and for some the sentence.

mod fixture;

use bulkhead_manifest::Rule;
use fixture::{changed, dtc, sp, spmc};

/// A change to a source, the rule that it breaks, and the property.
type Case<'a> = (&'a str, &'a str, Rule, Option<&'a str>);

fn spmc_refuses(cases: &[Case<'_>]) {
    for &(from, to, rule, property) in cases {
        let error = spmc("spmc.dts", &[(from, to)]).expect_err(to);
        assert_eq!(
            (error.rule, error.property),
            (rule, property),
            "{from} -> {to}: {error}"
        );
        assert!(error.to_string().ends_with(error.fix));
    }
}

fn sp_refuses(name: &str, cases: &[Case<'_>]) {
    for &(from, to, rule, property) in cases {
        let error = sp(name, &[(from, to)]).expect_err(to);
        assert_eq!(
            (error.rule, error.property),
            (rule, property),
            "{from} -> {to}: {error}"
        );
        assert!(error.to_string().ends_with(error.fix));
    }
}

#[test]
fn p5_an_error_is_a_sentence_that_says_what_to_write() {
    let error = spmc("spmc.dts", &[("load_address = <0x0e400000>;", "")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "SPMC manifest, /hypervisor/vm2: property load_address is missing [MissingProperty]: write load_address = <PA>;"
    );
    let error = sp(
        "partition.dts",
        &[("exception-level = <2>", "exception-level = <3>")],
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "partition manifest, /: property exception-level = 0x3 is not supported [NotCompatible]: write \
         exception-level = <1>; for S-EL0 or <2>; for S-EL1"
    );
}

#[test]
#[rustfmt::skip] // One case a line.
fn p5_nodes_and_properties_that_the_spmc_needs() {
    spmc_refuses(&[
        ("arm,ffa-core-manifest-1.0", "arm,ffa-core-manifest-2.0", Rule::NotCompatible, Some("compatible")),
        ("attribute {", "attributes {", Rule::MissingNode, None),
        ("hypervisor {", "hyp {", Rule::MissingNode, None),
        ("hafnium,hafnium", "other,spmc", Rule::NotCompatible, Some("compatible")),
        ("\tcpus {", "\tcores {", Rule::MissingNode, None),
        ("spmc_id = <0x8000>;", "", Rule::MissingProperty, Some("spmc_id")),
        ("maj_ver = <0x1>;", "", Rule::MissingProperty, Some("maj_ver")),
        ("min_ver = <0x2>;", "", Rule::MissingProperty, Some("min_ver")),
        ("is_ffa_partition;", "", Rule::MissingProperty, Some("is_ffa_partition")),
        ("is_ffa_partition;", "is_ffa_partition = <1>;", Rule::MalformedBoolean, Some("is_ffa_partition")),
        ("debug_name = \"alpha\";", "", Rule::MissingProperty, Some("debug_name")),
        ("debug_name = \"alpha\";", "debug_name;", Rule::MalformedString, Some("debug_name")),
        ("debug_name = \"alpha\";", "debug_name = [61];", Rule::MalformedString, Some("debug_name")),
        ("debug_name = \"alpha\";", "debug_name = \"a\", \"b\";", Rule::MalformedString, Some("debug_name")),
        ("debug_name = \"alpha\";", "debug_name = \"a\\nb\";", Rule::MalformedString, Some("debug_name")),
        ("debug_name = \"alpha\";", "debug_name = [ff 00];", Rule::MalformedString, Some("debug_name")),
        ("load_address = <0x0e300000>", "load_address", Rule::MalformedInteger, Some("load_address")),
        ("load_address = <0x0e300000>", "load_address = [00]", Rule::MalformedInteger, Some("load_address")),
        ("load_address = <0x0e300000>", "load_address = <0 0 0>", Rule::MalformedInteger, Some("load_address")),
        ("smc_whitelist = <", "smc_whitelist = [00], <", Rule::MalformedInteger, Some("smc_whitelist")),
        ("0x20 0x0 0x0 0x200000", "0x20 0x0 0x0", Rule::MalformedInteger, Some("reg")),
        ("reg = <0x20 0x0 0x0 0x200000>;", "", Rule::MissingProperty, Some("reg")),
        ("reg = <0x0 0x2>;", "", Rule::MissingProperty, Some("reg")),
        ("reg = <0x0 0x2>;", "reg = <0x2>;", Rule::MalformedInteger, Some("reg")),
        ("reg = <0x0 0x2>;", "reg = <0x0 0x100>;", Rule::DuplicateId, Some("reg")),
        ("reg = <0x09040000 0x1000>;", "", Rule::MissingProperty, Some("reg")),
        ("#distributor-regions = <2>", "#distributor-regions = <6>", Rule::TooMany, Some("#distributor-regions")),
        ("#redistributor-regions = <3>", "#redistributor-regions = <3>; #spi-regions = <1>", Rule::TooMany, Some("#spi-regions")),
        ("#redistributor-regions = <3>", "#redistributor-regions = <4>", Rule::TooMany, Some("#redistributor-regions")),
        ("init-timeout-ms = <5000>", "init-timeout-ms = <0>", Rule::MalformedInteger, Some("bulkhead,init-timeout-ms")),
        ("run-timeout-ms = <100>", "run-timeout-ms = <60001>", Rule::MalformedInteger, Some("bulkhead,run-timeout-ms")),
        ("run-timeout-ms = <100>;", "page-memory-base = <0x0ee00000>;", Rule::MissingProperty, Some("bulkhead,page-memory-size")),
        ("run-timeout-ms = <100>;", "page-memory-size = <0x1000>;", Rule::MissingProperty, Some("bulkhead,page-memory-base")),
        ("run-timeout-ms = <100>;", "page-memory-base = <0x0ee00800>; bulkhead,page-memory-size = <0x1000>;", Rule::RegionUnaligned, Some("bulkhead,page-memory-base")),
        ("run-timeout-ms = <100>;", "page-memory-base = <0x0ee00000>; bulkhead,page-memory-size = <0x800>;", Rule::RegionUnaligned, Some("bulkhead,page-memory-size")),
        ("run-timeout-ms = <100>;", "page-memory-base = <0x0ee00000>; bulkhead,page-memory-size = <0>;", Rule::RegionEmpty, Some("bulkhead,page-memory-size")),
        ("run-timeout-ms = <100>;", "page-memory-base = <0xffffffff 0xfffff000>; bulkhead,page-memory-size = <0x2000>;", Rule::Overflow, Some("bulkhead,page-memory-size")),
        ("run-timeout-ms = <100>;", "page-memory-base = <0x40000000>; bulkhead,page-memory-size = <0x1000>;", Rule::OutsideAllowedMemory, Some("bulkhead,page-memory-base")),
    ]);
}

#[test]
fn b42_secure_memory_is_required() {
    let source =
        changed("spmc.dts", &[]).replace("device_type = \"memory\"", "device_type = \"none\"");
    let bytes = dtc(&source);
    let error = bulkhead_manifest::SpmcManifest::parse(&bytes).unwrap_err();
    assert_eq!(error.rule, Rule::MissingNode);
    assert_eq!(error.other, Some("memory"));
}

#[test]
#[rustfmt::skip] // One case a line.
fn p6_p9_addresses_of_the_spmc_manifest() {
    spmc_refuses(&[
        ("0x20 0x0 0x0 0x200000", "0xffffffff 0xfffff000 0x0 0x1000", Rule::Overflow, Some("reg")),
        ("0x20 0x0 0x0 0x200000", "0x20 0x800 0x0 0x200000", Rule::RegionUnaligned, Some("reg")),
        ("binary_size = <0x80000>", "binary_size = <0xffffffff 0xffffffff>", Rule::Overflow, Some("binary_size")),
        ("entrypoint = <0x0 0x0e100000>", "entrypoint = <0x0 0x0e180000>", Rule::BadLayout, Some("entrypoint")),
        ("load_address = <0x0e300000>", "load_address = <0x0e300800>", Rule::RegionUnaligned, Some("load_address")),
        ("load_address = <0x0e300000>", "load_address = <0>", Rule::RegionUnaligned, Some("load_address")),
        ("mem_size = <0x100000>", "mem_size = <0>", Rule::RegionEmpty, Some("mem_size")),
        ("mem_size = <0x100000>", "mem_size = <0xffffffff 0xffffffff>", Rule::Overflow, Some("mem_size")),
        ("mem_size = <0x100000>", "mem_size = <0xffffffff 0xf1d00001>", Rule::Overflow, Some("mem_size")),
    ]);
}

#[test]
#[rustfmt::skip] // One case a line.
fn p11_p13_numbers_of_the_spmc_manifest() {
    spmc_refuses(&[
        ("spmc_id = <0x8000>", "spmc_id = <0x7fff>", Rule::ReservedId, Some("spmc_id")),
        ("spmc_id = <0x8000>", "spmc_id = <0xffff>", Rule::ReservedId, Some("spmc_id")),
        ("spmc_id = <0x8000>", "spmc_id = <0x18000>", Rule::ReservedId, Some("spmc_id")),
        ("spmc_id = <0x8000>", "spmc_id = <0x8002>", Rule::DuplicateId, None),
        ("maj_ver = <0x1>", "maj_ver = <0x2>", Rule::NotCompatible, Some("maj_ver")),
        ("min_ver = <0x2>", "min_ver = <0x4>", Rule::NotCompatible, Some("min_ver")),
        ("exec_state = <0x0>", "exec_state = <0x1>", Rule::NotCompatible, Some("exec_state")),
        ("vcpu_count = <4>", "vcpu_count = <0>", Rule::ExecutionContexts, Some("vcpu_count")),
        ("vcpu_count = <4>", "vcpu_count = <0x10000>", Rule::ExecutionContexts, Some("vcpu_count")),
        ("vm1 {", "vm0 {", Rule::ReservedId, None),
        ("vm1 {", "vm4 {", Rule::NotContiguous, None),
        ("vm1 {", "vm01 {", Rule::NotContiguous, None),
        ("vm1 {", "vm1x {", Rule::NotContiguous, None),
        ("vm1 {", "vm99999999999 {", Rule::NotContiguous, None),
        ("vm1 {", "vm3 {", Rule::DuplicateNode, None),
    ]);
}

#[test]
#[rustfmt::skip] // One case a line.
fn p5_nodes_and_properties_that_a_partition_needs() {
    sp_refuses("partition.dts", &[
        ("arm,ffa-manifest-1.0", "arm,ffa-manifest-1.2", Rule::NotCompatible, Some("compatible")),
        ("ffa-version = <0x00010002>;", "", Rule::MissingProperty, Some("ffa-version")),
        ("messaging-method = <0x607>;", "", Rule::MissingProperty, Some("messaging-method")),
        ("execution-ctx-count = <4>;", "", Rule::MissingProperty, Some("execution-ctx-count")),
        ("execution-ctx-count = <4>;", "execution-ctx-count = <1 0>;", Rule::MalformedInteger, Some("execution-ctx-count")),
        ("exception-level = <2>;", "", Rule::MissingProperty, Some("exception-level")),
        ("execution-state = <0>;", "", Rule::MissingProperty, Some("execution-state")),
        ("notification-support;", "notification-support = <1>;", Rule::MalformedBoolean, Some("notification-support")),
        ("description = \"alpha\";", "description = <1>;", Rule::MalformedString, Some("description")),
        ("\tuuid = <", "\tid = [00]; uuid = <", Rule::MalformedInteger, Some("id")),
        ("boot-info\";", "boot\";", Rule::NotCompatible, Some("compatible")),
        ("rx_tx-buffer\";", "buffers\";", Rule::NotCompatible, Some("compatible")),
        ("rx-buffer = <&rx>;", "", Rule::MissingProperty, Some("rx-buffer")),
        ("tx-buffer = <&tx>;", "tx-buffer = <&rx>;", Rule::RegionOverlap, Some("tx-buffer")),
        ("ffa-manifest-memory-regions", "regions", Rule::NotCompatible, Some("compatible")),
        ("ffa-manifest-device-regions", "regions", Rule::NotCompatible, Some("compatible")),
        ("pages-count = <2>;", "", Rule::MissingProperty, Some("pages-count")),
        ("attributes = <0x1>;", "", Rule::MissingProperty, Some("attributes")),
        ("base-address = <0x0 0x09100000>;", "", Rule::MissingProperty, Some("base-address")),
        ("interrupts = <56 0x900>,", "interrupts = <56 0x900 1>,", Rule::MalformedInteger, Some("interrupts")),
        ("interrupts-target = <57 0x1 0x100>", "interrupts-target = <57 0x1>", Rule::MalformedInteger, Some("interrupts-target")),
    ]);
}

#[test]
#[rustfmt::skip] // One case a line.
fn p11_uuids_of_binding_1_0() {
    let first = "uuid = <0xb4b5671e 0x4a904fe1 0xb81ffb13 0xdae1dacb>";
    let second = "<0xfed46119 0xb57c449f 0xa852c15f 0xd346b1fc>";
    sp_refuses("partition.dts", &[
            (first, "other = <1>", Rule::MissingProperty, Some("uuid")),
            (first, "uuid = <1 2 3>", Rule::MalformedUuid, Some("uuid")),
            (second, "<1 2 3>", Rule::MalformedUuid, Some("uuid")),
            (second, "<0 0 0 0>", Rule::NilUuid, Some("uuid")),
            (second, "<0xb4b5671e 0x4a904fe1 0xb81ffb13 0xdae1dacb>", Rule::DuplicateUuid, Some("uuid")),
    ]);
}

#[test]
#[rustfmt::skip] // One case a line.
fn p11_services_of_binding_1_1() {
    sp_refuses("services.dts", &[
        ("services {", "service-list {", Rule::MissingNode, None),
        ("arm,ffa-manifest-services", "other", Rule::NotCompatible, Some("compatible")),
        ("uuid = \"486178e0-e7f8-11e3-bc5e-0002a5d5c51b\";", "", Rule::MissingProperty, Some("uuid")),
        ("\"486178e0-", "\"486178e0", Rule::MalformedUuid, Some("uuid")),
        ("\"486178e0-", "\"486178g0-", Rule::MalformedUuid, Some("uuid")),
        ("486178e0-e7f8-11e3-bc5e-0002a5d5c51b", "00000000-0000-0000-0000-000000000000", Rule::NilUuid, Some("uuid")),
        ("486178e0-e7f8-11e3-bc5e-0002a5d5c51b", "E474D87E-5731-4044-A727-CB3E8CF3C8DF", Rule::DuplicateUuid, Some("uuid")),
        ("messaging-method = <0x200>;", "", Rule::MissingProperty, Some("messaging-method")),
    ]);
    let none = changed("services.dts", &[]);
    let start = none.find("\t\tservice0").unwrap();
    let end = none.find("\tmemory-regions").unwrap();
    let bytes = dtc(&format!("{}\t}};\n\n{}", &none[..start], &none[end..]));
    let error = bulkhead_manifest::SpManifest::parse(&bytes).unwrap_err();
    assert_eq!(
        (error.rule, error.other),
        (Rule::MissingNode, Some("services"))
    );
}

#[test]
#[rustfmt::skip] // One case a line.
fn p13_p15_execution_contexts_and_levels() {
    sp_refuses("partition.dts", &[
        ("execution-ctx-count = <4>", "execution-ctx-count = <0>", Rule::ExecutionContexts, Some("execution-ctx-count")),
        ("execution-ctx-count = <4>", "execution-ctx-count = <0x10000>", Rule::ExecutionContexts, Some("execution-ctx-count")),
        ("execution-ctx-count = <4>", "execution-ctx-count = <0xffffffff>", Rule::ExecutionContexts, Some("execution-ctx-count")),
        ("execution-ctx-count = <4>", "execution-ctx-count = <1 0>", Rule::MalformedInteger, Some("execution-ctx-count")),
        ("exception-level = <2>", "exception-level = <0>", Rule::NotCompatible, Some("exception-level")),
        ("exception-level = <2>", "exception-level = <6>", Rule::NotCompatible, Some("exception-level")),
        ("exception-level = <2>", "exception-level = <1>", Rule::NotCompatible, Some("execution-ctx-count")),
        ("execution-state = <0>", "execution-state = <2>", Rule::NotCompatible, Some("execution-state")),
        ("ffa-version = <0x00010002>", "ffa-version = <0x00010004>", Rule::NotCompatible, Some("ffa-version")),
        ("ffa-version = <0x00010002>", "ffa-version = <0x00020000>", Rule::NotCompatible, Some("ffa-version")),
        ("ffa-version = <0x00010002>", "ffa-version = <0x80010002>", Rule::NotCompatible, Some("ffa-version")),
        ("xlat-granule = <0>", "xlat-granule = <3>", Rule::UnknownValue, Some("xlat-granule")),
        ("boot-order = <1>", "boot-order = <0x10000>", Rule::BootOrder, Some("boot-order")),
    ]);
    sp_refuses("services.dts", &[
        ("execution-ctx-count = <1>", "execution-ctx-count = <4>", Rule::NotCompatible, Some("execution-ctx-count")),
        ("lifecycle-support;", "managed-exit;", Rule::NotCompatible, Some("managed-exit")),
        ("lifecycle-support;", "ns-interrupts-action = <1>;", Rule::NotCompatible, Some("ns-interrupts-action")),
        ("lifecycle-support;", "sri-interrupts-policy = <1>;", Rule::NotCompatible, Some("sri-interrupts-policy")),
    ]);
}

#[test]
#[rustfmt::skip] // One case a line.
fn p18_messages_interrupts_and_registers() {
    sp_refuses("partition.dts", &[
        ("ffa-version = <0x00010002>", "ffa-version = <0x00010001>", Rule::MessagingContradiction, Some("messaging-method")),
        ("messaging-method = <0x607>", "messaging-method = <0x8>", Rule::UnknownValue, Some("messaging-method")),
        ("messaging-method = <0x607>", "messaging-method = <0x80000001>", Rule::UnknownValue, Some("messaging-method")),
        ("messaging-method = <0x607>", "messaging-method = <1 2 4>", Rule::MalformedInteger, Some("messaging-method")),
        ("ns-interrupts-action = <0>", "ns-interrupts-action = <3>", Rule::UnknownValue, Some("ns-interrupts-action")),
        ("ns-interrupts-action = <0>", "ns-interrupts-action = <2>", Rule::NotCompatible, Some("other-s-interrupts-action")),
        ("other-s-interrupts-action = <0>", "other-s-interrupts-action = <2>", Rule::UnknownValue, Some("other-s-interrupts-action")),
        ("sri-interrupts-policy = <3>", "sri-interrupts-policy = <4>", Rule::UnknownValue, Some("sri-interrupts-policy")),
        ("vm-availability-messages = <0x3>", "vm-availability-messages = <0x4>", Rule::UnknownValue, Some("vm-availability-messages")),
        ("vm-availability-messages = <0x3>", "vm-availability-messages = <0x3>; bulkhead,request-queue = <0>", Rule::RequestQueue, Some("bulkhead,request-queue")),
        ("vm-availability-messages = <0x3>", "vm-availability-messages = <0x3>; bulkhead,request-queue = <9>", Rule::RequestQueue, Some("bulkhead,request-queue")),
        ("vm-availability-messages = <0x3>", "vm-availability-messages = <0x3>; bulkhead,run-timeout-ms = <0>", Rule::MalformedInteger, Some("bulkhead,run-timeout-ms")),
        ("vm-availability-messages = <0x3>", "vm-availability-messages = <0x3>; bulkhead,run-timeout-ms = <60001>", Rule::MalformedInteger, Some("bulkhead,run-timeout-ms")),
        ("vm-availability-messages = <0x3>", "vm-availability-messages = <0x3>; bulkhead,interrupt-share = <0>", Rule::UnknownValue, Some("bulkhead,interrupt-share")),
        ("vm-availability-messages = <0x3>", "vm-availability-messages = <0x3>; bulkhead,interrupt-share = <101>", Rule::UnknownValue, Some("bulkhead,interrupt-share")),
        ("vm-availability-messages = <0x3>", "vm-availability-messages = <0x3>; bulkhead,virtual-counter-from-boot = <1>", Rule::MalformedBoolean, Some("bulkhead,virtual-counter-from-boot")),
        ("gp-register-num = <0>", "gp-register-num = <0>; bulkhead,ipa-base = <0x40000800>", Rule::RegionUnaligned, Some("bulkhead,ipa-base")),
        ("gp-register-num = <0>", "gp-register-num = <0>; bulkhead,retrieved-memory-base = <0x40000000>", Rule::MissingProperty, Some("bulkhead,retrieved-memory-size")),
        ("gp-register-num = <0>", "gp-register-num = <0>; bulkhead,retrieved-memory-size = <0x1000>", Rule::MissingProperty, Some("bulkhead,retrieved-memory-base")),
        ("gp-register-num = <0>", "gp-register-num = <0>; bulkhead,retrieved-memory-base = <0x40000800>; bulkhead,retrieved-memory-size = <0x1000>", Rule::RegionUnaligned, Some("bulkhead,retrieved-memory-base")),
        ("gp-register-num = <0>", "gp-register-num = <0>; bulkhead,retrieved-memory-base = <0x40000000>; bulkhead,retrieved-memory-size = <0>", Rule::RegionEmpty, Some("bulkhead,retrieved-memory-size")),
        ("gp-register-num = <0>", "gp-register-num = <0>; bulkhead,retrieved-memory-base = <0x40000000>; bulkhead,retrieved-memory-size = <0x800>", Rule::RegionUnaligned, Some("bulkhead,retrieved-memory-size")),
        ("gp-register-num = <0>", "gp-register-num = <0>; bulkhead,retrieved-memory-base = <0xffffffff 0xfffff000>; bulkhead,retrieved-memory-size = <0x2000>", Rule::Overflow, Some("bulkhead,retrieved-memory-base")),
        ("pages-count = <2>;", "pages-count = <2>; bulkhead,ipa-address = <0x1>;", Rule::RegionUnaligned, Some("bulkhead,ipa-address")),
        ("pages-count = <2>;", "pages-count = <2>; bulkhead,ipa-address = <0xffffffff 0xfffff000>;", Rule::Overflow, Some("bulkhead,ipa-address")),
        ("base-address = <0x0 0x09100000>;", "base-address = <0x0 0x09100000>; bulkhead,ipa-address = <0x800>;", Rule::RegionUnaligned, Some("bulkhead,ipa-address")),
        ("gp-register-num = <0>", "gp-register-num = <4>", Rule::UnknownValue, Some("gp-register-num")),
    ]);
    sp_refuses("services.dts", &[(
            "abort-action = <2>",
            "abort-action = <4>",
            Rule::UnknownValue,
            Some("abort-action"),
        )],
    );
}

#[test]
#[rustfmt::skip] // One case a line.
fn p6_p9_extents_of_regions() {
    let page = "load-address-relative-offset = <0x400000>;\n\t\t\tpages-count = <2>";
    sp_refuses("partition.dts", &[
        ("<0x0 0x0e600000>", "<0x0 0x0e600800>", Rule::RegionUnaligned, Some("base-address")),
        ("offset = <0x400000>", "offset = <0x400001>", Rule::RegionUnaligned, Some("load-address-relative-offset")),
        ("<0x0 0x09100000>", "<0x0 0x09100010>", Rule::RegionUnaligned, Some("base-address")),
        ("xlat-granule = <0>", "xlat-granule = <2>", Rule::RegionUnaligned, Some("base-address")),
            (page, "load-address-relative-offset = <0x400000>;\n\t\t\tpages-count = <0>", Rule::RegionEmpty, Some("pages-count")),
            (page, "load-address-relative-offset = <0x400000>;\n\t\t\tpages-count = <0x100000 0>", Rule::RegionTooLarge, Some("pages-count")),
            (page, "load-address-relative-offset = <0x400000>;\n\t\t\tpages-count = <0xfffff 0xffffffff>", Rule::Overflow, Some("pages-count")),
        ("<0x0 0x0e600000>", "<0xffffffff 0xfffff000>", Rule::Overflow, Some("pages-count")),
        ("pages-count = <3>", "pages-count = <0>", Rule::RegionEmpty, Some("pages-count")),
    ]);
}

#[test]
#[rustfmt::skip] // One case a line.
fn p7_regions_of_one_partition_overlap() {
    sp_refuses("partition.dts", &[
        // Equal, nested in a larger one, enclosing, and by one page.
        ("<0x0 0x0e601000>", "<0x0 0x0e600000>", Rule::RegionOverlap, Some("base-address")),
        ("<0x0 0x0e601000>;\n\t\t\tpages-count = <1>", "<0x0 0x0e5ff000>;\n\t\t\tpages-count = <4>", Rule::RegionOverlap, Some("base-address")),
        ("offset = <0x400000>", "offset = <0xf8000>", Rule::RegionOverlap, Some("load-address-relative-offset")),
        ("offset = <0x400000>", "offset = <0xff000>", Rule::RegionOverlap, Some("load-address-relative-offset")),
        // Devices against devices and memory.
        ("<0x0 0x09200000>", "<0x0 0x09101000>", Rule::RegionOverlap, Some("base-address")),
        ("<0x0 0x09200000>", "<0x0 0x0e800000>", Rule::RegionOverlap, Some("base-address")),
    ]);
}

#[test]
#[rustfmt::skip] // One case a line.
fn p10_permissions_of_regions() {
    let memory = |bits: &str| format!("attributes = <{bits}>; }};\n\t\tinside {{");
    for bits in ["0", "2", "4", "6", "0xd", "0xf", "0x10", "0x80000001"] {
        let source = changed("partition.dts", &[]).replacen(
            "attributes = <0x3>;\n\t\t};\n\t\tinside {",
            &memory(bits),
            1,
        );
        let bytes = dtc(&source);
        let error = bulkhead_manifest::SpManifest::parse(&bytes).expect_err(bits);
        assert_eq!(error.rule, Rule::BadPermissions, "{bits}");
    }
    sp_refuses("partition.dts", &[
        ("attributes = <0x3>;\n\t\t\tinterrupts", "attributes = <0x5>;\n\t\t\tinterrupts", Rule::BadPermissions, Some("attributes")),
        ("attributes = <0x3>;\n\t\t\tinterrupts", "attributes = <0x2>;\n\t\t\tinterrupts", Rule::BadPermissions, Some("attributes")),
    ]);
}

#[test]
#[rustfmt::skip] // One case a line.
fn b24_writable_and_executable_memory_is_for_s_el1_only() {
    assert!(
        sp(
            "partition.dts",
            &[("attributes = <0x5>", "attributes = <0x7>")]
        )
        .is_ok()
    );
    sp_refuses("services.dts", &[(
            "attributes = <0x3>",
            "attributes = <0x7>",
            Rule::BadPermissions,
            Some("attributes"),
        )],
    );
}

#[test]
#[rustfmt::skip] // One case a line.
fn p11_interrupts_of_devices() {
    sp_refuses("partition.dts", &[
        ("<57 0xb80>", "<56 0xb80>", Rule::DuplicateInterrupt, Some("interrupts")),
        ("<57 0xb80>", "<1020 0xb80>", Rule::ReservedInterrupt, Some("interrupts")),
        ("<57 0xb80>", "<1023 0xb80>", Rule::ReservedInterrupt, Some("interrupts")),
        ("<57 0xb80>", "<1055 0xb80>", Rule::ReservedInterrupt, Some("interrupts")),
        ("<57 0xb80>", "<1120 0xb80>", Rule::ReservedInterrupt, Some("interrupts")),
        ("<57 0xb80>", "<4095 0xb80>", Rule::ReservedInterrupt, Some("interrupts")),
        ("<57 0xb80>", "<5120 0xb80>", Rule::ReservedInterrupt, Some("interrupts")),
        ("<57 0xb80>", "<8191 0xb80>", Rule::ReservedInterrupt, Some("interrupts")),
        ("<57 0xb80>", "<8192 0xb80>", Rule::ReservedInterrupt, Some("interrupts")),
        ("<57 0xb80>", "<0xffffffff 0xb80>", Rule::ReservedInterrupt, Some("interrupts")),
        ("<57 0xb80>", "<57 0x1b80>", Rule::UnknownValue, Some("interrupts")),
        ("<57 0xb80>", "<57 0xc00>", Rule::UnknownValue, Some("interrupts")),
        ("interrupts-target = <57", "interrupts-target = <58", Rule::ReservedInterrupt, Some("interrupts-target")),
        ("stream-ids = <5 6>;\n\t\t};", "stream-ids = <5 6>; interrupts = <5000 0x900>; };", Rule::DuplicateInterrupt, Some("interrupts")),
    ]);
}

#[test]
fn i11_the_interrupts_of_others_are_refused_with_whose_they_are() {
    let with = |id: u32| sp_with_interrupt(&format!("<{id} 0xb80>"));
    for (id, owner) in [
        (0, "an SGI"),
        (8, "an SGI"),
        (9, "an SGI"),
        (15, "an SGI"),
        (19, "CNTHVS, a timer of S-EL2"),
        (20, "CNTHPS, a timer of S-EL2"),
        (25, "the normal world's virtual GIC maintenance"),
        (26, "the normal world's timer CNTHP"),
        (27, "the normal world's timer CNTV"),
        (28, "the normal world's timer CNTHV"),
        (30, "the normal world's timer CNTP"),
    ] {
        let error = with(id).expect_err(owner);
        assert_eq!(
            (error.rule, error.property, error.value, error.other),
            (
                Rule::ReservedInterrupt,
                Some("interrupts"),
                Some(id.into()),
                Some(owner)
            )
        );
    }
    for id in [16, 18, 21, 24, 29, 31, 32, 1019, 1056, 1119, 4096, 5119] {
        assert_eq!(with(id).map_err(|error| error.to_string()), Ok(()), "{id}");
    }
}

fn sp_with_interrupt(interrupt: &str) -> Result<(), bulkhead_manifest::ManifestError<'static>> {
    sp(
        "partition.dts",
        &[
            ("<57 0xb80>", interrupt),
            ("interrupts-target = <57 0x1 0x100>;", ""),
        ],
    )
    .map(|_| ())
}

#[test]
#[rustfmt::skip] // One case a line.
fn p17_dma_is_described_consistently() {
    let device = "smmu-id = <0>;\n\t\t\tstream-ids = <5 6>;\n\t\t};";
    let normal = "attributes = <0xb>;\n\t\t};\n\t};\n\n\ttest-setup";
    sp_refuses("partition.dts", &[
            (device, "stream-ids = <5 6>; };", Rule::DmaPolicy, Some("smmu-id")),
            (device, "smmu-id = <1>; stream-ids = <5 6>; };", Rule::DmaPolicy, Some("stream-ids")),
            (device, "smmu-id = <0>; stream-ids = <5 7>; };", Rule::DmaPolicy, Some("stream-ids")),
            (device, "smmu-id = <0>; stream-ids = <5 6 5>; };", Rule::DuplicateStream, Some("stream-ids")),
        ("permissions = <0x3 0x3>", "permissions = <0x3>", Rule::DmaPolicy, Some("stream-ids-access-permissions")),
        ("permissions = <0x3 0x3>", "permissions = <0x3 0x1>", Rule::DmaPolicy, Some("stream-ids-access-permissions")),
        ("permissions = <0x3 0x3>", "permissions = <0x7 0x7>", Rule::DmaPolicy, Some("stream-ids-access-permissions")),
        ("permissions = <0x3 0x3>", "permissions = <0x13 0x13>", Rule::DmaPolicy, Some("stream-ids-access-permissions")),
            (normal, "attributes = <0xb>; smmu-id = <0>; stream-ids = <6>; };\n\t};\n\n\ttest-setup", Rule::DuplicateStream, Some("stream-ids")),
    ]);
}

#[test]
#[rustfmt::skip] // One case a line.
fn p14_both_kinds_of_address_and_buffers_of_two_sizes() {
    sp_refuses("partition.dts", &[
        ("base-address = <0x0e800000>;", "base-address = <0x0e800000>; load-address-relative-offset = <0>;", Rule::BadLayout, Some("load-address-relative-offset")),
        ("<0x0 0x0e601000>;\n\t\t\tpages-count = <1>", "<0x0 0x0e601000>;\n\t\t\tpages-count = <2>", Rule::BadLayout, Some("tx-buffer")),
    ]);
}

#[test]
#[rustfmt::skip] // One case a line.
fn b18_b20_b23_values_that_no_revision_defines() {
    let live = |text: &str| ("xlat-granule = <0>;".to_owned(), format!("{text} xlat-granule = <0>;"));
    sp_refuses("partition.dts", &[
        ("gp-register-num = <0>", "gp-register-num = <4>", Rule::UnknownValue, Some("gp-register-num")),
        ("power-management-messages = <0x7>", "power-management-messages = <0x8>", Rule::UnknownValue, Some("power-management-messages")),
        ("vm-availability-messages = <0x3>", "vm-availability-messages = <0x4>", Rule::UnknownValue, Some("vm-availability-messages")),
        ("xlat-granule = <0>", "xlat-granule = <3>", Rule::UnknownValue, Some("xlat-granule")),
        ("has-primary-scheduler;", "has-primary-scheduler = <1>;", Rule::MalformedBoolean, Some("has-primary-scheduler")),
        ("time-slice-mem;", "time-slice-mem = <1>;", Rule::MalformedBoolean, Some("time-slice-mem")),
        ("rx_tx-info {", "live-state-buffer-info { live-state-buffer = <0x77>; }; rx_tx-info {", Rule::BadStructure, Some("live-state-buffer")),
        ("rx_tx-info {", "live-state-buffer-info { }; rx_tx-info {", Rule::MissingProperty, Some("live-state-buffer")),
    ]);
    for (text, rule, property) in [
        ("abort-action = <4>;", Rule::UnknownValue, "abort-action"),
        ("auxiliary-id = <0x10000>;", Rule::MalformedInteger, "auxiliary-id"),
        ("lifecycle-support = <1>;", Rule::MalformedBoolean, "lifecycle-support"),
        ("live-activation-support = <1>;", Rule::MalformedBoolean, "live-activation-support"),
        ("live-activation-register = [00];", Rule::MalformedInteger, "live-activation-register"),
        ("image-uuid = <1 2 3>;", Rule::MalformedUuid, "image-uuid"),
        ("image-uuid = \"486178e0\";", Rule::MalformedUuid, "image-uuid"),
        ("image-uuid = <0 0 0 0>;", Rule::NilUuid, "image-uuid"),
    ] {
        let (from, to) = live(text);
        sp_refuses("partition.dts", &[(&from, &to, rule, Some(property))]);
    }
    spmc_refuses(&[
        ("bulkhead,sid-size = <8>", "bulkhead,sid-size = <0>", Rule::UnknownValue, Some("bulkhead,sid-size")),
        ("bulkhead,sid-size = <8>", "bulkhead,sid-size = <33>", Rule::UnknownValue, Some("bulkhead,sid-size")),
        ("vcpu_count = <4>;", "vcpu_count = <4>; bulkhead,critical = <1>;", Rule::MalformedBoolean, Some("bulkhead,critical")),
    ]);
}

/// A controller with these properties, in the place of boot information.
fn with_controller(properties: &str) -> [(&'static str, &'static str); 2] {
    let text = format!(
        "bulkhead,interrupt-controller {{ compatible = \"bulkhead,gicv2\"; {properties} }}; boot-info {{"
    );
    // A GICv2 has no extended interrupts.
    [("boot-info {", text.leak()), ("<5000 0x901>", "<58 0x901>")]
}

#[test]
fn c18_an_interrupt_controller_is_where_nothing_else_is() {
    const FRAMES: &str = "distributor = <0x08000000>; cpu-interface = <0x08010000>;";
    let good = sp("partition.dts", &with_controller(FRAMES)).unwrap();
    let gic = good.interrupt_controller.unwrap();
    assert_eq!(
        (gic.distributor.base, gic.distributor.size),
        (0x0800_0000, 0x1000)
    );
    assert_eq!(
        (gic.cpu_interface.base, gic.cpu_interface.size),
        (0x0801_0000, 0x2000)
    );
    assert_eq!(
        (gic.timer, gic.managed_exit, gic.notification_pending),
        (30, 17, 18)
    );
    assert!(!gic.firmware_initialised);
    assert!(
        good.unknown_properties()
            .all(|unknown| unknown.name == "stray-property")
    );
    let numbers = format!(
        "{FRAMES} timer-interrupt = <3>; managed-exit-interrupt = <31>; notification-pending-interrupt = <0>; \
         firmware-initialised;"
    );
    let good = sp("partition.dts", &with_controller(&numbers)).unwrap();
    let gic = good.interrupt_controller.unwrap();
    assert_eq!(
        (gic.timer, gic.managed_exit, gic.notification_pending),
        (3, 31, 0)
    );
    assert!(gic.firmware_initialised);
    for (properties, rule, property) in [
        (
            "cpu-interface = <0x08010000>;",
            Rule::MissingProperty,
            "distributor",
        ),
        (
            "distributor = <0x08000000>;",
            Rule::MissingProperty,
            "cpu-interface",
        ),
        (
            "distributor = <0x08000800>; cpu-interface = <0x08010000>;",
            Rule::RegionUnaligned,
            "distributor",
        ),
        (
            "distributor = <0x08000000>; cpu-interface = <0xffffffff 0xfffff000>;",
            Rule::Overflow,
            "cpu-interface",
        ),
    ] {
        let error = sp("partition.dts", &with_controller(properties)).expect_err(properties);
        assert_eq!(
            (error.rule, error.property),
            (rule, Some(property)),
            "{error}"
        );
    }
    for (number, rule) in [
        ("timer-interrupt = <32>;", Rule::ReservedInterrupt),
        ("timer-interrupt = <27>;", Rule::ReservedInterrupt),
        ("managed-exit-interrupt = <32>;", Rule::ReservedInterrupt),
        ("managed-exit-interrupt = <30>;", Rule::DuplicateInterrupt),
        ("firmware-initialised = <1>;", Rule::MalformedBoolean),
        (
            "notification-pending-interrupt = <17>;",
            Rule::DuplicateInterrupt,
        ),
    ] {
        let error = sp(
            "partition.dts",
            &with_controller(&format!("{FRAMES} {number}")),
        )
        .expect_err(number);
        assert_eq!(error.rule, rule, "{error}");
        assert_eq!(error.property, number.split(' ').next(), "{error}");
    }
}

#[test]
fn c18_an_interrupt_controller_is_for_s_el1_and_a_known_one() {
    const NODE: &str =
        "bulkhead,interrupt-controller { compatible = \"bulkhead,gicv3\"; }; boot-info {";
    let error = sp("partition.dts", &[("boot-info {", NODE)]).unwrap_err();
    assert_eq!(error.rule, Rule::NotCompatible, "{error}");
    let [controller, extended] =
        with_controller("distributor = <0x08000000>; cpu-interface = <0x08010000>;");
    let many = ("execution-ctx-count = <4>", "execution-ctx-count = <9>");
    let error = sp("partition.dts", &[many, controller, extended]).unwrap_err();
    let found = (error.rule, error.value);
    assert_eq!(found, (Rule::ExecutionContexts, Some(9)), "{error}");
    let error = sp("partition.dts", &[controller]).unwrap_err();
    let found = (error.rule, error.value);
    assert_eq!(found, (Rule::ReservedInterrupt, Some(5000)), "{error}");
}
