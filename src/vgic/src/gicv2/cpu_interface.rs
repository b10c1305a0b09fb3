// SPDX-License-Identifier: MIT OR Apache-2.0
//! The CPU interface: acknowledging, ending, and what is masked.

use super::priority::{LEVELS, MINIMUM_POINT};
use super::register::{Kind, Register};
use super::{Candidate, Gicv2, get, set};
use crate::{Physical, SPECIAL};

/// GICC_CTLR.EnableGrp0 and EnableGrp1.
pub(super) const ENABLE_GROUPS: u32 = 3;
/// GICC_CTLR.AckCtl: GICC_IAR acknowledges Group 1, too.
const ACKNOWLEDGE_BOTH: u32 = 1 << 2;
/// GICC_CTLR.FIQEn: Group 0 is signalled as FIQ.
pub(super) const FIQ_ENABLE: u32 = 1 << 3;
/// GICC_CTLR.CBPR: GICC_BPR is for both groups.
pub(super) const COMMON_POINT: u32 = 1 << 4;
/// GICC_CTLR.EOImodeS: GICC_EOIR and GICC_AEOIR drop the priority only.
const DROP_ONLY: u32 = 1 << 9;
/// The bits of GICC_CTLR, those for the non-secure side and for bypass, which have no effect, too.
const CONTROL: u32 = 0x7ff;
/// Nothing to acknowledge.
const SPURIOUS: u32 = 1023;
/// Something of Group 1, which is not to be acknowledged here.
const OTHER_GROUP: u32 = 1022;
/// Who implemented this: nobody who has a number; the architecture's version is 2.
pub(super) const IMPLEMENTER: u32 = 2 << 16;

impl Gicv2<'_> {
    pub(super) fn interface_value(&mut self, vcpu: usize, register: &Register) -> u32 {
        let Some(cpu) = self.cpus.get(vcpu) else {
            return 0;
        };
        let [point, other_point] = cpu.binary_point;
        let [active, other_active] = cpu.active;
        match register.kind {
            Kind::InterfaceControl => cpu.control,
            Kind::Mask => cpu.mask.into(),
            Kind::BinaryPoint(0) => point.into(),
            Kind::BinaryPoint(_) => other_point.into(),
            Kind::Running => cpu.running().into(),
            Kind::ActivePriorities(0) => active,
            Kind::ActivePriorities(_) => other_active,
            Kind::Implementer => IMPLEMENTER,
            Kind::Highest(alias) => {
                let found = self.highest(vcpu, 3, 0);
                self.told(vcpu, alias, found)
                    .unwrap_or_else(|special| special)
            }
            Kind::Acknowledge(alias) => self.acknowledge(vcpu, alias),
            _ => 0,
        }
    }

    /// What GICC_IAR and GICC_HPPIR, or with `alias` 1 GICC_AIAR and GICC_AHPPIR, read for `found`.
    ///
    /// # Errors
    /// A special INTID: it is not to be acknowledged by that register.
    fn told(&self, vcpu: usize, alias: usize, found: Option<Candidate>) -> Result<u32, u32> {
        let both = self
            .cpus
            .get(vcpu)
            .is_some_and(|cpu| cpu.control & ACKNOWLEDGE_BOTH != 0);
        match found {
            Some(found) if found.group == alias || (alias == 0 && both) => {
                Ok(found.intid | self.source(vcpu, found.intid) << 10)
            }
            Some(_) if alias == 0 => Err(OTHER_GROUP),
            _ => Err(SPURIOUS),
        }
    }

    /// Who sent an SGI that is pending: the vCPU of the lowest number.
    fn source(&self, vcpu: usize, intid: u32) -> u32 {
        let cpu = self.cpus.get(vcpu).filter(|_| intid < 16);
        cpu.map_or(0, |cpu| get(&cpu.sources, intid).trailing_zeros() % 8)
    }

    fn acknowledge(&mut self, vcpu: usize, alias: usize) -> u32 {
        let found = self.deliverable(vcpu, 0);
        let value = match self.told(vcpu, alias, found) {
            Ok(value) => value,
            Err(special) => return special,
        };
        let Some(found) = found else {
            return SPURIOUS;
        };
        if let Some((bank, bit)) = self.bank(vcpu, found.intid) {
            bank.latched &= !bit;
            bank.active |= bit;
        }
        let source = self.source(vcpu, found.intid);
        if let Some(cpu) = self.cpus.get_mut(vcpu) {
            if found.intid < 16 {
                let left = get(&cpu.sources, found.intid) & !1_u8.wrapping_shl(source);
                set(&mut cpu.sources, found.intid, left);
                if left != 0 {
                    cpu.private.latched |= 1_u32.wrapping_shl(found.intid);
                }
            }
            cpu.activate(found.group, found.priority);
        }
        self.touch((found.intid < crate::PRIVATE).then_some(vcpu));
        value
    }

    pub(super) fn write_interface_register(
        &mut self,
        vcpu: usize,
        register: &Register,
        value: u32,
        physical: &mut dyn Physical,
    ) {
        let Some(cpu) = self.cpus.get_mut(vcpu) else {
            return;
        };
        let [low, ..] = value.to_le_bytes();
        let [point, other_point] = &mut cpu.binary_point;
        let [active, other_active] = &mut cpu.active;
        match register.kind {
            Kind::InterfaceControl => cpu.control = value & CONTROL,
            Kind::Mask => cpu.mask = low & LEVELS,
            Kind::BinaryPoint(0) => *point = (low & 7).max(MINIMUM_POINT),
            Kind::BinaryPoint(_) => *other_point = (low & 7).max(MINIMUM_POINT.saturating_add(1)),
            Kind::ActivePriorities(0) => *active = value,
            Kind::ActivePriorities(_) => *other_active = value,
            Kind::End(alias) => self.end(vcpu, alias, value & 0x3ff, physical),
            Kind::Deactivate if cpu.control & DROP_ONLY != 0 => {
                self.deactivate(vcpu, value & 0x3ff, physical);
            }
            _ => return,
        }
        self.touch(Some(vcpu));
    }

    /// GICC_EOIR and GICC_AEOIR. What is not active here is passed over, and by GICC_AEOIR what is in Group 0.
    fn end(&mut self, vcpu: usize, alias: usize, intid: u32, physical: &mut dyn Physical) {
        let Some((bank, bit)) = self.bank(vcpu, intid).filter(|_| intid < SPECIAL) else {
            return;
        };
        let group = usize::from(bank.group1 & bit != 0);
        if bank.active & bit == 0 || (alias == 1 && group == 0) {
            return;
        }
        let Some(cpu) = self.cpus.get_mut(vcpu) else {
            return;
        };
        cpu.drop_priority(group);
        if cpu.control & DROP_ONLY == 0 {
            self.deactivate(vcpu, intid, physical);
        }
    }

    fn deactivate(&mut self, vcpu: usize, intid: u32, physical: &mut dyn Physical) {
        if let Some((bank, bit)) = self.bank(vcpu, intid)
            && bank.active & bit != 0
        {
            bank.active &= !bit;
            physical.release(vcpu, intid);
            self.touch((intid < crate::PRIVATE).then_some(vcpu));
        }
    }
}
