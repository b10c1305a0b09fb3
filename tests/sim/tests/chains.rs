// SPDX-License-Identifier: MIT OR Apache-2.0
//! Call chains and FFA_RUN: abuse cases C1 to C8 and R1 to R8, R15, K1, K3, K5.

use std::sync::{Arc, Mutex};

use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Width};
use bulkhead_core::event::{Direction, Event, Fault, FaultKind};
use bulkhead_core::partition::Health;
use bulkhead_core::vcpu::{NonSecureInterrupts, StateName};
use bulkhead_mm::attrs::Space;
use bulkhead_sim::*;

const NWD: EndpointId = EndpointId(0);
const A: EndpointId = EndpointId(0x8001);
const B: EndpointId = EndpointId(0x8002);
const C: EndpointId = EndpointId(0x8003);

/// Passes each request on to `to` and answers with x0 and x2 of what comes back.
fn relay(to: EndpointId) -> impl Fn(&mut Sp) + Send + Sync {
    move |sp| {
        let mut message = sp.wait();
        loop {
            let reply = sp.call(&request(Width::W64, sp.id, to, [message.x[3], 0, 0, 0, 0]));
            message = sp.respond(
                &message,
                [reply.x[0], reply.x[2], reply.x[3], reply.x[4], 0],
            );
        }
    }
}

fn echo(sp: &mut Sp) {
    let mut message = sp.wait();
    loop {
        message = sp.respond(&message, [message.x[3] + 1, 0, 0, 0, 0]);
    }
}

/// Spins in each request until it is interrupted, and then answers.
fn slow(sp: &mut Sp) {
    let mut message = sp.wait();
    loop {
        sp.spin(&message);
        message = sp.respond(&message, [0x510, 0, 0, 0, 0]);
    }
}

/// A write that no manifest allows.
fn crash(sp: &mut Sp) -> Registers {
    let kind = FaultKind::Data {
        ipa: 0xdead_0000,
        space: Space::Secure,
        direction: Direction::Write,
    };
    sp.trap(
        &call([0; 8]),
        Event::Fault(Fault {
            kind,
            syndrome: 0,
            address: 0xdead_0000,
        }),
    )
}

fn crash_on_request(sp: &mut Sp) {
    sp.wait();
    crash(sp);
    panic!("a partition ran on after a fault");
}

fn to_a() -> Registers {
    request(Width::W64, NWD, A, [1, 0, 0, 0, 0])
}

const ERROR: u64 = 0x8400_0060;

#[test]
fn c1_a_request_back_to_its_requester_is_denied() {
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, relay(B)))
        .partition(Spec::new("beta", B, relay(A)))
        .boot();
    let reply = sim.core(0).call(&to_a());
    assert_function(&reply, Function::MsgSendDirectResp);
    // Alpha got beta's answer, which says that beta's request to alpha was denied.
    assert_eq!(reply.x[5], ERROR);
    assert_eq!(reply.x[6], FfaError::Denied.to_register());
    assert_eq!(
        (sim.state(0, 0), sim.state(1, 0)),
        (StateName::Waiting, StateName::Waiting)
    );
}

#[test]
fn c2_a_request_that_closes_a_longer_circle_is_denied() {
    let denied = Arc::new(Mutex::new(Vec::new()));
    let seen = denied.clone();
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, relay(B)))
        .partition(Spec::new("beta", B, relay(C)))
        .partition(Spec::new("gamma", C, move |sp| {
            let message = sp.wait();
            for target in [A, B] {
                let reply = sp.call(&request(Width::W32, C, target, [0; 5]));
                seen.lock().unwrap().push(error(&reply));
            }
            sp.respond(&message, [0; 5]);
        }))
        .boot();
    assert_function(&sim.core(0).call(&to_a()), Function::MsgSendDirectResp);
    assert_eq!(
        *denied.lock().unwrap(),
        [Some(FfaError::Denied.to_register()); 2]
    );
    for partition in 0..3 {
        assert_eq!(sim.state(partition, 0), StateName::Waiting);
    }
}

