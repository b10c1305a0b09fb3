// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory transactions as endpoints make them: descriptors in TX, answers in registers and RX.

use bulkhead_abi::memory::attributes::{
    Attributes, Cacheability, DataAccess, InstructionAccess, MemoryType, Shareability,
};
use bulkhead_abi::memory::encode::{RegionOf, encode_for};
use bulkhead_abi::memory::registers::{Fragment, Lengths};
use bulkhead_abi::memory::version::Retrieval;
use bulkhead_abi::memory::{
    Constituent, Expected, Flags, Handle, Header, Kind, Permissions, Receiver, transaction,
};
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Version, Width};
use bulkhead_core::share::PageOwners;
use bulkhead_mm::addr::Pa;
use bulkhead_mm::attrs::Space;
use bulkhead_mm::owner::PageState;

use crate::memory::{Memory, Quotas};
use crate::{Core, Puppet, Sim, SimBuilder, Spec, call, error, ffa};

/// Where the normal world's RX buffer is; TX follows it.
const NORMAL_RX: u64 = 0x4f00_0000;
/// Where partitions have their RX buffer, from the start of their memory; TX follows it.
const OWN_RX: u64 = 0x8000;
/// The pages of each buffer.
const BUFFER_PAGES: u64 = 1;
const PAGE: u64 = 4096;

/// Who makes a call: the normal world, or the partition with this number, 0 being 0x8001.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// The primary endpoint of the normal world.
    Normal,
    /// A partition.
    Sp(usize),
}

impl Who {
    /// The endpoint id.
    pub fn id(self) -> EndpointId {
        match self {
            Self::Normal => EndpointId::NORMAL_WORLD,
            Self::Sp(index) => EndpointId(0x8001 + u16::try_from(index).expect("few partitions")),
        }
    }

    /// The mailbox slot.
    pub fn slot(self) -> usize {
        match self {
            Self::Normal => 0,
            Self::Sp(index) => index + 1,
        }
    }

    /// The first address of the endpoint's own memory that nothing else is at.
    pub fn memory(self) -> u64 {
        match self {
            Self::Normal => 0x4000_0000,
            Self::Sp(index) => 0x1010_0000 + (index as u64) * 0x10_0000 + 0x4_0000,
        }
    }
}

/// A donate, lend or share.
#[derive(Clone, Debug)]
pub struct Send {
    /// Which of them.
    pub function: Function,
    /// The sender.
    pub sender: EndpointId,
    /// Receivers and their data access.
    pub receivers: Vec<(EndpointId, DataAccess)>,
    /// The memory.
    pub constituents: Vec<Constituent>,
    /// Flags.
    pub flags: u32,
    /// The memory type, if it is not what the call asks for.
    pub memory_type: Option<MemoryType>,
    /// The tag.
    pub tag: u64,
}

/// The memory type of normal memory.
pub const NORMAL: MemoryType = MemoryType::Normal(Cacheability::WriteBack, Shareability::Inner);

/// A run of pages.
pub fn run(address: u64, page_count: u32) -> Constituent {
    Constituent {
        address,
        page_count,
    }
}

impl Send {
    /// A share, lend or donation of `constituents` to partitions that may write.
    pub fn new(function: Function, from: Who, to: &[Who], constituents: &[Constituent]) -> Self {
        let data = match function {
            Function::MemDonate => DataAccess::NotSpecified,
            _ => DataAccess::ReadWrite,
        };
        Self {
            function,
            sender: from.id(),
            receivers: to.iter().map(|who| (who.id(), data)).collect(),
            constituents: constituents.to_vec(),
            flags: 0,
            memory_type: None,
            tag: 0x7a6,
        }
    }

