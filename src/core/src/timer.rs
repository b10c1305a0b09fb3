// SPDX-License-Identifier: MIT OR Apache-2.0
//! Time for partitions (C-19, C-20): the EL1 timers of an execution context, emulated, and when S-EL2 has to
//! come back for it.
//!
//! | timer | registers | virtual INTID | how |
//! |---|---|---|---|
//! | EL1 physical | CNTP_CTL, CNTP_CVAL, CNTP_TVAL | 3 | accesses trap, and are emulated |
//! | EL1 virtual | CNTV_CTL, CNTV_CVAL, CNTV_TVAL | 27 | as the physical one where accesses trap (FEAT_ECV); elsewhere the context has the core's timer while it is loaded, and its deadline is kept when it is not |
//!
//! An interrupt becomes pending once for each time that a timer is set, when the counter reaches its value;
//! setting the timer anew takes back what the partition has not fetched. A core has one timer of its own
//! ([`Hardware::set_deadline`](crate::Hardware::set_deadline)) for the bound of what runs and for the deadlines
//! of all contexts that ran there last.

use bulkhead_abi::paravirt;

use crate::event::{Action, Direction, SystemRegisterAccess};
use crate::hardware::{Hardware, SystemRegister, VcpuContext};
use crate::spmc::{CoreState, Spmc};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::vcpu::{StateName, Vcpu, VcpuRef};
use crate::virtual_interrupt::INTID_VIRTUAL_TIMER;

/// A deadline that does not come.
pub const NEVER: u64 = u64::MAX;
/// No core.
pub(crate) const NOWHERE: usize = usize::MAX;

/// CNTx_CTL: the timer is on.
const ENABLE: u64 = 1;
/// CNTx_CTL: its interrupt is masked.
const IMASK: u64 = 1 << 1;
/// CNTx_CTL, read only: the counter has reached the value.
const ISTATUS: u64 = 1 << 2;

/// One timer of an execution context.
#[derive(Clone, Copy, Debug)]
struct Timer {
    /// ENABLE and IMASK.
    control: u64,
    /// The value of the timer's own counter at which it fires.
    compare: u64,
    /// The physical counter's value at which the interrupt becomes pending.
    due: u64,
}

impl Timer {
    const OFF: Self = Self {
        control: 0,
        compare: 0,
        due: NEVER,
    };

    /// When it fires, by the physical counter, from which its own one lags by `offset`. What is beyond the
    /// counter's range does not come.
    fn set(&mut self, offset: u64) {
        let on = self.control & (ENABLE | IMASK) == ENABLE;
        let due = self.compare.checked_add(offset).filter(|_| on);
        self.due = due.unwrap_or(NEVER);
    }
}

/// The registers of a timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Register {
    TimerValue,
    Control,
    CompareValue,
}

/// Which timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Which {
    Physical,
    Virtual,
}

impl Which {
    fn intid(self) -> u32 {
        match self {
            Self::Physical => paravirt::INTID_TIMER,
            Self::Virtual => INTID_VIRTUAL_TIMER,
        }
    }
}

/// The timer register that `register` is: CNTP_* are S3_3_C14_C2_x, CNTV_* S3_3_C14_C3_x.
fn decode(register: SystemRegister) -> Option<(Which, Register)> {
    let SystemRegister {
        op0: 3,
        op1: 3,
        crn: 14,
        crm,
        op2,
    } = register
    else {
        return None;
    };
    let which = match crm {
        2 => Which::Physical,
        3 => Which::Virtual,
        _ => return None,
    };
    let register = match op2 {
        0 => Register::TimerValue,
        1 => Register::Control,
        2 => Register::CompareValue,
        _ => return None,
    };
    Some((which, register))
}

/// The timers of an execution context, and what else S-EL2 comes back for.
#[derive(Debug)]
pub(crate) struct Timers {
    /// The earliest of the deadlines, to look at without the lock.
    next: AtomicU64,
    all: Mutex<All>,
}

#[derive(Debug)]
struct All {
    physical: Timer,
    virtual_: Timer,
    /// When the context, which has used its share of time for interrupts, may handle others.
    budget: u64,
    /// The core that keeps the deadlines.
    home: usize,
}

