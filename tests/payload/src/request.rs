// SPDX-License-Identifier: MIT OR Apache-2.0
//! A call with canaries in every register that is not an argument, and what came back.

use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

use bulkhead_abi::function::{self, Call};
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Width};

use crate::call::{Conduit, call};
use crate::entry::{ExceptionLevel, exception_level};

/// The arguments of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// x0–x17.
    pub x: [u64; 18],
    /// How many of them are arguments: 8, or 18 for the calls with more. Canaries go in the others.
    pub arguments: usize,
}

impl Request {
    /// A call with any function id and arguments zero.
    pub const fn new(id: u64) -> Self {
        let mut x = [0; 18];
        x[0] = id;
        Self { x, arguments: 8 }
    }

    /// An FF-A call with arguments zero.
    pub const fn ffa(function: Function, width: Width) -> Self {
        let mut request = Self::new(function.id(width));
        request.arguments = match (function, width) {
            (
                Function::MsgSendDirectReq2
                | Function::MsgSendDirectResp2
                | Function::NotificationBind2
                | Function::NotificationUnbind2
                | Function::NotificationSet2
                | Function::NotificationGet2,
                _,
            )
            | (Function::ConsoleLog, Width::W64) => 18,
            _ => 8,
        };
        request
    }

    /// Sets x1 and following.
    pub const fn with<const N: usize>(mut self, arguments: [u64; N]) -> Self {
        let mut index = 0;
        while index < N {
            self.x[index + 1] = arguments[index];
            index += 1;
        }
        self
    }

    /// FFA_MSG_SEND_DIRECT_REQ with x3–x7.
    pub fn direct(width: Width, from: EndpointId, to: EndpointId, payload: [u64; 5]) -> Self {
        Self::message(Function::MsgSendDirectReq, width, from, to, payload)
    }

    /// FFA_MSG_SEND_DIRECT_RESP with x3–x7.
    pub fn response(width: Width, from: EndpointId, to: EndpointId, payload: [u64; 5]) -> Self {
        Self::message(Function::MsgSendDirectResp, width, from, to, payload)
    }

    fn message(
        function: Function,
        width: Width,
        from: EndpointId,
        to: EndpointId,
        payload: [u64; 5],
    ) -> Self {
        let [x3, x4, x5, x6, x7] = payload;
        Self::ffa(function, width).with([EndpointId::pair(from, to), 0, x3, x4, x5, x6, x7])
    }

    /// FFA_RUN of an execution context.
    pub fn run(target: EndpointId, context: u16) -> Self {
        Self::ffa(Function::Run, Width::W32).with([u64::from(target.0) << 16 | u64::from(context)])
    }

    /// Makes the call.
    pub fn issue(self, conduit: Conduit, canary: Canary) -> Reply {
        let mut sent = Registers::ZERO;
        for (index, register) in sent.x.iter_mut().enumerate() {
            *register = if index < self.arguments {
                self.x[index]
            } else {
                canary.register(index)
            };
        }
        let mut registers = sent.clone();
        let masks_before = interrupt_masks();
        let masks = call(conduit, &mut registers);
        Reply {
            sent,
            registers,
            masks_kept: masks == masks_before,
        }
    }
}

/// PSTATE.DAIF, which S-EL0 cannot see.
fn interrupt_masks() -> u64 {
    if exception_level() == ExceptionLevel::El0 {
        return 0;
    }
    let daif: u64;
    // SAFETY: reads a register that has no side effect.
    unsafe { core::arch::asm!("mrs {}, daif", out(reg) daif, options(nomem, nostack)) };
    daif
}

/// A source of values that are easy to recognise when they turn up where they do not belong:
/// bits 63:48 name the world, 47:32 the endpoint, 31:8 the occasion, 7:0 the register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Canary {
    base: u64,
}

impl Canary {
    /// Bits 63:48 of the normal world's canaries.
    pub const NORMAL_WORLD: u16 = 0x4e57;
    /// Bits 63:48 of partitions' canaries.
    pub const PARTITION: u16 = 0x5350;

