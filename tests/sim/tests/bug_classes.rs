// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mistakes that others shipped with interrupts (bug classes 45 to 50) and cannot be seen from one call:
//! spurious interrupts, priority masks, and who is left out. With I1 and I13 of the abuse cases.

use std::sync::{Arc, Mutex};

use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Version, Width};
use bulkhead_core::VcpuContext;
use bulkhead_core::event::{Event, Fault, FaultKind};
use bulkhead_core::vcpu::{NonSecureInterrupts, StateName};
use bulkhead_sim::*;

use NonSecureInterrupts::{ManagedExit, Queued, Signaled};

const NWD: EndpointId = EndpointId(0);
const A: EndpointId = EndpointId(0x8001);
const B: EndpointId = EndpointId(0x8002);
const C: EndpointId = EndpointId(0x8003);
const IDS: [EndpointId; 3] = [A, B, C];
/// The interrupts of alpha's devices, and of beta's.
const OURS: [u32; 2] = [34, 35];
const THEIRS: u32 = 36;
/// In ticks of the simulator.
const RUN_TIMEOUT: u64 = 100_000_000;

const RESP: Function = Function::MsgSendDirectResp;

fn to(id: EndpointId, what: u64) -> Registers {
    request(Width::W64, NWD, id, [what, 0, 0, 0, 0])
}

fn is(message: &Registers, function: Function) -> bool {
    [Width::W32, Width::W64]
        .map(|width| function.id(width))
        .contains(&message.x[0])
}

/// Makes a call that changes nothing; what is due is taken when it is done.
fn visit(sp: &mut Sp) {
    let nothing = call([0xc3ff_ffff, 1, 2, 3, 4, 5, 6, 7]);
    let reply = sp.hvc(&nothing);
    assert_eq!(reply.x[1..], nothing.x[1..]);
}

/// Who was entered, what it was told, and whether non-secure interrupts were masked.
type Entered = (EndpointId, u64, bool);
type Entries = Arc<Mutex<Vec<Entered>>>;

fn watched(builder: SimBuilder) -> (SimBuilder, Entries) {
    let entries = Entries::default();
    let shared = entries.clone();
    let builder = builder.watch(move |_, core, machine| {
        let who = IDS[core.running().unwrap().partition()];
        let x0 = core.context().unwrap().registers().x[0];
        shared.lock().unwrap().push((who, x0, machine.masked));
    });
    (builder, entries)
}

fn take(entries: &Entries) -> Vec<Entered> {
    std::mem::take(&mut *entries.lock().unwrap())
}

/// Enables `own`, handles what comes, and does `work` for each message.
fn handling(
    own: &'static [u32],
    work: impl Fn(&mut Sp, &Registers) + Send + Sync + 'static,
) -> impl Fn(&mut Sp) + Send + Sync + 'static {
    move |sp| {
        sp.enable(own);
        let mut message = sp.wait();
        loop {
            work(sp, &message);
            sp.handle_all();
            message = if is(&message, Function::MsgSendDirectReq) {
                sp.respond(&message, [message.x[3] + 1, 0, 0, 0, 0])
            } else {
                sp.wait()
            };
        }
    }
}

fn tally(sim: &Sim, partition: usize) -> (u64, u64, u64) {
    let tally = sim.spmc().partitions()[partition].vcpus()[0]
        .interrupts
        .tally();
    (tally.raised, tally.delivered, tally.pending)
}

