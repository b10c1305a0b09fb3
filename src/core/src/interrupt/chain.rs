// SPDX-License-Identifier: MIT OR Apache-2.0
//! Chains that Bulkhead schedules for an interrupt: a partition is entered for what it has
//! pending, and whoever lost the core to it goes on afterwards, as if nothing had been.
//!
//! - A context that *waits* is entered in RTM_SEC_INTERRUPT (C-08): FFA_INTERRUPT, w2 the INTID. What ran is
//!   preempted; FFA_MSG_WAIT gives it the core back. One such chain runs on a core at a time, and non-secure
//!   interrupts wait for it.
//! - A context that *awaits an answer* in the chain of this core is entered in the model that it has (C-09):
//!   FFA_INTERRUPT, w1 the context that it awaits, w2 the INTID. Until it has made FFA_RUN of that, which lets
//!   whatever was preempted go on, it may do nothing else that moves the chain.
//! - A context that goes to *wait with something pending* is entered at once; its answer is on its way then,
//!   once (G17).
//! - Time: a context handles interrupts for at most its partition's share of each [`WINDOW`] (I4). A chain that is not done
//!   within the run timeout is preempted, and the normal world's scheduler is told whom to run; if its partition
//!   has an interrupt that it does not deactivate, it is aborted (R10).

use bulkhead_abi::{EndpointId, FfaError, Function, Width};

use crate::event::Action;
use crate::hardware::{Hardware, VcpuContext};
use crate::interrupt::route::{Here, Route, Target, route};
use crate::partition::{Health, Partition};
use crate::runtime_model::RuntimeModel;
use crate::spmc::{CoreState, Current, Spmc, deadline, extended_rule};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::timer::NEVER;
use crate::vcpu::{
    Activation, Context, Initiator, NonSecureInterrupts, SUSPENDED, Vcpu, VcpuRef, VcpuState,
};

/// In microseconds: over this time a partition's share is reckoned. The ways in and out, EL3's among them, are not in
/// it; with handlers of a few instructions they take as long again and more.
const WINDOW: u64 = 10_000;
/// So often in a row a context may be entered for an interrupt and fetch none; then it is left to the scheduler, or to
/// the answer that it awaits.
const MOST_IGNORED: u32 = 16;

/// The time that a context has spent on interrupts.
#[derive(Debug)]
pub(crate) struct Spent {
    /// When the window began, by the counter.
    window: AtomicU64,
    /// Ticks since then in RTM_SEC_INTERRUPT.
    ticks: AtomicU64,
    /// When the running chain began; [`NEVER`] while there is none.
    since: AtomicU64,
}

impl Spent {
    /// None.
    pub(crate) fn new() -> Self {
        Self {
            window: AtomicU64::new(0),
            ticks: AtomicU64::new(0),
            since: AtomicU64::new(NEVER),
        }
    }

    /// When the context has its share, in percent, again, if it has used it up.
    fn over<H: Hardware>(&self, share: u8, hw: &H) -> Option<u64> {
        let now = hw.now();
        let end = self
            .window
            .load(Ordering::Relaxed)
            .saturating_add(ticks(hw, WINDOW));
        if now >= end {
            self.window.store(now, Ordering::Relaxed);
            self.ticks.store(0, Ordering::Relaxed);
            return None;
        }
        let most = ticks(hw, WINDOW).saturating_mul(u64::from(share)) / 100;
        (self.ticks.load(Ordering::Relaxed) >= most).then_some(end)
    }

    fn begin(&self, now: u64) {
        self.since.store(now, Ordering::Relaxed);
    }

    fn end(&self, now: u64) {
        let since = self.since.swap(NEVER, Ordering::Relaxed);
        let spent = now.saturating_sub(since);
        let before = self.ticks.load(Ordering::Relaxed);
        self.ticks
            .store(before.saturating_add(spent), Ordering::Relaxed);
    }
}

fn ticks<H: Hardware>(hw: &H, microseconds: u64) -> u64 {
    hw.ticks_per_second().saturating_mul(microseconds) / 1_000_000
}

impl<H: Hardware> Spmc<H> {
    /// Enters the next context that has something to handle and can be entered now; `None` without one.
    #[inline]
    pub(crate) fn serve_due(&self, core: &mut CoreState<H>, hw: &mut H) -> Option<Action> {
        if core.due {
            return self.enter_due(core, hw);
        }
        None
    }

