// SPDX-License-Identifier: MIT OR Apache-2.0
//! Encoders of transaction descriptors: retrieve responses in the borrower's version, and
//! what tests and partitions send.

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U32, U64};

use super::composite::{COMPOSITE_SIZE, CONSTITUENT_SIZE, Constituent};
use super::version::{DescriptorVersion, Header, Receiver, V1_0, V1_1, V1_2};
use crate::Version;

/// The memory that a descriptor describes.
#[derive(Clone, Debug)]
pub struct RegionOf<I> {
    /// All its constituents.
    pub constituents: I,
    /// How many they are.
    pub constituent_count: u32,
    /// How many pages they have.
    pub page_count: u32,
}

/// What [`encode`] has written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Encoded {
    /// The length of the whole descriptor, in bytes.
    pub total_length: u32,
    /// The length of the first fragment, in bytes: less than the whole when it did not fit.
    pub fragment_length: u32,
    /// How many constituents are in the first fragment; the others go by
    /// [`encode_constituents`].
    pub constituents: u32,
}

/// Encodes a descriptor in the layout of `V` to the start of `out`, with as many constituents as
/// fit. What a version has no field for, such as implementation-defined values below 1.2, is left
/// out. Bytes behind the fragment are not touched.
///
/// `None` when header, receivers and composite descriptor do not fit, or when lengths pass 2^32 - 1;
/// `out` is undefined then.
pub fn encode<V: DescriptorVersion>(
    header: &Header,
    receivers: impl ExactSizeIterator<Item = Receiver>,
    region: Option<RegionOf<impl Iterator<Item = Constituent>>>,
    out: &mut [u8],
) -> Option<Encoded> {
    let count = u32::try_from(receivers.len()).ok()?;
    let layout = V::encode(header, count);
    encode_parts(layout.as_bytes(), V::RECEIVER_SIZE, receivers, region, out)
}

/// [`encode`], of a header that is encoded, with receivers of `size` bytes: once for all versions.
fn encode_parts(
    header: &[u8],
    size: usize,
    receivers: impl ExactSizeIterator<Item = Receiver>,
    region: Option<RegionOf<impl Iterator<Item = Constituent>>>,
    out: &mut [u8],
) -> Option<Encoded> {
    let start = header
        .len()
        .checked_add(receivers.len().checked_mul(size)?)?;
    let composite_offset = match &region {
        Some(_) => u32::try_from(start).ok()?,
        None => 0,
    };
    let (head, rest) = out.split_at_mut_checked(header.len())?;
    head.copy_from_slice(header);
    let (array, rest) = rest.split_at_mut_checked(start.checked_sub(head.len())?)?;
    for (place, receiver) in array.chunks_exact_mut(size).zip(receivers) {
        match place.len() {
            16 => place.copy_from_slice(receiver.layout16(composite_offset).as_bytes()),
            _ => place.copy_from_slice(receiver.layout32(composite_offset).as_bytes()),
        }
    }
    let start = u32::try_from(start).ok()?;
    let Some(mut region) = region else {
        return Some(Encoded {
            total_length: start,
            fragment_length: start,
            constituents: 0,
        });
    };
    let composite = super::composite::CompositeLayout {
        total_page_count: U32::new(region.page_count),
        constituent_count: U32::new(region.constituent_count),
        reserved: U64::ZERO,
    };
    let (place, rest) = rest.split_at_mut_checked(COMPOSITE_SIZE)?;
    place.copy_from_slice(composite.as_bytes());
    let constituents = encode_constituents(&mut region.constituents, rest);
    let base = start.checked_add(16)?;
    Some(Encoded {
        total_length: base.checked_add(region.constituent_count.checked_mul(16)?)?,
        fragment_length: base.checked_add(constituents.checked_mul(16)?)?,
        constituents,
    })
}

/// [`encode`] in the layout of the version that the reader negotiated.
pub fn encode_for(
    version: Version,
    header: &Header,
    receivers: impl ExactSizeIterator<Item = Receiver>,
    region: Option<RegionOf<impl Iterator<Item = Constituent>>>,
    out: &mut [u8],
) -> Option<Encoded> {
    match (version.major, version.minor) {
        (0, _) | (1, 0) => encode::<V1_0>(header, receivers, region, out),
        (1, 1) => encode::<V1_1>(header, receivers, region, out),
        _ => encode::<V1_2>(header, receivers, region, out),
    }
}

/// Encodes constituents to `out`, as many as fit, and returns how many. One that does not fit is
/// left in the iterator: a constituent is never split (F5). For the fragments after the first.
pub fn encode_constituents(
    constituents: &mut impl Iterator<Item = Constituent>,
    out: &mut [u8],
) -> u32 {
    let mut count = 0_u32;
    for place in out.chunks_exact_mut(CONSTITUENT_SIZE) {
        let Some(constituent) = constituents.next() else {
            break;
        };
        place.copy_from_slice(constituent.layout().as_bytes());
        count = count.saturating_add(1);
    }
    count
}
