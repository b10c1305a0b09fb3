// SPDX-License-Identifier: MIT OR Apache-2.0
//! Notifications: FFA_NOTIFICATION_BITMAP_CREATE and _DESTROY, _BIND, _UNBIND, _SET, _GET
//! and _INFO_GET, the second forms of four of them, and the two interrupts that tell of them.
//!
//! The second forms have wider bitmaps and are served from 1.3 on; the first forms know the first 64
//! notifications of the same endpoints.
//!
//! The schedule receiver interrupt (SRI) tells the normal world's scheduler that an endpoint has something
//! pending that FFA_NOTIFICATION_INFO_GET has not reported. It is raised once; the next one comes after the
//! scheduler has asked (N11).
//!
//! The notification pending interrupt (NPI) tells a vCPU of a partition. It is pending from the first
//! notification until the vCPU fetches it, or until FFA_NOTIFICATION_GET leaves nothing that it tells of. A
//! global notification makes it pending on every vCPU. A vCPU that runs on another core at that moment sees
//! it since its core is kicked.

pub mod bitmaps;

use crate::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use bulkhead_abi::notification::{
    self, Binding, BitmapCreate, Get, InfoLists, Pending, ScheduleReceiver, Set,
};
use bulkhead_abi::{EndpointId, FfaError, VcpuIndex, Width, paravirt};

use crate::event::Action;
use crate::hardware::Hardware;
use crate::partition::Partition;
use crate::spmc::{CoreState, Spmc};
use crate::sync::{Mutex, MutexGuard};
use crate::vcpu::{StateName, VcpuRef};
use bitmaps::{Notifications, Received, Scopes};

/// A place for the notifications of a VM, or of the normal world's primary endpoint.
#[derive(Debug)]
pub struct VmNotifications {
    /// [`FREE`](Self::FREE) while nobody has it. Changes only with the lock held.
    id: AtomicU16,
    state: Mutex<Notifications>,
}

impl VmNotifications {
    /// No VM has an id with bit 15 set.
    const FREE: u16 = u16::MAX;

    /// A free place, for at most as many vCPUs as `vcpus` has elements.
    pub fn new(vcpus: &'static mut [Received]) -> Self {
        Self {
            id: AtomicU16::new(Self::FREE),
            state: Mutex::new(Notifications::new(vcpus)),
        }
    }

    fn is_of(&self, id: u16) -> bool {
        self.id.load(Ordering::Relaxed) == id
    }
}

/// The bitmaps of the normal world's endpoints.
#[derive(Debug)]
pub(crate) struct VmBitmaps {
    places: &'static [VmNotifications],
    /// Held while one is created: no VM has two places. Comes before the lock of a place.
    creation: Mutex<()>,
}

impl VmBitmaps {
    pub(crate) fn new(places: &'static [VmNotifications]) -> Self {
        Self {
            places,
            creation: Mutex::new(()),
        }
    }

    /// The notifications of VM `id`, if it has bitmaps.
    pub(crate) fn find(&self, id: EndpointId) -> Option<MutexGuard<'static, Notifications>> {
        if id.is_secure() {
            return None;
        }
        Some(self.place(id.0)?.1)
    }

    fn place(
        &self,
        id: u16,
    ) -> Option<(&'static VmNotifications, MutexGuard<'static, Notifications>)> {
        let place = self.places.iter().find(|place| place.is_of(id))?;
        let state = place.state.lock();
        // It may have gone while the lock was busy.
        place.is_of(id).then_some((place, state))
    }

    fn create(&self, id: EndpointId, vcpu_count: usize) -> Result<(), FfaError> {
        let creation = self.creation.lock();
        if self.find(id).is_some() {
            return Err(FfaError::Denied);
        }
        let free = self.place(VmNotifications::FREE);
        let (place, mut state) = free.ok_or(FfaError::NoMemory)?;
        state.receive(vcpu_count, Scopes::Both)?;
        place.id.store(id.0, Ordering::Relaxed);
        drop((state, creation));
        Ok(())
    }

    fn destroy(&self, id: EndpointId) -> Result<(), FfaError> {
        let (place, mut state) = self.place(id.0).ok_or(FfaError::Denied)?;
        if state.any() {
            return Err(FfaError::Denied);
        }
        state.stop();
        place.id.store(VmNotifications::FREE, Ordering::Relaxed);
        Ok(())
    }
}

