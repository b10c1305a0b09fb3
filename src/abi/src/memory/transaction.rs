// SPDX-License-Identifier: MIT OR Apache-2.0
//! Transaction descriptors: of donate, lend and share, of retrieve requests and responses.
//!
//! [`parse`] checks the shape of a descriptor in a private copy: lengths, offsets, counts, sums,
//! alignment, reserved fields (S1 to S17, S42). Who may send what to whom is not its business. A
//! descriptor may come in fragments: `parse` takes the first, [`Expected::take`] the others.

use zerocopy::FromBytes;

use super::attributes::{Attributes, Flags, Kind};
use super::composite::{COMPOSITE_SIZE, CONSTITUENT_SIZE, CompositeLayout};
use super::version::{DescriptorVersion, Header, Receiver, Retrieval, V1_0, V1_1, V1_2};
use super::{Constituents, Expected, Handle, Malformed};
use crate::{Version, World};

/// The alignment of a composite descriptor's offset, in bytes.
const COMPOSITE_ALIGNMENT: usize = 8;
/// The alignment of the receivers' offset, in bytes.
const RECEIVERS_ALIGNMENT: usize = 16;

/// A transaction descriptor whose shape is right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transaction<'a> {
    /// What the header says.
    pub header: Header,
    /// The receivers; none in a hypervisor's retrieve request.
    pub receivers: Receivers<'a>,
    /// The memory; none in a retrieve request, which names it by handle.
    pub region: Option<Region<'a>>,
}

/// The memory of a transaction, as far as the first fragment describes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region<'a> {
    /// All constituents, all fragments together.
    pub constituent_count: u32,
    /// Pages of all constituents, all fragments together.
    pub page_count: u32,
    /// The constituents in the first fragment.
    pub constituents: Constituents<'a>,
    /// What the other fragments have to bring.
    pub expected: Expected,
}

/// The receivers of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Receivers<'a> {
    bytes: &'a [u8],
    size: usize,
}

impl<'a> Receivers<'a> {
    /// Each of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Receiver> + Clone + use<'a> {
        self.bytes
            .chunks_exact(self.size)
            .map(|bytes| match Receiver::decode(bytes) {
                Ok((receiver, _)) => receiver,
                // `find` has decoded them all.
                Err(_) => Receiver::NOBODY,
            })
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.bytes.len().checked_div(self.size).unwrap_or(0)
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Decodes the array in `fragment` and returns its end and the composite offset, which all
    /// receivers share.
    fn find(
        fragment: &'a [u8],
        array: &super::version::Array,
        header_size: usize,
    ) -> Result<(Self, usize, u32), Malformed> {
        let offset = usize::try_from(array.offset).map_err(|_| Malformed::ReceiversOffset)?;
        if offset < header_size || !offset.is_multiple_of(RECEIVERS_ALIGNMENT) {
            return Err(Malformed::ReceiversOffset);
        }
        let rest = fragment.get(offset..).ok_or(Malformed::ReceiversOffset)?;
        let size = usize::try_from(array.size).map_err(|_| Malformed::ReceiverSize)?;
        let bytes = usize::try_from(array.count)
            .ok()
            .and_then(|count| count.checked_mul(size))
            .and_then(|length| rest.get(..length))
            .ok_or(Malformed::ReceiverCount)?;
        let end = offset
            .checked_add(bytes.len())
            .ok_or(Malformed::ReceiverCount)?;
        let mut composite_offset = None;
        for chunk in bytes.chunks_exact(size) {
            let (_, offset) = Receiver::decode(chunk)?;
            if *composite_offset.get_or_insert(offset) != offset {
                return Err(Malformed::CompositeOffset);
            }
        }
        let composite_offset = composite_offset.ok_or(Malformed::ReceiverCount)?;
        Ok((Self { bytes, size }, end, composite_offset))
    }
}

impl<'a> Transaction<'a> {
    /// Whether it is a hypervisor's retrieve request: a handle and nothing else.
    pub const fn is_hypervisor_retrieve(&self) -> bool {
        self.receivers.is_empty()
    }

