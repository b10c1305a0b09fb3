// SPDX-License-Identifier: MIT OR Apache-2.0
//! FFA_YIELD, and who is busy when: abuse cases G13, G18, G20, G33, R12 and A-76.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Width};
use bulkhead_core::partition::Health;
use bulkhead_core::vcpu::{NonSecureInterrupts, StateName};
use bulkhead_sim::*;

const NWD: EndpointId = EndpointId(0);
const A: EndpointId = EndpointId(0x8001);
const B: EndpointId = EndpointId(0x8002);

fn echo(sp: &mut Sp) {
    let mut message = sp.wait();
    loop {
        message = sp.respond(&message, [message.x[3] + 1, 0, 0, 0, 0]);
    }
}

fn relay(to: EndpointId) -> impl Fn(&mut Sp) + Send + Sync {
    move |sp| {
        let mut message = sp.wait();
        loop {
            let reply = sp.call(&request(Width::W64, sp.id, to, [message.x[3], 0, 0, 0, 0]));
            message = sp.respond(&message, [reply.x[0], reply.x[2], reply.x[3], 0, 0]);
        }
    }
}

/// FFA_YIELD for so many nanoseconds.
fn yields(nanoseconds: u64) -> Registers {
    let (low, high) = (nanoseconds & 0xffff_ffff, nanoseconds >> 32);
    ffa(Function::Yield, [0, low, high, 0])
}

/// Yields as long as each request says, and answers what that call returned.
fn yielding(sp: &mut Sp) {
    let mut message = sp.wait();
    loop {
        let call = yields(message.x[3]);
        let reply = sp.call(&call);
        assert_eq!(
            reply.x[18..],
            call.x[18..],
            "L1: x18 to x30 are the caller's"
        );
        message = sp.respond(
            &message,
            [reply.x[0], reply.x[1], reply.x[2], reply.x[3], 0],
        );
    }
}

fn to(id: EndpointId, payload: u64) -> Registers {
    request(Width::W64, NWD, id, [payload, 0, 0, 0, 0])
}

#[track_caller]
fn assert_yield(reply: &Registers, from: EndpointId, nanoseconds: u64) {
    assert_function(reply, Function::Yield);
    let hint = [nanoseconds & 0xffff_ffff, nanoseconds >> 32];
    assert_eq!(reply.x[1], EndpointId::pair(from, EndpointId(0)));
    assert_eq!(
        (reply.x[2..4].to_vec(), &reply.x[4..8]),
        (hint.to_vec(), &[0; 4][..])
    );
}

#[test]
fn g33_the_normal_world_gets_every_timeout_and_runs_the_partition_when_it_likes() {
    for nanoseconds in [0, 1, 0xffff_ffff, 0x1_0000_0000, 1 << 63, u64::MAX] {
        let mut sim = Sim::builder()
            .partition(Spec::new("alpha", A, yielding))
            .boot();
        let before = sim.core(0).machine.now;
        assert_yield(&sim.core(0).call(&to(A, nanoseconds)), A, nanoseconds);
        assert_eq!(
            sim.core(0).machine.now,
            before,
            "Bulkhead does not wait for it"
        );
        assert_eq!(sim.state(0, 0), StateName::Preempted);
        // Until then it takes no request.
        assert_error(&sim.core(0).call(&to(A, 0)), FfaError::Busy);
        let reply = sim.core(0).call(&run(A, 0));
        assert_function(&reply, Function::MsgSendDirectResp);
        let success = Function::Success.id(Width::W32);
        assert_eq!(reply.x[3..7], [success, 0, 0, 0]);
        assert_eq!(sim.state(0, 0), StateName::Waiting);
    }
}

#[test]
fn g33_reserved_registers_and_another_ones_name_are_refused() {
    let (spec, puppet) = Puppet::new("alpha", A);
    let (other, _) = Puppet::new("beta", B);
    let mut sim = Sim::builder().partition(spec).partition(other).boot();
    let pair = |id, vcpu| EndpointId::pair(id, EndpointId(vcpu));
    let mut wrong: Vec<Registers> = [1, pair(B, 0), pair(A, 1), pair(NWD, 1)]
        .map(|w1| ffa(Function::Yield, [w1, 0, 0, 0]))
        .to_vec();
    for register in 4..8 {
        let mut call = yields(1);
        call.x[register] = 1;
        wrong.push(call);
    }
    for call in wrong {
        assert_error(
            &puppet.call(sim.core(0), &call),
            FfaError::InvalidParameters,
        );
        assert_eq!(sim.state(0, 0), StateName::Waiting);
    }
    // There is no 64-bit form, and none for the normal world.
    let mut wide = yields(1);
    wide.x[0] |= 1 << 30;
    assert_error(&puppet.call(sim.core(0), &wide), FfaError::NotSupported);
    assert_error(&sim.core(0).call(&yields(1)), FfaError::NotSupported);
    // Its own name is no error; the normal world sees it yield.
    let own = ffa(Function::Yield, [pair(A, 0), 7, 0, 0]);
    let message = to(A, 0);
    let caller = sim.core(0);
    puppet.ask(&own);
    assert_yield(&caller.call(&message), A, 7);
    assert_function(&caller.call(&run(A, 0)), Function::MsgSendDirectResp);
}

