// SPDX-License-Identifier: MIT OR Apache-2.0
//! The endpoint RX/TX descriptor: the buffers of a VM, which a hypervisor forwards in its own TX
//! buffer with FFA_RXTX_MAP's addresses and count zero (A-07, M19, M20).
//!
//! One layout from FF-A 1.1 on. That of 1.0 is another one (Xen's `ffa_rxtx.c` names both) which no
//! hypervisor sends: FFA_RX_ACQUIRE, without which forwarding makes no sense, is of 1.1.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::EndpointId;
use crate::memory::composite::{COMPOSITE_SIZE, CONSTITUENT_SIZE, CompositeLayout};
use crate::memory::{Constituents, Expected, Malformed};

/// The descriptor, as Xen has it. Hafnium's has four more bytes of padding, which are not read.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Layout {
    /// Offset 0, length 2: the VM.
    pub endpoint: U16,
    /// Offset 2, length 2: must be zero.
    pub reserved: U16,
    /// Offset 4, length 4: offset of the composite descriptor of its RX buffer.
    pub rx_offset: U32,
    /// Offset 8, length 4: offset of the composite descriptor of its TX buffer.
    pub tx_offset: U32,
}

/// The alignment of both offsets, in bytes. The specification's is 8 (Hafnium's `ffa.h`), but Xen
/// puts the descriptors at 12 and 44.
const ALIGNMENT: usize = 4;

/// A VM's buffers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndpointBuffers<'a> {
    /// The VM.
    pub endpoint: EndpointId,
    /// Its RX buffer: ranges without overlap, neither with each other nor with `tx`.
    pub rx: Constituents<'a>,
    /// Its TX buffer.
    pub tx: Constituents<'a>,
}

impl<'a> EndpointBuffers<'a> {
    /// Decodes the descriptor at the start of `bytes`, which are all that the hypervisor's TX buffer
    /// holds. Neither buffer may have more than `maximum_pages`. O(`maximum_pages`²).
    ///
    /// # Errors
    /// [`Malformed`]: an offset unaligned, in the header, past the end or into the other composite
    /// descriptor; no ranges; a range that is empty, unaligned, wraps or overlaps another; totals that
    /// are wrong or too large; reserved bits (M20).
    pub fn decode(bytes: &'a [u8], maximum_pages: u32) -> Result<Self, Malformed> {
        let (layout, _) = Layout::ref_from_prefix(bytes).map_err(|_| Malformed::Length)?;
        if layout.reserved != U16::ZERO {
            return Err(Malformed::Reserved("field of the RX/TX descriptor"));
        }
        let (rx, rx_place) = region(bytes, layout.rx_offset.get(), maximum_pages)?;
        let (tx, tx_place) = region(bytes, layout.tx_offset.get(), maximum_pages)?;
        if rx_place.start < tx_place.end && tx_place.start < rx_place.end {
            return Err(Malformed::CompositeOffset);
        }
        let buffers = Self {
            endpoint: EndpointId(layout.endpoint.get()),
            rx,
            tx,
        };
        if buffers.has_overlap() {
            return Err(Malformed::Overlap);
        }
        Ok(buffers)
    }

    fn has_overlap(&self) -> bool {
        let mut rest = self.rx.iter().chain(self.tx.iter());
        while let Some(range) = rest.next() {
            if rest.clone().any(|other| range.overlaps(&other)) {
                return true;
            }
        }
        false
    }
}

