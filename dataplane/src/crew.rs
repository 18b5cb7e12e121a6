//! The workers as threads: one for each device, each on its core.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::device::Device;
use crate::worker::{Judge, PinError, Worker, pin_to_core, usable_cores};

/// Running workers. They go on until `stop`.
#[derive(Debug)]
pub struct Crew {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<(), PinError>>>,
}

impl Crew {
    /// Starts a worker for each device with its judge. The n-th runs on the n-th of `cores`, beginning again when there
    /// are fewer; on the cores this process may use when there are none. `clock` is the time since a fixed moment, the
    /// same for all.
    ///
    /// # Errors
    /// No thread is to be had.
    pub fn start<D, J>(
        posts: Vec<(D, J)>,
        cores: &[usize],
        clock: impl Fn() -> Duration + Clone + Send + 'static,
    ) -> io::Result<Self>
    where
        D: Device + Send + 'static,
        J: Judge + Send + 'static,
    {
        let cores = if cores.is_empty() { usable_cores()? } else { cores.to_vec() };
        let mut crew = Self { stop: Arc::default(), threads: Vec::with_capacity(posts.len()) };
        for ((number, (device, judge)), core) in
            posts.into_iter().enumerate().zip(cores.iter().cycle())
        {
            let (clock, stop, core) = (clock.clone(), Arc::clone(&crew.stop), *core);
            let work = move || {
                pin_to_core(core)?;
                Worker::new(device, judge).run(clock, &stop);
                Ok(())
            };
            crew.threads.push(thread::Builder::new().name(format!("worker-{number}")).spawn(work)?);
        }
        Ok(crew)
    }

    /// Whether a worker ended without being told to.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Ends all workers, and with them their devices.
    ///
    /// # Errors
    /// What ended those that had ended before.
    pub fn stop(mut self) -> Result<(), Vec<String>> {
        self.stop.store(true, Ordering::Relaxed);
        let ends = self.threads.drain(..).map(JoinHandle::join);
        let failures: Vec<_> = ends
            .filter_map(|end| match end {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("a worker panicked".to_owned()),
            })
            .collect();
        if failures.is_empty() { Ok(()) } else { Err(failures) }
    }
}

impl Drop for Crew {
    /// Threads that outlive their crew would go on forwarding.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use rustix::thread::sched_getaffinity;

    use super::*;
    use crate::device::Port;
    use crate::device::memory::MemoryDevice;
    use crate::disposition::{Disposition, DropReason};

    /// Notes on which cores it may run.
    struct Whereabouts(Arc<Mutex<Vec<Vec<usize>>>>);

    impl Judge for Whereabouts {
        fn begin_batch(&mut self, _now: Duration) {}

        fn judge(&mut self, _in_port: Port, _frame: &[u8]) -> Disposition {
            let cores = sched_getaffinity(None).unwrap();
            self.0.lock().unwrap().push((0..1024).filter(|core| cores.is_set(*core)).collect());
            Disposition::Drop(DropReason::PolicyDenied)
        }

        fn account_unsent(&mut self, _in_port: Port, _length: u32) {}
    }

    fn device() -> MemoryDevice {
        let mut device = MemoryDevice::new(4, 64, 4);
        assert!(device.arrive(Port::A, &[0; 60]));
        device
    }

    #[test]
    fn workers_are_spread_over_the_cores_and_stop_when_told() {
        let seen = Arc::default();
        let posts = (0..3).map(|_| (device(), Whereabouts(Arc::clone(&seen)))).collect();
        let core = *usable_cores().unwrap().last().unwrap();
        let crew = Crew::start(posts, &[core], || Duration::ZERO).unwrap();
        while seen.lock().unwrap().len() < 3 {
            assert!(!crew.is_incomplete());
            thread::yield_now();
        }
        crew.stop().unwrap();
        assert_eq!(*seen.lock().unwrap(), vec![vec![core]; 3]);
    }

    #[test]
    fn worker_without_its_core_is_noticed() {
        let seen = Arc::default();
        let posts = vec![(device(), Whereabouts(Arc::clone(&seen)))];
        let crew = Crew::start(posts, &[1023], || Duration::ZERO).unwrap();
        while !crew.is_incomplete() {
            thread::yield_now();
        }
        let failures = crew.stop().unwrap_err();
        assert!(failures[0].starts_with("a worker cannot run on core 1023: "), "{failures:?}");
        assert!(seen.lock().unwrap().is_empty(), "it worked somewhere else");
    }
}
