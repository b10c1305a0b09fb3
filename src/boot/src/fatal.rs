// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why there is no SPMC.

use core::fmt;

use bulkhead_manifest::ManifestError;
use bulkhead_mm::MapError;
use bulkhead_spmc::arena::ArenaFull;

/// A reason for Bulkhead not to boot; the normal world boots without it (DECISIONS 17).
#[derive(Debug)]
pub enum Fatal {
    /// The SPMC manifest cannot be read.
    Unreadable(&'static str),
    /// The SPMC manifest breaks a rule.
    Manifest(ManifestError<'static>),
    /// The map cannot be made.
    Map(&'static str, MapError),
    /// Bulkhead's RAM does not suffice.
    Full(ArenaFull),
    /// The boot core is not among the manifest's.
    UnknownCore(u64),
    /// The cores lack what Bulkhead is built on.
    Cpu(&'static str),
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(why) => write!(f, "SPMC manifest: {why}"),
            Self::Manifest(error) => error.fmt(f),
            Self::Map(what, error) => write!(f, "{what} cannot be mapped: {error}"),
            Self::Full(error) => error.fmt(f),
            Self::UnknownCore(mpidr) => write!(
                f,
                "SPMC manifest: /cpus has no core with reg = <{mpidr:#x}>, the boot core: add it"
            ),
            Self::Cpu(what) => write!(f, "the core lacks {what}"),
        }
    }
}

impl From<ArenaFull> for Fatal {
    fn from(error: ArenaFull) -> Self {
        Self::Full(error)
    }
}
