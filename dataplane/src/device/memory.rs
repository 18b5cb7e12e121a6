//! A device in memory: tests and benches put frames in and take forwarded ones out.
