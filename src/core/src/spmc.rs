// SPDX-License-Identifier: MIT OR Apache-2.0
//! The SPMC: what all cores share, what each core has, and where events come in.

use bulkhead_abi::registers::Extended;
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Version, Width};
use bulkhead_mm::addr::PageRange;

use crate::dispatch::Seldom;
use crate::event::{Action, Event};
use crate::fault::Retry;
use crate::hardware::{Hardware, VcpuContext};
use crate::interrupt::Interrupts;
use crate::interrupt::managed_exit::ManagedExit;
use crate::interrupt::owner::{Owned, Owners};
use crate::normal_world::{NormalWorld, Vm};
use crate::notify::{Scheduler, VmNotifications};
use crate::partition::Partition;
use crate::region::Reserved;
use crate::share::{PageOwners, ShareSlot, Shares};
use crate::spmd_lp::LogicalPartitions;
use crate::sync::atomic::{AtomicBool, AtomicU64};
use crate::timer::NEVER;
use crate::vcpu::{Activation, Context, Initiator, NonSecureInterrupts, Vcpu, VcpuRef, VcpuState};
use crate::virtual_interrupt::Lines;

/// What the SPMC is made of at boot.
pub struct SpmcConfig<H: Hardware + 'static> {
    /// The SPMC's own endpoint id.
    pub id: EndpointId,
    /// All partitions, in boot order.
    pub partitions: &'static [Partition<H>],
    /// Where buffers of the normal world may lie: the `ns-memory` of the manifest.
    pub normal_world_memory: &'static [PageRange],
    /// Memory that no partition has, and whose it is.
    pub reserved: &'static [Reserved],
    /// Places for the mailboxes of VMs that a hypervisor speaks for.
    pub vms: &'static [Vm],
    /// Places for the notifications of VMs and of the normal world's primary endpoint.
    pub vm_notifications: &'static [VmNotifications],
    /// The secure interrupts of partitions: [`owned`](crate::interrupt::owner::owned).
    pub interrupts: &'static mut [Owned],
    /// Whose each page is.
    pub owners: PageOwners,
    /// Places for memory transactions: as many as there are pages for their records are enough.
    pub shares: &'static [ShareSlot],
    /// How long an execution context may take to initialise, in milliseconds (DECISIONS 24).
    pub init_timeout_ms: u32,
    /// How long a partition may keep non-secure interrupts waiting, in milliseconds.
    pub run_timeout_ms: u32,
}

/// The state that all cores share.
pub struct Spmc<H: Hardware + 'static> {
    /// The SPMC's own endpoint id.
    pub id: EndpointId,
    pub(crate) partitions: &'static [Partition<H>],
    pub(crate) normal_world: NormalWorld,
    pub(crate) reserved: &'static [Reserved],
    pub(crate) scheduler: Scheduler,
    pub(crate) logical: LogicalPartitions,
    pub(crate) interrupts: Interrupts,
    /// Whose each page is.
    pub owners: PageOwners,
    pub(crate) shares: Shares,
    pub(crate) init_timeout_ms: u32,
    pub(crate) run_timeout_ms: u32,
    /// [`serve_seldom`](Self::serve_seldom).
    pub(crate) seldom: SeldomCalls<H>,
}

pub(crate) type SeldomCalls<H> = fn(
    &Spmc<H>,
    &mut CoreState<H>,
    Function,
    Seldom,
    Width,
    Version,
    &mut H,
) -> Result<Action, FfaError>;

