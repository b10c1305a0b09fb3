// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests for more than was granted, of three constituents lent to three receivers (T5, T8 to T11), and descriptions
//! that are not fetched in order (F11, T19). Then the right request is made, and all is given back.

use bulkhead_abi::memory::attributes::DataAccess;
use bulkhead_abi::memory::encode::{RegionOf, encode_for};
use bulkhead_abi::memory::registers::Fragment;
use bulkhead_abi::memory::{Constituent, Flags, Handle, Header};
use bulkhead_abi::{EndpointId, FfaError, Function, Width};
use bulkhead_payload::Reply;
use bulkhead_payload::memory::{self, MAILBOX};

use super::{
    Borrow, FREE, LARGE, MOST, Send, TAG, TWINS, borrow_half, borrows, fill, fragment, leave_half,
    leaves, lend_half, pass, receiver, reclaim, reclaim_half, scattered, three,
};
use crate::normal_world::{NormalWorld, Role, rxtx_map};
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_world::PartitionWorld;
use crate::protocol::Caller;
use crate::{cases, ensure, fail};

use FfaError::{Busy, Denied, InvalidParameters};

cases! {
    f8_transactions_that_never_end_use_up_their_senders_memory_only: [lend_half, reclaim_half];
    t14_a_retrieve_that_needs_more_tables_than_there_are_changes_nothing: [borrow_half, leave_half];
    t15_a_description_that_cannot_be_written_is_told_again: [borrow_half, leave_half];
    f11_t19_a_description_is_fetched_in_order_and_before_it_is_given_back: [fetch_half, leave_half];
    t5_t8_t9_t10_t11_requests_for_more_than_was_granted_are_refused: [requests_half];
}

/// More than any request needs, in bytes.
const ROOM: usize = 512;

/// What a borrower asks for.
struct Request {
    header: Header,
    receivers: [bulkhead_abi::memory::Receiver; MOST],
    listed: usize,
    /// The number of the borrower that asks.
    own: usize,
    ranges: bool,
}

