// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a mapping allows, and how the descriptors of each stage say it.
//!
//! The bits are those of block and page descriptors of VMSAv8-64 with the 4 KiB granule and 48-bit
//! output addresses. Everything that is not an address or a descriptor type is an attribute here.

use core::fmt;

/// A physical or intermediate physical address space.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Space {
    /// Secure.
    Secure,
    /// Non-secure.
    NonSecure,
}

/// What may be done with a page.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Permissions {
    /// Data may be read.
    pub read: bool,
    /// Data may be written.
    pub write: bool,
    /// Instructions may be fetched.
    pub execute: bool,
}

impl Permissions {
    /// Nothing.
    pub const NONE: Self = Self {
        read: false,
        write: false,
        execute: false,
    };
    /// Data may be read.
    pub const READ_ONLY: Self = Self {
        read: true,
        write: false,
        execute: false,
    };
    /// Data may be read and written.
    pub const READ_WRITE: Self = Self {
        read: true,
        write: true,
        execute: false,
    };
    /// Data may be read, instructions fetched.
    pub const READ_EXECUTE: Self = Self {
        read: true,
        write: false,
        execute: true,
    };
    /// Everything.
    pub const READ_WRITE_EXECUTE: Self = Self {
        read: true,
        write: true,
        execute: true,
    };

    /// Whether all that `needed` allows is allowed.
    pub const fn allow(self, needed: Self) -> bool {
        (self.read || !needed.read)
            && (self.write || !needed.write)
            && (self.execute || !needed.execute)
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.read { "r" } else { "-" })?;
        f.write_str(if self.write { "w" } else { "-" })?;
        f.write_str(if self.execute { "x" } else { "-" })
    }
}

/// What kind of memory a page is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MemoryType {
    /// Normal memory: inner and outer write-back cacheable, inner shareable.
    Normal,
    /// Device-nGnRnE.
    Device,
}

/// The attributes of a stage-2 mapping of a partition.
///
/// The output address space is not among them: VTCR_EL2 and VSTCR_EL2 choose it for all of a table
/// (`DESIGN.md` 3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Stage2Attributes {
    /// The kind of memory. It bounds what stage 1 says; with FWB it replaces what stage 1 says.
    pub memory: MemoryType,
    /// What S-EL1 and S-EL0 may do at most; their own stage 1 restricts it further.
    pub permissions: Permissions,
}

/// The attributes of a stage-1 mapping of S-EL2, or of a partition at S-EL0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Stage1Attributes {
    /// The kind of memory.
    pub memory: MemoryType,
    /// What the one to whom the mapping belongs may do. The other may do nothing, but that S-EL2 can
    /// read and write what S-EL0 can, if it clears PSTATE.PAN.
    pub permissions: Permissions,
    /// The physical address space of the output address.
    pub space: Space,
}

/// Whether indirect branches into executable pages of S-EL2 must land on a BTI instruction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BranchTargets {
    /// They may land anywhere; the code was compiled without BTI, or the cores lack FEAT_BTI.
    Unchecked,
    /// They must (GP = 1).
    Guarded,
}

/// Shareability, bits [9:8]: inner shareable.
pub(crate) const SH_INNER: u64 = 0b11 << 8;
/// Access flag, bit 10: the first access does not fault.
const AF: u64 = 1 << 10;

/// Stage 2 MemAttr, bits [5:2], HCR_EL2.FWB = 0: outer and inner write-back.
const S2_NORMAL: u64 = 0b1111 << 2;
/// Stage 2 MemAttr, bits [5:2], HCR_EL2.FWB = 1: write-back whatever stage 1 says.
const S2_FWB_NORMAL: u64 = 0b0110 << 2;
/// Stage 2 MemAttr, bits [5:2], with and without FWB: Device-nGnRnE.
const S2_DEVICE: u64 = 0b0000 << 2;
/// S2AP[0], bit 6: readable.
const S2AP_READ: u64 = 1 << 6;
/// S2AP[1], bit 7: writable.
const S2AP_WRITE: u64 = 1 << 7;
/// XN[1:0], bits [54:53] = 0b10: not executable at EL1 and EL0, with and without FEAT_XNX. 0b00 is
/// executable at both.
const S2_XN: u64 = 0b10 << 53;

