// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device tree validator against hostile bytes (P1 to P4), and against dtoolkit.

mod fixture;

use bulkhead_manifest::dt::{MAX_DEPTH, MAX_SIZE, Node, Tree};
use bulkhead_manifest::{Document, ManifestError, MemoryKind, Rule, SpManifest, SpmcManifest};
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use fixture::{blob, dtc};
use proptest::prelude::*;

const FIXTURES: [&str; 6] = [
    "spmc.dts",
    "fvp-spmc.dts",
    "op-tee-spmc.dts",
    "op-tee.dts",
    "partition.dts",
    "services.dts",
];

/// Token values of the format.
const BEGIN: u32 = 1;
const END_NODE: u32 = 2;
const PROP: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;

/// A tree of the given structure block and strings.
fn tree_of(structure: &[u32], strings: &[u8]) -> Vec<u8> {
    let structure: Vec<u8> = structure
        .iter()
        .flat_map(|cell| cell.to_be_bytes())
        .collect();
    let struct_offset = 56;
    let strings_offset = struct_offset + structure.len();
    let total = strings_offset + strings.len();
    let header = [
        0xd00d_feed,
        total,
        struct_offset,
        strings_offset,
        40,
        17,
        16,
        0,
        strings.len(),
        structure.len(),
    ];
    let mut bytes: Vec<u8> = header
        .iter()
        .flat_map(|&cell| u32::try_from(cell).unwrap().to_be_bytes())
        .collect();
    bytes.extend([0; 16]);
    bytes.extend(structure);
    bytes.extend(strings);
    bytes
}

fn with_cell(bytes: &[u8], offset: usize, value: u32) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[offset..offset + 4].copy_from_slice(&value.to_be_bytes());
    bytes
}

fn cell(bytes: &[u8], offset: usize) -> u32 {
    u32::from_be_bytes(bytes[offset..offset + 4].try_into().unwrap())
}

fn rule(bytes: &[u8]) -> Option<Rule> {
    Tree::parse(bytes, Document::Partition)
        .err()
        .map(|error| error.rule)
}

/// Reads everything that the tree offers; the result is every node and property in order.
fn walk(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, ManifestError<'_>> {
    fn visit(node: Node<'_, '_>, path: &str, seen: &mut Vec<(String, Vec<u8>)>) {
        let path = format!("{path}/{}", node.name());
        seen.push((path.clone(), Vec::new()));
        let _ = (
            node.cells(),
            node.is_enabled(),
            node.is_compatible("x"),
            format!("{node:?}"),
        );
        for (name, value) in node.properties() {
            assert_eq!(node.property(name), Some(value));
            seen.push((format!("{path}:{name}"), value.to_vec()));
        }
        for child in node.children() {
            assert_eq!(
                node.child(child.name()).map(|found| found.name()),
                Some(child.name())
            );
            visit(child, &path, seen);
        }
    }
    let tree = Tree::parse(bytes, Document::Spmc)?;
    let mut seen = Vec::new();
    visit(tree.root().unwrap(), "", &mut seen);
    Ok(seen)
}

/// The same as [`walk`], read by dtoolkit.
fn walk_with_dtoolkit(bytes: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    use dtoolkit::{Node as _, Property as _};
    fn visit(node: dtoolkit::fdt::FdtNode<'_>, path: &str, seen: &mut Vec<(String, Vec<u8>)>) {
        let path = format!("{path}/{}", node.name());
        seen.push((path.clone(), Vec::new()));
        for property in node.properties() {
            seen.push((
                format!("{path}:{}", property.name()),
                property.value().to_vec(),
            ));
        }
        for child in node.children() {
            visit(child, &path, seen);
        }
    }
    let fdt = dtoolkit::fdt::Fdt::new(bytes).ok()?;
    let mut seen = Vec::new();
    visit(fdt.root(), "", &mut seen);
    Some(seen)
}

