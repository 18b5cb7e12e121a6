//! The last step: programs, rules and names as the tables of an image.

use std::collections::HashMap;

use super::order::{Block, Order};
use super::pieces::{Piece, Space};
use super::position;
use super::sets::MatchSets;
use super::text::RuleText;
use crate::decision::Direction;
use crate::image::ImageBytes;
use crate::image::layout::{
    FLAG_ALLOW_UNCOVERED, FLAG_ALLOW_UNSELECTED, Head, NONE, Section, Tables,
};
use crate::image::rule::{PortList, RuleParts, RuleWords, direction_word};
use crate::packet::{IpVersion, protocol};
use crate::resource::{ObjectKind, Peer, PolicySet, PortRange, Rule};

pub(super) fn emit(
    set: &PolicySet,
    order: &Order<'_>,
    sets: &MatchSets<'_>,
    space: &Space,
    generation: u64,
) -> ImageBytes {
    let mut tables = Tables::default();
    let mut strings = Strings::default();
    pieces(&mut tables, space);
    classes(&mut tables, order, space, sets.definitions.len());
    let blocks = rules(&mut tables, &mut strings, order, sets);
    names(&mut tables, &mut strings, set, order, &blocks);
    tables.set(Section::StringEnds, &strings.ends);
    tables.set(Section::Text, strings.text.as_bytes());
    let flag = |set: bool, bit: u32| if set { bit } else { 0 };
    let flags = flag(set.defaults.allow_unselected, FLAG_ALLOW_UNSELECTED)
        | flag(set.defaults.allow_uncovered, FLAG_ALLOW_UNCOVERED);
    tables.assemble(Head { generation, flags, match_sets: position(sets.definitions.len()) })
}

fn pieces(tables: &mut Tables, space: &Space) {
    let words =
        |pieces: &[Piece], of: fn(&Piece) -> u32| pieces.iter().map(of).collect::<Vec<u32>>();
    tables.set(
        Section::V4Starts,
        &words(&space.v4, |piece| u32::try_from(piece.start).unwrap_or(u32::MAX)),
    );
    tables.set(Section::V4Classes, &words(&space.v4, |piece| piece.class));
    tables.set(Section::V4Names, &words(&space.v4, |piece| piece.name));
    let starts: Vec<[u64; 2]> =
        space.v6.iter().map(|piece| crate::image::halves(piece.start)).collect();
    tables.set(Section::V6Starts, &starts);
    tables.set(Section::V6Classes, &words(&space.v6, |piece| piece.class));
    tables.set(Section::V6Names, &words(&space.v6, |piece| piece.name));
}

fn classes(tables: &mut Tables, order: &Order<'_>, space: &Space, set_count: usize) {
    let mut programs = Programs::new();
    let mut rows = Vec::with_capacity(space.classes.len());
    let row_words = set_count.div_ceil(64);
    let mut sets = vec![0_u64; space.classes.len() * row_words];
    for (at, class) in space.classes.iter().enumerate() {
        let ingress = programs.intern(&class.ingress, order);
        rows.push([u32::from(class.covered), ingress, programs.intern(&class.egress, order)]);
        for set in &class.sets {
            if let Some(word) = sets.get_mut(at * row_words + *set as usize / 64) {
                *word |= 1 << (set % 64);
            }
        }
    }
    tables.set(Section::Classes, &rows);
    tables.set(Section::ClassSets, &sets);
    tables.set(Section::Programs, &programs.ranges);
    tables.set(Section::Segments, &programs.segments);
    tables.set(Section::Steps, &programs.steps);
}

/// Programs, each stored once: the blocks that apply to a class, cut into tiers.
struct Programs {
    numbers: HashMap<Vec<u32>, u32>,
    ranges: Vec<[u32; 2]>,
    segments: Vec<[u32; 3]>,
    steps: Vec<u32>,
}

impl Programs {
    /// Program 0 is the empty one: no policy selects the class in this direction.
    fn new() -> Self {
        Self {
            numbers: HashMap::from([(Vec::new(), 0)]),
            ranges: vec![[0, 0]],
            segments: Vec::new(),
            steps: Vec::new(),
        }
    }

    fn intern(&mut self, ranks: &[u32], order: &Order<'_>) -> u32 {
        if let Some(number) = self.numbers.get(ranks) {
            return *number;
        }
        let tier_of = |rank: &u32| order.blocks.get(*rank as usize).map(|block| block.tier);
        let first = position(self.segments.len());
        for segment in ranks.chunk_by(|a, b| tier_of(a) == tier_of(b)) {
            let begin = position(self.steps.len());
            self.steps.extend(segment);
            let tier = segment.first().and_then(tier_of).unwrap_or(NONE);
            self.segments.push([tier, begin, position(self.steps.len())]);
        }
        let number = position(self.ranges.len());
        self.ranges.push([first, position(self.segments.len())]);
        self.numbers.insert(ranks.to_vec(), number);
        number
    }
}

