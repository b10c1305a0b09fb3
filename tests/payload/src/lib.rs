// SPDX-License-Identifier: MIT OR Apache-2.0
//! The runtime that Bulkhead's test payloads share: the partitions at S-EL1 and the normal world at
//! NS-EL2.
//!
//! A payload is a raw image that runs wherever it was loaded (4 KiB aligned), with the MMU off and
//! interrupts masked. Its binary crate names its main function with [`entry!`], passes the linker
//! script `image.ld` from its build script, and picks a [`console`].
//!
//! Payloads are not firmware: they exist to observe and to misbehave, so `unsafe` is at home here.
//! Rust code is compiled without FP/SIMD, so that a payload's FP state is only what
//! [`fp`] and [`sve`] put there.
#![no_std]

pub mod board;
pub mod boot_info;
pub mod call;
pub mod console;
pub mod cores;
pub mod counter;
pub mod devices;
pub mod entry;
pub mod exception;
pub mod exclusive;
pub mod fp;
pub mod generated;
pub mod gic;
pub mod lower;
pub mod memory;
pub mod panic;
pub mod paravirtual;
pub mod psci;
pub mod request;
pub mod second_core;
pub mod stage1;
pub mod sve;
pub mod system_register;
pub mod text;
pub mod timers;
pub mod virtual_interrupts;

pub use call::{Conduit, call};
pub use entry::EntryState;
pub use request::{Canary, Reply, Request};
pub use text::Text;
