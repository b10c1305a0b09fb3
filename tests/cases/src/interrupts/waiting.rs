// SPDX-License-Identifier: MIT OR Apache-2.0
//! A partition that keeps interrupts of others waiting, and whose own are left to the normal world's scheduler: C-03,
//! C-08 and A-87 of the features.

use bulkhead_abi::{FfaError, Function, Width};
use bulkhead_payload::board::HYPERVISOR_TIMER_INTID;
use bulkhead_payload::counter::{self, hypervisor_timer, microseconds};
use bulkhead_payload::{Request, gic};

use super::cases_of_driver;
use super::driver::{count, flag};
use super::halves::{SPUN, half};
use super::scene::{Part, counts, prepare, quiet};
use crate::ensure;
use crate::normal_world::NormalWorld;
use crate::outcome::{TestResult, Verdict, equal};
use crate::protocol::Caller;

cases_of_driver! {
    c08_an_interrupt_waits_for_a_partition_that_queues_those_of_others;
    c03_a_non_secure_interrupt_waits_for_a_partition_that_queues_it;
    a87_an_interrupt_of_one_that_waits_is_left_to_the_scheduler;
}

/// In microseconds.
const SOON: u64 = 1_000;
/// The schedule receiver interrupt.
const SCHEDULE_RECEIVER: u32 = 8;

/// A timer of the plain partition is due while the patient one runs.
fn c08_an_interrupt_waits_for_a_partition_that_queues_those_of_others(
    world: &mut NormalWorld,
) -> TestResult {
    let (busy, other) = (Part::Patient.id(world)?, Part::Plain.id(world)?);
    for timer in [0, 1] {
        prepare(world, other, flag::TIMERS, None)?;
        world.invoke(other, half::ARM, [timer, microseconds(SOON), 0])?;
        let [spun, ..] = world.invoke(busy, half::SPIN, [5 * SOON, 0, 0])?;
        equal("the result", spun, SPUN)?;
        let counts = counts(world, other)?;
        counts.has(
            count::PHYSICAL + timer as usize,
            "how often its timer fired",
            1,
        )?;
        counts.has(count::ENTRIES, "entries by FFA_INTERRUPT", 1)?;
        let late = counts.0[count::PHYSICAL_LATE + timer as usize];
        ensure!(
            late > microseconds(2 * SOON),
            "it came {late} ticks late only"
        );
        quiet(world, other)?;
    }
    Ok(())
}

fn c03_a_non_secure_interrupt_waits_for_a_partition_that_queues_it(
    world: &mut NormalWorld,
) -> TestResult {
    let id = Part::Patient.id(world)?;
    let before = gic::priorities();
    gic::enable(HYPERVISOR_TIMER_INTID);
    hypervisor_timer::arm(microseconds(SOON));
    let result = world.invoke(id, half::SPIN, [5 * SOON, 0, 0]);
    let (due, taken) = (hypervisor_timer::is_due(), gic::take());
    hypervisor_timer::disarm();
    gic::disable(HYPERVISOR_TIMER_INTID);
    let [spun, ..] = result?;
    equal("the result", spun, SPUN)?;
    ensure!(due, "the timer was not due");
    ensure!(
        taken == Some(HYPERVISOR_TIMER_INTID),
        "afterwards the normal world took {taken:?}"
    );
    super::scene::same_priorities(before)
}

fn a87_an_interrupt_of_one_that_waits_is_left_to_the_scheduler(
    world: &mut NormalWorld,
) -> TestResult {
    let id = Part::Patient.id(world)?;
    let info = Request::ffa(Function::NotificationInfoGet, Width::W64);
    // Who was told before and did not ask is not told again.
    while world.call(info).is(Function::Success) {}
    for timer in [0, 1] {
        prepare(world, id, flag::TIMERS, None)?;
        gic::withdraw(0, SCHEDULE_RECEIVER);
        world.invoke(id, half::ARM, [timer, microseconds(SOON), 0])?;
        ensure!(
            !gic::is_pending(0, SCHEDULE_RECEIVER),
            "the schedule receiver interrupt is pending early"
        );
        counter::spin(microseconds(3 * SOON));
        ensure!(
            gic::is_pending(0, SCHEDULE_RECEIVER),
            "the schedule receiver interrupt is not pending"
        );
        gic::withdraw(0, SCHEDULE_RECEIVER);
        let reply = world.call(info).succeeded()?;
        equal("whom to run", reply.x(3), id.0.into())?;
        world.call(info).refused(FfaError::NoData)?;
        world
            .call(Request::run(id, 0))
            .returned(Function::MsgWait)?;
        let counts = counts(world, id)?;
        counts.has(
            count::PHYSICAL + timer as usize,
            "how often its timer fired",
            1,
        )?;
        counts.has(count::ENTRIES, "entries by FFA_INTERRUPT", 0)?;
        counts.are_clean()?;
        quiet(world, id)?;
    }
    Ok(())
}
