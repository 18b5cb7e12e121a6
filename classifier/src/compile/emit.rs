//! The last step: programs, rules and names as the tables of an image.

use std::collections::HashMap;

use super::content::Protection;
use super::expand::Row;
use super::interface::{self, Interface};
use super::order::{Block, Order};
use super::pieces::{Piece, Space};
use super::position;
use super::set_lists::SetList;
use super::sets::MatchSets;
use super::text::RuleText;
use crate::decision::Direction;
use crate::image::ImageBytes;
use crate::image::layout::{
    CLASS_WORDS, FLAG_ALLOW_UNCOVERED, FLAG_ALLOW_UNSELECTED, FLAG_STAGED, Head,
    INTERFACE_GOVERNED, INTERFACE_WORDS, NONE, Section, Tables,
};
use crate::image::rule::{Extras, PortList, RULE_WORDS, RuleParts, RuleWords, direction_word};
use crate::image::set_lists::{SetListRow, Sets, colours_of};
use crate::packet::{IpVersion, protocol};
use crate::resource::{Action, ObjectKind, PolicySet, PortRange, Rule};

/// What the rules became.
#[derive(Clone, Copy)]
pub(super) struct RuleSource<'a> {
    pub(super) order: &'a Order<'a>,
    /// For each block its rows.
    pub(super) rows: &'a [Vec<Row<'a>>],
    pub(super) sets: &'a MatchSets<'a>,
}

