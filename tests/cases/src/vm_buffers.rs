// SPDX-License-Identifier: MIT OR Apache-2.0
//! The buffers of VMs, as a hypervisor forwards them: FFA_RXTX_MAP with a descriptor, FFA_RX_ACQUIRE.

use arrayvec::ArrayVec;
use bulkhead_abi::{EndpointId, FfaError, Function, Uuid, Version, Width};
use bulkhead_payload::Request;
use bulkhead_payload::memory::{MAILBOX, PAGE_SIZE};

use crate::cases;
use crate::normal_world::{NormalWorld, Role};
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_list::{COUNT_ONLY, request};
use crate::protocol::Caller;

cases! {
    a07_scattered_buffers_of_a_vm_are_mapped_and_unmapped;
    a07_buffers_of_sixteen_pages_are_served;
    a08_the_rx_buffer_of_a_vm_is_acquired_and_released;
    m13_a_second_pair_of_a_vm_is_denied;
    m9_a_page_of_one_mailbox_is_in_no_other;
    m14_after_many_vms_there_is_no_memory_and_then_there_is_again;
    m18_wrong_halves_of_w1_are_refused;
    m19_without_a_tx_buffer_nothing_is_forwarded;
    m20_wrong_descriptors_are_refused;
    m22_the_buffer_of_no_vm_is_not_acquired;
}

/// Free memory of the normal world, for the buffers of VMs that do not exist.
const FREE: u64 = 0x5000_0000;
const VM: EndpointId = EndpointId(0x123);

/// Address and count of pages.
type Pages = (u64, u32);

fn page(index: u64) -> u64 {
    FREE + index * PAGE_SIZE as u64
}

/// Writes the descriptor of a VM's buffers into TX, as from 1.1 on: the VM's id and the offsets of two
/// composite descriptors.
fn describe(vm: EndpointId, rx: &[Pages], tx: &[Pages]) {
    const HEADER: usize = 16;
    let length = |ranges: &[Pages]| 16 + 16 * ranges.len();
    let offsets = [HEADER, HEADER + length(rx)];
    let mut words = ArrayVec::<u32, 64>::new();
    words.extend([u32::from(vm.0), offsets[0] as u32, offsets[1] as u32, 0]);
    for ranges in [rx, tx] {
        let total = ranges.iter().map(|(_, count)| count).sum();
        words.extend([total, ranges.len() as u32, 0, 0]);
        for (address, count) in ranges {
            words.extend([*address as u32, (address >> 32) as u32, *count, 0]);
        }
    }
    let bytes = words.iter().flat_map(|word| word.to_le_bytes());
    MAILBOX.tx.write(0, bytes);
}

fn forward() -> Request {
    Request::ffa(Function::RxtxMap, Width::W64).with([0, 0, 0])
}

/// Maps one page each for RX and TX of `vm`, from page `at` on.
fn map(world: &mut NormalWorld, vm: EndpointId, at: u64) -> bulkhead_payload::Reply {
    describe(vm, &[(page(at), 1)], &[(page(at + 1), 1)]);
    world.call(forward())
}

fn unmap(world: &mut NormalWorld, vm: EndpointId) -> bulkhead_payload::Reply {
    world.ffa(Function::RxtxUnmap, [u64::from(vm.0) << 16])
}

/// FFA_RX_ACQUIRE is of 1.1; without it nothing is forwarded.
fn needs_1_1(world: &NormalWorld) -> TestResult {
    if world.version < Version::V1_1 {
        crate::skip!("FF-A {} has no FFA_RX_ACQUIRE", world.version);
    }
    Ok(())
}

fn a07_scattered_buffers_of_a_vm_are_mapped_and_unmapped(world: &mut NormalWorld) -> TestResult {
    for _ in 0..3 {
        describe(
            VM,
            &[(page(5), 1), (page(2), 2), (page(9), 1)],
            &[(page(20), 16)],
        );
        world.call(forward()).succeeded()?;
        unmap(world, VM).succeeded()?;
        unmap(world, VM).refused(FfaError::InvalidParameters)?;
    }
    Ok(())
}

