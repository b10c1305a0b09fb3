// SPDX-License-Identifier: MIT OR Apache-2.0
//! Manifests and packages: untrusted bytes in, checked and typed configuration out.
//!
//! Three documents reach the SPMC at boot: its own manifest ([`SpmcManifest`], B-40 to B-45), and for
//! each partition a package ([`package::Package`], B-50 and B-51) that holds a partition manifest
//! ([`SpManifest`], B-01 to B-26). Each is parsed once and completely; what comes back borrows the
//! bytes and offers iterators over what was checked, so nothing here allocates, has a build-time limit
//! on regions, UUIDs or partitions, or can fail after `parse` has returned. [`rules`] then checks a
//! partition against the SPMC manifest and the partitions that were accepted before it.
//!
//! Every refusal is a [`ManifestError`] whose text says what to write instead.
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

mod claims;
pub mod dt;
pub mod error;
mod ipa;
mod known;
pub mod package;
pub mod policy;
pub mod range;
pub mod region;
pub mod rules;
pub mod service;
pub mod sp;
pub mod spmc;

pub use error::{Document, ManifestError, NodePath, Rule};
pub use known::UnknownProperty;
pub use package::{ListError, Package, PackageError, PackageFormat};
pub use policy::{
    AbortAction, BootInfoWanted, ExceptionLevel, ExecutionState, LiveRegister, MessagingMethod,
    NsInterruptsAction, OtherSInterruptsAction, PowerMessages, SriPolicy, VmMessages, XlatGranule,
};
pub use range::Range;
pub use region::{
    DeviceInterrupt, DeviceRegion, InterruptTrigger, InterruptType, MemoryRegion, Placement,
    RegionAttributes,
};
pub use rules::{
    Accepted, PartitionLayout, Reserved, Warning, Warnings, check_package, check_partition,
};
pub use service::Service;
pub use sp::{LiveActivation, RxTxBuffers, SpManifest, VirtualInterruptController};
pub use spmc::{InterruptController, MemoryKind, Smmu, SpmcManifest, SpmcWarning, VmNode};
