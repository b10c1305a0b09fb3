// SPDX-License-Identifier: MIT OR Apache-2.0
//! The four calls of a share, one by one, for memory of three forms: a test, and windows of the bench.

use bulkhead_abi::memory::attributes::DataAccess;
use bulkhead_abi::memory::encode::{RegionOf, encode_for};
use bulkhead_abi::memory::registers::Fragment;
use bulkhead_abi::memory::{Constituent, Handle, Header};
use bulkhead_abi::{EndpointId, FfaError, Function, Width};
use bulkhead_payload::memory::MAILBOX;

use super::{FREE, Send, TAG, fragment, pass, receiver, reclaim, scattered, status, three};
use crate::bench;
use crate::normal_world::{NormalWorld, Role, rxtx_map};
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_world::PartitionWorld;
use crate::protocol::Caller;
use crate::{cases, fail};

cases! {
    a40_a_page_a_block_and_many_pages_go_there_and_back: [step_half, stranger_half];
    h1_a_stranger_is_told_of_a_handle_what_it_is_told_of_none: [step_half, stranger_half];
}

/// How shared memory lies.
pub struct Form {
    /// For a list of figures.
    pub name: &'static str,
    count: u32,
    constituent: fn(u32) -> Constituent,
}

/// One page, a block of 2 MiB, pages of which no two are neighbours, and 64 MiB of those.
pub const FORMS: [Form; 4] = [
    Form {
        name: "1_page",
        count: 1,
        constituent: scattered,
    },
    Form {
        name: "512_pages_in_a_block",
        count: 1,
        constituent: block,
    },
    Form {
        name: "64_separate_pages",
        count: 64,
        constituent: scattered,
    },
    Form {
        name: "16384_separate_pages",
        count: 16_384,
        constituent: scattered,
    },
];
/// How often [`endure`] makes the four calls.
pub const CYCLES: u32 = 10_000;

fn block(_: u32) -> Constituent {
    Constituent {
        address: FREE,
        page_count: 512,
    }
}

/// What the borrower does. All that is not the call itself is done in the step before.
mod step {
    pub const BEGIN: u64 = 0;
    pub const PREPARE: u64 = 1;
    pub const RETRIEVE: u64 = 2;
    pub const RELEASE_RX: u64 = 3;
    pub const RELINQUISH: u64 = 4;
    pub const END: u64 = 5;
}

/// One step. The result is the argument `length` of the next.
fn step_half(world: &mut PartitionWorld, [step, handle, length]: [u64; 3]) -> TestResult<[u64; 4]> {
    match step {
        step::BEGIN => {
            world.call(rxtx_map(Width::W64)).succeeded()?;
        }
        step::PREPARE => return Ok([request(world, Handle(handle))?, 0, 0, 0]),
        step::RETRIEVE => retrieve(world, handle, length)?,
        step::RELEASE_RX => {
            world.ffa(Function::RxRelease, []).succeeded()?;
            let words = [handle, 1 << 32, u64::from(world.id().0)];
            MAILBOX
                .tx
                .write(0, words.into_iter().flat_map(u64::to_le_bytes));
        }
        step::RELINQUISH => {
            world.ffa(Function::MemRelinquish, []).succeeded()?;
        }
        _ => {
            world.ffa(Function::RxtxUnmap, []).succeeded()?;
        }
    }
    Ok([0; 4])
}

/// Writes a request to retrieve to TX: its length.
fn request(world: &PartitionWorld, handle: Handle) -> TestResult<u64> {
    let header = Header {
        sender: EndpointId::NORMAL_WORLD,
        tag: TAG,
        ..Header::of_handle(handle)
    };
    let receivers = [receiver(world.id(), DataAccess::ReadWrite)].into_iter();
    let none: Option<RegionOf<core::iter::Empty<Constituent>>> = None;
    let mut bytes = [0; 256];
    let encoded = encode_for(world.version, &header, receivers, none, &mut bytes);
    let Some(encoded) = encoded else {
        fail!("the request has no room");
    };
    let length = encoded.total_length;
    MAILBOX.tx.write(0, bytes.into_iter().take(length as usize));
    Ok(length.into())
}

