// SPDX-License-Identifier: MIT OR Apache-2.0
//! FFA_MEM_DONATE, FFA_MEM_LEND and FFA_MEM_SHARE.

use bulkhead_abi::FfaError::{Aborted, Denied, InvalidParameters, NoMemory};
use bulkhead_abi::memory::attributes::{
    Cacheability, DataAccess, Device, InstructionAccess, MemoryType as Described, Shareability,
};
use bulkhead_abi::memory::registers::{DescriptorBuffer, Fragment, Lengths};
use bulkhead_abi::memory::transaction::{self, Region};
use bulkhead_abi::memory::{Constituents, Flags, Kind as Descriptor, Malformed, Transaction};
use bulkhead_abi::{EndpointId, FfaError, Version, Width};
use bulkhead_mm::addr::PageRange;
use bulkhead_mm::attrs::{MemoryType, Permissions, Space};
use bulkhead_mm::owner::PageState;

use super::owner;
use super::record::{self, Record};
use super::rule::{Rule, check, row};
use super::zero::Progress;
use super::{Domain, Kind, Locked, Phase, Share, transaction};
use crate::event::Action;
use crate::hardware::{Hardware, OutOfMemory};
use crate::mailbox::{MAX_PAGES, Mailbox};
use crate::partition::Health;
use crate::rxtx;
use crate::spmc::{CoreState, Spmc};

/// The first part of a descriptor that is read, in bytes: header and receivers are in it.
pub(super) const PART: usize = 4096;
/// What is read or written at a time of the constituents behind it, in bytes: the stack of a core is small.
pub(super) const MORE: usize = 1024;
/// How many receivers fit into the first part.
pub(super) const MAXIMUM_RECEIVERS: u32 = 126;

/// What the first call says of a transaction.
#[derive(Debug)]
pub struct Sending {
    kind: Kind,
    from_normal_world: bool,
    is_sender: bool,
    flags: Flags,
    receivers: u32,
    names_sender: bool,
    repeats: bool,
    all_known: bool,
    all_live: bool,
    of_normal_world: u32,
    data_given: u32,
    instruction_given: bool,
    memory: Described,
}

impl Sending {
    const fn sender_decides(&self) -> bool {
        matches!(self.kind, Kind::Share) || (matches!(self.kind, Kind::Lend) && self.receivers != 1)
    }
}

/// The rules of a donate, lend or share, in the order in which they are checked. The shape of the
/// descriptor comes before them (S1 to S17, S42), its memory after them.
pub static SEND: [Rule<Sending>; 14] = [
    row(
        "S18",
        "the sender is the caller, or one of its VMs",
        Denied,
        |case| case.is_sender,
    ),
    row("S44", "no time slicing", InvalidParameters, |case| {
        !case.flags.has(Flags::TIME_SLICE)
    }),
    row(
        "S43",
        "nothing to zero in a share",
        InvalidParameters,
        |case| !(case.flags.has(Flags::CLEAR) && case.kind == Kind::Share),
    ),
    row(
        "S22",
        "one receiver of a donation",
        InvalidParameters,
        |case| case.kind != Kind::Donate || case.receivers == 1,
    ),
    row(
        "S19",
        "no receiver is the sender",
        InvalidParameters,
        |case| !case.names_sender,
    ),
    row("S20", "no receiver twice", InvalidParameters, |case| {
        !case.repeats
    }),
    row("S21", "receivers exist", InvalidParameters, |case| {
        case.all_known
    }),
    row(
        "S23",
        "a partition's receivers are partitions",
        Denied,
        |case| case.from_normal_world || case.of_normal_world == 0,
    ),
    row(
        "S24",
        "one receiver is a partition; beside it at most one VM, of a share",
        Denied,
        |case| match case.of_normal_world {
            0 => true,
            1 => case.receivers > 1 && case.kind == Kind::Share,
            _ => false,
        },
    ),
    row("S25", "receivers live", Aborted, |case| case.all_live),
    row(
        "A-41",
        "data access is given for share and lend, and not for a donation",
        InvalidParameters,
        |case| match case.kind {
            Kind::Donate => case.data_given == 0,
            Kind::Lend | Kind::Share => case.data_given == case.receivers,
        },
    ),
    row(
        "S39",
        "instruction access is not given",
        InvalidParameters,
        |case| !case.instruction_given,
    ),
    row(
        "A-41",
        "no memory type for a donation or one receiver's lend",
        InvalidParameters,
        |case| case.sender_decides() || case.memory == Described::NotSpecified,
    ),
    row(
        "S41",
        "normal write-back inner shareable memory, or Device-nGnRnE",
        Denied,
        |case| !case.sender_decides() || memory_type(case.memory).is_some(),
    ),
];

