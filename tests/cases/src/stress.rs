// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every core of the normal world asks every partition at once, in every form, with canaries in all
//! registers, while its timer interrupts it: C6, CV1, CV3, CV5, L3, L4, W2 and W6.
//!
//! `seconds=N` on the command line is how long [`cv_stress_under_interrupts_loses_no_reply`]
//! runs, in seconds of the machine's counter, and `cycles=N` how many times
//! [`w6_cores_go_off_and_on_under_traffic`] switches a core off and on.

use core::cell::UnsafeCell;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use arrayvec::ArrayVec;
use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::{EndpointId, FfaError, Function, Uuid, Version, Width};
use bulkhead_payload::board::HYPERVISOR_TIMER_INTID;
use bulkhead_payload::cores::{self, Core, Words};
use bulkhead_payload::counter::{self, hypervisor_timer, microseconds};
use bulkhead_payload::entry::CORES;
use bulkhead_payload::fp::FpState;
use bulkhead_payload::println;
use bulkhead_payload::system_register::{Values, World};
use bulkhead_payload::{Canary, Conduit, Reply, Request, Text, fp, gic};

use crate::normal_world::{NormalWorld, Role, rxtx_map};
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_list;
use crate::partition_world::PartitionWorld;
use crate::protocol::{Caller, run_half, status};
use crate::{cases, ensure, fail, rules, skip};

cases! {
    cv_stress_under_interrupts_loses_no_reply: [work_half, report_half];
    w6_cores_go_off_and_on_under_traffic: [work_half, report_half];
}

/// The halves' numbers, which both tests share.
const WORK: usize = 0;
const REPORT: usize = 1;

const NWD: EndpointId = EndpointId::NORMAL_WORLD;
/// How long a partition spins that is told to, in microseconds.
const SPIN: u64 = 300;
/// The longest time from a call to the timer's interrupt, in microseconds.
const INTERRUPT_WITHIN: u64 = 400;
/// Bits of [`work_half`]'s flags.
const SPINS: u64 = 1;
/// The next link is asked with a 32-bit message.
const NARROW: u64 = 2;

/// What [`work_half`] makes of a value, which has 32 bits.
const fn answer(value: u64) -> u64 {
    (!value).rotate_left(7) & 0x7fff_ffff
}

/// What a link of a chain sends to the next one.
const fn passed_on(value: u64) -> u64 {
    value ^ 0x5a5a_0000
}

// What a partition does.

/// Positions in [`PartitionWorld::notes`].
mod note {
    /// Requests that it served.
    pub const SERVED: usize = 0;
    /// Requests of its own that were answered.
    pub const ANSWERED: usize = 1;
    /// Requests of its own that were refused.
    pub const REFUSED: usize = 2;
}

/// Fills the FP, EL1 and EL0 registers of the context with new canaries.
fn fill(world: &mut PartitionWorld) {
    let canary = Canary::new(world.id());
    FpState::canaries(canary).load();
    world.fp = Some(FpState::current());
    let mut values = match world.el1 {
        Some(values) => values,
        None => {
            let mut values = Values::probe(World::Partition);
            values.capture();
            world.el1_before = Some(values);
            values
        }
    };
    values.fill(canary);
    world.el1 = Some(values);
}

/// Fails unless they are as they were filled, if they were.
fn check(world: &PartitionWorld) -> TestResult {
    let fp = world.fp.as_ref();
    let fp = fp.and_then(|expected| expected.difference(&FpState::current()));
    let el1 = world.el1.as_ref().and_then(Values::difference);
    if let Some((name, expected, found)) = fp.or(el1) {
        fail!("{name} was {expected:#x} and came back as {found:#x}");
    }
    Ok(())
}

/// Serves one request: `value`, the partitions to pass it on to (16 bits each, the next one lowest), and
/// flags. The canaries stay until the next request.
fn work_half(world: &mut PartitionWorld, [value, path, flags]: [u64; 3]) -> TestResult<[u64; 4]> {
    check(world)?;
    fill(world);
    world.notes[note::SERVED] += 1;
    if flags & SPINS != 0 {
        counter::spin(microseconds(SPIN));
    }
    let next = EndpointId(path as u16);
    if next.0 != 0 {
        let width = if flags & NARROW == 0 {
            Width::W64
        } else {
            Width::W32
        };
        let sent = passed_on(value);
        let payload = run_half(world.case(), WORK, [sent, path >> 16 & 0xffff, flags]);
        let reply = world.direct(width, next, payload);
        if reply.is(Function::MsgSendDirectResp) {
            ensure!(
                reply.sender() == next && reply.receiver() == world.id(),
                "an answer of somebody else: {reply}"
            );
            let [status, result, ..] = reply.payload();
            equal("the status of the next", status, status::OK)?;
            equal("the answer of the next", result, answer(sent))?;
            world.notes[note::ANSWERED] += 1;
        } else {
            // Busy with another core's chain, or with this one.
            reply.refused_with_one_of(&[FfaError::Busy, FfaError::Denied])?;
            world.notes[note::REFUSED] += 1;
        }
    }
    check(world)?;
    Ok([answer(value), 0, 0, 0])
}

