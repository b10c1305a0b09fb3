// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs tests in the normal world and prints what became of them.

use core::fmt;
use core::ops::Range;

use bulkhead_payload::println;

use crate::case::NormalHalf;
use crate::normal_world::NormalWorld;
use crate::outcome::{Outcome, TestResult};
use crate::{NAMES, NORMAL_HALVES};

/// How a run ended; prints as its last line.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Totals {
    passed: u32,
    failed: u32,
    skipped: u32,
}

impl Totals {
    /// Prints and counts the result of a test.
    pub fn record(&mut self, name: &str, result: TestResult) {
        match result {
            Ok(()) => {
                self.passed += 1;
                println!("[test] {name} ... ok");
            }
            Err(outcome @ Outcome::Failed { .. }) => {
                self.failed += 1;
                println!("[test] {name} ... FAILED: {outcome}");
            }
            Err(outcome @ Outcome::Skipped { .. }) => {
                self.skipped += 1;
                println!("[test] {name} ... skipped: {outcome}");
            }
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(
            f,
            "[done] {passed} passed, {failed} failed, {skipped} skipped"
        )
    }
}

/// Those of `cases`, indexes of tests, whose name contains `filter`.
pub fn selected(cases: Range<usize>, filter: &str) -> impl Iterator<Item = usize> {
    cases.filter(move |&index| crate::name(index).contains(filter))
}

/// Prints the names of all tests.
pub fn list() {
    for name in NAMES {
        println!("[list] {name}");
    }
    println!("[list] done");
}

/// Runs those of `cases` whose name contains `filter`; all of them end as `world` did where that is an outcome.
pub fn run(
    cases: Range<usize>,
    filter: &str,
    mut world: Result<&mut NormalWorld, &Outcome>,
) -> Totals {
    let mut totals = Totals::default();
    for index in selected(cases, filter) {
        one(
            &mut totals,
            index,
            NAMES[index],
            NORMAL_HALVES[index],
            &mut world,
        );
    }
    totals
}

/// Runs the tests of one configuration.
pub fn run_suite(
    suite: &[(&str, NormalHalf)],
    mut world: Result<&mut NormalWorld, &Outcome>,
) -> Totals {
    let mut totals = Totals::default();
    for (name, half) in suite {
        one(&mut totals, usize::MAX, name, *half, &mut world);
    }
    totals
}

fn one(
    totals: &mut Totals,
    case: usize,
    name: &str,
    half: NormalHalf,
    world: &mut Result<&mut NormalWorld, &Outcome>,
) {
    let result = match world {
        Ok(world) => {
            world.begin(case);
            half(world).and_then(|()| world.end())
        }
        Err(outcome) => Err((*outcome).clone()),
    };
    totals.record(name, result);
}
