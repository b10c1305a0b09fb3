// SPDX-License-Identifier: MIT OR Apache-2.0
//! Several cores: initialisation on each, cores that go off, and all of them at once (C5 to C8, W2, W5;
//! CV1, CV3 and CV5).

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

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
const D: EndpointId = EndpointId(0x8004);
const E: EndpointId = EndpointId(0x8005);

/// The initialisation of a multi-core partition.
fn register_secondary_entry(sp: &mut Sp) {
    let [_, low] = sp.id.0.to_be_bytes();
    let mut register = call([0; 8]);
    register.x[0] = Function::SecondaryEpRegister.id(Width::W64);
    register.x[1] = 0x1000_4100 + (u64::from(low) << 20);
    sp.call(&register);
}

fn crash(sp: &mut Sp) -> ! {
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
    );
    panic!("a partition ran on after a fault");
}

fn echo(sp: &mut Sp) {
    let mut message = sp.wait();
    loop {
        message = sp.respond(&message, [message.x[3] + 1, 0, 0, 0, 0]);
    }
}

/// Spins in each request until it is interrupted, and then answers.
fn slow(sp: &mut Sp) {
    register_secondary_entry(sp);
    let mut message = sp.wait();
    loop {
        sp.spin(&message);
        message = sp.respond(&message, [0x510, 0, 0, 0, 0]);
    }
}

fn to(id: EndpointId) -> Registers {
    request(Width::W64, NWD, id, [1, 0, 0, 0, 0])
}

/// Alpha waits and never answers; beta asks it while beta initialises.
#[test]
fn k11_whoever_initialises_too_long_is_ended_and_not_whom_it_asks() {
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, |sp| {
            let mut message = sp.wait();
            loop {
                if message.x[3] == 2 {
                    // Beta has used up its time when it asks: not alpha's fault.
                    sp.spin(&message);
                }
                message = sp.respond(&message, [message.x[3] + 1, 0, 0, 0, 0]);
            }
        }))
        .partition(Spec::new("beta", B, |sp| {
            let reply = sp.call(&request(Width::W64, B, A, [2, 0, 0, 0, 0]));
            panic!("beta went on after its time was over: {reply:?}");
        }))
        .partition(Spec::new("gamma", C, echo))
        .boot();
    let health = |sim: &Sim, index: usize| sim.spmc().partitions()[index].health();
    assert_eq!(
        health(&sim, 1),
        Health::Aborted,
        "beta initialises too long"
    );
    assert_eq!(health(&sim, 0), Health::Live, "alpha did nothing wrong");
    assert_eq!(health(&sim, 2), Health::Live);
    assert_eq!(sim.core(0).call(&to(A)).x[3], 2);
    assert_eq!(sim.core(0).call(&to(C)).x[3], 2);
}

/// Alpha never answers, and beta, which asks it in its initialisation, would spin if it ever went on.
#[test]
fn k11_a_callee_that_never_answers_an_initialisation_is_ended_too() {
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, |sp| {
            let message = sp.wait();
            loop {
                sp.spin(&message);
            }
        }))
        .partition(Spec::new("beta", B, |sp| {
            let reply = sp.call(&request(Width::W64, B, A, [2, 0, 0, 0, 0]));
            loop {
                sp.spin(&reply);
            }
        }))
        .partition(Spec::new("gamma", C, echo))
        .boot();
    for index in 0..2 {
        let health = sim.spmc().partitions()[index].health();
        assert_eq!(health, Health::Aborted);
        assert_eq!(sim.state(index, 0), StateName::Aborted);
    }
    assert_eq!(sim.core(0).call(&to(C)).x[3], 2);
}

