// SPDX-License-Identifier: MIT OR Apache-2.0
//! FF-A function ids: one table of what exists, since when, in which widths and where.
//!
//! The table is `FEATURES.md` A.1. [`Function`], [`TABLE`], [`Function::id`] and [`decode`] all come
//! from the one macro invocation below.

use core::fmt;

use crate::Version;

/// The SMCCC calling convention of a call: bit 30 of the function id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Width {
    /// SMC32: arguments and results are the low 32 bits of a register.
    W32,
    /// SMC64: arguments and results are whole registers.
    W64,
}

impl Width {
    /// The part of a register that a call of this width can see.
    #[inline]
    pub const fn mask(self) -> u64 {
        match self {
            Self::W32 => 0xffff_ffff,
            Self::W64 => u64::MAX,
        }
    }
}

/// The FF-A instances at which an id is legal as a call (the column "legal at" of A.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Instances(u8);

impl Instances {
    /// Nowhere: a legacy id, or one that is only ever returned.
    pub const NONE: Self = Self(0);
    /// Normal world to SPMD, relayed to the SPMC.
    pub const NON_SECURE_PHYSICAL: Self = Self(1);
    /// SPMC to SPMD by SMC, or SPMD to SPMC by ERET.
    pub const SECURE_PHYSICAL: Self = Self(2);
    /// Partition to SPMC, by SMC, HVC or SVC.
    pub const SECURE_VIRTUAL: Self = Self(4);
    /// All three.
    pub const ALL: Self = Self(7);

    /// Both sets together.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every instance of `other` is in this set.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::Debug for Instances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut set = f.debug_set();
        for (flag, name) in [
            (Self::NON_SECURE_PHYSICAL, "NP"),
            (Self::SECURE_PHYSICAL, "SP"),
            (Self::SECURE_VIRTUAL, "SV"),
        ] {
            if self.contains(flag) {
                set.entry(&format_args!("{name}"));
            }
        }
        set.finish()
    }
}

/// What the specification uses an id for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// A call; some of them (direct messages, fragments) are also how another call returns.
    Call,
    /// The outcome of another call, which FFA_FEATURES reports though nobody calls it out of place
    /// (G34).
    Outcome,
    /// Defined by FF-A 1.0 and dropped since: decoded to be named in a log, never served.
    Legacy,
}

/// One function of FF-A.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// Which function.
    pub function: Function,
    /// The specification's name, such as `FFA_MSG_SEND_DIRECT_REQ`.
    pub name: &'static str,
    /// Bits 7:0 of the function id.
    pub number: u8,
    /// Whether 0x8400_00xx exists.
    pub w32: bool,
    /// Whether 0xC400_00xx exists.
    pub w64: bool,
    /// The first version that has it.
    pub since: Version,
    /// What it is for.
    pub kind: Kind,
    /// Where it is legal as a call.
    pub instances: Instances,
}

impl Row {
    /// Whether the function exists in this width.
    #[inline]
    pub const fn has(&self, width: Width) -> bool {
        match width {
            Width::W32 => self.w32,
            Width::W64 => self.w64,
        }
    }
}

/// Bits 31:8 of an FF-A function id in the 32-bit convention: fast call, standard secure service.
const BASE_32: u64 = 0x8400_0000;
/// Bits 31:8 of an FF-A function id in the 64-bit convention.
const BASE_64: u64 = 0xc400_0000;
/// Bits 31:8 of a function id.
const BASE_MASK: u32 = 0xffff_ff00;
/// The first number of the FF-A range (V16).
const FIRST: u8 = 0x60;
/// The last number of the FF-A range (V16).
const LAST: u8 = 0xef;
/// SMCCC: bit 16 of a function id says that the caller has no live SVE state (V18).
const SVE_HINT: u32 = 1 << 16;

macro_rules! widths {
    (W32) => {
        (true, false)
    };
    (W64) => {
        (false, true)
    };
    (BOTH) => {
        (true, true)
    };
}

