// SPDX-License-Identifier: MIT OR Apache-2.0
//! FFA_MEM_RETRIEVE_REQ, of a receiver and of the hypervisor.

use bulkhead_abi::FfaError::{Aborted, Busy, Denied, InvalidParameters, NoMemory};
use bulkhead_abi::memory::attributes::{
    DataAccess, InstructionAccess, MemoryType as Described, TransactionType,
};
use bulkhead_abi::memory::registers::Lengths;
use bulkhead_abi::memory::version::Retrieval;
use bulkhead_abi::memory::{
    Constituent, Flags, Kind as Descriptor, Receiver, Transaction, transaction,
};
use bulkhead_abi::{EndpointId, FfaError, Version};
use bulkhead_mm::addr::PAGE_SIZE;
use bulkhead_mm::attrs::{MemoryType, Permissions, Space, Stage2Attributes};
use bulkhead_mm::owner::PageState;

use super::borrower::{Borrower, Held};
use super::describe::Reply;
use super::rule::{Rule, check, row};
use super::send::{MAXIMUM_RECEIVERS, PART, memory_type};
use super::zero::{Progress, Stopped};
use super::{ANYBODY, Domain, Kind, Locked, Phase, Share};
use crate::event::Action;
use crate::hardware::Hardware;
use crate::spmc::{CoreState, Spmc};

/// A request beside the transaction that it names.
#[derive(Debug)]
pub struct Asking {
    is_complete: bool,
    names_transaction: bool,
    flags: Flags,
    kind: Kind,
    same_list: bool,
    others_as_sent: bool,
    instruction_given: bool,
    receivers: u32,
    sender_decides: bool,
    sender_lives: bool,
    has_it: bool,
    wanted: Permissions,
    granted_write: bool,
    may_execute: bool,
    memory: Described,
    is: MemoryType,
    lender_clears: bool,
    is_first: bool,
}

impl Asking {
    const fn clears_after(&self) -> bool {
        self.flags.has(Flags::CLEAR_RELINQUISH)
    }
}

/// The rules of a receiver's request, in the order in which they are checked. The shape of the descriptor
/// (S1, S14, S42, T10), a free RX buffer (T2) and a live handle of which the caller is a receiver
/// (T1, H1 to H5) come before them; memory for the tables after them (T14).
pub static RETRIEVE: [Rule<Asking>; 17] = [
    row(
        "T13",
        "all fragments are there",
        InvalidParameters,
        |case| case.is_complete,
    ),
    row("T3", "the sender and the tag", InvalidParameters, |case| {
        case.names_transaction
    }),
    row(
        "T4",
        "the type, if given; no time slicing",
        InvalidParameters,
        |case| {
            let given = case.flags.transaction_type();
            let same =
                given == TransactionType::NotSpecified || given == case.kind.transaction_type();
            same && !case.flags.has(Flags::TIME_SLICE)
        },
    ),
    row("T7", "no alignment hint", InvalidParameters, |case| {
        !case.flags.has(Flags::HINT_VALID | Flags::ALIGNMENT_HINT)
    }),
    row(
        "T11",
        "the lender's list in its order, or with bypass the caller alone",
        InvalidParameters,
        |case| case.same_list,
    ),
    row(
        "S45",
        "no bypass where there is one receiver",
        InvalidParameters,
        |case| !case.flags.has(Flags::BYPASS_BORROWERS) || case.receivers > 1,
    ),
    row(
        "T6",
        "others' access as the lender gave it",
        InvalidParameters,
        |case| case.others_as_sent,
    ),
    row(
        "T6",
        "instruction access only of a donation or one receiver's lend",
        InvalidParameters,
        |case| !case.instruction_given || !case.sender_decides,
    ),
    row("K7", "the sender lives", Aborted, |case| case.sender_lives),
    row("T12", "not retrieved already", Denied, |case| !case.has_it),
    row("T5", "no more data access than granted", Denied, |case| {
        !case.wanted.write || case.granted_write
    }),
    row(
        "T5",
        "X only of secure normal memory that the sender could execute, without W",
        Denied,
        |case| !case.wanted.execute || (case.may_execute && !case.wanted.write),
    ),
    row(
        "A-46",
        "the memory type, if given, is the memory's",
        Denied,
        |case| case.memory == Described::NotSpecified || memory_type(case.memory) == Some(case.is),
    ),
    row(
        "T8",
        "zeroing before only if the lender asked for it",
        InvalidParameters,
        |case| !case.flags.has(Flags::CLEAR) || case.lender_clears,
    ),
    row(
        "T8",
        "and by who may write, when nobody has retrieved",
        Denied,
        |case| !case.flags.has(Flags::CLEAR) || (case.is_first && case.wanted.write),
    ),
    row(
        "T9",
        "zeroing after only of a lend",
        InvalidParameters,
        |case| !case.clears_after() || case.kind == Kind::Lend,
    ),
    row("T9", "and by who may write memory", Denied, |case| {
        !case.clears_after() || (case.is == MemoryType::Normal && case.wanted.write)
    }),
];