/// A chain of three in which all spin.
#[test]
fn k11_every_link_of_an_initialisation_has_a_bound() {
    fn ask_and_spin(target: EndpointId) -> impl Fn(&mut Sp) + Send + Sync {
        move |sp| {
            let message = sp.wait();
            sp.call(&request(Width::W64, sp.id, target, [2, 0, 0, 0, 0]));
            loop {
                sp.spin(&message);
            }
        }
    }
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, |sp| {
            let message = sp.wait();
            loop {
                sp.spin(&message);
            }
        }))
        .partition(Spec::new("beta", B, ask_and_spin(A)))
        .partition(Spec::new("gamma", C, |sp| {
            let reply = sp.call(&request(Width::W64, C, B, [2, 0, 0, 0, 0]));
            loop {
                sp.spin(&reply);
            }
        }))
        .partition(Spec::new("delta", D, echo))
        .boot();
    for index in 0..3 {
        assert_eq!(sim.state(index, 0), StateName::Aborted, "{index}");
    }
    assert_eq!(sim.core(0).call(&to(D)).x[3], 2);
}

/// A callee that faults in an initialisation leaves the initialising partition with its deadline.
#[test]
fn k11_a_callee_that_faults_does_not_end_the_bound() {
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, |sp| {
            sp.wait();
            crash(sp);
        }))
        .partition(Spec::new("beta", B, |sp| {
            let reply = sp.call(&request(Width::W64, B, A, [2, 0, 0, 0, 0]));
            assert_error(&reply, FfaError::Aborted);
            loop {
                sp.spin(&reply);
            }
        }))
        .partition(Spec::new("gamma", C, echo))
        .boot();
    assert_eq!(sim.state(1, 0), StateName::Aborted);
    assert_eq!(sim.core(0).call(&to(C)).x[3], 2);
}

#[test]
fn w2_contexts_that_are_preempted_when_their_core_goes_off_go_on_when_it_is_back() {
    for queued in [false, true] {
        let change = move |config: &mut bulkhead_core::partition::PartitionConfig| {
            if queued {
                config.non_secure_interrupts = NonSecureInterrupts::Queued;
            }
        };
        let mut sim = Sim::builder()
            .cores(2)
            .partition(Spec::new("alpha", A, slow).multi_core().with(change))
            .partition(Spec::new("beta", B, slow).with(change))
            .boot();
        sim.core(1).switch_on();
        for (index, id) in [(0, A), (1, B)] {
            sim.core(1).raise_in_spin(Pending::NonSecure);
            let reply = sim.core(1).call(&to(id));
            assert_function(&reply, Function::Interrupt);
            sim.core(1).take_non_secure_interrupts();
            let vcpu = usize::from(EndpointId::low_half(reply.x[1]).0);
            assert_eq!(sim.state(index, vcpu), StateName::Preempted);
            sim.core(1).switch_off_and_on();
            assert_eq!(
                sim.core(1).machine.prepared_off,
                u32::try_from(index).unwrap() + 1
            );
            assert_eq!(sim.state(index, vcpu), StateName::Preempted);
            let resume = run(id, u16::try_from(vcpu).unwrap());
            let reply = sim.core(1).call(&resume);
            assert_function(&reply, Function::MsgSendDirectResp);
            assert_eq!((reply.x[1], reply.x[3]), (EndpointId::pair(id, NWD), 0x510));
            assert_eq!(sim.state(index, vcpu), StateName::Waiting);
        }
    }
}

/// Asks the partition that the request names, and answers with what that answered.
fn ask(sp: &mut Sp) {
    register_secondary_entry(sp);
    let mut message = sp.wait();
    loop {
        let next = EndpointId((message.x[4] & 0xffff) as u16);
        let reply = sp.call(&request(Width::W64, sp.id, next, [1, 0, 0, 0, 0]));
        message = sp.respond(&message, [reply.x[3], reply.x[0], reply.x[2], 0, 0]);
    }
}

