//! A trace as people and programs read it.

use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};

use classifier::decision::{Checkpoint, Direction, Half, Reason, RuleRef, Verdict};
use classifier::image::{
    End, Mismatch, ObjectInfo, ResourceName, Trace, TraceHalf, TraceRule, TraceTier, View,
};
use classifier::packet::{Crossing, PacketKey, Transport};
use classifier::resource::Action;
use classifier::space::Outcome;
use serde_json::{Value, json};

use super::Origin;
use super::packet::Question;
use crate::commands::exact;
use crate::commands::ports::Ends;
use crate::flowlog::{Named, Position, protocol_name, reason_name};

/// A trace with everything that is said around it.
pub(super) struct Answer<'a> {
    pub(super) question: Question,
    pub(super) crossing: Crossing,
    pub(super) trace: Trace<'a>,
    /// What would be if everything staged were applied; `None` when nothing is staged.
    pub(super) pending: Option<Trace<'a>>,
    pub(super) view: View<'a>,
    pub(super) generation: u64,
    pub(super) origin: Origin,
}

impl Answer<'_> {
    /// For programs. Names keep their meaning; a rule's `index` counts from 0.
    pub(super) fn json(&self) -> Value {
        let Question { packet, ends } = &self.question;
        let named = |object: Option<ObjectInfo<'_>>| object.map(|object| json!(Named::of(object)));
        let deciding = self.trace.decision.deciding();
        let reason = deciding.map(|(direction, half)| (direction, half.reason));
        json!({
            "policy": origin_json(&self.origin, self.generation),
            "packet": {
                "src": packet.src,
                "dst": packet.dst,
                "protocol": protocol_name(packet.protocol),
                "protocolNumber": packet.protocol,
                "transport": transport_json(packet.transport),
                "from": ends.from.to_string(),
                "to": ends.to.to_string(),
            },
            "source": named(self.trace.source),
            "destination": named(self.trace.destination),
            "directions": self.trace.halves.iter().map(|half| self.half_json(half)).collect::<Value>(),
            "verdict": word(self.trace.decision.verdict()),
            "reason": reason_name(reason),
            "decided": Position::of_reason(reason, Some(&self.view)),
            "because": self.because(),
            "pending": self.pending.as_ref().map(|pending| self.pending_json(pending)),
        })
    }

    fn pending_json(&self, pending: &Trace<'_>) -> Value {
        let mut answer = exact::outcome_json(&self.view, pending.decision.into());
        if let Value::Object(answer) = &mut answer {
            let directions = pending.halves.iter().map(|half| self.half_json(half)).collect();
            answer.insert("directions".to_owned(), directions);
            answer.insert("differs".to_owned(), self.differs(pending).into());
        }
        answer
    }

    /// Whether another verdict, or another reason for the same one, is staged.
    fn differs(&self, pending: &Trace<'_>) -> bool {
        Outcome::from(pending.decision) != Outcome::from(self.trace.decision)
    }

    /// For people.
    pub(super) fn human(&self) -> String {
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = self.write_human(&mut text);
        text
    }

    fn write_human(&self, out: &mut String) -> fmt::Result {
        let Question { packet, ends } = &self.question;
        writeln!(out, "packet       {}, {} to {}", packet_words(packet), ends.from, ends.to)?;
        writeln!(out, "policy       {}", origin_words(&self.origin, self.generation))?;
        writeln!(out, "source       {}", object(packet.src, self.trace.source.as_ref()))?;
        writeln!(out, "destination  {}", object(packet.dst, self.trace.destination.as_ref()))?;
        for half in &self.trace.halves {
            self.write_half(out, half)?;
        }
        writeln!(out, "\n{}: {}", word(self.trace.decision.verdict()), self.because())?;
        if let Some(pending) = self.pending.as_ref().filter(|pending| self.differs(pending)) {
            let outcome = Outcome::from(pending.decision);
            let because = exact::because(&self.view, outcome);
            writeln!(out, "\nif what is staged were applied")?;
            for half in &pending.halves {
                self.write_half(out, half)?;
            }
            writeln!(out, "\n{}: {because}", word(outcome.verdict))?;
        }
        Ok(())
    }

    fn write_half(&self, out: &mut String, half: &TraceHalf<'_>) -> fmt::Result {
        let Ends { from, to } = self.question.ends;
        let endpoint = |place| match self.view.endpoint_name(place) {
            Some(name) => format!(", host endpoint `{name}`"),
            None => String::new(),
        };
        match half.at {
            Checkpoint::Entry => {
                writeln!(out, "\nentry by {from}{}", endpoint(self.crossing.from))?;
            }
            Checkpoint::Egress => writeln!(out, "\negress of {}", self.question.packet.src)?,
            Checkpoint::Ingress => writeln!(out, "\ningress of {}", self.question.packet.dst)?,
            Checkpoint::Exit => writeln!(out, "\nexit by {to}{}", endpoint(self.crossing.to))?,
        }
        for tier in &half.tiers {
            write_tier(out, half.at.direction(), tier)?;
        }
        writeln!(out, "  {}: {}", word(half.half.verdict), self.reason(&half.half))
    }

    fn half_json(&self, half: &TraceHalf<'_>) -> Value {
        let TraceHalf { at, half: outcome, tiers } = half;
        json!({
            "direction": at.to_string(),
            "tiers": tiers.iter().map(tier_json).collect::<Value>(),
            "verdict": word(outcome.verdict),
            "reason": reason_name(Some((*at, outcome.reason))),
            "because": self.reason(outcome),
            "loggedBy": outcome.logged.map(|rule| self.rule(rule)),
        })
    }

    fn because(&self) -> String {
        match self.trace.decision.deciding() {
            Some((at, half)) => match half.reason {
                Reason::Rule(rule) => self.rule(rule),
                Reason::EndOfTier(_)
                | Reason::NoTierDecided
                | Reason::Unselected
                | Reason::Uncovered
                | Reason::NoForwardPolicy
                | Reason::NoProfile => format!("{at}, {}", self.reason(&half)),
            },
            None => "no policy direction applies to a packet that stays outside".to_owned(),
        }
    }

    fn reason(&self, half: &Half) -> String {
        let default = match half.verdict {
            Verdict::Allow => "the settings allow",
            Verdict::Deny => "denied unless the settings say otherwise",
        };
        match half.reason {
            Reason::Rule(rule) => self.rule(rule),
            Reason::EndOfTier(tier) => {
                let name = self.view.tier_name(tier).unwrap_or("?");
                format!(
                    "no rule of tier `{name}` decided, and its policies deny what they do not allow"
                )
            }
            Reason::NoTierDecided => {
                "every tier passed the packet on, and behind the last one there is nothing"
                    .to_owned()
            }
            Reason::Unselected => format!(
                "no policy selects what this address belongs to in this direction: {default}"
            ),
            Reason::Uncovered => format!("no object covers this address: {default}"),
            Reason::NoForwardPolicy => {
                "no `applyOnForward` policy of this interface decided: allowed".to_owned()
            }
            Reason::NoProfile => "no policy and no profile of this interface decided".to_owned(),
        }
    }

    fn rule(&self, rule: RuleRef) -> String {
        match self.view.rule(rule) {
            Some(info) => format!(
                "{}[{}] of policy `{}` in tier `{}`: {}",
                info.direction,
                info.rule,
                info.policy_name(),
                info.tier,
                info.text
            ),
            None => format!("{}[{}] of policy number {}", rule.direction, rule.rule, rule.policy),
        }
    }
}

