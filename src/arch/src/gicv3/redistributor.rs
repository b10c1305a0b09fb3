// SPDX-License-Identifier: MIT OR Apache-2.0
//! A redistributor, which has the interrupts of one core: SGIs, PPIs and extended PPIs.

use super::line::{Configuration, Line, Refused, Trigger};
use super::{FRAME, KICK, PRIORITY, SCHEDULE_RECEIVER, TIMER};
use crate::mmio::Mmio;

const CTLR_RWP: u32 = 1 << 3;
const TYPER: usize = 0x8;
const TYPER_VLPIS: u64 = 1 << 1;
const TYPER_LAST: u64 = 1 << 4;
const PIDR2: usize = 0xffe8;

/// The first extended PPI, which follows the 32 others in the registers.
const FIRST_EXTENDED: u32 = 1056;
const PLAIN: u32 = 32;

/// The redistributor of a core: its control frame, which the frame of its interrupts follows.
#[derive(Clone, Copy, Debug)]
pub struct Redistributor<M> {
    frame: M,
    /// How many private interrupts it has: 32, and the extended ones.
    count: u32,
}

impl<M: Mmio> Redistributor<M> {
    /// The redistributor of the core with this affinity among those in `length` bytes from `frame` on; `None` if
    /// it is not there. Those of cores that nobody uses are passed over. What does not say that it is a
    /// redistributor ends the search, as does the last one by its own word, and the end of the region whatever
    /// the redistributors say.
    pub fn find(frame: M, length: usize, affinity: u64) -> Option<Self> {
        let wanted = (affinity >> 8) & 0xff00_0000 | affinity & 0x00ff_ffff;
        let mut offset = 0;
        while offset + 2 * FRAME <= length {
            let candidate = frame.at(offset);
            // GICv3 and GICv4.
            if !matches!(candidate.read(PIDR2) >> 4 & 0xf, 3 | 4) {
                return None;
            }
            let kind = candidate.read64(TYPER);
            if kind >> 32 == wanted {
                let count = match kind >> 27 & 0x1f {
                    extended @ 1..=2 => PLAIN * (extended as u32 + 1),
                    _ => PLAIN,
                };
                return Some(Self {
                    frame: candidate,
                    count,
                });
            }
            if kind & TYPER_LAST != 0 {
                return None;
            }
            offset += if kind & TYPER_VLPIS != 0 {
                4 * FRAME
            } else {
                2 * FRAME
            };
        }
        None
    }

    /// Sets up S-EL2's own interrupts of the core, and the schedule receiver interrupt; again after each CPU_ON.
    /// What is pending of them from before is gone.
    ///
    /// # Errors
    /// The first of them that cannot be had, and why.
    pub fn set_up(self) -> Result<(), (u32, Refused)> {
        for intid in [KICK, TIMER] {
            let line = self.own_line(intid);
            line.enable(false);
            let configuration = Configuration {
                intid,
                priority: PRIORITY,
                trigger: Trigger::Level,
            };
            line.configure(&configuration)
                .map_err(|refused| (intid, refused))?;
            line.enable(true);
        }
        self.own_line(SCHEDULE_RECEIVER).give_to_normal_world();
        Ok(())
    }

    /// Whether the schedule receiver interrupt is the normal world's, as it must be to arrive there.
    pub fn scheduler_is_non_secure(self) -> bool {
        self.own_line(SCHEDULE_RECEIVER).is_non_secure()
    }

    /// Makes the schedule receiver interrupt pending.
    pub fn raise_schedule_receiver(self) {
        self.own_line(SCHEDULE_RECEIVER).raise();
    }

    /// The registers of the private interrupt `intid`; `None` if the core does not have it.
    pub fn line(self, intid: u32) -> Option<Line<M>> {
        let index = match intid {
            0..PLAIN => intid,
            FIRST_EXTENDED.. => (intid - FIRST_EXTENDED).checked_add(PLAIN)?,
            _ => return None,
        };
        (index < self.count).then(|| self.own_line(index))
    }

    fn own_line(self, index: u32) -> Line<M> {
        Line {
            control: self.frame,
            write_pending: CTLR_RWP,
            frame: self.frame.at(FRAME),
            index: index as usize,
            extended: false,
        }
    }
}
