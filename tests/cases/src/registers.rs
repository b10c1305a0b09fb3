// SPDX-License-Identifier: MIT OR Apache-2.0
//! Registers around every kind of call of the normal world: L1 to L4 of the abuse cases.
//!
//! For each kind there are two tests: one of the general-purpose registers, by the table of DECISIONS 4,
//! and one of the EL1, EL0 and FP/SIMD registers.

use bulkhead_abi::console::MAXIMUM;
use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::{EndpointId, FfaError, Function, Uuid, Version, Width};
use bulkhead_payload::{Reply, Request, counter};

use crate::case::Case;
use crate::negotiation::version_request;
use crate::normal_world::{LONG_SPIN, NormalWorld, Role, rxtx_map};
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_list::{COUNT_ONLY, request};
use crate::partition_world::PartitionWorld;
use crate::protocol::{Caller, run_half};
use crate::{fail, rules, skip};

/// A kind of call.
struct Kind {
    /// Makes the call, and leaves the world as it was.
    call: fn(&mut NormalWorld) -> TestResult<Reply>,
    /// The registers that carry results, bit N for xN. The others read zero up to x7.
    results: u32,
    /// Who answers.
    by: By,
}

/// Who answers a call of the normal world.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// Bulkhead, by DECISIONS 4.
    Spmc,
    /// The SPMD at EL3, which leaves x8–x17 alone in every width.
    El3,
}

macro_rules! kinds {
    ($($name:literal $call:path, $results:expr, $by:ident;)*) => {
        /// The tests of this file.
        pub(crate) const CASES: &[Case] = &[
            $(Case {
                name: concat!("l1_", $name, "_returns_in_its_registers_only"),
                normal: |world| general_registers(world, &Kind { call: $call, results: $results, by: By::$by }),
                halves: HALVES,
            },)*
            $(Case {
                name: concat!("l4_", $name, "_keeps_el1_and_fp_registers"),
                normal: |world| state_registers(world, &Kind { call: $call, results: $results, by: By::$by }),
                halves: HALVES,
            },)*
            Case {
                name: "l1_a_partitions_calls_return_in_their_registers_only",
                normal: l1_partition,
                halves: &[l1_partition_half],
            },
        ];
    };
}

const HALVES: &[crate::case::PartitionHalf] = &[spin_half];
/// x0 alone; with the status of FFA_ERROR; with a value in w2; with values in w2 and w3.
const X0: u32 = 1;
const X2: u32 = rules::ERROR;
const X2_X3: u32 = 1 << 3 | X2;
/// FFA_INTERRUPT and FFA_MSG_WAIT.
const X1_X2: u32 = 1 << 1 | X2;
/// A direct message: all of x0–x7 but w2.
const MESSAGE: u32 = 0xfb;
/// A direct message of the second kind: all of x0–x17 but x2 and x3.
const MESSAGE2: u32 = 0x3_fff3;

kinds! {
    "version" version, X0, El3;
    "version_refused" version_refused, X0, El3;
    "features" features, X2_X3, Spmc;
    "features_refused" features_refused, X2, Spmc;
    "id_get" id_get, X2, El3;
    "spm_id_get" spm_id_get, X2, El3;
    "rxtx_map_32" rxtx_map_32, X0, Spmc;
    "rxtx_map_64" rxtx_map_64, X0, Spmc;
    "rxtx_map_refused" rxtx_map_refused, X2, Spmc;
    "rxtx_unmap" rxtx_unmap, X0, Spmc;
    "rx_release" rx_release, X0, Spmc;
    "rx_release_refused" rx_release_refused, X2, Spmc;
    "partition_info_get" partition_info_get, X2_X3, Spmc;
    "partition_info_get_count" partition_info_get_count, X2_X3, Spmc;
    "direct_request_32" direct_32, MESSAGE, Spmc;
    "direct_request_64" direct_64, MESSAGE, Spmc;
    "direct_request_2" direct_2, MESSAGE2, Spmc;
    "direct_request_32_refused" direct_32_refused, X2, Spmc;
    "direct_request_64_refused" direct_64_refused, X2, Spmc;
    "direct_request_interrupted" direct_interrupted, X1_X2, Spmc;
    "run" run, X1_X2, Spmc;
    "run_refused" run_refused, X2, Spmc;
    "unknown_32" unknown_32, X2, Spmc;
    "success_64_out_of_place" success_64, X2, Spmc;
    "console_log_32" console_log_32, X2, El3;
    "console_log_64" console_log_64, X2, El3;
}

