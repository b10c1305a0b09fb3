// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory and device regions of a partition's manifest (B-24, B-25).

use crate::dt::{CellList, Field, Node};
use crate::error::{ManifestError, NodePath, Rule};
use crate::ipa;
use crate::policy::XlatGranule;
use crate::range::Range;

pub(crate) const BASE_ADDRESS: Field = Field::new(
    "base-address",
    "write base-address = <PA>; with a page-aligned address",
);
pub(crate) const RELATIVE_OFFSET: Field = Field::new(
    "load-address-relative-offset",
    "write either base-address or load-address-relative-offset, page-aligned",
);
pub(crate) const PAGES_COUNT: Field = Field::new(
    "pages-count",
    "write pages-count = <N>; with the number of pages, at least 1",
);
pub(crate) const ATTRIBUTES: Field = Field::new(
    "attributes",
    "write attributes = <1> (read), <3> (read and write) or <5> (read and execute), plus 8 for \
     non-secure memory, which is never executable",
);
const DEVICE_ATTRIBUTES: Field = Field::new(
    "attributes",
    "write attributes = <1> (read) or <3> (read and write), plus 8 for a non-secure device",
);
const DESCRIPTION: Field = Field::new("description", "write description = \"NAME\";");
const PHANDLE: Field = Field::new("phandle", "label the node and let dtc write its phandle");
pub(crate) const SMMU_ID: Field = Field::new(
    "smmu-id",
    "write smmu-id = <N>; for the SMMU that the stream IDs belong to",
);
pub(crate) const STREAM_IDS: Field = Field::new(
    "stream-ids",
    "write stream-ids = <ID ...>; each ID once, in one device region and with its smmu-id",
);
const STREAM_PERMISSIONS: Field = Field::new(
    "stream-ids-access-permissions",
    "write one equal permission for each of stream-ids, none that attributes lacks",
);
pub(crate) const INTERRUPTS: Field = Field::new(
    "interrupts",
    "write interrupts = <INTID ATTRIBUTES ...>; each INTID once in the system",
);
const INTERRUPTS_TARGET: Field = Field::new(
    "interrupts-target",
    "write interrupts-target = <INTID MPIDR-HIGH MPIDR-LOW ...>; for INTIDs of interrupts",
);
const EXCLUSIVE_ACCESS: Field = Field::new("exclusive-access", "write exclusive-access;");

/// Where a memory region lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// At this address.
    Absolute(u64),
    /// At this offset from the partition's load address.
    LoadRelative(u64),
    /// Where the SPMC chooses.
    Dynamic,
}

/// Access permissions and security state of a region.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RegionAttributes {
    /// Bit 0.
    pub read: bool,
    /// Bit 1.
    pub write: bool,
    /// Bit 2.
    pub execute: bool,
    /// Bit 3: the region is non-secure.
    pub non_secure: bool,
}

impl RegionAttributes {
    /// The attributes, or `None` where another bit is set (P10).
    pub const fn from_bits(bits: u32) -> Option<Self> {
        if bits & !0xf != 0 {
            return None;
        }
        Some(Self {
            read: bits & 1 != 0,
            write: bits & 2 != 0,
            execute: bits & 4 != 0,
            non_secure: bits & 8 != 0,
        })
    }

    /// Whether memory may have them: readable, and executable only if secure. Writable and executable
    /// at once is left to S-EL1 partitions, which have a stage 1 of their own (B-24).
    const fn fit_memory(self, write_execute_allowed: bool) -> bool {
        self.read
            && !(self.execute && self.non_secure)
            && !(self.execute && self.write && !write_execute_allowed)
    }

    /// Whether a device may have them.
    const fn fit_device(self) -> bool {
        self.read && !self.execute
    }

    /// Whether `other` asks for nothing that these lack.
    const fn permit(self, other: Self) -> bool {
        (self.read || !other.read)
            && (self.write || !other.write)
            && (self.execute || !other.execute)
    }
}

/// How the rules for one manifest differ by its granule and level.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub granule: XlatGranule,
    pub write_execute_allowed: bool,
}

/// A memory region of a partition.
#[derive(Clone, Copy, Debug)]
pub struct MemoryRegion<'a> {
    /// Its node.
    pub node: NodePath<'a>,
    /// `description`, or the node's name.
    pub name: &'a str,
    /// Where it lies.
    pub base: Placement,
    /// Its size in pages of the partition's granule.
    pub pages: u64,
    /// Its size in bytes.
    pub size: u64,
    /// `bulkhead,ipa-address`: where the partition sees it, if not at its own address.
    pub ipa: Option<u64>,
    /// How the partition may access it.
    pub attributes: RegionAttributes,
    /// The SMMU of `stream_ids`.
    pub smmu_id: Option<u32>,
    /// The permissions of the device behind `stream_ids`.
    pub stream_permissions: Option<RegionAttributes>,
    phandle: Option<u32>,
    streams: CellList<'a>,
}

