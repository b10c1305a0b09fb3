// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of the engine as a whole. What one module does alone is tested beside it.

mod el0;
mod fixture;
mod mistakes;
mod model;
mod order;
mod owner;
mod shape;
mod soak;
mod stage1;
mod stage2;
mod suspend;
