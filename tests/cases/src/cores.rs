// SPDX-License-Identifier: MIT OR Apache-2.0
//! Several cores at once, and cores that go off and come on: C5 to C7, R2, L3 and W of the abuse cases.

use core::cell::UnsafeCell;

use arrayvec::ArrayVec;
use bulkhead_abi::{EndpointId, FfaError, Function, Width};
use bulkhead_payload::board::HYPERVISOR_TIMER_INTID;
use bulkhead_payload::cores::{self, Core, Words};
use bulkhead_payload::counter::{self, hypervisor_timer, microseconds};
use bulkhead_payload::fp::FpState;
use bulkhead_payload::panic::foreign_address;
use bulkhead_payload::{Canary, Conduit, Reply, Request, exception, fp, gic, memory, stage1};

use crate::normal_world::{INTERRUPT_AFTER, LONG_SPIN, NormalWorld, Role};
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_world::PartitionWorld;
use crate::protocol::{Caller, command, echo, run_half, status};
use crate::{cases, ensure, fail, rules, skip};

cases! {
    w1_every_core_comes_on_once_and_finds_its_own_context;
    r2_no_core_runs_the_context_of_another_one;
    c6_every_core_is_answered_or_told_busy_at_once: [slow_half];
    c6_chains_of_every_core_meet_in_one_partition: [slow_half, ask_half];
    c5_a_preempted_chain_is_refused_to_another_core: [spin_half];
    k5_contexts_of_two_cores_are_preempted_at_once: [spin_half];
    l3_fp_registers_are_kept_on_every_core: [fill_fp_half, check_fp_half];
    w2_a_core_goes_off_while_a_context_of_it_is_preempted: [spin_half];
    c7_a_fault_on_one_core_unwinds_the_chain_of_another: [call_victim_half, spin_half, fault_half];
    w6_a_core_goes_off_and_comes_on_again: [note_half];
    w5_the_boot_core_goes_off_and_comes_on_again: [note_half, noted_half];
    e16_requests_of_every_core_wait_for_one_partition: [slow_half];
    e16_a_request_that_waits_is_interrupted_and_goes_on: [spin_half];
    x4_a_local_invalidation_of_a_partition_reaches_every_core: [aim_half, look_half];
}

const NO_RESULTS: [u64; 4] = [0; 4];
const NWD: EndpointId = EndpointId::NORMAL_WORLD;

/// The tester with a context for each core, and how many that is.
fn wide(world: &NormalWorld) -> TestResult<(EndpointId, usize)> {
    let primary = world.tester(Role::Primary)?;
    match world.descriptor(primary) {
        Some(partition) if partition.contexts > 1 => Ok((primary, usize::from(partition.contexts))),
        _ => skip!("the primary tester has one execution context"),
    }
}

/// All cores that the machine has, but the boot core.
fn others(count: usize) -> TestResult<ArrayVec<Core, 8>> {
    let there = (1..count).filter(|&index| cores::exists(index)).count();
    let cores: ArrayVec<Core, 8> = (1..count).filter_map(Core::start).collect();
    if there == 0 {
        skip!("the machine has no second core");
    }
    ensure!(
        cores.len() == there,
        "{} of {there} other cores came on",
        cores.len()
    );
    Ok(cores)
}

/// What a job says of its calls, beside its own results.
mod word {
    /// What is wrong: zero if nothing, else a code of [`super::wrong`].
    pub const WRONG: usize = 5;
    /// x0 of the reply that was wrong.
    pub const X0: usize = 6;
    /// x2 of it, or what else helps.
    pub const X2: usize = 7;
}

mod wrong {
    pub const REGISTERS: u64 = 1;
    pub const REPLY: u64 = 2;
    pub const PAYLOAD: u64 = 3;
    pub const FP: u64 = 4;
    pub const TIMER: u64 = 5;
}

