// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cores that come and go, and the bring-up of partitions on each.

use bulkhead_abi::registers::Extended;
use bulkhead_abi::{Function, Width, paravirt};

use crate::event::Action;
use crate::hardware::{Hardware, VcpuContext};
use crate::partition::{Health, Partition};
use crate::runtime_model::RuntimeModel;
use crate::spmc::{CoreState, Current, Spmc, deadline};
use crate::vcpu::{
    ANY_CORE, Activation, Initiator, NonSecureInterrupts, StateName, Vcpu, VcpuRef, VcpuState,
};

impl<H: Hardware> Spmc<H> {
    /// A core is on: brings up the execution contexts that belong to it, in boot order, and then
    /// waits for the normal world.
    pub(crate) fn core_on(&self, core: &mut CoreState<H>, hw: &mut H) -> Action {
        self.ask_for_logical_partitions(hw);
        core.booting = Some(0);
        // Whatever became pending for its contexts while it was off.
        core.due = true;
        self.adopt_own_deadlines(core, hw);
        self.boot_next(core, hw)
    }

    /// Starts the next execution context of this core that is not up, or ends the core's boot with
    /// FFA_MSG_WAIT to the SPMD (B-55).
    pub(crate) fn boot_next(&self, core: &mut CoreState<H>, hw: &mut H) -> Action {
        let start = core.booting.unwrap_or(self.partitions.len());
        for (index, partition) in self.partitions.iter().enumerate().skip(start) {
            if let Some(current) = self.starting(core, index, partition) {
                core.booting = Some(index.saturating_add(1));
                self.move_interrupts(core, index, partition, hw);
                let action = self.run(core, current, hw);
                core.set_bound(Some(deadline(hw, self.init_timeout_ms)), hw);
                return action;
            }
        }
        core.booting = None;
        let wait = Function::MsgWait.id(Width::W32);
        core.normal_world
            .reply(Extended::Clear, [wait, 0, 0, 0, 0, 0, 0, 0]);
        self.leave(core, hw)
    }

    /// Claims and resets the context of `partition` that must start on `core`: its first one ever,
    /// or that of a multi-core partition that has said where its others begin. A
    /// partition with one context is never started twice (W5).
    fn starting(
        &self,
        core: &CoreState<H>,
        index: usize,
        partition: &'static Partition<H>,
    ) -> Option<Current<H>> {
        let first = match partition.health() {
            Health::Aborted => return None,
            Health::Starting => true,
            Health::Live => false,
        };
        let entry = if first {
            partition.config.entry
        } else if partition.is_multi_core() {
            partition.secondary_entry()?
        } else {
            return None;
        };
        let vcpu = partition.vcpu_for_core(core.index);
        let name = VcpuRef::new(index, vcpu)?;
        let slot = partition.vcpus.get(vcpu)?;
        let claimed = slot.claim(core.index, |state| match state {
            VcpuState::Off(_) => Ok(()),
            _ => Err(()),
        });
        let context = match claimed {
            Ok(VcpuState::Off(context)) => context,
            Ok(other) => {
                slot.rest(other);
                return None;
            }
            Err(()) => return None,
        };
        context.reset(entry);
        slot.interrupts.reset();
        if partition.config.non_secure_interrupts == NonSecureInterrupts::ManagedExit {
            let line = partition.config.managed_exit_line;
            slot.interrupts
                .enable(paravirt::INTID_MANAGED_EXIT, line, true);
        }
        slot.timers.reset();
        let registers = context.registers_mut();
        // The core's linear index.
        registers.set_x::<4>(u64::try_from(core.index).unwrap_or(0));
        if let (true, Some((register, address))) = (first, partition.config.boot_information)
            && let Some(x) = registers.x.get_mut(usize::from(register))
        {
            *x = address;
        }
        let activation = Activation::new(
            RuntimeModel::Init,
            Initiator::Boot,
            NonSecureInterrupts::Queued,
        );
        Some(Current {
            partition,
            slot,
            vcpu: name,
            context,
            activation,
        })
    }