/// Two single-core partitions, the second preempted on core 1.
fn chain_of_singles(head: Spec) -> (Sim, EndpointId) {
    let head_id = A;
    let mut sim = Sim::builder()
        .cores(3)
        .partition(head)
        .partition(Spec::new("beta", B, slow))
        .partition(Spec::new("gamma", C, echo))
        .boot();
    sim.core(1).switch_on();
    sim.core(2).switch_on();
    sim.core(1).raise_in_spin(Pending::NonSecure);
    let via = request(Width::W64, NWD, head_id, [0, B.0.into(), 0, 0, 0]);
    let reply = sim.core(1).call(&via);
    assert_function(&reply, Function::Interrupt);
    assert_eq!(reply.x[1], EndpointId::pair(B, EndpointId(0)));
    sim.core(1).take_non_secure_interrupts();
    (sim, head_id)
}

#[test]
fn w2_a_chain_of_single_core_partitions_goes_on_elsewhere_when_its_core_is_off() {
    let (mut sim, head) = chain_of_singles(Spec::new("alpha", A, ask));
    assert_error(&sim.core(2).call(&run(B, 0)), FfaError::Denied);
    sim.core(1).switch_off();
    // Nobody else was harmed, and the chain is as it was.
    assert_eq!(sim.core(2).call(&to(C)).x[3], 2);
    assert_error(&sim.core(2).call(&to(B)), FfaError::Busy);
    assert_error(&sim.core(2).call(&run(head, 0)), FfaError::Denied);
    assert_eq!(sim.state(1, 0), StateName::Preempted);
    // The whole of it goes on on the core that runs its end, and is preempted there like any other.
    sim.core(2).raise_in_spin(Pending::NonSecure);
    sim.core(2).raise(Pending::NonSecure);
    let reply = sim.core(2).call(&run(B, 0));
    assert_function(&reply, Function::Interrupt);
    sim.core(2).take_non_secure_interrupts();
    assert_error(&sim.core(0).call(&run(B, 0)), FfaError::Denied);
    sim.core(1).switch_on();
    assert_error(&sim.core(1).call(&run(B, 0)), FfaError::Denied);
    sim.core(2).raise_in_spin(Pending::NonSecure);
    let mut reply = sim.core(2).call(&run(B, 0));
    while reply.x[0] == Function::Interrupt.id(Width::W32) {
        sim.core(2).take_non_secure_interrupts();
        reply = sim.core(2).call(&run(B, 0));
    }
    assert_function(&reply, Function::MsgSendDirectResp);
    assert_eq!(
        (reply.x[1], reply.x[3]),
        (EndpointId::pair(head, NWD), 0x510)
    );
    for partition in 0..3 {
        assert_eq!(sim.state(partition, 0), StateName::Waiting);
    }
}

#[test]
fn w2_a_chain_with_a_pinned_context_waits_for_its_core() {
    let (mut sim, head) = chain_of_singles(Spec::new("alpha", A, ask).multi_core());
    sim.core(1).switch_off();
    for core in [0, 2] {
        assert_error(&sim.core(core).call(&run(B, 0)), FfaError::Denied);
        assert_error(&sim.core(core).call(&to(B)), FfaError::Busy);
    }
    assert_eq!(sim.state(0, 1), StateName::Blocked);
    sim.core(1).switch_on();
    let reply = sim.core(1).call(&run(B, 0));
    assert_function(&reply, Function::MsgSendDirectResp);
    assert_eq!(
        (reply.x[1], reply.x[3]),
        (EndpointId::pair(head, NWD), 0x510)
    );
    for (partition, vcpu) in [(0, 1), (1, 0), (2, 0)] {
        assert_eq!(sim.state(partition, vcpu), StateName::Waiting);
    }
}

