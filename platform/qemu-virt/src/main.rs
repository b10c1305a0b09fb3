// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bulkhead on QEMU's `virt` machine with `secure=on,virtualization=on,gic-version=3`, under TF-A's
//! `PLAT=qemu` with the flags of `tf-a-integration/qemu-virt/flags`.
#![no_std]
#![no_main]

use bulkhead::{Allowed, GicFrames, Platform, Range, Reserved};

/// The machine.
struct QemuVirt;

impl Platform for QemuVirt {
    fn name(&self) -> &'static str {
        "qemu-virt"
    }

    fn console(&self) -> u64 {
        // UART1, secure; UART0 is the normal world's.
        0x0904_0000
    }

    fn gic(&self) -> GicFrames {
        GicFrames {
            distributor: 0x0800_0000,
            redistributors: Range {
                base: 0x080a_0000,
                // 123 cores.
                size: 123 * 0x2_0000,
            },
        }
    }

    fn ram_size(&self) -> usize {
        // Up to where the first partition is by custom, 0x0e30_0000.
        2 << 20
    }

    fn reserved(&self) -> &'static [Reserved] {
        &[Reserved {
            range: Range {
                base: 0x0e00_0000,
                size: 1 << 20,
            },
            owner: "EL3",
        }]
    }

    fn normal_world_memory(&self) -> &'static [Range] {
        // As much as the machine can have (255 GiB).
        &[Range {
            base: 0x4000_0000,
            size: 0x3f_c000_0000,
        }]
    }

    fn allowed(&self) -> Allowed {
        Allowed {
            fp: true,
            sve: true,
            sme: true,
            pointer_authentication: true,
            memory_tagging: true,
        }
    }
}

bulkhead::board!(QemuVirt = QemuVirt);
