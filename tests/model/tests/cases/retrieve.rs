// SPDX-License-Identifier: MIT OR Apache-2.0
//! T, K7: retrieve, relinquish, reclaim and death.
use crate::bench::{Bench, NONE, RO, RW, three_pages};
use bulkhead_abi::FfaError::{self, Aborted, Busy, Denied, InvalidParameters, NoMemory};
use bulkhead_model::call::{Data, Instruction, Outcome, Request, Retrieve, Shape, Type, TypeField};
use bulkhead_model::case_world::{CODE, NORMAL_WORLD, SP, VM};
use bulkhead_model::page::{Access, Content, Hold, Id, Kind, Owner};
use bulkhead_model::well_formed::{hypervisor_retrieve, receiver, reclaim, relinquish, run, send};

const BOTH: [(Id, Data); 2] = [(SP[1], RW), (SP[2], RO)];

/// A right request for three pages lent to two, spoilt, is refused.
#[track_caller]
fn refused(kind: Type, error: FfaError, spoil: impl FnOnce(&mut Retrieve)) {
    let mut bench = Bench::new();
    let handle = bench.three(kind, &BOTH);
    let mut request = bench.request(handle, SP[1]);
    spoil(&mut request);
    bench.refused(SP[1], Request::Retrieve(request), error);
    bench.take(handle, SP[1]);
}

#[test]
fn three_borrowers_of_three_pages_get_what_each_was_granted() {
    let mut bench = Bench::new();
    let page = NORMAL_WORLD.map(|page| run(page, 1));
    let handle = bench.sent(send(
        Type::Lend,
        VM[0],
        &[(SP[0], RW), (SP[1], RO), (SP[2], RW)],
        &page,
    ));
    for id in SP {
        bench.take(handle, id);
    }
    for page in NORMAL_WORLD {
        assert_eq!(
            SP.map(|id| bench.access(page, id)),
            [Some(Access::RW), Some(Access::RO), Some(Access::RW)]
        );
        assert_eq!(bench.access(page, Id(0)), None);
    }
}

#[test]
fn t1_h1_a_stranger_learns_nothing_of_a_handle() {
    let mut bench = Bench::new();
    let handle = bench.three(Type::Share, &[(SP[1], RW)]);
    let mut request = bench.request(handle, SP[2]);
    bench.refused(SP[2], Request::Retrieve(request.clone()), InvalidParameters);
    request.handle = 0x1234_5678;
    bench.refused(SP[2], Request::Retrieve(request), InvalidParameters);
    let other = bench.request(handle, SP[1]);
    bench.refused(SP[2], Request::Retrieve(other), InvalidParameters);
}

#[test]
fn t2_a_full_or_absent_rx_is_busy() {
    let mut bench = Bench::new();
    let handle = bench.three(Type::Share, &BOTH);
    let other = bench.sent(send(Type::Share, SP[0], &BOTH, &[run(3, 1)]));
    let request = bench.request(handle, SP[1]);
    assert!(matches!(
        bench.call(SP[1], Request::Retrieve(request)),
        Outcome::Retrieved(_)
    ));
    let request = bench.request(other, SP[1]);
    bench.refused(SP[1], Request::Retrieve(request), Busy);
    assert_eq!(bench.call(SP[2], Request::RxtxUnmap), Outcome::Success);
    let request = bench.request(handle, SP[2]);
    bench.refused(SP[2], Request::Retrieve(request), Busy);
}

#[test]
fn t3_a_wrong_tag_or_sender_is_refused() {
    refused(Type::Share, InvalidParameters, |call| call.tag += 1);
    refused(Type::Share, InvalidParameters, |call| call.sender = SP[2]);
}

#[test]
fn t4_another_type_is_refused_and_none_accepted() {
    refused(Type::Share, InvalidParameters, |call| {
        call.kind = Some(Type::Lend)
    });
    refused(Type::Share, InvalidParameters, |call| {
        call.other_flags = true
    });
    let mut bench = Bench::new();
    let handle = bench.three(Type::Share, &BOTH);
    let mut request = bench.request(handle, SP[1]);
    request.kind = None;
    bench.take_by(SP[1], request);
}

