// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a core of the normal world does in the storm.

use core::fmt;
use core::sync::atomic::Ordering;

use bulkhead_abi::paravirt::Paravirt;
use bulkhead_abi::{EndpointId, FfaError, Function, Width};
use bulkhead_payload::board::HYPERVISOR_TIMER_INTID;
use bulkhead_payload::cores::Words;
use bulkhead_payload::counter::{self, hypervisor_timer, microseconds};
use bulkhead_payload::fp::FpState;
use bulkhead_payload::generated::Numbers;
use bulkhead_payload::system_register::Values;
use bulkhead_payload::{Canary, Conduit, Reply, Request, Text, fp, gic};

use super::partition::{PATIENCE, STORM, answer, wish};
use super::{DEVICES, NWD, PARTS, Part, Plan, SCHEDULE_RECEIVER, SHARED};
use crate::interrupts::halves::half;
use crate::outcome::{TestResult, Verdict, equal};
use crate::protocol::{run_half, status};
use crate::{ensure, fail, rules};

/// The longest time from a call to the timer's interrupt, in microseconds.
const INTERRUPT_WITHIN: u64 = 1_000;

/// What a core counted.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    pub answers: u64,
    pub refusals: u64,
    pub interrupts: u64,
    pub yields: u64,
    pub runs: u64,
    pub raised: [u64; DEVICES.len()],
    pub routed: u64,
    pub ipis: u64,
    pub signals: u64,
    pub crashes: u64,
}

impl Tally {
    pub(super) const NONE: Self = Self {
        answers: 0,
        refusals: 0,
        interrupts: 0,
        yields: 0,
        runs: 0,
        raised: [0; DEVICES.len()],
        routed: 0,
        ipis: 0,
        signals: 0,
        crashes: 0,
    };

    pub(super) fn add(&mut self, other: &Self) {
        self.answers += other.answers;
        self.refusals += other.refusals;
        self.interrupts += other.interrupts;
        self.yields += other.yields;
        self.runs += other.runs;
        for (sum, count) in self.raised.iter_mut().zip(other.raised) {
            *sum += count;
        }
        self.routed += other.routed;
        self.ipis += other.ipis;
        self.signals += other.signals;
        self.crashes += other.crashes;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} answers, {} refusals, {} interrupts, {} yields, {} runs, {:?} raised, {} routed, {} IPIs, {} signals, {} \
             crashes",
            self.answers,
            self.refusals,
            self.interrupts,
            self.yields,
            self.runs,
            self.raised,
            self.routed,
            self.ipis,
            self.signals,
            self.crashes
        )
    }
}

/// What a core keeps.
pub(super) struct Own {
    pub tally: Tally,
    pub numbers: Numbers,
    /// What went wrong first.
    pub wrong: Option<Text>,
}

impl Own {
    pub(super) const fn new(seed: u64) -> Self {
        Self {
            tally: Tally::NONE,
            numbers: Numbers::new(seed),
            wrong: None,
        }
    }
}

/// The job of a core.
pub(super) fn work(index: usize, _: &mut Words) {
    // SAFETY: as for `Shared`.
    let (plan, own) = unsafe { (&*SHARED.plan.get(), &mut *SHARED.own[index].get()) };
    let Some(plan) = plan else { return };
    gic::enable(HYPERVISOR_TIMER_INTID);
    let mut worker = Worker {
        index,
        plan,
        own,
        registers: plan.registers,
    };
    if let Err(outcome) = worker.run() {
        let what = Text::new(format_args!("{outcome}"));
        worker.own.wrong.get_or_insert(what);
    }
    hypervisor_timer::disarm();
    gic::disable(HYPERVISOR_TIMER_INTID);
}

struct Worker {
    index: usize,
    plan: &'static Plan,
    own: &'static mut Own,
    registers: Values,
}

impl Worker {
    fn below(&mut self, bound: u64) -> u64 {
        self.own.numbers.below(bound)
    }

    fn run(&mut self) -> TestResult {
        while counter::now() < self.plan.end {
            self.raise();
            self.look_for_the_scheduler();
            match self.below(16) {
                0 => self.route()?,
                1 | 2 => self.send_ipi()?,
                3 => self.signal()?,
                4 | 5 => self.run_context()?,
                6 if self.index + 1 == self.plan.cores => self.crash()?,
                7 => counter::spin(microseconds(self.own.numbers.below(200))),
                _ => self.request()?,
            }
        }
        // Nobody waits for this core's turn.
        for turn in &SHARED.turns {
            if turn.load(Ordering::Relaxed) == self.index as u64 {
                turn.store(
                    (self.index as u64 + 1) % self.plan.cores as u64,
                    Ordering::Relaxed,
                );
            }
        }
        Ok(())
    }

