// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs a scenario under many schedules.
//!
//! `BULKHEAD_SCHEDULES` is their number for each scenario, `BULKHEAD_SEED` chooses others, and
//! `BULKHEAD_REPLAY` runs only the schedule that a failure printed.

use std::env;
use std::str::FromStr;

use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, MaxSteps, Runner};

/// Schedules of each scenario where nobody says how many: a few seconds' worth.
const SCHEDULES: usize = 3000;
/// The most steps of a schedule; more is a livelock.
const STEPS: usize = 50_000;
/// The priority changes of a PCT schedule, plus one: a mistake that needs fewer turns of events than
/// this is found with a probability that has a lower bound.
const DEPTH: usize = 3;

/// Runs `scenario` under half of the schedules by a random scheduler, and half by PCT.
///
/// # Panics
/// When a schedule fails; the message has the schedule.
pub fn explore(name: &str, scenario: fn()) {
    if let Ok(schedule) = env::var("BULKHEAD_REPLAY") {
        run(ReplayScheduler::new_from_encoded(schedule.trim()), scenario);
        return;
    }
    let schedules = variable("BULKHEAD_SCHEDULES").unwrap_or(SCHEDULES);
    let seed = variable("BULKHEAD_SEED").unwrap_or(1);
    let half = schedules / 2;
    println!("{name}: {schedules} schedules, seed {seed}");
    let random = RandomScheduler::new_from_seed(seed, schedules - half);
    let pct = PctScheduler::new_from_seed(seed, DEPTH, half);
    let ran = run(random, scenario) + run(pct, scenario);
    assert_eq!(ran, schedules, "{name}");
}

fn variable<T: FromStr>(name: &str) -> Option<T> {
    let value = env::var(name).ok()?;
    let value = value.parse().ok();
    Some(value.unwrap_or_else(|| panic!("{name} is no number")))
}

fn run(scheduler: impl Scheduler + 'static, scenario: fn()) -> usize {
    let mut config = Config::new();
    config.stack_size = 0x4_0000;
    config.max_steps = MaxSteps::FailAfter(STEPS);
    // That relaxed accesses are explored as if they were not is known.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(scenario)
}
