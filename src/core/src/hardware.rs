// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the core asks of the machine, one trait for a core's own hardware and one for the saved
//! state of an execution context.

use core::fmt;

use bulkhead_abi::{FfaError, Registers};
use bulkhead_mm::addr::{Pa, PageRange};
use bulkhead_mm::attrs::{MemoryType, Permissions, Space, Stage2Attributes};

use crate::event::Access;
use crate::mailbox::MailboxBuffers;

/// The machine as one core sees it. A value belongs to its core and is not shared.
pub trait Hardware {
    /// The saved state of an execution context that is not loaded on a core.
    type Context: VcpuContext;

    /// The physical counter, in ticks.
    fn now(&self) -> u64;

    /// The frequency of [`now`](Self::now), in ticks per second.
    fn ticks_per_second(&self) -> u64;

    /// Moves what `context` still has in this core's registers into `context`, so that another
    /// context, the normal world or another core can run. Does nothing if it is not loaded here.
    fn park(&mut self, context: &mut Self::Context);

    /// Lets time pass until the counter has reached `until`, or a secure interrupt is pending; it stays so.
    fn wait_until(&mut self, until: u64);

    /// Arms this core's S-EL2 timer for the counter value `deadline`, or disarms it.
    fn set_deadline(&mut self, deadline: Option<u64>);

    /// Whether non-secure interrupts stay pending while a partition runs, rather than end its run.
    fn mask_non_secure_interrupts(&mut self, mask: bool);

    /// Acknowledges and drops the pending secure interrupt of highest priority.
    fn acknowledge(&mut self) -> Acknowledged;

    /// Lets EL3 handle the pending Group 0 interrupt (FFA_EL3_INTR_HANDLE); `false` if none is
    /// pending (C-01, A-90).
    fn hand_group0_to_el3(&mut self) -> bool;

    /// Keeps a secure interrupt that no partition owns from firing again: disabled, not pending, not active.
    /// A private one (SGI, PPI) on this core.
    fn disable_interrupt(&mut self, intid: u32);

    /// Whether the secure interrupt `intid` of a partition may fire; a private one on the core with index
    /// `core`.
    fn enable_interrupt(&mut self, intid: u32, core: usize, enable: bool);

    /// Ends the activity of an interrupt that the core with index `core` has acknowledged: it may fire again.
    fn deactivate(&mut self, intid: u32, core: usize);

    /// Has the shared interrupt `intid` go to the core with index `core`; `false` if it is not shared, or if
    /// that core has not come on yet.
    fn route_interrupt(&mut self, intid: u32, core: usize) -> bool;

    /// Brings the core with index `core` to S-EL2, which then acknowledges [`Acknowledged::Kick`]. It sees what
    /// this core has written before.
    fn kick(&mut self, core: usize);

    /// [`kick`](Self::kick) for every other core that is on.
    fn kick_others(&mut self);

    /// Whether accesses of partitions to the EL1 virtual timer trap. If so, no context ever has one of its own.
    fn traps_virtual_timer(&self) -> bool;

    /// The counter value at which the EL1 virtual timer of `context`, which runs or last ran on this core,
    /// fires; `None` while it is disabled or masked.
    fn virtual_timer(&self, context: &Self::Context) -> Option<u64>;

    /// Masks the EL1 virtual timer of `context`, which runs or last ran on this core, in CNTV_CTL_EL0.
    fn mask_virtual_timer(&mut self, context: &mut Self::Context);

    /// The running `context`, whose EL1 virtual timer may be masked since it fired, has handled an interrupt: if the
    /// timer is set to a value that its counter has not reached, it is unmasked, as a timer is whose interrupt
    /// nobody had to mask. Nothing to do where accesses trap.
    fn unmask_virtual_timer(&mut self, _: &mut Self::Context) {}

    /// The INTID of the schedule receiver interrupt; `None` where it is not the normal world's.
    fn schedule_receiver_interrupt(&self) -> Option<u32>;

    /// Makes the schedule receiver interrupt pending on this core.
    fn raise_schedule_receiver(&mut self);

    /// Wakes all cores that wait ([`Action::Wait`](crate::Action::Wait)) or are about to.
    fn signal_event(&mut self);

    /// The core goes off after the next call of the SPMD: it must be possible to enter it at its entry
    /// point with the registers that it leaves. Shared interrupts of partitions that go to it go to another core
    /// that is on.
    fn prepare_off(&mut self);

    /// Translates an address of the partition in slot `partition` (its index) through its stage 2
    /// in `space`; the range must be mapped as normal memory, readable and writable, and contiguous.
    fn translate(&self, partition: usize, space: Space, ipa: u64, pages: u32) -> Option<Pa>;

