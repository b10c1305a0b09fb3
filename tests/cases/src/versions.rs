// SPDX-License-Identifier: MIT OR Apache-2.0
//! Callers of every version in one run: each gets its own version's layouts and registers.

use bulkhead_abi::features::{BufferGranule, rxtx_map_properties};
use bulkhead_abi::partition_info::{self, RegsReply};
use bulkhead_abi::{EndpointId, FfaError, Function, Uuid, Version, Width};
use bulkhead_payload::memory::MAILBOX;
use bulkhead_payload::{Reply, Request};

use crate::normal_world::{NormalWorld, Tester, rxtx_map};
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_list::{descriptor_size, get, request};
use crate::partition_world::PartitionWorld;
use crate::protocol::Caller;
use crate::rules::{ERROR, strict};
use crate::{cases, ensure, fail};

cases! {
    a04_callers_of_all_versions_get_their_own_layouts: [layouts_half];
    a22_callers_of_all_versions_get_their_own_registers: [registers_half];
    a10_the_normal_world_walks_the_list_in_registers;
    d10_a_wrong_index_and_a_wrong_tag_are_refused;
    v20_what_a_caller_below_1_2_leaves_in_x8_to_x17_is_ignored: [junk_half];
}

const VERSIONS: [Version; 4] = [Version::V1_0, Version::V1_1, Version::V1_2, Version::V1_3];

/// Registers 0 to `last` as a set.
const fn up_to(last: u32) -> u32 {
    (1 << (last + 1)) - 1
}

/// FFA_PARTITION_INFO_GET_REGS from index `start` on.
fn get_regs(uuid: Uuid, start: u64, tag: u64) -> Request {
    let [low, high] = [0, 8].map(|at| {
        let bytes = uuid.0;
        u64::from_le_bytes(core::array::from_fn(|index| bytes[at + index]))
    });
    Request::ffa(Function::PartitionInfoGetRegs, Width::W64).with([low, high, start | tag << 16])
}

/// Runs the half in one tester of each version.
fn in_every_version(world: &mut NormalWorld) -> TestResult {
    for version in VERSIONS {
        let Some(Tester { id, .. }) = world
            .testers()
            .into_iter()
            .find(|tester| tester.version == version)
        else {
            fail!("no tester speaks FF-A {version}");
        };
        let [spoken, listed, ..] = world.invoke(id, 0, [0; 3])?;
        equal(
            "the version of the half",
            spoken,
            u64::from(version.to_word()),
        )?;
        ensure!(
            listed as usize >= VERSIONS.len(),
            "{id} sees {listed} services"
        );
    }
    Ok(())
}

fn a04_callers_of_all_versions_get_their_own_layouts(world: &mut NormalWorld) -> TestResult {
    in_every_version(world)
}

fn layouts_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    world.call(rxtx_map(Width::W64)).succeeded()?;
    let listed = layouts(world);
    world.ffa(Function::RxtxUnmap, []).succeeded()?;
    Ok([u64::from(world.version.to_word()), listed?, 0, 0])
}

