// SPDX-License-Identifier: MIT OR Apache-2.0
//! FFA_MEM_RELINQUISH and FFA_MEM_RECLAIM. Neither takes memory.

use bulkhead_abi::FfaError::{self, Aborted, Denied, InvalidParameters};
use bulkhead_abi::memory::registers::Reclaim;
use bulkhead_abi::memory::relinquish::{Layout, Relinquish};
use bulkhead_mm::attrs::MemoryType;
use bulkhead_mm::owner::PageState;

use super::borrower::{Borrower, Held};
use super::rule::{Rule, check, row};
use super::send::tx_bytes;
use super::zero::{Patience, Stopped};
use super::{ANYBODY, Kind, Locked, Phase, Share, owner_of};
use crate::event::Action;
use crate::hardware::{Hardware, VcpuContext};
use crate::spmc::{CoreState, Spmc};

/// The length of a descriptor with one endpoint, in bytes.
const ONE: usize = size_of::<Layout>().saturating_add(size_of::<u16>());

/// A relinquish beside the transaction that it names.
#[derive(Debug)]
pub struct Leaving {
    kind: Kind,
    is_complete: bool,
    has_it: bool,
    knows_all: bool,
    clears: bool,
    may_write: bool,
}

/// The rules of a relinquish, in the order in which they are checked. The shape of the descriptor, one
/// endpoint that is the caller's (T16), and a live handle of which it is a receiver (H2) come before them.
pub static RELINQUISH: [Rule<Leaving>; 5] = [
    row(
        "T16",
        "complete and not a donation",
        InvalidParameters,
        |case| case.is_complete && case.kind != Kind::Donate,
    ),
    row("T16", "retrieved", Denied, |case| case.has_it),
    row(
        "T19",
        "its description is fetched to the end",
        InvalidParameters,
        |case| case.knows_all,
    ),
    row(
        "T9",
        "nothing to zero in a share",
        InvalidParameters,
        |case| !case.clears || case.kind == Kind::Lend,
    ),
    row("T9", "zeroed by who may write memory", Denied, |case| {
        !case.clears || case.may_write
    }),
];

/// A reclaim beside the transaction that it names.
#[derive(Debug)]
pub struct Reclaiming {
    is_own: bool,
    is_given_away: bool,
    is_held: bool,
    clears: bool,
    may_write: bool,
}

/// The rules of a reclaim, in the order in which they are checked, after those of its flags (T20) and of its
/// handle (H2, T23).
pub static RECLAIM: [Rule<Reclaiming>; 4] = [
    row("T20", "the caller's", Denied, |case| case.is_own),
    row("T22", "not donated away", Denied, |case| {
        !case.is_given_away
    }),
    row("T20", "no receiver has it", Denied, |case| !case.is_held),
    row("A-49", "zeroed by who may write memory", Denied, |case| {
        !case.clears || case.may_write
    }),
];

impl<H: Hardware> Spmc<H> {
    /// FFA_MEM_RELINQUISH: the caller, or a VM that it speaks for, gives its access up.
    #[inline(never)]
    pub(crate) fn mem_relinquish(
        &self,
        core: &mut CoreState<H>,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        let domain = self.domain(core);
        let patience = self.patience(domain);
        let mut bytes = [0; ONE];
        {
            let (slot, mailbox) = self.mailbox(core);
            let mailbox = mailbox.lock();
            tx_bytes(&mailbox)?;
            hw.read_tx(slot, 0, &mut bytes).map_err(|_| Aborted)?;
        }
        // A longer list does not decode: only one endpoint relinquishes.
        let request = Relinquish::decode(&bytes)?;
        let own = (request.endpoints().next())
            .filter(|id| domain.speaks_for(*id))
            .ok_or(InvalidParameters)?;
        if request.flags & !Relinquish::CLEAR != 0 {
            return Err(InvalidParameters);
        }
        let clears = request.flags & Relinquish::CLEAR != 0;
        let mut locked = self
            .shares
            .find(request.handle, domain.bit())
            .ok_or(InvalidParameters)?;
        let share = locked.share()?;
        let (number, mut borrower) = share.borrower(own, hw).ok_or(InvalidParameters)?;
        let held = borrower.held;
        check(
            &RELINQUISH,
            &Leaving {
                kind: share.kind,
                is_complete: share.phase == Phase::Sent,
                has_it: held.is_some(),
                knows_all: held.is_some_and(|held| held.told == share.seen(held.place)),
                clears,
                may_write: share.memory == MemoryType::Normal
                    && held.is_some_and(|held| held.write),
            },
        )?;
        if let Some(held) = &mut borrower.held {
            held.clear_after |= clears;
        }
        match self.leave_pages(locked, (number, borrower), patience, hw) {
            Ok(()) => Ok(self.succeed(core, [0; 6])),
            Err(Stopped::Interrupted) => Ok(self.call_again(core)),
            Err(Stopped::Fault) => Err(Aborted),
        }
    }

