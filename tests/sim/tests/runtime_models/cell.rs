// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a cell is played: who does what, what is looked at, and what has to be seen.

use std::sync::{Arc, Mutex};

use bulkhead_abi::paravirt;
use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Version, Width};
use bulkhead_core::VcpuContext;
use bulkhead_core::runtime_model::RuntimeModel;
use bulkhead_core::vcpu::StateName;
use bulkhead_sim::*;

use super::{ALPHA, ANSWER, BETA, Begin, Cell, GAMMA, NWD, Outcome, Virq};

/// The interrupt of alpha that it may owe a deactivation of.
const OURS: u32 = 34;
/// The one that may be pending when it makes the call.
const OTHER: u32 = 35;
const NPI: u32 = paravirt::INTID_NOTIFICATION_PENDING;

/// First word of a request: signal a notification to alpha, and answer.
const SIGNAL: u64 = 1;
/// First word of a request: alpha's device fires; answer when it was handled.
const INTERRUPT: u64 = 2;
/// First word of the answer that alpha gives after the call of the cell, if that was not its answer.
const LATER: u64 = 8;

/// Who has the core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Who {
    Alpha,
    Beta,
    Gamma,
    NormalWorld,
}

/// What is looked at when somebody gets the core.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Seen {
    who: Who,
    /// The model of that context.
    model: Option<RuntimeModel>,
    /// w0 to w2 of it.
    words: [u64; 3],
    /// Alpha's state, and beta's.
    states: [StateName; 2],
    /// Whether [`OURS`] is active and alpha's.
    holds: bool,
    /// How many interrupts of alpha are pending.
    pending: u64,
}

#[derive(Default)]
struct Log {
    /// Alpha makes the call of the cell next.
    made: bool,
    /// What was so when alpha was entered last before that.
    before: Option<Seen>,
    /// When somebody was entered first after that.
    after: Option<Seen>,
    /// What alpha handled after the call.
    handled: Vec<u32>,
}

fn see(spmc: &bulkhead_core::Spmc<Machine>, who: Who, words: [u64; 3]) -> Seen {
    let vcpu = |partition: usize| &spmc.partitions()[partition].vcpus()[0];
    let interrupts = &vcpu(2).interrupts;
    Seen {
        who,
        model: None,
        words,
        states: [vcpu(2).state(), vcpu(0).state()],
        holds: interrupts.holds(OURS),
        pending: interrupts.tally().pending,
    }
}

fn words(registers: &Registers) -> [u64; 3] {
    [registers.x[0], registers.x[1], registers.x[2]]
}

fn is(reply: &Registers, function: Function) -> bool {
    [Width::W32, Width::W64]
        .map(|width| function.id(width))
        .contains(&reply.x[0])
}

/// A message of the normal world or of alpha, in either form, whose first payload word is `word`.
pub fn message(function: Function, from: EndpointId, to: EndpointId, word: u64) -> Registers {
    let second = matches!(
        function,
        Function::MsgSendDirectReq2 | Function::MsgSendDirectResp2
    );
    let payload = if second {
        [0, word, 0, 0, 0]
    } else {
        [word, 0, 0, 0, 0]
    };
    let mut message = request(Width::W64, from, to, payload);
    message.x[0] = function.id(Width::W64);
    message
}

/// The answer to `request`.
fn answer(sp: &mut Sp, request: &Registers, word: u64) -> Registers {
    let function = match is(request, Function::MsgSendDirectReq2) {
        true => Function::MsgSendDirectResp2,
        false => Function::MsgSendDirectResp,
    };
    sp.call(&message(function, sp.id, request.sender(), word))
}

/// Makes a call that changes nothing: whatever is due is taken when it is done.
fn visit(sp: &mut Sp) {
    let nothing = call([0xc3ff_ffff, 1, 2, 3, 4, 5, 6, 7]);
    let reply = sp.hvc(&nothing);
    assert_eq!(
        reply.x[1..],
        nothing.x[1..],
        "who is interrupted goes on as if nothing had been"
    );
}

fn fire(sp: &mut Sp, intid: u32) {
    sp.line(intid, |line| line.asserted = true);
    visit(sp);
}

