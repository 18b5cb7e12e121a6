//! One flow as people and programs read it.

use std::net::{IpAddr, SocketAddr};

use classifier::decision::{Checkpoint, Decision, Reason, Verdict};
use classifier::handover::flows::{Conversation, ListedFlow};
use classifier::image::View;
use classifier::packet::{Side, Transport};
use serde::Serialize;

use crate::commands::ports::{Ends, Ports, opposite};
use crate::commands::table::align;
use crate::flowlog::{Named, Position, protocol_name, reason_name};
use crate::settings::Settings;

/// A live flow with names. Fields that do not apply are left out; their names do not change.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row<'a> {
    /// Who opened it.
    src: IpAddr,
    dst: IpAddr,
    protocol: String,
    protocol_number: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    src_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dst_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_type: Option<u8>,
    /// The identifier of an ICMP query.
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_identifier: Option<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vlans: Vec<u16>,
    #[serde(rename = "in")]
    in_port: String,
    out: String,
    state: String,
    /// Since its last packet.
    idle_seconds: f64,
    /// Since its first packet.
    age_seconds: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Named<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<Named<'a>>,
    /// What the policy in force says of it: `deny` where it will be cut at its next packet.
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'static str>,
    reason: &'static str,
    #[serde(flatten)]
    decided: Position<'a>,
    /// Whether the policy in force was asked already; else it will be at the flow's next packet.
    judged: bool,
}

impl<'a> Row<'a> {
    /// `names` is the image in force.
    pub(super) fn of(flow: &ListedFlow, names: Option<&View<'a>>, settings: &Settings) -> Self {
        let ListedFlow { conversation, state, is_current, idle_ms, age_s } = flow;
        let Conversation { src, dst, protocol, numbers, vlans, in_port } = *conversation;
        let (ports, query) = match conversation.packet().transport {
            Transport::Ports { src, dst } => (Some([src, dst]), None),
            Transport::Icmp { kind, .. } => (None, Some((kind, numbers[0]))),
            Transport::Opaque => (None, None),
        };
        let named = |address| names.and_then(|view| view.object_of(address)).map(Named::of);
        let decision = names.map(|view| decision(conversation, view, settings));
        let decided = decision.as_ref().and_then(deciding);
        let port = |index: u8| {
            let port = settings.ports.get(usize::from(index));
            port.map_or_else(|| index.to_string(), |port| port.interface.clone())
        };
        Self {
            src,
            dst,
            protocol: protocol_name(protocol),
            protocol_number: protocol,
            src_port: ports.map(|[src, _]| src),
            dst_port: ports.map(|[_, dst]| dst),
            icmp_type: query.map(|(kind, _)| kind),
            icmp_identifier: query.map(|(_, identifier)| identifier),
            vlans: vlans.into_iter().flatten().collect(),
            in_port: port(in_port),
            out: port(1 - in_port.min(1)),
            state: state.to_string(),
            idle_seconds: f64::from(*idle_ms) / 1000.0,
            age_seconds: *age_s,
            source: named(src),
            destination: named(dst),
            verdict: decision.as_ref().map(|decision| match decision.verdict() {
                Verdict::Allow => "allow",
                Verdict::Deny => "deny",
            }),
            reason: reason_name(decided),
            decided: Position::of_reason(decided, names),
            judged: *is_current,
        }
    }

