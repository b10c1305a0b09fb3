// SPDX-License-Identifier: MIT OR Apache-2.0
//! Timers of partitions and WFI: R13, R14 and I18 of the abuse cases (C-19, C-20, F-07).

use std::sync::{Arc, Mutex};

use bulkhead_abi::paravirt::INTID_TIMER;
use bulkhead_abi::{EndpointId, Function, Registers, Version, Width};
use bulkhead_core::vcpu::StateName;
use bulkhead_core::virtual_interrupt::{INTID_VIRTUAL_TIMER, Tally};
use bulkhead_sim::*;

const NWD: EndpointId = EndpointId(0);
const A: EndpointId = EndpointId(0x8001);
/// An interrupt of alpha's device.
const DEVICE: u32 = 34;

/// A timer: CRm of its registers, and its virtual INTID.
type Timer = (u8, u32);
const TIMERS: [Timer; 2] = [(2, INTID_TIMER), (3, INTID_VIRTUAL_TIMER)];
const CONTROL: u8 = 1;
const COMPARE: u8 = 2;

/// Sets the timer, or only its value; it fires when the counter is at `compare`.
fn set(sp: &mut Sp, (crm, _): Timer, compare: u64) {
    sp.write_timer(crm, COMPARE, compare);
    sp.write_timer(crm, CONTROL, 1);
}

fn to(id: EndpointId, what: u64) -> Registers {
    request(Width::W64, NWD, id, [what, 0, 0, 0, 0])
}

/// What alpha fetched, in order.
type Fetched = Arc<Mutex<Vec<u32>>>;

fn taken(fetched: &Fetched) -> Vec<u32> {
    std::mem::take(&mut *fetched.lock().unwrap())
}

/// Enables all its interrupts; what comes with a message, and after `work` for it, is logged.
fn alpha(fetched: &Fetched, work: impl Fn(&mut Sp, u64) + Send + Sync + 'static) -> Spec {
    let fetched = fetched.clone();
    Spec::new("alpha", A, move |sp| {
        sp.enable(&[INTID_TIMER, INTID_VIRTUAL_TIMER, DEVICE]);
        let handle = |sp: &mut Sp| {
            let all = sp.handle_all();
            fetched.lock().unwrap().extend(all);
        };
        let mut message = sp.wait();
        loop {
            handle(sp);
            message = if message.x[0] == Function::MsgSendDirectReq.id(Width::W64) {
                work(sp, message.x[3]);
                handle(sp);
                sp.respond(&message, [message.x[3], 0, 0, 0, 0])
            } else {
                sp.wait()
            };
        }
    })
    .interrupts(&[DEVICE])
}

fn boot(cores: usize, spec: Spec) -> Sim {
    let mut sim = Sim::builder().cores(cores).partition(spec).boot();
    sim.negotiate(Version::OURS);
    for core in 0..cores {
        sim.core(core).machine.traps_virtual_timer = true;
        if core > 0 {
            sim.core(core).switch_on();
        }
    }
    sim
}

fn tally(sim: &Sim) -> (u64, u64, u64) {
    let Tally {
        raised,
        delivered,
        pending,
        ..
    } = sim.spmc().partitions()[0].vcpus()[0].interrupts.tally();
    (raised, delivered, pending)
}

/// The deadline is over at each step of the way in: before FFA_RUN, during it, and after it.
#[test]
fn r13_a_timer_that_is_over_at_the_switch_fires_once() {
    for timer in TIMERS {
        for early in 0..8 {
            for resumed in [false, true] {
                let fetched = Fetched::default();
                let spec = alpha(&fetched, move |sp, compare| {
                    set(sp, timer, compare);
                    if resumed {
                        sp.call(&ffa(Function::Yield, [0; 4]));
                    }
                    // Time passes.
                    for _ in 0..8 {
                        sp.call(&ffa(Function::IdGet, [0; 4]));
                    }
                });
                let mut sim = boot(1, spec);
                const COMPARE: u64 = 1000;
                if resumed {
                    assert_function(&sim.core(0).call(&to(A, COMPARE)), Function::Yield);
                }
                sim.core(0).machine.ticks_per_event = 1;
                sim.core(0).machine.now = COMPARE - early;
                let call = match resumed {
                    true => run(A, 0),
                    false => to(A, COMPARE),
                };
                let reply = sim.core(0).call(&call);
                assert_function(&reply, Function::MsgSendDirectResp);
                assert_eq!(
                    taken(&fetched),
                    [timer.1],
                    "{early} before {timer:?} {resumed}"
                );
                assert_eq!(tally(&sim), (1, 1, 0));
                sim.core(0).machine.now = u64::MAX / 2;
                sim.core(0).run_normal_world();
                assert_eq!((taken(&fetched), tally(&sim)), (vec![], (1, 1, 0)));
                assert_eq!(sim.core(0).machine.deadline, None);
            }
        }
    }
}

