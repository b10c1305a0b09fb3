// SPDX-License-Identifier: MIT OR Apache-2.0
//! Setup and discovery: versions, features, ids, mailboxes and partition information.

use bulkhead_abi::partition_info::{self, PartitionInfo, Properties};
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Uuid, Version, Width};
use bulkhead_sim::*;

const A: EndpointId = EndpointId(0x8001);
const B: EndpointId = EndpointId(0x8002);
/// Where the normal world's memory begins.
const DRAM: u64 = 0x4000_0000;
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

#[test]
fn a02_the_spmd_negotiates_for_the_normal_world() {
    let mut sim = system();
    assert_eq!(
        sim.negotiate(Version::V1_1),
        u64::from(Version::OURS.to_word())
    );
    assert_eq!(
        sim.negotiate(Version { major: 2, minor: 0 }),
        FfaError::NotSupported.to_register()
    );
    // FFA_VERSION itself is answered in w0.
    let reply = sim
        .core(0)
        .call(&ffa(Function::Version, [0x8000_0000, 0, 0, 0]));
    assert_eq!(
        reply.x[..8],
        [FfaError::NotSupported.to_register(), 0, 0, 0, 0, 0, 0, 0]
    );
}

#[test]
fn v5_v6_the_normal_worlds_version_is_settled_by_its_first_other_call() {
    let mut sim = system();
    sim.negotiate(Version::V1_1);
    sim.negotiate(Version::V1_2);
    sim.core(0).call(&ffa(Function::IdGet, [0; 4]));
    let refused = FfaError::NotSupported.to_register();
    assert_eq!(sim.negotiate(Version::V1_1), refused);
    assert_eq!(
        sim.negotiate(Version::V1_2),
        u64::from(Version::OURS.to_word())
    );
}

#[test]
fn v7_an_interrupt_before_the_first_version_leaves_the_negotiation_open() {
    let mut sim = system();
    let mut interrupt = Registers::ZERO;
    interrupt.x[0] = Function::Interrupt.id(Width::W32);
    sim.core(0).call(&interrupt);
    assert_eq!(
        sim.negotiate(Version::V1_1),
        u64::from(Version::OURS.to_word())
    );
}

#[test]
fn v11_features_answers_not_supported_and_nothing_else_for_what_is_not_there() {
    let mut sim = system();
    for id in [
        0,
        1,
        2,
        3,
        4,
        5,
        0xff,
        0x1_00,
        0x7fff_ffff,
        0x8400_00ef,
        0xc400_0063,
        0x8200_0000,
    ] {
        let reply = sim.core(0).call(&ffa(Function::Features, [id, 0, 0, 0]));
        assert_error(&reply, FfaError::NotSupported);
    }
}

#[test]
fn v15_features_reports_a_call_exactly_when_it_is_served() {
    let mut sim = system();
    sim.negotiate(Version::V1_2);
    for row in &bulkhead_abi::function::TABLE {
        if !matches!(row.kind, bulkhead_abi::function::Kind::Call) {
            continue;
        }
        for width in [Width::W32, Width::W64]
            .into_iter()
            .filter(|width| row.has(*width))
        {
            let id = row.function.id(width);
            let reported = sim.core(0).call(&ffa(Function::Features, [id, 0, 0, 0]));
            // FFA_FEATURES asks about itself here, so that its call is well-formed.
            let made = sim.core(0).call(&call([id, id, 0, 0, 0, 0, 0, 0]));
            let served = error(&made) != Some(FfaError::NotSupported.to_register());
            // FFA_VERSION has no FFA_ERROR; with major 0 it answers NOT_SUPPORTED in w0.
            assert_eq!(error(&reported).is_none(), served, "{} {width:?}", row.name);
        }
    }
}

#[test]
fn a05_each_caller_is_told_its_own_id() {
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, |sp| {
            let id = sp.call(&ffa(Function::IdGet, [0; 4]));
            assert_eq!(
                id.x[..3],
                [Function::Success.id(Width::W32), 0, u64::from(A.0)]
            );
            let spmc = sp.call(&ffa(Function::SpmIdGet, [0; 4]));
            assert_eq!(spmc.x[..3], [Function::Success.id(Width::W32), 0, 0x8000]);
        }))
        .boot();
    let id = sim.core(0).call(&ffa(Function::IdGet, [0; 4]));
    assert_eq!(id.x[..3], [Function::Success.id(Width::W32), 0, 0]);
}