/// Spins until something reaches S-EL2, and finds its registers as they were.
fn spin(sp: &mut Sp, _: &Registers) {
    let before = call([1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(sp.spin(&before).x, before.x);
}

#[test]
fn d45_i1_a_spurious_interrupt_leaves_everything_as_it_was() {
    let (builder, entries) = watched(Sim::builder());
    let mut sim = builder
        .partition(Spec::new("alpha", A, handling(&OURS, spin)).interrupts(&OURS))
        .boot();
    sim.negotiate(Version::OURS);
    take(&entries);
    for round in 1..=3 {
        // While it handles a request,
        sim.core(0).raise_in_spin(Pending::Spurious);
        let reply = sim.core(0).call(&to(A, 7));
        assert_eq!((reply.x[0], reply.x[3]), (RESP.id(Width::W64), 8));
        assert!(
            take(&entries)
                .iter()
                .all(|entry| (entry.0, entry.2) == (A, false))
        );
        // while it handles an interrupt,
        sim.line(OURS[0], |line| line.asserted = true);
        sim.core(0).raise_in_spin(Pending::Spurious);
        sim.core(0).run_normal_world();
        assert!(
            take(&entries)
                .iter()
                .all(|entry| (entry.0, entry.2) == (A, true))
        );
        assert_eq!(tally(&sim, 0), (round, round, 0));
        // and while the normal world runs: FFA_NORMAL_WORLD_RESUME (DECISIONS 23).
        sim.core(0).raise(Pending::Spurious);
        sim.core(0).run_normal_world();
        assert_eq!(take(&entries), []);
        assert_eq!(
            sim.spmc().unowned_interrupts(),
            0,
            "1023 is nobody's interrupt"
        );
        assert_eq!(sim.disabled(), []);
        assert_eq!(sim.core(0).machine.deadline, None);
        assert_eq!(sim.state(0, 0), StateName::Waiting);
    }
}

/// What alpha does for a request of this number, and what the normal world gets.
const WAYS_OUT: [(u64, Function); 6] = [
    (1, RESP),
    (2, Function::Yield),
    (3, RESP),
    (4, Function::Interrupt),
    (5, Function::Error),
    (6, Function::Error),
];

/// One way out for each number of [`WAYS_OUT`].
fn way_out(sp: &mut Sp, message: &Registers) {
    let nothing = call([0; 8]);
    match message.x[3] {
        2 => sp.call(&ffa(Function::Yield, [0; 4])),
        // Beta, which lets non-secure interrupts in when it is alone.
        3 => sp.call(&request(Width::W64, A, B, [9, 0, 0, 0, 0])),
        // Its time is over.
        4 => sp.spin(&nothing),
        5 => sp.call(&ffa(Function::Abort, [0; 4])),
        6 => {
            let (kind, syndrome, address) = (FaultKind::External, 0, 0);
            let fault = Fault {
                kind,
                syndrome,
                address,
            };
            sp.trap(&nothing, Event::Fault(fault))
        }
        _ => nothing,
    };
}

/// C-03: the mask is on while a partition that queues runs, or whoever it asked, and gone with it, however it
/// leaves. That nothing is left of it when the normal world goes on is checked after each call (IR5).
#[test]
fn d46_the_mask_of_non_secure_interrupts_comes_and_goes_with_who_wants_it() {
    for (way, answer) in WAYS_OUT {
        let (builder, entries) = watched(Sim::builder());
        let mut sim = builder
            .partition(
                Spec::new("alpha", A, handling(&OURS, way_out))
                    .interrupts(&OURS)
                    .with(|config| {
                        config.version = Version::V1_3;
                        config.non_secure_interrupts = Queued;
                    }),
            )
            .partition(Spec::new("beta", B, handling(&[], |_, _| ())))
            .boot();
        sim.negotiate(Version::OURS);
        assert!(
            take(&entries).iter().all(|entry| entry.2),
            "while they initialise"
        );
        sim.core(0).raise(Pending::NonSecure);
        assert_function(&sim.core(0).call(&to(A, way)), answer);
        let masks = take(&entries);
        assert!(
            !masks.is_empty() && masks.iter().all(|entry| entry.2),
            "{way}: {masks:?}"
        );
        assert!(!sim.core(0).machine.masked, "{way}");
        assert_eq!(
            sim.core(0).take_non_secure_interrupts(),
            1,
            "{way}: it was kept waiting"
        );
        // Beta is not masked by what alpha had; nor is alpha's next run without the mask.
        assert_function(&sim.core(0).call(&to(B, 0)), RESP);
        assert!(take(&entries).iter().all(|entry| !entry.2), "{way}");
        if matches!(answer, Function::Yield | Function::Interrupt) {
            assert_function(&sim.core(0).call(&run(A, 0)), RESP);
            assert!(take(&entries).iter().all(|entry| entry.2), "{way}");
        }
        assert_eq!(sim.core(0).machine.deadline, None, "{way}");
    }
}

/// nothing gets the core before the handler is done: no non-secure interrupt, and none of another partition.
#[test]
fn d46_a_chain_that_bulkhead_schedules_is_not_preempted() {
    for treatment in [Signaled, ManagedExit, Queued] {
        let work = |sp: &mut Sp, message: &Registers| {
            if is(message, Function::Interrupt) && sp.id == A {
                sp.line(THEIRS, |line| line.asserted = true);
                visit(sp);
                // Whoever it asks is of the same chain.
                let reply = sp.call(&request(Width::W64, A, C, [1, 0, 0, 0, 0]));
                assert_eq!((error(&reply), reply.x[3]), (None, 2));
                visit(sp);
            }
        };
        let (builder, entries) = watched(Sim::builder());
        let mut sim = builder
            .partition(
                Spec::new("alpha", A, handling(&OURS, work))
                    .interrupts(&OURS)
                    .with(|config| config.non_secure_interrupts = treatment),
            )
            .partition(Spec::new("beta", B, handling(&[THEIRS], |_, _| ())).interrupts(&[THEIRS]))
            .partition(Spec::new("gamma", C, handling(&[], |sp, _| visit(sp))))
            .boot();
        sim.negotiate(Version::OURS);
        take(&entries);
        sim.line(OURS[0], |line| line.asserted = true);
        sim.core(0).raise(Pending::NonSecure);
        sim.core(0).run_normal_world();
        let mut order = take(&entries);
        assert!(
            order.iter().all(|entry| entry.2),
            "{treatment:?}: masked in all of it"
        );
        order.dedup_by_key(|entry| entry.0);
        let order: Vec<_> = order.iter().map(|entry| entry.0).collect();
        assert_eq!(
            order,
            [A, C, A, B],
            "{treatment:?}: beta's comes after that"
        );
        assert_eq!(sim.core(0).take_non_secure_interrupts(), 1);
        assert_eq!((tally(&sim, 0), tally(&sim, 1)), ((1, 1, 0), (1, 1, 0)));
    }
}

/// G17: the handler that is entered before an answer is on its way is a chain like any other that Bulkhead
/// schedules, and the answer is delivered once behind it.
#[test]
fn d46_d47_what_is_entered_before_an_answer_goes_out_masks_others() {
    let work = |sp: &mut Sp, message: &Registers| {
        if is(message, Function::Interrupt) {
            assert_eq!(sp.fetch(), Some(OURS[0]));
            sp.line(THEIRS, |line| line.asserted = true);
            visit(sp);
            sp.line(OURS[0], |line| line.asserted = false);
            assert!(sp.deactivate(OURS[0]));
        }
    };
    let alpha = move |sp: &mut Sp| {
        sp.enable(&OURS);
        let mut message = sp.wait();
        loop {
            if is(&message, Function::MsgSendDirectReq) {
                sp.line(OURS[0], |line| line.asserted = true);
                visit(sp);
                message = sp.respond(&message, [message.x[3] + 1, 0, 0, 0, 0]);
            } else {
                work(sp, &message);
                message = sp.wait();
            }
        }
    };
    let (builder, entries) = watched(Sim::builder());
    let mut sim = builder
        .partition(Spec::new("alpha", A, alpha).interrupts(&OURS))
        .partition(Spec::new("beta", B, handling(&[THEIRS], |_, _| ())).interrupts(&[THEIRS]))
        .boot();
    sim.negotiate(Version::OURS);
    take(&entries);
    for round in 1..=3 {
        let reply = sim.core(0).call(&to(A, round));
        assert_function(&reply, RESP);
        assert_eq!(reply.x[3], round + 1);
        let seen = take(&entries);
        let interrupt = Function::Interrupt.id(Width::W32);
        let handler = seen
            .iter()
            .position(|entry| (entry.0, entry.1) == (A, interrupt));
        let handler = handler.expect("alpha is entered for it");
        assert!(
            seen[..handler].iter().all(|entry| !entry.2),
            "alpha lets them in before"
        );
        assert!(
            seen[handler..].iter().all(|entry| entry.2),
            "its handler does not"
        );
        let last = seen[handler..].iter().skip_while(|entry| entry.0 == A);
        assert!(last.clone().count() > 0 && last.clone().all(|entry| entry.0 == B));
        assert_eq!(
            (tally(&sim, 0), tally(&sim, 1)),
            ((round, round, 0), (round, round, 0))
        );
    }
}

/// An interrupt waits for a partition that queues those of others; who asked that one does not go on before it.
#[test]
fn d47_an_interrupt_that_waited_is_handled_before_a_requester_goes_on() {
    let alpha = handling(&OURS, |_, _| ());
    let beta = handling(&[], |sp, _| {
        sp.line(OURS[0], |line| line.asserted = true);
        visit(sp);
    });
    let gamma = handling(&[], |sp, message| {
        let reply = sp.call(&request(Width::W64, C, B, [message.x[3], 0, 0, 0, 0]));
        assert_eq!((error(&reply), reply.x[3]), (None, message.x[3] + 1));
    });
    let (builder, entries) = watched(Sim::builder());
    let mut sim = builder
        .partition(Spec::new("alpha", A, alpha).interrupts(&OURS))
        .partition(
            Spec::new("beta", B, beta).with(|config| config.other_secure_interrupts_queued = true),
        )
        .partition(Spec::new("gamma", C, gamma))
        .boot();
    sim.negotiate(Version::OURS);
    take(&entries);
    let reply = sim.core(0).call(&to(C, 4));
    assert_eq!((reply.x[0], reply.x[3]), (RESP.id(Width::W64), 5));
    let mut order = take(&entries);
    order.dedup_by_key(|entry| entry.0);
    let order: Vec<_> = order.iter().map(|entry| entry.0).collect();
    assert_eq!(order, [C, B, A, C]);
    assert_eq!(tally(&sim, 0), (1, 1, 0));
}

/// Its partition has no context on the core that takes the interrupt: the one that waits on another core gets it.
#[test]
fn d47_a_context_that_waits_on_another_core_is_entered_there() {
    let (builder, entries) = watched(Sim::builder());
    let mut sim = builder
        .cores(2)
        .partition(
            Spec::new("alpha", A, handling(&OURS, |_, _| ()))
                .multi_core()
                .interrupts(&OURS),
        )
        .boot();
    sim.negotiate(Version::OURS);
    sim.core(1).switch_on();
    assert_eq!(sim.state(0, 1), StateName::Off);
    take(&entries);
    sim.line(OURS[0], |line| (line.asserted, line.target) = (true, 1));
    sim.core(1).run_normal_world();
    assert_eq!(take(&entries), []);
    assert_eq!(tally(&sim, 0), (1, 0, 1));
    // The other core was kicked.
    sim.core(0).run_normal_world();
    let interrupt = Function::Interrupt.id(Width::W32);
    assert_eq!(take(&entries)[0], (A, interrupt, true));
    assert_eq!(tally(&sim, 0), (1, 1, 0));
    sim.line(OURS[0], |line| {
        assert_eq!((line.active, line.deactivated), (None, 1));
    });
}

/// What was pending when the interrupt was signalled may be gone, or another one, when S-EL2 looks.
#[test]
fn d50_a_non_secure_interrupt_that_is_gone_costs_a_way_to_the_normal_world() {
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, handling(&[], |sp, _| visit(sp))))
        .boot();
    for round in 1..=3 {
        sim.core(0).raise(Pending::Gone);
        let reply = sim.core(0).call(&to(A, round));
        assert_function(&reply, Function::Interrupt);
        assert_eq!(sim.state(0, 0), StateName::Preempted);
        assert_eq!(sim.core(0).take_non_secure_interrupts(), 0);
        assert_eq!(sim.core(0).machine.group0_handled, 0);
        let reply = sim.core(0).call(&run(A, 0));
        assert_eq!((reply.x[0], reply.x[3]), (RESP.id(Width::W64), round + 1));
    }
}

