// SPDX-License-Identifier: MIT OR Apache-2.0
//! FFA_NS_RES_INFO_GET: which memory of the normal world the secure world reaches.
//!
//! Regions that partitions reach directly are read off stage 2. Those that they reach through the SPMC,
//! by indirect messages, are the buffers of the normal world's endpoints.
//!
//! The descriptor goes out in pieces. One retrieval is open at a time; all that is kept of it is how many
//! regions were told and a digest of the whole list. Each piece is made from a new walk, and a walk that
//! finds another list ends the retrieval.

use arrayvec::ArrayVec;
use bulkhead_abi::ns_resources::{
    self, Access, AddressMap, HeaderLayout, Progress, Request, Rights, Target, UNIT,
};
use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::{EndpointId, FfaError, Width};
use bulkhead_mm::addr::PageRange;
use bulkhead_mm::attrs::{Permissions, Space};

use crate::event::Action;
use crate::hardware::Hardware;
use crate::mailbox::MailboxBuffers;
use crate::partition::{Health, Partition};
use crate::spmc::{CoreState, Spmc};

/// The most bytes in one answer: a buffer has at least four times that.
const PIECE: usize = 64 * UNIT;

/// A retrieval of which a part was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Retrieval {
    target: Target,
    list: List,
    /// How many regions of it were told.
    told: u32,
}

/// What two walks have in common if they found the same regions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct List {
    count: u32,
    digest: u64,
}

/// A walk: the whole list, and a piece of it.
struct Walk {
    list: List,
    /// How many regions go before the piece.
    skipped: u32,
    piece: ArrayVec<u8, PIECE>,
}

impl Walk {
    fn new(skipped: u32) -> Self {
        Self {
            // The offset basis of FNV-1a.
            list: List {
                count: 0,
                digest: 0xcbf2_9ce4_8422_2325,
            },
            skipped,
            piece: ArrayVec::new(),
        }
    }

    /// Leaves room for a header.
    fn after_header(mut self) -> Self {
        self.write(&HeaderLayout::bytes(0));
        self
    }

    fn write(&mut self, bytes: &[u8]) {
        // A piece is whole units: it takes all of it or nothing.
        let _ = self.piece.try_extend_from_slice(bytes);
    }

    fn add(&mut self, region: &AddressMap) {
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        let bytes = region.bytes();
        let mix = |digest: u64, byte: &u8| (digest ^ u64::from(*byte)).wrapping_mul(PRIME);
        self.list.digest = bytes.iter().fold(self.list.digest, mix);
        if self.list.count >= self.skipped {
            self.write(&bytes);
        }
        self.list.count = self.list.count.saturating_add(1);
    }
}

impl<H: Hardware> Spmc<H> {
    /// FFA_NS_RES_INFO_GET, of the normal world.
    ///
    /// # Errors
    /// INVALID_PARAMETERS for a target that is no partition; RETRY while the caller's RX buffer is not
    /// mapped or not the SPMC's; ABORTED when the list changed since the retrieval started, which ends it.
    pub(crate) fn ns_res_info_get(
        &self,
        core: &mut CoreState<H>,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        let request = Request::decode(core.caller());
        if let Target::Endpoint(id) = request.target {
            self.find(id).ok_or(FfaError::InvalidParameters)?;
        }
        let mut open = self.normal_world.retrieval.lock();
        let (slot, mailbox) = self.mailbox(core);
        mailbox.lock().writable().map_err(|_| FfaError::Retry)?;
        let (walk, told) = match request.progress {
            Progress::Start => {
                *open = None;
                let walk = self.walk(request.target, Walk::new(0).after_header(), hw);
                (walk, 0)
            }
            Progress::Continue => {
                let Some(retrieval) = open.filter(|open| open.target == request.target) else {
                    return Ok(self.told(core, 0, 0));
                };
                let walk = self.walk(request.target, Walk::new(retrieval.told), hw);
                if walk.list != retrieval.list {
                    *open = None;
                    return Err(FfaError::Aborted);
                }
                (walk, retrieval.told)
            }
        };
        let Walk {
            list, mut piece, ..
        } = walk;
        if list.count == 0 {
            return Ok(self.told(core, 0, 0));
        }
        if request.progress == Progress::Start
            && let Some(header) = piece.first_chunk_mut::<UNIT>()
        {
            *header = HeaderLayout::bytes(list.count);
        }
        let written = u32::try_from(piece.len()).map_err(|_| FfaError::Aborted)?;
        let mut mailbox = mailbox.lock();
        // Another core may have used it meanwhile.
        mailbox.writable().map_err(|_| FfaError::Retry)?;
        *open = None;
        hw.write_rx(slot, 0, &piece)
            .and_then(|()| hw.clear_rx(slot, piece.len()))
            .map_err(|_| FfaError::Aborted)?;
        mailbox.give();
        drop(mailbox);
        let told = told.saturating_add(regions_in(request.progress, written));
        let left = list.count.saturating_sub(told);
        if left != 0 {
            *open = Some(Retrieval {
                target: request.target,
                list,
                told,
            });
        }
        drop(open);
        let unit = u32::try_from(UNIT).map_err(|_| FfaError::Aborted)?;
        Ok(self.told(core, written, left.saturating_mul(unit)))
    }

