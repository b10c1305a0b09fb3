// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is accepted, but worth a line in the log.

use core::fmt;

use bulkhead_abi::{EndpointId, Uuid};

/// Something that manifests in the field say and that is not done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Warning {
    /// `id` without bit 15, as OP-TEE's (DECISIONS 11).
    IdIgnored {
        /// As written.
        written: u32,
        /// What the partition gets.
        used: EndpointId,
    },
    /// The partition manifest's `load-address` differs from the SPMC manifest's (B-09).
    LoadAddressIgnored {
        /// As written.
        written: u64,
        /// Where the package is.
        used: u64,
    },
    /// The partition manifest's `mem-size` differs from the SPMC manifest's `mem_size`.
    MemSizeIgnored {
        /// As written.
        written: u64,
        /// What the partition gets.
        used: u64,
    },
    /// Another partition has the same service: legal, but rarely meant.
    SharedUuid {
        /// The service.
        uuid: Uuid,
        /// The other partition.
        with: EndpointId,
    },
    /// `vcpu_count` of a multi-core partition is not the number of cores.
    VcpuCount {
        /// As written.
        vcpus: u32,
        /// The cores of the machine.
        cores: u32,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IdIgnored { written, used } => write!(
                f,
                "id = {written:#x} is not a secure id and is ignored: the partition is {used}"
            ),
            Self::LoadAddressIgnored { written, used } => write!(
                f,
                "load-address = {written:#x} is ignored: the package is at {used:#x}"
            ),
            Self::MemSizeIgnored { written, used } => write!(
                f,
                "mem-size = {written:#x} is ignored: mem_size of the SPMC manifest is {used:#x}"
            ),
            Self::SharedUuid { uuid, with } => {
                write!(f, "service {uuid} is also one of partition {with}")
            }
            Self::VcpuCount { vcpus, cores } => write!(
                f,
                "vcpu_count = {vcpus} differs from the number of cores, {cores}"
            ),
        }
    }
}

/// The warnings about one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Warnings(pub(super) [Option<Warning>; 5]);

impl Warnings {
    /// One by one.
    pub fn iter(&self) -> impl Iterator<Item = Warning> {
        self.0.into_iter().flatten()
    }
}
