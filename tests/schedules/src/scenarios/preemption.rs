// SPDX-License-Identifier: MIT OR Apache-2.0
//! Claim, preempt, yield and resume (A-76, C4, R3, R11, R12).

use bulkhead_abi::FfaError;

use super::all_on;
use crate::program::{Deed, status};
use crate::rest::settle;
use crate::world::{Core, Outcome, Spec, at_once, choose, pick};

/// Two cores ask for and run the same two partitions, which are interrupted here and there.
pub fn r3_r11_r12_two_cores_claim_preempt_and_resume() {
    const LISTS: [&[Deed]; 5] = [
        &[Deed::Ask(1), Deed::Overrun],
        &[Deed::Interrupt],
        &[Deed::Interrupt, Deed::Interrupt],
        &[Deed::Ask(1), Deed::Interrupt],
        &[Deed::Interrupt, Deed::Ask(1), Deed::Interrupt],
    ];
    let asked_one = choose(&[Spec::Single, Spec::Queued]);
    let cores = all_on(&[Spec::Single, asked_one], 2);
    let (cores, left) = at_once(cores, |core| {
        for _ in 0..2 {
            match pick(3) {
                0 => ran(core.run(0)),
                1 => ran(core.run(1)),
                _ => asked(core.ask(0, choose(&LISTS))),
            }
        }
        // The last request may stay preempted for as long as it likes.
        (pick(2) == 0).then(|| core.start(0, choose(&LISTS)))
    });
    let mut cores = cores;
    crate::rest::check(&cores);
    for (core, left) in cores.iter_mut().zip(left) {
        resumed(core, left);
    }
    settle(cores);
}

/// Two cores ask for the same two partitions, which yield here and there, and each resumes its own chains.
pub fn a76_r3_two_cores_yield_and_resume() {
    const LISTS: [&[Deed]; 4] = [
        &[Deed::Yield],
        &[Deed::Ask(1), Deed::Yield],
        &[Deed::Yield, Deed::Ask(1), Deed::Interrupt, Deed::Yield],
        &[Deed::Ask(1), Deed::Yield, Deed::Yield],
    ];
    let asked_one = choose(&[Spec::Single, Spec::Queued]);
    let cores = all_on(&[Spec::Single, asked_one], 2);
    let (cores, _) = at_once(cores, |core| {
        asked(core.ask(0, choose(&LISTS)));
        match pick(3) {
            0 => ran(core.run(0)),
            1 => ran(core.run(1)),
            _ => asked(core.ask(1, &[Deed::Yield])),
        }
    });
    settle(cores);
}

/// Three cores run the same execution context, whose partition waits (R11, R12).
pub fn r11_r12_three_cores_run_one_context() {
    let cores = all_on(&[Spec::Single], 3);
    let (cores, results) = at_once(cores, |core| core.run(0));
    for result in &results {
        ran(*result);
    }
    assert!(results.contains(&Ok(())), "nobody ran it: {results:?}");
    settle(cores);
}

fn resumed(core: &mut Core, left: Option<(u64, bulkhead_abi::Registers)>) {
    if let Some((token, reply)) = left {
        asked(core.resume(token, reply));
    }
}

/// Another core may have it, or its chain.
fn ran(result: Result<(), FfaError>) {
    assert!(
        matches!(result, Ok(()) | Err(FfaError::Busy | FfaError::Denied)),
        "{result:?}"
    );
}

fn asked(outcome: Outcome) {
    match outcome {
        Outcome::Error(FfaError::Busy) | Outcome::Answer(0) => {}
        Outcome::Answer(result) => assert_eq!(result, status(FfaError::Busy)),
        Outcome::Error(refused) => panic!("{refused:?}"),
    }
}
