// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bulkhead on Arm's FVP Base RevC model, under TF-A's `PLAT=fvp` with the SPMC in trusted DRAM.
//!
//! Built with every change, not run: the model cannot be had here. The addresses are those of TF-A's
//! `plat/arm/board/fvp` and of the manifests that go with it; unverified.
#![no_std]
#![no_main]

use bulkhead::{Allowed, GicFrames, Platform, Range, Reserved};

/// FVP Base RevC-2xAEMvA.
struct FvpBase;

impl Platform for FvpBase {
    fn name(&self) -> &'static str {
        "fvp-base"
    }

    fn console(&self) -> u64 {
        // UART2; UART0 is the normal world's, UART1 EL3's.
        0x1c0b_0000
    }

    fn gic(&self) -> GicFrames {
        GicFrames {
            distributor: 0x2f00_0000,
            redistributors: Range {
                base: 0x2f10_0000,
                // 8 cores.
                size: 8 * 0x2_0000,
            },
        }
    }

    fn ram_size(&self) -> usize {
        // Up to where the first partition is by custom.
        2 << 20
    }

    fn reserved(&self) -> &'static [Reserved] {
        &[Reserved {
            range: Range {
                base: 0x0400_0000,
                size: 0x4_0000,
            },
            owner: "EL3 (trusted SRAM)",
        }]
    }

    fn normal_world_memory(&self) -> &'static [Range] {
        // The 2 GiB below 4 GiB, without what TF-A keeps at their end, and the rest above.
        &[
            Range {
                base: 0x8000_0000,
                size: 0x7c00_0000,
            },
            Range {
                base: 0x8_8000_0000,
                size: 0x1_8000_0000,
            },
        ]
    }

    fn allowed(&self) -> Allowed {
        // With ENABLE_SVE_FOR_SWD, ENABLE_SME_FOR_SWD, BRANCH_PROTECTION or CTX_INCLUDE_PAUTH_REGS,
        // and ENABLE_FEAT_MTE2.
        Allowed {
            fp: true,
            sve: true,
            sme: true,
            pointer_authentication: true,
            memory_tagging: true,
        }
    }
}

bulkhead::board!(FvpBase = FvpBase);
