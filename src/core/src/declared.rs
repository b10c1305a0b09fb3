// SPDX-License-Identifier: MIT OR Apache-2.0
//! The error codes that a call can end with: each row of [`CALLS`](crate::dispatch::CALLS) declares them.
//!
//! One that is not declared fails every test: the feature `checked`, which test machines set, makes it a
//! panic. A debug firmware logs it; a release does not look.

use bulkhead_abi::FfaError;

use crate::dispatch::Row;

/// A set of error codes: bit n is code -n.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errors(u16);

impl Errors {
    /// The set of these.
    pub const fn of(mut errors: &[FfaError]) -> Self {
        let mut bits = 0;
        while let [error, rest @ ..] = errors {
            bits |= Self::bit(*error);
            errors = rest;
        }
        Self(bits)
    }

    const fn bit(error: FfaError) -> u16 {
        1_u16.wrapping_shl(error.code().unsigned_abs())
    }

    /// Whether `error` is one of them.
    pub const fn contains(self, error: FfaError) -> bool {
        self.0 & Self::bit(error) != 0
    }

    /// All of them, -1 first.
    pub fn iter(self) -> impl Iterator<Item = FfaError> {
        let codes = (i32::from(i8::MIN)..0).rev();
        codes
            .filter_map(FfaError::from_code)
            .filter(move |error| self.contains(*error))
    }
}

impl Row {
    /// The call ends with `error`, which has to be declared.
    #[inline]
    pub(crate) fn ends_with(&self, error: FfaError) {
        #[cfg(any(test, feature = "checked"))]
        assert!(
            self.errors.contains(error),
            "{} ends with {error:?}, which its row does not declare",
            self.function
        );
        if cfg!(debug_assertions) && !self.errors.contains(error) {
            let function = self.function;
            log::error!("{function} ends with {error:?}, which its row does not declare");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::CALLS;

    #[test]
    fn a_set_has_what_it_was_made_of() {
        for code in -10..=-1 {
            let error = FfaError::from_code(code).unwrap();
            let set = Errors::of(&[error, FfaError::Denied]);
            for other in (-10..=-1).filter_map(FfaError::from_code) {
                let is_in = other == error || other == FfaError::Denied;
                assert_eq!(set.contains(other), is_in);
            }
        }
        assert_eq!(Errors::of(&[]).iter().count(), 0);
        let set = Errors::of(&[FfaError::NotReady, FfaError::NotSupported]);
        let listed: Vec<_> = set.iter().collect();
        assert_eq!(listed, [FfaError::NotSupported, FfaError::NotReady]);
    }

    #[test]
    #[should_panic = "which its row does not declare"]
    fn an_error_that_is_not_declared_fails() {
        CALLS[0].ends_with(FfaError::NoData);
    }
}
