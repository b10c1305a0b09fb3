// SPDX-License-Identifier: MIT OR Apache-2.0
//! What FF-A 1.3 adds: more than 64 notifications, and a list of the normal world's memory that the
//! secure world reaches.

use bulkhead_abi::{EndpointId, Function, Version, Width};
use bulkhead_payload::memory::MAILBOX;
use bulkhead_payload::{Reply, Request};

use crate::normal_world::NormalWorld;
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_world::PartitionWorld;
use crate::protocol::Caller;
use crate::{cases, ensure, fail, skip};

cases! {
    a38_a_bind_above_bit_63_round_trips: [set_half];
    a13_the_list_is_what_manifests_map_and_the_buffers;
}

const OS: EndpointId = EndpointId::NORMAL_WORLD;
/// A notification below bit 64, and one above.
const BITS: [u64; 2] = [1 << 5, 1 << 63];
const ALL: u64 = 0xf;

fn needs_1_3(world: &NormalWorld) -> TestResult {
    if world.version < Version::V1_3 {
        skip!("this normal world speaks FF-A {}", world.version);
    }
    Ok(())
}

/// A tester that speaks 1.3.
fn newest(world: &NormalWorld) -> TestResult<EndpointId> {
    match (world.testers().iter()).find(|tester| tester.version >= Version::V1_3) {
        Some(tester) => Ok(tester.id),
        None => skip!("no tester speaks FF-A 1.3"),
    }
}

/// A call of the second form with the first two registers of its bitmap.
fn second(function: Function, ids: u64, flags: u64, [first, next]: [u64; 2]) -> Request {
    Request::ffa(function, Width::W64).with([ids, flags, first, next])
}

/// FFA_NOTIFICATION_SET2 of these notifications to the normal world; returns x0 and x2.
fn set_half(world: &mut PartitionWorld, [first, next, _]: [u64; 3]) -> TestResult<[u64; 4]> {
    let ids = EndpointId::pair(world.id(), OS);
    let reply = world.call(second(Function::NotificationSet2, ids, 0, [first, next]));
    Ok([reply.x(0), reply.x(2), 0, 0])
}

fn get2(world: &mut NormalWorld, masks: [u64; 2]) -> TestResult<[u64; 2]> {
    let get = second(Function::NotificationGet2, u64::from(OS.0), ALL, masks);
    let reply = world.call(get).succeeded()?;
    for index in [1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17] {
        equal("an unused register", reply.x(index), 0)?;
    }
    Ok([reply.x(3), reply.x(4)])
}

fn a38_a_bind_above_bit_63_round_trips(world: &mut NormalWorld) -> TestResult {
    needs_1_3(world)?;
    let sender = newest(world)?;
    let features = world.ffa(Function::Features, [4]).succeeded()?;
    ensure!(
        features.x(2) >> 11 >= 64,
        "{:#x} says that there is no notification 127",
        features.x(2)
    );
    let create = [u64::from(OS.0), 1];
    (world.ffa(Function::NotificationBitmapCreate, create)).succeeded()?;
    let ids = EndpointId::pair(sender, OS);
    let bind = second(Function::NotificationBind2, ids, 0, BITS);
    world.call(bind).succeeded()?;
    let [x0, status, ..] = world.invoke(sender, 0, [BITS[0], BITS[1], 0])?;
    if x0 != Function::Success.id(Width::W32) {
        fail!("SET2 of {sender} returned {x0:#x}, x2 {status:#x}");
    }
    // What a mask names stays pending.
    let found = get2(world, [0, BITS[1]])?;
    ensure!(found == [BITS[0], 0], "{found:#x?} was got first");
    let found = get2(world, [0, 0])?;
    ensure!(found == [0, BITS[1]], "{found:#x?} was got then");
    let found = get2(world, [0, 0])?;
    ensure!(found == [0, 0], "{found:#x?} is still pending");
    let info = Request::ffa(Function::NotificationInfoGet, Width::W64);
    world.call(info);
    let unbind = second(Function::NotificationUnbind2, ids, 0, BITS);
    world.call(unbind).succeeded()?;
    let owner = [u64::from(OS.0)];
    (world.ffa(Function::NotificationBitmapDestroy, owner)).succeeded()?;
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
    needs_1_3(world)?;
    let ask = |target: u64, flags: u64| {
        Request::ffa(Function::NsResInfoGet, Width::W64).with([target, flags])
    };
    let written = |reply: &Reply| (reply.x(2) >> 32, reply.x(2) & 0xffff_ffff);
    let (address, pages, owner) = MAPPED;
    let [low, high] = owner.to_le_bytes();
    let direct = (address, pages, [0x33, low, high, 0]);

    let reply = world.call(ask(u64::from(owner), 1)).succeeded()?;
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
