// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line.

use core::ops::Range;

use bulkhead_abi::Version;
use bulkhead_cases::configurations::suite;
use bulkhead_payload::{Text, board};

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// Show.
    Demo,
    /// Run tests of [`Command::cases`].
    Tests,
    /// List tests.
    List,
    /// Make calls in marked windows.
    Bench,
    /// That for interrupts alone.
    BenchInterrupts,
    /// Run the tests of a configuration, which is the first word.
    Suite,
    /// See that there is no SPMC.
    BadSpmc,
    /// None of these.
    Unknown,
}

/// A command line.
#[derive(Clone, Debug)]
pub struct Command {
    /// The whole line.
    pub line: Text,
    /// What to do.
    pub verb: Verb,
    /// The indexes of the tests of a suite.
    pub cases: Range<usize>,
    /// A part of the names of tests.
    pub filter: Text,
    /// The FF-A version to speak.
    pub version: Version,
    /// Whether SVE may be touched.
    pub sve: bool,
    /// How long the stress of requests runs, in seconds.
    pub seconds: Option<u64>,
    /// How often cores go off and on.
    pub cycles: Option<u64>,
}

impl Command {
    /// Reads the line that the emulator's loader left in memory; memory that was never written, or that
    /// does not begin with a printable character, is an empty line.
    pub fn read() -> Self {
        let bytes = (0..board::COMMAND_LINE_SIZE).map(|offset| {
            // SAFETY: RAM of the machine that nothing else uses.
            unsafe { ((board::COMMAND_LINE + offset) as *const u8).read_volatile() }
        });
        Self::parse(Text::from_ascii(bytes))
    }

    /// The first word, empty if there is none.
    pub fn first_word(&self) -> &str {
        self.line
            .as_str()
            .split_ascii_whitespace()
            .next()
            .unwrap_or_default()
    }

    fn parse(line: Text) -> Self {
        let mut command = Self {
            line,
            verb: Verb::Demo,
            cases: 0..0,
            filter: Text::default(),
            version: Version::V1_2,
            sve: true,
            seconds: None,
            cycles: None,
        };
        for (index, word) in line.as_str().split_ascii_whitespace().enumerate() {
            let number = |name: &str| word.strip_prefix(name).and_then(|value| value.parse().ok());
            let (seconds, cycles) = (number("seconds="), number("cycles="));
            if seconds.is_some() || cycles.is_some() {
                command.seconds = command.seconds.or(seconds);
                command.cycles = command.cycles.or(cycles);
                continue;
            }
            match (index, word) {
                (0, "demo") => command.verb = Verb::Demo,
                (0, "list") => command.verb = Verb::List,
                (0, "bench") => command.verb = Verb::Bench,
                (1, "interrupts") if command.verb == Verb::Bench => {
                    command.verb = Verb::BenchInterrupts;
                }
                (0, "bad-spmc") => command.verb = Verb::BadSpmc,
                (0, word) if suite(word).is_some() => command.verb = Verb::Suite,
                (0, word) if let Some(cases) = bulkhead_cases::suite(word) => {
                    command.verb = Verb::Tests;
                    command.cases = cases;
                }
                (_, "no-sve") => command.sve = false,
                (_, "version=1.0") => command.version = Version::V1_0,
                (_, "version=1.1") => command.version = Version::V1_1,
                (_, "version=1.2") => command.version = Version::V1_2,
                (_, "version=1.3") => command.version = Version::V1_3,
                (1.., _) if command.verb == Verb::Tests && command.filter.as_str().is_empty() => {
                    command.filter = Text::new(format_args!("{word}"));
                }
                _ => command.verb = Verb::Unknown,
            }
        }
        command
    }
}
