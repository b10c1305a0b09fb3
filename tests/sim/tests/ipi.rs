// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts between the execution contexts of a partition: C-15 and abuse case I14.

use std::sync::Arc;

use bulkhead_abi::notification::InfoLists;
use bulkhead_abi::paravirt::{self, INTID_IPI, Paravirt};
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, VcpuIndex, Version, Width};
use bulkhead_core::vcpu::StateName;
use bulkhead_sim::*;

const NWD: EndpointId = EndpointId(0);
const A: EndpointId = EndpointId(0x8001);
/// What a request asks for: an IPI to the context in the payload, to wait at the gate, or nothing.
const SEND: u64 = 1;
const PASS: u64 = 2;
const LOOK: u64 = 3;

/// Serves requests on each core; answers what it fetched, or what the call returned.
fn program(gate: Arc<Gate>) -> impl Fn(&mut Sp) + Send + Sync {
    move |sp| {
        if sp.vcpu == 0 {
            let mut register = call([0; 8]);
            register.x[0] = Function::SecondaryEpRegister.id(Width::W64);
            register.x[1] = sp.entry_point();
            assert_function(&sp.call(&register), Function::Success);
        }
        sp.enable(&[INTID_IPI]);
        let mut message = sp.wait();
        loop {
            let answer = match message.x[3] {
                SEND => sp.paravirtual(Paravirt::SendIpi, [message.x[4], 0, 0]),
                PASS => {
                    gate.pass();
                    sp.fetch().map_or(0, u64::from)
                }
                LOOK => sp.fetch().map_or(0, u64::from),
                _ => 0,
            };
            message = if message.x[0] == Function::Run.id(Width::W32) {
                sp.wait()
            } else {
                sp.respond(&message, [answer, 0, 0, 0, 0])
            };
        }
    }
}

fn to(what: u64, target: u64) -> Registers {
    request(Width::W64, NWD, A, [what, target, 0, 0, 0])
}

fn answer(core: &mut Core, what: u64, target: u64) -> u64 {
    let reply = core.call(&to(what, target));
    assert_function(&reply, Function::MsgSendDirectResp);
    reply.x[3]
}

fn info(core: &mut Core) -> Option<[u64; 6]> {
    let id = Function::NotificationInfoGet.id(Width::W64);
    let reply = core.call(&call([id, 0, 0, 0, 0, 0, 0, 0]));
    if error(&reply) == Some(FfaError::NoData.to_register()) {
        return None;
    }
    Some(reply.x[2..8].try_into().unwrap())
}

fn only(vcpu: u16) -> Option<[u64; 6]> {
    let mut lists = InfoLists::new(Width::W64);
    lists.push(A, &[VcpuIndex(vcpu)]).unwrap();
    Some(lists.results())
}

fn boot(cores: usize) -> (Sim, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let mut sim = Sim::builder()
        .cores(cores)
        .partition(Spec::new("alpha", A, program(gate.clone())).multi_core())
        .boot();
    sim.negotiate(Version::OURS);
    for core in 1..cores {
        sim.core(core).switch_on();
    }
    (sim, gate)
}

/// How often each context got one, by what became of it.
fn raised(sim: &Sim, vcpu: usize) -> u64 {
    sim.spmc().partitions()[0].vcpus()[vcpu]
        .interrupts
        .tally()
        .raised
}

#[test]
fn i14_a_context_that_is_not_there_or_off_gets_none() {
    let (mut sim, _) = boot(2);
    for target in [2, 3, 8, 0xffff, 0x1_0000, 1 << 32, (1 << 32) | 1, u64::MAX] {
        assert_eq!(answer(sim.core(0), SEND, target), paravirt::FAILURE);
    }
    sim.core(1).switch_off();
    assert_eq!(sim.state(0, 1), StateName::Off);
    assert_eq!(answer(sim.core(0), SEND, 1), paravirt::FAILURE);
    assert_eq!((raised(&sim, 0), raised(&sim, 1)), (0, 0));
    assert_eq!(info(sim.core(0)), None);
    assert_eq!(sim.core(0).machine.schedule_receiver, 0);
}

