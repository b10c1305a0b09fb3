// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hardware below the core: real tables and a real pool, mailboxes, and contents of pages. No time passes.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use bulkhead_abi::{FfaError, Registers};
use bulkhead_core::event::Access;
use bulkhead_core::hardware::{
    Acknowledged, CopyFault, Hardware, OutOfMemory, Run, SystemRegister, VcpuContext,
};
use bulkhead_core::mailbox::MailboxBuffers;
use bulkhead_mm::addr::{PAGE_SIZE, Pa, PageRange};
use bulkhead_mm::attrs::{MemoryType, Permissions, Space, Stage2Attributes};
use bulkhead_sim::memory::Memory;

/// The saved state of an execution context.
pub struct Context {
    pub registers: Registers,
    pub pc: u64,
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
        self.pc = self.pc.wrapping_add(4);
    }

    fn step_back(&mut self) {
        self.pc = self.pc.wrapping_sub(4);
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
    }
}

/// The buffers of an endpoint.
pub struct Mailbox {
    pub rx: Vec<u8>,
    pub tx: Vec<u8>,
}

/// What all cores share.
pub struct Shared {
    pub memory: Memory,
    pub mailboxes: Vec<Option<Mailbox>>,
    /// Pages of each account that nobody may have for the moment.
    pub balloon: Vec<Pa>,
    /// An allocation failed since this was cleared.
    pub refused: bool,
    /// The core has asked how many pages there are.
    pub asked: Cell<bool>,
    /// An interrupt comes while S-EL2 zeroes.
    pub interrupts: bool,
}

impl Shared {
    /// Leaves `account` at most `pages` pages, until [`deflate`](Self::deflate).
    pub fn inflate(&mut self, account: usize, pages: usize) {
        while self.memory.pages_left(account) > pages {
            let page = self.memory.take_page(account).expect("there is one");
            self.balloon.push(page);
        }
    }

    /// The reverse of [`inflate`](Self::inflate).
    pub fn deflate(&mut self) {
        while let Some(page) = self.balloon.pop() {
            self.memory.give_page(page);
        }
    }
}

/// The hardware of a core.
#[derive(Clone)]
pub struct Machine(pub Rc<RefCell<Shared>>);

impl Machine {
    fn edit(&self, act: impl FnOnce(&mut Memory) -> Result<(), FfaError>) -> Result<(), FfaError> {
        let mut shared = self.0.borrow_mut();
        let done = act(&mut shared.memory);
        shared.refused |= done == Err(FfaError::NoMemory);
        done
    }

    fn with_buffer<R>(
        &self,
        slot: usize,
        act: impl FnOnce(&mut Mailbox) -> Option<R>,
    ) -> Result<R, CopyFault> {
        let mut shared = self.0.borrow_mut();
        let mailbox = shared.mailboxes[slot].as_mut().expect("a mapped buffer");
        Ok(act(mailbox).expect("a range within the buffer"))
    }
}

impl Hardware for Machine {
    type Context = Context;

    fn now(&self) -> u64 {
        0
    }

    fn ticks_per_second(&self) -> u64 {
        1_000_000
    }

    fn park(&mut self, _: &mut Context) {}

    fn wait_until(&mut self, _: u64) {}

    fn set_deadline(&mut self, _: Option<u64>) {}

    fn mask_non_secure_interrupts(&mut self, _: bool) {}

    fn acknowledge(&mut self) -> Acknowledged {
        Acknowledged::Spurious
    }

    fn hand_group0_to_el3(&mut self) -> bool {
        false
    }

    fn disable_interrupt(&mut self, _: u32) {}

    fn enable_interrupt(&mut self, _: u32, _: usize, _: bool) {}

    fn deactivate(&mut self, _: u32, _: usize) {}

    fn route_interrupt(&mut self, _: u32, _: usize) -> bool {
        true
    }

    fn kick(&mut self, _: usize) {}

    fn kick_others(&mut self) {}

    fn traps_virtual_timer(&self) -> bool {
        false
    }

    fn virtual_timer(&self, _: &Context) -> Option<u64> {
        None
    }

    fn mask_virtual_timer(&mut self, _: &mut Context) {}

    fn schedule_receiver_interrupt(&self) -> Option<u32> {
        None
    }

    fn raise_schedule_receiver(&mut self) {}

    fn signal_event(&mut self) {}

    fn prepare_off(&mut self) {}

    fn translate(&self, partition: usize, space: Space, ipa: u64, pages: u32) -> Option<Pa> {
        let bytes = u64::from(pages) * PAGE_SIZE;
        let run = self.lookup(partition, space, ipa, bytes)?;
        let usable = run.bytes == bytes
            && run.memory == MemoryType::Normal
            && run.permissions.allow(Permissions::READ_WRITE);
        usable.then_some(run.pa)
    }

