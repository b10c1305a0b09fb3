// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory transactions between both worlds and between partitions: what needs real tables and
//! real memory. The rules one by one are tests of the simulator.

use bulkhead_abi::memory::attributes::{
    Attributes, Cacheability, DataAccess, InstructionAccess, MemoryType, Shareability,
};
use bulkhead_abi::memory::encode::{RegionOf, encode_for};
use bulkhead_abi::memory::registers::{Fragment, Lengths};
use bulkhead_abi::memory::version::Retrieval;
use bulkhead_abi::memory::{
    Constituent, Flags, Handle, Header, Kind, Permissions, Receiver, transaction,
};
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Version, Width};
use bulkhead_payload::memory::{self, MAILBOX, PAGE_SIZE, Page};
use bulkhead_payload::{Reply, stage1};

use crate::normal_world::{NormalWorld, Role, rxtx_map};
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_world::PartitionWorld;
use crate::protocol::Caller;
use crate::{cases, ensure, fail};

pub(crate) mod asked;
pub mod cost;
pub(crate) mod ends;
pub(crate) mod pieces;
pub(crate) mod refused;
pub(crate) mod requests;

cases! {
    a43_three_partitions_read_and_write_what_the_normal_world_shares: [borrow_half, leave_half];
    a41_t8_t9_a_partition_lends_and_finds_zeroes: [borrow_half, leave_half, lend_half, reclaim_half];
    a44_f12_six_hundred_pages_go_through_buffers_of_one: [borrow_half, leave_half];
    a44_sixty_four_mebibytes_in_16384_constituents_go_there_and_back: [borrow_half, leave_half];
    a40_a_gibibyte_is_lent_in_one_range: [borrow_half, leave_half];
    a40_s36_t22_donated_pages_are_the_receivers: [borrow_half, leave_half, give_half, reclaim_half];
    a49_t20_reclaim_zeroes_every_page: [borrow_half, leave_half];
    s27_s35_memory_that_is_not_the_senders_is_refused: [borrow_half, leave_half];
    t12_t16_t20_t23_calls_out_of_order_are_refused: [borrow_half, leave_half];
    a59_one_image_at_two_places_sees_the_same_addresses: [borrow_half, leave_half, lend_half, reclaim_half];
    tx_two_hundred_shares_leave_nothing_behind: [borrow_half, leave_half];
}

/// Two partitions that see what they retrieve from [`PLACE`] on, by their manifests: tertiary and quaternary.
const TWINS: [EndpointId; 2] = [EndpointId(0x8003), EndpointId(0x8004)];
const PLACE: u64 = 0x2000_0000;
/// Free memory of the normal world.
const FREE: u64 = 0x5800_0000;
/// A GiB of the normal world, from a multiple of a GiB on.
const LARGE: u64 = 0x8000_0000;
/// Page descriptor of stage 1: the output address is non-secure.
const NON_SECURE: u64 = 1 << 5;
const CLEAR: u32 = 1;
/// The tag of all transactions.
const TAG: u64 = 0x5ca1_ab1e;
/// Pages of a tester that it lends: one between them stays its own.
static OWN: [Page; 3] = [const { Page::zeroed() }; 3];
/// The most receivers.
const MOST: usize = 3;

fn receiver(id: EndpointId, data: DataAccess) -> Receiver {
    Receiver {
        endpoint: id,
        permissions: Permissions {
            data,
            instruction: InstructionAccess::NotSpecified,
        },
        retrieval: Retrieval::Borrower,
        implementation_defined: [0; 16],
    }
}

/// A transaction that is to be made.
struct Send<'a> {
    function: Function,
    to: &'a [EndpointId],
    flags: u32,
    count: u32,
    /// The constituent with this number.
    constituent: &'a dyn Fn(u32) -> Constituent,
}

