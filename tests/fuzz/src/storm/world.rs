// SPDX-License-Identifier: MIT OR Apache-2.0
//! The system, and how events reach it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::LazyLock;

use bulkhead_abi::paravirt;
use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::{EndpointId, Function, Registers, Uuid, Version, Width};
use bulkhead_core::device::gic::{Layout, VirtualGic};
use bulkhead_core::event::{Action, Event};
use bulkhead_core::interrupt::owner;
use bulkhead_core::normal_world::Vm;
use bulkhead_core::partition::{Level, Partition, PartitionConfig, Service};
use bulkhead_core::region::Region;
use bulkhead_core::share::PageOwners;
use bulkhead_core::spmc::{CoreState, Spmc, SpmcConfig};
use bulkhead_core::vcpu::{NonSecureInterrupts, Vcpu, VcpuRef};
use bulkhead_core::virtual_interrupt::{Lines, VirtualInterrupt};
use bulkhead_mm::addr::{Pa, PageRange};
use bulkhead_mm::owner::{Node, Ownership};

use super::Dice;
use super::check::Counts;
use super::machine::{CORES, Context, Line, Machine, Shared};

/// The SPMC's id.
pub const SPMC: EndpointId = EndpointId(0x8000);
/// The devices of each partition: level-triggered with an even INTID, edge-triggered with an odd one.
pub const DEVICES: [&[u32]; 5] = [&[40, 41], &[42], &[44, 43], &[], &[46]];
/// The partition with an execution context for each core.
pub const MULTI_CORE: usize = 2;
/// The partition for which requests wait.
const QUEUED: usize = 1;

/// The GIC of those partitions that have one.
pub const GIC: Layout = Layout {
    distributor: 0x0800_0000,
    cpu_interface: 0x0801_0000,
    timer: 30,
    managed_exit: 17,
    notification_pending: 18,
    firmware_initialised: false,
};

/// The id of a partition.
pub fn id_of(index: usize) -> EndpointId {
    EndpointId(0x8001 + u16::try_from(index).expect("few"))
}

/// Who has a core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Off,
    NormalWorld,
    /// It waits for a partition.
    Waiting,
    Partition(VcpuRef),
}

pub struct Core {
    pub state: CoreState<Machine>,
    pub machine: Machine,
    pub place: Place,
    /// What the normal world may run here, as it was told.
    pub resumable: Vec<(EndpointId, u16)>,
    /// Whether it asked whom to run and has no answer yet.
    pub asks: bool,
}

/// What a partition's context knows of itself.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The request that it handles.
    pub request: Option<Registers>,
    /// The context that it awaits, and was entered before it had the answer.
    pub callee: Option<u64>,
    /// What it has fetched and not deactivated.
    pub fetched: Vec<u32>,
    /// How often it fetched one.
    pub delivered: u64,
    /// Which way to end its run it tries.
    pub attempt: usize,
    /// Whether it has said where others of its contexts begin.
    pub registered: bool,
    /// Whether it has set its GIC up.
    pub configured: bool,
    /// Whether the normal world was told that it may run it.
    pub told: bool,
}

pub struct World {
    pub spmc: Spmc<Machine>,
    pub cores: [Core; CORES],
    pub known: Vec<Vec<Known>>,
    pub shared: Rc<RefCell<Shared>>,
    /// Which partitions have a GIC, and no paravirtual interrupts.
    pub has_gic: [bool; DEVICES.len()],
    pub dice: Dice,
    pub counts: Counts,
    /// Everybody behaves.
    pub calm: bool,
}

/// The memory of the partition at `index`, as a region.
fn own(index: usize) -> &'static [Region] {
    static ALL: LazyLock<Vec<Region>> = LazyLock::new(|| {
        let range = |index: u64| {
            PageRange::new(Pa(0x1000_0000 + 0x10_0000 * index), 0x10_0000).expect("whole pages")
        };
        (0..16)
            .map(|index| Region::own("own", range(index)))
            .collect()
    });
    std::slice::from_ref(&ALL[index])
}

