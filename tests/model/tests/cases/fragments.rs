// SPDX-License-Identifier: MIT OR Apache-2.0
//! F: fragments both ways.
use crate::bench::{Bench, RO, RW, three_pages};
use bulkhead_abi::FfaError::{self, Busy, Denied, InvalidParameters, NoMemory};
use bulkhead_model::call::{Constituent, FragTx, Outcome, Request, Shape, Type};
use bulkhead_model::case_world::{NORMAL_WORLD, SP, VM};
use bulkhead_model::page::{Id, Owner};
use bulkhead_model::well_formed::{frag_rx, frag_tx, reclaim, relinquish, retrieve, run, send};

/// Three constituents of which the first has come.
fn begun(bench: &mut Bench) -> u64 {
    let mut call = send(
        Type::Lend,
        SP[0],
        &[(SP[1], RW), (SP[2], RO)],
        &three_pages(),
    );
    call.constituents.truncate(1);
    bench.sent(call)
}

fn next(handle: u64, runs: &[Constituent]) -> FragTx {
    frag_tx(handle, SP[0], runs)
}

/// The fragment is refused and the transaction gone, its pages untouched.
#[track_caller]
fn ended(bench: &mut Bench, fragment: FragTx, error: FfaError) {
    let (handle, pages) = (fragment.handle, bench.world.pages.clone());
    assert_eq!(
        bench.call(SP[0], Request::FragTx(fragment)),
        Outcome::Error(error)
    );
    assert_eq!(bench.world.transaction(handle), None);
    assert_eq!(bench.world.pages, pages);
    assert_eq!(bench.world.used(SP[0].domain()), 0);
}

#[test]
fn fragments_end_like_one_descriptor() {
    let mut bench = Bench::new();
    let handle = begun(&mut bench);
    assert!(
        bench.mapping(0, SP[0]).is_some(),
        "TX2: nothing changes before the last"
    );
    let [_, second, third] = three_pages();
    assert_eq!(
        bench.call(SP[0], Request::FragTx(next(handle, &[second]))),
        Outcome::SendMore(handle, 2)
    );
    assert_eq!(
        bench.call(SP[0], Request::FragTx(next(handle, &[third]))),
        Outcome::Handle(handle)
    );
    let mut whole = Bench::new();
    whole.sent(send(
        Type::Lend,
        SP[0],
        &[(SP[1], RW), (SP[2], RO)],
        &three_pages(),
    ));
    assert_eq!(bench.world, whole.world);
}

#[test]
fn f1_a_fragment_for_an_unknown_or_anothers_handle_is_refused() {
    let mut bench = Bench::new();
    let handle = begun(&mut bench);
    bench.refused(
        SP[1],
        Request::FragTx(next(handle, &[run(2, 1)])),
        InvalidParameters,
    );
    bench.refused(
        Id(0),
        Request::FragTx(next(handle, &[run(2, 1)])),
        InvalidParameters,
    );
    bench.refused(
        SP[0],
        Request::FragTx(next(handle + 1, &[run(2, 1)])),
        InvalidParameters,
    );
}

#[test]
fn f2_a_fragment_after_the_last_is_refused() {
    let mut bench = Bench::new();
    let handle = bench.three(Type::Share, &[(SP[1], RW)]);
    bench.refused(
        SP[0],
        Request::FragTx(next(handle, &[run(3, 1)])),
        InvalidParameters,
    );
}

#[test]
fn f3_an_empty_or_too_long_fragment_ends_the_transaction() {
    for runs in [vec![], vec![run(1, 1), run(2, 1), run(3, 1)]] {
        let mut bench = Bench::new();
        let handle = begun(&mut bench);
        ended(&mut bench, next(handle, &runs), InvalidParameters);
    }
}

#[test]
fn f4_a_wrong_sender_field_is_refused() {
    let mut bench = Bench::new();
    let handle = begun(&mut bench);
    let fragment = FragTx {
        sender: SP[0],
        ..next(handle, &[run(2, 1)])
    };
    bench.refused(SP[0], Request::FragTx(fragment), InvalidParameters);
    let pages = NORMAL_WORLD.map(|page| run(page, 1));
    let mut call = send(Type::Share, VM[0], &[(SP[1], RW)], &pages);
    call.constituents.truncate(1);
    let handle = bench.sent(call);
    bench.refused(
        VM[1],
        Request::FragTx(frag_tx(handle, VM[1], &pages[1..])),
        InvalidParameters,
    );
    assert_eq!(
        bench.call(VM[0], Request::FragTx(frag_tx(handle, VM[0], &pages[1..]))),
        Outcome::Handle(handle)
    );
}

#[test]
fn f5_a_split_constituent_ends_the_transaction() {
    let mut bench = Bench::new();
    let handle = begun(&mut bench);
    ended(
        &mut bench,
        FragTx {
            shape: Shape::Bad,
            ..next(handle, &[run(2, 1)])
        },
        InvalidParameters,
    );
}