/// Retrieves, with all fragments of the description.
fn retrieve(world: &mut PartitionWorld, handle: u64, length: u64) -> TestResult {
    let reply = world.ffa(Function::MemRetrieveReq, [length; 2]);
    let reply = reply.returned(Function::MemRetrieveResp)?;
    let (total, mut position) = (reply.x(1) as u32, reply.x(2) as u32);
    while position < total {
        world.ffa(Function::RxRelease, []).succeeded()?;
        let ask = Fragment {
            handle: Handle(handle),
            position,
            endpoint: EndpointId(0),
        };
        let reply = pass(world, Function::MemFragRx, ask).returned(Function::MemFragTx)?;
        position += fragment(&reply).position;
    }
    equal(
        "the length of the description",
        position.into(),
        total.into(),
    )
}

fn timed<T>(windows: bool, call: impl FnOnce() -> T) -> T {
    if windows { bench::window(call) } else { call() }
}

/// A borrower that has this test's half, between its first and its last step.
struct Borrower<'a> {
    world: &'a mut NormalWorld,
    id: EndpointId,
}

impl Borrower<'_> {
    fn step(&mut self, step: u64, handle: Handle, length: u64) -> TestResult<u64> {
        let arguments = [step, handle.0, length];
        let [result, ..] = self.world.invoke(self.id, 0, arguments)?;
        Ok(result)
    }

    /// The four calls of a share, each in a window or none.
    fn there_and_back(&mut self, form: &Form, windows: bool) -> TestResult {
        let send = Send {
            function: Function::MemShare,
            to: &[self.id],
            flags: 0,
            count: form.count,
            constituent: &form.constituent,
        };
        let version = self.world.version;
        let prepared = send.encode(self.world.id(), version);
        let reply = timed(windows, || send.issue(self.world, prepared)).succeeded()?;
        let handle = Handle::from_words(reply.x(2) as u32, reply.x(3) as u32);
        let length = self.step(step::PREPARE, handle, 0)?;
        timed(windows, || self.step(step::RETRIEVE, handle, length))?;
        self.step(step::RELEASE_RX, handle, 0)?;
        timed(windows, || self.step(step::RELINQUISH, handle, 0))?;
        timed(windows, || reclaim(self.world, handle, 0)).succeeded()?;
        Ok(())
    }
}

