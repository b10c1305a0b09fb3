// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests that wait for a busy partition (E-16), for single-core partitions whose manifest asks for it
//! with `bulkhead,request-queue = <N>`.
//!
//! Without it, a direct request to a partition that another core runs ends with BUSY. With it, up to N
//! requests of the normal world, one of each core, wait in the order in which they came.
//!
//! - **Who waits.** The normal world only. A partition that waited would hold its own callers, and two that
//!   wait for each other would never end; a partition gets BUSY as before. So does a logical partition of the
//!   SPMD, whose request cannot be interrupted. Since who waits holds nothing, no circle can form. A core does not wait for a chain that only it can resume, either: BUSY.
//! - **How.** The core has nothing to run: [`Action::Wait`]. It sleeps until another core signals an event or
//!   an interrupt is pending, and comes back with [`Event::Woken`]. No lock is held meanwhile.
//! - **Interrupts.** A non-secure interrupt ends the call with FFA_INTERRUPT, as it ends one that runs, and
//!   FFA_RUN of the partition on the same core goes on with the wait. The request and its place in the order
//!   are kept, but nobody waits for a core that is away: the partition goes to the first that is there.
//!   While a core has a place, its other requests to the partition are BUSY, so that FFA_RUN has one meaning.
//! - **Time.** A chain that was preempted is the normal world's to resume, and it may not do so while this core
//!   waits. So a wait lasts for the run timeout for each request before it, and ends with BUSY.
//! - **The turn.** Whoever ends a request hands the partition's context to the first core that waits; it is
//!   never free in between, so that no newcomer overtakes. All of that happens under the queue's lock.
//! - **The end.** When the partition ends, each that waits is told ABORTED, at once or by its FFA_RUN. When a
//!   core goes off, whichever core next runs the partition by FFA_RUN takes its place over; a newcomer that
//!   finds the queue full drops it.
//!
//! Lock order: queue, then execution context.

use bulkhead_abi::function::{self, Call};
use bulkhead_abi::registers::Extended;
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Width};

use crate::direct::{deliver, is_in_chain};
use crate::event::{Action, Woken};
use crate::framework;
use crate::hardware::{Hardware, VcpuContext};
use crate::partition::{Health, Partition};
use crate::runtime_model::{DirectForm, RuntimeModel};
use crate::spmc::{CoreState, Current, Spmc, deadline, extended_rule};
use crate::sync::{Mutex, MutexGuard};
use crate::vcpu::{
    ANY_CORE, Activation, Context, Initiator, NonSecureInterrupts, Vcpu, VcpuRef, VcpuState,
};

/// A request in a queue.
#[derive(Clone, Debug)]
pub struct Place {
    /// The core that it was made on; [`ANY_CORE`] when that went off.
    core: usize,
    /// Whether the core waits; otherwise it was interrupted.
    present: bool,
    /// The counter value until which the core waits.
    until: u64,
    /// The registers that the call was made with.
    request: Registers,
}

/// The queue of a partition.
pub struct Queue<H: Hardware + 'static>(Mutex<Places<H>>);

pub(crate) struct Places<H: Hardware + 'static> {
    /// The first come first; what is empty is at the end.
    places: &'static mut [Option<Place>],
    /// The partition's context, and the request that it is for: its core has not seen it yet.
    handed: Option<(Context<H>, Place)>,
}

impl<H: Hardware> Queue<H> {
    /// An empty queue with room for as many requests as `places` has elements.
    pub fn new(places: &'static mut [Option<Place>]) -> Self {
        places.fill(None);
        Self(Mutex::new(Places {
            places,
            handed: None,
        }))
    }

    /// How many requests are in it.
    pub fn length(&self) -> usize {
        self.0.lock().places.iter().flatten().count()
    }

    /// Keeps newcomers off until the guard is dropped.
    #[cold]
    #[inline(never)]
    pub(crate) fn lock(&self) -> MutexGuard<'_, Places<H>> {
        self.0.lock()
    }

    /// A core goes off: the request that it left here is for any core to go on with.
    pub(crate) fn core_off(&self, core: usize) {
        if let Some(place) = self.0.lock().of(core) {
            place.core = ANY_CORE;
        }
    }
}

impl<H: Hardware> Places<H> {
    fn of(&mut self, core: usize) -> Option<&mut Place> {
        let mut places = self.places.iter_mut().flatten();
        places.find(|place| place.core == core)
    }

