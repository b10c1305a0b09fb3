// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every manifest that this repository ships, truncated at every byte and with every bit flipped (P2, P3), and
//! the packages made of them (P16): a named error, or a configuration that a second reading confirms.

mod fixture;
mod independent;
#[path = "fixture/packages.rs"]
#[allow(dead_code, reason = "each test program uses its part of this module")]
mod packages;
#[path = "fixture/shipped.rs"]
#[allow(dead_code, reason = "each test program uses its part of this module")]
mod shipped;

use bulkhead_manifest::{
    ManifestError, MemoryKind, Package, PackageError, Range, Rule, SpManifest, SpmcManifest,
    VmNode, check_package, check_partition,
};
use proptest::prelude::*;
use shipped::Shipped;

/// Names the rule: everything that is refused says which one, and what to write.
fn assert_named(error: &ManifestError<'_>) {
    let text = error.to_string();
    assert!(
        text.contains(&format!(" [{:?}]: {}", error.rule, error.fix)),
        "{text}"
    );
    assert!(!error.fix.is_empty());
}

/// Parses as what it was, and compares with the second reading. `None` if it is refused.
fn confirm(bytes: &[u8], is_spmc: bool) -> Option<()> {
    let second = independent::tree(bytes);
    // dtoolkit alone refuses names of more than 31 bytes, which several changed bytes can make.
    let second = second
        .inspect_err(|error| {
            assert!(
                !is_accepted(bytes, is_spmc) || has_long_name(bytes),
                "{error}"
            )
        })
        .ok();
    if is_spmc {
        let spmc = SpmcManifest::parse(bytes)
            .map_err(|error| assert_named(&error))
            .ok()?;
        if let Some(second) = second {
            independent::check_spmc(&second, &spmc);
        }
        use_spmc(&spmc);
    } else {
        let sp = SpManifest::parse(bytes)
            .map_err(|error| assert_named(&error))
            .ok()?;
        if let Some(second) = second {
            independent::check_sp(&second, &sp);
        }
        use_sp(&sp);
    }
    Some(())
}

fn is_accepted(bytes: &[u8], is_spmc: bool) -> bool {
    if is_spmc {
        SpmcManifest::parse(bytes).is_ok()
    } else {
        SpManifest::parse(bytes).is_ok()
    }
}

/// Whether the blocks of a tree hold more than 31 letters in a row.
fn has_long_name(bytes: &[u8]) -> bool {
    bytes
        .split(|byte| !byte.is_ascii_alphanumeric() && !b",._+-?#".contains(byte))
        .any(|run| run.len() > 31)
}

/// What was accepted answers everything, to the last entry.
fn use_spmc(spmc: &SpmcManifest<'_>) {
    let _ = (
        spmc.warnings().count(),
        spmc.console(),
        spmc.smmus().count(),
        spmc.size(),
    );
    assert!(spmc.unknown_properties().count() <= 16);
    if let Some(controller) = spmc.interrupt_controller() {
        assert_ne!(controller.distributors().count(), 0);
    }
}

fn use_sp(sp: &SpManifest<'_>) {
    let _ = (sp.live_activation, sp.size());
    assert!(sp.unknown_properties().count() <= 16);
}

/// A layout that breaks no rule, whatever the manifests say.
fn check_layout(spmc: &SpmcManifest<'_>, vm: &VmNode<'_>, sp: &SpManifest<'_>) {
    let layout = match check_partition(spmc, vm, sp, &[], core::iter::empty()) {
        Ok(layout) => layout,
        Err(error) => return assert_named(&error),
    };
    let secure: Vec<Range> = spmc.memory(MemoryKind::Secure).collect();
    assert!(secure.iter().any(|memory| memory.contains(&layout.memory)));
    let offset = layout.entry - layout.ipa;
    assert!(offset < layout.memory.size && layout.entry.is_multiple_of(4));
    assert!(layout.id.0 > 0x8000 && layout.id.0 != 0xffff && layout.id != spmc.id);
    assert!(layout.vcpu_count <= sp.execution_ctx_count && layout.vcpu_count != 0);
    for region in sp.memory_regions() {
        if let Some(range) = region.range(layout.memory.base) {
            let is_secure = secure.iter().any(|memory| memory.overlaps(&range));
            assert_eq!(is_secure, !region.attributes.non_secure);
        }
    }
    for region in sp.device_regions() {
        assert!(!region.range().overlaps(&layout.memory));
    }
}

