// SPDX-License-Identifier: MIT OR Apache-2.0
//! Transactions whose receiver or sender ends (K7, A-60), and two cores that want the same one (T21).

use bulkhead_abi::{EndpointId, FfaError, Function, Width};
use bulkhead_payload::cores::Core;
use bulkhead_payload::counter::{self, microseconds};
use bulkhead_payload::{Canary, Conduit, Request, memory};

use super::{
    Borrow, borrow_half, borrows, fill, holds, leave_half, leaves, lend_half, reclaim, share,
    status, three,
};
use crate::normal_world::NormalWorld;
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_world::PartitionWorld;
use crate::protocol::{Caller, run_half};
use crate::{cases, ensure, fail, protocol, skip};

cases! {
    k7_the_normal_world_reclaims_what_a_receiver_had_that_ended: [borrow_half, leave_half, abort_half];
    k7_what_a_partition_lent_is_wiped_when_it_has_ended_and_the_last_receiver_leaves:
        [borrow_half, leave_half, lend_half, abort_half];
    t21_of_a_retrieve_and_a_reclaim_on_two_cores_one_wins: [borrow_half, leave_half];
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