    fn header(&self) -> Header {
        let decides = self.function == Function::MemShare
            || (self.function == Function::MemLend && self.receivers.len() > 1);
        let default = if decides {
            NORMAL
        } else {
            MemoryType::NotSpecified
        };
        Header {
            sender: self.sender,
            attributes: Attributes {
                memory_type: self.memory_type.unwrap_or(default),
                ..Attributes::NOT_SPECIFIED
            },
            flags: Flags(self.flags),
            handle: Handle::NONE,
            tag: self.tag,
        }
    }

    /// The whole descriptor.
    pub fn encode(&self, version: Version) -> Vec<u8> {
        let receivers: Vec<Receiver> = (self.receivers.iter())
            .map(|(id, data)| receiver(*id, *data, InstructionAccess::NotSpecified))
            .collect();
        let region = RegionOf {
            constituents: self.constituents.iter().copied(),
            constituent_count: u32::try_from(self.constituents.len()).expect("not that many"),
            page_count: self
                .constituents
                .iter()
                .fold(0, |sum, run| sum.wrapping_add(run.page_count)),
        };
        let mut bytes = vec![0; 96 + 32 * receivers.len() + 16 * self.constituents.len()];
        let header = self.header();
        let encoded = encode_for(
            version,
            &header,
            receivers.into_iter(),
            Some(region),
            &mut bytes,
        )
        .expect("there is room");
        bytes.truncate(encoded.total_length as usize);
        bytes
    }
}

/// A receiver that retrieves.
pub fn receiver(
    endpoint: EndpointId,
    data: DataAccess,
    instruction: InstructionAccess,
) -> Receiver {
    Receiver {
        endpoint,
        permissions: Permissions { data, instruction },
        retrieval: Retrieval::Borrower,
        implementation_defined: [0; 16],
    }
}

/// A retrieve request.
#[derive(Clone, Debug)]
pub struct Retrieve {
    /// The transaction's sender.
    pub sender: EndpointId,
    /// Its handle.
    pub handle: Handle,
    /// Its tag.
    pub tag: u64,
    /// Flags.
    pub flags: u32,
    /// The memory type.
    pub memory_type: MemoryType,
    /// The receivers.
    pub receivers: Vec<Receiver>,
}

impl Retrieve {
    /// What each receiver of `send` may ask for.
    pub fn of(send: &Send, handle: Handle) -> Self {
        let all = send.receivers.iter();
        Self {
            sender: send.sender,
            handle,
            tag: send.tag,
            flags: 0,
            memory_type: MemoryType::NotSpecified,
            receivers: all
                .map(|(id, data)| receiver(*id, *data, InstructionAccess::NotSpecified))
                .collect(),
        }
    }

    /// The descriptor.
    pub fn encode(&self, version: Version) -> Vec<u8> {
        let header = Header {
            sender: self.sender,
            attributes: Attributes {
                memory_type: self.memory_type,
                ..Attributes::NOT_SPECIFIED
            },
            flags: Flags(self.flags),
            handle: self.handle,
            tag: self.tag,
        };
        let mut bytes = vec![0; 48 + 32 * self.receivers.len()];
        let none: Option<RegionOf<std::iter::Empty<Constituent>>> = None;
        let all = self.receivers.clone().into_iter();
        let encoded = encode_for(version, &header, all, none, &mut bytes).expect("there is room");
        bytes.truncate(encoded.total_length as usize);
        bytes
    }
}

/// What a receiver was told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retrieved {
    /// The header.
    pub header: Header,
    /// The receivers.
    pub receivers: Vec<Receiver>,
    /// All constituents, of all fragments.
    pub constituents: Vec<Constituent>,
    /// In how many fragments they came.
    pub fragments: usize,
}

/// A system with some partitions that have buffers.
pub struct Desk {
    /// The system.
    pub sim: Sim,
    puppets: Vec<Puppet>,
    /// Where each partition sees its own memory.
    bases: Vec<u64>,
    /// The version that each endpoint speaks, the normal world's first.
    pub versions: Vec<Version>,
}

