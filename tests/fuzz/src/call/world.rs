// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two cores, four partitions and the normal world around the real core, and what must hold after
//! each event.

use std::cell::RefCell;
use std::rc::Rc;

use bulkhead_abi::function::{self, Call};
use bulkhead_abi::paravirt::Line;
use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::version::Negotiation;
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Uuid, Version, Width};
use bulkhead_core::event::{Action, Event};
use bulkhead_core::normal_world::Vm;
use bulkhead_core::notify::VmNotifications;
use bulkhead_core::notify::bitmaps::Received;
use bulkhead_core::partition::{Health, Level, Partition, PartitionConfig, Service};
use bulkhead_core::region::Region;
use bulkhead_core::share::PageOwners;
use bulkhead_core::spmc::{CoreState, Spmc, SpmcConfig};
use bulkhead_core::vcpu::{NonSecureInterrupts, StateName, Vcpu, VcpuRef};
use bulkhead_mm::addr::{Pa, PageRange};
use bulkhead_mm::owner::{Node, Ownership};

use super::grammar::{self, IDS, SPMC};
use super::lease::Lease;
use super::machine::{
    Context, IMAGE, Machine, NORMAL_MEMORY, PARTITIONS, SLOTS, Shared, VM_BITMAPS, VMS,
};
use super::oracle::{Expect, check_message};
use crate::input::Input;

/// How many cores there are.
pub const CORES: usize = 2;
/// The partition with an execution context for each core.
const MULTI_CORE: usize = 2;

/// Who runs on a core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Off,
    NormalWorld,
    Partition(VcpuRef),
}

/// A core and what is known of it.
pub struct Core {
    pub state: CoreState<Machine>,
    pub machine: Machine,
    pub place: Place,
    /// What the normal world left with.
    expect: Option<Expect>,
}

/// What is known of an execution context.
#[derive(Clone, Default)]
pub struct Known {
    expect: Option<Expect>,
    /// Whose request it handles, in which function, and w2 of it.
    pub request: Option<(EndpointId, Function, u64)>,
}

/// RX of an endpoint: not there, Bulkhead's, the endpoint's, or a VM's that the hypervisor acquired.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rx {
    Unmapped,
    Producer,
    Consumer,
    Hypervisor,
}

/// The version of the normal world, as it must have been negotiated.
struct Negotiated {
    version: Version,
    settled: bool,
}

/// All of it. The lease is the last field: it ends after everything that uses what it lent.
pub struct World {
    pub spmc: Spmc<Machine>,
    pub cores: [Core; CORES],
    pub known: [[Known; CORES]; IDS.len()],
    rx: [Rx; SLOTS],
    /// The VM of each slot behind those of the partitions.
    vms: [Option<u16>; VMS],
    normal_world: Negotiated,
    pub shared: Rc<RefCell<Shared>>,
    _lease: Lease,
}

