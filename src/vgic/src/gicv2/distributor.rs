// SPDX-License-Identifier: MIT OR Apache-2.0
//! The distributor.

use super::cpu_interface::IMPLEMENTER;
use super::priority::LEVELS;
use super::register::{Kind, Register};
use super::{END, Gicv2, SGIS, Start, each, get, set, source_of};
use crate::bank::Bank;
use crate::{PRIVATE, Physical, Size};

/// The bits of GICD_CTLR: EnableGrp0 and EnableGrp1.
const CONTROL: u32 = 3;
/// GICD_PIDR2.ArchRev.
const REVISION: u32 = 2 << 4;

/// GICD_CTLR at first.
pub(super) const fn control(start: Start) -> u32 {
    match start {
        Start::Reset => 0,
        Start::Firmware { .. } => CONTROL,
    }
}

/// The bytes that an access is about: how many, from which one of the register array on.
fn bytes_of(register: &Register, offset: u32, size: Size) -> (u32, u32) {
    let first = offset.saturating_sub(register.offset);
    let count = if size == Size::Byte { 1 } else { 4 };
    (first, count)
}

/// Bit 1 of each pair of bits of GICD_ICFGR for 16 interrupts, and back.
fn spread(half: u32) -> u32 {
    let mut word = 0;
    each(half & 0xffff, |bit| {
        word |= 2_u32.wrapping_shl(bit.saturating_mul(2))
    });
    word
}

fn gather(word: u32) -> u32 {
    let mut half = 0;
    each(word & 0xaaaa_aaaa, |bit| {
        half |= 1_u32.wrapping_shl(bit / 2)
    });
    half
}

impl Gicv2<'_> {
    /// The highest number of GICD_TYPER.ITLinesNumber, and the vCPUs.
    fn type_register(&self) -> u32 {
        let last = self.shared.last().map_or(0, |bank| bank.first / 32);
        let cpus = u32::try_from(self.cpus.len())
            .unwrap_or(1)
            .saturating_sub(1)
            & 7;
        const SECURITY_EXTENSIONS: u32 = 1 << 10;
        last & 0x1f | cpus << 5 | SECURITY_EXTENSIONS
    }

    pub(super) fn distributor_value(
        &mut self,
        vcpu: usize,
        register: &Register,
        offset: u32,
        size: Size,
    ) -> u32 {
        let (first, count) = bytes_of(register, offset, size);
        match register.kind {
            Kind::Control => self.control,
            Kind::Type => self.type_register(),
            Kind::Implementer => IMPLEMENTER,
            Kind::Revision => REVISION,
            Kind::Group => self.word(vcpu, first, |bank| bank.group1),
            Kind::Enable(_) => self.word(vcpu, first, |bank| bank.enabled),
            Kind::Pending(_) => self.word(vcpu, first, Bank::pending),
            Kind::Active(_) => self.word(vcpu, first, |bank| bank.active),
            Kind::Configuration => {
                let bank = self.bank_of(vcpu, first.saturating_mul(4));
                let edge = bank.map_or(0, |bank| bank.edge);
                spread(if first & 4 == 0 { edge } else { edge >> 16 })
            }
            Kind::Priority => self.bytes(first, count, |gic, intid| {
                let bank = gic.bank_of(vcpu, intid);
                bank.map_or(0, |bank| get(&bank.priority, intid % 32))
            }),
            Kind::Targets => self.bytes(first, count, |gic, intid| gic.targets(vcpu, intid)),
            Kind::Sources(_) => self.bytes(first, count, |gic, intid| {
                gic.cpus.get(vcpu).map_or(0, |cpu| get(&cpu.sources, intid))
            }),
            _ => 0,
        }
    }

    /// A word with a bit for each interrupt of a bank.
    fn word(&mut self, vcpu: usize, first: u32, of: impl Fn(&Bank) -> u32) -> u32 {
        let bank = self.bank_of(vcpu, first.saturating_mul(8));
        bank.map_or(0, |bank| of(bank))
    }

    /// `count` bytes, each of an interrupt.
    fn bytes(&mut self, first: u32, count: u32, of: impl Fn(&mut Self, u32) -> u8) -> u32 {
        let mut word = [0; 4];
        for (intid, byte) in (first..first.saturating_add(count).min(END)).zip(&mut word) {
            *byte = of(self, intid);
        }
        u32::from_le_bytes(word)
    }

    /// GICD_ITARGETSR of an interrupt.
    fn targets(&mut self, vcpu: usize, intid: u32) -> u8 {
        let own = self.own_target(vcpu);
        let Some((bank, bit)) = self.bank(vcpu, intid) else {
            return 0;
        };
        match bank.implemented & bit {
            0 => 0,
            _ if intid < PRIVATE => own,
            _ => get(&bank.targets, intid % 32),
        }
    }

    pub(super) fn write_distributor_register(
        &mut self,
        vcpu: usize,
        register: &Register,
        offset: u32,
        size: Size,
        value: u32,
        physical: &mut dyn Physical,
    ) {
        let (first, count) = bytes_of(register, offset, size);
        let bytes = value.to_le_bytes();
        let bytes = (first..first.saturating_add(count).min(END)).zip(bytes);
        match register.kind {
            Kind::Control => self.control = value & CONTROL,
            Kind::Generate => return self.generate(vcpu, value),
            Kind::Sources(sets) => {
                for (intid, byte) in bytes {
                    self.change_sources(vcpu, intid, byte, sets);
                }
                return self.touch(Some(vcpu));
            }
            Kind::Priority => {
                for (intid, byte) in bytes {
                    if let Some((bank, bit)) = self.bank(vcpu, intid)
                        && bank.implemented & bit != 0
                    {
                        set(&mut bank.priority, intid % 32, byte & LEVELS);
                    }
                }
            }
            Kind::Targets => {
                for (intid, byte) in bytes {
                    self.retarget(vcpu, intid, byte, physical);
                }
            }
            Kind::Configuration => {
                let half = gather(value);
                if let Some(bank) = self.bank_of(vcpu, first.saturating_mul(4)) {
                    configure(bank, half, first & 4 != 0);
                }
            }
            Kind::Group | Kind::Enable(_) | Kind::Pending(_) | Kind::Active(_) => {
                if let Some(bank) = self.bank_of(vcpu, first.saturating_mul(8)) {
                    change(bank, register.kind, value, vcpu, physical);
                }
            }
            _ => return,
        }
        self.touch(None);
    }

    fn retarget(&mut self, vcpu: usize, intid: u32, targets: u8, physical: &mut dyn Physical) {
        let cpus = self.cpus.len();
        let there = (0..cpus).fold(0, |all, cpu| all | source_of(cpu));
        let Some((bank, bit)) = self.bank(vcpu, intid) else {
            return;
        };
        if intid < PRIVATE || cpus == 1 || bank.implemented & bit == 0 {
            return;
        }
        let before = get(&bank.targets, intid % 32);
        let after = targets & there;
        set(&mut bank.targets, intid % 32, after);
        if before != after {
            physical.route(intid, after.into());
        }
    }

    /// GICD_SPENDSGIR and GICD_CPENDSGIR of an SGI.
    fn change_sources(&mut self, vcpu: usize, intid: u32, sources: u8, sets: bool) {
        let there = (0..self.cpus.len()).fold(0, |all, cpu| all | source_of(cpu));
        let Some(cpu) = self.cpus.get_mut(vcpu) else {
            return;
        };
        let before = get(&cpu.sources, intid);
        let after = if sets {
            before | sources & there
        } else {
            before & !sources
        };
        set(&mut cpu.sources, intid, after);
        let bit = 1_u32.wrapping_shl(intid) & SGIS;
        cpu.private.latched &= !bit;
        if after != 0 {
            cpu.private.latched |= bit;
        }
    }

    /// GICD_SGIR: to those of the list (0), to all others (1) or to oneself (2), where the SGI is in Group 0, or with
    /// NSATT in Group 1.
    fn generate(&mut self, vcpu: usize, value: u32) {
        let intid = value & 0xf;
        let list = value >> 16 & 0xff;
        let group1 = value >> 15 & 1;
        let own = u32::from(source_of(vcpu));
        let targets = match value >> 24 & 3 {
            0 => list,
            1 => !own,
            2 => own,
            _ => 0,
        };
        for to in 0..self.cpus.len() {
            let group = (self.cpus.get(to)).map(|cpu| cpu.private.group1 >> intid & 1);
            if targets & u32::from(source_of(to)) != 0 && group == Some(group1) {
                self.send(vcpu, to, intid);
            }
        }
    }
}