impl All {
    fn next(&self) -> u64 {
        self.physical.due.min(self.virtual_.due).min(self.budget)
    }

    fn timer(&mut self, which: Which) -> &mut Timer {
        match which {
            Which::Physical => &mut self.physical,
            Which::Virtual => &mut self.virtual_,
        }
    }
}

/// What a deadline was for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Fired {
    physical: bool,
    virtual_: bool,
    budget: bool,
}

impl Timers {
    pub(crate) fn new() -> Self {
        Self {
            next: AtomicU64::new(NEVER),
            all: Mutex::new(All {
                physical: Timer::OFF,
                virtual_: Timer::OFF,
                budget: NEVER,
                home: NOWHERE,
            }),
        }
    }

    fn change<R>(&self, change: impl FnOnce(&mut All) -> R) -> R {
        let mut all = self.all.lock();
        let result = change(&mut all);
        self.next.store(all.next(), Ordering::Release);
        result
    }

    /// The earliest deadline.
    #[inline]
    pub(crate) fn next(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// Whether the context has to wait until it may handle interrupts again.
    fn waits_for_budget(&self) -> bool {
        self.all.lock().budget != NEVER
    }

    /// All off.
    pub(crate) fn reset(&self) {
        self.change(|all| {
            (all.physical, all.virtual_, all.budget) = (Timer::OFF, Timer::OFF, NEVER);
        });
    }

    /// The virtual timer that is kept for the context fires at `due`; [`NEVER`] for not at all.
    fn keep_virtual(&self, due: u64) {
        self.change(|all| all.virtual_.due = due);
    }

    /// The same, and `core` keeps it: in one step, since another core that kept deadlines of the context would
    /// take this one as over, and find a context that it cannot look at.
    fn keep_virtual_on(&self, core: usize, due: u64) {
        self.change(|all| (all.virtual_.due, all.home) = (due, core));
    }

    /// The context may handle interrupts again at `until`.
    pub(crate) fn wait_for_budget(&self, until: u64) {
        self.change(|all| all.budget = until);
    }

    /// `core` keeps the deadlines from now on.
    fn move_to(&self, core: usize) {
        self.change(|all| all.home = core);
    }

    /// `core` goes off: nobody keeps the deadlines. Whether there are any.
    fn orphan(&self, core: usize) -> bool {
        self.change(|all| {
            let ours = all.home == core && all.next() != NEVER;
            if ours {
                all.home = NOWHERE;
            }
            ours
        })
    }

    /// Whether nobody keeps the deadlines.
    fn is_orphan(&self) -> bool {
        self.next() != NEVER && self.all.lock().home == NOWHERE
    }

    /// What is over at `now`, if `core` keeps the deadlines. Each is told once, to `told` before anybody can set the
    /// timer anew.
    fn fire(&self, core: usize, now: u64, told: impl FnOnce(Fired)) -> Fired {
        if self.next() > now {
            return Fired::default();
        }
        self.change(|all| {
            if all.home != core {
                return Fired::default();
            }
            let fire = |due: &mut u64| {
                let fired = *due <= now;
                if fired {
                    *due = NEVER;
                }
                fired
            };
            let fired = Fired {
                physical: fire(&mut all.physical.due),
                virtual_: fire(&mut all.virtual_.due),
                budget: fire(&mut all.budget),
            };
            told(fired);
            fired
        })
    }

    /// The earliest deadline, if `core` keeps it.
    fn next_on(&self, core: usize) -> u64 {
        match self.next() {
            NEVER => NEVER,
            next if self.all.lock().home == core => next,
            _ => NEVER,
        }
    }
}

impl<H: Hardware> Vcpu<H> {
    /// The counter value at which S-EL2 comes back for the context; [`NEVER`] for not at all.
    pub fn next_deadline(&self) -> u64 {
        self.timers.next()
    }

    /// Whether a core has to enter the context for an interrupt: it waits, is not left to the scheduler, and may
    /// handle one now.
    pub fn is_due(&self) -> bool {
        self.state() == StateName::Waiting
            && self.interrupts.wakes()
            && !self.interrupts.is_left()
            && !self.timers.waits_for_budget()
    }
}

impl<H: Hardware> CoreState<H> {
    /// Whatever runs may do so until `bound`.
    #[inline]
    pub(crate) fn set_bound(&mut self, bound: Option<u64>, hw: &mut H) {
        self.bound = bound.unwrap_or(NEVER);
        self.arm(hw);
    }

