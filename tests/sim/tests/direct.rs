// SPDX-License-Identifier: MIT OR Apache-2.0
//! Direct messages: abuse cases G1 to G16 and G19.

use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Uuid, Version, Width};
use bulkhead_core::partition::Service;
use bulkhead_core::vcpu::StateName;
use bulkhead_sim::*;

const NWD: EndpointId = EndpointId(0);
const A: EndpointId = EndpointId(0x8001);
const B: EndpointId = EndpointId(0x8002);
const C: EndpointId = EndpointId(0x8003);

/// Answers each request with its payload inverted.
fn echo(sp: &mut Sp) {
    let mut request = sp.wait();
    loop {
        let payload = [3, 4, 5, 6, 7].map(|register: usize| !request.x[register]);
        request = sp.respond(&request, payload);
    }
}

/// Makes the call in x3 to x7 of each request (x0 is x3, x1 is x4, …) and answers with x0 and x2
/// of the outcome.
fn proxy(sp: &mut Sp) {
    let mut request = sp.wait();
    loop {
        let [a, b, c, d, e] = [3, 4, 5, 6, 7].map(|register: usize| request.x[register]);
        let reply = sp.call(&call([a, b, c, d, e, 0, 0, 0]));
        request = sp.respond(&request, [reply.x[0], reply.x[2], reply.x[3], 0, 0]);
    }
}

fn echo_and_proxy() -> Sim {
    Sim::builder()
        .partition(Spec::new("alpha", A, echo))
        .partition(Spec::new("beta", B, proxy))
        .boot()
}

/// Lets `beta` make a call; returns x0 and x2 of the outcome.
fn through_beta(sim: &mut Sim, x: [u64; 5]) -> (u64, u64) {
    let reply = sim.core(0).call(&request(Width::W64, NWD, B, x));
    assert_function(&reply, Function::MsgSendDirectResp);
    (reply.x[3], reply.x[4])
}

/// FFA_ERROR with `error`, as [`through_beta`] returns it.
fn refused(error: FfaError) -> (u64, u64) {
    (Function::Error.id(Width::W32), error.to_register())
}

#[test]
fn a20_a_request_in_each_width_is_answered_with_its_payload() {
    let mut sim = echo_and_proxy();
    let payload = [0x1111_2222_3333_4444, 2, 3, 4, u64::MAX];
    for (width, mask) in [(Width::W32, 0xffff_ffff), (Width::W64, u64::MAX)] {
        let reply = sim.core(0).call(&request(width, NWD, A, payload));
        assert_eq!(reply.x[0], Function::MsgSendDirectResp.id(width));
        assert_eq!(reply.x[1], EndpointId::pair(A, NWD));
        assert_eq!(reply.x[2], 0);
        assert_eq!(reply.x[3..8], payload.map(|value| !(value & mask) & mask));
        assert_eq!(sim.state(0, 0), StateName::Waiting);
    }
}

#[test]
fn a20_a_partition_reaches_another_and_gets_its_answer() {
    let mut sim = echo_and_proxy();
    let id = Function::MsgSendDirectReq.id(Width::W64);
    let (x0, _) = through_beta(&mut sim, [id, EndpointId::pair(B, A), 0, 0x55, 0]);
    assert_eq!(x0, Function::MsgSendDirectResp.id(Width::W64));
    let reply = sim.core(0).call(&request(
        Width::W64,
        NWD,
        B,
        [id, EndpointId::pair(B, A), 0, 0x55, 0],
    ));
    assert_eq!(reply.x[5], !0x55);
    assert_eq!(
        (sim.state(0, 0), sim.state(1, 0)),
        (StateName::Waiting, StateName::Waiting)
    );
}

