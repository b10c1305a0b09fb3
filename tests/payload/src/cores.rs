// SPDX-License-Identifier: MIT OR Apache-2.0
//! Other cores of the normal world: each does one job at a time for the boot core, and can go off and
//! come on again.

use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bulkhead_abi::Width;
use bulkhead_abi::psci::Psci;

use crate::call::smc;
use crate::counter::{self, microseconds};
use crate::entry::{CORES, secondary_entry};
use crate::gic;

/// What a core does: it gets its index, and words that are arguments before and results afterwards.
pub type Job = fn(usize, &mut Words);

/// The arguments and results of a [`Job`].
pub type Words = [u64; 8];

/// What two cores tell each other; the slot's state says whose turn it is.
struct Slot {
    state: AtomicU32,
    job: UnsafeCell<(Job, Words)>,
}

// SAFETY: in state `POSTED` only the slot's core touches the job, in any other only the boot core.
unsafe impl Sync for Slot {}

/// The core does not run.
const OFF: u32 = 0;
/// It waits for work.
const IDLE: u32 = 1;
/// It has a job.
const POSTED: u32 = 2;
/// The job is done.
const DONE: u32 = 3;

static SLOTS: [Slot; CORES] = [const {
    Slot {
        state: AtomicU32::new(OFF),
        job: UnsafeCell::new((|_, _| (), [0; 8])),
    }
}; CORES];

/// How long a core may take to start or to stop, in microseconds: long, for an emulator that has less time
/// than the counter says.
const PATIENCE: u64 = 2_000_000;

/// AFFINITY_INFO's answers.
const AFFINITY_ON: u64 = 0;
const AFFINITY_OFF: u64 = 1;

fn psci(function: Psci, arguments: [u64; 3]) -> u64 {
    let mut x = [0; 18];
    let width = if function.has(Width::W64) {
        Width::W64
    } else {
        Width::W32
    };
    x[0] = u64::from(function.id(width));
    x[1..4].copy_from_slice(&arguments);
    smc(&mut x);
    x[0]
}

/// The cores' affinities by index: Aff0 is the index, unless [`place`] says otherwise.
static AFFINITIES: [AtomicU64; CORES] = {
    let mut affinities = [const { AtomicU64::new(0) }; CORES];
    let mut index = 0;
    while index < CORES {
        affinities[index] = AtomicU64::new(index as u64);
        index += 1;
    }
    affinities
};

/// Says that core `index`, which is off, is the one with `affinity`.
pub fn place(index: usize, affinity: u64) {
    AFFINITIES[index].store(affinity, Ordering::Relaxed);
}

/// The affinity of core `index`.
pub fn affinity_of(index: usize) -> u64 {
    AFFINITIES[index].load(Ordering::Relaxed)
}

/// PSCI CPU_ON of a core, whatever its state; returns PSCI's status.
pub fn cpu_on(index: usize) -> i32 {
    let entry = secondary_entry(main) as u64;
    psci(Psci::CpuOn, [affinity_of(index), entry, index as u64]) as u32 as i32
}

/// Whether the machine has core `index`. EL3 may accept to start one that it does not have.
pub fn exists(index: usize) -> bool {
    index < CORES && gic::has_core(affinity_of(index))
}

/// A core that runs and has no job.
#[derive(Debug)]
pub struct Core(usize);

impl Core {
    /// Starts core `index`, which is not the boot core, or finds it idle; `None` where it does not exist.
    pub fn start(index: usize) -> Option<Self> {
        let slot = SLOTS.get(index).filter(|_| index != 0)?;
        if !exists(index) {
            return None;
        }
        let state = || slot.state.load(Ordering::Acquire);
        if state() == OFF {
            if cpu_on(index) != 0 {
                return None;
            }
            let begin = counter::now();
            while state() == OFF && counter::now().wrapping_sub(begin) < microseconds(PATIENCE) {
                counter::pause();
            }
        }
        (state() == IDLE).then_some(Self(index))
    }

    /// The core's index.
    pub fn index(&self) -> usize {
        self.0
    }