#[test]
fn m1_to_m6_buffers_that_cannot_be_are_refused_and_nothing_is_mapped() {
    let mut sim = system();
    let invalid = [
        map(DRAM, DRAM, 1),
        map(DRAM + 1, DRAM + PAGE, 1),
        map(DRAM + 0x800, DRAM + PAGE, 1),
        map(DRAM, DRAM + PAGE + 8, 1),
        map(DRAM, DRAM + PAGE, 0),
        map(DRAM, DRAM + 32 * PAGE, 17),
        map(DRAM, DRAM + 32 * PAGE, 0x41),
        map(DRAM, DRAM + 32 * PAGE, 1 << 31),
        map(DRAM, DRAM + PAGE, 2),
        map(u64::MAX - PAGE + 1, DRAM, 1),
        // Outside of ns-memory, and over its end.
        map(0x0e10_0000, DRAM, 1),
        map(DRAM, A_MEMORY, 1),
        map(DRAM, DRAM + 0x1000_0000 - PAGE, 2),
    ];
    for message in &invalid {
        assert_error(&sim.core(0).call(message), FfaError::InvalidParameters);
        assert!(sim.rx(0).is_none());
    }
    assert_function(
        &sim.core(0).call(&map(DRAM, DRAM + PAGE, 1)),
        Function::Success,
    );
    let again = map(DRAM + 2 * PAGE, DRAM + 3 * PAGE, 1);
    assert_error(&sim.core(0).call(&again), FfaError::Denied);
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

#[test]
fn d1_d2_an_unknown_uuid_and_reserved_flags_are_refused() {
    let mut sim = system();
    sim.core(0).call(&map(DRAM, DRAM + PAGE, 1));
    let unknown = info_get(Uuid([9; 16]), 0);
    assert_error(&sim.core(0).call(&unknown), FfaError::InvalidParameters);
    for bit in 1..32 {
        let reply = sim.core(0).call(&info_get(Uuid::NIL, 1 << bit));
        assert_error(&reply, FfaError::InvalidParameters);
    }
}

#[test]
fn d3_d5_the_count_needs_no_buffer_and_the_list_does() {
    let mut sim = system();
    sim.negotiate(Version::V1_1);
    assert_error(&sim.core(0).call(&info_get(Uuid::NIL, 0)), FfaError::Busy);
    let reply = sim.core(0).call(&info_get(Uuid::NIL, 1));
    assert_function(&reply, Function::Success);
    assert_eq!(reply.x[2..4], [3, 0]);
}

#[test]
fn d7_d8_each_version_gets_its_own_layout_and_zeroes_behind_it() {
    for (version, size, count) in [
        (Version::V1_0, 8, 2),
        (Version::V1_1, 24, 3),
        (Version::V1_2, 24, 3),
        (Version::V1_3, 48, 3),
    ] {
        let mut sim = system();
        sim.negotiate(version);
        sim.core(0).call(&map(DRAM, DRAM + PAGE, 1));
        let reply = sim.core(0).call(&info_get(Uuid::NIL, 0));
        assert_function(&reply, Function::Success);
        let told = if version == Version::V1_0 {
            0
        } else {
            size as u64
        };
        assert_eq!(reply.x[2..4], [count as u64, told], "{version}");
        let rx = sim.rx(0).unwrap();
        let list: Vec<PartitionInfo> = rx[..count * size]
            .chunks(size)
            .map(|bytes| partition_info::decode(version, bytes).unwrap())
            .collect();
        assert_eq!((list[0].id, list[1].id), (A, B));
        assert!(list[0].properties.contains(Properties::DIRECT_REQ_RECEIVE));
        // The normal world never sees what a partition may send.
        assert!(!list[0].properties.contains(Properties::DIRECT_REQ_SEND));
        if version > Version::V1_0 {
            assert_eq!(
                [1, 2, 3].map(|byte| Uuid([byte; 16])).to_vec(),
                list.iter().map(|info| info.uuid).collect::<Vec<_>>()
            );
        }
        assert!(
            rx[count * size..].iter().all(|byte| *byte == 0),
            "{version}"
        );
    }
}

#[test]
fn d6_with_a_filter_the_uuid_field_is_zero() {
    let mut sim = system();
    sim.negotiate(Version::V1_2);
    sim.core(0).call(&map(DRAM, DRAM + PAGE, 1));
    let reply = sim.core(0).call(&info_get(Uuid([3; 16]), 0));
    assert_eq!(reply.x[2..4], [1, 24]);
    let info = partition_info::decode(Version::V1_2, &sim.rx(0).unwrap()).unwrap();
    assert_eq!((info.id, info.uuid), (B, Uuid::NIL));
}

#[test]
fn d4_a_list_that_does_not_fit_is_refused_and_rx_stays_ours() {
    let uuids: Vec<Uuid> = (1..=171u8).map(|byte| Uuid([byte; 16])).collect();
    let uuids: &'static [Uuid] = uuids.leak();
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, idle).with(|config| config.uuids = uuids))
        .boot();
    sim.negotiate(Version::V1_2);
    sim.core(0).call(&map(DRAM, DRAM + PAGE, 1));
    assert_error(
        &sim.core(0).call(&info_get(Uuid::NIL, 0)),
        FfaError::NoMemory,
    );
    assert!(
        sim.rx(0).unwrap().iter().all(|byte| *byte == 0xa5),
        "nothing was written"
    );
    let reply = sim.core(0).call(&info_get(Uuid([5; 16]), 0));
    assert_function(&reply, Function::Success);
}

