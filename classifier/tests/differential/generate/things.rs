//! Random things with labels and addresses: objects, services, and the gateway's own ports.

use classifier::label::Labels;
use classifier::resource::{
    GatewayPort, InterfaceEndpoint, InterfaceMatch, NamedPort, Object, ObjectKind, PolicySet,
    Profile, Service, ServiceEndpoint, ServiceName,
};
use fastrand::Rng;

use super::{
    KNOWN_PORTS, LABEL_NAMES, LABEL_VALUES, NAMESPACES, WITH_PORTS, any_anchor, family, net, pick,
    rules,
};

/// Names of ports; no object has the last.
pub(super) const PORT_NAMES: [&str; 4] = ["http", "dns", "x", "nobody"];
/// Names of services; the last two are never there.
const SERVICE_NAMES: [&str; 4] = ["s", "s-2", "s-3", "nobody"];
const INTERFACES: [&str; 3] = ["eth0", "eth1", "eth2"];
const ENDPOINT_NAMES: [&str; 6] = ["a", "a-1", "a.b", "B", "b", "z"];
/// Names of profiles; the last is never there.
const PROFILE_NAMES: [&str; 4] = ["kns.n", "open", "closed", "nobody"];

pub(crate) fn object(rng: &mut Rng, number: usize) -> Object {
    let count = rng.usize(..=4);
    let mut random_net = || {
        let family = family(rng);
        net(rng, family)
    };
    let nets = (0..count).map(|_| random_net()).collect();
    let kind = pick(rng, &ObjectKind::ALL);
    let is_namespaced = matches!(kind, ObjectKind::NetworkSet | ObjectKind::Pod);
    let port_count = pick(rng, &[0, 0, 1, 2, 4]);
    Object {
        namespace: is_namespaced.then(|| pick(rng, &NAMESPACES).to_owned()),
        labels: labels(rng),
        nets,
        ports: (0..port_count).map(|_| named_port(rng)).collect(),
        peer_only: rng.u8(..6) == 0,
        ..Object::new(kind, &format!("o{number}"))
    }
}

fn labels(rng: &mut Rng) -> Labels {
    let mut labels = Labels::new();
    for name in LABEL_NAMES {
        if rng.bool() {
            labels.insert(name, pick(rng, &LABEL_VALUES));
        }
    }
    labels
}

fn named_port(rng: &mut Rng) -> NamedPort {
    let [names @ .., _] = PORT_NAMES;
    let name = pick(rng, &names).to_owned();
    NamedPort { name, protocol: pick(rng, &WITH_PORTS), port: pick(rng, &KNOWN_PORTS) }
}

pub(super) fn service_name(rng: &mut Rng) -> ServiceName {
    let namespace = pick(rng, &NAMESPACES).to_owned();
    ServiceName { namespace, name: pick(rng, &SERVICE_NAMES).to_owned() }
}

pub(super) fn add_services(rng: &mut Rng, set: &mut PolicySet) {
    let [known @ .., _, _] = SERVICE_NAMES;
    for namespace in NAMESPACES {
        for name in known {
            if rng.u8(..4) > 0 {
                let name = ServiceName { namespace: namespace.to_owned(), name: name.to_owned() };
                set.services.push(service(rng, name));
            }
        }
    }
    rng.shuffle(&mut set.services);
}

pub(crate) fn service(rng: &mut Rng, name: ServiceName) -> Service {
    let count = rng.usize(..=4);
    let mut endpoint = || {
        let port_count = rng.usize(..=3);
        let ports = (0..port_count).map(|_| (pick(rng, &WITH_PORTS), pick(rng, &KNOWN_PORTS)));
        let ports = ports.collect();
        ServiceEndpoint { address: any_anchor(rng), ports }
    };
    let endpoints = (0..count).map(|_| endpoint()).collect();
    Service { name, endpoints }
}

/// Ports, in most sets endpoints of them, and profiles for these.
pub(super) fn add_gateway(rng: &mut Rng, set: &mut PolicySet) {
    for interface in &INTERFACES[..rng.usize(..=INTERFACES.len())] {
        let count = rng.usize(..=2);
        let addresses = (0..count).map(|_| any_anchor(rng)).collect();
        set.ports.push(GatewayPort { interface: (*interface).to_owned(), addresses });
    }
    let [known @ .., _] = PROFILE_NAMES;
    for name in known {
        if rng.bool() {
            let (ingress, egress) = (rules::list(rng, 3), rules::list(rng, 3));
            set.profiles.push(Profile { name: name.to_owned(), ingress, egress });
        }
    }
    rng.shuffle(&mut set.profiles);
    let mut names = ENDPOINT_NAMES;
    rng.shuffle(&mut names);
    for name in &names[..pick(rng, &[0, 1, 2, 3, 3, 4])] {
        set.interfaces.push(endpoint(rng, name));
    }
}

pub(crate) fn endpoint(rng: &mut Rng, name: &str) -> InterfaceEndpoint {
    let interface = match rng.u8(..8) {
        0 | 1 => InterfaceMatch::All,
        2 | 3 => {
            let count = rng.usize(..=2);
            InterfaceMatch::Addresses((0..count).map(|_| any_anchor(rng)).collect())
        }
        _ => InterfaceMatch::Name(pick(rng, &INTERFACES).to_owned()),
    };
    let mut profiles = PROFILE_NAMES.map(str::to_owned);
    rng.shuffle(&mut profiles);
    let mut profiles = profiles[..rng.usize(..=3)].to_vec();
    if rng.u8(..10) == 0 {
        profiles.extend(profiles.first().cloned());
    }
    InterfaceEndpoint { name: name.to_owned(), interface, labels: labels(rng), profiles }
}