/// The index of normal memory in [`MAIR_EL2`].
pub const ATTR_INDEX_NORMAL: u64 = 0;
/// The index of device memory in [`MAIR_EL2`].
pub const ATTR_INDEX_DEVICE: u64 = 1;
/// Where AttrIndx[2:0] starts: bits [4:2].
const ATTR_INDEX_SHIFT: u32 = 2;
/// MAIR attribute: normal, outer and inner write-back, read and write allocate, non-transient.
const MAIR_NORMAL: u64 = 0xff;
/// MAIR attribute: Device-nGnRnE.
const MAIR_DEVICE: u64 = 0x00;
/// What MAIR_EL2 must hold while tables made with [`Stage1Attributes`] are in use.
pub const MAIR_EL2: u64 =
    (MAIR_NORMAL << (8 * ATTR_INDEX_NORMAL)) | (MAIR_DEVICE << (8 * ATTR_INDEX_DEVICE));

/// NS, bit 5: the output address is non-secure (a Secure translation regime).
const S1_NS: u64 = 1 << 5;
/// AP[2], bit 7: read only.
const S1_READ_ONLY: u64 = 1 << 7;
/// AP[1], bit 6: accessible to S-EL0 too.
const S1_EL0: u64 = 1 << 6;
/// nG, bit 11: the entry belongs to an ASID.
const S1_NOT_GLOBAL: u64 = 1 << 11;
/// GP, bit 50: guarded page (FEAT_BTI).
const S1_GP: u64 = 1 << 50;
/// PXN, bit 53: not executable at S-EL2.
const S1_PXN: u64 = 1 << 53;
/// UXN, bit 54: not executable at S-EL0.
const S1_UXN: u64 = 1 << 54;

impl Stage2Attributes {
    /// The attribute bits of a block or page descriptor for HCR_EL2.FWB = `fwb`; `None` for
    /// executable device memory, from which a core could fetch speculatively.
    pub const fn encode(self, fwb: bool) -> Option<u64> {
        let memory = match (self.memory, fwb) {
            (MemoryType::Normal, false) => S2_NORMAL,
            (MemoryType::Normal, true) => S2_FWB_NORMAL,
            (MemoryType::Device, _) if self.permissions.execute => return None,
            (MemoryType::Device, _) => S2_DEVICE,
        };
        let read = if self.permissions.read { S2AP_READ } else { 0 };
        let write = if self.permissions.write {
            S2AP_WRITE
        } else {
            0
        };
        let never = if self.permissions.execute { 0 } else { S2_XN };
        Some(memory | read | write | never | SH_INNER | AF)
    }

    /// What [`Stage2Attributes::encode`] made `bits` from; `None` if it makes no such bits.
    pub fn decode(bits: u64, fwb: bool) -> Option<Self> {
        let normal = if fwb { S2_FWB_NORMAL } else { S2_NORMAL };
        let attributes = Self {
            memory: if bits & normal == 0 {
                MemoryType::Device
            } else {
                MemoryType::Normal
            },
            permissions: Permissions {
                read: bits & S2AP_READ != 0,
                write: bits & S2AP_WRITE != 0,
                execute: bits & S2_XN == 0,
            },
        };
        (attributes.encode(fwb) == Some(bits)).then_some(attributes)
    }
}

impl Stage1Attributes {
    /// The attribute bits of a block or page descriptor of the EL2&0 regime with E2H = 1.
    ///
    /// `None` for what S-EL2 never maps: pages both writable and executable, executable device
    /// memory, executable memory of the normal world, and pages that are not readable, which the
    /// regime cannot express.
    pub const fn encode(self, targets: BranchTargets) -> Option<u64> {
        let Permissions {
            read,
            write,
            execute,
        } = self.permissions;
        let foreign =
            matches!(self.memory, MemoryType::Device) || matches!(self.space, Space::NonSecure);
        if !read || (execute && (write || foreign)) {
            return None;
        }
        let index = match self.memory {
            MemoryType::Normal => ATTR_INDEX_NORMAL,
            MemoryType::Device => ATTR_INDEX_DEVICE,
        };
        let memory = index << ATTR_INDEX_SHIFT;
        let space = match self.space {
            Space::Secure => 0,
            Space::NonSecure => S1_NS,
        };
        let access = if write { 0 } else { S1_READ_ONLY };
        let fetch = match (execute, targets) {
            (false, _) => S1_PXN,
            (true, BranchTargets::Unchecked) => 0,
            (true, BranchTargets::Guarded) => S1_GP,
        };
        Some(memory | space | access | fetch | S1_UXN | SH_INNER | AF)
    }