    /// A receiver leaves: its mapping goes first, then the pages are zeroed if that is due, which waits for
    /// the last receiver. A transaction whose sender is dead ends with it.
    ///
    /// # Errors
    /// [`Stopped`] in the middle of zeroing: the receiver counts as one until it is at its end.
    pub(super) fn leave_pages(
        &self,
        mut locked: Locked,
        (number, mut borrower): (u32, Borrower),
        patience: Patience,
        hw: &mut H,
    ) -> Result<(), Stopped> {
        let index = locked.index;
        let (Ok(share), Some(held)) = (locked.share(), borrower.held) else {
            return Ok(());
        };
        if !held.leaving {
            if let Some((partition, _)) = self.find(borrower.id) {
                let mut place = held.place;
                Self::for_each_run(share, hw, |hw, run| {
                    let ipa = Held::next(&mut place, run);
                    hw.unmap_borrowed(partition, share.space, ipa, run.range.bytes());
                });
            }
            share.clear_due |= held.clear_after;
        }
        if share.holders == 1 && share.clear_due {
            if let Err(stopped) = Self::zero(share, patience, hw) {
                borrower.held = Some(Held {
                    leaving: true,
                    ..held
                });
                share.set_borrower(number, &borrower, hw);
                return Err(stopped);
            }
            share.clear_due = false;
        }
        borrower.held = None;
        share.set_borrower(number, &borrower, hw);
        share.holders = share.holders.saturating_sub(1);
        if share.orphan && share.holders == 0 {
            self.end_orphan(index, share, hw);
            self.shares.put_back(locked, hw);
        }
        Ok(())
    }

    /// FFA_MEM_RECLAIM: the owner has its pages as before the transaction, which ends.
    #[inline(never)]
    pub(crate) fn mem_reclaim(
        &self,
        core: &mut CoreState<H>,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        let call = Reclaim::decode(core.caller());
        let domain = self.domain(core);
        let patience = self.patience(domain);
        if call.flags & !Reclaim::CLEAR != 0 {
            return Err(InvalidParameters);
        }
        let clears = call.flags & Reclaim::CLEAR != 0;
        // Who does not own it is told so (T20).
        let mut locked = self
            .shares
            .find(call.handle, ANYBODY)
            .ok_or(InvalidParameters)?;
        let index = locked.index;
        let share = locked.share()?;
        let filling = matches!(share.phase, Phase::Filling(_));
        check(
            &RECLAIM,
            &Reclaiming {
                is_own: domain.speaks_for(share.sender),
                is_given_away: share.phase == Phase::Taken,
                is_held: share.holders != 0,
                clears: clears && !filling,
                may_write: share.memory == MemoryType::Normal && share.ceiling.write,
            },
        )?;
        if !filling {
            let cleared = if clears {
                Self::zero(share, patience, hw)
            } else {
                Ok(())
            };
            match cleared {
                Err(Stopped::Interrupted) => {
                    drop(locked);
                    return Ok(self.call_again(core));
                }
                Err(Stopped::Fault) => return Err(Aborted),
                Ok(()) => {}
            }
            self.resume_sender(share, hw);
            self.release(index, share, hw);
        }
        self.shares.put_back(locked, hw);
        Ok(self.succeed(core, [0; 6]))
    }

    /// The pages are their owner's alone again.
    pub(super) fn release(&self, index: usize, share: &Share, hw: &mut H) {
        let from = share.state(index);
        let to = PageState::exclusive(owner_of(share.sender), share.space, share.memory);
        self.owners.settle(share.ranges(hw), from, to);
    }

    /// Lets the running partition make its call again, which is after the interrupt that is pending.
    pub(super) fn call_again(&self, core: &mut CoreState<H>) -> Action {
        if let Some(context) = core.context() {
            context.step_back();
        }
        core.resume()
    }
}
