//! The one way to write a set of packets down: what a person reads, and what tells whether two sets are equal.

use std::collections::BTreeMap;

use super::region::{Brick, Form, Span};

/// Packets of these protocols whose axes lie in these spans. All lists are sorted, and no two spans touch.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Block {
    /// What the axes are.
    pub form: Form,
    /// IP protocol numbers.
    pub protocols: Vec<Span>,
    /// Source ports or ICMP types.
    pub first: Vec<Span>,
    /// Destination ports or ICMP codes.
    pub second: Vec<Span>,
}

/// Spans of one axis, and those of the other for each of them.
type Area = Vec<(Vec<Span>, Vec<Span>)>;

/// Protocols with equal areas stand together, and so do values of the first axis with equal values of the second.
pub(super) fn blocks(bricks: &[Brick]) -> Vec<Block> {
    let mut by_area: BTreeMap<(Form, Area), Vec<Span>> = BTreeMap::new();
    for form in [Form::Ports, Form::Icmp, Form::Opaque] {
        let of_form = bricks.iter().filter(|brick| brick.form == form);
        let layers = of_form.map(|brick| {
            let [protocols, first, second] = brick.sides;
            (protocols, (first, second))
        });
        for (protocols, rectangles) in slices(&layers.collect::<Vec<_>>()) {
            by_area.entry((form, area(&rectangles))).or_default().push(protocols);
        }
    }
    let mut blocks = Vec::new();
    for ((form, area), protocols) in by_area {
        let protocols = merged(protocols);
        blocks.extend(area.into_iter().map(|(first, second)| Block {
            form,
            protocols: protocols.clone(),
            first,
            second,
        }));
    }
    blocks.sort_by(|a, b| (&a.protocols, &a.first).cmp(&(&b.protocols, &b.first)));
    blocks
}

fn area(rectangles: &[(Span, Span)]) -> Area {
    let mut by_second: BTreeMap<Vec<Span>, Vec<Span>> = BTreeMap::new();
    for (first, seconds) in slices(rectangles) {
        by_second.entry(merged(seconds)).or_default().push(first);
    }
    let mut area: Area =
        by_second.into_iter().map(|(second, first)| (merged(first), second)).collect();
    area.sort();
    area
}

/// Cuts an axis where any of the things along it begins or ends, and tells what lies over each part that is not bare.
fn slices<T: Copy>(things: &[(Span, T)]) -> Vec<(Span, Vec<T>)> {
    let ends =
        things.iter().flat_map(|(span, _)| [u32::from(span.first), u32::from(span.last) + 1]);
    let mut cuts: Vec<u32> = ends.collect();
    cuts.sort_unstable();
    cuts.dedup();
    let parts = cuts.iter().zip(cuts.iter().skip(1)).filter_map(|(start, end)| {
        let span = Span {
            first: u16::try_from(*start).ok()?,
            last: u16::try_from(end.checked_sub(1)?).ok()?,
        };
        let covers = |(other, _): &&(Span, T)| other.first <= span.first && span.last <= other.last;
        let over: Vec<T> = things.iter().filter(covers).map(|(_, thing)| *thing).collect();
        (!over.is_empty()).then_some((span, over))
    });
    parts.collect()
}

/// Sorts, and joins what touches or overlaps.
pub(super) fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut merged: Vec<Span> = Vec::new();
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.first <= last.last.saturating_add(1) => {
                last.last = last.last.max(span.last);
            }
            _ => merged.push(span),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{IpVersion, protocol};
    use crate::space::Region;

    #[test]
    fn a_set_that_was_cut_and_joined_again_reads_as_before() {
        let everything = Region::everything(IpVersion::V4);
        let sides = [Span::one(protocol::TCP), Span { first: 5, last: 9 }, Span::one(22_u16)];
        let hole = Region::from_disjoint(vec![Brick { form: Form::Ports, sides }]);
        let mut rest = everything.without(&hole);
        assert_ne!(rest.blocks(), everything.blocks());
        rest.join(hole);
        assert_eq!(rest.blocks(), everything.blocks());
    }

    #[test]
    fn everything_but_a_port_is_two_spans() {
        let sides = [Span::one(protocol::TCP), Span::PORTS, Span::one(22_u16)];
        let ssh = Region::from_disjoint(vec![Brick { form: Form::Ports, sides }]);
        let sides = [Span::one(protocol::TCP), Span::PORTS, Span::PORTS];
        let tcp = Region::from_disjoint(vec![Brick { form: Form::Ports, sides }]);
        let expected = Block {
            form: Form::Ports,
            protocols: vec![Span::one(protocol::TCP)],
            first: vec![Span::PORTS],
            second: vec![Span { first: 0, last: 21 }, Span { first: 23, last: 65_535 }],
        };
        assert_eq!(tcp.without(&ssh).blocks(), [expected]);
        assert!(ssh.without(&tcp).is_empty());
    }
}
