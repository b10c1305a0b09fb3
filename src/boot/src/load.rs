// SPDX-License-Identifier: MIT OR Apache-2.0
//! Partitions from their packages: read, check, map, tell them what they may know.
//!
//! A partition that cannot be loaded is refused by name, with the rule that it breaks; the others
//! boot (B-57).

use core::fmt;

use bulkhead_abi::boot_info::{self, Contents, Entry, Kind, Name};
use bulkhead_arch::cache;
use bulkhead_arch::features::Features;
use bulkhead_core::hardware::CopyFault;
use bulkhead_manifest::{
    Accepted, ExceptionLevel, ExecutionState, ManifestError, MemoryKind, Package, PackageError,
    Range, Reserved, SpManifest, SpmcManifest, VmNode, check_package, check_partition,
};
use bulkhead_mm::MapError;
use bulkhead_mm::addr::{PAGE_SIZE, Pa, PageRange};
use bulkhead_mm::attrs::{Permissions, Space};
use bulkhead_mm::stage2::Stage2Layout;
use bulkhead_spmc::arena::{Arena, ArenaFull};
use bulkhead_spmc::memory::Memory;
use bulkhead_spmc::space::NewSpace;

/// The window through which the boot core looks at foreign memory.
const BOOT_WINDOW: usize = 0;
/// How much is looked at, at once.
const CHUNK: u64 = 2 << 20;
/// The boot information takes the first page of a package.
const BOOT_INFORMATION: usize = PAGE_SIZE as usize;

/// Why a partition is refused.
#[derive(Debug)]
pub enum Refused {
    /// A rule of manifests.
    Manifest(ManifestError<'static>),
    /// A rule of packages.
    Package(PackageError),
    /// The package is where no partition's memory is.
    Place(u64),
    /// The package's memory does not answer.
    Unreadable(u64),
    /// A range cannot be mapped.
    Map(Range, MapError),
    /// No memory for it.
    Full(ArenaFull),
    /// What this version does not do.
    NotSupported(&'static str),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest(error) => error.fmt(f),
            Self::Package(error) => error.fmt(f),
            Self::Place(address) => write!(
                f,
                "load_address {address:#x} is not in secure memory that is free for partitions"
            ),
            Self::Unreadable(address) => write!(f, "the memory at {address:#x} does not answer"),
            Self::Map(range, error) => write!(f, "{range} cannot be mapped: {error}"),
            Self::Full(error) => error.fmt(f),
            Self::NotSupported(what) => write!(f, "{what}: not supported in this version"),
        }
    }
}

impl From<ManifestError<'static>> for Refused {
    fn from(error: ManifestError<'static>) -> Self {
        Self::Manifest(error)
    }
}

impl From<PackageError> for Refused {
    fn from(error: PackageError) -> Self {
        Self::Package(error)
    }
}

impl From<ArenaFull> for Refused {
    fn from(error: ArenaFull) -> Self {
        Self::Full(error)
    }
}

/// A partition that is ready but for its execution contexts and its stage 2.
#[derive(Clone, Copy, Debug)]
pub struct Loaded {
    /// Its node in the SPMC manifest.
    pub vm: VmNode<'static>,
    /// Its name, layout and manifest.
    pub accepted: Accepted<'static>,
    /// The register that gets the address of its boot information, and that address.
    pub boot_information: Option<(u8, u64)>,
}

/// What loading a partition needs to know.
#[derive(Debug)]
pub struct Loader<'a> {
    /// S-EL2's map and the pages for tables.
    pub memory: &'a Memory,
    /// The SPMC manifest.
    pub manifest: &'a SpmcManifest<'static>,
    /// What no partition gets.
    pub reserved: &'a [Reserved],
    /// The shape of stage 2.
    pub layout: Stage2Layout,
    /// What the cores have.
    pub features: &'a Features,
}