fn blame(words: &mut Words, what: u64, reply: &Reply) {
    if words[word::WRONG] == 0 {
        words[word::WRONG] = what;
        words[word::X0] = reply.x(0);
        words[word::X2] = reply.x(2);
    }
}

fn no_blame(core: usize, words: &Words) -> TestResult {
    let (what, x0, x2) = (words[word::WRONG], words[word::X0], words[word::X2]);
    let what = match what {
        0 => return Ok(()),
        wrong::REGISTERS => "broke a rule of the registers",
        wrong::PAYLOAD => "had the payload of another answer",
        wrong::FP => "changed FP registers",
        wrong::TIMER => "was never interrupted",
        _ => "is not what the test wants",
    };
    fail!("a reply to core {core} {what}: x0={x0:#x} x2={x2:#x}")
}

/// A call on any core, with canaries in the registers that carry nothing.
fn call(words: &mut Words, request: Request) -> Reply {
    let reply = request.issue(Conduit::Smc, Canary::new(NWD));
    if rules::broken(&reply).is_some() {
        blame(words, wrong::REGISTERS, &reply);
    }
    reply
}

/// One call on each of `cores`, posted to all before any is waited for; x0, x1, x2, x3 and x7 of what came
/// back.
fn one_call(request: Request, core: &mut Core) -> TestResult<Words> {
    let mut words = [0; 8];
    words[..4].copy_from_slice(&request.x[..4]);
    core.post(
        |_, words| {
            let mut request = Request::new(words[0]);
            request.x[1..4].copy_from_slice(&words[1..4]);
            *words = [0; 8];
            let reply = call(words, request);
            words[..4].copy_from_slice(&reply.registers.x[..4]);
            words[4] = reply.x(7);
        },
        words,
    );
    let words = core.finish();
    no_blame(core.index(), &words)?;
    Ok(words)
}

fn refused(words: &Words, error: FfaError) -> TestResult {
    equal("x0", words[0], Function::Error.id(Width::W32))?;
    equal("the status", words[2], error.to_register())
}

fn hello(world: &NormalWorld, to: EndpointId) -> Request {
    Request::direct(Width::W64, world.id(), to, [command::HELLO, 0, 0, 0, 0])
}

fn answers_with_own_context(world: &NormalWorld, to: EndpointId, core: &mut Core) -> TestResult {
    let words = one_call(hello(world, to), core)?;
    equal("x0", words[0], Function::MsgSendDirectResp.id(Width::W64))?;
    equal("the context that answers", words[4], core.index() as u64)
}

fn w1_every_core_comes_on_once_and_finds_its_own_context(world: &mut NormalWorld) -> TestResult {
    /// PSCI's ALREADY_ON.
    const ALREADY_ON: i32 = -4;
    let (wide, count) = wide(world)?;
    for mut core in others(count)? {
        let again = cores::cpu_on(core.index());
        ensure!(again == ALREADY_ON, "a second CPU_ON returned {again}");
        answers_with_own_context(world, wide, &mut core)?;
    }
    let here = world.call(hello(world, wide));
    equal("the context that answers the boot core", here.x(7), 0)
}

fn r2_no_core_runs_the_context_of_another_one(world: &mut NormalWorld) -> TestResult {
    let (wide, count) = wide(world)?;
    for mut core in others(count)? {
        for context in 0..count {
            let words = one_call(Request::run(wide, context as u16), &mut core)?;
            if context == core.index() {
                equal("x0", words[0], Function::MsgWait.id(Width::W32))?;
            } else {
                refused(&words, FfaError::InvalidParameters)?;
            }
        }
    }
    Ok(())
}

/// How often each core asks.
const ROUNDS: u64 = 100;

/// What [`slow_half`] makes of a value.
const fn answer(value: u64) -> u64 {
    !value.rotate_left(7)
}

