// SPDX-License-Identifier: MIT OR Apache-2.0
//! An executable reference model of FF-A memory management.
pub mod call;
pub mod case_world;
pub mod check;
pub mod effect;
pub mod explore;
pub mod invariant;
pub mod page;
pub mod release;
pub mod retrieve;
pub mod send;
pub mod small;
pub mod step;
pub mod transition;
pub mod walk;
pub mod well_formed;
pub mod world;
