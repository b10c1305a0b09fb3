// SPDX-License-Identifier: MIT OR Apache-2.0
//! The normal world as a test sees it.

use arrayvec::ArrayVec;
use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::{EndpointId, Function, Uuid, Version, Width};
use bulkhead_payload::board::HYPERVISOR_TIMER_INTID;
use bulkhead_payload::counter::{hypervisor_timer, microseconds};
use bulkhead_payload::entry::stack_overflow;
use bulkhead_payload::exception::{self, Exception};
use bulkhead_payload::fp::FpState;
use bulkhead_payload::memory::MAILBOX;
use bulkhead_payload::second_core::SecondCore;
use bulkhead_payload::system_register::{Values, World};
use bulkhead_payload::{Canary, Conduit, Reply, Request, Text, fp, gic};

use crate::negotiation::{Negotiation, version_request};
use crate::outcome::{Outcome, TestResult, Verdict};
use crate::partition_list::{self, Descriptors, PartitionDescriptor};
use crate::protocol::{self, Caller, command, kind};
use crate::{FINGERPRINT, ensure, fail, rules, skip};

/// A tester by its part in a test. Testers get their parts in the order of their ids.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The first tester.
    Primary,
    /// The second.
    Secondary,
    /// The third.
    Tertiary,
}

/// How many testers beyond the first eight there can be.
const SPARES: usize = 24;

/// A partition that runs halves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tester {
    /// Its id.
    pub id: EndpointId,
    /// The FF-A version that it speaks.
    pub version: Version,
}

/// Why there is no FF-A.
#[derive(Clone, Debug)]
pub enum NoSpmc {
    /// SMC is undefined here: no EL3.
    NoEl3(Exception),
    /// FFA_VERSION returned this.
    Refused(u64),
}

/// The EL1 and EL0 system registers and the FP/SIMD registers as a test's call may not change them.
struct StateCanaries {
    registers: Values,
    fp: FpState,
}

/// A watch over registers that does not look at the moment.
pub struct Watch(Option<StateCanaries>);

/// How long a half spins that wants to be interrupted, in microseconds.
pub const LONG_SPIN: u64 = 20_000;
/// How long after the call it is interrupted, in microseconds.
pub const INTERRUPT_AFTER: u64 = 3_000;

/// The normal world.
pub struct NormalWorld {
    /// What the first calls returned.
    pub negotiation: Negotiation,
    /// The FF-A version that this world speaks.
    pub version: Version,
    /// Every partition that FFA_PARTITION_INFO_GET listed at start.
    pub partitions: Descriptors,
    /// Whether the test run may touch SVE; not where EL3 traps it (DECISIONS 8).
    pub sve: bool,
    /// How long the stress of requests runs, if not as long as usual.
    pub seconds: Option<u64>,
    /// How often the test of cores that go off and on does so, if not as often as usual.
    pub cycles: Option<u64>,
    testers: ArrayVec<Tester, 8>,
    /// Testers for tests to end.
    spares: ArrayVec<Tester, SPARES>,
    aborted: ArrayVec<EndpointId, { SPARES + 8 }>,
    case: usize,
    state: Option<StateCanaries>,
    violation: Option<Text>,
    state_change: Option<Text>,
    state_violation: Option<Text>,
}

