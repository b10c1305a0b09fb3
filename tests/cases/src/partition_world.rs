// SPDX-License-Identifier: MIT OR Apache-2.0
//! A test partition: how it starts, and how it serves direct messages for ever.

use core::arch::asm;
use core::cell::UnsafeCell;

use bulkhead_abi::{EndpointId, Function, Registers, Version, Width};
use bulkhead_payload::boot_info::BootInfo;
use bulkhead_payload::console::{self, Console};
use bulkhead_payload::entry::{
    ExceptionLevel, core_index, exception_level, secondary_entry, stack_overflow,
};
use bulkhead_payload::fp::FpState;
use bulkhead_payload::system_register::{Values, pointer_keys};
use bulkhead_payload::{Canary, Conduit, EntryState, Reply, Request, Text};

use crate::case::PartitionHalf;
use crate::interrupts::driver;
use crate::negotiation::Negotiation;
use crate::outcome::{Outcome, TestResult};
use crate::protocol::{Caller, Payload, command, echo, kind, status};
use crate::{FINGERPRINT, bench, el0, rules};

/// What a partition saw before it first waited.
#[derive(Clone)]
pub struct Boot {
    /// x0–x30 at entry.
    pub entry: EntryState,
    /// PSTATE.DAIF at entry, in bits 9:6. Not at S-EL0, as the rest of what S-EL1 has.
    pub masks: u64,
    /// SCTLR_EL1 at entry.
    pub sctlr: u64,
    /// The boot information, if x0 led to it.
    pub info: Option<BootInfo>,
    /// The keys of pointer authentication at entry; `None` where there are none.
    pub keys: Option<[u64; 10]>,
    /// The answers to its first calls.
    pub negotiation: Negotiation,
    /// The status of FFA_MSG_SEND_DIRECT_RESP before anything was asked (G14, INIT model).
    pub response: Option<i32>,
    /// What became of [`el0::probe`]; `None` but at S-EL0.
    pub permissions: Option<TestResult>,
    /// The status of FFA_SECONDARY_EP_REGISTER; `None` when it succeeded.
    pub secondary_entry: Option<i32>,
}

/// A test partition, or one execution context of it.
pub struct PartitionWorld {
    id: EndpointId,
    /// The FF-A version that it speaks.
    pub version: Version,
    /// What it saw before it first waited; only the boot context knows.
    pub boot: Option<Boot>,
    /// The request that is being handled, with the registers before and after the call that brought it.
    pub request: Option<Reply>,
    /// The registers of the last [`command::CAPTURE`].
    pub captured: Option<Registers>,
    /// What to do when FFA_RUN next brings it to run.
    pub on_run: Option<fn(&mut Self)>,
    /// How often FFA_RUN brought it to run.
    pub runs: u64,
    /// What one half leaves for another.
    pub notes: [u64; 8],
    /// The FP/SIMD registers as a half left them.
    pub fp: Option<FpState>,
    /// The EL1 and EL0 registers as a half left them.
    pub el1: Option<Values>,
    /// The EL1 and EL0 registers as they were before that half.
    pub el1_before: Option<Values>,
    /// The keys of pointer authentication as a half left them.
    pub keys: Option<[u64; 10]>,
    /// GCR_EL1, RGSR_EL1, TFSR_EL1 and TFSRE0_EL1 as a half left them.
    pub tags: Option<[u64; 4]>,
    halves: &'static [&'static [PartitionHalf]],
    case: usize,
    reason: Text,
    violation: Option<Text>,
}

