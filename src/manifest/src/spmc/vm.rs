// SPDX-License-Identifier: MIT OR Apache-2.0
//! The partitions that the SPMC manifest announces: `vmN` of the `hypervisor` node (B-41).

use bulkhead_abi::EndpointId;

use super::{HYPERVISOR, PAGE, SpmcManifest};
use crate::dt::{CellList, Field, Node};
use crate::error::{ManifestError, NodePath, Rule};
use crate::rules::memory_range;

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
const CRITICAL: Field = Field::new("bulkhead,critical", "write bulkhead,critical;");
pub(crate) const IMAGE_COPY: Field = Field::new(
    "bulkhead,image-copy",
    "write bulkhead,image-copy = <PA>; for mem_size bytes of secure memory that are nobody else's",
);

/// Partitions have the ids 0x8000 + N up to this one; 0xffff is the SPMD.
const MAX_PARTITION_ID: u16 = 0xfffe;
const FIRST_SECURE_ID: u32 = 0x8000;

impl<'a> SpmcManifest<'a> {
    /// The partitions in the order of N of their node vmN.
    pub fn partitions(&self) -> impl Iterator<Item = VmNode<'a>> {
        (1..=self.partition_count())
            .filter_map(|index| VmNode::read(self.vm_node(index)?, index).ok())
    }

    /// How many partitions there are.
    pub fn partition_count(&self) -> u32 {
        u32::try_from(self.vm_nodes().count()).unwrap_or(0)
    }

    pub(super) fn vm_nodes(&self) -> impl Iterator<Item = Node<'_, 'a>> {
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
    pub(super) fn check_partitions(&self) -> Result<(), ManifestError<'a>> {
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
    /// The system may come to an end with the partition: `abort-action` may be to propagate (P19).
    pub critical: bool,
    /// Where a copy of the partition's memory as loaded is kept, so that `abort-action` may be to restart (P19).
    pub image_copy: Option<u64>,
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
            critical: node.flag(CRITICAL)?,
            image_copy: node.integer(IMAGE_COPY)?,
            smc_whitelist: node.cell_list(SMC_WHITELIST, 1)?.unwrap_or_default(),
        })
    }

    /// The function ids of SMCs that the partition may make to EL3.
    pub fn smc_whitelist(&self) -> impl Iterator<Item = u32> + Clone + 'a {
        self.smc_whitelist.cells()
    }
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