/// The list in the RX buffer and in registers, byte by byte; returns its length.
fn layouts(world: &mut PartitionWorld) -> TestResult<u64> {
    let version = world.version;
    let size = descriptor_size(version);
    let reply = world.call(request(Uuid::NIL, 0)).succeeded()?;
    let told = if version >= Version::V1_1 {
        size as u64
    } else {
        0
    };
    equal("the size of a descriptor", reply.x(3), told)?;
    let count = reply.x(2);
    let mut own = false;
    for at in (0..count as usize).map(|index| index * size) {
        let id = EndpointId(u16::from_le_bytes(MAILBOX.rx.bytes(at)));
        own |= id == world.id();
        if size >= 24 {
            ensure!(
                MAILBOX.rx.bytes(at + 8) != [0; 16],
                "the descriptor of {id} has no UUID"
            );
        }
        if size >= 48 {
            // Image UUID at 24, version at 40, reserved at 44.
            let word = u32::from_le_bytes(MAILBOX.rx.bytes(at + 40));
            let described = Version::from_word(word);
            ensure!(described.is_some(), "{id} has version {word:#x}");
            if id == world.id() {
                equal(
                    "its own version",
                    u64::from(word),
                    u64::from(version.to_word()),
                )?;
            }
            equal(
                "the last word of a descriptor",
                u64::from(u32::from_le_bytes(MAILBOX.rx.bytes(at + 44))),
                0,
            )?;
        }
    }
    ensure!(own, "{} does not find itself", world.id());
    let end = count as usize * size;
    equal(
        "the bytes after the list",
        u64::from_le_bytes(MAILBOX.rx.bytes(end)),
        0,
    )?;
    world.ffa(Function::RxRelease, []).succeeded()?;

    if version < Version::V1_2 {
        let reply = world.call(get_regs(Uuid::NIL, 0, 0));
        return reply.refused(FfaError::NotSupported).map(|()| count);
    }
    let in_registers = walk(world, version)?;
    equal("the length of the list in registers", in_registers, count)?;
    Ok(count)
}

/// Walks the list in registers and compares it with that in the RX buffer; returns its length.
fn walk(caller: &mut impl Caller, version: Version) -> TestResult<u64> {
    let expected = get(caller, version, Uuid::NIL)?;
    let size = descriptor_size(version);
    let per_call = partition_info::REGS_BYTES / size;
    let (mut start, mut tag) = (0, 0);
    while start < expected.len() {
        let reply = caller.call(get_regs(Uuid::NIL, start as u64, tag));
        let reply = reply.returned(Function::Success)?;
        equal("x0", reply.x(0), Function::Success.id(Width::W64))?;
        let list = RegsReply::decode(reply.x(2));
        equal(
            "the size of a descriptor",
            u64::from(list.size),
            size as u64,
        )?;
        equal(
            "the last index",
            u64::from(list.last),
            expected.len() as u64 - 1,
        )?;
        let found = per_call.min(expected.len() - start);
        let last = start + found - 1;
        equal(
            "the last index of this reply",
            u64::from(list.current),
            last as u64,
        )?;
        for (index, descriptor) in expected[start..=last].iter().enumerate() {
            let first = 3 + index * size / 8;
            equal("an id", reply.x(first) & 0xffff, u64::from(descriptor.id.0))?;
            equal(
                "the properties",
                reply.x(first) >> 32,
                u64::from(descriptor.properties.0),
            )?;
            let [low, high] = [reply.x(first + 1), reply.x(first + 2)].map(u64::to_le_bytes);
            let uuid = descriptor.uuid;
            ensure!(
                uuid.0.starts_with(&low) && uuid.0.ends_with(&high),
                "{} has another UUID",
                descriptor.id
            );
        }
        let used = up_to(2 + (found * size / 8) as u32) & !(1 << 1);
        unused_are_clear(&reply, version, used)?;
        tag = u64::from(list.tag);
        start += found;
    }
    Ok(expected.len() as u64)
}

/// Fails unless every register that is not a result is as DECISIONS 4 has it for the version.
fn unused_are_clear(reply: &Reply, version: Version, results: u32) -> TestResult {
    match strict(reply, version, results) {
        None => Ok(()),
        Some(text) => fail!("FF-A {version}: {text}"),
    }
}

fn a22_callers_of_all_versions_get_their_own_registers(world: &mut NormalWorld) -> TestResult {
    in_every_version(world)
}

