// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sends that are refused: three constituents and three receivers, one thing wrong, from the normal world and from a
//! partition (S1 to S45). After each table the same send without a mistake is made and taken back.

use bulkhead_abi::memory::attributes::{
    Cacheability, DataAccess, Device, InstructionAccess, MemoryType, Shareability,
};
use bulkhead_abi::memory::encode::{RegionOf, encode_for};
use bulkhead_abi::memory::{Constituent, Handle, Header};
use bulkhead_abi::{EndpointId, FfaError, Function, Version};
use bulkhead_payload::Reply;
use bulkhead_payload::memory::{self, MAILBOX, PAGE_SIZE};

use super::{
    Borrow, FREE, MOST, OWN, Send, TWINS, borrow_half, borrows, leave_half, leaves, lend_half,
    receiver, reclaim, reclaim_half, share, status, three,
};
use crate::containment::{CONSTANTS, own};
use crate::normal_world::{NormalWorld, rxtx_map};
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_world::PartitionWorld;
use crate::protocol::Caller;
use crate::{cases, ensure, fail};

use FfaError::{Denied, InvalidParameters};

cases! {
    s1_s2_s3_s4_s16_wrong_lengths_and_other_buffers_are_refused: [rows_half];
    s5_s6_s7_s8_s9_s14_s15_descriptors_of_a_wrong_shape_are_refused: [rows_half];
    s10_s11_s12_s13_s26_constituents_that_are_none_are_refused: [rows_half];
    s17_a_descriptor_with_another_bit_is_refused_or_can_be_taken_back: [rows_half];
    s18_s19_s20_s21_s22_s23_s24_parties_that_cannot_be_are_refused: [rows_half];
    s27_s29_s30_s31_s32_s33_s34_s35_one_page_of_others_is_enough_to_be_refused: [rows_half];
    s28_a_borrowed_page_is_not_passed_on: [borrow_half, leave_half, lend_half, reclaim_half, pass_on_half];
    s37_the_last_page_of_the_normal_world_is_its_own_and_the_next_is_not: [];
    s38_a_page_that_may_only_be_read_is_not_granted_to_be_written: [pass_on_half];
    s39_s40_s41_s42_s43_s44_s45_what_a_sender_cannot_ask_for_is_refused: [rows_half];
    m9_m23_pages_that_are_away_are_no_buffers_and_buffers_are_not_sent: [];
}

/// More than any of the descriptors needs, in bytes: stacks are small.
const ROOM: usize = 512;

/// What is sent.
struct Draft {
    function: Function,
    header: Header,
    receivers: [bulkhead_abi::memory::Receiver; MOST],
    /// How many of them are listed.
    listed: usize,
    runs: [Constituent; 3],
    /// What is announced, if not what there is.
    count: Option<u32>,
    pages: Option<u32>,
}

impl Draft {
    /// A share that nothing is wrong with.
    fn good(sender: EndpointId, to: [EndpointId; MOST], runs: [Constituent; 3]) -> Self {
        let send = Send {
            function: Function::MemShare,
            to: &to,
            flags: 0,
            count: 3,
            constituent: &|number| runs[number as usize],
        };
        Self {
            function: send.function,
            header: send.header(sender),
            receivers: to.map(|id| receiver(id, DataAccess::ReadWrite)),
            listed: MOST,
            runs,
            count: None,
            pages: None,
        }
    }

    /// Its bytes, and how long they are.
    fn encode(&self, version: Version, bytes: &mut [u8]) -> usize {
        let pages = |all: u32, run: &Constituent| all.wrapping_add(run.page_count);
        let region = RegionOf {
            constituents: self.runs.iter().copied(),
            constituent_count: 3,
            page_count: self.pages.unwrap_or(self.runs.iter().fold(0, pages)),
        };
        let receivers = self.receivers.iter().copied().take(self.listed);
        let receivers = receivers
            .collect::<arrayvec::ArrayVec<_, MOST>>()
            .into_iter();
        let encoded = encode_for(version, &self.header, receivers, Some(region), bytes);
        let length = encoded.map_or(0, |encoded| encoded.total_length as usize);
        if let Some(count) = self.count {
            let at = Place::of(version, self.listed).composite + 4;
            bytes[at..at + 4].copy_from_slice(&count.to_le_bytes());
        }
        length
    }
}