impl Desk {
    /// `partitions` partitions and the normal world, all at 1.2.
    pub fn new(partitions: usize) -> Self {
        Self::with(partitions, Quotas::default(), |_, spec| spec)
    }

    /// As [`new`](Self::new), with quotas of pages, and partitions changed.
    pub fn with(partitions: usize, quotas: Quotas, change: impl Fn(usize, Spec) -> Spec) -> Self {
        const NAMES: [&str; 8] = ["p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8"];
        let mut builder: SimBuilder = Sim::builder().cores(2).quotas(quotas);
        let (mut puppets, mut bases) = (Vec::new(), Vec::new());
        for (index, name) in NAMES.into_iter().enumerate().take(partitions) {
            let (spec, puppet) = Puppet::new(name, Who::Sp(index).id());
            let spec = change(index, spec);
            bases.push(spec.config.image.0);
            builder = builder.partition(spec);
            puppets.push(puppet);
        }
        let mut sim = builder.boot();
        sim.negotiate(Version::V1_2);
        let mut desk = Self {
            sim,
            puppets,
            bases,
            versions: vec![Version::V1_2; partitions + 1],
        };
        desk.map_buffers(Who::Normal);
        for index in 0..partitions {
            desk.map_buffers(Who::Sp(index));
        }
        desk
    }

    /// Where the RX buffer of an endpoint is.
    pub fn rx_address(who: Who) -> u64 {
        match who {
            Who::Normal => NORMAL_RX,
            Who::Sp(index) => 0x1010_0000 + (index as u64) * 0x10_0000 + OWN_RX,
        }
    }

    /// Where an endpoint sees what is at `address` in its own memory.
    pub fn sees(&self, who: Who, address: u64) -> u64 {
        match who {
            Who::Normal => address,
            Who::Sp(index) => self.bases[index] + address % 0x10_0000,
        }
    }

    /// FFA_RXTX_MAP of an endpoint's buffers.
    pub fn map_buffers(&mut self, who: Who) {
        let rx = self.sees(who, Self::rx_address(who));
        let tx = rx + BUFFER_PAGES * PAGE;
        let id = Function::RxtxMap.id(Width::W64);
        let answer = self.call(who, &call([id, tx, rx, BUFFER_PAGES, 0, 0, 0, 0]));
        crate::assert_function(&answer, Function::Success);
    }

    /// Makes a call on core 0.
    pub fn call(&mut self, who: Who, message: &Registers) -> Registers {
        self.call_on(0, who, message)
    }

    /// Makes a call on a core.
    pub fn call_on(&mut self, core: usize, who: Who, message: &Registers) -> Registers {
        let core: &mut Core = self.sim.core(core);
        match who {
            Who::Normal => core.call(message),
            Who::Sp(index) => self.puppets[index].call(core, message),
        }
    }

    /// The version of an endpoint.
    pub fn version(&self, who: Who) -> Version {
        self.versions[who.slot()]
    }

    /// Puts a descriptor into TX.
    pub fn write_tx(&self, who: Who, bytes: &[u8]) {
        self.sim.write_tx(who.slot(), bytes);
    }

    /// Puts bytes into memory, from the start of a page on.
    pub fn write_memory(&mut self, space: Space, address: u64, bytes: &[u8]) {
        self.sim.memory(|memory| {
            for (number, bytes) in (0..).zip(bytes.chunks(PAGE as usize)) {
                memory
                    .texts
                    .insert((space, address + number * PAGE), bytes.to_vec());
            }
        });
    }

    /// Makes a call with a descriptor in TX that fits.
    pub fn describe(&mut self, who: Who, function: Function, bytes: &[u8]) -> Registers {
        self.write_tx(who, bytes);
        let length = bytes.len() as u64;
        self.call(who, &ffa(function, [length, length, 0, 0]))
    }

