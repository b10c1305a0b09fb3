// SPDX-License-Identifier: MIT OR Apache-2.0
//! Notifications: N of the abuse cases, and the interrupts that tell of them.

use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Version, Width, paravirt};
use bulkhead_core::event::{Event, Fault, FaultKind};
use bulkhead_core::virtual_interrupt::Lines;
use bulkhead_sim::*;

const OS: EndpointId = EndpointId(0);
const VM: EndpointId = EndpointId(7);
/// Single-core, receives.
const A: EndpointId = EndpointId(0x8001);
/// One context for each core, receives.
const B: EndpointId = EndpointId(0x8002);
/// Receives nothing.
const C: EndpointId = EndpointId(0x8003);
const PER_VCPU: u64 = 1;
const DELAY: u64 = 2;
const SP: u64 = 1;
const FROM_VM: u64 = 2;
const ALL: u64 = 0xf;
const CORES: usize = 4;

struct System {
    sim: Sim,
    a: Puppet,
    b: Puppet,
    c: Puppet,
}

fn system() -> System {
    system_of(Version::V1_2)
}

fn system_of(version: Version) -> System {
    let receives = |spec: Spec| {
        spec.with(|config| {
            config.properties = config.properties.union(Properties::NOTIFICATIONS);
        })
    };
    let speaks = |spec: Spec| spec.with(|config| config.version = version);
    let (alpha, a) = Puppet::new("alpha", A);
    let (beta, b) = Puppet::new("beta", B);
    let (gamma, c) = Puppet::new("gamma", C);
    let mut sim = Sim::builder()
        .cores(CORES)
        .partition(receives(speaks(alpha)))
        .partition(receives(speaks(beta)).multi_core())
        .partition(speaks(gamma))
        .boot();
    for core in 1..CORES {
        sim.core(core).switch_on();
    }
    sim.negotiate(version);
    System { sim, a, b, c }
}

fn pair(from: EndpointId, to: EndpointId) -> u64 {
    EndpointId::pair(from, to)
}

fn create(vm: EndpointId, vcpus: u64) -> Registers {
    ffa(
        Function::NotificationBitmapCreate,
        [u64::from(vm.0), vcpus, 0, 0],
    )
}

fn destroy(vm: EndpointId) -> Registers {
    ffa(
        Function::NotificationBitmapDestroy,
        [u64::from(vm.0), 0, 0, 0],
    )
}

fn halves(bitmap: u64) -> (u64, u64) {
    (bitmap & 0xffff_ffff, bitmap >> 32)
}

fn bind(from: EndpointId, to: EndpointId, flags: u64, bitmap: u64) -> Registers {
    let (low, high) = halves(bitmap);
    ffa(
        Function::NotificationBind,
        [pair(from, to), flags, low, high],
    )
}

fn unbind(from: EndpointId, to: EndpointId, bitmap: u64) -> Registers {
    let (low, high) = halves(bitmap);
    ffa(Function::NotificationUnbind, [pair(from, to), 0, low, high])
}

fn set(from: EndpointId, to: EndpointId, flags: u64, bitmap: u64) -> Registers {
    let (low, high) = halves(bitmap);
    ffa(
        Function::NotificationSet,
        [pair(from, to), flags, low, high],
    )
}

fn set_vcpu(from: EndpointId, to: EndpointId, vcpu: u64, bitmap: u64) -> Registers {
    set(from, to, vcpu << 16 | PER_VCPU, bitmap)
}

fn get(of: EndpointId, vcpu: u16, flags: u64) -> Registers {
    ffa(
        Function::NotificationGet,
        [pair(EndpointId(vcpu), of), flags, 0, 0],
    )
}

fn info_get(width: Width) -> Registers {
    let mut message = ffa(Function::NotificationInfoGet, [0; 4]);
    message.x[0] = Function::NotificationInfoGet.id(width);
    message
}

#[track_caller]
fn ok(reply: &Registers) {
    assert_eq!(
        reply.x[..8],
        [Function::Success.id(Width::W32), 0, 0, 0, 0, 0, 0, 0]
    );
}

/// The results of FFA_NOTIFICATION_GET: from partitions, from VMs, of the SPMC and of the hypervisor.
#[track_caller]
fn pending(reply: &Registers) -> (u64, u64, u64, u64) {
    let [id, 0, sp_low, sp_high, vm_low, vm_high, spm, hypervisor] = reply.x[..8] else {
        panic!("{:#x?}", &reply.x[..8]);
    };
    assert_eq!(
        id,
        Function::Success.id(Width::W32),
        "{:#x?}",
        &reply.x[..8]
    );
    (
        sp_high << 32 | sp_low,
        vm_high << 32 | vm_low,
        spm,
        hypervisor,
    )
}