/// Whether the scheduler of the normal world has been told that there is something to ask for.
#[derive(Debug, Default)]
pub(crate) struct Scheduler {
    told: AtomicBool,
}

impl Scheduler {
    /// The next notification is told of, whatever was told before.
    pub(crate) fn forget(&self) {
        self.told.store(false, Ordering::SeqCst);
    }

    pub(crate) fn tell<H: Hardware>(&self, hw: &mut H) {
        if !self.told.swap(true, Ordering::SeqCst) {
            hw.raise_schedule_receiver();
        }
    }
}

impl<H: Hardware> Partition<H> {
    /// Makes the NPI pending on `vcpu`, or on all of them.
    fn pend_npi(&self, vcpu: Option<usize>) {
        for (index, slot) in self.vcpus().iter().enumerate() {
            if vcpu.is_none_or(|vcpu| vcpu == index) {
                slot.interrupts.pend(paravirt::INTID_NOTIFICATION_PENDING);
            }
        }
    }

    /// Takes the NPI back where nothing is left that it tells of.
    fn withdraw_npi(&self, left: &Notifications) {
        for (index, slot) in self.vcpus().iter().enumerate() {
            if !left.any_for(index) {
                slot.interrupts
                    .withdraw(paravirt::INTID_NOTIFICATION_PENDING);
            }
        }
    }
}

impl<H: Hardware> Spmc<H> {
    /// FFA_NOTIFICATION_BITMAP_CREATE, of the hypervisor for a VM.
    pub(crate) fn bitmap_create(&self, core: &mut CoreState<H>) -> Result<Action, FfaError> {
        let BitmapCreate { vm, vcpu_count } = BitmapCreate::decode(core.caller());
        let vcpu_count = usize::try_from(vcpu_count).map_err(|_| FfaError::InvalidParameters)?;
        if vm.is_secure() || vcpu_count == 0 {
            return Err(FfaError::InvalidParameters);
        }
        self.normal_world.bitmaps.create(vm, vcpu_count)?;
        // A scheduler that starts may have missed what the one before was told.
        self.scheduler.forget();
        Ok(self.succeed(core, [0; 6]))
    }

    /// FFA_NOTIFICATION_BITMAP_DESTROY. Bindings go with the bitmaps.
    pub(crate) fn bitmap_destroy(&self, core: &mut CoreState<H>) -> Result<Action, FfaError> {
        let vm = notification::bitmap_owner(core.caller());
        if vm.is_secure() {
            return Err(FfaError::InvalidParameters);
        }
        self.normal_world.bitmaps.destroy(vm)?;
        Ok(self.succeed(core, [0; 6]))
    }

    /// FFA_NOTIFICATION_BIND and BIND2.
    pub(crate) fn notification_bind(
        &self,
        core: &mut CoreState<H>,
        binding: Binding,
    ) -> Result<Action, FfaError> {
        let mut receiver = self.binder(core, &binding)?;
        receiver.bind(binding.sender, binding.scope, binding.bitmap)?;
        drop(receiver);
        Ok(self.succeed(core, [0; 6]))
    }

    /// FFA_NOTIFICATION_UNBIND and UNBIND2.
    pub(crate) fn notification_unbind(
        &self,
        core: &mut CoreState<H>,
        binding: Binding,
    ) -> Result<Action, FfaError> {
        let mut receiver = self.binder(core, &binding)?;
        receiver.unbind(binding.sender, binding.bitmap)?;
        drop(receiver);
        Ok(self.succeed(core, [0; 6]))
    }

