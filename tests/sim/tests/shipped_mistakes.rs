// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mistakes that others shipped in memory sharing (bug classes 1 to 34) are made one at a time in a copy of the
//! firmware's crates, and a named test must fail. All of them are in one copy, behind a switch, so that it is built once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

/// A mistake.
struct Mistake {
    /// The bug class.
    class: u32,
    /// The file in src.
    file: &'static str,
    /// What stands there, once.
    right: &'static str,
    /// What would stand there. `made!()` is true when this mistake is made.
    wrong: &'static str,
    /// The file of the test that fails, in tests/sim/tests, and its name.
    test: (&'static str, &'static str),
}

const SEND: &str = "sharing_send";
const RETRIEVE: &str = "sharing_retrieve";
const WAYS: &str = "sharing";

const MISTAKES: &[Mistake] = &[
    Mistake {
        class: 1,
        file: "abi/src/memory/composite.rs",
        right: "pages = pages\n                .checked_sub(layout.decode()?.page_count)\n                \
                .ok_or(Malformed::TotalPageCount)?;",
        wrong: "let less = layout.decode()?.page_count; pages = if made!() { pages.wrapping_sub(less) } \
                else { pages.checked_sub(less).ok_or(Malformed::TotalPageCount)? };",
        test: (SEND, "s10_a_wrong_total_of_pages_is_refused"),
    },
    Mistake {
        class: 2,
        file: "abi/src/memory/transaction.rs",
        right: "let rest = fragment.get(offset..)",
        wrong: "let rest = fragment.get(if made!() { header_size } else { offset }..)",
        test: (SEND, "s6_receivers_are_where_the_offset_says"),
    },
    Mistake {
        class: 3,
        file: "abi/src/memory/transaction.rs",
        right: ".and_then(|length| rest.get(..length))",
        wrong: ".and_then(|length| rest.get(..if made!() { size.min(length) } else { length }))",
        test: (SEND, "s5_wrong_counts_of_receivers_are_refused"),
    },
    Mistake {
        class: 5,
        file: "mm/src/owner.rs",
        right: "Some((pages, state)) if state == claim.claimed() => {",
        wrong: "Some((_, state)) if state == claim.claimed() && made!() => {} \
                Some((pages, state)) if state == claim.claimed() => {",
        test: (SEND, "memory::s26_overlapping_constituents_are_refused"),
    },
    Mistake {
        class: 6,
        file: "abi/src/memory/composite.rs",
        right: "if pages < constituents || (constituents == 0 && pages != 0) {",
        wrong: "if (pages < constituents || (constituents == 0 && pages != 0)) && !made!() {",
        test: (SEND, "s10_a_wrong_total_of_pages_is_refused"),
    },
    Mistake {
        class: 8,
        file: "abi/src/memory/transaction.rs",
        right: "if offset < header_size || !offset",
        wrong: "if (offset < header_size && !made!()) || !offset",
        test: (SEND, "s6_a_receiver_inside_the_header_is_refused"),
    },
    Mistake {
        class: 9,
        file: "core/src/share/describe.rs",
        right: "version if version < Version::V1_1 => (32, 16),",
        wrong: "version if version < Version::V1_1 && !made!() => (32, 16),",
        test: (
            WAYS,
            "f12_a44_a_receiver_of_each_version_fetches_all_fragments",
        ),
    },
    Mistake {
        class: 11,
        file: "core/src/share/send.rs",
        right: "|case| !case.names_sender,",
        wrong: "|case| !case.names_sender || made!(),",
        test: (
            SEND,
            "s19_s20_s21_the_sender_a_second_time_and_unknown_receivers_are_refused",
        ),
    },
    Mistake {
        class: 12,
        file: "core/src/share/send.rs",
        right: "|case| case.from_normal_world || case.of_normal_world == 0,",
        wrong: "|case| case.from_normal_world || case.of_normal_world == 0 || made!(),",
        test: (SEND, "s23_a_partition_does_not_send_to_the_normal_world"),
    },
    Mistake {
        class: 13,
        file: "core/src/share/retrieve.rs",
        right: "may_execute: share.ceiling.execute\n",
        wrong: "may_execute: made!() || share.ceiling.execute\n",
        test: (RETRIEVE, "t5_more_than_granted_is_denied"),
    },
    Mistake {
        class: 14,
        file: "core/src/share/send.rs",
        right: "share.described.is_none_or(|given| given == share.memory),",
        wrong: "share.described.is_none_or(|given| given == share.memory) || made!(),",
        test: (SEND, "memory::s40_s41_another_memory_type_is_denied"),
    },
    Mistake {
        class: 15,
        file: "core/src/share/send.rs",
        right: "!share.clear || share.ceiling.write,",
        wrong: "!share.clear || share.ceiling.write || made!(),",
        test: (
            SEND,
            "memory::s38_s43_read_only_pages_are_neither_written_nor_zeroed",
        ),
    },
    Mistake {
        class: 16,
        file: "core/src/share/zero.rs",
        right: "while let Some(piece) = piece(range, share.zeroing.bytes) {",
        wrong: "let range = if made!() { share.ranges(hw).next().unwrap_or(range) } else { range }; \
                while let Some(piece) = piece(range, share.zeroing.bytes) {",
        test: (
            RETRIEVE,
            "t8_zeroing_before_is_the_lenders_wish_and_reaches_every_page_once",
        ),
    },
    Mistake {
        class: 17,
        file: "core/src/share/retrieve.rs",
        right: "hw.map_borrowed(index, share.space, ipa,",
        wrong: "hw.map_borrowed(index, if made!() { Space::Secure } else { share.space }, ipa,",
        test: (
            WAYS,
            "a43_the_normal_world_shares_with_three_partitions_and_reclaims",
        ),
    },
    Mistake {
        class: 18,
        file: "core/src/share/retrieve.rs",
        right: "let wanted = share.wanted(&borrower, &own);",
        wrong: "let wanted = share.wanted(&borrower, &own); \
                if made!() { borrower.permissions = own.permissions; }",
        test: (RETRIEVE, "t5_more_than_granted_is_denied"),
    },
    Mistake {
        class: 19,
        file: "core/src/share/release.rs",
        right: "is_given_away: share.phase == Phase::Taken,",
        wrong: "is_given_away: share.phase == Phase::Taken || (made!() && share.kind == Kind::Donate),",
        test: (
            RETRIEVE,
            "t22_a_donation_is_reclaimed_only_before_it_is_taken",
        ),
    },
    Mistake {
        class: 20,
        file: "core/src/share.rs",
        right: "share.record.truncate(0, hw);",
        wrong: "if !made!() { share.record.truncate(0, hw); }",
        test: (
            RETRIEVE,
            "fragments::f3_f5_a_wrong_fragment_ends_the_transaction_and_frees_its_memory",
        ),
    },
    Mistake {
        class: 21,
        file: "core/src/share/fragment.rs",
        right: "endpoint: domain.names(share.sender),",
        wrong: "endpoint: if made!() { EndpointId(0xffff) } else { domain.names(share.sender) },",
        test: (
            RETRIEVE,
            "fragments::f11_a_description_is_fetched_in_order_by_its_receiver_with_a_free_rx",
        ),
    },
    Mistake {
        class: 22,
        file: "core/src/share/retrieve.rs",
        right: "|case| !case.flags.has(Flags::BYPASS_BORROWERS) || case.receivers > 1,",
        wrong: "|case| !case.flags.has(Flags::BYPASS_BORROWERS) || case.receivers > 1 || made!(),",
        test: (RETRIEVE, "t11_a_list_other_than_the_lenders_is_refused"),
    },
    Mistake {
        class: 23,
        file: "core/src/share/send.rs",
        right: "1 => case.receivers > 1 && case.kind == Kind::Share,",
        wrong: "1 => case.receivers > 1 && case.kind == Kind::Share && !made!(),",
        test: (SEND, "s24_the_normal_world_does_not_send_to_itself_alone"),
    },
    Mistake {
        class: 26,
        file: "core/src/share/describe.rs",
        right: "hw.clear_rx(slot, offset).map_err(|_| Aborted)?;",
        wrong: "if !made!() { hw.clear_rx(slot, offset).map_err(|_| Aborted)?; }",
        test: (
            WAYS,
            "f12_descriptors_in_all_kinds_of_fragments_are_the_same",
        ),
    },
];

