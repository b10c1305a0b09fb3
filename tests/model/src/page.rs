// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pages: who owns them, who sees them and whose data they hold.
use std::collections::BTreeMap;

/// Bytes of a page, the unit of every rule.
pub const PAGE_SIZE: u64 = 4096;

/// An endpoint id as FF-A writes it: bit 15 set is a partition, 0 the hypervisor or the bare OS, others are VMs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Id(pub u16);

impl Id {
    /// The hypervisor, or the operating system where there is none.
    pub const HYPERVISOR: Self = Self(0);

    /// Whose memory this endpoint uses.
    pub fn domain(self) -> Domain {
        if self.0 & 0x8000 == 0 {
            Domain::NormalWorld
        } else {
            Domain::Partition(self)
        }
    }
}

/// Who can own and map memory. The SPMC cannot tell the VMs' memory apart: the normal world is one domain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Domain {
    /// All non-secure endpoints together.
    NormalWorld,
    /// One secure partition.
    Partition(Id),
}

/// The physical address space of a page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Space {
    /// Secure memory.
    Secure,
    /// Non-secure memory, inside the ranges that the manifest declares.
    NonSecure,
}

/// What a page is made of, and how a mapping treats it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// Memory: Normal, write-back, inner shareable.
    Normal,
    /// A device: nGnRnE.
    Device,
}

/// Rights on top of reading.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Access {
    /// May write.
    pub write: bool,
    /// May fetch instructions.
    pub execute: bool,
}

impl Access {
    /// Read only.
    pub const RO: Self = Self {
        write: false,
        execute: false,
    };
    /// Read and write.
    pub const RW: Self = Self {
        write: true,
        execute: false,
    };
    /// Read and execute.
    pub const RX: Self = Self {
        write: false,
        execute: true,
    };

    /// Whether each right is in `other` too.
    pub fn within(self, other: Self) -> bool {
        self.write <= other.write && self.execute <= other.execute
    }
}

/// What one domain's tables say of a page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Mapping {
    /// Rights.
    pub access: Access,
    /// Memory type of the entry.
    pub kind: Kind,
    /// Space that the entry points into.
    pub space: Space,
}

/// Who a page belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Owner {
    /// An endpoint's domain.
    Of(Domain),
    /// The SPMC: its image, tables and pools.
    Spmc,
    /// EL3 or another reserved range.
    Reserved,
}

/// What the owner did with a page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Hold {
    /// Nothing: it is the owner's alone.
    Exclusive,
    /// In a share.
    Shared,
    /// In a lend.
    Lent,
    /// In a donation that nobody has taken yet.
    Donated,
}

/// Whose data a page holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Content {
    /// Zeroes.
    Zero,
    /// What this domain wrote last.
    Of(Domain),
}

/// One page.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Page {
    /// Physical address space.
    pub space: Space,
    /// Memory or device.
    pub kind: Kind,
    /// Owner.
    pub owner: Owner,
    /// What the owner did with it.
    pub hold: Hold,
    /// Mappings by domain.
    pub map: BTreeMap<Domain, Mapping>,
    /// Data.
    pub content: Content,
}

impl Page {
    /// A page of `domain`, mapped there with `access`, holding its data.
    pub fn of(domain: Domain, space: Space, kind: Kind, access: Access) -> Self {
        let mapping = Mapping {
            access,
            kind,
            space,
        };
        Self {
            space,
            kind,
            owner: Owner::Of(domain),
            hold: Hold::Exclusive,
            map: BTreeMap::from([(domain, mapping)]),
            content: Content::Of(domain),
        }
    }

    /// A page that no endpoint may touch.
    pub fn reserved(owner: Owner, space: Space) -> Self {
        Self {
            space,
            kind: Kind::Normal,
            owner,
            hold: Hold::Exclusive,
            map: BTreeMap::new(),
            content: Content::Zero,
        }
    }
}
