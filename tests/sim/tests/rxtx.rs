// SPDX-License-Identifier: MIT OR Apache-2.0
//! RX and TX buffers: mapping and who owns RX.

use std::thread;

use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Uuid, Version, Width};
use bulkhead_core::mailbox::Buffer;
use bulkhead_mm::attrs::Space;
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
            config.services = services(config.properties, [2, 3]);
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

/// A range of pages: address and count.
type Pages = (u64, u32);

/// The descriptor of a VM's buffers, as a hypervisor at 1.1 or later writes it.
fn forwarded(vm: EndpointId, rx: &[Pages], tx: &[Pages]) -> Vec<u8> {
    const HEADER: usize = 16;
    let composite = |ranges: &[Pages]| {
        let total: u32 = ranges.iter().map(|(_, count)| count).sum();
        let count = u32::try_from(ranges.len()).unwrap();
        let mut bytes = [total, count, 0, 0].map(u32::to_le_bytes).concat();
        for (address, count) in ranges {
            bytes.extend(address.to_le_bytes());
            bytes.extend(u64::from(*count).to_le_bytes());
        }
        bytes
    };
    let (rx, tx) = (composite(rx), composite(tx));
    let offsets = [HEADER, HEADER + rx.len(), 0].map(|offset| u32::try_from(offset).unwrap());
    let mut bytes = u32::from(vm.0).to_le_bytes().to_vec();
    bytes.extend(offsets.map(u32::to_le_bytes).concat());
    bytes.extend(rx);
    bytes.extend(tx);
    bytes
}

/// Forwards the call of a VM.
fn forward(sim: &mut Sim, descriptor: &[u8]) -> Registers {
    sim.write_tx(0, descriptor);
    sim.core(0).call(&map(0, 0, 0))
}

fn vm(id: u16) -> EndpointId {
    EndpointId(id)
}

/// A page of the normal world.
fn page(index: u64) -> u64 {
    DRAM + index * PAGE
}

/// The slot of the first VM: after the normal world's and those of two partitions.
const FIRST_VM: usize = 3;

/// A system whose hypervisor has buffers in pages 0 and 1.
fn hypervisor() -> Sim {
    let mut sim = system();
    sim.negotiate(Version::V1_2);
    let own = map(page(0), page(1), 1);
    assert_function(&sim.core(0).call(&own), Function::Success);
    sim
}

fn rx_call(function: Function, id: EndpointId) -> Registers {
    ffa(function, [u64::from(id.0), 0, 0, 0])
}

#[test]
fn a07_a_hypervisor_forwards_the_scattered_buffers_of_a_vm() {
    let mut sim = hypervisor();
    let rx = [(page(9), 1), (page(20), 2), (page(10), 1)];
    let tx = [(page(40), 3)];
    let reply = forward(&mut sim, &forwarded(vm(5), &rx, &tx));
    assert_function(&reply, Function::Success);
    let buffers = sim.buffers(FIRST_VM).unwrap();
    let runs = |buffer: &Buffer| -> Vec<_> {
        buffer
            .runs()
            .map(|run| (run.base().0, run.bytes()))
            .collect()
    };
    assert_eq!(
        runs(&buffers.rx),
        [(page(9), PAGE), (page(20), 2 * PAGE), (page(10), PAGE)]
    );
    assert_eq!(runs(&buffers.tx), [(page(40), 3 * PAGE)]);
    assert_eq!(buffers.space, Space::NonSecure);

    let unmap = ffa(
        Function::RxtxUnmap,
        [EndpointId::pair(vm(5), vm(0)), 0, 0, 0],
    );
    assert_function(&sim.core(0).call(&unmap), Function::Success);
    assert!(sim.buffers(FIRST_VM).is_none() && sim.buffers(0).is_some());
    assert_error(&sim.core(0).call(&unmap), FfaError::InvalidParameters);
    let again = forward(&mut sim, &forwarded(vm(5), &rx, &tx));
    assert_function(&again, Function::Success);
}

#[test]
fn m19_without_a_buffer_of_its_own_nothing_can_be_forwarded() {
    let mut sim = system();
    refused(&mut sim, &map(0, 0, 0), FfaError::InvalidParameters);
    assert!(sim.buffers(FIRST_VM).is_none());
}

#[test]
fn m19_a_partition_forwards_nothing() {
    Sim::builder()
        .partition(Spec::new("alpha", A, |sp| {
            sp.call(&map(A_MEMORY, A_MEMORY + PAGE, 1));
            assert_error(&sp.call(&map(0, 0, 0)), FfaError::InvalidParameters);
        }))
        .boot();
}

