// SPDX-License-Identifier: MIT OR Apache-2.0
//! The receivers of a transaction: what each may have, and what it has.

use bulkhead_abi::EndpointId;
use bulkhead_abi::memory::attributes::{DataAccess, InstructionAccess};
use bulkhead_abi::memory::version::Retrieval;
use bulkhead_abi::memory::{Permissions, Receiver};

use super::Share;
use super::record::{Pair, Run};
use crate::hardware::{Hardware, OutOfMemory};

/// A receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Borrower {
    pub(super) id: EndpointId,
    /// What the sender gave it.
    pub(super) permissions: Permissions,
    pub(super) implementation_defined: [u8; 16],
    /// What it has, once it has retrieved.
    pub(super) held: Option<Held>,
}

/// What a receiver has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Held {
    pub(super) write: bool,
    pub(super) execute: bool,
    /// It wants the pages zeroed when it leaves.
    pub(super) clear_after: bool,
    /// It has left the pages, which are being zeroed.
    pub(super) leaving: bool,
    /// How many constituents it was told.
    pub(super) told: u32,
    /// Where it has them, one after the other, if not at their own addresses.
    pub(super) place: Option<u64>,
}

impl Held {
    /// Where it has the next constituent, `run`, if the one before ended at `place`.
    pub(super) fn next(place: &mut Option<u64>, run: Run) -> u64 {
        match place {
            None => run.range.base().0,
            Some(next) => {
                let ipa = *next;
                *next = next.saturating_add(run.range.bytes());
                ipa
            }
        }
    }
}

/// Bit 24 of the first word: it has retrieved.
const HELD: u64 = 1 << 24;
const WRITE: u64 = 1 << 25;
const EXECUTE: u64 = 1 << 26;
const CLEAR_AFTER: u64 = 1 << 27;
const LEAVING: u64 = 1 << 28;
const PERMISSIONS_SHIFT: u32 = 16;
const TOLD_SHIFT: u32 = 32;
/// Bit 0 of the second word: the address in it is that of the pages.
const PLACED: u64 = 1;

impl Borrower {
    /// As it stands in a record: id [15:0], permissions [23:16], what it has [31:24], told [63:32]; where it has
    /// them [63:12] and [`PLACED`]; the implementation-defined bytes.
    pub(super) fn encode(&self) -> [Pair; 2] {
        let mut place = 0;
        let mut word = u64::from(self.id.0)
            | u64::from(self.permissions.encode()).unbounded_shl(PERMISSIONS_SHIFT);
        if let Some(held) = self.held {
            place = held.place.map_or(0, |ipa| ipa | PLACED);
            word |= HELD | u64::from(held.told).unbounded_shl(TOLD_SHIFT);
            for (is, bit) in [
                (held.write, WRITE),
                (held.execute, EXECUTE),
                (held.clear_after, CLEAR_AFTER),
                (held.leaving, LEAVING),
            ] {
                word |= if is { bit } else { 0 };
            }
        }
        let defined = u128::from_le_bytes(self.implementation_defined);
        let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0);
        [
            [word, place],
            [half(defined), half(defined.unbounded_shr(64))],
        ]
    }

    /// The reverse of [`encode`](Self::encode).
    fn decode([word, place]: Pair, [low, high]: Pair) -> Self {
        let field = |shift: u32, mask: u64| word.unbounded_shr(shift) & mask;
        let permissions = u8::try_from(field(PERMISSIONS_SHIFT, 0xff)).unwrap_or(0);
        let held = Held {
            write: word & WRITE != 0,
            execute: word & EXECUTE != 0,
            clear_after: word & CLEAR_AFTER != 0,
            leaving: word & LEAVING != 0,
            told: u32::try_from(field(TOLD_SHIFT, u64::from(u32::MAX))).unwrap_or(0),
            place: (place & PLACED != 0).then_some(place & !PLACED),
        };
        let defined = u128::from(low) | u128::from(high).unbounded_shl(64);
        Self {
            id: EndpointId(u16::try_from(field(0, 0xffff)).unwrap_or(0)),
            permissions: Permissions::decode(permissions).unwrap_or(Permissions::NOT_SPECIFIED),
            implementation_defined: defined.to_le_bytes(),
            held: (word & HELD != 0).then_some(held),
        }
    }

    /// As a descriptor for the receiver shows it: what it has.
    pub(super) fn granted(&self) -> Receiver {
        let permissions = match self.held {
            None => self.permissions,
            Some(held) => Permissions {
                data: if held.write {
                    DataAccess::ReadWrite
                } else {
                    DataAccess::ReadOnly
                },
                instruction: if held.execute {
                    InstructionAccess::Executable
                } else {
                    InstructionAccess::NotExecutable
                },
            },
        };
        Receiver {
            permissions,
            ..self.sent()
        }
    }

    /// As the sender described it.
    pub(super) const fn sent(&self) -> Receiver {
        Receiver {
            endpoint: self.id,
            permissions: self.permissions,
            retrieval: Retrieval::Borrower,
            implementation_defined: self.implementation_defined,
        }
    }
}

impl Share {
    /// Adds a receiver; only before the first constituent.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(super) fn add_borrower<H: Hardware>(
        &mut self,
        receiver: &Receiver,
        hw: &mut H,
    ) -> Result<(), OutOfMemory> {
        let borrower = Borrower {
            id: receiver.endpoint,
            permissions: receiver.permissions,
            implementation_defined: receiver.implementation_defined,
            held: None,
        };
        for pair in borrower.encode() {
            self.record.push(pair, self.account, hw)?;
        }
        self.receivers = self.receivers.saturating_add(1);
        Ok(())
    }

    /// Each receiver in the sender's order.
    pub(super) fn borrowers<'a, H: Hardware>(&self, hw: &'a H) -> Borrowers<'a, H> {
        let pairs = self.receivers.saturating_mul(2);
        Borrowers {
            pairs: self.record.pairs(0, pairs, hw),
            hw,
        }
    }

    /// The receiver with `id`, and its number.
    pub(super) fn borrower<H: Hardware>(&self, id: EndpointId, hw: &H) -> Option<(u32, Borrower)> {
        (0..).zip(self.borrowers(hw)).find(|(_, one)| one.id == id)
    }

    /// Writes over what a receiver has.
    pub(super) fn set_borrower<H: Hardware>(&self, number: u32, borrower: &Borrower, hw: &mut H) {
        let [first, _] = borrower.encode();
        self.record.set(number.saturating_mul(2), first, hw);
    }
}

/// Receivers, one after the other.
pub(super) struct Borrowers<'a, H> {
    pairs: super::record::Pairs,
    hw: &'a H,
}

impl<H: Hardware> Iterator for Borrowers<'_, H> {
    type Item = Borrower;

    fn next(&mut self) -> Option<Borrower> {
        let first = self.pairs.next(self.hw)?;
        Some(Borrower::decode(first, self.pairs.next(self.hw)?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.pairs.left() / 2).unwrap_or(0);
        (left, Some(left))
    }
}

impl<H: Hardware> ExactSizeIterator for Borrowers<'_, H> {}
