// SPDX-License-Identifier: MIT OR Apache-2.0
//! The simulated system: partitions, cores, and the SPMD between them and the normal world.

use std::sync::{Arc, Mutex};

use bulkhead_abi::framework;
use bulkhead_abi::paravirt;
use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::psci::Psci;
use bulkhead_abi::{EndpointId, Function, Registers, Uuid, Version, Width};
use bulkhead_core::device::gic::{Layout, VirtualGic};
use bulkhead_core::event::{Access, Action, Conduit, Event, Woken};
use bulkhead_core::interrupt::owner;
use bulkhead_core::mailbox::MailboxBuffers;
use bulkhead_core::normal_world::Vm;
use bulkhead_core::notify::VmNotifications;
use bulkhead_core::notify::bitmaps::Received;
use bulkhead_core::partition::{Level, Partition, PartitionConfig, Service};
use bulkhead_core::region::{Region, Reserved};
use bulkhead_core::share::{PageOwners, ShareSlot};
use bulkhead_core::spmc::{CoreState, Spmc, SpmcConfig};
use bulkhead_core::vcpu::{NonSecureInterrupts, StateName, Vcpu};
use bulkhead_core::virtual_interrupt::{Lines, VirtualInterrupt};
use bulkhead_mm::addr::{Pa, PageRange};
use bulkhead_mm::attrs::{Permissions, Space};
use bulkhead_mm::owner::{Node, Ownership};

use crate::gic::{Gic, Line};
use crate::machine::{Context, Machine, Pending, Shared, Spmd};
use crate::memory::{Memory, Quotas};
use crate::program::{Exit, Program, Runner, Sp};

/// How many VMs can have mailboxes.
pub const VMS: usize = 4;
/// How many of them, and of vCPUs of each, can have notifications.
pub const VM_BITMAPS: (usize, usize) = (3, 8);
/// How many memory transactions there can be.
pub const SHARES: usize = 64;
/// The SPMC's id.
pub const SPMC: EndpointId = EndpointId(0x8000);

/// What a scenario says of a partition.
#[derive(Clone)]
pub struct Spec {
    pub(crate) config: PartitionConfig,
    multi_core: bool,
    queue: usize,
    gic: Option<Layout>,
    program: Program,
}

/// The controller of a partition with those interrupts, for so many execution contexts.
fn gic(layout: Layout, devices: &[u32], vcpus: usize) -> &'static VirtualGic {
    let cpus: Vec<_> = (0..vcpus)
        .map(|_| VirtualGic::cpu(&layout, devices))
        .collect();
    let banks: Vec<_> = VirtualGic::banks(devices).collect();
    let links: Vec<_> = VirtualGic::links(devices, vcpus).collect();
    let gic = VirtualGic::new(layout, cpus.leak(), banks.leak(), links.leak());
    Box::leak(Box::new(gic))
}

impl Spec {
    /// A single-core partition that sends and receives direct messages in both forms.
    pub fn new(
        name: &'static str,
        id: EndpointId,
        program: impl Fn(&mut Sp) + Send + Sync + 'static,
    ) -> Self {
        let [_, low] = id.0.to_be_bytes();
        let properties = Properties::DIRECT_REQ_RECEIVE
            .union(Properties::DIRECT_REQ_SEND)
            .union(Properties::DIRECT_REQ2_RECEIVE)
            .union(Properties::DIRECT_REQ2_SEND)
            .union(Properties::AARCH64);
        let base = 0x1000_0000 + (u64::from(low) << 20);
        let config = PartitionConfig {
            id,
            level: Level::SEl1,
            name,
            services: services(properties, [low]),
            image_uuid: Uuid::NIL,
            version: Version::V1_2,
            properties,
            non_secure_interrupts: NonSecureInterrupts::Signaled,
            managed_exit_line: paravirt::Line::Fiq,
            entry: base + 0x4000,
            boot_information: Some((0, base)),
            image: (base, 0x10_0000),
            retrieved_memory: None,
            regions: vec![Region::own(
                name,
                PageRange::new(Pa(base), 0x10_0000).expect("a valid range"),
            )]
            .leak(),
            smc_allow_list: &[],
            smc_permissive: false,
            interrupts: &[],
            virtual_serror: false,
            interrupt_share: 25,
            other_secure_interrupts_queued: false,
            sri_while_waiting: false,
            sri_on_entering_wait: false,
            run_timeout_ms: None,
        };
        Self {
            config,
            multi_core: false,
            queue: 0,
            gic: None,
            program: Arc::new(program),
        }
    }