impl NormalWorld {
    /// Asks for a version and nothing else.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn ask_version(version: Version) -> Result<Version, NoSpmc> {
        let request = version_request(version.to_word());
        let canary = Canary::new(EndpointId::NORMAL_WORLD);
        let (answer, exception) = exception::expect(|| request.issue(Conduit::Smc, canary).x(0));
        if let Some(exception) = exception {
            return Err(NoSpmc::NoEl3(exception));
        }
        Version::from_word(answer as u32).ok_or(NoSpmc::Refused(answer))
    }

    /// Negotiates a version. No other call is made yet.
    ///
    /// # Errors
    /// When there is no SPMC, or it refuses the version.
    pub fn start(version: Version) -> Result<Self, NoSpmc> {
        let id = EndpointId::NORMAL_WORLD;
        let (negotiation, exception) = exception::expect(|| {
            Negotiation::run(version, |request| {
                request.issue(Conduit::Smc, Canary::new(id)).x(0)
            })
        });
        if let Some(exception) = exception {
            return Err(NoSpmc::NoEl3(exception));
        }
        if negotiation.offered().is_none() {
            return Err(NoSpmc::Refused(negotiation.wanted));
        }
        Ok(Self {
            negotiation,
            version,
            partitions: Descriptors::new(),
            sve: true,
            seconds: None,
            cycles: None,
            testers: ArrayVec::new(),
            spares: ArrayVec::new(),
            aborted: ArrayVec::new(),
            case: 0,
            state: None,
            violation: None,
            state_change: None,
            state_violation: None,
        })
    }

    /// Maps the mailbox and lists the partitions.
    ///
    /// # Errors
    /// When one of the calls fails.
    pub fn list_partitions(&mut self) -> TestResult {
        self.prepare_mailbox();
        self.partitions = partition_list::get(self, self.version, Uuid::NIL)?;
        Ok(())
    }

    /// Finds the testers among the listed partitions.
    ///
    /// # Errors
    /// When there are not two, or one is of another build.
    pub fn find_testers(&mut self) -> TestResult {
        for partition in self.partitions.clone() {
            if !partition
                .properties
                .contains(Properties::DIRECT_REQ_RECEIVE)
                || self.testers.iter().any(|tester| tester.id == partition.id)
            {
                continue;
            }
            let reply = self.direct(Width::W64, partition.id, [command::HELLO, 0, 0, 0, 0]);
            let [answer, fingerprint, _, version, _] = reply.payload();
            if !reply.is(Function::MsgSendDirectResp) || answer != kind::TESTER {
                continue;
            }
            if fingerprint != FINGERPRINT & Width::W32.mask() {
                fail!(
                    "the tester {} and this normal world are of different builds",
                    partition.id
                );
            }
            let version = Version::from_word(version as u32).unwrap_or(Version::V1_0);
            let tester = Tester {
                id: partition.id,
                version,
            };
            if self.testers.try_push(tester).is_err() {
                // More than there is room for are left alone.
                let _ = self.spares.try_push(tester);
            }
        }
        // A firmware that loses its partitions must not pass by skipping.
        ensure!(
            self.testers.len() >= 2,
            "only {} of at least 2 testers answers",
            self.testers.len()
        );
        Ok(())
    }

    /// Puts canaries into the EL1, EL0 and FP/SIMD registers around every call from now on.
    pub fn watch_state(&mut self) {
        self.state = Some(StateCanaries {
            registers: Values::probe(World::Normal),
            fp: FpState::current(),
        });
    }

    /// Leaves those registers alone until [`continue_watching`](Self::continue_watching).
    pub fn stop_watching(&mut self) -> Watch {
        Watch(self.state.take())
    }

    /// Goes on where [`stop_watching`](Self::stop_watching) stopped.
    pub fn continue_watching(&mut self, watch: Watch) {
        self.state = watch.0;
    }

    /// How many EL1 and EL0 system registers hold canaries around a call.
    pub fn watched_registers(&self) -> u32 {
        self.state
            .as_ref()
            .map_or(0, |state| state.registers.count())
    }

    /// Begins a case: the mailbox is mapped and ours to use, and nothing has been violated.
    pub fn begin(&mut self, case: usize) {
        self.case = case;
        self.prepare_mailbox();
        self.violation = None;
        self.state_change = None;
    }

    /// Ends a case that did not fail by itself: no register rule was broken, and every tester that
    /// lived before still answers.
    ///
    /// # Errors
    /// When that is not so.
    pub fn end(&mut self) -> TestResult {
        if let Some(violation) = self.violation.take() {
            fail!("after a call, {violation}");
        }
        if let Some(core) = stack_overflow() {
            fail!("core {core} used more stack than it has");
        }
        for Tester { id, .. } in self.testers().into_iter().chain(self.spares()) {
            let payload = [1, 2, 3, 4, 5];
            let reply = self.direct(Width::W64, id, payload);
            if !reply.is(Function::MsgSendDirectResp)
                || reply.payload() != protocol::echo(Width::W64, payload)
            {
                fail!("afterwards {id} returned {reply} to a direct message");
            }
        }
        Ok(())
    }

    /// The first change of an EL1, EL0 or FP/SIMD register since the start, if there was one.
    pub fn state_violation(&self) -> Option<Text> {
        self.state_violation
    }

    fn prepare_mailbox(&mut self) {
        // Denied where there is nothing to release, and where the buffers are mapped already.
        self.ffa(Function::RxRelease, []);
        self.map_mailbox(Width::W64);
    }

    /// FFA_RXTX_MAP of the payload's mailbox.
    pub fn map_mailbox(&mut self, width: Width) -> Reply {
        self.call(rxtx_map(width))
    }

    /// Every tester that lives, in the order of ids, but for the spares.
    pub fn testers(&self) -> ArrayVec<Tester, 8> {
        let lives = |tester: &Tester| !self.aborted.contains(&tester.id);
        self.testers.iter().copied().filter(lives).collect()
    }

    /// Every tester beyond the eighth that lives.
    fn spares(&self) -> ArrayVec<Tester, SPARES> {
        let lives = |tester: &Tester| !self.aborted.contains(&tester.id);
        self.spares.iter().copied().filter(lives).collect()
    }

    /// The tester with this part.
    ///
    /// # Errors
    /// A skip when the configuration has too few.
    pub fn tester(&self, role: Role) -> TestResult<EndpointId> {
        match self.testers.get(role as usize) {
            Some(tester) if !self.aborted.contains(&tester.id) => Ok(tester.id),
            Some(tester) => skip!(
                "the {role:?} tester {} was aborted by an earlier test",
                tester.id
            ),
            None => skip!(
                "needs {} tester partitions, there are {}",
                role as usize + 1,
                self.testers.len()
            ),
        }
    }

    /// A tester that is allowed to end: a spare one if there is any, and none of the first two. The
    /// caller has to end it.
    ///
    /// # Errors
    /// A skip when there is none left.
    pub fn victim(&mut self) -> TestResult<EndpointId> {
        match self.spare() {
            Ok(id) => Ok(id),
            Err(_) => self.victim_with(|contexts| contexts == 1),
        }
    }

    /// A tester beyond the eighth: its manifest has the regions of `spare.dts.in`. The caller has to end it.
    ///
    /// # Errors
    /// A skip when there is none left.
    pub fn spare(&mut self) -> TestResult<EndpointId> {
        let Some(&Tester { id, .. }) = self.spares().first() else {
            skip!(
                "no spare partition is left to be aborted, of {}",
                self.spares.len()
            );
        };
        self.aborted.push(id);
        Ok(id)
    }

    /// A victim was not ended after all.
    pub fn spare_again(&mut self, id: EndpointId) {
        self.aborted.retain(|other| *other != id);
    }

    /// The tester with this id, of which the manifest says what the test needs. The caller has to end it.
    ///
    /// # Errors
    /// A skip when there is none, or it has been ended.
    pub fn victim_named(&mut self, id: u16) -> TestResult<EndpointId> {
        let id = EndpointId(id);
        if !self.testers().iter().any(|tester| tester.id == id) {
            skip!("{id} is not there, or was aborted by an earlier test");
        }
        self.aborted.push(id);
        Ok(id)
    }

    /// A tester with several execution contexts that is allowed to end, as [`victim`](Self::victim).
    ///
    /// # Errors
    /// A skip when there is none left.
    pub fn wide_victim(&mut self) -> TestResult<EndpointId> {
        self.victim_with(|contexts| contexts > 1)
    }

    fn victim_with(&mut self, wanted: impl Fn(u16) -> bool) -> TestResult<EndpointId> {
        let victims = self.testers.iter().skip(2).rev();
        let mut ids = victims.map(|tester| tester.id);
        let fits = |id: &EndpointId| {
            let contexts = self
                .descriptor(*id)
                .map_or(1, |partition| partition.contexts);
            !self.aborted.contains(id) && wanted(contexts)
        };
        let Some(id) = ids.find(fits) else {
            skip!(
                "no tester partition is left to be aborted; {} had been",
                self.aborted.len()
            );
        };
        self.aborted.push(id);
        Ok(id)
    }

    /// The second core of this world.
    ///
    /// # Errors
    /// A skip when there is none.
    pub fn second_core(&self) -> TestResult<SecondCore> {
        match SecondCore::start() {
            Some(core) => Ok(core),
            None => skip!("the machine has no second core"),
        }
    }

    /// A partition that an earlier test ended.
    pub fn aborted(&self) -> Option<EndpointId> {
        self.aborted.first().copied()
    }

    /// The descriptor of a partition.
    pub fn descriptor(&self, id: EndpointId) -> Option<&PartitionDescriptor> {
        self.partitions.iter().find(|partition| partition.id == id)
    }

    /// An id of the secure world that no partition has.
    pub fn unknown_partition(&self) -> EndpointId {
        let taken = |id| {
            self.partitions
                .iter()
                .any(|partition| partition.id == EndpointId(id))
        };
        EndpointId((0xc000..0xf000).find(|&id| !taken(id)).unwrap_or(0xf000))
    }
}

