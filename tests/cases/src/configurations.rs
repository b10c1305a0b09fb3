// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold in one configuration of `manifests/`, by the configuration's name: tests without
//! testers.

use bulkhead_abi::{EndpointId, FfaError, Function, Uuid, Width};
use bulkhead_payload::{Request, counter};

use crate::case::NormalHalf;
use crate::ensure;
use crate::normal_world::NormalWorld;
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_list::{COUNT_ONLY, request};
use crate::protocol::{Caller, Payload, echo};

/// The suites, by the name of their configuration.
pub static SUITES: &[(&str, &[(&str, NormalHalf)])] = &[
    ("sparse", crate::topology::SUITE),
    (
        "bad-partitions",
        &[
            (
                "k11_partitions_that_fail_at_boot_are_aborted",
                k11_partitions_that_fail_at_boot_are_aborted,
            ),
            (
                "k11_each_was_aborted_within_a_second",
                k11_each_was_aborted_within_a_second,
            ),
            (
                "v10_a_partition_of_a_later_version_is_not_there",
                v10_a_partition_of_a_later_version_is_not_there,
            ),
            (
                "k11_a_partition_boots_though_others_failed",
                k11_a_partition_boots_though_others_failed,
            ),
        ],
    ),
    (
        "existing",
        &[(
            "b52_a_partition_of_the_field_answers",
            b52_a_partition_of_the_field_answers,
        )],
    ),
    (
        "optee",
        &[
            ("optee_is_listed_by_its_uuid", optee_is_listed_by_its_uuid),
            (
                "optee_tells_the_version_of_its_interface",
                optee_tells_the_version_of_its_interface,
            ),
        ],
    ),
];

/// The tests of a configuration.
pub fn suite(name: &str) -> Option<&'static [(&'static str, NormalHalf)]> {
    SUITES
        .iter()
        .find(|(other, _)| *other == name)
        .map(|(_, suite)| *suite)
}

const PAYLOAD: Payload = [
    0x1111_2222,
    0x3333_4444,
    0x5555_6666,
    0x7777_8888,
    0x9999_aaaa,
];

/// The partitions that crash, spin and never wait at boot.
fn k11_partitions_that_fail_at_boot_are_aborted(world: &mut NormalWorld) -> TestResult {
    for id in [0x8001, 0x8002, 0x8003].map(EndpointId) {
        for width in [Width::W32, Width::W64] {
            world
                .direct(width, id, PAYLOAD)
                .refused(FfaError::Aborted)?;
        }
        world.call(Request::run(id, 0)).refused(FfaError::Aborted)?;
    }
    Ok(())
}

/// Two of them ran until their time was over. The counter began with the reset, so it shows their time
/// and that of the rest of the boot, which is about 0.3 s of counter time at this machine's speed.
fn k11_each_was_aborted_within_a_second(_: &mut NormalWorld) -> TestResult {
    const SECOND: u64 = 1_000_000;
    const REST: u64 = 300_000;
    let elapsed = counter::since_reset_in_microseconds();
    ensure!(
        elapsed < 2 * SECOND + REST,
        "the normal world started after {elapsed} us"
    );
    Ok(())
}

/// Its manifest asks for FF-A 1.4.
fn v10_a_partition_of_a_later_version_is_not_there(world: &mut NormalWorld) -> TestResult {
    world.list_partitions()?;
    let future = EndpointId(0x8005);
    ensure!(world.descriptor(future).is_none(), "{future} is listed");
    for width in [Width::W32, Width::W64] {
        world
            .direct(width, future, PAYLOAD)
            .refused(FfaError::InvalidParameters)?;
    }
    let run = world.call(Request::run(future, 0));
    run.refused(FfaError::InvalidParameters)
}

fn k11_a_partition_boots_though_others_failed(world: &mut NormalWorld) -> TestResult {
    world.list_partitions()?;
    let good = EndpointId(0x8004);
    ensure!(world.descriptor(good).is_some(), "{good} is not listed");
    for width in [Width::W32, Width::W64] {
        let reply = world
            .direct(width, good, PAYLOAD)
            .returned(Function::MsgSendDirectResp)?;
        ensure!(
            reply.payload() == echo(width, PAYLOAD),
            "{good} answered {:x?}",
            reply.payload()
        );
    }
    Ok(())
}

/// The partition `plain` is listed and answers with the payload that it got. This SPMC manifest, as
/// those of the field, names no memory of the normal world: the board's is used.
fn b52_a_partition_of_the_field_answers(world: &mut NormalWorld) -> TestResult {
    let plain = EndpointId(0x8001);
    let count = world.call(request(Uuid::NIL, COUNT_ONLY)).succeeded()?;
    equal("the number of partitions", count.x(2), 1)?;
    world.list_partitions()?;
    ensure!(world.descriptor(plain).is_some(), "{plain} is not listed");
    for width in [Width::W32, Width::W64] {
        let reply = world
            .direct(width, plain, PAYLOAD)
            .returned(Function::MsgSendDirectResp)?;
        ensure!(
            reply.payload() == PAYLOAD,
            "{plain} answered {:x?}",
            reply.payload()
        );
        world
            .call(Request::run(plain, 0))
            .returned(Function::MsgWait)?;
    }
    Ok(())
}

/// 486178e0-e7f8-11e3-bc5e-0002a5d5c51b, as the kernel's driver looks for it.
const OPTEE: Uuid = Uuid::from_words([0xe078_6148, 0xe311_f8e7, 0x0200_5ebc, 0x1bc5_d5a5]);

fn optee_is_listed_by_its_uuid(world: &mut NormalWorld) -> TestResult {
    let reply = world.call(request(OPTEE, COUNT_ONLY)).succeeded()?;
    equal("the number of partitions with OP-TEE's UUID", reply.x(2), 1)?;
    world.list_partitions()?;
    ensure!(
        world.descriptor(EndpointId(0x8001)).is_some(),
        "OP-TEE is not listed"
    );
    Ok(())
}

/// OPTEE_FFA_GET_API_VERSION is a 32-bit message of zeroes; the answer is 1.0 in w3 and w4 (OP-TEE,
/// `optee_ffa.h`).
fn optee_tells_the_version_of_its_interface(world: &mut NormalWorld) -> TestResult {
    let optee = EndpointId(0x8001);
    let reply = world.direct(Width::W32, optee, [0; 5]);
    let reply = reply.returned(Function::MsgSendDirectResp)?;
    equal("the major version", reply.x(3), 1)?;
    equal("the minor version", reply.x(4), 0)
}
