// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cold boot, phase by phase (DESIGN.md section 4).
//!
//! Early console → final W^X map and arena → SPMC manifest copied out of EL3's memory and parsed →
//! console and interrupt controller → partitions → seal → entry point of other cores → run loop, in
//! which the core brings the partitions up.
//!
//! A fatal error is printed and returned to the SPMD, so that the normal world boots without a
//! secure one (DECISIONS 17).

use bulkhead_abi::{Function, Registers, Width};
use bulkhead_arch::features::Features;
use bulkhead_arch::layout::BOOT_STACK_SIZE;
use bulkhead_arch::map::{self, EarlyPage};
use bulkhead_arch::mmio::Frame;
use bulkhead_arch::percore::{self, PerCore};
use bulkhead_arch::{conduit, entry, fp, refuse, tables};
use bulkhead_core::interrupt::owner;
use bulkhead_core::normal_world::Vm;
use bulkhead_core::notify::VmNotifications;
use bulkhead_core::notify::bitmaps::Received;
use bulkhead_core::share::{PageOwners, ShareSlot};
use bulkhead_core::{Reserved, Spmc, SpmcConfig};
use bulkhead_manifest::{MemoryKind, SpmcManifest};
use bulkhead_mm::MapError;
use bulkhead_mm::addr::{PAGE_SIZE, Pa, PageRange};
use bulkhead_mm::attrs::Space;
use bulkhead_mm::owner::{Node, Ownership};
use bulkhead_mm::pool::{Account, PageRecord, Quota};
use bulkhead_spmc::arena::{Arena, ArenaFull};
use bulkhead_spmc::interrupts::Interrupts;
use bulkhead_spmc::machine::{BufferSizes, Shared};
use bulkhead_spmc::memory::{self, Memory};
use bulkhead_spmc::run::{BOOT_CORE, Firmware, VectorStore};
use bulkhead_spmc::{console, logger};
use spin::Once;

use crate::cores;
use crate::devices::{self, Frames};
use crate::fatal::Fatal;
use crate::partitions::{self, Partitions};
use crate::platform::Platform;
use crate::{facts, load};

/// Where the registers of vectors are stored.
const VECTOR_ALIGNMENT: usize = 16;

/// How long a partition may take to initialise where the manifest does not say, in milliseconds of
/// counter time.
const INIT_TIMEOUT: u32 = 900;
/// How long a partition may keep non-secure interrupts waiting where the manifest does not say.
const RUN_TIMEOUT: u32 = 500;

static FIRMWARE: Once<Firmware> = Once::new();
/// What the first phase leaves to the second one.
struct Foundation {
    platform: &'static dyn Platform,
    /// The physical address of the SPMC manifest.
    manifest: u64,
    features: Features,
    /// Taken by the second phase.
    memory: Option<(Memory, Arena)>,
    /// The boot core's stack, in use from the second phase on.
    stack: core::ops::Range<usize>,
}

/// Boots Bulkhead on `platform`; `manifest` is the physical address of the SPMC manifest. Called once,
/// on the boot core, with the early map and the image's small stack.
pub fn start(platform: &'static dyn Platform, manifest: u64) -> ! {
    early_console(platform);
    match lay_foundation(platform, manifest) {
        Ok(foundation) => {
            let top = foundation.stack.end;
            // SAFETY: the stack was mapped just now.
            unsafe { entry::continue_on(top, go_on, foundation) }
        }
        Err(fatal) => report(&fatal),
    }
}

/// The second phase, on the boot core's own stack.
extern "C" fn go_on(foundation: &'static mut Foundation) -> ! {
    match set_up(foundation) {
        Ok(firmware) => firmware.run(BOOT_CORE),
        Err(fatal) => report(&fatal),
    }
}

fn report(fatal: &Fatal) -> ! {
    log::error!("{fatal}");
    log::error!("no secure partition manager: the normal world boots without one");
    give_up()
}

fn early_console(platform: &dyn Platform) {
    let base = platform.console();
    let address = map::early_window(0, base - base % PAGE_SIZE, EarlyPage::Device);
    // SAFETY: the page is mapped as device memory just now; the board says that it is a PL011.
    console::set_uart(unsafe { Frame::new(address + (base % PAGE_SIZE) as usize) });
    logger::start(log::LevelFilter::Info);
}

