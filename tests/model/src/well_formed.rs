// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls that are right, to be sent or to be spoilt in one field.
use crate::call::{
    Call, Constituent, Data, FragRx, FragTx, Instruction, Receiver, Reclaim, Relinquish, Request,
    Retrieve, Send, Shape, Type, TypeField,
};
use crate::page::{Domain, Id, Kind, PAGE_SIZE};
use crate::world::Transaction;

/// A run of `count` pages from page number `first`.
pub fn run(first: u64, count: u32) -> Constituent {
    Constituent {
        address: first * PAGE_SIZE,
        count,
    }
}

/// A receiver with this data access.
pub fn receiver(id: Id, data: Data) -> Receiver {
    Receiver {
        id,
        data,
        instruction: Instruction::Unspecified,
    }
}

/// A complete send of normal memory, with tag 0.
pub fn send(
    kind: Type,
    sender: Id,
    receivers: &[(Id, Data)],
    constituents: &[Constituent],
) -> Send {
    let decides = kind == Type::Share || (kind == Type::Lend && receivers.len() > 1);
    Send {
        kind,
        shape: Shape::Good,
        sender,
        tag: 0,
        handle: 0,
        zero: false,
        time_slice: false,
        other_flags: false,
        memory: if decides {
            TypeField::Is(Kind::Normal)
        } else {
            TypeField::Unspecified
        },
        ns: false,
        receivers: receivers
            .iter()
            .map(|(id, data)| receiver(*id, *data))
            .collect(),
        pages: constituents.iter().map(|run| run.count).sum(),
        count: constituents.len() as u32,
        constituents: constituents.to_vec(),
    }
}

/// The next constituents of a transaction.
pub fn frag_tx(handle: u64, sender: Id, constituents: &[Constituent]) -> FragTx {
    let sender = if sender.domain() == Domain::NormalWorld {
        sender
    } else {
        Id(0)
    };
    FragTx {
        handle,
        sender,
        shape: Shape::Good,
        constituents: constituents.to_vec(),
    }
}

/// The request of a borrower for what it was granted.
pub fn retrieve(live: &Transaction, handle: u64, borrower: Id) -> Retrieve {
    Retrieve {
        shape: Shape::Good,
        borrower,
        sender: live.sent.sender,
        tag: live.sent.tag,
        handle,
        kind: Some(live.sent.kind),
        zero: false,
        zero_after: false,
        bypass: false,
        hint: false,
        other_flags: false,
        memory: TypeField::Unspecified,
        ns: false,
        receivers: live.sent.receivers.clone(),
        ranges: false,
    }
}

/// The hypervisor's request.
pub fn hypervisor_retrieve(handle: u64) -> Retrieve {
    Retrieve {
        shape: Shape::Good,
        borrower: Id(0),
        sender: Id(0),
        tag: 0,
        handle,
        kind: None,
        zero: false,
        zero_after: false,
        bypass: false,
        hint: false,
        other_flags: false,
        memory: TypeField::Unspecified,
        ns: false,
        receivers: Vec::new(),
        ranges: false,
    }
}

/// The rest of a description.
pub fn frag_rx(handle: u64, borrower: Id, offset: u32) -> FragRx {
    FragRx {
        handle,
        borrower,
        offset,
    }
}

/// A borrower's last call.
pub fn relinquish(handle: u64, borrower: Id) -> Relinquish {
    Relinquish {
        shape: Shape::Good,
        handle,
        zero: false,
        other_flags: false,
        endpoints: vec![borrower],
    }
}

/// The owner's last call.
pub fn reclaim(handle: u64) -> Reclaim {
    Reclaim {
        handle,
        zero: false,
        other_flags: false,
    }
}

/// A request of an endpoint's domain.
pub fn by(caller: Id, request: Request) -> Call {
    Call {
        from: caller.domain(),
        request,
    }
}
