// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hardware below the core. Each access to what cores share is a point at which another core may
//! go on.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bulkhead_abi::{FfaError, Registers};
use bulkhead_core::event::Access;
use bulkhead_core::hardware::{
    Acknowledged, CopyFault, Hardware, OutOfMemory, Run, SystemRegister, VcpuContext,
};
use bulkhead_core::mailbox::MailboxBuffers;
use bulkhead_core::virtual_interrupt::Lines;
use bulkhead_mm::addr::{Pa, PageRange};
use bulkhead_mm::attrs::{Permissions, Space, Stage2Attributes};
use shuttle::sync::{Condvar, Mutex};

use crate::memory::Memory;
use crate::program::Local;
use crate::world::pick;

/// The size of a page in bytes.
pub const PAGE: u64 = 4096;
/// The first byte of the normal world's memory.
pub const NORMAL_MEMORY: u64 = 0x4000_0000;
/// The length of a partition's memory in bytes.
pub const IMAGE: u64 = 0x20_0000;
/// What RX holds when it is mapped.
pub const STALE: u8 = 0xa5;

/// The first byte of the memory of the partition at `index`; IPA and PA are the same.
pub fn image(index: usize) -> u64 {
    0x1000_0000 + u64::try_from(index).expect("small") * IMAGE
}

/// The saved state of an execution context.
pub struct Context {
    pub(crate) registers: Registers,
    pub(crate) pc: u64,
    /// Set by a reset.
    pub(crate) fresh: bool,
    /// The core that holds state of it which is not saved.
    pub(crate) loaded: Option<usize>,
    /// What its program keeps in memory.
    pub(crate) local: Local,
    /// What it must find in its registers when it goes on: it was interrupted.
    pub(crate) interrupted: Option<Registers>,
}

impl Context {
    pub(crate) fn new() -> Self {
        Self {
            registers: Registers::ZERO,
            pc: 0,
            fresh: false,
            loaded: None,
            local: Local::default(),
            interrupted: None,
        }
    }
}

impl VcpuContext for Context {
    fn registers(&self) -> &Registers {
        &self.registers
    }

    fn registers_mut(&mut self) -> &mut Registers {
        &mut self.registers
    }

    fn pc(&self) -> u64 {
        self.pc
    }

    fn skip_instruction(&mut self) {
        self.pc += 4;
    }

    fn step_back(&mut self) {
        self.pc -= 4;
    }

    fn has_serror(&self) -> bool {
        false
    }

    fn counter_offset(&self) -> u64 {
        0
    }

    fn reset(&mut self, entry: u64) {
        self.registers = Registers::ZERO;
        self.pc = entry;
        self.fresh = true;
        self.interrupted = None;
    }
}

/// A mapped mailbox as S-EL2 sees it.
pub struct Mapped {
    /// Where it is.
    pub buffers: MailboxBuffers,
    /// The first page of RX.
    pub rx: Vec<u8>,
    /// The first page of TX.
    pub tx: Vec<u8>,
}

/// S-EL2's map of mailboxes.
pub struct Mailboxes {
    /// By slot.
    pub slots: Vec<Option<Mapped>>,
    /// What the normal world writes to its TX whenever it is mapped.
    pub normal_world_tx: Vec<u8>,
}

/// The event registers of all cores: what SEV sets and WFE waits for.
pub struct Events {
    set: Mutex<Vec<bool>>,
    bell: Condvar,
}

impl Events {
    /// Of so many cores; no event has come.
    pub fn new(cores: usize) -> Self {
        Self {
            set: Mutex::new(vec![false; cores]),
            bell: Condvar::new(),
        }
    }

    fn signal(&self) {
        self.set.lock().expect("a core failed").fill(true);
        self.bell.notify_all();
    }

    /// Sleeps until `core` has an event, and takes it.
    pub fn wait(&self, core: usize) {
        let mut set = self.set.lock().expect("a core failed");
        while !set[core] {
            set = self.bell.wait(set).expect("a core failed");
        }
        set[core] = false;
    }
}

/// The line of a partition's device, whose interrupt is shared.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// Its INTID.
    pub intid: u32,
    /// Whether it is pending while the device asserts it, or from an edge on until it is acknowledged.
    pub level: bool,
    /// Whether it is asserted.
    pub asserted: bool,
    /// Whether it may fire.
    pub enabled: bool,
    /// The core that acknowledged it, until it is deactivated.
    pub active: Option<usize>,
    /// The core that it goes to.
    pub target: usize,
    /// How often the device asserted it.
    pub raised: u64,
    /// How often its partition fetched it.
    pub taken: u64,
}