impl Send<'_> {
    fn header(&self, sender: EndpointId) -> Header {
        let decides = self.function == Function::MemShare || self.to.len() > 1;
        let memory_type = if decides {
            MemoryType::Normal(Cacheability::WriteBack, Shareability::Inner)
        } else {
            MemoryType::NotSpecified
        };
        Header {
            sender,
            attributes: Attributes {
                memory_type,
                ..Attributes::NOT_SPECIFIED
            },
            flags: Flags(self.flags),
            handle: Handle::NONE,
            tag: TAG,
        }
    }

    fn constituents(&self, from: u32) -> impl Iterator<Item = Constituent> + '_ {
        (from..self.count).map(self.constituent)
    }

    /// Writes it, as much as has room, to TX: the lengths of all and of that, and how many constituents are there.
    fn encode(&self, sender: EndpointId, version: Version) -> ([u64; 2], u32) {
        let mut bytes = [0; PAGE_SIZE];
        let data = match self.function {
            Function::MemDonate => DataAccess::NotSpecified,
            _ => DataAccess::ReadWrite,
        };
        let receivers = self.to.iter().map(|id| receiver(*id, data));
        let region = RegionOf {
            constituents: self.constituents(0),
            constituent_count: self.count,
            page_count: self.constituents(0).map(|run| run.page_count).sum(),
        };
        let header = self.header(sender);
        let encoded = encode_for(version, &header, receivers, Some(region), &mut bytes);
        let encoded = encoded.expect("a page has room");
        MAILBOX
            .tx
            .write(0, bytes.into_iter().take(encoded.fragment_length as usize));
        let lengths = [encoded.total_length, encoded.fragment_length].map(u64::from);
        (lengths, encoded.constituents)
    }

    /// Makes it, in as many fragments as TX needs; the last answer.
    fn make(&self, caller: &mut impl Caller, version: Version) -> Reply {
        let prepared = self.encode(caller.id(), version);
        self.issue(caller, prepared)
    }

    /// Makes what [`encode`](Self::encode) wrote to TX.
    fn issue(&self, caller: &mut impl Caller, prepared: ([u64; 2], u32)) -> Reply {
        let (lengths, sent) = prepared;
        let reply = caller.ffa(self.function, lengths);
        self.rest(caller, reply, sent)
    }

    /// The fragments that are asked for, when so many constituents are sent: the last answer.
    fn rest(&self, caller: &mut impl Caller, mut reply: Reply, mut sent: u32) -> Reply {
        while reply.is(Function::MemFragRx) {
            let asked = fragment(&reply);
            let rest = self.constituents(sent).take(PAGE_SIZE / 16);
            let mut length = 0;
            for run in rest {
                let words = [run.address, u64::from(run.page_count)];
                let bytes = words.into_iter().flat_map(u64::to_le_bytes);
                MAILBOX.tx.write(length, bytes);
                length += 16;
                sent += 1;
            }
            let next = Fragment {
                position: length as u32,
                ..asked
            };
            reply = pass(caller, Function::MemFragTx, next);
        }
        reply
    }

    /// The handle of what was made.
    fn handle(&self, caller: &mut impl Caller, version: Version) -> TestResult<Handle> {
        let reply = self.make(caller, version).succeeded()?;
        Ok(Handle::from_words(reply.x(2) as u32, reply.x(3) as u32))
    }
}

/// FFA_MEM_FRAG_TX or FFA_MEM_FRAG_RX.
fn pass(caller: &mut impl Caller, function: Function, fragment: Fragment) -> Reply {
    let [_, arguments @ ..] = fragment.transmit();
    caller.ffa(function, arguments)
}

fn fragment(reply: &Reply) -> Fragment {
    let mut registers = Registers::ZERO;
    for (index, x) in registers.x.iter_mut().take(8).enumerate() {
        *x = reply.x(index);
    }
    Fragment::decode(&registers)
}

fn reclaim(caller: &mut impl Caller, handle: Handle, flags: u32) -> Reply {
    let (low, high) = handle.to_words();
    caller.ffa(
        Function::MemReclaim,
        [u64::from(low), u64::from(high), u64::from(flags)],
    )
}

/// What a borrower asks for, as arguments of [`borrow_half`].
#[derive(Clone, Copy)]
struct Borrow<'a> {
    handle: Handle,
    sender: EndpointId,
    receivers: &'a [EndpointId],
    flags: u32,
    /// What it finds in the first word of each page, its number added; `None`: zeroes. It adds 1000.
    base: Option<u16>,
    /// The pages are non-secure.
    non_secure: bool,
}