fn registers_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let version = world.version;
    let features = |function: Function, width| {
        let id = function.id(width);
        Request::ffa(Function::Features, Width::W32).with([id])
    };
    let since = |wanted| version >= wanted;
    for (function, width, served) in [
        (Function::SpmIdGet, Width::W32, since(Version::V1_1)),
        (
            Function::MsgSendDirectReq2,
            Width::W64,
            since(Version::V1_2),
        ),
        (
            Function::MsgSendDirectResp2,
            Width::W64,
            since(Version::V1_2),
        ),
        (
            Function::PartitionInfoGetRegs,
            Width::W64,
            since(Version::V1_2),
        ),
        // The hypervisor's.
        (Function::RxAcquire, Width::W32, false),
        (Function::IdGet, Width::W32, true),
    ] {
        let reply = world.call(features(function, width));
        if served {
            unused_are_clear(&reply.succeeded()?, version, up_to(0))?;
        } else {
            reply.refused(FfaError::NotSupported)?;
        }
    }
    for width in [Width::W32, Width::W64] {
        let reply = world.call(features(Function::RxtxMap, width)).succeeded()?;
        let most = if since(Version::V1_2) { 16 } else { 0 };
        let properties = rxtx_map_properties(BufferGranule::Size4K, most);
        equal(
            "the properties of FFA_RXTX_MAP",
            reply.x(2),
            u64::from(properties),
        )?;
        unused_are_clear(&reply, version, up_to(2) & !(1 << 1))?;
        // A call of each width that is refused: x8 to x17 go by version and width.
        let refused = Request::ffa(Function::RxtxMap, width).with([1, 2, 3]);
        let reply = world.call(refused);
        unused_are_clear(&reply, version, ERROR)?;
        reply.refused(FfaError::InvalidParameters)?;
    }
    let ours = world
        .call(Request::ffa(Function::Version, Width::W32).with([u64::from(version.to_word())]));
    equal(
        "the version of the SPMC",
        ours.x(0),
        u64::from(Version::OURS.to_word()),
    )?;
    unused_are_clear(&ours, version, up_to(0))?;
    Ok([u64::from(version.to_word()), VERSIONS.len() as u64, 0, 0])
}

fn a10_the_normal_world_walks_the_list_in_registers(world: &mut NormalWorld) -> TestResult {
    let version = world.version;
    if version < Version::V1_2 {
        let reply = world.call(get_regs(Uuid::NIL, 0, 0));
        return reply.refused(FfaError::NotSupported);
    }
    let listed = walk(world, version)?;
    equal(
        "the length of the list",
        listed,
        world.partitions.len() as u64,
    )
}

fn d10_a_wrong_index_and_a_wrong_tag_are_refused(world: &mut NormalWorld) -> TestResult {
    if world.version < Version::V1_2 {
        let reply = world.call(get_regs(Uuid::NIL, 0, 0));
        return reply.refused(FfaError::NotSupported);
    }
    let beyond = world.partitions.len() as u64;
    let invalid = [
        (Uuid::NIL, beyond),
        (Uuid::NIL, 0xffff),
        (Uuid([0x5a; 16]), 0),
    ];
    let list = world
        .call(get_regs(Uuid::NIL, 0, 0))
        .returned(Function::Success)?;
    let tag = u64::from(RegsReply::decode(list.x(2)).tag);
    for (uuid, start) in invalid {
        let reply = world.call(get_regs(uuid, start, tag));
        reply.refused(FfaError::InvalidParameters)?;
    }
    for (start, wrong) in [(0, tag ^ 0x8000), (1, tag ^ 1)] {
        let reply = world.call(get_regs(Uuid::NIL, start, wrong));
        reply.refused(FfaError::Retry)?;
    }
    Ok(())
}

fn v20_what_a_caller_below_1_2_leaves_in_x8_to_x17_is_ignored(
    world: &mut NormalWorld,
) -> TestResult {
    // Each request carries a canary in every register that it does not use.
    for Tester { id, version } in world.testers() {
        if version < Version::V1_2 {
            world.invoke(id, 0, [0; 3])?;
        }
    }
    Ok(())
}

fn junk_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let version = world.version;
    let reply = world.call(rxtx_map(Width::W64)).succeeded()?;
    world.ffa(Function::RxtxUnmap, []).succeeded()?;
    for index in 8..18 {
        ensure!(
            reply.sent.x[index] != 0 && reply.x(index) == reply.sent.x[index],
            "x{index} is {:#x} after a call of FF-A {version}",
            reply.x(index)
        );
    }
    Ok([0; 4])
}
