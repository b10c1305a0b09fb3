// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold after each event, and at rest.

use bulkhead_core::partition::Health;
use bulkhead_core::vcpu::{Activation, Initiator, SUSPENDED, StateName, VcpuRef, VcpuState};
use bulkhead_core::virtual_interrupt::Lines;

use super::world::{DEVICES, Place, World};

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Events that the core handled.
    pub events: u64,
    /// Times that a device asserted its line.
    pub raised: u64,
    /// Interrupts that were fetched.
    pub delivered: u64,
    /// Those of them that a GIC acknowledged.
    pub acknowledged: u64,
    /// SGIs that were sent.
    pub sgis: u64,
    /// Contexts that were entered while they waited, and while they awaited an answer.
    pub entered: u64,
    /// See `entered`.
    pub unblocked: u64,
    /// Secure interrupts in the normal world.
    pub in_normal_world: u64,
    /// Contexts that the scheduler was told of.
    pub told: u64,
    /// Timers that were set.
    pub timers: u64,
    /// Requests of partitions.
    pub requests: u64,
    /// Partitions that ended in a fault.
    pub faults: u64,
    /// Cores that came on.
    pub cores_on: u64,
    /// Cores that went off.
    pub cores_off: u64,
    /// Interrupts of nobody.
    pub unowned: u64,
}

impl Counts {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            events: self.events + other.events,
            raised: self.raised + other.raised,
            delivered: self.delivered + other.delivered,
            acknowledged: self.acknowledged + other.acknowledged,
            sgis: self.sgis + other.sgis,
            entered: self.entered + other.entered,
            unblocked: self.unblocked + other.unblocked,
            in_normal_world: self.in_normal_world + other.in_normal_world,
            told: self.told + other.told,
            timers: self.timers + other.timers,
            requests: self.requests + other.requests,
            faults: self.faults + other.faults,
            cores_on: self.cores_on + other.cores_on,
            cores_off: self.cores_off + other.cores_off,
            unowned: self.unowned + other.unowned,
        }
    }
}

/// What is known of a context's state.
struct Seen {
    name: StateName,
    activation: Option<Activation>,
    on: Option<VcpuRef>,
    suspended: bool,
}

impl World {
    /// After an event that `core` handled.
    pub fn check(&mut self, core: usize) {
        let at = &self.cores[core];
        if at.state.running().is_none() {
            assert!(!at.machine.masked, "IR5: the mask is left changed");
        } else {
            let bounded = at.machine.deadline.is_some() || at.machine.is_due();
            assert!(!at.machine.masked || bounded, "K5: masked without a bound");
        }
        for core in &self.cores {
            let Place::Partition(vcpu) = core.place else {
                assert!(core.state.running().is_none());
                continue;
            };
            // What another core made pending it is kicked for.
            let slot = &self.spmc.partitions()[vcpu.partition()].vcpus()[vcpu.vcpu()];
            let signalled = core.machine.lines.contains(slot.interrupts.lines());
            assert!(signalled || core.machine.is_due(), "IR6: {vcpu:?}");
        }
        self.count();
        self.physical();
        self.states();
        self.waiting();
    }

    /// Whoever waits and has an interrupt to handle is seen to: by a core that has one to take, or that runs a partition
    /// and looks when that is done.
    fn waiting(&self) {
        let sees = |core: &super::world::Core| match core.place {
            Place::Off => false,
            Place::Partition(_) => true,
            Place::NormalWorld | Place::Waiting => core.machine.is_due(),
        };
        for (index, partition) in self.spmc.partitions().iter().enumerate() {
            for (number, slot) in partition.vcpus().iter().enumerate() {
                if !slot.is_due() || partition.health() == Health::Aborted {
                    continue;
                }
                let seen = match &self.cores[number] {
                    core if partition.is_multi_core() => core.place == Place::Off || sees(core),
                    _ => self.cores.iter().any(sees),
                };
                assert!(seen, "IR6: nobody enters context {number} of {index}");
            }
        }
    }

    /// IR1: nothing vanishes and nothing comes twice.
    fn count(&mut self) {
        // A GIC has no tally: what devices raised is counted at their lines.
        let with_tally = self.spmc.partitions().iter().zip(&self.known);
        let with_tally = with_tally.zip(self.has_gic).filter(|(_, has_gic)| !has_gic);
        for ((partition, known), _) in with_tally {
            for (slot, known) in partition.vcpus().iter().zip(known) {
                let tally = slot.interrupts.tally();
                let ends = tally.delivered + tally.withdrawn + tally.dropped;
                assert_eq!(tally.raised, ends + tally.pending, "IR1: {tally:?}");
                // The one that this event fetched is not looked at yet.
                let unseen = tally.delivered - known.delivered;
                assert!(unseen <= 1, "IR1: {tally:?} {known:?}");
            }
        }
        assert_eq!(self.spmc.unowned_interrupts(), self.shared.borrow().unowned);
        self.counts.unowned = self.shared.borrow().unowned;
    }

