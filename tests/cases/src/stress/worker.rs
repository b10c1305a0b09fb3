// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a core of the normal world does in the stress.

use core::cell::UnsafeCell;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use arrayvec::ArrayVec;
use bulkhead_abi::{EndpointId, FfaError, Function, Uuid, Width};
use bulkhead_payload::board::HYPERVISOR_TIMER_INTID;
use bulkhead_payload::cores::Words;
use bulkhead_payload::counter::{self, hypervisor_timer, microseconds};
use bulkhead_payload::entry::CORES;
use bulkhead_payload::fp::FpState;
use bulkhead_payload::system_register::Values;
use bulkhead_payload::{Canary, Conduit, Reply, Request, Text, fp, gic};

use super::{NARROW, NWD, SPINS, WORK, answer};
use crate::normal_world::rxtx_map;
use crate::outcome::{TestResult, Verdict, equal};
use crate::protocol::{run_half, status};
use crate::{ensure, fail, partition_list, rules};

/// The longest time from a call to the timer's interrupt, in microseconds.
const INTERRUPT_WITHIN: u64 = 400;

/// xorshift64*: small, seeded.
pub(super) struct Random(pub u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// A partition that is asked.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub id: EndpointId,
    pub wide: bool,
    pub second_form: bool,
}

/// What all cores need to know.
pub(super) struct Plan {
    pub case: usize,
    pub targets: ArrayVec<Target, 8>,
    /// The registers that hold canaries.
    pub registers: Values,
    /// x0 to x17 of FFA_PARTITION_INFO_GET_REGS, if that is served.
    pub listed: Option<[u64; 18]>,
    /// Whether contexts may be run without a request, and the mailbox changed.
    pub everything: bool,
    /// When to end, by the counter.
    pub end: u64,
}

/// What a core counted.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    pub requests: u64,
    pub answers: u64,
    pub refusals: u64,
    pub interrupts: u64,
    pub runs: u64,
    pub lists: u64,
    pub maps: u64,
    pub unmaps: u64,
    /// Requests that were preempted when the core came to an end.
    pub left: u64,
    /// What went wrong first.
    pub wrong: Option<Text>,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests, {} answers, {} busy, {} interrupts, {} runs, {} lists, {} maps",
            self.requests,
            self.answers,
            self.refusals,
            self.interrupts,
            self.runs,
            self.lists,
            self.maps
        )
    }
}

/// A request that was preempted when its core went off: whom FFA_RUN has to name, and the answer due.
#[derive(Clone, Copy)]
pub(super) struct Pending {
    request: Sent,
    interrupted: u64,
}

/// A request.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    to: Target,
    value: u64,
    answers: u64,
}

/// What a core keeps while it is off.
pub(super) struct Own {
    pub tally: Tally,
    pub pending: Option<Pending>,
    pub random: Random,
}

/// What cores share. Before they are set to work, and after, only the boot core touches it.
pub(super) struct Shared {
    pub plan: UnsafeCell<Option<Plan>>,
    pub own: [UnsafeCell<Own>; CORES],
    /// Tells a core to come to an end.
    pub stop: [AtomicBool; CORES],
}

// SAFETY: while cores work, nobody writes the plan, and each writes its own part of `own` only.
unsafe impl Sync for Shared {}

pub(super) static SHARED: Shared = Shared {
    plan: UnsafeCell::new(None),
    own: [const {
        UnsafeCell::new(Own {
            tally: Tally {
                requests: 0,
                answers: 0,
                refusals: 0,
                interrupts: 0,
                runs: 0,
                lists: 0,
                maps: 0,
                unmaps: 0,
                left: 0,
                wrong: None,
            },
            pending: None,
            random: Random(1),
        })
    }; CORES],
    stop: [const { AtomicBool::new(false) }; CORES],
};

/// A core at work.
struct Worker {
    index: usize,
    plan: &'static Plan,
    own: &'static mut Own,
    registers: Values,
}

