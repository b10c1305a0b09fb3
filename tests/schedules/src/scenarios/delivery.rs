// SPDX-License-Identifier: MIT OR Apache-2.0
//! The way of one interrupt to its context, with what may come between: a kick, an end, the scheduler, a core that goes
//! off (I5, I14, I16, I18, W2, IR1 to IR6).

use bulkhead_core::vcpu::StateName;

use super::interrupt::{asked, count, devices_are, ran};
use super::notification::{ask, negotiate};
use super::{all_on, interrupt};
use crate::machine::Told;
use crate::program::Deed;
use crate::world::{Core, Spec, at_once, boot, choose, device, pick};

/// A context does nothing until its interrupt, which another core takes, has come: that core kicks this one.
pub fn i5_the_core_of_a_context_that_spins_is_kicked() {
    let cores = all_on(&[Spec::Device], 2);
    devices_are(&cores, pick(2) == 0);
    let (cores, _) = at_once(cores, |core| {
        if core.index() == 0 {
            asked(core.ask(0, &[Deed::Spin]));
        } else {
            core.raise(0, 1);
            core.take_interrupts();
        }
    });
    count(cores);
}

/// A partition's handler faults: before it fetches the interrupt, or before or after it deactivates it.
pub fn i16_ir1_a_handler_faults() {
    let cores = all_on(&[Spec::Fragile, Spec::Single], 2);
    devices_are(&cores, pick(2) == 0);
    let (cores, _) = at_once(cores, |core| {
        for _ in 0..2 {
            match (core.index(), pick(3)) {
                (0, 0) => ran(core.run(0)),
                (0, 1) => asked(core.ask(0, &[Deed::Timer(0)])),
                (0, _) => asked(core.ask(1, &[Deed::Ask(0)])),
                _ => {
                    core.raise(0, pick(2));
                    core.take_interrupts();
                }
            }
        }
    });
    count(cores);
}

/// A partition's manifest leaves its interrupts to the normal world's scheduler, which asks while they come.
pub fn a87_n11_the_scheduler_is_told_of_interrupts() {
    let mut cores = all_on(&[Spec::Scheduled, Spec::Scheduled], 3);
    negotiate(&mut cores[0]);
    let (mut cores, reports) = at_once(cores, |core| match core.index() {
        0 => {
            for index in [1, 0] {
                core.raise(index, choose(&[0, 2]));
                core.take_interrupts();
            }
            0
        }
        1 => (0..2).filter(|_| ask(core)).count(),
        _ => {
            match pick(2) {
                0 => ran(core.run(pick(2))),
                _ => asked(core.ask(pick(2), &[])),
            }
            0
        }
    });
    cores.iter_mut().for_each(Core::take_interrupts);
    let told = cores[0].machine.told.lock().expect("a core failed").clone();
    let left = ask(&mut cores[1]);
    let after = told.iter().rposition(|told| *told == Told::Asked);
    let since = &told[after.map_or(0, |asked| asked + 1)..];
    assert!(
        !left || since.contains(&Told::Raised),
        "N11: nobody is told: {told:?}"
    );
    let partitions = cores[0].world.spmc.partitions().iter();
    let mut all = partitions
        .map(|partition| &partition.vcpus()[0])
        .enumerate();
    let waits = all.any(|(index, vcpu)| {
        vcpu.state() == StateName::Waiting && vcpu.interrupts.holds(device(index))
    });
    let reported = left || reports.iter().sum::<usize>() != 0;
    assert!(!waits || reported, "IR6: the scheduler is not told of it");
    count(cores);
}

/// An IPI, for which the scheduler gives a waiting context cycles, and its device's interrupt, for which Bulkhead enters
/// it, come at once.
pub fn i14_i5_an_ipi_and_a_device_interrupt_come_to_one_context() {
    let mut cores = all_on(&[Spec::MultiDevice], 2);
    negotiate(&mut cores[0]);
    let (mut cores, _) = at_once(cores, |core| {
        if core.index() == 0 {
            asked(core.ask(0, choose(&[&[Deed::Ipi(1)], &[Deed::Ipi(1), Deed::Idle]])));
        } else if pick(2) == 0 {
            core.raise(0, 1);
            core.take_interrupts();
        } else {
            asked(core.ask(0, &[]));
        }
    });
    cores.iter_mut().for_each(Core::take_interrupts);
    let vcpu = &cores[0].world.spmc.partitions()[0].vcpus()[1];
    let waits = vcpu.state() == StateName::Waiting && vcpu.interrupts.needs_cycles();
    if waits {
        assert!(ask(&mut cores[0]), "IR6: the scheduler is not told of it");
    }
    count(cores);
}

/// A context that starts enables its interrupt while its partition ends on another core.
pub fn i16_w1_a_context_enables_its_interrupt_while_its_partition_ends() {
    let cores = boot(&[Spec::MultiDevice], 2);
    let (cores, _) = at_once(cores, |core| {
        if core.index() == 0 {
            asked(core.ask(0, &[Deed::Fault]));
        } else {
            core.switch_on();
        }
    });
    count(cores);
}

/// The cores that are on.
fn on(cores: Vec<Core>, on: &[bool]) -> Vec<Core> {
    let all = cores.into_iter().zip(on);
    all.filter_map(|(core, on)| on.then_some(core)).collect()
}

/// The core that keeps the deadline of a context which runs anywhere goes off, and another one comes on or goes off.
pub fn i18_w2_the_core_that_keeps_a_deadline_goes_off() {
    let cores = all_on(&[Spec::Device], 3);
    let (cores, left) = at_once(cores, |core| match core.index() {
        0 => {
            core.pass(1);
            core.take_interrupts();
            true
        }
        1 => {
            asked(core.ask(0, choose(&[&[Deed::Timer(1)], &[Deed::Timer(2)]])));
            core.switch_off();
            false
        }
        _ => {
            match pick(3) {
                0 => asked(core.ask(0, &[])),
                1 => asked(core.ask(0, &[Deed::Timer(2)])),
                _ => core.take_interrupts(),
            }
            let off = pick(2) == 0;
            if off {
                core.switch_off();
            }
            !off
        }
    });
    count(on(cores, &left));
}

/// A core that comes on takes an interrupt before its own context is there, while the others go off.
pub fn w2_i5_an_interrupt_comes_while_contexts_go_off() {
    let mut cores = boot(&[Spec::Multi, Spec::MultiDevice], 3);
    cores[1].switch_on();
    interrupt::devices_are(&cores, pick(2) == 0);
    let (cores, left) = at_once(cores, |core| match core.index() {
        2 => {
            core.raise(1, 2);
            core.switch_on();
            core.take_interrupts();
            true
        }
        1 if pick(3) == 0 => {
            asked(core.ask(1, &[Deed::Fault]));
            true
        }
        _ => {
            core.take_interrupts();
            core.switch_off();
            false
        }
    });
    count(on(cores, &left));
}
