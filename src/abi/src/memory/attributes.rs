// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory attributes, permissions and flags of transactions.

use super::Malformed;
use crate::World;

/// Bits 3:2 of the attributes of normal memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cacheability {
    /// 1.
    NonCacheable,
    /// 3.
    WriteBack,
}

/// Bits 1:0 of the attributes of normal memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Shareability {
    /// 0.
    NonShareable,
    /// 2.
    Outer,
    /// 3.
    Inner,
}

/// Bits 3:2 of the attributes of device memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Device {
    /// 0: Device-nGnRnE.
    NGnRnE,
    /// 1: Device-nGnRE.
    NGnRE,
    /// 2: Device-nGRE.
    NGRE,
    /// 3: Device-GRE.
    GRE,
}

/// Bits 5:0 of the attributes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MemoryType {
    /// Type 0. The other bits are not looked at: test partitions leave values in them.
    NotSpecified,
    /// Type 1. Bits 1:0 are not looked at.
    Device(Device),
    /// Type 2.
    Normal(Cacheability, Shareability),
}

/// The attributes of a memory region.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Attributes {
    /// Bits 5:0.
    pub memory_type: MemoryType,
    /// Bit 6: of a response, whether the memory is [`World::Normal`]'s. A request has it clear
    /// (S42), and says nothing by that. A reader at 1.0 is shown it only if it asked.
    pub world: World,
}

impl Attributes {
    /// Type not specified, bit 6 clear.
    pub const NOT_SPECIFIED: Self = Self {
        memory_type: MemoryType::NotSpecified,
        world: World::Secure,
    };
    /// Bits that some version defines.
    const DEFINED: u16 = 0x7f;
    const NON_SECURE: u16 = 1 << 6;

    /// Decodes the field, which is 8 bits wide at 1.0.
    ///
    /// # Errors
    /// Reserved bits or a reserved encoding.
    pub const fn decode(bits: u16) -> Result<Self, Malformed> {
        if bits & !Self::DEFINED != 0 {
            return Err(Malformed::Reserved("bit of the memory attributes"));
        }
        let low = match bits & 3 {
            0 => Some(Shareability::NonShareable),
            2 => Some(Shareability::Outer),
            3 => Some(Shareability::Inner),
            _ => None,
        };
        let memory_type = match (bits >> 4 & 3, bits >> 2 & 3, low) {
            (0, ..) => MemoryType::NotSpecified,
            (1, 0, _) => MemoryType::Device(Device::NGnRnE),
            (1, 1, _) => MemoryType::Device(Device::NGnRE),
            (1, 2, _) => MemoryType::Device(Device::NGRE),
            (1, 3, _) => MemoryType::Device(Device::GRE),
            (2, 1, Some(low)) => MemoryType::Normal(Cacheability::NonCacheable, low),
            (2, 3, Some(low)) => MemoryType::Normal(Cacheability::WriteBack, low),
            _ => return Err(Malformed::Value("memory attributes")),
        };
        let world = if bits & Self::NON_SECURE != 0 {
            World::Normal
        } else {
            World::Secure
        };
        Ok(Self { memory_type, world })
    }

    /// The field.
    pub const fn encode(self) -> u16 {
        let memory_type = match self.memory_type {
            MemoryType::NotSpecified => 0,
            MemoryType::Device(device) => {
                0x10 | match device {
                    Device::NGnRnE => 0,
                    Device::NGnRE => 0x4,
                    Device::NGRE => 0x8,
                    Device::GRE => 0xc,
                }
            }
            MemoryType::Normal(cacheability, shareability) => {
                let cacheability = match cacheability {
                    Cacheability::NonCacheable => 0x4,
                    Cacheability::WriteBack => 0xc,
                };
                let shareability = match shareability {
                    Shareability::NonShareable => 0,
                    Shareability::Outer => 2,
                    Shareability::Inner => 3,
                };
                0x20 | cacheability | shareability
            }
        };
        match self.world {
            World::Normal => memory_type | Self::NON_SECURE,
            World::Secure => memory_type,
        }
    }
}

