// SPDX-License-Identifier: MIT OR Apache-2.0
//! The nodes of a partition's manifest that ask for something: boot information, and buffers among the
//! memory regions.

use super::{RxTxBuffers, SpManifest};
use crate::dt::{Field, Node};
use crate::error::{ManifestError, Rule};
use crate::policy::BootInfoWanted;
use crate::region::MemoryRegion;

const RX_BUFFER: Field = Field::new(
    "rx-buffer",
    "write rx-buffer = <&LABEL>; of a node in memory-regions",
);
const TX_BUFFER: Field = Field::new(
    "tx-buffer",
    "write tx-buffer = <&LABEL>; of another node in memory-regions, with as many pages",
);
const BOOT_INFO_FDT: Field = Field::new("ffa_manifest", "write ffa_manifest;");
const BOOT_INFO_HOB: Field = Field::new("hob_list", "write hob_list;");

const LIVE_STATE_BUFFER: Field = Field::new(
    "live-state-buffer",
    "write live-state-buffer = <&LABEL>; of a node in memory-regions",
);

pub(super) const RX_TX_INFO: &str = "rx_tx-info";
pub(super) const BOOT_INFO: &str = "boot-info";
pub(super) const LIVE_STATE: &str = "live-state-buffer-info";

impl<'a> SpManifest<'a> {
    /// The memory region that a property names by its phandle.
    fn region_of(
        &self,
        node: Node<'_, 'a>,
        field: Field,
    ) -> Result<MemoryRegion<'a>, ManifestError<'a>> {
        let phandle = node.require_u32(field)?;
        self.memory_regions()
            .find(|region| region.phandle() == Some(phandle))
            .ok_or_else(|| {
                node.field_error(field, Rule::BadStructure)
                    .value(u64::from(phandle))
            })
    }

    /// Resolves `live-state-buffer-info` (B-23).
    pub(super) fn read_live_state(&self) -> Result<Option<MemoryRegion<'a>>, ManifestError<'a>> {
        self.tree
            .child(LIVE_STATE)
            .map(|node| self.region_of(node, LIVE_STATE_BUFFER))
            .transpose()
    }

    /// Resolves `rx_tx-info`.
    pub(super) fn read_rx_tx(&self) -> Result<Option<RxTxBuffers<'a>>, ManifestError<'a>> {
        let Some(node) = self.tree.child(RX_TX_INFO) else {
            return Ok(None);
        };
        node.require_compatible(
            "arm,ffa-manifest-rx_tx-buffer",
            "write compatible = \"arm,ffa-manifest-rx_tx-buffer\";",
        )?;
        let buffers = RxTxBuffers {
            rx: self.region_of(node, RX_BUFFER)?,
            tx: self.region_of(node, TX_BUFFER)?,
        };
        if buffers.rx.node == buffers.tx.node {
            return Err(node
                .field_error(TX_BUFFER, Rule::RegionOverlap)
                .other(buffers.rx.node.name));
        }
        if buffers.rx.size != buffers.tx.size {
            return Err(node
                .field_error(TX_BUFFER, Rule::BadLayout)
                .value(buffers.tx.pages));
        }
        Ok(Some(buffers))
    }
}

/// Reads `boot-info` (B-19).
pub(super) fn boot_info<'a>(root: Node<'_, 'a>) -> Result<BootInfoWanted, ManifestError<'a>> {
    let Some(node) = root.child(BOOT_INFO) else {
        return Ok(BootInfoWanted::default());
    };
    node.require_compatible(
        "arm,ffa-manifest-boot-info",
        "write compatible = \"arm,ffa-manifest-boot-info\";",
    )?;
    Ok(BootInfoWanted {
        fdt: node.flag(BOOT_INFO_FDT)?,
        hob: node.flag(BOOT_INFO_HOB)?,
    })
}