/// The final map, the arena, and a stack that is large enough for the rest.
fn lay_foundation(
    platform: &'static dyn Platform,
    manifest: u64,
) -> Result<&'static mut Foundation, Fatal> {
    log::info!(
        "{} on {}, loaded at {:#x}",
        env!("CARGO_PKG_VERSION"),
        platform.name(),
        entry::load_address(),
    );
    let features = Features::detect(platform.allowed());
    if !features.vhe {
        return Err(Fatal::Cpu("the virtualisation host extensions"));
    }
    let early = map::early_ram(platform.ram_size());
    let (memory, mut arena) = memory::install(platform.ram_size(), early)
        .map_err(|error| Fatal::Map("Bulkhead", error))?;
    devices::move_console(&memory, platform.console())?;
    let stack = cores::new_stack(&memory, &mut arena, BOOT_CORE, BOOT_STACK_SIZE)?;
    percore::adopt(arena.value(PerCore::new(percore::affinity(), BOOT_CORE, &stack))?);
    let foundation = arena.slots(1)?;
    let memory = Some((memory, arena));
    Ok(foundation[0].write(Foundation {
        platform,
        manifest,
        features,
        memory,
        stack,
    }))
}

/// Everything else up to the run loop.
fn set_up(foundation: &mut Foundation) -> Result<&'static Firmware, Fatal> {
    let Foundation {
        platform,
        manifest,
        features,
        ref mut memory,
        ref stack,
    } = *foundation;
    let Some((memory, mut arena)) = memory.take() else {
        unreachable!("the second phase of boot runs once");
    };
    let tree = load::read_tree(&memory, manifest, &mut arena).map_err(Fatal::Unreadable)?;
    let manifest = SpmcManifest::parse(tree).map_err(Fatal::Manifest)?;
    for warning in manifest.warnings() {
        log::warn!("SPMC manifest: {warning}");
    }
    for unknown in manifest.unknown_properties() {
        log::warn!("SPMC manifest: {unknown}");
    }
    let console = manifest
        .console()
        .map_or(platform.console(), |uart| uart.base);
    if console != platform.console() {
        devices::move_console(&memory, console)?;
    }
    let frames = Frames::new(platform, &manifest, &mut arena)?;
    let mapped = frames.map(&memory, &mut arena)?;
    // SAFETY: the boot core has come to the stack of this phase, which begins once.
    let free = unsafe { memory.free_boot_only() };
    let free = free.map_err(|error| Fatal::Map("a stack", error))?;
    let cores = cores::set_up(&memory, &manifest, stack, free, &mut arena)?;
    let reserved = devices::reserved(platform, manifest.page_memory, &frames, &mut arena)?;
    let mut more = None;
    if let Some(range) = manifest.page_memory {
        let of_manifest = |error| Fatal::Map("bulkhead,page-memory", error);
        let range = PageRange::new(Pa(range.base), range.size);
        let range = range.ok_or(of_manifest(MapError::Unaligned))?;
        let records = |count, arena: &mut Arena| {
            arena.slice(count, |_, _| Ok::<_, ArenaFull>(PageRecord::UNUSED))
        };
        more = Some(memory.add_pages(range, records).map_err(of_manifest)?);
    }
    let mut interrupts = Interrupts::new(mapped, cores, &mut arena)?;
    let loaded = partitions::load(
        &memory,
        &manifest,
        reserved,
        console,
        &features,
        &mut interrupts,
        &mut arena,
    )?;
    let console_owner = loaded.console_owner;
    let firmware = assemble(
        platform, &manifest, features, memory, interrupts, cores, loaded, reserved, more,
        &mut arena,
    )?;
    log::info!(
        "{} of {} partitions, {} cores, {} KiB and {} pages free",
        firmware.spmc.partitions().len(),
        manifest.partition_count(),
        cores.len(),
        arena.available() / 1024,
        firmware
            .shared
            .memory
            .pages
            .lock()
            .pool
            .available(Account::SPMC),
    );
    if manifest.show_map {
        facts::show(firmware.shared, firmware.spmc.partitions());
    }
    arena.seal();
    #[cfg(debug_assertions)]
    if manifest.overflow_stack {
        overflow_stack(0);
    }
    tables::invalidate_all_partitions();
    entry::publish_secondaries(cores);
    register_entry(entry::secondary_entry());
    if let Some(name) = console_owner {
        devices::leave_console(&firmware.shared.memory, platform, name);
    }
    Ok(firmware)
}

