// SPDX-License-Identifier: MIT OR Apache-2.0
//! The partitions' halves that all tests of this suite share.

use core::sync::atomic::Ordering;

use bulkhead_abi::paravirt::{FAILURE, INTID_IPI, INTID_TIMER, Paravirt, SUCCESS};
use bulkhead_abi::{EndpointId, Function, Width};
use bulkhead_payload::counter::{self, microseconds};
use bulkhead_payload::entry::core_index;
use bulkhead_payload::exception::{self, mask_interrupts, unmask_interrupts};
use bulkhead_payload::fp::FpState;
use bulkhead_payload::panic::foreign_address;
use bulkhead_payload::timers::{Timer, wait_for_event, wait_for_interrupt};
use bulkhead_payload::{Canary, Conduit, memory, paravirtual, virtual_interrupts};

use super::driver::{COUNTS, Context, await_answer, context, count, flag, poll};
use crate::case::PartitionHalf;
use crate::outcome::{TestResult, Verdict};
use crate::partition_world::PartitionWorld;
use crate::protocol::{Caller, run_half};
use crate::{bench, ensure, fail};

/// The halves, by their numbers in [`half`].
pub(crate) const HALVES: &[PartitionHalf] = &[
    prepare_half,
    counts_half,
    call_half,
    spin_half,
    raise_half,
    arm_half,
    idle_half,
    ask_half,
    fault_half,
    order_half,
    peek_half,
    twice_half,
    set_half,
    halt_half,
    bind_half,
    super::storm::partition::storm_half,
];

/// The halves' numbers.
pub(crate) mod half {
    /// Forgets all counts, and sets the handler up: flags of [`flag`](crate::interrupts::driver::flag), and the INTID of the device
    /// whose interrupt is to be enabled, or zero. Returns whether the partition has a GIC of its own.
    pub const PREPARE: usize = 0;
    /// Four of the counts, from the position in [`count`](crate::interrupts::driver::count) on.
    pub const COUNTS: usize = 1;
    /// A paravirtual call: its id, by SMC instead of HVC with bit 32 set; x1; x2, with x3 in bits 63:32. Returns x0.
    pub const CALL: usize = 2;
    /// Spins for so many microseconds, with [`EXITS`](super::EXITS) until it is told to leave. Returns
    /// [`SPUN`](super::SPUN) and whether it left early.
    pub const SPIN: usize = 3;
    /// Raises the interrupt of its device so many times, and waits each time until it is handled. With bit 32 set, it
    /// does not wait.
    pub const RAISE: usize = 4;
    /// Arms a timer (0 physical, 1 virtual) for so many ticks from now, and has it go on with this period in ticks,
    /// if any. Returns the deadline.
    pub const ARM: usize = 5;
    /// Arms a timer for so many ticks from now, or none (2), and does WFI until it has fired, or the device interrupted.
    /// Returns how often, and the counter.
    pub const IDLE: usize = 6;
    /// Has the partition in bits 15:0 run the half in bits 31:16 with two arguments. Returns its first results.
    pub const ASK: usize = 7;
    /// Ends the partition; with an argument that is not zero, after it has raised and fetched its device's interrupt.
    pub const FAULT: usize = 8;
    /// With interrupts masked, makes those pending whose INTIDs the bytes of the argument name, lowest first. Then
    /// fetches all. Returns their INTIDs in the same form.
    pub const ORDER: usize = 9;
    /// The counter, CNTx_TVAL_EL0, and CNTx_CTL_EL0 and CNTx_CVAL_EL0 of a timer.
    pub const PEEK: usize = 10;
    /// With interrupts masked, raises the interrupt of its device, fetches and clears it and deactivates it twice.
    /// Returns whether each deactivation was accepted.
    pub const TWICE: usize = 11;
    /// Sets CNTx_CVAL_EL0, or with bit 1 of the first argument CNTx_TVAL_EL0, of a timer to a value and then
    /// CNTx_CTL_EL0. Returns what CNTx_CTL_EL0 is a moment later, and what the other ones are.
    pub const SET: usize = 12;
    /// Does WFI so many times, and then WFE so many times. With bit 32 of the first count set, an IPI to itself is
    /// pending and masked meanwhile.
    pub const HALT: usize = 13;
    /// Binds notifications of the endpoint in the first argument, or unbinds them if the third one is zero.
    pub const BIND: usize = 14;
    /// See [`storm_half`](crate::interrupts::storm::partition::storm_half).
    pub const STORM: usize = 15;
}

