// SPDX-License-Identifier: MIT OR Apache-2.0
//! A board to start from. Copy this crate, in the tree or out of it, and change what is below.
//!
//! What a board crate is made of:
//! - `Cargo.toml`: a binary; `bulkhead` among the dependencies, `bulkhead-build` among the build
//!   dependencies.
//! - `build.rs`: calls `bulkhead_build::link_image()`. There is no linker script to write: the image is
//!   linked at one virtual address and runs from any 4 KiB-aligned address that it is loaded at.
//! - this file: one type that implements [`Platform`], and `board!`.
//!
//! Build it for `aarch64-unknown-none-softfloat` and turn the ELF file into a raw image
//! (`objcopy -O binary`); that is what BL2 loads as BL32. What EL3 must be built with stands in
//! `tf-a-integration`.
//!
//! What does *not* belong here: cores, memory, partitions and their devices. They come from the SPMC
//! manifest, which also goes before the console and the interrupt controller below where it has an
//! `arm,pl011` or `arm,gic-v3` node. CPU features are found at run time.
#![no_std]
#![no_main]

use bulkhead::{Allowed, GicFrames, Platform, Range, Reserved};

/// Name it after the machine.
struct Template;

impl Platform for Template {
    fn name(&self) -> &'static str {
        "template"
    }

    /// A PL011 that the secure world may use and that EL3 has initialised (baud rate, enable). It is
    /// used from the first line on, before the manifest is read.
    fn console(&self) -> u64 {
        0x1000_0000
    }

    /// The GICv3 frames. EL3 has initialised the distributor and wakes each redistributor.
    fn gic(&self) -> GicFrames {
        GicFrames {
            distributor: 0x2000_0000,
            redistributors: Range {
                base: 0x2010_0000,
                // 0x2_0000 for each core, 0x4_0000 with a GICv4.
                size: 4 * 0x2_0000,
            },
        }
    }

    /// Bulkhead's RAM, image included, from wherever it is loaded. 2 MiB serve a handful of cores and
    /// partitions; each core takes 32 KiB and, with SVE, its vectors; each execution context 1 KiB;
    /// half of what the image leaves is for translation tables. If it is too little, the boot says so.
    fn ram_size(&self) -> usize {
        2 << 20
    }

    /// What no manifest may give away: EL3's own memory at least. Bulkhead's RAM and the interrupt
    /// controller need not be listed.
    fn reserved(&self) -> &'static [Reserved] {
        &[Reserved {
            range: Range {
                base: 0x0400_0000,
                size: 0x4_0000,
            },
            owner: "EL3",
        }]
    }

    /// The normal world's RAM, for SPMC manifests without `ns-memory` nodes; leave it out if yours has
    /// them.
    fn normal_world_memory(&self) -> &'static [Range] {
        &[Range {
            base: 0x8000_0000,
            size: 0x8000_0000,
        }]
    }

    /// What EL3 lets S-EL2 and below use. A use that EL3 traps can be a panic of EL3, and ID registers
    /// do not tell: say `true` only for what EL3 was built with. What the machine lacks is found out.
    fn allowed(&self) -> Allowed {
        Allowed {
            // CPTR_EL3.TFP = 0.
            fp: true,
            // CPTR_EL3.EZ = 1 in the secure world (TF-A: ENABLE_SVE_FOR_SWD).
            sve: false,
            // CPTR_EL3.ESM = 1 in the secure world (TF-A: ENABLE_SME_FOR_SWD).
            sme: false,
            // SCR_EL3.API and APK (TF-A: CTX_INCLUDE_PAUTH_REGS, BRANCH_PROTECTION).
            pointer_authentication: false,
            // SCR_EL3.ATA (TF-A: ENABLE_FEAT_MTE2).
            memory_tagging: false,
        }
    }
}

bulkhead::board!(Template = Template);