impl Borrow<'_> {
    fn arguments(&self) -> [u64; 3] {
        let mut ids = u64::from(self.sender.0) << 48;
        for (place, id) in self.receivers.iter().enumerate() {
            ids |= u64::from(id.0) << (16 * place);
        }
        let base = match self.base {
            Some(base) => 1 << 48 | u64::from(base) << 32,
            None => 0,
        };
        let non_secure = u64::from(self.non_secure) << 49;
        [
            self.handle.0,
            ids,
            base | non_secure | u64::from(self.flags),
        ]
    }
}

/// Maps the partition's buffers and retrieves: the status, how many pages there are, in how many fragments they
/// were told, and the address of the first. Each page is looked at and written to.
pub(crate) fn borrow_half(
    world: &mut PartitionWorld,
    [handle, ids, how]: [u64; 3],
) -> TestResult<[u64; 4]> {
    world.call(rxtx_map(Width::W64)).succeeded()?;
    let version = world.version;
    let header = Header {
        sender: EndpointId((ids >> 48) as u16),
        flags: Flags(how as u32),
        tag: TAG,
        ..Header::of_handle(Handle(handle))
    };
    let receivers = (0..MOST).map(|place| EndpointId((ids >> (16 * place)) as u16));
    let listed = receivers.clone().take_while(|id| id.0 != 0).count();
    let receivers = receivers
        .take(listed)
        .map(|id| receiver(id, DataAccess::ReadWrite));
    let mut bytes = [0; PAGE_SIZE];
    let none: Option<RegionOf<core::iter::Empty<Constituent>>> = None;
    let encoded = encode_for(version, &header, receivers, none, &mut bytes);
    let length = encoded.expect("a page has room").total_length;
    MAILBOX.tx.write(0, bytes.into_iter().take(length as usize));
    let reply = world.ffa(Function::MemRetrieveReq, [u64::from(length); 2]);
    if let Some(status) = reply.error() {
        world.ffa(Function::RxtxUnmap, []).succeeded()?;
        return Ok([status as u32 as u64, 0, 0, 0]);
    }
    let reply = reply.returned(Function::MemRetrieveResp)?;
    let lengths = Lengths {
        total: reply.x(1) as u32,
        fragment: reply.x(2) as u32,
    };
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = MAILBOX.rx.byte(at);
    }
    let kind = Kind::RetrieveResponse;
    let first = &bytes[..lengths.fragment as usize];
    let Ok(response) = transaction::parse(version, first, lengths.total, kind, 1) else {
        fail!("RX has no description");
    };
    let Some(region) = response.region else {
        fail!("the description has no memory");
    };
    let non_secure = how >> 49 & 1 != 0;
    let told = response.header.attributes.world == bulkhead_abi::World::Normal;
    ensure!(
        told == (non_secure && version >= Version::V1_1),
        "the NS bit is {told}"
    );
    let mut look = Look {
        base: (how >> 48 & 1 != 0).then_some((how >> 32) as u16),
        non_secure,
        pages: 0,
        first: None,
    };
    stage1::enable();
    let mut expected = region.expected;
    let mut outcome = region.constituents.iter().try_for_each(|run| look.at(run));
    let (mut position, mut fragments) = (lengths.fragment, 1);
    while outcome.is_ok() && !expected.is_complete() {
        world.ffa(Function::RxRelease, []).succeeded()?;
        let ask = Fragment {
            handle: Handle(handle),
            position,
            endpoint: EndpointId(0),
        };
        let reply = pass(world, Function::MemFragRx, ask).returned(Function::MemFragTx)?;
        let length = fragment(&reply).position;
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = MAILBOX.rx.byte(at);
        }
        let Ok(constituents) = expected.take(&bytes[..length as usize]) else {
            fail!("RX has no constituents");
        };
        outcome = constituents.iter().try_for_each(|run| look.at(run));
        position += length;
        fragments += 1;
    }
    stage1::disable();
    outcome?;
    world.ffa(Function::RxRelease, []).succeeded()?;
    Ok([0, look.pages, fragments, look.first.unwrap_or(0)])
}

/// A look at pages through a window.
struct Look {
    base: Option<u16>,
    non_secure: bool,
    pages: u64,
    first: Option<u64>,
}

impl Look {
    fn at(&mut self, run: Constituent) -> TestResult {
        self.first.get_or_insert(run.address);
        for page in looked_at(run) {
            let output = run.address + page * PAGE_SIZE as u64;
            let space = if self.non_secure { NON_SECURE } else { 0 };
            let window = stage1::window(0, output | stage1::PAGE | space);
            let number = self.pages + page;
            let expected = self.base.map_or(0, |base| u64::from(base) + number);
            let found = memory::load(window);
            ensure!(
                found == expected,
                "page {output:#x} holds {found:#x}, not {expected:#x}"
            );
            memory::store(window, found + 1000);
        }
        self.pages += u64::from(run.page_count);
        Ok(())
    }
}

