// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests that wait for a busy single-core partition (E-16).

use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Width};
use bulkhead_core::event::{Event, Fault, FaultKind};
use bulkhead_core::vcpu::StateName;
use bulkhead_sim::*;

const NWD: EndpointId = EndpointId(0);
/// Has a queue.
const A: EndpointId = EndpointId(0x8001);
/// Asks A.
const B: EndpointId = EndpointId(0x8002);
const CORES: usize = 5;
/// Requests with it in x4 end the partition when it goes on after the interrupt.
const FAULT: u64 = 1;

/// Lets time pass at each request until an interrupt comes, then answers with the request's x3 and how many
/// it has had.
fn slow(sp: &mut Sp) {
    let mut request = sp.wait();
    let mut count = 0;
    loop {
        if request.x[5] == 0 {
            let kept = request.clone();
            sp.spin(&kept);
        }
        if request.x[4] == FAULT {
            let fault = Fault {
                kind: FaultKind::SError,
                syndrome: 0,
                address: 0,
            };
            sp.trap(&request, Event::Fault(fault));
        }
        count += 1;
        request = sp.respond(&request.clone(), [request.x[3], count, 0, 0, 0]);
    }
}

fn system(queue: usize) -> (Sim, Puppet) {
    let (beta, b) = Puppet::new("beta", B);
    let mut sim = Sim::builder()
        .cores(CORES)
        .partition(Spec::new("alpha", A, slow).queue(queue))
        .partition(beta)
        .boot();
    for core in 1..CORES {
        sim.core(core).switch_on();
    }
    (sim, b)
}

/// A request with a number, which A answers after an interrupt.
fn ask(number: u64) -> Registers {
    request(Width::W32, NWD, A, [number, 0, 0, 0, 0])
}

/// A request with a number, which A answers at once.
fn ask_quick(number: u64) -> Registers {
    request(Width::W64, NWD, A, [number, 0, 1, 0, 0])
}

/// Core 0 has A, interrupted in its request.
fn occupy(sim: &mut Sim, message: &Registers) {
    sim.core(0).raise_in_spin(Pending::NonSecure);
    let reply = sim.core(0).call(message);
    assert_interrupted(&reply);
    sim.core(0).take_non_secure_interrupts();
    assert_eq!(sim.state(0, 0), StateName::Preempted);
}

#[track_caller]
fn assert_interrupted(reply: &Registers) {
    assert_eq!(reply.x[0], Function::Interrupt.id(Width::W32));
    assert_eq!(reply.x[1], EndpointId::pair(A, EndpointId(0)));
    assert_eq!(reply.x[2..8], [0; 6]);
}

#[track_caller]
fn assert_answer(reply: &Registers, number: u64, count: u64) {
    assert_function(reply, Function::MsgSendDirectResp);
    assert_eq!(reply.x[1], EndpointId::pair(A, NWD));
    assert_eq!((reply.x[3], reply.x[4]), (number, count));
}

fn queued(sim: &Sim) -> usize {
    sim.spmc().partitions()[0].queued()
}

#[test]
fn e16_without_the_property_a_busy_partition_says_so() {
    let (mut sim, _) = system(0);
    occupy(&mut sim, &ask(0));
    assert_error(&sim.core(1).call(&ask(1)), FfaError::Busy);
    assert_answer(&sim.core(0).call(&run(A, 0)), 0, 1);
}

#[test]
fn e16_requests_are_served_in_the_order_in_which_they_came() {
    let (mut sim, _) = system(8);
    occupy(&mut sim, &ask(0));
    let order = [3, 1, 4, 2];
    for core in order {
        let number = core as u64;
        assert!(sim.core(core).start(&ask_quick(number)).is_none());
    }
    assert_eq!(queued(&sim), 4);
    // Woken for nothing, each waits again.
    for core in order {
        assert!(sim.core(core).go_on().is_none());
    }
    assert_answer(&sim.core(0).call(&run(A, 0)), 0, 1);
    // A newcomer is behind them, though nobody runs the partition at this moment.
    assert!(sim.core(0).start(&ask_quick(0)).is_none());
    let order = [3, 1, 4, 2, 0];
    for (position, core) in order.into_iter().enumerate() {
        for later in &order[position + 1..] {
            assert!(sim.core(*later).go_on().is_none(), "core {later} overtakes");
        }
        let reply = sim.core(core).go_on().expect("its turn");
        assert_answer(&reply, core as u64, position as u64 + 2);
        assert_eq!(reply.x[0], Function::MsgSendDirectResp.id(Width::W64));
        assert_eq!(queued(&sim), 3_usize.saturating_sub(position));
    }
    assert_eq!(sim.state(0, 0), StateName::Waiting);
}

