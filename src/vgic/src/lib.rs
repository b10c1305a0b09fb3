// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual interrupt controllers: what a partition that has a GIC of its own sees of it (C-18, F-11, F-12).
//!
//! [`bank`] keeps the state of interrupts, 32 at a time, as both versions of the architecture see it. [`gicv2`] is
//! GICv2 with the Security Extensions as secure software sees it, distributor and CPU interfaces, emulated wholly.
//! Registers are accessed as stage-2 faults report them; an interrupt that comes out of it is signalled by
//! HCR_EL2.VI and VF.
//!
//! Nothing here touches hardware or takes a lock: a caller keeps one controller for a partition behind one lock, and
//! hears through [`Physical`] what becomes of interrupts that stand for physical ones.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

pub mod bank;
pub mod gicv2;

/// SGIs and PPIs: each vCPU has its own.
pub const PRIVATE: u32 = 32;
/// The first INTID that is no interrupt: 1020 to 1023 are special.
pub const SPECIAL: u32 = 1020;

/// How many bytes an access has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    /// 8 bits.
    Byte,
    /// 16 bits: no register of a GIC may be accessed so.
    Half,
    /// 32 bits.
    Word,
    /// 64 bits: GICv3's GICD_IROUTER, GICR_TYPER and the like.
    Double,
}

/// What a controller signals to one vCPU.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Signals {
    /// Virtual IRQ.
    pub irq: bool,
    /// Virtual FIQ.
    pub fiq: bool,
}

/// What becomes of interrupts that stand for physical ones. It is called while registers are accessed.
pub trait Physical {
    /// `intid` is enabled or disabled now; a private one (below [`PRIVATE`]) for `vcpu`.
    fn enable(&mut self, vcpu: usize, intid: u32, enable: bool);

    /// `intid`, which was pending or active, is so no more as far as it stands for a physical interrupt: it was
    /// deactivated, or it was pending and is not any more without having been acknowledged. The physical interrupt
    /// may fire again. A private one of `vcpu`.
    fn release(&mut self, vcpu: usize, intid: u32);

    /// The shared interrupt `intid` goes to the vCPUs of the mask `targets` now: bit N for vCPU N.
    fn route(&mut self, intid: u32, targets: u32);
}

/// An interrupt controller of which no interrupt stands for a physical one.
impl Physical for () {
    fn enable(&mut self, _vcpu: usize, _intid: u32, _enable: bool) {}
    fn release(&mut self, _vcpu: usize, _intid: u32) {}
    fn route(&mut self, _intid: u32, _targets: u32) {}
}