/// Where fields are, in bytes.
struct Place {
    receivers: usize,
    receiver: usize,
    composite: usize,
    constituents: usize,
}

impl Place {
    fn of(version: Version, listed: usize) -> Self {
        let (receivers, receiver) = match version {
            Version::V1_0 => (32, 16),
            Version::V1_1 => (48, 16),
            _ => (48, 32),
        };
        let composite = receivers + receiver * listed;
        Self {
            receivers,
            receiver,
            composite,
            constituents: composite + 16,
        }
    }
}

/// A word of a descriptor.
#[derive(Clone, Copy)]
enum Word {
    ReceiverSize,
    ReceiverCount,
    ReceiversOffset,
    /// Of the receiver with this number.
    CompositeOffset(usize),
    ConstituentCount,
    Pages,
    Handle,
    /// Reserved ones: of the header, of the composite descriptor, of a constituent.
    OfHeader,
    OfComposite,
    OfConstituent(usize),
}

impl Word {
    /// Where it is; not all versions have all.
    fn place(self, version: Version) -> Option<usize> {
        let place = Place::of(version, MOST);
        let old = version == Version::V1_0;
        Some(match self {
            Self::ReceiverSize | Self::ReceiversOffset | Self::OfHeader if old => return None,
            Self::ReceiverSize => 24,
            Self::ReceiverCount => 28,
            Self::ReceiversOffset => 32,
            Self::OfHeader => 40,
            Self::Handle => 8,
            Self::CompositeOffset(number) => place.receivers + number * place.receiver + 4,
            Self::Pages => place.composite,
            Self::ConstituentCount => place.composite + 4,
            Self::OfComposite => place.composite + 8,
            Self::OfConstituent(number) => place.constituents + 16 * number + 12,
        })
    }
}

/// What is wrong.
enum Wrong {
    /// Total and fragment length, by how much.
    Lengths(i64, i64),
    /// Both lengths.
    Are(u64, u64),
    /// w3 and w4.
    Buffer(u64, u64),
    /// A word.
    Word(Word, u32),
    /// Something of what is said.
    Said(fn(&mut Draft)),
    /// One of the constituents, each in turn.
    Run(fn(Constituent) -> Constituent),
}

use Wrong::{Are, Buffer, Lengths, Run, Said};

