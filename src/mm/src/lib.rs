// SPDX-License-Identifier: MIT OR Apache-2.0
//! Translation tables of both stages, the pages that they are made of, and typed addresses.
//!
//! Nothing here touches hardware: tables are read and written through [`table::TableMemory`], and
//! what must be invalidated is said through [`tlb::Maintenance`].
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

pub mod addr;
pub mod attrs;