/// Beta and gamma.
fn other(sp: &mut Sp) {
    let mut request = sp.wait();
    loop {
        match request.x[3] {
            SIGNAL => {
                let set = ffa(
                    Function::NotificationSet,
                    [EndpointId::pair(BETA, ALPHA), 0, 1, 0],
                );
                assert_function(&sp.call(&set), Function::Success);
            }
            INTERRUPT => fire(sp, OURS),
            _ => {}
        }
        request = answer(sp, &request, ANSWER);
    }
}

impl Cell {
    /// Alpha.
    fn program(self, sp: &mut Sp, log: &Mutex<Log>) {
        sp.enable(&[OURS, OTHER]);
        if self.virq == Virq::Notification {
            // It is pending from now on, and not enabled.
            let bind = ffa(
                Function::NotificationBind,
                [EndpointId::pair(BETA, ALPHA), 0, 1, 0],
            );
            assert_function(&sp.call(&bind), Function::Success);
            let signal = message(Function::MsgSendDirectReq, ALPHA, BETA, SIGNAL);
            assert_function(&sp.call(&signal), Function::MsgSendDirectResp);
        }
        let begun = match self.begin {
            Begin::Init => None,
            _ => Some(sp.wait()),
        };
        self.prepare(sp);
        log.lock().unwrap().made = true;
        let mut reply = sp.call(&self.registers());
        let handle = |sp: &mut Sp| {
            let handled = sp.handle_all();
            log.lock().unwrap().handled.extend(handled);
        };
        if self.begin == Begin::Awaiting && !is(&reply, Function::MsgSendDirectResp) {
            handle(sp);
            reply = sp.call(&run(BETA, 0));
        }
        let goes_on = [
            Function::Error,
            Function::Success,
            Function::MsgSendDirectResp,
            Function::MsgSendDirectResp2,
        ];
        if goes_on.iter().any(|function| is(&reply, *function)) {
            assert_eq!(
                sp.deactivate(OURS),
                self.owes,
                "what it owes is still its own"
            );
            handle(sp);
            reply = match (self.begin, begun) {
                (Begin::Request | Begin::Request2 | Begin::Awaiting, Some(request)) => {
                    answer(sp, &request, LATER)
                }
                _ => sp.wait(),
            };
        }
        loop {
            handle(sp);
            reply = match is(&reply, Function::Interrupt) {
                true => sp.wait(),
                false => answer(sp, &reply, ANSWER),
            };
        }
    }

    /// Alpha has what the cell says.
    fn prepare(self, sp: &mut Sp) {
        let entered_for_it = match self.begin {
            Begin::Interrupt | Begin::InterruptOfGamma => true,
            Begin::Awaiting => {
                let asked = sp.call(&message(Function::MsgSendDirectReq, ALPHA, BETA, INTERRUPT));
                let awaited = EndpointId::pair(BETA, EndpointId(0));
                let id = Function::Interrupt.id(Width::W32);
                assert_eq!(words(&asked), [id, awaited, u64::from(OURS)], "C-09");
                true
            }
            _ => false,
        };
        if self.owes && !entered_for_it {
            fire(sp, OURS);
        }
        if self.owes || entered_for_it {
            assert_eq!(sp.fetch(), Some(OURS));
            sp.line(OURS, |line| line.asserted = false);
        }
        if entered_for_it && !self.owes {
            assert!(sp.deactivate(OURS));
        }
        match self.virq {
            Virq::None => {}
            Virq::Notification => sp.enable(&[NPI]),
            Virq::Device => fire(sp, OTHER),
        }
    }

