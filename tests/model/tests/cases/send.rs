// SPDX-License-Identifier: MIT OR Apache-2.0
//! S: descriptors.
use crate::bench::{Bench, NONE, RO, RW, three_pages};
use bulkhead_abi::FfaError::{self, Aborted, Denied, InvalidParameters, NoMemory};
use bulkhead_model::call::{Instruction, Outcome, Request, Send, Shape, Type, TypeField};
use bulkhead_model::case_world::{
    CODE, DEVICE, EL3, MAILBOXES, NORMAL_WORLD, READ_ONLY, SP, SPMC, VM,
};
use bulkhead_model::page::{Id, Kind, Owner};
use bulkhead_model::well_formed::{receiver, run, send};

/// The call that the cases spoil: three pages lent to two partitions.
fn lend() -> Send {
    send(
        Type::Lend,
        SP[0],
        &[(SP[1], RW), (SP[2], RO)],
        &three_pages(),
    )
}

#[track_caller]
fn refused(error: FfaError, spoil: impl FnOnce(&mut Send)) {
    let mut call = lend();
    spoil(&mut call);
    Bench::new().refused(SP[0], Request::Send(call), error);
}

#[track_caller]
fn refused_pages(error: FfaError, pages: &[(u64, u32)]) {
    let runs: Vec<_> = pages
        .iter()
        .map(|(first, count)| run(*first, *count))
        .collect();
    let call = send(Type::Lend, SP[0], &[(SP[1], RO)], &runs);
    Bench::new().refused(SP[0], Request::Send(call), error);
}

#[test]
fn the_call_that_the_cases_spoil_is_right() {
    let mut bench = Bench::new();
    bench.sent(lend());
    for page in 0..3 {
        assert_eq!(bench.mapping(page, SP[0]), None);
    }
}

#[test]
fn s1_bytes_that_do_not_decode_are_refused() {
    refused(InvalidParameters, |call| call.shape = Shape::Bad);
}

#[test]
fn s2_more_constituents_than_declared_are_refused() {
    refused(InvalidParameters, |call| call.count = 2);
}

#[test]
fn s5_no_receiver_is_refused() {
    refused(InvalidParameters, |call| call.receivers.clear());
}

#[test]
fn s9_no_constituent_is_refused() {
    refused(InvalidParameters, |call| {
        call.count = 0;
        call.constituents.clear();
    });
}

#[test]
fn s10_a_wrong_total_is_refused_also_modulo_two_to_the_32() {
    refused(InvalidParameters, |call| call.pages = 4);
    refused(InvalidParameters, |call| {
        call.constituents[0].count = u32::MAX;
        call.constituents[1].address = 1 << 60;
        call.pages = 1;
    });
}

#[test]
fn s11_an_empty_constituent_is_refused() {
    refused(InvalidParameters, |call| call.constituents[2].count = 0);
}

#[test]
fn s12_an_unaligned_address_is_refused() {
    refused(InvalidParameters, |call| call.constituents[2].address += 8);
}

#[test]
fn s13_a_run_that_wraps_is_refused() {
    refused(InvalidParameters, |call| {
        call.constituents[2].address = u64::MAX - 4095
    });
}

#[test]
fn s15_a_handle_on_send_is_refused() {
    refused(InvalidParameters, |call| call.handle = 1);
}

#[test]
fn s18_a_sender_other_than_the_caller_is_denied() {
    refused(Denied, |call| call.sender = SP[1]);
    let mut call = send(
        Type::Share,
        SP[0],
        &[(SP[1], RW)],
        &[run(NORMAL_WORLD[0], 1)],
    );
    Bench::new().refused(Id(0), Request::Send(call.clone()), Denied);
    call.sender = VM[1];
    Bench::new().sent(call);
}

#[test]
fn s19_the_sender_as_receiver_is_refused() {
    refused(InvalidParameters, |call| call.receivers[1].id = SP[0]);
}

#[test]
fn s20_a_receiver_twice_is_refused() {
    refused(InvalidParameters, |call| call.receivers[1].id = SP[1]);
}

#[test]
fn s21_an_unknown_receiver_is_refused() {
    refused(InvalidParameters, |call| call.receivers[1].id = Id(0x8055));
}

#[test]
fn s22_a_donation_to_two_is_refused() {
    refused(InvalidParameters, |call| {
        call.kind = Type::Donate;
        call.memory = TypeField::Unspecified;
        call.receivers.iter_mut().for_each(|own| own.data = NONE);
    });
}

#[test]
fn s23_a_partition_cannot_send_to_the_normal_world() {
    refused(Denied, |call| call.receivers[1].id = VM[0]);
    refused(Denied, |call| call.receivers[1].id = Id(0));
}