/// The pages of a constituent that both sides look at: all of them, or of very many every 4,096th and the last.
fn looked_at(run: Constituent) -> impl Iterator<Item = u64> {
    let count = u64::from(run.page_count);
    let step = if count > 4096 { 4096 } else { 1 };
    let last = (step > 1).then(|| count.saturating_sub(1));
    (0..count).step_by(step).chain(last)
}

/// Relinquishes, and unmaps the partition's buffers: the status.
pub(crate) fn leave_half(
    world: &mut PartitionWorld,
    [handle, flags, keep]: [u64; 3],
) -> TestResult<[u64; 4]> {
    let words = [handle, flags | 1 << 32, u64::from(world.id().0)];
    MAILBOX
        .tx
        .write(0, words.into_iter().flat_map(u64::to_le_bytes));
    let reply = world.ffa(Function::MemRelinquish, []);
    if keep == 0 {
        world.ffa(Function::RxtxUnmap, []).succeeded()?;
    }
    Ok([reply.error().unwrap_or(0) as u32 as u64, 0, 0, 0])
}

/// Lends two pages of its own, of which one is between them: the handle, and their addresses.
pub(crate) fn lend_half(
    world: &mut PartitionWorld,
    [to, flags, _]: [u64; 3],
) -> TestResult<[u64; 4]> {
    world.call(rxtx_map(Width::W64)).succeeded()?;
    for (number, page) in (0..).zip(&OWN) {
        page.fill(0);
        page.write(0, u64::to_le_bytes(500 + number / 2));
    }
    let send = Send {
        function: Function::MemLend,
        to: &[EndpointId(to as u16)],
        flags: flags as u32,
        count: 2,
        constituent: &|number| Constituent {
            address: OWN[2 * number as usize].address(),
            page_count: 1,
        },
    };
    let version = world.version;
    let handle = send.handle(world, version)?;
    world.ffa(Function::RxtxUnmap, []).succeeded()?;
    Ok([handle.0, OWN[0].address(), OWN[2].address(), 0])
}

/// Donates the page at an address, or if that is 0 one of its own, which it fills: the handle, and the address.
pub(crate) fn give_half(
    world: &mut PartitionWorld,
    [to, page, _]: [u64; 3],
) -> TestResult<[u64; 4]> {
    world.call(rxtx_map(Width::W64)).succeeded()?;
    let [own, ..] = &OWN;
    let address = if page == 0 { own.address() } else { page };
    if page == 0 {
        own.fill(0);
        own.write(0, u64::to_le_bytes(500));
    }
    let send = Send {
        function: Function::MemDonate,
        to: &[EndpointId(to as u16)],
        flags: 0,
        count: 1,
        constituent: &|_| Constituent {
            address,
            page_count: 1,
        },
    };
    let version = world.version;
    let reply = send.make(world, version);
    world.ffa(Function::RxtxUnmap, []).succeeded()?;
    Ok(match reply.error() {
        Some(error) => [0, error as u32 as u64, 0, 0],
        None => {
            let handle = Handle::from_words(reply.x(2) as u32, reply.x(3) as u32);
            [handle.0, address, 0, 0]
        }
    })
}

/// Reclaims what it lent: the status, and the first word of each page.
pub(crate) fn reclaim_half(
    world: &mut PartitionWorld,
    [handle, flags, _]: [u64; 3],
) -> TestResult<[u64; 4]> {
    let status = reclaim(world, Handle(handle), flags as u32)
        .error()
        .unwrap_or(0);
    if status != 0 {
        return Ok([status as u32 as u64, 0, 0, 0]);
    }
    let [first, own, second] = OWN.each_ref().map(|page| u64::from_le_bytes(page.bytes(0)));
    Ok([0, first, own, second])
}

/// Three partitions, in the order of their parts.
fn three(world: &NormalWorld) -> TestResult<[EndpointId; 3]> {
    Ok([
        world.tester(Role::Primary)?,
        world.tester(Role::Secondary)?,
        world.tester(Role::Tertiary)?,
    ])
}

