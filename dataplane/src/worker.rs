//! The loop of one worker: frames from both ports of its device, judged, sent on or given back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fmt, io};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::device::{BATCH_FRAMES, Device, Frame, Port};
use crate::disposition::{Disposition, DropReason};
use crate::fragment::Whole;

/// Longest sleep of an idle worker: how late it may notice that it shall stop, or that time has passed.
const IDLE_WAIT: Duration = Duration::from_millis(100);

/// Who decides over frames: the pipeline, or something simpler in tests of devices.
pub trait Judge {
    /// Comes before the frames of a round. `now` is the time since some fixed moment, and never runs back.
    fn begin_batch(&mut self, now: Duration);

    /// Decides over one frame that came in by `in_port`, and counts it.
    fn judge(&mut self, in_port: Port, frame: &[u8]) -> Disposition;

    /// Decides over frames that came in by `in_port`, at most `BATCH_FRAMES`, as `judge` would over one after the other;
    /// `dispositions` has a place for each.
    fn judge_batch(&mut self, in_port: Port, frames: &[&[u8]], dispositions: &mut [Disposition]) {
        for (frame, disposition) in frames.iter().zip(dispositions) {
            *disposition = self.judge(in_port, frame);
        }
    }

    /// A frame of `length` bytes that was judged to be forwarded found the transmit ring full and is dropped.
    fn account_unsent(&mut self, in_port: Port, length: u32);

    /// Sends the frames that leave for one that was judged `Disposition::Release`, by `send`, which says whether there was room,
    /// and counts them. Only who judges so needs it.
    fn release(&mut self, _datagram: Whole, _send: &mut dyn FnMut(&[u8]) -> bool) {}

    /// Comes after the last frame of a round.
    fn end_batch(&mut self) {}
}

/// One worker. It owns its device and its judge, and allocates nothing after `new`.
#[derive(Debug)]
pub struct Worker<D, J> {
    device: D,
    judge: J,
    batch: Vec<Frame>,
}

impl<D: Device, J: Judge> Worker<D, J> {
    /// A worker that judges what `device` receives.
    pub fn new(device: D, judge: J) -> Self {
        Self { device, judge, batch: Vec::with_capacity(BATCH_FRAMES) }
    }

    /// Works until `stop` is set. `clock` is read once a round.
    pub fn run(&mut self, clock: impl Fn() -> Duration, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            if self.round(clock()) == 0 {
                self.device.wait(IDLE_WAIT);
            }
        }
    }

    /// Takes one batch from each port and deals with it; returns how many frames there were.
    pub fn round(&mut self, now: Duration) -> usize {
        self.judge.begin_batch(now);
        let mut received = 0;
        for port in Port::BOTH {
            received += self.device.receive(port, &mut self.batch);
            self.deal(port);
        }
        self.device.flush();
        self.judge.end_batch();
        received
    }

    /// Judges the frames of the batch, then disposes of each. None is lost: one without a judgement is given back.
    fn deal(&mut self, port: Port) {
        const UNJUDGED: Disposition = Disposition::Drop(DropReason::Internal);
        debug_assert!(self.batch.len() <= BATCH_FRAMES, "the device keeps to its limit");
        let mut frames: [&[u8]; BATCH_FRAMES] = [&[]; BATCH_FRAMES];
        let mut dispositions = [UNJUDGED; BATCH_FRAMES];
        let count = self.batch.len().min(BATCH_FRAMES);
        for (bytes, frame) in frames.iter_mut().zip(&self.batch) {
            *bytes = self.device.bytes(frame);
        }
        let frames = frames.get(..count).unwrap_or_default();
        self.judge.judge_batch(port, frames, &mut dispositions);
        let dispositions = dispositions.into_iter().chain(std::iter::repeat(UNJUDGED));
        for (frame, disposition) in self.batch.drain(..).zip(dispositions) {
            dispose(&mut self.device, &mut self.judge, port, frame, disposition);
        }
    }

    /// The device, for those who put frames into one in memory.
    pub fn device_mut(&mut self) -> &mut D {
        &mut self.device
    }

    /// The judge, for those who look at what it counted.
    pub fn judge(&self) -> &J {
        &self.judge
    }
}

/// Sends the frame on or gives it back, exactly one of them.
fn dispose<D: Device, J: Judge>(
    device: &mut D,
    judge: &mut J,
    in_port: Port,
    frame: Frame,
    disposition: Disposition,
) {
    match disposition {
        Disposition::Forward => {}
        Disposition::Complete { at, value } => {
            // Who judged the frame knows its length; if it were shorter, it would leave as it came.
            let written = device.write(&frame, at.into(), &value);
            debug_assert!(written, "a checksum lies behind the end of its frame");
        }
        Disposition::Drop(_) | Disposition::Hold => return device.release(frame),
        Disposition::Release(datagram) => {
            device.release(frame);
            return judge
                .release(datagram, &mut |bytes| device.transmit_copy(in_port.other(), bytes));
        }
    }
    if let Err(frame) = device.transmit(in_port.other(), frame) {
        judge.account_unsent(in_port, frame.length);
        device.release(frame);
    }
}

/// The cores that this process may use, ascending.
///
/// # Errors
/// The kernel does not say.
pub fn usable_cores() -> io::Result<Vec<usize>> {
    let cores = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| cores.is_set(*core)).collect())
}