fn general_registers(world: &mut NormalWorld, kind: &Kind) -> TestResult {
    let reply = (kind.call)(world)?;
    world.no_violation()?;
    let extended_by_el3 = kind.by == By::El3 && reply.sent.x[0] >> 30 & 1 == 1;
    if !extended_by_el3 && let Some(what) = rules::strict(&reply, world.version, kind.results) {
        fail!("{what}, in {reply}");
    }
    Ok(())
}

fn state_registers(world: &mut NormalWorld, kind: &Kind) -> TestResult {
    if world.watched_registers() == 0 {
        skip!("no canaries are set");
    }
    (kind.call)(world)?;
    world.no_state_change()
}

fn version(world: &mut NormalWorld) -> TestResult<Reply> {
    let word = world.version.to_word();
    Ok(world.call(version_request(word)))
}

fn version_refused(world: &mut NormalWorld) -> TestResult<Reply> {
    let reply = world.call(version_request(0x7fff_0000));
    reply.clone().not_supported_in_w0()?;
    Ok(reply)
}

fn features(world: &mut NormalWorld) -> TestResult<Reply> {
    world
        .ffa(Function::Features, [Function::RxtxMap.id(Width::W64)])
        .succeeded()
}

fn features_refused(world: &mut NormalWorld) -> TestResult<Reply> {
    error(
        world.ffa(Function::Features, [0x8400_00ef]),
        FfaError::NotSupported,
    )
}

fn id_get(world: &mut NormalWorld) -> TestResult<Reply> {
    world.ffa(Function::IdGet, []).succeeded()
}

fn spm_id_get(world: &mut NormalWorld) -> TestResult<Reply> {
    world.ffa(Function::SpmIdGet, []).succeeded()
}

/// The reply, if it is this refusal.
#[track_caller]
fn error(reply: Reply, error: FfaError) -> TestResult<Reply> {
    reply.clone().refused(error)?;
    Ok(reply)
}

fn remap(world: &mut NormalWorld, width: Width) -> TestResult<Reply> {
    world.ffa(Function::RxtxUnmap, []).succeeded()?;
    world.map_mailbox(width).succeeded()
}

fn rxtx_map_32(world: &mut NormalWorld) -> TestResult<Reply> {
    remap(world, Width::W32)
}

fn rxtx_map_64(world: &mut NormalWorld) -> TestResult<Reply> {
    remap(world, Width::W64)
}

fn rxtx_map_refused(world: &mut NormalWorld) -> TestResult<Reply> {
    error(world.map_mailbox(Width::W64), FfaError::Denied)
}

fn rxtx_unmap(world: &mut NormalWorld) -> TestResult<Reply> {
    let reply = world.ffa(Function::RxtxUnmap, []).succeeded()?;
    world.map_mailbox(Width::W64).succeeded()?;
    Ok(reply)
}

fn rx_release(world: &mut NormalWorld) -> TestResult<Reply> {
    world.call(request(Uuid::NIL, 0)).succeeded()?;
    world.ffa(Function::RxRelease, []).succeeded()
}

fn rx_release_refused(world: &mut NormalWorld) -> TestResult<Reply> {
    error(world.ffa(Function::RxRelease, []), FfaError::Denied)
}

fn partition_info_get(world: &mut NormalWorld) -> TestResult<Reply> {
    let reply = world.call(request(Uuid::NIL, 0)).succeeded()?;
    world.ffa(Function::RxRelease, []).succeeded()?;
    Ok(reply)
}

