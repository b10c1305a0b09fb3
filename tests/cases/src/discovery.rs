// SPDX-License-Identifier: MIT OR Apache-2.0
//! FFA_PARTITION_INFO_GET: D of the abuse cases.

use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::{FfaError, Function, Uuid, Version};
use bulkhead_payload::memory::{MAILBOX, PAGE_SIZE};

use crate::normal_world::{NormalWorld, Role, Tester, rxtx_map};
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_list::{COUNT_ONLY, PartitionDescriptor, descriptor_size, get, request};
use crate::partition_world::PartitionWorld;
use crate::protocol::Caller;
use crate::{cases, ensure, skip};

cases! {
    a09_the_count_is_that_of_the_descriptors;
    a09_every_tester_is_listed_once_with_its_properties;
    d9_a_partition_shows_no_property_newer_than_itself;
    a11_the_normal_world_does_not_see_who_sends;
    a09_a_filter_by_uuid_lists_its_partitions_only;
    d1_an_unknown_uuid_is_refused;
    d2_reserved_flags_are_refused;
    d3_a_full_rx_buffer_is_busy;
    d3_without_rx_buffer_the_descriptors_are_refused;
    d5_the_count_needs_no_buffers;
    d6_a_filtered_descriptor_has_no_uuid;
    d8_the_rest_of_the_rx_buffer_reads_zero;
    a09_a_partition_discovers_the_same_partitions: [a09_half];
}

/// A UUID that no partition has.
const NOBODY: Uuid = Uuid([0x5a; 16]);

/// A UUID that a partition has.
fn some_uuid(world: &NormalWorld) -> TestResult<Uuid> {
    match world
        .partitions
        .iter()
        .find(|partition| !partition.uuid.is_nil())
    {
        Some(partition) => Ok(partition.uuid),
        None => skip!("FF-A {} shows no UUIDs", world.version),
    }
}

fn a09_the_count_is_that_of_the_descriptors(world: &mut NormalWorld) -> TestResult {
    let version = world.version;
    let listed = get(world, version, Uuid::NIL)?.len() as u64;
    let reply = world.call(request(Uuid::NIL, COUNT_ONLY)).succeeded()?;
    equal("the count", reply.x(2), listed)?;
    // Counting does not take the RX buffer.
    world.ffa(Function::RxRelease, []).refused(FfaError::Denied)
}

fn a09_every_tester_is_listed_once_with_its_properties(world: &mut NormalWorld) -> TestResult {
    for Tester { id, version } in world.testers() {
        let rows = || {
            let partitions = world.partitions.iter();
            partitions.filter(|partition| partition.id == id)
        };
        ensure!(
            rows().count() == 1,
            "{id} is listed {} times",
            rows().count()
        );
        for PartitionDescriptor {
            contexts,
            properties,
            ..
        } in rows()
        {
            ensure!(*contexts >= 1, "{id} has no execution context");
            ensure!(
                properties.contains(Properties::DIRECT_REQ_RECEIVE),
                "{id} does not receive: {properties:?}"
            );
            // FF-A 1.0 does not know the bit, whoever looks (D9).
            let shown = world.version.min(version) >= Version::V1_1;
            ensure!(
                properties.contains(Properties::AARCH64) == shown,
                "{id} of FF-A {version}: {properties:?}"
            );
        }
    }
    Ok(())
}

fn d9_a_partition_shows_no_property_newer_than_itself(world: &mut NormalWorld) -> TestResult {
    for Tester { id, version } in world.testers() {
        let known = Properties::defined_by(version.min(world.version));
        for partition in &world.partitions {
            ensure!(
                partition.id != id || known.contains(partition.properties),
                "{id} of FF-A {version} shows {:?}",
                partition.properties
            );
        }
    }
    Ok(())
}

fn a11_the_normal_world_does_not_see_who_sends(world: &mut NormalWorld) -> TestResult {
    let hidden = Properties::DIRECT_REQ_SEND.union(Properties::DIRECT_REQ2_SEND);
    for partition in &world.partitions {
        equal(
            "the properties that say who sends",
            u64::from(partition.properties.0 & hidden.0),
            0,
        )?;
    }
    Ok(())
}