    /// Canaries of nobody.
    pub const NONE: Self = Self { base: 0 };

    /// Canaries of `endpoint` that no earlier occasion had.
    pub fn new(endpoint: EndpointId) -> Self {
        static OCCASION: AtomicU32 = AtomicU32::new(1);
        // Not an atomic read-modify-write: exclusives need not work while the MMU is off.
        let occasion = OCCASION.load(Ordering::Relaxed).wrapping_add(1) & 0xff_ffff;
        OCCASION.store(occasion, Ordering::Relaxed);
        let world = if endpoint.is_secure() {
            Self::PARTITION
        } else {
            Self::NORMAL_WORLD
        };
        Self {
            base: u64::from(world) << 48 | u64::from(endpoint.0) << 32 | u64::from(occasion) << 8,
        }
    }

    /// The canary of general-purpose register `index`.
    pub const fn register(self, index: usize) -> u64 {
        self.base | index as u64
    }

    /// A value with bits set and clear all over its 64, different for each `index`.
    pub const fn pattern(self, index: usize) -> u64 {
        // The multiplier of splitmix64, which spreads the occasion over all bits.
        (self.base ^ index as u64)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
            ^ self.base
    }
}

/// What came back from a call.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// x0–x30 as they went in.
    pub sent: Registers,
    /// x0–x30 as they came back.
    pub registers: Registers,
    /// Whether PSTATE.DAIF came back as it was.
    pub masks_kept: bool,
}

impl Reply {
    /// xN.
    pub fn x(&self, index: usize) -> u64 {
        self.registers.x[index]
    }

    /// The function id in w0, if it is one of FF-A.
    pub fn function(&self) -> Option<(Function, Width)> {
        match function::decode(self.x(0)) {
            Call::Ffa(function, width) => Some((function, width)),
            _ => None,
        }
    }

    /// Whether this is FFA_`function` of either width.
    pub fn is(&self, function: Function) -> bool {
        self.function().is_some_and(|(found, _)| found == function)
    }

    /// The status in w2 of an FFA_ERROR.
    pub fn error(&self) -> Option<i32> {
        self.is(Function::Error).then(|| self.x(2) as u32 as i32)
    }

    /// Whether this is FFA_ERROR with this status.
    pub fn is_error(&self, error: FfaError) -> bool {
        self.error() == Some(error.code())
    }

    /// x3–x7, the payload of a direct message.
    pub fn payload(&self) -> [u64; 5] {
        core::array::from_fn(|index| self.x(3 + index))
    }

    /// The sender of a direct message, or the target of FFA_INTERRUPT: bits 31:16 of w1.
    pub fn sender(&self) -> EndpointId {
        EndpointId::high_half(self.x(1))
    }

    /// The receiver of a direct message: bits 15:0 of w1.
    pub fn receiver(&self) -> EndpointId {
        EndpointId::low_half(self.x(1))
    }
}

/// One short line: what a test says when this was not the reply that it wanted.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.function(), self.error()) {
            (_, Some(code)) => write!(f, "FFA_ERROR {}", ErrorName(code)),
            (Some((function, _)), None) => write!(
                f,
                "{function} x1={:#x} x2={:#x} x3={:#x}",
                self.x(1),
                self.x(2),
                self.x(3)
            ),
            (None, None) => write!(f, "x0={:#x}", self.x(0)),
        }
    }
}

/// A status code by its name.
#[derive(Clone, Copy)]
pub struct ErrorName(pub i32);

impl fmt::Display for ErrorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            -1 => "NOT_SUPPORTED",
            -2 => "INVALID_PARAMETERS",
            -3 => "NO_MEMORY",
            -4 => "BUSY",
            -5 => "INTERRUPTED",
            -6 => "DENIED",
            -7 => "RETRY",
            -8 => "ABORTED",
            -9 => "NO_DATA",
            -10 => "NOT_READY",
            code => return write!(f, "{code}"),
        })
    }
}
