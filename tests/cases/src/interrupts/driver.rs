// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a partition does about its interrupts: a handler that counts them.

use core::sync::atomic::{AtomicU64, Ordering};

use bulkhead_abi::paravirt::{
    INTID_IPI, INTID_MANAGED_EXIT, INTID_NOTIFICATION_PENDING, INTID_TIMER, Line,
};
use bulkhead_abi::{EndpointId, Function, Width};
use bulkhead_payload::devices::Device;
use bulkhead_payload::entry::{CORES, core_index};
use bulkhead_payload::exception::{
    Interrupt, handle_with, mask_interrupts, unmask_interrupts, without_interrupts,
};
use bulkhead_payload::fp::FpState;
use bulkhead_payload::timers::{ENABLE, Timer};
use bulkhead_payload::{Canary, Conduit, Reply, Request, virtual_interrupts};

use crate::outcome::TestResult;
use crate::partition_world::PartitionWorld;
use crate::protocol::Caller;
use crate::{bench, ensure};

/// What [`half::PREPARE`](super::halves::half::PREPARE) is told.
pub(crate) mod flag {
    /// Interrupts are unmasked from now on, also while the partition waits. Without it they are polled when the
    /// partition is entered by FFA_INTERRUPT or FFA_RUN.
    pub const UNMASKED: u64 = 1 << 0;
    /// They are signalled as FIQ.
    pub const FIQ: u64 = 1 << 1;
    /// The handler leaves the device's interrupt asserted.
    pub const STUCK: u64 = 1 << 2;
    /// The handler does not deactivate.
    pub const ACTIVE: u64 = 1 << 3;
    /// The virtual interrupts of timers and of IPIs are enabled.
    pub const TIMERS: u64 = 1 << 4;
    /// The managed exit interrupt is enabled.
    pub const MANAGED_EXIT: u64 = 1 << 5;
    /// The handler ends a bench window first, and has one for fetching and one for ending; the first WFI begins one.
    pub const BENCH: u64 = 1 << 6;
    /// The notification pending interrupt is enabled, and its handler gets what VMs signalled.
    pub const NOTIFIED: u64 = 1 << 8;
    /// The handler uses the FP registers, and keeps them for what it interrupted.
    pub const FP: u64 = 1 << 9;
    /// When FFA_INTERRUPT enters the partition, it sends a direct request to the partition in the third argument
    /// before it handles the interrupt.
    pub const ASKS: u64 = 1 << 7;
}

/// Positions of the counts that [`half::COUNTS`](super::halves::half::COUNTS) returns.
pub(crate) mod count {
    /// Device interrupts, physical timer, virtual timer, IPIs.
    pub const DEVICE: usize = 0;
    pub const PHYSICAL: usize = 1;
    pub const VIRTUAL: usize = 2;
    pub const IPI: usize = 3;
    /// Managed exits, notifications pending, INTIDs that nobody enabled or FP registers that changed in the handler,
    /// handler runs that found nothing.
    pub const MANAGED_EXIT: usize = 4;
    pub const NOTIFICATION: usize = 5;
    pub const FOREIGN: usize = 6;
    pub const SPURIOUS: usize = 7;
    /// Entries by FFA_INTERRUPT, the INTID of the last one, deactivations that were refused, FFA_MSG_WAIT that was
    /// refused.
    pub const ENTRIES: usize = 8;
    pub const ENTRY_INTID: usize = 9;
    pub const NOT_DEACTIVATED: usize = 10;
    pub const WAIT_REFUSED: usize = 11;
    /// Exceptions taken on IRQ and on FIQ; how late the physical and the virtual timer came at most, in ticks.
    pub const IRQS: usize = 12;
    pub const FIQS: usize = 13;
    pub const PHYSICAL_LATE: usize = 14;
    pub const VIRTUAL_LATE: usize = 15;
    /// x0 and w2 of the reply to the request of [`flag::ASKS`](super::flag::ASKS); entries by FFA_INTERRUPT while it
    /// awaited an answer.
    pub const ASKED: usize = 16;
    pub const ASKED_STATUS: usize = 17;
    pub const UNBLOCKED: usize = 18;
    /// Timers that [`arm_if_free`](super::arm_if_free) set.
    pub const ARMED: usize = 19;
}