/// Group 0 is EL3's, whoever runs and however it treats non-secure interrupts; who runs goes on.
#[test]
fn i13_a_group_0_interrupt_goes_to_el3_from_everywhere() {
    for treatment in [Signaled, ManagedExit, Queued] {
        let (builder, entries) = watched(Sim::builder());
        let mut sim = builder
            .partition(
                Spec::new("alpha", A, handling(&OURS, |sp, _| visit(sp)))
                    .interrupts(&OURS)
                    .with(|config| config.non_secure_interrupts = treatment),
            )
            .boot();
        sim.negotiate(Version::OURS);
        take(&entries);
        assert_function(&sim.core(0).call(&to(A, 1)), RESP);
        sim.line(OURS[0], |line| line.asserted = true);
        sim.core(0).run_normal_world();
        let plain = take(&entries);
        sim.core(0).raise(Pending::Group0);
        let reply = sim.core(0).call(&to(A, 1));
        assert_eq!(
            (reply.x[0], reply.x[3]),
            (RESP.id(Width::W64), 2),
            "{treatment:?}"
        );
        assert_eq!(sim.core(0).machine.group0_handled, 1);
        // While it handles an interrupt, a non-secure one waits behind it.
        sim.line(OURS[0], |line| line.asserted = true);
        sim.core(0).raise(Pending::NonSecure);
        sim.core(0).raise(Pending::Group0);
        sim.core(0).run_normal_world();
        assert_eq!(sim.core(0).machine.group0_handled, 2);
        assert_eq!(sim.core(0).take_non_secure_interrupts(), 1);
        assert_eq!(take(&entries), plain, "{treatment:?}: nobody noticed");
        assert_error(&sim.core(0).call(&to(B, 0)), FfaError::InvalidParameters);
    }
}

