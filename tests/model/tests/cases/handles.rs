// SPDX-License-Identifier: MIT OR Apache-2.0
//! H: handles; TX7: the way there and back.
use crate::bench::{Bench, NONE, RW};
use bulkhead_abi::FfaError::InvalidParameters;
use bulkhead_model::call::{Request, Type};
use bulkhead_model::case_world::SP;
use bulkhead_model::page::Id;
use bulkhead_model::step::forget_generations;
use bulkhead_model::walk::Random;
use bulkhead_model::well_formed::{
    frag_rx, frag_tx, hypervisor_retrieve, reclaim, relinquish, run,
};

/// Every call with this handle is refused alike.
#[track_caller]
fn unknown(bench: &mut Bench, live: u64, handle: u64) {
    let mut request = bench.request(live, SP[1]);
    request.handle = handle;
    bench.refused(SP[1], Request::Retrieve(request), InvalidParameters);
    bench.refused(
        SP[1],
        Request::FragRx(frag_rx(handle, SP[1], 0)),
        InvalidParameters,
    );
    bench.refused(
        SP[1],
        Request::Relinquish(relinquish(handle, SP[1])),
        InvalidParameters,
    );
    bench.refused(SP[0], Request::Reclaim(reclaim(handle)), InvalidParameters);
    bench.refused(
        SP[0],
        Request::FragTx(frag_tx(handle, SP[0], &[run(3, 1)])),
        InvalidParameters,
    );
    bench.refused(
        Id(0),
        Request::Retrieve(hypervisor_retrieve(handle)),
        InvalidParameters,
    );
}

#[test]
fn h1_guessed_handles_are_refused() {
    let mut bench = Bench::new();
    let handle = bench.three(Type::Share, &[(SP[1], RW)]);
    let mut random = Random(3);
    for _ in 0..1_000 {
        random.below(1);
        let guess = random.0;
        if guess != handle {
            unknown(&mut bench, handle, guess);
        }
    }
}

#[test]
fn h2_t23_a_finished_handle_is_refused_also_when_its_place_is_taken_again() {
    let mut bench = Bench::new();
    let old = bench.three(Type::Share, &[(SP[1], RW)]);
    bench.give_back(old);
    let new = bench.three(Type::Share, &[(SP[1], RW)]);
    assert_ne!(old, new);
    unknown(&mut bench, new, old);
}

#[test]
fn h3_the_normal_world_cannot_use_a_partitions_handle() {
    let mut bench = Bench::new();
    let handle = bench.three(Type::Share, &[(SP[1], RW)]);
    let request = bench.request(handle, SP[1]);
    bench.refused(Id(0), Request::Retrieve(request), InvalidParameters);
    bench.refused(
        Id(0),
        Request::Relinquish(relinquish(handle, Id(0))),
        InvalidParameters,
    );
}

#[test]
fn h4_h5_swapped_halves_and_the_other_allocator_are_refused() {
    let mut bench = Bench::new();
    let handle = bench.three(Type::Share, &[(SP[1], RW)]);
    unknown(&mut bench, handle, handle.rotate_left(32));
    unknown(&mut bench, handle, handle | 1 << 63);
}

#[test]
fn tx7_share_retrieve_relinquish_reclaim_leads_back_ten_thousand_times() {
    let mut bench = Bench::new();
    let mut first = bench.world.clone();
    forget_generations(&mut first);
    for round in 0..10_000 {
        let kind = [Type::Share, Type::Lend, Type::Donate][round % 3];
        let data = if kind == Type::Donate { NONE } else { RW };
        let handle = bench.three(kind, &[(SP[1], data)]);
        if kind != Type::Donate {
            bench.take(handle, SP[1]);
            bench.leave(handle, SP[1]);
        }
        bench.give_back(handle);
    }
    forget_generations(&mut bench.world);
    assert_eq!(bench.world, first);
}
