// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which tests show the abuse cases of memory sharing, one row each: on the host, and of two worlds on QEMU. All of
//! them exist by name, which is what the test here is for; what QEMU does not show says why.

mod by_name;

use by_name::{Named, assert_there};

/// Id, what it is about, its tests on the host, those on QEMU, and why QEMU does not show it, or not all of it.
type Row = (
    &'static str,
    &'static str,
    &'static [Named],
    &'static [Named],
    &'static str,
);

// Files, from the root of the repository.
const SEND: &str = "tests/sim/tests/sharing_send.rs";
const BUFFER: &str = "tests/sim/tests/sharing_send/buffer.rs";
const MEMORY: &str = "tests/sim/tests/sharing_send/memory.rs";
const RETRIEVE: &str = "tests/sim/tests/sharing_retrieve.rs";
const HANDLES: &str = "tests/sim/tests/sharing_retrieve/handles.rs";
const FRAGMENTS: &str = "tests/sim/tests/sharing_retrieve/fragments.rs";
const DEATH: &str = "tests/sim/tests/sharing_retrieve/death.rs";
const EL0: &str = "tests/sim/tests/sharing_el0.rs";
const SHARING: &str = "tests/sim/tests/sharing.rs";
const PLACES: &str = "tests/sim/tests/sharing_places.rs";
const RXTX: &str = "tests/sim/tests/rxtx.rs";
const M_SEND: &str = "tests/model/tests/cases/send.rs";
const M_RETRIEVE: &str = "tests/model/tests/cases/retrieve.rs";
const M_HANDLES: &str = "tests/model/tests/cases/handles.rs";
const M_FRAGMENTS: &str = "tests/model/tests/cases/fragments.rs";
const RACES: &str = "tests/schedules/src/scenarios/sharing.rs";
const ENDS: &str = "tests/schedules/src/scenarios/sharing_abort.rs";
const PIECES: &str = "tests/schedules/src/scenarios/sharing_fragments.rs";
const MAILBOX: &str = "tests/schedules/src/scenarios/mailbox.rs";
const SHAPE: &str = "src/abi/tests/memory/shape.rs";
const VALUES: &str = "src/abi/tests/memory/values.rs";
const WIRE: &str = "src/abi/tests/memory/fragments.rs";
const ORACLE: &str = "src/abi/tests/memory/arm_ffa_oracle.rs";
const REGISTERS: &str = "src/abi/src/memory/registers.rs";
const HANDLE: &str = "src/abi/src/memory/handle.rs";
const ATTRIBUTES: &str = "src/abi/src/memory/attributes.rs";
const RELINQUISH: &str = "src/abi/src/memory/relinquish.rs";
const OWNER: &str = "src/mm/src/tests/owner.rs";
const MISTAKES: &str = "src/mm/src/tests/mistakes.rs";
const POOL: &str = "src/mm/src/pool.rs";
const ORDER: &str = "src/mm/src/tests/order.rs";
// Two worlds, on QEMU.
const Q_REQUESTS: &str = "tests/cases/src/sharing/requests.rs";
const Q_ASKED: &str = "tests/cases/src/sharing/asked.rs";
const Q_SHARING: &str = "tests/cases/src/sharing.rs";
const Q_ENDS: &str = "tests/cases/src/sharing/ends.rs";
const Q_COST: &str = "tests/cases/src/sharing/cost.rs";
const Q_REFUSED: &str = "tests/cases/src/sharing/refused.rs";
const Q_PIECES: &str = "tests/cases/src/sharing/pieces.rs";
const Q_BUFFERS: &str = "tests/cases/src/vm_buffers.rs";
const Q_HOSTILE: &str = "tests/cases/src/hostile.rs";

/// What no test on QEMU can show.
const TABLES: &str = "no world can read S-EL2's tables: the trace checker sees each write to them";

