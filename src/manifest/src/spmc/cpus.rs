// SPDX-License-Identifier: MIT OR Apache-2.0
//! The cores (B-43), in any order.

use super::{SpmcManifest, required};
use crate::claims::first_clash;
use crate::dt::{Cells, Field, Node};
use crate::error::{ManifestError, Rule};

const CPUS: &str = "cpus";
const CPUS_FIX: &str =
    "write cpus { cpu@0 { device_type = \"cpu\"; reg = <MPIDR>; }; ... }; for each core";
const CPU_REG: Field = Field::new(
    "reg",
    "write reg = <MPIDR>; in as many cells as #address-cells of cpus, once for each core",
);

/// The affinity fields of an MPIDR: Aff3 and Aff2 to Aff0.
const MPIDR_AFFINITY: u64 = 0xff_00ff_ffff;

impl<'a> SpmcManifest<'a> {
    /// The MPIDR affinities of the cores, in the order of the manifest.
    pub fn cpus(&self) -> impl Iterator<Item = u64> {
        self.cpu_nodes()
            .filter_map(|(node, cells)| mpidr(node, cells).ok())
    }

    fn cpu_nodes(&self) -> impl Iterator<Item = (Node<'_, 'a>, Cells)> {
        self.tree.child(CPUS).into_iter().flat_map(|cpus| {
            // A core's reg has no size, whatever #size-cells leaves out.
            let cells = Cells {
                size: 0,
                ..cpus.cells()
            };
            cpus.children()
                .filter(|node| node.base_name() == "cpu")
                .map(move |node| (node, cells))
        })
    }

    pub(super) fn check_cpus(&self) -> Result<(), ManifestError<'a>> {
        let cpus = required(&self.tree, CPUS, CPUS_FIX)?;
        if self.cpu_nodes().next().is_none() {
            return Err(cpus.error(Rule::MissingNode, CPUS_FIX));
        }
        for (node, cells) in self.cpu_nodes() {
            mpidr(node, cells)?;
        }
        let cores = || {
            self.cpu_nodes()
                .filter_map(|(node, cells)| Some((node, mpidr(node, cells).ok()?)))
                .enumerate()
        };
        let clash = first_clash(
            cores(),
            |each| cores().for_each(each),
            |(index, (_, ours)), (earlier, (_, theirs))| earlier < index && ours == theirs,
        );
        match clash {
            Some(((_, (node, affinity)), (_, (other, _)))) => Err(node
                .field_error(CPU_REG, Rule::DuplicateId)
                .value(affinity)
                .other(other.name())),
            None => Ok(()),
        }
    }
}

/// The affinity fields of a core's `reg`.
fn mpidr<'a>(node: Node<'_, 'a>, cells: Cells) -> Result<u64, ManifestError<'a>> {
    let list = node.reg(cells, CPU_REG)?;
    let affinity = list
        .ranges()
        .next()
        .map(|range| range.base & MPIDR_AFFINITY);
    affinity.ok_or_else(|| node.field_error(CPU_REG, Rule::MalformedInteger))
}
