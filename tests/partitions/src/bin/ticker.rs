// SPDX-License-Identifier: MIT OR Apache-2.0
//! A partition whose execution contexts each have a timer of their own tick when a direct message asks them to, and
//! tell how many ticks came: none is to be lost, and none to come early. Interrupts stay masked: a context fetches
//! them when it is entered, and after WFI.
#![no_std]
#![no_main]

use core::cell::UnsafeCell;

use bulkhead_abi::paravirt::Line;
use bulkhead_abi::{EndpointId, Function, Width};
use bulkhead_cases::partition_world::start;
use bulkhead_cases::protocol::Caller;
use bulkhead_payload::entry::secondary_entry;
use bulkhead_payload::timers::{Timer, wait_for_interrupt};
use bulkhead_payload::{Canary, Conduit, EntryState, Reply, Request, counter, paravirtual};

bulkhead_payload::entry!(main);

/// What x3 of a request asks for. The answer is always [`Ticker::tell`]'s.
mod ask {
    /// Ticks of x4 microseconds from now on: of the EL1 physical timer, or of the virtual one if x5 is 1.
    pub const START: u64 = 1;
    /// Nothing more.
    pub const TELL: u64 = 2;
    /// The answer waits, in WFI, until x4 more ticks have come.
    pub const WAIT: u64 = 3;
    /// No more ticks.
    pub const STOP: u64 = 4;
}

/// The partition's id, for its other execution contexts.
struct Id(UnsafeCell<EndpointId>);

// SAFETY: written once, by the boot context before others run.
unsafe impl Sync for Id {}

static ID: Id = Id(UnsafeCell::new(EndpointId(0x8000)));

fn main(entry: &EntryState) -> ! {
    let id = start(entry, &[]).id();
    // SAFETY: as for `Id`.
    unsafe { *ID.0.get() = id };
    // In place of what `start` chose.
    secondary_entry(|_| {
        // SAFETY: as for `Id`.
        Ticker::new(unsafe { *ID.0.get() }).serve()
    });
    Ticker::new(id).serve()
}

/// One execution context, and what it has seen since it was told to start.
struct Ticker {
    id: EndpointId,
    timer: Timer,
    /// From one tick to the next, in ticks of the counter; zero while there are none.
    period: u64,
    /// When it was told to start, by the timer's own counter.
    start: u64,
    /// When the next one is due.
    due: u64,
    /// How many came.
    ticks: u64,
    /// How many more were due by then.
    missed: u64,
    /// How many interrupts came that were not due.
    stray: u64,
    /// How late the latest came, in ticks of the counter.
    latest: u64,
}

impl Ticker {
    fn new(id: EndpointId) -> Self {
        Self {
            id,
            timer: Timer::Physical,
            period: 0,
            start: 0,
            due: 0,
            ticks: 0,
            missed: 0,
            stray: 0,
            latest: 0,
        }
    }

    /// Waits for messages and answers them for ever.
    fn serve(mut self) -> ! {
        let wait = Request::ffa(Function::MsgWait, Width::W32);
        let mut next = wait;
        loop {
            let event = next.issue(Conduit::Smc, Canary::new(self.id));
            self.take_interrupts();
            next = match event.function() {
                Some((Function::MsgSendDirectReq, width)) => {
                    let answer = self.answer(&event);
                    Request::response(width, self.id, event.sender(), answer)
                }
                _ => wait,
            };
        }
    }

    fn answer(&mut self, event: &Reply) -> [u64; 5] {
        let [what, first, second, ..] = event.payload();
        match what {
            ask::START => self.begin(first, second),
            ask::TELL => {}
            ask::WAIT => {
                let wanted = self.ticks + first;
                while self.ticks < wanted && self.period != 0 {
                    wait_for_interrupt();
                    self.take_interrupts();
                }
            }
            ask::STOP => {
                self.timer.disarm();
                self.period = 0;
            }
            _ => return [u64::MAX; 5],
        }
        self.tell()
    }

    fn begin(&mut self, microseconds: u64, which: u64) {
        self.timer.disarm();
        self.take_interrupts();
        *self = Self::new(self.id);
        self.timer = Timer::ALL[usize::from(which == 1)];
        self.period = counter::microseconds(microseconds);
        assert!(paravirtual::enable(self.timer.intid(), Line::Irq, true));
        self.start = self.timer.count();
        self.due = self.start + self.period;
        self.timer.arm(self.due);
    }

    fn take_interrupts(&mut self) {
        while let Some(intid) = paravirtual::get() {
            let late = self.timer.count().checked_sub(self.due);
            match late {
                Some(late) if intid == self.timer.intid() && self.period != 0 => {
                    let missed = late / self.period;
                    self.ticks += 1;
                    self.missed += missed;
                    self.latest = self.latest.max(late);
                    self.due += self.period * (missed + 1);
                    self.timer.arm(self.due);
                }
                _ => self.stray += 1,
            }
            assert!(paravirtual::deactivate(intid));
        }
    }

    /// How many ticks came, how many did not, how many interrupts were no tick, how late the latest was, and for how long
    /// it had ticked just before that was counted, both in ticks of the counter.
    fn tell(&mut self) -> [u64; 5] {
        let elapsed = self.timer.count() - self.start;
        self.take_interrupts();
        [self.ticks, self.missed, self.stray, self.latest, elapsed]
    }
}
