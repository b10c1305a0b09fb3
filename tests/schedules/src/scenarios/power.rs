// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cores come and go while others call and run (W1, W2, W5).

use bulkhead_abi::FfaError;

use crate::program::{Deed, status};
use crate::rest::{check, settle};
use crate::world::{Core, Outcome, Spec, at_once, boot, choose, pick};

/// The partition with a context on each core.
const MULTI: usize = 0;
/// One that says nothing of where its other contexts begin.
const NO_ENTRY: usize = 1;
/// The one with a single context.
const SINGLE: usize = 2;
const ABORTED: Outcome = Outcome::Error(FfaError::Aborted);
const SPECS: [Spec; 3] = [
    Spec::MultiAsking(SINGLE),
    Spec::MultiWithoutEntry,
    Spec::Single,
];

/// Core 0 calls and runs; the others come on, go off, with a preempted context or without, and come
/// on again.
pub fn w1_w2_w5_cores_come_and_go() {
    let (cores, _) = at_once(boot(&SPECS, 3), |core| match core.index() {
        0 => stays(core),
        _ => comes_and_goes(core),
    });
    check(&cores);
    settle(cores);
}

/// A core comes on while the partition that it brings up ends on another (W1, K8).
pub fn w1_k8_a_partition_ends_while_a_core_comes_on() {
    let (cores, _) = at_once(boot(&SPECS, 2), |core| match core.index() {
        0 => {
            let list = choose(&[&[Deed::Fault] as &[Deed], &[Deed::Ask(SINGLE), Deed::Fault]]);
            let outcome = core.ask(MULTI, list);
            // The single context, which is to fault then, is asked by the other core.
            let busy = Outcome::Answer(status(FfaError::Busy));
            assert!(outcome == ABORTED || list.len() > 1, "{outcome:?}");
            assert!([ABORTED, busy, Outcome::Answer(status(FfaError::Aborted))].contains(&outcome));
        }
        _ => core.switch_on(),
    });
    settle(cores);
}

fn stays(core: &mut Core) {
    for _ in 0..3 {
        match pick(4) {
            0 => match core.run_context(MULTI, 1) {
                Err(FfaError::InvalidParameters) => {}
                other => panic!("W1: core 0 runs core 1's context: {other:?}"),
            },
            1 => assert_eq!(core.ask(NO_ENTRY, &[]), Outcome::Answer(0)),
            2 => may_be_busy(core.ask(MULTI, &[Deed::Ask(SINGLE)])),
            _ => may_be_busy(core.ask(SINGLE, &[Deed::Interrupt])),
        }
    }
}

fn comes_and_goes(core: &mut Core) {
    core.switch_on();
    assert_eq!(
        core.ask(NO_ENTRY, &[]),
        Outcome::Error(FfaError::Busy),
        "W1: there is no entry"
    );
    assert_eq!(core.run(NO_ENTRY), Err(FfaError::Busy), "W1");
    let left = match pick(3) {
        0 => Some(core.start(
            MULTI,
            choose(&[&[Deed::Interrupt], &[Deed::Ask(SINGLE), Deed::Interrupt]]),
        )),
        1 => Some(core.start(SINGLE, &[Deed::Interrupt])),
        _ => None,
    };
    core.switch_off();
    core.switch_on();
    if pick(2) == 0 {
        // Said twice (W1): there is nothing left to bring up.
        core.switch_on();
    }
    if let Some((token, reply)) = left {
        // W2: what was preempted waits for its core.
        may_be_busy(core.resume(token, reply));
    }
    assert_eq!(core.ask(MULTI, &[]), Outcome::Answer(0));
}

/// The single context is another core's at this moment, or its result is fine.
fn may_be_busy(outcome: Outcome) {
    match outcome {
        Outcome::Answer(0) | Outcome::Error(FfaError::Busy) => {}
        Outcome::Answer(result) => assert_eq!(result, status(FfaError::Busy)),
        Outcome::Error(refused) => panic!("{refused:?}"),
    }
}
