// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers of the notification calls.
//!
//! Reserved bits of registers are refused by [`reserved::check`](crate::reserved::check).

mod bitmap;
mod second;

pub use bitmap::Bitmap;

use crate::{EndpointId, FfaError, Registers, VcpuIndex, Width};

/// A bitmap in w3 and w4, bits 31:0 in the first one (N14).
fn first_bitmap(registers: &Registers) -> Bitmap {
    let (low, high) = (registers.w::<3>(), registers.w::<4>());
    Bitmap::first((u64::from(high) << 32) | u64::from(low))
}

/// FFA_NOTIFICATION_BITMAP_CREATE.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BitmapCreate {
    /// Bits 15:0 of w1: the VM.
    pub vm: EndpointId,
    /// w2: how many vCPUs it has.
    pub vcpu_count: u32,
}

impl BitmapCreate {
    /// Reads the registers.
    pub fn decode(registers: &Registers) -> Self {
        Self {
            vm: bitmap_owner(registers),
            vcpu_count: registers.w::<2>(),
        }
    }
}

/// The VM of FFA_NOTIFICATION_BITMAP_CREATE and FFA_NOTIFICATION_BITMAP_DESTROY: bits 15:0 of w1
///
pub fn bitmap_owner(registers: &Registers) -> EndpointId {
    registers.receiver()
}

/// FFA_NOTIFICATION_BIND and FFA_NOTIFICATION_UNBIND.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Binding {
    /// Bits 31:16 of w1: who may signal.
    pub sender: EndpointId,
    /// Bits 15:0 of w1: who is signalled.
    pub receiver: EndpointId,
    /// Bit 0 of w2: the notifications are per vCPU. UNBIND has no flags.
    pub scope: Scope,
    /// w3, w4; x3 to x8 of the second form: which notifications, not none.
    pub bitmap: Bitmap,
}

/// Whom a notification is for: bit 0 of the flags of BIND and SET.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scope {
    /// 0: the partition.
    Global,
    /// 1: one of its vCPUs.
    PerVcpu,
}

/// Bit 0 of the flags of BIND and SET.
const PER_VCPU: u32 = 1 << 0;

impl Scope {
    const fn of(flags: u32) -> Self {
        if flags & PER_VCPU == 0 {
            Self::Global
        } else {
            Self::PerVcpu
        }
    }
}

impl Binding {
    /// Reads the registers of FFA_NOTIFICATION_BIND.
    ///
    /// # Errors
    /// INVALID_PARAMETERS for an empty bitmap.
    pub fn bind(registers: &Registers) -> Result<Self, FfaError> {
        let scope = Scope::of(registers.w::<2>());
        Self::of(registers, scope, first_bitmap(registers))
    }

    /// Reads the registers of FFA_NOTIFICATION_UNBIND; the scope is [`Scope::Global`].
    ///
    /// # Errors
    /// As [`Binding::bind`].
    pub fn unbind(registers: &Registers) -> Result<Self, FfaError> {
        Self::of(registers, Scope::Global, first_bitmap(registers))
    }

    fn of(registers: &Registers, scope: Scope, bitmap: Bitmap) -> Result<Self, FfaError> {
        if bitmap.is_empty() {
            return Err(FfaError::InvalidParameters);
        }
        Ok(Self {
            sender: registers.sender(),
            receiver: registers.receiver(),
            scope,
            bitmap,
        })
    }
}

/// When the schedule receiver interrupt may come: bit 1 of the flags of SET.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ScheduleReceiver {
    /// 0: at once.
    Now,
    /// 1: when the caller returns to the normal world. For partitions only (N7).
    Delayed,
}

/// FFA_NOTIFICATION_SET.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Set {
    /// Bits 31:16 of w1: who signals.
    pub sender: EndpointId,
    /// Bits 15:0 of w1: who is signalled.
    pub receiver: EndpointId,
    /// Bits 31:16 of w2 (63:16 of x2 in the second form) when bit 0 is set: the vCPU that is signalled.
    pub vcpu: Option<VcpuIndex>,
    /// Bit 1 of w2.
    pub schedule_receiver: ScheduleReceiver,
    /// w3, w4; x3 to x8 of the second form: which notifications, not none.
    pub bitmap: Bitmap,
}

impl Set {
    const DELAY: u32 = 1 << 1;

