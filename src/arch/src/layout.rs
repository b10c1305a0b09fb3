// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where things lie in S-EL2's upper half, and what the linker knows of the image.
//!
//! The half is 39 bits wide. Each area has a gigabyte of its own, so areas never share a page-table
//! page above level 1 and a stray pointer meets unmapped space:
//!
//! | from | what |
//! |---|---|
//! | 0 GiB | Bulkhead's RAM, linear: image, then arena |
//! | 1 GiB | device frames |
//! | 2 GiB | stacks of the cores, each above unmapped space |
//! | 3 GiB | windows: one page at a time of memory that is not Bulkhead's |
//! | 4 GiB | mailboxes |

/// The virtual address of the image's first byte; `image.ld` links there.
pub const IMAGE_BASE: usize = 0xffff_ff80_0000_0000;
/// Address bits of the upper half.
pub const VA_BITS: u64 = 39;
/// The size of a page.
pub const PAGE_SIZE: usize = 4096;
/// The size of a core's stack. FFA_MEM_RETRIEVE_REQ goes deepest, with three staged pages: 19 KiB of frames.
pub const STACK_SIZE: usize = 32 * 1024;
/// The size of the boot core's stack: it parses manifests.
pub const BOOT_STACK_SIZE: usize = 64 * 1024;
/// Stacks start at multiples of twice this, and are no larger: in a stack this bit of SP is clear, and
/// just below one, where nothing is mapped, it is set. The image's first stack lies below the limit,
/// so the bit is clear there, too.
pub const STACK_LIMIT: usize = 1 << 20;

const GIB: usize = 1 << 30;
/// How much RAM the linear area can hold.
pub const RAM_LIMIT: usize = GIB - EARLY_WINDOW_SIZE;
/// Device frames.
pub const DEVICES: usize = IMAGE_BASE + GIB;
/// Stacks of cores, by index.
pub const STACKS: usize = IMAGE_BASE + 2 * GIB;
/// Windows on foreign memory.
pub const WINDOWS: usize = IMAGE_BASE + 3 * GIB;
/// RX and TX buffers.
pub const MAILBOXES: usize = IMAGE_BASE + 4 * GIB;

/// The first byte of the stack of core `index`.
pub const fn stack(index: usize) -> usize {
    STACKS + index * 2 * STACK_LIMIT
}
const _: () = assert!(BOOT_STACK_SIZE <= STACK_LIMIT && STACK_SIZE <= STACK_LIMIT);

/// Windows of the early map: the last 2 MiB of the first gigabyte.
pub const EARLY_WINDOW: usize = IMAGE_BASE + GIB - EARLY_WINDOW_SIZE;
const EARLY_WINDOW_SIZE: usize = 2 << 20;

/// How far the early map reaches: one level 3 table.
pub const EARLY_RAM_LIMIT: usize = 2 << 20;

#[cfg(target_arch = "aarch64")]
macro_rules! parts {
    ($($(#[$doc:meta])* $name:ident = $from:ident .. $to:ident;)*) => {
        $(
            $(#[$doc])*
            pub fn $name() -> core::ops::Range<usize> {
                unsafe extern "C" {
                    static $from: u8;
                    static $to: u8;
                }
                (&raw const $from).addr()..(&raw const $to).addr()
            }
        )*
    };
}

#[cfg(target_arch = "aarch64")]
parts! {
    /// Code: read-only and executable.
    text = __image_start..__text_end;
    /// Constants.
    rodata = __text_end..__rodata_end;
    /// Initialised and zeroed data.
    data = __rodata_end..__bss_pages_end;
    /// Tables of the early map; the identity part serves secondary cores for good.
    early_tables = __early_tables..__early_tables_end;
    /// The boot core's first stack.
    early_stack = __stack_bottom..__stack_top;
    /// What nothing uses once the final map is there and the boot core has left its first stack.
    boot_only = __boot_only..__stack_top;
    /// All that the linker laid out.
    image = __image_start..__image_end;
}