    #[cold]
    #[inline(never)]
    fn enter_due(&self, core: &mut CoreState<H>, hw: &mut H) -> Option<Action> {
        let here = self.here(core);
        core.due = false;
        for (index, partition) in self.partitions.iter().enumerate() {
            let vcpu = partition.vcpu_for_core(core.index);
            let (Some(slot), Some(name)) = (partition.vcpus.get(vcpu), VcpuRef::new(index, vcpu))
            else {
                continue;
            };
            if !slot.interrupts.wakes() {
                continue;
            }
            let entered = match route(here, self.target(core, partition, slot, name, hw)) {
                Route::Enter => self.enter_for_interrupt(core, partition, slot, name, hw),
                Route::Unblock => self.enter_blocked(core, partition, slot, name, hw),
                Route::Later => {
                    core.due = true;
                    None
                }
                Route::Pend | Route::Kick | Route::Drop => None,
            };
            if entered.is_some() {
                // There may be others.
                core.due = true;
                return entered;
            }
        }
        None
    }

    /// What the core runs.
    pub(crate) fn here(&self, core: &CoreState<H>) -> Here {
        match &core.current {
            _ if core.booting.is_some() => Here::Boot,
            _ if core.interrupting => Here::Interrupt,
            Some(current) if current.partition.config.other_secure_interrupts_queued => {
                Here::Queues
            }
            Some(_) => Here::Signals,
            None => Here::NormalWorld,
        }
    }

    /// Where the context is.
    fn target(
        &self,
        core: &mut CoreState<H>,
        partition: &Partition<H>,
        slot: &Vcpu<H>,
        name: VcpuRef,
        hw: &mut H,
    ) -> Target {
        if partition.health() == Health::Aborted {
            return Target::Aborted;
        }
        let index = core.index;
        let target = slot.inspect(|state| match state {
            VcpuState::Running { core } if *core == index => Target::Running,
            VcpuState::Running { .. } => Target::RunningElsewhere,
            VcpuState::Waiting(_) => Target::Waiting,
            VcpuState::Blocked { .. } => Target::BlockedElsewhere,
            VcpuState::Preempted { .. } => Target::Preempted,
            VcpuState::Off(_) => Target::Off,
            VcpuState::Aborted(_) => Target::Aborted,
        });
        match target {
            Target::Waiting if slot.interrupts.is_left() => Target::Left,
            Target::Waiting => match slot.spent.over(partition.config.interrupt_share, hw) {
                Some(until) => {
                    slot.timers.wait_for_budget(until);
                    self.adopt_deadlines(core, slot, hw);
                    Target::OverBudget
                }
                None => Target::Waiting,
            },
            Target::BlockedElsewhere if self.is_ancestor(core, name) => Target::BlockedHere,
            other => other,
        }
    }

    /// The running context, if any, loses the core to an interrupt of another: only
    /// [`resume_interrupted`](Self::resume_interrupted) and [`resume_suspended`](Self::resume_suspended) run it
    /// again.
    fn suspend(&self, core: &mut CoreState<H>, hw: &mut H) -> Option<VcpuRef> {
        let Current {
            slot,
            vcpu,
            context,
            activation,
            ..
        } = core.current.take()?;
        hw.park(context);
        self.keep_deadlines(core, slot, context, hw);
        slot.rest(VcpuState::Preempted {
            context,
            activation,
            core: SUSPENDED,
        });
        Some(vcpu)
    }

