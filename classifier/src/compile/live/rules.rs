//! Other rules in a policy that stays what it is.

use super::{Declined, Live, PREFIXES_MAX, Touched};
use crate::compile::content::Content;
use crate::compile::covers::{Cover, Family, cover, first_of};
use crate::compile::expand;
use crate::compile::sets::{Definition, Filter, MatchSets};
use crate::compile::{position, too_many};
use crate::decision::Direction;
use crate::image::layout::NONE;
use crate::image::rule::RULE_NUMBERS;
use crate::resource::{Object, Peer, Policy, PolicySet, Rule};

impl Live {
    pub(super) fn change_rules(
        &mut self,
        set: &PolicySet,
        policy: u32,
        after: &Policy,
        touched: &mut Touched,
    ) -> Result<(), Declined> {
        if after.ingress.iter().chain(&after.egress).any(names_what_objects_have) {
            return Err(Declined::TooLarge("a rule names ports or a service"));
        }
        let mut sets = MatchSets::beside(&self.known);
        for (direction, rules) in
            [(Direction::Ingress, &after.ingress), (Direction::Egress, &after.egress)]
        {
            let Some(block) = self.blocks.get(&(policy, direction)) else { continue };
            let limit = self.limits.rules.saturating_sub(self.image.view().sizes().rules);
            if rules.len() > limit.min(RULE_NUMBERS) {
                return Err(Declined::TooLarge(
                    "the rules are too many to stand beside the old ones",
                ));
            }
            let rows = expand::rows_of(rules, &mut sets, limit).map_err(|count| {
                Declined::Refused(too_many("rules, ports by name resolved,", count, limit))
            })?;
            self.added.block(*block, policy, direction, &rows);
        }
        let definitions = sets.into_definitions();
        self.define(set, &definitions, touched)
    }

    /// New match sets: the addresses that belong to them have another content from now on.
    fn define(
        &mut self,
        set: &PolicySet,
        definitions: &[Definition],
        touched: &mut Touched,
    ) -> Result<(), Declined> {
        let filters: Vec<&Filter> = definitions
            .iter()
            .filter_map(|definition| match definition {
                Definition::Objects(filter) => Some(filter),
                Definition::Nets(_) | Definition::NamedPort { .. } => None,
            })
            .collect();
        let matches = |object: &&Object| filters.iter().any(|f| f.lets_in(&object.labels));
        let objects = set.objects.iter().filter(|_| !filters.is_empty()).filter(matches);
        let mut before = Vec::new();
        let mut nets = 0;
        for object in objects {
            nets += object.nets.len();
            if nets > PREFIXES_MAX {
                return Err(Declined::TooLarge("a rule asks for what many prefixes have"));
            }
            before.push((object, self.content_of(object)));
        }
        let first = self.known.count();
        self.known.add(definitions);
        self.contents.add(definitions);
        for (number, definition) in (first..).zip(definitions) {
            let Definition::Nets(nets) = definition else { continue };
            let content = self.classes.content(&Content::of_set(position(number)));
            self.add(nets.iter().map(|net| (net, cover(net, content, NONE))), touched)?;
        }
        before.into_iter().try_for_each(|(object, old)| self.renew(object, old, touched))
    }

    /// The object contributes something else than `old` at all its prefixes.
    fn renew(&mut self, object: &Object, old: u32, touched: &mut Touched) -> Result<(), Declined> {
        let content = self.content_of(object);
        for net in &object.nets {
            let family = Family::of(net);
            let Some(cover) = self.cover_of(object, old, net) else {
                // A net that the object has twice is there once.
                if touched.has(family, first_of(net), net.prefix_len()) {
                    continue;
                }
                return Err(Declined::Unknown);
            };
            touched.note(family, &cover)?;
            self.space(family).remove(&cover);
            self.space(family).insert(Cover { content, ..cover });
        }
        Ok(())
    }
}

/// Whether the rule asks for something that is looked up among all objects or services when it is compiled.
fn names_what_objects_have(rule: &Rule) -> bool {
    [&rule.source, &rule.destination].into_iter().any(|peer: &Peer| {
        peer.service.is_some() || !peer.named_ports.is_empty() || !peer.not_named_ports.is_empty()
    })
}
