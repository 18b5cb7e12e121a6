//! What is said of captures that are whole.

use std::process::Command;

use serde_json::{Value, json};

use crate::files::{BEGIN_NS, ETHERNET, RAW, SLL, SLL2, Shape};
use crate::frames::{ACK, SYN, SYN_ACK, echo, ethernet, ip, sll, sll2, tcp, udp};
use crate::{POLICY, Place};

const NOC: &str = "198.18.10.5:40000";
const STRANGER: &str = "198.19.0.9:40000";
const SSH: &str = "198.18.70.9:22";

/// An allowed connection with its reply, a denied one that tries twice, a query with its answer, and ARP.
fn story() -> Vec<Vec<u8>> {
    let packets = [
        tcp(NOC, SSH, SYN),
        tcp(SSH, NOC, SYN_ACK),
        tcp(STRANGER, SSH, SYN),
        tcp(STRANGER, SSH, SYN),
        udp("198.18.70.9:5353", "198.19.0.53:53", 10),
        udp("198.19.0.53:53", "198.18.70.9:5353", 10),
    ];
    let mut frames: Vec<Vec<u8>> = packets.iter().map(|packet| ethernet(packet, &[])).collect();
    frames.push([&[2; 12][..], &[8, 6], &[0; 28]].concat());
    frames
}

#[test]
fn a_summary_names_what_was_denied_and_by_which_rule() {
    let place = Place::new();
    place.write("x.pcap", Shape::PCAP.file(ETHERNET, &story()));
    let expected = "\
capture   `x.pcap`, pcap, 2026-01-02T03:04:05.000001Z to 2026-01-02T03:04:05.000007Z
policy    `policy.toml`, compiled for this
inside    what some policy protects; `--inside` says it better
packets   7, of which 6 judged
          1 not: ARP: passes below policy
flows     3
allowed   2 flows, 4 packets
denied    1 flow, 2 packets

denied
  1 flow, 2 packets
    ingress[2] of policy `ssh` in tier `default`: Deny TCP
      198.19.0.9 to 198.18.70.9 tcp port 22: 1 flow, 2 packets
      first packet 3: tcp 198.19.0.9:40000 to 198.18.70.9:22, outside to inside

top denied
  198.19.0.9 to 198.18.70.9 tcp port 22: 1 flow, 2 packets
";
    assert_eq!(place.trace(""), expected);
}

#[test]
fn every_packet_gets_a_line_when_asked() {
    let place = Place::new();
    place.write("x.pcap", Shape::PCAP.file(ETHERNET, &story()));
    let text = place.trace("--packets");
    let expected = "\
1 2026-01-02T03:04:05.000001Z tcp 198.18.10.5:40000 to 198.18.70.9:22: allow, ingress[0] of policy `ssh` in tier `default`: Allow TCP from zone == \"noc\" to ports 22
2 2026-01-02T03:04:05.000002Z tcp 198.18.70.9:22 to 198.18.10.5:40000: allow, its flow was opened by packet 1
3 2026-01-02T03:04:05.000003Z tcp 198.19.0.9:40000 to 198.18.70.9:22: deny, ingress[2] of policy `ssh` in tier `default`: Deny TCP
4 2026-01-02T03:04:05.000004Z tcp 198.19.0.9:40000 to 198.18.70.9:22: deny, as packet 3 that opened its flow
5 2026-01-02T03:04:05.000005Z udp 198.18.70.9:5353 to 198.19.0.53:53: allow, egress[0] of policy `ssh` in tier `default`: Allow UDP to ports 53
6 2026-01-02T03:04:05.000006Z udp 198.19.0.53:53 to 198.18.70.9:5353: allow, its flow was opened by packet 5
7 2026-01-02T03:04:05.000007Z not judged: ARP: passes below policy
";
    assert!(text.starts_with(expected), "{text}");
    let lines = place.trace("--packets -o json");
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 8, "seven packets and the summary");
    assert_eq!(lines[1]["openedBy"], 1);
    assert_eq!(lines[2]["outcome"]["decided"]["policy"], "ssh");
    assert_eq!(lines[6]["notJudged"], "arp");
    assert_eq!(
        lines[7]["denied"],
        json!({ "flows": 1, "packets": 2, "packetsOfNoFlow": 0, "bytes": 108 })
    );
}

