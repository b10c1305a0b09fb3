// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a test ends, and the questions it asks of a reply.

use core::fmt;
use core::panic::Location;

use bulkhead_abi::{FfaError, Function};
use bulkhead_payload::{Reply, Text};

/// Why a test did not pass.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Something was not as it has to be.
    Failed {
        /// What.
        why: Text,
        /// Where the test asked for it.
        file: &'static str,
        /// Where the test asked for it.
        line: u32,
    },
    /// The machine or the configuration lacks what the test needs.
    Skipped {
        /// What.
        why: Text,
    },
}

/// What a half returns.
pub type TestResult<T = ()> = Result<T, Outcome>;

impl Outcome {
    /// A failure at the caller's place.
    #[track_caller]
    pub fn failed(arguments: fmt::Arguments<'_>) -> Self {
        let place = Location::caller();
        Self::Failed {
            why: Text::new(arguments),
            file: place.file(),
            line: place.line(),
        }
    }

    /// A skip.
    pub fn skipped(arguments: fmt::Arguments<'_>) -> Self {
        Self::Skipped {
            why: Text::new(arguments),
        }
    }
}

/// The reason, with the place of a failure.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { why, file, line } => write!(f, "{why} ({file}:{line})"),
            Self::Skipped { why } => write!(f, "{why}"),
        }
    }
}

/// Ends the half as failed.
#[macro_export]
macro_rules! fail {
    ($($argument:tt)*) => {
        return Err($crate::outcome::Outcome::failed(format_args!($($argument)*)))
    };
}

/// Ends the half as skipped.
#[macro_export]
macro_rules! skip {
    ($($argument:tt)*) => {
        return Err($crate::outcome::Outcome::skipped(format_args!($($argument)*)))
    };
}

/// Ends the half as failed unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($argument:tt)*) => {
        if !$condition {
            $crate::fail!($($argument)*);
        }
    };
}

/// Fails unless two values, printed in hexadecimal, are equal.
#[track_caller]
pub fn equal(what: &str, found: u64, expected: u64) -> TestResult {
    if found == expected {
        return Ok(());
    }
    Err(Outcome::failed(format_args!(
        "{what} is {found:#x}, not {expected:#x}"
    )))
}

/// Questions to a reply, each of which fails at its caller's place.
pub trait Verdict: Sized {
    /// FFA_ERROR with this status.
    #[track_caller]
    fn refused(self, error: FfaError) -> TestResult;
    /// FFA_ERROR with one of these.
    #[track_caller]
    fn refused_with_one_of(self, errors: &[FfaError]) -> TestResult;
    /// FFA_`function`, of either width.
    #[track_caller]
    fn returned(self, function: Function) -> TestResult<Self>;
    /// FFA_SUCCESS.
    #[track_caller]
    fn succeeded(self) -> TestResult<Self> {
        self.returned(Function::Success)
    }
    /// −1 in w0: SMCCC's NOT_SUPPORTED, PSCI's and that of FFA_VERSION.
    #[track_caller]
    fn not_supported_in_w0(self) -> TestResult;
}

impl Verdict for Reply {
    #[track_caller]
    fn refused(self, error: FfaError) -> TestResult {
        self.refused_with_one_of(&[error])
    }

    #[track_caller]
    fn refused_with_one_of(self, errors: &[FfaError]) -> TestResult {
        if errors.iter().any(|&error| self.is_error(error)) {
            return Ok(());
        }
        Err(Outcome::failed(format_args!(
            "returned {self}, not {errors:?}"
        )))
    }

    #[track_caller]
    fn returned(self, function: Function) -> TestResult<Self> {
        if self.is(function) {
            return Ok(self);
        }
        Err(Outcome::failed(format_args!(
            "returned {self}, not {function}"
        )))
    }

    #[track_caller]
    fn not_supported_in_w0(self) -> TestResult {
        equal("w0", self.x(0) & 0xffff_ffff, 0xffff_ffff)
    }
}
