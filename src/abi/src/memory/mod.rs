// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory management: descriptors of FF-A 1.0 to 1.3 and the registers of its calls.
//!
//! Untrusted bytes enter by [`transaction::parse`], by [`Expected::take`] for the fragments after the
//! first, and by [`relinquish::Relinquish::decode`].
//! [`encode::encode_for`] writes a descriptor for a reader of another version.
//!
//! Layouts: Hafnium's `inc/vmapi/hf/ffa.h` and `inc/hf/ffa_v1_0.h`, TF-A's
//! `services/std_svc/spm/el3_spmc/spmc_shared_mem.h`, Linux' `include/linux/arm_ffa.h` and the
//! `arm-ffa` crate.

pub mod attributes;
pub mod composite;
pub mod encode;
pub mod handle;
pub mod malformed;
pub mod registers;
pub mod relinquish;
pub mod transaction;
pub mod version;

pub use attributes::{Attributes, Flags, Kind, Permissions};
pub use composite::{Constituent, Constituents, Expected, PAGE_SIZE};
pub use handle::Handle;
pub use malformed::Malformed;
pub use transaction::Transaction;
pub use version::{Header, Receiver};
