// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where descriptors lie and how they come: in a buffer other than TX, until there is no memory (F7), and from
//! two cores (F9). Three receivers, and three constituents at least.

use bulkhead_abi::memory::attributes::DataAccess;
use bulkhead_abi::memory::encode::{RegionOf, encode_for};
use bulkhead_abi::memory::registers::Fragment;
use bulkhead_abi::memory::{Constituent, Handle};
use bulkhead_abi::{EndpointId, FfaError, Function, Version, Width, features};
use bulkhead_payload::cores::Core;
use bulkhead_payload::counter::{self, microseconds};
use bulkhead_payload::memory::{self, MAILBOX, PAGE_SIZE, Page};
use bulkhead_payload::{Canary, Conduit, Reply, Request};

use super::{
    Borrow, FREE, MOST, Send, borrow_half, borrows, fill, fragment, holds, leave_half, leaves,
    pass, receiver, reclaim, scattered, share, status, three,
};
use crate::normal_world::NormalWorld;
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_world::PartitionWorld;
use crate::protocol::Caller;
use crate::{cases, ensure, fail, skip};

use FfaError::{Denied, InvalidParameters, NoMemory};

cases! {
    a57_descriptors_in_memory_of_the_senders_own: [borrow_half, leave_half, own_half];
    f7_fragments_use_up_their_senders_memory_and_come_again: [borrow_half, leave_half];
    f9_of_two_cores_with_the_last_fragment_one_completes_the_transaction: [borrow_half, leave_half];
    f9_fragments_of_two_cores_are_taken_one_after_the_other: [borrow_half, leave_half];
}

/// A page of the normal world for a descriptor; no transaction of these tests has it.
const BUFFER: usize = FREE as usize + 0x40_0000;
/// The same of a partition, and what it sends.
static PAGES: [Page; 4] = [const { Page::zeroed() }; 4];

/// Words at the start of a page.
fn put(bytes: &[u8], mut word: impl FnMut(usize, u64)) {
    for (number, bytes) in bytes.chunks(8).enumerate() {
        let mut padded = [0; 8];
        padded[..bytes.len()].copy_from_slice(bytes);
        word(8 * number, u64::from_le_bytes(padded));
    }
}

/// A descriptor: all its bytes, and how many there are.
fn describe(send: &Send<'_>, sender: EndpointId, version: Version) -> ([u8; PAGE_SIZE], usize) {
    let mut bytes = [0; PAGE_SIZE];
    let receivers = (send.to.iter()).map(|id| receiver(*id, DataAccess::ReadWrite));
    let region = RegionOf {
        constituents: send.constituents(0),
        constituent_count: send.count,
        page_count: send.constituents(0).map(|run| run.page_count).sum(),
    };
    let header = send.header(sender);
    let encoded = encode_for(version, &header, receivers, Some(region), &mut bytes);
    let length = encoded.map_or(0, |encoded| encoded.total_length as usize);
    (bytes, length)
}

/// Sends what is at `address`, in both forms: each is right, and taken back, or refused with `expected`.
fn both_forms(
    caller: &mut impl Caller,
    length: usize,
    address: u64,
    pages: u64,
    expected: Option<FfaError>,
) -> TestResult {
    let length = length as u64;
    for width in [Width::W32, Width::W64] {
        let request = Request::ffa(Function::MemShare, width);
        let reply = caller.call(request.with([length, length, address, pages]));
        match expected {
            Some(error) => {
                reply.refused(error)?;
            }
            None => {
                let handle = handle_of(&reply.succeeded()?);
                reclaim(caller, handle, 0).succeeded()?;
            }
        }
    }
    Ok(())
}

fn handle_of(reply: &Reply) -> Handle {
    Handle::from_words(reply.x(2) as u32, reply.x(3) as u32)
}

