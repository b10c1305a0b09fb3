// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory that someone else reads or writes too, and addresses that may fault.

use core::arch::asm;
use core::cell::UnsafeCell;

/// The size of a page, in bytes.
pub const PAGE_SIZE: usize = 4096;

/// A page that is shared with the SPMC or another endpoint. All accesses are volatile bytes.
#[repr(C, align(4096))]
pub struct Page(UnsafeCell<[u8; PAGE_SIZE]>);

// SAFETY: every access is a volatile one of a single byte through a raw pointer; a race yields old or
// new bytes, never undefined behaviour of this program beyond what its peer can cause anyway.
unsafe impl Sync for Page {}

impl Page {
    /// A page of zeroes.
    pub const fn zeroed() -> Self {
        Self(UnsafeCell::new([0; PAGE_SIZE]))
    }

    /// The page's address; the MMU is off.
    pub fn address(&self) -> u64 {
        self.0.get() as u64
    }

    /// The byte at `offset`, which is below [`PAGE_SIZE`].
    pub fn byte(&self, offset: usize) -> u8 {
        assert!(offset < PAGE_SIZE, "byte {offset} of a page");
        // SAFETY: in bounds; see the impl of `Sync`.
        unsafe { self.0.get().cast::<u8>().add(offset).read_volatile() }
    }

    /// The `N` bytes at `offset`.
    pub fn bytes<const N: usize>(&self, offset: usize) -> [u8; N] {
        core::array::from_fn(|index| self.byte(offset + index))
    }

    /// Writes `bytes` from `offset` on, which stay within the page.
    pub fn write(&self, offset: usize, bytes: impl IntoIterator<Item = u8>) {
        for (offset, byte) in (offset..).zip(bytes) {
            assert!(offset < PAGE_SIZE, "byte {offset} of a page");
            // SAFETY: in bounds; see the impl of `Sync`.
            unsafe { self.0.get().cast::<u8>().add(offset).write_volatile(byte) };
        }
    }

    /// Fills the page.
    pub fn fill(&self, value: u8) {
        self.write(0, [value; PAGE_SIZE]);
    }
}

/// RX and TX buffers of one endpoint, a page each.
pub struct Mailbox {
    /// Written by the SPMC, read by the endpoint.
    pub rx: Page,
    /// Written by the endpoint, read by the SPMC.
    pub tx: Page,
}

/// The payload's one mailbox.
pub static MAILBOX: Mailbox = Mailbox {
    rx: Page::zeroed(),
    tx: Page::zeroed(),
};

/// Loads a word from any address. Call it under [`exception::expect`](crate::exception::expect)
/// where the payload should survive.
pub fn load(address: usize) -> u64 {
    let value: u64;
    // SAFETY: a load of a normal address cannot harm this program; where it faults, that is its purpose.
    unsafe {
        asm!("ldr {value}, [{address}]", address = in(reg) address, value = out(reg) value, options(nostack, readonly))
    };
    value
}

/// Stores a word to any address. The address must not be the payload's own memory.
pub fn store(address: usize, value: u64) {
    // SAFETY: the caller passes an address that is not this program's.
    unsafe {
        asm!("str {value}, [{address}]", address = in(reg) address, value = in(reg) value, options(nostack))
    };
}

/// Calls any address.
pub fn fetch(address: usize) {
    // SAFETY: the fetch faults, which is its purpose; a handler that skips it goes on after the call.
    unsafe { asm!("blr {address}", address = in(reg) address, clobber_abi("C"), options(nostack)) };
}