#[test]
fn a21_the_second_form_carries_fourteen_registers_and_a_uuid() {
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, |sp| {
            let mut request = sp.wait();
            loop {
                let mut answer = request.clone();
                answer.x[0] = Function::MsgSendDirectResp2.id(Width::W64);
                answer.x[1] = EndpointId::pair(sp.id, NWD);
                answer.x[2] = 0;
                answer.x[3] = 0;
                answer.x[17] ^= 0xff;
                request = sp.call(&answer);
            }
        }))
        .boot();
    sim.negotiate(Version::V1_2);
    let (low, high) = Uuid([1; 16]).to_pair();
    let mut message = call([0; 8]);
    message.x[0] = Function::MsgSendDirectReq2.id(Width::W64);
    message.x[1] = EndpointId::pair(NWD, A);
    (message.x[2], message.x[3]) = (low, high);
    let reply = sim.core(0).call(&message);
    assert_eq!(reply.x[0], Function::MsgSendDirectResp2.id(Width::W64));
    assert_eq!(reply.x[2..4], [0, 0]);
    assert_eq!(reply.x[4..17], message.x[4..17]);
    assert_eq!(reply.x[17], message.x[17] ^ 0xff);
}

/// `alpha` answers in the second form and serves three: REQ2 only (1), REQ only (2), both (3).
fn three_services() -> Sim {
    let service = |byte, messaging| Service {
        uuid: Uuid([byte; 16]),
        messaging,
    };
    let (one, two) = (
        Properties::DIRECT_REQ_RECEIVE,
        Properties::DIRECT_REQ2_RECEIVE,
    );
    let services = vec![
        service(1, two),
        service(2, one.union(Properties::DIRECT_REQ2_SEND)),
        service(3, one.union(two)),
    ];
    let mut sim = Sim::builder()
        .partition(
            Spec::new("alpha", A, |sp| {
                let mut request = sp.wait();
                loop {
                    let mut answer = request.clone();
                    answer.x[0] = Function::MsgSendDirectResp2.id(Width::W64);
                    answer.x[1] = EndpointId::pair(sp.id, request.sender());
                    // What it was asked for, since x2 and x3 of the answer are zero.
                    (answer.x[4], answer.x[5]) = (request.x[2], request.x[3]);
                    (answer.x[2], answer.x[3]) = (0, 0);
                    request = sp.call(&answer);
                }
            })
            .with(|config| config.services = services.leak()),
        )
        .boot();
    sim.negotiate(Version::V1_2);
    sim
}

fn request2(uuid: Uuid) -> Registers {
    let mut message = call([0; 8]);
    message.x[0] = Function::MsgSendDirectReq2.id(Width::W64);
    message.x[1] = EndpointId::pair(NWD, A);
    (message.x[2], message.x[3]) = uuid.to_pair();
    message
}

#[test]
fn g7_a_request_for_an_unknown_service_is_invalid() {
    let mut sim = three_services();
    for uuid in [Uuid([9; 16]), Uuid([0xff; 16])] {
        let reply = sim.core(0).call(&request2(uuid));
        assert_error(&reply, FfaError::InvalidParameters);
    }
    // Half a UUID is another one.
    let mut half = request2(Uuid([1; 16]));
    half.x[3] = 0;
    assert_error(&sim.core(0).call(&half), FfaError::InvalidParameters);
    assert_eq!(sim.state(0, 0), StateName::Waiting);
}

#[test]
fn g7_the_nil_uuid_is_for_the_partition_as_a_whole() {
    let mut sim = three_services();
    let reply = sim.core(0).call(&request2(Uuid::NIL));
    assert_function(&reply, Function::MsgSendDirectResp2);
    assert_eq!(
        reply.x[4..6],
        [0, 0],
        "it is told that no service was named"
    );
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, echo).with(|config| {
            config.properties = Properties::DIRECT_REQ_RECEIVE;
        }))
        .boot();
    sim.negotiate(Version::V1_2);
    let reply = sim.core(0).call(&request2(Uuid::NIL));
    assert_error(&reply, FfaError::Denied);
    assert_eq!(sim.state(0, 0), StateName::Waiting);
}

#[test]
fn a21_each_service_is_reached_by_its_own_messaging_method() {
    let mut sim = three_services();
    for byte in [1, 3] {
        let message = request2(Uuid([byte; 16]));
        let reply = sim.core(0).call(&message);
        assert_function(&reply, Function::MsgSendDirectResp2);
        assert_eq!(reply.x[4..6], message.x[2..4]);
        assert_eq!(reply.x[2..4], [0, 0]);
    }
    // The partition has services that receive REQ2; this one does not.
    let reply = sim.core(0).call(&request2(Uuid([2; 16])));
    assert_error(&reply, FfaError::Denied);
    assert_eq!(sim.state(0, 0), StateName::Waiting);
}

