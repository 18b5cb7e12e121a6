//! Processor time.

use std::fs;
use std::path::Path;

/// Nanoseconds that a process has had of the processor, all its threads together, with the soft interrupts that ran on top
/// of it: the first field of `schedstat`, which this kernel counts exactly.
pub(super) fn process_ns(id: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten();
    tasks.filter_map(|task| exactly(&task.ok()?.path())).sum()
}

/// What the threads had that take over when soft interrupts are too many.
pub(super) fn soft_interrupt_threads_ns() -> u64 {
    let processes = fs::read_dir("/proc").into_iter().flatten();
    processes
        .filter_map(|process| {
            let path = process.ok()?.path();
            let name = fs::read_to_string(path.join("comm")).ok()?;
            if name.starts_with("ksoftirqd/") { exactly(&path) } else { None }
        })
        .sum()
}

/// Nanoseconds that all processors were busy since boot, in steps of 10 ms, whoever kept them so.
pub(super) fn busy_ns() -> u64 {
    let stat = fs::read_to_string("/proc/stat").expect("/proc/stat");
    let line = stat.lines().next().expect("a first line");
    let ticks: Vec<u64> =
        line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, (idle, iowait), irq, softirq
    let busy: u64 = [0, 1, 2, 5, 6].iter().filter_map(|at| ticks.get(*at)).sum();
    busy * 10_000_000
}

fn exactly(task: &Path) -> Option<u64> {
    let text = fs::read_to_string(task.join("schedstat")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}