const NOTHING: (u64, u64, u64, u64) = (0, 0, 0, 0);

/// All that FFA_NOTIFICATION_INFO_GET has to tell, by as many calls as it takes: each id with its vCPUs.
fn told(core: &mut Core, width: Width) -> Vec<(u16, Vec<u16>)> {
    let mut lists = Vec::new();
    loop {
        let reply = core.call(&info_get(width));
        if error(&reply) == Some(FfaError::NoData.to_register()) {
            return lists;
        }
        assert_eq!(reply.x[0], Function::Success.id(width));
        let flags = reply.x[2];
        let lanes = if width == Width::W32 { 2 } else { 4 };
        let mut ids = reply.x[3..8]
            .iter()
            .flat_map(|register| (0..lanes).map(move |lane| (register >> (16 * lane)) as u16));
        for list in 0..(flags >> 7 & 0x1f) {
            let vcpus = flags >> (12 + 2 * list) & 3;
            let id = ids.next().unwrap();
            lists.push((id, ids.by_ref().take(vcpus as usize).collect()));
        }
        assert!(ids.all(|id| id == 0), "ids behind the last list");
        if flags & 1 == 0 {
            assert_error(&core.call(&info_get(width)), FfaError::NoData);
            return lists;
        }
    }
}

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

    fn as_c(&mut self, message: &Registers) -> Registers {
        self.c.call(self.sim.core(0), message)
    }

    /// How often the schedule receiver interrupt was raised on core 0 since it was last asked.
    fn interrupts(&mut self) -> u32 {
        std::mem::take(&mut self.sim.core(0).machine.schedule_receiver)
    }
}

#[test]
fn n1_bitmaps_are_created_once_for_a_vm_with_vcpus_while_there_is_room() {
    let mut s = system();
    let (places, most) = VM_BITMAPS;
    for id in [A, C, EndpointId(0x8000), EndpointId(0xffff)] {
        assert_error(&s.os(&create(id, 1)), FfaError::InvalidParameters);
    }
    for count in [0, most as u64 + 1, 0x1_0000, 0xffff_ffff] {
        assert_error(&s.os(&create(VM, count)), FfaError::InvalidParameters);
    }
    ok(&s.os(&create(OS, most as u64)));
    for vcpus in [1, most as u64, 0xffff_ffff] {
        assert!(error(&s.os(&create(OS, vcpus))).is_some());
    }
    assert_error(&s.os(&create(OS, 1)), FfaError::Denied);
    for vm in 1..places {
        ok(&s.os(&create(EndpointId(vm as u16), 1)));
    }
    assert_error(&s.os(&create(VM, 1)), FfaError::NoMemory);
    ok(&s.os(&destroy(EndpointId(1))));
    ok(&s.os(&create(VM, 1)));
    assert_error(&s.os(&create(EndpointId(1), 1)), FfaError::NoMemory);
}

#[test]
fn n2_bitmaps_that_are_not_there_or_have_something_pending_are_not_destroyed() {
    let mut s = system();
    for id in [OS, VM] {
        assert_error(&s.os(&destroy(id)), FfaError::Denied);
    }
    assert_error(&s.os(&destroy(A)), FfaError::InvalidParameters);
    for (flags, signal) in [(0, set(A, VM, 0, 1)), (PER_VCPU, set_vcpu(A, VM, 1, 1))] {
        ok(&s.os(&create(VM, 2)));
        ok(&s.os(&bind(A, VM, flags, 1)));
        ok(&s.as_a(&signal));
        assert_error(&s.os(&destroy(VM)), FfaError::Denied);
        assert_eq!(pending(&s.os(&get(VM, 1, ALL))).0, 1, "it is still there");
        ok(&s.os(&destroy(VM)));
        // The binding went, too.
        ok(&s.os(&create(VM, 2)));
        assert_error(&s.as_a(&signal), FfaError::Denied);
        ok(&s.os(&destroy(VM)));
    }
}

#[test]
fn n3_n10_a_partition_creates_no_bitmaps_and_schedules_nobody() {
    let mut s = system();
    for message in [
        create(VM, 1),
        destroy(VM),
        info_get(Width::W32),
        info_get(Width::W64),
    ] {
        assert_error(&s.as_a(&message), FfaError::NotSupported);
        let mut asks = ffa(Function::Features, [message.x[0], 0, 0, 0]);
        assert_error(&s.as_a(&asks), FfaError::NotSupported);
        asks.x[1] = message.x[0];
        assert_function(&s.os(&asks), Function::Success);
    }
    assert_error(&s.os(&destroy(VM)), FfaError::Denied);
}

