// SPDX-License-Identifier: MIT OR Apache-2.0
//! A partition that signals notifications and sends an indirect message when a direct message asks it to, and
//! tells which notifications it got.
#![no_std]
#![no_main]

use bulkhead_abi::indirect::{Header, header_size};
use bulkhead_abi::{EndpointId, Function, Uuid, Version, Width};
use bulkhead_cases::normal_world::rxtx_map;
use bulkhead_cases::partition_world::{PartitionWorld, start};
use bulkhead_cases::protocol::Caller;
use bulkhead_payload::memory::MAILBOX;
use bulkhead_payload::{EntryState, Reply, Request};

bulkhead_payload::entry!(main);

/// What x3 of a request asks for. x3 of the response is 0, or the status of the call as 32 bits.
mod ask {
    /// FFA_NOTIFICATION_SET to the requester with the flags in x4 and the bitmap in x5.
    pub const SIGNAL: u64 = 1;
    /// FFA_MSG_SEND2 to the requester: its message is the eight bytes of x4, its UUID in x5 and x6.
    pub const SEND: u64 = 2;
    /// FFA_NOTIFICATION_GET of what VMs signalled: x4 of the response is the bitmap.
    pub const TELL: u64 = 3;
}

/// The notifications that the normal world may signal to this partition.
const FROM_NORMAL_WORLD: u64 = 1 << 3;

fn main(entry: &EntryState) -> ! {
    let mut world = start(entry, &[]);
    let ids = EndpointId::pair(EndpointId::NORMAL_WORLD, world.id());
    let bound = world.ffa(Function::NotificationBind, [ids, 0, FROM_NORMAL_WORLD, 0]);
    assert!(
        bound.is(Function::Success),
        "{bound} to FFA_NOTIFICATION_BIND"
    );
    let mapped = world.call(rxtx_map(Width::W64));
    assert!(mapped.is(Function::Success), "{mapped} to FFA_RXTX_MAP");
    serve(world)
}

fn serve(mut world: PartitionWorld) -> ! {
    let wait = Request::ffa(Function::MsgWait, Width::W32);
    let mut next = wait;
    loop {
        let event = world.call(next);
        next = match event.function() {
            Some((Function::MsgSendDirectReq, width)) => {
                let answer = answer(&mut world, &event);
                Request::response(width, world.id(), event.sender(), answer)
            }
            _ => wait,
        };
    }
}

fn answer(world: &mut PartitionWorld, event: &Reply) -> [u64; 5] {
    let [what, first, second, third, _] = event.payload();
    let ids = EndpointId::pair(world.id(), event.sender());
    let reply = match what {
        ask::SIGNAL => {
            let (low, high) = (second & Width::W32.mask(), second >> 32);
            world.ffa(Function::NotificationSet, [ids, first, low, high])
        }
        ask::SEND => {
            let uuid = Uuid::from_pair(second, third);
            send(world, event.sender(), uuid, first)
        }
        ask::TELL => {
            const FROM_VMS: u64 = 2;
            let own = u64::from(world.id().0);
            world.ffa(Function::NotificationGet, [own, FROM_VMS])
        }
        _ => return [u64::MAX; 5],
    };
    let status = reply.error().unwrap_or(0);
    let bitmap = reply.x(5) << 32 | reply.x(4);
    [status as u32 as u64, bitmap, 0, 0, 0]
}

fn send(world: &mut PartitionWorld, receiver: EndpointId, uuid: Uuid, text: u64) -> Reply {
    let version = world.version;
    let header = Header {
        sender: world.id(),
        receiver,
        uuid: if version < Version::V1_2 {
            Uuid::NIL
        } else {
            uuid
        },
        offset: header_size(version) as u32,
        size: 8,
    };
    let (bytes, length) = header.encode(version);
    MAILBOX.tx.write(0, bytes.into_iter().take(length));
    MAILBOX.tx.write(length, text.to_le_bytes());
    world.ffa(Function::MsgSend2, [])
}
