// SPDX-License-Identifier: MIT OR Apache-2.0
//! The second forms of the notification calls, whose bitmaps are wider.

use bulkhead_abi::notification::Bitmap;
use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Version, Width, paravirt};
use bulkhead_core::dispatch::CALLS;
use bulkhead_core::virtual_interrupt::Lines;
use bulkhead_sim::*;

const VM: EndpointId = EndpointId(7);
/// Single-core, receives.
const A: EndpointId = EndpointId(0x8001);
/// One context for each core, receives.
const B: EndpointId = EndpointId(0x8002);
const PER_VCPU: u64 = 1;
const SP: u64 = 1;
const FROM_VM: u64 = 2;
const SPM: u64 = 4;
const ALL: u64 = 0xf;
/// The last notification.
const LAST: usize = Bitmap::COUNT - 1;
const SECOND: [Function; 4] = [
    Function::NotificationBind2,
    Function::NotificationUnbind2,
    Function::NotificationSet2,
    Function::NotificationGet2,
];

type Words = [u64; 6];

struct System {
    sim: Sim,
    a: Puppet,
    b: Puppet,
}

fn system_of(version: Version) -> System {
    let spec = |spec: Spec| {
        spec.with(|config| {
            config.properties = config.properties.union(Properties::NOTIFICATIONS);
            config.version = version;
        })
    };
    let (alpha, a) = Puppet::new("alpha", A);
    let (beta, b) = Puppet::new("beta", B);
    let mut sim = Sim::builder()
        .cores(2)
        .partition(spec(alpha))
        .partition(spec(beta).multi_core())
        .boot();
    sim.core(1).switch_on();
    sim.negotiate(version);
    System { sim, a, b }
}

fn system() -> System {
    system_of(Version::V1_3)
}

/// The bitmap of these notifications.
fn bitmap(members: &[usize]) -> Words {
    let mut words = [0; 6];
    for member in members {
        words[member / 64] |= 1 << (member % 64);
    }
    words
}

fn second(
    function: Function,
    ids: (EndpointId, EndpointId),
    flags: u64,
    words: Words,
) -> Registers {
    let mut message = call([0; 8]);
    message.x[0] = function.id(Width::W64);
    message.x[1] = EndpointId::pair(ids.0, ids.1);
    message.x[2] = flags;
    message.x[3..9].copy_from_slice(&words);
    message
}

fn bind(from: EndpointId, to: EndpointId, flags: u64, members: &[usize]) -> Registers {
    second(
        Function::NotificationBind2,
        (from, to),
        flags,
        bitmap(members),
    )
}

fn unbind(from: EndpointId, to: EndpointId, members: &[usize]) -> Registers {
    second(
        Function::NotificationUnbind2,
        (from, to),
        0,
        bitmap(members),
    )
}

fn set(from: EndpointId, to: EndpointId, flags: u64, members: &[usize]) -> Registers {
    second(
        Function::NotificationSet2,
        (from, to),
        flags,
        bitmap(members),
    )
}

/// FFA_NOTIFICATION_GET2 with these masks.
fn get(of: EndpointId, vcpu: u16, flags: u64, sp: &[usize], vm: &[usize]) -> Registers {
    let ids = (EndpointId(vcpu), of);
    let mut message = second(Function::NotificationGet2, ids, flags, bitmap(sp));
    message.x[9..15].copy_from_slice(&bitmap(vm));
    (message.x[15], message.x[16]) = (0, 0);
    message
}

fn get_all(of: EndpointId, vcpu: u16) -> Registers {
    get(of, vcpu, ALL, &[], &[])
}

/// The first form of a call that has a bitmap.
fn first(function: Function, from: EndpointId, to: EndpointId, word: u64) -> Registers {
    let ids = EndpointId::pair(from, to);
    ffa(function, [ids, 0, word & 0xffff_ffff, word >> 32])
}

