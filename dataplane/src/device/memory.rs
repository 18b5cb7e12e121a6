//! A device in memory: tests and benches put frames in and take forwarded ones out.

use std::collections::VecDeque;
use std::time::Duration;

use super::{BATCH_FRAMES, Device, Frame, Port, write};

/// Two ports over one pool of preallocated frames. After `new` nothing allocates.
///
/// A frame is in one place at a time: free, waiting to be received, with the worker, or sent and waiting to be
/// drained. Whoever gives a frame back that the worker does not hold trips a debug assertion.
#[derive(Debug)]
pub struct MemoryDevice {
    storage: Vec<u8>,
    frame_bytes: usize,
    places: Vec<Place>,
    free: Vec<Slot>,
    arrived: [VecDeque<Slot>; 2],
    sent: [VecDeque<Slot>; 2],
    transmit_capacity: usize,
}

/// A frame of the pool and the bytes in use of it.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    number: usize,
    length: usize,
}

/// Where a frame of the pool is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    Free,
    Arrived,
    WithWorker,
    Sent,
}

impl MemoryDevice {
    /// A device whose pool has `frames` frames of at most `frame_bytes` bytes, and whose two transmit rings hold
    /// `transmit_capacity` frames each until they are drained.
    #[must_use]
    pub fn new(frames: usize, frame_bytes: usize, transmit_capacity: usize) -> Self {
        let queue = || VecDeque::with_capacity(frames);
        Self {
            storage: vec![0; frames * frame_bytes],
            frame_bytes,
            places: vec![Place::Free; frames],
            free: (0..frames).rev().map(|number| Slot { number, length: 0 }).collect(),
            arrived: [queue(), queue()],
            sent: [queue(), queue()],
            transmit_capacity,
        }
    }

    /// Lets a frame arrive at `port`. Returns false, as a card drops, when the pool is empty or the frame is too long.
    #[must_use]
    pub fn arrive(&mut self, port: Port, bytes: &[u8]) -> bool {
        let Some(slot) = self.take_in(bytes, Place::Arrived) else { return false };
        queue(&mut self.arrived, port).push_back(slot);
        true
    }

    /// Takes every frame sent from `port`, oldest first, and makes room for as many; returns how many there were.
    pub fn drain(&mut self, port: Port, mut see: impl FnMut(&[u8])) -> usize {
        let mut count = 0;
        while let Some(slot) = queue(&mut self.sent, port).pop_front() {
            see(self.storage(slot));
            self.move_frame(slot.number, Place::Sent, Place::Free);
            self.free.push(slot);
            count += 1;
        }
        count
    }

    /// Frames that arrived at `port` and were not received yet.
    #[must_use]
    pub fn waiting(&self, port: Port) -> usize {
        let [a, b] = &self.arrived;
        if port == Port::A { a.len() } else { b.len() }
    }

    /// Frames the worker holds: zero between batches.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.places.iter().filter(|place| **place == Place::WithWorker).count()
    }

    /// Copies the bytes into a free frame, which is in this place from then on.
    fn take_in(&mut self, bytes: &[u8], place: Place) -> Option<Slot> {
        if bytes.len() > self.frame_bytes {
            return None;
        }
        let slot = Slot { length: bytes.len(), ..self.free.pop()? };
        self.storage_mut(slot)?.copy_from_slice(bytes);
        self.move_frame(slot.number, Place::Free, place);
        Some(slot)
    }

    fn is_full(&self, port: Port) -> bool {
        let [a, b] = &self.sent;
        let sent = if port == Port::A { a } else { b };
        sent.len() >= self.transmit_capacity
    }

    fn storage(&self, slot: Slot) -> &[u8] {
        let start = slot.number * self.frame_bytes;
        self.storage.get(start..start + slot.length).unwrap_or_default()
    }

    fn storage_mut(&mut self, slot: Slot) -> Option<&mut [u8]> {
        let start = slot.number * self.frame_bytes;
        self.storage.get_mut(start..start + slot.length)
    }

    fn move_frame(&mut self, number: usize, from: Place, to: Place) {
        let place = self.places.get_mut(number);
        debug_assert_eq!(place.as_deref(), Some(&from), "frame {number} is not where it should be");
        if let Some(place) = place {
            *place = to;
        }
    }
}

impl Device for MemoryDevice {
    fn receive(&mut self, port: Port, batch: &mut Vec<Frame>) -> usize {
        let count = self.waiting(port).min(BATCH_FRAMES);
        for _ in 0..count {
            if let Some(slot) = queue(&mut self.arrived, port).pop_front() {
                self.move_frame(slot.number, Place::Arrived, Place::WithWorker);
                batch.push(frame_of(slot));
            }
        }
        count
    }

    fn bytes(&self, frame: &Frame) -> &[u8] {
        self.storage(slot_of(frame))
    }

    fn write(&mut self, frame: &Frame, at: usize, bytes: &[u8]) -> bool {
        let place = self.storage_mut(slot_of(frame));
        write(place.unwrap_or_default(), at, bytes)
    }

    fn transmit(&mut self, port: Port, frame: Frame) -> Result<(), Frame> {
        if self.is_full(port) {
            return Err(frame);
        }
        let slot = slot_of(&frame);
        self.move_frame(slot.number, Place::WithWorker, Place::Sent);
        queue(&mut self.sent, port).push_back(slot);
        Ok(())
    }

    fn transmit_copy(&mut self, port: Port, bytes: &[u8]) -> bool {
        if self.is_full(port) {
            return false;
        }
        let Some(slot) = self.take_in(bytes, Place::Sent) else { return false };
        queue(&mut self.sent, port).push_back(slot);
        true
    }

