// SPDX-License-Identifier: MIT OR Apache-2.0
//! All worlds that a finite alphabet of calls reaches.
use crate::call::{Call, Oracle, Outcome};
use crate::check::Rules;
use crate::invariant::check;
use crate::step::forget_generations;
use crate::transition::check_step;
use crate::world::World;
use std::collections::{HashSet, VecDeque, hash_map::DefaultHasher};
use std::hash::{Hash, Hasher};

/// A letter: which core makes which call, and what is open.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Core.
    pub core: usize,
    /// Call.
    pub call: Call,
    /// What is open.
    pub oracle: Oracle,
}

/// One edge of the graph; its worlds have generations renamed.
pub struct Edge<'a> {
    /// From.
    pub before: &'a World,
    /// By.
    pub letter: &'a Letter,
    /// Result.
    pub outcome: &'a Outcome,
    /// To, before generations are renamed.
    pub after: &'a World,
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Worlds.
    pub states: usize,
    /// Calls made.
    pub edges: usize,
    /// Calls that succeeded.
    pub successes: usize,
    /// The longest shortest way from the first world.
    pub depth: usize,
}

/// A broken rule.
#[derive(Clone, Debug)]
pub struct Broken {
    /// Its id.
    pub id: &'static str,
    /// The call.
    pub letter: Letter,
    /// The world before.
    pub before: World,
}

/// Worlds are kept by 128 bits of hash: with a million worlds two of them collide with a chance below 2^-80.
fn key(world: &World) -> (u64, u64) {
    let (mut one, mut two) = (DefaultHasher::new(), DefaultHasher::new());
    1u8.hash(&mut two);
    world.hash(&mut one);
    world.hash(&mut two);
    (one.finish(), two.finish())
}

/// Makes one step and checks it; a generation that did not move is found here, before renaming.
pub fn checked_step(
    rules: &Rules,
    world: &World,
    letter: &Letter,
) -> Result<(World, Outcome), Box<Broken>> {
    let (after, outcome) = rules.step(world, letter.core, &letter.call, letter.oracle);
    match check_step(world, &letter.call, &outcome, &after).and_then(|()| check(&after)) {
        Ok(()) => Ok((after, outcome)),
        Err(id) => Err(Box::new(Broken {
            id,
            letter: letter.clone(),
            before: world.clone(),
        })),
    }
}

/// Visits every edge from `first` until nothing new is found. `settle` renames or moves on before a world is kept.
pub fn explore(
    first: &World,
    alphabet: impl Fn(&World) -> Vec<Letter>,
    settle: impl Fn(&mut World),
    mut visit: impl FnMut(&Edge),
) -> Result<Report, Box<Broken>> {
    let rules = Rules::default();
    let mut start = first.clone();
    forget_generations(&mut start);
    let mut seen = HashSet::from([key(&start)]);
    let mut queue = VecDeque::from([(start, 0)]);
    let mut report = Report {
        states: 1,
        ..Report::default()
    };
    while let Some((before, depth)) = queue.pop_front() {
        report.depth = depth;
        for letter in alphabet(&before) {
            let (mut after, outcome) = checked_step(&rules, &before, &letter)?;
            visit(&Edge {
                before: &before,
                letter: &letter,
                outcome: &outcome,
                after: &after,
            });
            report.edges += 1;
            report.successes += usize::from(!matches!(outcome, Outcome::Error(_) | Outcome::Fault));
            forget_generations(&mut after);
            settle(&mut after);
            if seen.insert(key(&after)) {
                report.states += 1;
                queue.push_back((after, depth + 1));
            }
        }
    }
    Ok(report)
}

/// A letter on core 0 with nothing open.
pub fn plain(call: Call) -> Letter {
    Letter {
        core: 0,
        call,
        oracle: Oracle::default(),
    }
}
