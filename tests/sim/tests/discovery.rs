// SPDX-License-Identifier: MIT OR Apache-2.0
//! Discovery: partition information in buffers and in registers.

use bulkhead_abi::partition_info::{self, PartitionInfo, Properties, RegsReply};
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Uuid, Version, Width};
use bulkhead_sim::*;

const A: EndpointId = EndpointId(0x8001);
const B: EndpointId = EndpointId(0x8002);
/// Where the normal world's memory begins.
const DRAM: u64 = 0x4000_0000;

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
