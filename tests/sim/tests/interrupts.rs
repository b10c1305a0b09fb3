// SPDX-License-Identifier: MIT OR Apache-2.0
//! Secure interrupts whose partition waits: C-08, C-11, C-13, A-87, abuse cases I2, I4, R10 and K5.

use std::sync::{Arc, Mutex};

use bulkhead_abi::notification::InfoLists;
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Version, Width};
use bulkhead_core::vcpu::{NonSecureInterrupts, StateName};
use bulkhead_sim::*;

const NWD: EndpointId = EndpointId(0);
const A: EndpointId = EndpointId(0x8001);
const B: EndpointId = EndpointId(0x8002);
const C: EndpointId = EndpointId(0x8003);
/// The interrupt of alpha's device.
const OURS: u32 = 34;
/// In ticks of the simulator: the run timeout, and the share of time for interrupts and its window.
const RUN_TIMEOUT: u64 = 100_000_000;
const SHARE: u64 = 2_500_000;
const WINDOW: u64 = 10_000_000;

/// What a partition saw: the call that came, w1 and w2, and what it fetched then.
type Seen = Arc<Mutex<Vec<(u64, u64, u64, Vec<u32>)>>>;

/// Handles every interrupt, and answers requests with the sum of what it fetched then.
fn handler(seen: &Seen) -> impl Fn(&mut Sp) + Send + Sync + 'static {
    let seen = seen.clone();
    move |sp| {
        sp.enable(&[OURS]);
        let mut message = sp.wait();
        loop {
            let fetched = sp.handle_all();
            let [x0, x1, x2] = [message.x[0], message.x[1], message.x[2]];
            seen.lock().unwrap().push((x0, x1, x2, fetched));
            message = if message.x[0] == Function::MsgSendDirectReq.id(Width::W64) {
                sp.respond(&message, [7, 0, 0, 0, 0])
            } else {
                sp.wait()
            };
        }
    }
}

fn taken(seen: &Seen) -> Vec<(u64, u64, u64, Vec<u32>)> {
    std::mem::take(&mut *seen.lock().unwrap())
}

fn to(id: EndpointId) -> Registers {
    request(Width::W64, NWD, id, [0; 5])
}

/// What FFA_NOTIFICATION_INFO_GET says, or that there is nothing.
fn info(sim: &mut Sim) -> Option<[u64; 6]> {
    let id = Function::NotificationInfoGet.id(Width::W64);
    let reply = sim.core(0).call(&call([id, 0, 0, 0, 0, 0, 0, 0]));
    if error(&reply) == Some(FfaError::NoData.to_register()) {
        return None;
    }
    assert_eq!(reply.x[0], Function::Success.id(Width::W64));
    Some(reply.x[2..8].try_into().unwrap())
}

/// What it says if only the single-core partition `id` has something.
fn only(id: EndpointId) -> Option<[u64; 6]> {
    let mut lists = InfoLists::new(Width::W64);
    lists.push(id, &[]).unwrap();
    Some(lists.results())
}

const INTERRUPT: u64 = Function::Interrupt.id(Width::W32);

#[test]
fn c13_an_interrupt_in_the_normal_world_costs_one_delivery() {
    let seen = Seen::default();
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, handler(&seen)).interrupts(&[OURS]))
        .boot();
    sim.negotiate(Version::OURS);
    for round in 1..=5 {
        sim.line(OURS, |line| line.asserted = true);
        sim.core(0).run_normal_world();
        let expected = (INTERRUPT, 0, u64::from(OURS), vec![OURS]);
        assert_eq!(taken(&seen), [expected], "C-08: w2 is the INTID");
        sim.line(OURS, |line| {
            assert_eq!((line.acknowledged, line.deactivated), (round, round));
            assert!(line.enabled && line.active.is_none());
        });
        assert_eq!(sim.state(0, 0), StateName::Waiting);
    }
    let tally = sim.spmc().partitions()[0].vcpus()[0].interrupts.tally();
    assert_eq!((tally.raised, tally.delivered, tally.pending), (5, 5, 0));
    assert_eq!(sim.core(0).machine.deadline, None);
    assert_eq!(info(&mut sim), None);
}