impl<H: Hardware> Spmc<H> {
    /// FFA_MEM_RETRIEVE_REQ. What is asked for is in TX, and the answer goes to RX.
    #[inline(never)]
    pub(crate) fn mem_retrieve(
        &self,
        core: &mut CoreState<H>,
        version: Version,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        let lengths = Lengths::decode(core.caller())?;
        let domain = self.domain(core);
        let (slot, mailbox) = self.mailbox(core);
        let mut mailbox = mailbox.lock();
        let tx = mailbox.buffers().ok_or(Busy)?.tx.bytes();
        let length = usize::try_from(lengths.fragment).map_err(|_| InvalidParameters)?;
        let mut bytes = [0; PART];
        let request = bytes.get_mut(..length).ok_or(InvalidParameters)?;
        if length > tx {
            return Err(InvalidParameters);
        }
        hw.read_tx(slot, 0, request).map_err(|_| Aborted)?;
        let request = transaction::parse(
            version,
            request,
            lengths.total,
            Descriptor::RetrieveRequest,
            MAXIMUM_RECEIVERS,
        )?;
        let reply = Reply {
            slot,
            room: mailbox.writable()?,
            version,
        };
        let of_hypervisor = domain == Domain::NormalWorld && request.is_hypervisor_retrieve();
        // The hypervisor is told that a transaction is not its own (T24).
        let parties = if of_hypervisor { ANYBODY } else { domain.bit() };
        let locked = self.shares.find(request.header.handle, parties);
        let locked = locked.ok_or(InvalidParameters)?;
        let outcome = if of_hypervisor {
            self.retrieve_for_hypervisor(locked, &request, &reply, hw)
        } else {
            self.retrieve(locked, domain, &request, &reply, hw)
        };
        match outcome {
            Ok(lengths) => {
                mailbox.give();
                drop(mailbox);
                let extended = self.extended_rule(core);
                core.caller().reply(extended, lengths.retrieve_response());
                Ok(core.resume())
            }
            Err(FfaError::Interrupted) => {
                drop(mailbox);
                Ok(self.call_again(core))
            }
            Err(error) => Err(error),
        }
    }

    /// The whole description of a transaction of the normal world, for the hypervisor to check or to undo
    /// what it did to its own tables.
    fn retrieve_for_hypervisor(
        &self,
        mut locked: Locked,
        request: &Transaction<'_>,
        reply: &Reply,
        hw: &mut H,
    ) -> Result<Lengths, FfaError> {
        let handle = locked.handle();
        let share = locked.share()?;
        if request.header.sender != EndpointId::NORMAL_WORLD {
            return Err(InvalidParameters);
        }
        if share.sender.is_secure() {
            return Err(Denied);
        }
        if share.phase != Phase::Sent {
            return Err(InvalidParameters);
        }
        let (lengths, told) = Self::describe(share, handle, None, reply, hw)?;
        share.hypervisor_told = Some(told);
        Ok(lengths)
    }

