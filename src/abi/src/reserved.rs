// SPDX-License-Identifier: MIT OR Apache-2.0
//! Register bits that a caller must leave zero, as data.
//!
//! A call with such a bit set is refused with INVALID_PARAMETERS before anything else of it is looked
//! at. Every bit that no rule names is ignored, reserved or not: callers in the field leave junk.

use crate::{FfaError, Function, Registers, Version, Width};

/// Bits of registers of a call that must be zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    /// The call.
    pub function: Function,
    /// N of the first register, wN (xN).
    pub first: u8,
    /// N of the last one.
    pub last: u8,
    /// The bits of each xN. A 32-bit call has no upper halves (V17).
    pub bits: u64,
    /// The first version of the caller for which the rule holds.
    pub from: Version,
    /// The last version of the caller for which the rule holds.
    pub to: Version,
    /// Where the rule comes from: an id of `reference/`.
    pub source: &'static str,
}

/// All rules, in the order of the call's number.
pub static RULES: [Rule; 25] = TABLE;

const TABLE: [Rule; 25] = {
    use Function as F;
    const ALL: u64 = u64::MAX;
    const LAST: Version = Version::OURS;
    const fn rule(function: Function, register: u8, bits: u64, source: &'static str) -> Rule {
        Rule {
            function,
            first: register,
            last: register,
            bits,
            from: Version::V1_0,
            to: LAST,
            source,
        }
    }
    const fn up_to(last: u8, rule: Rule) -> Rule {
        Rule { last, ..rule }
    }
    const fn since(from: Version, rule: Rule) -> Rule {
        Rule { from, ..rule }
    }
    const fn until(to: Version, rule: Rule) -> Rule {
        Rule { to, ..rule }
    }
    [
        rule(F::RxRelease, 1, 0xffff_0000, "M18"),
        rule(F::RxtxMap, 3, 0xffff_ffc0, "M18"),
        rule(F::RxtxUnmap, 1, 0xffff, "M18"),
        rule(F::PartitionInfoGet, 5, 0xffff_fffe, "D2"),
        rule(F::MsgWait, 1, ALL, "G31"),
        until(Version::V1_1, rule(F::MsgWait, 2, ALL, "G31")),
        since(Version::V1_2, rule(F::MsgWait, 2, 0xffff_fffe, "G31")),
        up_to(7, rule(F::MsgWait, 3, ALL, "G31")),
        up_to(7, rule(F::Yield, 4, ALL, "G33")),
        rule(F::MsgSendDirectReq, 2, 0x7fff_ff00, "G8"),
        rule(F::MsgSendDirectResp, 2, 0x7fff_ff00, "G8"),
        rule(F::MemRetrieveReq, 3, ALL, "S4"),
        rule(F::MemRetrieveReq, 4, 0xffff_ffff, "S4"),
        rule(F::MemReclaim, 3, 0xffff_fffc, "T20"),
        rule(F::NotificationBind, 2, 0xffff_fffe, "N4"),
        rule(F::NotificationSet, 2, 0xfffc, "N7"),
        rule(F::NotificationGet, 2, 0xffff_fff0, "N9"),
        rule(F::RxAcquire, 1, 0xffff_0000, "M18"),
        rule(F::MsgSend2, 2, 0xffff_fffd, "G29"),
        rule(F::MemPermSet, 3, 0xffff_fff8, "T25"),
        up_to(3, rule(F::MsgSendDirectResp2, 2, ALL, "A-21")),
        rule(F::NsResInfoGet, 2, 0xc, "A-13"),
        rule(F::NotificationBind2, 2, !1, "A-38"),
        rule(F::NotificationSet2, 2, 0xfffc, "A-38"),
        rule(F::NotificationGet2, 2, !0xf, "A-38"),
    ]
};

impl Rule {
    /// Whether it speaks of callers of this version.
    const fn holds(&self, version: Version) -> bool {
        at_least(version, self.from) && at_least(self.to, version)
    }
}

const fn at_least(version: Version, other: Version) -> bool {
    version.major > other.major || (version.major == other.major && version.minor >= other.minor)
}

/// The bits of xN that a caller of `version` must leave zero in a call of `function`.
pub const fn bits(function: Function, register: u8, version: Version) -> u64 {
    let mut bits = 0;
    let mut rest: &[Rule] = &TABLE;
    while let [rule, tail @ ..] = rest {
        if rule.function.number() == function.number()
            && rule.first <= register
            && register <= rule.last
            && rule.holds(version)
        {
            bits |= rule.bits;
        }
        rest = tail;
    }
    bits
}

/// The first and the last register that rules speak of.
const REGISTERS: (usize, usize) = (1, 7);
/// Minor versions 0 to 3.
const VERSIONS: usize = 4;
/// The bits that must be zero in x1 to x7, by minor version.
type Masks = [[u64; REGISTERS.1]; VERSIONS];

/// [`RULES`] by call and version, made by the compiler.
static MASKS: [Masks; RULES.len()] = MADE.0;
/// Position in [`MASKS`] by bits 7:0 of the function id; past its end without a rule.
static POSITIONS: [u8; 256] = MADE.1;

#[expect(
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "evaluated by the compiler, which refuses what does not fit"
)]
const MADE: ([Masks; TABLE.len()], [u8; 256]) = {
    let mut masks = [[[0; REGISTERS.1]; VERSIONS]; TABLE.len()];
    let mut positions = [u8::MAX; 256];
    let mut rule = 0;
    while rule < TABLE.len() {
        let function = TABLE[rule].function;
        let mut version = 0;
        while version < VERSIONS {
            let mut register = REGISTERS.0;
            while register <= REGISTERS.1 {
                let minor = Version {
                    major: 1,
                    minor: version as u16,
                };
                masks[rule][version][register - 1] = bits(function, register as u8, minor);
                register += 1;
            }
            version += 1;
        }
        positions[function.number() as usize] = rule as u8;
        rule += 1;
    }
    (masks, positions)
};