#[test]
fn g1_a_request_with_a_foreign_sender_is_refused() {
    let mut sim = echo_and_proxy();
    let id = Function::MsgSendDirectReq.id(Width::W32);
    for sender in [NWD, A, C, EndpointId(0x8000), EndpointId(0xffff)] {
        let outcome = through_beta(&mut sim, [id, EndpointId::pair(sender, A), 0, 0, 0]);
        assert_eq!(outcome, refused(FfaError::InvalidParameters), "{sender}");
    }
    assert_eq!(sim.state(0, 0), StateName::Waiting);
}

#[test]
fn g2_an_unknown_receiver_is_refused() {
    let mut sim = echo_and_proxy();
    for receiver in [0x8003, 0x8000, 0xfffe, 0xffff, 0x0001, 0x7fff].map(EndpointId) {
        let reply = sim
            .core(0)
            .call(&request(Width::W32, NWD, receiver, [0; 5]));
        assert_error(&reply, FfaError::InvalidParameters);
    }
}

#[test]
fn g3_a_message_to_oneself_is_refused() {
    let mut sim = echo_and_proxy();
    let id = Function::MsgSendDirectReq.id(Width::W32);
    let outcome = through_beta(&mut sim, [id, EndpointId::pair(B, B), 0, 0, 0]);
    assert_eq!(outcome, refused(FfaError::InvalidParameters));
    let reply = sim.core(0).call(&request(Width::W32, NWD, NWD, [0; 5]));
    assert_error(&reply, FfaError::InvalidParameters);
}

#[test]
fn g4_a_partition_may_not_request_from_the_normal_world() {
    let mut sim = echo_and_proxy();
    let id = Function::MsgSendDirectReq.id(Width::W32);
    for vm in [0, 1, 0x7fff].map(EndpointId) {
        let outcome = through_beta(&mut sim, [id, EndpointId::pair(B, vm), 0, 0, 0]);
        assert_eq!(outcome, refused(FfaError::InvalidParameters), "{vm}");
    }
}

#[test]
fn g5_the_normal_world_may_not_use_a_secure_sender() {
    let mut sim = echo_and_proxy();
    for sender in [A, B, EndpointId(0x8000), EndpointId(0x8fff)] {
        let reply = sim.core(0).call(&request(Width::W32, sender, A, [0; 5]));
        assert_error(&reply, FfaError::InvalidParameters);
    }
}

#[test]
fn g6_a_receiver_that_does_not_take_requests_denies_them() {
    let mut sim = Sim::builder()
        .partition(
            Spec::new("alpha", A, echo)
                .with(|config| config.properties = Properties::DIRECT_REQ_SEND),
        )
        .partition(Spec::new("beta", B, proxy))
        .partition(
            Spec::new("gamma", C, proxy)
                .with(|config| config.properties = Properties::DIRECT_REQ_RECEIVE),
        )
        .boot();
    assert_error(
        &sim.core(0).call(&request(Width::W32, NWD, A, [0; 5])),
        FfaError::Denied,
    );
    let id = Function::MsgSendDirectReq.id(Width::W32);
    let outcome = through_beta(&mut sim, [id, EndpointId::pair(B, A), 0, 0, 0]);
    assert_eq!(outcome, refused(FfaError::Denied));
    // A partition that may not send is denied too.
    let payload = [id, EndpointId::pair(C, B), 0, 0, 0];
    let reply = sim.core(0).call(&request(Width::W64, NWD, C, payload));
    assert_eq!((reply.x[3], reply.x[4]), refused(FfaError::Denied));
}

