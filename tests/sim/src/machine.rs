// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hardware of a simulated core.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bulkhead_abi::function::{self, Call};
use bulkhead_abi::registers::Extended;
use bulkhead_abi::{FfaError, Registers};
use bulkhead_core::event::Access;
use bulkhead_core::hardware::{
    Acknowledged, CopyFault, Hardware, OutOfMemory, Run, SystemRegister, VcpuContext,
};
use bulkhead_core::mailbox::MailboxBuffers;
use bulkhead_core::virtual_interrupt::Lines;
use bulkhead_mm::addr::{Pa, PageRange};
use bulkhead_mm::attrs::{MemoryType, Permissions, Space, Stage2Attributes};

use crate::gic::Gic;
use crate::memory::Memory;
use crate::program::Runner;

/// The size of a page.
pub const PAGE: u64 = 4096;

/// The saved state of a simulated execution context.
pub struct Context {
    pub(crate) registers: Registers,
    pub(crate) pc: u64,
    /// Set by a reset: the program starts over at the next entry.
    pub(crate) fresh: bool,
    /// It makes its last call again.
    pub(crate) again: bool,
    /// Whether a core holds state of this context that is not saved.
    pub(crate) loaded: bool,
    pub(crate) undefined: u32,
    /// The counter value at which its own EL1 virtual timer fires, on machines where accesses do not trap.
    pub(crate) virtual_timer: Option<u64>,
    /// What its virtual counter lags behind.
    pub(crate) counter_offset: u64,
    /// Whether it has a virtual SError that it has not taken.
    pub(crate) serror: bool,
    pub(crate) runner: Option<Runner>,
}

impl Context {
    pub(crate) fn new() -> Self {
        Self {
            registers: Registers::ZERO,
            pc: 0,
            fresh: true,
            again: false,
            loaded: false,
            undefined: 0,
            virtual_timer: None,
            counter_offset: 0,
            serror: false,
            runner: None,
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
        self.again = true;
    }

    fn has_serror(&self) -> bool {
        self.serror
    }

    fn counter_offset(&self) -> u64 {
        self.counter_offset
    }

    fn reset(&mut self, entry: u64) {
        self.registers = Registers::ZERO;
        self.pc = entry;
        self.fresh = true;
    }
}

/// The SPMD's answer to a call of the SPMC, in place.
pub type Spmd = Arc<dyn Fn(&mut Registers) + Send + Sync>;

/// What all cores share.
#[derive(Default)]
pub(crate) struct Shared {
    /// RX buffers by mailbox slot, as S-EL2 sees them.
    pub(crate) rx: HashMap<usize, Vec<u8>>,
    /// TX buffers by mailbox slot.
    pub(crate) tx: HashMap<usize, Vec<u8>>,
    /// What another core writes to a slot's TX buffer after each time that S-EL2 reads it.
    pub(crate) tx_rewrites: HashMap<usize, Vec<u8>>,
    /// Buffers by mailbox slot, as they were mapped.
    pub(crate) buffers: HashMap<usize, MailboxBuffers>,
    pub(crate) console: Vec<String>,
    /// Slots whose memory does not answer.
    pub(crate) broken: Vec<usize>,
    pub(crate) table_pages: usize,
    /// Stage 2 of partitions, the pool, and what pages hold.
    pub(crate) memory: Option<Memory>,
    /// What stage 2 allows though it faulted: partition, space, page, access.
    pub(crate) allowed: Vec<(usize, Space, u64, Access)>,
    /// Each partition's non-secure addresses by index.
    pub(crate) non_secure: HashMap<usize, Vec<(PageRange, Permissions)>>,
    pub(crate) disabled: Vec<u32>,
    pub(crate) forwarded: Vec<u64>,
    /// The interrupt controller.
    pub(crate) gic: Gic,
    /// What the SPMD does with calls of the SPMC.
    pub(crate) spmd: Option<Spmd>,
}

/// An interrupt that a scenario raises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pending {
    /// Non-secure: FIQ at S-EL2.
    NonSecure,
    /// Group 0: FIQ at S-EL2, for EL3.
    Group0,
    /// A secure interrupt that no partition owns: IRQ at S-EL2.
    Secure(u32),
    /// A secure interrupt that is gone when it is acknowledged: 1020 to 1023 at S-EL2.
    Spurious,
    /// A non-secure interrupt that is gone when S-EL2 looks which group it is of.
    Gone,
    /// An edge on the line of a partition's interrupt; only for a partition that spins.
    Edge(u32),
}

