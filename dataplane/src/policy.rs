//! The policy in force: published by one thread, read by workers once a batch, without a lock and without freeing.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use classifier::image::Image;
use classifier::packet::{Place, Side};

use crate::device::Port;

/// An image and the number of its publication.
///
/// Publications are counted here, from 1, whatever generations the images carry: an image of an older or an equal
/// generation that is put in force later still has every flow judged again.
#[derive(Debug)]
pub struct Published {
    /// Counts publications since the process started.
    pub epoch: u64,
    /// What decides.
    pub image: Arc<Image>,
    /// What the image calls our ports, looked up once and not for each packet.
    ports: [Option<u16>; 2],
    /// Whether some policy is staged.
    has_pending: bool,
    /// For each of our ports whether a `doNotTrack` policy is asked of what enters by it.
    asks_untracked: [bool; 2],
}

impl Published {
    fn new(epoch: u64, image: Arc<Image>, names: &[String; 2]) -> Self {
        let view = image.view();
        let ports = names.each_ref().map(|name| view.port_number(name));
        let has_pending = view.has_pending();
        // Which side a port faces plays no part.
        let place = |number| Place::Port { side: Side::Outside, number };
        let asks_untracked = ports.map(|number| view.asks_untracked(place(number)));
        Self { epoch, image, ports, has_pending, asks_untracked }
    }

    /// One of our ports, as the image knows it.
    #[must_use]
    pub fn place(&self, port: Port, side: Side) -> Place {
        let [a, b] = self.ports;
        Place::Port { side, number: if port == Port::A { a } else { b } }
    }

    /// Whether some policy is staged, so that a pending evaluation may say something else.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        self.has_pending
    }

    /// Whether a `doNotTrack` policy is asked of what enters by the port.
    #[must_use]
    pub fn asks_untracked(&self, port: Port) -> bool {
        let [a, b] = self.asks_untracked;
        if port == Port::A { a } else { b }
    }
}

/// Holds the policy in force, and what was replaced until no worker looks at it any more.
#[derive(Debug, Default)]
pub struct PolicySlot {
    /// The interfaces of our ports.
    names: [String; 2],
    current: Arc<ArcSwapOption<Published>>,
    publisher: Mutex<Publisher>,
}

/// What only publishers touch.
#[derive(Debug, Default)]
struct Publisher {
    epoch: u64,
    retired: Vec<Arc<Published>>,
}

impl PolicySlot {
    /// No policy: everything is dropped. The ports have no names that a policy could know.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, for ports of these interfaces, in the order of the settings.
    #[must_use]
    pub fn of_ports(names: [String; 2]) -> Self {
        Self { names, ..Self::default() }
    }

    /// Puts `image` in force: for each worker from its next batch on. Never called on a worker.
    pub fn publish(&self, image: Arc<Image>) {
        let mut publisher = self.publisher.lock().unwrap_or_else(PoisonError::into_inner);
        publisher.epoch += 1;
        let published = Arc::new(Published::new(publisher.epoch, image, &self.names));
        publisher.retired.extend(self.current.swap(Some(published)));
        publisher.reclaim();
    }

    /// Frees replaced images that no worker holds, on the calling thread; returns how many are still held.
    pub fn reclaim(&self) -> usize {
        let mut publisher = self.publisher.lock().unwrap_or_else(PoisonError::into_inner);
        publisher.reclaim();
        publisher.retired.len()
    }

    /// The image in force.
    #[must_use]
    pub fn image(&self) -> Option<Arc<Image>> {
        self.current.load().as_ref().map(|published| Arc::clone(&published.image))
    }

    /// A reader for one worker.
    #[must_use]
    pub fn reader(&self) -> PolicyReader {
        PolicyReader { source: Arc::clone(&self.current), snapshot: None }
    }
}

impl Publisher {
    /// What only we hold can get no new holder: it left the slot. So the last holder is always a publisher, and a worker
    /// that moves on to a newer image never frees the older one.
    fn reclaim(&mut self) {
        self.retired.retain(|published| Arc::strong_count(published) > 1);
    }
}

/// One worker's view of the policy in force: the same from one refresh to the next.
#[derive(Debug)]
pub struct PolicyReader {
    source: Arc<ArcSwapOption<Published>>,
    snapshot: Option<Arc<Published>>,
}

impl PolicyReader {
    /// Takes what is in force now. Called once a batch, and on idle polls too, so that a replaced image can be freed.
    pub fn refresh(&mut self) {
        let latest = self.source.load();
        let same = match (&*latest, &self.snapshot) {
            (Some(latest), Some(snapshot)) => Arc::ptr_eq(latest, snapshot),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !same {
            self.snapshot.clone_from(&latest);
        }
    }

    /// What was in force at the last refresh.
    #[must_use]
    pub fn snapshot(&self) -> Option<&Published> {
        self.snapshot.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use classifier::compile::{Limits, compile};
    use classifier::resource::PolicySet;

    use super::*;

    fn image(generation: u64) -> Arc<Image> {
        Arc::new(compile(&PolicySet::new(), generation, &Limits::default()).unwrap())
    }

    #[test]
    fn worker_sees_what_was_published_last() {
        let slot = PolicySlot::new();
        let mut reader = slot.reader();
        reader.refresh();
        assert!(reader.snapshot().is_none());
        assert!(slot.image().is_none());
        for (epoch, generation) in [(1, 7), (2, 8), (3, 8), (4, 1)] {
            let before = reader.snapshot().map(|published| published.epoch);
            slot.publish(image(generation));
            assert_eq!(reader.snapshot().map(|published| published.epoch), before);
            reader.refresh();
            let published = reader.snapshot().unwrap();
            assert_eq!((published.epoch, published.image.generation()), (epoch, generation));
        }
    }

    #[test]
    fn replaced_image_is_freed_by_the_publisher_once_no_worker_holds_it() {
        let slot = PolicySlot::new();
        let mut reader = slot.reader();
        let first = image(1);
        let held = Arc::downgrade(&first);
        slot.publish(first);
        reader.refresh();
        slot.publish(image(2));
        assert_eq!(slot.reclaim(), 1, "the worker still has it");
        reader.refresh();
        assert_eq!(reader.snapshot().unwrap().image.generation(), 2);
        assert!(held.upgrade().is_some(), "the worker did not free it");
        assert_eq!(slot.reclaim(), 0);
        assert!(held.upgrade().is_none(), "the publisher did");
    }

    #[test]
    fn image_without_a_reader_is_freed_at_the_next_publication() {
        let slot = PolicySlot::new();
        let first = image(1);
        let held = Arc::downgrade(&first);
        slot.publish(first);
        slot.publish(image(2));
        assert!(held.upgrade().is_none());
    }
}
