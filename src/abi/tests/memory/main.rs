// SPDX-License-Identifier: MIT OR Apache-2.0
//! Transaction descriptors of all versions: their shape (S1 to S17), fragments (F5, F12),
//! conversion between versions, and the `arm-ffa` crate as a second opinion.

mod arm_ffa_oracle;
mod fragments;
mod sample;
mod shape;
mod values;
