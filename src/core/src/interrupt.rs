// SPDX-License-Identifier: MIT OR Apache-2.0
//! Physical interrupts at S-EL2, and the paravirtual interrupt calls.

use bulkhead_abi::paravirt::{self, Paravirt, Reconfigure};

use crate::event::Action;
use crate::hardware::{Acknowledged, Hardware};
use crate::partition::Health;
use crate::spmc::{CoreState, Spmc, deadline};
use crate::vcpu::NonSecureInterrupts;

/// The virtual INTIDs of FF-A's own events, which any partition may enable.
const VIRTUAL_INTIDS: [u32; 4] = [
    paravirt::INTID_TIMER,
    paravirt::INTID_MANAGED_EXIT,
    paravirt::INTID_NOTIFICATION_PENDING,
    paravirt::INTID_IPI,
];

impl<H: Hardware> Spmc<H> {
    /// A secure interrupt fired while a partition ran.
    pub(crate) fn secure_interrupt(&self, core: &mut CoreState<H>, hw: &mut H) -> Action {
        match hw.acknowledge() {
            Acknowledged::Deadline => self.time_is_over(core, hw),
            Acknowledged::Secure(intid) => {
                self.unowned_interrupt(intid, hw);
                core.resume()
            }
            Acknowledged::Spurious => core.resume(),
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

    /// A paravirtual interrupt call of the running partition; the result goes to x0.
    ///
    /// A partition may enable the virtual interrupts of FF-A's own events and those of its devices.
    /// Nothing makes any of them pending yet, so "get" has none to report.
    pub(crate) fn paravirtual_call(&self, core: &mut CoreState<H>, id: u32) -> Option<Action> {
        let partition = self.running_partition(core)?;
        let call = core.caller();
        let intid = call.w::<1>();
        let of_device = partition.config.interrupts.contains(&intid);
        let accepted = match Paravirt::decode(id)? {
            Paravirt::InterruptGet => {
                call.set_x::<0>(paravirt::NO_INTERRUPT);
                return Some(core.resume());
            }
            Paravirt::InterruptEnable => of_device || VIRTUAL_INTIDS.contains(&intid),
            Paravirt::InterruptReconfigure => {
                of_device && Reconfigure::from_register(call.x::<2>()) == Some(Reconfigure::Enable)
            }
            Paravirt::InterruptDeactivate | Paravirt::SendIpi => false,
        };
        call.set_x::<0>(if accepted {
            paravirt::SUCCESS
        } else {
            paravirt::FAILURE
        });
        Some(core.resume())
    }
}
