// SPDX-License-Identifier: MIT OR Apache-2.0
//! The notifications of one endpoint: who may signal which of them, and which are pending.
//!
//! There are no counters: what is pending, and what of it the scheduler has been told, is read off the
//! bitmaps (N8, IR3). Always: reported ⊆ pending ⊆ bound (IR4).

use arrayvec::ArrayVec;
use bulkhead_abi::notification::{Get, InfoLists, Pending, RX_BUFFER_FULL, Scope};
use bulkhead_abi::{EndpointId, FfaError, VcpuIndex, World};

/// Notifications in a bitmap.
const COUNT: usize = 64;

/// What is pending of 64 notifications.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Bits {
    pending: u64,
    /// What FFA_NOTIFICATION_INFO_GET has told of it.
    reported: u64,
}

impl Bits {
    /// Makes notifications pending; whether one was not before (N8).
    fn set(&mut self, bitmap: u64) -> bool {
        let is_news = bitmap & !self.pending != 0;
        self.pending |= bitmap;
        is_news
    }

    fn take(&mut self) -> u64 {
        core::mem::take(self).pending
    }

    /// Whether the scheduler does not know of all.
    fn has_news(&self) -> bool {
        self.pending != self.reported
    }

    fn report(&mut self) {
        self.reported = self.pending;
    }
}

/// What is pending for an endpoint as a whole, or for one of its vCPUs, by the senders' world.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Received {
    from_partitions: Bits,
    from_vms: Bits,
}

impl Received {
    fn from(&mut self, sender: World) -> &mut Bits {
        match sender {
            World::Secure => &mut self.from_partitions,
            World::Normal => &mut self.from_vms,
        }
    }

    fn any(&self) -> bool {
        self.from_partitions.pending | self.from_vms.pending != 0
    }

    fn has_news(&self) -> bool {
        self.from_partitions.has_news() || self.from_vms.has_news()
    }

    fn report(&mut self) {
        self.from_partitions.report();
        self.from_vms.report();
    }
}

/// Who may signal the notifications of a bitmap.
#[derive(Clone, Debug)]
struct Bindings {
    /// The sender of each notification that is bound.
    senders: [EndpointId; COUNT],
    bound: u64,
    /// Those that are bound per vCPU; a subset of `bound`.
    per_vcpu: u64,
}

impl Bindings {
    const NONE: Self = Self {
        senders: [EndpointId(0); COUNT],
        bound: 0,
        per_vcpu: 0,
    };

    /// Whether all of `bitmap` is bound to `sender`.
    fn are_of(&self, sender: EndpointId, bitmap: u64) -> bool {
        let named = members(bitmap).all(|index| self.senders.get(index) == Some(&sender));
        bitmap & !self.bound == 0 && named
    }
}

/// The notifications in a bitmap, by number.
fn members(mut bitmap: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let index = usize::try_from(bitmap.trailing_zeros()).ok()?;
        bitmap &= bitmap.wrapping_sub(1);
        (index < COUNT).then_some(index)
    })
}

/// The notifications of an endpoint. Off until [`receive`](Self::receive).
#[derive(Debug)]
pub struct Notifications {
    /// How many vCPUs the endpoint has; 0 while it receives nothing.
    vcpu_count: usize,
    /// Whether notifications can be for one vCPU: not for a single-core partition, whose vCPU runs on
    /// any core (N7).
    scopes: Scopes,
    partitions: Bindings,
    vms: Bindings,
    global: Received,
    /// Framework notifications of the SPMC.
    framework: Bits,
    vcpus: &'static mut [Received],
}

/// Which scopes the notifications of an endpoint may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scopes {
    /// Global ones only.
    Global,
    /// Per vCPU, too.
    Both,
}

impl Notifications {
    /// Of an endpoint that receives none yet, and has at most as many vCPUs as `vcpus` has elements.
    pub fn new(vcpus: &'static mut [Received]) -> Self {
        Self {
            vcpu_count: 0,
            scopes: Scopes::Global,
            partitions: Bindings::NONE,
            vms: Bindings::NONE,
            global: Received::default(),
            framework: Bits::default(),
            vcpus,
        }
    }