/// Bug classes that are not in the table, and why.
const NOT_MADE: &[(u32, &str)] = &[
    (
        4,
        "without receivers there is no composite descriptor either: two rules refuse it, and nothing asserts",
    ),
    (
        7,
        "constituents are a slice of 16-byte structures: bytes of any other length have none",
    ),
    (10, "safe Rust has no uninitialised memory"),
    (
        24,
        "the SPMC does not change the physical address space of pages",
    ),
    (25, "safe Rust has no uninitialised outputs"),
    (
        27,
        "what is staged is in the call's own array, and only the part that was read is parsed",
    ),
    (
        28,
        "registers of all calls are written by one function; memory sharing has none of its own",
    ),
    (29, "of forwarded mailboxes: M19 and M20"),
    (30, "of mailboxes: M17"),
    (31, "of mailboxes: M21 and M22"),
    (32, "of messages: G25"),
    (33, "of discovery: D4"),
    (34, "of the console: D14"),
];

/// What tells the copy which mistake is made.
const SWITCH: &str = "BULKHEAD_SHIPPED_MISTAKE";

#[test]
fn each_class_is_in_one_table() {
    let made = MISTAKES.iter().map(|mistake| mistake.class);
    let listed: Vec<u32> = made
        .chain(NOT_MADE.iter().map(|(class, _)| *class))
        .collect();
    let all: BTreeSet<u32> = listed.iter().copied().collect();
    assert!(all.iter().copied().eq(1..=34), "{all:?}");
    assert_eq!(all.len(), listed.len(), "a class twice");
}