    /// Enters a context that waits in RTM_SEC_INTERRUPT; `None` if it does not wait any more, or is left to the
    /// scheduler.
    fn enter_for_interrupt(
        &self,
        core: &mut CoreState<H>,
        partition: &'static Partition<H>,
        slot: &'static Vcpu<H>,
        vcpu: VcpuRef,
        hw: &mut H,
    ) -> Option<Action> {
        if slot.interrupts.ignores(MOST_IGNORED) {
            log::warn!(
                "{} vCPU {} was entered for an interrupt {MOST_IGNORED} times and fetched none: \
                 it is left to the normal world's scheduler",
                partition.config.name,
                vcpu.vcpu()
            );
            self.leave_to_scheduler(slot, hw);
            return None;
        }
        let claimed = slot.claim(core.index, |state| match state {
            VcpuState::Waiting(_) => Ok(()),
            _ => Err(()),
        });
        let context = match claimed {
            Ok(VcpuState::Waiting(context)) => context,
            Ok(other) => {
                // Excluded by the claim.
                slot.rest(other);
                return None;
            }
            Err(()) => return None,
        };
        let interrupted = self.suspend(core, hw);
        signal(partition, slot, context, 0);
        let activation = Activation::new(
            RuntimeModel::SecureInterrupt,
            Initiator::Interrupted(interrupted),
            NonSecureInterrupts::Queued,
        );
        let now = hw.now();
        slot.spent.begin(now);
        core.interrupting = true;
        core.time_left = match core.bound {
            NEVER => NEVER,
            bound => bound.saturating_sub(now),
        };
        let current = Current {
            partition,
            slot,
            vcpu,
            context,
            activation,
        };
        let action = self.run(core, current, hw);
        let bound = deadline(hw, self.run_timeout_of(partition));
        core.set_bound(Some(bound), hw);
        Some(action)
    }

    /// Enters a context of this core's chain that awaits an answer; `None` if it does so no more, or has been entered
    /// often and fetched none: whom it awaits would never go on.
    fn enter_blocked(
        &self,
        core: &mut CoreState<H>,
        partition: &'static Partition<H>,
        slot: &'static Vcpu<H>,
        vcpu: VcpuRef,
        hw: &mut H,
    ) -> Option<Action> {
        if slot.interrupts.ignores(MOST_IGNORED) {
            return None;
        }
        let claimed = slot.claim(core.index, |state| match state {
            VcpuState::Blocked { .. } => Ok(()),
            _ => Err(()),
        });
        let (context, activation, on) = match claimed {
            Ok(VcpuState::Blocked {
                context,
                activation,
                on,
            }) => (context, activation, on),
            Ok(other) => {
                // Excluded by the claim.
                slot.rest(other);
                return None;
            }
            Err(()) => return None,
        };
        self.suspend(core, hw);
        let awaited = self.partition(on).map_or(0, |partition| {
            EndpointId::pair(partition.config.id, EndpointId(on.vcpu_id()))
        });
        signal(partition, slot, context, awaited);
        slot.suspend_callee(on);
        let current = Current {
            partition,
            slot,
            vcpu,
            context,
            activation: activation.with_callee(true),
        };
        Some(self.run(core, current, hw))
    }

    /// FFA_RUN by a context that was entered while it awaited an answer: it awaits it again, and who was
    /// preempted goes on.
    ///
    /// # Errors
    /// DENIED for any other context than the one that it awaits.
    pub(crate) fn run_suspended(
        &self,
        core: &mut CoreState<H>,
        target: VcpuRef,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        let slot = core.current.as_ref().map(|current| current.slot);
        let slot = slot.ok_or(FfaError::Denied)?;
        if slot.callee() != target {
            return Err(FfaError::Denied);
        }
        let Some(Current {
            slot,
            context,
            activation,
            ..
        }) = core.current.take()
        else {
            return Err(FfaError::Denied);
        };
        hw.park(context);
        self.keep_deadlines(core, slot, context, hw);
        Ok(self.await_again(core, slot, context, activation, target, hw))
    }

    /// The context of `slot`, which has the core, awaits `callee` again.
    fn await_again(
        &self,
        core: &mut CoreState<H>,
        slot: &Vcpu<H>,
        context: Context<H>,
        activation: Activation,
        callee: VcpuRef,
        hw: &mut H,
    ) -> Action {
        slot.rest(VcpuState::Blocked {
            context,
            activation: activation.with_callee(false),
            on: callee,
        });
        // Something may have become pending for one that could not be entered while this one ran.
        core.due = true;
        let mut last = callee;
        // A chain holds each context once.
        for _ in 0..=self.partitions.len() {
            let slot = self.partition(last).and_then(|p| p.vcpus.get(last.vcpu()));
            let next = slot.and_then(|slot| {
                slot.inspect(|state| match state {
                    VcpuState::Blocked { on, .. } => Some(*on),
                    _ => None,
                })
            });
            match next {
                Some(next) => last = next,
                None => break,
            }
        }
        self.resume_interrupted(core, Some(last), hw)
    }

