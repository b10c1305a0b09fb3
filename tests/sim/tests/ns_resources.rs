// SPDX-License-Identifier: MIT OR Apache-2.0
//! FFA_NS_RES_INFO_GET: what of the normal world's memory the secure world reaches.

use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Version, Width};
use bulkhead_core::event::{Event, Fault, FaultKind};
use bulkhead_mm::addr::{Pa, PageRange};
use bulkhead_mm::attrs::Permissions;
use bulkhead_sim::*;

const A: EndpointId = EndpointId(0x8001);
const B: EndpointId = EndpointId(0x8002);
const SPMC: EndpointId = EndpointId(0x8000);
const DRAM: u64 = 0x4000_0000;
/// The normal world's buffers.
const TX: u64 = DRAM;
const RX: u64 = DRAM + PAGE;
const ONE: u64 = 1;
const CONTINUE: u64 = 1 << 4;
const DIRECT: u8 = 0;
const INDIRECT: u8 = 1;

const FAULT: Fault = Fault {
    kind: FaultKind::External,
    syndrome: 0,
    address: 0,
};

/// Address, page count, permissions, endpoint, flags: a descriptor by its bytes.
type Region = (u64, u32, u8, u16, u8);
type Map = Vec<(PageRange, Permissions)>;

fn range(page: u64, count: u64) -> PageRange {
    PageRange::new(Pa(DRAM + page * PAGE), count * PAGE).unwrap()
}

/// Two partitions, of which `beta` sends indirect messages if that is asked for, and these maps.
fn system(a: Map, b: Map, indirect: bool) -> Sim {
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, |sp| {
            // A request ends it.
            sp.wait();
            sp.trap(&Registers::ZERO, Event::Fault(FAULT));
        }))
        .partition(Spec::new("beta", B, |_| ()).with(|config| {
            if indirect {
                config.properties = config.properties.union(Properties::INDIRECT);
            }
        }))
        .boot();
    sim.map_non_secure(0, a);
    sim.map_non_secure(1, b);
    sim.negotiate(Version::V1_3);
    sim
}

fn ask(target: u64, flags: u64) -> Registers {
    let id = Function::NsResInfoGet.id(Width::W64);
    call([id, target, flags, 0, 0, 0, 0, 0])
}

fn map_buffers(sim: &mut Sim) {
    let message = call([Function::RxtxMap.id(Width::W64), TX, RX, 1, 0, 0, 0, 0]);
    assert_function(&sim.core(0).call(&message), Function::Success);
}

fn release(sim: &mut Sim) {
    let reply = sim.core(0).call(&ffa(Function::RxRelease, [0; 4]));
    assert_function(&reply, Function::Success);
}

/// Bytes written and bytes left.
#[track_caller]
fn lengths(reply: &Registers) -> (usize, usize) {
    assert_eq!(
        reply.x[0],
        Function::Success.id(Width::W64),
        "{:#x?}",
        &reply.x[..8]
    );
    assert_eq!((reply.x[1], &reply.x[3..18]), (0, &[0; 15][..]));
    assert_eq!(reply.x[18..31], call([0; 8]).x[18..31]);
    (
        (reply.x[2] >> 32) as usize,
        (reply.x[2] & 0xffff_ffff) as usize,
    )
}

/// The whole of what is told, by as many calls as it takes, and how many that were.
fn dump(sim: &mut Sim, target: u64, flags: u64) -> (Vec<Region>, usize) {
    let mut bytes = Vec::new();
    let mut calls = 0;
    let mut more = 0;
    loop {
        let reply = sim.core(0).call(&ask(target, flags | more));
        let (written, left) = lengths(&reply);
        calls += 1;
        if written == 0 {
            assert_eq!(left, 0);
            assert!(bytes.is_empty());
            return (Vec::new(), calls);
        }
        let rx = sim.rx(0).unwrap();
        bytes.extend(&rx[..written]);
        assert!(rx[written..].iter().all(|byte| *byte == 0), "D8");
        release(sim);
        if left == 0 {
            break;
        }
        more = CONTINUE;
    }
    let (header, regions) = bytes.split_at(16);
    let count = u32::try_from(regions.len() / 16).unwrap();
    let words = [16, count, 16, 0].map(u32::to_le_bytes);
    assert_eq!(header, words.as_flattened());
    let region = |bytes: &[u8]| {
        let word = |first: usize| u32::from_le_bytes(bytes[first..first + 4].try_into().unwrap());
        let address = u64::from(word(0)) | u64::from(word(4)) << 32;
        let endpoint = u16::from_le_bytes([bytes[13], bytes[14]]);
        (address, word(8), bytes[12], endpoint, bytes[15])
    };
    (regions.chunks(16).map(region).collect(), calls)
}

