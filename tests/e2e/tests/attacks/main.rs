//! Attacks on proofs, each named after what the attacker does, with the finding that stops it.
//!
//! Each test has its honest twin: the same road without the attack is accepted. Where the attack is
//! on what a TPM says, a real software TPM says it; where TPM time must be virtual, or a statement is
//! one that no TPM makes, a key in memory does. `checks` holds the table to what is there, and
//! every check of the registry to an attack that fails it.
//!
//! | attack | tests | findings and refusals |
//! |---|---|---|
//! | 1 old quotes and evidence again | `evidence::evidence_answers_one_challenge_only`, `quotes::quote_and_time_of_another_session_are_refused`, `twins::old_evidence_is_refused_after_a_reboot_in_its_own_and_in_a_new_wrapper` | `session.fresh`, `quote.signature`, `session.time`, `challenge.unknown` |
//! | 2 PCRs relabelled, resettable, not selected | `quotes::relabelled_pcr_values_are_refused`, `quotes::resettable_pcrs_do_not_stand_in_for_others`, `quotes::only_the_very_selection_is_taken` | `quote.pcr-digest`, `quote.pcr-list`, `quote.selection` |
//! | 3 an AK that signs anything, or was made elsewhere | `quotes::a_made_up_quote_by_an_unrestricted_key_of_the_same_tpm_is_refused`, `enrolment::a_software_ak_cannot_be_activated`, `enrolment::keys_that_are_no_ek_and_no_ak_are_refused_before_any_challenge`, `enrolment::an_ak_that_may_leave_its_tpm_is_refused`, `quotes::a_statement_that_no_tpm_makes_is_refused` | `quote.signature`, `enrolment.activation`, `enrolment.ak` |
//! | 4 EK of one TPM, AK of another; two ids on one EK | `enrolment::two_tpms_cannot_enrol_as_one`, `enrolment::an_ak_swapped_in_the_record_does_not_quote_for_the_node`, `twins::certificates_that_tell_of_both_eks_refuse_the_second_id`, `attestation/validator/tests/service/identity.rs::one_ek_dressed_up_as_another_is_the_same_ek` | `enrolment.activation`, `enrolment.quote`, `quote.signature`, `enrolment.ek-known`, `enrolment.ak-known` |
//! | 5 a virtual machine as bare metal | `certificates::a_software_tpm_under_a_pinned_authority_is_software_still`, `certificates::a_local_ca_that_borrows_a_makers_names_is_an_unknown_root`, `honest::a_software_tpm_is_told_by_its_certificate_and_misses_the_floor_of_other_policies`, `enrolment::a_virtual_tpm_is_not_enrolled_where_the_policy_asks_for_hardware`, `boot::a_firmware_of_a_virtual_machine_is_told_by_its_log` | `enrolment.identity`, `policy.floor`, `identity.vendor-root`, `boot.virtual-machine` |
//! | 6 a clean machine answers for another (cuckoo) | `twins::the_two_eks_of_one_tpm_are_two_ids_that_end_each_other`, `evidence::evidence_of_another_node_is_refused`, `evidence::evidence_signed_by_another_key_is_refused`, `attestation/validator/tests/service/twins.rs::a_gpu_in_two_live_sessions_is_flagged_on_both` | `session.twin`, `quote.signature`, `evidence.signature`, `session.gpu-twin` |
//! | 7 logs that lie | `boot::a_log_with_one_event_changed_moved_or_added_does_not_replay`, `boot::a_retyped_event_replays_and_says_nothing_new`, `boot::a_second_separator_or_an_event_behind_one_breaks_the_order`, `boot::an_index_or_a_length_out_of_range_is_no_log`, `boot::a_pcr_that_no_event_explains_is_refused_or_warned_about`, `golden::a_replayed_log_that_claims_locality_3_does_not_replay`, `boot::logs_that_the_quote_does_not_cover_are_refused` | `boot.replay`, `boot.replay-os`, `boot.log-rules`, `boot.log`, `boot.log-hash` |
//! | 8 two histories of one session | `twins::one_session_key_run_twice_is_an_offence`, `chain::a_fork_is_shown_by_a_receipt_for_the_other_branch`, `chain::a_session_opened_with_other_evidence_is_a_fork_too` | `ledger.equivocation`, `receipts.match` |
//! | 9 a TPM's state or a disk run twice | `twins::a_copied_vtpm_run_twice_is_told_by_its_ledger`, `time::sessions_that_ran_at_once_are_refused`, `attestation/validator/tests/service/twins.rs::a_copy_of_a_tpm_is_told_by_its_clock` | `session.previous`, `claim.order`, `claim.overlap`, `session.twin` |
//! | 10 yesterday's disk | `evidence::yesterdays_ledger_is_recognised_by_the_head_that_a_validator_holds`, `claims::yesterdays_ledger_inside_a_claim_is_refused`, `tests/e2e/tests/road/breaks.rs::yesterdays_ledger_is_refused` | `session.previous`, `ledger.rollback`, `receipts.match` |
//! | 11 clocks and chains made afterwards | `power::a_clock_that_the_owner_sets_forward_earns_nothing`, `time::two_clocks_that_run_too_fast_together_earn_nothing`, `time::tpm_time_that_disagrees_with_the_nodes_clock_earns_nothing`, `time::beats_made_at_once_share_the_little_time_there_was`, `time::receipts_that_come_after_the_window_earn_nothing`, `anchors::an_anchor_in_a_slot_that_the_beacon_did_not_pick_is_refused` | no seconds; `anchor.slot`, `anchor.order` |
//! | 12 TPM reset, suspend, power cut | `power::a_tpm_reset_under_a_running_system_ends_its_session`, `power::a_suspend_ends_the_session_and_the_next_one_is_welcome`, `power::an_unclean_power_loss_is_a_reboot`, `twins::a_power_cut_is_a_reboot_at_the_service_too`, `quotes::quote_and_time_of_two_power_cycles_are_refused` | `anchor.attested`, `session.reset-count`; none for the power cut |
//! | two EKs of one TPM | `twins::the_two_eks_of_one_tpm_are_two_ids_that_end_each_other`, `twins::certificates_that_tell_of_both_eks_refuse_the_second_id` | `session.twin`, `enrolment.ek-canonical`, `enrolment.ek-known` |
//! | a reset TPM and a golden log | `golden::a_tpm_reset_with_a_replayed_golden_log_is_p1_and_never_p2`, `golden::a_replayed_log_that_claims_locality_3_does_not_replay`, `golden::p2_asks_for_a_start_in_hardware_and_firmware_that_others_have`, `golden::firmware_that_only_its_owner_has_is_p1_however_it_starts` | `boot.crtm-unproven`, `boot.replay` |
//! | something in PCR 12 | `golden::anything_in_pcr_12_is_no_release_and_the_event_is_named`, `golden::an_override_that_the_log_conceals_is_no_release_either` | `boot.release`, `boot.replay-os` |
//! | a parallel world | `world::a_parallel_world_under_other_keys_is_refused_as_unknown_validator`, `world::a_parallel_world_that_borrows_our_validators_names_is_refused` | `enrolment.validator` |
//! | validators that collude, below t | `receipts::a_colluding_validator_below_t_makes_nothing_reachable`, `receipts::fewer_than_t_operators_make_nothing_reachable`, `receipts::two_validators_of_one_operator_count_once` | no seconds |
//! | records by too few, revoked, ended | `quorum::one_operator_is_not_two_however_often_it_signs`, `quorum::records_of_other_keys_or_by_strangers_do_not_count`, `quorum::a_record_that_ended_or_was_taken_back_does_not_count`, `quorum::a_revoked_node_is_refused_offline_until_its_validator_gives_it_a_record_again` | `enrolment.threshold`, `enrolment.revoked` |
//! | SHA-1 only | `signatures::a_tpm_with_sha_1_only_proves_nothing`, `signatures::a_log_with_sha_1_only_explains_no_sha_256_pcr`, `ima::a_bank_that_got_padded_sha_1_is_worth_no_more_than_that` | `quote.selection`, `boot.replay`, `ima.replay` |
//! | RSA-PSS where RSASSA is meant | `signatures::rsa_keys_and_their_paddings_do_not_stand_in_for_the_enrolled_ak`, `signatures::a_signature_of_the_other_padding_does_not_hold_under_an_rsa_key` | `enrolment.ak`, `enrolment.keys`, `quote.signature` |
//! | a quote for a time, a time for a quote | `quotes::a_time_is_no_quote_and_a_quote_is_no_time`, `anchors::a_quote_where_a_time_is_due_is_refused` | `quote.selection`, `session.time`, `anchor.attested` |
//! | ECDSA with r or s out of range | `signatures::ecdsa_numbers_out_of_range_are_refused` | `quote.signature` |
//! | an extra critical extension | `certificates::an_extra_critical_extension_is_refused` | `enrolment.certificate-extension`, `enrolment.certificate-chain` |
//! | a userspace log with an unknown PCR | `boot::a_userspace_log_with_an_unknown_pcr_is_refused` | `boot.userspace-log` |
//! | IMA: violations, a log ahead, a log that contradicts | `ima::a_file_that_changed_while_it_was_measured_is_a_violation`, `ima::a_log_ahead_of_its_quote_is_accepted_as_far_as_the_quote_goes`, `ima::a_log_that_contradicts_pcr_10_is_refused`, `ima::a_quote_of_pcr_10_for_another_challenge_or_selection_is_refused`, `ima::a_log_of_another_boot_is_told_by_its_aggregate` | `ima.violation`, `ima.replay`, `ima.quote`, `ima.boot-aggregate` |
//! | an agent upgraded inside a session | `evidence::an_upgraded_agent_needs_a_session_of_its_own`, `evidence::every_part_of_the_body_is_under_the_quote` | `session.id`, `quote.signature` |
//! | a GPU's report again, or for somebody else | `devices::a_real_gpus_recorded_report_is_refused_by_its_nonce`, `devices::a_report_for_another_session_key_or_boot_is_refused`, `devices::one_gpu_in_two_places_is_refused`, `devices::evidence_of_devices_that_the_session_does_not_have_is_refused` | `gpu.device.nonce`, `gpu.topology.duplicate`, `gpu.device.table` |
//! | a made-up maker of GPUs | `devices::a_maker_that_the_library_does_not_know_is_no_maker`, `devices::certificates_that_do_not_lead_to_the_maker_are_refused`, `devices::a_changed_report_or_one_of_another_key_is_refused`, `devices::a_report_of_other_firmware_than_the_certificates_is_refused`, `devices::a_certificate_that_was_taken_back_is_refused` | `gpu.device.chain`, `gpu.device.signature`, `gpu.device.fwid`, `gpu.device.revocation` |
//! | a GPU with other firmware, or a library that lies about it | `devices::measurements_that_nobody_published_are_a_warning_and_no_g3`, `devices::a_gpu_library_that_says_otherwise_is_told`, `devices::a_gpu_library_that_says_nothing_of_driver_or_vbios_is_no_g3`, `devices::gpus_and_switches_that_do_not_describe_one_machine_are_told` | `gpu.device.measurements`, `gpu.report.driver`, `gpu.report.vbios`, `gpu.report.board-part`, `gpu.report.inforom`, `gpu.report.pdi`, `gpu.report.architecture`, `gpu.report.not-compared`, `gpu.topology.sets`, `gpu.topology.unlisted` |
//! | dictionary attack lockout | `power::an_unclean_power_loss_is_a_reboot`, `agent/attester/tests/swtpm/main.rs::a_locked_tpm_still_serves_us`, `agent/attester/tests/swtpm/main.rs::power_cuts_do_not_lock_the_tpm` | none: the agent goes on, and says so |
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod anchors;
mod boot;
mod certificates;
mod chain;
mod checks;
mod claims;
mod devices;
mod enrolment;
mod evidence;
mod flips;
mod golden;
mod honest;
mod ima;
mod jobs;
mod judged;
mod power;
mod quorum;
mod quotes;
mod receipts;
mod signatures;
mod telemetry;
mod time;
mod twins;
mod world;
