//! What a peer of the data plane's socket can and cannot do, over the real socket.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "test helpers")]

mod changes;
mod gateway;

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::time::{SystemTime, UNIX_EPOCH};

use classifier::handover::{Reply, Request};
use classifier::image::FORMAT_VERSION;
use dataplane::handover::Peers;
use rustix::fs::SealFlags;

use crate::gateway::{
    Gateway, IMAGE_BYTES_MAX, connected, contents, image, memfd, publish_as, sealed,
    version_position,
};

#[test]
fn a_sealed_image_comes_into_force_and_can_be_read_back() {
    let gateway = Gateway::start(Peers::default());
    let image = image(1);
    let (reply, text, _) = gateway.publish(&sealed(image.bytes()));
    assert_eq!((reply, text.as_str()), (Reply::Done, "generation 1 is in force"));
    assert_eq!(gateway.published(), [1]);
    let (reply, text, memfds) = gateway.ask(&[Request::Image as u8], &[]);
    assert_eq!((reply, text.as_str()), (Reply::Done, "generation 1"));
    assert_eq!(contents(memfds), [image.bytes()]);
}

#[test]
fn what_is_not_a_whole_sealed_image_is_refused_and_changes_nothing() {
    let gateway = Gateway::start(Peers::default());
    gateway.publish(&sealed(image(1).bytes()));
    let good = image(2);
    let flipped = |at: usize| {
        let mut bytes = good.bytes().to_vec();
        bytes[at] ^= 1;
        bytes
    };
    let half = &good.bytes()[..good.bytes().len() / 2];
    let refusals = [
        (
            sealed(&flipped(good.bytes().len() - 1)),
            "the policy image is damaged: its checksum does not fit".to_owned(),
        ),
        (
            sealed(half),
            format!(
                "the policy image has {} bytes where it should have {}",
                half.len(),
                good.bytes().len()
            ),
        ),
        (sealed(b"#!/bin/sh"), "these 9 bytes are not a policy image".to_owned()),
        (sealed(b""), "the memfd is empty".to_owned()),
        (
            sealed(&vec![0; IMAGE_BYTES_MAX + 1]),
            "the image has 1048577 bytes; at most 1048576 are taken".to_owned(),
        ),
        (
            memfd(good.bytes(), SealFlags::empty()),
            "the memfd is not sealed: `shrink` is missing of shrink, grow, write, seal".to_owned(),
        ),
        (
            memfd(good.bytes(), SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL),
            "the memfd is not sealed: `write` is missing of shrink, grow, write, seal".to_owned(),
        ),
        (
            memfd(good.bytes(), SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE),
            "the memfd is not sealed: `seal` is missing of shrink, grow, write, seal".to_owned(),
        ),
        (File::open("/dev/zero").unwrap().into(), "the file descriptor is not a memfd".to_owned()),
        (
            sealed(image(1).bytes()),
            "generation 1 is not above generation 1, which is in force".to_owned(),
        ),
    ];
    let count = refusals.len();
    for (memfd, expected) in refusals {
        let (reply, text, _) = gateway.publish(&memfd);
        assert_eq!((reply, text), (Reply::Refused, expected));
    }
    assert_eq!(gateway.published(), [1]);
    assert_eq!(gateway.status_of("policy.generation"), "1");
    assert_eq!(gateway.status_of("policy.refused"), count.to_string());
    let last = "generation 1 is not above generation 1, which is in force";
    assert_eq!(gateway.status_of("policy.last-refusal"), last);
}

#[test]
fn an_image_of_another_format_version_is_refused() {
    let gateway = Gateway::start(Peers::default());
    let mut bytes = image(1).bytes().to_vec();
    let at = version_position(&bytes);
    bytes[at] = 99;
    let (reply, text, _) = gateway.publish(&sealed(&bytes));
    assert_eq!(reply, Reply::Refused);
    assert!(
        text.starts_with("the policy image has format version 99, this program reads"),
        "{text}"
    );
    assert_eq!(gateway.published(), []);
}

#[test]
fn a_request_that_is_none_is_refused() {
    let gateway = Gateway::start(Peers::default());
    let expected = "a request is one byte: publish 1, status 2, image 3, change 4; \
                    or more: flows 5, kill 6";
    for request in [&[0][..], &[200], &[1, 1], &[1; 5000], &vec![2; 70_000]] {
        let (reply, text, _) = gateway.ask(request, &[]);
        assert_eq!((reply, text.as_str()), (Reply::Refused, expected));
    }
    let image = sealed(image(1).bytes());
    for (came, descriptors) in
        [("none", vec![]), ("more", vec![image.as_fd(); 3]), ("more", vec![image.as_fd(); 9])]
    {
        let (reply, text, _) = gateway.ask(&[Request::Publish as u8], &descriptors);
        let expected = format!("publish takes one or two file descriptors, {came} came");
        assert_eq!((reply, text), (Reply::Refused, expected));
    }
    let (reply, text, _) = gateway.ask(&[Request::Image as u8], &[]);
    assert_eq!((reply, text.as_str()), (Reply::Refused, "no policy is in force"));
    assert_eq!(gateway.published(), []);
}