fn create(vm: EndpointId, vcpus: u64) -> Registers {
    ffa(
        Function::NotificationBitmapCreate,
        [u64::from(vm.0), vcpus, 0, 0],
    )
}

#[track_caller]
fn ok(reply: &Registers) {
    let success = Function::Success.id(Width::W32);
    assert_eq!(reply.x[..8], [success, 0, 0, 0, 0, 0, 0, 0]);
}

/// What GET2 answered: from partitions, from VMs, and of the SPMC.
#[track_caller]
fn pending(reply: &Registers) -> (Words, Words, u64) {
    let success = Function::Success.id(Width::W64);
    assert_eq!(reply.x[..3], [success, 0, 0], "{:#x?}", &reply.x[..8]);
    assert_eq!(reply.x[16..18], [0, 0], "the hypervisor's, and x17");
    assert_eq!(reply.x[18..31], call([0; 8]).x[18..31]);
    let words = |first: usize| std::array::from_fn(|word| reply.x[first + word]);
    (words(3), words(9), reply.x[15])
}

const NOTHING: (Words, Words, u64) = ([0; 6], [0; 6], 0);

impl System {
    fn os(&mut self, message: &Registers) -> Registers {
        self.sim.core(0).call(message)
    }

    fn as_a(&mut self, message: &Registers) -> Registers {
        self.a.call(self.sim.core(0), message)
    }

    fn as_b(&mut self, message: &Registers) -> Registers {
        self.b.call(self.sim.core(0), message)
    }
}

#[test]
fn a38_a_bind_of_the_normal_world_above_bit_63_round_trips() {
    let mut s = system();
    ok(&s.os(&create(VM, 2)));
    ok(&s.os(&bind(A, VM, 0, &[0, 63, 64, LAST])));
    ok(&s.as_a(&set(A, VM, 0, &[64, LAST])));
    let expected = (bitmap(&[64, LAST]), [0; 6], 0);
    assert_eq!(pending(&s.os(&get_all(VM, 1))), expected);
    assert_eq!(pending(&s.os(&get_all(VM, 1))), NOTHING);
    ok(&s.os(&unbind(A, VM, &[64])));
    assert_error(&s.as_a(&set(A, VM, 0, &[64])), FfaError::Denied);
    ok(&s.as_a(&set(A, VM, 0, &[LAST])));
}

#[test]
fn a38_partitions_and_vms_signal_a_partition_above_bit_63() {
    let mut s = system();
    ok(&s.as_b(&bind(A, B, 0, &[3, 70])));
    ok(&s.as_b(&bind(VM, B, 0, &[70, 71])));
    ok(&s.as_a(&set(A, B, 0, &[70])));
    ok(&s.os(&set(VM, B, 0, &[71])));
    // VMs and partitions have bitmaps of their own.
    assert_error(&s.os(&set(VM, B, 0, &[3])), FfaError::Denied);
    assert_error(&s.as_a(&set(A, B, 0, &[71])), FfaError::Denied);
    let expected = (bitmap(&[70]), bitmap(&[71]), 0);
    assert_eq!(pending(&s.as_b(&get_all(B, 0))), expected);
    assert_eq!(pending(&s.as_b(&get_all(B, 0))), NOTHING);
}

#[test]
fn a38_masked_notifications_stay_pending() {
    let mut s = system();
    ok(&s.as_b(&bind(A, B, 0, &[1, 2, 65, 66])));
    ok(&s.as_b(&bind(VM, B, 0, &[4, 100])));
    ok(&s.as_a(&set(A, B, 0, &[1, 2, 65, 66])));
    ok(&s.os(&set(VM, B, 0, &[4, 100])));
    let masked = get(B, 0, ALL, &[2, 66, 90], &[100]);
    let expected = (bitmap(&[1, 65]), bitmap(&[4]), 0);
    assert_eq!(pending(&s.as_b(&masked)), expected);
    assert_eq!(pending(&s.as_b(&masked)), NOTHING);
    // A mask of a bitmap that is not asked for means nothing.
    let expected = (bitmap(&[2, 66]), [0; 6], 0);
    assert_eq!(
        pending(&s.as_b(&get(B, 0, SP | SPM, &[], &[100]))),
        expected
    );
    let expected = ([0; 6], bitmap(&[100]), 0);
    assert_eq!(pending(&s.as_b(&get(B, 0, FROM_VM, &[2], &[]))), expected);
    assert_eq!(pending(&s.as_b(&get_all(B, 0))), NOTHING);
}