impl<'a> MemoryRegion<'a> {
    pub(crate) fn read(node: Node<'_, 'a>, rules: Rules) -> Result<Self, ManifestError<'a>> {
        let base = match (node.integer(BASE_ADDRESS)?, node.integer(RELATIVE_OFFSET)?) {
            (Some(_), Some(offset)) => {
                return Err(node
                    .field_error(RELATIVE_OFFSET, Rule::BadLayout)
                    .value(offset));
            }
            (Some(base), None) => Placement::Absolute(base),
            (None, Some(offset)) => Placement::LoadRelative(offset),
            (None, None) => Placement::Dynamic,
        };
        let (start, field) = match base {
            Placement::Absolute(base) => (base, BASE_ADDRESS),
            Placement::LoadRelative(offset) => (offset, RELATIVE_OFFSET),
            Placement::Dynamic => (0, BASE_ADDRESS),
        };
        let (pages, size) = extent(node, start, field, rules.granule)?;
        let attributes = attributes(node, ATTRIBUTES, |attributes| {
            attributes.fit_memory(rules.write_execute_allowed)
        })?;
        let (smmu_id, streams) = streams(node)?;
        Ok(Self {
            node: node.path(),
            name: node.string(DESCRIPTION)?.unwrap_or(node.name()),
            base,
            pages,
            size,
            ipa: ipa::address(node, ipa::ADDRESS, size)?,
            attributes,
            smmu_id,
            stream_permissions: stream_permissions(node, attributes, streams)?,
            phandle: node.u32(PHANDLE)?,
            streams,
        })
    }

    /// What costs the square of a list's length, and is checked once: a stream twice (P11).
    pub(crate) fn check(&self, node: Node<'_, 'a>) -> Result<(), ManifestError<'a>> {
        check_streams(node, self.streams)
    }

    /// The address range for a partition loaded at `load_address`; `None` if the SPMC places it, or if
    /// it would leave the address space.
    pub fn range(&self, load_address: u64) -> Option<Range> {
        match self.base {
            Placement::Absolute(base) => Range::new(base, self.size),
            Placement::LoadRelative(offset) => {
                Range::new(load_address.checked_add(offset)?, self.size)
            }
            Placement::Dynamic => None,
        }
    }

    /// The streams of a device that may access it.
    pub fn stream_ids(&self) -> impl Iterator<Item = u32> + Clone + use<'a> {
        self.streams.cells()
    }

    /// The property that places it, and its value; `base-address` and 0 where the SPMC does.
    pub(crate) const fn placed(&self) -> (Field, u64) {
        match self.base {
            Placement::Absolute(base) => (BASE_ADDRESS, base),
            Placement::LoadRelative(offset) => (RELATIVE_OFFSET, offset),
            Placement::Dynamic => (BASE_ADDRESS, 0),
        }
    }

    pub(crate) const fn phandle(&self) -> Option<u32> {
        self.phandle
    }
}

/// A device region of a partition.
#[derive(Clone, Copy, Debug)]
pub struct DeviceRegion<'a> {
    /// Its node.
    pub node: NodePath<'a>,
    /// `description`, or the node's name.
    pub name: &'a str,
    /// Its address.
    pub base: u64,
    /// Its size in pages of the partition's granule.
    pub pages: u64,
    /// Its size in bytes.
    pub size: u64,
    /// `bulkhead,ipa-address`: where the partition sees it, if not at its own address.
    pub ipa: Option<u64>,
    /// How the partition may access it.
    pub attributes: RegionAttributes,
    /// The partition insists on being its only user.
    pub exclusive: bool,
    /// The SMMU that the device is upstream of, if any.
    pub smmu_id: Option<u32>,
    streams: CellList<'a>,
    interrupts: CellList<'a>,
    targets: CellList<'a>,
}

