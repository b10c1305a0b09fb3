// SPDX-License-Identifier: MIT OR Apache-2.0
//! As much of a GICv3 as the normal world needs to have a private interrupt pending, and to take it.

use core::arch::asm;

use crate::board::{GIC_DISTRIBUTOR, GIC_REDISTRIBUTOR, GIC_REDISTRIBUTOR_STRIDE};
use crate::entry::affinity;

/// GICD_CTLR. The non-secure view: EnableGrp1A and ARE_NS.
const DISTRIBUTOR_CONTROL: usize = 0;
const ENABLE_GROUP_1: u32 = 1 << 1;
const AFFINITY_ROUTING: u32 = 1 << 4;
/// GICR_ISENABLER0 and GICR_ICENABLER0, in the redistributor's second frame.
const SET_ENABLE: usize = 0x1_0000 + 0x100;
const CLEAR_ENABLE: usize = 0x1_0000 + 0x180;
/// GICR_ISPENDR0 and GICR_ICPENDR0.
const SET_PENDING: usize = 0x1_0000 + 0x200;
const CLEAR_PENDING: usize = 0x1_0000 + 0x280;
/// GICR_IPRIORITYR, a byte for each INTID.
const PRIORITY: usize = 0x1_0000 + 0x400;

fn write32(address: usize, value: u32) {
    // SAFETY: a register of the interrupt controller; the MMU is off, so the access is to a device.
    unsafe { (address as *mut u32).write_volatile(value) };
}

/// GICR_TYPER, 64 bits: the affinity in 63:32, Last in bit 4.
const TYPER: usize = 8;
const LAST: u64 = 1 << 4;

/// The affinity of every core that the machine has, in the form of MPIDR_EL1, with its redistributor.
fn redistributors() -> impl Iterator<Item = (u64, usize)> {
    let mut next = Some(GIC_REDISTRIBUTOR);
    core::iter::from_fn(move || {
        let frame = next?;
        // SAFETY: a register of the interrupt controller that has no side effect.
        let typer = unsafe { ((frame + TYPER) as *const u64).read_volatile() };
        next = (typer & LAST == 0).then_some(frame + GIC_REDISTRIBUTOR_STRIDE);
        let affinity = typer >> 32;
        Some((affinity & 0xff_ffff | affinity >> 24 << 32, frame))
    })
}

/// Whether the machine has a core with this affinity.
pub fn has_core(affinity: u64) -> bool {
    redistributors().any(|(other, _)| other == affinity)
}

/// The redistributor of this core.
fn redistributor() -> usize {
    let own = affinity();
    redistributors()
        .find(|&(other, _)| other == own)
        .map_or(GIC_REDISTRIBUTOR, |(_, frame)| frame)
}

/// Lets the private interrupt `intid` (below 32) of this core be signalled to the core.
pub fn enable(intid: u32) {
    write32(
        GIC_DISTRIBUTOR + DISTRIBUTOR_CONTROL,
        AFFINITY_ROUTING | ENABLE_GROUP_1,
    );
    // SAFETY: as `write32`.
    unsafe { ((redistributor() + PRIORITY + intid as usize) as *mut u8).write_volatile(0x80) };
    write32(redistributor() + SET_ENABLE, 1 << intid);
    // SAFETY: the payload masks interrupts in PSTATE, so none is taken.
    unsafe {
        asm!(
            "msr S3_0_C4_C6_0, {mask}",    // ICC_PMR_EL1: every priority
            "msr S3_0_C12_C12_7, {group}", // ICC_IGRPEN1_EL1
            "isb",
            mask = in(reg) 0xff_u64,
            group = in(reg) 1_u64,
            options(nostack),
        );
    }
}

/// Acknowledges and ends the pending interrupt of highest priority that is enabled; `None` without one.
pub fn take() -> Option<u32> {
    let intid = acknowledge()?;
    end(intid);
    Some(intid)
}

/// Acknowledges the pending interrupt of highest priority that is enabled; `None` without one.
pub fn acknowledge() -> Option<u32> {
    /// INTIDs from here on say that there is none.
    const FIRST_SPECIAL: u64 = 1020;
    let intid: u64;
    // SAFETY: the interrupt is the caller's, who enabled it.
    unsafe { asm!("mrs {}, S3_0_C12_C12_0", "dsb sy", out(reg) intid, options(nostack)) }; // ICC_IAR1_EL1
    u32::try_from(intid).ok().filter(|_| intid < FIRST_SPECIAL)
}

/// Ends the interrupt that was acknowledged last.
pub fn end(intid: u32) {
    // SAFETY: as `acknowledge`.
    unsafe { asm!("msr S3_0_C12_C12_1, {}", "isb", in(reg) u64::from(intid), options(nostack)) }; // ICC_EOIR1_EL1
}

/// ICC_PMR_EL1 and ICC_RPR_EL1: the priority below which interrupts wait, and that of what runs.
pub fn priorities() -> [u64; 2] {
    let (mask, running);
    // SAFETY: reads registers that have no side effect.
    unsafe {
        asm!(
            "mrs {}, S3_0_C4_C6_0",
            "mrs {}, S3_0_C12_C11_3",
            out(reg) mask,
            out(reg) running,
            options(nomem, nostack)
        )
    };
    [mask, running]
}

/// Whether the private interrupt `intid` (below 32) of core `core` is pending.
pub fn is_pending(core: usize, intid: u32) -> bool {
    let frame = GIC_REDISTRIBUTOR + core * GIC_REDISTRIBUTOR_STRIDE;
    // SAFETY: as `write32`; a read has no side effect.
    let pending = unsafe { ((frame + SET_PENDING) as *const u32).read_volatile() };
    pending >> intid & 1 != 0
}

/// Makes the private interrupt `intid` (below 32) of core `core` not pending.
pub fn withdraw(core: usize, intid: u32) {
    let frame = GIC_REDISTRIBUTOR + core * GIC_REDISTRIBUTOR_STRIDE;
    write32(frame + CLEAR_PENDING, 1 << intid);
}

/// Takes [`enable`] back.
pub fn disable(intid: u32) {
    write32(redistributor() + CLEAR_ENABLE, 1 << intid);
}
