// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest of KVM at NS-EL1: for each tick of its virtual timer it fills its registers with new canaries,
//! waits for the tick, and looks at them again. Every second time other interrupts are active and pending meanwhile.
//!
//! It is started with its number, how many ticks to wait for, and their period in microseconds in x0, x1
//! and x2. Its last line starts with `[guest] done` if all was well, and with `[guest] failed` otherwise;
//! then it powers itself off. A guest that panics touches memory that it does not have.
#![no_std]
#![no_main]
// A failure carries its text.
#![allow(clippy::result_large_err)]

mod edge;
mod timer;

use bulkhead_abi::EndpointId;
use bulkhead_payload::console::{self, Console};
use bulkhead_payload::fp::FpState;
use bulkhead_payload::system_register::{Values, World};
use bulkhead_payload::{Canary, EntryState, Text, counter, gic, println, psci, sve};

bulkhead_payload::entry!(main);

fn main(entry: &EntryState) -> ! {
    console::select(Console::Uart);
    let [number, ticks, period, ..] = entry.x;
    let mut guest = Guest::new(number, period);
    println!(
        "[guest] number {number}: {ticks} ticks of {period} us, {} system registers, vectors of {} bytes",
        guest.registers.count(),
        guest.vector
    );
    match (0..ticks).try_for_each(|tick| guest.tick(tick)) {
        Ok(()) => println!(
            "[guest] done: {ticks} ticks in {} us, the latest after {} us",
            (counter::now() - guest.start) / counter::microseconds(1),
            guest.latest / counter::microseconds(1)
        ),
        Err(what) => println!("[guest] failed: {what}"),
    }
    psci::system_off()
}

/// What the guest knows from one tick to the next.
struct Guest {
    id: EndpointId,
    registers: Values,
    /// The length of an SVE vector in bytes, or zero.
    vector: usize,
    /// From one tick to the next, in ticks of the counter.
    period: u64,
    /// The counter at the start.
    start: u64,
    /// The last value of the counter that was seen.
    last: u64,
    /// How late the latest tick came, in ticks of the counter.
    latest: u64,
}

impl Guest {
    fn new(number: u64, period: u64) -> Self {
        gic::enable(timer::INTID);
        edge::enable();
        let start = counter::now();
        Self {
            id: EndpointId(number as u16),
            registers: Values::probe(World::Partition),
            vector: if sve::present() { sve::enable() } else { 0 },
            period: counter::microseconds(period),
            start,
            last: start,
            latest: 0,
        }
    }

    /// Waits for one tick between canaries: every second one in WFI, where KVM puts the guest aside, and
    /// the others in a loop, which keeps its registers in the core.
    fn tick(&mut self, tick: u64) -> Result<(), Text> {
        let canary = Canary::new(self.id);
        let fp = FpState::canaries(canary);
        // The vectors' low quadwords are V0–V31, so with SVE it is two ticks of eight with vectors.
        let asleep = tick & 1 == 0;
        let unexpected = |intid: edge::Unexpected| {
            Text::new(format_args!(
                "tick {tick}: interrupt {intid:?} instead of one that was raised, or after all of them"
            ))
        };
        let raised = if asleep {
            None
        } else {
            Some(edge::Raised::all().map_err(unexpected)?)
        };
        let vectors = self.vector != 0 && tick & 6 == 6;
        if vectors {
            sve::fill(canary, self.vector);
        } else {
            fp.load();
        }
        self.registers.fill(canary);
        let due = timer::arm(self.period);
        // The timer's own registers are as they were armed.
        self.registers.capture();
        timer::wait(asleep);

        let now = counter::now();
        let lost = self.registers.difference();
        let lost = if vectors {
            let lost_byte = sve::difference(self.vector);
            lost.or(lost_byte.map(|byte| ("a vector: byte", 0, byte as u64)))
        } else {
            lost.or(fp.difference(&FpState::current()))
        };
        if let Some((name, expected, found)) = lost {
            return Err(Text::new(format_args!(
                "tick {tick}: {name} is {found:#x} instead of {expected:#x}"
            )));
        }
        timer::take().map_err(|intid| {
            Text::new(format_args!(
                "tick {tick}: interrupt {intid} instead of the timer's"
            ))
        })?;
        if let Some(raised) = raised {
            raised.finish().map_err(unexpected)?;
        }
        if now < self.last || now < due {
            return Err(Text::new(format_args!(
                "tick {tick}: the counter is at {now} after {}, and the tick was due at {due}",
                self.last
            )));
        }
        self.latest = self.latest.max(now - due);
        self.last = now;
        Ok(())
    }
}