/// Lets other cores go on while this partition is busy.
fn slow_half(_: &mut PartitionWorld, [value, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    counter::pause();
    Ok([answer(value), 0, 0, 0])
}

/// Asks the partition `to` and tells what it got: x0, x2, the half's status and its result.
fn ask_half(world: &mut PartitionWorld, [to, value, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    let payload = run_half(world.case(), 0, [value, 0, 0]);
    let reply = world.direct(Width::W64, EndpointId(to as u16), payload);
    Ok([reply.x(0), reply.x(2), reply.x(3), reply.x(4)])
}

/// Asks the partition in word 0, which has a context of this core's own, and the one in word 1 by turns.
/// With word 2 set, the first is asked to ask the second. Word 3 is the case. Words afterwards: answers of
/// the first, answers of the second, BUSY of the second.
fn ask_by_turns(index: usize, words: &mut Words) {
    let [own, shared, chain, case, ..] = *words;
    let (own, shared) = (EndpointId(own as u16), EndpointId(shared as u16));
    *words = [0; 8];
    for round in 0..ROUNDS {
        // Cores that take turns at each pause would meet in the same order for ever.
        for _ in 0..(index as u64 + 1) * round % 5 {
            counter::pause();
        }
        let value = (index as u64) << 48 | round << 8 | 0xa5;
        let slow = run_half(case as usize, 0, [value, 0, 0]);
        let ask = run_half(case as usize, 1, [shared.0.into(), value, 0]);
        let first = if chain == 0 {
            [value, !value, value ^ 0xff, 0, 7]
        } else {
            ask
        };
        let reply = call(words, Request::direct(Width::W64, NWD, own, first));
        if !reply.is(Function::MsgSendDirectResp) || reply.sender() != own {
            blame(words, wrong::REPLY, &reply);
        } else if chain == 0 && reply.payload() != echo(Width::W64, first) {
            blame(words, wrong::PAYLOAD, &reply);
        } else {
            words[0] += 1;
        }
        let (x0, code, status, result, reply) = if chain == 0 {
            let reply = call(words, Request::direct(Width::W64, NWD, shared, slow));
            (reply.x(0), reply.x(2), reply.x(3), reply.x(4), reply)
        } else {
            (reply.x(4), reply.x(5), reply.x(6), reply.x(7), reply)
        };
        if x0 == Function::Error.id(Width::W32) && code == FfaError::Busy.to_register() {
            words[2] += 1;
        } else if x0 == Function::MsgSendDirectResp.id(Width::W64)
            && (status, result) == (status::OK, answer(value))
        {
            words[1] += 1;
        } else {
            blame(words, wrong::PAYLOAD, &reply);
        }
    }
}

fn all_ask(world: &mut NormalWorld, chain: u64) -> TestResult {
    let (wide, count) = wide(world)?;
    let shared = world.tester(Role::Secondary)?;
    let mut cores = others(count)?;
    let case = world.case() as u64;
    let arguments = [wide.0.into(), shared.0.into(), chain, case, 0, 0, 0, 0];
    for core in &mut cores {
        core.post(ask_by_turns, arguments);
    }
    let mut own = arguments;
    ask_by_turns(0, &mut own);
    let results = cores.iter_mut().map(|core| (core.index(), core.finish()));
    let all: ArrayVec<_, 8> = [(0, own)].into_iter().chain(results).collect();
    let mut busy = 0;
    for (index, words) in all {
        no_blame(index, &words)?;
        equal("the answers of a core's own context", words[0], ROUNDS)?;
        equal("answers and refusals", words[1] + words[2], ROUNDS)?;
        ensure!(words[1] > 0, "core {index} was never answered");
        busy += words[2];
    }
    ensure!(busy > 0, "no two cores ever met");
    Ok(())
}

fn c6_every_core_is_answered_or_told_busy_at_once(world: &mut NormalWorld) -> TestResult {
    all_ask(world, 0)
}

fn c6_chains_of_every_core_meet_in_one_partition(world: &mut NormalWorld) -> TestResult {
    all_ask(world, 1)
}

fn spin_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    counter::spin(counter::microseconds(LONG_SPIN));
    Ok([0x600d, 0, 0, 0])
}

fn c5_a_preempted_chain_is_refused_to_another_core(world: &mut NormalWorld) -> TestResult {
    let shared = world.tester(Role::Secondary)?;
    let Some(mut core) = Core::start(1) else {
        skip!("the machine has no second core")
    };
    let payload = run_half(world.case(), 0, [0; 3]);
    let interrupt = world.interrupted(Request::direct(Width::W64, NWD, shared, payload))?;
    refused(
        &one_call(Request::run(shared, 0), &mut core)?,
        FfaError::Denied,
    )?;
    refused(&one_call(hello(world, shared), &mut core)?, FfaError::Busy)?;
    let end = world.resume(&interrupt)?;
    let [result, ..] = world.results(shared, &end)?;
    equal("the result of the half", result, 0x600d)
}

/// Makes the request in words 0 to 6 (x1, x3 to x7) with this core's timer armed. Afterwards: how often it
/// was interrupted, w1 of the first FFA_INTERRUPT, x3 and x4 of the answer.
fn interrupted(words: &mut Words, request: Request) {
    let mut next = request;
    for round in 0..100 {
        if round == 0 {
            gic::enable(HYPERVISOR_TIMER_INTID);
            hypervisor_timer::arm(microseconds(INTERRUPT_AFTER));
        }
        let reply = call(words, next);
        hypervisor_timer::disarm();
        gic::disable(HYPERVISOR_TIMER_INTID);
        if reply.is(Function::Interrupt) {
            if words[0] == 0 {
                words[1] = reply.x(1);
            }
            words[0] += 1;
            next = Request::run(reply.sender(), reply.receiver().0);
            continue;
        }
        if words[0] == 0 {
            blame(words, wrong::TIMER, &reply);
        } else if !reply.is(Function::MsgSendDirectResp) {
            blame(words, wrong::REPLY, &reply);
        }
        (words[2], words[3]) = (reply.x(3), reply.x(4));
        return;
    }
}

fn spin_and_be_interrupted(_: usize, words: &mut Words) {
    let [to, case, ..] = *words;
    *words = [0; 8];
    let payload = run_half(case as usize, 0, [0; 3]);
    let request = Request::direct(Width::W64, NWD, EndpointId(to as u16), payload);
    interrupted(words, request);
}

fn k5_contexts_of_two_cores_are_preempted_at_once(world: &mut NormalWorld) -> TestResult {
    let (wide, count) = wide(world)?;
    let mut cores = others(count)?;
    let arguments = [wide.0.into(), world.case() as u64, 0, 0, 0, 0, 0, 0];
    for core in &mut cores {
        core.post(spin_and_be_interrupted, arguments);
    }
    let mut own = arguments;
    spin_and_be_interrupted(0, &mut own);
    let results = cores.iter_mut().map(|core| (core.index(), core.finish()));
    let all: ArrayVec<_, 8> = [(0, own)].into_iter().chain(results).collect();
    for (index, words) in all {
        no_blame(index, &words)?;
        let ids = u64::from(wide.0) << 16 | index as u64;
        equal("w1 of FFA_INTERRUPT", words[1], ids)?;
        equal("the half's result", words[3], 0x600d)?;
    }
    Ok(())
}

fn fill_fp_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    FpState::canaries(Canary::new(world.id())).load();
    world.fp = Some(FpState::current());
    Ok(NO_RESULTS)
}

