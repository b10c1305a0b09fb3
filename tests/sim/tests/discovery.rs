// SPDX-License-Identifier: MIT OR Apache-2.0
//! Discovery: partition information in buffers and in registers.

use bulkhead_abi::partition_info::{self, PartitionInfo, Properties, RegsReply};
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Uuid, Version, Width};
use bulkhead_core::event::{Event, Fault, FaultKind};
use bulkhead_core::partition::Service;
use bulkhead_sim::*;

const A: EndpointId = EndpointId(0x8001);
const B: EndpointId = EndpointId(0x8002);
/// Where the normal world's memory begins.
const DRAM: u64 = 0x4000_0000;

const FAULT: Fault = Fault {
    kind: FaultKind::External,
    syndrome: 0,
    address: 0,
};

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
    let mut sim = Sim::builder()
        .partition(
            Spec::new("alpha", A, idle)
                .with(|config| config.services = services(config.properties, 1..=171)),
        )
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

fn get_regs(uuid: Uuid, start: u64, tag: u64) -> Registers {
    let value = u128::from_le_bytes(uuid.0);
    let mut message = call([0; 8]);
    message.x[0] = Function::PartitionInfoGetRegs.id(Width::W64);
    message.x[1] = u64::try_from(value & u128::from(u64::MAX)).unwrap();
    message.x[2] = u64::try_from(value >> 64).unwrap();
    message.x[3] = start | (tag << 16);
    message
}

/// The descriptors of a reply and what it says of the list.
fn descriptors(reply: &Registers, start: u16, version: Version) -> (RegsReply, Vec<PartitionInfo>) {
    assert_eq!(reply.x[0], Function::Success.id(Width::W64));
    assert_eq!(reply.x[1], 0);
    let list = RegsReply::decode(reply.x[2]);
    let bytes: Vec<u8> = reply.x[3..18]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    let size = partition_info::descriptor_size(version);
    assert_eq!(
        usize::from(list.size),
        size,
        "the stride is that of {version}"
    );
    let count = usize::from(list.current - start) + 1;
    let (used, rest) = bytes.split_at(count * size);
    assert!(
        rest.iter().all(|byte| *byte == 0),
        "x3 to x17 behind the last are zero"
    );
    let infos = used
        .chunks(size)
        .map(|bytes| partition_info::decode(version, bytes).unwrap());
    (list, infos.collect())
}

/// Three partitions of 1, 4 and 8 services.
fn thirteen_services() -> Sim {
    let spec = |name, id, uuids: std::ops::RangeInclusive<u8>| {
        Spec::new(name, id, idle).with(move |config| {
            config.services = services(config.properties, uuids);
        })
    };
    Sim::builder()
        .partition(spec("alpha", A, 1..=1))
        .partition(spec("beta", B, 2..=5))
        .partition(spec("gamma", EndpointId(0x8003), 6..=13))
        .boot()
}

#[test]
fn a10_each_version_walks_the_whole_list_at_its_own_stride() {
    for (version, per_call) in [(Version::V1_2, 5), (Version::V1_3, 2)] {
        let mut sim = thirteen_services();
        sim.negotiate(version);
        let mut found = Vec::new();
        let mut tag = 0;
        while found.len() < 13 {
            let start = u16::try_from(found.len()).unwrap();
            let reply = sim
                .core(0)
                .call(&get_regs(Uuid::NIL, u64::from(start), tag));
            let (list, infos) = descriptors(&reply, start, version);
            assert_eq!(list.last, 12);
            assert_eq!(infos.len(), per_call.min(13 - found.len()), "{version}");
            assert_eq!(
                reply.x[18..],
                call([0; 8]).x[18..31],
                "x18 on are the caller's"
            );
            tag = u64::from(list.tag);
            found.extend(infos);
        }
        let uuids: Vec<Uuid> = found.iter().map(|info| info.uuid).collect();
        let all: Vec<Uuid> = (1..=13).map(|byte| Uuid([byte; 16])).collect();
        assert_eq!(uuids, all);
        let ids: Vec<u16> = found.iter().map(|info| info.id.0).collect();
        assert_eq!(ids[..6], [0x8001, 0x8002, 0x8002, 0x8002, 0x8002, 0x8003]);
    }
}

