// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls, faults and interrupts on two cores through the real core, in any order; after each of
//! them [`world`] checks that only what may change has changed. At the end everyone behaves, and
//! then every core must come back to the normal world and every partition that is left must
//! answer.

mod grammar;
mod lease;
mod machine;
mod oracle;
mod world;

use std::sync::Once;

use bulkhead_abi::function::{self, Call};
use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::psci::Psci;
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Width, framework};
use bulkhead_core::event::{Conduit, Direction, Event, Fault, FaultKind, SystemRegisterAccess};
use bulkhead_core::hardware::SystemRegister;
use bulkhead_core::partition::Health;
use bulkhead_core::vcpu::StateName;
use bulkhead_mm::attrs::Space;

use crate::input::Input;
use grammar::{IDS, SPMC, noise};
use oracle::Expect;
use world::{CORES, Place, World};

/// The most events of an input.
const STEPS: u64 = 96;

/// Formats every message of the core, and keeps none.
struct Log;

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        machine::print(*record.args());
    }

    fn flush(&self) {}
}

/// Runs the target: how the partitions are configured, then what happens.
pub fn run(data: &[u8]) {
    static LOG: Once = Once::new();
    LOG.call_once(|| {
        if log::set_logger(&Log).is_ok() {
            log::set_max_level(log::LevelFilter::Info);
        }
    });
    let mut input = Input::new(data);
    let mut world = World::new(&mut input);
    world.switch_on(0);
    for step in 1..=STEPS {
        if input.is_empty() {
            break;
        }
        let core = usize::from(input.byte()) % CORES;
        match world.cores[core].place {
            Place::Off => world.switch_on(core),
            Place::NormalWorld => normal_world_step(&mut world, core, &mut input, step),
            Place::Partition(_) => partition_step(&mut world, core, &mut input, step),
        }
    }
    settle(&mut world);
    probe(&mut world);
}

fn normal_world_step(world: &mut World, core: usize, input: &mut Input<'_>, step: u64) {
    match input.byte() {
        0..=0xdf => {
            let call = grammar::call(input, step, None, EndpointId::NORMAL_WORLD);
            // EL3 lets no call through that only it makes.
            match function::decode(call.x[0]) {
                Call::Ffa(Function::Interrupt, _) => return,
                Call::Ffa(Function::MsgSendDirectReq, _) if call.sender() == EndpointId::SPMD => {
                    return;
                }
                _ => {}
            }
            world.normal_world_call(core, call);
        }
        0xe0..=0xe7 => {
            let mut message = noise(step);
            let wanted = u32::from(input.byte() % 5)
                + input.choose(&[0x1_0000, 0x1_0000, 0x2_0000, 0x8001_0000]);
            let expected = world.negotiate(wanted);
            let words = framework::version_request(EndpointId::SPMD, SPMC, wanted);
            message.x[..8].copy_from_slice(&words);
            world.spmd_message(core, message.clone());
            let reply = &world.cores[core].state.normal_world;
            assert_eq!(reply.x[0], Function::MsgSendDirectResp.id(Width::W32));
            assert_eq!(reply.x[3], expected, "version {wanted:#x}");
            assert_eq!(reply.x[8..], message.x[8..]);
        }
        0xe8..=0xeb => {
            let mut message = noise(step);
            let off = Psci::CpuOff.id(Width::W32);
            let words = framework::psci_request(EndpointId::SPMD, SPMC, off, [0; 3]);
            message.x[..8].copy_from_slice(&words);
            world.spmd_message(core, message);
            assert_eq!(
                world.cores[core].state.normal_world.x[3], 0,
                "CPU_OFF is refused"
            );
            world.cores[core].place = Place::Off;
        }
        0xec..=0xef => {
            for _ in 0..input.byte() % 3 {
                world.cores[core].machine.secure.push_back(56);
            }
            let mut message = noise(step);
            message.x[0] = Function::Interrupt.id(Width::W32);
            world.spmd_message(core, message);
            let reply = &world.cores[core].state.normal_world;
            assert_eq!(reply.x[0], Function::NormalWorldResume.id(Width::W32));
        }
        0xf0..=0xf3 => {
            // A message of the SPMD that may be anything.
            let mut message = noise(step);
            message.x[0] = Function::MsgSendDirectReq.id(input.choose(&[Width::W32, Width::W64]));
            message.x[1] = EndpointId::pair(EndpointId::SPMD, SPMC);
            message.x[2] = 0x8000_0000 | u64::from(input.byte());
            message.x[3] = input.number();
            if !matches!(message.x[2], 0x8000_0000 | 0x8000_0008) {
                world.spmd_message(core, message);
            }
        }
        0xf4..=0xf7 => {
            // The buffers of a VM: what names them, and the call.
            let bytes = grammar::vm_buffers(input);
            if let Some(own) = &mut world.shared.borrow_mut().mailboxes[0] {
                own.tx[..bytes.len()].copy_from_slice(&bytes);
            }
            let mut call = noise(step);
            call.x[..8].fill(0);
            call.x[0] = Function::RxtxMap.id(Width::W64);
            world.normal_world_call(core, call);
        }
        0xf8..=0xfb => world.normal_world_call(core, grammar::map_buffers(input, step, None)),
        0xfc => {
            let mut shared = world.shared.borrow_mut();
            shared.broken = !shared.broken;
        }
        _ => world.cores[core].machine.now += u64::from(input.half()) << 8,
    }
}

