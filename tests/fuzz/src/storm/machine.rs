// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cores with an interrupt controller and timers, as plain values.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use bulkhead_abi::Registers;
use bulkhead_core::event::Access;
use bulkhead_core::hardware::{
    Acknowledged, CopyFault, Hardware, OutOfMemory, SystemRegister, VcpuContext,
};
use bulkhead_core::mailbox::MailboxBuffers;
use bulkhead_core::virtual_interrupt::Lines;
use bulkhead_mm::addr::{Pa, PageRange};
use bulkhead_mm::attrs::{Permissions, Space};

/// How many cores there are.
pub const CORES: usize = 3;

/// The saved state of an execution context.
pub struct Context {
    pub registers: Registers,
    /// When its own EL1 virtual timer fires, where accesses do not trap.
    pub virtual_timer: Option<u64>,
    /// Set by a reset.
    pub fresh: bool,
}

impl Context {
    pub fn new() -> Self {
        Self {
            registers: Registers::ZERO,
            virtual_timer: None,
            fresh: false,
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
        0
    }

    fn skip_instruction(&mut self) {}

    fn step_back(&mut self) {}

    fn has_serror(&self) -> bool {
        false
    }

    fn counter_offset(&self) -> u64 {
        0
    }

    fn reset(&mut self, _: u64) {
        self.registers = Registers::ZERO;
        self.virtual_timer = None;
        self.fresh = true;
    }
}

/// A shared interrupt of a partition's device.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line {
    /// Whether it is pending while the device asserts it, or from an edge on until it is acknowledged.
    pub level: bool,
    pub asserted: bool,
    pub enabled: bool,
    /// The core that acknowledged it, until it is deactivated.
    pub active: Option<usize>,
    /// Whether the partition has fetched it since.
    pub fetched: bool,
    pub target: usize,
    pub acknowledged: u64,
    pub deactivated: u64,
}

impl Line {
    fn is_due(&self, core: usize) -> bool {
        self.enabled && self.asserted && self.active.is_none() && self.target == core
    }
}

/// What all cores share.
#[derive(Default)]
pub struct Shared {
    pub now: u64,
    pub lines: BTreeMap<u32, Line>,
    pub on: [bool; CORES],
    pub kicked: [bool; CORES],
    /// A core that waits has been signalled.
    pub signalled: [bool; CORES],
    /// Whether the schedule receiver interrupt is pending in the normal world.
    pub scheduler: bool,
    /// Edges that ended before a partition that is there fetched them.
    pub lost: Vec<u32>,
    pub unowned: u64,
}

/// The hardware of a core.
pub struct Machine {
    pub shared: Rc<RefCell<Shared>>,
    pub index: usize,
    pub deadline: Option<u64>,
    pub masked: bool,
    pub non_secure: bool,
    pub group0: bool,
    /// An interrupt that nobody owns.
    pub stray: Option<u32>,
    pub lines: Lines,
    pub traps_virtual_timer: bool,
}

impl Machine {
    pub fn new(shared: Rc<RefCell<Shared>>, index: usize, traps_virtual_timer: bool) -> Self {
        Self {
            shared,
            index,
            deadline: None,
            masked: false,
            non_secure: false,
            group0: false,
            stray: None,
            lines: Lines::NONE,
            traps_virtual_timer,
        }
    }

    /// Whether a secure interrupt is pending.
    pub fn is_due(&self) -> bool {
        let shared = self.shared.borrow();
        self.deadline.is_some_and(|deadline| deadline <= shared.now)
            || self.stray.is_some()
            || shared.kicked[self.index]
            || shared.lines.values().any(|line| line.is_due(self.index))
    }
}

impl Hardware for Machine {
    type Context = Context;

    fn now(&self) -> u64 {
        self.shared.borrow().now
    }

    fn ticks_per_second(&self) -> u64 {
        1_000_000
    }

    fn park(&mut self, _: &mut Context) {}

    fn wait_until(&mut self, until: u64) {
        if !self.is_due() {
            let until = self.deadline.map_or(until, |deadline| deadline.min(until));
            let mut shared = self.shared.borrow_mut();
            shared.now = shared.now.max(until);
        }
    }

    fn set_deadline(&mut self, deadline: Option<u64>) {
        self.deadline = deadline;
    }

    fn mask_non_secure_interrupts(&mut self, mask: bool) {
        self.masked = mask;
    }

