// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random calls, the model as oracle.
//!
//! `BULKHEAD_WALKS` is `FIRST..LAST`, the seeds of walks of [`CALLS`] calls each.

use std::env;
use std::thread;

use bulkhead_lockstep::walk::{CALLS, Walk};

#[test]
fn tx_random_calls_agree_with_the_model() {
    let seeds = env::var("BULKHEAD_WALKS").unwrap_or_else(|_| "1..100".into());
    let (first, last) = seeds.split_once("..").expect("FIRST..LAST");
    let [first, last] = [first, last].map(|seed| seed.parse::<u64>().expect("a number"));
    let threads = thread::available_parallelism().map_or(1, |count| count.get() as u64);
    thread::scope(|scope| {
        let walks = |thread| {
            for seed in (first + thread..=last).step_by(threads as usize) {
                if let Err(what) = Walk::new(seed).run() {
                    panic!("seed {seed}: {what}");
                }
            }
        };
        let all: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || walks(thread)))
            .collect();
        for one in all {
            one.join().expect("no divergence");
        }
    });
    let calls = (last + 1 - first) * CALLS as u64;
    println!("{calls} calls agree, seeds {first} to {last}");
}
