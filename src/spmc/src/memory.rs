// SPDX-License-Identifier: MIT OR Apache-2.0
//! S-EL2's final map, and what is mapped into it later: devices, stacks, windows and mailboxes.
//!
//! | what | permissions |
//! |---|---|
//! | text | read, execute |
//! | constants | read |
//! | data, stacks, arena, pages for tables | read, write |
//! | devices | read, write, nGnRnE |
//! | windows and mailboxes | as asked, never execute |
//!
//! Nothing else is mapped; the page below each stack is not.

use core::ops::Range;

use bulkhead_arch::layout::{self, DEVICES, MAILBOXES, WINDOWS};
use bulkhead_arch::mmio::Frame;
use bulkhead_arch::tables::{OwnTlb, TablePages};
use bulkhead_arch::{copy, entry};
use bulkhead_core::hardware::{CopyFault, OutOfMemory};
use bulkhead_core::mailbox::{Buffer, MailboxBuffers};
use bulkhead_core::sync::Mutex;
use bulkhead_mm::MapError;
use bulkhead_mm::Mapping;
use bulkhead_mm::addr::{PAGE_SIZE, Pa, PageRange, Va};
use bulkhead_mm::attrs::{MemoryType, Permissions, Space, Stage1Attributes};
use bulkhead_mm::pool::{Account, PagePool, PageRecord, Quota};
use bulkhead_mm::stage1::Stage1;
use bulkhead_mm::table::TableMemory;
use spin::Once;

use crate::arena::{Arena, ArenaFull};

/// The largest RX or TX buffer, and so the distance of buffers in their area.
const BUFFER_STRIDE: usize = bulkhead_core::mailbox::MAX_PAGES as usize * PAGE_SIZE as usize;
/// RX and TX.
const MAILBOX_STRIDE: usize = 2 * BUFFER_STRIDE;
/// Devices lie at the same offset in 2 MiB as physically, so that blocks can map them.
const BLOCK: usize = 2 << 20;

/// Translation tables: S-EL2's own, and the pages that all tables are made of.
///
/// Lock order: own map, then pages.
#[derive(Debug)]
pub struct Memory {
    own: Mutex<Own>,
    /// Pages of tables.
    pub pages: Mutex<Pages>,
    /// The same pages, for records, each of which one transaction has.
    words: TablePages,
    /// A page of zeros, for good: the lower half's root while no partition at S-EL0 runs.
    pub empty: Pa,
    /// Pages of the tables of partitions and of records, where the manifest gives memory for them.
    added: Once<(Mutex<Pages>, TablePages)>,
}

#[derive(Debug)]
struct Own {
    stage1: Stage1,
    next_device: usize,
}

/// The pool, and access to what it hands out.
#[derive(Debug)]
pub struct Pages {
    /// Which pages are free.
    pub pool: PagePool<'static>,
    /// Their contents.
    pub tables: TablePages,
}

const fn attributes(
    memory: MemoryType,
    permissions: Permissions,
    space: Space,
) -> Stage1Attributes {
    Stage1Attributes {
        memory,
        permissions,
        space,
    }
}

const OWN_DATA: Stage1Attributes =
    attributes(MemoryType::Normal, Permissions::READ_WRITE, Space::Secure);