/// Id, what is wrong, and the error.
type Row = (&'static str, Wrong, FfaError);

const fn word(id: &'static str, word: Word, value: u32) -> Row {
    (id, Wrong::Word(word, value), InvalidParameters)
}

const fn at(address: u64, page_count: u32) -> Constituent {
    Constituent {
        address,
        page_count,
    }
}

static LENGTHS: &[Row] = &[
    ("S1", Are(0, 0), InvalidParameters),
    ("S1", Are(31, 31), InvalidParameters),
    ("S1", Are(32, 32), InvalidParameters),
    ("S1", Are(48, 48), InvalidParameters),
    ("S1", Are(4097, 4097), InvalidParameters),
    ("S1", Are(1 << 31, 1 << 31), InvalidParameters),
    ("S16", Lengths(-1, -1), InvalidParameters),
    ("S16", Lengths(1, 1), InvalidParameters),
    ("S16", Lengths(16, 16), InvalidParameters),
    ("S16", Lengths(0, -8), InvalidParameters),
    ("S2", Lengths(-16, 0), InvalidParameters),
    ("S2", Lengths(16, 0), InvalidParameters),
    ("S3", Lengths(0x7fff_0000, 0), InvalidParameters),
    ("A-57", Buffer(0x4000_0800, 1), InvalidParameters),
    ("A-57", Buffer(0x4000_0000, 17), InvalidParameters),
    ("S4", Buffer(0x4000_0000, 0), InvalidParameters),
    ("S4", Buffer(0, 1), InvalidParameters),
];

static SHAPES: &[Row] = &[
    word("S5", Word::ReceiverCount, 0),
    word("S5", Word::ReceiverCount, 4),
    word("S5", Word::ReceiverCount, 0x1000),
    word("S5", Word::ReceiverCount, u32::MAX),
    word("S6", Word::ReceiversOffset, 0),
    word("S6", Word::ReceiversOffset, 16),
    word("S6", Word::ReceiversOffset, 49),
    word("S6", Word::ReceiversOffset, 0x1000),
    word("S6", Word::ReceiversOffset, 0xffff_fff0),
    word("S7", Word::ReceiverSize, 0),
    word("S7", Word::ReceiverSize, 24),
    word("S7", Word::ReceiverSize, u32::MAX),
    word("S8", Word::CompositeOffset(0), 0),
    word("S8", Word::CompositeOffset(1), 16),
    word("S8", Word::CompositeOffset(2), 0x1000),
    word("S8", Word::CompositeOffset(2), 0xffff_fff0),
    word("S9", Word::ConstituentCount, 0),
    word("S9", Word::ConstituentCount, 2),
    word("S9", Word::ConstituentCount, 4),
    word("S9", Word::ConstituentCount, 0x1000_0003),
    word("S9", Word::ConstituentCount, u32::MAX),
    word("S14", Word::OfHeader, 1),
    word("S14", Word::OfComposite, 1 << 31),
    word("S14", Word::OfConstituent(0), 1),
    word("S14", Word::OfConstituent(2), 1 << 24),
    word("S15", Word::Handle, 1),
];

static CONSTITUENTS: &[Row] = &[
    word("S10", Word::Pages, 0),
    word("S10", Word::Pages, 2),
    word("S10", Word::Pages, u32::MAX),
    ("S11", Run(|run| at(run.address, 0)), InvalidParameters),
    ("S12", Run(|run| at(run.address + 1, 1)), InvalidParameters),
    ("S12", Run(|run| at(run.address + 8, 1)), InvalidParameters),
    (
        "S12",
        Run(|run| at(run.address + 0x800, 1)),
        InvalidParameters,
    ),
    ("S13", Run(|_| at(!0xfff, 2)), InvalidParameters),
    ("S13", Run(|_| at(!0xfff, 1)), InvalidParameters),
    ("S13", Run(|_| at(1 << 52, 1)), InvalidParameters),
    // It ends where addresses do, and is nobody's.
    ("S13", Run(|_| at((1 << 52) - 0x1000, 1)), Denied),
    (
        "S26",
        Said(|draft| draft.runs[1] = draft.runs[0]),
        InvalidParameters,
    ),
    (
        "S26",
        Said(|draft| draft.runs[2] = draft.runs[0]),
        InvalidParameters,
    ),
    (
        "S26",
        Said(|draft| draft.runs[0] = draft.runs[2]),
        InvalidParameters,
    ),
];

static PARTIES: &[Row] = &[
    (
        "S18",
        Said(|draft| draft.header.sender = EndpointId(0x8005)),
        Denied,
    ),
    (
        "S18",
        Said(|draft| draft.header.sender = EndpointId(0x7fff)),
        Denied,
    ),
    (
        "S18",
        Said(|draft| draft.header.sender = EndpointId(0x80ff)),
        Denied,
    ),
    (
        "S19",
        Said(|draft| draft.receivers[0].endpoint = draft.header.sender),
        InvalidParameters,
    ),
    (
        "S19",
        Said(|draft| draft.receivers[2].endpoint = draft.header.sender),
        InvalidParameters,
    ),
    (
        "S20",
        Said(|draft| draft.receivers[2] = draft.receivers[0]),
        InvalidParameters,
    ),
    (
        "S20",
        Said(|draft| draft.receivers[0] = draft.receivers[1]),
        InvalidParameters,
    ),
    (
        "S21",
        Said(|draft| draft.receivers[1].endpoint = EndpointId(0x80ff)),
        InvalidParameters,
    ),
    (
        "S21",
        Said(|draft| draft.receivers[2].endpoint = EndpointId(0x7fff)),
        InvalidParameters,
    ),
    ("S22", Said(donate), InvalidParameters),
    (
        "S22",
        Said(|draft| {
            donate(draft);
            draft.listed = 2;
        }),
        InvalidParameters,
    ),
];

/// Of a partition only: it sends to the normal world, or its memory.
static OTHER_WORLD: &[Row] = &[
    ("S31", Run(|_| at(FREE, 1)), Denied),
    (
        "S23",
        Said(|draft| draft.receivers[0].endpoint = EndpointId(0)),
        Denied,
    ),
    (
        "S23",
        Said(|draft| draft.receivers[2].endpoint = EndpointId(0)),
        Denied,
    ),
];

/// Nothing, the SPMC's, EL3's, a partition's, a device, and what has an owner in the other world.
static PAGES: &[Row] = &[
    ("S27", Run(|_| at(0x3000_0000, 1)), Denied),
    ("S34", Run(|_| at(0x0e10_0000, 1)), Denied),
    ("S34", Run(|_| at(0x0e00_0000, 1)), Denied),
    ("S34", Run(|_| at(0x0e50_0000, 1)), Denied),
    ("S32", Run(|_| at(0x0900_0000, 1)), Denied),
    ("S35", Run(|_| at(0xc100_0000, 1)), Denied),
    ("S33", Run(|_| at(MAILBOX.tx.address(), 1)), Denied),
    ("S33", Run(|_| at(MAILBOX.rx.address(), 1)), Denied),
];

static REQUESTS: &[Row] = &[
    (
        "S39",
        Said(|draft| draft.receivers[0].permissions.instruction = InstructionAccess::NotExecutable),
        InvalidParameters,
    ),
    (
        "S39",
        Said(|draft| draft.receivers[2].permissions.instruction = InstructionAccess::Executable),
        InvalidParameters,
    ),
    (
        "S40",
        Said(|draft| draft.header.attributes.memory_type = MemoryType::Device(Device::NGnRnE)),
        Denied,
    ),
    (
        "S41",
        Said(|draft| {
            draft.header.attributes.memory_type =
                MemoryType::Normal(Cacheability::NonCacheable, Shareability::Inner)
        }),
        Denied,
    ),
    (
        "S41",
        Said(|draft| {
            draft.header.attributes.memory_type =
                MemoryType::Normal(Cacheability::WriteBack, Shareability::Outer)
        }),
        Denied,
    ),
    (
        "S42",
        Said(|draft| draft.header.attributes.world = bulkhead_abi::World::Normal),
        InvalidParameters,
    ),
    (
        "S43",
        Said(|draft| draft.header.flags.0 = 1),
        InvalidParameters,
    ),
    (
        "S44",
        Said(|draft| draft.header.flags.0 = 2),
        InvalidParameters,
    ),
    (
        "S45",
        Said(|draft| draft.header.flags.0 = 1 << 3),
        InvalidParameters,
    ),
    (
        "S45",
        Said(|draft| draft.header.flags.0 = 1 << 4),
        InvalidParameters,
    ),
    (
        "S45",
        Said(|draft| draft.header.flags.0 = 1 << 10),
        InvalidParameters,
    ),
    (
        "S45",
        Said(|draft| draft.header.flags.0 = 1 << 31),
        InvalidParameters,
    ),
];

static TABLES: [&[Row]; 7] = [
    LENGTHS,
    SHAPES,
    CONSTITUENTS,
    PARTIES,
    OTHER_WORLD,
    PAGES,
    REQUESTS,
];

fn donate(draft: &mut Draft) {
    draft.function = Function::MemDonate;
    draft.header.attributes.memory_type = MemoryType::NotSpecified;
    for receiver in &mut draft.receivers {
        receiver.permissions.data = DataAccess::NotSpecified;
    }
}

/// Who sends what to whom.
#[derive(Clone, Copy)]
struct Sender {
    version: Version,
    to: [EndpointId; MOST],
    runs: [Constituent; 3],
}

impl Sender {
    fn good(&self, caller: &impl Caller) -> Draft {
        Draft::good(caller.id(), self.to, self.runs)
    }

    /// Sends `draft` with `wrong`; `None` if its version has no such field.
    fn make(&self, caller: &mut impl Caller, mut draft: Draft, wrong: &Wrong) -> Option<Reply> {
        if let Said(change) = wrong {
            change(&mut draft);
        }
        let mut bytes = [0; ROOM];
        let length = draft.encode(self.version, &mut bytes);
        let whole = length as u64;
        let mut arguments = [whole, whole, 0, 0];
        match wrong {
            Lengths(total, fragment) => {
                arguments[0] = whole.wrapping_add_signed(*total);
                arguments[1] = whole.wrapping_add_signed(*fragment);
            }
            Are(total, fragment) => arguments = [*total, *fragment, 0, 0],
            Buffer(address, pages) => arguments = [whole, whole, *address, *pages],
            Wrong::Word(field, value) => {
                let at = field.place(self.version)?;
                bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
            }
            Said(_) | Run(_) => {}
        }
        MAILBOX.tx.write(0, bytes.into_iter().take(length));
        Some(caller.ffa(draft.function, arguments))
    }

    /// Each row, and then the send without a mistake, which is taken back. What went wrong: the number of the row,
    /// from 1, and the status.
    fn rows(&self, caller: &mut impl Caller, rows: &[Row]) -> TestResult<Option<(usize, i32)>> {
        for (number, (_, wrong, error)) in (1..).zip(rows) {
            let places = if matches!(wrong, Run(_)) { 3 } else { 1 };
            for place in 0..places {
                let mut draft = self.good(caller);
                if let Run(change) = wrong {
                    draft.runs[place] = change(draft.runs[place]);
                }
                let Some(reply) = self.make(caller, draft, wrong) else {
                    continue;
                };
                let status = reply.error().unwrap_or(0);
                if status != error.code() {
                    return Ok(Some((number, status)));
                }
            }
        }
        self.sends(caller)?;
        Ok(None)
    }

    /// The send without a mistake is made and taken back.
    fn sends(&self, caller: &mut impl Caller) -> TestResult {
        let good = self.good(caller);
        let Some(reply) = self.make(caller, good, &Lengths(0, 0)) else {
            fail!("a share cannot be made");
        };
        let reply = reply.succeeded()?;
        let handle = Handle::from_words(reply.x(2) as u32, reply.x(3) as u32);
        reclaim(caller, handle, 0).succeeded()?;
        Ok(())
    }

    /// As [`rows`](Self::rows), for each bit of the descriptor: what is taken is taken back. The result is how many.
    fn bits(&self, caller: &mut impl Caller) -> TestResult<u64> {
        let mut bytes = [0; ROOM];
        let length = self.good(caller).encode(self.version, &mut bytes);
        let mut taken = 0;
        for bit in 0..length * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            MAILBOX.tx.write(0, bytes.into_iter().take(length));
            bytes[bit / 8] ^= 1 << (bit % 8);
            let reply = caller.ffa(Function::MemShare, [length as u64; 2]);
            if reply.error().is_none() {
                let reply = reply.returned(Function::Success)?;
                let handle = Handle::from_words(reply.x(2) as u32, reply.x(3) as u32);
                reclaim(caller, handle, 0).succeeded()?;
                taken += 1;
            }
        }
        self.sends(caller)?;
        Ok(taken)
    }
}