/// FFA_FEATURES says that there may be such buffers, of what sends and of nothing else.
fn is_told(caller: &mut impl Caller) -> TestResult {
    for function in [Function::MemDonate, Function::MemLend, Function::MemShare] {
        let id = function.id(Width::W32);
        let told = caller.ffa(Function::Features, [id]).succeeded()?.x(2);
        equal(
            "w2 of FFA_FEATURES",
            told,
            features::MEM_DYNAMIC_BUFFER.into(),
        )?;
    }
    Ok(())
}

/// Without a mailbox the partition shares three pages of its own by a descriptor in another one.
fn own_half(world: &mut PartitionWorld, ids: [u64; 3]) -> TestResult<[u64; 4]> {
    is_told(world)?;
    let to = ids.map(EndpointId::low_half);
    let version = world.version;
    let [buffer, rest @ ..] = &PAGES;
    let send = Send {
        function: Function::MemShare,
        to: &to,
        flags: 0,
        count: 3,
        constituent: &|number| Constituent {
            address: rest[number as usize].address(),
            page_count: 1,
        },
    };
    let (bytes, length) = describe(&send, world.id(), version);
    buffer.write(0, bytes.into_iter().take(length));
    let address = buffer.address();
    both_forms(world, length, address, 1, None)?;
    for (address, pages, error) in [
        (address, 0, InvalidParameters),
        (address + 8, 1, InvalidParameters),
        (address, 17, InvalidParameters),
        (FREE, 1, InvalidParameters),
    ] {
        both_forms(world, length, address, pages, Some(error))?;
    }
    Ok([0; 4])
}

fn a57_descriptors_in_memory_of_the_senders_own(world: &mut NormalWorld) -> TestResult {
    is_told(world)?;
    let version = world.version;
    let to = three(world)?;
    let send = share(&to, Function::MemShare);
    let (bytes, length) = describe(&send, world.id(), version);
    let at = |address: usize| {
        put(&bytes[..length], |offset, word| {
            memory::store(address + offset, word);
        });
        address as u64
    };
    let address = at(BUFFER);
    both_forms(world, length, address, 1, None)?;
    both_forms(world, length, address, 16, None)?;
    for (address, pages, error) in [
        (address, 0, InvalidParameters),
        (0, 1, InvalidParameters),
        (address + 8, 1, InvalidParameters),
        (address, 17, InvalidParameters),
        (u64::MAX << 12, 1, InvalidParameters),
        // Secure memory.
        (0x0e40_0000, 1, InvalidParameters),
        (MAILBOX.rx.address(), 1, Denied),
        (MAILBOX.tx.address(), 1, Denied),
    ] {
        let request = Request::ffa(Function::MemShare, Width::W64);
        let length = length as u64;
        let reply = world.call(request.with([length, length, address, pages]));
        reply.refused(error)?;
    }
    // A page of the transaction itself.
    let first = send.constituents(0).next().map_or(0, |run| run.address);
    let address = at(first as usize);
    both_forms(world, length, address, 1, Some(Denied))?;
    // And what is sent so is there.
    fill(&send, 900);
    let lengths = [length as u64; 2];
    let [total, fragment] = lengths;
    let address = at(BUFFER);
    let reply = world.ffa(Function::MemShare, [total, fragment, address, 1]);
    let handle = handle_of(&reply.succeeded()?);
    for (number, who) in (0..).zip(to) {
        let borrow = Borrow {
            handle,
            sender: world.id(),
            receivers: &to,
            flags: 0,
            base: Some(900 + 1000 * number),
            non_secure: true,
        };
        let [found, ..] = borrows(world, who, borrow)?;
        equal("the status of FFA_MEM_RETRIEVE_REQ", found, 0)?;
    }
    for who in to {
        leaves(world, who, handle, 0)?;
    }
    reclaim(world, handle, 0).succeeded()?;
    holds(&send, Some(900 + 1000 * MOST as u64))?;
    for who in to {
        let receivers = to.map(|id| if id == who { OTHER } else { id });
        world.invoke(who, 2, receivers.map(|id| u64::from(id.0)))?;
    }
    Ok(())
}

