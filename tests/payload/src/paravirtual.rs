// SPDX-License-Identifier: MIT OR Apache-2.0
//! The paravirtual interrupt calls of a partition (COMPATIBILITY, "Paravirtual interrupt interface").

use bulkhead_abi::Registers;
use bulkhead_abi::paravirt::{Line, NO_INTERRUPT, Paravirt, Reconfigure, SUCCESS};

use crate::call::{Conduit, call};

/// Makes a call with x1 to x3; x0 of the result.
///
/// # Panics
/// When another register changed: the interface keeps them all.
pub fn issue(conduit: Conduit, function: Paravirt, arguments: [u64; 3]) -> u64 {
    let mut registers = Registers::ZERO;
    registers.x = core::array::from_fn(|index| 0x5041_5241_0000_0000 | index as u64);
    registers.x[0] = function.id();
    registers.x[1..4].copy_from_slice(&arguments);
    let sent = registers.clone();
    call(conduit, &mut registers);
    if let Some(index) = (1..31).find(|&index| registers.x[index] != sent.x[index]) {
        panic!(
            "x{index} became {:#x} in the paravirtual call {:#x}",
            registers.x[index],
            function.id()
        );
    }
    registers.x[0]
}

/// Enables or disables an interrupt of this execution context; whether that was accepted.
pub fn enable(intid: u32, line: Line, enable: bool) -> bool {
    let line = match line {
        Line::Irq => 0,
        Line::Fiq => 1,
    };
    let arguments = [intid.into(), enable.into(), line];
    issue(Conduit::Hvc, Paravirt::InterruptEnable, arguments) == SUCCESS
}

/// Fetches the oldest pending and enabled interrupt.
pub fn get() -> Option<u32> {
    let found = issue(Conduit::Hvc, Paravirt::InterruptGet, [0; 3]);
    (found != NO_INTERRUPT).then_some(found as u32)
}

/// Ends an interrupt; whether that was accepted.
pub fn deactivate(intid: u32) -> bool {
    let arguments = [intid.into(), intid.into(), 0];
    issue(Conduit::Hvc, Paravirt::InterruptDeactivate, arguments) == SUCCESS
}

/// Changes an interrupt of the partition's devices; whether that was accepted.
pub fn reconfigure(intid: u32, command: Reconfigure, value: u64) -> bool {
    let command = match command {
        Reconfigure::TargetPe => 0,
        Reconfigure::SecurityState => 1,
        Reconfigure::Enable => 2,
    };
    let arguments = [intid.into(), command, value];
    issue(Conduit::Hvc, Paravirt::InterruptReconfigure, arguments) == SUCCESS
}

/// Sends an IPI to another execution context of the partition; whether that was accepted.
pub fn send_ipi(context: u64) -> bool {
    issue(Conduit::Hvc, Paravirt::SendIpi, [context, 0, 0]) == SUCCESS
}
