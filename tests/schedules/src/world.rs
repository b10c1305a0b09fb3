// SPDX-License-Identifier: MIT OR Apache-2.0
//! Partitions, cores and the normal world around the real core. A core is a task of the explorer; what
//! holds at each step of one core is checked here, what holds between steps of all in
//! [`rest`](crate::rest).

use std::sync::LazyLock;
use std::sync::{Arc, Mutex};

use bulkhead_abi::paravirt::{self, INTID_IPI, INTID_TIMER};
use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::psci::Psci;
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Uuid, Version, Width, framework};
use bulkhead_core::event::{
    Action, Conduit, Direction, Event, Fault, FaultKind, SystemRegisterAccess, Woken,
};
use bulkhead_core::hardware::SystemRegister;
use bulkhead_core::interrupt::owner::{self, Owned};
use bulkhead_core::normal_world::Vm;
use bulkhead_core::notify::bitmaps::Received;
use bulkhead_core::partition::{Health, Level, Partition, PartitionConfig, Service};
use bulkhead_core::region::Region;
use bulkhead_core::share::{PageOwners, ShareSlot};
use bulkhead_core::spmc::{CoreState, Spmc, SpmcConfig};
use bulkhead_core::sync;
use bulkhead_core::vcpu::{NonSecureInterrupts, Vcpu};
use bulkhead_core::virtual_interrupt::{Lines, VirtualInterrupt};
use bulkhead_mm::addr::{Pa, PageRange};
use bulkhead_mm::attrs::Space;
use bulkhead_mm::owner::{Node, Ownership};
use bulkhead_sim::{call, error, request};
use shuttle::rand::Rng;

use crate::errand::Errands;
use crate::lease::Lease;
use crate::machine::{
    Context, Events, IMAGE, Line, Machine, Mailboxes, NORMAL_MEMORY, PAGE, STALE, Wires, image,
};
use crate::memory::Memory;
use crate::program::{Again, Deed, Step, Turn, deeds};

/// The normal world.
pub const NWD: EndpointId = EndpointId(0);
/// The SPMC's id.
pub const SPMC: EndpointId = EndpointId(0x8000);
/// How many VMs can have mailboxes.
pub const VMS: usize = 2;
/// How many memory transactions there can be at once.
pub const SHARES: usize = 3;
/// The pages of the normal world.
pub const NORMAL_PAGES: u64 = 64;
/// The pages of the pool that each partition, and the normal world, can have.
const QUOTA: usize = 6;
/// The most locks that a core may hold at once (PG3).
const DEEPEST: usize = 4;
/// The most times that a call is resumed: more than any list of deeds has interrupts.
const RESUMES: usize = 16;

/// A number below `bound`, which the schedule chooses.
pub fn pick(bound: usize) -> usize {
    shuttle::rand::thread_rng().gen_range(0..bound)
}

/// One of `choices`, which the schedule chooses.
pub fn choose<T: Copy>(choices: &[T]) -> T {
    choices[pick(choices.len())]
}

/// The id of the partition at `index`.
pub fn id(index: usize) -> EndpointId {
    EndpointId(0x8001 + u16::try_from(index).expect("small"))
}

/// A partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spec {
    /// With one execution context.
    Single,
    /// With one execution context that keeps non-secure interrupts waiting.
    Queued,
    /// With one execution context, for which so many requests may wait.
    Waited(usize),
    /// With an execution context for each core.
    Multi,
    /// The same, with notifications and indirect messages.
    Notified,
    /// The same, and each context but the first does this before it waits.
    MultiDoing(&'static [Deed]),
    /// With an execution context for each core, of which only the first has an entry (W1).
    MultiWithoutEntry,
    /// With one execution context and a device, whose interrupt, like its timer's, it has enabled.
    Device,
    /// The same, and its handler faults now and then.
    Fragile,
    /// As [`Device`](Self::Device), but the normal world's scheduler gives it cycles for its interrupts when it waits.
    Scheduled,
    /// With an execution context for each core; it sees what it retrieves at addresses of its own, of which it has few.
    MultiElsewhere,
    /// With an execution context for each core and a device; it has enabled IPIs, too.
    MultiDevice,
}