fn check_fp_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let Some(expected) = &world.fp else {
        fail!("no FP canaries were set")
    };
    if let Some((name, expected, found)) = expected.difference(&FpState::current()) {
        fail!("{name} was {expected:#x} and came back as {found:#x}");
    }
    Ok(NO_RESULTS)
}

/// A half on this core with canaries in the FP registers.
fn half_with_fp(words: &mut Words, to: EndpointId, case: usize, half: usize) {
    FpState::canaries(Canary::new(NWD)).load();
    let before = FpState::current();
    let request = Request::direct(Width::W64, NWD, to, run_half(case, half, [0; 3]));
    let reply = call(words, request);
    if before.difference(&FpState::current()).is_some() {
        blame(words, wrong::FP, &reply);
    }
    if reply.x(3) != status::OK {
        blame(words, wrong::REPLY, &reply);
    }
}

/// Words 0 and 1: a partition with a context of this core's own, and the case.
fn use_fp(_: usize, words: &mut Words) {
    let [own, case, ..] = *words;
    *words = [0; 8];
    let own = EndpointId(own as u16);
    for half in [0, 1, 1, 0, 1] {
        half_with_fp(words, own, case as usize, half);
    }
}

/// The contexts of all cores and a partition that moves from core to core keep their registers, and so does
/// the normal world.
fn l3_fp_registers_are_kept_on_every_core(world: &mut NormalWorld) -> TestResult {
    let (wide, count) = wide(world)?;
    if !fp::present() {
        skip!("this core has no FP");
    }
    let mover = world.tester(Role::Secondary)?;
    let mut cores = others(count)?;
    let arguments = [wide.0.into(), world.case() as u64, 0, 0, 0, 0, 0, 0];
    for core in &mut cores {
        core.post(use_fp, arguments);
    }
    world.invoke(wide, 0, [0; 3])?;
    for core in &mut cores {
        world.invoke(wide, 1, [0; 3])?;
        no_blame(core.index(), &core.finish())?;
    }
    world.invoke(mover, 0, [0; 3])?;
    for core in &mut cores {
        core.post(
            |_, words| {
                let [to, case, ..] = *words;
                *words = [0; 8];
                half_with_fp(words, EndpointId(to as u16), case as usize, 1);
            },
            [mover.0.into(), world.case() as u64, 0, 0, 0, 0, 0, 0],
        );
        no_blame(core.index(), &core.finish())?;
        world.invoke(mover, 1, [0; 3])?;
    }
    world.no_state_change()
}

