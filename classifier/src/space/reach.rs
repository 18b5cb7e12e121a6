//! What may pass between the objects of two selectors.

use std::collections::HashMap;

use super::entry::{Entries, Entry, Packets, bounded};
use super::ground::{
    AddressRange, Layer, ObjectName, Place, Spot, VERSIONS, covers, places, refined,
};
use super::{Limits, Outcome, Partitions, TooLarge};
use crate::decision::Verdict;
use crate::image::View;
use crate::packet::{Crossing, IpVersion};
use crate::resource::{Object, PolicySet};
use crate::selector::Selector;

/// From where to where.
#[derive(Clone, Debug)]
pub struct Question {
    /// Addresses of objects that match; every address, those that no object covers included, when absent.
    pub from: Option<Selector>,
    /// The same of the destination.
    pub to: Option<Selector>,
    /// The way through the gateway.
    pub crossing: Crossing,
}

/// Packets that pass, and what allows them.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Passage {
    /// What settles it; the verdict is Allow.
    pub outcome: Outcome,
    /// The packets.
    pub packets: Packets,
}

/// Everything that may pass, and nothing else: a pair of places that no entry names lets nothing pass.
#[derive(Clone, Debug)]
pub struct Reach {
    /// Where packets come from.
    pub sources: Vec<Place>,
    /// Where they go.
    pub destinations: Vec<Place>,
    /// What passes.
    pub entries: Vec<Entry<Passage>>,
}

/// Answers the question exactly. `view` is that of the image compiled from `set`.
///
/// # Errors
/// When the answer is beyond the limits.
pub fn reach(
    set: &PolicySet,
    view: &View<'_>,
    question: &Question,
    limits: Limits,
) -> Result<Reach, TooLarge> {
    let sources = ground(set, view, question.from.as_ref());
    let destinations = ground(set, view, question.to.as_ref());
    bounded(&sources, &destinations, &limits)?;
    let mut partitions = Partitions::of(*view, limits);
    let mut entries = Entries::new();
    for version in VERSIONS {
        let mut known: HashMap<usize, Option<usize>> = HashMap::new();
        for (at, source) in sources.iter().enumerate().filter(|(_, place)| place.has(version)) {
            for (to, destination) in destinations.iter().enumerate() {
                if !destination.has(version) {
                    continue;
                }
                let ([source, _], [destination, _]) = (source.classes, destination.classes);
                let classes = [source, destination];
                let partition = partitions.between_classes(version, classes, question.crossing)?;
                let content = *known.entry(partition.number).or_insert_with(|| {
                    let passing = partition.parts.iter();
                    let passing = passing.filter(|part| part.outcome.verdict == Verdict::Allow);
                    let passage = passing.map(|part| Passage {
                        outcome: part.outcome,
                        packets: Packets::of(&part.region, version),
                    });
                    entries.intern(passage.collect())
                });
                entries.add(version, (at, to), content);
            }
        }
    }
    Ok(Reach { sources, destinations, entries: entries.joined() })
}

fn ground(set: &PolicySet, view: &View<'_>, selector: Option<&Selector>) -> Vec<Place> {
    let wanted = |object: &Object| selector.is_none_or(|s| s.matches(&object.labels));
    let covers = covers(&set.objects, wanted);
    let name = |object: &usize| {
        let Object { kind, namespace, name, .. } = set.objects.get(*object)?;
        Some(ObjectName { kind: *kind, namespace: namespace.clone(), name: name.clone() })
    };
    let mut spots = Vec::new();
    for (version, cover) in VERSIONS.into_iter().zip([&covers.v4, &covers.v6]) {
        for (range, [class, cover]) in refined(version, &[classes(view, version), cover.clone()]) {
            if cover == 0 && selector.is_some() {
                continue;
            }
            let objects = covers.sets.get(cover as usize).into_iter().flatten();
            spots.push(spot(range, class, view, objects.filter_map(name).collect()));
        }
    }
    places(spots.into_iter())
}

fn spot(range: AddressRange, class: u32, view: &View<'_>, objects: Vec<ObjectName>) -> Spot {
    Spot { range, classes: [class, 0], is_nobody: view.is_nobody(class), objects }
}

/// The classes of a family as a layer.
pub(super) fn classes(view: &View<'_>, version: IpVersion) -> Layer {
    view.pieces(version).iter().map(|(start, class, _)| (*start, *class)).collect()
}
