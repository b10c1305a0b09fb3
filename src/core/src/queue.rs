// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests that wait for a busy partition (E-16), for single-core partitions whose manifest asks for it
//! with `bulkhead,request-queue = <N>`.
//!
//! Without it, a direct request to a partition that another core runs ends with BUSY. With it, up to N
//! requests of the normal world, one of each core, wait in the order in which they came.
//!
//! - **Who waits.** The normal world only. A partition that waited would hold its own callers, and two that
//!   wait for each other would never end; a partition gets BUSY as before. Since who waits holds nothing, no
//!   circle can form. A core does not wait for a chain that only it can resume, either: BUSY.
//! - **How.** The core has nothing to run: [`Action::Wait`]. It sleeps until another core signals an event or
//!   an interrupt is pending, and comes back with [`Event::Woken`]. No lock is held meanwhile.
//! - **Interrupts.** A non-secure interrupt ends the call with FFA_INTERRUPT, as it ends one that runs, and
//!   FFA_RUN of the partition on the same core goes on with the wait. The request and its place in the order
//!   are kept, but nobody waits for a core that is away: the partition goes to the first that is there.
//!   While a core has a place, its other requests to the partition are BUSY, so that FFA_RUN has one meaning.
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

use crate::event::{Action, Woken};
use crate::hardware::{Hardware, VcpuContext};
use crate::partition::{Health, Partition};
use crate::runtime_model::{DirectForm, RuntimeModel};
use crate::spmc::{CoreState, Current, Spmc, extended_rule};
use crate::sync::Mutex;
use crate::vcpu::{ANY_CORE, Activation, Context, Initiator, Vcpu, VcpuRef, VcpuState};

/// A request in a queue.
#[derive(Clone, Debug)]
pub struct Place {
    /// The core that it was made on; [`ANY_CORE`] when that went off.
    core: usize,
    /// Whether the core waits; otherwise it was interrupted.
    present: bool,
    /// The registers that the call was made with.
    request: Registers,
}

/// The queue of a partition.
pub struct Queue<H: Hardware + 'static>(Mutex<Places<H>>);

struct Places<H: Hardware + 'static> {
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

    /// Takes the request of the first core that waits out.
    fn next(&mut self) -> Option<Place> {
        let mut places = self.places.iter().flatten();
        let core = places.find(|place| place.present)?.core;
        self.remove(core)
    }

    /// What `core` waits for: the context, and the request that it has for it.
    fn turn(&mut self, core: usize) -> Option<(Context<H>, Place)> {
        self.handed.take_if(|(_, place)| place.core == core)
    }
}

