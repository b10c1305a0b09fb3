// SPDX-License-Identifier: MIT OR Apache-2.0
//! What reaches S-EL2 and what a core does next.

use bulkhead_mm::attrs::Space;

use crate::hardware::SystemRegister;

/// What reached S-EL2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The core has started: the boot core after set-up, any other after CPU_ON.
    CoreOn,
    /// The SPMD returned: a call of the normal world, a framework message or FFA_INTERRUPT, in
    /// [`CoreState::normal_world`](crate::CoreState::normal_world).
    Spmd,
    /// The running partition made a call; its registers hold it.
    Call(Conduit),
    /// The running partition touched memory or executed what it may not.
    Fault(Fault),
    /// An MRS or MSR of the running partition trapped.
    SystemRegister(SystemRegisterAccess),
    /// The running partition has nothing to do (WFI, WFIT); the instruction is stepped over.
    Idle {
        /// Its own virtual counter's value at which it wants to go on, whatever else comes (WFIT).
        until: Option<u64>,
    },
    /// The EL1 virtual timer of the running partition fired, through an interrupt of the normal world
    /// (DECISIONS 26). It is masked in CNTV_CTL_EL0.
    VirtualTimer,
    /// A secure interrupt is pending (IRQ at S-EL2).
    SecureInterrupt,
    /// A non-secure interrupt, or one of Group 0, is pending while a partition runs (FIQ at S-EL2).
    NonSecureInterrupt,
    /// The core waited ([`Action::Wait`]) and does so no more.
    Woken(Woken),
}

/// What ended the sleep of a core that waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Woken {
    /// Another core's event, or nothing.
    Event,
    /// A secure interrupt is pending (IRQ at S-EL2).
    SecureInterrupt,
    /// A non-secure interrupt, or one of Group 0, is pending (FIQ at S-EL2).
    NonSecureInterrupt,
}

/// What the core does after an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Action {
    /// Enter [`CoreState::context`](crate::CoreState::context).
    Enter,
    /// Make an SMC to the SPMD with [`CoreState::normal_world`](crate::CoreState::normal_world):
    /// the normal world runs, and the next event is [`Event::Spmd`].
    Smc,
    /// Sleep until another core calls [`signal_event`](crate::Hardware::signal_event) or an interrupt is
    /// pending; the next event is [`Event::Woken`]. One that is signalled before the core sleeps counts.
    Wait,
}

/// The instruction of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conduit {
    /// SMC #0.
    Smc,
    /// HVC #0.
    Hvc,
    /// SVC #0, of a partition at S-EL0.
    Svc,
}

/// A trapped system register access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SystemRegisterAccess {
    /// Which register.
    pub register: SystemRegister,
    /// The general-purpose register, 31 for XZR.
    pub rt: u8,
    /// MRS or MSR.
    pub direction: Direction,
}

/// The direction of a register or memory access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// MRS, load.
    Read,
    /// MSR, store.
    Write,
}

/// An access to memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// A load, or a walk of stage-1 tables.
    Read,
    /// A store.
    Write,
    /// An instruction fetch.
    Fetch,
}

impl From<Direction> for Access {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Read => Self::Read,
            Direction::Write => Self::Write,
        }
    }
}

/// Why a partition cannot go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// What happened.
    pub kind: FaultKind,
    /// ESR_EL2.
    pub syndrome: u64,
    /// FAR_EL2: the partition's virtual address, where the kind has one.
    pub address: u64,
}

/// What a partition did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// A stage-2 fault on data; at S-EL0, where virtual addresses stand for IPAs, one of stage 1.
    Data {
        /// The intermediate physical address.
        ipa: u64,
        /// The IPA space.
        space: Space,
        /// Load or store.
        direction: Direction,
    },
    /// As that, on an instruction fetch.
    Instruction {
        /// The intermediate physical address.
        ipa: u64,
        /// The IPA space.
        space: Space,
    },
    /// A synchronous external abort.
    External,
    /// An SError.
    SError,
    /// An illegal return or an exception class that no partition may cause.
    Exception,
}
