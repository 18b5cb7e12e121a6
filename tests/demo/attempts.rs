//! Who tries what, and what should come of it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use classifier::packet::IpVersion::{self, V4, V6};
use ravelin::attempt::{Probe, Seen, attempt};
use ravelin::deadline::wait_until;
use ravelin::failure::{During, Failure};
use ravelin::gateway::Gateway;
use ravelin::process::{Leash, Process};
use ravelin::topology::{Host, Lab};
use serde_json::Value;

use crate::show::{self, Row, Summary};

/// How long an attempt waits where an answer is expected, and where silence is.
const PATIENCE: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_millis(800);
/// How long the flow log may take to tell of a packet.
const LOG_PATIENCE: Duration = Duration::from_secs(5);

const SSH: Probe = Probe::Tcp(22);
const HTTP: Probe = Probe::Tcp(80);
const DATABASE: Probe = Probe::Tcp(5432);
const DNS: Probe = Probe::Udp(53);
const PING: Probe = Probe::Ping;

/// Stands for "no rule allowed it".
pub(crate) const END_OF_TIER: &str = "end of tier default";

/// From, to, family, what, whether it should be answered, and by which rule.
type Line = (&'static str, &'static str, IpVersion, Probe, bool, &'static str);

const LINES: [Line; 24] = [
    ("noc", "server", V4, SSH, true, "ssh-only-from-noc#0"),
    ("noc", "server", V6, SSH, true, "ssh-only-from-noc#0"),
    ("office", "server", V4, SSH, false, "ssh-only-from-noc#2"),
    ("office", "server", V6, SSH, false, "ssh-only-from-noc#2"),
    ("stranger", "server", V6, SSH, false, "ssh-only-from-noc#2"),
    ("embargoed", "server", V4, SSH, false, "nothing-with-embargoed#1"),
    ("office", "server", V4, HTTP, true, "web-on-production#0"),
    ("office", "server", V6, HTTP, true, "web-on-production#0"),
    ("stranger", "server", V4, HTTP, true, "web-on-production#0"),
    ("stranger", "server", V6, HTTP, true, "web-on-production#0"),
    ("embargoed", "server", V4, HTTP, false, "nothing-with-embargoed#1"),
    ("embargoed", "server", V6, HTTP, false, "nothing-with-embargoed#1"),
    ("office", "server", V4, DNS, true, "services#0"),
    ("office", "server", V6, DNS, true, "services#0"),
    ("stranger", "server", V4, DNS, false, END_OF_TIER),
    ("embargoed", "server", V6, DNS, false, "nothing-with-embargoed#1"),
    ("noc", "server", V4, PING, true, "services#1"),
    ("noc", "server", V6, PING, true, "services#2"),
    ("stranger", "server", V4, PING, false, END_OF_TIER),
    ("embargoed", "server", V6, PING, false, "nothing-with-embargoed#1"),
    ("office", "server", V4, DATABASE, false, END_OF_TIER),
    ("server", "noc", V4, HTTP, true, "services#0"),
    ("server", "embargoed", V4, HTTP, false, "nothing-with-embargoed#1"),
    ("noc", "candidate", V4, SSH, true, "ssh-only-from-noc#0"),
];

/// Makes all attempts, one after the other, a row each.
pub(crate) fn make(lab: &Lab, gateway: &Gateway<'_>, summary: &mut Summary) -> Result<(), Failure> {
    show::head();
    for (from, to, version, probe, answered, rule) in LINES {
        let (from, to) = (host(lab, from)?, host(lab, to)?);
        one(gateway, from, to, version, probe, (answered, rule), summary)?;
    }
    Ok(())
}

/// Makes one attempt and shows its row.
pub(crate) fn one(
    gateway: &Gateway<'_>,
    from: &Host,
    to: &Host,
    version: IpVersion,
    probe: Probe,
    (answered, rule): (bool, &'static str),
    summary: &mut Summary,
) -> Result<(), Failure> {
    let records_before = gateway.flow_log()?.len();
    let address = to.address(version);
    let patience = if answered { PATIENCE } else { SILENCE };
    let seen = attempt(from, address, probe, patience)?;
    let source = from.address(version);
    let is_it = |record: &Value| is_about(record, source, address, probe);
    let record = gateway.wait_for_new_record(records_before, LOG_PATIENCE, is_it);
    let row = Row {
        from,
        to,
        version,
        probe,
        expected: if answered { Seen::Answered } else { Seen::Nothing },
        seen,
        expected_rule: rule,
        rule: record.as_ref().map_or_else(|| "not in the flow log".to_owned(), rule_of),
    };
    summary.count(&row);
    row.show(summary.rows());
    Ok(())
}

/// Starts the servers of both sides and waits until they answer on their own machines. Their output goes to `logs`.
pub(crate) fn start_servers(lab: &Lab, logs: &Path, keep: bool) -> Result<Vec<Process>, Failure> {
    let program = std::env::current_exe().during("find this program")?;
    let leash = if keep { Leash::Loose } else { Leash::Tight };
    let mut servers = Vec::new();
    for host in lab.hosts() {
        let name = format!("servers-{}", host.name);
        let space = &host.namespace;
        servers.push(Process::start(space, &name, &program, &["--serve"], logs, leash)?);
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let up = || attempt(host, here, SSH, SILENCE).ok().filter(|seen| *seen == Seen::Answered);
        let doing = format!("start servers on {}", host.name);
        wait_until(PATIENCE, up).ok_or_else(|| Failure::new(doing, "they do not answer"))?;
    }
    Ok(servers)
}

fn host<'lab>(lab: &'lab Lab, name: &str) -> Result<&'lab Host, Failure> {
    lab.host(name).ok_or_else(|| Failure::new("find a host", name))
}

/// Whether a record of the flow log tells of this attempt.
fn is_about(record: &Value, from: IpAddr, to: IpAddr, probe: Probe) -> bool {
    let text =
        |key: &str| record.get(key).and_then(Value::as_str).and_then(|text| text.parse().ok());
    let number = |key: &str| record.get(key).and_then(Value::as_u64);
    text("src") == Some(from)
        && text("dst") == Some(to)
        && number("protocolNumber") == Some(u64::from(probe.protocol(to)))
        && probe.port().is_none_or(|port| number("dstPort") == Some(u64::from(port)))
}

/// The rule that decided, as `policy#number`; numbers from 0, as the flow log counts.
fn rule_of(record: &Value) -> String {
    let text = |key: &str| record.get(key).and_then(Value::as_str).unwrap_or("?");
    match text("reason") {
        "rule" => {
            let rule = record.get("rule").and_then(Value::as_u64);
            format!("{}#{}", text("policy"), rule.map_or("?".to_owned(), |rule| rule.to_string()))
        }
        "end-of-tier" => format!("end of tier {}", text("tier")),
        other => other.to_owned(),
    }
}