#[test]
fn what_would_change_is_told_with_both_rules() {
    let place = Place::new();
    place.write("x.pcap", Shape::PCAP.file(ETHERNET, &story()));
    place.write("new.toml", POLICY.replace("198.18.10.0/24", "198.19.0.0/24"));
    let text = place.trace("--against new.toml");
    let expected = "
would be denied with `new.toml`
  1 flow, 2 packets
    is:       ingress[0] of policy `ssh` in tier `default`: Allow TCP from zone == \"noc\" to ports 22
    would be: ingress[2] of policy `ssh` in tier `default`: Deny TCP
      198.18.10.5 to 198.18.70.9 tcp port 22: 1 flow, 2 packets
      first packet 1: tcp 198.18.10.5:40000 to 198.18.70.9:22, outside to inside

would be allowed with `new.toml`
  1 flow, 2 packets
    is:       ingress[2] of policy `ssh` in tier `default`: Deny TCP
    would be: ingress[0] of policy `ssh` in tier `default`: Allow TCP from zone == \"noc\" to ports 22
      198.19.0.9 to 198.18.70.9 tcp port 22: 1 flow, 2 packets
      first packet 3: tcp 198.19.0.9:40000 to 198.18.70.9:22, outside to inside
";
    assert!(text.ends_with(expected), "{text}");
    let answer = place.json("--against new.toml");
    assert_eq!(answer["changed"]["packets"], 4);
    assert_eq!(answer["outcomes"][0]["against"]["verdict"], "deny");
    let same = place.trace("--against policy.toml");
    assert!(same.ends_with("\nnothing of this would change with `policy.toml`\n"), "{same}");
}

#[test]
fn what_staged_policies_would_change_is_told() {
    let place = Place::new();
    place.write("x.pcap", Shape::PCAP.file(ETHERNET, &story()));
    assert!(!place.trace("").contains("staged"), "nothing is staged");
    let staged = r#"
[[stagedGlobalNetworkPolicies]]
name = "ssh"
selector = "role == 'server'"
types = ["Ingress", "Egress"]
ingress = [{ action = "Allow", protocol = "TCP" }]
"#;
    place.write("policy.toml", POLICY.to_owned() + staged);
    let text = place.trace("");
    let expected = "
would be denied if what is staged were applied
  1 flow, 2 packets
    is:       egress[0] of policy `ssh` in tier `default`: Allow UDP to ports 53
    would be: egress, no rule of tier `default` decides, and its policies deny what they do not allow
      198.18.70.9 to 198.19.0.53 udp port 53: 1 flow, 2 packets
      first packet 5: udp 198.18.70.9:5353 to 198.19.0.53:53, inside to outside

would be allowed if what is staged were applied
  1 flow, 2 packets
    is:       ingress[2] of policy `ssh` in tier `default`: Deny TCP
    would be: ingress[0] of policy `ssh` in tier `default`: Allow TCP
      198.19.0.9 to 198.18.70.9 tcp port 22: 1 flow, 2 packets
      first packet 3: tcp 198.19.0.9:40000 to 198.18.70.9:22, outside to inside
";
    assert!(text.ends_with(expected), "{text}");
    assert_eq!(place.json("")["pendingDiffers"]["packets"], 4);
    let lines = place.trace("--packets");
    let staged = "; staged: allow, ingress[0] of policy `ssh` in tier `default`: Allow TCP\n";
    assert!(lines.lines().nth(2).unwrap().ends_with(staged.trim_end()), "{lines}");
}

