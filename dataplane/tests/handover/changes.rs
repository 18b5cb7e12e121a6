//! Changes of the image in force: taken, refused, kept and found again.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use classifier::handover::{Reply, Request};
use classifier::image::Image;
use dataplane::handover::Peers;
use dataplane::policy::PolicySlot;
use rustix::fs::SealFlags;

use crate::gateway::{Gateway, IMAGE_BYTES_MAX, generations, memfd, sealed};

#[test]
fn a_change_comes_into_force_and_can_be_read_back() {
    let gateway = Gateway::start(Peers::default());
    let images = generations(5, 4);
    assert_eq!(gateway.publish_whole(&images[0]).0, Reply::Done);
    for image in [&images[1], &images[3]] {
        let (reply, text) = gateway.change(image.patch_bytes().unwrap());
        let expected = format!("generation {} is in force", image.generation());
        assert_eq!((reply, text), (Reply::Done, expected));
        assert_eq!(gateway.in_force(), [image.bytes(), image.patch_bytes().unwrap()]);
    }
    assert_eq!(gateway.published(), [5, 6, 8]);
    assert_eq!(gateway.status_of("policy.generation"), "8");
    assert_eq!(gateway.status_of("policy.base-generation"), "5");
    assert_eq!(gateway.status_of("policy.changes"), "2");
    let length = images[3].patch_bytes().unwrap().len();
    assert_eq!(gateway.status_of("policy.patch-bytes"), length.to_string());
}

#[test]
fn an_image_comes_into_force_together_with_its_patch() {
    let gateway = Gateway::start(Peers::default());
    let images = generations(5, 3);
    let (reply, text) = gateway.publish_whole(&images[2]);
    assert_eq!((reply, text.as_str()), (Reply::Done, "generation 7 is in force"));
    assert_eq!(gateway.published(), [7]);
    assert_eq!(gateway.in_force(), [images[2].bytes(), images[2].patch_bytes().unwrap()]);
}

#[test]
fn a_change_that_does_not_fit_is_refused_and_changes_nothing() {
    let gateway = Gateway::start(Peers::default());
    let images = generations(5, 4);
    let patch = images[3].patch_bytes().unwrap();
    let nothing = "no policy is in force that could change; publish one in full";
    assert_eq!(gateway.change(patch), (Reply::Refused, nothing.to_owned()));
    gateway.publish_whole(&images[1]);
    let (last, half) = (patch.len() - 1, patch.len() / 2);
    let mut flipped = patch.to_vec();
    flipped[last] ^= 1;
    let foreign = generations(4, 9);
    let made = |why: &str| format!("the change cannot be made: {why}");
    let room = IMAGE_BYTES_MAX - images[0].bytes().len();
    let refusals = [
        (flipped, made("the policy image is damaged: its checksum does not fit")),
        (
            patch[..half].to_vec(),
            made(&format!(
                "the policy image has {half} bytes where it should have {}",
                patch.len()
            )),
        ),
        (b"#!/bin/sh".to_vec(), made("these 9 bytes are not a policy image")),
        (
            foreign[8].patch_bytes().unwrap().to_vec(),
            made("the change belongs to another policy image"),
        ),
        (
            images[1].patch_bytes().unwrap().to_vec(),
            "generation 6 is not above generation 6, which is in force".to_owned(),
        ),
        (
            vec![0; room + 1],
            format!(
                "the change cannot be read: the image has {} bytes; at most {room} are taken",
                room + 1
            ),
        ),
        (Vec::new(), "the change cannot be read: the memfd is empty".to_owned()),
    ];
    for (patch, expected) in refusals {
        assert_eq!(gateway.change(&patch), (Reply::Refused, expected));
    }
    let (reply, text) = gateway.change(images[3].bytes());
    assert_eq!(reply, Reply::Refused, "an image is no patch");
    assert!(text.starts_with("the change cannot be made: "), "{text}");
    let open = memfd(patch, SealFlags::empty());
    let (reply, text, _) = gateway.ask(&[Request::Change as u8], &[open.as_fd()]);
    assert_eq!(reply, Reply::Refused);
    assert!(text.starts_with("the change cannot be read: the memfd is not sealed: "), "{text}");
    let good = sealed(patch);
    for (came, descriptors) in [("none", vec![]), ("more than one", vec![good.as_fd(); 2])] {
        let (reply, text, _) = gateway.ask(&[Request::Change as u8], &descriptors);
        let expected = format!("a change takes exactly one file descriptor, {came} came");
        assert_eq!((reply, text), (Reply::Refused, expected));
    }
    assert_eq!(gateway.published(), [6]);
    assert_eq!(gateway.in_force(), [images[1].bytes(), images[1].patch_bytes().unwrap()]);
    assert_eq!(gateway.change(patch).0, Reply::Done, "and it is ready for a good one");
}

#[test]
fn every_flipped_byte_of_a_change_is_refused() {
    let gateway = Gateway::start(Peers::default());
    let images = generations(5, 2);
    gateway.publish_whole(&images[0]);
    let patch = images[1].patch_bytes().unwrap();
    for at in 0..patch.len() {
        let mut bytes = patch.to_vec();
        bytes[at] ^= 1 << (at % 8);
        let (reply, text) = gateway.change(&bytes);
        assert_eq!(reply, Reply::Refused, "byte {at}: {text}");
    }
    assert_eq!(gateway.published(), [5]);
}

