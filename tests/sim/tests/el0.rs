// SPDX-License-Identifier: MIT OR Apache-2.0
//! Partitions at S-EL0: what they may do with their pages (A-56, T25), and how they end (A-79, D-03).

use std::sync::{Arc, Mutex};

use bulkhead_abi::FfaError::{self, *};
use bulkhead_abi::{EndpointId, Function, Registers, Version, Width};
use bulkhead_core::event::{Direction, Event, Fault, FaultKind, SystemRegisterAccess};
use bulkhead_core::hardware::SystemRegister;
use bulkhead_core::region::{Region, RegionKind};
use bulkhead_core::vcpu::StateName;
use bulkhead_mm::addr::{PAGE_SIZE, Pa, PageRange};
use bulkhead_mm::attrs::{MemoryType, Permissions, Space};
use bulkhead_sim::memory::Quotas;
use bulkhead_sim::*;

const OS: EndpointId = EndpointId(0);
const EL0: EndpointId = EndpointId(0x8001);
const EL1: EndpointId = EndpointId(0x8002);
/// The memory of the partition at S-EL0.
const BASE: u64 = 0x1010_0000;
const PAGES: u64 = 256;
const DEVICE: u64 = 0x0900_0000;
/// Data in bits 1:0, and no execution.
const RW: u64 = 0b101;
const RO: u64 = 0b111;
const RX: u64 = 0b011;
const RWX: u64 = 0b001;
const NONE: u64 = 0b100;

fn get(address: u64, more: u64) -> Registers {
    call([
        Function::MemPermGet.id(Width::W64),
        address,
        more,
        0,
        0,
        0,
        0,
        0,
    ])
}

fn set(address: u64, pages: u64, permissions: u64) -> Registers {
    let id = Function::MemPermSet.id(Width::W64);
    call([id, address, pages, permissions, 0, 0, 0, 0])
}

/// The error of an answer, or w2 and w3.
type Outcome = Result<(u64, u64), FfaError>;

fn outcome(reply: &Registers) -> Outcome {
    match error(reply) {
        Some(code) => {
            Err(FfaError::from_code((code as u32).cast_signed()).expect("an error of FF-A"))
        }
        None => {
            assert_function(reply, Function::Success);
            assert_eq!(reply.x[4..8], [0; 4], "unused results");
            Ok((reply.x[2], reply.x[3]))
        }
    }
}

/// What its memory is to a partition: each mapped run of both spaces.
fn tables(sim: &Sim) -> Vec<(u64, u64, Permissions, MemoryType)> {
    sim.memory(|memory| {
        let mut found = Vec::new();
        for space in [Space::Secure, Space::NonSecure] {
            let el0 = memory.el0[0].as_mut().expect("it runs at S-EL0");
            el0.of(space).walk(&memory.words, |run| {
                let (start, bytes) = (run.start, run.bytes);
                found.push((
                    start,
                    bytes,
                    run.attributes.permissions,
                    run.attributes.memory,
                ));
            });
        }
        found
    })
}

/// A partition at S-EL0 with a device that makes `calls` before it first waits; the answers, and the machine.
fn starts(version: Version, quotas: Quotas, calls: &[Registers]) -> (Sim, Vec<Registers>) {
    let replies = Arc::new(Mutex::new(Vec::new()));
    let (calls, shared) = (calls.to_vec(), replies.clone());
    let spec = Spec::new("el0", EL0, move |sp| {
        for call in &calls {
            let reply = sp.svc(call);
            shared.lock().unwrap().push(reply);
        }
    });
    let spec = spec.at_el0().with(|config| {
        config.version = version;
        let mut regions = config.regions.to_vec();
        regions.push(Region {
            kind: RegionKind::Device,
            name: "device",
            space: Space::Secure,
            range: PageRange::new(Pa(DEVICE), PAGE_SIZE).unwrap(),
            ipa: DEVICE,
            permissions: Permissions::READ_WRITE,
        });
        config.regions = regions.leak();
    });
    let sim = Sim::builder().quotas(quotas).partition(spec).boot();
    let replies = replies.lock().unwrap().clone();
    (sim, replies)
}

