// SPDX-License-Identifier: MIT OR Apache-2.0
//! The general-purpose registers of a caller, edited in place, and the register rules on return.

use crate::function::{Function, Width};
use crate::{EndpointId, FfaError, Uuid, Version};

/// x0 to x30 of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Registers {
    /// x0 at index 0.
    pub x: [u64; 31],
}

/// What a reply does with x8–x17 of the caller (DECISIONS 4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extended {
    /// They keep what the caller had in them.
    Preserve,
    /// They read zero where they carry no result.
    Clear,
}

impl Extended {
    /// The rule for an FF-A call of `width` by a caller that negotiated `version`.
    #[inline]
    pub fn for_call(version: Version, width: Width) -> Self {
        match width {
            Width::W64 if version >= Version::V1_2 => Self::Clear,
            _ => Self::Preserve,
        }
    }
}

/// The kinds of call that differ in their register rules on return.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallClass {
    /// An FF-A call, known or unknown, whose results fit x0–x7.
    Ffa,
    /// An FF-A call whose results use x8–x17 too: PARTITION_INFO_GET_REGS, DIRECT_REQ2 and RESP2,
    /// NOTIFICATION_GET2. It exists for callers from 1.2 only.
    FfaExtended,
    /// Any other SMCCC call that Bulkhead answers by itself, the paravirtual ones included.
    Other,
}

/// What a caller finds in its registers after a call. x18–x30 and SP are preserved always.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReturnRule {
    /// The kind of call.
    pub class: CallClass,
    /// The width of the function id that the caller used.
    pub width: Width,
    /// The first version of the caller for which the rule holds.
    pub from: Version,
    /// The last version of the caller for which the rule holds.
    pub to: Version,
    /// The last register that carries a result, counted from x0; unused ones up to it read zero.
    pub last_result: u8,
    /// The width of those results: 32-bit ones are zero-extended (L2).
    pub results: Width,
    /// What happens to x8–x17 beyond the results.
    pub extended: Extended,
}

/// The rules on return: DECISIONS 4, L1 and L2 of the abuse cases, as data. Of a call with a class,
/// a width and a caller's version at most one row speaks.
pub static RETURN_RULES: [ReturnRule; 6] = {
    use CallClass::{Ffa, FfaExtended, Other};
    use Extended::{Clear, Preserve};
    use Width::{W32, W64};
    const V1_0: Version = Version::V1_0;
    const V1_1: Version = Version::V1_1;
    const V1_2: Version = Version::V1_2;
    const LAST: Version = Version::OURS;
    const fn rule(
        class: CallClass,
        width: Width,
        from: Version,
        to: Version,
        last_result: u8,
        results: Width,
        extended: Extended,
    ) -> ReturnRule {
        ReturnRule {
            class,
            width,
            from,
            to,
            last_result,
            results,
            extended,
        }
    }
    [
        rule(Ffa, W32, V1_0, LAST, 7, W32, Preserve),
        rule(Ffa, W64, V1_0, V1_1, 7, W64, Preserve),
        rule(Ffa, W64, V1_2, LAST, 7, W64, Clear),
        rule(FfaExtended, W64, V1_2, LAST, 17, W64, Clear),
        rule(Other, W32, V1_0, LAST, 0, W64, Preserve),
        rule(Other, W64, V1_0, LAST, 0, W64, Preserve),
    ]
};

/// The low 32 bits of a register.
#[inline]
const fn low_half(value: u64) -> u32 {
    let [b0, b1, b2, b3, ..] = value.to_le_bytes();
    u32::from_le_bytes([b0, b1, b2, b3])
}

impl Registers {
    /// All registers zero.
    pub const ZERO: Self = Self { x: [0; 31] };

    /// xN. An `N` above 30 does not compile.
    #[inline]
    pub fn x<const N: usize>(&self) -> u64 {
        const { assert!(N < 31) };
        self.x.get(N).copied().unwrap_or(0)
    }

    /// wN: the low half of xN (V17).
    #[inline]
    pub fn w<const N: usize>(&self) -> u32 {
        low_half(self.x::<N>())
    }

