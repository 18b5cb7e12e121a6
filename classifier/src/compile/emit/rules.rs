//! Rows of rules as words.

use hashbrown::HashMap;

use super::strings::Strings;
use crate::compile::expand::Row;
use crate::compile::position;
use crate::compile::text::RuleText;
use crate::image::layout::NONE;
use crate::image::rule::{Extras, PortList, RULE_WORDS, RuleParts, RuleWords};
use crate::packet::{IpVersion, protocol};
use crate::resource::{Action, PortRange, Rule};

/// What rows of rules point to, each list stored once. Positions count from where the tables begin.
#[derive(Debug, Default)]
pub(crate) struct RuleWriter {
    first_extra: u32,
    pub(crate) extras: Vec<Extras>,
    extra_numbers: HashMap<Extras, u32>,
    pub(crate) ports: PortTable,
}

impl RuleWriter {
    /// For tables that begin behind so many extras and port ranges.
    pub(crate) fn behind(extras: usize, port_ranges: usize) -> Self {
        let ports = PortTable { first: position(port_ranges), ..PortTable::default() };
        Self { first_extra: position(extras), ports, ..Self::default() }
    }

    /// The first extras and port ranges are in the tables that these stand behind, which have so many now.
    pub(crate) fn go_on_behind(&mut self, behind: [usize; 2], [extras, port_ranges]: [usize; 2]) {
        [self.first_extra, self.ports.first] = behind.map(position);
        self.extras.drain(..extras.min(self.extras.len()));
        self.ports.ranges.drain(..port_ranges.min(self.ports.ranges.len()));
        self.extra_numbers.clear();
        self.ports.lists.clear();
    }

    /// A row of `Section::Rules` and of `Section::RuleTexts`. In a profile, Pass decides: nothing is behind it (Calico
    /// polprog `writeProfile`).
    pub(crate) fn row(
        &mut self,
        row: &Row<'_>,
        of_profile: bool,
        strings: &mut Strings,
    ) -> ([u32; RULE_WORDS], u32) {
        let mut parts = parts(row, &mut self.ports);
        if of_profile && parts.action == Action::Pass {
            parts.action = Action::Deny;
        }
        let extra = parts.extras().map_or(NONE, |extras| {
            let next = self.first_extra + position(self.extras.len());
            let number = *self.extra_numbers.entry(extras).or_insert(next);
            if number == next {
                self.extras.push(extras);
            }
            number
        });
        let RuleWords(words) = parts.encode(extra);
        (words, strings.intern(&RuleText(row.rule).to_string()))
    }
}

fn parts(row: &Row<'_>, ports: &mut PortTable) -> RuleParts {
    let icmp =
        |wanted: Option<crate::resource::IcmpMatch>| wanted.map(|icmp| (icmp.kind, icmp.code));
    let rule = row.rule;
    let [matches_v4, matches_v6] =
        [IpVersion::V4, IpVersion::V6].map(|version| !row.never && can_match(rule, version));
    RuleParts {
        number: row.number,
        action: rule.action,
        matches_v4,
        matches_v6,
        protocol: row.protocol,
        not_protocol: rule.not_protocol,
        nor_protocol: row.not_protocol,
        icmp: icmp(rule.icmp),
        not_icmp: icmp(rule.not_icmp),
        source: row.source,
        destination: row.destination,
        ports: row.ports.each_ref().map(|list| ports.intern(list)),
    }
}

/// Whether the rule can match packets of `version` at all: by `ipVersion`, by protocol, and by the family of every net.
/// A `notNets` entry that covers the whole family leaves nothing to match.
fn can_match(rule: &Rule, version: IpVersion) -> bool {
    let implied = match rule.protocol {
        Some(protocol::ICMP) => Some(IpVersion::V4),
        Some(protocol::ICMPV6) => Some(IpVersion::V6),
        Some(_) | None => None,
    };
    let peers = [&rule.source, &rule.destination];
    let of_version = |net: &ipnet::IpNet| IpVersion::of(net.addr()) == version;
    rule.ip_version.or(implied).is_none_or(|only| only == version)
        && peers.iter().all(|peer| peer.nets.iter().chain(&peer.not_nets).all(of_version))
        && !peers.iter().any(|peer| peer.not_nets.iter().any(|net| net.prefix_len() == 0))
}

/// Port ranges, equal lists stored once.
#[derive(Debug, Default)]
pub(crate) struct PortTable {
    first: u32,
    pub(crate) ranges: Vec<u32>,
    lists: HashMap<Vec<PortRange>, PortList>,
}

impl PortTable {
    fn intern(&mut self, list: &[PortRange]) -> PortList {
        if list.is_empty() {
            return PortList::default();
        }
        let merged = merged(list);
        let next = PortList {
            first: self.first + position(self.ranges.len()),
            // Disjoint ranges that do not touch: at most half as many as there are ports.
            count: u16::try_from(merged.len()).unwrap_or(u16::MAX),
        };
        if let Some(known) = self.lists.get(&merged) {
            return *known;
        }
        self.ranges.extend(
            merged.iter().map(|range| u32::from(range.first) << 16 | u32::from(range.last)),
        );
        self.lists.insert(merged, next);
        next
    }
}

/// The same ports as disjoint ranges that do not touch, ascending.
fn merged(list: &[PortRange]) -> Vec<PortRange> {
    let mut sorted = list.to_vec();
    sorted.sort_unstable();
    let mut merged: Vec<PortRange> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.first <= last.last.saturating_add(1) => {
                last.last = last.last.max(range.last);
            }
            _ => merged.push(range),
        }
    }
    merged
}