#[test]
fn every_format_tells_the_same() {
    let place = Place::new();
    let ask = |shape: Shape, frames: &[Vec<u8>]| {
        place.write("x.pcap", shape.file(ETHERNET, frames));
        let mut answer = place.json("");
        let format = answer.as_object_mut().unwrap().remove("format").unwrap();
        assert_eq!(format, if shape.pcapng { "pcapng" } else { "pcap" });
        answer
    };
    let expected = ask(Shape::PCAP, &story());
    assert_eq!(expected["firstTime"], "2026-01-02T03:04:05.000001Z");
    assert_eq!(expected["judged"]["packets"], 6);
    for shape in Shape::all() {
        assert_eq!(ask(shape, &story()), expected, "{shape:?}");
    }
}

#[test]
fn simple_packet_blocks_have_no_time_and_are_judged() {
    let place = Place::new();
    for big_endian in [false, true] {
        let shape = Shape { pcapng: true, big_endian, ..Shape::PCAP };
        let frame = ethernet(&tcp(STRANGER, SSH, SYN), &[]);
        let length = shape.u32(u32::try_from(frame.len()).unwrap());
        let block = shape.block(3, &[length, frame, vec![0; 2]].concat());
        place.write("x.pcap", [shape.head(ETHERNET), block].concat());
        let answer = place.json("");
        assert_eq!(answer["denied"]["flows"], 1);
        assert_eq!(answer["firstTime"], Value::Null);
    }
}

#[test]
fn every_link_tells_the_same() {
    let place = Place::new();
    let ask = |link, frame: &dyn Fn(&[u8]) -> Vec<u8>| {
        let packets = [
            tcp(NOC, SSH, SYN),
            tcp("[2001:2:0:10::5]:1", "[2001:2:0:70::9]:22", SYN),
            echo("2001:2::1", "2001:2:0:70::9", 128, 1),
        ];
        let frames: Vec<Vec<u8>> = packets.iter().map(|packet| frame(packet)).collect();
        place.write("x.pcap", Shape::PCAP.file(link, &frames));
        let answer = place.json("");
        ["allowed", "denied"].map(|what| answer[what]["flows"].as_u64().unwrap())
    };
    assert_eq!(ask(ETHERNET, &|packet| ethernet(packet, &[])), [2, 1]);
    assert_eq!(ask(ETHERNET, &|packet| ethernet(packet, &[(0x8100, 20)])), [2, 1]);
    let stacked = [(0x88A8, 20), (0x8100, 30)];
    assert_eq!(ask(ETHERNET, &|packet| ethernet(packet, &stacked)), [2, 1]);
    assert_eq!(ask(RAW, &<[u8]>::to_vec), [2, 1]);
    assert_eq!(ask(SLL, &sll), [2, 1]);
    assert_eq!(ask(SLL2, &sll2), [2, 1]);
}

#[test]
fn a_reply_passes_by_state_and_an_unasked_one_does_not() {
    let place = Place::new();
    let (outside, inside) = ("198.19.0.9", "198.18.70.9");
    let ask = |packets: &[Vec<u8>]| {
        place.write("x.pcap", Shape::PCAP.file(RAW, packets));
        let answer = place.json("");
        ["allowed", "denied"].map(|what| answer[what]["packets"].as_u64().unwrap())
    };
    let (request, reply) = (echo(outside, inside, 8, 5), echo(inside, outside, 0, 5));
    assert_eq!(ask(&[request.clone(), reply.clone()]), [2, 0]);
    assert_eq!(
        ask(&[request, echo(inside, outside, 0, 6)]),
        [2, 0],
        "its request was not recorded"
    );
    assert_eq!(ask(&[echo(inside, outside, 8, 5), echo(outside, inside, 0, 5)]), [0, 2]);
    assert_eq!(ask(&[udp("198.18.70.9:53", "198.19.0.9:7", 0)]), [0, 1]);
    assert_eq!(ask(&[tcp(SSH, NOC, SYN_ACK)]), [1, 0], "the answer tells who opened");
    assert_eq!(ask(&[tcp(SSH, NOC, SYN)]), [0, 1]);
}