/// A partition that is none of [`three`].
const OTHER: EndpointId = EndpointId(0x8004);

/// The first fragment of a share of `count` pages: what is asked for next.
fn begin(world: &mut NormalWorld, to: &[EndpointId], count: u32) -> TestResult<(Fragment, u32)> {
    let version = world.version;
    let send = Send {
        function: Function::MemShare,
        to,
        flags: 0,
        count,
        constituent: &scattered,
    };
    let (lengths, sent) = send.encode(world.id(), version);
    let reply = world.ffa(Function::MemShare, lengths);
    Ok((fragment(&reply.returned(Function::MemFragRx)?), sent))
}

/// Writes the constituents from `first` on to TX, as a fragment has them.
fn write(first: u32, count: u32) {
    for (place, number) in (first..).take(count as usize).enumerate() {
        let run = scattered(number);
        let words = [run.address, u64::from(run.page_count)];
        let bytes = words.into_iter().flat_map(u64::to_le_bytes);
        MAILBOX.tx.write(16 * place, bytes);
    }
}

/// As many constituents as TX has room for.
const FULL: u32 = (PAGE_SIZE / 16) as u32;

/// Brings fragments of a page until one is refused: how many were taken.
fn exhaust(world: &mut NormalWorld, next: Fragment) -> TestResult<u64> {
    let full = Fragment {
        position: PAGE_SIZE as u32,
        ..next
    };
    let mut taken = 0;
    loop {
        let reply = pass(world, Function::MemFragTx, full);
        if !reply.is(Function::MemFragRx) {
            reply.refused(NoMemory)?;
            return Ok(taken);
        }
        taken += 1;
    }
}

fn f7_fragments_use_up_their_senders_memory_and_come_again(world: &mut NormalWorld) -> TestResult {
    /// More than any machine of these tests has memory for.
    const COUNT: u32 = 1 << 22;
    let to = three(world)?;
    let mut before = None;
    for _ in 0..2 {
        // Two, so that one can make room for the other.
        let (small, _) = begin(world, &to, COUNT)?;
        write(0, FULL);
        for _ in 0..4 {
            let full = Fragment {
                position: PAGE_SIZE as u32,
                ..small
            };
            pass(world, Function::MemFragTx, full).returned(Function::MemFragRx)?;
        }
        let (large, _) = begin(world, &to, COUNT)?;
        write(0, FULL);
        let taken = exhaust(world, large)?;
        ensure!(taken > 4, "{taken} fragments used all up");
        reclaim(world, small.handle, 0).succeeded()?;
        // The one that was refused comes again, and as many as there is room for.
        let more = exhaust(world, large)?;
        ensure!(more >= 4, "{more} fragments more");
        reclaim(world, large.handle, 0).succeeded()?;
        let all = taken + more;
        equal("fragments, as before", all, *before.get_or_insert(all))?;
    }
    let version = world.version;
    let send = share(&to, Function::MemShare);
    let handle = send.handle(world, version)?;
    reclaim(world, handle, 0).succeeded()?;
    Ok(())
}

/// A fragment from another core: its answer's first words.
fn post(core: &mut Core, next: Fragment) {
    let [_, handle_low, handle_high, length, ..] = next.transmit();
    core.post(
        |_, words| {
            let [low, high, length, ..] = *words;
            let request = Request::ffa(Function::MemFragTx, Width::W32).with([low, high, length]);
            let reply = request.issue(Conduit::Smc, Canary::new(EndpointId::NORMAL_WORLD));
            *words = [reply.x(0), reply.x(1), reply.x(2), reply.x(3), 0, 0, 0, 0];
        },
        [handle_low, handle_high, length, 0, 0, 0, 0, 0],
    );
}

/// What an answer says: its function, and the status or the position.
fn told(reply: &Reply) -> [u64; 3] {
    [reply.x(0), reply.x(2), reply.x(3)]
}

