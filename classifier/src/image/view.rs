//! The tables of an image, and the two things asked of them: a decision, and names.

mod batch;
mod classes;
mod decide;
mod pieces;

use std::fmt;
use std::net::IpAddr;

use zerocopy::{FromBytes, Immutable, KnownLayout};

pub(crate) use self::classes::ClassTier;
pub(crate) use self::decide::Plane;
pub(crate) use self::pieces::{PatchView, Pieces};
use super::Base;
use super::index::{ClassCard, Index, RowIndex, TableIndex};
use super::layout::{CLASS_WORDS, FLAG_STAGED, INTERFACE_WORDS, NONE, Section, position};
use super::patch::Patch;
use super::rows::Rows;
use super::rule::{RULE_WORDS, RuleTables, RuleWords, direction_word};
use super::set_lists::{SetTables, Sets};
use super::trace::Silent;
use crate::decision::{Decision, Direction, Half, Reason, RuleRef, Verdict};
use crate::packet::{Crossing, PacketKey};
use crate::resource::{Action, ObjectKind};

/// A validated image, opened for reading.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    flags: u32,
    v4: Pieces<'a, u32>,
    v6: Pieces<'a, [u64; 2]>,
    classes: Rows<'a, [u32; CLASS_WORDS]>,
    class_cards: Rows<'a, ClassCard>,
    program_starts: Rows<'a, u32>,
    program_words: Rows<'a, u32>,
    sets: SetTables<'a>,
    programs: Rows<'a, [u32; 2]>,
    segments: Rows<'a, [u32; 4]>,
    steps: Rows<'a, u32>,
    blocks: &'a [[u32; 4]],
    rules: Rows<'a, [u32; RULE_WORDS]>,
    rule_texts: Rows<'a, u32>,
    rule_tables: RuleTables<'a>,
    index: &'a Index,
    patch: Option<PatchView<'a>>,
    tiers: &'a [u32],
    policies: &'a [[u32; 6]],
    interfaces: &'a [[u32; INTERFACE_WORDS]],
    objects: Rows<'a, [u32; 5]>,
    labels: Rows<'a, [u32; 2]>,
    string_ends: Rows<'a, u32>,
    text: [&'a [u8]; 2],
}

/// A rule, with names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RuleInfo<'a> {
    /// Its tier.
    pub tier: &'a str,
    /// The resource kind of its policy: `GlobalNetworkPolicy`, `StagedNetworkPolicy`, `Profile`.
    pub kind: &'a str,
    /// The namespace of its policy, if that has one.
    pub namespace: Option<&'a str>,
    /// Its policy.
    pub policy: &'a str,
    /// Which of the policy's rule lists.
    pub direction: Direction,
    /// Position in that list, from 0.
    pub rule: u32,
    /// What it does.
    pub action: Action,
    /// What it says, for people.
    pub text: &'a str,
}

/// Names a resource; shown as people do: `namespace/name`, or the name alone where there are no namespaces.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ResourceName<'a> {
    /// The resource kind.
    pub kind: &'a str,
    /// The namespace, if its kind has one.
    pub namespace: Option<&'a str>,
    /// The name.
    pub name: &'a str,
}

impl fmt::Display for ResourceName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(self.name),
        }
    }
}

impl<'a> RuleInfo<'a> {
    /// Its policy, with all of its name.
    #[must_use]
    pub fn policy_name(&self) -> ResourceName<'a> {
        ResourceName { kind: self.kind, namespace: self.namespace, name: self.policy }
    }
}

/// An object, with names.
#[derive(Clone, Copy, Debug)]
pub struct ObjectInfo<'a> {
    /// The resource kind.
    pub kind: ObjectKind,
    /// The resource's namespace, if it has one.
    pub namespace: Option<&'a str>,
    /// The resource name.
    pub name: &'a str,
    labels: &'a [[u32; 2]],
    view: View<'a>,
}

impl<'a> ObjectInfo<'a> {
    /// All of its name.
    #[must_use]
    pub fn full_name(&self) -> ResourceName<'a> {
        ResourceName { kind: self.kind.name(), namespace: self.namespace, name: self.name }
    }

    /// Its labels in name order.
    pub fn labels(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let view = self.view;
        self.labels.iter().map(move |[name, value]| (view.string(*name), view.string(*value)))
    }
}