    /// xN as a call of this width sees it.
    #[inline]
    pub fn arg<const N: usize>(&self, width: Width) -> u64 {
        self.x::<N>() & width.mask()
    }

    /// Writes xN.
    #[inline]
    pub fn set_x<const N: usize>(&mut self, value: u64) {
        const { assert!(N < 31) };
        if let Some(register) = self.x.get_mut(N) {
            *register = value;
        }
    }

    /// Writes wN, and zero to the upper half of xN (L2).
    #[inline]
    pub fn set_w<const N: usize>(&mut self, value: u32) {
        self.set_x::<N>(u64::from(value));
    }

    /// The endpoint in bits 31:16 of w1: the sender of a message, the target of FFA_RUN.
    #[inline]
    pub fn sender(&self) -> EndpointId {
        EndpointId::high_half(self.x::<1>())
    }

    /// The endpoint in bits 15:0 of w1: the receiver of a message.
    #[inline]
    pub fn receiver(&self) -> EndpointId {
        EndpointId::low_half(self.x::<1>())
    }

    /// The UUID in w1–w4: FFA_PARTITION_INFO_GET.
    #[inline]
    pub fn uuid_w1_w4(&self) -> Uuid {
        Uuid::from_words([self.w::<1>(), self.w::<2>(), self.w::<3>(), self.w::<4>()])
    }

    /// The UUID in x1 and x2: FFA_PARTITION_INFO_GET_REGS.
    #[inline]
    pub fn uuid_x1_x2(&self) -> Uuid {
        Uuid::from_pair(self.x::<1>(), self.x::<2>())
    }

    /// The UUID in x2 and x3: FFA_MSG_SEND_DIRECT_REQ2.
    #[inline]
    pub fn uuid_x2_x3(&self) -> Uuid {
        Uuid::from_pair(self.x::<2>(), self.x::<3>())
    }

    /// Writes a result: x0–x7, and x8–x17 as `extended` says. The rest is preserved.
    #[inline]
    pub fn reply(&mut self, extended: Extended, results: [u64; 8]) {
        if let Some(low) = self.x.first_chunk_mut() {
            *low = results;
        }
        match extended {
            Extended::Preserve => {}
            Extended::Clear => {
                // A zero that the compiler does not know: ten stores cost less than a call of memset.
                let zero = core::hint::black_box(0);
                if let Some(high) = self.x.get_mut(8..18) {
                    high.fill(zero);
                }
            }
        }
    }

    /// Writes a result that uses x0–x17 ([`CallClass::FfaExtended`]). The rest is preserved.
    #[inline]
    pub fn reply_extended(&mut self, results: &[u64; 18]) {
        if let Some(low) = self.x.first_chunk_mut() {
            *low = *results;
        }
    }

    /// FFA_SUCCESS in this width with these x2–x7; a 32-bit one carries their low halves (L2).
    #[inline]
    pub fn ffa_success(&mut self, extended: Extended, width: Width, results: [u64; 6]) {
        let [x2, x3, x4, x5, x6, x7] = results.map(|value| value & width.mask());
        self.reply(
            extended,
            [Function::Success.id(width), 0, x2, x3, x4, x5, x6, x7],
        );
    }

    /// FFA_ERROR with this status in w2.
    #[inline]
    pub fn ffa_error(&mut self, extended: Extended, error: FfaError) {
        let id = Function::Error.id(Width::W32);
        self.reply(extended, [id, 0, error.to_register(), 0, 0, 0, 0, 0]);
    }

    /// SMCCC's NOT_SUPPORTED for an id outside FF-A: x0 = −1; x1–x17 are preserved (V16).
    #[inline]
    pub fn smccc_not_supported(&mut self) {
        self.set_x::<0>(u64::MAX);
    }

    /// Copies x3–x7, the payload of a direct message; only the low halves for a 32-bit one (G19).
    #[inline]
    pub fn copy_direct_payload(&mut self, from: &Self, width: Width) {
        let [_, _, _, x3, x4, x5, x6, x7, ..] = &mut self.x;
        *x3 = from.arg::<3>(width);
        *x4 = from.arg::<4>(width);
        *x5 = from.arg::<5>(width);
        *x6 = from.arg::<6>(width);
        *x7 = from.arg::<7>(width);
    }

