// SPDX-License-Identifier: MIT OR Apache-2.0
//! RX and TX buffers: mapping and who owns RX.

use std::thread;

use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Uuid, Version, Width};
use bulkhead_mm::addr::PAGE_SIZE;
use bulkhead_sim::*;

const A: EndpointId = EndpointId(0x8001);
const B: EndpointId = EndpointId(0x8002);
/// Where the normal world's memory begins, and the byte after it.
const DRAM: u64 = 0x4000_0000;
const DRAM_END: u64 = 0x5000_0000;
/// Where that of partition A begins.
const A_MEMORY: u64 = 0x1010_0000;

fn idle(_: &mut Sp) {}

fn system() -> Sim {
    Sim::builder()
        .partition(Spec::new("alpha", A, idle))
        .partition(Spec::new("beta", B, idle).with(|config| {
            config.uuids = vec![Uuid([2; 16]), Uuid([3; 16])].leak();
            config.version = Version::V1_0;
        }))
        .boot()
}

fn map(tx: u64, rx: u64, pages: u64) -> Registers {
    call([Function::RxtxMap.id(Width::W64), tx, rx, pages, 0, 0, 0, 0])
}

fn info_get(uuid: Uuid, flags: u64) -> Registers {
    let [a, b, c, d] = uuid.to_words().map(u64::from);
    let mut registers = ffa(Function::PartitionInfoGet, [a, b, c, d]);
    registers.x[5] = flags;
    registers
}

/// Fails unless the call is refused so, and the normal world has no buffers afterwards.
#[track_caller]
fn refused(sim: &mut Sim, message: &Registers, expected: FfaError) {
    assert_error(&sim.core(0).call(message), expected);
    assert!(sim.buffers(0).is_none(), "something is mapped");
}

#[test]
fn m1_one_buffer_as_both_is_refused() {
    let mut sim = system();
    for pages in [1, 16] {
        refused(
            &mut sim,
            &map(DRAM, DRAM, pages),
            FfaError::InvalidParameters,
        );
    }
}

#[test]
fn m2_each_low_bit_of_an_address_is_refused() {
    let mut sim = system();
    for bit in 0..12 {
        for message in [
            map(DRAM + (1 << bit), DRAM + 4 * PAGE, 1),
            map(DRAM + 4 * PAGE, DRAM + (1 << bit), 1),
        ] {
            refused(&mut sim, &message, FfaError::InvalidParameters);
        }
    }
}

#[test]
fn m3_no_page_is_refused() {
    let mut sim = system();
    refused(
        &mut sim,
        &map(DRAM, DRAM + PAGE, 0),
        FfaError::InvalidParameters,
    );
}

#[test]
fn m4_more_pages_than_there_can_be_are_refused() {
    let mut sim = system();
    for pages in [17, 32, 0x3f, 0x41, 0x1_0001, 1 << 31, 0xffff_ffff] {
        let message = map(DRAM, DRAM + 0x80_0000, pages);
        refused(&mut sim, &message, FfaError::InvalidParameters);
    }
    let last = PAGE.wrapping_neg();
    for (tx, rx, pages) in [(last, DRAM, 1), (DRAM, last, 1), (last - PAGE, DRAM, 4)] {
        refused(&mut sim, &map(tx, rx, pages), FfaError::InvalidParameters);
    }
}

#[test]
fn m5_buffers_that_share_a_page_are_refused() {
    let mut sim = system();
    for distance in 1..4 {
        let other = DRAM + distance * PAGE;
        refused(&mut sim, &map(DRAM, other, 4), FfaError::InvalidParameters);
        refused(&mut sim, &map(other, DRAM, 4), FfaError::InvalidParameters);
    }
    let neighbours = map(DRAM, DRAM + 4 * PAGE, 4);
    assert_function(&sim.core(0).call(&neighbours), Function::Success);
}

#[test]
fn m6_a_second_pair_is_denied_and_the_first_stays() {
    let mut sim = system();
    sim.core(0).call(&map(DRAM, DRAM + PAGE, 1));
    let before = sim.buffers(0);
    for message in [
        map(DRAM, DRAM + PAGE, 1),
        map(DRAM + 2 * PAGE, DRAM + 3 * PAGE, 1),
    ] {
        assert_error(&sim.core(0).call(&message), FfaError::Denied);
    }
    assert!(before.is_some() && sim.buffers(0) == before);
}

#[test]
fn m11_memory_that_is_not_the_normal_worlds_is_refused() {
    let mut sim = system();
    for other in [0x0e10_0000, A_MEMORY, 0, DRAM - PAGE, DRAM_END, 1 << 52] {
        for message in [map(DRAM, other, 1), map(other, DRAM, 1)] {
            refused(&mut sim, &message, FfaError::InvalidParameters);
        }
    }
}

#[test]
fn m12_a_buffer_over_the_end_of_the_normal_worlds_memory_is_refused() {
    let mut sim = system();
    for (base, pages) in [
        (DRAM_END - PAGE, 2),
        (DRAM_END - 15 * PAGE, 16),
        (DRAM - PAGE, 2),
    ] {
        for message in [
            map(DRAM + 0x10_0000, base, pages),
            map(base, DRAM + 0x10_0000, pages),
        ] {
            refused(&mut sim, &message, FfaError::InvalidParameters);
        }
    }
    let up_to_the_end = map(DRAM, DRAM_END - 16 * PAGE, 16);
    assert_function(&sim.core(0).call(&up_to_the_end), Function::Success);
}