    /// A context that has `activation` does not go on: its partition ended. Whom it suspended finishes first, and
    /// finds it aborted; else its initiator is told.
    pub(crate) fn end_activation(
        &self,
        core: &mut CoreState<H>,
        slot: &Vcpu<H>,
        context: Context<H>,
        activation: Activation,
        hw: &mut H,
    ) -> Action {
        if activation.has_callee() {
            return self.await_again(core, slot, context, activation, slot.callee(), hw);
        }
        slot.rest(VcpuState::Aborted(context));
        self.hand_back(core, activation.initiator(), FfaError::Aborted, hw)
    }

    /// The context of `slot` waits and has something pending: it is entered again, or left to the normal world's
    /// scheduler, as with an IPI (I14).
    #[cold]
    #[inline(never)]
    pub(crate) fn waits_with_interrupt(
        &self,
        core: &mut CoreState<H>,
        partition: &Partition<H>,
        slot: &Vcpu<H>,
        hw: &mut H,
    ) {
        if partition.config.sri_on_entering_wait || !slot.interrupts.wakes() {
            self.leave_to_scheduler(slot, hw);
        }
        // After that: what comes meanwhile is not left with an IPI.
        if !partition.config.sri_on_entering_wait && slot.interrupts.wakes() {
            slot.interrupts.leave_to_scheduler(false);
            core.due = true;
        }
    }

    /// The running context would wait and has not deactivated an interrupt that it fetched: what is active ends.
    ///
    /// # Errors
    /// DENIED in RTM_SEC_INTERRUPT, the first time (R10); nothing changes then.
    #[cold]
    #[inline(never)]
    pub(crate) fn owes_deactivation(
        &self,
        current: &Current<H>,
        hw: &mut H,
    ) -> Result<(), FfaError> {
        let refuse = current.activation.model() == RuntimeModel::SecureInterrupt;
        let interrupts = &current.slot.interrupts;
        let settled = interrupts.settle(refuse, |ended| hw.deactivate(ended.intid, ended.core));
        settled.map_err(|()| {
            log::debug!(
                "{} vCPU {} may not wait: it has not deactivated an interrupt",
                current.partition.config.name,
                current.vcpu.vcpu()
            );
            FfaError::Denied
        })
    }

    /// The context of `slot`, which was entered in RTM_SEC_INTERRUPT, is done.
    pub(crate) fn end_interrupt(&self, core: &mut CoreState<H>, slot: &Vcpu<H>, hw: &mut H) {
        slot.spent.end(hw.now());
        self.end_interrupting(core, hw);
    }

    /// The chain that Bulkhead scheduled is over: what it interrupted has as much time left as it had.
    pub(crate) fn end_interrupting(&self, core: &mut CoreState<H>, hw: &mut H) {
        core.interrupting = false;
        let bound = hw.now().saturating_add(core.time_left);
        core.set_bound(Some(bound), hw);
    }

    /// Whoever lost the core to an interrupt goes on: a context, or the normal world, whose registers are ready.
    pub(crate) fn resume_interrupted(
        &self,
        core: &mut CoreState<H>,
        who: Option<VcpuRef>,
        hw: &mut H,
    ) -> Action {
        let found = who.and_then(|vcpu| {
            let partition = self.partition(vcpu)?;
            Some((vcpu, partition, partition.vcpus.get(vcpu.vcpu())?))
        });
        let Some((vcpu, partition, slot)) = found else {
            return self.leave(core, hw);
        };
        let claimed = slot.claim(core.index, |state| match state {
            VcpuState::Preempted {
                core: SUSPENDED, ..
            } => Ok(()),
            _ => Err(()),
        });
        let (context, activation) = match claimed {
            Ok(VcpuState::Preempted {
                context,
                activation,
                ..
            }) => (context, activation),
            Ok(other) => {
                // Excluded by the claim.
                slot.rest(other);
                return self.leave(core, hw);
            }
            Err(()) => return self.leave(core, hw),
        };
        if partition.health() == Health::Aborted {
            return self.end_activation(core, slot, context, activation, hw);
        }
        let current = Current {
            partition,
            slot,
            vcpu,
            context,
            activation,
        };
        let action = self.run(core, current, hw);
        if core.non_secure == NonSecureInterrupts::Queued && core.bound == NEVER {
            // It is not the one that was interrupted, but one that goes on since that one ended (K5).
            self.keep_waiting(core, self.run_timeout_of(partition), hw);
        }
        self.serve_due(core, hw).unwrap_or(action)
    }