/// The context is not lost: when the core is back, it goes on there.
fn w2_a_core_goes_off_while_a_context_of_it_is_preempted(world: &mut NormalWorld) -> TestResult {
    let (wide, _) = wide(world)?;
    let single = world.tester(Role::Secondary)?;
    for to in [single, wide] {
        let Some(mut core) = Core::start(1) else {
            skip!("the machine has no second core")
        };
        core.post(
            |_, words| {
                let [to, case, ..] = *words;
                *words = [0; 8];
                let payload = run_half(case as usize, 0, [0; 3]);
                let request = Request::direct(Width::W64, NWD, EndpointId(to as u16), payload);
                gic::enable(HYPERVISOR_TIMER_INTID);
                hypervisor_timer::arm(microseconds(INTERRUPT_AFTER));
                let reply = call(words, request);
                hypervisor_timer::disarm();
                gic::disable(HYPERVISOR_TIMER_INTID);
                if !reply.is(Function::Interrupt) {
                    blame(words, wrong::REPLY, &reply);
                }
                words[0] = reply.x(1);
            },
            [to.0.into(), world.case() as u64, 0, 0, 0, 0, 0, 0],
        );
        let words = core.finish();
        no_blame(1, &words)?;
        ensure!(core.stop(), "core 1 did not go off");
        if to == single {
            world
                .direct(Width::W64, single, [0; 5])
                .refused(FfaError::Busy)?;
        }
        let Some(mut core) = Core::start(1) else {
            fail!("core 1 did not come on again")
        };
        let ids = words[0];
        let end = one_call(
            Request::run(EndpointId((ids >> 16) as u16), ids as u16),
            &mut core,
        )?;
        equal("x0", end[0], Function::MsgSendDirectResp.id(Width::W64))?;
        equal("x1", end[1], EndpointId::pair(to, NWD))?;
    }
    Ok(())
}