    /// Arms the core's timer for what comes first.
    #[inline]
    pub(crate) fn arm(&mut self, hw: &mut H) {
        let first = self.bound.min(self.next_deadline);
        hw.set_deadline((first != NEVER).then_some(first));
    }
}

impl<H: Hardware> Spmc<H> {
    /// The context of `slot` leaves the core, which has saved its state in `context`: its deadlines stay here.
    #[inline]
    pub(crate) fn keep_deadlines(
        &self,
        core: &mut CoreState<H>,
        slot: &Vcpu<H>,
        context: &H::Context,
        hw: &mut H,
    ) {
        let due = hw.virtual_timer(context);
        if due.is_some() || slot.timers.next() != NEVER {
            self.keep_some_deadline(core, slot, due, hw);
        }
    }

    #[cold]
    #[inline(never)]
    fn keep_some_deadline(
        &self,
        core: &mut CoreState<H>,
        slot: &Vcpu<H>,
        virtual_timer: Option<u64>,
        hw: &mut H,
    ) {
        if !hw.traps_virtual_timer() {
            let due = virtual_timer.unwrap_or(NEVER);
            slot.timers.keep_virtual_on(core.index, due);
        }
        self.adopt_deadlines(core, slot, hw);
    }

    /// This core keeps the deadlines of `slot`, if it has any.
    #[cold]
    #[inline(never)]
    pub(crate) fn adopt_deadlines(&self, core: &mut CoreState<H>, slot: &Vcpu<H>, hw: &mut H) {
        slot.timers.move_to(core.index);
        if slot.timers.next() < core.next_deadline {
            core.next_deadline = slot.timers.next();
            core.arm(hw);
        }
    }

    /// The core goes off: other cores keep the deadlines of contexts that are not pinned to it. Those of the others
    /// wait until it is on again, as the contexts do.
    pub(crate) fn leave_deadlines(&self, core: &mut CoreState<H>, hw: &mut H) {
        let mut left = false;
        for partition in self.partitions.iter().filter(|one| !one.is_multi_core()) {
            for slot in partition.vcpus {
                left |= slot.timers.orphan(core.index);
            }
        }
        core.next_deadline = NEVER;
        core.arm(hw);
        if left {
            self.interrupts.orphans.store(true, Ordering::Release);
            hw.kick_others();
        }
    }

    /// The core is on: it keeps the deadlines of contexts that are pinned to it, and those that no core keeps.
    pub(crate) fn adopt_own_deadlines(&self, core: &mut CoreState<H>, hw: &mut H) {
        for partition in self.partitions.iter().filter(|one| one.is_multi_core()) {
            if let Some(slot) = partition.vcpus.get(core.index)
                && slot.timers.next() != NEVER
            {
                self.adopt_deadlines(core, slot, hw);
            }
        }
        self.adopt_orphans(core, hw);
    }

    /// This core keeps deadlines that no core keeps.
    pub(crate) fn adopt_orphans(&self, core: &mut CoreState<H>, hw: &mut H) {
        if !self.interrupts.orphans.swap(false, Ordering::AcqRel) {
            return;
        }
        for slot in self.partitions.iter().flat_map(|one| one.vcpus) {
            if slot.timers.is_orphan() {
                self.adopt_deadlines(core, slot, hw);
            }
        }
    }

    /// Deadlines that this core keeps are over: what they tell of becomes pending.
    pub(crate) fn fire_deadlines(&self, core: &mut CoreState<H>, hw: &mut H) {
        let now = hw.now();
        core.next_deadline = NEVER;
        for (index, partition) in self.partitions.iter().enumerate() {
            let vcpu = partition.vcpu_for_core(core.index);
            let (Some(slot), Some(name)) = (partition.vcpus.get(vcpu), VcpuRef::new(index, vcpu))
            else {
                continue;
            };
            let emulated = hw.traps_virtual_timer();
            let fired = slot.timers.fire(core.index, now, |fired| {
                if fired.physical {
                    slot.interrupts.pend(Which::Physical.intid());
                }
                if fired.virtual_ && emulated {
                    slot.interrupts.pend(Which::Virtual.intid());
                }
            });
            if fired != Fired::default() {
                self.fire_one(core, name, slot, fired, hw);
            }
            core.next_deadline = core.next_deadline.min(slot.timers.next_on(core.index));
        }
        core.arm(hw);
    }