fn partition_info_get_count(world: &mut NormalWorld) -> TestResult<Reply> {
    world.call(request(Uuid::NIL, COUNT_ONLY)).succeeded()
}

fn direct(world: &mut NormalWorld, width: Width) -> TestResult<Reply> {
    let primary = world.tester(Role::Primary)?;
    world
        .direct(width, primary, [1, 2, 3, 4, 5])
        .returned(Function::MsgSendDirectResp)
}

fn direct_32(world: &mut NormalWorld) -> TestResult<Reply> {
    direct(world, Width::W32)
}

fn direct_64(world: &mut NormalWorld) -> TestResult<Reply> {
    direct(world, Width::W64)
}

/// Needs a tester that receives such messages, and FF-A 1.2.
fn direct_2(world: &mut NormalWorld) -> TestResult<Reply> {
    let receives = Properties::DIRECT_REQ2_RECEIVE;
    let testers = world.testers();
    let mut ids = testers.iter().map(|tester| tester.id);
    let to = ids.find(|&id| {
        let descriptor = world.descriptor(id);
        descriptor.is_some_and(|partition| partition.properties.contains(receives))
    });
    let Some(to) = to else {
        skip!("no tester receives direct messages of the second kind");
    };
    let pair = EndpointId::pair(world.id(), to);
    let payload = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14];
    let mut request = Request::ffa(Function::MsgSendDirectReq2, Width::W64).with([pair]);
    request.x[4..].copy_from_slice(&payload);
    let reply = world.call(request).returned(Function::MsgSendDirectResp2)?;
    equal("x4", reply.x(4), !1)?;
    equal("x8", reply.x(8), !5)?;
    equal("x9, which the answer leaves empty", reply.x(9), 0)?;
    Ok(reply)
}

fn direct_refused(world: &mut NormalWorld, width: Width) -> TestResult<Reply> {
    let unknown = world.unknown_partition();
    error(
        world.direct(width, unknown, [1, 2, 3, 4, 5]),
        FfaError::InvalidParameters,
    )
}

fn direct_32_refused(world: &mut NormalWorld) -> TestResult<Reply> {
    direct_refused(world, Width::W32)
}

fn direct_64_refused(world: &mut NormalWorld) -> TestResult<Reply> {
    direct_refused(world, Width::W64)
}

fn spin_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    counter::spin(counter::microseconds(LONG_SPIN));
    Ok([0; 4])
}

/// The reply is FFA_INTERRUPT; the request is finished afterwards.
fn direct_interrupted(world: &mut NormalWorld) -> TestResult<Reply> {
    let primary = world.tester(Role::Primary)?;
    let request = Request::direct(
        Width::W64,
        world.id(),
        primary,
        run_half(world.case(), 0, [0; 3]),
    );
    let reply = world.interrupted(request)?;
    let end = world.resume(&reply)?;
    world.results(primary, &end)?;
    Ok(reply)
}

fn run(world: &mut NormalWorld) -> TestResult<Reply> {
    let primary = world.tester(Role::Primary)?;
    world
        .call(Request::run(primary, 0))
        .returned(Function::MsgWait)
}

fn run_refused(world: &mut NormalWorld) -> TestResult<Reply> {
    let unknown = world.unknown_partition();
    error(
        world.call(Request::run(unknown, 0)),
        FfaError::InvalidParameters,
    )
}

/// FFA_MSG_SEND, which FF-A dropped after 1.0 and EL3 still relays.
fn unknown_32(world: &mut NormalWorld) -> TestResult<Reply> {
    error(world.ffa(Function::MsgSend, []), FfaError::NotSupported)
}

/// FFA_SUCCESS, which answers nothing here.
fn success_64(world: &mut NormalWorld) -> TestResult<Reply> {
    let reply = world.call(Request::ffa(Function::Success, Width::W64));
    reply.clone().refused_with_one_of(&[
        FfaError::NotSupported,
        FfaError::Denied,
        FfaError::InvalidParameters,
    ])?;
    Ok(reply)
}