    /// Sends, in fragments of at most `most` bytes.
    ///
    /// # Errors
    /// What the call, or a fragment, ends with.
    pub fn send_in(&mut self, who: Who, send: &Send, most: usize) -> Result<Handle, FfaError> {
        let bytes = send.encode(self.version(who));
        let head = bytes.len() - 16 * send.constituents.len();
        let first = head + (most.max(head) - head) / 16 * 16;
        let first = first.min(bytes.len());
        self.write_tx(who, &bytes[..first]);
        let words = [bytes.len() as u64, first as u64, 0, 0];
        let mut answer = self.call(who, &ffa(send.function, words));
        let mut sent = first;
        while answer.x[0] == Function::MemFragRx.id(Width::W32) {
            let asked = Fragment::decode(&answer);
            assert_eq!(asked.position as usize, sent, "F12");
            let next = (sent + most / 16 * 16).min(bytes.len());
            self.write_tx(who, &bytes[sent..next]);
            let endpoint = match who {
                Who::Normal => send.sender,
                Who::Sp(_) => EndpointId(0),
            };
            let fragment = Fragment {
                handle: asked.handle,
                position: (next - sent) as u32,
                endpoint,
            };
            answer = self.call(who, &call(fragment.transmit()));
            sent = next;
        }
        ended(&answer)?;
        assert_eq!(sent, bytes.len());
        Ok(Handle::from_words(answer.w::<2>(), answer.w::<3>()))
    }

    /// Sends in as few fragments as TX needs.
    ///
    /// # Errors
    /// As [`send_in`](Self::send_in).
    pub fn send(&mut self, who: Who, send: &Send) -> Result<Handle, FfaError> {
        self.send_in(who, send, (BUFFER_PAGES * PAGE) as usize)
    }

    /// Retrieves, fetches all fragments and releases RX.
    ///
    /// # Errors
    /// What the call ends with.
    pub fn retrieve(&mut self, who: Who, request: &Retrieve) -> Result<Retrieved, FfaError> {
        let bytes = request.encode(self.version(who));
        let answer = self.describe(who, Function::MemRetrieveReq, &bytes);
        let rx = || self.sim.rx(who.slot()).expect("it has buffers");
        ended(&answer)?;
        crate::assert_function(&answer, Function::MemRetrieveResp);
        let lengths = Lengths::decode(&answer).expect("lengths");
        let bytes = rx();
        let (fragment, rest) = bytes.split_at(lengths.fragment as usize);
        assert!(rest.iter().all(|byte| *byte == 0), "bug class 26");
        let kind = Kind::RetrieveResponse;
        let response = transaction::parse(self.version(who), fragment, lengths.total, kind, 64)
            .expect("a descriptor");
        let region = response.region.expect("memory");
        let mut expected: Expected = region.expected;
        let mut found = Retrieved {
            header: response.header,
            receivers: response.receivers.iter().collect(),
            constituents: region.constituents.iter().collect(),
            fragments: 1,
        };
        let mut position = lengths.fragment;
        self.release(who);
        while !expected.is_complete() {
            let ask = Fragment {
                handle: request.handle,
                position,
                endpoint: match who {
                    Who::Normal => found.receivers.first().map_or(who.id(), |_| who.id()),
                    Who::Sp(_) => EndpointId(0),
                },
            };
            let answer = self.call(who, &call(ask.receive()));
            ended(&answer)?;
            crate::assert_function(&answer, Function::MemFragTx);
            let length = Fragment::decode(&answer).position;
            let bytes = self.sim.rx(who.slot()).expect("it has buffers");
            let (fragment, rest) = bytes.split_at(length as usize);
            assert!(rest.iter().all(|byte| *byte == 0), "bug class 26");
            let constituents = expected.take(fragment).expect("constituents");
            found.constituents.extend(constituents.iter());
            found.fragments += 1;
            position += length;
            self.release(who);
        }
        Ok(found)
    }

