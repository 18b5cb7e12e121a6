//! What a process has used.

use std::fs;

use rustix::time::{ClockId, clock_gettime};

/// Seconds of processor time that this thread has had: other work on the machine does not count.
#[expect(clippy::cast_precision_loss, reason = "seconds and nanoseconds of a bench")]
#[must_use]
pub fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// What a process holds in memory, in megabytes.
#[derive(Clone, Copy, Debug)]
pub enum Memory {
    /// Now.
    Resident,
    /// At most since it began.
    Peak,
}

impl Memory {
    /// Of this process.
    #[must_use]
    pub fn of_this_process(self) -> f64 {
        self.of_process("self")
    }

    /// Of the process with the number.
    #[must_use]
    pub fn of(self, process: u32) -> f64 {
        self.of_process(&process.to_string())
    }

    fn of_process(self, process: &str) -> f64 {
        let key = match self {
            Self::Resident => "VmRSS:",
            Self::Peak => "VmHWM:",
        };
        let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("the key");
        let kilobytes = line.trim().trim_end_matches(" kB");
        kilobytes.parse::<f64>().expect("a number") / 1e3
    }
}