/// The state of one core.
pub struct CoreState<H: Hardware + 'static> {
    /// The core's linear index, which is also the index of its context in multi-core partitions.
    pub index: usize,
    /// The registers of the normal world's call on this core, and of the answer to it.
    pub normal_world: Registers,
    pub(crate) current: Option<Current<H>>,
    /// Position in the boot order of the partition that initialises, while this core boots.
    pub(crate) booting: Option<usize>,
    pub(crate) non_secure: NonSecureInterrupts,
    pub(crate) retry: Option<Retry>,
    /// The managed exit that the running chain makes, or has made.
    pub(crate) exit: Option<ManagedExit>,
    /// Whether the schedule receiver interrupt is due when the core returns to the normal world.
    pub(crate) tells_scheduler: bool,
    /// The context that the normal world's request on this core waits for, while it does ([`crate::queue`]).
    pub(crate) waiting: Option<VcpuRef>,
    /// What is signalled to partitions on this core.
    lines: Lines,
    /// The counter value until which what runs may do so; [`NEVER`] without a bound.
    pub(crate) bound: u64,
    /// The first of the deadlines that this core keeps for contexts that ran on it, or an earlier one.
    pub(crate) next_deadline: u64,
    /// Whether a context may have an interrupt to handle that this core can enter it for.
    pub(crate) due: bool,
    /// Whether the running chain is one that Bulkhead schedules for an interrupt.
    pub(crate) interrupting: bool,
    /// How much time what that interrupted had left, in ticks; [`NEVER`] without a bound.
    pub(crate) time_left: u64,
}

/// The execution context that a core runs. The core owns its saved state.
pub struct Current<H: Hardware + 'static> {
    pub(crate) partition: &'static Partition<H>,
    pub(crate) slot: &'static Vcpu<H>,
    pub(crate) vcpu: VcpuRef,
    pub(crate) context: Context<H>,
    pub(crate) activation: Activation,
}

impl<H: Hardware> CoreState<H> {
    /// A core that has not run anything.
    pub const fn new(index: usize) -> Self {
        Self {
            index,
            normal_world: Registers::ZERO,
            current: None,
            booting: None,
            non_secure: NonSecureInterrupts::Signaled,
            retry: None,
            exit: None,
            tells_scheduler: false,
            waiting: None,
            lines: Lines::NONE,
            bound: NEVER,
            next_deadline: NEVER,
            due: false,
            interrupting: false,
            time_left: NEVER,
        }
    }

    /// The context that the core runs.
    pub fn context(&mut self) -> Option<&mut H::Context> {
        self.current.as_mut().map(|current| &mut *current.context)
    }

    /// Which execution context the core runs.
    pub fn running(&self) -> Option<VcpuRef> {
        self.current.as_ref().map(|current| current.vcpu)
    }

    /// Why that runs, and for whom.
    pub fn activation(&self) -> Option<Activation> {
        self.current.as_ref().map(|current| current.activation)
    }

    /// Whether Bulkhead schedules the running chain, for an interrupt or to bring partitions up.
    pub(crate) fn schedules(&self) -> bool {
        self.interrupting || self.booting.is_some()
    }

    /// The registers of whoever made the call that is handled: the running partition, or the
    /// normal world when none runs.
    pub(crate) fn caller(&mut self) -> &mut Registers {
        match &mut self.current {
            Some(current) => current.context.registers_mut(),
            None => &mut self.normal_world,
        }
    }

    /// The context to enter after [`Action::Enter`]. First `signal` is told what to signal to it from now
    /// on, if that changes.
    #[inline]
    pub fn enter(&mut self, signal: impl FnOnce(Lines)) -> Option<&mut H::Context> {
        let current = self.current.as_mut()?;
        let interrupts = &current.slot.interrupts;
        if interrupts.differ(self.lines) {
            self.lines = interrupts.lines();
            signal(self.lines);
            if self.lines.contains(Lines::SERROR) {
                interrupts.set_serror(false);
                self.lines = interrupts.lines();
            }
        }
        Some(&mut *current.context)
    }

    /// Back to whoever made the call.
    pub(crate) fn resume(&self) -> Action {
        if self.current.is_some() {
            Action::Enter
        } else {
            Action::Smc
        }
    }
}