fn partition_step(world: &mut World, core: usize, input: &mut Input<'_>, step: u64) {
    let Place::Partition(vcpu) = world.cores[core].place else {
        return;
    };
    let same = Expect::Same(world.registers(core));
    match input.byte() {
        0..=0xbf => {
            let index = vcpu.partition();
            let origin = world.known[index][vcpu.vcpu()]
                .request
                .map_or(EndpointId::NORMAL_WORLD, |(origin, ..)| origin);
            let call = grammar::call(input, step, Some(index), origin);
            let conduit = input.choose(&[Conduit::Smc, Conduit::Hvc]);
            world.partition_event(core, Event::Call(conduit), Expect::Reply(call));
        }
        0xc0..=0xcf => {
            let id = EndpointId(IDS[vcpu.partition()].0);
            let call = message_wait_or_response(world, core, step, id);
            world.partition_event(core, Event::Call(Conduit::Smc), Expect::Reply(call));
        }
        0xd0..=0xd3 => {
            let call = grammar::map_buffers(input, step, Some(vcpu.partition()));
            world.partition_event(core, Event::Call(Conduit::Hvc), Expect::Reply(call));
        }
        0xd4..=0xd7 => {
            let register = SystemRegister {
                op0: 2 + input.byte() % 2,
                op1: input.byte() % 8,
                crn: input.byte() % 16,
                crm: input.byte() % 16,
                op2: input.byte() % 8,
            };
            let access = SystemRegisterAccess {
                register,
                rt: input.byte() % 32,
                direction: input.choose(&[Direction::Read, Direction::Write]),
            };
            let expect = Expect::But(access.rt, world.registers(core));
            world.partition_event(core, Event::SystemRegister(access), expect);
        }
        0xd8..=0xdf => {
            let fault = Fault {
                kind: fault_kind(input),
                syndrome: input.long(),
                address: input.long(),
            };
            world.partition_event(core, Event::Fault(fault), same);
        }
        0xe0..=0xe7 => {
            let intid = u32::from(input.byte());
            world.cores[core].machine.secure.push_back(intid);
            world.partition_event(core, Event::SecureInterrupt, same);
        }
        0xe8..=0xf7 => {
            let group0 = input.byte() & 7 == 0;
            world.cores[core].machine.group0 |= group0;
            if group0 || !world.cores[core].machine.masked {
                world.partition_event(core, Event::NonSecureInterrupt, same);
            }
        }
        _ => time_passes(world, core),
    }
}

/// The partition spins until the deadline, if there is one.
fn time_passes(world: &mut World, core: usize) {
    let machine = &mut world.cores[core].machine;
    if let Some(deadline) = machine.deadline {
        machine.now = machine.now.max(deadline);
        let same = Expect::Same(world.registers(core));
        world.partition_event(core, Event::SecureInterrupt, same);
    }
}

