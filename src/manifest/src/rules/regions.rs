// SPDX-License-Identifier: MIT OR Apache-2.0
//! A partition's regions against the machine's memory, its own memory, and everybody else's regions.

use super::{Accepted, Reserved};
use crate::claims::first_clash;
use crate::dt::Field;
use crate::error::{Document, ManifestError, NodePath, Rule};
use crate::ipa;
use crate::range::{Range, covered};
use crate::region::{self, DeviceRegion, MemoryRegion, Placement, RegionAttributes};
use crate::sp::{self, SpManifest, claimed};
use crate::spmc::{MemoryKind, SpmcManifest};

const OWN_MEMORY: &str = "the partition's own memory";
const OWN_COPY: &str = "bulkhead,image-copy";
const MOVE_REGION: &str =
    "move one of them, or write load-address-relative-offset for a part of the partition's memory";
const ONE_OWNER: &str = "give the device to one partition, and none of the SPMC's own devices";

/// Who has memory already.
#[derive(Clone, Copy)]
pub(super) struct Others<'r, I> {
    pub reserved: &'r [Reserved],
    pub earlier: I,
}

impl<'a, I: Iterator<Item = Accepted<'a>> + Clone> Others<'_, I> {
    /// The name of whoever has a part of `range`.
    pub fn taken(&self, range: &Range) -> Option<&'a str> {
        if let Some(name) = self.reserved_for(range) {
            return Some(name);
        }
        let mut first = None;
        self.each_range(&mut |(name, theirs)| {
            if first.is_none() && theirs.overlaps(range) {
                first = Some(name);
            }
        });
        first
    }

    fn reserved_for(&self, range: &Range) -> Option<&'static str> {
        self.reserved
            .iter()
            .find(|(_, reserved)| reserved.overlaps(range))
            .map(|&(name, _)| name)
    }

    /// Calls back with every range of the partitions before, and whose it is.
    fn each_range(&self, each: &mut dyn FnMut((&'a str, Range))) {
        for other in self.earlier.clone() {
            let base = other.layout.memory.base;
            let memory = other.manifest.memory_regions();
            let devices = other.manifest.device_regions();
            core::iter::once(other.layout.memory)
                .chain(other.layout.image_copy)
                .chain(memory.filter_map(|region| region.range(base)))
                .chain(devices.map(|region| region.range()))
                .for_each(|range| each((other.name, range)));
        }
    }
}

/// A stream: its SMMU and its ID there.
type Stream = (Option<u32>, u32);

/// A region with its address.
#[derive(Clone, Copy)]
struct Placed<'a> {
    node: NodePath<'a>,
    field: Field,
    written: u64,
    range: Range,
    /// A part of the partition's own memory that has permissions of its own.
    own: bool,
    device: bool,
}

impl<'a> Placed<'a> {
    const fn error(&self, rule: Rule, fix: &'static str) -> ManifestError<'a> {
        ManifestError::new(Document::Partition, self.node, rule, fix)
            .property(self.field.name)
            .value(self.written)
    }

    const fn overlap(&self, other: &'a str) -> ManifestError<'a> {
        let fix = if self.device { ONE_OWNER } else { MOVE_REGION };
        self.error(Rule::RegionOverlap, fix).other(other)
    }
}

/// Addresses at which a partition sees something.
#[derive(Clone, Copy)]
struct Seen<'a> {
    node: NodePath<'a>,
    field: Field,
    range: Range,
    /// In its secure space, and in its non-secure one.
    spaces: [bool; 2],
    name: &'a str,
    /// The manifest says where.
    elsewhere: bool,
}

impl<'a> Seen<'a> {
    fn of(placed: &Placed<'a>, ipa: Option<u64>, attributes: RegionAttributes) -> Self {
        let field = ipa.map_or(placed.field, |_| ipa::ADDRESS);
        let base = ipa.unwrap_or(placed.range.base);
        Self {
            node: placed.node,
            field,
            range: Range {
                base,
                ..placed.range
            },
            spaces: [!attributes.non_secure, attributes.non_secure],
            name: placed.node.name,
            elsewhere: ipa.is_some(),
        }
    }