/// The page with this number of what the normal world shares: every other one.
fn scattered(number: u32) -> Constituent {
    Constituent {
        address: FREE + u64::from(number) * 2 * PAGE_SIZE as u64,
        page_count: 1,
    }
}

/// A GiB from [`LARGE`] on.
fn gibibyte(_: u32) -> Constituent {
    Constituent {
        address: LARGE,
        page_count: 1 << 18,
    }
}

/// Three ranges of six pages, neither ascending nor side by side.
fn ranges(number: u32) -> Constituent {
    let (page, page_count) = [(9, 1), (2, 3), (20, 2)][number as usize];
    Constituent {
        address: FREE + page * PAGE_SIZE as u64,
        page_count,
    }
}

/// Writes `base`, and the number of each page, to the first words of the pages of `send`.
fn fill(send: &Send<'_>, base: u64) {
    let mut number = 0;
    for run in send.constituents(0) {
        for page in looked_at(run) {
            memory::store(
                (run.address + page * PAGE_SIZE as u64) as usize,
                base + number + page,
            );
        }
        number += u64::from(run.page_count);
    }
}

/// Fails unless the pages hold that.
fn holds(send: &Send<'_>, base: Option<u64>) -> TestResult {
    let mut number = 0;
    for run in send.constituents(0) {
        for page in looked_at(run) {
            let found = memory::load((run.address + page * PAGE_SIZE as u64) as usize);
            equal("a page", found, base.map_or(0, |base| base + number + page))?;
        }
        number += u64::from(run.page_count);
    }
    Ok(())
}

fn share<'a>(to: &'a [EndpointId], function: Function) -> Send<'a> {
    Send {
        function,
        to,
        flags: 0,
        count: 3,
        constituent: &ranges,
    }
}

/// The status in the results of a half.
fn status(error: FfaError) -> u64 {
    error.to_register() & 0xffff_ffff
}

fn borrows(world: &mut NormalWorld, who: EndpointId, borrow: Borrow<'_>) -> TestResult<[u64; 4]> {
    world.invoke(who, 0, borrow.arguments())
}

fn leaves(world: &mut NormalWorld, who: EndpointId, handle: Handle, flags: u32) -> TestResult {
    let [found, ..] = world.invoke(who, 1, [handle.0, u64::from(flags), 0])?;
    equal("the status of FFA_MEM_RELINQUISH", found, 0)
}

pub(crate) fn a43_three_partitions_read_and_write_what_the_normal_world_shares(
    world: &mut NormalWorld,
) -> TestResult {
    let all = three(world)?;
    let send = share(&all, Function::MemShare);
    fill(&send, 100);
    let version = world.version;
    let handle = send.handle(world, version)?;
    for (round, who) in (0..).zip(all) {
        let borrow = Borrow {
            handle,
            sender: world.id(),
            receivers: &all,
            flags: 0,
            base: Some(100 + 1000 * round),
            non_secure: true,
        };
        let [found, pages, ..] = borrows(world, who, borrow)?;
        equal("the status of FFA_MEM_RETRIEVE_REQ", found, 0)?;
        equal("the pages", pages, 6)?;
        holds(&send, Some(1100 + 1000 * u64::from(round)))?;
        reclaim(world, handle, 0).refused(FfaError::Denied)?;
    }
    for who in all {
        leaves(world, who, handle, 0)?;
    }
    reclaim(world, handle, 0).succeeded()?;
    Ok(())
}

