// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rules as rows of a table: the order of rows is the order of checks, which callers see (bug class 38).

use bulkhead_abi::FfaError;

/// A rule of a call.
#[derive(Debug)]
pub struct Rule<C> {
    /// The id of its source.
    pub id: &'static str,
    /// What must hold, in words.
    pub text: &'static str,
    /// What a call ends with for which it does not hold.
    pub error: FfaError,
    holds: fn(&C) -> bool,
}

/// A row.
pub(crate) const fn row<C>(
    id: &'static str,
    text: &'static str,
    error: FfaError,
    holds: fn(&C) -> bool,
) -> Rule<C> {
    Rule {
        id,
        text,
        error,
        holds,
    }
}

/// The first rule that does not hold ends the call.
///
/// # Errors
/// That rule's.
pub(crate) fn check<C>(rules: &[Rule<C>], case: &C) -> Result<(), FfaError> {
    match rules.iter().find(|rule| !(rule.holds)(case)) {
        None => Ok(()),
        Some(rule) => Err(rule.error),
    }
}
