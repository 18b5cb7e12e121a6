//! A compiled policy that follows small changes.
//!
//! A full compile of a large estate takes a second; most changes touch one prefix of it. `Live` keeps what the compiler
//! knew: the covers of both families, the classes, the programs. A change takes covers away and adds others, cuts the
//! prefixes they touch again, and writes what came of it as a patch of the image (`image::patch`). What it makes decides
//! as a full compile of the changed policy set does, always; where that would be much work it declines.
//!
//! The patch holds all changes since the image. When it has grown, a fold makes image and patch one image, on any thread;
//! classes that nothing uses any more go with the next full compile.

mod added;
mod change;
mod fold;
mod overlay;
mod rules;
mod space;

use std::collections::{BTreeSet, HashMap, HashSet};

use std::fmt;

use ipnet::IpNet;

use self::added::Added;
pub use self::change::{Change, changes};
use self::space::Space;
use super::classes::Classes;
use super::content::Contents;
use super::covers::{Cover, Family, NameKey, cover, first_of, name_key};
use super::emit::Programs;
use super::order::Order;
use super::pieces::{Open, cut};
use super::sets::KnownSets;
use super::{CompileError, Compiled, Limits, compiled};
use crate::decision::Direction;
use crate::image::{Image, ImageError};
use crate::resource::{Object, PolicySet};

/// Most prefixes that one change may touch: beyond, a full compile is not much slower.
const PREFIXES_MAX: usize = 4_096;
/// Most covers within the prefixes that one change touches.
const COVERS_MAX: usize = 16_384;
/// A full compile is due when something has grown to so many times what the last one made, and so many more.
const GROWTH: usize = 2;
const CLASSES_SPARE: usize = 1 << 16;
const SETS_SPARE: usize = 1 << 14;
const BYTES_SPARE: usize = 16 << 20;

/// A compiled policy and what is needed to change it.
#[derive(Debug)]
pub struct Live {
    image: Image,
    limits: Limits,
    contents: Contents,
    spaces: [Space; 2],
    classes: Classes,
    /// What the full compile made.
    at_first: Size,
    programs: Programs,
    known: KnownSets,
    /// For each policy and direction its block.
    blocks: HashMap<(u32, Direction), u32>,
    added: Added,
    /// A change was declined halfway: nothing here can be relied on any more.
    is_spent: bool,
}

/// What changes leave behind is counted in.
#[derive(Clone, Copy, Debug)]
struct Size {
    classes: usize,
    match_sets: usize,
    image_bytes: usize,
}

/// Why a change was not made. What was in force is untouched; the way on is a full compile.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Declined {
    /// It is of a kind that changes too much, or touches too much.
    TooLarge(&'static str),
    /// The changed policy set cannot be compiled.
    Refused(Vec<CompileError>),
    /// It takes away what was never there: the changes do not belong to this policy.
    Unknown,
    /// An earlier change was declined.
    Spent,
}

impl fmt::Display for Declined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(what) => write!(f, "{what}: this takes a full compile"),
            Self::Refused(errors) => {
                let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
                f.write_str(&errors.join("; "))
            }
            Self::Unknown => f.write_str("the change takes away what is not there"),
            Self::Spent => f.write_str("an earlier change was declined"),
        }
    }
}

impl std::error::Error for Declined {}

impl Live {
    /// Compiles `set` as `compile` does, and keeps what changes need.
    ///
    /// # Errors
    /// Those of `compile`.
    pub fn new(
        set: &PolicySet,
        generation: u64,
        limits: &Limits,
    ) -> Result<Self, Vec<CompileError>> {
        let compiled = compiled(set, generation, limits)?;
        let Compiled { image, contents, covers, classes, programs, definitions } = compiled;
        let mut known = KnownSets::default();
        known.add(&definitions);
        let [v4, v6] = covers;
        let [of_v4, of_v6] = Family::BOTH;
        let blocks = Order::of(set).blocks;
        let ranks = (0..).zip(&blocks);
        Ok(Self {
            added: Added::behind(&image),
            limits: *limits,
            contents,
            spaces: [Space::new(of_v4, v4), Space::new(of_v6, v6)],
            at_first: Size {
                classes: classes.known().len(),
                match_sets: known.count(),
                image_bytes: image.bytes().len(),
            },
            classes,
            programs,
            known,
            image,
            blocks: ranks.map(|(rank, block)| ((block.policy, block.direction), rank)).collect(),
            is_spent: false,
        })
    }

