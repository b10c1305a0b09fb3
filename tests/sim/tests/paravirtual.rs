// SPDX-License-Identifier: MIT OR Apache-2.0
//! The paravirtual interrupt calls, and what partitions may not say of interrupts: I6 to I9, I12 and I16 of the
//! abuse cases, bug class 45 (C-12, C-14).

use std::sync::{Arc, Mutex};

use bulkhead_abi::paravirt::{FAILURE, Paravirt, SUCCESS};
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Version, Width};
use bulkhead_core::virtual_interrupt::Tally;
use bulkhead_sim::*;

const NWD: EndpointId = EndpointId(0);
const A: EndpointId = EndpointId(0x8001);
const B: EndpointId = EndpointId(0x8002);
/// The interrupts of alpha's devices, and of beta's.
const OURS: [u32; 3] = [34, 40, 1019];
const THEIRS: u32 = 36;
/// INTIDs that alpha does not have: beta's, private ones, the first behind each range, and none at all.
const FOREIGN: [u64; 15] = [
    36,
    0,
    15,
    16,
    20,
    26,
    30,
    31,
    32,
    1020,
    1023,
    1056,
    5119,
    8191,
    0xffff_ffff,
];
/// No INTIDs, though their lower halves are alpha's.
const WIDE: [u64; 2] = [1 << 32 | 34, 0xffff_ffff_0000_0022];

type Call = fn(&mut Sp, &Registers) -> Registers;
/// The two ways to make a call.
const CONDUITS: [Call; 2] = [Sp::hvc, Sp::call];

fn call_of(id: Paravirt, x: [u64; 3]) -> Registers {
    call([id.id(), x[0], x[1], x[2], 4, 5, 6, 7])
}

/// Makes a paravirtual call both ways; its x0, and nothing else changes.
fn both(sp: &mut Sp, id: Paravirt, x: [u64; 3]) -> u64 {
    let results = CONDUITS.map(|conduit| {
        let made = call_of(id, x);
        let reply = conduit(sp, &made);
        assert_eq!(reply.x[1..], made.x[1..], "{id:?}");
        reply.x[0]
    });
    assert_eq!(results[0], results[1], "{id:?} {x:x?}");
    results[0]
}

fn request_to(id: EndpointId) -> Registers {
    request(Width::W64, NWD, id, [0; 5])
}

/// A system in which alpha has done `work` in a request, and beta has an interrupt of its own.
fn after(work: impl Fn(&mut Sp) + Send + Sync + 'static) -> Sim {
    let alpha = Spec::new("alpha", A, move |sp| {
        sp.enable(&OURS);
        let message = sp.wait();
        work(sp);
        sp.respond(&message, [0; 5]);
    });
    let beta = Spec::new("beta", B, |sp| {
        sp.enable(&[THEIRS]);
        sp.wait();
    });
    let mut sim = Sim::builder()
        .partition(alpha.interrupts(&OURS))
        .partition(beta.interrupts(&[THEIRS]))
        .boot();
    sim.negotiate(Version::OURS);
    let reply = sim.core(0).call(&request_to(A));
    assert_function(&reply, Function::MsgSendDirectResp);
    sim
}

fn tally(sim: &Sim, partition: usize) -> Tally {
    sim.spmc().partitions()[partition].vcpus()[0]
        .interrupts
        .tally()
}

/// Alpha's device fires; it is pending after this.
fn fire(sp: &mut Sp, intid: u32) {
    sp.line(intid, |line| line.asserted = true);
    sp.call(&ffa(Function::IdGet, [0; 4]));
}

fn settle(sp: &mut Sp, intid: u32) {
    sp.line(intid, |line| line.asserted = false);
}

#[test]
fn d45_i9_where_nothing_is_pending_the_answer_is_32_bits_of_ones() {
    let sim = after(|sp| {
        assert_eq!(both(sp, Paravirt::InterruptGet, [0; 3]), 0xffff_ffff);
        // One that is pending, and not enabled, is not told of.
        fire(sp, OURS[0]);
        let disable = [OURS[0].into(), 0, 0];
        assert_eq!(both(sp, Paravirt::InterruptEnable, disable), SUCCESS);
        assert_eq!(both(sp, Paravirt::InterruptGet, [0; 3]), 0xffff_ffff);
        let enable = [OURS[0].into(), 1, 0];
        assert_eq!(both(sp, Paravirt::InterruptEnable, enable), SUCCESS);
        assert_eq!(sp.fetch(), Some(OURS[0]));
        assert_eq!(both(sp, Paravirt::InterruptGet, [0; 3]), 0xffff_ffff);
        settle(sp, OURS[0]);
        assert!(sp.deactivate(OURS[0]));
    });
    let Tally {
        raised, delivered, ..
    } = tally(&sim, 0);
    assert_eq!((raised, delivered), (1, 1));
}