impl<'a> View<'a> {
    pub(super) fn new(base: &'a Base, patch: Option<&'a Patch>) -> Self {
        let tables = Parts { base, patch };
        let index = &base.index.tables;
        let added = patch.map(|patch| &patch.index.tables);
        let (added_classes, added_programs) = match added {
            Some(TableIndex { classes, programs, .. }) => (&classes[..], Some(programs)),
            None => (&[][..], None),
        };
        let (added_starts, added_words) = match added_programs {
            Some(programs) => (&programs.starts[..], &programs.words[..]),
            None => (&[][..], &[][..]),
        };
        Self {
            index: &base.index,
            flags: base.layout.head.flags,
            v4: Pieces {
                starts: base.table(Section::V4Starts),
                classes: base.table(Section::V4Classes),
                names: base.table(Section::V4Names),
            },
            v6: Pieces {
                starts: base.table(Section::V6Starts),
                classes: base.table(Section::V6Classes),
                names: base.table(Section::V6Names),
            },
            classes: tables.rows(Section::Classes),
            class_cards: Rows::new(&index.classes, added_classes),
            program_starts: Rows::new(&index.programs.starts, added_starts),
            program_words: Rows::new(&index.programs.words, added_words),
            sets: SetTables {
                lists: tables.rows(Section::SetLists),
                listed: tables.rows(Section::ListedSets),
            },
            programs: tables.rows(Section::Programs),
            segments: tables.rows(Section::Segments),
            steps: tables.rows(Section::Steps),
            blocks: base.table(Section::Blocks),
            rules: tables.rows(Section::Rules),
            rule_texts: tables.rows(Section::RuleTexts),
            rule_tables: RuleTables {
                port_ranges: tables.rows(Section::PortRanges),
                extras: tables.rows(Section::Extras),
            },
            patch: patch.map(Patch::view),
            tiers: base.table(Section::Tiers),
            policies: base.table(Section::Policies),
            interfaces: base.table(Section::Interfaces),
            objects: tables.rows(Section::Objects),
            labels: tables.rows(Section::Labels),
            string_ends: tables.rows(Section::StringEnds),
            text: [base.part(Section::Text), patch.map_or(&[], |patch| patch.part(Section::Text))],
        }
    }

    /// Decides one packet. Cannot fail: what is in doubt is denied.
    pub fn classify(&self, packet: &PacketKey, crossing: Crossing) -> Decision {
        self.decide(packet, crossing, Plane::Enforced, &mut Silent)
    }

    /// What would become of the packet if every staged policy had been applied.
    pub fn classify_pending(&self, packet: &PacketKey, crossing: Crossing) -> Decision {
        self.decide(packet, crossing, Plane::Pending, &mut Silent)
    }

