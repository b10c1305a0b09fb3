// SPDX-License-Identifier: MIT OR Apache-2.0
//! Priorities: which interrupt a vCPU takes next, and what it is busy with.

use super::cpu_interface::COMMON_POINT;
use super::{Candidate, Cpu, Gicv2, bit_of, get};
use crate::bank::Bank;

/// The bits of a priority that there are.
pub(super) const LEVELS: u8 = 0xf8;
/// What GICC_RPR reads while nothing is active.
pub(super) const IDLE: u8 = 0xff;
/// The least binary point of Group 0: the group priority is bits 7:3, which is all.
pub(super) const MINIMUM_POINT: u8 = 2;

impl Cpu {
    /// The priority of what is active, the group priority of it.
    pub(super) fn running(&self) -> u8 {
        let [zero, one] = self.active;
        match (zero | one).trailing_zeros() {
            32 => IDLE,
            level => u8::try_from(level << 3).unwrap_or(IDLE),
        }
    }

    /// The bits of a priority that decide whether an interrupt of `group` preempts.
    pub(super) fn group_priority(&self, group: usize, priority: u8) -> u8 {
        let [zero, one] = self.binary_point;
        // GICC_BPR of 2 is bits 7:3, and of GICC_ABPR 3 is.
        let shift = if group == 0 || self.control & COMMON_POINT != 0 {
            zero.saturating_add(1)
        } else {
            one
        };
        priority & 0xff_u8.checked_shl(shift.into()).unwrap_or(0)
    }

    /// The priority becomes active.
    pub(super) fn activate(&mut self, group: usize, priority: u8) {
        let level = self.group_priority(group, priority) >> 3;
        if let Some(active) = self.active.get_mut(group) {
            *active |= 1_u32.checked_shl(level.into()).unwrap_or(0);
        }
    }

    /// The highest active priority of `group` is so no more; of the other group if it has none.
    pub(super) fn drop_priority(&mut self, group: usize) {
        let [zero, one] = &mut self.active;
        let (own, other) = if group == 0 { (zero, one) } else { (one, zero) };
        let active = if *own == 0 { other } else { own };
        *active &= active.wrapping_sub(1);
    }
}

impl Gicv2<'_> {
    /// What `vcpu` takes next: of sufficient priority, and of a group that its interface has enabled.
    pub(super) fn deliverable(&self, vcpu: usize, but: u32) -> Option<Candidate> {
        let cpu = self.cpus.get(vcpu)?;
        let found = self.highest(vcpu, cpu.control, but)?;
        let urgent = found.priority < cpu.mask
            && cpu.group_priority(found.group, found.priority) < cpu.running();
        urgent.then_some(found)
    }

    /// The pending interrupt of highest priority for `vcpu`, of the lowest INTID among equals, without private ones of
    /// the mask `but`: of those groups that the distributor and `groups` (bits 0 and 1) have enabled.
    pub(super) fn highest(&self, vcpu: usize, groups: u32, but: u32) -> Option<Candidate> {
        let cpu = self.cpus.get(vcpu)?;
        let groups = groups & self.control;
        let mut best = None;
        self.look(&cpu.private, groups, but, vcpu, &mut best);
        for bank in self.shared.iter() {
            self.look(bank, groups, 0, vcpu, &mut best);
        }
        best
    }

    fn look(&self, bank: &Bank, groups: u32, but: u32, vcpu: usize, best: &mut Option<Candidate>) {
        let mut allowed = 0;
        if groups & 1 != 0 {
            allowed |= !bank.group1;
        }
        if groups & 2 != 0 {
            allowed |= bank.group1;
        }
        let ready = bank.pending() & bank.enabled & !bank.active & allowed & !but;
        super::each(ready, |number| {
            let priority = get(&bank.priority, number);
            let here = bank.first == 0 || self.is_target(vcpu, get(&bank.targets, number));
            if here && best.is_none_or(|best| priority < best.priority) {
                *best = Some(Candidate {
                    priority,
                    intid: bank.first.saturating_add(number),
                    group: usize::from(bank.group1 & 1_u32.wrapping_shl(number) != 0),
                });
            }
        });
    }

    /// The mask of a vCPU in GICD_ITARGETSR of a private interrupt.
    pub(super) fn own_target(&self, vcpu: usize) -> u8 {
        match self.cpus.len() {
            1 => 0,
            _ => u8::try_from(bit_of(vcpu)).unwrap_or(0),
        }
    }
}
