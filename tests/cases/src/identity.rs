// SPDX-License-Identifier: MIT OR Apache-2.0
//! FFA_ID_GET and FFA_SPM_ID_GET.

use bulkhead_abi::{EndpointId, FfaError, Function, Version};

use crate::cases;
use crate::ensure;
use crate::normal_world::{NormalWorld, Tester};
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
    for Tester { id, .. } in world.testers() {
        let [own, ..] = world.invoke(id, 0, [0; 3])?;
        equal("the partition's own id", own, u64::from(id.0))?;
        ensure!(id.is_secure(), "{id} has the id of a VM");
    }
    Ok(())
}

fn a05_id_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let reply = world.ffa(Function::IdGet, []).succeeded()?;
    Ok([reply.x(2), 0, 0, 0])
}

/// EL3 answers the normal world, whatever version that speaks.
fn a05_both_worlds_are_told_the_same_spmc_id(world: &mut NormalWorld) -> TestResult {
    let spmc = world.ffa(Function::SpmIdGet, []).succeeded()?.x(2);
    ensure!(
        spmc & 0xffff_8000 == 0x8000,
        "{spmc:#x} is not an id of the secure world"
    );
    let taken = world.descriptor(EndpointId(spmc as u16)).is_some();
    ensure!(!taken, "the SPMC shares the id {spmc:#x} with a partition");
    for Tester { id, .. } in world.testers() {
        world.invoke(id, 0, [spmc, 0, 0])?;
    }
    Ok(())
}

/// FF-A 1.0 does not have the call.
fn a05_spm_id_half(world: &mut PartitionWorld, [spmc, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    let reply = world.ffa(Function::SpmIdGet, []);
    if world.version < Version::V1_1 {
        reply.refused(FfaError::NotSupported)?;
    } else {
        equal("the SPMC's id", reply.succeeded()?.x(2), spmc)?;
    }
    Ok([0; 4])
}