/// The hardware of one core.
pub struct Machine {
    pub(crate) shared: Arc<Mutex<Shared>>,
    index: usize,
    /// The counter, in nanoseconds.
    pub now: u64,
    /// How much time each visit of S-EL2 takes, in ticks.
    pub ticks_per_event: u64,
    /// The armed deadline.
    pub deadline: Option<u64>,
    /// Whether non-secure interrupts are masked.
    pub masked: bool,
    /// Interrupts that are raised and not taken.
    pub pending: VecDeque<Pending>,
    pub(crate) in_spin: VecDeque<Pending>,
    /// How often EL3 was asked to handle a Group 0 interrupt.
    pub group0_handled: u32,
    /// How often the core made ready to go off.
    pub prepared_off: u32,
    /// How often cores that wait were woken.
    pub events: u32,
    /// How often the schedule receiver interrupt was raised.
    pub schedule_receiver: u32,
    /// Whether the normal world has the schedule receiver interrupt enabled.
    pub scheduler_listens: bool,
    /// Whether the schedule receiver interrupt is the normal world's.
    pub scheduler_is_non_secure: bool,
    /// The virtual interrupts that are signalled.
    pub lines: Lines,
    /// All changes of what was signalled.
    pub signals: Vec<Lines>,
    /// Whether accesses to the EL1 virtual timer trap.
    pub traps_virtual_timer: bool,
}

impl Machine {
    pub(crate) fn new(index: usize, shared: Arc<Mutex<Shared>>) -> Self {
        Self {
            shared,
            index,
            now: 0,
            ticks_per_event: 0,
            deadline: None,
            masked: false,
            pending: VecDeque::new(),
            in_spin: VecDeque::new(),
            group0_handled: 0,
            prepared_off: 0,
            events: 0,
            schedule_receiver: 0,
            scheduler_listens: false,
            scheduler_is_non_secure: true,
            lines: Lines::NONE,
            signals: Vec::new(),
            traps_virtual_timer: false,
        }
    }

    fn memory<R>(&self, act: impl FnOnce(&mut Memory) -> R) -> R {
        let mut shared = self.shared.lock().unwrap();
        act(shared.memory.as_mut().expect("it is there from boot on"))
    }
}

impl Hardware for Machine {
    type Context = Context;

    fn now(&self) -> u64 {
        self.now
    }

    fn ticks_per_second(&self) -> u64 {
        1_000_000_000
    }

    fn park(&mut self, context: &mut Context) {
        context.loaded = false;
    }

    fn wait_until(&mut self, until: u64) {
        self.now = self.now.max(until);
    }

    fn set_deadline(&mut self, deadline: Option<u64>) {
        self.deadline = deadline;
    }

    fn mask_non_secure_interrupts(&mut self, mask: bool) {
        self.masked = mask;
    }

    fn acknowledge(&mut self) -> Acknowledged {
        if self.deadline.is_some_and(|deadline| deadline <= self.now) {
            self.deadline = None;
            return Acknowledged::Deadline;
        }
        let mut shared = self.shared.lock().unwrap();
        if shared.gic.take_kick(self.index) {
            return Acknowledged::Kick;
        }
        if let Some(intid) = shared.gic.acknowledge(self.index) {
            return Acknowledged::Secure(intid);
        }
        drop(shared);
        let secure = self
            .pending
            .iter()
            .position(|pending| matches!(pending, Pending::Secure(_)));
        match secure.and_then(|position| self.pending.remove(position)) {
            Some(Pending::Secure(intid)) => Acknowledged::Secure(intid),
            _ => Acknowledged::Spurious,
        }
    }

    fn hand_group0_to_el3(&mut self) -> bool {
        let found = self
            .pending
            .iter()
            .position(|pending| *pending == Pending::Group0);
        let handled = found
            .and_then(|position| self.pending.remove(position))
            .is_some();
        self.group0_handled += u32::from(handled);
        handled
    }

    fn disable_interrupt(&mut self, intid: u32) {
        self.shared.lock().unwrap().disabled.push(intid);
    }

    fn enable_interrupt(&mut self, intid: u32, _: usize, enable: bool) {
        self.shared.lock().unwrap().gic.line(intid).enabled = enable;
    }

