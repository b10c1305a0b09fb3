// SPDX-License-Identifier: MIT OR Apache-2.0
//! FFA_YIELD: a partition gives the core away for a while.
//!
//! Who gave it its cycles decides what that means. Where the call chain began in the normal world, the
//! normal world gets the core with the wish, as it does when it preempts the chain: the whole chain rests,
//! and FFA_RUN goes on with the context that yielded. Where the chain began at Bulkhead, which brings
//! partitions up, or at a logical partition, nobody else may run on this core: Bulkhead waits as long as it
//! was asked to.

use bulkhead_abi::cycles::{Target, yield_timeout};
use bulkhead_abi::{FfaError, Function, VcpuIndex, Width};

use crate::event::Action;
use crate::hardware::Hardware;
use crate::runtime_model::Transition;
use crate::spmc::{CoreState, Spmc, deadline};

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
        let booting = core.booting.is_some();
        if booting || self.serves_logical(core) {
            // There is nobody who could make FFA_RUN. The chain's own bound ends the wait, too.
            let bound = if booting {
                self.init_timeout_ms
            } else {
                self.run_timeout_ms
            };
            let bound = deadline(hw, bound);
            let wanted = hw.now().saturating_add(ticks(hw, nanoseconds));
            hw.wait_until(wanted.min(bound));
            return Ok(action);
        }
        let id = Function::Yield.id(Width::W32);
        Ok(self.rest_for_run(core, hw, [id, own.encode(), low, high, 0, 0, 0, 0]))
    }
}

/// So many nanoseconds in ticks, rounded down.
fn ticks<H: Hardware>(hw: &H, nanoseconds: u64) -> u64 {
    const SECOND: u64 = 1_000_000_000;
    let frequency = hw.ticks_per_second();
    let seconds = (nanoseconds / SECOND).saturating_mul(frequency);
    let rest = (nanoseconds % SECOND).saturating_mul(frequency) / SECOND;
    seconds.saturating_add(rest)
}
