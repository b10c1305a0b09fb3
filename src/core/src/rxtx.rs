// SPDX-License-Identifier: MIT OR Apache-2.0
//! RX and TX buffers: mapping, unmapping, and who owns RX.

use bulkhead_abi::memory::Constituents;
use bulkhead_abi::rxtx::EndpointBuffers;
use bulkhead_abi::{EndpointId, FfaError, Width};
use bulkhead_mm::addr::{PAGE_SIZE, Pa, PageRange};
use bulkhead_mm::attrs::{MemoryType, Space};
use bulkhead_mm::owner::{Owner, PageState};

use crate::event::Action;
use crate::hardware::Hardware;
use crate::mailbox::{Buffer, MAX_PAGES, Mailbox, MailboxBuffers, RxOwner};
use crate::partition::{Health, Partition};
use crate::share::PageOwners;
use crate::spmc::{CoreState, Spmc};
use crate::sync::{Mutex, MutexGuard};

/// The mailbox slot of the normal world; that of a partition is its index plus one, and those of VMs
/// come after all partitions.
pub(crate) const NORMAL_WORLD_SLOT: usize = 0;
/// [`PAGE_SIZE`] as a length.
const PAGE: usize = 4096;

impl<H: Hardware> Partition<H> {
    /// Takes the buffers of a partition that is over out of S-EL2's map.
    pub(crate) fn release_mailbox(&self, index: usize, owners: &PageOwners, hw: &mut H) {
        let slot = index.saturating_add(1);
        // Without buffers there is nothing to do.
        let _ = unmap(slot, self.owner(), &mut self.mailbox.lock(), owners, hw);
    }

    fn owner(&self) -> Owner {
        Owner::Partition(self.config.id.0)
    }
}

impl<H: Hardware> Spmc<H> {
    /// FFA_RXTX_MAP of the caller's own buffers, or, with both addresses and the count zero, of those
    /// of a VM that a descriptor in the hypervisor's TX buffer names.
    pub(crate) fn rxtx_map(
        &self,
        core: &mut CoreState<H>,
        width: Width,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        let call = core.caller();
        let (tx, rx, count) = (call.arg::<1>(width), call.arg::<2>(width), call.w::<3>());
        match &core.current {
            None if (tx, rx, count) == (0, 0, 0) => self.map_for_vm(hw)?,
            _ if count == 0 || count > u32::from(MAX_PAGES) => {
                return Err(FfaError::InvalidParameters);
            }
            None => {
                let buffers = pair(range(rx, count)?, range(tx, count)?, Space::NonSecure)?;
                self.map_for_normal_world(buffers, hw)?;
            }
            Some(current) => {
                let index = current.vcpu.partition();
                let (rx, tx) = (range(rx, count)?, range(tx, count)?);
                map_for_partition(current.partition, index, rx, tx, &self.owners, hw)?;
            }
        }
        Ok(self.succeed(core, [0; 6]))
    }

    /// The forwarded form: the buffers of a VM as a descriptor in the hypervisor's TX buffer names
    /// them (M19, M20). The descriptor lies in the buffer's first page.
    #[inline(never)]
    fn map_for_vm(&self, hw: &mut H) -> Result<(), FfaError> {
        let mut bytes = [0; PAGE];
        {
            let own = self.normal_world.mailbox.lock();
            if *own == Mailbox::Unmapped {
                return Err(FfaError::InvalidParameters);
            }
            hw.read_tx(NORMAL_WORLD_SLOT, 0, &mut bytes)
                .map_err(|_| FfaError::Aborted)?;
        }
        let descriptor = EndpointBuffers::decode(&bytes, u32::from(MAX_PAGES))?;
        let vm = descriptor.endpoint;
        if vm == EndpointId::NORMAL_WORLD || vm.is_secure() {
            return Err(FfaError::InvalidParameters);
        }
        let buffer = |ranges: Constituents<'_>| {
            Buffer::new(ranges.iter().map(|one| range(one.address, one.page_count)))
        };
        let (rx, tx) = (buffer(descriptor.rx)?, buffer(descriptor.tx)?);
        let buffers = MailboxBuffers::new(rx, tx, Space::NonSecure)?;

