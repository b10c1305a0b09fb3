// SPDX-License-Identifier: MIT OR Apache-2.0
//! The errors that the rows of the dispatch table declare: each is reached, and no other comes.
//!
//! What else must hold after a refusal is for the tests of each call to say.

#[path = "errors/memory.rs"]
mod memory;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bulkhead_abi::FfaError::*;
use bulkhead_abi::function::{self, Call};
use bulkhead_abi::indirect::{Header, header_size};
use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Uuid, Version, Width};
use bulkhead_core::dispatch::{CALLS, Callers, Instance, Row, find};
use bulkhead_core::event::{Event, Fault, FaultKind};
use bulkhead_sim::*;

const OS: EndpointId = EndpointId(0);
const VM: EndpointId = EndpointId(7);
/// Multi-core, with notifications and indirect messages; makes the calls that a test asks for.
const ACTOR: EndpointId = EndpointId(0x8001);
/// Spins when it is asked to, or has the actor's device fire, and else ends in a fault.
const VICTIM: EndpointId = EndpointId(0x8002);
/// Takes no messages.
const MUTE: EndpointId = EndpointId(0x8003);
/// Speaks 1.0.
const OLD: EndpointId = EndpointId(0x8004);
const NOBODY: EndpointId = EndpointId(0x8099);
const DRAM: u64 = 0x4000_0000;
const SLOT_OS: usize = 0;
const INTERRUPT: u64 = Function::Interrupt.id(Width::W32);
/// Payloads of a request.
const SPIN: u64 = 1;
const FIRE: u64 = 2;
/// The interrupt of the actor's device.
const DEVICE: u32 = 34;

/// What the actor calls, and the last answer that anybody got.
#[derive(Default)]
struct Script {
    /// Before its first FFA_MSG_WAIT.
    first: Option<Registers>,
    /// At each request, and each FFA_INTERRUPT, when it has fetched that.
    next: Option<Registers>,
    /// When `next` ended with FFA_INTERRUPT, before it lets whom it awaits go on.
    then: Option<Registers>,
    reply: Option<Registers>,
}

struct World {
    sim: Sim,
    script: Arc<Mutex<Script>>,
    /// The last call that the test asked for.
    call: Registers,
    /// The answer to it.
    reply: Registers,
}

/// The actor's program: makes the calls of the script, and answers in the form of the request.
fn act(sp: &mut Sp, script: &Mutex<Script>) {
    let make = |sp: &mut Sp, call: Option<Registers>| {
        if let Some(call) = call {
            let reply = sp.call(&call);
            script.lock().unwrap().reply = Some(reply);
        }
    };
    let first = script.lock().unwrap().first.take();
    make(sp, first);
    sp.enable(&[DEVICE]);
    let mut request = sp.wait();
    loop {
        let fetch = |sp: &mut Sp| {
            assert_eq!(sp.fetch(), Some(DEVICE));
            sp.line(DEVICE, |line| line.asserted = false);
        };
        let interrupted = request.x[0] == INTERRUPT;
        if interrupted {
            fetch(sp);
        }
        let next = script.lock().unwrap().next.take();
        make(sp, next);
        let then = script.lock().unwrap().then.take();
        if then.is_some() {
            fetch(sp);
            make(sp, then);
            assert!(sp.deactivate(DEVICE));
            sp.call(&run(VICTIM, 0));
        }
        if interrupted {
            assert!(sp.deactivate(DEVICE));
            request = sp.wait();
            continue;
        }
        let two = request.x[0] == Function::MsgSendDirectReq2.id(Width::W64);
        let mut answer = response(Width::W64, sp.id, request.sender(), [0; 5]);
        if two {
            answer.x[0] = Function::MsgSendDirectResp2.id(Width::W64);
            answer.x[3] = 0;
        }
        request = sp.call(&answer);
    }
}

fn suffer(sp: &mut Sp) {
    let request = sp.wait();
    if request.x[3] == SPIN {
        sp.spin(&request);
    }
    if request.x[3] == FIRE {
        sp.line(DEVICE, |line| line.asserted = true);
        // It is taken when the call is made.
        sp.call(&ffa(Function::IdGet, [0; 4]));
        sp.respond(&request, [0; 5]);
    }
    let kind = FaultKind::External;
    let (syndrome, address) = (0, 0);
    sp.trap(
        &request,
        Event::Fault(Fault {
            kind,
            syndrome,
            address,
        }),
    );
}