macro_rules! functions {
    ($($number:literal $variant:ident $name:literal $widths:ident $since:ident $kind:ident
       [$($instance:ident)*];)*) => {
        /// A function of FF-A 1.0 to 1.3 (A.1), by its specification name.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Function {
            $(#[doc = concat!("`", $name, "`, ", stringify!($number), ".")]
            $variant = $number,)*
        }

        /// How many functions there are.
        pub const COUNT: usize = [$($number),*].len();

        /// Every function, in the order of its number.
        pub static TABLE: [Row; COUNT] = [$(*Function::$variant.row()),*];

        impl Function {
            /// The table's row of this function.
            pub const fn row(self) -> &'static Row {
                match self {
                    $(Self::$variant => {
                        const ROW: Row = Row {
                            function: Function::$variant,
                            name: $name,
                            number: $number,
                            w32: widths!($widths).0,
                            w64: widths!($widths).1,
                            since: Version::$since,
                            kind: Kind::$kind,
                            instances: Instances::NONE$(.union(Instances::$instance))*,
                        };
                        &ROW
                    })*
                }
            }

            /// Bits 7:0 of the function id.
            #[inline]
            pub const fn number(self) -> u8 {
                match self {
                    $(Self::$variant => $number,)*
                }
            }

            /// The function id in this width, as x0 carries it.
            #[inline]
            pub const fn id(self, width: Width) -> u64 {
                let number = match self {
                    $(Self::$variant => $number,)*
                };
                match width {
                    Width::W32 => BASE_32 | number,
                    Width::W64 => BASE_64 | number,
                }
            }
        }

        /// The functions of 32-bit calls by their number.
        static BY_NUMBER_32: [Option<Function>; 256] = {
            let mut table = [None; 256];
            $(if widths!($widths).0 {
                table[$number] = Some(Function::$variant);
            })*
            table
        };

        /// The functions of 64-bit calls by their number.
        static BY_NUMBER_64: [Option<Function>; 256] = {
            let mut table = [None; 256];
            $(if widths!($widths).1 {
                table[$number] = Some(Function::$variant);
            })*
            table
        };
    };
}