        let changes = self.normal_world.changes.lock();
        let (index, place) = self.normal_world.place(vm)?;
        self.normal_world.may_use(&buffers)?;
        place.occupy(vm, self.map_shared(self.vm_slot(index), buffers, hw)?);
        drop(changes);
        Ok(())
    }

    fn map_for_normal_world(&self, buffers: MailboxBuffers, hw: &mut H) -> Result<(), FfaError> {
        let changes = self.normal_world.changes.lock();
        if *self.normal_world.mailbox.lock() != Mailbox::Unmapped {
            return Err(FfaError::Denied);
        }
        self.normal_world.may_use(&buffers)?;
        let mapped = self.map_shared(NORMAL_WORLD_SLOT, buffers, hw)?;
        *self.normal_world.mailbox.lock() = mapped;
        drop(changes);
        Ok(())
    }

    fn map_shared(
        &self,
        slot: usize,
        buffers: MailboxBuffers,
        hw: &mut H,
    ) -> Result<Mailbox, FfaError> {
        map(slot, Owner::NormalWorld, buffers, &self.owners, hw)
    }

    /// FFA_RXTX_UNMAP of the caller's buffers, or of those of a VM.
    pub(crate) fn rxtx_unmap(
        &self,
        core: &mut CoreState<H>,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        let named = core.caller().sender();
        if self.is_caller(core, named) {
            let (slot, mailbox) = self.mailbox(core);
            let owner = match &core.current {
                Some(current) => current.partition.owner(),
                None => Owner::NormalWorld,
            };
            unmap(slot, owner, &mut mailbox.lock(), &self.owners, hw)?;
        } else {
            let (index, mut mailbox) = self.vm_mailbox(core, named)?;
            let slot = self.vm_slot(index);
            unmap(slot, Owner::NormalWorld, &mut mailbox, &self.owners, hw)?;
            if let Some(vm) = self.normal_world.vms.get(index) {
                vm.vacate(&mut mailbox);
            }
        }
        Ok(self.succeed(core, [0; 6]))
    }

    /// FFA_RX_RELEASE of the caller's RX buffer, or of that of a VM (bits 15:0 of w1).
    pub(crate) fn rx_release(&self, core: &mut CoreState<H>) -> Result<Action, FfaError> {
        let named = core.caller().receiver();
        if self.is_caller(core, named) {
            self.mailbox(core).1.lock().release()?;
        } else {
            self.vm_mailbox(core, named)?.1.release()?;
        }
        Ok(self.succeed(core, [0; 6]))
    }

    /// FFA_RX_ACQUIRE of the RX buffer of a VM, by the hypervisor.
    pub(crate) fn rx_acquire(&self, core: &mut CoreState<H>) -> Result<Action, FfaError> {
        let named = core.caller().receiver();
        self.vm_mailbox(core, named)?.1.acquire()?;
        Ok(self.succeed(core, [0; 6]))
    }

    /// The mailbox of the caller, and its slot at S-EL2.
    pub(crate) fn mailbox(&self, core: &CoreState<H>) -> (usize, &Mutex<Mailbox>) {
        match &core.current {
            Some(current) => (
                current.vcpu.partition().saturating_add(1),
                &current.partition.mailbox,
            ),
            None => (NORMAL_WORLD_SLOT, &self.normal_world.mailbox),
        }
    }

    /// The mailbox of a VM that the hypervisor names.
    ///
    /// # Errors
    /// INVALID_PARAMETERS when there is no such VM, or the caller is no hypervisor (M17, M22).
    fn vm_mailbox(
        &self,
        core: &CoreState<H>,
        named: EndpointId,
    ) -> Result<(usize, MutexGuard<'static, Mailbox>), FfaError> {
        let found = match core.current {
            None => self.normal_world.vm(named),
            Some(_) => None,
        };
        found.ok_or(FfaError::InvalidParameters)
    }

    /// The mailbox slot of the VM at `index`.
    pub(crate) fn vm_slot(&self, index: usize) -> usize {
        index
            .saturating_add(self.partitions.len())
            .saturating_add(1)
    }

    /// Whether `named` is the caller; a partition may leave its id out (M17, M18).
    fn is_caller(&self, core: &CoreState<H>, named: EndpointId) -> bool {
        named == self.caller_id(core) || named == EndpointId(0)
    }
}