/// The ranges of the composite descriptor at `offset`, and the bytes that it takes.
fn region(
    bytes: &[u8],
    offset: u32,
    maximum_pages: u32,
) -> Result<(Constituents<'_>, core::ops::Range<usize>), Malformed> {
    let start = usize::try_from(offset).map_err(|_| Malformed::CompositeOffset)?;
    if start < size_of::<Layout>() || !start.is_multiple_of(ALIGNMENT) {
        return Err(Malformed::CompositeOffset);
    }
    let (layout, rest) = bytes
        .get(start..)
        .and_then(|bytes| CompositeLayout::ref_from_prefix(bytes).ok())
        .ok_or(Malformed::CompositeOffset)?;
    let mut expected = Expected::of(layout)?;
    if expected.pages() > maximum_pages {
        return Err(Malformed::PageCount);
    }
    let length = usize::try_from(expected.constituents())
        .ok()
        .and_then(|count| count.checked_mul(CONSTITUENT_SIZE))
        .ok_or(Malformed::ConstituentCount)?;
    let constituents = rest.get(..length).ok_or(Malformed::ConstituentCount)?;
    let end = start
        .checked_add(COMPOSITE_SIZE)
        .and_then(|end| end.checked_add(length))
        .ok_or(Malformed::ConstituentCount)?;
    Ok((expected.take(constituents)?, start..end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::memory::Constituent;

    const VM: EndpointId = EndpointId(3);
    const MAXIMUM: u32 = 4;

    /// A descriptor of these ranges, the RX composite at `rx_offset` and the TX one behind it.
    fn descriptor(rx_offset: usize, rx: &[Constituent], tx: &[Constituent]) -> Vec<u8> {
        let tx_offset = rx_offset + COMPOSITE_SIZE + CONSTITUENT_SIZE * rx.len();
        let layout = Layout {
            endpoint: U16::new(VM.0),
            reserved: U16::ZERO,
            rx_offset: U32::new(rx_offset as u32),
            tx_offset: U32::new(tx_offset as u32),
        };
        let mut bytes = layout.as_bytes().to_vec();
        bytes.resize(rx_offset, 0);
        for ranges in [rx, tx] {
            let total: u32 = ranges.iter().map(|range| range.page_count).sum();
            bytes.extend(total.to_le_bytes());
            bytes.extend((ranges.len() as u32).to_le_bytes());
            bytes.extend([0; 8]);
            for range in ranges {
                bytes.extend(range.layout().as_bytes());
            }
        }
        bytes
    }

    fn range(address: u64, page_count: u32) -> Constituent {
        Constituent {
            address,
            page_count,
        }
    }

    /// Three ranges for RX, one for TX, and 32 bytes of something else behind them.
    fn good() -> Vec<u8> {
        let rx = [range(0x8000, 1), range(0x1_0000, 2), range(0x4000, 1)];
        let mut bytes = descriptor(16, &rx, &[range(0x2_0000, 4)]);
        bytes.extend([0xee; 32]);
        bytes
    }

    fn with(offset: usize, value: u32) -> Vec<u8> {
        let mut bytes = good();
        bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        bytes
    }

    fn refusal(bytes: &[u8]) -> Malformed {
        EndpointBuffers::decode(bytes, MAXIMUM).unwrap_err()
    }

    #[test]
    fn a07_a_forwarded_pair_is_decoded() {
        let bytes = good();
        let found = EndpointBuffers::decode(&bytes, MAXIMUM).unwrap();
        assert_eq!(found.endpoint, VM);
        let rx: Vec<_> = found.rx.iter().collect();
        assert_eq!(rx, [range(0x8000, 1), range(0x1_0000, 2), range(0x4000, 1)]);
        let tx: Vec<_> = found.tx.iter().collect();
        assert_eq!(tx, [range(0x2_0000, 4)]);
    }

    #[test]
    fn a07_the_bytes_that_xen_sends_are_accepted() {
        let bytes = [
            &[1, 0, 0, 0, 12, 0, 0, 0, 44, 0, 0, 0][..],
            &[1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0, 0x10, 0, 0x40, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
            &[1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0, 0x20, 0, 0x40, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        let found = EndpointBuffers::decode(&bytes, 1).unwrap();
        assert_eq!(found.endpoint, EndpointId(1));
        assert!(found.rx.iter().eq([range(0x4000_1000, 1)]));
        assert!(found.tx.iter().eq([range(0x4000_2000, 1)]));
    }

    #[test]
    fn m20_an_offset_unaligned_in_the_header_or_past_the_end_is_refused() {
        for field in [4, 8] {
            for offset in [
                0,
                4,
                8,
                11,
                13,
                14,
                15,
                17,
                0x7fff_fffc,
                u32::MAX - 3,
                u32::MAX,
            ] {
                assert_eq!(refusal(&with(field, offset)), Malformed::CompositeOffset);
            }
            let end = good().len() as u32;
            for offset in [end - 12, end, end + 4] {
                assert_eq!(refusal(&with(field, offset)), Malformed::CompositeOffset);
            }
        }
    }

    #[test]
    fn m20_composite_descriptors_that_overlap_are_refused() {
        assert_eq!(refusal(&with(8, 16)), Malformed::CompositeOffset);
        // The last twelve bytes of TX are the first ones of RX, and make sense as both.
        let mut bytes = vec![0; 16];
        for word in [1, 1, 0, 0, 0x5000, 1, 1, 0, 0, 0x8000, 0, 1, 0_u32] {
            bytes.extend(word.to_le_bytes());
        }
        bytes[..12].copy_from_slice(&[3, 0, 0, 0, 36, 0, 0, 0, 16, 0, 0, 0]);
        assert_eq!(refusal(&bytes), Malformed::CompositeOffset);
    }

    #[test]
    fn m20_no_ranges_and_no_pages_are_refused() {
        assert_eq!(refusal(&with(20, 0)), Malformed::ConstituentCount);
        assert_eq!(refusal(&with(16, 0)), Malformed::TotalPageCount);
        assert_eq!(refusal(&with(32 + 8, 0)), Malformed::PageCount);
        for count in [0x1000_0000, 0x1000_0001, u32::MAX] {
            assert!(EndpointBuffers::decode(&with(20, count), MAXIMUM).is_err());
        }
    }

    #[test]
    fn m20_wrong_and_excessive_totals_are_refused() {
        assert_eq!(refusal(&with(16, 3)), Malformed::TotalPageCount);
        assert_eq!(refusal(&with(16, 5)), Malformed::PageCount);
        // Right modulo 2^32 only.
        let mut bytes = with(32 + 8, u32::MAX);
        bytes[64 + 8] = 3;
        bytes[16] = 4;
        assert_eq!(refusal(&bytes), Malformed::TotalPageCount);
        let bytes = good();
        assert_eq!(
            EndpointBuffers::decode(&bytes, 3),
            Err(Malformed::PageCount)
        );
    }

    #[test]
    fn m20_unaligned_and_wrapping_ranges_are_refused() {
        for bit in 0..12 {
            let mut bytes = good();
            bytes[32 + bit / 8] |= 1 << (bit % 8);
            assert_eq!(refusal(&bytes), Malformed::Address);
        }
        let mut bytes = good();
        bytes[48..56].copy_from_slice(&(u64::MAX << 12).to_le_bytes());
        assert_eq!(refusal(&bytes), Malformed::Wrap);
    }

    #[test]
    fn m20_ranges_that_overlap_are_refused() {
        let one = [range(0x8000, 2)];
        for (rx, tx) in [
            (&one[..], &[range(0x8000, 2)][..]),
            (&one, &[range(0x9000, 1)]),
            (&one, &[range(0x7000, 2)]),
            (&one, &[range(0x6000, 4)]),
            (
                &one,
                &[range(0x1000, 1), range(0x2000, 1), range(0x9000, 1)],
            ),
            (
                &[range(0x1000, 1), range(0x2000, 2), range(0x3000, 1)],
                &one,
            ),
        ] {
            assert_eq!(refusal(&descriptor(16, rx, tx)), Malformed::Overlap);
        }
        for tx in [range(0x7000, 1), range(0xa000, 1)] {
            let bytes = descriptor(16, &one, &[tx]);
            assert!(EndpointBuffers::decode(&bytes, MAXIMUM).is_ok());
        }
    }

    #[test]
    fn m20_reserved_bytes_are_refused() {
        for offset in [2, 3, 24, 31, 44, 47, 60, 63] {
            let mut bytes = good();
            bytes[offset] = 1;
            assert!(
                matches!(refusal(&bytes), Malformed::Reserved(_)),
                "byte {offset}"
            );
        }
    }

    #[test]
    fn m20_every_truncation_is_refused() {
        let bytes = good();
        for length in 0..bytes.len() - 32 {
            assert!(EndpointBuffers::decode(&bytes[..length], MAXIMUM).is_err());
        }
    }

    #[test]
    fn m20_any_alignment_in_memory_will_do() {
        let bytes = good();
        let wanted = EndpointBuffers::decode(&bytes, MAXIMUM).unwrap();
        for shift in 1..16 {
            let mut shifted = vec![0; shift];
            shifted.extend(&bytes);
            let found = EndpointBuffers::decode(&shifted[shift..], MAXIMUM);
            assert_eq!(found, Ok(wanted));
        }
    }

    proptest! {
        #[test]
        fn m20_any_bytes_decode_to_sane_ranges_or_not_at_all(
            mut bytes in prop::collection::vec(0_u8..4, 12..160),
            rx in 3_u32..10,
            tx in 3_u32..30,
        ) {
            bytes[2..4].fill(0);
            bytes[4..8].copy_from_slice(&(rx * 4).to_le_bytes());
            bytes[8..12].copy_from_slice(&(tx * 4).to_le_bytes());
            if let Ok(found) = EndpointBuffers::decode(&bytes, MAXIMUM) {
                for buffer in [found.rx, found.tx] {
                    let pages: u32 = buffer.iter().map(|range| range.page_count).sum();
                    prop_assert!((1..=MAXIMUM).contains(&pages));
                }
            }
        }
    }
}