/// What the context has counted since the last report, and how often FFA_RUN ran it.
fn report_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    check(world)?;
    if let Some(before) = world.el1_before.take() {
        before.restore();
    }
    (world.el1, world.fp) = (None, None);
    let counts = core::mem::take(&mut world.notes);
    let runs = core::mem::take(&mut world.runs);
    Ok([
        counts[note::SERVED],
        counts[note::ANSWERED],
        counts[note::REFUSED],
        runs,
    ])
}

// What a core of the normal world does.

/// xorshift64*: small, seeded.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
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
struct Target {
    id: EndpointId,
    wide: bool,
    second_form: bool,
}

/// What all cores need to know.
struct Plan {
    case: usize,
    targets: ArrayVec<Target, 8>,
    /// The registers that hold canaries.
    registers: Values,
    /// x0 to x17 of FFA_PARTITION_INFO_GET_REGS, if that is served.
    listed: Option<[u64; 18]>,
    /// Whether contexts may be run without a request, and the mailbox changed.
    everything: bool,
    /// When to end, by the counter.
    end: u64,
}

/// What a core counted.
#[derive(Clone, Copy, Default)]
struct Tally {
    requests: u64,
    answers: u64,
    refusals: u64,
    interrupts: u64,
    runs: u64,
    lists: u64,
    maps: u64,
    unmaps: u64,
    /// Requests that were preempted when the core came to an end.
    left: u64,
    /// What went wrong first.
    wrong: Option<Text>,
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
struct Pending {
    request: Sent,
    interrupted: u64,
}

/// A request.
#[derive(Clone, Copy)]
struct Sent {
    to: Target,
    value: u64,
    answers: u64,
}

/// What a core keeps while it is off.
struct Own {
    tally: Tally,
    pending: Option<Pending>,
    random: Random,
}

/// What cores share. Before they are set to work, and after, only the boot core touches it.
struct Shared {
    plan: UnsafeCell<Option<Plan>>,
    own: [UnsafeCell<Own>; CORES],
    /// Tells a core to come to an end.
    stop: [AtomicBool; CORES],
}

// SAFETY: while cores work, nobody writes the plan, and each writes its own part of `own` only.
unsafe impl Sync for Shared {}

static SHARED: Shared = Shared {
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
fn work(index: usize, _: &mut Words) {
    with_worker(index, Worker::run);
}

/// The job of a core that sees its last request through to its answer.
fn drain(index: usize, _: &mut Words) {
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

fn list_request() -> Request {
    Request::ffa(Function::PartitionInfoGetRegs, Width::W64)
}

// How it is set going, and what has to hold afterwards.

/// Makes the plan: which testers are asked, and what they have counted is forgotten.
fn prepare(world: &mut NormalWorld, everything: bool, seconds: Option<u64>) -> TestResult {
    world.tester(Role::Primary)?;
    let mut targets = ArrayVec::<Target, 8>::new();
    for tester in world.testers() {
        let Some(partition) = world.descriptor(tester.id) else {
            continue;
        };
        let speaks = tester.version.min(world.version);
        targets.push(Target {
            id: tester.id,
            wide: partition.contexts > 1,
            second_form: speaks >= Version::V1_2
                && partition
                    .properties
                    .contains(Properties::DIRECT_REQ2_RECEIVE),
        });
    }
    if targets.len() < 2 {
        skip!("needs two testers");
    }
    let listed = world.call(list_request());
    let listed = listed.is(Function::Success).then(|| {
        let mut x = [0; 18];
        x.copy_from_slice(&listed.registers.x[..18]);
        x
    });
    let plan = Plan {
        case: world.case(),
        targets,
        registers: Values::probe(World::Normal),
        listed,
        everything,
        end: seconds.map_or(u64::MAX, |seconds| {
            counter::now() + microseconds(seconds * 1_000_000)
        }),
    };
    // SAFETY: no core works yet.
    unsafe {
        *SHARED.plan.get() = Some(plan);
        for (seed, own) in (1u64..).zip(&SHARED.own) {
            *own.get() = Own {
                tally: Tally::default(),
                pending: None,
                random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            };
        }
    }
    Ok(())
}

fn targets() -> ArrayVec<Target, 8> {
    // SAFETY: nobody writes the plan.
    let plan = unsafe { &*SHARED.plan.get() };
    plan.as_ref()
        .map(|plan| plan.targets.clone())
        .unwrap_or_default()
}

/// What core `index`, which is not at work, has counted.
fn tally(index: usize) -> Tally {
    // SAFETY: the core does not work.
    unsafe { (*SHARED.own[index].get()).tally }
}

fn no_wrong(index: usize) -> TestResult {
    match tally(index).wrong {
        Some(what) => fail!("on core {index}: {what}"),
        None => Ok(()),
    }
}

fn post(core: &mut Core) {
    SHARED.stop[core.index()].store(false, Ordering::Relaxed);
    core.post(work, [0; 8]);
}

/// Tells a core to come to an end, and waits for it.
fn halt(core: &mut Core) -> TestResult {
    SHARED.stop[core.index()].store(true, Ordering::Relaxed);
    core.finish();
    no_wrong(core.index())
}

/// How many contexts the widest tester has, so many cores there may be.
fn widest(world: &NormalWorld) -> usize {
    let contexts = targets()
        .iter()
        .filter_map(|target| world.descriptor(target.id))
        .map(|partition| partition.contexts.into())
        .max();
    contexts.unwrap_or(1)
}

/// All cores that the partitions have contexts for.
fn all_others(world: &NormalWorld) -> TestResult<ArrayVec<Core, CORES>> {
    let there = (1..widest(world)).filter(|&index| cores::exists(index));
    let mut others = ArrayVec::new();
    for index in there {
        let Some(core) = Core::start(index) else {
            fail!("core {index} did not come on");
        };
        others.push(core);
    }
    Ok(others)
}

/// Makes a call on another core; the registers of the reply.
fn call_on(core: &mut Core, request: Request) -> [u64; 8] {
    core.post(
        |_, words| {
            let mut request = Request::new(words[0]);
            request.x[..8].copy_from_slice(words);
            let reply = request.issue(Conduit::Smc, Canary::new(NWD));
            words.copy_from_slice(&reply.registers.x[..8]);
        },
        core::array::from_fn(|index| request.x[index]),
    );
    core.finish()
}

/// What the contexts of all partitions have counted: reported on each core by its own contexts.
fn reports(world: &mut NormalWorld, others: &mut [Core]) -> TestResult<[u64; 4]> {
    let mut sum = [0; 4];
    let payload = run_half(world.case(), REPORT, [0; 3]);
    for Target { id, wide, .. } in targets() {
        let request = Request::direct(Width::W64, NWD, id, payload);
        let mut replies = ArrayVec::<[u64; 8], CORES>::new();
        if wide {
            replies.extend(others.iter_mut().map(|core| call_on(core, request)));
        }
        for reply in replies {
            equal(
                "x0 of a report",
                reply[0],
                Function::MsgSendDirectResp.id(Width::W64),
            )?;
            equal("its status", reply[3], status::OK)?;
            for (sum, count) in sum.iter_mut().zip(&reply[4..]) {
                *sum += count;
            }
        }
        for (sum, count) in sum.iter_mut().zip(world.invoke(id, REPORT, [0; 3])?) {
            *sum += count;
        }
    }
    Ok(sum)
}

/// Every context waits: FFA_RUN runs it once, on each core.
fn all_idle(world: &mut NormalWorld, others: &mut [Core]) -> TestResult {
    for Target { id, wide, .. } in targets() {
        world
            .call(Request::run(id, 0))
            .returned(Function::MsgWait)?;
        for core in others.iter_mut() {
            let context = if wide { core.index() as u16 } else { 0 };
            let [x0, ..] = call_on(core, Request::run(id, context));
            equal("x0 of FFA_RUN", x0, Function::MsgWait.id(Width::W32))?;
        }
    }
    Ok(())
}

fn cv_stress_under_interrupts_loses_no_reply(world: &mut NormalWorld) -> TestResult {
    let seconds = world.seconds.unwrap_or(1);
    prepare(world, true, Some(seconds))?;
    let mut others = all_others(world)?;
    reports(world, &mut others)?;
    for core in &mut others {
        post(core);
    }
    SHARED.stop[0].store(false, Ordering::Relaxed);
    work(0, &mut [0; 8]);
    for core in &mut others {
        core.finish();
    }
    let mut sum = Tally::default();
    for index in 0..=others.len() {
        let tally = tally(index);
        println!("[stress] core {index}: {tally}");
        sum.requests += tally.requests;
        sum.answers += tally.answers;
        sum.refusals += tally.refusals;
        sum.runs += tally.runs;
        sum.interrupts += tally.interrupts;
        sum.maps += tally.maps;
        sum.unmaps += tally.unmaps;
    }
    for index in 0..=others.len() {
        no_wrong(index)?;
        ensure!(tally(index).answers > 0, "core {index} was never answered");
    }
    let [served, answered, refused, runs] = reports(world, &mut others)?;
    println!(
        "[stress] partitions served {served} requests; of their own, {answered} were answered and {refused} refused"
    );
    equal(
        "answers and refusals",
        sum.answers + sum.refusals,
        sum.requests,
    )?;
    equal("what was served", served, sum.answers + answered)?;
    equal("runs that partitions saw", runs, sum.runs)?;
    ensure!(sum.interrupts > 0, "nothing was ever interrupted");
    // The mailbox was mapped at the beginning, and is in the state that the counts say.
    let mapped = (1 + sum.maps).checked_sub(sum.unmaps);
    let again = world.map_mailbox(Width::W64);
    match mapped {
        Some(0) => again.succeeded().map(|_| ())?,
        Some(1) => again.refused(FfaError::Denied)?,
        _ => fail!("{} maps and {} unmaps of one mailbox", sum.maps, sum.unmaps),
    }
    all_idle(world, &mut others)
}

/// How often each test run without `cycles=` switches a core off and on.
const CYCLES: u64 = 20;
/// The longest time between two cores that go off, in microseconds.
const WORKS_FOR: u64 = 3000;

fn w6_cores_go_off_and_on_under_traffic(world: &mut NormalWorld) -> TestResult {
    let cycles = world.cycles.unwrap_or(CYCLES);
    prepare(world, false, None)?;
    let mut others = all_others(world)?;
    if others.is_empty() {
        skip!("the machine has no second core");
    }
    reports(world, &mut others)?;
    for core in &mut others {
        post(core);
    }
    let mut restarts = [0_u64; CORES];
    let mut random = Random(cycles | 1);
    for round in 0..cycles {
        counter::spin(microseconds(random.below(WORKS_FOR)));
        let position = (round % (others.len() as u64 + 1)) as usize;
        restarts[position] += 1;
        let Some(before) = position.checked_sub(1) else {
            // The first of the others is there for the boot core meanwhile.
            halt(&mut others[0])?;
            let restarted = cores::restart_boot_core(&mut others[0]);
            ensure!(
                restarted,
                "the boot core did not go off and on, round {round}"
            );
            post(&mut others[0]);
            for target in targets().iter().filter(|target| target.wide) {
                let [result, ..] = world.invoke(target.id, WORK, [round, 0, 0])?;
                equal(
                    "the answer of a context that was started again",
                    result,
                    answer(round),
                )?;
            }
            continue;
        };
        halt(&mut others[before])?;
        let index = others[before].index();
        let core = others.remove(before);
        ensure!(core.stop(), "core {index} did not go off, round {round}");
        let Some(mut core) = Core::start(index) else {
            fail!("core {index} did not come on again, round {round}");
        };
        post(&mut core);
        others.insert(before, core);
    }
    for core in &mut others {
        halt(core)?;
    }
    for core in &mut others {
        SHARED.stop[core.index()].store(false, Ordering::Relaxed);
        core.post(drain, [0; 8]);
        core.finish();
        no_wrong(core.index())?;
    }
    let mut sum = Tally::default();
    for core in &others {
        let tally = tally(core.index());
        println!(
            "[cycles] core {}: {} times off and on, {} requests preempted meanwhile; {tally}",
            core.index(),
            restarts[core.index()],
            tally.left
        );
        ensure!(
            tally.answers > 0,
            "core {} was never answered",
            core.index()
        );
        equal(
            "answers and refusals",
            tally.answers + tally.refusals,
            tally.requests,
        )?;
        sum.left += tally.left;
    }
    println!("[cycles] core 0: {} times off and on", restarts[0]);
    ensure!(
        sum.left > 0,
        "no core went off with a request that was preempted"
    );
    reports(world, &mut others)?;
    all_idle(world, &mut others)?;
    world.no_state_change()
}
