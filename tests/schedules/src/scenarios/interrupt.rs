// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts and timers of partitions, against everything else that happens to them (I5, I16, I18, IR1 to IR6).

use bulkhead_abi::FfaError;
use bulkhead_core::vcpu::StateName;

use super::all_on;
use super::notification::{ask, negotiate};
use crate::program::Deed;
use crate::rest::{self, settle};
use crate::world::{Core, Outcome, Spec, at_once, choose, device, pick};

/// What a context of another partition awaits, or of the same one on another core, is a matter of luck.
pub(super) fn asked(outcome: Outcome) {
    assert!(
        matches!(
            outcome,
            Outcome::Answer(_) | Outcome::Error(FfaError::Busy | FfaError::Aborted)
        ),
        "{outcome:?}"
    );
}

pub(super) fn ran(result: Result<(), FfaError>) {
    assert!(
        matches!(
            result,
            Ok(()) | Err(FfaError::Busy | FfaError::Denied | FfaError::Aborted)
        ),
        "{result:?}"
    );
}

/// Nothing new comes: what is pending is taken, whoever has something to handle gets cycles, and then every
/// interrupt has come once.
pub(super) fn count(mut cores: Vec<Core>) {
    cores[0].pass(1000);
    for _ in 0..4 {
        cores.iter_mut().for_each(Core::take_interrupts);
    }
    seen_to(&cores);
    for _ in 0..3 {
        for core in &mut cores {
            core.take_interrupts();
            for index in 0..core.world.specs.len() {
                ran(core.run(index));
            }
        }
    }
    rest::check(&cores);
    let world = cores[0].world.clone();
    for (index, partition) in world.spmc.partitions().iter().enumerate() {
        for (number, vcpu) in partition.vcpus().iter().enumerate() {
            let tally = vcpu.interrupts.tally();
            let ends = tally.delivered + tally.withdrawn + tally.dropped + tally.pending;
            assert_eq!(tally.raised, ends, "IR1: {index}.{number} {tally:?}");
            assert_eq!(tally.pending, 0, "IR6: {index}.{number} {tally:?}");
        }
    }
    cores[0].machine.with_wires(|wires| {
        let live = |index: usize| !world.is_ended(index);
        for ((index, vcpu), set) in &wires.timers {
            assert!(
                !set || !live(*index),
                "IR1: the timer of {index}.{vcpu} is lost"
            );
        }
        for line in &wires.lines {
            let index = usize::try_from(line.intid - 40).expect("small");
            assert_eq!(line.active, None, "IR2: {line:?}");
            if live(index) {
                assert_eq!(line.raised, line.taken, "IR1: {line:?}");
            } else {
                assert!(!line.enabled, "I16: {line:?}");
            }
        }
    });
    settle(cores);
}

/// Whoever waits and has an interrupt to handle was entered, without the normal world's help (IR6) unless its manifest
/// leaves that to it.
fn seen_to(cores: &[Core]) {
    let world = &cores[0].world;
    for (index, partition) in world.spmc.partitions().iter().enumerate() {
        let waits = |number: usize| partition.vcpus()[number].state() == StateName::Waiting;
        for (number, vcpu) in partition.vcpus().iter().enumerate() {
            let left = waits(number) && vcpu.is_due();
            assert!(!left, "IR6: nobody enters {index}.{number}");
        }
        if world.specs[index] == Spec::Scheduled || world.is_ended(index) {
            continue;
        }
        cores[0].machine.with_wires(|wires| {
            for line in wires
                .lines
                .iter()
                .filter(|line| line.intid == device(index))
            {
                let mut all = partition.vcpus().iter().enumerate();
                let holder =
                    all.find(|(number, vcpu)| waits(*number) && vcpu.interrupts.holds(line.intid));
                assert!(holder.is_none(), "IR6: nobody enters {index} for {line:?}");
            }
            for ((of, number), set) in &wires.timers {
                let left = *of == index && *set && waits(*number);
                assert!(!left, "IR6: nobody enters {index}.{number} for its timer");
            }
        });
    }
}

pub(super) fn devices_are(cores: &[Core], level: bool) {
    cores[0].machine.with_wires(|wires| {
        wires.lines.iter_mut().for_each(|line| line.level = level);
    });
}

/// A device interrupts a partition, which runs, waits or begins to wait on the other core.
pub fn i5_a_device_interrupts_a_partition_that_waits_or_runs() {
    let cores = all_on(&[Spec::Device], 2);
    devices_are(&cores, pick(2) == 0);
    let (cores, _) = at_once(cores, |core| {
        for _ in 0..2 {
            match (core.index(), pick(3)) {
                (0, 0) => ran(core.run(0)),
                (0, _) => asked(core.ask(0, &[])),
                (other, _) => {
                    let target = pick(2);
                    core.raise(0, target);
                    core.take_interrupts();
                    assert_eq!(other, 1);
                }
            }
        }
    });
    count(cores);
}

