// SPDX-License-Identifier: MIT OR Apache-2.0
//! A partition that inverts direct messages, and leaves canaries in its FP/SIMD and EL1 registers from one
//! message to the next. Once one got lost, it says so and inverts no more.
#![no_std]
#![no_main]

use core::cell::UnsafeCell;

use bulkhead_abi::{EndpointId, Function, Width};
use bulkhead_cases::partition_world::start;
use bulkhead_cases::protocol::echo;
use bulkhead_payload::entry::secondary_entry;
use bulkhead_payload::fp::FpState;
use bulkhead_payload::system_register::{Values, World};
use bulkhead_payload::{Canary, Conduit, EntryState, Reply, Request, println};

bulkhead_payload::entry!(main);

/// The partition's id, for its other execution contexts.
struct Id(UnsafeCell<EndpointId>);

// SAFETY: written once, by the boot context before others run.
unsafe impl Sync for Id {}

static ID: Id = Id(UnsafeCell::new(EndpointId(0x8000)));

fn main(entry: &EntryState) -> ! {
    let world = start(entry, &[]);
    let id = bulkhead_cases::protocol::Caller::id(&world);
    // SAFETY: as for `Id`.
    unsafe { *ID.0.get() = id };
    // In place of what `start` chose.
    secondary_entry(|_| {
        // SAFETY: as for `Id`.
        Keeper::new(unsafe { *ID.0.get() }).serve()
    });
    Keeper::new(id).serve()
}

/// What one execution context keeps.
struct Keeper {
    id: EndpointId,
    registers: Values,
    fp: FpState,
    intact: bool,
}

impl Keeper {
    fn new(id: EndpointId) -> Self {
        let mut keeper = Self {
            id,
            registers: Values::probe(World::Partition),
            fp: FpState::current(),
            intact: true,
        };
        keeper.fill();
        keeper
    }

    fn fill(&mut self) {
        let canary = Canary::new(self.id);
        self.registers.fill(canary);
        self.fp = FpState::canaries(canary);
        self.fp.load();
    }

    /// Waits for messages and answers them for ever.
    fn serve(mut self) -> ! {
        let wait = Request::ffa(Function::MsgWait, Width::W32);
        let mut next = wait;
        loop {
            let event = next.issue(Conduit::Smc, Canary::new(self.id));
            next = match event.function() {
                Some((Function::MsgSendDirectReq, width)) => self.answer(width, &event),
                _ => wait,
            };
        }
    }

    fn answer(&mut self, width: Width, event: &Reply) -> Request {
        let fp = self.fp.difference(&FpState::current());
        if let Some((name, expected, found)) = fp.or(self.registers.difference()) {
            if self.intact {
                println!(
                    "[keeper] {}: {name} is {found:#x} instead of {expected:#x}",
                    self.id
                );
            }
            self.intact = false;
        }
        self.fill();
        let payload = if self.intact {
            echo(width, event.payload())
        } else {
            [0; 5]
        };
        Request::response(width, self.id, event.sender(), payload)
    }
}
