// SPDX-License-Identifier: MIT OR Apache-2.0
//! A second core of the normal world, which makes one call at a time for the first.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, Ordering};

use bulkhead_abi::psci::Psci;
use bulkhead_abi::{FfaError, Registers, Width};

use crate::call::{Conduit, smc};
use crate::counter::{self, microseconds};
use crate::entry::secondary_entry;
use crate::request::{Canary, Reply, Request};

/// MPIDR of the second core.
const TARGET: u64 = 1;

/// What the two cores tell each other; [`STATE`] says whose turn it is.
struct Shared(UnsafeCell<(Request, Canary, Reply)>);

// SAFETY: in state `POSTED` only the second core touches it, in any other only the first.
unsafe impl Sync for Shared {}

static SHARED: Shared = Shared(UnsafeCell::new((
    Request::new(0),
    Canary::NONE,
    Reply {
        sent: Registers::ZERO,
        registers: Registers::ZERO,
        masks_kept: true,
    },
)));

/// One of the values below.
static STATE: AtomicU32 = AtomicU32::new(OFF);
/// The core was not started.
const OFF: u32 = 0;
/// It waits for work.
const IDLE: u32 = 1;
/// It makes a call.
const POSTED: u32 = 2;
/// The reply is there.
const DONE: u32 = 3;

/// The state, and whatever the other core wrote before it wrote the state.
fn state() -> u32 {
    STATE.load(Ordering::Acquire)
}

fn set_state(state: u32) {
    STATE.store(state, Ordering::Release);
}

/// How long a core may take to start, in microseconds.
const START: u64 = 100_000;

/// The second core, once it runs.
#[derive(Debug)]
pub struct SecondCore(());

impl SecondCore {
    /// Starts the core by PSCI, or finds it idle; `None` where there is no second core.
    pub fn start() -> Option<Self> {
        if state() == OFF {
            let mut x = [0; 18];
            x[0] = u64::from(Psci::CpuOn.id(Width::W64));
            x[1] = TARGET;
            x[2] = secondary_entry(main) as u64;
            smc(&mut x);
            if x[0] != 0 {
                return None;
            }
            // EL3 may accept to start a core that the machine does not have.
            let begin = counter::now();
            while state() == OFF && counter::now().wrapping_sub(begin) < microseconds(START) {
                counter::pause();
            }
        }
        (state() == IDLE).then_some(Self(()))
    }

    /// Has the core make a call, again and again while it returns FFA_ERROR with BUSY.
    pub fn post(&mut self, request: Request, canary: Canary) {
        // SAFETY: the core is idle.
        unsafe {
            (*SHARED.0.get()).0 = request;
            (*SHARED.0.get()).1 = canary;
        }
        set_state(POSTED);
    }

    /// Whether the posted call has returned.
    pub fn is_done(&self) -> bool {
        state() == DONE
    }

    /// Waits for the posted call's reply.
    pub fn reply(&mut self) -> Reply {
        while state() != DONE {
            counter::pause();
        }
        // SAFETY: the core waits for the next state.
        let reply = unsafe { (*SHARED.0.get()).2.clone() };
        set_state(IDLE);
        reply
    }
}

fn main(_: usize) -> ! {
    set_state(IDLE);
    loop {
        while state() != POSTED {
            counter::pause();
        }
        // SAFETY: the state is `POSTED`, and it is this core that ends it.
        unsafe {
            let shared = SHARED.0.get();
            loop {
                let reply = (*shared).0.issue(Conduit::Smc, (*shared).1);
                if !reply.is_error(FfaError::Busy) {
                    (*shared).2 = reply;
                    break;
                }
            }
        }
        set_state(DONE);
    }
}
