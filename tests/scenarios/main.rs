//! The scenarios of the contract: 184 rows, each a few frames and what shall become of them.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test helpers"
)]

mod contract;
mod fragments;
mod icmp4;
mod icmp6;
mod ipv4;
mod ipv6;
mod kernel;
mod memory;
mod overload;
mod policy;
mod scenario;
mod tcp;
mod waiting;
mod wire;

use std::collections::BTreeSet;

use contract::ROWS;
use kernel::Router;
use memory::Gate;
use ravelin::stations::Stations;
use scenario::{Scenario, Setting, Strict};
use waiting::{WAITING, waits};
use wire::Bench;

/// Rows whose bar is the strict profile's: the default one lets these packets pass, for reasons that RFCs give.
const STRICT_ONLY: [&str; 3] = ["C06", "V37", "V48"];

#[test]
fn every_row_of_the_contract_is_a_scenario_that_keeps_it() {
    let scenarios = scenarios();
    let tried: BTreeSet<&str> = scenarios.iter().map(|scenario| scenario.row.id).collect();
    let rows: BTreeSet<&str> = ROWS.iter().map(|row| row.id).collect();
    assert_eq!(tried, rows);
    assert_eq!(scenarios.len(), ROWS.len(), "a row is tried once");
    for (id, reason) in WAITING {
        assert!(rows.contains(id) && !reason.is_empty(), "{id} is no row");
    }
    for scenario in &scenarios {
        let id = scenario.row.id;
        assert!(scenario.keeps_the_contract(Strict::CommonCriteria), "{id} in the strict profile");
        let by_default = scenario.keeps_the_contract(Strict::Default);
        assert_eq!(by_default, !STRICT_ONLY.contains(&id), "{id} in the default profile");
    }
}

#[test]
fn rows_are_as_the_contract_says_in_memory() {
    let mut all = Vec::new();
    for strict in [Strict::Default, Strict::CommonCriteria] {
        let [mut plain, mut of_networks] =
            [Setting::Plain, Setting::Networks].map(|setting| Gate::new(setting, strict));
        let mut failures = Vec::new();
        let (mut run, mut waiting) = (0, 0);
        for scenario in scenarios() {
            if waits(scenario.row.id) {
                waiting += 1;
                continue;
            }
            run += 1;
            let gate = match scenario.settings {
                Setting::Plain => &mut plain,
                Setting::Networks => &mut of_networks,
            };
            if let Err(otherwise) = gate.try_it(&scenario, strict) {
                let row = scenario.row;
                failures.push(format!("{strict:?} {} {}: {otherwise}", row.id, row.title));
            }
        }
        println!(
            "in memory, {strict:?}: {run} run, {} as expected, {waiting} waiting",
            run - failures.len()
        );
        all.extend(failures);
        assert_eq!(run + waiting, ROWS.len());
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn rows_are_as_the_contract_says_on_the_wire() {
    let stations = Stations::new("gateway").unwrap();
    let mut failures = Vec::new();
    let mut run = 0;
    for (setting, strict) in [
        (Setting::Plain, Strict::Default),
        (Setting::Networks, Strict::Default),
        (Setting::Plain, Strict::CommonCriteria),
    ] {
        let of_this_bench = |scenario: &Scenario| {
            let id = scenario.row.id;
            let is_told_apart = strict == Strict::Default || STRICT_ONLY.contains(&id);
            !waits(id) && scenario.settings == setting && is_told_apart
        };
        let scenarios: Vec<Scenario> = scenarios().into_iter().filter(of_this_bench).collect();
        let mut bench = Bench::new(&stations, setting, strict);
        let failed = failures.len();
        for scenario in &scenarios {
            if let Err(otherwise) = bench.try_it(scenario, strict) {
                let row = scenario.row;
                failures.push(format!("{strict:?} {} {}: {otherwise}", row.id, row.title));
            }
        }
        run += scenarios.len();
        if failures.len() == failed {
            bench.finish();
        }
    }
    let waiting = WAITING.len();
    println!("on the wire: {run} run, {} as expected, {waiting} waiting", run - failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(run + waiting, ROWS.len() + STRICT_ONLY.len(), "no row vanishes");
}

/// Says what Linux does. Nothing is expected of it but that it runs.
#[test]
fn linux_runs_the_same_rows() {
    let stations = Stations::new("linux").unwrap();
    let router = Router::new(&stations).unwrap();
    let mut as_barred = 0;
    let mut otherwise = Vec::new();
    for scenario in scenarios() {
        let row = scenario.row;
        let seen = router.try_it(&scenario).unwrap();
        as_barred += usize::from(seen == row.bar);
        if seen != row.bar || seen != row.linux {
            otherwise
                .push(format!("{} {}: {seen:?}, noted before: {:?}", row.id, row.title, row.linux));
        }
    }
    println!("Linux: {as_barred} of {} as the contract says; the others:", ROWS.len());
    println!("{}", otherwise.join("\n"));
    assert!(as_barred > 0, "it forwards what it shall");
}

/// All scenarios, in the order of the contract.
fn scenarios() -> Vec<Scenario> {
    let groups = [
        tcp::scenarios(),
        icmp4::scenarios(),
        ipv4::scenarios(),
        fragments::scenarios(),
        ipv6::scenarios(),
        icmp6::scenarios(),
    ];
    let mut scenarios: Vec<Scenario> = groups.into_iter().flatten().collect();
    scenarios.sort_by_key(|scenario| ROWS.iter().position(|row| row.id == scenario.row.id));
    scenarios
}