    /// Whether stage 2 of the partition in slot `partition` (its index) allows this access at this
    /// moment.
    fn allows(&self, partition: usize, space: Space, ipa: u64, access: Access) -> bool;

    /// Calls `visitor` for each maximal range of non-secure addresses that stage 2 of the partition in slot
    /// `partition` (its index) maps, in ascending order. IPA = PA there.
    fn walk_non_secure(&self, partition: usize, visitor: &mut dyn FnMut(PageRange, Permissions));

    /// Maps RX and TX buffers at S-EL2 for mailbox `slot`: RX writable, TX readable, never executable.
    ///
    /// # Errors
    /// [`OutOfMemory`] when no page is left for tables; nothing is mapped then.
    fn map_mailbox(&mut self, slot: usize, buffers: &MailboxBuffers) -> Result<(), OutOfMemory>;

    /// Takes the buffers of mailbox `slot` out of S-EL2's map.
    fn unmap_mailbox(&mut self, slot: usize);

    /// Copies `bytes` into the RX buffer of mailbox `slot` at `offset` bytes.
    ///
    /// # Errors
    /// [`CopyFault`] when the memory does not answer or the range is outside of the buffer.
    fn write_rx(&mut self, slot: usize, offset: usize, bytes: &[u8]) -> Result<(), CopyFault>;

    /// Clears the RX buffer of mailbox `slot` from `offset` bytes to its end.
    ///
    /// # Errors
    /// As [`write_rx`](Self::write_rx).
    fn clear_rx(&mut self, slot: usize, offset: usize) -> Result<(), CopyFault>;

    /// Copies from the TX buffer of mailbox `slot` at `offset` bytes. Every byte is read once (M24).
    ///
    /// # Errors
    /// As [`write_rx`](Self::write_rx).
    fn read_tx(&mut self, slot: usize, offset: usize, to: &mut [u8]) -> Result<(), CopyFault>;

    /// A zeroed page for what belongs to `account`: a partition's index, or the one after them all for the
    /// normal world. `None` when its quota is used up.
    fn take_page(&mut self, _account: usize) -> Option<Pa> {
        None
    }

    /// The reverse of [`take_page`](Self::take_page).
    fn give_page(&mut self, _page: Pa) {}

    /// How many pages `account` can still get.
    fn pages_left(&self, _account: usize) -> usize {
        0
    }

    /// Reads words of a page that was taken, from the word `index` on.
    fn load_words(&self, _page: Pa, _index: usize, _words: &mut [u64]) {}

    /// Writes words of a page that was taken, from the word `index` on.
    fn store_words(&mut self, _page: Pa, _index: usize, _words: &[u64]) {}

    /// What stage 2 of the partition in slot `partition` (its index) maps from `ipa` on, as far as it goes on
    /// to consecutive physical addresses with the same attributes, at most `bytes` bytes. `None` if `ipa` is
    /// not mapped, or is suspended.
    fn lookup(&self, _partition: usize, _space: Space, _ipa: u64, _bytes: u64) -> Option<Run> {
        None
    }

    /// The lowest IPA in `window` from which the partition has nothing mapped or suspended for `bytes` bytes;
    /// on a block's boundary if that many make one.
    fn gap(
        &self,
        _partition: usize,
        _space: Space,
        _window: core::ops::Range<u64>,
        _bytes: u64,
    ) -> Option<u64> {
        None
    }

    /// Maps pages of others at `ipa` in the stage 2 of the partition in slot `partition`, so that they can be
    /// unmapped again as they were mapped without a page for tables.
    ///
    /// # Errors
    /// NO_MEMORY, or DENIED when something is mapped there; nothing has changed.
    fn map_borrowed(
        &mut self,
        _partition: usize,
        _space: Space,
        _ipa: u64,
        _range: PageRange,
        _attributes: Stage2Attributes,
    ) -> Result<(), FfaError> {
        Err(FfaError::NoMemory)
    }

    /// Takes away `bytes` bytes that [`map_borrowed`](Self::map_borrowed) mapped, in the same pieces.
    fn unmap_borrowed(&mut self, _partition: usize, _space: Space, _ipa: u64, _bytes: u64) {}

    /// Takes `bytes` bytes from `ipa` on from a partition's stage 2, and keeps their place.
    ///
    /// # Errors
    /// NO_MEMORY when a block cannot be split, DENIED when something is not mapped; nothing has changed.
    fn suspend(
        &mut self,
        _partition: usize,
        _space: Space,
        _ipa: u64,
        _bytes: u64,
    ) -> Result<(), FfaError> {
        Err(FfaError::NoMemory)
    }