impl Line {
    fn is_due(&self, core: usize) -> bool {
        self.enabled && self.asserted && self.active.is_none() && self.target == core
    }
}

/// The interrupt controller, and the clock.
#[derive(Default)]
pub struct Wires {
    /// The devices.
    pub lines: Vec<Line>,
    /// Cores that another one kicked.
    pub kicked: Vec<bool>,
    /// Whether a core may wait for its interrupt.
    pub spins: bool,
    /// The counter.
    pub now: u64,
    /// Whether the EL1 physical timer of the context with this number, of the partition at this index, is set and
    /// has not fired.
    pub timers: BTreeMap<(usize, usize), bool>,
}

impl Wires {
    /// The line with `intid`.
    pub fn line(&mut self, intid: u32) -> &mut Line {
        let mut lines = self.lines.iter_mut();
        lines.find(|line| line.intid == intid).expect("a line")
    }
}

/// What passes between the SPMC and the normal world's scheduler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// The schedule receiver interrupt was raised.
    Raised,
    /// The scheduler starts to ask.
    Asked,
}

/// The hardware of a core.
pub struct Machine {
    /// The core's index.
    pub core: usize,
    /// What all cores share.
    pub mailboxes: Arc<Mutex<Mailboxes>>,
    /// Stage 2 of all partitions, and the pool.
    pub memory: Arc<Mutex<Memory>>,
    /// The event registers of all cores.
    pub events: Arc<Events>,
    /// Whether non-secure interrupts are masked.
    pub masked: bool,
    /// Whether the time of whoever runs is bounded.
    pub bounded: bool,
    /// When that time is over.
    pub deadline: u64,
    /// The counter.
    pub now: u64,
    /// Whether that time is over.
    pub expired: bool,
    /// What passed between the SPMC and the normal world's scheduler.
    pub told: Arc<std::sync::Mutex<Vec<Told>>>,
    /// How many execution contexts the core holds state of.
    pub loaded: usize,
    /// The interrupt controller.
    pub wires: Arc<Mutex<Wires>>,
    /// Rings when an interrupt may have become pending for some core.
    pub bell: Arc<Condvar>,
    /// What is signalled to the partition that runs.
    pub lines: Lines,
}

impl Machine {
    /// What S-EL2 has mapped.
    pub fn with_mailboxes<R>(&self, look: impl FnOnce(&mut Mailboxes) -> R) -> R {
        look(&mut self.mailboxes.lock().expect("a core failed"))
    }

    /// Stage 2 of all partitions, and the pool.
    pub fn with_memory<R>(&self, look: impl FnOnce(&mut Memory) -> R) -> R {
        look(&mut self.memory.lock().expect("a core failed"))
    }

    /// The interrupt controller.
    pub fn with_wires<R>(&self, look: impl FnOnce(&mut Wires) -> R) -> R {
        let mut wires = self.wires.lock().expect("a core failed");
        let result = look(&mut wires);
        if wires.spins {
            self.bell.notify_all();
        }
        result
    }

    /// Whether a secure interrupt is pending for the core.
    pub fn is_due(&self) -> bool {
        self.with_wires(|wires| self.due(wires))
    }

    fn due(&self, wires: &Wires) -> bool {
        let over = self.bounded && self.deadline <= wires.now;
        let mut lines = wires.lines.iter();
        wires.kicked[self.core] || over || lines.any(|line| line.is_due(self.core))
    }

    /// Whoever runs does nothing until a secure interrupt is pending for the core.
    pub fn spin(&self) {
        let mut wires = self.wires.lock().expect("a core failed");
        wires.spins = true;
        while !self.due(&wires) {
            wires = self.bell.wait(wires).expect("a core failed");
        }
    }

    /// The endpoint whose mailbox is in `slot` writes to TX, if it has any.
    pub fn write_tx(&self, slot: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.with_mailboxes(|mailboxes| {
            if let Some(mapped) = &mut mailboxes.slots[slot] {
                mapped.tx[..bytes.len()].copy_from_slice(bytes);
            }
        });
    }

    fn mailbox<R>(&self, slot: usize, access: impl FnOnce(&mut Mapped) -> R) -> R {
        self.with_mailboxes(|mailboxes| {
            let mapped = mailboxes.slots[slot].as_mut();
            access(mapped.unwrap_or_else(|| panic!("M16: slot {slot} is used and not mapped")))
        })
    }
}

impl Hardware for Machine {
    type Context = Context;

