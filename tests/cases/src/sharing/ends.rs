// SPDX-License-Identifier: MIT OR Apache-2.0
//! Transactions whose receiver or sender ends (K7, A-60), and two cores that want the same one (T21).

use bulkhead_abi::memory::Constituent;
use bulkhead_abi::memory::attributes::DataAccess;
use bulkhead_abi::memory::encode::{RegionOf, encode_for};
use bulkhead_abi::{EndpointId, FfaError, Function, Width};
use bulkhead_payload::cores::Core;
use bulkhead_payload::counter::{self, microseconds};
use bulkhead_payload::memory::MAILBOX;
use bulkhead_payload::{Canary, Conduit, Request, memory, stage1};

use super::{
    Borrow, OWN, Send, borrow_half, borrows, fill, holds, leave_half, leaves, lend_half, receiver,
    reclaim, share, status, three,
};
use crate::normal_world::{NormalWorld, rxtx_map};
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_world::PartitionWorld;
use crate::protocol::{Caller, run_half};
use crate::{cases, ensure, fail, protocol, skip};

cases! {
    k7_the_normal_world_reclaims_what_a_receiver_had_that_ended: [borrow_half, leave_half, abort_half];
    k7_what_a_partition_lent_is_wiped_when_it_has_ended_and_the_last_receiver_leaves:
        [borrow_half, leave_half, lend_half, abort_half];
    k7_f10_a_sender_that_ends_between_fragments_leaves_nothing: [borrow_half, leave_half, begin_half, abort_half];
    t21_of_a_retrieve_and_a_reclaim_on_two_cores_one_wins: [borrow_half, leave_half];
    t17_what_is_relinquished_another_core_of_the_partition_cannot_write: [borrow_half, leave_half, write_half];
}

const NWD: EndpointId = EndpointId::NORMAL_WORLD;

fn abort_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let reply = world.call(Request::ffa(Function::Abort, Width::W64));
    fail!("it went on: {:#x?}", &reply.registers.x[..8])
}

/// Ends a partition by that half of the current case.
fn end(world: &mut NormalWorld, who: EndpointId, half: usize) -> TestResult {
    let payload = run_half(world.case(), half, [0; 3]);
    world
        .direct(Width::W64, who, payload)
        .refused(FfaError::Aborted)?;
    Ok(())
}

fn k7_the_normal_world_reclaims_what_a_receiver_had_that_ended(
    world: &mut NormalWorld,
) -> TestResult {
    let version = world.version;
    let [stays, ..] = three(world)?;
    let ends = world.spare()?;
    let both = [stays, ends];
    let send = share(&both, Function::MemLend);
    fill(&send, 100);
    let handle = send.handle(world, version)?;
    let mut borrow = Borrow {
        handle,
        sender: world.id(),
        receivers: &both,
        flags: 0,
        base: Some(100),
        non_secure: true,
    };
    let [found, ..] = borrows(world, stays, borrow)?;
    equal("the status of the one that stays", found, 0)?;
    borrow.base = Some(1100);
    let [found, ..] = borrows(world, ends, borrow)?;
    equal("the status of the one that ends", found, 0)?;
    end(world, ends, 2)?;
    // The other one still has them.
    reclaim(world, handle, 0).refused(FfaError::Denied)?;
    leaves(world, stays, handle, 0)?;
    reclaim(world, handle, 0).succeeded()?;
    holds(&send, Some(2100))?;
    // All that is left can be lent again, but not to the one that ended.
    send.make(world, version).error().map_or_else(
        || fail!("a partition that has ended is a receiver"),
        |_| Ok(()),
    )?;
    let again = share(&both[..1], Function::MemLend);
    let handle = again.handle(world, version)?;
    reclaim(world, handle, 0).succeeded()?;
    Ok(())
}