    fn meets(&self, other: &Self) -> bool {
        let in_one = |(ours, theirs): (bool, bool)| ours && theirs;
        self.range.overlaps(&other.range) && self.spaces.into_iter().zip(other.spaces).any(in_one)
    }

    const fn overlap(&self, other: &'a str) -> ManifestError<'a> {
        let fix = "give each of them addresses of its own";
        ManifestError::new(Document::Partition, self.node, Rule::RegionOverlap, fix)
            .property(self.field.name)
            .value(self.range.base)
            .other(other)
    }
}

/// The checks of one partition's regions.
pub(super) struct Check<'c, 'a, I> {
    pub spmc: &'c SpmcManifest<'a>,
    pub sp: &'c SpManifest<'a>,
    pub memory: Range,
    pub ipa: u64,
    pub image_copy: Option<Range>,
    pub others: Others<'c, I>,
}

impl<'a, I: Iterator<Item = Accepted<'a>> + Clone> Check<'_, 'a, I> {
    /// All checks of all regions: P6 to P8, P11, P17.
    pub fn run(&self) -> Result<(), ManifestError<'a>> {
        for region in self.sp.memory_regions() {
            self.memory_region(&region)?;
            self.streams(region.node, region.smmu_id, region.stream_ids())?;
        }
        for region in self.sp.device_regions() {
            self.device_region(&region)?;
            self.streams(region.node, region.smmu_id, region.stream_ids())?;
        }
        self.no_overlaps()?;
        self.no_address_twice()?;
        self.no_shared_claims()
    }