#[test]
fn i2_an_unowned_interrupt_is_disabled_and_counted() {
    let seen = Seen::default();
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, handler(&seen)).interrupts(&[OURS]))
        .boot();
    sim.negotiate(Version::OURS);
    for (count, intid) in (1..).zip([0, 15, 29, 33, 35, 1019, 1056, 4096, 5119]) {
        sim.core(0).raise(Pending::Secure(intid));
        sim.core(0).run_normal_world();
        assert_eq!(sim.spmc().unowned_interrupts(), count);
        assert_eq!(sim.disabled().last(), Some(&intid));
    }
    // Neither does it disturb who runs, or whose interrupt comes with it.
    sim.core(0).raise(Pending::Secure(33));
    sim.line(OURS, |line| line.asserted = true);
    assert_function(&sim.core(0).call(&to(A)), Function::MsgSendDirectResp);
    assert_eq!(taken(&seen).len(), 1);
    assert_eq!(sim.spmc().unowned_interrupts(), 10);
    sim.line(OURS, |line| assert_eq!(line.acknowledged, 1));
}

/// The share of time that a partition gets whose device's interrupt never settles.
#[test]
fn i4_an_interrupt_that_is_never_cleared_takes_its_share_and_no_more() {
    const EVENT: u64 = 10_000;
    let stuck = |sp: &mut Sp| {
        sp.enable(&[OURS]);
        loop {
            sp.wait();
            assert_eq!(sp.fetch(), Some(OURS));
            assert!(sp.deactivate(OURS));
        }
    };
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, stuck).interrupts(&[OURS]))
        .boot();
    sim.negotiate(Version::OURS);
    sim.core(0).machine.ticks_per_event = EVENT;
    sim.line(OURS, |line| line.asserted = true);
    let start = sim.core(0).machine.now;
    let mut outside = 0;
    while sim.core(0).machine.now < start + 20 * WINDOW {
        let before = sim.core(0).machine.now;
        sim.core(0).run_normal_world();
        let inside = sim.core(0).machine.now - before;
        assert!(inside < 2 * SHARE, "{inside}");
        // The normal world runs until S-EL2's timer fires.
        let next = sim.core(0).machine.deadline.expect("it comes back");
        let now = sim.core(0).machine.now;
        assert!(next > now && next <= now + WINDOW);
        outside += next - now;
        sim.core(0).machine.now = next;
    }
    let all = sim.core(0).machine.now - start;
    assert!(outside * 2 > all, "the normal world has {outside} of {all}");
    // It is not ended for it, and goes on when the device does as it should.
    sim.line(OURS, |line| line.asserted = false);
    sim.core(0).run_normal_world();
    assert_eq!(sim.state(0, 0), StateName::Waiting);
    sim.line(OURS, |line| {
        assert_eq!(line.acknowledged, line.deactivated);
        assert_eq!(line.active, None);
    });
}

#[test]
fn i4_a_partition_that_ignores_its_interrupt_is_left_to_the_scheduler() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let shared = seen.clone();
    let mut sim = Sim::builder()
        .partition(
            Spec::new("alpha", A, move |sp| {
                sp.enable(&[OURS]);
                loop {
                    let message = sp.wait();
                    shared.lock().unwrap().push(message.x[0]);
                    if message.x[0] == Function::Run.id(Width::W32) {
                        assert_eq!(sp.handle_all(), [OURS]);
                    }
                }
            })
            .interrupts(&[OURS]),
        )
        .boot();
    sim.negotiate(Version::OURS);
    for _ in 0..2 {
        sim.line(OURS, |line| line.asserted = true);
        sim.core(0).run_normal_world();
        assert_eq!(*seen.lock().unwrap(), [INTERRUPT; 16]);
        seen.lock().unwrap().clear();
        sim.line(OURS, |line| assert_eq!(line.active, Some(0)));
        assert_eq!(info(&mut sim), only(A));
        assert_eq!(info(&mut sim), None, "it is told once");
        sim.core(0).run_normal_world();
        assert!(seen.lock().unwrap().is_empty(), "it is left alone");
        assert_function(&sim.core(0).call(&run(A, 0)), Function::MsgWait);
        assert_eq!(*seen.lock().unwrap(), [Function::Run.id(Width::W32)]);
        seen.lock().unwrap().clear();
        sim.line(OURS, |line| assert_eq!(line.active, None));
    }
}