/// Id, what is wrong, and the error.
type Row = (&'static str, fn(&mut Request), FfaError);

static REQUESTS: &[Row] = &[
    (
        "T5",
        |request| request.receivers[request.own].permissions.data = DataAccess::ReadWrite,
        Denied,
    ),
    (
        "T8",
        |request| request.header.flags.0 = Flags::CLEAR,
        InvalidParameters,
    ),
    (
        "T9",
        |request| request.header.flags.0 = Flags::CLEAR_RELINQUISH,
        Denied,
    ),
    ("T10", |request| request.ranges = true, InvalidParameters),
    ("T11", |request| request.listed = 2, InvalidParameters),
    (
        "T11",
        |request| request.receivers.swap(1, 2),
        InvalidParameters,
    ),
    (
        "T11",
        |request| request.receivers[2] = request.receivers[1],
        InvalidParameters,
    ),
    (
        "T11",
        |request| request.receivers[1].endpoint = EndpointId(0x80ff),
        InvalidParameters,
    ),
];

/// The receivers of a handle, as one word.
fn word(ids: [EndpointId; MOST]) -> u64 {
    let [first, second, third] = ids.map(|id| u64::from(id.0));
    first | second << 16 | third << 32
}

fn ask(world: &mut PartitionWorld, handle: u64, ids: u64, change: fn(&mut Request)) -> Reply {
    let to = [0, 16, 32].map(|place| EndpointId((ids >> place) as u16));
    let mut request = Request {
        header: Header {
            sender: EndpointId::NORMAL_WORLD,
            tag: TAG,
            ..Header::of_handle(Handle(handle))
        },
        receivers: to.map(|id| receiver(id, DataAccess::ReadOnly)),
        listed: MOST,
        own: to.iter().position(|id| *id == world.id()).unwrap_or(0),
        ranges: false,
    };
    change(&mut request);
    let one = Constituent {
        address: FREE,
        page_count: 1,
    };
    let region = request.ranges.then(|| RegionOf {
        constituents: core::iter::once(one),
        constituent_count: 1,
        page_count: 1,
    });
    let receivers = request.receivers.into_iter().take(request.listed);
    let mut bytes = [0; ROOM];
    let length = encode_for(
        world.version,
        &request.header,
        receivers,
        region,
        &mut bytes,
    )
    .map_or(0, |encoded| encoded.total_length);
    MAILBOX.tx.write(0, bytes.into_iter().take(length as usize));
    world.ffa(Function::MemRetrieveReq, [u64::from(length); 2])
}

/// All wrong requests, and then the right one: the number of the row that went wrong, from 1, and the status there.
fn requests_half(world: &mut PartitionWorld, [handle, ids, _]: [u64; 3]) -> TestResult<[u64; 4]> {
    world.call(rxtx_map(Width::W64)).succeeded()?;
    let mut failed = [0; 4];
    for (number, (_, change, error)) in (1..).zip(REQUESTS) {
        let status = ask(world, handle, ids, *change).error().unwrap_or(0);
        if status != error.code() {
            failed = [number, status as u32 as u64, 0, 0];
            break;
        }
    }
    if failed[0] == 0 {
        ask(world, handle, ids, |_| {}).returned(Function::MemRetrieveResp)?;
        world.ffa(Function::RxRelease, []).succeeded()?;
        let words = [handle, 1 << 32, u64::from(world.id().0)];
        MAILBOX
            .tx
            .write(0, words.into_iter().flat_map(u64::to_le_bytes));
        world.ffa(Function::MemRelinquish, []).succeeded()?;
    }
    world.ffa(Function::RxtxUnmap, []).succeeded()?;
    Ok(failed)
}

/// Three constituents of six pages, which three partitions may read.
fn run(number: u32) -> Constituent {
    let (page, page_count) = [(9, 1), (2, 3), (20, 2)][number as usize % 3];
    Constituent {
        address: FREE + 0x80_0000 + page * 0x1000,
        page_count,
    }
}

/// Lends them to `to`, to be read.
fn lend(world: &mut NormalWorld, to: &[EndpointId]) -> TestResult<Handle> {
    let send = Send {
        function: Function::MemLend,
        to,
        flags: 0,
        count: 3,
        constituent: &run,
    };
    let header = send.header(world.id());
    let receivers = to.iter().map(|id| receiver(*id, DataAccess::ReadOnly));
    let region = RegionOf {
        constituents: send.constituents(0),
        constituent_count: 3,
        page_count: 6,
    };
    let mut bytes = [0; ROOM];
    let encoded = encode_for(world.version, &header, receivers, Some(region), &mut bytes);
    let length = encoded.map_or(0, |all| all.total_length);
    MAILBOX.tx.write(0, bytes.into_iter().take(length as usize));
    let reply = world
        .ffa(send.function, [u64::from(length); 2])
        .succeeded()?;
    Ok(Handle::from_words(reply.x(2) as u32, reply.x(3) as u32))
}

fn t5_t8_t9_t10_t11_requests_for_more_than_was_granted_are_refused(
    world: &mut NormalWorld,
) -> TestResult {
    let all = three(world)?;
    let handle = lend(world, &all)?;
    for who in all {
        let [number, found, ..] = world.invoke(who, 0, [handle.0, word(all), 0])?;
        if let Some((id, _, error)) = REQUESTS.get((number as usize).wrapping_sub(1)) {
            fail!(
                "{id}, row {number}: {who} got {}, not {error:?}",
                found as u32 as i32
            );
        }
    }
    reclaim(world, handle, 0).succeeded()?;
    Ok(())
}

/// Retrieves what has three fragments of constituents, and asks for them in all wrong ways.
fn fetch_half(world: &mut PartitionWorld, [handle, _, _]: [u64; 3]) -> TestResult<[u64; 4]> {
    world.call(rxtx_map(Width::W64)).succeeded()?;
    let header = Header {
        sender: EndpointId::NORMAL_WORLD,
        tag: TAG,
        ..Header::of_handle(Handle(handle))
    };
    let receivers = [receiver(world.id(), DataAccess::ReadWrite)].into_iter();
    let none: Option<RegionOf<core::iter::Empty<Constituent>>> = None;
    let mut bytes = [0; ROOM];
    let length = encode_for(world.version, &header, receivers, none, &mut bytes)
        .map_or(0, |encoded| encoded.total_length);
    MAILBOX.tx.write(0, bytes.into_iter().take(length as usize));
    let reply = world.ffa(Function::MemRetrieveReq, [u64::from(length); 2]);
    let reply = reply.returned(Function::MemRetrieveResp)?;
    let (total, mut position) = (reply.x(1) as u32, reply.x(2) as u32);
    let ask = |position| Fragment {
        handle: Handle(handle),
        position,
        endpoint: EndpointId(0),
    };
    pass(world, Function::MemFragRx, ask(position)).refused(Busy)?;
    let mut fragments = 1;
    while position < total {
        world.ffa(Function::RxRelease, []).succeeded()?;
        for wrong in [
            0,
            position - 16,
            position + 16,
            position + 1,
            total,
            u32::MAX,
        ] {
            pass(world, Function::MemFragRx, ask(wrong)).refused(InvalidParameters)?;
        }
        let other = Fragment {
            handle: Handle(handle + (1 << 16)),
            ..ask(position)
        };
        pass(world, Function::MemFragRx, other).refused(InvalidParameters)?;
        // T19: it does not know all that it would give back.
        let words = [handle, 1 << 32, u64::from(world.id().0)];
        MAILBOX
            .tx
            .write(0, words.into_iter().flat_map(u64::to_le_bytes));
        let early = world.ffa(Function::MemRelinquish, []);
        early.refused(InvalidParameters)?;
        let reply = pass(world, Function::MemFragRx, ask(position));
        position += fragment(&reply.returned(Function::MemFragTx)?).position;
        fragments += 1;
    }
    world.ffa(Function::RxRelease, []).succeeded()?;
    pass(world, Function::MemFragRx, ask(total)).refused(InvalidParameters)?;
    Ok([fragments, 0, 0, 0])
}

fn f11_t19_a_description_is_fetched_in_order_and_before_it_is_given_back(
    world: &mut NormalWorld,
) -> TestResult {
    let who = world.tester(Role::Primary)?;
    let send = Send {
        function: Function::MemShare,
        to: &[who],
        flags: 0,
        count: 600,
        constituent: &scattered,
    };
    let version = world.version;
    let handle = send.handle(world, version)?;
    let [fragments, ..] = world.invoke(who, 0, [handle.0, 0, 0])?;
    equal("the fragments", fragments, 3)?;
    let [found, ..] = world.invoke(who, 1, [handle.0, 0, 0])?;
    equal("the status of FFA_MEM_RELINQUISH", found, 0)?;
    reclaim(world, handle, 0).succeeded()?;
    Ok(())
}

/// The handles of [`f8_transactions_that_never_end_use_up_their_senders_memory_only`], in free memory.
const HANDLES: usize = FREE as usize + 0x20_0000;

fn f8_transactions_that_never_end_use_up_their_senders_memory_only(
    world: &mut NormalWorld,
) -> TestResult {
    let [lender, borrower, _] = three(world)?;
    let mut begun = 0;
    let refused = loop {
        // One of two constituents.
        let send = Send {
            function: Function::MemShare,
            to: &[borrower],
            flags: 0,
            count: 1,
            constituent: &run,
        };
        let header = send.header(world.id());
        let receivers = [receiver(borrower, DataAccess::ReadWrite)].into_iter();
        let region = RegionOf {
            constituents: send.constituents(0),
            constituent_count: 2,
            page_count: 2,
        };
        let mut bytes = [0; ROOM];
        let encoded = encode_for(world.version, &header, receivers, Some(region), &mut bytes);
        let lengths = encoded.map_or([0; 2], |all| [all.total_length, all.fragment_length]);
        let end = lengths[1] as usize;
        MAILBOX.tx.write(0, bytes.into_iter().take(end));
        let reply = world.ffa(send.function, lengths.map(u64::from));
        if !reply.is(Function::MemFragRx) {
            break reply;
        }
        let handle = fragment(&reply).handle;
        memory::store(HANDLES + 8 * begun, handle.0);
        begun += 1;
    };
    let verdict = refused.refused(FfaError::NoMemory);
    // A partition has what it needs.
    let lent = world.invoke(lender, 0, [borrower.0.into(), 0, 0]);
    for number in 0..begun {
        let handle = Handle(memory::load(HANDLES + 8 * number));
        reclaim(world, handle, 0).succeeded()?;
    }
    verdict?;
    ensure!(begun > 10, "only {begun} were begun");
    let [handle, ..] = lent?;
    let [found, ..] = world.invoke(lender, 1, [handle, 0, 0])?;
    equal("the status of FFA_MEM_RECLAIM", found, 0)?;
    let handle = lend(world, &[borrower])?;
    reclaim(world, handle, 0).succeeded()?;
    Ok(())
}

/// A page of each 2 MiB: each takes a table of its own.
fn far(number: u32) -> Constituent {
    Constituent {
        address: LARGE + u64::from(number) * 0x20_0000,
        page_count: 1,
    }
}

fn t14_a_retrieve_that_needs_more_tables_than_there_are_changes_nothing(
    world: &mut NormalWorld,
) -> TestResult {
    let all = three(world)?;
    let version = world.version;
    // The second number has tables after the first had none, three times.
    let both = [(500, FfaError::NoMemory.code()), (3, 0)];
    for (count, expected) in both.into_iter().chain(both).chain(both) {
        let send = Send {
            function: Function::MemShare,
            to: &all,
            flags: 0,
            count,
            constituent: &far,
        };
        fill(&send, 7);
        let handle = send.handle(world, version)?;
        let mut round = 0;
        for who in all {
            // Who has them in one piece needs but a table.
            let expected = if TWINS.contains(&who) { 0 } else { expected };
            let borrow = Borrow {
                handle,
                sender: world.id(),
                receivers: &all,
                flags: 0,
                base: Some(7 + 1000 * round),
                non_secure: true,
            };
            let [found, ..] = borrows(world, who, borrow)?;
            let expected = expected as u32 as u64;
            equal("the status of FFA_MEM_RETRIEVE_REQ", found, expected)?;
            if expected == 0 {
                leaves(world, who, handle, 0)?;
                round += 1;
            }
        }
        reclaim(world, handle, 0).succeeded()?;
    }
    Ok(())
}

/// RX is where the machine has no memory: the hypervisor's retrieve ends with ABORTED, and nothing has changed.
fn t15_a_description_that_cannot_be_written_is_told_again(world: &mut NormalWorld) -> TestResult {
    /// Behind the machine's memory, within that of the manifest.
    const NOTHING: u64 = 0xc000_0000;
    let all = three(world)?;
    let handle = lend(world, &all)?;
    let id = Width::W64;
    let with_rx = |rx| {
        let map = bulkhead_payload::Request::ffa(Function::RxtxMap, id);
        map.with([MAILBOX.tx.address(), rx, 1])
    };
    let header = Header::of_handle(handle);
    let none: Option<RegionOf<core::iter::Empty<Constituent>>> = None;
    let mut bytes = [0; ROOM];
    let receivers = core::iter::empty();
    let length = encode_for(world.version, &header, receivers, none, &mut bytes)
        .map_or(0, |encoded| encoded.total_length);
    world.ffa(Function::RxtxUnmap, []).succeeded()?;
    for (rx, error) in [
        (NOTHING, Some(FfaError::Aborted)),
        (MAILBOX.rx.address(), None),
    ] {
        world.call(with_rx(rx)).succeeded()?;
        MAILBOX.tx.write(0, bytes.into_iter().take(length as usize));
        let reply = world.ffa(Function::MemRetrieveReq, [u64::from(length); 2]);
        match error {
            Some(error) => {
                reply.refused(error)?;
                // There is nothing to read.
                world.ffa(Function::RxRelease, []).refused(Denied)?;
                world.ffa(Function::RxtxUnmap, []).succeeded()?;
            }
            None => {
                reply.returned(Function::MemRetrieveResp)?;
                world.ffa(Function::RxRelease, []).succeeded()?;
            }
        }
    }
    reclaim(world, handle, 0).succeeded()?;
    Ok(())
}