#[test]
fn a38_the_interrupt_goes_when_all_is_fetched() {
    let mut s = system();
    ok(&s.as_a(&bind(B, A, 0, &[0, 80])));
    let interrupt =
        |call: paravirt::Paravirt, x1, x2| bulkhead_sim::call([call.id(), x1, x2, 0, 0, 0, 0, 0]);
    let npi = u64::from(paravirt::INTID_NOTIFICATION_PENDING);
    s.as_a(&interrupt(paravirt::Paravirt::InterruptEnable, npi, 1));
    ok(&s.as_b(&set(B, A, 0, &[0, 80])));
    // The first form fetches the first 64: the rest keeps the interrupt pending.
    let fetch = ffa(
        Function::NotificationGet,
        [EndpointId::pair(EndpointId(0), A), SP, 0, 0],
    );
    assert_eq!(s.as_a(&fetch).x[2..4], [1, 0]);
    assert_eq!(s.as_a(&fetch).x[2..4], [0, 0]);
    assert_eq!(s.sim.core(0).machine.lines, Lines::IRQ);
    // So does what a mask names.
    assert_eq!(pending(&s.as_a(&get(A, 0, ALL, &[80], &[]))), NOTHING);
    assert_eq!(s.sim.core(0).machine.lines, Lines::IRQ);
    let expected = (bitmap(&[80]), [0; 6], 0);
    assert_eq!(pending(&s.as_a(&get_all(A, 0))), expected);
    assert_eq!(s.sim.core(0).machine.lines, Lines::NONE);
}

#[test]
fn a38_the_first_forms_know_the_first_64_of_the_same_notifications() {
    let mut s = system();
    ok(&s.as_b(&bind(A, B, 0, &[5, 40, 69])));
    let top = 1 << 40 | 1 << 5;
    ok(&s.as_a(&first(Function::NotificationSet, A, B, top)));
    let expected = (bitmap(&[5, 40]), [0; 6], 0);
    assert_eq!(pending(&s.as_b(&get_all(B, 0))), expected);
    ok(&s.as_b(&first(Function::NotificationUnbind, A, B, top)));
    assert_error(&s.as_a(&set(A, B, 0, &[5])), FfaError::Denied);
    ok(&s.as_b(&first(Function::NotificationBind, A, B, 1)));
    ok(&s.as_a(&set(A, B, 0, &[0, 69])));
    let expected = (bitmap(&[0, 69]), [0; 6], 0);
    assert_eq!(pending(&s.as_b(&get_all(B, 0))), expected);
}