/// Makes the firmware of its parts.
#[expect(clippy::too_many_arguments, reason = "everything comes together here")]
fn assemble(
    platform: &dyn Platform,
    manifest: &SpmcManifest<'static>,
    features: Features,
    memory: Memory,
    interrupts: Interrupts,
    cores: &'static [PerCore],
    loaded: Partitions,
    reserved: &'static [bulkhead_manifest::Reserved],
    mut more: Option<Arena>,
    arena: &mut Arena,
) -> Result<&'static Firmware, Fatal> {
    let Partitions {
        partitions, spaces, ..
    } = loaded;
    let vector_size = fp::vector_state_size(&features);
    let vectors = arena.slice(cores.len(), |arena, _| {
        Ok::<_, Fatal>(VectorStore::new(
            arena.bytes(vector_size, VECTOR_ALIGNMENT)?,
        ))
    })?;
    let vms = platform.vm_mailboxes();
    let vms = arena.slice(vms, |_, _| Ok::<_, Fatal>(Vm::new()))?;
    let vm_vcpus = platform.vm_vcpus().max(cores.len());
    let vm_notifications = arena.slice(platform.vm_bitmaps(), |arena, _| {
        let received = arena.slice(vm_vcpus, |_, _| Ok::<_, Fatal>(Received::default()))?;
        Ok::<_, Fatal>(VmNotifications::new(received))
    })?;
    // One more for the normal world.
    let buffers = arena.slice(spaces.len() + vms.len() + 1, |_, _| {
        Ok::<_, Fatal>(BufferSizes::default())
    })?;
    let shared = arena.value(Shared {
        features,
        memory,
        spaces,
        buffers,
        interrupts,
    })?;
    let normal_world = normal_world_memory(platform, manifest, arena)?;
    shared
        .memory
        .grant_quotas(arena.slice(partitions.len() + 1, |_, _| Ok::<_, Fatal>(Quota::NONE))?);
    // Each transaction has a page at least: nobody can use up the places of others (F8).
    let most = shared.memory.tables().lock().pool.range().pages() as usize;
    let places = |arena: &mut Arena, part| {
        let most = most.min(arena.available() / part / size_of::<ShareSlot>());
        arena.slice(most, |_, _| Ok::<_, Fatal>(ShareSlot::new()))
    };
    let shares = match &mut more {
        Some(more) => places(more, 2)?,
        None => places(arena, 4)?,
    };
    let regions = partitions.iter().flat_map(|one| one.config.regions);
    let secure = regions
        .filter(|region| region.space == Space::Secure)
        .map(|region| region.range);
    let normal = normal_world.iter().copied();
    // Memory of the manifest's is used up; of the board's something is left.
    let pages = match &mut more {
        Some(more) => PageOwners::new(
            ownership(secure, more.available() / 4, more)?,
            ownership(normal, more.available(), more)?,
        ),
        None => PageOwners::new(
            ownership(secure, arena.available() / 4, arena)?,
            ownership(normal, arena.available() / 2, arena)?,
        ),
    };
    let spmc = Spmc::new(SpmcConfig {
        id: manifest.id,
        partitions,
        normal_world_memory: normal_world,
        owners: pages,
        shares,
        reserved: owners(reserved, arena)?,
        vms,
        vm_notifications,
        interrupts: arena.collect(owner::owned(partitions))?,
        init_timeout_ms: manifest.init_timeout_ms.unwrap_or(INIT_TIMEOUT),
        run_timeout_ms: manifest.run_timeout_ms.unwrap_or(RUN_TIMEOUT),
    });
    let allowed = platform.allowed();
    Ok(FIRMWARE.call_once(|| Firmware {
        spmc,
        shared,
        allowed,
        vectors,
    }))
}

