//! Which endpoint governs a port (`calico-semantics.md` 1.5).

use super::*;

/// The name of the endpoint that governs a port: each denies with a policy of its own.
fn governing(
    ports: &[GatewayPort],
    interfaces: &[InterfaceEndpoint],
    place: Place,
) -> Option<String> {
    let [lab, _] = labs();
    let of = |endpoint: &InterfaceEndpoint| {
        at(Hook::Forward, &endpoint.name, ingress(&endpoint.name, [deny()]))
    };
    let set = PolicySet {
        ports: ports.to_vec(),
        interfaces: interfaces.to_vec(),
        ..lab.set(interfaces.iter().map(of))
    };
    let entry = evaluate(&set, &lab.packet(), Crossing { from: place, to: WAN1 }).entry?;
    let Reason::Rule(rule) = entry.reason else { panic!("{entry:?}") };
    Some(set.policies[rule.policy as usize].name.clone())
}

fn addresses(list: &[&str]) -> InterfaceMatch {
    InterfaceMatch::Addresses(list.iter().map(|address| address.parse().unwrap()).collect())
}

#[test]
fn a_name_is_that_of_the_port() {
    let ports = [gateway_port("wan0", &["198.18.1.1"]), gateway_port("wan1", &[])];
    let interfaces = [named("a", "wan"), named("b", "wan1"), named("c", "wan0")];
    assert_eq!(governing(&ports, &interfaces, WAN0).unwrap(), "c");
    assert_eq!(governing(&ports, &interfaces, WAN1).unwrap(), "b");
    assert_eq!(governing(&ports, &interfaces[..1], WAN0), None);
}

#[test]
fn one_shared_address_is_enough() {
    let ports = [gateway_port("wan0", &["198.18.1.1", "2001:2::1"])];
    let of = |list: &[&str]| governing(&ports, &[endpoint("a", addresses(list))], WAN0);
    assert_eq!(of(&["198.18.9.9", "2001:2::1"]).unwrap(), "a");
    assert_eq!(of(&["198.18.9.9"]), None);
    assert_eq!(of(&[]), None);
}

#[test]
fn the_first_by_name_wins_whichever_way_it_is_of_the_port() {
    let ports = [gateway_port("wan0", &["198.18.1.1"])];
    let by_address = |name| endpoint(name, addresses(&["198.18.1.1"]));
    let both = [named("b", "wan0"), by_address("a")];
    assert_eq!(governing(&ports, &both, WAN0).unwrap(), "a");
    let both = [by_address("b"), named("a", "wan0")];
    assert_eq!(governing(&ports, &both, WAN0).unwrap(), "a");
}

#[test]
fn one_of_all_interfaces_governs_where_no_other_does() {
    let ports = [gateway_port("wan0", &[]), gateway_port("wan1", &[])];
    let all = |name| endpoint(name, InterfaceMatch::All);
    let interfaces = [all("b"), all("a"), named("z", "wan1")];
    assert_eq!(governing(&ports, &interfaces, WAN1).unwrap(), "z");
    assert_eq!(governing(&ports, &interfaces, WAN0).unwrap(), "a", "the first by name");
}

#[test]
fn a_port_that_nobody_knows_has_only_endpoints_of_all_interfaces() {
    let ports = [gateway_port("wan0", &["198.18.1.1"])];
    let interfaces = [
        named("a", "wan0"),
        endpoint("b", addresses(&["198.18.1.1"])),
        endpoint("c", InterfaceMatch::All),
    ];
    for number in [None, Some(1)] {
        let unknown = Place::Port { side: Side::Outside, number };
        assert_eq!(governing(&ports, &interfaces, unknown).unwrap(), "c");
        assert_eq!(governing(&ports, &interfaces[..2], unknown), None);
    }
}
