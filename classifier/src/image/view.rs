//! The tables of an image, and the two things asked of them: a decision, and names.

mod classes;
mod decide;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(crate) use self::classes::ClassTier;
pub(crate) use self::decide::Plane;
use super::index::Index;
use super::layout::{CLASS_WORDS, FLAG_STAGED, INTERFACE_WORDS, Layout, NONE, Section};
use super::rule::{RULE_WORDS, RuleTables, RuleWords, direction_word};
use super::set_lists::{SetListRow, Sets};
use super::trace::Silent;
use crate::decision::{Decision, Direction, Half, Reason, RuleRef, Verdict};
use crate::packet::{Crossing, PacketKey};
use crate::resource::{Action, ObjectKind};

/// A validated image, opened for reading.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    flags: u32,
    v4_starts: &'a [u32],
    v4_classes: &'a [u32],
    v4_names: &'a [u32],
    v6_starts: &'a [[u64; 2]],
    v6_classes: &'a [u32],
    v6_names: &'a [u32],
    classes: &'a [[u32; CLASS_WORDS]],
    set_lists: &'a [SetListRow],
    listed_sets: &'a [u32],
    programs: &'a [[u32; 2]],
    segments: &'a [[u32; 4]],
    steps: &'a [u32],
    blocks: &'a [[u32; 4]],
    rules: &'a [[u32; RULE_WORDS]],
    rule_texts: &'a [u32],
    rule_tables: RuleTables<'a>,
    index: &'a Index,
    tiers: &'a [u32],
    policies: &'a [[u32; 6]],
    interfaces: &'a [[u32; INTERFACE_WORDS]],
    objects: &'a [[u32; 5]],
    labels: &'a [[u32; 2]],
    string_ends: &'a [u32],
    text: &'a [u8],
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
    pub(super) fn new(bytes: &'a [u8], layout: &Layout, index: &'a Index) -> Self {
        Self {
            index,
            flags: layout.head.flags,
            v4_starts: layout.table(bytes, Section::V4Starts),
            v4_classes: layout.table(bytes, Section::V4Classes),
            v4_names: layout.table(bytes, Section::V4Names),
            v6_starts: layout.table(bytes, Section::V6Starts),
            v6_classes: layout.table(bytes, Section::V6Classes),
            v6_names: layout.table(bytes, Section::V6Names),
            classes: layout.table(bytes, Section::Classes),
            set_lists: layout.table(bytes, Section::SetLists),
            listed_sets: layout.table(bytes, Section::ListedSets),
            programs: layout.table(bytes, Section::Programs),
            segments: layout.table(bytes, Section::Segments),
            steps: layout.table(bytes, Section::Steps),
            blocks: layout.table(bytes, Section::Blocks),
            rules: layout.table(bytes, Section::Rules),
            rule_texts: layout.table(bytes, Section::RuleTexts),
            rule_tables: rule_tables(bytes, layout),
            tiers: layout.table(bytes, Section::Tiers),
            policies: layout.table(bytes, Section::Policies),
            interfaces: layout.table(bytes, Section::Interfaces),
            objects: layout.table(bytes, Section::Objects),
            labels: layout.table(bytes, Section::Labels),
            string_ends: layout.table(bytes, Section::StringEnds),
            text: layout.part(bytes, Section::Text),
        }
    }

    /// Works out the index that `new` takes.
    pub(super) fn index(bytes: &[u8], layout: &Layout) -> Index {
        Index::of(
            layout.table(bytes, Section::V4Starts),
            layout.table(bytes, Section::V6Starts),
            layout.table(bytes, Section::Blocks),
            layout.table(bytes, Section::Rules),
            rule_tables(bytes, layout),
        )
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

    /// The class of an address: one search in a table of disjoint pieces.
    pub(crate) fn class_of(&self, address: IpAddr) -> u32 {
        match address {
            IpAddr::V4(address) => {
                let piece = self.v4_piece(address);
                self.v4_classes.get(piece).copied().unwrap_or(NONE)
            }
            IpAddr::V6(address) => {
                let piece = self.v6_piece(address);
                self.v6_classes.get(piece).copied().unwrap_or(NONE)
            }
        }
    }

    fn v4_piece(&self, address: Ipv4Addr) -> usize {
        self.index.v4.piece(self.v4_starts, u32::from(address))
    }

    fn v6_piece(&self, address: Ipv6Addr) -> usize {
        self.index.v6.piece(self.v6_starts, halves(u128::from(address)))
    }

    fn sets_of(&self, class: u32) -> Sets<'a> {
        let list = self.classes.get(class as usize).map_or(NONE, |[.., list]| *list);
        Sets { lists: self.set_lists, listed: self.listed_sets, list }
    }

    /// The object that names an address: the one with the longest covering prefix.
    #[must_use]
    pub fn object_of(&self, address: IpAddr) -> Option<ObjectInfo<'a>> {
        let object = match address {
            IpAddr::V4(address) => self.v4_names.get(self.v4_piece(address)),
            IpAddr::V6(address) => self.v6_names.get(self.v6_piece(address)),
        };
        self.object(*object?)
    }

    /// The rule behind a reference; `None` when this image has no such rule.
    #[must_use]
    pub fn rule(&self, rule: RuleRef) -> Option<RuleInfo<'a>> {
        let [name, tier, ingress, egress, kind, namespace] =
            self.policies.get(rule.policy as usize).copied()?;
        let block = if rule.direction == Direction::Ingress { ingress } else { egress };
        let [_, direction, first, end] = self.blocks.get(block as usize).copied()?;
        let rules = range(self.rules, [first, end]);
        // Rows of one rule stand together, and a rule has at least one.
        let row = rules.partition_point(|words| RuleWords(*words).number() < rule.rule);
        let words = RuleWords(*rules.get(row)?);
        let is_it = words.number() == rule.rule && direction == direction_word(rule.direction);
        let text = *self.rule_texts.get(first as usize + row)?;
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
            pieces_v4: self.v4_starts.len(),
            pieces_v6: self.v6_starts.len(),
            classes: self.classes.len(),
            policies: self.policies.len(),
            rules: self.rules.len(),
            objects: self.objects.len(),
        }
    }

    fn optional_string(&self, index: u32) -> Option<&'a str> {
        (index != NONE).then(|| self.string(index))
    }

    fn string(&self, index: u32) -> &'a str {
        let index = index as usize;
        let end = |at: usize| self.string_ends.get(at).copied().unwrap_or_default() as usize;
        let start = index.checked_sub(1).map_or(0, end);
        let part = self.text.get(start..end(index)).unwrap_or_default();
        std::str::from_utf8(part).unwrap_or_default()
    }
}

fn rule_tables<'a>(bytes: &'a [u8], layout: &Layout) -> RuleTables<'a> {
    RuleTables {
        port_ranges: layout.table(bytes, Section::PortRanges),
        extras: layout.table(bytes, Section::Extras),
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

/// A half-open range of a table; nothing when it lies outside.
fn range<T>(table: &[T], [first, end]: [u32; 2]) -> &[T] {
    table.get(first as usize..end as usize).unwrap_or_default()
}

/// An IPv6 address as the table holds it.
pub(crate) fn halves(address: u128) -> [u64; 2] {
    let bytes = address.to_be_bytes();
    let (high, low) = bytes.split_at(8);
    let half = |part: &[u8]| part.try_into().map_or(0, u64::from_be_bytes);
    [half(high), half(low)]
}

/// The number behind an IPv6 address of the table.
fn halves_joined([high, low]: [u64; 2]) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}