impl<H: Hardware> Spmc<H> {
    /// The SPMC at boot: nothing has run yet.
    pub fn new(config: SpmcConfig<H>) -> Self {
        config
            .owners
            .give_all(config.partitions, config.normal_world_memory);
        Self {
            id: config.id,
            partitions: config.partitions,
            normal_world: NormalWorld::new(
                config.normal_world_memory,
                config.vms,
                config.vm_notifications,
            ),
            reserved: config.reserved,
            scheduler: Scheduler::default(),
            logical: LogicalPartitions::default(),
            interrupts: Interrupts {
                owners: Owners::new(config.interrupts),
                unowned: AtomicU64::new(0),
                orphans: AtomicBool::new(false),
            },
            owners: config.owners,
            shares: Shares::new(config.shares),
            init_timeout_ms: config.init_timeout_ms,
            run_timeout_ms: config.run_timeout_ms,
            seldom: Self::serve_seldom,
        }
    }

    /// All partitions, in boot order.
    pub fn partitions(&self) -> &'static [Partition<H>] {
        self.partitions
    }

    /// Handles what reached S-EL2 on `core`.
    pub fn handle(&self, core: &mut CoreState<H>, event: Event, hw: &mut H) -> Action {
        match event {
            Event::Spmd => self.spmd(core, hw),
            Event::Call(conduit) => self.partition_call(core, conduit, hw),
            Event::CoreOn => self.core_on(core, hw),
            Event::Fault(fault) => self.fault(core, fault, hw),
            Event::SystemRegister(access) => self.system_register(core, access, hw),
            Event::Idle { until } => self.idle(core, until, hw),
            Event::VirtualTimer => self.virtual_timer(core, hw),
            Event::SecureInterrupt => self.secure_interrupt(core, hw),
            Event::NonSecureInterrupt => self.non_secure_interrupt(core, hw),
            Event::Woken(why) => self.woken(core, why, hw),
        }
    }

    /// The partition with `id` and its index.
    pub(crate) fn find(&self, id: EndpointId) -> Option<(usize, &'static Partition<H>)> {
        self.partitions
            .iter()
            .enumerate()
            .find(|(_, partition)| partition.config.id == id)
    }

    /// The partition of an execution context.
    ///
    /// A [`VcpuRef`] is made from indices that were found, so there is always one; `None` only
    /// spares a panic.
    pub(crate) fn partition(&self, vcpu: VcpuRef) -> Option<&'static Partition<H>> {
        self.partitions.get(vcpu.partition())
    }

    /// The partition that runs on `core`.
    pub(crate) fn running_partition(&self, core: &CoreState<H>) -> Option<&'static Partition<H>> {
        Some(core.current.as_ref()?.partition)
    }

    /// The id of the caller on `core`: the running partition or the normal world's primary
    /// endpoint.
    pub(crate) fn caller_id(&self, core: &CoreState<H>) -> EndpointId {
        self.running_partition(core)
            .map_or(EndpointId::NORMAL_WORLD, |partition| partition.config.id)
    }

    /// The version of the caller on `core`.
    pub(crate) fn caller_version(&self, core: &CoreState<H>) -> Version {
        match self.running_partition(core) {
            Some(partition) => partition.version(),
            None => self.normal_world.version.get(),
        }
    }

    /// Answers the call on `core` with an error.
    pub(crate) fn refuse(&self, core: &mut CoreState<H>, error: FfaError) -> Action {
        let extended = self.extended_rule(core);
        core.caller().ffa_error(extended, error);
        core.resume()
    }

    /// Answers the call on `core` with FFA_SUCCESS (32-bit) and w2 to w7.
    pub(crate) fn succeed(&self, core: &mut CoreState<H>, results: [u64; 6]) -> Action {
        let extended = self.extended_rule(core);
        core.caller().ffa_success(extended, Width::W32, results);
        core.resume()
    }

    /// What becomes of x8 to x17 when the call on `core` is answered. The caller's x0 still holds
    /// the call.
    pub(crate) fn extended_rule(&self, core: &mut CoreState<H>) -> Extended {
        let version = self.caller_version(core);
        extended_rule(version, core.caller())
    }

    /// Makes a claimed context the one that `core` runs; whatever ran before has been put to rest.
    #[inline(always)]
    pub(crate) fn run(&self, core: &mut CoreState<H>, current: Current<H>, hw: &mut H) -> Action {
        let wanted = current.activation.non_secure();
        if core.non_secure != wanted {
            let timeout = self.run_timeout_of(current.partition);
            self.treat_non_secure_interrupts(core, wanted, timeout, hw);
        } else if wanted == NonSecureInterrupts::Queued {
            // So they are in a chain that is told to leave.
            core.told_has_left();
        }
        if current.slot.timers.next() != NEVER {
            self.adopt_deadlines(core, current.slot, hw);
        }
        core.current = Some(current);
        Action::Enter
    }

    /// Leaves the secure world with the answer in [`CoreState::normal_world`].
    pub(crate) fn leave(&self, core: &mut CoreState<H>, hw: &mut H) -> Action {
        if core.non_secure != NonSecureInterrupts::Signaled {
            core.told_has_left();
        }
        if let Some(action) = self.serve_due(core, hw) {
            return action;
        }
        if core.non_secure != NonSecureInterrupts::Signaled {
            self.treat_non_secure_interrupts(core, NonSecureInterrupts::Signaled, 0, hw);
        }
        self.tell_what_was_delayed(core, hw);
        match core.waiting {
            None => Action::Smc,
            // It waited when an interrupt came.
            Some(_) => Action::Wait,
        }
    }

    /// Puts the running context to rest as blocked on `on`, and says who `on`'s initiator is: it,
    /// or the normal world when no partition runs.
    pub(crate) fn block(&self, core: &mut CoreState<H>, on: VcpuRef, hw: &mut H) -> Initiator {
        let Some(Current {
            slot,
            vcpu,
            context,
            activation,
            ..
        }) = core.current.take()
        else {
            return Initiator::NormalWorld;
        };
        hw.park(context);
        self.keep_deadlines(core, slot, context, hw);
        slot.rest(VcpuState::Blocked {
            context,
            activation,
            on,
        });
        Initiator::Vcpu(vcpu)
    }

    /// The treatment of non-secure interrupts that the caller's chain has already asked for.
    pub(crate) fn inherited(&self, core: &CoreState<H>) -> NonSecureInterrupts {
        core.current
            .as_ref()
            .map_or(NonSecureInterrupts::Signaled, |current| {
                current.activation.non_secure()
            })
    }

    /// Non-secure interrupts are treated otherwise from now on; `timeout_ms` bounds how long they wait.
    #[inline]
    fn treat_non_secure_interrupts(
        &self,
        core: &mut CoreState<H>,
        wanted: NonSecureInterrupts,
        timeout_ms: u32,
        hw: &mut H,
    ) {
        let before = core::mem::replace(&mut core.non_secure, wanted);
        if wanted == NonSecureInterrupts::Queued {
            self.keep_waiting(core, timeout_ms, hw);
            return;
        }
        if before == NonSecureInterrupts::Queued {
            hw.mask_non_secure_interrupts(false);
            core.set_bound(None, hw);
        }
        core.end_exit(wanted);
    }
}

/// What becomes of x8 to x17 when `call`, which is still in the registers, is answered.
pub(crate) fn extended_rule(version: Version, call: &Registers) -> Extended {
    /// SMCCC: bit 30 of a function id tells 64-bit calls.
    const CALL_64: u32 = 1 << 30;
    let width = if call.w::<0>() & CALL_64 == 0 {
        Width::W32
    } else {
        Width::W64
    };
    Extended::for_call(version, width)
}

/// The counter value in `milliseconds` from now.
pub(crate) fn deadline<H: Hardware>(hw: &H, milliseconds: u32) -> u64 {
    let ticks = hw
        .ticks_per_second()
        .saturating_mul(u64::from(milliseconds))
        / 1000;
    hw.now().saturating_add(ticks)
}