    fn allows(&self, _: usize, _: Space, _: u64, _: Access) -> bool {
        false
    }

    fn walk_non_secure(&self, _: usize, _: &mut dyn FnMut(PageRange, Permissions)) {}

    fn map_mailbox(&mut self, slot: usize, buffers: &MailboxBuffers) -> Result<(), OutOfMemory> {
        let mailbox = Mailbox {
            rx: vec![0xa5; buffers.rx.bytes()],
            tx: vec![0; buffers.tx.bytes()],
        };
        let earlier = self.0.borrow_mut().mailboxes[slot].replace(mailbox);
        assert!(earlier.is_none(), "slot {slot} is mapped twice");
        Ok(())
    }

    fn unmap_mailbox(&mut self, slot: usize) {
        let earlier = self.0.borrow_mut().mailboxes[slot].take();
        assert!(earlier.is_some(), "slot {slot} is not mapped");
    }

    fn write_rx(&mut self, slot: usize, offset: usize, bytes: &[u8]) -> Result<(), CopyFault> {
        self.with_buffer(slot, |mailbox| {
            let to = mailbox.rx.get_mut(offset..)?.get_mut(..bytes.len())?;
            to.copy_from_slice(bytes);
            Some(())
        })
    }

    fn clear_rx(&mut self, slot: usize, offset: usize) -> Result<(), CopyFault> {
        self.with_buffer(slot, |mailbox| {
            mailbox.rx.get_mut(offset..)?.fill(0);
            Some(())
        })
    }

    fn read_tx(&mut self, slot: usize, offset: usize, to: &mut [u8]) -> Result<(), CopyFault> {
        self.with_buffer(slot, |mailbox| {
            to.copy_from_slice(mailbox.tx.get(offset..)?.get(..to.len())?);
            Some(())
        })
    }

    fn take_page(&mut self, account: usize) -> Option<Pa> {
        let mut shared = self.0.borrow_mut();
        let page = shared.memory.take_page(account);
        shared.refused |= page.is_none();
        page
    }

    fn give_page(&mut self, page: Pa) {
        self.0.borrow_mut().memory.give_page(page);
    }

    fn pages_left(&self, account: usize) -> usize {
        let shared = self.0.borrow();
        shared.asked.set(true);
        shared.memory.pages_left(account)
    }

    fn load_words(&self, page: Pa, index: usize, words: &mut [u64]) {
        self.0.borrow().memory.load_words(page, index, words);
    }

    fn store_words(&mut self, page: Pa, index: usize, words: &[u64]) {
        self.0.borrow_mut().memory.store_words(page, index, words);
    }

    fn lookup(&self, partition: usize, space: Space, ipa: u64, bytes: u64) -> Option<Run> {
        self.0.borrow().memory.lookup(partition, space, ipa, bytes)
    }

    fn gap(&self, partition: usize, space: Space, window: Range<u64>, bytes: u64) -> Option<u64> {
        self.0.borrow().memory.gap(partition, space, window, bytes)
    }

    fn map_borrowed(
        &mut self,
        partition: usize,
        space: Space,
        ipa: u64,
        range: PageRange,
        attributes: Stage2Attributes,
    ) -> Result<(), FfaError> {
        self.edit(|memory| memory.map_borrowed(partition, space, ipa, range, attributes))
    }

    fn unmap_borrowed(&mut self, partition: usize, space: Space, ipa: u64, bytes: u64) {
        let mut shared = self.0.borrow_mut();
        shared.memory.unmap_borrowed(partition, space, ipa, bytes);
    }

    fn suspend(
        &mut self,
        partition: usize,
        space: Space,
        ipa: u64,
        bytes: u64,
    ) -> Result<(), FfaError> {
        self.edit(|memory| memory.suspend(partition, space, ipa, bytes))
    }

    fn resume(&mut self, partition: usize, space: Space, ipa: u64, bytes: u64) {
        let mut shared = self.0.borrow_mut();
        shared.memory.resume(partition, space, ipa, bytes);
    }

    fn forget(&mut self, partition: usize, space: Space, ipa: u64, bytes: u64) {
        let mut shared = self.0.borrow_mut();
        shared.memory.forget(partition, space, ipa, bytes);
    }

    fn zero(&mut self, space: Space, range: PageRange) -> Result<(), CopyFault> {
        self.0.borrow_mut().memory.zero(space, range)
    }

    fn interrupt_is_pending(&self) -> bool {
        self.0.borrow().interrupts
    }

    fn print(&mut self, _: fmt::Arguments<'_>) {}

    fn forward_smc(&mut self, _: &mut Registers) {}

    fn id_register(&self, _: SystemRegister) -> u64 {
        0
    }

    fn inject_undefined(&mut self, _: &mut Context) {}
}