    /// Copies x4–x17, the payload of FFA_MSG_SEND_DIRECT_REQ2 and RESP2.
    #[inline]
    pub fn copy_direct2_payload(&mut self, from: &Self) {
        if let (Some(to), Some(from)) = (self.x.get_mut(4..18), from.x.get(4..18)) {
            to.copy_from_slice(from);
        }
    }
}

impl Default for Registers {
    fn default() -> Self {
        Self::ZERO
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VERSIONS: [Version; 4] = [Version::V1_0, Version::V1_1, Version::V1_2, Version::V1_3];
    const WIDTHS: [Width; 2] = [Width::W32, Width::W64];

    /// Canaries, each with bits in both halves.
    fn canaries() -> Registers {
        Registers {
            x: core::array::from_fn(|index| 0xc0de_0000_cafe_0000 + index as u64),
        }
    }

    fn rule(class: CallClass, version: Version, width: Width) -> Option<&'static ReturnRule> {
        let mut rules = RETURN_RULES.iter().filter(|rule| {
            rule.class == class && rule.width == width && (rule.from..=rule.to).contains(&version)
        });
        let found = rules.next();
        assert_eq!(
            rules.next(),
            None,
            "two rules for {class:?} {version} {width:?}"
        );
        found
    }

    /// Checks registers after a call against the table.
    fn check(rule: &ReturnRule, before: &Registers, after: &Registers, results: &[u64]) {
        let last = usize::from(rule.last_result);
        for index in 0..31 {
            let value = after.x[index];
            if index <= last {
                let expected = results.get(index).copied().unwrap_or(0) & rule.results.mask();
                assert_eq!(value, expected, "result x{index}");
            } else if index < 18 && rule.extended == Extended::Clear {
                assert_eq!(value, 0, "x{index} is cleared");
            } else {
                assert_eq!(value, before.x[index], "x{index} is preserved");
            }
        }
    }

    #[test]
    fn l1_ff_a_replies_follow_the_table() {
        for version in VERSIONS {
            for width in WIDTHS {
                let rule = rule(CallClass::Ffa, version, width).unwrap();
                let extended = Extended::for_call(version, width);
                assert_eq!(extended, rule.extended, "{version} {width:?}");

                let before = canaries();
                let mut after = before.clone();
                after.ffa_success(extended, width, [u64::MAX, 2, 3, 4, 5, 6]);
                let id = Function::Success.id(width);
                check(rule, &before, &after, &[id, 0, u64::MAX, 2, 3, 4, 5, 6]);

                let mut after = before.clone();
                after.ffa_error(extended, FfaError::Denied);
                check(rule, &before, &after, &[0x8400_0060, 0, 0xffff_fffa]);
            }
        }
    }

    #[test]
    fn l1_decisions_4_x8_to_x17_are_cleared_for_1_2_and_64_bit_only() {
        for version in VERSIONS {
            assert_eq!(Extended::for_call(version, Width::W32), Extended::Preserve);
        }
        assert_eq!(
            Extended::for_call(Version::V1_1, Width::W64),
            Extended::Preserve
        );
        assert_eq!(
            Extended::for_call(Version::V1_2, Width::W64),
            Extended::Clear
        );
        assert_eq!(
            Extended::for_call(Version::V1_3, Width::W64),
            Extended::Clear
        );
    }

    #[test]
    fn l1_extended_replies_follow_the_table() {
        let before = canaries();
        let mut after = before.clone();
        let results = core::array::from_fn(|index| 0x1111_0000_2222_0000 + index as u64);
        after.reply_extended(&results);
        for version in [Version::V1_2, Version::V1_3] {
            let rule = rule(CallClass::FfaExtended, version, Width::W64).unwrap();
            check(rule, &before, &after, &results);
        }
        assert!(rule(CallClass::FfaExtended, Version::V1_1, Width::W64).is_none());
        assert!(rule(CallClass::FfaExtended, Version::V1_3, Width::W32).is_none());
    }

