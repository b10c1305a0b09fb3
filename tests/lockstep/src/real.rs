// SPDX-License-Identifier: MIT OR Apache-2.0
//! The real core in a world like one of the model: each partition runs on a core of its own, where it makes its
//! calls, and the normal world on the first one.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::{EndpointId, Function, Registers, Uuid, Version, Width};
use bulkhead_core::event::{Action, Conduit, Event, Fault, FaultKind};
use bulkhead_core::hardware::VcpuContext;
use bulkhead_core::normal_world::Vm;
use bulkhead_core::notify::VmNotifications;
use bulkhead_core::notify::bitmaps::Received;
use bulkhead_core::partition::{Level, Partition, PartitionConfig, Service};
use bulkhead_core::region::{Region, RegionKind};
use bulkhead_core::share::{PageOwners, ShareSlot};
use bulkhead_core::spmc::{CoreState, Spmc, SpmcConfig};
use bulkhead_core::vcpu::{NonSecureInterrupts, Vcpu};
use bulkhead_mm::addr::{PAGE_SIZE, Pa, PageRange};
use bulkhead_mm::attrs::{Permissions, Space};
use bulkhead_mm::owner::{Node, Ownership};
use bulkhead_model::page::{self, Content, Domain, Id, Page};
use bulkhead_model::world::World;
use bulkhead_sim::memory::{Memory, Quotas};

use crate::machine::{Context, Machine, Shared};

/// The address space of pages.
const ALL: u64 = 1 << 36;
const SPMC: EndpointId = EndpointId(0x8000);

/// The core, and where its machine is.
pub struct Real {
    pub spmc: Spmc<Machine>,
    pub shared: Rc<RefCell<Shared>>,
    cores: Vec<CoreState<Machine>>,
    /// The partitions by index.
    pub ids: Vec<Id>,
    /// What the normal world, and then each partition, speaks.
    pub versions: Vec<Version>,
}

/// The range of a page by its number.
pub fn range(number: u64) -> PageRange {
    PageRange::new(Pa(number * PAGE_SIZE), PAGE_SIZE).expect("a page")
}

pub fn space(space: page::Space) -> Space {
    match space {
        page::Space::Secure => Space::Secure,
        page::Space::NonSecure => Space::NonSecure,
    }
}

/// What a page holds, as a number.
pub fn content(content: Content) -> u64 {
    match content {
        Content::Zero => 0,
        Content::Of(Domain::NormalWorld) => 1,
        Content::Of(Domain::Partition(id)) => u64::from(id.0),
    }
}

fn region(id: Id, number: u64, page: &Page) -> Option<Region> {
    let own = page.map.get(&id.domain())?;
    Some(Region {
        kind: match page.kind {
            page::Kind::Normal => RegionKind::Memory,
            page::Kind::Device => RegionKind::Device,
        },
        name: "page",
        space: space(page.space),
        range: range(number),
        ipa: number * PAGE_SIZE,
        permissions: Permissions {
            read: true,
            write: own.access.write,
            execute: own.access.execute,
        },
    })
}

fn config(id: Id, version: Version, world: &World) -> PartitionConfig {
    let properties = Properties::DIRECT_REQ_RECEIVE.union(Properties::AARCH64);
    let regions: Vec<Region> = (world.pages.iter())
        .filter_map(|(number, page)| region(id, *number, page))
        .collect();
    PartitionConfig {
        id: EndpointId(id.0),
        level: Level::SEl1,
        name: "partition",
        services: vec![Service {
            uuid: Uuid([u8::try_from(id.0 & 0xff).expect("a byte"); 16]),
            messaging: properties,
        }]
        .leak(),
        image_uuid: Uuid::NIL,
        version,
        properties,
        non_secure_interrupts: NonSecureInterrupts::Signaled,
        managed_exit_line: bulkhead_abi::paravirt::Line::Fiq,
        entry: 0,
        boot_information: None,
        image: (0, PAGE_SIZE),
        retrieved_memory: None,
        regions: regions.leak(),
        smc_allow_list: &[],
        smc_permissive: false,
        interrupts: &[],
        virtual_serror: false,
        interrupt_share: 25,
        other_secure_interrupts_queued: false,
        sri_while_waiting: false,
        sri_on_entering_wait: false,
        run_timeout_ms: None,
    }
}

fn ownership() -> Ownership<'static> {
    let all = PageRange::new(Pa(0), ALL).expect("a range");
    Ownership::new(all, vec![Node::UNUSED; 64].leak()).expect("nodes")
}

fn words<const N: usize>(values: [u64; N]) -> Registers {
    let mut registers = Registers::ZERO;
    registers.x[..N].copy_from_slice(&values);
    registers
}

