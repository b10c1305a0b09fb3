// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who gets the core: FFA_MSG_WAIT, FFA_RUN, FFA_ERROR, preemption, and the way back through a call
//! chain.
//!
//! A call chain is not an object of its own. Each blocked context names whom it waits for, and each
//! activation names its initiator, so the chain of a core is the path from its running context
//! back to the normal world. When a context is preempted its links stay as they are and the core is
//! free for the normal world; FFA_RUN on the same core picks the chain up again. A chain never spans
//! cores: when its core goes off, one that is pinned to it waits until it is on again, and any other
//! goes on where FFA_RUN picks it up next.

use bulkhead_abi::registers::Extended;
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Version, Width, reserved};

use crate::event::Action;
use crate::hardware::{Hardware, VcpuContext};
use crate::partition::{Health, Partition};
use crate::queue::Queue;
use crate::runtime_model::{RuntimeModel, Transition};
use crate::spmc::{CoreState, Current, Spmc, extended_rule};
use crate::vcpu::{ANY_CORE, Activation, Context, Initiator, SUSPENDED, Vcpu, VcpuRef, VcpuState};

/// Whether a chain that was preempted on `home` may continue on `core`.
fn continues_on(home: usize, core: usize) -> bool {
    home == core || home == ANY_CORE
}

impl<H: Hardware> Spmc<H> {
    /// FFA_MSG_WAIT from a partition: it is done and waits for the next request.
    ///
    /// Reserved registers must be zero (G31). RX goes back to Bulkhead unless bit 0 of w2 keeps it
    ///
    pub(crate) fn msg_wait(
        &self,
        core: &mut CoreState<H>,
        version: Version,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        const RETAIN_RX: u32 = 1;
        reserved::check(Function::MsgWait, Width::W32, version, core.caller())?;
        let flags = core.caller().w::<2>();
        self.may_transition(core, Transition::Wait)?;
        let (Some(partition), Some(current)) = (self.running_partition(core), &core.current) else {
            return Err(FfaError::Denied);
        };
        if current.slot.interrupts.owes() {
            self.owes_deactivation(current, hw)?;
        }
        if flags & RETAIN_RX == 0 {
            // Not owning RX is no error here.
            let _ = partition.mailbox.lock().release();
        }
        if current.activation.model() == RuntimeModel::Init
            && partition.health() == Health::Starting
        {
            partition.set_live();
            log::info!("{}: initialised", partition.config.name);
        }
        let ids = running_ids(partition.config.id, current.vcpu);
        Ok(self.finish(core, hw, |runner, extended, _| {
            let id = Function::MsgWait.id(Width::W32);
            runner.reply(extended, [id, ids, 0, 0, 0, 0, 0, 0]);
        }))
    }

