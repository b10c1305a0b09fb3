// SPDX-License-Identifier: MIT OR Apache-2.0
//! Each scenario under many schedules; see [`explore`] for how many, and for how one is run again.

use bulkhead_schedules::explore::explore;
use bulkhead_schedules::scenarios::{
    abort, crossing, delivery, interrupt, mailbox, notification, power, preemption, queue, sharing,
    sharing_abort, sharing_fragments, version,
};

/// One test a scenario, of the same name.
macro_rules! explored {
    ($($module:ident :: $scenario:ident),* $(,)?) => {
        $(
            #[test]
            fn $scenario() {
                explore(stringify!($scenario), $module::$scenario);
            }
        )*
    };
}

explored! {
    crossing::c6_two_cores_cross_calls,
    crossing::c1_c2_c6_chains_of_three_partitions,
    preemption::r3_r11_r12_two_cores_claim_preempt_and_resume,
    preemption::a76_r3_two_cores_yield_and_resume,
    preemption::r11_r12_three_cores_run_one_context,
    abort::c7_c8_c10_k8_a_partition_ends_during_calls,
    abort::c7_a_partition_ends_while_it_is_preempted,
    abort::k8_a_partition_ends_on_two_cores_at_once,
    abort::d8_the_list_of_partitions_while_one_ends,
    version::v8_two_cores_negotiate,
    mailbox::m13_m16_two_cores_map_fill_and_unmap,
    mailbox::m13_two_cores_forward_the_same_vm,
    mailbox::m9_no_page_is_in_two_mailboxes,
    mailbox::m16_two_contexts_share_the_mailbox_of_a_partition,
    notification::n8_n9_n10_n11_two_cores_set_get_and_ask,
    notification::g26_n13_two_cores_send_and_release,
    queue::e16_three_cores_wait_for_one_partition,
    queue::e16_two_cores_wait_and_cross,
    queue::e16_k8_a_partition_ends_while_cores_wait,
    queue::e16_a_queue_is_full,
    power::w1_w2_w5_cores_come_and_go,
    power::w1_k8_k11_a_partition_ends_while_a_core_comes_on,
    interrupt::i5_a_device_interrupts_a_partition_that_waits_or_runs,
    interrupt::i5_r11_an_interrupt_and_a_request_claim_one_context,
    interrupt::i16_k8_a_partition_ends_while_it_is_interrupted,
    interrupt::i18_a_timer_is_set_anew_while_it_fires_on_another_core,
    interrupt::i14_contexts_interrupt_each_other,
    interrupt::w2_interrupts_come_to_a_core_that_goes_off,
    interrupt::n10_i5_the_scheduler_asks_while_interrupts_come,
    delivery::i5_the_core_of_a_context_that_spins_is_kicked,
    delivery::i16_ir1_a_handler_faults,
    delivery::a87_n11_the_scheduler_is_told_of_interrupts,
    delivery::i14_i5_an_ipi_and_a_device_interrupt_come_to_one_context,
    delivery::i16_w1_a_context_enables_its_interrupt_while_its_partition_ends,
    delivery::i18_w2_the_core_that_keeps_a_deadline_goes_off,
    delivery::w2_i5_an_interrupt_comes_while_contexts_go_off,
    sharing::t21_a_reclaim_races_a_retrieve,
    sharing::t20_t21_a_reclaim_races_a_relinquish,
    sharing::t12_two_contexts_of_a_receiver_retrieve,
    sharing::t16_two_contexts_of_a_receiver_relinquish,
    sharing::t20_t23_two_cores_reclaim,
    sharing::s37_two_cores_send_overlapping_pages,
    sharing::h2_t23_an_old_handle_names_nothing_else,
    sharing::a59_two_contexts_of_a_receiver_look_for_a_place,
    sharing::s36_a_donation_is_retrieved_and_its_pages_sent_again,
    sharing::t18_t20_two_receivers_come_and_go_while_the_sender_reclaims,
    sharing_abort::k7_a60_the_sender_ends_while_it_sends,
    sharing_abort::k7_a60_the_sender_ends_while_the_receiver_comes_and_goes,
    sharing_abort::k7_a60_the_sender_ends_while_it_reclaims,
    sharing_abort::k7_t18_the_receiver_ends_while_it_comes_and_goes,
    sharing_abort::k7_t18_the_receiver_ends_while_the_sender_reclaims,
    sharing_abort::s25_a60_the_receiver_ends_while_it_is_sent_to,
    sharing_abort::k7_a60_both_parties_end_at_once,
    sharing_fragments::f9_two_cores_bring_fragments_of_one_transaction,
    sharing_fragments::f6_f9_the_last_fragment_races_a_reclaim_and_a_retrieve,
    sharing_fragments::f10_k7_the_sender_ends_while_it_brings_a_fragment,
    sharing_fragments::f11_two_contexts_fetch_one_description,
    sharing_fragments::f11_t19_k7_the_receiver_leaves_while_it_fetches_a_description,
}