#[test]
fn s24_a_vm_beside_a_partition_borrows_a_share_only() {
    let page = [run(NORMAL_WORLD[0], 3)];
    let mut bench = Bench::new();
    let only = send(Type::Share, VM[0], &[(VM[1], RO)], &page);
    bench.refused(VM[0], Request::Send(only), Denied);
    let lend = send(Type::Lend, VM[0], &[(SP[0], RW), (VM[1], RO)], &page);
    bench.refused(VM[0], Request::Send(lend), Denied);
    let many = send(
        Type::Share,
        VM[0],
        &[(SP[0], RW), (VM[1], RO), (Id(0), RO)],
        &page,
    );
    bench.refused(VM[0], Request::Send(many), Denied);
    let mixed = send(Type::Share, VM[0], &[(SP[0], RW), (VM[1], RO)], &page);
    let handle = bench.sent(mixed);
    bench.take(handle, SP[0]);
    bench.take(handle, VM[1]);
    bench.leave(handle, VM[1]);
    assert!(
        bench.mapping(NORMAL_WORLD[0], Id(0)).is_some(),
        "the normal world keeps what it shared"
    );
}

#[test]
fn s25_a_dead_receiver_is_aborted() {
    let mut bench = Bench::new();
    bench.die(SP[2]);
    bench.refused(SP[0], Request::Send(lend()), Aborted);
}

#[test]
fn s26_overlapping_constituents_are_refused() {
    refused_pages(InvalidParameters, &[(0, 1), (2, 1), (0, 1)]);
    refused_pages(InvalidParameters, &[(0, 3), (3, 1), (1, 1)]);
    refused_pages(InvalidParameters, &[(1, 2), (0, 2), (3, 1)]);
}

#[test]
fn s27_s34_s35_pages_that_the_sender_does_not_map_are_denied() {
    for page in [9, SPMC, EL3, 10, NORMAL_WORLD[0], 1 << 39] {
        refused_pages(Denied, &[(0, 1), (page, 1), (1, 1)]);
    }
    for page in [0, 19, 15, SPMC] {
        let call = send(
            Type::Share,
            Id(0),
            &[(SP[1], RO)],
            &[run(NORMAL_WORLD[0], 1), run(page, 1)],
        );
        Bench::new().refused(Id(0), Request::Send(call), Denied);
    }
}

#[test]
fn s28_borrowed_pages_are_denied() {
    let mut bench = Bench::new();
    let handle = bench.three(Type::Share, &[(SP[1], RW)]);
    bench.take(handle, SP[1]);
    let on = send(Type::Share, SP[1], &[(SP[2], RO)], &[run(0, 1)]);
    bench.refused(SP[1], Request::Send(on), Denied);
}

#[test]
fn s29_s30_shared_pages_are_denied_also_among_others() {
    let mut bench = Bench::new();
    bench.sent(send(Type::Share, SP[0], &[(SP[1], RW)], &[run(2, 1)]));
    let again = send(Type::Share, SP[0], &[(SP[2], RO)], &three_pages());
    bench.refused(SP[0], Request::Send(again), Denied);
}

#[test]
fn s31_secure_and_non_secure_pages_do_not_mix() {
    let mut bench = Bench::new();
    let handle = bench.sent(send(
        Type::Donate,
        Id(0),
        &[(SP[0], NONE)],
        &[run(NORMAL_WORLD[0], 1)],
    ));
    bench.take(handle, SP[0]);
    let mixed = send(
        Type::Lend,
        SP[0],
        &[(SP[1], RO)],
        &[run(0, 1), run(NORMAL_WORLD[0], 1), run(1, 1)],
    );
    bench.refused(SP[0], Request::Send(mixed), Denied);
}

#[test]
fn s32_a_device_is_lent_to_one_borrower_only() {
    let mut bench = Bench::new();
    let device = [run(DEVICE, 1)];
    let mut share = send(Type::Share, SP[0], &[(SP[1], RW)], &device);
    share.memory = TypeField::Is(Kind::Device);
    let mut two = send(Type::Lend, SP[0], &[(SP[1], RW), (SP[2], RW)], &device);
    two.memory = TypeField::Is(Kind::Device);
    let mut zero = send(Type::Lend, SP[0], &[(SP[1], RW)], &device);
    zero.zero = true;
    let donate = send(Type::Donate, SP[0], &[(SP[1], NONE)], &device);
    for call in [share, two, zero, donate] {
        bench.refused(SP[0], Request::Send(call), Denied);
    }
    let handle = bench.sent(send(Type::Lend, SP[0], &[(SP[1], RW)], &device));
    let mut normal = bench.request(handle, SP[1]);
    normal.memory = TypeField::Is(Kind::Normal);
    bench.refused(SP[1], Request::Retrieve(normal), Denied);
    bench.take(handle, SP[1]);
    assert_eq!(
        bench.mapping(DEVICE, SP[1]).map(|mapping| mapping.kind),
        Some(Kind::Device)
    );
}