/// Starts the boot context of a partition: negotiates its version and prepares its console.
///
/// The version is the one that the boot information is written in, which is the manifest's; 1.1 if there
/// is none.
pub fn start(entry: &EntryState, halves: &'static [&'static [PartitionHalf]]) -> PartitionWorld {
    let (mut masks, mut sctlr): (u64, u64) = (0, 0);
    let mut keys = None;
    if exception_level() == ExceptionLevel::El1 {
        // SAFETY: reads registers that have no side effect.
        unsafe {
            asm!("mrs {}, daif", "mrs {}, sctlr_el1", out(reg) masks, out(reg) sctlr, options(nomem, nostack))
        };
        keys = pointer_keys::read();
    }
    // SAFETY: partitions of these tests have `gp-register-num = <0>`, so x0 is zero or the blob's address.
    let info = unsafe { BootInfo::at(entry.x[0]) };
    let version = info
        .and_then(|info| Version::from_word(info.header().version))
        .unwrap_or(Version::V1_1);
    let mut world = PartitionWorld::new(EndpointId(0x8000), version, halves);
    let negotiation = Negotiation::run(version, |request| world.call(request).x(0));
    world.id = EndpointId(world.ffa(Function::IdGet, []).x(2) as u16);
    console::select(if version < Version::V1_2 {
        Console::Log64
    } else {
        Console::Log64Extended
    });
    let response = world
        .call(Request::response(
            Width::W32,
            world.id,
            EndpointId::NORMAL_WORLD,
            [0; 5],
        ))
        .error();
    // SAFETY: no other context runs before the boot context waits.
    unsafe { *OTHERS.0.get() = (world.id, version, halves) };
    let secondary = secondary_entry(|_| secondary_main()) as u64;
    let secondary_entry = world
        .call(Request::ffa(Function::SecondaryEpRegister, Width::W64).with([secondary]))
        .error();
    let permissions = (exception_level() == ExceptionLevel::El0).then(|| el0::probe(&mut world));
    world.boot = Some(Boot {
        entry: entry.clone(),
        masks,
        sctlr,
        info,
        keys,
        negotiation,
        response,
        permissions,
        secondary_entry,
    });
    world
}

/// What the other execution contexts need to know.
struct Others(UnsafeCell<(EndpointId, Version, &'static [&'static [PartitionHalf]])>);

// SAFETY: written once, by the boot context before others run.
unsafe impl Sync for Others {}

static OTHERS: Others = Others(UnsafeCell::new((EndpointId(0x8000), Version::V1_1, &[])));

/// Another execution context, or the boot context when its core came on again: it has no boot
/// information.
fn secondary_main() -> ! {
    // SAFETY: as for `Others`.
    let (id, version, halves) = unsafe { *OTHERS.0.get() };
    PartitionWorld::new(id, version, halves).serve()
}

