// SPDX-License-Identifier: MIT OR Apache-2.0
//! The interrupt controller of the simulated machine, as far as secure interrupts of partitions go.

use std::collections::BTreeMap;

/// A secure interrupt.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line {
    /// Whether the partition has it enabled.
    pub enabled: bool,
    /// Whether the device asserts it; a level-triggered interrupt is pending while it does.
    pub asserted: bool,
    /// Whether an edge came and was not acknowledged.
    pub edge: bool,
    /// The core that acknowledged it, until it is deactivated.
    pub active: Option<usize>,
    /// The core that it goes to.
    pub target: usize,
    /// How often it was acknowledged.
    pub acknowledged: u64,
    /// How often it was deactivated while it was active.
    pub deactivated: u64,
}

impl Line {
    fn is_due(&self, core: usize) -> bool {
        self.enabled && self.active.is_none() && self.target == core && (self.asserted || self.edge)
    }
}

/// The controller.
#[derive(Debug, Default)]
pub struct Gic {
    /// By INTID. A private interrupt is here once, for the core that it is used on.
    pub lines: BTreeMap<u32, Line>,
    /// The cores that another one has kicked.
    pub kicked: Vec<bool>,
}

impl Gic {
    /// The line `intid`.
    pub fn line(&mut self, intid: u32) -> &mut Line {
        self.lines.entry(intid).or_default()
    }

    /// Whether `core` has something to acknowledge.
    pub(crate) fn is_due(&self, core: usize) -> bool {
        self.kicked[core] || self.lines.values().any(|line| line.is_due(core))
    }

    /// Takes a kick of `core`.
    pub(crate) fn take_kick(&mut self, core: usize) -> bool {
        core::mem::take(&mut self.kicked[core])
    }

    /// Acknowledges the due line of the lowest INTID.
    pub(crate) fn acknowledge(&mut self, core: usize) -> Option<u32> {
        let (intid, line) = self.lines.iter_mut().find(|(_, line)| line.is_due(core))?;
        line.edge = false;
        line.active = Some(core);
        line.acknowledged += 1;
        Some(*intid)
    }
}
