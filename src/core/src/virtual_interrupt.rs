// SPDX-License-Identifier: MIT OR Apache-2.0
//! The virtual interrupts of an execution context (COMPATIBILITY, "Paravirtual interrupt interface"): those of
//! FF-A's own events and of timers, which every context has, and those of its partition's devices.
//!
//! Any core may make one pending; only the context itself, by paravirtual calls, enables, fetches and
//! deactivates them. They are fetched in the order in which they became pending (C-12). A summary in one
//! atomic word lets the path of every message look at them without the lock.

use crate::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use bulkhead_abi::paravirt::{self, Line};

use crate::device::gic::VirtualGic;
use crate::sync::Mutex;

/// The virtual INTID of the EL1 virtual timer: that of its private interrupt on a machine.
pub const INTID_VIRTUAL_TIMER: u32 = 27;

/// The virtual INTIDs that every execution context has.
pub const COMMON: [u32; 5] = [
    paravirt::INTID_TIMER,
    paravirt::INTID_MANAGED_EXIT,
    paravirt::INTID_NOTIFICATION_PENDING,
    paravirt::INTID_IPI,
    INTID_VIRTUAL_TIMER,
];

/// One virtual interrupt of an execution context.
#[derive(Clone, Copy, Debug)]
pub struct VirtualInterrupt {
    intid: u32,
    /// Its place in the order of those that are pending; zero while it is not.
    pending: u64,
    enabled: bool,
    line: Line,
    /// Whether it was fetched and not deactivated since.
    active: bool,
    /// The counter's value when it was last fetched.
    fetched: u64,
    /// The core on which the physical interrupt of this INTID is active.
    acknowledged: Option<usize>,
}

impl VirtualInterrupt {
    /// An interrupt that is disabled.
    pub const fn new(intid: u32) -> Self {
        Self {
            intid,
            pending: 0,
            enabled: false,
            line: Line::Irq,
            active: false,
            fetched: 0,
            acknowledged: None,
        }
    }

    fn is_raised(&self) -> bool {
        self.enabled && self.pending != 0
    }

    /// Whether a context that waits is entered for it: the others have other ways to be told.
    fn wakes(&self) -> bool {
        !matches!(
            self.intid,
            paravirt::INTID_MANAGED_EXIT
                | paravirt::INTID_NOTIFICATION_PENDING
                | paravirt::INTID_IPI
        )
    }
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
    /// Virtual SError: taken once for each time that it is signalled.
    pub const SERROR: Self = Self(4);
    const ALL: u32 = 7;

    /// Whether every line of `other` is signalled.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Summary: besides [`Lines`], an interrupt for which a waiting context is entered is pending and enabled.
const WAKES: u32 = 1 << 8;
/// Summary: an IPI is pending and enabled, for which the scheduler gives a waiting context cycles (C-15).
const CALLED: u32 = 1 << 11;
/// Summary: a physical interrupt was fetched and not deactivated.
const OWES: u32 = 1 << 9;
/// Summary: something is pending.
const PENDING: u32 = 1 << 10;

/// How often interrupts became pending, and what became of them (IR1 of the abuse cases):
/// `raised = delivered + withdrawn + dropped` and those that are still pending.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Tally {
    /// Became pending.
    pub raised: u64,
    /// Were fetched.
    pub delivered: u64,
    /// Were taken back since what they told of was over.
    pub withdrawn: u64,
    /// Were dropped with their partition, or at the start of the context.
    pub dropped: u64,
    /// Are pending.
    pub pending: u64,
}

/// A context that waits with something pending is entered by Bulkhead,
const ENTERED: u8 = 0;
/// or left to the normal world's scheduler, which FFA_NOTIFICATION_INFO_GET has not told so,
const UNTOLD: u8 = 1;
/// or has.
const TOLD: u8 = 2;

