//! A change that is as large as an estate costs what its size does: it is declined at once, or made.

#![expect(clippy::unwrap_used, reason = "test helpers")]

use classifier::compile::{Change, Declined, Limits, Live, changes};
use classifier::resource::{Object, ObjectKind, PolicySet};
use ipnet::{IpNet, Ipv4Net};

/// As many prefixes as a list of the whole world has; with their square, this test would not end.
const MANY: u32 = 1_000_000;

fn nets(count: u32) -> Vec<IpNet> {
    (0..count).map(|at| IpNet::V4(Ipv4Net::new((at << 8).into(), 24).unwrap())).collect()
}

fn set_of(nets: Vec<IpNet>) -> PolicySet {
    let mut set = PolicySet::new();
    let world = Object { nets, ..Object::new(ObjectKind::GlobalNetworkSet, "world") };
    set.objects.push(world);
    set
}

#[test]
fn list_that_is_replaced_by_the_whole_world_is_declined_at_once() {
    for (before, after) in [(1, MANY), (MANY, 1), (0, MANY)] {
        let [before, after] = [before, after].map(|count| set_of(nets(count)));
        let mut live = Live::new(&before, 1, &Limits::default()).unwrap();
        let changes = changes(&before, &after).unwrap();
        let declined = live.apply(&after, &changes, 2).unwrap_err();
        assert!(matches!(declined, Declined::TooLarge(_)), "{declined}");
    }
}

#[test]
fn a_few_nets_more_in_a_list_of_the_whole_world_are_followed() {
    let before = set_of(nets(MANY));
    // New ones in front, so that looking for an old one passes them all.
    let few = (MANY..MANY + 4_000).map(|at| IpNet::V4(Ipv4Net::new((at << 8).into(), 24).unwrap()));
    let after = set_of(few.chain(nets(MANY)).collect());
    let mut live = Live::new(&before, 1, &Limits::default()).unwrap();
    let changes = changes(&before, &after).unwrap();
    assert!(matches!(changes.as_slice(), [Change::Nets { .. }]));
    let image = live.apply(&after, &changes, 2).unwrap();
    let view = image.view();
    let name = |address: u32| {
        let address: std::net::Ipv4Addr = address.into();
        view.object_of(address.into()).map(|object| object.name.to_owned())
    };
    assert_eq!(name((MANY + 3_999) << 8), Some("world".to_owned()));
    assert_eq!(name((MANY + 4_000) << 8), None);
    assert_eq!(name(7), Some("world".to_owned()));
}
