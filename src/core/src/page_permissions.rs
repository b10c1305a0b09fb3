// SPDX-License-Identifier: MIT OR Apache-2.0
//! FFA_MEM_PERM_GET and SET: what a partition at S-EL0, which has no tables of its own, may do with its pages.

use bulkhead_abi::memory::registers::{PageData, PageExecution, PagePermissions, PermissionRange};
use bulkhead_abi::{FfaError, Version, Width};
use bulkhead_mm::addr::{PAGE_SIZE, PageRange};
use bulkhead_mm::attrs::{MemoryType, Permissions, Space};
use bulkhead_mm::owner::{Owner, PageState};

use crate::event::Action;
use crate::hardware::{Hardware, Run};
use crate::partition::{Health, Level};
use crate::runtime_model::RuntimeModel;
use crate::share::rule::{Rule, check, row};
use crate::spmc::{CoreState, Current, Spmc};

/// What the rules look at.
struct Case {
    /// The partition has no tables of its own.
    at_el0: bool,
    /// The partition has not waited yet.
    initialises: bool,
    range: Result<PermissionRange, FfaError>,
    /// What FFA_MEM_PERM_SET asks for.
    asked: Result<PagePermissions, FfaError>,
}

/// The order of rows is the order of checks. Whose the pages are comes last, page by page.
static RULES: [Rule<Case>; 4] = [
    row(
        "T25",
        "the caller is at S-EL0",
        FfaError::NotSupported,
        |case| case.at_el0,
    ),
    row(
        "A-56",
        "the caller is in its initialisation",
        FfaError::Denied,
        |case| case.initialises,
    ),
    row(
        "T25",
        "the range has a page at least, starts at a page and does not wrap",
        FfaError::InvalidParameters,
        |case| case.range.is_ok(),
    ),
    row(
        "T25",
        "what is asked for is defined, and not both writable and executable",
        FfaError::InvalidParameters,
        |case| case.asked.is_ok(),
    ),
];

/// What a call permits, as tables say it.
fn permissions(asked: PagePermissions) -> Permissions {
    Permissions {
        read: asked.data != PageData::NoAccess,
        write: asked.data == PageData::ReadWrite,
        execute: asked.data == PageData::ReadOnly && asked.execution == PageExecution::Executable,
    }
}

/// What tables permit, as a call says it.
fn answer(found: Permissions) -> PagePermissions {
    PagePermissions {
        data: match (found.read, found.write) {
            (_, true) => PageData::ReadWrite,
            (true, false) => PageData::ReadOnly,
            (false, false) => PageData::NoAccess,
        },
        execution: match found.execute {
            true => PageExecution::Executable,
            false => PageExecution::NeverExecutable,
        },
    }
}

impl<H: Hardware> Spmc<H> {
    /// FFA_MEM_PERM_GET: w2 of the answer is what the first page permits; from 1.3 on w3 is how many after it, within
    /// the range, permit the same.
    pub(crate) fn mem_perm_get(
        &self,
        core: &mut CoreState<H>,
        width: Width,
        version: Version,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        let range = PermissionRange::get(core.caller(), width, version);
        let nothing = PagePermissions::decode(0);
        let (start, bytes) = self.pages(core, range, nothing)?;
        let first = self.own_run(core, start, bytes, hw)?;
        let mut length = first.bytes;
        while length < bytes {
            let (next, rest) = (start.saturating_add(length), bytes.saturating_sub(length));
            match self.own_run(core, next, rest, hw) {
                Ok(run) if run.permissions == first.permissions => {
                    length = length.saturating_add(run.bytes);
                }
                _ => break,
            }
        }
        let found = answer(first.permissions).encode();
        let more = (length / PAGE_SIZE).saturating_sub(1);
        Ok(self.succeed(core, [u64::from(found), more, 0, 0, 0, 0]))
    }

    /// FFA_MEM_PERM_SET: all pages of the range, or none.
    pub(crate) fn mem_perm_set(
        &self,
        core: &mut CoreState<H>,
        width: Width,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        let call = core.caller();
        let range = PermissionRange::set(call, width);
        let asked = PagePermissions::decode(call.w::<3>());
        let (start, bytes) = self.pages(core, range, asked)?;
        let mut done = 0;
        while done < bytes {
            let (next, rest) = (start.saturating_add(done), bytes.saturating_sub(done));
            done = done.saturating_add(self.own_run(core, next, rest, hw)?.bytes);
        }
        let (Some(own), Ok(asked)) = (core.running(), asked) else {
            return Err(FfaError::Denied);
        };
        hw.protect(own.partition(), start, bytes, permissions(asked))?;
        Ok(self.succeed(core, [0; 6]))
    }

    /// Where the range of a call starts, and its length in bytes, if the rules hold.
    fn pages(
        &self,
        core: &CoreState<H>,
        range: Result<PermissionRange, FfaError>,
        asked: Result<PagePermissions, FfaError>,
    ) -> Result<(u64, u64), FfaError> {
        let starts = |current: &Current<H>| {
            current.activation.model() == RuntimeModel::Init
                && current.partition.health() == Health::Starting
        };
        let current = core.current.as_ref();
        let case = Case {
            at_el0: current.is_some_and(|own| own.partition.config.level == Level::SEl0),
            initialises: current.is_some_and(starts),
            range,
            asked,
        };
        check(&RULES, &case)?;
        let range = range?;
        let bytes = u64::from(range.page_count).saturating_mul(PAGE_SIZE);
        Ok((range.address, bytes))
    }

    /// The part of `bytes` bytes from `address` on that the tables map alike, and that the running partition has to
    /// itself as memory of its own: neither device, nor borrowed, nor in a transaction, nor with a buffer in it.
    ///
    /// # Errors
    /// INVALID_PARAMETERS if the first page is not so.
    fn own_run(
        &self,
        core: &CoreState<H>,
        address: u64,
        bytes: u64,
        hw: &H,
    ) -> Result<Run, FfaError> {
        let own = || {
            let (own, id) = (core.running()?, self.caller_id(core));
            let run = hw.lookup(own.partition(), Space::Secure, address, bytes)?;
            let range = PageRange::new(run.pa, run.bytes)?;
            let (owner, space) = (Owner::Partition(id.0), Space::Secure);
            let state = PageState::exclusive(owner, space, MemoryType::Normal);
            let bytes = self.owners.bytes_that_are(range, state);
            (bytes != 0).then_some(Run { bytes, ..run })
        };
        own().ok_or(FfaError::InvalidParameters)
    }
}
