// SPDX-License-Identifier: MIT OR Apache-2.0
//! Partitions' code: a small state machine that does what each request's list of deeds says.

use bulkhead_abi::paravirt::Paravirt;
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Width};
use bulkhead_sim::{call, error, ffa, request, response};

use crate::errand::Errands;
use crate::machine::{PAGE, image};
use crate::world::id;

/// What a partition does when it is asked to, before it answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deed {
    /// Asks the partition at this index, which does the rest of the list.
    Ask(usize),
    /// Is interrupted by the normal world's interrupt.
    Interrupt,
    /// Uses up its time, if there is a bound.
    Overrun,
    /// Faults.
    Fault,
    /// FFA_RXTX_MAP of its buffers.
    Map,
    /// FFA_RXTX_UNMAP.
    Unmap,
    /// FFA_PARTITION_INFO_GET of everything.
    List,
    /// FFA_RX_RELEASE.
    Release,
    /// FFA_YIELD.
    Yield,
    /// FFA_NOTIFICATION_BIND of all global notifications to the normal world.
    Bind,
    /// FFA_NOTIFICATION_GET of what VMs have set; the answer to the request has it.
    Get,
    /// Sets its EL1 physical timer to fire after so many ticks.
    Timer(u8),
    /// HF_INTERRUPT_SEND_IPI to the context of this core.
    Ipi(usize),
    /// WFI.
    Idle,
    /// Spins until it has handled an interrupt of its device.
    Spin,
    /// Does the errand with this number (of 32).
    Errand(usize),
}

impl Deed {
    const fn byte(self) -> u64 {
        match self {
            // 0 ends a list.
            Self::Ask(index) => index as u64 + 1,
            Self::Timer(ticks) => 0x80 | ticks as u64,
            Self::Ipi(index) => 0x40 | index as u64,
            Self::Errand(number) => 0x20 | number as u64,
            Self::Spin => 16,
            Self::Idle => 5,
            Self::Bind => 6,
            Self::Get => 7,
            Self::Interrupt => 8,
            Self::Fault => 9,
            Self::Map => 10,
            Self::Unmap => 11,
            Self::List => 12,
            Self::Release => 13,
            Self::Overrun => 14,
            Self::Yield => 15,
        }
    }

    fn decode(byte: u64) -> Option<Self> {
        Some(match byte {
            0 => return None,
            16 => Self::Spin,
            5 => Self::Idle,
            0x20..0x40 => Self::Errand(usize::try_from(byte - 0x20).expect("small")),
            0x40..0x80 => Self::Ipi(usize::try_from(byte - 0x40).expect("small")),
            0x80.. => Self::Timer(u8::try_from(byte - 0x80).expect("small")),
            6 => Self::Bind,
            7 => Self::Get,
            8 => Self::Interrupt,
            9 => Self::Fault,
            10 => Self::Map,
            11 => Self::Unmap,
            12 => Self::List,
            13 => Self::Release,
            14 => Self::Overrun,
            15 => Self::Yield,
            index => Self::Ask(usize::try_from(index).expect("small") - 1),
        })
    }
}

/// A list of at most eight deeds as a request carries it in x4, the first in the lowest byte.
pub fn deeds(list: &[Deed]) -> u64 {
    assert!(list.len() <= 8, "too much to do");
    list.iter()
        .rev()
        .fold(0, |word, deed| word << 8 | deed.byte())
}

/// What reaches S-EL2 from a partition next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The call in its registers.
    Call,
    /// A non-secure interrupt.
    Interrupt,
    /// The end of its time.
    Overrun,
    /// A fault.
    Fault,
    /// The paravirtual call in its registers.
    Hvc,
    /// A write of x1 to CNTP_TVAL_EL0 (0) or CNTP_CTL_EL0 (1).
    Timer(u8),
    /// WFI.
    Idle,
    /// Nothing, until its device's interrupt was handled.
    Spin,
    /// The call of the errand with this number.
    Errand(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    #[default]
    Start,
    Registering,
    Enabling(usize),
    TimerIsSet,
    Ringing,
    Waiting,
    Working,
    Asking,
    Calling(Function),
    OnErrand(usize),
}

