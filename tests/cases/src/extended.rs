// SPDX-License-Identifier: MIT OR Apache-2.0
//! What FF-A 1.3 adds: more than 64 notifications, and a list of the normal world's memory that the
//! secure world reaches.
//!
//! The SPMD of TF-A 2.12 passes neither the second forms of the notification calls nor FFA_NS_RES_INFO_GET
//! on: there the normal world's tests are skipped.

use bulkhead_abi::{EndpointId, FfaError, Function, Version, Width};
use bulkhead_payload::memory::MAILBOX;
use bulkhead_payload::{Reply, Request, gic};

use crate::normal_world::NormalWorld;
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_world::PartitionWorld;
use crate::protocol::Caller;
use crate::{cases, ensure, fail, skip};

cases! {
    a38_partitions_signal_above_bit_63: [call_half];
    a38_a_bind_of_the_normal_world_above_bit_63_round_trips: [call_half];
    a13_the_list_is_what_manifests_map_and_the_buffers;
}

const OS: EndpointId = EndpointId::NORMAL_WORLD;
/// A notification below bit 64, and one above.
const BITS: [u64; 2] = [1 << 5, 1 << 63];
/// FFA_NOTIFICATION_GET2: every bitmap.
const ALL: u64 = 0xf;

/// A call of the second form with the first two registers of its bitmap, or of its first mask.
fn second(function: Function, ids: u64, [first, next]: [u64; 2]) -> Request {
    let flags = match function {
        Function::NotificationGet2 => ALL,
        _ => 0,
    };
    Request::ffa(function, Width::W64).with([ids, flags, first, next])
}

/// Makes the call whose 64-bit id and w1 are the first argument's halves; returns x0, x2, x3 and x4.
fn call_half(world: &mut PartitionWorld, [call, first, next]: [u64; 3]) -> TestResult<[u64; 4]> {
    let functions = [
        Function::NotificationBind2,
        Function::NotificationUnbind2,
        Function::NotificationSet2,
        Function::NotificationGet2,
    ];
    let is_meant = |function: &Function| function.id(Width::W64) == call & 0xffff_ffff;
    let Some(function) = functions.into_iter().find(is_meant) else {
        fail!("{call:#x} is no call of the second form");
    };
    let reply = world.call(second(function, call >> 32, [first, next]));
    Ok([reply.x(0), reply.x(2), reply.x(3), reply.x(4)])
}

/// What `partition` gets for a call of the second form: x0, x2, x3 and x4.
fn by(
    world: &mut NormalWorld,
    partition: EndpointId,
    function: Function,
    ids: u64,
    [first, next]: [u64; 2],
) -> TestResult<[u64; 4]> {
    let call = function.id(Width::W64) | ids << 32;
    world.invoke(partition, 0, [call, first, next])
}

/// As [`by`], for a call that succeeds without results.
fn done_by(
    world: &mut NormalWorld,
    partition: EndpointId,
    function: Function,
    ids: u64,
    bits: [u64; 2],
) -> TestResult {
    let [x0, status, ..] = by(world, partition, function, ids, bits)?;
    if x0 != Function::Success.id(Width::W32) {
        fail!("{function} of {partition} returned {x0:#x}, x2 {status:#x}");
    }
    Ok(())
}

/// The testers that speak 1.3, the one that receives notifications first.
fn newest(world: &NormalWorld) -> TestResult<(EndpointId, EndpointId)> {
    let testers = world.testers();
    let mut newest = testers
        .iter()
        .filter(|tester| tester.version >= Version::V1_3);
    match (newest.next(), newest.next()) {
        (Some(first), Some(second)) => Ok((first.id, second.id)),
        _ => skip!("there are not two testers that speak FF-A 1.3"),
    }
}

/// The schedule receiver interrupt: these tests have no use for it.
const SCHEDULE_RECEIVER: u32 = 8;

/// The scheduler asks, and the interrupt that told it so is not pending any more.
fn withdraw_all(world: &mut NormalWorld) {
    world.call(Request::ffa(Function::NotificationInfoGet, Width::W64));
    gic::withdraw(0, SCHEDULE_RECEIVER);
}

fn a38_partitions_signal_above_bit_63(world: &mut NormalWorld) -> TestResult {
    let (receiver, sender) = newest(world)?;
    gic::disable(SCHEDULE_RECEIVER);
    let ids = EndpointId::pair(sender, receiver);
    done_by(world, receiver, Function::NotificationBind2, ids, BITS)?;
    // Not bound: nothing of it is signalled.
    let wrong = [BITS[0], BITS[1] >> 1];
    let [x0, status, ..] = by(world, sender, Function::NotificationSet2, ids, wrong)?;
    equal("x0", x0, Function::Error.id(Width::W32))?;
    equal("the status", status, FfaError::Denied.to_register())?;
    done_by(world, sender, Function::NotificationSet2, ids, BITS)?;
    let own = u64::from(receiver.0);
    let success = Function::Success.id(Width::W64);
    // What a mask names stays pending.
    for (masks, expected) in [
        ([0, BITS[1]], [BITS[0], 0]),
        ([0, 0], [0, BITS[1]]),
        ([0, 0], [0, 0]),
    ] {
        let got = by(world, receiver, Function::NotificationGet2, own, masks)?;
        let expected = [success, 0, expected[0], expected[1]];
        ensure!(got == expected, "GET2 returned {got:#x?}");
    }
    done_by(world, receiver, Function::NotificationUnbind2, ids, BITS)?;
    withdraw_all(world);
    Ok(())
}