/// Which policy was asked, for people.
pub(super) fn origin_words(origin: &Origin, generation: u64) -> String {
    match origin {
        Origin::InForce { .. } => format!("generation {generation}, in force"),
        Origin::Documents { path } => format!("`{}`, compiled for this", path.display()),
    }
}

/// Which policy was asked, for programs.
pub(super) fn origin_json(origin: &Origin, generation: u64) -> Value {
    match origin {
        Origin::InForce { socket } => json!({ "generation": generation, "socket": socket }),
        Origin::Documents { path } => json!({ "path": path }),
    }
}

/// What stands behind the IP header, for programs.
pub(super) fn transport_json(transport: Transport) -> Value {
    match transport {
        Transport::Opaque => json!({}),
        Transport::Ports { src, dst } => json!({ "srcPort": src, "dstPort": dst }),
        Transport::Icmp { kind, code } => json!({ "icmpType": kind, "icmpCode": code }),
    }
}

/// The packet in a few words.
pub(super) fn packet_words(packet: &PacketKey) -> String {
    let PacketKey { src, dst, protocol, transport } = *packet;
    let name = protocol_name(protocol);
    match transport {
        Transport::Ports { src: sport, dst: dport } => {
            format!("{name} {} to {}", SocketAddr::new(src, sport), SocketAddr::new(dst, dport))
        }
        Transport::Icmp { kind, code } => {
            format!("{name} type {kind} code {code} {src} to {dst}")
        }
        Transport::Opaque => format!("protocol {protocol} {src} to {dst}"),
    }
}

