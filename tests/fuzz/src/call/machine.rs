// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hardware below the core, as plain values: no threads, no time but what the input says.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::rc::Rc;

use bulkhead_abi::Registers;
use bulkhead_core::event::Access;
use bulkhead_core::hardware::{
    Acknowledged, CopyFault, Hardware, OutOfMemory, SystemRegister, VcpuContext,
};
use bulkhead_core::mailbox::MailboxBuffers;
use bulkhead_mm::addr::{Pa, PageRange};
use bulkhead_mm::attrs::{Permissions, Space};

/// How many partitions there are.
pub const PARTITIONS: usize = 4;
/// How many VMs can have mailboxes.
pub const VMS: usize = 2;
/// How many VMs can have notifications, and how many vCPUs each.
pub const VM_BITMAPS: (usize, usize) = (2, 4);
/// How many mailboxes there are: the normal world's, one for each partition, and those of VMs.
pub const SLOTS: usize = 1 + PARTITIONS + VMS;

/// The first byte of the normal world's memory, and its length in bytes.
pub const NORMAL_MEMORY: (u64, u64) = (0x4000_0000, 0x10_0000);

/// Where the memory of each partition is and how long, in bytes; IPA and PA are the same.
pub const IMAGE: [(u64, u64); PARTITIONS] = [
    (0x1010_0000, 0x2_0000),
    (0x1020_0000, 0x2_0000),
    (0x1030_0000, 0x2_0000),
    (0x1040_0000, 0x2_0000),
];

/// The saved state of an execution context.
pub struct Context {
    pub registers: Registers,
    pub pc: u64,
    /// Set by a reset.
    pub fresh: bool,
}

impl Context {
    pub fn new() -> Self {
        Self {
            registers: Registers::ZERO,
            pc: 0,
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
        self.fresh = true;
    }
}

/// A mapped mailbox as S-EL2 sees it.
pub struct Mapped {
    pub buffers: MailboxBuffers,
    pub rx: Vec<u8>,
    pub tx: Vec<u8>,
}

/// What all cores share.
#[derive(Default)]
pub struct Shared {
    /// Mailboxes by slot.
    pub mailboxes: [Option<Mapped>; SLOTS],
    /// The slots whose RX was written since this was last cleared.
    pub written: Vec<usize>,
    /// How many mailboxes may be mapped.
    pub table_pages: usize,
    /// Memory stops to answer.
    pub broken: bool,
}

/// The hardware of a core.
pub struct Machine {
    pub shared: Rc<RefCell<Shared>>,
    pub now: u64,
    pub deadline: Option<u64>,
    pub masked: bool,
    /// Secure interrupts that are raised and not taken.
    pub secure: VecDeque<u32>,
    /// Whether a Group 0 interrupt is raised and not taken.
    pub group0: bool,
}

impl Machine {
    pub fn new(shared: Rc<RefCell<Shared>>) -> Self {
        Self {
            shared,
            now: 0,
            deadline: None,
            masked: false,
            secure: VecDeque::new(),
            group0: false,
        }
    }

    /// Whether the timer has fired.
    pub fn is_due(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= self.now)
    }
}

/// Takes text and forgets it, so that formatting is run too.
struct Nowhere;

impl Write for Nowhere {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        assert!(!text.contains('\x1b'), "an escape on the console");
        Ok(())
    }
}

/// Formats `text`.
pub fn print(text: fmt::Arguments<'_>) {
    Nowhere.write_fmt(text).expect("formatting does not fail");
}

impl Hardware for Machine {
    type Context = Context;

    fn now(&self) -> u64 {
        self.now
    }

    fn ticks_per_second(&self) -> u64 {
        1_000_000
    }

