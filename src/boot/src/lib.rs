// SPDX-License-Identifier: MIT OR Apache-2.0
//! The firmware as a board makes it: what runs once, at boot, until the run loop (`bulkhead_spmc`).
//!
//! A board crate provides a [`Platform`] and calls [`board!`]. This crate is built for size, the other one, which
//! holds what runs for each call, for speed.
#![no_std]

#[cfg(target_arch = "aarch64")]
pub mod boot;
#[cfg(target_arch = "aarch64")]
mod cores;
#[cfg(target_arch = "aarch64")]
mod crash;
#[cfg(target_arch = "aarch64")]
mod devices;
#[cfg(target_arch = "aarch64")]
mod facts;
#[cfg(target_arch = "aarch64")]
mod fatal;
#[cfg(target_arch = "aarch64")]
mod load;
#[cfg(target_arch = "aarch64")]
mod partitions;
#[cfg(target_arch = "aarch64")]
pub mod platform;

#[cfg(target_arch = "aarch64")]
pub use bulkhead_arch::features::Allowed;
#[cfg(target_arch = "aarch64")]
pub use bulkhead_manifest::Range;
#[cfg(target_arch = "aarch64")]
pub use platform::{GicFrames, Platform, Reserved};