/// A partition sends what the rows of a table say, or for no table what another bit makes of it.
fn rows_half(world: &mut PartitionWorld, [table, ids, _]: [u64; 3]) -> TestResult<[u64; 4]> {
    world.call(rxtx_map(bulkhead_abi::Width::W64)).succeeded()?;
    let sender = Sender {
        version: world.version,
        to: [0, 16, 32].map(|place| EndpointId((ids >> place) as u16)),
        // Neither ascending nor side by side.
        runs: [1, 2, 0].map(|page: usize| at(OWN[page].address(), 1)),
    };
    let result = match TABLES.get(table as usize) {
        Some(rows) => match sender.rows(world, rows)? {
            Some((number, status)) => [number as u64, status as u32 as u64, 0, 0],
            None => [0; 4],
        },
        None => [0, 0, sender.bits(world)?, 0],
    };
    world.ffa(Function::RxtxUnmap, []).succeeded()?;
    Ok(result)
}

/// The normal world's side.
fn sender(world: &mut NormalWorld) -> TestResult<Sender> {
    let to = three(world)?;
    let send = share(&to, Function::MemShare);
    let run = send.constituent;
    Ok(Sender {
        version: world.version,
        to,
        runs: [run(0), run(1), run(2)],
    })
}

fn judge(who: EndpointId, table: usize, failed: Option<(usize, i32)>) -> TestResult {
    if let Some((number, status)) = failed {
        let (id, _, error) = &TABLES[table][number - 1];
        fail!("{id}, row {number}: {who} got {status}, not {error:?}");
    }
    Ok(())
}

