// SPDX-License-Identifier: MIT OR Apache-2.0
//! The small worlds, to the last state.
use bulkhead_model::call::Request;
use bulkhead_model::explore::{Letter, explore};
use bulkhead_model::small::{calls, read_at_once, releases, touches, world};
use bulkhead_model::world::World;

#[test]
fn every_state_of_the_small_world_keeps_the_invariants() {
    let mut refused = 0;
    let report = explore(&world(0, 2), calls, read_at_once, |edge| {
        refused += usize::from(edge.before == edge.after);
    });
    let report = report.unwrap_or_else(|broken| panic!("{broken:#?}"));
    println!(
        "two partitions, normal world, 4 pages, 2 handles: {report:?}, {refused} without effect"
    );
    assert!(report.states > 1);
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
    let report =
        explore(&world, alphabet, |_| {}, |_| {}).unwrap_or_else(|broken| panic!("{broken:#?}"));
    println!("two cores that load and store: {report:?}");
    assert!(report.states > 1);
}