/// FFA_CONSOLE_LOG, which EL3 keeps for the secure world.
fn console_log(world: &mut NormalWorld, width: Width) -> TestResult<Reply> {
    let mut request = Request::ffa(Function::ConsoleLog, width).with([1, b'x'.into()]);
    request.arguments = 8;
    error(world.call(request), FfaError::NotSupported)
}

fn console_log_32(world: &mut NormalWorld) -> TestResult<Reply> {
    console_log(world, Width::W32)
}

fn console_log_64(world: &mut NormalWorld) -> TestResult<Reply> {
    console_log(world, Width::W64)
}

fn l1_partition(world: &mut NormalWorld) -> TestResult {
    let (primary, secondary) = (world.tester(Role::Primary)?, world.tester(Role::Secondary)?);
    for partition in [(primary, secondary), (secondary, primary)] {
        let (in_, to) = partition;
        world.invoke(in_, 0, [to.0.into(), 0, 0])?;
    }
    Ok(())
}

/// Every kind of call that a partition can make without leaving its request.
fn l1_partition_half(world: &mut PartitionWorld, [to, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    let (id, version) = (world.id(), world.version);
    let to = EndpointId(to as u16);
    let nobody = EndpointId(0xeeee);
    let call = |function| Request::ffa(function, Width::W32);
    let payload = [1, 2, 3, 4, 5];
    let mut log = Request::ffa(Function::ConsoleLog, Width::W64).with([MAXIMUM as u64 + 1]);
    log.arguments = 8;
    let spm_id = if version < Version::V1_1 {
        FfaError::NotSupported.code()
    } else {
        0
    };
    let calls: [(Request, u32, i32); 22] = [
        (version_request(version.to_word()), X0, 0),
        (version_request(0x7fff_0000), X0, 0),
        (
            call(Function::Features).with([Function::RxtxMap.id(Width::W64)]),
            X2_X3,
            0,
        ),
        (
            call(Function::Features).with([0x8400_00ef]),
            X2,
            FfaError::NotSupported.code(),
        ),
        (call(Function::IdGet), X2, 0),
        (call(Function::SpmIdGet), X2, spm_id),
        (rxtx_map(Width::W32), X0, 0),
        (rxtx_map(Width::W64), X2, FfaError::Denied.code()),
        (request(Uuid::NIL, 0), X2_X3, 0),
        (request(Uuid::NIL, COUNT_ONLY), X2_X3, 0),
        (call(Function::RxRelease), X0, 0),
        (call(Function::RxRelease), X2, FfaError::Denied.code()),
        (call(Function::RxtxUnmap), X0, 0),
        (Request::direct(Width::W32, id, to, payload), MESSAGE, 0),
        (Request::direct(Width::W64, id, to, payload), MESSAGE, 0),
        (
            Request::direct(Width::W32, id, nobody, payload),
            X2,
            FfaError::InvalidParameters.code(),
        ),
        (
            Request::direct(Width::W64, id, nobody, payload),
            X2,
            FfaError::InvalidParameters.code(),
        ),
        (call(Function::MsgWait), X2, FfaError::Denied.code()),
        (log, X2, FfaError::InvalidParameters.code()),
        (Request::new(0x8400_00ef), X2, FfaError::NotSupported.code()),
        (Request::new(0xc400_00ef), X2, FfaError::NotSupported.code()),
        (Request::new(0x8200_ffff), X0, 0),
    ];
    for (index, (request, results, code)) in calls.into_iter().enumerate() {
        let reply = world.call(request);
        if reply.error().unwrap_or(0) != code {
            fail!("call {index} ({:#x}) returned {reply}", request.x[0]);
        }
        if let Some(what) = rules::strict(&reply, version, results) {
            fail!("call {index} ({:#x}): {what}, in {reply}", request.x[0]);
        }
    }
    Ok([0; 4])
}