/// A map of all that lies between the ends of `ranges`, with nodes of at most `bytes` bytes.
fn ownership(
    ranges: impl Iterator<Item = PageRange> + Clone,
    bytes: usize,
    arena: &mut Arena,
) -> Result<Ownership<'static>, Fatal> {
    let base = ranges.clone().map(|range| range.base().0).min();
    let end = ranges.map(|range| range.end().0).max();
    let all = base
        .zip(end)
        .and_then(|(base, end)| PageRange::new(Pa(base), end - base));
    // Without memory, a map of one page that nobody has.
    let all = all.or_else(|| PageRange::new(Pa(0), PAGE_SIZE));
    let nodes = arena.slice(bytes / size_of::<Node>(), |_, _| {
        Ok::<_, Fatal>(Node::UNUSED)
    })?;
    all.and_then(|range| Ownership::new(range, nodes))
        .ok_or(Fatal::Map("the ownership of memory", MapError::OutOfRange))
}

/// The `ns-memory` of the manifest in whole pages; where it names none, the board's.
fn normal_world_memory(
    platform: &dyn Platform,
    manifest: &SpmcManifest<'static>,
    arena: &mut Arena,
) -> Result<&'static [PageRange], ArenaFull> {
    let pages = |base: u64, end: u64| {
        let base = base.next_multiple_of(PAGE_SIZE);
        PageRange::new(Pa(base), (end - end % PAGE_SIZE).checked_sub(base)?)
    };
    let said = manifest.memory(MemoryKind::NonSecure);
    if said.clone().next().is_some() {
        Ok(arena.collect(said.filter_map(|range| pages(range.base, range.end())))?)
    } else {
        let ranges = platform.normal_world_memory().iter();
        Ok(arena.collect(ranges.filter_map(|range| pages(range.base, range.end())))?)
    }
}

/// What no partition has, as the core wants it.
fn owners(
    reserved: &'static [bulkhead_manifest::Reserved],
    arena: &mut Arena,
) -> Result<&'static [Reserved], ArenaFull> {
    let pages = reserved.iter().filter_map(|(owner, range)| {
        let base = range.base - range.base % PAGE_SIZE;
        let bytes = (range.end() - base).next_multiple_of(PAGE_SIZE);
        let range = PageRange::new(Pa(base), bytes)?;
        Some(Reserved { owner, range })
    });
    Ok(arena.collect(pages)?)
}

/// Uses all of the stack, and the page below it (X15). There is no way here in a release.
#[cfg(debug_assertions)]
fn overflow_stack(depth: usize) -> usize {
    if depth == usize::MAX {
        return 0;
    }
    let frame = core::hint::black_box([depth; 64]);
    overflow_stack(depth + 1) + core::hint::black_box(frame)[0]
}

/// Tells the SPMD where other cores enter (B-56).
fn register_entry(address: u64) {
    let mut registers = Registers::ZERO;
    registers.x[0] = Function::SecondaryEpRegister.id(Width::W64);
    registers.x[1] = address;
    conduit::smc(&mut registers);
    if registers.x[0] != Function::Success.id(Width::W32)
        && registers.x[0] != Function::Success.id(Width::W64)
    {
        log::warn!(
            "the SPMD refused the entry point {address:#x} of other cores: raise binary_size",
        );
    }
}

/// Lets the normal world go on without an SPMC on any core (DECISIONS 17). Only the boot core can say
/// so, before the normal world has run.
pub(crate) fn give_up() -> ! {
    register_entry(refuse::refusal_entry());
    refuse::refuse()
}

/// A core came on, with the final map and its own stack; called by the entry stub.
// SAFETY: the name is Bulkhead's own, and the only definition of it.
#[unsafe(no_mangle)]
extern "C" fn bulkhead_secondary(index: usize) -> ! {
    match FIRMWARE.get() {
        Some(firmware) => firmware.run(index),
        None => refuse::refuse(),
    }
}