/// The SPMC manifests by folder.
fn spmc_of<'a>(all: &'a [Shipped], partition: &Shipped) -> &'a Shipped {
    all.iter()
        .find(|one| one.is_spmc() && one.path.parent() == partition.path.parent())
        .unwrap_or_else(|| panic!("{} has no SPMC manifest", partition.name()))
}

/// The two that boots show being refused.
fn is_bad(one: &Shipped) -> bool {
    let name = one.name();
    name.contains("bad-spmc/spmc.dts") || name.contains("bad-partitions/future.dts")
}

#[test]
fn b01_every_shipped_manifest_is_read_as_a_second_reader_does() {
    for one in shipped::all() {
        let read = confirm(&one.bytes, one.is_spmc());
        assert_eq!(read.is_some(), !is_bad(&one), "{}", one.name());
    }
}

#[test]
fn b26_no_shipped_manifest_has_an_unknown_property() {
    for one in shipped::all().iter().filter(|one| !is_bad(one)) {
        let unknown: Vec<_> = if one.is_spmc() {
            let spmc = SpmcManifest::parse(&one.bytes).unwrap();
            spmc.unknown_properties()
                .map(|unknown| unknown.to_string())
                .collect()
        } else {
            let sp = SpManifest::parse(&one.bytes).unwrap();
            sp.unknown_properties()
                .map(|unknown| unknown.to_string())
                .collect()
        };
        assert_eq!(unknown, Vec::<String>::new(), "{}", one.name());
    }
}

#[test]
fn p2_every_shipped_manifest_truncated_at_every_byte() {
    for one in shipped::all() {
        for length in 0..one.bytes.len() {
            let bytes = &one.bytes[..length];
            let error = if one.is_spmc() {
                SpmcManifest::parse(bytes).unwrap_err()
            } else {
                SpManifest::parse(bytes).unwrap_err()
            };
            assert_eq!(error.rule, Rule::Truncated, "{} at {length}", one.name());
            assert_named(&error);
        }
    }
}

