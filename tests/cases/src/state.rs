// SPDX-License-Identifier: MIT OR Apache-2.0
//! System registers and FP/SIMD state of one world or partition, while others change theirs: L3 and L4 of
//! the abuse cases.

use bulkhead_abi::{EndpointId, Function, Width};
use bulkhead_payload::fp::FpState;
use bulkhead_payload::system_register::{Values, World};
use bulkhead_payload::{Canary, Request, counter, fp, sve};

use crate::case::Case;
use crate::normal_world::{LONG_SPIN, NormalWorld, Role};
use crate::outcome::TestResult;
use crate::partition_world::PartitionWorld;
use crate::protocol::{Caller, run_half};
use crate::{cases, ensure, fail, skip};

cases! {
    l3_a_partition_that_uses_fp_leaves_the_normal_worlds: [fill_fp_half];
    l3_a_partitions_fp_registers_are_kept_between_its_calls: [fill_fp_half, check_fp_half];
    l3_a_partitions_fp_registers_are_kept_while_it_calls_another: [call_with_fp_half, fill_fp_half];
    l3_a_partitions_fp_registers_are_kept_while_it_is_preempted: [spin_with_fp_half];
    l3_a_partition_does_not_see_fp_registers_of_others: [foreign_fp_half];
    l3_sve_registers_of_the_normal_world_are_kept: [fill_fp_half];
    l4_a_partition_that_changes_el1_registers_leaves_the_normal_worlds: [fill_el1_half, restore_el1_half];
    l4_a_partitions_el1_registers_are_kept_between_its_calls: [fill_el1_half, check_el1_half];
    l4_a_partitions_el1_registers_are_kept_while_it_calls_another: [call_with_el1_half, fill_and_restore_el1_half];
}

/// What is known at the end of the run.
pub(crate) const SUMMARY: &[Case] = &[Case {
    name: "l4_no_call_of_any_test_changed_el1_or_fp_registers",
    normal: |world| match world.state_violation() {
        Some(violation) => fail!("{violation}"),
        None => Ok(()),
    },
    halves: &[],
}];

const NO_RESULTS: [u64; 4] = [0; 4];

fn pair(world: &NormalWorld) -> TestResult<(EndpointId, EndpointId)> {
    if !fp::present() {
        skip!("this core has no FP");
    }
    Ok((world.tester(Role::Primary)?, world.tester(Role::Secondary)?))
}

fn fill_fp_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    FpState::canaries(Canary::new(world.id())).load();
    world.fp = Some(FpState::current());
    Ok(NO_RESULTS)
}

fn check_fp(world: &PartitionWorld) -> TestResult {
    let found = FpState::current();
    let Some(expected) = &world.fp else {
        fail!("no FP canaries were set")
    };
    if let Some((name, expected, found)) = expected.difference(&found) {
        fail!("{name} was {expected:#x} and came back as {found:#x}");
    }
    Ok(())
}

fn check_fp_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    check_fp(world)?;
    Ok(NO_RESULTS)
}

fn l3_a_partition_that_uses_fp_leaves_the_normal_worlds(world: &mut NormalWorld) -> TestResult {
    let (primary, secondary) = pair(world)?;
    for partition in [primary, secondary, primary, primary] {
        world.invoke(partition, 0, [0; 3])?;
    }
    world.no_state_change()
}

fn l3_a_partitions_fp_registers_are_kept_between_its_calls(world: &mut NormalWorld) -> TestResult {
    let (primary, secondary) = pair(world)?;
    // Every call changes the normal world's registers, too.
    world.invoke(primary, 0, [0; 3])?;
    world.invoke(secondary, 0, [0; 3])?;
    world.invoke(primary, 1, [0; 3])?;
    world.invoke(secondary, 1, [0; 3])?;
    world.invoke(primary, 1, [0; 3])?;
    world.no_state_change()
}

fn l3_a_partitions_fp_registers_are_kept_while_it_calls_another(
    world: &mut NormalWorld,
) -> TestResult {
    let (primary, secondary) = pair(world)?;
    world.invoke(primary, 0, [secondary.0.into(), 0, 0])?;
    world.invoke(secondary, 0, [primary.0.into(), 0, 0])?;
    world.no_state_change()
}

fn call_with_fp_half(world: &mut PartitionWorld, [to, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    fill_fp_half(world, [0; 3])?;
    world.invoke(EndpointId(to as u16), 1, [0; 3])?;
    check_fp(world)?;
    Ok(NO_RESULTS)
}

fn l3_a_partitions_fp_registers_are_kept_while_it_is_preempted(
    world: &mut NormalWorld,
) -> TestResult {
    let (primary, _) = pair(world)?;
    let request = Request::direct(
        Width::W64,
        world.id(),
        primary,
        run_half(world.case(), 0, [0; 3]),
    );
    let interrupt = world.interrupted(request)?;
    // Another use of the normal world's registers, and of another call's path.
    world.ffa(Function::IdGet, []);
    let end = world.resume(&interrupt)?;
    world.results(primary, &end)?;
    world.no_state_change()
}

fn spin_with_fp_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    fill_fp_half(world, [0; 3])?;
    counter::spin(counter::microseconds(LONG_SPIN));
    check_fp(world)?;
    Ok(NO_RESULTS)
}

