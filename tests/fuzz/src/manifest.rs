// SPDX-License-Identifier: MIT OR Apache-2.0
//! Manifests: any tree as SPMC manifest and as partition manifest, alone and together with shipped
//! ones. What is accepted is checked again, rule by rule, with arithmetic that cannot overflow.

use std::sync::OnceLock;

use bulkhead_abi::EndpointId;
use bulkhead_manifest::package::PackageFormat;
use bulkhead_manifest::{
    Accepted, MemoryKind, Package, PartitionLayout, Placement, Range, Reserved, SpManifest,
    SpmcManifest, check_package, check_partition,
};

use crate::devicetree;

/// What the platform keeps to itself.
const RESERVED: [Reserved; 2] = [
    (
        "EL3",
        Range {
            base: 0x0e00_0000,
            size: 0x10_0000,
        },
    ),
    (
        "GIC",
        Range {
            base: 0x0800_0000,
            size: 0x100_0000,
        },
    ),
];

/// Shipped manifests that belong together.
struct Set {
    spmc: SpmcManifest<'static>,
    partitions: Vec<SpManifest<'static>>,
}

/// The sets, each an SPMC manifest and its partitions in the order of their nodes.
fn sets() -> &'static [Set] {
    const FILES: [(&str, &[&str]); devicetree::SETS as usize] = [
        (
            "qemu-virt/demo/spmc.dts",
            &["qemu-virt/demo/alpha.dts", "qemu-virt/demo/beta.dts"],
        ),
        (
            "fixtures/spmc.dts",
            &["fixtures/partition.dts", "fixtures/services.dts"],
        ),
        ("fixtures/op-tee-spmc.dts", &["fixtures/op-tee.dts"]),
        (
            "fixtures/fvp-spmc.dts",
            &["fixtures/partition.dts", "fixtures/services.dts"],
        ),
        (
            "fvp-base/demo/spmc.dts",
            &["fvp-base/demo/alpha.dts", "fvp-base/demo/beta.dts"],
        ),
    ];
    static SETS: OnceLock<Vec<Set>> = OnceLock::new();
    SETS.get_or_init(|| {
        let set = |(spmc, partitions): &(&str, &[&str])| Set {
            spmc: SpmcManifest::parse(devicetree::shipped_blob(spmc)).expect("a shipped manifest"),
            partitions: partitions
                .iter()
                .map(|path| {
                    SpManifest::parse(devicetree::shipped_blob(path)).expect("a shipped manifest")
                })
                .collect(),
        };
        FILES.iter().map(set).collect()
    })
}

/// Runs the target: which set it meets, then a tree as [`devicetree::from_input`] takes it.
pub fn run(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else {
        return;
    };
    let sets = sets();
    let set = &sets[usize::from(choice) % sets.len()];
    let bytes = devicetree::from_input(data);
    match SpmcManifest::parse(&bytes) {
        Ok(manifest) => {
            check_spmc(&manifest);
            let mut earlier = Vec::new();
            for (vm, sp) in manifest.partitions().zip(&set.partitions) {
                together(
                    &manifest,
                    usize::try_from(vm.index).expect("small"),
                    sp,
                    &mut earlier,
                );
            }
        }
        Err(error) => assert!(error.to_string().contains(": ")),
    }
    match SpManifest::parse(&bytes) {
        Ok(manifest) => {
            check_sp(&manifest);
            let mut earlier = Vec::new();
            let index = usize::from(choice) / sets.len() % (set.partitions.len() + 1);
            for (position, sp) in set.partitions.iter().enumerate() {
                let sp = if position == index { &manifest } else { sp };
                together(&set.spmc, position + 1, sp, &mut earlier);
            }
        }
        Err(error) => assert!(error.to_string().contains(": ")),
    }
}

/// First and last byte as numbers that nothing overflows.
fn wide(range: &Range) -> (u128, u128) {
    let base = u128::from(range.base);
    (base, base + u128::from(range.size))
}

fn overlap(one: &Range, other: &Range) -> bool {
    let ((a, b), (c, d)) = (wide(one), wide(other));
    a < b && c < d && a < d && c < b
}

/// Whether each byte of `wanted` lies in one of `ranges`, by sorting and joining them.
fn is_covered(wanted: &Range, ranges: impl Iterator<Item = Range>) -> bool {
    let mut ranges: Vec<_> = ranges.map(|range| wide(&range)).collect();
    ranges.sort_unstable();
    let (mut position, end) = wide(wanted);
    for (from, to) in ranges {
        if from <= position && position < to {
            position = to;
        }
    }
    position >= end
}