    fn memory_region(&self, region: &MemoryRegion<'a>) -> Result<(), ManifestError<'a>> {
        if matches!(region.base, Placement::Dynamic) {
            return Ok(());
        }
        let placed = self.place(region).ok_or_else(|| {
            let (field, value) = region.placed();
            ManifestError::new(
                Document::Partition,
                region.node,
                Rule::Overflow,
                "write an offset that stays within the address space",
            )
            .property(field.name)
            .value(value)
        })?;
        if let Some(ipa) = region.ipa.filter(|_| placed.own) {
            return Err(ManifestError::new(
                Document::Partition,
                region.node,
                Rule::BadLayout,
                ipa::ADDRESS.fix,
            )
            .property(ipa::ADDRESS.name)
            .value(ipa));
        }
        if !placed.own && self.memory.overlaps(&placed.range) {
            return Err(placed.overlap(OWN_MEMORY));
        }
        let kind = if region.attributes.non_secure {
            MemoryKind::NonSecure
        } else {
            MemoryKind::Secure
        };
        if !self.within(&placed.range, kind) {
            return Err(placed.error(
                Rule::OutsideAllowedMemory,
                "write a region within the memory (or for attributes with 8, ns-memory) nodes of \
                 the SPMC manifest",
            ));
        }
        self.not_reserved(&placed)
    }

    fn device_region(&self, region: &DeviceRegion<'a>) -> Result<(), ManifestError<'a>> {
        let placed = place_device(region);
        let kind = if region.attributes.non_secure {
            MemoryKind::NonSecureDevice
        } else {
            MemoryKind::SecureDevice
        };
        if !self.within(&placed.range, kind) {
            return Err(placed.error(
                Rule::OutsideAllowedMemory,
                "write a region within the device-memory (or for attributes with 8, \
                 ns-device-memory) nodes of the SPMC manifest",
            ));
        }
        if self.memory.overlaps(&placed.range) {
            return Err(placed
                .error(Rule::RegionOverlap, MOVE_REGION)
                .other(OWN_MEMORY));
        }
        self.not_reserved(&placed)
    }

    fn not_reserved(&self, placed: &Placed<'a>) -> Result<(), ManifestError<'a>> {
        if let Some(other) = self.others.reserved_for(&placed.range) {
            return Err(placed.overlap(other));
        }
        match self.image_copy {
            Some(copy) if copy.overlaps(&placed.range) => Err(placed.overlap(OWN_COPY)),
            _ => Ok(()),
        }
    }

    /// `None` where the SPMC places it, or where it would leave the address space.
    fn place(&self, region: &MemoryRegion<'a>) -> Option<Placed<'a>> {
        let (field, written) = region.placed();
        let range = region.range(self.memory.base)?;
        let relative = matches!(region.base, Placement::LoadRelative(_));
        Some(Placed {
            node: region.node,
            field,
            written,
            range,
            own: relative && self.memory.contains(&range),
            device: false,
        })
    }

    /// Regions against those of the partition that are placed in another way, and against the partitions
    /// before (P7).
    fn no_overlaps(&self) -> Result<(), ManifestError<'a>> {
        let memory = || {
            self.sp
                .memory_regions()
                .enumerate()
                .filter_map(|(index, region)| Some((index, self.place(&region)?)))
        };
        let devices = || self.sp.device_regions().map(|region| place_device(&region));
        let clash = first_clash(
            memory(),
            |each| memory().for_each(each),
            |(index, ours), (earlier, theirs)| {
                earlier < index && ours.range.overlaps(&theirs.range)
            },
        );
        if let Some(((_, ours), (_, theirs))) = clash {
            return Err(ours.overlap(theirs.node.name));
        }
        let clash = first_clash(
            memory(),
            |each| devices().for_each(each),
            |(_, ours), theirs| ours.range.overlaps(&theirs.range),
        );
        if let Some(((_, ours), theirs)) = clash {
            return Err(ours.overlap(theirs.node.name));
        }
        let all = memory().map(|(_, placed)| placed).chain(devices());
        let clash = first_clash(
            all.filter(|placed| !placed.own),
            |each| self.others.each_range(each),
            |ours, (_, theirs)| ours.range.overlaps(theirs),
        );
        match clash {
            Some((ours, (name, _))) => Err(ours.overlap(name)),
            None => Ok(()),
        }
    }

    /// What the partition sees: each address once in each of its two spaces. Where it sees everything
    /// where it is, that has been looked at already.
    fn no_address_twice(&self) -> Result<(), ManifestError<'a>> {
        let mut elsewhere = false;
        self.each_seen(&mut |seen| elsewhere |= seen.elsewhere);
        if !elsewhere {
            return Ok(());
        }
        let mut clash = None;
        let mut index = 0_usize;
        self.each_seen(&mut |ours| {
            let mut earlier = 0;
            self.each_seen(&mut |theirs| {
                if clash.is_none() && earlier < index && ours.meets(&theirs) {
                    clash = Some(ours.overlap(theirs.name));
                }
                earlier = earlier.saturating_add(1);
            });
            index = index.saturating_add(1);
        });
        clash.map_or(Ok(()), Err)
    }

    /// Calls back with all that the partition sees.
    fn each_seen(&self, each: &mut dyn FnMut(Seen<'a>)) {
        let whole = |field, range, spaces, name| Seen {
            node: NodePath::ROOT,
            field,
            range,
            spaces,
            name,
            elsewhere: range != self.memory,
        };
        let own = Range {
            base: self.ipa,
            ..self.memory
        };
        each(whole(ipa::BASE, own, [true, false], OWN_MEMORY));
        for region in self.sp.memory_regions() {
            if let Some(placed) = self.place(&region).filter(|placed| !placed.own) {
                each(Seen::of(&placed, region.ipa, region.attributes));
            }
        }
        for region in self.sp.device_regions() {
            each(Seen::of(
                &place_device(&region),
                region.ipa,
                region.attributes,
            ));
        }
        if let Some(gic) = self.sp.interrupt_controller {
            for (field, range) in [
                (sp::DISTRIBUTOR, gic.distributor),
                (sp::CPU_INTERFACE, gic.cpu_interface),
            ] {
                each(whole(field, range, [true, false], field.name));
            }
        }
        if let Some(range) = self.sp.retrieved_memory {
            each(whole(
                ipa::RETRIEVED_BASE,
                range,
                [true, true],
                ipa::RETRIEVED,
            ));
        }
    }

    /// Whether a range is memory or devices of a kind (P8). Secure memory that a manifest lists as part
    /// of another kind, too, stays secure. A kind that the manifest leaves out, as those in the field
    /// do, is whatever it gives to no other kind.
    fn within(&self, range: &Range, kind: MemoryKind) -> bool {
        let listed_as = |other| self.spmc.memory(other).any(|memory| memory.overlaps(range));
        if kind == MemoryKind::Secure {
            return covered(range, self.spmc.memory(kind));
        }
        if self.spmc.memory(kind).next().is_none() {
            return !MemoryKind::ALL.into_iter().any(listed_as);
        }
        covered(range, self.spmc.memory(kind)) && !listed_as(MemoryKind::Secure)
    }

    /// Streams against the SMMU that they name, where the SPMC manifest describes SMMUs (P17).
    fn streams(
        &self,
        node: NodePath<'a>,
        smmu_id: Option<u32>,
        mut streams: impl Iterator<Item = u32>,
    ) -> Result<(), ManifestError<'a>> {
        let Some(id) = smmu_id else {
            return Ok(());
        };
        if self.spmc.smmus().next().is_none() {
            return Ok(());
        }
        let error = |field: Field, value: u32, fix| {
            ManifestError::new(Document::Partition, node, Rule::DmaPolicy, fix)
                .property(field.name)
                .value(u64::from(value))
        };
        let position = usize::try_from(id).unwrap_or(usize::MAX);
        let smmu = self.spmc.smmus().nth(position).ok_or_else(|| {
            error(
                region::SMMU_ID,
                id,
                "write the position of one of the SPMC manifest's SMMU nodes, from 0",
            )
        })?;
        match streams.find(|&stream| !smmu.has_stream(stream)) {
            Some(stream) => Err(error(
                region::STREAM_IDS,
                stream,
                "write stream IDs that fit the SMMU's bulkhead,sid-size",
            )),
            None => Ok(()),
        }
    }

    /// Interrupts and streams belong to one device of the system (P11).
    fn no_shared_claims(&self) -> Result<(), ManifestError<'a>> {
        let theirs = |each: &mut dyn FnMut(&'a str, &DeviceRegion<'a>)| {
            for other in self.others.earlier.clone() {
                other
                    .manifest
                    .device_regions()
                    .for_each(|device| each(other.name, &device));
            }
        };
        let interrupts = self
            .sp
            .device_regions()
            .flat_map(|device| device.interrupt_ids().map(move |id| (device.node, id)));
        let their_interrupts = |each: &mut dyn FnMut((&'a str, u32))| {
            theirs(&mut |name, device| device.interrupt_ids().for_each(|id| each((name, id))));
        };
        let clash = first_clash(interrupts, their_interrupts, |(_, ours), (_, theirs)| {
            ours == theirs
        });
        if let Some(((node, id), (name, _))) = clash {
            return Err(claimed(
                region::INTERRUPTS,
                Rule::DuplicateInterrupt,
                node,
                id,
                name,
            ));
        }
        let streams = self.sp.device_regions().flat_map(|device| {
            device
                .stream_ids()
                .map(move |id| (device.node, (device.smmu_id, id)))
        });
        let their_streams = |each: &mut dyn FnMut((&'a str, Stream))| {
            theirs(&mut |name, device| {
                device
                    .stream_ids()
                    .for_each(|id| each((name, (device.smmu_id, id))));
            });
        };
        let clash = first_clash(streams, their_streams, |(_, ours), (_, theirs)| {
            ours == theirs
        });
        match clash {
            Some(((node, (_, id)), (name, _))) => Err(claimed(
                region::STREAM_IDS,
                Rule::DuplicateStream,
                node,
                id,
                name,
            )),
            None => Ok(()),
        }
    }
}

fn place_device<'a>(region: &DeviceRegion<'a>) -> Placed<'a> {
    Placed {
        node: region.node,
        field: region::BASE_ADDRESS,
        written: region.base,
        range: region.range(),
        own: false,
        device: true,
    }
}