    /// The core goes off, and with it the contexts that are pinned to it and have nothing to do (W2). One
    /// that could not be started again, since its partition has not said where, stays as it is.
    ///
    /// A chain that was preempted here stays, since no request may be lost. The normal world resumes it
    /// when the core is on again, or, when no context of it is pinned to this core, on any core.
    pub(crate) fn core_off(&self, core: &mut CoreState<H>, hw: &mut H) {
        // The schedule receiver interrupt may have been pending on it.
        self.scheduler.forget();
        self.leave_deadlines(core, hw);
        for (index, partition) in self.partitions.iter().enumerate() {
            let Some(slot) = partition.vcpus.get(partition.vcpu_for_core(core.index)) else {
                continue;
            };
            // Not being in the state that is looked for is no error here.
            if let Some(queue) = &partition.queue {
                queue.core_off(core.index);
            }
            if !partition.is_multi_core() {
                let _ = self.release_chain(core, slot);
            } else if partition.secondary_entry().is_some() && switch_off(core, slot).is_ok() {
                self.move_interrupts(core, index, partition, hw);
            }
        }
    }

    /// Contexts that are off leave the interrupts of their partition's devices to one that is not; without any, until
    /// one starts.
    fn move_interrupts(
        &self,
        core: &mut CoreState<H>,
        index: usize,
        partition: &Partition<H>,
        hw: &mut H,
    ) {
        let all = || (0..).zip(partition.vcpus.iter());
        let is_off = |slot: &Vcpu<H>| slot.state() == StateName::Off;
        // Only this core's own stays off meanwhile; another may have started, and handle what it fetched.
        let own = partition.vcpu_for_core(core.index);
        // Again: the one that has it now may have gone off meanwhile.
        while let Some((vcpu, other)) = all().find(|(_, slot)| !is_off(slot))
            && let Some((ended, pending)) = all()
                .filter(|(_, slot)| is_off(slot))
                .find_map(|(vcpu, slot)| slot.interrupts.take_physical(vcpu == own))
        {
            match VcpuRef::new(index, vcpu) {
                Some(name) if pending => {
                    self.pend_physical(core, partition, (name, other), ended, hw);
                }
                _ => hw.deactivate(ended.intid, ended.core),
            }
        }
    }

    /// Lets any core go on with the chain of `slot`, a context that is not pinned, if it was preempted on
    /// `core` and none of those that wait for it is pinned.
    pub(crate) fn release_chain(
        &self,
        core: &CoreState<H>,
        slot: &Vcpu<H>,
    ) -> Result<(), NotThere> {
        let (initiator, has_callee) = slot.inspect(|state| match state {
            VcpuState::Preempted {
                activation,
                core: home,
                ..
            } if *home == core.index => Ok((activation.initiator(), activation.has_callee())),
            _ => Err(NotThere),
        })?;
        let pinned = |vcpu| {
            self.partition(vcpu)
                .is_none_or(|partition| partition.is_multi_core())
        };
        if has_callee || self.chain(Some(initiator)).any(pinned) {
            return Ok(());
        }
        // Nobody but this core touches a context that was preempted on it.
        slot.update(|state| {
            if let VcpuState::Preempted { core: home, .. } = state {
                *home = ANY_CORE;
            }
        });
        Ok(())
    }
}

/// The context is in another state.
pub(crate) struct NotThere;

/// Switches a pinned context off that waits.
fn switch_off<H: Hardware>(core: &CoreState<H>, slot: &Vcpu<H>) -> Result<(), NotThere> {
    let claimed = slot.claim(core.index, |state| match state {
        VcpuState::Waiting(_) => Ok(()),
        _ => Err(NotThere),
    })?;
    slot.rest(match claimed {
        VcpuState::Waiting(context) => VcpuState::Off(context),
        // Excluded by the claim.
        other => other,
    });
    Ok(())
}