/// Bits 1:0 of the permissions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DataAccess {
    /// 0.
    NotSpecified,
    /// 1.
    ReadOnly,
    /// 2.
    ReadWrite,
}

/// Bits 3:2 of the permissions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum InstructionAccess {
    /// 0.
    NotSpecified,
    /// 1.
    NotExecutable,
    /// 2.
    Executable,
}

/// What an endpoint may do with the memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Permissions {
    /// Bits 1:0.
    pub data: DataAccess,
    /// Bits 3:2.
    pub instruction: InstructionAccess,
}

impl Permissions {
    /// Nothing is said.
    pub const NOT_SPECIFIED: Self = Self {
        data: DataAccess::NotSpecified,
        instruction: InstructionAccess::NotSpecified,
    };

    /// Decodes the field.
    ///
    /// # Errors
    /// Reserved bits or a reserved encoding.
    pub const fn decode(bits: u8) -> Result<Self, Malformed> {
        if bits & 0xf0 != 0 {
            return Err(Malformed::Reserved("bit of the permissions"));
        }
        let data = match bits & 3 {
            0 => DataAccess::NotSpecified,
            1 => DataAccess::ReadOnly,
            2 => DataAccess::ReadWrite,
            _ => return Err(Malformed::Value("data access")),
        };
        let instruction = match bits >> 2 {
            0 => InstructionAccess::NotSpecified,
            1 => InstructionAccess::NotExecutable,
            2 => InstructionAccess::Executable,
            _ => return Err(Malformed::Value("instruction access")),
        };
        Ok(Self { data, instruction })
    }

    /// The field.
    pub const fn encode(self) -> u8 {
        let data = match self.data {
            DataAccess::NotSpecified => 0,
            DataAccess::ReadOnly => 1,
            DataAccess::ReadWrite => 2,
        };
        let instruction = match self.instruction {
            InstructionAccess::NotSpecified => 0,
            InstructionAccess::NotExecutable => 0x4,
            InstructionAccess::Executable => 0x8,
        };
        data | instruction
    }
}

/// What a retrieve request or response says that the transaction was: bits 4:3 of the flags (T4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TransactionType {
    /// 0.
    NotSpecified,
    /// 1.
    Share,
    /// 2.
    Lend,
    /// 3.
    Donate,
}

/// Which descriptor it is, and so which fields it may use.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// FFA_MEM_DONATE, FFA_MEM_LEND and FFA_MEM_SHARE.
    Send,
    /// FFA_MEM_RETRIEVE_REQ.
    RetrieveRequest,
    /// FFA_MEM_RETRIEVE_RESP.
    RetrieveResponse,
}

/// The flags of a transaction descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Flags(pub u32);

impl Flags {
    /// Bit 0: zero the memory before the receiver can see it; of a response, that it was.
    pub const CLEAR: u32 = 1 << 0;
    /// Bit 1: the operation may be interrupted.
    pub const TIME_SLICE: u32 = 1 << 1;
    /// Bit 2, of a retrieve request: zero the memory when it is relinquished.
    pub const CLEAR_RELINQUISH: u32 = 1 << 2;
    /// Bits 8:5, of a retrieve request: the alignment hint, with [`Flags::HINT_VALID`] (T7).
    pub const ALIGNMENT_HINT: u32 = 0xf << 5;
    /// Bit 9, of a retrieve request: bits 8:5 are an alignment hint.
    pub const HINT_VALID: u32 = 1 << 9;
    /// Bit 10, of a retrieve request: the list of receivers is the caller alone.
    pub const BYPASS_BORROWERS: u32 = 1 << 10;

    const TYPE_SHIFT: u32 = 3;

    /// The bits that a descriptor of this kind may have set (S45 for [`Kind::Send`]).
    pub const fn defined(kind: Kind) -> u32 {
        match kind {
            Kind::Send => 0x3,
            Kind::RetrieveRequest => 0x7ff,
            Kind::RetrieveResponse => 0x1f,
        }
    }