    fn now(&self) -> u64 {
        self.with_wires(|wires| wires.now.max(self.now))
    }

    fn ticks_per_second(&self) -> u64 {
        1_000_000
    }

    fn park(&mut self, context: &mut Context) {
        if let Some(core) = context.loaded.take() {
            assert_eq!(core, self.core, "R11: saved by a core that does not run it");
            self.loaded -= 1;
        }
    }

    fn wait_until(&mut self, _: u64) {}

    fn set_deadline(&mut self, deadline: Option<u64>) {
        self.bounded = deadline.is_some();
        self.deadline = deadline.unwrap_or(0);
    }

    fn mask_non_secure_interrupts(&mut self, mask: bool) {
        self.masked = mask;
    }

    fn acknowledge(&mut self) -> Acknowledged {
        if std::mem::take(&mut self.expired) {
            self.bounded = false;
            return Acknowledged::Deadline;
        }
        let core = self.core;
        let (bounded, deadline) = (self.bounded, self.deadline);
        let found = self.with_wires(|wires| {
            if bounded && deadline <= wires.now {
                return Acknowledged::Deadline;
            }
            if std::mem::take(&mut wires.kicked[core]) {
                return Acknowledged::Kick;
            }
            match wires.lines.iter_mut().find(|line| line.is_due(core)) {
                Some(line) => {
                    line.asserted &= line.level;
                    line.active = Some(core);
                    Acknowledged::Secure(line.intid)
                }
                None => Acknowledged::Spurious,
            }
        });
        if found == Acknowledged::Deadline {
            self.bounded = false;
        }
        found
    }

    fn hand_group0_to_el3(&mut self) -> bool {
        false
    }

    fn disable_interrupt(&mut self, intid: u32) {
        panic!("C-11: {intid} is owned");
    }

    fn enable_interrupt(&mut self, intid: u32, _: usize, enable: bool) {
        self.with_wires(|wires| wires.line(intid).enabled = enable);
    }

    fn deactivate(&mut self, intid: u32, core: usize) {
        self.with_wires(|wires| {
            let active = wires.line(intid).active.take();
            assert_eq!(active, Some(core), "IR2: {intid} is not active there");
        });
    }

    fn route_interrupt(&mut self, intid: u32, core: usize) -> bool {
        self.with_wires(|wires| wires.line(intid).target = core);
        true
    }

    fn kick(&mut self, core: usize) {
        assert_ne!(core, self.core, "a core kicks itself");
        self.with_wires(|wires| wires.kicked[core] = true);
    }

    fn kick_others(&mut self) {
        let own = self.core;
        self.with_wires(|wires| {
            for (core, kicked) in wires.kicked.iter_mut().enumerate() {
                *kicked |= core != own;
            }
        });
    }

    fn traps_virtual_timer(&self) -> bool {
        true
    }

    fn virtual_timer(&self, _: &Context) -> Option<u64> {
        None
    }

    fn mask_virtual_timer(&mut self, _: &mut Context) {}

    fn schedule_receiver_interrupt(&self) -> Option<u32> {
        Some(8)
    }

    fn raise_schedule_receiver(&mut self) {
        self.told.lock().expect("a core failed").push(Told::Raised);
    }

    fn signal_event(&mut self) {
        self.events.signal();
    }

    /// Interrupts that go to this core go to another one; whoever has kicked it did so in vain.
    fn prepare_off(&mut self) {
        let own = self.core;
        self.with_wires(|wires| {
            wires.kicked[own] = false;
            let other = usize::from(own == 0);
            let lines = wires.lines.iter_mut();
            lines
                .filter(|line| line.target == own)
                .for_each(|line| line.target = other);
        });
    }

    fn translate(&self, partition: usize, space: Space, ipa: u64, pages: u32) -> Option<Pa> {
        let offset = ipa.checked_sub(image(partition))?;
        let end = offset.checked_add(u64::from(pages) * PAGE)?;
        (space == Space::Secure && end <= IMAGE).then_some(Pa(ipa))
    }

    /// What faults is not allowed.
    fn allows(&self, _: usize, _: Space, _: u64, _: Access) -> bool {
        false
    }

    /// No partition has memory of the normal world.
    fn walk_non_secure(&self, _: usize, _: &mut dyn FnMut(PageRange, Permissions)) {}