    /// Gives it an execution context for each core.
    pub fn multi_core(mut self) -> Self {
        self.multi_core = true;
        self
    }

    /// Has it run at S-EL0, which sees its memory as [`Permissions::READ_EXECUTE`] at first.
    pub fn at_el0(mut self) -> Self {
        self.config.level = Level::SEl0;
        let mut regions = self.config.regions.to_vec();
        for region in &mut regions {
            region.permissions = Permissions::READ_EXECUTE;
        }
        self.config.regions = regions.leak();
        self
    }

    /// Gives it a GICv2 there.
    pub fn with_gic(mut self, layout: Layout) -> Self {
        self.gic = Some(layout);
        self
    }

    /// Lets as many requests wait for it.
    pub fn queue(mut self, length: usize) -> Self {
        self.queue = length;
        self
    }

    /// Changes what its manifest says. Its services follow the properties unless they change, too.
    pub fn with(mut self, change: impl FnOnce(&mut PartitionConfig)) -> Self {
        let before = self.config.services;
        change(&mut self.config);
        let properties = self.config.properties;
        if self.config.services == before {
            let uuids = before.iter().map(|service| service.uuid.0[0]);
            self.config.services = services(properties, uuids);
        }
        self
    }
}

/// Services with UUIDs of these bytes, all of which do what `properties` say.
pub fn services(properties: Properties, uuids: impl IntoIterator<Item = u8>) -> &'static [Service] {
    let messaging = properties.intersection(Properties::MESSAGING);
    let service = |byte| Service {
        uuid: Uuid([byte; 16]),
        messaging,
    };
    let all: Vec<Service> = uuids.into_iter().map(service).collect();
    all.leak()
}

/// What a scenario looks at each time that a core enters a partition.
type Watch = Arc<dyn Fn(&Spmc<Machine>, &mut CoreState<Machine>, &Machine) + Send + Sync>;

/// Describes a system before it boots.
pub struct SimBuilder {
    specs: Vec<Spec>,
    cores: usize,
    table_pages: usize,
    spmd: Option<Spmd>,
    quotas: Quotas,
    watch: Option<Watch>,
}

impl SimBuilder {
    /// How many pages partitions and the normal world may have for tables and records.
    pub fn quotas(mut self, quotas: Quotas) -> Self {
        self.quotas = quotas;
        self
    }

    /// Adds a partition; they boot in this order.
    pub fn partition(mut self, spec: Spec) -> Self {
        self.specs.push(spec);
        self
    }

    /// How many cores there are.
    pub fn cores(mut self, cores: usize) -> Self {
        self.cores = cores;
        self
    }

    /// How many pages are there for S-EL2's tables.
    pub fn table_pages(mut self, pages: usize) -> Self {
        self.table_pages = pages;
        self
    }

    /// What the SPMD answers to FF-A calls of the SPMC, instead of NOT_SUPPORTED.
    pub fn spmd(mut self, answer: impl Fn(&mut Registers) + Send + Sync + 'static) -> Self {
        self.spmd = Some(Arc::new(answer));
        self
    }

    /// Looks at the SPMC each time that a core enters a partition, from the boot on.
    pub fn watch(
        mut self,
        look: impl Fn(&Spmc<Machine>, &mut CoreState<Machine>, &Machine) + Send + Sync + 'static,
    ) -> Self {
        self.watch = Some(Arc::new(look));
        self
    }