    /// Decodes the field.
    ///
    /// # Errors
    /// Bits that a descriptor of this kind does not have.
    pub const fn decode(bits: u32, kind: Kind) -> Result<Self, Malformed> {
        if bits & !Self::defined(kind) != 0 {
            return Err(Malformed::Reserved("bit of the flags"));
        }
        Ok(Self(bits))
    }

    /// Whether any of these bits is set.
    pub const fn has(self, bits: u32) -> bool {
        self.0 & bits != 0
    }

    /// Bits 4:3.
    pub const fn transaction_type(self) -> TransactionType {
        match self.0 >> Self::TYPE_SHIFT & 3 {
            0 => TransactionType::NotSpecified,
            1 => TransactionType::Share,
            2 => TransactionType::Lend,
            _ => TransactionType::Donate,
        }
    }

    /// The same flags with this type in bits 4:3.
    pub const fn with_type(self, transaction_type: TransactionType) -> Self {
        let bits = match transaction_type {
            TransactionType::NotSpecified => 0,
            TransactionType::Share => 1,
            TransactionType::Lend => 2,
            TransactionType::Donate => 3,
        };
        Self((self.0 & !(3 << Self::TYPE_SHIFT)) | (bits << Self::TYPE_SHIFT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a47_every_attribute_encoding_comes_back_or_is_refused() {
        let mut found = 0;
        for bits in 0..=u16::MAX {
            match Attributes::decode(bits) {
                Ok(attributes) => {
                    found += 1;
                    let ignored = match attributes.memory_type {
                        MemoryType::NotSpecified => 0xf,
                        MemoryType::Device(_) => 3,
                        MemoryType::Normal(..) => 0,
                    };
                    assert_eq!(attributes.encode(), bits & !ignored, "{bits:#x}");
                }
                Err(error) if bits > 0x7f => {
                    assert_eq!(error, Malformed::Reserved("bit of the memory attributes"));
                }
                Err(error) => assert_eq!(error, Malformed::Value("memory attributes")),
            }
        }
        // With bit 6 set and clear: 16 not specified, 16 device, 2 * 3 normal.
        assert_eq!(found, 2 * (16 + 16 + 6));
    }

    #[test]
    fn a47_linux_shares_normal_write_back_inner_shareable_memory() {
        let normal = Attributes {
            memory_type: MemoryType::Normal(Cacheability::WriteBack, Shareability::Inner),
            world: World::Secure,
        };
        assert_eq!(Attributes::decode(0x2f), Ok(normal));
        let secure = Attributes {
            world: World::Normal,
            ..normal
        };
        assert_eq!(Attributes::decode(0x6f), Ok(secure));
    }

    #[test]
    fn a48_every_permission_comes_back_or_is_refused() {
        let mut found = 0;
        for bits in 0..=u8::MAX {
            if let Ok(permissions) = Permissions::decode(bits) {
                found += 1;
                assert_eq!(permissions.encode(), bits);
            } else {
                assert!(bits > 0xf || bits & 3 == 3 || bits >> 2 == 3, "{bits:#x}");
            }
        }
        assert_eq!(found, 9);
    }

    #[test]
    fn s45_each_kind_has_its_own_flags() {
        for (kind, defined) in [
            (Kind::Send, 2),
            (Kind::RetrieveRequest, 11),
            (Kind::RetrieveResponse, 5),
        ] {
            for bit in 0..32 {
                assert_eq!(Flags::decode(1 << bit, kind).is_ok(), bit < defined);
            }
        }
    }

    #[test]
    fn t4_the_transaction_type_is_bits_4_and_3() {
        for (value, transaction_type) in [
            (0, TransactionType::NotSpecified),
            (8, TransactionType::Share),
            (0x10, TransactionType::Lend),
            (0x18, TransactionType::Donate),
        ] {
            assert_eq!(Flags(value | 0x7e7).transaction_type(), transaction_type);
            let flags = Flags(0x7ff).with_type(transaction_type);
            assert_eq!(flags, Flags(0x7e7 | value));
        }
    }
}