    /// Has alpha make the call, and everybody finish; what the normal world gets.
    fn play(self, log: &Arc<Mutex<Log>>) -> (Sim, Option<Registers>) {
        let (own, watched) = (log.clone(), log.clone());
        let alpha = Spec::new("alpha", ALPHA, move |sp| self.program(sp, &own))
            .interrupts(&[OURS, OTHER])
            .with(|config| {
                config.version = Version::V1_3;
                config.properties = config.properties.union(Properties::NOTIFICATIONS);
            });
        let mut sim = Sim::builder()
            .partition(Spec::new("beta", BETA, other))
            .partition(Spec::new("gamma", GAMMA, other))
            .partition(alpha)
            .watch(move |spmc, core, _| {
                let who = [Who::Beta, Who::Gamma, Who::Alpha][core.running().unwrap().partition()];
                let model = core.activation().map(|activation| activation.model());
                let words = words(core.context().unwrap().registers());
                let seen = Seen {
                    model,
                    ..see(spmc, who, words)
                };
                let mut log = watched.lock().unwrap();
                if !log.made && who == Who::Alpha {
                    log.before = Some(seen);
                } else if log.made && log.after.is_none() {
                    log.after = Some(seen);
                }
            })
            .boot();
        sim.negotiate(Version::OURS);
        let core = sim.core(0);
        let to_alpha = |function| message(function, NWD, ALPHA, ANSWER);
        let mut reply = match self.begin {
            Begin::Init => None,
            Begin::Run => Some(core.call(&run(ALPHA, 0))),
            Begin::Request | Begin::Awaiting => {
                Some(core.call(&to_alpha(Function::MsgSendDirectReq)))
            }
            Begin::Request2 => Some(core.call(&to_alpha(Function::MsgSendDirectReq2))),
            Begin::InterruptOfGamma => {
                Some(core.call(&message(Function::MsgSendDirectReq, NWD, GAMMA, INTERRUPT)))
            }
            Begin::Interrupt => {
                sim.line(OURS, |line| line.asserted = true);
                sim.core(0).run_normal_world();
                None
            }
        };
        let mut log = log.lock().unwrap();
        assert!(log.made, "{self:?}");
        if log.after.is_none() {
            let words = reply.as_ref().map_or([0; 3], words);
            log.after = Some(see(sim.spmc(), Who::NormalWorld, words));
        }
        drop(log);
        if self.outcome() == Outcome::Yields {
            reply = Some(sim.core(0).call(&run(ALPHA, 0)));
        }
        (sim, reply)
    }

    /// Who gets the core when alpha is done.
    fn giver(self) -> Who {
        match self.begin {
            Begin::InterruptOfGamma => Who::Gamma,
            _ => Who::NormalWorld,
        }
    }

    /// What has to be seen when the next one gets the core.
    fn expected(self, before: &Seen, after: &Seen) -> Seen {
        use Outcome::*;
        let refused = |error: FfaError| [Function::Error.id(Width::W32), 0, error.to_register()];
        let interrupted = |awaited| {
            let id = Function::Interrupt.id(Width::W32);
            [id, awaited, u64::from(OTHER)]
        };
        let beta = EndpointId::pair(BETA, EndpointId(0));
        let alpha = EndpointId::pair(ALPHA, EndpointId(0));
        let outcome = self.outcome();
        let mut wanted = before.clone();
        match outcome {
            Denied | Invalid | Success | Unblocked => {}
            Callee | Resumes | EndsAwaited => {
                (wanted.who, wanted.model) = (Who::Beta, after.model);
                wanted.states = [StateName::Blocked, StateName::Running];
            }
            Again => {
                wanted.model = Some(RuntimeModel::SecureInterrupt);
                wanted.holds = false;
            }
            Back | Yields | Ends => {
                wanted.who = match outcome {
                    Yields => Who::NormalWorld,
                    _ => self.giver(),
                };
                wanted.model = after.model;
                wanted.states[0] = match outcome {
                    Back => StateName::Waiting,
                    Yields => StateName::Preempted,
                    _ => StateName::Aborted,
                };
                wanted.holds &= outcome == Yields;
            }
        }
        if matches!(outcome, Ends | EndsAwaited) {
            (wanted.holds, wanted.pending) = (false, 0);
        }
        let answer = self.registers();
        wanted.words = match (outcome, self.begin) {
            (Denied, _) => refused(FfaError::Denied),
            (Invalid, _) => refused(FfaError::InvalidParameters),
            (Success, _) => [Function::Success.id(Width::W32), 0, 0],
            (Unblocked, _) => interrupted(beta),
            (Again, _) => interrupted(0),
            (Callee, _) => words(&answer),
            (Yields, _) => [Function::Yield.id(Width::W32), alpha, 1],
            (Back, Begin::Run) => [Function::MsgWait.id(Width::W32), alpha, 0],
            (Back, Begin::Request | Begin::Request2) => words(&answer),
            (Ends, Begin::Run | Begin::Request | Begin::Request2) => refused(FfaError::Aborted),
            // Who goes on has what it had: the program of gamma, and `run_normal_world`, see to that.
            _ => after.words,
        };
        wanted
    }