/// One whose time for an interrupt is over goes on where the scheduler has time: it is told who, and not where.
#[test]
fn i4_a_partition_that_takes_too_long_for_its_interrupt_goes_on_on_any_core() {
    for pinned in [false, true] {
        let mut spec = Spec::new("alpha", A, |sp| {
            sp.enable(&[OURS]);
            let mut message = sp.wait();
            loop {
                if message.x[0] == INTERRUPT {
                    assert_eq!(sp.handle_all(), [OURS]);
                    sp.spin(&message);
                }
                message = sp.wait();
            }
        })
        .interrupts(&[OURS]);
        if pinned {
            spec = spec.multi_core();
        }
        let mut sim = Sim::builder().partition(spec).cores(2).boot();
        sim.negotiate(Version::OURS);
        sim.core(1).switch_on();
        sim.line(OURS, |line| line.asserted = true);
        // It spins until its time is over.
        sim.core(0).run_normal_world();
        assert_eq!(sim.state(0, 0), StateName::Preempted);
        assert_eq!(sim.core(0).machine.schedule_receiver, 1);
        let elsewhere = sim.core(1).call(&run(A, 0));
        if pinned {
            assert_error(&elsewhere, FfaError::InvalidParameters);
            assert_function(&sim.core(0).call(&run(A, 0)), Function::MsgWait);
        } else {
            assert_function(&elsewhere, Function::MsgWait);
        }
        assert_eq!(sim.state(0, 0), StateName::Waiting);
    }
}

/// A87: SRI policy "on entering wait": what is pending then is the scheduler's, what comes later is not.
#[test]
fn a87_a_partition_that_was_left_to_the_scheduler_is_entered_for_the_next_interrupt() {
    let seen = Seen::default();
    let shared = seen.clone();
    let program = move |sp: &mut Sp| {
        sp.enable(&[OURS]);
        let mut message = sp.wait();
        loop {
            if message.x[0] == Function::MsgSendDirectReq.id(Width::W64) {
                sp.line(OURS, |line| line.asserted = true);
                // It is taken when the call is made.
                sp.read_timer(2, 1);
                message = sp.respond(&message, [0; 5]);
            } else {
                let fetched = sp.handle_all();
                let [x0, x1, x2] = [message.x[0], message.x[1], message.x[2]];
                shared.lock().unwrap().push((x0, x1, x2, fetched));
                message = sp.wait();
            }
        }
    };
    let mut sim = Sim::builder()
        .partition(
            Spec::new("alpha", A, program)
                .interrupts(&[OURS])
                .with(|config| config.sri_on_entering_wait = true),
        )
        .boot();
    sim.negotiate(Version::OURS);
    for round in 1..=3 {
        assert_function(&sim.core(0).call(&to(A)), Function::MsgSendDirectResp);
        assert_eq!(taken(&seen), []);
        assert_eq!(sim.core(0).machine.schedule_receiver, round);
        assert_eq!(info(&mut sim), only(A));
        assert_eq!(info(&mut sim), None);
        assert_function(&sim.core(0).call(&run(A, 0)), Function::MsgWait);
        let w1 = EndpointId::pair(A, EndpointId(0));
        let expected = (Function::Run.id(Width::W32), w1, 0, vec![OURS]);
        assert_eq!(taken(&seen), [expected]);
        // Nothing is pending any more: the next one comes while it waits.
        sim.line(OURS, |line| line.asserted = true);
        sim.core(0).run_normal_world();
        let expected = (INTERRUPT, 0, u64::from(OURS), vec![OURS]);
        assert_eq!(taken(&seen), [expected]);
        assert_eq!(info(&mut sim), None);
    }
}

#[test]
fn a87_with_the_policy_for_who_waits_every_interrupt_is_the_schedulers() {
    let seen = Seen::default();
    let mut sim = Sim::builder()
        .partition(
            Spec::new("alpha", A, handler(&seen))
                .interrupts(&[OURS])
                .with(|config| config.sri_while_waiting = true),
        )
        .boot();
    sim.negotiate(Version::OURS);
    for round in 1..=3 {
        sim.line(OURS, |line| line.asserted = true);
        sim.core(0).run_normal_world();
        assert_eq!(taken(&seen), []);
        assert_eq!(sim.core(0).machine.schedule_receiver, round);
        assert_eq!(info(&mut sim), only(A));
        assert_eq!(info(&mut sim), None);
        assert_function(&sim.core(0).call(&run(A, 0)), Function::MsgWait);
        assert_eq!(taken(&seen)[0].3, [OURS]);
        sim.line(OURS, |line| assert_eq!(line.active, None));
    }
}