/// Checks the registers of a call by a caller of `version`. For a function that the compiler knows, this
/// is a few masks.
///
/// # Errors
/// INVALID_PARAMETERS when a bit is set that a rule wants zero.
#[inline]
pub fn check(
    function: Function,
    width: Width,
    version: Version,
    registers: &Registers,
) -> Result<(), FfaError> {
    let position = POSITIONS.get(usize::from(function.number()));
    let Some(masks) = position.and_then(|position| MASKS.get(usize::from(*position))) else {
        return Ok(());
    };
    let [v1_0, v1_1, v1_2, v1_3] = masks;
    let masks = match version.minor {
        0 => v1_0,
        1 => v1_1,
        2 => v1_2,
        _ => v1_3,
    };
    let pairs = registers.x.iter().skip(REGISTERS.0).zip(masks);
    let set = pairs.fold(0, |set, (value, mask)| set | (value & mask)) & width.mask();
    if set == 0 {
        Ok(())
    } else {
        Err(FfaError::InvalidParameters)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::function;

    const VERSIONS: [Version; 4] = [Version::V1_0, Version::V1_1, Version::V1_2, Version::V1_3];
    const WIDTHS: [Width; 2] = [Width::W32, Width::W64];

    #[test]
    fn the_rules_are_in_order_and_never_speak_twice_of_a_bit() {
        assert!(RULES.is_sorted_by_key(|rule| rule.function));
        for (index, rule) in RULES.iter().enumerate() {
            assert!(1 <= rule.first && rule.first <= rule.last && rule.last < 18);
            assert!(rule.from <= rule.to, "{rule:?}");
            assert_ne!(rule.bits, 0);
            for other in &RULES[..index] {
                let same = rule.function == other.function
                    && rule.first <= other.last
                    && other.first <= rule.last;
                let both = VERSIONS
                    .iter()
                    .any(|version| rule.holds(*version) && other.holds(*version));
                assert!(!same || !both || rule.bits & other.bits == 0, "{rule:?}");
            }
        }
    }

    /// Every bit of every register of every call, at every version and width.
    #[test]
    fn each_bit_is_refused_where_a_rule_says_so_and_nowhere_else() {
        for row in &function::TABLE {
            for version in VERSIONS {
                for width in WIDTHS {
                    let at = |call: &Registers| check(row.function, width, version, call);
                    assert_eq!(at(&Registers::ZERO), Ok(()));
                    for register in 1..31_u8 {
                        let wanted = bits(row.function, register, version) & width.mask();
                        for bit in 0..64 {
                            let mut call = Registers::ZERO;
                            call.x[usize::from(register)] = 1 << bit;
                            let refused = wanted & (1 << bit) != 0;
                            let expected = match refused {
                                true => Err(FfaError::InvalidParameters),
                                false => Ok(()),
                            };
                            if row.has(width) {
                                let found = at(&call);
                                assert_eq!(found, expected, "{row:?} x{register} bit {bit}");
                            }
                        }
                    }
                }
            }
        }
    }

    fn refused(function: Function, version: Version, register: usize, value: u64) -> bool {
        let mut call = Registers::ZERO;
        call.x[register] = value;
        check(function, Width::W32, version, &call).is_err()
    }

    #[test]
    fn g8_reserved_bits_of_a_direct_message_are_refused() {
        for function in [Function::MsgSendDirectReq, Function::MsgSendDirectResp] {
            for version in VERSIONS {
                assert!(refused(function, version, 2, 0x100));
                assert!(refused(function, version, 2, 0x4000_0000));
                assert!(!refused(function, version, 2, 0x8000_0008));
                assert!(!refused(function, version, 3, u64::MAX));
            }
        }
    }

    #[test]
    fn g31_the_retain_flag_is_of_1_2_and_later() {
        for version in VERSIONS {
            let known = version >= Version::V1_2;
            assert_eq!(refused(Function::MsgWait, version, 2, 1), !known);
            assert!(refused(Function::MsgWait, version, 2, 2));
            assert!(refused(Function::MsgWait, version, 7, 1));
            assert!(!refused(Function::MsgWait, version, 8, 1));
        }
    }

    #[test]
    fn d12_identity_calls_ignore_their_arguments() {
        let junk = Registers { x: [u64::MAX; 31] };
        for function in [Function::IdGet, Function::SpmIdGet, Function::Run] {
            for version in VERSIONS {
                assert_eq!(check(function, Width::W32, version, &junk), Ok(()));
            }
        }
    }

    #[test]
    fn v17_upper_halves_of_a_32_bit_call_are_ignored() {
        for row in &function::TABLE {
            for version in VERSIONS {
                if row.w32 {
                    let junk = Registers {
                        x: [0xffff_ffff_0000_0000; 31],
                    };
                    assert_eq!(check(row.function, Width::W32, version, &junk), Ok(()));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn check_and_bits_agree(
            x in prop::array::uniform31(prop::sample::select(vec![0, 1, 2, 0x40, u64::MAX])),
            row in 0..function::COUNT,
            version in 0_usize..4,
            width in 0_usize..2,
        ) {
            let (row, version, width) = (&function::TABLE[row], VERSIONS[version], WIDTHS[width]);
            prop_assume!(row.has(width));
            let call = Registers { x };
            let set = (0..31_u8).any(|register| {
                let bits = bits(row.function, register, version) & width.mask();
                call.x[usize::from(register)] & bits != 0
            });
            prop_assert_eq!(check(row.function, width, version, &call).is_err(), set);
        }
    }
}