/// Both worlds send what the tables say.
fn both(world: &mut NormalWorld, table: usize) -> TestResult {
    let sender = sender(world)?;
    let failed = sender.rows(world, TABLES[table])?;
    judge(world.id(), table, failed)?;
    partition(world, table)
}

fn partition(world: &mut NormalWorld, table: usize) -> TestResult {
    let (who, ids) = partition_and_receivers(world)?;
    let [number, status, ..] = world.invoke(who, 0, [table as u64, ids, 0])?;
    let failed = (number != 0).then_some((number as usize, status as u32 as i32));
    judge(who, table, failed)
}

/// A partition that sends, and three others as one word.
fn partition_and_receivers(world: &mut NormalWorld) -> TestResult<(EndpointId, u64)> {
    let [who, second, third] = three(world)?;
    let [_, fourth] = TWINS;
    let ids = [second, third, fourth].map(|id| u64::from(id.0));
    Ok((who, ids[0] | ids[1] << 16 | ids[2] << 32))
}

fn s1_s2_s3_s4_s16_wrong_lengths_and_other_buffers_are_refused(
    world: &mut NormalWorld,
) -> TestResult {
    both(world, 0)
}

fn s5_s6_s7_s8_s9_s14_s15_descriptors_of_a_wrong_shape_are_refused(
    world: &mut NormalWorld,
) -> TestResult {
    both(world, 1)
}

