// SPDX-License-Identifier: MIT OR Apache-2.0
//! Indirect messages: FFA_MSG_SEND2 from the sender's TX buffer to the receiver's RX buffer.

use bulkhead_abi::indirect::{self, Header};
use bulkhead_abi::notification::ScheduleReceiver;
use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::{EndpointId, FfaError, Version};

use crate::event::Action;
use crate::hardware::{CopyFault, Hardware};
use crate::mailbox::{Mailbox, MailboxBuffers};
use crate::normal_world::Vm;
use crate::partition::Health;
use crate::rxtx::NORMAL_WORLD_SLOT;
use crate::spmc::{CoreState, Spmc};
use crate::sync::{Mutex, MutexGuard};

/// How much is copied at a time, in bytes.
const CHUNK: usize = 1024;

/// An endpoint's mailbox, before it is locked.
struct Place<'a> {
    slot: usize,
    mailbox: &'a Mutex<Mailbox>,
    /// The place and the id of a VM, which may leave it while the lock is busy.
    vm: Option<(&'static Vm, EndpointId)>,
}

impl<'a> Place<'a> {
    /// The mailbox; `None` if the VM that had it is gone.
    fn lock(&self) -> Option<MutexGuard<'a, Mailbox>> {
        let mailbox = self.mailbox.lock();
        let stays = self.vm.is_none_or(|(place, id)| place.is_of(id));
        stays.then_some(mailbox)
    }
}

/// The mailboxes of two endpoints, locked.
type Locked<'a> = [Option<MutexGuard<'a, Mailbox>>; 2];

/// Locks both mailboxes in the order of their slots: no two cores wait for each other.
fn lock_both<'a>(sender: &Place<'a>, receiver: &Place<'a>) -> Locked<'a> {
    if sender.slot < receiver.slot {
        let first = sender.lock();
        [first, receiver.lock()]
    } else {
        let first = receiver.lock();
        [sender.lock(), first]
    }
}

impl<H: Hardware> Spmc<H> {
    /// FFA_MSG_SEND2: from a partition, or from the normal world's primary endpoint, which names
    /// a VM in w1 when it speaks for one.
    ///
    /// The header is read once (M24). The message follows the receiver's header, at the sender's offset
    /// where that leaves room for the header; whatever else RX held is cleared (G30).
    pub(crate) fn msg_send2(
        &self,
        core: &mut CoreState<H>,
        version: Version,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        let call = core.caller();
        let (named, flags) = (call.sender(), call.w::<2>());
        let sending = self.running_partition(core);
        let when = match sending {
            _ if flags & indirect::DELAY_SCHEDULE_RECEIVER == 0 => ScheduleReceiver::Now,
            Some(_) => ScheduleReceiver::Delayed,
            None => return Err(FfaError::InvalidParameters),
        };
        let sender = match sending {
            Some(own) if named == EndpointId(0) || named == own.config.id => own.config.id,
            None if !named.is_secure() => named,
            _ => return Err(FfaError::InvalidParameters),
        };
        if sending.is_some_and(|own| !own.config.properties.contains(Properties::INDIRECT)) {
            return Err(FfaError::Denied);
        }
        let from = self.place_of(sender).ok_or(FfaError::Denied)?;
        let header = read_header(&from, sender, version, hw)?;
        let (to, to_version) = self.receiver_of(&header)?;

        let [Some(own), Some(mut theirs)] = lock_both(&from, &to) else {
            return Err(FfaError::Busy);
        };
        let room = theirs.writable()?;
        if *own == Mailbox::Unmapped {
            // It was there when the header was read.
            return Err(FfaError::Denied);
        }
        let message = Transfer {
            header,
            from: from.slot,
            shown: header.for_receiver(to_version),
            version: to_version,
            to: to.slot,
        };
        let still_there = |buffers: &MailboxBuffers| header.fits(buffers.tx.bytes());
        if !message.shown.fits(room) || !own.buffers().is_some_and(still_there) {
            return Err(FfaError::InvalidParameters);
        }
        message.copy(hw).map_err(|CopyFault| FfaError::Aborted)?;
        theirs.give();
        let is_news = self.rx_is_full(header.receiver);
        drop((own, theirs));
        if is_news {
            self.tell_scheduler(core, when, hw);
        }
        Ok(self.succeed(core, [0; 6]))
    }

