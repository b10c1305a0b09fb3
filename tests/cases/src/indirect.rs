// SPDX-License-Identifier: MIT OR Apache-2.0
//! Indirect messages between partitions and both worlds: A-23, and G21 to G30 of the abuse cases as far as
//! they need a machine.

use bulkhead_abi::indirect::{Header, MAXIMUM_HEADER, header_size};
use bulkhead_abi::notification::RX_BUFFER_FULL;
use bulkhead_abi::{EndpointId, FfaError, Function, Uuid, Version, Width};
use bulkhead_payload::gic;
use bulkhead_payload::memory::MAILBOX;

use crate::normal_world::{NormalWorld, Role, rxtx_map};
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_world::PartitionWorld;
use crate::protocol::Caller;
use crate::{cases, ensure, skip};

cases! {
    a23_n13_messages_go_both_ways_between_the_worlds: [send_half, receive_half];
    a23_n13_messages_go_between_partitions_of_two_versions: [send_half, receive_half];
    g26_a_full_buffer_keeps_its_message: [send_half, receive_half];
    g21_g24_messages_to_nobody_are_refused: [send_half];
}

const OS: EndpointId = EndpointId::NORMAL_WORLD;
const SCHEDULE_RECEIVER: u32 = 8;
/// FFA_NOTIFICATION_GET: framework notifications of the SPMC.
const SPM: u64 = 4;
const PAGE: usize = 4096;

/// The byte of message `seed` at `position`.
fn byte(seed: u64, position: usize) -> u8 {
    (seed as usize + position * 7) as u8 | 1
}

/// Writes a header and a message of `size` bytes right behind it to TX, and sends it.
fn send(
    caller: &mut impl Caller,
    version: Version,
    to: EndpointId,
    seed: u64,
    size: usize,
) -> bulkhead_payload::Reply {
    let first = header_size(version);
    let header = Header {
        sender: caller.id(),
        receiver: to,
        uuid: Uuid::NIL,
        offset: first as u32,
        size: size as u32,
    };
    let (bytes, length) = header.encode(version);
    MAILBOX.tx.write(0, bytes.into_iter().take(length));
    MAILBOX
        .tx
        .write(first, (0..size).map(|position| byte(seed, position)));
    caller.ffa(Function::MsgSend2, [])
}

/// Fails unless RX has a message of `size` bytes from `sender`, and zeros behind it.
fn received(
    caller: &impl Caller,
    version: Version,
    sender: EndpointId,
    seed: u64,
    size: usize,
) -> TestResult {
    let mut start = [0; MAXIMUM_HEADER];
    for (at, byte) in start.iter_mut().enumerate() {
        *byte = MAILBOX.rx.byte(at);
    }
    let Ok(header) = Header::decode(version, &start, PAGE) else {
        crate::fail!("no header of FF-A {version} is in RX");
    };
    equal("the sender", header.sender.0.into(), sender.0.into())?;
    equal(
        "the receiver",
        header.receiver.0.into(),
        caller.id().0.into(),
    )?;
    equal("the size", header.size.into(), size as u64)?;
    let first = header.offset as usize;
    for position in first..PAGE {
        let expected = match position - first {
            within if within < size => byte(seed, within),
            _ => 0,
        };
        let found = MAILBOX.rx.byte(position);
        ensure!(
            found == expected,
            "byte {position} of RX is {found:#x}, not {expected:#x}"
        );
    }
    Ok(())
}

/// Maps the partition's buffers and sends: the receiver, what is in the message, and its size. Returns the
/// status of the call, 0 for success.
fn send_half(world: &mut PartitionWorld, [to, seed, size]: [u64; 3]) -> TestResult<[u64; 4]> {
    world.call(rxtx_map(Width::W64)).succeeded()?;
    let version = world.version;
    let reply = send(world, version, EndpointId(to as u16), seed, size as usize);
    let status = reply.error().unwrap_or(0);
    world.ffa(Function::RxtxUnmap, []).succeeded()?;
    Ok([status as u32 as u64, 0, 0, 0])
}

/// What [`receive_half`] does with its buffers.
mod receive {
    pub const MAP: u64 = 0;
    pub const UNMAP: u64 = 1;
    /// Any other: bits 15:0 the sender, 31:16 the size.
    pub const CHECK: u64 = 1 << 63;
}

/// Maps or unmaps the partition's buffers; or looks for a message, fetches the notification that tells of it,
/// which is there once, and releases RX.
fn receive_half(world: &mut PartitionWorld, [what, seed, _]: [u64; 3]) -> TestResult<[u64; 4]> {
    match what {
        receive::MAP => world.call(rxtx_map(Width::W64)).succeeded()?,
        receive::UNMAP => world.ffa(Function::RxtxUnmap, []).succeeded()?,
        what => {
            let (sender, size) = (EndpointId(what as u16), (what >> 16) as u16);
            received(world, world.version, sender, seed, size.into())?;
            for expected in [RX_BUFFER_FULL, 0] {
                let own = u64::from(world.id().0);
                let reply = world
                    .ffa(Function::NotificationGet, [own, SPM])
                    .succeeded()?;
                equal("the framework notifications", reply.x(6), expected)?;
            }
            world.ffa(Function::RxRelease, []).succeeded()?
        }
    };
    Ok([0; 4])
}

