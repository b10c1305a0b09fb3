// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files against each other: the partitions of an SPMC manifest, and BL2's list of packages.

use std::path::Path;

use bulkhead_abi::Uuid;
use bulkhead_manifest::dt::{Field, Node};
use bulkhead_manifest::{
    Accepted, Document, ManifestError, Package, Range, Reserved, Rule, SpManifest, SpmcManifest,
    VmNode, check_package, check_partition,
};

use crate::source::{Contents, Source, load_list};

const LOAD_ADDRESS: Field = Field::new(
    "load-address",
    "write the load_address of a vmN node of the SPMC manifest",
);
const UUID: Field = Field::new(
    "uuid",
    "write uuid = \"XXXXXXXX-XXXX-XXXX-XXXX-XXXXXXXXXXXX\"; the first of the partition's manifest",
);

/// What was found.
#[derive(Default)]
pub struct Findings {
    pub errors: Vec<String>,
    pub warnings: Vec<String>,
    /// The partitions that are right, in the order of vmN.
    pub placed: Vec<Accepted<'static>>,
}

/// Checks what the files say of each other.
pub fn check(sources: &[Source]) -> Findings {
    let mut findings = Findings::default();
    for source in sources {
        findings.unknown_properties(source);
    }
    let mut manifests = sources.iter().filter_map(|source| match &source.contents {
        Contents::Spmc(manifest) => Some((source.name, manifest)),
        _ => None,
    });
    let Some((name, spmc)) = manifests.next() else {
        return findings;
    };
    for (second, _) in manifests {
        findings.errors.push(format!(
            "{second}: a second SPMC manifest besides {name}: give one"
        ));
    }
    for warning in spmc.warnings() {
        findings.warnings.push(format!("{name}: {warning}"));
    }
    findings.partitions(name, spmc, sources);
    for source in sources {
        if let Contents::LoadList(tree) = &source.contents
            && let Some(list) = load_list(tree)
        {
            findings.load_list(source.name, list, spmc);
        }
    }
    findings
}

impl Findings {
    fn unknown_properties(&mut self, source: &Source) {
        let mut report = |unknown: bulkhead_manifest::UnknownProperty<'_>| {
            self.warnings.push(format!("{}, {unknown}", source.name));
        };
        match &source.contents {
            Contents::Spmc(manifest) => manifest.unknown_properties().for_each(&mut report),
            contents => {
                if let Some(manifest) = contents.manifest() {
                    manifest.unknown_properties().for_each(&mut report);
                }
            }
        }
    }

    fn partitions(
        &mut self,
        spmc_name: &'static str,
        spmc: &SpmcManifest<'static>,
        sources: &[Source],
    ) {
        let mut left: Vec<(&Source, &SpManifest<'static>)> = sources
            .iter()
            .filter_map(|source| Some((source, source.contents.manifest()?)))
            .collect();
        let reserved: Vec<Reserved> = Range::new(spmc.load_address, spmc.binary_size)
            .map(|image| ("the SPMC's image", image))
            .into_iter()
            .collect();
        for vm in spmc.partitions() {
            let Some(position) = position_of(&vm, &left) else {
                self.warnings.push(format!(
                    "{spmc_name}, {}: no file is that of {}: it is not checked",
                    vm.node, vm.debug_name
                ));
                continue;
            };
            let (source, sp) = left.remove(position);
            match self.partition(spmc, &vm, source, sp, &reserved) {
                Ok(accepted) => {
                    for warning in accepted.layout.warnings.iter() {
                        self.warnings.push(format!("{}, /: {warning}", source.name));
                    }
                    self.placed.push(accepted);
                }
                Err(error) => {
                    let error = error.in_file(Document::Spmc, spmc_name);
                    let error = error.in_file(Document::Partition, source.name);
                    self.errors.push(error.to_string());
                }
            }
        }
        for (source, _) in left {
            self.warnings.push(format!(
                "{}: no vmN node of {spmc_name} has its load address or name: it is checked by itself only",
                source.name
            ));
        }
    }

    /// As the loader does.
    fn partition(
        &mut self,
        spmc: &SpmcManifest<'static>,
        vm: &VmNode<'static>,
        source: &Source,
        sp: &SpManifest<'static>,
        reserved: &[Reserved],
    ) -> Result<Accepted<'static>, ManifestError<'static>> {
        let layout = check_partition(spmc, vm, sp, reserved, self.placed.iter().copied())?;
        if let Contents::Package { bytes, .. } = &source.contents {
            match Package::parse(bytes, layout.memory.size) {
                Ok(package) => check_package(&package, sp, &layout)?,
                Err(error) => self.errors.push(format!("{}: {error}", source.name)),
            }
        }
        Ok(Accepted {
            name: vm.debug_name,
            layout,
            manifest: *sp,
        })
    }

    /// BL2 loads each package where the SPMC looks for it.
    fn load_list(
        &mut self,
        name: &'static str,
        list: Node<'_, 'static>,
        spmc: &SpmcManifest<'static>,
    ) {
        for entry in list.children() {
            if let Err(error) = self.load_entry(name, entry, spmc) {
                let error = error.in_file(Document::Partition, name);
                self.errors.push(error.to_string());
            }
        }
    }

    fn load_entry(
        &mut self,
        name: &'static str,
        entry: Node<'_, 'static>,
        spmc: &SpmcManifest<'static>,
    ) -> Result<(), ManifestError<'static>> {
        let address = entry.require_integer(LOAD_ADDRESS)?;
        let text = entry.string(UUID)?.ok_or_else(|| entry.missing(UUID))?;
        let uuid = Uuid::parse(text).ok_or_else(|| entry.field_error(UUID, Rule::MalformedUuid))?;
        let vm = spmc
            .partitions()
            .find(|vm| vm.load_address == address)
            .ok_or_else(|| {
                entry
                    .field_error(LOAD_ADDRESS, Rule::BadLayout)
                    .value(address)
            })?;
        let partition = self
            .placed
            .iter()
            .find(|placed| placed.name == vm.debug_name);
        if let Some(partition) = partition
            && !partition.manifest.uuids().any(|ours| ours == uuid)
        {
            self.warnings.push(format!(
                "{name}, {}: uuid {uuid} is none of the manifest of {}: BL2 looks for the package by the UUID that \
                 it was packed with",
                entry.path(),
                partition.name
            ));
        }
        Ok(())
    }
}

/// The manifest of `vm` among `left`: by load address, else by name.
fn position_of(vm: &VmNode<'_>, left: &[(&Source, &SpManifest<'_>)]) -> Option<usize> {
    let by_address = left
        .iter()
        .position(|(_, sp)| sp.load_address == Some(vm.load_address));
    by_address.or_else(|| {
        left.iter().position(|(source, sp)| {
            let stem = Path::new(source.name).file_stem();
            sp.description == vm.debug_name || stem.is_some_and(|stem| stem == vm.debug_name)
        })
    })
}