/// Parses as both documents and reads all that they offer. The counts are what `parse` has seen.
fn use_as_manifest(bytes: &[u8]) {
    match SpmcManifest::parse(bytes) {
        Ok(manifest) => {
            assert_eq!(
                manifest.partitions().count(),
                usize::try_from(manifest.partition_count()).unwrap()
            );
            for vm in manifest.partitions() {
                let _ = format!("{vm:?}{}", vm.smc_whitelist().count());
            }
            assert_ne!(manifest.cpus().count(), 0);
            for kind in MemoryKind::ALL {
                assert!(manifest.memory(kind).all(|range| range.base <= range.end()));
            }
            let _ = (
                manifest.console(),
                manifest.smmus().count(),
                manifest.warnings().count(),
            );
            if let Some(gic) = manifest.interrupt_controller() {
                assert_ne!(gic.distributors().count(), 0);
                assert_ne!(gic.redistributors().count(), 0);
            }
        }
        Err(error) => assert!(error.to_string().contains(": ")),
    }
    match SpManifest::parse(bytes) {
        Ok(manifest) => {
            assert_ne!(manifest.services().count(), 0);
            assert_eq!(manifest.uuids().count(), manifest.services().count());
            for region in manifest.memory_regions() {
                let _ = (region.range(0), region.stream_ids().count());
            }
            for region in manifest.device_regions() {
                let _ = (
                    region.range(),
                    region.interrupts().count(),
                    region.stream_ids().count(),
                );
            }
            let _ = (manifest.unknown_properties().count(), manifest.rx_tx);
        }
        Err(error) => assert!(error.to_string().contains(": ")),
    }
}

#[test]
fn p1_a_header_field_out_of_range_is_a_bad_header() {
    let good = blob("partition.dts", &[]);
    let total = u32::try_from(good.len()).unwrap();
    for (offset, value) in [
        (0, 0xd00d_feee),
        (4, 0),
        (4, 39),
        (8, 0),
        (8, 36),
        (8, total),
        (8, u32::MAX),
        (8, cell(good, 8) + 1),
        (12, 8),
        (12, total + 1),
        (12, u32::MAX),
        (12, cell(good, 8) + 4),
        (16, 0),
        (16, total),
        (16, 44),
        (16, u32::MAX),
        (20, 16),
        (20, 0),
        (24, 18),
        (32, u32::MAX),
        (32, total),
        (36, u32::MAX),
        (36, total),
    ] {
        let bytes = with_cell(good, offset, value);
        assert_eq!(
            rule(&bytes),
            Some(Rule::BadFdtHeader),
            "cell {offset} = {value:#x}"
        );
    }
}

#[test]
fn p1_a_tree_above_the_largest_size_is_refused_before_it_is_read() {
    let large = with_cell(
        blob("spmc.dts", &[]),
        4,
        u32::try_from(MAX_SIZE).unwrap() + 1,
    );
    assert_eq!(rule(&large), Some(Rule::TreeTooLarge));
    assert_eq!(
        rule(&with_cell(&large, 4, u32::MAX)),
        Some(Rule::TreeTooLarge)
    );
}

#[test]
fn p2_truncated_at_every_byte() {
    for name in FIXTURES {
        let good = blob(name, &[]);
        assert_eq!(rule(good), None, "{name}");
        for length in 0..good.len() {
            assert_eq!(
                rule(&good[..length]),
                Some(Rule::Truncated),
                "{name} at {length}"
            );
        }
    }
}

#[test]
fn p2_truncated_at_every_byte_with_a_header_that_says_so() {
    let good = blob("partition.dts", &[]);
    for length in 0..good.len() {
        let mut bytes = good[..length].to_vec();
        if length >= 8 {
            bytes = with_cell(&bytes, 4, u32::try_from(length).unwrap());
        }
        assert!(
            matches!(rule(&bytes), Some(Rule::Truncated | Rule::BadFdtHeader)),
            "{length}"
        );
    }
}