pub(super) fn emit(
    set: &PolicySet,
    source: RuleSource<'_>,
    interfaces: &[Interface<'_>],
    space: &Space,
    generation: u64,
) -> ImageBytes {
    let RuleSource { order, sets, .. } = source;
    let mut tables = Tables::default();
    let mut strings = Strings::default();
    let mut programs = Programs::new(order);
    pieces(&mut tables, space);
    classes(&mut tables, &mut programs, space);
    set_lists(&mut tables, space);
    self::interfaces(&mut tables, &mut strings, &mut programs, interfaces);
    programs.write(&mut tables);
    let blocks = rules(&mut tables, &mut strings, source);
    names(&mut tables, &mut strings, set, order, &blocks);
    tables.set(Section::StringEnds, &strings.ends);
    tables.set(Section::Text, strings.text.as_bytes());
    let flag = |set: bool, bit: u32| if set { bit } else { 0 };
    let flags = flag(set.defaults.allow_unselected, FLAG_ALLOW_UNSELECTED)
        | flag(set.defaults.allow_uncovered, FLAG_ALLOW_UNCOVERED)
        | flag(order.has_staged, FLAG_STAGED);
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

fn classes(tables: &mut Tables, programs: &mut Programs<'_>, space: &Space) {
    let has_staged = programs.order.has_staged;
    let mut rows: Vec<[u32; CLASS_WORDS]> = Vec::with_capacity(space.classes.len());
    for class in &space.classes {
        let mut of = |protection: &Protection| {
            let ingress = programs.intern(&protection.ingress, false);
            [ingress, programs.intern(&protection.egress, false)]
        };
        let enforced @ [ingress, egress] = of(&class.enforced);
        let [later_ingress, later_egress] = if has_staged { of(&class.pending) } else { enforced };
        let covered = u32::from(class.covered);
        rows.push([covered, ingress, egress, later_ingress, later_egress, class.sets]);
    }
    tables.set(Section::Classes, &rows);
}

fn set_lists(tables: &mut Tables, space: &Space) {
    let mut rows: Vec<SetListRow> = Vec::with_capacity(space.lists.lists.len());
    let mut sets: Vec<u32> = Vec::new();
    for SetList { parent, own } in &space.lists.lists {
        let first = position(sets.len());
        sets.extend(own);
        let of_parent = rows.get(*parent as usize).map_or(0, colours_of);
        let colours = own.iter().fold(of_parent, |all, set| all | Sets::colour(*set));
        let [low, high] = [colours, colours >> 32].map(|half| (half & 0xffff_ffff) as u32);
        rows.push([first, position(sets.len()), *parent, low, high]);
    }
    tables.set(Section::SetLists, &rows);
    tables.set(Section::ListedSets, &sets);
}

fn interfaces(
    tables: &mut Tables,
    strings: &mut Strings,
    programs: &mut Programs<'_>,
    interfaces: &[Interface<'_>],
) {
    let mut rows: Vec<[u32; INTERFACE_WORDS]> = Vec::with_capacity(interfaces.len());
    for Interface { name, endpoint } in interfaces {
        let mut row = [0; INTERFACE_WORDS];
        let mut words = row.iter_mut();
        let mut put = |word| words.next().map(|slot| *slot = word).unwrap_or_default();
        put(strings.intern(name));
        put(endpoint.as_ref().map_or(NONE, |endpoint| strings.intern(endpoint.name)));
        put(endpoint.as_ref().map_or(0, |_| INTERFACE_GOVERNED));
        for plane in endpoint.iter().flat_map(|endpoint| [&endpoint.enforced, &endpoint.pending]) {
            for (ranks, ends_pass) in plane.iter().zip(interface::ENDS_PASS) {
                put(programs.intern(ranks, ends_pass));
            }
        }
        rows.push(row);
    }
    tables.set(Section::Interfaces, &rows);
}

/// Programs, each stored once: the blocks that are asked at one place, cut into tiers.
struct Programs<'a> {
    order: &'a Order<'a>,
    numbers: HashMap<(Vec<u32>, bool), u32>,
    ranges: Vec<[u32; 2]>,
    segments: Vec<[u32; 4]>,
    steps: Vec<u32>,
}

impl<'a> Programs<'a> {
    /// Program 0 is the empty one: no policy is asked.
    fn new(order: &'a Order<'a>) -> Self {
        Self {
            order,
            numbers: HashMap::new(),
            ranges: vec![[0, 0]],
            segments: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// The number of the program of these blocks; with `ends_pass` no tier's end denies.
    fn intern(&mut self, ranks: &[u32], ends_pass: bool) -> u32 {
        if ranks.is_empty() {
            return 0;
        }
        let key = (ranks.to_vec(), ends_pass);
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        let order = self.order;
        let tier_of = |rank: &u32| order.blocks.get(*rank as usize).map(|block| block.tier);
        let first = position(self.segments.len());
        for segment in ranks.chunk_by(|a, b| tier_of(a) == tier_of(b)) {
            let begin = position(self.steps.len());
            self.steps.extend(segment);
            let tier = segment.first().and_then(tier_of).unwrap_or(NONE);
            let denies = order.tier_denies.get(tier as usize).is_none_or(|denies| *denies);
            let denies = u32::from(denies && !ends_pass);
            self.segments.push([tier, begin, position(self.steps.len()), denies]);
        }
        let number = position(self.ranges.len());
        self.ranges.push([first, position(self.segments.len())]);
        self.numbers.insert(key, number);
        number
    }

    fn write(&self, tables: &mut Tables) {
        tables.set(Section::Programs, &self.ranges);
        tables.set(Section::Segments, &self.segments);
        tables.set(Section::Steps, &self.steps);
    }
}

/// Writes rules and blocks; returns for each policy, and profile behind them, its first ingress and egress block.
fn rules(
    tables: &mut Tables,
    strings: &mut Strings,
    source: RuleSource<'_>,
) -> HashMap<(u32, Direction), u32> {
    let mut writer = RuleWriter::default();
    let mut blocks = Vec::with_capacity(source.order.blocks.len());
    let mut of_policy = HashMap::new();
    for ((rank, block), rows) in (0..).zip(&source.order.blocks).zip(source.rows) {
        let Block { policy, direction, hook, .. } = block;
        let first = position(writer.words.len());
        for row in rows {
            writer.add(row, hook.is_none(), strings);
        }
        blocks.push([*policy, direction_word(*direction), first, position(writer.words.len())]);
        of_policy.entry((*policy, *direction)).or_insert(rank);
    }
    tables.set(Section::Rules, &writer.words);
    tables.set(Section::RuleTexts, &writer.texts);
    tables.set(Section::Extras, &writer.extras);
    tables.set(Section::Blocks, &blocks);
    tables.set(Section::PortRanges, &writer.ports.ranges);
    of_policy
}

#[derive(Default)]
struct RuleWriter {
    words: Vec<[u32; RULE_WORDS]>,
    texts: Vec<u32>,
    extras: Vec<Extras>,
    extra_numbers: HashMap<Extras, u32>,
    ports: PortTable,
}

impl RuleWriter {
    /// In a profile, Pass decides: nothing is behind it (Calico polprog `writeProfile`).
    fn add(&mut self, row: &Row<'_>, of_profile: bool, strings: &mut Strings) {
        let mut parts = parts(row, &mut self.ports);
        if of_profile && parts.action == Action::Pass {
            parts.action = Action::Deny;
        }
        let extra = parts.extras().map_or(NONE, |extras| {
            let next = position(self.extras.len());
            let number = *self.extra_numbers.entry(extras).or_insert(next);
            if number == next {
                self.extras.push(extras);
            }
            number
        });
        let RuleWords(words) = parts.encode(extra);
        self.words.push(words);
        self.texts.push(strings.intern(&RuleText(row.rule).to_string()));
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
    let mut tiers: Vec<u32> =
        set.tier_names().into_iter().map(|name| strings.intern(name)).collect();
    let profile_tier = position(tiers.len());
    tiers.push(strings.intern(PROFILE_TIER));
    tables.set(Section::Tiers, &tiers);
    let block = |at, direction| blocks.get(&(at, direction)).copied().unwrap_or(NONE);
    let mut policies: Vec<[u32; 6]> = Vec::with_capacity(set.policies.len() + set.profiles.len());
    let mut add = |name: &str, tier, kind: &str, namespace: Option<&str>| {
        let at = position(policies.len());
        let [ingress, egress] = [Direction::Ingress, Direction::Egress].map(|d| block(at, d));
        let namespace = namespace.map_or(NONE, |namespace| strings.intern(namespace));
        let [name, kind] = [name, kind].map(|text| strings.intern(text));
        policies.push([name, tier, ingress, egress, kind, namespace]);
    };
    for (policy, tier) in set.policies.iter().zip(&order.policy_tiers) {
        let staged = if policy.staged.is_some() { "Staged" } else { "" };
        let kind = format!("{staged}{}", policy.kind.name());
        add(&policy.name, *tier, &kind, policy.namespace.as_deref());
    }
    for profile in &set.profiles {
        add(&profile.name, profile_tier, "Profile", None);
    }
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
        let namespace = object.namespace.as_deref().map_or(NONE, |text| strings.intern(text));
        let name = strings.intern(&object.name);
        objects.push([kind, name, first, position(labels.len()), namespace]);
    }
    tables.set(Section::Objects, &objects);
    tables.set(Section::Labels, &labels);
}

/// What Calico's traces call the place behind the last tier.
const PROFILE_TIER: &str = "__PROFILE__";

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
