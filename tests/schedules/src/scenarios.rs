// SPDX-License-Identifier: MIT OR Apache-2.0
//! What cores do at once. Each function is one schedule of its scenario.

pub mod abort;
pub mod crossing;
pub mod delivery;
pub mod interrupt;
pub mod mailbox;
pub mod notification;
pub mod power;
pub mod preemption;
pub mod queue;
pub mod sharing;
pub mod sharing_abort;
pub mod sharing_fragments;
pub mod version;

use crate::world::{Core, Spec, boot};

/// A system with all cores on.
fn all_on(specs: &[Spec], count: usize) -> Vec<Core> {
    let mut cores = boot(specs, count);
    for core in &mut cores[1..] {
        core.switch_on();
    }
    cores
}