#[test]
fn a76_a_chain_goes_to_the_normal_world_whole_and_comes_back_whole() {
    let mut sim = Sim::builder()
        .cores(2)
        .partition(Spec::new("alpha", A, relay(B)))
        .partition(Spec::new("beta", B, yielding))
        .boot();
    sim.core(1).switch_on();
    assert_yield(&sim.core(0).call(&to(A, 5)), B, 5);
    let states = |sim: &Sim| (sim.state(0, 0), sim.state(1, 0));
    assert_eq!(states(&sim), (StateName::Blocked, StateName::Preempted));
    // Neither the requester nor another core goes on with it.
    assert_error(&sim.core(0).call(&run(A, 0)), FfaError::Denied);
    assert_error(&sim.core(1).call(&run(B, 0)), FfaError::Denied);
    assert_error(&sim.core(1).call(&to(B, 0)), FfaError::Busy);
    assert_eq!(states(&sim), (StateName::Blocked, StateName::Preempted));
    let reply = sim.core(0).call(&run(B, 0));
    assert_function(&reply, Function::MsgSendDirectResp);
    assert_eq!(reply.x[1], EndpointId::pair(A, NWD));
    assert_eq!(reply.x[3], Function::MsgSendDirectResp.id(Width::W64));
    assert_eq!(reply.x[5], Function::Success.id(Width::W32));
    assert_eq!(states(&sim), (StateName::Waiting, StateName::Waiting));
}

#[test]
fn a76_a_partition_that_queues_interrupts_lets_them_in_while_it_yields() {
    let spec = Spec::new("alpha", A, yielding)
        .with(|config| config.non_secure_interrupts = NonSecureInterrupts::Queued);
    let mut sim = Sim::builder().partition(spec).boot();
    assert_yield(&sim.core(0).call(&to(A, 5)), A, 5);
    let machine = &sim.core(0).machine;
    assert_eq!((machine.masked, machine.deadline), (false, None));
    assert_function(&sim.core(0).call(&run(A, 0)), Function::MsgSendDirectResp);
}

#[test]
fn a76_a_chain_that_bulkhead_began_goes_on_after_the_timeout_and_not_before() {
    // Alpha asks beta while it initialises.
    let seen = Arc::new(Mutex::new(None));
    for (nanoseconds, waited) in [(0, 0), (1, 1), (5_000_000, 5_000_000)] {
        let shared = seen.clone();
        let ask = move |sp: &mut Sp| {
            let reply = sp.call(&request(Width::W64, A, B, [nanoseconds, 0, 0, 0, 0]));
            *shared.lock().unwrap() = Some(reply);
        };
        let mut sim = Sim::builder()
            .partition(Spec::new("beta", B, yielding))
            .partition(Spec::new("alpha", A, ask))
            .boot();
        assert_eq!(sim.core(0).machine.now, waited);
        let reply = seen.lock().unwrap().take().expect("an answer");
        assert_function(&reply, Function::MsgSendDirectResp);
        assert_eq!(reply.x[3], Function::Success.id(Width::W32));
        assert_eq!(
            (sim.state(0, 0), sim.state(1, 0)),
            (StateName::Waiting, StateName::Waiting)
        );
    }
}

#[test]
fn g33_a_huge_timeout_does_not_outlast_the_time_to_initialise() {
    let ask = move |sp: &mut Sp| {
        sp.call(&request(Width::W64, A, B, [u64::MAX, 0, 0, 0, 0]));
    };
    let mut sim = Sim::builder()
        .partition(Spec::new("beta", B, yielding))
        .partition(Spec::new("alpha", A, ask))
        .boot();
    // The init timeout is 900 ms.
    assert_eq!(sim.core(0).machine.now, 900_000_000);
    assert_eq!(sim.spmc().partitions()[1].health(), Health::Aborted);
    let reply = sim.core(0).call(&to(B, 3));
    assert_yield(&reply, B, 3);
}

