// SPDX-License-Identifier: MIT OR Apache-2.0
//! The core's memory sharing beside the reference model: the same calls to both, and after each of them the
//! answers, the tables, the owners and the contents of all pages are compared.
#![forbid(unsafe_code)]

pub mod edges;
mod encode;
mod machine;
mod outcome;
pub mod pair;
mod real;
mod tables;
pub mod walk;