#[test]
fn n4_what_is_bound_already_or_may_not_be_is_not_bound() {
    let mut s = system();
    ok(&s.os(&create(VM, 2)));
    for (to, by) in [(A, A), (B, B)] {
        let message = bind(to, by, 0, 1);
        let reply = if to == A {
            s.as_a(&message)
        } else {
            s.as_b(&message)
        };
        assert_error(&reply, FfaError::InvalidParameters);
    }
    for bit in 1..32 {
        assert_error(
            &s.as_a(&bind(B, A, 1 << bit, 1)),
            FfaError::InvalidParameters,
        );
    }
    assert_error(&s.as_a(&bind(B, A, 0, 0)), FfaError::InvalidParameters);
    for unknown in [0x8000, 0x8009, 0xffff] {
        let message = bind(EndpointId(unknown), A, 0, 1);
        assert_error(&s.as_a(&message), FfaError::InvalidParameters);
    }
    // A partition with one context has no notifications per vCPU.
    assert_error(
        &s.as_a(&bind(B, A, PER_VCPU, 1)),
        FfaError::InvalidParameters,
    );
    // Receipt is not enabled.
    assert_error(&s.as_c(&bind(B, C, 0, 1)), FfaError::Denied);
    assert_error(&s.os(&bind(A, EndpointId(8), 0, 1)), FfaError::Denied);
    // None of a call that is refused is bound.
    ok(&s.as_a(&bind(B, A, 0, 0b0010)));
    for sender in [B, C] {
        let message = bind(sender, A, 0, 0b0111);
        assert_error(&s.as_a(&message), FfaError::Denied);
        assert_error(&s.as_c(&set(C, A, 0, 0b0001)), FfaError::Denied);
        assert_error(&s.as_b(&set(B, A, 0, 0b0101)), FfaError::Denied);
    }
    // What VMs signal is another bitmap.
    ok(&s.as_a(&bind(VM, A, 0, 0b0111)));
    ok(&s.os(&set(VM, A, 0, 0b0010)));
    ok(&s.as_b(&set(B, A, 0, 0b0010)));
    assert_eq!(pending(&s.as_a(&get(A, 0, ALL))), (0b10, 0b10, 0, 0));
}

#[test]
fn n5_only_the_receiver_binds() {
    let mut s = system();
    ok(&s.os(&create(VM, 1)));
    for message in [bind(A, B, 0, 1), bind(C, B, 0, 1), bind(A, VM, 0, 1)] {
        assert_error(&s.as_a(&message), FfaError::InvalidParameters);
    }
    for message in [
        bind(VM, A, 0, 1),
        bind(OS, VM, 0, 1),
        bind(EndpointId(8), VM, 0, 1),
        bind(B, A, 0, 1),
    ] {
        assert_error(&s.os(&message), FfaError::InvalidParameters);
    }
    assert_error(&s.as_a(&set(A, B, 0, 1)), FfaError::Denied);
    assert_error(&s.as_a(&set(A, VM, 0, 1)), FfaError::Denied);
    assert_error(&s.os(&set(VM, A, 0, 1)), FfaError::Denied);
}

#[test]
fn n6_what_is_pending_or_not_bound_is_not_unbound() {
    let mut s = system();
    ok(&s.as_b(&bind(A, B, 0, 0b0011)));
    ok(&s.as_b(&bind(A, B, PER_VCPU, 0b1100)));
    for message in [
        unbind(A, B, 1 << 4),
        unbind(A, B, 0b1_0011),
        unbind(C, B, 1),
        unbind(VM, B, 1),
    ] {
        assert_error(&s.as_b(&message), FfaError::Denied);
    }
    assert_error(&s.as_b(&unbind(A, B, 0)), FfaError::InvalidParameters);
    assert_error(&s.as_a(&unbind(A, B, 1)), FfaError::InvalidParameters);
    for (signal, bitmap) in [
        (set(A, B, 0, 0b0001), 0b0011),
        (set_vcpu(A, B, 3, 0b0100), 0b1100),
    ] {
        ok(&s.as_a(&signal));
        assert_error(&s.as_b(&unbind(A, B, bitmap)), FfaError::Denied);
        assert_ne!(pending(&s.as_b(&get(B, 3, SP))), NOTHING);
        ok(&s.as_b(&unbind(A, B, bitmap)));
        assert_error(&s.as_a(&signal), FfaError::Denied);
        assert_error(&s.as_b(&unbind(A, B, bitmap)), FfaError::Denied);
    }
}

