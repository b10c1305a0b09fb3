// SPDX-License-Identifier: MIT OR Apache-2.0
//! FFA_MEM_FRAG_TX, by which a sender brings the rest of its descriptor, and FFA_MEM_FRAG_RX, by which a
//! receiver fetches the rest of a response.

use bulkhead_abi::EndpointId;
use bulkhead_abi::FfaError::{self, Aborted, InvalidParameters, NoMemory};
use bulkhead_abi::memory::registers::Fragment;

use super::send::{MORE, Reader, Source, no_memory, tx_bytes};
use super::{Domain, Locked, Phase};
use crate::event::Action;
use crate::hardware::Hardware;
use crate::spmc::{CoreState, Spmc};

/// Constituents stand in fragments as a whole.
const CONSTITUENT: usize = 16;

impl<H: Hardware> Spmc<H> {
    /// FFA_MEM_FRAG_TX. A fragment of somebody else's transaction, or of one that is complete, changes
    /// nothing (F1, F2, F4); a fragment that is wrong ends the transaction (F3, F5); one for which there is
    /// no memory may come again (F7).
    #[inline(never)]
    pub(crate) fn mem_frag_tx(
        &self,
        core: &mut CoreState<H>,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        let call = Fragment::decode(core.caller());
        let domain = self.domain(core);
        let (slot, mailbox) = self.mailbox(core);
        let mailbox = mailbox.lock();
        let room = tx_bytes(&mailbox)?;
        let mut locked = self
            .shares
            .find(call.handle, domain.bit())
            .ok_or(InvalidParameters)?;
        let share = locked.share()?;
        let own = domain.speaks_for(share.sender) && call.endpoint == domain.names(share.sender);
        if !own || !matches!(share.phase, Phase::Filling(_)) || self.is_ended(domain) {
            return Err(InvalidParameters);
        }
        let length = usize::try_from(call.position).map_err(|_| InvalidParameters)?;
        let fits = length <= room && length.is_multiple_of(CONSTITUENT);
        let outcome = if fits {
            let reader = Reader {
                source: Source::Tx(slot),
                offset: 0,
                end: length,
            };
            self.add_fragment(&mut locked, domain, reader, hw)
        } else {
            Err(InvalidParameters)
        };
        drop(mailbox);
        match outcome {
            Ok(()) => self.sent(core, locked, domain),
            Err(error @ (NoMemory | Aborted)) => Err(error),
            Err(error) => {
                self.shares.put_back(locked, hw);
                Err(error)
            }
        }
    }

    /// # Errors
    /// After NO_MEMORY and ABORTED the transaction is as it was.
    fn add_fragment(
        &self,
        locked: &mut Locked,
        domain: Domain,
        mut reader: Reader,
        hw: &mut H,
    ) -> Result<(), FfaError> {
        let index = locked.index;
        let share = locked.share()?;
        let Phase::Filling(before) = share.phase else {
            return Err(InvalidParameters);
        };
        let length = share.record.len();
        let mut expected = before;
        let mut add = || {
            let mut bytes = [0; MORE];
            if reader.end == 0 {
                return Err(InvalidParameters);
            }
            while let Some(part) = reader.next(&mut bytes, hw)? {
                let constituents = expected.take(part)?;
                share.add(&constituents, hw).map_err(no_memory)?;
            }
            share.phase = Phase::Filling(expected);
            if expected.is_complete() {
                self.give_up(index, share, domain, hw)?;
            }
            Ok(())
        };
        add().inspect_err(|_| {
            share.phase = Phase::Filling(before);
            share.record.truncate(length, hw);
        })
    }

    /// FFA_MEM_FRAG_RX: the next part of a response, at the offset where the last one ended (F11).
    #[inline(never)]
    pub(crate) fn mem_frag_rx(
        &self,
        core: &mut CoreState<H>,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        let call = Fragment::decode(core.caller());
        let domain = self.domain(core);
        let version = self.caller_version(core);
        let (slot, mailbox) = self.mailbox(core);
        let mut mailbox = mailbox.lock();
        let room = mailbox.writable()?;
        let mut locked = self
            .shares
            .find(call.handle, domain.bit())
            .ok_or(InvalidParameters)?;
        let share = locked.share()?;
        let for_hypervisor =
            domain == Domain::NormalWorld && call.endpoint == EndpointId::NORMAL_WORLD;
        let own = match domain {
            Domain::Partition(_, id) if call.endpoint == EndpointId(0) || call.endpoint == id => id,
            Domain::NormalWorld if !call.endpoint.is_secure() => call.endpoint,
            _ => return Err(InvalidParameters),
        };
        let borrower = share.borrower(own, hw).filter(|_| !for_hypervisor);
        let held = borrower.and_then(|(_, borrower)| borrower.held);
        let (told, receivers, place) = match (for_hypervisor, held) {
            (true, _) => (
                share.hypervisor_told.ok_or(InvalidParameters)?,
                share.receivers,
                None,
            ),
            (false, Some(held)) => (held.told, 1, held.place),
            (false, None) => return Err(InvalidParameters),
        };
        let head = super::describe::head(version, receivers);
        let position = told.saturating_mul(16).saturating_add(head);
        if call.position != position || told >= share.seen(place) {
            return Err(InvalidParameters);
        }
        let (told, length) = Self::describe_more(share, slot, room, (told, place), hw)?;
        match borrower {
            Some((number, mut borrower)) => {
                borrower.held = held.map(|held| super::borrower::Held { told, ..held });
                share.set_borrower(number, &borrower, hw);
            }
            None => share.hypervisor_told = Some(told),
        }
        mailbox.give();
        drop(mailbox);
        let answer = Fragment {
            handle: call.handle,
            position: length,
            endpoint: domain.names(share.sender),
        };
        if share.phase == Phase::Taken && told == share.seen(place) {
            self.shares.put_back(locked, hw);
        }
        let extended = self.extended_rule(core);
        core.caller().reply(extended, answer.transmit());
        Ok(core.resume())
    }
}
