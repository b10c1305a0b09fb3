// SPDX-License-Identifier: MIT OR Apache-2.0
//! What becomes of the transactions of a partition that has ended (A-60, K7).

use bulkhead_abi::EndpointId;
use bulkhead_mm::attrs::MemoryType;

use super::zero::Patience;
use super::{Phase, Share};
use crate::hardware::Hardware;
use crate::spmc::Spmc;

impl<H: Hardware> Spmc<H> {
    /// The partition with `id`, which is marked as ended, leaves what it has retrieved, and what it was
    /// asked to have zeroed is. What it has sent ends with the last receiver, and is wiped; until then
    /// receivers keep it, and nobody retrieves it anew.
    pub(crate) fn end_shares(&self, id: EndpointId, hw: &mut H) {
        for mut locked in self.shares.each() {
            let index = locked.index;
            let Some(share) = locked.slot.share.as_mut() else {
                continue;
            };
            if share.sender == id {
                match share.phase {
                    Phase::Filling(_) => self.shares.put_back(locked, hw),
                    Phase::Taken => {}
                    Phase::Sent if share.holders == 0 => {
                        self.end_orphan(index, share, hw);
                        self.shares.put_back(locked, hw);
                    }
                    Phase::Sent => share.orphan = true,
                }
                continue;
            }
            let held = share
                .borrower(id, hw)
                .filter(|(_, borrower)| borrower.held.is_some());
            let Some(borrower) = held else {
                continue;
            };
            if share.phase == Phase::Taken {
                // The pages are its own; the rest of their description goes with it.
                self.shares.put_back(locked, hw);
            } else {
                // Nothing stops it.
                let _ = self.leave_pages(locked, borrower, Patience::WhatAnswers, hw);
            }
        }
    }

    /// Wipes the pages of a dead sender that nobody has any more. They stay its own, and it never runs.
    pub(super) fn end_orphan(&self, index: usize, share: &mut Share, hw: &mut H) {
        if share.memory == MemoryType::Normal {
            let _ = Self::zero(share, Patience::WhatAnswers, hw);
        }
        self.release(index, share, hw);
    }
}