impl Real {
    /// The core in `world`, in which nothing has happened, with the version of the normal world and of each
    /// partition.
    pub fn new(world: &World, versions: &[Version], quotas: Quotas) -> Self {
        let ids: Vec<Id> = (world.parties.keys())
            .filter_map(|domain| match domain {
                Domain::NormalWorld => None,
                Domain::Partition(id) => Some(*id),
            })
            .collect();
        let partitions: Vec<Partition<Machine>> = (ids.iter().zip(&versions[1..]))
            .map(|(id, version)| {
                let context = Box::leak(Box::new(Context {
                    registers: Registers::ZERO,
                    pc: 0,
                }));
                let vcpus = vec![Vcpu::new(context, &mut [])].leak();
                Partition::new(config(*id, *version, world), vcpus, &mut [])
            })
            .collect();
        let partitions = partitions.leak();
        let configs: Vec<&PartitionConfig> = partitions
            .iter()
            .map(|partition| &partition.config)
            .collect();
        let mut memory = Memory::new(&configs, quotas);
        for (number, page) in &world.pages {
            let address = number * PAGE_SIZE;
            (memory.contents).insert((space(page.space), address), content(page.content));
        }
        let normal: Vec<PageRange> = (world.pages.iter())
            .filter(|(_, page)| page.owner == page::Owner::Of(Domain::NormalWorld))
            .map(|(number, _)| range(*number))
            .collect();
        let vms: Vec<VmNotifications> = (world.vms.iter())
            .map(|_| VmNotifications::new(vec![Received::default(); 1].leak()))
            .collect();
        let slots: Vec<ShareSlot> = world.slots.iter().map(|_| ShareSlot::new()).collect();
        let spmc = Spmc::new(SpmcConfig {
            id: SPMC,
            partitions,
            normal_world_memory: normal.leak(),
            vms: Vec::<Vm>::new().leak(),
            reserved: &[],
            owners: PageOwners::new(ownership(), ownership()),
            shares: slots.leak(),
            vm_notifications: vms.leak(),
            interrupts: &mut [],
            init_timeout_ms: 900,
            run_timeout_ms: 100,
        });
        let shared = Rc::new(RefCell::new(Shared {
            memory,
            mailboxes: (0..=ids.len()).map(|_| None).collect(),
            balloon: Vec::new(),
            refused: false,
            asked: Cell::new(false),
            interrupts: false,
        }));
        let mut real = Self {
            spmc,
            cores: (0..=ids.len()).map(CoreState::new).collect(),
            shared,
            ids,
            versions: versions.to_vec(),
        };
        real.boot(world);
        real
    }

    /// All partitions say that they are ready, and each runs then on a core of its own.
    fn boot(&mut self, world: &World) {
        let ready = words([Function::MsgWait.id(Width::W32)]);
        let mut action = self.handle(0, Event::CoreOn);
        while action == Action::Enter {
            *self.cores[0].context().expect("it runs").registers_mut() = ready.clone();
            action = self.handle(0, Event::Call(Conduit::Smc));
        }
        let version = u64::from(self.versions[0].to_word());
        self.normal_world(words([Function::Version.id(Width::W32), version]));
        for (index, id) in self.ids.clone().into_iter().enumerate() {
            let core = index + 1;
            assert_eq!(self.handle(core, Event::CoreOn), Action::Smc);
            let run = words([Function::Run.id(Width::W32), u64::from(id.0) << 16]);
            self.cores[core].normal_world = run;
            assert_eq!(self.handle(core, Event::Spmd), Action::Enter, "{id:?}");
        }
        for vm in &world.vms {
            let create = Function::NotificationBitmapCreate.id(Width::W32);
            let answer = self.normal_world(words([create, u64::from(vm.0), 1]));
            assert_eq!(answer.x[0], Function::Success.id(Width::W32), "{answer:x?}");
        }
        for (domain, party) in &world.parties {
            if let Some(mailbox) = &party.mailbox {
                let answer = self.call(*domain, &map(mailbox.rx, mailbox.tx));
                let answer = answer.expect("it is alive").x[0];
                assert_eq!(answer, Function::Success.id(Width::W32), "{domain:?}");
            }
        }
    }

    fn handle(&mut self, core: usize, event: Event) -> Action {
        let mut machine = Machine(self.shared.clone());
        self.spmc.handle(&mut self.cores[core], event, &mut machine)
    }

    fn normal_world(&mut self, call: Registers) -> Registers {
        self.cores[0].normal_world = call;
        assert_eq!(self.handle(0, Event::Spmd), Action::Smc);
        self.cores[0].normal_world.clone()
    }

    /// The core of a domain, which is the slot of its mailbox, too.
    pub fn core(&self, domain: Domain) -> usize {
        match domain {
            Domain::NormalWorld => 0,
            Domain::Partition(id) => {
                let index = self.ids.iter().position(|own| *own == id);
                index.expect("a partition") + 1
            }
        }
    }

    /// The account that pays for what a domain keeps.
    pub fn account(&self, domain: Domain) -> usize {
        match self.core(domain) {
            0 => self.ids.len(),
            core => core - 1,
        }
    }

    /// A domain makes a call. `None`: it is told to make it again after an interrupt.
    pub fn call(&mut self, domain: Domain, call: &Registers) -> Option<Registers> {
        let core = self.core(domain);
        if core == 0 {
            return Some(self.normal_world(call.clone()));
        }
        let context = self.cores[core].context().expect("it runs");
        context.registers = call.clone();
        let pc = context.pc;
        assert_eq!(self.handle(core, Event::Call(Conduit::Smc)), Action::Enter);
        let context = self.cores[core].context().expect("it runs");
        if context.pc == pc {
            return Some(context.registers.clone());
        }
        assert_eq!((context.pc, &context.registers), (pc.wrapping_sub(4), call));
        context.pc = pc;
        None
    }

    /// A partition ends by a fault.
    pub fn end(&mut self, domain: Domain) {
        let core = self.core(domain);
        let fault = Fault {
            kind: FaultKind::Exception,
            syndrome: 0,
            address: 0,
        };
        assert_eq!(self.handle(core, Event::Fault(fault)), Action::Smc);
    }
}

/// FFA_RXTX_MAP of one page each.
pub fn map(rx: u64, tx: u64) -> Registers {
    let id = Function::RxtxMap.id(Width::W64);
    words([id, tx * PAGE_SIZE, rx * PAGE_SIZE, 1])
}
