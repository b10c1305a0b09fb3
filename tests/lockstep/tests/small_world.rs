// SPDX-License-Identifier: MIT OR Apache-2.0
//! The small world, every edge on the real core and its tables.

use bulkhead_lockstep::edges::Tour;

#[test]
fn every_edge_of_the_small_world_is_the_cores_too() {
    let report = Tour::new().run().unwrap_or_else(|what| panic!("{what}"));
    println!("two partitions, normal world, 4 pages, 2 handles, on the core: {report:?}");
    assert!(report.edges > 500_000, "the walk ends early: {report:?}");
}
