// SPDX-License-Identifier: MIT OR Apache-2.0
//! A partition with nothing to do gives the core back: F-07 of the features, R14 of the abuse cases.

use bulkhead_abi::{EndpointId, Function};
use bulkhead_payload::counter::{self, microseconds};
use bulkhead_payload::devices::Device;
use bulkhead_payload::{Reply, Request};

use super::cases_of_driver;
use super::driver::{count, flag};
use super::halves::{SPUN, half};
use super::scene::{Part, WAYS, counts, half_request, prepare, quiet, settled};
use crate::normal_world::NormalWorld;
use crate::outcome::{TestResult, Verdict, equal};
use crate::protocol::Caller;
use crate::{ensure, fail};

cases_of_driver! {
    f07_an_idle_partition_gives_the_core_back_until_its_deadline;
    f07_running_an_idle_partition_early_finds_it_idle;
    f07_an_idle_partition_without_a_deadline_wakes_for_its_device;
    f07_an_idle_partition_in_a_chain_gives_the_core_back;
    r14_each_wait_for_an_interrupt_is_one_yield;
    r14_a_wait_with_an_interrupt_pending_does_not_yield;
    r14_waits_for_events_do_not_yield;
}

/// How long a partition idles, in microseconds.
const TIME: u64 = 3_000;

/// An FFA_YIELD of this context; for how many nanoseconds.
#[track_caller]
fn yielded(reply: &Reply, id: EndpointId, context: u64) -> TestResult<u64> {
    ensure!(
        reply.is(Function::Yield),
        "an idle partition returned {reply}"
    );
    equal(
        "w1 of FFA_YIELD",
        reply.x(1),
        u64::from(id.0) << 16 | context,
    )?;
    for index in 4..8 {
        equal("an unused register of FFA_YIELD", reply.x(index), 0)?;
    }
    Ok(reply.x(2) | reply.x(3) << 32)
}

fn ticks(nanoseconds: u64) -> u64 {
    nanoseconds * microseconds(1_000) / 1_000_000
}

fn run(world: &mut NormalWorld, id: EndpointId) -> Reply {
    world.call(Request::run(id, 0))
}

fn f07_an_idle_partition_gives_the_core_back_until_its_deadline(
    world: &mut NormalWorld,
) -> TestResult {
    for part in [Part::Plain, Part::Wide] {
        let id = part.id(world)?;
        for timer in [0, 1] {
            for way in WAYS {
                prepare(world, id, flag::TIMERS | way, None)?;
                let idle = half_request(world, id, half::IDLE, [timer, microseconds(TIME), 0]);
                let begin = counter::now();
                let reply = world.call(idle);
                let left = ticks(yielded(&reply, id, 0)?);
                let asked = counter::now().wrapping_sub(begin);
                ensure!(
                    left <= microseconds(TIME) && left + asked >= microseconds(TIME),
                    "FFA_YIELD says {left} ticks, {asked} after the request"
                );
                ensure!(asked < microseconds(TIME), "the core was not given back");
                counter::spin(left);
                let reply = run(world, id);
                let [idled, ..] = world.results(id, &reply)?;
                equal("how often it waited", idled, 1)?;
                let counts = counts(world, id)?;
                counts.has(
                    count::PHYSICAL + timer as usize,
                    "how often its timer fired",
                    1,
                )?;
                counts.are_clean()?;
                quiet(world, id)?;
            }
        }
    }
    world.no_state_change()
}

fn f07_running_an_idle_partition_early_finds_it_idle(world: &mut NormalWorld) -> TestResult {
    let id = Part::Plain.id(world)?;
    prepare(world, id, flag::TIMERS | flag::UNMASKED, None)?;
    let idle = half_request(world, id, half::IDLE, [0, microseconds(5 * TIME), 0]);
    let mut reply = world.call(idle);
    let mut last = u64::MAX;
    let mut yields = 0;
    while reply.is(Function::Yield) {
        let left = yielded(&reply, id, 0)?;
        ensure!(left < last, "FFA_YIELD says {left} ns after {last}");
        last = left;
        yields += 1;
        counter::spin(microseconds(TIME / 2));
        reply = run(world, id);
    }
    let [idled, ..] = world.results(id, &reply)?;
    equal("how often it waited", idled, yields)?;
    ensure!((5..=20).contains(&yields), "it yielded {yields} times");
    counts(world, id)?.has(count::PHYSICAL, "how often its timer fired", 1)?;
    quiet(world, id)
}