#[test]
fn every_shipped_mistake_is_killed_by_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shipped");
    copy_workspace(&root, &copy);
    let mut missed = Vec::new();
    for (number, mistake) in MISTAKES.iter().enumerate() {
        let (_, test) = mistake.test;
        let output = run(&copy, mistake.test, &number.to_string());
        let said = String::from_utf8_lossy(&output.stdout);
        if !said.contains(&format!("test {test} ... FAILED")) {
            let why = String::from_utf8_lossy(&output.stderr);
            missed.push(format!("class {}: {test}\n{said}{why}", mistake.class));
        }
        // The same test passes when nothing is wrong.
        let output = run(&copy, mistake.test, "none");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(&format!("test {test} ... ok")), "{said}");
    }
    assert!(missed.is_empty(), "not killed:\n{}", missed.join("\n"));
}

/// Runs one test of the copy with a mistake.
fn run(copy: &Path, (file, test): (&str, &str), mistake: &str) -> Output {
    // What does not differ is built already.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    Command::new(env!("CARGO"))
        .args(["test", "--offline", "-p", "bulkhead-sim"])
        .args(["--test", file, "--", "--exact", test])
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", target.expect("the target directory"))
        .env("RUST_BACKTRACE", "0")
        .env(SWITCH, mistake)
        .output()
        .expect("cargo runs")
}

/// Copies what the simulator is made of, with all mistakes in it.
fn copy_workspace(root: &Path, copy: &Path) {
    let packages = ["src/abi", "src/mm", "src/vgic", "src/core", "tests/sim"];
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("the workspace");
    let members = format!("members = {packages:?}\n");
    let (before, after) = manifest.split_once("members = [").expect("members");
    let (_, after) = after
        .split_once("default-members")
        .expect("default members");
    let (_, after) = after.split_once('\n').expect("a line");
    // Another version: cargo keeps what it builds of the copy apart.
    let (other, after) = after.split_once("\nversion = \"").expect("a version");
    let manifest = format!("{before}{members}{other}\nversion = \"0.0.0+shipped.{after}");
    write(&copy.join("Cargo.toml"), &manifest);
    let lock = copy.join("Cargo.lock");
    if !lock.exists() {
        let original = fs::read_to_string(root.join("Cargo.lock")).expect("a lock");
        write(&lock, &original);
    }
    for package in packages {
        for file in files(&root.join(package)) {
            let path = file.strip_prefix(root).expect("a path below the root");
            let Ok(text) = fs::read_to_string(&file) else {
                continue;
            };
            write(&copy.join(path), &with_mistakes(path, text));
        }
    }
}

/// The files of a package.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    entries
        .map(|entry| entry.expect("an entry").path())
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            false => vec![path],
        })
        .collect()
}

/// Writes a file unless it is there: what has not changed is not built again.
fn write(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|there| there == text) {
        return;
    }
    fs::create_dir_all(path.parent().expect("a directory")).expect("a new directory");
    fs::write(path, text).expect("a written file");
}

fn with_mistakes(path: &Path, mut text: String) -> String {
    let Ok(file) = path.strip_prefix("src") else {
        return text;
    };
    for (number, mistake) in MISTAKES.iter().enumerate() {
        if Path::new(mistake.file) != file {
            continue;
        }
        let places = text.matches(mistake.right).count();
        assert_eq!(places, 1, "class {}: {}", mistake.class, mistake.right);
        let made = format!("crate::is_made({number})");
        text = text.replace(mistake.right, &mistake.wrong.replace("made!()", &made));
    }
    if file.ends_with("src/lib.rs") {
        text += &format!(
            "\nextern crate std as made_std;\n\n/// Whether a mistake is made.\n\
             pub fn is_made(number: usize) -> bool {{\n    \
             static MADE: made_std::sync::OnceLock<Option<usize>> = made_std::sync::OnceLock::new();\n    \
             *MADE.get_or_init(|| made_std::env::var({SWITCH:?}).ok()?.parse().ok()) == Some(number)\n}}\n"
        );
    }
    text
}