functions! {
    0x60 Error "FFA_ERROR" W32 V1_0 Outcome [SECURE_PHYSICAL SECURE_VIRTUAL];
    0x61 Success "FFA_SUCCESS" BOTH V1_0 Outcome [SECURE_PHYSICAL];
    0x62 Interrupt "FFA_INTERRUPT" W32 V1_0 Outcome [SECURE_PHYSICAL];
    0x63 Version "FFA_VERSION" W32 V1_0 Call [ALL];
    0x64 Features "FFA_FEATURES" W32 V1_0 Call [ALL];
    0x65 RxRelease "FFA_RX_RELEASE" W32 V1_0 Call [NON_SECURE_PHYSICAL SECURE_VIRTUAL];
    0x66 RxtxMap "FFA_RXTX_MAP" BOTH V1_0 Call [NON_SECURE_PHYSICAL SECURE_VIRTUAL];
    0x67 RxtxUnmap "FFA_RXTX_UNMAP" W32 V1_0 Call [NON_SECURE_PHYSICAL SECURE_VIRTUAL];
    0x68 PartitionInfoGet "FFA_PARTITION_INFO_GET" W32 V1_0 Call [NON_SECURE_PHYSICAL SECURE_VIRTUAL];
    0x69 IdGet "FFA_ID_GET" W32 V1_0 Call [ALL];
    0x6a MsgPoll "FFA_MSG_POLL" W32 V1_0 Legacy [];
    0x6b MsgWait "FFA_MSG_WAIT" W32 V1_0 Call [SECURE_PHYSICAL SECURE_VIRTUAL];
    0x6c Yield "FFA_YIELD" W32 V1_0 Call [SECURE_VIRTUAL];
    0x6d Run "FFA_RUN" W32 V1_0 Call [NON_SECURE_PHYSICAL SECURE_VIRTUAL];
    0x6e MsgSend "FFA_MSG_SEND" W32 V1_0 Legacy [];
    0x6f MsgSendDirectReq "FFA_MSG_SEND_DIRECT_REQ" BOTH V1_0 Call [ALL];
    0x70 MsgSendDirectResp "FFA_MSG_SEND_DIRECT_RESP" BOTH V1_0 Call [ALL];
    0x71 MemDonate "FFA_MEM_DONATE" BOTH V1_0 Call [NON_SECURE_PHYSICAL SECURE_VIRTUAL];
    0x72 MemLend "FFA_MEM_LEND" BOTH V1_0 Call [NON_SECURE_PHYSICAL SECURE_VIRTUAL];
    0x73 MemShare "FFA_MEM_SHARE" BOTH V1_0 Call [NON_SECURE_PHYSICAL SECURE_VIRTUAL];
    0x74 MemRetrieveReq "FFA_MEM_RETRIEVE_REQ" BOTH V1_0 Call [NON_SECURE_PHYSICAL SECURE_VIRTUAL];
    0x75 MemRetrieveResp "FFA_MEM_RETRIEVE_RESP" W32 V1_0 Outcome [];
    0x76 MemRelinquish "FFA_MEM_RELINQUISH" W32 V1_0 Call [NON_SECURE_PHYSICAL SECURE_VIRTUAL];
    0x77 MemReclaim "FFA_MEM_RECLAIM" W32 V1_0 Call [NON_SECURE_PHYSICAL SECURE_VIRTUAL];
    0x78 MemOpPause "FFA_MEM_OP_PAUSE" W32 V1_0 Legacy [];
    0x79 MemOpResume "FFA_MEM_OP_RESUME" W32 V1_0 Legacy [];
    0x7a MemFragRx "FFA_MEM_FRAG_RX" W32 V1_0 Call [NON_SECURE_PHYSICAL SECURE_VIRTUAL];
    0x7b MemFragTx "FFA_MEM_FRAG_TX" W32 V1_0 Call [NON_SECURE_PHYSICAL SECURE_VIRTUAL];
    0x7c NormalWorldResume "FFA_NORMAL_WORLD_RESUME" W32 V1_0 Call [SECURE_PHYSICAL];
    0x7d NotificationBitmapCreate "FFA_NOTIFICATION_BITMAP_CREATE" W32 V1_1 Call [NON_SECURE_PHYSICAL];
    0x7e NotificationBitmapDestroy "FFA_NOTIFICATION_BITMAP_DESTROY" W32 V1_1 Call [NON_SECURE_PHYSICAL];
    0x7f NotificationBind "FFA_NOTIFICATION_BIND" W32 V1_1 Call [NON_SECURE_PHYSICAL SECURE_VIRTUAL];
    0x80 NotificationUnbind "FFA_NOTIFICATION_UNBIND" W32 V1_1 Call [NON_SECURE_PHYSICAL SECURE_VIRTUAL];
    0x81 NotificationSet "FFA_NOTIFICATION_SET" W32 V1_1 Call [NON_SECURE_PHYSICAL SECURE_VIRTUAL];
    0x82 NotificationGet "FFA_NOTIFICATION_GET" W32 V1_1 Call [NON_SECURE_PHYSICAL SECURE_VIRTUAL];
    0x83 NotificationInfoGet "FFA_NOTIFICATION_INFO_GET" BOTH V1_1 Call [NON_SECURE_PHYSICAL];
    0x84 RxAcquire "FFA_RX_ACQUIRE" W32 V1_1 Call [NON_SECURE_PHYSICAL];
    0x85 SpmIdGet "FFA_SPM_ID_GET" W32 V1_1 Call [ALL];
    0x86 MsgSend2 "FFA_MSG_SEND2" W32 V1_1 Call [NON_SECURE_PHYSICAL SECURE_VIRTUAL];
    0x87 SecondaryEpRegister "FFA_SECONDARY_EP_REGISTER" W64 V1_1 Call [SECURE_PHYSICAL SECURE_VIRTUAL];
    0x88 MemPermGet "FFA_MEM_PERM_GET" BOTH V1_1 Call [SECURE_VIRTUAL];
    0x89 MemPermSet "FFA_MEM_PERM_SET" BOTH V1_1 Call [SECURE_VIRTUAL];
    0x8a ConsoleLog "FFA_CONSOLE_LOG" BOTH V1_2 Call [SECURE_VIRTUAL];
    0x8b PartitionInfoGetRegs "FFA_PARTITION_INFO_GET_REGS" W64 V1_2 Call [ALL];
    0x8c El3IntrHandle "FFA_EL3_INTR_HANDLE" W32 V1_2 Call [SECURE_PHYSICAL];
    0x8d MsgSendDirectReq2 "FFA_MSG_SEND_DIRECT_REQ2" W64 V1_2 Call [ALL];
    0x8e MsgSendDirectResp2 "FFA_MSG_SEND_DIRECT_RESP2" W64 V1_2 Call [ALL];
    0x8f NsResInfoGet "FFA_NS_RES_INFO_GET" W64 V1_3 Call [NON_SECURE_PHYSICAL];
    0x90 Abort "FFA_ABORT" BOTH V1_3 Call [SECURE_PHYSICAL SECURE_VIRTUAL];
    0x94 NotificationBind2 "FFA_NOTIFICATION_BIND2" W64 V1_3 Call [NON_SECURE_PHYSICAL SECURE_VIRTUAL];
    0x95 NotificationUnbind2 "FFA_NOTIFICATION_UNBIND2" W64 V1_3 Call [NON_SECURE_PHYSICAL SECURE_VIRTUAL];
    0x96 NotificationSet2 "FFA_NOTIFICATION_SET2" W64 V1_3 Call [NON_SECURE_PHYSICAL SECURE_VIRTUAL];
    0x97 NotificationGet2 "FFA_NOTIFICATION_GET2" W64 V1_3 Call [NON_SECURE_PHYSICAL SECURE_VIRTUAL];
}