#[test]
fn a38_n4_n6_n7_what_is_refused_changes_nothing() {
    let mut s = system();
    let invalid = FfaError::InvalidParameters;
    ok(&s.as_b(&bind(A, B, 0, &[64])));
    ok(&s.as_b(&bind(A, B, PER_VCPU, &[65])));
    for (message, error) in [
        (bind(A, B, 0, &[]), invalid),
        (bind(A, B, 2, &[66]), invalid),
        (bind(A, B, 1 << 40, &[66]), invalid),
        (bind(A, B, 0, &[66, Bitmap::COUNT]), invalid),
        (bind(A, B, 0, &[66, 383]), invalid),
        (bind(EndpointId(0x8009), B, 0, &[66]), invalid),
        (bind(A, B, 0, &[66, 64]), FfaError::Denied),
        (unbind(A, B, &[]), invalid),
        (unbind(A, B, &[64, Bitmap::COUNT]), invalid),
        (unbind(A, B, &[64, 66]), FfaError::Denied),
        (unbind(VM, B, &[64]), FfaError::Denied),
    ] {
        assert_error(&s.as_b(&message), error);
    }
    for (message, error) in [
        (set(A, B, 0, &[]), invalid),
        (set(A, B, 4, &[64]), invalid),
        (set(A, B, 0, &[64, Bitmap::COUNT]), invalid),
        (set(A, B, 0, &[64, 65]), invalid),
        (set(A, B, 1 << 16, &[64]), invalid),
        (set(A, B, 2 << 16 | PER_VCPU, &[65]), invalid),
        (set(A, B, 1 << 32 | PER_VCPU, &[65]), invalid),
        (set(A, B, 0, &[64, 66]), FfaError::Denied),
    ] {
        assert_error(&s.as_a(&message), error);
    }
    for message in [
        get(B, 0, 1 << 4, &[], &[]),
        get(B, 0, 1 << 40, &[], &[]),
        get(B, 2, SP, &[], &[]),
        get(A, 0, SP, &[], &[]),
        get(B, 0, SP, &[Bitmap::COUNT], &[]),
        get(B, 0, FROM_VM, &[], &[383]),
    ] {
        assert_error(&s.as_b(&message), invalid);
    }
    assert_eq!(pending(&s.as_b(&get_all(B, 0))), NOTHING);
    // Only what was bound before is bound, and in its scope.
    ok(&s.as_a(&set(A, B, 0, &[64])));
    ok(&s.as_a(&set(A, B, PER_VCPU, &[65])));
    assert_error(&s.as_a(&set(A, B, 0, &[66])), FfaError::Denied);
    assert_error(&s.as_b(&unbind(A, B, &[64])), FfaError::Denied);
    let expected = (bitmap(&[64, 65]), [0; 6], 0);
    assert_eq!(pending(&s.as_b(&get_all(B, 0))), expected);
    ok(&s.as_b(&unbind(A, B, &[64, 65])));
}

#[test]
fn a37_a38_a_notification_for_a_vcpu_is_fetched_by_that_one() {
    let mut s = system();
    ok(&s.as_b(&bind(A, B, PER_VCPU, &[64, 65])));
    ok(&s.as_a(&set(A, B, 1 << 16 | PER_VCPU, &[65])));
    assert_eq!(pending(&s.as_b(&get_all(B, 0))), NOTHING);
    let expected = (bitmap(&[65]), [0; 6], 0);
    assert_eq!(pending(&s.as_b(&get_all(B, 1))), expected);
}

#[test]
fn a34_a38_the_scheduler_is_told_of_what_is_above_bit_63() {
    let mut s = system();
    ok(&s.as_b(&bind(A, B, 0, &[64])));
    ok(&s.as_a(&set(A, B, 0, &[64])));
    let ask = ffa(Function::NotificationInfoGet, [0; 4]);
    let reply = s.os(&ask);
    assert_eq!((reply.x[2], reply.x[3]), (1 << 7, u64::from(B.0)));
    assert_error(&s.os(&ask), FfaError::NoData);
}

#[test]
fn a38_the_second_forms_are_there_from_1_3_on() {
    for version in [Version::V1_1, Version::V1_2, Version::V1_3] {
        let mut s = system_of(version);
        for function in SECOND {
            assert!(CALLS.iter().any(|row| row.function == function));
            let ask = ffa(Function::Features, [function.id(Width::W64), 0, 0, 0]);
            let message = second(function, (A, B), 0, bitmap(&[1]));
            for reply in [s.os(&ask), s.as_b(&ask)] {
                match version {
                    Version::V1_3 => ok(&reply),
                    _ => assert_error(&reply, FfaError::NotSupported),
                }
            }
            if version < Version::V1_3 {
                assert_error(&s.os(&message), FfaError::NotSupported);
                assert_error(&s.as_b(&message), FfaError::NotSupported);
            }
        }
    }
}