fn at_v1_3(calls: &[Registers]) -> (Sim, Vec<Outcome>) {
    let (sim, replies) = starts(Version::V1_3, Quotas::default(), calls);
    (sim, replies.iter().map(outcome).collect())
}

#[test]
fn a56_pages_get_permissions_one_by_one_and_keep_all_else() {
    let page = |number: u64| BASE + number * PAGE_SIZE;
    let (sim, found) = at_v1_3(&[
        get(BASE, 0),
        set(page(3), 2, RW),
        set(page(5), 1, RO),
        set(page(6), 1, NONE),
        get(page(2), 9),
        get(page(3), 9),
        get(page(5), 9),
        get(page(6), 0),
        get(page(7), 0xffff),
        set(page(3), 4, RX),
        get(BASE, 0xffff_fffe),
    ]);
    let done = Ok((0, 0));
    assert_eq!(
        found,
        [
            Ok((RX, 0)),
            done,
            done,
            done,
            Ok((RX, 0)),
            Ok((RW, 1)),
            Ok((RO, 0)),
            Ok((NONE, 0)),
            Ok((RX, PAGES - 8)),
            done,
            Ok((RX, PAGES - 1)),
        ]
    );
    let normal = (
        BASE,
        PAGES * PAGE_SIZE,
        Permissions::READ_EXECUTE,
        MemoryType::Normal,
    );
    let device = (
        DEVICE,
        PAGE_SIZE,
        Permissions::READ_WRITE,
        MemoryType::Device,
    );
    assert_eq!(tables(&sim), [device, normal]);
}

#[test]
fn a56_below_v1_3_one_page_is_told() {
    for version in [Version::V1_1, Version::V1_2] {
        let calls = [set(BASE, 2, RW), get(BASE, 9)];
        let (_, replies) = starts(version, Quotas::default(), &calls);
        assert_eq!(outcome(&replies[1]), Ok((RW, 0)));
    }
    let (_, replies) = starts(
        Version::V1_0,
        Quotas::default(),
        &[get(BASE, 0), set(BASE, 1, RW)],
    );
    for reply in &replies {
        assert_eq!(outcome(reply), Err(NotSupported));
    }
}

#[test]
fn a56_the_32_bit_form_has_32_bit_addresses() {
    let narrow = |mut call: Registers| {
        call.x[0] &= !(1 << 30);
        call.x[1] |= 0xdead_beef << 32;
        call
    };
    let (_, found) = at_v1_3(&[
        narrow(set(BASE, 1, RW)),
        narrow(get(BASE, 0)),
        get(BASE | 1 << 32, 0),
    ]);
    assert_eq!(found, [Ok((0, 0)), Ok((RW, 0)), Err(InvalidParameters)]);
}

#[test]
fn t25_a_refused_call_changes_no_page() {
    let last = BASE + (PAGES - 1) * PAGE_SIZE;
    let refused = [
        // Count 0, and wraps.
        set(BASE, 0, RW),
        set(0xffff_ffff_ffff_f000, 2, RW),
        set(BASE, 0xffff_ffff, RW),
        get(0xffff_ffff_ffff_f000, 1),
        get(BASE, 0xffff_ffff),
        // Unaligned.
        set(BASE + 8, 1, RW),
        get(BASE + 0xfff, 0),
        // Writable and executable, undefined, reserved.
        set(BASE, 1, RWX),
        set(BASE, 1, 0b010),
        set(BASE, 1, 0b110),
        set(BASE, 1, RW | 8),
        // A device; nobody's; the end of its own.
        set(DEVICE, 1, RO),
        get(DEVICE, 0),
        set(0x1020_0000, 1, RO),
        get(0x1020_0000, 0),
        set(last, 2, RW),
        set(BASE - PAGE_SIZE, 2, RW),
    ];
    let (untouched, _) = at_v1_3(&[]);
    let (sim, found) = at_v1_3(&refused);
    for (call, found) in refused.iter().zip(&found) {
        assert_eq!(*found, Err(InvalidParameters), "{:#x?}", &call.x[..4]);
    }
    assert_eq!(tables(&sim), tables(&untouched));
}