#[test]
fn a13_the_dump_equals_the_non_secure_maps() {
    let a = vec![
        (range(16, 1), Permissions::READ_ONLY),
        (range(17, 3), Permissions::READ_WRITE),
        (range(64, 512), Permissions::READ_WRITE_EXECUTE),
    ];
    let b = vec![
        (range(17, 3), Permissions::READ_EXECUTE),
        (range(0x4_0000, 1), Permissions::READ_WRITE),
    ];
    let mut sim = system(a, b, false);
    map_buffers(&mut sim);
    let page = |page: u64| DRAM + page * PAGE;
    let of_a = [
        (page(16), 1, 0x11, A.0, DIRECT),
        (page(17), 3, 0x33, A.0, DIRECT),
        (page(64), 512, 0x77, A.0, DIRECT),
    ];
    let of_b = [
        (page(17), 3, 0x55, B.0, DIRECT),
        (page(0x4_0000), 1, 0x33, B.0, DIRECT),
    ];
    assert_eq!(dump(&mut sim, 0, 0), ([&of_a[..], &of_b[..]].concat(), 1));
    assert_eq!(dump(&mut sim, u64::from(A.0), ONE), (of_a.to_vec(), 1));
    assert_eq!(dump(&mut sim, u64::from(B.0), ONE), (of_b.to_vec(), 1));
}

#[test]
fn a13_buffers_are_reached_through_the_spmc_by_who_sends_indirect_messages() {
    let own = vec![(range(16, 1), Permissions::READ_ONLY)];
    let mut sim = system(own, Vec::new(), true);
    map_buffers(&mut sim);
    let of_a = (DRAM + 16 * PAGE, 1, 0x11, A.0, DIRECT);
    let buffers = [
        (RX, 1, 0x33, SPMC.0, INDIRECT),
        (TX, 1, 0x11, SPMC.0, INDIRECT),
    ];
    assert_eq!(dump(&mut sim, 0, 0).0, [&[of_a][..], &buffers[..]].concat());
    assert_eq!(dump(&mut sim, u64::from(A.0), ONE).0, [of_a]);
    assert_eq!(dump(&mut sim, u64::from(B.0), ONE).0, buffers);
}

/// Every other page.
fn many(first: u64, count: u64) -> Map {
    let page = |page| (range(first + 2 * page, 1), Permissions::READ_WRITE);
    (0..count).map(page).collect()
}

#[test]
fn a13_a_long_list_comes_in_pieces() {
    for (of_a, of_b, pieces) in [
        (63, 0, 1),
        (64, 0, 2),
        (100, 27, 2),
        (100, 28, 3),
        (0, 300, 5),
    ] {
        let mut sim = system(many(16, of_a), many(1000, of_b), false);
        map_buffers(&mut sim);
        let (regions, calls) = dump(&mut sim, 0, 0);
        assert_eq!(calls, pieces, "{of_a} and {of_b}");
        let all = [(A, 16, of_a), (B, 1000, of_b)];
        let expected: Vec<Region> = all
            .into_iter()
            .flat_map(|(id, first, count)| {
                (0..count)
                    .map(move |page| (DRAM + (first + 2 * page) * PAGE, 1, 0x33, id.0, DIRECT))
            })
            .collect();
        assert_eq!(regions, expected);
    }
}

#[test]
fn a13_without_anything_to_tell_rx_stays_the_spmcs() {
    let mut sim = system(Vec::new(), many(16, 1), false);
    map_buffers(&mut sim);
    let target = u64::from(A.0);
    for flags in [ONE, ONE | CONTINUE, CONTINUE] {
        assert_eq!(lengths(&sim.core(0).call(&ask(target, flags))), (0, 0));
    }
    let reply = sim.core(0).call(&ffa(Function::RxRelease, [0; 4]));
    assert_error(&reply, FfaError::Denied);
}

