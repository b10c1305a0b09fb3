// SPDX-License-Identifier: MIT OR Apache-2.0
//! FFA_VERSION, FFA_FEATURES, and what is no function id: V of the abuse cases.

use bulkhead_abi::{FfaError, Function, Version, Width};
use bulkhead_payload::{Conduit, Request};

use crate::negotiation::{NEXT_MINOR, Negotiation, version_request};
use crate::normal_world::{NormalWorld, Role};
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_world::PartitionWorld;
use crate::protocol::Caller;
use crate::{cases, fail};

cases! {
    v1_a_version_with_bit_31_is_not_supported: [v1_half];
    v2_another_major_version_is_not_supported: [v2_half];
    v3_a_later_minor_version_gets_ours_and_is_not_stored: [v3_half];
    v4_an_earlier_minor_version_gets_ours_and_is_stored: [v4_half];
    v5_another_version_after_the_first_call_is_not_supported: [v5_half];
    v6_the_same_version_again_succeeds: [v6_half];
    v9_version_as_64_bit_call_is_not_supported: [v9_half];
    v11_features_of_what_does_not_exist_is_not_supported: [v11_half];
    a03_features_knows_what_is_implemented: [a03_half];
    v16_an_unknown_ffa_function_is_not_supported: [v16_unknown_ffa_half];
    v16_an_unknown_function_of_a_partition_is_minus_one: [v16_unknown_half];
    v17_upper_halves_of_a_32_bit_call_are_ignored: [v17_half];
    v18_the_sve_hint_is_no_part_of_the_function_id: [v18_half];
    v19_a_partition_may_call_by_hvc_too: [v19_half];
}

/// The negotiation of the partition that runs the half.
fn booted(world: &PartitionWorld) -> TestResult<Negotiation> {
    match &world.boot {
        Some(boot) => Ok(boot.negotiation),
        None => fail!("this context did not boot the partition"),
    }
}

/// What FFA_VERSION returns for NOT_SUPPORTED: 32 bits of −1.
const NOT_SUPPORTED: u64 = 0xffff_ffff;
const NO_RESULTS: [u64; 4] = [0; 4];

fn ask(caller: &mut impl Caller, word: u32) -> u64 {
    caller.call(version_request(word)).x(0)
}

fn v1_a_version_with_bit_31_is_not_supported(world: &mut NormalWorld) -> TestResult {
    equal(
        "w0 before the first call",
        world.negotiation.bit_31,
        NOT_SUPPORTED,
    )?;
    let word = 0x8000_0000 | world.version.to_word();
    equal("w0 later", ask(world, word), NOT_SUPPORTED)?;
    world.invoke(world.tester(Role::Primary)?, 0, [0; 3])?;
    Ok(())
}

fn v1_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    equal(
        "w0 before the first call",
        booted(world)?.bit_31,
        NOT_SUPPORTED,
    )?;
    let word = 0x8000_0000 | world.version.to_word();
    equal("w0 later", ask(world, word), NOT_SUPPORTED)?;
    Ok(NO_RESULTS)
}

fn v2_another_major_version_is_not_supported(world: &mut NormalWorld) -> TestResult {
    equal("w0 for 2.0", world.negotiation.next_major, NOT_SUPPORTED)?;
    equal(
        "w0 for 0.9",
        world.negotiation.previous_major,
        NOT_SUPPORTED,
    )?;
    equal("w0 for 2.0 later", ask(world, 0x2_0000), NOT_SUPPORTED)?;
    world.invoke(world.tester(Role::Primary)?, 0, [0; 3])?;
    Ok(())
}

fn v2_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let negotiation = booted(world)?;
    equal("w0 for 2.0", negotiation.next_major, NOT_SUPPORTED)?;
    equal("w0 for 0.9", negotiation.previous_major, NOT_SUPPORTED)?;
    equal("w0 for 2.0 later", ask(world, 0x2_0000), NOT_SUPPORTED)?;
    Ok(NO_RESULTS)
}

/// Had the later version been stored, the one that was asked for next would have been refused, or the
/// calls of all other tests would follow the rules of another version.
fn later_minor(negotiation: Negotiation) -> TestResult {
    equal(
        "w0 for a later minor version",
        negotiation.next_minor,
        u64::from(Version::OURS.to_word()),
    )?;
    equal(
        "w0 for our version",
        negotiation.wanted,
        u64::from(Version::OURS.to_word()),
    )
}

fn v3_a_later_minor_version_gets_ours_and_is_not_stored(world: &mut NormalWorld) -> TestResult {
    later_minor(world.negotiation)?;
    world.invoke(world.tester(Role::Primary)?, 0, [0; 3])?;
    Ok(())
}

fn v3_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    later_minor(booted(world)?)?;
    Ok(NO_RESULTS)
}

