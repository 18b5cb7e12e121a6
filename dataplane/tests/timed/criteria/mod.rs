//! The packet rows of the Common Criteria module for firewalls (`MOD_CPP_FW` 2.0): CC-05 to CC-34, where both families are
//! asked for, for both.

mod audit;
mod forms;
mod rules;
mod sessions;
mod spoofed;

use std::collections::BTreeSet;

use crate::family::Family;

/// Those that wait, and for what.
const WAITING: [(&str, &str); 2] = [
    ("CC-24", "the gateway has no address of its own"),
    ("CC-32", "there are no helpers that open ports"),
];

/// Makes a test of each, and a list of them all.
macro_rules! rows {
    ($($test:ident $id:literal $module:ident;)*) => {
        const TRIED: [&str; [$($id),*].len()] = [$($id),*];

        $(
            #[test]
            fn $test() {
                Family::BOTH.into_iter().for_each($module::$test);
            }
        )*
    };
}

rows! {
    rules_match_each_attribute "CC-05" rules;
    what_no_rule_names_is_denied "CC-06" rules;
    wrong_flags_open_nothing "CC-07" sessions;
    altered_segments_are_not_the_session "CC-08" sessions;
    nothing_rides_a_closed_session "CC-09" sessions;
    sessions_end_in_time "CC-10" sessions;
    altered_datagrams_are_not_the_session "CC-11" sessions;
    altered_messages_are_not_the_session "CC-12" sessions;
    session_ends_with_its_last_packet "CC-13" sessions;
    invalid_fragments_are_dropped "CC-14" forms;
    incomplete_datagrams_are_dropped "CC-15" forms;
    broadcast_sources_are_dropped "CC-16" spoofed;
    multicast_sources_are_dropped "CC-17" spoofed;
    loopback_sources_are_dropped "CC-18" spoofed;
    unspecified_and_reserved_are_dropped "CC-19" spoofed;
    unicast_outside_the_global_range_is_dropped "CC-20" spoofed;
    source_routes_are_dropped "CC-21" forms;
    what_does_not_add_up_is_dropped "CC-22" forms;
    defects_are_dropped_within_a_session_too "CC-23" forms;
    link_local_addresses_are_dropped "CC-25" spoofed;
    sources_must_live_where_they_come_from "CC-26" spoofed;
    first_of_two_equal_rules_wins "CC-27" rules;
    first_rule_wins_however_narrow "CC-28" rules;
    no_match_is_denied_and_recorded "CC-29" rules;
    half_open_limits_are_exact "CC-30" sessions;
    no_frame_carries_what_another_left "CC-31" audit;
    records_say_what_was_sent "CC-33" audit;
    overload_is_counted_by_port "CC-34" audit;
}

#[test]
fn every_packet_row_is_tried_or_waits() {
    let all: BTreeSet<String> = (5..=34).map(|number| format!("CC-{number:02}")).collect();
    let named: Vec<&str> = TRIED.into_iter().chain(WAITING.iter().map(|(id, _)| *id)).collect();
    let distinct: BTreeSet<String> = named.iter().map(ToString::to_string).collect();
    assert_eq!(distinct, all);
    assert_eq!(named.len(), all.len(), "one is named twice");
    assert!(WAITING.iter().all(|(_, reason)| !reason.is_empty()));
}