fn fault_kind(input: &mut Input<'_>) -> FaultKind {
    let space = input.choose(&[Space::Secure, Space::NonSecure]);
    let ipa = input.number();
    match input.byte() % 5 {
        0 => FaultKind::Data {
            ipa,
            space,
            direction: input.choose(&[Direction::Read, Direction::Write]),
        },
        1 => FaultKind::Instruction { ipa, space },
        2 => FaultKind::External,
        3 => FaultKind::SError,
        _ => FaultKind::Exception,
    }
}

/// What a partition that behaves does next: answers its request, or waits for one.
fn message_wait_or_response(world: &World, core: usize, step: u64, own: EndpointId) -> Registers {
    let Place::Partition(vcpu) = world.cores[core].place else {
        unreachable!("no partition runs on core {core}")
    };
    let mut call = noise(step);
    match world.known[vcpu.partition()][vcpu.vcpu()].request {
        Some((origin, function, flags)) => {
            call.x[0] = match function {
                Function::MsgSendDirectReq => Function::MsgSendDirectResp.id(Width::W32),
                _ => Function::MsgSendDirectResp2.id(Width::W64),
            };
            call.x[1] = EndpointId::pair(own, origin);
            call.x[2..4].fill(0);
            if flags != 0 {
                call.x[2] = flags + 1;
            }
        }
        None => {
            call.x[..8].fill(0);
            call.x[0] = Function::MsgWait.id(Width::W32);
        }
    }
    call
}

/// Every partition that runs answers or waits, until the normal world has every core.
fn settle(world: &mut World) {
    for core in 0..CORES {
        // A chain holds each partition once, and core 0 may still be booting all of them.
        for round in 0.. {
            let Place::Partition(vcpu) = world.cores[core].place else {
                break;
            };
            assert!(round < 4 * IDS.len(), "a call chain does not end");
            let own = IDS[vcpu.partition()];
            let call = message_wait_or_response(world, core, 0xffff, own);
            let waits = call.x[0] == Function::MsgWait.id(Width::W32);
            world.partition_event(core, Event::Call(Conduit::Smc), Expect::Reply(call));
            if !waits {
                world.known[vcpu.partition()][vcpu.vcpu()].request = None;
            }
        }
    }
}

/// The normal world asks every partition, which must be reached unless it is ended or busy, and which
/// then gives its RX back.
fn probe(world: &mut World) {
    world.shared.borrow_mut().broken = false;
    for core in 0..CORES {
        if world.cores[core].place == Place::Off {
            world.switch_on(core);
            settle(world);
        }
        for (index, id) in IDS.iter().enumerate() {
            let partition = &world.spmc.partitions()[index];
            let vcpu = partition.vcpu_for_core(core);
            let state = partition.vcpus()[vcpu].state();
            let receives = partition
                .config
                .properties
                .contains(Properties::DIRECT_REQ_RECEIVE);
            let health = partition.health();
            let mut call = noise(0xfffe);
            call.x[..8].fill(0);
            let resumes = state == StateName::Preempted && health != Health::Aborted;
            if resumes {
                call.x[0] = Function::Run.id(Width::W32);
                let vcpu = u16::try_from(vcpu).expect("small");
                call.x[1] = EndpointId::pair(*id, EndpointId(vcpu));
            } else {
                call.x[0] = Function::MsgSendDirectReq.id(Width::W32);
                call.x[1] = EndpointId::pair(EndpointId::NORMAL_WORLD, *id);
                call.x[3] = 0x1234;
            }
            world.normal_world_call(core, call);
            match world.cores[core].place {
                Place::Partition(reached) => {
                    assert!(resumes || state == StateName::Waiting && receives);
                    assert!(resumes || (reached.partition(), reached.vcpu()) == (index, vcpu));
                    let mut release = noise(0xfffd);
                    release.x[..8].fill(0);
                    release.x[0] = Function::RxRelease.id(Width::W32);
                    // Accepted if and only if the partition has its RX.
                    world.partition_event(core, Event::Call(Conduit::Hvc), Expect::Reply(release));
                    settle(world);
                }
                _ => {
                    let reply = world.cores[core].state.normal_world.x[2];
                    let answers =
                        health != Health::Aborted && state == StateName::Waiting && receives;
                    assert!(
                        !answers,
                        "partition {id} waits and is not reached: {reply:#x}"
                    );
                    assert!(
                        FfaError::from_code(u32::try_from(reply).expect("32 bits").cast_signed())
                            .is_some()
                    );
                }
            }
        }
    }
}