    /// Raises the interrupt of each device whose turn this core has, once the last one was handled, and passes the turn on.
    fn raise(&mut self) {
        for (position, (device, _)) in DEVICES.iter().enumerate() {
            let turn = &SHARED.turns[position];
            if turn.load(Ordering::Acquire) == self.index as u64 && !device.is_raised() {
                device.raise();
                self.own.tally.raised[position] += 1;
                let next = self.below(self.plan.cores as u64);
                turn.store(next, Ordering::Release);
            }
        }
    }

    fn look_for_the_scheduler(&mut self) {
        if gic::is_pending(self.index, SCHEDULE_RECEIVER) {
            gic::withdraw(self.index, SCHEDULE_RECEIVER);
        }
    }

    /// A call with canaries in every register that carries nothing.
    fn call(&mut self, request: Request) -> TestResult<Reply> {
        let canary = Canary::new(NWD);
        self.registers.fill(canary);
        let filled = fp::present().then(|| {
            FpState::canaries(canary).load();
            FpState::current()
        });
        let reply = request.issue(Conduit::Smc, canary);
        let fp = filled.and_then(|filled| filled.difference(&FpState::current()));
        if let Some((name, expected, found)) = self.registers.difference().or(fp) {
            fail!("{name} was {expected:#x} and came back as {found:#x} from a call that {reply}");
        }
        if let Some(what) = rules::broken(&reply) {
            fail!("{what}");
        }
        Ok(reply)
    }

    /// A call during which the timer may fire.
    fn interruptible(&mut self, request: Request) -> TestResult<Reply> {
        if self.below(2) == 0 {
            let within = 1 + self.below(INTERRUPT_WITHIN);
            hypervisor_timer::arm(microseconds(within));
        }
        let reply = self.call(request);
        hypervisor_timer::disarm();
        reply
    }

    /// Sees a request through to its end, however often it is interrupted or the partition is idle.
    fn settle(&mut self, request: Request) -> TestResult<Reply> {
        let mut reply = self.interruptible(request)?;
        loop {
            if reply.is(Function::Interrupt) {
                self.own.tally.interrupts += 1;
            } else if reply.is(Function::Yield) {
                self.own.tally.yields += 1;
            } else {
                return Ok(reply);
            }
            self.raise();
            self.look_for_the_scheduler();
            reply = self.interruptible(Request::run(reply.sender(), reply.receiver().0))?;
        }
    }

    fn half(&self, to: EndpointId, half: usize, arguments: [u64; 3]) -> Request {
        Request::direct(
            Width::W64,
            NWD,
            to,
            run_half(self.plan.case, half, arguments),
        )
    }

    /// The results of a half; `None` if its partition is busy.
    fn results(
        &mut self,
        to: Part,
        half: usize,
        arguments: [u64; 3],
    ) -> TestResult<Option<[u64; 4]>> {
        let id = EndpointId(to as u16);
        let reply = self.settle(self.half(id, half, arguments))?;
        if reply.is_error(FfaError::Busy) {
            let left = to == Part::Wide && self.plan.gic;
            ensure!(
                to != Part::Wide || left,
                "{id} is busy on a core of its own"
            );
            self.own.tally.refusals += 1;
            return Ok(None);
        }
        let reply = reply.returned(Function::MsgSendDirectResp)?;
        equal("x1 of an answer", reply.x(1), EndpointId::pair(id, NWD))?;
        let [result, results @ ..] = reply.payload();
        if result == status::FAILED {
            fail!("half {half} of {id} failed: {}", self.reason(id)?);
        }
        equal("the status of an answer", result, status::OK)?;
        self.own.tally.answers += 1;
        Ok(Some(results))
    }

    /// Why a half failed, as far as one message tells.
    fn reason(&mut self, id: EndpointId) -> TestResult<Text> {
        let payload = [crate::protocol::command::REASON, 0, 0, 0, 0];
        let reply = self.settle(Request::direct(Width::W64, NWD, id, payload))?;
        let [_, words @ ..] = reply.payload();
        Ok(Text::from_ascii(
            words.into_iter().flat_map(u64::to_le_bytes),
        ))
    }