#[test]
fn g8_reserved_flags_are_refused() {
    let mut sim = echo_and_proxy();
    for bit in 0..32 {
        let mut message = request(Width::W32, NWD, A, [0; 5]);
        message.x[2] = 1 << bit;
        assert_error(&sim.core(0).call(&message), FfaError::InvalidParameters);
    }
    // The upper half of a 32-bit register is not part of it (V17).
    let mut message = request(Width::W32, NWD, A, [0; 5]);
    message.x[2] = 1 << 32;
    assert_function(&sim.core(0).call(&message), Function::MsgSendDirectResp);
}

#[test]
fn g9_only_the_framework_sends_framework_messages() {
    let mut sim = echo_and_proxy();
    for number in 0..16 {
        let mut message = request(Width::W32, NWD, A, [0; 5]);
        message.x[2] = 0x8000_0000 | number;
        assert_error(&sim.core(0).call(&message), FfaError::InvalidParameters);
    }
}

#[test]
fn g10_a_busy_receiver_is_busy_before_the_runtime_model_is_looked_at() {
    let mut sim = Sim::builder()
        .cores(2)
        .partition(Spec::new("alpha", A, |sp| {
            let request = sp.wait();
            sp.spin(&request);
            sp.respond(&request, [1; 5]);
        }))
        .boot();
    sim.core(1).switch_on();
    sim.core(0).raise_in_spin(Pending::NonSecure);
    let reply = sim.core(0).call(&request(Width::W32, NWD, A, [0; 5]));
    assert_function(&reply, Function::Interrupt);
    // Preempted on core 0: busy for core 0 and core 1.
    for core in 0..2 {
        assert_error(
            &sim.core(core).call(&request(Width::W32, NWD, A, [0; 5])),
            FfaError::Busy,
        );
    }
    sim.core(0).take_non_secure_interrupts();
    let reply = sim.core(0).call(&run(A, 0));
    assert_function(&reply, Function::MsgSendDirectResp);
}

#[test]
fn g11_an_aborted_receiver_says_so() {
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, |sp| {
            sp.call(&ffa(Function::Error, [0, 0xffff_fff8, 0, 0]));
        }))
        .partition(Spec::new("beta", B, proxy))
        .boot();
    assert_error(
        &sim.core(0).call(&request(Width::W32, NWD, A, [0; 5])),
        FfaError::Aborted,
    );
    let id = Function::MsgSendDirectReq.id(Width::W32);
    let outcome = through_beta(&mut sim, [id, EndpointId::pair(B, A), 0, 0, 0]);
    assert_eq!(outcome, refused(FfaError::Aborted));
}

#[test]
fn g12_a_receiver_that_is_not_initialised_is_busy() {
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, |sp| {
            let id = Function::MsgSendDirectReq.id(Width::W32);
            let reply = sp.call(&call([id, EndpointId::pair(A, B), 0, 0, 0, 0, 0, 0]));
            assert_error(&reply, FfaError::Busy);
            echo(sp);
        }))
        .partition(Spec::new("beta", B, echo))
        .boot();
    assert_function(
        &sim.core(0).call(&request(Width::W32, NWD, A, [0; 5])),
        Function::MsgSendDirectResp,
    );
}

#[test]
fn g14_a_response_without_a_request_is_denied() {
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, |sp| {
            let reply = sp.call(&response(Width::W32, A, NWD, [0; 5]));
            assert_error(&reply, FfaError::Denied);
            // Given cycles by FFA_RUN there is no request either.
            let entry = sp.wait();
            assert_function(&entry, Function::Run);
            let reply = sp.call(&response(Width::W32, A, NWD, [0; 5]));
            assert_error(&reply, FfaError::Denied);
        }))
        .boot();
    assert_function(&sim.core(0).call(&run(A, 0)), Function::MsgWait);
    assert_error(
        &sim.core(0).call(&response(Width::W32, NWD, A, [0; 5])),
        FfaError::NotSupported,
    );
}

#[test]
fn g15_a_response_to_someone_else_is_denied() {
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, echo))
        .partition(Spec::new("beta", B, |sp| {
            let request = sp.wait();
            for other in [A, C, EndpointId(1)] {
                let reply = sp.call(&response(Width::W32, B, other, [0; 5]));
                assert_error(&reply, FfaError::Denied);
            }
            // Nor in another's name.
            let reply = sp.call(&response(Width::W32, A, NWD, [0; 5]));
            assert_error(&reply, FfaError::InvalidParameters);
            sp.respond(&request, [7; 5]);
        }))
        .boot();
    let reply = sim.core(0).call(&request(Width::W32, NWD, B, [0; 5]));
    assert_eq!(reply.x[3], 7);
}

