// SPDX-License-Identifier: MIT OR Apache-2.0
//! The devices that the SPMC itself uses: interrupt controller (B-44), console and SMMUs (B-45).

use super::SpmcManifest;
use crate::dt::{Cells, Field, Node, RegList};
use crate::error::{ManifestError, Rule};
use crate::range::Range;

const DEVICE_REG: Field = Field::new("reg", "write reg = <BASE SIZE ...>;");
const DISTRIBUTOR_REGIONS: Field = Field::new(
    "#distributor-regions",
    "write #distributor-regions = <N>; of the regions in reg",
);
const REDISTRIBUTOR_REGIONS: Field = Field::new(
    "#redistributor-regions",
    "write #redistributor-regions = <N>; of the regions in reg, behind the distributors",
);

const SPI_REGIONS: Field = Field::new(
    "#spi-regions",
    "write #spi-regions = <N>; of the regions in reg, behind the redistributors: the first SPI of each chip, \
     and how far behind it the last one is",
);
const SID_SIZE: Field = Field::new(
    "bulkhead,sid-size",
    "write bulkhead,sid-size = <BITS>; from 1 to 32, as SMMU_IDR1.SIDSIZE says",
);

const UART: &str = "arm,pl011";
const GIC: &str = "arm,gic-v3";
const SMMU: &str = "arm,smmu-v3";

impl<'a> SpmcManifest<'a> {
    /// The first `arm,pl011` that is not disabled.
    pub fn console(&self) -> Option<Range> {
        let (node, cells) = self.device(UART)?;
        node.reg(cells, DEVICE_REG).ok()?.ranges().next()
    }

    /// The first `arm,gic-v3` that is not disabled.
    pub fn interrupt_controller(&self) -> Option<InterruptController<'a>> {
        let (node, cells) = self.device(GIC)?;
        InterruptController::read(node, cells).ok()
    }

    /// Each `arm,smmu-v3` that is not disabled; the position is its `smmu-id`.
    pub fn smmus(&self) -> impl Iterator<Item = Smmu> {
        self.devices(SMMU)
            .filter_map(|(node, cells)| Smmu::read(node, cells).ok())
    }

    /// Reads every device once.
    pub(super) fn check_devices(&self) -> Result<(), ManifestError<'a>> {
        if let Some((node, cells)) = self.device(UART) {
            node.reg(cells, DEVICE_REG)?;
        }
        if let Some((node, cells)) = self.device(GIC) {
            InterruptController::read(node, cells)?;
        }
        for (node, cells) in self.devices(SMMU) {
            Smmu::read(node, cells)?;
        }
        Ok(())
    }

    /// Devices are children of the root, or of a bus there that translates no addresses.
    fn devices(&self, compatible: &'static str) -> impl Iterator<Item = (Node<'_, 'a>, Cells)> {
        let on_root = self
            .tree
            .root()
            .into_iter()
            .flat_map(|root| root.children().map(move |node| (node, root.cells())));
        let on_bus = self
            .tree
            .top_level()
            .filter(|bus| bus.is_compatible("simple-bus") && bus.property("ranges") == Some(&[]))
            .flat_map(|bus| bus.children().map(move |node| (node, bus.cells())));
        on_root
            .chain(on_bus)
            .filter(move |(node, _)| node.is_compatible(compatible) && node.is_enabled())
    }

    fn device(&self, compatible: &'static str) -> Option<(Node<'_, 'a>, Cells)> {
        self.devices(compatible).next()
    }
}

/// An SMMU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Smmu {
    /// Its register frames.
    pub frames: Range,
    /// `bulkhead,sid-size`: how many bits a stream ID has (SIDSIZE), if the manifest says so (P17).
    pub stream_id_bits: Option<u32>,
}

impl Smmu {
    fn read<'a>(node: Node<'_, 'a>, cells: Cells) -> Result<Self, ManifestError<'a>> {
        let list = node.reg(cells, DEVICE_REG)?;
        let frames = list.ranges().next();
        let stream_id_bits = node.u32(SID_SIZE)?;
        match stream_id_bits {
            Some(bits @ (0 | 33..)) => Err(node
                .field_error(SID_SIZE, Rule::UnknownValue)
                .value(u64::from(bits))),
            _ => Ok(Self {
                frames: frames.ok_or_else(|| node.missing(DEVICE_REG))?,
                stream_id_bits,
            }),
        }
    }

    /// Whether it can tell a stream by this ID.
    pub fn has_stream(&self, id: u32) -> bool {
        let bits = self.stream_id_bits.unwrap_or(u32::BITS);
        u64::from(id).checked_shr(bits).unwrap_or(0) == 0
    }
}

/// The interrupt controller's register frames (B-44).
#[derive(Clone, Copy, Debug)]
pub struct InterruptController<'a> {
    frames: RegList<'a>,
    distributors: usize,
    redistributors: usize,
    spi_regions: usize,
}

impl<'a> InterruptController<'a> {
    fn read(node: Node<'_, 'a>, cells: Cells) -> Result<Self, ManifestError<'a>> {
        let frames = node.reg(cells, DEVICE_REG)?;
        let available = frames.ranges().count();
        let count = |field: Field, least: u32, available: usize| {
            let wanted = node.u32(field)?.unwrap_or(least);
            usize::try_from(wanted)
                .ok()
                .filter(|&count| wanted >= least && count <= available)
                .ok_or_else(|| {
                    node.field_error(field, Rule::TooMany)
                        .value(u64::from(wanted))
                })
        };
        let distributors = count(DISTRIBUTOR_REGIONS, 1, available)?;
        let available = available.saturating_sub(distributors);
        let redistributors = count(REDISTRIBUTOR_REGIONS, 1, available)?;
        let available = available.saturating_sub(redistributors);
        let spi_regions = count(SPI_REGIONS, 0, available)?;
        Ok(Self {
            spi_regions,
            frames,
            distributors,
            redistributors,
        })
    }

    /// The distributor of each chip; the first one is the boot core's.
    pub fn distributors(&self) -> impl Iterator<Item = Range> + Clone + 'a {
        self.frames.ranges().take(self.distributors)
    }

    /// The regions of redistributors.
    pub fn redistributors(&self) -> impl Iterator<Item = Range> + Clone + 'a {
        self.frames
            .ranges()
            .skip(self.distributors)
            .take(self.redistributors)
    }

    /// The shared interrupts of each chip, in the order of [`Self::distributors`]: the first INTID, and how far
    /// behind it the last one is. None where the manifest does not say.
    pub fn spi_regions(&self) -> impl Iterator<Item = Range> + Clone + 'a {
        self.frames
            .ranges()
            .skip(self.distributors.saturating_add(self.redistributors))
            .take(self.spi_regions)
    }
}