    /// What [`Stage1Attributes::encode`] made `bits` from; `None` if it makes no such bits.
    pub fn decode(bits: u64) -> Option<Self> {
        let guarded = bits & S1_GP != 0;
        let device = bits & (ATTR_INDEX_DEVICE << ATTR_INDEX_SHIFT) != 0;
        let attributes = Self {
            memory: if device {
                MemoryType::Device
            } else {
                MemoryType::Normal
            },
            permissions: Permissions {
                read: true,
                write: bits & S1_READ_ONLY == 0,
                execute: bits & S1_PXN == 0,
            },
            space: if bits & S1_NS == 0 {
                Space::Secure
            } else {
                Space::NonSecure
            },
        };
        let targets = if guarded {
            BranchTargets::Guarded
        } else {
            BranchTargets::Unchecked
        };
        (attributes.encode(targets) == Some(bits)).then_some(attributes)
    }

    /// As [`Stage1Attributes::encode`], for a partition at S-EL0: entries belong to an ASID, and
    /// S-EL2 never executes there. `targets` is the partition's.
    ///
    /// `None` for what no partition may have: pages both writable and executable, executable device
    /// memory, executable memory of the normal world, and pages that can be written or executed but
    /// not read. Pages without any permission are possible (A-56).
    pub const fn encode_el0(self, targets: BranchTargets) -> Option<u64> {
        let allowed = Self {
            permissions: Permissions {
                read: true,
                ..self.permissions
            },
            ..self
        };
        let bits = match allowed.encode(targets) {
            Some(bits) => bits,
            None => return None,
        };
        let execute = if self.permissions.execute { 0 } else { S1_UXN };
        let access = match self.permissions {
            Permissions { read: true, .. } => S1_EL0,
            // S-EL2 may read it, if anyone.
            Permissions::NONE => S1_READ_ONLY,
            _ => return None,
        };
        Some((bits & !S1_UXN) | execute | S1_PXN | access | S1_NOT_GLOBAL)
    }

