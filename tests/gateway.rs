//! The gateway between real hosts, on veth and AF_XDP: who reaches whom, and which frames cross.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "test helpers")]

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use classifier::packet::IpVersion;
use classifier::packet::IpVersion::{V4, V6};
use etherparse::{Ipv4Header, PacketBuilder};
use ravelin::attempt::{Probe, Seen, attempt, connect, echo};
use ravelin::documents::SITE;
use ravelin::frames::{Capture, FrameSender};
use ravelin::gateway::Gateway;
use ravelin::handover::Status;
use ravelin::servers::{greeting, serve};
use ravelin::streams::{ip, syn, tagged, udp};
use ravelin::topology::{Host, Lab};

const PATIENCE: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_millis(500);

const SSH: Probe = Probe::Tcp(22);
const HTTP: Probe = Probe::Tcp(80);
const DNS: Probe = Probe::Udp(53);

#[test]
fn hosts_reach_what_policy_allows_and_nothing_else() {
    let lab = Lab::new().unwrap();
    let gateway = gateway_of(&lab);
    for host in [&lab.server, &lab.noc, &lab.embargoed] {
        serve(host, &[22, 80], &[53]).unwrap();
    }
    let server = &lab.server;
    let allowed = [
        (&lab.noc, server, SSH),
        (&lab.noc, server, HTTP),
        (&lab.noc, server, DNS),
        (&lab.noc, server, Probe::Ping),
        (&lab.office, server, HTTP),
        (&lab.office, server, DNS),
        (&lab.office, server, Probe::Ping),
        (&lab.stranger, server, HTTP),
        (server, &lab.noc, HTTP),
    ];
    let denied = [
        (&lab.office, server, SSH),
        (&lab.stranger, server, SSH),
        (&lab.stranger, server, DNS),
        (&lab.stranger, server, Probe::Ping),
        (&lab.embargoed, server, SSH),
        (&lab.embargoed, server, HTTP),
        (&lab.embargoed, server, DNS),
        (&lab.embargoed, server, Probe::Ping),
        (server, &lab.noc, SSH),
        (server, &lab.embargoed, HTTP),
        (server, &lab.noc, Probe::Ping),
    ];
    for version in [V4, V6] {
        for (from, to, probe) in allowed {
            assert_eq!(try_it(from, to, version, probe, PATIENCE), Seen::Answered);
        }
        for (from, to, probe) in denied {
            assert_eq!(try_it(from, to, version, probe, SILENCE), Seen::Nothing);
        }
    }
    assert_balanced(&gateway.status().unwrap());
}

#[test]
fn a_connection_carries_many_segments_both_ways() {
    let lab = Lab::new().unwrap();
    let gateway = gateway_of(&lab);
    serve(&lab.server, &[22], &[]).unwrap();
    for version in [V4, V6] {
        let to = SocketAddr::new(lab.server.address(version), 22);
        let mut session = connect(&lab.noc, to, PATIENCE).unwrap();
        greeting(&mut session).unwrap();
        // Longer than a segment, so that full frames cross too.
        let line = "x".repeat(4000) + "\n";
        for _ in 0..200 {
            echo(&mut session, &line).unwrap();
        }
    }
    assert_balanced(&gateway.status().unwrap());
}

#[test]
fn datagrams_that_hosts_fragment_cross_both_ways() {
    let lab = Lab::new().unwrap();
    let gateway = gateway_of(&lab);
    serve(&lab.server, &[], &[53, 54]).unwrap();
    let before = gateway.status().unwrap();
    for version in [V4, V6] {
        let server = lab.server.address(version);
        let any: IpAddr = if version == V4 { [0; 4].into() } else { [0; 16].into() };
        let ask = |port, bytes: &[u8]| {
            let socket = lab.noc.namespace.run(|| UdpSocket::bind((any, 0))).unwrap().unwrap();
            socket.set_read_timeout(Some(SILENCE)).unwrap();
            socket.send_to(bytes, (server, port)).unwrap();
            let mut buffer = vec![0; 1 << 16];
            socket.recv(&mut buffer).map(|read| buffer[..read].to_vec())
        };
        for length in [1_600, 6_000, 30_000, 65_000] {
            let bytes: Vec<u8> =
                (0..length).map(|at: u32| at.to_le_bytes()[at as usize % 3]).collect();
            assert_eq!(ask(53, &bytes).unwrap(), bytes);
            assert!(ask(54, &bytes).is_err(), "the policy does not allow it");
        }
    }
    let after = gateway.status().unwrap();
    let drops = drops_since(&gateway, &before);
    assert!(drops("policy-denied") > 2 * 4 * 2, "fragments are dropped one by one");
    for reason in ["checksum", "fragment-invalid", "fragment-overlap", "fragment-limit"] {
        assert_eq!(drops(reason), 0, "{reason}\n{}", after.text());
    }
    assert_balanced(&after);
}

