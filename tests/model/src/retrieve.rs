// SPDX-License-Identifier: MIT OR Apache-2.0
//! FFA_MEM_RETRIEVE_REQ and FRAG_RX: the order of their checks.
use crate::call::{Data, FragRx, Instruction, Receiver, Retrieve, Shape, Type, TypeField};
use crate::check::{Case, Check, row};
use crate::page::{Access, Domain, Id, Kind, Space};
use crate::world::{Phase, Transaction};
use bulkhead_abi::FfaError::{Aborted, Busy, Denied, InvalidParameters, NoMemory};

fn live<'a>(case: &Case<'a, Retrieve>) -> Option<&'a Transaction> {
    case.world.transaction(case.call.handle)
}

fn asked(case: &Case<Retrieve>) -> Receiver {
    let own = case
        .call
        .receivers
        .iter()
        .find(|receiver| receiver.id == case.call.borrower)
        .copied();
    own.unwrap_or(Receiver {
        id: case.call.borrower,
        data: Data::Unspecified,
        instruction: Instruction::Unspecified,
    })
}

/// The rights that a request gets if it is granted: what is unspecified is what was granted, never X.
pub fn wanted(live: &Transaction, own: Receiver) -> Access {
    let granted = match live.receiver(own.id).map(|receiver| receiver.data) {
        Some(Data::ReadWrite) => true,
        Some(Data::Unspecified) => live.ceiling().write,
        _ => false,
    };
    let execute = own.instruction == Instruction::Execute;
    let write = match own.data {
        Data::ReadOnly => false,
        Data::ReadWrite => true,
        // A donation asked for with X gives up W, as W and X never meet (O6).
        Data::Unspecified => granted && !execute,
    };
    Access { write, execute }
}

/// Whether a request is the hypervisor's form.
pub fn is_hypervisor(from: Domain, call: &Retrieve) -> bool {
    from == Domain::NormalWorld && call.receivers.is_empty()
}

fn decides_type(live: &Transaction) -> bool {
    live.sent.kind == Type::Share || live.sent.receivers.len() > 1
}

fn space_and_kind(case: &Case<Retrieve>) -> Option<(Space, Kind)> {
    let first = live(case)?.pages.first()?;
    Some((first.1.space, first.1.kind))
}

/// Whether a request names a transaction and says nothing more.
fn is_handle_alone(call: &Retrieve) -> bool {
    let flags = call.zero || call.zero_after || call.bypass || call.hint;
    !flags
        && call.sender == Id(0)
        && call.tag == 0
        && call.kind.is_none()
        && call.memory == TypeField::Unspecified
}

/// Both forms: what comes before the handle.
pub const BUFFERS: &[Check<Retrieve>] = &[
    row(
        "S1",
        "the bytes decode and are not fragmented",
        InvalidParameters,
        |case| case.call.shape == Shape::Good,
    ),
    row("S45", "no other flag", InvalidParameters, |case| {
        !case.call.other_flags
    }),
    row("S42", "NS bit clear", InvalidParameters, |case| {
        !case.call.ns
    }),
    row("T10", "no address ranges", InvalidParameters, |case| {
        !case.call.ranges
    }),
    row(
        "A-51",
        "without receivers only the handle is set",
        InvalidParameters,
        |case| !case.call.receivers.is_empty() || is_handle_alone(case.call),
    ),
    row("T2", "RX is there and free", Busy, |case| case.rx_is_free()),
];

/// The hypervisor's form.
pub const HYPERVISOR: &[Check<Retrieve>] = &[
    row("H2", "a live handle", InvalidParameters, |case| {
        live(case).is_some()
    }),
    row("T24", "the normal world's transaction", Denied, |case| {
        live(case).is_some_and(|live| live.sent.sender.domain() == Domain::NormalWorld)
    }),
    row(
        "T13",
        "complete, and not donated away",
        InvalidParameters,
        |case| live(case).is_some_and(|live| live.phase == Phase::Sent),
    ),
];

