// SPDX-License-Identifier: MIT OR Apache-2.0
//! A secure interrupt for a context in each state, by what the core runs that takes it: I5 of the abuse cases
//! (C-07 to C-10).
//!
//! [`TABLE`] says for each cell what the core has to do. A cell brings the owner into its state and the core to
//! what it runs, lets the interrupt fire there, and compares who is entered next; then the owner is let go on, and
//! must have got the interrupt once.
//!
//! Cells that do not exist are empty:
//! - Whoever runs on the core, or waits for who does, is not there while the normal world runs.
//! - A context that is off gets none: an interrupt goes to one of the partition that has started, and one that goes
//!   off leaves its own to another (`cores.rs`).

use std::sync::{Arc, Mutex};

use bulkhead_abi::{EndpointId, Function, Registers, Version, Width};
use bulkhead_core::VcpuContext;
use bulkhead_core::interrupt::route::{HERE, Here, Route, Target, route};
use bulkhead_core::runtime_model::RuntimeModel;
use bulkhead_core::vcpu::StateName;
use bulkhead_sim::*;

const NWD: EndpointId = EndpointId(0);
/// Runs on the core that takes the interrupt.
const OTHER: EndpointId = EndpointId(0x8001);
/// Keeps another core busy.
const THIRD: EndpointId = EndpointId(0x8002);
/// Has the interrupt.
const OWNER: EndpointId = EndpointId(0x8003);
const IDS: [EndpointId; 3] = [OTHER, THIRD, OWNER];

/// The interrupt; another one of the owner; and one of the other partition.
const OURS: u32 = 34;
const MINE: u32 = 35;
const THEIRS: u32 = 36;

/// The core on which the partitions boot, and the one that takes the interrupt unless that is so at boot.
const FIRST: usize = 0;
const SECOND: usize = 1;

/// First words of requests: the interrupt fires; so it does in who is asked for it; the program waits at the gate;
/// so it does in who is asked for it; it spins; it ends; nothing.
const FIRE: u64 = 1;
const ASK_FIRE: u64 = 2;
const PASS: u64 = 3;
const ASK_PASS: u64 = 4;
const SPIN: u64 = 5;
const END: u64 = 6;
const NOTHING: u64 = 7;

#[rustfmt::skip]
static TABLE: [(Target, [Option<Route>; 5]); 10] = {
    const P: Option<Route> = Some(Route::Pend);
    const K: Option<Route> = Some(Route::Kick);
    const E: Option<Route> = Some(Route::Enter);
    const L: Option<Route> = Some(Route::Later);
    const U: Option<Route> = Some(Route::Unblock);
    const D: Option<Route> = Some(Route::Drop);
    const N: Option<Route> = None;
    // The core runs:           the normal world, who signals, who queues, who handles one, who initialises
    [
        (Target::Running,          [N, P, P, P, P]),
        (Target::RunningElsewhere, [K, K, K, K, K]),
        (Target::Waiting,          [E, E, L, L, L]),
        (Target::Left,             [P, P, P, P, P]),
        (Target::OverBudget,       [P, P, P, P, P]),
        (Target::BlockedHere,      [N, U, L, L, L]),
        (Target::BlockedElsewhere, [P, P, P, P, P]),
        (Target::Preempted,        [P, P, P, P, P]),
        (Target::Off,              [N, N, N, N, N]),
        (Target::Aborted,          [D, D, D, D, D]),
    ]
};

#[derive(Clone, Copy, Debug)]
struct Cell {
    here: Here,
    target: Target,
}

/// An entry of a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Entry {
    core: usize,
    who: EndpointId,
    model: RuntimeModel,
    words: [u64; 3],
}

#[derive(Default)]
struct Log {
    fired: bool,
    /// Who was entered last on each core before that.
    before: [Option<Entry>; 2],
    /// Who was entered after that.
    after: Vec<Entry>,
    /// What the owner handled.
    handled: Vec<u32>,
}

type Shared = Arc<Mutex<Log>>;

fn to(id: EndpointId, from: EndpointId, what: u64) -> Registers {
    request(Width::W64, from, id, [what, 0, 0, 0, 0])
}

fn is_interrupt(message: &Registers) -> bool {
    message.x[0] == Function::Interrupt.id(Width::W32)
}

impl Cell {
    /// The core that takes the interrupt.
    fn core(self) -> usize {
        match (self.here, self.target) {
            (Here::Boot, Target::Running | Target::BlockedHere) => FIRST,
            _ => SECOND,
        }
    }

