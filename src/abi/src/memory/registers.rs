// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers of the memory management calls.
//!
//! Reserved bits of registers are refused by [`reserved::check`](crate::reserved::check).

use super::{Handle, PAGE_SIZE};
use crate::{EndpointId, FfaError, Function, Registers, Version, Width};

/// FFA_MEM_DONATE, FFA_MEM_LEND, FFA_MEM_SHARE and FFA_MEM_RETRIEVE_REQ with the descriptor in the
/// caller's TX buffer; FFA_MEM_RETRIEVE_RESP with it in the receiver's RX buffer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Lengths {
    /// w1: length of the whole descriptor, in bytes.
    pub total: u32,
    /// w2: length of the first fragment, in bytes.
    pub fragment: u32,
}

impl Lengths {
    /// Reads the registers.
    ///
    /// # Errors
    /// INVALID_PARAMETERS: an empty fragment, or one longer than the whole (S1, S2).
    pub fn decode(registers: &Registers) -> Result<Self, FfaError> {
        let lengths = Self {
            total: registers.w::<1>(),
            fragment: registers.w::<2>(),
        };
        if lengths.fragment == 0 || lengths.fragment > lengths.total {
            return Err(FfaError::InvalidParameters);
        }
        Ok(lengths)
    }

    /// FFA_MEM_RETRIEVE_RESP with these lengths.
    pub fn retrieve_response(self) -> [u64; 8] {
        let id = Function::MemRetrieveResp.id(Width::W32);
        let (total, fragment) = (u64::from(self.total), u64::from(self.fragment));
        [id, total, fragment, 0, 0, 0, 0, 0]
    }
}

/// Where the descriptor of FFA_MEM_DONATE, FFA_MEM_LEND or FFA_MEM_SHARE lies, if not in the caller's TX buffer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DescriptorBuffer {
    /// w3 or x3: the address of the first byte, as the caller sees it.
    pub address: u64,
    /// w4: the length in pages of 4 KiB.
    pub pages: u32,
}

impl DescriptorBuffer {
    /// Reads the registers; `None` is TX.
    ///
    /// # Errors
    /// INVALID_PARAMETERS: one of the two is zero, the other is not (S4).
    pub fn decode(registers: &Registers, width: Width) -> Result<Option<Self>, FfaError> {
        let address = registers.arg::<3>(width);
        match (address, registers.w::<4>()) {
            (0, 0) => Ok(None),
            (0, _) | (_, 0) => Err(FfaError::InvalidParameters),
            (address, pages) => Ok(Some(Self { address, pages })),
        }
    }
}

/// The handle in w1 and w2.
fn handle(registers: &Registers) -> Handle {
    Handle::from_words(registers.w::<1>(), registers.w::<2>())
}

/// FFA_MEM_RECLAIM.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Reclaim {
    /// w1, w2.
    pub handle: Handle,
    /// w3: [`Reclaim::CLEAR`] and [`Reclaim::TIME_SLICE`].
    pub flags: u32,
}

impl Reclaim {
    /// Bit 0: zero the memory before the owner has it back.
    pub const CLEAR: u32 = 1 << 0;
    /// Bit 1: the operation may be interrupted.
    pub const TIME_SLICE: u32 = 1 << 1;

    /// Reads the registers.
    pub fn decode(registers: &Registers) -> Self {
        Self {
            handle: handle(registers),
            flags: registers.w::<3>(),
        }
    }
}

/// FFA_MEM_FRAG_RX and FFA_MEM_FRAG_TX, either of which also answers the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fragment {
    /// w1, w2.
    pub handle: Handle,
    /// w3: of FRAG_RX the offset of the fragment wanted, of FRAG_TX the length of the one that is in
    /// the buffer; in bytes.
    pub position: u32,
    /// Bits 31:16 of w4: between a hypervisor and the SPMC the endpoint that sends or retrieves;
    /// else zero.
    pub endpoint: EndpointId,
}

impl Fragment {
    /// Reads the registers.
    pub fn decode(registers: &Registers) -> Self {
        Self {
            handle: handle(registers),
            position: registers.w::<3>(),
            endpoint: EndpointId::high_half(registers.x::<4>()),
        }
    }

