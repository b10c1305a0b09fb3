// SPDX-License-Identifier: MIT OR Apache-2.0
//! What ended the run of a partition, as an event for the core.
//!
//! Decoding is pure: values in, [`Outcome`] out. The one thing that it asks of the machine, the
//! translation of a faulting address, comes through [`Translate`].

use aarch64_cpu::registers::ESR_EL2;
use bulkhead_core::event::{Conduit, Direction, Event, Fault, FaultKind, SystemRegisterAccess};
use bulkhead_core::hardware::{SystemRegister, VcpuContext};
use bulkhead_mm::attrs::Space;
use tock_registers::LocalRegisterCopy;

/// Why a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// A synchronous exception.
    Synchronous(Syndrome),
    /// An IRQ: a Group 1 Secure interrupt.
    Irq,
    /// An FIQ: a non-secure or Group 0 interrupt.
    Fiq,
    /// The EL1 virtual timer, through an FIQ; it is masked.
    VirtualTimer,
    /// An SError; its ESR_EL2.
    SError(u64),
}

/// The syndrome registers of a synchronous exception.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Syndrome {
    /// ESR_EL2.
    pub esr: u64,
    /// FAR_EL2.
    pub far: u64,
    /// HPFAR_EL2.
    pub hpfar: u64,
    /// The level that took the exception.
    pub level: Exception,
}

/// The exception level of a partition's code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exception {
    /// EL0.
    El0,
    /// EL1.
    El1,
}

impl Exception {
    /// The level in PSTATE as SPSR_EL2 has it.
    pub fn of(spsr: u64) -> Self {
        const AARCH32: u64 = 1 << 4;
        const LEVEL: u64 = 0b1100;
        if spsr & AARCH32 != 0 || spsr & LEVEL == 0 {
            Self::El0
        } else {
            Self::El1
        }
    }
}

/// The result of a partition's own translation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StageOne {
    /// The intermediate physical address.
    pub ipa: u64,
    /// Its space.
    pub space: Space,
}

/// The partition's stage 1.
pub trait Translate {
    /// Where `address` leads for code at `level`; `None` if nowhere any more.
    fn stage_one(&self, address: u64, level: Exception) -> Option<StageOne>;
}

/// What the run loop does with an exit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The core handles it.
    Event(Event),
    /// The partition takes an Undefined Instruction exception; at S-EL0 it ends.
    Undefined,
    /// A cache operation by set and way: done to that set and way, for the partition, as clean and
    /// invalidate; the value of this register (31: zero) says which.
    SetWay(u8),
    /// The partition goes on behind an instruction of 2 bytes (AArch32).
    Halfword,
    /// The partition goes on.
    Resume,
}

/// Data and instruction fault status: bits 5:0 of the ISS.
const FSC: u64 = 0x3f;
/// The fault was on a stage-1 table walk.
const S1PTW: u64 = 1 << 7;
/// The access was a store.
const WNR: u64 = 1 << 6;
/// The access was cache maintenance or an address translation, which write nothing.
const CM: u64 = 1 << 8;
/// The immediate of HVC, SMC and SVC.
const IMMEDIATE: u64 = 0xffff;
const HPFAR_NS: u64 = 1 << 63;
const HPFAR_FIPA: u64 = 0xff_ffff_fff0;

/// Decodes `exit`, which ended a run of `context`. An SMC is stepped over: it traps before it
/// executes (DECISIONS 5).
#[inline]
pub fn decode(exit: Exit, context: &mut impl VcpuContext, machine: &impl Translate) -> Outcome {
    match exit {
        Exit::Synchronous(syndrome) => synchronous(syndrome, context, machine),
        Exit::Irq => Outcome::Event(Event::SecureInterrupt),
        Exit::Fiq => Outcome::Event(Event::NonSecureInterrupt),
        Exit::VirtualTimer => Outcome::Event(Event::VirtualTimer),
        Exit::SError(syndrome) => Outcome::Event(Event::Fault(Fault {
            kind: FaultKind::SError,
            syndrome,
            address: 0,
        })),
    }
}

