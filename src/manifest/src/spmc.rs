// SPDX-License-Identifier: MIT OR Apache-2.0
//! The SPMC's own manifest (`tos_fw_config`): B-40 to B-45.

use core::fmt;

use bulkhead_abi::{EndpointId, Version};

use crate::dt::{CellList, Cells, Field, Node, RegList, Tree};
use crate::error::{Document, ManifestError, NodePath, Rule};
use crate::range::Range;

const COMPATIBLE_FIX: &str = "write compatible = \"arm,ffa-core-manifest-1.0\";";
const ATTRIBUTE: &str = "attribute";
const HYPERVISOR: &str = "hypervisor";
const CPUS: &str = "cpus";
const ATTRIBUTE_FIX: &str = "write attribute { spmc_id = <0x8000>; maj_ver = <1>; min_ver = <2>; \
                             exec_state = <0>; load_address = <PA>; entrypoint = <PA>; binary_size = <BYTES>; };";
const HYPERVISOR_FIX: &str = "write hypervisor { compatible = \"hafnium,hafnium\"; vm1 { ... }; };";
const CPUS_FIX: &str =
    "write cpus { cpu@0 { device_type = \"cpu\"; reg = <MPIDR>; }; ... }; for each core";

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

const IS_FFA_PARTITION: Field = Field::new("is_ffa_partition", "write is_ffa_partition;");
const DEBUG_NAME: Field = Field::new("debug_name", "write debug_name = \"NAME\";");
pub(crate) const LOAD_ADDRESS: Field = Field::new("load_address", "write load_address = <PA>;");
const LOAD_ADDRESS_ALIGNED: Field = Field::new(
    "load_address",
    "write load_address = <PA>; page-aligned and not 0",
);
pub(crate) const VCPU_COUNT: Field =
    Field::new("vcpu_count", "write vcpu_count = <N>; from 1 to 65535");
pub(crate) const MEM_SIZE: Field = Field::new(
    "mem_size",
    "write mem_size = <BYTES>; for the partition's memory from load_address",
);
const SMC_WHITELIST: Field = Field::new("smc_whitelist", "write smc_whitelist = <ID ...>;");
const SMC_PERMISSIVE: Field = Field::new(
    "smc_whitelist_permissive",
    "write smc_whitelist_permissive;",
);

const INIT_TIMEOUT: Field = Field::new(
    "bulkhead,init-timeout-ms",
    "write bulkhead,init-timeout-ms = <1>; to <60000>;",
);
const RUN_TIMEOUT: Field = Field::new(
    "bulkhead,run-timeout-ms",
    "write bulkhead,run-timeout-ms = <1>; to <60000>;",
);
const MAX_TIMEOUT: u32 = 60_000;

const CPU_REG: Field = Field::new(
    "reg",
    "write reg = <MPIDR>; in as many cells as #address-cells of cpus, once for each core",
);
const MEMORY_REG: Field = Field::new(
    "reg",
    "write reg = <BASE SIZE ...>; in as many cells as #address-cells and #size-cells of the root say",
);
const DEVICE_TYPE: Field = Field::new("device_type", "write device_type = \"memory\";");
const DEVICE_REG: Field = Field::new("reg", "write reg = <BASE SIZE ...>;");
const DISTRIBUTOR_REGIONS: Field = Field::new(
    "#distributor-regions",
    "write #distributor-regions = <N>; of the regions in reg",
);
const REDISTRIBUTOR_REGIONS: Field = Field::new(
    "#redistributor-regions",
    "write #redistributor-regions = <N>; of the regions in reg, behind the distributors",
);