impl<H: Hardware> Spmc<H> {
    /// Claims the context of a partition with a queue for the request in the caller's registers, or puts
    /// the request into the queue: `None`, and the core waits.
    ///
    /// # Errors
    /// As without a queue; BUSY when it is full and when the core has a request in it.
    #[cold]
    #[inline(never)]
    pub(crate) fn claim_or_queue(
        &self,
        core: &mut CoreState<H>,
        queue: &Queue<H>,
        target: VcpuRef,
        claim: impl Fn(&CoreState<H>) -> Result<Context<H>, FfaError>,
    ) -> Result<Option<Context<H>>, FfaError> {
        let mut queue = queue.0.lock();
        if queue.of(core.index).is_some() {
            return Err(FfaError::Busy);
        }
        match claim(core) {
            Ok(context) => return Ok(Some(context)),
            Err(FfaError::Busy) if core.current.is_none() && self.will_be_free(core, target) => {}
            Err(error) => return Err(error),
        }
        queue.push(Place {
            core: core.index,
            present: true,
            request: core.normal_world.clone(),
        })?;
        // Whoever ends the partition signals after this, or has ended it before.
        if self.partition(target).is_none_or(Partition::is_ended) {
            queue.remove(core.index);
            return Err(FfaError::Aborted);
        }
        core.waiting = Some(target);
        Ok(None)
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

    /// A core that waits was woken: its turn, the partition's end, an interrupt, or nothing.
    pub(crate) fn woken(&self, core: &mut CoreState<H>, why: Woken, hw: &mut H) -> Action {
        let Some(target) = core.waiting else {
            return core.resume();
        };
        let interrupted = match why {
            Woken::Event => false,
            Woken::SecureInterrupt => {
                self.interrupt_while_waiting(hw);
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
            return self.begin(core, partition, target, context, &place.request, hw);
        }
        if partition.is_ended() {
            queue.remove(core.index);
            drop(queue);
            return self.stop_waiting(core, FfaError::Aborted, hw);
        }
        if !interrupted {
            return Action::Wait;
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
        let claimed = slot.claim(core.index, |state| match state {
            VcpuState::Waiting(_) => Ok(()),
            _ => Err(()),
        });
        match claimed {
            Ok(VcpuState::Waiting(context)) => {
                let place = queue.remove(core.index)?;
                drop(queue);
                Some(Ok(self.begin(
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
                queue.of(core.index)?.present = true;
                core.waiting = Some(target);
                Some(Ok(Action::Wait))
            }
            Err(()) => {
                queue.remove(core.index);
                Some(Err(FfaError::Busy))
            }
        }
    }

    /// Puts the context of a partition with a queue to rest; if a core waits for it, that has it now.
    #[cold]
    #[inline(never)]
    pub(crate) fn hand_on(
        &self,
        queue: &Queue<H>,
        slot: &Vcpu<H>,
        state: VcpuState<H>,
        hw: &mut H,
    ) {
        let mut queue = queue.0.lock();
        match (state, queue.next()) {
            (VcpuState::Waiting(context), Some(next)) => {
                slot.rest(VcpuState::Running { core: next.core });
                queue.handed = Some((context, next));
                drop(queue);
                hw.signal_event();
            }
            (state, _) => slot.rest(state),
        }
    }

    /// Tells all that wait for a partition that it ended.
    pub(crate) fn end_queue(&self, queue: &Queue<H>, hw: &mut H) {
        // Whoever looks at the partition under this lock from now on sees that it ended.
        drop(queue.0.lock());
        hw.signal_event();
    }

    /// Delivers a request that has waited.
    fn begin(
        &self,
        core: &mut CoreState<H>,
        partition: &'static Partition<H>,
        target: VcpuRef,
        context: Context<H>,
        request: &Registers,
        hw: &mut H,
    ) -> Action {
        let Some(slot) = partition.vcpus.get(target.vcpu()) else {
            return self.stop_waiting(core, FfaError::Aborted, hw);
        };
        if partition.is_ended() {
            slot.rest(VcpuState::Aborted(context));
            return self.stop_waiting(core, FfaError::Aborted, hw);
        }
        let (form, width) = match function::decode(request.x::<0>()) {
            Call::Ffa(Function::MsgSendDirectReq2, width) => (DirectForm::Two, width),
            Call::Ffa(_, width) => (DirectForm::One, width),
            // Only requests wait.
            _ => (DirectForm::One, Width::W32),
        };
        let extended = Extended::for_call(partition.version(), width);
        crate::direct::deliver(
            context.registers_mut(),
            request,
            form.request(),
            form,
            width,
            extended,
        );
        let activation = Activation {
            model: RuntimeModel::DirectRequest {
                origin: request.sender(),
                form,
                framework: crate::framework::request_of(request, form),
            },
            initiator: Initiator::NormalWorld,
            non_secure: partition.config.non_secure_interrupts,
        };
        self.run(
            core,
            Current {
                partition,
                slot,
                vcpu: target,
                context,
                activation,
            },
            hw,
        )
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

impl<H: Hardware> Partition<H> {
    fn is_ended(&self) -> bool {
        self.health() == Health::Aborted
    }
}