#[test]
fn c3_a_chain_through_every_partition_ends_in_denied_and_unwinds() {
    const LENGTH: u16 = 40;
    let id = |index: u16| EndpointId(0x8001 + index % LENGTH);
    let mut builder = Sim::builder();
    for index in 0..LENGTH {
        builder = builder.partition(Spec::new("link", id(index), relay(id(index + 1))));
    }
    let mut sim = builder.boot();
    let reply = sim.core(0).call(&to_a());
    assert_function(&reply, Function::MsgSendDirectResp);
    for partition in 0..usize::from(LENGTH) {
        assert_eq!(sim.state(partition, 0), StateName::Waiting);
    }
    // The last link was refused, and the chain works again.
    assert_function(&sim.core(0).call(&to_a()), Function::MsgSendDirectResp);
}

#[test]
fn c4_a_blocked_member_of_a_preempted_chain_is_not_run() {
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, relay(B)))
        .partition(Spec::new("beta", B, slow))
        .boot();
    sim.core(0).raise_in_spin(Pending::NonSecure);
    let reply = sim.core(0).call(&to_a());
    assert_function(&reply, Function::Interrupt);
    // w1 names whom to run: the preempted one, not the one that was called (E-17).
    assert_eq!(reply.x[1], EndpointId::pair(B, EndpointId(0)));
    assert_eq!(reply.x[2..8], [0; 6]);
    assert_eq!(
        (sim.state(0, 0), sim.state(1, 0)),
        (StateName::Blocked, StateName::Preempted)
    );
    assert_error(&sim.core(0).call(&run(A, 0)), FfaError::Denied);
    sim.core(0).take_non_secure_interrupts();
    let reply = sim.core(0).call(&run(B, 0));
    assert_function(&reply, Function::MsgSendDirectResp);
    assert_eq!((reply.x[1], reply.x[5]), (EndpointId::pair(A, NWD), 0x510));
}

#[test]
fn c5_a_preempted_chain_is_resumed_on_its_own_core_only() {
    let mut sim = Sim::builder()
        .cores(2)
        .partition(Spec::new("alpha", A, relay(B)))
        .partition(Spec::new("beta", B, slow))
        .boot();
    sim.core(1).switch_on();
    sim.core(0).raise_in_spin(Pending::NonSecure);
    assert_function(&sim.core(0).call(&to_a()), Function::Interrupt);
    for id in [A, B] {
        assert_error(&sim.core(1).call(&run(id, 0)), FfaError::Denied);
    }
    sim.core(0).take_non_secure_interrupts();
    assert_function(&sim.core(0).call(&run(B, 0)), Function::MsgSendDirectResp);
}

#[test]
fn c7_a_chain_whose_tail_was_ended_on_another_core_unwinds() {
    let mut sim = Sim::builder()
        .cores(2)
        .partition(Spec::new("alpha", A, relay(B)))
        .partition(
            Spec::new("beta", B, |sp| {
                if sp.vcpu == 0 {
                    let mut register = call([0; 8]);
                    register.x[0] = Function::SecondaryEpRegister.id(Width::W64);
                    register.x[1] = 0x1020_4100;
                    assert_function(&sp.call(&register), Function::Success);
                    slow(sp);
                } else {
                    crash_on_request(sp);
                }
            })
            .multi_core(),
        )
        .boot();
    sim.core(1).switch_on();
    sim.core(0).raise_in_spin(Pending::NonSecure);
    assert_function(&sim.core(0).call(&to_a()), Function::Interrupt);
    sim.core(0).take_non_secure_interrupts();
    let to_b = request(Width::W32, NWD, B, [0; 5]);
    assert_error(&sim.core(1).call(&to_b), FfaError::Aborted);
    assert_error(&sim.core(1).call(&run(B, 1)), FfaError::Aborted);
    // Resuming the preempted tail lets its requester go on with an error.
    let reply = sim.core(0).call(&run(B, 0));
    assert_function(&reply, Function::MsgSendDirectResp);
    assert_eq!(
        (reply.x[3], reply.x[4]),
        (ERROR, FfaError::Aborted.to_register())
    );
    assert_eq!(
        (sim.state(0, 0), sim.state(1, 0)),
        (StateName::Waiting, StateName::Aborted)
    );
    assert_error(&sim.core(0).call(&run(B, 0)), FfaError::Aborted);
}