    fn cells(&self) -> Vec<String> {
        let end = |address: IpAddr, port: Option<u16>| match port {
            Some(port) => SocketAddr::new(address, port).to_string(),
            None => address.to_string(),
        };
        let name = |named: &Option<Named<'_>>| {
            named.as_ref().map_or_else(
                || "-".to_owned(),
                |named| match named.namespace {
                    Some(namespace) => format!("{namespace}/{}", named.name),
                    None => named.name.to_owned(),
                },
            )
        };
        vec![
            self.protocol.clone(),
            self.state.clone(),
            end(self.src, self.src_port),
            end(self.dst, self.dst_port),
            duration(self.idle_seconds),
            duration(f64::from(self.age_seconds)),
            name(&self.source),
            name(&self.destination),
            self.policy(),
        ]
    }

    /// The rule in few words.
    fn policy(&self) -> String {
        let Position { tier, policy, rule, .. } = &self.decided;
        let what = match (policy, rule, tier) {
            (Some(policy), Some(rule), _) => format!("{policy} rule {rule}"),
            (None, _, Some(tier)) => format!("end of tier {tier}"),
            _ => self.reason.to_owned(),
        };
        match self.verdict {
            Some("deny") => format!("DENIED NOW by {what}"),
            Some(_) if !self.judged => format!("{what} (not asked yet)"),
            Some(_) => what,
            None => "?".to_owned(),
        }
    }
}

/// What the policy in force says of the packet that opened the flow.
fn decision(conversation: &Conversation, view: &View<'_>, settings: &Settings) -> Decision {
    let port = settings.ports.get(usize::from(conversation.in_port));
    let from = port.map_or(Side::Outside, |port| port.side);
    let ends = Ends { from, to: opposite(from) };
    let crossing = Ports::of(view, Some(settings)).crossing(ends);
    view.classify(&conversation.packet(), crossing)
}

fn deciding(decision: &Decision) -> Option<(Checkpoint, Reason)> {
    decision.deciding().map(|(at, half)| (at, half.reason))
}

/// All rows as a table, and how many flows match beside them.
pub(super) fn human(rows: &[Row<'_>], matching: u64) -> String {
    let head =
        ["PROTOCOL", "STATE", "FROM", "TO", "IDLE", "AGE", "FROM NAME", "TO NAME", "ALLOWED BY"];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    table.extend(rows.iter().map(Row::cells));
    let mut text = String::new();
    if !rows.is_empty() {
        align(&table, &mut text);
        text.push('\n');
    }
    let shown = rows.len();
    let more = if shown as u64 == matching { String::new() } else { format!(", {shown} shown") };
    text + &format!("{matching} flows{more}\n")
}

/// "0.4s", "45s", "3m", "2h", "12d"
fn duration(seconds: f64) -> String {
    match seconds {
        ..10.0 => format!("{seconds:.1}s"),
        ..60.0 => format!("{seconds:.0}s"),
        ..3600.0 => format!("{:.0}m", seconds / 60.0),
        ..86_400.0 => format!("{:.0}h", seconds / 3600.0),
        _ => format!("{:.0}d", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use classifier::handover::flows::FlowState;

    use super::*;

    #[test]
    fn without_an_image_there_are_numbers_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ravelin.toml");
        let text = r#"
            gateway = { name = "gw1" }
            ports = [{ interface = "eth0", side = "outside" }, { interface = "eth1", side = "inside" }]
        "#;
        std::fs::write(&path, text).unwrap();
        let settings = Settings::load(&path).unwrap();
        let conversation = Conversation {
            src: "2001:2::1".parse().unwrap(),
            dst: "2001:2::2".parse().unwrap(),
            protocol: 6,
            numbers: [40_000, 22],
            vlans: [Some(7), None],
            in_port: 1,
        };
        let state = FlowState::HalfClosed;
        let flow =
            ListedFlow { conversation, state, is_current: true, idle_ms: 90_500, age_s: 90_000 };
        let row = Row::of(&flow, None, &settings);
        let expected = "\
PROTOCOL  STATE        FROM               TO              IDLE  AGE  FROM NAME  TO NAME  ALLOWED BY
tcp       half-closed  [2001:2::1]:40000  [2001:2::2]:22  2m    1d   -          -        ?

3 flows, 1 shown
";
        let json = serde_json::to_value(&row).unwrap();
        assert_eq!(human(&[row], 3), expected);
        assert_eq!((&json["in"], &json["out"]), (&"eth1".into(), &"eth0".into()));
        assert_eq!(json["dstPort"], 22);
        assert_eq!(json["vlans"][0], 7);
        assert_eq!(json.get("verdict"), None);
    }
}
