// SPDX-License-Identifier: MIT OR Apache-2.0
//! GICv2 with the Security Extensions, as secure software sees it: all accesses are secure.
//!
//! Choices where the architecture leaves one: 32 levels of priority (bits 7:3); one active state for an SGI, whatever
//! its source; SGIs are enabled and disabled as others are; GICD_NSACR reads as zero; no PPI's configuration can be
//! changed; with one vCPU GICD_ITARGETSR reads as zero and every SPI is its own.

mod cpu_interface;
mod distributor;
mod priority;
mod register;

use crate::bank::Bank;
use crate::{PRIVATE, Physical, Signals, Size};
pub use register::{Frame, REGISTERS, Register, Width};

/// How many vCPUs a GICv2 can have.
pub const MAXIMUM_VCPUS: usize = 8;
/// The size of the distributor's frame in bytes.
pub const DISTRIBUTOR_SIZE: u64 = 0x1000;
/// The size of the CPU interface's frame in bytes.
pub const CPU_INTERFACE_SIZE: u64 = 0x2000;

/// SGIs among the private interrupts.
const SGIS: u32 = 0xffff;
/// Those that firmware leaves to secure software.
const SECURE_SGIS: u32 = 0xff00;
/// The lowest SPI that is none: 1020 to 1023 are special, and more than 988 there are not.
const END: u32 = crate::SPECIAL;

/// What a GIC's registers have at first, and again after a reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// The architecture's reset values: all is disabled.
    Reset,
    /// What a secure system finds whose drivers count on firmware and a normal world. The distributor and the CPU
    /// interfaces are enabled for both groups, signal Group 0 as FIQ, and mask no priority; SGIs 8 to 15 are in Group 0
    /// and enabled; all else is in Group 1 and of priority 0x80.
    Firmware {
        /// What stands for the normal world's interrupts: those SGIs and PPIs are enabled, bit N for INTID N.
        foreign: u32,
    },
}

/// What one vCPU has of its own.
#[derive(Clone, Debug)]
pub struct Cpu {
    /// SGIs and PPIs.
    pub private: Bank,
    /// Who sent each SGI that is pending: bit N for vCPU N.
    sources: [u8; 16],
    /// GICC_CTLR.
    control: u32,
    /// GICC_PMR.
    mask: u8,
    /// GICC_BPR and GICC_ABPR.
    binary_point: [u8; 2],
    /// Active priorities of Group 0 (GICC_APR0) and Group 1 (GICC_NSAPR0): bit N for level N.
    active: [u32; 2],
}

impl Cpu {
    /// With the SGIs and the PPIs of `ppis`: bits 31:16.
    pub fn new(ppis: u32, start: Start) -> Self {
        let mut private = Bank::new(0, ppis | SGIS);
        private.edge = SGIS;
        let (mut control, mut mask) = (0, 0);
        if let Start::Firmware { foreign } = start {
            leave_to_normal_world(&mut private, !SECURE_SGIS);
            private.enabled = SECURE_SGIS | foreign & private.implemented;
            control = cpu_interface::ENABLE_GROUPS | cpu_interface::FIQ_ENABLE;
            mask = priority::LEVELS;
        }
        Self {
            private,
            sources: [0; 16],
            control,
            mask,
            binary_point: [priority::MINIMUM_POINT, priority::MINIMUM_POINT + 1],
            active: [0; 2],
        }
    }
}

/// Puts those of `which` into Group 1, with the most urgent priority that a normal world can give.
fn leave_to_normal_world(bank: &mut Bank, which: u32) {
    bank.group1 = bank.implemented & which;
    each(bank.group1, |bit| set(&mut bank.priority, bit, 0x80));
}

/// The state of SPIs at the start; `bank` has that after reset.
fn begin(bank: &mut Bank, start: Start) {
    if let Start::Firmware { .. } = start {
        leave_to_normal_world(bank, u32::MAX);
    }
}

/// A GICv2 of one partition.
#[derive(Debug)]
pub struct Gicv2<'a> {
    cpus: &'a mut [Cpu],
    shared: &'a mut [Bank],
    start: Start,
    /// GICD_CTLR.
    control: u32,
    /// vCPUs whose signals may have changed.
    changed: u32,
}

/// An interrupt that a vCPU could take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Candidate {
    priority: u8,
    intid: u32,
    /// 0 or 1.
    group: usize,
}

impl<'a> Gicv2<'a> {
    /// With at most [`MAXIMUM_VCPUS`] of `cpus`, made with `start`, and with the SPIs of `shared`, in ascending order
    /// of [`Bank::first`].
    pub fn new(cpus: &'a mut [Cpu], shared: &'a mut [Bank], start: Start) -> Self {
        for bank in shared.iter_mut() {
            begin(bank, start);
        }
        Self {
            cpus,
            shared,
            start,
            control: distributor::control(start),
            changed: 0,
        }
    }

