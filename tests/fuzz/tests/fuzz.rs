// SPDX-License-Identifier: MIT OR Apache-2.0
//! What fuzzing found stays fixed, and the targets reach what they are about.

use std::fs;
use std::path::Path;

use bulkhead_fuzz::{TARGETS, devicetree};
use bulkhead_manifest::{SpManifest, SpmcManifest};

/// Every file below `directory`, with its name.
fn inputs(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.expect("a file").path();
        let bytes = fs::read(&path).expect("a file");
        (path.display().to_string(), bytes)
    };
    entries.map(read).collect()
}

#[test]
fn fuzz_inputs_that_found_something_pass() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let directories = fs::read_dir(&seeds);
    for directory in directories.into_iter().flatten() {
        let name = directory.expect("a directory").file_name();
        let found = TARGETS.iter().find(|(target, _)| name == **target);
        let (target, run) =
            found.unwrap_or_else(|| panic!("seeds of {name:?}, which is no target"));
        for (path, bytes) in inputs(&seeds.join(target)) {
            println!("{path}");
            run(&bytes);
        }
    }
}

#[test]
fn fuzz_seeds_are_made_and_pass() {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("seeds");
    bulkhead_fuzz::seeds::write(&out).expect("seeds");
    for (target, run) in TARGETS {
        for (path, bytes) in inputs(&out.join(target).join("seeds")) {
            println!("{path}");
            run(&bytes);
        }
    }
}

#[test]
fn fuzz_every_target_has_a_wrapper_and_takes_an_empty_input() {
    let wrappers = Path::new(env!("CARGO_MANIFEST_DIR")).join("cargo-fuzz/fuzz_targets");
    assert_eq!(inputs(&wrappers).len(), TARGETS.len());
    for (target, run) in TARGETS {
        assert!(wrappers.join(format!("{target}.rs")).is_file(), "{target}");
        run(&[]);
        run(&[0; 64]);
        run(&[0xff; 300]);
    }
}

/// Edits that do nothing leave a manifest that is accepted: the rules behind the parser are reached.
#[test]
fn fuzz_edited_manifests_can_be_accepted() {
    let accepted = |index: usize| {
        let tree = devicetree::from_input(&[0, u8::try_from(index).expect("few")]).into_owned();
        SpmcManifest::parse(&tree).is_ok() || SpManifest::parse(&tree).is_ok()
    };
    let count = devicetree::shipped().len();
    let good = (0..count).filter(|index| accepted(*index)).count();
    // Those of BL2 are no manifests.
    let of_bl2 = devicetree::shipped()
        .iter()
        .filter(|shipped| shipped.path.ends_with("tb_fw_config.dts"));
    assert_eq!(good, count - of_bl2.count());
}