fn config(index: usize, input: &mut Input<'_>, lease: &mut Lease) -> PartitionConfig {
    const UUIDS: [[Uuid; 2]; IDS.len()] = [
        [Uuid([1; 16]), Uuid([0x11; 16])],
        [Uuid([2; 16]), Uuid([0x12; 16])],
        [Uuid([3; 16]), Uuid([0x13; 16])],
        [Uuid([4; 16]), Uuid([0x14; 16])],
    ];
    const ALL: Properties = Properties::DIRECT_REQ_RECEIVE
        .union(Properties::DIRECT_REQ_SEND)
        .union(Properties::DIRECT_REQ2_RECEIVE)
        .union(Properties::DIRECT_REQ2_SEND)
        .union(Properties::AARCH64);
    let choice = input.byte();
    let properties = match choice >> 6 {
        0..=1 => ALL,
        2 => ALL
            .union(Properties::VM_CREATED)
            .union(Properties::VM_DESTROYED),
        _ => Properties(u32::from(input.half())),
    };
    let queued = choice & 4 != 0;
    // The second service receives no REQ2.
    let [first, second] = UUIDS[index];
    let mut services = vec![Service {
        uuid: first,
        messaging: properties.intersection(Properties::MESSAGING),
    }];
    if choice & 8 != 0 {
        let req2 = Properties::DIRECT_REQ2_RECEIVE;
        services.push(Service {
            uuid: second,
            messaging: services[0].messaging.without(req2),
        });
    }
    PartitionConfig {
        id: IDS[index],
        level: Level::SEl1,
        name: ["one", "two", "three", "four"][index],
        // SAFETY: a field of the world, dropped before the lease.
        services: unsafe { lease.lend(services.into_boxed_slice()) },
        image_uuid: Uuid([choice; 16]),
        version: grammar::manifest_version(choice),
        properties,
        non_secure_interrupts: match (queued, choice & 32 != 0) {
            (true, false) => NonSecureInterrupts::Queued,
            (true, true) => NonSecureInterrupts::ManagedExit,
            _ => NonSecureInterrupts::Signaled,
        },
        managed_exit_line: Line::Fiq,
        entry: IMAGE[index].0,
        boot_information: (choice & 16 == 0).then_some((choice % 4, IMAGE[index].0)),
        image: IMAGE[index],
        retrieved_memory: None,
        // SAFETY: as the services.
        regions: unsafe {
            lease.lend(Box::new([Region::own(
                "own",
                PageRange::new(Pa(IMAGE[index].0), IMAGE[index].1).expect("whole pages"),
            )]))
        },
        smc_allow_list: &[0x8400_0005, 0xbe00_0000],
        smc_permissive: choice & 32 != 0,
        interrupts: &[56, 57],
        virtual_serror: false,
        interrupt_share: 25,
        other_secure_interrupts_queued: false,
        sri_while_waiting: false,
        sri_on_entering_wait: false,
        run_timeout_ms: None,
    }
}

/// G7: a REQ2 reaches a service that receives them, or a partition that has one.
fn check_service(config: &PartitionConfig, request: &Registers) {
    let wanted = request.uuid_x2_x3();
    let reached = (config.services.iter())
        .filter(|service| wanted == Uuid::NIL || service.uuid == wanted)
        .any(|service| (service.messaging).contains(Properties::DIRECT_REQ2_RECEIVE));
    assert!(reached, "a request for no service: {wanted}");
}

/// A framework request comes from the hypervisor, and only to who subscribed to it.
fn check_subscription(partition: &Partition<Machine>, request: &Registers) {
    let subscription = match request.x[2] {
        0x8000_0004 => Properties::VM_CREATED,
        0x8000_0006 => Properties::VM_DESTROYED,
        other => panic!("framework request {other:#x}"),
    };
    let needed = subscription.union(Properties::DIRECT_REQ_RECEIVE);
    assert!(partition.config.properties.contains(needed));
    assert!(partition.version() >= Version::V1_1);
    assert_eq!(request.sender(), EndpointId::NORMAL_WORLD);
    assert!(
        request.x[5] != 0 && request.x[5] < 0x8000,
        "VM {:#x}",
        request.x[5]
    );
}

