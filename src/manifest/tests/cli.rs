// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `bulkhead-manifest check`, run as a program over shipped and broken files.

mod fixture;
#[path = "fixture/packages.rs"]
#[allow(dead_code, reason = "each test program uses its part of this module")]
mod packages;
#[path = "fixture/shipped.rs"]
#[allow(dead_code, reason = "each test program uses its part of this module")]
mod shipped;

use std::path::{Path, PathBuf};
use std::process::Command;

use fixture::{blob, changed, dtc};

/// A folder of a test's own, below the target folder.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// Status, output and complaints of a run.
fn run_in(path: Option<&str>, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead-manifest"));
    command.args(arguments);
    if let Some(path) = path {
        command.env("PATH", path);
    }
    let output = command.output().unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

fn check(files: &[&str]) -> (i32, String) {
    let arguments: Vec<_> = ["check"].into_iter().chain(files.iter().copied()).collect();
    let (status, output, complaints) = run_in(None, &arguments);
    assert_eq!(complaints, "");
    (status, output)
}

/// The .dts files of a shipped configuration.
fn configuration(name: &str) -> Vec<String> {
    let folder = shipped::folder().join(name);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "dts"))
        .map(|path| path.to_str().unwrap().to_owned())
        .collect();
    files.sort();
    files
}

