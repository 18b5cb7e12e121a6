//! One line of the flow log.

use std::collections::BTreeMap;
use std::net::IpAddr;

use classifier::decision::{Checkpoint, Reason, RuleRef, Verdict};
use classifier::image::{ObjectInfo, View};
use classifier::packet::{Transport, protocol};
use classifier::record::{FlowRecord, Pending, RecordKind};
use jiff::Timestamp;
use serde::Serialize;

/// One line. Fields that do not apply are left out; their names do not change.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line<'a> {
    /// When, RFC 3339 in UTC.
    pub time: String,
    /// `denied`, `logged`, `started`, `cut`, `killed`.
    pub kind: &'static str,
    /// `allow` or `deny`: what became of the packet.
    pub action: &'static str,
    /// The port it came in by.
    #[serde(rename = "in")]
    pub in_port: String,
    /// The port it left by, or would have.
    pub out: String,
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// The protocol's name, or its number where it has none here.
    pub protocol: String,
    /// IP protocol number.
    pub protocol_number: u8,
    /// Source port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src_port: Option<u16>,
    /// Destination port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dst_port: Option<u16>,
    /// ICMP type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp_type: Option<u8>,
    /// ICMP code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp_code: Option<u8>,
    /// VLAN identifiers, outer first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vlans: Vec<u16>,
    /// What names the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Named<'a>>,
    /// What names the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<Named<'a>>,
    /// The direction that settled it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    /// `rule`, `end-of-tier`, `no-tier-decided`, `unselected`, `uncovered`, `no-forward-policy`, `no-profile`, `no-direction`.
    pub reason: &'static str,
    /// Where the reason stands in the policy.
    #[serde(flatten)]
    pub decided: Position<'a>,
    /// The first `Log` rule that matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logged_by: Option<Position<'a>>,
    /// What would have been decided if everything staged had been applied; left out when nothing is staged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingAnswer<'a>>,
    /// The generation of the policy that decided.
    pub generation: u64,
    /// Whether that generation's names are known here; numbers stand in for them where not.
    pub names_known: bool,
    /// Frame length in bytes.
    pub length: u16,
}

/// The answer of the staged policies beside those in force.
#[derive(Debug, Serialize)]
pub struct PendingAnswer<'a> {
    /// `allow` or `deny`.
    pub verdict: &'static str,
    /// The direction that would have settled it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    /// As the line's own `reason`.
    pub reason: &'static str,
    /// Where the reason stands in the policy.
    #[serde(flatten)]
    pub decided: Position<'a>,
}

impl<'a> PendingAnswer<'a> {
    fn of(pending: &Pending, names: Option<&View<'a>>) -> Self {
        let Pending { verdict, decided } = *pending;
        Self {
            verdict: match verdict {
                Verdict::Allow => "allow",
                Verdict::Deny => "deny",
            },
            direction: decided.map(|(direction, _)| direction.to_string()),
            reason: reason_name(decided),
            decided: Position::of_reason(decided, names),
        }
    }
}

/// An object that covers an address: the one with the longest prefix.
#[derive(Debug, Serialize)]
pub struct Named<'a> {
    /// The resource kind.
    pub kind: &'static str,
    /// The resource's namespace; left out where its kind has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<&'a str>,
    /// The resource name.
    pub name: &'a str,
    /// Its labels.
    pub labels: BTreeMap<&'a str, &'a str>,
}

/// A tier or a rule, by name where the image is known, else by number.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Position<'a> {
    /// The tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<&'a str>,
    /// The kind of the policy; left out for a `GlobalNetworkPolicy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_kind: Option<&'a str>,
    /// The policy's namespace; left out where its kind has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_namespace: Option<&'a str>,
    /// The policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<&'a str>,
    /// Position in the policy's list of rules for the direction, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<u32>,
    /// What the rule says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_text: Option<&'a str>,
    /// The tier's number in the unknown image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier_number: Option<u32>,
    /// The policy's number in the unknown image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_number: Option<u32>,
}

