// SPDX-License-Identifier: MIT OR Apache-2.0
//! Wire formats of FF-A 1.0 to 1.3, SMCCC, PSCI and the paravirtual interrupt calls.
//!
//! Nothing in this crate has state or touches memory by itself: it turns register values and byte
//! slices into types and back. Whatever arrives from outside is decoded by functions that return
//! `Option` or `Result` and never panic:
//! - registers: [`function::decode`], [`reserved::check`], the `decode` of each call's type;
//! - a private copy of a TX buffer: [`memory::transaction::parse`], [`memory::Expected::take`],
//!   [`memory::relinquish::Relinquish::decode`], [`indirect::Header::decode`],
//!   [`rxtx::EndpointBuffers::decode`].
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

pub mod boot_info;
pub mod console;
pub mod cycles;
pub mod error;
pub mod features;
pub mod framework;
pub mod function;
pub mod id;
pub mod indirect;
pub mod memory;
pub mod notification;
pub mod ns_resources;
pub mod paravirt;
pub mod partition_info;
pub mod psci;
pub mod registers;
pub mod reserved;
pub mod rxtx;
pub mod uuid;
pub mod version;

pub use error::FfaError;
pub use function::{Call, Function, Width};
pub use id::{EndpointId, VcpuIndex, World};
pub use registers::{Extended, Registers};
pub use uuid::Uuid;
pub use version::Version;