fn check(sender: EndpointId, size: u64) -> u64 {
    receive::CHECK | size << 16 | u64::from(sender.0)
}

/// Two partitions with indirect messages, of 1.2 and of 1.1.
fn partitions(world: &NormalWorld) -> TestResult<(EndpointId, EndpointId)> {
    if world.version < Version::V1_1 {
        skip!(
            "FF-A {} has no indirect messages of this kind",
            world.version
        );
    }
    Ok((world.tester(Role::Primary)?, world.tester(Role::Secondary)?))
}

const SIZES: [u64; 4] = [4000, 0, 1, 1025];

/// Fails unless the scheduler is told of `receiver`, once.
fn told_of(world: &mut NormalWorld, receiver: EndpointId) -> TestResult {
    let reply = world.ffa(Function::NotificationInfoGet, []).succeeded()?;
    equal("the lists", reply.x(2), 1 << 7)?;
    equal("who is to run", reply.x(3), receiver.0.into())?;
    let again = world.ffa(Function::NotificationInfoGet, []);
    again.refused(FfaError::NoData)?;
    gic::withdraw(0, SCHEDULE_RECEIVER);
    Ok(())
}

fn a23_n13_messages_go_both_ways_between_the_worlds(world: &mut NormalWorld) -> TestResult {
    let (primary, secondary) = partitions(world)?;
    let version = world.version;
    for partition in [primary, secondary] {
        for (seed, size) in (1..).zip(SIZES) {
            let [status, ..] = world.invoke(partition, 0, [u64::from(OS.0), seed, size])?;
            equal("the status of a partition's message", status, 0)?;
            received(world, version, partition, seed, size as usize)?;
            world.ffa(Function::RxRelease, []).succeeded()?;
            // This world receives no notifications.
            let ask = world.ffa(Function::NotificationInfoGet, []);
            ask.refused(FfaError::NoData)?;

            world.invoke(partition, 1, [receive::MAP, 0, 0])?;
            send(world, version, partition, seed, size as usize).succeeded()?;
            told_of(world, partition)?;
            world.invoke(partition, 1, [check(OS, size), seed, 0])?;
            world.invoke(partition, 1, [receive::UNMAP, 0, 0])?;
        }
    }
    Ok(())
}

fn a23_n13_messages_go_between_partitions_of_two_versions(world: &mut NormalWorld) -> TestResult {
    let (primary, secondary) = partitions(world)?;
    for (from, to) in [(primary, secondary), (secondary, primary)] {
        for (seed, size) in (1..).zip(SIZES) {
            world.invoke(to, 1, [receive::MAP, 0, 0])?;
            let [status, ..] = world.invoke(from, 0, [to.0.into(), seed, size])?;
            equal("the status of the message", status, 0)?;
            told_of(world, to)?;
            world.invoke(to, 1, [check(from, size), seed, 0])?;
            world.invoke(to, 1, [receive::UNMAP, 0, 0])?;
        }
    }
    Ok(())
}

fn g26_a_full_buffer_keeps_its_message(world: &mut NormalWorld) -> TestResult {
    let (primary, secondary) = partitions(world)?;
    let version = world.version;
    // G27: no buffer yet.
    send(world, version, primary, 1, 9).refused(FfaError::Busy)?;
    world.invoke(primary, 1, [receive::MAP, 0, 0])?;
    send(world, version, primary, 1, 9).succeeded()?;
    send(world, version, primary, 2, 11).refused(FfaError::Busy)?;
    let [status, ..] = world.invoke(secondary, 0, [primary.0.into(), 3, 13])?;
    let busy = FfaError::Busy.to_register() & 0xffff_ffff;
    equal("the status of another sender", status, busy)?;
    told_of(world, primary)?;
    world.invoke(primary, 1, [check(OS, 9), 1, 0])?;
    send(world, version, primary, 2, 11).succeeded()?;
    told_of(world, primary)?;
    world.invoke(primary, 1, [check(OS, 11), 2, 0])?;
    world.invoke(primary, 1, [receive::UNMAP, 0, 0])?;
    Ok(())
}

fn g21_g24_messages_to_nobody_are_refused(world: &mut NormalWorld) -> TestResult {
    let (primary, _) = partitions(world)?;
    let version = world.version;
    let unknown = world.unknown_partition();
    for to in [OS, EndpointId(5), EndpointId(0x8000), unknown] {
        send(world, version, to, 1, 8).refused(FfaError::InvalidParameters)?;
    }
    let invalid = FfaError::InvalidParameters.to_register() & 0xffff_ffff;
    for to in [primary, EndpointId(0x8000), EndpointId(5), unknown] {
        let [status, ..] = world.invoke(primary, 0, [to.0.into(), 1, 8])?;
        equal("the status of a partition's message", status, invalid)?;
    }
    // The third tester speaks 1.0.
    let old = world.tester(Role::Tertiary)?;
    send(world, version, old, 1, 8).refused(FfaError::Denied)?;
    let [status, ..] = world.invoke(old, 0, [primary.0.into(), 1, 8])?;
    let missing = FfaError::NotSupported.to_register() & 0xffff_ffff;
    equal("the status of a partition of 1.0", status, missing)
}
