// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a partition may not do ends the partition, and nothing else.
//!
//! The line that says so names the partition, the access, the address, the region of the manifest that
//! the address is in, and the rule.

use core::fmt;

use bulkhead_mm::addr::PAGE_SIZE;
use bulkhead_mm::attrs::{Permissions, Space};

use crate::event::{Access, Action, Fault, FaultKind};
use crate::hardware::{Hardware, VcpuContext};
use crate::partition::{Level, Partition};
use crate::region;
use crate::spmc::{CoreState, Spmc, deadline};

/// How often in a row an access may fault that stage 2 allows when it is looked at (E11): the tables
/// changed between the fault and the look. More than once or twice says that something is wrong.
pub const MAX_RETRIES: u8 = 8;

/// Faults of one access that stage 2 allows by now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Retry {
    pc: u64,
    address: u64,
    count: u8,
    /// The counter value after which a fault is not one in a row.
    until: u64,
}

impl<H: Hardware> Spmc<H> {
    /// The running partition faulted at S-EL2 (K1). An SError it may handle itself, if its manifest says so and it has
    /// none pending (F-10). An access that its stage 2 allows by now is made
    /// again, a bounded number of times (E11).
    #[inline(never)]
    pub(crate) fn fault(&self, core: &mut CoreState<H>, fault: Fault, hw: &mut H) -> Action {
        let Some(partition) = self.running_partition(core) else {
            return core.resume();
        };
        if let Some(action) = self.device_access(core, &fault, hw) {
            return action;
        }
        let allowed = self.is_allowed_now(core, &fault, hw);
        if allowed && self.may_retry(core, &fault, hw) {
            return core.resume();
        }
        if fault.kind == FaultKind::SError
            && partition.config.virtual_serror
            && let Some(current) = &core.current
            && !current.context.has_serror()
        {
            log::warn!(
                "{}: SError while it ran (ESR_EL2 {:#x}): it gets a virtual one",
                partition.config.name,
                fault.syndrome
            );
            current.slot.interrupts.set_serror(true);
            return core.resume();
        }
        let report = Report {
            fault,
            partition,
            spmc: self,
            allowed,
            rule: self.rule_of_tables(core, &fault, hw),
        };
        self.abort_running(core, hw, format_args!("{report}"))
    }

    /// What the tables of a partition at S-EL0, which changes them itself, allow where it faulted.
    fn rule_of_tables(&self, core: &CoreState<H>, fault: &Fault, hw: &H) -> Option<Permissions> {
        let current = core.current.as_ref()?;
        if current.partition.config.level == Level::SEl1 {
            return None;
        }
        let page = fault.address & !(PAGE_SIZE.wrapping_sub(1));
        let look = |space| hw.lookup(current.vcpu.partition(), space, page, PAGE_SIZE);
        let run = look(Space::Secure).or_else(|| look(Space::NonSecure));
        Some(run.map_or(Permissions::NONE, |run| run.permissions))
    }

    /// Whether stage 2 allows the access that faulted. The space is that of the access: a page of the
    /// other space at the same address allows nothing.
    fn is_allowed_now(&self, core: &CoreState<H>, fault: &Fault, hw: &H) -> bool {
        let Some(running) = core.running() else {
            return false;
        };
        fault
            .stage_two_access()
            .is_some_and(|(space, ipa, access)| hw.allows(running.partition(), space, ipa, access))
    }

    /// Counts a retry; whether there may be one.
    fn may_retry(&self, core: &mut CoreState<H>, fault: &Fault, hw: &H) -> bool {
        let Some(pc) = core.context().map(|context| context.pc()) else {
            return false;
        };
        let now = hw.now();
        let count = match core.retry {
            Some(last) if (last.pc, last.address) == (pc, fault.address) && now <= last.until => {
                last.count
            }
            _ => 0,
        };
        core.retry = Some(Retry {
            pc,
            address: fault.address,
            count: count.saturating_add(1),
            until: deadline(hw, self.run_timeout_ms),
        });
        count < MAX_RETRIES
    }
}

impl Fault {
    /// The fault was on a walk of the partition's own stage-1 tables (ESR_EL2.S1PTW; E9).
    pub fn is_on_walk(&self) -> bool {
        const S1PTW: u64 = 1 << 7;
        matches!(
            self.kind,
            FaultKind::Data { .. } | FaultKind::Instruction { .. }
        ) && self.syndrome & S1PTW != 0
    }

    /// What stage 2 did not allow: space, IPA and access; a walk reads. `None` for what was not
    /// stage 2's doing.
    fn stage_two_access(&self) -> Option<(Space, u64, Access)> {
        let (space, ipa, access) = match self.kind {
            FaultKind::Data {
                ipa,
                space,
                direction,
            } => (space, ipa, direction.into()),
            FaultKind::Instruction { ipa, space } => (space, ipa, Access::Fetch),
            FaultKind::External | FaultKind::SError | FaultKind::Exception => return None,
        };
        let access = if self.is_on_walk() {
            Access::Read
        } else {
            access
        };
        Some((space, ipa, access))
    }

    /// ESR_EL2.EC.
    fn class(&self) -> u64 {
        self.syndrome >> 26 & 0x3f
    }

    /// ESR_EL2's fault status, DFSC or IFSC.
    fn status(&self) -> u64 {
        self.syndrome & 0x3f
    }
}