    /// Takes the request of `core` out; those behind it move up.
    fn remove(&mut self, core: usize) -> Option<Place> {
        let is_it = |place: &Option<Place>| place.as_ref().is_some_and(|place| place.core == core);
        let position = self.places.iter().position(is_it)?;
        let behind = self.places.get_mut(position..)?;
        let removed = behind.first_mut()?.take();
        behind.rotate_left(1);
        removed
    }

    /// Puts a request at the end; one that no core came back for gives way.
    fn push(&mut self, place: Place) -> Result<(), FfaError> {
        if self.places.last().is_some_and(Option::is_some) {
            self.remove(ANY_CORE);
        }
        let mut places = self.places.iter_mut();
        let free = places.find(|place| place.is_none()).ok_or(FfaError::Busy)?;
        *free = Some(place);
        Ok(())
    }

    /// The first core that waits.
    pub(crate) fn first(&self) -> Option<usize> {
        let mut places = self.places.iter().flatten();
        places.find(|place| place.present).map(|place| place.core)
    }

    /// What `core` waits for: the context, and the request that it has for it.
    fn turn(&mut self, core: usize) -> Option<(Context<H>, Place)> {
        self.handed.take_if(|(_, place)| place.core == core)
    }
}

impl<H: Hardware> Spmc<H> {
    /// A direct request whose checks are done, to a partition with a queue or of a framework message.
    ///
    /// # Errors
    /// Those of a request to a partition that does not wait; with a queue BUSY only for who may not wait,
    /// when it is full, and when the core has a request in it.
    #[cold]
    #[inline(never)]
    pub(crate) fn uncommon_request(
        &self,
        core: &mut CoreState<H>,
        target: VcpuRef,
        form: DirectForm,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        let partition = self.partition(target).ok_or(FfaError::Busy)?;
        let slot = partition.vcpus.get(target.vcpu()).ok_or(FfaError::Busy)?;
        let request = core.caller().clone();
        let mut queue = partition.queue.as_ref().map(|queue| queue.0.lock());
        let has_place = |queue: &mut Places<H>| queue.of(core.index).is_some();
        if queue.as_deref_mut().is_some_and(has_place) {
            return Err(FfaError::Busy);
        }
        let claimed = slot.claim(core.index, |state| match state {
            VcpuState::Waiting(_) => self.may_transition(core, form.request_transition()),
            VcpuState::Aborted(_) => Err(FfaError::Aborted),
            _ => Err(FfaError::Busy),
        });
        match (claimed, &mut queue) {
            (Ok(VcpuState::Waiting(context)), _) => {
                drop(queue);
                let initiator = (self.inherited(core), self.block(core, target, hw));
                Ok(self.begin(core, partition, target, context, &request, initiator, hw))
            }
            (Ok(other), _) => {
                // Excluded by the claim.
                slot.rest(other);
                Err(FfaError::Busy)
            }
            (Err(FfaError::Busy), _)
                if self.is_ancestor(core, target) || (core.schedules() && is_in_chain(slot)) =>
            {
                Err(FfaError::Denied)
            }
            (Err(FfaError::Busy), Some(queue))
                if core.current.is_none()
                    && !self.serves_logical(core)
                    && self.will_be_free(core, target) =>
            {
                let until = self.wait_ends(queue, hw);
                queue.push(Place {
                    core: core.index,
                    present: true,
                    until,
                    request,
                })?;
                // Whoever ends the partition signals after this, or has ended it before.
                if partition.is_ended() {
                    queue.remove(core.index);
                    return Err(FfaError::Aborted);
                }
                core.waiting = Some(target);
                Ok(Action::Wait)
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Whether another core can end what keeps `target`. One that has not started yet has nothing to end,
    /// and a chain that was preempted here, or that no core has, is resumed by no core that waits.
    fn will_be_free(&self, core: &CoreState<H>, target: VcpuRef) -> bool {
        let mut at = target;
        for _ in 0..=self.partitions.len() {
            let Some(slot) = self.partition(at).and_then(|p| p.vcpus.get(at.vcpu())) else {
                return false;
            };
            let next = slot.inspect(|state| match state {
                VcpuState::Blocked { on, .. } => Ok(*on),
                VcpuState::Preempted { core: home, .. } => {
                    Err(*home != core.index && *home != ANY_CORE)
                }
                VcpuState::Running { .. } => Err(true),
                // Behind the first link: its owner is at it this moment.
                _ => Err(at != target),
            });
            match next {
                Ok(next) => at = next,
                Err(answer) => return answer,
            }
        }
        true
    }

    /// The run timeout for each request that is served or waits before the last one.
    fn wait_ends(&self, queue: &Places<H>, hw: &H) -> u64 {
        let waiting = queue.places.iter().flatten().count();
        let before = u32::try_from(waiting).unwrap_or(u32::MAX);
        let requests = before.saturating_add(1);
        deadline(hw, self.run_timeout_ms.saturating_mul(requests))
    }

    /// A core that waits was woken: its turn, the partition's end, an interrupt, or nothing.
    pub(crate) fn woken(&self, core: &mut CoreState<H>, why: Woken, hw: &mut H) -> Action {
        let Some(target) = core.waiting else {
            return core.resume();
        };
        let interrupted = match why {
            Woken::Event => false,
            Woken::SecureInterrupt => {
                self.take_all(core, hw);
                if let Some(action) = self.serve_due(core, hw) {
                    return action;
                }
                false
            }
            Woken::NonSecureInterrupt => !hw.hand_group0_to_el3(),
        };
        let Some(partition) = self.partition(target) else {
            return core.resume();
        };
        let Some(queue) = &partition.queue else {
            return core.resume();
        };
        let mut queue = queue.0.lock();
        if let Some((context, place)) = queue.turn(core.index) {
            drop(queue);
            core.waiting = None;
            return self.deliver_waited(core, partition, target, context, &place.request, hw);
        }
        if partition.is_ended() {
            queue.remove(core.index);
            drop(queue);
            return self.stop_waiting(core, FfaError::Aborted, hw);
        }
        if !interrupted {
            let over = queue
                .of(core.index)
                .is_none_or(|place| hw.now() >= place.until);
            if !over {
                return Action::Wait;
            }
            queue.remove(core.index);
            drop(queue);
            return self.stop_waiting(core, FfaError::Busy, hw);
        }
        if let Some(place) = queue.of(core.index) {
            place.present = false;
        }
        drop(queue);
        core.waiting = None;
        self.answer_interrupted(core, partition.config.id, target);
        self.leave(core, hw)
    }

    /// FFA_RUN of a partition with a queue, by the normal world: if a request made on this core waits there,
    /// it goes on to wait, or is served.
    ///
    /// # Errors
    /// ABORTED when the partition ended; BUSY when nobody but this core could free it. The request is
    /// out of the queue then.
    #[cold]
    #[inline(never)]
    pub(crate) fn resume_wait(
        &self,
        core: &mut CoreState<H>,
        queue: &Queue<H>,
        target: VcpuRef,
        hw: &mut H,
    ) -> Option<Result<Action, FfaError>> {
        let partition = self.partition(target)?;
        let slot = partition.vcpus.get(target.vcpu())?;
        let mut queue = queue.0.lock();
        if queue.of(core.index).is_none() {
            // A chain that this core may resume is what FFA_RUN means.
            let is_ours = |state: &VcpuState<H>| {
                matches!(state, VcpuState::Preempted { core: home, .. }
                    if *home == core.index || *home == ANY_CORE)
            };
            if slot.inspect(is_ours) {
                return None;
            }
            queue.of(ANY_CORE)?.core = core.index;
        }
        if partition.is_ended() {
            queue.remove(core.index);
            return Some(Err(FfaError::Aborted));
        }
        let claimed = slot.claim(core.index, is_waiting);
        match claimed {
            Ok(VcpuState::Waiting(context)) => {
                let place = queue.remove(core.index)?;
                drop(queue);
                Some(Ok(self.deliver_waited(
                    core,
                    partition,
                    target,
                    context,
                    &place.request,
                    hw,
                )))
            }
            Ok(other) => {
                // Excluded by the claim.
                slot.rest(other);
                None
            }
            Err(()) if self.will_be_free(core, target) => {
                let until = self.wait_ends(&queue, hw);
                let place = queue.of(core.index)?;
                (place.present, place.until) = (true, until);
                core.waiting = Some(target);
                Some(Ok(Action::Wait))
            }
            Err(()) => {
                queue.remove(core.index);
                Some(Err(FfaError::Busy))
            }
        }
    }

    /// The context of `slot` waits, if nothing else has it by now. If a core waits for it, that has it now.
    /// Newcomers look at it under the lock of `queue`, which was held when it went to wait; only FFA_RUN and an
    /// interrupt may have been faster.
    #[cold]
    #[inline(never)]
    pub(crate) fn hand_on(&self, slot: &Vcpu<H>, mut queue: MutexGuard<'_, Places<H>>, hw: &mut H) {
        if let Some(next) = queue.first()
            && let Ok(VcpuState::Waiting(context)) = slot.claim(next, is_waiting)
        {
            queue.handed = queue.remove(next).map(|place| (context, place));
            drop(queue);
            hw.signal_event();
        }
    }

    /// Tells all that wait for a partition that it ended.
    pub(crate) fn end_queue(&self, queue: &Queue<H>, hw: &mut H) {
        // Whoever looks at the partition under this lock from now on sees that it ended.
        drop(queue.0.lock());
        hw.signal_event();
    }

    /// Delivers a request that has waited.
    fn deliver_waited(
        &self,
        core: &mut CoreState<H>,
        partition: &'static Partition<H>,
        target: VcpuRef,
        context: Context<H>,
        request: &Registers,
        hw: &mut H,
    ) -> Action {
        if partition.is_ended() {
            if let Some(slot) = partition.vcpus.get(target.vcpu()) {
                slot.rest(VcpuState::Aborted(context));
            }
            return self.stop_waiting(core, FfaError::Aborted, hw);
        }
        let initiator = (NonSecureInterrupts::Signaled, Initiator::NormalWorld);
        self.begin(core, partition, target, context, request, initiator, hw)
    }

    /// Delivers a request to a context that was claimed for it, for this initiator, whose chain treats
    /// non-secure interrupts so.
    #[expect(clippy::too_many_arguments, reason = "all that a request is made of")]
    fn begin(
        &self,
        core: &mut CoreState<H>,
        partition: &'static Partition<H>,
        target: VcpuRef,
        context: Context<H>,
        request: &Registers,
        (inherited, initiator): (NonSecureInterrupts, Initiator),
        hw: &mut H,
    ) -> Action {
        let Some(slot) = partition.vcpus.get(target.vcpu()) else {
            return self.stop_waiting(core, FfaError::Aborted, hw);
        };
        let (form, width) = match function::decode(request.x::<0>()) {
            Call::Ffa(Function::MsgSendDirectReq2, width) => (DirectForm::Two, width),
            Call::Ffa(_, width) => (DirectForm::One, width),
            // Only requests come here.
            _ => (DirectForm::One, Width::W32),
        };
        let extended = Extended::for_call(partition.version(), width);
        let to = context.registers_mut();
        deliver(to, request, form.request(), form, width, extended);
        let activation = Activation::new(
            RuntimeModel::DirectRequest {
                origin: request.sender(),
                form,
                framework: framework::request_of(request, form),
            },
            initiator,
            inherited.max(partition.config.non_secure_interrupts),
        );
        let current = Current {
            partition,
            slot,
            vcpu: target,
            context,
            activation,
        };
        self.run(core, current, hw)
    }

    fn stop_waiting(&self, core: &mut CoreState<H>, error: FfaError, hw: &mut H) -> Action {
        core.waiting = None;
        let version = self.normal_world.version.get();
        let extended = extended_rule(version, &core.normal_world);
        core.normal_world.ffa_error(extended, error);
        self.leave(core, hw)
    }

    fn answer_interrupted(&self, core: &mut CoreState<H>, id: EndpointId, target: VcpuRef) {
        let version = self.normal_world.version.get();
        let extended = extended_rule(version, &core.normal_world);
        let interrupt = Function::Interrupt.id(Width::W32);
        let ids = EndpointId::pair(id, EndpointId(target.vcpu_id()));
        core.normal_world
            .reply(extended, [interrupt, ids, 0, 0, 0, 0, 0, 0]);
    }
}

/// For [`Vcpu::claim`]: only a context that waits.
fn is_waiting<H: Hardware>(state: &VcpuState<H>) -> Result<(), ()> {
    match state {
        VcpuState::Waiting(_) => Ok(()),
        _ => Err(()),
    }
}

impl<H: Hardware> Partition<H> {
    fn is_ended(&self) -> bool {
        self.health() == Health::Aborted
    }
}