fn check_spmc(manifest: &SpmcManifest<'_>) {
    let partitions: Vec<_> = manifest.partitions().collect();
    assert_eq!(
        partitions.len(),
        usize::try_from(manifest.partition_count()).expect("small")
    );
    assert!(manifest.id.is_secure() && manifest.id != EndpointId::SPMD);
    for (position, vm) in partitions.iter().enumerate() {
        assert_eq!(usize::try_from(vm.index).expect("small"), position + 1);
        assert!(vm.id.is_secure() && vm.id != manifest.id);
        assert!(
            partitions[..position]
                .iter()
                .all(|earlier| earlier.id != vm.id)
        );
        let _ = vm.smc_whitelist().count();
    }
    let cpus: Vec<_> = manifest.cpus().collect();
    assert!(!cpus.is_empty());
    for (index, cpu) in cpus.iter().enumerate() {
        assert!(!cpus[..index].contains(cpu), "a core twice");
    }
    for kind in MemoryKind::ALL {
        for range in manifest.memory(kind) {
            assert!(
                wide(&range).1 <= 1 << 64,
                "a range leaves the address space"
            );
            if matches!(kind, MemoryKind::Secure | MemoryKind::NonSecure) {
                assert_eq!((range.base % 4096, range.size % 4096), (0, 0));
            }
        }
    }
    assert!(
        manifest
            .memory(MemoryKind::Secure)
            .any(|range| range.size > 0)
    );
    let _ = (
        manifest.console(),
        manifest.smmus().count(),
        manifest.warnings().count(),
    );
    if let Some(gic) = manifest.interrupt_controller() {
        assert!(gic.distributors().next().is_some() && gic.redistributors().next().is_some());
    }
    if manifest.load_address != 0 && manifest.entrypoint != 0 && manifest.binary_size != 0 {
        let image = (
            u128::from(manifest.load_address),
            u128::from(manifest.binary_size),
        );
        let entry = u128::from(manifest.entrypoint);
        assert!(image.0 <= entry && entry < image.0 + image.1);
    }
}

fn check_sp(manifest: &SpManifest<'_>) {
    assert_eq!(manifest.ffa_version.major, 1);
    assert!(manifest.execution_ctx_count >= 1);
    let uuids: Vec<_> = manifest.uuids().collect();
    assert!(!uuids.is_empty());
    assert_eq!(uuids.len(), manifest.services().count());
    assert!(uuids.iter().all(|uuid| !uuid.is_nil()));
    let mut interrupts = Vec::new();
    for region in manifest.device_regions() {
        let range = region.range();
        assert!(range.size > 0 && wide(&range).1 <= 1 << 64);
        assert_eq!((range.base % 4096, range.size % 4096), (0, 0));
        assert!(region.attributes.read && !region.attributes.execute);
        interrupts.extend(region.interrupts().map(|interrupt| interrupt.id));
        let _ = region.stream_ids().count();
    }
    for (index, id) in interrupts.iter().enumerate() {
        assert!(!interrupts[..index].contains(id), "interrupt {id} twice");
    }
    let mut absolute = Vec::new();
    for region in manifest.memory_regions() {
        assert!(region.size > 0 && region.size % 4096 == 0 && region.attributes.read);
        assert!(!(region.attributes.execute && region.attributes.non_secure));
        if let Placement::Absolute(base) = region.base {
            assert_eq!(base % 4096, 0);
            let range = region.range(0).expect("checked when it was read");
            assert!(wide(&range).1 <= 1 << 64);
            absolute.push(range);
        }
        let _ = region.stream_ids().count();
    }
    for (index, range) in absolute.iter().enumerate() {
        assert!(
            !absolute[..index]
                .iter()
                .any(|earlier| overlap(earlier, range))
        );
    }
    if let Some(buffers) = manifest.rx_tx {
        assert_ne!(buffers.rx.node.name, buffers.tx.node.name);
    }
    let _ = manifest.unknown_properties().count();
}

/// Checks a partition against the SPMC manifest and those before it, and what is accepted again.
fn together<'a>(
    spmc: &SpmcManifest<'a>,
    number: usize,
    sp: &SpManifest<'a>,
    earlier: &mut Vec<Accepted<'a>>,
) {
    let Some(vm) = spmc.partitions().nth(number - 1) else {
        return;
    };
    let layout = match check_partition(spmc, &vm, sp, &RESERVED, earlier.iter().copied()) {
        Ok(layout) => layout,
        Err(error) => {
            assert!(error.to_string().contains(": "));
            return;
        }
    };
    check_layout(spmc, sp, &layout, earlier);
    check_ranges(spmc, sp, &layout, earlier);
    let package = Package {
        format: PackageFormat::SpkgV2,
        hob_list: None,
        manifest: Range {
            base: 0x1000,
            size: 0x1000,
        },
        image: Range {
            base: 0x2000,
            size: 0x8000,
        },
    };
    let fits = layout.memory.size >= 0xa000 && (0x2000..0xa000).contains(&sp.entrypoint_offset);
    assert_eq!(check_package(&package, sp, &layout).is_ok(), fits);
    for warning in layout.warnings.iter() {
        let _ = warning.to_string();
    }
    earlier.push(Accepted {
        name: vm.debug_name,
        layout,
        manifest: *sp,
    });
}