#[test]
fn t5_more_than_granted_is_denied() {
    let mut bench = Bench::new();
    let handle = bench.three(Type::Share, &BOTH);
    let mut request = bench.request(handle, SP[2]);
    request.receivers[1].data = RW;
    bench.refused(SP[2], Request::Retrieve(request.clone()), Denied);
    request.receivers[1].data = NONE;
    bench.take_by(SP[2], request);
    assert!((0..3).all(|page| bench.access(page, SP[2]) == Some(Access::RO)));
}

#[test]
fn t5_execution_is_for_secure_pages_that_the_sender_executes() {
    let mut bench = Bench::new();
    let data = bench.sent(send(Type::Lend, SP[0], &[(SP[1], RO)], &[run(0, 1)]));
    let code = bench.sent(send(Type::Lend, SP[0], &[(SP[1], RO)], &[run(CODE, 1)]));
    let foreign = bench.sent(send(
        Type::Lend,
        Id(0),
        &[(SP[1], RO)],
        &[run(NORMAL_WORLD[0], 1)],
    ));
    for handle in [data, foreign] {
        let mut request = bench.request(handle, SP[1]);
        request.receivers[0].instruction = Instruction::Execute;
        bench.refused(SP[1], Request::Retrieve(request), Denied);
    }
    let mut request = bench.request(code, SP[1]);
    request.receivers[0].instruction = Instruction::Execute;
    bench.take_by(SP[1], request);
    assert_eq!(bench.access(CODE, SP[1]), Some(Access::RX));
}

#[test]
fn t6_what_must_not_be_specified_is_refused() {
    refused(Type::Share, InvalidParameters, |call| {
        call.receivers[0].instruction = Instruction::Never
    });
    refused(Type::Lend, InvalidParameters, |call| {
        call.receivers[1].instruction = Instruction::Never
    });
    refused(Type::Lend, InvalidParameters, |call| {
        call.receivers[1].data = NONE
    });
    refused(Type::Lend, InvalidParameters, |call| call.ns = true);
    refused(Type::Lend, Denied, |call| {
        call.memory = TypeField::Is(Kind::Device)
    });
}

#[test]
fn t7_t10_hints_and_address_ranges_are_refused() {
    refused(Type::Share, InvalidParameters, |call| call.hint = true);
    refused(Type::Share, InvalidParameters, |call| call.ranges = true);
    refused(Type::Share, InvalidParameters, |call| {
        call.shape = Shape::Bad
    });
}

#[test]
fn t8_zeroing_before_needs_the_lenders_word_and_the_first_writer() {
    refused(Type::Lend, InvalidParameters, |call| call.zero = true);
    refused(Type::Share, InvalidParameters, |call| call.zero = true);
    let mut bench = Bench::new();
    let mut call = send(Type::Lend, SP[0], &BOTH, &three_pages());
    call.zero = true;
    let handle = bench.sent(call);
    let mut request = bench.request(handle, SP[2]);
    request.zero = true;
    bench.refused(SP[2], Request::Retrieve(request.clone()), Denied);
    let mut request = bench.request(handle, SP[1]);
    request.zero = true;
    bench.take_by(SP[1], request.clone());
    assert!((0..3).all(|page| bench.content(page) == Content::Zero));
    assert!(matches!(
        bench.call(
            SP[1],
            Request::Touch {
                page: 1,
                write: true
            }
        ),
        Outcome::Data(_)
    ));
    bench.take(handle, SP[2]);
    assert_eq!(
        bench.content(1),
        Content::Of(SP[1].domain()),
        "a second retrieve does not zero"
    );
    bench.leave(handle, SP[1]);
    bench.refused(SP[1], Request::Retrieve(request), Denied);
}

