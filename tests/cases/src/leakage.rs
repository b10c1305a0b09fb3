// SPDX-License-Identifier: MIT OR Apache-2.0
//! State that a world switch must not carry over: L6, L7, L8, L10 and L11 of the abuse cases.

use arrayvec::ArrayVec;
use bulkhead_abi::{EndpointId, Function, Uuid, Width};
use bulkhead_payload::memory::{MAILBOX, PAGE_SIZE};
use bulkhead_payload::system_register::pointer_keys;
use bulkhead_payload::{Canary, Conduit, Request, exception, exclusive, lower, memory};

use crate::normal_world::{NormalWorld, Role, Tester};
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_list::{descriptor_size, request};
use crate::partition_world::PartitionWorld;
use crate::protocol::{Caller, command, run_half};
use crate::{cases, ensure, fail, skip};

cases! {
    l6_every_partition_starts_with_keys_of_its_own: [first_keys_half];
    l6_keys_of_pointer_authentication_are_seen_by_nobody_else: [set_keys_half, keys_half];
    l7_memory_tagging_state_is_kept_and_seen_by_nobody_else: [set_tags_half, tags_half];
    l8_rx_holds_the_answer_and_nothing_else: [rx_half];
    l8_tx_is_read_and_never_written: [tx_half];
    l10_an_exclusive_monitor_is_open_after_every_call: [exclusive_half];
    l11_a_partition_that_forges_its_state_is_ended_or_stays_where_it_is: [forge_half];
    aarch32_code_of_a_partition_calls_it_and_nobody_else: [aarch32_half];
    aarch32_code_of_a_partition_is_preempted_and_goes_on: [aarch32_spin_half];
    aarch32_code_that_touches_what_is_not_its_own_ends_that_partition_only: [aarch32_fault_half];
}

const NO_RESULTS: [u64; 4] = [0; 4];

/// Every partition's keys as they were at its first instruction, and the normal world's.
fn l6_every_partition_starts_with_keys_of_its_own(world: &mut NormalWorld) -> TestResult {
    let Some(own) = pointer_keys::read() else {
        skip!("this core has no pointer authentication");
    };
    let mut seen: ArrayVec<(EndpointId, u64, u64), 64> = own
        .chunks_exact(2)
        .map(|key| (world.id(), key[0], key[1]))
        .collect();
    for Tester { id, .. } in world.testers() {
        for key in 0..5 {
            let [low, high, known, _] = world.invoke(id, 0, [key, 0, 0])?;
            equal("whether the partition knows its first keys", known, 1)?;
            ensure!(
                low != 0 && high != 0,
                "key {key} of {id} was {high:#x}:{low:#x}"
            );
            if let Some((other, ..)) = seen
                .iter()
                .find(|(_, a, b)| [low, high].contains(a) || [low, high].contains(b))
            {
                fail!("key {key} of {id} was one of {other}'s, too");
            }
            seen.push((id, low, high));
        }
    }
    Ok(())
}

fn first_keys_half(world: &mut PartitionWorld, [key, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    let keys = world.boot.as_ref().and_then(|boot| boot.keys);
    let Some(keys) = keys else {
        return Ok(NO_RESULTS);
    };
    let key = 2 * key as usize;
    Ok([keys[key], keys[key + 1], 1, 0])
}

fn l6_keys_of_pointer_authentication_are_seen_by_nobody_else(
    world: &mut NormalWorld,
) -> TestResult {
    if pointer_keys::read().is_none() {
        skip!("this core has no pointer authentication");
    }
    let (one, two) = (world.tester(Role::Primary)?, world.tester(Role::Secondary)?);
    let watch = world.stop_watching();
    pointer_keys::write(pointer_keys::canaries(Canary::new(world.id())));
    let result = exchange(world, one, two, pointer_keys::read);
    world.continue_watching(watch);
    result
}

/// Both partitions fill their registers by half 0, twice, and after each time each finds its own by half 1
/// and the normal world its own. The halves fail by themselves.
fn exchange<const N: usize>(
    world: &mut NormalWorld,
    one: EndpointId,
    two: EndpointId,
    read: fn() -> Option<[u64; N]>,
) -> TestResult {
    let own = read();
    for _ in 0..2 {
        for to in [one, two, one, two] {
            world.invoke(to, 0, [0; 3])?;
            ensure!(read() == own, "{to} changed the normal world's");
        }
        for to in [one, two] {
            world.invoke(to, 1, [0; 3])?;
        }
    }
    Ok(())
}

fn set_keys_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    // Whoever ran in between left nothing here.
    if world.keys.is_some() {
        keys_half(world, [0; 3])?;
    }
    let canaries = pointer_keys::canaries(Canary::new(world.id()));
    pointer_keys::write(canaries);
    world.keys = Some(canaries);
    Ok(NO_RESULTS)
}