/// The lender's pages are DRAM, which on this machine both worlds see.
fn k7_what_a_partition_lent_is_wiped_when_it_has_ended_and_the_last_receiver_leaves(
    world: &mut NormalWorld,
) -> TestResult {
    let [borrower, ..] = three(world)?;
    let ends = world.spare()?;
    let [handle, first, second, _] = world.invoke(ends, 2, [borrower.0.into(), 0, 0])?;
    let handle = bulkhead_abi::memory::Handle(handle);
    let borrow = Borrow {
        handle,
        sender: ends,
        receivers: &[borrower],
        flags: 0,
        base: Some(500),
        non_secure: false,
    };
    let [found, ..] = borrows(world, borrower, borrow)?;
    equal("the status of FFA_MEM_RETRIEVE_REQ", found, 0)?;
    end(world, ends, 3)?;
    let pages = [first, second];
    for (page, value) in pages.into_iter().zip([1500, 1501]) {
        equal("a page that is in use", memory::load(page as usize), value)?;
    }
    leaves(world, borrower, handle, 0)?;
    for page in pages {
        equal("a page", memory::load(page as usize), 0)?;
    }
    let [late, ..] = borrows(world, borrower, borrow)?;
    equal(
        "retrieved after the end",
        late,
        status(FfaError::InvalidParameters),
    )
}