impl World {
    fn new() -> Self {
        Self::of(None, 64, 1)
    }

    /// The actor makes `first` while it initialises.
    fn starting(first: Registers) -> Self {
        Self::of(Some(first), 64, 1)
    }

    fn of(first: Option<Registers>, table_pages: usize, services: usize) -> Self {
        let script = Arc::new(Mutex::new(Script {
            first: first.clone(),
            ..Script::default()
        }));
        let shared = script.clone();
        let actor = Spec::new("actor", ACTOR, move |sp| act(sp, &shared))
            .multi_core()
            .interrupts(&[DEVICE])
            .with(|config| {
                let more = Properties::INDIRECT.union(Properties::NOTIFICATIONS);
                config.properties = config.properties.union(more);
                config.services = bulkhead_sim::services(config.properties, vec![1; services]);
            });
        let mut sim = Sim::builder()
            .cores(2)
            .table_pages(table_pages)
            .partition(actor)
            .partition(Spec::new("victim", VICTIM, suffer))
            .partition(Spec::new("mute", MUTE, |_| ()).with(|config| {
                config.properties = Properties::AARCH64;
            }))
            .partition(Spec::new("old", OLD, |_| ()).with(|config| {
                config.version = Version::V1_0;
            }))
            .boot();
        sim.negotiate(Version::OURS);
        let reply = script.lock().unwrap().reply.take();
        Self {
            sim,
            script,
            call: first.unwrap_or(Registers::ZERO),
            reply: reply.unwrap_or(Registers::ZERO),
        }
    }

    /// A call of the normal world.
    fn os(mut self, call: &Registers) -> Self {
        self.call = call.clone();
        self.reply = self.sim.core(0).call(call);
        self
    }

    /// A call of the actor, while it handles `request`.
    fn actor_with(mut self, request: &Registers, call: &Registers) -> Self {
        self.script.lock().unwrap().next = Some(call.clone());
        self.sim.core(0).call(request);
        self.call = call.clone();
        let reply = self.script.lock().unwrap().reply.take();
        self.reply = reply.expect("the actor made no call");
        self
    }

    /// A call of the actor, while it handles a direct request.
    fn actor(self, call: &Registers) -> Self {
        self.actor_with(&to(ACTOR), call)
    }

    /// A call of the actor, while it handles a secure interrupt that it has fetched and not deactivated.
    fn handler(mut self, call: &Registers) -> Self {
        self.script.lock().unwrap().next = Some(call.clone());
        self.sim.line(DEVICE, |line| line.asserted = true);
        self.sim.core(0).run_normal_world();
        self.call = call.clone();
        let reply = self.script.lock().unwrap().reply.take();
        self.reply = reply.expect("the actor made no call");
        self
    }

    /// A call of the actor, which was entered for an interrupt while it awaited the victim.
    fn awaiting(self, call: &Registers) -> Self {
        self.script.lock().unwrap().then = Some(call.clone());
        let mut world = self.actor(&request(Width::W64, ACTOR, VICTIM, [FIRE, 0, 0, 0, 0]));
        world.call = call.clone();
        world
    }

    /// The victim lost the core to the actor, which was entered for an interrupt and yields.
    fn suspend_victim(self) -> Self {
        self.awaiting(&ffa(Function::Yield, [0; 4]))
    }

    /// The victim is preempted while it handles a request.
    fn preempt_victim(mut self) -> Self {
        self.sim.core(0).raise_in_spin(Pending::NonSecure);
        let spin = request(Width::W64, OS, VICTIM, [SPIN, 0, 0, 0, 0]);
        assert_function(&self.sim.core(0).call(&spin), Function::Interrupt);
        self.sim.core(0).take_non_secure_interrupts();
        self
    }

    /// The victim ends in a fault.
    fn end_victim(mut self) -> Self {
        assert_error(&self.sim.core(0).call(&to(VICTIM)), Aborted);
        self
    }

    /// The normal world has buffers.
    fn map(mut self) -> Self {
        assert_function(&self.sim.core(0).call(&map(2)), Function::Success);
        self
    }

    /// The memory of the normal world's buffers does not answer.
    fn break_buffers(mut self) -> Self {
        self = self.map();
        self.sim.break_mailbox(SLOT_OS);
        self
    }