#[test]
fn a10_registers_and_buffer_say_the_same() {
    for version in [Version::V1_2, Version::V1_3] {
        let mut sim = thirteen_services();
        sim.negotiate(version);
        sim.core(0).call(&map(DRAM, DRAM + PAGE, 1));
        for uuid in [Uuid([1; 16]), Uuid([4; 16]), Uuid([13; 16])] {
            let reply = sim.core(0).call(&get_regs(uuid, 0, 0));
            let (list, infos) = descriptors(&reply, 0, version);
            assert_eq!((list.last, list.current), (0, 0));
            assert_eq!(infos[0].uuid, Uuid::NIL, "D6");
            assert_function(&sim.core(0).call(&info_get(uuid, 0)), Function::Success);
            let rx = sim.rx(0).unwrap();
            assert_eq!(partition_info::decode(version, &rx), Some(infos[0]));
            sim.core(0).call(&ffa(Function::RxRelease, [0; 4]));
        }
    }
}

#[test]
fn a10_a_partition_sees_what_partitions_may_send() {
    Sim::builder()
        .partition(Spec::new("alpha", A, |sp| {
            let reply = sp.call(&get_regs(Uuid::NIL, 0, 0));
            let (_, infos) = descriptors(&reply, 0, Version::V1_2);
            assert_eq!(infos.len(), 2);
            assert!(infos[1].properties.contains(Properties::DIRECT_REQ_SEND));
        }))
        .partition(Spec::new("beta", B, idle))
        .boot();
}

#[test]
fn a10_callers_below_1_2_have_no_such_call() {
    for version in [Version::V1_0, Version::V1_1] {
        let mut sim = thirteen_services();
        sim.negotiate(version);
        let reply = sim.core(0).call(&get_regs(Uuid::NIL, 0, 0));
        assert_error(&reply, FfaError::NotSupported);
    }
}

#[test]
fn d10_an_index_behind_the_last_is_refused() {
    let mut sim = thirteen_services();
    sim.negotiate(Version::V1_2);
    for (uuid, start) in [
        (Uuid::NIL, 13),
        (Uuid::NIL, 0xffff),
        (Uuid([4; 16]), 1),
        // Of no partition there is no first.
        (Uuid([99; 16]), 0),
    ] {
        let reply = sim.core(0).call(&get_regs(uuid, start, 0));
        assert_error(&reply, FfaError::InvalidParameters);
    }
    let last = sim.core(0).call(&get_regs(Uuid::NIL, 12, 0));
    assert_eq!(descriptors(&last, 12, Version::V1_2).1.len(), 1);
}

#[test]
fn d10_a_wrong_tag_means_try_again() {
    let mut sim = thirteen_services();
    sim.negotiate(Version::V1_2);
    for (start, tag) in [(0, 1), (5, 1), (5, 0xffff), (0, 0xffff)] {
        let reply = sim.core(0).call(&get_regs(Uuid::NIL, start, tag));
        assert_error(&reply, FfaError::Retry);
    }
}

#[test]
fn d10_d11_a_partition_that_ends_during_a_walk_changes_the_tag() {
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, idle).with(|config| {
            config.services = services(config.properties, 1..=6);
        }))
        .partition(Spec::new("beta", B, |sp| {
            sp.wait();
            sp.trap(&Registers::ZERO, Event::Fault(FAULT));
        }))
        .boot();
    sim.negotiate(Version::V1_2);
    let first = sim.core(0).call(&get_regs(Uuid::NIL, 0, 0));
    let (list, _) = descriptors(&first, 0, Version::V1_2);
    assert_eq!((list.last, list.current), (6, 4));
    let tag = u64::from(list.tag);

    assert_error(&sim.core(0).call(&run(B, 0)), FfaError::Aborted);
    let next = sim.core(0).call(&get_regs(Uuid::NIL, 5, tag));
    assert_error(&next, FfaError::Retry);
    let again = sim.core(0).call(&get_regs(Uuid::NIL, 0, 0));
    let (list, _) = descriptors(&again, 0, Version::V1_2);
    assert_eq!((list.last, list.current), (5, 4));
    let rest = sim
        .core(0)
        .call(&get_regs(Uuid::NIL, 5, u64::from(list.tag)));
    let (_, rest) = descriptors(&rest, 5, Version::V1_2);
    assert_eq!((rest.len(), rest[0].id), (1, A));
    // The other way of asking hides it, too.
    assert_eq!(sim.core(0).call(&info_get(Uuid::NIL, 1)).x[2], 6);
}