impl World {
    /// Partitions as the input configures them; no core is on.
    pub fn new(input: &mut Input<'_>) -> Self {
        let mut lease = Lease::default();
        let partitions: Box<[Partition<Machine>]> = (0..IDS.len())
            .map(|index| {
                let count = if index == MULTI_CORE { CORES } else { 1 };
                let vcpus: Box<[Vcpu<Machine>]> = (0..count)
                    // SAFETY: a field of the world, dropped before the lease.
                    .map(|_| Vcpu::new(unsafe { lease.lend(Box::new(Context::new())) }, &mut []))
                    .collect();
                let received = vec![Received::default(); count].into_boxed_slice();
                // SAFETY: as above.
                let (vcpus, received) = unsafe { (lease.lend(vcpus), lease.lend(received)) };
                Partition::new(config(index, input, &mut lease), vcpus, received)
            })
            .collect();
        let vm_notifications: Box<[VmNotifications]> = (0..VM_BITMAPS.0)
            .map(|_| {
                let received = vec![Received::default(); VM_BITMAPS.1].into_boxed_slice();
                // SAFETY: as above.
                VmNotifications::new(unsafe { lease.lend(received) })
            })
            .collect();
        let memory = PageRange::new(Pa(NORMAL_MEMORY.0), NORMAL_MEMORY.1).expect("a range");
        let spmc = Spmc::new(SpmcConfig {
            id: SPMC,
            // SAFETY: as above.
            partitions: unsafe { lease.lend(partitions) },
            // SAFETY: as above.
            normal_world_memory: unsafe { lease.lend(Box::new([memory])) },
            // SAFETY: as above.
            vms: unsafe { lease.lend(Box::new([const { Vm::new() }; VMS])) },
            reserved: &[],
            owners: PageOwners::new(
                // SAFETY: as above.
                ownership(unsafe { lease.lend(Box::new([Node::UNUSED; 256])) }),
                // SAFETY: as above.
                ownership(unsafe { lease.lend(Box::new([Node::UNUSED; 256])) }),
            ),
            shares: &[],
            // SAFETY: as above.
            vm_notifications: unsafe { lease.lend(vm_notifications) },
            interrupts: &mut [],
            init_timeout_ms: 900,
            run_timeout_ms: 100,
        });
        let shared = Rc::new(RefCell::new(Shared {
            table_pages: 7 - usize::from(input.byte() % 8),
            ..Shared::default()
        }));
        let cores = std::array::from_fn(|index| Core {
            state: CoreState::new(index),
            machine: Machine::new(shared.clone()),
            place: Place::Off,
            expect: None,
        });
        Self {
            spmc,
            cores,
            known: Default::default(),
            rx: [Rx::Unmapped; SLOTS],
            vms: [None; VMS],
            normal_world: Negotiated {
                version: Version::V1_0,
                settled: false,
            },
            shared,
            _lease: lease,
        }
    }

    /// A core comes on.
    pub fn switch_on(&mut self, core: usize) {
        let machine = &mut self.cores[core];
        machine.state = CoreState::new(core);
        machine.machine.masked = false;
        machine.machine.deadline = None;
        self.handle(core, Event::CoreOn, None);
    }

    /// The normal world makes a call.
    pub fn normal_world_call(&mut self, core: usize, call: Registers) {
        self.cores[core].state.normal_world = call.clone();
        self.cores[core].expect = Some(Expect::Reply(call.clone()));
        self.handle(core, Event::Spmd, Some(call));
    }

    /// The SPMD itself says something; what comes back is its own.
    pub fn spmd_message(&mut self, core: usize, call: Registers) {
        self.cores[core].state.normal_world = call;
        self.cores[core].expect = None;
        self.handle(core, Event::Spmd, None);
    }

    /// The running partition does something; `expect` is what it must find when it goes on.
    pub fn partition_event(&mut self, core: usize, event: Event, expect: Expect) {
        let Place::Partition(vcpu) = self.cores[core].place else {
            unreachable!("no partition runs on core {core}")
        };
        let call = match (&expect, event) {
            (Expect::Reply(call), Event::Call(_)) => {
                let context = self.cores[core].state.context().expect("a running context");
                context.registers = call.clone();
                Some(call.clone())
            }
            _ => None,
        };
        self.known[vcpu.partition()][vcpu.vcpu()].expect = Some(expect);
        self.handle(core, event, call);
    }

    /// The registers of the running partition.
    pub fn registers(&mut self, core: usize) -> Registers {
        let context = self.cores[core].state.context().expect("a running context");
        context.registers.clone()
    }

    /// Lets the core handle `event`, in which `call` is made, and checks everything.
    fn handle(&mut self, core: usize, event: Event, call: Option<Registers>) {
        let before = self.cores[core].place;
        self.shared.borrow_mut().written.clear();
        let served = call.as_ref().and_then(|call| self.before_call(core, call));
        let at = &mut self.cores[core];
        let action = self.spmc.handle(&mut at.state, event, &mut at.machine);
        let now = match action {
            Action::Smc => {
                self.normal_world_goes_on(core);
                self.cores[core].state.normal_world.clone()
            }
            Action::Enter => self.partition_goes_on(core, before),
            Action::Wait => unreachable!("no partition has a queue"),
        };
        if let Some(call) = &call {
            if before != self.cores[core].place {
                check_message(call, &now);
            }
            self.after_call(core, before, call, served, &now);
        }
        self.check_all(core);
    }

