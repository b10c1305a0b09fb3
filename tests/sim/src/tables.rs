// SPDX-License-Identifier: MIT OR Apache-2.0
//! The README's tables, made of the tables that the code runs by.

use std::fmt::Write;

use bulkhead_abi::registers::{CallClass, Extended, RETURN_RULES};
use bulkhead_abi::reserved::RULES;
use bulkhead_abi::{FfaError, Version};
use bulkhead_core::dispatch::{CALLS, Callers};
use bulkhead_core::interrupt::route::{Route, TABLE as ROUTES, Target};
use bulkhead_core::runtime_model::{TABLE, TRANSITIONS, Transition, Verdict};
use bulkhead_core::share::{RECLAIM, RELINQUISH, RETRIEVE, SEND};
use bulkhead_core::system_state::{BANKS, Presence};

use crate::coverage::Coverage;

/// The FF-A calls that Bulkhead serves.
pub fn calls() -> String {
    let mut text = String::from(
        "| call | 32-bit | 64-bit | from the normal world | from partitions | callers from | errors |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for call in &CALLS {
        let row = call.function.row();
        let id = |there: bool, base: u32| match there {
            true => format!("`{:#010x}`", base | u32::from(row.number)),
            false => "–".into(),
        };
        let mark = |served: bool| if served { "yes" } else { "–" };
        let errors: Vec<_> = call.errors.iter().map(error).collect();
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} |",
            row.name,
            id(row.w32, 0x8400_0000),
            id(row.w64, 0xc400_0000),
            mark(matches!(call.callers, Callers::Both | Callers::NormalWorld)),
            match call.callers {
                Callers::MultiCore => "multi-core",
                Callers::Partitions if call.is_for_s_el0() => "at S-EL0",
                other => mark(other != Callers::NormalWorld),
            },
            call.since,
            or_dash(errors.join(", ")),
        )
        .expect("a string takes everything");
    }
    text
}

/// Which tests name each call.
pub fn coverage() -> String {
    let coverage = Coverage::read();
    let mut text = String::from(
        "| call | simulator | two worlds | cases and features |\n\
         |---|---|---|---|\n",
    );
    for call in &CALLS {
        let name = format!("{:?}", call.function);
        let (simulator, two_worlds) = coverage.counts(&name);
        let ids = or_dash(coverage.ids(&name).join(" "));
        let call = call.function.row().name;
        writeln!(text, "| {call} | {simulator} | {two_worlds} | {ids} |")
            .expect("a string takes everything");
    }
    text
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "–".into() } else { text }
}

/// The EL1 and EL0 registers that are switched.
pub fn system_state() -> String {
    let mut text = String::from("| switched | registers |\n|---|---|\n");
    for (presence, names) in BANKS {
        let when = match presence {
            Presence::Always => "always",
            Presence::PointerAuthentication => "with pointer authentication",
            Presence::MemoryTagging => "with memory tagging",
        };
        writeln!(text, "| {when} | {} |", names.join(", ")).expect("a string takes everything");
    }
    text
}

/// Which call each runtime model allows.
pub fn runtime_models() -> String {
    let names: Vec<&str> = TRANSITIONS.iter().map(|call| transition(*call)).collect();
    let mut text = format!(
        "| runtime model | {} |\n|---|{}\n",
        names.join(" | "),
        "---|".repeat(9)
    );
    for row in &TABLE {
        let verdicts: Vec<&str> = row
            .verdicts
            .iter()
            .map(|verdict| {
                if *verdict == Verdict::Allowed {
                    "yes"
                } else {
                    "DENIED"
                }
            })
            .collect();
        writeln!(text, "| {} | {} |", row.name, verdicts.join(" | "))
            .expect("a string takes everything");
    }
    text
}

/// What a core does for a context with a secure interrupt to handle.
pub fn routing() -> String {
    let mut text = String::from(
        "| the context | the core runs the normal world | a partition that signals | one that queues | one that handles an interrupt | one that initialises |\n\
         |---|---|---|---|---|---|\n",
    );
    for (target, routes) in &ROUTES {
        let place = match target {
            Target::Running => "runs on this core",
            Target::RunningElsewhere => "runs on another core",
            Target::Waiting => "waits",
            Target::Left => "waits, and is left to the normal world's scheduler",
            Target::OverBudget => "waits, and has used its share of time",
            Target::BlockedHere => "awaits an answer in the chain of this core",
            Target::BlockedElsewhere => "awaits an answer on another core",
            Target::Preempted => "was preempted",
            Target::Off => "has not started, or its core is off",
            Target::Aborted => "ended",
        };
        let routes = routes.map(|route| match route {
            Route::Pend => "pending",
            Route::Enter => "entered, RTM_SEC_INTERRUPT",
            Route::Unblock => "entered, in its model",
            Route::Later => "when the chain is done",
            Route::Kick => "that core looks",
            Route::Drop => "dropped",
        });
        writeln!(text, "| {place} | {} |", routes.join(" | ")).expect("a string takes everything");
    }
    text
}