    /// IR2: a physical interrupt is active while one context holds it.
    fn physical(&self) {
        let shared = self.shared.borrow();
        assert_eq!(shared.lost, [], "edges are lost");
        for (index, partition) in self.spmc.partitions().iter().enumerate() {
            for intid in DEVICES[index] {
                let line = shared.lines[intid];
                let holds = |slot: &&bulkhead_core::vcpu::Vcpu<_>| slot.interrupts.holds(*intid);
                let mut holders = partition.vcpus().iter().filter(holds).count();
                if self.has_gic[index] {
                    // It holds one for all of them.
                    holders = holders.min(1);
                }
                let active = usize::from(line.active.is_some());
                assert_eq!(holders, active, "IR2: {intid} {line:?}");
                let ended = line.acknowledged - line.deactivated;
                assert_eq!(ended, u64::from(line.active.is_some()), "IR2: {line:?}");
                if partition.health() == Health::Aborted {
                    assert_eq!(line.active, None, "I16: {intid} of an ended partition");
                }
            }
        }
    }

    fn seen(&self, vcpu: VcpuRef) -> Seen {
        let slot = &self.spmc.partitions()[vcpu.partition()].vcpus()[vcpu.vcpu()];
        slot.inspect(|state| {
            let (activation, on, home) = match state {
                VcpuState::Blocked { activation, on, .. } => (Some(*activation), Some(*on), None),
                VcpuState::Preempted {
                    activation, core, ..
                } => (Some(*activation), None, Some(*core)),
                // Without one it was handed to a core that waits for it.
                VcpuState::Running { core } => {
                    let state = &self.cores[*core].state;
                    let own = state.running() == Some(vcpu);
                    (state.activation().filter(|_| own), None, None)
                }
                _ => (None, None, None),
            };
            Seen {
                name: state.name(),
                activation,
                on,
                suspended: home == Some(SUSPENDED),
            }
        })
    }

    fn all(&self) -> Vec<VcpuRef> {
        let mut all = Vec::new();
        for (index, partition) in self.spmc.partitions().iter().enumerate() {
            for number in 0..partition.vcpus().len() {
                all.push(VcpuRef::new(index, number).expect("few"));
            }
        }
        all
    }

    /// Every context that runs is on one core, every one that is blocked awaits one that answers it, and every one that
    /// an interrupt suspended has one that gives it the core back.
    fn states(&self) {
        let all = self.all();
        let mut suspended = Vec::new();
        let mut owned = Vec::new();
        for vcpu in &all {
            let seen = self.seen(*vcpu);
            let on = |core: &&super::world::Core| core.place == Place::Partition(*vcpu);
            let running = self.cores.iter().filter(on).count();
            let handed = seen.activation.is_none();
            if seen.name == StateName::Running && !handed {
                assert_eq!(running, 1, "CV1: {vcpu:?}");
            } else {
                assert_eq!(running, 0, "CV1: {vcpu:?}");
            }
            if seen.suspended {
                suspended.push(*vcpu);
            }
            if let Some(activation) = seen.activation {
                if let Initiator::Interrupted(Some(who)) = activation.initiator() {
                    owned.push(who);
                }
                if activation.has_callee() {
                    let slot = &self.spmc.partitions()[vcpu.partition()].vcpus()[vcpu.vcpu()];
                    let mut last = slot.callee();
                    while let Some(on) = self.seen(last).on {
                        last = on;
                    }
                    owned.push(last);
                }
            }
            if let Some(on) = seen.on {
                let callee = self.seen(on).activation.expect("CV3: it awaits nobody");
                assert_eq!(callee.initiator(), Initiator::Vcpu(*vcpu), "CV3: {vcpu:?}");
            }
        }
        let key = |vcpu: &VcpuRef| (vcpu.partition(), vcpu.vcpu());
        suspended.sort_by_key(key);
        owned.sort_by_key(key);
        assert_eq!(suspended, owned, "a suspended context is lost");
    }

    /// Nothing is left to do (IR6).
    pub fn check_rest(&self) {
        let now = self.shared.borrow().now;
        for vcpu in self.all() {
            let partition = &self.spmc.partitions()[vcpu.partition()];
            if partition.health() == Health::Aborted {
                continue;
            }
            let slot = &partition.vcpus()[vcpu.vcpu()];
            let name = slot.state();
            // A context of a core that came on before its partition said where it begins stays off.
            let rests = matches!(name, StateName::Waiting | StateName::Off);
            assert!(rests, "{vcpu:?} is {name:?}");
            if name == StateName::Off {
                continue;
            }
            assert!(
                slot.interrupts.lines() == Lines::NONE,
                "IR6: {vcpu:?}: {:?}, {:?}",
                slot.interrupts,
                partition.config
            );
            let timer = slot.inspect(|state| match state {
                VcpuState::Waiting(context) => context.virtual_timer,
                _ => None,
            });
            assert_eq!(
                timer, None,
                "a virtual timer of {vcpu:?} did not fire by {now}"
            );
            let next = slot.next_deadline();
            assert_eq!(next, u64::MAX, "a timer of {vcpu:?} did not fire by {now}");
        }
        let shared = self.shared.borrow();
        for (intid, line) in &shared.lines {
            let due = line.enabled && line.asserted && line.active.is_none();
            assert!(!due, "IR6: {intid} {line:?} is not delivered");
        }
    }
}