/// The memory type that a descriptor names, if there is such a one.
pub(super) const fn memory_type(described: Described) -> Option<MemoryType> {
    match described {
        Described::Normal(Cacheability::WriteBack, Shareability::Inner) => Some(MemoryType::Normal),
        Described::Device(Device::NGnRnE) => Some(MemoryType::Device),
        _ => None,
    }
}

/// Where a descriptor lies.
#[derive(Clone, Copy)]
pub(super) enum Source {
    /// In the TX buffer of a mailbox.
    Tx(usize),
    /// In pages of the caller's own, which are nobody else's until it is read.
    Own(Space, PageRange),
}

/// What reads a descriptor, each byte once (M24).
pub(super) struct Reader {
    pub(super) source: Source,
    pub(super) offset: usize,
    pub(super) end: usize,
}

impl Reader {
    /// The next part, of at most `to.len()` bytes.
    ///
    /// # Errors
    /// ABORTED when the buffer does not answer.
    pub(super) fn next<'a, H: Hardware>(
        &mut self,
        to: &'a mut [u8],
        hw: &mut H,
    ) -> Result<Option<&'a [u8]>, FfaError> {
        let left = self.end.saturating_sub(self.offset);
        if left == 0 {
            return Ok(None);
        }
        let length = left.min(to.len());
        let part = to.get_mut(..length).ok_or(InvalidParameters)?;
        let read = match self.source {
            Source::Tx(slot) => hw.read_tx(slot, self.offset, part),
            Source::Own(space, range) => hw.read_pages(space, range, self.offset, part),
        };
        read.map_err(|_| Aborted)?;
        self.offset = self.offset.saturating_add(length);
        Ok(Some(part))
    }
}

/// The size of the TX buffer.
///
/// # Errors
/// INVALID_PARAMETERS without one (S1).
pub(super) fn tx_bytes(mailbox: &Mailbox) -> Result<usize, FfaError> {
    let buffers = mailbox.buffers().ok_or(InvalidParameters)?;
    Ok(buffers.tx.bytes())
}

impl<H: Hardware> Spmc<H> {
    /// FFA_MEM_DONATE, FFA_MEM_LEND and FFA_MEM_SHARE: the first fragment of the descriptor, or all of it,
    /// is in the caller's TX buffer, or in another buffer of its own. Further fragments are in TX.
    #[inline(never)]
    pub(crate) fn mem_send(
        &self,
        core: &mut CoreState<H>,
        kind: Kind,
        width: Width,
        version: Version,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        let lengths = Lengths::decode(core.caller())?;
        let buffer = DescriptorBuffer::decode(core.caller(), width)?;
        let domain = self.domain(core);
        let (slot, mailbox) = self.mailbox(core);
        // The end of the partition waits for it, whichever buffer this is about.
        let mailbox = mailbox.lock();
        let end = usize::try_from(lengths.fragment).map_err(|_| InvalidParameters)?;
        let (source, room) = match buffer {
            None => (Source::Tx(slot), tx_bytes(&mailbox)?),
            Some(buffer) => {
                let (space, range) = self.own_buffer(domain, buffer, hw)?;
                let room = usize::try_from(range.bytes()).map_err(|_| InvalidParameters)?;
                (Source::Own(space, range), room)
            }
        };
        if end > room {
            return Err(InvalidParameters);
        }
        let reader = Reader {
            source,
            offset: 0,
            end,
        };
        let sent = match source {
            Source::Tx(_) => self.send(kind, version, domain, lengths.total, reader, hw),
            Source::Own(space, range) => {
                let own = PageState::exclusive(domain.owner(), space, MemoryType::Normal);
                let ranges = core::iter::once(range);
                // Nobody can send or map them meanwhile.
                let claim = self
                    .owners
                    .claim(ranges.clone(), own, owner::mailbox(slot))?;
                let sent = self.send(kind, version, domain, lengths.total, reader, hw);
                self.owners.cancel(claim, ranges, space);
                sent
            }
        };
        drop(mailbox);
        self.sent(core, sent?, domain)
    }

