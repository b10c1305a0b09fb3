// SPDX-License-Identifier: MIT OR Apache-2.0
//! A partition ends on one core while others use it (C7, C8, K8, CV8).

use bulkhead_abi::{FfaError, Function, Width};
use bulkhead_sim::{assert_function, call};

use super::all_on;
use crate::machine::{NORMAL_MEMORY, PAGE};
use crate::program::{Deed, status};
use crate::rest::{check, settle};
use crate::world::{Core, Outcome, Spec, at_once, choose};

/// The partition that ends, with a context on each core.
const ENDS: usize = 0;
/// The one that goes on.
const STAYS: usize = 1;
const SPECS: [Spec; 2] = [Spec::Multi, Spec::Single];
const ABORTED: Outcome = Outcome::Error(FfaError::Aborted);

/// One core is in a chain with the partition, in any place of it, when it ends on the other core.
pub fn c7_c8_c10_k8_a_partition_ends_during_calls() {
    /// Who is asked, what it does, and what the head may answer if all goes well but for the end.
    const CALLS: [(usize, &[Deed]); 8] = [
        (ENDS, &[Deed::Ask(STAYS)]),
        (ENDS, &[Deed::Ask(STAYS), Deed::Interrupt]),
        (ENDS, &[Deed::Interrupt, Deed::Interrupt]),
        (ENDS, &[Deed::Map, Deed::List, Deed::Release]),
        (ENDS, &[Deed::Map, Deed::Unmap, Deed::Map]),
        (STAYS, &[Deed::Ask(ENDS)]),
        (STAYS, &[Deed::Ask(ENDS), Deed::Interrupt]),
        (STAYS, &[Deed::Interrupt, Deed::Ask(ENDS), Deed::Map]),
    ];
    const ENDINGS: [&[Deed]; 3] = [
        &[Deed::Fault],
        &[Deed::Interrupt, Deed::Fault],
        &[Deed::Map, Deed::Fault],
    ];
    let cores = all_on(&SPECS, 2);
    let (cores, _) = at_once(cores, |core| {
        if core.index() == 1 {
            assert_eq!(core.ask(ENDS, choose(&ENDINGS)), ABORTED, "C8");
            return;
        }
        let (head, list) = choose(&CALLS);
        let outcome = core.ask(head, list);
        let fine = match (head, outcome) {
            (_, Outcome::Answer(0)) => true,
            (ENDS, _) => outcome == ABORTED || is_mailbox(list, outcome),
            (_, Outcome::Answer(result)) => {
                result == status(FfaError::Aborted) || is_mailbox(list, outcome)
            }
            (_, Outcome::Error(_)) => false,
        };
        assert!(fine, "C7, C8: {head} with {list:?} ended with {outcome:?}");
    });
    assert!(cores[0].world.is_ended(ENDS) && !cores[0].world.is_ended(STAYS));
    settle(cores);
}

/// Whether the partition's other context had mapped the mailbox first.
fn is_mailbox(list: &[Deed], outcome: Outcome) -> bool {
    list.contains(&Deed::Map) && outcome == Outcome::Answer(status(FfaError::Denied))
}

/// The partition was preempted on one core, alone or in the middle of a chain, when it ends on the
/// other.
pub fn c7_a_partition_ends_while_it_is_preempted() {
    const CALLS: [(usize, &[Deed]); 4] = [
        (ENDS, &[Deed::Interrupt]),
        (ENDS, &[Deed::Ask(STAYS), Deed::Interrupt]),
        (STAYS, &[Deed::Ask(ENDS), Deed::Interrupt]),
        (STAYS, &[Deed::Interrupt, Deed::Ask(ENDS)]),
    ];
    let cores = all_on(&SPECS, 2);
    let (mut cores, left) = at_once(cores, |core| {
        if core.index() == 1 {
            assert_eq!(core.ask(ENDS, &[Deed::Fault]), ABORTED, "C8");
            return None;
        }
        let (head, list) = choose(&CALLS);
        Some((head, core.start(head, list)))
    });
    check(&cores);
    for (core, left) in cores.iter_mut().zip(left) {
        let Some((head, (token, reply))) = left else {
            continue;
        };
        // Whoever comes first at an ended partition gets the answer that is due.
        let outcome = core.resume(token, reply);
        let aborted = match head {
            ENDS => ABORTED,
            _ => Outcome::Answer(status(FfaError::Aborted)),
        };
        assert!(
            outcome == aborted || outcome == Outcome::Answer(0),
            "{outcome:?}"
        );
    }
    settle(cores);
}

/// Both contexts of the partition fault at once.
pub fn k8_a_partition_ends_on_two_cores_at_once() {
    let cores = all_on(&SPECS, 2);
    let (cores, _) = at_once(cores, |core| {
        let outcome = match core.index() {
            0 => core.ask(ENDS, &[Deed::Map, Deed::Fault]),
            _ => core.ask(ENDS, &[Deed::Fault]),
        };
        assert_eq!(outcome, ABORTED);
    });
    settle(cores);
}

/// The normal world asks for the list of partitions while one of them ends.
pub fn d8_the_list_of_partitions_while_one_ends() {
    let mut cores = all_on(&SPECS, 2);
    map_normal_world(&mut cores[0]);
    let (cores, _) = at_once(cores, |core| {
        if core.index() == 1 {
            assert_eq!(core.ask(ENDS, &[Deed::Fault]), ABORTED);
            return;
        }
        let count = core.list().expect("a list");
        assert!((1..=2).contains(&count), "{count} partitions");
    });
    settle(cores);
}

/// FFA_RXTX_MAP of two pages of the normal world.
fn map_normal_world(core: &mut Core) {
    let mut map = call([0; 8]);
    map.x[..4].copy_from_slice(&[
        Function::RxtxMap.id(Width::W64),
        NORMAL_MEMORY,
        NORMAL_MEMORY + PAGE,
        1,
    ]);
    assert_function(&core.call(&map), Function::Success);
}
