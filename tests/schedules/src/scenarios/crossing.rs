// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls that cross (C1, C2, C6).

use bulkhead_abi::FfaError;

use super::all_on;
use crate::program::{Deed, status};
use crate::rest::settle;
use crate::world::{Outcome, Spec, at_once, pick};

/// A asks B on one core while B asks A on the other.
pub fn c6_two_cores_cross_calls() {
    let cores = all_on(&[Spec::Single, Spec::Single], 2);
    let (cores, outcomes) = at_once(cores, |core| {
        let own = core.index();
        core.ask(own, &[Deed::Ask(1 - own)])
    });
    let busy = status(FfaError::Busy);
    for (own, other) in [(0, 1), (1, 0)] {
        match outcomes[own] {
            Outcome::Answer(result) => assert!(result == 0 || result == busy),
            // The head is busy with the other's call, which reached it.
            Outcome::Error(FfaError::Busy) => assert_eq!(outcomes[other], Outcome::Answer(0)),
            Outcome::Error(refused) => panic!("{refused:?}"),
        }
    }
    settle(cores);
}

/// Each core runs a chain through three partitions in an order of its own; some come back to where
/// they began.
pub fn c1_c2_c6_chains_of_three_partitions() {
    let cores = all_on(&[Spec::Single, Spec::Single, Spec::Queued], 2);
    let (cores, _) = at_once(cores, |core| {
        let path: [usize; 4] = std::array::from_fn(|_| pick(3));
        let length = 1 + pick(path.len());
        let path = &path[..length];
        let (head, rest) = path.split_first().expect("a head");
        let deeds: Vec<Deed> = rest.iter().map(|next| Deed::Ask(*next)).collect();
        let busy = status(FfaError::Busy);
        match core.ask(*head, &deeds) {
            Outcome::Error(FfaError::Busy) => {}
            Outcome::Answer(result) => {
                let may_be_busy = own_end(path) != Some(1);
                assert!(
                    result == expected(path) || (may_be_busy && result == busy),
                    "{path:?} ended with {result}"
                );
            }
            Outcome::Error(refused) => panic!("{refused:?}"),
        }
    });
    settle(cores);
}

/// The position in `path` that is the first to ask somebody who waits for it.
fn own_end(path: &[usize]) -> Option<usize> {
    (1..path.len()).find(|end| path[..*end].contains(&path[*end]))
}

/// How a chain along `path` ends when nobody else is there.
fn expected(path: &[usize]) -> u64 {
    match own_end(path) {
        None => 0,
        Some(end) if path[end - 1] == path[end] => status(FfaError::InvalidParameters),
        Some(_) => status(FfaError::Denied),
    }
}
