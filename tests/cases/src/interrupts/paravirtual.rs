// SPDX-License-Identifier: MIT OR Apache-2.0
//! The paravirtual interrupt calls: I6 to I9 and I14 of the abuse cases, C-12 and C-14 of the features.

use bulkhead_abi::paravirt::{FAILURE, INTID_IPI, INTID_TIMER, NO_INTERRUPT, Paravirt, SUCCESS};
use bulkhead_abi::{Function, Width};
use bulkhead_payload::counter::{self, microseconds};
use bulkhead_payload::devices::Device;
use bulkhead_payload::timers::Timer;
use bulkhead_payload::{Request, gic, virtual_interrupts};

use super::cases_of_driver;
use super::driver::{count, flag};
use super::halves::{SPUN, half};
use super::scene::{
    Part, counts, counts_on, event, half_request, has_gic, invoke_on, paravirtual, prepare, quiet,
    results_of, second_core, settled, start_on,
};
use crate::normal_world::NormalWorld;
use crate::outcome::{TestResult, Verdict, equal};
use crate::protocol::Caller;
use crate::{ensure, skip};

cases_of_driver! {
    i9_fetching_where_nothing_is_pending_returns_the_spurious_constant;
    i6_deactivating_what_is_not_active_is_refused;
    i7_deactivating_another_virtual_than_physical_interrupt_is_refused;
    i8_reconfiguring_what_is_not_owned_or_illegal_is_refused;
    i8_a_disabled_interrupt_stays_pending_and_comes_once_when_enabled;
    c12_interrupts_are_fetched_in_the_order_in_which_they_came;
    i14_an_ipi_to_a_context_that_does_not_exist_is_refused;
    i14_an_ipi_to_itself_is_taken;
    i14_an_ipi_reaches_a_context_that_runs_on_another_core;
    i14_an_ipi_to_a_waiting_context_raises_the_schedule_receiver_interrupt;
}

const RTC: u64 = 34;
const GPIO: u64 = 39;
const TARGET_PE: u64 = 0;
const SECURITY_STATE: u64 = 1;
const ENABLE: u64 = 2;
/// The schedule receiver interrupt.
const SCHEDULE_RECEIVER: u32 = 8;

fn i9_fetching_where_nothing_is_pending_returns_the_spurious_constant(
    world: &mut NormalWorld,
) -> TestResult {
    const BY_SMC: u64 = 1 << 32;
    for part in [Part::Clock, Part::Plain, Part::Wide] {
        let id = part.id(world)?;
        quiet(world, id)?;
        for conduit in [0, BY_SMC] {
            let call = Paravirt::InterruptGet.id() | conduit;
            let [x0, ..] = world.invoke(id, half::CALL, [call, 0, 0])?;
            equal("x0, all of its 64 bits", x0, NO_INTERRUPT)?;
        }
    }
    Ok(())
}

/// Never signalled, another partition's, and twice.
fn i6_deactivating_what_is_not_active_is_refused(world: &mut NormalWorld) -> TestResult {
    let owner = Part::Clock.id(world)?;
    prepare(world, owner, 0, Some(Device::Rtc))?;
    let others = [
        GPIO,
        40,
        32,
        1019,
        1020,
        1023,
        8191,
        0xffff_ffff,
        27 | 1 << 8,
    ];
    for intid in others.into_iter().chain([RTC]) {
        let call = [intid, intid, 0];
        let x0 = paravirtual(world, owner, Paravirt::InterruptDeactivate, call)?;
        equal("x0 of what was never signalled", x0, FAILURE)?;
    }
    let [first, second, ..] = world.invoke(owner, half::TWICE, [0; 3])?;
    equal("whether the first deactivation was accepted", first, 1)?;
    equal("whether the second one was", second, 0)?;
    prepare(world, owner, 0, Some(Device::Rtc))?;
    event(Device::Rtc)?;
    counts(world, owner)?.are_of_device(1)?;
    quiet(world, owner)
}

fn i7_deactivating_another_virtual_than_physical_interrupt_is_refused(
    world: &mut NormalWorld,
) -> TestResult {
    let owner = Part::Clock.id(world)?;
    prepare(world, owner, 0, Some(Device::Rtc))?;
    for call in [
        [RTC, RTC + 1, 0],
        [RTC + 1, RTC, 0],
        [RTC, 0, 0],
        [0, RTC, 0],
    ] {
        let x0 = paravirtual(world, owner, Paravirt::InterruptDeactivate, call)?;
        equal("x0", x0, FAILURE)?;
    }
    event(Device::Rtc)?;
    counts(world, owner)?.are_of_device(1)?;
    quiet(world, owner)
}

