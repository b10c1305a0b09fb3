// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cold boot, phase by phase (DESIGN.md section 4).
//!
//! Early console → final W^X map and arena → SPMC manifest copied out of EL3's memory and parsed →
//! console and interrupt controller → partitions → seal → entry point of other cores → run loop, in
//! which the core brings the partitions up.
//!
//! A fatal error is printed and returned to the SPMD, so that the normal world boots without a
//! secure one (DECISIONS 17).

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bulkhead_abi::{FfaError, Function, Registers, Width};
use bulkhead_arch::features::Features;
use bulkhead_arch::gicv3::Distributor;
use bulkhead_arch::layout::{self, STACK_SIZE};
use bulkhead_arch::map::{self, EarlyPage};
use bulkhead_arch::mmio::Frame;
use bulkhead_arch::percore::{self, PerCore};
use bulkhead_arch::{conduit, entry, fp, tables};
use bulkhead_core::{Spmc, SpmcConfig};
use bulkhead_manifest::{MemoryKind, Range, Reserved, SpmcManifest};
use bulkhead_mm::MapError;
use bulkhead_mm::addr::{PAGE_SIZE, Pa, PageRange};
use spin::Once;

use crate::arena::{Arena, ArenaFull};
use crate::machine::{Gic, Shared};
use crate::memory::{self, Memory};
use crate::partitions::{self, Partitions};
use crate::platform::Platform;
use crate::run::{Firmware, VectorStore};
use crate::{console, load, logger};

/// How long a partition may take to initialise where the manifest does not say, in milliseconds of
/// counter time.
const INIT_TIMEOUT: u32 = 900;
/// How long a partition may keep non-secure interrupts waiting where the manifest does not say.
const RUN_TIMEOUT: u32 = 500;

static FIRMWARE: Once<Firmware> = Once::new();
static OVER: AtomicBool = AtomicBool::new(false);

/// Whether EL3 has been returned to, so that the normal world may have run.
pub fn is_over() -> bool {
    OVER.load(Ordering::Relaxed)
}

/// Says that EL3 is returned to.
#[inline]
pub(crate) fn set_over() {
    OVER.store(true, Ordering::Relaxed);
}

