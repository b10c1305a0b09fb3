// SPDX-License-Identifier: MIT OR Apache-2.0
//! Notifications between the worlds, and the interrupts that tell of them, and N of the abuse
//! cases as far as they need a machine.

use bulkhead_abi::paravirt::{self, INTID_NOTIFICATION_PENDING, NO_INTERRUPT, Paravirt, SUCCESS};
use bulkhead_abi::{EndpointId, FfaError, Function, Version, Width};
use bulkhead_payload::cores::Core;
use bulkhead_payload::exception::{Interrupt, take_interrupt};
use bulkhead_payload::{Canary, Conduit, Reply, Request, gic};

use crate::normal_world::{NormalWorld, Role};
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_world::PartitionWorld;
use crate::protocol::{Caller, run_half};
use crate::{cases, ensure, skip};

cases! {
    a30_the_bitmaps_of_a_vm_come_and_go;
    a35_features_name_the_interrupts: [call_half];
    n3_n10_a_partition_creates_no_bitmaps_and_schedules_nobody: [call_half];
    n9_n14_a_partition_signals_the_normal_world_and_it_gets_each_once: [call_half];
    n7_what_is_not_bound_is_not_signalled: [call_half];
    a35_the_scheduler_is_interrupted_after_a_delayed_signal: [call_half];
    a35_the_scheduler_interrupts_a_partition_that_signals: [call_half];
    a35_a_partition_takes_its_virtual_interrupt: [call_half, npi_half];
    a37_a_signal_for_one_vcpu_interrupts_that_one: [call_half, npi_half];
    a35_a_core_that_went_off_and_on_has_its_scheduler_interrupt: [call_half];
}

const OS: EndpointId = EndpointId::NORMAL_WORLD;
/// The notifications that these tests use: one in each half of the bitmap.
const BITS: u64 = 1 << 33 | 1 << 2;
const PER_VCPU: u64 = 1;
const DELAY: u64 = 2;
const ALL: u64 = 0xf;
const SCHEDULE_RECEIVER: u32 = 8;
const VCPUS: u64 = 4;

/// Makes the call in 32-bit form whose number and w1 are the first argument's halves, w2 and w3 the
/// second's, and w4 the third. Returns x0, w2 and w3, w4 and w5, and w6 and w7.
fn call_half(world: &mut PartitionWorld, [ids, low, high]: [u64; 3]) -> TestResult<[u64; 4]> {
    const WORD: u64 = 0xffff_ffff;
    let mut request = Request::new(ids & WORD);
    request = request.with([ids >> 32, low & WORD, low >> 32, high]);
    let reply = world.call(request);
    let pair = |index: usize| reply.x(index + 1) << 32 | reply.x(index) & WORD;
    Ok([reply.x(0), pair(2), pair(4), pair(6)])
}

/// The arguments of [`call_half`].
fn call_of(function: Function, [w1, w2, w3, w4]: [u64; 4]) -> [u64; 3] {
    [
        u64::from(function.id(Width::W32) as u32) | w1 << 32,
        w2 | w3 << 32,
        w4,
    ]
}

const SUCCEEDED: u64 = 0x8400_0061;
const REFUSED: u64 = 0x8400_0060;

/// Has a partition make a call that succeeds; returns w2 to w7 in pairs.
fn made_by(
    world: &mut NormalWorld,
    partition: EndpointId,
    function: Function,
    words: [u64; 4],
) -> TestResult<[u64; 3]> {
    let [x0, rest @ ..] = world.invoke(partition, 0, call_of(function, words))?;
    if x0 != SUCCEEDED {
        crate::fail!(
            "{function} of {partition} returned {x0:#x}, w2 {:#x}",
            rest[0]
        );
    }
    Ok(rest)
}

/// Has a partition make a call that is refused with `error`.
fn refused_to(
    world: &mut NormalWorld,
    partition: EndpointId,
    function: Function,
    words: [u64; 4],
    error: FfaError,
) -> TestResult {
    let [x0, status, ..] = world.invoke(partition, 0, call_of(function, words))?;
    equal("x0", x0, REFUSED)?;
    equal("the status", status, error.to_register() & 0xffff_ffff)
}

fn pair(from: EndpointId, to: EndpointId) -> u64 {
    EndpointId::pair(from, to)
}