    fn park(&mut self, _: &mut Context) {}

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
        if self.is_due() {
            self.deadline = None;
            return Acknowledged::Deadline;
        }
        match self.secure.pop_front() {
            Some(intid) => Acknowledged::Secure(intid),
            None => Acknowledged::Spurious,
        }
    }

    fn hand_group0_to_el3(&mut self) -> bool {
        std::mem::take(&mut self.group0)
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
        Some(8)
    }

    fn raise_schedule_receiver(&mut self) {}

    fn signal_event(&mut self) {}

    fn prepare_off(&mut self) {}

    fn translate(&self, partition: usize, space: Space, ipa: u64, pages: u32) -> Option<Pa> {
        let (base, length) = *IMAGE.get(partition)?;
        let end = ipa
            .checked_sub(base)?
            .checked_add(u64::from(pages) * 4096)?;
        (space == Space::Secure && end <= length).then_some(Pa(ipa))
    }

    /// What faults is not allowed.
    fn allows(&self, _: usize, _: Space, _: u64, _: Access) -> bool {
        false
    }

    /// Every other page, more of them in each partition: all together take several answers.
    fn walk_non_secure(&self, partition: usize, visitor: &mut dyn FnMut(PageRange, Permissions)) {
        let pages = u64::try_from(partition * 40).expect("small");
        for page in 0..pages {
            let base = Pa(NORMAL_MEMORY.0 + page * 0x2000);
            let range = PageRange::new(base, 0x1000).expect("a page");
            visitor(range, Permissions::READ_WRITE);
        }
    }

    fn map_mailbox(&mut self, slot: usize, buffers: &MailboxBuffers) -> Result<(), OutOfMemory> {
        let mut shared = self.shared.borrow_mut();
        shared.table_pages = shared.table_pages.checked_sub(1).ok_or(OutOfMemory)?;
        assert!(
            !buffers.rx.overlaps(&buffers.tx),
            "RX and TX of slot {slot} overlap"
        );
        let memory = match slot {
            1..=PARTITIONS => IMAGE[slot - 1],
            _ => NORMAL_MEMORY,
        };
        let secure = (1..=PARTITIONS).contains(&slot);
        assert_eq!(buffers.space == Space::Secure, secure, "slot {slot}");
        for run in buffers.rx.runs().chain(buffers.tx.runs()) {
            let first = run.base().0;
            let (base, length) = memory;
            assert!(
                first >= base && first + run.bytes() <= base + length,
                "memory of others"
            );
        }
        let others = shared.mailboxes.iter().flatten();
        for other in others {
            assert!(!other.buffers.overlaps(buffers), "a page in two mailboxes");
        }
        let earlier = shared.mailboxes[slot].replace(Mapped {
            buffers: buffers.clone(),
            rx: vec![0xa5; buffers.rx.bytes()],
            tx: vec![0; buffers.tx.bytes()],
        });
        assert!(earlier.is_none(), "slot {slot} is mapped twice");
        Ok(())
    }

    fn unmap_mailbox(&mut self, slot: usize) {
        let mut shared = self.shared.borrow_mut();
        shared.table_pages += 1;
        let earlier = shared.mailboxes[slot].take();
        assert!(earlier.is_some(), "slot {slot} is not mapped");
    }

    fn write_rx(&mut self, slot: usize, offset: usize, bytes: &[u8]) -> Result<(), CopyFault> {
        let mut shared = self.shared.borrow_mut();
        if shared.broken {
            return Err(CopyFault);
        }
        shared.written.push(slot);
        let buffer = &mut shared.mailboxes[slot].as_mut().expect("a mapped buffer").rx;
        let target = buffer
            .get_mut(offset..)
            .and_then(|rest| rest.get_mut(..bytes.len()));
        target
            .expect("a write within the buffer")
            .copy_from_slice(bytes);
        Ok(())
    }

    fn clear_rx(&mut self, slot: usize, offset: usize) -> Result<(), CopyFault> {
        let mut shared = self.shared.borrow_mut();
        if shared.broken {
            return Err(CopyFault);
        }
        shared.written.push(slot);
        let buffer = &mut shared.mailboxes[slot].as_mut().expect("a mapped buffer").rx;
        buffer
            .get_mut(offset..)
            .expect("an offset within the buffer")
            .fill(0);
        Ok(())
    }

    fn read_tx(&mut self, slot: usize, offset: usize, to: &mut [u8]) -> Result<(), CopyFault> {
        let shared = self.shared.borrow();
        if shared.broken {
            return Err(CopyFault);
        }
        let buffer = &shared.mailboxes[slot].as_ref().expect("a mapped buffer").tx;
        let source = buffer.get(offset..).and_then(|rest| rest.get(..to.len()));
        to.copy_from_slice(source.expect("a read within the buffer"));
        Ok(())
    }

    fn print(&mut self, line: fmt::Arguments<'_>) {
        print(line);
    }

    fn forward_smc(&mut self, registers: &mut Registers) {
        registers.x[0] = 0;
    }

    fn id_register(&self, _: SystemRegister) -> u64 {
        u64::MAX
    }

    fn inject_undefined(&mut self, _: &mut Context) {}
}