#[test]
fn p3_every_single_bit_flip_is_refused_or_read_completely() {
    for name in FIXTURES {
        let mut bytes = blob(name, &[]).to_vec();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let _ = walk(&bytes);
            use_as_manifest(&bytes);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn p4_the_structure_block_ends_with_fdt_end() {
    assert_eq!(rule(&tree_of(&[BEGIN, 0, END_NODE, END], b"")), None);
    assert_eq!(
        rule(&tree_of(&[BEGIN, 0, END_NODE, END, 0, 0, 0], b"")),
        None
    );
    for structure in [
        &[][..],
        &[END],
        &[BEGIN, 0],
        &[BEGIN, 0, END_NODE],
        &[BEGIN, 0, END],
        &[BEGIN, 0, END_NODE, END_NODE, END],
        &[BEGIN, 0, END_NODE, BEGIN, 0, END_NODE, END],
        &[END_NODE, END],
        &[BEGIN, 0, 7, END_NODE, END],
        &[BEGIN, 0, 0, END_NODE, END],
        &[BEGIN, 0, 5, END_NODE, END],
    ] {
        assert_eq!(
            rule(&tree_of(structure, b"")),
            Some(Rule::BadStructure),
            "{structure:x?}"
        );
    }
}

#[test]
fn p4_nop_tokens_are_refused_wherever_they_stand() {
    for structure in [
        &[NOP, BEGIN, 0, END_NODE, END][..],
        &[BEGIN, 0, NOP, END_NODE, END],
        &[BEGIN, 0, END_NODE, NOP, END],
    ] {
        assert_eq!(
            rule(&tree_of(structure, b"")),
            Some(Rule::BadStructure),
            "{structure:x?}"
        );
    }
}

#[test]
fn p4_nesting_of_a_hundred_thousand_levels_is_refused_at_the_limit() {
    let nested = |levels: usize| {
        let name = u32::from_be_bytes(*b"n\0\0\0");
        let mut structure = vec![BEGIN, 0];
        structure.extend([BEGIN, name].repeat(levels));
        structure.extend([END_NODE].repeat(levels + 1));
        structure.push(END);
        tree_of(&structure, b"")
    };
    assert_eq!(rule(&nested(MAX_DEPTH - 1)), None);
    assert_eq!(walk(&nested(MAX_DEPTH - 1)).unwrap().len(), MAX_DEPTH);
    assert_eq!(rule(&nested(MAX_DEPTH)), Some(Rule::BadStructure));
    // What the largest size has room for, and what the case asks for.
    assert_eq!(rule(&nested(5_000)), Some(Rule::BadStructure));
    assert_eq!(rule(&nested(100_000)), Some(Rule::TreeTooLarge));
}

#[test]
fn p4_a_property_length_or_name_offset_outside_its_block_is_refused() {
    let tree = |length, name_offset| {
        tree_of(
            &[BEGIN, 0, PROP, length, name_offset, 0, END_NODE, END],
            b"ab\0cd",
        )
    };
    assert_eq!(rule(&tree(4, 0)), None);
    assert_eq!(rule(&tree(4, 1)), None);
    for (length, name_offset) in [
        (u32::MAX, 0),
        (u32::MAX - 2, 0),
        (13, 0),
        (16, 0),
        (4, 2),
        (4, 3),
        (4, 4),
        (4, 5),
        (4, u32::MAX),
    ] {
        assert_eq!(
            rule(&tree(length, name_offset)),
            Some(Rule::BadStructure),
            "{length:#x} {name_offset:#x}"
        );
    }
}

#[test]
fn p4_names_end_with_nul_and_are_ascii() {
    let child = |name: &[u8; 4]| {
        let name = u32::from_be_bytes(*name);
        tree_of(&[BEGIN, 0, BEGIN, name, END_NODE, END_NODE, END], b"")
    };
    for name in [b"abc\0", b"a@0\0", b"a+-\0", b"a._\0"] {
        assert_eq!(rule(&child(name)), None, "{name:x?}");
    }
    for name in [
        b"abcd",
        b"\0\0\0\0",
        b"a/b\0",
        b"a#b\0",
        b"ab@\0",
        b"@ab\0",
        b"@@a\0",
        b"a b\0",
        b"a\x01b\0",
        b"\xffbc\0",
        b"\xc3\xa9c\0",
    ] {
        assert_eq!(rule(&child(name)), Some(Rule::BadStructure), "{name:x?}");
    }
    // A root with a name, and a name that runs to the end of the block.
    let named_root = tree_of(&[BEGIN, u32::from_be_bytes(*b"abc\0"), END_NODE, END], b"");
    assert_eq!(rule(&named_root), Some(Rule::BadStructure));
    let endless = tree_of(&[BEGIN, 0, BEGIN, 0x6161_6161, 0x6161_6161], b"");
    assert_eq!(rule(&endless), Some(Rule::BadStructure));
}

#[test]
fn p4_a_property_behind_a_child_is_refused() {
    let name = u32::from_be_bytes(*b"n\0\0\0");
    let tree = tree_of(
        &[BEGIN, 0, BEGIN, name, END_NODE, PROP, 0, 0, END_NODE, END],
        b"p\0",
    );
    assert_eq!(rule(&tree), Some(Rule::BadStructure));
}

#[test]
fn p4_a_phandle_that_names_no_region_is_refused() {
    let error = fixture::sp(
        "partition.dts",
        &[("rx-buffer = <&rx>", "rx-buffer = <0x1234>")],
    )
    .unwrap_err();
    assert_eq!(error.rule, Rule::BadStructure);
    assert_eq!(error.property, Some("rx-buffer"));
}

#[test]
fn p5_a_property_or_a_child_twice_is_refused() {
    let name = u32::from_be_bytes(*b"n\0\0\0");
    let other = u32::from_be_bytes(*b"o\0\0\0");
    let twice = tree_of(
        &[BEGIN, 0, PROP, 0, 0, PROP, 0, 4, PROP, 0, 0, END_NODE, END],
        b"abc\0d\0",
    );
    assert_eq!(rule(&twice), Some(Rule::DuplicateProperty));
    let same_text = tree_of(
        &[BEGIN, 0, PROP, 0, 0, PROP, 0, 2, END_NODE, END],
        b"a\0a\0",
    );
    assert_eq!(rule(&same_text), Some(Rule::DuplicateProperty));
    let children = |first, second, third| {
        tree_of(
            &[
                BEGIN, 0, BEGIN, first, BEGIN, name, END_NODE, END_NODE, BEGIN, second, END_NODE,
                BEGIN, third, END_NODE, END_NODE, END,
            ],
            b"",
        )
    };
    assert_eq!(
        rule(&children(name, other, name)),
        Some(Rule::DuplicateNode)
    );
    assert_eq!(
        rule(&children(name, other, other)),
        Some(Rule::DuplicateNode)
    );
    assert_eq!(rule(&children(other, name, 0x7000_0000)), None);
}

#[test]
fn p5_cell_counts_are_one_cell_and_small() {
    for value in ["[00]", "<5>", "<1 1>", "\"2\""] {
        let tree = dtc(&format!("/dts-v1/; / {{ #address-cells = {value}; }};"));
        assert_eq!(rule(&tree), Some(Rule::MalformedInteger), "{value}");
    }
}

#[test]
fn p4_an_error_names_the_node_and_the_offset() {
    let name = u32::from_be_bytes(*b"vm2\0");
    let parent = u32::from_be_bytes(*b"hyp\0");
    let bytes = tree_of(&[BEGIN, 0, BEGIN, parent, BEGIN, name, 7], b"");
    let error = Tree::parse(&bytes, Document::Spmc).unwrap_err();
    assert_eq!(
        error.to_string(),
        "SPMC manifest, /hyp/vm2: the device tree's structure is wrong (at 0x50) [BadStructure]: end it with \
         FDT_END, and keep names and values within its blocks"
    );
}

#[test]
fn the_walk_agrees_with_dtoolkit_on_every_fixture() {
    for name in FIXTURES {
        let bytes = blob(name, &[]);
        assert_eq!(
            Some(walk(bytes).unwrap()),
            walk_with_dtoolkit(bytes),
            "{name}"
        );
    }
}

fn arbitrary_node(depth: u32) -> BoxedStrategy<DeviceTreeNode> {
    let properties = prop::collection::btree_map(
        "[a-z][a-z0-9,#-]{0,12}",
        prop::collection::vec(any::<u8>(), 0..20),
        0..5,
    );
    let children = if depth == 0 {
        Just(Vec::new()).boxed()
    } else {
        prop::collection::vec(arbitrary_node(depth - 1), 0..4).boxed()
    };
    ("[a-z][a-z0-9-]{0,6}(@[a-f0-9]{1,4})?", properties, children)
        .prop_map(|(name, properties, children)| {
            let mut node = DeviceTreeNode::new_unchecked(name);
            for (name, value) in properties {
                node.add_property(DeviceTreeProperty::new_unchecked(name, value));
            }
            for child in children {
                node.add_child(child);
            }
            node
        })
        .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// What dtoolkit writes is read back as dtoolkit reads it.
    #[test]
    fn trees_that_dtoolkit_writes_are_read_alike(root in arbitrary_node(3)) {
        let mut tree = DeviceTree::new();
        tree.root.add_child(root);
        let bytes = tree.to_dtb();
        prop_assert_eq!(Some(walk(&bytes).unwrap()), walk_with_dtoolkit(&bytes));
        use_as_manifest(&bytes);
    }

    /// P3: an accepted mutation is walked completely, and as dtoolkit walks it.
    #[test]
    fn p3_mutated_manifests_are_refused_or_read_as_dtoolkit_reads_them(
        fixture in 0..FIXTURES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = blob_once(fixture).to_vec();
        for (index, value) in changes {
            let position = index.index(bytes.len());
            bytes[position] = value;
        }
        if let Ok(seen) = walk(&bytes)
            && let Some(theirs) = walk_with_dtoolkit(&bytes)
        {
            prop_assert_eq!(seen, theirs);
        }
        use_as_manifest(&bytes);
    }

    /// P3 aimed at the structure block: whole cells become tokens, small numbers or huge ones.
    #[test]
    fn p3_mutated_tokens_are_refused_or_read_completely(
        fixture in 0..FIXTURES.len(),
        changes in prop::collection::vec(
            (
                any::<prop::sample::Index>(),
                prop_oneof![
                    Just(BEGIN), Just(END_NODE), Just(PROP), Just(NOP), Just(END), Just(0),
                    Just(u32::MAX), 0_u32..64, any::<u32>(),
                ],
            ),
            1..4,
        ),
    ) {
        let mut bytes = blob_once(fixture).to_vec();
        for (index, value) in changes {
            let position = index.index(bytes.len() / 4) * 4;
            bytes = with_cell(&bytes, position, value);
        }
        let _ = walk(&bytes);
        use_as_manifest(&bytes);
    }

    /// Bytes without any structure.
    #[test]
    fn p3_random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(walk(&bytes).is_err());
        use_as_manifest(&bytes);
    }
}

/// The fixtures, compiled once.
fn blob_once(fixture: usize) -> &'static [u8] {
    static BLOBS: std::sync::OnceLock<Vec<&'static [u8]>> = std::sync::OnceLock::new();
    BLOBS.get_or_init(|| FIXTURES.iter().map(|name| blob(name, &[])).collect())[fixture]
}