#[test]
fn t25_without_a_page_for_tables_nothing_changes() {
    const BLOCK: u64 = 0x1020_0000;
    let mut last = Vec::new();
    for partition in [0, 1] {
        let quotas = Quotas {
            partition,
            normal_world: 8,
        };
        let region = PageRange::new(Pa(BLOCK), 2 << 20).unwrap();
        let found = Arc::new(Mutex::new(Vec::new()));
        let shared = found.clone();
        let spec = Spec::new("el0", EL1, move |sp| {
            for call in [set(BLOCK + PAGE_SIZE, 1, RW), get(BLOCK, 511)] {
                shared.lock().unwrap().push(outcome(&sp.svc(&call)));
            }
        });
        let spec = spec.with(|config| {
            config.version = Version::V1_3;
            config.regions = vec![Region::own("el0", region)].leak();
        });
        drop(
            Sim::builder()
                .quotas(quotas)
                .partition(spec.at_el0())
                .boot(),
        );
        last.push(found.lock().unwrap().clone());
    }
    assert_eq!(last[0], [Err(NoMemory), Ok((RX, 511))]);
    assert_eq!(last[1], [Ok((0, 0)), Ok((RX, 0))]);
}

#[test]
fn t25_after_the_first_wait_it_is_denied_and_elsewhere_not_supported() {
    for (name, id, at_el0) in [("el0", EL0, true), ("el1", EL1, false)] {
        // V15: as FFA_FEATURES says it at S-EL1.
        let error = if at_el0 { Denied } else { NotSupported };
        let (spec, puppet) = Puppet::new(name, id);
        let spec = if at_el0 { spec.at_el0() } else { spec };
        let mut sim = Sim::builder().partition(spec).boot();
        for call in [get(BASE, 0), set(BASE, 1, RW)] {
            let reply = puppet.call(sim.core(0), &call);
            assert_eq!(outcome(&reply), Err(error), "{name}");
            // Not the normal world's at all.
            assert_eq!(outcome(&sim.core(0).call(&call)), Err(NotSupported));
        }
    }
}

#[test]
fn t25_pages_with_a_buffer_or_in_a_transaction_are_not_the_callers_alone() {
    let map = call([
        Function::RxtxMap.id(Width::W64),
        BASE + 0x8000,
        BASE + 0x9000,
        1,
        0,
        0,
        0,
        0,
    ]);
    let (_, found) = at_v1_3(&[
        set(BASE + 0x7000, 4, RW),
        map,
        set(BASE + 0x8000, 1, RO),
        set(BASE + 0x7000, 4, RO),
        get(BASE + 0x7000, 9),
    ]);
    let refused = Err(InvalidParameters);
    assert_eq!(found[..2], [Ok((0, 0)); 2]);
    assert_eq!(found[2..], [refused, refused, Ok((RW, 0))]);
}

