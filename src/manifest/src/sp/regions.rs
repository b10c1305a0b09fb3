// SPDX-License-Identifier: MIT OR Apache-2.0
//! The regions of one partition's manifest, each by itself and against each other (P7, P11, P17).

use super::{DEVICE_REGIONS, MEMORY_REGIONS, SpManifest};
use crate::claims::first_clash;
use crate::dt::Field;
use crate::error::{Document, ManifestError, NodePath, Rule};
use crate::region::{self, DeviceRegion, MemoryRegion, Placement};

const APART: &str = "move one of them, or make it smaller";

impl<'a> SpManifest<'a> {
    /// Reads every region once, and checks those of the manifest against each other (P7, P11, P17).
    pub(super) fn check_regions(&self) -> Result<(), ManifestError<'a>> {
        const MEMORY_FIX: &str =
            "write memory-regions { compatible = \"arm,ffa-manifest-memory-regions\"; ... };";
        const DEVICE_FIX: &str =
            "write device-regions { compatible = \"arm,ffa-manifest-device-regions\"; ... };";
        for (name, compatible, fix) in [
            (
                MEMORY_REGIONS,
                "arm,ffa-manifest-memory-regions",
                MEMORY_FIX,
            ),
            (
                DEVICE_REGIONS,
                "arm,ffa-manifest-device-regions",
                DEVICE_FIX,
            ),
        ] {
            let Some(node) = self.tree.child(name) else {
                continue;
            };
            node.require_compatible(compatible, fix)?;
            if node.children().next().is_none() {
                return Err(
                    node.error(Rule::RegionEmpty, "write a region into it, or leave it out")
                );
            }
        }
        let rules = self.region_rules();
        for node in self.nodes_in(MEMORY_REGIONS) {
            MemoryRegion::read(node, rules)?.check(node)?;
        }
        for node in self.nodes_in(DEVICE_REGIONS) {
            DeviceRegion::read(node, rules)?.check(node)?;
        }
        self.check_overlaps()?;
        self.check_device_claims()?;
        self.check_memory_streams()
    }

    /// No two regions share a page, as far as the manifest alone can tell (P7).
    fn check_overlaps(&self) -> Result<(), ManifestError<'a>> {
        let memory = || self.memory_regions().enumerate();
        let devices = || self.device_regions().enumerate();
        let clash = first_clash(
            memory(),
            |each| memory().for_each(each),
            |(index, region), (earlier, other)| earlier < index && same_base_overlap(region, other),
        );
        if let Some(((_, region), (_, other))) = clash {
            return Err(overlap(&region, other.node));
        }
        let at = |(index, device): (usize, DeviceRegion<'a>)| (index, device.range(), device.node);
        let error = |base: u64, node: NodePath<'a>, other: NodePath<'a>| {
            let field = region::BASE_ADDRESS;
            Err(
                ManifestError::new(Document::Partition, node, Rule::RegionOverlap, APART)
                    .property(field.name)
                    .value(base)
                    .other(other.name),
            )
        };
        let clash = first_clash(
            devices().map(at),
            |each| memory().for_each(each),
            |(_, range, _), (_, memory)| {
                matches!(memory.base, Placement::Absolute(_))
                    && memory.range(0).is_some_and(|memory| memory.overlaps(range))
            },
        );
        if let Some(((_, range, node), (_, memory))) = clash {
            return error(range.base, node, memory.node);
        }
        let clash = first_clash(
            devices().map(at),
            |each| devices().map(at).for_each(each),
            |(index, range, _), (earlier, other, _)| earlier < index && other.overlaps(range),
        );
        match clash {
            Some(((_, range, node), (_, _, other))) => error(range.base, node, other),
            None => Ok(()),
        }
    }

    /// Interrupts and streams belong to one device (P11).
    fn check_device_claims(&self) -> Result<(), ManifestError<'a>> {
        let interrupts = || {
            self.device_regions()
                .enumerate()
                .flat_map(|(index, device)| {
                    device
                        .interrupt_ids()
                        .map(move |id| (index, id, device.node))
                })
        };
        let clash = first_clash(
            interrupts(),
            |each| interrupts().for_each(each),
            |(index, id, _), (earlier, other, _)| earlier < index && other == id,
        );
        if let Some(((_, id, node), (_, _, other))) = clash {
            return Err(claimed(
                region::INTERRUPTS,
                Rule::DuplicateInterrupt,
                node,
                id,
                other.name,
            ));
        }
        let streams = || {
            self.device_regions()
                .enumerate()
                .flat_map(|(index, device)| {
                    device
                        .stream_ids()
                        .map(move |id| (index, (device.smmu_id, id), device.node))
                })
        };
        let clash = first_clash(
            streams(),
            |each| streams().for_each(each),
            |(index, stream, _), (earlier, other, _)| earlier < index && other == stream,
        );
        match clash {
            Some(((_, (_, id), node), (_, _, other))) => Err(claimed(
                region::STREAM_IDS,
                Rule::DuplicateStream,
                node,
                id,
                other.name,
            )),
            None => Ok(()),
        }
    }

    /// Each stream of a memory region belongs to a device of the partition (P17).
    fn check_memory_streams(&self) -> Result<(), ManifestError<'a>> {
        for node in self.nodes_in(MEMORY_REGIONS) {
            let memory = MemoryRegion::read(node, self.region_rules())?;
            for stream in memory.stream_ids() {
                let declared = self
                    .nodes_in(DEVICE_REGIONS)
                    .any(|device| region::device_has_stream(device, memory.smmu_id, stream));
                if !declared {
                    return Err(node
                        .field_error(region::STREAM_IDS, Rule::DmaPolicy)
                        .value(u64::from(stream)));
                }
            }
        }
        Ok(())
    }
}

/// The error for an interrupt or a stream of `node` that `other` has, too.
pub(crate) fn claimed<'a>(
    field: Field,
    rule: Rule,
    node: NodePath<'a>,
    id: u32,
    other: &'a str,
) -> ManifestError<'a> {
    ManifestError::new(Document::Partition, node, rule, field.fix)
        .property(field.name)
        .value(u64::from(id))
        .other(other)
}

/// The error for a memory region that shares a page with the region at `other`.
fn overlap<'a>(region: &MemoryRegion<'a>, other: NodePath<'a>) -> ManifestError<'a> {
    let (field, value) = region.placed();
    ManifestError::new(Document::Partition, region.node, Rule::RegionOverlap, APART)
        .property(field.name)
        .value(value)
        .other(other.name)
}

/// Whether two regions that are placed the same way overlap; [`crate::rules`] compares the others,
/// which takes the load address.
fn same_base_overlap(one: &MemoryRegion<'_>, other: &MemoryRegion<'_>) -> bool {
    use Placement::{Absolute, LoadRelative};
    match (one.base, other.base) {
        (Absolute(_), Absolute(_)) | (LoadRelative(_), LoadRelative(_)) => {
            match (one.range(0), other.range(0)) {
                (Some(one), Some(other)) => one.overlaps(&other),
                _ => false,
            }
        }
        _ => false,
    }
}