    /// Reads the registers.
    ///
    /// # Errors
    /// INVALID_PARAMETERS for a vCPU without the per-vCPU flag (N7), and for an empty bitmap.
    pub fn decode(registers: &Registers) -> Result<Self, FfaError> {
        let flags = u64::from(registers.w::<2>());
        Self::of(registers, flags, first_bitmap(registers))
    }

    fn of(registers: &Registers, flags: u64, bitmap: Bitmap) -> Result<Self, FfaError> {
        let vcpu = u16::try_from(flags >> 16).map_err(|_| FfaError::InvalidParameters)?;
        let flags = registers.w::<2>();
        let vcpu = match Scope::of(flags) {
            Scope::PerVcpu => Some(VcpuIndex(vcpu)),
            Scope::Global if vcpu == 0 => None,
            Scope::Global => return Err(FfaError::InvalidParameters),
        };
        if bitmap.is_empty() {
            return Err(FfaError::InvalidParameters);
        }
        Ok(Self {
            sender: registers.sender(),
            receiver: registers.receiver(),
            vcpu,
            schedule_receiver: if flags & Self::DELAY == 0 {
                ScheduleReceiver::Now
            } else {
                ScheduleReceiver::Delayed
            },
            bitmap,
        })
    }
}

/// FFA_NOTIFICATION_GET.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Get {
    /// Bits 15:0 of w1: whose notifications.
    pub receiver: EndpointId,
    /// Bits 31:16 of w1: the vCPU whose notifications are wanted besides the global ones.
    pub vcpu: VcpuIndex,
    /// w2: [`Get::SP`], [`Get::VM`], [`Get::SPM`] and [`Get::HYPERVISOR`].
    pub flags: u32,
}

impl Get {
    /// Bit 0: notifications of partitions.
    pub const SP: u32 = 1 << 0;
    /// Bit 1: notifications of VMs.
    pub const VM: u32 = 1 << 1;
    /// Bit 2: framework notifications of the SPMC.
    pub const SPM: u32 = 1 << 2;
    /// Bit 3: framework notifications of the hypervisor.
    pub const HYPERVISOR: u32 = 1 << 3;

    /// Reads the registers.
    pub fn decode(registers: &Registers) -> Self {
        Self {
            receiver: registers.receiver(),
            vcpu: VcpuIndex(registers.sender().0),
            flags: registers.w::<2>(),
        }
    }

    /// What of `most` is in the bitmaps that the flags name.
    #[must_use]
    pub fn wanted(self, most: Pending) -> Pending {
        let named = |flag| self.flags & flag != 0;
        let bitmap = |flag, bitmap| if named(flag) { bitmap } else { Bitmap::NONE };
        let word = |flag, word| if named(flag) { word } else { 0 };
        Pending {
            sp: bitmap(Self::SP, most.sp),
            vm: bitmap(Self::VM, most.vm),
            spm: word(Self::SPM, most.spm),
            hypervisor: word(Self::HYPERVISOR, most.hypervisor),
        }
    }
}

/// Framework notification: the RX buffer is full. Bit 0 of [`Pending::spm`].
pub const RX_BUFFER_FULL: u64 = 1 << 0;

/// Notifications of every kind: what is pending, or what of it is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Pending {
    /// Notifications of partitions.
    pub sp: Bitmap,
    /// Notifications of VMs.
    pub vm: Bitmap,
    /// Framework notifications of the SPMC.
    pub spm: u64,
    /// Framework notifications of the hypervisor.
    pub hypervisor: u64,
}

impl Pending {
    /// Those that FFA_NOTIFICATION_GET can tell of.
    pub const FIRST: Self = Self {
        sp: Bitmap::FIRST,
        vm: Bitmap::FIRST,
        spm: LOW,
        hypervisor: LOW,
    };

    /// x2 to x7 of the FFA_SUCCESS of FFA_NOTIFICATION_GET: partitions' in w2 and w3, VMs' in w4 and w5,
    /// the SPMC's in w6, the hypervisor's in w7 (N14).
    pub const fn results(self) -> [u64; 6] {
        let (sp, vm) = (self.sp.first_word(), self.vm.first_word());
        [
            sp & LOW,
            sp >> 32,
            vm & LOW,
            vm >> 32,
            self.spm & LOW,
            self.hypervisor & LOW,
        ]
    }
}

/// What a w register holds of an x register.
const LOW: u64 = 0xffff_ffff;

/// The answer to FFA_NOTIFICATION_INFO_GET: lists of a partition and up to three of its vCPUs
///
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InfoLists {
    ids: [u16; 20],
    id_count: usize,
    capacity: usize,
    flags: u64,
    list_count: u64,
}

