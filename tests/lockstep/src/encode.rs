// SPDX-License-Identifier: MIT OR Apache-2.0
//! The model's calls as registers and bytes.

use bulkhead_abi::id::World as NsBit;
use bulkhead_abi::memory::attributes::{
    Attributes, Cacheability, DataAccess, Device, InstructionAccess, MemoryType, Shareability,
    TransactionType,
};
use bulkhead_abi::memory::encode::{RegionOf, encode_constituents, encode_for};
use bulkhead_abi::memory::registers::Fragment;
use bulkhead_abi::memory::version::Retrieval;
use bulkhead_abi::memory::{self, Flags, Handle, Header, Permissions};
use bulkhead_abi::{EndpointId, Function, Registers, Version, Width};
use bulkhead_model::call::{
    Constituent, Data, FragRx, FragTx, Instruction, Receiver, Reclaim, Relinquish, Retrieve, Send,
    Shape, Type, TypeField,
};
use bulkhead_model::page::Kind;

/// A flag that no descriptor has.
const UNKNOWN_FLAG: u32 = 1 << 20;
/// Room for the longest descriptor.
const ROOM: usize = 0x8000;

/// A call: its registers, and what is in TX.
#[derive(Clone, Debug)]
pub struct Encoded {
    pub registers: Registers,
    pub tx: Vec<u8>,
}

fn ffa<const N: usize>(function: Function, arguments: [u64; N]) -> Registers {
    let mut registers = Registers::ZERO;
    registers.x[0] = function.id(Width::W32);
    registers.x[1..=N].copy_from_slice(&arguments);
    registers
}

pub fn memory_type(field: TypeField) -> MemoryType {
    match field {
        TypeField::Unspecified => MemoryType::NotSpecified,
        TypeField::Is(Kind::Normal) => {
            MemoryType::Normal(Cacheability::WriteBack, Shareability::Inner)
        }
        TypeField::Is(Kind::Device) => MemoryType::Device(Device::NGnRnE),
        TypeField::Other => MemoryType::Normal(Cacheability::NonCacheable, Shareability::Inner),
    }
}

pub fn data(data: Data) -> DataAccess {
    match data {
        Data::Unspecified => DataAccess::NotSpecified,
        Data::ReadOnly => DataAccess::ReadOnly,
        Data::ReadWrite => DataAccess::ReadWrite,
    }
}

pub fn instruction(instruction: Instruction) -> InstructionAccess {
    match instruction {
        Instruction::Unspecified => InstructionAccess::NotSpecified,
        Instruction::Never => InstructionAccess::NotExecutable,
        Instruction::Execute => InstructionAccess::Executable,
    }
}

pub fn transaction_type(kind: Option<Type>) -> TransactionType {
    match kind {
        None => TransactionType::NotSpecified,
        Some(Type::Share) => TransactionType::Share,
        Some(Type::Lend) => TransactionType::Lend,
        Some(Type::Donate) => TransactionType::Donate,
    }
}

pub fn constituent(run: &Constituent) -> memory::Constituent {
    memory::Constituent {
        address: run.address,
        page_count: run.count,
    }
}

fn receivers(all: &[Receiver]) -> impl ExactSizeIterator<Item = memory::Receiver> + '_ {
    all.iter().map(|one| memory::Receiver {
        endpoint: EndpointId(one.id.0),
        permissions: Permissions {
            data: data(one.data),
            instruction: instruction(one.instruction),
        },
        retrieval: Retrieval::Borrower,
        implementation_defined: [0; 16],
    })
}

fn flags(bits: &[(bool, u32)]) -> u32 {
    bits.iter()
        .filter(|(set, _)| *set)
        .fold(0, |all, (_, bit)| all | bit)
}

fn ns_bit(set: bool) -> NsBit {
    if set { NsBit::Normal } else { NsBit::Secure }
}

/// FFA_MEM_SHARE, LEND or DONATE with the first fragment. `spoil` says how a shape is bad.
pub fn send(call: &Send, version: Version, spoil: usize) -> Encoded {
    let header = Header {
        sender: EndpointId(call.sender.0),
        attributes: Attributes {
            memory_type: memory_type(call.memory),
            world: ns_bit(call.ns),
        },
        flags: Flags(flags(&[
            (call.zero, Flags::CLEAR),
            (call.time_slice, Flags::TIME_SLICE),
            (call.other_flags, UNKNOWN_FLAG),
        ])),
        handle: Handle(call.handle),
        tag: call.tag,
    };
    let region = RegionOf {
        constituents: call.constituents.iter().map(constituent),
        constituent_count: call.count,
        page_count: call.pages,
    };
    let mut tx = vec![0; ROOM];
    let listed = receivers(&call.receivers);
    let encoded =
        encode_for(version, &header, listed, Some(region), &mut tx).expect("there is room");
    tx.truncate(encoded.fragment_length as usize);
    let function = match call.kind {
        Type::Share => Function::MemShare,
        Type::Lend => Function::MemLend,
        Type::Donate => Function::MemDonate,
    };
    let mut lengths = [
        u64::from(encoded.total_length),
        u64::from(encoded.fragment_length),
    ];
    if call.shape == Shape::Bad {
        spoil_descriptor(&mut lengths, &mut tx, spoil);
    }
    Encoded {
        registers: ffa(function, lengths),
        tx,
    }
}

