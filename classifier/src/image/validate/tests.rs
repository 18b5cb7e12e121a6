use std::net::IpAddr;

use super::super::layout::{CHECKSUM_AT, Section, checksum};
use super::super::{FORMAT_VERSION, Image, ImageBytes};
use crate::compile::{Limits, compile};
use crate::label::Labels;
use crate::packet::{Crossing, PacketKey, Side, Transport};
use crate::resource::{Action, Object, ObjectKind, Peer, Policy, PolicySet, PortRange, Rule, Tier};
use crate::selector::Selector;

fn image() -> Image {
    compile(&policy_set(), 41, &Limits::default()).unwrap()
}

fn policy_set() -> PolicySet {
    let mut set = PolicySet::new();
    let selector = |text: &str| Selector::parse(text).unwrap();
    for (name, nets) in [
        ("noc", ["198.18.10.0/24", "2001:2:0:10::/64"]),
        ("rack", ["198.18.70.0/24", "2001:2::/32"]),
    ] {
        set.objects.push(Object {
            kind: ObjectKind::GlobalNetworkSet,
            name: name.to_owned(),
            labels: Labels::from_iter([("role", name)]),
            nets: nets.iter().map(|net| net.parse().unwrap()).collect(),
            ..Object::new(ObjectKind::GlobalNetworkSet, "")
        });
    }
    let mut rule = Rule::new(Action::Allow);
    rule.protocol = Some(6);
    rule.source.selector = Some(selector("role == 'noc'"));
    rule.destination = Peer { ports: vec![PortRange { first: 22, last: 25 }], ..Peer::default() };
    set.policies.push(Policy {
        name: "ssh".to_owned(),
        tier: Tier::DEFAULT.to_owned(),
        order: None,
        selector: selector("role == 'rack'"),
        applies_ingress: true,
        applies_egress: false,
        ingress: vec![Rule::new(Action::Log), rule],
        egress: Vec::new(),
        ..Policy::new("")
    });
    set
}

/// Position of a section in the bytes of an image.
fn start_of(section: Section, bytes: &[u8]) -> usize {
    let at = 48 + section as usize * 16;
    usize::try_from(u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())).unwrap()
}

/// What validation says of `image` with these words written into it.
fn patched(image: &Image, section: Section, word: usize, values: &[u32]) -> Option<String> {
    let mut bytes = ImageBytes::from_slice(image.bytes());
    let start = start_of(section, image.bytes()) + word * 4;
    for (index, value) in values.iter().enumerate() {
        let at = start + index * 4;
        bytes.as_mut_bytes()[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    let right = checksum(bytes.as_bytes());
    bytes.as_mut_bytes()[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&right.to_le_bytes());
    Image::load(bytes).err().map(|error| error.to_string())
}

#[test]
fn an_image_that_visits_rules_twice_is_refused() {
    let mut set = policy_set();
    let mut second = set.policies[0].clone();
    second.name = "ssh-2".to_owned();
    set.policies.push(second);
    let image = compile(&set, 1, &Limits::default()).unwrap();
    assert_eq!(patched(&image, Section::Steps, 0, &[0, 1]), None, "as it is");
    let says = |section: &str, why: &str| {
        Some(format!("the policy image is inconsistent: table {section} {why}"))
    };
    let twice = says("Steps", "visits blocks out of order");
    assert_eq!(patched(&image, Section::Steps, 0, &[0, 0]), twice);
    assert_eq!(patched(&image, Section::Steps, 0, &[1, 0]), twice);
    let overlap = "has ranges that do not follow one another";
    assert_eq!(patched(&image, Section::Blocks, 6, &[0]), says("Blocks", overlap));
}

fn ask(image: &Image) {
    let addresses =
        ["0.0.0.0", "198.18.10.7", "198.18.70.7", "2001:2:0:10::7", "2001:2::7", "ffff::"];
    let addresses = addresses.map(|text| text.parse::<IpAddr>().unwrap());
    for (src, dst) in addresses.iter().flat_map(|src| addresses.iter().map(move |dst| (*src, *dst)))
    {
        let packet =
            PacketKey { src, dst, protocol: 6, transport: Transport::Ports { src: 9, dst: 22 } };
        for from in [Side::Inside, Side::Outside] {
            let _ = image.view().trace(&packet, Crossing::sides(from, Side::Inside));
        }
    }
}

#[test]
fn an_image_survives_the_way_through_bytes() {
    let image = image();
    let copy = Image::load(ImageBytes::from_slice(image.bytes())).unwrap();
    assert_eq!((copy.generation(), copy.bytes()), (41, image.bytes()));
    assert!(copy.same_policy(&image));
}

#[test]
fn any_flipped_byte_is_refused() {
    let good = image();
    for at in 0..good.bytes().len() {
        let mut bytes = ImageBytes::from_slice(good.bytes());
        bytes.as_mut_bytes()[at] ^= 0x40;
        assert!(Image::load(bytes).is_err(), "byte {at}");
    }
}

#[test]
fn any_truncation_is_refused() {
    let good = image();
    for length in 0..good.bytes().len() {
        let error = Image::load(ImageBytes::from_slice(&good.bytes()[..length])).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("not a policy image") || text.contains("bytes where it should have"),
            "{text}"
        );
    }
}

#[test]
fn another_version_is_refused_by_its_number() {
    let mut bytes = ImageBytes::from_slice(image().bytes());
    bytes.as_mut_bytes()[8] = 99;
    assert_eq!(
        Image::load(bytes).unwrap_err().to_string(),
        format!(
            "the policy image has format version 99, this program reads version {FORMAT_VERSION}; \
             compile the policy again with the matching version"
        )
    );
}

#[test]
fn a_damaged_table_under_a_right_checksum_never_panics() {
    let good = image();
    let mut random = fastrand::Rng::with_seed(7);
    let mut refused = 0;
    for _ in 0..20_000 {
        let mut bytes = ImageBytes::from_slice(good.bytes());
        let at = random.usize(12..good.bytes().len() / 4) * 4;
        let value = [0, 1, 2, 7, 64, u32::MAX, u32::MAX - 1][random.usize(..7)];
        bytes.as_mut_bytes()[at..at + 4].copy_from_slice(&value.to_le_bytes());
        let right = checksum(bytes.as_bytes());
        bytes.as_mut_bytes()[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&right.to_le_bytes());
        match Image::load(bytes) {
            Ok(image) => ask(&image),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 5_000, "validation refused only {refused}");
}
