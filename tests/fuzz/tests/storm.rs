// SPDX-License-Identifier: MIT OR Apache-2.0
//! Storms of interrupts (IR1 to IR6, I5, I16, K8): see `bulkhead_fuzz::storm`.

use bulkhead_fuzz::storm::{Counts, run};

/// In one world: at the end everybody behaves and everything must have been delivered.
const EVENTS: u64 = 3000;

fn storm(events: u64, seed: u64) -> Counts {
    let mut all = Counts::default();
    for world in 0.. {
        if all.events >= events {
            break;
        }
        let seed = seed << 32 | world;
        let counts = std::panic::catch_unwind(|| run(seed, EVENTS));
        let counts = counts.unwrap_or_else(|_| panic!("the world of seed {seed:#x}"));
        all = all.and(counts);
    }
    println!("{all:#?}");
    all
}

#[test]
fn ir1_ir2_ir5_ir6_hold_in_a_storm() {
    let all = storm(2_000_000, 1);
    // Everything that it is about did happen.
    let few = [
        all.entered,
        all.unblocked,
        all.in_normal_world,
        all.told,
        all.timers,
        all.requests,
        all.cores_off,
        all.unowned,
        all.acknowledged,
        all.sgis,
    ];
    assert!(few.iter().all(|count| *count > 100), "{all:?}");
    assert!(all.delivered > 1000 && all.faults > 10, "{all:?}");
}

/// `cargo test --release -p bulkhead-fuzz --test storm -- --ignored --nocapture`; BULKHEAD_SEED chooses others.
#[test]
#[ignore = "ten million"]
fn ir1_ir2_ir5_ir6_hold_for_ten_million_events() {
    let seed = std::env::var("BULKHEAD_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok()).unwrap_or(1);
    storm(10_000_000, seed);
}

/// A partition that was entered while it awaited an answer ended while another one handled an interrupt, and whoever
/// went on for it kept non-secure interrupts waiting without a bound.
#[test]
fn k5_who_goes_on_for_a_partition_that_ended_has_a_bound() {
    run(0x4d_0000_074e, EVENTS);
}

/// A partition with a GIC that was told to leave kept that interrupt after it had left, until the core that had told it
/// returned to the normal world; another core ran it then, and was not told that what the interrupt hid shows now.
#[test]
fn ir6_who_has_left_is_not_told_to_leave_any_more() {
    run(0x5_0000_03b4, EVENTS);
}
