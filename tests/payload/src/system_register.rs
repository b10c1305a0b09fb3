// SPDX-License-Identifier: MIT OR Apache-2.0
//! The EL1 and EL0 system registers that hold state of a world, as a table of canaries.
//!
//! The normal world at EL2 (without E2H) reaches all of them by their own names, and none of them has
//! an effect on it. A partition runs under its own EL1 registers: it changes the bits that have none
//! while its MMU is off.

use core::arch::asm;
use core::fmt;

use bulkhead_core::system_state;

use crate::exception;
use crate::request::Canary;

/// When a core has a register.
#[derive(Clone, Copy, Debug)]
enum Presence {
    /// Always.
    Always,
    /// When an access to it does not trap to the payload.
    Probe,
    /// When a field of an ID register is at least this value, and an access does not trap.
    Feature {
        id: fn() -> u64,
        shift: u32,
        at_least: u64,
    },
}

/// One row of the table.
pub struct SystemRegister {
    /// The architecture's name.
    pub name: &'static str,
    read: fn() -> u64,
    write: fn(u64),
    presence: Presence,
    /// The bits that the normal world fills with canaries.
    normal_world: u64,
    /// The bits that a partition fills with canaries.
    partition: u64,
    /// Bits that go in as one besides the canary, so that it has no effect.
    set: u64,
}

impl fmt::Debug for SystemRegister {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Whose table it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum World {
    /// EL2.
    Normal,
    /// S-EL1.
    Partition,
}

const ALL: u64 = u64::MAX;

macro_rules! read {
    ($encoding:literal) => {
        || {
            let value: u64;
            // SAFETY: reading one of the table's registers has no side effect.
            unsafe { asm!(concat!("mrs {}, ", $encoding), out(reg) value, options(nostack)) };
            value
        }
    };
}

macro_rules! registers {
    ($($name:literal $encoding:literal $presence:expr, $normal_world:expr, $partition:expr, $set:expr;)*) => {
        /// Registers that Bulkhead does not switch: partitions cannot change them, or not see them.
        static OTHERS: &[SystemRegister] = &[$(SystemRegister {
            name: $name,
            read: read!($encoding),
            write: |value| {
                // SAFETY: the masks of the table leave only bits without effect on the payload.
                unsafe { asm!(concat!("msr ", $encoding, ", {}"), "isb", in(reg) value, options(nostack)) };
            },
            presence: $presence,
            normal_world: $normal_world,
            partition: $partition,
            set: $set,
        }),*];
    };
}

/// The same of Bulkhead's own table.
macro_rules! switched {
    ($(
        $(#[$doc:meta])*
        $bank:ident, $save:ident, $restore:ident, $presence:ident:
        $((
            $a:ident: $a_name:literal = $a_code:literal, $a_own:literal, $a_normal:expr, $a_partition:expr, $a_set:expr;
            $b:ident: $b_name:literal = $b_code:literal, $b_own:literal, $b_normal:expr, $b_partition:expr, $b_set:expr
        ))*
    )*) => {
        /// The registers that Bulkhead switches.
        static SWITCHED: &[SystemRegister] = &[$($(
            switched!(@ $presence $a_name $a_own, $a_normal, $a_partition, $a_set),
            switched!(@ $presence $b_name $b_own, $b_normal, $b_partition, $b_set),
        )*)*];
    };
    (@ $presence:ident $name:literal $own:literal, $normal:expr, $partition:expr, $set:expr) => {
        SystemRegister {
            name: $name,
            read: read!($own),
            write: |value| {
                // SAFETY: as in `registers`.
                unsafe { asm!(concat!("msr ", $own, ", {}"), "isb", in(reg) value, options(nostack)) };
            },
            presence: presence(system_state::Presence::$presence),
            normal_world: $normal,
            partition: $partition,
            set: $set,
        }
    };
}

/// When a core has a register of Bulkhead's table.
const fn presence(presence: system_state::Presence) -> Presence {
    match presence {
        system_state::Presence::Always => ALWAYS,
        system_state::Presence::PointerAuthentication => PAUTH,
        system_state::Presence::MemoryTagging => MTE,
    }
}

bulkhead_core::system_state!(switched);

/// Every register of both tables.
fn table() -> impl Iterator<Item = &'static SystemRegister> {
    SWITCHED.iter().chain(OTHERS)
}

const PROBE: Presence = Presence::Probe;
const ALWAYS: Presence = Presence::Always;
/// ID_AA64PFR0_EL1.SVE: without it, or where EL3 traps it, an access is fatal (DECISIONS 8).
const SVE: Presence = Presence::Feature {
    id: read!("S3_0_C0_C4_0"),
    shift: 32,
    at_least: 1,
};
/// ID_AA64PFR1_EL1.SME.
const SME: Presence = Presence::Feature {
    id: read!("S3_0_C0_C4_1"),
    shift: 24,
    at_least: 1,
};
/// ID_AA64PFR1_EL1.MTE: 2 has the registers.
const MTE: Presence = Presence::Feature {
    id: read!("S3_0_C0_C4_1"),
    shift: 8,
    at_least: 2,
};
/// ID_AA64ISAR1_EL1.APA or API, or ID_AA64ISAR2_EL1.APA3, put together in bits 3:0.
const PAUTH: Presence = Presence::Feature {
    id: address_authentication,
    shift: 0,
    at_least: 1,
};

fn address_authentication() -> u64 {
    let isar1: fn() -> u64 = read!("S3_0_C0_C6_1");
    let isar2: fn() -> u64 = read!("S3_0_C0_C6_2");
    (isar1() >> 4 | isar1() >> 8 | isar2() >> 12) & 0xf
}

// Timers are masked by IMASK.
registers! {
    "CNTP_CTL_EL0" "cntp_ctl_el0" ALWAYS, 1, 0, 2;
    "CNTP_CVAL_EL0" "cntp_cval_el0" ALWAYS, ALL, 0, 0;
    "CNTVOFF_EL2" "cntvoff_el2" ALWAYS, 0xffff_ffff_ffff, 0, 0;
    "ACTLR_EL1" "actlr_el1" PROBE, ALL, 0, 0;
    "DISR_EL1" "S3_0_C12_C1_1" PROBE, 0x0100_0000, 0, 0;
    "SCXTNUM_EL1" "S3_0_C13_C0_7" PROBE, ALL, ALL, 0;
    "SCXTNUM_EL0" "S3_3_C13_C0_7" PROBE, ALL, ALL, 0;
    "TCR2_EL1" "S3_0_C2_C0_3" PROBE, ALL, 0, 0;
    "PIR_EL1" "S3_0_C10_C2_3" PROBE, ALL, ALL, 0;
    "PIRE0_EL1" "S3_0_C10_C2_2" PROBE, ALL, ALL, 0;
    "DBGBVR0_EL1" "S2_0_C0_C0_4" PROBE, 0xffff_fffc, 0, 0;
    "DBGWVR0_EL1" "S2_0_C0_C0_6" PROBE, 0xffff_fffc, 0, 0;
    "PMUSERENR_EL0" "S3_3_C9_C14_0" PROBE, 0xf, 0, 0;
    "PMSELR_EL0" "S3_3_C9_C12_5" PROBE, 3, 0, 0;
    "PMCCFILTR_EL0" "S3_3_C14_C15_7" PROBE, 0xc000_0000, 0, 0;
    "ZCR_EL1" "S3_0_C1_C2_0" SVE, 0xf, 0, 0;
    "ZCR_EL2" "S3_4_C1_C2_0" SVE, 0xf, 0, 0;
    "SMCR_EL1" "S3_0_C1_C2_6" SME, 0xf, 0, 0;
    "SMCR_EL2" "S3_4_C1_C2_6" SME, 0xf, 0, 0;
    "TPIDR2_EL0" "S3_3_C13_C0_5" SME, ALL, 0, 0;
}

impl SystemRegister {
    fn mask(&self, world: World) -> u64 {
        match world {
            World::Normal => self.normal_world,
            World::Partition => self.partition,
        }
    }

