//! Services: `calico-semantics.md` 1.3.

use super::*;
use crate::resource::{Service, ServiceEndpoint, ServiceName};

fn name() -> ServiceName {
    ServiceName { namespace: "shop".to_owned(), name: "web".to_owned() }
}

fn service(address: IpAddr, ports: &[(u8, u16)]) -> Service {
    let endpoints = vec![ServiceEndpoint { address, ports: ports.to_vec() }];
    Service { name: name(), endpoints }
}

fn matches(lab: &Lab, services: Vec<Service>, packet: &PacketKey, rule: Rule) -> bool {
    let set = PolicySet { services, ..lab.set([ingress("p", [rule])]) };
    evaluate(&set, packet, IN).verdict() == Verdict::Allow
}

fn of_source() -> Rule {
    Rule { source: Peer { service: Some(name()), ..Peer::default() }, ..allow() }
}

fn of_destination() -> Rule {
    Rule { destination: Peer { service: Some(name()), ..Peer::default() }, ..allow() }
}

#[test]
fn as_a_source_a_service_is_its_addresses() {
    for lab in labs() {
        let opaque = PacketKey { protocol: 47, transport: Transport::Opaque, ..lab.packet() };
        for packet in [lab.packet(), opaque] {
            let of =
                |address, ports| matches(&lab, vec![service(address, ports)], &packet, of_source());
            assert!(of(lab.client, &[(protocol::UDP, 7)]));
            assert!(of(lab.client, &[]));
            assert!(!of(lab.stranger, &[(protocol::TCP, 40_000)]));
        }
    }
}

#[test]
fn as_a_destination_a_service_is_address_protocol_and_port() {
    for lab in labs() {
        let of = |address, ports| {
            matches(&lab, vec![service(address, ports)], &lab.packet(), of_destination())
        };
        assert!(of(lab.server, &[(protocol::UDP, 443), (protocol::TCP, 443)]));
        assert!(!of(lab.server, &[(protocol::TCP, 80)]));
        assert!(!of(lab.server, &[(protocol::UDP, 443)]));
        assert!(!of(lab.server, &[]));
        assert!(!of(lab.client, &[(protocol::TCP, 443)]));
    }
}

#[test]
fn a_packet_without_ports_goes_to_no_service() {
    for lab in labs() {
        let opaque = PacketKey { transport: Transport::Opaque, ..lab.packet() };
        let services = vec![service(lab.server, &[(protocol::TCP, 0), (protocol::TCP, 443)])];
        assert!(!matches(&lab, services, &opaque, of_destination()));
    }
}

#[test]
fn ports_of_one_endpoint_are_not_those_of_another() {
    for lab in labs() {
        let mut service = service(lab.server, &[(protocol::TCP, 80)]);
        let ports = vec![(protocol::TCP, 443)];
        service.endpoints.push(ServiceEndpoint { address: lab.stranger, ports });
        assert!(!matches(&lab, vec![service], &lab.packet(), of_destination()));
    }
}

#[test]
fn a_service_that_nobody_knows_is_nowhere() {
    for lab in labs() {
        let mut other = service(lab.server, &[(protocol::TCP, 443)]);
        other.name.namespace = "office".to_owned();
        let mut of_client = service(lab.client, &[]);
        of_client.name.name = "mail".to_owned();
        for services in [vec![], vec![other, of_client]] {
            assert!(!matches(&lab, services.clone(), &lab.packet(), of_source()));
            assert!(!matches(&lab, services, &lab.packet(), of_destination()));
        }
    }
}
