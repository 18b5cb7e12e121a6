//! The scenarios of the contract that need time, load or a change of policy: S-01 to S-55, each for IPv4 and IPv6, in simulated
//! time.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test helpers"
)]

mod attackers;
mod changes;
mod connections;
#[path = "../../../tests/lab/craft.rs"]
#[expect(dead_code, unreachable_pub, reason = "the same frames are made for the lab, in a library")]
mod craft;
mod criteria;
mod family;
mod gate;
mod limits;
mod pieces;
mod policy;
mod reuse;
mod timers;

use std::collections::BTreeSet;

use family::Family;

/// Those that wait, and for what.
const WAITING: [(&str, &str); 10] = [
    ("S-06", "SYN cookies"),
    ("S-07", "SYN cookies"),
    ("S-38", "the gateway makes no ICMP message and no RST of its own"),
    (
        "S-39",
        "the gateway has no address to say from that a packet is too big, and both its links take the same",
    ),
    (
        "S-48",
        "removing and renaming of interfaces; links and lengths that change are tried on the wire",
    ),
    ("S-49", "the gateway has no address of its own that could be claimed"),
    ("S-51", "the gateway resolves no addresses"),
    ("S-53", "two gateways"),
    ("S-54", "two gateways"),
    ("S-55", "two gateways"),
];

/// Makes a test of each, and a list of them all.
macro_rules! scenarios {
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

scenarios! {
    half_open_limit_is_exact "S-01" limits;
    half_open_places_are_freed "S-02" limits;
    flows_of_a_source_are_limited "S-03" limits;
    new_flows_of_a_source_are_limited "S-04" limits;
    honest_clients_connect_during_a_flood "S-05" limits;
    floods_without_state_leave_nothing "S-08" attackers;
    full_table_evicts_nobody "S-09" limits;
    half_open_ones_give_way "S-10" limits;
    established_is_idle_for_two_hours "S-11" timers;
    opening_waits_for_four_minutes "S-12" timers;
    half_closed_carries_data_for_hours "S-13" timers;
    udp_waits_for_an_answer "S-14" timers;
    udp_is_kept_alive_by_either_side "S-15" timers;
    echo_waits_for_a_minute "S-16" timers;
    wall_clock_ends_no_flow "S-17" timers;
    keepalives_keep_alive "S-18" timers;
    sequence_numbers_wrap "S-19" connections;
    windows_shrink_and_close "S-20" connections;
    windows_are_as_wide_as_they_can_be "S-21" connections;
    options_go_through "S-22" connections;
    options_must_add_up "S-23" connections;
    handshakes_are_reordered_and_repeated "S-24" connections;
    both_ends_close_at_once "S-25" connections;
    lower_number_opens_anew "S-26" reuse;
    split_handshake_keeps_its_direction "S-27" reuse;
    same_ends_elsewhere_are_others "S-28" reuse;
    families_share_no_flow "S-29" reuse;
    answer_by_the_wrong_port_is_none "S-30" reuse;
    inexact_reset_of_a_half_closed_one_passes "S-31" connections;
    resets_right_behind_data_pass "S-32" connections;
    blind_resets_end_nothing "S-33" attackers;
    blind_data_passes_by_chance_only "S-34" attackers;
    chosen_tuples_collide_under_one_key_only "S-35" attackers;
    errors_are_about_what_they_quote "S-36" attackers;
    flood_of_errors_ends_nothing "S-37" attackers;
    flood_of_fragments_hurts_few "S-40" pieces;
    shuffled_fragments_all_arrive "S-41" pieces;
    one_policy_decides_over_a_datagram "S-42" pieces;
    rule_goes_while_its_connections_live "S-43" changes;
    rule_comes_that_denies_a_connection "S-44" changes;
    each_packet_is_judged_by_the_policy_in_force "S-45" changes;
    connection_is_of_one_generation "S-46" changes;
    counters_and_names_outlive_publications "S-47" changes;
    nothing_goes_to_loopback "S-50" attackers;
    frames_of_all_kinds_are_counted "S-52" attackers;
}

#[test]
fn every_one_of_the_55_is_tried_or_waits() {
    let all: BTreeSet<String> = (1..=55).map(|number| format!("S-{number:02}")).collect();
    let waiting = WAITING.iter().map(|(id, reason)| {
        assert!(!reason.is_empty());
        *id
    });
    let named: Vec<&str> = TRIED.into_iter().chain(waiting).collect();
    let distinct: BTreeSet<String> = named.iter().map(ToString::to_string).collect();
    assert_eq!(distinct, all);
    assert_eq!(named.len(), all.len(), "one is named twice");
    println!("{} of 55 tried for both families, {} waiting", TRIED.len(), WAITING.len());
}