/// Each WFI is one way to the normal world, which goes on when it likes; however often.
#[test]
fn r14_a_storm_of_wfi_gives_the_core_back_each_time() {
    const STORM: u64 = 1000;
    let fetched = Fetched::default();
    let spec = alpha(&fetched, |sp, times| {
        for _ in 0..times {
            sp.idle();
        }
    });
    let mut sim = boot(1, spec);
    let mut reply = sim.core(0).call(&to(A, STORM));
    for _ in 0..STORM {
        assert_function(&reply, Function::Yield);
        assert_eq!(reply.x[1], EndpointId::pair(A, EndpointId(0)));
        assert_eq!(reply.x[2..8], [0; 6], "it has no deadline");
        assert_eq!(sim.state(0, 0), StateName::Preempted);
        reply = sim.core(0).call(&run(A, 0));
    }
    assert_function(&reply, Function::MsgSendDirectResp);
    assert_eq!((reply.x[3], tally(&sim)), (STORM, (0, 0, 0)));
    assert_eq!(sim.core(0).machine.deadline, None);
}

/// WFI says when to come back, and ends at once when something is pending or over.
#[test]
fn r14_wfi_with_something_pending_does_not_leave() {
    for over in [false, true] {
        let fetched = Fetched::default();
        let spec = alpha(&fetched, move |sp, _| {
            if over {
                set(sp, TIMERS[0], 0);
            } else {
                sp.line(DEVICE, |line| line.asserted = true);
                sp.call(&ffa(Function::IdGet, [0; 4]));
            }
            sp.idle();
        });
        let mut sim = boot(1, spec);
        assert_function(&sim.core(0).call(&to(A, 1)), Function::MsgSendDirectResp);
        assert_eq!(taken(&fetched), [if over { INTID_TIMER } else { DEVICE }]);
    }
    let fetched = Fetched::default();
    let mut sim = boot(
        1,
        alpha(&fetched, |sp, compare| {
            set(sp, TIMERS[0], compare);
            sp.idle();
        }),
    );
    let now = sim.core(0).machine.now;
    let reply = sim.core(0).call(&to(A, now + 0x1_0000_0005));
    assert_function(&reply, Function::Yield);
    assert_eq!(reply.x[2..4], [5, 1], "nanoseconds until its deadline");
    // It is preempted: the interrupt waits for FFA_RUN.
    sim.core(0).machine.now = now + 0x1_0000_0005;
    sim.core(0).run_normal_world();
    assert_eq!((taken(&fetched), tally(&sim)), (vec![], (1, 0, 1)));
    assert_function(&sim.core(0).call(&run(A, 0)), Function::MsgSendDirectResp);
    assert_eq!(taken(&fetched), [INTID_TIMER]);
}

/// The deadline comes while the core is on its way: the normal world is not told that there is none.
#[test]
fn r14_wfi_whose_deadline_comes_meanwhile_ends_at_once() {
    const COMPARE: u64 = 1000;
    let mut left = [0, 0];
    for early in 1..8 {
        let fetched = Fetched::default();
        let mut sim = boot(
            1,
            alpha(&fetched, |sp, compare| {
                set(sp, TIMERS[0], compare);
                sp.idle();
            }),
        );
        sim.core(0).machine.ticks_per_event = 1;
        sim.core(0).machine.now = COMPARE - early;
        let mut reply = sim.core(0).call(&to(A, COMPARE));
        let yields = reply.x[0] == Function::Yield.id(Width::W32);
        left[usize::from(yields)] += 1;
        if yields {
            assert!((1..early).contains(&reply.x[2]), "{early}: {}", reply.x[2]);
            sim.core(0).machine.now = COMPARE;
            reply = sim.core(0).call(&run(A, 0));
        }
        assert_function(&reply, Function::MsgSendDirectResp);
        assert_eq!(
            (taken(&fetched), tally(&sim)),
            (vec![INTID_TIMER], (1, 1, 0))
        );
    }
    assert!(left.iter().all(|count| *count > 0), "{left:?}");
}