impl Function {
    /// The specification's name.
    pub const fn name(self) -> &'static str {
        self.row().name
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a caller asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// A function of the table, in a width that it has.
    Ffa(Function, Width),
    /// An id in the FF-A range that the table does not have: FFA_ERROR NOT_SUPPORTED (V9, V16).
    UnknownFfa(u32),
    /// Any other SMCCC function id, without the SVE hint.
    Other(u32),
}

/// Decodes a function id.
///
/// Ignores the upper half of `x0` (V17) and the SVE hint (V18). A function in a width that it does
/// not have, such as FFA_VERSION as 0xc400_0063 (V9), is [`Call::UnknownFfa`]. O(1).
#[inline]
pub fn decode(x0: u64) -> Call {
    const BASE_32: u32 = 0x8400_0000;
    const BASE_64: u32 = 0xc400_0000;
    let [number, b1, b2, b3, ..] = x0.to_le_bytes();
    let id = u32::from_le_bytes([number, b1, b2, b3]) & !SVE_HINT;
    let (table, width) = match id & BASE_MASK {
        BASE_32 => (&BY_NUMBER_32, Width::W32),
        BASE_64 => (&BY_NUMBER_64, Width::W64),
        _ => return Call::Other(id),
    };
    match table.get(usize::from(number)) {
        Some(Some(function)) => Call::Ffa(*function, width),
        _ if (FIRST..=LAST).contains(&number) => Call::UnknownFfa(id),
        _ => Call::Other(id),
    }
}