    /// FFA_SUCCESS with how many bytes were written and how many are left.
    fn told(&self, core: &mut CoreState<H>, written: u32, left: u32) -> Action {
        let extended = self.extended_rule(core);
        let results = [ns_resources::lengths(written, left), 0, 0, 0, 0, 0];
        core.caller().ffa_success(extended, Width::W64, results);
        core.resume()
    }

    /// Adds all regions that `target` reaches.
    fn walk(&self, target: Target, mut walk: Walk, hw: &H) -> Walk {
        let reaches = |partition: &Partition<H>| {
            let is_meant = match target {
                Target::All => true,
                Target::Endpoint(id) => partition.config.id == id,
            };
            is_meant && partition.health() != Health::Aborted
        };
        let meant = || (self.partitions.iter().enumerate()).filter(|(_, each)| reaches(each));
        for (slot, partition) in meant() {
            hw.walk_non_secure(slot, &mut |range, permissions| {
                walk.add(&AddressMap {
                    endpoint: partition.config.id,
                    ..region(&range, permissions)
                });
            });
        }
        let indirect = |(_, each): (usize, &Partition<H>)| {
            each.config.properties.contains(Properties::INDIRECT)
        };
        if meant().any(indirect) {
            self.normal_world.for_each_mailbox(|buffers| {
                self.add_buffers(&mut walk, buffers);
            });
        }
        walk
    }

    /// Adds the buffers of an endpoint of the normal world, which the SPMC writes and reads for partitions.
    fn add_buffers(&self, walk: &mut Walk, buffers: &MailboxBuffers) {
        if buffers.space != Space::NonSecure {
            return;
        }
        for (buffer, permissions) in [
            (&buffers.rx, Permissions::READ_WRITE),
            (&buffers.tx, Permissions::READ_ONLY),
        ] {
            for range in buffer.runs() {
                walk.add(&AddressMap {
                    endpoint: self.id,
                    access: Access::Indirect,
                    ..region(&range, permissions)
                });
            }
        }
    }
}

/// How many regions are in a piece of `bytes` bytes.
fn regions_in(progress: Progress, bytes: u32) -> u32 {
    let units = usize::try_from(bytes).unwrap_or(0).checked_div(UNIT);
    let units = u32::try_from(units.unwrap_or(0)).unwrap_or(0);
    match progress {
        Progress::Start => units.saturating_sub(1),
        Progress::Continue => units,
    }
}

/// A region with what stage 2 allows at both levels of a partition, or the SPMC does for it.
fn region(range: &PageRange, permissions: Permissions) -> AddressMap {
    let right = |has, right| if has { right } else { Rights::NONE };
    let rights = right(permissions.read, Rights::READ)
        .union(right(permissions.write, Rights::WRITE))
        .union(right(permissions.execute, Rights::EXECUTE));
    AddressMap {
        address: range.base().0,
        page_count: u32::try_from(range.pages()).unwrap_or(u32::MAX),
        privileged: rights,
        unprivileged: rights,
        endpoint: EndpointId(0),
        access: Access::Direct,
    }
}
