// SPDX-License-Identifier: MIT OR Apache-2.0
//! UUIDs of partitions and services, and how registers and manifests pack them.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A UUID as its 16 bytes in RFC 9562 order: the order of its text, and of every FF-A descriptor in
/// memory.
///
/// In registers and in manifest cells each 32-bit word holds four of the bytes, the first one in
/// bits 7:0. OP-TEE's UUID 486178e0-e7f8-11e3-bc5e-0002a5d5c51b is the words 0xe0786148 0xe311f8e7
/// 0x02005ebc 0x1bc5d5a5 in PARTITION_INFO_GET's w1–w4 (OP-TEE's `thread_spmc.c` compares with these
/// constants) and in the `uuid` property of a manifest (OP-TEE/optee_os#4912: Hafnium expects the
/// little-endian form there). Hafnium takes words from either place without a swap.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(transparent)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// The nil UUID: "any" in a filter, "none given" in a message.
    pub const NIL: Self = Self([0; 16]);

    /// Whether all bytes are zero.
    #[inline]
    pub const fn is_nil(self) -> bool {
        u128::from_ne_bytes(self.0) == 0
    }

    /// From four 32-bit words: w1–w4 of FFA_PARTITION_INFO_GET.
    #[inline]
    pub const fn from_words(words: [u32; 4]) -> Self {
        let [w0, w1, w2, w3] = words;
        let [a0, a1, a2, a3] = w0.to_le_bytes();
        let [b0, b1, b2, b3] = w1.to_le_bytes();
        let [c0, c1, c2, c3] = w2.to_le_bytes();
        let [d0, d1, d2, d3] = w3.to_le_bytes();
        Self([
            a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3,
        ])
    }

    /// To four 32-bit words, the inverse of [`Uuid::from_words`].
    #[inline]
    pub const fn to_words(self) -> [u32; 4] {
        let [
            a0,
            a1,
            a2,
            a3,
            b0,
            b1,
            b2,
            b3,
            c0,
            c1,
            c2,
            c3,
            d0,
            d1,
            d2,
            d3,
        ] = self.0;
        [
            u32::from_le_bytes([a0, a1, a2, a3]),
            u32::from_le_bytes([b0, b1, b2, b3]),
            u32::from_le_bytes([c0, c1, c2, c3]),
            u32::from_le_bytes([d0, d1, d2, d3]),
        ]
    }

    /// From two 64-bit registers, the first eight bytes in the first one: x1, x2 of
    /// FFA_PARTITION_INFO_GET_REGS, x2, x3 of FFA_MSG_SEND_DIRECT_REQ2.
    #[inline]
    pub const fn from_pair(low: u64, high: u64) -> Self {
        let [a0, a1, a2, a3, b0, b1, b2, b3] = low.to_le_bytes();
        let [c0, c1, c2, c3, d0, d1, d2, d3] = high.to_le_bytes();
        Self([
            a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3,
        ])
    }

    /// To two 64-bit registers, the inverse of [`Uuid::from_pair`].
    #[inline]
    pub const fn to_pair(self) -> (u64, u64) {
        let [
            a0,
            a1,
            a2,
            a3,
            b0,
            b1,
            b2,
            b3,
            c0,
            c1,
            c2,
            c3,
            d0,
            d1,
            d2,
            d3,
        ] = self.0;
        (
            u64::from_le_bytes([a0, a1, a2, a3, b0, b1, b2, b3]),
            u64::from_le_bytes([c0, c1, c2, c3, d0, d1, d2, d3]),
        )
    }

    /// From the four cells of a manifest's `uuid` property, each already read as a big-endian
    /// device-tree cell: `uuid = <0xe0786148 …>` gives `[0xe0786148, …]`. Packed as registers are.
    #[inline]
    pub const fn from_manifest_cells(cells: [u32; 4]) -> Self {
        Self::from_words(cells)
    }

    /// Parses the 36 characters of `486178e0-e7f8-11e3-bc5e-0002a5d5c51b`, in either case; `None`
    /// for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        let mut rest = text.as_bytes();
        for (index, byte) in bytes.iter_mut().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                rest = rest.strip_prefix(b"-")?;
            }
            let (&[high, low], tail) = rest.split_first_chunk()?;
            *byte = (hex_digit(high)? << 4) | hex_digit(low)?;
            rest = tail;
        }
        rest.is_empty().then_some(Self(bytes))
    }
}

/// The value of a hexadecimal digit.
fn hex_digit(character: u8) -> Option<u8> {
    u8::try_from(char::from(character).to_digit(16)?).ok()
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "486178e0-e7f8-11e3-bc5e-0002a5d5c51b";
    const WORDS: [u32; 4] = [0xe078_6148, 0xe311_f8e7, 0x0200_5ebc, 0x1bc5_d5a5];

    #[test]
    fn a09_op_tees_uuid_has_op_tees_words() {
        let uuid = Uuid::parse(TEXT).unwrap();
        assert_eq!(uuid.to_words(), WORDS);
        assert_eq!(Uuid::from_words(WORDS), uuid);
        assert_eq!(Uuid::from_manifest_cells(WORDS), uuid);
        assert_eq!(uuid.to_string(), TEXT);
        assert_eq!(uuid.0[..4], [0x48, 0x61, 0x78, 0xe0]);
    }

    #[test]
    fn a21_a_register_pair_holds_two_words_each() {
        let uuid = Uuid::parse(TEXT).unwrap();
        assert_eq!(
            uuid.to_pair(),
            (0xe311_f8e7_e078_6148, 0x1bc5_d5a5_0200_5ebc)
        );
    }

    #[test]
    fn nil_is_nil_and_nothing_else() {
        assert!(Uuid::NIL.is_nil());
        assert_eq!(Uuid::default(), Uuid::NIL);
        for index in 0..16 {
            let mut bytes = [0; 16];
            bytes[index] = 1;
            assert!(!Uuid(bytes).is_nil());
        }
    }

    #[test]
    fn malformed_text_is_refused() {
        for text in [
            "",
            "486178e0-e7f8-11e3-bc5e-0002a5d5c51",
            "486178e0-e7f8-11e3-bc5e-0002a5d5c51b0",
            "486178e0e7f8-11e3-bc5e-0002a5d5c51b-",
            "486178e0-e7f8-11e3-bc5e-0002a5d5c5+b",
            "486178e0e7f811e3bc5e0002a5d5c51b",
            "{486178e0-e7f8-11e3-bc5e-0002a5d5c51}",
            "486178e\u{e9}-e7f8-11e3-bc5e-0002a5d5c51b",
        ] {
            assert_eq!(Uuid::parse(text), None, "{text}");
        }
        assert_eq!(Uuid::parse(&TEXT.to_uppercase()), Uuid::parse(TEXT));
    }

    proptest! {
        #[test]
        fn every_form_comes_back(bytes in any::<[u8; 16]>()) {
            let uuid = Uuid(bytes);
            let (low, high) = uuid.to_pair();
            prop_assert_eq!(Uuid::from_words(uuid.to_words()), uuid);
            prop_assert_eq!(Uuid::from_pair(low, high), uuid);
            prop_assert_eq!(Uuid::parse(&uuid.to_string()), Some(uuid));
        }

        #[test]
        fn parsing_any_text_never_panics(text in ".{0,40}") {
            let _ = Uuid::parse(&text);
        }
    }
}
