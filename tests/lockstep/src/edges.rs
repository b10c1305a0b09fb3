// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every edge of the small world, made on the real core: a walk that goes on to the nearest state with a call that
//! was not made there yet, and begins anew where none can be reached.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{BuildHasherDefault, Hash, Hasher};

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
#[derive(Default)]
struct State {
    /// Which of its calls are not made yet: those from here on.
    next: usize,
    /// Whether all are made.
    done: bool,
    /// The states that calls lead to, each once, and the number of the call.
    ways: Vec<(usize, usize)>,
    /// The shortest known way from the start: its length, and the last state and call.
    depth: usize,
    from: Option<(usize, usize)>,
}

/// How many states are looked at for one near by that has a call left. Else the walk begins anew.
const NEAR: usize = 200;

/// A hasher of what is a hash already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are u128");
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = (key >> 64) as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type Keys = BuildHasherDefault<AsItIs>;

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
    /// The number of each state in `states`.
    numbers: HashMap<u128, usize, Keys>,
    /// The first is the start.
    states: Vec<State>,
    /// States that had a call left when they were found.
    open: Vec<usize>,
    report: Report,
}

fn pair() -> Pair {
    let mut world = world(1, u32::MAX);
    world.fragment = u32::MAX;
    let quotas = Quotas {
        partition: 12,
        normal_world: 12,
    };
    Pair::new(&world, &[Version::V1_2; 3], quotas)
}

impl Tour {
    /// At the start.
    pub fn new() -> Self {
        let mut tour = Self {
            pair: pair(),
            numbers: HashMap::default(),
            states: Vec::new(),
            open: Vec::new(),
            report: Report::default(),
        };
        tour.number();
        tour
    }

    /// The number of the state that the walk is in.
    fn number(&mut self) -> usize {
        let new = self.states.len();
        let number = *self.numbers.entry(key(&self.pair.model)).or_insert(new);
        if number == new {
            self.states.push(State {
                depth: usize::MAX,
                ..State::default()
            });
            self.open.push(new);
        }
        number
    }

    /// Makes every call in every state.
    ///
    /// # Errors
    /// What differs.
    pub fn run(mut self) -> Result<Report, Divergence> {
        self.states[0].depth = 0;
        let mut here = 0;
        loop {
            here = self.exhaust(here)?;
            if let Some(way) = self.near(here) {
                here = self.follow(here, &way)?;
                continue;
            }
            let Some(open) = self.next_open() else {
                break;
            };
            self.pair = pair();
            self.report.worlds += 1;
            let way = self.way(open);
            here = self.follow(0, &way)?;
            if here != open {
                return Err("the same calls lead elsewhere".into());
            }
        }
        self.report.states = self.states.len();
        Ok(self.report)
    }

    fn next_open(&mut self) -> Option<usize> {
        while let Some(number) = self.open.last() {
            if !self.states[*number].done {
                return Some(*number);
            }
            self.open.pop();
        }
        None
    }

    /// Makes the calls of this state, and of those that they lead to, as long as there is one left. Where it ends.
    fn exhaust(&mut self, mut here: usize) -> Result<usize, Divergence> {
        loop {
            let letters = alphabet(&self.pair.model);
            let state = &mut self.states[here];
            let number = state.next;
            let Some(letter) = letters.get(number) else {
                state.done = true;
                return Ok(here);
            };
            state.next += 1;
            self.report.edges += 1;
            self.make(letter)?;
            let after = self.number();
            let depth = self.states[here].depth.saturating_add(1);
            if depth < self.states[after].depth {
                self.states[after].depth = depth;
                self.states[after].from = Some((here, number));
            }
            let ways = &mut self.states[here].ways;
            if after != here && ways.iter().all(|(state, _)| *state != after) {
                ways.push((after, number));
            }
            here = after;
        }
    }

    fn make(&mut self, letter: &Letter) -> Result<(), Divergence> {
        self.report.calls += 1;
        debug_assert!(!matches!(letter.call.request, Request::Touch { .. }));
        self.pair
            .step(letter)
            .map_err(|what| format!("{letter:x?}\n{what}"))
    }

    /// Makes the calls with these numbers. Where it ends.
    fn follow(&mut self, mut here: usize, way: &[usize]) -> Result<usize, Divergence> {
        for number in way {
            let letter = alphabet(&self.pair.model).swap_remove(*number);
            self.make(&letter)?;
            here = self.number();
        }
        Ok(here)
    }

    /// The calls from the start to a state.
    fn way(&self, mut to: usize) -> Vec<usize> {
        let mut way = Vec::new();
        while let Some((from, number)) = self.states[to].from {
            way.push(number);
            to = from;
        }
        way.reverse();
        way
    }

    /// The calls that lead from a state to the nearest one that has a call left, if it is near.
    fn near(&self, from: usize) -> Option<Vec<usize>> {
        // Each with its place in the queue from which it was reached, and the call.
        let mut queue = vec![(from, 0, 0)];
        let mut at = 0;
        while at < queue.len().min(NEAR) {
            let (here, ..) = queue[at];
            if !self.states[here].done {
                let mut way = Vec::new();
                while at != 0 {
                    let (_, earlier, number) = queue[at];
                    way.push(number);
                    at = earlier;
                }
                way.reverse();
                return Some(way);
            }
            for (next, number) in &self.states[here].ways {
                if queue.len() < NEAR && queue.iter().all(|(state, ..)| state != next) {
                    queue.push((*next, at, *number));
                }
            }
            at += 1;
        }
        None
    }
}

impl Default for Tour {
    fn default() -> Self {
        Self::new()
    }
}
