// SPDX-License-Identifier: MIT OR Apache-2.0
//! The normal world of Bulkhead's tests: a BL33 at NS-EL2.
//!
//! It obeys one command line, ASCII and NUL-terminated, that the emulator's loader puts at 0x4f00_0000, and
//! then powers the machine off:
//!
//! | command | does |
//! |---|---|
//! | `demo`, or none | shows discovery and direct messages of whatever partitions there are |
//! | `tests [NAME]` | runs the two-world tests, or those whose name contains `NAME` |
//! | `interrupts [NAME]` | the same of the tests of interrupts and timers |
//! | `list` | prints the tests' names |
//! | `bench` | makes each kind of call once in a marked window |
//! | `bench interrupts` | the same with interrupts alone |
//! | `bad-partitions`, `existing`, `optee`, `sparse` | runs the tests of that configuration |
//! | `bad-spmc` | checks that there is no SPMC |
//!
//! Further words: `version=1.0` to `version=1.3` is the FF-A version to speak (1.2 without it), `no-sve`
//! leaves SVE alone where EL3 traps it, `seconds=N` is how long the stress of requests runs, and `cycles=N`
//! how often cores go off and on under traffic. All but `list` and `bench` end with `[done] P passed, F failed, S
//! skipped`.
#![no_std]
#![no_main]
// As in bulkhead-cases: a failure carries its text.
#![allow(clippy::result_large_err)]

mod bench;
mod command;
mod demo;

use bulkhead_abi::{EndpointId, Function, Width};
use bulkhead_cases::normal_world::NoSpmc;
use bulkhead_cases::outcome::{Outcome, TestResult};
use bulkhead_cases::runner::Totals;
use bulkhead_cases::{NormalWorld, configurations, ensure, runner};
use bulkhead_payload::console::{self, Console};
use bulkhead_payload::cores::Core;
use bulkhead_payload::request::ErrorName;
use bulkhead_payload::second_core::SecondCore;
use bulkhead_payload::{Canary, Conduit, EntryState, Request, Text, println, psci};

use command::{Command, Verb};

bulkhead_payload::entry!(main);

fn main(_: &EntryState) -> ! {
    console::select(Console::Uart);
    let command = Command::read();
    match command.verb {
        Verb::Demo => println!("{}", demo::run(command.version)),
        Verb::Tests => println!("{}", tests(&command)),
        Verb::Suite => println!("{}", suite(&command)),
        Verb::BadSpmc => println!("{}", bad_spmc(&command)),
        Verb::List => runner::list(),
        Verb::Bench => bench::run(command.version, false),
        Verb::BenchInterrupts => bench::run(command.version, true),
        Verb::Unknown => println!("[panic] unknown command `{}`", command.line),
    }
    psci::system_off()
}

/// What FFA_VERSION did, in words.
fn reason(no_spmc: &NoSpmc) -> Text {
    match no_spmc {
        NoSpmc::Refused(value) => Text::new(format_args!(
            "FFA_VERSION returned {value:#x} ({})",
            ErrorName(*value as u32 as i32)
        )),
        NoSpmc::NoEl3(exception) => Text::new(format_args!(
            "FFA_VERSION returned nothing: no EL3 here ({exception:?})"
        )),
    }
}

/// A normal world that speaks the version, with canaries around its calls.
fn start(command: &Command) -> TestResult<NormalWorld> {
    let mut world = NormalWorld::start(command.version)
        .map_err(|no_spmc| Outcome::failed(format_args!("no SPMC: {}", reason(&no_spmc))))?;
    world.sve = command.sve;
    world.seconds = command.seconds;
    world.cycles = command.cycles;
    world.watch_state();
    Ok(world)
}

#[inline(never)]
fn tests(command: &Command) -> Totals {
    let filter = command.filter.as_str();
    if runner::selected(command.cases.clone(), filter)
        .next()
        .is_none()
    {
        println!("[tests] no test has `{filter}` in its name");
    }
    let mut world = start(command).and_then(|mut world| {
        world.list_partitions()?;
        world.find_testers()?;
        Ok(world)
    });
    runner::run(
        command.cases.clone(),
        filter,
        world.as_mut().map_err(|why| &*why),
    )
}

#[inline(never)]
fn suite(command: &Command) -> Totals {
    let suite = configurations::suite(command.first_word()).unwrap_or_default();
    let mut world = start(command);
    runner::run_suite(suite, world.as_mut().map_err(|why| &*why))
}

/// An OS starts all of them, SPMC or not.
fn other_cores_come_on() -> TestResult {
    for index in 1..4 {
        if Core::start(index).is_none() {
            return Err(Outcome::failed(format_args!(
                "core {index} did not come on"
            )));
        }
    }
    Ok(())
}

/// The SPMC refused its manifest; the normal world runs all the same, and is told so.
#[inline(never)]
fn bad_spmc(command: &Command) -> Totals {
    let result = match NormalWorld::ask_version(command.version) {
        Err(NoSpmc::Refused(value)) => {
            println!("[demo] no SPMC: {}", reason(&NoSpmc::Refused(value)));
            other_cores_come_on()
        }
        Err(no_spmc) => Err(Outcome::failed(format_args!("{}", reason(&no_spmc)))),
        Ok(version) => Err(Outcome::failed(format_args!(
            "there is an SPMC of FF-A {version}"
        ))),
    };
    let mut totals = Totals::default();
    totals.record(
        "b57_an_spmc_that_refuses_its_manifest_lets_the_normal_world_run",
        result,
    );
    totals.record(
        "b57_calls_to_an_spmc_that_is_not_there_return_on_each_core",
        calls_without_spmc(),
    );
    totals
}

/// Without an SPMC every call comes back, on the boot core and on one that comes on later, and none
/// says that it succeeded.
fn calls_without_spmc() -> TestResult {
    const PARTITION: EndpointId = EndpointId(0x8001);
    let calls = [
        Request::ffa(Function::Features, Width::W32).with([Function::RxtxMap.id(Width::W64)]),
        Request::ffa(Function::PartitionInfoGet, Width::W32).with([0, 0, 0, 0, 1]),
        Request::direct(Width::W32, EndpointId::NORMAL_WORLD, PARTITION, [0; 5]),
        Request::run(PARTITION, 0),
    ];
    let canary = Canary::new(EndpointId::NORMAL_WORLD);
    for request in calls {
        is_no_success(request.issue(Conduit::Smc, canary).x(0))?;
    }
    if let Some(mut core) = SecondCore::start() {
        for request in calls {
            core.post(request, canary);
            is_no_success(core.reply().x(0))?;
        }
    }
    Ok(())
}

fn is_no_success(x0: u64) -> TestResult {
    for function in [Function::Success, Function::MsgSendDirectResp] {
        for width in [Width::W32, Width::W64] {
            ensure!(x0 != function.id(width), "a call returned {function}");
        }
    }
    Ok(())
}