#[test]
fn d9_in_both_ways_no_property_is_newer_than_the_partition_or_the_caller() {
    for owner in [Version::V1_0, Version::V1_1, Version::V1_2, Version::V1_3] {
        for caller in [Version::V1_2, Version::V1_3] {
            let mut sim = Sim::builder()
                .partition(Spec::new("alpha", A, idle).with(move |config| {
                    config.version = owner;
                    config.properties = Properties(u32::MAX).without(Properties::ID_TYPE);
                }))
                .boot();
            sim.negotiate(caller);
            sim.core(0).call(&map(DRAM, DRAM + PAGE, 1));
            let reply = sim.core(0).call(&get_regs(Uuid::NIL, 0, 0));
            let shown = descriptors(&reply, 0, caller).1[0].properties;
            sim.core(0).call(&info_get(Uuid::NIL, 0));
            let rx = sim.rx(0).unwrap();
            let listed = partition_info::decode(caller, &rx).unwrap().properties;
            assert_eq!(shown, listed);
            for version in [owner, caller] {
                assert_eq!(
                    shown.without(Properties::defined_by(version)),
                    Properties::NONE
                );
            }
        }
    }
}

#[test]
fn d4_a_list_over_several_pages_needs_a_buffer_of_several_pages() {
    let mut sim = Sim::builder()
        .partition(
            Spec::new("alpha", A, idle)
                .with(|config| config.services = services(config.properties, 1..=250)),
        )
        .boot();
    sim.negotiate(Version::V1_3);
    let unmap = ffa(Function::RxtxUnmap, [0; 4]);
    for (pages, fits) in [(1, false), (2, false), (3, true), (16, true)] {
        sim.core(0).call(&map(DRAM, DRAM + 16 * PAGE, pages));
        let reply = sim.core(0).call(&info_get(Uuid::NIL, 0));
        if fits {
            assert_eq!(reply.x[2..4], [250, 48]);
            let rx = sim.rx(0).unwrap();
            assert!(rx[250 * 48..].iter().all(|byte| *byte == 0), "D8");
        } else {
            assert_error(&reply, FfaError::NoMemory);
        }
        sim.core(0).call(&unmap);
    }
}

/// Three services that are reached in different ways, and an image with a UUID.
fn three_methods() -> Sim {
    Sim::builder()
        .partition(Spec::new("alpha", A, idle).with(|config| {
            let service = |(byte, messaging)| Service {
                uuid: Uuid([byte; 16]),
                messaging,
            };
            let all: Vec<Service> = METHODS.into_iter().map(service).collect();
            config.services = all.leak();
            config.properties = METHODS.into_iter().fold(
                Properties::AARCH64.union(Properties::NOTIFICATIONS),
                |all, (_, messaging)| all.union(messaging),
            );
            config.image_uuid = IMAGE;
            config.version = Version::V1_3;
        }))
        .partition(Spec::new("beta", B, idle))
        .boot()
}

const METHODS: [(u8, Properties); 3] = [
    (0x11, Properties::DIRECT_REQ2_RECEIVE),
    (
        0x12,
        Properties::DIRECT_REQ_RECEIVE.union(Properties::DIRECT_REQ_SEND),
    ),
    (
        0x13,
        Properties::INDIRECT.union(Properties::DIRECT_REQ_RECEIVE),
    ),
];
const IMAGE: Uuid = Uuid([0x1a; 16]);

