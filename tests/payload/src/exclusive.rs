// SPDX-License-Identifier: MIT OR Apache-2.0
//! The exclusive monitor, around a call.

use core::arch::asm;

use crate::call::Conduit;
use crate::memory::Page;

static WORD: Page = Page::zeroed();

/// Whether a store exclusive right after its load succeeds, as it need not while the MMU is off.
pub fn holds() -> bool {
    let status: u32;
    // SAFETY: a word of a page that is nobody's.
    unsafe {
        asm!(
            "ldxr {value}, [{word}]",
            "stxr {status:w}, {value}, [{word}]",
            value = out(reg) _,
            word = in(reg) WORD.address(),
            status = out(reg) status,
            options(nostack),
        );
    }
    status == 0
}

macro_rules! across {
    ($instruction:literal, $x:ident) => {{
        let status: u64;
        // SAFETY: as above; the call changes x0 to x17 at most.
        unsafe {
            asm!(
                "ldxr x21, [x20]",
                $instruction,
                "stxr w22, x21, [x20]",
                inout("x0") $x[0] => _, inout("x1") $x[1] => _, inout("x2") $x[2] => _,
                inout("x3") $x[3] => _, inout("x4") $x[4] => _, inout("x5") $x[5] => _,
                inout("x6") $x[6] => _, inout("x7") $x[7] => _,
                out("x8") _, out("x9") _, out("x10") _, out("x11") _, out("x12") _, out("x13") _,
                out("x14") _, out("x15") _, out("x16") _, out("x17") _,
                in("x20") WORD.address(), out("x21") _, out("x22") status,
                options(nostack),
            );
        }
        status & 0xffff_ffff == 0
    }};
}

/// Whether a store exclusive succeeds after its load and, in between, a call with x0 to x7.
pub fn holds_across(conduit: Conduit, x: [u64; 18]) -> bool {
    match conduit {
        Conduit::Smc => across!("smc #0", x),
        Conduit::Hvc => across!("hvc #0", x),
        Conduit::Svc => across!("svc #0", x),
    }
}
