//! Real captures through the parser, beside tshark: what both say of addresses, ports, VLANs, fragments and checksums.
//!
//! No test, because it needs captures that are not ours to keep: `tests/captures/fetch DIRECTORY` gets those that tcpdump and
//! Wireshark test themselves with, as Debian ships their sources, and this program reads them all:
//!
//! ```text
//! cargo run --release --example captures -- DIRECTORY
//! ```
//!
//! It ends with an error when a packet is read otherwise than tshark reads it, and prints what the parser refuses.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;

use classifier::packet::Transport;
use control::capture::{self, Link};
use dataplane::checks::Checks;
use dataplane::device::Port;
use dataplane::disposition::{DropReason, Reasons};
use dataplane::parse::{Packet, Parsed, parse};
use dataplane::sanity::{Sanity, SpecialPurpose};

/// What tshark is asked of each packet. Of a field that comes several times, it says the first: the outermost.
const FIELDS: [&str; 25] = [
    "frame.number",
    "eth.type",
    "vlan.id",
    "ip.src",
    "ip.dst",
    "ip.proto",
    "ip.flags.mf",
    "ip.frag_offset",
    "ip.checksum.status",
    "ipv6.src",
    "ipv6.dst",
    "ipv6.fraghdr.offset",
    "ipv6.fraghdr.more",
    "tcp.srcport",
    "tcp.dstport",
    "udp.srcport",
    "udp.dstport",
    "icmp.type",
    "icmpv6.type",
    "tcp.checksum.status",
    "udp.checksum.status",
    "icmp.checksum.status",
    "icmpv6.checksum.status",
    "_ws.malformed",
    "_ws.expert",
];

/// One packet, as tshark says.
type Row = BTreeMap<&'static str, String>;

#[derive(Default)]
struct Tally {
    files: usize,
    frames: usize,
    agreed: usize,
    skipped: usize,
    /// By reason, and whether tshark warns of something.
    refused: BTreeMap<(&'static str, bool), usize>,
    disagreed: Vec<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).ok_or("expected a directory of captures")?;
    let mut tally = Tally::default();
    let sanity = headers_only();
    let mut files = captures(Path::new(&directory))?;
    files.sort();
    for file in files {
        compare(&file, &sanity, &mut tally);
    }
    let Tally { files, frames, agreed, skipped, refused, disagreed } = tally;
    println!("{files} captures, {frames} whole Ethernet frames, {skipped} others");
    println!("{agreed} read as tshark reads them; refused: {refused:?}");
    for line in &disagreed {
        println!("{line}");
    }
    if files == 0 || !disagreed.is_empty() {
        return Err(format!("{} disagreements in {files} captures", disagreed.len()).into());
    }
    Ok(())
}

/// Every check counted only that can be, so that as much as possible is read.
fn headers_only() -> Sanity {
    let waivable = DropReason::ALL.into_iter().filter(|reason| reason.can_be_counted_only());
    let counted_only = waivable.fold(Reasons::default(), Reasons::with);
    let checks = Checks { counted_only, ..Checks::default() };
    Sanity::new(checks, &SpecialPurpose::default(), &Default::default())
}

fn captures(directory: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(captures(&path)?);
        } else if path.extension().is_some_and(|it| it == "pcap" || it == "pcapng" || it == "cap") {
            found.push(path);
        }
    }
    Ok(found)
}

fn compare(file: &Path, sanity: &Sanity, tally: &mut Tally) {
    let Ok(bytes) = fs::read(file) else { return };
    let mut frames = Vec::new();
    let visit = &mut |recorded: &capture::Recorded<'_>| {
        let is_whole = recorded.link == Link::Ethernet && recorded.bytes.len() >= recorded.length;
        frames.push((recorded.number, is_whole.then(|| recorded.bytes.to_vec())));
        ControlFlow::Continue(())
    };
    // What can be read before a capture breaks off is read.
    let _ = capture::read(&bytes[..], &mut |_| (), visit);
    if !frames.iter().any(|(_, frame)| frame.is_some()) {
        tally.skipped += frames.len();
        return;
    }
    tally.files += 1;
    let rows = ask_tshark(file);
    for (number, frame) in frames {
        let (Some(frame), Some(row)) = (frame, rows.get(&number)) else {
            tally.skipped += 1;
            continue;
        };
        tally.frames += 1;
        let parsed = parse(&frame, sanity, Port::A);
        match judge(&parsed, row) {
            Ok(()) => {
                tally.agreed += 1;
                if let Err(reason) = parsed {
                    let warned =
                        row.contains_key("_ws.malformed") || row.contains_key("_ws.expert");
                    *tally.refused.entry((reason.name(), warned)).or_default() += 1;
                    if !warned {
                        let name = file.file_name().unwrap().to_string_lossy();
                        println!("tshark finds nothing wrong: {name} {number}: {reason:?}");
                    }
                }
            }
            Err(why) => {
                let name = file.file_name().unwrap().to_string_lossy();
                tally.disagreed.push(format!("{name} {number}: {why}: {parsed:?} but {row:?}"));
            }
        }
    }
}