/// A chain that nobody resumes keeps no core for ever, and each has its time from when it came.
#[test]
fn e16_a_wait_ends_in_time() {
    const RUN_TIMEOUT: u64 = 100_000_000;
    let (mut sim, _) = system(8);
    occupy(&mut sim, &ask(0));
    for core in [1, 2] {
        assert!(sim.core(core).start(&ask_quick(core as u64)).is_none());
        sim.core(core).machine.now += RUN_TIMEOUT * core as u64 - 1;
        assert!(sim.core(core).go_on().is_none(), "core {core} gives up");
    }
    sim.core(1).machine.now += 1;
    assert_error(&sim.core(1).go_on().unwrap(), FfaError::Busy);
    assert_eq!(queued(&sim), 1);
    // Interrupted, it has its time anew when it goes on.
    sim.core(2).raise(Pending::NonSecure);
    assert_interrupted(&sim.core(2).go_on().unwrap());
    sim.core(2).take_non_secure_interrupts();
    sim.core(2).machine.now += RUN_TIMEOUT;
    assert!(sim.core(2).start(&run(A, 0)).is_none());
    assert!(sim.core(2).go_on().is_none());
    assert_answer(&sim.core(0).call(&run(A, 0)), 0, 1);
    assert_answer(&sim.core(2).go_on().unwrap(), 2, 2);
    assert_eq!(queued(&sim), 0);
}

#[test]
fn e16_a_full_queue_is_busy() {
    let (mut sim, _) = system(2);
    occupy(&mut sim, &ask(0));
    assert!(sim.core(1).start(&ask_quick(1)).is_none());
    assert!(sim.core(2).start(&ask_quick(2)).is_none());
    assert_error(&sim.core(3).call(&ask_quick(3)), FfaError::Busy);
    assert_eq!(queued(&sim), 2);
    assert_answer(&sim.core(0).call(&run(A, 0)), 0, 1);
    assert_answer(&sim.core(1).go_on().unwrap(), 1, 2);
    assert_answer(&sim.core(2).go_on().unwrap(), 2, 3);
    assert_answer(&sim.core(3).call(&ask_quick(3)), 3, 4);
}

#[test]
fn e16_an_interrupt_ends_the_wait_and_ffa_run_goes_on_with_it() {
    let (mut sim, _) = system(8);
    occupy(&mut sim, &ask(0));
    // Core 1 is first, and goes away; core 2 stays.
    assert!(sim.core(1).start(&ask_quick(1)).is_none());
    assert!(sim.core(2).start(&ask_quick(2)).is_none());
    sim.core(1).raise(Pending::NonSecure);
    let before = sim.core(1).state.normal_world.clone();
    let reply = sim.core(1).go_on().expect("an interrupt");
    assert_interrupted(&reply);
    assert_eq!(reply.x[8..], before.x[8..]);
    assert_eq!(queued(&sim), 2);
    sim.core(1).take_non_secure_interrupts();
    // Another request of the core would make FFA_RUN ambiguous.
    assert_error(&sim.core(1).call(&ask_quick(7)), FfaError::Busy);
    // Back in its place, it is still the first.
    assert!(sim.core(1).start(&run(A, 0)).is_none());
    assert_answer(&sim.core(0).call(&run(A, 0)), 0, 1);
    assert!(sim.core(2).go_on().is_none());
    assert_answer(&sim.core(1).go_on().unwrap(), 1, 2);
    assert_answer(&sim.core(2).go_on().unwrap(), 2, 3);
    assert_eq!(queued(&sim), 0);
}

#[test]
fn e16_nobody_waits_for_a_core_that_is_away() {
    let (mut sim, b) = system(8);
    occupy(&mut sim, &ask(0));
    assert!(sim.core(1).start(&ask_quick(1)).is_none());
    assert!(sim.core(2).start(&ask_quick(2)).is_none());
    sim.core(1).raise(Pending::NonSecure);
    assert_interrupted(&sim.core(1).go_on().unwrap());
    sim.core(1).take_non_secure_interrupts();
    assert_answer(&sim.core(0).call(&run(A, 0)), 0, 1);
    assert_answer(&sim.core(2).go_on().unwrap(), 2, 2);
    // The partition is free; the core that was away is served as soon as it is back, and until then it
    // makes no other request, not even by a partition.
    assert_eq!(sim.state(0, 0), StateName::Waiting);
    assert_error(&sim.core(1).call(&ask_quick(7)), FfaError::Busy);
    let message = request(Width::W32, B, A, [8, 0, 1, 0, 0]);
    assert_error(&b.call(sim.core(1), &message), FfaError::Busy);
    assert_answer(&sim.core(3).call(&ask_quick(3)), 3, 3);
    let mut resume = run(A, 0);
    resume.x[9] = 0x99;
    let reply = sim.core(1).call(&resume);
    assert_answer(&reply, 1, 4);
    assert_eq!(reply.x[9], 0x99, "x8 to x17 are those of FFA_RUN");
    assert_eq!(queued(&sim), 0);
    // Its place is gone: FFA_RUN means what it did.
    assert_answer(&sim.core(1).call(&ask_quick(5)), 5, 5);
}