    fn encode(self, function: Function) -> [u64; 8] {
        let (low, high) = self.handle.to_words();
        [
            function.id(Width::W32),
            u64::from(low),
            u64::from(high),
            u64::from(self.position),
            EndpointId::pair(self.endpoint, EndpointId(0)),
            0,
            0,
            0,
        ]
    }

    /// FFA_MEM_FRAG_RX: asks for the fragment at `position`.
    pub fn receive(self) -> [u64; 8] {
        self.encode(Function::MemFragRx)
    }

    /// FFA_MEM_FRAG_TX: brings a fragment of `position` bytes.
    pub fn transmit(self) -> [u64; 8] {
        self.encode(Function::MemFragTx)
    }
}

/// Bits 1:0 of FFA_MEM_PERM_SET's w3 and of FFA_MEM_PERM_GET's answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PageData {
    /// 0.
    NoAccess,
    /// 1.
    ReadWrite,
    /// 3.
    ReadOnly,
}

/// Bit 2 of the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PageExecution {
    /// 0.
    Executable,
    /// 1.
    NeverExecutable,
}

/// What an S-EL0 partition may do with one of its pages.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PagePermissions {
    /// Bits 1:0.
    pub data: PageData,
    /// Bit 2.
    pub execution: PageExecution,
}

impl PagePermissions {
    /// Decodes w3 of FFA_MEM_PERM_SET.
    ///
    /// # Errors
    /// INVALID_PARAMETERS: reserved bits or encodings, and what may be written and executed (T25).
    pub const fn decode(bits: u32) -> Result<Self, FfaError> {
        let execution = match bits & 4 {
            0 => PageExecution::Executable,
            _ => PageExecution::NeverExecutable,
        };
        let data = match (bits & !4, execution) {
            (0, _) => PageData::NoAccess,
            (1, PageExecution::NeverExecutable) => PageData::ReadWrite,
            (3, _) => PageData::ReadOnly,
            _ => return Err(FfaError::InvalidParameters),
        };
        Ok(Self { data, execution })
    }

    /// w2 of the answer to FFA_MEM_PERM_GET.
    pub const fn encode(self) -> u32 {
        let data = match self.data {
            PageData::NoAccess => 0,
            PageData::ReadWrite => 1,
            PageData::ReadOnly => 3,
        };
        match self.execution {
            PageExecution::Executable => data,
            PageExecution::NeverExecutable => data | 4,
        }
    }
}

/// The pages that FFA_MEM_PERM_GET and FFA_MEM_PERM_SET are about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PermissionRange {
    /// x1 (w1): address of the first page, on a page boundary.
    pub address: u64,
    /// Count of pages; not zero.
    pub page_count: u32,
}

impl PermissionRange {
    fn new(address: u64, page_count: u32) -> Result<Self, FfaError> {
        let ends = u64::from(page_count)
            .checked_mul(PAGE_SIZE)
            .and_then(|bytes| address.checked_add(bytes));
        if page_count == 0 || !address.is_multiple_of(PAGE_SIZE) || ends.is_none() {
            return Err(FfaError::InvalidParameters);
        }
        Ok(Self {
            address,
            page_count,
        })
    }

    /// Reads the registers of FFA_MEM_PERM_GET. From 1.3 w2 is the count of pages less one; below,
    /// the call is about one page.
    ///
    /// # Errors
    /// INVALID_PARAMETERS: an unaligned address, or a range that wraps (T25).
    pub fn get(registers: &Registers, width: Width, version: Version) -> Result<Self, FfaError> {
        let more = if version >= Version::V1_3 {
            registers.w::<2>()
        } else {
            0
        };
        let count = more.checked_add(1).ok_or(FfaError::InvalidParameters)?;
        Self::new(registers.arg::<1>(width), count)
    }

