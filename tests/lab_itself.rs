//! The laboratory itself, with a plain bridge in the gateway's place: what it reports about others is worth as much as this.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::net::SocketAddr;
use std::time::Duration;

use classifier::packet::IpVersion;
use etherparse::PacketBuilder;
use ravelin::attempt::{Probe, Seen, attempt, connect, echo};
use ravelin::frames::{Capture, FrameSender};
use ravelin::servers::serve;
use ravelin::topology::{Host, Lab};

const PATIENCE: Duration = Duration::from_secs(3);
const SHORT: Duration = Duration::from_millis(300);

#[test]
fn hosts_reach_each_other_across_a_bridge_and_not_without_it() {
    let lab = Lab::new().unwrap();
    serve(&lab.server, &[22, 80], &[53]).unwrap();
    let to = lab.server.address(IpVersion::V4);
    assert_eq!(attempt(&lab.noc, to, Probe::Tcp(80), SHORT).unwrap(), Seen::Nothing);
    lab.bridge_the_gateway().unwrap();
    for version in [IpVersion::V4, IpVersion::V6] {
        let to = lab.server.address(version);
        for host in [&lab.noc, &lab.office, &lab.embargoed, &lab.stranger] {
            for probe in [Probe::Tcp(22), Probe::Tcp(80), Probe::Udp(53), Probe::Ping] {
                let seen = attempt(host, to, probe, PATIENCE).unwrap();
                assert_eq!(seen, Seen::Answered, "{} to {to} {probe}", host.name);
            }
            assert_eq!(attempt(host, to, Probe::Tcp(81), PATIENCE).unwrap(), Seen::Refused);
            assert_eq!(attempt(host, to, Probe::Udp(54), PATIENCE).unwrap(), Seen::Refused);
        }
    }
}

#[test]
fn an_open_connection_carries_data_until_the_wire_is_cut() {
    let lab = Lab::new().unwrap();
    serve(&lab.candidate, &[7], &[]).unwrap();
    lab.bridge_the_gateway().unwrap();
    let to = SocketAddr::new(lab.candidate.v6.into(), 7);
    let mut stream = connect(&lab.noc, to, PATIENCE).unwrap();
    echo(&mut stream, "still there?\n").unwrap();
    lab.gateway.ip("link set br0 down").unwrap();
    stream.set_read_timeout(Some(SHORT)).unwrap();
    assert!(echo(&mut stream, "and now?\n").is_err());
}

#[test]
fn raw_frames_arrive_as_they_were_sent_tags_included() {
    let lab = Lab::new().unwrap();
    lab.bridge_the_gateway().unwrap();
    let capture = Capture::new(&lab.server, "").unwrap();
    let sender = FrameSender::new(&lab.noc).unwrap();
    let frame = tagged_frame(&lab.noc, &lab.server);
    for _ in 0..100 {
        sender.send(&frame).unwrap();
    }
    let arriving = std::iter::from_fn(|| capture.next(PATIENCE));
    assert_eq!(arriving.filter(|found| *found == frame).take(100).count(), 100);
    assert!(!capture.finish().unwrap().contains(&frame));
}

fn tagged_frame(from: &Host, to: &Host) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(from.mac, to.mac)
        .single_vlan(etherparse::VlanId::try_new(100).unwrap())
        .ipv4(from.v4.octets(), to.v4.octets(), 64)
        .udp(4000, 9);
    let mut frame = Vec::new();
    builder.write(&mut frame, b"tagged").unwrap();
    frame
}
