// SPDX-License-Identifier: MIT OR Apache-2.0
//! Partitions that crash, spin or call what they may not: K of the abuse cases, and what others see of it.

use bulkhead_abi::psci::Psci;
use bulkhead_abi::{EndpointId, FfaError, Function, Width};
use bulkhead_payload::exception::{self, class};
use bulkhead_payload::panic::foreign_address;
use bulkhead_payload::{Conduit, Request, counter, memory};

use crate::normal_world::{LONG_SPIN, NormalWorld, Role};
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_world::PartitionWorld;
use crate::protocol::{Caller, run_half};
use crate::{cases, ensure, fail, rules};

// A partition that one of these ends does not come back: each takes one from the end of the testers.
cases! {
    d13_secondary_entries_are_refused_after_initialisation: [d13_half];
    d14_a_log_of_no_or_too_many_characters_is_refused: [d14_half];
    k2_an_undefined_instruction_is_the_partitions_own_exception: [k2_half];
    k3_calls_beyond_the_allow_list_are_not_supported: [k3_half];
    k5_a_spinning_partition_is_interrupted_and_resumed: [spin_half];
    k5_a_spinning_partition_is_interrupted_again_and_again: [spin_half];
    k1_a_data_abort_ends_that_partition_only: [data_abort_half];
    k1_a_prefetch_abort_ends_that_partition_only: [prefetch_abort_half];
    c8_a_partition_is_told_that_its_callee_was_aborted: [c8_half, data_abort_half];
    g11_a_request_to_an_aborted_partition_is_aborted: [g11_half, data_abort_half];
    r4_running_an_aborted_partition_is_aborted: [g11_half, data_abort_half];
}

const NO_RESULTS: [u64; 4] = [0; 4];

fn d13_secondary_entries_are_refused_after_initialisation(world: &mut NormalWorld) -> TestResult {
    let request = Request::ffa(Function::SecondaryEpRegister, Width::W64).with([0x6000_0000]);
    world.call(request).refused(FfaError::NotSupported)?;
    world.invoke(world.tester(Role::Primary)?, 0, [0; 3])?;
    Ok(())
}

fn d13_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let Some(boot) = &world.boot else {
        fail!("this context did not boot the partition")
    };
    // A partition with one context is refused even in time.
    ensure!(
        boot.secondary_entry
            .is_none_or(|code| code == FfaError::NotSupported.code()),
        "while it initialised, the call returned {:?}",
        boot.secondary_entry
    );
    let entry = bulkhead_payload::entry::image_start() as u64;
    let request = Request::ffa(Function::SecondaryEpRegister, Width::W64).with([entry]);
    world
        .call(request)
        .refused_with_one_of(&[FfaError::Denied, FfaError::NotSupported])?;
    Ok(NO_RESULTS)
}

fn d14_a_log_of_no_or_too_many_characters_is_refused(world: &mut NormalWorld) -> TestResult {
    world.invoke(world.tester(Role::Primary)?, 0, [0; 3])?;
    Ok(())
}

fn d14_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    for (width, count) in [
        (Width::W32, 0),
        (Width::W32, 25),
        (Width::W32, 0xffff_ffff),
        (Width::W64, 0),
        (Width::W64, 129),
    ] {
        let request = Request::ffa(Function::ConsoleLog, width).with([count]);
        world.call(request).refused(FfaError::InvalidParameters)?;
    }
    Ok(NO_RESULTS)
}

fn k2_an_undefined_instruction_is_the_partitions_own_exception(
    world: &mut NormalWorld,
) -> TestResult {
    let primary = world.tester(Role::Primary)?;
    for _ in 0..3 {
        world.invoke(primary, 0, [0; 3])?;
    }
    Ok(())
}

/// UDF, and registers of EL2 and EL3, by name and by being undefined here.
fn k2_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let attempts: [fn(); 3] = [
        // SAFETY: undefined, so nothing happens but the exception that is expected.
        || unsafe { core::arch::asm!("udf #0", options(nostack)) },
        // SAFETY: as above: HCR_EL2 from EL1.
        || unsafe { core::arch::asm!("mrs {}, hcr_el2", out(reg) _, options(nostack)) },
        // SAFETY: as above: SCR_EL3 from EL1.
        || unsafe { core::arch::asm!("msr scr_el3, xzr", options(nostack)) },
    ];
    for (index, attempt) in attempts.into_iter().enumerate() {
        let ((), exception) = exception::expect(attempt);
        let Some(exception) = exception else {
            fail!("attempt {index} did nothing")
        };
        ensure!(
            exception.class() == class::UNDEFINED,
            "attempt {index} ended in {exception:?}"
        );
    }
    Ok(NO_RESULTS)
}

fn k3_calls_beyond_the_allow_list_are_not_supported(world: &mut NormalWorld) -> TestResult {
    let primary = world.tester(Role::Primary)?;
    for conduit in 0..2 {
        world.invoke(primary, 0, [conduit, 0, 0])?;
    }
    Ok(())
}

