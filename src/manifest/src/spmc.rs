// SPDX-License-Identifier: MIT OR Apache-2.0
//! The SPMC's own manifest (`tos_fw_config`): B-40 to B-45.

mod cpus;
mod devices;
mod memory;
mod vm;

use bulkhead_abi::{EndpointId, Version};

use crate::dt::{Field, Node, Tree};
use crate::error::{Document, ManifestError, NodePath, Rule};
use crate::known::{self, UnknownProperty, unknown};
use crate::range::Range;

pub use devices::{InterruptController, Smmu};
pub use memory::{MemoryKind, SpmcWarning};
pub use vm::VmNode;
pub(crate) use vm::{IMAGE_COPY, LOAD_ADDRESS, MEM_SIZE};

/// `compatible` of the root.
pub const COMPATIBLE: &str = "arm,ffa-core-manifest-1.0";
const COMPATIBLE_FIX: &str = "write compatible = \"arm,ffa-core-manifest-1.0\";";
const ATTRIBUTE: &str = "attribute";
const HYPERVISOR: &str = "hypervisor";
const ATTRIBUTE_FIX: &str = "write attribute { spmc_id = <0x8000>; maj_ver = <1>; min_ver = <2>; \
                             exec_state = <0>; load_address = <PA>; entrypoint = <PA>; binary_size = <BYTES>; };";
const HYPERVISOR_FIX: &str = "write hypervisor { compatible = \"hafnium,hafnium\"; vm1 { ... }; };";
const SPMC_ID: Field = Field::new(
    "spmc_id",
    "write spmc_id = <0x8000>; (bit 15 set, not 0xffff)",
);
const MAJ_VER: Field = Field::new("maj_ver", "write maj_ver = <1>;");
const MIN_VER: Field = Field::new("min_ver", "write min_ver = <0>; to <3>;");
const EXEC_STATE: Field = Field::new("exec_state", "write exec_state = <0>; for AArch64");
const ATTRIBUTE_LOAD: Field = Field::new("load_address", "write load_address = <PA>;");
const ENTRYPOINT: Field = Field::new(
    "entrypoint",
    "write entrypoint = <PA>; within binary_size bytes from load_address",
);
const BINARY_SIZE: Field = Field::new("binary_size", "write binary_size = <BYTES>;");
const INIT_TIMEOUT: Field = Field::new(
    "bulkhead,init-timeout-ms",
    "write bulkhead,init-timeout-ms = <1>; to <60000>;",
);
const RUN_TIMEOUT: Field = Field::new(
    "bulkhead,run-timeout-ms",
    "write bulkhead,run-timeout-ms = <1>; to <60000>;",
);
const PAGE_MEMORY: Field = Field::new(
    "bulkhead,page-memory-base",
    "write bulkhead,page-memory-base = <PA>; on a page, in secure memory that nobody else has",
);
const PAGE_MEMORY_SIZE: Field = Field::new(
    "bulkhead,page-memory-size",
    "write bulkhead,page-memory-size = <BYTES>; whole pages, beside bulkhead,page-memory-base",
);
const SHOW_MAP: Field = Field::new("bulkhead,show-map", "write bulkhead,show-map;");
const OVERFLOW_STACK: Field =
    Field::new("bulkhead,overflow-stack", "write bulkhead,overflow-stack;");
const MAX_TIMEOUT: u32 = 60_000;
const PAGE: u64 = 0x1000;

/// The SPMC manifest, completely checked by itself.
#[derive(Clone, Copy, Debug)]
pub struct SpmcManifest<'a> {
    tree: Tree<'a>,
    /// The SPMC's own id.
    pub id: EndpointId,
    /// The FF-A version that the SPMD compares with its own. What we answer may be higher.
    pub version: Version,
    /// Where the SPMC is loaded; 0 where the manifest leaves it out.
    pub load_address: u64,
    /// Where the SPMD enters it; 0 where the manifest leaves it out.
    pub entrypoint: u64,
    /// What the SPMD checks entry points against, not a limit of ours (DECISIONS 15); 0 if left out.
    pub binary_size: u64,
    /// How long a partition may take to initialise.
    pub init_timeout_ms: Option<u32>,
    /// How long a partition may keep non-secure interrupts queued.
    pub run_timeout_ms: Option<u32>,
    /// Memory for the tables of partitions and the records of their memory transactions, which otherwise lie in
    /// the SPMC's own.
    pub page_memory: Option<Range>,
    /// Whether every map is printed at boot.
    pub show_map: bool,
    /// Whether a debug build overflows its stack at boot, to show what becomes of that (X15).
    pub overflow_stack: bool,
}

