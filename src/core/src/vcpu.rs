// SPDX-License-Identifier: MIT OR Apache-2.0
//! Execution contexts at rest and in use.
//!
//! The saved state of an execution context is a `&'static mut`: whoever holds it owns the context.
//! At rest it lies inside of the [`VcpuState`]; a core that wants to run the context takes it out
//! and leaves [`VcpuState::Running`] behind, which is the claim. No lock is held while a partition
//! runs, and a context that two cores run, or that is resumed from a half-saved state, cannot be
//! written.

use core::fmt;

use bulkhead_abi::EndpointId;
use bulkhead_abi::framework::Message;

use crate::device::gic::VirtualGic;
use crate::hardware::Hardware;
use crate::interrupt::Spent;
use crate::runtime_model::{DirectForm, RuntimeModel};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::timer::Timers;
use crate::virtual_interrupt::{VirtualInterrupt, VirtualInterrupts};

/// The owned saved state of an execution context.
pub type Context<H> = &'static mut <H as Hardware>::Context;

/// Names an execution context: positions in the tables that do not change after boot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VcpuRef(u32);

impl VcpuRef {
    /// Context `vcpu` of the partition at `partition`; `None` where 16 bits, which is all that FF-A
    /// has for either, do not suffice.
    #[inline]
    pub fn new(partition: usize, vcpu: usize) -> Option<Self> {
        let partition = u16::try_from(partition).ok()?;
        let vcpu = u16::try_from(vcpu).ok()?;
        Some(Self(u32::from(partition) << 16 | u32::from(vcpu)))
    }

    fn halves(self) -> (u16, u16) {
        let [v0, v1, p0, p1] = self.0.to_le_bytes();
        (u16::from_le_bytes([p0, p1]), u16::from_le_bytes([v0, v1]))
    }

    /// Index into the partitions.
    #[inline]
    pub fn partition(self) -> usize {
        usize::from(self.halves().0)
    }

    /// Index into the partition's execution contexts.
    #[inline]
    pub fn vcpu(self) -> usize {
        usize::from(self.vcpu_id())
    }

    /// The context's index as FF-A's registers carry it.
    #[inline]
    pub(crate) fn vcpu_id(self) -> u16 {
        self.halves().1
    }
}

impl fmt::Debug for VcpuRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vCPU {} of partition {}", self.vcpu(), self.partition())
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
    /// Bulkhead, for an interrupt: the context that was interrupted goes on, or else the normal world, whose
    /// registers are ready.
    Interrupted(Option<VcpuRef>),
}

/// Why and for whom an execution context runs: what it may do ([`RuntimeModel`]), who gets the core next
/// ([`Initiator`]), and how non-secure interrupts are treated, as the strictest link of the call chain wants
/// (C-06). One word, since every message moves it three times:
///
/// | bits | what |
/// |---|---|
/// | 1:0 | the runtime model |
/// | 2 | the form of the request |
/// | 4:3 | the kind of initiator |
/// | 6:5 | non-secure interrupts |
/// | 7 | whether it was entered for an interrupt while it awaited an answer, and has to await it again |
/// | 15:8 | the number of the framework request, 255 for none |
/// | 31:16 | who awaits the response |
/// | 63:32 | the execution context that is the initiator |
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Activation(u64);

impl Activation {
    const FORM_TWO: u8 = 1 << 2;
    const CALLEE: u8 = 1 << 7;
    const NO_FRAMEWORK: u8 = u8::MAX;
    /// For the normal world, in place of an execution context.
    const NOBODY: u32 = u32::MAX;