#[test]
fn n7_a_signal_fits_its_binding() {
    let mut s = system();
    ok(&s.os(&create(VM, 2)));
    ok(&s.os(&bind(A, VM, PER_VCPU, 1)));
    ok(&s.as_b(&bind(A, B, 0, 0b0011)));
    ok(&s.as_b(&bind(A, B, PER_VCPU, 0b1100)));
    ok(&s.as_b(&bind(VM, B, 0, 0b0011)));
    ok(&s.as_a(&bind(B, A, 0, 0b0011)));
    // Not bound, or bound to another.
    for message in [set(A, B, 0, 1 << 5), set(A, B, 0, 0b1_0001)] {
        assert_error(&s.as_a(&message), FfaError::Denied);
    }
    assert_error(&s.as_c(&set(C, B, 0, 1)), FfaError::Denied);
    let invalid = FfaError::InvalidParameters;
    for message in [
        // A sender that is somebody else, or the receiver.
        set(B, A, 0, 1),
        set(VM, B, 0, 1),
        set(A, A, 0, 1),
        set(A, EndpointId(0x8000), 0, 1),
        set(A, EndpointId(0x8009), 0, 1),
        // A vCPU of a global one, the other scope, no such vCPU, nothing, reserved flags.
        set(A, B, 1 << 16, 1),
        set_vcpu(A, B, 0, 1),
        set(A, B, 0, 0b0100),
        set(A, B, 0, 0b0111),
        set_vcpu(A, B, CORES as u64, 0b0100),
        set_vcpu(A, B, 0xffff, 0b0100),
        set_vcpu(A, VM, 2, 1),
        set(A, B, 0, 0),
        set(A, B, 1 << 2, 1),
        set(A, B, 1 << 15, 1),
    ] {
        assert_error(&s.as_a(&message), invalid);
    }
    assert_error(&s.as_b(&set_vcpu(B, A, 0, 1)), invalid);
    for message in [
        set(VM, B, DELAY, 1),
        set(A, B, 0, 1),
        set(VM, OS, 0, 1),
        set(A, VM, 0, 1),
    ] {
        assert_error(&s.os(&message), invalid);
    }
    for (vcpu, of) in [(0, B), (3, B)] {
        assert_eq!(pending(&s.as_b(&get(of, vcpu, ALL))), NOTHING);
    }
    assert_eq!(s.interrupts(), 0);
    assert_eq!(told(s.sim.core(0), Width::W64), []);
}

#[test]
fn n8_what_is_pending_already_changes_nothing() {
    let mut s = system();
    ok(&s.as_b(&bind(A, B, 0, 0b11)));
    ok(&s.as_b(&bind(A, B, PER_VCPU, 0b100)));
    for _ in 0..3 {
        ok(&s.as_a(&set(A, B, 0, 0b01)));
        ok(&s.as_a(&set_vcpu(A, B, 2, 0b100)));
    }
    assert_eq!(s.interrupts(), 1);
    let both = [(B.0, vec![]), (B.0, vec![2])];
    assert_eq!(told(s.sim.core(0), Width::W64), both);
    // Told, and still pending: no more to tell of.
    ok(&s.as_a(&set(A, B, 0, 0b01)));
    ok(&s.as_a(&set_vcpu(A, B, 2, 0b100)));
    assert_eq!(s.interrupts(), 0);
    assert_eq!(told(s.sim.core(0), Width::W32), []);
    assert_eq!(pending(&s.as_b(&get(B, 2, SP))), (0b101, 0, 0, 0));
    assert_eq!(pending(&s.as_b(&get(B, 2, SP))), NOTHING);
    // It is new again.
    ok(&s.as_a(&set(A, B, 0, 0b01)));
    assert_eq!(s.interrupts(), 1);
    assert_eq!(told(s.sim.core(0), Width::W32), both[..1]);
}

