// SPDX-License-Identifier: MIT OR Apache-2.0
//! The interrupt controller of a partition that has one of its own (C-18): `bulkhead,interrupt-controller`.

use super::SpManifest;
use crate::dt::{Field, Node};
use crate::error::{ManifestError, Rule};
use crate::ipa;
use crate::policy::ExceptionLevel;
use crate::range::Range;

pub(super) const NODE: &str = "bulkhead,interrupt-controller";
pub(super) const LEVEL: Field = Field::new(
    "compatible",
    "leave bulkhead,interrupt-controller out: a partition at S-EL0 has no interrupts",
);
const COMPATIBLE: &str = "bulkhead,gicv2";
const COMPATIBLE_FIX: &str =
    "write compatible = \"bulkhead,gicv2\"; or leave the node out for paravirtual interrupts";
pub(crate) const DISTRIBUTOR: Field = Field::new(
    "distributor",
    "write distributor = <IPA>; page-aligned, 4 KiB that nothing else of the partition has",
);
pub(crate) const CPU_INTERFACE: Field = Field::new(
    "cpu-interface",
    "write cpu-interface = <IPA>; page-aligned, 8 KiB that nothing else of the partition has",
);
const TIMER: Field = Field::new(
    "timer-interrupt",
    "write timer-interrupt = <INTID>; an SGI or a PPI, 0 to 31, not 27, once",
);
const MANAGED_EXIT: Field = Field::new(
    "managed-exit-interrupt",
    "write managed-exit-interrupt = <INTID>; an SGI or a PPI, 0 to 31, not 27, once",
);
const NOTIFICATION_PENDING: Field = Field::new(
    "notification-pending-interrupt",
    "write notification-pending-interrupt = <INTID>; an SGI or a PPI, 0 to 31, not 27, once",
);
const INITIALISED: Field = Field::new(
    "firmware-initialised",
    "write firmware-initialised; without a value, or leave it out",
);
const VCPUS: Field = Field::new(
    "execution-ctx-count",
    "write execution-ctx-count = <N>; of at most 8, which is what a GICv2 serves",
);
const NO_EXTENDED: Field = Field::new(
    "compatible",
    "give the device to a partition without a GICv2, which has no interrupt above 1019",
);
/// The EL1 virtual timer's, as on hardware.
const VIRTUAL_TIMER: u64 = 27;
/// The most vCPUs.
const MOST: u32 = 8;

/// A GICv2 that Bulkhead emulates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VirtualInterruptController {
    /// Where the distributor is, as secure IPAs.
    pub distributor: Range,
    /// Where the CPU interface is.
    pub cpu_interface: Range,
    /// The INTID of the EL1 physical timer, an SGI or a PPI: 30 where the manifest does not say.
    pub timer: u32,
    /// The INTID of the managed exit, 17 where the manifest does not say.
    pub managed_exit: u32,
    /// The INTID that tells of pending notifications, 18 where the manifest does not say.
    pub notification_pending: u32,
    /// Whether its registers begin as secure firmware leaves those of a real one, and not as after a reset.
    pub firmware_initialised: bool,
}

impl<'a> SpManifest<'a> {
    /// Reads `bulkhead,interrupt-controller`, whose interrupts no device of the partition has.
    pub(super) fn read_interrupt_controller(
        &self,
    ) -> Result<Option<VirtualInterruptController>, ManifestError<'a>> {
        let Some(node) = self.tree.child(NODE) else {
            return Ok(None);
        };
        if self.exception_level != ExceptionLevel::SEl1 {
            return Err(node.field_error(LEVEL, Rule::NotCompatible));
        }
        node.require_compatible(COMPATIBLE, COMPATIBLE_FIX)?;
        if self.execution_ctx_count > MOST {
            return Err(node
                .field_error(VCPUS, Rule::ExecutionContexts)
                .value(self.execution_ctx_count.into()));
        }
        for device in self.device_regions() {
            if let Some(intid) = device.interrupt_ids().find(|intid| *intid > 1019) {
                return Err(node
                    .field_error(NO_EXTENDED, Rule::ReservedInterrupt)
                    .value(intid.into())
                    .other(device.node.name));
            }
        }
        let distributor = frame(node, DISTRIBUTOR, 0x1000)?;
        let cpu_interface = frame(node, CPU_INTERFACE, 0x2000)?;
        let timer = self.private(node, TIMER, 30)?;
        let managed_exit = self.private(node, MANAGED_EXIT, 17)?;
        let notification_pending = self.private(node, NOTIFICATION_PENDING, 18)?;
        for (field, number, others) in [
            (MANAGED_EXIT, managed_exit, [timer, timer]),
            (
                NOTIFICATION_PENDING,
                notification_pending,
                [timer, managed_exit],
            ),
        ] {
            if others.contains(&number) {
                return Err(node
                    .field_error(field, Rule::DuplicateInterrupt)
                    .value(number.into()));
            }
        }
        Ok(Some(VirtualInterruptController {
            distributor,
            cpu_interface,
            timer,
            managed_exit,
            notification_pending,
            firmware_initialised: node.flag(INITIALISED)?,
        }))
    }

    /// An SGI or a PPI of its own.
    fn private(
        &self,
        node: Node<'_, 'a>,
        field: Field,
        default: u32,
    ) -> Result<u32, ManifestError<'a>> {
        let written = node.integer(field)?.unwrap_or(default.into());
        let error = |rule| node.field_error(field, rule).value(written);
        let number = u32::try_from(written).map_err(|_| error(Rule::ReservedInterrupt))?;
        if number > 31 || written == VIRTUAL_TIMER {
            return Err(error(Rule::ReservedInterrupt));
        }
        let device = (self.device_regions())
            .find(|device| device.interrupt_ids().any(|intid| intid == number));
        match device {
            Some(device) => Err(error(Rule::DuplicateInterrupt).other(device.node.name)),
            None => Ok(number),
        }
    }
}

fn frame<'a>(node: Node<'_, 'a>, field: Field, size: u64) -> Result<Range, ManifestError<'a>> {
    let base = ipa::address(node, field, size)?;
    match base {
        Some(base) => Ok(Range { base, size }),
        None => Err(node.field_error(field, Rule::MissingProperty)),
    }
}
