// SPDX-License-Identifier: MIT OR Apache-2.0
//! The cores: who they are, and their stacks.

use core::ops::Range;

use bulkhead_arch::layout::STACK_SIZE;
use bulkhead_arch::percore::{self, PerCore};
use bulkhead_core::few;
use bulkhead_manifest::SpmcManifest;
use bulkhead_mm::addr::PAGE_SIZE;
use bulkhead_spmc::arena::Arena;
use bulkhead_spmc::memory::Memory;
use bulkhead_spmc::run::BOOT_CORE;

use crate::fatal::Fatal;

/// A stack for each core, found by MPIDR. The boot core is the first one, the others follow by MPIDR,
/// in whichever order the manifest has them (COMPATIBILITY.md).
///
/// # Errors
/// [`Fatal`], without memory for them or for a boot core that the manifest does not have.
pub fn set_up(
    memory: &Memory,
    manifest: &SpmcManifest<'static>,
    boot_stack: &Range<usize>,
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
    let cores = arena.slice(affinities.len(), |arena, index| {
        let stack = match index {
            BOOT_CORE => boot_stack.clone(),
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
    memory
        .map_stack(index, stack)
        .map_err(|error| Fatal::Map("a stack", error))
}