    /// What [`Stage1Attributes::encode_el0`] made `bits` from; `None` if it makes no such bits.
    pub fn decode_el0(bits: u64) -> Option<Self> {
        let accessible = bits & S1_EL0 != 0;
        let own = S1_EL0 | S1_NOT_GLOBAL | S1_PXN | S1_UXN;
        let execute = if bits & S1_UXN == 0 { 0 } else { S1_PXN };
        let mut attributes = Self::decode((bits & !own) | execute | S1_UXN)?;
        if !accessible {
            attributes.permissions = Permissions::NONE;
        }
        let guarded = if bits & S1_GP == 0 {
            BranchTargets::Unchecked
        } else {
            BranchTargets::Guarded
        };
        (attributes.encode_el0(guarded) == Some(bits)).then_some(attributes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn permissions() -> impl Iterator<Item = Permissions> {
        (0..8).map(|bits| Permissions {
            read: bits & 1 != 0,
            write: bits & 2 != 0,
            execute: bits & 4 != 0,
        })
    }

    const MEMORY: [MemoryType; 2] = [MemoryType::Normal, MemoryType::Device];

    #[test]
    fn stage_2_bits() {
        use MemoryType::{Device, Normal};
        for (memory, permissions, plain, fwb) in [
            (Normal, Permissions::READ_WRITE_EXECUTE, 0x7fc, 0x7d8),
            (
                Normal,
                Permissions::READ_WRITE,
                0x0040_0000_0000_07fc,
                0x0040_0000_0000_07d8,
            ),
            (
                Normal,
                Permissions::READ_ONLY,
                0x0040_0000_0000_077c,
                0x0040_0000_0000_0758,
            ),
            (Normal, Permissions::READ_EXECUTE, 0x77c, 0x758),
            (
                Normal,
                Permissions::NONE,
                0x0040_0000_0000_073c,
                0x0040_0000_0000_0718,
            ),
            (
                Device,
                Permissions::READ_WRITE,
                0x0040_0000_0000_07c0,
                0x0040_0000_0000_07c0,
            ),
            (
                Device,
                Permissions::READ_ONLY,
                0x0040_0000_0000_0740,
                0x0040_0000_0000_0740,
            ),
        ] {
            let attributes = Stage2Attributes {
                memory,
                permissions,
            };
            assert_eq!(attributes.encode(false), Some(plain), "{attributes:?}");
            assert_eq!(attributes.encode(true), Some(fwb), "{attributes:?}");
        }
    }

    #[test]
    fn stage_1_bits() {
        use MemoryType::{Device, Normal};
        use Space::{NonSecure, Secure};
        for (memory, permissions, space, bits) in [
            (
                Normal,
                Permissions::READ_EXECUTE,
                Secure,
                0x0040_0000_0000_0780,
            ),
            (
                Normal,
                Permissions::READ_ONLY,
                Secure,
                0x0060_0000_0000_0780,
            ),
            (
                Normal,
                Permissions::READ_WRITE,
                Secure,
                0x0060_0000_0000_0700,
            ),
            (
                Normal,
                Permissions::READ_WRITE,
                NonSecure,
                0x0060_0000_0000_0720,
            ),
            (
                Normal,
                Permissions::READ_ONLY,
                NonSecure,
                0x0060_0000_0000_07a0,
            ),
            (
                Device,
                Permissions::READ_WRITE,
                Secure,
                0x0060_0000_0000_0704,
            ),
            (
                Device,
                Permissions::READ_WRITE,
                NonSecure,
                0x0060_0000_0000_0724,
            ),
        ] {
            let attributes = Stage1Attributes {
                memory,
                permissions,
                space,
            };
            assert_eq!(
                attributes.encode(BranchTargets::Unchecked),
                Some(bits),
                "{attributes:?}"
            );
        }
        let text = Stage1Attributes {
            memory: Normal,
            permissions: Permissions::READ_EXECUTE,
            space: Secure,
        };
        assert_eq!(
            text.encode(BranchTargets::Guarded),
            Some(0x0044_0000_0000_0780)
        );
        assert_eq!(MAIR_EL2, 0x00ff);
    }

    #[test]
    fn stage_2_refuses_executable_devices_only() {
        for (memory, permissions) in MEMORY
            .into_iter()
            .flat_map(|m| permissions().map(move |p| (m, p)))
        {
            let refused = memory == MemoryType::Device && permissions.execute;
            for fwb in [false, true] {
                let bits = Stage2Attributes {
                    memory,
                    permissions,
                }
                .encode(fwb);
                assert_eq!(bits.is_none(), refused, "{memory:?} {permissions}");
            }
        }
    }

    #[test]
    fn stage_1_is_writable_or_executable_not_both() {
        for space in [Space::Secure, Space::NonSecure] {
            for (memory, permissions) in MEMORY
                .into_iter()
                .flat_map(|m| permissions().map(move |p| (m, p)))
            {
                let Permissions {
                    read,
                    write,
                    execute,
                } = permissions;
                let own = memory == MemoryType::Normal && space == Space::Secure;
                let expected = match (read, write, execute) {
                    (false, _, _) | (_, true, true) => false,
                    (true, _, false) => true,
                    (true, false, true) => own,
                };
                let bits = Stage1Attributes {
                    memory,
                    permissions,
                    space,
                }
                .encode(BranchTargets::Unchecked);
                assert_eq!(
                    bits.is_some(),
                    expected,
                    "{memory:?} {permissions} {space:?}"
                );
            }
        }
    }

    #[test]
    fn el0_bits() {
        use MemoryType::{Device, Normal};
        use Space::{NonSecure, Secure};
        for (memory, permissions, space, bits) in [
            (
                Normal,
                Permissions::READ_EXECUTE,
                Secure,
                0x0020_0000_0000_0fc0,
            ),
            (
                Normal,
                Permissions::READ_ONLY,
                Secure,
                0x0060_0000_0000_0fc0,
            ),
            (
                Normal,
                Permissions::READ_WRITE,
                Secure,
                0x0060_0000_0000_0f40,
            ),
            (Normal, Permissions::NONE, Secure, 0x0060_0000_0000_0f80),
            (
                Normal,
                Permissions::READ_WRITE,
                NonSecure,
                0x0060_0000_0000_0f60,
            ),
            (
                Device,
                Permissions::READ_WRITE,
                Secure,
                0x0060_0000_0000_0f44,
            ),
        ] {
            let attributes = Stage1Attributes {
                memory,
                permissions,
                space,
            };
            let encoded = attributes.encode_el0(BranchTargets::Unchecked);
            assert_eq!(encoded, Some(bits), "{attributes:?}");
            assert_eq!(Stage1Attributes::decode_el0(bits), Some(attributes));
        }
    }

    #[test]
    fn o6_el0_is_writable_or_executable_not_both() {
        for space in [Space::Secure, Space::NonSecure] {
            for (memory, permissions) in MEMORY
                .into_iter()
                .flat_map(|m| permissions().map(move |p| (m, p)))
            {
                let own = memory == MemoryType::Normal && space == Space::Secure;
                let Permissions {
                    read,
                    write,
                    execute,
                } = permissions;
                let expected = match (read, write, execute) {
                    (_, true, true) | (false, true, _) | (false, _, true) => false,
                    (_, _, false) => true,
                    (true, false, true) => own,
                };
                let attributes = Stage1Attributes {
                    memory,
                    permissions,
                    space,
                };
                let bits = attributes.encode_el0(BranchTargets::Guarded);
                assert_eq!(bits.is_some(), expected, "{attributes:?}");
                // PXN, nG, and never AP[1] without a permission.
                if let Some(bits) = bits {
                    assert_eq!(bits >> 53 & 1, 1);
                    assert_eq!(bits >> 11 & 1, 1);
                    assert_eq!(bits >> 6 & 1 == 1, read);
                    assert_eq!(Stage1Attributes::decode_el0(bits), Some(attributes));
                }
            }
        }
    }

    /// Each combination of the bits of which `mask` consists.
    fn subsets(mask: u64) -> impl Iterator<Item = u64> {
        let mut next = Some(0_u64);
        std::iter::from_fn(move || {
            let subset = next?;
            let following = subset.wrapping_sub(mask) & mask;
            next = (following != 0).then_some(following);
            Some(subset)
        })
    }

    #[test]
    fn what_is_decoded_encodes_to_the_same_bits() {
        // Every attribute field of either stage.
        let fields = 0x0070_0000_0000_0ffc | S1_GP;
        let mut found = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
        for bits in subsets(fields) {
            for (set, fwb) in [(0, false), (1, true)] {
                if let Some(attributes) = Stage2Attributes::decode(bits, fwb) {
                    assert_eq!(attributes.encode(fwb), Some(bits));
                    found[set].insert(bits);
                }
            }
            if let Some(attributes) = Stage1Attributes::decode(bits) {
                let both = [BranchTargets::Unchecked, BranchTargets::Guarded];
                assert!(
                    both.iter()
                        .any(|&targets| attributes.encode(targets) == Some(bits))
                );
                found[2].insert(bits);
            }
        }
        // Stage 2: 8 of normal and 4 of device memory. Stage 1: read-only and read-write of two
        // types in two spaces, and text with and without GP.
        assert_eq!(found.map(|set| set.len()), [12, 12, 10]);
    }

    #[test]
    fn permissions_are_ordered_and_printed() {
        assert!(Permissions::READ_WRITE.allow(Permissions::READ_ONLY));
        assert!(!Permissions::READ_ONLY.allow(Permissions::READ_WRITE));
        assert!(!Permissions::READ_WRITE.allow(Permissions::READ_EXECUTE));
        assert!(Permissions::NONE.allow(Permissions::NONE));
        assert!(!Permissions::NONE.allow(Permissions::READ_ONLY));
        let printed = [
            Permissions::READ_EXECUTE,
            Permissions::READ_WRITE,
            Permissions::NONE,
        ];
        assert_eq!(
            printed.map(|permissions| permissions.to_string()),
            ["r-x", "rw-", "---"]
        );
    }
}
