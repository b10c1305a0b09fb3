// SPDX-License-Identifier: MIT OR Apache-2.0
//! Zeroing of a transaction's pages, which an interrupt stops and the same call goes on with
//! (A-58, DECISIONS 20).

use bulkhead_abi::FfaError;
use bulkhead_mm::addr::{PAGE_SIZE, Pa, PageRange};

use super::record::{self, Run};
use super::{Domain, Share};
use crate::hardware::Hardware;
use crate::spmc::Spmc;

/// How many bytes are zeroed before each look for an interrupt.
const PIECE: u64 = 0x1_0000;

/// Where zeroing stopped.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Progress {
    /// Constituents that are done.
    constituents: u32,
    /// Bytes of the next one that are done.
    bytes: u64,
}

/// Why zeroing is not at its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stopped {
    /// An interrupt is pending: the caller's instruction is to be executed again after it.
    Interrupted,
    /// Memory did not answer.
    Fault,
}

/// Who may interrupt zeroing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Patience {
    /// Nobody: a call of the normal world takes as long as it takes.
    ToTheEnd,
    /// Nobody, and memory that does not answer is passed over: a partition has ended, and what it had goes back.
    WhatAnswers,
    /// Interrupts; some is zeroed before each, so that a storm of them does not stop it.
    Interruptible,
}

impl<H: Hardware> Spmc<H> {
    /// Whether a call of `domain` may be interrupted.
    pub(super) fn patience(&self, domain: Domain) -> Patience {
        match domain {
            Domain::NormalWorld => Patience::ToTheEnd,
            Domain::Partition(..) => Patience::Interruptible,
        }
    }

    /// Zeroes all pages of `share` from where it stopped, and cleans them to the point of coherency (X5).
    ///
    /// # Errors
    /// [`Stopped`]; how far it came is noted.
    pub(super) fn zero(share: &mut Share, patience: Patience, hw: &mut H) -> Result<(), Stopped> {
        let first = share.first().saturating_add(share.zeroing.constituents);
        let mut pairs = share.record.pairs(first, u32::MAX, hw);
        while let Some(Run { range, .. }) = pairs.next(hw).and_then(record::run) {
            while let Some(piece) = piece(range, share.zeroing.bytes) {
                if hw.zero(share.space, piece).is_err() {
                    if patience != Patience::WhatAnswers {
                        return Err(Stopped::Fault);
                    }
                    // Each page for itself: what answers is wiped.
                    for page in piece
                        .iter()
                        .filter_map(|page| PageRange::new(page, PAGE_SIZE))
                    {
                        let _ = hw.zero(share.space, page);
                    }
                }
                share.zeroing.bytes = share.zeroing.bytes.saturating_add(piece.bytes());
                if patience == Patience::Interruptible && hw.interrupt_is_pending() {
                    return Err(Stopped::Interrupted);
                }
            }
            share.zeroing = Progress {
                constituents: share.zeroing.constituents.saturating_add(1),
                bytes: 0,
            };
        }
        share.zeroing = Progress::default();
        Ok(())
    }
}

/// What of `range` is zeroed next when `done` bytes are.
fn piece(range: PageRange, done: u64) -> Option<PageRange> {
    let base = range.base().0.checked_add(done)?;
    let bytes = range.bytes().checked_sub(done)?.min(PIECE);
    (bytes >= PAGE_SIZE).then_some(PageRange::new(Pa(base), bytes)?)
}

impl From<Stopped> for FfaError {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            // The caller is never told: its call is made again.
            Stopped::Interrupted => Self::Interrupted,
            Stopped::Fault => Self::Aborted,
        }
    }
}