/// The INTID of the device of the partition at `index`.
pub fn device(index: usize) -> u32 {
    DEVICES[index][0]
}

/// Where [`Spec::MultiElsewhere`] sees what it retrieves.
const ELSEWHERE: u64 = 0x8000_0000;
const DEVICES: [[u32; 1]; 4] = [[40], [41], [42], [43]];
/// What partitions with a device enable: that, the EL1 physical timer and IPIs.
const ENABLED: [[u32; 3]; 4] = [
    [40, INTID_TIMER, INTID_IPI],
    [41, INTID_TIMER, INTID_IPI],
    [42, INTID_TIMER, INTID_IPI],
    [43, INTID_TIMER, INTID_IPI],
];

impl Spec {
    /// Whether each core has an execution context of it.
    pub const fn is_multi(self) -> bool {
        !matches!(
            self,
            Self::Single
                | Self::Queued
                | Self::Waited(_)
                | Self::Device
                | Self::Fragile
                | Self::Scheduled
        )
    }

    const fn has_device(self) -> bool {
        matches!(
            self,
            Self::Device | Self::Fragile | Self::Scheduled | Self::MultiDevice
        )
    }

    fn interrupts(self, index: usize) -> &'static [u32] {
        if self.has_device() {
            &DEVICES[index]
        } else {
            &[]
        }
    }

    fn enables(self, index: usize) -> &'static [u32] {
        let all = &ENABLED[index];
        match self {
            Self::MultiDevice => all,
            Self::Device | Self::Fragile | Self::Scheduled => &all[..2],
            _ => &[],
        }
    }
}

/// What all cores share.
pub struct World {
    /// The SPMC.
    pub spmc: Spmc<Machine>,
    /// What the partitions are.
    pub specs: Vec<Spec>,
    /// The tokens of all requests, and of those that arrived.
    tokens: Mutex<(u64, Vec<u64>)>,
    /// What partitions do by number.
    pub errands: Errands,
    _lease: Lease,
}

/// A core, with EL3 and the normal world of it.
pub struct Core {
    /// What all cores share.
    pub world: Arc<World>,
    /// The core's state in the SPMC.
    pub state: CoreState<Machine>,
    /// The core's hardware.
    pub machine: Machine,
    /// The notifications in the answers to its requests.
    pub got: Vec<u64>,
    /// The interrupts that partitions fetched on it: the index, the context, the INTID.
    pub interrupts: Vec<(usize, usize, u32)>,
}

/// How a request of the normal world ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// With its answer, which carries the first error of what was done, or 0.
    Answer(u64),
    /// With FFA_ERROR.
    Error(FfaError),
}

const PROPERTIES: Properties = Properties::DIRECT_REQ_RECEIVE
    .union(Properties::DIRECT_REQ_SEND)
    .union(Properties::AARCH64);

/// The memory of the partition at `index`, as a region.
fn own(index: usize) -> &'static [Region] {
    static ALL: LazyLock<Vec<Region>> = LazyLock::new(|| {
        let range = |index| PageRange::new(Pa(image(index)), IMAGE).expect("whole pages");
        (0..16)
            .map(|index| Region::own("own", range(index)))
            .collect()
    });
    std::slice::from_ref(&ALL[index])
}