impl Loader<'_> {
    /// Loads the partition that `vm` announces; `earlier` have been accepted. Answers with its stage 2,
    /// too.
    ///
    /// # Errors
    /// Why it is refused. Its tables have been given back then.
    pub fn load(
        &self,
        vm: VmNode<'static>,
        earlier: impl Iterator<Item = Accepted<'static>> + Clone,
        arena: &mut Arena,
    ) -> Result<(Loaded, NewSpace), Refused> {
        let limit = self.room_at(vm.load_address)?;
        let limit = vm.mem_size.unwrap_or(limit).min(limit);
        let package = Package::read(limit, |offset, to| self.read(vm.load_address + offset, to))?;
        let size = package
            .manifest
            .size
            .min(bulkhead_manifest::dt::MAX_SIZE as u64);
        let bytes = arena.bytes(size as usize, align_of::<u64>())?;
        self.read(vm.load_address + package.manifest.base, bytes)?;
        let sp = SpManifest::parse(bytes)?;
        let layout = check_partition(self.manifest, &vm, &sp, self.reserved, earlier)?;
        check_package(&package, &sp, &layout)?;
        let name = vm.debug_name;
        for warning in layout.warnings.iter() {
            log::warn!("{name} ({}): {warning}", layout.id);
        }
        for unknown in sp.unknown_properties() {
            log::warn!("{name} ({}): {unknown}", layout.id);
        }
        if sp.exception_level == ExceptionLevel::SEl0 {
            self.may_run_at_el0(&sp)?;
        }
        let mut space = NewSpace::new(self.memory, sp.exception_level, self.layout, self.features)
            .map_err(|error| Refused::Map(layout.memory, error))?;
        let accepted = Accepted {
            name,
            layout,
            manifest: sp,
        };
        match self
            .fill(&mut space, &accepted)
            .and_then(|()| self.tell(&package, &accepted))
        {
            Ok(boot_information) => Ok((
                Loaded {
                    vm,
                    accepted,
                    boot_information,
                },
                space,
            )),
            Err(refused) => {
                space.release(self.memory);
                Err(refused)
            }
        }
    }

    /// Whether this machine and this version have all that the partition at S-EL0 asks for.
    fn may_run_at_el0(&self, sp: &SpManifest<'_>) -> Result<(), Refused> {
        /// ASIDs of 8 bits, of which 0 is S-EL2's own.
        const MOST: u32 = 255;
        let refused = [
            (
                sp.execution_state != ExecutionState::AArch64,
                "AArch32 at S-EL0",
            ),
            (
                sp.virtual_serror,
                "virtual SErrors at S-EL0, which has none",
            ),
            (
                sp.virtual_counter_from_boot,
                "a virtual counter of its own at S-EL0, which has the physical one",
            ),
            (
                !self.features.el0,
                "S-EL0 where EL3 traps pointer authentication",
            ),
            (
                self.manifest.partition_count() > MOST,
                "S-EL0 beside more than 254 partitions",
            ),
        ];
        match refused.iter().find(|(asked, _)| *asked) {
            Some((_, what)) => Err(Refused::NotSupported(what)),
            None => Ok(()),
        }
    }

    /// How many bytes of secure memory that is nobody's there are from `address` on: a page at least,
    /// so that the package's header can be read.
    fn room_at(&self, address: u64) -> Result<u64, Refused> {
        let memory = self
            .manifest
            .memory(MemoryKind::Secure)
            .find(|range| range.contains_address(address))
            .ok_or(Refused::Place(address))?;
        let taken = self.reserved.iter().map(|(_, range)| range);
        if taken.clone().any(|range| range.contains_address(address)) {
            return Err(Refused::Place(address));
        }
        let end = taken
            .filter(|range| range.base > address)
            .map(|range| range.base)
            .fold(memory.end(), u64::min);
        let room = end - address;
        if room < PAGE_SIZE {
            Err(Refused::Place(address))
        } else {
            Ok(room)
        }
    }

    /// Maps what the partition has.
    fn fill(&self, space: &mut NewSpace, accepted: &Accepted<'static>) -> Result<(), Refused> {
        let own = accepted.layout.memory;
        space
            .map_own(self.memory, own, accepted.layout.ipa)
            .map_err(|error| Refused::Map(own, error))?;
        for region in accepted.manifest.memory_regions() {
            let range = region
                .range(own.base)
                .ok_or(Refused::NotSupported("a memory region without an address"))?;
            let ipa = accepted.layout.sees(range, region.ipa);
            space
                .map_region(self.memory, own, range, ipa, &region)
                .map_err(|error| Refused::Map(range, error))?;
        }
        for region in accepted.manifest.device_regions() {
            space
                .map_device(self.memory, &region)
                .map_err(|error| Refused::Map(region.range(), error))?;
        }
        let highest = 1_u64
            .checked_shl(self.layout.ipa_bits())
            .unwrap_or(u64::MAX);
        if let Some(window) = accepted.manifest.retrieved_memory
            && window.end() > highest
        {
            return Err(Refused::Map(window, MapError::OutOfRange));
        }
        if accepted.manifest.rx_tx.is_some() {
            log::warn!("{}: rx_tx-info is not mapped for it yet", accepted.name);
        }
        Ok(())
    }

    /// Writes the boot information (B-53) over the package's header, and makes memory right for a
    /// partition whose caches are off (DECISIONS 29).
    fn tell(
        &self,
        package: &Package,
        accepted: &Accepted<'static>,
    ) -> Result<Option<(u8, u64)>, Refused> {
        let (memory, ipa) = (accepted.layout.memory, accepted.layout.ipa);
        let sp = &accepted.manifest;
        let mut told = None;
        if let Some(register) = sp.gp_register_num {
            // The package has room for it: `check_package`.
            let hob_list = package.hob_list.filter(|_| sp.boot_info.hob);
            if sp.boot_info.hob && hob_list.is_none() {
                log::warn!("{}: hob_list is not made yet", accepted.name);
            }
            let entry = |kind, part: Range| Entry {
                name: Name::Text(""),
                kind,
                contents: Contents::Address {
                    address: ipa + part.base,
                    size: part.size as u32,
                },
            };
            let manifest = entry(Kind::DeviceTree, package.manifest);
            let hobs = |list| entry(Kind::HandOffBlocks, list);
            let entries = match (sp.boot_info.fdt, hob_list) {
                (true, Some(list)) => &[manifest, hobs(list)][..],
                (true, None) => &[manifest],
                (false, Some(list)) => &[hobs(list)],
                (false, None) => &[],
            };
            let mut blob = [0; BOOT_INFORMATION];
            boot_info::write(&mut blob, sp.ffa_version, entries).ok_or(Refused::NotSupported(
                "boot information of more than a page",
            ))?;
            self.write(memory.base, &blob)?;
            told = Some((register as u8, ipa));
        }
        if !self.features.forced_write_back {
            self.flush(memory)?;
        }
        cache::invalidate_instructions();
        Ok(told)
    }

    /// Copies from the physical address `from`.
    fn read(&self, from: u64, mut to: &mut [u8]) -> Result<(), Refused> {
        let mut from = from;
        while !to.is_empty() {
            let offset = from % PAGE_SIZE;
            let length = (CHUNK - offset).min(to.len() as u64) as usize;
            let (part, rest) = to.split_at_mut(length);
            let range = pages_around(from, length);
            self.memory
                .window(
                    BOOT_WINDOW,
                    Space::Secure,
                    range,
                    Permissions::READ_ONLY,
                    |window| window.read(offset as usize, part),
                )
                .map_err(|error| Refused::Map(as_range(range), error))?
                .map_err(|CopyFault| Refused::Unreadable(from))?;
            from += length as u64;
            to = rest;
        }
        Ok(())
    }

    /// Writes a page at the physical address `to`.
    fn write(&self, to: u64, from: &[u8; BOOT_INFORMATION]) -> Result<(), Refused> {
        let range = pages_around(to, from.len());
        self.memory
            .window(
                BOOT_WINDOW,
                Space::Secure,
                range,
                Permissions::READ_WRITE,
                |window| window.write(0, from),
            )
            .map_err(|error| Refused::Map(as_range(range), error))?
            .map_err(|CopyFault| Refused::Unreadable(to))
    }

    /// Cleans and invalidates the caches over `memory`.
    fn flush(&self, memory: Range) -> Result<(), Refused> {
        let mut from = memory.base;
        while from < memory.end() {
            let length = CHUNK.min(memory.end() - from);
            let range = pages_around(from, length as usize);
            self.memory
                .window(
                    BOOT_WINDOW,
                    Space::Secure,
                    range,
                    Permissions::READ_ONLY,
                    |window| window.flush(),
                )
                .map_err(|error| Refused::Map(as_range(range), error))?;
            from += length;
        }
        Ok(())
    }
}