impl<'a> DeviceRegion<'a> {
    pub(crate) fn read(node: Node<'_, 'a>, rules: Rules) -> Result<Self, ManifestError<'a>> {
        let base = node.require_integer(BASE_ADDRESS)?;
        let (pages, size) = extent(node, base, BASE_ADDRESS, rules.granule)?;
        let attributes = attributes(node, DEVICE_ATTRIBUTES, RegionAttributes::fit_device)?;
        let (smmu_id, streams) = streams(node)?;
        Ok(Self {
            node: node.path(),
            name: node.string(DESCRIPTION)?.unwrap_or(node.name()),
            base,
            pages,
            size,
            ipa: ipa::address(node, ipa::ADDRESS, size)?,
            attributes,
            exclusive: node.flag(EXCLUSIVE_ACCESS)?,
            smmu_id,
            streams,
            interrupts: node.cell_list(INTERRUPTS, 2)?.unwrap_or_default(),
            targets: node.cell_list(INTERRUPTS_TARGET, 3)?.unwrap_or_default(),
        })
    }

    /// What costs the square of a list's length, and is checked once: interrupts and streams that no
    /// device has, or this one twice (P11).
    pub(crate) fn check(&self, node: Node<'_, 'a>) -> Result<(), ManifestError<'a>> {
        check_streams(node, self.streams)?;
        for (index, [id, bits]) in self.interrupts.tuples().enumerate() {
            let error = |rule| Err(node.field_error(INTERRUPTS, rule).value(u64::from(id)));
            if !is_device_interrupt(id) {
                return error(Rule::ReservedInterrupt);
            }
            if let Some(owner) = owner(id) {
                return Err(node
                    .field_error(INTERRUPTS, Rule::ReservedInterrupt)
                    .value(u64::from(id))
                    .other(owner));
            }
            if bits & !0xfff != 0 || bits & 0xc00 == 0xc00 {
                return Err(node
                    .field_error(INTERRUPTS, Rule::UnknownValue)
                    .value(u64::from(bits)));
            }
            if self
                .interrupt_ids()
                .take(index)
                .any(|earlier| earlier == id)
            {
                return error(Rule::DuplicateInterrupt);
            }
        }
        for [id, ..] in self.targets.tuples::<3>() {
            if !self.has_interrupt(id) {
                return Err(node
                    .field_error(INTERRUPTS_TARGET, Rule::ReservedInterrupt)
                    .value(u64::from(id)));
            }
        }
        Ok(())
    }

    /// The address range.
    pub fn range(&self) -> Range {
        // Checked when the region was read.
        Range {
            base: self.base,
            size: self.size,
        }
    }

    /// The INTIDs of [`DeviceRegion::interrupts`].
    pub fn interrupt_ids(&self) -> impl Iterator<Item = u32> + Clone + use<'a> {
        self.interrupts.tuples().map(|[id, _]| id)
    }

    /// Whether an INTID is one of the device's.
    pub fn has_interrupt(&self, id: u32) -> bool {
        self.interrupt_ids().any(|ours| ours == id)
    }

    /// The interrupts of the device.
    pub fn interrupts(&self) -> impl Iterator<Item = DeviceInterrupt> + Clone + use<'a> {
        let targets = self.targets;
        self.interrupts
            .tuples::<2>()
            .map(move |[id, bits]| DeviceInterrupt {
                id,
                bits,
                target: targets
                    .tuples::<3>()
                    .filter(|&[target, ..]| target == id)
                    .last()
                    .map(|[_, high, low]| (u64::from(high) << 32) | u64::from(low)),
            })
    }

    /// The device's stream IDs.
    pub fn stream_ids(&self) -> impl Iterator<Item = u32> + Clone + use<'a> {
        self.streams.cells()
    }
}

/// How an interrupt is signalled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InterruptTrigger {
    /// Bit 9 clear.
    Edge,
    /// Bit 9 set.
    Level,
}

/// The type field of an interrupt's attributes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InterruptType {
    /// 0b00.
    Sgi,
    /// 0b01.
    Ppi,
    /// 0b10.
    Spi,
}

/// An interrupt of a device region.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeviceInterrupt {
    /// The INTID.
    pub id: u32,
    /// The attributes as the manifest has them.
    pub bits: u32,
    /// The MPIDR that it is routed to, if the manifest names one.
    pub target: Option<u64>,
}

impl DeviceInterrupt {
    /// Bits 7:0.
    pub const fn priority(&self) -> u8 {
        let [priority, ..] = self.bits.to_le_bytes();
        priority
    }

    /// Bit 8.
    pub const fn is_secure(&self) -> bool {
        self.bits & (1 << 8) != 0
    }

    /// Bit 9.
    pub const fn trigger(&self) -> InterruptTrigger {
        if self.bits & (1 << 9) == 0 {
            InterruptTrigger::Edge
        } else {
            InterruptTrigger::Level
        }
    }

    /// Bits 11:10.
    pub const fn kind(&self) -> InterruptType {
        match (self.bits >> 10) & 3 {
            0 => InterruptType::Sgi,
            1 => InterruptType::Ppi,
            _ => InterruptType::Spi,
        }
    }
}