    /// Brings a vCPU's own interrupts and its interface to the state at the start. What is latched or active is so no
    /// more, and `physical` is told; lines stay as they are.
    #[inline(never)]
    pub fn reset_vcpu(&mut self, vcpu: usize, physical: &mut dyn Physical) {
        let Some(cpu) = self.cpus.get_mut(vcpu) else {
            return;
        };
        let (before, line) = (cpu.private.clone(), cpu.private.line);
        *cpu = Cpu::new(before.implemented & !SGIS, self.start);
        cpu.private.line = line;
        each(before.enabled, |intid| physical.enable(vcpu, intid, false));
        each(before.latched | before.active, |intid| {
            physical.release(vcpu, intid)
        });
        self.touch(Some(vcpu));
    }

    /// Brings what vCPUs share to the state at the start, as [`reset_vcpu`](Self::reset_vcpu) does.
    #[inline(never)]
    pub fn reset_shared(&mut self, physical: &mut dyn Physical) {
        self.control = distributor::control(self.start);
        for bank in self.shared.iter_mut() {
            let (before, line) = (bank.clone(), bank.line);
            *bank = Bank::new(before.first, before.implemented);
            bank.line = line;
            begin(bank, self.start);
            let intid = |bit: u32| before.first.saturating_add(bit);
            each(before.enabled, |bit| physical.enable(0, intid(bit), false));
            each(before.latched | before.active, |bit| {
                physical.release(0, intid(bit))
            });
        }
        self.touch(None);
    }

    /// A load of `size` from the distributor's frame at `offset` by `vcpu`. `None` if the register may not be
    /// accessed with that size or there is nothing there that may be accessed at all: as on hardware it reads as zero
    /// then, but the caller may log it.
    #[inline(never)]
    pub fn read_distributor(&mut self, vcpu: usize, offset: u32, size: Size) -> Option<u32> {
        let register = register::find(Frame::Distributor, offset, size)?;
        self.cpus.get(vcpu)?;
        Some(self.distributor_value(vcpu, register, offset, size))
    }

    /// A store; `None` as for loads: it is ignored.
    #[inline(never)]
    pub fn write_distributor(
        &mut self,
        vcpu: usize,
        offset: u32,
        size: Size,
        value: u32,
        physical: &mut dyn Physical,
    ) -> Option<()> {
        let register = register::find(Frame::Distributor, offset, size)?;
        self.cpus.get(vcpu)?;
        self.write_distributor_register(vcpu, register, offset, size, value, physical);
        Some(())
    }

    /// As [`read_distributor`](Self::read_distributor), of the CPU interface's frame. GICC_IAR and GICC_AIAR
    /// acknowledge.
    #[inline(never)]
    pub fn read_cpu_interface(&mut self, vcpu: usize, offset: u32, size: Size) -> Option<u32> {
        let register = register::find(Frame::CpuInterface, offset, size)?;
        self.cpus.get(vcpu)?;
        Some(self.interface_value(vcpu, register))
    }

    /// As [`write_distributor`](Self::write_distributor), of the CPU interface's frame.
    #[inline(never)]
    pub fn write_cpu_interface(
        &mut self,
        vcpu: usize,
        offset: u32,
        size: Size,
        value: u32,
        physical: &mut dyn Physical,
    ) -> Option<()> {
        let register = register::find(Frame::CpuInterface, offset, size)?;
        self.cpus.get(vcpu)?;
        self.write_interface_register(vcpu, register, value, physical);
        Some(())
    }

    /// Makes `intid` pending as an edge does, whatever its configuration: a physical interrupt was acknowledged for
    /// it, or FF-A has an event. A private one of `vcpu`; an SGI as if `vcpu` had sent it. Whether there is such an
    /// interrupt and it was not pending so.
    #[inline(never)]
    pub fn pend(&mut self, vcpu: usize, intid: u32) -> bool {
        if intid < 16 {
            return self.send(vcpu, vcpu, intid);
        }
        let Some((bank, bit)) = self.bank(vcpu, intid) else {
            return false;
        };
        let was = bank.latched & bit;
        bank.latched |= bit & bank.implemented;
        let is = bank.latched & bit != 0;
        self.touch((intid < PRIVATE).then_some(vcpu));
        is && was == 0
    }

    /// The reverse of [`pend`](Self::pend): what it told of is over. Whether it was pending so.
    #[inline(never)]
    pub fn withdraw(&mut self, vcpu: usize, intid: u32) -> bool {
        let Some((bank, bit)) = self.bank(vcpu, intid) else {
            return false;
        };
        let was = bank.latched & bit != 0;
        bank.latched &= !bit;
        if intid < 16
            && let Some(cpu) = self.cpus.get_mut(vcpu)
        {
            set(&mut cpu.sources, intid, 0);
        }
        self.touch((intid < PRIVATE).then_some(vcpu));
        was
    }