impl InfoLists {
    /// The most vCPUs in a list; more of one partition go in another list.
    pub const MAXIMUM_VCPUS: usize = 3;
    /// Bit 0 of x2: there is more than fits.
    const MORE_PENDING: u64 = 1 << 0;
    /// Bits 11:7 of x2: how many lists.
    const LIST_COUNT_SHIFT: u32 = 7;
    /// Bits 13:12 of x2: how many vCPUs the first list has; the next ones follow.
    const VCPU_COUNT_SHIFT: u32 = 12;

    /// No lists; room for the ids that a call of this width carries: 10 in w3–w7, 20 in x3–x7.
    pub const fn new(width: Width) -> Self {
        Self {
            ids: [0; 20],
            id_count: 0,
            capacity: match width {
                Width::W32 => 10,
                Width::W64 => 20,
            },
            flags: 0,
            list_count: 0,
        }
    }

    /// Whether there are no lists: the answer is NO_DATA then (N10).
    pub const fn is_empty(&self) -> bool {
        self.list_count == 0
    }

    /// Adds a list. After an error nothing was added.
    ///
    /// # Errors
    /// NO_MEMORY when it does not fit or has more than [`InfoLists::MAXIMUM_VCPUS`].
    pub fn push(&mut self, partition: EndpointId, vcpus: &[VcpuIndex]) -> Result<(), FfaError> {
        let full = FfaError::NoMemory;
        let next = self.id_count.checked_add(1).ok_or(full)?;
        let end = next.checked_add(vcpus.len()).ok_or(full)?;
        if vcpus.len() > Self::MAXIMUM_VCPUS || end > self.capacity {
            return Err(full);
        }
        let count = u64::try_from(vcpus.len()).map_err(|_| full)?;
        let shift = u32::try_from(self.list_count)
            .ok()
            .and_then(|list| list.checked_mul(2))
            .and_then(|bits| bits.checked_add(Self::VCPU_COUNT_SHIFT))
            .ok_or(full)?;
        let ids = core::iter::once(partition.0).chain(vcpus.iter().map(|vcpu| vcpu.0));
        let places = self.ids.get_mut(self.id_count..end).ok_or(full)?;
        for (place, id) in places.iter_mut().zip(ids) {
            *place = id;
        }
        self.flags |= count.checked_shl(shift).ok_or(full)?;
        self.list_count = self.list_count.saturating_add(1);
        self.id_count = end;
        Ok(())
    }

    /// Says that another call will get more (N10).
    pub const fn more_pending(&mut self) {
        self.flags |= Self::MORE_PENDING;
    }