#[test]
fn what_a_do_not_track_policy_denies_is_denied_to_known_flows_too() {
    let place = Place::new();
    place.write("ravelin.toml", SETTINGS).write("policy.toml", POLICY.to_owned() + BLOCKLIST);
    let ask = |client: &str| {
        let packets = [udp("198.18.70.9:7", client, 0), udp(client, "198.18.70.9:7", 0)];
        place.write("x.pcap", Shape::PCAP.file(RAW, &packets));
        let answer = place.json("--config ravelin.toml");
        ["allowed", "denied"].map(|what| answer[what]["packets"].as_u64().unwrap())
    };
    assert_eq!(ask("198.19.0.9:53"), [2, 0], "the answer passes by state");
    assert_eq!(ask("198.19.66.9:53"), [1, 1], "but not a flooder's");
}

const SETTINGS: &str = r#"
gateway = { name = "gw" }
ports = [{ interface = "left", side = "outside" }, { interface = "right", side = "inside" }]
"#;

const BLOCKLIST: &str = r#"
[[hostEndpoints]]
name = "gw-left"
node = "gw"
interfaceName = "left"
labels = { port = "left" }

[[globalNetworkPolicies]]
name = "flooders"
selector = "port == 'left'"
doNotTrack = true
applyOnForward = true
types = ["Ingress"]
ingress = [{ action = "Deny", source = { nets = ["198.19.66.0/24"] } }]
"#;

#[test]
fn a_connection_recorded_from_its_middle_is_judged_and_said_to_be_a_guess() {
    let place = Place::new();
    let packets = [tcp(SSH, NOC, ACK), tcp(NOC, SSH, ACK)];
    place.write("x.pcap", Shape::PCAP.file(RAW, &packets));
    let text = place.trace("");
    assert!(text.contains("allowed   1 flow, 2 packets\n"), "{text}");
    let note = "\n1 of the flows were recorded from their middle: the end with the lower port was taken for the server\n";
    assert!(text.ends_with(note), "{text}");
}

#[test]
fn what_is_not_judged_is_counted_by_reason() {
    let place = Place::new();
    let packet = tcp(STRANGER, SSH, SYN);
    let with = |at: usize, byte: u8| {
        let mut packet = packet.clone();
        packet[at] = byte;
        ethernet(&packet, &[])
    };
    let from_link = |hop_limit| {
        let message = [&[135, 0, 0, 0][..], &[0; 20]].concat();
        let mut packet =
            ip("2001:2::1".parse().unwrap(), "2001:2::2".parse().unwrap(), 58, &message);
        packet[7] = hop_limit;
        ethernet(&packet, &[])
    };
    let mut routed =
        ip("2001:2::1".parse().unwrap(), "2001:2:0:70::9".parse().unwrap(), 43, &[6, 2, 0, 1]);
    routed.extend([0; 20]);
    routed[5] = 24;
    let frames = [
        ("fragment", with(6, 0x20)),
        ("source-route", ethernet(&routed, &[])),
        ("malformed", with(3, 200)),
        ("malformed", with(32, 0x10)),
        ("vlan-tags", ethernet(&packet, &[(0x88A8, 1), (0x8100, 2), (0x8100, 3)])),
        ("non-ip", [&[2; 12][..], &[0x88, 0xCC, 1, 2]].concat()),
        ("neighbour-discovery", from_link(255)),
        ("false-neighbour-discovery", from_link(64)),
    ];
    for (reason, frame) in &frames {
        place.write("x.pcap", Shape::PCAP.file(ETHERNET, std::slice::from_ref(frame)));
        let counted = json!([{ "reason": reason, "linkType": null, "packets": 1 }]);
        assert_eq!(place.json("")["notJudged"], counted);
    }
    let cut = ethernet(&packet, &[]);
    let record = Shape::PCAP.record(BEGIN_NS, &cut[..40], cut.len());
    place.write("x.pcap", [Shape::PCAP.head(ETHERNET), record].concat());
    assert_eq!(place.json("")["notJudged"][0]["reason"], "cut-short");
    place.write("x.pcap", Shape::PCAP.file(105, &[cut]));
    let text = place.trace("");
    let said = "packets   1, of which 0 judged\n          1 not: recorded on a link of type 105, which is not read here\n";
    assert!(text.contains(said), "{text}");
}

