// SPDX-License-Identifier: MIT OR Apache-2.0
//! The addresses of a partition: its two stage-2 roots, or its stage 1 at S-EL0.

use bulkhead_arch::context::{StageTwo, Translation};
use bulkhead_arch::features::Features;
use bulkhead_arch::tables::{PartitionTlb, TablePages};
use bulkhead_core::event::Access;
use bulkhead_core::hardware::Run;
use bulkhead_core::sync::Mutex;
use bulkhead_manifest::{DeviceRegion, ExceptionLevel, MemoryRegion, Range, RegionAttributes};
use bulkhead_mm::addr::{PAGE_SIZE, Pa, PageRange};
use bulkhead_mm::attrs::{BranchTargets, MemoryType, Permissions, Space, Stage2Attributes};
use bulkhead_mm::el0::{El0Stage1, MAX_VA_BITS};
use bulkhead_mm::pool::{Account, PagePool};
use bulkhead_mm::stage2::{MIN_IPA_BITS, Stage2, Stage2Layout};
use bulkhead_mm::tlb::Unused;
use bulkhead_mm::{MapError, Mapping, Reshape};

use crate::memory::{Memory, Pages};

/// The address space of a partition.
#[derive(Debug)]
pub enum AddressSpace {
    /// At S-EL1.
    StageTwo {
        /// The secure IPA space.
        secure: Mutex<Stage2>,
        /// The non-secure IPA space.
        non_secure: Mutex<Stage2>,
        /// What entering the partition puts into registers.
        registers: StageTwo,
    },
    /// At S-EL0.
    El0 {
        /// The lower half while it runs: virtual addresses stand for IPAs of both spaces.
        stage1: Mutex<El0Stage1>,
        /// TTBR0_EL2 bits 63:48.
        asid: u16,
    },
}

/// An address space that no core uses yet.
#[derive(Debug)]
pub enum NewSpace {
    /// At S-EL1: the secure and the non-secure IPA space.
    StageTwo(Stage2, Stage2),
    /// At S-EL0.
    El0(El0Stage1),
}

/// The least layout whose addresses reach `end`, the byte after the last one that a partition may
/// have, within what every core has (ID_AA64MMFR0_EL1.PARange).
pub fn layout(end: u64, features: &Features) -> Option<Stage2Layout> {
    const PA_BITS: [u32; 7] = [32, 36, 40, 42, 44, 48, 52];
    let bits = (u64::BITS - end.saturating_sub(1).leading_zeros()).max(MIN_IPA_BITS);
    let most = *PA_BITS.get(usize::from(features.pa_range))?;
    if bits > most {
        return None;
    }
    // The 52-bit format only where it is needed.
    Stage2Layout::new(bits).or_else(|| Stage2Layout::lpa2(bits).filter(|_| features.lpa2))
}

/// The permissions that a manifest's attributes are.
pub fn permissions(attributes: RegionAttributes) -> Permissions {
    Permissions {
        read: attributes.read,
        write: attributes.write,
        execute: attributes.execute,
    }
}

impl NewSpace {
    /// A space in which nothing is mapped.
    ///
    /// # Errors
    /// [`MapError::NoMemory`].
    pub fn new(
        memory: &Memory,
        level: ExceptionLevel,
        layout: Stage2Layout,
        features: &Features,
    ) -> Result<Self, MapError> {
        let mut pages = memory.tables().lock();
        let Pages { pool, tables } = &mut *pages;
        if level == ExceptionLevel::SEl0 {
            let (targets, account) = (BranchTargets::Unchecked, Account::SPMC);
            // TCR_EL2.T0SZ is 16.
            let stage1 = El0Stage1::new(MAX_VA_BITS, targets, account, pool, tables);
            return stage1.map(Self::El0).ok_or(MapError::NoMemory);
        }
        let fwb = features.forced_write_back;
        let secure = Stage2::new(layout, Space::Secure, fwb, Account::SPMC, pool, tables);
        let secure = secure.ok_or(MapError::NoMemory)?;
        match Stage2::new(layout, Space::NonSecure, fwb, Account::SPMC, pool, tables) {
            Some(non_secure) => Ok(Self::StageTwo(secure, non_secure)),
            None => {
                secure.release(pool, tables, &mut Unused);
                Err(MapError::NoMemory)
            }
        }
    }