    fn fire_one(
        &self,
        core: &mut CoreState<H>,
        name: VcpuRef,
        slot: &Vcpu<H>,
        fired: Fired,
        hw: &mut H,
    ) {
        if fired.budget {
            core.due = true;
        }
        if fired.virtual_
            && !hw.traps_virtual_timer()
            && self.virtual_timer_is_over(core, name, slot, hw)
        {
            slot.interrupts.pend(Which::Virtual.intid());
        }
        if fired.physical || fired.virtual_ {
            self.tell(core, name, hw);
        }
    }

    /// Whether the virtual timer, whose deadline is over, is set as it was, and not set anew by the context
    /// while that ran. What the core keeps for a context is masked then, so that it fires once.
    fn virtual_timer_is_over(
        &self,
        core: &mut CoreState<H>,
        name: VcpuRef,
        slot: &Vcpu<H>,
        hw: &mut H,
    ) -> bool {
        let mut mask = |context: &mut H::Context| {
            let now = hw.now();
            let due = hw.virtual_timer(context).unwrap_or(NEVER);
            if due <= now {
                hw.mask_virtual_timer(context);
            } else {
                slot.timers.keep_virtual(due);
            }
            due <= now
        };
        match &mut core.current {
            Some(current) if current.vcpu == name => mask(&mut *current.context),
            _ => slot.with_context(mask).unwrap_or(false),
        }
    }

    /// The EL1 virtual timer of the running context fired, and is masked (DECISIONS 26).
    pub(crate) fn virtual_timer(&self, core: &mut CoreState<H>, hw: &mut H) -> Action {
        let Some((slot, name)) = core.current.as_ref().map(|c| (c.slot, c.vcpu)) else {
            return core.resume();
        };
        slot.timers.keep_virtual(NEVER);
        slot.interrupts.pend(INTID_VIRTUAL_TIMER);
        self.tell(core, name, hw);
        core.resume()
    }

