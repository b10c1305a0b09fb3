// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine as the core sees it: [`Hardware`] on top of the aarch64 layer, one value for each core.

use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};

use bulkhead_abi::{FfaError, Function, Registers, Width};
use bulkhead_arch::context::Context;
use bulkhead_arch::features::Features;
use bulkhead_arch::gicv3::{self, Interface, Redistributor, SCHEDULE_RECEIVER};
use bulkhead_arch::mmio::Frame;
use bulkhead_arch::switch::Cpu;
use bulkhead_arch::wait::Pending;
use bulkhead_arch::{conduit, entry, id_registers, timer, wait};
use bulkhead_core::event::Access;
use bulkhead_core::hardware::{
    Acknowledged, CopyFault, Hardware, OutOfMemory, Run, SystemRegister,
};
use bulkhead_core::mailbox::MailboxBuffers;
use bulkhead_core::sync::relax;
use bulkhead_mm::MapError;
use bulkhead_mm::addr::{Pa, PageRange};
use bulkhead_mm::attrs::{Permissions, Space, Stage2Attributes};

use crate::console;
use crate::interrupts::Interrupts;
use crate::memory::{Memory, Window, account};
use crate::space::AddressSpace;

/// What all cores share of the machine.
#[derive(Debug)]
pub struct Shared {
    /// What the cores have.
    pub features: Features,
    /// Translation tables.
    pub memory: Memory,
    /// The partitions' addresses, by index of the partition.
    pub spaces: &'static [AddressSpace],
    /// The buffers that are mapped, by mailbox slot: the normal world's, then those of partitions, then
    /// those of VMs.
    pub buffers: &'static [BufferSizes],
    /// The interrupt controller.
    pub interrupts: Interrupts,
}

/// The sizes in bytes of the buffers of a mailbox; zero while it is not mapped.
#[derive(Debug, Default)]
pub struct BufferSizes {
    rx: AtomicUsize,
    tx: AtomicUsize,
}

impl BufferSizes {
    fn store(&self, rx: usize, tx: usize) {
        self.rx.store(rx, Ordering::Relaxed);
        self.tx.store(tx, Ordering::Relaxed);
    }
}

impl Shared {
    fn rx_size(&self, slot: usize) -> usize {
        let sizes = self.buffers.get(slot);
        sizes.map_or(0, |sizes| sizes.rx.load(Ordering::Relaxed))
    }

    fn tx_size(&self, slot: usize) -> usize {
        let sizes = self.buffers.get(slot);
        sizes.map_or(0, |sizes| sizes.tx.load(Ordering::Relaxed))
    }
}

/// A core's own machine.
#[derive(Debug)]
pub struct Machine {
    /// The way in and out of lower levels.
    pub cpu: Cpu,
    shared: &'static Shared,
    /// The index of the core.
    core: usize,
}

impl Machine {
    /// Takes over the calling core, which has the index `core` and the redistributor `redistributor`. `vectors` has
    /// [`vector_state_size`](bulkhead_arch::fp::vector_state_size) bytes.
    pub fn new(
        shared: &'static Shared,
        core: usize,
        redistributor: Redistributor<Frame>,
        vectors: &'static mut [u8],
    ) -> Self {
        let interface = Interface::set_up(redistributor);
        timer::set_deadline(None);
        Self {
            cpu: Cpu::new(shared.features, interface, vectors, shared.memory.empty.0),
            shared,
            core,
        }
    }
}

impl Machine {
    fn space(&self, partition: usize) -> Result<&'static AddressSpace, FfaError> {
        let spaces: &'static [AddressSpace] = self.shared.spaces;
        spaces.get(partition).ok_or(FfaError::InvalidParameters)
    }
}

/// What a caller is told of an edit that was refused.
fn refusal(error: MapError) -> FfaError {
    match error {
        MapError::NoMemory => FfaError::NoMemory,
        _ => FfaError::Denied,
    }
}

impl Hardware for Machine {
    type Context = Context;

    #[inline]
    fn now(&self) -> u64 {
        timer::now()
    }

    #[inline]
    fn ticks_per_second(&self) -> u64 {
        timer::ticks_per_second()
    }

    #[inline]
    fn park(&mut self, context: &mut Context) {
        self.cpu.park(context);
    }

    fn wait_until(&mut self, until: u64) {
        while timer::now() < until && wait::pending() != Pending::Irq {
            relax();
        }
    }

    #[inline]
    fn set_deadline(&mut self, deadline: Option<u64>) {
        timer::set_deadline(deadline);
    }

    #[inline]
    fn mask_non_secure_interrupts(&mut self, mask: bool) {
        self.cpu.mask_non_secure_interrupts(mask);
    }