    fn normal_world_goes_on(&mut self, core: usize) {
        let version = self.normal_world.version;
        let at = &mut self.cores[core];
        assert!(at.state.running().is_none(), "a partition is left running");
        assert!(!at.machine.masked, "IR5: the priority mask is left changed");
        if let Some(expect) = at.expect.take() {
            expect.check(&at.state.normal_world, version);
        } else if at.place != Place::NormalWorld {
            assert_eq!(
                at.state.normal_world.x[0],
                Function::MsgWait.id(Width::W32),
                "the boot's end"
            );
        }
        at.place = Place::NormalWorld;
    }

    fn partition_goes_on(&mut self, core: usize, before: Place) -> Registers {
        let at = &mut self.cores[core];
        let vcpu = at.state.running().expect("a context to enter");
        at.place = Place::Partition(vcpu);
        assert!(
            !at.machine.masked || at.machine.deadline.is_some(),
            "a partition may keep the normal world waiting for ever"
        );
        let partition = &self.spmc.partitions()[vcpu.partition()];
        let context = at.state.context().expect("a context to enter");
        let now = context.registers.clone();
        let known = &mut self.known[vcpu.partition()][vcpu.vcpu()];
        if std::mem::take(&mut context.fresh) {
            assert!(now.x[5..].iter().all(|x| *x == 0), "registers at entry");
            assert_eq!(now.x[4], u64::try_from(core).expect("small"));
            *known = Known::default();
        } else {
            let expect = known.expect.take().expect("it ran before");
            expect.check(&now, partition.version());
            let request = |id| match function::decode(id) {
                Call::Ffa(call @ (Function::MsgSendDirectReq | Function::MsgSendDirectReq2), _) => {
                    Some(call)
                }
                _ => None,
            };
            match (&expect, request(now.x[0])) {
                (Expect::Reply(_), Some(function)) => {
                    assert_eq!(now.receiver(), partition.config.id, "a request for another");
                    if function == Function::MsgSendDirectReq2 {
                        check_service(&partition.config, &now);
                    }
                    let flags = match function {
                        Function::MsgSendDirectReq => now.x[2],
                        _ => 0,
                    };
                    if flags != 0 {
                        check_subscription(partition, &now);
                    }
                    known.request = Some((now.sender(), function, flags));
                }
                (Expect::Reply(_), None) if now.x[0] == Function::Run.id(Width::W32) => {
                    known.request = None;
                }
                _ => {}
            }
        }
        if partition.health() == Health::Aborted {
            assert_eq!(
                before,
                Place::Partition(vcpu),
                "an ended partition is entered"
            );
        }
        now
    }

    /// The version negotiation of the normal world; what FFA_VERSION must answer.
    fn before_call(&mut self, core: usize, call: &Registers) -> Option<u64> {
        if self.cores[core].place != Place::NormalWorld {
            return None;
        }
        let Call::Ffa(function, _) = function::decode(call.x[0]) else {
            return None;
        };
        if function == Function::Version {
            return Some(self.negotiate(call.w::<1>()));
        }
        self.normal_world.settled = true;
        None
    }

    /// What the normal world must be told when it asks for `wanted`.
    pub fn negotiate(&mut self, wanted: u32) -> u64 {
        let ours = u64::from(Version::OURS.to_word());
        let refused = FfaError::NotSupported.to_register();
        match Negotiation::of(wanted) {
            Negotiation::Refused => refused,
            _ if self.normal_world.settled => {
                if self.normal_world.version.to_word() == wanted {
                    ours
                } else {
                    refused
                }
            }
            Negotiation::Answered => ours,
            Negotiation::Adopted(version) => {
                self.normal_world.version = version;
                ours
            }
        }
    }

