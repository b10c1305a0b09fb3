// SPDX-License-Identifier: MIT OR Apache-2.0
//! The firmware: what ties the FF-A core to a machine.
//!
//! [`boot`] runs once and ends in the run loop, which takes turns between the core's
//! decisions and the world switch. A board crate provides a [`Platform`] and calls [`board!`].
#![no_std]

#[cfg(target_arch = "aarch64")]
mod arena;
#[cfg(target_arch = "aarch64")]
pub mod boot;
#[cfg(target_arch = "aarch64")]
pub mod console;
#[cfg(target_arch = "aarch64")]
mod cores;
#[cfg(target_arch = "aarch64")]
mod crash;
#[cfg(target_arch = "aarch64")]
mod devices;
#[cfg(target_arch = "aarch64")]
mod facts;
mod fatal;
#[cfg(target_arch = "aarch64")]
mod interrupts;
#[cfg(target_arch = "aarch64")]
mod load;
#[cfg(target_arch = "aarch64")]
mod logger;
#[cfg(target_arch = "aarch64")]
pub(crate) mod machine;
#[cfg(target_arch = "aarch64")]
mod memory;
#[cfg(target_arch = "aarch64")]
mod partitions;
#[cfg(target_arch = "aarch64")]
pub mod platform;
#[cfg(target_arch = "aarch64")]
mod run;
#[cfg(target_arch = "aarch64")]
mod space;

#[cfg(target_arch = "aarch64")]
pub use bulkhead_arch::features::Allowed;
#[cfg(target_arch = "aarch64")]
pub use bulkhead_manifest::Range;
#[cfg(target_arch = "aarch64")]
pub use platform::{GicFrames, Platform, Reserved};