fn v4_an_earlier_minor_version_gets_ours_and_is_stored(world: &mut NormalWorld) -> TestResult {
    equal(
        "w0",
        world.negotiation.wanted,
        u64::from(Version::OURS.to_word()),
    )?;
    // Stored means that it is the one version which is still accepted.
    let word = world.version.to_word();
    equal(
        "w0 for it again",
        ask(world, word),
        u64::from(Version::OURS.to_word()),
    )?;
    world.invoke(world.tester(Role::Primary)?, 0, [0; 3])?;
    Ok(())
}

fn v4_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    equal(
        "w0",
        booted(world)?.wanted,
        u64::from(Version::OURS.to_word()),
    )?;
    Ok(NO_RESULTS)
}

/// Asks for every version but the caller's own.
fn other_versions(caller: &mut impl Caller, own: Version) -> TestResult {
    for version in [
        Version::V1_0,
        Version::V1_1,
        Version::V1_2,
        Version::V1_3,
        NEXT_MINOR,
    ] {
        if version != own {
            equal("w0", ask(caller, version.to_word()), NOT_SUPPORTED)?;
        }
    }
    equal(
        "w0 for the own version",
        ask(caller, own.to_word()),
        u64::from(Version::OURS.to_word()),
    )
}

fn v5_another_version_after_the_first_call_is_not_supported(world: &mut NormalWorld) -> TestResult {
    let own = world.version;
    other_versions(world, own)?;
    world.invoke(world.tester(Role::Primary)?, 0, [0; 3])?;
    Ok(())
}

fn v5_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let own = world.version;
    other_versions(world, own)?;
    Ok(NO_RESULTS)
}

fn v6_the_same_version_again_succeeds(world: &mut NormalWorld) -> TestResult {
    let own = world.version.to_word();
    for _ in 0..3 {
        equal("w0", ask(world, own), u64::from(Version::OURS.to_word()))?;
    }
    world.invoke(world.tester(Role::Primary)?, 0, [0; 3])?;
    Ok(())
}

fn v6_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let own = world.version.to_word();
    for _ in 0..3 {
        equal("w0", ask(world, own), u64::from(Version::OURS.to_word()))?;
    }
    Ok(NO_RESULTS)
}

/// FFA_VERSION in the 64-bit convention, which it does not have.
fn version_64(word: u32) -> Request {
    Request::new(Function::Version.id(Width::W64)).with([u64::from(word)])
}

/// The normal world's would be EL3's to answer, which prints a warning.
fn v9_version_as_64_bit_call_is_not_supported(world: &mut NormalWorld) -> TestResult {
    world.invoke(world.tester(Role::Primary)?, 0, [0; 3])?;
    Ok(())
}

fn v9_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let own = world.version.to_word();
    world
        .call(version_64(own))
        .refused(FfaError::NotSupported)?;
    Ok(NO_RESULTS)
}

/// Neither a function nor a feature: FF-A numbers without function, widths that a function lacks, ids
/// outside of FF-A, feature ids that are reserved.
const NOTHING: [u64; 8] = [
    0x8400_00ef,
    0xc400_00ef,
    0xc400_0063,
    0x8400_008d,
    0x8400_0000,
    0x8200_0001,
    0x7f,
    0x7fff_ffff,
];

fn unknown_features(caller: &mut impl Caller) -> TestResult {
    for id in NOTHING {
        caller
            .ffa(Function::Features, [id])
            .refused(FfaError::NotSupported)?;
    }
    Ok(())
}

fn v11_features_of_what_does_not_exist_is_not_supported(world: &mut NormalWorld) -> TestResult {
    unknown_features(world)?;
    world.invoke(world.tester(Role::Primary)?, 0, [0; 3])?;
    Ok(())
}

fn v11_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    unknown_features(world)?;
    Ok(NO_RESULTS)
}

/// Calls that every version of Bulkhead implements for everyone.
const EVERYONES: [(Function, Width); 10] = [
    (Function::Version, Width::W32),
    (Function::Features, Width::W32),
    (Function::RxRelease, Width::W32),
    (Function::RxtxMap, Width::W32),
    (Function::RxtxMap, Width::W64),
    (Function::RxtxUnmap, Width::W32),
    (Function::PartitionInfoGet, Width::W32),
    (Function::IdGet, Width::W32),
    (Function::MsgSendDirectReq, Width::W32),
    (Function::MsgSendDirectReq, Width::W64),
];

fn known_features(caller: &mut impl Caller) -> TestResult {
    for (function, width) in EVERYONES {
        let reply = caller.ffa(Function::Features, [function.id(width)]);
        if !reply.is(Function::Success) {
            fail!("FFA_FEATURES of {function} in {width:?} returned {reply}");
        }
    }
    Ok(())
}

fn a03_features_knows_what_is_implemented(world: &mut NormalWorld) -> TestResult {
    known_features(world)?;
    world.invoke(world.tester(Role::Primary)?, 0, [0; 3])?;
    Ok(())
}

