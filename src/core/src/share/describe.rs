// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptions of transactions in RX buffers: as much as fits, the rest by FFA_MEM_FRAG_RX.

use bulkhead_abi::FfaError::{self, Aborted, NoMemory};
use bulkhead_abi::Version;
use bulkhead_abi::id::World;
use bulkhead_abi::memory::attributes::{
    Attributes, Cacheability, Device, MemoryType as Described, Shareability, TransactionType,
};
use bulkhead_abi::memory::encode::{RegionOf, encode_constituents, encode_for};
use bulkhead_abi::memory::registers::Lengths;
use bulkhead_abi::memory::{Flags, Handle, Header, Receiver};
use bulkhead_mm::attrs::{MemoryType, Space};

use super::borrower::{Borrower, Borrowers};
use super::send::{MORE, PART};
use super::{Kind, Share};
use crate::hardware::Hardware;
use crate::spmc::Spmc;

/// The length of a description up to its first constituent, in bytes.
pub(super) fn head(version: Version, receivers: u32) -> u32 {
    let (header, receiver) = match version {
        version if version < Version::V1_1 => (32, 16),
        version if version < Version::V1_2 => (48, 16),
        _ => (48, 32_u32),
    };
    receiver
        .saturating_mul(receivers)
        .saturating_add(header)
        .saturating_add(16)
}

/// Where a description goes.
pub(super) struct Reply {
    /// The mailbox.
    pub(super) slot: usize,
    /// The size of its RX buffer, in bytes.
    pub(super) room: usize,
    /// The version of the caller.
    pub(super) version: Version,
}

impl<H: Hardware> Spmc<H> {
    /// Writes the description of `share`, for its receiver `own` or for the hypervisor, as much of it as fits. Nothing is left of what the
    /// buffer held before (bug class 26). Returns its lengths and how many constituents it has.
    ///
    /// # Errors
    /// ABORTED when the buffer does not answer; NO_MEMORY when not even the receivers fit.
    pub(super) fn describe(
        share: &Share,
        handle: Handle,
        own: Option<Borrower>,
        reply: &Reply,
        hw: &mut H,
    ) -> Result<(Lengths, u32), FfaError> {
        let place = own.and_then(|own| own.held?.place);
        let header = share.header(handle, reply.version);
        let mut bytes = [0; PART];
        let room = bytes.len().min(reply.room);
        let part = bytes.get_mut(..room).ok_or(NoMemory)?;
        let region = Some(RegionOf {
            constituents: share.described(0, place, hw),
            constituent_count: share.seen(place),
            page_count: share.pages,
        });
        let receivers = match own {
            Some(own) => Shown::One(Some(own.granted())),
            None => Shown::All(share.borrowers(hw)),
        };
        let encoded =
            encode_for(reply.version, &header, receivers, region, part).ok_or(NoMemory)?;
        let length = usize::try_from(encoded.fragment_length).map_err(|_| NoMemory)?;
        let written = part.get(..length).ok_or(NoMemory)?;
        hw.write_rx(reply.slot, 0, written).map_err(|_| Aborted)?;
        let (told, end) = Self::write_constituents(
            share,
            reply.slot,
            length,
            reply.room,
            (encoded.constituents, place),
            hw,
        )?;
        let fragment = u32::try_from(end).map_err(|_| NoMemory)?;
        let lengths = Lengths {
            total: encoded.total_length,
            fragment,
        };
        Ok((lengths, told))
    }

    /// Writes the constituents from `told` on to the start of an RX buffer of `room` bytes, as one sees them
    /// who has them at `place`. Returns how many
    /// were told then, and the length in bytes.
    ///
    /// # Errors
    /// ABORTED when the buffer does not answer.
    pub(super) fn describe_more(
        share: &Share,
        slot: usize,
        room: usize,
        from: (u32, Option<u64>),
        hw: &mut H,
    ) -> Result<(u32, u32), FfaError> {
        let (told, end) = Self::write_constituents(share, slot, 0, room, from, hw)?;
        Ok((told, u32::try_from(end).map_err(|_| NoMemory)?))
    }

    /// Writes the constituents from `told` on to RX, from `offset` on, and clears the rest of it.
    #[inline(never)]
    fn write_constituents(
        share: &Share,
        slot: usize,
        mut offset: usize,
        room: usize,
        (mut told, place): (u32, Option<u64>),
        hw: &mut H,
    ) -> Result<(u32, usize), FfaError> {
        let mut bytes = [0; MORE];
        while told < share.seen(place) {
            let part = bytes.len().min(room.saturating_sub(offset));
            let part = bytes.get_mut(..part).ok_or(NoMemory)?;
            let count = encode_constituents(&mut share.described(told, place, hw), part);
            if count == 0 {
                break;
            }
            let length = usize::try_from(count).map_err(|_| NoMemory)?;
            let length = length.saturating_mul(16);
            let written = part.get(..length).ok_or(NoMemory)?;
            hw.write_rx(slot, offset, written).map_err(|_| Aborted)?;
            offset = offset.saturating_add(length);
            told = told.saturating_add(count);
        }
        hw.clear_rx(slot, offset).map_err(|_| Aborted)?;
        Ok((told, offset))
    }
}

/// The receivers that a response lists.
enum Shown<'a, H> {
    /// The one that it is for, until it was listed.
    One(Option<Receiver>),
    /// All of them, for the hypervisor.
    All(Borrowers<'a, H>),
}

impl<H: Hardware> Iterator for Shown<'_, H> {
    type Item = Receiver;

    fn next(&mut self) -> Option<Receiver> {
        match self {
            Self::One(own) => own.take(),
            Self::All(all) => all.next().map(|borrower| borrower.sent()),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::One(own) => (usize::from(own.is_some()), Some(usize::from(own.is_some()))),
            Self::All(all) => all.size_hint(),
        }
    }
}

impl<H: Hardware> ExactSizeIterator for Shown<'_, H> {}

impl Share {
    /// The header of a response. The NS bit is told from 1.1 on.
    fn header(&self, handle: Handle, version: Version) -> Header {
        let memory_type = match self.memory {
            MemoryType::Normal => Described::Normal(Cacheability::WriteBack, Shareability::Inner),
            MemoryType::Device => Described::Device(Device::NGnRnE),
        };
        let world = match self.space {
            Space::NonSecure if version >= Version::V1_1 => World::Normal,
            _ => World::Secure,
        };
        let flags = Flags(if self.clear { Flags::CLEAR } else { 0 });
        Header {
            sender: self.sender,
            attributes: Attributes { memory_type, world },
            flags: flags.with_type(self.kind.transaction_type()),
            handle,
            tag: self.tag,
        }
    }
}

impl Kind {
    pub(super) const fn transaction_type(self) -> TransactionType {
        match self {
            Self::Donate => TransactionType::Donate,
            Self::Lend => TransactionType::Lend,
            Self::Share => TransactionType::Share,
        }
    }
}