#[test]
fn a03_features_tells_s_el0_of_its_calls_and_of_no_interrupt() {
    let (spec, puppet) = Puppet::new("el0", EL0);
    let notified = |spec: Spec| {
        spec.with(|config| {
            let more = bulkhead_abi::partition_info::Properties::NOTIFICATIONS;
            config.properties = config.properties.union(more);
        })
    };
    let mut sim = Sim::builder().partition(notified(spec.at_el0())).boot();
    let (other, other_puppet) = Puppet::new("el1", EL1);
    let mut other = Sim::builder().partition(notified(other)).boot();
    const NPI: u64 = 1;
    for (id, el0, el1) in [
        (Function::MemPermGet.id(Width::W32), true, false),
        (Function::MemPermSet.id(Width::W64), true, false),
        (Function::MsgWait.id(Width::W32), true, true),
        (Function::SecondaryEpRegister.id(Width::W64), false, false),
        (NPI, false, true),
    ] {
        let ask = ffa(Function::Features, [id, 0, 0, 0]);
        let answer = outcome(&puppet.call(sim.core(0), &ask));
        assert_eq!(answer.is_ok(), el0, "{id:#x} at S-EL0: {answer:?}");
        let answer = outcome(&other_puppet.call(other.core(0), &ask));
        assert_eq!(answer.is_ok(), el1, "{id:#x} at S-EL1: {answer:?}");
    }
}

/// A partition at S-EL0 to which `event` happens at its first request, beside one at S-EL1.
fn ends_with(event: Event) -> Sim {
    let mut sim = Sim::builder()
        .partition(
            Spec::new("el0", EL0, move |sp| {
                let request = sp.wait();
                sp.trap(&request, event);
            })
            .at_el0(),
        )
        .partition(Spec::new("el1", EL1, |sp| {
            let mut next = sp.wait();
            loop {
                next = sp.respond(&next, [7, 0, 0, 0, 0]);
            }
        }))
        .boot();
    let reply = sim.core(0).call(&request(Width::W32, OS, EL0, [0; 5]));
    assert_eq!(outcome(&reply), Err(Aborted));
    sim
}

#[test]
fn a79_whatever_s_el0_may_not_do_ends_that_partition_only() {
    let fault = |kind, syndrome| {
        Event::Fault(Fault {
            kind,
            syndrome,
            address: 0x1234_5000,
        })
    };
    let write = FaultKind::Data {
        ipa: BASE,
        space: Space::Secure,
        direction: Direction::Write,
    };
    let register = |op1, crn, crm, op2, direction| {
        let register = SystemRegister {
            op0: 3,
            op1,
            crn,
            crm,
            op2,
        };
        Event::SystemRegister(SystemRegisterAccess {
            register,
            rt: 0,
            direction,
        })
    };
    for event in [
        fault(write, 0x9200_004f),
        // HVC and SMC, which are undefined there.
        fault(FaultKind::Exception, 1 << 25),
        fault(FaultKind::SError, 0xbe00_0000),
        // CNTV_CTL_EL0, which is emulated for S-EL1, and SCXTNUM_EL0.
        register(3, 14, 3, 1, Direction::Read),
        register(3, 13, 0, 7, Direction::Write),
    ] {
        let mut sim = ends_with(event);
        assert_eq!(sim.state(0, 0), StateName::Aborted, "{event:?}");
        let reply = sim.core(0).call(&request(Width::W32, OS, EL1, [0; 5]));
        assert_eq!(reply.x[3], 7, "{event:?}");
        let again = sim.core(0).call(&request(Width::W32, OS, EL0, [0; 5]));
        assert_eq!(outcome(&again), Err(Aborted));
    }
}

#[test]
fn d03_id_registers_are_read_at_s_el0_as_at_s_el1() {
    let seen = Arc::new(Mutex::new(None));
    let shared = seen.clone();
    let spec = Spec::new("el0", EL0, move |sp| {
        // ID_AA64PFR0_EL1 into x1.
        let register = SystemRegister {
            op0: 3,
            op1: 0,
            crn: 0,
            crm: 4,
            op2: 0,
        };
        let access = SystemRegisterAccess {
            register,
            rt: 1,
            direction: Direction::Read,
        };
        let after = sp.trap(&call([0; 8]), Event::SystemRegister(access));
        *shared.lock().unwrap() = Some(after.x[1]);
    });
    let sim = Sim::builder().partition(spec.at_el0()).boot();
    assert_eq!(sim.state(0, 0), StateName::Waiting);
    assert_eq!(*seen.lock().unwrap(), Some(0xff0f_0000_00ff_f0ff));
}