/// As a kernel with pages of 64 KiB maps them.
fn a07_buffers_of_sixteen_pages_are_served(world: &mut NormalWorld) -> TestResult {
    world.ffa(Function::RxtxUnmap, []).succeeded()?;
    for width in [Width::W32, Width::W64] {
        for (tx, rx, pages) in [(0, 16, 16), (1, 18, 7), (40, 0, 2)] {
            let map = Request::ffa(Function::RxtxMap, width);
            world
                .call(map.with([page(tx), page(rx), pages]))
                .succeeded()?;
            let reply = world.call(request(Uuid::NIL, 0)).succeeded()?;
            equal("the count", reply.x(2), world.partitions.len() as u64)?;
            world.ffa(Function::RxRelease, []).succeeded()?;
            world.ffa(Function::RxtxUnmap, []).succeeded()?;
        }
        let too_many = Request::ffa(Function::RxtxMap, width).with([page(0), page(32), 17]);
        world.call(too_many).refused(FfaError::InvalidParameters)?;
    }
    Ok(())
}

fn a08_the_rx_buffer_of_a_vm_is_acquired_and_released(world: &mut NormalWorld) -> TestResult {
    needs_1_1(world)?;
    let id = u64::from(VM.0);
    map(world, VM, 0).succeeded()?;
    world
        .ffa(Function::RxRelease, [id])
        .refused(FfaError::Denied)?;
    for _ in 0..3 {
        world.ffa(Function::RxAcquire, [id]).succeeded()?;
        world
            .ffa(Function::RxAcquire, [id])
            .refused(FfaError::Denied)?;
        world.ffa(Function::RxRelease, [id]).succeeded()?;
    }
    world.ffa(Function::RxAcquire, [id]).succeeded()?;
    unmap(world, VM).succeeded()?;
    // The next mapping is Bulkhead's to fill.
    map(world, VM, 0).succeeded()?;
    world
        .ffa(Function::RxRelease, [id])
        .refused(FfaError::Denied)?;
    unmap(world, VM).succeeded()?;
    Ok(())
}

fn m13_a_second_pair_of_a_vm_is_denied(world: &mut NormalWorld) -> TestResult {
    map(world, VM, 0).succeeded()?;
    map(world, VM, 0).refused(FfaError::Denied)?;
    map(world, VM, 8).refused(FfaError::Denied)?;
    unmap(world, VM).succeeded()?;
    unmap(world, VM).refused(FfaError::InvalidParameters)
}

fn m9_a_page_of_one_mailbox_is_in_no_other(world: &mut NormalWorld) -> TestResult {
    let other = EndpointId(VM.0 + 1);
    map(world, VM, 0).succeeded()?;
    for taken in [page(0), page(1), MAILBOX.rx.address(), MAILBOX.tx.address()] {
        describe(other, &[(page(4), 2), (taken, 1)], &[(page(8), 1)]);
        world.call(forward()).refused(FfaError::Denied)?;
    }
    map(world, other, 2).succeeded()?;
    unmap(world, other).succeeded()?;
    unmap(world, VM).succeeded()?;
    Ok(())
}

fn m14_after_many_vms_there_is_no_memory_and_then_there_is_again(
    world: &mut NormalWorld,
) -> TestResult {
    const MANY: u16 = 1000;
    let mut mapped = 0;
    for vm in 1..MANY {
        let reply = map(world, EndpointId(vm), 2 * u64::from(vm));
        if reply.is(Function::Success) {
            mapped = vm;
        } else {
            reply.refused(FfaError::NoMemory)?;
            break;
        }
    }
    crate::ensure!(
        (16..MANY - 1).contains(&mapped),
        "{mapped} VMs have buffers"
    );
    for vm in (1..=mapped).rev() {
        unmap(world, EndpointId(vm)).succeeded()?;
    }
    map(world, VM, 0).succeeded()?;
    unmap(world, VM).succeeded()?;
    Ok(())
}

