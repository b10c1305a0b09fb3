// SPDX-License-Identifier: MIT OR Apache-2.0
//! A partition with a GICv2 of its own (C-18, F-11, F-12): its registers through stage-2 faults, physical interrupts that
//! it gets by them, and FF-A's events.

use std::sync::{Arc, Mutex};

use bulkhead_abi::paravirt::{FAILURE, NO_INTERRUPT, Paravirt, SUCCESS};
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Width};
use bulkhead_core::device::gic::Layout;
use bulkhead_core::event::{Direction, Event, Fault, FaultKind};
use bulkhead_core::vcpu::{NonSecureInterrupts, StateName};
use bulkhead_mm::attrs::Space;
use bulkhead_sim::*;

const NWD: EndpointId = EndpointId(0);
const A: EndpointId = EndpointId(0x8001);
const B: EndpointId = EndpointId(0x8002);
const SPI: u32 = 34;
const LAYOUT: Layout = Layout {
    distributor: 0x0800_0000,
    cpu_interface: 0x0801_0000,
    timer: 30,
    managed_exit: 17,
    notification_pending: 18,
    firmware_initialised: false,
};
const DATA_ABORT: u64 = 0x24 << 26 | 1 << 25 | 0x07;
const VALID: u64 = 1 << 24;
const WORD: u64 = 2 << 22;
/// Offsets, from the distributor on.
const GROUP: u64 = 0x84;
const ENABLE: u64 = 0x104;
const PENDING: u64 = 0x204;
const ACTIVE: u64 = 0x304;
const IAR: u64 = 0x1_000c;
const EOIR: u64 = 0x1_0010;

fn access(direction: Direction, offset: u64, register: u64) -> Fault {
    let ipa = LAYOUT.distributor + offset;
    Fault {
        kind: FaultKind::Data {
            ipa,
            space: Space::Secure,
            direction,
        },
        syndrome: DATA_ABORT | VALID | WORD | register << 16,
        // Its own virtual address: what it has in common is the place in the page.
        address: 0x7000_0000 + offset % 0x1000,
    }
}

fn load(sp: &mut Sp, offset: u64) -> u64 {
    let before = call([u64::MAX; 8]);
    let after = sp.trap(&before, Event::Fault(access(Direction::Read, offset, 5)));
    let mut expected = before.x;
    expected[5] = after.x[5];
    assert_eq!(
        after.x, expected,
        "only the register that is loaded changes"
    );
    after.x[5]
}

fn store(sp: &mut Sp, offset: u64, value: u64) {
    let mut before = call([0; 8]);
    before.x[7] = value | 0xdead << 32;
    let after = sp.trap(&before, Event::Fault(access(Direction::Write, offset, 7)));
    assert_eq!(after, before);
}

/// Has the SPI enabled in Group 0, which is FIQ, and nothing masked.
fn start(sp: &mut Sp) {
    store(sp, 0, 3);
    store(sp, 0x1_0000, 0b1111);
    store(sp, 0x1_0004, 0xff);
    store(sp, ENABLE, 1 << (SPI % 32));
}

type Seen = Arc<Mutex<Vec<u64>>>;

/// Beside another partition, one whose program answers each request with what `act` does; what it notes is in the list.
fn boot(act: impl Fn(&mut Sp, &Seen) -> u64 + Send + Sync + 'static) -> (Sim, Seen) {
    let seen = Seen::default();
    let noted = seen.clone();
    let program = move |sp: &mut Sp| {
        start(sp);
        let mut message = sp.wait();
        loop {
            if message.x[0] == Function::Interrupt.id(Width::W32) {
                noted.lock().unwrap().push(message.x[2]);
                act(sp, &noted);
                message = sp.wait();
                continue;
            }
            let result = act(sp, &noted);
            message = sp.respond(&message, [result, 0, 0, 0, 0]);
        }
    };
    let alpha = Spec::new("alpha", A, program)
        .with_gic(LAYOUT)
        .with(|config| {
            config.interrupts = &[SPI];
            config.non_secure_interrupts = NonSecureInterrupts::ManagedExit;
        });
    let beta = Spec::new("beta", B, |sp: &mut Sp| {
        let mut message = sp.wait();
        loop {
            message = sp.respond(&message, [7, 0, 0, 0, 0]);
        }
    });
    let sim = Sim::builder().partition(alpha).partition(beta).boot();
    (sim, seen)
}

