// SPDX-License-Identifier: MIT OR Apache-2.0
//! FFA_ID_GET and FFA_SPM_ID_GET.

use bulkhead_abi::{EndpointId, FfaError, Function, Version};

use crate::cases;
use crate::ensure;
use crate::normal_world::{NormalWorld, Role};
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_world::PartitionWorld;
use crate::protocol::Caller;

cases! {
    a05_the_normal_world_has_id_0;
    a05_a_partition_is_told_the_id_that_discovery_shows: [a05_id_half];
    a05_both_worlds_are_told_the_same_spmc_id: [a05_spm_id_half];
}

fn a05_the_normal_world_has_id_0(world: &mut NormalWorld) -> TestResult {
    let reply = world.ffa(Function::IdGet, []).succeeded()?;
    equal("the id", reply.x(2), u64::from(EndpointId::NORMAL_WORLD.0))
}

fn a05_a_partition_is_told_the_id_that_discovery_shows(world: &mut NormalWorld) -> TestResult {
    world.tester(Role::Primary)?;
    let mut testers = world.partitions.clone();
    testers.retain(|partition| world.testers().any(|id| id == partition.id));
    for partition in testers {
        let [id, ..] = world.invoke(partition.id, 0, [0; 3])?;
        equal("the partition's own id", id, u64::from(partition.id.0))?;
        ensure!(
            partition.id.is_secure(),
            "{} has the id of a VM",
            partition.id
        );
    }
    Ok(())
}

fn a05_id_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let reply = world.ffa(Function::IdGet, []).succeeded()?;
    Ok([reply.x(2), 0, 0, 0])
}

/// FFA_SPM_ID_GET, which FF-A 1.0 does not have.
fn spm_id(caller: &mut impl Caller, version: Version) -> TestResult<Option<u64>> {
    let reply = caller.ffa(Function::SpmIdGet, []);
    if version < Version::V1_1 {
        reply.refused(FfaError::NotSupported)?;
        return Ok(None);
    }
    Ok(Some(reply.succeeded()?.x(2)))
}

fn a05_both_worlds_are_told_the_same_spmc_id(world: &mut NormalWorld) -> TestResult {
    let version = world.version;
    let primary = world.tester(Role::Primary)?;
    let [known, theirs, ..] = world.invoke(primary, 0, [0; 3])?;
    if let Some(ours) = spm_id(world, version)? {
        ensure!(
            ours & 0xffff_8000 == 0x8000,
            "{ours:#x} is not an id of the secure world"
        );
        ensure!(
            world.descriptor(EndpointId(ours as u16)).is_none(),
            "the SPMC shares the id {ours:#x} with a partition"
        );
        if known != 0 {
            equal("the SPMC's id that the partition is told", theirs, ours)?;
        }
    }
    Ok(())
}

fn a05_spm_id_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let version = world.version;
    Ok(match spm_id(world, version)? {
        Some(id) => [1, id, 0, 0],
        None => [0; 4],
    })
}
