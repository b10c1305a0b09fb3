// SPDX-License-Identifier: MIT OR Apache-2.0
//! What ties the FF-A core to a machine: the core's hardware in registers and tables, the run loop, which takes
//! turns between the core's decisions and the world switch, and the console.
#![no_std]

#[cfg(target_arch = "aarch64")]
pub mod arena;
#[cfg(target_arch = "aarch64")]
pub mod console;
#[cfg(target_arch = "aarch64")]
pub mod interrupts;
#[cfg(target_arch = "aarch64")]
pub mod logger;
#[cfg(target_arch = "aarch64")]
pub mod machine;
#[cfg(target_arch = "aarch64")]
pub mod memory;
#[cfg(target_arch = "aarch64")]
pub mod run;
#[cfg(target_arch = "aarch64")]
pub mod space;
