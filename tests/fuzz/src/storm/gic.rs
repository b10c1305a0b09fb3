// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a partition does that has a GICv2.

use bulkhead_core::event::{Direction, Event, Fault, FaultKind};
use bulkhead_core::vcpu::VcpuRef;
use bulkhead_mm::attrs::Space;

use super::machine::CORES;
use super::world::{DEVICES, GIC, Place, World};

/// The INTID of what GICC_IAR read.
pub const INTID: u32 = 0x3ff;

/// That of the physical timer.
pub const TIMER: u32 = GIC.timer;

/// Registers, from the distributor on.
const GICD_CTLR: u64 = 0x000;
const GICD_IGROUPR: u64 = 0x080;
const GICD_ISENABLER: u64 = 0x100;
const GICD_ICENABLER: u64 = 0x180;
const GICD_IPRIORITYR: u64 = 0x400;
const GICD_ITARGETSR: u64 = 0x800;
const GICD_SGIR: u64 = 0xf00;
const GICC_CTLR: u64 = 0x1_0000;
const GICC_PMR: u64 = 0x1_0004;
const GICC_IAR: u64 = 0x1_000c;
const GICC_EOIR: u64 = 0x1_0010;

/// The SGI that contexts send.
const SGI: u32 = 9;
/// A load or store by w5, in the syndrome: of a word, and of a byte.
const WORD: u64 = 2 << 22;
const BYTE: u64 = 0;

impl World {
    /// An access to the GIC's frames by the running context; what was loaded, and whether it still runs.
    fn access(&mut self, core: usize, offset: u64, store: Option<u32>, size: u64) -> (u32, bool) {
        const ABORT: u64 = 0x24 << 26 | 1 << 25 | 1 << 24 | 5 << 16 | 7;
        let place = self.cores[core].place;
        let context = self.cores[core].state.context().expect("a running context");
        context.registers.x[5] = store.unwrap_or(0).into();
        let direction = match store {
            Some(_) => Direction::Write,
            None => Direction::Read,
        };
        let fault = Fault {
            kind: FaultKind::Data {
                ipa: GIC.distributor + offset,
                space: Space::Secure,
                direction,
            },
            syndrome: ABORT | size | u64::from(store.is_some()) << 6,
            address: GIC.distributor + offset,
        };
        self.handle(core, Event::Fault(fault));
        let stays = self.cores[core].place == place;
        let context = self.cores[core].state.context().filter(|_| stays);
        let value = context.map_or(0, |context| context.registers.x[5]);
        (u32::try_from(value).expect("32 bits"), stays)
    }

    fn store(&mut self, core: usize, offset: u64, value: u32) {
        let place = self.cores[core].place;
        assert!(matches!(place, Place::Partition(_)));
        let (_, stays) = self.access(core, offset, Some(value), WORD);
        assert!(stays, "a store to {offset:#x} ended the run");
    }

    /// Acknowledges an interrupt.
    pub fn acknowledge(&mut self, core: usize, vcpu: VcpuRef) -> bool {
        let (found, stays) = self.access(core, GICC_IAR, None, WORD);
        assert!(stays, "GICC_IAR ended the run");
        if found & INTID >= 1020 {
            return false;
        }
        self.counts.delivered += 1;
        self.counts.acknowledged += 1;
        self.known[vcpu.partition()][vcpu.vcpu()]
            .fetched
            .push(found);
        self.fetched(vcpu, found & INTID);
        true
    }

    /// Ends one.
    pub fn end(&mut self, core: usize, acknowledged: u32) {
        self.store(core, GICC_EOIR, acknowledged);
    }

    /// Something that only such a partition does; `false` if it does what others do, too.
    pub fn gic(&mut self, core: usize, vcpu: VcpuRef) -> bool {
        let known = &mut self.known[vcpu.partition()][vcpu.vcpu()];
        if !known.configured {
            known.configured = true;
            self.store(core, GICD_CTLR, 3);
            // Both groups, GICC_IAR acknowledges both, Group 0 is FIQ.
            self.store(core, GICC_CTLR, 0b1111);
            self.store(core, GICC_PMR, 0xff);
            return true;
        }
        match self.dice.below(64) {
            0..12 => {
                let own = DEVICES[vcpu.partition()];
                let all: Vec<u32> = own
                    .iter()
                    .chain(&[17, 18, 27, TIMER, SGI])
                    .copied()
                    .collect();
                let intid = all[self.dice.below(all.len())];
                self.configure(core, intid);
            }
            12..15 => {
                let targets = u32::try_from(self.dice.below(1 << CORES)).expect("few");
                let filter = [0, 1, 2][self.dice.below(3)];
                self.store(core, GICD_SGIR, filter << 24 | targets << 16 | SGI);
                self.counts.sgis += 1;
            }
            _ => return false,
        }
        true
    }

    /// One of its interrupts gets any group, priority and targets, and is enabled; or is disabled.
    fn configure(&mut self, core: usize, intid: u32) {
        let (bank, bit) = (u64::from(intid / 32 * 4), 1 << (intid % 32));
        if self.dice.once_in(12) {
            return self.store(core, GICD_ICENABLER + bank, bit);
        }
        let groups = if self.dice.once_in(2) { bit } else { 0 };
        self.store(core, GICD_IGROUPR + bank, groups);
        let priority = u32::try_from(self.dice.below(0xf0)).expect("a byte");
        let targets = 1 + u32::try_from(self.dice.below((1 << CORES) - 1)).expect("a byte");
        for (array, value) in [(GICD_IPRIORITYR, priority), (GICD_ITARGETSR, targets)] {
            let (_, stays) = self.access(core, array + u64::from(intid), Some(value), BYTE);
            assert!(stays, "a byte of {array:#x} ended the run");
        }
        self.store(core, GICD_ISENABLER + bank, bit);
    }
}