#[test]
fn m20_a_wrong_descriptor_maps_nothing() {
    let mut sim = hypervisor();
    let good = || forwarded(vm(5), &[(page(9), 1)], &[(page(8), 1)]);
    let field = |offset: usize, value: u32| {
        let mut bytes = good();
        bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    let one = |address| forwarded(vm(5), &[(address, 1)], &[(page(8), 1)]);
    let wrong = [
        // Offsets: of RX at 4, of TX at 8.
        field(4, 0),
        field(4, 17),
        field(4, 0xfff0),
        field(4, u32::MAX - 3),
        field(8, 16),
        field(8, 0x1000),
        // Counts, and addresses.
        forwarded(vm(5), &[], &[(page(8), 1)]),
        forwarded(vm(5), &[(page(9), 0)], &[(page(8), 1)]),
        forwarded(vm(5), &[(page(16), 17)], &[(page(8), 1)]),
        forwarded(vm(5), &[(page(16), u32::MAX)], &[(page(8), 1)]),
        one(page(9) + 8),
        one(page(8)),
        one(PAGE.wrapping_neg()),
        one(A_MEMORY),
        one(DRAM_END),
        // Whose?
        forwarded(vm(0), &[(page(9), 1)], &[(page(8), 1)]),
        forwarded(A, &[(page(9), 1)], &[(page(8), 1)]),
        forwarded(EndpointId(0xffff), &[(page(9), 1)], &[(page(8), 1)]),
    ];
    for (index, bytes) in wrong.iter().enumerate() {
        let reply = forward(&mut sim, bytes);
        let code = FfaError::InvalidParameters.to_register();
        assert_eq!(error(&reply), Some(code), "case {index}");
        assert!(sim.buffers(FIRST_VM).is_none(), "case {index}");
    }
    assert_function(&forward(&mut sim, &good()), Function::Success);
}

#[test]
fn m9_a_page_is_in_one_mailbox_only() {
    let mut sim = hypervisor();
    let first = forwarded(vm(5), &[(page(10), 2)], &[(page(12), 2)]);
    assert_function(&forward(&mut sim, &first), Function::Success);
    for taken in [0, 1, 10, 11, 12, 13] {
        let bytes = forwarded(vm(6), &[(page(30), 1), (page(taken), 1)], &[(page(31), 1)]);
        assert_error(&forward(&mut sim, &bytes), FfaError::Denied);
        assert!(sim.buffers(FIRST_VM + 1).is_none());
    }
    // Nor does the hypervisor take a VM's page for itself.
    sim.core(0).call(&ffa(Function::RxtxUnmap, [0; 4]));
    let own = map(page(10), page(1), 1);
    assert_error(&sim.core(0).call(&own), FfaError::Denied);
}

#[test]
fn m13_a_second_pair_of_a_vm_is_denied() {
    let mut sim = hypervisor();
    let bytes = |at| forwarded(vm(5), &[(page(at), 1)], &[(page(at + 1), 1)]);
    assert_function(&forward(&mut sim, &bytes(10)), Function::Success);
    let before = sim.buffers(FIRST_VM);
    assert_error(&forward(&mut sim, &bytes(20)), FfaError::Denied);
    assert_eq!(sim.buffers(FIRST_VM), before);
    assert!(sim.buffers(FIRST_VM + 1).is_none());
}

#[test]
fn m14_more_vms_than_there_are_places_get_no_memory() {
    let mut sim = hypervisor();
    let bytes = |id: u16| {
        let at = 10 + 2 * u64::from(id);
        forwarded(vm(id), &[(page(at), 1)], &[(page(at + 1), 1)])
    };
    let places = u16::try_from(VMS).unwrap();
    for id in 1..=places {
        assert_function(&forward(&mut sim, &bytes(id)), Function::Success);
    }
    let more = bytes(places + 1);
    assert_error(&forward(&mut sim, &more), FfaError::NoMemory);
    let unmap = ffa(
        Function::RxtxUnmap,
        [EndpointId::pair(vm(2), vm(0)), 0, 0, 0],
    );
    assert_function(&sim.core(0).call(&unmap), Function::Success);
    assert_function(&forward(&mut sim, &more), Function::Success);
}

#[test]
fn m14_without_a_page_for_tables_a_vm_keeps_no_place() {
    let mut sim = Sim::builder()
        .table_pages(1)
        .partition(Spec::new("alpha", A, idle))
        .partition(Spec::new("beta", B, idle))
        .boot();
    sim.negotiate(Version::V1_2);
    sim.core(0).call(&map(page(0), page(1), 1));
    let bytes = forwarded(vm(5), &[(page(10), 1)], &[(page(11), 1)]);
    assert_error(&forward(&mut sim, &bytes), FfaError::NoMemory);
    assert_error(
        &sim.core(0).call(&rx_call(Function::RxAcquire, vm(5))),
        FfaError::InvalidParameters,
    );
}

#[test]
fn a08_a_hypervisor_acquires_and_releases_the_rx_buffer_of_a_vm() {
    let mut sim = hypervisor();
    let bytes = forwarded(vm(5), &[(page(10), 1)], &[(page(11), 1)]);
    forward(&mut sim, &bytes);
    let (acquire, release) = (
        rx_call(Function::RxAcquire, vm(5)),
        rx_call(Function::RxRelease, vm(5)),
    );
    assert_error(&sim.core(0).call(&release), FfaError::Denied);
    for _ in 0..3 {
        assert_function(&sim.core(0).call(&acquire), Function::Success);
        assert_error(&sim.core(0).call(&acquire), FfaError::Denied);
        // The hypervisor's own buffer is another one.
        assert_error(
            &sim.core(0).call(&rx_call(Function::RxRelease, vm(0))),
            FfaError::Denied,
        );
        assert_function(&sim.core(0).call(&release), Function::Success);
        assert_error(&sim.core(0).call(&release), FfaError::Denied);
    }
}

#[test]
fn m21_nobody_releases_the_rx_buffer_of_another() {
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, |sp| {
            sp.call(&map(A_MEMORY, A_MEMORY + PAGE, 1));
            for id in [B, vm(5), EndpointId(0x8000), EndpointId(0xffff)] {
                let reply = sp.call(&rx_call(Function::RxRelease, id));
                assert_error(&reply, FfaError::InvalidParameters);
            }
            for own in [A, vm(0)] {
                let reply = sp.call(&rx_call(Function::RxRelease, own));
                assert_error(&reply, FfaError::Denied);
            }
        }))
        .boot();
    for id in [A, vm(5), EndpointId(0x8000), EndpointId(0xffff)] {
        let reply = sim.core(0).call(&rx_call(Function::RxRelease, id));
        assert_error(&reply, FfaError::InvalidParameters);
    }
    let reserved = ffa(
        Function::RxRelease,
        [EndpointId::pair(vm(5), vm(0)), 0, 0, 0],
    );
    assert_error(&sim.core(0).call(&reserved), FfaError::InvalidParameters);
}