/// Why there is no SPMC.
#[derive(Debug)]
enum Fatal {
    /// The SPMC manifest cannot be read.
    Unreadable(&'static str),
    /// The SPMC manifest breaks a rule.
    Manifest(bulkhead_manifest::ManifestError<'static>),
    /// The map cannot be made.
    Map(&'static str, MapError),
    /// Bulkhead's RAM does not suffice.
    Full(ArenaFull),
    /// The boot core is not among the manifest's.
    UnknownCore(u64),
    /// The cores lack what Bulkhead is built on.
    Cpu(&'static str),
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(why) => write!(f, "SPMC manifest: {why}"),
            Self::Manifest(error) => error.fmt(f),
            Self::Map(what, error) => write!(f, "{what} cannot be mapped: {error}"),
            Self::Full(error) => error.fmt(f),
            Self::UnknownCore(mpidr) => write!(
                f,
                "SPMC manifest: /cpus has no core with reg = <{mpidr:#x}>, the boot core: add it"
            ),
            Self::Cpu(what) => write!(f, "the core lacks {what}"),
        }
    }
}

impl From<ArenaFull> for Fatal {
    fn from(error: ArenaFull) -> Self {
        Self::Full(error)
    }
}

/// Boots Bulkhead on `platform`; `manifest` is the physical address of the SPMC manifest. Called once,
/// on the boot core, with the early map.
pub fn start(platform: &'static dyn Platform, manifest: u64) -> ! {
    early_console(platform);
    match set_up(platform, manifest) {
        Ok(firmware) => firmware.run(BOOT_CORE),
        Err(fatal) => {
            log::error!("{fatal}");
            log::error!("no secure partition manager: the normal world boots without one");
            give_up()
        }
    }
}

fn early_console(platform: &dyn Platform) {
    let base = platform.console();
    let address = map::early_window(0, base - base % PAGE_SIZE, EarlyPage::Device);
    // SAFETY: the page is mapped as device memory just now; the board says that it is a PL011.
    console::set_uart(unsafe { Frame::new(address + (base % PAGE_SIZE) as usize) });
    logger::start(log::LevelFilter::Info);
}

/// Everything up to the run loop.
fn set_up(platform: &'static dyn Platform, manifest: u64) -> Result<&'static Firmware, Fatal> {
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
    move_console(&memory, platform.console())?;

    let tree = load::read_tree(&memory, manifest, &mut arena).map_err(Fatal::Unreadable)?;
    let manifest = SpmcManifest::parse(tree).map_err(Fatal::Manifest)?;
    for warning in manifest.warnings() {
        log::warn!("SPMC manifest: {warning}");
    }
    let console = manifest
        .console()
        .map_or(platform.console(), |uart| uart.base);
    if console != platform.console() {
        move_console(&memory, console)?;
    }
    let frames = Frames::new(platform, &manifest, &mut arena)?;
    let gic = frames.map(&memory, &mut arena)?;
    let cores = set_up_cores(&memory, &manifest, &mut arena)?;
    let reserved = reserved(platform, &frames, &mut arena)?;
    let loaded = partitions::load(&memory, &manifest, reserved, console, &features, &mut arena)?;
    let console_owner = loaded.console_owner;
    let firmware = assemble(
        platform, &manifest, features, memory, gic, cores, loaded, &mut arena,
    )?;
    log::info!(
        "{} of {} partitions, {} cores, {} KiB and {} pages free",
        firmware.spmc.partitions().len(),
        manifest.partition_count(),
        cores.len(),
        arena.available() / 1024,
        firmware.shared.memory.pages.lock().pool.available(),
    );
    arena.seal();
    tables::invalidate_all_partitions();
    entry::publish_secondaries(cores);
    register_secondary_entry();
    if let Some(name) = console_owner {
        leave_console(&firmware.shared.memory, platform, name);
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
    gic: Gic,
    cores: &'static [PerCore],
    loaded: Partitions,
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
    // One for the normal world.
    let buffers = arena.slice(spaces.len() + 1, |_, _| Ok::<_, Fatal>(AtomicUsize::new(0)))?;
    let shared = arena.value(Shared {
        features,
        memory,
        spaces,
        buffers,
        gic,
    })?;
    let spmc = Spmc::new(SpmcConfig {
        id: manifest.id,
        partitions,
        normal_world_memory: normal_world_memory(platform, manifest, arena)?,
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

/// Has lines go to the PL011 at the physical address `base`, through the final map.
fn move_console(memory: &Memory, base: u64) -> Result<(), Fatal> {
    console::set_uart(device(memory, "the console", base, PAGE_SIZE as usize)?);
    Ok(())
}

/// Leaves the console to partition `name` (DECISIONS 14).
fn leave_console(memory: &Memory, platform: &dyn Platform, name: &str) {
    let other = platform.second_console();
    let other = other.and_then(|base| device(memory, "the console", base, PAGE_SIZE as usize).ok());
    match other {
        Some(frame) => {
            log::info!("the console is {name}'s from here on: Bulkhead goes to another one");
            console::set_uart(frame);
        }
        None => {
            log::info!("the console is {name}'s from here on: Bulkhead's lines stay in memory");
            console::leave_uart();
        }
    }
}

fn device(memory: &Memory, what: &'static str, base: u64, size: usize) -> Result<Frame, Fatal> {
    memory
        .map_device(base, size)
        .map_err(|error| Fatal::Map(what, error))
}

/// The interrupt controller's frames by physical address: the manifest's, else the board's.
struct Frames {
    distributor: Range,
    redistributors: &'static [Range],
}

impl Frames {
    fn new(
        platform: &dyn Platform,
        manifest: &SpmcManifest<'static>,
        arena: &mut Arena,
    ) -> Result<Self, Fatal> {
        let board = platform.gic();
        let controller = manifest.interrupt_controller();
        let distributor = controller.and_then(|controller| controller.distributors().next());
        let redistributors = match controller {
            Some(controller) => arena.collect(controller.redistributors())?,
            None => arena.collect(core::iter::once(board.redistributors))?,
        };
        let size = Distributor::SIZE as u64;
        let distributor = distributor.unwrap_or(Range {
            base: board.distributor,
            size,
        });
        Ok(Self {
            distributor: Range {
                size,
                ..distributor
            },
            redistributors,
        })
    }

    fn map(&self, memory: &Memory, arena: &mut Arena) -> Result<Gic, Fatal> {
        const WHAT: &str = "the interrupt controller";
        let distributor = device(memory, WHAT, self.distributor.base, Distributor::SIZE)?;
        let redistributors = arena.slice(self.redistributors.len(), |_, index| {
            let Range { base, size } = self.redistributors[index];
            Ok::<_, Fatal>((device(memory, WHAT, base, size as usize)?, size as usize))
        })?;
        Ok(Gic {
            distributor: Distributor::new(distributor),
            redistributors,
        })
    }
}

/// Where the registers of vectors are stored.
const VECTOR_ALIGNMENT: usize = 16;

/// The index of the boot core, which runs the first execution context of each partition.
const BOOT_CORE: usize = 0;

/// A stack for each core, found by MPIDR. The boot core is the first one, the others follow by MPIDR,
/// in whichever order the manifest has them (COMPATIBILITY.md).
fn set_up_cores(
    memory: &Memory,
    manifest: &SpmcManifest<'static>,
    arena: &mut Arena,
) -> Result<&'static [PerCore], Fatal> {
    let own = percore::affinity();
    let mut affinities = manifest.cpus();
    let affinities = arena.slice(manifest.cpus().count(), |_, _| {
        affinities.next().ok_or(Fatal::UnknownCore(own))
    })?;
    affinities.sort_unstable_by_key(|mpidr| (*mpidr != own, *mpidr));
    if affinities.first() != Some(&own) {
        return Err(Fatal::UnknownCore(own));
    }
    let cores = arena.slice(affinities.len(), |arena, index| {
        let stack_top = if index == BOOT_CORE {
            layout::boot_stack().end
        } else {
            let stack = arena.bytes(STACK_SIZE, PAGE_SIZE as usize)?;
            memory
                .map_stack(index, stack)
                .map_err(|error| Fatal::Map("a stack", error))?
        };
        Ok::<_, Fatal>(PerCore {
            mpidr: affinities[index],
            stack_top,
            index,
        })
    })?;
    let cores: &'static [PerCore] = cores;
    percore::adopt(&cores[BOOT_CORE]);
    Ok(cores)
}

/// What no partition gets (DECISIONS 13).
fn reserved(
    platform: &dyn Platform,
    frames: &Frames,
    arena: &mut Arena,
) -> Result<&'static [Reserved], Fatal> {
    let own = Range {
        base: entry::load_address(),
        size: platform.ram_size() as u64,
    };
    let board = platform.reserved().iter();
    let board = board.map(|part| (part.owner, part.range));
    let gic = core::iter::once(frames.distributor).chain(frames.redistributors.iter().copied());
    let all = core::iter::once(("Bulkhead", own))
        .chain(board)
        .chain(gic.map(|range| ("the interrupt controller", range)));
    Ok(arena.collect(all)?)
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

/// Tells the SPMD where other cores enter (B-56).
fn register_secondary_entry() {
    let mut registers = Registers::ZERO;
    registers.x[0] = Function::SecondaryEpRegister.id(Width::W64);
    registers.x[1] = entry::secondary_entry();
    conduit::smc(&mut registers);
    if registers.x[0] != Function::Success.id(Width::W32)
        && registers.x[0] != Function::Success.id(Width::W64)
    {
        log::warn!(
            "the SPMD refused the entry point {:#x} of other cores: raise binary_size",
            entry::secondary_entry(),
        );
    }
}

/// Lets the normal world go on without this core's SPMC (DECISIONS 17).
pub(crate) fn give_up() -> ! {
    loop {
        let mut registers = Registers::ZERO;
        registers.x[0] = Function::Error.id(Width::W32);
        registers.x[2] = FfaError::NotSupported.to_register();
        conduit::smc(&mut registers);
    }
}

/// A core came on, with the final map and its own stack; called by the entry stub.
// SAFETY: the name is Bulkhead's own, and the only definition of it.
#[unsafe(no_mangle)]
extern "C" fn bulkhead_secondary(index: usize) -> ! {
    match FIRMWARE.get() {
        Some(firmware) => firmware.run(index),
        None => give_up(),
    }
}
