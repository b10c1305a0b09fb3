// SPDX-License-Identifier: MIT OR Apache-2.0
//! Translation tables of both stages, the pages that they are made of, and typed addresses.
//!
//! Nothing here touches hardware: tables are read and written through [`table::TableMemory`], and
//! what must be invalidated is said through [`tlb::Maintenance`].
//!
//! [`stage2::Stage2`], [`stage1::Stage1`] and [`el0::El0Stage1`] are formats over one engine: `plan`
//! checks a request and counts the tables that it takes before anything is written, `commit`
//! writes, and `tree` reads. [`pool`] hands out the pages, and keeps a record of each.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

#[cfg(all(feature = "testing", not(test)))]
extern crate std;

pub mod addr;
pub mod attrs;
mod commit;
pub mod el0;
pub mod ids;
pub mod owner;
mod plan;
pub mod pool;
mod radix;
pub mod stage1;
pub mod stage2;
pub mod table;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod tlb;
mod tree;

pub use plan::MapError;
pub use tree::{Mapping, Reshape};