#[test]
fn i6_only_what_was_fetched_is_deactivated_and_once() {
    let sim = after(|sp| {
        let deactivate =
            |sp: &mut Sp, intid| both(sp, Paravirt::InterruptDeactivate, [intid, intid, 0]);
        for intid in FOREIGN.into_iter().chain(WIDE) {
            assert_eq!(deactivate(sp, intid), FAILURE, "{intid:#x}");
        }
        for intid in OURS {
            assert_eq!(
                deactivate(sp, intid.into()),
                FAILURE,
                "{intid} was not signalled"
            );
            fire(sp, intid);
            assert_eq!(
                deactivate(sp, intid.into()),
                FAILURE,
                "{intid} was not fetched"
            );
            sp.line(intid, |line| {
                assert_eq!(line.active, Some(0), "{intid} is active still")
            });
            assert_eq!(sp.fetch(), Some(intid));
            for wide in WIDE {
                assert_eq!(deactivate(sp, wide), FAILURE, "{wide:#x}");
            }
            settle(sp, intid);
            assert!(sp.deactivate(intid));
            assert_eq!(deactivate(sp, intid.into()), FAILURE, "{intid} is over");
        }
    });
    for intid in OURS {
        sim.line(intid, |line| {
            assert_eq!((line.acknowledged, line.deactivated), (1, 1))
        });
    }
    sim.line(THEIRS, |line| {
        assert_eq!((line.enabled, line.deactivated), (true, 0))
    });
    let Tally {
        raised, delivered, ..
    } = tally(&sim, 0);
    assert_eq!((raised, delivered), (3, 3));
}

#[test]
fn i7_the_physical_and_the_virtual_intid_have_to_be_the_same() {
    let sim = after(|sp| {
        for intid in OURS {
            fire(sp, intid);
            assert_eq!(sp.fetch(), Some(intid));
            settle(sp, intid);
        }
        let [one, other, third] = OURS.map(u64::from);
        for (physical, virtual_) in [
            (one, other),
            (other, one),
            (third, one),
            (one, 0),
            (0, one),
            (one, 1 << 32 | one),
            (one, u64::MAX),
        ] {
            let x = [physical, virtual_, 0];
            assert_eq!(
                both(sp, Paravirt::InterruptDeactivate, x),
                FAILURE,
                "{x:x?}"
            );
        }
        for intid in OURS {
            sp.line(intid, |line| assert_eq!(line.active, Some(0)));
            assert!(sp.deactivate(intid));
        }
    });
    for intid in OURS {
        sim.line(intid, |line| {
            assert_eq!((line.active, line.deactivated), (None, 1))
        });
    }
}

#[test]
fn i8_what_is_not_owned_or_cannot_be_is_not_reconfigured() {
    let sim = after(|sp| {
        let reconfigure = |sp: &mut Sp, x| both(sp, Paravirt::InterruptReconfigure, x);
        let own = u64::from(OURS[0]);
        // (command, value): target, security state, enable.
        for (command, value) in [(0, 0), (1, 0), (2, 0), (2, 1)] {
            for intid in FOREIGN.into_iter().chain(WIDE) {
                assert_eq!(
                    reconfigure(sp, [intid, command, value]),
                    FAILURE,
                    "{intid:#x}"
                );
            }
        }
        for (command, value) in [
            (0, 1),
            (0, 1 << 32),
            (0, u64::MAX),
            // Non-secure.
            (1, 1),
            (1, 2),
            (1, 1 << 32),
            (2, 2),
            (2, 1 << 32),
            (2, u64::MAX),
            (3, 0),
            (3, 1),
            (1 << 32, 0),
            (u64::MAX, 0),
        ] {
            assert_eq!(
                reconfigure(sp, [own, command, value]),
                FAILURE,
                "{command:#x} {value:#x}"
            );
            sp.line(OURS[0], |line| {
                assert_eq!((line.enabled, line.target), (true, 0))
            });
        }
        for (command, value, enabled) in [(0, 0, true), (1, 0, true), (2, 0, false), (2, 1, true)] {
            assert_eq!(reconfigure(sp, [own, command, value]), SUCCESS);
            sp.line(OURS[0], |line| {
                assert_eq!((line.enabled, line.target), (enabled, 0))
            });
        }
    });
    sim.line(THEIRS, |line| {
        assert_eq!((line.enabled, line.target), (true, 0))
    });
    let lines: Vec<_> = FOREIGN
        .into_iter()
        .filter(|intid| *intid != u64::from(THEIRS))
        .map(|intid| sim.line(intid as u32, |line| line.enabled))
        .collect();
    assert!(lines.iter().all(|enabled| !enabled));
}

