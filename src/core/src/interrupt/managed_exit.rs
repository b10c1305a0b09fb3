// SPDX-License-Identifier: MIT OR Apache-2.0
//! Managed exit: a chain in which a partition asked to be told of a non-secure interrupt gives the core back
//! (C-05, C9).

use bulkhead_abi::paravirt;

use crate::event::Action;
use crate::hardware::Hardware;
use crate::spmc::{CoreState, Spmc, deadline};
use crate::vcpu::{NonSecureInterrupts, VcpuRef};
use crate::virtual_interrupt::VirtualInterrupts;

/// What is known of it.
///
/// From its first non-secure interrupt on the chain has the run timeout to do so, however often it changes hands,
/// since each partition in it that asks for a managed exit is told in turn: non-secure interrupts are masked
/// while a context leaves, and fire again in the next one.
#[derive(Debug)]
pub(crate) struct ManagedExit {
    /// The counter value at which the chain is preempted.
    pub(crate) by: u64,
    /// The interrupts of the context that was told last.
    told: Option<&'static VirtualInterrupts>,
}

impl<H: Hardware> CoreState<H> {
    /// Whoever was told has left, or lost the core; with `now` signalled, so has the whole chain.
    #[inline]
    pub(crate) fn end_exit(&mut self, now: NonSecureInterrupts) {
        if self.exit.is_none() {
            return;
        }
        self.told_has_left();
        if now == NonSecureInterrupts::Signaled {
            self.exit = None;
        }
    }

    /// Whoever was told has left, or lost the core: it is told no more. Another core may run it from then on.
    #[cold]
    #[inline(never)]
    pub(crate) fn told_has_left(&mut self) {
        if let Some(told) = self.exit.as_mut().and_then(|exit| exit.told.take()) {
            told.withdraw(paravirt::INTID_MANAGED_EXIT);
        }
    }
}

impl<H: Hardware> Spmc<H> {
    /// A non-secure interrupt fired in a chain where a partition asks for a managed exit. The running one is told; or
    /// it is one that others wait for, and they are told when they run again (C-06). Where none has the interrupt
    /// enabled there is nobody to tell, and the chain is preempted.
    #[inline(never)]
    pub(crate) fn managed_exit(&self, core: &mut CoreState<H>, hw: &mut H) -> Action {
        let listens = |vcpu: VcpuRef| {
            let partition = self.partition(vcpu)?;
            let interrupts = &partition.vcpus.get(vcpu.vcpu())?.interrupts;
            let asks = partition.config.non_secure_interrupts == NonSecureInterrupts::ManagedExit;
            (asks && interrupts.is_enabled(paravirt::INTID_MANAGED_EXIT)).then_some(interrupts)
        };
        let timeout = (self.running_partition(core)).map_or(self.run_timeout_ms, |partition| {
            self.run_timeout_of(partition)
        });
        let told = core.running().and_then(listens);
        if let Some(told) = told {
            told.pend(paravirt::INTID_MANAGED_EXIT);
        } else if self.ancestors(core).find_map(listens).is_none() {
            return self.preempt(core, hw);
        }
        let by = core.exit.as_ref().map(|exit| exit.by);
        let by = by.unwrap_or_else(|| deadline(hw, timeout));
        core.exit = Some(ManagedExit { by, told });
        core.non_secure = NonSecureInterrupts::Queued;
        self.keep_waiting(core, timeout, hw);
        core.resume()
    }
}