#[test]
fn tagged_frames_are_judged_and_keep_their_tags() {
    let lab = Lab::new().unwrap();
    let gateway = gateway_of(&lab);
    let allowed = udp(&lab.noc, &lab.server, V4, [4000, 53]).unwrap();
    let denied = udp(&lab.stranger, &lab.server, V4, [4000, 53]).unwrap();
    let (one, two) = (tagged(&allowed, &[100]), tagged(&allowed, &[100, 200]));
    let three = tagged(&allowed, &[100, 200, 300]);
    let before = gateway.status().unwrap();
    let arrived = cross(&lab, &[&allowed, &one, &two, &three, &denied, &tagged(&denied, &[100])]);
    assert_eq!(arrived, [allowed.clone(), one, two]);
    let drops = drops_since(&gateway, &before);
    assert_eq!(drops("vlan-tags"), 1);
    // The hosts' own multicast talk is denied too.
    assert!(drops("policy-denied") >= 2);
}

#[test]
fn frames_that_cannot_be_judged_are_dropped_and_counted() {
    let lab = Lab::new().unwrap();
    let gateway = gateway_of(&lab);
    let good = udp(&lab.noc, &lab.server, V4, [4000, 53]).unwrap();
    let short = good.get(..40).unwrap().to_vec();
    let fragment = fragment(&lab.noc, &lab.server);
    let mut foreign = good.clone();
    // An EtherType of nobody: IEEE 802 local experimental.
    foreign.get_mut(12..14).unwrap().copy_from_slice(&[0x88, 0xb5]);
    let acknowledgement = acknowledgement(&lab.noc, &lab.server);
    let before = gateway.status().unwrap();
    let arrived = cross(&lab, &[&short, &fragment, &foreign, &acknowledgement, &good]);
    assert_eq!(arrived, [good]);
    let drops = drops_since(&gateway, &before);
    let after = gateway.status().unwrap();
    for reason in ["malformed", "non-ip", "tcp-not-opening"] {
        assert_eq!(drops(reason), 1, "{reason}\n{}", after.text());
    }
    // A fragment waits for the others.
    assert_eq!(after.number("port.0.held.packets").unwrap(), 1, "{}", after.text());
    assert_balanced(&gateway.status().unwrap());
}

#[test]
fn address_resolution_crosses_the_gateway_and_unsolicited_packets_do_not() {
    let lab = Lab::new().unwrap();
    let _gateway = gateway_of(&lab);
    serve(&lab.server, &[80], &[]).unwrap();
    let capture = Capture::new(&lab.server, "arp or icmp6").unwrap();
    for version in [V4, V6] {
        // The first packet of each family needs the other side's hardware address.
        assert_eq!(try_it(&lab.office, &lab.server, version, HTTP, PATIENCE), Seen::Answered);
    }
    let frames = capture.finish().unwrap();
    let from_office = |frame: &&Vec<u8>| frame.get(6..12) == Some(&lab.office.mac);
    let ether_types = frames.iter().filter(from_office).filter_map(|frame| frame.get(12..14));
    let ether_types: Vec<&[u8]> = ether_types.collect();
    assert!(ether_types.contains(&&[0x08, 0x06][..]), "no ARP from the office: {ether_types:x?}");
    assert!(ether_types.contains(&&[0x86, 0xdd][..]), "no ND from the office: {ether_types:x?}");
    // Answers that nobody asked for are no replies.
    let reply = PacketBuilder::ethernet2(lab.stranger.mac, lab.server.mac)
        .ipv4(lab.stranger.v4.octets(), lab.server.v4.octets(), 64)
        .icmpv4_echo_reply(7, 7);
    let mut frame = Vec::new();
    reply.write(&mut frame, b"unasked").unwrap();
    assert_eq!(cross_from(&lab.stranger, &lab, &[&frame]), Vec::<Vec<u8>>::new());
}