#[inline]
fn synchronous(
    syndrome: Syndrome,
    context: &mut impl VcpuContext,
    machine: &impl Translate,
) -> Outcome {
    use ESR_EL2::EC::Value;

    let esr = LocalRegisterCopy::<u64, ESR_EL2::Register>::new(syndrome.esr);
    let iss = esr.read(ESR_EL2::ISS);
    let class = esr.read_as_enum(ESR_EL2::EC);
    match class {
        Some(Value::SMC64) => {
            if iss & IMMEDIATE != 0 {
                return Outcome::Undefined;
            }
            context.skip_instruction();
            Outcome::Event(Event::Call(Conduit::Smc))
        }
        Some(Value::HVC64) if iss & IMMEDIATE == 0 => Outcome::Event(Event::Call(Conduit::Hvc)),
        Some(Value::HVC64) => {
            // It returns after the instruction, and what is undefined returns to it.
            context.step_back();
            Outcome::Undefined
        }
        Some(Value::SVC64) if iss & IMMEDIATE == 0 => Outcome::Event(Event::Call(Conduit::Svc)),
        Some(Value::SVC64) => Outcome::Undefined,
        Some(Value::TrappedWFIorWFE) => wait(syndrome.esr, context),
        Some(Value::TrappedMsrMrs) => system_register(iss),
        Some(Value::DataAbortLowerEL) => abort(syndrome, Access::Data, machine),
        Some(Value::InstrAbortLowerEL) => abort(syndrome, Access::Fetch, machine),
        Some(
            Value::Unknown
            | Value::TrappedFP
            | Value::TrappedSve
            | Value::TrappedSME
            | Value::TrappedPointerAuth
            | Value::TrappedNotCovered
            | Value::TrappedMSRR_MRRS
            | Value::TrappedMCRorMRC
            | Value::TrappedMCRRorMRRC
            | Value::TrappedMCRorMRC2
            | Value::TrappedLDCorSTC
            | Value::TrappedVMRS
            | Value::TrappedMRRC,
        ) => Outcome::Undefined,
        _ => fault(FaultKind::Exception, syndrome),
    }
}

fn fault(kind: FaultKind, syndrome: Syndrome) -> Outcome {
    let fault = Fault {
        kind,
        syndrome: syndrome.esr,
        address: syndrome.far,
    };
    Outcome::Event(Event::Fault(fault))
}

/// A trapped WFI or WFIT. WFE and WFET do not trap: they wait for another core's event, in spin locks, which
/// comes soon or whose owner needs this core.
fn wait(esr: u64, context: &mut impl VcpuContext) -> Outcome {
    const FOUR_BYTES: u64 = 1 << 25;
    const KIND: u64 = 0b11;
    const WFI: u64 = 0b00;
    const WFIT: u64 = 0b10;
    /// The register's number is there.
    const VALID: u64 = 1 << 2;
    if esr & FOUR_BYTES == 0 {
        // EL0 in AArch32 may wait for nothing at all.
        return Outcome::Halfword;
    }
    context.skip_instruction();
    let until = match esr & KIND {
        WFI => None,
        WFIT if esr & VALID != 0 => {
            let register = (esr >> 5 & 0x1f) as usize;
            // Register 31 is XZR.
            Some(context.registers().x.get(register).copied().unwrap_or(0))
        }
        // Whatever waits without saying how long may go on at any time.
        _ => return Outcome::Resume,
    };
    Outcome::Event(Event::Idle { until })
}

/// A trapped MSR, MRS or system instruction.
fn system_register(iss: u64) -> Outcome {
    let bits = |shift: u32, mask: u64| ((iss >> shift) & mask) as u8;
    let register = SystemRegister {
        op0: bits(20, 0b11),
        op2: bits(17, 0b111),
        op1: bits(14, 0b111),
        crn: bits(10, 0b1111),
        crm: bits(1, 0b1111),
    };
    let rt = bits(5, 0b1_1111);
    // DC ISW, CSW and CISW.
    if matches!(
        register,
        SystemRegister {
            op0: 1,
            op1: 0,
            crn: 7,
            crm: 6 | 10 | 14,
            op2: 2
        }
    ) {
        return Outcome::SetWay(rt);
    }
    let direction = if iss & 1 != 0 {
        Direction::Read
    } else {
        Direction::Write
    };
    Outcome::Event(Event::SystemRegister(SystemRegisterAccess {
        register,
        rt,
        direction,
    }))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Data,
    Fetch,
}