/// How many counts there are.
pub(crate) const COUNTS: usize = 20;
/// The state of one execution context. Only that context writes it, so that loads and stores do: exclusives need not
/// work while the MMU is off.
pub(super) struct Context {
    counts: [AtomicU64; COUNTS],
    flags: AtomicU64,
    device: AtomicU64,
    asks: AtomicU64,
    /// The partition's id.
    own: AtomicU64,
    /// Periods of the timers, in ticks.
    pub(super) periods: [AtomicU64; 2],
    /// Its spin is to end.
    pub(super) leave: AtomicU64,
    /// The handler is set up.
    active: AtomicU64,
}

static CONTEXTS: [Context; CORES] = [const {
    Context {
        counts: [const { AtomicU64::new(0) }; COUNTS],
        flags: AtomicU64::new(0),
        device: AtomicU64::new(0),
        asks: AtomicU64::new(0),
        own: AtomicU64::new(0),
        periods: [const { AtomicU64::new(0) }; 2],
        leave: AtomicU64::new(0),
        active: AtomicU64::new(0),
    }
}; CORES];

pub(super) fn context() -> &'static Context {
    &CONTEXTS[core_index()]
}

impl Context {
    pub(super) fn get(&self, which: usize) -> u64 {
        self.counts[which].load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, which: usize, value: u64) {
        self.counts[which].store(value, Ordering::Relaxed);
    }

    pub(super) fn add(&self, which: usize) {
        self.set(which, self.get(which) + 1);
    }

    pub(super) fn has(&self, flag: u64) -> bool {
        self.flags.load(Ordering::Relaxed) & flag != 0
    }

    pub(super) fn device(&self) -> Option<Device> {
        Device::with_intid(self.device.load(Ordering::Relaxed) as u32)
    }

    /// Forgets what was, and sets the handler up.
    pub(super) fn prepare(
        &self,
        own: EndpointId,
        flags: u64,
        device: u64,
        asks: u64,
    ) -> TestResult {
        mask_interrupts();
        for timer in Timer::ALL {
            timer.disarm();
        }
        // What earlier tests left is of no interest.
        self.active.store(0, Ordering::Relaxed);
        for field in self.counts.iter().chain(&self.periods) {
            field.store(0, Ordering::Relaxed);
        }
        self.leave.store(0, Ordering::Relaxed);
        self.flags.store(flags, Ordering::Relaxed);
        self.device.store(device, Ordering::Relaxed);
        self.asks.store(asks, Ordering::Relaxed);
        self.own.store(own.0.into(), Ordering::Relaxed);
        virtual_interrupts::restart();
        handle_with(Some(handle));
        let line = if flags & flag::FIQ == 0 {
            Line::Irq
        } else {
            Line::Fiq
        };
        let wanted = |flag: u64, intid: u32| {
            let enable = flags & flag != 0;
            ensure!(
                virtual_interrupts::enable(intid, line, enable),
                "enabling ({enable}) interrupt {intid} was refused"
            );
            Ok(())
        };
        for intid in [INTID_TIMER, Timer::Virtual.intid(), INTID_IPI] {
            wanted(flag::TIMERS, intid)?;
        }
        wanted(flag::MANAGED_EXIT, INTID_MANAGED_EXIT)?;
        wanted(flag::NOTIFIED, INTID_NOTIFICATION_PENDING)?;
        if let Some(device) = self.device() {
            device.clear();
            ensure!(
                virtual_interrupts::enable(device.intid(), line, true),
                "enabling the interrupt of {device:?} was refused"
            );
        }
        self.active.store(1, Ordering::Relaxed);
        if flags & flag::UNMASKED != 0 {
            unmask_interrupts();
        }
        Ok(())
    }

    /// Handles one interrupt that was fetched.
    pub(super) fn serve(&self, intid: u32) {
        self.respond(intid);
        if !self.has(flag::ACTIVE) && !virtual_interrupts::deactivate(intid) {
            self.add(count::NOT_DEACTIVATED);
        }
    }

    /// Fetches and handles one interrupt: a window for fetching it and one for ending it.
    fn serve_in_windows(&self) {
        let Some(intid) = bench::window(virtual_interrupts::get) else {
            return self.add(count::SPURIOUS);
        };
        self.respond(intid);
        if !bench::window(|| virtual_interrupts::end(intid)) {
            self.add(count::NOT_DEACTIVATED);
        }
    }

