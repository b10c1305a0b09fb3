// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a descriptor is refused by its shape.

use core::fmt;

use crate::FfaError;

/// The field or rule that a descriptor breaks. The caller is told INVALID_PARAMETERS; the log is
/// told this.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Malformed {
    /// The lengths in registers, or the buffer's, do not fit the descriptor (S1, S2, S16).
    Length,
    /// A reserved field or bit is set (S14).
    Reserved(&'static str),
    /// A value of a field has no meaning.
    Value(&'static str),
    /// No receivers, more than fit, or more than allowed (S5).
    ReceiverCount,
    /// The receivers lie in the header, unaligned, or past the end (S6).
    ReceiversOffset,
    /// The size of a receiver is not that of the version (S7).
    ReceiverSize,
    /// A composite descriptor lies in what precedes it, unaligned, past the end, or elsewhere for
    /// another receiver (S8).
    CompositeOffset,
    /// No constituents, or more than fit (S9).
    ConstituentCount,
    /// The total page count is not the sum of the constituents' (S10).
    TotalPageCount,
    /// A page count is zero or too large (S11, M4).
    PageCount,
    /// An address is not on a page boundary (S12).
    Address,
    /// A range of a constituent ends past 2^52, one of a buffer past 2^64 (S13).
    Wrap,
    /// Two address ranges share a page (M20).
    Overlap,
    /// A handle where there can be none yet (S15).
    Handle,
    /// A fragment splits a constituent, or is empty (F3, F5).
    Fragment,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "length",
            Self::Reserved(field) => return write!(f, "reserved {field} is not zero"),
            Self::Value(field) => return write!(f, "value of {field}"),
            Self::ReceiverCount => "receiver count",
            Self::ReceiversOffset => "offset of the receivers",
            Self::ReceiverSize => "size of a receiver",
            Self::CompositeOffset => "offset of the composite descriptor",
            Self::ConstituentCount => "constituent count",
            Self::TotalPageCount => "total page count",
            Self::PageCount => "page count",
            Self::Address => "unaligned address",
            Self::Wrap => "range past the end of addresses",
            Self::Overlap => "ranges overlap",
            Self::Handle => "handle is not zero",
            Self::Fragment => "fragment splits a constituent",
        })
    }
}

impl From<Malformed> for FfaError {
    fn from(_: Malformed) -> Self {
        Self::InvalidParameters
    }
}