#[test]
fn headers_are_enough() {
    let place = Place::new();
    let frame = ethernet(&udp(STRANGER, SSH, 1000), &[]);
    let record = Shape::PCAP.record(BEGIN_NS, &frame[..42], frame.len());
    place.write("x.pcap", [Shape::PCAP.head(ETHERNET), record].concat());
    let answer = place.json("");
    assert_eq!(
        answer["denied"],
        json!({ "flows": 1, "packets": 1, "packetsOfNoFlow": 0, "bytes": 1042 })
    );
}

#[test]
fn which_end_is_inside_can_be_told() {
    let place = Place::new();
    let packets = [tcp(NOC, SSH, SYN), tcp(NOC, STRANGER, SYN)];
    place.write("x.pcap", Shape::PCAP.file(RAW, &packets));
    let stayed = |arguments: &str| {
        let answer = place.json(arguments);
        (answer["judged"]["packets"].clone(), answer["stayed"].clone())
    };
    assert_eq!(stayed(""), (json!(1), json!({ "outside": 1, "inside": 0 })));
    assert_eq!(
        stayed("--inside 198.18.70.0/24,198.18.10.5"),
        (json!(1), json!({ "outside": 0, "inside": 1 }))
    );
    assert_eq!(stayed("--in inside"), (json!(2), json!({ "outside": 0, "inside": 0 })));
    let first = place.json("--in inside")["outcomes"][0]["first"].clone();
    assert_eq!((&first["from"], &first["to"]), (&json!("inside"), &json!("outside")));
}

#[test]
fn between_two_protected_ends_both_directions_are_asked() {
    let place = Place::new();
    place.write("x.pcap", Shape::PCAP.file(RAW, &[tcp("198.18.70.1:1", SSH, SYN)]));
    let text = place.trace("");
    let first = "first packet 1: tcp 198.18.70.1:1 to 198.18.70.9:22, inside to inside\n";
    assert!(text.contains(first), "{text}");
    assert!(text.contains("egress, no rule of tier `default` decides"), "{text}");
}

#[test]
fn a_full_flow_table_is_said() {
    let place = Place::new();
    let packets =
        [tcp(NOC, SSH, SYN), tcp("198.18.10.6:1", SSH, SYN), tcp(SSH, "198.18.10.6:1", ACK)];
    place.write("x.pcap", Shape::PCAP.file(RAW, &packets));
    let text = place.trace("--flows-max 1");
    let note = "\nthe limit of 1 flows was reached: 2 packets were judged by themselves, replies among them; raise `--flows-max`\n";
    assert!(text.ends_with(note), "{text}");
    assert!(text.contains("flows     1\n"), "{text}");
    assert_eq!(place.json("--flows-max 1")["limits"]["packetsWithoutRoom"], 2);
    assert_eq!(place.json("--flows-max 2")["limits"]["packetsWithoutRoom"], 0);
}

#[test]
fn a_capture_that_tcpdump_wrote_is_read() {
    let place = Place::new();
    place.write("ours.pcap", Shape::PCAP.file(ETHERNET, &story()));
    let mut tcpdump = Command::new("tcpdump");
    tcpdump.args(["-Z", "root", "-r", "ours.pcap", "-w", "x.pcap", "not arp"]);
    match tcpdump.current_dir(place.path()).output() {
        Ok(output) if output.status.success() => {
            let answer = place.json("");
            assert_eq!(answer["packets"], 6);
            assert_eq!(answer["denied"]["packets"], 2);
        }
        other => eprintln!("skipped: no tcpdump that writes a capture here: {other:?}"),
    }
}