#[rustfmt::skip] // One name a place: they are looked for as they stand.
static CASES: &[Row] = &[
    ("M9", "a buffer in a page that is away", &[
        (MEMORY, &["m9_pages_that_are_away_or_borrowed_are_no_buffers"]),
        (RXTX, &["m9_a_page_is_in_one_mailbox_only"]),
        (M_SEND, &["m9_m23_buffers_are_owned_pages_and_free_again_after_unmap"]),
        (MAILBOX, &["m9_no_page_is_in_two_mailboxes"]),
    ], &[
        (Q_REFUSED, &["m9_m23_pages_that_are_away_are_no_buffers_and_buffers_are_not_sent"]),
        (Q_BUFFERS, &["m9_a_page_of_one_mailbox_is_in_no_other"]),
        (Q_HOSTILE, &["m9_buffers_of_the_normal_world_at_odd_places_are_refused"]),
    ], ""),
    ("M23", "a buffer that is unmapped is shared", &[
        (MEMORY, &["s33_m23_buffers_are_denied_until_they_are_unmapped"]),
        (RXTX, &["m15_m23_buffers_are_unmapped_once_and_can_be_mapped_again"]),
        (M_SEND, &["m9_m23_buffers_are_owned_pages_and_free_again_after_unmap"]),
    ], &[(Q_REFUSED, &["m9_m23_pages_that_are_away_are_no_buffers_and_buffers_are_not_sent"])], ""),
    ("S1", "lengths", &[
        (SEND, &["s1_s2_wrong_lengths_are_refused"]),
        (M_SEND, &["s1_bytes_that_do_not_decode_are_refused"]),
        (SHAPE, &["s1_every_truncation_is_refused"]),
        (REGISTERS, &["s1_s2_lengths_are_checked_and_come_back"]),
    ], &[(Q_REFUSED, &["s1_s2_s3_s4_s16_wrong_lengths_and_other_buffers_are_refused"])], ""),
    ("S2", "a fragment longer than the whole", &[
        (SEND, &["s1_s2_wrong_lengths_are_refused"]),
        (M_SEND, &["s2_more_constituents_than_declared_are_refused"]),
        (SHAPE, &["s2_a_fragment_longer_than_the_whole_is_refused", "s2_a_whole_longer_than_its_parts_is_refused"]),
        (REGISTERS, &["s1_s2_lengths_are_checked_and_come_back"]),
    ], &[(Q_REFUSED, &["s1_s2_s3_s4_s16_wrong_lengths_and_other_buffers_are_refused"])], ""),
    ("S3", "a whole that is too long", &[(SEND, &["s3_what_is_announced_takes_no_memory_before_it_comes"])], &[(Q_REFUSED, &["s1_s2_s3_s4_s16_wrong_lengths_and_other_buffers_are_refused"])], ""),
    ("S4", "a buffer other than TX", &[(BUFFER, &["s4_an_address_without_a_length_is_refused", "s4_a_retrieve_request_is_in_tx"])], &[(Q_REFUSED, &["s1_s2_s3_s4_s16_wrong_lengths_and_other_buffers_are_refused"])], ""),
    ("S5", "the count of receivers", &[
        (SEND, &["s5_wrong_counts_of_receivers_are_refused"]),
        (M_SEND, &["s5_no_receiver_is_refused"]),
        (SHAPE, &["s5_a_receiver_count_of_none_too_many_or_far_too_many_is_refused"]),
    ], &[(Q_REFUSED, &["s5_s6_s7_s8_s9_s14_s15_descriptors_of_a_wrong_shape_are_refused"])], ""),
    ("S6", "where receivers are", &[
        (SEND, &["s6_wrong_offsets_of_receivers_are_refused", "s6_receivers_are_where_the_offset_says", "s6_a_receiver_inside_the_header_is_refused"]),
        (SHAPE, &["s6_receivers_in_the_header_unaligned_or_past_the_end_are_refused", "s6_receivers_need_not_follow_the_header_directly"]),
    ], &[(Q_REFUSED, &["s5_s6_s7_s8_s9_s14_s15_descriptors_of_a_wrong_shape_are_refused"])], ""),
    ("S7", "the size of a receiver", &[
        (SEND, &["s7_wrong_sizes_of_a_receiver_are_refused"]),
        (SHAPE, &["s7_a_receiver_of_a_wrong_size_is_refused"]),
    ], &[(Q_REFUSED, &["s5_s6_s7_s8_s9_s14_s15_descriptors_of_a_wrong_shape_are_refused"])], ""),
    ("S8", "where the composite descriptor is", &[
        (SEND, &["s8_wrong_offsets_of_the_composite_descriptor_are_refused"]),
        (SHAPE, &["s8_a_composite_descriptor_misplaced_or_not_shared_is_refused"]),
    ], &[(Q_REFUSED, &["s5_s6_s7_s8_s9_s14_s15_descriptors_of_a_wrong_shape_are_refused"])], ""),
    ("S9", "the count of constituents", &[
        (SEND, &["s9_wrong_counts_of_constituents_are_refused"]),
        (M_SEND, &["s9_no_constituent_is_refused"]),
        (SHAPE, &["s9_a_constituent_count_of_none_or_one_that_overflows_is_refused"]),
    ], &[(Q_REFUSED, &["s5_s6_s7_s8_s9_s14_s15_descriptors_of_a_wrong_shape_are_refused"])], ""),
    ("S10", "the total of pages", &[
        (SEND, &["s10_a_wrong_total_of_pages_is_refused"]),
        (M_SEND, &["s10_a_wrong_total_is_refused_also_modulo_two_to_the_32"]),
        (SHAPE, &["s10_a_total_that_is_not_the_sum_is_refused_even_modulo_2_to_the_32"]),
        (WIRE, &["s10_the_sum_is_checked_over_all_fragments", "s10_fewer_pages_than_constituents_are_refused_before_the_first_constituent"]),
    ], &[(Q_REFUSED, &["s10_s11_s12_s13_s26_constituents_that_are_none_are_refused"])], ""),
    ("S11", "a constituent without pages", &[
        (SEND, &["s11_s12_an_empty_or_unaligned_constituent_is_refused_wherever_it_is"]),
        (M_SEND, &["s11_an_empty_constituent_is_refused"]),
        (SHAPE, &["s11_a_constituent_without_pages_is_refused"]),
    ], &[(Q_REFUSED, &["s10_s11_s12_s13_s26_constituents_that_are_none_are_refused"])], ""),
    ("S12", "an unaligned address", &[
        (SEND, &["s11_s12_an_empty_or_unaligned_constituent_is_refused_wherever_it_is"]),
        (M_SEND, &["s12_an_unaligned_address_is_refused"]),
        (SHAPE, &["s12_an_unaligned_address_is_refused"]),
    ], &[(Q_REFUSED, &["s10_s11_s12_s13_s26_constituents_that_are_none_are_refused"])], ""),
    ("S13", "an end past all addresses", &[
        (SEND, &["s13_a_constituent_past_the_end_of_addresses_is_refused_and_one_outside_memory_too"]),
        (M_SEND, &["s13_a_run_that_wraps_is_refused"]),
        (SHAPE, &["s13_a_range_that_wraps_or_ends_past_52_bits_is_refused"]),
    ], &[(Q_REFUSED, &["s10_s11_s12_s13_s26_constituents_that_are_none_are_refused"])], ""),
    ("S14", "reserved fields", &[
        (SEND, &["s14_reserved_bytes_are_zero"]),
        (VALUES, &["s14_every_reserved_byte_must_be_zero", "s14_reserved_bits_of_attributes_permissions_and_flags_must_be_zero"]),
    ], &[(Q_REFUSED, &["s5_s6_s7_s8_s9_s14_s15_descriptors_of_a_wrong_shape_are_refused"])], ""),
    ("S15", "a handle on a send", &[
        (SEND, &["s15_a_handle_is_refused"]),
        (M_SEND, &["s15_a_handle_on_send_is_refused"]),
        (VALUES, &["s15_a_handle_on_send_is_refused"]),
    ], &[(Q_REFUSED, &["s5_s6_s7_s8_s9_s14_s15_descriptors_of_a_wrong_shape_are_refused"])], ""),
    ("S16", "exact lengths", &[
        (SEND, &["s16_a_descriptor_may_fill_tx_to_its_last_byte"]),
        (SHAPE, &["s16_only_the_exact_length_is_accepted_up_to_a_whole_page"]),
    ], &[(Q_REFUSED, &["s1_s2_s3_s4_s16_wrong_lengths_and_other_buffers_are_refused"])], ""),
    ("S17", "each bit turned over", &[
        (SEND, &["s17_a_descriptor_with_another_bit_is_refused_or_means_what_it_says"]),
        (VALUES, &["s17_a_flipped_bit_is_refused_or_a_value", "s17_damaged_descriptors_never_panic_and_mean_what_they_say", "s17_any_bytes_never_panic"]),
        (ORACLE, &["s17_what_we_accept_arm_ffa_reads_alike"]),
    ], &[(Q_REFUSED, &["s17_a_descriptor_with_another_bit_is_refused_or_can_be_taken_back"])], ""),
    ("S18", "another sender than the caller", &[
        (SEND, &["s18_a_sender_other_than_the_caller_is_denied"]),
        (M_SEND, &["s18_a_sender_other_than_the_caller_is_denied"]),
    ], &[(Q_REFUSED, &["s18_s19_s20_s21_s22_s23_s24_parties_that_cannot_be_are_refused"])], ""),
    ("S19", "the sender as receiver", &[
        (SEND, &["s19_s20_s21_the_sender_a_second_time_and_unknown_receivers_are_refused"]),
        (M_SEND, &["s19_the_sender_as_receiver_is_refused"]),
    ], &[(Q_REFUSED, &["s18_s19_s20_s21_s22_s23_s24_parties_that_cannot_be_are_refused"])], ""),
    ("S20", "a receiver twice", &[
        (SEND, &["s19_s20_s21_the_sender_a_second_time_and_unknown_receivers_are_refused"]),
        (M_SEND, &["s20_a_receiver_twice_is_refused"]),
    ], &[(Q_REFUSED, &["s18_s19_s20_s21_s22_s23_s24_parties_that_cannot_be_are_refused"])], ""),
    ("S21", "an unknown receiver", &[
        (SEND, &["s19_s20_s21_the_sender_a_second_time_and_unknown_receivers_are_refused"]),
        (M_SEND, &["s21_an_unknown_receiver_is_refused"]),
    ], &[(Q_REFUSED, &["s18_s19_s20_s21_s22_s23_s24_parties_that_cannot_be_are_refused"])], ""),
    ("S22", "a donation to two", &[(SEND, &["s22_a_donation_has_one_receiver"]), (M_SEND, &["s22_a_donation_to_two_is_refused"])], &[(Q_REFUSED, &["s18_s19_s20_s21_s22_s23_s24_parties_that_cannot_be_are_refused"])], ""),
    ("S23", "a partition sends to the normal world", &[
        (SEND, &["s23_a_partition_does_not_send_to_the_normal_world"]),
        (M_SEND, &["s23_a_partition_cannot_send_to_the_normal_world"]),
    ], &[(Q_REFUSED, &["s18_s19_s20_s21_s22_s23_s24_parties_that_cannot_be_are_refused"])], ""),
    ("S24", "the normal world sends to itself", &[
        (SEND, &["s24_the_normal_world_does_not_send_to_itself_alone"]),
        (M_SEND, &["s24_a_vm_beside_a_partition_borrows_a_share_only"]),
    ], &[(Q_REFUSED, &["s18_s19_s20_s21_s22_s23_s24_parties_that_cannot_be_are_refused"])], ""),
    ("S25", "a receiver that ended", &[
        (SEND, &["s25_a_receiver_that_ended_is_aborted"]),
        (M_SEND, &["s25_a_dead_receiver_is_aborted"]),
        (ENDS, &["s25_a60_the_receiver_ends_while_it_is_sent_to"]),
    ], &[(Q_ENDS, &["k7_the_normal_world_reclaims_what_a_receiver_had_that_ended"])], ""),
    ("S26", "pages that overlap", &[
        (MEMORY, &["s26_overlapping_constituents_are_refused"]),
        (M_SEND, &["s26_overlapping_constituents_are_refused"]),
        (OWNER, &["s26_o7_a_page_is_in_one_transaction_and_once_in_it"]),
    ], &[(Q_REFUSED, &["s10_s11_s12_s13_s26_constituents_that_are_none_are_refused"])], ""),
    ("S27", "a page that the sender does not map", &[
        (MEMORY, &["s27_s34_s35_pages_that_are_not_the_senders_are_denied"]),
        (PLACES, &["a59_s27_physical_addresses_are_nothing_to_who_sees_others"]),
        (M_SEND, &["s27_s34_s35_pages_that_the_sender_does_not_map_are_denied"]),
    ], &[
        (Q_SHARING, &["s27_s35_memory_that_is_not_the_senders_is_refused"]),
        (Q_REFUSED, &["s27_s29_s30_s31_s32_s33_s34_s35_one_page_of_others_is_enough_to_be_refused"]),
    ], ""),
    ("S28", "a borrowed page", &[(MEMORY, &["s28_borrowed_pages_are_denied"]), (M_SEND, &["s28_borrowed_pages_are_denied"])], &[(Q_REFUSED, &["s28_a_borrowed_page_is_not_passed_on"])], ""),
    ("S29", "a page that is away", &[
        (MEMORY, &["s29_s30_pages_that_are_away_already_are_denied_also_among_others"]),
        (M_SEND, &["s29_s30_shared_pages_are_denied_also_among_others"]),
    ], &[(Q_REFUSED, &["s27_s29_s30_s31_s32_s33_s34_s35_one_page_of_others_is_enough_to_be_refused"])], ""),
    ("S30", "one such page among others", &[
        (MEMORY, &["s29_s30_pages_that_are_away_already_are_denied_also_among_others"]),
        (M_SEND, &["s29_s30_shared_pages_are_denied_also_among_others"]),
    ], &[(Q_REFUSED, &["s27_s29_s30_s31_s32_s33_s34_s35_one_page_of_others_is_enough_to_be_refused"])], ""),
    ("S31", "pages of both worlds", &[
        (MEMORY, &["s31_secure_and_non_secure_pages_do_not_mix"]),
        (EL0, &["s31_s_el0_grants_no_more_than_it_has"]),
        (M_SEND, &["s31_secure_and_non_secure_pages_do_not_mix"]),
    ], &[(Q_REFUSED, &["s27_s29_s30_s31_s32_s33_s34_s35_one_page_of_others_is_enough_to_be_refused"])], ""),
    ("S32", "a device", &[
        (MEMORY, &["s32_a_device_is_lent_to_one_receiver_only"]),
        (M_SEND, &["s32_a_device_is_lent_to_one_borrower_only"]),
    ], &[(Q_REFUSED, &["s27_s29_s30_s31_s32_s33_s34_s35_one_page_of_others_is_enough_to_be_refused"])], ""),
    ("S33", "a page of a buffer", &[
        (MEMORY, &["s33_m23_buffers_are_denied_until_they_are_unmapped"]),
        (M_SEND, &["s33_mailbox_pages_are_denied_until_unmapped"]),
    ], &[(Q_REFUSED, &["s27_s29_s30_s31_s32_s33_s34_s35_one_page_of_others_is_enough_to_be_refused"])], ""),
    ("S34", "a page of the SPMC, EL3 or others", &[
        (MEMORY, &["s27_s34_s35_pages_that_are_not_the_senders_are_denied"]),
        (M_SEND, &["s27_s34_s35_pages_that_the_sender_does_not_map_are_denied"]),
    ], &[(Q_REFUSED, &["s27_s29_s30_s31_s32_s33_s34_s35_one_page_of_others_is_enough_to_be_refused"])], ""),
    ("S35", "a page outside the ranges of the manifest", &[
        (MEMORY, &["s27_s34_s35_pages_that_are_not_the_senders_are_denied"]),
        (M_SEND, &["s27_s34_s35_pages_that_the_sender_does_not_map_are_denied"]),
    ], &[
        (Q_SHARING, &["s27_s35_memory_that_is_not_the_senders_is_refused"]),
        (Q_REFUSED, &["s27_s29_s30_s31_s32_s33_s34_s35_one_page_of_others_is_enough_to_be_refused"]),
    ], ""),
    ("S36", "a donated page is donated on", &[
        (MEMORY, &["s36_a_donated_page_is_donated_on_by_its_new_owner_only"]),
        (M_SEND, &["s36_a_donated_page_is_donated_on_by_its_new_owner_only"]),
        (RACES, &["s36_a_donation_is_retrieved_and_its_pages_sent_again"]),
    ], &[(Q_SHARING, &["a40_s36_t22_donated_pages_are_the_receivers"])], ""),
    ("S37", "both ends of a range", &[
        (MEMORY, &["s37_the_first_and_the_last_page_of_each_range_are_the_owners"]),
        (RACES, &["s37_two_cores_send_overlapping_pages"]),
    ], &[(Q_REFUSED, &["s37_the_last_page_of_the_normal_world_is_its_own_and_the_next_is_not"])], ""),
    ("S38", "more access than the sender has", &[
        (MEMORY, &["s38_s43_read_only_pages_are_neither_written_nor_zeroed"]),
        (M_SEND, &["s38_read_write_of_a_read_only_page_is_denied"]),
    ], &[(Q_REFUSED, &["s38_a_page_that_may_only_be_read_is_not_granted_to_be_written"])], ""),
    ("S39", "instruction access by the sender", &[
        (MEMORY, &["s39_the_sender_gives_no_instruction_access"]),
        (M_SEND, &["s39_instruction_access_from_the_sender_is_refused"]),
    ], &[(Q_REFUSED, &["s39_s40_s41_s42_s43_s44_s45_what_a_sender_cannot_ask_for_is_refused"])], ""),
    ("S40", "a device type for normal memory", &[
        (MEMORY, &["s40_s41_another_memory_type_is_denied"]),
        (M_SEND, &["s40_s41_a_memory_type_other_than_the_pages_is_denied"]),
    ], &[(Q_REFUSED, &["s39_s40_s41_s42_s43_s44_s45_what_a_sender_cannot_ask_for_is_refused"])], ""),
    ("S41", "cacheability and shareability", &[
        (MEMORY, &["s40_s41_another_memory_type_is_denied"]),
        (M_SEND, &["s40_s41_a_memory_type_other_than_the_pages_is_denied"]),
    ], &[(Q_REFUSED, &["s39_s40_s41_s42_s43_s44_s45_what_a_sender_cannot_ask_for_is_refused"])], ""),
    ("S42", "the non-secure bit", &[
        (MEMORY, &["s42_the_non_secure_bit_is_refused"]),
        (M_SEND, &["s42_the_ns_bit_on_send_is_refused"]),
        (VALUES, &["s42_a_sender_may_not_set_the_ns_bit_and_a_response_may"]),
    ], &[(Q_REFUSED, &["s39_s40_s41_s42_s43_s44_s45_what_a_sender_cannot_ask_for_is_refused"])], ""),
    ("S43", "zeroing of a share or of read-only pages", &[
        (MEMORY, &["s38_s43_read_only_pages_are_neither_written_nor_zeroed", "s43_s44_s45_flags_that_a_send_does_not_have_are_refused"]),
        (M_SEND, &["s43_zeroing_a_share_or_read_only_pages_is_refused"]),
    ], &[(Q_REFUSED, &["s39_s40_s41_s42_s43_s44_s45_what_a_sender_cannot_ask_for_is_refused"])], ""),
    ("S44", "time slicing", &[
        (MEMORY, &["s43_s44_s45_flags_that_a_send_does_not_have_are_refused"]),
        (M_SEND, &["s44_s45_time_slicing_and_other_flags_are_refused"]),
    ], &[(Q_REFUSED, &["s39_s40_s41_s42_s43_s44_s45_what_a_sender_cannot_ask_for_is_refused"])], ""),
    ("S45", "the type and the bypass in the flags", &[
        (MEMORY, &["s43_s44_s45_flags_that_a_send_does_not_have_are_refused"]),
        (M_SEND, &["s44_s45_time_slicing_and_other_flags_are_refused"]),
        (VALUES, &["s45_flags_of_another_kind_are_refused"]),
        (ATTRIBUTES, &["s45_each_kind_has_its_own_flags"]),
    ], &[(Q_REFUSED, &["s39_s40_s41_s42_s43_s44_s45_what_a_sender_cannot_ask_for_is_refused"])], ""),
    ("F1", "a fragment of others", &[
        (FRAGMENTS, &["f1_f2_f4_fragments_of_others_of_nothing_and_after_the_end_change_nothing"]),
        (M_FRAGMENTS, &["f1_a_fragment_for_an_unknown_or_anothers_handle_is_refused"]),
    ], &[(Q_ASKED, &["f1_f2_f4_f6_t13_fragments_of_others_or_after_the_end_change_nothing"])], ""),
    ("F2", "one after the last", &[
        (FRAGMENTS, &["f1_f2_f4_fragments_of_others_of_nothing_and_after_the_end_change_nothing"]),
        (M_FRAGMENTS, &["f2_a_fragment_after_the_last_is_refused"]),
    ], &[(Q_ASKED, &["f1_f2_f4_f6_t13_fragments_of_others_or_after_the_end_change_nothing"])], ""),
    ("F3", "an empty or too long one", &[
        (FRAGMENTS, &["f3_f5_a_wrong_fragment_ends_the_transaction_and_frees_its_memory"]),
        (M_FRAGMENTS, &["f3_an_empty_or_too_long_fragment_ends_the_transaction", "f3_the_last_fragment_brings_the_verdict_on_the_memory"]),
        (WIRE, &["f3_a_fragment_beyond_the_announced_constituents_is_refused"]),
    ], &[(Q_ASKED, &["f3_f5_a_wrong_fragment_ends_the_transaction"])], ""),
    ("F4", "another sender in it", &[
        (FRAGMENTS, &["f1_f2_f4_fragments_of_others_of_nothing_and_after_the_end_change_nothing"]),
        (M_FRAGMENTS, &["f4_a_wrong_sender_field_is_refused"]),
    ], &[(Q_ASKED, &["f1_f2_f4_f6_t13_fragments_of_others_or_after_the_end_change_nothing"])], ""),
    ("F5", "one that splits a constituent", &[
        (FRAGMENTS, &["f3_f5_a_wrong_fragment_ends_the_transaction_and_frees_its_memory"]),
        (M_FRAGMENTS, &["f5_a_split_constituent_ends_the_transaction"]),
        (WIRE, &["f5_a_first_fragment_ends_between_constituents", "f5_a_later_fragment_that_splits_a_constituent_is_refused_and_takes_nothing"]),
    ], &[(Q_ASKED, &["f3_f5_a_wrong_fragment_ends_the_transaction"])], ""),
    ("F6", "a transaction that is not complete", &[
        (FRAGMENTS, &["f6_t13_an_incomplete_transaction_is_not_retrieved_and_reclaim_frees_it"]),
        (M_FRAGMENTS, &["f6_an_incomplete_transaction_is_not_retrieved_and_reclaim_frees_it"]),
        (PIECES, &["f6_f9_the_last_fragment_races_a_reclaim_and_a_retrieve"]),
    ], &[(Q_ASKED, &["f1_f2_f4_f6_t13_fragments_of_others_or_after_the_end_change_nothing"])], ""),
    ("F7", "one that there is no memory for", &[
        (SHARING, &["f7_a_fragment_without_memory_changes_nothing_and_comes_again"]),
        (M_FRAGMENTS, &["f7_no_memory_for_a_fragment_leaves_the_transaction_to_try_again"]),
    ], &[(Q_PIECES, &["f7_fragments_use_up_their_senders_memory_and_come_again"])], ""),
    ("F8", "transactions that never end", &[
        (FRAGMENTS, &["f8_transactions_that_never_end_use_up_their_senders_memory_only"]),
        (M_FRAGMENTS, &["f8_incomplete_transactions_fill_the_senders_quota_only"]),
    ], &[(Q_REQUESTS, &["f8_transactions_that_never_end_use_up_their_senders_memory_only"])], ""),
    ("F9", "fragments from two cores", &[
        (M_FRAGMENTS, &["f9_fragments_from_two_cores_come_in_some_order"]),
        (PIECES, &["f9_two_cores_bring_fragments_of_one_transaction", "f6_f9_the_last_fragment_races_a_reclaim_and_a_retrieve"]),
    ], &[(Q_PIECES, &["f9_of_two_cores_with_the_last_fragment_one_completes_the_transaction", "f9_fragments_of_two_cores_are_taken_one_after_the_other"])], ""),
    ("F10", "the sender ends between two", &[
        (FRAGMENTS, &["f10_what_a_sender_that_ended_had_begun_is_dropped"]),
        (M_FRAGMENTS, &["f10_a_dead_senders_fragments_are_dropped"]),
        (PIECES, &["f10_k7_the_sender_ends_while_it_brings_a_fragment"]),
    ], &[(Q_ENDS, &["k7_f10_a_sender_that_ends_between_fragments_leaves_nothing"])], ""),
    ("F11", "fetching a description", &[
        (FRAGMENTS, &["f11_a_description_is_fetched_in_order_by_its_receiver_with_a_free_rx"]),
        (M_FRAGMENTS, &["f11_a_description_is_fetched_in_order_by_its_borrower_with_a_free_rx"]),
        (PIECES, &["f11_two_contexts_fetch_one_description", "f11_t19_k7_the_receiver_leaves_while_it_fetches_a_description"]),
    ], &[(Q_REQUESTS, &["f11_t19_a_description_is_fetched_in_order_and_before_it_is_given_back"])], ""),
    ("F12", "all ways to split, each version", &[
        (SHARING, &["f12_descriptors_in_all_kinds_of_fragments_are_the_same", "f12_a44_a_receiver_of_each_version_fetches_all_fragments"]),
        (WIRE, &["f12_all_ways_to_split_give_the_same_constituents", "f12_an_encoder_with_little_room_gives_the_same_bytes"]),
    ], &[(Q_SHARING, &["a44_f12_six_hundred_pages_go_through_buffers_of_one"])], ""),
    ("H1", "guessed handles", &[
        (RETRIEVE, &["t1_h1_h3_a_stranger_is_told_the_same_as_of_a_handle_that_is_nobodys"]),
        (HANDLES, &["h1_guessed_handles_are_refused"]),
        (M_RETRIEVE, &["t1_h1_a_stranger_learns_nothing_of_a_handle"]),
        (M_HANDLES, &["h1_guessed_handles_are_refused"]),
    ], &[(Q_COST, &["h1_a_stranger_is_told_of_a_handle_what_it_is_told_of_none"])], ""),
    ("H2", "a handle that is over", &[
        (HANDLES, &["h2_t23_a_finished_handle_is_refused_also_when_its_place_is_taken_again"]),
        (M_HANDLES, &["h2_t23_a_finished_handle_is_refused_also_when_its_place_is_taken_again"]),
        (RACES, &["h2_t23_an_old_handle_names_nothing_else"]),
    ], &[(Q_SHARING, &["t12_t16_t20_t23_calls_out_of_order_are_refused"])], ""),
    ("H3", "a partition's handle from the normal world", &[
        (RETRIEVE, &["t1_h1_h3_a_stranger_is_told_the_same_as_of_a_handle_that_is_nobodys"]),
        (M_HANDLES, &["h3_the_normal_world_cannot_use_a_partitions_handle"]),
    ], &[(Q_ASKED, &["h3_h4_h5_t24_a_handle_of_others_or_a_wrong_one_is_refused"])], ""),
    ("H4", "halves swapped", &[
        (HANDLES, &["h4_h5_swapped_halves_and_the_other_allocator_are_refused"]),
        (M_HANDLES, &["h4_h5_swapped_halves_and_the_other_allocator_are_refused"]),
        (REGISTERS, &["h4_reclaim_reads_the_low_half_first"]),
        (HANDLE, &["h4_the_low_half_comes_first"]),
    ], &[(Q_ASKED, &["h3_h4_h5_t24_a_handle_of_others_or_a_wrong_one_is_refused"])], ""),
    ("H5", "the other allocator", &[
        (HANDLES, &["h4_h5_swapped_halves_and_the_other_allocator_are_refused"]),
        (M_HANDLES, &["h4_h5_swapped_halves_and_the_other_allocator_are_refused"]),
        (HANDLE, &["h5_bit_63_names_the_allocator"]),
    ], &[(Q_ASKED, &["h3_h4_h5_t24_a_handle_of_others_or_a_wrong_one_is_refused"])], ""),
    ("T1", "a stranger retrieves", &[
        (RETRIEVE, &["t1_h1_h3_a_stranger_is_told_the_same_as_of_a_handle_that_is_nobodys"]),
        (M_RETRIEVE, &["t1_h1_a_stranger_learns_nothing_of_a_handle"]),
    ], &[
        (Q_SHARING, &["t12_t16_t20_t23_calls_out_of_order_are_refused"]),
        (Q_COST, &["h1_a_stranger_is_told_of_a_handle_what_it_is_told_of_none"]),
    ], ""),
    ("T2", "RX full or absent", &[
        (RETRIEVE, &["t2_a_full_or_absent_rx_is_busy"]),
        (M_RETRIEVE, &["t2_a_full_or_absent_rx_is_busy"]),
    ], &[(Q_ASKED, &["t2_t3_t4_t6_t7_t11_what_a_receiver_cannot_ask_for_is_refused"])], ""),
    ("T3", "a wrong tag or sender", &[
        (RETRIEVE, &["t3_a_wrong_tag_or_sender_is_refused"]),
        (M_RETRIEVE, &["t3_a_wrong_tag_or_sender_is_refused"]),
    ], &[(Q_ASKED, &["t2_t3_t4_t6_t7_t11_what_a_receiver_cannot_ask_for_is_refused"])], ""),
    ("T4", "another type", &[
        (RETRIEVE, &["t4_t7_other_types_time_slices_and_hints_are_refused"]),
        (M_RETRIEVE, &["t4_another_type_is_refused_and_none_accepted"]),
        (ATTRIBUTES, &["t4_the_transaction_type_is_bits_4_and_3"]),
    ], &[(Q_ASKED, &["t2_t3_t4_t6_t7_t11_what_a_receiver_cannot_ask_for_is_refused"])], ""),
    ("T5", "more than was granted", &[
        (RETRIEVE, &["t5_more_than_granted_is_denied"]),
        (EL0, &["t5_s_el0_executes_nothing_that_it_may_write"]),
        (M_RETRIEVE, &["t5_more_than_granted_is_denied", "t5_execution_is_for_secure_pages_that_the_sender_executes"]),
    ], &[(Q_REQUESTS, &["t5_t8_t9_t10_t11_requests_for_more_than_was_granted_are_refused"])], ""),
    ("T6", "what must and what must not be said", &[
        (RETRIEVE, &["t6_what_must_not_be_specified_is_refused"]),
        (M_RETRIEVE, &["t6_what_must_not_be_specified_is_refused"]),
    ], &[(Q_ASKED, &["t2_t3_t4_t6_t7_t11_what_a_receiver_cannot_ask_for_is_refused"])], ""),
    ("T7", "a hint", &[
        (RETRIEVE, &["t4_t7_other_types_time_slices_and_hints_are_refused"]),
        (M_RETRIEVE, &["t7_t10_hints_and_address_ranges_are_refused"]),
    ], &[(Q_ASKED, &["t2_t3_t4_t6_t7_t11_what_a_receiver_cannot_ask_for_is_refused"])], ""),
    ("T8", "zeroing before", &[
        (RETRIEVE, &["t8_zeroing_before_is_the_lenders_wish_and_reaches_every_page_once"]),
        (M_RETRIEVE, &["t8_zeroing_before_needs_the_lenders_word_and_the_first_writer"]),
    ], &[(Q_REQUESTS, &["t5_t8_t9_t10_t11_requests_for_more_than_was_granted_are_refused"]), (Q_SHARING, &["a41_t8_t9_a_partition_lends_and_finds_zeroes"])], ""),
    ("T9", "zeroing after", &[
        (RETRIEVE, &["t9_zeroing_after_is_of_a_lend_by_who_writes_and_waits_for_the_last"]),
        (M_RETRIEVE, &["t9_zeroing_after_is_for_a_lend_and_for_who_writes"]),
    ], &[(Q_REQUESTS, &["t5_t8_t9_t10_t11_requests_for_more_than_was_granted_are_refused"]), (Q_SHARING, &["a41_t8_t9_a_partition_lends_and_finds_zeroes"])], ""),
    ("T10", "address ranges of the receiver", &[
        (RETRIEVE, &["t10_address_ranges_are_refused"]),
        (M_RETRIEVE, &["t7_t10_hints_and_address_ranges_are_refused"]),
        (VALUES, &["t10_a_retrieve_request_with_ranges_is_refused"]),
    ], &[(Q_REQUESTS, &["t5_t8_t9_t10_t11_requests_for_more_than_was_granted_are_refused"])], ""),
    ("T11", "another list of receivers", &[
        (RETRIEVE, &["t11_a_list_other_than_the_lenders_is_refused"]),
        (M_RETRIEVE, &["t11_a_list_other_than_the_lenders_is_refused"]),
    ], &[(Q_ASKED, &["t2_t3_t4_t6_t7_t11_what_a_receiver_cannot_ask_for_is_refused"])], ""),
    ("T12", "a second retrieve", &[
        (RETRIEVE, &["t12_a_second_retrieve_is_denied_until_relinquish"]),
        (M_RETRIEVE, &["t12_a_second_retrieve_is_denied_until_relinquish"]),
        (RACES, &["t12_two_contexts_of_a_receiver_retrieve"]),
    ], &[(Q_SHARING, &["t12_t16_t20_t23_calls_out_of_order_are_refused"])], ""),
    ("T13", "before the last fragment", &[(FRAGMENTS, &["f6_t13_an_incomplete_transaction_is_not_retrieved_and_reclaim_frees_it"])], &[(Q_ASKED, &["f1_f2_f4_f6_t13_fragments_of_others_or_after_the_end_change_nothing"])], ""),
    ("T14", "no memory for tables", &[
        (EL0, &["t14_without_pages_for_tables_nothing_of_s_el0_changes"]),
        (SHARING, &["tx6_t14_every_allocation_of_a_retrieve_fails_once_and_changes_nothing"]),
        (PLACES, &["a59_t14_the_lowest_free_addresses_are_used_and_a_full_window_is_no_memory"]),
        (M_RETRIEVE, &["t14_no_memory_for_tables_maps_nothing_and_a_retry_succeeds"]),
    ], &[(Q_REQUESTS, &["t14_a_retrieve_that_needs_more_tables_than_there_are_changes_nothing"])], ""),
    ("T15", "an answer that cannot be written", &[(RETRIEVE, &["t15_a_retrieve_whose_answer_cannot_be_written_is_undone"])], &[(Q_REQUESTS, &["t15_a_description_that_cannot_be_written_is_told_again"])], ""),
    ("T16", "a wrong relinquish", &[
        (RETRIEVE, &["t16_a_wrong_relinquish_is_refused"]),
        (M_RETRIEVE, &["t16_a_wrong_relinquish_is_refused"]),
        (RACES, &["t16_two_contexts_of_a_receiver_relinquish"]),
        (RELINQUISH, &["t16_every_truncation_is_refused", "t16_reserved_flags_and_wrong_counts_are_refused"]),
    ], &[(Q_SHARING, &["t12_t16_t20_t23_calls_out_of_order_are_refused"])], ""),
    ("T17", "a relinquish while another core is in the memory", &[
        (RETRIEVE, &["t17_after_relinquish_every_page_is_unmapped_for_this_receiver_only"]),
        (M_RETRIEVE, &["t17_after_relinquish_no_core_has_a_translation"]),
    ], &[(Q_ENDS, &["t17_what_is_relinquished_another_core_of_the_partition_cannot_write"])], ""),
    ("T18", "a borrower ends", &[
        (DEATH, &["t18_k7_a_receiver_that_ends_leaves_all_and_the_sender_reclaims"]),
        (M_RETRIEVE, &["t18_k7_a_dead_borrower_leaves_and_the_lender_reclaims"]),
        (RACES, &["t18_t20_two_receivers_come_and_go_while_the_sender_reclaims"]),
        (ENDS, &["k7_t18_the_receiver_ends_while_it_comes_and_goes", "k7_t18_the_receiver_ends_while_the_sender_reclaims"]),
    ], &[(Q_ENDS, &["k7_the_normal_world_reclaims_what_a_receiver_had_that_ended"])], ""),
    ("T19", "a relinquish before the description is fetched", &[
        (RETRIEVE, &["t19_relinquish_before_the_description_is_fetched_is_refused"]),
        (PIECES, &["f11_t19_k7_the_receiver_leaves_while_it_fetches_a_description"]),
    ], &[(Q_REQUESTS, &["f11_t19_a_description_is_fetched_in_order_and_before_it_is_given_back"])], ""),
    ("T20", "a wrong reclaim", &[
        (RETRIEVE, &["t20_a_wrong_reclaim_is_refused_and_zeroing_reaches_every_constituent"]),
        (M_RETRIEVE, &["t20_a_wrong_reclaim_is_refused_and_zero_reaches_every_constituent"]),
        (RACES, &["t20_t21_a_reclaim_races_a_relinquish", "t20_t23_two_cores_reclaim", "t18_t20_two_receivers_come_and_go_while_the_sender_reclaims"]),
    ], &[
        (Q_SHARING, &["a49_t20_reclaim_zeroes_every_page", "t12_t16_t20_t23_calls_out_of_order_are_refused"]),
    ], ""),
    ("T21", "a reclaim and a retrieve at once", &[
        (M_RETRIEVE, &["t21_of_reclaim_and_retrieve_exactly_one_wins"]),
        (RACES, &["t21_a_reclaim_races_a_retrieve", "t20_t21_a_reclaim_races_a_relinquish"]),
    ], &[(Q_ENDS, &["t21_of_a_retrieve_and_a_reclaim_on_two_cores_one_wins"])], ""),
    ("T22", "a reclaim of a donation", &[
        (RETRIEVE, &["t22_a_donation_is_reclaimed_only_before_it_is_taken"]),
        (M_RETRIEVE, &["t22_a_donation_is_reclaimed_only_before_it_is_taken"]),
    ], &[(Q_SHARING, &["a40_s36_t22_donated_pages_are_the_receivers"])], ""),
    ("T23", "a handle after the reclaim", &[
        (HANDLES, &["h2_t23_a_finished_handle_is_refused_also_when_its_place_is_taken_again"]),
        (M_HANDLES, &["h2_t23_a_finished_handle_is_refused_also_when_its_place_is_taken_again"]),
        (RACES, &["t20_t23_two_cores_reclaim", "h2_t23_an_old_handle_names_nothing_else"]),
    ], &[(Q_SHARING, &["t12_t16_t20_t23_calls_out_of_order_are_refused"])], ""),
    ("T24", "the hypervisor retrieves", &[
        (RETRIEVE, &["t24_the_hypervisor_reads_the_normal_worlds_transactions_only"]),
        (M_RETRIEVE, &["t24_the_hypervisor_reads_the_normal_worlds_transactions_only"]),
    ], &[(Q_ASKED, &["h3_h4_h5_t24_a_handle_of_others_or_a_wrong_one_is_refused"])], ""),
    ("X5", "wiped pages change owners", &[
        (MISTAKES, &["x1_x2_x3_x5_x6_correct_edits_pass", "x1_x2_x3_x5_x6_each_mistake_is_caught_by_its_rule"]),
    ], &[
        (Q_SHARING, &["a49_t20_reclaim_zeroes_every_page"]),
        (Q_ENDS, &["k7_what_a_partition_lent_is_wiped_when_it_has_ended_and_the_last_receiver_leaves"]),
    ], "the cleaning, on QEMU: it has no caches; the trace checker sees it"),
    ("X6", "a table's page is used again", &[
        (MISTAKES, &["x1_x2_x3_x5_x6_correct_edits_pass", "x1_x2_x3_x5_x6_each_mistake_is_caught_by_its_rule"]),
        (POOL, &["x6_a_retired_page_is_not_handed_out"]),
        (ORDER, &["x2_x6_pages_are_invalidated_once_for_all_and_their_table_is_freed_last"]),
    ], &[], TABLES),
    ("K7", "a party ends", &[
        (DEATH, &["t18_k7_a_receiver_that_ends_leaves_all_and_the_sender_reclaims", "k7_a60_what_a_sender_that_ended_gave_stays_until_the_last_leaves_and_is_wiped", "k7_a60_what_nobody_has_of_a_sender_that_ended_is_wiped_at_once", "k7_memory_that_does_not_answer_at_a_receivers_end_is_passed_over_and_reclaimed"]),
        (EL0, &["k7_what_s_el0_borrowed_is_not_mapped_when_it_has_ended"]),
        (PLACES, &["a59_k7_either_party_ends"]),
        (M_RETRIEVE, &["t18_k7_a_dead_borrower_leaves_and_the_lender_reclaims", "k7_a_dead_lenders_pages_stay_with_borrowers_and_are_wiped_after_the_last"]),
        (ENDS, &["k7_a60_the_sender_ends_while_it_sends", "k7_a60_the_sender_ends_while_the_receiver_comes_and_goes", "k7_a60_the_sender_ends_while_it_reclaims", "k7_t18_the_receiver_ends_while_it_comes_and_goes", "k7_t18_the_receiver_ends_while_the_sender_reclaims", "k7_a60_both_parties_end_at_once"]),
        (PIECES, &["f10_k7_the_sender_ends_while_it_brings_a_fragment", "f11_t19_k7_the_receiver_leaves_while_it_fetches_a_description"]),
    ], &[
        (Q_ENDS, &["k7_the_normal_world_reclaims_what_a_receiver_had_that_ended", "k7_what_a_partition_lent_is_wiped_when_it_has_ended_and_the_last_receiver_leaves"]),
    ], ""),
];

#[test]
fn every_case_of_memory_sharing_has_tests_by_name() {
    for (id, what, host, qemu, without) in CASES {
        assert!(!host.is_empty(), "{id}, {what}: nothing on the host");
        assert!(
            !qemu.is_empty() || !without.is_empty(),
            "{id}, {what}: nothing on QEMU, and no reason"
        );
        assert_there(id, host);
        assert_there(id, qemu);
        let is_of_qemu = |named: &Named| named.0.starts_with("tests/cases/");
        assert!(qemu.iter().all(is_of_qemu), "{id}: a test of the host");
        assert!(!host.iter().any(is_of_qemu), "{id}: a test of QEMU");
    }
    let ids: Vec<&str> = CASES.iter().map(|row| row.0).collect();
    let numbered = [("S", 45), ("F", 12), ("H", 5), ("T", 24)];
    let numbered = (numbered.iter())
        .flat_map(|(letter, last)| (1..=*last).map(move |number| format!("{letter}{number}")));
    let others = ["M9", "M23", "X5", "X6", "K7"].map(String::from);
    for id in numbered.chain(others) {
        let rows = ids.iter().filter(|row| **row == id).count();
        assert_eq!(rows, 1, "rows of {id}");
    }
}