fn config(index: usize, dice: &mut Dice) -> PartitionConfig {
    let properties = Properties::DIRECT_REQ_RECEIVE
        .union(Properties::DIRECT_REQ_SEND)
        .union(Properties::AARCH64);
    let base = 0x1000_0000 + 0x10_0000 * u64::try_from(index).expect("few");
    PartitionConfig {
        id: id_of(index),
        level: Level::SEl1,
        name: ["one", "two", "three", "four", "five"][index],
        services: vec![Service {
            uuid: Uuid([1; 16]),
            messaging: properties.intersection(Properties::MESSAGING),
        }]
        .leak(),
        image_uuid: Uuid::NIL,
        version: Version::V1_2,
        properties,
        non_secure_interrupts: match dice.below(4) {
            0 => NonSecureInterrupts::Queued,
            1 => NonSecureInterrupts::ManagedExit,
            _ => NonSecureInterrupts::Signaled,
        },
        managed_exit_line: paravirt::Line::Fiq,
        entry: base,
        boot_information: None,
        image: (base, 0x10_0000),
        retrieved_memory: None,
        regions: own(index),
        smc_allow_list: &[],
        smc_permissive: false,
        interrupts: DEVICES[index],
        virtual_serror: false,
        other_secure_interrupts_queued: dice.once_in(4),
        sri_while_waiting: dice.once_in(6),
        sri_on_entering_wait: dice.once_in(6),
        run_timeout_ms: dice.once_in(3).then_some(20),
        interrupt_share: [25, 1, 50, 100][dice.below(4)],
    }
}

fn gic(devices: &[u32], vcpus: usize) -> &'static VirtualGic {
    let cpus: Vec<_> = (0..vcpus).map(|_| VirtualGic::cpu(&GIC, devices)).collect();
    let banks: Vec<_> = VirtualGic::banks(devices).collect();
    let links: Vec<_> = VirtualGic::links(devices, vcpus).collect();
    let gic = VirtualGic::new(GIC, cpus.leak(), banks.leak(), links.leak());
    Box::leak(Box::new(gic))
}

impl World {
    pub fn new(mut dice: Dice) -> Self {
        let has_gic = std::array::from_fn(|_| dice.once_in(3));
        let partitions: Vec<Partition<Machine>> = (0..DEVICES.len())
            .map(|index| {
                let count = if index == MULTI_CORE { CORES } else { 1 };
                let gic = has_gic[index].then(|| gic(DEVICES[index], count));
                let vcpus: Vec<_> = (0..count)
                    .map(|vcpu| {
                        if let Some(gic) = gic {
                            return Vcpu::with_gic(Box::leak(Box::new(Context::new())), gic, vcpu);
                        }
                        let devices = DEVICES[index].iter().copied();
                        let devices: Vec<_> = devices.map(VirtualInterrupt::new).collect();
                        Vcpu::new(Box::leak(Box::new(Context::new())), devices.leak())
                    })
                    .collect();
                let places = if index == QUEUED { 2 } else { 0 };
                Partition::new(config(index, &mut dice), vcpus.leak(), &mut [])
                    .with_queue((0..places).map(|_| None).collect::<Vec<_>>().leak())
                    .with_gic(gic)
            })
            .collect();
        let partitions = partitions.leak();
        let memory = PageRange::new(Pa(0x4000_0000), 0x1000).expect("a page");
        let known = (partitions.iter())
            .map(|partition| vec![Known::default(); partition.vcpus().len()])
            .collect();
        let spmc = Spmc::new(SpmcConfig {
            id: SPMC,
            partitions,
            normal_world_memory: vec![memory].leak(),
            vms: Vec::<Vm>::new().leak(),
            reserved: &[],
            owners: PageOwners::new(
                ownership(vec![Node::UNUSED; 256].leak()),
                ownership(vec![Node::UNUSED; 256].leak()),
            ),
            shares: &[],
            vm_notifications: &[],
            interrupts: owner::owned(partitions).collect::<Vec<_>>().leak(),
            init_timeout_ms: 900,
            run_timeout_ms: 100,
        });
        let line = |intid: &u32| {
            let level = intid.is_multiple_of(2);
            let line = Line {
                level,
                ..Line::default()
            };
            (*intid, line)
        };
        let shared = Rc::new(RefCell::new(Shared {
            lines: DEVICES.iter().copied().flatten().map(line).collect(),
            ..Shared::default()
        }));
        let traps = dice.once_in(2);
        let mut world = Self {
            spmc,
            cores: std::array::from_fn(|index| Core {
                state: CoreState::new(index),
                machine: Machine::new(shared.clone(), index, traps),
                place: Place::Off,
                resumable: Vec::new(),
                asks: false,
            }),
            known,
            shared,
            has_gic,
            dice,
            counts: Counts::default(),
            calm: false,
        };
        world.switch_on(0);
        world.boot();
        world
    }