/// The virtual interrupts of one execution context.
#[derive(Debug)]
pub struct VirtualInterrupts {
    summary: AtomicU32,
    left: AtomicU8,
    /// In place of the paravirtual ones, those of its partition's GIC, of which it is this vCPU.
    gic: Option<(&'static VirtualGic, usize)>,
    all: Mutex<All>,
}

#[derive(Debug)]
struct All {
    common: [VirtualInterrupt; COMMON.len()],
    devices: &'static mut [VirtualInterrupt],
    /// How often one became pending; the next one's place in the order is one more.
    raised: u64,
    delivered: u64,
    withdrawn: u64,
    dropped: u64,
    /// Whether the context has been refused to wait since it owes a deactivation (R10).
    refused: bool,
    /// Whether a virtual SError is to be signalled.
    serror: bool,
    /// How often in a row it was entered for an interrupt and fetched none.
    ignored: u32,
}

impl All {
    fn iter(&self) -> impl Iterator<Item = &VirtualInterrupt> {
        self.common.iter().chain(self.devices.iter())
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut VirtualInterrupt> {
        self.common.iter_mut().chain(self.devices.iter_mut())
    }

    fn find(&mut self, intid: u32) -> Option<&mut VirtualInterrupt> {
        self.iter_mut().find(|one| one.intid == intid)
    }

    fn summary(&self) -> u32 {
        let serror = if self.serror { Lines::SERROR.0 } else { 0 };
        self.iter().fold(serror, |summary, one| {
            let line = match one.line {
                Line::Irq => Lines::IRQ.0,
                Line::Fiq => Lines::FIQ.0,
            };
            let bit = |condition: bool, bit| if condition { bit } else { 0 };
            summary
                | bit(one.is_raised(), line)
                | bit(one.is_raised() && one.wakes(), WAKES)
                | bit(one.is_raised() && one.intid == paravirt::INTID_IPI, CALLED)
                | bit(one.active && one.acknowledged.is_some(), OWES)
                | bit(one.pending != 0, PENDING)
        })
    }
}

/// The summary of what a GIC signals.
#[cold]
#[inline(never)]
fn of_signals(gic: &VirtualGic, vcpu: usize) -> u32 {
    let (lines, wakes, _) = gic.signals(vcpu);
    match (lines, wakes) {
        (Lines::NONE, _) => 0,
        (lines, false) => lines.0 | PENDING,
        (lines, true) => lines.0 | PENDING | WAKES,
    }
}

/// A physical interrupt that is over for the partition, and the core on which it is active.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ended {
    pub(crate) intid: u32,
    pub(crate) core: usize,
}

impl VirtualInterrupts {
    /// Those of every context, and `devices`.
    pub(crate) fn new(devices: &'static mut [VirtualInterrupt]) -> Self {
        Self {
            summary: AtomicU32::new(0),
            left: AtomicU8::new(0),
            gic: None,
            all: Mutex::new(All {
                common: COMMON.map(VirtualInterrupt::new),
                devices,
                raised: 0,
                delivered: 0,
                withdrawn: 0,
                dropped: 0,
                refused: false,
                serror: false,
                ignored: 0,
            }),
        }
    }

    /// Those of vCPU `index` of a partition's GIC.
    pub(crate) fn of_gic(gic: &'static VirtualGic, index: usize) -> Self {
        Self {
            gic: Some((gic, index)),
            ..Self::new(&mut [])
        }
    }

    /// Changes them, and then the summary.
    fn change<R>(&self, change: impl FnOnce(&mut All) -> R) -> R {
        let mut all = self.all.lock();
        let result = change(&mut all);
        let summary = match self.gic {
            None => all.summary(),
            Some((gic, vcpu)) => all.summary() | of_signals(gic, vcpu),
        };
        self.summary.store(summary, Ordering::Release);
        result
    }

    /// Looks at the GIC, in which something changed.
    pub(crate) fn refresh(&self) {
        self.change(|_| ());
    }

    /// The context has acknowledged one by its GIC.
    pub(crate) fn was_fetched(&self) {
        self.all.lock().ignored = 0;
    }