    /// Boots core 0 up to the first FFA_MSG_WAIT to the SPMD.
    pub fn boot(self) -> Sim {
        let shared = Arc::new(Mutex::new(Shared {
            table_pages: self.table_pages,
            gic: Gic {
                kicked: vec![false; self.cores],
                ..Gic::default()
            },
            spmd: self.spmd,
            memory: Some(Memory::new(
                &self
                    .specs
                    .iter()
                    .map(|spec| &spec.config)
                    .collect::<Vec<_>>(),
                self.quotas,
            )),
            ..Shared::default()
        }));
        let partitions: Vec<Partition<Machine>> = self
            .specs
            .iter()
            .map(|spec| {
                let count = if spec.multi_core { self.cores } else { 1 };
                let gic = spec
                    .gic
                    .map(|layout| gic(layout, spec.config.interrupts, count));
                let vcpus: Vec<Vcpu<Machine>> = (0..count)
                    .map(|index| {
                        if let Some(gic) = gic {
                            return Vcpu::with_gic(Box::leak(Box::new(Context::new())), gic, index);
                        }
                        let own = spec.config.interrupts.iter().copied();
                        let own: Vec<_> = own.map(VirtualInterrupt::new).collect();
                        Vcpu::new(Box::leak(Box::new(Context::new())), own.leak())
                    })
                    .collect();
                let received = vec![Received::default(); count];
                Partition::new(spec.config.clone(), vcpus.leak(), received.leak())
                    .with_queue(vec![None; spec.queue].leak())
                    .with_gic(gic)
            })
            .collect();
        let partitions = partitions.leak();
        let memory = PageRange::new(Pa(0x4000_0000), 0x1000_0000).expect("a valid range");
        let spmc = Arc::new(Spmc::new(SpmcConfig {
            id: SPMC,
            partitions,
            normal_world_memory: vec![memory].leak(),
            reserved: vec![Reserved {
                owner: "Bulkhead",
                range: PageRange::new(Pa(0x0e10_0000), 0x20_0000).expect("a valid range"),
            }]
            .leak(),
            vms: (0..VMS).map(|_| Vm::new()).collect::<Vec<_>>().leak(),
            vm_notifications: (0..VM_BITMAPS.0)
                .map(|_| VmNotifications::new(vec![Received::default(); VM_BITMAPS.1].leak()))
                .collect::<Vec<_>>()
                .leak(),
            owners: PageOwners::new(ownership(0), ownership(0)),
            shares: (0..SHARES)
                .map(|_| ShareSlot::new())
                .collect::<Vec<_>>()
                .leak(),
            interrupts: owner::owned(partitions).collect::<Vec<_>>().leak(),
            init_timeout_ms: 900,
            run_timeout_ms: 100,
        }));
        let programs: Arc<[Program]> = self.specs.into_iter().map(|spec| spec.program).collect();
        let cores = (0..self.cores)
            .map(|index| Core {
                spmc: spmc.clone(),
                programs: programs.clone(),
                watch: self.watch.clone(),
                state: CoreState::new(index),
                machine: Machine::new(index, shared.clone()),
            })
            .collect();
        let mut sim = Sim {
            spmc,
            shared,
            cores,
        };
        sim.core(0).switch_on();
        sim
    }
}

/// A map of the low 4 GiB, of which nobody owns anything.
fn ownership(base: u64) -> Ownership<'static> {
    let range = PageRange::new(Pa(base), 1 << 32).expect("a valid range");
    Ownership::new(range, vec![Node::UNUSED; 4096].leak()).expect("a range that fits")
}

/// A running system.
pub struct Sim {
    spmc: Arc<Spmc<Machine>>,
    shared: Arc<Mutex<Shared>>,
    cores: Vec<Core>,
}

impl Sim {
    /// An empty system with one core.
    pub fn builder() -> SimBuilder {
        SimBuilder {
            specs: Vec::new(),
            cores: 1,
            table_pages: 64,
            spmd: None,
            quotas: Quotas::default(),
            watch: None,
        }
    }

    /// A core.
    pub fn core(&mut self, index: usize) -> &mut Core {
        &mut self.cores[index]
    }

    /// Takes the cores apart, to drive each from a thread of its own.
    pub fn into_cores(self) -> Vec<Core> {
        self.cores
    }