    fn retrieve(
        &self,
        mut locked: Locked,
        domain: Domain,
        request: &Transaction<'_>,
        reply: &Reply,
        hw: &mut H,
    ) -> Result<Lengths, FfaError> {
        let index = locked.index;
        let handle = locked.handle();
        let patience = self.patience(domain);
        let share = locked.share()?;
        let own = caller(domain, request).ok_or(InvalidParameters)?;
        let (number, mut borrower) = share.borrower(own.endpoint, hw).ok_or(InvalidParameters)?;
        let wanted = share.wanted(&borrower, &own);
        check(
            &RETRIEVE,
            &self.asking(share, &borrower, &own, wanted, request, hw),
        )?;
        if self.is_ended(domain) {
            return Err(Aborted);
        }
        let mut held = Held {
            write: wanted.write,
            execute: wanted.execute,
            clear_after: request.header.flags.has(Flags::CLEAR_RELINQUISH),
            leaving: false,
            told: 0,
            place: self.place(share, domain, hw)?,
        };
        let lengths = loop {
            borrower.held = Some(held);
            let (lengths, told) = Self::describe(share, handle, Some(borrower), reply, hw)?;
            let mapped = self
                .clear_before(share, domain, held.place, patience, hw)
                .and_then(|()| self.map_for(share, domain, held.place, wanted, hw));
            let Err(error) = mapped else {
                held.told = told;
                break lengths;
            };
            // What was written is nobody's to read.
            let _ = hw.clear_rx(reply.slot, 0);
            if error != Denied {
                return Err(error);
            }
            let place = self.place(share, domain, hw)?;
            if place == held.place {
                return Err(error);
            }
            // Another context of the partition was faster to have memory there.
            held.place = place;
        };
        borrower.held = Some(held);
        share.set_borrower(number, &borrower, hw);
        share.holders = share.holders.saturating_add(1);
        // What was zeroed for one that has not left yet may be written to again.
        share.zeroing = Progress::default();
        if share.kind == Kind::Donate {
            self.change_owner(index, share, domain, hw);
            if held.told == share.seen(held.place) {
                self.shares.put_back(locked, hw);
            }
        }
        Ok(lengths)
    }

    /// What the rules look at.
    #[inline(never)]
    fn asking(
        &self,
        share: &Share,
        borrower: &Borrower,
        own: &Receiver,
        wanted: Permissions,
        request: &Transaction<'_>,
        hw: &H,
    ) -> Asking {
        let header = &request.header;
        let listed = request.receivers;
        let same_list = if header.flags.has(Flags::BYPASS_BORROWERS) {
            listed.len() == 1
        } else {
            let ids = listed.iter().map(|receiver| receiver.endpoint);
            ids.eq(share.borrowers(hw).map(|borrower| borrower.id))
        };
        let as_sent = |other: Receiver| {
            let sent = share.borrower(other.endpoint, hw);
            sent.is_some_and(|(_, sent)| sent.permissions == other.permissions)
        };
        let unspecified = Receiver {
            permissions: bulkhead_abi::memory::Permissions::NOT_SPECIFIED,
            ..*own
        };
        Asking {
            is_complete: share.phase == Phase::Sent,
            names_transaction: (header.sender, header.tag) == (share.sender, share.tag),
            flags: header.flags,
            kind: share.kind,
            same_list,
            others_as_sent: (listed.iter())
                .filter(|other| other.endpoint != own.endpoint)
                .all(as_sent),
            instruction_given: own.permissions.instruction != InstructionAccess::NotSpecified,
            receivers: share.receivers,
            sender_decides: share.sender_decides(),
            sender_lives: !share.orphan,
            has_it: borrower.held.is_some(),
            wanted,
            granted_write: share.wanted(borrower, &unspecified).write,
            may_execute: share.ceiling.execute
                && share.space == Space::Secure
                && share.memory == MemoryType::Normal,
            memory: header.attributes.memory_type,
            is: share.memory,
            lender_clears: share.clear,
            is_first: !share.cleared && share.holders == 0,
        }
    }

    /// The lender's zeroing, before anyone sees the pages.
    ///
    /// # Errors
    /// INTERRUPTED when it is not done yet, ABORTED when the memory does not answer, NO_MEMORY when the
    /// tables may not suffice: the lender's data is not touched for a request that is refused.
    #[inline(never)]
    fn clear_before(
        &self,
        share: &mut Share,
        domain: Domain,
        place: Option<u64>,
        patience: super::zero::Patience,
        hw: &mut H,
    ) -> Result<(), FfaError> {
        if !share.clear || share.cleared {
            return Ok(());
        }
        if let Domain::Partition(index, _) = domain
            && tables(share.described(0, place, hw)) > hw.pages_left(index)
        {
            return Err(NoMemory);
        }
        Self::zero(share, patience, hw).map_err(|stopped: Stopped| FfaError::from(stopped))?;
        share.cleared = true;
        Ok(())
    }

