// SPDX-License-Identifier: MIT OR Apache-2.0
//! FFA_YIELD and WFI: a partition gives the core away for a while (A-76, F-07).
//!
//! Who gave it its cycles decides what that means. Where the call chain began in the normal world, the
//! normal world gets the core with the wish, as it does when it preempts the chain: the whole chain rests,
//! and FFA_RUN goes on with the context that yielded. Where the chain began at Bulkhead, which brings
//! partitions up, or at a logical partition, nobody else may run on this core: Bulkhead waits as long as it
//! was asked to. Who handles a secure interrupt has the core until it is done: neither has an effect.
//!
//! WFI without anything pending is FFA_YIELD until the context's own next deadline.

use bulkhead_abi::cycles::{Target, yield_timeout};
use bulkhead_abi::{FfaError, Function, VcpuIndex, Width};

use crate::event::Action;
use crate::hardware::{Hardware, VcpuContext};
use crate::runtime_model::Transition;
use crate::spmc::{CoreState, Spmc, deadline};
use crate::timer::NEVER;

impl<H: Hardware> Spmc<H> {
    /// FFA_YIELD from a partition; w2 and w3 say for how long, in nanoseconds. It ends with FFA_SUCCESS when
    /// the partition runs again.
    ///
    /// # Errors
    /// INVALID_PARAMETERS if w1 is not zero and names another execution context (G33); DENIED in a runtime
    /// model without it.
    pub(crate) fn partition_yield(
        &self,
        core: &mut CoreState<H>,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        self.may_transition(core, Transition::Yield)?;
        let Some(current) = &core.current else {
            return Err(FfaError::Denied);
        };
        let own = Target {
            endpoint: current.partition.config.id,
            vcpu: VcpuIndex(current.vcpu.vcpu_id()),
        };
        let call = core.caller();
        let w1 = u64::from(call.w::<1>());
        if w1 != 0 && w1 != own.encode() {
            return Err(FfaError::InvalidParameters);
        }
        let (low, high) = (u64::from(call.w::<2>()), u64::from(call.w::<3>()));
        let nanoseconds = yield_timeout(call);
        let action = self.succeed(core, [0; 6]);
        if core.interrupting {
            // The normal world did not give the core away.
            return Ok(action);
        }
        if self.waits_here(core) {
            let wanted = hw.now().saturating_add(ticks(hw, nanoseconds));
            self.wait_here(core, wanted, hw);
            return Ok(action);
        }
        let id = Function::Yield.id(Width::W32);
        Ok(self.rest_for_run(core, hw, [id, own.encode(), low, high, 0, 0, 0, 0]))
    }

    /// WFI of the running context, or WFIT, which ends when its virtual counter is at `until` (F-07).
    pub(crate) fn idle(&self, core: &mut CoreState<H>, until: Option<u64>, hw: &mut H) -> Action {
        let Some(current) = &core.current else {
            return core.resume();
        };
        if current.slot.interrupts.any_raised() || core.interrupting {
            return core.resume();
        }
        let offset = current.context.counter_offset();
        let until = until.map_or(NEVER, |until| until.saturating_add(offset));
        let own = hw.virtual_timer(&*current.context).unwrap_or(NEVER);
        let wake = until.min(own).min(current.slot.timers.next());
        let now = hw.now();
        if wake <= now {
            // What is over becomes pending when its interrupt is taken.
            return core.resume();
        }
        if self.waits_here(core) {
            self.wait_here(core, wake, hw);
            return core.resume();
        }
        let own = Target {
            endpoint: current.partition.config.id,
            vcpu: VcpuIndex(current.vcpu.vcpu_id()),
        };
        let left = if wake == NEVER {
            0
        } else {
            nanoseconds(hw, wake.saturating_sub(now))
        };
        let (low, high) = (left & u64::from(u32::MAX), left >> 32);
        let id = Function::Yield.id(Width::W32);
        self.rest_for_run(core, hw, [id, own.encode(), low, high, 0, 0, 0, 0])
    }

    /// Whether nobody could make FFA_RUN for the chain of this core.
    fn waits_here(&self, core: &CoreState<H>) -> bool {
        core.booting.is_some() || self.serves_logical(core)
    }

    /// Waits until `wanted`, at most as long as the chain may take.
    fn wait_here(&self, core: &CoreState<H>, wanted: u64, hw: &mut H) {
        let bound = if core.booting.is_some() {
            self.init_timeout_ms
        } else {
            self.run_timeout_ms
        };
        let bound = deadline(hw, bound);
        hw.wait_until(wanted.min(bound));
    }
}

const SECOND: u64 = 1_000_000_000;

/// So many ticks in nanoseconds, rounded up.
fn nanoseconds<H: Hardware>(hw: &H, ticks: u64) -> u64 {
    let frequency = u128::from(hw.ticks_per_second().max(1));
    let all = u128::from(ticks).saturating_mul(u128::from(SECOND));
    u64::try_from(all.div_ceil(frequency)).unwrap_or(u64::MAX)
}

/// So many nanoseconds in ticks, rounded down.
fn ticks<H: Hardware>(hw: &H, nanoseconds: u64) -> u64 {
    let frequency = hw.ticks_per_second();
    let seconds = (nanoseconds / SECOND).saturating_mul(frequency);
    let rest = (nanoseconds % SECOND).saturating_mul(frequency) / SECOND;
    seconds.saturating_add(rest)
}
