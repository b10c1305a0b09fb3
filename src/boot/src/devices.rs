// SPDX-License-Identifier: MIT OR Apache-2.0
//! The devices that Bulkhead itself drives: where they are, and their place in the map.

use bulkhead_arch::entry;
use bulkhead_arch::gicv3::{self, Distributor};
use bulkhead_arch::mmio::Frame;
use bulkhead_manifest::{InterruptController, Range, Reserved, SpmcManifest};
use bulkhead_mm::addr::PAGE_SIZE;
use bulkhead_spmc::arena::{Arena, ArenaFull};
use bulkhead_spmc::console;
use bulkhead_spmc::interrupts::Mapped;
use bulkhead_spmc::memory::Memory;

use crate::fatal::Fatal;
use crate::platform::Platform;

/// Has lines go to the PL011 at the physical address `base`, through the final map.
///
/// # Errors
/// [`Fatal`], if it cannot be mapped.
pub fn move_console(memory: &Memory, base: u64) -> Result<(), Fatal> {
    console::set_uart(device(memory, "the console", base, PAGE_SIZE as usize)?);
    Ok(())
}

/// Leaves the console to partition `name` (DECISIONS 14).
pub fn leave_console(memory: &Memory, platform: &dyn Platform, name: &str) {
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
pub struct Frames {
    /// Those of each chip, the boot core's first, with the first and the last shared interrupt that it has.
    distributors: &'static [(Range, u32, u32)],
    redistributors: &'static [Range],
}

impl Frames {
    /// The frames that the manifest names, else the board's.
    ///
    /// # Errors
    /// [`Fatal`], without memory for the list.
    pub fn new(
        platform: &dyn Platform,
        manifest: &SpmcManifest<'static>,
        arena: &mut Arena,
    ) -> Result<Self, Fatal> {
        let board = platform.gic();
        let controller = manifest.interrupt_controller();
        let redistributors = match controller {
            Some(controller) => arena.collect(controller.redistributors())?,
            None => arena.collect(core::iter::once(board.redistributors))?,
        };
        let distributors = match controller {
            Some(controller) => {
                let chips = controller
                    .distributors()
                    .zip(interrupts_of_chips(&controller));
                arena
                    .collect(chips.map(|(range, (first, last))| (frame(range.base), first, last)))?
            }
            None => arena.collect(core::iter::once((frame(board.distributor), 0, u32::MAX)))?,
        };
        Ok(Self {
            distributors,
            redistributors,
        })
    }

    /// Maps them.
    ///
    /// # Errors
    /// [`Fatal`], if they cannot be mapped.
    pub fn map(&self, memory: &Memory, arena: &mut Arena) -> Result<Mapped, Fatal> {
        const WHAT: &str = "the interrupt controller";
        let mut used = (self.distributors.iter()).filter(|(_, first, last)| first <= last);
        let distributors = arena.slice(used.clone().count(), |_, _| {
            let Some(&(Range { base, .. }, first, last)) = used.next() else {
                return Err(ArenaFull.into());
            };
            let frame = device(memory, WHAT, base, gicv3::FRAME)?;
            Ok::<_, Fatal>(Distributor::new(frame, first..=last))
        })?;
        let redistributors = arena.slice(self.redistributors.len(), |_, index| {
            let Range { base, size } = self.redistributors[index];
            Ok::<_, Fatal>((device(memory, WHAT, base, size as usize)?, size as usize))
        })?;
        Ok(Mapped {
            distributors,
            redistributors,
        })
    }
}

/// A distributor's frame.
const fn frame(base: u64) -> Range {
    Range {
        base,
        size: gicv3::FRAME as u64,
    }
}

/// The first and the last shared interrupt of each chip, for ever; none for chips of which the manifest does not say
/// (`#spi-regions`). If it says nothing, the first chip has them all.
fn interrupts_of_chips(
    controller: &InterruptController<'static>,
) -> impl Iterator<Item = (u32, u32)> + Clone {
    let said = controller.spi_regions();
    let chips = controller.distributors().count();
    let all = said.clone().next().is_none();
    if all && chips > 1 {
        log::warn!(
            "the SPMC manifest names {chips} distributors and not which shared interrupts they have \
             (#spi-regions): only those of the first one can be partitions'"
        );
    }
    let said = said.map(|Range { base, size }| {
        let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        (number(base), number(base.saturating_add(size)))
    });
    let everything = all.then_some((0, u32::MAX));
    let nothing = core::iter::repeat((1, 0));
    everything.into_iter().chain(said).chain(nothing)
}

/// What no partition gets (DECISIONS 13).
///
/// # Errors
/// [`Fatal`], without memory for the list.
pub fn reserved(
    platform: &dyn Platform,
    page_memory: Option<Range>,
    frames: &Frames,
    arena: &mut Arena,
) -> Result<&'static [Reserved], Fatal> {
    let own = Range {
        base: entry::load_address(),
        size: platform.ram_size() as u64,
    };
    let board = platform.reserved().iter();
    let board = board.map(|part| (part.owner, part.range));
    let distributors = frames.distributors.iter().map(|(range, ..)| *range);
    let gic = distributors.chain(frames.redistributors.iter().copied());
    let all = core::iter::once(("Bulkhead", own))
        .chain(page_memory.map(|range| ("Bulkhead", range)))
        .chain(board)
        .chain(gic.map(|range| ("the interrupt controller", range)));
    Ok(arena.collect(all)?)
}
