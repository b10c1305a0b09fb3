// SPDX-License-Identifier: MIT OR Apache-2.0
//! Isolation facts: what every table maps, in text, on the request of the SPMC manifest
//! (`bulkhead,show-map`). The lines come from a walk of the tables in use, not from what made them;
//! `scripts/map-check` reads them.
//!
//! ```text
//! map: WHO SPACE FIRST..END -> SPACE PHYSICAL TYPE PERMISSIONS OWNER
//! ```

use core::fmt;
use core::ops::Range;

use bulkhead_arch::layout::{
    self, BOOT_STACK_SIZE, DEVICES, MAILBOXES, STACK_LIMIT, STACKS, WINDOWS,
};
use bulkhead_core::{Partition, Region, RegionKind};
use bulkhead_mm::attrs::{MemoryType, Permissions, Space};
use bulkhead_spmc::machine::{Machine, Shared};

/// A part of S-EL2's addresses.
const WINDOWS_END: usize = MAILBOXES;
const _: () = assert!(BOOT_STACK_SIZE <= STACK_LIMIT);

/// What a piece of a map is for.
#[derive(Clone, Copy)]
enum Owner<'a> {
    /// A part of S-EL2's own map.
    Area(&'static str),
    /// The stack of a core.
    Stack(usize),
    /// A region of a partition.
    Region(&'a Region),
    /// Nothing that anybody knows of.
    Nobody,
}

impl fmt::Display for Owner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Area(name) => f.write_str(name),
            Self::Stack(core) => write!(f, "stack of core {core}"),
            Self::Region(region) => region.fmt(f),
            Self::Nobody => f.write_str("nobody"),
        }
    }
}

/// A line of the map.
struct Piece<'a> {
    who: &'a dyn fmt::Display,
    space: Space,
    addresses: Range<u64>,
    output: Space,
    physical: u64,
    memory: MemoryType,
    permissions: Permissions,
    owner: Owner<'a>,
}

impl fmt::Display for Piece<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { start, end } = self.addresses;
        let memory = match self.memory {
            MemoryType::Normal => "normal",
            MemoryType::Device => "device",
        };
        write!(
            f,
            "map: {} {} {start:#x}..{end:#x} -> {} {:#x} {memory} {} {}",
            self.who,
            name(self.space),
            name(self.output),
            self.physical,
            self.permissions,
            self.owner,
        )
    }
}

fn name(space: Space) -> &'static str {
    match space {
        Space::Secure => "secure",
        Space::NonSecure => "non-secure",
    }
}

/// Prints the map of S-EL2 and of every partition.
pub fn show(shared: &Shared, partitions: &[Partition<Machine>]) {
    own(shared);
    for (partition, space) in partitions.iter().zip(shared.spaces) {
        let config = &partition.config;
        space.walk(&shared.memory, |space, mapping| {
            let end = mapping.start + mapping.bytes;
            let mut start = mapping.start;
            while start < end {
                let (owner, until) = region_at(config.regions, space, start, end);
                log::info!(
                    "{}",
                    Piece {
                        who: &config.name,
                        space,
                        addresses: start..until,
                        output: space,
                        physical: mapping.pa.0 + (start - mapping.start),
                        memory: mapping.attributes.memory,
                        permissions: mapping.attributes.permissions,
                        owner,
                    }
                );
                start = until;
            }
        });
    }
}

/// The region that `start` is in, and where it ends, or the next one begins, below `end`.
fn region_at(regions: &[Region], space: Space, start: u64, end: u64) -> (Owner<'_>, u64) {
    let named = regions
        .iter()
        .filter(|region| region.kind != RegionKind::Own);
    let next = named
        .clone()
        .filter(|region| region.space == space)
        .map(|region| region.range.base().0)
        .filter(|base| *base > start)
        .fold(end, u64::min);
    let holds = |region: &&Region| region.contains(space, start);
    match named
        .clone()
        .find(holds)
        .or_else(|| regions.iter().find(holds))
    {
        Some(region) => (Owner::Region(region), region.range.end().0.min(next)),
        None => (Owner::Nobody, next),
    }
}

fn own(shared: &Shared) {
    shared.memory.walk(|mapping| {
        let end = mapping.start + mapping.bytes;
        let mut start = mapping.start;
        while start < end {
            let (owner, until) = area_at(start as usize);
            let until = (until as u64).min(end);
            log::info!(
                "{}",
                Piece {
                    who: &"S-EL2",
                    space: Space::Secure,
                    addresses: start..until,
                    output: mapping.attributes.space,
                    physical: mapping.pa.0 + (start - mapping.start),
                    memory: mapping.attributes.memory,
                    permissions: mapping.attributes.permissions,
                    owner,
                }
            );
            start = until;
        }
    });
}

/// The part of S-EL2's addresses that `address` is in, and where it ends.
fn area_at(address: usize) -> (Owner<'static>, usize) {
    let image = [
        ("text", layout::text()),
        ("constants", layout::rodata()),
        ("data", layout::data()),
        ("stack before the map", layout::early_stack()),
        ("tables and arena", layout::image().end..DEVICES),
        ("devices", DEVICES..STACKS),
        ("window", WINDOWS..WINDOWS_END),
        ("mailbox", MAILBOXES..usize::MAX),
    ];
    if (STACKS..WINDOWS).contains(&address) {
        let core = (address - STACKS) / (2 * STACK_LIMIT);
        return (Owner::Stack(core), layout::stack(core + 1));
    }
    match image
        .into_iter()
        .find(|(_, range)| range.contains(&address))
    {
        Some((name, range)) => (Owner::Area(name), range.end),
        None => (Owner::Nobody, address + layout::PAGE_SIZE),
    }
}