fn i8_reconfiguring_what_is_not_owned_or_illegal_is_refused(world: &mut NormalWorld) -> TestResult {
    let (owner, plain) = (Part::Clock.id(world)?, Part::Plain.id(world)?);
    let other = Part::Gpio.id(world)?;
    prepare(world, owner, 0, Some(Device::Rtc))?;
    prepare(world, other, 0, Some(Device::Gpio))?;
    let refused = |world: &mut NormalWorld, id, call, what: &str| {
        equal(
            what,
            paravirtual(world, id, Paravirt::InterruptReconfigure, call)?,
            FAILURE,
        )
    };
    for command in [TARGET_PE, SECURITY_STATE, ENABLE] {
        for value in [0, 1] {
            refused(
                world,
                plain,
                [RTC, command, value],
                "x0 of what is another's",
            )?;
            refused(
                world,
                owner,
                [GPIO, command, value],
                "x0 of what is another's",
            )?;
            for intid in [0, 8, 27, 30, 33, 1023, 4096, 8191] {
                refused(
                    world,
                    owner,
                    [intid, command, value],
                    "x0 of what is nobody's",
                )?;
            }
        }
    }
    for core in [8, 0xff, 0xffff_ffff] {
        refused(
            world,
            owner,
            [RTC, TARGET_PE, core],
            "x0 of a core that is not there",
        )?;
    }
    for state in [1, 2, 0xffff_ffff] {
        refused(
            world,
            owner,
            [RTC, SECURITY_STATE, state],
            "x0 of a security state",
        )?;
    }
    for command in [3, 4, 0xffff_ffff] {
        refused(
            world,
            owner,
            [RTC, command, 1],
            "x0 of a command that is none",
        )?;
    }
    for (device, id) in [(Device::Rtc, owner), (Device::Gpio, other)] {
        event(device)?;
        counts(world, id)?.are_of_device(1)?;
        quiet(world, id)?;
    }
    Ok(())
}

fn i8_a_disabled_interrupt_stays_pending_and_comes_once_when_enabled(
    world: &mut NormalWorld,
) -> TestResult {
    let owner = Part::Clock.id(world)?;
    for way in [flag::UNMASKED, 0] {
        prepare(world, owner, way, Some(Device::Rtc))?;
        for round in 1..=3 {
            let off = paravirtual(
                world,
                owner,
                Paravirt::InterruptReconfigure,
                [RTC, ENABLE, 0],
            )?;
            equal("x0 of disabling", off, SUCCESS)?;
            Device::Rtc.raise();
            counter::spin(microseconds(2000));
            ensure!(
                Device::Rtc.is_raised(),
                "an interrupt that is disabled came"
            );
            let on = paravirtual(
                world,
                owner,
                Paravirt::InterruptReconfigure,
                [RTC, ENABLE, 1],
            )?;
            equal("x0 of enabling", on, SUCCESS)?;
            settled(Device::Rtc)?;
            counts(world, owner)?.are_of_device(round)?;
        }
        quiet(world, owner)?;
    }
    Ok(())
}

/// Every order of an IPI or the virtual timer, the physical timer, and the device or an IPI.
fn c12_interrupts_are_fetched_in_the_order_in_which_they_came(
    world: &mut NormalWorld,
) -> TestResult {
    let (owner, wide) = (Part::Clock.id(world)?, Part::Wide.id(world)?);
    let (physical, ipi) = (u64::from(INTID_TIMER), u64::from(INTID_IPI));
    let virtual_timer = u64::from(Timer::Virtual.intid());
    // Of one priority, a GIC has them in the order of their numbers.
    let by_number = has_gic(world, owner)?;
    prepare(world, owner, flag::TIMERS, Some(Device::Rtc))?;
    prepare(world, wide, flag::TIMERS, None)?;
    for (id, third) in [(owner, RTC), (wide, ipi)] {
        let all = [physical, virtual_timer, third];
        for [a, b, c] in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            let order = [all[a], all[b], all[c]];
            let mut expected = order;
            if by_number {
                expected.sort_unstable_by_key(|intid| virtual_interrupts::number(*intid as u32));
            }
            let [order, expected] = [order, expected].map(|[a, b, c]| a | b << 8 | c << 16);
            let [fetched, ..] = world.invoke(id, half::ORDER, [order, 0, 0])?;
            equal("the order", fetched, expected)?;
        }
    }
    // One pending bit each.
    let [fetched, ..] = world.invoke(wide, half::ORDER, [ipi | ipi << 8 | ipi << 16, 0, 0])?;
    equal("what three IPIs at once are", fetched, ipi)?;
    for id in [owner, wide] {
        counts(world, id)?.are_clean()?;
        quiet(world, id)?;
    }
    Ok(())
}

