// SPDX-License-Identifier: MIT OR Apache-2.0
//! The virtual interrupts of an execution context: those of FF-A's own events, INTIDs below 32
//! (COMPATIBILITY, "Paravirtual interrupt interface").
//!
//! Any core may make one pending; only the context itself, which fetches them by paravirtual calls,
//! enables them. They are sets in atomic words, so that the path of every message can look at them without
//! a lock.

use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bulkhead_abi::paravirt::Line;

/// The virtual interrupts of one execution context.
#[derive(Debug, Default)]
pub struct VirtualInterrupts {
    /// Those that are pending in bits 31:0, those that are enabled in bits 63:32: one load tells both.
    state: AtomicU64,
    /// Those that are signalled as FIQ rather than IRQ.
    fiq: AtomicU32,
}

/// What is signalled to an execution context while it runs.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Lines(u32);

impl Lines {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Virtual IRQ.
    pub const IRQ: Self = Self(1);
    /// Virtual FIQ.
    pub const FIQ: Self = Self(2);

    /// Whether every line of `other` is signalled.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The set with `intid` alone; none for an INTID that is not below 32.
fn set_of(intid: u32) -> u32 {
    1_u32.checked_shl(intid).unwrap_or(0)
}

/// [`set_of`] among those that are pending.
fn pending(intid: u32) -> u64 {
    u64::from(set_of(intid))
}

/// [`set_of`] among those that are enabled.
fn enabled(intid: u32) -> u64 {
    u64::from(set_of(intid)) << 32
}

impl VirtualInterrupts {
    /// Makes `intid` pending until the context fetches it.
    pub(crate) fn pend(&self, intid: u32) {
        self.state.fetch_or(pending(intid), Ordering::Release);
    }

    /// What `intid` told of is over.
    pub(crate) fn withdraw(&self, intid: u32) {
        self.state.fetch_and(!pending(intid), Ordering::Release);
    }

    /// Enables `intid`, to be signalled on `line`.
    pub(crate) fn enable(&self, intid: u32, line: Line) {
        match line {
            Line::Irq => self.fiq.fetch_and(!set_of(intid), Ordering::Relaxed),
            Line::Fiq => self.fiq.fetch_or(set_of(intid), Ordering::Relaxed),
        };
        self.state.fetch_or(enabled(intid), Ordering::Relaxed);
    }

    /// Disables `intid`; if it is pending, it stays so.
    pub(crate) fn disable(&self, intid: u32) {
        self.state.fetch_and(!enabled(intid), Ordering::Relaxed);
    }

    /// Whether `intid` is enabled.
    pub(crate) fn is_enabled(&self, intid: u32) -> bool {
        self.state.load(Ordering::Relaxed) & enabled(intid) != 0
    }

    /// The context starts anew, with every interrupt disabled.
    pub(crate) fn reset(&self) {
        self.state.fetch_and(u64::from(u32::MAX), Ordering::Relaxed);
        self.fiq.store(0, Ordering::Relaxed);
    }

    /// Those that are pending and enabled.
    #[inline]
    fn raised(&self) -> u64 {
        let state = self.state.load(Ordering::Acquire);
        state & (state >> 32)
    }

    /// Takes the pending and enabled interrupt with the lowest INTID: it is not pending any more.
    pub(crate) fn fetch(&self) -> Option<u32> {
        let raised = self.raised();
        if raised == 0 {
            return None;
        }
        let intid = raised.trailing_zeros();
        self.withdraw(intid);
        Some(intid)
    }

    /// Whether what is to be signalled may not be `lines`, in as few instructions as it takes to say no
    /// where there is nothing.
    #[inline]
    pub(crate) fn may_differ(&self, lines: Lines) -> bool {
        self.raised() | u64::from(lines.0) != 0
    }

    /// What is to be signalled.
    pub(crate) fn lines(&self) -> Lines {
        let raised = self.raised();
        let fiq = u64::from(self.fiq.load(Ordering::Relaxed));
        let line = |set: u64, line: Lines| if set == 0 { 0 } else { line.0 };
        Lines(line(raised & !fiq, Lines::IRQ) | line(raised & fiq, Lines::FIQ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c14_only_what_is_pending_and_enabled_is_signalled() {
        let interrupts = VirtualInterrupts::default();
        interrupts.pend(5);
        assert_eq!(
            (interrupts.lines(), interrupts.fetch()),
            (Lines::NONE, None)
        );
        interrupts.enable(5, Line::Irq);
        assert_eq!(interrupts.lines(), Lines::IRQ);
        interrupts.disable(5);
        assert_eq!(
            (interrupts.lines(), interrupts.fetch()),
            (Lines::NONE, None)
        );
        interrupts.enable(5, Line::Fiq);
        assert_eq!(interrupts.lines(), Lines::FIQ);
        assert_eq!(interrupts.fetch(), Some(5));
        assert_eq!(
            (interrupts.lines(), interrupts.fetch()),
            (Lines::NONE, None)
        );
    }

    #[test]
    fn c14_each_interrupt_has_its_own_line_and_is_fetched_once() {
        let interrupts = VirtualInterrupts::default();
        for (intid, line) in [(9, Line::Irq), (3, Line::Fiq), (5, Line::Irq)] {
            interrupts.enable(intid, line);
            interrupts.pend(intid);
            interrupts.pend(intid);
        }
        assert_eq!(interrupts.fetch(), Some(3));
        assert_eq!(interrupts.lines(), Lines::IRQ);
        assert_eq!(interrupts.fetch(), Some(5));
        assert_eq!(interrupts.fetch(), Some(9));
        assert_eq!(interrupts.fetch(), None);
    }

    #[test]
    fn an_intid_that_is_not_virtual_is_not_there() {
        let interrupts = VirtualInterrupts::default();
        for intid in [32, 37, 1020, u32::MAX] {
            interrupts.enable(intid, Line::Irq);
            interrupts.pend(intid);
        }
        assert_eq!(interrupts.lines(), Lines::NONE);
    }

    #[test]
    fn a_context_that_starts_anew_has_nothing_enabled() {
        let interrupts = VirtualInterrupts::default();
        interrupts.enable(5, Line::Fiq);
        interrupts.pend(5);
        interrupts.reset();
        assert_eq!(interrupts.lines(), Lines::NONE);
        interrupts.enable(5, Line::Irq);
        assert_eq!(interrupts.lines(), Lines::IRQ);
    }
}
