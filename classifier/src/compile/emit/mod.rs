//! The last step: programs, rules and names as the tables of an image.

mod programs;
mod rules;
mod strings;

use hashbrown::HashMap;

pub(super) use self::programs::Programs;
pub(super) use self::rules::RuleWriter;
pub(super) use self::strings::Strings;
use super::classes::Classes;
use super::expand::Row;
use super::interface::{self, Interface};
use super::order::{Block, Order};
use super::pieces::Piece;
use super::position;
use crate::decision::Direction;
use crate::image::ImageBytes;
use crate::image::layout::{
    CLASS_WORDS, FLAG_ALLOW_UNCOVERED, FLAG_ALLOW_UNSELECTED, FLAG_STAGED, Head,
    INTERFACE_GOVERNED, INTERFACE_WORDS, NONE, Section, Tables,
};
use crate::image::rule::direction_word;
use crate::resource::{Object, ObjectKind, PolicySet};

/// What an image is made of.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) set: &'a PolicySet,
    pub(super) order: &'a Order<'a>,
    /// For each block its rows.
    pub(super) rows: &'a [Vec<Row<'a>>],
    pub(super) interfaces: &'a [Interface<'a>],
    /// The pieces of both families.
    pub(super) pieces: &'a [Vec<Piece>; 2],
    pub(super) classes: &'a Classes,
    /// How many match sets there are.
    pub(super) match_sets: usize,
}

/// The image, and the programs in it.
pub(super) fn emit(source: Source<'_>, generation: u64) -> (ImageBytes, Programs) {
    let Source { set, order, .. } = source;
    let mut tables = Tables::default();
    let mut strings = Strings::default();
    let mut programs = Programs::new(order);
    let [v4, v6] = source.pieces;
    pieces(&mut tables, v4, v6);
    let Classes { blocks, lists, .. } = source.classes;
    let known = source.classes.known().iter();
    let rows: Vec<[u32; CLASS_WORDS]> =
        known.map(|class| programs.class_row(class, blocks)).collect();
    tables.set(Section::Classes, &rows);
    let (lists, sets) = lists.tables_from(0);
    tables.set(Section::SetLists, lists);
    tables.set(Section::ListedSets, sets);
    interfaces(&mut tables, &mut strings, &mut programs, source.interfaces);
    programs.write(&mut tables);
    let blocks = rules(&mut tables, &mut strings, source);
    names(&mut tables, &mut strings, set, order, &blocks);
    tables.set(Section::StringEnds, &strings.ends);
    tables.set(Section::Text, strings.text.as_bytes());
    let flag = |set: bool, bit: u32| if set { bit } else { 0 };
    let flags = flag(set.defaults.allow_unselected, FLAG_ALLOW_UNSELECTED)
        | flag(set.defaults.allow_uncovered, FLAG_ALLOW_UNCOVERED)
        | flag(order.has_staged, FLAG_STAGED);
    let head = Head { generation, flags, match_sets: position(source.match_sets) };
    (tables.assemble(head), programs)
}

/// Writes the pieces of both families.
pub(super) fn pieces(tables: &mut Tables, v4: &[Piece], v6: &[Piece]) {
    let words =
        |pieces: &[Piece], of: fn(&Piece) -> u32| pieces.iter().map(of).collect::<Vec<u32>>();
    tables
        .set(Section::V4Starts, &words(v4, |piece| u32::try_from(piece.start).unwrap_or(u32::MAX)));
    tables.set(Section::V4Classes, &words(v4, |piece| piece.class));
    tables.set(Section::V4Names, &words(v4, |piece| piece.name));
    let starts: Vec<[u64; 2]> = v6.iter().map(|piece| crate::image::halves(piece.start)).collect();
    tables.set(Section::V6Starts, &starts);
    tables.set(Section::V6Classes, &words(v6, |piece| piece.class));
    tables.set(Section::V6Names, &words(v6, |piece| piece.name));
}

fn interfaces(
    tables: &mut Tables,
    strings: &mut Strings,
    programs: &mut Programs,
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

/// Writes rules and blocks; returns for each policy, and profile behind them, its first ingress and egress block.
fn rules(
    tables: &mut Tables,
    strings: &mut Strings,
    source: Source<'_>,
) -> HashMap<(u32, Direction), u32> {
    let mut writer = RuleWriter::default();
    let (mut words, mut texts) = (Vec::new(), Vec::new());
    let mut blocks = Vec::with_capacity(source.order.blocks.len());
    let mut of_policy = HashMap::new();
    for ((rank, block), rows) in (0..).zip(&source.order.blocks).zip(source.rows) {
        let Block { policy, direction, hook, .. } = block;
        let first = position(words.len());
        for row in rows {
            let (row, text) = writer.row(row, hook.is_none(), strings);
            words.push(row);
            texts.push(text);
        }
        blocks.push([*policy, direction_word(*direction), first, position(words.len())]);
        of_policy.entry((*policy, *direction)).or_insert(rank);
    }
    tables.set(Section::Rules, &words);
    tables.set(Section::RuleTexts, &texts);
    tables.set(Section::Extras, &writer.extras);
    tables.set(Section::Blocks, &blocks);
    tables.set(Section::PortRanges, &writer.ports.ranges);
    of_policy
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
    let mut objects = ObjectRows::default();
    for object in &set.objects {
        objects.add(object, strings);
    }
    tables.set(Section::Objects, &objects.rows);
    tables.set(Section::Labels, &objects.labels);
}

/// Rows of objects with their labels. Positions count from where the tables begin.
#[derive(Debug, Default)]
pub(super) struct ObjectRows {
    first_row: u32,
    first_label: u32,
    pub(super) rows: Vec<[u32; 5]>,
    pub(super) labels: Vec<[u32; 2]>,
}

impl ObjectRows {
    /// For tables that begin behind so many objects and labels.
    pub(super) fn behind(objects: usize, labels: usize) -> Self {
        Self { first_row: position(objects), first_label: position(labels), ..Self::default() }
    }

    /// The first rows and labels are in the table that this one stands behind, which has so many now.
    pub(super) fn go_on_behind(&mut self, behind: [usize; 2], [rows, labels]: [usize; 2]) {
        [self.first_row, self.first_label] = behind.map(position);
        self.rows.drain(..rows.min(self.rows.len()));
        self.labels.drain(..labels.min(self.labels.len()));
    }

    /// Adds an object; returns its number.
    pub(super) fn add(&mut self, object: &Object, strings: &mut Strings) -> u32 {
        let first = self.first_label + position(self.labels.len());
        let labels = object.labels.iter();
        self.labels
            .extend(labels.map(|pair| <[&String; 2]>::from(pair).map(|s| strings.intern(s))));
        let end = self.first_label + position(self.labels.len());
        let kind = ObjectKind::ALL.iter().position(|kind| *kind == object.kind);
        let kind = position(kind.unwrap_or_default());
        let namespace = object.namespace.as_deref().map_or(NONE, |text| strings.intern(text));
        let name = strings.intern(&object.name);
        let number = self.first_row + position(self.rows.len());
        self.rows.push([kind, name, first, end, namespace]);
        number
    }
}

/// What Calico's traces call the place behind the last tier.
const PROFILE_TIER: &str = "__PROFILE__";