/// Begins to lend two pages, of which it names one: the handle.
fn begin_half(world: &mut PartitionWorld, [to, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    world.call(rxtx_map(Width::W64)).succeeded()?;
    let to = [EndpointId(to as u16)];
    let send = Send {
        function: Function::MemLend,
        to: &to,
        flags: 0,
        count: 1,
        constituent: &|_| Constituent {
            address: OWN[0].address(),
            page_count: 1,
        },
    };
    let region = RegionOf {
        constituents: send.constituents(0),
        constituent_count: 2,
        page_count: 2,
    };
    let receivers = [receiver(to[0], DataAccess::ReadWrite)].into_iter();
    let header = send.header(world.id());
    let mut bytes = [0; 256];
    let encoded = encode_for(world.version, &header, receivers, Some(region), &mut bytes);
    let lengths = encoded.map_or([0; 2], |all| [all.total_length, all.fragment_length]);
    let end = lengths[1] as usize;
    MAILBOX.tx.write(0, bytes.into_iter().take(end));
    let reply = world.ffa(send.function, lengths.map(u64::from));
    let reply = reply.returned(Function::MemFragRx)?;
    Ok([super::fragment(&reply).handle.0, 0, 0, 0])
}

fn k7_f10_a_sender_that_ends_between_fragments_leaves_nothing(
    world: &mut NormalWorld,
) -> TestResult {
    let all = three(world)?;
    let ends = world.spare()?;
    let [borrower, ..] = all;
    let [handle, ..] = world.invoke(ends, 2, [borrower.0.into(), 0, 0])?;
    let handle = bulkhead_abi::memory::Handle(handle);
    end(world, ends, 3)?;
    let borrow = Borrow {
        handle,
        sender: ends,
        receivers: &[borrower],
        flags: 0,
        base: None,
        non_secure: false,
    };
    let [found, ..] = borrows(world, borrower, borrow)?;
    equal(
        "the status of FFA_MEM_RETRIEVE_REQ",
        found,
        status(FfaError::InvalidParameters),
    )?;
    reclaim(world, handle, 0).refused(FfaError::InvalidParameters)?;
    Ok(())
}

/// A half on another core: what its reply is, its status, and its results.
fn post(core: &mut Core, to: EndpointId, payload: [u64; 5]) {
    let [_, which, a, b, c] = payload;
    core.post(
        |_, words| {
            let [to, which, a, b, c, ..] = *words;
            let payload = [protocol::command::RUN_HALF, which, a, b, c];
            let request = Request::direct(Width::W64, NWD, EndpointId::low_half(to), payload);
            let reply = request.issue(Conduit::Smc, Canary::new(NWD));
            *words = [reply.x(0), reply.x(3), reply.x(4), reply.x(5), 0, 0, 0, 0];
        },
        [u64::from(to.0), which, a, b, c, 0, 0, 0],
    );
}

fn t21_of_a_retrieve_and_a_reclaim_on_two_cores_one_wins(world: &mut NormalWorld) -> TestResult {
    const ROUNDS: u64 = 300;
    /// The longest head start of the retrieve, in microseconds.
    const LONGEST: u64 = 60;
    let version = world.version;
    let [who, ..] = three(world)?;
    let Some(mut core) = Core::start(1) else {
        skip!("the machine has no second core")
    };
    let to = [who];
    let send = share(&to, Function::MemLend);
    let mut retrieved = 0;
    for round in 0..ROUNDS {
        fill(&send, round);
        let handle = send.handle(world, version)?;
        let borrow = Borrow {
            handle,
            sender: world.id(),
            receivers: &to,
            flags: 0,
            base: Some(round as u16),
            non_secure: true,
        };
        let half = run_half(world.case(), 0, borrow.arguments());
        post(&mut core, who, half);
        counter::spin(microseconds(round % LONGEST));
        let reply = reclaim(world, handle, 0);
        let [function, outcome, found, pages, ..] = core.finish();
        equal(
            "the reply of the half",
            function,
            Function::MsgSendDirectResp.id(Width::W64),
        )?;
        equal("its outcome", outcome, protocol::status::OK)?;
        if found == 0 {
            retrieved += 1;
            equal("the pages", pages, 6)?;
            reply.refused(FfaError::Denied)?;
            leaves(world, who, handle, 0)?;
            holds(&send, Some(1000 + round))?;
            reclaim(world, handle, 0).succeeded()?;
        } else {
            equal("the loser", found, status(FfaError::InvalidParameters))?;
            reply.succeeded()?;
            holds(&send, Some(round))?;
        }
    }
    ensure!(
        (1..ROUNDS).contains(&retrieved),
        "{retrieved} of {ROUNDS} were retrieved: no race"
    );
    ensure!(core.stop(), "core 1 did not go off");
    Ok(())
}

/// Writes to a page of the normal world until that fails.
fn write_half(_: &mut PartitionWorld, [page, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    stage1::enable();
    let window = stage1::window(1, page | stage1::PAGE | super::NON_SECURE);
    stage1::flush();
    let end = counter::now() + microseconds(5_000_000);
    let mut number = 0;
    while counter::now() < end {
        number += 1;
        memory::store(window, number);
    }
    fail!("the page could be written to all the time");
}

/// The partition ends by it: one of its cores has relinquished, another goes on writing.
fn t17_what_is_relinquished_another_core_of_the_partition_cannot_write(
    world: &mut NormalWorld,
) -> TestResult {
    let version = world.version;
    let Some(mut core) = Core::start(1) else {
        skip!("the machine has no second core")
    };
    let who = world.wide_victim()?;
    let to = [who];
    let send = share(&to, Function::MemShare);
    fill(&send, 7);
    let handle = send.handle(world, version)?;
    let borrow = Borrow {
        handle,
        sender: world.id(),
        receivers: &to,
        flags: 0,
        base: Some(7),
        non_secure: true,
    };
    let [found, _, _, page] = borrows(world, who, borrow)?;
    equal("the status of FFA_MEM_RETRIEVE_REQ", found, 0)?;
    let half = run_half(world.case(), 2, [page, 0, 0]);
    post(&mut core, who, half);
    let page = page as usize;
    let end = counter::now() + microseconds(2_000_000);
    // Others than what `fill` and the retrieve left there.
    while !(10..1000).contains(&memory::load(page)) && memory::load(page) < 2000 {
        ensure!(counter::now() < end, "the other core does not write");
    }
    let leave = run_half(world.case(), 1, [handle.0, 0, 1]);
    let reply = world.direct(Width::W64, who, leave);
    let after = memory::load(page);
    // The other core's fault may end the partition before this one has answered.
    if !reply.is(Function::Error) {
        let [outcome, found, ..] = reply.payload();
        equal("the half's outcome", outcome, protocol::status::OK)?;
        equal("the status of FFA_MEM_RELINQUISH", found, 0)?;
    }
    counter::spin(microseconds(1000));
    equal("the page, a millisecond later", memory::load(page), after)?;
    let [function, ..] = core.finish();
    let error = Function::Error.id(Width::W32);
    equal("the answer to who wrote", function, error)?;
    ensure!(core.stop(), "core 1 did not go off");
    world
        .direct(Width::W64, who, [0; 5])
        .refused(FfaError::Aborted)?;
    reclaim(world, handle, 0).succeeded()?;
    Ok(())
}
