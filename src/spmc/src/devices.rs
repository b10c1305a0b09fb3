// SPDX-License-Identifier: MIT OR Apache-2.0
//! The devices that Bulkhead itself drives: where they are, and their place in the map.

use bulkhead_arch::entry;
use bulkhead_arch::gicv3::Distributor;
use bulkhead_arch::mmio::Frame;
use bulkhead_manifest::{Range, Reserved, SpmcManifest};
use bulkhead_mm::addr::PAGE_SIZE;

use crate::arena::Arena;
use crate::console;
use crate::fatal::Fatal;
use crate::machine::Gic;
use crate::memory::Memory;
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
    distributor: Range,
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

    /// Maps them.
    ///
    /// # Errors
    /// [`Fatal`], if they cannot be mapped.
    pub fn map(&self, memory: &Memory, arena: &mut Arena) -> Result<Gic, Fatal> {
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

/// What no partition gets (DECISIONS 13).
///
/// # Errors
/// [`Fatal`], without memory for the list.
pub fn reserved(
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