impl PartitionWorld {
    fn new(id: EndpointId, version: Version, halves: &'static [&'static [PartitionHalf]]) -> Self {
        Self {
            id,
            version,
            boot: None,
            request: None,
            captured: None,
            on_run: None,
            runs: 0,
            notes: [0; 8],
            fp: None,
            el1: None,
            el1_before: None,
            keys: None,
            tags: None,
            halves,
            case: 0,
            reason: Text::default(),
            violation: None,
        }
    }

    /// Waits for messages and answers them for ever.
    pub fn serve(mut self) -> ! {
        let wait = Request::ffa(Function::MsgWait, Width::W32);
        let mut next = wait;
        let mut refusals = 0;
        loop {
            let event = self.call(next);
            if !event.is(Function::Error) {
                refusals = 0;
            }
            next = match event.function() {
                Some((Function::MsgSendDirectReq | Function::MsgSendDirectReq2, _)) => {
                    self.handle(event)
                }
                Some((Function::Run, _)) => {
                    self.runs += 1;
                    if let Some(act) = self.on_run.take() {
                        act(&mut self);
                    }
                    driver::poll();
                    wait
                }
                Some((Function::Interrupt, _)) => {
                    driver::entered(&mut self, &event);
                    wait
                }
                Some((Function::Error, _)) => {
                    driver::wait_was_refused();
                    refusals += 1;
                    assert!(
                        refusals < 100,
                        "{event} to FFA_MSG_WAIT or to a response, again and again"
                    );
                    wait
                }
                _ => wait,
            };
        }
    }

    /// Handles a direct request and returns the call that answers it.
    fn handle(&mut self, event: Reply) -> Request {
        let (function, width) = event
            .function()
            .unwrap_or((Function::MsgSendDirectReq, Width::W32));
        let (to, first) = (
            event.sender(),
            if function == Function::MsgSendDirectReq2 {
                4
            } else {
                3
            },
        );
        let payload: Payload = core::array::from_fn(|index| event.x(first + index));
        self.request = Some(event);
        let answer = self.answer(width, payload);
        self.request = None;
        if function == Function::MsgSendDirectReq {
            return Request::response(width, self.id, to, answer);
        }
        let [a, b, c, d, e] = answer;
        Request::ffa(Function::MsgSendDirectResp2, Width::W64).with([
            EndpointId::pair(self.id, to),
            0,
            0,
            a,
            b,
            c,
            d,
            e,
        ])
    }

    fn answer(&mut self, width: Width, payload: Payload) -> Payload {
        let [first, second, third, fourth, fifth] = payload;
        match first & Width::W32.mask() {
            command::HELLO => {
                let kind = if self.halves.is_empty() {
                    kind::ECHO
                } else {
                    kind::TESTER
                };
                let fingerprint = FINGERPRINT & Width::W32.mask();
                [
                    kind,
                    fingerprint,
                    u64::from(self.id.0),
                    u64::from(self.version.to_word()),
                    core_index() as u64,
                ]
            }
            command::RUN_HALF => self.run_half(second as usize, [third, fourth, fifth]),
            command::REASON => {
                let text = self.reason.as_str().as_bytes();
                let word = |index: usize| {
                    let start = second as usize + 8 * index;
                    u64::from_le_bytes(core::array::from_fn(|byte| {
                        text.get(start + byte).copied().unwrap_or(0)
                    }))
                };
                [status::OK, word(0), word(1), word(2), word(3)]
            }
            command::FORWARD => {
                self.forward(width, EndpointId(second as u16), third, fourth & 1 != 0)
            }
            command::CAPTURE => {
                self.captured = self
                    .request
                    .as_ref()
                    .map(|request| request.registers.clone());
                echo(width, payload).map(|value| value | !Width::W32.mask())
            }
            _ => echo(width, payload),
        }
    }

    fn forward(&mut self, width: Width, to: EndpointId, value: u64, bench: bool) -> Payload {
        let message = [value, 0, 0, 0, 0];
        let reply = if bench {
            self.direct(width, to, message);
            let request = Request::direct(width, self.id, to, message);
            bench::window(|| request.issue(Conduit::own(), Canary::new(self.id)))
        } else {
            self.direct(width, to, message)
        };
        let code = if reply.is(Function::Error) {
            reply.x(2)
        } else {
            0
        };
        [command::FORWARD, reply.x(0), code, reply.x(3), 0]
    }

    fn run_half(&mut self, which: usize, arguments: [u64; 3]) -> Payload {
        let (case, half) = (which >> 8, which & 0xff);
        let Some(half) = self.halves.get(case).and_then(|halves| halves.get(half)) else {
            return [status::UNKNOWN, 0, 0, 0, 0];
        };
        self.case = case;
        let request = self.request.clone();
        let mut outcome = half(self, arguments);
        self.request = request;
        if let (Ok(_), Some(violation)) = (&outcome, self.violation.take()) {
            outcome = Err(Outcome::failed(format_args!(
                "after a call of the partition, {violation}"
            )));
        }
        if let Some(context) = stack_overflow() {
            outcome = Err(Outcome::failed(format_args!(
                "execution context {context} used more stack than it has"
            )));
        }
        match outcome {
            Ok([a, b, c, d]) => [status::OK, a, b, c, d],
            Err(outcome) => {
                self.reason = Text::new(format_args!("{outcome}"));
                let status = match outcome {
                    Outcome::Failed { .. } => status::FAILED,
                    Outcome::Skipped { .. } => status::SKIPPED,
                };
                [status, 0, 0, 0, 0]
            }
        }
    }

    /// Makes a call by HVC instead of SMC.
    pub fn call_by(&mut self, conduit: Conduit, request: Request) -> Reply {
        let reply = request.issue(conduit, Canary::new(self.id));
        if let Some(what) = rules::broken(&reply) {
            self.violation.get_or_insert(what);
        }
        reply
    }
}

impl Caller for PartitionWorld {
    fn id(&self) -> EndpointId {
        self.id
    }

    fn case(&self) -> usize {
        self.case
    }

    fn call(&mut self, request: Request) -> Reply {
        self.call_by(Conduit::own(), request)
    }
}
