//! The packets of a case.

use std::net::{IpAddr, Ipv4Addr};

use classifier::packet::{PacketKey, Transport, protocol};
use serde_json::Value;

use crate::{port, small, text};

/// Whether Calico has translated the packet's destination.
pub(crate) fn is_translated(asked: &Value) -> bool {
    asked.get("prenat_dst").is_some()
}

/// As it came.
pub(crate) fn before_translation(case: &Value, asked: &Value) -> PacketKey {
    packet(case, asked, &asked["prenat_dst"], &asked["prenat_dport"])
}

/// As it goes on.
pub(crate) fn behind_translation(case: &Value, asked: &Value) -> PacketKey {
    packet(case, asked, &asked["dst"], &asked["dport"])
}

fn packet(case: &Value, asked: &Value, dst: &Value, dport: &Value) -> PacketKey {
    let number = small(&asked["proto"]);
    let transport = match number {
        protocol::TCP | protocol::UDP | protocol::SCTP => {
            Transport::Ports { src: port(&asked["sport"]), dst: port(dport) }
        }
        protocol::ICMP | protocol::ICMPV6 => Transport::Icmp {
            kind: asked.get("icmp_type").map_or(0, small),
            code: asked.get("icmp_code").map_or(0, small),
        },
        _ => Transport::Opaque,
    };
    let is_v6 = case["ipv6"] == true;
    let [src, dst] = [&asked["src"], dst].map(|address| as_seen(is_v6, text(address)));
    PacketKey { src, dst, protocol: number, transport }
}

/// Felix compiles a program for one family. One case hands IPv6 packets to its IPv4 program, which takes their first four
/// bytes for an address: that packet is what the verdict is about.
fn as_seen(is_v6: bool, address: &str) -> IpAddr {
    let address: IpAddr = address.parse().unwrap();
    let IpAddr::V6(wide) = address else { return address };
    if is_v6 {
        return address;
    }
    let [a, b, c, d, ..] = wide.octets();
    Ipv4Addr::new(a, b, c, d).into()
}
