// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two cores use the same mailboxes (M9, M13, M16). What they see must be what some order of their
//! calls, one after the other, would have shown them: [`Model`] says what each order shows.

use bulkhead_abi::{FfaError, Function, Registers, Version, Width};
use bulkhead_sim::{assert_function, call, error, ffa};

use super::all_on;
use crate::machine::{NORMAL_MEMORY, PAGE};
use crate::program::{Deed, status};
use crate::rest::settle;
use crate::world::{Core, Outcome, Spec, at_once, choose, pick, refusal};

/// The VM whose buffers the hypervisor forwards.
const VM: u16 = 1;

/// A call of the normal world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Op {
    Map,
    Unmap,
    List,
    Release,
    /// The first half of `Forward`, in the model only.
    ReadTx,
    Forward,
    UnmapVm,
    AcquireVm,
    ReleaseVm,
}

/// RX of a mailbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rx {
    Unmapped,
    Producer,
    Taken,
}

/// The mailboxes of the caller and of the VM.
#[derive(Clone, Copy)]
struct Model {
    own: Rx,
    vm: Rx,
}

impl Model {
    fn step(&mut self, op: Op) -> Result<(), FfaError> {
        use FfaError::{Busy, Denied, InvalidParameters};
        use Rx::{Producer, Taken, Unmapped};
        let (place, next, allowed) = match op {
            Op::Map => (self.own, Producer, [Ok(()), Err(Denied), Err(Denied)]),
            Op::Unmap => (self.own, Unmapped, [Err(InvalidParameters), Ok(()), Ok(())]),
            Op::List => (self.own, Taken, [Err(Busy), Ok(()), Err(Busy)]),
            Op::Release => (self.own, Producer, [Err(Denied), Err(Denied), Ok(())]),
            Op::ReadTx if self.own == Unmapped => return Err(InvalidParameters),
            Op::ReadTx => return Ok(()),
            Op::Forward => (self.vm, Producer, [Ok(()), Err(Denied), Err(Denied)]),
            Op::UnmapVm => (self.vm, Unmapped, [Err(InvalidParameters), Ok(()), Ok(())]),
            Op::AcquireVm => (
                self.vm,
                Taken,
                [Err(InvalidParameters), Ok(()), Err(Denied)],
            ),
            Op::ReleaseVm => (
                self.vm,
                Producer,
                [Err(InvalidParameters), Err(Denied), Ok(())],
            ),
        };
        let [unmapped, producer, taken] = allowed;
        let result = match place {
            Unmapped => unmapped,
            Producer => producer,
            Taken => taken,
        };
        if result.is_ok() {
            match op {
                Op::Map | Op::Unmap | Op::List | Op::Release => self.own = next,
                _ => self.vm = next,
            }
        }
        result
    }

    /// Whether some order of `left` and `right`, each of which keeps its own, has these results.
    fn explains(self, left: &[Seen], right: &[Seen]) -> bool {
        let end = left.is_empty() && right.is_empty();
        end || self.goes_on(left, |next, left| next.explains(left, right))
            || self.goes_on(right, |next, right| next.explains(left, right))
    }

    /// Whether the first of `seen` may come next, and `then` the rest.
    fn goes_on(self, seen: &[Seen], then: impl FnOnce(Self, &[Seen]) -> bool) -> bool {
        let mut next = self;
        seen.split_first()
            .is_some_and(|((op, result), rest)| next.step(*op) == *result && then(next, rest))
    }
}

/// A call and its result.
type Seen = (Op, Result<(), FfaError>);

/// What the model has in place of the calls of a core: forwarding is two steps, between which the
/// hypervisor's own mailbox may go.
fn steps(calls: &[Seen]) -> Vec<Seen> {
    let mut steps = Vec::new();
    for (op, result) in calls {
        match (op, result) {
            (Op::Forward, Err(FfaError::InvalidParameters)) => steps.push((Op::ReadTx, *result)),
            (Op::Forward, _) => steps.extend([(Op::ReadTx, Ok(())), (Op::Forward, *result)]),
            _ => steps.push((*op, *result)),
        }
    }
    steps
}

/// The descriptor of the VM's buffers, two pages from `page` of the normal world's memory on.
fn descriptor(page: u64) -> Vec<u8> {
    let mut bytes = u32::from(VM).to_le_bytes().to_vec();
    bytes.extend([16_u32, 48, 0].map(u32::to_le_bytes).concat());
    for index in [page, page + 1] {
        bytes.extend([1_u32, 1, 0, 0].map(u32::to_le_bytes).concat());
        bytes.extend((NORMAL_MEMORY + index * PAGE).to_le_bytes());
        bytes.extend(1_u64.to_le_bytes());
    }
    bytes
}

fn map_at(page: u64) -> Registers {
    let mut map = call([0; 8]);
    let address = NORMAL_MEMORY + page * PAGE;
    let words = [Function::RxtxMap.id(Width::W64), address, address + PAGE, 1];
    map.x[..4].copy_from_slice(&words);
    map
}

