// SPDX-License-Identifier: MIT OR Apache-2.0
//! The second forms of the notification calls, from 1.3: FFA_NOTIFICATION_BIND2, _UNBIND2, _SET2 and
//! _GET2.
//!
//! x1 and the flags in x2 are those of the first forms. A bitmap is six registers, bits 63:0 first.

use super::bitmap::WIRE_WORDS;
use super::{Binding, Bitmap, Get, Pending, Scope, Set};
use crate::{FfaError, Function, Registers, Width};

/// The first register of the bitmap of BIND2, UNBIND2 and SET2, and of the partitions' in GET2.
const FIRST: usize = 3;
/// The first register of the VMs' bitmap in GET2.
const VMS: usize = 9;

impl Binding {
    /// Reads the registers of FFA_NOTIFICATION_BIND2: as BIND, and the bitmap in x3 to x8.
    ///
    /// # Errors
    /// INVALID_PARAMETERS for an empty bitmap, or a notification that is not implemented.
    pub fn bind2(registers: &Registers) -> Result<Self, FfaError> {
        let bitmap = Bitmap::read(registers, FIRST)?;
        Self::of(registers, Scope::of(registers.w::<2>()), bitmap)
    }

    /// Reads the registers of FFA_NOTIFICATION_UNBIND2: as UNBIND, and the bitmap in x3 to x8.
    ///
    /// # Errors
    /// As [`Binding::bind2`].
    pub fn unbind2(registers: &Registers) -> Result<Self, FfaError> {
        Self::of(registers, Scope::Global, Bitmap::read(registers, FIRST)?)
    }
}

impl Set {
    /// Reads the registers of FFA_NOTIFICATION_SET2: as SET, with the vCPU in bits 63:16 of x2 and the
    /// bitmap in x3 to x8.
    ///
    /// # Errors
    /// As [`Set::decode`], and INVALID_PARAMETERS for a notification that is not implemented.
    pub fn decode2(registers: &Registers) -> Result<Self, FfaError> {
        let bitmap = Bitmap::read(registers, FIRST)?;
        Self::of(registers, registers.x::<2>(), bitmap)
    }
}

impl Get {
    /// What FFA_NOTIFICATION_GET2 wants of each bitmap that the flags name: what its mask (x3 to x8, x9 to
    /// x14, x15, x16) has zero. The call has the registers of GET besides.
    ///
    /// # Errors
    /// INVALID_PARAMETERS when the mask of a bitmap that is wanted has a notification that is not
    /// implemented.
    pub fn wanted2(self, registers: &Registers) -> Result<Pending, FfaError> {
        let unmasked = |flag: u32, first: usize| -> Result<Bitmap, FfaError> {
            if self.flags & flag == 0 {
                return Ok(Bitmap::NONE);
            }
            Ok(Bitmap::ALL.without(Bitmap::read(registers, first)?))
        };
        Ok(self.wanted(Pending {
            sp: unmasked(Self::SP, FIRST)?,
            vm: unmasked(Self::VM, VMS)?,
            spm: !registers.x::<15>(),
            hypervisor: !registers.x::<16>(),
        }))
    }
}