#[test]
fn n9_get_takes_what_it_asks_for_and_nobody_elses() {
    let mut s = system();
    ok(&s.os(&create(VM, 2)));
    ok(&s.os(&bind(A, VM, 0, 1)));
    ok(&s.as_b(&bind(A, B, 0, 0b01)));
    ok(&s.as_b(&bind(A, B, PER_VCPU, 0b10)));
    ok(&s.as_b(&bind(VM, B, 0, 1 << 40)));
    ok(&s.as_a(&set(A, B, 0, 0b01)));
    ok(&s.as_a(&set_vcpu(A, B, 1, 0b10)));
    ok(&s.as_a(&set(A, VM, 0, 1)));
    ok(&s.os(&set(VM, B, 0, 1 << 40)));
    let invalid = FfaError::InvalidParameters;
    for message in [get(B, 0, ALL), get(VM, 0, ALL), get(OS, 0, ALL)] {
        assert_error(&s.as_a(&message), invalid);
    }
    assert_error(&s.as_c(&get(C, 0, ALL)), invalid);
    for message in [
        get(A, 0, ALL),
        get(B, 0, ALL),
        get(EndpointId(8), 0, ALL),
        get(VM, 2, ALL),
    ] {
        assert_error(&s.os(&message), invalid);
    }
    assert_error(&s.as_b(&get(B, CORES as u16, ALL)), invalid);
    for bit in 4..32 {
        assert_error(&s.as_b(&get(B, 0, 1 << bit)), invalid);
    }
    // Only what the flags name; the vCPU need not be the caller's.
    assert_eq!(pending(&s.as_b(&get(B, 0, 0))), NOTHING);
    assert_eq!(pending(&s.as_b(&get(B, 0, FROM_VM))), (0, 1 << 40, 0, 0));
    assert_eq!(pending(&s.as_b(&get(B, 0, ALL))), (0b01, 0, 0, 0));
    assert_eq!(pending(&s.as_b(&get(B, 1, ALL))), (0b10, 0, 0, 0));
    assert_eq!(pending(&s.as_b(&get(B, 1, ALL))), NOTHING);
    assert_eq!(pending(&s.os(&get(VM, 1, ALL))), (1, 0, 0, 0));
    assert_eq!(pending(&s.os(&get(VM, 1, ALL))), NOTHING);
}

/// One core signals, another one fetches: each signal is fetched once.
#[test]
fn n9_a_signal_beside_a_get_is_neither_lost_nor_doubled() {
    let mut s = system();
    ok(&s.as_b(&bind(A, B, 0, u64::MAX)));
    let (a, b) = (s.a.clone(), s.b.clone());
    let mut cores = s.sim.into_cores();
    let mut fetching = cores.remove(1);
    let mut signalling = cores.remove(0);
    let fetched = std::thread::spawn(move || {
        let mut counts = [0_u32; 64];
        let mut all = 0_u64;
        while all != u64::MAX {
            let (found, ..) = pending(&b.call(&mut fetching, &get(B, 1, SP)));
            all |= found;
            for (bit, count) in counts.iter_mut().enumerate() {
                *count += (found >> bit & 1) as u32;
            }
        }
        counts
    });
    for bit in 0..64 {
        ok(&a.call(&mut signalling, &set(A, B, 0, 1 << bit)));
    }
    assert_eq!(fetched.join().unwrap(), [1; 64]);
}

#[test]
fn n10_more_than_fits_is_told_later_and_nothing_twice() {
    for width in [Width::W32, Width::W64] {
        let mut s = system();
        let vcpus = VM_BITMAPS.1 as u16;
        let mut wanted = vec![(B.0, vec![]), (B.0, vec![0, 1, 2]), (B.0, vec![3])];
        ok(&s.as_b(&bind(A, B, 0, 0b01)));
        ok(&s.as_b(&bind(A, B, PER_VCPU, 0b10)));
        ok(&s.as_a(&set(A, B, 0, 0b01)));
        for vcpu in 0..CORES as u64 {
            ok(&s.as_a(&set_vcpu(A, B, vcpu, 0b10)));
        }
        for vm in [OS, VM] {
            ok(&s.os(&create(vm, vcpus.into())));
            ok(&s.os(&bind(A, vm, PER_VCPU, 1)));
            for vcpu in 0..vcpus {
                ok(&s.as_a(&set_vcpu(A, vm, vcpu.into(), 1)));
            }
            wanted.extend([
                (vm.0, vec![0, 1, 2]),
                (vm.0, vec![3, 4, 5]),
                (vm.0, vec![6, 7]),
            ]);
        }
        // 29 ids; the first call says that there are more.
        let reply = s.os(&info_get(width));
        assert_eq!(reply.x[2] & 1, 1);
        let first = reply.x[2] >> 7 & 0x1f;
        let rest = told(s.sim.core(0), width);
        assert_eq!(rest, wanted[first as usize..]);
        assert_error(&s.os(&info_get(width)), FfaError::NoData);
        // Nothing of it is lost.
        assert_eq!(pending(&s.os(&get(VM, 7, SP))), (1, 0, 0, 0));
    }
}