    /// The state of an execution context.
    pub fn state(&self, partition: usize, vcpu: usize) -> StateName {
        self.spmc.partitions()[partition].vcpus()[vcpu].state()
    }

    /// The SPMC, to look at after [`into_cores`](Self::into_cores).
    pub fn shared_spmc(&self) -> Arc<Spmc<Machine>> {
        self.spmc.clone()
    }

    /// The SPMC, to look at.
    pub fn spmc(&self) -> &Spmc<Machine> {
        &self.spmc
    }

    /// The lines that partitions have printed.
    pub fn console(&self) -> Vec<String> {
        self.shared.lock().unwrap().console.clone()
    }

    /// Looks at, or changes, the machine's memory.
    pub fn memory<R>(&self, act: impl FnOnce(&mut Memory) -> R) -> R {
        let mut shared = self.shared.lock().unwrap();
        act(shared.memory.as_mut().expect("it is there from boot on"))
    }

    /// The RX buffer of a mailbox slot.
    pub fn rx(&self, slot: usize) -> Option<Vec<u8>> {
        self.look().rx(slot)
    }

    /// What can be looked at after [`into_cores`](Self::into_cores).
    pub fn look(&self) -> Look {
        Look(self.shared.clone())
    }

    /// Interrupts that were disabled because nobody owns them.
    pub fn disabled(&self) -> Vec<u32> {
        self.shared.lock().unwrap().disabled.clone()
    }

    /// Looks at, or changes, the line of a secure interrupt.
    pub fn line<R>(&self, intid: u32, act: impl FnOnce(&mut Line) -> R) -> R {
        self.look().line(intid, act)
    }

    /// The function ids of SMCs that were passed on to EL3.
    pub fn forwarded(&self) -> Vec<u64> {
        self.shared.lock().unwrap().forwarded.clone()
    }

    /// Writes to the TX buffer of a mailbox slot, from its first byte on.
    pub fn write_tx(&self, slot: usize, bytes: &[u8]) {
        let mut shared = self.shared.lock().unwrap();
        let tx = shared.tx.get_mut(&slot).expect("the slot is not mapped");
        tx[..bytes.len()].copy_from_slice(bytes);
    }

    /// The buffers of a mailbox slot, as they were mapped.
    pub fn buffers(&self, slot: usize) -> Option<MailboxBuffers> {
        self.look().buffers(slot)
    }

    /// Lets another core write to the TX buffer of a mailbox slot after each time that S-EL2 reads
    /// from it.
    pub fn rewrite_tx_after_each_read(&self, slot: usize, bytes: &[u8]) {
        let mut shared = self.shared.lock().unwrap();
        shared.tx_rewrites.insert(slot, bytes.to_vec());
    }

    /// Has stage 2 of a partition (its index) allow an access to a page, whatever faults.
    pub fn allow(&self, partition: usize, space: Space, page: u64, access: Access) {
        let mut shared = self.shared.lock().unwrap();
        shared.allowed.push((partition, space, page, access));
    }

    /// Maps these non-secure addresses, ascending, in stage 2 of a partition (its index), and no others.
    pub fn map_non_secure(&self, partition: usize, map: Vec<(PageRange, Permissions)>) {
        let mut shared = self.shared.lock().unwrap();
        shared.non_secure.insert(partition, map);
    }

    /// Makes the memory of a mailbox slot fail.
    pub fn break_mailbox(&self, slot: usize) {
        self.shared.lock().unwrap().broken.push(slot);
    }

    /// Negotiates a version for the normal world as the SPMD relays it, and returns the answer.
    pub fn negotiate(&mut self, version: Version) -> u64 {
        let id = Function::MsgSendDirectReq.id(Width::W32);
        let ids = EndpointId::pair(EndpointId::SPMD, SPMC);
        let wanted = u64::from(version.to_word());
        let message = crate::call([id, ids, 0x8000_0008, wanted, 0, 0, 0, 0]);
        let reply = self.core(0).call(&message);
        assert_eq!(
            reply.x[8..],
            message.x[8..],
            "x8 to x30 are the normal world's"
        );
        assert_eq!(reply.x[0], Function::MsgSendDirectResp.id(Width::W32));
        assert_eq!(reply.x[1], EndpointId::pair(SPMC, EndpointId::SPMD));
        assert_eq!(reply.x[2], 0x8000_0009);
        reply.x[3]
    }
}