/// Writes rules and blocks; returns for each policy its ingress and its egress block.
fn rules(
    tables: &mut Tables,
    strings: &mut Strings,
    order: &Order<'_>,
    sets: &MatchSets<'_>,
) -> HashMap<(u32, Direction), u32> {
    let mut ports = PortTable::default();
    let mut words = Vec::with_capacity(order.rule_count());
    let mut blocks = Vec::with_capacity(order.blocks.len());
    let mut of_policy = HashMap::new();
    for (rank, block) in order.blocks.iter().enumerate() {
        let Block { policy, direction, rules, tier: _ } = block;
        let first = position(words.len());
        for rule in *rules {
            let text = strings.intern(&RuleText(rule).to_string());
            let RuleWords(rule) = parts(rule, sets, &mut ports, text).encode();
            words.push(rule);
        }
        blocks.push([*policy, direction_word(*direction), first, position(words.len())]);
        of_policy.insert((*policy, *direction), position(rank));
    }
    tables.set(Section::Rules, &words);
    tables.set(Section::Blocks, &blocks);
    tables.set(Section::PortRanges, &ports.ranges);
    of_policy
}

fn parts(rule: &Rule, sets: &MatchSets<'_>, ports: &mut PortTable, text: u32) -> RuleParts {
    let icmp =
        |wanted: Option<crate::resource::IcmpMatch>| wanted.map(|icmp| (icmp.kind, icmp.code));
    let [matches_v4, matches_v6] =
        [IpVersion::V4, IpVersion::V6].map(|version| can_match(rule, version));
    let Peer { ports: source, not_ports: not_source, .. } = &rule.source;
    let Peer { ports: destination, not_ports: not_destination, .. } = &rule.destination;
    RuleParts {
        action: rule.action,
        matches_v4,
        matches_v6,
        protocol: rule.protocol,
        not_protocol: rule.not_protocol,
        icmp: icmp(rule.icmp),
        not_icmp: icmp(rule.not_icmp),
        source: sets.peer(&rule.source),
        destination: sets.peer(&rule.destination),
        ports: [source, not_source, destination, not_destination].map(|list| ports.intern(list)),
        text,
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
#[derive(Default)]
struct PortTable {
    ranges: Vec<u32>,
    lists: HashMap<Vec<PortRange>, PortList>,
}

impl PortTable {
    fn intern(&mut self, list: &[PortRange]) -> PortList {
        if list.is_empty() {
            return PortList::default();
        }
        let merged = merged(list);
        let next = PortList {
            first: position(self.ranges.len()),
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

fn names(
    tables: &mut Tables,
    strings: &mut Strings,
    set: &PolicySet,
    order: &Order<'_>,
    blocks: &HashMap<(u32, Direction), u32>,
) {
    let tiers: Vec<[u32; 2]> = set
        .tier_names()
        .into_iter()
        .zip(&order.tier_denies)
        .map(|(name, denies)| [strings.intern(name), u32::from(*denies)])
        .collect();
    tables.set(Section::Tiers, &tiers);
    let block =
        |at: usize, direction| blocks.get(&(position(at), direction)).copied().unwrap_or(NONE);
    let policies: Vec<[u32; 4]> = set
        .policies
        .iter()
        .zip(&order.policy_tiers)
        .enumerate()
        .map(|(at, (policy, tier))| {
            let name = strings.intern(&policy.name);
            [name, *tier, block(at, Direction::Ingress), block(at, Direction::Egress)]
        })
        .collect();
    tables.set(Section::Policies, &policies);
    let mut labels = Vec::new();
    let mut objects = Vec::with_capacity(set.objects.len());
    for object in &set.objects {
        let first = position(labels.len());
        labels.extend(
            object.labels.iter().map(|(name, value)| [strings.intern(name), strings.intern(value)]),
        );
        let kind = ObjectKind::ALL.iter().position(|kind| *kind == object.kind);
        let kind = position(kind.unwrap_or_default());
        objects.push([kind, strings.intern(&object.name), first, position(labels.len())]);
    }
    tables.set(Section::Objects, &objects);
    tables.set(Section::Labels, &labels);
}

/// Strings, each stored once.
#[derive(Default)]
struct Strings {
    text: String,
    ends: Vec<u32>,
    numbers: HashMap<String, u32>,
}

impl Strings {
    fn intern(&mut self, string: &str) -> u32 {
        if let Some(number) = self.numbers.get(string) {
            return *number;
        }
        let number = position(self.ends.len());
        self.text.push_str(string);
        self.ends.push(position(self.text.len()));
        self.numbers.insert(string.to_owned(), number);
        number
    }
}