fn f9_of_two_cores_with_the_last_fragment_one_completes_the_transaction(
    world: &mut NormalWorld,
) -> TestResult {
    const ROUNDS: u64 = 100;
    const COUNT: u32 = 400;
    let to = three(world)?;
    let [who, ..] = to;
    let Some(mut core) = Core::start(1) else {
        skip!("the machine has no second core")
    };
    let mut won = [0_u64; 2];
    for round in 0..ROUNDS {
        let (next, sent) = begin(world, &to, COUNT)?;
        write(sent, COUNT - sent);
        let last = Fragment {
            position: 16 * (COUNT - sent),
            ..next
        };
        post(&mut core, last);
        counter::spin(microseconds(round % 40));
        let here = told(&pass(world, Function::MemFragTx, last));
        let [function, _, low, high, ..] = core.finish();
        let there = [function, low, high];
        let success = Function::Success.id(Width::W32);
        let (low, high) = last.handle.to_words();
        let both = [here, there];
        let winners = both.map(|[function, ..]| u64::from(function == success));
        equal("cores that completed it", winners.iter().sum(), 1)?;
        for (core, [function, first, second]) in both.into_iter().enumerate() {
            won[core] += winners[core];
            if function == success {
                equal("w2 of FFA_SUCCESS", first, low.into())?;
                equal("w3 of FFA_SUCCESS", second, high.into())?;
            } else {
                equal("x0", function, Function::Error.id(Width::W32))?;
                equal("the error", first & 0xffff_ffff, status(InvalidParameters))?;
            }
        }
        if round == 0 {
            let borrow = Borrow {
                handle: last.handle,
                sender: world.id(),
                receivers: &to,
                flags: 0,
                base: None,
                non_secure: true,
            };
            memory_is_zero(COUNT);
            let [found, pages, ..] = borrows(world, who, borrow)?;
            equal("the status of FFA_MEM_RETRIEVE_REQ", found, 0)?;
            equal("the pages", pages, COUNT.into())?;
            leaves(world, who, last.handle, 0)?;
        }
        reclaim(world, last.handle, 0).succeeded()?;
    }
    ensure!(won.iter().all(|won| *won > 0), "{won:?}: no race");
    ensure!(core.stop(), "core 1 did not go off");
    Ok(())
}

/// The first word of each of so many pages becomes zero.
fn memory_is_zero(count: u32) {
    for number in 0..count {
        memory::store(scattered(number).address as usize, 0);
    }
}

fn f9_fragments_of_two_cores_are_taken_one_after_the_other(world: &mut NormalWorld) -> TestResult {
    /// Fragments of one constituent from each core.
    const EACH: u32 = 60;
    let to = three(world)?;
    let Some(mut core) = Core::start(1) else {
        skip!("the machine has no second core")
    };
    // More are missing than both cores bring.
    let (next, sent) = begin(world, &to, 400)?;
    ensure!(
        sent + 2 * EACH < 400,
        "{sent} constituents were in the first fragment"
    );
    write(0, 1);
    let one = Fragment {
        position: 16,
        ..next
    };
    // The same page each time: it counts only in the end, which does not come.
    let mut seen = [false; 2 * EACH as usize];
    let mut note = |[function, low, position]: [u64; 3]| {
        equal("x0", function, Function::MemFragRx.id(Width::W32))?;
        equal("w2", low, one.handle.to_words().1.into())?;
        let place = (position as u32).wrapping_sub(next.position) / 16;
        let free = seen
            .get_mut(place.wrapping_sub(1) as usize)
            .filter(|seen| !**seen);
        let Some(free) = free else {
            fail!("two fragments ended at {position:#x}");
        };
        *free = true;
        Ok(())
    };
    for _ in 0..EACH {
        post(&mut core, one);
        let here = told(&pass(world, Function::MemFragTx, one));
        let [function, _, second, third, ..] = core.finish();
        note(here)?;
        note([function, second, third])?;
    }
    reclaim(world, one.handle, 0).succeeded()?;
    ensure!(core.stop(), "core 1 did not go off");
    Ok(())
}