/// The affinity fields of an MPIDR: Aff3 and Aff2 to Aff0.
const MPIDR_AFFINITY: u64 = 0xff_00ff_ffff;
/// Partitions have the ids 0x8000 + N up to this one; 0xffff is the SPMD.
const MAX_PARTITION_ID: u16 = 0xfffe;
const FIRST_SECURE_ID: u32 = 0x8000;
const PAGE: u64 = 0x1000;

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
        if let Some((node, cells)) = manifest.device("arm,pl011") {
            node.reg(cells, DEVICE_REG)?;
        }
        if let Some((node, cells)) = manifest.device("arm,gic-v3") {
            InterruptController::read(node, cells)?;
        }
        Ok(manifest)
    }

    fn read(tree: Tree<'a>, borrowed: &Tree<'a>) -> Result<Self, ManifestError<'a>> {
        if let Some(root) = borrowed.root() {
            root.require_compatible("arm,ffa-core-manifest-1.0", COMPATIBLE_FIX)?;
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
        };
        manifest.check_image(attribute)?;
        Ok(manifest)
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

    /// The partitions in the order of N of their node vmN.
    pub fn partitions(&self) -> impl Iterator<Item = VmNode<'a>> {
        (1..=self.partition_count())
            .filter_map(|index| VmNode::read(self.vm_node(index)?, index).ok())
    }

    /// How many partitions there are.
    pub fn partition_count(&self) -> u32 {
        u32::try_from(self.vm_nodes().count()).unwrap_or(0)
    }

    /// The MPIDR affinities of the cores, in the order of the manifest.
    pub fn cpus(&self) -> impl Iterator<Item = u64> {
        self.cpu_nodes()
            .filter_map(|(node, cells)| mpidr(node, cells).ok())
    }

    /// The ranges of one kind, in the order of the manifest.
    pub fn memory(&self, kind: MemoryKind) -> impl Iterator<Item = Range> + Clone {
        let nodes = MemoryNodes {
            tree: self.tree,
            kind,
        };
        MemoryRanges { nodes, position: 0 }
    }

    /// The first `arm,pl011` that is not disabled.
    pub fn console(&self) -> Option<Range> {
        let (node, cells) = self.device("arm,pl011")?;
        node.reg(cells, DEVICE_REG).ok()?.ranges().next()
    }

    /// The first `arm,gic-v3` that is not disabled.
    pub fn interrupt_controller(&self) -> Option<InterruptController<'a>> {
        let (node, cells) = self.device("arm,gic-v3")?;
        InterruptController::read(node, cells).ok()
    }

    /// The register frames of each `arm,smmu-v3` that is not disabled; the position is its `smmu-id`.
    pub fn smmus(&self) -> impl Iterator<Item = Range> {
        self.devices("arm,smmu-v3")
            .filter_map(|(node, cells)| node.reg(cells, DEVICE_REG).ok()?.ranges().next())
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

    /// The bytes of the manifest that were read.
    pub const fn size(&self) -> usize {
        self.tree.size()
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

    fn vm_nodes(&self) -> impl Iterator<Item = Node<'_, 'a>> {
        self.tree
            .child(HYPERVISOR)
            .into_iter()
            .flat_map(Node::children)
            .filter(|node| is_vm_name(node.name()))
    }

    fn vm_node(&self, index: u32) -> Option<Node<'_, 'a>> {
        self.vm_nodes()
            .find(|node| vm_index(node.name()) == Some(index))
    }

    /// vmN count from 1 without a gap, and each is right by itself.
    fn check_partitions(&self) -> Result<(), ManifestError<'a>> {
        let count = self.partition_count();
        for node in self.vm_nodes() {
            match vm_index(node.name()) {
                Some(index) if index != 0 && index <= count => {}
                index => {
                    let rule = match index {
                        Some(0) => Rule::ReservedId,
                        _ => Rule::NotContiguous,
                    };
                    return Err(node.error(rule, "number the nodes vm1, vm2 ... without a gap"));
                }
            }
        }
        for index in 1..=count {
            if let Some(node) = self.vm_node(index) {
                let vm = VmNode::read(node, index)?;
                if vm.id == self.id {
                    return Err(node
                        .error(Rule::DuplicateId, "give the SPMC another spmc_id")
                        .other("spmc_id"));
                }
            }
        }
        Ok(())
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

    fn check_cpus(&self) -> Result<(), ManifestError<'a>> {
        let cpus = required(&self.tree, CPUS, CPUS_FIX)?;
        if self.cpu_nodes().next().is_none() {
            return Err(cpus.error(Rule::MissingNode, CPUS_FIX));
        }
        for (index, (node, cells)) in self.cpu_nodes().enumerate() {
            let affinity = mpidr(node, cells)?;
            if self.cpus().take(index).any(|earlier| earlier == affinity) {
                return Err(node.field_error(CPU_REG, Rule::DuplicateId).value(affinity));
            }
        }
        Ok(())
    }

    fn check_memory(&self) -> Result<(), ManifestError<'a>> {
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

/// The interrupt controller's register frames (B-44).
#[derive(Clone, Copy, Debug)]
pub struct InterruptController<'a> {
    frames: RegList<'a>,
    distributors: usize,
    redistributors: usize,
}