    /// Emulates an access of the running context to a timer register; `None` if it is none.
    pub(crate) fn timer_register(
        &self,
        core: &mut CoreState<H>,
        access: SystemRegisterAccess,
        hw: &mut H,
    ) -> Option<Action> {
        let (which, register) = decode(access.register)?;
        let current = core.current.as_mut()?;
        let slot = current.slot;
        let offset = match which {
            Which::Physical => 0,
            Which::Virtual => current.context.counter_offset(),
        };
        let now = hw.now();
        let registers = current.context.registers_mut();
        let operand = registers.x.get_mut(usize::from(access.rt));
        match access.direction {
            Direction::Read => {
                let value = slot
                    .timers
                    .change(|all| read(all.timer(which), register, now.wrapping_sub(offset)));
                // Register 31 is XZR: the value goes nowhere.
                if let Some(operand) = operand {
                    *operand = value;
                }
            }
            Direction::Write => {
                let value = operand.map_or(0, |operand| *operand);
                // In one step, since another core may have kept the deadlines until now.
                slot.timers.change(|all| {
                    all.home = core.index;
                    let timer = all.timer(which);
                    write(timer, register, value, now.wrapping_sub(offset));
                    timer.set(offset);
                    // What the partition has not fetched belonged to the setting before.
                    slot.interrupts.withdraw(which.intid());
                    if timer.due <= now {
                        timer.due = NEVER;
                        slot.interrupts.pend(which.intid());
                    }
                });
            }
        }
        current.context.skip_instruction();
        if slot.timers.next() != NEVER {
            self.adopt_deadlines(core, slot, hw);
        }
        Some(core.resume())
    }
}

/// Reads a register at `now`, the value of the timer's own counter.
fn read(timer: &Timer, register: Register, now: u64) -> u64 {
    match register {
        Register::CompareValue => timer.compare,
        // The low 32 bits of what is left.
        Register::TimerValue => timer.compare.wrapping_sub(now) & u64::from(u32::MAX),
        Register::Control => {
            let over = timer.control & ENABLE != 0 && now >= timer.compare;
            timer.control | if over { ISTATUS } else { 0 }
        }
    }
}

/// Writes a register at `now`, the value of the timer's own counter.
fn write(timer: &mut Timer, register: Register, value: u64, now: u64) {
    match register {
        Register::CompareValue => timer.compare = value,
        Register::TimerValue => {
            let [b0, b1, b2, b3, ..] = value.to_le_bytes();
            let signed = i32::from_le_bytes([b0, b1, b2, b3]);
            timer.compare = now.wrapping_add_signed(i64::from(signed));
        }
        Register::Control => timer.control = value & (ENABLE | IMASK),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(control: u64, compare: u64) -> Timer {
        Timer {
            control,
            compare,
            due: NEVER,
        }
    }

    #[test]
    fn c19_a_timer_value_is_what_is_left_and_may_be_negative() {
        let mut timer = timer(ENABLE, 0);
        write(&mut timer, Register::TimerValue, 100, 1_000);
        assert_eq!(timer.compare, 1_100);
        assert_eq!(read(&timer, Register::TimerValue, 1_040), 60);
        assert_eq!(read(&timer, Register::TimerValue, 1_101), 0xffff_ffff);
        write(&mut timer, Register::TimerValue, 0xffff_fff6, 1_000);
        assert_eq!(timer.compare, 990);
        assert_eq!(read(&timer, Register::Control, 1_000), ENABLE | ISTATUS);
        assert_eq!(read(&timer, Register::Control, 989), ENABLE);
    }

    #[test]
    fn c19_the_status_is_read_only_and_zero_while_the_timer_is_off() {
        let mut timer = timer(0, 5);
        write(&mut timer, Register::Control, !0, 10);
        assert_eq!(timer.control, ENABLE | IMASK);
        write(&mut timer, Register::Control, IMASK, 10);
        assert_eq!(read(&timer, Register::Control, 10), IMASK);
    }

    #[test]
    fn i18_a_timer_fires_at_its_value_by_its_own_counter() {
        for (control, compare, offset, due) in [
            (ENABLE, 100, 0, 100),
            (ENABLE, 0, 0, 0),
            (ENABLE, 100, 1_000, 1_100),
            (ENABLE, u64::MAX, 0, NEVER),
            (ENABLE, u64::MAX, 1_000, NEVER),
            (ENABLE, u64::MAX - 2_000, 1_000, u64::MAX - 1_000),
            (0, 100, 0, NEVER),
            (IMASK, 100, 0, NEVER),
            (ENABLE | IMASK, 100, 0, NEVER),
        ] {
            let mut timer = timer(control, compare);
            timer.set(offset);
            assert_eq!(timer.due, due, "{control} {compare:#x} {offset}");
        }
    }

    #[test]
    fn i18_a_deadline_is_told_once_and_by_the_core_that_keeps_it() {
        let timers = Timers::new();
        timers.move_to(1);
        timers.change(|all| all.physical.due = 50);
        assert_eq!(timers.fire(1, 49, |_| {}), Fired::default());
        assert_eq!(
            timers.fire(0, 60, |_| {}),
            Fired::default(),
            "another core's"
        );
        assert!(timers.fire(1, 60, |_| {}).physical);
        assert_eq!(timers.fire(1, 60, |_| {}), Fired::default());
        assert_eq!(timers.next(), NEVER);
    }

    #[test]
    fn only_timer_registers_are_decoded() {
        let register = |crm, op2| SystemRegister {
            op0: 3,
            op1: 3,
            crn: 14,
            crm,
            op2,
        };
        assert_eq!(
            decode(register(2, 1)),
            Some((Which::Physical, Register::Control))
        );
        assert_eq!(
            decode(register(3, 2)),
            Some((Which::Virtual, Register::CompareValue))
        );
        for (crm, op2) in [(0, 1), (2, 3), (3, 7), (4, 0)] {
            assert_eq!(decode(register(crm, op2)), None);
        }
    }
}
