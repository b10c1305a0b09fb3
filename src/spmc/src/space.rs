// SPDX-License-Identifier: MIT OR Apache-2.0
//! The addresses of a partition: its two stage-2 roots.

use bulkhead_arch::context::StageTwo;
use bulkhead_arch::features::Features;
use bulkhead_arch::tables::{PartitionTlb, TablePages};
use bulkhead_core::event::Access;
use bulkhead_core::hardware::Run;
use bulkhead_core::sync::Mutex;
use bulkhead_manifest::{DeviceRegion, MemoryRegion, Range, RegionAttributes};
use bulkhead_mm::addr::{PAGE_SIZE, Pa, PageRange};
use bulkhead_mm::attrs::{MemoryType, Permissions, Space, Stage2Attributes};
use bulkhead_mm::pool::{Account, PagePool};
use bulkhead_mm::stage2::{MIN_IPA_BITS, Stage2, Stage2Layout};
use bulkhead_mm::tlb::Unused;
use bulkhead_mm::{MapError, Mapping, Reshape};

use crate::memory::{Memory, Pages};

/// The address space of a partition at S-EL1.
#[derive(Debug)]
pub struct AddressSpace {
    secure: Mutex<Stage2>,
    non_secure: Mutex<Stage2>,
    /// What entering the partition puts into registers.
    pub registers: StageTwo,
}

/// An address space that no core uses yet.
#[derive(Debug)]
pub struct NewSpace {
    secure: Stage2,
    non_secure: Stage2,
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
        layout: Stage2Layout,
        features: &Features,
    ) -> Result<Self, MapError> {
        let mut pages = memory.tables().lock();
        let Pages { pool, tables } = &mut *pages;
        let fwb = features.forced_write_back;
        let secure = Stage2::new(layout, Space::Secure, fwb, Account::SPMC, pool, tables);
        let secure = secure.ok_or(MapError::NoMemory)?;
        match Stage2::new(layout, Space::NonSecure, fwb, Account::SPMC, pool, tables) {
            Some(non_secure) => Ok(Self { secure, non_secure }),
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
        self.secure.release(pool, tables, &mut Unused);
        self.non_secure.release(pool, tables, &mut Unused);
    }

    /// Maps the partition's own memory at `ipa`, with all that stage 1 may allow.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn map_own(&mut self, memory: &Memory, range: Range, ipa: u64) -> Result<(), MapError> {
        let attributes = Stage2Attributes {
            memory: MemoryType::Normal,
            permissions: Permissions::READ_WRITE_EXECUTE,
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
            let secure = &mut self.secure;
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
        let stage2 = match space {
            Space::Secure => &mut self.secure,
            Space::NonSecure => &mut self.non_secure,
        };
        stage2.map(
            ipa,
            Pa(range.base),
            range.size,
            attributes,
            pool,
            tables,
            &mut Unused,
        )
    }

    /// Makes the space ready for use with `vmid`, which no other partition has. Tables that it takes from now
    /// on count against `account`.
    pub fn finish(self, vmid: u16, account: Account, features: &Features) -> AddressSpace {
        let registers = StageTwo::new(&self.secure, &self.non_secure, vmid, features);
        // What is mapped by a transaction is unmapped as it was mapped: nothing may be merged with it.
        let ready =
            |stage2: Stage2| Mutex::new(stage2.with_reshape(Reshape::Split).with_account(account));
        AddressSpace {
            secure: ready(self.secure),
            non_secure: ready(self.non_secure),
            registers,
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
    const fn of(&self, space: Space) -> &Mutex<Stage2> {
        match space {
            Space::Secure => &self.secure,
            Space::NonSecure => &self.non_secure,
        }
    }

    /// What `ipa` maps, as far as it goes on alike, at most `bytes` bytes.
    pub fn lookup(&self, memory: &Memory, space: Space, ipa: u64, bytes: u64) -> Option<Run> {
        let stage2 = self.of(space).lock();
        let (pa, bytes, attributes) =
            stage2.lookup_run(ipa, bytes, &memory.tables().lock().tables)?;
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
        let stage2 = self.of(space).lock();
        stage2.gap(window, bytes, align, &memory.tables().lock().tables)
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
        let mut stage2 = self.of(space).lock();
        let mut pages = memory.tables().lock();
        let Pages { pool, tables } = &mut *pages;
        act(&mut stage2, pool, tables, &mut PartitionTlb(self.registers))
    }

    /// Where `pages` pages from `ipa` on lie, if they are normal memory, readable, writable and
    /// contiguous.
    pub fn translate(&self, memory: &Memory, space: Space, ipa: u64, pages: u32) -> Option<Pa> {
        let stage2 = self.of(space);
        let bytes = u64::from(pages).checked_mul(PAGE_SIZE)?;
        let stage2 = stage2.lock();
        let (pa, attributes) = stage2.lookup_range(ipa, bytes, &memory.tables().lock().tables)?;
        let usable = attributes.memory == MemoryType::Normal
            && attributes.permissions.allow(Permissions::READ_WRITE);
        usable.then_some(pa)
    }

    /// Calls `visitor` for each maximal range of each space, as the tables have it.
    pub fn walk(&self, memory: &Memory, mut visitor: impl FnMut(Space, Mapping<Stage2Attributes>)) {
        for (space, stage2) in [
            (Space::Secure, &self.secure),
            (Space::NonSecure, &self.non_secure),
        ] {
            let stage2 = stage2.lock();
            stage2.walk(&memory.tables().lock().tables, |mapping| {
                visitor(space, mapping)
            });
        }
    }

    /// Calls `visitor` for each maximal range of the non-secure space, as the tables have it.
    pub fn walk_non_secure(
        &self,
        memory: &Memory,
        visitor: &mut dyn FnMut(PageRange, Permissions),
    ) {
        let stage2 = self.non_secure.lock();
        stage2.walk(&memory.tables().lock().tables, |mapping| {
            // Blocks and pages of stage 2 are pages.
            if let Some(range) = PageRange::new(mapping.pa, mapping.bytes) {
                visitor(range, mapping.attributes.permissions);
            }
        });
    }

    /// Whether the tables allow this access at this moment.
    pub fn allows(&self, memory: &Memory, space: Space, ipa: u64, access: Access) -> bool {
        let stage2 = self.of(space);
        let found = stage2.lock().lookup(ipa, &memory.tables().lock().tables);
        found.is_some_and(|(_, Stage2Attributes { permissions, .. })| match access {
            Access::Read => permissions.read,
            Access::Write => permissions.write,
            Access::Fetch => permissions.execute,
        })
    }
}