/// The name for a log line; `_32` or `_64` follows where both exist.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Ffa(function, width) => {
                let row = function.row();
                f.write_str(row.name)?;
                match (row.w32 && row.w64, width) {
                    (false, _) => Ok(()),
                    (true, Width::W32) => f.write_str("_32"),
                    (true, Width::W64) => f.write_str("_64"),
                }
            }
            Self::UnknownFfa(id) => write!(f, "unknown FF-A call {id:#010x}"),
            Self::Other(id) => write!(f, "call {id:#010x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WIDTHS: [Width; 2] = [Width::W32, Width::W64];

    #[test]
    fn a1_the_table_is_in_order_and_complete() {
        assert!(TABLE.windows(2).all(|rows| rows[0].number < rows[1].number));
        // 0x91-0x93 are unknown to all four trees that A.1 was read from.
        let numbers: Vec<u8> = TABLE.iter().map(|row| row.number).collect();
        let expected: Vec<u8> = (0x60..=0x97)
            .filter(|n| !(0x91..=0x93).contains(n))
            .collect();
        assert_eq!(numbers, expected);
        for row in &TABLE {
            assert!(row.w32 || row.w64, "{row:?}");
            assert!(row.name.starts_with("FFA_"));
            assert_eq!(row.function.row(), row);
            assert_eq!(row.function as u8, row.number);
            let legacy = matches!(row.number, 0x6a | 0x6e | 0x78 | 0x79);
            assert_eq!(row.kind == Kind::Legacy, legacy, "{row:?}");
        }
    }

    #[test]
    fn a1_ids_are_those_of_the_specification() {
        for (id, function, width) in [
            (0x8400_0063, Function::Version, Width::W32),
            (0xc400_006f, Function::MsgSendDirectReq, Width::W64),
            (0x8400_0070, Function::MsgSendDirectResp, Width::W32),
            (0x8400_0086, Function::MsgSend2, Width::W32),
            (0xc400_008b, Function::PartitionInfoGetRegs, Width::W64),
            (0xc400_008d, Function::MsgSendDirectReq2, Width::W64),
            (0xc400_0097, Function::NotificationGet2, Width::W64),
        ] {
            assert_eq!(function.id(width), id);
            assert_eq!(decode(id), Call::Ffa(function, width));
        }
    }

    #[test]
    fn a1_every_row_decodes_in_its_widths_only() {
        for row in &TABLE {
            for width in WIDTHS {
                let id = row.function.id(width);
                let expected = if row.has(width) {
                    Call::Ffa(row.function, width)
                } else {
                    Call::UnknownFfa(id as u32)
                };
                assert_eq!(decode(id), expected);
            }
        }
    }

    #[test]
    fn v9_version_as_a_64_bit_call_is_unknown() {
        assert_eq!(decode(0xc400_0063), Call::UnknownFfa(0xc400_0063));
    }

    #[test]
    fn v16_the_ff_a_range_ends_where_it_ends() {
        for id in [0x8400_0091, 0x8400_00ef, 0xc400_0060, 0xc400_00ef] {
            assert_eq!(decode(id), Call::UnknownFfa(id as u32));
        }
        for id in [
            0x8400_005f,
            0x8400_00f0,
            0xc400_005f,
            0xc400_00f0,
            0x8400_0160,
            0x0400_0063,
        ] {
            assert_eq!(decode(id), Call::Other(id as u32));
        }
        for id in [
            0,
            0xff04,
            0x8400_0002,
            0x8500_0063,
            0x8600_0063,
            0xffff_ffff & !0x1_0000,
        ] {
            assert_eq!(decode(id), Call::Other(id as u32));
        }
    }

    #[test]
    fn v17_the_upper_half_of_x0_is_ignored() {
        assert_eq!(decode(0xdead_beef_8400_0063), decode(0x8400_0063));
    }

    #[test]
    fn v18_the_sve_hint_is_masked() {
        assert_eq!(
            decode(0x8401_0063),
            Call::Ffa(Function::Version, Width::W32)
        );
        assert_eq!(
            decode(0xc401_0066),
            Call::Ffa(Function::RxtxMap, Width::W64)
        );
        assert_eq!(decode(0x8401_00ef), Call::UnknownFfa(0x8400_00ef));
        assert_eq!(decode(0x8401_0002), Call::Other(0x8400_0002));
        assert_eq!(decode(0x8402_0063), Call::Other(0x8402_0063));
    }

    #[test]
    fn calls_print_the_specifications_name() {
        assert_eq!(decode(0x8400_0063).to_string(), "FFA_VERSION");
        assert_eq!(
            decode(0x8400_006f).to_string(),
            "FFA_MSG_SEND_DIRECT_REQ_32"
        );
        assert_eq!(
            decode(0xc400_006f).to_string(),
            "FFA_MSG_SEND_DIRECT_REQ_64"
        );
        assert_eq!(
            decode(0xc400_00ef).to_string(),
            "unknown FF-A call 0xc40000ef"
        );
        assert_eq!(decode(0x8400_0002).to_string(), "call 0x84000002");
    }

    #[test]
    fn a1_legacy_and_returned_only_ids_are_legal_nowhere() {
        for row in &TABLE {
            let nowhere = row.instances == Instances::NONE;
            assert_eq!(
                nowhere,
                row.kind == Kind::Legacy || row.function == Function::MemRetrieveResp,
                "{row:?}"
            );
        }
    }

    /// `arm-ffa` allows some ids in both widths, from 1.3 on, that A.1 does not list.
    const ONLY_IN_ARM_FFA: [u32; 7] = [
        0xc400_0060,
        0xc400_0062,
        0xc400_006b,
        0xc400_006c,
        0xc400_006d,
        0xc400_007c,
        0x8400_0087,
    ];

    #[test]
    fn a1_agrees_with_the_arm_ffa_crate() {
        for id in (0x8400_0060..=0x8400_008e).chain(0xc400_0060..=0xc400_008e) {
            let theirs = arm_ffa::FuncId::try_from(id);
            match (decode(u64::from(id)), theirs) {
                (Call::Ffa(function, width), Ok(theirs)) => {
                    assert_eq!(width == Width::W32, theirs.is_32bit(), "{id:#x}");
                    let since = theirs.minimum_ffa_version();
                    assert_eq!(u32::from(since), function.row().since.to_word(), "{id:#x}");
                }
                (Call::UnknownFfa(_), Ok(_)) => assert!(ONLY_IN_ARM_FFA.contains(&id), "{id:#x}"),
                (Call::UnknownFfa(_), Err(_)) => {}
                (Call::Ffa(function, _), Err(_)) => {
                    assert_eq!(function.row().kind, Kind::Legacy, "{id:#x}");
                }
                (Call::Other(_), _) => unreachable!("{id:#x}"),
            }
        }
    }

    proptest! {
        #[test]
        fn v16_any_x0_decodes_to_what_it_says(x0 in any::<u64>(), number in 0x50_u64..0x100) {
            for x0 in [x0, 0x8400_0000 | number, 0xc400_0000 | number] {
                match decode(x0) {
                    Call::Ffa(function, width) => {
                        prop_assert!(function.row().has(width));
                        prop_assert_eq!(function.id(width), x0 & 0xfffe_ffff);
                    }
                    Call::UnknownFfa(id) | Call::Other(id) => {
                        prop_assert_eq!(u64::from(id), x0 & 0xfffe_ffff);
                    }
                }
            }
        }
    }
}