/// Exception classes that end a partition, by ESR_EL2.EC.
const CLASSES: [(u64, &str); 10] = [
    // Of S-EL0: S-EL1 takes it itself.
    (0x00, "undefined instruction"),
    (0x0d, "branch target exception"),
    (0x0e, "illegal execution state"),
    (0x22, "misaligned PC"),
    (0x26, "misaligned SP"),
    (0x2f, "SError"),
    (0x30, "hardware breakpoint"),
    (0x32, "single step"),
    (0x34, "watchpoint"),
    (0x3c, "BRK"),
];

/// Aborts that are not stage 2's doing, by ESR_EL2.DFSC or IFSC.
const ABORTS: [(u64, &str); 6] = [
    (0x11, "tag check fault"),
    (0x21, "misaligned access"),
    (0x30, "TLB conflict"),
    (0x31, "unsupported atomic update of a table"),
    (0x34, "locked-down TLB"),
    (0x35, "unsupported exclusive or atomic access"),
];

const INSTRUCTION_ABORT: u64 = 0x20;
const DATA_ABORT: u64 = 0x24;

/// Why a partition ends, in words.
struct Report<'a, H: Hardware + 'static> {
    fault: Fault,
    partition: &'a Partition<H>,
    spmc: &'a Spmc<H>,
    /// Stage 2 allows the access, and it faulted again and again.
    allowed: bool,
    /// At S-EL0, what the tables allow.
    rule: Option<Permissions>,
}

impl<H: Hardware> fmt::Display for Report<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = &self.fault;
        match fault.kind {
            FaultKind::Data { space, ipa, .. } => {
                let verb = match fault.stage_two_access() {
                    _ if fault.is_on_walk() => "stage-1 table walk through",
                    Some((_, _, Access::Write)) => "write to",
                    _ => "read from",
                };
                write!(f, "data abort: {verb} {}", self.place(space, ipa))?;
            }
            FaultKind::Instruction { space, ipa } => {
                let verb = if fault.is_on_walk() {
                    "stage-1 table walk through"
                } else {
                    "fetch from"
                };
                write!(f, "instruction abort: {verb} {}", self.place(space, ipa))?;
            }
            FaultKind::External => f.write_str("external abort: the memory does not answer")?,
            FaultKind::SError => f.write_str("SError: an access failed after it was made")?,
            FaultKind::Exception => self.exception(f)?,
        }
        let (address, syndrome) = (fault.address, fault.syndrome);
        write!(f, " (address {address:#x}, ESR_EL2 {syndrome:#x})")
    }
}

impl<H: Hardware> Report<'_, H> {
    fn place(&self, space: Space, ipa: u64) -> Place<'_, H> {
        Place {
            report: self,
            space,
            ipa,
        }
    }

    /// An exception that no partition may cause, by its name.
    fn exception(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = self.fault.class();
        let (kind, number, names) = match class {
            INSTRUCTION_ABORT => ("instruction abort", self.fault.status(), &ABORTS[..]),
            DATA_ABORT => ("data abort", self.fault.status(), &ABORTS[..]),
            _ => ("exception", class, &CLASSES[..]),
        };
        match names.iter().find(|(other, _)| *other == number) {
            Some((_, name)) => write!(f, "{kind}: {name}, which no partition may cause"),
            None => write!(f, "{kind} {number:#x}, which no partition may cause"),
        }
    }
}

/// An address: its space, whose it is, and what the manifest allows there.
struct Place<'a, H: Hardware + 'static> {
    report: &'a Report<'a, H>,
    space: Space,
    ipa: u64,
}

impl<H: Hardware> fmt::Display for Place<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { report, space, ipa } = *self;
        let config = &report.partition.config;
        let find = |space| region::find(config.regions, space, ipa);
        let (name, region) = match (config.level, space) {
            // It has one address space, and the fault does not tell where a page leads.
            (Level::SEl0, _) => ("VA", find(Space::Secure).or_else(|| find(Space::NonSecure))),
            (Level::SEl1, Space::Secure) => ("secure IPA", find(space)),
            (Level::SEl1, Space::NonSecure) => ("non-secure IPA", find(space)),
        };
        write!(f, "{name} {ipa:#x}, which is ")?;
        if let Some(region) = region {
            let rule = Rule(report.rule.unwrap_or(region.permissions));
            write!(f, "{region}: {rule}")?;
            if report.allowed {
                write!(f, ", but it faulted {MAX_RETRIES} times in a row")?;
            }
            return Ok(());
        }
        match report.spmc.owner(space, ipa) {
            Some(owner) => write!(f, "{owner}'s: its manifest does not give it"),
            None => f.write_str("nobody's: its manifest does not give it"),
        }
    }
}

/// What the tables allow, in words.
struct Rule(Permissions);

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Permissions {
            read,
            write,
            execute,
        } = self.0;
        f.write_str(match (read, write, execute) {
            (true, false, false) => "read-only",
            (true, true, false) => "never executable",
            (true, false, true) => "never writable",
            (true, true, true) => "read, write and execute",
            (false, ..) => "no access",
        })
    }
}

impl<H: Hardware> Spmc<H> {
    /// Whose the memory is that has `ipa` as its physical address, of those whom the manifests name.
    fn owner(&self, space: Space, ipa: u64) -> Option<&'static str> {
        let range = bulkhead_mm::addr::Pa(ipa);
        let holds = |region: &region::Region| region.space == space && region.range.contains(range);
        let partition = self
            .partitions
            .iter()
            .find(|partition| partition.config.regions.iter().any(holds));
        let reserved = || {
            let mut all = self.reserved.iter();
            all.find(|reserved| space == Space::Secure && reserved.range.contains(range))
        };
        partition
            .map(|partition| partition.config.name)
            .or_else(|| reserved().map(|reserved| reserved.owner))
    }
}