    /// Makes `intid` pending until the context fetches it; whether it was not.
    pub(crate) fn pend(&self, intid: u32) -> bool {
        self.raise(intid, None)
    }

    /// [`pend`](Self::pend); the physical interrupt of that INTID is active on core `acknowledged`.
    pub(crate) fn raise(&self, intid: u32, acknowledged: Option<usize>) -> bool {
        self.change(|all| {
            if let Some((gic, vcpu)) = self.gic {
                return gic.raise(vcpu, intid, acknowledged);
            }
            let next = all.raised.saturating_add(1);
            let Some(one) = all.find(intid) else {
                return false;
            };
            one.acknowledged = acknowledged.or(one.acknowledged);
            if one.pending != 0 {
                return false;
            }
            one.pending = next;
            all.raised = next;
            true
        })
    }

    /// What `intid` told of is over.
    pub(crate) fn withdraw(&self, intid: u32) {
        if self.gic.is_none() && self.summary.load(Ordering::Acquire) & PENDING == 0 {
            return;
        }
        self.change(|all| {
            if let Some((gic, vcpu)) = self.gic {
                return gic.withdraw(vcpu, intid);
            }
            if let Some(one) = all.find(intid)
                && one.pending != 0
            {
                one.pending = 0;
                all.withdrawn = all.withdrawn.saturating_add(1);
            }
        });
    }

    /// Enables `intid`, to be signalled on `line`, or disables it: if it is pending, it stays so. `false` if
    /// the context has no such interrupt; with a GIC it has none that is enabled so.
    pub(crate) fn enable(&self, intid: u32, line: Line, enable: bool) -> bool {
        if self.gic.is_some() {
            return false;
        }
        self.change(|all| {
            let one = all.find(intid);
            one.is_some_and(|one| {
                (one.enabled, one.line) = (enable, line);
                true
            })
        })
    }

    /// Whether `intid` is enabled.
    pub(crate) fn is_enabled(&self, intid: u32) -> bool {
        if let Some((gic, vcpu)) = self.gic {
            return gic.is_enabled(vcpu, intid);
        }
        let mut all = self.all.lock();
        all.find(intid).is_some_and(|one| one.enabled)
    }

    /// The context starts anew, with every interrupt disabled. What its devices or FF-A have pending stays.
    pub(crate) fn reset(&self) {
        self.change(|all| {
            if let Some((gic, vcpu)) = self.gic {
                gic.reset(vcpu);
            }
            for one in all.iter_mut() {
                one.enabled = false;
                one.line = Line::Irq;
                one.active = false;
            }
            (all.refused, all.ignored, all.serror) = (false, 0, false);
        });
    }

    /// The partition ended: nothing is pending or enabled any more. `ended` is told of each physical
    /// interrupt that is active.
    pub(crate) fn end(&self, mut ended: impl FnMut(Ended)) {
        self.change(|all| {
            if let Some((gic, vcpu)) = self.gic {
                gic.end(vcpu, &mut ended);
            }
            let mut dropped = 0_u64;
            for one in all.iter_mut() {
                dropped = dropped.saturating_add(u64::from(one.pending != 0));
                if let Some(core) = one.acknowledged {
                    let intid = one.intid;
                    ended(Ended { intid, core });
                }
                *one = VirtualInterrupt::new(one.intid);
            }
            all.dropped = all.dropped.saturating_add(dropped);
        });
    }

    /// Takes one whose physical interrupt is active out: it is not pending or active here any more. The second
    /// value tells whether it was pending. One that was fetched is taken only if `fetched_too`: unless the context
    /// cannot run, it handles that.
    pub(crate) fn take_physical(&self, fetched_too: bool) -> Option<(Ended, bool)> {
        self.change(|all| {
            if let Some((gic, vcpu)) = self.gic {
                return gic.take_physical(vcpu, fetched_too);
            }
            let is_wanted = |one: &&mut VirtualInterrupt| {
                one.acknowledged.is_some() && (fetched_too || one.pending != 0)
            };
            let one = all.iter_mut().find(is_wanted)?;
            let ended = Ended {
                intid: one.intid,
                core: one.acknowledged.take()?,
            };
            let pending = core::mem::take(&mut one.pending) != 0;
            one.active = false;
            all.withdrawn = all.withdrawn.saturating_add(u64::from(pending));
            Some((ended, pending))
        })
    }