    fn part(&mut self) -> Part {
        PARTS[self.below(PARTS.len() as u64) as usize]
    }

    fn request(&mut self) -> TestResult {
        let to = self.part();
        let value = self.below(1 << 31);
        let mut wishes = self.below(1 << wish::BITS) & self.below(1 << wish::BITS);
        let next = self.part();
        if next == to {
            wishes &= !wish::ASKS;
        }
        let arguments = [value, wishes, next as u64 | self.below(2_000) << 16];
        if let Some([result, ..]) = self.results(to, STORM, arguments)? {
            equal("an answer", result, answer(value))?;
        }
        Ok(())
    }

    /// Has the owner of a device send its interrupt to another core.
    fn route(&mut self) -> TestResult {
        let (device, owner) = DEVICES[self.below(DEVICES.len() as u64) as usize];
        let core = self.below(self.plan.cores as u64);
        let arguments = [
            Paravirt::InterruptReconfigure.id(),
            device.intid().into(),
            core << 32,
        ];
        if let Some([x0, ..]) = self.results(owner, half::CALL, arguments)? {
            equal("x0 of re-targeting", x0, 0)?;
            self.own.tally.routed += 1;
        }
        Ok(())
    }

    fn send_ipi(&mut self) -> TestResult {
        let target = self.below(self.plan.cores as u64);
        let arguments = [Paravirt::SendIpi.id(), target, 0];
        if let Some([x0, ..]) = self.results(Part::Wide, half::CALL, arguments)? {
            equal("x0 of an IPI", x0, 0)?;
            self.own.tally.ipis += 1;
        }
        Ok(())
    }

    /// Signals one notification to a partition.
    fn signal(&mut self) -> TestResult {
        let to = self.part();
        let ids = EndpointId::pair(NWD, EndpointId(to as u16));
        let bit = 1 << self.below(8);
        let request = Request::ffa(Function::NotificationSet, Width::W32).with([ids, 0, bit, 0]);
        self.call(request)?.succeeded()?;
        self.own.tally.signals += 1;
        Ok(())
    }

    fn run_context(&mut self) -> TestResult {
        let to = self.part();
        let context = if to == Part::Wide {
            self.index as u16
        } else {
            0
        };
        let reply = self.settle(Request::run(EndpointId(to as u16), context))?;
        if reply.is(Function::MsgWait) {
            self.own.tally.runs += 1;
            return Ok(());
        }
        ensure!(
            to != Part::Wide,
            "FFA_RUN of a context of this core's own returned {reply}"
        );
        reply.refused_with_one_of(&[FfaError::Busy, FfaError::Denied])
    }

    /// Ends the next victim when its time has come, directly or through a partition that asks it.
    fn crash(&mut self) -> TestResult {
        let Plan {
            victims,
            begin,
            end,
            ..
        } = self.plan;
        let every = (end - begin) / (victims.len() as u64 + 1);
        let crashed = self.own.tally.crashes;
        let Some(&id) = victims.get(crashed as usize) else {
            return Ok(());
        };
        if counter::now() < begin + (crashed + 1) * every {
            return Ok(());
        }
        let flags = super::flag::TIMERS | super::flag::UNMASKED;
        let prepare = self.half(id, half::PREPARE, [flags, 0, 0]);
        self.settle(prepare)?
            .returned(Function::MsgSendDirectResp)?;
        let soon = microseconds(500);
        let arm = self.half(id, half::ARM, [crashed & 1, soon, 0]);
        self.settle(arm)?.returned(Function::MsgSendDirectResp)?;
        self.own.tally.crashes += 1;
        if crashed & 1 == 0 {
            let fault = self.half(id, half::FAULT, [0; 3]);
            let mut reply = self.settle(fault)?;
            // Another core may have it handle an interrupt just now.
            let patience = counter::now() + microseconds(PATIENCE);
            while reply.is_error(FfaError::Busy) && counter::now() < patience {
                reply = self.settle(fault)?;
            }
            return reply.refused(FfaError::Aborted);
        }
        // Its asker is told, and answers.
        let arguments = [0x1234, wish::ASKS | wish::FATAL, id.0.into()];
        let results = self.results(Part::Wide, STORM, arguments)?;
        equal(
            "the answer of who asked",
            results.map_or(0, |[result, ..]| result),
            answer(0x1234),
        )
    }
}
