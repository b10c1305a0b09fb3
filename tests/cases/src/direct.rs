// SPDX-License-Identifier: MIT OR Apache-2.0
//! Direct requests: G of the abuse cases.

use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::{EndpointId, FfaError, Function, Uuid, Width};
use bulkhead_payload::Request;

use crate::normal_world::{NormalWorld, Role, Tester, rxtx_map};
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_list::get;
use crate::partition_world::PartitionWorld;
use crate::protocol::{Caller, Payload, command, echo};
use crate::{cases, ensure, fail, skip};

cases! {
    a20_the_normal_worlds_message_reaches_each_tester_in_both_widths;
    a20_a_partitions_message_reaches_another_in_both_widths: [a20_half];
    g1_a_request_with_a_foreign_sender_is_refused: [g1_half];
    g2_a_request_to_an_unknown_receiver_is_refused: [g2_half];
    g3_a_request_to_oneself_is_refused: [g3_half];
    g4_a_partitions_request_to_the_normal_world_is_refused: [g4_half];
    g5_a_secure_sender_from_the_normal_world_is_refused;
    g6_a_receiver_without_direct_messages_denies_them: [g6_half];
    g6_only_partitions_that_discovery_shows_as_senders_send: [g6_seen_half, g6_send_half];
    g8_reserved_message_flags_are_refused: [g8_half];
    g9_a_framework_message_from_a_partition_is_refused: [g9_half];
    g19_a_32_bit_request_carries_32_bits: [g19_look_half, g19_send_half];
}

const NO_RESULTS: [u64; 4] = [0; 4];
const WIDTHS: [Width; 2] = [Width::W32, Width::W64];
/// Payloads with all bits of interest, which are no command.
const PAYLOAD: Payload = [
    0x0123_4567_89ab_cdef,
    0xfedc_ba98_7654_3210,
    0xffff_ffff_ffff_ffff,
    0,
    0x8000_0000_7fff_ffff,
];

/// The low halves of a payload.
fn low(payload: Payload) -> Payload {
    payload.map(|value| value & Width::W32.mask())
}

/// Sends an echo and checks the answer.
fn send(caller: &mut impl Caller, width: Width, to: EndpointId) -> TestResult {
    let payload = if width == Width::W32 {
        low(PAYLOAD)
    } else {
        PAYLOAD
    };
    let reply = caller
        .direct(width, to, payload)
        .returned(Function::MsgSendDirectResp)?;
    equal(
        "the function id of the answer",
        reply.x(0),
        Function::MsgSendDirectResp.id(width),
    )?;
    equal(
        "w1 of the answer",
        reply.x(1),
        EndpointId::pair(to, caller.id()),
    )?;
    equal("w2 of the answer", reply.x(2), 0)?;
    for (index, (found, expected)) in reply
        .payload()
        .into_iter()
        .zip(echo(width, payload))
        .enumerate()
    {
        ensure!(
            found == expected,
            "x{} of {to}'s answer is {found:#x}, not {expected:#x}",
            index + 3
        );
    }
    Ok(())
}

fn a20_the_normal_worlds_message_reaches_each_tester_in_both_widths(
    world: &mut NormalWorld,
) -> TestResult {
    for tester in world.testers() {
        for width in WIDTHS {
            send(world, width, tester.id)?;
        }
    }
    Ok(())
}

fn a20_a_partitions_message_reaches_another_in_both_widths(world: &mut NormalWorld) -> TestResult {
    let (primary, secondary) = (world.tester(Role::Primary)?, world.tester(Role::Secondary)?);
    world.invoke(primary, 0, [secondary.0.into(), 0, 0])?;
    world.invoke(secondary, 0, [primary.0.into(), 0, 0])?;
    Ok(())
}