/// Makes the final map of `ram_size` bytes from the load address on, of which `early_size` are in the
/// early map, and switches to it. What the image leaves is shared: half of it becomes pages for
/// tables, the other half the arena.
///
/// Called once, with the early map.
pub fn install(ram_size: usize, early_size: usize) -> Result<(Memory, Arena), MapError> {
    let start = layout::image().end;
    let end = layout::IMAGE_BASE + ram_size;
    let page = PAGE_SIZE as usize;
    let free_pages = (end - start) / page;
    // A record for each page that could become one for tables.
    let records_end = (start + free_pages / 8 * 5 * size_of::<PageRecord>()).next_multiple_of(page);
    assert!(
        records_end + 32 * page < layout::IMAGE_BASE + early_size,
        "the board's RAM is too small"
    );
    let pool_end = records_end + (end - records_end) / 8 * 5 / page * page;

    let count = (pool_end - records_end) / page;

    // SAFETY: the memory behind the image is mapped and nobody's; the records take the first part,
    // which is aligned, the tables the second, the arena the rest.
    let (records, tables, arena) = unsafe {
        let first = core::ptr::with_exposed_provenance_mut::<PageRecord>(start);
        for index in 0..count {
            first.add(index).write(PageRecord::UNUSED);
        }
        let range = PageRange::new(
            Pa(entry::physical(records_end)),
            (pool_end - records_end) as u64,
        )
        .ok_or(MapError::OutOfRange)?;
        (
            core::slice::from_raw_parts_mut(first, count),
            (range, TablePages::new(range)),
            Arena::new(pool_end, end),
        )
    };
    let (range, mut tables) = tables;
    let mut pool = PagePool::new(range, records).ok_or(MapError::NoMemory)?;
    let empty = pool.alloc(Account::SPMC, &mut tables)?;
    let stage1 = Stage1::new(&mut pool, &mut tables).ok_or(MapError::NoMemory)?;
    let mut own = Own {
        stage1,
        next_device: DEVICES,
    };
    let mut pages = Pages { pool, tables };
    let normal = |permissions| attributes(MemoryType::Normal, permissions, Space::Secure);
    for (part, permissions) in [
        (layout::text(), Permissions::READ_EXECUTE),
        (layout::rodata(), Permissions::READ_ONLY),
        (layout::data(), Permissions::READ_WRITE),
        (layout::early_stack(), Permissions::READ_WRITE),
        (start..end, Permissions::READ_WRITE),
    ] {
        if !part.is_empty() {
            own.map_linear(part, normal(permissions), &mut pages)?;
        }
    }
    let root = own.stage1.root().0;
    // SAFETY: the image, the stack and the memory behind them are mapped as before; the tables are
    // never freed.
    unsafe { entry::install_map(root) };
    Ok((
        Memory {
            own: Mutex::new(own),
            pages: Mutex::new(pages),
            words: tables,
            empty,
            added: Once::new(),
        },
        arena,
    ))
}

impl Own {
    fn map(
        &mut self,
        va: usize,
        range: PageRange,
        attributes: Stage1Attributes,
        pages: &mut Pages,
    ) -> Result<(), MapError> {
        self.stage1.map(
            Va(va as u64),
            range.base(),
            range.bytes(),
            attributes,
            &mut pages.pool,
            &mut pages.tables,
            &mut OwnTlb,
        )
    }

    fn map_linear(
        &mut self,
        part: Range<usize>,
        attributes: Stage1Attributes,
        pages: &mut Pages,
    ) -> Result<(), MapError> {
        let pa = Pa(entry::physical(part.start));
        let range = PageRange::new(pa, part.len() as u64).ok_or(MapError::Unaligned)?;
        self.map(part.start, range, attributes, pages)
    }

    /// Maps a buffer's pages one after the other from `va` on.
    fn map_buffer(
        &mut self,
        va: usize,
        buffer: &Buffer,
        attributes: Stage1Attributes,
        pages: &mut Pages,
    ) -> Result<(), OutOfMemory> {
        let mut mapped = 0;
        for run in buffer.runs() {
            if self.map(va + mapped, run, attributes, pages).is_err() {
                self.unmap_buffer(va, mapped, pages);
                return Err(OutOfMemory);
            }
            mapped += run.bytes() as usize;
        }
        Ok(())
    }

    fn unmap_buffer(&mut self, va: usize, bytes: usize, pages: &mut Pages) {
        if bytes != 0 {
            // Buffers are mapped as whole pages, and unmapped so: nothing is split.
            let _ = self.unmap(va, bytes as u64, pages);
        }
    }

    fn unmap(&mut self, va: usize, bytes: u64, pages: &mut Pages) -> Result<(), MapError> {
        let Pages { pool, tables } = pages;
        self.stage1
            .unmap(Va(va as u64), bytes, pool, tables, &mut OwnTlb)
    }
}