/// The rules of memory transactions, call by call.
pub fn share_rules() -> String {
    let mut text = String::from("| call | rule | what must hold | else |\n|---|---|---|---|\n");
    let mut add = |call: &str, id: &str, rule: &str, refused: FfaError| {
        writeln!(text, "| {call} | {id} | {rule} | {} |", error(refused))
            .expect("a string takes everything");
    };
    for rule in &SEND {
        add("MEM_DONATE, LEND, SHARE", rule.id, rule.text, rule.error);
    }
    for rule in &RETRIEVE {
        add("MEM_RETRIEVE_REQ", rule.id, rule.text, rule.error);
    }
    for rule in &RELINQUISH {
        add("MEM_RELINQUISH", rule.id, rule.text, rule.error);
    }
    for rule in &RECLAIM {
        add("MEM_RECLAIM", rule.id, rule.text, rule.error);
    }
    text
}

/// What a caller finds in its registers.
pub fn return_rules() -> String {
    let mut text = String::from(
        "| call | width of the call | caller's version | results in | x8–x17 without a result |\n\
         |---|---|---|---|---|\n",
    );
    for rule in &RETURN_RULES {
        let class = match rule.class {
            CallClass::Ffa => "FF-A",
            CallClass::FfaExtended => "FF-A with extended results",
            CallClass::Other => "any other SMCCC call",
        };
        let versions = versions(rule.from, rule.to);
        let extended = match rule.extended {
            Extended::Preserve => "preserved",
            Extended::Clear => "zero",
        };
        writeln!(
            text,
            "| {class} | {:?} | {versions} | x0–x{} | {extended} |",
            rule.width, rule.last_result
        )
        .expect("a string takes everything");
    }
    text.replace("x0–x0", "x0")
        .replace("W32", "32")
        .replace("W64", "64")
}

/// Which register bits a caller must leave zero.
pub fn reserved_bits() -> String {
    let mut text = String::from(
        "| call | registers | bits that must be zero | caller's version | rule |\n\
         |---|---|---|---|---|\n",
    );
    for rule in &RULES {
        let row = rule.function.row();
        let letter = if row.w64 { 'x' } else { 'w' };
        let registers = match (rule.first, rule.last) {
            (first, last) if first == last => format!("{letter}{first}"),
            (first, last) => format!("{letter}{first}–{letter}{last}"),
        };
        let bits = match (rule.bits, row.w64) {
            (u64::MAX, _) | (0xffff_ffff, false) => "all".to_string(),
            (bits, _) => format!("`{bits:#010x}`"),
        };
        writeln!(
            text,
            "| {} | {registers} | {bits} | {} | {} |",
            row.name,
            versions(rule.from, rule.to),
            rule.source,
        )
        .expect("a string takes everything");
    }
    text
}

fn versions(from: Version, to: Version) -> String {
    match (from, to) {
        (Version::V1_0, to) if to >= Version::OURS => "any".to_string(),
        (from, to) if to >= Version::OURS => format!("{from} and later"),
        (from, to) => format!("{from} to {to}"),
    }
}

fn transition(call: Transition) -> &'static str {
    match call {
        Transition::Request => "DIRECT_REQ",
        Transition::Request2 => "DIRECT_REQ2",
        Transition::Response => "DIRECT_RESP",
        Transition::Response2 => "DIRECT_RESP2",
        Transition::Run => "RUN",
        Transition::Wait => "MSG_WAIT",
        Transition::Yield => "YIELD",
        Transition::Error => "ERROR",
        Transition::Abort => "ABORT",
    }
}

fn error(error: FfaError) -> &'static str {
    match error {
        FfaError::NotSupported => "NOT_SUPPORTED",
        FfaError::InvalidParameters => "INVALID_PARAMETERS",
        FfaError::NoMemory => "NO_MEMORY",
        FfaError::Busy => "BUSY",
        FfaError::Interrupted => "INTERRUPTED",
        FfaError::Denied => "DENIED",
        FfaError::Retry => "RETRY",
        FfaError::Aborted => "ABORTED",
        FfaError::NoData => "NO_DATA",
        FfaError::NotReady => "NOT_READY",
    }
}
