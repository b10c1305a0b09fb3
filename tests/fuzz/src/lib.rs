// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fuzz targets. Each module's `run` takes any bytes and panics on a finding.
//!
//! `scripts/fuzz` runs them under libFuzzer (the wrappers are in `cargo-fuzz/`), and
//! `tests/seeds.rs` runs every input that once found something.

pub mod abi;
pub mod call;
pub mod devicetree;
pub mod input;
pub mod manifest;
pub mod memory;
pub mod package;
pub mod seeds;
pub mod storm;
pub mod transfer_list;
pub mod tree;

/// A target.
pub type Run = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Run); 7] = [
    ("tree", tree::run),
    ("manifest", manifest::run),
    ("package", package::run),
    ("transfer_list", transfer_list::run),
    ("call", call::run),
    ("abi", abi::run),
    ("memory", memory::run),
];