/// Two cores of a system, both on.
fn two_cores(partition: Spec) -> (Look, Core, Core) {
    let sim = Sim::builder().cores(2).partition(partition).boot();
    let look = sim.look();
    let mut cores = sim.into_cores();
    let mut second = cores.pop().unwrap();
    let first = cores.pop().unwrap();
    second.switch_on();
    (look, first, second)
}

#[test]
fn m13_of_two_cores_that_map_at_once_one_succeeds() {
    for _ in 0..200 {
        let (look, mut first, mut second) = two_cores(Spec::new("alpha", A, idle));
        let messages = [
            map(DRAM, DRAM + PAGE, 1),
            map(DRAM + 8 * PAGE, DRAM + 9 * PAGE, 1),
        ];
        let replies = thread::scope(|scope| {
            let other = scope.spawn(|| second.call(&messages[1]));
            [first.call(&messages[0]), other.join().unwrap()]
        });
        let won = usize::from(error(&replies[0]).is_some());
        assert_function(&replies[won], Function::Success);
        assert_error(&replies[1 - won], FfaError::Denied);
        let tx = look.buffers(0).unwrap().tx;
        assert_eq!(tx.runs().next().unwrap().base().0, messages[won].x[1]);
    }
}

#[test]
fn m16_buffers_are_not_unmapped_while_another_core_fills_them() {
    let (look, mut first, mut second) = two_cores(Spec::new("alpha", A, idle));
    let (map, unmap) = (map(DRAM, DRAM + PAGE, 1), ffa(Function::RxtxUnmap, [0; 4]));
    thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..2000 {
                assert_function(&second.call(&map), Function::Success);
                assert_function(&second.call(&unmap), Function::Success);
            }
        });
        for _ in 0..4000 {
            // A write to a buffer that is not mapped would be ABORTED.
            let reply = first.call(&info_get(Uuid::NIL, 0));
            let busy = error(&reply) == Some(FfaError::Busy.to_register());
            assert!(
                busy || reply.x[0] == Function::Success.id(Width::W32),
                "{reply:x?}"
            );
        }
    });
    assert!(look.rx(0).is_none());
}

#[test]
fn m14_without_a_page_for_tables_the_mapping_is_refused_and_can_be_tried_again() {
    let mut sim = Sim::builder()
        .table_pages(0)
        .partition(Spec::new("alpha", A, idle))
        .boot();
    assert_error(
        &sim.core(0).call(&map(DRAM, DRAM + PAGE, 1)),
        FfaError::NoMemory,
    );
    assert_error(
        &sim.core(0).call(&map(DRAM, DRAM + PAGE, 1)),
        FfaError::NoMemory,
    );
}

#[test]
fn m15_m23_buffers_are_unmapped_once_and_can_be_mapped_again() {
    let mut sim = system();
    let unmap = ffa(Function::RxtxUnmap, [0; 4]);
    assert_error(&sim.core(0).call(&unmap), FfaError::InvalidParameters);
    for pages in [1, 16] {
        let message = map(DRAM, DRAM + 16 * PAGE, pages);
        assert_function(&sim.core(0).call(&message), Function::Success);
        assert_eq!(sim.rx(0).unwrap().len() as u64, pages * PAGE);
        assert_function(&sim.core(0).call(&unmap), Function::Success);
        assert!(sim.rx(0).is_none());
    }
}

#[test]
fn m17_m18_the_normal_world_does_not_unmap_a_partitions_buffers() {
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, |sp| {
            let message = map(A_MEMORY, A_MEMORY + PAGE, 1);
            assert_function(&sp.call(&message), Function::Success);
        }))
        .boot();
    for w1 in [EndpointId::pair(A, EndpointId(0)), u64::from(A.0), 1] {
        let reply = sim.core(0).call(&ffa(Function::RxtxUnmap, [w1, 0, 0, 0]));
        assert_error(&reply, FfaError::InvalidParameters);
    }
    assert!(sim.rx(1).is_some());
}

#[test]
fn m7_a_partition_maps_only_its_own_memory() {
    Sim::builder()
        .partition(Spec::new("alpha", A, |sp| {
            for (tx, rx) in [
                (DRAM, DRAM + PAGE),
                (A_MEMORY - PAGE, A_MEMORY),
                (A_MEMORY, A_MEMORY + 0x10_0000),
                (0, A_MEMORY),
            ] {
                assert_error(&sp.call(&map(tx, rx, 1)), FfaError::InvalidParameters);
            }
            let good = map(A_MEMORY + PAGE, A_MEMORY, 1);
            assert_function(&sp.call(&good), Function::Success);
        }))
        .boot();
}

#[test]
fn m21_rx_is_released_by_its_owner_only() {
    let mut sim = system();
    let release = ffa(Function::RxRelease, [0; 4]);
    assert_error(&sim.core(0).call(&release), FfaError::Denied);
    sim.core(0).call(&map(DRAM, DRAM + PAGE, 1));
    assert_error(&sim.core(0).call(&release), FfaError::Denied);
    assert_function(
        &sim.core(0).call(&info_get(Uuid::NIL, 0)),
        Function::Success,
    );
    // Full: nothing is written over it (D3).
    assert_error(&sim.core(0).call(&info_get(Uuid::NIL, 0)), FfaError::Busy);
    assert_error(
        &sim.core(0).call(&ffa(Function::RxRelease, [1, 0, 0, 0])),
        FfaError::InvalidParameters,
    );
    assert_function(&sim.core(0).call(&release), Function::Success);
    assert_error(&sim.core(0).call(&release), FfaError::Denied);
}