/// Who handled it in a request meanwhile needs no scheduler.
#[test]
fn a87_an_interrupt_that_was_handled_is_not_told_of() {
    let seen = Seen::default();
    let mut sim = Sim::builder()
        .partition(
            Spec::new("alpha", A, handler(&seen))
                .interrupts(&[OURS])
                .with(|config| config.sri_while_waiting = true),
        )
        .boot();
    sim.negotiate(Version::OURS);
    sim.line(OURS, |line| line.asserted = true);
    sim.core(0).run_normal_world();
    assert_function(&sim.core(0).call(&to(A)), Function::MsgSendDirectResp);
    assert_eq!(taken(&seen)[0].3, [OURS]);
    assert_eq!(info(&mut sim), None);
}

#[test]
fn r10_who_does_not_deactivate_is_refused_once_each_time() {
    let replies = Arc::new(Mutex::new(Vec::new()));
    let shared = replies.clone();
    let program = move |sp: &mut Sp| {
        sp.enable(&[OURS]);
        for round in 0.. {
            let mut back = sp.wait();
            if error(&back).is_some() {
                shared.lock().unwrap().push(error(&back));
                if round % 2 == 1 {
                    assert!(sp.deactivate(OURS));
                }
                back = sp.wait();
            }
            assert_eq!(back.x[0], INTERRUPT);
            sp.line(OURS, |line| line.asserted = false);
            assert_eq!(sp.fetch(), Some(OURS));
        }
    };
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, program).interrupts(&[OURS]))
        .boot();
    sim.negotiate(Version::OURS);
    let denied = Some(FfaError::Denied.to_register());
    for round in 1..=6 {
        sim.line(OURS, |line| line.asserted = true);
        sim.core(0).run_normal_world();
        assert_eq!(*replies.lock().unwrap(), vec![denied; round]);
        sim.line(OURS, |line| {
            assert_eq!(line.acknowledged, round as u64);
            assert_eq!((line.active, line.deactivated), (None, round as u64));
        });
        assert_eq!(sim.state(0, 0), StateName::Waiting);
    }
}

/// Beta keeps non-secure interrupts waiting and never comes back; alpha's interrupt never settles.
#[test]
fn k5_interrupts_of_others_do_not_give_more_time_to_who_keeps_the_normal_world_waiting() {
    let stuck = |sp: &mut Sp| {
        sp.enable(&[OURS]);
        loop {
            sp.wait();
            assert_eq!(sp.fetch(), Some(OURS));
            assert!(sp.deactivate(OURS));
        }
    };
    let endless = |sp: &mut Sp| {
        let message = sp.wait();
        for _ in 0..100_000 {
            sp.spin(&message);
        }
        panic!("it has the core for ever");
    };
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, stuck).interrupts(&[OURS]))
        .partition(
            Spec::new("beta", B, endless)
                .with(|config| config.non_secure_interrupts = NonSecureInterrupts::Queued),
        )
        .boot();
    sim.negotiate(Version::OURS);
    sim.core(0).machine.ticks_per_event = 10_000;
    sim.line(OURS, |line| line.asserted = true);
    sim.core(0).raise(Pending::NonSecure);
    let start = sim.core(0).machine.now;
    assert_function(&sim.core(0).call(&to(B)), Function::Interrupt);
    let spent = sim.core(0).machine.now - start;
    assert!(spent < 2 * RUN_TIMEOUT, "{spent}");
    assert!(spent >= RUN_TIMEOUT, "it has its time: {spent}");
    assert_eq!(sim.core(0).take_non_secure_interrupts(), 1);
}

/// What alpha's handler does when its interrupt comes, before it spins without end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Handler {
    /// Nothing.
    Ignores,
    /// Fetches and deactivates it.
    Deactivates,
    /// Fetches it.
    Owes,
    /// Fetches it when more than half of its time is over.
    OwesLate,
    /// Fetches it, and asks beta, which spins without end.
    OwesAndAsks,
}

