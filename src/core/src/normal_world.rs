// SPDX-License-Identifier: MIT OR Apache-2.0
//! The normal world: its primary endpoint, and the VMs that a hypervisor speaks for.

use bulkhead_abi::{EndpointId, FfaError, Version};
use bulkhead_mm::addr::PageRange;

use crate::mailbox::{Mailbox, MailboxBuffers};
use crate::notify::{VmBitmaps, VmNotifications};
use crate::ns_resources::Retrieval;
use crate::sync::atomic::{AtomicU16, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::version::NegotiatedVersion;

/// The state of the normal world.
///
/// Lock order: `changes`, then one mailbox at a time.
pub(crate) struct NormalWorld {
    pub(crate) version: NegotiatedVersion,
    /// The buffers of the primary endpoint: the hypervisor, or the OS where there is none.
    pub(crate) mailbox: Mutex<Mailbox>,
    pub(crate) vms: &'static [Vm],
    pub(crate) memory: &'static [PageRange],
    /// Held while buffers of the normal world are mapped: no page is in two mailboxes, and no VM in
    /// two places.
    pub(crate) changes: Mutex<()>,
    pub(crate) bitmaps: VmBitmaps,
    /// The retrieval of FFA_NS_RES_INFO_GET that is open. Comes before every other lock here.
    pub(crate) retrieval: Mutex<Option<Retrieval>>,
}

/// A place for the mailbox of a VM.
#[derive(Debug, Default)]
pub struct Vm {
    /// 0 while the place is free. Changes only with the mailbox's lock held.
    id: AtomicU16,
    mailbox: Mutex<Mailbox>,
}

impl Vm {
    /// A free place.
    pub const fn new() -> Self {
        Self {
            id: AtomicU16::new(0),
            mailbox: Mutex::new(Mailbox::Unmapped),
        }
    }
}

impl NormalWorld {
    /// Speaks 1.0, the least, until it says otherwise.
    pub(crate) fn new(
        memory: &'static [PageRange],
        vms: &'static [Vm],
        notifications: &'static [VmNotifications],
    ) -> Self {
        Self {
            version: NegotiatedVersion::new(Version::V1_0),
            mailbox: Mutex::new(Mailbox::Unmapped),
            vms,
            memory,
            changes: Mutex::new(()),
            bitmaps: VmBitmaps::new(notifications),
            retrieval: Mutex::new(None),
        }
    }

    /// Whether a buffer of the normal world may lie in `range` (M11, M12).
    pub(crate) fn owns(&self, range: &PageRange) -> bool {
        self.memory
            .iter()
            .any(|memory| memory.contains_range(range))
    }

    /// Calls `visitor` for the buffers of each endpoint that has some.
    pub(crate) fn for_each_mailbox(&self, mut visitor: impl FnMut(&MailboxBuffers)) {
        let vms = self.vms.iter().map(|vm| &vm.mailbox);
        for mailbox in core::iter::once(&self.mailbox).chain(vms) {
            if let Some(buffers) = mailbox.lock().buffers() {
                visitor(buffers);
            }
        }
    }

    /// Whether all of `buffers` is memory of the normal world and in no other mailbox of it. The
    /// caller holds `changes`.
    ///
    /// # Errors
    /// INVALID_PARAMETERS for memory of others (M11, M12), DENIED for pages of another mailbox (M9).
    pub(crate) fn may_use(&self, buffers: &MailboxBuffers) -> Result<(), FfaError> {
        if !(buffers.rx.runs().chain(buffers.tx.runs())).all(|run| self.owns(&run)) {
            return Err(FfaError::InvalidParameters);
        }
        let taken = core::iter::once(&self.mailbox)
            .chain(self.vms.iter().map(|vm| &vm.mailbox))
            .any(|mailbox| {
                let mailbox = mailbox.lock();
                mailbox.buffers().is_some_and(|used| used.overlaps(buffers))
            });
        if taken { Err(FfaError::Denied) } else { Ok(()) }
    }

    /// The mailbox of VM `id`, which has buffers, and the index of its place.
    pub(crate) fn vm(&self, id: EndpointId) -> Option<(usize, MutexGuard<'static, Mailbox>)> {
        if id == EndpointId::NORMAL_WORLD {
            return None;
        }
        let (index, vm) = self.vms.iter().enumerate().find(|(_, vm)| vm.is_of(id))?;
        let mailbox = vm.mailbox.lock();
        // It may have gone while the lock was busy.
        (vm.is_of(id) && *mailbox != Mailbox::Unmapped).then_some((index, mailbox))
    }

    /// A free place for the mailbox of VM `id`. The caller holds `changes`, and either fills it or
    /// leaves it.
    ///
    /// # Errors
    /// DENIED when the VM has buffers already (M6, M13), NO_MEMORY without a place.
    pub(crate) fn place(&self, id: EndpointId) -> Result<(usize, &'static Vm), FfaError> {
        if self.vm(id).is_some() {
            return Err(FfaError::Denied);
        }
        let free = |vm: &Vm| vm.id.load(Ordering::Relaxed) == 0;
        let mut places = self.vms.iter().enumerate();
        places.find(|(_, vm)| free(vm)).ok_or(FfaError::NoMemory)
    }
}

impl Vm {
    /// Whether VM `id` has the place, which it may leave while its mailbox is not locked.
    pub(crate) fn is_of(&self, id: EndpointId) -> bool {
        self.id.load(Ordering::Relaxed) == id.0
    }

    /// The mailbox.
    pub(crate) fn mailbox(&self) -> &Mutex<Mailbox> {
        &self.mailbox
    }

    /// Gives the place to VM `id`.
    pub(crate) fn occupy(&self, id: EndpointId, mailbox: Mailbox) {
        let mut place = self.mailbox.lock();
        *place = mailbox;
        self.id.store(id.0, Ordering::Relaxed);
    }

    /// Frees the place, whose mailbox the caller has locked.
    pub(crate) fn vacate(&self, mailbox: &mut Mailbox) {
        *mailbox = Mailbox::Unmapped;
        self.id.store(0, Ordering::Relaxed);
    }
}