#[test]
fn a12_each_service_is_listed_with_its_own_messaging_and_the_partitions_other_bits() {
    let whole = Properties::AARCH64.union(Properties::NOTIFICATIONS);
    for version in [Version::V1_2, Version::V1_3] {
        let mut sim = three_methods();
        sim.negotiate(version);
        for (byte, messaging) in METHODS {
            // The normal world never sees what a partition may send.
            let expected = whole.union(messaging.without(Properties::DIRECT_REQ_SEND));
            let uuid = Uuid([byte; 16]);
            let reply = sim.core(0).call(&get_regs(uuid, 0, 0));
            let (_, infos) = descriptors(&reply, 0, version);
            assert_eq!(infos.len(), 1);
            assert_eq!(infos[0].properties, expected, "{uuid}");
        }
        sim.core(0).call(&map(DRAM, DRAM + PAGE, 1));
        let reply = sim.core(0).call(&info_get(Uuid::NIL, 0));
        assert_eq!(reply.x[2], 4);
        let size = partition_info::descriptor_size(version);
        let rx = sim.rx(0).unwrap();
        for ((byte, messaging), bytes) in METHODS.into_iter().zip(rx.chunks(size)) {
            let info = partition_info::decode(version, bytes).unwrap();
            assert_eq!((info.id, info.uuid), (A, Uuid([byte; 16])));
            let expected = whole.union(messaging.without(Properties::DIRECT_REQ_SEND));
            assert_eq!(info.properties, expected);
        }
    }
}

#[test]
fn a12_a_caller_at_1_0_is_told_of_a_partition_once_and_what_any_service_does() {
    let mut sim = three_methods();
    sim.core(0).call(&map(DRAM, DRAM + PAGE, 1));
    let reply = sim.core(0).call(&info_get(Uuid::NIL, 0));
    assert_eq!(reply.x[2], 2);
    let info = partition_info::decode(Version::V1_0, &sim.rx(0).unwrap()).unwrap();
    let expected = Properties::DIRECT_REQ_RECEIVE.union(Properties::INDIRECT);
    assert_eq!(info.properties, expected);
    sim.core(0).call(&ffa(Function::RxRelease, [0; 4]));
    let reply = sim.core(0).call(&info_get(Uuid([0x12; 16]), 0));
    assert_eq!(reply.x[2], 1);
    let info = partition_info::decode(Version::V1_0, &sim.rx(0).unwrap()).unwrap();
    assert_eq!(info.properties, Properties::DIRECT_REQ_RECEIVE);
}

#[test]
fn a12_callers_at_1_3_are_told_the_image_and_the_version() {
    for uuid in [Uuid::NIL, Uuid([0x12; 16])] {
        let mut sim = three_methods();
        sim.negotiate(Version::V1_3);
        let reply = sim.core(0).call(&get_regs(uuid, 0, 0));
        let (list, infos) = descriptors(&reply, 0, Version::V1_3);
        assert_eq!(list.size, 48);
        assert_eq!(
            (infos[0].image_uuid, infos[0].version),
            (IMAGE, Version::V1_3)
        );
        sim.core(0).call(&map(DRAM, DRAM + PAGE, 1));
        sim.core(0).call(&info_get(uuid, 0));
        let rx = sim.rx(0).unwrap();
        assert_eq!(partition_info::decode(Version::V1_3, &rx), Some(infos[0]));
        assert_eq!(rx[24..40], IMAGE.0);
        assert_eq!(rx[40..48], [3, 0, 1, 0, 0, 0, 0, 0]);
    }
    // A partition whose manifest names no image has the nil UUID.
    let mut sim = three_methods();
    sim.negotiate(Version::V1_3);
    let reply = sim.core(0).call(&get_regs(Uuid([2; 16]), 0, 0));
    let (_, infos) = descriptors(&reply, 0, Version::V1_3);
    assert_eq!((infos[0].id, infos[0].image_uuid), (B, Uuid::NIL));
    assert_eq!(infos[0].version, Version::V1_2);
}