    /// Decodes the first fragment of a descriptor in the layout of `V`. `total_length` is that of
    /// the whole descriptor, in bytes. O(length of the fragment).
    ///
    /// # Errors
    /// [`Malformed`], by the first rule that is broken:
    /// - lengths: a fragment longer than the whole; of a request without fragments, or of a donate,
    ///   lend or share, a length that is not that of its parts (S1, S2, S16);
    /// - the header: reserved bits, attributes without a meaning, bit 6 in a request (S14, S42), a
    ///   handle in a donate, lend or share (S15), flags that the kind does not have (S45);
    /// - receivers: their size, count and place; reserved bits (S5 to S7, S14);
    /// - the composite descriptor: its place, which is behind the receivers and the same for all of
    ///   them; present in a retrieve request (S8, T10); what [`Expected`] says (S9 to S14, F5).
    pub fn parse<V: DescriptorVersion>(
        fragment: &'a [u8],
        total_length: u32,
        kind: Kind,
        maximum_receivers: u32,
    ) -> Result<Self, Malformed> {
        let total = usize::try_from(total_length).map_err(|_| Malformed::Length)?;
        if fragment.len() > total {
            return Err(Malformed::Length);
        }
        let (layout, _) = V::Header::ref_from_prefix(fragment).map_err(|_| Malformed::Length)?;
        let (header, array) = V::decode(layout)?;
        Flags::decode(header.flags.0, kind)?;
        match kind {
            Kind::Send if header.handle != Handle::NONE => return Err(Malformed::Handle),
            Kind::Send | Kind::RetrieveRequest if header.attributes.world == World::Normal => {
                return Err(Malformed::Reserved("bit 6 of the memory attributes"));
            }
            _ => {}
        }
        if array.count == 0 && kind == Kind::RetrieveRequest {
            return hypervisor_retrieve::<V>(&header, &array, fragment.len() == total);
        }
        if array.count == 0 || array.count > maximum_receivers {
            return Err(Malformed::ReceiverCount);
        }
        if !V::accepts_receiver_size(array.size) {
            return Err(Malformed::ReceiverSize);
        }
        let (receivers, end, composite_offset) =
            Receivers::find(fragment, &array, size_of::<V::Header>())?;
        let region = match kind {
            Kind::RetrieveRequest if composite_offset != 0 => {
                return Err(Malformed::CompositeOffset);
            }
            Kind::RetrieveRequest if fragment.len() != end || total != end => {
                return Err(Malformed::Length);
            }
            Kind::RetrieveRequest => None,
            Kind::Send | Kind::RetrieveResponse => {
                Some(Region::find(fragment, composite_offset, end, total)?)
            }
        };
        if kind == Kind::Send
            && receivers
                .iter()
                .any(|receiver| receiver.retrieval != Retrieval::Borrower)
        {
            return Err(Malformed::Reserved("bit of a receiver's flags"));
        }
        Ok(Self {
            header,
            receivers,
            region,
        })
    }
}

/// A hypervisor's retrieve request: what is neither handle nor sender is zero. Its length may
/// be more than the header's: protected KVM sends 48 bytes at 1.0, too.
fn hypervisor_retrieve<'a, V: DescriptorVersion>(
    header: &Header,
    array: &super::version::Array,
    whole: bool,
) -> Result<Transaction<'a>, Malformed> {
    let default = V::encode(header, 0);
    let (_, default) = V::decode(&default)?;
    let fixed = default.size == array.size && default.offset == array.offset;
    if !fixed && (array.size != 0 || array.offset != 0) {
        return Err(Malformed::ReceiverCount);
    }
    if header.attributes.encode() != 0 || header.flags != Flags(0) || header.tag != 0 {
        return Err(Malformed::ReceiverCount);
    }
    if !whole {
        return Err(Malformed::Length);
    }
    Ok(Transaction {
        header: *header,
        receivers: Receivers {
            bytes: &[],
            size: V::RECEIVER_SIZE,
        },
        region: None,
    })
}

impl<'a> Region<'a> {
    /// Decodes the composite descriptor at `offset` of the first fragment, not before `floor`.
    fn find(
        fragment: &'a [u8],
        offset: u32,
        floor: usize,
        total: usize,
    ) -> Result<Self, Malformed> {
        let start = usize::try_from(offset).map_err(|_| Malformed::CompositeOffset)?;
        if start < floor || !start.is_multiple_of(COMPOSITE_ALIGNMENT) {
            return Err(Malformed::CompositeOffset);
        }
        let (layout, rest) = fragment
            .get(start..)
            .and_then(|bytes| CompositeLayout::ref_from_prefix(bytes).ok())
            .ok_or(Malformed::CompositeOffset)?;
        let mut expected = Expected::of(layout)?;
        let end = usize::try_from(expected.constituents())
            .ok()
            .and_then(|count| count.checked_mul(CONSTITUENT_SIZE))
            .and_then(|length| length.checked_add(COMPOSITE_SIZE))
            .and_then(|length| length.checked_add(start))
            .ok_or(Malformed::ConstituentCount)?;
        if end != total {
            return Err(Malformed::Length);
        }
        let constituents = if rest.is_empty() {
            Constituents::EMPTY
        } else {
            expected.take(rest)?
        };
        Ok(Self {
            constituent_count: layout.constituent_count.get(),
            page_count: layout.total_page_count.get(),
            constituents,
            expected,
        })
    }
}

/// [`Transaction::parse`] in the layout of the version that the caller negotiated.
///
/// # Errors
/// As [`Transaction::parse`].
pub fn parse(
    version: Version,
    fragment: &[u8],
    total_length: u32,
    kind: Kind,
    maximum_receivers: u32,
) -> Result<Transaction<'_>, Malformed> {
    let parse = match (version.major, version.minor) {
        (0, _) | (1, 0) => Transaction::parse::<V1_0>,
        (1, 1) => Transaction::parse::<V1_1>,
        _ => Transaction::parse::<V1_2>,
    };
    parse(fragment, total_length, kind, maximum_receivers)
}

impl Receiver {
    /// Nobody, with no permissions.
    const NOBODY: Self = Self {
        endpoint: crate::EndpointId(0),
        permissions: super::attributes::Permissions::NOT_SPECIFIED,
        retrieval: Retrieval::NonRetrievalBorrower,
        implementation_defined: [0; 16],
    };
}

impl Header {
    /// The header of a hypervisor's retrieve request, and of tests.
    pub const fn of_handle(handle: Handle) -> Self {
        Self {
            sender: crate::EndpointId(0),
            attributes: Attributes::NOT_SPECIFIED,
            flags: Flags(0),
            handle,
            tag: 0,
        }
    }
}