#[test]
fn t9_zeroing_after_is_for_a_lend_and_for_who_writes() {
    refused(Type::Share, InvalidParameters, |call| {
        call.zero_after = true
    });
    refused(Type::Lend, Denied, |call| {
        call.receivers[0].data = RO;
        call.zero_after = true;
    });
    let mut bench = Bench::new();
    let handle = bench.three(Type::Lend, &BOTH);
    let mut request = bench.request(handle, SP[1]);
    request.zero_after = true;
    bench.take_by(SP[1], request);
    bench.take(handle, SP[2]);
    bench.leave(handle, SP[1]);
    assert_eq!(
        bench.content(0),
        Content::Of(SP[0].domain()),
        "the other borrower still reads"
    );
    bench.leave(handle, SP[2]);
    assert!((0..3).all(|page| bench.content(page) == Content::Zero));
}

#[test]
fn t11_a_list_other_than_the_lenders_is_refused() {
    refused(Type::Share, InvalidParameters, |call| {
        call.receivers.truncate(1)
    });
    refused(Type::Share, InvalidParameters, |call| {
        call.receivers.push(receiver(SP[0], RO))
    });
    refused(Type::Share, InvalidParameters, |call| {
        call.receivers[1] = call.receivers[0]
    });
    refused(Type::Share, InvalidParameters, |call| {
        call.receivers.reverse()
    });
    refused(Type::Share, InvalidParameters, |call| call.bypass = true);
    let mut bench = Bench::new();
    let handle = bench.three(Type::Share, &BOTH);
    let mut request = bench.request(handle, SP[2]);
    request.bypass = true;
    request.receivers.remove(0);
    bench.take_by(SP[2], request);
    let single = bench.sent(send(Type::Share, SP[0], &[(SP[1], RW)], &[run(3, 1)]));
    let mut request = bench.request(single, SP[1]);
    request.bypass = true;
    bench.refused(SP[1], Request::Retrieve(request), InvalidParameters);
}

#[test]
fn t12_a_second_retrieve_is_denied_until_relinquish() {
    let mut bench = Bench::new();
    let handle = bench.three(Type::Share, &BOTH);
    bench.take(handle, SP[1]);
    let request = bench.request(handle, SP[1]);
    bench.refused(SP[1], Request::Retrieve(request), Denied);
    bench.leave(handle, SP[1]);
    bench.take(handle, SP[1]);
}

#[test]
fn t14_no_memory_for_tables_maps_nothing_and_a_retry_succeeds() {
    let mut bench = Bench::new();
    let handle = bench.three(Type::Lend, &BOTH);
    bench.oracle.no_memory = true;
    let request = bench.request(handle, SP[1]);
    bench.refused(SP[1], Request::Retrieve(request), NoMemory);
    bench.oracle.no_memory = false;
    bench.take(handle, SP[1]);
}

#[test]
fn t16_a_wrong_relinquish_is_refused() {
    let mut bench = Bench::new();
    let handle = bench.three(Type::Lend, &BOTH);
    bench.refused(
        SP[1],
        Request::Relinquish(relinquish(handle, SP[1])),
        Denied,
    );
    bench.take(handle, SP[1]);
    let good = relinquish(handle, SP[1]);
    for endpoints in [vec![], vec![SP[1], SP[1]], vec![SP[2]], vec![SP[0]]] {
        let call = bulkhead_model::call::Relinquish {
            endpoints,
            ..good.clone()
        };
        bench.refused(SP[1], Request::Relinquish(call), InvalidParameters);
    }
    let mut flags = good.clone();
    flags.other_flags = true;
    bench.refused(SP[1], Request::Relinquish(flags), InvalidParameters);
    bench.leave(handle, SP[1]);
    assert!((0..3).all(|page| bench.access(page, SP[1]).is_none()));
    bench.refused(SP[1], Request::Relinquish(good), Denied);
}