/// The job of a core: requests until it is told to stop.
pub(super) fn work(index: usize, _: &mut Words) {
    with_worker(index, Worker::run);
}

/// The job of a core that sees its last request through to its answer.
pub(super) fn drain(index: usize, _: &mut Words) {
    with_worker(index, Worker::go_on);
}

fn with_worker(index: usize, job: fn(&mut Worker) -> TestResult) {
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
    if let Err(outcome) = job(&mut worker) {
        let what = Text::new(format_args!("{outcome}"));
        worker.own.tally.wrong.get_or_insert(what);
    }
    hypervisor_timer::disarm();
    gic::disable(HYPERVISOR_TIMER_INTID);
}

impl Worker {
    fn is_over(&self) -> bool {
        SHARED.stop[self.index].load(Ordering::Relaxed) || counter::now() >= self.plan.end
    }

    fn go_on(&mut self) -> TestResult {
        match self.own.pending.take() {
            Some(Pending {
                request,
                interrupted,
            }) => self.finish(request, interrupted),
            None => Ok(()),
        }
    }

    fn run(&mut self) -> TestResult {
        self.go_on()?;
        while !self.is_over() && self.own.pending.is_none() {
            match self.own.random.below(16) {
                0 if self.plan.everything => self.run_context()?,
                1 => self.list()?,
                2 if self.plan.everything => self.change_mailbox()?,
                _ => self.request()?,
            }
        }
        Ok(())
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

    fn target(&mut self) -> Target {
        let count = self.plan.targets.len() as u64;
        self.plan.targets[self.own.random.below(count) as usize]
    }

    fn request(&mut self) -> TestResult {
        let to = self.target();
        let value = self.own.random.below(1 << 31);
        let mut path = 0;
        for _ in 0..self.own.random.below(3) {
            path = path << 16 | u64::from(self.target().id.0);
        }
        // A partition is refused that asks itself, with another error than one that is busy.
        let [first, second] = [path & 0xffff, path >> 16];
        if first == u64::from(to.id.0) || first == second {
            path = 0;
        }
        let mut flags = self.own.random.below(2) * NARROW;
        if self.own.random.one_in(4) {
            flags |= SPINS;
        }
        let payload = run_half(self.plan.case, WORK, [value, path, flags]);
        let (request, answers) = match self.own.random.below(3) {
            0 => (
                Request::direct(Width::W32, NWD, to.id, payload),
                Function::MsgSendDirectResp.id(Width::W32),
            ),
            1 if to.second_form => {
                let [a, b, c, d, e] = payload;
                let ids = EndpointId::pair(NWD, to.id);
                (
                    Request::ffa(Function::MsgSendDirectReq2, Width::W64)
                        .with([ids, 0, 0, a, b, c, d, e]),
                    Function::MsgSendDirectResp2.id(Width::W64),
                )
            }
            _ => (
                Request::direct(Width::W64, NWD, to.id, payload),
                Function::MsgSendDirectResp.id(Width::W64),
            ),
        };
        self.own.tally.requests += 1;
        let sent = Sent { to, value, answers };
        let reply = self.interruptible(request)?;
        self.settle(sent, reply)
    }

    /// A call during which the timer may fire.
    fn interruptible(&mut self, request: Request) -> TestResult<Reply> {
        if self.own.random.one_in(2) {
            let within = 1 + self.own.random.below(INTERRUPT_WITHIN);
            hypervisor_timer::arm(microseconds(within));
        }
        let reply = self.call(request);
        hypervisor_timer::disarm();
        reply
    }

    /// Resumes what was interrupted.
    fn finish(&mut self, sent: Sent, interrupted: u64) -> TestResult {
        let (partition, context) = (
            EndpointId::high_half(interrupted),
            EndpointId::low_half(interrupted).0,
        );
        let reply = self.interruptible(Request::run(partition, context))?;
        self.settle(sent, reply)
    }

    /// Sees a request through to its one answer, however often it is interrupted.
    fn settle(&mut self, sent: Sent, mut reply: Reply) -> TestResult {
        while reply.is(Function::Interrupt) {
            self.own.tally.interrupts += 1;
            let interrupted = reply.x(1);
            if self.own.random.one_in(4) {
                // The head of the chain has no second answer to give meanwhile.
                let payload = run_half(self.plan.case, WORK, [0; 3]);
                self.call(Request::direct(Width::W64, NWD, sent.to.id, payload))?
                    .refused(FfaError::Busy)?;
            }
            if SHARED.stop[self.index].load(Ordering::Relaxed) && self.own.random.one_in(2) {
                self.own.pending = Some(Pending {
                    request: sent,
                    interrupted,
                });
                self.own.tally.left += 1;
                return Ok(());
            }
            let partition = EndpointId::high_half(interrupted);
            let run = Request::run(partition, EndpointId::low_half(interrupted).0);
            reply = self.interruptible(run)?;
        }
        let Sent { to, value, answers } = sent;
        if reply.is_error(FfaError::Busy) {
            ensure!(!to.wide, "{} is busy on a core of its own", to.id);
            self.own.tally.refusals += 1;
            return Ok(());
        }
        ensure!(reply.x(0) == answers, "{reply} is no answer of {}", to.id);
        equal("x1 of an answer", reply.x(1), EndpointId::pair(to.id, NWD))?;
        let first = if reply.is(Function::MsgSendDirectResp) {
            3
        } else {
            4
        };
        equal("the status of an answer", reply.x(first), status::OK)?;
        equal("an answer", reply.x(first + 1), answer(value))?;
        self.own.tally.answers += 1;
        Ok(())
    }

    fn run_context(&mut self) -> TestResult {
        let Target { id, wide, .. } = self.target();
        let context = if wide { self.index as u16 } else { 0 };
        let reply = self.call(Request::run(id, context))?;
        if reply.is(Function::MsgWait) {
            self.own.tally.runs += 1;
            return Ok(());
        }
        // Another core has it, or had it when it was interrupted.
        ensure!(
            !wide,
            "FFA_RUN of a context of this core's own returned {reply}"
        );
        reply.refused_with_one_of(&[FfaError::Busy, FfaError::Denied])
    }

    fn list(&mut self) -> TestResult {
        let Some(listed) = self.plan.listed else {
            return Ok(());
        };
        let reply = self.call(list_request())?;
        ensure!(
            reply.registers.x[..18] == listed,
            "FFA_PARTITION_INFO_GET_REGS returned {reply}, and other registers than before"
        );
        self.own.tally.lists += 1;
        Ok(())
    }

    /// All cores share the mailbox of the normal world and take it from each other.
    fn change_mailbox(&mut self) -> TestResult {
        const REFUSALS: [FfaError; 3] = [
            FfaError::Denied,
            FfaError::Busy,
            FfaError::InvalidParameters,
        ];
        let success = |reply: Reply| -> TestResult<u64> {
            if reply.is(Function::Success) {
                return Ok(1);
            }
            reply.refused_with_one_of(&REFUSALS)?;
            Ok(0)
        };
        match self.own.random.below(3) {
            0 => {
                let reply = self.call(rxtx_map(Width::W64))?;
                self.own.tally.maps += success(reply)?;
            }
            1 => {
                let reply = self.call(Request::ffa(Function::RxtxUnmap, Width::W32))?;
                self.own.tally.unmaps += success(reply)?;
            }
            _ => {
                let reply = self.call(partition_list::request(Uuid::NIL, 0))?;
                if success(reply)? == 1 {
                    let reply = self.call(Request::ffa(Function::RxRelease, Width::W32))?;
                    success(reply)?;
                    self.own.tally.lists += 1;
                }
            }
        }
        Ok(())
    }
}

pub(super) fn list_request() -> Request {
    Request::ffa(Function::PartitionInfoGetRegs, Width::W64)
}
