// SPDX-License-Identifier: MIT OR Apache-2.0
//! The cores: who they are, and their stacks.

use core::ops::Range;

use bulkhead_arch::entry;
use bulkhead_arch::layout::STACK_SIZE;
use bulkhead_arch::percore::{self, PerCore};
use bulkhead_core::few;
use bulkhead_manifest::SpmcManifest;
use bulkhead_mm::MapError;
use bulkhead_mm::addr::{PAGE_SIZE, Pa, PageRange};
use bulkhead_spmc::arena::Arena;
use bulkhead_spmc::memory::Memory;
use bulkhead_spmc::run::BOOT_CORE;

use crate::fatal::Fatal;

/// The core whose stack is where early tables and the first stack were.
const SECOND_CORE: usize = 1;
const _: () = assert!(SECOND_CORE != BOOT_CORE);

/// A stack for each core, found by MPIDR. The boot core is the first one, the others follow by MPIDR,
/// in whichever order the manifest has them (COMPATIBILITY.md). `free` is memory for one of them.
///
/// # Errors
/// [`Fatal`], without memory for them or for a boot core that the manifest does not have.
pub fn set_up(
    memory: &Memory,
    manifest: &SpmcManifest<'static>,
    boot_stack: &Range<usize>,
    free: PageRange,
    arena: &mut Arena,
) -> Result<&'static [PerCore], Fatal> {
    let own = percore::affinity();
    let mut affinities = manifest.cpus();
    let affinities = arena.slice(manifest.cpus().count(), |_, _| {
        affinities.next().ok_or(Fatal::UnknownCore(own))
    })?;
    few::sort(affinities, |one, other| {
        (*one != own, *one) < (*other != own, *other)
    });
    if affinities.first() != Some(&own) {
        return Err(Fatal::UnknownCore(own));
    }
    let free = PageRange::new(free.base(), STACK_SIZE as u64);
    let cores = arena.slice(affinities.len(), |arena, index| {
        let stack = match index {
            BOOT_CORE => boot_stack.clone(),
            SECOND_CORE => {
                let range = free.ok_or(MapError::Unaligned);
                let stack = range.and_then(|range| memory.map_stack(index, range));
                stack.map_err(|error| Fatal::Map("a stack", error))?
            }
            _ => new_stack(memory, arena, index, STACK_SIZE)?,
        };
        Ok::<_, Fatal>(PerCore::new(affinities[index], index, &stack))
    })?;
    let cores: &'static [PerCore] = cores;
    percore::adopt(&cores[BOOT_CORE]);
    Ok(cores)
}

/// A stack of `size` bytes for core `index`.
///
/// # Errors
/// [`Fatal`], without memory for it.
pub fn new_stack(
    memory: &Memory,
    arena: &mut Arena,
    index: usize,
    size: usize,
) -> Result<Range<usize>, Fatal> {
    let stack = arena.bytes(size, PAGE_SIZE as usize)?;
    let pa = Pa(entry::physical(stack.as_ptr().addr()));
    let range = PageRange::new(pa, size as u64).ok_or(MapError::Unaligned);
    range
        .and_then(|range| memory.map_stack(index, range))
        .map_err(|error| Fatal::Map("a stack", error))
}