fn config(index: usize, spec: Spec) -> PartitionConfig {
    const fn service(byte: u8) -> [Service; 1] {
        [Service {
            uuid: Uuid([byte; 16]),
            messaging: Properties::DIRECT_REQ_RECEIVE.union(Properties::DIRECT_REQ_SEND),
        }]
    }
    const SERVICES: [[Service; 1]; 4] = [service(1), service(2), service(3), service(4)];
    PartitionConfig {
        id: id(index),
        level: Level::SEl1,
        name: ["one", "two", "three", "four"][index],
        services: &SERVICES[index],
        image_uuid: Uuid::NIL,
        version: Version::V1_2,
        properties: match spec {
            Spec::Notified => PROPERTIES
                .union(Properties::NOTIFICATIONS)
                .union(Properties::INDIRECT),
            _ => PROPERTIES,
        },
        non_secure_interrupts: match spec {
            Spec::Queued => NonSecureInterrupts::Queued,
            _ => NonSecureInterrupts::Signaled,
        },
        managed_exit_line: paravirt::Line::Fiq,
        entry: image(index),
        boot_information: None,
        image: (image(index), IMAGE),
        retrieved_memory: match spec {
            Spec::MultiElsewhere => Some(ELSEWHERE..ELSEWHERE + 6 * PAGE),
            _ => None,
        },
        regions: own(index),
        smc_allow_list: &[],
        smc_permissive: false,
        interrupts: spec.interrupts(index),
        virtual_serror: false,
        interrupt_share: 25,
        other_secure_interrupts_queued: false,
        sri_while_waiting: spec == Spec::Scheduled,
        sri_on_entering_wait: false,
        run_timeout_ms: None,
    }
}

/// Partitions as `specs` say; `cores` cores, of which the first is on.
pub fn boot(specs: &[Spec], cores: usize) -> Vec<Core> {
    let mut lease = Lease::default();
    let partitions: Vec<Partition<Machine>> = specs
        .iter()
        .enumerate()
        .map(|(index, spec)| {
            let count = if spec.is_multi() { cores } else { 1 };
            let vcpus: Vec<Vcpu<Machine>> = (0..count)
                // SAFETY: only the SPMC has the reference, and the world, which has both, drops the
                // lease last. So it is below.
                .map(|_| {
                    let own = spec.interrupts(index).iter().copied();
                    let own: Vec<_> = own.map(VirtualInterrupt::new).collect();
                    // SAFETY: as above.
                    Vcpu::new(unsafe { lease.lend(Context::new()) }, unsafe {
                        lease.lend(own)
                    })
                })
                .collect();
            let received = vec![Received::default(); count];
            // SAFETY: as above.
            let (vcpus, received) = unsafe { (lease.lend(vcpus), lease.lend(received)) };
            let length = match spec {
                Spec::Waited(length) => *length,
                _ => 0,
            };
            // SAFETY: as above.
            let places = unsafe { lease.lend(vec![None; length]) };
            Partition::new(config(index, *spec), vcpus, received).with_queue(places)
        })
        .collect();
    let memory = PageRange::new(Pa(NORMAL_MEMORY), NORMAL_PAGES * PAGE).expect("a range");
    // SAFETY: as above.
    let partitions: &'static [Partition<Machine>] = unsafe { lease.lend(partitions) };
    let owned: Vec<Owned> = owner::owned(partitions).collect();
    let spmc = Spmc::new(SpmcConfig {
        id: SPMC,
        partitions,
        // SAFETY: as above.
        normal_world_memory: unsafe { lease.lend([memory]) },
        // SAFETY: as above.
        vms: unsafe { lease.lend([const { Vm::new() }; VMS]) },
        vm_notifications: &[],
        reserved: &[],
        owners: PageOwners::new(
            // SAFETY: as above.
            ownership(unsafe { lease.lend([Node::UNUSED; 256]) }),
            // SAFETY: as above.
            ownership(unsafe { lease.lend([Node::UNUSED; 256]) }),
        ),
        // SAFETY: as above.
        shares: unsafe { lease.lend([const { ShareSlot::new() }; SHARES]) },
        // SAFETY: as above.
        interrupts: unsafe { lease.lend(owned) },
        init_timeout_ms: 900,
        run_timeout_ms: 100,
    });
    let world = Arc::new(World {
        spmc,
        specs: specs.to_vec(),
        tokens: Mutex::default(),
        errands: Errands::default(),
        _lease: lease,
    });
    let slots = 1 + specs.len() + VMS;
    let mailboxes = Arc::new(shuttle::sync::Mutex::new(Mailboxes {
        slots: (0..slots).map(|_| None).collect(),
        normal_world_tx: Vec::new(),
    }));
    let memory = Arc::new(shuttle::sync::Mutex::new(Memory::new(specs.len(), QUOTA)));
    let events = Arc::new(Events::new(cores));
    let told: Arc<Mutex<Vec<_>>> = Arc::default();
    let devices = specs
        .iter()
        .enumerate()
        .filter(|(_, spec)| spec.has_device());
    let wires = Arc::new(shuttle::sync::Mutex::new(Wires {
        lines: devices
            .map(|(index, _)| Line {
                intid: device(index),
                ..Line::default()
            })
            .collect(),
        kicked: vec![false; cores],
        ..Wires::default()
    }));
    let bell = Arc::default();
    let mut cores: Vec<Core> = (0..cores)
        .map(|index| Core {
            world: world.clone(),
            state: CoreState::new(index),
            machine: Machine {
                core: index,
                mailboxes: mailboxes.clone(),
                memory: memory.clone(),
                events: events.clone(),
                masked: false,
                bounded: false,
                deadline: 0,
                now: 0,
                expired: false,
                told: told.clone(),
                loaded: 0,
                wires: wires.clone(),
                bell: Arc::clone(&bell),
                lines: Lines::NONE,
            },
            got: Vec::new(),
            interrupts: Vec::new(),
        })
        .collect();
    cores[0].switch_on();
    cores
}

