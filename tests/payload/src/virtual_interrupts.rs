// SPDX-License-Identifier: MIT OR Apache-2.0
//! The virtual interrupts of a partition, by whichever interface its manifest gives it: paravirtual calls, or a GICv2
//! at the addresses below.
//!
//! The INTIDs are those of the paravirtual interface; on a GICv2 an IPI is the SGI of that number, and FF-A's events and
//! the physical timer are PPIs, as Bulkhead has them where the manifest does not say otherwise.

use core::sync::atomic::{AtomicU8, Ordering};

use bulkhead_abi::paravirt::{
    INTID_IPI, INTID_MANAGED_EXIT, INTID_NOTIFICATION_PENDING, INTID_TIMER, Line, NO_INTERRUPT,
    Paravirt,
};

use crate::Conduit;
use crate::paravirtual;

/// Registers of a GICv2.
pub mod gicv2 {
    /// The distributor.
    pub const DISTRIBUTOR: usize = 0x0800_0000;
    /// The CPU interface.
    pub const CPU_INTERFACE: usize = 0x0801_0000;

    /// Loads a register of 32 bits.
    pub fn load(address: usize) -> u32 {
        let value: u32;
        // SAFETY: the manifest gives the partition a controller there, which touches no memory.
        unsafe {
            core::arch::asm!("ldr {value:w}, [{address}]", address = in(reg) address, value = out(reg) value, options(nostack))
        };
        value
    }

    /// Stores a register of 32 bits.
    pub fn store(address: usize, value: u32) {
        // SAFETY: as in `load`.
        unsafe {
            core::arch::asm!("str {value:w}, [{address}]", address = in(reg) address, value = in(reg) value, options(nostack))
        };
    }

    /// Stores a register of 8 bits.
    pub fn store_byte(address: usize, value: u8) {
        // SAFETY: as in `load`.
        unsafe {
            core::arch::asm!("strb {value:w}, [{address}]", address = in(reg) address, value = in(reg) u32::from(value), options(nostack))
        };
    }
}

use gicv2::{CPU_INTERFACE, DISTRIBUTOR, load, store, store_byte};

/// The numbers of paravirtual interrupts, and of PPIs and SGIs.
const NUMBERS: [(u32, u32); 4] = [
    (INTID_TIMER, 30),
    (INTID_MANAGED_EXIT, 17),
    (INTID_NOTIFICATION_PENDING, 18),
    (INTID_IPI, INTID_IPI),
];
/// GICC_CTLR: both groups, GICC_IAR acknowledges both, Group 0 is FIQ.
const CONTROL: u32 = 0b1111;

/// Which interface there is: 0 before it was asked for.
static INTERFACE: AtomicU8 = AtomicU8::new(0);

/// Whether the partition has a GICv2.
pub fn has_gic() -> bool {
    const PARAVIRTUAL: u8 = 1;
    const GICV2: u8 = 2;
    let known = INTERFACE.load(Ordering::Relaxed);
    if known != 0 {
        return known == GICV2;
    }
    // Every context has this one, and it is disabled when this is asked for the first time.
    let arguments = [27, 0, 0];
    let answer = paravirtual::issue(Conduit::Hvc, Paravirt::InterruptEnable, arguments);
    let found = if answer == bulkhead_abi::paravirt::SUCCESS {
        PARAVIRTUAL
    } else {
        GICV2
    };
    INTERFACE.store(found, Ordering::Relaxed);
    found == GICV2
}

/// The paravirtual interface's number of what has `number` here.
pub fn name(number: u32) -> u32 {
    let found = NUMBERS.iter().find(|(_, known)| *known == number);
    found
        .filter(|_| has_gic())
        .map_or(number, |(name, _)| *name)
}

/// Where interrupts come in the order of their numbers: how late this one does.
pub fn number(intid: u32) -> u32 {
    let found = NUMBERS.iter().find(|(name, _)| *name == intid);
    found.map_or(intid, |(_, number)| *number)
}