/// The first result of [`half::SPIN`].
pub(crate) const SPUN: u64 = 0x600d;
/// A bit of [`half::SPIN`]'s argument.
pub(crate) const EXITS: u64 = 1 << 32;
/// A bit of [`half::RAISE`]'s argument.
pub(crate) const LEAVES: u64 = 1 << 32;
/// How long a handled device may take, in microseconds.
const PATIENCE: u64 = 100_000;

const NO_RESULTS: [u64; 4] = [0; 4];

fn timer(which: u64) -> Timer {
    Timer::ALL[which as usize & 1]
}

fn prepare_half(
    world: &mut PartitionWorld,
    [flags, device, asks]: [u64; 3],
) -> TestResult<[u64; 4]> {
    context().prepare(world.id(), flags, device, asks)?;
    Ok([virtual_interrupts::has_gic().into(), 0, 0, 0])
}

fn counts_half(_: &mut PartitionWorld, [from, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    let from = from as usize;
    ensure!(from + 4 <= COUNTS, "there is no count {from}");
    Ok(core::array::from_fn(|index| context().get(from + index)))
}

fn call_half(_: &mut PartitionWorld, [id, x1, x2_x3]: [u64; 3]) -> TestResult<[u64; 4]> {
    let Some(call) = Paravirt::decode(id as u32) else {
        fail!("{id:#x} is no paravirtual call");
    };
    let conduit = if id >> 32 == 0 {
        Conduit::Hvc
    } else {
        Conduit::Smc
    };
    let arguments = [x1, x2_x3 & Width::W32.mask(), x2_x3 >> 32];
    if call == Paravirt::SendIpi && virtual_interrupts::has_gic() {
        let sent = virtual_interrupts::send_ipi(x1);
        return Ok([if sent { SUCCESS } else { FAILURE }, 0, 0, 0]);
    }
    Ok([paravirtual::issue(conduit, call, arguments), 0, 0, 0])
}

fn spin_half(world: &mut PartitionWorld, [time, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    let exits = time & EXITS != 0;
    let context = context();
    let leave = || exits && context.leave.load(Ordering::Relaxed) != 0;
    let fp = context.has(flag::FP).then(|| {
        FpState::canaries(Canary::new(world.id())).load();
        FpState::current()
    });
    let (begin, long) = (counter::now(), microseconds(time & Width::W32.mask()));
    while counter::now().wrapping_sub(begin) < long && !leave() {
        counter::pause();
    }
    let left = leave();
    context.leave.store(0, Ordering::Relaxed);
    if let Some((name, expected, found)) = fp.and_then(|fp| fp.difference(&FpState::current())) {
        fail!("{name} was {expected:#x} and came back as {found:#x}");
    }
    Ok([SPUN, left.into(), 0, 0])
}

fn raise_half(_: &mut PartitionWorld, [times, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    let Some(device) = context().device() else {
        fail!("no device was named")
    };
    for time in 0..times & Width::W32.mask() {
        device.raise();
        if times & LEAVES != 0 {
            continue;
        }
        let end = counter::now() + microseconds(PATIENCE);
        while device.is_raised() {
            ensure!(counter::now() < end, "interrupt {time} was not handled");
        }
    }
    Ok(NO_RESULTS)
}

fn arm_half(_: &mut PartitionWorld, [which, ticks, period]: [u64; 3]) -> TestResult<[u64; 4]> {
    let timer = timer(which);
    context().periods[which as usize & 1].store(period, Ordering::Relaxed);
    let deadline = timer.count().wrapping_add(ticks);
    timer.arm(deadline);
    Ok([deadline, 0, 0, 0])
}

fn idle_half(_: &mut PartitionWorld, [which, ticks, _]: [u64; 3]) -> TestResult<[u64; 4]> {
    let context = context();
    let fired = match which {
        0 => count::PHYSICAL,
        1 => count::VIRTUAL,
        _ => count::DEVICE,
    };
    let before = context.get(fired);
    if fired != count::DEVICE {
        let timer = timer(which);
        timer.arm(timer.count().wrapping_add(ticks));
    }
    let mut idled = 0;
    while context.get(fired) == before {
        if context.has(flag::BENCH) && idled == 0 {
            bench::begin();
        }
        wait_for_interrupt();
        idled += 1;
        if !context.has(flag::UNMASKED) {
            poll();
        }
    }
    Ok([idled, counter::now(), 0, 0])
}

fn ask_half(world: &mut PartitionWorld, [what, a, b]: [u64; 3]) -> TestResult<[u64; 4]> {
    let (to, half) = (EndpointId(what as u16), (what >> 16 & 0xffff) as usize);
    let payload = run_half(world.case(), half, [a, b, 0]);
    let reply = world.direct(Width::W64, to, payload);
    let reply = await_answer(world, reply);
    let results = world.results(to, &reply)?;
    let left = context().leave.load(Ordering::Relaxed);
    context().leave.store(0, Ordering::Relaxed);
    Ok([results[0], results[1], results[2], left])
}

fn fault_half(_: &mut PartitionWorld, [active, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    if let (1.., Some(device)) = (active, context().device()) {
        mask_interrupts();
        device.raise();
        counter::spin(microseconds(200));
        ensure!(virtual_interrupts::get().is_some(), "nothing was pending");
    }
    let (_, exception) = exception::expect(|| memory::load(foreign_address()));
    fail!("the partition went on after a data abort, {exception:?}");
}

/// Makes one interrupt pending, and waits until it is.
fn pend(context: &Context, intid: u32) -> TestResult {
    match intid {
        INTID_IPI => ensure!(
            virtual_interrupts::send_ipi(core_index() as u64),
            "an IPI to itself was refused"
        ),
        INTID_TIMER => Timer::Physical.arm(Timer::Physical.count()),
        27 => Timer::Virtual.arm(Timer::Virtual.count()),
        intid => match context.device() {
            Some(device) if device.intid() == intid => device.raise(),
            _ => fail!("interrupt {intid} cannot be made pending"),
        },
    }
    counter::spin(microseconds(50));
    Ok(())
}

fn order_half(_: &mut PartitionWorld, [order, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    let context = context();
    let masked = mask_interrupts();
    let pended = order
        .to_le_bytes()
        .into_iter()
        .take_while(|&intid| intid != 0)
        .try_for_each(|intid| pend(context, intid.into()));
    let mut fetched = [0; 8];
    for (slot, intid) in fetched
        .iter_mut()
        .zip(core::iter::from_fn(virtual_interrupts::get))
    {
        context.serve(intid);
        *slot = intid as u8;
    }
    if !masked {
        unmask_interrupts();
    }
    pended?;
    Ok([u64::from_le_bytes(fetched), 0, 0, 0])
}

fn peek_half(_: &mut PartitionWorld, [which, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    let timer = timer(which);
    let remaining = i64::from(timer.remaining()) as u64;
    Ok([timer.count(), remaining, timer.control(), timer.deadline()])
}

fn set_half(_: &mut PartitionWorld, [which, value, control]: [u64; 3]) -> TestResult<[u64; 4]> {
    const BY_TVAL: u64 = 1 << 1;
    let timer = timer(which);
    if which & BY_TVAL == 0 {
        timer.set_deadline(value);
    } else {
        timer.set_remaining(value as u32 as i32);
    }
    timer.set_control(control);
    counter::spin(microseconds(20));
    let remaining = i64::from(timer.remaining()) as u64;
    Ok([timer.control(), timer.deadline(), remaining, timer.count()])
}

fn halt_half(_: &mut PartitionWorld, [wfi, wfe, _]: [u64; 3]) -> TestResult<[u64; 4]> {
    const PENDING: u64 = 1 << 32;
    let masked = mask_interrupts();
    let pended = wfi & PENDING == 0 || virtual_interrupts::send_ipi(core_index() as u64);
    for _ in 0..wfi & Width::W32.mask() {
        wait_for_interrupt();
    }
    for _ in 0..wfe {
        wait_for_event();
    }
    context().serve_all();
    if !masked {
        unmask_interrupts();
    }
    ensure!(pended, "an IPI to itself was refused");
    Ok([SPUN, 0, 0, 0])
}

fn bind_half(world: &mut PartitionWorld, [from, bitmap, binds]: [u64; 3]) -> TestResult<[u64; 4]> {
    let ids = EndpointId::pair(EndpointId(from as u16), world.id());
    if binds != 0 {
        let bind = [ids, 0, bitmap, 0];
        world.ffa(Function::NotificationBind, bind).succeeded()?;
    } else {
        context().get_notifications();
        let unbind = [ids, 0, bitmap, 0];
        world
            .ffa(Function::NotificationUnbind, unbind)
            .succeeded()?;
    }
    Ok(NO_RESULTS)
}

fn twice_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let Some(device) = context().device() else {
        fail!("no device was named")
    };
    let masked = mask_interrupts();
    device.raise();
    counter::spin(microseconds(200));
    let fetched = virtual_interrupts::get();
    device.clear();
    let intid = device.intid();
    let [first, second] = [(); 2].map(|()| virtual_interrupts::deactivate(intid));
    if !masked {
        unmask_interrupts();
    }
    ensure!(fetched == Some(intid), "{fetched:?} was fetched");
    Ok([first.into(), second.into(), 0, 0])
}