impl Memory {
    /// Maps the registers of a device: the pages around `size` bytes from `base` on.
    ///
    /// # Errors
    /// [`MapError`], for addresses out of range or without memory for tables.
    pub fn map_device(&self, base: u64, size: usize) -> Result<Frame, MapError> {
        let offset = base % PAGE_SIZE;
        let bytes = (offset + size as u64).next_multiple_of(PAGE_SIZE);
        let range = PageRange::new(Pa(base - offset), bytes).ok_or(MapError::OutOfRange)?;
        let mut own = self.own.lock();
        let va = own.next_device + (range.base().0 as usize) % BLOCK;
        let device = attributes(MemoryType::Device, Permissions::READ_WRITE, Space::Secure);
        own.map(va, range, device, &mut self.pages.lock())?;
        own.next_device = (va + range.bytes() as usize).next_multiple_of(BLOCK);
        // SAFETY: mapped just now, for good, as device memory; callers name registers of devices that
        // the board or the manifest says are there.
        Ok(unsafe { Frame::new(va + offset as usize) })
    }

    /// Calls `visitor` for each maximal range of S-EL2's map, as the tables have it.
    pub fn walk(&self, visitor: impl FnMut(Mapping<Stage1Attributes>)) {
        let own = self.own.lock();
        own.stage1.walk(&self.pages.lock().tables, visitor);
    }

    /// Takes the boot core's first stack out of the map: that and the early tables are free now, from a page on.
    ///
    /// # Errors
    /// [`MapError`].
    ///
    /// # Safety
    /// The boot core has left that stack for good, and this is called once.
    pub unsafe fn free_boot_only(&self) -> Result<PageRange, MapError> {
        let stack = layout::early_stack();
        let bytes = (stack.end - stack.start) as u64;
        let mut own = self.own.lock();
        own.unmap(stack.start, bytes, &mut self.pages.lock())?;
        let free = layout::boot_only();
        let bytes = (free.end - free.start) as u64;
        PageRange::new(Pa(entry::physical(free.start)), bytes).ok_or(MapError::Unaligned)
    }