pub(crate) fn a41_t8_t9_a_partition_lends_and_finds_zeroes(world: &mut NormalWorld) -> TestResult {
    let [lender, borrower, _] = three(world)?;
    // Zeroed before: the send's flag. After: the retrieve's, or the relinquish's.
    for (send, retrieve, relinquish, base) in [
        (0, 0, 0, Some(500)),
        (CLEAR, 0, 0, None),
        (0, Flags::CLEAR_RELINQUISH, 0, Some(500)),
        (0, 0, CLEAR, Some(500)),
    ] {
        let [handle, ..] = world.invoke(lender, 2, [borrower.0.into(), u64::from(send), 0])?;
        let handle = Handle(handle);
        let borrow = Borrow {
            handle,
            sender: lender,
            receivers: &[borrower],
            flags: retrieve,
            base,
            non_secure: false,
        };
        let [found, pages, ..] = borrows(world, borrower, borrow)?;
        equal("the status of FFA_MEM_RETRIEVE_REQ", found, 0)?;
        equal("the pages", pages, 2)?;
        let [early, ..] = world.invoke(lender, 3, [handle.0, 0, 0])?;
        equal("reclaimed too early", early, status(FfaError::Denied))?;
        leaves(world, borrower, handle, relinquish)?;
        let [found, first, own, second] = world.invoke(lender, 3, [handle.0, 0, 0])?;
        equal("the status of FFA_MEM_RECLAIM", found, 0)?;
        let zeroed = retrieve != 0 || relinquish != 0;
        let left = base.map_or([1000, 1000], |base| {
            [u64::from(base) + 1000, u64::from(base) + 1001]
        });
        let expected = if zeroed { [0, 0] } else { left };
        equal("the first page", first, expected[0])?;
        equal("the page that stayed", own, 500)?;
        equal("the second page", second, expected[1])?;
    }
    Ok(())
}

fn a44_f12_six_hundred_pages_go_through_buffers_of_one(world: &mut NormalWorld) -> TestResult {
    let version = world.version;
    for who in three(world)? {
        let send = Send {
            function: Function::MemShare,
            to: &[who],
            flags: 0,
            count: 600,
            constituent: &scattered,
        };
        fill(&send, 7);
        let handle = send.handle(world, version)?;
        let borrow = Borrow {
            handle,
            sender: world.id(),
            receivers: &[who],
            flags: 0,
            base: Some(7),
            non_secure: true,
        };
        let [found, pages, fragments, _] = borrows(world, who, borrow)?;
        equal("the status of FFA_MEM_RETRIEVE_REQ", found, 0)?;
        equal("the pages", pages, 600)?;
        // One constituent where they lie one after the other.
        let expected = if TWINS.contains(&who) { 1 } else { 3 };
        equal("the fragments", fragments, expected)?;
        leaves(world, who, handle, 0)?;
        holds(&send, Some(1007))?;
        reclaim(world, handle, 0).succeeded()?;
    }
    Ok(())
}

fn a44_sixty_four_mebibytes_in_16384_constituents_go_there_and_back(
    world: &mut NormalWorld,
) -> TestResult {
    let who = world.tester(Role::Primary)?;
    let send = Send {
        function: Function::MemShare,
        to: &[who],
        flags: 0,
        count: 16_384,
        constituent: &scattered,
    };
    // 256 constituents in a page, some fewer in the first, which begins with the rest of the description.
    whole(world, who, &send, 16_384, 65)
}

fn a40_a_gibibyte_is_lent_in_one_range(world: &mut NormalWorld) -> TestResult {
    let who = world.tester(Role::Primary)?;
    let send = Send {
        function: Function::MemLend,
        to: &[who],
        flags: 0,
        count: 1,
        constituent: &gibibyte,
    };
    whole(world, who, &send, 1 << 18, 1)
}

/// `who` retrieves what the normal world sends, writes to it and gives it back.
fn whole(
    world: &mut NormalWorld,
    who: EndpointId,
    send: &Send<'_>,
    count: u64,
    told: u64,
) -> TestResult {
    fill(send, 7);
    let version = world.version;
    let handle = send.handle(world, version)?;
    let borrow = Borrow {
        handle,
        sender: world.id(),
        receivers: &[who],
        flags: 0,
        base: Some(7),
        non_secure: true,
    };
    let [found, pages, fragments, _] = borrows(world, who, borrow)?;
    equal("the status of FFA_MEM_RETRIEVE_REQ", found, 0)?;
    equal("the pages", pages, count)?;
    equal("the fragments", fragments, told)?;
    reclaim(world, handle, 0).refused(FfaError::Denied)?;
    leaves(world, who, handle, 0)?;
    reclaim(world, handle, 0).succeeded()?;
    holds(send, Some(1007))
}