fn m18_wrong_halves_of_w1_are_refused(world: &mut NormalWorld) -> TestResult {
    map(world, VM, 0).succeeded()?;
    let id = u64::from(VM.0);
    for w1 in [id, id << 16 | 1, id << 16 | id] {
        let reply = world.ffa(Function::RxtxUnmap, [w1]);
        reply.refused(FfaError::InvalidParameters)?;
    }
    for w1 in [id << 16, id << 16 | id, 1 << 16] {
        let reply = world.ffa(Function::RxRelease, [w1]);
        reply.refused(FfaError::InvalidParameters)?;
    }
    unmap(world, VM).succeeded()?;
    Ok(())
}

fn m19_without_a_tx_buffer_nothing_is_forwarded(world: &mut NormalWorld) -> TestResult {
    world.ffa(Function::RxtxUnmap, []).succeeded()?;
    describe(VM, &[(page(0), 1)], &[(page(1), 1)]);
    world.call(forward()).refused(FfaError::InvalidParameters)?;
    unmap(world, VM).refused(FfaError::InvalidParameters)
}

fn m20_wrong_descriptors_are_refused(world: &mut NormalWorld) -> TestResult {
    let secure = world.tester(Role::Primary)?;
    let refused = |world: &mut NormalWorld| -> TestResult {
        world.call(forward()).refused(FfaError::InvalidParameters)?;
        unmap(world, VM).refused(FfaError::InvalidParameters)
    };
    // The offsets, each unaligned, in the header, behind the end.
    for field in [4, 8] {
        for offset in [0_u32, 3, 17, 0xffc, 0x1000, 0xfff0, 0x7fff_fff0, u32::MAX] {
            describe(VM, &[(page(0), 1)], &[(page(1), 1)]);
            MAILBOX.tx.write(field, offset.to_le_bytes());
            refused(world)?;
        }
    }
    // The total and the count of RX.
    for (field, value) in [
        (16, 0_u32),
        (16, 2),
        (20, 0),
        (20, 2),
        (20, 0x1000_0000),
        (20, u32::MAX),
    ] {
        describe(VM, &[(page(0), 1)], &[(page(1), 1)]);
        MAILBOX.tx.write(field, value.to_le_bytes());
        refused(world)?;
    }
    for rx in [
        (page(0) + 8, 1),
        (page(0), 0),
        (page(0), 17),
        (page(1), 1),
        (page(0), 2),
        (0_u64.wrapping_sub(PAGE_SIZE as u64), 1),
        // EL3's, Bulkhead's, a partition's, and nobody's.
        (0x0e00_0000, 1),
        (0x0e10_0000, 1),
        (0x0e30_0000, 1),
        (0, 1),
    ] {
        describe(VM, &[rx], &[(page(1), 1)]);
        refused(world)?;
    }
    for owner in [
        EndpointId(0),
        secure,
        EndpointId(0x8000),
        EndpointId(0xffff),
    ] {
        describe(owner, &[(page(0), 1)], &[(page(1), 1)]);
        refused(world)?;
    }
    map(world, VM, 0).succeeded()?;
    unmap(world, VM).succeeded()?;
    Ok(())
}

fn m22_the_buffer_of_no_vm_is_not_acquired(world: &mut NormalWorld) -> TestResult {
    needs_1_1(world)?;
    let secure = world.tester(Role::Primary)?;
    map(world, VM, 0).succeeded()?;
    for id in [0, VM.0 + 1, 0x7fff, secure.0, 0x8000, 0xffff] {
        let reply = world.ffa(Function::RxAcquire, [u64::from(id)]);
        reply.refused(FfaError::InvalidParameters)?;
    }
    // No lock is left behind: the next call on every mailbox ends.
    world
        .ffa(Function::RxAcquire, [u64::from(VM.0)])
        .succeeded()?;
    world.call(request(Uuid::NIL, COUNT_ONLY)).succeeded()?;
    unmap(world, VM).succeeded()?;
    Ok(())
}