    /// The pending and enabled interrupt that has been so for longest.
    pub(crate) fn first(&self) -> Option<u32> {
        if let Some((gic, vcpu)) = self.gic {
            return gic.signals(vcpu).2;
        }
        let all = self.all.lock();
        let raised = all.iter().filter(|one| one.is_raised());
        raised.min_by_key(|one| one.pending).map(|one| one.intid)
    }

    /// Takes [`first`](Self::first), when the counter is `now`: it is active, and not pending any more.
    pub(crate) fn fetch(&self, now: u64) -> Option<u32> {
        if self.gic.is_some() || !self.any_raised() {
            return None;
        }
        self.change(|all| {
            let raised = all.iter_mut().filter(|one| one.is_raised());
            let one = raised.min_by_key(|one| one.pending)?;
            one.pending = 0;
            (one.active, one.fetched) = (true, now);
            let intid = one.intid;
            all.delivered = all.delivered.saturating_add(1);
            all.ignored = 0;
            Some(intid)
        })
    }

    /// The context is done with `intid`, which it has fetched.
    ///
    /// # Errors
    /// `Err` when it has not, or has said so before (I6).
    pub(crate) fn deactivate(&self, intid: u32) -> Result<Option<Ended>, ()> {
        self.change(|all| {
            let one = all.find(intid).ok_or(())?;
            if !one.active {
                return Err(());
            }
            one.active = false;
            let core = one.acknowledged.take();
            // Another one that it owes is another matter.
            all.refused = false;
            Ok(core.map(|core| Ended { intid, core }))
        })
    }

    /// A virtual SError is to be signalled to the context, or has been: the machine keeps it until it is taken.
    pub(crate) fn set_serror(&self, serror: bool) {
        self.change(|all| all.serror = serror);
    }

    /// The context goes to wait: what it has fetched is over. `ended` is told of physical interrupts that it
    /// has not deactivated.
    ///
    /// # Errors
    /// With `refuse`, when there are such; nothing changes then, but the next time they end (R10).
    pub(crate) fn settle(&self, refuse: bool, mut ended: impl FnMut(Ended)) -> Result<(), ()> {
        self.change(|all| {
            if refuse && !core::mem::replace(&mut all.refused, true) {
                return Err(());
            }
            all.refused = false;
            for one in all.iter_mut().filter(|one| one.active) {
                one.active = false;
                if let Some(core) = one.acknowledged.take() {
                    let intid = one.intid;
                    ended(Ended { intid, core });
                }
            }
            Ok(())
        })
    }

    /// Whether the context has fetched a physical interrupt and not deactivated it.
    #[inline]
    pub(crate) fn owes(&self) -> bool {
        self.summary.load(Ordering::Relaxed) & OWES != 0
    }

    /// When it fetched the one that it owes for longest.
    pub(crate) fn owes_since(&self) -> Option<u64> {
        let all = self.all.lock();
        let owed = all
            .iter()
            .filter(|one| one.active && one.acknowledged.is_some());
        owed.map(|one| one.fetched).min()
    }

    /// Whether the context, if it waits, is to be entered for an interrupt.
    #[inline]
    pub(crate) fn wakes(&self) -> bool {
        self.summary.load(Ordering::Acquire) & WAKES != 0
    }

    /// Whether the context, which goes to wait, has to be given cycles for one.
    #[inline]
    pub fn needs_cycles(&self) -> bool {
        self.summary.load(Ordering::Acquire) & (WAKES | CALLED) != 0
    }

    /// Whether any is pending, enabled or not.
    pub(crate) fn any_pending(&self) -> bool {
        self.summary.load(Ordering::Acquire) & PENDING != 0
    }