    /// The notifications of the receiver that a binding names: the calling partition, or a VM that the
    /// hypervisor speaks for, whose sender is a partition then. VMs among themselves are the
    /// hypervisor's.
    ///
    /// # Errors
    /// INVALID_PARAMETERS for other endpoints (N4, N5), DENIED for a VM without bitmaps.
    fn binder(
        &self,
        core: &CoreState<H>,
        binding: &Binding,
    ) -> Result<MutexGuard<'static, Notifications>, FfaError> {
        let Binding {
            sender, receiver, ..
        } = *binding;
        let is_partition = self.find(sender).is_some();
        if sender == receiver || (sender.is_secure() && !is_partition) {
            return Err(FfaError::InvalidParameters);
        }
        match self.running_partition(core) {
            Some(own) if own.config.id == receiver => Ok(own.notifications.lock()),
            None if is_partition && !receiver.is_secure() => self
                .normal_world
                .bitmaps
                .find(receiver)
                .ok_or(FfaError::Denied),
            _ => Err(FfaError::InvalidParameters),
        }
    }

    /// FFA_NOTIFICATION_SET and SET2.
    pub(crate) fn notification_set(
        &self,
        core: &mut CoreState<H>,
        set: Set,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        let from_caller = match self.running_partition(core) {
            Some(own) => set.sender == own.config.id,
            None => {
                !set.sender.is_secure()
                    && set.receiver.is_secure()
                    && set.schedule_receiver == ScheduleReceiver::Now
            }
        };
        if !from_caller || set.sender == set.receiver {
            return Err(FfaError::InvalidParameters);
        }
        let is_news = if set.receiver.is_secure() {
            let (index, receiver) = self.find(set.receiver).ok_or(FfaError::InvalidParameters)?;
            let mut notifications = receiver.notifications.lock();
            let is_news = notifications.set(set.sender, set.vcpu, set.bitmap)?;
            if is_news {
                let vcpu = set.vcpu.map(|vcpu| usize::from(vcpu.0));
                receiver.pend_npi(vcpu);
                drop(notifications);
                // Whoever runs on another core sees it at once.
                let all = 0..receiver.vcpus.len();
                let told = all.filter(|one| vcpu.is_none_or(|vcpu| vcpu == *one));
                for name in told.filter_map(|one| VcpuRef::new(index, one)) {
                    self.tell(core, name, hw);
                }
            }
            is_news
        } else {
            let receiver = self.normal_world.bitmaps.find(set.receiver);
            let mut notifications = receiver.ok_or(FfaError::Denied)?;
            notifications.set(set.sender, set.vcpu, set.bitmap)?
        };
        if is_news {
            self.tell_scheduler(core, set.schedule_receiver, hw);
        }
        Ok(self.succeed(core, [0; 6]))
    }

    /// The framework tells `receiver`, if it receives notifications, that its RX buffer is full;
    /// whether that is news. The caller has the mailbox locked.
    pub(crate) fn rx_is_full(&self, receiver: EndpointId) -> bool {
        let Some((_, partition)) = self.find(receiver) else {
            let receiver = self.normal_world.bitmaps.find(receiver);
            return receiver.is_some_and(|mut notifications| notifications.rx_is_full());
        };
        let mut notifications = partition.notifications.lock();
        let is_news = notifications.rx_is_full();
        if is_news {
            partition.pend_npi(None);
        }
        is_news
    }

    /// FFA_NOTIFICATION_GET.
    pub(crate) fn notification_get(&self, core: &mut CoreState<H>) -> Result<Action, FfaError> {
        let get = Get::decode(core.caller());
        let pending = self.take_pending(core, get, get.wanted(Pending::FIRST))?;
        Ok(self.succeed(core, pending.results()))
    }

    /// FFA_NOTIFICATION_GET2.
    pub(crate) fn notification_get2(&self, core: &mut CoreState<H>) -> Result<Action, FfaError> {
        let get = Get::decode(core.caller());
        let wanted = get.wanted2(core.caller())?;
        let pending = self.take_pending(core, get, wanted)?;
        core.caller().reply_extended(&pending.results2());
        Ok(core.resume())
    }

    /// What is pending of what the receiver wants.
    fn take_pending(
        &self,
        core: &CoreState<H>,
        get: Get,
        wanted: Pending,
    ) -> Result<Pending, FfaError> {
        match self.running_partition(core) {
            Some(own) if own.config.id == get.receiver => {
                let mut notifications = own.notifications.lock();
                let pending = notifications.get(get.vcpu, &wanted)?;
                own.withdraw_npi(&notifications);
                Ok(pending)
            }
            None if !get.receiver.is_secure() => {
                let receiver = self.normal_world.bitmaps.find(get.receiver);
                let mut notifications = receiver.ok_or(FfaError::InvalidParameters)?;
                notifications.get(get.vcpu, &wanted)
            }
            _ => Err(FfaError::InvalidParameters),
        }
    }

    /// FFA_NOTIFICATION_INFO_GET: which endpoints, and which of their vCPUs, have something
    /// pending that the scheduler has not been told of.
    pub(crate) fn notification_info_get(
        &self,
        core: &mut CoreState<H>,
        width: Width,
    ) -> Result<Action, FfaError> {
        let mut lists = InfoLists::new(width);
        // First: what becomes pending behind the search is told of again.
        self.scheduler.forget();
        if self.report_all(&mut lists).is_err() {
            lists.more_pending();
        }
        if lists.is_empty() {
            return Err(FfaError::NoData);
        }
        let extended = self.extended_rule(core);
        core.caller().ffa_success(extended, width, lists.results());
        Ok(core.resume())
    }

    fn report_all(&self, lists: &mut InfoLists) -> Result<(), FfaError> {
        for partition in self.partitions {
            let mut notifications = partition.notifications.lock();
            notifications.report(partition.config.id, lists)?;
            drop(notifications);
            report_interrupts(partition, lists)?;
        }
        for place in self.normal_world.bitmaps.places {
            let mut notifications = place.state.lock();
            let id = EndpointId(place.id.load(Ordering::Relaxed));
            notifications.report(id, lists)?;
        }
        Ok(())
    }

    /// Tells the scheduler of the normal world that there is something new, now or when the caller's core
    /// returns there.
    pub(crate) fn tell_scheduler(
        &self,
        core: &mut CoreState<H>,
        when: ScheduleReceiver,
        hw: &mut H,
    ) {
        match when {
            ScheduleReceiver::Now => self.scheduler.tell(hw),
            ScheduleReceiver::Delayed => core.tells_scheduler = true,
        }
    }

    /// The core returns to the normal world: what was delayed is told.
    #[inline]
    pub(crate) fn tell_what_was_delayed(&self, core: &mut CoreState<H>, hw: &mut H) {
        if core.tells_scheduler {
            core.tells_scheduler = false;
            self.scheduler.tell(hw);
        }
    }
}

/// Adds the contexts of `partition` that are left to the scheduler with an interrupt, and have not been
/// told of.
fn report_interrupts<H: Hardware>(
    partition: &Partition<H>,
    lists: &mut InfoLists,
) -> Result<(), FfaError> {
    for (index, slot) in (0..).zip(partition.vcpus()) {
        // First: whoever leaves it to the scheduler after this is heard by the next call.
        if !slot.interrupts.tell_once() {
            continue;
        }
        // Whoever has handled it since, or will without the scheduler, is not told of.
        if !slot.interrupts.any_pending() && slot.state() != StateName::Preempted {
            continue;
        }
        let own = [VcpuIndex(index)];
        let vcpus = if partition.is_multi_core() {
            &own[..]
        } else {
            &[]
        };
        lists
            .push(partition.config.id, vcpus)
            .inspect_err(|_| slot.interrupts.untell())?;
    }
    Ok(())
}
