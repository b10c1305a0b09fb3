// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every call in every runtime model, with and without a virtual interrupt pending, and with and without an
//! interrupt that was not deactivated: R9 of the abuse cases, with G16, G17, R10 and R15.
//!
//! [`TABLE`] says for each cell what becomes of the call. A cell brings a context of the real core into the
//! model, has it make the call, and compares: what the caller or whoever called it gets, who runs next and in
//! which model, the state of the caller, and what is left of its interrupts. Then everybody finishes, and the
//! caller answers another request if it still can.
//!
//! Cells that do not exist:
//! - A request of the SPMD about power, in which A-73 allows neither requests nor FFA_RUN nor FFA_YIELD:
//!   Bulkhead answers those itself.
//! - FFA_RUN that lets a context go on which was preempted: a chain that was preempted is the normal
//!   world's, and a partition gets DENIED for it as for one that waits (R7, C4). The one that it interrupted goes
//!   on when it waits.

#[path = "runtime_models/cell.rs"]
mod cell;

use bulkhead_abi::{EndpointId, FfaError, Function, Registers};
use bulkhead_core::runtime_model::{self, TRANSITIONS, Transition, Verdict};
use bulkhead_sim::*;

use cell::message;

const NWD: EndpointId = EndpointId(0);
const BETA: EndpointId = EndpointId(0x8001);
const GAMMA: EndpointId = EndpointId(0x8002);
/// The caller; its index is 2.
const ALPHA: EndpointId = EndpointId(0x8003);
const NOBODY: EndpointId = EndpointId(0x8077);

/// First word of a request to answer it, and of the answer.
const ANSWER: u64 = 7;

/// How alpha came to run, which gives its runtime model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Begin {
    /// RTM_SP_INIT, at boot.
    Init,
    /// RTM_FFA_RUN.
    Run,
    /// RTM_FFA_DIR_REQ, by FFA_MSG_SEND_DIRECT_REQ of the normal world.
    Request,
    /// RTM_FFA_DIR_REQ, by FFA_MSG_SEND_DIRECT_REQ2.
    Request2,
    /// RTM_SEC_INTERRUPT, while the normal world ran.
    Interrupt,
    /// RTM_SEC_INTERRUPT, while gamma ran.
    InterruptOfGamma,
    /// RTM_FFA_DIR_REQ: it was entered for an interrupt while it awaited beta's answer (C-09).
    Awaiting,
}

/// What is pending for alpha when it makes the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Virq {
    None,
    /// The notification pending interrupt, for which nobody is entered who waits: as with none.
    Notification,
    /// An interrupt of its device.
    Device,
}

/// The calls, in the order of the columns of [`TABLE`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Call {
    Of(Transition),
    /// FFA_RUN of beta, which waits for requests, or is the one that alpha awaits.
    RunBeta,
    /// FFA_RUN of gamma, which waits for requests, or was interrupted.
    RunGamma,
}

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// Alpha goes on with DENIED.
    Denied,
    /// Alpha goes on with INVALID_PARAMETERS: the model allows the call.
    Invalid,
    /// Alpha goes on with FFA_SUCCESS.
    Success,
    /// Beta runs with the request, and then alpha with the answer.
    Callee,
    /// Alpha waits, what it owes has ended, and whoever gave it the core has that with the call as the answer.
    Back,
    /// The same, but first alpha is entered in RTM_SEC_INTERRUPT for what is pending.
    Again,
    /// Alpha is preempted, the normal world gets FFA_YIELD, and by FFA_RUN alpha goes on with FFA_SUCCESS.
    Yields,
    /// Alpha ends, and whoever gave it the core has that with ABORTED.
    Ends,
    /// Beta goes on where it was, and alpha awaits it.
    Resumes,
    /// The same, but first alpha is entered for what is pending, still awaiting beta.
    Unblocked,
    /// Beta goes on where it was; alpha has ended, and the normal world gets ABORTED after that.
    EndsAwaited,
}

