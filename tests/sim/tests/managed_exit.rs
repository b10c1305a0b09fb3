// SPDX-License-Identifier: MIT OR Apache-2.0
//! Managed exits: C9 of the abuse cases, C-05 and C-06.

use bulkhead_abi::paravirt::Line;
use bulkhead_abi::{EndpointId, Function, Registers, Version, Width, paravirt};
use bulkhead_core::vcpu::{NonSecureInterrupts, StateName};
use bulkhead_core::virtual_interrupt::Lines;
use bulkhead_sim::*;

use NonSecureInterrupts::{ManagedExit, Queued, Signaled};

const NWD: EndpointId = EndpointId(0);
const A: EndpointId = EndpointId(0x8001);
const B: EndpointId = EndpointId(0x8002);
const C: EndpointId = EndpointId(0x8003);

const ME: u64 = paravirt::INTID_MANAGED_EXIT as u64;
/// The run timeout of the simulator, in ticks.
const RUN_TIMEOUT: u64 = 100_000_000;

/// Enables the interrupt as a virtual IRQ, or disables it.
fn enable(enable: bool) -> Registers {
    let id = paravirt::Paravirt::InterruptEnable.id();
    call([id, ME, u64::from(enable), 0, 0, 0, 0, 0])
}

/// Has the interrupt disabled, and answers each request when it has come to an end.
fn deaf(sp: &mut Sp) {
    assert_eq!(sp.hvc(&enable(false)).x[0], paravirt::SUCCESS);
    let mut message = sp.wait();
    loop {
        sp.spin(&call([0; 8]));
        message = sp.respond(&message, [7, 0, 0, 0, 0]);
    }
}

/// What the partition finds pending: an INTID, or [`paravirt::NO_INTERRUPT`].
fn fetch(sp: &mut Sp) -> u64 {
    let id = paravirt::Paravirt::InterruptGet.id();
    sp.hvc(&call([id, 0, 0, 0, 0, 0, 0, 0])).x[0]
}

/// Enables its managed exit interrupt, and answers each request with what `work` makes of it.
fn listening(
    work: impl Fn(&mut Sp) -> [u64; 5] + Send + Sync + 'static,
) -> impl Fn(&mut Sp) + Send + Sync {
    move |sp| {
        assert_eq!(sp.hvc(&enable(true)).x[0], paravirt::SUCCESS);
        let mut message = sp.wait();
        loop {
            let answer = work(sp);
            message = sp.respond(&message, answer);
        }
    }
}

/// Spins until it is told, and answers with what told it.
fn leaf(sp: &mut Sp) -> [u64; 5] {
    sp.spin(&call([0; 8]));
    [fetch(sp), 0, 0, 0, 0]
}

/// Asks `to`, and answers with what told it, and what the answer was: its function and payload.
fn link(to: EndpointId) -> impl Fn(&mut Sp) -> [u64; 5] + Send + Sync {
    move |sp| {
        let reply = sp.call(&request(Width::W64, sp.id, to, [0; 5]));
        [fetch(sp), reply.x[0], reply.x[3], reply.x[5], 0]
    }
}

fn spec(
    id: EndpointId,
    treatment: NonSecureInterrupts,
    program: impl Fn(&mut Sp) + Send + Sync + 'static,
) -> Spec {
    Spec::new("partition", id, program).with(|config| config.non_secure_interrupts = treatment)
}

fn ask(sim: &mut Sim, to: EndpointId) -> Registers {
    sim.core(0).call(&request(Width::W64, NWD, to, [0; 5]))
}

/// An interrupt came while the chain ran, the chain is over, and nothing is left of it.
fn assert_over(sim: &mut Sim) {
    assert_eq!(sim.core(0).machine.deadline, None);
    assert!(!sim.core(0).machine.masked);
    assert_eq!(sim.core(0).take_non_secure_interrupts(), 1);
}

const RESP: Function = Function::MsgSendDirectResp;