/// Lets all cores do what `what` says at once; they come back when all are done.
pub fn at_once<R: Send + 'static>(
    cores: Vec<Core>,
    what: impl Fn(&mut Core) -> R + Send + Sync + 'static,
) -> (Vec<Core>, Vec<R>) {
    let what = Arc::new(what);
    let tasks: Vec<_> = cores
        .into_iter()
        .map(|mut core| {
            let what = what.clone();
            shuttle::thread::spawn(move || {
                let result = what(&mut core);
                (core, result)
            })
        })
        .collect();
    tasks
        .into_iter()
        .map(|task| task.join().expect("a core failed"))
        .unzip()
}

impl World {
    /// Whether the partition at `index` was ended.
    pub fn is_ended(&self, index: usize) -> bool {
        self.spmc.partitions()[index].health() == Health::Aborted
    }

    fn token(&self) -> u64 {
        let mut tokens = self.tokens.lock().expect("a core failed");
        tokens.0 += 1;
        tokens.0 << 32
    }

    fn took(&self, token: u64) {
        let mut tokens = self.tokens.lock().expect("a core failed");
        assert!(!tokens.1.contains(&token), "CV8: a request arrives twice");
        tokens.1.push(token);
    }
}

impl Core {
    /// The core's index.
    pub fn index(&self) -> usize {
        self.machine.core
    }

    /// Switches the core on; its partitions initialise.
    pub fn switch_on(&mut self) {
        let reply = self.drive(Event::CoreOn);
        assert_eq!(
            reply.x[0],
            Function::MsgWait.id(Width::W32),
            "the boot ends in FFA_MSG_WAIT"
        );
    }

    /// Switches the core off, as the SPMD says so.
    pub fn switch_off(&mut self) {
        let off = Psci::CpuOff.id(Width::W32);
        let message = framework::psci_request(EndpointId::SPMD, SPMC, off, [0; 3]);
        self.take_interrupts();
        self.state.normal_world = call(message);
        // EL3 switches it off then: it takes no interrupt any more.
        let reply = self.drive(Event::Spmd);
        assert_eq!(reply.x[0], Function::MsgSendDirectResp.id(Width::W32));
        assert_eq!(reply.x[3], 0, "CPU_OFF is not refused (DECISIONS 22)");
        self.state = CoreState::new(self.index());
    }

    /// Makes a call of the normal world and returns the registers that come back.
    pub fn call(&mut self, registers: &Registers) -> Registers {
        self.take_interrupts();
        self.state.normal_world = registers.clone();
        let reply = self.drive(Event::Spmd);
        self.take_interrupts();
        reply
    }

    /// The normal world runs for a while: it is interrupted by what is pending.
    pub fn take_interrupts(&mut self) {
        let mut left = RESUMES;
        while self.machine.is_due() {
            left = left.checked_sub(1).expect("PG1: interrupts without end");
            self.state.normal_world = bulkhead_sim::ffa(Function::Interrupt, [0; 4]);
            let reply = self.drive(Event::Spmd);
            let resume = Function::NormalWorldResume.id(Width::W32);
            assert_eq!(reply.x[0], resume, "the normal world goes on: {reply:x?}");
        }
    }