#[test]
fn g16_a_response_has_the_form_of_its_request() {
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, |sp| {
            let ids = EndpointId::pair(A, NWD);
            let two = call([
                Function::MsgSendDirectResp2.id(Width::W64),
                ids,
                0,
                0,
                0,
                0,
                0,
                0,
            ]);
            let one = response(Width::W64, A, NWD, [0; 5]);
            let request = sp.wait();
            assert_function(&request, Function::MsgSendDirectReq);
            assert_error(&sp.call(&two), FfaError::Denied);
            let request = sp.call(&one);
            assert_function(&request, Function::MsgSendDirectReq2);
            assert_error(&sp.call(&one), FfaError::Denied);
            sp.call(&two);
        }))
        .boot();
    sim.negotiate(Version::V1_2);
    assert_function(
        &sim.core(0).call(&request(Width::W64, NWD, A, [0; 5])),
        Function::MsgSendDirectResp,
    );
    let id = Function::MsgSendDirectReq2.id(Width::W64);
    let two = call([id, EndpointId::pair(NWD, A), 0, 0, 0, 0, 0, 0]);
    assert_function(&sim.core(0).call(&two), Function::MsgSendDirectResp2);
}

#[test]
fn g19_a_32_bit_request_shows_the_receiver_only_its_lower_halves() {
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, |sp| {
            let mut request = sp.wait();
            loop {
                assert_eq!(request.x[1], u64::from(A.0));
                assert_eq!(request.x[2], 0);
                assert_eq!(request.x[3..8], [0x89ab_cdef; 5]);
                // x8 to x30 are the partition's own from its last call.
                for (index, value) in (8u64..).zip(&request.x[8..]) {
                    assert_eq!(*value, canary(index));
                }
                request = sp.respond(&request, [0x0123_4567_89ab_cdef; 5]);
            }
        }))
        .boot();
    let mut message = request(Width::W32, NWD, A, [0x0123_4567_89ab_cdef; 5]);
    message.x[1] |= 0xffff_ffff_0000_0000;
    message.x[0] |= 0xdead_beef_0000_0000;
    let reply = sim.core(0).call(&message);
    assert_eq!(reply.x[0], Function::MsgSendDirectResp.id(Width::W32));
    assert_eq!(reply.x[3..8], [0x89ab_cdef; 5]);
}

#[test]
fn l1_extended_registers_follow_the_version_of_the_caller() {
    for (version, cleared) in [
        (Version::V1_0, false),
        (Version::V1_1, false),
        (Version::V1_2, true),
        (Version::V1_3, true),
    ] {
        let mut sim = echo_and_proxy();
        sim.negotiate(version);
        let unknown = call([0xc400_00ef, 0, 0, 0, 0, 0, 0, 0]);
        let wide = request(Width::W64, NWD, A, [1; 5]);
        let narrow = request(Width::W32, NWD, A, [1; 5]);
        let id_get = ffa(Function::IdGet, [0; 4]);
        for (message, cleared) in [
            (&unknown, cleared),
            (&wide, cleared),
            (&narrow, false),
            (&id_get, false),
        ] {
            let reply = sim.core(0).call(message);
            for index in 8..31u64 {
                let expected = if cleared && index < 18 {
                    0
                } else {
                    canary(index)
                };
                assert_eq!(reply.x[index as usize], expected, "{version} x{index}");
            }
        }
    }
}

#[test]
fn v18_the_sve_hint_is_not_part_of_the_function_id() {
    let mut sim = echo_and_proxy();
    let mut message: Registers = request(Width::W64, NWD, A, [9; 5]);
    message.x[0] |= 1 << 16;
    let reply = sim.core(0).call(&message);
    assert_eq!(reply.x[0], Function::MsgSendDirectResp.id(Width::W64));
}
