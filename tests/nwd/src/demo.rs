// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `./scripts/run` shows.

use arrayvec::ArrayVec;
use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::{EndpointId, Function, Uuid, Version, Width};
use bulkhead_cases::outcome::{Outcome, TestResult, Verdict};
use bulkhead_cases::partition_list::{Descriptors, PartitionDescriptor, get};
use bulkhead_cases::protocol::{Caller, command};
use bulkhead_cases::runner::Totals;
use bulkhead_cases::{NormalWorld, ensure};
use bulkhead_payload::request::ErrorName;
use bulkhead_payload::{Text, println};

/// Shows everything. What a user would not want to see makes it a failed test.
pub fn run(version: Version) -> Totals {
    let result = match NormalWorld::start(version) {
        Err(no_spmc) => {
            println!("[demo] no SPMC: {}", crate::reason(&no_spmc));
            Err(Outcome::failed(format_args!("there is no SPMC")))
        }
        Ok(mut world) => show(&mut world),
    };
    println!("[demo] done");
    let mut totals = Totals::default();
    totals.record("demo", result);
    totals
}

fn show(world: &mut NormalWorld) -> TestResult {
    let offered = world.negotiation.offered().unwrap_or(Version::V1_0);
    println!(
        "[demo] FF-A: the SPMC implements {offered}, this normal world speaks {}",
        world.version
    );
    let (own, spmc) = (
        world.ffa(Function::IdGet, []),
        world.ffa(Function::SpmIdGet, []),
    );
    println!(
        "[demo] this is endpoint {:#06x}, the SPMC is {:#06x}",
        own.x(2),
        spmc.x(2)
    );
    world.map_mailbox(Width::W64).succeeded()?;
    let version = world.version;
    let partitions = get(world, version, Uuid::NIL)?;
    table(&partitions);
    let receivers: ArrayVec<EndpointId, 32> = partitions
        .iter()
        .filter(|partition| {
            partition
                .properties
                .contains(Properties::DIRECT_REQ_RECEIVE)
        })
        .map(|partition| partition.id)
        .collect();
    if receivers.is_empty() {
        println!("[demo] no partition receives direct messages");
        return Ok(());
    }
    let mut unanswered = 0;
    println!(
        "[demo] direct messages from the normal world (a test partition inverts what it gets):"
    );
    for &to in &receivers {
        for width in [Width::W32, Width::W64] {
            unanswered += u32::from(!message(world, width, to));
        }
    }
    if let [first, second, ..] = receivers[..] {
        println!("[demo] direct messages from partition to partition:");
        for width in [Width::W32, Width::W64] {
            for (from, to) in [(first, second), (second, first)] {
                unanswered += u32::from(!forward(world, width, from, to));
            }
        }
    }
    ensure!(unanswered == 0, "{unanswered} messages were not answered");
    Ok(())
}

fn table(partitions: &Descriptors) {
    println!("[demo] {} partitions:", partitions.len());
    println!("[demo]   id      contexts  UUID                                  properties");
    for PartitionDescriptor {
        id,
        contexts,
        properties,
        uuid,
    } in partitions
    {
        println!(
            "[demo]   {id}  {contexts:<8}  {uuid}  {}",
            words(*properties)
        );
    }
}

/// Properties by their names.
fn words(properties: Properties) -> Text {
    const NAMES: [(Properties, &str); 6] = [
        (Properties::DIRECT_REQ_RECEIVE, "direct"),
        (Properties::DIRECT_REQ2_RECEIVE, "direct2"),
        (Properties::INDIRECT, "indirect"),
        (Properties::NOTIFICATIONS, "notifications"),
        (Properties::AARCH64, "AArch64"),
        (Properties::LIVE_ACTIVATION, "live-activation"),
    ];
    let mut text = Text::default();
    for (property, name) in NAMES {
        if properties.contains(property) {
            let space = if text.as_str().is_empty() { "" } else { " " };
            text = Text::new(format_args!("{text}{space}{name}"));
        }
    }
    text
}

fn bits(width: Width) -> &'static str {
    match width {
        Width::W32 => "32-bit",
        Width::W64 => "64-bit",
    }
}

fn value(width: Width) -> u64 {
    match width {
        Width::W32 => 0x1234_5678,
        Width::W64 => 0x1234_5678_9abc_def0,
    }
}

/// Sends a message; whether it was answered.
fn message(world: &mut NormalWorld, width: Width, to: EndpointId) -> bool {
    let sent = value(width);
    let reply = world.direct(width, to, [sent, 0, 0, 0, 0]);
    let answered = reply.is(Function::MsgSendDirectResp);
    if answered {
        println!(
            "[demo]   normal world -> {to}, {}: {sent:#x}, answer {:#x}",
            bits(width),
            reply.x(3)
        );
    } else {
        println!(
            "[demo]   normal world -> {to}, {}: {sent:#x} returned {reply}",
            bits(width)
        );
    }
    answered
}

/// Asks the partition `from` to send a message to `to`; whether it was answered.
fn forward(world: &mut NormalWorld, width: Width, from: EndpointId, to: EndpointId) -> bool {
    let sent = value(width);
    let reply = world.direct(width, from, [command::FORWARD, to.0.into(), sent, 0, 0]);
    let [answer, function, code, received, _] = reply.payload();
    let forwarded = reply.is(Function::MsgSendDirectResp) && answer == command::FORWARD;
    let answered =
        forwarded && function & Width::W32.mask() == Function::MsgSendDirectResp.id(width);
    if answered {
        println!(
            "[demo]   {from} -> {to}, {}: {sent:#x}, answer {received:#x}",
            bits(width)
        );
    } else if forwarded {
        println!(
            "[demo]   {from} -> {to}, {}: refused, {}",
            bits(width),
            ErrorName(code as u32 as i32)
        );
    } else {
        println!(
            "[demo]   {from} -> {to}, {}: {from} does not forward messages",
            bits(width)
        );
    }
    answered
}