    /// Does what an interrupt is for.
    fn respond(&self, intid: u32) {
        match intid {
            INTID_TIMER => self.tick(Timer::Physical, count::PHYSICAL, count::PHYSICAL_LATE),
            27 => self.tick(Timer::Virtual, count::VIRTUAL, count::VIRTUAL_LATE),
            INTID_IPI => self.add(count::IPI),
            INTID_MANAGED_EXIT => {
                self.add(count::MANAGED_EXIT);
                self.leave.store(1, Ordering::Relaxed);
            }
            INTID_NOTIFICATION_PENDING => {
                self.add(count::NOTIFICATION);
                self.get_notifications();
            }
            intid if self.device().map(Device::intid) == Some(intid) => {
                self.add(count::DEVICE);
                if let (Some(device), false) = (self.device(), self.has(flag::STUCK)) {
                    device.clear();
                }
            }
            _ => self.add(count::FOREIGN),
        }
    }

    /// Takes what VMs signalled to this partition.
    pub(super) fn get_notifications(&self) {
        const FROM_VMS: u64 = 2;
        let own = self.own.load(Ordering::Relaxed);
        let request = Request::ffa(Function::NotificationGet, Width::W32).with([own, FROM_VMS]);
        request.issue(Conduit::Smc, Canary::NONE);
    }

    /// The timer fired: it goes on with its period, or stops.
    fn tick(&self, timer: Timer, which: usize, late: usize) {
        self.add(which);
        let deadline = timer.deadline();
        self.set(
            late,
            self.get(late).max(timer.count().wrapping_sub(deadline)),
        );
        match self.periods[which - count::PHYSICAL].load(Ordering::Relaxed) {
            0 => timer.disarm(),
            period => timer.set_deadline(deadline + period),
        }
    }

    /// Fetches and handles interrupts as long as there are any, up to a bound: one that comes again and again does not
    /// keep the partition here. How many there were.
    pub(super) fn serve_all(&self) -> usize {
        const AT_MOST: usize = 16;
        (0..AT_MOST)
            .map_while(|_| virtual_interrupts::get())
            .map(|intid| self.serve(intid))
            .count()
    }

    /// [`serve_all`](Self::serve_all) with its own values in the FP registers; those that were there come back.
    fn serve_with_fp(&self) -> usize {
        let kept = FpState::current();
        let own = FpState::canaries(Canary::new(EndpointId(
            self.own.load(Ordering::Relaxed) as u16
        )));
        own.load();
        let served = self.serve_all();
        if own.difference(&FpState::current()).is_some() {
            self.add(count::FOREIGN);
        }
        kept.load();
        served
    }
}

/// The handler of IRQ and FIQ.
fn handle(interrupt: Interrupt) {
    let context = context();
    if context.has(flag::BENCH) {
        bench::end();
        return context.serve_in_windows();
    }
    match interrupt {
        Interrupt::Irq => context.add(count::IRQS),
        Interrupt::Fiq => context.add(count::FIQS),
        Interrupt::SError => panic!("SError"),
    }
    let served = if context.has(flag::FP) {
        context.serve_with_fp()
    } else {
        context.serve_all()
    };
    if served == 0 {
        context.add(count::SPURIOUS);
    }
}

/// FFA_INTERRUPT entered the partition, which waited.
pub(crate) fn entered(world: &mut PartitionWorld, event: &Reply) {
    let context = context();
    context.add(count::ENTRIES);
    let intid = virtual_interrupts::name(event.x(2) as u32);
    context.set(count::ENTRY_INTID, intid.into());
    if context.has(flag::ASKS) {
        let to = EndpointId(context.asks.load(Ordering::Relaxed) as u16);
        let reply = world.direct(Width::W64, to, [0; 5]);
        context.set(count::ASKED, reply.x(0));
        context.set(count::ASKED_STATUS, reply.x(2));
    }
    poll();
}

/// Handles what is pending, where interrupts are polled.
pub(crate) fn poll() {
    let context = context();
    if context.active.load(Ordering::Relaxed) != 0 {
        without_interrupts(|| context.serve_all());
    }
}

/// FFA_MSG_WAIT was refused.
pub(crate) fn wait_was_refused() {
    context().add(count::WAIT_REFUSED);
}

/// The reply to a request: while the partition awaits an answer, an interrupt may come, and FFA_RUN of the context in w1
/// goes on.
pub(crate) fn await_answer(world: &mut PartitionWorld, mut reply: Reply) -> Reply {
    while reply.is(Function::Interrupt) {
        context().add(count::UNBLOCKED);
        poll();
        reply = world.call(Request::run(reply.sender(), reply.receiver().0));
    }
    reply
}

/// Arms a timer for so many ticks from now, unless it is armed.
pub(crate) fn arm_if_free(timer: Timer, ticks: u64) {
    without_interrupts(|| {
        if timer.control() & ENABLE == 0 {
            timer.arm(timer.count() + ticks);
            context().add(count::ARMED);
        }
    });
}
