// SPDX-License-Identifier: MIT OR Apache-2.0
//! Devices that Bulkhead emulates by stage-2 faults (F-03): what the access was, and what it becomes.

pub mod gic;

use bulkhead_abi::Registers;
use bulkhead_mm::addr::PAGE_SIZE;
use bulkhead_mm::attrs::Space;
use bulkhead_vgic::Size;

use crate::event::{Action, Direction, Fault, FaultKind};
use crate::hardware::{Hardware, VcpuContext};
use crate::spmc::{CoreState, Spmc};

/// A load or store of one general-purpose register, as the syndrome of a data abort describes it (ESR_EL2.ISS):
///
/// | bits | field | what |
/// |---|---|---|
/// | 24 | ISV | the others are valid |
/// | 23:22 | SAS | the size |
/// | 21 | SSE | a load extends the sign |
/// | 20:16 | SRT | the register, 31 for XZR |
/// | 15 | SF | the register has 64 bits |
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transfer {
    /// How many bytes.
    pub size: Size,
    signed: bool,
    register: usize,
    wide: bool,
}

impl Transfer {
    /// Decodes ESR_EL2; `None` where the instruction has to be read (ISV is 0).
    pub fn decode(syndrome: u64) -> Option<Self> {
        const VALID: u64 = 1 << 24;
        if syndrome & VALID == 0 {
            return None;
        }
        Some(Self {
            size: match syndrome >> 22 & 3 {
                0 => Size::Byte,
                1 => Size::Half,
                2 => Size::Word,
                _ => Size::Double,
            },
            signed: syndrome & 1 << 21 != 0,
            register: usize::try_from(syndrome >> 16 & 0x1f).unwrap_or(31),
            wide: syndrome & 1 << 15 != 0,
        })
    }

    const fn bits(self) -> u32 {
        match self.size {
            Size::Byte => 8,
            Size::Half => 16,
            Size::Word => 32,
            Size::Double => 64,
        }
    }

    /// What a store writes.
    pub fn stored(self, registers: &Registers) -> u64 {
        let value = registers.x.get(self.register).copied().unwrap_or(0);
        value & u64::MAX >> 64_u32.saturating_sub(self.bits())
    }

    /// A load reads `value`.
    pub fn load(self, registers: &mut Registers, value: u64) {
        let unused = 64_u32.saturating_sub(self.bits());
        let value = value.wrapping_shl(unused);
        let value = if self.signed {
            value.cast_signed().wrapping_shr(unused).cast_unsigned()
        } else {
            value.wrapping_shr(unused)
        };
        let value = if self.wide {
            value
        } else {
            value & u64::from(u32::MAX)
        };
        // Register 31 is XZR: the value goes nowhere.
        if let Some(x) = registers.x.get_mut(self.register) {
            *x = value;
        }
    }
}

impl<H: Hardware> Spmc<H> {
    /// The running partition loads from or stores to a device that Bulkhead emulates; `None` if there is none.
    pub(crate) fn device_access(
        &self,
        core: &mut CoreState<H>,
        fault: &Fault,
        hw: &mut H,
    ) -> Option<Action> {
        let FaultKind::Data {
            ipa,
            space: Space::Secure,
            direction,
        } = fault.kind
        else {
            return None;
        };
        if fault.is_on_walk() {
            return None;
        }
        let within = PAGE_SIZE.wrapping_sub(1);
        let address = ipa & !within | fault.address & within;
        let partition = self.running_partition(core)?;
        let gic = partition.gic?;
        let place = gic.place(address)?;
        let Some(transfer) = Transfer::decode(fault.syndrome) else {
            let why = format_args!(
                "an access to its GIC at {address:#x} by an instruction that is not emulated: it loads or stores one \
                 general-purpose register there, without write-back (ESR_EL2 {:#x})",
                fault.syndrome
            );
            return Some(self.abort_running(core, hw, why));
        };
        let registers = core.caller();
        match direction {
            Direction::Read => {
                let value = self.read_gic(core, gic, place, transfer.size, hw);
                transfer.load(core.caller(), value);
            }
            Direction::Write => {
                let value = transfer.stored(registers);
                self.write_gic(core, gic, place, transfer.size, value, hw);
            }
        }
        core.context()?.skip_instruction();
        self.signals_changed(core, hw);
        Some(core.resume())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn syndrome(size: u64, signed: bool, register: u64, wide: bool) -> u64 {
        1 << 24 | size << 22 | u64::from(signed) << 21 | register << 16 | u64::from(wide) << 15
    }

    #[test]
    fn f03_without_a_valid_syndrome_there_is_no_transfer() {
        assert_eq!(
            Transfer::decode(syndrome(2, false, 3, true) & !(1 << 24)),
            None
        );
    }

    #[test]
    fn f03_loads_extend_as_their_instruction_says() {
        for (size, signed, wide, expected) in [
            (0, false, false, 0xf0),
            (0, true, false, 0xffff_fff0),
            (0, true, true, 0xffff_ffff_ffff_fff0),
            (1, false, true, 0xe1f0),
            (1, true, false, 0xffff_e1f0),
            (1, true, true, 0xffff_ffff_ffff_e1f0),
            (2, false, false, 0xd2c3_e1f0),
            (2, true, true, 0xffff_ffff_d2c3_e1f0),
            (2, false, true, 0xd2c3_e1f0),
            (3, false, true, 0x1122_3344_d2c3_e1f0),
        ] {
            let mut registers = Registers::ZERO;
            let transfer = Transfer::decode(syndrome(size, signed, 7, wide)).unwrap();
            transfer.load(&mut registers, 0x1122_3344_d2c3_e1f0);
            assert_eq!(registers.x[7], expected, "{size} {signed} {wide}");
        }
    }

    #[test]
    fn f03_stores_have_the_low_bytes_of_their_register() {
        let mut registers = Registers::ZERO;
        registers.x[30] = 0x8899_aabb_ccdd_eeff;
        for (size, expected) in [
            (0, 0xff),
            (1, 0xeeff),
            (2, 0xccdd_eeff),
            (3, 0x8899_aabb_ccdd_eeff),
        ] {
            let transfer = Transfer::decode(syndrome(size, false, 30, true)).unwrap();
            assert_eq!(transfer.stored(&registers), expected);
        }
    }

    #[test]
    fn f03_register_31_is_zero_and_keeps_nothing() {
        let mut registers = Registers::ZERO;
        let transfer = Transfer::decode(syndrome(2, false, 31, false)).unwrap();
        transfer.load(&mut registers, 5);
        assert_eq!(registers, Registers::ZERO);
        assert_eq!(transfer.stored(&registers), 0);
    }
}
