// SPDX-License-Identifier: MIT OR Apache-2.0
//! FFA_RXTX_MAP, FFA_RXTX_UNMAP and FFA_RX_RELEASE: the first of M of the abuse cases.

use bulkhead_abi::{FfaError, Function, Width};
use bulkhead_payload::Request;
use bulkhead_payload::entry::image_start;
use bulkhead_payload::memory::{MAILBOX, load};
use bulkhead_payload::panic::foreign_address;

use crate::cases;
use crate::normal_world::{NormalWorld, Role, rxtx_map};
use crate::outcome::{TestResult, Verdict};
use crate::partition_world::PartitionWorld;
use crate::protocol::Caller;

cases! {
    a07_buffers_map_and_unmap_in_both_widths: [a07_half];
    m1_one_page_as_both_buffers_is_refused: [m1_half];
    m2_an_unaligned_buffer_is_refused: [m2_half];
    m3_no_page_is_refused: [m3_half];
    m4_too_many_pages_are_refused: [m4_half];
    m6_a_second_pair_of_buffers_is_denied: [m6_half];
    m7_a_buffer_that_is_not_the_partitions_is_refused: [m7_half];
    m8_a_buffer_on_a_device_is_refused: [m8_half];
    m10_a_page_that_may_not_be_written_is_no_buffer: [m10_half];
    m15_unmapping_nothing_is_refused: [m15_half];
    m17_unmapping_the_buffers_of_a_partition_is_refused;
    m21_releasing_an_rx_buffer_that_is_not_owned_is_denied: [m21_half];
}

const NO_RESULTS: [u64; 4] = [0; 4];

/// FFA_RXTX_MAP with any arguments.
fn map(tx: u64, rx: u64, pages: u64) -> Request {
    Request::ffa(Function::RxtxMap, Width::W64).with([tx, rx, pages])
}

fn tx() -> u64 {
    MAILBOX.tx.address()
}

fn rx() -> u64 {
    MAILBOX.rx.address()
}

/// Calls that are all refused with INVALID_PARAMETERS, after which the right one succeeds: they left
/// nothing behind. No buffers are mapped before or after.
fn refused(caller: &mut impl Caller, requests: &[Request]) -> TestResult {
    for request in requests {
        caller.call(*request).refused(FfaError::InvalidParameters)?;
    }
    caller.call(rxtx_map(Width::W64)).succeeded()?;
    caller.ffa(Function::RxtxUnmap, []).succeeded()?;
    Ok(())
}

/// Runs the partition's half too, without buffers of the normal world.
fn both(world: &mut NormalWorld, check: fn(&mut NormalWorld) -> TestResult) -> TestResult {
    world.ffa(Function::RxtxUnmap, []).succeeded()?;
    check(world)?;
    world.invoke(world.tester(Role::Primary)?, 0, [0; 3])?;
    Ok(())
}

fn map_and_unmap(caller: &mut impl Caller) -> TestResult {
    for width in [Width::W32, Width::W64] {
        caller.call(rxtx_map(width)).succeeded()?;
        caller.ffa(Function::RxtxUnmap, []).succeeded()?;
    }
    Ok(())
}

fn a07_buffers_map_and_unmap_in_both_widths(world: &mut NormalWorld) -> TestResult {
    both(world, map_and_unmap)
}

fn a07_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    map_and_unmap(world)?;
    Ok(NO_RESULTS)
}

fn m1_one_page_as_both_buffers_is_refused(world: &mut NormalWorld) -> TestResult {
    both(world, |world| refused(world, &[map(tx(), tx(), 1)]))
}

fn m1_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    refused(world, &[map(tx(), tx(), 1)])?;
    Ok(NO_RESULTS)
}

fn unaligned(caller: &mut impl Caller) -> TestResult {
    for bit in [0, 3, 6, 11] {
        refused(
            caller,
            &[map(tx() | 1 << bit, rx(), 1), map(tx(), rx() | 1 << bit, 1)],
        )?;
    }
    Ok(())
}

fn m2_an_unaligned_buffer_is_refused(world: &mut NormalWorld) -> TestResult {
    both(world, unaligned)
}

fn m2_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    unaligned(world)?;
    Ok(NO_RESULTS)
}

fn m3_no_page_is_refused(world: &mut NormalWorld) -> TestResult {
    both(world, |world| refused(world, &[map(tx(), rx(), 0)]))
}

fn m3_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    refused(world, &[map(tx(), rx(), 0)])?;
    Ok(NO_RESULTS)
}