fn keys_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let found = pointer_keys::read();
    ensure!(
        found == world.keys,
        "{found:#x?} are not the keys that were set, {:#x?}",
        world.keys
    );
    Ok(NO_RESULTS)
}

/// GCR_EL1, RGSR_EL1, TFSR_EL1 and TFSRE0_EL1; `None` where one is undefined.
fn tags() -> Option<[u64; 4]> {
    let read = |name: fn() -> u64| {
        let (value, exception) = exception::expect(name);
        exception.is_none().then_some(value)
    };
    Some([
        read(memory_tagging::gcr)?,
        read(memory_tagging::rgsr)?,
        read(memory_tagging::tfsr)?,
        read(memory_tagging::tfsre0)?,
    ])
}

use bulkhead_payload::system_register::memory_tagging;

fn l7_memory_tagging_state_is_kept_and_seen_by_nobody_else(world: &mut NormalWorld) -> TestResult {
    let (one, two) = (world.tester(Role::Primary)?, world.tester(Role::Secondary)?);
    let watch = world.stop_watching();
    if tags().is_some() {
        memory_tagging::write(tag_canaries(Canary::new(world.id())));
    }
    let result = exchange(world, one, two, tags);
    world.continue_watching(watch);
    result
}

fn tag_canaries(canary: Canary) -> [u64; 4] {
    const MASKS: [u64; 4] = [0x1_ffff, 0xff_ff0f, 3, 3];
    core::array::from_fn(|index| canary.pattern(index) & MASKS[index])
}

/// Without memory tagging, its registers are undefined in the partition, too.
fn set_tags_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    if tags().is_none() {
        let visible = memory_tagging::visible();
        ensure!(
            !visible,
            "the ID register shows memory tagging, and its registers are undefined"
        );
        return Ok(NO_RESULTS);
    }
    if world.tags.is_some() {
        tags_half(world, [0; 3])?;
    }
    let canaries = tag_canaries(Canary::new(world.id()));
    memory_tagging::write(canaries);
    world.tags = Some(canaries);
    Ok(NO_RESULTS)
}

fn tags_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let found = tags();
    ensure!(
        world.tags.is_none() || found == world.tags,
        "{found:#x?} are not the values that were set, {:#x?}",
        world.tags
    );
    Ok(NO_RESULTS)
}

const RESIDUE: u8 = 0xa5;

/// After a long answer a short one; what is left of the buffer is zero.
fn check_rx(
    caller: &mut impl Caller,
    version: bulkhead_abi::Version,
    one_uuid: Uuid,
) -> TestResult {
    for uuid in [Uuid::NIL, one_uuid, Uuid::NIL, one_uuid] {
        MAILBOX.rx.fill(RESIDUE);
        let reply = caller.call(request(uuid, 0)).succeeded()?;
        let used = reply.x(2) as usize * descriptor_size(version);
        ensure!(used > 0 && used < PAGE_SIZE, "{used} bytes in RX");
        let rest = (used..PAGE_SIZE).find(|&offset| MAILBOX.rx.byte(offset) != 0);
        if let Some(offset) = rest {
            fail!(
                "byte {offset} of RX is {:#x}, behind an answer of {used} bytes",
                MAILBOX.rx.byte(offset)
            );
        }
        caller.ffa(Function::RxRelease, []).succeeded()?;
    }
    Ok(())
}

/// Bulkhead keeps no staging buffer: what it copies passes through a core's stack.
fn l8_rx_holds_the_answer_and_nothing_else(world: &mut NormalWorld) -> TestResult {
    let (one, two) = (world.tester(Role::Primary)?, world.tester(Role::Secondary)?);
    // By 1.0 there is no UUID in a descriptor; that of the tester is known from its manifest.
    let uuid = PRIMARY;
    check_rx(world, world.version, uuid)?;
    for id in [one, two] {
        world.invoke(id, 0, [0; 3])?;
        check_rx(world, world.version, uuid)?;
    }
    Ok(())
}

/// The UUID of the primary tester (`primary.dts`).
const PRIMARY: Uuid = Uuid::from_words([0xa879_f854, 0x4e4e_3ce5, 0xca7e_6e9b, 0x3ff4_58ec]);

/// Maps the partition's mailbox for `with`.
fn with_mailbox(
    world: &mut PartitionWorld,
    with: impl FnOnce(&mut PartitionWorld) -> TestResult,
) -> TestResult<[u64; 4]> {
    world
        .call(crate::normal_world::rxtx_map(Width::W64))
        .succeeded()?;
    let result = with(world);
    world.ffa(Function::RxRelease, []);
    world.ffa(Function::RxtxUnmap, []).succeeded()?;
    result.map(|()| NO_RESULTS)
}

fn rx_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    with_mailbox(world, |world| check_rx(world, world.version, PRIMARY))
}

