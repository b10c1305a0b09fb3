// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is refused after the first call of a send: fragments, handles and requests to retrieve. Three constituents at
//! least and three receivers; in the end all goes as if nothing had been asked.

use arrayvec::ArrayVec;
use bulkhead_abi::memory::attributes::{DataAccess, Device, InstructionAccess, MemoryType};
use bulkhead_abi::memory::encode::{RegionOf, encode_for};
use bulkhead_abi::memory::registers::Fragment;
use bulkhead_abi::memory::{Constituent, Flags, Handle, Header, Receiver};
use bulkhead_abi::{EndpointId, FfaError, Function, Version, Width};
use bulkhead_payload::Reply;
use bulkhead_payload::memory::{MAILBOX, PAGE_SIZE};

use super::{
    Borrow, MOST, Send, TAG, borrow_half, borrows, fill, fragment, leave_half, leaves, lend_half,
    pass, receiver, reclaim, reclaim_half, scattered, share, status, three,
};
use crate::cases;
use crate::normal_world::{NormalWorld, rxtx_map};
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_world::PartitionWorld;
use crate::protocol::Caller;

use FfaError::{Busy, Denied, InvalidParameters};

cases! {
    f1_f2_f4_f6_t13_fragments_of_others_or_after_the_end_change_nothing: [borrow_half, leave_half, bring_half];
    f3_f5_a_wrong_fragment_ends_the_transaction: [borrow_half];
    h3_h4_h5_t24_a_handle_of_others_or_a_wrong_one_is_refused: [borrow_half, leave_half, lend_half, reclaim_half];
    t2_t3_t4_t6_t7_t11_what_a_receiver_cannot_ask_for_is_refused: [borrow_half, leave_half, ask_half];
}

/// More constituents than a page has room for.
const MANY: u32 = 600;

fn many(to: &[EndpointId]) -> Send<'_> {
    Send {
        function: Function::MemShare,
        to,
        flags: 0,
        count: MANY,
        constituent: &scattered,
    }
}

/// The first fragment: what is asked for next, and how many constituents were in it.
fn begin(world: &mut NormalWorld, send: &Send<'_>) -> TestResult<(Reply, u32)> {
    let version = world.version;
    let (lengths, sent) = send.encode(world.id(), version);
    let reply = world.ffa(send.function, lengths);
    Ok((reply.returned(Function::MemFragRx)?, sent))
}

fn borrow_of<'a>(world: &NormalWorld, handle: Handle, receivers: &'a [EndpointId]) -> Borrow<'a> {
    Borrow {
        handle,
        sender: world.id(),
        receivers,
        flags: 0,
        base: Some(7),
        non_secure: true,
    }
}