#[test]
fn n11_a_burst_raises_one_interrupt_until_the_scheduler_asks() {
    let mut s = system();
    ok(&s.as_b(&bind(A, B, PER_VCPU, u64::MAX)));
    for round in 0..2 {
        for bit in 0..64 {
            for vcpu in 0..CORES as u64 {
                ok(&s.as_a(&set_vcpu(A, B, vcpu, 1 << bit)));
            }
        }
        assert_eq!(s.interrupts(), 1, "round {round}");
        let lists = told(s.sim.core(0), Width::W64);
        assert_eq!(lists, [(B.0, vec![0, 1, 2]), (B.0, vec![3])]);
        for vcpu in 0..CORES as u16 {
            assert_eq!(pending(&s.as_b(&get(B, vcpu, SP))).0, u64::MAX);
        }
    }
    assert_eq!(s.interrupts(), 0);
}

#[test]
fn n12_what_was_for_a_partition_that_ended_is_dropped() {
    let (beta, b) = Puppet::new("beta", B);
    let doomed = Spec::new("alpha", A, |sp| {
        let mut request = sp.wait();
        if request.x[3] == 0 {
            let reply = sp.call(&bind(B, A, 0, 0b11));
            request = sp.respond(&request, [reply.x[0], 0, 0, 0, 0]);
        }
        let kind = FaultKind::External;
        let fault = Fault {
            kind,
            syndrome: 0,
            address: 0,
        };
        sp.trap(&request, Event::Fault(fault));
    })
    .with(|config| config.properties = config.properties.union(Properties::NOTIFICATIONS));
    let mut sim = Sim::builder().partition(doomed).partition(beta).boot();
    sim.negotiate(Version::V1_2);
    let ask = |value| request(Width::W32, OS, A, [value, 0, 0, 0, 0]);
    let bound = sim.core(0).call(&ask(0));
    assert_eq!(bound.x[3], Function::Success.id(Width::W32));
    ok(&b.call(sim.core(0), &set(B, A, 0, 0b01)));
    assert_error(&sim.core(0).call(&ask(1)), FfaError::Aborted);
    assert_eq!(told(sim.core(0), Width::W64), []);
    assert_error(&b.call(sim.core(0), &set(B, A, 0, 0b10)), FfaError::Denied);
    assert_eq!(told(sim.core(0), Width::W64), []);
}

#[test]
fn n14_halves_of_a_bitmap_are_not_swapped() {
    const BITMAP: u64 = 0x8000_0001_0000_0006;
    let mut s = system();
    ok(&s.as_a(&bind(B, A, 0, BITMAP)));
    assert_error(
        &s.as_b(&set(B, A, 0, BITMAP.rotate_left(32))),
        FfaError::Denied,
    );
    ok(&s.as_b(&set(B, A, 0, BITMAP)));
    assert_error(&s.as_a(&unbind(B, A, BITMAP)), FfaError::Denied);
    let reply = s.as_a(&get(A, 0, SP));
    assert_eq!(reply.x[2..4], [6, 0x8000_0001]);
    ok(&s.as_a(&unbind(B, A, BITMAP)));
}

#[test]
fn a35_features_tell_each_interrupt_to_whom_it_concerns() {
    let ask = |id| ffa(Function::Features, [id, 0, 0, 0]);
    let answer = |reply: &Registers| match error(reply) {
        Some(_) => None,
        None => Some(reply.x[2]),
    };
    for version in [Version::V1_0, Version::V1_1, Version::V1_2, Version::V1_3] {
        let mut s = system_of(version);
        let is = |known: bool, value: u64| known.then_some(value);
        let known = version >= Version::V1_1;
        // 64 more than the first 64, of partitions and, for those, of VMs.
        let of_sps = is(version >= Version::V1_3, 64 << 11);
        let of_both = of_sps.map(|sps| sps | 64 << 2);
        let expected_of_a = [is(known, 5), None, None, of_both];
        let expected_of_c = [None, None, None, of_both];
        let expected_of_os = [None, is(known, 8), None, of_sps];
        for id in 1..=4 {
            let index = id as usize - 1;
            assert_eq!(answer(&s.as_a(&ask(id))), expected_of_a[index], "{version}");
            assert_eq!(answer(&s.as_c(&ask(id))), expected_of_c[index], "{version}");
            assert_eq!(answer(&s.os(&ask(id))), expected_of_os[index], "{version}");
        }
        s.sim.core(0).machine.scheduler_is_non_secure = false;
        assert_error(&s.os(&ask(2)), FfaError::NotSupported);
    }
}