    /// Whether any policy is staged: else `classify_pending` says what `classify` says.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        self.flags & FLAG_STAGED != 0
    }

    fn default_half(&self, reason: Reason, allowing_flag: u32) -> Half {
        let verdict = if self.flags & allowing_flag == 0 { Verdict::Deny } else { Verdict::Allow };
        Half { verdict, reason, logged: None }
    }

    fn sets_of(&self, class: u32) -> Sets<'_> {
        Sets::of(self.class_card(class), &self.sets)
    }

    #[inline]
    fn class_card(&self, class: u32) -> &'a ClassCard {
        self.class_cards.get(class).unwrap_or(&ClassCard::NOBODY)
    }

    /// The object that names an address: the one with the longest covering prefix.
    #[must_use]
    pub fn object_of(&self, address: IpAddr) -> Option<ObjectInfo<'a>> {
        self.object(self.class_and_name(address).1)
    }

    /// The rule behind a reference; `None` when this image has no such rule.
    #[must_use]
    pub fn rule(&self, rule: RuleRef) -> Option<RuleInfo<'a>> {
        let [name, tier, ingress, egress, kind, namespace] =
            self.policies.get(rule.policy as usize).copied()?;
        let block = if rule.direction == Direction::Ingress { ingress } else { egress };
        let [_, direction, first, end] = *self.block(block)?.row;
        let rules = self.rules.range([first, end]);
        // Rows of one rule stand together, and a rule has at least one.
        let row = rules.partition_point(|words| RuleWords(*words).number() < rule.rule);
        let words = RuleWords(*rules.get(row)?);
        let is_it = words.number() == rule.rule && direction == direction_word(rule.direction);
        let text = *self.rule_texts.range([first, end]).get(row)?;
        is_it.then_some(RuleInfo {
            tier: self.tier_name(tier)?,
            kind: self.string(kind),
            namespace: self.optional_string(namespace),
            policy: self.string(name),
            direction: rule.direction,
            rule: rule.rule,
            action: words.action(),
            text: self.string(text),
        })
    }

    /// The name of a tier, by its number in a decision.
    #[must_use]
    pub fn tier_name(&self, tier: u32) -> Option<&'a str> {
        self.tiers.get(tier as usize).map(|name| self.string(*name))
    }

    /// The name of a policy, by its number in a decision.
    #[must_use]
    pub fn policy_name(&self, policy: u32) -> Option<ResourceName<'a>> {
        let [name, _, _, _, kind, namespace] = self.policies.get(policy as usize)?;
        let namespace = self.optional_string(*namespace);
        Some(ResourceName { kind: self.string(*kind), namespace, name: self.string(*name) })
    }

    /// How much the image holds.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        Sizes {
            pieces_v4: self.v4.starts.len(),
            pieces_v6: self.v6.starts.len(),
            classes: self.classes.len(),
            policies: self.policies.len(),
            rules: self.rules.len(),
            objects: self.objects.len(),
        }
    }

    /// Rows of rules.
    pub(super) fn rows(&self, range: [u32; 2]) -> &'a [[u32; RULE_WORDS]] {
        self.rules.range(range)
    }

    /// For rows of rules: Str text.
    pub(super) fn texts(&self, range: [u32; 2]) -> &'a [u32] {
        self.rule_texts.range(range)
    }

    fn optional_string(&self, index: u32) -> Option<&'a str> {
        (index != NONE).then(|| self.string(index))
    }

    fn string(&self, index: u32) -> &'a str {
        let end = |at: u32| self.string_ends.get(at).copied().unwrap_or_default() as usize;
        let [base, added] = self.text;
        // The text of a patch begins anew.
        let first = self.string_ends.is_first_added(index);
        let start = if first { 0 } else { index.checked_sub(1).map_or(0, end) };
        let text = if self.string_ends.is_added(index) { added } else { base };
        let part = text.get(start..end(index)).unwrap_or_default();
        std::str::from_utf8(part).unwrap_or_default()
    }

    /// A block of rules by its number, with its index of rows.
    #[inline]
    pub(crate) fn block(&self, number: u32) -> Option<Block<'a>> {
        if let Some(patch) = &self.patch
            && patch.index.may_replace(number)
            && let Ok(at) = patch.block_numbers.binary_search(&number)
        {
            let row = patch.blocks.get(at)?;
            return Some(Block { row, index: &patch.index.tables.rows, number: position(at) });
        }
        let row = self.blocks.get(number as usize)?;
        Some(Block { row, index: &self.index.tables.rows, number })
    }
}

/// One policy in one direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block<'a> {
    /// A row of `Section::Blocks`.
    pub(crate) row: &'a [u32; 4],
    /// Where its rows are indexed, and under which number.
    pub(crate) index: &'a RowIndex,
    pub(crate) number: u32,
}

/// The tables of an image and its patch.
#[derive(Clone, Copy)]
struct Parts<'a> {
    base: &'a Base,
    patch: Option<&'a Patch>,
}

impl<'a> Parts<'a> {
    fn rows<T: FromBytes + Immutable + KnownLayout>(self, section: Section) -> Rows<'a, T> {
        let added = self.patch.map_or(&[][..], |patch| patch.table(section));
        Rows::new(self.base.table(section), added)
    }
}

/// How much an image holds, for `status` and limits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sizes {
    /// Disjoint pieces of the IPv4 space.
    pub pieces_v4: usize,
    /// Disjoint pieces of the IPv6 space.
    pub pieces_v6: usize,
    /// Identity classes.
    pub classes: usize,
    /// Policies.
    pub policies: usize,
    /// Rules of all policies.
    pub rules: usize,
    /// Objects with labels.
    pub objects: usize,
}

/// An IPv6 address as the table holds it.
pub(crate) fn halves(address: u128) -> [u64; 2] {
    let bytes = address.to_be_bytes();
    let (high, low) = bytes.split_at(8);
    let half = |part: &[u8]| part.try_into().map_or(0, u64::from_be_bytes);
    [half(high), half(low)]
}

/// The number behind an IPv6 address of the table.
pub(crate) fn halves_joined([high, low]: [u64; 2]) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}