fn ask(sim: &mut Sim) -> Registers {
    sim.core(0).call(&request(Width::W64, NWD, A, [0; 5]))
}

#[test]
fn f12_a_physical_interrupt_is_deactivated_when_the_virtual_one_is() {
    let (mut sim, seen) = boot(|sp, noted| {
        let found = load(sp, IAR);
        let active = load(sp, ACTIVE) >> (SPI % 32) & 1;
        let held = sp.line(SPI, |line| {
            line.asserted = false;
            line.active.is_some()
        });
        store(sp, EOIR, found);
        let ended = sp.line(SPI, |line| line.active.is_none());
        let again = load(sp, IAR);
        let mut noted = noted.lock().unwrap();
        noted.extend([found, active, held.into(), ended.into(), again]);
        0
    });
    assert!(
        sim.line(SPI, |line| line.enabled),
        "it is enabled as the virtual one is"
    );
    for times in 1..=3 {
        sim.line(SPI, |line| line.asserted = true);
        sim.core(0).run_normal_world();
        assert_eq!(
            std::mem::take(&mut *seen.lock().unwrap()),
            [SPI.into(), SPI.into(), 1, 1, 1, 1023]
        );
        assert_eq!(
            sim.line(SPI, |line| (line.acknowledged, line.deactivated)),
            (times, times)
        );
    }
}

#[test]
fn f12_a_pending_interrupt_that_is_cleared_lets_its_source_fire_again() {
    let (mut sim, seen) = boot(|sp, noted| {
        let pending = load(sp, PENDING) >> (SPI % 32) & 1;
        store(sp, 0x284, 1 << (SPI % 32));
        let left = load(sp, PENDING) >> (SPI % 32) & 1;
        noted.lock().unwrap().extend([pending, left]);
        sp.line(SPI, |line| line.asserted = false);
        0
    });
    sim.line(SPI, |line| line.asserted = true);
    sim.core(0).run_normal_world();
    // The source was still active: it fired again at once.
    assert_eq!(*seen.lock().unwrap(), [SPI.into(), 1, 1, SPI.into(), 1, 0]);
    assert_eq!(
        sim.line(SPI, |line| (line.active, line.deactivated)),
        (None, 2)
    );
}

#[test]
fn c18_the_physical_interrupt_follows_the_enable_bit() {
    let (mut sim, _) = boot(|sp, _| {
        store(sp, 0x184, 1 << (SPI % 32));
        let off = sp.line(SPI, |line| line.enabled);
        store(sp, ENABLE, u64::from(u32::MAX));
        let on = sp.line(SPI, |line| line.enabled);
        u64::from(on) << 1 | u64::from(off)
    });
    let answer = ask(&mut sim);
    assert_function(&answer, Function::MsgSendDirectResp);
    assert_eq!(answer.x[3], 2);
}

#[test]
fn c18_a_partition_with_a_gic_has_no_paravirtual_interrupts() {
    let (mut sim, seen) = boot(|sp, noted| {
        for (id, x) in [
            (Paravirt::InterruptEnable, [SPI.into(), 1, 0]),
            (Paravirt::InterruptEnable, [3, 1, 0]),
            (Paravirt::InterruptDeactivate, [SPI.into(), SPI.into(), 0]),
            (Paravirt::SendIpi, [0, 0, 0]),
            (Paravirt::InterruptGet, [0; 3]),
            // Where the physical one goes is still said so.
            (Paravirt::InterruptReconfigure, [SPI.into(), 0, 0]),
        ] {
            let reply = sp.hvc(&call([id.id(), x[0], x[1], x[2], 0, 0, 0, 0]));
            noted.lock().unwrap().push(reply.x[0]);
        }
        0
    });
    assert_function(&ask(&mut sim), Function::MsgSendDirectResp);
    let expected = [FAILURE, FAILURE, FAILURE, FAILURE, NO_INTERRUPT, SUCCESS];
    assert_eq!(*seen.lock().unwrap(), expected);
}

