// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every edge of the small world, made on the real core: a walk that goes on to the nearest state with a call that
//! was not made there yet, and begins anew where none can be reached.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{Hash, Hasher};

use bulkhead_abi::Version;
use bulkhead_model::call::Request;
use bulkhead_model::explore::Letter;
use bulkhead_model::small::{calls, world};
use bulkhead_model::step::forget_generations;
use bulkhead_model::world::World;
use bulkhead_sim::memory::Quotas;

use crate::pair::{Divergence, Pair};

/// What was made.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Report {
    /// States that the walk found, RX full or not.
    pub states: usize,
    /// Different calls in different states.
    pub edges: usize,
    /// Calls, those on the way included.
    pub calls: usize,
    /// How often it began anew.
    pub worlds: usize,
}

/// What is known of a state.
struct State {
    /// Which of its calls are not made yet: those from here on.
    next: usize,
    /// The calls that lead to another state, and which.
    ways: Vec<(usize, u128)>,
}

fn key(world: &World) -> u128 {
    let mut world = world.clone();
    forget_generations(&mut world);
    let (mut one, mut two) = (DefaultHasher::new(), DefaultHasher::new());
    1u8.hash(&mut two);
    world.hash(&mut one);
    world.hash(&mut two);
    u128::from(one.finish()) << 64 | u128::from(two.finish())
}

/// The calls in a state. Who has something in RX gives it back before anything else.
fn alphabet(world: &World) -> Vec<Letter> {
    let full = |letter: &Letter| {
        let mailbox = world.parties[&letter.call.from].mailbox.as_ref();
        mailbox.is_some_and(|mailbox| mailbox.full)
    };
    let releases: Vec<Letter> = bulkhead_model::small::releases()
        .into_iter()
        .filter(full)
        .collect();
    if releases.is_empty() {
        calls(world)
    } else {
        releases
    }
}

/// A walk over everything.
pub struct Tour {
    pair: Pair,
    known: HashMap<u128, State>,
    /// States of which all calls are made.
    done: HashSet<u128>,
    report: Report,
}

fn pair() -> Pair {
    let mut world = world(1, u32::MAX);
    world.fragment = u32::MAX;
    Pair::new(&world, &[Version::V1_2; 3], Quotas::default())
}

impl Tour {
    /// At the start.
    pub fn new() -> Self {
        Self {
            pair: pair(),
            known: HashMap::new(),
            done: HashSet::new(),
            report: Report::default(),
        }
    }

    /// Makes every call in every state.
    ///
    /// # Errors
    /// What differs.
    pub fn run(mut self) -> Result<Report, Divergence> {
        let first = key(&self.pair.model);
        loop {
            self.exhaust()?;
            // The way to the nearest state that has a call left.
            let here = key(&self.pair.model);
            let way = match self.way(here) {
                Some(way) => way,
                None if here == first => break,
                None => {
                    self.pair = pair();
                    self.report.worlds += 1;
                    match self.way(first) {
                        Some(way) => way,
                        None => break,
                    }
                }
            };
            for number in way {
                let letter = alphabet(&self.pair.model).swap_remove(number);
                self.make(&letter)?;
            }
        }
        self.report.states = self.known.len();
        Ok(self.report)
    }

    /// Makes the calls of this state, and of those that they lead to, as long as there is one left.
    fn exhaust(&mut self) -> Result<(), Divergence> {
        let mut here = key(&self.pair.model);
        loop {
            let letters = alphabet(&self.pair.model);
            let state = self.known.entry(here).or_insert(State {
                next: 0,
                ways: Vec::new(),
            });
            let number = state.next;
            let Some(letter) = letters.get(number) else {
                self.done.insert(here);
                return Ok(());
            };
            state.next += 1;
            self.report.edges += 1;
            self.make(letter)?;
            let after = key(&self.pair.model);
            if after != here {
                let state = self.known.get_mut(&here).expect("it is known");
                state.ways.push((number, after));
                here = after;
            }
        }
    }

    fn make(&mut self, letter: &Letter) -> Result<(), Divergence> {
        self.report.calls += 1;
        debug_assert!(!matches!(letter.call.request, Request::Touch { .. }));
        self.pair
            .step(letter)
            .map_err(|what| format!("{letter:x?}\n{what}"))
    }

    /// The numbers of the calls that lead from a state to the nearest one that has a call left.
    fn way(&self, from: u128) -> Option<Vec<usize>> {
        let mut before: HashMap<u128, (u128, usize)> = HashMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(here) = queue.pop_front() {
            if !self.done.contains(&here) {
                let mut way = Vec::new();
                let mut at = here;
                while at != from {
                    let (earlier, number) = before[&at];
                    way.push(number);
                    at = earlier;
                }
                way.reverse();
                return Some(way);
            }
            for (number, next) in &self.known[&here].ways {
                if *next != from && !before.contains_key(next) {
                    before.insert(*next, (here, *number));
                    queue.push_back(*next);
                }
            }
        }
        None
    }
}

impl Default for Tour {
    fn default() -> Self {
        Self::new()
    }
}