    /// FFA_RUN: the normal world gives cycles to an execution context.
    pub(crate) fn ffa_run(&self, core: &mut CoreState<H>, hw: &mut H) -> Result<Action, FfaError> {
        self.may_transition(core, Transition::Run)?;
        let call = core.caller();
        let ids = u64::from(call.w::<1>());
        let vcpu = usize::from(call.receiver().0);
        let target = call.sender();
        if !target.is_secure() && core.current.is_some() {
            return Err(FfaError::Denied);
        }
        let (index, partition) = self.find(target).ok_or(FfaError::InvalidParameters)?;
        let slot = partition
            .vcpus
            .get(vcpu)
            .ok_or(FfaError::InvalidParameters)?;
        if partition.vcpu_for_core(core.index) != vcpu {
            return Err(FfaError::InvalidParameters);
        }
        if let (Some(current), Some(target)) = (&core.current, VcpuRef::new(index, vcpu))
            && current.activation.has_callee()
        {
            return self.run_suspended(core, target, hw);
        }
        if let (Some(queue), None, Some(target)) =
            (&partition.queue, &core.current, VcpuRef::new(index, vcpu))
            && let Some(outcome) = self.resume_wait(core, queue, target, hw)
        {
            return outcome;
        }
        if partition.health() == Health::Aborted {
            return self.run_aborted(core, slot, hw);
        }
        let by_partition = core.current.is_some();
        let core_index = core.index;
        let claimed = slot.claim(core_index, |state| match state {
            VcpuState::Running { .. } => Err(FfaError::Busy),
            VcpuState::Aborted(_) => Err(FfaError::Aborted),
            VcpuState::Off(_) => Err(FfaError::Busy),
            // A partition may run nobody: a chain that was preempted went to the normal world
            // whole, which resumes it whole (R7, C4).
            VcpuState::Blocked { .. } => Err(FfaError::Denied),
            // It goes on by itself when the interrupt that it lost the core to is handled.
            VcpuState::Preempted {
                core: SUSPENDED, ..
            } if !by_partition => Err(FfaError::Busy),
            _ if by_partition => Err(FfaError::Denied),
            VcpuState::Preempted { core, .. } if !continues_on(*core, core_index) => {
                Err(FfaError::Denied)
            }
            VcpuState::Preempted { .. } | VcpuState::Waiting(_) => Ok(()),
        })?;
        let vcpu = VcpuRef::new(index, vcpu).ok_or(FfaError::InvalidParameters)?;
        let current = match claimed {
            VcpuState::Waiting(context) => {
                let extended = Extended::for_call(partition.version(), Width::W32);
                let id = Function::Run.id(Width::W32);
                context
                    .registers_mut()
                    .reply(extended, [id, ids, 0, 0, 0, 0, 0, 0]);
                let activation = Activation::new(
                    RuntimeModel::Run,
                    Initiator::NormalWorld,
                    partition.config.non_secure_interrupts,
                );
                Current {
                    partition,
                    slot,
                    vcpu,
                    context,
                    activation,
                }
            }
            VcpuState::Preempted {
                context,
                activation,
                ..
            } => Current {
                partition,
                slot,
                vcpu,
                context,
                activation,
            },
            // Excluded by the claim above.
            other => {
                slot.rest(other);
                return Err(FfaError::Busy);
            }
        };
        Ok(self.run(core, current, hw))
    }

    /// FFA_RUN of a partition that was aborted. If the context was preempted on this core before
    /// another core ended the partition, whoever still waits for it is told now (C7).
    fn run_aborted(
        &self,
        core: &mut CoreState<H>,
        slot: &Vcpu<H>,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        let (index, by_partition) = (core.index, core.current.is_some());
        let claimed = slot.claim(index, |state| match state {
            VcpuState::Preempted { core, .. } if continues_on(*core, index) && !by_partition => {
                Ok(())
            }
            _ => Err(FfaError::Aborted),
        })?;
        match claimed {
            VcpuState::Preempted {
                context,
                activation,
                ..
            } => Ok(self.end_activation(core, slot, context, activation, hw)),
            // Excluded by the claim above.
            other => {
                slot.rest(other);
                Err(FfaError::Aborted)
            }
        }
    }

    /// FFA_ERROR from a partition: its initialisation failed (R15).
    pub(crate) fn partition_error(
        &self,
        core: &mut CoreState<H>,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        self.may_transition(core, Transition::Error)?;
        let code = core.caller().w::<2>().cast_signed();
        Ok(self.abort_running(
            core,
            hw,
            format_args!("its initialisation failed: FFA_ERROR {code}"),
        ))
    }

    /// FFA_ABORT from a partition, which ends itself (A-80, K6): whatever its manifest asks for, it is stopped,
    /// and whoever waits for it gets ABORTED. The code in w2 or x2 is the partition's own, and is only logged.
    pub(crate) fn partition_abort(
        &self,
        core: &mut CoreState<H>,
        width: Width,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        self.may_transition(core, Transition::Abort)?;
        let code = core.caller().x::<2>() & width.mask();
        Ok(self.abort_running(core, hw, format_args!("FFA_ABORT, code {code:#x}")))
    }

    /// Ends the run of the current context: it waits, and its
    /// initiator gets the core with the result that `write` puts into its registers.
    #[inline]
    pub(crate) fn finish(
        &self,
        core: &mut CoreState<H>,
        hw: &mut H,
        write: impl FnOnce(&mut Registers, Extended, &H::Context),
    ) -> Action {
        let Some(current) = &core.current else {
            return self.leave(core, hw);
        };
        let slot = current.slot;
        let queue = current.partition.queue.as_ref().map(Queue::lock);
        let action = self.finish_only(core, hw, write);
        if let Some(queue) = queue {
            self.hand_on(slot, queue, hw);
        }
        action
    }

