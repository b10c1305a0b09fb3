// SPDX-License-Identifier: MIT OR Apache-2.0
//! The partitions of the configuration `interrupts`, and what the normal world does with their devices.

use bulkhead_abi::paravirt::Paravirt;
use bulkhead_abi::{EndpointId, Function, Width};
use bulkhead_payload::cores::{Core, Words};
use bulkhead_payload::counter::{self, microseconds};
use bulkhead_payload::devices::Device;
use bulkhead_payload::{Canary, Conduit, Reply, Request, gic};

use super::driver::{COUNTS, count, flag};
use super::halves::half;
use crate::normal_world::NormalWorld;
use crate::outcome::{TestResult, equal};
use crate::protocol::{Caller, run_half, status};
use crate::{ensure, fail, rules, skip};

pub(super) const NWD: EndpointId = EndpointId::NORMAL_WORLD;

/// A partition by its part, as its manifest has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// One context; it owns the real-time clock. Non-secure interrupts are signalled.
    Clock = 0x8001,
    /// One context and no device. Non-secure interrupts are signalled.
    Plain = 0x8002,
    /// A context for each core.
    Wide = 0x8003,
    /// One context; it owns the GPIO block. A test ends it.
    Gpio = 0x8004,
    /// One context; it asks for a managed exit.
    Managed = 0x8005,
    /// Another one.
    ManagedToo = 0x8006,
    /// One context; interrupts of others are queued, and its own are left to the scheduler while it waits.
    Patient = 0x8007,
}

impl Part {
    /// Its id.
    ///
    /// # Errors
    /// A skip when it is not there.
    pub fn id(self, world: &NormalWorld) -> TestResult<EndpointId> {
        let id = EndpointId(self as u16);
        if !world.testers().iter().any(|tester| tester.id == id) {
            skip!("the partition {self:?}, {id}, is not there, or was aborted by an earlier test");
        }
        Ok(id)
    }
}

/// What an execution context counted: see [`count`].
#[derive(Clone, Copy)]
pub(super) struct Counts(pub [u64; COUNTS]);

impl Counts {
    /// Fails unless a count is what it should be.
    #[track_caller]
    pub fn has(&self, which: usize, what: &str, expected: u64) -> TestResult {
        equal(what, self.0[which], expected)
    }

    /// Nothing was found that nobody enabled, no handler ran for nothing, and nothing was refused.
    #[track_caller]
    pub fn are_clean(&self) -> TestResult {
        self.has(count::FOREIGN, "interrupts that nobody enabled", 0)?;
        self.has(count::SPURIOUS, "exceptions without an interrupt", 0)?;
        self.has(count::NOT_DEACTIVATED, "deactivations refused", 0)?;
        self.has(count::WAIT_REFUSED, "FFA_MSG_WAIT refused", 0)
    }

    /// So many device interrupts and nothing else, cleanly.
    #[track_caller]
    pub fn are_of_device(&self, events: u64) -> TestResult {
        self.has(count::DEVICE, "device interrupts", events)?;
        for other in [count::PHYSICAL, count::VIRTUAL, count::IPI] {
            self.has(other, "other interrupts", 0)?;
        }
        self.are_clean()
    }
}

/// Sets the driver of a partition's context on this core up.
#[track_caller]
pub(super) fn prepare(
    world: &mut NormalWorld,
    id: EndpointId,
    flags: u64,
    device: Option<Device>,
) -> TestResult {
    let intid = device.map_or(0, Device::intid);
    world.invoke(id, half::PREPARE, [flags, intid.into(), 0])?;
    Ok(())
}

/// Whether a partition has a GIC of its own.
pub(super) fn has_gic(world: &mut NormalWorld, id: EndpointId) -> TestResult<bool> {
    let [found, ..] = world.invoke(id, half::PREPARE, [0; 3])?;
    Ok(found != 0)
}

/// The driver is set up no more.
pub(super) fn quiet(world: &mut NormalWorld, id: EndpointId) -> TestResult {
    prepare(world, id, 0, None)
}

/// What the context on this core has counted.
#[track_caller]
pub(super) fn counts(world: &mut NormalWorld, id: EndpointId) -> TestResult<Counts> {
    let mut counts = [0; COUNTS];
    for (from, chunk) in (0_u64..).step_by(4).zip(counts.chunks_exact_mut(4)) {
        chunk.copy_from_slice(&world.invoke(id, half::COUNTS, [from, 0, 0])?);
    }
    Ok(Counts(counts))
}

/// A paravirtual call of the context on this core; x0.
#[track_caller]
pub(super) fn paravirtual(
    world: &mut NormalWorld,
    id: EndpointId,
    call: Paravirt,
    [x1, x2, x3]: [u64; 3],
) -> TestResult<u64> {
    let arguments = [call.id(), x1, x2 | x3 << 32];
    let [x0, ..] = world.invoke(id, half::CALL, arguments)?;
    Ok(x0)
}

/// Has the owner of a device route its interrupt to a core.
#[track_caller]
pub(super) fn route(
    world: &mut NormalWorld,
    owner: EndpointId,
    device: Device,
    core: usize,
) -> TestResult {
    /// RECONFIGURE's command.
    const TARGET_PE: u64 = 0;
    let arguments = [device.intid().into(), TARGET_PE, core as u64];
    let x0 = paravirtual(world, owner, Paravirt::InterruptReconfigure, arguments)?;
    equal("the status of re-targeting", x0, 0)
}

/// How long an interrupt may take to be handled, in microseconds.
const PATIENCE: u64 = 100_000;

