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
    /// The partition takes an Undefined Instruction exception.
    Undefined,
    /// A cache operation by set and way: done to that set and way, for the partition, as clean and
    /// invalidate; the value of this register (31: zero) says which.
    SetWay(u8),
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
/// The immediate of HVC and SMC.
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
        Some(Value::TrappedWFIorWFE) => {
            context.skip_instruction();
            Outcome::Resume
        }
        Some(Value::TrappedMsrMrs) => system_register(iss),
        Some(Value::DataAbortLowerEL) => abort(syndrome, Access::Data, machine),
        Some(Value::InstrAbortLowerEL) => abort(syndrome, Access::Fetch, machine),
        Some(
            Value::Unknown
            | Value::HVC64
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