    /// [`finish`](Self::finish), whoever waits for the partition.
    #[inline(always)]
    fn finish_only(
        &self,
        core: &mut CoreState<H>,
        hw: &mut H,
        write: impl FnOnce(&mut Registers, Extended, &H::Context),
    ) -> Action {
        let Some(Current {
            partition,
            slot,
            context,
            activation,
            ..
        }) = core.current.take()
        else {
            return self.leave(core, hw);
        };
        hw.park(context);
        self.keep_deadlines(core, slot, context, hw);
        let interrupts = &slot.interrupts;
        if interrupts.owes() {
            // Whoever had to be told has been (R10).
            let _ = interrupts.settle(false, |ended| hw.deactivate(ended.intid, ended.core));
        }
        match activation.initiator() {
            Initiator::NormalWorld => {
                let version = self.normal_world.version.get();
                let extended = extended_rule(version, &core.normal_world);
                write(&mut core.normal_world, extended, context);
                slot.rest(VcpuState::Waiting(context));
                if interrupts.needs_cycles() {
                    self.waits_with_interrupt(core, partition, slot, hw);
                }
                self.leave(core, hw)
            }
            Initiator::Vcpu(requester) => match self.unblock(core, requester) {
                Ok(current) => {
                    let registers = current.context.registers_mut();
                    let extended = extended_rule(current.partition.version(), registers);
                    write(registers, extended, context);
                    slot.rest(VcpuState::Waiting(context));
                    if interrupts.needs_cycles() {
                        self.waits_with_interrupt(core, partition, slot, hw);
                    }
                    let action = self.run(core, current, hw);
                    self.serve_due(core, hw).unwrap_or(action)
                }
                Err(initiator) => {
                    self.finish_rarely(core, (partition, slot), context, initiator, hw)
                }
            },
            other => self.finish_rarely(core, (partition, slot), context, other, hw),
        }
    }

    /// The end of a run whose initiator gets no result: it is Bulkhead, or it was aborted, and `initiator` is
    /// that one's own.
    #[inline(never)]
    fn finish_rarely(
        &self,
        core: &mut CoreState<H>,
        (partition, slot): (&Partition<H>, &Vcpu<H>),
        context: Context<H>,
        initiator: Initiator,
        hw: &mut H,
    ) -> Action {
        let interrupted = matches!(initiator, Initiator::Interrupted(_));
        if interrupted {
            self.end_interrupt(core, slot, hw);
        }
        slot.rest(VcpuState::Waiting(context));
        if slot.interrupts.needs_cycles() {
            self.waits_with_interrupt(core, partition, slot, hw);
        }
        match initiator {
            Initiator::Boot => self.boot_next(core, hw),
            Initiator::Interrupted(who) => self.resume_interrupted(core, who, hw),
            other => self.hand_back(core, other, FfaError::Aborted, hw),
        }
    }

    /// Ends the partition that runs on `core` and says so to whoever waits for it (K1, C8).
    pub(crate) fn abort_running(
        &self,
        core: &mut CoreState<H>,
        hw: &mut H,
        why: core::fmt::Arguments<'_>,
    ) -> Action {
        let Some(Current {
            partition,
            slot,
            vcpu,
            context,
            activation,
        }) = core.current.take()
        else {
            return self.leave(core, hw);
        };
        hw.park(context);
        let pc = context.pc();
        self.end(
            partition,
            vcpu,
            format_args!("aborted at {pc:#x}: {why}"),
            hw,
        );
        self.end_activation(core, slot, context, activation, hw)
    }

    /// Marks a partition as ended, unless it is, and says why.
    pub(crate) fn end(
        &self,
        partition: &Partition<H>,
        vcpu: VcpuRef,
        what: core::fmt::Arguments<'_>,
        hw: &mut H,
    ) {
        if partition.set_aborted() {
            let name = partition.config.name;
            let id = partition.config.id;
            log::error!("{name} ({id}) vCPU {} {what}", vcpu.vcpu());
            partition.release_mailbox(vcpu.partition(), &self.owners, hw);
            self.end_shares(id, hw);
            partition.notifications.lock().stop();
            self.drop_all_interrupts(partition, hw);
            if let Some(queue) = &partition.queue {
                self.end_queue(queue, hw);
            }
        }
    }

