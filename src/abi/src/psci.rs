// SPDX-License-Identifier: MIT OR Apache-2.0
//! PSCI function ids and return codes.
//!
//! A partition's PSCI calls are answered by Bulkhead (COMPATIBILITY, "Calls"); power messages from
//! the SPMD name the PSCI function that EL3 is about to carry out. The numbers are
//! those of TF-A's `include/lib/psci/psci.h`.

use core::fmt;

use crate::Width;

/// The last number of the PSCI range, 0x8400_0000 to 0x8400_001f and the same in 64-bit form.
const LAST: u8 = 0x1f;
/// Bits 31:8 of a PSCI function id in the 32-bit convention.
const BASE_32: u32 = 0x8400_0000;
/// Bits 31:8 of a PSCI function id in the 64-bit convention.
const BASE_64: u32 = 0xc400_0000;

macro_rules! functions {
    ($($number:literal $variant:ident $name:literal $w32:literal $w64:literal;)*) => {
        /// A PSCI function.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum Psci {
            $(#[doc = concat!("`", $name, "`, ", stringify!($number), ".")]
            $variant = $number,)*
        }

        impl Psci {
            /// Every function.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The specification's name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Whether the function exists in this width.
            pub const fn has(self, width: Width) -> bool {
                let (w32, w64) = match self {
                    $(Self::$variant => ($w32, $w64),)*
                };
                match width {
                    Width::W32 => w32,
                    Width::W64 => w64,
                }
            }

            /// The function id in this width.
            pub const fn id(self, width: Width) -> u32 {
                let number = match self {
                    $(Self::$variant => $number,)*
                };
                match width {
                    Width::W32 => BASE_32 | number,
                    Width::W64 => BASE_64 | number,
                }
            }

            const fn by_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

functions! {
    0x00 Version "PSCI_VERSION" true false;
    0x01 CpuSuspend "CPU_SUSPEND" true true;
    0x02 CpuOff "CPU_OFF" true false;
    0x03 CpuOn "CPU_ON" true true;
    0x04 AffinityInfo "AFFINITY_INFO" true true;
    0x05 Migrate "MIGRATE" true true;
    0x06 MigrateInfoType "MIGRATE_INFO_TYPE" true false;
    0x07 MigrateInfoUpCpu "MIGRATE_INFO_UP_CPU" true true;
    0x08 SystemOff "SYSTEM_OFF" true false;
    0x09 SystemReset "SYSTEM_RESET" true false;
    0x0a Features "PSCI_FEATURES" true false;
    0x0b CpuFreeze "CPU_FREEZE" true false;
    0x0c CpuDefaultSuspend "CPU_DEFAULT_SUSPEND" true true;
    0x0d NodeHwState "NODE_HW_STATE" true true;
    0x0e SystemSuspend "SYSTEM_SUSPEND" true true;
    0x0f SetSuspendMode "PSCI_SET_SUSPEND_MODE" true false;
    0x10 StatResidency "PSCI_STAT_RESIDENCY" true true;
    0x11 StatCount "PSCI_STAT_COUNT" true true;
    0x12 SystemReset2 "SYSTEM_RESET2" true true;
    0x13 MemProtect "MEM_PROTECT" true false;
    0x14 MemProtectCheckRange "MEM_PROTECT_CHECK_RANGE" true true;
    0x15 SystemOff2 "SYSTEM_OFF2" true true;
}

impl fmt::Display for Psci {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a function id is in PSCI's range, known or not.
pub const fn is_psci(id: u32) -> bool {
    let [number, rest @ ..] = id.to_le_bytes();
    number <= LAST && matches!(rest, [0, 0, 0x84] | [0, 0, 0xc4])
}

/// Decodes a PSCI function id (without SVE hint); `None` for anything that does not exist.
pub fn decode(id: u32) -> Option<(Psci, Width)> {
    let [number, rest @ ..] = id.to_le_bytes();
    let width = match rest {
        [0, 0, 0x84] => Width::W32,
        [0, 0, 0xc4] => Width::W64,
        _ => return None,
    };
    let function = Psci::by_number(number)?;
    function.has(width).then_some((function, width))
}

/// A PSCI return code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Status {
    /// 0.
    Success,
    /// −1.
    NotSupported,
    /// −2.
    InvalidParameters,
    /// −3.
    Denied,
    /// −4.
    AlreadyOn,
    /// −5.
    OnPending,
    /// −6.
    InternalFailure,
    /// −7.
    NotPresent,
    /// −8.
    Disabled,
    /// −9.
    InvalidAddress,
}

impl Status {
    /// The code as the specification prints it.
    pub const fn code(self) -> i32 {
        match self {
            Self::Success => 0,
            Self::NotSupported => -1,
            Self::InvalidParameters => -2,
            Self::Denied => -3,
            Self::AlreadyOn => -4,
            Self::OnPending => -5,
            Self::InternalFailure => -6,
            Self::NotPresent => -7,
            Self::Disabled => -8,
            Self::InvalidAddress => -9,
        }
    }

    /// The status with this code.
    pub const fn from_code(code: i32) -> Option<Self> {
        Some(match code {
            0 => Self::Success,
            -1 => Self::NotSupported,
            -2 => Self::InvalidParameters,
            -3 => Self::Denied,
            -4 => Self::AlreadyOn,
            -5 => Self::OnPending,
            -6 => Self::InternalFailure,
            -7 => Self::NotPresent,
            -8 => Self::Disabled,
            -9 => Self::InvalidAddress,
            _ => return None,
        })
    }

    /// The code as x0 of a call of this width: sign-extended to the width of the result, and
    /// zero above it (L2).
    pub const fn to_register(self, width: Width) -> u64 {
        let code: [u8; 4] = self.code().to_le_bytes();
        let [b0, b1, b2, b3] = code;
        let sign = if self.code() < 0 { 0xff } else { 0 };
        u64::from_le_bytes([b0, b1, b2, b3, sign, sign, sign, sign]) & width.mask()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a83_ids_are_those_of_the_psci_specification() {
        assert_eq!(Psci::CpuOff.id(Width::W32), 0x8400_0002);
        assert_eq!(Psci::CpuOn.id(Width::W64), 0xc400_0003);
        assert_eq!(Psci::SystemOff.id(Width::W32), 0x8400_0008);
        assert_eq!(Psci::Features.id(Width::W32), 0x8400_000a);
    }

    #[test]
    fn a83_every_id_decodes_to_itself_and_nothing_else_does() {
        for &function in Psci::ALL {
            for width in [Width::W32, Width::W64] {
                let expected = function.has(width).then_some((function, width));
                assert_eq!(decode(function.id(width)), expected, "{function} {width:?}");
                assert!(is_psci(function.id(width)));
            }
        }
        for id in [
            0x8400_0016,
            0xc400_0002,
            0x8400_0060,
            0x8500_0002,
            0x0400_0002,
            0x8401_0002,
        ] {
            assert_eq!(decode(id), None, "{id:#x}");
        }
        assert!(is_psci(0x8400_001f));
        assert!(!is_psci(0x8400_0020));
        assert!(!is_psci(0x8401_0002));
    }

    #[test]
    fn l2_status_is_sign_extended_to_its_width_only() {
        assert_eq!(Status::NotSupported.to_register(Width::W32), 0xffff_ffff);
        assert_eq!(Status::NotSupported.to_register(Width::W64), u64::MAX);
        assert_eq!(Status::Denied.to_register(Width::W32), 0xffff_fffd);
        assert_eq!(Status::Success.to_register(Width::W64), 0);
        for code in -9..=0 {
            assert_eq!(Status::from_code(code).unwrap().code(), code);
        }
        assert_eq!(Status::from_code(1), None);
        assert_eq!(Status::from_code(-10), None);
    }
}
