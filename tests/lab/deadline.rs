//! Bounded waiting. Real processes and real packets take real time, so this is the one place that looks at the clock.

use std::thread;
use std::time::{Duration, Instant};

/// Pause between two questions of `wait_until`.
const PAUSE: Duration = Duration::from_millis(10);

/// The moment when patience ends.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// A deadline `patience` from now.
    #[must_use]
    pub fn after(patience: Duration) -> Self {
        Self(now() + patience)
    }

    /// What is left; zero when it is over.
    #[must_use]
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(now())
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(self) -> bool {
        self.left().is_zero()
    }
}

/// Asks again and again until there is an answer; `None` when `patience` is over first.
pub fn wait_until<T>(patience: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Deadline::after(patience);
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if deadline.is_over() {
            return None;
        }
        thread::sleep(PAUSE);
    }
}

/// How long `work` took, and what it gave.
pub fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = now();
    let value = work();
    (now() - start, value)
}

/// The clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the laboratory waits for real processes")]
pub fn now() -> Instant {
    Instant::now()
}
