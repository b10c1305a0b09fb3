// SPDX-License-Identifier: MIT OR Apache-2.0
//! An executable reference model of FF-A memory management.
//!
//! [`step::step`] takes a world, the core, a call and what the rules leave open, and gives the world after it and the
//! result. It is written from the rules (FEATURES, the cases S, F, H, T, DECISIONS 18–20 and 30) and
//! shares nothing with the firmware but the error codes. [`invariant::check`] holds of every world,
//! [`transition::check_step`] of every step; their ids are those of ABUSE-CASES 2.2.
//!
//! The order of checks is part of the ABI. It stands as one table per call: [`send::HEADER`], [`send::MEMORY`],
//! [`send::RECORD`]; [`send::FRAGMENT_OWNER`], [`send::FRAGMENT`], [`send::FRAGMENT_RECORD`]; [`retrieve::BUFFERS`],
//! then [`retrieve::HYPERVISOR`] or [`retrieve::BORROWER`]; [`retrieve::FRAGMENT`]; [`release::RELINQUISH`];
//! [`release::RECLAIM`].
//!
//! To drive the real core beside it: encode a [`call::Call`] for the caller's version, keep a map from the model's
//! handles to the real ones, tell by [`call::Oracle`] when the core answered NO_MEMORY or FFA_INTERRUPT, and compare
//! [`page::Page::map`] with the tables. What the bytes of a descriptor say wrongly is [`call::Shape::Bad`].
//! [`walk::letter`] makes random calls, [`small::calls`] and [`explore::explore`] all of a small world.
//!
//! # Where the rules leave a choice
//! - S1: without a TX buffer a send, FRAG_TX or relinquish is INVALID_PARAMETERS; T2: a retrieve or FRAG_RX without a
//!   free RX is BUSY, before the handle is looked at.
//! - S18 and S23, S24: DENIED. The normal world may name any id of its own that the SPMC knows.
//! - S24, A-42: a VM borrows only beside a partition, in a share, and only one does.
//! - S25: ABORTED for a partition that died; a VM that was destroyed is unknown (S21).
//! - S15 and S42 come before receivers, receivers before attributes, attributes before memory, memory before NO_MEMORY.
//! - S40: a share or a lend to many names the pages' own memory type; unspecified is DENIED there.
//! - S43: INVALID_PARAMETERS in a share; DENIED where the sender may not write.
//! - F2, TX2: pages do not change, and memory is not looked at, before the last fragment; its verdict then ends the
//!   transaction. A fragment of another caller, of another sender or after the end changes nothing.
//! - F3, F7: a bad fragment ends its transaction; one without memory does not (every injected NO_MEMORY changes
//!   nothing) and may come again.
//! - F6: reclaim frees an incomplete transaction; it is the sender's only way to give it up without an error.
//! - F8: an incomplete transaction counts in its sender's quota, and all of the normal world is one sender.
//! - F11: only the next offset is accepted, no repeat.
//! - T1, H1, H3: whoever is not a borrower gets the answer for an unknown handle; an incomplete transaction (T13) too.
//!   T20 and T24 say DENIED for reclaim and for the hypervisor's form, which does tell that the handle lives.
//! - T6: instruction access is given only for a donation or one borrower's lend; unspecified data access is what was
//!   granted, unspecified instruction access is never X.
//! - T5, O5: X only where the sender's own mapping had it, of secure memory, without W.
//! - a memory type in a retrieve, if given, is the memory's own.
//! - T8: zeroing that the lender asked for is done at the first retrieve, not at the send: a reclaim before it finds
//!   the data. The borrower's flag without the lender's is INVALID_PARAMETERS, not by the first writer DENIED.
//! - T9: zeroing after relinquish waits for the last borrower, so that others' data stays. The flag with a share or a
//!   donation is INVALID_PARAMETERS.
//! - T11: the list is in the lender's order; S45: bypass with one borrower is INVALID_PARAMETERS.
//! - T12: one retrieve until relinquish, for every version.
//! - T16: not retrieved, or twice, is DENIED; a wrong endpoint or count INVALID_PARAMETERS.
//! - T19: relinquish before the last fragment of the description is fetched is INVALID_PARAMETERS.
//! - T22 against H2: a taken donation's record lives until its description is fetched to the end (DENIED until then);
//!   after that its handle is unknown.
//! - K7, A-60: a dead sender's borrowers keep the memory until they leave and nobody retrieves anew (ABORTED); the
//!   pages are wiped after the last. A dead borrower leaves everything; what it asked to have zeroed is.
//! - A destroyed VM leaves what it borrowed; what it lent is the hypervisor's to reclaim.
//! - A-58, DECISIONS 20: an interrupted zeroing changes nothing that the rules speak of; until the call is made again
//!   each page of it holds its data or zeroes. Send is never interrupted.
//! - Send, FRAG_TX and retrieve allocate, after every other check; relinquish, reclaim, FRAG_RX and death never do.
//! - a lend of the normal world takes its mapping in the model, whether or not hardware enforces it.
//!
//! Not in the model: MEM_PERM_GET/SET (T25), DMA (O11), the bytes of descriptors, IPA that differ from PA,
//! restart of a dead partition.
#![forbid(unsafe_code)]

pub mod call;
pub mod case_world;
pub mod check;
pub mod effect;
pub mod explore;
pub mod invariant;
pub mod page;
pub mod release;
pub mod retrieve;
pub mod send;
pub mod small;
pub mod step;
pub mod transition;
pub mod walk;
pub mod well_formed;
pub mod world;