#[test]
fn only_root_and_the_user_of_the_settings_are_heard() {
    let gateway = Gateway::start(Peers { uid: Some(60_001) });
    fs::set_permissions(gateway.socket(), fs::Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(gateway.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let image = sealed(image(1).bytes());
    let (reply, text) = publish_as(60_002, &gateway.socket(), image.try_clone().unwrap());
    assert_eq!(
        (reply, text.as_str()),
        (Reply::Refused, "user 60002 may not talk to the data plane")
    );
    assert_eq!(gateway.published(), []);
    let (reply, _) = publish_as(60_001, &gateway.socket(), image);
    assert_eq!(reply, Reply::Done);
    assert_eq!(gateway.published(), [1]);
}

#[test]
fn a_peer_that_says_nothing_does_not_keep_others_out() {
    let gateway = Gateway::start(Peers::default());
    let silent = connected(&gateway.socket());
    let (reply, ..) = gateway.ask(&[Request::Status as u8], &[]);
    assert_eq!(reply, Reply::Done);
    drop(silent);
}

#[test]
fn the_last_good_image_is_in_force_after_a_restart() {
    let gateway = Gateway::start(Peers::default());
    gateway.publish(&sealed(image(7).bytes()));
    let directory = gateway.stop();
    let gateway = Gateway::start_in(directory, Peers::default());
    assert_eq!(gateway.started, Ok(Some(7)));
    assert_eq!(gateway.published(), [7]);
    let (_, _, memfds) = gateway.ask(&[Request::Image as u8], &[]);
    assert_eq!(contents(memfds), [image(7).bytes()]);
}

#[test]
fn a_last_good_image_that_is_torn_leaves_the_gateway_closed() {
    let gateway = Gateway::start(Peers::default());
    gateway.publish(&sealed(image(7).bytes()));
    let mut directory = gateway.stop();
    let path = directory.path().join("last-good.image");
    let good = fs::read(&path).unwrap();
    let prefix = format!("the last good image `{}` is refused: ", path.display());
    let mut flipped = good.clone();
    flipped[good.len() - 1] ^= 0x80;
    let mut version = good.clone();
    version[version_position(&good)] = 99;
    for (bytes, expected) in [
        (&flipped[..], "the policy image is damaged: its checksum does not fit".to_owned()),
        (
            &good[..good.len() - 8],
            format!(
                "the policy image has {} bytes where it should have {}",
                good.len() - 8,
                good.len()
            ),
        ),
        (
            &version,
            format!(
                "the policy image has format version 99, this program reads version {FORMAT_VERSION}; compile the policy again with the matching version"
            ),
        ),
        (b"", "these 0 bytes are not a policy image".to_owned()),
    ] {
        fs::write(&path, bytes).unwrap();
        let gateway = Gateway::start_in(directory, Peers::default());
        assert_eq!(gateway.started, Err(format!("{prefix}{expected}")));
        assert_eq!(gateway.published(), []);
        assert_eq!(gateway.status_of("policy.generation"), "none");
        directory = gateway.stop();
    }
    let gateway = Gateway::start_in(directory, Peers::default());
    gateway.publish(&sealed(image(8).bytes()));
    assert_eq!(gateway.published(), [8]);
}

#[test]
fn a_half_written_new_image_is_never_loaded() {
    let gateway = Gateway::start(Peers::default());
    gateway.publish(&sealed(image(3).bytes()));
    let directory = gateway.stop();
    fs::write(directory.path().join("last-good.image.new"), b"torn").unwrap();
    let gateway = Gateway::start_in(directory, Peers::default());
    assert_eq!(gateway.started, Ok(Some(3)));
}

#[test]
fn a_policy_that_the_disk_refuses_is_in_force_all_the_same() {
    let gateway = Gateway::start(Peers::default());
    fs::create_dir(gateway.directory.path().join("last-good.image.new")).unwrap();
    let (reply, text, _) = gateway.publish(&sealed(image(1).bytes()));
    assert_eq!((reply, text.as_str()), (Reply::Done, "generation 1 is in force"));
    assert_eq!(gateway.published(), [1]);
    let why = gateway.wait_for_status("policy.not-kept", Option::is_some);
    assert!(why.unwrap().starts_with("Is a directory"));
    fs::remove_dir(gateway.directory.path().join("last-good.image.new")).unwrap();
    gateway.wait_for_status("policy.not-kept", Option::is_none);
    let gateway = Gateway::start_in(gateway.stop(), Peers::default());
    assert_eq!(gateway.started, Ok(Some(1)));
}

#[test]
fn the_age_of_the_policy_can_be_told() {
    let gateway = Gateway::start(Peers::default());
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    gateway.publish(&sealed(image(1).bytes()));
    let since: u64 = gateway.status_of("policy.since").parse().unwrap();
    assert!(since >= before && since <= before + 60, "{since}");
}