/// What an interrupt handler does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Handling {
    Getting,
    Deactivating,
}

/// What a partition keeps in its memory from one turn to the next.
#[derive(Clone, Default)]
pub struct Local {
    stage: Stage,
    /// The registers of what was interrupted, and what its handler does.
    handler: Option<(Registers, Handling)>,
    /// Its EL1 physical timer is enabled.
    timer_is_on: bool,
    /// Who asked, unless FFA_RUN did.
    origin: Option<EndpointId>,
    token: u64,
    deeds: u64,
    /// The first error that a call ended with, negated; 0 for none.
    status: u64,
    /// The notifications that it got.
    got: u64,
    /// Where it goes on after its call, if it is not made again.
    pub(crate) after_call: Option<u64>,
    /// It took the interrupt that S-EL2 was interrupted by.
    pub(crate) interrupted_in_call: bool,
}

impl Local {
    /// What it does is not done.
    pub(crate) fn again(&mut self) {
        self.deeds = self.deeds << 8 | Deed::Spin.byte();
    }
}

/// A turn of an execution context.
pub struct Turn<'a> {
    /// The index of its partition.
    pub partition: usize,
    /// Whether it must say where the others of its partition begin.
    pub registers_entry: bool,
    /// Its token and deeds before it waits for the first time.
    pub starts_with: Option<(u64, u64)>,
    /// Its registers.
    pub registers: &'a mut Registers,
    /// Its memory.
    pub local: &'a mut Local,
    /// What it enables before anything else.
    pub enables: &'static [u32],
    /// A virtual interrupt is signalled.
    pub interrupted: bool,
    /// Its handler, if it runs, faults.
    pub fails: bool,
    /// S-EL2 was interrupted in its call: it takes the interrupt, and makes the call again.
    pub again: Option<Again>,
    /// What it does by number.
    pub errands: &'a Errands,
}

/// What is left to do of a call that is made again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Again {
    /// The interrupt.
    Interrupt,
    /// The call.
    Call,
}