impl Pending {
    /// x0 to x17 of the FFA_SUCCESS of FFA_NOTIFICATION_GET2: partitions' in x3 to x8, VMs' in x9 to x14,
    /// the SPMC's in x15, the hypervisor's in x16.
    pub fn results2(self) -> [u64; 18] {
        let mut results = [0; 18];
        let head = [Function::Success.id(Width::W64), 0, 0];
        let words: [[u64; WIRE_WORDS]; 2] = [self.sp.words(), self.vm.words()];
        let all = (head.into_iter())
            .chain(words.into_iter().flatten())
            .chain([self.spm, self.hypervisor]);
        for (result, value) in results.iter_mut().zip(all) {
            *result = value;
        }
        results
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::ScheduleReceiver;
    use crate::{EndpointId, VcpuIndex};

    /// A call with 1 << N in each xN from x3 on, as far as it is implemented.
    fn call(flags: u64) -> Registers {
        let mut call = Registers::ZERO;
        call.x[1] = 0x8001_0002;
        call.x[2] = flags;
        for index in [3, 4, 9, 10, 15, 16] {
            call.x[index] = 1 << index;
        }
        call
    }

    fn bits(first: usize) -> Bitmap {
        Bitmap::read(&call(0), first).unwrap()
    }

    #[test]
    fn a38_a_bitmap_is_x3_to_x8() {
        let bound = Binding::bind2(&call(1)).unwrap();
        assert_eq!(
            (bound.sender, bound.receiver),
            (EndpointId(0x8001), EndpointId(2))
        );
        assert_eq!((bound.scope, bound.bitmap), (Scope::PerVcpu, bits(3)));
        assert_eq!(bits(3).members().collect::<Vec<_>>(), [3, 64 + 4]);
        let unbound = Binding::unbind2(&call(0)).unwrap();
        assert_eq!((unbound.scope, unbound.bitmap), (Scope::Global, bits(3)));
        assert_eq!(Set::decode2(&call(0)).unwrap().bitmap, bits(3));
    }

    #[test]
    fn a38_no_notification_and_those_that_are_not_implemented_are_invalid() {
        let refused = Err(FfaError::InvalidParameters);
        for (register, value) in [(5, 1), (8, 1 << 63), (6, u64::MAX)] {
            let mut call = call(0);
            call.x[register] = value;
            assert_eq!(Binding::bind2(&call), refused);
            assert_eq!(Binding::unbind2(&call), refused);
            assert_eq!(
                Set::decode2(&call).map(|set| set.bitmap),
                Err(FfaError::InvalidParameters)
            );
        }
        let mut empty = call(0);
        (empty.x[3], empty.x[4]) = (0, 0);
        assert_eq!(Binding::bind2(&empty), refused);
        assert_eq!(Binding::unbind2(&empty), refused);
        assert!(Set::decode2(&empty).is_err());
    }

    #[test]
    fn a38_n7_the_vcpu_is_in_bits_63_16() {
        for (flags, vcpu) in [
            (0, Ok(None)),
            (2, Ok(None)),
            (0x5_0003, Ok(Some(VcpuIndex(5)))),
            (0xffff_0001, Ok(Some(VcpuIndex(0xffff)))),
            (0x1_0000_0001, Err(FfaError::InvalidParameters)),
            (0x1_0000_0000, Err(FfaError::InvalidParameters)),
            (0x5_0000, Err(FfaError::InvalidParameters)),
        ] {
            let found = Set::decode2(&call(flags));
            assert_eq!(found.map(|set| set.vcpu), vcpu, "{flags:#x}");
            if let Ok(set) = found {
                let delayed = set.schedule_receiver == ScheduleReceiver::Delayed;
                assert_eq!(delayed, flags & 2 != 0);
            }
        }
    }

    #[test]
    fn a38_what_a_mask_names_is_not_wanted() {
        let call = call(0xf);
        let wanted = Get::decode(&call).wanted2(&call).unwrap();
        let expected = Pending {
            sp: Bitmap::ALL.without(bits(3)),
            vm: Bitmap::ALL.without(bits(9)),
            spm: !(1 << 15),
            hypervisor: !(1 << 16),
        };
        assert_eq!(wanted, expected);
        assert_eq!(expected.sp.members().count(), Bitmap::COUNT - 2);
    }

    #[test]
    fn a38_a_mask_counts_only_if_its_bitmap_is_wanted() {
        let mut call = call(u64::from(Get::VM));
        call.x[5] = 1;
        let wanted = Get::decode(&call).wanted2(&call).unwrap();
        assert_eq!(
            (wanted.sp, wanted.spm, wanted.hypervisor),
            (Bitmap::NONE, 0, 0)
        );
        assert_eq!(wanted.vm, Bitmap::ALL.without(bits(9)));
        call.x[11] = 1;
        assert_eq!(
            Get::decode(&call).wanted2(&call),
            Err(FfaError::InvalidParameters)
        );
    }

    #[test]
    fn a38_the_results_are_x3_to_x16() {
        let pending = Pending {
            sp: bits(3),
            vm: bits(9),
            spm: 1 << 15,
            hypervisor: 1 << 16,
        };
        let mut expected = call(0);
        expected.x[0] = Function::Success.id(Width::W64);
        expected.x[1] = 0;
        assert_eq!(pending.results2(), expected.x[..18]);
    }
}