/// Where the contexts of a partition that call each other leave word of what they saw.
struct Seen(UnsafeCell<Words>);

// SAFETY: written by the job of one core, read when that is done.
unsafe impl Sync for Seen {}

static SEEN: Seen = Seen(UnsafeCell::new([0; 8]));

fn call_victim_half(world: &mut PartitionWorld, [victim, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    let payload = run_half(world.case(), 1, [0; 3]);
    let reply = world.direct(Width::W64, EndpointId(victim as u16), payload);
    Ok([reply.x(0), reply.x(2), 0, 0])
}

fn fault_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let (_, exception) = exception::expect(|| memory::load(foreign_address()));
    fail!("the partition went on after a data abort, {exception:?}");
}

/// A chain on core 1 (normal world, primary, victim) while the victim's other context ends the victim.
fn c7_a_fault_on_one_core_unwinds_the_chain_of_another(world: &mut NormalWorld) -> TestResult {
    let (wide, _) = wide(world)?;
    let Some(mut core) = Core::start(1) else {
        skip!("the machine has no second core")
    };
    let victim = world.wide_victim()?;
    core.post(
        |_, words| {
            let [to, case, victim, ..] = *words;
            *words = [0; 8];
            let payload = run_half(case as usize, 0, [victim, 0, 0]);
            let request = Request::direct(Width::W64, NWD, EndpointId(to as u16), payload);
            let reply = call(words, request);
            // SAFETY: the boot core looks at it when this is done.
            unsafe { (*SEEN.0.get()).copy_from_slice(&reply.registers.x[..8]) };
        },
        [
            wide.0.into(),
            world.case() as u64,
            victim.0.into(),
            0,
            0,
            0,
            0,
            0,
        ],
    );
    counter::spin(microseconds(LONG_SPIN / 4));
    ensure!(!core.is_done(), "the other core's chain ended early");
    let payload = run_half(world.case(), 2, [0; 3]);
    world
        .direct(Width::W64, victim, payload)
        .refused(FfaError::Aborted)?;
    let words = core.finish();
    no_blame(1, &words)?;
    // SAFETY: the core is done.
    let seen = unsafe { *SEEN.0.get() };
    equal("x0", seen[0], Function::MsgSendDirectResp.id(Width::W64))?;
    equal("the half's status", seen[3], status::OK)?;
    equal(
        "x0 of what the primary got",
        seen[4],
        Function::Error.id(Width::W32),
    )?;
    equal("its status", seen[5], FfaError::Aborted.to_register())?;
    refused(
        &one_call(hello(world, victim), &mut core)?,
        FfaError::Aborted,
    )?;
    refused(
        &one_call(Request::run(victim, 1), &mut core)?,
        FfaError::Aborted,
    )?;
    answers_with_own_context(world, wide, &mut core)
}

/// Leaves a note, and tells what the last one was.
fn note_half(world: &mut PartitionWorld, [note, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    let last = core::mem::replace(&mut world.notes[7], note);
    Ok([last, 0, 0, 0])
}

fn noted_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    Ok([world.notes[7], 0, 0, 0])
}

fn w6_a_core_goes_off_and_comes_on_again(world: &mut NormalWorld) -> TestResult {
    let (wide, _) = wide(world)?;
    let single = world.tester(Role::Secondary)?;
    world.invoke(single, 0, [0, 0, 0])?;
    world.invoke(wide, 0, [0, 0, 0])?;
    for round in 0..5 {
        let Some(mut core) = Core::start(1) else {
            skip!("the machine has no second core")
        };
        answers_with_own_context(world, wide, &mut core)?;
        // Its context is a new one, those of others are not.
        let note = |to: EndpointId| {
            let payload = run_half(world.case(), 0, [round + 1, 0, 0]);
            Request::direct(Width::W64, NWD, to, payload)
        };
        let (on_wide, on_single) = (note(wide), note(single));
        let last = note_on(on_wide, &mut core)?;
        equal("what the core's own context knows", last, 0)?;
        let last = note_on(on_single, &mut core)?;
        equal("what the single-core partition knows", last, round)?;
        ensure!(core.stop(), "the core did not go off");
        ensure!(!cores::is_on(1), "the core is on");
    }
    let [last, ..] = world.invoke(wide, 0, [0; 3])?;
    equal("what the boot core's context knows", last, 0)
}