    /// The word.
    #[inline(always)]
    pub(crate) fn new(
        model: RuntimeModel,
        initiator: Initiator,
        non_secure: NonSecureInterrupts,
    ) -> Self {
        let (model, framework, origin) = match model {
            RuntimeModel::Init => (0, Self::NO_FRAMEWORK, 0),
            RuntimeModel::Run => (1, Self::NO_FRAMEWORK, 0),
            RuntimeModel::SecureInterrupt => (2, Self::NO_FRAMEWORK, 0),
            RuntimeModel::DirectRequest {
                origin,
                form,
                framework,
            } => {
                let form = match form {
                    DirectForm::One => 0,
                    DirectForm::Two => Self::FORM_TWO,
                };
                let framework = framework.map_or(Self::NO_FRAMEWORK, Message::number);
                (3 | form, framework, origin.0)
            }
        };
        let (kind, vcpu) = match initiator {
            Initiator::Boot => (0, 0),
            Initiator::NormalWorld => (1 << 3, 0),
            Initiator::Vcpu(vcpu) => (2 << 3, vcpu.0),
            Initiator::Interrupted(vcpu) => (3 << 3, vcpu.map_or(Self::NOBODY, |vcpu| vcpu.0)),
        };
        let non_secure = match non_secure {
            NonSecureInterrupts::Signaled => 0,
            NonSecureInterrupts::ManagedExit => 1 << 5,
            NonSecureInterrupts::Queued => 2 << 5,
        };
        Self(
            u64::from(model | kind | non_secure)
                | u64::from(framework) << 8
                | u64::from(origin) << 16
                | u64::from(vcpu) << 32,
        )
    }

    #[inline]
    fn low(self) -> u8 {
        let [low, ..] = self.0.to_le_bytes();
        low
    }

    /// What it may do.
    #[inline]
    pub fn model(self) -> RuntimeModel {
        let [low, framework, o0, o1, ..] = self.0.to_le_bytes();
        match low & 3 {
            0 => RuntimeModel::Init,
            1 => RuntimeModel::Run,
            2 => RuntimeModel::SecureInterrupt,
            _ => RuntimeModel::DirectRequest {
                origin: EndpointId(u16::from_le_bytes([o0, o1])),
                form: if low & Self::FORM_TWO == 0 {
                    DirectForm::One
                } else {
                    DirectForm::Two
                },
                framework: match framework {
                    Self::NO_FRAMEWORK => None,
                    number => Message::by_number(number),
                },
            },
        }
    }

    /// Who gets the core next.
    #[inline]
    pub fn initiator(self) -> Initiator {
        let [.., v0, v1, v2, v3] = self.0.to_le_bytes();
        let vcpu = u32::from_le_bytes([v0, v1, v2, v3]);
        match self.low() >> 3 & 3 {
            0 => Initiator::Boot,
            1 => Initiator::NormalWorld,
            2 => Initiator::Vcpu(VcpuRef(vcpu)),
            _ => Initiator::Interrupted((vcpu != Self::NOBODY).then_some(VcpuRef(vcpu))),
        }
    }

    /// Whether it has to await an answer again, which it awaited when it was entered for an interrupt.
    #[inline]
    pub fn has_callee(self) -> bool {
        self.low() & Self::CALLEE != 0
    }

    /// The same with [`has_callee`](Self::has_callee).
    pub(crate) fn with_callee(self, callee: bool) -> Self {
        let bit = u64::from(Self::CALLEE);
        Self(if callee { self.0 | bit } else { self.0 & !bit })
    }

    /// The same, for the normal world.
    pub(crate) fn for_normal_world(self) -> Self {
        let callee = self.has_callee();
        Self::new(self.model(), Initiator::NormalWorld, self.non_secure()).with_callee(callee)
    }

    /// How non-secure interrupts are treated.
    #[inline]
    pub fn non_secure(self) -> NonSecureInterrupts {
        match self.low() >> 5 & 3 {
            0 => NonSecureInterrupts::Signaled,
            1 => NonSecureInterrupts::ManagedExit,
            _ => NonSecureInterrupts::Queued,
        }
    }
}

impl fmt::Debug for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Activation")
            .field("model", &self.model())
            .field("initiator", &self.initiator())
            .field("non_secure", &self.non_secure())
            .finish()
    }
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
/// No core by FFA_RUN of the normal world: the core that preempted the context for an interrupt of another
/// goes on with it ([`crate::interrupt`]).
pub const SUSPENDED: usize = usize::MAX - 1;

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
    /// Its virtual interrupts.
    pub interrupts: VirtualInterrupts,
    pub(crate) timers: Timers,
    pub(crate) spent: Spent,
    /// The context that it has to await again ([`Activation::has_callee`]).
    callee: AtomicU32,
}