#[test]
fn c8_when_the_tail_aborts_its_requester_is_told_once() {
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, relay(B)))
        .partition(Spec::new("beta", B, crash_on_request))
        .boot();
    let reply = sim.core(0).call(&to_a());
    assert_function(&reply, Function::MsgSendDirectResp);
    assert_eq!(
        (reply.x[3], reply.x[4]),
        (ERROR, FfaError::Aborted.to_register())
    );
    assert_eq!(sim.spmc().partitions()[1].health(), Health::Aborted);
    assert_eq!(
        (sim.state(0, 0), sim.state(1, 0)),
        (StateName::Waiting, StateName::Aborted)
    );
    // Alpha goes on, and beta stays gone.
    let reply = sim.core(0).call(&to_a());
    assert_eq!(
        (reply.x[3], reply.x[4]),
        (ERROR, FfaError::Aborted.to_register())
    );
}

#[test]
fn r1_an_unknown_partition_or_context_is_refused() {
    let mut sim = Sim::builder().partition(Spec::new("alpha", A, echo)).boot();
    for (partition, vcpu) in [
        (B, 0),
        (EndpointId(0x8000), 0),
        (EndpointId(0xffff), 0),
        (NWD, 0),
        (A, 1),
        (A, 0xffff),
    ] {
        let reply = sim.core(0).call(&run(partition, vcpu));
        assert_error(&reply, FfaError::InvalidParameters);
    }
}

#[test]
fn r2_a_pinned_context_runs_on_its_own_core_only() {
    let mut sim = Sim::builder()
        .cores(2)
        .partition(
            Spec::new("alpha", A, |sp| {
                if sp.vcpu == 0 {
                    let mut register = call([0; 8]);
                    register.x[0] = Function::SecondaryEpRegister.id(Width::W64);
                    register.x[1] = 0x1010_4100;
                    assert_function(&sp.call(&register), Function::Success);
                }
            })
            .multi_core(),
        )
        .boot();
    sim.core(1).switch_on();
    assert_eq!(
        (sim.state(0, 0), sim.state(0, 1)),
        (StateName::Waiting, StateName::Waiting)
    );
    for core in 0..2u16 {
        let own = sim.core(usize::from(core)).call(&run(A, core));
        assert_function(&own, Function::MsgWait);
        let other = sim.core(usize::from(core)).call(&run(A, 1 - core));
        assert_error(&other, FfaError::InvalidParameters);
    }
}

#[test]
fn r3_a_context_that_runs_elsewhere_is_busy() {
    let (entered, wait_entered) = std::sync::mpsc::channel();
    let (leave, wait_leave) = std::sync::mpsc::channel::<()>();
    let (entered, wait_leave) = (Mutex::new(entered), Mutex::new(wait_leave));
    let sim = Sim::builder()
        .cores(2)
        .partition(Spec::new("alpha", A, move |sp| {
            let message = sp.wait();
            entered.lock().unwrap().send(()).unwrap();
            wait_leave.lock().unwrap().recv().unwrap();
            sp.respond(&message, [0; 5]);
        }))
        .boot();
    let mut cores = sim.into_cores();
    let mut second = cores.pop().unwrap();
    let mut first = cores.pop().unwrap();
    second.switch_on();
    std::thread::scope(|scope| {
        let caller = scope.spawn(move || first.call(&to_a()));
        wait_entered.recv().unwrap();
        assert_error(&second.call(&run(A, 0)), FfaError::Busy);
        assert_error(&second.call(&to_a()), FfaError::Busy);
        leave.send(()).unwrap();
        assert_function(&caller.join().unwrap(), Function::MsgSendDirectResp);
        // It is free again, for either core (R12).
        assert_function(&second.call(&run(A, 0)), Function::MsgWait);
    });
}