/// The first result of a half that is called from another core.
fn note_on(request: Request, core: &mut Core) -> TestResult<u64> {
    let [_, x1, _, _, x4, x5, ..] = request.x;
    core.post(
        |_, words| {
            let [x1, which, argument, ..] = *words;
            *words = [0; 8];
            let payload = [command::RUN_HALF, which, argument, 0, 0];
            let to = EndpointId::low_half(x1);
            let reply = call(words, Request::direct(Width::W64, NWD, to, payload));
            if reply.x(3) != status::OK {
                blame(words, wrong::REPLY, &reply);
            }
            words[0] = reply.x(4);
        },
        [x1, x4, x5, 0, 0, 0, 0, 0],
    );
    let words = core.finish();
    no_blame(core.index(), &words)?;
    Ok(words[0])
}

/// Single-core partitions are not started again; the boot core's context of a multi-core one is.
fn w5_the_boot_core_goes_off_and_comes_on_again(world: &mut NormalWorld) -> TestResult {
    const NOTE: u64 = 0x0ff0_0ff0;
    let (wide, _) = wide(world)?;
    let single = world.tester(Role::Secondary)?;
    let Some(mut helper) = Core::start(1) else {
        skip!("the machine has no second core")
    };
    for _ in 0..2 {
        world.invoke(single, 0, [NOTE, 0, 0])?;
        world.invoke(wide, 0, [NOTE, 0, 0])?;
        ensure!(
            cores::restart_boot_core(&mut helper),
            "the boot core did not go off and come on"
        );
        let [kept, ..] = world.invoke(single, 1, [0; 3])?;
        equal("what the single-core partition knows", kept, NOTE)?;
        let [lost, ..] = world.invoke(wide, 1, [0; 3])?;
        equal("what the boot core's context knows", lost, 0)?;
        answers_with_own_context(world, wide, &mut helper)?;
    }
    world.no_state_change()
}

/// The tester whose manifest has `bulkhead,request-queue`.
fn queued(world: &NormalWorld) -> TestResult<EndpointId> {
    let id = EndpointId(0x8004);
    if !world.testers().iter().any(|tester| tester.id == id) {
        skip!("{id} is not there, or was aborted by an earlier test");
    }
    Ok(id)
}

/// Word 0 is the partition, word 1 the case. Afterwards word 0 is the number of answers.
fn ask_one_that_is_busy(core: usize, words: &mut Words) {
    const REQUESTS: u64 = 20;
    let [to, case, ..] = *words;
    *words = [0; 8];
    for round in 0..REQUESTS {
        let value = (core as u64) << 16 | round;
        let payload = run_half(case as usize, 0, [value, 0, 0]);
        let reply = call(
            words,
            Request::direct(Width::W64, NWD, EndpointId(to as u16), payload),
        );
        if !reply.is(Function::MsgSendDirectResp) || reply.x(3) != status::OK {
            blame(words, wrong::REPLY, &reply);
        } else if reply.x(4) != answer(value) {
            blame(words, wrong::PAYLOAD, &reply);
        } else {
            words[0] += 1;
        }
    }
}