#[test]
fn the_flow_log_names_both_sides_and_the_deciding_rule() {
    let lab = Lab::new().unwrap();
    let gateway = gateway_of(&lab);
    FrameSender::new(&lab.office)
        .unwrap()
        .send(&syn(&lab.office, &lab.server, V6, [4000, 22]).unwrap())
        .unwrap();
    let is_ssh = |record: &serde_json::Value| record["dstPort"] == 22;
    let record = gateway.wait_for_record(PATIENCE, is_ssh).unwrap();
    for (key, value) in [
        ("kind", "denied"),
        ("action", "deny"),
        ("in", "outside0"),
        ("src", "2001:2:0:20::10"),
        ("dst", "2001:2:0:70::10"),
        ("protocol", "tcp"),
        ("direction", "ingress"),
        ("tier", "default"),
        ("policy", "ssh-only-from-noc"),
    ] {
        assert_eq!(record[key], value, "{key} in {record}");
    }
    assert_eq!(record["rule"], 2);
    assert_eq!(record["source"]["name"], "office");
    assert_eq!(record["destination"]["labels"]["role"], "production-server");
    assert_eq!(record["loggedBy"]["rule"], 1);
}

fn gateway_of(lab: &Lab) -> Gateway<'_> {
    let mut gateway = Gateway::new(lab, &SITE).unwrap();
    gateway.start().unwrap();
    gateway
}

fn try_it(from: &Host, to: &Host, version: IpVersion, probe: Probe, patience: Duration) -> Seen {
    let seen = attempt(from, to.address(version), probe, patience).unwrap();
    // Which attempt a failing assertion is about.
    println!("{} -> {} {version:?} {probe}: {seen}", from.name, to.name);
    seen
}

/// Sends the frames from the operation centre; returns those that reach the server, in their order.
fn cross(lab: &Lab, frames: &[&Vec<u8>]) -> Vec<Vec<u8>> {
    cross_from(&lab.noc, lab, frames)
}

fn cross_from(from: &Host, lab: &Lab, frames: &[&Vec<u8>]) -> Vec<Vec<u8>> {
    let sender = FrameSender::new(from).unwrap();
    let capture = Capture::new(&lab.server, "").unwrap();
    for frame in frames {
        sender.send(frame).unwrap();
    }
    // A last frame that passes says that all before it have been judged.
    let last = udp(&lab.noc, &lab.server, V4, [9, 53]).unwrap();
    sender.send(&last).unwrap();
    let arriving = std::iter::from_fn(|| capture.next(PATIENCE)).take_while(|frame| *frame != last);
    arriving.filter(|frame| frames.contains(&frame)).collect()
}

/// The first fragment of a datagram.
fn fragment(from: &Host, to: &Host) -> Vec<u8> {
    let mut frame = udp(from, to, V4, [4000, 53]).unwrap();
    let (mut header, _) = Ipv4Header::from_slice(frame.get(14..).unwrap()).unwrap();
    header.more_fragments = true;
    // What is not the end comes in units of eight.
    let data = usize::from(header.payload_len().unwrap()) / 8 * 8;
    header.set_payload_len(data).unwrap();
    frame.truncate(34 + data);
    header.header_checksum = header.calc_header_checksum();
    frame.splice(14..34, header.to_bytes().iter().copied());
    frame
}

/// A segment of a connection that nobody opened.
fn acknowledgement(from: &Host, to: &Host) -> Vec<u8> {
    let mut frame = Vec::new();
    ip(from, to, V4).tcp(4000, 22, 1, 1024).ack(1).write(&mut frame, b"hello").unwrap();
    frame
}

fn drops_since<'a>(gateway: &Gateway<'_>, before: &'a Status) -> impl Fn(&str) -> u64 + use<'a> {
    let after = gateway.status().unwrap();
    move |reason| after.dropped(reason).unwrap() - before.dropped(reason).unwrap()
}

/// Every received frame was forwarded, or dropped for one reason.
fn assert_balanced(status: &Status) {
    let (received, accounted) = status.balance().unwrap();
    assert!(received > 0);
    assert_eq!(received, accounted, "{}", status.text());
}