fn s10_s11_s12_s13_s26_constituents_that_are_none_are_refused(
    world: &mut NormalWorld,
) -> TestResult {
    both(world, 2)
}

fn s17_a_descriptor_with_another_bit_is_refused_or_can_be_taken_back(
    world: &mut NormalWorld,
) -> TestResult {
    let sender = sender(world)?;
    let taken = sender.bits(world)?;
    // The tag, at least.
    ensure!(taken >= 64, "the normal world: {taken} were taken");
    let (who, ids) = partition_and_receivers(world)?;
    let [_, _, taken, _] = world.invoke(who, 0, [u64::MAX, ids, 0])?;
    ensure!(taken >= 64, "{who}: {taken} were taken");
    Ok(())
}

fn s18_s19_s20_s21_s22_s23_s24_parties_that_cannot_be_are_refused(
    world: &mut NormalWorld,
) -> TestResult {
    both(world, 3)?;
    partition(world, 4)?;
    // S24: to itself alone.
    let sender = sender(world)?;
    let mut draft = sender.good(world);
    draft.listed = 1;
    draft.receivers[0].endpoint = EndpointId(0);
    let Some(reply) = sender.make(world, draft, &Lengths(0, 0)) else {
        fail!("a share cannot be made");
    };
    reply.refused(InvalidParameters)?;
    Ok(())
}