    /// The most vCPUs that the endpoint can have.
    pub(crate) fn most_vcpus(&self) -> usize {
        self.vcpus.len()
    }

    /// From now on the endpoint, which has `vcpu_count` vCPUs, receives notifications.
    ///
    /// # Errors
    /// INVALID_PARAMETERS for no vCPU, or too many (N1).
    pub(crate) fn receive(&mut self, vcpu_count: usize, scopes: Scopes) -> Result<(), FfaError> {
        if vcpu_count == 0 || vcpu_count > self.most_vcpus() {
            return Err(FfaError::InvalidParameters);
        }
        self.vcpu_count = vcpu_count;
        self.scopes = scopes;
        Ok(())
    }

    /// Forgets every binding and what is pending; the endpoint receives nothing more (N12).
    pub(crate) fn stop(&mut self) {
        self.vcpu_count = 0;
        self.partitions = Bindings::NONE;
        self.vms = Bindings::NONE;
        self.global = Received::default();
        self.framework = Bits::default();
        self.vcpus.fill(Received::default());
    }

    /// Whether the endpoint receives notifications.
    pub(crate) fn receives(&self) -> bool {
        self.vcpu_count != 0
    }

    /// Whether anything is pending.
    pub(crate) fn any(&self) -> bool {
        self.global.any() || self.framework.pending != 0 || self.vcpus().any(|vcpu| vcpu.any())
    }

    /// Whether anything is pending that `vcpu` would get.
    pub(crate) fn any_for(&self, vcpu: usize) -> bool {
        self.global.any()
            || self.framework.pending != 0
            || self.vcpus.get(vcpu).is_some_and(Received::any)
    }

    fn vcpus(&self) -> impl Iterator<Item = &Received> {
        self.vcpus.iter().take(self.vcpu_count)
    }

    fn bindings(&mut self, sender: World) -> &mut Bindings {
        match sender {
            World::Secure => &mut self.partitions,
            World::Normal => &mut self.vms,
        }
    }

    /// FFA_NOTIFICATION_BIND.
    ///
    /// # Errors
    /// DENIED when the endpoint receives none, or one is bound already, to whomever (N4);
    /// INVALID_PARAMETERS for a scope that the endpoint has not.
    pub(crate) fn bind(
        &mut self,
        sender: EndpointId,
        scope: Scope,
        bitmap: u64,
    ) -> Result<(), FfaError> {
        if !self.receives() {
            return Err(FfaError::Denied);
        }
        if scope == Scope::PerVcpu && self.scopes == Scopes::Global {
            return Err(FfaError::InvalidParameters);
        }
        let bindings = self.bindings(sender.world());
        if bindings.bound & bitmap != 0 {
            return Err(FfaError::Denied);
        }
        bindings.bound |= bitmap;
        if scope == Scope::PerVcpu {
            bindings.per_vcpu |= bitmap;
        }
        for index in members(bitmap) {
            if let Some(place) = bindings.senders.get_mut(index) {
                *place = sender;
            }
        }
        Ok(())
    }

    /// FFA_NOTIFICATION_UNBIND.
    ///
    /// # Errors
    /// DENIED when one is not bound to `sender`, or is pending (N6).
    pub(crate) fn unbind(&mut self, sender: EndpointId, bitmap: u64) -> Result<(), FfaError> {
        let world = sender.world();
        let mut pending = self.global.from(world).pending;
        for vcpu in self.vcpus.iter_mut().take(self.vcpu_count) {
            pending |= vcpu.from(world).pending;
        }
        let bindings = self.bindings(world);
        if !bindings.are_of(sender, bitmap) || pending & bitmap != 0 {
            return Err(FfaError::Denied);
        }
        bindings.bound &= !bitmap;
        bindings.per_vcpu &= !bitmap;
        Ok(())
    }