    /// The state of the caller's mailbox by what its call answered.
    fn after_call(
        &mut self,
        core: usize,
        before: Place,
        call: &Registers,
        negotiated: Option<u64>,
        now: &Registers,
    ) {
        let slot = match before {
            Place::Partition(vcpu) => vcpu.partition() + 1,
            _ => 0,
        };
        let Call::Ffa(function, _) = function::decode(call.x[0]) else {
            return;
        };
        if let Some(answer) = negotiated {
            assert_eq!(now.x[0], answer, "FFA_VERSION {:#x}", call.x[1]);
        }
        let here = self.cores[core].place == before;
        let answer = function::decode(now.x[0]);
        let success = here && matches!(answer, Call::Ffa(Function::Success, _));
        let error = here && matches!(answer, Call::Ffa(Function::Error, _));
        let slot = match (slot, function) {
            (0, Function::RxtxMap) if success && call.w::<3>() == 0 => self.new_vm(),
            (0, Function::RxtxUnmap) => match call.sender().0 {
                0 => Some(0),
                vm => self.vm_slot(vm),
            },
            (0, Function::RxRelease | Function::RxAcquire) => match call.receiver().0 {
                0 => Some(0),
                vm => self.vm_slot(vm),
            },
            (slot, _) => Some(slot),
        };
        let Some(slot) = slot else {
            assert!(!success, "{function} for a VM without buffers");
            return;
        };
        let rx = self.rx[slot];
        let next = match function {
            Function::RxtxMap if success => {
                assert_eq!(rx, Rx::Unmapped, "mapped twice");
                Rx::Producer
            }
            Function::RxtxUnmap if success => {
                assert_ne!(rx, Rx::Unmapped, "unmapped twice");
                if let Some(vm) = slot.checked_sub(PARTITIONS + 1) {
                    self.vms[vm] = None;
                }
                Rx::Unmapped
            }
            Function::RxRelease if success => {
                assert!(
                    matches!(rx, Rx::Consumer | Rx::Hypervisor),
                    "released without having it"
                );
                Rx::Producer
            }
            Function::RxRelease if here && call.sender().0 == 0 && call.receiver().0 == 0 => {
                assert_ne!(rx, Rx::Consumer, "its release is refused");
                rx
            }
            Function::RxAcquire if success => {
                assert!(
                    slot > PARTITIONS && rx == Rx::Producer,
                    "acquired from slot {slot}"
                );
                Rx::Hypervisor
            }
            Function::PartitionInfoGet if success && call.w::<5>() == 0 => {
                assert_eq!(rx, Rx::Producer, "RX is the consumer's");
                self.check_rx(slot, now);
                Rx::Consumer
            }
            Function::NsResInfoGet if success && now.x[2] >> 32 != 0 => {
                assert_eq!(rx, Rx::Producer, "RX is the consumer's");
                self.check_resources(slot, now);
                Rx::Consumer
            }
            Function::PartitionInfoGetRegs if success => {
                self.check_registers(call, now);
                rx
            }
            Function::MsgWait if slot != 0 && !error && call.w::<2>() & 1 == 0 => match rx {
                Rx::Unmapped => rx,
                _ => Rx::Producer,
            },
            _ => rx,
        };
        self.rx[slot] = next;
    }

    fn vm_slot(&self, vm: u16) -> Option<usize> {
        let place = self.vms.iter().position(|place| *place == Some(vm))?;
        Some(PARTITIONS + 1 + place)
    }

    /// The slot that was mapped for the VM that the hypervisor's TX names.
    fn new_vm(&mut self) -> Option<usize> {
        let shared = self.shared.borrow();
        let own = shared.mailboxes[0]
            .as_ref()
            .expect("a descriptor needs a buffer");
        let vm = u16::from_le_bytes([own.tx[0], own.tx[1]]);
        assert!(
            vm != 0 && vm & 0x8000 == 0 && !self.vms.contains(&Some(vm)),
            "VM {vm:#x}"
        );
        let slot = (PARTITIONS + 1..SLOTS)
            .find(|slot| shared.mailboxes[*slot].is_some() && self.rx[*slot] == Rx::Unmapped);
        let slot = slot.expect("a new mailbox");
        self.vms[slot - PARTITIONS - 1] = Some(vm);
        Some(slot)
    }