#[test]
fn t17_after_relinquish_no_core_has_a_translation() {
    let mut bench = Bench::new();
    let handle = bench.three(Type::Share, &BOTH);
    bench.take(handle, SP[1]);
    assert!(matches!(
        bench.call(
            SP[1],
            Request::Touch {
                page: 1,
                write: true
            }
        ),
        Outcome::Data(_)
    ));
    assert!(bench.world.cores[0].is_some());
    bench.leave(handle, SP[1]);
    assert_eq!(bench.world.cores[0], None);
    assert_eq!(
        bench.call(
            SP[1],
            Request::Touch {
                page: 1,
                write: false
            }
        ),
        Outcome::Fault
    );
}

#[test]
fn t18_k7_a_dead_borrower_leaves_and_the_lender_reclaims() {
    let mut bench = Bench::new();
    let handle = bench.three(Type::Lend, &BOTH);
    bench.take(handle, SP[1]);
    bench.take(handle, SP[2]);
    bench.die(SP[1]);
    bench.refused(SP[0], Request::Reclaim(reclaim(handle)), Denied);
    assert_eq!(bench.access(0, SP[2]), Some(Access::RO));
    bench.die(SP[2]);
    bench.give_back(handle);
    assert!((0..3).all(|page| bench.access(page, SP[0]) == Some(Access::RW)));
}

#[test]
fn k7_a_dead_lenders_pages_stay_with_borrowers_and_are_wiped_after_the_last() {
    let mut bench = Bench::new();
    let handle = bench.three(Type::Lend, &BOTH);
    bench.take(handle, SP[1]);
    bench.die(SP[0]);
    assert_eq!(bench.content(3), Content::Zero);
    assert_eq!(bench.access(0, SP[1]), Some(Access::RW));
    let request = bench.request(handle, SP[2]);
    bench.refused(SP[2], Request::Retrieve(request), Aborted);
    bench.leave(handle, SP[1]);
    assert_eq!(bench.world.transaction(handle), None);
    for page in 0..3 {
        assert_eq!(
            (bench.content(page), bench.world.pages[&page].hold),
            (Content::Zero, Hold::Exclusive)
        );
        assert!(bench.world.pages[&page].map.is_empty());
    }
}

#[test]
fn a_destroyed_vm_leaves_its_share_and_the_hypervisor_reclaims_what_it_lent() {
    let mut bench = Bench::new();
    let page = NORMAL_WORLD.map(|page| run(page, 1));
    let handle = bench.sent(send(Type::Share, VM[0], &[(SP[0], RW), (VM[1], RO)], &page));
    bench.take(handle, VM[1]);
    bench.refused(Id(0), Request::Reclaim(reclaim(handle)), Denied);
    for vm in VM {
        assert_eq!(
            bench.call(Id(0), Request::VmDestroyed(vm)),
            Outcome::Success
        );
    }
    assert_eq!(
        bench.call(Id(0), Request::Reclaim(reclaim(handle))),
        Outcome::Success
    );
}

#[test]
fn t20_a_wrong_reclaim_is_refused_and_zero_reaches_every_constituent() {
    let mut bench = Bench::new();
    let handle = bench.three(Type::Lend, &BOTH);
    for other in [SP[1], SP[2], Id(0)] {
        bench.refused(other, Request::Reclaim(reclaim(handle)), Denied);
    }
    let mut flags = reclaim(handle);
    flags.other_flags = true;
    bench.refused(SP[0], Request::Reclaim(flags), InvalidParameters);
    bench.take(handle, SP[1]);
    bench.refused(SP[0], Request::Reclaim(reclaim(handle)), Denied);
    bench.leave(handle, SP[1]);
    let mut zero = reclaim(handle);
    zero.zero = true;
    assert_eq!(bench.call(SP[0], Request::Reclaim(zero)), Outcome::Success);
    assert!((0..3).all(|page| bench.content(page) == Content::Zero));
    bench.refused(SP[0], Request::Reclaim(reclaim(handle)), InvalidParameters);
}