#[test]
fn f6_an_incomplete_transaction_is_not_retrieved_and_reclaim_frees_it() {
    let mut bench = Bench::new();
    let handle = begun(&mut bench);
    let request = bench.request(handle, SP[1]);
    bench.refused(SP[1], Request::Retrieve(request), InvalidParameters);
    bench.refused(
        SP[1],
        Request::Relinquish(relinquish(handle, SP[1])),
        InvalidParameters,
    );
    bench.give_back(handle);
    assert_eq!(bench.world.used(SP[0].domain()), 0);
}

#[test]
fn f7_no_memory_for_a_fragment_leaves_the_transaction_to_try_again() {
    let mut bench = Bench::new();
    let handle = begun(&mut bench);
    bench.oracle.no_memory = true;
    let [_, second, third] = three_pages();
    bench.refused(
        SP[0],
        Request::FragTx(next(handle, &[second, third])),
        NoMemory,
    );
    bench.oracle.no_memory = false;
    assert_eq!(
        bench.call(SP[0], Request::FragTx(next(handle, &[second, third]))),
        Outcome::Handle(handle)
    );
}

#[test]
fn f3_the_last_fragment_brings_the_verdict_on_the_memory() {
    let mut bench = Bench::new();
    let handle = begun(&mut bench);
    ended(
        &mut bench,
        next(handle, &[run(0, 1), run(1, 1)]),
        InvalidParameters,
    );
    let handle = begun(&mut bench);
    ended(&mut bench, next(handle, &[run(10, 1), run(1, 1)]), Denied);
}

#[test]
fn f8_incomplete_transactions_fill_the_senders_quota_only() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        begun(&mut bench);
    }
    let mut call = send(Type::Lend, SP[0], &[(SP[1], RW)], &three_pages());
    bench.refused(SP[0], Request::Send(call.clone()), NoMemory);
    call.constituents.truncate(1);
    bench.refused(SP[0], Request::Send(call), NoMemory);
    bench.sent(send(Type::Lend, SP[1], &[(SP[2], RW)], &[run(10, 3)]));
}

#[test]
fn f9_fragments_from_two_cores_come_in_some_order() {
    let [_, second, third] = three_pages();
    for order in [[second, third], [third, second]] {
        let mut bench = Bench::new();
        let handle = begun(&mut bench);
        assert_eq!(
            bench.call(SP[0], Request::FragTx(next(handle, &order[..1]))),
            Outcome::SendMore(handle, 2)
        );
        assert_eq!(
            bench.call(SP[0], Request::FragTx(next(handle, &order[1..]))),
            Outcome::Handle(handle)
        );
        assert!((0..3).all(|page| bench.mapping(page, SP[0]).is_none()));
    }
}

#[test]
fn f10_a_dead_senders_fragments_are_dropped() {
    let mut bench = Bench::new();
    let handle = begun(&mut bench);
    bench.die(SP[0]);
    assert_eq!(bench.world.transaction(handle), None);
    assert_eq!(bench.world.pages[&0].owner, Owner::Of(SP[0].domain()));
}

#[test]
fn f11_a_description_is_fetched_in_order_by_its_borrower_with_a_free_rx() {
    let mut bench = Bench::new();
    let handle = bench.three(Type::Share, &[(SP[1], RW), (SP[2], RO)]);
    let more = |offset| Request::FragRx(frag_rx(handle, SP[1], offset));
    bench.refused(SP[1], more(0), InvalidParameters);
    let request = retrieve(bench.live(handle), handle, SP[1]);
    let Outcome::Retrieved(response) = bench.call(SP[1], Request::Retrieve(request)) else {
        panic!()
    };
    assert_eq!(
        (response.count, response.constituents),
        (3, three_pages()[..2].to_vec())
    );
    bench.refused(SP[1], more(2), Busy);
    bench.release(SP[1]);
    for offset in [0, 1, 3, u32::MAX] {
        bench.refused(SP[1], more(offset), InvalidParameters);
    }
    bench.refused(
        SP[2],
        Request::FragRx(frag_rx(handle, SP[2], 2)),
        InvalidParameters,
    );
    bench.refused(SP[2], more(2), InvalidParameters);
    bench.refused(
        SP[1],
        Request::Relinquish(relinquish(handle, SP[1])),
        InvalidParameters,
    );
    assert_eq!(
        bench.call(SP[1], more(2)),
        Outcome::Fragment(three_pages()[2..].to_vec())
    );
    bench.release(SP[1]);
    for offset in [2, 3] {
        bench.refused(SP[1], more(offset), InvalidParameters);
    }
    bench.leave(handle, SP[1]);
    assert_eq!(
        bench.call(SP[0], Request::Reclaim(reclaim(handle))),
        Outcome::Success
    );
}