/// FFA_RXTX_MAP of the payload's mailbox, a page each.
pub fn rxtx_map(width: Width) -> Request {
    Request::ffa(Function::RxtxMap, width).with([MAILBOX.tx.address(), MAILBOX.rx.address(), 1])
}

impl Caller for NormalWorld {
    fn id(&self) -> EndpointId {
        EndpointId::NORMAL_WORLD
    }

    fn case(&self) -> usize {
        self.case
    }

    fn call(&mut self, request: Request) -> Reply {
        let canary = Canary::new(self.id());
        if let Some(state) = &mut self.state {
            state.registers.fill(canary);
            if fp::present() {
                FpState::canaries(canary).load();
                state.fp = FpState::current();
            }
        }
        let reply = request.issue(Conduit::Smc, canary);
        if let Some(state) = &self.state {
            let fp = if fp::present() {
                state.fp.difference(&FpState::current())
            } else {
                None
            };
            if let Some((name, expected, found)) = state.registers.difference().or(fp) {
                let what = Text::new(format_args!(
                    "{name} was {expected:#x} and came back as {found:#x}"
                ));
                self.state_violation.get_or_insert_with(|| {
                    Text::new(format_args!(
                        "{what}, first seen in {}, which {reply}",
                        crate::name(self.case)
                    ))
                });
                self.state_change.get_or_insert(what);
            }
        }
        if let Some(what) = rules::broken(&reply) {
            self.violation.get_or_insert(what);
        }
        reply
    }
}