    /// Whether the owner is the one that runs there, or awaits it.
    fn is_of_owner(self) -> bool {
        matches!(self.target, Target::Running | Target::BlockedHere)
    }

    /// The device asserts its line.
    fn raise(self, line: &mut Line, log: &Mutex<Log>) {
        (line.asserted, line.target) = (true, self.core());
        // As when another core took it before the owner ended.
        line.enabled = true;
        log.lock().unwrap().fired = true;
    }

    fn fire(self, sp: &mut Sp, log: &Mutex<Log>) {
        sp.line(OURS, |line| self.raise(line, log));
        // It is taken when the call is made.
        sp.call(&ffa(Function::IdGet, [0; 4]));
    }

    fn other(self, sp: &mut Sp, log: &Mutex<Log>) {
        if sp.vcpu == 0 {
            let mut register = call([0; 8]);
            register.x[0] = Function::SecondaryEpRegister.id(Width::W64);
            register.x[1] = sp.entry_point();
            assert_function(&sp.call(&register), Function::Success);
        } else if self.here == Here::Boot && !self.is_of_owner() {
            self.fire(sp, log);
        }
        sp.enable(&[THEIRS]);
        let mut message = sp.wait();
        loop {
            message = if is_interrupt(&message) {
                assert_eq!(sp.fetch(), Some(THEIRS));
                self.fire(sp, log);
                sp.line(THEIRS, |line| line.asserted = false);
                assert!(sp.deactivate(THEIRS));
                sp.wait()
            } else {
                if message.x[3] == FIRE {
                    self.fire(sp, log);
                }
                sp.respond(&message, [message.x[3], 0, 0, 0, 0])
            };
        }
    }

    fn owner(self, sp: &mut Sp, log: &Mutex<Log>, gate: &Gate) {
        sp.enable(&[OURS, MINE]);
        if self.here == Here::Boot && self.is_of_owner() {
            self.work(
                sp,
                log,
                gate,
                if self.target == Target::Running {
                    FIRE
                } else {
                    ASK_FIRE
                },
            );
        }
        let mut message = sp.wait();
        loop {
            if is_interrupt(&message) && message.x[2] == u64::from(MINE) {
                assert_eq!(sp.fetch(), Some(MINE));
                sp.line(MINE, |line| line.asserted = false);
                let running = self.target == Target::Running;
                self.work(sp, log, gate, if running { FIRE } else { ASK_FIRE });
                assert!(sp.deactivate(MINE));
                message = sp.wait();
                continue;
            }
            let what = if message.x[0] == Function::MsgSendDirectReq.id(Width::W64) {
                message.x[3]
            } else {
                NOTHING
            };
            self.work(sp, log, gate, what);
            message = match what {
                NOTHING if is_interrupt(&message) => sp.wait(),
                NOTHING if message.x[0] == Function::Run.id(Width::W32) => sp.wait(),
                _ => sp.respond(&message, [what, 0, 0, 0, 0]),
            };
        }
    }

    /// What the owner does for a request; then it handles what is pending.
    fn work(self, sp: &mut Sp, log: &Mutex<Log>, gate: &Gate, what: u64) {
        let handle = |sp: &mut Sp| {
            let handled = sp.handle_all();
            log.lock().unwrap().handled.extend(handled);
        };
        match what {
            FIRE => self.fire(sp, log),
            ASK_FIRE => {
                let mut reply = sp.call(&to(OTHER, OWNER, FIRE));
                while is_interrupt(&reply) {
                    handle(sp);
                    reply = sp.call(&run(OTHER, self.core() as u16));
                }
                assert_eq!((error(&reply), reply.x[3]), (None, FIRE));
            }
            PASS => {
                gate.pass();
                // Only another core's kick ends this.
                sp.spin(&call([0; 8]));
            }
            ASK_PASS => {
                let reply = sp.call(&to(THIRD, OWNER, PASS));
                assert_eq!((error(&reply), reply.x[3]), (None, PASS));
            }
            SPIN => {
                sp.spin(&call([0; 8]));
            }
            END => {
                sp.call(&ffa(Function::Abort, [0; 4]));
            }
            _ => {}
        }
        handle(sp);
    }

