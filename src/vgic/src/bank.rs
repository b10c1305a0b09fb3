// SPDX-License-Identifier: MIT OR Apache-2.0
//! The state of 32 interrupts, one bit each, as the distributor's registers have it.

/// How many interrupts a bank has.
pub const BANK: usize = 32;

/// 32 interrupts from a multiple of 32 on. Bit N of each word is the Nth of them.
///
/// Invariant: all words but `line` have bits of `implemented` only.
#[derive(Clone, Debug)]
pub struct Bank {
    /// The INTID of the first one.
    pub first: u32,
    /// Those that there are. The others read as zero and ignore writes.
    pub implemented: u32,
    /// Forwarded to CPU interfaces.
    pub enabled: u32,
    /// Pending by an edge or by a write, whatever the line does.
    pub latched: u32,
    /// The input, of those that are wired to something in Bulkhead.
    pub line: u32,
    /// Acknowledged and not deactivated.
    pub active: u32,
    /// In Group 1; the others are in Group 0.
    pub group1: u32,
    /// Edge-triggered; the others are level-sensitive.
    pub edge: u32,
    /// The priority of each, lower is more urgent.
    pub priority: [u8; BANK],
    /// GICv2's GICD_ITARGETSR of each: bit N for vCPU N.
    pub targets: [u8; BANK],
}

impl Bank {
    /// As after reset: all disabled, in Group 0, level-sensitive, of priority 0, without a target.
    pub const fn new(first: u32, implemented: u32) -> Self {
        Self {
            first,
            implemented,
            enabled: 0,
            latched: 0,
            line: 0,
            active: 0,
            group1: 0,
            edge: 0,
            priority: [0; BANK],
            targets: [0; BANK],
        }
    }

    /// Those that are pending: latched, or level-sensitive with the line high.
    pub const fn pending(&self) -> u32 {
        (self.latched | self.line & !self.edge) & self.implemented
    }

    /// The input of the interrupt with bit `bit` is high or low now: an edge latches an edge-triggered one.
    pub const fn set_line(&mut self, bit: u32, high: bool) {
        if high {
            self.latched |= bit & self.edge & !self.line & self.implemented;
            self.line |= bit;
        } else {
            self.line &= !bit;
        }
    }
}