    fn deactivate(&mut self, intid: u32, core: usize) {
        let mut shared = self.shared.lock().unwrap();
        let line = shared.gic.line(intid);
        assert_eq!(line.active, Some(core), "IR2: {intid} is not active there");
        line.active = None;
        line.deactivated += 1;
    }

    fn route_interrupt(&mut self, intid: u32, core: usize) -> bool {
        let mut shared = self.shared.lock().unwrap();
        let possible = intid >= 32 && core < shared.gic.kicked.len();
        if possible {
            shared.gic.line(intid).target = core;
        }
        possible
    }

    fn kick(&mut self, core: usize) {
        assert_ne!(core, self.index, "a core kicks itself");
        self.shared.lock().unwrap().gic.kicked[core] = true;
    }

    fn kick_others(&mut self) {
        let mut shared = self.shared.lock().unwrap();
        for (core, kicked) in shared.gic.kicked.iter_mut().enumerate() {
            *kicked |= core != self.index;
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
        self.scheduler_is_non_secure.then_some(8)
    }

    fn raise_schedule_receiver(&mut self) {
        self.schedule_receiver += 1;
        if self.scheduler_listens {
            self.pending.push_back(Pending::NonSecure);
        }
    }

    fn signal_event(&mut self) {
        self.events += 1;
    }

    fn prepare_off(&mut self) {
        self.prepared_off += 1;
    }

    fn translate(&self, partition: usize, space: Space, ipa: u64, pages: u32) -> Option<Pa> {
        let bytes = u64::from(pages) * PAGE;
        let run = self.lookup(partition, space, ipa, bytes)?;
        let usable = run.bytes == bytes
            && run.memory == MemoryType::Normal
            && run.permissions.allow(Permissions::READ_WRITE);
        usable.then_some(run.pa)
    }

    fn allows(&self, partition: usize, space: Space, ipa: u64, access: Access) -> bool {
        let shared = self.shared.lock().unwrap();
        shared
            .allowed
            .contains(&(partition, space, ipa & !(PAGE - 1), access))
    }

    fn walk_non_secure(&self, partition: usize, visitor: &mut dyn FnMut(PageRange, Permissions)) {
        let shared = self.shared.lock().unwrap();
        for (range, permissions) in shared.non_secure.get(&partition).into_iter().flatten() {
            visitor(*range, *permissions);
        }
    }

    fn map_mailbox(&mut self, slot: usize, buffers: &MailboxBuffers) -> Result<(), OutOfMemory> {
        let mut shared = self.shared.lock().unwrap();
        shared.table_pages = shared.table_pages.checked_sub(1).ok_or(OutOfMemory)?;
        let stale = vec![0xa5; buffers.rx.bytes()];
        assert!(
            shared.rx.insert(slot, stale).is_none(),
            "slot {slot} is mapped twice"
        );
        shared.tx.insert(slot, vec![0; buffers.tx.bytes()]);
        shared.buffers.insert(slot, buffers.clone());
        Ok(())
    }

    fn unmap_mailbox(&mut self, slot: usize) {
        let mut shared = self.shared.lock().unwrap();
        assert!(
            shared.rx.remove(&slot).is_some(),
            "slot {slot} is not mapped"
        );
        shared.tx.remove(&slot);
        shared.buffers.remove(&slot);
        shared.table_pages += 1;
    }

    fn write_rx(&mut self, slot: usize, offset: usize, bytes: &[u8]) -> Result<(), CopyFault> {
        let mut shared = self.shared.lock().unwrap();
        if shared.broken.contains(&slot) {
            return Err(CopyFault);
        }
        let buffer = shared.rx.get_mut(&slot).ok_or(CopyFault)?;
        buffer
            .get_mut(offset..offset + bytes.len())
            .ok_or(CopyFault)?
            .copy_from_slice(bytes);
        Ok(())
    }

    fn clear_rx(&mut self, slot: usize, offset: usize) -> Result<(), CopyFault> {
        let mut shared = self.shared.lock().unwrap();
        let buffer = shared.rx.get_mut(&slot).ok_or(CopyFault)?;
        buffer.get_mut(offset..).ok_or(CopyFault)?.fill(0);
        Ok(())
    }

    fn read_tx(&mut self, slot: usize, offset: usize, to: &mut [u8]) -> Result<(), CopyFault> {
        let mut shared = self.shared.lock().unwrap();
        if shared.broken.contains(&slot) {
            return Err(CopyFault);
        }
        let rewrite = shared.tx_rewrites.get(&slot).cloned();
        let buffer = shared.tx.get_mut(&slot).ok_or(CopyFault)?;
        let end = offset.checked_add(to.len()).ok_or(CopyFault)?;
        to.copy_from_slice(buffer.get(offset..end).ok_or(CopyFault)?);
        if let Some(bytes) = rewrite {
            buffer[..bytes.len()].copy_from_slice(&bytes);
        }
        Ok(())
    }

    fn take_page(&mut self, account: usize) -> Option<Pa> {
        self.memory(|memory| memory.take_page(account))
    }

    fn give_page(&mut self, page: Pa) {
        self.memory(|memory| memory.give_page(page));
    }

    fn pages_left(&self, account: usize) -> usize {
        self.memory(|memory| memory.pages_left(account))
    }

    fn load_words(&self, page: Pa, index: usize, words: &mut [u64]) {
        self.memory(|memory| memory.load_words(page, index, words));
    }

    fn store_words(&mut self, page: Pa, index: usize, words: &[u64]) {
        self.memory(|memory| memory.store_words(page, index, words));
    }

    fn lookup(&self, partition: usize, space: Space, ipa: u64, bytes: u64) -> Option<Run> {
        self.memory(|memory| memory.lookup(partition, space, ipa, bytes))
    }

    fn gap(&self, partition: usize, space: Space, window: Range<u64>, bytes: u64) -> Option<u64> {
        self.memory(|memory| memory.gap(partition, space, window, bytes))
    }

    fn map_borrowed(
        &mut self,
        partition: usize,
        space: Space,
        ipa: u64,
        range: PageRange,
        attributes: Stage2Attributes,
    ) -> Result<(), FfaError> {
        self.memory(|memory| memory.map_borrowed(partition, space, ipa, range, attributes))
    }

    fn unmap_borrowed(&mut self, partition: usize, space: Space, ipa: u64, bytes: u64) {
        self.memory(|memory| memory.unmap_borrowed(partition, space, ipa, bytes));
    }

    fn suspend(
        &mut self,
        partition: usize,
        space: Space,
        ipa: u64,
        bytes: u64,
    ) -> Result<(), FfaError> {
        self.memory(|memory| memory.suspend(partition, space, ipa, bytes))
    }

    fn resume(&mut self, partition: usize, space: Space, ipa: u64, bytes: u64) {
        self.memory(|memory| memory.resume(partition, space, ipa, bytes));
    }

    fn forget(&mut self, partition: usize, space: Space, ipa: u64, bytes: u64) {
        self.memory(|memory| memory.forget(partition, space, ipa, bytes));
    }

    fn protect(
        &mut self,
        partition: usize,
        address: u64,
        bytes: u64,
        permissions: Permissions,
    ) -> Result<(), FfaError> {
        self.memory(|memory| memory.protect(partition, address, bytes, permissions))
    }

    fn zero(&mut self, space: Space, range: PageRange) -> Result<(), CopyFault> {
        let (zeroed, interrupted) = self.memory(|memory| {
            let interrupted = memory.interrupts != 0;
            memory.interrupts -= usize::from(interrupted);
            (memory.zero(space, range), interrupted)
        });
        self.pending
            .extend(interrupted.then_some(Pending::NonSecure));
        zeroed
    }

    fn read_pages(
        &mut self,
        space: Space,
        range: PageRange,
        offset: usize,
        to: &mut [u8],
    ) -> Result<(), CopyFault> {
        self.memory(|memory| memory.read_pages(space, range, offset, to))
    }

    fn interrupt_is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    fn print(&mut self, line: fmt::Arguments<'_>) {
        self.shared.lock().unwrap().console.push(line.to_string());
    }

    fn forward_smc(&mut self, registers: &mut Registers) {
        let is_ffa = matches!(function::decode(registers.x[0]), Call::Ffa(..));
        let mut shared = self.shared.lock().unwrap();
        match shared.spmd.clone() {
            Some(spmd) if is_ffa => spmd(registers),
            _ if is_ffa => registers.ffa_error(Extended::Preserve, FfaError::NotSupported),
            _ => {
                shared.forwarded.push(registers.x[0]);
                registers.x[0] = 0;
            }
        }
    }

    fn id_register(&self, _: SystemRegister) -> u64 {
        u64::MAX
    }

    fn inject_undefined(&mut self, context: &mut Context) {
        context.undefined += 1;
    }
}
