// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a partition sees what it has, if not at the physical addresses.

use crate::dt::{Field, Node};
use crate::error::{ManifestError, Rule};
use crate::range::Range;

/// Of the partition's own memory, in the root.
pub(crate) const BASE: Field = Field::new(
    "bulkhead,ipa-base",
    "write bulkhead,ipa-base = <IPA>; with a page-aligned address that nothing else of the partition has",
);
/// Of a memory or device region.
pub(crate) const ADDRESS: Field = Field::new(
    "bulkhead,ipa-address",
    "write bulkhead,ipa-address = <IPA>; with a page-aligned address, not for a part of the partition's own memory",
);
/// Of the addresses at which it gets what it retrieves, in the root.
pub(crate) const RETRIEVED_BASE: Field = Field::new(
    "bulkhead,retrieved-memory-base",
    "write bulkhead,retrieved-memory-base = <IPA>; page-aligned, beside bulkhead,retrieved-memory-size",
);
const RETRIEVED_SIZE: Field = Field::new(
    "bulkhead,retrieved-memory-size",
    "write bulkhead,retrieved-memory-size = <BYTES>; whole pages, beside bulkhead,retrieved-memory-base",
);
/// What the partition needs not describe.
pub(crate) const RETRIEVED: &str = "the addresses for retrieved memory";

const PAGE: u64 = 0x1000;

/// The address that `field` gives to `size` bytes, if it does.
pub(crate) fn address<'a>(
    node: Node<'_, 'a>,
    field: Field,
    size: u64,
) -> Result<Option<u64>, ManifestError<'a>> {
    let Some(base) = node.integer(field)? else {
        return Ok(None);
    };
    let error = |rule| Err(node.field_error(field, rule).value(base));
    if !base.is_multiple_of(PAGE) {
        return error(Rule::RegionUnaligned);
    }
    match Range::new(base, size) {
        Some(_) => Ok(Some(base)),
        None => error(Rule::Overflow),
    }
}

/// Where retrieved memory goes: neither property, or both.
pub(crate) fn retrieved<'a>(root: Node<'_, 'a>) -> Result<Option<Range>, ManifestError<'a>> {
    let size = root.integer(RETRIEVED_SIZE)?;
    let base = address(root, RETRIEVED_BASE, size.unwrap_or(0))?;
    match (base, size) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(root.field_error(RETRIEVED_SIZE, Rule::MissingProperty)),
        (None, Some(_)) => Err(root.field_error(RETRIEVED_BASE, Rule::MissingProperty)),
        (Some(_), Some(0)) => Err(root.field_error(RETRIEVED_SIZE, Rule::RegionEmpty)),
        (Some(_), Some(size)) if !size.is_multiple_of(PAGE) => Err(root
            .field_error(RETRIEVED_SIZE, Rule::RegionUnaligned)
            .value(size)),
        (Some(base), Some(size)) => Ok(Some(Range { base, size })),
    }
}
