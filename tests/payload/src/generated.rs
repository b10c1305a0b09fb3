// SPDX-License-Identifier: MIT OR Apache-2.0
//! Instructions that are made at run time, and numbers to make them of.

use core::arch::asm;

use crate::memory::Page;

static CODE: Page = Page::zeroed();

const RET: u32 = 0xd65f_03c0;
/// ADD X0, X0, #1.
const INCREMENT: u32 = 0x9100_0400;

/// Runs `instruction` and then adds one to x0, which holds `x0` before. The instruction may change x0 to
/// x17 and flags; call this under [`exception::expect`](crate::exception::expect) if it may fault.
pub fn run(instruction: u32, x0: u64) -> u64 {
    let code = CODE.address() as *mut u32;
    let result: u64;
    // SAFETY: the page is this function's own and no Rust object; its instructions come back by `ret`.
    unsafe {
        for (index, word) in [instruction, INCREMENT, RET].into_iter().enumerate() {
            code.add(index).write_volatile(word);
        }
        asm!(
            "dc cvau, {code}",
            "dsb ish",
            "ic ivau, {code}",
            "dsb ish",
            "isb",
            "blr {code}",
            "isb",
            code = in(reg) code,
            inout("x0") x0 => result,
            clobber_abi("C"),
            options(nostack),
        );
    }
    result
}

/// MRS X0 of a system register by its encoding (op0 in bits 15:14, op1, CRn, CRm, op2 in 2:0).
pub const fn mrs(encoding: u16) -> u32 {
    0xd520_0000 | (encoding as u32) << 5
}

/// MSR from X0.
pub const fn msr(encoding: u16) -> u32 {
    0xd500_0000 | (encoding as u32) << 5
}

/// Numbers that look random and are the same in every run (xorshift64).
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// Numbers from `seed` on, which is not zero.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `bound`.
    pub const fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }

    /// One of these.
    pub const fn of(&mut self, values: &[u64]) -> u64 {
        values[self.below(values.len() as u64) as usize]
    }
}