    fn boot(self, log: &Shared, gate: &Arc<Gate>) -> Sim {
        let logs = [log.clone(), log.clone(), log.clone()];
        let gates = [gate.clone(), gate.clone()];
        let [of_other, of_owner, watched] = logs;
        let [of_third, gate] = gates;
        let queues = self.here == Here::Queues;
        let other = Spec::new("other", OTHER, move |sp| self.other(sp, &of_other))
            .multi_core()
            .interrupts(&[THEIRS])
            .with(|config| config.other_secure_interrupts_queued = queues);
        let third = Spec::new("third", THIRD, move |sp| {
            let mut message = sp.wait();
            loop {
                of_third.pass();
                message = sp.respond(&message, [message.x[3], 0, 0, 0, 0]);
            }
        });
        let owner = Spec::new("owner", OWNER, move |sp| self.owner(sp, &of_owner, &gate))
            .interrupts(&[OURS, MINE])
            .with(|config| {
                config.version = Version::V1_3;
                config.other_secure_interrupts_queued = queues;
                config.sri_while_waiting = self.target == Target::Left;
                if self.target == Target::OverBudget {
                    config.interrupt_share = 0;
                }
            });
        let mut sim = Sim::builder()
            .cores(2)
            .partition(other)
            .partition(third)
            .partition(owner)
            .watch(move |_, core, _| {
                let entry = Entry {
                    core: core.index,
                    who: IDS[core.running().unwrap().partition()],
                    model: core.activation().unwrap().model(),
                    words: {
                        let registers = core.context().unwrap().registers();
                        [registers.x[0], registers.x[1], registers.x[2]]
                    },
                };
                let mut log = watched.lock().unwrap();
                if log.fired {
                    log.after.push(entry);
                } else {
                    let core = entry.core;
                    log.before[core] = Some(entry);
                }
            })
            .boot();
        sim.negotiate(Version::OURS);
        if self.here != Here::Boot {
            sim.core(SECOND).switch_on();
        }
        sim
    }

    /// Brings the owner where it is to be, as far as that is not on the core that takes the interrupt. What it is
    /// asked for on a thread is returned.
    fn place(self, first: &mut Core) -> Option<Registers> {
        match self.target {
            Target::RunningElsewhere => Some(to(OWNER, NWD, PASS)),
            Target::BlockedElsewhere => Some(to(OWNER, NWD, ASK_PASS)),
            Target::Preempted => {
                first.raise_in_spin(Pending::NonSecure);
                assert_function(&first.call(&to(OWNER, NWD, SPIN)), Function::Interrupt);
                assert_eq!(first.take_non_secure_interrupts(), 1);
                None
            }
            Target::Aborted => {
                let reply = first.call(&to(OWNER, NWD, END));
                assert_error(&reply, bulkhead_abi::FfaError::Aborted);
                None
            }
            _ => None,
        }
    }

    /// The core comes to what it is to run, and the interrupt fires.
    fn take(self, second: &mut Core, look: &Look, log: &Mutex<Log>) {
        let answered = |second: &mut Core, id, what| {
            let reply = second.call(&to(id, NWD, what));
            assert_eq!((error(&reply), reply.x[3]), (None, what));
        };
        match (self.here, self.target) {
            (Here::Boot, Target::Running | Target::BlockedHere) => {}
            (Here::Boot, _) => second.switch_on(),
            (Here::NormalWorld, _) => {
                look.line(OURS, |line| self.raise(line, log));
                second.run_normal_world();
            }
            (Here::Interrupt, _) => {
                let intid = if self.is_of_owner() { MINE } else { THEIRS };
                look.line(intid, |line| (line.asserted, line.target) = (true, SECOND));
                second.run_normal_world();
            }
            (_, Target::Running) => answered(second, OWNER, FIRE),
            (_, Target::BlockedHere) => answered(second, OWNER, ASK_FIRE),
            _ => answered(second, OTHER, FIRE),
        }
        assert!(log.lock().unwrap().fired, "{self:?}");
    }