fn a03_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    known_features(world)?;
    for function in [Function::MsgWait, Function::ConsoleLog] {
        world
            .ffa(Function::Features, [function.id(Width::W32)])
            .succeeded()?;
    }
    Ok(NO_RESULTS)
}

/// FF-A numbers that no version defines.
const UNKNOWN_FFA: [u64; 4] = [0x8400_00ef, 0xc400_00ef, 0x8400_00b0, 0xc400_00b0];

/// EL3 relays only ids that it knows: of the normal world's, FFA_MSG_SEND of FF-A 1.0 is one that nobody
/// serves.
fn v16_an_unknown_ffa_function_is_not_supported(world: &mut NormalWorld) -> TestResult {
    world
        .ffa(Function::MsgSend, [])
        .refused(FfaError::NotSupported)?;
    world.invoke(world.tester(Role::Primary)?, 0, [0; 3])?;
    Ok(())
}

fn v16_unknown_ffa_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    for id in UNKNOWN_FFA {
        world
            .call(Request::new(id))
            .refused(FfaError::NotSupported)?;
    }
    Ok(NO_RESULTS)
}

fn v16_an_unknown_function_of_a_partition_is_minus_one(world: &mut NormalWorld) -> TestResult {
    world.invoke(world.tester(Role::Primary)?, 0, [0; 3])?;
    Ok(())
}

/// Ids of the Arm architecture, SiP, vendor hypervisor and trusted OS ranges that nothing serves.
fn v16_unknown_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    for id in [
        0x8000_ffff,
        0x8200_ffff,
        0xc200_ffff,
        0xc600_ffff,
        0xb200_ffff,
        0xf200_ffff,
        0x0000_0000,
    ] {
        for conduit in [Conduit::Smc, Conduit::Hvc] {
            let request = Request::new(id).with([1, 2, 3, 4, 5, 6, 7]);
            let reply = world.call_by(conduit, request);
            if let Some(index) = (1..8).find(|&index| reply.x(index) != reply.sent.x[index]) {
                fail!(
                    "{id:#x} by {conduit:?} changed x{index} to {:#x}",
                    reply.x(index)
                );
            }
            reply.not_supported_in_w0()?;
        }
    }
    Ok(NO_RESULTS)
}

/// FFA_FEATURES of FFA_ID_GET, with junk where a 32-bit call has no bits.
fn dirty_features() -> Request {
    const JUNK: u64 = 0xdead_beef << 32;
    let mut request = Request::ffa(Function::Features, Width::W32);
    request.x[0] |= JUNK;
    request.x[1] = JUNK | Function::IdGet.id(Width::W32);
    request.x[2] = JUNK;
    request
}

fn v17_upper_halves_of_a_32_bit_call_are_ignored(world: &mut NormalWorld) -> TestResult {
    world.call(dirty_features()).succeeded()?;
    world.invoke(world.tester(Role::Primary)?, 0, [0; 3])?;
    Ok(())
}

fn v17_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    world.call(dirty_features()).succeeded()?;
    Ok(NO_RESULTS)
}

/// SMCCC: bit 16 of a function id, by which the caller says that it has no SVE state to keep.
const SVE_HINT: u64 = 1 << 16;

/// FFA_ID_GET with the hint.
fn hinted_id_get() -> Request {
    Request::new(Function::IdGet.id(Width::W32) | SVE_HINT)
}

fn v18_the_sve_hint_is_no_part_of_the_function_id(world: &mut NormalWorld) -> TestResult {
    let reply = world.call(hinted_id_get()).succeeded()?;
    equal("the id", reply.x(2), 0)?;
    let primary = world.tester(Role::Primary)?;
    let mut message = Request::direct(Width::W64, world.id(), primary, [1, 2, 3, 4, 5]);
    message.x[0] |= SVE_HINT;
    let reply = world.call(message).returned(Function::MsgSendDirectResp)?;
    equal("x3", reply.x(3), !1)?;
    world.invoke(primary, 0, [0; 3])?;
    Ok(())
}

fn v18_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let reply = world.call(hinted_id_get()).succeeded()?;
    equal("the id", reply.x(2), u64::from(world.id().0))?;
    Ok(NO_RESULTS)
}

fn v19_a_partition_may_call_by_hvc_too(world: &mut NormalWorld) -> TestResult {
    world.invoke(world.tester(Role::Primary)?, 0, [0; 3])?;
    Ok(())
}

fn v19_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let request = Request::ffa(Function::IdGet, Width::W32);
    let reply = world.call_by(Conduit::Hvc, request).succeeded()?;
    equal("the id", reply.x(2), u64::from(world.id().0))?;
    world
        .call_by(Conduit::Hvc, Request::new(0x8400_00ef))
        .refused(FfaError::NotSupported)?;
    Ok(NO_RESULTS)
}