/// Interrupts of Group 0 give a partition no more time than it has.
#[test]
fn i13_group_0_interrupts_do_not_prolong_a_run() {
    const EVENT: u64 = 1000;
    let alpha = handling(&[], |sp, message| {
        spin(sp, message);
        spin(sp, message);
    });
    let mut sim = Sim::builder()
        .partition(
            Spec::new("alpha", A, alpha).with(|config| config.non_secure_interrupts = Queued),
        )
        .boot();
    sim.core(0).machine.ticks_per_event = EVENT;
    sim.core(0).raise_in_spin(Pending::Group0);
    let before = sim.core(0).machine.now;
    assert_function(&sim.core(0).call(&to(A, 1)), Function::Interrupt);
    assert_eq!(sim.core(0).machine.group0_handled, 1);
    let spent = sim.core(0).machine.now - before;
    assert!(
        (RUN_TIMEOUT..RUN_TIMEOUT + 5 * EVENT).contains(&spent),
        "{spent}"
    );
    assert_eq!(sim.core(0).machine.deadline, None);
}

/// Alpha awaits beta, and lets it go on whenever it is told of its interrupt, which it does not fetch: beta goes on
/// all the same, and alpha has its interrupt still when the answer has come (I4).
#[test]
fn i4_who_ignores_its_interrupt_does_not_keep_whom_it_awaits_from_going_on() {
    const MOST: usize = 16;
    let alpha = |sp: &mut Sp| {
        sp.enable(&OURS);
        let mut message = sp.wait();
        loop {
            let mut reply = sp.call(&request(Width::W64, A, B, [1, 0, 0, 0, 0]));
            let mut told = 0;
            while is(&reply, Function::Interrupt) {
                told += 1;
                reply = sp.call(&run(B, 0));
            }
            assert_eq!((error(&reply), reply.x[3]), (None, 2));
            assert_eq!(sp.handle_all(), [OURS[0]]);
            message = sp.respond(&message, [told, 0, 0, 0, 0]);
        }
    };
    let beta = handling(&[], |sp, _| {
        sp.line(OURS[0], |line| line.asserted = true);
        visit(sp);
    });
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, alpha).interrupts(&OURS))
        .partition(Spec::new("beta", B, beta))
        .boot();
    sim.negotiate(Version::OURS);
    for round in 1..=3 {
        let reply = sim.core(0).call(&to(A, 0));
        assert_function(&reply, RESP);
        assert_eq!(reply.x[3], MOST as u64, "so often, and then no more");
        assert_eq!(tally(&sim, 0), (round, round, 0));
        sim.line(OURS[0], |line| {
            assert_eq!((line.active, line.deactivated), (None, round))
        });
    }
}