/// The bit of an interrupt in an array of registers, and the register.
fn bit(array: usize, number: u32) -> (usize, u32) {
    (
        DISTRIBUTOR + array + 4 * (number / 32) as usize,
        1 << (number % 32),
    )
}

/// Enables or disables an interrupt of this execution context; whether that was accepted.
pub fn enable(intid: u32, line: Line, enable: bool) -> bool {
    const GROUP: usize = 0x80;
    const SET: usize = 0x100;
    const CLEAR: usize = 0x180;
    const PRIORITY: usize = 0x400;
    const TARGETS: usize = 0x800;
    if !has_gic() {
        return paravirtual::enable(intid, line, enable);
    }
    store(DISTRIBUTOR, 3);
    store(CPU_INTERFACE, CONTROL);
    store(CPU_INTERFACE + 4, 0xff);
    let number = number(intid);
    let (group, mask) = bit(GROUP, number);
    let others = load(group) & !mask;
    store(
        group,
        if line == Line::Irq {
            others | mask
        } else {
            others
        },
    );
    store_byte(DISTRIBUTOR + PRIORITY + number as usize, 0x80);
    store_byte(
        DISTRIBUTOR + TARGETS + number as usize,
        1 << crate::entry::core_index(),
    );
    let (register, mask) = bit(if enable { SET } else { CLEAR }, number);
    store(register, mask);
    (load(register) & mask != 0) == enable
}

/// Fetches the pending and enabled interrupt that is first.
pub fn get() -> Option<u32> {
    if !has_gic() {
        let found = paravirtual::issue(Conduit::Hvc, Paravirt::InterruptGet, [0; 3]);
        return (found != NO_INTERRUPT).then_some(found as u32);
    }
    let found = load(CPU_INTERFACE + 0xc) & 0x3ff;
    (found < 1020).then(|| name(found))
}

/// Ends whatever earlier handlers of this context left active.
pub fn restart() {
    const CLEAR_ACTIVE: usize = 0x380;
    const ACTIVE_PRIORITIES: [usize; 2] = [0xd0, 0xe0];
    if has_gic() {
        for register in [0, 4] {
            store(DISTRIBUTOR + CLEAR_ACTIVE + register, u32::MAX);
        }
        for register in ACTIVE_PRIORITIES {
            store(CPU_INTERFACE + register, 0);
        }
    }
}

/// Ends an interrupt; whether that was accepted.
pub fn deactivate(intid: u32) -> bool {
    const ACTIVE: usize = 0x300;
    if !has_gic() {
        return paravirtual::deactivate(intid);
    }
    let (register, mask) = bit(ACTIVE, number(intid));
    let was = load(register) & mask != 0;
    end(intid);
    was && load(register) & mask == 0
}

/// Ends an interrupt, as a driver does; whether that was accepted, which a GICv2 does not tell.
pub fn end(intid: u32) -> bool {
    if !has_gic() {
        return paravirtual::deactivate(intid);
    }
    let number = number(intid);
    // The source of an SGI is this context: the tests send no other.
    let source = if number < 16 {
        (crate::entry::core_index() as u32) << 10
    } else {
        0
    };
    store(CPU_INTERFACE + 0x10, number | source);
    true
}

/// Sends an IPI to an execution context of the partition; whether that was accepted.
pub fn send_ipi(context: u64) -> bool {
    const GENERATE: usize = 0xf00;
    /// In Group 1.
    const NSATT: u32 = 1 << 15;
    if !has_gic() {
        return paravirtual::send_ipi(context);
    }
    let targets = 1_u32.checked_shl(context as u32).unwrap_or(0) & 0xff;
    for group in [0, NSATT] {
        store(DISTRIBUTOR + GENERATE, targets << 16 | group | INTID_IPI);
    }
    targets != 0
}