fn i14_an_ipi_to_a_context_that_does_not_exist_is_refused(world: &mut NormalWorld) -> TestResult {
    for (part, contexts) in [(Part::Wide, 4), (Part::Clock, 1)] {
        let id = part.id(world)?;
        if has_gic(world, id)? {
            skip!("an SGI to a CPU that does not exist is nobody's");
        }
        prepare(world, id, flag::TIMERS, None)?;
        for context in [contexts, contexts + 1, 0xff, 0xffff, 0xffff_ffff, 1 << 32] {
            let x0 = paravirtual(world, id, Paravirt::SendIpi, [context, 0, 0])?;
            equal("x0", x0, FAILURE)?;
        }
        counts(world, id)?.has(count::IPI, "IPIs", 0)?;
        quiet(world, id)?;
    }
    Ok(())
}

fn i14_an_ipi_to_itself_is_taken(world: &mut NormalWorld) -> TestResult {
    const TIMES: u64 = 10;
    let wide = Part::Wide.id(world)?;
    for way in [flag::UNMASKED, flag::UNMASKED | flag::FIQ] {
        prepare(world, wide, flag::TIMERS | way, None)?;
        for _ in 0..TIMES {
            let x0 = paravirtual(world, wide, Paravirt::SendIpi, [0, 0, 0])?;
            equal("x0", x0, SUCCESS)?;
        }
        let counts = counts(world, wide)?;
        counts.has(count::IPI, "IPIs", TIMES)?;
        let line = if way & flag::FIQ == 0 {
            count::IRQS
        } else {
            count::FIQS
        };
        counts.has(line, "exceptions on the line", TIMES)?;
        counts.are_clean()?;
        quiet(world, wide)?;
    }
    Ok(())
}

fn i14_an_ipi_reaches_a_context_that_runs_on_another_core(world: &mut NormalWorld) -> TestResult {
    const TIMES: u64 = 20;
    let wide = Part::Wide.id(world)?;
    let mut core = second_core()?;
    prepare(world, wide, flag::TIMERS, None)?;
    let flags = flag::TIMERS | flag::UNMASKED;
    invoke_on(&mut core, world, wide, half::PREPARE, [flags, 0, 0])?;
    start_on(
        &mut core,
        half_request(world, wide, half::SPIN, [30_000, 0, 0]),
    );
    counter::spin(microseconds(5_000));
    for _ in 0..TIMES {
        let x0 = paravirtual(world, wide, Paravirt::SendIpi, [1, 0, 0])?;
        equal("x0", x0, SUCCESS)?;
        counter::spin(microseconds(500));
    }
    ensure!(
        !core.is_done(),
        "the other context did not run all the time"
    );
    let [spun, ..] = results_of(&mut core)?;
    equal("the result of the other context", spun, SPUN)?;
    let there = counts_on(&mut core, world, wide)?;
    there.has(count::IPI, "IPIs on the other core", TIMES)?;
    there.are_clean()?;
    counts(world, wide)?.has(count::IPI, "IPIs on this core", 0)?;
    invoke_on(&mut core, world, wide, half::PREPARE, [0; 3])?;
    quiet(world, wide)
}

fn i14_an_ipi_to_a_waiting_context_raises_the_schedule_receiver_interrupt(
    world: &mut NormalWorld,
) -> TestResult {
    let wide = Part::Wide.id(world)?;
    if has_gic(world, wide)? {
        skip!("Bulkhead enters a context that gets an SGI");
    }
    let mut core = second_core()?;
    prepare(world, wide, flag::TIMERS, None)?;
    invoke_on(&mut core, world, wide, half::PREPARE, [flag::TIMERS, 0, 0])?;
    // Who was told before and did not ask is not told again.
    let info = Request::ffa(Function::NotificationInfoGet, Width::W64);
    while world.call(info).is(Function::Success) {}
    gic::withdraw(0, SCHEDULE_RECEIVER);
    let x0 = paravirtual(world, wide, Paravirt::SendIpi, [1, 0, 0])?;
    equal("x0", x0, SUCCESS)?;
    ensure!(
        gic::is_pending(0, SCHEDULE_RECEIVER),
        "the schedule receiver interrupt is not pending"
    );
    gic::withdraw(0, SCHEDULE_RECEIVER);
    let reply = world.call(info).succeeded()?;
    equal("whom to run", reply.x(3), 1 << 16 | u64::from(wide.0))?;
    // Its scheduler runs it.
    start_on(&mut core, Request::run(wide, 1));
    let [x0, ..] = core.finish();
    equal("x0 of FFA_RUN", x0, Function::MsgWait.id(Width::W32))?;
    let there = counts_on(&mut core, world, wide)?;
    there.has(count::IPI, "IPIs on the other core", 1)?;
    there.are_clean()?;
    invoke_on(&mut core, world, wide, half::PREPARE, [0; 3])?;
    quiet(world, wide)
}