fn a09_a_filter_by_uuid_lists_its_partitions_only(world: &mut NormalWorld) -> TestResult {
    let (version, uuid) = (world.version, some_uuid(world)?);
    let found = get(world, version, uuid)?;
    let expected = world
        .partitions
        .iter()
        .filter(|partition| partition.uuid == uuid);
    ensure!(
        found
            .iter()
            .map(|partition| partition.id)
            .eq(expected.map(|partition| partition.id)),
        "{uuid} lists other partitions than those that have it"
    );
    let reply = world.call(request(uuid, COUNT_ONLY)).succeeded()?;
    equal("the count", reply.x(2), found.len() as u64)
}

fn d1_an_unknown_uuid_is_refused(world: &mut NormalWorld) -> TestResult {
    world
        .call(request(NOBODY, 0))
        .refused(FfaError::InvalidParameters)?;
    world
        .call(request(NOBODY, COUNT_ONLY))
        .refused(FfaError::InvalidParameters)?;
    world.ffa(Function::RxRelease, []).refused(FfaError::Denied)
}

fn d2_reserved_flags_are_refused(world: &mut NormalWorld) -> TestResult {
    for bit in [1, 2, 15, 31] {
        world
            .call(request(Uuid::NIL, 1 << bit))
            .refused(FfaError::InvalidParameters)?;
    }
    world.ffa(Function::RxRelease, []).refused(FfaError::Denied)
}

fn d3_a_full_rx_buffer_is_busy(world: &mut NormalWorld) -> TestResult {
    world.call(request(Uuid::NIL, 0)).succeeded()?;
    world.call(request(Uuid::NIL, 0)).refused(FfaError::Busy)?;
    world.ffa(Function::RxRelease, []).succeeded()?;
    world.call(request(Uuid::NIL, 0)).succeeded()?;
    world.ffa(Function::RxRelease, []).succeeded()?;
    Ok(())
}

fn d3_without_rx_buffer_the_descriptors_are_refused(world: &mut NormalWorld) -> TestResult {
    world.ffa(Function::RxtxUnmap, []).succeeded()?;
    world.call(request(Uuid::NIL, 0)).refused(FfaError::Busy)
}

fn d5_the_count_needs_no_buffers(world: &mut NormalWorld) -> TestResult {
    world.ffa(Function::RxtxUnmap, []).succeeded()?;
    let reply = world.call(request(Uuid::NIL, COUNT_ONLY)).succeeded()?;
    equal("the count", reply.x(2), world.partitions.len() as u64)
}

fn d6_a_filtered_descriptor_has_no_uuid(world: &mut NormalWorld) -> TestResult {
    let (version, uuid) = (world.version, some_uuid(world)?);
    for partition in get(world, version, uuid)? {
        ensure!(
            partition.uuid.is_nil(),
            "{} carries {}",
            partition.id,
            partition.uuid
        );
    }
    Ok(())
}

fn d8_the_rest_of_the_rx_buffer_reads_zero(world: &mut NormalWorld) -> TestResult {
    let version = world.version;
    MAILBOX.rx.fill(0xa5);
    let reply = world.call(request(Uuid::NIL, 0)).succeeded()?;
    let used = reply.x(2) as usize * descriptor_size(version);
    let residue = (used..PAGE_SIZE).find(|&offset| MAILBOX.rx.byte(offset) != 0);
    world.ffa(Function::RxRelease, []).succeeded()?;
    ensure!(
        residue.is_none(),
        "byte {:?} after {used} bytes of descriptors is not zero",
        residue
    );
    Ok(())
}

fn a09_a_partition_discovers_the_same_partitions(world: &mut NormalWorld) -> TestResult {
    let primary = world.tester(Role::Primary)?;
    let [count, ids, ..] = world.invoke(primary, 0, [0; 3])?;
    equal(
        "the count that a partition sees",
        count,
        world.partitions.len() as u64,
    )?;
    let expected = world.partitions.iter().fold(0, |all, partition| {
        all ^ u64::from(partition.id.0).rotate_left(16)
    });
    equal("the ids that a partition sees, combined", ids, expected)
}

fn a09_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    world.call(rxtx_map(bulkhead_abi::Width::W64)).succeeded()?;
    let version = world.version;
    let found = get(world, version, Uuid::NIL);
    world.ffa(Function::RxtxUnmap, []).succeeded()?;
    let found = found?;
    let ids = found.iter().fold(0, |all, partition| {
        all ^ u64::from(partition.id.0).rotate_left(16)
    });
    Ok([found.len() as u64, ids, 0, 0])
}