    /// The buffer of a caller that is not its TX buffer: what it might map as one (M3, M9 to M12), and no more
    /// than that.
    ///
    /// # Errors
    /// INVALID_PARAMETERS.
    fn own_buffer(
        &self,
        domain: Domain,
        buffer: DescriptorBuffer,
        hw: &H,
    ) -> Result<(Space, PageRange), FfaError> {
        if buffer.pages > u32::from(MAX_PAGES) {
            return Err(InvalidParameters);
        }
        let range = rxtx::range(buffer.address, buffer.pages)?;
        match domain {
            Domain::NormalWorld if self.normal_world.owns(&range) => Ok((Space::NonSecure, range)),
            Domain::NormalWorld => Err(InvalidParameters),
            Domain::Partition(index, _) => {
                rxtx::place(index, range, hw).map(|range| (Space::Secure, range))
            }
        }
    }

    /// The transaction that a descriptor's first fragment makes.
    fn send(
        &self,
        kind: Kind,
        version: Version,
        domain: Domain,
        total: u32,
        mut reader: Reader,
        hw: &mut H,
    ) -> Result<Locked, FfaError> {
        let fragment = reader.end;
        let mut bytes = [0; PART];
        let first = reader.next(&mut bytes, hw)?.ok_or(InvalidParameters)?;
        let (descriptor, used) = parse(version, first, total, fragment)?;
        reader.offset = used;
        self.check_send(kind, domain, &descriptor)?;
        let region = descriptor.region.ok_or(InvalidParameters)?;

        let mut locked = self.shares.take().ok_or(NoMemory)?;
        let account = self.account(domain);
        locked.slot.share = Some(new_share(kind, account, &descriptor, &region, total));
        locked.slot.parties = domain.bit();
        match self.fill(&mut locked, domain, &descriptor, &region, &mut reader, hw) {
            Ok(()) => Ok(locked),
            Err(error) => {
                self.shares.put_back(locked, hw);
                Err(error)
            }
        }
    }

    /// Records receivers and constituents of the first fragment, and takes the pages if that is all.
    fn fill(
        &self,
        locked: &mut Locked,
        domain: Domain,
        descriptor: &Transaction<'_>,
        region: &Region<'_>,
        reader: &mut Reader,
        hw: &mut H,
    ) -> Result<(), FfaError> {
        if self.is_ended(domain) {
            return Err(Aborted);
        }
        let index = locked.index;
        for receiver in descriptor.receivers.iter() {
            locked.slot.parties |= self.domain_of(receiver.endpoint).bit();
            let share = locked.share()?;
            share.add_borrower(&receiver, hw).map_err(no_memory)?;
        }
        let share = locked.share()?;
        let mut expected = region.expected;
        share.add(&region.constituents, hw).map_err(no_memory)?;
        let mut bytes = [0; MORE];
        while let Some(part) = reader.next(&mut bytes, hw)? {
            let constituents = expected.take(part)?;
            share.add(&constituents, hw).map_err(no_memory)?;
        }
        share.phase = Phase::Filling(expected);
        if expected.is_complete() {
            self.give_up(index, share, domain, hw)?;
        }
        Ok(())
    }

    /// Answers a send or a fragment: with the handle, or with what is missing.
    pub(super) fn sent(
        &self,
        core: &mut CoreState<H>,
        mut locked: Locked,
        domain: Domain,
    ) -> Result<Action, FfaError> {
        let handle = locked.handle();
        let share = locked.share()?;
        if share.phase == Phase::Sent {
            let (low, high) = handle.to_words();
            return Ok(self.succeed(core, [u64::from(low), u64::from(high), 0, 0, 0, 0]));
        }
        let endpoint = domain.names(share.sender);
        let answer = Fragment {
            handle,
            position: share
                .received()
                .saturating_mul(16)
                .saturating_add(share.head),
            endpoint,
        };
        drop(locked);
        let extended = self.extended_rule(core);
        core.caller().reply(extended, answer.receive());
        Ok(core.resume())
    }