fn ask_tshark(file: &Path) -> BTreeMap<u64, Row> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-r"]).arg(file).args(["-T", "fields", "-E", "occurrence=f"]);
    for preference in [
        "ip.defragment:FALSE",
        "ip.check_checksum:TRUE",
        "tcp.check_checksum:TRUE",
        "udp.check_checksum:TRUE",
        "ipv6.defragment:FALSE",
        "tcp.desegment_tcp_streams:FALSE",
    ] {
        command.args(["-o", preference]);
    }
    for field in FIELDS {
        command.args(["-e", field]);
    }
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&output);
    let row = |line: &str| {
        let row: Row = FIELDS
            .into_iter()
            .zip(line.split('\t'))
            .filter(|(_, value)| !value.is_empty())
            .map(|(field, value)| (field, value.to_owned()))
            .collect();
        Some((row.get("frame.number")?.parse().ok()?, row))
    };
    text.lines().filter_map(row).collect()
}

/// Whether the parser may say so where tshark says this.
fn judge(parsed: &Result<Parsed, DropReason>, row: &Row) -> Result<(), &'static str> {
    let is = |field: &str, value: &str| row.get(field).is_none_or(|seen| seen == value);
    match parsed {
        Ok(Parsed::Ip(packet)) => agree(packet, row),
        Ok(Parsed::Fragment(piece)) => {
            let offset = piece.offset.to_string();
            let units = (piece.offset / 8).to_string();
            let [v4, v6] = ["ip.frag_offset", "ipv6.fraghdr.offset"].map(|field| row.get(field));
            let fits = |seen: Option<&String>| seen.is_some_and(|it| *it == offset || *it == units);
            if fits(v4) || fits(v6) { Ok(()) } else { Err("no such fragment") }
        }
        Ok(Parsed::Arp(_))
            if ["0x0806", "0x8100", "0x88a8", "0x9100"].iter().any(|it| is("eth.type", it)) =>
        {
            Ok(())
        }
        Ok(Parsed::NeighbourDiscovery(_)) => {
            let kinds = ["133", "134", "135", "136"];
            let fits = row.get("icmpv6.type").is_some_and(|kind| kinds.contains(&kind.as_str()));
            if fits { Ok(()) } else { Err("no neighbour discovery") }
        }
        // What is neither IP nor ARP may hold IP for tshark, which looks into tunnels.
        Ok(Parsed::NonIp) if !is("eth.type", "0x0800") && !is("eth.type", "0x86dd") => Ok(()),
        Ok(Parsed::NonIp) if !row.contains_key("eth.type") => Ok(()),
        Ok(_) => Err("another kind of frame"),
        // tshark shows what it can of anything: what it finds nothing wrong with is for a person to look at.
        Err(_) => Ok(()),
    }
}

fn agree(packet: &Packet, row: &Row) -> Result<(), &'static str> {
    let is = |field: &str, value: &dyn ToString| {
        row.get(field).is_none_or(|seen| *seen == value.to_string())
    };
    let (src, dst) =
        if packet.key.src.is_ipv4() { ("ip.src", "ip.dst") } else { ("ipv6.src", "ipv6.dst") };
    if !row.contains_key(src) || !is(src, &packet.key.src) || !is(dst, &packet.key.dst) {
        return Err("other addresses");
    }
    if let Some(vlan) = packet.vlans[0]
        && !is("vlan.id", &vlan)
    {
        return Err("another VLAN");
    }
    let (kind, checksum) = match packet.key.protocol {
        6 => (Some(("tcp.srcport", "tcp.dstport")), "tcp.checksum.status"),
        17 => (Some(("udp.srcport", "udp.dstport")), "udp.checksum.status"),
        1 if packet.key.src.is_ipv4() => (None, "icmp.checksum.status"),
        58 if packet.key.src.is_ipv6() => (None, "icmpv6.checksum.status"),
        _ => (None, "none"),
    };
    match (packet.key.transport, kind) {
        (Transport::Ports { src, dst }, Some((from, to))) if !is(from, &src) || !is(to, &dst) => {
            return Err("other ports");
        }
        (Transport::Icmp { kind, .. }, None)
            if !is("icmp.type", &kind) && !is("icmpv6.type", &kind) =>
        {
            return Err("another type");
        }
        _ => {}
    }
    // 0 is bad and 1 good; what tshark did not verify it does not say.
    let status = |field: &str| row.get(field).map(String::as_str);
    let bad = status("ip.checksum.status") == Some("0") && packet.key.src.is_ipv4()
        || status(checksum) == Some("0");
    let wrong = packet.noticed.has(DropReason::Checksum) || packet.completion.is_some();
    let is_verified = status(checksum).is_some_and(|it| it == "0" || it == "1");
    if is_verified && bad != wrong { Err("another opinion of a checksum") } else { Ok(()) }
}