    /// What FFA_PARTITION_INFO_GET left in RX.
    fn check_rx(&self, slot: usize, now: &Registers) {
        let shared = self.shared.borrow();
        let mailbox = shared.mailboxes[slot].as_ref().expect("a mapped buffer");
        let count = usize::try_from(now.x[2]).expect("small");
        let size = match usize::try_from(now.x[3]).expect("small") {
            0 => 8,
            size => size,
        };
        self.check_descriptors(&mailbox.rx, count, size);
    }

    /// What FFA_NS_RES_INFO_GET left in RX: whole descriptors, and nothing behind them.
    fn check_resources(&self, slot: usize, now: &Registers) {
        let shared = self.shared.borrow();
        let mailbox = shared.mailboxes[slot].as_ref().expect("a mapped buffer");
        let (written, left) = (now.x[2] >> 32, now.x[2] & 0xffff_ffff);
        assert!(written % 16 == 0 && left % 16 == 0, "{:#x}", now.x[2]);
        let rest = &mailbox.rx[usize::try_from(written).expect("small")..];
        assert!(
            rest.iter().all(|byte| *byte == 0),
            "D8: something is left behind"
        );
    }

    /// What FFA_PARTITION_INFO_GET_REGS left in x3 to x17.
    fn check_registers(&self, call: &Registers, now: &Registers) {
        let field = |shift: u32| usize::try_from(now.x[2] >> shift & 0xffff).expect("small");
        let (last, current, size) = (field(0), field(16), field(48));
        let start = usize::try_from(call.x[3] & 0xffff).expect("small");
        assert!(start <= current && current <= last);
        let bytes: Vec<u8> = now.x[3..18].iter().flat_map(|x| x.to_le_bytes()).collect();
        self.check_descriptors(&bytes, current - start + 1, size);
    }

    /// Whole descriptors of partitions that are there, and nothing behind them.
    fn check_descriptors(&self, buffer: &[u8], count: usize, size: usize) {
        let (descriptors, rest) = buffer.split_at(count * size);
        assert!(
            rest.iter().all(|byte| *byte == 0),
            "D8: something is left behind"
        );
        for descriptor in descriptors.chunks_exact(size) {
            let id = EndpointId(u16::from_le_bytes([descriptor[0], descriptor[1]]));
            let found = self
                .spmc
                .partitions()
                .iter()
                .find(|partition| partition.config.id == id);
            assert!(found.is_some_and(|partition| partition.health() != Health::Aborted));
        }
    }

    /// What holds at every moment.
    fn check_all(&mut self, core: usize) {
        let written = std::mem::take(&mut self.shared.borrow_mut().written);
        for (index, partition) in self.spmc.partitions().iter().enumerate() {
            if partition.health() == Health::Aborted {
                self.rx[index + 1] = Rx::Unmapped;
            }
            for (number, vcpu) in partition.vcpus().iter().enumerate() {
                let on = |core: &&Core| matches!(core.place, Place::Partition(vcpu) if (vcpu.partition(), vcpu.vcpu()) == (index, number));
                let running = self.cores.iter().filter(on).count();
                let expected = usize::from(vcpu.state() == StateName::Running);
                assert_eq!(running, expected, "partition {index} context {number}");
            }
        }
        for (slot, rx) in self.rx.iter().enumerate() {
            let mapped = self.shared.borrow().mailboxes[slot].is_some();
            assert_eq!(mapped, *rx != Rx::Unmapped, "the mailbox of slot {slot}");
        }
        let caller = match self.cores[core].place {
            Place::Partition(vcpu) => vcpu.partition() + 1,
            _ => 0,
        };
        assert!(
            written.iter().all(|slot| *slot == caller),
            "another endpoint's RX was written"
        );
    }
}

/// A map of the low 4 GiB, of which nobody owns anything.
fn ownership(nodes: &'static mut [Node]) -> Ownership<'static> {
    let range = PageRange::new(Pa(0), 1 << 32).expect("a range");
    Ownership::new(range, nodes).expect("a range that fits")
}
