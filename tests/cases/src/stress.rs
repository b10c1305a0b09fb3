// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every core of the normal world asks every partition at once, in every form, with canaries in all
//! registers, while its timer interrupts it: C6, CV1, CV3, CV5, L3, L4, W2 and W6.
//!
//! `seconds=N` on the command line is how long [`cv_stress_under_interrupts_loses_no_reply`]
//! runs, in seconds of the machine's counter, and `cycles=N` how many times
//! [`w6_cores_go_off_and_on_under_traffic`] switches a core off and on.

mod partition;
mod worker;

use core::sync::atomic::Ordering;

use arrayvec::ArrayVec;
use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::{EndpointId, FfaError, Function, Version, Width};
use bulkhead_payload::cores::{self, Core};
use bulkhead_payload::counter::{self, microseconds};
use bulkhead_payload::entry::CORES;
use bulkhead_payload::println;
use bulkhead_payload::system_register::{Values, World};
use bulkhead_payload::{Canary, Conduit, Request};

use crate::normal_world::{NormalWorld, Role};
use crate::outcome::{TestResult, Verdict, equal};
use crate::protocol::{Caller, run_half, status};
use crate::{cases, ensure, fail, skip};

use partition::{report_half, work_half};
use worker::{Own, Plan, Random, SHARED, Tally, Target, drain, list_request, work};

cases! {
    cv_stress_under_interrupts_loses_no_reply: [work_half, report_half];
    w6_cores_go_off_and_on_under_traffic: [work_half, report_half];
}

/// The halves' numbers, which both tests share.
const WORK: usize = 0;
const REPORT: usize = 1;

const NWD: EndpointId = EndpointId::NORMAL_WORLD;
/// Bits of [`work_half`]'s flags: the partition spins.
const SPINS: u64 = 1;
/// The next link is asked with a 32-bit message.
const NARROW: u64 = 2;

/// What [`work_half`] makes of a value, which has 32 bits.
const fn answer(value: u64) -> u64 {
    (!value).rotate_left(7) & 0x7fff_ffff
}

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
    // Bulkhead has fewer than 200 pages for tables: with a page lost in each of 1,000 cycles none is left to map with.
    world.ffa(Function::RxtxUnmap, []).succeeded()?;
    world.map_mailbox(Width::W64).succeeded()?;
    world.no_state_change()
}