/// A system in which alpha's handler does so, and gamma has alpha's device fire when it is asked.
fn never_done(handler: Handler) -> Sim {
    let alpha = move |sp: &mut Sp| {
        sp.enable(&[OURS]);
        let mut message = sp.wait();
        while message.x[0] != INTERRUPT {
            message = sp.respond(&message, [0; 5]);
        }
        if handler == Handler::OwesLate {
            // Each call takes a hundredth of its time.
            for _ in 0..60 {
                sp.call(&ffa(Function::IdGet, [0; 4]));
            }
        }
        if handler != Handler::Ignores {
            assert_eq!(sp.fetch(), Some(OURS));
            sp.line(OURS, |line| line.asserted = false);
        }
        if handler == Handler::Deactivates {
            assert!(sp.deactivate(OURS));
        }
        if handler == Handler::OwesAndAsks {
            sp.call(&request(Width::W64, A, B, [0; 5]));
        }
        sp.spin(&call([0; 8]));
        // Who is ended does not come here; else the normal world has it go on.
        assert_ne!(handler, Handler::Owes);
        sp.handle_all();
        sp.deactivate(OURS);
        let mut message = sp.wait();
        loop {
            message = sp.respond(&message, [0; 5]);
        }
    };
    let beta = |sp: &mut Sp| {
        let message = sp.wait();
        sp.spin(&message);
        // Nobody awaits it any more, and its time is over again.
        sp.spin(&message);
        panic!("it goes on");
    };
    let gamma = |sp: &mut Sp| {
        let mut message = sp.wait();
        loop {
            sp.line(OURS, |line| line.asserted = true);
            let seen = sp.call(&ffa(Function::IdGet, [0; 4]));
            assert_eq!(
                seen.x[2],
                u64::from(C.0),
                "it goes on as if nothing had been"
            );
            message = sp.respond(&message, [message.x[3] + 1, 0, 0, 0, 0]);
        }
    };
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, alpha).interrupts(&[OURS]))
        .partition(Spec::new("beta", B, beta))
        .partition(Spec::new("gamma", C, gamma))
        .boot();
    sim.negotiate(Version::OURS);
    sim
}

/// The chain of a handler has the run timeout. Who owes a deactivation for long is ended then; else the normal
/// world's scheduler is told to go on with it, and whoever was interrupted goes on at once.
#[test]
fn r10_who_is_never_done_with_an_interrupt_loses_the_core_or_is_ended() {
    use Handler::{Deactivates, Ignores, Owes, OwesAndAsks, OwesLate};
    for (handler, alpha, beta) in [
        (Ignores, StateName::Preempted, StateName::Waiting),
        (Deactivates, StateName::Preempted, StateName::Waiting),
        (OwesLate, StateName::Preempted, StateName::Waiting),
        (Owes, StateName::Aborted, StateName::Waiting),
        (OwesAndAsks, StateName::Aborted, StateName::Aborted),
    ] {
        for in_gamma in [false, true] {
            let mut sim = never_done(handler);
            let per_event = if handler == OwesLate {
                RUN_TIMEOUT / 100
            } else {
                0
            };
            sim.core(0).machine.ticks_per_event = per_event;
            let start = sim.core(0).machine.now;
            if in_gamma {
                let reply = sim
                    .core(0)
                    .call(&request(Width::W64, NWD, C, [5, 0, 0, 0, 0]));
                assert_function(&reply, Function::MsgSendDirectResp);
                assert_eq!(reply.x[3], 6, "{handler:?}");
            } else {
                sim.line(OURS, |line| line.asserted = true);
                sim.core(0).run_normal_world();
            }
            let spent = sim.core(0).machine.now - start;
            let most = if handler == OwesAndAsks {
                2 * RUN_TIMEOUT
            } else {
                RUN_TIMEOUT
            };
            assert!(
                (most..most + 10 * per_event + 1).contains(&spent),
                "{handler:?}: {spent}"
            );
            let states = [0, 1, 2].map(|partition| sim.state(partition, 0));
            assert_eq!(
                states,
                [alpha, beta, StateName::Waiting],
                "{handler:?} {in_gamma}"
            );
            assert_eq!(sim.core(0).machine.deadline, None);
            let ended = alpha == StateName::Aborted;
            sim.line(OURS, |line| {
                assert_eq!(line.enabled, !ended, "{handler:?}");
                let active = matches!(handler, Ignores | OwesLate).then_some(0);
                assert_eq!(line.active, active, "{handler:?}");
                assert_eq!(line.acknowledged, 1);
            });
            if ended {
                assert_eq!(info(&mut sim), None);
                assert_error(&sim.core(0).call(&to(A)), FfaError::Aborted);
                continue;
            }
            // It goes on when the scheduler, which is told once, wants it to.
            assert_eq!(sim.core(0).machine.schedule_receiver, 1);
            assert_eq!((info(&mut sim), info(&mut sim)), (only(A), None));
            assert_error(&sim.core(0).call(&to(A)), FfaError::Busy);
            assert_function(&sim.core(0).call(&run(A, 0)), Function::MsgWait);
            sim.line(OURS, |line| {
                assert_eq!((line.active, line.deactivated), (None, 1))
            });
            assert_function(&sim.core(0).call(&to(A)), Function::MsgSendDirectResp);
        }
    }
}
