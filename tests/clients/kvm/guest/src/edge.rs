// SPDX-License-Identifier: MIT OR Apache-2.0
//! Edge-triggered interrupts: software generated ones, and a shared one that the monitor raises for each store to its
//! doorbell. One is active and the others pending for as long as the guest likes, which keeps KVM's list registers and
//! active priorities in the core.

use core::arch::asm;

use bulkhead_payload::{board, gic};

/// The software generated interrupts.
const SOFTWARE: [u32; 3] = [1, 6, 11];
/// The monitor's.
const DOORBELL_INTID: u32 = 48;
/// The register that raises it.
const DOORBELL: usize = board::UART + 0x100;
/// Below that of the timer, so that it preempts.
const PRIORITY: u8 = 0xc0;

/// GICR_IPRIORITYR, in the second frame of the guest's one redistributor.
const PRIVATE_PRIORITY: usize = board::GIC_REDISTRIBUTOR + 0x1_0000 + 0x400;
/// GICD_ISENABLER, a bit for each INTID.
const SET_ENABLE: usize = board::GIC_DISTRIBUTOR + 0x100;
/// GICD_IPRIORITYR, a byte for each INTID.
const SHARED_PRIORITY: usize = board::GIC_DISTRIBUTOR + 0x400;
/// GICD_ICFGR, two bits for each INTID, of which the upper one says edge.
const CONFIGURATION: usize = board::GIC_DISTRIBUTOR + 0xc00;

fn write32(address: usize, value: u32) {
    // SAFETY: a register of the guest's devices; the MMU is off, so the access is to a device.
    unsafe { (address as *mut u32).write_volatile(value) };
}

fn write8(address: usize, value: u8) {
    // SAFETY: as `write32`.
    unsafe { (address as *mut u8).write_volatile(value) };
}

/// Lets them be signalled, with [`PRIORITY`].
pub fn enable() {
    for intid in SOFTWARE {
        gic::enable(intid);
        write8(PRIVATE_PRIORITY + intid as usize, PRIORITY);
    }
    let (word, bit) = (DOORBELL_INTID as usize / 32, DOORBELL_INTID % 32);
    write8(SHARED_PRIORITY + DOORBELL_INTID as usize, PRIORITY);
    let (edges, edge) = (DOORBELL_INTID as usize / 16, DOORBELL_INTID % 16 * 2 + 1);
    write32(CONFIGURATION + 4 * edges, 1 << edge);
    write32(SET_ENABLE + 4 * word, 1 << bit);
}

/// Interrupts that were raised and have not come to their end.
pub struct Raised {
    /// The active one.
    active: u32,
    /// A bit for each that is to come.
    left: u64,
}

/// What was acknowledged in place of what was pending.
pub type Unexpected = Option<u32>;

impl Raised {
    /// Raises all of them, and acknowledges one, which stays active.
    pub fn all() -> Result<Self, Unexpected> {
        for intid in SOFTWARE {
            /// The core with affinity 0.0.0.0, which is the guest's one.
            const ITSELF: u64 = 1;
            let request = u64::from(intid) << 24 | ITSELF;
            // SAFETY: interrupts are masked in PSTATE.
            unsafe { asm!("msr S3_0_C12_C11_5, {}", "isb", in(reg) request, options(nostack)) }; // ICC_SGI1R_EL1
        }
        write32(DOORBELL, 1);
        let mut raised = Self {
            active: 0,
            left: SOFTWARE
                .into_iter()
                .fold(1 << DOORBELL_INTID, |left, intid| left | 1 << intid),
        };
        raised.acknowledge()?;
        Ok(raised)
    }

    /// Ends what is active, and takes the others: each once, and nothing else.
    pub fn finish(mut self) -> Result<(), Unexpected> {
        while self.left != 0 {
            gic::end(self.active);
            self.acknowledge()?;
        }
        gic::end(self.active);
        match gic::acknowledge() {
            None => Ok(()),
            other => Err(other),
        }
    }

    fn acknowledge(&mut self) -> Result<(), Unexpected> {
        let found = gic::acknowledge();
        let Some(intid) = found.filter(|&intid| intid < 64 && self.left >> intid & 1 != 0) else {
            return Err(found);
        };
        self.active = intid;
        self.left &= !(1 << intid);
        Ok(())
    }
}
