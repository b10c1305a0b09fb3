// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts (C-01 to C-15): what reaches S-EL2, whose it is, and who gets the core for it.
//!
//! - A *secure* interrupt is acknowledged and its priority dropped here, and it stays active until the partition
//!   that owns it deactivates it: a level-triggered one costs one delivery per event (C-13). It becomes pending
//!   in an execution context ([`crate::virtual_interrupt`]), and [`route`] says what the core does.
//! - One that nobody owns is disabled and counted (C-11).
//! - A *non-secure* one preempts the chain, waits, or starts a managed exit ([`managed_exit`]), as the strictest
//!   partition of the chain wants (C-03 to C-06).
//! - One of *Group 0* is EL3's (C-01).
//! - The core's own timer bounds what runs, and has the deadlines of partitions ([`crate::timer`]).

mod chain;
pub(crate) mod managed_exit;
pub mod owner;
pub(crate) mod paravirtual;
pub mod route;

pub(crate) use chain::Spent;

use crate::event::Action;
use crate::hardware::{Acknowledged, Hardware};
use crate::interrupt::owner::Owners;
use crate::interrupt::route::NonSecureRoute;
use crate::partition::{Health, Partition};
use crate::spmc::{CoreState, Spmc, deadline};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::vcpu::{NonSecureInterrupts, StateName, Vcpu, VcpuRef, VcpuState};
use crate::virtual_interrupt::Ended;

/// What all cores share of interrupts.
#[derive(Debug)]
pub(crate) struct Interrupts {
    pub(crate) owners: Owners,
    /// How many fired that nobody owns.
    pub(crate) unowned: AtomicU64,
    /// Whether contexts have deadlines that no core keeps.
    pub(crate) orphans: AtomicBool,
}

impl<H: Hardware> Spmc<H> {
    /// How many secure interrupts fired that nobody owns (I2).
    pub fn unowned_interrupts(&self) -> u64 {
        self.interrupts.unowned.load(Ordering::Relaxed)
    }

    /// Non-secure interrupts stay pending until the chain is done or its time is over.
    pub(crate) fn keep_waiting(&self, core: &mut CoreState<H>, timeout_ms: u32, hw: &mut H) {
        let by = core.exit.as_ref().map(|exit| exit.by);
        hw.mask_non_secure_interrupts(true);
        let by = by.unwrap_or_else(|| deadline(hw, timeout_ms));
        core.set_bound(Some(by), hw);
    }

    /// A secure interrupt fired while a partition ran.
    pub(crate) fn secure_interrupt(&self, core: &mut CoreState<H>, hw: &mut H) -> Action {
        self.take_one(core, hw);
        if core.bound <= hw.now() {
            return self.time_is_over(core, hw);
        }
        self.serve_due(core, hw).unwrap_or_else(|| core.resume())
    }

    /// Secure interrupts fired while the core ran no partition: all that are pending are taken, and whoever has
    /// to handle one is entered when the core would leave the secure world.
    pub(crate) fn take_all(&self, core: &mut CoreState<H>, hw: &mut H) {
        while self.take_one(core, hw) {}
    }

    /// Takes the pending secure interrupt of highest priority; `false` if there was none (I1).
    fn take_one(&self, core: &mut CoreState<H>, hw: &mut H) -> bool {
        match hw.acknowledge() {
            Acknowledged::Deadline => self.fire_deadlines(core, hw),
            Acknowledged::Kick => {
                core.due = true;
                self.adopt_orphans(core, hw);
            }
            Acknowledged::Secure(intid) => self.raise(core, intid, hw),
            Acknowledged::Spurious => return false,
        }
        true
    }

    /// The physical interrupt `intid` is active on this core: it becomes pending for its partition, in the context
    /// of this core if the partition has one that has started, else in the first that has.
    fn raise(&self, core: &mut CoreState<H>, intid: u32, hw: &mut H) {
        let Some(index) = self.interrupts.owners.of(intid) else {
            return self.unowned_interrupt(intid, hw);
        };
        let Some(partition) = self.partitions.get(index) else {
            return self.unowned_interrupt(intid, hw);
        };
        let own = partition.vcpu_for_core(core.index);
        let started = |vcpu: &usize| {
            let slot = partition.vcpus.get(*vcpu);
            slot.is_some_and(|slot| slot.state() != StateName::Off)
        };
        let mut any = core::iter::once(own).chain(0..partition.vcpus.len());
        let vcpu = any.find(started).unwrap_or(0);
        let (Some(slot), Some(name)) = (partition.vcpus.get(vcpu), VcpuRef::new(index, vcpu))
        else {
            return self.unowned_interrupt(intid, hw);
        };
        let active = Ended {
            intid,
            core: core.index,
        };
        self.pend_physical(core, partition, (name, slot), active, hw);
    }

    /// The physical interrupt `active` becomes pending in the context of `slot`.
    pub(crate) fn pend_physical(
        &self,
        core: &mut CoreState<H>,
        partition: &Partition<H>,
        (name, slot): (VcpuRef, &Vcpu<H>),
        active: Ended,
        hw: &mut H,
    ) {
        slot.interrupts.raise(active.intid, Some(active.core));
        // Whoever ends the partition drops what is pending after it said so, or it is dropped here (I16).
        if partition.health() == Health::Aborted {
            return self.drop_interrupts(slot, hw);
        }
        // A GIC of its own may show it to others instead.
        self.tell_changed(core, partition, name.partition(), hw);
        self.tell(core, name, hw);
    }