#[test]
fn e16_an_interrupt_after_the_turn_has_come_loses_nothing() {
    let (mut sim, _) = system(8);
    occupy(&mut sim, &ask(0));
    assert!(sim.core(1).start(&ask(1)).is_none());
    assert_answer(&sim.core(0).call(&run(A, 0)), 0, 1);
    assert_eq!(sim.state(0, 0), StateName::Running);
    sim.core(1).raise(Pending::NonSecure);
    assert_interrupted(&sim.core(1).go_on().unwrap());
    assert_eq!(sim.state(0, 0), StateName::Preempted);
    assert_eq!(queued(&sim), 0);
    sim.core(1).take_non_secure_interrupts();
    sim.core(1).raise_in_spin(Pending::NonSecure);
    assert_interrupted(&sim.core(1).call(&run(A, 0)));
    sim.core(1).take_non_secure_interrupts();
    assert_answer(&sim.core(1).call(&run(A, 0)), 1, 2);
}

#[test]
fn e16_when_the_partition_ends_each_that_waits_is_told_once() {
    let (mut sim, _) = system(8);
    occupy(&mut sim, &request(Width::W32, NWD, A, [0, FAULT, 0, 0, 0]));
    for core in 1..4 {
        assert!(sim.core(core).start(&ask(core as u64)).is_none());
    }
    sim.core(3).raise(Pending::NonSecure);
    assert_interrupted(&sim.core(3).go_on().unwrap());
    sim.core(3).take_non_secure_interrupts();
    let events = sim.core(0).machine.events;
    assert_error(&sim.core(0).call(&run(A, 0)), FfaError::Aborted);
    assert!(sim.core(0).machine.events > events, "nobody is woken");
    for core in 1..3 {
        assert_error(&sim.core(core).go_on().unwrap(), FfaError::Aborted);
    }
    assert_error(&sim.core(3).call(&run(A, 0)), FfaError::Aborted);
    assert_eq!(queued(&sim), 0);
    for core in 0..4 {
        assert_error(&sim.core(core).call(&ask(1)), FfaError::Aborted);
    }
    assert_eq!(sim.state(0, 0), StateName::Aborted);
}

#[test]
fn e16_whoever_waits_is_woken_at_the_turn() {
    let (mut sim, _) = system(8);
    occupy(&mut sim, &ask(0));
    assert!(sim.core(1).start(&ask_quick(1)).is_none());
    let events = sim.core(0).machine.events;
    assert_answer(&sim.core(0).call(&run(A, 0)), 0, 1);
    assert_eq!(sim.core(0).machine.events, events + 1);
    assert_answer(&sim.core(1).go_on().unwrap(), 1, 2);
    assert_eq!(sim.core(1).machine.events, 0, "nobody is left to wake");
}

#[test]
fn e16_a_core_does_not_wait_for_what_only_it_resumes() {
    let (mut sim, _) = system(8);
    occupy(&mut sim, &ask(0));
    assert_error(&sim.core(0).call(&ask(1)), FfaError::Busy);
    assert_eq!(queued(&sim), 0);
    assert_answer(&sim.core(0).call(&run(A, 0)), 0, 1);
}

#[test]
fn e16_a_partition_does_not_wait() {
    let (mut sim, b) = system(8);
    occupy(&mut sim, &ask(0));
    let message = request(Width::W32, B, A, [1, 0, 0, 0, 0]);
    assert_error(&b.call(sim.core(1), &message), FfaError::Busy);
    assert_eq!(queued(&sim), 0);
    assert_answer(&sim.core(0).call(&run(A, 0)), 0, 1);
}

#[test]
fn e16_other_interrupts_do_not_end_the_wait() {
    let (mut sim, _) = system(8);
    occupy(&mut sim, &ask(0));
    sim.core(1).raise(Pending::Secure(77));
    sim.core(1).raise(Pending::Group0);
    assert!(sim.core(1).start(&ask_quick(1)).is_none());
    assert_eq!(sim.disabled(), [77]);
    assert_eq!(sim.core(1).machine.group0_handled, 1);
    assert_answer(&sim.core(0).call(&run(A, 0)), 0, 1);
    assert_answer(&sim.core(1).go_on().unwrap(), 1, 2);
}