    /// The rules of [`SEND`].
    fn check_send(
        &self,
        kind: Kind,
        domain: Domain,
        descriptor: &Transaction<'_>,
    ) -> Result<(), FfaError> {
        let header = &descriptor.header;
        let receivers = descriptor.receivers;
        let count = |is: &dyn Fn(&bulkhead_abi::memory::Receiver) -> bool| {
            let number = receivers.iter().filter(|receiver| is(receiver)).count();
            u32::try_from(number).unwrap_or(u32::MAX)
        };
        let all = u32::try_from(receivers.len()).unwrap_or(u32::MAX);
        let is_live = |id: EndpointId| {
            self.find(id)
                .is_none_or(|(_, partition)| partition.health() != Health::Aborted)
        };
        let same = |id: EndpointId| count(&|other| other.endpoint == id) > 1;
        let case = Sending {
            kind,
            from_normal_world: domain == Domain::NormalWorld,
            is_sender: domain.speaks_for(header.sender) && self.knows(header.sender),
            flags: header.flags,
            receivers: all,
            names_sender: count(&|one| one.endpoint == header.sender) != 0,
            repeats: receivers.iter().any(|one| same(one.endpoint)),
            all_known: count(&|one| self.knows(one.endpoint)) == all,
            all_live: count(&|one| is_live(one.endpoint)) == all,
            of_normal_world: count(&|one| !one.endpoint.is_secure()),
            data_given: count(&|one| one.permissions.data != DataAccess::NotSpecified),
            instruction_given: count(&|one| {
                one.permissions.instruction != InstructionAccess::NotSpecified
            }) != 0,
            memory: header.attributes.memory_type,
        };
        check(&SEND, &case)
    }

    /// The last checks of a complete descriptor, those of its memory, and the commit: the pages leave
    /// their owner as the transaction's kind says (S26 to S43).
    ///
    /// # Errors
    /// INVALID_PARAMETERS, DENIED or NO_MEMORY; no page has changed.
    pub(super) fn give_up(
        &self,
        index: usize,
        share: &mut Share,
        domain: Domain,
        hw: &mut H,
    ) -> Result<(), FfaError> {
        let found = match domain {
            Domain::NormalWorld => self.of_normal_world(share, hw)?,
            Domain::Partition(partition, _) => of_partition(partition, share, hw)?,
        };
        (share.space, share.memory, share.ceiling) = (found.space, found.memory, found.permissions);
        self.may_send(share, hw)?;
        let owned = PageState::exclusive(domain.owner(), share.space, share.memory);
        let claim = self
            .owners
            .claim(share.ranges(hw), owned, transaction(index))?;
        if let (Domain::Partition(partition, _), Kind::Lend | Kind::Donate) = (domain, share.kind)
            && let Err(error) = Self::take_from_sender(partition, share, hw)
        {
            self.owners.cancel(claim, share.ranges(hw), share.space);
            return Err(error);
        }
        let state = share.state(index);
        self.owners.commit(claim, share.ranges(hw), state);
        share.phase = Phase::Sent;
        Ok(())
    }

    /// Takes the pages from the sender's stage 2.
    ///
    /// # Errors
    /// NO_MEMORY when a block cannot be split for want of a page, and DENIED for a page that is not there any
    /// more; all pages are back then.
    fn take_from_sender(partition: usize, share: &Share, hw: &mut H) -> Result<(), FfaError> {
        Self::try_each_run(
            share,
            hw,
            |hw, run| hw.suspend(partition, share.space, run.ipa, run.range.bytes()),
            |hw, run| hw.resume(partition, share.space, run.ipa, run.range.bytes()),
        )
    }

    /// What the pages of a sender of the normal world are: its memory by the manifest, identity-mapped
    ///
    fn of_normal_world(&self, share: &Share, hw: &H) -> Result<Found, FfaError> {
        let first = share.ranges(hw).next().ok_or(InvalidParameters)?;
        let state = self.owners.state(Space::NonSecure, first.base());
        Ok(Found {
            space: Space::NonSecure,
            memory: state.memory,
            permissions: Permissions::READ_WRITE,
        })
    }

    /// What the pages allow.
    ///
    /// # Errors
    /// DENIED.
    fn may_send(&self, share: &Share, hw: &H) -> Result<(), FfaError> {
        let writes = share
            .borrowers(hw)
            .any(|one| one.permissions.data == DataAccess::ReadWrite);
        let device = share.memory == MemoryType::Device;
        let lend = share.kind == Kind::Lend && share.receivers == 1 && !share.clear;
        for holds in [
            // S40: the memory type is the pages'.
            share.described.is_none_or(|given| given == share.memory),
            // S32: a device is lent to one receiver, and not zeroed.
            !device || lend,
            // S38: nobody is given more than the sender has.
            !writes || share.ceiling.write,
            // S43: who cannot write cannot zero.
            !share.clear || share.ceiling.write,
        ] {
            if !holds {
                return Err(Denied);
            }
        }
        Ok(())
    }
}

/// What all pages of a transaction have in common.
struct Found {
    space: Space,
    memory: MemoryType,
    /// What each of them allows.
    permissions: Permissions,
}