impl<'a> SpmcManifest<'a> {
    /// Parses and checks the SPMC manifest; bytes behind the tree are not looked at.
    ///
    /// # Errors
    /// The first rule that it breaks, with the node and the property.
    pub fn parse(dtb: &'a [u8]) -> Result<Self, ManifestError<'a>> {
        let tree = Tree::parse(dtb, Document::Spmc)?;
        let manifest = Self::read(tree, &tree)?;
        manifest.check_partitions()?;
        manifest.check_cpus()?;
        manifest.check_memory()?;
        manifest.check_page_memory()?;
        manifest.check_devices()?;
        Ok(manifest)
    }

    fn read(tree: Tree<'a>, borrowed: &Tree<'a>) -> Result<Self, ManifestError<'a>> {
        if let Some(root) = borrowed.root() {
            root.require_compatible(COMPATIBLE, COMPATIBLE_FIX)?;
        }
        let attribute = required(borrowed, ATTRIBUTE, ATTRIBUTE_FIX)?;
        let hypervisor = required(borrowed, HYPERVISOR, HYPERVISOR_FIX)?;
        hypervisor.require_compatible("hafnium,hafnium", HYPERVISOR_FIX)?;

        let spmc_id = attribute.require_u32(SPMC_ID)?;
        let id = u16::try_from(spmc_id)
            .ok()
            .map(EndpointId)
            .filter(|&id| id.is_secure() && id != EndpointId::SPMD)
            .ok_or_else(|| {
                attribute
                    .field_error(SPMC_ID, Rule::ReservedId)
                    .value(u64::from(spmc_id))
            })?;
        if let Some(state @ 1..) = attribute.u32(EXEC_STATE)? {
            return Err(attribute
                .field_error(EXEC_STATE, Rule::NotCompatible)
                .value(u64::from(state)));
        }
        let manifest = Self {
            tree,
            id,
            version: version(attribute)?,
            load_address: attribute.integer(ATTRIBUTE_LOAD)?.unwrap_or(0),
            entrypoint: attribute.integer(ENTRYPOINT)?.unwrap_or(0),
            binary_size: attribute.integer(BINARY_SIZE)?.unwrap_or(0),
            init_timeout_ms: timeout(hypervisor, INIT_TIMEOUT)?,
            run_timeout_ms: timeout(hypervisor, RUN_TIMEOUT)?,
            page_memory: page_memory(hypervisor)?,
            show_map: hypervisor.flag(SHOW_MAP)?,
            overflow_stack: hypervisor.flag(OVERFLOW_STACK)?,
        };
        manifest.check_image(attribute)?;
        Ok(manifest)
    }