    fn release(&mut self, frame: Frame) {
        let slot = slot_of(&frame);
        self.move_frame(slot.number, Place::WithWorker, Place::Free);
        self.free.push(slot);
    }

    fn flush(&mut self) {}

    /// Returns at once: nothing arrives by itself.
    fn wait(&mut self, _timeout: Duration) {}
}

fn queue(queues: &mut [VecDeque<Slot>; 2], port: Port) -> &mut VecDeque<Slot> {
    let [a, b] = queues;
    if port == Port::A { a } else { b }
}

fn frame_of(slot: Slot) -> Frame {
    let length = u32::try_from(slot.length).unwrap_or(u32::MAX);
    Frame { handle: slot.number as u64, length, options: 0 }
}

fn slot_of(frame: &Frame) -> Slot {
    let number = usize::try_from(frame.handle).unwrap_or(usize::MAX);
    Slot { number, length: frame.length as usize }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_crosses_byte_for_byte() {
        let mut device = MemoryDevice::new(4, 64, 4);
        assert!(device.arrive(Port::A, b"first"));
        assert!(device.arrive(Port::A, b"second frame"));
        let mut batch = Vec::with_capacity(BATCH_FRAMES);
        assert_eq!(device.receive(Port::B, &mut batch), 0);
        assert_eq!(device.receive(Port::A, &mut batch), 2);
        assert_eq!(device.bytes(&batch[1]), b"second frame");
        for frame in batch.drain(..) {
            device.transmit(Port::B, frame).unwrap();
        }
        let mut seen = Vec::new();
        assert_eq!(device.drain(Port::A, |_| ()), 0);
        assert_eq!(device.drain(Port::B, |bytes| seen.push(bytes.to_vec())), 2);
        assert_eq!(seen, [b"first".to_vec(), b"second frame".to_vec()]);
    }

    #[test]
    fn full_transmit_ring_hands_the_frame_back_until_drained() {
        let mut device = MemoryDevice::new(4, 64, 1);
        let mut batch = Vec::with_capacity(BATCH_FRAMES);
        for byte in 0..2 {
            assert!(device.arrive(Port::B, &[byte; 20]));
        }
        device.receive(Port::B, &mut batch);
        let second = batch.pop().unwrap();
        device.transmit(Port::A, batch.pop().unwrap()).unwrap();
        let second = device.transmit(Port::A, second).unwrap_err();
        device.drain(Port::A, |_| ());
        device.transmit(Port::A, second).unwrap();
    }

    #[test]
    fn released_frames_are_received_into_again() {
        let mut device = MemoryDevice::new(1, 64, 1);
        let mut batch = Vec::with_capacity(BATCH_FRAMES);
        for _ in 0..3 {
            assert!(device.arrive(Port::A, &[1; 60]));
            assert!(!device.arrive(Port::A, &[1; 60]), "the pool has one frame only");
            device.receive(Port::A, &mut batch);
            assert_eq!(device.outstanding(), 1);
            device.release(batch.pop().unwrap());
            assert_eq!(device.outstanding(), 0);
        }
    }

    #[test]
    #[should_panic(expected = "frame 0 is not where it should be")]
    fn frame_given_back_twice_is_noticed() {
        let mut device = MemoryDevice::new(2, 64, 1);
        assert!(device.arrive(Port::A, &[1; 60]));
        let mut batch = Vec::with_capacity(BATCH_FRAMES);
        device.receive(Port::A, &mut batch);
        let frame = batch.pop().unwrap();
        let copy = Frame { ..frame };
        device.release(frame);
        device.release(copy);
    }

    #[test]
    fn changed_bytes_are_those_that_leave() {
        let mut device = MemoryDevice::new(2, 64, 1);
        let mut batch = Vec::with_capacity(BATCH_FRAMES);
        assert!(device.arrive(Port::A, b"frame"));
        device.receive(Port::A, &mut batch);
        let frame = batch.pop().unwrap();
        assert!(device.write(&frame, 1, b"l"));
        assert!(device.write(&frame, 3, b"me"));
        assert!(!device.write(&frame, 4, b"es"), "no byte beyond the frame");
        assert!(!device.write(&frame, usize::MAX, b"s"));
        device.transmit(Port::B, frame).unwrap();
        device.drain(Port::B, |bytes| assert_eq!(bytes, b"flame"));
    }

    #[test]
    fn copy_takes_a_free_frame_and_room_in_the_ring() {
        let mut device = MemoryDevice::new(2, 64, 1);
        assert!(!device.transmit_copy(Port::B, &[1; 65]), "longer than a frame");
        assert!(device.transmit_copy(Port::B, b"first"));
        assert!(!device.transmit_copy(Port::B, b"second"), "the ring is full");
        assert!(device.transmit_copy(Port::A, b"third"));
        assert!(!device.arrive(Port::A, b"fourth"), "the pool is empty");
        assert_eq!(device.drain(Port::B, |bytes| assert_eq!(bytes, b"first")), 1);
        assert!(!device.transmit_copy(Port::A, b"fifth"), "the ring is full");
        assert!(device.arrive(Port::A, b"sixth"));
        assert!(!device.transmit_copy(Port::B, b"seventh"), "no frame is free");
    }

    #[test]
    fn too_long_frame_does_not_arrive() {
        let mut device = MemoryDevice::new(2, 64, 1);
        assert!(!device.arrive(Port::A, &[0; 65]));
        assert!(device.arrive(Port::A, &[0; 64]));
    }
}