    fn acknowledge(&mut self) -> Acknowledged {
        match self.cpu.interface.acknowledge() {
            Some(gicv3::TIMER) => {
                timer::set_deadline(None);
                self.cpu.interface.deactivate_own(gicv3::TIMER);
                Acknowledged::Deadline
            }
            Some(gicv3::KICK) => {
                self.cpu.interface.deactivate_own(gicv3::KICK);
                Acknowledged::Kick
            }
            Some(intid) => Acknowledged::Secure(intid),
            None => Acknowledged::Spurious,
        }
    }

    fn hand_group0_to_el3(&mut self) -> bool {
        if !self.shared.features.sees_group0 || !self.cpu.interface.group0_is_pending() {
            return false;
        }
        let mut registers = Registers::ZERO;
        registers.x[0] = Function::El3IntrHandle.id(Width::W32);
        conduit::smc(&mut registers);
        true
    }

    fn disable_interrupt(&mut self, intid: u32) {
        self.shared.interrupts.disable(intid, self.core);
    }

    fn enable_interrupt(&mut self, intid: u32, core: usize, enable: bool) {
        self.shared.interrupts.enable(intid, core, enable);
    }

    fn deactivate(&mut self, intid: u32, core: usize) {
        self.shared.interrupts.deactivate(intid, core);
    }

    fn route_interrupt(&mut self, intid: u32, core: usize) -> bool {
        self.shared.interrupts.route(intid, core)
    }

    fn kick(&mut self, core: usize) {
        self.shared.interrupts.kick(core);
    }

    fn kick_others(&mut self) {
        self.shared.interrupts.kick_others(self.core);
    }

    #[inline]
    fn traps_virtual_timer(&self) -> bool {
        self.shared.features.ecv
    }

    #[inline]
    fn virtual_timer(&self, context: &Context) -> Option<u64> {
        self.cpu.virtual_timer(context)
    }

    fn mask_virtual_timer(&mut self, context: &mut Context) {
        self.cpu.mask_virtual_timer(context);
    }

    fn unmask_virtual_timer(&mut self, context: &mut Context) {
        self.cpu.unmask_virtual_timer(context);
    }

    fn schedule_receiver_interrupt(&self) -> Option<u32> {
        let interface = &self.cpu.interface;
        interface
            .scheduler_is_non_secure()
            .then_some(SCHEDULE_RECEIVER)
    }

    fn raise_schedule_receiver(&mut self) {
        self.cpu.interface.raise_schedule_receiver();
    }

    fn signal_event(&mut self) {
        wait::signal();
    }

    fn prepare_off(&mut self) {
        self.shared.interrupts.core_off(self.core);
        entry::open_identity_map();
    }

    fn translate(&self, partition: usize, space: Space, ipa: u64, pages: u32) -> Option<Pa> {
        let addresses = self.shared.spaces.get(partition)?;
        addresses.translate(&self.shared.memory, space, ipa, pages)
    }

    fn allows(&self, partition: usize, space: Space, ipa: u64, access: Access) -> bool {
        let addresses = self.shared.spaces.get(partition);
        addresses.is_some_and(|addresses| addresses.allows(&self.shared.memory, space, ipa, access))
    }

    fn walk_non_secure(&self, partition: usize, visitor: &mut dyn FnMut(PageRange, Permissions)) {
        if let Some(addresses) = self.shared.spaces.get(partition) {
            addresses.walk_non_secure(&self.shared.memory, visitor);
        }
    }

    fn map_mailbox(&mut self, slot: usize, buffers: &MailboxBuffers) -> Result<(), OutOfMemory> {
        let sizes = self.shared.buffers.get(slot).ok_or(OutOfMemory)?;
        self.shared.memory.map_mailbox(slot, buffers)?;
        sizes.store(buffers.rx.bytes(), buffers.tx.bytes());
        Ok(())
    }

    fn unmap_mailbox(&mut self, slot: usize) {
        let (rx, tx) = (self.shared.rx_size(slot), self.shared.tx_size(slot));
        if let (Some(sizes), true) = (self.shared.buffers.get(slot), rx != 0) {
            sizes.store(0, 0);
            self.shared.memory.unmap_mailbox(slot, rx, tx);
        }
    }

    fn write_rx(&mut self, slot: usize, offset: usize, bytes: &[u8]) -> Result<(), CopyFault> {
        let size = self.shared.rx_size(slot);
        self.shared.memory.write_rx(slot, size, offset, bytes)
    }

