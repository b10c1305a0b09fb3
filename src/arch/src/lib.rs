// SPDX-License-Identifier: MIT OR Apache-2.0
//! The aarch64 layer of Bulkhead: everything that takes an instruction Rust does not have.
//!
//! Its verbs are few: [`switch::Cpu::enter`] a context, [`conduit::smc`] to EL3, copies that recover
//! from faults ([`copy`]), maintenance of TLBs and caches, the interrupt controller and the timer.
//! It knows registers and no FF-A. On a host only what is pure
//! is there: [`syndrome`], and [`gicv3`] as far as it is registers in memory.
#![cfg_attr(not(test), no_std)]

#[cfg(target_arch = "aarch64")]
pub mod address;
#[cfg(target_arch = "aarch64")]
pub mod cache;
#[cfg(target_arch = "aarch64")]
pub mod conduit;
#[cfg(target_arch = "aarch64")]
pub mod context;
#[cfg(target_arch = "aarch64")]
pub mod copy;
#[cfg(target_arch = "aarch64")]
pub mod entropy;
#[cfg(target_arch = "aarch64")]
pub mod entry;
#[cfg(target_arch = "aarch64")]
pub mod features;
#[cfg(target_arch = "aarch64")]
pub mod fp;
pub mod gicv3;
#[cfg(target_arch = "aarch64")]
pub mod id_registers;
pub mod layout;
#[cfg(target_arch = "aarch64")]
pub mod map;
pub mod mmio;
#[cfg(target_arch = "aarch64")]
pub mod percore;
pub mod pstate;
#[cfg(target_arch = "aarch64")]
pub mod refuse;
#[cfg(target_arch = "aarch64")]
pub mod switch;
pub mod syndrome;
#[cfg(target_arch = "aarch64")]
pub mod sysreg;
#[cfg(target_arch = "aarch64")]
pub mod tables;
#[cfg(target_arch = "aarch64")]
pub mod timer;
#[cfg(target_arch = "aarch64")]
pub mod vectors;
#[cfg(target_arch = "aarch64")]
pub mod wait;
