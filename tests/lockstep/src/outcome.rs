// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the core answers, as far as registers tell it.

use bulkhead_abi::memory::registers::{Fragment, Lengths};
use bulkhead_abi::memory::{Constituent, Handle, Header, Kind, Receiver, transaction};
use bulkhead_abi::{FfaError, Function, Registers, Version, Width};

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// FFA_ERROR.
    Error(FfaError),
    /// FFA_SUCCESS with what is in w2 and w3.
    Success(u64),
    /// FFA_MEM_FRAG_RX: the handle, and the next byte.
    SendMore(u64, u32),
    /// FFA_MEM_RETRIEVE_RESP.
    Retrieved(Box<Description>),
    /// FFA_MEM_FRAG_TX.
    Fragment(Vec<Constituent>),
    /// The call is to be made again after an interrupt.
    Interrupt,
}

/// What RX says of a transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Description {
    pub header: Header,
    pub receivers: Vec<Receiver>,
    /// All constituents, and those that are there.
    pub count: u32,
    pub constituents: Vec<Constituent>,
}

/// Decodes an answer; `rx` is what is in RX.
pub fn answer(registers: Option<Registers>, rx: Option<&[u8]>, version: Version) -> Answer {
    let Some(registers) = registers else {
        return Answer::Interrupt;
    };
    let is = |function: Function| registers.x[0] == function.id(Width::W32);
    if is(Function::Error) {
        let code = registers.w::<2>().cast_signed();
        return Answer::Error(FfaError::from_code(code).expect("an error of FF-A"));
    }
    if is(Function::Success) {
        let handle = Handle::from_words(registers.w::<2>(), registers.w::<3>());
        return Answer::Success(handle.0);
    }
    if is(Function::MemFragRx) {
        let fragment = Fragment::decode(&registers);
        return Answer::SendMore(fragment.handle.0, fragment.position);
    }
    let rx = rx.expect("an answer in RX");
    if is(Function::MemFragTx) {
        let length = Fragment::decode(&registers).position as usize;
        let (told, rest) = rx.split_at(length);
        assert!(rest.iter().all(|byte| *byte == 0), "bug class 26");
        return Answer::Fragment(constituents(told));
    }
    assert!(is(Function::MemRetrieveResp), "{:#x}", registers.x[0]);
    let lengths = Lengths::decode(&registers).expect("lengths");
    let (first, rest) = rx.split_at(lengths.fragment as usize);
    assert!(rest.iter().all(|byte| *byte == 0), "bug class 26");
    let kind = Kind::RetrieveResponse;
    let parsed =
        transaction::parse(version, first, lengths.total, kind, 64).expect("a description");
    let region = parsed.region.expect("memory");
    let constituents: Vec<_> = region.constituents.iter().collect();
    let head = super::encode::head(version, parsed.receivers.len());
    Answer::Retrieved(Box::new(Description {
        header: parsed.header,
        receivers: parsed.receivers.iter().collect(),
        count: (lengths.total - head) / 16,
        constituents,
    }))
}

/// Address [0..8] and number of pages [8..12] of each 16 bytes; the rest is zero.
fn constituents(bytes: &[u8]) -> Vec<Constituent> {
    let (all, rest) = bytes.as_chunks::<16>();
    assert!(rest.is_empty(), "F5");
    let one = |bytes: &[u8; 16]| {
        let word = u128::from_le_bytes(*bytes);
        assert_eq!(word >> 96, 0, "a reserved field");
        Constituent {
            address: word as u64,
            page_count: (word >> 64) as u32,
        }
    };
    all.iter().map(one).collect()
}