#[test]
fn r4_an_aborted_partition_says_so() {
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, crash_on_request))
        .boot();
    assert_error(&sim.core(0).call(&to_a()), FfaError::Aborted);
    assert_error(&sim.core(0).call(&run(A, 0)), FfaError::Aborted);
    assert_error(&sim.core(0).call(&to_a()), FfaError::Aborted);
}

#[test]
fn r5_a_waiting_context_runs_once_and_waits_again() {
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, |sp| {
            let entry = sp.wait();
            assert_function(&entry, Function::Run);
            assert_eq!(entry.x[1], EndpointId::pair(A, EndpointId(0)));
        }))
        .boot();
    let reply = sim.core(0).call(&run(A, 0));
    assert_function(&reply, Function::MsgWait);
    assert_eq!(reply.x[1], EndpointId::pair(A, EndpointId(0)));
    assert_eq!(sim.state(0, 0), StateName::Waiting);
}

#[test]
fn r6_r7_a_partition_runs_neither_the_normal_world_nor_who_waits() {
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, echo))
        .partition(Spec::new("beta", B, |sp| {
            let message = sp.wait();
            assert_error(&sp.call(&run(EndpointId(1), 0)), FfaError::Denied);
            assert_error(&sp.call(&run(A, 0)), FfaError::Denied);
            assert_error(&sp.call(&run(A, 1)), FfaError::InvalidParameters);
            assert_error(&sp.call(&run(C, 0)), FfaError::InvalidParameters);
            assert_error(&sp.call(&run(B, 0)), FfaError::Busy);
            sp.respond(&message, [0; 5]);
        }))
        .boot();
    let reply = sim.core(0).call(&request(Width::W32, NWD, B, [0; 5]));
    assert_function(&reply, Function::MsgSendDirectResp);
}

#[test]
fn r15_ffa_error_ends_an_initialisation_and_is_denied_later() {
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, |sp| {
            sp.call(&ffa(
                Function::Error,
                [0, FfaError::NotReady.to_register(), 0, 0],
            ));
            panic!("FFA_ERROR in the initialisation returned");
        }))
        .partition(Spec::new("beta", B, |sp| {
            let message = sp.wait();
            let reply = sp.call(&ffa(Function::Error, [0, 0xffff_ffff, 0, 0]));
            assert_error(&reply, FfaError::Denied);
            sp.respond(&message, [0; 5]);
        }))
        .boot();
    assert_eq!(sim.state(0, 0), StateName::Aborted);
    let reply = sim.core(0).call(&request(Width::W32, NWD, B, [0; 5]));
    assert_function(&reply, Function::MsgSendDirectResp);
}

#[test]
fn k1_a_fault_ends_one_partition_and_its_requester_gets_aborted() {
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, crash_on_request))
        .partition(Spec::new("beta", B, echo))
        .boot();
    assert_error(&sim.core(0).call(&to_a()), FfaError::Aborted);
    let reply = sim
        .core(0)
        .call(&request(Width::W64, NWD, B, [41, 0, 0, 0, 0]));
    assert_eq!(reply.x[3], 42);
}

#[test]
fn k3_a_call_that_is_not_allowed_harms_nobody() {
    let mut sim = Sim::builder()
        .partition(
            Spec::new("alpha", A, |sp| {
                let message = sp.wait();
                // PSCI_VERSION, CPU_OFF, SYSTEM_OFF, a SiP call, an unknown hypervisor call.
                for id in [
                    0x8400_0000u64,
                    0x8400_0002,
                    0x8400_0008,
                    0x8200_0001,
                    0xc600_0000,
                    7,
                ] {
                    let asked = call([id, 1, 2, 3, 4, 5, 6, 7]);
                    for reply in [sp.call(&asked), sp.hvc(&asked)] {
                        assert_eq!(reply.x[0], u64::MAX, "{id:#x}");
                        assert_eq!(reply.x[1..], asked.x[1..]);
                    }
                }
                // One that its manifest names goes to EL3, by SMC only.
                assert_eq!(sp.call(&call([0x8200_0002; 8])).x[0], 0);
                assert_eq!(sp.hvc(&call([0x8200_0002; 8])).x[0], u64::MAX);
                sp.respond(&message, [0; 5]);
            })
            .with(|config| config.smc_allow_list = &[0x8200_0002]),
        )
        .boot();
    assert_function(&sim.core(0).call(&to_a()), Function::MsgSendDirectResp);
    assert_eq!(sim.forwarded(), [0x8200_0002]);
}

