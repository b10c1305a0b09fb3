// SPDX-License-Identifier: MIT OR Apache-2.0
//! Execution contexts at rest and in use.
//!
//! The saved state of an execution context is a `&'static mut`: whoever holds it owns the context.
//! At rest it lies inside of the [`VcpuState`]; a core that wants to run the context takes it out
//! and leaves [`VcpuState::Running`] behind, which is the claim. No lock is held while a partition
//! runs, and a context that two cores run, or that is resumed from a half-saved state, cannot be
//! written.

use crate::hardware::Hardware;
use crate::runtime_model::RuntimeModel;
use crate::sync::Mutex;
use crate::virtual_interrupt::VirtualInterrupts;

/// The owned saved state of an execution context.
pub type Context<H> = &'static mut <H as Hardware>::Context;

/// Names an execution context: positions in the tables that do not change after boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VcpuRef {
    partition: u16,
    vcpu: u16,
}

impl VcpuRef {
    /// Context `vcpu` of the partition at `partition`; `None` where 16 bits, which is all that FF-A
    /// has for either, do not suffice.
    pub(crate) fn new(partition: usize, vcpu: usize) -> Option<Self> {
        Some(Self {
            partition: u16::try_from(partition).ok()?,
            vcpu: u16::try_from(vcpu).ok()?,
        })
    }

    /// Index into the partitions.
    pub fn partition(self) -> usize {
        usize::from(self.partition)
    }

    /// Index into the partition's execution contexts.
    pub fn vcpu(self) -> usize {
        usize::from(self.vcpu)
    }

    /// The context's index as FF-A's registers carry it.
    pub(crate) fn vcpu_id(self) -> u16 {
        self.vcpu
    }
}

/// Who gets the core when an execution context is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Initiator {
    /// Bulkhead, which brings partitions up.
    Boot,
    /// The normal world.
    NormalWorld,
    /// Another execution context, which is blocked on this one.
    Vcpu(VcpuRef),
}

/// Why and for whom an execution context runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Activation {
    /// What it may do.
    pub model: RuntimeModel,
    /// Who gets the core next.
    pub initiator: Initiator,
    /// How non-secure interrupts are treated, as the strictest link of the call chain wants
    /// (C-06).
    pub non_secure: NonSecureInterrupts,
}

/// What a non-secure interrupt does to a running partition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum NonSecureInterrupts {
    /// It preempts the partition, and the normal world gets FFA_INTERRUPT.
    Signaled,
    /// It waits until the partition, which is told by the managed exit interrupt, has given the core back
    /// (C-05).
    ManagedExit,
    /// It waits until the partition is done or its time is over (DECISIONS 24).
    Queued,
}

/// Whichever core takes a preempted chain over.
pub const ANY_CORE: usize = usize::MAX;

/// The state of an execution context.
pub enum VcpuState<H: Hardware + 'static> {
    /// Not started since the core came on, or never.
    Off(Context<H>),
    /// Has nothing to do.
    Waiting(Context<H>),
    /// In use by a core, which owns the context.
    Running {
        /// The core's index.
        core: usize,
    },
    /// Made a request and has no answer yet.
    Blocked {
        /// Its saved state.
        context: Context<H>,
        /// How it came to run.
        activation: Activation,
        /// Whom it waits for.
        on: VcpuRef,
    },
    /// Lost the core to a non-secure interrupt or to the end of its time, or gave it away by FFA_YIELD.
    Preempted {
        /// Its saved state.
        context: Context<H>,
        /// How it came to run.
        activation: Activation,
        /// The core that it must continue on, since the rest of its call chain is there;
        /// [`ANY_CORE`] when that core went off and nothing of the chain is pinned to it. (An `Option`
        /// here costs each move of the state 20 instructions more.)
        core: usize,
    },
    /// Ended by a fault; its saved state is not entered again.
    Aborted(Context<H>),
}

/// The state's name, without what belongs to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are those of `VcpuState`")]
pub enum StateName {
    Off,
    Waiting,
    Running,
    Blocked,
    Preempted,
    Aborted,
}

impl<H: Hardware> VcpuState<H> {
    /// The state's name.
    pub fn name(&self) -> StateName {
        match self {
            Self::Off(_) => StateName::Off,
            Self::Waiting(_) => StateName::Waiting,
            Self::Running { .. } => StateName::Running,
            Self::Blocked { .. } => StateName::Blocked,
            Self::Preempted { .. } => StateName::Preempted,
            Self::Aborted(_) => StateName::Aborted,
        }
    }
}

/// An execution context of a partition.
pub struct Vcpu<H: Hardware + 'static> {
    state: Mutex<VcpuState<H>>,
    pub(crate) interrupts: VirtualInterrupts,
}

impl<H: Hardware> Vcpu<H> {
    /// A context that has not started.
    pub fn new(context: Context<H>) -> Self {
        Self {
            state: Mutex::new(VcpuState::Off(context)),
            interrupts: VirtualInterrupts::default(),
        }
    }

    /// The name of its state at this moment.
    pub fn state(&self) -> StateName {
        self.state.lock().name()
    }

    /// Looks at the state, with its lock held.
    pub fn inspect<R>(&self, look: impl FnOnce(&VcpuState<H>) -> R) -> R {
        look(&self.state.lock())
    }

    /// Changes the state in place.
    pub(crate) fn update(&self, change: impl FnOnce(&mut VcpuState<H>)) {
        change(&mut self.state.lock());
    }

    /// Claims the context for `core`: `take` says by the state whether it may, and why not. The
    /// state taken out is handed to the caller, who owns the context from then on.
    ///
    /// # Errors
    /// What `take` returns; the state is unchanged then.
    pub(crate) fn claim<E>(
        &self,
        core: usize,
        take: impl FnOnce(&VcpuState<H>) -> Result<(), E>,
    ) -> Result<VcpuState<H>, E> {
        let mut state = self.state.lock();
        take(&state)?;
        Ok(core::mem::replace(&mut *state, VcpuState::Running { core }))
    }

    /// Puts the context to rest. Only the core that claimed it has one to put back.
    pub(crate) fn rest(&self, state: VcpuState<H>) {
        *self.state.lock() = state;
    }
}
