//! `[flows]`: how long flows live, how many anyone may have, and what a change of the policy does to them.

use super::numbers::{self, Number, Numbers, fields_of};
use super::reader::thing;
use crate::document::{Fields, Reader, Thing};

/// How flows are treated.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FlowSettings {
    /// Whether flows that an earlier policy allowed go on whatever a later one says.
    pub keep_on_policy_change: bool,
    /// How long a flow may be silent, in seconds.
    pub timers: Numbers,
    /// How much of the flow table anyone may have; 0 is no limit.
    pub limits: Numbers,
}

pub(super) static FLOWS: Thing = thing("the flow section", &["onPolicyChange", "timers", "limits"]);
const JUDGE_OR_KEEP: &[(&str, bool)] = &[("judge", false), ("keep", true)];

const fn timer(field: &'static str, flag: &'static str, default: u32) -> Number {
    // The data plane's clock of flows wraps after 49 days.
    Number { field, flag, default, least: 1, most: 1_000_000 }
}

const TIMERS: [Number; 7] = [
    timer("tcpOpening", "tcp-opening", 240),
    timer("tcpEstablished", "tcp-established", 7440),
    timer("tcpClosing", "tcp-closing", 240),
    timer("tcpClosed", "tcp-closed", 240),
    timer("udp", "udp", 300),
    timer("icmpQuery", "icmp-query", 60),
    timer("other", "other", 300),
];
static TIMER_FIELDS: [&str; 7] = fields_of(&TIMERS);
static TIMER_SECTION: Thing = thing("the timer section", &TIMER_FIELDS);

const fn limit(field: &'static str, flag: &'static str, default: u32) -> Number {
    // More than any flow table holds.
    Number { field, flag, default, least: 0, most: 1_000_000_000 }
}

/// The limits of a table for `flows_max` flows: half-open connections take a quarter of it, and one source takes half.
fn limits(flows_max: u32) -> [Number; 5] {
    let [mut half_open, per_destination, per_source, mut flows, new] = LIMITS;
    half_open.default = flows_max / 4;
    flows.default = flows_max / 2;
    [half_open, per_destination, per_source, flows, new]
}

const LIMITS: [Number; 5] = [
    limit("halfOpen", "half-open", 0),
    limit("halfOpenPerDestination", "half-open-per-destination", 0),
    limit("halfOpenPerSource", "half-open-per-source", 0),
    limit("flowsPerSource", "flows-per-source", 0),
    limit("newFlowsPerSource", "new-flows-per-source", 0),
];
static LIMIT_FIELDS: [&str; 5] = fields_of(&LIMITS);
static LIMIT_SECTION: Thing = thing("the limit section", &LIMIT_FIELDS);

/// The section, which may be missing as a whole; `flows_max` is the size of the flow table.
pub(super) fn read(
    fields: Option<&Fields<'_>>,
    flows_max: u32,
    reader: &mut Reader,
) -> FlowSettings {
    let on_change = fields.and_then(|fields| fields.entry("onPolicyChange"));
    let keep_on_policy_change = on_change
        .and_then(|entry| reader.choice("onPolicyChange", &entry.node, JUDGE_OR_KEEP))
        .unwrap_or_default();
    FlowSettings {
        keep_on_policy_change,
        timers: numbers::read(fields, "timers", &TIMER_SECTION, &TIMERS, reader),
        limits: numbers::read(fields, "limits", &LIMIT_SECTION, &limits(flows_max), reader),
    }
}