/// What no descriptor may be, of any version (S1 to S8, S14, S16).
fn spoil_descriptor(lengths: &mut [u64; 2], tx: &mut [u8], spoil: usize) {
    let [total, fragment] = lengths;
    match spoil % 6 {
        0 => *fragment = 0,
        1 => *total = *fragment - 1,
        2 => *total += 8,
        3 => *fragment = (*fragment).min(31),
        // S6: more receivers than there is room for.
        4 => tx[28..32].fill(0xff),
        // S5: none, of a send.
        _ => tx[28..32].fill(0),
    }
}

/// FFA_MEM_FRAG_TX.
pub fn frag_tx(call: &FragTx, handle: u64, spoil: usize) -> Encoded {
    let mut tx = vec![0; call.constituents.len() * 16];
    encode_constituents(&mut call.constituents.iter().map(constituent), &mut tx);
    let mut position = u32::try_from(tx.len()).expect("few");
    if call.shape == Shape::Bad {
        position = [0, 8, position + 8, 0x2000][spoil % 4];
    }
    let fragment = Fragment {
        handle: Handle(handle),
        position,
        endpoint: EndpointId(call.sender.0),
    };
    let mut registers = Registers::ZERO;
    registers.x[..8].copy_from_slice(&fragment.transmit());
    Encoded { registers, tx }
}

/// FFA_MEM_RETRIEVE_REQ.
pub fn retrieve(call: &Retrieve, handle: u64, version: Version, spoil: usize) -> Encoded {
    let header = Header {
        sender: EndpointId(call.sender.0),
        attributes: Attributes {
            memory_type: memory_type(call.memory),
            world: ns_bit(call.ns),
        },
        flags: Flags(flags(&[
            (call.zero, Flags::CLEAR),
            (call.zero_after, Flags::CLEAR_RELINQUISH),
            (call.bypass, Flags::BYPASS_BORROWERS),
            (call.hint, Flags::HINT_VALID),
            (call.other_flags, UNKNOWN_FLAG),
        ]))
        .with_type(transaction_type(call.kind)),
        handle: Handle(handle),
        tag: call.tag,
    };
    let one = memory::Constituent {
        address: 0x1000,
        page_count: 1,
    };
    let region = call.ranges.then(|| RegionOf {
        constituents: std::iter::once(one),
        constituent_count: 1,
        page_count: 1,
    });
    let mut tx = vec![0; ROOM];
    let listed = receivers(&call.receivers);
    let encoded = encode_for(version, &header, listed, region, &mut tx).expect("there is room");
    tx.truncate(encoded.fragment_length as usize);
    let mut lengths = [
        u64::from(encoded.total_length),
        u64::from(encoded.fragment_length),
    ];
    if call.shape == Shape::Bad {
        // Without receivers it would be the hypervisor's form.
        spoil_descriptor(&mut lengths, &mut tx, spoil % 5);
    }
    Encoded {
        registers: ffa(Function::MemRetrieveReq, lengths),
        tx,
    }
}

/// FFA_MEM_FRAG_RX from the byte `position` on.
pub fn frag_rx(call: &FragRx, handle: u64, position: u32) -> Encoded {
    let fragment = Fragment {
        handle: Handle(handle),
        position,
        endpoint: EndpointId(call.borrower.0),
    };
    let mut registers = Registers::ZERO;
    registers.x[..8].copy_from_slice(&fragment.receive());
    let tx = Vec::new();
    Encoded { registers, tx }
}

/// FFA_MEM_RELINQUISH.
pub fn relinquish(call: &Relinquish, handle: u64) -> Encoded {
    let mut tx = handle.to_le_bytes().to_vec();
    tx.extend(flags(&[(call.zero, 1), (call.other_flags, UNKNOWN_FLAG)]).to_le_bytes());
    let count = match call.shape {
        Shape::Good => u32::try_from(call.endpoints.len()).expect("few"),
        Shape::Bad => u32::MAX,
    };
    tx.extend(count.to_le_bytes());
    for endpoint in &call.endpoints {
        tx.extend(endpoint.0.to_le_bytes());
    }
    Encoded {
        registers: ffa(Function::MemRelinquish, []),
        tx,
    }
}

/// FFA_MEM_RECLAIM.
pub fn reclaim(call: &Reclaim, handle: u64) -> Encoded {
    let (low, high) = Handle(handle).to_words();
    let flags = flags(&[(call.zero, 1), (call.other_flags, UNKNOWN_FLAG)]);
    let arguments = [low, high, flags].map(u64::from);
    Encoded {
        registers: ffa(Function::MemReclaim, arguments),
        tx: Vec::new(),
    }
}

/// A call without a descriptor.
pub fn plain(function: Function) -> Encoded {
    Encoded {
        registers: ffa(function, []),
        tx: Vec::new(),
    }
}

/// The length of a description up to its first constituent, in bytes.
pub fn head(version: Version, receivers: usize) -> u32 {
    let (header, receiver) = match (version.major, version.minor) {
        (1, 0) => (32, 16),
        (1, 1) => (48, 16),
        _ => (48, 32),
    };
    let receivers = u32::try_from(receivers).expect("few");
    header + receiver * receivers + 16
}
