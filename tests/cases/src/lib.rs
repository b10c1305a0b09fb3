// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bulkhead's two-world tests. A file holds both halves of its tests: what the normal world does, and
//! what partitions do when asked to.
//!
//! To add a test, write its halves in the file of its subject and one row in that file's [`cases!`]. The
//! normal world's half decides; it runs another half in a partition with
//! [`Caller::invoke`](protocol::Caller::invoke), by its number in the row. The binary `nwd` has the
//! normal world's halves and `tester` the partitions', at the same indexes: they are made of the same
//! tables, and [`FINGERPRINT`] tells when they are not of the same build.
//!
//! After every call, in both worlds, [`rules`] are checked, and around every call of the normal world all
//! EL1, EL0 and FP/SIMD registers hold canaries; a test whose own checks pass fails when one of those did
//! not. After every test, every tester has to answer.
#![no_std]
// A failure carries its text: there is no allocator, and a test fails once.
#![allow(clippy::result_large_err)]

pub mod bench;
pub mod case;
pub mod configurations;
pub mod negotiation;
pub mod normal_world;
pub mod outcome;
pub mod partition_list;
pub mod partition_world;
pub mod protocol;
pub mod rules;
pub mod runner;

mod boot;
mod chain;
mod containment;
mod cores;
mod cycles;
mod direct;
mod discovery;
mod el0;
mod extended;
mod hostile;
mod identity;
mod indirect;
mod interrupts;
mod leakage;
mod mailbox;
mod misbehaviour;
mod notifications;
mod registers;
mod response;
mod run;
mod setup;
mod sharing;
mod state;
mod stress;
mod topology;
mod versions;
mod vm_buffers;

use core::ops::Range;

use case::{Case, NormalHalf, PartitionHalf};

pub use interrupts::windows;
pub use normal_world::NormalWorld;
pub use partition_world::PartitionWorld;
pub use sharing::cost;

/// The suite that every configuration with testers can run, but for what it lacks: the tables of its files in the
/// order in which their tests run. Tests that end a partition, and those that sum up the run, come last.
const TESTS: &[&[Case]] = &[
    setup::CASES,
    identity::CASES,
    discovery::CASES,
    mailbox::CASES,
    vm_buffers::CASES,
    versions::CASES,
    boot::CASES,
    direct::CASES,
    response::CASES,
    chain::CASES,
    cycles::CASES,
    run::CASES,
    notifications::CASES,
    indirect::CASES,
    sharing::CASES,
    sharing::cost::CASES,
    sharing::refused::CASES,
    sharing::requests::CASES,
    sharing::asked::CASES,
    sharing::pieces::CASES,
    extended::CASES,
    registers::CASES,
    state::CASES,
    leakage::CASES,
    hostile::CASES,
    misbehaviour::CASES,
    containment::CASES,
    cores::CASES,
    sharing::ends::CASES,
    stress::CASES,
    state::SUMMARY,
];

/// The suites, each with the word that runs it.
const SUITES: [(&str, &[&[Case]]); 3] = [
    ("tests", TESTS),
    ("interrupts", interrupts::FILES),
    ("el0", &[el0::CASES]),
];

const fn count(files: &[&[Case]]) -> usize {
    let mut count = 0;
    let mut file = 0;
    while file < files.len() {
        count += files[file].len();
        file += 1;
    }
    count
}

/// How many tests there are.
pub const COUNT: usize = count(SUITES[0].1) + count(SUITES[1].1) + count(SUITES[2].1);

/// The indexes of the tests of a suite; `None` if there is no such suite.
pub fn suite(word: &str) -> Option<Range<usize>> {
    let mut first = 0;
    for (name, files) in SUITES {
        let end = first + count(files);
        if name == word {
            return Some(first..end);
        }
        first = end;
    }
    None
}

/// Every test. A constant, so that a binary holds only what it takes of it.
const ALL: [Case; COUNT] = {
    let mut all = [TESTS[0][0]; COUNT];
    let (mut next, mut suite) = (0, 0);
    while suite < SUITES.len() {
        let files = SUITES[suite].1;
        let mut file = 0;
        while file < files.len() {
            let mut row = 0;
            while row < files[file].len() {
                all[next] = files[file][row];
                next += 1;
                row += 1;
            }
            file += 1;
        }
        suite += 1;
    }
    all
};

/// The names of the tests, by index.
pub static NAMES: [&str; COUNT] = {
    let mut names = [""; COUNT];
    let mut index = 0;
    while index < COUNT {
        names[index] = ALL[index].name;
        index += 1;
    }
    names
};

/// The normal world's halves, by index.
pub static NORMAL_HALVES: [NormalHalf; COUNT] = {
    let mut halves = [ALL[0].normal; COUNT];
    let mut index = 0;
    while index < COUNT {
        halves[index] = ALL[index].normal;
        index += 1;
    }
    halves
};

/// The partitions' halves, by index.
pub static PARTITION_HALVES: [&[PartitionHalf]; COUNT] = {
    let mut halves = [ALL[0].halves; COUNT];
    let mut index = 0;
    while index < COUNT {
        halves[index] = ALL[index].halves;
        index += 1;
    }
    halves
};

/// A hash (FNV-1a) over the names and the counts of halves of all tests.
pub const FINGERPRINT: u64 = {
    const fn step(hash: u64, byte: u8) -> u64 {
        (hash ^ byte as u64).wrapping_mul(0x0000_0100_0000_01b3)
    }
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut index = 0;
    while index < COUNT {
        let name = ALL[index].name.as_bytes();
        let mut at = 0;
        while at < name.len() {
            hash = step(hash, name[at]);
            at += 1;
        }
        hash = step(hash, ALL[index].halves.len() as u8);
        index += 1;
    }
    // The low half is what a 32-bit message carries.
    hash ^ hash >> 32
};

/// The name of the test with this index.
pub fn name(case: usize) -> &'static str {
    NAMES.get(case).copied().unwrap_or("no test")
}