    /// Reads the registers of FFA_MEM_PERM_SET: w2 is the count of pages.
    ///
    /// # Errors
    /// INVALID_PARAMETERS: no pages, an unaligned address, or a range that wraps (T25).
    pub fn set(registers: &Registers, width: Width) -> Result<Self, FfaError> {
        Self::new(registers.arg::<1>(width), registers.w::<2>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registers(low: [u64; 8]) -> Registers {
        let mut registers = Registers {
            x: [0xa5a5_a5a5_a5a5_a5a5; 31],
        };
        registers.x[..8].copy_from_slice(&low);
        registers
    }

    #[test]
    fn s1_s2_lengths_are_checked_and_come_back() {
        for (total, fragment, good) in [
            (96, 96, true),
            (5000, 4096, true),
            (96, 0, false),
            (0, 0, false),
            (96, 97, false),
        ] {
            let call = registers([0, 0xdead_0000_0000_0000 | total, fragment, 0, 0, 0, 0, 0]);
            let found = Lengths::decode(&call);
            assert_eq!(found.is_ok(), good);
            if let Ok(found) = found {
                let response = [0x8400_0075, total, fragment, 0, 0, 0, 0, 0];
                assert_eq!(found.retrieve_response(), response);
            }
        }
    }

    #[test]
    fn a44_fragments_come_back() {
        let fragment = Fragment {
            handle: Handle(0x8000_0001_0000_0002),
            position: 4096,
            endpoint: EndpointId(3),
        };
        let call = [0x8400_007a, 2, 0x8000_0001, 4096, 0x3_0000, 0, 0, 0];
        assert_eq!(fragment.receive(), call);
        assert_eq!(fragment.transmit()[0], 0x8400_007b);
        for call in [fragment.receive(), fragment.transmit()] {
            assert_eq!(Fragment::decode(&registers(call)), fragment);
        }
    }

    #[test]
    fn h4_reclaim_reads_the_low_half_first() {
        let call = registers([0x8400_0077, 1, 2, 1, 0, 0, 0, 0]);
        let reclaim = Reclaim {
            handle: Handle(0x2_0000_0001),
            flags: Reclaim::CLEAR,
        };
        assert_eq!(Reclaim::decode(&call), reclaim);
    }

    #[test]
    fn t25_page_permissions_come_back_and_w_and_x_exclude_each_other() {
        let good = [0, 3, 4, 5, 7];
        for bits in 0..=0xff {
            match PagePermissions::decode(bits) {
                Ok(found) => {
                    assert!(good.contains(&bits), "{bits}");
                    assert_eq!(found.encode(), bits);
                }
                Err(error) => {
                    assert!(!good.contains(&bits), "{bits}");
                    assert_eq!(error, FfaError::InvalidParameters);
                }
            }
        }
        assert!(PagePermissions::decode(0x8000_0007).is_err());
    }

    #[test]
    fn t25_ranges_that_are_empty_unaligned_or_wrap_are_refused() {
        let last = u64::MAX << 12;
        for (address, count, good) in [
            (0x1000, 1, true),
            (0x1000, 0, false),
            (0x1001, 1, false),
            (0x1800, 1, false),
            (last, 1, false),
            (last - 0x1000, 1, true),
            (0x1000, u64::from(u32::MAX), true),
            (u64::MAX << 32, u64::from(u32::MAX), false),
        ] {
            let call = registers([0, address, count, 0, 0, 0, 0, 0]);
            let found = PermissionRange::set(&call, Width::W64);
            assert_eq!(found.is_ok(), good, "{address:#x} {count}");
        }
    }

    #[test]
    fn a56_perm_get_has_a_count_from_1_3() {
        let call = registers([0, 0xdead_beef_0000_1000, 2, 0, 0, 0, 0, 0]);
        for (version, pages) in [(Version::V1_1, 1), (Version::V1_2, 1), (Version::V1_3, 3)] {
            let found = PermissionRange::get(&call, Width::W32, version).unwrap();
            assert_eq!((found.address, found.page_count), (0x1000, pages));
        }
        let call = registers([0, 0x1000, u64::from(u32::MAX), 0, 0, 0, 0, 0]);
        let found = PermissionRange::get(&call, Width::W64, Version::V1_3);
        assert_eq!(found, Err(FfaError::InvalidParameters));
    }
}
