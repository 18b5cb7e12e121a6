//! From checked resources to a policy image.
//!
//! 1. `order`: tiers and policies in evaluation order; each policy and direction becomes a *block* of rules.
//! 2. `interface`: which endpoint governs each port of the gateway, and the blocks that are asked there.
//! 3. `expand`: rules as rows of the image; every distinct thing that a row asks of an address (a selector, a list of
//!    nets, a named port) becomes a *match set* (`sets`).
//! 4. `content`: what an object contributes to an address it covers: match sets, and blocks that protect it.
//! 5. `covers`: every prefix with what it contributes.
//! 6. `pieces`: the address space cut at all prefix boundaries; each piece has the union of what covers it: its *class*
//!    (`classes`).
//! 7. `emit`: programs, rules and names as tables.
//!
//! `live` keeps what these steps made and follows small changes with it.

mod classes;
mod content;
mod covers;
mod emit;
mod expand;
mod interface;
mod interner;
mod live;
mod order;
mod pieces;
mod select;
mod set_lists;
mod sets;
mod text;

use std::fmt;

use self::classes::Classes;
use self::content::Contents;
use self::covers::Cover;
use self::emit::Programs;
pub use self::live::{Change, Declined, Live, changes};
use self::order::Order;
use self::sets::{Definition, KnownSets, MatchSets};
use crate::image::rule::RULE_NUMBERS;
use crate::image::{Image, ImageError};
use crate::resource::PolicySet;

/// How large a policy may grow. What is beyond is refused at compile, never cut off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Most identity classes.
    pub classes: usize,
    /// Most rules in all policies.
    pub rules: usize,
    /// Most bytes of the whole image.
    pub image_bytes: usize,
}

impl Default for Limits {
    /// Room for a million classes and rules, and an image of 1 GiB.
    fn default() -> Self {
        Self { classes: 1 << 20, rules: 1 << 20, image_bytes: 1 << 30 }
    }
}

/// Why a policy set cannot be compiled.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CompileError {
    /// More of something than the limit allows.
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much there is, as far as it was counted.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// The compiler made an image that its own validation refuses: a fault of ours.
    Inconsistent(ImageError),
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany { what, count, limit } => {
                write!(f, "the policy needs {count} {what}, the limit is {limit}")
            }
            Self::Inconsistent(error) => {
                write!(f, "the compiled policy is not usable (a fault of the compiler): {error}")
            }
        }
    }
}

impl std::error::Error for CompileError {}

/// Compiles `set` into the image of `generation`. The same input always gives the same bytes.
///
/// # Errors
/// When a limit is exceeded; all that were found.
pub fn compile(
    set: &PolicySet,
    generation: u64,
    limits: &Limits,
) -> Result<Image, Vec<CompileError>> {
    compiled(set, generation, limits).map(|compiled| compiled.image)
}

/// An image, and what it was made of that changes can build on.
struct Compiled {
    image: Image,
    contents: Contents,
    covers: [Vec<Cover>; 2],
    classes: Classes,
    programs: Programs,
    definitions: Vec<Definition>,
}

fn compiled(
    set: &PolicySet,
    generation: u64,
    limits: &Limits,
) -> Result<Compiled, Vec<CompileError>> {
    let mut order = Order::of(set);
    let interfaces = interface::interfaces(set, &mut order);
    if order.rule_count() > limits.rules {
        return Err(too_many("rules", order.rule_count(), limits.rules));
    }
    let longest = order.blocks.iter().map(|block| block.rules.len()).max().unwrap_or_default();
    if longest > RULE_NUMBERS {
        return Err(too_many("rules in one direction of a policy", longest, RULE_NUMBERS));
    }
    let none = KnownSets::default();
    let mut sets = MatchSets::new(set, &none);
    let rows = expand::rows(&order, &mut sets, limits.rules)
        .map_err(|count| too_many("rules, ports by name resolved,", count, limits.rules))?;
    let definitions = sets.into_definitions();
    let contents = Contents::of(set, &order, &definitions);
    let mut classes = Classes::new(limits.classes);
    let covers = covers::of_set(set, &definitions, &contents.of_objects(set), &mut classes);
    let pieces = pieces::of_space(set, &covers, &mut classes)
        .map_err(|count| too_many("identity classes", count, limits.classes))?;
    let source = emit::Source {
        set,
        order: &order,
        rows: &rows,
        interfaces: &interfaces,
        pieces: &pieces,
        classes: &classes,
        match_sets: definitions.len(),
    };
    let (bytes, programs) = emit::emit(source, generation);
    let size = bytes.as_bytes().len();
    if size > limits.image_bytes {
        return Err(too_many("bytes of image", size, limits.image_bytes));
    }
    let image = Image::load(bytes).map_err(|error| vec![CompileError::Inconsistent(error)])?;
    Ok(Compiled { image, contents, covers, classes, programs, definitions })
}

fn too_many(what: &'static str, count: usize, limit: usize) -> Vec<CompileError> {
    vec![CompileError::TooMany { what, count, limit }]
}

/// A table position. Tables are bounded by `Limits`, far below four billion entries.
fn position(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