fn l3_a_partition_does_not_see_fp_registers_of_others(world: &mut NormalWorld) -> TestResult {
    let (primary, secondary) = pair(world)?;
    for partition in [primary, secondary, primary] {
        world.invoke(partition, 0, [0; 3])?;
    }
    Ok(())
}

/// What it sees is what it put there itself, or the zeroes that it began with.
fn foreign_fp_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let found = FpState::current();
    match &world.fp {
        Some(_) => check_fp(world)?,
        None => {
            let used = found
                .v
                .iter()
                .position(|&[low, high]| low != 0 || high != 0);
            if let Some(index) = used {
                fail!("V{index} was {:#x?} at first use", found.v[index]);
            }
        }
    }
    fill_fp_half(world, [0; 3])
}

fn l3_sve_registers_of_the_normal_world_are_kept(world: &mut NormalWorld) -> TestResult {
    let (primary, secondary) = pair(world)?;
    if !sve::present() || !world.sve {
        skip!("no SVE here, or not for this run");
    }
    // The watch uses the same registers.
    let watch = world.stop_watching();
    let result = sve_registers(world, primary, secondary);
    world.continue_watching(watch);
    result
}

fn sve_registers(
    world: &mut NormalWorld,
    primary: EndpointId,
    secondary: EndpointId,
) -> TestResult {
    let length = sve::enable();
    // Twice: at first use a partition's registers are fresh, later they come from its context.
    for to in [primary, secondary, primary, secondary] {
        sve::fill(Canary::new(world.id()), length);
        world.invoke(to, 0, [0; 3])?;
        if let Some(byte) = sve::difference(length) {
            fail!(
                "byte {byte} of {length}-byte Z registers, P registers and FFR differs after a call to {to}"
            );
        }
    }
    Ok(())
}

/// Canaries in every EL1 and EL0 register of the partition. Results: how many there are.
fn fill_el1_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let mut values = Values::probe(World::Partition);
    values.capture();
    world.el1_before = Some(values);
    values.fill(Canary::new(world.id()));
    world.el1 = Some(values);
    Ok([values.count().into(), 0, 0, 0])
}

fn restore_el1(world: &mut PartitionWorld) {
    world.el1 = None;
    if let Some(values) = world.el1_before.take() {
        values.restore();
    }
}

fn restore_el1_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    restore_el1(world);
    Ok(NO_RESULTS)
}

/// Compares, and puts back what was there before the canaries.
fn check_el1(world: &mut PartitionWorld) -> TestResult {
    let Some(values) = world.el1.take() else {
        fail!("no EL1 canaries were set")
    };
    let difference = values.difference();
    restore_el1(world);
    if let Some((name, expected, found)) = difference {
        fail!("{name} was {expected:#x} and came back as {found:#x}");
    }
    Ok(())
}

fn check_el1_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    check_el1(world)?;
    Ok(NO_RESULTS)
}

/// Fewer registers than these cannot be: those that every core has.
const ALWAYS_THERE: u64 = 20;

fn l4_a_partition_that_changes_el1_registers_leaves_the_normal_worlds(
    world: &mut NormalWorld,
) -> TestResult {
    let (primary, secondary) = pair(world)?;
    for partition in [primary, secondary] {
        let [count, ..] = world.invoke(partition, 0, [0; 3])?;
        ensure!(
            count >= ALWAYS_THERE,
            "{partition} has only {count} EL1 registers"
        );
    }
    for partition in [primary, secondary] {
        world.invoke(partition, 1, [0; 3])?;
    }
    world.no_state_change()
}

fn l4_a_partitions_el1_registers_are_kept_between_its_calls(world: &mut NormalWorld) -> TestResult {
    let (primary, secondary) = pair(world)?;
    world.invoke(primary, 0, [0; 3])?;
    world.invoke(secondary, 0, [0; 3])?;
    let first = world.invoke(primary, 1, [0; 3]);
    world.invoke(secondary, 1, [0; 3])?;
    first?;
    world.no_state_change()
}

fn l4_a_partitions_el1_registers_are_kept_while_it_calls_another(
    world: &mut NormalWorld,
) -> TestResult {
    let (primary, secondary) = pair(world)?;
    world.invoke(primary, 0, [secondary.0.into(), 0, 0])?;
    world.invoke(secondary, 0, [primary.0.into(), 0, 0])?;
    world.no_state_change()
}

fn call_with_el1_half(world: &mut PartitionWorld, [to, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    fill_el1_half(world, [0; 3])?;
    let called = world.invoke(EndpointId(to as u16), 1, [0; 3]);
    check_el1(world)?;
    called?;
    Ok(NO_RESULTS)
}

fn fill_and_restore_el1_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    fill_el1_half(world, [0; 3])?;
    restore_el1(world);
    Ok(NO_RESULTS)
}
