// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a board tells Bulkhead.
//!
//! A board is a binary crate with one type that implements [`Platform`] and one line,
//! [`board!`](crate::board). `platform/template` is the place to start from. Everything here is a
//! fact of the machine or of its EL3; what a system integrator decides is in the SPMC manifest, which
//! goes before these defaults where it says something (DESIGN.md section 5).

use bulkhead_arch::features::Allowed;
use bulkhead_manifest::Range;

/// A machine.
pub trait Platform: Sync {
    /// Its name in the banner.
    fn name(&self) -> &'static str;

    /// The physical address of the PL011 that is Bulkhead's console until the manifest names
    /// another. EL3 has set it up.
    fn console(&self) -> u64;

    /// The physical address of another PL011, for Bulkhead's lines when a partition has the console
    /// to itself (DECISIONS 14). Without one they stay in memory then.
    fn second_console(&self) -> Option<u64> {
        None
    }

    /// The GICv3's frames, where the manifest names none.
    fn gic(&self) -> GicFrames;

    /// How much RAM from its load address on is Bulkhead's, in bytes; at most 1 GiB
    /// (DECISIONS 15). What the image does not need holds tables and the state of partitions.
    fn ram_size(&self) -> usize;

    /// Secure memory that is neither Bulkhead's nor a partition's, whatever a manifest says
    /// (DECISIONS 13).
    fn reserved(&self) -> &'static [Reserved];

    /// Where the normal world's RAM is, by physical address, where the manifest has no `ns-memory`:
    /// buffers of the normal world may lie there. They are mapped as normal memory and accessed as
    /// non-secure, so a generous answer exposes nothing; devices do not belong here.
    fn normal_world_memory(&self) -> &'static [Range] {
        &[]
    }

    /// For how many VMs at once a hypervisor can have RX and TX buffers mapped; one more gets
    /// NO_MEMORY. Each takes about 300 bytes.
    fn vm_mailboxes(&self) -> usize {
        64
    }

    /// How many VMs, the normal world's primary endpoint among them, can have notifications at once
    /// one more gets NO_MEMORY. Each takes about 500 bytes, and 32 bytes for each vCPU.
    fn vm_bitmaps(&self) -> usize {
        32
    }

    /// How many vCPUs a VM that has notifications can have; at least as many as there are cores.
    fn vm_vcpus(&self) -> usize {
        16
    }

    /// What EL3 lets the secure world use (DECISIONS 8).
    fn allowed(&self) -> Allowed;
}

/// Where a GICv3 is.
#[derive(Clone, Copy, Debug)]
pub struct GicFrames {
    /// The physical address of the distributor's frame.
    pub distributor: u64,
    /// All redistributors.
    pub redistributors: Range,
}

/// Memory that has an owner already.
#[derive(Clone, Copy, Debug)]
pub struct Reserved {
    /// Where.
    pub range: Range,
    /// Whose, for messages.
    pub owner: &'static str,
}

/// Makes the binary crate the firmware of a board: takes an expression of a type that implements
/// [`Platform`](crate::Platform) and can be a static.
#[macro_export]
macro_rules! board {
    ($board:ty = $value:expr) => {
        static BOARD: $board = $value;

        /// Called by the entry stub, once, on the boot core.
        // SAFETY: the name is Bulkhead's own, and the only definition of it.
        #[unsafe(no_mangle)]
        extern "C" fn bulkhead_boot(manifest: u64) -> ! {
            $crate::boot::start(&BOARD, manifest)
        }
    };
}
