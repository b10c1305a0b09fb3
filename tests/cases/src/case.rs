// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a test is.

use crate::normal_world::NormalWorld;
use crate::outcome::TestResult;
use crate::partition_world::PartitionWorld;

/// The half that runs in the normal world, and decides.
pub type NormalHalf = fn(&mut NormalWorld) -> TestResult;

/// A half that runs in a partition when the normal world, or another half, invokes it: three arguments,
/// four results.
pub type PartitionHalf = fn(&mut PartitionWorld, [u64; 3]) -> TestResult<[u64; 4]>;

/// A test.
#[derive(Clone, Copy)]
pub struct Case {
    /// The case id of `reference/ABUSE-CASES.md` or the feature id of `reference/FEATURES.md`, and a
    /// sentence.
    pub name: &'static str,
    /// The normal world's half.
    pub normal: NormalHalf,
    /// The partitions' halves, by their number.
    pub halves: &'static [PartitionHalf],
}

/// The table of a file: `name;` for a test with one half in the normal world, `name: [half, …];` for
/// one with halves in partitions. The name is that of the normal world's half.
#[macro_export]
macro_rules! cases {
    ($($normal:ident $(: [$($half:path),* $(,)?])?;)*) => {
        /// The tests of this file.
        pub(crate) const CASES: &[$crate::case::Case] = &[$($crate::case::Case {
            name: stringify!($normal),
            normal: $normal,
            halves: &[$($($half),*)?],
        }),*];
    };
}