    /// Whom a message is for, and the version in which it gets the header. VMs speak the version of their
    /// hypervisor.
    ///
    /// # Errors
    /// INVALID_PARAMETERS for an unknown receiver, the sender itself (G24), and between VMs, which is the
    /// hypervisor's; DENIED for a partition that has no indirect messages (G28).
    fn receiver_of(&self, header: &Header) -> Result<(Place<'_>, Version), FfaError> {
        let Header {
            sender, receiver, ..
        } = *header;
        if sender == receiver || !(sender.is_secure() || receiver.is_secure()) {
            return Err(FfaError::InvalidParameters);
        }
        let version = match self.find(receiver) {
            Some((_, partition)) => {
                let version = partition.version();
                if !partition.config.properties.contains(Properties::INDIRECT)
                    || version < Version::V1_1
                {
                    return Err(FfaError::Denied);
                }
                if partition.health() == Health::Aborted {
                    return Err(FfaError::Aborted);
                }
                version
            }
            None => self.normal_world.version.get(),
        };
        match self.place_of(receiver) {
            Some(place) => Ok((place, version)),
            // Known, without a mailbox (G27).
            None if self.normal_world.bitmaps.find(receiver).is_some() => Err(FfaError::Busy),
            None => Err(FfaError::InvalidParameters),
        }
    }

    /// The mailbox of any endpoint; that of a VM only while it has buffers.
    fn place_of(&self, id: EndpointId) -> Option<Place<'_>> {
        if id == EndpointId::NORMAL_WORLD {
            return Some(Place {
                slot: NORMAL_WORLD_SLOT,
                mailbox: &self.normal_world.mailbox,
                vm: None,
            });
        }
        if let Some((index, partition)) = self.find(id) {
            return Some(Place {
                slot: index.saturating_add(1),
                mailbox: &partition.mailbox,
                vm: None,
            });
        }
        let mut places = self.normal_world.vms.iter().enumerate();
        let (index, vm) = places.find(|(_, vm)| vm.is_of(id))?;
        Some(Place {
            slot: self.vm_slot(index),
            mailbox: vm.mailbox(),
            vm: Some((vm, id)),
        })
    }
}

/// Reads the header from the sender's TX buffer.
///
/// # Errors
/// DENIED without a buffer (G22), ABORTED when it does not answer, INVALID_PARAMETERS for another sender's
/// header (G23) or one that is wrong (G25, G29).
fn read_header<H: Hardware>(
    from: &Place<'_>,
    sender: EndpointId,
    version: Version,
    hw: &mut H,
) -> Result<Header, FfaError> {
    let own = from.lock().ok_or(FfaError::Denied)?;
    let buffers = own.buffers().ok_or(FfaError::Denied)?;
    let mut bytes = [0; indirect::MAXIMUM_HEADER];
    let bytes = bytes
        .get_mut(..indirect::header_size(version))
        .ok_or(FfaError::InvalidParameters)?;
    hw.read_tx(from.slot, 0, bytes)
        .map_err(|CopyFault| FfaError::Aborted)?;
    let header = Header::decode(version, bytes, buffers.tx.bytes())?;
    if header.sender != sender {
        return Err(FfaError::InvalidParameters);
    }
    Ok(header)
}

/// A message on its way. Both buffers hold all of it.
struct Transfer {
    /// The header as the sender wrote it, and the slot of the sender's mailbox.
    header: Header,
    from: usize,
    /// The header as the receiver sees it, in its version, and the slot of its mailbox.
    shown: Header,
    version: Version,
    to: usize,
}

impl Transfer {
    /// Fills all of the receiver's RX buffer: header, message, and zeros. Each byte of the message is read
    /// once.
    fn copy<H: Hardware>(&self, hw: &mut H) -> Result<(), CopyFault> {
        let (header, length) = self.shown.encode(self.version);
        // First, so that nothing of an earlier message stays before this one or behind it.
        hw.clear_rx(self.to, 0)?;
        hw.write_rx(self.to, 0, header.get(..length).ok_or(CopyFault)?)?;
        let position = |offset: u32| usize::try_from(offset).map_err(|_| CopyFault);
        let (mut from, mut to) = (position(self.header.offset)?, position(self.shown.offset)?);
        let mut left = position(self.header.size)?;
        let mut chunk = [0; CHUNK];
        while left != 0 {
            let now = left.min(CHUNK);
            let bytes = chunk.get_mut(..now).ok_or(CopyFault)?;
            hw.read_tx(self.from, from, bytes)?;
            hw.write_rx(self.to, to, bytes)?;
            (from, to) = (from.saturating_add(now), to.saturating_add(now));
            left = left.saturating_sub(now);
        }
        Ok(())
    }
}