    /// The input of `intid`, an emulated timer's for example, is high or low now. SGIs have none.
    #[inline(never)]
    pub fn set_line(&mut self, vcpu: usize, intid: u32, high: bool) {
        if let Some((bank, bit)) = self.bank(vcpu, intid).filter(|_| intid >= 16) {
            bank.set_line(bit & bank.implemented, high);
            self.touch((intid < PRIVATE).then_some(vcpu));
        }
    }

    /// Whether `intid` is enabled in the distributor.
    pub fn is_enabled(&mut self, vcpu: usize, intid: u32) -> bool {
        let bank = self.bank(vcpu, intid);
        bank.is_some_and(|(bank, bit)| bank.enabled & bit != 0)
    }

    /// What is signalled to `vcpu` now, and for which interrupt.
    #[inline(never)]
    pub fn signals(&self, vcpu: usize) -> (Signals, Option<u32>) {
        let found = self.deliverable(vcpu, 0);
        let fiq = self
            .cpus
            .get(vcpu)
            .is_some_and(|cpu| cpu.control & cpu_interface::FIQ_ENABLE != 0);
        let fiq = found.is_some_and(|found| found.group == 0 && fiq);
        let signals = Signals {
            irq: found.is_some() && !fiq,
            fiq,
        };
        (signals, found.map(|found| found.intid))
    }

    /// Whether anything would be signalled to `vcpu` without those of the mask `but`, private ones: bit N for INTID N.
    #[inline(never)]
    pub fn signals_others(&self, vcpu: usize, but: u32) -> bool {
        self.deliverable(vcpu, but).is_some()
    }

    /// The vCPUs, a bit each, whose [`signals`](Self::signals) may have changed since this was last asked.
    pub fn changed(&mut self) -> u32 {
        core::mem::take(&mut self.changed)
    }

    /// Notes that the signals of a vCPU, or of all, may have changed.
    fn touch(&mut self, vcpu: Option<usize>) {
        let all = (1_u32 << self.cpus.len().min(MAXIMUM_VCPUS)).wrapping_sub(1);
        self.changed |= match vcpu {
            Some(vcpu) => bit_of(vcpu) & all,
            None => all,
        };
    }

    /// The bank of `intid`, and its bit there.
    fn bank(&mut self, vcpu: usize, intid: u32) -> Option<(&mut Bank, u32)> {
        let bank = self.bank_of(vcpu, intid)?;
        Some((bank, 1 << (intid % 32)))
    }

    /// The bank that has `intid`, if it has any interrupt at all.
    fn bank_of(&mut self, vcpu: usize, intid: u32) -> Option<&mut Bank> {
        if intid < PRIVATE {
            return self.cpus.get_mut(vcpu).map(|cpu| &mut cpu.private);
        }
        let first = intid & !31;
        self.shared.iter_mut().find(|bank| bank.first == first)
    }

    /// Sends an SGI; whether it was not pending at `to` from `from`.
    fn send(&mut self, from: usize, to: usize, intid: u32) -> bool {
        let Some(cpu) = self.cpus.get_mut(to) else {
            return false;
        };
        let source = source_of(from);
        let before = get(&cpu.sources, intid);
        set(&mut cpu.sources, intid, before | source);
        cpu.private.latched |= 1 << (intid % 16);
        self.touch(Some(to));
        before & source == 0
    }

    /// An SPI's vCPUs: all that there are without a choice.
    fn is_target(&self, vcpu: usize, targets: u8) -> bool {
        self.cpus.len() == 1 || targets & source_of(vcpu) != 0
    }
}

/// Calls `act` with the number of each bit.
fn each(mut bits: u32, mut act: impl FnMut(u32)) {
    while bits != 0 {
        act(bits.trailing_zeros());
        bits &= bits.wrapping_sub(1);
    }
}

/// Bit N for vCPU N.
fn bit_of(vcpu: usize) -> u32 {
    u32::try_from(vcpu)
        .ok()
        .and_then(|vcpu| 1_u32.checked_shl(vcpu))
        .unwrap_or(0)
}

/// Bit N for vCPU N of the eight that can be.
fn source_of(vcpu: usize) -> u8 {
    u8::try_from(bit_of(vcpu)).unwrap_or(0)
}

/// One of an interrupt's bytes.
fn get<const N: usize>(bytes: &[u8; N], number: u32) -> u8 {
    let index = usize::try_from(number).unwrap_or(N);
    bytes.get(index).copied().unwrap_or(0)
}

/// Changes one of an interrupt's bytes.
fn set<const N: usize>(bytes: &mut [u8; N], number: u32, value: u8) {
    let index = usize::try_from(number).unwrap_or(N);
    if let Some(byte) = bytes.get_mut(index) {
        *byte = value;
    }
}