    /// A chain that Bulkhead schedules for an interrupt has used up its time.
    ///
    /// If its first partition has an interrupt that it has fetched and, for half of the time, not deactivated, that
    /// is aborted, and so is whoever runs for it and does not come back within as long again. Else the chain becomes one of the normal world,
    /// whose scheduler is told whom to run.
    pub(crate) fn interrupt_is_over(&self, core: &mut CoreState<H>, hw: &mut H) -> Action {
        let head = self.ancestors(core).last().or(core.running());
        let found = head.and_then(|head| {
            let partition = self.partition(head)?;
            Some((head, partition, partition.vcpus.get(head.vcpu())?))
        });
        let Some((head, partition, slot)) = found else {
            return core.resume();
        };
        let bound = self.run_timeout_of(partition);
        let is_running = core.running() == Some(head);
        let ended = partition.health() == Health::Aborted;
        // One that it has fetched a moment ago it may still deactivate.
        let half = ticks(hw, u64::from(bound).saturating_mul(500));
        let owes = (slot.interrupts.owes_since())
            .is_some_and(|since| hw.now().saturating_sub(since) >= half);
        if is_running && (ended || owes) {
            let why = format_args!("it did not deactivate an interrupt within {bound} ms");
            return self.abort_running(core, hw, why);
        }
        if ended {
            let why =
                format_args!("it did not answer within {bound} ms a partition that was aborted");
            let action = self.abort_running(core, hw, why);
            if core.interrupting {
                core.set_bound(Some(deadline(hw, bound)), hw);
            }
            return action;
        }
        if owes {
            self.end(
                partition,
                head,
                format_args!("aborted: it did not deactivate an interrupt within {bound} ms"),
                hw,
            );
            core.set_bound(Some(deadline(hw, bound)), hw);
            return core.resume();
        }
        self.give_to_scheduler(core, head, slot, hw)
    }

    /// The chain of `head`, which was entered for an interrupt, goes on when the normal world runs its last
    /// context: on any core, unless one of the chain is pinned. Its scheduler is told who, and not where.
    fn give_to_scheduler(
        &self,
        core: &mut CoreState<H>,
        head: VcpuRef,
        slot: &Vcpu<H>,
        hw: &mut H,
    ) -> Action {
        let Some(mut current) = core.current.take() else {
            return self.leave(core, hw);
        };
        let interrupted;
        if current.vcpu == head {
            interrupted = current.activation.initiator();
            current.activation = current.activation.for_normal_world();
        } else {
            interrupted = slot
                .with_activation(|activation| {
                    let before = activation.initiator();
                    *activation = activation.for_normal_world();
                    before
                })
                .unwrap_or(Initiator::NormalWorld);
        }
        let Current {
            slot: last,
            context,
            activation,
            ..
        } = current;
        hw.park(context);
        self.keep_deadlines(core, last, context, hw);
        last.rest(VcpuState::Preempted {
            context,
            activation,
            core: core.index,
        });
        // One that is pinned goes on here.
        let _ = self.release_chain(core, last);
        self.end_interrupt(core, slot, hw);
        self.leave_to_scheduler(last, hw);
        let who = match interrupted {
            Initiator::Interrupted(who) => who,
            _ => None,
        };
        self.resume_interrupted(core, who, hw)
    }

    /// For how long `partition` may keep the core.
    pub(crate) fn run_timeout_of(&self, partition: &Partition<H>) -> u32 {
        let own = partition.config.run_timeout_ms;
        own.unwrap_or(self.run_timeout_ms)
    }
}

/// The call that `context` made last ends with FFA_INTERRUPT.
fn signal<H: Hardware>(
    partition: &Partition<H>,
    slot: &Vcpu<H>,
    context: &mut H::Context,
    awaited: u64,
) {
    let registers = context.registers_mut();
    let extended = extended_rule(partition.version(), registers);
    let id = Function::Interrupt.id(Width::W32);
    let intid = slot.interrupts.first().map_or(0, u64::from);
    registers.reply(extended, [id, awaited, intid, 0, 0, 0, 0, 0]);
}
