// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts and timers: I, G17, G18, R10, R13, R14, K5 and C9 of the abuse cases, C-01 to C-20 and F-07 of the
//! features, in the configuration `interrupts`.
//!
//! The normal world raises the level-triggered interrupts of devices that partitions own, at any moment and from any
//! core; the partitions' handlers count what they get. Each event has to be delivered once.
//!
//! `seconds=N` on the command line is how long the clocks run together and how long the storm lasts, in seconds of the
//! machine's counter.

pub(crate) mod driver;

mod clocks;
mod device;
mod ending;
mod halves;
mod idle;
mod paravirtual;
mod routing;
mod scene;
mod storm;
mod switch;
mod timers;
mod waiting;
pub mod windows;

use crate::case::Case;
use crate::state;

/// The tables of the suite, in the order in which their tests run.
pub(crate) const FILES: &[&[Case]] = &[
    paravirtual::CASES,
    device::CASES,
    routing::CASES,
    waiting::CASES,
    timers::CASES,
    idle::CASES,
    switch::CASES,
    clocks::CASES,
    storm::CASES,
    ending::CASES,
    state::SUMMARY,
];

/// The table of a file of the suite: the names of its tests. The halves of all are [`halves::HALVES`].
macro_rules! cases_of_driver {
    ($($normal:ident;)*) => {
        /// The tests of this file.
        pub(crate) const CASES: &[$crate::case::Case] = &[$($crate::case::Case {
            name: stringify!($normal),
            normal: $normal,
            halves: $crate::interrupts::halves::HALVES,
        }),*];
    };
}
use cases_of_driver;