fn a59_one_image_at_two_places_sees_the_same_addresses(world: &mut NormalWorld) -> TestResult {
    let [first, second] = TWINS;
    let other = world.tester(Role::Primary)?;
    let all = [other, first, second];
    let send = share(&all, Function::MemShare);
    fill(&send, 100);
    let version = world.version;
    let handle = send.handle(world, version)?;
    let places = [ranges(0).address, PLACE, PLACE];
    for (round, (who, place)) in (0..).zip(all.into_iter().zip(places)) {
        let borrow = Borrow {
            handle,
            sender: world.id(),
            receivers: &all,
            flags: 0,
            base: Some(100 + 1000 * round),
            non_secure: true,
        };
        let [found, pages, _, address] = borrows(world, who, borrow)?;
        equal("the status of FFA_MEM_RETRIEVE_REQ", found, 0)?;
        equal("the pages", pages, 6)?;
        equal("the first address", address, place)?;
    }
    holds(&send, Some(3100))?;
    for who in all {
        leaves(world, who, handle, 0)?;
    }
    reclaim(world, handle, 0).succeeded()?;
    // What they send themselves they name as they see it.
    let mut lent = None;
    for (lender, borrower, place) in [(first, second, Some(PLACE)), (second, other, None)] {
        let to = u64::from(borrower.0);
        let [handle, address, ..] = world.invoke(lender, 2, [to, 0, 0])?;
        equal(
            "the lender's address",
            address,
            *lent.get_or_insert(address),
        )?;
        let borrow = Borrow {
            handle: Handle(handle),
            sender: lender,
            receivers: &[borrower],
            flags: 0,
            base: Some(500),
            non_secure: false,
        };
        let [found, pages, _, told] = borrows(world, borrower, borrow)?;
        equal("the status of FFA_MEM_RETRIEVE_REQ", found, 0)?;
        equal("the pages", pages, 2)?;
        match place {
            Some(place) => equal("the borrower's address", told, place)?,
            None => ensure!(told != address, "the lender's address is everybody's"),
        }
        leaves(world, borrower, Handle(handle), 0)?;
        let [found, first, _, second] = world.invoke(lender, 3, [handle, 0, 0])?;
        equal("the status of FFA_MEM_RECLAIM", found, 0)?;
        equal("the first page", first, 1500)?;
        equal("the second page", second, 1501)?;
    }
    Ok(())
}

/// A page of the normal world's that it does not get back.
const GIVEN: u64 = FREE + 0x07ff_f000;

pub(crate) fn a40_s36_t22_donated_pages_are_the_receivers(world: &mut NormalWorld) -> TestResult {
    let [first, second, _] = three(world)?;
    // Between partitions: there and back.
    let [handle, page, ..] = world.invoke(first, 2, [second.0.into(), 0, 0])?;
    let early = Borrow {
        handle: Handle(handle),
        sender: first,
        receivers: &[second],
        flags: 0,
        base: Some(500),
        non_secure: false,
    };
    takes(world, second, early)?;
    let [late, ..] = world.invoke(first, 3, [handle, 0, 0])?;
    equal(
        "T22: reclaimed after all",
        late,
        status(FfaError::InvalidParameters),
    )?;
    let [again, error, ..] = world.invoke(first, 2, [second.0.into(), page, 0])?;
    equal("a handle", again, 0)?;
    let denied = status(FfaError::Denied);
    equal("S28: what is no longer its own", error, denied)?;
    let [back, ..] = world.invoke(second, 2, [first.0.into(), page, 0])?;
    let borrow = Borrow {
        handle: Handle(back),
        sender: second,
        receivers: &[first],
        base: Some(1500),
        ..early
    };
    takes(world, first, borrow)?;
    // From the normal world, and on to another partition.
    let send = Send {
        function: Function::MemDonate,
        to: &[first],
        flags: 0,
        count: 1,
        constituent: &|_| Constituent {
            address: GIVEN,
            page_count: 1,
        },
    };
    fill(&send, 7);
    let version = world.version;
    let handle = send.handle(world, version)?;
    let borrow = Borrow {
        handle,
        sender: world.id(),
        receivers: &[first],
        base: Some(7),
        non_secure: true,
        ..early
    };
    takes(world, first, borrow)?;
    reclaim(world, handle, 0).refused(FfaError::InvalidParameters)?;
    send.make(world, version).refused(FfaError::Denied)?;
    let [handle, ..] = world.invoke(first, 2, [second.0.into(), GIVEN, 0])?;
    let borrow = Borrow {
        handle: Handle(handle),
        sender: first,
        receivers: &[second],
        base: Some(1007),
        ..borrow
    };
    takes(world, second, borrow)?;
    holds(&send, Some(2007))
}