    fn is_present(&self) -> bool {
        let probe = || exception::expect(self.read).1.is_none();
        match self.presence {
            Presence::Always => true,
            Presence::Probe => probe(),
            Presence::Feature {
                id,
                shift,
                at_least,
            } => id() >> shift & 0xf >= at_least && probe(),
        }
    }
}

/// How many rows a table may have.
const ROWS: usize = 64;
const _: () = assert!(SWITCHED.len() + OTHERS.len() <= ROWS);

/// What the registers of one world hold.
#[derive(Clone, Copy)]
pub struct Values {
    world: World,
    /// The rows that are compared: bit N for row N.
    present: u64,
    values: [u64; ROWS],
}

impl Values {
    /// Finds out which registers there are. Their contents are left alone.
    pub fn probe(world: World) -> Self {
        let mut present = 0;
        for (row, register) in table().enumerate() {
            if register.mask(world) != 0 && register.is_present() {
                present |= 1 << row;
            }
        }
        Self {
            world,
            present,
            values: [0; ROWS],
        }
    }

    /// How many registers are compared.
    pub fn count(&self) -> u32 {
        self.present.count_ones()
    }

    fn rows(&self) -> impl Iterator<Item = (usize, &'static SystemRegister)> + use<> {
        let present = self.present;
        table()
            .enumerate()
            .filter(move |(row, _)| present >> row & 1 != 0)
    }