#[test]
fn s33_mailbox_pages_are_denied_until_unmapped() {
    let rx = MAILBOXES[0];
    refused_pages(Denied, &[(0, 1), (rx, 1), (1, 1)]);
    refused_pages(Denied, &[(rx + 1, 1)]);
}

#[test]
fn s36_a_donated_page_is_donated_on_by_its_new_owner_only() {
    let mut bench = Bench::new();
    let handle = bench.three(Type::Donate, &[(SP[1], NONE)]);
    bench.take(handle, SP[1]);
    let old = send(Type::Donate, SP[0], &[(SP[2], NONE)], &three_pages());
    bench.refused(SP[0], Request::Send(old), Denied);
    let handle = bench.sent(send(Type::Donate, SP[1], &[(SP[2], NONE)], &three_pages()));
    bench.take(handle, SP[2]);
    assert_eq!(bench.world.pages[&2].owner, Owner::Of(SP[2].domain()));
}

#[test]
fn s38_read_write_of_a_read_only_page_is_denied() {
    let call = send(
        Type::Share,
        SP[0],
        &[(SP[1], RO), (SP[2], RW)],
        &[run(0, 1), run(READ_ONLY, 1), run(1, 1)],
    );
    Bench::new().refused(SP[0], Request::Send(call), Denied);
}

#[test]
fn s39_instruction_access_from_the_sender_is_refused() {
    refused(InvalidParameters, |call| {
        call.receivers[1].instruction = Instruction::Execute
    });
    refused(InvalidParameters, |call| {
        call.receivers[1].instruction = Instruction::Never
    });
}

#[test]
fn s40_s41_a_memory_type_other_than_the_pages_is_denied() {
    for memory in [
        TypeField::Is(Kind::Device),
        TypeField::Other,
        TypeField::Unspecified,
    ] {
        refused(Denied, |call| call.memory = memory);
    }
    refused_pages(Denied, &[(0, 1), (DEVICE, 1), (1, 1)]);
}

#[test]
fn a41_a_lend_to_one_borrower_names_no_memory_type_and_each_receiver_a_data_access() {
    refused(InvalidParameters, |call| call.receivers.truncate(1));
    refused(InvalidParameters, |call| {
        call.receivers[1] = receiver(SP[2], NONE)
    });
}

#[test]
fn s42_the_ns_bit_on_send_is_refused() {
    refused(InvalidParameters, |call| call.ns = true);
}

#[test]
fn s43_zeroing_a_share_or_read_only_pages_is_refused() {
    refused(InvalidParameters, |call| {
        call.kind = Type::Share;
        call.zero = true;
    });
    let mut call = send(
        Type::Lend,
        SP[0],
        &[(SP[1], RO)],
        &[run(0, 1), run(CODE, 1)],
    );
    call.zero = true;
    Bench::new().refused(SP[0], Request::Send(call), Denied);
}

#[test]
fn s44_s45_time_slicing_and_other_flags_are_refused() {
    refused(InvalidParameters, |call| call.time_slice = true);
    refused(InvalidParameters, |call| call.other_flags = true);
}

#[test]
fn no_memory_for_the_record_is_reported_after_every_other_refusal() {
    let mut bench = Bench::new();
    bench.oracle.no_memory = true;
    bench.refused(SP[0], Request::Send(lend()), NoMemory);
    let mut wrong = lend();
    wrong.constituents[2] = run(9, 1);
    bench.refused(SP[0], Request::Send(wrong), Denied);
}

#[test]
fn m9_m23_buffers_are_owned_pages_and_free_again_after_unmap() {
    let mut bench = Bench::new();
    assert_eq!(bench.call(SP[0], Request::RxtxUnmap), Outcome::Success);
    let map = |rx, tx| Request::RxtxMap { rx, tx };
    assert_eq!(bench.call(SP[0], map(0, MAILBOXES[0])), Outcome::Success);
    bench.refused(SP[0], Request::Send(lend()), Denied);
    assert_eq!(bench.call(SP[0], Request::RxtxUnmap), Outcome::Success);
    assert_eq!(
        bench.call(SP[0], map(MAILBOXES[0], MAILBOXES[0] + 1)),
        Outcome::Success
    );
    bench.sent(lend());
    assert_eq!(bench.call(SP[0], Request::RxtxUnmap), Outcome::Success);
    bench.refused(SP[0], map(0, MAILBOXES[0]), Denied);
}