    /// Gives the tables back.
    pub fn release(self, memory: &Memory) {
        let mut pages = memory.tables().lock();
        let Pages { pool, tables } = &mut *pages;
        match self {
            Self::StageTwo(secure, non_secure) => {
                secure.release(pool, tables, &mut Unused);
                non_secure.release(pool, tables, &mut Unused);
            }
            Self::El0(stage1) => stage1.release(pool, tables, &mut Unused),
        }
    }

    /// The tables for what is of `space`.
    fn of(&mut self, space: Space) -> &mut Stage2 {
        match (self, space) {
            (Self::StageTwo(secure, _), Space::Secure) => secure,
            (Self::StageTwo(_, non_secure), Space::NonSecure) => non_secure,
            (Self::El0(stage1), _) => stage1.of(space),
        }
    }

    /// Maps the partition's own memory at `ipa`: with all that stage 1 of S-EL1 may allow; at S-EL0 to be read and
    /// executed, until its manifest's regions or FFA_MEM_PERM_SET say otherwise.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn map_own(&mut self, memory: &Memory, range: Range, ipa: u64) -> Result<(), MapError> {
        let attributes = Stage2Attributes {
            memory: MemoryType::Normal,
            permissions: match self {
                Self::StageTwo(..) => Permissions::READ_WRITE_EXECUTE,
                Self::El0(_) => Permissions::READ_EXECUTE,
            },
        };
        self.map(memory, Space::Secure, range, ipa, attributes)
    }

    /// Maps a memory region at `ipa`; a part of the partition's own memory gets the region's permissions.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn map_region(
        &mut self,
        memory: &Memory,
        own: Range,
        range: Range,
        ipa: u64,
        region: &MemoryRegion<'_>,
    ) -> Result<(), MapError> {
        let space = space(region.attributes);
        let attributes = Stage2Attributes {
            memory: MemoryType::Normal,
            permissions: permissions(region.attributes),
        };
        if space == Space::Secure && own.contains(&range) {
            let mut pages = memory.tables().lock();
            let Pages { pool, tables } = &mut *pages;
            let secure = self.of(space);
            return secure.change(ipa, range.size, attributes, pool, tables, &mut Unused);
        }
        self.map(memory, space, range, ipa, attributes)
    }

    /// Maps a device's registers.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn map_device(
        &mut self,
        memory: &Memory,
        region: &DeviceRegion<'_>,
    ) -> Result<(), MapError> {
        let attributes = Stage2Attributes {
            memory: MemoryType::Device,
            permissions: permissions(region.attributes),
        };
        let range = region.range();
        let ipa = region.ipa.unwrap_or(range.base);
        self.map(memory, space(region.attributes), range, ipa, attributes)
    }

    fn map(
        &mut self,
        memory: &Memory,
        space: Space,
        range: Range,
        ipa: u64,
        attributes: Stage2Attributes,
    ) -> Result<(), MapError> {
        let mut pages = memory.tables().lock();
        let Pages { pool, tables } = &mut *pages;
        self.of(space).map(
            ipa,
            Pa(range.base),
            range.size,
            attributes,
            pool,
            tables,
            &mut Unused,
        )
    }

    /// Makes the space ready for use with `vmid` or `asid`, which no other partition has. Tables that it takes from
    /// now on count against `account`.
    pub fn finish(
        self,
        vmid: u16,
        asid: u16,
        account: Account,
        features: &Features,
    ) -> AddressSpace {
        // What is mapped by a transaction is unmapped as it was mapped: nothing may be merged with it.
        let ready =
            |stage2: Stage2| Mutex::new(stage2.with_reshape(Reshape::Split).with_account(account));
        match self {
            Self::StageTwo(secure, non_secure) => AddressSpace::StageTwo {
                registers: StageTwo::new(&secure, &non_secure, vmid, features),
                secure: ready(secure),
                non_secure: ready(non_secure),
            },
            Self::El0(stage1) => AddressSpace::El0 {
                stage1: Mutex::new(stage1.ready(Reshape::Split, account)),
                asid,
            },
        }
    }
}