fn abort(syndrome: Syndrome, access: Access, machine: &impl Translate) -> Outcome {
    match syndrome.esr & FSC {
        // Translation, access flag and permission faults; 0x2a and 0x2b are level −1 and −2.
        0x04..=0x0f | 0x2a | 0x2b => {}
        // External aborts, on the access and on walks of tables.
        0x10 | 0x12..=0x17 => return fault(FaultKind::External, syndrome),
        _ => return fault(FaultKind::Exception, syndrome),
    }
    let translated = match syndrome.esr & S1PTW {
        0 => machine.stage_one(syndrome.far, syndrome.level),
        _ => None,
    };
    // HPFAR_EL2 for walks, and for what cannot be translated as a read: its space is a hint only.
    let StageOne { ipa, space } = translated.unwrap_or_else(|| {
        let non_secure = syndrome.hpfar & HPFAR_NS != 0;
        let space = if non_secure {
            Space::NonSecure
        } else {
            Space::Secure
        };
        StageOne {
            ipa: (syndrome.hpfar & HPFAR_FIPA) << 8,
            space,
        }
    });
    let kind = match access {
        Access::Data => {
            let writes = syndrome.esr & (WNR | CM) == WNR;
            let direction = if writes {
                Direction::Write
            } else {
                Direction::Read
            };
            FaultKind::Data {
                ipa,
                space,
                direction,
            }
        }
        Access::Fetch => FaultKind::Instruction { ipa, space },
    };
    fault(kind, syndrome)
}

#[cfg(test)]
mod tests {
    use bulkhead_abi::Registers;

    use super::*;

    /// A context of which only the PC matters.
    struct Pc(Registers, u64);

    impl VcpuContext for Pc {
        fn registers(&self) -> &Registers {
            &self.0
        }
        fn registers_mut(&mut self) -> &mut Registers {
            &mut self.0
        }
        fn pc(&self) -> u64 {
            self.1
        }
        fn skip_instruction(&mut self) {
            self.1 += 4;
        }
        fn step_back(&mut self) {
            self.1 -= 4;
        }
        fn has_serror(&self) -> bool {
            false
        }

        fn counter_offset(&self) -> u64 {
            0
        }
        fn reset(&mut self, entry: u64) {
            self.1 = entry;
        }
    }

    /// A machine whose stage 1 answers with this.
    struct Stage1(Option<StageOne>);

    impl Translate for Stage1 {
        fn stage_one(&self, _: u64, _: Exception) -> Option<StageOne> {
            self.0
        }
    }

    const PC: u64 = 0x8000;
    const NOWHERE: Stage1 = Stage1(None);

    fn syndrome(class: u64, iss: u64) -> Syndrome {
        let esr = class << 26 | 1 << 25 | iss;
        Syndrome {
            esr,
            far: 0x4567_8123,
            hpfar: 0x0012_3450,
            level: Exception::El1,
        }
    }

    /// The outcome, and the PC afterwards.
    fn decoded(class: u64, iss: u64, machine: &Stage1) -> (Outcome, u64) {
        let mut context = Pc(Registers::ZERO, PC);
        let exit = Exit::Synchronous(syndrome(class, iss));
        let outcome = decode(exit, &mut context, machine);
        (outcome, context.pc())
    }

    fn fault_kind(class: u64, iss: u64, machine: &Stage1) -> FaultKind {
        match decoded(class, iss, machine).0 {
            Outcome::Event(Event::Fault(fault)) => fault.kind,
            other => panic!("not a fault: {other:?}"),
        }
    }

    #[test]
    fn d5_an_smc_is_stepped_over_and_an_hvc_is_not() {
        assert_eq!(
            decoded(0x17, 0, &NOWHERE),
            (Outcome::Event(Event::Call(Conduit::Smc)), PC + 4)
        );
        assert_eq!(
            decoded(0x16, 0, &NOWHERE),
            (Outcome::Event(Event::Call(Conduit::Hvc)), PC)
        );
    }

    #[test]
    fn d03_svc_is_the_call_of_s_el0_and_undefined_with_an_immediate() {
        let call = Outcome::Event(Event::Call(Conduit::Svc));
        assert_eq!(decoded(0x15, 0, &NOWHERE), (call, PC));
        for immediate in [1, 0xffff] {
            let undefined = (Outcome::Undefined, PC);
            assert_eq!(decoded(0x15, immediate, &NOWHERE), undefined);
        }
    }

    #[test]
    fn calls_with_an_immediate_are_undefined_and_not_stepped_over() {
        // An HVC has been stepped over by the machine.
        for (class, pc) in [(0x16, PC - 4), (0x17, PC)] {
            for immediate in [1, 0x8000, 0xffff] {
                assert_eq!(
                    decoded(class, immediate, &NOWHERE),
                    (Outcome::Undefined, pc)
                );
            }
        }
    }

