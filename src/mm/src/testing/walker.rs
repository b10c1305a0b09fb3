// SPDX-License-Identifier: MIT OR Apache-2.0
//! A walk of tables as hardware does it, from the registers of a regime.

use std::collections::BTreeSet;
use std::vec::Vec;
use std::{assert, assert_eq};

use crate::addr::Pa;

/// Memory as a walk reads it.
pub trait Words {
    /// The word at the physical address `byte`, a multiple of eight.
    fn word(&self, byte: u64) -> u64;
}

/// A walk as the registers of a regime describe it.
#[derive(Clone, Copy, Debug)]
pub struct Walker {
    /// The physical address in the base register.
    pub base: u64,
    /// T0SZ or T1SZ.
    pub tsz: u32,
    /// The level at which the walk starts: −1 to 2.
    pub start: i32,
    /// Whether the input addresses are those of an upper half.
    pub upper: bool,
    /// Whether descriptors hold 52-bit addresses (DS = 1).
    pub lpa2: bool,
}

/// What a walk ended in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translation {
    /// The output address.
    pub pa: u64,
    /// The descriptor.
    pub descriptor: u64,
    /// How many bytes the descriptor maps.
    pub bytes: u64,
    /// Whether it is one of a contiguous run.
    pub contiguous: bool,
}

/// What a descriptor is.
pub(super) enum Kind {
    Fault,
    Leaf(u64),
    Table(u64),
}

impl Walker {
    /// The walk of stage 2 with VTCR_EL2 `vtcr` (T0SZ [5:0], SL0 [7:6], DS [32], SL2 [33]).
    pub fn stage2(base: Pa, vtcr: u64) -> Self {
        let lpa2 = vtcr >> 32 & 1 == 1;
        let start = match (vtcr >> 33 & 1, vtcr >> 6 & 3) {
            (0, sl0 @ 0..=2) => 2 - sl0 as i32,
            (1, 0) if lpa2 => -1,
            other => panic!("SL2, SL0 = {other:?}"),
        };
        Self {
            base: base.0,
            tsz: (vtcr & 0x3f) as u32,
            start,
            upper: false,
            lpa2,
        }
    }

    /// The walk of S-EL2's upper half with TCR_EL2.T1SZ `t1sz`.
    pub fn stage1(base: Pa, t1sz: u64) -> Self {
        // Arm's formula for the 4 KiB granule: 4 − ⌈(address bits − 12) / 9⌉.
        let start = 4 - (64 - t1sz as i32 - 12).div_euclid(9) - 1;
        let exact = (64 - t1sz as i32 - 12) % 9 == 0;
        Self {
            base: base.0,
            tsz: t1sz as u32,
            start: start + i32::from(exact),
            upper: true,
            lpa2: false,
        }
    }

    /// The walk of the lower half of a partition at S-EL0 with TCR_EL2.T0SZ `t0sz`.
    pub fn el0(base: Pa, t0sz: u64) -> Self {
        Self {
            upper: false,
            ..Self::stage1(base, t0sz)
        }
    }

    /// The lowest bit of an input address that `level` resolves.
    pub(super) const fn low(level: i32) -> u32 {
        (12 + 9 * (3 - level)) as u32
    }

    /// The address bits of `word`.
    pub(super) const fn address(&self, word: u64) -> u64 {
        if self.lpa2 {
            word & 0x0003_ffff_ffff_f000 | (word >> 8 & 3) << 50
        } else {
            word & 0x0000_ffff_ffff_f000
        }
    }

    /// What `word` is as a descriptor of `level`.
    pub(super) const fn kind(&self, word: u64, level: i32) -> Kind {
        match (word & 3, level) {
            (1, 1 | 2) | (3, 3) => Kind::Leaf(self.address(word)),
            (1, 0) if self.lpa2 => Kind::Leaf(self.address(word)),
            (3, _) => Kind::Table(self.address(word)),
            _ => Kind::Fault,
        }
    }

    /// How many entries the root has.
    pub(super) const fn root_entries(&self) -> u64 {
        1 << (64 - self.tsz - Self::low(self.start))
    }