/// The space that a manifest's attributes name.
pub fn space(attributes: RegionAttributes) -> Space {
    if attributes.non_secure {
        Space::NonSecure
    } else {
        Space::Secure
    }
}

impl AddressSpace {
    /// What entering the partition puts into registers.
    pub fn translation(&self) -> Translation {
        match self {
            Self::StageTwo { registers, .. } => Translation::StageTwo(*registers),
            Self::El0 { stage1, asid } => {
                Translation::El0(u64::from(*asid) << 48 | stage1.lock().root().0)
            }
        }
    }

    /// Lets `act` have the tables for what is of `space`.
    fn with<R>(&self, space: Space, act: impl FnOnce(&mut Stage2) -> R) -> R {
        let (mut stage2, mut stage1);
        act(match (self, space) {
            (Self::StageTwo { secure, .. }, Space::Secure) => {
                stage2 = secure.lock();
                &mut stage2
            }
            (Self::StageTwo { non_secure, .. }, Space::NonSecure) => {
                stage2 = non_secure.lock();
                &mut stage2
            }
            (Self::El0 { stage1: all, .. }, _) => {
                stage1 = all.lock();
                stage1.of(space)
            }
        })
    }

    /// What `ipa` maps, as far as it goes on alike, at most `bytes` bytes.
    pub fn lookup(&self, memory: &Memory, space: Space, ipa: u64, bytes: u64) -> Option<Run> {
        let (pa, bytes, attributes) = self.with(space, |stage2| {
            stage2.lookup_run(ipa, bytes, &memory.tables().lock().tables)
        })?;
        Some(Run {
            pa,
            bytes,
            memory: attributes.memory,
            permissions: attributes.permissions,
        })
    }

    /// The lowest address in `window` that has nothing mapped or suspended for `bytes` bytes; on a block's
    /// boundary if that many make one.
    pub fn gap(
        &self,
        memory: &Memory,
        space: Space,
        window: core::ops::Range<u64>,
        bytes: u64,
    ) -> Option<u64> {
        const BLOCK: u64 = 2 << 20;
        let align = if bytes < BLOCK { PAGE_SIZE } else { BLOCK };
        self.with(space, |stage2| {
            stage2.gap(window, bytes, align, &memory.tables().lock().tables)
        })
    }

    /// Maps pages of others at `ipa`.
    ///
    /// # Errors
    /// [`MapError`], and nothing has changed.
    pub fn map_borrowed(
        &self,
        memory: &Memory,
        space: Space,
        ipa: u64,
        range: PageRange,
        attributes: Stage2Attributes,
    ) -> Result<(), MapError> {
        let (base, bytes) = (range.base(), range.bytes());
        self.edit(memory, space, |stage2, pool, tables, tlb| {
            stage2.map(ipa, base, bytes, attributes, pool, tables, tlb)
        })
    }

    /// Unmaps what [`map_borrowed`](Self::map_borrowed) mapped.
    pub fn unmap_borrowed(&self, memory: &Memory, space: Space, ipa: u64, bytes: u64) {
        let unmapped = self.edit(memory, space, |stage2, pool, tables, tlb| {
            stage2.unmap(ipa, bytes, pool, tables, tlb)
        });
        if let Err(error) = unmapped {
            log::error!(
                "{ipa:#x}: {bytes:#x} bytes were retrieved and cannot be unmapped: {error}"
            );
        }
    }

    /// Changes what the partition, which runs at S-EL0, may do with its own memory.
    ///
    /// # Errors
    /// [`MapError`], and nothing has changed.
    pub fn protect(
        &self,
        memory: &Memory,
        address: u64,
        bytes: u64,
        permissions: Permissions,
    ) -> Result<(), MapError> {
        let attributes = Stage2Attributes {
            memory: MemoryType::Normal,
            permissions,
        };
        self.edit(memory, Space::Secure, |stage2, pool, tables, tlb| {
            stage2.change(address, bytes, attributes, pool, tables, tlb)
        })
    }