/// A look at what all cores share.
#[derive(Clone)]
pub struct Look(Arc<Mutex<Shared>>);

impl Look {
    /// Looks at, or changes, the line of a secure interrupt.
    pub fn line<R>(&self, intid: u32, act: impl FnOnce(&mut Line) -> R) -> R {
        act(self.0.lock().unwrap().gic.line(intid))
    }

    /// The buffers of a mailbox slot, as they were mapped.
    pub fn buffers(&self, slot: usize) -> Option<MailboxBuffers> {
        self.0.lock().unwrap().buffers.get(&slot).cloned()
    }

    /// The RX buffer of a mailbox slot.
    pub fn rx(&self, slot: usize) -> Option<Vec<u8>> {
        self.0.lock().unwrap().rx.get(&slot).cloned()
    }
}

/// A core, with EL3 and the normal world of it.
pub struct Core {
    spmc: Arc<Spmc<Machine>>,
    programs: Arc<[Program]>,
    watch: Option<Watch>,
    /// The core's state in the SPMC.
    pub state: CoreState<Machine>,
    /// The core's hardware.
    pub machine: Machine,
}

impl Core {
    /// Switches the core on; its partitions initialise.
    pub fn switch_on(&mut self) {
        let reply = self.drive(Event::CoreOn).expect("the core boots");
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
        let reply = self.call(&crate::call(message));
        assert_eq!(reply.x[0], Function::MsgSendDirectResp.id(Width::W32));
        assert_eq!(reply.x[3], 0, "CPU_OFF is not refused (DECISIONS 22)");
        self.state = CoreState::new(self.state.index);
    }

    /// Switches the core off and on again.
    pub fn switch_off_and_on(&mut self) {
        self.switch_off();
        self.switch_on();
    }

    /// Makes a call from the normal world and returns the registers that come back.
    pub fn call(&mut self, registers: &Registers) -> Registers {
        self.start(registers).expect("the core waits")
    }

    /// Makes a call from the normal world; `None` if the core waits ([`go_on`](Self::go_on)).
    pub fn start(&mut self, registers: &Registers) -> Option<Registers> {
        self.state.normal_world = registers.clone();
        self.drive(Event::Spmd)
    }

    /// The normal world runs and secure interrupts fire, if any do: the SPMD hands them in, until none is left.
    pub fn run_normal_world(&mut self) {
        while self.interrupt() == Some(Event::SecureInterrupt) {
            let call = crate::call([Function::Interrupt.id(Width::W32), 0, 0, 0, 0, 0, 0, 0]);
            let reply = self.call(&call);
            let resume = Function::NormalWorldResume.id(Width::W32);
            assert_eq!(reply.x[..8], [resume, 0, 0, 0, 0, 0, 0, 0]);
        }
    }

    /// An event wakes the core, which waits; the registers that come back to the normal world, unless it
    /// waits again.
    pub fn go_on(&mut self) -> Option<Registers> {
        self.drive(Event::Woken(Woken::Event))
    }

    /// Raises an interrupt on this core at once: it is taken before the next partition runs.
    pub fn raise(&mut self, interrupt: Pending) {
        self.machine.pending.push_back(interrupt);
    }

    /// Raises an interrupt the next time that a partition spins.
    pub fn raise_in_spin(&mut self, interrupt: Pending) {
        self.machine.in_spin.push_back(interrupt);
    }

    fn drive(&mut self, mut event: Event) -> Option<Registers> {
        loop {
            self.machine.now += self.machine.ticks_per_event;
            match self.spmc.handle(&mut self.state, event, &mut self.machine) {
                Action::Smc => {
                    assert!(
                        !self.machine.masked,
                        "IR5: the priority mask is left changed"
                    );
                    assert!(
                        self.state.running().is_none(),
                        "a partition is left running"
                    );
                    return Some(self.state.normal_world.clone());
                }
                Action::Enter => event = self.enter(),
                Action::Wait => {
                    event = Event::Woken(match self.interrupt() {
                        Some(Event::SecureInterrupt) => Woken::SecureInterrupt,
                        Some(_) => Woken::NonSecureInterrupt,
                        None => return None,
                    });
                }
            }
        }
    }

