// SPDX-License-Identifier: MIT OR Apache-2.0
//! Framework messages and VM availability: abuse cases G8, G9 and G14 to G16.

use bulkhead_abi::framework::{FRAMEWORK, Message};
use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Version, Width};
use bulkhead_core::framework::{Route, TABLE, route};
use bulkhead_core::vcpu::StateName;
use bulkhead_sim::*;

const NWD: EndpointId = EndpointId(0);
/// Subscribed to both messages.
const A: EndpointId = EndpointId(0x8001);
/// Subscribed to neither.
const B: EndpointId = EndpointId(0x8002);
/// Makes calls.
const C: EndpointId = EndpointId(0x8003);
/// The SPMC.
const SPMC: EndpointId = EndpointId(0x8000);
const VM: u64 = 7;
const WIDTHS: [Width; 2] = [Width::W32, Width::W64];

/// Answers a framework request with `status`, and a partition message with what the last framework
/// request had in x0 to x7, without w1.
fn agent(status: u64) -> impl Fn(&mut Sp) + Send + Sync {
    move |sp: &mut Sp| {
        let mut request = sp.wait();
        let mut last = [0; 5];
        loop {
            if request.x[2] == 0 {
                request = sp.respond(&request, last);
            } else {
                last = [2, 3, 4, 5, 6].map(|register: usize| request.x[register]);
                request = sp.call(&answer(&request, status));
            }
        }
    }
}

/// The answer to a framework request: the next number, and a status in w3; w4 to w7 are junk.
fn answer(request: &Registers, status: u64) -> Registers {
    let width = WIDTHS[usize::from(request.x[0] & 1 << 30 != 0)];
    let junk = 0x1111_2222_3333_4444;
    call([
        Function::MsgSendDirectResp.id(width),
        EndpointId::pair(request.receiver(), request.sender()),
        request.x[2] + 1,
        status,
        junk,
        junk,
        junk,
        junk,
    ])
}

/// A framework message with this w2, of `from` to `to`, about a VM.
fn message(width: Width, from: EndpointId, to: EndpointId, w2: u64, vm: u64) -> Registers {
    let mut message = request(width, from, to, [0xaaaa_0003, 0xaaaa_0004, vm, 6, 7]);
    message.x[2] = w2;
    message
}

fn about(request: Message, to: EndpointId) -> Registers {
    message(Width::W32, NWD, to, u64::from(request.word()), VM)
}

fn subscribed(spec: Spec) -> Spec {
    spec.with(|config| {
        let both = Properties::VM_CREATED.union(Properties::VM_DESTROYED);
        config.properties = config.properties.union(both);
    })
}

struct System {
    sim: Sim,
    c: Puppet,
}

fn system_of(status: u64) -> System {
    let (gamma, c) = Puppet::new("gamma", C);
    let mut sim = Sim::builder()
        .partition(subscribed(Spec::new("alpha", A, agent(status))))
        .partition(Spec::new("beta", B, agent(status)))
        .partition(gamma)
        .boot();
    sim.negotiate(Version::V1_2);
    System { sim, c }
}

fn waiting(sim: &Sim) {
    for partition in 0..2 {
        assert_eq!(sim.state(partition, 0), StateName::Waiting);
    }
}

/// What the last framework request of the agent at `id` had in x2 to x6.
fn last(sim: &mut Sim, id: EndpointId) -> [u64; 5] {
    let reply = sim.core(0).call(&request(Width::W64, NWD, id, [0; 5]));
    assert_function(&reply, Function::MsgSendDirectResp);
    reply.x[3..8].try_into().unwrap()
}

#[test]
fn a25_a_subscriber_is_told_of_vms_and_its_status_goes_back() {
    for (request, number) in [
        (Message::VmCreatedRequest, 5),
        (Message::VmDestroyedRequest, 7),
    ] {
        for width in WIDTHS {
            for status in [0, 0xffff_fffe, 0xffff_fff9] {
                let System { mut sim, .. } = system_of(status);
                let w2 = u64::from(request.word());
                // Reserved bits of w5, and w6 and w7, are ignored; nothing of them arrives.
                let asked = message(width, NWD, A, w2, 0xdead_0000 | VM);
                let reply = sim.core(0).call(&asked);
                let expected = [
                    Function::MsgSendDirectResp.id(width),
                    EndpointId::pair(A, NWD),
                    u64::from(FRAMEWORK) | number,
                    status,
                    0,
                    0,
                    0,
                    0,
                ];
                assert_eq!(reply.x[..8], expected, "{request:?} {width:?}");
                waiting(&sim);
                assert_eq!(last(&mut sim, A), [w2, 0xaaaa_0003, 0xaaaa_0004, VM, 0]);
            }
        }
    }
}