/// SPIs are level-sensitive or edge-triggered as software says; PPIs and SGIs stay as they are.
fn configure(bank: &mut Bank, half: u32, upper: bool) {
    if bank.first == 0 {
        return;
    }
    let (mask, edge) = match upper {
        false => (0xffff, half),
        true => (0xffff_0000, half << 16),
    };
    bank.edge = bank.edge & !mask | edge & mask & bank.implemented;
}

/// A write to a register with a bit for each interrupt.
fn change(bank: &mut Bank, kind: Kind, value: u32, vcpu: usize, physical: &mut dyn Physical) {
    let value = value & bank.implemented;
    // SGIs are made pending by others.
    let pendable = if bank.first == 0 {
        value & !SGIS
    } else {
        value
    };
    let before = (bank.enabled, bank.latched, bank.active);
    match kind {
        Kind::Group => bank.group1 = value,
        Kind::Enable(true) => bank.enabled |= value,
        Kind::Enable(false) => bank.enabled &= !value,
        Kind::Pending(true) => bank.latched |= pendable,
        Kind::Pending(false) => bank.latched &= !pendable,
        Kind::Active(true) => bank.active |= value,
        Kind::Active(false) => bank.active &= !value,
        _ => {}
    }
    let (enabled, latched, active) = before;
    let intid = |bit: u32| bank.first.saturating_add(bit);
    each(enabled ^ bank.enabled, |bit| {
        let enable = bank.enabled & 1_u32.wrapping_shl(bit) != 0;
        physical.enable(vcpu, intid(bit), enable);
    });
    let ended = active & !bank.active | latched & !bank.latched & !active;
    each(ended, |bit| physical.release(vcpu, intid(bit)));
}