    fn slot(&self) -> &'static Slot {
        &SLOTS[self.0]
    }

    /// Has the core do a job.
    pub fn post(&mut self, job: Job, words: Words) {
        // SAFETY: the core is idle.
        unsafe { *self.slot().job.get() = (job, words) };
        self.slot().state.store(POSTED, Ordering::Release);
    }

    /// Whether the posted job is done.
    pub fn is_done(&self) -> bool {
        self.slot().state.load(Ordering::Acquire) == DONE
    }

    /// Waits until the posted job is done; the words as it left them.
    pub fn finish(&mut self) -> Words {
        while !self.is_done() {
            counter::pause();
        }
        // SAFETY: the core waits for the next state.
        let words = unsafe { (*self.slot().job.get()).1 };
        self.slot().state.store(IDLE, Ordering::Release);
        words
    }

    /// Switches the core off; whether it went.
    pub fn stop(mut self) -> bool {
        let index = self.0;
        self.post(
            |index, _| {
                SLOTS[index].state.store(OFF, Ordering::Release);
                psci(Psci::CpuOff, [0; 3]);
            },
            [0; 8],
        );
        wait_until_off(index)
    }
}

fn wait_until_off(index: usize) -> bool {
    let begin = counter::now();
    while counter::now().wrapping_sub(begin) < microseconds(PATIENCE) {
        if psci(Psci::AffinityInfo, [affinity_of(index), 0, 0]) == AFFINITY_OFF {
            return true;
        }
        counter::pause();
    }
    false
}

fn main(index: usize) -> ! {
    let slot = &SLOTS[index];
    slot.state.store(IDLE, Ordering::Release);
    loop {
        while slot.state.load(Ordering::Acquire) != POSTED {
            counter::pause();
        }
        // SAFETY: the state is `POSTED`, and it is this core that ends it.
        unsafe {
            let (job, words) = &mut *slot.job.get();
            job(index, words);
        }
        slot.state.store(DONE, Ordering::Release);
    }
}

// payload_sleep(sp: *mut usize, function): keeps what a function may not change on the stack and its
// address in *sp, and makes the call, which ends in payload_wake, entered with x0 = sp.
global_asm!(
    ".section .text.sleep, \"ax\"",
    ".global payload_sleep",
    "payload_sleep:",
    "stp x29, x30, [sp, #-96]!",
    "stp x19, x20, [sp, #16]",
    "stp x21, x22, [sp, #32]",
    "stp x23, x24, [sp, #48]",
    "stp x25, x26, [sp, #64]",
    "stp x27, x28, [sp, #80]",
    "mov x2, sp",
    "str x2, [x0]",
    "dsb sy",
    "mov x0, x1",
    "smc #0",
    "b 1f",
    ".global payload_wake",
    "payload_wake:",
    "ldr x2, [x0]",
    "mov sp, x2",
    "mov x0, xzr",
    "bl payload_prepare_core",
    "mov x0, xzr",
    "1:",
    "ldp x19, x20, [sp, #16]",
    "ldp x21, x22, [sp, #32]",
    "ldp x23, x24, [sp, #48]",
    "ldp x25, x26, [sp, #64]",
    "ldp x27, x28, [sp, #80]",
    "ldp x29, x30, [sp], #96",
    "ret",
);

unsafe extern "C" {
    fn payload_sleep(sp: *mut usize, function: u64) -> i64;
    fn payload_wake();
}

/// Where the boot core's stack is while it is off.
struct Asleep(UnsafeCell<usize>);

// SAFETY: written by the boot core before it goes off, read by it when it comes on.
unsafe impl Sync for Asleep {}

static ASLEEP: Asleep = Asleep(UnsafeCell::new(0));

/// Switches the boot core off and has `helper` switch it on again; whether that worked.
pub fn restart_boot_core(helper: &mut Core) -> bool {
    helper.post(
        |_, words| {
            words[0] = u64::from(wait_until_off(0));
            words[1] = psci(
                Psci::CpuOn,
                [
                    affinity_of(0),
                    payload_wake as *const () as u64,
                    ASLEEP.0.get() as u64,
                ],
            );
        },
        [0; 8],
    );
    // SAFETY: everything that a function may not change comes back from the stack; what the core's
    // system registers need is what `payload_prepare_core` sets.
    let woken = unsafe { payload_sleep(ASLEEP.0.get(), Psci::CpuOff.id(Width::W32).into()) };
    let [was_off, status, ..] = helper.finish();
    (woken, was_off, status) == (0, 1, 0)
}

/// Whether PSCI says that the core is on.
pub fn is_on(index: usize) -> bool {
    psci(Psci::AffinityInfo, [affinity_of(index), 0, 0]) == AFFINITY_ON
}
