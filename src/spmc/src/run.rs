// SPDX-License-Identifier: MIT OR Apache-2.0
//! The run loop of a core: an event in, an action out, for ever.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

use bulkhead_abi::Registers;
use bulkhead_arch::address::LoadedContext;
use bulkhead_arch::conduit;
use bulkhead_arch::features::{Allowed, Features};
use bulkhead_arch::switch::{self, Cpu};
use bulkhead_arch::syndrome::{self, Outcome};
use bulkhead_arch::wait::{self, Pending};
use bulkhead_arch::{percore, refuse};
use bulkhead_core::event::Woken;
use bulkhead_core::{Action, CoreState, Event, Spmc, VcpuContext};

use crate::machine::{Machine, Shared};

/// The index of the boot core, which runs the first execution context of each partition.
pub const BOOT_CORE: usize = 0;

static OVER: AtomicBool = AtomicBool::new(false);

/// Whether boot is over: EL3 has been returned to, so that the normal world may have run.
pub fn is_over() -> bool {
    OVER.load(Ordering::Relaxed)
}

/// The firmware after boot.
pub struct Firmware {
    /// The FF-A state machine.
    pub spmc: Spmc<Machine>,
    /// The machine.
    pub shared: &'static Shared,
    /// What EL3 allows, for cores that come on.
    pub allowed: Allowed,
    /// For each core, room for the normal world's vectors.
    pub vectors: &'static [VectorStore],
}

/// Room for the normal world's SVE state on one core.
pub struct VectorStore(UnsafeCell<&'static mut [u8]>);

// SAFETY: each core takes the store of its own index alone (`Firmware::run`).
unsafe impl Sync for VectorStore {}

impl VectorStore {
    /// A store of these bytes.
    pub const fn new(bytes: &'static mut [u8]) -> Self {
        Self(UnsafeCell::new(bytes))
    }
}

impl Firmware {
    /// Sets up the calling core, which has `index`, and runs it. Called once each time that the core
    /// comes on.
    pub fn run(&'static self, index: usize) -> ! {
        let features = Features::detect(self.allowed);
        if let Some(name) = self.shared.features.lacking(&features) {
            log::error!("core {index} lacks {name}, which the boot core has: it stays out");
            refuse::refuse();
        }
        let Some(redistributor) = self.shared.interrupts.set_up_core(index) else {
            let affinity = percore::affinity();
            log::error!("core {index} ({affinity:#x}) has no redistributor: it stays out");
            refuse::refuse();
        };
        // SAFETY: the store is this core's own, and whatever used it before ended when the core was
        // off: this function does not return.
        let vectors = unsafe { &mut *self.vectors[index].0.get() };
        let mut machine = Machine::new(self.shared, index, redistributor, vectors);
        if !redistributor.scheduler_is_non_secure() {
            log::warn!("core {index}: the schedule receiver interrupt cannot be made non-secure");
        }
        let mut core = CoreState::new(index);
        let mut event = Event::CoreOn;
        loop {
            event = match self.spmc.handle(&mut core, event, &mut machine) {
                Action::Enter => enter(&mut core, &mut machine.cpu),
                Action::Smc => leave(&mut core.normal_world, &mut machine.cpu),
                Action::Wait => wait(),
            };
        }
    }
}

/// Runs the core's current context until the next event.
#[inline]
fn enter(core: &mut CoreState<Machine>, cpu: &mut Cpu) -> Event {
    let Some(context) = core.enter(|lines| cpu.signal(lines)) else {
        unreachable!("the core asks to enter a context and has none");
    };
    loop {
        let exit = cpu.enter(context);
        match syndrome::decode(exit, context, &LoadedContext) {
            Outcome::Event(event) => return event,
            Outcome::Undefined => {
                if let Some(event) = cpu.undefined(context) {
                    return event;
                }
            }
            Outcome::SetWay(register) => {
                switch::clean_invalidate_set_way(Cpu::operand(context, register));
                context.skip_instruction();
            }
            Outcome::Halfword => context.skip_halfword(),
            Outcome::Resume => {}
        }
    }
}

/// Sleeps until another core signals or an interrupt is pending.
fn wait() -> Event {
    Event::Woken(match wait::wait() {
        Pending::None => Woken::Event,
        Pending::Irq => Woken::SecureInterrupt,
        Pending::Fiq => Woken::NonSecureInterrupt,
    })
}

/// Lets the SPMD have the core with the answer in `registers`, until it returns.
#[inline]
fn leave(registers: &mut Registers, cpu: &mut Cpu) -> Event {
    cpu.return_to_normal_world();
    OVER.store(true, Ordering::Relaxed);
    conduit::smc(registers);
    Event::Spmd
}