/// Binds the calling thread to one core.
///
/// # Errors
/// The core does not exist, or this process may not run there.
pub fn pin_to_core(core: usize) -> Result<(), PinError> {
    if core >= CpuSet::MAX_CPU {
        return Err(PinError { core, error: io::ErrorKind::InvalidInput.into() });
    }
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).map_err(|error| PinError { core, error: error.into() })
}

/// A worker's core cannot be had.
#[derive(Debug)]
pub struct PinError {
    core: usize,
    error: io::Error,
}

impl fmt::Display for PinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { core, error } = self;
        write!(
            f,
            "a worker cannot run on core {core}: {error}; `nproc` and `taskset -p $$` tell which cores there are"
        )
    }
}

impl std::error::Error for PinError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::memory::MemoryDevice;

    /// Forwards frames whose first byte is even, and notes what it is told.
    #[derive(Debug, Default)]
    struct Even {
        batches: Vec<Duration>,
        judged: [usize; 2],
        unsent: Vec<(Port, u32)>,
    }

    impl Judge for Even {
        fn begin_batch(&mut self, now: Duration) {
            self.batches.push(now);
        }

        fn judge(&mut self, in_port: Port, frame: &[u8]) -> Disposition {
            self.judged[in_port.index()] += 1;
            let even = frame.first().is_some_and(|byte| byte % 2 == 0);
            if even { Disposition::Forward } else { Disposition::Drop(DropReason::PolicyDenied) }
        }

        fn account_unsent(&mut self, in_port: Port, length: u32) {
            self.unsent.push((in_port, length));
        }
    }

    fn worker(transmit_capacity: usize) -> Worker<MemoryDevice, Even> {
        Worker::new(MemoryDevice::new(512, 64, transmit_capacity), Even::default())
    }

    #[test]
    fn forwarded_frames_leave_by_the_other_port_and_dropped_ones_go_back() {
        let mut worker = worker(64);
        for byte in 0..10 {
            assert!(worker.device_mut().arrive(Port::A, &[byte; 20]));
            assert!(worker.device_mut().arrive(Port::B, &[byte; 30]));
        }
        assert_eq!(worker.round(Duration::from_secs(3)), 20);
        let mut seen = Vec::new();
        let mut see = |bytes: &[u8]| seen.push((bytes.len(), bytes[0]));
        worker.device_mut().drain(Port::B, &mut see);
        worker.device_mut().drain(Port::A, &mut see);
        let expected = [20, 30].into_iter().flat_map(|length| (0..5).map(move |i| (length, i * 2)));
        assert_eq!(seen, expected.collect::<Vec<_>>());
        assert_eq!(worker.device_mut().outstanding(), 0);
        assert_eq!(worker.judge().judged, [10, 10]);
        assert_eq!(worker.judge().batches, [Duration::from_secs(3)]);
    }

    /// Completes every frame with its own first byte, twice, at the position that is its second byte.
    #[derive(Debug)]
    struct Completing;

    impl Judge for Completing {
        fn begin_batch(&mut self, _now: Duration) {}

        fn judge(&mut self, _in_port: Port, frame: &[u8]) -> Disposition {
            Disposition::Complete { at: frame[1].into(), value: [frame[0]; 2] }
        }

        fn account_unsent(&mut self, _in_port: Port, _length: u32) {}
    }

    #[test]
    fn completed_frame_leaves_with_two_bytes_written() {
        let mut worker = Worker::new(MemoryDevice::new(512, 64, 64), Completing);
        assert!(worker.device_mut().arrive(Port::A, &[9, 2, 0, 0, 0]));
        assert!(worker.device_mut().arrive(Port::A, &[8, 3, 0, 0, 0]));
        worker.round(Duration::ZERO);
        let mut seen = Vec::new();
        worker.device_mut().drain(Port::B, |bytes| seen.push(bytes.to_vec()));
        assert_eq!(seen, [[9, 2, 9, 9, 0], [8, 3, 0, 8, 8]]);
    }

    #[test]
    fn frame_without_room_is_accounted_for_and_given_back() {
        let mut worker = worker(1);
        for _ in 0..3 {
            assert!(worker.device_mut().arrive(Port::B, &[2; 20]));
        }
        worker.round(Duration::ZERO);
        assert_eq!(worker.judge().unsent, [(Port::B, 20); 2]);
        assert_eq!(worker.device_mut().outstanding(), 0);
        assert_eq!(worker.device_mut().drain(Port::A, |_| ()), 1);
    }

    #[test]
    fn one_round_takes_a_batch_of_each_port_at_most() {
        let mut worker = worker(256);
        for _ in 0..BATCH_FRAMES + 6 {
            assert!(worker.device_mut().arrive(Port::A, &[2; 20]));
        }
        assert!(worker.device_mut().arrive(Port::B, &[2; 20]));
        assert_eq!(worker.round(Duration::ZERO), BATCH_FRAMES + 1);
        assert_eq!(worker.round(Duration::ZERO), 6);
        assert_eq!(worker.round(Duration::ZERO), 0);
    }

    #[test]
    fn stopped_worker_takes_nothing() {
        let mut worker = worker(8);
        assert!(worker.device_mut().arrive(Port::A, &[2; 20]));
        worker.run(|| Duration::ZERO, &AtomicBool::new(true));
        assert_eq!(worker.judge().judged, [0, 0]);
    }

    #[test]
    fn core_that_is_not_there_is_refused() {
        let error = pin_to_core(CpuSet::MAX_CPU - 1).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("a worker cannot run on core 1023: Invalid argument"), "{text}");
    }
}