impl<'a> Line<'a> {
    /// The line of a record; `names` is the image of its generation, if that is known.
    #[must_use]
    pub fn of(record: &FlowRecord, names: Option<&View<'a>>, ports: &[String]) -> Self {
        let FlowRecord { time_ns, generation, kind, in_port, out_port, .. } = *record;
        let packet = &record.packet;
        let (src_port, dst_port, icmp_type, icmp_code) = match packet.transport {
            Transport::Ports { src, dst } => (Some(src), Some(dst), None, None),
            Transport::Icmp { kind, code } => (None, None, Some(kind), Some(code)),
            Transport::Opaque => (None, None, None, None),
        };
        let named = |address| names.and_then(|view| view.object_of(address)).map(Named::of);
        Self {
            time: time(time_ns),
            kind: kind_name(kind),
            action: action(kind),
            in_port: port(ports, in_port),
            out: port(ports, out_port),
            src: packet.src,
            dst: packet.dst,
            protocol: protocol_name(packet.protocol),
            protocol_number: packet.protocol,
            src_port,
            dst_port,
            icmp_type,
            icmp_code,
            vlans: record.vlans.into_iter().flatten().collect(),
            source: named(packet.src),
            destination: named(packet.dst),
            direction: record.decided.map(|(direction, _)| direction.to_string()),
            reason: reason_name(record.decided),
            decided: Position::of_reason(record.decided, names),
            logged_by: record.logged.map(|rule| Position::of_rule(rule, names)),
            pending: record.pending.as_ref().map(|pending| PendingAnswer::of(pending, names)),
            generation,
            names_known: names.is_some(),
            length: record.length,
        }
    }
}

impl<'a> Named<'a> {
    /// An object as it is written.
    #[must_use]
    pub fn of(object: ObjectInfo<'a>) -> Self {
        Self {
            kind: object.kind.name(),
            namespace: object.namespace,
            name: object.name,
            labels: object.labels().collect(),
        }
    }
}

impl<'a> Position<'a> {
    /// What a reason points to; empty for a reason that points to nothing.
    #[must_use]
    pub fn of_reason(decided: Option<(Checkpoint, Reason)>, names: Option<&View<'a>>) -> Self {
        match decided.map(|(_, reason)| reason) {
            Some(Reason::Rule(rule)) => Self::of_rule(rule, names),
            Some(Reason::EndOfTier(tier)) => {
                let name = names.and_then(|view| view.tier_name(tier));
                let tier_number = name.is_none().then_some(tier);
                Self { tier: name, tier_number, ..Self::default() }
            }
            Some(
                Reason::NoTierDecided
                | Reason::Unselected
                | Reason::Uncovered
                | Reason::NoForwardPolicy
                | Reason::NoProfile,
            )
            | None => Self::default(),
        }
    }

    /// A rule as it is written.
    #[must_use]
    pub fn of_rule(rule: RuleRef, names: Option<&View<'a>>) -> Self {
        match names.and_then(|view| view.rule(rule)) {
            Some(info) => Self {
                tier: Some(info.tier),
                policy_kind: Some(info.kind).filter(|kind| *kind != "GlobalNetworkPolicy"),
                policy_namespace: info.namespace,
                policy: Some(info.policy),
                rule: Some(info.rule),
                rule_text: Some(info.text),
                ..Self::default()
            },
            None => {
                Self { rule: Some(rule.rule), policy_number: Some(rule.policy), ..Self::default() }
            }
        }
    }
}

/// A protocol's name as policy documents write it in small letters, or its number.
#[must_use]
pub fn protocol_name(number: u8) -> String {
    match number {
        protocol::ICMP => "icmp".to_owned(),
        protocol::TCP => "tcp".to_owned(),
        protocol::UDP => "udp".to_owned(),
        protocol::ICMPV6 => "icmpv6".to_owned(),
        protocol::SCTP => "sctp".to_owned(),
        protocol::UDPLITE => "udplite".to_owned(),
        other => other.to_string(),
    }
}

/// The word for a reason.
#[must_use]
pub fn reason_name(decided: Option<(Checkpoint, Reason)>) -> &'static str {
    match decided.map(|(_, reason)| reason) {
        None => "no-direction",
        Some(Reason::Rule(_)) => "rule",
        Some(Reason::EndOfTier(_)) => "end-of-tier",
        Some(Reason::NoTierDecided) => "no-tier-decided",
        Some(Reason::Unselected) => "unselected",
        Some(Reason::Uncovered) => "uncovered",
        Some(Reason::NoForwardPolicy) => "no-forward-policy",
        Some(Reason::NoProfile) => "no-profile",
    }
}

/// A time beyond what the calendar holds (the year 9999) is no time that a record has.
fn time(time_ns: u64) -> String {
    let time = Timestamp::from_nanosecond(i128::from(time_ns)).unwrap_or(Timestamp::MAX);
    format!("{time:.6}")
}

fn kind_name(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::Denied => "denied",
        RecordKind::Logged => "logged",
        RecordKind::Started => "started",
        RecordKind::Cut => "cut",
        RecordKind::Killed => "killed",
    }
}

fn action(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::Denied | RecordKind::Cut | RecordKind::Killed => "deny",
        RecordKind::Logged | RecordKind::Started => "allow",
    }
}

fn port(ports: &[String], index: u8) -> String {
    ports.get(usize::from(index)).cloned().unwrap_or_else(|| index.to_string())
}