    /// [`dump`](Self::dump), and the states of the first pages of everybody's memory and of their buffers.
    pub fn world(&self) -> String {
        let mut text = self.dump();
        let partitions = (0..self.puppets.len()).map(Who::Sp);
        for who in partitions.chain([Who::Normal]) {
            let space = if who == Who::Normal {
                Space::NonSecure
            } else {
                Space::Secure
            };
            let own = (0..32).map(|page| who.memory() + page * PAGE);
            let buffers = (0..2 * BUFFER_PAGES).map(|page| Self::rx_address(who) + page * PAGE);
            for page in own.chain(buffers) {
                text += &format!("{:?} {page:x} {:?}\n", who, self.state(space, page));
            }
        }
        text
    }

    /// Has a partition end by a fault.
    ///
    /// # Panics
    /// If it does not end, or is none.
    pub fn end(&mut self, who: Who) {
        let Who::Sp(index) = who else {
            panic!("the normal world does not end")
        };
        self.puppets[index].fail();
        let request = crate::request(Width::W32, EndpointId(0), who.id(), [0; 5]);
        let answer = self.sim.core(0).call(&request);
        crate::assert_error(&answer, FfaError::Aborted);
    }

    fn release(&mut self, who: Who) {
        let answer = self.call(who, &ffa(Function::RxRelease, [0; 4]));
        crate::assert_function(&answer, Function::Success);
    }

    /// Relinquishes as `who`.
    ///
    /// # Errors
    /// What the call ends with.
    pub fn relinquish(&mut self, who: Who, handle: Handle, flags: u32) -> Result<(), FfaError> {
        let mut bytes = handle.0.to_le_bytes().to_vec();
        bytes.extend(flags.to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(who.id().0.to_le_bytes());
        self.write_tx(who, &bytes);
        ended(&self.call(who, &ffa(Function::MemRelinquish, [0; 4])))
    }

    /// Reclaims as `who`.
    ///
    /// # Errors
    /// What the call ends with.
    pub fn reclaim(&mut self, who: Who, handle: Handle, flags: u32) -> Result<(), FfaError> {
        let (low, high) = handle.to_words();
        let words = [u64::from(low), u64::from(high), u64::from(flags), 0];
        ended(&self.call(who, &ffa(Function::MemReclaim, words)))
    }

    /// What stage 2 of a partition maps at `address`.
    pub fn mapped(
        &self,
        who: Who,
        space: Space,
        address: u64,
    ) -> Option<bulkhead_core::hardware::Run> {
        let Who::Sp(index) = who else {
            return None;
        };
        self.sim
            .memory(|memory| memory.lookup(index, space, address, PAGE))
    }

    /// The state of a page.
    pub fn state(&self, space: Space, address: u64) -> PageState {
        let owners: &PageOwners = &self.sim.spmc().owners;
        owners.state(space, Pa(address))
    }

    /// Everything that a refused call must leave as it was: the tables, what pages hold, and how many pages
    /// are in use.
    pub fn dump(&self) -> String {
        self.sim.memory(|memory: &mut Memory| {
            let mut text = format!("{}\n{:?}\n", memory.pool, {
                let mut contents: Vec<_> = memory.contents.iter().collect();
                contents.sort_by_key(|((space, page), _)| (*space == Space::Secure, *page));
                contents
            });
            for el0 in memory.el0.iter_mut().flatten() {
                for space in [Space::Secure, Space::NonSecure] {
                    let tables = el0.of(space);
                    tables.walk(&memory.words, |mapping| text += &format!("{mapping:x?}\n"));
                }
            }
            for spaces in &memory.spaces {
                for space in spaces {
                    space.walk(&memory.words, |mapping| text += &format!("{mapping:x?}\n"));
                }
            }
            text
        })
    }
}

fn ended(answer: &Registers) -> Result<(), FfaError> {
    match error(answer) {
        None => Ok(()),
        Some(code) => {
            let code = u32::try_from(code).expect("32 bits").cast_signed();
            Err(FfaError::from_code(code).expect("an error of FF-A"))
        }
    }
}