const CALLS: [Call; 11] = {
    let [req, req2, resp, resp2, run, wait, yields, error, abort] = TRANSITIONS;
    [
        Call::Of(req),
        Call::Of(req2),
        Call::Of(resp),
        Call::Of(resp2),
        Call::RunBeta,
        Call::RunGamma,
        Call::Of(run),
        Call::Of(wait),
        Call::Of(yields),
        Call::Of(error),
        Call::Of(abort),
    ]
};

/// How alpha runs, whether something is pending for which a context that waits is entered, whether it owes a
/// deactivation, and what becomes of each call.
///
/// Who awaits an answer may owe a deactivation since before it asked, so it may let beta go on all the same; what
/// it owes ends with its answer.
type Row = (Begin, bool, bool, [Outcome; 11]);

#[rustfmt::skip]
static TABLE: [Row; 28] = {
    use Begin::{Awaiting, Init, Interrupt, InterruptOfGamma, Request, Request2, Run};
    use Outcome::{
        Again as G, Back as B, Callee as C, Denied as D, Ends as E, EndsAwaited as L, Invalid as I,
        Resumes as R, Success as S, Unblocked as U, Yields as Y,
    };
    //                 pending owes  REQ REQ2 RESP RESP2 RUN of    WAIT YLD ERR ABT
    //                                              beta gamma nobody
    [
        (Init,             false, false, [C, C,  D, D,  D, D, D,  B, D,  E, E]),
        (Init,             false, true,  [C, C,  D, D,  D, D, D,  B, D,  E, E]),
        (Init,             true,  false, [C, C,  D, D,  D, D, D,  G, D,  E, E]),
        (Init,             true,  true,  [C, C,  D, D,  D, D, D,  G, D,  E, E]),
        (Run,              false, false, [C, C,  D, D,  D, D, I,  B, Y,  D, E]),
        (Run,              false, true,  [C, C,  D, D,  D, D, I,  B, Y,  D, E]),
        (Run,              true,  false, [C, C,  D, D,  D, D, I,  G, Y,  D, E]),
        (Run,              true,  true,  [C, C,  D, D,  D, D, I,  G, Y,  D, E]),
        (Request,          false, false, [C, C,  B, D,  D, D, I,  D, Y,  D, E]),
        (Request,          false, true,  [C, C,  B, D,  D, D, I,  D, Y,  D, E]),
        (Request,          true,  false, [C, C,  G, D,  D, D, I,  D, Y,  D, E]),
        (Request,          true,  true,  [C, C,  G, D,  D, D, I,  D, Y,  D, E]),
        (Request2,         false, false, [C, C,  D, B,  D, D, I,  D, Y,  D, E]),
        (Request2,         false, true,  [C, C,  D, B,  D, D, I,  D, Y,  D, E]),
        (Request2,         true,  false, [C, C,  D, G,  D, D, I,  D, Y,  D, E]),
        (Request2,         true,  true,  [C, C,  D, G,  D, D, I,  D, Y,  D, E]),
        (Interrupt,        false, false, [C, C,  D, D,  D, D, I,  B, S,  D, E]),
        (Interrupt,        false, true,  [C, C,  D, D,  D, D, I,  D, S,  D, E]),
        (Interrupt,        true,  false, [C, C,  D, D,  D, D, I,  G, S,  D, E]),
        (Interrupt,        true,  true,  [C, C,  D, D,  D, D, I,  D, S,  D, E]),
        (InterruptOfGamma, false, false, [C, C,  D, D,  D, D, I,  B, S,  D, E]),
        (InterruptOfGamma, false, true,  [C, C,  D, D,  D, D, I,  D, S,  D, E]),
        (InterruptOfGamma, true,  false, [C, C,  D, D,  D, D, I,  G, S,  D, E]),
        (InterruptOfGamma, true,  true,  [C, C,  D, D,  D, D, I,  D, S,  D, E]),
        (Awaiting,         false, false, [D, D,  D, D,  R, D, I,  D, Y,  D, L]),
        (Awaiting,         false, true,  [D, D,  D, D,  R, D, I,  D, Y,  D, L]),
        (Awaiting,         true,  false, [D, D,  D, D,  U, D, I,  D, Y,  D, L]),
        (Awaiting,         true,  true,  [D, D,  D, D,  U, D, I,  D, Y,  D, L]),
    ]
};