fn a20_half(world: &mut PartitionWorld, [to, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    for width in WIDTHS {
        send(world, width, EndpointId(to as u16))?;
    }
    Ok(NO_RESULTS)
}

/// Two partitions, to write tests of one partition that names another.
fn pair(world: &NormalWorld) -> TestResult<(EndpointId, EndpointId)> {
    Ok((world.tester(Role::Primary)?, world.tester(Role::Secondary)?))
}

/// Requests in both widths with any endpoints, which are all refused with `error`.
fn refused(
    caller: &mut impl Caller,
    from: EndpointId,
    to: EndpointId,
    error: FfaError,
) -> TestResult {
    for width in WIDTHS {
        caller
            .call(Request::direct(width, from, to, PAYLOAD))
            .refused(error)?;
    }
    Ok(())
}

fn g1_a_request_with_a_foreign_sender_is_refused(world: &mut NormalWorld) -> TestResult {
    let (primary, secondary) = pair(world)?;
    world.invoke(primary, 0, [secondary.0.into(), 0, 0])?;
    Ok(())
}

/// As the other partition, the normal world, a VM, the SPMC, the SPMD and nobody.
fn g1_half(world: &mut PartitionWorld, [other, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    let other = EndpointId(other as u16);
    for from in [
        other,
        EndpointId(0),
        EndpointId(5),
        EndpointId(0x8000),
        EndpointId(0xffff),
        EndpointId(0xeeee),
    ] {
        for to in [other, world.id()] {
            refused(world, from, to, FfaError::InvalidParameters)?;
        }
    }
    Ok(NO_RESULTS)
}

fn g2_a_request_to_an_unknown_receiver_is_refused(world: &mut NormalWorld) -> TestResult {
    let unknown = world.unknown_partition();
    refused(
        world,
        EndpointId::NORMAL_WORLD,
        unknown,
        FfaError::InvalidParameters,
    )?;
    world.invoke(world.tester(Role::Primary)?, 0, [unknown.0.into(), 0, 0])?;
    Ok(())
}

fn g2_half(world: &mut PartitionWorld, [unknown, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    refused(
        world,
        world.id(),
        EndpointId(unknown as u16),
        FfaError::InvalidParameters,
    )?;
    Ok(NO_RESULTS)
}

fn g3_a_request_to_oneself_is_refused(world: &mut NormalWorld) -> TestResult {
    refused(
        world,
        EndpointId::NORMAL_WORLD,
        EndpointId::NORMAL_WORLD,
        FfaError::InvalidParameters,
    )?;
    world.invoke(world.tester(Role::Primary)?, 0, [0; 3])?;
    Ok(())
}

fn g3_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    refused(world, world.id(), world.id(), FfaError::InvalidParameters)?;
    Ok(NO_RESULTS)
}

fn g4_a_partitions_request_to_the_normal_world_is_refused(world: &mut NormalWorld) -> TestResult {
    world.invoke(world.tester(Role::Primary)?, 0, [0; 3])?;
    Ok(())
}

/// To the hypervisor and to a VM.
fn g4_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    for to in [EndpointId::NORMAL_WORLD, EndpointId(1), EndpointId(0x7fff)] {
        refused(world, world.id(), to, FfaError::InvalidParameters)?;
    }
    Ok(NO_RESULTS)
}

fn g5_a_secure_sender_from_the_normal_world_is_refused(world: &mut NormalWorld) -> TestResult {
    let (primary, secondary) = pair(world)?;
    for from in [
        secondary,
        primary,
        EndpointId(0x8000),
        EndpointId(0xffff),
        EndpointId(0xeeee),
    ] {
        refused(world, from, primary, FfaError::InvalidParameters)?;
    }
    Ok(())
}

fn g6_a_receiver_without_direct_messages_denies_them(world: &mut NormalWorld) -> TestResult {
    let mute = world.partitions.iter().find(|partition| {
        !partition
            .properties
            .contains(Properties::DIRECT_REQ_RECEIVE)
    });
    let Some(mute) = mute.map(|partition| partition.id) else {
        skip!("every partition of this configuration receives direct messages");
    };
    refused(world, EndpointId::NORMAL_WORLD, mute, FfaError::Denied)?;
    world.invoke(world.tester(Role::Primary)?, 0, [mute.0.into(), 0, 0])?;
    Ok(())
}

fn g6_half(world: &mut PartitionWorld, [mute, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    refused(world, world.id(), EndpointId(mute as u16), FfaError::Denied)?;
    Ok(NO_RESULTS)
}

/// Each tester's own attempt agrees with what the primary's discovery says of it.
fn g6_only_partitions_that_discovery_shows_as_senders_send(world: &mut NormalWorld) -> TestResult {
    let (primary, secondary) = pair(world)?;
    for Tester { id, .. } in world.testers() {
        let [sends, ..] = world.invoke(primary, 0, [id.0.into(), 0, 0])?;
        let to = if id == primary { secondary } else { primary };
        world.invoke(id, 1, [to.0.into(), sends, 0])?;
    }
    Ok(())
}

/// Whether a partition sees that another may send.
fn g6_seen_half(world: &mut PartitionWorld, [id, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    world.call(rxtx_map(Width::W64)).succeeded()?;
    let version = world.version;
    let found = get(world, version, Uuid::NIL);
    world.ffa(Function::RxtxUnmap, []).succeeded()?;
    let sends = Properties::DIRECT_REQ_SEND;
    let row = found?
        .into_iter()
        .find(|partition| u64::from(partition.id.0) == id);
    let Some(row) = row else {
        fail!("{id:#x} is not listed");
    };
    Ok([row.properties.contains(sends).into(), 0, 0, 0])
}

fn g6_send_half(world: &mut PartitionWorld, [to, sends, _]: [u64; 3]) -> TestResult<[u64; 4]> {
    let to = EndpointId(to as u16);
    for width in WIDTHS {
        if sends != 0 {
            send(world, width, to)?;
        } else {
            refused(world, world.id(), to, FfaError::Denied)?;
        }
    }
    Ok(NO_RESULTS)
}

/// Partition messages with reserved bits of w2 set.
fn reserved_flags(caller: &mut impl Caller, to: EndpointId) -> TestResult {
    for width in WIDTHS {
        for bit in [0, 7, 8, 30] {
            let mut request = Request::direct(width, caller.id(), to, PAYLOAD);
            request.x[2] = 1 << bit;
            caller.call(request).refused(FfaError::InvalidParameters)?;
        }
    }
    Ok(())
}

fn g8_reserved_message_flags_are_refused(world: &mut NormalWorld) -> TestResult {
    let (primary, secondary) = pair(world)?;
    reserved_flags(world, primary)?;
    world.invoke(primary, 0, [secondary.0.into(), 0, 0])?;
    Ok(())
}

fn g8_half(world: &mut PartitionWorld, [to, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    reserved_flags(world, EndpointId(to as u16))?;
    Ok(NO_RESULTS)
}

fn g9_a_framework_message_from_a_partition_is_refused(world: &mut NormalWorld) -> TestResult {
    let (primary, secondary) = pair(world)?;
    world.invoke(primary, 0, [secondary.0.into(), 0, 0])?;
    Ok(())
}

/// The SPMD's version request and a power message, among others.
fn g9_half(world: &mut PartitionWorld, [to, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    for message in [0, 1, 4, 8, 0x7f] {
        let mut request =
            Request::direct(Width::W32, world.id(), EndpointId(to as u16), low(PAYLOAD));
        request.x[2] = 1 << 31 | message;
        world
            .call(request)
            .refused_with_one_of(&[FfaError::InvalidParameters, FfaError::Denied])?;
    }
    Ok(NO_RESULTS)
}

/// Sends [`command::CAPTURE`] with ones in all upper halves; the answer's are ones too when it is sent.
fn send_dirty(caller: &mut impl Caller, to: EndpointId) -> TestResult {
    const JUNK: u64 = 0xffff_ffff << 32;
    let payload = [command::CAPTURE, 1, 2, 3, 4];
    let mut request = Request::direct(Width::W32, caller.id(), to, payload);
    for value in &mut request.x[1..8] {
        *value |= JUNK;
    }
    let reply = caller.call(request).returned(Function::MsgSendDirectResp)?;
    for (index, (found, expected)) in reply
        .payload()
        .into_iter()
        .zip(echo(Width::W32, payload))
        .enumerate()
    {
        ensure!(
            found == expected,
            "x{} of the answer is {found:#x}, not {expected:#x}",
            index + 3
        );
    }
    Ok(())
}

fn g19_a_32_bit_request_carries_32_bits(world: &mut NormalWorld) -> TestResult {
    let (primary, secondary) = pair(world)?;
    send_dirty(world, primary)?;
    world.invoke(primary, 0, [0; 3])?;
    world.invoke(primary, 1, [secondary.0.into(), 0, 0])?;
    world.invoke(secondary, 0, [primary.0.into(), 0, 0])?;
    Ok(())
}

/// Looks at the last captured request, which came from the endpoint in the first argument.
fn g19_look_half(world: &mut PartitionWorld, [from, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    let Some(captured) = world.captured.take() else {
        fail!("nothing was captured")
    };
    equal(
        "x0",
        captured.x[0],
        Function::MsgSendDirectReq.id(Width::W32),
    )?;
    equal(
        "x1",
        captured.x[1],
        EndpointId::pair(EndpointId(from as u16), world.id()),
    )?;
    equal("x2", captured.x[2], 0)?;
    for (index, expected) in [command::CAPTURE, 1, 2, 3, 4].into_iter().enumerate() {
        ensure!(
            captured.x[index + 3] == expected,
            "x{} is {:#x}, not {expected:#x}",
            index + 3,
            captured.x[index + 3]
        );
    }
    Ok(NO_RESULTS)
}

fn g19_send_half(world: &mut PartitionWorld, [to, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    send_dirty(world, EndpointId(to as u16))?;
    Ok(NO_RESULTS)
}