impl<H: Hardware> Vcpu<H> {
    /// A context that has not started. `interrupts` are those of its partition's devices.
    pub fn new(context: Context<H>, interrupts: &'static mut [VirtualInterrupt]) -> Self {
        Self {
            state: Mutex::new(VcpuState::Off(context)),
            interrupts: VirtualInterrupts::new(interrupts),
            timers: Timers::new(),
            spent: Spent::new(),
            callee: AtomicU32::new(0),
        }
    }

    /// A context that has not started, of a partition with an interrupt controller, where it is vCPU `index`.
    pub fn with_gic(context: Context<H>, gic: &'static VirtualGic, index: usize) -> Self {
        Self {
            interrupts: VirtualInterrupts::of_gic(gic, index),
            ..Self::new(context, &mut [])
        }
    }

    /// It was entered for an interrupt while it awaited `callee`.
    pub(crate) fn suspend_callee(&self, callee: VcpuRef) {
        self.callee.store(callee.0, Ordering::Relaxed);
    }

    /// Whom it awaited when it was last so entered.
    pub fn callee(&self) -> VcpuRef {
        VcpuRef(self.callee.load(Ordering::Relaxed))
    }

    /// Looks at the context, with the state's lock held; `None` while a core has it.
    pub(crate) fn with_context<R>(&self, act: impl FnOnce(&mut H::Context) -> R) -> Option<R> {
        match &mut *self.state.lock() {
            VcpuState::Running { .. } => None,
            VcpuState::Off(context)
            | VcpuState::Waiting(context)
            | VcpuState::Blocked { context, .. }
            | VcpuState::Preempted { context, .. }
            | VcpuState::Aborted(context) => Some(act(&mut **context)),
        }
    }

    /// Changes how a context that awaits an answer came to run.
    pub(crate) fn with_activation<R>(
        &self,
        change: impl FnOnce(&mut Activation) -> R,
    ) -> Option<R> {
        match &mut *self.state.lock() {
            VcpuState::Blocked { activation, .. } => Some(change(activation)),
            _ => None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_activation_keeps_what_it_is_made_of() {
        let requests = [DirectForm::One, DirectForm::Two]
            .into_iter()
            .flat_map(|form| {
                let framework = Message::ALL.map(Some).into_iter().chain([None]);
                framework.map(move |framework| RuntimeModel::DirectRequest {
                    origin: EndpointId(0xfedc),
                    form,
                    framework,
                })
            });
        let models: Vec<_> = [
            RuntimeModel::Init,
            RuntimeModel::Run,
            RuntimeModel::SecureInterrupt,
        ]
        .into_iter()
        .chain(requests)
        .collect();
        let vcpu = VcpuRef::new(0xffff, 0x1234).unwrap();
        assert_eq!((vcpu.partition(), vcpu.vcpu()), (0xffff, 0x1234));
        for model in models {
            for initiator in [
                Initiator::Boot,
                Initiator::NormalWorld,
                Initiator::Vcpu(vcpu),
                Initiator::Interrupted(None),
                Initiator::Interrupted(Some(vcpu)),
            ] {
                for non_secure in [
                    NonSecureInterrupts::Signaled,
                    NonSecureInterrupts::ManagedExit,
                    NonSecureInterrupts::Queued,
                ] {
                    let word = Activation::new(model, initiator, non_secure);
                    let read = (word.model(), word.initiator(), word.non_secure());
                    assert_eq!(read, (model, initiator, non_secure));
                    assert!(!word.has_callee());
                    let word = word.with_callee(true);
                    let read = (word.model(), word.initiator(), word.non_secure());
                    assert_eq!(read, (model, initiator, non_secure));
                    assert!(word.has_callee());
                }
            }
        }
    }
}
