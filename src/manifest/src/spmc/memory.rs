// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the machine's memory is (B-42).

use core::fmt;

use super::{PAGE, SpmcManifest};
use crate::dt::{Field, Node, RegList, Tree};
use crate::error::{ManifestError, Rule};
use crate::range::Range;

const MEMORY_REG: Field = Field::new(
    "reg",
    "write reg = <BASE SIZE ...>; in as many cells as #address-cells and #size-cells of the root say",
);
const DEVICE_TYPE: Field = Field::new("device_type", "write device_type = \"memory\";");

/// What a range of addresses is, by `device_type` of its node (B-42).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryKind {
    /// `memory`: secure memory.
    Secure,
    /// `ns-memory`: non-secure memory.
    NonSecure,
    /// `device-memory`: devices of the secure world.
    SecureDevice,
    /// `ns-device-memory`: devices of the normal world.
    NonSecureDevice,
}

impl MemoryKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [
        Self::Secure,
        Self::NonSecure,
        Self::SecureDevice,
        Self::NonSecureDevice,
    ];

    /// The `device_type` of nodes of the kind.
    pub const fn device_type(self) -> &'static str {
        match self {
            Self::Secure => "memory",
            Self::NonSecure => "ns-memory",
            Self::SecureDevice => "device-memory",
            Self::NonSecureDevice => "ns-device-memory",
        }
    }
}

impl<'a> SpmcManifest<'a> {
    /// The ranges of one kind, in the order of the manifest.
    pub fn memory(&self, kind: MemoryKind) -> impl Iterator<Item = Range> + Clone {
        let nodes = MemoryNodes {
            tree: self.tree,
            kind,
        };
        MemoryRanges { nodes, position: 0 }
    }

    /// What manifests in the field have that is worth a line in the log.
    pub fn warnings(&self) -> impl Iterator<Item = SpmcWarning> {
        let missing = self.memory(MemoryKind::NonSecure).next().is_none();
        let mixed = self.memory(MemoryKind::Secure).find_map(|secure| {
            self.memory(MemoryKind::NonSecure)
                .find(|normal| normal.overlaps(&secure))
                .map(|normal| SpmcWarning::MixedMemory { secure, normal })
        });
        missing
            .then_some(SpmcWarning::NoNormalMemory)
            .into_iter()
            .chain(mixed)
    }

    /// The nodes that describe memory.
    pub(super) fn memory_nodes(&self) -> impl Iterator<Item = Node<'_, 'a>> {
        self.tree
            .top_level()
            .filter(|&node| matches!(memory_kind(node), Ok(Some(_))))
    }

    pub(super) fn check_memory(&self) -> Result<(), ManifestError<'a>> {
        let Some(root) = self.tree.root() else {
            return Ok(());
        };
        for node in root.children() {
            let Some(kind) = memory_kind(node)? else {
                continue;
            };
            let list = node.reg(root.cells(), MEMORY_REG)?;
            if let Some(range) = list
                .ranges()
                .find(|range| !range.base.is_multiple_of(PAGE) || !range.size.is_multiple_of(PAGE))
                && matches!(kind, MemoryKind::Secure | MemoryKind::NonSecure)
            {
                return Err(node
                    .field_error(MEMORY_REG, Rule::RegionUnaligned)
                    .value(range.base));
            }
        }
        if self
            .memory(MemoryKind::Secure)
            .all(|range| range.is_empty())
        {
            return Err(root
                .error(
                    Rule::MissingNode,
                    "write memory@PA { device_type = \"memory\"; reg = <PA SIZE>; }; for secure memory",
                )
                .other(MemoryKind::Secure.device_type()));
        }
        Ok(())
    }
}

/// Something in an SPMC manifest that is accepted, but hardly meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpmcWarning {
    /// No `ns-memory` node (B-42): the board's defaults say what the normal world may share.
    NoNormalMemory,
    /// A range is listed as secure and as non-secure: it counts as secure.
    MixedMemory {
        /// Of a `memory` node.
        secure: Range,
        /// Of an `ns-memory` node.
        normal: Range,
    },
}

impl fmt::Display for SpmcWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNormalMemory => f.write_str(
                "no ns-memory node: write memory@PA { device_type = \"ns-memory\"; reg = <PA SIZE>; };",
            ),
            Self::MixedMemory { secure, normal } => write!(
                f,
                "ns-memory {normal} overlaps memory {secure}, which stays secure: take it out of one node"
            ),
        }
    }
}

/// The nodes of one kind of memory.
#[derive(Clone, Copy)]
struct MemoryNodes<'a> {
    tree: Tree<'a>,
    kind: MemoryKind,
}

impl MemoryNodes<'_> {
    /// The n-th range of the kind.
    fn nth(&self, position: usize) -> Option<Range> {
        let root = self.tree.root()?;
        root.children()
            .filter(|&node| memory_kind(node).ok().flatten() == Some(self.kind))
            .filter_map(|node| node.reg(root.cells(), MEMORY_REG).ok())
            .flat_map(RegList::ranges)
            .nth(position)
    }
}

/// [`SpmcManifest::memory`].
#[derive(Clone)]
struct MemoryRanges<'a> {
    nodes: MemoryNodes<'a>,
    position: usize,
}

impl Iterator for MemoryRanges<'_> {
    type Item = Range;

    fn next(&mut self) -> Option<Range> {
        let range = self.nodes.nth(self.position)?;
        self.position = self.position.checked_add(1)?;
        Some(range)
    }
}

fn memory_kind<'a>(node: Node<'_, 'a>) -> Result<Option<MemoryKind>, ManifestError<'a>> {
    let device_type = node.string(DEVICE_TYPE)?;
    Ok(MemoryKind::ALL
        .into_iter()
        .find(|kind| Some(kind.device_type()) == device_type))
}