    fn acknowledge(&mut self) -> Acknowledged {
        let mut shared = self.shared.borrow_mut();
        if self.deadline.is_some_and(|deadline| deadline <= shared.now) {
            self.deadline = None;
            return Acknowledged::Deadline;
        }
        if std::mem::take(&mut shared.kicked[self.index]) {
            return Acknowledged::Kick;
        }
        if let Some(stray) = self.stray {
            return Acknowledged::Secure(stray);
        }
        let due = (shared.lines.iter_mut()).find(|(_, line)| line.is_due(self.index));
        let Some((intid, line)) = due else {
            return Acknowledged::Spurious;
        };
        line.asserted &= line.level;
        line.active = Some(self.index);
        line.fetched = false;
        line.acknowledged += 1;
        Acknowledged::Secure(*intid)
    }

    fn hand_group0_to_el3(&mut self) -> bool {
        std::mem::take(&mut self.group0)
    }

    fn disable_interrupt(&mut self, intid: u32) {
        assert_eq!(self.stray.take(), Some(intid), "C-11: an owned interrupt");
        self.shared.borrow_mut().unowned += 1;
    }

    fn enable_interrupt(&mut self, intid: u32, _: usize, enable: bool) {
        let mut shared = self.shared.borrow_mut();
        let line = shared.lines.get_mut(&intid).expect("a partition's");
        line.enabled = enable;
    }

    fn deactivate(&mut self, intid: u32, core: usize) {
        let mut shared = self.shared.borrow_mut();
        let line = shared.lines.get_mut(&intid).expect("a partition's");
        assert_eq!(line.active, Some(core), "IR2: {intid} is not active there");
        line.active = None;
        line.deactivated += 1;
        // Who ends a partition has disabled its interrupts before.
        if !line.fetched && !line.level && line.enabled {
            shared.lost.push(intid);
        }
    }

    fn route_interrupt(&mut self, intid: u32, core: usize) -> bool {
        let mut shared = self.shared.borrow_mut();
        let is_on = shared.on.get(core) == Some(&true);
        if is_on {
            shared.lines.get_mut(&intid).expect("a partition's").target = core;
        }
        is_on
    }

    fn kick(&mut self, core: usize) {
        assert_ne!(core, self.index, "a core kicks itself");
        let mut shared = self.shared.borrow_mut();
        // One that is off looks when it comes on: a context that cannot be started again stays on it.
        shared.kicked[core] = shared.on[core];
    }

    fn kick_others(&mut self) {
        let mut shared = self.shared.borrow_mut();
        for core in 0..CORES {
            let is_other = shared.on[core] && core != self.index;
            shared.kicked[core] |= is_other;
        }
    }

    fn traps_virtual_timer(&self) -> bool {
        self.traps_virtual_timer
    }

    fn virtual_timer(&self, context: &Context) -> Option<u64> {
        context.virtual_timer
    }

    fn mask_virtual_timer(&mut self, context: &mut Context) {
        context.virtual_timer = None;
    }

    fn schedule_receiver_interrupt(&self) -> Option<u32> {
        Some(8)
    }

    fn raise_schedule_receiver(&mut self) {
        self.shared.borrow_mut().scheduler = true;
    }

    fn signal_event(&mut self) {
        self.shared.borrow_mut().signalled = [true; CORES];
    }

    /// Shared interrupts go to another core.
    fn prepare_off(&mut self) {
        let mut shared = self.shared.borrow_mut();
        let other = (0..CORES).find(|core| *core != self.index && shared.on[*core]);
        let other = other.expect("the last core stays on");
        let ours = (shared.lines.values_mut()).filter(|line| line.target == self.index);
        ours.for_each(|line| line.target = other);
    }

    fn translate(&self, _: usize, _: Space, _: u64, _: u32) -> Option<Pa> {
        None
    }

    fn allows(&self, _: usize, _: Space, _: u64, _: Access) -> bool {
        false
    }

    fn walk_non_secure(&self, _: usize, _: &mut dyn FnMut(PageRange, Permissions)) {}

    fn map_mailbox(&mut self, _: usize, _: &MailboxBuffers) -> Result<(), OutOfMemory> {
        Err(OutOfMemory)
    }

    fn unmap_mailbox(&mut self, _: usize) {}

    fn write_rx(&mut self, _: usize, _: usize, _: &[u8]) -> Result<(), CopyFault> {
        Err(CopyFault)
    }

    fn clear_rx(&mut self, _: usize, _: usize) -> Result<(), CopyFault> {
        Err(CopyFault)
    }

    fn read_tx(&mut self, _: usize, _: usize, _: &mut [u8]) -> Result<(), CopyFault> {
        Err(CopyFault)
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