    /// What is to be in force: the image, and its patch once there were changes.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Whether so much was left behind by changes that a full compile would be smaller by much.
    #[must_use]
    pub fn wants_compile(&self) -> bool {
        let Size { classes, match_sets, image_bytes } = self.at_first;
        self.classes.known().len() > classes * GROWTH + CLASSES_SPARE
            || self.known.count() > match_sets * GROWTH + SETS_SPARE
            || self.image.bytes().len() > image_bytes * GROWTH + BYTES_SPARE
    }

    /// Makes changes, all together or none; `set` is the policy set with them made, `generation` their number. Returns
    /// what is to be in force from now on.
    ///
    /// # Errors
    /// When they touch too much, or the changed set cannot be compiled. No further change can be made then.
    pub fn apply(
        &mut self,
        set: &PolicySet,
        changes: &[Change<'_>],
        generation: u64,
    ) -> Result<&Image, Declined> {
        if std::mem::replace(&mut self.is_spent, true) {
            return Err(Declined::Spent);
        }
        let mut touched = Touched::default();
        // Rules look at all objects, so they come last.
        let (rules, objects): (Vec<_>, Vec<_>) =
            changes.iter().partition(|change| matches!(change, Change::Rules { .. }));
        for change in objects.into_iter().chain(rules) {
            self.note(set, change, &mut touched)?;
        }
        self.cut_again(touched)?;
        self.patch_image(generation)?;
        self.is_spent = false;
        Ok(&self.image)
    }

    /// Puts all that was added into the image, as its patch.
    fn patch_image(&mut self, generation: u64) -> Result<(), Declined> {
        let Self { image, programs, classes, known, .. } = self;
        let patch = self.added.patch(image, generation, programs, classes, known.count());
        *image = image.with_patch(patch).map_err(inconsistent)?;
        Ok(())
    }

    /// Takes covers away and adds others.
    fn note(
        &mut self,
        set: &PolicySet,
        change: &Change<'_>,
        touched: &mut Touched,
    ) -> Result<(), Declined> {
        match change {
            Change::Came(object) | Change::Went(object) if !object.ports.is_empty() => {
                Err(Declined::TooLarge("an object gives ports a name"))
            }
            Change::Came(object) => {
                let number = self.added.object(object);
                let content = self.content_of(object);
                self.add(object.nets.iter().map(|net| (net, cover(net, content, number))), touched)
            }
            Change::Went(object) => {
                let content = self.content_of(object);
                self.remove(object, content, &object.nets, touched)
            }
            Change::Nets { added, removed, .. } if added.len() + removed.len() > PREFIXES_MAX => {
                Err(Declined::TooLarge("the change touches too many prefixes"))
            }
            Change::Nets { object, added, removed } => {
                let content = self.content_of(object);
                let number = self.number_of(object, content, added);
                self.remove(object, content, removed, touched)?;
                self.add(added.iter().map(|net| (net, cover(net, content, number))), touched)
            }
            Change::Rules { policy, after } => self.change_rules(set, *policy, after, touched),
        }
    }

    fn content_of(&mut self, object: &Object) -> u32 {
        self.classes.content(&self.contents.of_object(object))
    }

    fn add<'n>(
        &mut self,
        covers: impl Iterator<Item = (&'n IpNet, Cover)>,
        touched: &mut Touched,
    ) -> Result<(), Declined> {
        for (net, cover) in covers {
            touched.note(Family::of(net), &cover)?;
            self.space(Family::of(net)).insert(cover);
        }
        Ok(())
    }

    fn remove(
        &mut self,
        object: &Object,
        content: u32,
        nets: &[IpNet],
        touched: &mut Touched,
    ) -> Result<(), Declined> {
        for net in nets {
            let Some(cover) = self.cover_of(object, content, net) else {
                // A net that the object has twice is there once.
                if touched.has(Family::of(net), first_of(net), net.prefix_len()) {
                    continue;
                }
                return Err(Declined::Unknown);
            };
            touched.note(Family::of(net), &cover)?;
            self.space(Family::of(net)).remove(&cover);
        }
        Ok(())
    }

    /// The cover that the object has at the prefix.
    fn cover_of(&self, object: &Object, content: u32, net: &IpNet) -> Option<Cover> {
        let [v4, v6] = &self.spaces;
        let space = if net.addr().is_ipv4() { v4 } else { v6 };
        let mut covers = space.of_prefix(first_of(net), net.prefix_len());
        let is_its = |cover: &&Cover| {
            cover.content == content && self.key(cover.name) == Some(name_key(object))
        };
        covers.find(is_its).copied()
    }

    /// The number that the object has already, found at a net that is not one of `new`, or a new one.
    fn number_of(&mut self, object: &Object, content: u32, new: &[IpNet]) -> u32 {
        let new: HashSet<&IpNet> = new.iter().collect();
        let old = object.nets.iter().find(|net| !new.contains(net));
        let known = old.and_then(|net| self.cover_of(object, content, net));
        known.map_or_else(|| self.added.object(object), |cover| cover.name)
    }

    /// What decides which of several objects with the same prefix names its addresses.
    fn key(&self, number: u32) -> Option<NameKey<'_>> {
        self.added.key(number).or_else(|| {
            let object = self.image.view().object(number)?;
            Some((object.kind, object.namespace, object.name))
        })
    }