#[test]
fn a25_the_upper_halves_of_a_message_do_not_arrive() {
    let System { mut sim, .. } = system_of(0xdead_0000_0000_0000);
    let mut asked = about(Message::VmCreatedRequest, A);
    asked.x[0] = Function::MsgSendDirectReq.id(Width::W64);
    for x in &mut asked.x[1..8] {
        *x |= 0xdead_beef_0000_0000;
    }
    let reply = sim.core(0).call(&asked);
    assert_eq!(reply.x[3], 0);
    let w2 = u64::from(Message::VmCreatedRequest.word());
    assert_eq!(last(&mut sim, A), [w2, 0xaaaa_0003, 0xaaaa_0004, VM, 0]);
}

#[test]
fn a25_who_did_not_subscribe_gets_nothing() {
    let System { mut sim, .. } = system_of(0);
    for request in [Message::VmCreatedRequest, Message::VmDestroyedRequest] {
        for receiver in [
            B,
            C,
            EndpointId(0x8004),
            EndpointId(0x8000),
            EndpointId(3),
            NWD,
        ] {
            let reply = sim.core(0).call(&about(request, receiver));
            assert_error(&reply, FfaError::InvalidParameters);
        }
    }
    assert_eq!(last(&mut sim, B), [0; 5]);
    waiting(&sim);
}

#[test]
fn a25_each_subscription_is_for_its_own_message() {
    use Message::{VmCreatedRequest as Created, VmDestroyedRequest as Destroyed};
    let cases = [
        (Properties::VM_CREATED, Created, Destroyed),
        (Properties::VM_DESTROYED, Destroyed, Created),
    ];
    for (subscription, taken, refused) in cases {
        let spec = Spec::new("alpha", A, agent(0))
            .with(|config| config.properties = config.properties.union(subscription));
        let mut sim = Sim::builder().partition(spec).boot();
        sim.negotiate(Version::V1_1);
        let reply = sim.core(0).call(&about(taken, A));
        assert_function(&reply, Function::MsgSendDirectResp);
        let reply = sim.core(0).call(&about(refused, A));
        assert_error(&reply, FfaError::InvalidParameters);
    }
}

#[test]
fn a25_a_subscription_counts_where_discovery_shows_it() {
    let boot = |spec: Spec, version| {
        let mut sim = Sim::builder().partition(subscribed(spec)).boot();
        sim.negotiate(version);
        sim.core(0).call(&about(Message::VmCreatedRequest, A))
    };
    let alpha = || Spec::new("alpha", A, agent(0));
    // Neither version has the bits in 1.0, and who takes no direct requests has none.
    let old = alpha().with(|config| config.version = Version::V1_0);
    assert_error(&boot(old, Version::V1_2), FfaError::InvalidParameters);
    assert_error(&boot(alpha(), Version::V1_0), FfaError::InvalidParameters);
    let deaf = alpha().with(|config| {
        config.properties = config.properties.without(Properties::DIRECT_REQ_RECEIVE);
    });
    assert_error(&boot(deaf, Version::V1_2), FfaError::InvalidParameters);
    assert_function(&boot(alpha(), Version::V1_1), Function::MsgSendDirectResp);
}

#[test]
fn a25_an_id_that_no_vm_has_is_refused() {
    let System { mut sim, .. } = system_of(0);
    for vm in [0, 0x8000, 0x8001, 0xffff, 0x1_0000] {
        let w2 = u64::from(Message::VmCreatedRequest.word());
        let reply = sim.core(0).call(&message(Width::W32, NWD, A, w2, vm));
        assert_error(&reply, FfaError::InvalidParameters);
    }
    assert_eq!(last(&mut sim, A), [0; 5]);
}