    /// What the normal world has to get in the end.
    fn assert_reply(self, reply: Option<&Registers>) {
        let outcome = self.outcome();
        let ended = matches!(outcome, Outcome::Ends | Outcome::EndsAwaited);
        let is_answer = matches!(outcome, Outcome::Back | Outcome::Again);
        let word = if is_answer { ANSWER } else { LATER };
        match (self.begin, reply) {
            (Begin::Init | Begin::Interrupt, None) => {}
            (Begin::InterruptOfGamma, Some(reply)) => {
                assert_eq!(
                    (words(reply)[1], reply.x[3]),
                    (EndpointId::pair(GAMMA, NWD), ANSWER)
                );
            }
            (_, Some(reply)) if ended => assert_error(reply, FfaError::Aborted),
            (Begin::Run, Some(reply)) => assert_function(reply, Function::MsgWait),
            (Begin::Request | Begin::Awaiting, Some(reply)) => {
                assert_function(reply, Function::MsgSendDirectResp);
                assert_eq!(reply.x[3], word);
            }
            (Begin::Request2, Some(reply)) => {
                assert_function(reply, Function::MsgSendDirectResp2);
                assert_eq!(reply.x[4], word);
            }
            other => panic!("{other:?}"),
        }
    }

    pub fn check(self) {
        let log = Arc::<Mutex<Log>>::default();
        let (mut sim, reply) = self.play(&log);
        let ended = matches!(self.outcome(), Outcome::Ends | Outcome::EndsAwaited);
        {
            let log = log.lock().unwrap();
            let (before, after) = (log.before.as_ref().unwrap(), log.after.as_ref().unwrap());
            assert_eq!((before.who, before.holds), (Who::Alpha, self.owes));
            assert_eq!(before.pending, u64::from(self.virq != Virq::None));
            assert_eq!(*after, self.expected(before, after));
        }
        self.assert_reply(reply.as_ref());
        // It waits, and takes the next request, unless it has ended.
        let next = sim
            .core(0)
            .call(&message(Function::MsgSendDirectReq, NWD, ALPHA, ANSWER));
        if ended {
            assert_error(&next, FfaError::Aborted);
        } else {
            assert_function(&next, Function::MsgSendDirectResp);
            assert_eq!(next.x[3], ANSWER);
        }
        let handled = match self.virq {
            _ if ended => vec![],
            Virq::None => vec![],
            Virq::Notification => vec![NPI],
            Virq::Device => vec![OTHER],
        };
        assert_eq!(log.lock().unwrap().handled, handled, "once each");
        self.assert_rest(&mut sim, ended);
    }

    /// Nothing is left of the chain, and of the interrupts.
    fn assert_rest(self, sim: &mut Sim, ended: bool) {
        let states = [0, 1, 2].map(|partition| sim.state(partition, 0));
        let last = if ended {
            StateName::Aborted
        } else {
            StateName::Waiting
        };
        assert_eq!(states, [StateName::Waiting, StateName::Waiting, last]);
        for intid in [OURS, OTHER] {
            sim.line(intid, |line| {
                assert_eq!((line.active, line.enabled), (None, !ended), "{intid}");
                assert_eq!(line.acknowledged, line.deactivated, "{intid}");
                assert!(
                    line.acknowledged <= 1,
                    "{intid} was delivered more than once"
                );
            });
        }
        let tally = sim.spmc().partitions()[2].vcpus()[0].interrupts.tally();
        assert_eq!(tally.pending, 0);
        assert_eq!(
            tally.raised,
            tally.delivered + tally.withdrawn + tally.dropped
        );
        assert_eq!(sim.core(0).machine.deadline, None);
    }
}