    /// Gives back what [`suspend`](Self::suspend) took, as it was.
    fn resume(&mut self, _partition: usize, _space: Space, _ipa: u64, _bytes: u64) {}

    /// Gives the place up that [`suspend`](Self::suspend) kept.
    fn forget(&mut self, _partition: usize, _space: Space, _ipa: u64, _bytes: u64) {}

    /// Lets the partition in slot `partition`, which runs at S-EL0, do no more and no less than `permissions` with
    /// `bytes` bytes of its secure memory from the virtual address `address` on, all of which are mapped.
    ///
    /// # Errors
    /// NO_MEMORY when a block cannot be split; nothing has changed.
    fn protect(
        &mut self,
        _partition: usize,
        _address: u64,
        _bytes: u64,
        _permissions: Permissions,
    ) -> Result<(), FfaError> {
        Err(FfaError::NoMemory)
    }

    /// Zeroes memory, and cleans it to the point of coherency (X5).
    ///
    /// # Errors
    /// [`CopyFault`] when it does not answer.
    fn zero(&mut self, _space: Space, _range: PageRange) -> Result<(), CopyFault> {
        Err(CopyFault)
    }

    /// Copies from `offset` bytes into `range` on, normal memory that is mapped for this only. Every byte is read once.
    ///
    /// # Errors
    /// [`CopyFault`] when it does not answer, or the bytes are not all in the range.
    fn read_pages(
        &mut self,
        _space: Space,
        _range: PageRange,
        _offset: usize,
        _to: &mut [u8],
    ) -> Result<(), CopyFault> {
        Err(CopyFault)
    }

    /// Whether an interrupt is pending for this core, which it takes when it enters a partition.
    fn interrupt_is_pending(&self) -> bool {
        false
    }

    /// Prints a line of a partition on the console.
    fn print(&mut self, line: fmt::Arguments<'_>);

    /// Passes an SMC that the manifest allows to EL3, results in place.
    fn forward_smc(&mut self, registers: &mut Registers);

    /// The value of the ID register `register` as S-EL2 reads it; zero for those it does not know.
    fn id_register(&self, register: SystemRegister) -> u64;

    /// Lets the context that last ran on this core take an Undefined Instruction exception at S-EL1.
    fn inject_undefined(&mut self, context: &mut Self::Context);
}

/// The general-purpose state of an execution context.
pub trait VcpuContext {
    /// x0 to x30.
    fn registers(&self) -> &Registers;
    /// x0 to x30.
    fn registers_mut(&mut self) -> &mut Registers;
    /// The address of the next instruction.
    fn pc(&self) -> u64;
    /// Steps over the trapped instruction (4 bytes), clearing BTYPE and the single-step state
    /// (DECISIONS 5).
    fn skip_instruction(&mut self);
    /// Goes back to the instruction (4 bytes) that the saved PC is after, as after an HVC.
    fn step_back(&mut self);
    /// Brings the context to its state at entry: EL1h, DAIF masked, MMU off, registers zero, next
    /// instruction at `entry` (B-56).
    fn reset(&mut self, entry: u64);
    /// Whether a virtual SError was signalled to it and it has not taken that.
    fn has_serror(&self) -> bool;
    /// What its virtual counter lags behind the physical one (CNTVOFF_EL2), in ticks.
    fn counter_offset(&self) -> u64;
}

/// The result of acknowledging an interrupt at S-EL2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acknowledged {
    /// S-EL2's own timer; it is disarmed.
    Deadline,
    /// Another core has something for this one ([`Hardware::kick`]).
    Kick,
    /// A secure interrupt, still active; the caller disables or hands it on.
    Secure(u32),
    /// Nothing was pending any more (1020–1023).
    Spurious,
}

/// A system register by its encoding in MRS and MSR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SystemRegister {
    /// op0, 2 or 3.
    pub op0: u8,
    /// op1, 0 to 7.
    pub op1: u8,
    /// CRn, 0 to 15.
    pub crn: u8,
    /// CRm, 0 to 15.
    pub crm: u8,
    /// op2, 0 to 7.
    pub op2: u8,
}

impl fmt::Display for SystemRegister {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            op0,
            op1,
            crn,
            crm,
            op2,
        } = self;
        write!(f, "S{op0}_{op1}_C{crn}_C{crm}_{op2}")
    }
}

/// A part of a partition's memory that is mapped to consecutive addresses with the same attributes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// Where it starts.
    pub pa: Pa,
    /// Its length in bytes.
    pub bytes: u64,
    /// Memory or a device.
    pub memory: MemoryType,
    /// What is allowed.
    pub permissions: Permissions,
}

/// No page is left for translation tables or records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory;

/// A copy to or from memory outside of Bulkhead failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CopyFault;