/// A partition of which one context ended while another waits in a chain whose core is off (C7).
#[test]
fn w2_a_preempted_context_of_an_aborted_partition_is_unwound_when_its_core_is_back() {
    let mut sim = Sim::builder()
        .cores(2)
        .partition(
            Spec::new("alpha", A, |sp| {
                register_secondary_entry(sp);
                let message = sp.wait();
                if sp.vcpu == 0 {
                    crash(sp);
                }
                sp.spin(&message);
                panic!("a context of an aborted partition ran on");
            })
            .multi_core(),
        )
        .partition(Spec::new("beta", B, ask))
        .boot();
    sim.core(1).switch_on();
    sim.core(1).raise_in_spin(Pending::NonSecure);
    let via = request(Width::W64, NWD, B, [0, A.0.into(), 0, 0, 0]);
    assert_function(&sim.core(1).call(&via), Function::Interrupt);
    sim.core(1).take_non_secure_interrupts();
    sim.core(1).switch_off();
    assert_error(&sim.core(0).call(&to(A)), FfaError::Aborted);
    assert_error(&sim.core(0).call(&to(B)), FfaError::Busy);
    sim.core(1).switch_on();
    let reply = sim.core(1).call(&run(A, 1));
    assert_function(&reply, Function::MsgSendDirectResp);
    assert_eq!(
        reply.x[4..6],
        [
            Function::Error.id(Width::W32),
            FfaError::Aborted.to_register()
        ]
    );
    assert_eq!(sim.state(0, 1), StateName::Aborted);
    assert_eq!(sim.state(1, 0), StateName::Waiting);
}

/// A context that is not on has no entry to be run from: only CPU_ON starts it.
#[test]
fn r8_a_context_that_is_off_is_not_run() {
    let mut sim = Sim::builder()
        .cores(3)
        .partition(
            Spec::new("alpha", A, |sp| {
                register_secondary_entry(sp);
                echo(sp);
            })
            .multi_core(),
        )
        // It never says where its other contexts begin.
        .partition(Spec::new("beta", B, echo).multi_core())
        .boot();
    sim.core(1).switch_on();
    assert_eq!(sim.core(1).call(&to(A)).x[3], 2);
    for (core, id, index) in [(1, B, 1), (2, A, 0), (2, B, 1)] {
        let vcpu = u16::try_from(core).unwrap();
        assert_eq!(sim.state(index, core), StateName::Off);
        assert_error(&sim.core(core).call(&run(id, vcpu)), FfaError::Busy);
        assert_error(&sim.core(core).call(&to(id)), FfaError::Busy);
        assert_eq!(sim.state(index, core), StateName::Off);
    }
}

/// It cannot be started again, so it is not switched off.
#[test]
fn w5_a_partition_without_a_secondary_entry_keeps_its_boot_context() {
    let mut sim = Sim::builder()
        .cores(2)
        .partition(
            Spec::new("alpha", A, |sp| {
                let mut message = sp.wait();
                for count in 1.. {
                    message = sp.respond(&message, [count, 0, 0, 0, 0]);
                }
            })
            .multi_core(),
        )
        .boot();
    for count in 1..4 {
        assert_eq!(sim.core(0).call(&to(A)).x[3], count);
        sim.core(0).switch_off_and_on();
        assert_eq!(sim.state(0, 0), StateName::Waiting);
        assert_eq!(sim.state(0, 1), StateName::Off);
    }
}

#[test]
fn w1_a_core_that_comes_on_twice_starts_no_context_again() {
    let mut sim = Sim::builder()
        .cores(2)
        .partition(
            Spec::new("alpha", A, |sp| {
                register_secondary_entry(sp);
                let mut count = 0;
                let mut message = sp.wait();
                loop {
                    count += 1;
                    message = sp.respond(&message, [count, 0, 0, 0, 0]);
                }
            })
            .multi_core(),
        )
        .boot();
    sim.core(1).switch_on();
    for count in 1..4 {
        assert_eq!(sim.core(1).call(&to(A)).x[3], count);
        // EL3 lets no core come on that is on; if it did, nothing would start from the beginning.
        sim.core(1).switch_on();
    }
    assert_eq!(sim.core(0).call(&to(A)).x[3], 1);
}