    /// Maps a stack for core `index` on memory that nothing else uses; returns where it is.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn map_stack(&self, index: usize, range: PageRange) -> Result<Range<usize>, MapError> {
        let va = layout::stack(index);
        self.own
            .lock()
            .map(va, range, OWN_DATA, &mut self.pages.lock())?;
        Ok(va..va + range.bytes() as usize)
    }

    /// Maps `range` at the window of the calling core, `core`, for as long as `with` runs.
    ///
    /// # Errors
    /// [`MapError`], for a range beyond what addresses can have, or without memory for tables.
    pub fn window<R>(
        &self,
        core: usize,
        space: Space,
        range: PageRange,
        permissions: Permissions,
        with: impl FnOnce(&Window) -> R,
    ) -> Result<R, MapError> {
        let va = WINDOWS + core * BLOCK;
        assert!(range.bytes() <= BLOCK as u64, "a window of more than 2 MiB");
        let foreign = attributes(MemoryType::Normal, permissions, space);
        self.own
            .lock()
            .map(va, range, foreign, &mut self.pages.lock())?;
        let result = with(&Window {
            base: va,
            bytes: range.bytes() as usize,
        });
        self.own
            .lock()
            .unmap(va, range.bytes(), &mut self.pages.lock())?;
        Ok(result)
    }

    /// Makes tables of partitions and records of `range` from now on, but for the first eighth of it: that is an
    /// arena. Called once, before the first table is made; nobody else has the range.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn add_pages(
        &self,
        range: PageRange,
        records: impl FnOnce(usize, &mut Arena) -> Result<&'static mut [PageRecord], ArenaFull>,
    ) -> Result<Arena, MapError> {
        let mut own = self.own.lock();
        let va = own.next_device;
        own.map(va, range, OWN_DATA, &mut self.pages.lock())?;
        own.next_device = (va + range.bytes() as usize).next_multiple_of(BLOCK);
        let eighth = (range.bytes() / 8).next_multiple_of(PAGE_SIZE);
        let (first, rest) = (va, va + eighth as usize);
        let range = PageRange::new(
            Pa(range.base().0 + eighth),
            range.bytes().saturating_sub(eighth),
        );
        let range = range.ok_or(MapError::NoMemory)?;
        // SAFETY: mapped just now, for good; the caller says that nobody else has it.
        let (mut arena, tables) = unsafe { (Arena::new(first, rest), TablePages::at(range, rest)) };
        let records =
            records(range.pages() as usize, &mut arena).map_err(|_| MapError::NoMemory)?;
        let pool = PagePool::new(range, records).ok_or(MapError::NoMemory)?;
        self.added
            .call_once(|| (Mutex::new(Pages { pool, tables }), tables));
        Ok(arena)
    }

    /// The pages that tables of partitions and records are made of.
    pub fn tables(&self) -> &Mutex<Pages> {
        self.added.get().map_or(&self.pages, |(pages, _)| pages)
    }

    fn words(&self) -> TablePages {
        self.added.get().map_or(self.words, |(_, words)| *words)
    }

    /// A zeroed page on the quota of `account`.
    pub fn take_page(&self, account: Account) -> Option<Pa> {
        let mut pages = self.tables().lock();
        let Pages { pool, tables } = &mut *pages;
        pool.alloc(account, tables).ok()
    }

    /// The reverse of [`take_page`](Self::take_page).
    pub fn give_page(&self, page: Pa) {
        if let Err(error) = self.tables().lock().pool.free(page) {
            log::error!("a record's page is not in use: {error:?}");
        }
    }

    /// How many pages `account` can still get.
    pub fn pages_left(&self, account: Account) -> usize {
        self.tables().lock().pool.available(account)
    }

    /// Reads words of a page that was taken.
    pub fn load_words(&self, page: Pa, index: usize, words: &mut [u64]) {
        let pages = self.words();
        for (index, word) in (index..).zip(words) {
            *word = pages.read(page, index);
        }
    }

    /// Writes words of a page that was taken.
    pub fn store_words(&self, page: Pa, index: usize, words: &[u64]) {
        let mut pages = self.words();
        for (index, word) in (index..).zip(words) {
            pages.write(page, index, *word);
        }
    }

    /// Opens the accounts of `partitions` partitions and of the normal world, which has the one after them,
    /// and grants them what is left: half of it to partitions, all alike, three eighths to the normal world.
    /// The rest, and at least what its buffers and windows need, stays S-EL2's.
    pub fn grant_quotas(&self, quotas: &'static mut [Quota]) {
        const OWN: usize = 20;
        let partitions = quotas.len().saturating_sub(1);
        let pool = &mut self.tables().lock().pool;
        pool.open_accounts(quotas);
        let free = pool.available(Account::SPMC);
        let granted = free.saturating_sub(OWN).min(free / 8 * 7);
        let share = (granted / 7 * 4).checked_div(partitions).unwrap_or(0);
        let grants = (0..partitions).map(|_| share).chain([granted / 7 * 3]);
        for (number, pages) in grants.enumerate() {
            if account(number).is_none_or(|account| pool.grant(account, pages).is_err()) {
                log::error!("no pages for account {number}");
            }
        }
    }

    /// Maps the buffers of mailbox `slot`.
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing is mapped then.
    pub fn map_mailbox(&self, slot: usize, buffers: &MailboxBuffers) -> Result<(), OutOfMemory> {
        let MailboxBuffers { rx, tx, space } = buffers;
        let (rx_va, tx_va) = mailbox(slot);
        let mut own = self.own.lock();
        let mut pages = self.pages.lock();
        let kind = |permissions| attributes(MemoryType::Normal, permissions, *space);
        own.map_buffer(rx_va, rx, kind(Permissions::READ_WRITE), &mut pages)?;
        own.map_buffer(tx_va, tx, kind(Permissions::READ_ONLY), &mut pages)
            .inspect_err(|OutOfMemory| own.unmap_buffer(rx_va, rx.bytes(), &mut pages))
    }

    /// Takes the buffers of mailbox `slot`, of so many bytes, out of the map.
    pub fn unmap_mailbox(&self, slot: usize, rx_bytes: usize, tx_bytes: usize) {
        let (rx_va, tx_va) = mailbox(slot);
        let mut own = self.own.lock();
        let mut pages = self.pages.lock();
        own.unmap_buffer(rx_va, rx_bytes, &mut pages);
        own.unmap_buffer(tx_va, tx_bytes, &mut pages);
    }

    /// Copies `bytes` into the RX buffer of mailbox `slot` at `offset`, within its `size` bytes.
    ///
    /// # Errors
    /// [`CopyFault`] when the buffer's memory does not answer or the range is outside of it.
    pub fn write_rx(
        &self,
        slot: usize,
        size: usize,
        offset: usize,
        bytes: &[u8],
    ) -> Result<(), CopyFault> {
        let end = offset.checked_add(bytes.len()).ok_or(CopyFault)?;
        if end > size {
            return Err(CopyFault);
        }
        let (rx_va, _) = mailbox(slot);
        // SAFETY: the area holds mailboxes and nothing of Rust's; what is not mapped there faults.
        unsafe { copy::copy_out(rx_va + offset, bytes) }.map_err(|_| CopyFault)
    }

    /// Copies from the TX buffer of mailbox `slot` at `offset`, within its `size` bytes.
    ///
    /// # Errors
    /// As [`write_rx`](Self::write_rx).
    pub fn read_tx(
        &self,
        slot: usize,
        size: usize,
        offset: usize,
        to: &mut [u8],
    ) -> Result<(), CopyFault> {
        let end = offset.checked_add(to.len()).ok_or(CopyFault)?;
        if end > size {
            return Err(CopyFault);
        }
        let (_, tx_va) = mailbox(slot);
        // SAFETY: as in `write_rx`.
        unsafe { copy::copy_in(to, tx_va + offset) }.map_err(|_| CopyFault)
    }

    /// Clears the RX buffer of mailbox `slot` from `offset` to its `size` bytes.
    ///
    /// # Errors
    /// As [`write_rx`](Self::write_rx).
    pub fn clear_rx(&self, slot: usize, size: usize, offset: usize) -> Result<(), CopyFault> {
        const ZEROS: [u8; 8] = [0; 8];
        let aligned = offset.next_multiple_of(ZEROS.len());
        if aligned > size {
            return Err(CopyFault);
        }
        self.write_rx(slot, size, offset, &ZEROS[..aligned - offset])?;
        let (rx_va, _) = mailbox(slot);
        // SAFETY: as in `write_rx`.
        unsafe { copy::zero(rx_va + aligned, size - aligned) }.map_err(|_| CopyFault)
    }
}