fn make(core: &mut Core, op: Op) -> Seen {
    let vm = u64::from(VM);
    let message = match op {
        Op::Map => map_at(0),
        Op::ReadTx | Op::Forward => {
            let mut forward = map_at(0);
            forward.x[1..4].fill(0);
            forward
        }
        Op::Unmap => ffa(Function::RxtxUnmap, [0; 4]),
        Op::UnmapVm => ffa(Function::RxtxUnmap, [vm << 16, 0, 0, 0]),
        Op::List => ffa(Function::PartitionInfoGet, [0; 4]),
        Op::Release => ffa(Function::RxRelease, [0; 4]),
        Op::AcquireVm => ffa(Function::RxAcquire, [vm, 0, 0, 0]),
        Op::ReleaseVm => ffa(Function::RxRelease, [vm, 0, 0, 0]),
    };
    let reply = core.call(&message);
    match error(&reply) {
        Some(code) => (op, Err(refusal(code))),
        None => {
            assert_function(&reply, Function::Success);
            (op, Ok(()))
        }
    }
}

/// A system whose normal world speaks 1.2 and has mapped its mailbox, where the hypervisor writes the
/// descriptor of a VM with buffers from `page` on.
fn with_hypervisor(page: u64) -> Vec<Core> {
    let mut cores = all_on(&[Spec::Single], 2);
    let version = u64::from(Version::V1_2.to_word());
    cores[0].call(&ffa(Function::Version, [version, 0, 0, 0]));
    let bytes = descriptor(page);
    cores[0]
        .machine
        .with_mailboxes(|mailboxes| mailboxes.normal_world_tx = bytes);
    assert_eq!(make(&mut cores[0], Op::Map), (Op::Map, Ok(())));
    cores
}

/// Each core makes three calls of any kind on the mailboxes of the normal world and of one VM.
pub fn m13_m16_two_cores_map_fill_and_unmap() {
    const OPS: [Op; 8] = [
        Op::Map,
        Op::Unmap,
        Op::List,
        Op::Release,
        Op::Forward,
        Op::UnmapVm,
        Op::AcquireVm,
        Op::ReleaseVm,
    ];
    let (cores, seen) = at_once(with_hypervisor(8), |core| {
        [(); 3].map(|()| make(core, choose(&OPS)))
    });
    let start = Model {
        own: Rx::Producer,
        vm: Rx::Unmapped,
    };
    assert!(
        start.explains(&steps(&seen[0]), &steps(&seen[1])),
        "no order of these calls has these results: {seen:?}"
    );
    settle(cores);
}

/// Two cores forward the buffers of the same VM (M13).
pub fn m13_two_cores_forward_the_same_vm() {
    let (cores, seen) = at_once(with_hypervisor(8), |core| make(core, Op::Forward));
    let mut results: Vec<_> = seen.iter().map(|(_, result)| *result).collect();
    results.sort_by_key(|result| result.is_err());
    assert_eq!(results, [Ok(()), Err(FfaError::Denied)]);
    settle(cores);
}

/// The normal world moves its buffers on to pages that a VM's buffers have, while the other core
/// forwards those (M9).
pub fn m9_no_page_is_in_two_mailboxes() {
    let (cores, _) = at_once(with_hypervisor(8), |core| {
        if core.index() == 0 {
            assert_eq!(make(core, Op::Unmap).1, Ok(()));
            let reply = core.call(&map_at(7 + pick(3) as u64));
            if let Some(code) = error(&reply) {
                assert_eq!(refusal(code), FfaError::Denied);
            }
        } else {
            for _ in 0..2 {
                let (_, result) = make(core, Op::Forward);
                assert!(!matches!(result, Err(FfaError::NoMemory)));
            }
        }
    });
    settle(cores);
}

/// The contexts of a partition use its mailbox from two cores.
pub fn m16_two_contexts_share_the_mailbox_of_a_partition() {
    const OPS: [(Op, Deed); 4] = [
        (Op::Map, Deed::Map),
        (Op::Unmap, Deed::Unmap),
        (Op::List, Deed::List),
        (Op::Release, Deed::Release),
    ];
    const ERRORS: [FfaError; 3] = [
        FfaError::Busy,
        FfaError::Denied,
        FfaError::InvalidParameters,
    ];
    let (cores, seen) = at_once(all_on(&[Spec::Multi], 2), |core| {
        [(); 3].map(|()| {
            let (op, deed) = choose(&OPS);
            match core.ask(0, &[deed]) {
                Outcome::Answer(0) => (op, Ok(())),
                Outcome::Answer(result) => {
                    let refused = ERRORS.into_iter().find(|one| status(*one) == result);
                    (op, Err(refused.expect("an error of a mailbox")))
                }
                Outcome::Error(refused) => panic!("{refused:?}"),
            }
        })
    });
    let start = Model {
        own: Rx::Unmapped,
        vm: Rx::Unmapped,
    };
    assert!(
        start.explains(&steps(&seen[0]), &steps(&seen[1])),
        "no order of these calls has these results: {seen:?}"
    );
    settle(cores);
}