#[test]
fn i14_a_single_core_partition_has_nobody_to_send_one_to() {
    let (spec, puppet) = Puppet::new("alpha", A);
    let mut sim = Sim::builder().partition(spec).boot();
    let send = call([Paravirt::SendIpi.id(), 0, 0, 0, 0, 0, 0, 0]);
    let reply = puppet.call(sim.core(0), &send);
    assert_eq!(reply.x[0], paravirt::FAILURE);
    assert_eq!(reply.x[1..], send.x[1..]);
    assert_eq!(raised(&sim, 0), 0);
}

#[test]
fn i14_a_context_may_send_one_to_itself() {
    let (mut sim, _) = boot(2);
    // It is pending when the request that sent it is over, which nobody forgets.
    assert_eq!(answer(sim.core(0), SEND, 0), paravirt::SUCCESS);
    assert_eq!(info(sim.core(0)), only(0));
    assert_eq!(answer(sim.core(0), LOOK, 0), u64::from(INTID_IPI));
    assert_eq!(answer(sim.core(0), LOOK, 0), 0);
    assert_eq!((raised(&sim, 0), raised(&sim, 1)), (1, 0));
    assert_eq!(info(sim.core(0)), None);
}

#[test]
fn i14_the_scheduler_is_told_of_a_context_that_waits() {
    let (mut sim, _) = boot(3);
    for round in 1..=2 {
        assert_eq!(answer(sim.core(0), SEND, 2), paravirt::SUCCESS);
        assert_eq!(answer(sim.core(0), SEND, 2), paravirt::SUCCESS);
        assert_eq!(sim.core(0).machine.schedule_receiver, round);
        assert_eq!(info(sim.core(0)), only(2));
        assert_eq!(info(sim.core(0)), None);
        assert_eq!((raised(&sim, 1), raised(&sim, 2)), (0, u64::from(round)));
        // It is entered by nobody else.
        sim.core(2).run_normal_world();
        assert_eq!(answer(sim.core(2), LOOK, 0), u64::from(INTID_IPI));
    }
}

#[test]
fn i14_a_context_that_runs_elsewhere_is_kicked() {
    let (sim, gate) = boot(2);
    let spmc = sim.shared_spmc();
    let mut cores = sim.into_cores();
    let (mut second, mut first) = (cores.pop().unwrap(), cores.pop().unwrap());
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            let got = answer(&mut second, PASS, 0);
            (second, got)
        });
        gate.reached();
        assert_eq!(answer(&mut first, SEND, 1), paravirt::SUCCESS);
        gate.open();
        let (mut second, got) = running.join().unwrap();
        assert_eq!(got, u64::from(INTID_IPI));
        assert_eq!(info(&mut first), None);
        second.run_normal_world();
    });
    let tally = spmc.partitions()[0].vcpus()[1].interrupts.tally();
    assert_eq!((tally.raised, tally.delivered), (1, 1));
}

/// It was on its way to wait when the IPI came.
#[test]
fn i14_a_context_that_waits_with_one_pending_is_told_of() {
    let (mut sim, gate) = boot(2);
    assert_eq!(answer(sim.core(0), SEND, 1), paravirt::SUCCESS);
    assert_eq!(info(sim.core(0)), only(1));
    assert_eq!(answer(sim.core(1), LOOK, 0), u64::from(INTID_IPI));
    let mut cores = sim.into_cores();
    let (mut second, mut first) = (cores.pop().unwrap(), cores.pop().unwrap());
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            // The request that it is in neither looks nor passes the gate twice.
            let got = answer(&mut second, PASS, 0);
            (second, got)
        });
        gate.reached();
        gate.open();
        let (mut second, got) = running.join().unwrap();
        assert_eq!(got, 0);
        let running = scope.spawn(|| {
            let reply = second.call(&request(Width::W64, NWD, A, [SEND, 1, 0, 0, 0]));
            assert_eq!(reply.x[3], paravirt::SUCCESS);
            second
        });
        let mut second = running.join().unwrap();
        assert_eq!(info(&mut first), only(1));
        assert_function(&second.call(&run(A, 1)), Function::MsgWait);
        assert_eq!(info(&mut first), only(1), "it is pending still");
        assert_eq!(answer(&mut second, LOOK, 0), u64::from(INTID_IPI));
        assert_eq!(info(&mut first), None);
    });
}