/// Two cores run the context of a single-core partition at once, again and again: each time one of them
/// gets it, and no core runs it before the other one has saved it (a loaded context fails the entry).
#[test]
fn r11_r12_one_of_two_cores_runs_a_single_core_context() {
    let sim = Sim::builder()
        .cores(2)
        .partition(Spec::new("alpha", A, |sp| {
            let mut runs = 0;
            loop {
                let message = sp.wait();
                if message.x[0] == Function::Run.id(Width::W32) {
                    runs += 1;
                } else {
                    sp.respond(&message, [runs, 0, 0, 0, 0]);
                }
            }
        }))
        .boot();
    let spmc = sim.shared_spmc();
    let mut cores = sim.into_cores();
    cores[1].switch_on();
    let tallies: Vec<(u64, u64)> = thread::scope(|scope| {
        let workers: Vec<_> = cores
            .iter_mut()
            .map(|core| {
                scope.spawn(|| {
                    let (mut ran, mut busy) = (0, 0);
                    while ran < 2000 {
                        let reply = core.call(&run(A, 0));
                        match error(&reply) {
                            None => {
                                assert_function(&reply, Function::MsgWait);
                                ran += 1;
                            }
                            Some(code) => {
                                assert_eq!(code, FfaError::Busy.to_register());
                                busy += 1;
                            }
                        }
                    }
                    (ran, busy)
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .collect()
    });
    println!("runs and refusals: {tallies:?}");
    assert_eq!(spmc.partitions()[0].vcpus()[0].state(), StateName::Waiting);
    let total: u64 = tallies.iter().map(|(ran, _)| ran).sum();
    assert_eq!(cores[0].call(&to(A)).x[3], total);
}

#[test]
fn w5_only_the_contexts_of_the_core_are_started_again() {
    let starts = std::sync::Arc::new(Mutex::new(BTreeMap::new()));
    let seen = starts.clone();
    let program = move |sp: &mut Sp| {
        *seen.lock().unwrap().entry((sp.id.0, sp.vcpu)).or_insert(0) += 1;
        register_secondary_entry(sp);
        echo(sp);
    };
    let mut sim = Sim::builder()
        .cores(2)
        .partition(Spec::new("alpha", A, program.clone()).multi_core())
        .partition(Spec::new("beta", B, program))
        .boot();
    sim.core(1).switch_on();
    for core in [0, 1, 0] {
        sim.core(core).switch_off_and_on();
        for id in [A, B] {
            assert_eq!(sim.core(core).call(&to(id)).x[3], 2);
        }
    }
    let starts = starts.lock().unwrap();
    assert_eq!(starts[&(A.0, 0)], 3);
    assert_eq!(starts[&(A.0, 1)], 2);
    assert_eq!(starts[&(B.0, 0)], 1);
}

/// Another core ends the partition between any two steps of its mailbox calls.
#[test]
fn k14_a_partition_that_is_over_has_no_buffers_mapped() {
    for _ in 0..500 {
        let sim = Sim::builder()
            .cores(2)
            .partition(
                Spec::new("alpha", A, |sp| {
                    register_secondary_entry(sp);
                    sp.wait();
                    if sp.vcpu == 1 {
                        crash(sp);
                    }
                    let map = call([
                        Function::RxtxMap.id(Width::W64),
                        0x1010_8000,
                        0x1010_9000,
                        1,
                        0,
                        0,
                        0,
                        0,
                    ]);
                    let unmap = ffa(Function::RxtxUnmap, [0; 4]);
                    loop {
                        sp.call(&map);
                        sp.call(&unmap);
                    }
                })
                .multi_core(),
            )
            .boot();
        let look = sim.look();
        let mut cores = sim.into_cores();
        let mut second = cores.pop().unwrap();
        let mut first = cores.pop().unwrap();
        second.switch_on();
        thread::scope(|scope| {
            let mapping = scope.spawn(|| first.call(&to(A)));
            thread::yield_now();
            assert_error(&second.call(&to(A)), FfaError::Aborted);
            assert_error(&mapping.join().unwrap(), FfaError::Aborted);
        });
        assert!(
            look.rx(1).is_none(),
            "a buffer of an aborted partition is mapped"
        );
    }
}

/// xorshift64*: small, seeded.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

const SPIN: u64 = 1;
const CRASH: u64 = 2;
/// The second result of [`worker`]: what came of the request to the partition that it was told to ask.
const NOT_ASKED: u64 = 100;
const ANSWERED: u64 = 101;

/// Spins, crashes and asks another partition as it is told; answers with what it was sent, inverted.
fn worker(sp: &mut Sp) {
    register_secondary_entry(sp);
    let mut message = sp.wait();
    loop {
        if message.x[0] == Function::Run.id(Width::W32) {
            message = sp.wait();
            continue;
        }
        let [value, via, flags] = [message.x[3], message.x[4], message.x[5]];
        if flags & CRASH != 0 {
            crash(sp);
        }
        if flags & SPIN != 0 {
            sp.spin(&message);
        }
        let (mut outcome, mut inner) = (NOT_ASKED, 0);
        if via != 0 {
            let next = EndpointId((via & 0xffff) as u16);
            let ask = request(Width::W64, sp.id, next, [value ^ 1, via >> 16, 0, 0, 0]);
            let reply = sp.call(&ask);
            if reply.x[0] == Function::MsgSendDirectResp.id(Width::W64) {
                assert_eq!(
                    reply.x[1],
                    EndpointId::pair(next, sp.id),
                    "a foreign answer"
                );
                assert_eq!(reply.x[3], !(value ^ 1), "a foreign answer");
                (outcome, inner) = (ANSWERED, reply.x[4]);
            } else {
                outcome = error(&reply).expect("an answer or an error");
            }
        }
        message = sp.respond(&message, [!value, outcome, inner, 0, 0]);
    }
}

#[derive(Default, Debug)]
struct Tally {
    answers: u64,
    busy: u64,
    aborted: u64,
    interrupts: u64,
    restarts: u64,
    runs: u64,
}

const ALL: [EndpointId; 5] = [A, B, C, D, E];

/// What a normal world does on one core until `end`, by chance.
fn hammer(core: &mut Core, random: &mut Random, end: Instant, begin_crashes: Instant) -> Tally {
    let index = u16::try_from(core.state.index).unwrap();
    let mut tally = Tally::default();
    let mut value = u64::from(index) << 56;
    let codes = |errors: &[FfaError]| -> Vec<u64> {
        errors.iter().map(|error| error.to_register()).collect()
    };
    while Instant::now() < end {
        if random.one_in(200) {
            core.switch_off_and_on();
            tally.restarts += 1;
        }
        let id = ALL[random.below(5) as usize];
        if random.one_in(8) {
            let vcpu = if matches!(id, C | D) { 0 } else { index };
            let reply = core.call(&run(id, vcpu));
            let allowed = codes(&[FfaError::Busy, FfaError::Denied, FfaError::Aborted]);
            match error(&reply) {
                None => assert_function(&reply, Function::MsgWait),
                Some(code) => assert!(allowed.contains(&code), "FFA_RUN returned {code:#x}"),
            }
            tally.runs += 1;
            continue;
        }
        value += 1;
        let mut via = 0;
        for _ in 0..random.below(3) {
            via = via << 16 | u64::from(ALL[random.below(5) as usize].0);
        }
        let mut flags = 0;
        if random.one_in(4) {
            flags |= SPIN;
            core.raise_in_spin(Pending::NonSecure);
        } else if random.one_in(4) {
            core.raise(Pending::NonSecure);
        }
        if id == E && Instant::now() > begin_crashes && random.one_in(50) {
            flags |= CRASH;
        }
        let sent = [value, via, flags, 0, 0];
        let mut reply = core.call(&request(Width::W64, NWD, id, sent));
        while reply.x[0] == Function::Interrupt.id(Width::W32) {
            tally.interrupts += 1;
            core.take_non_secure_interrupts();
            if random.one_in(3) {
                // Nobody else's business: the chain stays as it is.
                let other = core.call(&request(Width::W64, NWD, id, [0; 5]));
                let code = error(&other).expect("the head of a preempted chain is not free");
                assert!(codes(&[FfaError::Busy, FfaError::Aborted]).contains(&code));
            }
            // Any core may go on with a chain of single-core partitions whose core was off, and another one
            // would take the answer (`w2_a_chain_of_single_core_partitions_…`).
            if random.one_in(10) && !matches!(id, C | D) {
                core.switch_off_and_on();
                tally.restarts += 1;
            }
            let (partition, vcpu) = (
                EndpointId::high_half(reply.x[1]),
                EndpointId::low_half(reply.x[1]).0,
            );
            if random.one_in(4) {
                core.raise(Pending::NonSecure);
            }
            reply = core.call(&run(partition, vcpu));
        }
        core.take_non_secure_interrupts();
        match error(&reply) {
            None => {
                assert_eq!(reply.x[0], Function::MsgSendDirectResp.id(Width::W64));
                assert_eq!(reply.x[1], EndpointId::pair(id, NWD), "a foreign answer");
                assert_eq!(reply.x[3], !value, "a foreign answer");
                tally.answers += 1;
            }
            Some(code) if code == FfaError::Busy.to_register() => tally.busy += 1,
            Some(code) if code == FfaError::Aborted.to_register() => {
                // Only what E takes part in can end like this.
                assert_eq!(id, E, "ABORTED of a partition that lives");
                tally.aborted += 1;
            }
            Some(code) => panic!("a request to {id} returned {code:#x}"),
        }
    }
    tally
}

/// Four normal-world cores do what they like at once. No reply is lost or foreign, and when all is quiet no
/// context is: CV1, CV3, CV5.
#[test]
fn cv_four_cores_at_once_lose_no_context() {
    const CORES: usize = 4;
    let sim = Sim::builder()
        .cores(CORES)
        .partition(Spec::new("alpha", A, worker).multi_core())
        .partition(Spec::new("beta", B, worker).multi_core())
        .partition(Spec::new("gamma", C, worker))
        .partition(Spec::new("delta", D, worker).with(|config| {
            config.non_secure_interrupts = NonSecureInterrupts::Queued;
        }))
        .partition(Spec::new("epsilon", E, worker).multi_core())
        .boot();
    let spmc = sim.shared_spmc();
    let mut cores = sim.into_cores();
    for core in &mut cores[1..] {
        core.switch_on();
    }
    let begin = Instant::now();
    let tallies: Vec<Tally> = thread::scope(|scope| {
        let workers: Vec<_> = (1u64..)
            .zip(&mut cores)
            .map(|(seed, core)| {
                scope.spawn(move || {
                    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                    let length = Duration::from_millis(2000);
                    hammer(core, &mut random, begin + length, begin + length / 2)
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .collect()
    });
    println!("{tallies:#?}");
    for (index, partition) in spmc.partitions().iter().enumerate() {
        for (vcpu, context) in partition.vcpus().iter().enumerate() {
            let state = context.state();
            let at_rest = match partition.health() {
                Health::Aborted => matches!(
                    state,
                    StateName::Waiting | StateName::Off | StateName::Aborted
                ),
                _ => state == StateName::Waiting,
            };
            assert!(at_rest, "context {vcpu} of partition {index} is {state:?}");
        }
    }
    for core in &mut cores {
        for id in [A, B, C, D] {
            let reply = core.call(&request(Width::W64, NWD, id, [7, 0, 0, 0, 0]));
            assert_eq!((reply.x[1], reply.x[3]), (EndpointId::pair(id, NWD), !7));
        }
    }
    for tally in &tallies {
        assert!(tally.answers > 0 && tally.interrupts > 0 && tally.restarts > 0);
    }
}