/// `who` takes a donated page, and does not get rid of it by FFA_MEM_RELINQUISH.
fn takes(world: &mut NormalWorld, who: EndpointId, borrow: Borrow<'_>) -> TestResult {
    let [found, pages, ..] = borrows(world, who, borrow)?;
    equal("the status of FFA_MEM_RETRIEVE_REQ", found, 0)?;
    equal("the pages", pages, 1)?;
    let [found, ..] = world.invoke(who, 1, [borrow.handle.0, 0, 0])?;
    equal(
        "T16: relinquished",
        found,
        status(FfaError::InvalidParameters),
    )
}

pub(crate) fn a49_t20_reclaim_zeroes_every_page(world: &mut NormalWorld) -> TestResult {
    let version = world.version;
    let [who, ..] = three(world)?;
    let to = [who];
    let send = share(&to, Function::MemLend);
    fill(&send, 300);
    let handle = send.handle(world, version)?;
    reclaim(world, handle, CLEAR).succeeded()?;
    holds(&send, None)
}

fn s27_s35_memory_that_is_not_the_senders_is_refused(world: &mut NormalWorld) -> TestResult {
    let version = world.version;
    let [who, ..] = three(world)?;
    for address in [
        // EL3's, Bulkhead's, a partition's, a device.
        0x0e00_0000,
        0x0e10_0000,
        0x0e30_0000,
        0x0900_0000,
        // Nothing is there.
        0x70_0000_0000,
        // A buffer of the normal world.
        MAILBOX.tx.address(),
    ] {
        for function in [Function::MemShare, Function::MemLend, Function::MemDonate] {
            let send = Send {
                function,
                to: &[who],
                flags: 0,
                count: 3,
                constituent: &|number| Constituent {
                    address: if number == 1 {
                        address
                    } else {
                        ranges(number).address
                    },
                    page_count: 1,
                },
            };
            send.make(world, version).refused(FfaError::Denied)?;
        }
    }
    // What was good of it is nobody's.
    let to = [who];
    let send = share(&to, Function::MemShare);
    let handle = send.handle(world, version)?;
    send.make(world, version).refused(FfaError::Denied)?;
    reclaim(world, handle, 0).succeeded()?;
    Ok(())
}

fn t12_t16_t20_t23_calls_out_of_order_are_refused(world: &mut NormalWorld) -> TestResult {
    let version = world.version;
    let [who, other, _] = three(world)?;
    let to = [who];
    let send = share(&to, Function::MemLend);
    fill(&send, 0);
    let handle = send.handle(world, version)?;
    let borrow = Borrow {
        handle,
        sender: world.id(),
        receivers: &to,
        flags: 0,
        base: Some(0),
        non_secure: true,
    };
    let invalid = status(FfaError::InvalidParameters);
    let [stranger, ..] = borrows(world, other, borrow)?;
    equal("T1: somebody else retrieves", stranger, invalid)?;
    let [found, ..] = borrows(world, who, borrow)?;
    equal("the status of FFA_MEM_RETRIEVE_REQ", found, 0)?;
    reclaim(world, handle, 0).refused(FfaError::Denied)?;
    let [found, ..] = world.invoke(who, 1, [handle.0, 0, 1])?;
    equal("the status of FFA_MEM_RELINQUISH", found, 0)?;
    let [again, ..] = world.invoke(who, 1, [handle.0, 0, 0])?;
    equal("T16: relinquished twice", again, status(FfaError::Denied))?;
    reclaim(world, handle, 0).succeeded()?;
    reclaim(world, handle, 0).refused(FfaError::InvalidParameters)?;
    let [late, ..] = borrows(world, who, borrow)?;
    equal("T23: retrieved after the end", late, invalid)
}

fn tx_two_hundred_shares_leave_nothing_behind(world: &mut NormalWorld) -> TestResult {
    let version = world.version;
    let [who, ..] = three(world)?;
    let to = [who];
    let send = share(&to, Function::MemShare);
    for round in 0..200 {
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
        let [found, pages, ..] = borrows(world, who, borrow)?;
        equal("the status of FFA_MEM_RETRIEVE_REQ", found, 0)?;
        equal("the pages", pages, 6)?;
        leaves(world, who, handle, 0)?;
        reclaim(world, handle, 0).succeeded()?;
    }
    Ok(())
}
