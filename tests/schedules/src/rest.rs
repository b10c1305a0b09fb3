// SPDX-License-Identifier: MIT OR Apache-2.0
//! What holds when no core is in the SPMC, whatever the schedule was; and what must still work then.

use bulkhead_abi::{FfaError, Function};
use bulkhead_core::runtime_model::RuntimeModel;
use bulkhead_core::vcpu::{Activation, Initiator, StateName, VcpuState};
use bulkhead_sim::{error, ffa};

use crate::program::{Deed, status};
use crate::world::{Core, NWD, Outcome, World, id};

/// The ids of VMs that scenarios use.
pub const VM_IDS: [u16; 2] = [1, 2];

/// An execution context: the indices of its partition and of itself.
type Name = (usize, usize);

/// The state of an execution context.
struct Seen {
    name: Name,
    state: StateName,
    /// Whom it waits for.
    on: Option<Name>,
    /// The core that it must go on.
    core: Option<usize>,
    activation: Option<Activation>,
}

fn look(world: &World) -> Vec<Seen> {
    let mut seen = Vec::new();
    for (index, partition) in world.spmc.partitions().iter().enumerate() {
        for (number, vcpu) in partition.vcpus().iter().enumerate() {
            let (on, core, activation) = vcpu.inspect(|state| match state {
                VcpuState::Blocked { activation, on, .. } => {
                    (Some((on.partition(), on.vcpu())), None, Some(*activation))
                }
                VcpuState::Preempted {
                    activation, core, ..
                } => (None, Some(*core), Some(*activation)),
                _ => (None, None, None),
            });
            seen.push(Seen {
                name: (index, number),
                state: vcpu.state(),
                on,
                core,
                activation,
            });
        }
    }
    seen
}

/// Fails unless CV1 to CV6 hold of all execution contexts, and no ended partition has buffers.
pub fn check(cores: &[Core]) {
    let world = &cores[0].world;
    let all = look(world);
    let find = |name: Name| all.iter().find(|one| one.name == name).expect("a context");
    for one in &all {
        let multi = world.specs[one.name.0].is_multi();
        assert_ne!(one.state, StateName::Running, "CV1: {:?}", one.name);
        if one.state == StateName::Aborted {
            assert!(world.is_ended(one.name.0), "CV6: {:?}", one.name);
        }
        if let (Some(core), true) = (one.core, multi) {
            assert_eq!(core, one.name.1, "CV4: {:?} on another core", one.name);
        }
        if let Some(on) = one.on {
            let awaited = find(on).activation.map(|activation| activation.initiator());
            assert!(
                matches!(awaited, Some(Initiator::Vcpu(by)) if (by.partition(), by.vcpu()) == one.name),
                "CV3: {:?} waits for {on:?}, which serves {awaited:?}",
                one.name
            );
        }
        check_chain(&find, one, all.len());
    }
    cores[0].machine.with_mailboxes(|mailboxes| {
        for index in 0..world.specs.len() {
            let mapped = mailboxes.slots[index + 1].is_some();
            assert!(
                !mapped || !world.is_ended(index),
                "K8: a buffer of {} stays mapped",
                id(index)
            );
        }
    });
}

/// The chain from `one` leads back to the normal world, and each link waits for the next.
fn check_chain<'a>(find: &impl Fn(Name) -> &'a Seen, one: &'a Seen, most: usize) {
    let mut link = one;
    for _ in 0..most {
        let Some(activation) = link.activation else {
            return;
        };
        let by = match activation.initiator() {
            Initiator::Boot => panic!("{:?} initialises still", link.name),
            Initiator::NormalWorld => {
                if let RuntimeModel::DirectRequest { origin, .. } = activation.model() {
                    assert_eq!(origin, NWD, "CV5: {:?}", link.name);
                }
                return;
            }
            Initiator::Interrupted(by) => {
                panic!(
                    "{:?} handles an interrupt and interrupted {by:?}",
                    link.name
                )
            }
            Initiator::Vcpu(by) => find((by.partition(), by.vcpu())),
        };
        assert_eq!(
            by.on,
            Some(link.name),
            "CV2: nobody waits for {:?}",
            link.name
        );
        match activation.model() {
            RuntimeModel::DirectRequest { origin, .. } => {
                assert_eq!(origin, id(by.name.0), "CV5: {:?}", link.name);
            }
            other => panic!("CV5: {:?} serves a partition in {other:?}", link.name),
        }
        link = by;
    }
    panic!("CV2: a chain through {:?} does not end", one.name);
}

