// SPDX-License-Identifier: MIT OR Apache-2.0
//! The FF-A state machine of Bulkhead: partitions, execution contexts and the rules of each call.
//!
//! The crate is sans-IO. [`Spmc::handle`] takes what reached S-EL2 as an [`Event`], edits the
//! registers of the caller in place, and says what the core does next as an [`Action`]; everything
//! that it needs of the machine goes through the [`Hardware`] trait. The same code runs in the
//! firmware and, under `tests/sim`, on a host.
//!
//! The modules carry the names of FF-A's chapters: [`setup`], [`direct`], [`schedule`],
//! [`runtime_model`]. [`dispatch`] holds the table of calls that the README's coverage is made of.
#![cfg_attr(not(any(test, feature = "shuttle")), no_std)]
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

pub mod console;
mod cycles;
pub mod declared;
pub mod device;
pub mod direct;
pub mod discovery;
pub mod dispatch;
pub mod event;
pub mod fault;
pub mod few;
pub mod framework;
pub mod hardware;
pub mod indirect;
pub mod interrupt;
mod line;
pub mod mailbox;
pub mod normal_world;
pub mod notify;
mod ns_resources;
mod page_permissions;
pub mod partition;
pub mod power;
pub mod queue;
pub mod region;
pub mod runtime_model;
pub mod rxtx;
pub mod schedule;
pub mod setup;
pub mod share;
pub mod spmc;
mod spmd;
mod spmd_lp;
pub mod sync;
pub mod system_state;
mod timer;
pub mod trap;
pub mod vcpu;
mod version;
pub mod virtual_interrupt;

pub use event::{Action, Event};
pub use hardware::{Hardware, VcpuContext};
pub use partition::{Partition, PartitionConfig};
pub use region::{Region, RegionKind, Reserved};
pub use spmc::{CoreState, Spmc, SpmcConfig};
