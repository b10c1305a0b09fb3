// SPDX-License-Identifier: MIT OR Apache-2.0
//! Partition runtime models: which call an execution context may make, by how it came to run
//!

use bulkhead_abi::EndpointId;
use bulkhead_abi::framework::Message;

/// How an execution context came to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuntimeModel {
    /// RTM_SP_INIT: the context initialises itself.
    Init,
    /// RTM_FFA_RUN: given cycles by FFA_RUN.
    Run,
    /// RTM_FFA_DIR_REQ: handles a direct request.
    DirectRequest {
        /// Who awaits the response.
        origin: EndpointId,
        /// The form of the request, which the response must have too.
        form: DirectForm,
        /// The framework request that it is, if it is no partition message.
        framework: Option<Message>,
    },
    /// RTM_SEC_INTERRUPT: handles a secure interrupt.
    SecureInterrupt,
}

/// The two forms of direct messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DirectForm {
    /// FFA_MSG_SEND_DIRECT_REQ and _RESP: five payload registers.
    One,
    /// FFA_MSG_SEND_DIRECT_REQ2 and _RESP2: a service UUID and fourteen payload registers.
    Two,
}

/// A call that moves an execution context between states.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transition {
    /// FFA_MSG_SEND_DIRECT_REQ.
    Request,
    /// FFA_MSG_SEND_DIRECT_REQ2.
    Request2,
    /// FFA_MSG_SEND_DIRECT_RESP.
    Response,
    /// FFA_MSG_SEND_DIRECT_RESP2.
    Response2,
    /// FFA_RUN.
    Run,
    /// FFA_MSG_WAIT.
    Wait,
    /// FFA_YIELD.
    Yield,
    /// FFA_ERROR.
    Error,
    /// FFA_ABORT.
    Abort,
}

/// What the table says of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The call may go on to its own checks.
    Allowed,
    /// The call ends with DENIED.
    Denied,
}

/// All transitions, in the order of the columns of [`TABLE`].
pub const TRANSITIONS: [Transition; 9] = [
    Transition::Request,
    Transition::Request2,
    Transition::Response,
    Transition::Response2,
    Transition::Run,
    Transition::Wait,
    Transition::Yield,
    Transition::Error,
    Transition::Abort,
];

/// A row of [`TABLE`].
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The model's name in the specification.
    pub name: &'static str,
    /// One verdict for each of [`TRANSITIONS`].
    pub verdicts: [Verdict; 9],
}

const A: Verdict = Verdict::Allowed;
const D: Verdict = Verdict::Denied;

/// The rules, one row for each runtime model. The code, the tests and the README read this table.
pub static TABLE: [Row; 4] = [
    //                                        REQ REQ2 RSP RSP2 RUN WAIT YLD ERR ABORT
    Row {
        name: "RTM_SP_INIT",
        verdicts: [A, A, D, D, D, A, D, A, A],
    },
    Row {
        name: "RTM_FFA_RUN",
        verdicts: [A, A, D, D, A, A, A, D, A],
    },
    Row {
        name: "RTM_FFA_DIR_REQ",
        verdicts: [A, A, A, A, A, D, A, D, A],
    },
    Row {
        name: "RTM_SEC_INTERRUPT",
        verdicts: [A, A, D, D, A, A, A, D, A],
    },
];

impl RuntimeModel {
    /// The model's row of [`TABLE`].
    pub fn row(self) -> &'static Row {
        let [init, run, request, interrupt] = &TABLE;
        match self {
            Self::Init => init,
            Self::Run => run,
            Self::DirectRequest { .. } => request,
            Self::SecureInterrupt => interrupt,
        }
    }

    /// Whether a context in this model may make `call`.
    ///
    /// A response must also have the form of its request (G16).
    pub fn permits(self, call: Transition) -> Verdict {
        let [
            request,
            request2,
            response,
            response2,
            run,
            wait,
            yields,
            error,
            abort,
        ] = self.row().verdicts;
        let verdict = match call {
            Transition::Request => request,
            Transition::Request2 => request2,
            Transition::Response => response,
            Transition::Response2 => response2,
            Transition::Run => run,
            Transition::Wait => wait,
            Transition::Yield => yields,
            Transition::Error => error,
            Transition::Abort => abort,
        };
        match (self, call) {
            (
                Self::DirectRequest {
                    form: DirectForm::One,
                    ..
                },
                Transition::Response2,
            )
            | (
                Self::DirectRequest {
                    form: DirectForm::Two,
                    ..
                },
                Transition::Response,
            ) => Verdict::Denied,
            _ => verdict,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: EndpointId = EndpointId(0);

    fn allowed(model: RuntimeModel) -> Vec<Transition> {
        TRANSITIONS
            .into_iter()
            .filter(|call| model.permits(*call) == Verdict::Allowed)
            .collect()
    }

    #[test]
    fn a71_init_may_wait_request_fail_and_abort() {
        use Transition::*;
        assert_eq!(
            allowed(RuntimeModel::Init),
            [Request, Request2, Wait, Error, Abort]
        );
    }

    #[test]
    fn a72_run_may_not_respond() {
        use Transition::*;
        assert_eq!(
            allowed(RuntimeModel::Run),
            [Request, Request2, Run, Wait, Yield, Abort]
        );
    }

    #[test]
    fn a73_a_request_is_answered_in_its_own_form_and_not_by_waiting() {
        use Transition::*;
        let one = RuntimeModel::DirectRequest {
            origin: ORIGIN,
            form: DirectForm::One,
            framework: None,
        };
        assert_eq!(
            allowed(one),
            [Request, Request2, Response, Run, Yield, Abort]
        );
        let two = RuntimeModel::DirectRequest {
            origin: ORIGIN,
            form: DirectForm::Two,
            framework: None,
        };
        assert_eq!(
            allowed(two),
            [Request, Request2, Response2, Run, Yield, Abort]
        );
    }

    #[test]
    fn a74_an_interrupt_handler_may_not_respond() {
        use Transition::*;
        assert_eq!(
            allowed(RuntimeModel::SecureInterrupt),
            [Request, Request2, Run, Wait, Yield, Abort]
        );
    }
}