fn map_for_partition<H: Hardware>(
    partition: &Partition<H>,
    index: usize,
    rx: PageRange,
    tx: PageRange,
    owners: &PageOwners,
    hw: &mut H,
) -> Result<(), FfaError> {
    let mut mailbox = partition.mailbox.lock();
    if partition.health() == Health::Aborted {
        // Another core ended it since this call began, and has taken its buffers out already.
        return Err(FfaError::Aborted);
    }
    if *mailbox != Mailbox::Unmapped {
        return Err(FfaError::Denied);
    }
    // The secure IPAs of a partition: two names for one page would be refused by their addresses.
    let (rx, tx) = (place(index, rx, hw)?, place(index, tx, hw)?);
    let buffers = pair(rx, tx, Space::Secure)?;
    let slot = index.saturating_add(1);
    *mailbox = map(slot, partition.owner(), buffers, owners, hw)?;
    Ok(())
}

/// Maps `buffers`, which must be `owner`'s alone (M9), at S-EL2; the mailbox that they make, RX being
/// Bulkhead's.
fn map<H: Hardware>(
    slot: usize,
    owner: Owner,
    buffers: MailboxBuffers,
    owners: &PageOwners,
    hw: &mut H,
) -> Result<Mailbox, FfaError> {
    let state = PageState::exclusive(owner, buffers.space, MemoryType::Normal);
    owners.take_buffers(buffers.runs(), state, slot)?;
    if hw.map_mailbox(slot, &buffers).is_err() {
        owners.return_buffers(buffers.runs(), state, slot);
        return Err(FfaError::NoMemory);
    }
    Ok(Mailbox::Mapped {
        buffers,
        rx: RxOwner::Producer,
    })
}

fn unmap<H: Hardware>(
    slot: usize,
    owner: Owner,
    mailbox: &mut Mailbox,
    owners: &PageOwners,
    hw: &mut H,
) -> Result<(), FfaError> {
    let buffers = mailbox.buffers().ok_or(FfaError::InvalidParameters)?;
    hw.unmap_mailbox(slot);
    let state = PageState::exclusive(owner, buffers.space, MemoryType::Normal);
    owners.return_buffers(buffers.runs(), state, slot);
    *mailbox = Mailbox::Unmapped;
    Ok(())
}

fn pair(rx: PageRange, tx: PageRange, space: Space) -> Result<MailboxBuffers, FfaError> {
    MailboxBuffers::new(Buffer::new([Ok(rx)])?, Buffer::new([Ok(tx)])?, space)
}

/// Where a buffer of the partition at `index` is, whose addresses are secure IPAs.
///
/// # Errors
/// INVALID_PARAMETERS when it is not in one piece there, or no memory that the partition reads and writes.
pub(crate) fn place<H: Hardware>(
    index: usize,
    buffer: PageRange,
    hw: &H,
) -> Result<PageRange, FfaError> {
    let place = || {
        let pages = u32::try_from(buffer.pages()).ok()?;
        let pa = hw.translate(index, Space::Secure, buffer.base().0, pages)?;
        PageRange::new(pa, buffer.bytes())
    };
    place().ok_or(FfaError::InvalidParameters)
}

/// A buffer as a caller names it.
pub(crate) fn range(address: u64, pages: u32) -> Result<PageRange, FfaError> {
    let bytes = u64::from(pages)
        .checked_mul(PAGE_SIZE)
        .ok_or(FfaError::InvalidParameters)?;
    PageRange::new(Pa(address), bytes).ok_or(FfaError::InvalidParameters)
}
