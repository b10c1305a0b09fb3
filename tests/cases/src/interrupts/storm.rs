// SPDX-License-Identifier: MIT OR Apache-2.0
//! All at once, on every core: devices that interrupt and are re-targeted, timers, IPIs, notifications, messages and
//! chains, idle partitions, preemption, and partitions that crash. In the end everything that was raised was delivered,
//! once. CV, CI and I5 of the abuse cases.
//!
//! `seconds=N` on the command line is how long, in seconds of the machine's counter.

pub(super) mod partition;
mod worker;

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering};

use arrayvec::ArrayVec;
use bulkhead_abi::{EndpointId, Function, Width};
use bulkhead_payload::cores::{self, Core};
use bulkhead_payload::counter::{self, microseconds};
use bulkhead_payload::devices::Device;
use bulkhead_payload::entry::CORES;
use bulkhead_payload::system_register::{Values, World};
use bulkhead_payload::{Request, gic, println};

use super::cases_of_driver;
use super::driver::{COUNTS, count, flag};
use super::halves::half;
use super::scene::{
    Counts, NWD, Part, counts, counts_on, half_request, has_gic, invoke_on, results_of, route,
    same_priorities, settled, start_on,
};
use crate::ensure;
use crate::normal_world::NormalWorld;
use crate::outcome::{TestResult, Verdict, equal};
use crate::protocol::Caller;

use worker::{Own, Tally, work};

cases_of_driver! {
    cv_storm_of_interrupts_loses_and_doubles_nothing;
}

/// How long without `seconds=`, in microseconds: with one core, where an instruction takes a nanosecond, and with more.
const TIME: [u64; 2] = [600_000, 2_000_000];
/// How many partitions crash at most.
const VICTIMS: usize = 12;
/// The devices, in the order of [`Shared::turns`].
const DEVICES: [(Device, Part); 2] = [(Device::Rtc, Part::Clock), (Device::Gpio, Part::Gpio)];
/// The partitions that are asked.
const PARTS: [Part; 5] = [
    Part::Clock,
    Part::Plain,
    Part::Wide,
    Part::Gpio,
    Part::Managed,
];
/// The notifications that the normal world signals, one after the other.
const NOTIFICATIONS: u64 = 0xff;
/// The schedule receiver interrupt.
const SCHEDULE_RECEIVER: u32 = 8;

/// What all cores need to know.
struct Plan {
    case: usize,
    cores: usize,
    registers: Values,
    victims: ArrayVec<EndpointId, VICTIMS>,
    /// Contexts of [`Part::Wide`] are entered for SGIs, and may use their time up: one that locks keep waiting, as under
    /// `--icount`, where a core that waits runs for whole slices, is then left to the scheduler.
    gic: bool,
    begin: u64,
    end: u64,
}

/// What cores share. Before they are set to work, and after, only the boot core touches it.
struct Shared {
    plan: UnsafeCell<Option<Plan>>,
    own: [UnsafeCell<Own>; CORES],
    /// The core that may raise the interrupt of each device next: it passes this on, so that no two cores do.
    turns: [AtomicU64; DEVICES.len()],
}

// SAFETY: while cores work, nobody writes the plan, and each writes its own part of `own` only.
unsafe impl Sync for Shared {}

static SHARED: Shared = Shared {
    plan: UnsafeCell::new(None),
    own: [const { UnsafeCell::new(Own::new(1)) }; CORES],
    turns: [const { AtomicU64::new(0) }; DEVICES.len()],
};

/// Sets the drivers up, and what partitions are signalled by.
fn prepare_all(world: &mut NormalWorld, others: &mut [Core]) -> TestResult {
    let flags = flag::TIMERS | flag::UNMASKED | flag::MANAGED_EXIT | flag::FP;
    for part in PARTS {
        let id = part.id(world)?;
        let device = DEVICES.iter().find(|(_, owner)| *owner == part);
        let intid = device.map_or(0, |(device, _)| device.intid());
        world.invoke(id, half::PREPARE, [flags | flag::NOTIFIED, intid.into(), 0])?;
        world.invoke(id, half::BIND, [NWD.0.into(), NOTIFICATIONS, 1])?;
        if part == Part::Wide {
            for core in others.iter_mut() {
                invoke_on(core, world, id, half::PREPARE, [flags, 0, 0])?;
            }
        }
    }
    Ok(())
}

/// All chains are done: what is still pending comes, and the drivers are at rest.
fn come_to_rest(world: &mut NormalWorld, others: &mut [Core]) -> TestResult {
    counter::spin(microseconds(30_000));
    // Those whom Bulkhead left to the scheduler.
    for part in PARTS {
        let id = part.id(world)?;
        world
            .call(Request::run(id, 0))
            .returned(Function::MsgWait)?;
        if part == Part::Wide {
            for core in others.iter_mut() {
                start_on(core, Request::run(id, core.index() as u16));
                let [x0, ..] = core.finish();
                equal("x0 of FFA_RUN", x0, Function::MsgWait.id(Width::W32))?;
            }
        }
    }
    for core in 0..=others.len() {
        gic::withdraw(core, SCHEDULE_RECEIVER);
    }
    for (device, _) in DEVICES {
        settled(device)?;
    }
    Ok(())
}