/// The account of the partition with this index, or after them all that of the normal world.
pub fn account(number: usize) -> Option<Account> {
    Account::partition(u16::try_from(number).ok()?)
}

/// Where RX and TX of mailbox `slot` are mapped.
fn mailbox(slot: usize) -> (usize, usize) {
    let rx = MAILBOXES + slot * MAILBOX_STRIDE;
    (rx, rx + BUFFER_STRIDE)
}

/// Foreign memory that is mapped for a moment.
#[derive(Debug)]
pub struct Window {
    base: usize,
    bytes: usize,
}

impl Window {
    /// Copies from `offset` bytes into the window on.
    ///
    /// # Errors
    /// [`CopyFault`] when the memory does not answer or the range leaves the window.
    pub fn read(&self, offset: usize, to: &mut [u8]) -> Result<(), CopyFault> {
        self.check(offset, to.len())?;
        // SAFETY: windows hold foreign memory, nothing of Rust's.
        unsafe { copy::copy_in(to, self.base + offset) }.map_err(|_| CopyFault)
    }

    /// Copies to `offset` bytes into the window, and cleans what was written to the point of
    /// coherency.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn write(&self, offset: usize, from: &[u8]) -> Result<(), CopyFault> {
        self.check(offset, from.len())?;
        // SAFETY: as in `read`.
        unsafe { copy::copy_out(self.base + offset, from) }.map_err(|_| CopyFault)?;
        bulkhead_arch::cache::clean_to_coherency(self.base + offset, from.len());
        Ok(())
    }

    /// Zeroes all of the window, and cleans it to the point of coherency.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn zero(&self) -> Result<(), CopyFault> {
        // SAFETY: as in `read`.
        unsafe { copy::zero(self.base, self.bytes) }.map_err(|_| CopyFault)?;
        bulkhead_arch::cache::clean_to_coherency(self.base, self.bytes);
        Ok(())
    }

    /// Cleans and invalidates all of the window.
    pub fn flush(&self) {
        bulkhead_arch::cache::flush(self.base, self.bytes);
    }

    fn check(&self, offset: usize, length: usize) -> Result<(), CopyFault> {
        match offset.checked_add(length) {
            Some(end) if end <= self.bytes => Ok(()),
            _ => Err(CopyFault),
        }
    }
}
