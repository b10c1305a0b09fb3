// SPDX-License-Identifier: MIT OR Apache-2.0
//! The paravirtual interrupt calls of partitions (C-14): HVC or SMC with the id in x0, the result in x0.

use bulkhead_abi::paravirt::{self, Line, Paravirt, Reconfigure};

use crate::event::Action;
use crate::hardware::{Hardware, VcpuContext};
use crate::partition::{Health, Partition};
use crate::spmc::{CoreState, Spmc};
use crate::vcpu::{StateName, VcpuRef};

impl<H: Hardware> Spmc<H> {
    /// A paravirtual interrupt call of the running partition; `None` if `id` is none.
    ///
    /// An interrupt of a device is physical, too: enabling it enables both, and deactivating it ends both, so
    /// that one whose source is still active fires again.
    pub(crate) fn paravirtual_call(
        &self,
        core: &mut CoreState<H>,
        id: u32,
        hw: &mut H,
    ) -> Option<Action> {
        let call = Paravirt::decode(id)?;
        let current = core.current.as_mut()?;
        let (partition, slot, vcpu) = (current.partition, current.slot, current.vcpu);
        let registers = current.context.registers();
        let (x1, x2, x3) = (registers.x::<1>(), registers.x::<2>(), registers.x::<3>());
        let intid = u32::try_from(x1).unwrap_or(u32::MAX);
        let index = core.index;
        let accepted = match call {
            // Its GIC does that (C-18).
            Paravirt::InterruptEnable | Paravirt::InterruptDeactivate | Paravirt::SendIpi
                if partition.gic.is_some() =>
            {
                false
            }
            Paravirt::InterruptGet => {
                hw.unmask_virtual_timer(&mut *current.context);
                let found = slot.interrupts.fetch(hw.now()).map(u64::from);
                let found = found.unwrap_or(paravirt::NO_INTERRUPT);
                core.caller().set_x::<0>(found);
                return Some(core.resume());
            }
            Paravirt::InterruptEnable => Line::from_register(x3).is_some_and(|line| {
                let enable = x2 != 0;
                let known = slot.interrupts.enable(intid, line, enable);
                if known && has(partition, intid) {
                    let anywhere = enable || is_enabled(partition, vcpu, intid);
                    enable_physical(partition, intid, anywhere, index, hw);
                }
                known
            }),
            Paravirt::InterruptDeactivate => {
                hw.unmask_virtual_timer(&mut *current.context);
                x1 == x2
                    && slot.interrupts.deactivate(intid).is_ok_and(|ended| {
                        if let Some(ended) = ended {
                            hw.deactivate(ended.intid, ended.core);
                        }
                        true
                    })
            }
            Paravirt::InterruptReconfigure => {
                has(partition, intid)
                    && Reconfigure::from_register(x2)
                        .is_some_and(|what| reconfigure(partition, intid, what, x3, index, hw))
            }
            Paravirt::SendIpi => self.send_ipi(core, partition, vcpu, x1, hw),
        };
        core.caller().set_x::<0>(if accepted {
            paravirt::SUCCESS
        } else {
            paravirt::FAILURE
        });
        Some(core.resume())
    }

    /// An interrupt of `sender` to context `target` of its own partition (C-15, I14): the core that runs it is
    /// kicked, and if it waits, the normal world's scheduler is told. `false` if there is no such context, or it
    /// has not started.
    fn send_ipi(
        &self,
        core: &mut CoreState<H>,
        partition: &'static Partition<H>,
        sender: VcpuRef,
        target: u64,
        hw: &mut H,
    ) -> bool {
        let target = usize::try_from(target).unwrap_or(usize::MAX);
        let name = VcpuRef::new(sender.partition(), target);
        let (true, Some(slot), Some(name)) =
            (partition.is_multi_core(), partition.vcpus.get(target), name)
        else {
            return false;
        };
        if matches!(slot.state(), StateName::Off | StateName::Aborted) {
            return false;
        }
        slot.interrupts.pend(paravirt::INTID_IPI);
        if slot.state() == StateName::Waiting {
            self.leave_to_scheduler(slot, hw);
        }
        // For another interrupt that it has pending, Bulkhead enters it: that is not left with this one.
        self.tell(core, name, hw);
        true
    }
}

/// Enables the physical interrupt `intid` of the partition on `core`, or disables it.
pub(crate) fn enable_physical<H: Hardware>(
    partition: &Partition<H>,
    intid: u32,
    enable: bool,
    core: usize,
    hw: &mut H,
) {
    hw.enable_interrupt(intid, core, enable);
    // Whoever ends the partition disables it after it said so, or it is disabled here (I16).
    if enable && partition.health() == Health::Aborted {
        hw.enable_interrupt(intid, core, false);
    }
}

/// Whether `intid` is a device's of the partition.
fn has<H: Hardware>(partition: &Partition<H>, intid: u32) -> bool {
    partition.config.interrupts.contains(&intid)
}

/// Whether a context of the partition other than `but` has the shared interrupt `intid` enabled. Private ones
/// are each context's own.
fn is_enabled<H: Hardware>(partition: &Partition<H>, but: VcpuRef, intid: u32) -> bool {
    let is_shared = matches!(intid, 32..=1019 | 4096..=5119);
    let others = partition.vcpus.iter().enumerate();
    let mut others = others.filter(|(index, _)| *index != but.vcpu());
    is_shared && others.any(|(_, slot)| slot.interrupts.is_enabled(intid))
}

/// Changes the physical interrupt `intid` of the partition; `false` if it cannot be so (I8).
///
/// The target is the index of a core; one whose context of the partition has not started could not handle
/// it. A partition's interrupts are secure and stay so.
fn reconfigure<H: Hardware>(
    partition: &Partition<H>,
    intid: u32,
    what: Reconfigure,
    value: u64,
    core: usize,
    hw: &mut H,
) -> bool {
    match (what, value) {
        (Reconfigure::TargetPe, _) => {
            let Ok(target) = usize::try_from(value) else {
                return false;
            };
            let slot = partition.vcpus.get(partition.vcpu_for_core(target));
            let started = slot.is_some_and(|slot| slot.state() != StateName::Off);
            started && hw.route_interrupt(intid, target)
        }
        (Reconfigure::SecurityState, 0) => true,
        (Reconfigure::Enable, 0 | 1) => {
            enable_physical(partition, intid, value == 1, core, hw);
            true
        }
        (Reconfigure::SecurityState | Reconfigure::Enable, _) => false,
    }
}
