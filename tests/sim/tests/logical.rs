// SPDX-License-Identifier: MIT OR Apache-2.0
//! The SPMD's logical partitions.

use std::sync::{Arc, Mutex};

use bulkhead_abi::partition_info::{self, PartitionInfo, Properties, RegsReply};
use bulkhead_abi::registers::Extended;
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Uuid, Version, Width, World};
use bulkhead_core::vcpu::StateName;
use bulkhead_sim::*;

const A: EndpointId = EndpointId(0x8001);
const B: EndpointId = EndpointId(0x8002);
/// Sends requests.
const SENDER: EndpointId = EndpointId(0xffc0);
/// Receives them, too.
const RECEIVER: EndpointId = EndpointId(0xfffe);

fn logical(id: EndpointId, byte: u8, properties: Properties) -> PartitionInfo {
    PartitionInfo {
        id,
        contexts: 1,
        properties: properties.union(Properties::AARCH64),
        uuid: Uuid([byte; 16]),
        image_uuid: Uuid::NIL,
        version: Version::V1_2,
    }
}

fn both() -> Vec<PartitionInfo> {
    let (send, receive) = (Properties::DIRECT_REQ_SEND, Properties::DIRECT_REQ_RECEIVE);
    vec![
        logical(SENDER, 0xc0, send),
        logical(RECEIVER, 0xfe, send.union(receive)),
    ]
}

/// Answers FFA_PARTITION_INFO_GET_REGS with one of `list` at a time, in descriptors of `version`.
fn tell(registers: &mut Registers, list: &[PartitionInfo], version: Version) {
    assert_eq!(registers.x[1..3], [0, 0], "all are asked for");
    assert_eq!(registers.x[4..18], [0; 14]);
    let start = usize::try_from(registers.x[3]).unwrap();
    let Some(info) = list.get(start) else {
        let error = match list.len() {
            0 => FfaError::NotSupported,
            _ => FfaError::InvalidParameters,
        };
        return registers.ffa_error(Extended::Clear, error);
    };
    let mut bytes = [0; 48];
    let info = PartitionInfo {
        version: Version::V1_3,
        ..*info
    };
    let size = partition_info::encode(version, World::Secure, &info, &mut bytes).unwrap();
    let [last, current, size] =
        [list.len() - 1, start, size].map(|value| u16::try_from(value).unwrap());
    let told = RegsReply {
        last,
        current,
        tag: 0,
        size,
    };
    registers.x[0] = Function::Success.id(Width::W64);
    registers.x[2] = told.encode();
    partition_info::write_registers(registers, &bytes);
}

/// An SPMD with these logical partitions, of which each answers a request with what it got, inverted.
fn spmd(list: Vec<PartitionInfo>, version: Version) -> impl Fn(&mut Registers) + Send + Sync {
    move |registers| {
        if registers.x[0] == Function::PartitionInfoGetRegs.id(Width::W64) {
            return tell(registers, &list, version);
        }
        assert_eq!(registers.x[8..31], [0; 23], "only the message goes to EL3");
        for width in [Width::W32, Width::W64] {
            if registers.x[0] == Function::MsgSendDirectReq.id(width) {
                registers.x[0] = Function::MsgSendDirectResp.id(width);
                registers.x[1] = EndpointId::pair(registers.receiver(), registers.sender());
                for x in &mut registers.x[3..8] {
                    *x = !*x & width.mask();
                }
                registers.x[8..18].fill(0x5ec4e7);
                return;
            }
        }
        panic!("{:#x?}", &registers.x[..8]);
    }
}

struct System {
    sim: Sim,
    a: Puppet,
}

/// Answers with what it got, inverted; a 1 makes it spin first.
fn invert(sp: &mut Sp) {
    let mut request = sp.wait();
    loop {
        if request.x[3] == 1 {
            sp.spin(&request);
        }
        let payload = [3, 4, 5, 6, 7].map(|register: usize| !request.x[register]);
        request = sp.respond(&request, payload);
    }
}

fn system_with(answer: impl Fn(&mut Registers) + Send + Sync + 'static) -> System {
    let (alpha, a) = Puppet::new("alpha", A);
    let mut sim = Sim::builder()
        .partition(alpha)
        .partition(Spec::new("beta", B, invert))
        .spmd(answer)
        .boot();
    sim.negotiate(Version::V1_2);
    System { sim, a }
}