/// A driver that counts on secure firmware configures its interrupts and nothing else; its timer has the number of an SGI.
#[test]
fn c18_a_gic_may_be_as_firmware_leaves_it() {
    const TIMER: u32 = 3;
    let seen = Seen::default();
    let noted = seen.clone();
    let program = move |sp: &mut Sp| {
        store(sp, GROUP, 0);
        store(sp, GROUP - 4, 0);
        store(sp, ENABLE, 1 << (SPI % 32));
        store(sp, ENABLE - 4, 1 << TIMER);
        let mut message = sp.wait();
        loop {
            if message.x[0] == Function::MsgSendDirectReq.id(Width::W64) {
                sp.set_timer(message.x[4]);
                message = sp.respond(&message, [0; 5]);
                continue;
            }
            let found = load(sp, IAR);
            match found as u32 & 0x3ff {
                TIMER => sp.write_timer(2, 1, 0),
                _ => sp.line(SPI, |line| line.asserted = false),
            }
            store(sp, EOIR, found);
            noted.lock().unwrap().extend([found & 0x3ff, load(sp, IAR)]);
            message = sp.wait();
        }
    };
    let layout = Layout {
        timer: TIMER,
        firmware_initialised: true,
        ..LAYOUT
    };
    let spec = Spec::new("alpha", A, program)
        .with_gic(layout)
        .with(|config| config.interrupts = &[SPI]);
    let mut sim = Sim::builder().partition(spec).boot();
    for _ in 0..3 {
        sim.line(SPI, |line| line.asserted = true);
        sim.core(0).run_normal_world();
        assert_eq!(*seen.lock().unwrap(), [SPI.into(), 1023]);
        seen.lock().unwrap().clear();
        let due = sim.core(0).machine.now + 1000;
        let ask = request(Width::W64, NWD, A, [0, due, 0, 0, 0]);
        assert_function(&sim.core(0).call(&ask), Function::MsgSendDirectResp);
        sim.core(0).machine.now = due;
        sim.core(0).run_normal_world();
        assert_eq!(*seen.lock().unwrap(), [TIMER.into(), 1023]);
        seen.lock().unwrap().clear();
    }
}

#[test]
fn a03_features_tell_the_numbers_of_the_events() {
    let (mut sim, seen) = boot(|sp, noted| {
        let answer = sp.call(&ffa(Function::Features, [3, 0, 0, 0]));
        assert_function(&answer, Function::Success);
        noted.lock().unwrap().push(answer.x[2]);
        0
    });
    assert_function(&ask(&mut sim), Function::MsgSendDirectResp);
    assert_eq!(*seen.lock().unwrap(), [u64::from(LAYOUT.managed_exit)]);
}

#[test]
fn f03_an_access_that_cannot_be_emulated_ends_the_partition_alone() {
    let (mut sim, _) = boot(|sp, _| {
        let mut fault = access(Direction::Read, 0, 1);
        fault.syndrome &= !VALID;
        sp.trap(&call([0; 8]), Event::Fault(fault));
        0
    });
    assert_error(&ask(&mut sim), FfaError::Aborted);
    assert_eq!(sim.state(0, 0), StateName::Aborted);
    let other = sim.core(0).call(&request(Width::W64, NWD, B, [0; 5]));
    assert_eq!(other.x[3], 7);
    assert!(!sim.line(SPI, |line| line.enabled), "I16");
}

#[test]
fn c18_the_frames_are_those_of_the_partition_that_has_them_in_its_secure_space() {
    for (space, offset) in [
        (Space::NonSecure, 0),
        (Space::Secure, 0x1000),
        (Space::Secure, 0x1_2000),
    ] {
        let (mut sim, _) = boot(move |sp, _| {
            let mut fault = access(Direction::Read, offset, 1);
            if let FaultKind::Data { space: found, .. } = &mut fault.kind {
                *found = space;
            }
            sp.trap(&call([0; 8]), Event::Fault(fault));
            0
        });
        assert_error(&ask(&mut sim), FfaError::Aborted);
    }
}

#[test]
fn i16_a_partition_that_ends_leaves_no_interrupt_active() {
    let (mut sim, _) = boot(|sp, _| {
        assert_eq!(load(sp, IAR), u64::from(SPI));
        let fault = access(Direction::Read, 0x2000, 1);
        sp.trap(&call([0; 8]), Event::Fault(fault));
        0
    });
    sim.line(SPI, |line| line.asserted = true);
    sim.core(0).run_normal_world();
    assert_eq!(sim.state(0, 0), StateName::Aborted);
    let line = sim.line(SPI, |line| (line.enabled, line.active, line.deactivated));
    assert_eq!(line, (false, None, 1));
}