/// The current test is this file's, while `what` is done with a borrower.
fn with_borrower(
    world: &mut NormalWorld,
    id: EndpointId,
    what: impl FnOnce(&mut Borrower<'_>) -> TestResult,
) -> TestResult {
    let mut borrower = Borrower { world, id };
    borrower.step(step::BEGIN, Handle(0), 0)?;
    what(&mut borrower)?;
    borrower.step(step::END, Handle(0), 0)?;
    Ok(())
}

fn a40_a_page_a_block_and_many_pages_go_there_and_back(world: &mut NormalWorld) -> TestResult {
    let id = world.tester(Role::Primary)?;
    with_borrower(world, id, |borrower| {
        (FORMS.iter()).try_for_each(|form| borrower.there_and_back(form, false))
    })
}

/// The calls between the normal world and a borrower, for each form, each in a window, in this order.
pub const CALLS: [&str; 4] = ["share", "retrieve", "relinquish", "reclaim"];

/// Makes the calls once without windows, and then again with them. The borrower is a tester.
///
/// # Errors
/// When a call is refused.
pub fn windows(world: &mut NormalWorld, borrower: EndpointId, form: &Form) -> TestResult {
    begin(world);
    with_borrower(world, borrower, |borrower| {
        borrower.there_and_back(form, false)?;
        borrower.there_and_back(form, true)
    })
}

/// Makes the calls for one page [`CYCLES`] times, without windows.
///
/// # Errors
/// When a call is refused.
pub fn endure(world: &mut NormalWorld, borrower: EndpointId) -> TestResult {
    begin(world);
    with_borrower(world, borrower, |borrower| {
        (0..CYCLES).try_for_each(|_| borrower.there_and_back(&FORMS[0], false))
    })
}

/// What a stranger calls with a handle, by its number.
pub const STRANGE: [&str; 4] = ["retrieve", "relinquish", "frag_rx", "frag_tx"];
/// The handles it tries: that of a transaction of others, and three of nobody.
pub const HANDLES: usize = 4;

/// Calls with a handle that is none of the partition's: the status.
fn stranger_half(
    world: &mut PartitionWorld,
    [call, handle, window]: [u64; 3],
) -> TestResult<[u64; 4]> {
    let mapped = world.call(rxtx_map(Width::W64)).is(Function::Success);
    let named = Fragment {
        handle: Handle(handle),
        position: 0,
        endpoint: EndpointId(0),
    };
    let (function, arguments) = match call {
        0 => {
            let length = request(world, Handle(handle))?;
            (Function::MemRetrieveReq, [length, length, 0, 0, 0, 0, 0])
        }
        1 => {
            let words = [handle, 1 << 32, u64::from(world.id().0)];
            MAILBOX
                .tx
                .write(0, words.into_iter().flat_map(u64::to_le_bytes));
            (Function::MemRelinquish, [0; 7])
        }
        2 | 3 => {
            let [_, arguments @ ..] = named.transmit();
            let functions = [Function::MemFragRx, Function::MemFragTx];
            (functions[usize::from(call == 3)], arguments)
        }
        _ => fail!("there is no call {call}"),
    };
    let reply = timed(window != 0, || world.ffa(function, arguments));
    if mapped {
        world.ffa(Function::RxtxUnmap, []).succeeded()?;
    }
    Ok([reply.error().unwrap_or(0) as u32 as u64, 0, 0, 0])
}

fn h1_a_stranger_is_told_of_a_handle_what_it_is_told_of_none(
    world: &mut NormalWorld,
) -> TestResult {
    let [borrower, stranger, _] = three(world)?;
    strangers(world, borrower, stranger, false)
}

/// A partition tries handles, each call with each of them, in windows if so asked for. A borrower has what the
/// first names.
///
/// # Errors
/// When an answer is not INVALID_PARAMETERS.
pub fn strangers(
    world: &mut NormalWorld,
    borrower: EndpointId,
    stranger: EndpointId,
    windows: bool,
) -> TestResult {
    if windows {
        begin(world);
    }
    let send = Send {
        function: Function::MemShare,
        to: &[borrower],
        flags: 0,
        count: 1,
        constituent: &scattered,
    };
    let version = world.version;
    let handle = send.handle(world, version)?;
    with_borrower(world, borrower, |borrower| {
        let length = borrower.step(step::PREPARE, handle, 0)?;
        borrower.step(step::RETRIEVE, handle, length)?;
        borrower.step(step::RELEASE_RX, handle, 0)?;
        for call in 0..STRANGE.len() as u64 {
            // The next generation of the same place, a place that is free, and none.
            for tried in [
                handle.0,
                handle.0 + (1 << 16),
                handle.0 + 1,
                handle.0 | 0xffff,
            ] {
                for window in [false, windows] {
                    let arguments = [call, tried, u64::from(window)];
                    let [found, ..] = borrower.world.invoke(stranger, 1, arguments)?;
                    let expected = status(FfaError::InvalidParameters);
                    equal("the status of a stranger's call", found, expected)?;
                }
            }
        }
        borrower.step(step::RELINQUISH, handle, 0)?;
        Ok(())
    })?;
    reclaim(world, handle, 0).succeeded()?;
    Ok(())
}

/// The halves are those of this test.
fn begin(world: &mut NormalWorld) {
    let name = "a40_a_page_a_block_and_many_pages_go_there_and_back";
    let case = crate::NAMES.iter().position(|case| *case == name);
    world.begin(case.unwrap_or(0));
}