    /// The boot core comes up, whatever its partitions do, and the normal world says which version it speaks.
    fn boot(&mut self) {
        while self.cores[0].place != Place::NormalWorld {
            self.core_step(0);
            self.pass(500);
        }
        let mut version = Registers::ZERO;
        version.x[0] = Function::Version.id(Width::W32);
        version.x[1] = u64::from(Version::OURS.to_word());
        self.call(0, version);
    }

    pub fn switch_on(&mut self, core: usize) {
        {
            let mut shared = self.shared.borrow_mut();
            (shared.on[core], shared.kicked[core]) = (true, false);
        }
        let at = &mut self.cores[core];
        at.state = CoreState::new(core);
        (at.machine.masked, at.machine.deadline) = (false, None);
        at.machine.lines = Lines::NONE;
        self.counts.cores_on += 1;
        self.handle(core, Event::CoreOn);
    }

    /// A call of the normal world, or of the SPMD.
    pub fn call(&mut self, core: usize, call: Registers) {
        self.cores[core].state.normal_world = call;
        self.handle(core, Event::Spmd);
    }

    /// A call of the running partition.
    pub fn partition_call(&mut self, core: usize, call: [u64; 8], event: Event) {
        let context = self.cores[core].state.context().expect("a running context");
        context.registers.x[..8].copy_from_slice(&call);
        self.handle(core, event);
    }

    /// Lets the core handle `event`, and checks everything.
    pub fn handle(&mut self, core: usize, event: Event) {
        self.counts.events += 1;
        let at = &mut self.cores[core];
        let before = at.place;
        match self.spmc.handle(&mut at.state, event, &mut at.machine) {
            Action::Smc => {
                at.place = Place::NormalWorld;
                self.answered(core);
            }
            Action::Enter => {
                let machine = &mut at.machine;
                at.state.enter(|lines| machine.lines = lines);
                let vcpu = at.state.running().expect("a context to enter");
                at.place = Place::Partition(vcpu);
                self.entered(core, vcpu, before != Place::Partition(vcpu));
            }
            Action::Wait => at.place = Place::Waiting,
        }
        self.check(core);
    }

    /// What the normal world learns from an answer.
    fn answered(&mut self, core: usize) {
        let at = &mut self.cores[core];
        let answer = &at.state.normal_world;
        let is = |function: Function| answer.x[0] == function.id(Width::W32);
        if is(Function::Interrupt) || is(Function::Yield) {
            let name = (answer.sender(), answer.receiver().0);
            at.resumable.retain(|one| *one != name);
            at.resumable.push(name);
            self.tell(name);
        } else if std::mem::take(&mut at.asks) {
            self.scheduled(core);
        }
    }

    /// The normal world knows of a context.
    pub fn tell(&mut self, (id, vcpu): (EndpointId, u16)) {
        let index = usize::from(id.0 - id_of(0).0);
        self.known[index][usize::from(vcpu)].told = true;
    }

    /// What a context learns when it is entered.
    fn entered(&mut self, core: usize, vcpu: VcpuRef, anew: bool) {
        let context = self.cores[core].state.context().expect("a running context");
        let fresh = std::mem::take(&mut context.fresh);
        let registers = context.registers.clone();
        let known = &mut self.known[vcpu.partition()][vcpu.vcpu()];
        if fresh {
            *known = Known {
                delivered: known.delivered,
                registered: known.registered,
                ..Known::default()
            };
        }
        known.told &= !anew;
        let is = |function: Function| registers.x[0] == function.id(Width::W32);
        if is(Function::MsgSendDirectReq) {
            (known.request, known.callee) = (Some(registers), None);
        } else if is(Function::Run) {
            (known.request, known.callee) = (None, None);
        } else if is(Function::Interrupt) && registers.x[1] != 0 {
            known.callee = Some(registers.x[1]);
            self.counts.unblocked += u64::from(anew);
        } else if is(Function::Interrupt) {
            (known.request, known.callee) = (None, None);
            self.counts.entered += u64::from(anew);
        } else if is(Function::Error) && !anew {
            known.attempt += 1;
        }
    }
}

/// A map of the low 4 GiB, of which nobody owns anything.
fn ownership(nodes: &'static mut [Node]) -> Ownership<'static> {
    let range = PageRange::new(Pa(0), 1 << 32).expect("a range");
    Ownership::new(range, nodes).expect("a range that fits")
}
