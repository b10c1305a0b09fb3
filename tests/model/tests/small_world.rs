// SPDX-License-Identifier: MIT OR Apache-2.0
//! The small worlds, to the last state.
use bulkhead_model::call::{Outcome, Request};
use bulkhead_model::explore::{Edge, Letter, explore};
use bulkhead_model::small::{calls, read_at_once, releases, touches, world};
use bulkhead_model::world::World;
use std::collections::BTreeSet;

#[test]
fn every_state_of_the_small_world_keeps_the_invariants() {
    let mut refused = 0;
    let mut succeeded = BTreeSet::new();
    let report = explore(&world(0, 1), calls, read_at_once, |edge| {
        refused += usize::from(edge.before == edge.after);
        if !matches!(edge.outcome, Outcome::Error(_) | Outcome::Fault) {
            succeeded.insert(match &edge.letter.call.request {
                Request::Send(_) => "send",
                Request::FragTx(_) => "FRAG_TX",
                Request::Retrieve(_) => "retrieve",
                Request::Relinquish(_) => "relinquish",
                Request::Reclaim(_) => "reclaim",
                Request::Death => "death",
                Request::FragRx(_) => "FRAG_RX",
                _ => "other",
            });
        }
    });
    let report = report.unwrap_or_else(|broken| panic!("{broken:#?}"));
    println!(
        "two partitions, normal world, 4 pages, 2 handles: {report:?}, {refused} without effect"
    );
    assert_eq!(
        succeeded,
        BTreeSet::from([
            "send",
            "FRAG_TX",
            "FRAG_RX",
            "retrieve",
            "relinquish",
            "reclaim",
            "death"
        ])
    );
}

#[test]
fn two_cores_never_see_what_a_call_took_away() {
    let alphabet = |world: &World| {
        let one_page = |letter: &Letter| match &letter.call.request {
            Request::Send(send) => send.count == 1,
            _ => true,
        };
        let mut letters: Vec<_> = calls(world).into_iter().filter(one_page).collect();
        letters.extend(touches(&[0]));
        letters.extend(releases());
        letters
    };
    let mut world = world(2, 1);
    world.slots.truncate(1);
    let mut cached = 0;
    let count = |edge: &Edge| cached += usize::from(edge.after.cores.iter().all(Option::is_some));
    let report =
        explore(&world, alphabet, |_| {}, count).unwrap_or_else(|broken| panic!("{broken:#?}"));
    println!("two cores that load and store: {report:?}");
    assert!(cached > 0, "both cores had a translation at once");
}
