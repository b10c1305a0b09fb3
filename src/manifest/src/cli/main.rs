// SPDX-License-Identifier: MIT OR Apache-2.0
//! `bulkhead-manifest check FILE... [--dump]`: the firmware's own checks, before the firmware runs.
#![forbid(unsafe_code)]

mod check;
mod dump;
mod source;

use std::process::ExitCode;

use source::{Failure, Source};

const USAGE: &str = "usage: bulkhead-manifest check FILE... [--dump]

Checks SPMC manifests, partition manifests and packages as Bulkhead does at boot, and says in one line each what is
wrong or odd: file, node, property, value, the rule's name, and what to write instead. FILE is device tree source
(compiled by dtc; #include \"FILE\" is expanded), a device tree blob, or a package (SPKG or transfer list); what it is
shows from its contents. Partitions that are given together with an SPMC manifest are checked against it and against
each other. A board's own reserved ranges are the board's, and checked at boot only.

  --dump   prints what was understood

Exit status: 0 nothing is wrong (there may be warnings), 1 something is, 2 it could not be checked.";

/// What is wrong with the files.
const WRONG: u8 = 1;
/// The files could not be checked.
const UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments
        .iter()
        .any(|argument| argument == "--help" || argument == "-h")
    {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(status) => ExitCode::from(status),
    }
}

fn run(arguments: &[String]) -> Result<(), u8> {
    let mut files = Vec::new();
    let mut dump = false;
    let Some((command, rest)) = arguments.split_first() else {
        return Err(usage("which command?"));
    };
    if command != "check" {
        return Err(usage(&format!("unknown command {command}")));
    }
    for argument in rest {
        match argument.as_str() {
            "--dump" => dump = true,
            option if option.starts_with('-') => {
                return Err(usage(&format!("unknown option {option}")));
            }
            file => files.push(file),
        }
    }
    if files.is_empty() {
        return Err(usage("which files?"));
    }

    let mut status = 0;
    let mut sources = Vec::new();
    for file in files {
        match source::read(file) {
            Ok(source) => sources.push(source),
            Err(failure) => {
                status = status.max(match failure {
                    Failure::Wrong(_) => WRONG,
                    Failure::Unusable(_) => UNUSABLE,
                });
                println!("error: {failure}");
            }
        }
    }
    let findings = check::check(&sources);
    for warning in &findings.warnings {
        println!("warning: {warning}");
    }
    for error in &findings.errors {
        println!("error: {error}");
        status = status.max(WRONG);
    }
    if dump {
        for source in &sources {
            dump::print(source);
        }
        for placed in &findings.placed {
            dump::print_layout(placed);
        }
    }
    if status == 0 {
        println!("ok: {}", names(&sources));
        Ok(())
    } else {
        Err(status)
    }
}

/// The files and what they are.
fn names(sources: &[Source]) -> String {
    let each = sources
        .iter()
        .map(|source| format!("{} ({})", source.name, source.contents.describe()));
    each.collect::<Vec<_>>().join(", ")
}

fn usage(what: &str) -> u8 {
    eprintln!("bulkhead-manifest: {what}\n\n{USAGE}");
    UNUSABLE
}