#[test]
fn c9_a_chain_with_a_managed_exit_at_each_depth_goes_back_in_order() {
    let mut sim = Sim::builder()
        .partition(spec(A, ManagedExit, listening(link(B))))
        .partition(spec(B, ManagedExit, listening(link(C))))
        .partition(spec(C, ManagedExit, listening(leaf)))
        .boot();
    for _ in 0..3 {
        sim.core(0).raise_in_spin(Pending::NonSecure);
        sim.core(0).machine.signals.clear();
        let reply = ask(&mut sim, A);
        assert_function(&reply, RESP);
        // A was told, and so was B before it, and C before that.
        assert_eq!(reply.x[3..6], [ME, RESP.id(Width::W64), ME]);
        assert_eq!(reply.x[6], ME);
        let told = sim.core(0).machine.signals.iter();
        assert_eq!(told.filter(|lines| **lines == Lines::IRQ).count(), 3);
        assert_over(&mut sim);
    }
    for partition in 0..3 {
        assert_eq!(sim.state(partition, 0), StateName::Waiting);
    }
}

#[test]
fn c05_a_context_that_leaves_without_looking_is_not_told_of_it_later() {
    let mut sim = Sim::builder()
        .partition(spec(
            A,
            ManagedExit,
            listening(|sp| {
                let before = fetch(sp);
                sp.spin(&call([0; 8]));
                [before, 0, 0, 0, 0]
            }),
        ))
        .boot();
    for _ in 0..2 {
        sim.core(0).raise_in_spin(Pending::NonSecure);
        let reply = ask(&mut sim, A);
        assert_function(&reply, RESP);
        assert_eq!(reply.x[3], paravirt::NO_INTERRUPT);
        assert_over(&mut sim);
    }
}

#[test]
fn c05_a_context_that_does_not_leave_is_preempted_and_goes_on_untold() {
    let mut sim = Sim::builder()
        .partition(spec(
            A,
            ManagedExit,
            listening(|sp| {
                sp.spin(&call([0; 8]));
                sp.spin(&call([0; 8]));
                [fetch(sp), 0, 0, 0, 0]
            }),
        ))
        .boot();
    sim.core(0).raise_in_spin(Pending::NonSecure);
    let before = sim.core(0).machine.now;
    assert_function(&ask(&mut sim, A), Function::Interrupt);
    assert_eq!(sim.core(0).machine.now - before, RUN_TIMEOUT);
    assert_over(&mut sim);
    let reply = sim.core(0).call(&run(A, 0));
    assert_function(&reply, RESP);
    assert_eq!(reply.x[3], paravirt::NO_INTERRUPT);
}

/// Each time the core changes hands the next one is told anew, but they have one bound together.
#[test]
fn c05_partitions_that_ask_each_other_instead_of_leaving_are_preempted_in_time() {
    const EVENT: u64 = RUN_TIMEOUT / 100;
    let mut sim = Sim::builder()
        .partition(spec(
            A,
            ManagedExit,
            listening(move |sp| {
                sp.spin(&call([0; 8]));
                for step in 0..400 {
                    let reply = sp.call(&request(Width::W64, sp.id, B, [step; 5]));
                    assert_function(&reply, RESP);
                }
                [fetch(sp), 0, 0, 0, 0]
            }),
        ))
        .partition(spec(
            B,
            ManagedExit,
            listening(|sp| [fetch(sp), 0, 0, 0, 0]),
        ))
        .boot();
    sim.core(0).raise_in_spin(Pending::NonSecure);
    sim.core(0).machine.ticks_per_event = EVENT;
    let start = sim.core(0).machine.now;
    assert_function(&ask(&mut sim, A), Function::Interrupt);
    let spent = sim.core(0).machine.now - start;
    assert!(
        (RUN_TIMEOUT..RUN_TIMEOUT + 6 * EVENT).contains(&spent),
        "{spent}"
    );
    assert_over(&mut sim);
}

#[test]
fn c06_a_callee_that_cannot_be_told_keeps_the_interrupt_waiting_for_its_caller() {
    for treatment in [Signaled, ManagedExit] {
        let mut sim = Sim::builder()
            .partition(spec(A, ManagedExit, listening(link(B))))
            .partition(spec(B, treatment, deaf))
            .boot();
        sim.core(0).raise_in_spin(Pending::NonSecure);
        let reply = ask(&mut sim, A);
        assert_function(&reply, RESP);
        assert_eq!(reply.x[3..6], [ME, RESP.id(Width::W64), 7], "{treatment:?}");
        assert_over(&mut sim);
    }
}

