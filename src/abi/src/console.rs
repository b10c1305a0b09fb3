// SPDX-License-Identifier: MIT OR Apache-2.0
//! The characters of FFA_CONSOLE_LOG.

use crate::{FfaError, Registers, Version, Width};

/// The most characters that one call can carry: x2–x17, eight each.
pub const MAXIMUM: usize = 128;

/// The most characters of a call in this width by a caller of this version: 6 × 4 in w2–w7,
/// 6 × 8 in x2–x7, or 16 × 8 in x2–x17 from 1.2.
pub const fn maximum(width: Width, version: Version) -> usize {
    match width {
        Width::W32 => 24,
        Width::W64 if version.major == 1 && version.minor < 2 => 48,
        Width::W64 => MAXIMUM,
    }
}

/// The characters of one call, as bytes. They may be any: the log decides what is printable (D14).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Characters {
    bytes: [u8; MAXIMUM],
    count: usize,
}

impl Characters {
    /// The characters, in order.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.count).unwrap_or(&[])
    }
}

/// Extracts the characters of an FFA_CONSOLE_LOG: their count in w1 (x1), the first one in bits 7:0
/// of w2 (x2).
///
/// # Errors
/// INVALID_PARAMETERS when the count is zero or more than [`maximum`] (D14).
pub fn characters(
    registers: &Registers,
    width: Width,
    version: Version,
) -> Result<Characters, FfaError> {
    let count = usize::try_from(registers.arg::<1>(width))
        .ok()
        .filter(|count| (1..=maximum(width, version)).contains(count))
        .ok_or(FfaError::InvalidParameters)?;
    let mut bytes = [0; MAXIMUM];
    let (_, source) = registers.x.split_at_checked(2).unwrap_or_default();
    match width {
        Width::W32 => {
            for (to, from) in bytes.chunks_exact_mut(4).zip(source) {
                let [b0, b1, b2, b3, ..] = from.to_le_bytes();
                to.copy_from_slice(&[b0, b1, b2, b3]);
            }
        }
        Width::W64 => {
            for (to, from) in bytes.chunks_exact_mut(8).zip(source) {
                to.copy_from_slice(&from.to_le_bytes());
            }
        }
    }
    if let Some(unused) = bytes.get_mut(count..) {
        unused.fill(0);
    }
    Ok(Characters { bytes, count })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Registers that carry this text in this width, with junk wherever a call may not look.
    fn call(text: &[u8], width: Width) -> Registers {
        let mut registers = Registers {
            x: [0xa5a5_a5a5_a5a5_a5a5; 31],
        };
        let bytes = match width {
            Width::W32 => 4,
            Width::W64 => 8,
        };
        for (index, chunk) in text.chunks(bytes).enumerate() {
            for (lane, &byte) in chunk.iter().enumerate() {
                let register = &mut registers.x[index + 2];
                *register &= !(0xff << (lane * 8));
                *register |= u64::from(byte) << (lane * 8);
            }
        }
        let junk = registers.x[1] & !width.mask();
        registers.x[1] = junk | text.len() as u64;
        registers
    }

    fn alphabet(length: usize) -> Vec<u8> {
        (0..length).map(|index| b'!' + (index % 90) as u8).collect()
    }

    #[test]
    fn a89_each_width_and_version_has_its_maximum() {
        for (width, version, most) in [
            (Width::W32, Version::V1_0, 24),
            (Width::W32, Version::V1_3, 24),
            (Width::W64, Version::V1_0, 48),
            (Width::W64, Version::V1_1, 48),
            (Width::W64, Version::V1_2, 128),
            (Width::W64, Version::V1_3, 128),
        ] {
            assert_eq!(maximum(width, version), most);
            let text = alphabet(most);
            let found = characters(&call(&text, width), width, version);
            assert_eq!(found.unwrap().as_bytes(), text);

            let mut too_many = call(&text, width);
            too_many.x[1] = most as u64 + 1;
            assert_eq!(
                characters(&too_many, width, version),
                Err(FfaError::InvalidParameters)
            );
        }
    }

    #[test]
    fn d14_count_zero_or_huge_is_invalid() {
        for count in [0, 129, 1 << 31, 0xffff_ffff] {
            let mut registers = call(b"abc", Width::W32);
            registers.x[1] = count;
            for width in [Width::W32, Width::W64] {
                assert_eq!(
                    characters(&registers, width, Version::V1_2),
                    Err(FfaError::InvalidParameters)
                );
            }
        }
        let mut registers = call(b"abc", Width::W64);
        registers.x[1] = (1 << 32) | 3;
        assert!(characters(&registers, Width::W64, Version::V1_2).is_err());
        assert!(characters(&registers, Width::W32, Version::V1_2).is_ok());
    }

    proptest! {
        #[test]
        fn a89_text_comes_back(text in prop::collection::vec(any::<u8>(), 1..=24)) {
            for width in [Width::W32, Width::W64] {
                let found = characters(&call(&text, width), width, Version::V1_1).unwrap();
                prop_assert_eq!(found.as_bytes(), &text[..]);
            }
        }

        #[test]
        fn d14_any_registers_give_a_bounded_answer(
            x in prop::array::uniform31(any::<u64>()),
            count in 0_u64..200,
            minor in 0_u16..4,
        ) {
            let mut registers = Registers { x };
            registers.x[1] = count;
            let version = Version { major: 1, minor };
            for width in [Width::W32, Width::W64] {
                let most = maximum(width, version);
                match characters(&registers, width, version) {
                    Ok(found) => prop_assert_eq!(found.as_bytes().len() as u64, count),
                    Err(_) => prop_assert!(count == 0 || count > most as u64),
                }
            }
        }
    }
}