#[test]
fn a30_notifications_are_of_1_1_and_later() {
    let mut s = system_of(Version::V1_0);
    assert_error(&s.os(&create(OS, 1)), FfaError::NotSupported);
    assert_error(&s.os(&info_get(Width::W32)), FfaError::NotSupported);
    for message in [bind(B, A, 0, 1), set(A, B, 0, 1), get(A, 0, ALL)] {
        assert_error(&s.as_a(&message), FfaError::NotSupported);
        assert_error(&s.os(&message), FfaError::NotSupported);
    }
}

/// The core returns to the normal world at the end of the request in which the partition signals.
#[test]
fn a32_a_delayed_interrupt_comes_when_the_core_returns_to_the_normal_world() {
    let (alpha, a) = Puppet::new("alpha", A);
    let nested = Spec::new("beta", B, |sp| {
        let mut message = sp.wait();
        loop {
            ok(&sp.call(&set(B, A, DELAY, 1)));
            let reply = sp.call(&request(Width::W32, B, C, [0; 5]));
            assert_function(&reply, Function::MsgSendDirectResp);
            message = sp.respond(&message, [0; 5]);
        }
    });
    let last = Spec::new("gamma", C, |sp| {
        let mut message = sp.wait();
        loop {
            sp.spin(&message);
            message = sp.respond(&message, [0; 5]);
        }
    });
    let alpha =
        alpha.with(|config| config.properties = config.properties.union(Properties::NOTIFICATIONS));
    let parts = Sim::builder().partition(alpha).partition(nested);
    let mut sim = parts.partition(last).boot();
    sim.negotiate(Version::V1_2);
    ok(&a.call(sim.core(0), &bind(B, A, 0, 1)));
    sim.core(0).raise_in_spin(Pending::NonSecure);
    let reply = sim.core(0).call(&request(Width::W32, OS, B, [0; 5]));
    // Preempted in gamma, whom beta asked after it had signalled.
    assert_function(&reply, Function::Interrupt);
    assert_eq!(reply.sender(), C);
    assert_eq!(sim.core(0).machine.schedule_receiver, 1);
    assert_eq!(told(sim.core(0), Width::W64), [(A.0, vec![])]);
    sim.core(0).take_non_secure_interrupts();
    let reply = sim.core(0).call(&run(C, 0));
    assert_function(&reply, Function::MsgSendDirectResp);
    assert_eq!(sim.core(0).machine.schedule_receiver, 1, "once");
}

/// As on the machine: the interrupt is non-secure, and the partition that signalled is preempted by it.
#[test]
fn a32_an_interrupt_at_once_preempts_the_partition_that_signals() {
    let mut s = system();
    ok(&s.as_b(&bind(A, B, 0, 1)));
    s.sim.core(0).machine.scheduler_listens = true;
    let listening = s.sim.core(0);
    assert_eq!(listening.machine.schedule_receiver, 0);
    ok(&s.as_a(&set(A, B, 0, 1)));
    assert_eq!(s.interrupts(), 1);
    assert_eq!(told(s.sim.core(0), Width::W64), [(B.0, vec![])]);
}

#[test]
fn a35_a_core_that_went_off_does_not_take_the_interrupt_with_it() {
    let mut s = system();
    ok(&s.as_b(&bind(A, B, 0, 0b11)));
    ok(&s.as_a(&set(A, B, 0, 0b01)));
    assert_eq!(s.interrupts(), 1);
    s.sim.core(0).switch_off_and_on();
    ok(&s.as_a(&set(A, B, 0, 0b10)));
    assert_eq!(s.interrupts(), 1);
}

fn enable(x2: u64, x3: u64) -> Registers {
    let id = paravirt::Paravirt::InterruptEnable.id();
    let intid = u64::from(paravirt::INTID_NOTIFICATION_PENDING);
    call([id, intid, x2, x3, 0, 0, 0, 0])
}

fn fetch() -> Registers {
    call([paravirt::Paravirt::InterruptGet.id(), 0, 0, 0, 0, 0, 0, 0])
}