fn check_configuration(name: &str) -> (i32, String) {
    let files = configuration(name);
    check(&files.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn b01_the_shipped_configurations_are_ok() {
    for name in ["qemu-virt/demo", "qemu-virt/stub", "fvp-base/demo"] {
        let (status, output) = check_configuration(name);
        assert_eq!(status, 0, "{output}");
        assert_eq!(output.lines().count(), 1, "{output}");
        assert!(output.starts_with("ok: "), "{output}");
        for kind in ["SPMC manifest", "partition manifest"] {
            assert!(output.contains(kind), "{output}");
        }
    }
}

#[test]
fn v10_a_partition_of_a_later_version_is_the_only_one_refused() {
    let (status, output) = check_configuration("qemu-virt/bad-partitions");
    assert_eq!(status, 1, "{output}");
    let errors: Vec<_> = output
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "{output}");
    assert!(
        errors[0].contains(
            "bad-partitions/future.dts, /: property ffa-version = 0x10004 is not supported [NotCompatible]"
        ),
        "{output}"
    );
}

/// Its spare partitions are of one manifest that is made for each.
#[test]
fn b01_the_configuration_of_the_tests_is_ok_but_for_its_spare_partitions() {
    let (status, output) = check_configuration("qemu-virt/tests");
    assert_eq!(status, 0, "{output}");
    let (last, others) = output
        .lines()
        .collect::<Vec<_>>()
        .split_last()
        .map(|(l, o)| (l.to_string(), o.join("\n")))
        .unwrap();
    assert!(last.starts_with("ok: "), "{output}");
    assert!(
        others
            .lines()
            .all(|line| line.contains("no file is that of spare")),
        "{output}"
    );
}

#[test]
fn b26_what_manifests_in_the_field_say_is_warned_of_and_ok() {
    let (status, output) = check_configuration("qemu-virt/optee");
    assert_eq!(status, 0, "{output}");
    assert!(
        output.contains("op-tee.dts, /: id = 0x1 is not a secure id"),
        "{output}"
    );
    assert!(output.contains("spmc.dts: no ns-memory node"), "{output}");
    assert!(output.lines().last().unwrap().starts_with("ok: "));
}

#[test]
fn p5_the_shipped_bad_spmc_manifest_is_named() {
    let (status, output) = check_configuration("qemu-virt/bad-spmc");
    assert_eq!(status, 1);
    let line = output.lines().next().unwrap();
    assert!(line.starts_with("error: "), "{line}");
    assert!(
        line.ends_with(
            "bad-spmc/spmc.dts, /memory@e000000: property reg is not an integer of the right size \
             [MalformedInteger]: write reg = <BASE SIZE ...>; in as many cells as #address-cells and #size-cells of \
             the root say"
        ),
        "{line}"
    );
    assert!(!output.contains("ok: "), "{output}");
}

#[test]
fn p7_partitions_are_checked_against_each_other_in_any_order_of_files() {
    let folder = Folder::new("p7");
    let spmc = folder.file("spmc.dtb", blob("spmc.dts", &[]));
    let first = folder.file("alpha.dts", changed("partition.dts", &[]));
    let second = changed(
        "partition.dts",
        &[
            ("0x0e300000", "0x0e400000"),
            ("boot-order = <1>;", ""),
            ("offset = <0x400000>", "offset = <0x410000>"),
        ],
    );
    let second = folder.file("beta.dtb", dtc(&second));
    let (status, output) = check(&[&second, &first, &spmc]);
    assert_eq!(status, 1);
    let errors: Vec<_> = output
        .lines()
        .filter(|line| line.starts_with("error"))
        .collect();
    assert_eq!(
        errors,
        [format!(
            "error: {second}, /memory-regions/rx-buffer: property base-address = 0xe600000 overlaps alpha \
             [RegionOverlap]: move one of them, or write load-address-relative-offset for a part of the partition's \
             memory"
        )]
    );
    // The third partition has no file, and a property is nobody's.
    assert!(
        output.contains("spmc.dtb, /hypervisor/vm3: no file is that of gamma"),
        "{output}"
    );
    assert!(
        output.contains("alpha.dts, /: property stray-property is unknown and ignored"),
        "{output}"
    );
}

#[test]
fn b51_packages_of_every_format_are_checked() {
    let folder = Folder::new("b51");
    let source = [(
        "entrypoint-offset = <0x4000>",
        "entrypoint-offset = <0x2000>",
    )];
    let manifest = blob("partition.dts", &source);
    let spmc = folder.file("spmc.dtb", blob("spmc.dts", &[]));
    let image = [0; 0x2000];
    for (name, package, wrong) in [
        ("v2.pkg", packages::spkg(2, manifest, &image), None),
        (
            "list.pkg",
            packages::transfer_list(manifest, &[0; 16], &image),
            None,
        ),
        (
            "v1.pkg",
            packages::spkg(1, manifest, &image),
            Some("[BootInfoTooSmall]"),
        ),
        (
            "entry.pkg",
            packages::spkg(2, manifest, &image[..0x10]),
            None,
        ),
        (
            "large.pkg",
            packages::spkg(2, manifest, &vec![0; 0x10_0000]),
            Some("the image leaves the partition's memory [BadPackage]"),
        ),
    ] {
        let package = folder.file(name, package);
        let (status, output) = check(&[&spmc, &package]);
        match wrong {
            None => assert_eq!(status, 0, "{output}"),
            Some(wrong) => {
                assert_eq!(status, 1, "{output}");
                assert!(
                    output.contains(&package) && output.contains(wrong),
                    "{output}"
                );
            }
        }
    }
}

#[test]
fn p16_broken_packages_and_files_that_are_neither_are_named() {
    let folder = Folder::new("p16");
    let mut list = packages::transfer_list(blob("partition.dts", &[]), &[], &[0; 64]);
    list[5000] ^= 0x10;
    let list = folder.file("list.pkg", list);
    let (status, output) = check(&[&list]);
    assert_eq!(status, 1);
    assert!(
        output.starts_with(&format!(
            "error: {list}: package: transfer list: the bytes add up to 0x"
        )),
        "{output}"
    );
    for (name, bytes) in [
        ("noise", &b"\x7fELF........................"[..]),
        ("empty", b""),
    ] {
        let file = folder.file(name, bytes);
        let (status, output) = check(&[&file]);
        assert_eq!(status, 1);
        assert!(output.contains(&file), "{output}");
    }
}

#[test]
fn p4_source_that_dtc_refuses_and_directives_that_are_not_expanded_are_named() {
    let folder = Folder::new("p4");
    let broken = folder.file("broken.dts", "/dts-v1/; / { compatible = ; };");
    let (status, output) = check(&[&broken]);
    assert_eq!(status, 1);
    assert!(output.contains("broken.dts: dtc refuses it: "), "{output}");
    let defines = folder.file("defines.dts", "/dts-v1/;\n#define A 1\n/ { };");
    let (status, output) = check(&[&defines]);
    assert_eq!(
        (status, output),
        (
            1,
            format!(
                "error: {defines}:2: only #include is expanded: run the C preprocessor first\n"
            )
        )
    );
    folder.file("part.dtsi", "#include \"part.dtsi\"");
    let endless = folder.file("endless.dts", "/dts-v1/;\n#include \"part.dtsi\"\n");
    let (status, output) = check(&[&endless]);
    assert_eq!(status, 1);
    assert!(output.contains("#include nests too deep"), "{output}");
}

#[test]
fn files_are_included_by_dtc_and_by_the_preprocessors_directive() {
    let folder = Folder::new("include");
    let source = changed("op-tee.dts", &[]);
    let (head, tail) = source.split_at(source.find("\tdevice-regions {").unwrap());
    let (devices, end) = tail.split_at(tail.rfind("};").unwrap());
    folder.file("devices.dtsi", devices);
    for (name, directive) in [
        ("c.dts", "#include \"devices.dtsi\""),
        ("dtc.dts", "/include/ \"devices.dtsi\""),
    ] {
        let file = folder.file(name, format!("{head}\n{directive}\n{end}"));
        let (status, output, _) = run_in(None, &["check", &file, "--dump"]);
        assert_eq!(status, 0, "{output}");
        assert!(
            output.contains("device uart1 0x9040000..0x9041000, RW- secure"),
            "{output}"
        );
    }
}

#[test]
fn the_list_of_packages_agrees_with_the_manifests() {
    let folder = Folder::new("list");
    let spmc = folder.file("spmc.dtb", blob("spmc.dts", &[]));
    let list = |address: &str, uuid: &str| {
        let source = format!(
            "/dts-v1/; / {{ secure-partitions {{ compatible = \"arm,sp\"; alpha {{ uuid = \"{uuid}\"; \
             load-address = <{address}>; }}; }}; }};"
        );
        folder.file("tb_fw_config.dts", source)
    };
    let uuid = "486178e0-e7f8-11e3-bc5e-0002a5d5c51b";
    let (status, output) = check(&[&spmc, &list("0x0e300000", uuid)]);
    assert_eq!(status, 0, "{output}");
    let (status, output) = check(&[&spmc, &list("0x0e310000", uuid)]);
    assert_eq!(status, 1);
    assert!(
        output.contains("tb_fw_config.dts, /secure-partitions/alpha: property load-address = 0xe310000 does not fit the partition's layout [BadLayout]: write the load_address of a vmN node of the SPMC manifest"),
        "{output}"
    );
    let (status, output) = check(&[&spmc, &list("0x0e300000", "486178e0")]);
    assert_eq!(status, 1);
    assert!(
        output.contains("property uuid is not a UUID [MalformedUuid]"),
        "{output}"
    );
}

#[test]
fn two_spmc_manifests_are_one_too_many() {
    let folder = Folder::new("two");
    let one = folder.file("one.dtb", blob("spmc.dts", &[]));
    let two = folder.file("two.dtb", blob("op-tee-spmc.dts", &[]));
    let (status, output) = check(&[&one, &two]);
    assert_eq!(status, 1);
    assert!(
        output.contains(&format!(
            "error: {two}: a second SPMC manifest besides {one}: give one"
        )),
        "{output}"
    );
}

#[test]
fn dump_prints_what_was_understood() {
    let files = configuration("qemu-virt/demo");
    let arguments: Vec<_> = ["check", "--dump"]
        .into_iter()
        .chain(files.iter().map(String::as_str))
        .collect();
    let (status, output, _) = run_in(None, &arguments);
    assert_eq!(status, 0);
    for line in [
        "  cores 0x0 0x3 0x2 0x1",
        "  memory 0xe000000..0xf000000",
        "  service 1053d174-437f-4c4d-b9e0-24ff7e5e8d28, messaging method 0x3",
        "alpha: 0x8001",
        "  memory 0xe300000..0xe400000, entry 0xe304000",
        "  execution contexts 4",
    ] {
        assert!(
            output.lines().any(|printed| printed == line),
            "{line} is not in\n{output}"
        );
    }
}

#[test]
fn what_cannot_be_checked_ends_with_status_2() {
    let (status, output, _) = run_in(None, &["check", "/nonexistent/spmc.dts"]);
    assert_eq!(status, 2);
    assert!(
        output.starts_with("error: /nonexistent/spmc.dts: "),
        "{output}"
    );
    for arguments in [
        &[][..],
        &["check"],
        &["chekc", "x"],
        &["check", "--dmup", "x"],
    ] {
        let (status, output, complaints) = run_in(None, arguments);
        assert_eq!((status, output.as_str()), (2, ""));
        assert!(
            complaints.contains("usage: bulkhead-manifest check FILE..."),
            "{complaints}"
        );
    }
    // Without dtc, source cannot be checked, and blobs can.
    let folder = Folder::new("no-dtc");
    let source = folder.file("spmc.dts", changed("spmc.dts", &[]));
    let compiled = folder.file("spmc.dtb", blob("spmc.dts", &[]));
    let (status, output, _) = run_in(Some(""), &["check", &source]);
    assert_eq!(status, 2);
    assert!(
        output.contains("install the package device-tree-compiler, or give a blob"),
        "{output}"
    );
    let (status, _, _) = run_in(Some(""), &["check", &compiled]);
    assert_eq!(status, 0);
    let (status, output, _) = run_in(None, &["--help"]);
    assert_eq!(status, 0);
    assert!(output.starts_with("usage: "));
}