    fn space(&mut self, family: Family) -> &mut Space {
        let [v4, v6] = &mut self.spaces;
        if v4.family == family { v4 } else { v6 }
    }

    /// Cuts the prefixes that were touched, and all within them, again.
    fn cut_again(&mut self, touched: Touched) -> Result<(), Declined> {
        let mut left = COVERS_MAX;
        for (family, prefixes) in Family::BOTH.into_iter().zip(touched.prefixes) {
            let mut done: Option<u128> = None;
            for (first, length) in prefixes {
                // Sorted, what lies within another comes behind it.
                if done.is_some_and(|done| first <= done) {
                    continue;
                }
                done = Some(family.last(first, length));
                left = self.cut_prefix(family, first, length, left)?;
            }
        }
        Ok(())
    }

    fn cut_prefix(
        &mut self,
        family: Family,
        first: u128,
        length: u8,
        most: usize,
    ) -> Result<usize, Declined> {
        let refused = |count| {
            let what = "identity classes";
            Declined::Refused(vec![CompileError::TooMany {
                what,
                count,
                limit: self.limits.classes,
            }])
        };
        let [v4, v6] = &self.spaces;
        let space = if v4.family == family { v4 } else { v6 };
        let within = space
            .within(first, length, most)
            .ok_or(Declined::TooLarge("the change touches too many prefixes"))?;
        let around: Vec<Vec<Cover>> = space.around(first, length).collect();
        let (added, view) = (&self.added, self.image.view());
        let key = |number| {
            let of_image = || {
                let object = view.object(number)?;
                Some((object.kind, object.namespace, object.name))
            };
            added.key(number).or_else(of_image)
        };
        let precedes = |a, b| key(a) < key(b);
        let classes = &mut self.classes;
        let mut outer = Open::family(family, classes).map_err(refused)?;
        for covers in around {
            outer = outer.within(family, &covers, &precedes, classes).map_err(refused)?;
        }
        let last = family.last(first, length);
        let outer = Open { last, ..outer };
        let pieces = cut(first, outer, family, &within, &precedes, classes).map_err(refused)?;
        self.added.put(family, [first, last], &pieces);
        Ok(most.saturating_sub(within.len()))
    }
}

/// Prefixes whose covers have changed, in both families.
#[derive(Debug, Default)]
struct Touched {
    prefixes: [BTreeSet<(u128, u8)>; 2],
}

impl Touched {
    fn note(&mut self, family: Family, cover: &Cover) -> Result<(), Declined> {
        let [v4, v6] = &mut self.prefixes;
        let prefixes = if family == Family::BOTH[0] { v4 } else { v6 };
        prefixes.insert((cover.first, cover.length));
        if prefixes.len() > PREFIXES_MAX {
            return Err(Declined::TooLarge("the change touches too many prefixes"));
        }
        Ok(())
    }

    fn has(&self, family: Family, first: u128, length: u8) -> bool {
        let [v4, v6] = &self.prefixes;
        let prefixes = if family == Family::BOTH[0] { v4 } else { v6 };
        prefixes.contains(&(first, length))
    }
}

fn inconsistent(error: ImageError) -> Declined {
    Declined::Refused(vec![CompileError::Inconsistent(error)])
}