/// A partition is claimed by a request while its interrupt enters it on another core, and it asks another one.
pub fn i5_r11_an_interrupt_and_a_request_claim_one_context() {
    const LISTS: [&[Deed]; 3] = [&[Deed::Ask(1)], &[Deed::Interrupt], &[]];
    const CALLS: &[Deed] = &[Deed::Release, Deed::Release];
    let cores = all_on(&[Spec::Device, choose(&[Spec::Single, Spec::Device])], 3);
    let (cores, _) = at_once(cores, |core| match core.index() {
        0 => asked(core.ask(0, choose(&LISTS))),
        1 => asked(core.ask(choose(&[0, 1]), choose(&[&[], CALLS]))),
        _ => {
            core.raise(0, choose(&[0, 1, 2]));
            core.take_interrupts();
            core.raise(0, 2);
            core.take_interrupts();
        }
    });
    count(cores);
}

/// A partition ends while its interrupt is on the way to it.
pub fn i16_k8_a_partition_ends_while_it_is_interrupted() {
    let cores = all_on(&[Spec::Device, Spec::Single], 2);
    devices_are(&cores, pick(2) == 0);
    let (cores, _) = at_once(cores, |core| {
        if core.index() == 0 {
            asked(core.ask(
                choose(&[0, 1]),
                choose(&[&[Deed::Fault], &[Deed::Ask(0), Deed::Fault]]),
            ));
        } else {
            for _ in 0..2 {
                core.raise(0, pick(2));
                core.take_interrupts();
            }
        }
    });
    count(cores);
}

/// The timer of a context that is set on one core fires there, with another's, while it is set anew on another core.
pub fn i18_a_timer_is_set_anew_while_it_fires_on_another_core() {
    const NOW: &[Deed] = &[Deed::Timer(0)];
    let mut cores = all_on(&[Spec::Device, Spec::Device], 2);
    // The first core keeps the deadlines of both, and only the second one's timer is set.
    asked(cores[0].ask(0, &[Deed::Timer(1)]));
    cores[0].pass(1);
    cores[0].take_interrupts();
    asked(cores[0].ask(1, &[Deed::Timer(2)]));
    let (cores, _) = at_once(cores, |core| {
        if core.index() == 0 {
            core.pass(2);
            core.take_interrupts();
            if pick(4) == 0 {
                asked(core.ask(choose(&[0, 1]), choose(&[NOW, &[Deed::Timer(1)]])));
            }
        } else {
            asked(core.ask(0, choose(&[NOW, &[Deed::Timer(1)]])));
            core.take_interrupts();
        }
    });
    count(cores);
}

/// Contexts of a partition interrupt each other while they wait, idle or work.
pub fn i14_contexts_interrupt_each_other() {
    const LISTS: [&[Deed]; 4] = [
        &[Deed::Ipi(1)],
        &[Deed::Ipi(0)],
        &[Deed::Idle],
        &[Deed::Ipi(0), Deed::Idle, Deed::Ipi(1)],
    ];
    let cores = all_on(&[Spec::MultiDevice], 2);
    let (cores, _) = at_once(cores, |core| {
        for _ in 0..2 {
            match pick(3) {
                0 => ran(core.run(0)),
                _ => asked(core.ask(0, choose(&LISTS))),
            }
        }
    });
    count(cores);
}

/// A core goes off and comes on while interrupts come to it and its contexts are kicked.
pub fn w2_interrupts_come_to_a_core_that_goes_off() {
    let cores = all_on(&[Spec::Device, Spec::MultiDevice], 2);
    let (cores, _) = at_once(cores, |core| {
        if core.index() == 1 {
            core.take_interrupts();
            core.switch_off();
            core.switch_on();
        } else {
            core.raise(0, 0);
            asked(core.ask(1, choose(&[&[Deed::Ipi(1)], &[]])));
            core.raise(1, 0);
            core.take_interrupts();
        }
    });
    count(cores);
}

/// The scheduler asks whom to run while interrupts come.
pub fn n10_i5_the_scheduler_asks_while_interrupts_come() {
    let mut cores = all_on(&[Spec::Device, Spec::Notified], 2);
    negotiate(&mut cores[0]);
    let (cores, _) = at_once(cores, |core| {
        for _ in 0..2 {
            if core.index() == 0 {
                ask(core);
                asked(core.ask(0, &[]));
            } else {
                core.raise(0, pick(2));
                core.take_interrupts();
            }
        }
    });
    count(cores);
}