/// w1 to w4 of FFA_NOTIFICATION_BIND, _UNBIND and _SET.
fn words(from: EndpointId, to: EndpointId, flags: u64, bitmap: u64) -> [u64; 4] {
    [pair(from, to), flags, bitmap & 0xffff_ffff, bitmap >> 32]
}

fn create(world: &mut NormalWorld) -> TestResult {
    let request = [u64::from(OS.0), VCPUS];
    let reply = world.ffa(Function::NotificationBitmapCreate, request);
    reply.succeeded()?;
    Ok(())
}

fn destroy(world: &mut NormalWorld) -> TestResult {
    let reply = world.ffa(Function::NotificationBitmapDestroy, [u64::from(OS.0)]);
    reply.succeeded()?;
    Ok(())
}

fn get(world: &mut NormalWorld) -> TestResult<u64> {
    let reply = world.ffa(Function::NotificationGet, [u64::from(OS.0), ALL]);
    let reply = reply.succeeded()?;
    Ok(reply.x(3) << 32 | reply.x(2))
}

/// Tells what is to be scheduled: x2 and x3 of FFA_NOTIFICATION_INFO_GET, 64-bit.
fn info(world: &mut NormalWorld) -> TestResult<[u64; 2]> {
    let reply = world.call(Request::ffa(Function::NotificationInfoGet, Width::W64));
    let reply = reply.succeeded()?;
    Ok([reply.x(2), reply.x(3)])
}

fn nothing_to_schedule(world: &mut NormalWorld) -> TestResult {
    let ask = Request::ffa(Function::NotificationInfoGet, Width::W64);
    world.call(ask).refused(FfaError::NoData)
}

/// Two partitions that speak 1.1 or later; the first one receives notifications.
fn partitions(world: &NormalWorld) -> TestResult<(EndpointId, EndpointId)> {
    if world.version < Version::V1_1 {
        skip!("FF-A {} has no notifications", world.version);
    }
    Ok((world.tester(Role::Primary)?, world.tester(Role::Secondary)?))
}

fn a30_the_bitmaps_of_a_vm_come_and_go(world: &mut NormalWorld) -> TestResult {
    let (primary, _) = partitions(world)?;
    for _ in 0..3 {
        create(world)?;
        let again = [u64::from(OS.0), 1];
        let reply = world.ffa(Function::NotificationBitmapCreate, again);
        reply.refused(FfaError::Denied)?;
        destroy(world)?;
        let reply = world.ffa(Function::NotificationBitmapDestroy, [u64::from(OS.0)]);
        reply.refused(FfaError::Denied)?;
    }
    for (vm, vcpus) in [(primary.0, 1), (0x8000, 1), (1, 0), (1, 0xffff_ffff)] {
        let reply = world.ffa(Function::NotificationBitmapCreate, [u64::from(vm), vcpus]);
        reply.refused(FfaError::InvalidParameters)?;
    }
    let mut made = 0;
    for vm in 1..1000_u64 {
        let reply = world.ffa(Function::NotificationBitmapCreate, [vm, 1]);
        if !reply.is(Function::Success) {
            reply.refused(FfaError::NoMemory)?;
            break;
        }
        made = vm;
    }
    ensure!((8..999).contains(&made), "{made} VMs have bitmaps");
    for vm in 1..=made {
        let reply = world.ffa(Function::NotificationBitmapDestroy, [vm]);
        reply.succeeded()?;
    }
    create(world)?;
    destroy(world)
}

fn a35_features_name_the_interrupts(world: &mut NormalWorld) -> TestResult {
    let (primary, _) = partitions(world)?;
    let reply = world.ffa(Function::Features, [2]).succeeded()?;
    equal(
        "the schedule receiver interrupt",
        reply.x(2),
        SCHEDULE_RECEIVER.into(),
    )?;
    let refused = world.ffa(Function::Features, [1]);
    refused.refused(FfaError::NotSupported)?;
    let [found, ..] = made_by(world, primary, Function::Features, [1, 0, 0, 0])?;
    let expected = u64::from(INTID_NOTIFICATION_PENDING);
    equal("the notification pending interrupt", found, expected)?;
    let missing = FfaError::NotSupported;
    refused_to(world, primary, Function::Features, [2, 0, 0, 0], missing)
}