#[derive(Clone, Copy, Debug)]
struct Cell {
    begin: Begin,
    virq: Virq,
    owes: bool,
    call: Call,
}

impl Cell {
    fn outcome(self) -> Outcome {
        let wakes = self.virq == Virq::Device;
        let row = TABLE
            .iter()
            .find(|row| (row.0, row.1, row.2) == (self.begin, wakes, self.owes));
        let column = CALLS.iter().position(|call| *call == self.call);
        row.expect("a row").3[column.expect("a column")]
    }

    /// The call: right in every respect but for the model.
    fn registers(self) -> Registers {
        // One that waits: a receiver that does not is BUSY before the model is asked (G10).
        let receiver = match self.begin {
            Begin::Awaiting => GAMMA,
            _ => BETA,
        };
        match self.call {
            Call::RunBeta => run(BETA, 0),
            Call::RunGamma => run(GAMMA, 0),
            Call::Of(Transition::Request) => {
                message(Function::MsgSendDirectReq, ALPHA, receiver, ANSWER)
            }
            Call::Of(Transition::Request2) => {
                message(Function::MsgSendDirectReq2, ALPHA, receiver, ANSWER)
            }
            Call::Of(Transition::Response) => {
                message(Function::MsgSendDirectResp, ALPHA, NWD, ANSWER)
            }
            Call::Of(Transition::Response2) => {
                message(Function::MsgSendDirectResp2, ALPHA, NWD, ANSWER)
            }
            // That there is none is found out after the model is asked.
            Call::Of(Transition::Run) => run(NOBODY, 0),
            Call::Of(Transition::Wait) => ffa(Function::MsgWait, [0; 4]),
            Call::Of(Transition::Yield) => ffa(Function::Yield, [0, 1, 0, 0]),
            Call::Of(Transition::Error) => {
                ffa(Function::Error, [0, FfaError::NoMemory.to_register(), 0, 0])
            }
            Call::Of(Transition::Abort) => ffa(Function::Abort, [0; 4]),
        }
    }
}

#[test]
fn r9_every_call_in_every_model_does_what_the_table_says() {
    const BEGINS: usize = 7;
    let mut cells = 0;
    for (begin, wakes, owes, _) in TABLE {
        let virqs = match wakes {
            true => vec![Virq::Device],
            false => vec![Virq::None, Virq::Notification],
        };
        for virq in virqs {
            for call in CALLS {
                let cell = Cell {
                    begin,
                    virq,
                    owes,
                    call,
                };
                eprintln!("{cell:?}: {:?}", cell.outcome());
                cell.check();
                cells += 1;
            }
        }
    }
    // Each way to run, nothing or one of two interrupts pending, a deactivation owed or not, each call.
    assert_eq!(cells, BEGINS * 3 * 2 * CALLS.len());
}

#[test]
fn r9_the_rows_of_the_table_are_all_there_are() {
    for (index, row) in TABLE.iter().enumerate() {
        let key = |row: &Row| (row.0, row.1, row.2);
        assert!(!TABLE[..index].iter().any(|other| key(other) == key(row)));
    }
}

/// The core's own table, without interrupts and but for the call's own checks.
#[test]
fn r9_the_core_denies_by_its_table_what_this_one_denies() {
    let models = [Begin::Init, Begin::Run, Begin::Request, Begin::Interrupt];
    for (begin, row) in models.into_iter().zip(&runtime_model::TABLE) {
        for (call, verdict) in TRANSITIONS.into_iter().zip(row.verdicts) {
            let begin = match (begin, call) {
                // It is the answer to a request of its own form.
                (Begin::Request, Transition::Response2) => Begin::Request2,
                _ => begin,
            };
            let cell = Cell {
                begin,
                virq: Virq::None,
                owes: false,
                call: Call::Of(call),
            };
            let denied = cell.outcome() == Outcome::Denied;
            assert_eq!(denied, verdict == Verdict::Denied, "{} {call:?}", row.name);
        }
    }
}