    /// x2 to x7 of the FFA_SUCCESS in the width that the lists were made for.
    pub fn results(&self) -> [u64; 6] {
        let mut results = [
            self.flags | (self.list_count << Self::LIST_COUNT_SHIFT),
            0,
            0,
            0,
            0,
            0,
        ];
        let (_, registers) = results.split_at_mut(1);
        let in_one = if self.capacity == 20 { 4 } else { 2 };
        for (register, ids) in registers.iter_mut().zip(self.ids.chunks(in_one)) {
            for (lane, id) in ids.iter().enumerate() {
                let shift = u32::try_from(lane).unwrap_or(0).saturating_mul(16);
                *register |= u64::from(*id).checked_shl(shift).unwrap_or(0);
            }
        }
        results
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

    /// Upper halves that nobody may look at (V17).
    const JUNK: u64 = 0xdead_beef_0000_0000;

    #[test]
    fn n14_an_asymmetric_bitmap_is_not_swapped() {
        let call = registers([0, 0x8001_0002, 1, JUNK | 3, JUNK | 4, 0, 0, 0]);
        let bound = Binding::bind(&call).unwrap();
        let expected = Binding {
            sender: EndpointId(0x8001),
            receiver: EndpointId(2),
            scope: Scope::PerVcpu,
            bitmap: Bitmap::first(0x4_0000_0003),
        };
        assert_eq!(bound, expected);
        let expected = Binding {
            scope: Scope::Global,
            ..expected
        };
        assert_eq!(Binding::unbind(&call), Ok(expected));
        let set = Set::decode(&call).unwrap();
        assert_eq!(set.bitmap, Bitmap::first(0x4_0000_0003));
        let pending = Pending {
            sp: Bitmap::first(0x4_0000_0003),
            vm: Bitmap::first(0x6_0000_0005),
            spm: 7,
            hypervisor: 8,
        };
        assert_eq!(pending.results(), [3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn a31_an_empty_bitmap_is_invalid() {
        let call = registers([0, 0x8001_0002, 0, JUNK, JUNK, 0, 0, 0]);
        assert_eq!(Binding::bind(&call), Err(FfaError::InvalidParameters));
        assert_eq!(Binding::unbind(&call), Err(FfaError::InvalidParameters));
        assert_eq!(Set::decode(&call), Err(FfaError::InvalidParameters));
    }

    #[test]
    fn n7_a_vcpu_needs_the_per_vcpu_flag() {
        for (flags, vcpu) in [
            (0, Ok(None)),
            (2, Ok(None)),
            (1, Ok(Some(VcpuIndex(0)))),
            (0x5_0001, Ok(Some(VcpuIndex(5)))),
            (0xffff_0003, Ok(Some(VcpuIndex(0xffff)))),
            (0x5_0000, Err(FfaError::InvalidParameters)),
            (0x8000_0002, Err(FfaError::InvalidParameters)),
        ] {
            let call = registers([0, 0x8001_0002, JUNK | flags, 1, 0, 0, 0, 0]);
            let found = Set::decode(&call);
            assert_eq!(found.map(|set| set.vcpu), vcpu, "{flags:#x}");
            if let Ok(set) = found {
                let delayed = set.schedule_receiver == ScheduleReceiver::Delayed;
                assert_eq!(delayed, flags & 2 != 0);
            }
        }
    }

    #[test]
    fn a33_get_names_receiver_vcpu_and_bitmaps() {
        let call = registers([0, 0x3_8001, 0xd, 0, 0, 0, 0, 0]);
        let expected = Get {
            receiver: EndpointId(0x8001),
            vcpu: VcpuIndex(3),
            flags: Get::SP | Get::SPM | Get::HYPERVISOR,
        };
        assert_eq!(Get::decode(&call), expected);
    }

    #[test]
    fn a30_create_names_the_vm_and_its_vcpus() {
        let call = registers([0, 7, JUNK | 4, 0, 0, 0, 0, 0]);
        let expected = BitmapCreate {
            vm: EndpointId(7),
            vcpu_count: 4,
        };
        assert_eq!(BitmapCreate::decode(&call), expected);
    }

    fn example(width: Width) -> InfoLists {
        let mut lists = InfoLists::new(width);
        assert!(lists.is_empty());
        let vcpus =
            |ids: &[u16]| -> Vec<VcpuIndex> { ids.iter().copied().map(VcpuIndex).collect() };
        for (partition, ids) in [(0, &[0, 2, 3][..]), (0, &[4, 6]), (2, &[]), (3, &[1])] {
            lists.push(EndpointId(partition), &vcpus(ids)).unwrap();
        }
        lists
    }

    #[test]
    fn a34_lists_are_packed_as_arm_ffa_packs_them() {
        let mut narrow = example(Width::W32);
        let expected = [
            0x0004_b200,
            0,
            0x0003_0002,
            0x0004_0000,
            0x0002_0006,
            0x0001_0003,
        ];
        assert_eq!(narrow.results(), expected);
        narrow.more_pending();
        assert_eq!(narrow.results()[0], 0x0004_b201);
        let wide = example(Width::W64);
        let expected = [
            0x0004_b200,
            0x0003_0002_0000_0000,
            0x0002_0006_0004_0000,
            0x0001_0003,
            0,
            0,
        ];
        assert_eq!(wide.results(), expected);
    }

    #[test]
    fn n10_what_does_not_fit_is_not_added() {
        for (width, capacity) in [(Width::W32, 10), (Width::W64, 20)] {
            let mut lists = InfoLists::new(width);
            for id in 0..capacity {
                lists.push(EndpointId(0x8000 + id), &[]).unwrap();
            }
            let full = lists;
            let found = lists.push(EndpointId(1), &[]);
            assert_eq!(found, Err(FfaError::NoMemory));
            assert_eq!(lists, full);
            assert_eq!(full.results()[0] >> 7, u64::from(capacity));
            let mut lists = InfoLists::new(width);
            let four = [VcpuIndex(1); 4];
            assert_eq!(lists.push(EndpointId(1), &four), Err(FfaError::NoMemory));
            assert!(lists.is_empty());
        }
    }
}