    /// FFA_NOTIFICATION_SET; whether one was not pending before.
    ///
    /// # Errors
    /// DENIED when one is not bound to `sender`; INVALID_PARAMETERS when one was bound with another
    /// scope, or there is no such vCPU (N7).
    pub(crate) fn set(
        &mut self,
        sender: EndpointId,
        vcpu: Option<VcpuIndex>,
        bitmap: u64,
    ) -> Result<bool, FfaError> {
        let world = sender.world();
        let bindings = self.bindings(world);
        if !bindings.are_of(sender, bitmap) {
            return Err(FfaError::Denied);
        }
        let of_the_scope = match vcpu {
            Some(_) => bindings.per_vcpu,
            None => !bindings.per_vcpu,
        };
        if bitmap & !of_the_scope != 0 {
            return Err(FfaError::InvalidParameters);
        }
        let received = match vcpu {
            Some(vcpu) => self.vcpu(vcpu)?,
            None => &mut self.global,
        };
        Ok(received.from(world).set(bitmap))
    }

    fn vcpu(&mut self, vcpu: VcpuIndex) -> Result<&mut Received, FfaError> {
        let own = self.vcpus.get_mut(..self.vcpu_count).unwrap_or_default();
        own.get_mut(usize::from(vcpu.0))
            .ok_or(FfaError::InvalidParameters)
    }

    /// Makes the framework notification "RX full" pending; whether it was not before, and can be.
    pub(crate) fn rx_is_full(&mut self) -> bool {
        self.receives() && self.framework.set(u64::from(RX_BUFFER_FULL))
    }

    /// FFA_NOTIFICATION_GET: what is pending for the endpoint and for `vcpu` in the bitmaps that
    /// `flags` names. It is not pending any more.
    ///
    /// The bitmap of the hypervisor is its own: it reads zero here.
    ///
    /// # Errors
    /// INVALID_PARAMETERS when there is no such vCPU, or the endpoint receives none.
    pub(crate) fn get(&mut self, vcpu: VcpuIndex, flags: u32) -> Result<Pending, FfaError> {
        self.vcpu(vcpu)?;
        let mut pending = Pending::default();
        if flags & Get::SP != 0 {
            pending.sp = self.take(vcpu, World::Secure)?;
        }
        if flags & Get::VM != 0 {
            pending.vm = self.take(vcpu, World::Normal)?;
        }
        if flags & Get::SPM != 0 {
            pending.spm = u32::try_from(self.framework.take()).unwrap_or(0);
        }
        Ok(pending)
    }

    fn take(&mut self, vcpu: VcpuIndex, sender: World) -> Result<u64, FfaError> {
        let own = self.vcpu(vcpu)?.from(sender).take();
        Ok(own | self.global.from(sender).take())
    }

    /// FFA_NOTIFICATION_INFO_GET: adds what the scheduler has not been told of endpoint `id`. What
    /// is pending for the whole endpoint is a list without vCPUs.
    ///
    /// # Errors
    /// NO_MEMORY when not all of it fits; what was added is not told again (N10).
    pub(crate) fn report(&mut self, id: EndpointId, lists: &mut InfoLists) -> Result<(), FfaError> {
        if self.global.has_news() || self.framework.has_news() {
            lists.push(id, &[])?;
            self.global.report();
            self.framework.report();
        }
        loop {
            let mut untold = ArrayVec::<VcpuIndex, { InfoLists::MAXIMUM_VCPUS }>::new();
            let news = (0..).zip(self.vcpus()).filter(|(_, vcpu)| vcpu.has_news());
            untold.extend(
                news.map(|(index, _)| VcpuIndex(index))
                    .take(InfoLists::MAXIMUM_VCPUS),
            );
            if untold.is_empty() {
                return Ok(());
            }
            lists.push(id, &untold)?;
            for vcpu in untold {
                self.vcpu(vcpu)?.report();
            }
        }
    }
}