/// A core on which the partition has no context that has started, or that does not exist, is no target.
#[test]
fn i8_an_interrupt_goes_only_where_its_partition_has_started() {
    let (results, asked) = (Arc::new(Mutex::new(Vec::new())), 0..4_u64);
    let shared = results.clone();
    let alpha = Spec::new("alpha", A, move |sp| {
        if sp.vcpu == 0 {
            let mut register = call([0; 8]);
            register.x[0] = Function::SecondaryEpRegister.id(Width::W64);
            register.x[1] = sp.entry_point();
            assert_function(&sp.call(&register), Function::Success);
        }
        let mut message = sp.wait();
        loop {
            let x = [OURS[0].into(), 0, message.x[3]];
            let result = both(sp, Paravirt::InterruptReconfigure, x);
            shared.lock().unwrap().push(result == SUCCESS);
            message = sp.respond(&message, [0; 5]);
        }
    });
    let mut sim = Sim::builder()
        .cores(3)
        .partition(alpha.multi_core().interrupts(&OURS))
        .boot();
    let ask = |sim: &mut Sim| {
        for target in asked.clone() {
            let message = request(Width::W64, NWD, A, [target, 0, 0, 0, 0]);
            assert_function(&sim.core(0).call(&message), Function::MsgSendDirectResp);
        }
        std::mem::take(&mut *results.lock().unwrap())
    };
    assert_eq!(ask(&mut sim), [true, false, false, false]);
    sim.line(OURS[0], |line| assert_eq!(line.target, 0));
    sim.core(2).switch_on();
    assert_eq!(ask(&mut sim), [true, false, true, false]);
    sim.line(OURS[0], |line| assert_eq!(line.target, 2));
}

/// Calls of the interface between the SPMD and Bulkhead are none of a partition's.
#[test]
fn i12_a_partition_cannot_say_that_there_was_an_interrupt() {
    const CALLS: [Function; 3] = [
        Function::Interrupt,
        Function::NormalWorldResume,
        Function::El3IntrHandle,
    ];
    let refused = Arc::new(Mutex::new(0));
    let shared = refused.clone();
    let attempt = move |sp: &mut Sp| {
        for function in CALLS {
            for width in [Width::W32, Width::W64] {
                for conduit in CONDUITS {
                    let reply = conduit(
                        sp,
                        &call([function.id(width), 0x8001_0000, 34, 0, 0, 0, 0, 0]),
                    );
                    assert_error(&reply, FfaError::NotSupported);
                    *shared.lock().unwrap() += 1;
                }
            }
        }
    };
    let alpha = Spec::new("alpha", A, move |sp| {
        // RTM_SP_INIT, RTM_FFA_RUN, RTM_FFA_DIR_REQ, RTM_SEC_INTERRUPT.
        attempt(sp);
        sp.enable(&OURS);
        sp.wait();
        attempt(sp);
        let message = sp.wait();
        attempt(sp);
        sp.respond(&message, [0; 5]);
        attempt(sp);
        assert_eq!(sp.handle_all(), [OURS[0]], "there was one, once");
    });
    let mut sim = Sim::builder().partition(alpha.interrupts(&OURS)).boot();
    sim.negotiate(Version::OURS);
    assert_function(&sim.core(0).call(&run(A, 0)), Function::MsgWait);
    let reply = sim.core(0).call(&request_to(A));
    assert_function(&reply, Function::MsgSendDirectResp);
    sim.line(OURS[0], |line| line.asserted = true);
    sim.core(0).run_normal_world();
    assert_eq!(*refused.lock().unwrap(), 4 * 3 * 2 * 2);
    let Tally {
        raised, delivered, ..
    } = tally(&sim, 0);
    assert_eq!((raised, delivered), (1, 1));
    assert_eq!(sim.core(0).machine.group0_handled, 0);
    assert_eq!(sim.spmc().unowned_interrupts(), 0);
}

/// It ends in its handler, and with another one pending.
#[test]
fn i16_what_a_partition_has_active_or_pending_ends_with_it_and_stays_disabled() {
    let alpha = Spec::new("alpha", A, |sp| {
        sp.enable(&OURS);
        sp.wait();
        assert_eq!(sp.fetch(), Some(OURS[0]));
        fire(sp, OURS[1]);
        sp.call(&ffa(Function::Abort, [0; 4]));
    });
    let mut sim = Sim::builder()
        .partition(
            alpha
                .interrupts(&OURS)
                .with(|config| config.version = Version::V1_3),
        )
        .partition(Spec::new("beta", B, |sp| {
            let mut message = sp.wait();
            loop {
                message = sp.respond(&message, [0; 5]);
            }
        }))
        .boot();
    sim.negotiate(Version::OURS);
    sim.line(OURS[0], |line| line.asserted = true);
    sim.core(0).run_normal_world();
    for intid in OURS {
        sim.line(intid, |line| {
            assert_eq!((line.enabled, line.active), (false, None), "{intid}");
            assert_eq!(line.acknowledged, line.deactivated, "{intid}");
        });
    }
    let tally = tally(&sim, 0);
    assert_eq!(
        (tally.raised, tally.delivered, tally.dropped, tally.pending),
        (2, 1, 1, 0)
    );
    // Its devices still assert their lines; nobody is disturbed.
    sim.core(0).run_normal_world();
    let reply = sim.core(0).call(&request_to(B));
    assert_function(&reply, Function::MsgSendDirectResp);
    assert_error(&sim.core(0).call(&request_to(A)), FfaError::Aborted);
    assert_eq!(sim.spmc().unowned_interrupts(), 0);
    assert_eq!(sim.core(0).machine.deadline, None);
}
