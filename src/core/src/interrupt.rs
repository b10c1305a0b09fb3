// SPDX-License-Identifier: MIT OR Apache-2.0
//! Physical interrupts at S-EL2, and the paravirtual interrupt calls.

use bulkhead_abi::paravirt::{self, Line, Paravirt, Reconfigure};

use crate::event::Action;
use crate::hardware::{Acknowledged, Hardware, VcpuContext};
use crate::partition::Health;
use crate::spmc::{CoreState, Spmc, deadline};
use crate::vcpu::{NonSecureInterrupts, VcpuRef};
use crate::virtual_interrupt::VirtualInterrupts;

/// The virtual INTIDs of FF-A's own events, which any partition may enable.
const VIRTUAL_INTIDS: [u32; 4] = [
    paravirt::INTID_TIMER,
    paravirt::INTID_MANAGED_EXIT,
    paravirt::INTID_NOTIFICATION_PENDING,
    paravirt::INTID_IPI,
];

/// A managed exit: a chain in which a partition asked to be told gives the core back (C-05, C9).
///
/// From its first non-secure interrupt on the chain has the run timeout to do so, however often it changes hands,
/// since each partition in it that asks for a managed exit is told in turn: non-secure interrupts are masked
/// while a context leaves, and fire again in the next one.
#[derive(Debug)]
pub(crate) struct ManagedExit {
    /// The counter value at which the chain is preempted.
    by: u64,
    /// The interrupts of the context that was told last.
    told: Option<&'static VirtualInterrupts>,
}

impl<H: Hardware> CoreState<H> {
    /// Whoever was told has left, or lost the core; with `now` signalled, so has the whole chain.
    #[inline]
    pub(crate) fn end_exit(&mut self, now: NonSecureInterrupts) {
        let Some(exit) = &mut self.exit else {
            return;
        };
        if let Some(told) = exit.told.take() {
            told.withdraw(paravirt::INTID_MANAGED_EXIT);
        }
        if now == NonSecureInterrupts::Signaled {
            self.exit = None;
        }
    }
}

impl<H: Hardware> Spmc<H> {
    /// Non-secure interrupts stay pending until the chain is done or its time is over.
    pub(crate) fn keep_waiting(&self, core: &mut CoreState<H>, hw: &mut H) {
        let by = core.exit.as_ref().map(|exit| exit.by);
        hw.mask_non_secure_interrupts(true);
        hw.set_deadline(Some(
            by.unwrap_or_else(|| deadline(hw, self.run_timeout_ms)),
        ));
    }

    /// A non-secure interrupt fired in a chain where a partition asks for a managed exit. The running one is told; or
    /// it is one that others wait for, and they are told when they run again (C-06). Where none has the interrupt
    /// enabled there is nobody to tell, and the chain is preempted.
    #[inline(never)]
    fn managed_exit(&self, core: &mut CoreState<H>, hw: &mut H) -> Action {
        let listens = |vcpu: VcpuRef| {
            let partition = self.partition(vcpu)?;
            let interrupts = &partition.vcpus.get(vcpu.vcpu())?.interrupts;
            let asks = partition.config.non_secure_interrupts == NonSecureInterrupts::ManagedExit;
            (asks && interrupts.is_enabled(paravirt::INTID_MANAGED_EXIT)).then_some(interrupts)
        };
        let told = core.running().and_then(listens);
        if let Some(told) = told {
            told.pend(paravirt::INTID_MANAGED_EXIT);
        } else if self.ancestors(core).find_map(listens).is_none() {
            return self.preempt(core, hw);
        }
        let by = core.exit.as_ref().map(|exit| exit.by);
        let by = by.unwrap_or_else(|| deadline(hw, self.run_timeout_ms));
        core.exit = Some(ManagedExit { by, told });
        core.non_secure = NonSecureInterrupts::Queued;
        self.keep_waiting(core, hw);
        core.resume()
    }