fn system() -> System {
    system_with(spmd(both(), Version::V1_2))
}

fn get_regs(uuid: Uuid) -> Registers {
    let (low, high) = uuid.to_pair();
    let id = Function::PartitionInfoGetRegs.id(Width::W64);
    call([id, low, high, 0, 0, 0, 0, 0])
}

/// The ids and properties that a caller at 1.2 is told.
fn listed(reply: &Registers) -> Vec<(EndpointId, Properties)> {
    assert_function(reply, Function::Success);
    let count = usize::from(RegsReply::decode(reply.x[2]).last) + 1;
    (0..count)
        .map(|index| {
            let first = reply.x[3 + 3 * index];
            let id = u16::try_from(first & 0xffff).unwrap();
            let properties = u32::try_from(first >> 32).unwrap();
            (EndpointId(id), Properties(properties))
        })
        .collect()
}

#[test]
fn a14_partitions_are_told_of_them_and_the_normal_world_is_not() {
    for version in [Version::V1_2, Version::V1_3] {
        let mut s = system_with(spmd(both(), version));
        let found = listed(&s.a.call(s.sim.core(0), &get_regs(Uuid::NIL)));
        let ids: Vec<_> = found.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [A, B, SENDER, RECEIVER]);
        let expected = both().into_iter().map(|info| info.properties);
        let shown = found[2..].iter().map(|(_, properties)| *properties);
        assert!(shown.eq(expected), "{found:x?}");
        let one = listed(&s.a.call(s.sim.core(0), &get_regs(Uuid([0xfe; 16]))));
        assert_eq!(one.len(), 1);
        assert_eq!(one[0].0, RECEIVER);

        let found = listed(&s.sim.core(0).call(&get_regs(Uuid::NIL)));
        assert_eq!(found.len(), 2);
        let reply = s.sim.core(0).call(&get_regs(Uuid([0xfe; 16])));
        assert_error(&reply, FfaError::InvalidParameters);
    }
}

#[test]
fn a14_without_any_or_with_nonsense_there_are_none() {
    type Answer = fn(&mut Registers);
    let answers: [Answer; 6] = [
        |registers| registers.ffa_error(Extended::Clear, FfaError::NotSupported),
        |registers| registers.x[0] = u64::MAX,
        // An id of a partition, of the SPMD, and one that is told again and again.
        |registers| tell(registers, &[logical(A, 1, Properties::NONE)], Version::V1_2),
        |registers| {
            tell(
                registers,
                &[logical(EndpointId::SPMD, 1, Properties::NONE)],
                Version::V1_2,
            )
        },
        |registers| {
            tell(
                registers,
                &[logical(SENDER, 0, Properties::NONE)],
                Version::V1_2,
            )
        },
        |registers| {
            tell(registers, &both(), Version::V1_2);
            // Descriptors of a size that there is not.
            registers.x[2] = registers.x[2] & 0xffff_ffff_ffff | 25 << 48;
        },
    ];
    for answer in answers {
        let mut s = system_with(answer);
        let found = listed(&s.a.call(s.sim.core(0), &get_regs(Uuid::NIL)));
        assert_eq!(found.len(), 2, "{found:x?}");
        let message = request(Width::W32, SENDER, B, [0; 5]);
        assert_error(&s.sim.core(0).call(&message), FfaError::InvalidParameters);
    }
    // More than there is room for ends, too.
    let endless = |registers: &mut Registers| {
        let start = u8::try_from(registers.x[3]).unwrap();
        let mut list = both();
        for index in 2..63 {
            let id = EndpointId(0xffc0 + u16::from(index) - 1);
            list.push(logical(id, index, Properties::NONE));
        }
        assert!(start < 63);
        tell(registers, &list, Version::V1_2);
    };
    let mut s = system_with(endless);
    let reply = s.a.call(s.sim.core(0), &get_regs(Uuid::NIL));
    assert!(RegsReply::decode(reply.x[2]).last > 2);
}