    #[test]
    fn v16_an_unknown_smccc_call_changes_x0_only() {
        let before = canaries();
        let mut after = before.clone();
        after.smccc_not_supported();
        for version in VERSIONS {
            for width in WIDTHS {
                let rule = rule(CallClass::Other, version, width).unwrap();
                check(rule, &before, &after, &[u64::MAX]);
            }
        }
    }

    #[test]
    fn l2_a_32_bit_success_is_zero_extended() {
        let mut registers = canaries();
        registers.ffa_success(Extended::Preserve, Width::W32, [u64::MAX; 6]);
        assert_eq!(registers.x[..2], [0x8400_0061, 0]);
        assert_eq!(registers.x[2..8], [0xffff_ffff; 6]);
    }

    #[test]
    fn g19_a_32_bit_payload_loses_its_upper_halves() {
        let from = canaries();
        for width in WIDTHS {
            let mut to = Registers { x: [7; 31] };
            to.copy_direct_payload(&from, width);
            for index in 0..31 {
                let expected = if (3..8).contains(&index) {
                    from.x[index] & width.mask()
                } else {
                    7
                };
                assert_eq!(to.x[index], expected, "x{index}");
            }
        }
    }

    #[test]
    fn v20_a_req2_payload_is_x4_to_x17_exactly() {
        let from = canaries();
        let mut to = Registers { x: [7; 31] };
        to.copy_direct2_payload(&from);
        for index in 0..31 {
            let expected = if (4..18).contains(&index) {
                from.x[index]
            } else {
                7
            };
            assert_eq!(to.x[index], expected, "x{index}");
        }
    }

    #[test]
    fn v17_arguments_are_masked_to_their_width() {
        let registers = canaries();
        assert_eq!(registers.x::<30>(), 0xc0de_0000_cafe_001e);
        assert_eq!(registers.w::<30>(), 0xcafe_001e);
        assert_eq!(registers.arg::<4>(Width::W32), 0xcafe_0004);
        assert_eq!(registers.arg::<4>(Width::W64), 0xc0de_0000_cafe_0004);
        assert_eq!(registers.sender(), EndpointId(0xcafe));
        assert_eq!(registers.receiver(), EndpointId(1));
    }

    #[test]
    fn a09_uuids_are_read_from_their_registers() {
        let uuid = Uuid::parse("486178e0-e7f8-11e3-bc5e-0002a5d5c51b").unwrap();
        let mut registers = canaries();
        for (index, word) in uuid.to_words().into_iter().enumerate() {
            registers.x[1 + index] = 0xdead_beef_0000_0000 | u64::from(word);
        }
        assert_eq!(registers.uuid_w1_w4(), uuid);
        let (low, high) = uuid.to_pair();
        registers.set_x::<1>(low);
        registers.set_x::<2>(high);
        assert_eq!(registers.uuid_x1_x2(), uuid);
        registers.set_x::<2>(low);
        registers.set_x::<3>(high);
        assert_eq!(registers.uuid_x2_x3(), uuid);
    }

    #[test]
    fn l2_writing_a_w_register_clears_the_upper_half() {
        let mut registers = canaries();
        registers.set_w::<30>(5);
        registers.set_w::<0>(u32::MAX);
        assert_eq!(registers.x[30], 5);
        assert_eq!(registers.x[0], 0xffff_ffff);
        assert_eq!(registers.x[1], canaries().x[1]);
    }

    proptest! {
        #[test]
        fn l1_a_reply_never_touches_x18_to_x30(
            x in prop::array::uniform31(any::<u64>()),
            results in prop::array::uniform8(any::<u64>()),
            clear in any::<bool>(),
        ) {
            let before = Registers { x };
            let mut after = before.clone();
            after.reply(if clear { Extended::Clear } else { Extended::Preserve }, results);
            prop_assert_eq!(&after.x[..8], &results[..]);
            prop_assert_eq!(&after.x[18..], &before.x[18..]);
            let expected = if clear { [0; 10] } else { before.x[8..18].try_into().unwrap() };
            prop_assert_eq!(&after.x[8..18], &expected[..]);
        }
    }
}
