// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which tests show the abuse cases and the bug classes of interrupts and time, one row each. All of them exist by
//! name, which is what the test here is for; what no test can show says why.

mod by_name;

use by_name::{Named, assert_there};

/// Id, what it is about, its tests, and what of it no test shows.
type Row = (&'static str, &'static str, &'static [Named], &'static str);

// Files, from the root of the repository.
const CYCLES: &str = "tests/sim/tests/cycles.rs";
const MODELS: &str = "tests/sim/tests/runtime_models.rs";
const ROUTING: &str = "tests/sim/tests/routing.rs";
const CLASSES: &str = "tests/sim/tests/bug_classes.rs";
const INTERRUPTS: &str = "tests/sim/tests/interrupts.rs";
const PARAVIRTUAL: &str = "tests/sim/tests/paravirtual.rs";
const TIMERS: &str = "tests/sim/tests/timers.rs";
const EXIT: &str = "tests/sim/tests/managed_exit.rs";
const CHAINS: &str = "tests/sim/tests/chains.rs";
const IPI: &str = "tests/sim/tests/ipi.rs";
const ERRORS: &str = "tests/sim/tests/errors.rs";
const STORM: &str = "tests/fuzz/tests/storm.rs";
const SCHEDULES: &str = "tests/schedules/src/scenarios/interrupt.rs";
const GIC: &str = "src/arch/src/gicv3/tests.rs";
const ROUTES: &str = "src/arch/src/gicv3/routes.rs";
const ROUTE: &str = "src/core/src/interrupt/route.rs";
const OWNER: &str = "src/core/src/interrupt/owner.rs";
const VIRTUAL: &str = "src/core/src/virtual_interrupt.rs";
const TIMER: &str = "src/core/src/timer.rs";
const TOGETHER: &str = "src/manifest/tests/together.rs";
const REFUSED: &str = "src/manifest/tests/refused.rs";
// Two worlds, on QEMU.
const Q_ROUTING: &str = "tests/cases/src/interrupts/routing.rs";
const Q_DEVICE: &str = "tests/cases/src/interrupts/device.rs";
const Q_PARAVIRTUAL: &str = "tests/cases/src/interrupts/paravirtual.rs";
const Q_SWITCH: &str = "tests/cases/src/interrupts/switch.rs";
const Q_TIMERS: &str = "tests/cases/src/interrupts/timers.rs";
const Q_IDLE: &str = "tests/cases/src/interrupts/idle.rs";
const Q_ENDING: &str = "tests/cases/src/interrupts/ending.rs";
const Q_STORM: &str = "tests/cases/src/interrupts/storm.rs";
const Q_WAITING: &str = "tests/cases/src/interrupts/waiting.rs";
const Q_HOSTILE: &str = "tests/cases/src/hostile.rs";
const Q_CONTAINMENT: &str = "tests/cases/src/containment.rs";
const Q_MISBEHAVIOUR: &str = "tests/cases/src/misbehaviour.rs";

const R9: &str = "r9_every_call_in_every_model_does_what_the_table_says";
const I5: &str = "i5_an_interrupt_reaches_its_owner_once_in_each_state_as_the_table_says";
const MASKS: &str = "d46_the_mask_of_non_secure_interrupts_comes_and_goes_with_who_wants_it";
const NOT_PREEMPTED: &str = "d46_a_chain_that_bulkhead_schedules_is_not_preempted";
const BEFORE_ANSWER: &str = "d46_d47_what_is_entered_before_an_answer_goes_out_masks_others";
const STORM_HOLDS: &str = "ir1_ir2_ir5_ir6_hold_in_a_storm";
const STORM_QEMU: &str = "cv_storm_of_interrupts_loses_and_doubles_nothing";
const NO_DEVICE: &str = "QEMU: every secure interrupt there is EL3's, S-EL2's, or that of a device that the test partitions own; \
    the normal world cannot raise another one";

