// SPDX-License-Identifier: MIT OR Apache-2.0
//! Storms of interrupts: three cores, five partitions that behave and misbehave, their devices and timers, and what
//! must hold after each event (IR1 to IR6 of the abuse cases). At the end everybody behaves, and everything that
//! was raised must have been delivered.
//!
//! Not a target of the fuzzer: events are drawn by weight, from a seed.

mod act;
mod check;
mod gic;
mod machine;
mod world;

pub use check::Counts;

/// Numbers drawn from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    /// The next number.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of 0 to `count` - 1.
    fn below(&mut self, count: usize) -> usize {
        let count = u64::try_from(count).expect("small");
        usize::try_from(self.next() % count).expect("small")
    }

    /// Once in `of` times.
    fn once_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }
}

/// One world from `seed`: so many events at random, and then those that bring it to rest.
///
/// # Panics
/// If an invariant does not hold.
pub fn run(seed: u64, events: u64) -> Counts {
    let mut world = world::World::new(Dice(seed));
    while world.counts.events < events {
        world.step();
    }
    world.settle();
    world.counts
}
