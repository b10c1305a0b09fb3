// SPDX-License-Identifier: MIT OR Apache-2.0
//! A second core of the normal world, which makes one call at a time for the first.

use core::cell::UnsafeCell;

use bulkhead_abi::{FfaError, Registers};

use crate::call::Conduit;
use crate::cores::Core;
use crate::request::{Canary, Reply, Request};

/// The second core's index.
const INDEX: usize = 1;

/// The call and its reply.
struct Shared(UnsafeCell<(Request, Canary, Reply)>);

// SAFETY: while the core has a job only it touches this, otherwise only the first core does.
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

/// The second core, once it runs.
#[derive(Debug)]
pub struct SecondCore(Core);

impl SecondCore {
    /// Starts the core by PSCI, or finds it idle; `None` where there is no second core.
    pub fn start() -> Option<Self> {
        Core::start(INDEX).map(Self)
    }

    /// Has the core make a call, again and again while it returns FFA_ERROR with BUSY.
    pub fn post(&mut self, request: Request, canary: Canary) {
        // SAFETY: the core is idle.
        unsafe {
            (*SHARED.0.get()).0 = request;
            (*SHARED.0.get()).1 = canary;
        }
        self.0.post(|_, _| call(), [0; 8]);
    }

    /// Whether the posted call has returned.
    pub fn is_done(&self) -> bool {
        self.0.is_done()
    }

    /// Waits for the posted call's reply.
    pub fn reply(&mut self) -> Reply {
        self.0.finish();
        // SAFETY: the core has no job.
        unsafe { (*SHARED.0.get()).2.clone() }
    }
}

/// The job.
fn call() {
    // SAFETY: it is this core's job.
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
}
