// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads choices and values from a fuzzer's bytes. Past the end everything is zero.

/// The rest of an input.
pub struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    /// All of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next `count` bytes, or what is left.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.bytes.split_at(count.min(self.bytes.len()));
        self.bytes = rest;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.take(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    /// A 16-bit number.
    pub fn half(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// A 32-bit number.
    pub fn word(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// A 64-bit number.
    pub fn long(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// One of `choices`.
    pub fn choose<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    /// A number that is often special: zero, a bound, a page, or its neighbour.
    pub fn number(&mut self) -> u64 {
        const SPECIAL: [u64; 24] = [
            0,
            1,
            2,
            3,
            4,
            8,
            16,
            0x1f,
            0x20,
            0x3f,
            0xfff,
            0x1000,
            0x2000,
            0x1_0000,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_f000,
            0xffff_ffff,
            0x1_0000_0000,
            0xffff_ffff_ffff,
            0x8000_0000_0000_0000,
            0xffff_ffff_ffff_f000,
            u64::MAX - 1,
            u64::MAX,
        ];
        match self.byte() {
            byte @ 0..=0x7f => SPECIAL[usize::from(byte) % SPECIAL.len()],
            0x80..=0x9f => u64::from(self.byte()),
            0xa0..=0xbf => u64::from(self.half()) << 12,
            0xc0..=0xdf => u64::from(self.word()),
            _ => self.long(),
        }
    }
}
