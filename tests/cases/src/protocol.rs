// SPDX-License-Identifier: MIT OR Apache-2.0
//! What direct messages to a test partition mean.
//!
//! The payload of a direct message is five registers, x3–x7 (in FFA_MSG_SEND_DIRECT_REQ2 the first
//! five of its payload, x4–x8). A first register that is none of the [commands](command) makes the
//! message an echo: each register comes back inverted. Every command works in both widths, but
//! [`command::RUN_HALF`] loses the upper halves of its arguments and answers in 32-bit messages.

use bulkhead_abi::{EndpointId, Function, Width};
use bulkhead_payload::{Reply, Request, Text};

use crate::outcome::{Outcome, TestResult};

/// The payload of a direct message.
pub type Payload = [u64; 5];

/// The first register of a request.
pub mod command {
    /// Who are you? Answers with one of [`kind`](super::kind), the low half of
    /// [`FINGERPRINT`](crate::FINGERPRINT), the partition's id, its FF-A version and the index of the
    /// execution context.
    pub const HELLO: u64 = 0xb01d_0001;
    /// Runs a half: the case's index in bits 31:8 and the half's in bits 7:0 of the second register,
    /// then three arguments. Answers with one of [`status`](super::status) and four results.
    pub const RUN_HALF: u64 = 0xb01d_0002;
    /// Why did the last half fail? The offset in the second register; answers with
    /// [`status::OK`](super::status::OK) and 32 bytes of text.
    pub const REASON: u64 = 0xb01d_0003;
    /// Sends an echo to the partition in the second register, with the value in the third as its first
    /// register, in the width of this request. With bit 0 of the fourth set, sends one to warm up and
    /// then one in a bench window. Answers with the command, x0 of the answer, x2 of the answer if that is
    /// FFA_ERROR, and its x3.
    pub const FORWARD: u64 = 0xb01d_0004;
    /// Remembers the registers as they arrived, for a half to look at, and answers an echo whose upper
    /// halves are all ones, whatever the width.
    pub const CAPTURE: u64 = 0xb01d_0005;
}

/// The first register of the answer to [`command::HELLO`].
pub mod kind {
    /// The partition of the demo.
    pub const ECHO: u64 = 0xb01d_ec40;
    /// The partition that runs halves.
    pub const TESTER: u64 = 0xb01d_7e57;
}

/// The first register of the answer to [`command::RUN_HALF`].
pub mod status {
    /// The half returned the four results.
    pub const OK: u64 = 0xb01d_8000;
    /// It failed; [`command::REASON`](super::command::REASON) tells why.
    pub const FAILED: u64 = 0xb01d_8001;
    /// It lacks something; [`command::REASON`](super::command::REASON) tells what.
    pub const SKIPPED: u64 = 0xb01d_8002;
    /// There is no such half in this partition.
    pub const UNKNOWN: u64 = 0xb01d_8003;
}

/// The message that runs a half.
pub fn run_half(case: usize, half: usize, [a, b, c]: [u64; 3]) -> Payload {
    [command::RUN_HALF, (case << 8 | half) as u64, a, b, c]
}

/// What an echo answers.
pub fn echo(width: Width, payload: Payload) -> Payload {
    payload.map(|value| !value & width.mask())
}

/// The longest text of [`command::REASON`], in messages.
const REASON_MESSAGES: u64 = 8;

/// Someone who can call and run halves: the normal world, or a partition.
pub trait Caller {
    /// The caller's own id.
    fn id(&self) -> EndpointId;
    /// The case that runs.
    fn case(&self) -> usize;
    /// Makes a call and checks what holds for every call.
    fn call(&mut self, request: Request) -> Reply;

    /// An FF-A call in 32-bit form with arguments from w1 on.
    fn ffa<const N: usize>(&mut self, function: Function, arguments: [u64; N]) -> Reply {
        self.call(Request::ffa(function, Width::W32).with(arguments))
    }

    /// Sends a direct request.
    fn direct(&mut self, width: Width, to: EndpointId, payload: Payload) -> Reply {
        let request = Request::direct(width, self.id(), to, payload);
        self.call(request)
    }

    /// Runs half number `half` of the current case in the partition `to` and returns its results.
    ///
    /// # Errors
    /// The half's own outcome, or a failure if anything but an answer came back.
    #[track_caller]
    fn invoke(&mut self, to: EndpointId, half: usize, arguments: [u64; 3]) -> TestResult<[u64; 4]> {
        let payload = run_half(self.case(), half, arguments);
        let reply = self.direct(Width::W64, to, payload);
        self.results(to, &reply)
    }

    /// The results of a half from the reply to its request.
    ///
    /// # Errors
    /// As [`invoke`](Self::invoke).
    #[track_caller]
    fn results(&mut self, from: EndpointId, reply: &Reply) -> TestResult<[u64; 4]> {
        if !reply.is(Function::MsgSendDirectResp) {
            return Err(Outcome::failed(format_args!(
                "a half in {from} returned {reply}"
            )));
        }
        let [status, results @ ..] = reply.payload();
        match status {
            status::OK => Ok(results),
            status::FAILED => Err(Outcome::failed(format_args!(
                "in {from}: {}",
                reason(self, from)
            ))),
            status::SKIPPED => Err(Outcome::skipped(format_args!(
                "in {from}: {}",
                reason(self, from)
            ))),
            _ => Err(Outcome::failed(format_args!(
                "{from} does not run halves: {reply}"
            ))),
        }
    }
}

/// Fetches the reason of the last half's outcome from the partition that ran it.
fn reason(caller: &mut (impl Caller + ?Sized), from: EndpointId) -> Text {
    let mut bytes = [0; 32 * REASON_MESSAGES as usize];
    for (message, chunk) in (0..REASON_MESSAGES).zip(bytes.chunks_exact_mut(32)) {
        let reply = caller.direct(Width::W64, from, [command::REASON, 32 * message, 0, 0, 0]);
        if !reply.is(Function::MsgSendDirectResp) {
            break;
        }
        let [_, words @ ..] = reply.payload();
        for (to, word) in chunk.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
    }
    Text::from_ascii(bytes)
}