    #[test]
    fn f7_wfi_and_wfit_are_stepped_over_and_idle() {
        let idle = |until| Outcome::Event(Event::Idle { until });
        // As the machine says it of AArch64: CV, and the condition "always".
        const CONDITION: u64 = 1 << 24 | 0xe << 20;
        assert_eq!(
            decoded(0x01, CONDITION, &NOWHERE),
            (idle(None), PC + 4),
            "WFI"
        );
        let mut context = Pc(Registers::ZERO, PC);
        context.0.x[7] = 0x1234_5678_9abc;
        let mut wfit = |iss| {
            let exit = Exit::Synchronous(syndrome(0x01, CONDITION | iss));
            context.1 = PC;
            (decode(exit, &mut context, &NOWHERE), context.1)
        };
        let until = Some(0x1234_5678_9abc);
        assert_eq!(wfit(7 << 5 | 1 << 2 | 0b10), (idle(until), PC + 4));
        assert_eq!(wfit(31 << 5 | 1 << 2 | 0b10), (idle(Some(0)), PC + 4));
        // Without the register's number; WFE and WFET, which do not trap here.
        for iss in [7 << 5 | 0b10, 0b01, 7 << 5 | 1 << 2 | 0b11] {
            assert_eq!(wfit(iss), (Outcome::Resume, PC + 4), "{iss:#x}");
        }
    }

    #[test]
    fn a_wfi_of_two_bytes_is_stepped_over_by_two() {
        let mut context = Pc(Registers::ZERO, PC);
        let mut syndrome = syndrome(0x01, 0);
        syndrome.esr &= !(1 << 25);
        let outcome = decode(Exit::Synchronous(syndrome), &mut context, &NOWHERE);
        assert_eq!((outcome, context.1), (Outcome::Halfword, PC));
    }

    #[test]
    fn interrupts_and_serrors_are_told_apart() {
        let mut context = Pc(Registers::ZERO, PC);
        let irq = decode(Exit::Irq, &mut context, &NOWHERE);
        assert_eq!(irq, Outcome::Event(Event::SecureInterrupt));
        let fiq = decode(Exit::Fiq, &mut context, &NOWHERE);
        assert_eq!(fiq, Outcome::Event(Event::NonSecureInterrupt));
        let timer = decode(Exit::VirtualTimer, &mut context, &NOWHERE);
        assert_eq!(timer, Outcome::Event(Event::VirtualTimer));
        let fault = Fault {
            kind: FaultKind::SError,
            syndrome: 0xbe00_0011,
            address: 0,
        };
        let serror = decode(Exit::SError(0xbe00_0011), &mut context, &NOWHERE);
        assert_eq!(serror, Outcome::Event(Event::Fault(fault)));
        assert_eq!(context.pc(), PC);
    }

    #[test]
    fn a_trapped_register_is_named_with_its_operand_and_direction() {
        // MRS x7, ID_AA64PFR0_EL1 (S3_0_C0_C4_0).
        let iss = 3 << 20 | 7 << 5 | 4 << 1 | 1;
        let register = SystemRegister {
            op0: 3,
            op1: 0,
            crn: 0,
            crm: 4,
            op2: 0,
        };
        let access = SystemRegisterAccess {
            register,
            rt: 7,
            direction: Direction::Read,
        };
        assert_eq!(
            decoded(0x18, iss, &NOWHERE),
            (Outcome::Event(Event::SystemRegister(access)), PC)
        );
        // MSR S2_5_C9_C13_6, XZR.
        let iss = 2 << 20 | 6 << 17 | 5 << 14 | 9 << 10 | 31 << 5 | 13 << 1;
        let register = SystemRegister {
            op0: 2,
            op1: 5,
            crn: 9,
            crm: 13,
            op2: 6,
        };
        let access = SystemRegisterAccess {
            register,
            rt: 31,
            direction: Direction::Write,
        };
        assert_eq!(
            decoded(0x18, iss, &NOWHERE),
            (Outcome::Event(Event::SystemRegister(access)), PC)
        );
    }

    #[test]
    fn cache_operations_by_set_and_way_are_told_from_other_instructions() {
        for crm in [6, 10, 14] {
            let iss = 1 << 20 | 2 << 17 | 7 << 10 | 3 << 5 | crm << 1;
            assert_eq!(decoded(0x18, iss, &NOWHERE).0, Outcome::SetWay(3));
        }
        // DC CIVAC, which does not trap here, and DC ISW's neighbour.
        for (op1, crm, op2) in [(3, 14, 1), (0, 6, 1), (0, 7, 2)] {
            let iss = 1 << 20 | op2 << 17 | op1 << 14 | 7 << 10 | 3 << 5 | crm << 1;
            assert!(matches!(
                decoded(0x18, iss, &NOWHERE).0,
                Outcome::Event(Event::SystemRegister(_))
            ));
        }
    }