#[test]
fn c06_a_caller_that_asks_for_no_managed_exit_is_preempted_when_its_callee_has_left() {
    let mut sim = Sim::builder()
        .partition(spec(A, Signaled, listening(link(B))))
        .partition(spec(B, ManagedExit, listening(leaf)))
        .boot();
    sim.core(0).raise_in_spin(Pending::NonSecure);
    assert_function(&ask(&mut sim, A), Function::Interrupt);
    assert_over(&mut sim);
    assert_eq!(
        (sim.state(0, 0), sim.state(1, 0)),
        (StateName::Preempted, StateName::Waiting)
    );
    let reply = sim.core(0).call(&run(A, 0));
    assert_function(&reply, RESP);
    assert_eq!(reply.x[5], ME);
}

/// OP-TEE never enables the interrupt: that of its manifest's line is there from the first instruction of each context.
#[test]
fn c05_each_context_of_a_partition_that_asks_for_it_is_told_without_any_call() {
    for (line, signals) in [(Line::Fiq, Lines::FIQ), (Line::Irq, Lines::IRQ)] {
        let mute = |sp: &mut Sp| {
            if sp.vcpu == 0 {
                let mut register = call([0; 8]);
                register.x[0] = Function::SecondaryEpRegister.id(Width::W64);
                register.x[1] = sp.entry_point();
                assert_function(&sp.call(&register), Function::Success);
            }
            let mut message = sp.wait();
            loop {
                sp.spin(&call([0; 8]));
                message = sp.respond(&message, [7, 0, 0, 0, 0]);
            }
        };
        let asks = spec(A, ManagedExit, mute).multi_core();
        let asks = asks.with(|config| config.managed_exit_line = line);
        let mut sim = Sim::builder().cores(2).partition(asks).boot();
        sim.core(1).switch_on();
        for core in 0..2 {
            sim.core(core).raise_in_spin(Pending::NonSecure);
            sim.core(core).machine.signals.clear();
            let reply = sim.core(core).call(&request(Width::W64, NWD, A, [0; 5]));
            assert_function(&reply, RESP);
            assert_eq!(reply.x[3], 7);
            let told = sim.core(core).machine.signals.iter();
            assert_eq!(told.filter(|lines| **lines == signals).count(), 1);
            assert_eq!(sim.state(0, core), StateName::Waiting);
        }
    }
}

#[test]
fn c05_where_nobody_has_the_interrupt_enabled_the_chain_is_preempted() {
    let mut sim = Sim::builder().partition(spec(A, ManagedExit, deaf)).boot();
    sim.core(0).raise_in_spin(Pending::NonSecure);
    let before = sim.core(0).machine.now;
    assert_function(&ask(&mut sim, A), Function::Interrupt);
    assert_eq!(sim.core(0).machine.now, before);
    assert_over(&mut sim);
    assert_function(&sim.core(0).call(&run(A, 0)), RESP);
}

/// Its partition is ended while it leaves: the chain goes on without it.
#[test]
fn c9_a_context_that_faults_while_it_leaves_takes_nothing_with_it() {
    let mut sim = Sim::builder()
        .partition(spec(A, ManagedExit, listening(link(B))))
        .partition(
            spec(
                B,
                ManagedExit,
                listening(|sp| {
                    sp.spin(&call([0; 8]));
                    sp.call(&ffa(Function::Abort, [0; 4])).x[..5]
                        .try_into()
                        .unwrap()
                }),
            )
            .with(|config| config.version = Version::V1_3),
        )
        .boot();
    sim.core(0).raise_in_spin(Pending::NonSecure);
    let reply = ask(&mut sim, A);
    assert_eq!(reply.x[3..5], [ME, Function::Error.id(Width::W32)]);
    assert_over(&mut sim);
}

#[test]
fn a35_the_managed_exit_interrupt_is_a_feature_of_partitions_that_ask_for_it() {
    for (treatment, has) in [(ManagedExit, true), (Signaled, false), (Queued, false)] {
        let (spec, puppet) = Puppet::new("alpha", A);
        let spec = spec.with(|config| config.non_secure_interrupts = treatment);
        let mut sim = Sim::builder().partition(spec).boot();
        let query = ffa(Function::Features, [3, 0, 0, 0]);
        let reply = puppet.call(sim.core(0), &query);
        match has {
            true => assert_eq!(reply.x[..3], [Function::Success.id(Width::W32), 0, ME]),
            false => assert_error(&reply, bulkhead_abi::FfaError::NotSupported),
        }
        assert_error(
            &sim.core(0).call(&query),
            bulkhead_abi::FfaError::NotSupported,
        );
    }
}