/// Its interrupt waits for FFA_RUN, as that of a partition that was preempted does.
fn f07_an_idle_partition_without_a_deadline_wakes_for_its_device(
    world: &mut NormalWorld,
) -> TestResult {
    const DEVICE: u64 = 2;
    let id = Part::Clock.id(world)?;
    for way in WAYS {
        prepare(world, id, way, Some(Device::Rtc))?;
        let reply = world.call(half_request(world, id, half::IDLE, [DEVICE, 0, 0]));
        equal("w2 and w3 of FFA_YIELD", yielded(&reply, id, 0)?, 0)?;
        let reply = run(world, id);
        equal("w2 and w3 of FFA_YIELD", yielded(&reply, id, 0)?, 0)?;
        Device::Rtc.raise();
        let reply = run(world, id);
        let [idled, ..] = world.results(id, &reply)?;
        equal("how often it waited", idled, 2)?;
        settled(Device::Rtc)?;
        counts(world, id)?.are_of_device(1)?;
        quiet(world, id)?;
    }
    Ok(())
}

/// The normal world asked another one that awaits the idle one's answer.
fn f07_an_idle_partition_in_a_chain_gives_the_core_back(world: &mut NormalWorld) -> TestResult {
    let (first, idle) = (Part::Wide.id(world)?, Part::Plain.id(world)?);
    prepare(world, first, 0, None)?;
    prepare(world, idle, flag::TIMERS | flag::UNMASKED, None)?;
    let what = u64::from(idle.0) | (half::IDLE as u64) << 16;
    let reply = world.call(half_request(
        world,
        first,
        half::ASK,
        [what, 0, microseconds(TIME)],
    ));
    let left = ticks(yielded(&reply, idle, 0)?);
    ensure!(left <= microseconds(TIME), "FFA_YIELD says {left} ticks");
    world
        .direct(bulkhead_abi::Width::W64, first, [0; 5])
        .refused(bulkhead_abi::FfaError::Busy)?;
    counter::spin(left);
    let reply = run(world, idle);
    let [idled, ..] = world.results(first, &reply)?;
    equal("how often it waited", idled, 1)?;
    quiet(world, idle)?;
    quiet(world, first)
}

fn r14_each_wait_for_an_interrupt_is_one_yield(world: &mut NormalWorld) -> TestResult {
    const TIMES: u64 = 1000;
    let id = Part::Plain.id(world)?;
    quiet(world, id)?;
    let mut reply = world.call(half_request(world, id, half::HALT, [TIMES, 0, 0]));
    for yields in 0..=TIMES {
        if !reply.is(Function::Yield) {
            equal("how often it yielded", yields, TIMES)?;
            let [spun, ..] = world.results(id, &reply)?;
            return equal("the result", spun, SPUN);
        }
        equal("w2 and w3 of FFA_YIELD", yielded(&reply, id, 0)?, 0)?;
        reply = run(world, id);
    }
    fail!("it yielded more than {TIMES} times");
}

fn r14_a_wait_with_an_interrupt_pending_does_not_yield(world: &mut NormalWorld) -> TestResult {
    const PENDING: u64 = 1 << 32;
    let id = Part::Wide.id(world)?;
    prepare(world, id, flag::TIMERS, None)?;
    let [spun, ..] = world.invoke(id, half::HALT, [1000 | PENDING, 0, 0])?;
    equal("the result", spun, SPUN)?;
    counts(world, id)?.has(count::IPI, "IPIs", 1)?;
    quiet(world, id)
}

fn r14_waits_for_events_do_not_yield(world: &mut NormalWorld) -> TestResult {
    let id = Part::Plain.id(world)?;
    quiet(world, id)?;
    let [spun, ..] = world.invoke(id, half::HALT, [0, 1000, 0])?;
    equal("the result", spun, SPUN)
}