#[test]
fn g9_only_the_hypervisor_speaks_of_vms() {
    let System { mut sim, c } = system_of(0);
    for request in [Message::VmCreatedRequest, Message::VmDestroyedRequest] {
        let w2 = u64::from(request.word());
        for vm in [1, 7, 0x7fff].map(EndpointId) {
            let reply = sim.core(0).call(&message(Width::W32, vm, A, w2, VM));
            assert_error(&reply, FfaError::InvalidParameters);
        }
        let reply = c.call(sim.core(0), &message(Width::W32, C, A, w2, VM));
        assert_error(&reply, FfaError::InvalidParameters);
    }
    assert_eq!(last(&mut sim, A), [0; 5]);
    waiting(&sim);
}

#[test]
fn a24_every_number_of_the_normal_world_is_served_or_refused_as_the_table_says() {
    let System { mut sim, .. } = system_of(0);
    for number in 0..=0xff {
        let w2 = u64::from(FRAMEWORK | number);
        let reply = sim.core(0).call(&message(Width::W32, NWD, A, w2, VM));
        let served = Message::ALL.into_iter().any(|message| {
            u32::from(message.number()) == number
                && matches!(route(message), Some(Route::HypervisorToPartition(_)))
        });
        if served {
            assert_eq!(reply.x[2], w2 + 1);
        } else {
            assert_error(&reply, FfaError::InvalidParameters);
        }
    }
    waiting(&sim);
}

#[test]
fn a24_every_number_of_a_partition_is_refused() {
    let System { mut sim, c } = system_of(0);
    for number in 0..=0xff {
        let w2 = u64::from(FRAMEWORK | number);
        let reply = c.call(sim.core(0), &message(Width::W32, C, A, w2, VM));
        assert_error(&reply, FfaError::InvalidParameters);
        // Nor has it a framework request to answer.
        let answers = Message::ALL
            .into_iter()
            .find(|message| u32::from(message.number()) == number)
            .is_some_and(|message| message.response().is_none());
        let mut response = message(Width::W32, C, NWD, w2, 0);
        response.x[0] = Function::MsgSendDirectResp.id(Width::W32);
        let reply = c.call(sim.core(0), &response);
        assert_error(
            &reply,
            if answers {
                FfaError::Denied
            } else {
                FfaError::InvalidParameters
            },
        );
    }
    assert_eq!(last(&mut sim, A), [0; 5]);
}

#[test]
fn a24_every_number_of_the_spmd_is_answered_as_the_table_says() {
    let mut sim = system_of(0).sim;
    for number in 0..=0xff {
        let w2 = u64::from(FRAMEWORK | number);
        let asked = message(Width::W32, EndpointId::SPMD, SPMC, w2, 0x1_0002);
        let reply = sim.core(0).call(&asked);
        let mut own = TABLE.iter().filter(|row| row.route == Route::SpmdToSpmc);
        match own.find(|row| u32::from(row.request.number()) == number) {
            Some(row) => {
                let response = row.request.response().unwrap();
                assert_eq!(reply.x[0], Function::MsgSendDirectResp.id(Width::W32));
                assert_eq!(reply.x[2], u64::from(response.word()));
            }
            None => assert_error(&reply, FfaError::InvalidParameters),
        }
    }
    waiting(&sim);
}

