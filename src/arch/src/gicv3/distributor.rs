// SPDX-License-Identifier: MIT OR Apache-2.0
//! The distributor, which has the shared interrupts: SPIs and extended SPIs.

use core::ops::RangeInclusive;

use super::line::Line;
use crate::mmio::Mmio;

const CTLR: usize = 0x0;
const CTLR_ENABLE_GROUP1_SECURE: u32 = 1 << 2;
const CTLR_RWP: u32 = 1 << 31;
const TYPER: usize = 0x4;
const TYPER_ESPI: u32 = 1 << 8;

const FIRST_SPI: u32 = 32;
/// INTIDs from here on say that there is no interrupt for the reader.
const FIRST_SPECIAL: u32 = 1020;
const FIRST_EXTENDED: u32 = 4096;

/// The distributor of a chip.
///
/// What partitions make it do is written to registers that only act on ones, so that cores need no lock; the others
/// are written while the boot core is alone.
#[derive(Clone, Debug)]
pub struct Distributor<M> {
    frame: M,
    /// One more than the last SPI.
    spis: u32,
    /// One more than the last extended SPI.
    extended: u32,
    /// The shared interrupts that come in on this chip.
    own: RangeInclusive<u32>,
}

impl<M: Mmio> Distributor<M> {
    /// The distributor whose registers are at `frame`, with the shared interrupts `own` of those that it says to
    /// have.
    pub fn new(frame: M, own: RangeInclusive<u32>) -> Self {
        let kind = frame.read(TYPER);
        let spis = 32 * ((kind & 0x1f) + 1);
        let extended = if kind & TYPER_ESPI == 0 {
            FIRST_EXTENDED
        } else {
            FIRST_EXTENDED + 32 * ((kind >> 27) + 1)
        };
        Self {
            frame,
            spis: spis.min(FIRST_SPECIAL),
            extended,
            own,
        }
    }

    /// Has it forward Group 1 Secure interrupts, which EL3 may not have needed.
    pub fn set_up(&self) {
        let control = self.frame.read(CTLR);
        if control & CTLR_ENABLE_GROUP1_SECURE == 0 {
            self.frame.write(CTLR, control | CTLR_ENABLE_GROUP1_SECURE);
        }
    }

    /// The registers of the shared interrupt `intid` among the distributors of all chips; `None` if the machine
    /// does not have it. Where the ranges of two chips meet, the one that begins there has it.
    pub fn line(chips: &[Self], intid: u32) -> Option<Line<M>> {
        let own = chips.iter().filter(|chip| chip.own.contains(&intid));
        own.max_by_key(|chip| *chip.own.start())?.own_line(intid)
    }

    /// Has the shared interrupt `intid` go to the core with this affinity; `false` if the machine does not have it.
    pub fn route(chips: &[Self], intid: u32, affinity: u64) -> bool {
        let line = Self::line(chips, intid);
        line.map(|line| line.route(affinity)).is_some()
    }

    fn own_line(&self, intid: u32) -> Option<Line<M>> {
        let (index, extended) = if (FIRST_SPI..self.spis).contains(&intid) {
            (intid, false)
        } else if (FIRST_EXTENDED..self.extended).contains(&intid) {
            (intid - FIRST_EXTENDED, true)
        } else {
            return None;
        };
        Some(Line {
            control: self.frame,
            write_pending: CTLR_RWP,
            frame: self.frame,
            index: index as usize,
            extended,
        })
    }
}
