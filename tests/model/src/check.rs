// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tables of checks: the first row that does not hold gives the error.
use crate::call::Oracle;
use crate::page::Domain;
use crate::world::{Mailbox, Party, World};
use bulkhead_abi::FfaError;

/// What a check looks at.
#[derive(Clone, Copy)]
pub struct Case<'a, R> {
    /// State.
    pub world: &'a World,
    /// Caller.
    pub from: Domain,
    /// Its request.
    pub call: &'a R,
    /// What is open.
    pub oracle: Oracle,
}

impl<R> Case<'_, R> {
    /// The caller's record.
    pub fn party(&self) -> Option<&Party> {
        self.world.parties.get(&self.from)
    }

    /// The caller's buffers.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        self.party()?.mailbox.as_ref()
    }

    /// Whether RX can take a message (T2).
    pub fn rx_is_free(&self) -> bool {
        self.mailbox().is_some_and(|mailbox| !mailbox.full)
    }
}

/// One row.
pub struct Check<R> {
    /// Case ids.
    pub id: &'static str,
    /// What holds, in a few words.
    pub rule: &'static str,
    /// The error if not.
    pub error: FfaError,
    /// Whether it holds.
    pub holds: for<'a> fn(&Case<'a, R>) -> bool,
}

/// A row.
pub const fn row<R>(
    id: &'static str,
    rule: &'static str,
    error: FfaError,
    holds: for<'a> fn(&Case<'a, R>) -> bool,
) -> Check<R> {
    Check {
        id,
        rule,
        error,
        holds,
    }
}

/// A mistake in the rules, to see that the invariants find it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mistake {
    /// The rows with this id are left out.
    Skip(&'static str),
    /// A lend leaves the lender's mapping.
    LenderKeepsMapping,
    /// Relinquish forgets the last page.
    RelinquishLeavesLastPage,
    /// Reclaim maps read-write whatever was before.
    ReclaimWidens,
    /// Nothing invalidates cached translations.
    NoInvalidation,
    /// A finished handle stays valid for the next transaction.
    NoGeneration,
    /// A dead partition's pages are not wiped.
    NoWipe,
    /// Borrowers' mappings are secure whatever the page is.
    SpaceFromEndpoint,
    /// A retrieve without memory leaves the first page mapped.
    NoRollback,
    /// Reclaim's zero flag covers the first page only.
    ZeroesFirstPage,
    /// A share is not remembered in its pages.
    HoldForgotten,
}

/// The rules, and at most one mistake in them.
#[derive(Clone, Copy, Default, Debug)]
pub struct Rules {
    /// What is wrong with them.
    pub mistake: Option<Mistake>,
}

impl Rules {
    /// Whether this mistake is made.
    pub fn makes(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// The errors of all rows of `table` that do not hold.
    pub fn refusals<R>(&self, table: &[Check<R>], case: &Case<R>) -> Vec<FfaError> {
        let broken = table.iter().filter(|check| !(check.holds)(case));
        broken.map(|check| check.error).collect()
    }

    /// The first row of `table` that does not hold.
    pub fn refusal<R>(&self, table: &[Check<R>], case: &Case<R>) -> Option<FfaError> {
        table
            .iter()
            .filter(|check| !self.makes(Mistake::Skip(check.id)))
            .find(|check| !(check.holds)(case))
            .map(|check| check.error)
    }
}