/// A partition that handles a secure interrupt does not give the core away by WFI.
#[test]
fn r14_wfi_in_a_handler_has_no_effect() {
    let rounds = Arc::new(Mutex::new(0));
    let shared = rounds.clone();
    let spec = Spec::new("alpha", A, move |sp| {
        sp.enable(&[DEVICE]);
        sp.wait();
        for _ in 0..100 {
            sp.idle();
            *shared.lock().unwrap() += 1;
        }
        assert_eq!(sp.handle_all(), [DEVICE]);
        // And when nothing is pending any more.
        sp.idle();
    });
    let mut sim = boot(1, spec.interrupts(&[DEVICE]));
    sim.line(DEVICE, |line| line.asserted = true);
    sim.core(0).run_normal_world();
    assert_eq!((*rounds.lock().unwrap(), tally(&sim)), (100, (1, 1, 0)));
    assert_eq!(sim.state(0, 0), StateName::Waiting);
}

#[test]
fn i18_a_deadline_in_the_past_fires_at_once_and_once() {
    for timer in TIMERS {
        for compare in [0, 1, 999, 1000] {
            let fetched = Fetched::default();
            let mut sim = boot(
                1,
                alpha(&fetched, move |sp, compare| set(sp, timer, compare)),
            );
            sim.core(0).machine.now = 1000;
            assert_function(
                &sim.core(0).call(&to(A, compare)),
                Function::MsgSendDirectResp,
            );
            assert_eq!(taken(&fetched), [timer.1], "{compare}");
            sim.core(0).machine.now = 2000;
            sim.core(0).run_normal_world();
            assert_eq!((taken(&fetched), tally(&sim)), (vec![], (1, 1, 0)));
        }
    }
}

#[test]
fn i18_a_deadline_that_does_not_come_arms_nothing() {
    for timer in TIMERS {
        let fetched = Fetched::default();
        let mut sim = boot(
            1,
            alpha(&fetched, move |sp, compare| set(sp, timer, compare)),
        );
        assert_function(
            &sim.core(0).call(&to(A, u64::MAX)),
            Function::MsgSendDirectResp,
        );
        assert_eq!(sim.core(0).machine.deadline, None);
        sim.core(0).machine.now = u64::MAX;
        sim.core(0).run_normal_world();
        assert_eq!((taken(&fetched), tally(&sim)), (vec![], (0, 0, 0)));
        // The one before it does.
        sim.core(0).machine.now = 0;
        assert_function(
            &sim.core(0).call(&to(A, u64::MAX - 1)),
            Function::MsgSendDirectResp,
        );
        assert_eq!(sim.core(0).machine.deadline, Some(u64::MAX - 1));
    }
}

#[test]
fn i18_a_timer_that_is_off_or_masked_does_not_fire_until_it_is_on() {
    for timer in TIMERS {
        for control in [0, 2, 3] {
            let fetched = Fetched::default();
            let spec = alpha(&fetched, move |sp, control| {
                sp.write_timer(timer.0, COMPARE, 1000);
                sp.write_timer(timer.0, CONTROL, control);
            });
            let mut sim = boot(1, spec);
            assert_function(
                &sim.core(0).call(&to(A, control)),
                Function::MsgSendDirectResp,
            );
            assert_eq!(sim.core(0).machine.deadline, None);
            sim.core(0).machine.now = 5000;
            sim.core(0).run_normal_world();
            assert_eq!(
                (taken(&fetched), tally(&sim)),
                (vec![], (0, 0, 0)),
                "{control}"
            );
            assert_function(&sim.core(0).call(&to(A, 1)), Function::MsgSendDirectResp);
            assert_eq!(taken(&fetched), [timer.1]);
        }
    }
}

/// Set on one core, it runs on another, which then keeps the deadline.
#[test]
fn i18_a_timer_goes_with_its_partition_and_fires_once() {
    const SET: u64 = 2;
    for timer in TIMERS {
        let fetched = Fetched::default();
        let spec = alpha(&fetched, move |sp, what| {
            if what == SET {
                set(sp, timer, 1000);
            }
        });
        let mut sim = boot(2, spec);
        assert_function(&sim.core(0).call(&to(A, SET)), Function::MsgSendDirectResp);
        assert_eq!(sim.core(0).machine.deadline, Some(1000));
        assert_function(&sim.core(1).call(&to(A, 1)), Function::MsgSendDirectResp);
        assert_eq!(sim.core(1).machine.deadline, Some(1000));
        for now in [1000, 3000] {
            for core in [0, 1] {
                sim.core(core).machine.now = now;
                sim.core(core).run_normal_world();
                assert_eq!(sim.core(core).machine.deadline, None);
            }
            let expected = if now == 1000 { vec![timer.1] } else { vec![] };
            assert_eq!((taken(&fetched), tally(&sim)), (expected, (1, 1, 0)));
        }
    }
}
