// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random numbers for keys (DECISIONS 10): RNDR, else the TRNG SMC of EL3, else a weak fallback that the
//! log states.

use bulkhead_abi::Registers;

use crate::context::PointerKeys;
use crate::copy::{self, Probe};
use crate::{conduit, entry, sysreg};

/// Where the numbers come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// FEAT_RNG.
    Rndr,
    /// TRNG_RND64 (Arm DEN0098, as TF-A serves it where the platform has a generator).
    Trng,
    /// The counter, mixed: whoever knows when the machine booted can guess.
    Counter,
}

/// TRNG_RND64: x1 = bits wanted; x0 = 0 and x3 = the bits.
const TRNG_RND64: u64 = 0xc400_0053;
const BITS: u64 = 64;

/// How often a generator may have nothing before the fallback is used for a number.
const ATTEMPTS: usize = 100;

/// Numbers, none of which is zero.
#[derive(Debug)]
pub struct Entropy {
    source: Source,
    /// What the fallback has come to.
    state: u64,
}

impl Entropy {
    /// Numbers from the best source of this machine.
    pub fn new() -> Self {
        let source =
            if sysreg::read!("id_aa64isar0_el1") >> 60 != 0 && copy::probe(Probe::Rndr).is_some() {
                Source::Rndr
            } else if trng().is_some() {
                Source::Trng
            } else {
                Source::Counter
            };
        Self {
            source,
            state: sysreg::read!("mpidr_el1") ^ entry::load_address(),
        }
    }

    /// Where the numbers come from.
    pub fn source(&self) -> Source {
        self.source
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        for _ in 0..ATTEMPTS {
            let value = match self.source {
                Source::Rndr => copy::probe(Probe::Rndr),
                Source::Trng => trng(),
                Source::Counter => Some(self.mixed()),
            };
            if let Some(value) = value.filter(|value| *value != 0) {
                return value;
            }
        }
        self.mixed().max(1)
    }

    /// splitmix64 over the counter.
    fn mixed(&mut self) -> u64 {
        self.state = self
            .state
            .wrapping_add(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(crate::timer::now());
        let mut value = self.state;
        value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ value >> 31
    }

    /// The keys of pointer authentication that a partition starts with.
    pub fn keys(&mut self) -> PointerKeys {
        PointerKeys::from_fn(|| self.number())
    }
}

impl Default for Entropy {
    fn default() -> Self {
        Self::new()
    }
}

fn trng() -> Option<u64> {
    let mut registers = Registers::ZERO;
    registers.x[0] = TRNG_RND64;
    registers.x[1] = BITS;
    conduit::smc(&mut registers);
    (registers.x[0] == 0).then_some(registers.x[3])
}