#[test]
fn m22_acquiring_the_buffer_of_no_vm_is_refused_and_locks_nothing() {
    let mut sim = hypervisor();
    let bytes = forwarded(vm(5), &[(page(10), 1)], &[(page(11), 1)]);
    forward(&mut sim, &bytes);
    for id in [vm(0), vm(6), A, B, EndpointId(0x8000), EndpointId(0xffff)] {
        let reply = sim.core(0).call(&rx_call(Function::RxAcquire, id));
        assert_error(&reply, FfaError::InvalidParameters);
    }
    let reserved = ffa(
        Function::RxAcquire,
        [EndpointId::pair(vm(5), vm(5)), 0, 0, 0],
    );
    assert_error(&sim.core(0).call(&reserved), FfaError::InvalidParameters);
    // The next call on every mailbox ends.
    let acquire = rx_call(Function::RxAcquire, vm(5));
    assert_function(&sim.core(0).call(&acquire), Function::Success);
    let other = forwarded(vm(6), &[(page(20), 1)], &[(page(21), 1)]);
    assert_function(&forward(&mut sim, &other), Function::Success);
    let list = sim.core(0).call(&info_get(Uuid::NIL, 0));
    assert_function(&list, Function::Success);
}

#[test]
fn m24_a_descriptor_that_changes_while_it_is_read_is_read_once() {
    // Whatever the other core writes, the outcome is that of one of the two descriptors.
    let good = forwarded(vm(5), &[(page(10), 1)], &[(page(11), 1)]);
    let hostile = forwarded(vm(6), &[(A_MEMORY, 1)], &[(page(13), 1)]);
    for (first, second) in [(&good, &hostile), (&hostile, &good)] {
        let mut sim = hypervisor();
        sim.rewrite_tx_after_each_read(0, second);
        let reply = forward(&mut sim, first);
        assert_eq!(error(&reply).is_none(), first == &good);
        let mapped = sim.buffers(FIRST_VM);
        let base = mapped.map(|buffers| buffers.rx.runs().next().unwrap().base().0);
        assert_eq!(base, (first == &good).then(|| page(10)));
    }
}