#[test]
fn a14_a_logical_partition_gets_an_answer_from_a_partition() {
    let mut s = system();
    let payload = [2, 3, 4, 5, 6];
    let reply = s.sim.core(0).call(&request(Width::W32, SENDER, B, payload));
    assert_eq!(reply.x[0], Function::MsgSendDirectResp.id(Width::W32));
    assert_eq!(reply.x[1], EndpointId::pair(B, SENDER));
    assert_eq!(
        reply.x[3..8],
        payload.map(|value: u64| !value & 0xffff_ffff)
    );
    assert_eq!(s.sim.state(1, 0), StateName::Waiting);
    // It is an endpoint like others in what it may not.
    for (receiver, error) in [
        (SENDER, FfaError::InvalidParameters),
        (EndpointId(0x8003), FfaError::InvalidParameters),
        (EndpointId(0), FfaError::InvalidParameters),
    ] {
        let reply = s
            .sim
            .core(0)
            .call(&request(Width::W32, SENDER, receiver, payload));
        assert_error(&reply, error);
    }
    let stranger = request(Width::W32, EndpointId(0xffd0), B, payload);
    assert_error(&s.sim.core(0).call(&stranger), FfaError::InvalidParameters);
}

#[test]
fn a14_v8_its_request_does_not_settle_the_normal_worlds_version() {
    let (alpha, _a) = Puppet::new("alpha", A);
    let mut sim = Sim::builder()
        .partition(alpha)
        .partition(Spec::new("beta", B, |sp| {
            let request = sp.wait();
            sp.respond(&request, [0; 5]);
        }))
        .spmd(spmd(both(), Version::V1_2))
        .boot();
    let reply = sim.core(0).call(&request(Width::W32, SENDER, B, [0; 5]));
    assert_function(&reply, Function::MsgSendDirectResp);
    let asked = ffa(
        Function::Version,
        [u64::from(Version::V1_2.to_word()), 0, 0, 0],
    );
    let offered = sim.core(0).call(&asked).x[0];
    assert_eq!(offered, u64::from(Version::OURS.to_word()));
    assert_function(&sim.core(0).call(&get_regs(Uuid::NIL)), Function::Success);
}

#[test]
fn a14_interrupts_wait_and_who_takes_too_long_is_aborted() {
    let mut s = system();
    s.sim.core(0).raise_in_spin(Pending::NonSecure);
    let reply = s
        .sim
        .core(0)
        .call(&request(Width::W32, SENDER, B, [1, 0, 0, 0, 0]));
    assert_error(&reply, FfaError::Aborted);
    assert_eq!(s.sim.state(1, 0), StateName::Aborted);
    assert_eq!(s.sim.core(0).take_non_secure_interrupts(), 1);
    // A request of the normal world is preempted as ever.
    let mut s = system();
    s.sim.core(0).raise_in_spin(Pending::NonSecure);
    let os = EndpointId::NORMAL_WORLD;
    let reply = s
        .sim
        .core(0)
        .call(&request(Width::W32, os, B, [1, 0, 0, 0, 0]));
    assert_function(&reply, Function::Interrupt);
}

#[test]
fn a14_a_partition_gets_an_answer_from_a_logical_partition() {
    let mut s = system();
    let payload = [0x1111_2222_3333_4444, 3, 4, 5, 6];
    for width in [Width::W32, Width::W64] {
        let message = request(width, A, RECEIVER, payload);
        let reply = s.a.call(s.sim.core(0), &message);
        assert_eq!(reply.x[0], Function::MsgSendDirectResp.id(width));
        assert_eq!(reply.x[1], EndpointId::pair(RECEIVER, A));
        let mask = width.mask();
        assert_eq!(reply.x[3..8], payload.map(|value| !(value & mask) & mask));
        let expected = match width {
            Width::W32 => &message.x[8..18],
            Width::W64 => &[0; 10][..],
        };
        assert_eq!(
            &reply.x[8..18],
            expected,
            "nothing else of EL3's comes back"
        );
        assert_eq!(reply.x[18..31], message.x[18..31]);
    }
}

#[test]
fn a14_what_may_not_go_to_el3_does_not() {
    let mut s = system();
    for (message, error) in [
        (request(Width::W64, A, SENDER, [0; 5]), FfaError::Denied),
        (
            request(Width::W64, B, RECEIVER, [0; 5]),
            FfaError::InvalidParameters,
        ),
        (
            request(Width::W64, A, EndpointId(0xffd0), [0; 5]),
            FfaError::InvalidParameters,
        ),
        (
            request(Width::W64, A, EndpointId::SPMD, [0; 5]),
            FfaError::InvalidParameters,
        ),
    ] {
        assert_error(&s.a.call(s.sim.core(0), &message), error);
    }
    let mut framework = request(Width::W32, A, RECEIVER, [0; 5]);
    framework.x[2] = 0x8000_0008;
    let reply = s.a.call(s.sim.core(0), &framework);
    assert_error(&reply, FfaError::InvalidParameters);
    // The normal world does not reach one through the SPMC.
    let os = EndpointId::NORMAL_WORLD;
    let reply = s
        .sim
        .core(0)
        .call(&request(Width::W32, os, RECEIVER, [0; 5]));
    assert_error(&reply, FfaError::InvalidParameters);
}