    /// Translates `address`; the error is the level of the translation fault.
    ///
    /// # Errors
    /// The level at which the address does not translate.
    pub fn translate(&self, mem: &(impl Words + ?Sized), address: u64) -> Result<Translation, i32> {
        let bits = 64 - self.tsz;
        let top = address >> bits;
        if top != if self.upper { u64::MAX >> bits } else { 0 } {
            return Err(0);
        }
        let mut high = bits;
        let mut table = self.base;
        for level in self.start..4 {
            let low = Self::low(level);
            let index = (address & ((1 << high) - 1)) >> low;
            let word = mem.word(table + index * 8);
            match self.kind(word, level) {
                Kind::Fault => return Err(level),
                Kind::Table(next) => table = next,
                Kind::Leaf(output) => {
                    // The access flag: without it the access would fault.
                    assert!(word & (1 << 10) != 0, "access flag of {word:#x}");
                    let bytes = 1_u64 << low;
                    assert_eq!(output & (bytes - 1), 0, "RES0 bits of {word:#x}");
                    let contiguous = word >> 52 & 1 == 1;
                    let pa = output + (address & (bytes - 1));
                    if contiguous {
                        self.check_run(mem, table, index, level);
                    }
                    return Ok(Translation {
                        pa,
                        descriptor: word,
                        bytes,
                        contiguous,
                    });
                }
            }
            high = low;
        }
        Err(3)
    }

    /// A core may take any entry of a contiguous run for all of it: they must agree.
    fn check_run(&self, mem: &(impl Words + ?Sized), table: u64, index: u64, level: i32) {
        let first = index & !15;
        let at = |index| mem.word(table + index * 8);
        let outputs: Vec<u64> = (first..first + 16).map(|i| self.address(at(i))).collect();
        let step = 1 << Self::low(level);
        assert_eq!(outputs[0] % (16 * step), 0, "a run that is not aligned");
        for (number, output) in (0..16).zip(&outputs) {
            assert_eq!(*output, outputs[0] + number * step, "a run that jumps");
            let (word, like) = (at(first + number), at(first));
            let attributes = !0x0003_ffff_ffff_f000 & !if self.lpa2 { 0x300 } else { 0 };
            assert_eq!(word & attributes, like & attributes, "a mixed run");
        }
    }

    /// Calls `visitor` for each block and page, in ascending order, with its first input address.
    pub fn leaves(&self, mem: &(impl Words + ?Sized), visitor: &mut impl FnMut(u64, Translation)) {
        let base = if self.upper {
            u64::MAX << (64 - self.tsz)
        } else {
            0
        };
        let mut pending: Vec<(u64, u64, u64, i32)> =
            std::vec![(self.base, base, self.root_entries(), self.start)];
        // The entries of a table that are still to be visited stay below those of its next level.
        while let Some((entry, input, count, level)) = pending.pop() {
            let bytes = 1_u64 << Self::low(level);
            for number in 0..count {
                let word = mem.word(entry + number * 8);
                let input = input.wrapping_add(number * bytes);
                match self.kind(word, level) {
                    Kind::Fault => {}
                    Kind::Leaf(pa) => {
                        let contiguous = word >> 52 & 1 == 1;
                        let descriptor = word;
                        visitor(
                            input,
                            Translation {
                                pa,
                                descriptor,
                                bytes,
                                contiguous,
                            },
                        );
                    }
                    Kind::Table(next) => {
                        let after = number + 1;
                        let rest = (
                            entry + after * 8,
                            input.wrapping_add(bytes),
                            count - after,
                            level,
                        );
                        pending.push(rest);
                        pending.push((next, input, 512, level + 1));
                        break;
                    }
                }
            }
        }
    }

    /// The addresses of all tables but the root's.
    pub fn tables(&self, mem: &(impl Words + ?Sized)) -> BTreeSet<u64> {
        let mut found = BTreeSet::new();
        let mut pending: Vec<(u64, u64, i32)> =
            std::vec![(self.base, self.root_entries(), self.start)];
        while let Some((table, entries, level)) = pending.pop() {
            for entry in 0..entries {
                if let Kind::Table(next) = self.kind(mem.word(table + entry * 8), level) {
                    assert!(found.insert(next), "table {next:#x} is linked twice");
                    pending.push((next, 512, level + 1));
                }
            }
        }
        found
    }
}