#[test]
fn a13_rx_that_is_not_there_or_not_the_spmcs_means_try_again() {
    let mut sim = system(many(16, 100), Vec::new(), false);
    assert_error(&sim.core(0).call(&ask(0, 0)), FfaError::Retry);
    map_buffers(&mut sim);
    assert_eq!(lengths(&sim.core(0).call(&ask(0, 0))), (64 * 16, 37 * 16));
    let before = sim.rx(0).unwrap();
    for flags in [CONTINUE, 0] {
        assert_error(&sim.core(0).call(&ask(0, flags)), FfaError::Retry);
    }
    assert_eq!(sim.rx(0).unwrap(), before);
    // The retrieval goes on where it was.
    release(&mut sim);
    assert_eq!(lengths(&sim.core(0).call(&ask(0, CONTINUE))), (37 * 16, 0));
    release(&mut sim);
    assert_eq!(lengths(&sim.core(0).call(&ask(0, CONTINUE))), (0, 0));
}

#[test]
fn a13_a_start_ends_what_was_under_way_and_another_target_does_not_continue_it() {
    let mut sim = system(many(16, 100), many(16, 100), false);
    map_buffers(&mut sim);
    let (a, b) = (u64::from(A.0), u64::from(B.0));
    sim.core(0).call(&ask(a, ONE));
    release(&mut sim);
    for (target, flags) in [(b, ONE), (0, 0)] {
        let reply = sim.core(0).call(&ask(target, flags | CONTINUE));
        assert_eq!(lengths(&reply), (0, 0));
    }
    assert_eq!(dump(&mut sim, b, ONE).0.len(), 100);
    let reply = sim.core(0).call(&ask(a, ONE | CONTINUE));
    assert_eq!(lengths(&reply), (0, 0));
}

#[test]
fn a13_a_change_ends_the_retrieval() {
    type Change = fn(&mut Sim);
    let changes: [Change; 3] = [
        |sim| sim.map_non_secure(1, many(2000, 2)),
        |sim| {
            let mut map = many(16, 100);
            map[99].1 = Permissions::READ_ONLY;
            sim.map_non_secure(0, map);
        },
        // A partition ends.
        |sim| {
            let message = request(Width::W64, EndpointId(0), A, [0; 5]);
            assert_error(&sim.core(0).call(&message), FfaError::Aborted);
        },
    ];
    for change in changes {
        let mut sim = system(many(16, 100), many(2000, 1), false);
        map_buffers(&mut sim);
        sim.core(0).call(&ask(0, 0));
        release(&mut sim);
        change(&mut sim);
        assert_error(&sim.core(0).call(&ask(0, CONTINUE)), FfaError::Aborted);
        let reply = sim.core(0).call(&ffa(Function::RxRelease, [0; 4]));
        assert_error(&reply, FfaError::Denied);
        assert_eq!(
            lengths(&sim.core(0).call(&ask(0, CONTINUE))),
            (0, 0),
            "it is over"
        );
        dump(&mut sim, 0, 0);
    }
}

#[test]
fn a13_what_is_asked_wrongly_is_refused() {
    let mut sim = system(many(16, 1), Vec::new(), false);
    map_buffers(&mut sim);
    for target in [0, 1, 0x8000, 0x8003, 0xffff] {
        let reply = sim.core(0).call(&ask(target, ONE));
        assert_error(&reply, FfaError::InvalidParameters);
    }
    for kind in [1, 2, 3] {
        let reply = sim.core(0).call(&ask(0, kind << 2));
        assert_error(&reply, FfaError::InvalidParameters);
    }
    let reply = sim.core(0).call(&ffa(Function::RxRelease, [0; 4]));
    assert_error(&reply, FfaError::Denied);
}

#[test]
fn a13_only_the_normal_world_asks_and_from_1_3_on() {
    for version in [Version::V1_2, Version::V1_3] {
        let (alpha, a) = Puppet::new("alpha", A);
        let spec = alpha.with(|config| config.version = version);
        let mut sim = Sim::builder().partition(spec).boot();
        sim.negotiate(version);
        map_buffers(&mut sim);
        assert_error(&a.call(sim.core(0), &ask(0, 0)), FfaError::NotSupported);
        let reply = sim.core(0).call(&ask(0, 0));
        match version {
            Version::V1_3 => assert_eq!(lengths(&reply), (0, 0)),
            _ => assert_error(&reply, FfaError::NotSupported),
        }
    }
}