    /// A VM has buffers.
    fn map_vm(self) -> Self {
        self.map().write_tx(&vm_buffers()).os(&map(0))
    }

    /// Bitmaps for so many VMs, the one with the lowest id first.
    fn bitmaps(mut self, vms: usize) -> Self {
        for (vm, _) in (VM.0..).zip(0..vms) {
            self = self.os(&of(Function::NotificationBitmapCreate, EndpointId(vm)));
        }
        self
    }

    fn write_tx(self, bytes: &[u8]) -> Self {
        self.sim.write_tx(SLOT_OS, bytes);
        self
    }
}

fn to(receiver: EndpointId) -> Registers {
    request(Width::W64, OS, receiver, [0; 5])
}

/// FFA_MSG_SEND_DIRECT_REQ2 for any service.
fn to2(receiver: EndpointId) -> Registers {
    let mut message = to(receiver);
    message.x[0] = Function::MsgSendDirectReq2.id(Width::W64);
    message.x[3] = 0;
    message
}

/// FFA_MSG_SEND_DIRECT_RESP2 with x2.
fn answer2(sender: EndpointId, receiver: EndpointId, x2: u64) -> Registers {
    let mut message = response(Width::W64, sender, receiver, [0; 5]);
    message.x[0] = Function::MsgSendDirectResp2.id(Width::W64);
    message.x[2] = x2;
    message
}

/// Buffers of the normal world, of so many pages.
fn map(pages: u64) -> Registers {
    let (tx, rx) = match pages {
        0 => (0, 0),
        _ => (DRAM, DRAM + pages * PAGE),
    };
    call([Function::RxtxMap.id(Width::W64), tx, rx, pages, 0, 0, 0, 0])
}