fn write_tier(out: &mut String, direction: Direction, tier: &TraceTier<'_>) -> fmt::Result {
    writeln!(out, "  tier `{}`", tier.name)?;
    for policy in &tier.policies {
        writeln!(out, "    policy `{}`", policy.name)?;
        if policy.rules.is_empty() {
            writeln!(out, "      no rules for {direction}")?;
        }
        for rule in &policy.rules {
            writeln!(out, "      {direction}[{}] {}", rule.index, rule.text)?;
            writeln!(out, "        {}", fate(rule))?;
        }
    }
    let end = match tier.end {
        End::Decided | End::Passed => return Ok(()),
        End::DefaultDeny => "end of tier: deny",
        End::DefaultPass => "end of tier: on to the next tier",
    };
    writeln!(out, "    {end}")
}

fn fate(rule: &TraceRule<'_>) -> String {
    match (rule.mismatch, rule.action) {
        (Some(mismatch), _) => format!("does not match: {}", field(mismatch)),
        (None, Action::Allow) => "matches: allow".to_owned(),
        (None, Action::Deny) => "matches: deny".to_owned(),
        (None, Action::Log) => "matches: log, and on to the next rule".to_owned(),
        (None, Action::Pass) => "matches: on to the next tier".to_owned(),
    }
}

/// The field of a rule, as documents write it.
fn field(mismatch: Mismatch) -> &'static str {
    match mismatch {
        Mismatch::IpVersion => "IP version",
        Mismatch::Protocol => "protocol",
        Mismatch::NotProtocol => "notProtocol",
        Mismatch::Icmp => "icmp",
        Mismatch::NotIcmp => "notICMP",
        Mismatch::SourceSelector => "source selector",
        Mismatch::SourceNets => "source nets",
        Mismatch::SourcePorts => "source ports",
        Mismatch::DestinationSelector => "destination selector",
        Mismatch::DestinationNets => "destination nets",
        Mismatch::DestinationPorts => "destination ports",
    }
}

fn tier_json(tier: &TraceTier<'_>) -> Value {
    let end = match tier.end {
        End::Decided => "decided",
        End::Passed => "passed",
        End::DefaultDeny => "default-deny",
        End::DefaultPass => "default-pass",
    };
    let rule = |rule: &TraceRule<'_>| {
        json!({
            "index": rule.index,
            "action": format!("{:?}", rule.action),
            "text": rule.text,
            "matches": rule.mismatch.is_none(),
            "mismatch": rule.mismatch.map(field),
        })
    };
    let policies = tier.policies.iter().map(|policy| {
        let ResourceName { kind, namespace, name } = policy.name;
        let rules: Value = policy.rules.iter().map(rule).collect();
        match namespace {
            Some(namespace) => {
                json!({ "kind": kind, "namespace": namespace, "name": name, "rules": rules })
            }
            None => json!({ "kind": kind, "name": name, "rules": rules }),
        }
    });
    json!({ "name": tier.name, "policies": policies.collect::<Value>(), "end": end })
}

fn object(address: IpAddr, object: Option<&ObjectInfo<'_>>) -> String {
    let Some(object) = object else { return format!("{address}, no object covers it") };
    let labels: Vec<String> =
        object.labels().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{address}, {} `{}` {{{}}}", object.kind.name(), object.full_name(), labels.join(", "))
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
    }
}
