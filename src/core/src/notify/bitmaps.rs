// SPDX-License-Identifier: MIT OR Apache-2.0
//! The notifications of one endpoint: who may signal which of them, and which are pending.
//!
//! There are no counters: what is pending, and what of it the scheduler has been told, is read off the
//! bitmaps (N8, IR3). Always: reported ⊆ pending ⊆ bound (IR4).

use arrayvec::ArrayVec;
use bulkhead_abi::notification::{Bitmap, InfoLists, Pending, RX_BUFFER_FULL, Scope};
use bulkhead_abi::{EndpointId, FfaError, VcpuIndex, World};

/// What is pending of the notifications in a bitmap.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Bits {
    pending: Bitmap,
    /// What FFA_NOTIFICATION_INFO_GET has told of it.
    reported: Bitmap,
}

impl Bits {
    /// Makes notifications pending; whether one was not before (N8).
    fn set(&mut self, bitmap: Bitmap) -> bool {
        let is_news = !self.pending.contains(bitmap);
        self.pending = self.pending.union(bitmap);
        is_news
    }

    /// Takes what is pending of `wanted`.
    fn take(&mut self, wanted: Bitmap) -> Bitmap {
        let taken = self.pending.intersection(wanted);
        self.pending = self.pending.without(taken);
        self.reported = self.reported.without(taken);
        taken
    }

    fn any(&self) -> bool {
        !self.pending.is_empty()
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
        self.from_partitions.any() || self.from_vms.any()
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
    senders: [EndpointId; Bitmap::COUNT],
    bound: Bitmap,
    /// Those that are bound per vCPU; a subset of `bound`.
    per_vcpu: Bitmap,
}

impl Bindings {
    const NONE: Self = Self {
        senders: [EndpointId(0); Bitmap::COUNT],
        bound: Bitmap::NONE,
        per_vcpu: Bitmap::NONE,
    };

    /// Whether all of `bitmap` is bound to `sender`.
    fn are_of(&self, sender: EndpointId, bitmap: Bitmap) -> bool {
        let mut named = bitmap.members();
        self.bound.contains(bitmap) && named.all(|index| self.senders.get(index) == Some(&sender))
    }
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
        self.global.any() || self.framework.any() || self.vcpus().any(|vcpu| vcpu.any())
    }

    /// Whether anything is pending that `vcpu` would get.
    pub(crate) fn any_for(&self, vcpu: usize) -> bool {
        self.global.any() || self.framework.any() || self.vcpus.get(vcpu).is_some_and(Received::any)
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
        bitmap: Bitmap,
    ) -> Result<(), FfaError> {
        if !self.receives() {
            return Err(FfaError::Denied);
        }
        if scope == Scope::PerVcpu && self.scopes == Scopes::Global {
            return Err(FfaError::InvalidParameters);
        }
        let bindings = self.bindings(sender.world());
        if bindings.bound.meets(bitmap) {
            return Err(FfaError::Denied);
        }
        bindings.bound = bindings.bound.union(bitmap);
        if scope == Scope::PerVcpu {
            bindings.per_vcpu = bindings.per_vcpu.union(bitmap);
        }
        for index in bitmap.members() {
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
    pub(crate) fn unbind(&mut self, sender: EndpointId, bitmap: Bitmap) -> Result<(), FfaError> {
        let world = sender.world();
        let mut pending = self.global.from(world).pending;
        for vcpu in self.vcpus.iter_mut().take(self.vcpu_count) {
            pending = pending.union(vcpu.from(world).pending);
        }
        let bindings = self.bindings(world);
        if !bindings.are_of(sender, bitmap) || pending.meets(bitmap) {
            return Err(FfaError::Denied);
        }
        bindings.bound = bindings.bound.without(bitmap);
        bindings.per_vcpu = bindings.per_vcpu.without(bitmap);
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
        bitmap: Bitmap,
    ) -> Result<bool, FfaError> {
        let world = sender.world();
        let bindings = self.bindings(world);
        if !bindings.are_of(sender, bitmap) {
            return Err(FfaError::Denied);
        }
        let of_the_scope = match vcpu {
            Some(_) => bindings.per_vcpu.contains(bitmap),
            None => !bindings.per_vcpu.meets(bitmap),
        };
        if !of_the_scope {
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
        self.receives() && self.framework.set(Bitmap::first(RX_BUFFER_FULL))
    }

    /// FFA_NOTIFICATION_GET: what is pending for the endpoint and for `vcpu` of what is wanted. It is
    /// not pending any more.
    ///
    /// The bitmap of the hypervisor is its own: it reads zero here.
    ///
    /// # Errors
    /// INVALID_PARAMETERS when there is no such vCPU, or the endpoint receives none.
    pub(crate) fn get(&mut self, vcpu: VcpuIndex, wanted: &Pending) -> Result<Pending, FfaError> {
        self.vcpu(vcpu)?;
        Ok(Pending {
            sp: self.take(vcpu, World::Secure, wanted.sp)?,
            vm: self.take(vcpu, World::Normal, wanted.vm)?,
            spm: self.framework.take(Bitmap::first(wanted.spm)).first_word(),
            hypervisor: 0,
        })
    }

    fn take(&mut self, vcpu: VcpuIndex, sender: World, wanted: Bitmap) -> Result<Bitmap, FfaError> {
        let own = self.vcpu(vcpu)?.from(sender).take(wanted);
        Ok(own.union(self.global.from(sender).take(wanted)))
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