/// Whether an INTID can be a device's: not one of the special ones, no LPI, no gap of GICv3.1.
const fn is_device_interrupt(id: u32) -> bool {
    matches!(id, 0..=1019 | 1056..=1119 | 4096..=5119)
}

/// Whose the interrupts are that no device of a partition may have (DECISIONS 25). What EL3 keeps in Group 0 the
/// machine shows.
const fn owner(id: u32) -> Option<&'static str> {
    Some(match id {
        0..=15 => "an SGI",
        19 => "CNTHVS, a timer of S-EL2",
        20 => "CNTHPS, a timer of S-EL2",
        25 => "the normal world's virtual GIC maintenance",
        26 => "the normal world's timer CNTHP",
        27 => "the normal world's timer CNTV",
        28 => "the normal world's timer CNTHV",
        30 => "the normal world's timer CNTP",
        _ => return None,
    })
}

/// Pages and bytes of a region that starts at `start`.
fn extent<'a>(
    node: Node<'_, 'a>,
    start: u64,
    field: Field,
    granule: XlatGranule,
) -> Result<(u64, u64), ManifestError<'a>> {
    if !start.is_multiple_of(granule.bytes()) {
        return Err(node.field_error(field, Rule::RegionUnaligned).value(start));
    }
    let pages = node.require_integer(PAGES_COUNT)?;
    let error = |rule| node.field_error(PAGES_COUNT, rule).value(pages);
    if pages == 0 {
        return Err(error(Rule::RegionEmpty));
    }
    let size = pages
        .checked_mul(granule.bytes())
        .ok_or_else(|| error(Rule::RegionTooLarge))?;
    if Range::new(start, size).is_none() {
        return Err(error(Rule::Overflow));
    }
    Ok((pages, size))
}

fn attributes<'a>(
    node: Node<'_, 'a>,
    field: Field,
    fit: impl Fn(RegionAttributes) -> bool,
) -> Result<RegionAttributes, ManifestError<'a>> {
    let bits = node.require_u32(field)?;
    RegionAttributes::from_bits(bits)
        .filter(|&attributes| fit(attributes))
        .ok_or_else(|| {
            node.field_error(field, Rule::BadPermissions)
                .value(u64::from(bits))
        })
}

/// Whether a device node has the stream of the SMMU, without the cost of reading all of it.
pub(crate) fn device_has_stream(node: Node<'_, '_>, smmu_id: Option<u32>, stream: u32) -> bool {
    let declared = |list: CellList<'_>| list.cells().any(|other| other == stream);
    node.cell_list(STREAM_IDS, 1)
        .ok()
        .flatten()
        .is_some_and(declared)
        && node.u32(SMMU_ID).ok() == Some(smmu_id)
}

/// No stream twice in a region (P11).
fn check_streams<'a>(node: Node<'_, 'a>, streams: CellList<'a>) -> Result<(), ManifestError<'a>> {
    for (index, id) in streams.cells().enumerate() {
        if streams.cells().take(index).any(|earlier| earlier == id) {
            return Err(node
                .field_error(STREAM_IDS, Rule::DuplicateStream)
                .value(u64::from(id)));
        }
    }
    Ok(())
}

/// `smmu-id` and `stream-ids`: no stream without an SMMU (P17).
fn streams<'a>(node: Node<'_, 'a>) -> Result<(Option<u32>, CellList<'a>), ManifestError<'a>> {
    let smmu_id = node.u32(SMMU_ID)?;
    let streams = node.cell_list(STREAM_IDS, 1)?.unwrap_or_default();
    if smmu_id.is_none() && streams.count() != 0 {
        return Err(node.field_error(SMMU_ID, Rule::DmaPolicy));
    }
    Ok((smmu_id, streams))
}

/// `stream-ids-access-permissions`: one for each stream, all equal, none above the region's (P17).
fn stream_permissions<'a>(
    node: Node<'_, 'a>,
    attributes: RegionAttributes,
    streams: CellList<'a>,
) -> Result<Option<RegionAttributes>, ManifestError<'a>> {
    let Some(list) = node.cell_list(STREAM_PERMISSIONS, 1)? else {
        return Ok(None);
    };
    let error = |bits: u32| {
        node.field_error(STREAM_PERMISSIONS, Rule::DmaPolicy)
            .value(u64::from(bits))
    };
    let Some(first) = list.cells().next() else {
        return Ok(None);
    };
    if list.count() != streams.count() {
        return Err(error(first));
    }
    if let Some(bits) = list.cells().find(|&bits| bits != first) {
        return Err(error(bits));
    }
    let permissions = RegionAttributes::from_bits(first).ok_or_else(|| error(first))?;
    if !attributes.permit(permissions) {
        return Err(error(first));
    }
    Ok(Some(permissions))
}