#[test]
fn d11_a_partition_that_aborted_is_not_listed() {
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, |sp| {
            sp.call(&ffa(Function::Error, [0, 1, 0, 0]));
        }))
        .partition(Spec::new("beta", B, idle))
        .boot();
    let reply = sim.core(0).call(&info_get(Uuid::NIL, 1));
    assert_eq!(reply.x[2], 1);
}

#[test]
fn d13_a_secondary_entry_is_registered_by_who_may_and_where_it_may_lie() {
    let register = |entry: u64| {
        let mut message = call([0; 8]);
        message.x[0] = Function::SecondaryEpRegister.id(Width::W64);
        message.x[1] = entry;
        message
    };
    let mut sim = Sim::builder()
        .cores(2)
        .partition(
            Spec::new("alpha", A, move |sp| {
                for entry in [
                    0,
                    A_MEMORY - 4,
                    A_MEMORY + 0x10_0000,
                    A_MEMORY + 2,
                    u64::MAX,
                ] {
                    assert_error(&sp.call(&register(entry)), FfaError::InvalidParameters);
                }
                assert_function(&sp.call(&register(A_MEMORY)), Function::Success);
                sp.wait();
                assert_error(&sp.call(&register(A_MEMORY)), FfaError::Denied);
            })
            .multi_core(),
        )
        .partition(Spec::new("beta", B, move |sp| {
            assert_error(
                &sp.call(&register(A_MEMORY + 0x10_0000)),
                FfaError::NotSupported,
            );
        }))
        .boot();
    assert_error(
        &sim.core(0).call(&register(A_MEMORY)),
        FfaError::NotSupported,
    );
    assert_function(&sim.core(0).call(&run(A, 0)), Function::MsgWait);
}

#[test]
fn d14_a_partition_prints_whole_lines_under_its_own_name() {
    let log = |text: &[u8]| {
        let mut message = call([0; 8]);
        message.x[0] = Function::ConsoleLog.id(Width::W32);
        message.x[1] = text.len() as u64;
        for (index, chunk) in text.chunks(4).enumerate() {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            message.x[2 + index] = u64::from(u32::from_le_bytes(word));
        }
        message
    };
    let sim = Sim::builder()
        .partition(Spec::new("alpha", A, move |sp| {
            assert_function(&sp.call(&log(b"first half, ")), Function::Success);
            assert_function(
                &sp.call(&log(b"second\n[beta 0] forged")),
                Function::Success,
            );
            assert_function(&sp.call(&log(b"\x1b[2J\r\n")), Function::Success);
            assert_error(&sp.call(&log(b"")), FfaError::InvalidParameters);
            let mut long = log(b"x");
            long.x[1] = 25;
            assert_error(&sp.call(&long), FfaError::InvalidParameters);
        }))
        .boot();
    assert_eq!(
        sim.console(),
        [
            "[alpha 0] first half, second",
            "[alpha 0] [beta 0] forged.[2J"
        ]
    );
}

#[test]
fn paravirtual_calls_are_answered_and_wrong_ones_refused() {
    Sim::builder()
        .partition(
            Spec::new("alpha", A, |sp| {
                let mut ask = |id: u64, x1: u64| sp.hvc(&call([id, x1, 1, 0, 0, 0, 0, 0])).x[0];
                for intid in [3, 4, 5, 9, 40] {
                    assert_eq!(ask(0xff03, intid), 0);
                }
                assert_eq!(ask(0xff03, 41), u64::MAX);
                assert_eq!(ask(0xff04, 0), 0xffff_ffff);
                assert_eq!(ask(0xff05, 0), u64::MAX);
            })
            .with(|config| config.interrupts = &[40]),
        )
        .boot();
}