#[test]
fn t21_of_reclaim_and_retrieve_exactly_one_wins() {
    for reclaim_first in [false, true] {
        let mut bench = Bench::new();
        let handle = bench.three(Type::Lend, &BOTH);
        let request = bench.request(handle, SP[1]);
        if reclaim_first {
            bench.give_back(handle);
            bench.refused(SP[1], Request::Retrieve(request), InvalidParameters);
        } else {
            bench.take_by(SP[1], request);
            bench.refused(SP[0], Request::Reclaim(reclaim(handle)), Denied);
        }
    }
}

#[test]
fn t22_a_donation_is_reclaimed_only_before_it_is_taken() {
    let mut bench = Bench::new();
    let before = bench.world.pages.clone();
    let handle = bench.three(Type::Donate, &[(SP[1], NONE)]);
    bench.give_back(handle);
    assert_eq!(bench.world.pages, before);
    let handle = bench.three(Type::Donate, &[(SP[1], NONE)]);
    let request = bench.request(handle, SP[1]);
    assert!(matches!(
        bench.call(SP[1], Request::Retrieve(request)),
        Outcome::Retrieved(_)
    ));
    bench.refused(SP[0], Request::Reclaim(reclaim(handle)), Denied);
    bench.release(SP[1]);
    let more = bulkhead_model::well_formed::frag_rx(handle, SP[1], 2);
    assert!(matches!(
        bench.call(SP[1], Request::FragRx(more)),
        Outcome::Fragment(_)
    ));
    bench.refused(SP[0], Request::Reclaim(reclaim(handle)), InvalidParameters);
    assert_eq!(bench.world.pages[&2].owner, Owner::Of(SP[1].domain()));
}

#[test]
fn t24_the_hypervisor_reads_the_normal_worlds_transactions_only() {
    let mut bench = Bench::new();
    let secure = bench.three(Type::Share, &BOTH);
    bench.refused(
        Id(0),
        Request::Retrieve(hypervisor_retrieve(secure)),
        Denied,
    );
    let page = NORMAL_WORLD.map(|page| run(page, 1));
    let handle = bench.sent(send(Type::Lend, VM[0], &BOTH, &page));
    let mut wrong = hypervisor_retrieve(handle);
    wrong.tag = 1;
    bench.refused(Id(0), Request::Retrieve(wrong), InvalidParameters);
    let pages = bench.world.pages.clone();
    let Outcome::Retrieved(response) =
        bench.call(Id(0), Request::Retrieve(hypervisor_retrieve(handle)))
    else {
        panic!()
    };
    assert_eq!(
        (response.sender, response.receivers.len(), response.count),
        (VM[0], 2, 3)
    );
    assert_eq!(bench.world.pages, pages);
    bench.release(Id(0));
    let more = bulkhead_model::well_formed::frag_rx(handle, Id(0), 2);
    assert_eq!(
        bench.call(Id(0), Request::FragRx(more)),
        Outcome::Fragment(page[2..].to_vec())
    );
}

#[test]
fn zeroing_is_interrupted_for_a_partition_and_never_for_the_normal_world() {
    let mut bench = Bench::new();
    let own = bench.three(Type::Lend, &BOTH);
    let foreign = bench.sent(send(Type::Lend, Id(0), &BOTH, &[run(NORMAL_WORLD[0], 2)]));
    bench.oracle.interrupt = true;
    let zero = |handle| {
        Request::Reclaim(bulkhead_model::call::Reclaim {
            zero: true,
            ..reclaim(handle)
        })
    };
    let before = bench.world.clone();
    assert_eq!(bench.call(SP[0], zero(own)), Outcome::Interrupt);
    assert_eq!(bench.world, before);
    assert_eq!(bench.call(Id(0), zero(foreign)), Outcome::Success);
    bench.oracle.interrupt = false;
    assert_eq!(bench.call(SP[0], zero(own)), Outcome::Success);
}