fn check_layout(
    spmc: &SpmcManifest<'_>,
    sp: &SpManifest<'_>,
    layout: &PartitionLayout,
    earlier: &[Accepted<'_>],
) {
    assert!(layout.id.is_secure() && layout.id != EndpointId::SPMD && layout.id != spmc.id);
    assert!(earlier.iter().all(|other| other.layout.id != layout.id));
    assert!(layout.vcpu_count >= 1 && layout.vcpu_count <= sp.execution_ctx_count);
    let (from, to) = wide(&layout.memory);
    assert!(from < to && to <= 1 << 64 && layout.memory.base.is_multiple_of(4096));
    assert_eq!(layout.ipa, sp.ipa_base.unwrap_or(layout.memory.base));
    assert_eq!(layout.entry - layout.ipa, sp.entrypoint_offset);
    assert!(sp.entrypoint_offset < layout.memory.size && layout.entry.is_multiple_of(4));
    check_seen(sp, layout);
    if let Some(order) = sp.boot_order {
        assert!(
            earlier
                .iter()
                .all(|other| other.manifest.boot_order != Some(order))
        );
    }
}

/// A partition sees no two things at one address of a space.
fn check_seen(sp: &SpManifest<'_>, layout: &PartitionLayout) {
    let at = |range: Range, ipa: u64| (u128::from(ipa), u128::from(ipa) + u128::from(range.size));
    let own = at(layout.memory, layout.ipa);
    let mut seen = vec![(false, own)];
    for region in sp.memory_regions() {
        if let Some(range) = region.range(layout.memory.base) {
            let place = at(range, layout.sees(range, region.ipa));
            let inside = place.0 >= own.0 && place.1 <= own.1;
            let non_secure = region.attributes.non_secure;
            let part = matches!(region.base, Placement::LoadRelative(_)) && inside;
            if non_secure || !part {
                seen.push((non_secure, place));
            }
        }
    }
    for region in sp.device_regions() {
        let place = at(region.range(), region.ipa.unwrap_or(region.base));
        seen.push((region.attributes.non_secure, place));
    }
    if let Some(window) = sp.retrieved_memory {
        let place = at(window, window.base);
        seen.extend([(false, place), (true, place)]);
    }
    for (index, (space, one)) in seen.iter().enumerate() {
        for (other_space, other) in &seen[..index] {
            let meets = one.0 < other.1 && other.0 < one.1;
            assert!(space != other_space || !meets, "{one:x?} and {other:x?}");
        }
    }
}

/// All ranges of a partition, with the kind of memory that each must be.
fn ranges(sp: &SpManifest<'_>, layout: &PartitionLayout) -> Vec<(MemoryKind, Range)> {
    let mut ranges = vec![(MemoryKind::Secure, layout.memory)];
    for region in sp.memory_regions() {
        let kind = if region.attributes.non_secure {
            MemoryKind::NonSecure
        } else {
            MemoryKind::Secure
        };
        let own = matches!(region.base, Placement::LoadRelative(_));
        match region.range(layout.memory.base) {
            // A part of the partition's own memory with permissions of its own.
            Some(range)
                if own
                    && wide(&range).0 >= wide(&layout.memory).0
                    && wide(&range).1 <= wide(&layout.memory).1 => {}
            Some(range) => ranges.push((kind, range)),
            None => assert_eq!(region.base, Placement::Dynamic),
        }
    }
    for region in sp.device_regions() {
        let kind = if region.attributes.non_secure {
            MemoryKind::NonSecureDevice
        } else {
            MemoryKind::SecureDevice
        };
        ranges.push((kind, region.range()));
    }
    ranges
}

fn check_ranges(
    spmc: &SpmcManifest<'_>,
    sp: &SpManifest<'_>,
    layout: &PartitionLayout,
    earlier: &[Accepted<'_>],
) {
    let own = ranges(sp, layout);
    for (index, (kind, range)) in own.iter().enumerate() {
        let listed = spmc.memory(*kind).next().is_some();
        if listed || *kind == MemoryKind::Secure {
            assert!(
                is_covered(range, spmc.memory(*kind)),
                "{range} is no {kind:?}"
            );
        }
        if *kind != MemoryKind::Secure {
            assert!(
                !spmc
                    .memory(MemoryKind::Secure)
                    .any(|secure| overlap(&secure, range))
            );
        }
        assert!(
            !RESERVED
                .iter()
                .any(|(_, reserved)| overlap(reserved, range))
        );
        for (_, before) in &own[..index] {
            assert!(
                !overlap(before, range),
                "{before} and {range} of one partition"
            );
        }
        for other in earlier {
            for (_, theirs) in ranges(&other.manifest, &other.layout) {
                assert!(!overlap(&theirs, range), "{range} is {}'s", other.name);
            }
        }
    }
    let interrupts = |sp: &SpManifest<'_>| -> Vec<u32> {
        sp.device_regions()
            .flat_map(|region| {
                region
                    .interrupts()
                    .map(|interrupt| interrupt.id)
                    .collect::<Vec<_>>()
            })
            .collect()
    };
    let ours = interrupts(sp);
    for other in earlier {
        assert!(
            !interrupts(&other.manifest)
                .iter()
                .any(|id| ours.contains(id))
        );
    }
}
