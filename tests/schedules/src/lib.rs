// SPDX-License-Identifier: MIT OR Apache-2.0
//! Explores schedules: the order in which cores reach the locks and atomics of the real core, and the
//! hardware that they share.
//!
//! Cores are tasks of shuttle, which lets one of them run at a time and chooses at each lock, atomic
//! and access to shared hardware who goes on. Partitions are state machines that do what a request
//! tells them, so that a scenario is a few calls of the normal world. After each schedule [`rest`]
//! checks the invariants of execution contexts and call chains, and that everything still answers.
//!
//! What this does not show: weak memory ordering. Every atomic access is sequentially consistent here.

pub mod errand;
pub mod explore;
mod lease;
pub mod machine;
pub mod memory;
pub mod program;
pub mod rest;
pub mod scenarios;
pub mod sharing;
pub mod world;