    /// Whether anything is signalled.
    pub(crate) fn any_raised(&self) -> bool {
        self.lines() != Lines::NONE
    }

    /// Whether what is to be signalled is not `lines`.
    #[inline]
    pub(crate) fn differ(&self, lines: Lines) -> bool {
        self.lines() != lines
    }

    /// What is to be signalled.
    #[inline]
    pub fn lines(&self) -> Lines {
        Lines(self.summary.load(Ordering::Acquire) & Lines::ALL)
    }

    /// The context is entered for an interrupt. Whether it has ignored as many as `most` in a row; the count
    /// starts again then.
    pub(crate) fn ignores(&self, most: u32) -> bool {
        let mut all = self.all.lock();
        all.ignored = all.ignored.saturating_add(1);
        let ignores = all.ignored > most;
        if ignores {
            all.ignored = 0;
        }
        ignores
    }

    /// The context, which waits, is left to the scheduler of the normal world, or is not.
    pub(crate) fn leave_to_scheduler(&self, leave: bool) {
        let left = if leave { UNTOLD } else { ENTERED };
        self.left.store(left, Ordering::Release);
    }

    /// Whether it is.
    pub(crate) fn is_left(&self) -> bool {
        self.left.load(Ordering::Acquire) != ENTERED
    }

    /// Whether the scheduler is to be told so; it has been, after this.
    pub(crate) fn tell_once(&self) -> bool {
        self.become_left(UNTOLD, TOLD)
    }

    /// The scheduler has not been told, after all.
    pub(crate) fn untell(&self) {
        self.become_left(TOLD, UNTOLD);
    }