    /// The device of the partition at `index` asserts its line, whose interrupt goes to `target` from now on; not if
    /// the one before was not handled.
    pub fn raise(&mut self, index: usize, target: usize) {
        self.machine.with_wires(|wires| {
            let line = wires.line(device(index));
            if !line.asserted && line.active.is_none() && line.raised == line.taken {
                line.asserted = true;
                line.target = target;
                line.raised += 1;
            }
        });
    }

    /// Lets time pass.
    pub fn pass(&mut self, ticks: u64) {
        self.machine.with_wires(|wires| wires.now += ticks);
    }

    /// Asks the partition at `index` to do `list`, and resumes it until it has answered.
    pub fn ask(&mut self, index: usize, list: &[Deed]) -> Outcome {
        let (token, reply) = self.start(index, list);
        self.resume(token, reply)
    }

    /// Asks the partition at `index` to do `list`. The token of the request, and what comes back first.
    pub fn start(&mut self, index: usize, list: &[Deed]) -> (u64, Registers) {
        let token = self.world.token();
        let payload = [token, deeds(list), 0, 0, 0];
        let reply = self.call(&request(Width::W64, NWD, id(index), payload));
        (token, reply)
    }

    /// Goes on with the request of `token` until it has its answer.
    pub fn resume(&mut self, token: u64, mut reply: Registers) -> Outcome {
        for _ in 0..RESUMES {
            if !is_suspended(&reply) {
                if let Some(code) = error(&reply) {
                    return Outcome::Error(refusal(code));
                }
                let answer = Function::MsgSendDirectResp.id(Width::W64);
                assert_eq!(
                    reply.x[0],
                    answer,
                    "CV8: {:#x?} is no answer",
                    &reply.x[..8]
                );
                assert_eq!(reply.x[3], token, "CV8: the answer to another request");
                self.got.push(reply.x[5]);
                return Outcome::Answer(reply.x[4]);
            }
            // Sometimes the normal world does something else first.
            if pick(2) == 0 {
                self.call(&bulkhead_sim::ffa(Function::IdGet, [0; 4]));
            }
            reply = self.call(&resumption(&reply));
        }
        panic!("PG1: the request does not end");
    }

    /// Gives cycles to the execution context of the partition at `index` that is for this core, and
    /// resumes it until it waits. What it ends with if that is no FFA_MSG_WAIT.
    pub fn run(&mut self, index: usize) -> Result<(), FfaError> {
        let vcpu = self.world.spmc.partitions()[index].vcpu_for_core(self.index());
        self.run_context(index, vcpu)
    }

    /// As [`run`](Self::run), of the given execution context.
    pub fn run_context(&mut self, index: usize, vcpu: usize) -> Result<(), FfaError> {
        let vcpu = u16::try_from(vcpu).expect("small");
        let mut reply = self.call(&bulkhead_sim::run(id(index), vcpu));
        for _ in 0..RESUMES {
            if let Some(code) = error(&reply) {
                return Err(refusal(code));
            }
            if reply.x[0] == Function::MsgWait.id(Width::W32) {
                return Ok(());
            }
            assert!(is_suspended(&reply), "CV8: FFA_RUN ended with {reply:x?}");
            reply = self.call(&resumption(&reply));
        }
        panic!("PG1: the run does not end");
    }

    /// FFA_PARTITION_INFO_GET of everything into the normal world's RX, which must hold as many
    /// descriptors as the answer says, and nothing else. How many, or why not.
    ///
    /// Nobody else may use the normal world's mailbox meanwhile.
    pub fn list(&mut self) -> Result<usize, FfaError> {
        let reply = self.call(&bulkhead_sim::ffa(Function::PartitionInfoGet, [0; 4]));
        if let Some(code) = error(&reply) {
            return Err(refusal(code));
        }
        let count = usize::try_from(reply.x[2]).expect("small");
        let size = match usize::try_from(reply.x[3]).expect("small") {
            0 => 8,
            size => size,
        };
        self.machine.with_mailboxes(|mailboxes| {
            let rx = &mailboxes.slots[0].as_ref().expect("a filled buffer").rx;
            let (descriptors, rest) = rx.split_at(count * size);
            assert!(rest.iter().all(|byte| *byte == 0), "D8: something is left");
            for descriptor in descriptors.chunks_exact(size) {
                let id = u16::from_le_bytes([descriptor[0], descriptor[1]]);
                assert!(
                    id & 0x8000 != 0 && descriptor.iter().all(|byte| *byte != STALE),
                    "a descriptor of nobody: {descriptor:x?}"
                );
            }
        });
        Ok(count)
    }

