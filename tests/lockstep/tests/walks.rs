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
    let calls = thread::scope(|scope| {
        let walks = |thread| {
            let mut served = 0;
            for seed in (first + thread..=last).step_by(threads as usize) {
                let walked = Walk::new(seed).run();
                served += walked.unwrap_or_else(|what| panic!("seed {seed}: {what}"));
            }
            served
        };
        let all: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || walks(thread)))
            .collect();
        let served = all
            .into_iter()
            .map(|one| one.join().expect("no divergence"));
        served.sum::<usize>()
    });
    println!("{calls} calls agree, seeds {first} to {last}");
}