#[test]
fn k5_a_partition_that_queues_interrupts_is_bounded_by_time() {
    let mut sim = Sim::builder()
        .partition(
            Spec::new("alpha", A, slow)
                .with(|config| config.non_secure_interrupts = NonSecureInterrupts::Queued),
        )
        .boot();
    sim.core(0).raise_in_spin(Pending::NonSecure);
    let before = sim.core(0).machine.now;
    let reply = sim.core(0).call(&to_a());
    assert_function(&reply, Function::Interrupt);
    let spent = sim.core(0).machine.now - before;
    assert_eq!(spent, 100_000_000, "the run timeout");
    sim.core(0).take_non_secure_interrupts();
    assert_function(&sim.core(0).call(&run(A, 0)), Function::MsgSendDirectResp);
}

#[test]
fn k5_a_group_0_interrupt_goes_to_el3_and_the_partition_goes_on() {
    let mut sim = Sim::builder().partition(Spec::new("alpha", A, slow)).boot();
    sim.core(0).raise(Pending::Group0);
    sim.core(0).raise_in_spin(Pending::NonSecure);
    assert_function(&sim.core(0).call(&to_a()), Function::Interrupt);
    assert_eq!(sim.core(0).machine.group0_handled, 1);
}

#[test]
fn k11_a_partition_that_fails_at_boot_does_not_keep_the_others_from_booting() {
    for bad in 0..3 {
        for failure in 0..4 {
            let mut builder = Sim::builder();
            for (index, id) in [A, B, C].into_iter().enumerate() {
                builder = builder.partition(Spec::new("partition", id, move |sp| {
                    if index == bad {
                        match failure {
                            0 => drop(crash(sp)),
                            1 => drop(sp.call(&ffa(Function::Error, [0, 1, 0, 0]))),
                            2 => drop(sp.spin(&call([0; 8]))),
                            // Calls for ever; time passes only in spins here.
                            _ => loop {
                                sp.call(&ffa(Function::IdGet, [0; 4]));
                                sp.spin(&call([0; 8]));
                            },
                        }
                        panic!("ran on");
                    }
                    echo(sp);
                }));
            }
            let mut sim = builder.boot();
            let spent = sim.core(0).machine.now;
            assert!(spent < 1_000_000_000, "{spent} ns for one partition");
            for (index, id) in [A, B, C].into_iter().enumerate() {
                let reply = sim
                    .core(0)
                    .call(&request(Width::W64, NWD, id, [1, 0, 0, 0, 0]));
                if index == bad {
                    assert_error(&reply, FfaError::Aborted);
                } else {
                    assert_eq!(reply.x[3], 2);
                }
            }
        }
    }
}

#[test]
fn i2_an_interrupt_that_nobody_owns_is_disabled_and_the_partition_goes_on() {
    let mut sim = Sim::builder().partition(Spec::new("alpha", A, echo)).boot();
    sim.core(0).raise(Pending::Secure(77));
    assert_eq!(sim.core(0).call(&to_a()).x[3], 2);
    assert_eq!(sim.disabled(), [77]);
    // And while the normal world runs, where it ends in FFA_NORMAL_WORLD_RESUME (C-02).
    sim.core(0).raise(Pending::Secure(78));
    let mut interrupt = Registers::ZERO;
    interrupt.x[0] = Function::Interrupt.id(Width::W32);
    assert_function(&sim.core(0).call(&interrupt), Function::NormalWorldResume);
    assert_eq!(sim.disabled(), [77, 78]);
    // Spurious ones too (DECISIONS 23).
    assert_function(&sim.core(0).call(&interrupt), Function::NormalWorldResume);
}