    /// Changes what the scheduler knows; whether that was `from`.
    fn become_left(&self, from: u8, to: u8) -> bool {
        self.left
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// What became of them.
    pub fn tally(&self) -> Tally {
        let all = self.all.lock();
        let pending = all.iter().filter(|one| one.pending != 0).count();
        Tally {
            raised: all.raised,
            delivered: all.delivered,
            withdrawn: all.withdrawn,
            dropped: all.dropped,
            pending: u64::try_from(pending).unwrap_or(u64::MAX),
        }
    }

    /// Whether a physical interrupt was acknowledged for it and has not been deactivated.
    pub fn holds(&self, intid: u32) -> bool {
        if let Some((gic, vcpu)) = self.gic {
            return gic.holds(vcpu, intid);
        }
        let mut all = self.all.lock();
        all.find(intid)
            .is_some_and(|one| one.acknowledged.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(devices: &[u32]) -> VirtualInterrupts {
        let devices: Vec<_> = devices.iter().copied().map(VirtualInterrupt::new).collect();
        VirtualInterrupts::new(devices.leak())
    }

    fn enable(interrupts: &VirtualInterrupts, intid: u32, line: Line) {
        assert!(interrupts.enable(intid, line, true));
    }

    #[test]
    fn c14_only_what_is_pending_and_enabled_is_signalled() {
        let interrupts = new(&[]);
        assert!(interrupts.pend(5));
        assert_eq!(
            (interrupts.lines(), interrupts.fetch(7)),
            (Lines::NONE, None)
        );
        enable(&interrupts, 5, Line::Irq);
        assert_eq!(interrupts.lines(), Lines::IRQ);
        assert!(interrupts.enable(5, Line::Irq, false));
        assert_eq!(
            (interrupts.lines(), interrupts.fetch(7)),
            (Lines::NONE, None)
        );
        enable(&interrupts, 5, Line::Fiq);
        assert_eq!(interrupts.lines(), Lines::FIQ);
        assert_eq!(interrupts.fetch(7), Some(5));
        assert_eq!(
            (interrupts.lines(), interrupts.fetch(7)),
            (Lines::NONE, None)
        );
    }

    #[test]
    fn c12_they_are_fetched_in_order_and_once_each() {
        let interrupts = new(&[40, 34]);
        for (intid, line) in [
            (9, Line::Irq),
            (34, Line::Irq),
            (3, Line::Fiq),
            (40, Line::Irq),
        ] {
            enable(&interrupts, intid, line);
            assert!(interrupts.pend(intid));
            assert!(!interrupts.pend(intid), "it is pending once");
        }
        assert!(interrupts.lines().contains(Lines::FIQ));
        let order: Vec<_> = std::iter::from_fn(|| interrupts.fetch(7)).collect();
        assert_eq!(order, [9, 34, 3, 40]);
        let tally = interrupts.tally();
        assert_eq!((tally.raised, tally.delivered, tally.pending), (4, 4, 0));
    }

    #[test]
    fn i6_an_interrupt_is_deactivated_once_and_only_after_it_was_fetched() {
        let interrupts = new(&[34]);
        enable(&interrupts, 34, Line::Irq);
        assert_eq!(interrupts.deactivate(34), Err(()));
        assert!(interrupts.raise(34, Some(2)));
        assert_eq!(interrupts.deactivate(34), Err(()), "it was not fetched");
        assert_eq!(interrupts.fetch(7), Some(34));
        assert!(interrupts.owes());
        assert_eq!(interrupts.owes_since(), Some(7));
        assert_eq!(
            interrupts.deactivate(34),
            Ok(Some(Ended { intid: 34, core: 2 }))
        );
        assert!(!interrupts.owes());
        assert_eq!(interrupts.deactivate(34), Err(()));
        assert_eq!(interrupts.deactivate(35), Err(()), "it is another's");
    }

    #[test]
    fn r10_what_is_not_deactivated_ends_at_the_second_try_to_wait() {
        let interrupts = new(&[34]);
        enable(&interrupts, 34, Line::Irq);
        interrupts.raise(34, Some(1));
        assert_eq!(interrupts.fetch(7), Some(34));
        let mut ended = Vec::new();
        assert_eq!(interrupts.settle(true, |end| ended.push(end)), Err(()));
        assert!(interrupts.owes() && ended.is_empty());
        assert_eq!(interrupts.settle(true, |end| ended.push(end)), Ok(()));
        assert_eq!(ended, [Ended { intid: 34, core: 1 }]);
        assert!(!interrupts.owes());
    }

    #[test]
    fn i16_the_end_of_a_partition_drops_and_tells_all() {
        let interrupts = new(&[34, 40]);
        enable(&interrupts, 34, Line::Irq);
        interrupts.raise(34, Some(1));
        interrupts.raise(40, Some(3));
        interrupts.pend(3);
        assert_eq!(interrupts.fetch(7), Some(34));
        let mut ended = Vec::new();
        interrupts.end(|end| ended.push((end.intid, end.core)));
        assert_eq!(ended, [(34, 1), (40, 3)]);
        let tally = interrupts.tally();
        assert_eq!(
            (tally.raised, tally.delivered, tally.dropped, tally.pending),
            (3, 1, 2, 0)
        );
        assert!(!interrupts.is_enabled(34) && !interrupts.owes());
    }

    #[test]
    fn i11_an_intid_that_is_not_there_is_never_pending() {
        let interrupts = new(&[]);
        for intid in [0, 31, 32, 63, 64, 1020, 8191, u32::MAX] {
            assert!(!interrupts.enable(intid, Line::Irq, true));
            assert!(!interrupts.pend(intid));
            assert_eq!(
                (interrupts.lines(), interrupts.fetch(7)),
                (Lines::NONE, None)
            );
        }
    }

    #[test]
    fn ff_a_has_other_ways_to_tell_who_waits_of_its_own_events() {
        let interrupts = new(&[34]);
        for intid in [4, 5, 9] {
            enable(&interrupts, intid, Line::Irq);
            interrupts.pend(intid);
            assert!(!interrupts.wakes());
        }
        for intid in [3, 27, 34] {
            let interrupts = new(&[34]);
            enable(&interrupts, intid, Line::Irq);
            interrupts.pend(intid);
            assert!(interrupts.wakes());
        }
    }
}
