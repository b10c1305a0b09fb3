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
const SPECS: [Spec; 3] = [
    Spec::MultiDoing(&[Deed::Ask(SINGLE)]),
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

/// A core comes on while the partition that it brings up ends, by what it does there or by a fault on
/// the core that is on (W1, K8, K11).
pub fn w1_k8_k11_a_partition_ends_while_a_core_comes_on() {
    const STARTS: [&[Deed]; 5] = [
        &[Deed::Ask(SINGLE)],
        &[Deed::Fault],
        &[Deed::Overrun],
        &[Deed::Ask(SINGLE), Deed::Overrun],
        &[Deed::Ask(SINGLE), Deed::Overrun, Deed::Overrun],
    ];
    const LISTS: [&[Deed]; 4] = [
        &[Deed::Interrupt],
        &[Deed::Ask(SINGLE)],
        &[Deed::Ask(SINGLE), Deed::Interrupt],
        &[Deed::Fault],
    ];
    let start = choose(&STARTS);
    let specs = [
        Spec::MultiDoing(start),
        Spec::MultiWithoutEntry,
        Spec::Single,
    ];
    let (cores, _) = at_once(boot(&specs, 2), |core| match core.index() {
        0 => {
            let list = choose(&LISTS);
            let outcome = core.ask(MULTI, list);
            let [busy, aborted] = [FfaError::Busy, FfaError::Aborted].map(status);
            let fine = match outcome {
                Outcome::Error(refused) => refused == FfaError::Aborted,
                Outcome::Answer(result) => {
                    !list.contains(&Deed::Fault) && [0, busy, aborted].contains(&result)
                }
            };
            assert!(fine, "{list:?} ended with {outcome:?}");
        }
        _ => core.switch_on(),
    });
    let asks = start.contains(&Deed::Ask(SINGLE));
    assert!(asks || cores[0].world.is_ended(MULTI), "K11: {start:?}");
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