fn check_tx(caller: &mut impl Caller) -> TestResult {
    MAILBOX.tx.fill(RESIDUE);
    caller.call(request(Uuid::NIL, 0)).succeeded()?;
    caller.ffa(Function::RxRelease, []).succeeded()?;
    caller.ffa(Function::IdGet, []);
    let changed = (0..PAGE_SIZE).find(|&offset| MAILBOX.tx.byte(offset) != RESIDUE);
    match changed {
        Some(offset) => fail!("byte {offset} of TX changed"),
        None => Ok(()),
    }
}

fn l8_tx_is_read_and_never_written(world: &mut NormalWorld) -> TestResult {
    check_tx(world)?;
    for role in [Role::Primary, Role::Secondary] {
        world.invoke(world.tester(role)?, 0, [0; 3])?;
    }
    check_tx(world)
}

fn tx_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    with_mailbox(world, check_tx)
}

/// The calls between a load and a store: one that Bulkhead answers, and one that a partition does.
fn exclusive_calls(caller: &impl Caller, to: EndpointId) -> [Request; 2] {
    let hello = [command::HELLO, 0, 0, 0, 0];
    [
        Request::ffa(Function::Features, Width::W32).with([Function::RxtxMap.id(Width::W64)]),
        Request::direct(Width::W64, caller.id(), to, hello),
    ]
}

fn check_exclusive(caller: &impl Caller, conduits: &[Conduit], to: EndpointId) -> TestResult {
    if !exclusive::holds() {
        skip!("exclusives do not work here while the MMU is off");
    }
    for request in exclusive_calls(caller, to) {
        for &conduit in conduits {
            ensure!(
                !exclusive::holds_across(conduit, request.x),
                "a store exclusive succeeds after call {:#x} by {conduit:?}",
                request.x[0]
            );
        }
    }
    Ok(())
}

fn l10_an_exclusive_monitor_is_open_after_every_call(world: &mut NormalWorld) -> TestResult {
    let (one, two) = (world.tester(Role::Primary)?, world.tester(Role::Secondary)?);
    let watch = world.stop_watching();
    let result = check_exclusive(world, &[Conduit::Smc], one);
    world.continue_watching(watch);
    result?;
    world.invoke(one, 0, [two.0.into(), 0, 0])?;
    Ok(())
}

fn exclusive_half(world: &mut PartitionWorld, [to, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    let conduits = [Conduit::Smc, Conduit::Hvc];
    check_exclusive(world, &conduits, EndpointId(to as u16))?;
    Ok(NO_RESULTS)
}

/// The partition sets an illegal state and calls S-EL2 in it: the call does not execute, and the
/// exception is its own. After the call that it makes then, it is at S-EL1 in AArch64.
fn l11_a_partition_that_forges_its_state_is_ended_or_stays_where_it_is(
    world: &mut NormalWorld,
) -> TestResult {
    for role in [Role::Primary, Role::Secondary] {
        world.invoke(world.tester(role)?, 0, [0; 3])?;
    }
    world.no_state_change()
}

fn forge_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    /// EL2h, EL2t, EL3h, and System, Supervisor and Hypervisor of AArch32.
    const FORGED: [u64; 6] = [0x3c9, 0x3c8, 0x3cd, 0x1df, 0x1d3, 0x1da];
    for state in FORGED {
        let ((), exception) = exception::expect(|| crate::containment::return_to(state));
        let class = exception.map(|exception| exception.class());
        ensure!(
            class == Some(exception::class::ILLEGAL_STATE),
            "a return to {state:#x} ended in {exception:?}"
        );
        // SPSR_EL1 keeps the forged state across a call; PSTATE comes back as it was.
        // SAFETY: no return uses SPSR_EL1 before the next exception sets it.
        unsafe { core::arch::asm!("msr spsr_el1, {}", in(reg) state, options(nostack)) };
        world.ffa(Function::IdGet, []).succeeded()?;
        let (kept, level): (u64, u64);
        // SAFETY: reads registers without side effects.
        unsafe {
            core::arch::asm!("mrs {}, spsr_el1", "mrs {}, CurrentEL", out(reg) kept, out(reg) level, options(nostack))
        };
        equal("SPSR_EL1", kept, state)?;
        equal("CurrentEL", level, 1 << 2)?;
    }
    Ok(NO_RESULTS)
}

/// ID_AA64PFR0_EL1.EL0: 2 has AArch32.
fn needs_aarch32() -> TestResult {
    let features: u64;
    // SAFETY: reads a register that has no side effect.
    unsafe {
        core::arch::asm!("mrs {}, id_aa64pfr0_el1", out(reg) features, options(nomem, nostack))
    };
    if features & 0xf != 2 {
        skip!("this core has no AArch32 at EL0");
    }
    Ok(())
}

