// SPDX-License-Identifier: MIT OR Apache-2.0
//! Physical interrupts at S-EL2, and the paravirtual interrupt calls.

use bulkhead_abi::paravirt::{self, Line, Paravirt, Reconfigure};

use crate::event::Action;
use crate::hardware::{Acknowledged, Hardware, VcpuContext};
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

    /// A paravirtual interrupt call of the running partition; the result goes to x0 (C-14).
    ///
    /// A partition may enable the virtual interrupts of FF-A's own events and those of its devices. Of
    /// these, the notification pending interrupt comes; nothing makes others pending yet. An interrupt is
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