#[test]
fn a14_an_answer_that_is_none_is_not_passed_on() {
    let answer = Arc::new(Mutex::new([0; 8]));
    let shared = answer.clone();
    let mut s = system_with(move |registers| {
        if registers.x[0] == Function::PartitionInfoGetRegs.id(Width::W64) {
            return tell(registers, &both(), Version::V1_2);
        }
        registers.x[..8].copy_from_slice(&*shared.lock().unwrap());
    });
    let response = Function::MsgSendDirectResp.id(Width::W64);
    let error = Function::Error.id(Width::W32);
    let code = FfaError::Busy.to_register();
    let ids = EndpointId::pair(RECEIVER, A);
    for (x, expected) in [
        ([error, 0, code, 9, 9, 9, 9, 9], FfaError::Busy),
        ([error, 0, 77, 0, 0, 0, 0, 0], FfaError::Aborted),
        (
            [response, EndpointId::pair(SENDER, A), 0, 1, 2, 3, 4, 5],
            FfaError::Aborted,
        ),
        (
            [response, EndpointId::pair(RECEIVER, B), 0, 1, 2, 3, 4, 5],
            FfaError::Aborted,
        ),
        (
            [response & 0xffff_ffff & !(1 << 30), ids, 0, 1, 2, 3, 4, 5],
            FfaError::Aborted,
        ),
        ([u64::MAX, 0, 0, 0, 0, 0, 0, 0], FfaError::Aborted),
        ([0, 0, 0, 0, 0, 0, 0, 0], FfaError::Aborted),
    ] {
        *answer.lock().unwrap() = x;
        let reply =
            s.a.call(s.sim.core(0), &request(Width::W64, A, RECEIVER, [0; 5]));
        assert_error(&reply, expected);
    }
}

#[test]
fn a14_notifications_are_not_for_logical_partitions() {
    let (alpha, a) = Puppet::new("alpha", A);
    let mut sim = Sim::builder()
        .partition(alpha.with(|config| {
            config.properties = config.properties.union(Properties::NOTIFICATIONS);
        }))
        .spmd(spmd(both(), Version::V1_2))
        .boot();
    let ids = EndpointId::pair(RECEIVER, A);
    let bind = ffa(Function::NotificationBind, [ids, 0, 1, 0]);
    assert_error(&a.call(sim.core(0), &bind), FfaError::InvalidParameters);
    let ids = EndpointId::pair(A, RECEIVER);
    let set = ffa(Function::NotificationSet, [ids, 0, 1, 0]);
    assert_error(&a.call(sim.core(0), &set), FfaError::InvalidParameters);
}

/// EL3 waits for its request as for a function: it does not wait in a queue.
#[test]
fn a14_a_request_of_one_does_not_wait_for_a_busy_partition() {
    let mut sim = Sim::builder()
        .cores(2)
        .partition(Spec::new("beta", B, invert).queue(2))
        .spmd(spmd(both(), Version::V1_2))
        .boot();
    sim.core(1).switch_on();
    sim.core(0).raise_in_spin(Pending::NonSecure);
    let busy = request(Width::W64, EndpointId(0), B, [1, 0, 0, 0, 0]);
    assert_function(&sim.core(0).call(&busy), Function::Interrupt);
    sim.core(0).take_non_secure_interrupts();
    let message = request(Width::W32, SENDER, B, [0; 5]);
    let reply = sim.core(1).start(&message).expect("an answer at once");
    assert_error(&reply, FfaError::Busy);
    assert_eq!(sim.spmc().partitions()[0].queued(), 0);
    assert_function(&sim.core(0).call(&run(B, 0)), Function::MsgSendDirectResp);
    let reply = sim.core(1).call(&message);
    assert_function(&reply, Function::MsgSendDirectResp);
}