    fn clear_rx(&mut self, slot: usize, offset: usize) -> Result<(), CopyFault> {
        let size = self.shared.rx_size(slot);
        self.shared.memory.clear_rx(slot, size, offset)
    }

    fn read_tx(&mut self, slot: usize, offset: usize, to: &mut [u8]) -> Result<(), CopyFault> {
        let size = self.shared.tx_size(slot);
        self.shared.memory.read_tx(slot, size, offset, to)
    }

    fn take_page(&mut self, number: usize) -> Option<Pa> {
        self.shared.memory.take_page(account(number)?)
    }

    fn give_page(&mut self, page: Pa) {
        self.shared.memory.give_page(page);
    }

    fn pages_left(&self, number: usize) -> usize {
        account(number).map_or(0, |account| self.shared.memory.pages_left(account))
    }

    fn load_words(&self, page: Pa, index: usize, words: &mut [u64]) {
        self.shared.memory.load_words(page, index, words);
    }

    fn store_words(&mut self, page: Pa, index: usize, words: &[u64]) {
        self.shared.memory.store_words(page, index, words);
    }

    fn lookup(&self, partition: usize, space: Space, ipa: u64, bytes: u64) -> Option<Run> {
        let addresses = self.shared.spaces.get(partition)?;
        addresses.lookup(&self.shared.memory, space, ipa, bytes)
    }

    fn gap(
        &self,
        partition: usize,
        space: Space,
        window: core::ops::Range<u64>,
        bytes: u64,
    ) -> Option<u64> {
        let addresses = self.shared.spaces.get(partition)?;
        addresses.gap(&self.shared.memory, space, window, bytes)
    }

    fn map_borrowed(
        &mut self,
        partition: usize,
        space: Space,
        ipa: u64,
        range: PageRange,
        attributes: Stage2Attributes,
    ) -> Result<(), FfaError> {
        let addresses = self.space(partition)?;
        let mapped = addresses.map_borrowed(&self.shared.memory, space, ipa, range, attributes);
        mapped.map_err(refusal)
    }

    fn unmap_borrowed(&mut self, partition: usize, space: Space, ipa: u64, bytes: u64) {
        if let Ok(addresses) = self.space(partition) {
            addresses.unmap_borrowed(&self.shared.memory, space, ipa, bytes);
        }
    }

    fn suspend(
        &mut self,
        partition: usize,
        space: Space,
        ipa: u64,
        bytes: u64,
    ) -> Result<(), FfaError> {
        let addresses = self.space(partition)?;
        let suspended = addresses.suspend(&self.shared.memory, space, ipa, bytes);
        suspended.map_err(refusal)
    }

    fn resume(&mut self, partition: usize, space: Space, ipa: u64, bytes: u64) {
        if let Ok(addresses) = self.space(partition) {
            addresses.resume(&self.shared.memory, space, ipa, bytes);
        }
    }

    fn forget(&mut self, partition: usize, space: Space, ipa: u64, bytes: u64) {
        if let Ok(addresses) = self.space(partition) {
            addresses.forget(&self.shared.memory, space, ipa, bytes);
        }
    }

    fn protect(
        &mut self,
        partition: usize,
        address: u64,
        bytes: u64,
        permissions: Permissions,
    ) -> Result<(), FfaError> {
        let addresses = self.space(partition)?;
        let changed = addresses.protect(&self.shared.memory, address, bytes, permissions);
        changed.map_err(refusal)
    }

    fn zero(&mut self, space: Space, range: PageRange) -> Result<(), CopyFault> {
        let memory = &self.shared.memory;
        let zeroed = memory.window(
            self.core,
            space,
            range,
            Permissions::READ_WRITE,
            Window::zero,
        );
        zeroed.map_err(|_| CopyFault)?
    }

    fn read_pages(
        &mut self,
        space: Space,
        range: PageRange,
        offset: usize,
        to: &mut [u8],
    ) -> Result<(), CopyFault> {
        let read =
            self.shared
                .memory
                .window(self.core, space, range, Permissions::READ_ONLY, |window| {
                    window.read(offset, to)
                });
        read.map_err(|_| CopyFault)?
    }

    fn interrupt_is_pending(&self) -> bool {
        wait::pending() != Pending::None
    }

    fn print(&mut self, line: fmt::Arguments<'_>) {
        console::print(line);
    }

    #[inline]
    fn forward_smc(&mut self, registers: &mut Registers) {
        conduit::smc(registers);
    }

    fn id_register(&self, register: SystemRegister) -> u64 {
        id_registers::read(register) & !self.shared.features.hidden_fields(register)
    }

    fn inject_undefined(&mut self, context: &mut Context) {
        self.cpu.inject_undefined(context);
    }
}