    /// Runs the current execution context until something reaches S-EL2.
    fn enter(&mut self) -> Event {
        if let Some(event) = self.interrupt() {
            return event;
        }
        if let Some(look) = &self.watch {
            look(&self.spmc, &mut self.state, &self.machine);
        }
        let machine = &mut self.machine;
        let signal = |lines| {
            machine.lines = lines;
            machine.signals.push(lines);
        };
        self.state.enter(signal).expect("Enter without a context");
        let vcpu = self.state.running().expect("Enter without a context");
        let program = self.programs[vcpu.partition()].clone();
        let id = self.spmc.partitions()[vcpu.partition()].config.id;
        let serror = machine.lines.contains(Lines::SERROR);
        let look = Look(machine.shared.clone());
        let context = self.state.context().expect("Enter without a context");
        context.serror |= serror;
        if context.fresh {
            context.fresh = false;
            context.runner = Some(Runner::start(id, vcpu.vcpu(), program, look));
        }
        context.loaded = true;
        if std::mem::take(&mut context.again) {
            return Event::Call(Conduit::Smc);
        }
        let runner = context
            .runner
            .as_ref()
            .expect("a context that runs has a thread");
        match runner.enter(context.registers.clone()) {
            Exit::Event(registers, event) => {
                context.registers = registers;
                event
            }
            Exit::Spin(registers) => {
                context.registers = registers;
                self.spin()
            }
            Exit::Panicked => panic!("the program of partition {id} failed"),
        }
    }

    /// Time passes until an interrupt comes.
    fn spin(&mut self) -> Event {
        match self.machine.in_spin.pop_front() {
            Some(Pending::Edge(intid)) => {
                let mut shared = self.machine.shared.lock().unwrap();
                shared.gic.line(intid).edge = true;
            }
            other => self.machine.pending.extend(other),
        }
        loop {
            if let Some(event) = self.interrupt() {
                return event;
            }
            let deadline = self.machine.deadline.expect("nothing ends this spin");
            self.machine.now = self.machine.now.max(deadline);
        }
    }

    /// The interrupt that the core takes at this moment.
    fn interrupt(&mut self) -> Option<Event> {
        if let Some(gone) = self.take_gone() {
            return Some(gone);
        }
        let due = self
            .machine
            .deadline
            .is_some_and(|deadline| deadline <= self.machine.now);
        let is = |wanted: fn(&Pending) -> bool| self.machine.pending.iter().any(wanted);
        let line = (self.machine.shared.lock().unwrap().gic).is_due(self.state.index);
        let secure = is(|pending| matches!(pending, Pending::Secure(_)));
        if due || secure || line {
            Some(Event::SecureInterrupt)
        } else if is(|pending| *pending == Pending::Group0)
            || (!self.machine.masked && is(|pending| *pending == Pending::NonSecure))
        {
            Some(Event::NonSecureInterrupt)
        } else {
            None
        }
    }

    /// The event of an interrupt that is gone when S-EL2 looks.
    fn take_gone(&mut self) -> Option<Event> {
        let event = |pending: &Pending| match pending {
            Pending::Spurious => Some(Event::SecureInterrupt),
            Pending::Gone if !self.machine.masked => Some(Event::NonSecureInterrupt),
            _ => None,
        };
        let mut all = self.machine.pending.iter().enumerate();
        let (place, event) = all.find_map(|(place, one)| Some((place, event(one)?)))?;
        self.machine.pending.remove(place);
        Some(event)
    }

    /// The normal world takes its interrupts.
    pub fn take_non_secure_interrupts(&mut self) -> usize {
        let before = self.machine.pending.len();
        self.machine
            .pending
            .retain(|pending| *pending != Pending::NonSecure);
        before - self.machine.pending.len()
    }
}
