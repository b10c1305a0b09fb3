// SPDX-License-Identifier: MIT OR Apache-2.0
//! The named cases on the model.
mod bench;
mod fragments;
mod handles;
mod retrieve;
mod send;