impl<'a> InterruptController<'a> {
    fn read(node: Node<'_, 'a>, cells: Cells) -> Result<Self, ManifestError<'a>> {
        let frames = node.reg(cells, DEVICE_REG)?;
        let available = frames.ranges().count();
        let count = |field: Field, available: usize| {
            let wanted = node.u32(field)?.unwrap_or(1);
            usize::try_from(wanted)
                .ok()
                .filter(|&wanted| wanted != 0 && wanted <= available)
                .ok_or_else(|| {
                    node.field_error(field, Rule::TooMany)
                        .value(u64::from(wanted))
                })
        };
        let distributors = count(DISTRIBUTOR_REGIONS, available)?;
        let redistributors = count(
            REDISTRIBUTOR_REGIONS,
            available.saturating_sub(distributors),
        )?;
        Ok(Self {
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
}

/// A partition as the SPMC manifest announces it (B-41).
#[derive(Clone, Copy, Debug)]
pub struct VmNode<'a> {
    /// The node.
    pub node: NodePath<'a>,
    /// N of vmN, from 1.
    pub index: u32,
    /// 0x8000 + N: the partition's id unless its manifest has one.
    pub id: EndpointId,
    /// A name for logs.
    pub debug_name: &'a str,
    /// Where BL2 loads the package.
    pub load_address: u64,
    /// The number of vCPUs.
    pub vcpu_count: Option<u32>,
    /// Bytes of memory from `load_address`.
    pub mem_size: Option<u64>,
    /// SMCs that are not on the list go to EL3, too.
    pub smc_whitelist_permissive: bool,
    smc_whitelist: CellList<'a>,
}

impl<'a> VmNode<'a> {
    fn read(node: Node<'_, 'a>, index: u32) -> Result<Self, ManifestError<'a>> {
        let id = FIRST_SECURE_ID
            .checked_add(index)
            .and_then(|id| u16::try_from(id).ok())
            .filter(|&id| id <= MAX_PARTITION_ID)
            .ok_or_else(|| node.error(Rule::TooMany, "keep to 32766 partitions"))?;
        if !node.flag(IS_FFA_PARTITION)? {
            return Err(node.missing(IS_FFA_PARTITION));
        }
        let load_address = node.require_integer(LOAD_ADDRESS)?;
        if load_address == 0 || !load_address.is_multiple_of(PAGE) {
            return Err(node
                .field_error(LOAD_ADDRESS_ALIGNED, Rule::RegionUnaligned)
                .value(load_address));
        }
        let mem_size = node.integer(MEM_SIZE)?;
        match mem_size {
            Some(0) => return Err(node.field_error(MEM_SIZE, Rule::RegionEmpty).value(0)),
            Some(size) if memory_range(load_address, size).is_none() => {
                return Err(node.field_error(MEM_SIZE, Rule::Overflow).value(size));
            }
            _ => {}
        }
        let vcpu_count = node.u32(VCPU_COUNT)?;
        if let Some(count @ (0 | 0x1_0000..)) = vcpu_count {
            return Err(node
                .field_error(VCPU_COUNT, Rule::ExecutionContexts)
                .value(u64::from(count)));
        }
        Ok(Self {
            node: node.path(),
            index,
            id: EndpointId(id),
            debug_name: node
                .string(DEBUG_NAME)?
                .ok_or_else(|| node.missing(DEBUG_NAME))?,
            load_address,
            vcpu_count,
            mem_size,
            smc_whitelist_permissive: node.flag(SMC_PERMISSIVE)?,
            smc_whitelist: node.cell_list(SMC_WHITELIST, 1)?.unwrap_or_default(),
        })
    }

    /// The function ids of SMCs that the partition may make to EL3.
    pub fn smc_whitelist(&self) -> impl Iterator<Item = u32> + Clone + 'a {
        self.smc_whitelist.cells()
    }
}

/// `size` bytes of partition memory, rounded up to pages.
pub(crate) fn memory_range(base: u64, size: u64) -> Option<Range> {
    Range::new(base, size.checked_next_multiple_of(PAGE)?)
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

fn timeout<'a>(node: Node<'_, 'a>, field: Field) -> Result<Option<u32>, ManifestError<'a>> {
    match node.u32(field)? {
        Some(value) if value == 0 || value > MAX_TIMEOUT => Err(node
            .field_error(field, Rule::MalformedInteger)
            .value(u64::from(value))),
        value => Ok(value),
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

/// `vm` and a digit: a node that is meant to be a partition, whether its number is right or not.
fn is_vm_name(name: &str) -> bool {
    name.strip_prefix("vm")
        .is_some_and(|number| number.starts_with(|character: char| character.is_ascii_digit()))
}

/// N of `vmN` in its only spelling.
fn vm_index(name: &str) -> Option<u32> {
    let number = name.strip_prefix("vm")?;
    if number.starts_with('+') || (number.starts_with('0') && number != "0") {
        return None;
    }
    number.parse().ok()
}
