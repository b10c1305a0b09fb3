// SPDX-License-Identifier: MIT OR Apache-2.0
//! Partitions that end with interrupts pending or active, or with a timer set: I16 and I4 of the abuse cases.

use bulkhead_abi::{FfaError, Function, Width};
use bulkhead_payload::counter::{self, microseconds};
use bulkhead_payload::devices::Device;
use bulkhead_payload::{Request, cores, gic};

use super::cases_of_driver;
use super::driver::flag;
use super::halves::half;
use super::scene::{Part, counts, event, half_request, prepare, progress, quiet, route};
use crate::ensure;
use crate::normal_world::NormalWorld;
use crate::outcome::{TestResult, Verdict, equal};
use crate::protocol::Caller;

cases_of_driver! {
    i16_a_partition_that_ends_takes_its_timers_with_it;
    i4_a_partition_that_never_stops_handling_its_interrupt_loses_the_core;
    i16_a_partition_that_ends_with_an_interrupt_active_leaves_it_disabled;
}

/// How much of the normal world's time counts as all of it, in percent.
const ALL: u64 = 90;
/// How long that is measured, in microseconds.
const TIME: u64 = 20_000;
/// `bulkhead,run-timeout-ms` of the partition with the GPIO block, in microseconds.
const RUN_TIMEOUT: u64 = 50_000;
/// The schedule receiver interrupt.
const SCHEDULE_RECEIVER: u32 = 8;

/// The normal world makes as many steps as before, though a device's interrupt is asserted that nobody takes.
#[track_caller]
fn undisturbed(calm: u64, device: Device) -> TestResult {
    let [steps, _] = progress(TIME);
    ensure!(device.is_raised(), "somebody cleared the interrupt");
    ensure!(
        steps >= calm * ALL / 100,
        "the normal world made {steps} steps instead of {calm}"
    );
    Ok(())
}

fn i16_a_partition_that_ends_takes_its_timers_with_it(world: &mut NormalWorld) -> TestResult {
    for timer in [0, 1] {
        let id = world.spare()?;
        prepare(world, id, flag::TIMERS | flag::UNMASKED, None)?;
        world.invoke(id, half::ARM, [timer, microseconds(2_000), 0])?;
        let fault = half_request(world, id, half::FAULT, [0; 3]);
        world.call(fault).refused(FfaError::Aborted)?;
        counter::spin(microseconds(5_000));
        world
            .direct(Width::W64, id, [0; 5])
            .refused(FfaError::Aborted)?;
    }
    world.no_state_change()
}

/// Its handler does not clear the cause, with interrupts unmasked: it never comes to FFA_MSG_WAIT. Its time is over,
/// and it is ended if it had not deactivated the interrupt just then, or else left to the normal world's scheduler.
fn i4_a_partition_that_never_stops_handling_its_interrupt_loses_the_core(
    world: &mut NormalWorld,
) -> TestResult {
    let clock = Part::Clock.id(world)?;
    let id = Part::Gpio.id(world)?;
    let flags = flag::STUCK | flag::UNMASKED;
    prepare(world, id, flags, Some(Device::Gpio))?;
    route(world, id, Device::Gpio, 0)?;
    let [calm, _] = progress(TIME);
    let begin = counter::now();
    Device::Gpio.raise();
    counter::spin(microseconds(RUN_TIMEOUT));
    let took = counter::now().wrapping_sub(begin);
    ensure!(
        took < microseconds(3 * RUN_TIMEOUT),
        "the normal world stood for {took} ticks"
    );
    undisturbed(calm, Device::Gpio)?;
    for core in (0..4).filter(|&core| cores::exists(core)) {
        gic::withdraw(core, SCHEDULE_RECEIVER);
    }
    prepare(world, clock, 0, Some(Device::Rtc))?;
    event(Device::Rtc)?;
    counts(world, clock)?.are_of_device(1)?;
    quiet(world, clock)?;
    if world
        .direct(Width::W64, id, [0; 5])
        .is_error(FfaError::Aborted)
    {
        world.victim_named(id.0)?;
        return Ok(());
    }
    Device::Gpio.clear();
    world
        .call(Request::run(id, 0))
        .returned(Function::MsgWait)?;
    prepare(world, id, 0, Some(Device::Gpio))?;
    event(Device::Gpio)?;
    counts(world, id)?.are_of_device(1)?;
    quiet(world, id)
}

fn i16_a_partition_that_ends_with_an_interrupt_active_leaves_it_disabled(
    world: &mut NormalWorld,
) -> TestResult {
    let id = Part::Clock.id(world)?;
    let [calm, _] = progress(TIME);
    prepare(world, id, 0, Some(Device::Rtc))?;
    world.victim_named(id.0)?;
    let fault = half_request(world, id, half::FAULT, [1, 0, 0]);
    world.call(fault).refused(FfaError::Aborted)?;
    undisturbed(calm, Device::Rtc)?;
    Device::Rtc.clear();
    Device::Rtc.raise();
    undisturbed(calm, Device::Rtc)?;
    let plain = Part::Plain.id(world)?;
    let reply = world.direct(Width::W64, plain, [1, 2, 3, 4, 5]);
    equal("x3 of an answer of another partition", reply.x(3), !1)
}