    /// Where the caller gets the pages, if not at their own addresses: in one piece, at the lowest of the
    /// addresses that its manifest has for that which are free.
    ///
    /// # Errors
    /// NO_MEMORY when it has no room there.
    fn place(&self, share: &Share, domain: Domain, hw: &H) -> Result<Option<u64>, FfaError> {
        let Domain::Partition(index, _) = domain else {
            return Ok(None);
        };
        let partition = self.partitions.get(index);
        let window = partition.and_then(|partition| partition.config.retrieved_memory.clone());
        let bytes = u64::from(share.pages).saturating_mul(PAGE_SIZE);
        match window {
            None => Ok(None),
            Some(window) => match hw.gap(index, share.space, window, bytes) {
                None => Err(NoMemory),
                ipa => Ok(ipa),
            },
        }
    }

    /// Maps the pages in the stage 2 of a partition that retrieves them.
    ///
    /// # Errors
    /// NO_MEMORY, or DENIED if something is mapped there; nothing is mapped then.
    #[inline(never)]
    fn map_for(
        &self,
        share: &Share,
        domain: Domain,
        place: Option<u64>,
        permissions: Permissions,
        hw: &mut H,
    ) -> Result<(), FfaError> {
        // The normal world sees its memory already: what a VM may see is the hypervisor's to say.
        let Domain::Partition(index, _) = domain else {
            return Ok(());
        };
        let attributes = Stage2Attributes {
            memory: share.memory,
            permissions,
        };
        let (mut next, mut again) = (place, place);
        Self::try_each_run(
            share,
            hw,
            |hw, run| {
                let ipa = Held::next(&mut next, run);
                hw.map_borrowed(index, share.space, ipa, run.range, attributes)
            },
            |hw, run| {
                let ipa = Held::next(&mut again, run);
                hw.unmap_borrowed(index, share.space, ipa, run.range.bytes());
            },
        )
    }

    /// The pages of a donation become the receiver's.
    fn change_owner(&self, index: usize, share: &mut Share, domain: Domain, hw: &mut H) {
        if let Some((sender, _)) = self.find(share.sender) {
            Self::for_each_run(share, hw, |hw, run| {
                hw.forget(sender, share.space, run.ipa, run.range.bytes());
            });
        }
        let from = share.state(index);
        let to = PageState::exclusive(domain.owner(), share.space, share.memory);
        self.owners.settle(share.ranges(hw), from, to);
        share.phase = Phase::Taken;
    }
}

impl Share {
    /// What a request gets if it is granted: what it leaves open is what was granted, and never X.
    fn wanted(&self, borrower: &Borrower, own: &Receiver) -> Permissions {
        let granted = match borrower.permissions.data {
            DataAccess::ReadWrite => true,
            DataAccess::NotSpecified => self.ceiling.write,
            DataAccess::ReadOnly => false,
        };
        let execute = own.permissions.instruction == InstructionAccess::Executable;
        let write = match own.permissions.data {
            DataAccess::ReadOnly => false,
            DataAccess::ReadWrite => true,
            // W and X never meet (O6).
            DataAccess::NotSpecified => granted && !execute,
        };
        Permissions {
            read: true,
            write,
            execute,
        }
    }
}

/// The receiver for whom the request is: the calling partition, or the one VM in the list.
fn caller(domain: Domain, request: &Transaction<'_>) -> Option<Receiver> {
    request.receivers.iter().find(|receiver| {
        receiver.retrieval == Retrieval::Borrower && domain.speaks_for(receiver.endpoint)
    })
}

/// At most how many tables it takes to map `pages`, which is few for those that lie side by side.
fn tables(pages: impl Iterator<Item = Constituent>) -> usize {
    /// What an entry of each level but the last maps, as a power of two.
    const LEVELS: [u32; 3] = [21, 30, 39];
    let mut count = 0_u64;
    let mut last = [None; 3];
    for run in pages {
        let bytes = u64::from(run.page_count).saturating_mul(PAGE_SIZE);
        let end = run.address.saturating_add(bytes).saturating_sub(1);
        for (shift, last) in LEVELS.into_iter().zip(&mut last) {
            let first_table = run.address.unbounded_shr(shift);
            let last_table = end.unbounded_shr(shift);
            let more = last_table.saturating_sub(first_table);
            count =
                count.saturating_add(more.saturating_add(u64::from(*last != Some(first_table))));
            *last = Some(last_table);
        }
    }
    usize::try_from(count).unwrap_or(usize::MAX)
}