/// The counts of all contexts of a partition together.
fn all_counts(world: &mut NormalWorld, others: &mut [Core], part: Part) -> TestResult<Counts> {
    let id = part.id(world)?;
    let mut sum = counts(world, id)?;
    if part == Part::Wide {
        for core in others.iter_mut() {
            let more = counts_on(core, world, id)?;
            for index in (0..COUNTS).filter(|index| *index != count::ENTRY_INTID) {
                sum.0[index] += more.0[index];
            }
        }
    }
    Ok(sum)
}

/// What all cores together did.
fn total(cores: usize) -> TestResult<Tally> {
    let mut sum = Tally::default();
    for (index, own) in SHARED.own.iter().enumerate().take(cores) {
        // SAFETY: the core does not work.
        let own = unsafe { &*own.get() };
        println!("[storm] core {index}: {}", own.tally);
        if let Some(what) = own.wrong {
            crate::fail!("on core {index}: {what}");
        }
        ensure!(own.tally.answers > 0, "core {index} was never answered");
        sum.add(&own.tally);
    }
    Ok(sum)
}

fn check(sum: &Tally, part: Part, counts: &Counts) -> TestResult {
    let (armed, fired) = (
        counts.0[count::ARMED],
        counts.0[count::PHYSICAL] + counts.0[count::VIRTUAL],
    );
    println!(
        "[storm] {part:?}: {} device interrupts, {fired} of {armed} timers, {} IPIs, {} notifications pending, {} \
         managed exits, {} entries",
        counts.0[count::DEVICE],
        counts.0[count::IPI],
        counts.0[count::NOTIFICATION],
        counts.0[count::MANAGED_EXIT],
        counts.0[count::ENTRIES],
    );
    equal("timers that fired, of those that were set", fired, armed)?;
    let device = DEVICES.iter().position(|(_, owner)| *owner == part);
    let raised = device.map_or(0, |device| sum.raised[device]);
    counts.has(
        count::DEVICE,
        "device interrupts delivered, of those raised",
        raised,
    )?;
    let mut counts = *counts;
    if part == Part::Managed {
        // A managed exit is over when the partition loses the core, which may be on the way to its handler.
        counts.0[count::SPURIOUS] =
            counts.0[count::SPURIOUS].saturating_sub(counts.0[count::MANAGED_EXIT]);
    }
    counts.are_clean()?;
    if part == Part::Wide {
        let ipis = counts.0[count::IPI];
        ensure!(
            ipis <= sum.ipis && (ipis > 0 || sum.ipis == 0),
            "{} IPIs were sent, {ipis} came",
            sum.ipis
        );
    } else {
        counts.has(count::IPI, "IPIs", 0)?;
    }
    Ok(())
}

fn cv_storm_of_interrupts_loses_and_doubles_nothing(world: &mut NormalWorld) -> TestResult {
    let usual = TIME[usize::from(cores::exists(1))];
    let time = world.seconds.map_or(usual, |seconds| seconds * 1_000_000);
    let mut others: ArrayVec<Core, CORES> = (1..4).filter_map(Core::start).collect();
    let there = (1..4).filter(|&index| cores::exists(index)).count();
    equal(
        "other cores that came on",
        others.len() as u64,
        there as u64,
    )?;
    let before = gic::priorities();
    let wide = Part::Wide.id(world)?;
    let has_gic = has_gic(world, wide)?;
    prepare_all(world, &mut others)?;
    let mut victims = ArrayVec::new();
    while !victims.is_full() {
        match world.spare() {
            Ok(id) => victims.push(id),
            Err(_) => break,
        }
    }
    let begin = counter::now();
    let cores = others.len() + 1;
    // SAFETY: no core works yet.
    unsafe {
        *SHARED.plan.get() = Some(Plan {
            case: world.case(),
            cores,
            registers: Values::probe(World::Normal),
            victims: victims.clone(),
            gic: has_gic,
            begin,
            end: begin + microseconds(time),
        });
        for (seed, own) in (1u64..).zip(&SHARED.own) {
            *own.get() = Own::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
    }
    for turn in &SHARED.turns {
        turn.store(0, Ordering::Relaxed);
    }
    for core in &mut others {
        core.post(work, [0; 8]);
    }
    work(0, &mut [0; 8]);
    for core in &mut others {
        core.finish();
    }
    let sum = total(cores)?;
    for &victim in victims.iter().skip(sum.crashes as usize) {
        world.spare_again(victim);
    }
    come_to_rest(world, &mut others)?;
    same_priorities(before)?;
    for part in PARTS {
        let counts = all_counts(world, &mut others, part)?;
        check(&sum, part, &counts)?;
    }
    for (device, owner) in DEVICES {
        let owner = owner.id(world)?;
        route(world, owner, device, 0)?;
    }
    for part in PARTS {
        let id = part.id(world)?;
        world.invoke(id, half::BIND, [NWD.0.into(), NOTIFICATIONS, 0])?;
        world.invoke(id, half::PREPARE, [0; 3])?;
        if part == Part::Wide {
            for core in &mut others {
                start_on(core, half_request(world, id, half::PREPARE, [0; 3]));
                results_of(core)?;
            }
        }
    }
    ensure!(sum.interrupts > 0, "nothing was ever preempted");
    world.no_state_change()
}