#[test]
fn a35_a_partition_is_told_by_a_virtual_interrupt_that_it_enabled() {
    let npi = u64::from(paravirt::INTID_NOTIFICATION_PENDING);
    for (line, lines) in [(0, Lines::IRQ), (1, Lines::FIQ)] {
        let mut s = system();
        ok(&s.as_a(&bind(B, A, 0, 0b111)));
        // Not enabled: pending all the same, and not signalled.
        ok(&s.as_b(&set(B, A, 0, 0b001)));
        assert_eq!(s.as_a(&fetch()).x[0], paravirt::NO_INTERRUPT);
        assert_eq!(s.sim.core(0).machine.signals, []);
        assert_eq!(s.as_a(&enable(1, line)).x[0], paravirt::SUCCESS);
        assert_eq!(s.sim.core(0).machine.signals, [lines]);
        let fetched = s.as_a(&fetch());
        assert_eq!(fetched.x[0], npi);
        assert_eq!(fetched.x[1..], fetch().x[1..]);
        assert_eq!(s.as_a(&fetch()).x[0], paravirt::NO_INTERRUPT);
        assert_eq!(s.sim.core(0).machine.signals, [lines, Lines::NONE]);
        let end = paravirt::Paravirt::InterruptDeactivate.id();
        let ended = s.as_a(&call([end, npi, npi, 0, 0, 0, 0, 0]));
        assert_eq!(ended.x[0], paravirt::SUCCESS);
        // Fetched, not got: the next signal tells of it again.
        ok(&s.as_b(&set(B, A, 0, 0b001)));
        assert_eq!(s.as_a(&fetch()).x[0], paravirt::NO_INTERRUPT);
        ok(&s.as_b(&set(B, A, 0, 0b010)));
        assert_eq!(pending(&s.as_a(&get(A, 0, SP))), (0b011, 0, 0, 0));
        // Got, not fetched: nothing is left that it could tell of.
        assert_eq!(s.as_a(&fetch()).x[0], paravirt::NO_INTERRUPT);
        ok(&s.as_b(&set(B, A, 0, 0b100)));
        assert_eq!(s.as_a(&enable(0, line)).x[0], paravirt::SUCCESS);
        assert_eq!(s.as_a(&fetch()).x[0], paravirt::NO_INTERRUPT);
        assert_eq!(s.sim.core(0).machine.lines, Lines::NONE);
    }
}

#[test]
fn a37_each_vcpu_is_told_of_its_own_and_all_of_global_ones() {
    let mut s = system();
    ok(&s.as_b(&bind(A, B, PER_VCPU, 0b01)));
    ok(&s.as_b(&bind(A, B, 0, 0b10)));
    for core in 0..CORES {
        let reply = s.b.call(s.sim.core(core), &enable(1, 0));
        assert_eq!(reply.x[0], paravirt::SUCCESS);
    }
    let asks = |s: &mut System| -> Vec<bool> {
        (0..CORES)
            .map(|core| {
                let found = s.b.call(s.sim.core(core), &fetch()).x[0];
                assert!(found == 5 || found == paravirt::NO_INTERRUPT);
                found == 5
            })
            .collect()
    };
    ok(&s.as_a(&set_vcpu(A, B, 2, 0b01)));
    assert_eq!(asks(&mut s), [false, false, true, false]);
    ok(&s.as_a(&set(A, B, 0, 0b10)));
    assert_eq!(asks(&mut s), [true; CORES]);
    // Vcpu 2 still has its own when vCPU 0 has got the global one.
    assert_eq!(pending(&s.as_b(&get(B, 2, SP))), (0b11, 0, 0, 0));
    ok(&s.as_a(&set(A, B, 0, 0b10)));
    ok(&s.as_a(&set_vcpu(A, B, 3, 0b01)));
    assert_eq!(pending(&s.as_b(&get(B, 0, SP))), (0b10, 0, 0, 0));
    assert_eq!(asks(&mut s), [false, false, false, true]);
}

#[test]
fn c14_wrong_paravirtual_calls_fail_and_change_nothing() {
    let mut s = system();
    ok(&s.as_a(&bind(B, A, 0, 1)));
    ok(&s.as_b(&set(B, A, 0, 1)));
    let deactivate = paravirt::Paravirt::InterruptDeactivate.id();
    for message in [
        enable(1, 2),
        enable(1, u64::MAX),
        call([enable(1, 0).x[0], 6, 1, 0, 0, 0, 0, 0]),
        call([enable(1, 0).x[0], 37, 1, 0, 0, 0, 0, 0]),
        call([deactivate, 5, 4, 0, 0, 0, 0, 0]),
        call([deactivate, 37, 37, 0, 0, 0, 0, 0]),
    ] {
        let reply = s.as_a(&message);
        assert_eq!(reply.x[0], paravirt::FAILURE);
        assert_eq!(reply.x[1..], message.x[1..]);
    }
    assert_eq!(s.as_a(&fetch()).x[0], paravirt::NO_INTERRUPT);
    assert_eq!(s.sim.core(0).machine.signals, []);
}
