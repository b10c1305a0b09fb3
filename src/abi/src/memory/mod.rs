// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory management: descriptors of the versions 1.0 to 1.3 and the registers of their calls
//!
//!
//! Layouts: Hafnium's `inc/vmapi/hf/ffa.h` and `inc/hf/ffa_v1_0.h`, Linux' `include/linux/arm_ffa.h`
//! and the `arm-ffa` crate.

pub mod composite;
pub mod malformed;

pub use composite::{Constituent, Constituents, Expected};
pub use malformed::Malformed;
