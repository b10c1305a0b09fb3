// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cores whose affinities are no indices, cores that no manifest names, and those that are not there: W8
//! of the abuse cases, in the configuration `sparse`.

use bulkhead_abi::{EndpointId, FfaError, Function, Width};
use bulkhead_payload::cores::{self, Core};
use bulkhead_payload::{Canary, Conduit, Request};

use crate::case::NormalHalf;
use crate::normal_world::NormalWorld;
use crate::outcome::{TestResult, Verdict, equal};
use crate::protocol::{Caller, command};
use crate::{ensure, fail};

/// The suite.
pub(crate) const SUITE: &[(&str, NormalHalf)] = &[
    (
        "w8_cores_have_the_contexts_that_the_order_of_their_affinities_gives_them",
        w8_cores_have_the_contexts_that_the_order_of_their_affinities_gives_them,
    ),
    (
        "w8_a_core_that_no_manifest_names_has_no_spmc_and_keeps_nobody_from_theirs",
        w8_a_core_that_no_manifest_names_has_no_spmc_and_keeps_nobody_from_theirs,
    ),
    (
        "w8_the_context_of_a_core_that_is_not_there_is_not_run",
        w8_the_context_of_a_core_that_is_not_there_is_not_run,
    ),
];

/// The partition with a context for each core that the manifest names.
const WIDE: EndpointId = EndpointId(0x8001);
/// The partition with one context.
const SINGLE: EndpointId = EndpointId(0x8002);
/// The affinities that the manifest names and the machine has, by the index of the context. The boot
/// core is the first one.
const NAMED: [u64; 4] = [0, 2, 7, 0x100];
/// The context of the core that the manifest names and the machine does not have, 0x105.
const NOT_THERE: u16 = 4;
/// A core that the machine has and the manifest does not name, and which slot it gets here.
const UNNAMED: (usize, u64) = (NAMED.len(), 1);

/// A call on another core; x0 to x7 of the reply.
fn call_on(core: &mut Core, request: Request) -> [u64; 8] {
    core.post(
        |_, words| {
            let mut request = Request::new(words[0]);
            request.x[..8].copy_from_slice(words);
            let reply = request.issue(Conduit::Smc, Canary::new(EndpointId::NORMAL_WORLD));
            words.copy_from_slice(&reply.registers.x[..8]);
        },
        core::array::from_fn(|index| request.x[index]),
    );
    core.finish()
}

fn hello(to: EndpointId) -> Request {
    let payload = [command::HELLO, 0, 0, 0, 0];
    Request::direct(Width::W64, EndpointId::NORMAL_WORLD, to, payload)
}

fn start(index: usize) -> TestResult<Core> {
    match Core::start(index) {
        Some(core) => Ok(core),
        None => fail!("core {:#x} did not come on", cores::affinity_of(index)),
    }
}

/// All cores that the manifest names but the boot core.
fn named() -> TestResult<[Core; NAMED.len() - 1]> {
    for (index, affinity) in NAMED.into_iter().enumerate() {
        cores::place(index, affinity);
    }
    Ok([start(1)?, start(2)?, start(3)?])
}

/// Each core is answered by its own context of the one partition and by the only one of the other.
fn all_are_answered(world: &mut NormalWorld) -> TestResult {
    let response = Function::MsgSendDirectResp.id(Width::W64);
    for mut core in named()? {
        for (to, context) in [(WIDE, core.index() as u64), (SINGLE, 0)] {
            let reply = call_on(&mut core, hello(to));
            equal("x0", reply[0], response)?;
            equal("the context that answers", reply[7], context)?;
        }
    }
    let reply = world.call(hello(WIDE));
    equal("x0 on the boot core", reply.x(0), response)?;
    equal("the context that answers the boot core", reply.x(7), 0)
}

fn w8_cores_have_the_contexts_that_the_order_of_their_affinities_gives_them(
    world: &mut NormalWorld,
) -> TestResult {
    all_are_answered(world)?;
    for core in named()? {
        let index = core.index();
        ensure!(core.stop(), "core {index} did not go off");
        all_are_answered(world)?;
    }
    Ok(())
}

fn w8_a_core_that_no_manifest_names_has_no_spmc_and_keeps_nobody_from_theirs(
    world: &mut NormalWorld,
) -> TestResult {
    let (index, affinity) = UNNAMED;
    cores::place(index, affinity);
    for _ in 0..3 {
        let mut core = start(index)?;
        let calls = [
            hello(WIDE),
            hello(SINGLE),
            Request::run(WIDE, index as u16),
            Request::ffa(Function::PartitionInfoGet, Width::W32).with([0, 0, 0, 0, 1]),
        ];
        for request in calls {
            let [x0, ..] = call_on(&mut core, request);
            for function in [
                Function::Success,
                Function::MsgSendDirectResp,
                Function::MsgWait,
            ] {
                let is = x0 == function.id(Width::W32) || x0 == function.id(Width::W64);
                ensure!(!is, "a call of a core without an SPMC returned {function}");
            }
        }
        all_are_answered(world)?;
        ensure!(core.stop(), "core {affinity:#x} did not go off");
        all_are_answered(world)?;
    }
    Ok(())
}

fn w8_the_context_of_a_core_that_is_not_there_is_not_run(world: &mut NormalWorld) -> TestResult {
    world
        .call(Request::run(WIDE, NOT_THERE))
        .refused(FfaError::InvalidParameters)?;
    for mut core in named()? {
        let reply = call_on(&mut core, Request::run(WIDE, NOT_THERE));
        equal("x0", reply[0], Function::Error.id(Width::W32))?;
        equal(
            "the status",
            reply[2],
            FfaError::InvalidParameters.to_register(),
        )?;
    }
    all_are_answered(world)
}
