// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests that wait for a busy partition (E-16).

use bulkhead_abi::FfaError;

use super::all_on;
use crate::program::{Deed, status};
use crate::rest::settle;
use crate::world::{Core, Outcome, Spec, at_once, choose};

/// What a request asks for: an answer at once, or after an interrupt.
const LISTS: [&[Deed]; 2] = [&[], &[Deed::Interrupt]];

/// Nothing waits any more.
fn is_empty(cores: &[Core]) {
    for partition in cores[0].world.spmc.partitions() {
        assert_eq!(partition.queued(), 0, "E-16: a request is left");
    }
}

/// Three cores ask one partition, twice each: there is room for all, so none is told BUSY.
pub fn e16_three_cores_wait_for_one_partition() {
    let cores = all_on(&[Spec::Waited(2)], 3);
    let (cores, _) = at_once(cores, |core| {
        for _ in 0..2 {
            let outcome = core.ask(0, choose(&LISTS));
            assert_eq!(outcome, Outcome::Answer(0), "E-16");
        }
    });
    is_empty(&cores);
    settle(cores);
}

/// Two cores ask two partitions, and these each other. The normal world waits, a partition does not.
pub fn e16_two_cores_wait_and_cross() {
    let cores = all_on(&[Spec::Waited(1), Spec::Waited(1)], 2);
    let (cores, outcomes) = at_once(cores, |core| {
        let own = core.index();
        core.ask(own, &[Deed::Ask(1 - own)])
    });
    let busy = status(FfaError::Busy);
    for outcome in outcomes {
        assert!(
            matches!(outcome, Outcome::Answer(result) if result == 0 || result == busy),
            "E-16: {outcome:?}"
        );
    }
    is_empty(&cores);
    settle(cores);
}

/// The partition ends while cores wait for it, or come to.
pub fn e16_k8_a_partition_ends_while_cores_wait() {
    let cores = all_on(&[Spec::Waited(2)], 3);
    let (cores, outcomes) = at_once(cores, |core| {
        let list: &[Deed] = match core.index() {
            0 => &[Deed::Interrupt, Deed::Fault],
            _ => choose(&LISTS),
        };
        core.ask(0, list)
    });
    assert_eq!(outcomes[0], Outcome::Error(FfaError::Aborted), "E-16");
    for outcome in &outcomes[1..] {
        let told = [Outcome::Answer(0), Outcome::Error(FfaError::Aborted)];
        assert!(told.contains(outcome), "E-16: {outcome:?}");
    }
    is_empty(&cores);
    settle(cores);
}

/// One place for two cores that come while a third is served.
pub fn e16_a_queue_is_full() {
    let cores = all_on(&[Spec::Waited(1)], 3);
    let (cores, outcomes) = at_once(cores, |core| core.ask(0, choose(&LISTS)));
    let busy = Outcome::Error(FfaError::Busy);
    let refused = outcomes.iter().filter(|outcome| **outcome == busy).count();
    assert!(refused <= 1, "E-16: {outcomes:?}");
    let answered = |outcome: &&Outcome| **outcome == Outcome::Answer(0);
    assert_eq!(
        outcomes.iter().filter(answered).count(),
        3 - refused,
        "E-16"
    );
    is_empty(&cores);
    settle(cores);
}
