// SPDX-License-Identifier: MIT OR Apache-2.0
//! A million random calls, and mistakes that they find.
use bulkhead_model::call::{Outcome, Request};
use bulkhead_model::case_world::case_world;
use bulkhead_model::check::{Mistake, Rules};
use bulkhead_model::explore::{Broken, checked_step};
use bulkhead_model::walk::{Random, letter};
use std::collections::BTreeMap;

/// Calls before the world starts anew, as the dead stay dead.
const LIFE: usize = 2_000;

fn walk(rules: Rules, calls: usize, seed: u64) -> Result<BTreeMap<String, usize>, Box<Broken>> {
    let mut random = Random(seed);
    let mut world = case_world(4, 3);
    let mut counts = BTreeMap::new();
    for call in 0..calls {
        if call % LIFE == 0 {
            world = case_world(4, 3);
        }
        let letter = letter(&mut random, &world);
        let (after, outcome) = checked_step(&rules, &world, &letter)?;
        let name = match &letter.call.request {
            Request::Send(send) => format!("{:?}", send.kind),
            other => format!("{other:?}")
                .split(['(', ' '])
                .next()
                .unwrap_or_default()
                .to_owned(),
        };
        let result = match outcome {
            Outcome::Error(error) => format!("{error:?}"),
            Outcome::Fault => "fault".to_owned(),
            Outcome::Interrupt => "interrupt".to_owned(),
            _ => "success".to_owned(),
        };
        *counts.entry(format!("{name}: {result}")).or_insert(0) += 1;
        world = after;
    }
    Ok(counts)
}

#[test]
fn a_million_random_calls_keep_the_invariants() {
    let counts =
        walk(Rules::default(), 1_000_000, 7).unwrap_or_else(|broken| panic!("{broken:#?}"));
    for (name, count) in &counts {
        println!("{name} {count}");
    }
    for name in [
        "Share",
        "Lend",
        "Donate",
        "FragTx",
        "Retrieve",
        "FragRx",
        "Relinquish",
        "Reclaim",
        "Death",
    ] {
        assert!(
            counts
                .get(&format!("{name}: success"))
                .is_some_and(|count| *count > 50),
            "{name} too rare"
        );
    }
}

/// Each mistake in the rules, and an invariant that finds it.
const MISTAKES: &[(Mistake, &[&str])] = &[
    (Mistake::LenderKeepsMapping, &["O4", "O3"]),
    (Mistake::RelinquishLeavesLastPage, &["O2", "O4"]),
    (Mistake::ReclaimWidens, &["TX3"]),
    (Mistake::NoInvalidation, &["O14"]),
    (Mistake::NoGeneration, &["TX1", "TX3"]),
    (Mistake::NoWipe, &["O15"]),
    (Mistake::SpaceFromEndpoint, &["O10"]),
    (Mistake::NoRollback, &["O2", "TX5"]),
    (Mistake::ZeroesFirstPage, &["T20z"]),
    (Mistake::HoldForgotten, &["O4"]),
    (Mistake::Skip("S26"), &["O7", "TX3", "O4"]),
    (Mistake::Skip("S29"), &["O7", "O4"]),
    (Mistake::Skip("S32"), &["O6"]),
    (Mistake::Skip("S33"), &["O12"]),
    (Mistake::Skip("S38"), &["O5", "O3"]),
    (Mistake::Skip("T5"), &["O5", "O6", "O3"]),
    (Mistake::Skip("T13"), &["TX2", "O2", "O5"]),
    (Mistake::Skip("T20b"), &["TX3", "O2", "O4"]),
    (Mistake::Skip("T20"), &["TX3", "O4"]),
    (Mistake::Skip("TX6"), &["TX6"]),
];

#[test]
fn every_mistake_in_the_rules_is_found_by_an_invariant() {
    let mut missed = Vec::new();
    for (mistake, invariants) in MISTAKES {
        match walk(
            Rules {
                mistake: Some(*mistake),
            },
            400_000,
            11,
        ) {
            Err(broken) if invariants.contains(&broken.id) => {
                println!("{mistake:?}: {}", broken.id)
            }
            Err(broken) => missed.push(format!("{mistake:?} by {} instead", broken.id)),
            Ok(_) => missed.push(format!("{mistake:?} not")),
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}