fn n3_n10_a_partition_creates_no_bitmaps_and_schedules_nobody(
    world: &mut NormalWorld,
) -> TestResult {
    let (primary, secondary) = partitions(world)?;
    for partition in [primary, secondary] {
        for function in [
            Function::NotificationBitmapCreate,
            Function::NotificationBitmapDestroy,
            Function::NotificationInfoGet,
        ] {
            let error = FfaError::NotSupported;
            refused_to(world, partition, function, [7, 1, 0, 0], error)?;
        }
    }
    nothing_to_schedule(world)
}

fn n9_n14_a_partition_signals_the_normal_world_and_it_gets_each_once(
    world: &mut NormalWorld,
) -> TestResult {
    let (primary, _) = partitions(world)?;
    create(world)?;
    let bind = words(primary, OS, 0, BITS);
    world.ffa(Function::NotificationBind, bind).succeeded()?;
    made_by(
        world,
        primary,
        Function::NotificationSet,
        words(primary, OS, DELAY, BITS),
    )?;
    equal("w2 of the lists", info(world)?[0], 1 << 7)?;
    nothing_to_schedule(world)?;
    let unbind = world.ffa(Function::NotificationUnbind, bind);
    unbind.refused(FfaError::Denied)?;
    equal("what is pending", get(world)?, BITS)?;
    equal("what is pending", get(world)?, 0)?;
    let unbind = [bind[0], 0, bind[2], bind[3]];
    world
        .ffa(Function::NotificationUnbind, unbind)
        .succeeded()?;
    gic::withdraw(0, SCHEDULE_RECEIVER);
    destroy(world)
}

fn n7_what_is_not_bound_is_not_signalled(world: &mut NormalWorld) -> TestResult {
    let (primary, secondary) = partitions(world)?;
    let signal = words(OS, primary, 0, 1);
    let denied = world.ffa(Function::NotificationSet, signal);
    denied.refused(FfaError::Denied)?;
    for words in [
        words(secondary, primary, 0, 1),
        words(OS, EndpointId(7), 0, 1),
        words(OS, primary, DELAY, 1),
    ] {
        let invalid = world.ffa(Function::NotificationSet, words);
        invalid.refused(FfaError::InvalidParameters)?;
    }
    let (set, denied) = (Function::NotificationSet, FfaError::Denied);
    refused_to(world, primary, set, words(primary, secondary, 0, 1), denied)?;
    refused_to(world, primary, set, words(primary, OS, 0, 1), denied)?;
    nothing_to_schedule(world)
}

fn a35_the_scheduler_is_interrupted_after_a_delayed_signal(world: &mut NormalWorld) -> TestResult {
    let (primary, secondary) = partitions(world)?;
    let bind = words(secondary, primary, 0, BITS);
    made_by(world, primary, Function::NotificationBind, bind)?;
    gic::withdraw(0, SCHEDULE_RECEIVER);
    gic::enable(SCHEDULE_RECEIVER);
    let signal = words(secondary, primary, DELAY, BITS);
    for _ in 0..2 {
        ensure!(gic::take().is_none(), "an interrupt before the signal");
        made_by(world, secondary, Function::NotificationSet, signal)?;
        let taken = gic::take().map_or(0, u64::from);
        equal("the interrupt", taken, SCHEDULE_RECEIVER.into())?;
        // Pending already: no other interrupt.
        made_by(world, secondary, Function::NotificationSet, signal)?;
        ensure!(gic::take().is_none(), "an interrupt for nothing new");
        let [counts, ids] = info(world)?;
        equal("the lists", counts, 1 << 7)?;
        equal("who is to run", ids, primary.0.into())?;
        let of = [u64::from(primary.0), ALL, 0, 0];
        let [sp, vm, framework] = made_by(world, primary, Function::NotificationGet, of)?;
        equal("what partitions signalled", sp, BITS)?;
        equal("what VMs and others signalled", vm | framework, 0)?;
    }
    gic::disable(SCHEDULE_RECEIVER);
    made_by(
        world,
        primary,
        Function::NotificationUnbind,
        [bind[0], 0, bind[2], bind[3]],
    )?;
    nothing_to_schedule(world)
}