/// The pages around `length` bytes, of which there is one at least, from `address` on.
fn pages_around(address: u64, length: usize) -> PageRange {
    let base = address - address % PAGE_SIZE;
    let bytes = (address - base + length as u64).next_multiple_of(PAGE_SIZE);
    // Aligned just now; what a manifest names ends within the memory that was checked.
    PageRange::new(Pa(base), bytes).unwrap_or_else(|| panic!("{address:#x} has no pages around it"))
}

fn as_range(range: PageRange) -> Range {
    Range {
        base: range.base().0,
        size: range.bytes(),
    }
}

/// Reads a device tree of unknown length at the physical address `address` into the arena: the SPMC
/// manifest in EL3's memory (DECISIONS 16).
///
/// # Errors
/// A text that says why there is none.
pub fn read_tree(
    memory: &Memory,
    address: u64,
    arena: &mut Arena,
) -> Result<&'static [u8], &'static str> {
    const HEADER: usize = 8;
    const MAGIC: u32 = 0xd00d_feed;
    const UNREADABLE: &str = "the memory that x0 points to does not answer";
    let copy = |from: u64, to: &mut [u8]| {
        let range = pages_around(from, to.len());
        let offset = (from % PAGE_SIZE) as usize;
        memory
            .window(
                BOOT_WINDOW,
                Space::Secure,
                range,
                Permissions::READ_ONLY,
                |window| window.read(offset, to),
            )
            .ok()
            .and_then(Result::ok)
            .ok_or(UNREADABLE)
    };
    if address == 0
        || address
            .checked_add(bulkhead_manifest::dt::MAX_SIZE as u64)
            .is_none()
    {
        return Err("EL3 passed none in x0");
    }
    let mut header = [0; HEADER];
    copy(address, &mut header)?;
    let [m0, m1, m2, m3, s0, s1, s2, s3] = header;
    if u32::from_be_bytes([m0, m1, m2, m3]) != MAGIC {
        return Err("there is no device tree where x0 points to");
    }
    let size = u32::from_be_bytes([s0, s1, s2, s3]) as usize;
    if !(HEADER..=bulkhead_manifest::dt::MAX_SIZE).contains(&size) {
        return Err("the size in its header cannot be right");
    }
    let bytes = arena
        .bytes(size, align_of::<u64>())
        .map_err(|ArenaFull| "it is too large")?;
    copy(address, bytes)?;
    Ok(bytes)
}