#[test]
fn e16_the_place_of_a_core_that_goes_off_is_for_any_other() {
    let (mut sim, _) = system(3);
    occupy(&mut sim, &ask(0));
    assert!(sim.core(1).start(&ask_quick(1)).is_none());
    assert!(sim.core(3).start(&ask_quick(3)).is_none());
    sim.core(1).raise(Pending::NonSecure);
    assert_interrupted(&sim.core(1).go_on().unwrap());
    sim.core(1).take_non_secure_interrupts();
    sim.core(1).switch_off_and_on();
    assert_eq!(queued(&sim), 2);
    // Whichever core goes on with it has its place, which is the first. Core 1 has none now.
    assert!(sim.core(2).start(&run(A, 0)).is_none());
    assert!(sim.core(1).start(&ask_quick(4)).is_none());
    assert_answer(&sim.core(0).call(&run(A, 0)), 0, 1);
    assert!(sim.core(3).go_on().is_none());
    assert_answer(&sim.core(2).go_on().unwrap(), 1, 2);
    assert_answer(&sim.core(3).go_on().unwrap(), 3, 3);
    assert_answer(&sim.core(1).go_on().unwrap(), 4, 4);
    assert_eq!(queued(&sim), 0);
}

#[test]
fn e16_a_chain_whose_core_went_off_is_resumed_by_a_core_that_does_not_wait() {
    let (mut sim, _) = system(3);
    occupy(&mut sim, &ask(0));
    assert!(sim.core(1).start(&ask_quick(1)).is_none());
    sim.core(1).raise(Pending::NonSecure);
    assert_interrupted(&sim.core(1).go_on().unwrap());
    sim.core(1).take_non_secure_interrupts();
    sim.core(0).switch_off_and_on();
    // Nobody waits for what has no core, and FFA_RUN of one that waited says so.
    assert_error(&sim.core(2).call(&ask_quick(2)), FfaError::Busy);
    assert_error(&sim.core(1).call(&run(A, 0)), FfaError::Busy);
    assert_eq!(queued(&sim), 0);
    assert_answer(&sim.core(2).call(&run(A, 0)), 0, 1);
    assert_answer(&sim.core(1).call(&ask_quick(1)), 1, 2);
}

#[test]
fn e16_a_queue_full_of_what_was_left_takes_newcomers() {
    let (mut sim, _) = system(1);
    occupy(&mut sim, &ask(0));
    assert!(sim.core(1).start(&ask_quick(1)).is_none());
    sim.core(1).raise(Pending::NonSecure);
    assert_interrupted(&sim.core(1).go_on().unwrap());
    sim.core(1).take_non_secure_interrupts();
    sim.core(1).switch_off_and_on();
    assert!(sim.core(2).start(&ask_quick(2)).is_none());
    assert_eq!(queued(&sim), 1);
    assert_answer(&sim.core(0).call(&run(A, 0)), 0, 1);
    assert_answer(&sim.core(2).go_on().unwrap(), 2, 2);
    assert_eq!(queued(&sim), 0);
}

#[test]
fn e16_a_framework_message_and_a_second_form_wait_too() {
    let echo = |sp: &mut Sp| {
        let mut asked = sp.wait();
        loop {
            let framework = asked.x[2] != 0 && asked.x[0] & 0xff == 0x6f;
            let second = asked.x[0] & 0xff == 0x8d;
            if !framework && !second {
                let kept = asked.clone();
                sp.spin(&kept);
            }
            let mut answer = asked.clone();
            answer.x[1] = EndpointId::pair(asked.receiver(), asked.sender());
            answer.x[0] += 1;
            if framework {
                answer.x[2] += 1;
            }
            if second {
                answer.x[2..4].fill(0);
            }
            asked = sp.call(&answer);
        }
    };
    let spec = Spec::new("alpha", A, echo).queue(2).with(|config| {
        config.properties = config.properties.union(Properties::VM_CREATED);
    });
    let mut sim = Sim::builder().cores(3).partition(spec).boot();
    for core in 1..3 {
        sim.core(core).switch_on();
    }
    sim.negotiate(bulkhead_abi::Version::V1_2);
    occupy(&mut sim, &ask(0));
    let mut created = request(Width::W32, NWD, A, [1, 2, 7, 0, 0]);
    created.x[2] = 0x8000_0004;
    assert!(sim.core(1).start(&created).is_none());
    let mut second = call([0; 8]);
    second.x[0] = Function::MsgSendDirectReq2.id(Width::W64);
    second.x[1] = EndpointId::pair(NWD, A);
    assert!(sim.core(2).start(&second).is_none());
    assert_function(&sim.core(0).call(&run(A, 0)), Function::MsgSendDirectResp);
    let reply = sim.core(1).go_on().unwrap();
    assert_eq!((reply.x[2], reply.x[3]), (0x8000_0005, 1));
    let reply = sim.core(2).go_on().unwrap();
    assert_function(&reply, Function::MsgSendDirectResp2);
    assert_eq!(reply.x[4..18], second.x[4..18]);
}