/// What stage 2 of the sender says of its pages: all mapped, in one space, of one memory type. Where they are is
/// noted; a constituent is in one piece there, too.
///
/// # Errors
/// DENIED (S27, S31, S40).
fn of_partition<H: Hardware>(
    partition: usize,
    share: &Share,
    hw: &mut H,
) -> Result<Found, FfaError> {
    let mut found: Option<Found> = None;
    let mut number = share.first();
    let mut pairs = share.record.pairs(number, u32::MAX, hw);
    while let Some(run) = pairs.next(hw).and_then(record::run) {
        let (ipa, bytes) = (run.ipa, run.range.bytes());
        let look = |space: Space| hw.lookup(partition, space, ipa, bytes).is_some();
        let space = match &found {
            Some(found) => found.space,
            None => { [Space::Secure, Space::NonSecure].into_iter() }
                .find(|space| look(*space))
                .ok_or(Denied)?,
        };
        let mut pa = None;
        let mut done = 0;
        while done < bytes {
            let rest = bytes.saturating_sub(done);
            let next = ipa.checked_add(done).ok_or(Denied)?;
            let part = hw.lookup(partition, space, next, rest).ok_or(Denied)?;
            let all = found.get_or_insert(Found {
                space,
                memory: part.memory,
                permissions: part.permissions,
            });
            let first = *pa.get_or_insert(part.pa);
            let follows = first.0.checked_add(done) == Some(part.pa.0);
            if !follows || part.memory != all.memory || part.bytes == 0 {
                return Err(Denied);
            }
            all.permissions = both(all.permissions, part.permissions);
            done = done.saturating_add(part.bytes);
        }
        let pa = pa.ok_or(InvalidParameters)?;
        if pa != run.range.base() {
            share.record.set(number, record::place(run, pa), hw);
        }
        number = number.saturating_add(1);
    }
    found.ok_or(InvalidParameters)
}

/// What both allow.
const fn both(one: Permissions, other: Permissions) -> Permissions {
    Permissions {
        read: one.read && other.read,
        write: one.write && other.write,
        execute: one.execute && other.execute,
    }
}

impl Share {
    /// Adds constituents.
    ///
    /// # Errors
    /// [`OutOfMemory`]; some may have been added.
    pub(super) fn add<H: Hardware>(
        &mut self,
        constituents: &Constituents<'_>,
        hw: &mut H,
    ) -> Result<(), OutOfMemory> {
        for constituent in constituents.iter() {
            self.record
                .push(record::pair(constituent), self.account, hw)?;
        }
        Ok(())
    }
}

pub(super) const fn no_memory(_: OutOfMemory) -> FfaError {
    NoMemory
}

fn new_share(
    kind: Kind,
    account: usize,
    descriptor: &Transaction<'_>,
    region: &Region<'_>,
    total: u32,
) -> Share {
    let header = &descriptor.header;
    Share {
        kind,
        sender: header.sender,
        account,
        tag: header.tag,
        clear: header.flags.has(Flags::CLEAR),
        described: memory_type(header.attributes.memory_type),
        head: total.saturating_sub(region.constituent_count.saturating_mul(16)),
        phase: Phase::Filling(region.expected),
        space: Space::NonSecure,
        memory: MemoryType::Normal,
        ceiling: Permissions::NONE,
        receivers: 0,
        constituents: region.constituent_count,
        pages: region.page_count,
        record: Record::default(),
        holders: 0,
        orphan: false,
        cleared: false,
        clear_due: false,
        zeroing: Progress::default(),
        hypervisor_told: None,
    }
}

/// Parses what of the first fragment was read, and how much that is: a constituent that is not there as a
/// whole is left for the next part.
fn parse(
    version: Version,
    bytes: &[u8],
    total: u32,
    fragment: usize,
) -> Result<(Transaction<'_>, usize), Malformed> {
    let attempt =
        |bytes| transaction::parse(version, bytes, total, Descriptor::Send, MAXIMUM_RECEIVERS);
    match attempt(bytes) {
        Err(Malformed::Fragment) if bytes.len() < fragment => {
            // Composite descriptors are aligned to 8 bytes, constituents have 16.
            let used = bytes.len().saturating_sub(8);
            let part = bytes.get(..used).ok_or(Malformed::Length)?;
            Ok((attempt(part)?, used))
        }
        parsed => Ok((parsed?, bytes.len())),
    }
}