/// The interrupt is non-secure: the partition that signals is preempted by it.
fn a35_the_scheduler_interrupts_a_partition_that_signals(world: &mut NormalWorld) -> TestResult {
    let (primary, _) = partitions(world)?;
    create(world)?;
    let bind = words(primary, OS, 0, BITS);
    world.ffa(Function::NotificationBind, bind).succeeded()?;
    gic::withdraw(0, SCHEDULE_RECEIVER);
    gic::enable(SCHEDULE_RECEIVER);
    let signal = call_of(Function::NotificationSet, words(primary, OS, 0, BITS));
    let payload = run_half(world.case(), 0, signal);
    let reply = world.direct(Width::W64, primary, payload);
    let interrupted = reply.returned(Function::Interrupt)?;
    let taken = gic::take().map_or(0, u64::from);
    equal("the interrupt", taken, SCHEDULE_RECEIVER.into())?;
    equal("what is pending", get(world)?, BITS)?;
    let reply = world.resume(&interrupted)?;
    let [x0, ..] = world.results(primary, &reply)?;
    equal("x0 of the signal", x0, SUCCEEDED)?;
    ensure!(gic::take().is_none(), "another interrupt");
    gic::disable(SCHEDULE_RECEIVER);
    nothing_to_schedule(world)?;
    destroy(world)
}

/// What [`npi_half`] does.
mod npi {
    pub const ENABLE_IRQ: u64 = 0;
    pub const ENABLE_FIQ: u64 = 1;
    pub const DISABLE: u64 = 2;
    pub const TAKE: u64 = 3;
    /// What came of [`TAKE`].
    pub const NONE: u64 = 0;
    pub const IRQ: u64 = 1;
    pub const FIQ: u64 = 2;
}

fn paravirtual(world: &mut PartitionWorld, call: Paravirt, arguments: [u64; 3]) -> Reply {
    world.call_by(Conduit::Hvc, Request::new(call.id()).with(arguments))
}

