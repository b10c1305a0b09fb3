// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which notifications: a bitmap that is wider than that of FF-A 1.1.

use crate::{FfaError, Registers};

/// The registers of a bitmap in the second forms of the calls: six, of 64 notifications each.
pub(super) const WIRE_WORDS: usize = 6;
/// Those that are implemented.
const WORDS: usize = 2;

/// Notifications by number: notification `i` is bit `i % 64` of word `i / 64`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Bitmap([u64; WORDS]);

impl Bitmap {
    /// How many notifications there are, of partitions and of VMs each.
    pub const COUNT: usize = 128;
    /// None.
    pub const NONE: Self = Self([0; WORDS]);
    /// All.
    pub const ALL: Self = Self([u64::MAX; WORDS]);
    /// Those that the calls of FF-A 1.1 know: 0 to 63.
    pub const FIRST: Self = Self::first(u64::MAX);

    /// Notifications 0 to 63.
    pub const fn first(word: u64) -> Self {
        let mut words = [0; WORDS];
        if let Some(first) = words.first_mut() {
            *first = word;
        }
        Self(words)
    }

    /// Notifications 0 to 63.
    pub const fn first_word(self) -> u64 {
        let [first, ..] = self.0;
        first
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// How many there are.
    pub fn count(self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Those of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        self.zip(other, |ours, theirs| ours | theirs)
    }

    /// What both have.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        self.zip(other, |ours, theirs| ours & theirs)
    }

    /// Those that `other` has not.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        self.zip(other, |ours, theirs| ours & !theirs)
    }

    /// Whether all of `other` are there.
    pub fn contains(self, other: Self) -> bool {
        other.without(self).is_empty()
    }

    /// Whether both have one.
    pub fn meets(self, other: Self) -> bool {
        !self.intersection(other).is_empty()
    }

    /// The numbers, in order.
    pub fn members(self) -> impl Iterator<Item = usize> {
        (0..).step_by(64).zip(self.0).flat_map(|(first, word)| {
            let bits = core::iter::successors(Some(word), |left| Some(left & left.wrapping_sub(1)));
            bits.take_while(|left| *left != 0).filter_map(move |left| {
                usize::try_from(left.trailing_zeros())
                    .ok()
                    .map(|bit| bit.saturating_add(first))
            })
        })
    }

    fn zip(self, other: Self, both: impl Fn(u64, u64) -> u64) -> Self {
        let mut words = self.0;
        for (word, other) in words.iter_mut().zip(other.0) {
            *word = both(*word, other);
        }
        Self(words)
    }

    /// The bitmap in xN and the five registers behind it.
    ///
    /// # Errors
    /// INVALID_PARAMETERS when it has a notification that is not implemented.
    pub(super) fn read(registers: &Registers, first: usize) -> Result<Self, FfaError> {
        let mut words = registers.x.iter().skip(first).take(WIRE_WORDS);
        let mut bitmap = Self::NONE;
        for (word, value) in bitmap.0.iter_mut().zip(words.by_ref()) {
            *word = *value;
        }
        if words.any(|word| *word != 0) {
            return Err(FfaError::InvalidParameters);
        }
        Ok(bitmap)
    }

    /// The bitmap as six registers.
    pub(super) fn words(self) -> [u64; WIRE_WORDS] {
        let mut words = [0; WIRE_WORDS];
        for (word, value) in words.iter_mut().zip(self.0) {
            *word = value;
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a38_members_are_the_numbers_of_the_bits() {
        let bitmap = Bitmap([1 << 63 | 0b101, 1 << 1 | 1 << 63]);
        assert_eq!(bitmap.members().collect::<Vec<_>>(), [0, 2, 63, 65, 127]);
        assert_eq!(Bitmap::NONE.members().count(), 0);
        assert_eq!(Bitmap::ALL.members().count(), Bitmap::COUNT);
        assert_eq!(bitmap.count(), 5);
    }

    #[test]
    fn a38_sets_are_taken_word_by_word() {
        let (a, b) = (Bitmap([0b1100, 0b0110]), Bitmap([0b1010, 0b0011]));
        assert_eq!(a.union(b), Bitmap([0b1110, 0b0111]));
        assert_eq!(a.intersection(b), Bitmap([0b1000, 0b0010]));
        assert_eq!(a.without(b), Bitmap([0b0100, 0b0100]));
        assert!(a.meets(b) && !a.contains(b) && a.contains(a.without(b)));
        assert!(!Bitmap([1, 0]).meets(Bitmap([0, 1])));
    }
}