/// Runs `job` on every core at once, for the partition with a queue; what each core's words are then.
fn on_every_core(
    world: &mut NormalWorld,
    job: fn(usize, &mut Words),
) -> TestResult<ArrayVec<Words, 8>> {
    let to = queued(world)?;
    let (_, count) = wide(world)?;
    let mut cores = others(count)?;
    let arguments = [to.0.into(), world.case() as u64, 0, 0, 0, 0, 0, 0];
    for core in &mut cores {
        core.post(job, arguments);
    }
    let mut own = arguments;
    job(0, &mut own);
    let mut all = ArrayVec::new();
    all.push(own);
    for mut core in cores {
        all.push(core.finish());
        let index = core.index();
        ensure!(core.stop(), "core {index} did not go off");
    }
    for (index, words) in all.iter().enumerate() {
        no_blame(index, words)?;
    }
    Ok(all)
}

/// None is told BUSY, and each gets its own answer.
fn e16_requests_of_every_core_wait_for_one_partition(world: &mut NormalWorld) -> TestResult {
    for words in on_every_core(world, ask_one_that_is_busy)? {
        equal("the answers", words[0], 20)?;
    }
    Ok(())
}

/// Each core's timer fires while it waits or is served; FFA_RUN goes on with either.
fn e16_a_request_that_waits_is_interrupted_and_goes_on(world: &mut NormalWorld) -> TestResult {
    for words in on_every_core(world, spin_and_be_interrupted)? {
        ensure!(words[0] > 0, "a core was not interrupted");
        equal("the status", words[2], status::OK)?;
        equal("the result", words[3], 0x600d)?;
    }
    Ok(())
}

/// What a window of the partition's stage 1 shows, one after the other, and then whether it is looked at.
static SHOWN: [memory::Page; 3] = [const { memory::Page::zeroed() }; 3];

/// Looks through the window at the first page until it shows the second one, for at most 200 ms.
fn look_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    stage1::enable();
    for (page, value) in SHOWN.iter().zip([1, 2, 0]) {
        page.write(0, [value]);
    }
    let window = stage1::window(0, SHOWN[0].address() | stage1::PAGE);
    let look = || memory::load(window) & 0xff;
    let first = look();
    SHOWN[2].write(0, [1]);
    let end = counter::now() + microseconds(200_000);
    while look() == first && counter::now() < end {}
    let last = look();
    stage1::disable();
    Ok([first, last, 0, 0])
}

/// Aims the window at the second page, once it is looked at, and invalidates this core's TLB.
fn aim_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let end = counter::now() + microseconds(200_000);
    while SHOWN[2].byte(0) == 0 {
        ensure!(counter::now() < end, "nobody looks through the window");
    }
    stage1::window(0, SHOWN[1].address() | stage1::PAGE);
    Ok(NO_RESULTS)
}

/// HCR_EL2.FB: what a partition invalidates on one core goes from all, whichever it ran on or runs on. (Between two
/// runs on a core this machine forgets all translations, so that the other core is in the partition here.)
fn x4_a_local_invalidation_of_a_partition_reaches_every_core(
    world: &mut NormalWorld,
) -> TestResult {
    let (wide, _) = wide(world)?;
    let Some(mut core) = Core::start(1) else {
        skip!("the machine has no second core")
    };
    let [_, case, _, _, which, ..] =
        Request::direct(Width::W64, NWD, wide, run_half(world.case(), 1, [0; 3])).x;
    core.post(
        |_, words| {
            let [to, which, ..] = *words;
            *words = [0; 8];
            let payload = [command::RUN_HALF, which, 0, 0, 0];
            let to = EndpointId::low_half(to);
            let reply = call(words, Request::direct(Width::W64, NWD, to, payload));
            if reply.x(3) != status::OK {
                blame(words, wrong::REPLY, &reply);
            }
            words[0] = reply.x(4);
            words[1] = reply.x(5);
        },
        [case, which, 0, 0, 0, 0, 0, 0],
    );
    let aimed = world.invoke(wide, 0, [0; 3]);
    let words = core.finish();
    no_blame(1, &words)?;
    aimed?;
    equal("the first page", words[0], 1)?;
    equal("the second page", words[1], 2)?;
    ensure!(core.stop(), "core 1 did not go off");
    Ok(())
}