/// Enables or disables the notification pending interrupt of this vCPU; or lets it in: returns which line
/// it came on, what was fetched, what ISR_EL1 said before, and what the line was after the fetch.
fn npi_half(world: &mut PartitionWorld, [what, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    let intid = u64::from(INTID_NOTIFICATION_PENDING);
    if what != npi::TAKE {
        let arguments = match what {
            npi::ENABLE_IRQ => [intid, 1, 0],
            npi::ENABLE_FIQ => [intid, 1, 1],
            _ => [intid, 0, 0],
        };
        let reply = paravirtual(world, Paravirt::InterruptEnable, arguments);
        equal("the status of enable", reply.x(0), SUCCESS)?;
        return Ok([0; 4]);
    }
    let line = || match take_interrupt() {
        None => npi::NONE,
        Some(Interrupt::Irq) => npi::IRQ,
        Some(Interrupt::Fiq | Interrupt::SError) => npi::FIQ,
    };
    let before = line();
    let fetched = paravirtual(world, Paravirt::InterruptGet, [0; 3]).x(0);
    let after = line();
    if fetched != NO_INTERRUPT {
        let arguments = [fetched, fetched, 0];
        let reply = paravirtual(world, Paravirt::InterruptDeactivate, arguments);
        equal("the status of deactivate", reply.x(0), paravirt::SUCCESS)?;
    }
    Ok([before, fetched, after, 0])
}

fn a35_a_partition_takes_its_virtual_interrupt(world: &mut NormalWorld) -> TestResult {
    let (primary, secondary) = partitions(world)?;
    let intid = u64::from(INTID_NOTIFICATION_PENDING);
    for receiver in [primary, secondary] {
        let bind = words(OS, receiver, 0, BITS);
        made_by(world, receiver, Function::NotificationBind, bind)?;
        let fetch = [u64::from(receiver.0), ALL, 0, 0];
        for (enable, line) in [(npi::ENABLE_IRQ, npi::IRQ), (npi::ENABLE_FIQ, npi::FIQ)] {
            world.invoke(receiver, 1, [enable, 0, 0])?;
            let nothing = world.invoke(receiver, 1, [npi::TAKE, 0, 0])?;
            equal("the line before", nothing[0], npi::NONE)?;
            equal("what was fetched before", nothing[1], NO_INTERRUPT)?;
            world.ffa(Function::NotificationSet, bind).succeeded()?;
            let [before, fetched, after, _] = world.invoke(receiver, 1, [npi::TAKE, 0, 0])?;
            equal("the line", before, line)?;
            equal("what was fetched", fetched, intid)?;
            equal("the line after it was fetched", after, npi::NONE)?;
            let [sp, vm, _] = made_by(world, receiver, Function::NotificationGet, fetch)?;
            equal("what VMs signalled", vm, BITS)?;
            equal("what partitions signalled", sp, 0)?;
        }
        world.invoke(receiver, 1, [npi::DISABLE, 0, 0])?;
        world.ffa(Function::NotificationSet, bind).succeeded()?;
        let [before, fetched, ..] = world.invoke(receiver, 1, [npi::TAKE, 0, 0])?;
        equal("the line while disabled", before, npi::NONE)?;
        equal("what was fetched while disabled", fetched, NO_INTERRUPT)?;
        made_by(world, receiver, Function::NotificationGet, fetch)?;
        made_by(world, receiver, Function::NotificationUnbind, bind)?;
    }
    gic::withdraw(0, SCHEDULE_RECEIVER);
    nothing_to_schedule(world)
}

/// Runs a half of the primary partition on the second core.
fn on_second_core(
    world: &mut NormalWorld,
    to: EndpointId,
    half: usize,
    arguments: [u64; 3],
) -> TestResult<[u64; 4]> {
    let mut core = world.second_core()?;
    let payload = run_half(world.case(), half, arguments);
    let request = Request::direct(Width::W64, OS, to, payload);
    core.post(request, Canary::new(OS));
    let reply = core.reply();
    world.results(to, &reply)
}

fn a37_a_signal_for_one_vcpu_interrupts_that_one(world: &mut NormalWorld) -> TestResult {
    let (primary, _) = partitions(world)?;
    on_second_core(world, primary, 1, [npi::ENABLE_IRQ, 0, 0])?;
    world.invoke(primary, 1, [npi::ENABLE_IRQ, 0, 0])?;
    let bind = words(OS, primary, PER_VCPU, BITS);
    made_by(world, primary, Function::NotificationBind, bind)?;
    let signal = words(OS, primary, 1 << 16 | PER_VCPU, BITS);
    world.ffa(Function::NotificationSet, signal).succeeded()?;
    let [counts, ids] = info(world)?;
    equal("the lists", counts, 1 << 12 | 1 << 7)?;
    equal("who is to run", ids, 1 << 16 | u64::from(primary.0))?;
    let [line, ..] = world.invoke(primary, 1, [npi::TAKE, 0, 0])?;
    equal("the line of vCPU 0", line, npi::NONE)?;
    let [line, ..] = on_second_core(world, primary, 1, [npi::TAKE, 0, 0])?;
    equal("the line of vCPU 1", line, npi::IRQ)?;
    let of = [pair(EndpointId(1), primary), ALL, 0, 0];
    let [_, vm, _] = made_by(world, primary, Function::NotificationGet, of)?;
    equal("what was signalled", vm, BITS)?;
    on_second_core(world, primary, 1, [npi::DISABLE, 0, 0])?;
    world.invoke(primary, 1, [npi::DISABLE, 0, 0])?;
    made_by(
        world,
        primary,
        Function::NotificationUnbind,
        [bind[0], 0, bind[2], bind[3]],
    )?;
    gic::withdraw(0, SCHEDULE_RECEIVER);
    nothing_to_schedule(world)
}

fn a35_a_core_that_went_off_and_on_has_its_scheduler_interrupt(
    world: &mut NormalWorld,
) -> TestResult {
    let (primary, _) = partitions(world)?;
    world.second_core()?;
    create(world)?;
    let bind = words(primary, OS, 0, BITS);
    world.ffa(Function::NotificationBind, bind).succeeded()?;
    gic::withdraw(1, SCHEDULE_RECEIVER);
    for _ in 0..2 {
        let signal = call_of(Function::NotificationSet, words(primary, OS, DELAY, BITS));
        on_second_core(world, primary, 0, signal)?;
        ensure!(
            gic::is_pending(1, SCHEDULE_RECEIVER),
            "the interrupt is not pending on the second core"
        );
        gic::withdraw(1, SCHEDULE_RECEIVER);
        equal("what is pending", get(world)?, BITS)?;
        // Told again after each question.
        nothing_to_schedule(world)?;
        let core = Core::start(1).map(Core::stop);
        equal(
            "whether the second core went off",
            u64::from(core == Some(true)),
            1,
        )?;
    }
    destroy(world)
}