    /// Fills the registers with canaries and remembers what they hold then. Bits outside of the masks
    /// keep their values.
    pub fn fill(&mut self, canary: Canary) {
        for (row, register) in self.rows() {
            let mask = register.mask(self.world);
            let kept = (register.read)() & !mask;
            (register.write)(kept | canary.pattern(row) & mask | register.set);
        }
        self.capture();
    }

    /// Remembers what the registers hold.
    pub fn capture(&mut self) {
        for (row, register) in self.rows() {
            self.values[row] = (register.read)();
        }
    }

    /// Puts back what was remembered.
    pub fn restore(&self) {
        for (row, register) in self.rows() {
            (register.write)(self.values[row]);
        }
    }

    /// The name of the first register that differs from what was remembered, with the value expected
    /// and the one found.
    pub fn difference(&self) -> Option<(&'static str, u64, u64)> {
        self.rows().find_map(|(row, register)| {
            let mask = register.mask(self.world) | register.set;
            let (expected, found) = (self.values[row] & mask, (register.read)() & mask);
            (expected != found).then_some((register.name, expected, found))
        })
    }
}

/// The keys of pointer authentication: APIA, APIB, APDA, APDB and APGA, low half first.
pub mod pointer_keys {
    use super::{PAUTH, Presence, asm};
    use crate::request::Canary;

    macro_rules! each {
        ($use:ident) => {
            $use!(
                "S3_0_C2_C1_0" "S3_0_C2_C1_1" "S3_0_C2_C1_2" "S3_0_C2_C1_3" "S3_0_C2_C2_0" "S3_0_C2_C2_1"
                "S3_0_C2_C2_2" "S3_0_C2_C2_3" "S3_0_C2_C3_0" "S3_0_C2_C3_1"
            )
        };
    }

    /// The keys of this world; `None` where there are none.
    pub fn read() -> Option<[u64; 10]> {
        macro_rules! array {
            ($($name:literal)*) => { [$({ let read: fn() -> u64 = read!($name); read() }),*] };
        }
        let Presence::Feature {
            id,
            shift,
            at_least,
        } = PAUTH
        else {
            return None;
        };
        (id() >> shift & 0xf >= at_least).then(|| each!(array))
    }

    /// Sets them; nothing in a payload signs a pointer.
    pub fn write(keys: [u64; 10]) {
        let mut keys = keys.into_iter();
        let mut next = || keys.next().unwrap_or(0);
        macro_rules! set {
            ($($name:literal)*) => {
                // SAFETY: the payload is compiled without pointer authentication.
                unsafe { $(asm!(concat!("msr ", $name, ", {}"), in(reg) next(), options(nostack));)* }
            };
        }
        each!(set);
    }

    /// Ten values that no other occasion has.
    pub fn canaries(canary: Canary) -> [u64; 10] {
        core::array::from_fn(|index| canary.pattern(index))
    }
}

/// The registers of memory tagging.
pub mod memory_tagging {
    use super::{MTE, Presence, asm};

    /// GCR_EL1.
    pub fn gcr() -> u64 {
        let read: fn() -> u64 = read!("S3_0_C1_C0_6");
        read()
    }

    /// RGSR_EL1.
    pub fn rgsr() -> u64 {
        let read: fn() -> u64 = read!("S3_0_C1_C0_5");
        read()
    }

    /// TFSR_EL1.
    pub fn tfsr() -> u64 {
        let read: fn() -> u64 = read!("S3_0_C5_C6_0");
        read()
    }

    /// TFSRE0_EL1.
    pub fn tfsre0() -> u64 {
        let read: fn() -> u64 = read!("S3_0_C5_C6_1");
        read()
    }

    /// Sets GCR_EL1, RGSR_EL1, TFSR_EL1 and TFSRE0_EL1, which must exist.
    pub fn write([gcr, rgsr, tfsr, tfsre0]: [u64; 4]) {
        // SAFETY: tag checks are off, so that the values have no effect.
        unsafe {
            asm!("msr S3_0_C1_C0_6, {}", in(reg) gcr, options(nostack));
            asm!("msr S3_0_C1_C0_5, {}", in(reg) rgsr, options(nostack));
            asm!("msr S3_0_C5_C6_0, {}", in(reg) tfsr, options(nostack));
            asm!("msr S3_0_C5_C6_1, {}", "isb", in(reg) tfsre0, options(nostack));
        }
    }

    /// Whether the ID register shows them.
    pub fn visible() -> bool {
        match MTE {
            Presence::Feature {
                id,
                shift,
                at_least,
            } => id() >> shift & 0xf >= at_least,
            Presence::Always | Presence::Probe => false,
        }
    }
}