#[test]
fn p3_every_shipped_manifest_with_every_bit_flipped() {
    let all = shipped::all();
    let (mut flips, mut accepted) = (0, 0);
    for one in &all {
        let spmc = spmc_of(&all, one);
        let spmc = SpmcManifest::parse(&spmc.bytes).ok();
        let vm = spmc.and_then(|spmc| {
            let sp = SpManifest::parse(&one.bytes).ok()?;
            spmc.partitions()
                .find(|vm| Some(vm.load_address) == sp.load_address)
        });
        let mut bytes = one.bytes.clone();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            flips += 1;
            if confirm(&bytes, one.is_spmc()).is_some() {
                accepted += 1;
                if let (Some(spmc), Some(vm)) = (&spmc, &vm) {
                    check_layout(spmc, vm, &SpManifest::parse(&bytes).unwrap());
                }
            }
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
    println!(
        "{flips} flips in {} manifests, {accepted} accepted and confirmed",
        all.len()
    );
    assert!(accepted > 0 && accepted < flips);
}

/// The packages made of a manifest.
fn packages_of(manifest: &[u8]) -> [Vec<u8>; 3] {
    let image = [0x1f; 64];
    [
        packages::spkg(1, manifest, &image),
        packages::spkg(2, manifest, &image),
        packages::transfer_list(manifest, &[0x48; 16], &image),
    ]
}

const LIMIT: u64 = 0x10_0000;

/// What a package says, if it says so at all, lies within it and apart.
fn check_parts(bytes: &[u8]) -> Result<Package, PackageError> {
    let package = Package::parse(bytes, LIMIT).inspect_err(|error| {
        assert!(error.to_string().contains(" [BadPackage]: "), "{error}");
    })?;
    let parts = [
        Some(package.manifest),
        Some(package.image),
        package.hob_list,
    ];
    let parts: Vec<Range> = parts.into_iter().flatten().collect();
    for (index, part) in parts.iter().enumerate() {
        assert!(!part.is_empty() && part.end() <= LIMIT);
        assert!(parts[..index].iter().all(|other| !other.overlaps(part)));
        assert!(package.boot_info_space() <= part.base);
    }
    Ok(package)
}

#[test]
fn p2_p16_every_package_of_a_shipped_manifest_truncated_at_every_byte() {
    for one in shipped::all().iter().filter(|one| !one.is_spmc()) {
        for package in packages_of(&one.bytes) {
            let whole = check_parts(&package).unwrap();
            let start = usize::try_from(whole.manifest.base).unwrap();
            assert_eq!(package[start..start + one.bytes.len()], one.bytes);
            for length in 0..package.len() {
                // An SPKG header says where the parts are; that they have been loaded is seen when they are read.
                match check_parts(&package[..length]) {
                    Err(error) => assert_eq!(error, PackageError::Truncated),
                    Ok(package) => assert!(length >= 24 && package == whole),
                }
            }
        }
    }
}

#[test]
fn p3_p16_packages_of_shipped_manifests_with_every_bit_of_their_headers_flipped() {
    for one in shipped::all().iter().filter(|one| !one.is_spmc()) {
        for package in packages_of(&one.bytes) {
            let mut bytes = package.clone();
            let whole = check_parts(&bytes).unwrap();
            // The header, and the headers of a list's entries.
            let entries = [0, 24, 0xff8].into_iter().flat_map(|at| at..at + 24);
            for bit in entries.flat_map(|byte| byte * 8..byte * 8 + 8) {
                bytes[bit / 8] ^= 1 << (bit % 8);
                let _ = check_parts(&bytes);
                if whole.format == bulkhead_manifest::PackageFormat::TransferList {
                    // And with a checksum that does not give it away.
                    let mut bytes = bytes.clone();
                    packages::sum_up(&mut bytes);
                    let _ = check_parts(&bytes);
                }
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
}

#[test]
fn p3_p16_a_package_of_each_format_with_every_bit_flipped() {
    let all = shipped::all();
    let one = all
        .iter()
        .find(|one| one.name().ends_with("demo/alpha.dts"))
        .unwrap();
    let spmc_bytes = &spmc_of(&all, one).bytes;
    let spmc = SpmcManifest::parse(spmc_bytes).unwrap();
    let vm = spmc.partitions().next().unwrap();
    for package in packages_of(&one.bytes) {
        let mut bytes = package.clone();
        let whole = check_parts(&bytes).unwrap();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(parts) = check_parts(&bytes) {
                // As loaded: at an address that ends where the memory does.
                let manifest = usize::try_from(parts.manifest.base).unwrap()..;
                let manifest = bytes.get(manifest).unwrap_or_default();
                match SpManifest::parse(manifest) {
                    Err(error) => assert_named(&error),
                    Ok(sp) if bit / 8 < 24 || parts != whole => {
                        if let Ok(layout) =
                            check_partition(&spmc, &vm, &sp, &[], core::iter::empty())
                            && let Err(error) = check_package(&parts, &sp, &layout)
                        {
                            assert_named(&error);
                        }
                    }
                    Ok(sp) => {
                        let tree = independent::tree(&manifest[..sp.size()]);
                        independent::check_sp(&tree.unwrap(), &sp);
                        check_layout(&spmc, &vm, &sp);
                    }
                }
            }
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) })]

    /// What `parse` has accepted never fails afterwards: each iterator yields as many entries as the tree has, and
    /// every check of the system ends in a layout or a named error.
    #[test]
    fn what_parse_accepts_never_fails_later(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        static ALL: std::sync::OnceLock<Vec<Shipped>> = std::sync::OnceLock::new();
        let all = ALL.get_or_init(shipped::all);
        let one = &all[which.index(all.len())];
        let mut bytes = one.bytes.clone();
        for (position, value) in changes {
            // Values, rather than tokens and offsets, are what is changed mostly.
            let position = position.index(bytes.len());
            bytes[position] = value;
        }
        if confirm(&bytes, one.is_spmc()).is_some() && !one.is_spmc()
            && let Ok(spmc) = SpmcManifest::parse(&spmc_of(all, one).bytes)
        {
            for vm in spmc.partitions() {
                check_layout(&spmc, &vm, &SpManifest::parse(&bytes).unwrap());
            }
        }
    }
}