/// A call of this world that the SPMD may not know.
fn forwarded(world: &mut NormalWorld, request: Request) -> TestResult<Reply> {
    if world.version < Version::V1_3 {
        skip!("this normal world speaks FF-A {}", world.version);
    }
    let reply = world.call(request);
    // SMCCC's answer to an unknown call.
    if reply.x(0) == u64::MAX {
        skip!("this SPMD does not pass {:#x} on", request.x[0]);
    }
    Ok(reply)
}

fn a38_a_bind_of_the_normal_world_above_bit_63_round_trips(world: &mut NormalWorld) -> TestResult {
    let (_, sender) = newest(world)?;
    gic::disable(SCHEDULE_RECEIVER);
    let ids = EndpointId::pair(sender, OS);
    let own = u64::from(OS.0);
    let bind = second(Function::NotificationBind2, ids, BITS);
    forwarded(world, bind)?.refused(FfaError::Denied)?;
    let create = Function::NotificationBitmapCreate;
    world.ffa(create, [own, 1]).succeeded()?;
    world.call(bind).succeeded()?;
    done_by(world, sender, Function::NotificationSet2, ids, BITS)?;
    for (masks, expected) in [
        ([0, BITS[1]], [BITS[0], 0]),
        ([0, 0], [0, BITS[1]]),
        ([0, 0], [0, 0]),
    ] {
        let get = second(Function::NotificationGet2, own, masks);
        let reply = world.call(get).succeeded()?;
        let got = [reply.x(3), reply.x(4)];
        ensure!(got == expected, "GET2 returned {got:#x?}");
    }
    let unbind = second(Function::NotificationUnbind2, ids, BITS);
    world.call(unbind).succeeded()?;
    withdraw_all(world);
    let destroy = Function::NotificationBitmapDestroy;
    world.ffa(destroy, [own]).succeeded()?;
    Ok(())
}

/// An address map descriptor of what lies at `offset` in RX: address, page count and the other fields.
fn region(offset: usize) -> (u64, u32, [u8; 4]) {
    let rx = &MAILBOX.rx;
    (
        u64::from_le_bytes(rx.bytes(offset)),
        u32::from_le_bytes(rx.bytes(offset + 8)),
        rx.bytes(offset + 12),
    )
}

/// The one region of the normal world's memory that a manifest maps (tests/hostile2).
const MAPPED: (u64, u32, u16) = (0x5000_0000, 4, 0x8008);

fn a13_the_list_is_what_manifests_map_and_the_buffers(world: &mut NormalWorld) -> TestResult {
    let ask = |target: u64, flags: u64| {
        Request::ffa(Function::NsResInfoGet, Width::W64).with([target, flags])
    };
    let written = |reply: &Reply| (reply.x(2) >> 32, reply.x(2) & 0xffff_ffff);
    let (address, pages, owner) = MAPPED;
    let [low, high] = owner.to_le_bytes();
    let direct = (address, pages, [0x33, low, high, 0]);

    let reply = forwarded(world, ask(u64::from(owner), 1))?.succeeded()?;
    ensure!(written(&reply) == (32, 0), "x2 is {:#x}", reply.x(2));
    let found = region(16);
    ensure!(found == direct, "{found:x?} is not the manifest's region");
    world.ffa(Function::RxRelease, []).succeeded()?;

    // All partitions: also the buffers of this world, which indirect messages reach.
    let reply = world.call(ask(0, 0)).succeeded()?;
    ensure!(written(&reply) == (64, 0), "x2 is {:#x}", reply.x(2));
    let header: [u8; 16] = MAILBOX.rx.bytes(0);
    ensure!(
        header == [16, 0, 0, 0, 3, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0],
        "the header is {header:x?}"
    );
    let buffer = |buffer: u64, rights: u8| (buffer, 1, [rights, 0x00, 0x80, 1]);
    let expected = [
        direct,
        buffer(MAILBOX.rx.address(), 0x33),
        buffer(MAILBOX.tx.address(), 0x11),
    ];
    for (index, expected) in expected.into_iter().enumerate() {
        let found = region(16 + 16 * index);
        ensure!(found == expected, "{found:x?} is not {expected:x?}");
    }
    world.ffa(Function::RxRelease, []).succeeded()?;

    // Nothing of a partition that maps only secure memory.
    let reply = world.call(ask(0x8004, 1)).succeeded()?;
    ensure!(written(&reply) == (0, 0), "x2 is {:#x}", reply.x(2));
    Ok(())
}