/// A borrower's request.
pub const BORROWER: &[Check<Retrieve>] = &[
    row(
        "T1",
        "the borrower is the caller, or one of its VMs",
        InvalidParameters,
        |case| case.call.borrower.domain() == case.from && case.world.knows(case.call.borrower),
    ),
    row(
        "H2",
        "a live handle, and a borrower of it (T1, H1, H3, H4, H5)",
        InvalidParameters,
        |case| live(case).is_some_and(|live| live.receiver(case.call.borrower).is_some()),
    ),
    row("T13", "complete", InvalidParameters, |case| {
        live(case).is_some_and(|live| live.phase == Phase::Sent)
    }),
    row("T3", "the sender and the tag", InvalidParameters, |case| {
        live(case).is_some_and(|live| {
            (live.sent.sender, live.sent.tag) == (case.call.sender, case.call.tag)
        })
    }),
    row("T4", "the type, if given", InvalidParameters, |case| {
        live(case).is_some_and(|live| case.call.kind.is_none_or(|kind| kind == live.sent.kind))
    }),
    row("T7", "no alignment hint", InvalidParameters, |case| {
        !case.call.hint
    }),
    row(
        "T11",
        "the lender's list in its order, or with bypass the borrower alone",
        InvalidParameters,
        |case| {
            let list = |receivers: &[Receiver]| {
                receivers
                    .iter()
                    .map(|receiver| receiver.id)
                    .collect::<Vec<_>>()
            };
            let wanted = if case.call.bypass {
                vec![case.call.borrower]
            } else {
                live(case).map_or_else(Vec::new, |live| list(&live.sent.receivers))
            };
            list(&case.call.receivers) == wanted
        },
    ),
    row(
        "S45",
        "no bypass where there is one borrower",
        InvalidParameters,
        |case| !case.call.bypass || live(case).is_some_and(|live| live.sent.receivers.len() > 1),
    ),
    row(
        "T6",
        "others' data access as sent, their instruction access not given",
        InvalidParameters,
        |case| {
            let others = case
                .call
                .receivers
                .iter()
                .filter(|receiver| receiver.id != case.call.borrower);
            others.copied().all(|other| {
                live(case)
                    .and_then(|live| live.receiver(other.id))
                    .is_some_and(|sent| *sent == other)
            })
        },
    ),
    row(
        "T6",
        "instruction access only for a donation and one borrower's lend",
        InvalidParameters,
        |case| {
            asked(case).instruction == Instruction::Unspecified
                || live(case).is_some_and(|live| !decides_type(live))
        },
    ),
    row("K7", "the sender lives", Aborted, |case| {
        live(case).is_some_and(|live| !live.orphan)
    }),
    row("T12", "not retrieved already", Denied, |case| {
        live(case).is_some_and(|live| !live.held.contains_key(&case.call.borrower))
    }),
    row("T5", "no more data access than granted", Denied, |case| {
        live(case).is_some_and(|live| {
            let granted = Receiver {
                instruction: Instruction::Unspecified,
                data: Data::Unspecified,
                ..asked(case)
            };
            wanted(live, asked(case)).write <= wanted(live, granted).write
        })
    }),
    row(
        "T5",
        "X only of secure normal memory that the sender could execute, without W",
        Denied,
        |case| {
            live(case).is_some_and(|live| {
                let access = wanted(live, asked(case));
                let ceiling = live.ceiling().execute
                    && space_and_kind(case) == Some((Space::Secure, Kind::Normal));
                !access.execute || (ceiling && !access.write)
            })
        },
    ),
    row(
        "A-46",
        "the memory type, if given, is the memory's",
        Denied,
        |case| match case.call.memory {
            TypeField::Unspecified => true,
            TypeField::Is(kind) => space_and_kind(case).is_some_and(|is| is.1 == kind),
            TypeField::Other => false,
        },
    ),
    row(
        "T8",
        "zeroing before only if the lender asked for it",
        InvalidParameters,
        |case| !case.call.zero || live(case).is_some_and(|live| live.sent.zero),
    ),
    row(
        "T8",
        "and by who may write, when nobody has retrieved",
        Denied,
        |case| {
            let first = |live: &Transaction| !live.zeroed && live.held.is_empty();
            !case.call.zero
                || live(case).is_some_and(|live| first(live) && wanted(live, asked(case)).write)
        },
    ),
    row(
        "T9",
        "zeroing after only of a lend",
        InvalidParameters,
        |case| !case.call.zero_after || live(case).is_some_and(|live| live.sent.kind == Type::Lend),
    ),
    row("T9", "and by who may write memory", Denied, |case| {
        let memory = space_and_kind(case).is_some_and(|is| is.1 == Kind::Normal);
        !case.call.zero_after
            || (memory && live(case).is_some_and(|live| wanted(live, asked(case)).write))
    }),
    row("T14", "memory for the tables", NoMemory, |case| {
        !case.oracle.no_memory
    }),
];

fn told(case: &Case<FragRx>) -> Option<(u32, u32)> {
    let live = case.world.transaction(case.call.handle)?;
    let told = if case.from == Domain::NormalWorld && case.call.borrower == Id::HYPERVISOR {
        live.hypervisor_told?
    } else if case.call.borrower.domain() == case.from {
        live.held.get(&case.call.borrower)?.told
    } else {
        return None;
    };
    Some((told, live.sent.count))
}

/// FRAG_RX.
pub const FRAGMENT: &[Check<FragRx>] = &[
    row("F11", "RX is there and free", Busy, |case| {
        case.rx_is_free()
    }),
    row(
        "F11",
        "something that the caller retrieves",
        InvalidParameters,
        |case| told(case).is_some(),
    ),
    row(
        "F11",
        "the next constituent, and there is one",
        InvalidParameters,
        |case| told(case).is_some_and(|(told, count)| case.call.offset == told && told < count),
    ),
];