/// A partition brings a fragment: the status.
fn bring_half(world: &mut PartitionWorld, [handle, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    world.call(rxtx_map(Width::W64)).succeeded()?;
    let wrong = Fragment {
        handle: Handle(handle),
        position: 32,
        endpoint: EndpointId(0),
    };
    let reply = pass(world, Function::MemFragTx, wrong);
    world.ffa(Function::RxtxUnmap, []).succeeded()?;
    Ok([reply.error().unwrap_or(0) as u32 as u64, 0, 0, 0])
}

fn f1_f2_f4_f6_t13_fragments_of_others_or_after_the_end_change_nothing(
    world: &mut NormalWorld,
) -> TestResult {
    let to = three(world)?;
    let send = many(&to);
    fill(&send, 7);
    let (reply, sent) = begin(world, &send)?;
    let asked = fragment(&reply);
    let handle = asked.handle;
    let next = Fragment {
        position: 32,
        ..asked
    };
    for wrong in [
        Handle(handle.0 + (1 << 16)),
        Handle(handle.0.rotate_left(32)),
        Handle(handle.0 | 1 << 63),
    ] {
        let wrong = Fragment {
            handle: wrong,
            ..next
        };
        pass(world, Function::MemFragTx, wrong).refused(InvalidParameters)?;
    }
    for id in [EndpointId(9), EndpointId(0x8002)] {
        let wrong = Fragment {
            endpoint: id,
            ..next
        };
        pass(world, Function::MemFragTx, wrong).refused(InvalidParameters)?;
    }
    let invalid = status(InvalidParameters);
    for who in to {
        let [found, ..] = world.invoke(who, 2, [handle.0, 0, 0])?;
        equal("F1: the fragment of a partition", found, invalid)?;
        let [early, ..] = borrows(world, who, borrow_of(world, handle, &to))?;
        equal("T13: retrieved before the last fragment", early, invalid)?;
    }
    send.rest(world, reply, sent).succeeded()?;
    pass(world, Function::MemFragTx, next).refused(InvalidParameters)?;
    let [who, ..] = to;
    let [found, pages, ..] = borrows(world, who, borrow_of(world, handle, &to))?;
    equal("the status of FFA_MEM_RETRIEVE_REQ", found, 0)?;
    equal("the pages", pages, u64::from(MANY))?;
    leaves(world, who, handle, 0)?;
    reclaim(world, handle, 0).succeeded()?;
    // F6: one that ends early is nobody's but the sender's, who takes it back.
    let (reply, _) = begin(world, &send)?;
    let handle = fragment(&reply).handle;
    reclaim(world, handle, 0).succeeded()?;
    pass(world, Function::MemFragTx, Fragment { handle, ..next }).refused(InvalidParameters)?;
    Ok(())
}

fn f3_f5_a_wrong_fragment_ends_the_transaction(world: &mut NormalWorld) -> TestResult {
    let to = three(world)?;
    let send = many(&to);
    for length in [0, 8, 24, 4112, u32::MAX] {
        let (reply, _) = begin(world, &send)?;
        let wrong = Fragment {
            position: length,
            ..fragment(&reply)
        };
        pass(world, Function::MemFragTx, wrong).refused(InvalidParameters)?;
        reclaim(world, wrong.handle, 0).refused(InvalidParameters)?;
        let [who, ..] = to;
        let [late, ..] = borrows(world, who, borrow_of(world, wrong.handle, &to))?;
        equal("retrieved after its end", late, status(InvalidParameters))?;
    }
    let version = world.version;
    let handle = send.handle(world, version)?;
    reclaim(world, handle, 0).succeeded()?;
    Ok(())
}

fn h3_h4_h5_t24_a_handle_of_others_or_a_wrong_one_is_refused(
    world: &mut NormalWorld,
) -> TestResult {
    let [lender, borrower, _] = three(world)?;
    let [theirs, ..] = world.invoke(lender, 2, [borrower.0.into(), 0, 0])?;
    // H3, T24: neither as its owner nor as the hypervisor.
    reclaim(world, Handle(theirs), 0).refused(Denied)?;
    let mut bytes = [0; PAGE_SIZE];
    let none: Option<RegionOf<core::iter::Empty<Constituent>>> = None;
    let nobody = core::iter::empty::<Receiver>();
    let header = Header::of_handle(Handle(theirs));
    let encoded = encode_for(world.version, &header, nobody, none, &mut bytes);
    let length = encoded.map_or(0, |encoded| encoded.total_length);
    MAILBOX.tx.write(0, bytes.into_iter().take(length as usize));
    world
        .ffa(Function::MemRetrieveReq, [u64::from(length); 2])
        .refused(Denied)?;
    let to = [borrower];
    let borrow = Borrow {
        sender: lender,
        base: Some(500),
        non_secure: false,
        ..borrow_of(world, Handle(theirs), &to)
    };
    for wrong in [theirs.rotate_left(32), theirs | 1 << 63, u64::MAX, 0] {
        reclaim(world, Handle(wrong), 0).refused(InvalidParameters)?;
        let invalid = status(InvalidParameters);
        let wrong_one = Borrow {
            handle: Handle(wrong),
            ..borrow
        };
        let [found, ..] = borrows(world, borrower, wrong_one)?;
        equal("the retrieve of a wrong handle", found, invalid)?;
        let [found, ..] = world.invoke(lender, 3, [wrong, 0, 0])?;
        equal("the reclaim of a wrong handle", found, invalid)?;
    }
    let [found, pages, ..] = borrows(world, borrower, borrow)?;
    equal("the status of FFA_MEM_RETRIEVE_REQ", found, 0)?;
    equal("the pages", pages, 2)?;
    leaves(world, borrower, Handle(theirs), 0)?;
    let [found, ..] = world.invoke(lender, 3, [theirs, 0, 0])?;
    equal("the status of FFA_MEM_RECLAIM", found, 0)
}

/// A request to retrieve.
struct Ask {
    header: Header,
    receivers: ArrayVec<Receiver, MOST>,
    /// The place of who asks, and that of another.
    own: usize,
    other: usize,
}

/// Id, what is wrong, and the error.
type Row = (&'static str, fn(&mut Ask), FfaError);

/// The flags of T4 and T7: another type, a time slice, hints.
const LEND: u32 = 2 << 3;
const DONATE: u32 = 3 << 3;
const SLICE: u32 = 1 << 1;
const HINT: u32 = 1 << 9;

#[rustfmt::skip] // One row a line.
static ASKED: &[Row] = &[
    ("T3", |ask| ask.header.tag ^= 1 << 40, InvalidParameters),
    ("T3", |ask| ask.header.sender = EndpointId(9), InvalidParameters),
    ("T3", |ask| ask.header.sender = EndpointId(0x80ff), InvalidParameters),
    ("T4", |ask| ask.header.flags = Flags(LEND), InvalidParameters),
    ("T4", |ask| ask.header.flags = Flags(DONATE), InvalidParameters),
    ("T4", |ask| ask.header.flags = Flags(SLICE), InvalidParameters),
    ("T7", |ask| ask.header.flags = Flags(HINT), InvalidParameters),
    ("T7", |ask| ask.header.flags = Flags(HINT | 3 << 5), InvalidParameters),
    ("T6", |ask| execute(ask, ask.own), InvalidParameters),
    ("T6", |ask| execute(ask, ask.other), InvalidParameters),
    ("T6", |ask| ask.receivers[ask.other].permissions.data = DataAccess::NotSpecified, InvalidParameters),
    ("T6", |ask| ask.receivers[ask.other].permissions.data = DataAccess::ReadOnly, InvalidParameters),
    ("T6", |ask| ask.header.attributes.memory_type = MemoryType::Device(Device::NGnRnE), Denied),
    ("T11", |ask| ask.receivers.truncate(MOST - 1), InvalidParameters),
    ("T11", |ask| drop(ask.receivers.drain(..1)), InvalidParameters),
    ("T11", |ask| ask.receivers.swap(ask.own, ask.other), InvalidParameters),
    ("T11", |ask| ask.receivers[ask.other].endpoint = EndpointId(0x80ff), InvalidParameters),
    ("T11", |ask| ask.receivers[ask.other].endpoint = ask.receivers[ask.own].endpoint, InvalidParameters),
];

fn execute(ask: &mut Ask, place: usize) {
    ask.receivers[place].permissions.instruction = InstructionAccess::Executable;
}

/// What is right.
fn ask(id: EndpointId, [handle, ids]: [u64; 2]) -> Ask {
    let receivers = [0, 16, 32].map(|place| EndpointId((ids >> place) as u16));
    let own = receivers.iter().position(|one| *one == id).unwrap_or(0);
    Ask {
        header: Header {
            sender: EndpointId((ids >> 48) as u16),
            tag: TAG,
            ..Header::of_handle(Handle(handle))
        },
        receivers: receivers
            .map(|one| receiver(one, DataAccess::ReadWrite))
            .into(),
        own,
        other: (own + 1) % MOST,
    }
}

fn request(world: &mut PartitionWorld, version: Version, asked: &Ask) -> Reply {
    let mut bytes = [0; 512];
    let none: Option<RegionOf<core::iter::Empty<Constituent>>> = None;
    let receivers = asked.receivers.iter().copied();
    let encoded = encode_for(version, &asked.header, receivers, none, &mut bytes);
    let length = encoded.map_or(0, |encoded| encoded.total_length);
    MAILBOX.tx.write(0, bytes.into_iter().take(length as usize));
    world.ffa(Function::MemRetrieveReq, [u64::from(length); 2])
}

/// Each row of [`ASKED`], and T2: what went wrong, as the number of the row from 1 and the status.
fn ask_half(world: &mut PartitionWorld, [handle, ids, _]: [u64; 3]) -> TestResult<[u64; 4]> {
    world.call(rxtx_map(Width::W64)).succeeded()?;
    let (id, version) = (world.id(), world.version);
    let mut failed = [0; 4];
    for (number, (_, change, error)) in (1..).zip(ASKED) {
        let mut asked = ask(id, [handle, ids]);
        change(&mut asked);
        let found = request(world, version, &asked).error().unwrap_or(0);
        if found != error.code() {
            failed = [number, found as u32 as u64, 0, 0];
            break;
        }
    }
    world.ffa(Function::PartitionInfoGet, [0; 4]).succeeded()?;
    let full = request(world, version, &ask(id, [handle, ids]));
    world.ffa(Function::RxRelease, []).succeeded()?;
    world.ffa(Function::RxtxUnmap, []).succeeded()?;
    full.refused(Busy)?;
    let absent = world.ffa(Function::MemRetrieveReq, [144; 2]);
    absent.refused(Busy)?;
    Ok(failed)
}

fn t2_t3_t4_t6_t7_t11_what_a_receiver_cannot_ask_for_is_refused(
    world: &mut NormalWorld,
) -> TestResult {
    let to = three(world)?;
    let send = share(&to, Function::MemShare);
    let version = world.version;
    let handle = send.handle(world, version)?;
    for who in to {
        fill(&send, 7);
        let [_, ids, _] = borrow_of(world, handle, &to).arguments();
        let [number, found, ..] = world.invoke(who, 2, [handle.0, ids, 0])?;
        if number != 0 {
            let (id, _, error) = &ASKED[number as usize - 1];
            crate::fail!("{id}, row {number}: {who} got {found:#x}, not {error:?}");
        }
        let [found, pages, ..] = borrows(world, who, borrow_of(world, handle, &to))?;
        equal("the status of FFA_MEM_RETRIEVE_REQ", found, 0)?;
        equal("the pages", pages, 6)?;
        leaves(world, who, handle, 0)?;
    }
    reclaim(world, handle, 0).succeeded()?;
    Ok(())
}