/// The most that the field of six bits can say, and bits above it.
fn too_many(caller: &mut impl Caller) -> TestResult {
    refused(
        caller,
        &[map(tx(), rx(), 63), map(u64::MAX - 0xfff, rx(), 63)],
    )
}

fn m4_too_many_pages_are_refused(world: &mut NormalWorld) -> TestResult {
    both(world, too_many)
}

fn m4_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    too_many(world)?;
    Ok(NO_RESULTS)
}

fn twice(caller: &mut impl Caller) -> TestResult {
    caller.call(rxtx_map(Width::W64)).succeeded()?;
    caller
        .call(rxtx_map(Width::W64))
        .refused(FfaError::Denied)?;
    caller.call(map(rx(), tx(), 1)).refused(FfaError::Denied)?;
    caller.ffa(Function::RxtxUnmap, []).succeeded()?;
    Ok(())
}

fn m6_a_second_pair_of_buffers_is_denied(world: &mut NormalWorld) -> TestResult {
    both(world, twice)
}

fn m6_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    twice(world)?;
    Ok(NO_RESULTS)
}

fn m7_a_buffer_that_is_not_the_partitions_is_refused(world: &mut NormalWorld) -> TestResult {
    world.invoke(world.tester(Role::Primary)?, 0, [0; 3])?;
    Ok(())
}

fn m7_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let foreign = foreign_address() as u64 & !0xfff;
    // Below the package, in the address space of EL3, and where nothing is at all.
    let far = image_start() as u64 ^ 1 << 39;
    for address in [foreign, 0, far] {
        refused(world, &[map(address, rx(), 1), map(tx(), address, 1)])?;
    }
    Ok(NO_RESULTS)
}

/// What the manifest of the primary tester gives it: the real-time clock, and a page that it may only
/// read.
const DEVICE: u64 = 0x0901_0000;
const READ_ONLY: u64 = 0x0e3f_f000;

/// No buffer lies at `address`, which the partition may read.
fn no_buffer(world: &mut PartitionWorld, address: u64) -> TestResult<[u64; 4]> {
    load(address as usize);
    refused(world, &[map(address, rx(), 1), map(tx(), address, 1)])?;
    Ok(NO_RESULTS)
}

fn m8_a_buffer_on_a_device_is_refused(world: &mut NormalWorld) -> TestResult {
    world.invoke(world.tester(Role::Primary)?, 0, [0; 3])?;
    Ok(())
}

fn m8_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    no_buffer(world, DEVICE)
}

fn m10_a_page_that_may_not_be_written_is_no_buffer(world: &mut NormalWorld) -> TestResult {
    world.invoke(world.tester(Role::Primary)?, 0, [0; 3])?;
    Ok(())
}

fn m10_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    no_buffer(world, READ_ONLY)
}

fn unmapped_twice(caller: &mut impl Caller) -> TestResult {
    caller
        .ffa(Function::RxtxUnmap, [])
        .refused(FfaError::InvalidParameters)?;
    caller.call(rxtx_map(Width::W64)).succeeded()?;
    caller.ffa(Function::RxtxUnmap, []).succeeded()?;
    caller
        .ffa(Function::RxtxUnmap, [])
        .refused(FfaError::InvalidParameters)
}

fn m15_unmapping_nothing_is_refused(world: &mut NormalWorld) -> TestResult {
    both(world, unmapped_twice)
}

fn m15_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    unmapped_twice(world)?;
    Ok(NO_RESULTS)
}

fn m17_unmapping_the_buffers_of_a_partition_is_refused(world: &mut NormalWorld) -> TestResult {
    let primary = world.tester(Role::Primary)?;
    world
        .ffa(Function::RxtxUnmap, [u64::from(primary.0) << 16])
        .refused(FfaError::InvalidParameters)?;
    // Its own buffers are still there.
    world.ffa(Function::RxtxUnmap, []).succeeded()?;
    Ok(())
}

fn m21_releasing_an_rx_buffer_that_is_not_owned_is_denied(world: &mut NormalWorld) -> TestResult {
    world
        .ffa(Function::RxRelease, [])
        .refused(FfaError::Denied)?;
    world.invoke(world.tester(Role::Primary)?, 0, [0; 3])?;
    Ok(())
}

fn m21_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    world
        .ffa(Function::RxRelease, [])
        .refused(FfaError::Denied)?;
    Ok(NO_RESULTS)
}
