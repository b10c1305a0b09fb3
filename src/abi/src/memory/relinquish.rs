// SPDX-License-Identifier: MIT OR Apache-2.0
//! The descriptor of FFA_MEM_RELINQUISH (A-50, T16). One layout in all versions.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Handle, Malformed};
use crate::EndpointId;

/// The descriptor; the endpoint ids follow it directly, 2 bytes each.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Layout {
    /// Offset 0, length 8: [`Handle`].
    pub handle: U64,
    /// Offset 8, length 4: [`Relinquish::CLEAR`] and [`Relinquish::TIME_SLICE`].
    pub flags: U32,
    /// Offset 12, length 4: count of endpoint ids.
    pub endpoint_count: U32,
}

/// A relinquish descriptor, decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Relinquish<'a> {
    /// Which memory.
    pub handle: Handle,
    /// [`Relinquish::CLEAR`] and [`Relinquish::TIME_SLICE`].
    pub flags: u32,
    endpoints: &'a [U16],
}

impl<'a> Relinquish<'a> {
    /// Bit 0 of the flags: zero the memory once it is unmapped.
    pub const CLEAR: u32 = 1 << 0;
    /// Bit 1 of the flags: the operation may be interrupted.
    pub const TIME_SLICE: u32 = 1 << 1;

    /// Decodes the descriptor at the start of `bytes`, which may be longer: the call has no length.
    ///
    /// # Errors
    /// Too short, no endpoints, or reserved flags. That the endpoint is the caller alone is for the
    /// core to check.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (layout, rest) = Layout::ref_from_prefix(bytes).map_err(|_| Malformed::Length)?;
        let flags = layout.flags.get();
        if flags & !(Self::CLEAR | Self::TIME_SLICE) != 0 {
            return Err(Malformed::Reserved("bit of the flags"));
        }
        let count = usize::try_from(layout.endpoint_count.get())
            .ok()
            .filter(|&count| count != 0)
            .ok_or(Malformed::ReceiverCount)?;
        let (endpoints, _) = <[U16]>::ref_from_prefix_with_elems(rest, count)
            .map_err(|_| Malformed::ReceiverCount)?;
        Ok(Self {
            handle: layout.handle.into(),
            flags,
            endpoints,
        })
    }

    /// The endpoints that give the memory back.
    pub fn endpoints(&self) -> impl ExactSizeIterator<Item = EndpointId> + Clone + use<'a> {
        self.endpoints.iter().map(|id| EndpointId(id.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [u8; 20] = [
        2, 0, 0, 0, 0, 0, 0, 0x80, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0x80, 2, 0x80,
    ];

    #[test]
    fn a50_a_descriptor_is_decoded_and_what_follows_it_ignored() {
        let mut long = GOOD.to_vec();
        long.extend([0xee; 100]);
        for bytes in [&GOOD[..], &long] {
            let found = Relinquish::decode(bytes).unwrap();
            assert_eq!(found.handle, Handle(0x8000_0000_0000_0002));
            assert_eq!(found.flags, Relinquish::CLEAR);
            assert!(
                found
                    .endpoints()
                    .eq([EndpointId(0x8001), EndpointId(0x8002)])
            );
        }
    }

    #[test]
    fn t16_every_truncation_is_refused() {
        for length in 0..GOOD.len() {
            assert!(Relinquish::decode(&GOOD[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn t16_reserved_flags_and_wrong_counts_are_refused() {
        for bit in 2..32 {
            let mut bytes = GOOD;
            bytes[8 + bit / 8] |= 1 << (bit % 8);
            assert!(Relinquish::decode(&bytes).is_err());
        }
        for count in [0, 3, 0x7fff_ffff, 0x8000_0001, u32::MAX] {
            let mut bytes = GOOD;
            bytes[12..16].copy_from_slice(&u32::to_le_bytes(count));
            assert_eq!(Relinquish::decode(&bytes), Err(Malformed::ReceiverCount));
        }
    }
}