    fn map_mailbox(&mut self, slot: usize, buffers: &MailboxBuffers) -> Result<(), OutOfMemory> {
        self.with_mailboxes(|mailboxes| {
            for other in mailboxes.slots.iter().flatten() {
                assert!(
                    !other.buffers.overlaps(buffers),
                    "M9: a page in two mailboxes"
                );
            }
            let mut tx = vec![0; 4096];
            if slot == 0 {
                tx[..mailboxes.normal_world_tx.len()].copy_from_slice(&mailboxes.normal_world_tx);
            }
            let earlier = mailboxes.slots[slot].replace(Mapped {
                buffers: buffers.clone(),
                rx: vec![STALE; 4096],
                tx,
            });
            assert!(earlier.is_none(), "M13: slot {slot} is mapped twice");
        });
        Ok(())
    }

    fn unmap_mailbox(&mut self, slot: usize) {
        let earlier = self.with_mailboxes(|mailboxes| mailboxes.slots[slot].take());
        assert!(earlier.is_some(), "M16: slot {slot} is not mapped");
    }

    fn write_rx(&mut self, slot: usize, offset: usize, bytes: &[u8]) -> Result<(), CopyFault> {
        self.mailbox(slot, |mapped| {
            mapped.rx[offset..offset + bytes.len()].copy_from_slice(bytes);
        });
        Ok(())
    }

    fn clear_rx(&mut self, slot: usize, offset: usize) -> Result<(), CopyFault> {
        self.mailbox(slot, |mapped| mapped.rx[offset..].fill(0));
        Ok(())
    }

    fn read_tx(&mut self, slot: usize, offset: usize, to: &mut [u8]) -> Result<(), CopyFault> {
        self.mailbox(slot, |mapped| {
            to.copy_from_slice(&mapped.tx[offset..offset + to.len()]);
        });
        Ok(())
    }

    fn take_page(&mut self, account: usize) -> Option<Pa> {
        self.with_memory(|memory| memory.take_page(account))
    }

    fn give_page(&mut self, page: Pa) {
        self.with_memory(|memory| memory.give_page(page));
    }

    fn pages_left(&self, account: usize) -> usize {
        self.with_memory(|memory| memory.pages_left(account))
    }

    fn load_words(&self, page: Pa, index: usize, words: &mut [u64]) {
        self.with_memory(|memory| memory.load_words(page, index, words));
    }

    fn store_words(&mut self, page: Pa, index: usize, words: &[u64]) {
        self.with_memory(|memory| memory.store_words(page, index, words));
    }

    fn lookup(&self, partition: usize, space: Space, ipa: u64, bytes: u64) -> Option<Run> {
        self.with_memory(|memory| memory.lookup(partition, space, ipa, bytes))
    }

    fn gap(&self, partition: usize, space: Space, window: Range<u64>, bytes: u64) -> Option<u64> {
        self.with_memory(|memory| memory.gap(partition, space, window, bytes))
    }

    fn map_borrowed(
        &mut self,
        partition: usize,
        space: Space,
        ipa: u64,
        range: PageRange,
        attributes: Stage2Attributes,
    ) -> Result<(), FfaError> {
        let permissions = attributes.permissions;
        self.with_memory(|memory| memory.map_borrowed(partition, space, ipa, range, permissions))
    }

    fn unmap_borrowed(&mut self, partition: usize, space: Space, ipa: u64, bytes: u64) {
        self.with_memory(|memory| memory.unmap_borrowed(partition, space, ipa, bytes));
    }

    fn suspend(
        &mut self,
        partition: usize,
        space: Space,
        ipa: u64,
        bytes: u64,
    ) -> Result<(), FfaError> {
        self.with_memory(|memory| memory.suspend(partition, space, ipa, bytes))
    }

    fn resume(&mut self, partition: usize, space: Space, ipa: u64, bytes: u64) {
        self.with_memory(|memory| memory.resume(partition, space, ipa, bytes));
    }

    fn forget(&mut self, partition: usize, space: Space, ipa: u64, bytes: u64) {
        self.with_memory(|memory| memory.forget(partition, space, ipa, bytes));
    }

    fn zero(&mut self, space: Space, range: PageRange) -> Result<(), CopyFault> {
        self.with_memory(|memory| memory.zero(space, range));
        Ok(())
    }

    fn interrupt_is_pending(&self) -> bool {
        self.with_memory(|memory| memory.interrupts) && pick(2) == 0
    }

    fn print(&mut self, _: fmt::Arguments<'_>) {}

    fn forward_smc(&mut self, registers: &mut Registers) {
        registers.x[0] = 0;
    }

    fn id_register(&self, _: SystemRegister) -> u64 {
        0
    }

    fn inject_undefined(&mut self, _: &mut Context) {}
}