/// P21: trees of the largest size that are made to cost the most are read or refused in bounded time.
#[test]
fn p21_the_most_costly_trees_of_the_largest_size_take_a_bounded_time() {
    let root = "compatible = \"arm,ffa-manifest-1.0\"; ffa-version = <0x10002>; uuid = <1 2 3 4>; \
                messaging-method = <1>; execution-ctx-count = <1>; exception-level = <2>; execution-state = <0>;";
    let many =
        |count: usize, text: &dyn Fn(usize) -> String| -> String { (0..count).map(text).collect() };
    let memory = |text: String| {
        format!("memory-regions {{ compatible = \"arm,ffa-manifest-memory-regions\"; {text} }};")
    };
    let devices = |text: String| {
        format!("device-regions {{ compatible = \"arm,ffa-manifest-device-regions\"; {text} }};")
    };
    let region = |n: usize, more: &str| {
        format!(
            "r{n:x} {{ base-address = <{:#x}>; pages-count = <1>; attributes = <3>; {more} }};",
            (n + 1) << 12
        )
    };
    let cells = |range: std::ops::Range<usize>| -> String {
        range.map(|cell| format!("{cell} ")).collect()
    };
    let interrupts: String = (32..1020)
        .chain(4096..5120)
        .map(|id| format!("{id} 0x900 "))
        .collect();
    let targets: String = (0..4_000).map(|_| "5119 0 0 ").collect();
    let sources = [
        many(4_000, &|n| format!("n{n:x} {{ }};")),
        many(3_000, &|n| format!("p{n:x}; ")),
        memory(many(750, &|n| region(n, ""))),
        devices(many(750, &|n| region(n, ""))),
        memory(many(300, &|n| region(n, ""))) + &devices(many(300, &|n| region(n + 1_000, ""))),
        memory(region(
            0,
            &format!("smmu-id = <0>; stream-ids = <{}>;", cells(0..7_000)),
        )) + &devices(
            many(280, &|n| {
                region(n + 1, &format!("smmu-id = <1>; stream-ids = <{n}>;"))
            }) + &region(
                500,
                &format!("smmu-id = <0>; stream-ids = <{}>;", cells(0..2_000)),
            ),
        ),
        devices(region(
            0,
            &format!("interrupts = <{interrupts}>; interrupts-target = <{targets}>;"),
        )),
    ];
    for (index, source) in sources.iter().enumerate() {
        let properties_first = if index == 1 { source.as_str() } else { "" };
        let rest = if index == 1 { "" } else { source.as_str() };
        let bytes = dtc(&format!(
            "/dts-v1/; / {{ {root} {properties_first} {rest} }};"
        ));
        assert!(
            bytes.len() <= MAX_SIZE && bytes.len() > MAX_SIZE / 2,
            "{index}: {}",
            bytes.len()
        );
        let start = std::time::Instant::now();
        use_as_manifest(&bytes);
        let elapsed = start.elapsed();
        println!("case {index}: {} bytes in {elapsed:?}", bytes.len());
        assert!(elapsed.as_secs() < 20, "case {index} took {elapsed:?}");
    }
}