    /// A secure interrupt fired while a partition ran.
    pub(crate) fn secure_interrupt(&self, core: &mut CoreState<H>, hw: &mut H) -> Action {
        match hw.acknowledge() {
            Acknowledged::Deadline => self.time_is_over(core, hw),
            Acknowledged::Secure(intid) => {
                self.unowned_interrupt(intid, hw);
                core.resume()
            }
            Acknowledged::Kick | Acknowledged::Spurious => core.resume(),
        }
    }

    /// A secure interrupt fired while the core waited: none is due to anybody.
    pub(crate) fn interrupt_while_waiting(&self, hw: &mut H) {
        if let Acknowledged::Secure(intid) = hw.acknowledge() {
            self.unowned_interrupt(intid, hw);
        }
    }

    /// A non-secure or Group 0 interrupt fired while a partition ran: EL3 handles Group 0 at once,
    /// the normal world gets the core for its own unless the partition may keep it waiting.
    pub(crate) fn non_secure_interrupt(&self, core: &mut CoreState<H>, hw: &mut H) -> Action {
        if hw.hand_group0_to_el3() {
            return core.resume();
        }
        if core.booting.is_some() {
            // There is no normal world to give the core to.
            hw.mask_non_secure_interrupts(true);
            return core.resume();
        }
        if core.non_secure == NonSecureInterrupts::ManagedExit {
            return self.managed_exit(core, hw);
        }
        self.preempt(core, hw)
    }

    /// The run or the initialisation of the running context took longer than its bound
    /// (DECISIONS 24).
    fn time_is_over(&self, core: &mut CoreState<H>, hw: &mut H) -> Action {
        if core.booting.is_some() {
            // Whoever goes on after this, up to the end of this initialisation, has a bound, too.
            hw.set_deadline(Some(deadline(hw, self.run_timeout_ms)));
            return self.initialisation_is_over(core, hw);
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
    pub(crate) fn unowned_interrupt(&self, intid: u32, hw: &mut H) {
        log::warn!("secure interrupt {intid} belongs to no partition: disabled");
        hw.disable_interrupt(intid);
    }

    /// A paravirtual interrupt call of the running partition; the result goes to x0 (C-14).
    ///
    /// A partition may enable the virtual interrupts of FF-A's own events and those of its devices. Of
    /// these, the notification pending and managed exit interrupts come; nothing makes others pending yet. An interrupt is
    /// over when it is fetched, so that a partition which never deactivates makes progress.
    pub(crate) fn paravirtual_call(&self, core: &mut CoreState<H>, id: u32) -> Option<Action> {
        let call = Paravirt::decode(id)?;
        let current = core.current.as_mut()?;
        let interrupts = &current.slot.interrupts;
        let registers = current.context.registers_mut();
        let intid = registers.w::<1>();
        let is_virtual = VIRTUAL_INTIDS.contains(&intid);
        let of_device = current.partition.config.interrupts.contains(&intid);
        let accepted = match call {
            Paravirt::InterruptGet => {
                let found = interrupts.fetch().map(u64::from);
                registers.set_x::<0>(found.unwrap_or(paravirt::NO_INTERRUPT));
                return Some(core.resume());
            }
            Paravirt::InterruptEnable => {
                let line = Line::from_register(registers.x::<3>());
                match line {
                    Some(line) if is_virtual && registers.x::<2>() != 0 => {
                        interrupts.enable(intid, line);
                    }
                    Some(_) if is_virtual => interrupts.disable(intid),
                    _ => {}
                }
                line.is_some() && (is_virtual || of_device)
            }
            Paravirt::InterruptReconfigure => {
                of_device
                    && Reconfigure::from_register(registers.x::<2>()) == Some(Reconfigure::Enable)
            }
            Paravirt::InterruptDeactivate => {
                (is_virtual || of_device) && registers.w::<2>() == intid
            }
            Paravirt::SendIpi => false,
        };
        registers.set_x::<0>(if accepted {
            paravirt::SUCCESS
        } else {
            paravirt::FAILURE
        });
        Some(core.resume())
    }
}