impl Turn<'_> {
    /// Runs until something reaches S-EL2. `took` is told the token of each request that arrives, `fetched` each
    /// interrupt.
    pub fn run(&mut self, took: impl FnOnce(u64), fetched: impl FnOnce(u32)) -> Step {
        match self.again.take() {
            Some(Again::Interrupt) => {
                self.again = Some(Again::Call);
                return Step::Interrupt;
            }
            Some(Again::Call) => return Step::Call,
            None => {}
        }
        let fails = std::mem::take(&mut self.fails);
        if fails && (self.local.handler.is_some() || self.interrupted) {
            return Step::Fault;
        }
        if let Some((interrupted, handling)) = self.local.handler.take() {
            match handling {
                Handling::Getting if self.registers.x[0] == u64::from(u32::MAX) => {
                    *self.registers = interrupted;
                }
                Handling::Getting => {
                    let intid = self.registers.x[0];
                    fetched(u32::try_from(intid).expect("an INTID"));
                    self.local.handler = Some((interrupted, Handling::Deactivating));
                    return self.hvc(Paravirt::InterruptDeactivate, [intid, intid, 0]);
                }
                Handling::Deactivating => {
                    self.local.handler = Some((interrupted, Handling::Getting));
                    return self.hvc(Paravirt::InterruptGet, [0; 3]);
                }
            }
        } else if self.interrupted {
            self.local.handler = Some((self.registers.clone(), Handling::Getting));
            return self.hvc(Paravirt::InterruptGet, [0; 3]);
        }
        self.go_on(took)
    }

    fn hvc(&mut self, call: Paravirt, arguments: [u64; 3]) -> Step {
        let [x1, x2, x3] = arguments;
        self.registers.x[..4].copy_from_slice(&[call.id(), x1, x2, x3]);
        Step::Hvc
    }

    fn go_on(&mut self, took: impl FnOnce(u64)) -> Step {
        let function = |registers: &Registers, function: Function| {
            [Width::W32, Width::W64]
                .map(|width| function.id(width))
                .contains(&registers.x[0])
        };
        match self.local.stage {
            Stage::Start if self.registers_entry => {
                let mut register = call([0; 8]);
                register.x[0] = Function::SecondaryEpRegister.id(Width::W64);
                register.x[1] = image(self.partition) + PAGE;
                self.make(register, Stage::Registering)
            }
            Stage::Start => self.begin(),
            Stage::Registering => {
                assert!(function(self.registers, Function::Success));
                self.begin()
            }
            Stage::Enabling(_) => {
                assert_eq!(self.registers.x[0], 0, "HF_INTERRUPT_ENABLE");
                self.begin()
            }
            Stage::Ringing => {
                self.failed(negated(self.registers.x[0]));
                self.work()
            }
            Stage::TimerIsSet => {
                self.registers.x[1] = 1;
                self.local.stage = Stage::Working;
                Step::Timer(1)
            }
            Stage::Waiting => {
                self.local.status = 0;
                self.local.got = 0;
                if function(self.registers, Function::MsgSendDirectReq) {
                    self.local.origin = Some(self.registers.sender());
                    self.local.token = self.registers.x[3];
                    self.local.deeds = self.registers.x[4];
                    took(self.local.token);
                } else if function(self.registers, Function::Interrupt) {
                    // Its handler has run already.
                    return self.wait();
                } else {
                    assert!(
                        function(self.registers, Function::Run),
                        "FFA_MSG_WAIT ended with {:#x?}",
                        &self.registers.x[..8]
                    );
                    self.local.origin = None;
                    self.local.deeds = deeds(&[Deed::Interrupt]);
                }
                self.work()
            }
            Stage::Working => self.work(),
            // An interrupt came first; its handler has run already (C-09).
            Stage::Asking if function(self.registers, Function::Interrupt) => {
                let run = ffa(Function::Run, [self.registers.x[1], 0, 0, 0]);
                self.make(run, Stage::Asking)
            }
            Stage::Asking => {
                let status = match error(self.registers) {
                    Some(code) => negated(code),
                    None => {
                        assert!(function(self.registers, Function::MsgSendDirectResp));
                        assert_eq!(
                            self.registers.x[3],
                            callee_token(self.local.token),
                            "CV8: the answer to another request"
                        );
                        self.registers.x[4]
                    }
                };
                self.failed(status);
                self.local.deeds = 0;
                self.work()
            }
            Stage::OnErrand(number) => {
                if let Some(code) = error(self.registers) {
                    self.failed(negated(code));
                }
                self.errands.end(number, self.registers);
                self.work()
            }
            Stage::Calling(made) => {
                match error(self.registers) {
                    Some(code) => self.failed(negated(code)),
                    None => assert!(function(self.registers, Function::Success), "{made}"),
                }
                if made == Function::NotificationGet {
                    let [.., low, high, _, _] = self.registers.x[..8] else {
                        unreachable!("eight registers");
                    };
                    let bits = high << 32 | low;
                    assert_eq!(self.local.got & bits, 0, "N9: got twice");
                    self.local.got |= bits;
                }
                self.work()
            }
        }
    }

    /// Enables the next interrupt, or does what it does before it waits.
    fn begin(&mut self) -> Step {
        let next = match self.local.stage {
            Stage::Enabling(done) => done,
            _ => 0,
        };
        if let Some(intid) = self.enables.get(next) {
            self.local.stage = Stage::Enabling(next + 1);
            return self.hvc(Paravirt::InterruptEnable, [u64::from(*intid), 1, 0]);
        }
        if let Some((token, deeds)) = self.starts_with {
            self.local.token = token;
            self.local.deeds = deeds;
        }
        self.work()
    }

    fn failed(&mut self, status: u64) {
        if self.local.status == 0 {
            self.local.status = status;
        }
    }

    fn make(&mut self, call: Registers, stage: Stage) -> Step {
        *self.registers = call;
        self.local.stage = stage;
        Step::Call
    }

    fn wait(&mut self) -> Step {
        self.make(ffa(Function::MsgWait, [0; 4]), Stage::Waiting)
    }

    /// Does the next deed, or answers.
    fn work(&mut self) -> Step {
        let own = id(self.partition);
        let next = Deed::decode(self.local.deeds & 0xff);
        self.local.deeds >>= 8;
        match next {
            None => match self.local.origin {
                Some(origin) => {
                    let payload = [self.local.token, self.local.status, self.local.got, 0, 0];
                    let answer = response(Width::W64, own, origin, payload);
                    self.make(answer, Stage::Waiting)
                }
                None => self.wait(),
            },
            Some(Deed::Ask(index)) => {
                let token = callee_token(self.local.token);
                let payload = [token, self.local.deeds, 0, 0, 0];
                self.make(request(Width::W64, own, id(index), payload), Stage::Asking)
            }
            Some(Deed::Interrupt) => {
                self.local.stage = Stage::Working;
                Step::Interrupt
            }
            Some(Deed::Overrun) => {
                self.local.stage = Stage::Working;
                Step::Overrun
            }
            Some(Deed::Fault) => Step::Fault,
            Some(Deed::Idle) => {
                self.local.stage = Stage::Working;
                Step::Idle
            }
            Some(Deed::Errand(number)) => {
                *self.registers = self.errands.call(number);
                self.local.stage = Stage::OnErrand(number);
                Step::Errand(number)
            }
            Some(Deed::Spin) => {
                self.local.stage = Stage::Working;
                Step::Spin
            }
            Some(Deed::Timer(ticks)) => {
                self.local.stage = if self.local.timer_is_on {
                    Stage::Working
                } else {
                    Stage::TimerIsSet
                };
                self.local.timer_is_on = true;
                self.registers.x[1] = u64::from(ticks);
                Step::Timer(0)
            }
            Some(Deed::Ipi(vcpu)) => {
                self.local.stage = Stage::Ringing;
                let vcpu = u64::try_from(vcpu).expect("small");
                self.hvc(Paravirt::SendIpi, [vcpu, 0, 0])
            }
            Some(Deed::Map) => {
                let mut map = call([0; 8]);
                map.x[0] = Function::RxtxMap.id(Width::W64);
                map.x[1] = image(self.partition) + 2 * PAGE;
                map.x[2] = image(self.partition) + 3 * PAGE;
                map.x[3] = 1;
                self.make(map, Stage::Calling(Function::RxtxMap))
            }
            Some(Deed::Unmap) => self.simple(Function::RxtxUnmap),
            Some(Deed::List) => self.simple(Function::PartitionInfoGet),
            Some(Deed::Release) => self.simple(Function::RxRelease),
            Some(Deed::Yield) => self.simple(Function::Yield),
            Some(Deed::Bind) => {
                let all = u64::from(u32::MAX);
                let bind = [u64::from(own.0), 0, all, all];
                self.make(
                    ffa(Function::NotificationBind, bind),
                    Stage::Calling(Function::NotificationBind),
                )
            }
            Some(Deed::Get) => {
                const FROM_VMS: u64 = 1 << 1;
                let get = [u64::from(own.0), FROM_VMS, 0, 0];
                self.make(
                    ffa(Function::NotificationGet, get),
                    Stage::Calling(Function::NotificationGet),
                )
            }
        }
    }

    fn simple(&mut self, function: Function) -> Step {
        self.make(ffa(function, [0; 4]), Stage::Calling(function))
    }
}

/// The token of the request that a partition makes while it serves the one with `token`.
fn callee_token(token: u64) -> u64 {
    token << 8 | 1
}

/// A positive number for an error code in a register.
fn negated(code: u64) -> u64 {
    code.wrapping_neg() & 0xffff_ffff
}

/// The status that stands for `error`.
pub fn status(error: FfaError) -> u64 {
    negated(error.to_register())
}