    #[test]
    fn w4_the_space_of_a_fault_is_that_of_the_partitions_own_translation() {
        for space in [Space::Secure, Space::NonSecure] {
            let machine = Stage1(Some(StageOne {
                ipa: 0x9999_9123,
                space,
            }));
            for status in (0x04..=0x0f).chain([0x2a, 0x2b]) {
                let read = FaultKind::Data {
                    ipa: 0x9999_9123,
                    space,
                    direction: Direction::Read,
                };
                assert_eq!(fault_kind(0x24, status, &machine), read);
                let write = FaultKind::Data {
                    ipa: 0x9999_9123,
                    space,
                    direction: Direction::Write,
                };
                assert_eq!(fault_kind(0x24, 1 << 6 | status, &machine), write);
                let fetch = FaultKind::Instruction {
                    ipa: 0x9999_9123,
                    space,
                };
                assert_eq!(fault_kind(0x20, status, &machine), fetch);
            }
        }
    }

    #[test]
    fn a_fault_of_a_walk_names_the_table() {
        let machine = Stage1(Some(StageOne {
            ipa: 0x9999_9123,
            space: Space::NonSecure,
        }));
        let walk = FaultKind::Data {
            ipa: 0x1234_5000,
            space: Space::Secure,
            direction: Direction::Read,
        };
        assert_eq!(fault_kind(0x24, S1PTW | 0x07, &machine), walk);
    }

    #[test]
    fn a_fault_that_cannot_be_translated_again_is_a_fault_all_the_same() {
        let kind = FaultKind::Instruction {
            ipa: 0x1234_5000,
            space: Space::Secure,
        };
        assert_eq!(fault_kind(0x20, 0x0f, &NOWHERE), kind);
    }

    #[test]
    fn cache_maintenance_is_no_store() {
        let machine = Stage1(Some(StageOne {
            ipa: 0,
            space: Space::Secure,
        }));
        let kind = FaultKind::Data {
            ipa: 0,
            space: Space::Secure,
            direction: Direction::Read,
        };
        assert_eq!(fault_kind(0x24, CM | WNR | 0x07, &machine), kind);
    }

    #[test]
    fn other_aborts_are_external_or_exceptions() {
        for status in [0x10, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17] {
            assert_eq!(fault_kind(0x24, status, &NOWHERE), FaultKind::External);
            assert_eq!(fault_kind(0x20, status, &NOWHERE), FaultKind::External);
        }
        for status in [0x00, 0x03, 0x11, 0x18, 0x21, 0x28, 0x30, 0x35, 0x3f] {
            assert_eq!(fault_kind(0x24, status, &NOWHERE), FaultKind::Exception);
        }
    }

    #[test]
    fn every_class_has_an_outcome_and_only_known_ones_are_more_than_a_fault() {
        let undefined = [
            0x00, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0c, 0x14, 0x19, 0x1d,
        ];
        for class in 0..0x40 {
            match decoded(class, 0, &NOWHERE).0 {
                Outcome::Undefined => assert!(undefined.contains(&class), "{class:#x}"),
                Outcome::Resume | Outcome::Halfword | Outcome::SetWay(_) => panic!("{class:#x}"),
                Outcome::Event(Event::Idle { .. }) => assert_eq!(class, 0x01),
                Outcome::Event(Event::Call(_)) => assert!([0x15, 0x16, 0x17].contains(&class)),
                Outcome::Event(Event::SystemRegister(_)) => assert_eq!(class, 0x18),
                Outcome::Event(Event::Fault(fault)) => {
                    assert_eq!(fault.kind, FaultKind::Exception, "{class:#x}");
                    assert!(!undefined.contains(&class), "{class:#x}");
                }
                Outcome::Event(event) => panic!("{class:#x}: {event:?}"),
            }
        }
    }

    #[test]
    fn the_level_of_an_exception_is_read_from_pstate() {
        assert_eq!(Exception::of(0x3c5), Exception::El1);
        assert_eq!(Exception::of(0x3c4), Exception::El1);
        assert_eq!(Exception::of(0x3c0), Exception::El0);
        // AArch32 below an AArch64 S-EL1 (DECISIONS 6).
        assert_eq!(Exception::of(0x10), Exception::El0);
    }
}