/// Waits until the device's interrupt was handled.
#[track_caller]
pub(super) fn settled(device: Device) -> TestResult {
    let begin = counter::now();
    while device.is_raised() {
        ensure!(
            counter::now().wrapping_sub(begin) < microseconds(PATIENCE),
            "the interrupt of {device:?} was not handled within {PATIENCE} us"
        );
        counter::pause();
    }
    Ok(())
}

/// Raises the device's interrupt and waits until it was handled; the GIC's priorities here are as before (I17).
#[track_caller]
pub(super) fn event(device: Device) -> TestResult {
    let before = gic::priorities();
    device.raise();
    settled(device)?;
    same_priorities(before)
}

/// PMR and running priority are as they were.
#[track_caller]
pub(super) fn same_priorities([mask, running]: [u64; 2]) -> TestResult {
    let [mask_now, running_now] = gic::priorities();
    equal("ICC_PMR_EL1", mask_now, mask)?;
    equal("ICC_RPR_EL1", running_now, running)
}

/// The second core.
///
/// # Errors
/// A skip when there is none.
pub(super) fn second_core() -> TestResult<Core> {
    match Core::start(1) {
        Some(core) => Ok(core),
        None => skip!("the machine has no second core"),
    }
}

/// The request that has a partition run a half of this case.
pub(super) fn half_request(
    world: &NormalWorld,
    to: EndpointId,
    half: usize,
    arguments: [u64; 3],
) -> Request {
    Request::direct(Width::W64, NWD, to, run_half(world.case(), half, arguments))
}

/// Starts a call on another core.
pub(super) fn start_on(core: &mut Core, request: Request) {
    core.post(
        |_, words| {
            let mut request = Request::new(words[0]);
            request.x[..8].copy_from_slice(words);
            let reply = request.issue(Conduit::Smc, Canary::new(NWD));
            words.copy_from_slice(&reply.registers.x[..8]);
            if rules::broken(&reply).is_some() {
                words[0] = u64::MAX;
            }
        },
        core::array::from_fn(|index| request.x[index]),
    );
}

/// The results of the half that was started on another core.
#[track_caller]
pub(super) fn results_of(core: &mut Core) -> TestResult<[u64; 4]> {
    let [x0, x1, x2, status, a, b, c, d] = core.finish();
    ensure!(
        x0 == Function::MsgSendDirectResp.id(Width::W64) && status == status::OK,
        "core {} got x0={x0:#x} x1={x1:#x} x2={x2:#x} status={status:#x}",
        core.index()
    );
    Ok([a, b, c, d])
}

/// Runs a half on another core.
#[track_caller]
pub(super) fn invoke_on(
    core: &mut Core,
    world: &NormalWorld,
    to: EndpointId,
    half: usize,
    arguments: [u64; 3],
) -> TestResult<[u64; 4]> {
    start_on(core, half_request(world, to, half, arguments));
    results_of(core)
}

/// [`counts`] of the context on another core.
#[track_caller]
pub(super) fn counts_on(
    core: &mut Core,
    world: &NormalWorld,
    id: EndpointId,
) -> TestResult<Counts> {
    let mut counts = [0; COUNTS];
    for (from, chunk) in (0_u64..).step_by(4).zip(counts.chunks_exact_mut(4)) {
        chunk.copy_from_slice(&invoke_on(core, world, id, half::COUNTS, [from, 0, 0])?);
    }
    Ok(Counts(counts))
}

/// Has another core raise a device's interrupt `times` times, each `gap` microseconds after the one before was handled,
/// or after the start. Whether all were handled is word 0 of [`Core::finish`].
pub(super) fn raise_from(core: &mut Core, device: Device, times: u64, gap: u64) {
    core.post(
        raise_job,
        [device.intid().into(), times, gap, 0, 0, 0, 0, 0],
    );
}

fn raise_job(_: usize, words: &mut Words) {
    let [intid, times, gap, ..] = *words;
    *words = [0; 8];
    let Some(device) = Device::with_intid(intid as u32) else {
        return;
    };
    for _ in 0..times {
        counter::spin(microseconds(gap));
        device.raise();
        if settled(device).is_err() {
            return;
        }
    }
    words[0] = 1;
}

/// Fails unless all that [`raise_from`] raised was handled.
#[track_caller]
pub(super) fn all_handled(core: &mut Core) -> TestResult {
    let [handled, ..] = core.finish();
    equal("whether what another core raised was handled", handled, 1)
}

/// Has the reply of a request, which may be an interruption, come to its end.
#[track_caller]
pub(super) fn complete(world: &mut NormalWorld, mut reply: Reply) -> TestResult<Reply> {
    for _ in 0..1000 {
        if !reply.is(Function::Interrupt) && !reply.is(Function::Yield) {
            return Ok(reply);
        }
        reply = world.call(Request::run(reply.sender(), reply.receiver().0));
    }
    fail!("FFA_RUN returned {reply} a thousand times");
}

/// Flags of a driver whose interrupts are unmasked, as IRQ and as FIQ, and of one that polls.
pub(super) const WAYS: [u64; 3] = [flag::UNMASKED, flag::UNMASKED | flag::FIQ, 0];

/// How many steps of a loop this core makes in `time` microseconds, and the longest one, in ticks.
pub(super) fn progress(time: u64) -> [u64; 2] {
    let begin = counter::now();
    let (mut last, mut steps, mut longest) = (begin, 0, 0);
    while last.wrapping_sub(begin) < microseconds(time) {
        let now = counter::now();
        longest = longest.max(now - last);
        last = now;
        steps += 1;
    }
    [steps, longest]
}