    /// It is secure memory (P8). That nobody else has it is for those to show who might.
    fn check_page_memory(&self) -> Result<(), ManifestError<'a>> {
        let Some(range) = self.page_memory else {
            return Ok(());
        };
        let mut secure = self.memory(MemoryKind::Secure);
        if secure.any(|memory| memory.contains(&range)) {
            return Ok(());
        }
        let hypervisor = required(&self.tree, HYPERVISOR, HYPERVISOR_FIX)?;
        Err(hypervisor
            .field_error(PAGE_MEMORY, Rule::OutsideAllowedMemory)
            .value(range.base))
    }

    /// The entry point lies within the image, where the manifest states all three (P14).
    fn check_image(&self, attribute: Node<'_, 'a>) -> Result<(), ManifestError<'a>> {
        let image = Range::new(self.load_address, self.binary_size).ok_or_else(|| {
            attribute
                .field_error(BINARY_SIZE, Rule::Overflow)
                .value(self.binary_size)
        })?;
        let stated = self.load_address != 0 && self.entrypoint != 0 && self.binary_size != 0;
        if stated && !image.contains_address(self.entrypoint) {
            return Err(attribute
                .field_error(ENTRYPOINT, Rule::BadLayout)
                .value(self.entrypoint));
        }
        Ok(())
    }

    /// Properties that no binding defines in the root, `attribute`, `hypervisor` with its vmN, and the
    /// `memory` nodes: each name once, with the first node that has it, and no more than 16. Nodes of cores
    /// and devices have bindings of their own.
    pub fn unknown_properties(&self) -> impl Iterator<Item = UnknownProperty<'a>> {
        let of_node = |name, known| {
            self.tree
                .child(name)
                .into_iter()
                .flat_map(move |node| unknown(node, known))
        };
        let root = self.tree.root().into_iter();
        known::once(
            root.flat_map(|root| unknown(root, &known::SPMC_ROOT))
                .chain(of_node(ATTRIBUTE, &known::ATTRIBUTE))
                .chain(of_node(HYPERVISOR, &known::HYPERVISOR))
                .chain(self.vm_nodes().flat_map(|node| unknown(node, &known::VM)))
                .chain(
                    self.memory_nodes()
                        .flat_map(|node| unknown(node, &known::MEMORY)),
                ),
        )
    }

    /// The bytes of the manifest that were read.
    pub const fn size(&self) -> usize {
        self.tree.size()
    }
}

fn required<'t, 'a>(
    tree: &'t Tree<'a>,
    name: &'static str,
    fix: &'static str,
) -> Result<Node<'t, 'a>, ManifestError<'a>> {
    tree.child(name).ok_or(ManifestError::new(
        Document::Spmc,
        NodePath { parent: "", name },
        Rule::MissingNode,
        fix,
    ))
}

fn version<'a>(attribute: Node<'_, 'a>) -> Result<Version, ManifestError<'a>> {
    let part = |field: Field, fits: fn(u16) -> bool| {
        let value = attribute.require_u32(field)?;
        u16::try_from(value)
            .ok()
            .filter(|&value| fits(value))
            .ok_or_else(|| {
                attribute
                    .field_error(field, Rule::NotCompatible)
                    .value(u64::from(value))
            })
    };
    Ok(Version {
        major: part(MAJ_VER, |major| major == Version::OURS.major)?,
        minor: part(MIN_VER, |minor| minor <= Version::OURS.minor)?,
    })
}

/// A bound in milliseconds, from 1 to 60000.
/// Both of its properties, or neither (P9).
fn page_memory<'a>(node: Node<'_, 'a>) -> Result<Option<Range>, ManifestError<'a>> {
    let (base, size) = (node.integer(PAGE_MEMORY)?, node.integer(PAGE_MEMORY_SIZE)?);
    let (base, size) = match (base, size) {
        (None, None) => return Ok(None),
        (Some(base), Some(size)) => (base, size),
        (None, Some(_)) => return Err(node.field_error(PAGE_MEMORY, Rule::MissingProperty)),
        (Some(_), None) => return Err(node.field_error(PAGE_MEMORY_SIZE, Rule::MissingProperty)),
    };
    let wrong = |field, rule, value| Err(node.field_error(field, rule).value(value));
    if !base.is_multiple_of(PAGE) {
        return wrong(PAGE_MEMORY, Rule::RegionUnaligned, base);
    }
    if size == 0 {
        return wrong(PAGE_MEMORY_SIZE, Rule::RegionEmpty, size);
    }
    if !size.is_multiple_of(PAGE) {
        return wrong(PAGE_MEMORY_SIZE, Rule::RegionUnaligned, size);
    }
    match Range::new(base, size) {
        Some(range) => Ok(Some(range)),
        None => wrong(PAGE_MEMORY_SIZE, Rule::Overflow, size),
    }
}

pub(crate) fn timeout<'a>(
    node: Node<'_, 'a>,
    field: Field,
) -> Result<Option<u32>, ManifestError<'a>> {
    match node.u32(field)? {
        Some(value) if value == 0 || value > MAX_TIMEOUT => Err(node
            .field_error(field, Rule::MalformedInteger)
            .value(u64::from(value))),
        value => Ok(value),
    }
}