/// Everyone behaves: what was preempted is resumed and every chain ends; then every partition that is
/// there answers on every core, and everything that is mapped can be unmapped.
pub fn settle(mut cores: Vec<Core>) {
    check(&cores);
    for core in &mut cores {
        resume_all(core);
    }
    check(&cores);
    for one in look(&cores[0].world) {
        assert!(one.activation.is_none(), "CV3: {:?} is lost", one.name);
    }
    for core in &mut cores {
        probe(core);
    }
    unmap(&mut cores[0]);
    check(&cores);
}

/// Resumes whatever was preempted on `core`.
fn resume_all(core: &mut Core) {
    for _ in 0..32 {
        let mut all = look(&core.world).into_iter();
        let index = core.index();
        let Some(preempted) = all.find(|one| one.core == Some(index)) else {
            return;
        };
        let (partition, vcpu) = preempted.name;
        let vcpu = u16::try_from(vcpu).expect("small");
        core.call(&bulkhead_sim::run(id(partition), vcpu));
    }
    panic!("PG1: a preempted chain does not end");
}

/// Asks every partition on `core`, and gives it cycles.
fn probe(core: &mut Core) {
    for index in 0..core.world.specs.len() {
        let partition = &core.world.spmc.partitions()[index];
        let vcpu = partition.vcpu_for_core(core.index());
        let state = partition.vcpus()[vcpu].state();
        let (asked, ran) = if core.world.is_ended(index) {
            (Outcome::Error(FfaError::Aborted), Err(FfaError::Aborted))
        } else if state == StateName::Off {
            (Outcome::Error(FfaError::Busy), Err(FfaError::Busy))
        } else {
            (Outcome::Answer(0), Ok(()))
        };
        assert_eq!(core.ask(index, &[]), asked, "{} in {state:?}", id(index));
        assert_eq!(core.run(index), ran, "{} in {state:?}", id(index));
    }
}

/// Unmaps every mailbox, each if and only if S-EL2 has it in its map.
fn unmap(core: &mut Core) {
    let partitions = core.world.specs.len();
    let mapped: Vec<bool> = core
        .machine
        .with_mailboxes(|mailboxes| mailboxes.slots.iter().map(Option::is_some).collect());
    for index in 0..partitions {
        let expected = if mapped[index + 1] {
            Outcome::Answer(0)
        } else if core.world.is_ended(index) {
            Outcome::Error(FfaError::Aborted)
        } else {
            Outcome::Answer(status(FfaError::InvalidParameters))
        };
        assert_eq!(core.ask(index, &[Deed::Unmap]), expected, "{}", id(index));
    }
    let mut unmap = |vm: u16| {
        let reply = core.call(&ffa(Function::RxtxUnmap, [u64::from(vm) << 16, 0, 0, 0]));
        error(&reply).is_none()
    };
    assert_eq!(unmap(0), mapped[0], "the normal world's mailbox");
    let vms = VM_IDS.into_iter().filter(|vm| unmap(*vm)).count();
    let expected = mapped[partitions + 1..].iter().filter(|is| **is).count();
    assert_eq!(vms, expected, "the mailboxes of VMs");
    core.machine.with_mailboxes(|mailboxes| {
        assert!(
            mailboxes.slots.iter().all(Option::is_none),
            "a buffer stays mapped"
        );
    });
}