#[rustfmt::skip]
static CASES: &[Row] = &[
    ("G17", "an answer with an interrupt pending", &[
        (MODELS, &[R9]),
        (CLASSES, &[BEFORE_ANSWER]),
        (Q_ROUTING, &["g17_an_answer_with_an_interrupt_pending_arrives_once"]),
    ], ""),
    ("G18", "Bulkhead's chain asks one of a chain of the normal world", &[
        (CYCLES, &["g18_a_chain_that_bulkhead_began_does_not_get_a_partition_out_of_one_of_the_normal_world"]),
        (ERRORS, &["every_declared_error_is_reached"]),
        (Q_ROUTING, &["g18_a_request_of_a_partition_that_handles_an_interrupt_to_one_that_is_preempted_is_refused"]),
    ], ""),
    ("C9", "a managed exit at each depth of a chain", &[
        (EXIT, &["c9_a_chain_with_a_managed_exit_at_each_depth_goes_back_in_order",
            "c9_a_context_that_faults_while_it_leaves_takes_nothing_with_it"]),
        (Q_ROUTING, &["c9_a_chain_of_managed_exits_comes_back_in_order"]),
    ], ""),
    ("I1", "spurious", &[
        (CLASSES, &["d45_i1_a_spurious_interrupt_leaves_everything_as_it_was"]),
        (Q_DEVICE, &["i1_an_interrupt_that_is_gone_before_it_is_taken_disturbs_nobody"]),
    ], ""),
    ("I2", "nobody's", &[
        (INTERRUPTS, &["i2_an_unowned_interrupt_is_disabled_and_counted"]),
        (CHAINS, &["i2_an_interrupt_that_nobody_owns_is_disabled_and_the_partition_goes_on"]),
    ], NO_DEVICE),
    ("I3", "a storm of non-secure ones", &[
        (CHAINS, &["k5_a_partition_that_queues_interrupts_is_bounded_by_time"]),
        (Q_ROUTING, &["i3_a_partition_goes_on_under_a_storm_of_non_secure_interrupts"]),
    ], ""),
    ("I4", "one that never settles", &[
        (CLASSES, &["i4_who_ignores_its_interrupt_does_not_keep_whom_it_awaits_from_going_on"]),
        (INTERRUPTS, &["i4_an_interrupt_that_is_never_cleared_takes_its_share_and_no_more",
            "i4_a_partition_that_ignores_its_interrupt_is_left_to_the_scheduler"]),
        (Q_ROUTING, &["i4_an_interrupt_that_is_never_cleared_leaves_the_normal_world_its_time",
            "i4_the_tick_of_the_normal_world_survives_a_stuck_interrupt"]),
        (Q_ENDING, &["i4_a_partition_that_never_stops_handling_its_interrupt_loses_the_core"]),
    ], ""),
    ("I5", "the owner in each state", &[
        (ROUTING, &[I5]),
        (ROUTE, &["i5_every_cell_of_the_table_is_found_once"]),
        (STORM, &[STORM_HOLDS]),
        (SCHEDULES, &["i5_a_device_interrupts_a_partition_that_waits_or_runs"]),
        (Q_DEVICE, &["c10_an_interrupt_of_a_preempted_partition_waits_for_it"]),
        (Q_STORM, &[STORM_QEMU]),
    ], ""),
    ("I6", "a deactivation of what is not active", &[
        (PARAVIRTUAL, &["i6_only_what_was_fetched_is_deactivated_and_once"]),
        (VIRTUAL, &["i6_an_interrupt_is_deactivated_once_and_only_after_it_was_fetched"]),
        (Q_PARAVIRTUAL, &["i6_deactivating_what_is_not_active_is_refused"]),
    ], ""),
    ("I7", "another virtual than physical INTID", &[
        (PARAVIRTUAL, &["i7_the_physical_and_the_virtual_intid_have_to_be_the_same"]),
        (Q_PARAVIRTUAL, &["i7_deactivating_another_virtual_than_physical_interrupt_is_refused"]),
    ], ""),
    ("I8", "reconfiguration", &[
        (PARAVIRTUAL, &["i8_what_is_not_owned_or_cannot_be_is_not_reconfigured",
            "i8_an_interrupt_goes_only_where_its_partition_has_started"]),
        (ROUTES, &["i8_only_a_partitions_interrupt_can_be_wanted_elsewhere"]),
        (Q_PARAVIRTUAL, &["i8_reconfiguring_what_is_not_owned_or_illegal_is_refused",
            "i8_a_disabled_interrupt_stays_pending_and_comes_once_when_enabled"]),
    ], "a quota: a partition's interrupts are those of its manifest, and reconfiguring takes no memory"),
    ("I9", "nothing to fetch", &[
        (PARAVIRTUAL, &["d45_i9_where_nothing_is_pending_the_answer_is_32_bits_of_ones"]),
        (Q_PARAVIRTUAL, &["i9_fetching_where_nothing_is_pending_returns_the_spurious_constant"]),
    ], ""),
    ("I10", "one INTID in two manifests", &[
        (TOGETHER, &["i10_p11_interrupts_and_streams_belong_to_one_partition"]),
    ], ""),
    ("I11", "INTIDs at the edges", &[
        (GIC, &["i11_an_intid_that_the_machine_does_not_have_has_no_registers",
            "i11_private_interrupts_are_sgis_ppis_and_extended_ppis"]),
        (OWNER, &["i11_the_owner_is_found_by_the_whole_intid"]),
        (VIRTUAL, &["i11_an_intid_that_is_not_there_is_never_pending"]),
        (REFUSED, &["i11_the_interrupts_of_others_are_refused_with_whose_they_are", "p11_interrupts_of_devices"]),
    ], ""),
    ("I12", "FFA_INTERRUPT of a partition", &[
        (PARAVIRTUAL, &["i12_a_partition_cannot_say_that_there_was_an_interrupt"]),
    ], ""),
    ("I13", "Group 0 at S-EL2", &[
        (CLASSES, &["i13_a_group_0_interrupt_goes_to_el3_from_everywhere", "i13_group_0_interrupts_do_not_prolong_a_run"]),
        (CHAINS, &["k5_a_group_0_interrupt_goes_to_el3_and_the_partition_goes_on"]),
    ], "QEMU: its port of TF-A has no interrupt of Group 0 but an SGI of SDEI's, which is not built"),
    ("I14", "IPIs", &[
        (IPI, &["i14_a_context_that_is_not_there_or_off_gets_none", "i14_a_single_core_partition_has_nobody_to_send_one_to",
            "i14_a_context_may_send_one_to_itself", "i14_the_scheduler_is_told_of_a_context_that_waits",
            "i14_a_context_that_runs_elsewhere_is_kicked", "i14_a_context_that_waits_with_one_pending_is_told_of"]),
        (SCHEDULES, &["i14_contexts_interrupt_each_other"]),
        (Q_PARAVIRTUAL, &["i14_an_ipi_to_a_context_that_does_not_exist_is_refused", "i14_an_ipi_to_itself_is_taken",
            "i14_an_ipi_reaches_a_context_that_runs_on_another_core",
            "i14_an_ipi_to_a_waiting_context_raises_the_schedule_receiver_interrupt"]),
    ], ""),
    ("I15", "at every instruction of the world switch", &[
        (Q_SWITCH, &["i15_a_non_secure_interrupt_at_every_instruction_of_a_message_changes_nothing",
            "i15_a_secure_interrupt_at_every_instruction_of_a_message_changes_nothing",
            "i15_both_interrupts_at_every_instruction_of_a_message_change_nothing"]),
    ], "the simulator has no instructions of the switch"),
    ("I16", "a partition ends with one active", &[
        (PARAVIRTUAL, &["i16_what_a_partition_has_active_or_pending_ends_with_it_and_stays_disabled"]),
        (VIRTUAL, &["i16_the_end_of_a_partition_drops_and_tells_all"]),
        (SCHEDULES, &["i16_k8_a_partition_ends_while_it_is_interrupted"]),
        (Q_ENDING, &["i16_a_partition_that_ends_with_an_interrupt_active_leaves_it_disabled",
            "i16_a_partition_that_ends_takes_its_timers_with_it"]),
    ], ""),
    ("I17", "mask and running priority", &[
        (CLASSES, &[MASKS]),
        (Q_DEVICE, &["i17_an_interrupt_leaves_priorities_as_they_were"]),
    ], ""),
    ("I18", "timers", &[
        (TIMERS, &["i18_a_deadline_in_the_past_fires_at_once_and_once", "i18_a_deadline_that_does_not_come_arms_nothing",
            "i18_a_timer_that_is_off_or_masked_does_not_fire_until_it_is_on",
            "i18_a_timer_goes_with_its_partition_and_fires_once"]),
        (TIMER, &["i18_a_timer_fires_at_its_value_by_its_own_counter", "i18_a_deadline_is_told_once_and_by_the_core_that_keeps_it"]),
        (SCHEDULES, &["i18_a_timer_is_set_anew_while_it_fires_on_another_core"]),
        (Q_TIMERS, &["i18_a_timer_goes_with_its_partition_to_another_core", "i18_a_deadline_in_the_past_fires_at_once_and_once",
            "i18_a_deadline_that_never_comes_does_not_fire", "i18_a_timer_that_is_masked_or_off_does_not_fire",
            "i18_a_timer_that_is_set_anew_fires_at_its_last_deadline", "c20_the_virtual_counter_keeps_its_offset"]),
    ], ""),
    ("K5", "an endless loop with interrupts masked", &[
        (CHAINS, &["k5_a_partition_that_queues_interrupts_is_bounded_by_time"]),
        (INTERRUPTS, &["k5_interrupts_of_others_do_not_give_more_time_to_who_keeps_the_normal_world_waiting"]),
        (STORM, &["k5_who_goes_on_for_a_partition_that_ended_has_a_bound"]),
        (Q_MISBEHAVIOUR, &["k5_a_spinning_partition_is_interrupted_and_resumed",
            "k5_a_spinning_partition_is_interrupted_again_and_again"]),
        (Q_DEVICE, &["k5_an_interrupt_waits_for_a_partition_that_masks_it"]),
        ("tests/cases/src/cores.rs", &["k5_contexts_of_two_cores_are_preempted_at_once"]),
    ], ""),
    ("R9", "every call in every runtime model", &[
        (MODELS, &[R9, "r9_the_core_denies_by_its_table_what_this_one_denies"]),
    ], ""),
    ("R10", "a handler that does not deactivate", &[
        (INTERRUPTS, &["r10_who_is_never_done_with_an_interrupt_loses_the_core_or_is_ended"]),
        (INTERRUPTS, &["r10_who_does_not_deactivate_is_refused_once_each_time"]),
        (VIRTUAL, &["r10_what_is_not_deactivated_ends_at_the_second_try_to_wait"]),
        (MODELS, &[R9]),
        (Q_ROUTING, &["r10_waiting_without_deactivating_is_denied_once"]),
    ], ""),
    ("R13", "a timer that is over at the switch", &[
        (TIMERS, &["r13_a_timer_that_is_over_at_the_switch_fires_once"]),
        (Q_SWITCH, &["r13_a_timer_that_is_due_at_the_switch_to_its_partition_fires_once"]),
    ], ""),
    ("R14", "storms of WFI and WFE", &[
        (TIMERS, &["r14_a_storm_of_wfi_gives_the_core_back_each_time", "r14_wfi_with_something_pending_does_not_leave",
            "r14_wfi_whose_deadline_comes_meanwhile_ends_at_once", "r14_wfi_in_a_handler_has_no_effect"]),
        (Q_IDLE, &["r14_each_wait_for_an_interrupt_is_one_yield", "r14_a_wait_with_an_interrupt_pending_does_not_yield",
            "r14_waits_for_events_do_not_yield"]),
    ], "the simulator has no WFE, which does not trap"),
    ("D45", "a spurious INTID is taken for a real one", &[
        (CLASSES, &["d45_i1_a_spurious_interrupt_leaves_everything_as_it_was"]),
        (GIC, &["d45_only_the_four_special_intids_are_no_interrupts"]),
    ], ""),
    ("D45", "the constant for none is truncated", &[
        (PARAVIRTUAL, &["d45_i9_where_nothing_is_pending_the_answer_is_32_bits_of_ones"]),
        (GIC, &["d45_only_the_four_special_intids_are_no_interrupts"]),
    ], ""),
    ("D46", "the priority mask is lost", &[
        (CLASSES, &[MASKS]),
        (STORM, &[STORM_HOLDS]),
        (Q_DEVICE, &["i17_an_interrupt_leaves_priorities_as_they_were"]),
        (Q_HOSTILE, &["k6_a_partition_that_disturbs_its_interrupt_interface_keeps_no_interrupt_from_others"]),
    ], ""),
    ("D46", "a chain that Bulkhead schedules can be preempted", &[
        (CLASSES, &[NOT_PREEMPTED]),
        (ROUTE, &["c03_to_c05_non_secure_interrupts_preempt_only_what_the_normal_world_runs"]),
    ], ""),
    ("D46", "what is entered before an answer does not mask others", &[(CLASSES, &[BEFORE_ANSWER])], ""),
    ("D46", "the running priority is not dropped before the resume", &[
        (Q_DEVICE, &["i17_an_interrupt_leaves_priorities_as_they_were",
            "c08_a_partition_that_handles_one_answers_whoever_it_interrupted"]),
    ], "the simulator has no running priority: the acknowledge drops it in one function of bulkhead-arch"),
    ("D47", "an interrupt is lost when its partition answers", &[
        (MODELS, &[R9]),
        (CLASSES, &[BEFORE_ANSWER]),
        (Q_ROUTING, &["g17_an_answer_with_an_interrupt_pending_arrives_once"]),
    ], ""),
    ("D47", "one that awaits an answer is never resumed for it", &[
        (ROUTING, &[I5]),
        (MODELS, &[R9]),
        (CLASSES, &["d47_an_interrupt_that_waited_is_handled_before_a_requester_goes_on"]),
        (Q_DEVICE, &["c09_an_interrupt_of_one_that_awaits_an_answer_is_delivered_once"]),
    ], ""),
    ("D47", "one that waits on another core is forgotten", &[
        (CLASSES, &["d47_a_context_that_waits_on_another_core_is_entered_there"]),
        (SCHEDULES, &["w2_interrupts_come_to_a_core_that_goes_off"]),
        (Q_DEVICE, &["c10_an_interrupt_that_another_core_takes_is_delivered_once"]),
    ], ""),
    ("D48", "a transition while an interrupt is not deactivated", &[
        (MODELS, &[R9]),
        (INTERRUPTS, &["r10_who_does_not_deactivate_is_refused_once_each_time"]),
        (Q_ROUTING, &["r10_waiting_without_deactivating_is_denied_once"]),
    ], ""),
    ("D49", "the handler of an IPI takes a lock that its caller has", &[
        (IPI, &["i14_a_context_may_send_one_to_itself", "i14_a_context_that_runs_elsewhere_is_kicked"]),
        (SCHEDULES, &["i14_contexts_interrupt_each_other", "w2_interrupts_come_to_a_core_that_goes_off"]),
        (Q_PARAVIRTUAL, &["i14_an_ipi_to_itself_is_taken", "i14_an_ipi_reaches_a_context_that_runs_on_another_core"]),
    ], ""),
    ("D50", "an assertion is false in an order that is legal", &[
        (STORM, &[STORM_HOLDS, "k5_who_goes_on_for_a_partition_that_ended_has_a_bound"]),
        (VIRTUAL, &["c12_they_are_fetched_in_order_and_once_each"]),
        (Q_PARAVIRTUAL, &["c12_interrupts_are_fetched_in_the_order_in_which_they_came"]),
        (Q_STORM, &[STORM_QEMU]),
    ], ""),
    ("D50", "what was pending is another one, or gone, when it is looked at", &[
        (CLASSES, &["d50_a_non_secure_interrupt_that_is_gone_costs_a_way_to_the_normal_world",
            "d45_i1_a_spurious_interrupt_leaves_everything_as_it_was"]),
        (Q_DEVICE, &["i1_an_interrupt_that_is_gone_before_it_is_taken_disturbs_nobody"]),
    ], ""),
    ("D51", "a bitmap is rounded down", &[
        (OWNER, &["i11_the_owner_is_found_by_the_whole_intid"]),
        (GIC, &["i11_an_intid_that_the_machine_does_not_have_has_no_registers"]),
    ], "the core has no bitmap of INTIDs"),
    ("D51", "INTIDs of the machine are looked up in an array of the manifest's size", &[
        (OWNER, &["i11_the_owner_is_found_by_the_whole_intid"]),
        (INTERRUPTS, &["i2_an_unowned_interrupt_is_disabled_and_counted"]),
    ], ""),
    ("D51", "the search for a redistributor trusts its Last bit", &[
        (GIC, &["d51_the_search_for_a_redistributor_ends_with_the_region"]),
    ], ""),
    ("D52", "a partition reaches the interrupt controller", &[
        (TOGETHER, &["d13_nothing_reserved_goes_to_a_partition"]),
        (Q_CONTAINMENT, &["e13_what_a_partition_may_not_execute_is_its_own_exception"]),
        (Q_HOSTILE, &["k6_a_partition_that_disturbs_its_interrupt_interface_keeps_no_interrupt_from_others"]),
    ], "QEMU traps no more of ICC_* at S-EL1 than the registers of SGIs and groups: what it reaches is put back"),
    ("D52", "the schedule receiver interrupt has a secure priority", &[
        (GIC, &["decisions25_a_core_that_comes_on_gets_s_el2s_own_interrupts_and_no_others",
            "the_priorities_of_devices_are_below_those_of_s_el2"]),
        (Q_WAITING, &["c03_a_non_secure_interrupt_waits_for_a_partition_that_queues_it"]),
    ], ""),
];

#[test]
fn every_case_of_interrupts_has_tests_by_name() {
    for (id, what, files, without) in CASES {
        assert!(
            !files.is_empty() || !without.is_empty(),
            "{id}, {what}: nothing"
        );
        assert_there(id, files);
    }
    let ids: Vec<&str> = CASES.iter().map(|row| row.0).collect();
    let wanted = ["G17", "G18", "C9", "K5", "R9", "R10", "R13", "R14"].map(String::from);
    let cases = (1..=18).map(|number| format!("I{number}"));
    let classes = (45..=52).map(|number| format!("D{number}"));
    for id in wanted.into_iter().chain(cases).chain(classes) {
        assert!(ids.contains(&id.as_str()), "{id} has no row");
    }
}
