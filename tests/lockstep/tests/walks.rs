// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random calls, the model as oracle.
//!
//! `BULKHEAD_WALKS` is `FIRST..LAST`, the seeds of the walks.

use std::env;
use std::thread;

use bulkhead_lockstep::walk::Walk;

#[test]
fn tx_random_calls_agree_with_the_model() {
    let seeds = env::var("BULKHEAD_WALKS").unwrap_or_else(|_| "1..100".into());
    let (first, last) = seeds.split_once("..").expect("FIRST..LAST");
    let [first, last] = [first, last].map(|seed| seed.parse::<u64>().expect("a number"));
    let threads = thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let (calls, injected) = thread::scope(|scope| {
        let walks = |thread| {
            let mut all = (0, 0);
            for seed in (first + thread..=last).step_by(threads as usize) {
                let walked = Walk::new(seed).run();
                let (served, injected) =
                    walked.unwrap_or_else(|what| panic!("seed {seed}: {what}"));
                all = (all.0 + served, all.1 + injected);
            }
            all
        };
        let all: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || walks(thread)))
            .collect();
        let served = all
            .into_iter()
            .map(|one| one.join().expect("no divergence"));
        served.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    });
    println!(
        "{calls} calls agree, seeds {first} to {last}; in {injected} of them an allocation failed"
    );
    assert!(injected * 1000 > calls, "few allocations failed");
}