fn s27_s29_s30_s31_s32_s33_s34_s35_one_page_of_others_is_enough_to_be_refused(
    world: &mut NormalWorld,
) -> TestResult {
    both(world, 5)?;
    // S29, S30: among pages that are its own, one that is away.
    let sender = sender(world)?;
    let away = Send {
        function: Function::MemShare,
        to: &sender.to,
        flags: 0,
        count: 3,
        constituent: &|number| at(FREE + 0x40_0000 + 0x3000 * u64::from(number), 2),
    };
    let version = world.version;
    let handle = away.handle(world, version)?;
    for number in 0..3 {
        for place in 0..3 {
            let mut draft = sender.good(world);
            let run = (away.constituent)(number);
            draft.runs[place] = at(run.address + PAGE_SIZE as u64, 1);
            let Some(reply) = sender.make(world, draft, &Lengths(0, 0)) else {
                fail!("a share cannot be made");
            };
            reply.refused(Denied)?;
        }
    }
    sender.sends(world)?;
    reclaim(world, handle, 0).succeeded()?;
    let handle = away.handle(world, version)?;
    reclaim(world, handle, 0).succeeded()?;
    Ok(())
}

/// Shares two pages of its own and, among them, one that it borrowed, or for 0 one that it may only read: the status.
fn pass_on_half(world: &mut PartitionWorld, [page, ids, place]: [u64; 3]) -> TestResult<[u64; 4]> {
    let mapped = world.call(rxtx_map(bulkhead_abi::Width::W64));
    let sender = Sender {
        version: world.version,
        to: [0, 16, 32].map(|place| EndpointId((ids >> place) as u16)),
        runs: [1, 2, 0].map(|page: usize| at(OWN[page].address(), 1)),
    };
    let mut draft = sender.good(world);
    let page = if page == 0 {
        own(CONSTANTS) as u64
    } else {
        page
    };
    draft.runs[place as usize % 3] = at(page, 1);
    let Some(reply) = sender.make(world, draft, &Lengths(0, 0)) else {
        fail!("a share cannot be made");
    };
    if mapped.is(Function::Success) {
        world.ffa(Function::RxtxUnmap, []).succeeded()?;
    }
    Ok([reply.error().unwrap_or(0) as u32 as u64, 0, 0, 0])
}

fn s28_a_borrowed_page_is_not_passed_on(world: &mut NormalWorld) -> TestResult {
    let (who, ids) = partition_and_receivers(world)?;
    let [_, lender, _] = three(world)?;
    let [handle, first, second, _] = world.invoke(lender, 2, [who.0.into(), 0, 0])?;
    let borrow = Borrow {
        handle: Handle(handle),
        sender: lender,
        receivers: &[who],
        flags: 0,
        base: Some(500),
        non_secure: false,
    };
    let [found, ..] = borrows(world, who, borrow)?;
    equal("the status of FFA_MEM_RETRIEVE_REQ", found, 0)?;
    for page in [first, second] {
        for place in 0..3 {
            let [found, ..] = world.invoke(who, 4, [page, ids, place])?;
            equal("the status of FFA_MEM_SHARE", found, status(Denied))?;
        }
    }
    leaves(world, who, Handle(handle), 0)?;
    let [found, ..] = world.invoke(lender, 3, [handle, 0, 0])?;
    equal("the status of FFA_MEM_RECLAIM", found, 0)
}