    /// Gives the core to `initiator`, whose call ends with `error`. Initiators that were aborted in
    /// the meantime are passed over (C7).
    pub(crate) fn hand_back(
        &self,
        core: &mut CoreState<H>,
        mut initiator: Initiator,
        error: FfaError,
        hw: &mut H,
    ) -> Action {
        loop {
            match initiator {
                Initiator::NormalWorld => {
                    let version = self.normal_world.version.get();
                    let extended = extended_rule(version, &core.normal_world);
                    core.normal_world.ffa_error(extended, error);
                    return self.leave(core, hw);
                }
                Initiator::Boot => return self.boot_next(core, hw),
                Initiator::Interrupted(who) => {
                    self.end_interrupting(core, hw);
                    return self.resume_interrupted(core, who, hw);
                }
                Initiator::Vcpu(requester) => match self.unblock(core, requester) {
                    Ok(current) => {
                        let action = self.run(core, current, hw);
                        let extended = self.extended_rule(core);
                        core.caller().ffa_error(extended, error);
                        return action;
                    }
                    Err(next) => initiator = next,
                },
            }
        }
    }

    /// Claims a blocked requester to go on.
    ///
    /// # Errors
    /// Its own initiator, if its partition was aborted while it was blocked.
    fn unblock(&self, core: &CoreState<H>, requester: VcpuRef) -> Result<Current<H>, Initiator> {
        let partition = self.partition(requester).ok_or(Initiator::NormalWorld)?;
        let slot = partition
            .vcpus
            .get(requester.vcpu())
            .ok_or(Initiator::NormalWorld)?;
        let claimed = slot.claim(core.index, |state| match state {
            VcpuState::Blocked { .. } => Ok(()),
            _ => Err(Initiator::NormalWorld),
        })?;
        match claimed {
            VcpuState::Blocked {
                context,
                activation,
                ..
            } => {
                if partition.health() == Health::Aborted {
                    slot.rest(VcpuState::Aborted(context));
                    return Err(activation.initiator());
                }
                Ok(Current {
                    partition,
                    slot,
                    vcpu: requester,
                    context,
                    activation,
                })
            }
            // Excluded by the claim above.
            other => {
                slot.rest(other);
                Err(Initiator::NormalWorld)
            }
        }
    }

    /// The running context loses the core to the normal world, which resumes it by FFA_RUN (C-04).
    pub(crate) fn preempt(&self, core: &mut CoreState<H>, hw: &mut H) -> Action {
        if self.serves_logical(core) {
            return self.end_logical_request(core, hw);
        }
        let ids = core.current.as_ref().map_or(0, |current| {
            running_ids(current.partition.config.id, current.vcpu)
        });
        let interrupt = Function::Interrupt.id(Width::W32);
        self.rest_for_run(core, hw, [interrupt, ids, 0, 0, 0, 0, 0, 0])
    }

    /// The running context, and with it its whole chain, rests until FFA_RUN; the normal world gets `answer`.
    pub(crate) fn rest_for_run(
        &self,
        core: &mut CoreState<H>,
        hw: &mut H,
        answer: [u64; 8],
    ) -> Action {
        let Some(Current {
            slot,
            context,
            activation,
            ..
        }) = core.current.take()
        else {
            return self.leave(core, hw);
        };
        hw.park(context);
        self.keep_deadlines(core, slot, context, hw);
        let extended = extended_rule(self.normal_world.version.get(), &core.normal_world);
        core.normal_world.reply(extended, answer);
        slot.rest(VcpuState::Preempted {
            context,
            activation,
            core: core.index,
        });
        self.leave(core, hw)
    }
}

/// Partition and execution context as w1 carries them.
fn running_ids(id: EndpointId, vcpu: VcpuRef) -> u64 {
    EndpointId::pair(id, EndpointId(vcpu.vcpu_id()))
}