    fn drive(&mut self, mut event: Event) -> Registers {
        let world = self.world.clone();
        // How often the core is interrupted while it waits.
        let mut interrupts = 2;
        loop {
            let before = self.state.running();
            let ended: Vec<bool> = (0..world.specs.len())
                .map(|index| world.is_ended(index))
                .collect();
            let action = world.spmc.handle(&mut self.state, event, &mut self.machine);
            assert_eq!(sync::held(), 0, "PG2: a lock is held");
            assert!(sync::deepest() <= DEEPEST, "PG3: {} locks", sync::deepest());
            match action {
                Action::Smc => {
                    assert!(!self.machine.masked, "IR5: the priority mask is left");
                    assert!(self.state.running().is_none(), "CV1: a partition is left");
                    assert_eq!(self.machine.loaded, 0, "a state is not saved");
                    return self.state.normal_world.clone();
                }
                Action::Enter if self.machine.is_due() => event = Event::SecureInterrupt,
                Action::Enter => {
                    let vcpu = self.state.running().expect("a context to enter");
                    assert!(
                        before == Some(vcpu) || !ended[vcpu.partition()],
                        "CV6: an ended partition is entered"
                    );
                    event = self.enter(before != Some(vcpu));
                }
                Action::Wait if interrupts != 0 && pick(4) == 0 => {
                    interrupts -= 1;
                    event = Event::Woken(Woken::NonSecureInterrupt);
                }
                Action::Wait => {
                    self.machine.events.wait(self.index());
                    event = Event::Woken(Woken::Event);
                }
            }
        }
    }