impl NormalWorld {
    /// Fails if a call of this case broke a rule of the general-purpose registers.
    ///
    /// # Errors
    /// What was broken first.
    #[track_caller]
    pub fn no_violation(&mut self) -> TestResult {
        match self.violation.take() {
            Some(violation) => Err(Outcome::failed(format_args!("{violation}"))),
            None => Ok(()),
        }
    }

    /// Fails if a call of this case changed an EL1, EL0 or FP/SIMD register.
    ///
    /// # Errors
    /// What changed first.
    #[track_caller]
    pub fn no_state_change(&mut self) -> TestResult {
        match self.state_change.take() {
            Some(change) => Err(Outcome::failed(format_args!("{change}"))),
            None => Ok(()),
        }
    }

    /// Makes a call that a non-secure interrupt ends, and takes the interrupt back.
    ///
    /// # Errors
    /// When it returned anything but FFA_INTERRUPT.
    #[track_caller]
    pub fn interrupted(&mut self, request: Request) -> TestResult<Reply> {
        gic::enable(HYPERVISOR_TIMER_INTID);
        hypervisor_timer::arm(microseconds(INTERRUPT_AFTER));
        let reply = self.call(request);
        hypervisor_timer::disarm();
        gic::disable(HYPERVISOR_TIMER_INTID);
        reply.returned(Function::Interrupt)
    }

    /// Runs the context that an FFA_INTERRUPT names until it returns something else.
    ///
    /// # Errors
    /// When it never does.
    pub fn resume(&mut self, interrupt: &Reply) -> TestResult<Reply> {
        for _ in 0..100 {
            let reply = self.call(Request::run(interrupt.sender(), interrupt.receiver().0));
            if !reply.is(Function::Interrupt) {
                return Ok(reply);
            }
        }
        fail!(
            "100 times FFA_RUN of {} returned FFA_INTERRUPT",
            interrupt.sender()
        );
    }
}