fn s37_the_last_page_of_the_normal_world_is_its_own_and_the_next_is_not(
    world: &mut NormalWorld,
) -> TestResult {
    /// The end of its memory, by the manifest.
    const END: u64 = 0xc100_0000;
    let sender = sender(world)?;
    let page = PAGE_SIZE as u64;
    for (run, is_own) in [
        (at(END - page, 1), true),
        (at(END, 1), false),
        (at(END - page, 2), false),
    ] {
        let mut draft = sender.good(world);
        draft.runs[1] = run;
        let Some(reply) = sender.make(world, draft, &Lengths(0, 0)) else {
            fail!("a share cannot be made");
        };
        if is_own {
            let reply = reply.succeeded()?;
            let handle = Handle::from_words(reply.x(2) as u32, reply.x(3) as u32);
            reclaim(world, handle, 0).succeeded()?;
        } else {
            reply.refused(Denied)?;
        }
    }
    Ok(())
}

fn s38_a_page_that_may_only_be_read_is_not_granted_to_be_written(
    world: &mut NormalWorld,
) -> TestResult {
    let all = three(world)?;
    let [first, second, third] = all.map(|id| u64::from(id.0));
    let who = world.spare()?;
    // It is not ended.
    world.spare_again(who);
    for place in 0..3 {
        let ids = first | second << 16 | third << 32;
        let [found, ..] = world.invoke(who, 0, [0, ids, place])?;
        equal("the status of FFA_MEM_SHARE", found, status(Denied))?;
    }
    Ok(())
}

fn s39_s40_s41_s42_s43_s44_s45_what_a_sender_cannot_ask_for_is_refused(
    world: &mut NormalWorld,
) -> TestResult {
    both(world, 6)
}

fn m9_m23_pages_that_are_away_are_no_buffers_and_buffers_are_not_sent(
    world: &mut NormalWorld,
) -> TestResult {
    let sender = sender(world)?;
    let version = world.version;
    let [tx, rx] = [MAILBOX.tx.address(), MAILBOX.rx.address()];
    // Pages beside each other, so that both are there however they are asked for.
    let send = Send {
        function: Function::MemLend,
        to: &sender.to,
        flags: 0,
        count: 3,
        constituent: &|number| at(FREE + 0x2000 * u64::from(number), 1),
    };
    let handle = send.handle(world, version)?;
    world.ffa(Function::RxtxUnmap, []).succeeded()?;
    let id = bulkhead_abi::Width::W64;
    for run in send.constituents(0) {
        let free = run.address + PAGE_SIZE as u64;
        for (tx, rx) in [(run.address, free), (free, run.address)] {
            let map = bulkhead_payload::Request::ffa(Function::RxtxMap, id).with([tx, rx, 1]);
            world.call(map).refused(Denied)?;
        }
    }
    world.call(rxtx_map(id)).succeeded()?;
    reclaim(world, handle, 0).succeeded()?;
    // M23: denied while they are buffers, and right when others are.
    let sends = Sender {
        runs: [at(tx, 1), sender.runs[1], at(rx, 1)],
        ..sender
    };
    let draft = sends.good(world);
    let Some(reply) = sends.make(world, draft, &Lengths(0, 0)) else {
        fail!("a share cannot be made");
    };
    reply.refused(Denied)?;
    world.ffa(Function::RxtxUnmap, []).succeeded()?;
    let other = FREE + 0x10_0000;
    let map = bulkhead_payload::Request::ffa(Function::RxtxMap, id);
    let map = map.with([other, other + PAGE_SIZE as u64, 1]);
    world.call(map).succeeded()?;
    let mut bytes = [0; ROOM];
    let length = sends.good(world).encode(version, &mut bytes);
    for (number, word) in bytes.chunks_exact(8).enumerate() {
        let word = word.try_into().map_or(0, u64::from_le_bytes);
        memory::store(other as usize + 8 * number, word);
    }
    let reply = world
        .ffa(Function::MemShare, [length as u64; 2])
        .succeeded()?;
    let handle = Handle::from_words(reply.x(2) as u32, reply.x(3) as u32);
    reclaim(world, handle, 0).succeeded()?;
    world.ffa(Function::RxtxUnmap, []).succeeded()?;
    world.call(rxtx_map(id)).succeeded()?;
    sender.sends(world)
}
