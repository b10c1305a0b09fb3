// SPDX-License-Identifier: MIT OR Apache-2.0
//! The normal world's version while two cores negotiate it (V8).

use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Uuid, Version, Width, framework};
use bulkhead_sim::{call, error, ffa};

use super::all_on;
use crate::rest::settle;
use crate::world::{Core, SPMC, Spec, at_once, choose, pick, refusal};

const VERSIONS: [Version; 4] = [Version::V1_0, Version::V1_1, Version::V1_2, Version::V1_3];

/// What one core saw.
struct Saw {
    /// The version that it asked for and got.
    accepted: Option<Version>,
    /// The versions that each of its other calls was served at; each list is what the call allows.
    served: Vec<Vec<Version>>,
}

/// Each core negotiates or not, and then makes calls whose answers depend on the version.
pub fn v8_two_cores_negotiate() {
    let cores = all_on(&[Spec::Single], 2);
    let (mut cores, saw) = at_once(cores, |core| {
        let accepted = (pick(4) != 0)
            .then(|| choose(&VERSIONS))
            .filter(|wanted| negotiate(core, *wanted));
        let served = (0..2).map(|_| observe(core)).collect();
        Saw { accepted, served }
    });
    let settled: Vec<Version> = VERSIONS
        .into_iter()
        .filter(|version| negotiate(&mut cores[0], *version))
        .collect();
    let [settled] = settled[..] else {
        panic!("V8: the version is not settled: {settled:?}");
    };
    let accepted: Vec<Version> = saw.iter().filter_map(|one| one.accepted).collect();
    if accepted.is_empty() {
        assert_eq!(settled, Version::V1_0, "V8: nobody asked for it");
    } else {
        assert!(accepted.contains(&settled), "V8: {settled:?}");
    }
    for one in &saw {
        for served in &one.served {
            assert!(
                served.contains(&settled),
                "V8: a call was served at one of {served:?}, and the version is {settled:?}"
            );
        }
        // Its own next call settled what it got, unless the other core was in between.
        if accepted.len() < saw.len()
            && let Some(accepted) = one.accepted
        {
            assert_eq!(accepted, settled, "V8: what was accepted is lost");
        }
    }
    settle(cores);
}

/// Asks for `version` itself, or lets the SPMD do it; whether it is accepted.
fn negotiate(core: &mut Core, version: Version) -> bool {
    let word = version.to_word();
    let answer = if pick(2) == 0 {
        let wanted = [u64::from(word), 0, 0, 0];
        core.call(&ffa(Function::Version, wanted)).x[0]
    } else {
        let words = framework::version_request(EndpointId::SPMD, SPMC, word);
        core.call(&call(words)).x[3]
    };
    if answer == u64::from(Version::OURS.to_word()) {
        return true;
    }
    assert_eq!(answer, FfaError::NotSupported.to_register());
    false
}

/// Makes a call; the versions that its answer fits.
fn observe(core: &mut Core) -> Vec<Version> {
    let since = |version: Version, is: bool| {
        let fits = VERSIONS.into_iter().filter(|one| (*one >= version) == is);
        fits.collect::<Vec<_>>()
    };
    match pick(3) {
        0 => {
            let reply = core.call(&ffa(Function::SpmIdGet, [0; 4]));
            since(Version::V1_1, is_served(&reply))
        }
        1 => {
            let mut regs = call([0; 8]);
            regs.x[0] = Function::PartitionInfoGetRegs.id(Width::W64);
            (regs.x[1], regs.x[2]) = (0, 0);
            debug_assert_eq!(Uuid::NIL.0, [0; 16]);
            regs.x[3] = 0;
            let reply = core.call(&regs);
            let served = is_served(&reply);
            let kept = reply.x[8..18] == regs.x[8..18];
            assert_eq!(served, !kept, "V8: an answer of two versions");
            since(Version::V1_2, served)
        }
        _ => {
            // A 64-bit call that is refused: what it does with x8 to x17 says the version.
            let mut map = call([0; 8]);
            map.x[0] = Function::RxtxMap.id(Width::W64);
            map.x[3] = 0x3f;
            let reply = core.call(&map);
            assert!(error(&reply).is_some());
            let cleared = reply.x[8..18] == [0; 10];
            assert!(cleared || reply.x[8..18] == map.x[8..18]);
            since(Version::V1_2, cleared)
        }
    }
}

fn is_served(reply: &Registers) -> bool {
    match error(reply) {
        Some(code) => {
            assert_eq!(refusal(code), FfaError::NotSupported);
            false
        }
        None => true,
    }
}