#[test]
fn a24_a_framework_request_has_no_plain_answer_and_the_other_way_round() {
    // Tries every wrong answer to each request before the right one; x3 of the right one is how many
    // were refused as they must be.
    let program = |sp: &mut Sp| {
        let mut asked = sp.wait();
        loop {
            let framework = asked.x[2] != 0;
            let mut wrong = vec![];
            for answers in Message::ALL {
                if answers.response().is_none() && u64::from(answers.word()) != asked.x[2] + 1 {
                    wrong.push((u64::from(answers.word()), FfaError::Denied));
                }
            }
            for w2 in [
                asked.x[2] | u64::from(FRAMEWORK),
                1,
                0x8000_0105,
                0x8000_0003,
            ] {
                wrong.push((w2, FfaError::InvalidParameters));
            }
            if framework {
                wrong.push((0, FfaError::Denied));
            }
            let mut refused = 0;
            for (w2, error) in &wrong {
                let mut reply = answer(&asked, 0);
                reply.x[2] = *w2;
                let outcome = sp.call(&reply);
                assert_error(&outcome, *error);
                refused += 1;
            }
            // For somebody else, and as somebody else.
            let mut foreign = answer(&asked, 0);
            foreign.x[1] = EndpointId::pair(sp.id, EndpointId(1));
            if framework {
                assert_error(&sp.call(&foreign), FfaError::Denied);
                foreign.x[1] = EndpointId::pair(B, NWD);
                assert_error(&sp.call(&foreign), FfaError::InvalidParameters);
                // Nor does the second form answer it.
                let mut second = call([0; 8]);
                second.x[0] = Function::MsgSendDirectResp2.id(Width::W64);
                second.x[1] = EndpointId::pair(sp.id, NWD);
                assert_error(&sp.call(&second), FfaError::Denied);
                asked = sp.call(&answer(&asked, refused));
            } else {
                asked = sp.respond(&asked, [refused, 0, 0, 0, 0]);
            }
        }
    };
    let mut sim = Sim::builder()
        .partition(subscribed(Spec::new("alpha", A, program)))
        .boot();
    sim.negotiate(Version::V1_2);
    let reply = sim.core(0).call(&about(Message::VmCreatedRequest, A));
    assert_eq!((reply.x[2], reply.x[3]), (0x8000_0005, 11));
    let reply = sim.core(0).call(&about(Message::VmDestroyedRequest, A));
    assert_eq!((reply.x[2], reply.x[3]), (0x8000_0007, 11));
    let reply = sim.core(0).call(&request(Width::W32, NWD, A, [0; 5]));
    assert_eq!((reply.x[2], reply.x[3]), (0, 11));
}

#[test]
fn a25_a_handler_may_be_interrupted_and_goes_on() {
    let mut sim = Sim::builder()
        .partition(subscribed(Spec::new("alpha", A, |sp| {
            let mut asked = sp.wait();
            loop {
                let kept = asked.clone();
                assert_eq!(sp.spin(&kept), kept, "an interrupt changes nothing");
                asked = sp.call(&answer(&kept, 0));
            }
        })))
        .boot();
    sim.negotiate(Version::V1_2);
    sim.core(0).raise_in_spin(Pending::NonSecure);
    let reply = sim.core(0).call(&about(Message::VmCreatedRequest, A));
    assert_eq!(reply.x[0], Function::Interrupt.id(Width::W32));
    assert_eq!(sim.state(0, 0), StateName::Preempted);
    let busy = sim.core(0).call(&about(Message::VmDestroyedRequest, A));
    assert_error(&busy, FfaError::Busy);
    sim.core(0).take_non_secure_interrupts();
    let reply = sim.core(0).call(&run(A, 0));
    assert_eq!(reply.x[2], 0x8000_0005);
    assert_eq!(sim.state(0, 0), StateName::Waiting);
}

#[test]
fn a25_a_handler_that_ends_is_told_of_once() {
    let mut sim = Sim::builder()
        .partition(subscribed(Spec::new("alpha", A, |sp| {
            let asked = sp.wait();
            let fault = bulkhead_core::event::Fault {
                kind: bulkhead_core::event::FaultKind::SError,
                syndrome: 0,
                address: 0,
            };
            sp.trap(&asked, bulkhead_core::event::Event::Fault(fault));
        })))
        .boot();
    sim.negotiate(Version::V1_2);
    for _ in 0..2 {
        let reply = sim.core(0).call(&about(Message::VmDestroyedRequest, A));
        assert_error(&reply, FfaError::Aborted);
    }
    assert_eq!(sim.state(0, 0), StateName::Aborted);
}

#[test]
fn a25_a_vm_that_goes_with_notifications_breaks_nothing() {
    let System { mut sim, .. } = system_of(0);
    let create = ffa(Function::NotificationBitmapCreate, [VM, 1, 0, 0]);
    let destroy = ffa(Function::NotificationBitmapDestroy, [VM, 0, 0, 0]);
    assert_function(&sim.core(0).call(&create), Function::Success);
    let reply = sim.core(0).call(&about(Message::VmDestroyedRequest, A));
    assert_eq!(reply.x[2], 0x8000_0007);
    // The bitmaps are the hypervisor's to destroy, before or after.
    assert_error(&sim.core(0).call(&create), FfaError::Denied);
    assert_function(&sim.core(0).call(&destroy), Function::Success);
    let reply = sim.core(0).call(&about(Message::VmDestroyedRequest, A));
    assert_eq!(reply.x[2], 0x8000_0007);
}