    /// Compares who was entered, up to the return to the normal world.
    fn compare(self, wanted: Route, log: &Log) {
        let core = self.core();
        let here: Vec<_> = log
            .after
            .iter()
            .filter(|entry| entry.core == core)
            .collect();
        let before = log.before[core].as_ref();
        let owners: Vec<_> = here.iter().filter(|entry| entry.who == OWNER).collect();
        let interrupt = |awaited| [Function::Interrupt.id(Width::W32), awaited, u64::from(OURS)];
        let goes_on = || {
            let (before, after) = (before.expect("an entry"), here[0]);
            assert_eq!((before.who, before.model), (after.who, after.model));
        };
        match wanted {
            Route::Enter => {
                assert_eq!(
                    (here[0].who, here[0].model),
                    (OWNER, RuntimeModel::SecureInterrupt)
                );
                assert_eq!(here[0].words, interrupt(0));
            }
            Route::Unblock => {
                assert_eq!(here[0].who, OWNER);
                assert!(matches!(here[0].model, RuntimeModel::DirectRequest { .. }));
                let awaited = EndpointId::pair(OTHER, EndpointId(core as u16));
                assert_eq!(here[0].words, interrupt(awaited), "C-09");
            }
            Route::Later => {
                goes_on();
                let next = owners.first().expect("it is entered when the core can");
                let (model, words) = match self.target {
                    Target::Waiting => (RuntimeModel::SecureInterrupt, interrupt(0)),
                    // The answer that it awaited.
                    _ => {
                        let id = Function::MsgSendDirectResp.id(Width::W64);
                        (next.model, [id, EndpointId::pair(OTHER, OWNER), 0])
                    }
                };
                assert_eq!((next.model, next.words), (model, words));
            }
            Route::Pend if self.target == Target::Running => goes_on(),
            Route::Pend | Route::Kick | Route::Drop => {
                assert!(owners.is_empty(), "{owners:?}");
                if self.here == Here::NormalWorld {
                    assert!(here.is_empty(), "{here:?}");
                } else {
                    goes_on();
                }
            }
        }
    }

    /// Lets the owner go on where it was left.
    fn release(self, first: &mut Core, second: &mut Core) {
        match self.target {
            Target::Left => {
                assert_ne!(second.machine.schedule_receiver, 0, "the scheduler is told");
                assert_function(&second.call(&run(OWNER, 0)), Function::MsgWait);
            }
            Target::OverBudget => {
                second.machine.now = second.machine.deadline.expect("its share comes again");
                second.run_normal_world();
            }
            Target::Preempted => {
                assert_function(&first.call(&run(OWNER, 0)), Function::MsgSendDirectResp);
            }
            _ => {}
        }
    }

    fn check(self, wanted: Route) {
        let (log, gate) = (Shared::default(), Arc::new(Gate::default()));
        let sim = self.boot(&log, &gate);
        let (spmc, look) = (sim.shared_spmc(), sim.look());
        let mut cores = sim.into_cores();
        let (mut second, mut first) = (cores.pop().unwrap(), cores.pop().unwrap());
        let busy = self.place(&mut first);
        std::thread::scope(|scope| {
            let running = busy.map(|message| {
                let core = &mut first;
                let running = scope.spawn(move || core.call(&message));
                gate.reached();
                running
            });
            self.take(&mut second, &look, &log);
            self.compare(wanted, &log.lock().unwrap());
            if let Some(running) = running {
                gate.open();
                assert_function(&running.join().unwrap(), Function::MsgSendDirectResp);
            }
        });
        self.release(&mut first, &mut second);
        let dropped = wanted == Route::Drop;
        let mut handled = log.lock().unwrap().handled.clone();
        handled.retain(|intid| *intid != MINE);
        assert_eq!(handled, if dropped { vec![] } else { vec![OURS] }, "once");
        look.line(OURS, |line| {
            assert_eq!((line.active, line.enabled), (None, !dropped));
            assert_eq!((line.acknowledged, line.deactivated), (1, 1));
        });
        let slot = &spmc.partitions()[2].vcpus()[0];
        let rest = if dropped {
            StateName::Aborted
        } else {
            StateName::Waiting
        };
        assert_eq!(slot.state(), rest);
        let tally = slot.interrupts.tally();
        assert_eq!(tally.pending, 0);
        assert_eq!(tally.raised, tally.delivered + tally.dropped);
        for core in [&first, &second] {
            assert_eq!(core.machine.deadline, None);
        }
    }
}

#[test]
fn i5_an_interrupt_reaches_its_owner_once_in_each_state_as_the_table_says() {
    let mut cells = 0;
    for (target, row) in TABLE {
        for (here, wanted) in HERE.into_iter().zip(row) {
            let Some(wanted) = wanted else { continue };
            let cell = Cell { here, target };
            eprintln!("{cell:?}: {wanted:?}");
            assert_eq!(route(here, target), wanted, "the core's own table");
            cell.check(wanted);
            cells += 1;
        }
    }
    assert_eq!(cells, 10 * HERE.len() - 7);
}