    /// Runs the current execution context until something reaches S-EL2.
    fn enter(&mut self, switched: bool) -> Event {
        let vcpu = self.state.running().expect("a context to enter");
        let (index, core) = (vcpu.partition(), self.index());
        let spec = self.world.specs[index];
        let token = self.world.token();
        let machine = &mut self.machine;
        let signalled = self.state.enter(|lines| machine.lines = lines);
        let context = signalled.expect("a context to enter");
        let interrupted = self.machine.lines.contains(Lines::IRQ);
        let wires = self.machine.wires.clone();
        let fetched = &mut self.interrupts;
        let mut fetched = |intid| {
            fetched.push((index, vcpu.vcpu(), intid));
            let mut wires = wires.lock().expect("a core failed");
            if intid == INTID_TIMER {
                let was = wires.timers.insert((index, vcpu.vcpu()), false);
                assert_eq!(was, Some(true), "IR1: a timer fires that is not set");
            }
            if intid >= 32 {
                let line = wires.line(intid);
                line.taken += 1;
                assert!(line.taken <= line.raised, "IR1: {intid} comes twice");
                line.asserted = false;
            }
        };
        match context.loaded {
            None => {
                context.loaded = Some(core);
                self.machine.loaded += 1;
            }
            Some(on) => assert!(on == core && !switched, "CV1: two cores run one context"),
        }
        assert_eq!(self.machine.loaded, 1, "CV1: a core runs two contexts");
        if std::mem::take(&mut context.fresh) {
            let first = image(index);
            assert!((first..first + IMAGE).contains(&context.pc), "W1: no entry");
            assert_eq!(context.registers.x[4], u64::try_from(core).expect("small"));
            context.local = Default::default();
        }
        if let Some(before) = context.interrupted.take() {
            assert_eq!(
                before, context.registers,
                "R11: an interrupt changed registers"
            );
        }
        // S-EL2 went back to the instruction of the call.
        let again = context.local.after_call.take();
        let again = again.filter(|after| context.pc + 4 == *after);
        let again = again.map(|_| match pick(2) {
            0 if !context.local.interrupted_in_call => Again::Interrupt,
            _ => Again::Call,
        });
        context.local.interrupted_in_call = again == Some(Again::Interrupt);
        if again == Some(Again::Interrupt) {
            context.local.after_call = Some(context.pc + 4);
        }
        let mut turn = Turn {
            again,
            errands: &self.world.errands,
            partition: index,
            registers_entry: core == 0 && spec.is_multi() && spec != Spec::MultiWithoutEntry,
            starts_with: match spec {
                Spec::MultiDoing(list) if core != 0 => Some((token, deeds(list))),
                _ => None,
            },
            registers: &mut context.registers,
            local: &mut context.local,
            enables: spec.enables(index),
            interrupted,
            fails: spec == Spec::Fragile && pick(4) == 0,
        };
        let mut step = turn.run(|token| self.world.took(token), &mut fetched);
        // What does not happen: interrupts that are masked, the end of a time without bound.
        while (step == Step::Interrupt && self.machine.masked)
            || (step == Step::Overrun && !self.machine.bounded)
        {
            let nothing = |_| panic!("a partition that works takes a request");
            step = turn.run(nothing, &mut fetched);
        }
        if matches!(step, Step::Call | Step::Hvc | Step::Errand(_)) {
            context.pc += 4;
            context.local.after_call = Some(context.pc);
        }
        match step {
            Step::Call => Event::Call(Conduit::Smc),
            Step::Errand(number) => {
                let tx = self.world.errands.tx(number);
                self.machine.write_tx(index + 1, &tx);
                Event::Call(Conduit::Smc)
            }
            Step::Hvc => Event::Call(Conduit::Hvc),
            Step::Idle => Event::Idle { until: None },
            Step::Timer(op2) => {
                self.machine.with_wires(|wires| {
                    wires.timers.insert((index, vcpu.vcpu()), true);
                });
                Event::SystemRegister(SystemRegisterAccess {
                    register: SystemRegister {
                        op0: 3,
                        op1: 3,
                        crn: 14,
                        crm: 2,
                        op2,
                    },
                    rt: 1,
                    direction: Direction::Write,
                })
            }
            Step::Spin => {
                let line = device(index);
                if self.machine.with_wires(|wires| wires.line(line).taken == 0) {
                    context.local.again();
                    self.machine.spin();
                }
                context.interrupted = Some(context.registers.clone());
                Event::SecureInterrupt
            }
            Step::Interrupt => {
                context.interrupted = Some(context.registers.clone());
                Event::NonSecureInterrupt
            }
            Step::Overrun => {
                self.machine.now = self.machine.deadline;
                self.machine.expired = true;
                context.interrupted = Some(context.registers.clone());
                Event::SecureInterrupt
            }
            Step::Fault => Event::Fault(Fault {
                kind: FaultKind::Data {
                    ipa: 0xdead_0000,
                    space: Space::Secure,
                    direction: Direction::Write,
                },
                syndrome: 0,
                address: 0xdead_0000,
            }),
        }
    }
}

/// The error that a register carries.
pub fn refusal(code: u64) -> FfaError {
    let code = u32::try_from(code).expect("32 bits").cast_signed();
    FfaError::from_code(code).expect("a known error")
}

/// Whether a chain was preempted or yielded.
fn is_suspended(reply: &Registers) -> bool {
    [Function::Interrupt, Function::Yield]
        .map(|function| function.id(Width::W32))
        .contains(&reply.x[0])
}

/// FFA_RUN of what FFA_INTERRUPT or FFA_YIELD names.
fn resumption(interrupt: &Registers) -> Registers {
    bulkhead_sim::run(interrupt.sender(), interrupt.receiver().0)
}

/// A map of the low 4 GiB, of which nobody owns anything.
fn ownership(nodes: &'static mut [Node]) -> Ownership<'static> {
    let range = PageRange::new(Pa(0), 1 << 32).expect("a range");
    Ownership::new(range, nodes).expect("a range that fits")
}