/// A32: ADD R0, R0, #1.
const ADD: u32 = 0xe280_0001;
/// SVC #7.
const SVC: u32 = 0xef00_0007;
/// SUBS R0, R0, #1, and BNE to it.
const COUNT_DOWN: [u32; 2] = [0xe250_0001, 0x1aff_fffd];
/// LDR R0, [R0].
const LOAD: u32 = 0xe590_0000;
/// User mode, in PSTATE.
const USER: u64 = 0x10;

fn aarch32_code_of_a_partition_calls_it_and_nobody_else(world: &mut NormalWorld) -> TestResult {
    for role in [Role::Primary, Role::Secondary] {
        world.invoke(world.tester(role)?, 0, [0; 3])?;
    }
    world.no_state_change()
}

/// SVC arrives at S-EL1 with a 32-bit register; UDF, SMC, HVC and registers of coprocessors do, too, as
/// undefined or trapped, and never at S-EL2. (Not PMCCNTR: QEMU lets EL0 read it where PMUSERENR_EL0, which
/// is the normal world's, says so, whatever MDCR_EL2 says.)
fn aarch32_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    use exception::class::{SVC32, UNDEFINED};
    /// A trapped MCR or MRC.
    const COPROCESSOR: u64 = 0x03;
    needs_aarch32()?;
    let code = lower::load(&[ADD, SVC]);
    let ended = lower::run(code, lower::AARCH32, 41);
    ensure!(
        ended.exception.class() == SVC32 && ended.exception.syndrome & 0xffff == 7,
        "SVC ended in {ended:x?}"
    );
    equal("R0", ended.x0, 42)?;
    equal("PC", ended.pc, code + 8)?;
    equal("the mode", ended.pstate & 0x1f, USER)?;
    for (name, instruction, classes) in [
        ("UDF", 0xe7f0_00f0, [UNDEFINED; 2]),
        ("SMC", 0xe160_0070, [UNDEFINED; 2]),
        ("HVC", 0xe140_0070, [UNDEFINED; 2]),
        ("MRC PMCR", 0xee19_0f1c, [UNDEFINED, COPROCESSOR]),
        ("MRC MIDR", 0xee10_0f10, [UNDEFINED, COPROCESSOR]),
        ("MCR SCTLR", 0xee01_0f10, [UNDEFINED, COPROCESSOR]),
        ("MRC DBGDIDR", 0xee10_0e10, [UNDEFINED, 0x05]),
    ] {
        let code = lower::load(&[ADD, instruction, SVC]);
        let ended = lower::run(code, lower::AARCH32, 1);
        ensure!(
            classes.contains(&ended.exception.class()) && ended.pc == code + 4,
            "{name} ended in {ended:x?}"
        );
        equal("R0", ended.x0, 2)?;
    }
    Ok(NO_RESULTS)
}

fn aarch32_code_of_a_partition_is_preempted_and_goes_on(world: &mut NormalWorld) -> TestResult {
    let primary = world.tester(Role::Primary)?;
    world.invoke(primary, 0, [0; 3])?;
    let payload = run_half(world.case(), 0, [1, 0, 0]);
    let interrupt = world.interrupted(Request::direct(Width::W64, world.id(), primary, payload))?;
    let end = world.resume(&interrupt)?;
    let [left, ..] = world.results(primary, &end)?;
    equal("R0 at the end", left, 0)?;
    world.no_state_change()
}

fn aarch32_spin_half(_: &mut PartitionWorld, [long, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    needs_aarch32()?;
    let rounds = if long == 0 { 2 } else { 2_000_000 };
    let [subtract, branch] = COUNT_DOWN;
    let ended = lower::run(
        lower::load(&[subtract, branch, SVC]),
        lower::AARCH32,
        rounds,
    );
    ensure!(
        ended.exception.class() == exception::class::SVC32,
        "it ended in {ended:x?}"
    );
    Ok([ended.x0, 0, 0, 0])
}

fn aarch32_code_that_touches_what_is_not_its_own_ends_that_partition_only(
    world: &mut NormalWorld,
) -> TestResult {
    let victim = world.spare()?;
    let payload = run_half(world.case(), 0, [0; 3]);
    let reply = world.direct(Width::W64, victim, payload);
    if reply.is(Function::MsgSendDirectResp) {
        world.spare_again(victim);
        world.results(victim, &reply)?;
    }
    reply.refused(bulkhead_abi::FfaError::Aborted)?;
    world.no_state_change()
}

fn aarch32_fault_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    needs_aarch32()?;
    let foreign = bulkhead_payload::panic::foreign_address() as u64;
    let ended = lower::run(lower::load(&[LOAD, SVC]), lower::AARCH32, foreign);
    memory::load(0);
    fail!("it went on: {ended:x?}")
}