    /// Takes pages away, and keeps their place.
    ///
    /// # Errors
    /// [`MapError`], and nothing has changed.
    pub fn suspend(
        &self,
        memory: &Memory,
        space: Space,
        ipa: u64,
        bytes: u64,
    ) -> Result<(), MapError> {
        self.edit(memory, space, |stage2, pool, tables, tlb| {
            stage2.suspend(ipa, bytes, pool, tables, tlb)
        })
    }

    /// Gives back what [`suspend`](Self::suspend) took.
    pub fn resume(&self, memory: &Memory, space: Space, ipa: u64, bytes: u64) {
        self.edit(memory, space, |stage2, pool, tables, tlb| {
            stage2.resume(ipa, bytes, pool, tables, tlb);
        });
    }

    /// Gives the place up that [`suspend`](Self::suspend) kept.
    pub fn forget(&self, memory: &Memory, space: Space, ipa: u64, bytes: u64) {
        self.edit(memory, space, |stage2, pool, tables, tlb| {
            stage2.forget(ipa, bytes, pool, tables, tlb);
        });
    }

    fn edit<R>(
        &self,
        memory: &Memory,
        space: Space,
        act: impl FnOnce(&mut Stage2, &mut PagePool<'static>, &mut TablePages, &mut PartitionTlb) -> R,
    ) -> R {
        let mut tlb = match self {
            Self::StageTwo { registers, .. } => PartitionTlb::StageTwo(*registers),
            Self::El0 { asid, .. } => PartitionTlb::El0(*asid),
        };
        self.with(space, |stage2| {
            let mut pages = memory.tables().lock();
            let Pages { pool, tables } = &mut *pages;
            act(stage2, pool, tables, &mut tlb)
        })
    }

    /// Where `pages` pages from `ipa` on lie, if they are normal memory, readable, writable and
    /// contiguous.
    pub fn translate(&self, memory: &Memory, space: Space, ipa: u64, pages: u32) -> Option<Pa> {
        let bytes = u64::from(pages).checked_mul(PAGE_SIZE)?;
        let run = self.lookup(memory, space, ipa, bytes)?;
        let usable = run.bytes == bytes
            && run.memory == MemoryType::Normal
            && run.permissions.allow(Permissions::READ_WRITE);
        usable.then_some(run.pa)
    }

    /// Calls `visitor` for each maximal range of each space, as the tables have it.
    pub fn walk(&self, memory: &Memory, mut visitor: impl FnMut(Space, Mapping<Stage2Attributes>)) {
        for space in [Space::Secure, Space::NonSecure] {
            self.with(space, |stage2| {
                stage2.walk(&memory.tables().lock().tables, |mapping| {
                    visitor(space, mapping)
                });
            });
        }
    }

    /// Calls `visitor` for each maximal range of the non-secure space, as the tables have it.
    pub fn walk_non_secure(
        &self,
        memory: &Memory,
        visitor: &mut dyn FnMut(PageRange, Permissions),
    ) {
        self.with(Space::NonSecure, |stage2| {
            stage2.walk(&memory.tables().lock().tables, |mapping| {
                // Blocks and pages are pages.
                if let Some(range) = PageRange::new(mapping.pa, mapping.bytes) {
                    visitor(range, mapping.attributes.permissions);
                }
            });
        });
    }

    /// Whether the tables allow this access at this moment. A fault of S-EL0 does not tell the space: either will do.
    pub fn allows(&self, memory: &Memory, space: Space, ipa: u64, access: Access) -> bool {
        let page = ipa & !(PAGE_SIZE - 1);
        let found = |space| self.lookup(memory, space, page, PAGE_SIZE);
        let other = || match self {
            Self::StageTwo { .. } => None,
            Self::El0 { .. } => found(Space::NonSecure),
        };
        found(space)
            .or_else(other)
            .is_some_and(|Run { permissions, .. }| match access {
                Access::Read => permissions.read,
                Access::Write => permissions.write,
                Access::Fetch => permissions.execute,
            })
    }
}