#[test]
fn an_image_and_a_patch_that_are_not_one_another_s_are_refused_together() {
    let gateway = Gateway::start(Peers::default());
    let (images, others) = (generations(5, 3), generations(6, 3));
    let [image, patch] = [images[2].bytes(), images[2].patch_bytes().unwrap()].map(sealed);
    let other = sealed(others[2].patch_bytes().unwrap());
    for (memfds, why) in [
        ([&patch, &image], ""),
        ([&image, &image], "the change cannot be made: "),
        ([&patch, &patch], ""),
        ([&image, &other], "the change cannot be made: the change belongs to another policy image"),
    ] {
        let memfds = memfds.map(AsFd::as_fd);
        let (reply, text, _) = gateway.ask(&[Request::Publish as u8], &memfds);
        assert_eq!(reply, Reply::Refused);
        assert!(text.starts_with(why), "{text}");
    }
    assert_eq!(gateway.published(), []);
}

#[test]
fn image_and_change_are_in_force_after_a_restart() {
    let gateway = Gateway::start(Peers::default());
    let images = generations(5, 4);
    gateway.publish_whole(&images[0]);
    for image in &images[1..] {
        gateway.change(image.patch_bytes().unwrap());
    }
    let gateway = Gateway::start_in(gateway.stop(), Peers::default());
    assert_eq!(gateway.started, Ok(Some(8)));
    assert_eq!(gateway.in_force(), [images[3].bytes(), images[3].patch_bytes().unwrap()]);
    let newer = generations(20, 2);
    gateway.publish_whole(&newer[0]);
    let gateway = Gateway::start_in(gateway.stop(), Peers::default());
    assert_eq!(gateway.started, Ok(Some(20)), "the old change is not of the new image");
    gateway.change(newer[1].patch_bytes().unwrap());
    let gateway = Gateway::start_in(gateway.stop(), Peers::default());
    assert_eq!(gateway.started, Ok(Some(21)));
    let kept = fs::read_dir(gateway.directory.path()).unwrap().map(|entry| entry.unwrap().path());
    let is_patch = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "patch");
    let patches: Vec<PathBuf> = kept.filter(is_patch).collect();
    let name = format!("last-good.{}.patch", newer[0].base_name());
    assert_eq!(patches, [gateway.directory.path().join(name)]);
}

/// What it is called, what it does in the directory, and the generation that is in force after it.
type Step<'a> = (&'a str, &'a dyn Fn(&Path), u64);

/// What is on disk when the power goes between any two steps of keeping an image and a patch in place of others.
#[test]
fn after_a_crash_the_old_pair_or_the_new_one_is_there() {
    let (old, new) = (&generations(5, 4)[3], &generations(7, 4)[2]);
    let pair_of = |image: &Image| {
        let gateway = Gateway::start(Peers::default());
        gateway.publish_whole(image);
        gateway.stop()
    };
    let (old_pair, new_pair) = (pair_of(old), pair_of(new));
    let patch_name = |image: &Image| format!("last-good.{}.patch", image.base_name());
    let steps: [Step<'_>; 5] = [
        ("nothing", &|_| {}, 8),
        ("half a file", &|at| fs::write(at.join("last-good.image.new"), "half").unwrap(), 8),
        (
            "the new patch",
            &|at| {
                let name = patch_name(new);
                fs::copy(new_pair.path().join(&name), at.join(&name)).unwrap();
            },
            8,
        ),
        (
            "the new image",
            &|at| {
                let name = "last-good.image";
                fs::copy(new_pair.path().join(name), at.join(name)).unwrap();
            },
            9,
        ),
        ("the old patch gone", &|at| fs::remove_file(at.join(patch_name(old))).unwrap(), 9),
    ];
    let mut directory = old_pair;
    for (step, take, generation) in steps {
        take(directory.path());
        let gateway = Gateway::start_in(directory, Peers::default());
        assert_eq!(gateway.started, Ok(Some(generation)), "{step}");
        let expected = if generation == 8 { old } else { new };
        assert_eq!(gateway.in_force(), [expected.bytes(), expected.patch_bytes().unwrap()]);
        directory = gateway.stop();
    }
}

#[test]
fn a_last_good_change_that_is_torn_leaves_the_gateway_closed() {
    let gateway = Gateway::start(Peers::default());
    let images = generations(5, 2);
    gateway.publish_whole(&images[1]);
    let directory = gateway.stop();
    let path = directory.path().join(format!("last-good.{}.patch", images[0].base_name()));
    let mut bytes = fs::read(&path).unwrap();
    bytes[40] ^= 1;
    fs::write(&path, bytes).unwrap();
    let gateway = Gateway::start_in(directory, Peers::default());
    let error = gateway.started.clone().unwrap_err();
    let prefix = format!("the last good image `{}` is refused: ", path.display());
    assert!(error.starts_with(&prefix), "{error}");
    assert_eq!(gateway.published(), []);
}

/// A worker that is busy with one batch holds what it took, and nothing that came into force meanwhile.
#[test]
fn changes_do_not_pile_up_behind_a_worker() {
    let slot = PolicySlot::new();
    let mut images = generations(1, 200).into_iter().map(Arc::new);
    slot.publish(images.next().unwrap());
    let (mut busy, idle) = (slot.reader(), slot.reader());
    busy.refresh();
    for image in images {
        let held = Arc::downgrade(&image);
        slot.publish(image);
        assert_eq!(slot.reclaim(), 1, "the one that the worker has");
        assert_eq!(held.strong_count(), 1);
    }
    busy.refresh();
    assert_eq!(slot.reclaim(), 0);
    assert!(idle.snapshot().is_none());
}
