// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random walks: each has a seed, which says what world it is in and what is called.

use bulkhead_abi::Version;
use bulkhead_model::case_world::case_world;
use bulkhead_model::explore::Letter;
use bulkhead_model::walk::{Random, letter};
use bulkhead_model::world::World;
use bulkhead_sim::memory::Quotas;

use crate::pair::{Divergence, Pair};

/// How many steps a walk makes: calls, and loads and stores, which ask the tables alone.
const STEPS: usize = 2000;

const VERSIONS: [Version; 3] = [Version::V1_0, Version::V1_1, Version::V1_2];

/// A walk: its world, and what may happen in it.
pub struct Walk {
    random: Random,
    world: World,
    versions: [Version; 4],
    quotas: Quotas,
}

impl Walk {
    /// The walk with a seed. Each has one of four numbers of transactions and one of 81 mixtures of versions.
    pub fn new(seed: u64) -> Self {
        let mut random = Random(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed | 1 << 63));
        let slots = 1 + random.below(4);
        let mut world = case_world(slots, slots);
        world.fragment = u32::MAX;
        let versions: [Version; 4] = std::array::from_fn(|_| random.pick(&VERSIONS));
        if versions[0] == Version::V1_0 {
            // It cannot tell the SPMC of VMs by their notifications.
            world.vms.clear();
        }
        Self {
            random,
            world,
            versions,
            quotas: Quotas {
                partition: 12,
                normal_world: 12,
            },
        }
    }

    fn pair(&self) -> Pair {
        Pair::new(&self.world, &self.versions, self.quotas)
    }

    /// Makes all steps; how many calls the core has served, and in how many of them an allocation was made to fail.
    ///
    /// # Errors
    /// What differs, and the fewest of the calls that were found to lead there.
    pub fn run(mut self) -> Result<(usize, usize), Divergence> {
        let mut pair = self.pair();
        pair.compare()?;
        let mut made = Vec::new();
        for _ in 0..STEPS {
            let letter = letter(&mut self.random, &pair.model);
            made.push(letter.clone());
            if let Err(what) = pair.step(&letter) {
                let (calls, what) = self.shrink(made, what);
                let calls: Vec<_> = calls.iter().map(|one| format!("{one:x?}")).collect();
                return Err(format!(
                    "{:?}:\n{}\n{what}",
                    self.versions,
                    calls.join("\n")
                ));
            }
        }
        Ok((pair.served, pair.injected))
    }

    /// Leaves out what is not needed to differ.
    fn shrink(&self, mut calls: Vec<Letter>, mut what: Divergence) -> (Vec<Letter>, Divergence) {
        let mut part = calls.len() / 2;
        while part != 0 {
            let mut at = 0;
            while at < calls.len() {
                let end = (at + part).min(calls.len());
                let mut fewer = calls.clone();
                fewer.drain(at..end);
                match self.replay(&fewer) {
                    Some((length, other)) => {
                        fewer.truncate(length);
                        (calls, what) = (fewer, other);
                    }
                    None => at = end,
                }
            }
            part /= 2;
        }
        (calls, what)
    }

    fn replay(&self, calls: &[Letter]) -> Option<(usize, Divergence)> {
        let mut pair = self.pair();
        let differs = |(at, letter)| pair.step(letter).err().map(|what| (at + 1, what));
        calls.iter().enumerate().find_map(differs)
    }
}