    /// Something became pending in the context `name`: whoever has to look at it is told. The core that runs it
    /// is kicked; if it waits, this core enters it when it can, unless the scheduler of the normal world is to
    ///
    pub(crate) fn tell(&self, core: &mut CoreState<H>, name: VcpuRef, hw: &mut H) {
        let Some(partition) = self.partition(name) else {
            return;
        };
        let Some(slot) = partition.vcpus.get(name.vcpu()) else {
            return;
        };
        let place = slot.inspect(|state| match state {
            VcpuState::Running { core } => (StateName::Running, *core),
            other => (other.name(), core.index),
        });
        match place {
            (StateName::Running, other) if other != core.index => hw.kick(other),
            (StateName::Waiting, _) => {
                if !slot.interrupts.wakes() {
                    return;
                }
                if partition.config.sri_while_waiting {
                    self.leave_to_scheduler(slot, hw);
                    return;
                }
                // What it was left to the scheduler with before is not this one.
                slot.interrupts.leave_to_scheduler(false);
                if partition.is_multi_core() && name.vcpu() != core.index {
                    hw.kick(name.vcpu());
                } else {
                    core.due = true;
                }
            }
            (StateName::Blocked, _) => core.due = true,
            _ => {}
        }
    }

    /// The context, which waits, has something pending that the normal world's scheduler gives it cycles for.
    pub(crate) fn leave_to_scheduler(&self, slot: &Vcpu<H>, hw: &mut H) {
        slot.interrupts.leave_to_scheduler(true);
        self.scheduler.tell(hw);
    }

    /// A non-secure or Group 0 interrupt fired while a partition ran: EL3 handles Group 0 at once,
    /// the normal world gets the core for its own unless the partition may keep it waiting.
    pub(crate) fn non_secure_interrupt(&self, core: &mut CoreState<H>, hw: &mut H) -> Action {
        if hw.hand_group0_to_el3() {
            return core.resume();
        }
        match route::non_secure(self.here(core), core.non_secure) {
            NonSecureRoute::Mask => {
                hw.mask_non_secure_interrupts(true);
                core.resume()
            }
            NonSecureRoute::ManagedExit => self.managed_exit(core, hw),
            NonSecureRoute::Preempt => self.preempt(core, hw),
        }
    }

    /// The run or the initialisation of the running context took longer than its bound
    /// (DECISIONS 24).
    fn time_is_over(&self, core: &mut CoreState<H>, hw: &mut H) -> Action {
        if core.booting.is_some() {
            // Whoever goes on after this, up to the end of this initialisation, has a bound, too.
            core.set_bound(Some(deadline(hw, self.run_timeout_ms)), hw);
            return self.initialisation_is_over(core, hw);
        }
        core.set_bound(None, hw);
        if core.interrupting {
            return self.interrupt_is_over(core, hw);
        }
        if core.non_secure == NonSecureInterrupts::Queued {
            return self.preempt(core, hw);
        }
        core.resume()
    }

    /// The partition that initialises is ended. If it asked another one, which still runs, that one may
    /// finish, and is ended only when it does not.
    fn initialisation_is_over(&self, core: &mut CoreState<H>, hw: &mut H) -> Action {
        let bound = self.init_timeout_ms;
        match self.initialising(core) {
            Some((starting, vcpu)) if starting.health() != Health::Aborted => {
                self.end(
                    starting,
                    vcpu,
                    format_args!(
                        "aborted: its request did not return, and so it did not reach FFA_MSG_WAIT, \
                         within {bound} ms (init timeout)"
                    ),
                    hw,
                );
                core.resume()
            }
            Some(_) => {
                let bound = self.run_timeout_ms;
                self.abort_running(
                    core,
                    hw,
                    format_args!(
                        "it did not answer within {bound} ms a partition whose time to initialise \
                         was over"
                    ),
                )
            }
            None => self.abort_running(
                core,
                hw,
                format_args!("it did not reach FFA_MSG_WAIT within {bound} ms (init timeout)"),
            ),
        }
    }

    /// Nobody owns `intid`: it is kept from firing again, and the system goes on (C-11, I2).
    fn unowned_interrupt(&self, intid: u32, hw: &mut H) {
        let count = self
            .interrupts
            .unowned
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1);
        log::warn!("secure interrupt {intid} belongs to no partition: disabled ({count} so far)");
        hw.disable_interrupt(intid);
    }

    /// The partition ended: its interrupts are disabled, and what it had pending is dropped (I16, K8).
    pub(crate) fn drop_all_interrupts(&self, partition: &Partition<H>, hw: &mut H) {
        for (core, slot) in partition.vcpus.iter().enumerate() {
            for intid in partition.config.interrupts {
                hw.enable_interrupt(*intid, core, false);
            }
            self.drop_interrupts(slot, hw);
            slot.timers.reset();
        }
    }

    /// The partition of `slot` ended: what the context has pending is dropped, and what is active ends and
    /// stays disabled (I16).
    pub(crate) fn drop_interrupts(&self, slot: &Vcpu<H>, hw: &mut H) {
        slot.interrupts.end(|ended| {
            hw.enable_interrupt(ended.intid, ended.core, false);
            hw.deactivate(ended.intid, ended.core);
        });
    }
}