#[test]
fn g13_a_context_that_is_off_is_busy() {
    // Alpha never said where its second context begins.
    let mut sim = Sim::builder()
        .cores(2)
        .partition(Spec::new("alpha", A, echo).multi_core())
        .boot();
    sim.core(1).switch_on();
    assert_eq!(sim.state(0, 1), StateName::Off);
    assert_error(&sim.core(1).call(&to(A, 0)), FfaError::Busy);
    assert_error(&sim.core(1).call(&run(A, 1)), FfaError::Busy);
    assert_eq!(sim.state(0, 1), StateName::Off);
    assert_function(&sim.core(0).call(&to(A, 0)), Function::MsgSendDirectResp);
}

#[test]
fn g18_a_chain_that_bulkhead_began_does_not_get_a_partition_out_of_one_of_the_normal_world() {
    for queue in [0, 2] {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = seen.clone();
        let alpha = Spec::new("alpha", A, move |sp| {
            if sp.vcpu == 0 {
                let mut register = call([0; 8]);
                register.x[0] = Function::SecondaryEpRegister.id(Width::W64);
                register.x[1] = sp.entry_point();
                assert_function(&sp.call(&register), Function::Success);
            } else {
                let reply = sp.call(&request(Width::W64, A, B, [0; 5]));
                shared.lock().unwrap().push(error(&reply));
            }
        });
        let mut sim = Sim::builder()
            .cores(2)
            .partition(alpha.multi_core())
            .partition(Spec::new("beta", B, yielding).queue(queue))
            .boot();
        assert_yield(&sim.core(0).call(&to(B, 9)), B, 9);
        sim.core(1).switch_on();
        let denied = FfaError::Denied.to_register();
        assert_eq!(*seen.lock().unwrap(), [Some(denied)]);
        assert_eq!(
            (sim.state(0, 1), sim.state(1, 0)),
            (StateName::Waiting, StateName::Preempted)
        );
        assert_function(&sim.core(0).call(&run(B, 0)), Function::MsgSendDirectResp);
    }
}

#[test]
fn g20_a_request_does_not_need_the_buffers_of_the_caller() {
    let mut sim = Sim::builder().partition(Spec::new("alpha", A, echo)).boot();
    let map = [
        Function::RxtxMap.id(Width::W64),
        0x4000_0000,
        0x4000_1000,
        1,
        0,
        0,
        0,
        0,
    ];
    assert_function(&sim.core(0).call(&call(map)), Function::Success);
    let list = ffa(Function::PartitionInfoGet, [0; 4]);
    assert_function(&sim.core(0).call(&list), Function::Success);
    assert_error(&sim.core(0).call(&list), FfaError::Busy);
    let full = sim.rx(0);
    let reply = sim.core(0).call(&to(A, 4));
    assert_function(&reply, Function::MsgSendDirectResp);
    assert_eq!(reply.x[3], 5);
    assert_eq!(sim.rx(0), full);
    assert_error(&sim.core(0).call(&list), FfaError::Busy);
}

#[test]
fn r12_a_context_is_busy_until_the_core_that_leaves_it_has_saved_it() {
    let (entered, wait_entered) = channel();
    let (leave, wait_leave) = channel::<()>();
    let ends = Mutex::new((entered, wait_leave));
    let sim = Sim::builder()
        .cores(2)
        .partition(Spec::new("alpha", A, move |sp| {
            loop {
                sp.wait();
                let ends = ends.lock().unwrap();
                let _ = ends.0.send(());
                let _ = ends.1.recv();
            }
        }))
        .boot();
    let spmc = sim.shared_spmc();
    let mut cores = sim.into_cores();
    let (mut second, mut first) = (cores.pop().unwrap(), cores.pop().unwrap());
    second.switch_on();
    std::thread::scope(|scope| {
        let before = scope.spawn(move || first.call(&run(A, 0)));
        wait_entered.recv().unwrap();
        assert_error(&second.call(&run(A, 0)), FfaError::Busy);
        assert_eq!(spmc.partitions()[0].vcpus()[0].state(), StateName::Running);
        leave.send(()).unwrap();
        assert_function(&before.join().unwrap(), Function::MsgWait);
        leave.send(()).unwrap();
        assert_function(&second.call(&run(A, 0)), Function::MsgWait);
    });
}