/// The descriptor of a VM's buffers.
fn vm_buffers() -> Vec<u8> {
    let mut words = vec![u32::from(VM.0), 16, 48, 0];
    for page in [0x4001_0000, 0x4001_1000] {
        words.extend([1, 1, 0, 0, page, 0, 1, 0]);
    }
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// An indirect message of the normal world to the actor.
fn message() -> Vec<u8> {
    let header = Header {
        sender: OS,
        receiver: ACTOR,
        uuid: Uuid::NIL,
        offset: header_size(Version::OURS) as u32,
        size: 0,
    };
    let (bytes, length) = header.encode(Version::OURS);
    bytes[..length].to_vec()
}

/// A 64-bit call with x1 to x3.
fn ffa64(function: Function, x: [u64; 3]) -> Registers {
    call([function.id(Width::W64), x[0], x[1], x[2], 0, 0, 0, 0])
}

/// A call that names one endpoint.
fn of(function: Function, id: EndpointId) -> Registers {
    ffa(function, [u64::from(id.0), 1, 0, 0])
}

/// A call that names two, with w2 and the lower half of a bitmap.
fn between(function: Function, from: EndpointId, to: EndpointId, w2: u64) -> Registers {
    ffa(function, [EndpointId::pair(from, to), w2, 1, 0])
}

/// The same in the second form.
fn between2(function: Function, from: EndpointId, to: EndpointId) -> Registers {
    let mut message = between(function, from, to, 0);
    message.x[0] = function.id(Width::W64);
    message.x[4..17].fill(0);
    message
}

/// How each declared error is reached, in the order of the table.
type Way = (Function, FfaError, fn() -> World);

#[rustfmt::skip]
static WAYS: &[Way] = {
    use Function as F;
    &[
        (F::Version, NotSupported, || World::new().os(&ffa(F::Version, [0x2_0000, 0, 0, 0]))),
        (F::Features, NotSupported, || World::new().os(&ffa(F::Features, [0, 0, 0, 0]))),
        (F::RxtxMap, InvalidParameters, || World::new().map().os(&map(17))),
        (F::RxtxMap, NoMemory, || World::of(None, 0, 1).os(&map(1))),
        (F::RxtxMap, Denied, || World::new().map().os(&map(1))),
        (F::RxtxMap, Aborted, || World::new().break_buffers().os(&map(0))),
        (F::RxtxUnmap, InvalidParameters, || World::new().os(&ffa(F::RxtxUnmap, [0; 4]))),
        (F::RxRelease, InvalidParameters, || World::new().os(&of(F::RxRelease, VM))),
        (F::RxRelease, Denied, || World::new().map().os(&of(F::RxRelease, OS))),
        (F::RxAcquire, InvalidParameters, || World::new().os(&of(F::RxAcquire, VM))),
        (F::RxAcquire, Denied, || World::new().map_vm().os(&of(F::RxAcquire, VM)).os(&of(F::RxAcquire, VM))),
        (F::PartitionInfoGet, InvalidParameters, || World::new().os(&ffa(F::PartitionInfoGet, [9; 4]))),
        (F::PartitionInfoGet, NoMemory, || World::of(None, 64, 400).map().os(&ffa(F::PartitionInfoGet, [0; 4]))),
        (F::PartitionInfoGet, Busy, || World::new().os(&ffa(F::PartitionInfoGet, [0; 4]))),
        (F::PartitionInfoGet, Aborted, || World::new().break_buffers().os(&ffa(F::PartitionInfoGet, [0; 4]))),
        (F::PartitionInfoGetRegs, InvalidParameters, || World::new().os(&ffa64(F::PartitionInfoGetRegs, [9, 9, 0]))),
        (F::PartitionInfoGetRegs, NoMemory, || World::of(None, 64, 0x1_0001).os(&ffa64(F::PartitionInfoGetRegs, [0; 3]))),
        (F::PartitionInfoGetRegs, Retry, || World::new().os(&ffa64(F::PartitionInfoGetRegs, [0, 0, 0x1_0000]))),
        (F::MsgSendDirectReq, InvalidParameters, || World::new().os(&to(NOBODY))),
        (F::MsgSendDirectReq, Busy, || World::new().preempt_victim().os(&to(VICTIM))),
        (F::MsgSendDirectReq, Denied, || World::new().os(&to(MUTE))),
        (F::MsgSendDirectReq, Aborted, || World::new().end_victim().os(&to(VICTIM))),
        (F::MsgSendDirectResp, InvalidParameters, || World::new().actor(&response(Width::W64, OLD, OS, [0; 5]))),
        (F::MsgSendDirectResp, Denied, || World::new().actor(&response(Width::W64, ACTOR, OLD, [0; 5]))),
        (F::MsgSendDirectReq2, NotSupported, || World::new().os(&to2(OLD))),
        (F::MsgSendDirectReq2, InvalidParameters, || World::new().os(&to2(NOBODY))),
        (F::MsgSendDirectReq2, Busy, || World::new().preempt_victim().os(&to2(VICTIM))),
        (F::MsgSendDirectReq2, Denied, || World::new().os(&to2(MUTE))),
        (F::MsgSendDirectReq2, Aborted, || World::new().end_victim().os(&to2(VICTIM))),
        (F::MsgSendDirectResp2, InvalidParameters, || World::new().actor_with(&to2(ACTOR), &answer2(ACTOR, OS, 1))),
        (F::MsgSendDirectResp2, Denied, || World::new().actor(&answer2(ACTOR, OS, 0))),
        (F::MsgSend2, InvalidParameters, || World::new().map().os(&ffa(F::MsgSend2, [0; 4]))),
        (F::MsgSend2, Busy, || World::new().map().write_tx(&message()).os(&ffa(F::MsgSend2, [0; 4]))),
        (F::MsgSend2, Denied, || World::new().os(&ffa(F::MsgSend2, [0; 4]))),
        (F::MsgSend2, Aborted, || World::new().break_buffers().os(&ffa(F::MsgSend2, [0; 4]))),
        (F::Run, InvalidParameters, || World::new().os(&run(ACTOR, 9))),
        (F::Run, Busy, || World::new().actor(&run(ACTOR, 0))),
        (F::Run, Denied, || World::new().actor(&run(VICTIM, 0))),
        (F::Run, Aborted, || World::new().end_victim().os(&run(VICTIM, 0))),
        (F::MsgWait, InvalidParameters, || World::new().actor(&ffa(F::MsgWait, [1, 0, 0, 0]))),
        (F::MsgWait, Denied, || World::new().actor(&ffa(F::MsgWait, [0; 4]))),
        (F::Error, Denied, || World::new().actor(&ffa(F::Error, [0; 4]))),
        (F::NotificationBitmapCreate, InvalidParameters, || World::new().os(&of(F::NotificationBitmapCreate, ACTOR))),
        (F::NotificationBitmapCreate, NoMemory, || World::new().bitmaps(VM_BITMAPS.0 + 1)),
        (F::NotificationBitmapCreate, Denied, || World::new().bitmaps(1).bitmaps(1)),
        (F::NotificationBitmapDestroy, InvalidParameters, || World::new().os(&of(F::NotificationBitmapDestroy, ACTOR))),
        (F::NotificationBitmapDestroy, Denied, || World::new().os(&of(F::NotificationBitmapDestroy, VM))),
        (F::NotificationBind, InvalidParameters, || World::new().os(&between(F::NotificationBind, NOBODY, OS, 0))),
        (F::NotificationBind, Denied, || World::new().os(&between(F::NotificationBind, ACTOR, OS, 0))),
        (F::NotificationUnbind, InvalidParameters, || World::new().actor(&between(F::NotificationUnbind, ACTOR, ACTOR, 0))),
        (F::NotificationUnbind, Denied, || World::new().actor(&between(F::NotificationUnbind, OS, ACTOR, 0))),
        (F::NotificationSet, InvalidParameters, || World::new().os(&between(F::NotificationSet, OS, NOBODY, 0))),
        (F::NotificationSet, Denied, || World::new().os(&between(F::NotificationSet, OS, ACTOR, 0))),
        (F::NotificationGet, InvalidParameters, || World::new().os(&of(F::NotificationGet, OS))),
        (F::NotificationInfoGet, NoData, || World::new().os(&ffa(F::NotificationInfoGet, [0; 4]))),
        (F::NotificationBind2, InvalidParameters, || World::new().os(&between2(F::NotificationBind2, NOBODY, OS))),
        (F::NotificationBind2, Denied, || World::new().os(&between2(F::NotificationBind2, ACTOR, OS))),
        (F::NotificationUnbind2, InvalidParameters, || World::new().os(&between2(F::NotificationUnbind2, NOBODY, OS))),
        (F::NotificationUnbind2, Denied, || World::new().os(&between2(F::NotificationUnbind2, ACTOR, OS))),
        (F::NotificationSet2, InvalidParameters, || World::new().os(&between2(F::NotificationSet2, OS, NOBODY))),
        (F::NotificationSet2, Denied, || World::new().os(&between2(F::NotificationSet2, OS, ACTOR))),
        (F::NotificationGet2, InvalidParameters, || World::new().os(&between2(F::NotificationGet2, OS, OS))),
        (F::NsResInfoGet, InvalidParameters, || World::new().map().os(&ffa64(F::NsResInfoGet, [u64::from(NOBODY.0), 1, 0]))),
        (F::NsResInfoGet, Retry, || World::new().os(&ffa64(F::NsResInfoGet, [0, 0, 0]))),
        (F::NsResInfoGet, Aborted, || World::new().break_buffers().os(&ffa64(F::NsResInfoGet, [0, 0, 0]))),
        (F::SecondaryEpRegister, InvalidParameters, || World::starting(ffa64(F::SecondaryEpRegister, [DRAM, 0, 0]))),
        (F::SecondaryEpRegister, Denied, || World::new().actor(&ffa64(F::SecondaryEpRegister, [0x1010_4000, 0, 0]))),
        (F::ConsoleLog, InvalidParameters, || World::new().actor(&ffa(F::ConsoleLog, [0; 4]))),
        (F::Yield, InvalidParameters, || World::new().actor(&ffa(F::Yield, [1, 0, 0, 0]))),
        (F::Yield, Denied, || World::starting(ffa(F::Yield, [0; 4]))),
    ]
};

/// Errors that come of interrupts, where [`WAYS`] has another way to the same.
#[rustfmt::skip]
static WAYS_OF_INTERRUPTS: &[Way] = {
    use Function as F;
    &[
        // Whoever was interrupted goes on when the interrupt is handled, and not before.
        (F::Run, Busy, || World::new().suspend_victim().os(&run(VICTIM, 0))),
        (F::MsgSendDirectReq, Busy, || World::new().suspend_victim().os(&to(VICTIM))),
        (F::MsgSendDirectReq2, Busy, || World::new().suspend_victim().os(&to2(VICTIM))),
        // Who was entered while it awaited an answer lets whom it awaits go on, and nobody else (C-09).
        (F::Run, Denied, || World::new().awaiting(&run(OLD, 0))),
        (F::MsgSendDirectReq, Denied, || World::new().awaiting(&from_actor(OLD))),
        (F::MsgSendDirectResp, Denied, || World::new().awaiting(&response(Width::W64, ACTOR, OS, [0; 5]))),
        // It has to deactivate what it fetched (R10).
        (F::MsgWait, Denied, || World::new().handler(&ffa(F::MsgWait, [0; 4]))),
        // A chain that Bulkhead schedules does not wait for one of the normal world (G18).
        (F::MsgSendDirectReq, Denied, || World::new().preempt_victim().handler(&from_actor(VICTIM))),
        (F::MsgSendDirectReq2, Denied, || World::new().preempt_victim().handler(&from_actor2(VICTIM))),
    ]
};

/// FFA_MSG_SEND_DIRECT_REQ of the actor.
fn from_actor(receiver: EndpointId) -> Registers {
    request(Width::W64, ACTOR, receiver, [0; 5])
}

/// FFA_MSG_SEND_DIRECT_REQ2 of the actor.
fn from_actor2(receiver: EndpointId) -> Registers {
    let mut message = to2(receiver);
    message.x[1] = EndpointId::pair(ACTOR, receiver);
    message
}

/// FFA_VERSION has its error in w0; every other call has FFA_ERROR with nothing else.
fn error_of(function: Function, reply: &Registers) -> Option<FfaError> {
    let code = match function {
        Function::Version => Some(reply.x[0]),
        _ => error(reply),
    };
    FfaError::from_code(u32::try_from(code?).ok()?.cast_signed())
}

#[test]
fn every_declared_error_is_reached() {
    for (function, expected, world) in WAYS.iter().chain(WAYS_OF_INTERRUPTS) {
        let world = world();
        let (call, reply) = (&world.call, &world.reply);
        let made = match function::decode(call.x[0]) {
            Call::Ffa(made, _) => made,
            other => panic!("{other:?} is no call"),
        };
        assert_eq!(made, *function, "the way to {function}: {expected:?}");
        let got = error_of(made, reply);
        assert_eq!(got, Some(*expected), "{function}: {:#x?}", &reply.x[..8]);
    }
    for (function, expected, way) in memory::WAYS {
        let reply = way();
        let got = error_of(*function, &reply);
        assert_eq!(got, Some(*expected), "{function}: {:#x?}", &reply.x[..8]);
    }
    let number = |(function, error): (Function, FfaError)| (function, error.code());
    let of_memory = memory::WAYS.iter().map(|way| (way.0, way.1));
    let ways = WAYS.iter().map(|way| (way.0, way.1)).chain(of_memory);
    let reached: BTreeSet<_> = ways.clone().map(number).collect();
    assert_eq!(reached.len(), ways.count(), "a way stands there twice");
    let declared: BTreeSet<_> = CALLS
        .iter()
        .flat_map(|row| row.errors.iter().map(|error| (row.function, error)))
        .map(number)
        .collect();
    let without: Vec<_> = declared.symmetric_difference(&reached).collect();
    assert!(
        without.is_empty(),
        "declared without a way here, or the other way round: {without:?}"
    );
}

/// Calls of both widths, from each instance at each version.
#[test]
fn v11_what_is_not_served_at_an_instance_or_version_is_not_supported() {
    let versions = [Version::V1_0, Version::V1_1, Version::V1_2, Version::V1_3];
    let mut refused = 0;
    for version in versions {
        for instance in [
            Instance::NormalWorld,
            Instance::SingleCore,
            Instance::MultiCore,
        ] {
            let (spec, puppet) = Puppet::new("alpha", ACTOR);
            let spec = spec.with(|config| config.version = version);
            let mut sim = Sim::builder()
                .cores(2)
                .partition(match instance {
                    Instance::MultiCore => spec.multi_core(),
                    _ => spec,
                })
                .boot();
            sim.negotiate(version);
            let unserved = |row: &&Row| find(row.function, instance, version).is_none();
            for row in CALLS.iter().filter(unserved) {
                let function = row.function;
                assert!(version < row.since || row.callers != Callers::Both);
                for width in [Width::W32, Width::W64] {
                    let message = call([function.id(width), 0, 0, 0, 0, 0, 0, 0]);
                    let reply = match instance {
                        Instance::NormalWorld => sim.core(0).call(&message),
                        _ => puppet.call(sim.core(0), &message),
                    };
                    assert_error(&reply, NotSupported);
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 100, "{refused}");
}