/// Every PSCI function, and ids of the ranges that EL3 serves. Were one passed on, it could end the run.
fn k3_half(world: &mut PartitionWorld, [conduit, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    let conduit = if conduit == 0 {
        Conduit::Smc
    } else {
        Conduit::Hvc
    };
    let psci = Psci::ALL.iter().flat_map(|function| {
        [Width::W32, Width::W64]
            .into_iter()
            .filter(|&width| function.has(width))
            .map(|width| function.id(width))
    });
    // SMCCC_ARCH_WORKAROUND_1, the UUIDs of the SiP and standard services, SDEI, a vendor's call.
    let others = [
        0x8000_8000,
        0x8200_ff01,
        0x8400_ff01,
        0xc400_0020,
        0xc300_0001,
    ];
    for id in psci.chain(others) {
        let reply = world.call_by(conduit, Request::new(id.into()));
        if reply.x(0) as u32 != u32::MAX {
            fail!("{id:#x} returned x0={:#x}", reply.x(0));
        }
    }
    Ok(NO_RESULTS)
}

fn spin_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    // Masks everything that a partition can mask, and gives it back at the end.
    // SAFETY: interrupts were masked before, too.
    unsafe { core::arch::asm!("msr daifset, #0xf", options(nostack)) };
    counter::spin(counter::microseconds(LONG_SPIN));
    Ok([0x600d, 0, 0, 0])
}

/// The request that makes the primary tester spin.
fn spin(world: &NormalWorld) -> TestResult<(EndpointId, Request)> {
    let primary = world.tester(Role::Primary)?;
    Ok((
        primary,
        Request::direct(
            Width::W64,
            world.id(),
            primary,
            run_half(world.case(), 0, [0; 3]),
        ),
    ))
}

fn k5_a_spinning_partition_is_interrupted_and_resumed(world: &mut NormalWorld) -> TestResult {
    let (primary, request) = spin(world)?;
    let interrupt = world.interrupted(request)?;
    equal(
        "w1 of FFA_INTERRUPT",
        interrupt.x(1),
        u64::from(primary.0) << 16,
    )?;
    // It is neither waiting nor gone.
    world
        .direct(Width::W64, primary, [0; 5])
        .refused(FfaError::Busy)?;
    let end = world
        .resume(&interrupt)?
        .returned(Function::MsgSendDirectResp)?;
    let [result, ..] = world.results(primary, &end)?;
    equal("the result of the half", result, 0x600d)
}

fn k5_a_spinning_partition_is_interrupted_again_and_again(world: &mut NormalWorld) -> TestResult {
    let (primary, mut request) = spin(world)?;
    for _ in 0..3 {
        let interrupt = world.interrupted(request)?;
        equal(
            "w1 of FFA_INTERRUPT",
            interrupt.x(1),
            u64::from(primary.0) << 16,
        )?;
        request = Request::run(primary, 0);
    }
    let end = world.call(request);
    let [result, ..] = world.results(primary, &end)?;
    equal("the result of the half", result, 0x600d)
}

fn data_abort_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let (_, exception) = exception::expect(|| memory::load(foreign_address()));
    fail!("the partition went on after a data abort, {exception:?}");
}

fn prefetch_abort_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let ((), exception) = exception::expect(|| memory::fetch(foreign_address() & !3));
    fail!("the partition went on after a prefetch abort, {exception:?}");
}

/// Ends a victim by its half number `half` of the current case. The reply is as strict about registers as
/// any other (L1).
fn end_victim(world: &mut NormalWorld, half: usize) -> TestResult<EndpointId> {
    let victim = world.victim()?;
    let payload = run_half(world.case(), half, [0; 3]);
    let reply = world.direct(Width::W64, victim, payload);
    reply.clone().refused(FfaError::Aborted)?;
    if let Some(what) = rules::strict(&reply, world.version, rules::ERROR) {
        fail!("{what}, in {reply}");
    }
    world.no_state_change()?;
    Ok(victim)
}

fn k1_a_data_abort_ends_that_partition_only(world: &mut NormalWorld) -> TestResult {
    end_victim(world, 0).map(|_| ())
}

fn k1_a_prefetch_abort_ends_that_partition_only(world: &mut NormalWorld) -> TestResult {
    end_victim(world, 0).map(|_| ())
}

fn c8_a_partition_is_told_that_its_callee_was_aborted(world: &mut NormalWorld) -> TestResult {
    let primary = world.tester(Role::Primary)?;
    let victim = world.victim()?;
    world.invoke(primary, 0, [victim.0.into(), 0, 0])?;
    Ok(())
}

fn c8_half(world: &mut PartitionWorld, [victim, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    let victim = EndpointId(victim as u16);
    let payload = run_half(world.case(), 1, [0; 3]);
    world
        .direct(Width::W64, victim, payload)
        .refused(FfaError::Aborted)?;
    world
        .direct(Width::W32, victim, [0; 5])
        .refused(FfaError::Aborted)?;
    Ok(NO_RESULTS)
}

/// A partition that was aborted: by an earlier test of this run, or now.
fn aborted(world: &mut NormalWorld) -> TestResult<EndpointId> {
    match world.aborted() {
        Some(id) => Ok(id),
        None => end_victim(world, 1),
    }
}

fn g11_a_request_to_an_aborted_partition_is_aborted(world: &mut NormalWorld) -> TestResult {
    let primary = world.tester(Role::Primary)?;
    let aborted = aborted(world)?;
    for width in [Width::W32, Width::W64] {
        world
            .direct(width, aborted, [0; 5])
            .refused(FfaError::Aborted)?;
    }
    world.invoke(primary, 0, [aborted.0.into(), 0, 0])?;
    Ok(())
}

fn g11_half(world: &mut PartitionWorld, [aborted, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    for width in [Width::W32, Width::W64] {
        world
            .direct(width, EndpointId(aborted as u16), [0; 5])
            .refused(FfaError::Aborted)?;
    }
    Ok(NO_RESULTS)
}

fn r4_running_an_aborted_partition_is_aborted(world: &mut NormalWorld) -> TestResult {
    let aborted = aborted(world)?;
    world
        .call(Request::run(aborted, 0))
        .refused(FfaError::Aborted)?;
    world
        .call(Request::run(aborted, 0))
        .refused(FfaError::Aborted)
}
