//! The data plane's numbers as tables: ports, why frames were dropped, queues, and whatever else it tells.

use std::collections::BTreeSet;

use crate::commands::table::{Port, align, ports, table};
use crate::publish::DataplaneStatus;

/// What is shown elsewhere on the page.
const SHOWN_ABOVE: [&str; 5] = [
    "policy.generation",
    "policy.since",
    "dataplane.version",
    "dataplane.since",
    "dataplane.workers",
];

/// All tables, a blank line before each.
pub(super) fn render(status: &DataplaneStatus) -> String {
    let ports = ports(status);
    let others = status.lines.iter().filter(|(key, _)| {
        !SHOWN_ABOVE.contains(&key.as_str()) && !ports.iter().any(|port| port.owns(key))
    });
    let others = others.map(|(key, value)| vec![key.clone(), value.clone()]).collect();
    let tables: [Vec<Vec<String>>; 4] =
        [port_table(&ports), drop_table(&ports), queue_table(&ports), others];
    let mut text = String::new();
    for rows in tables.iter().filter(|rows| !rows.is_empty()) {
        text.push('\n');
        align(rows, &mut text);
    }
    text
}

fn port_table(ports: &[Port<'_>]) -> Vec<Vec<String>> {
    let columns = [
        ("SIDE", "side"),
        ("RECEIVED", "received.packets"),
        ("BYTES", "received.bytes"),
        ("FORWARDED", "forwarded.packets"),
        ("HELD", "held.packets"),
        ("DROPPED", "dropped.packets"),
        ("NON-IP", "non-ip"),
    ];
    let head = std::iter::once("PORT").chain(columns.map(|(title, _)| title));
    let row = |port: &Port<'_>| {
        let values = columns.map(|(_, key)| port.value(key));
        std::iter::once(port.name.to_owned()).chain(values).collect()
    };
    table(head.map(str::to_owned).collect(), ports.iter().map(row))
}

/// The reasons that occurred, a column for each port.
fn drop_table(ports: &[Port<'_>]) -> Vec<Vec<String>> {
    let Some(first) = ports.first() else { return Vec::new() };
    let reasons = first.values.iter().filter_map(|(key, _)| key.strip_prefix("dropped."));
    let rows =
        reasons.filter(|reason| !["packets", "bytes"].contains(reason)).filter_map(|reason| {
            let counts: Vec<_> =
                ports.iter().map(|port| port.value(&format!("dropped.{reason}"))).collect();
            let occurred = counts.iter().any(|count| count != "0");
            occurred.then(|| std::iter::once(reason.to_owned()).chain(counts).collect())
        });
    let head = std::iter::once("DROPPED FOR").chain(ports.iter().map(|port| port.name));
    table(head.map(str::to_owned).collect(), rows)
}

/// The queues of all ports, each with the mode it was had in and what the kernel dropped of it.
fn queue_table(ports: &[Port<'_>]) -> Vec<Vec<String>> {
    let head = ["QUEUE", "MODE", "HUGE PAGES", "DROPPED BY THE KERNEL"].map(str::to_owned).to_vec();
    table(head, ports.iter().flat_map(queues_of))
}

fn queues_of<'a>(port: &'a Port<'a>) -> impl Iterator<Item = Vec<String>> + 'a {
    let queue = |key: &str| key.strip_prefix("queue.")?.split('.').next()?.parse::<u32>().ok();
    let numbers: BTreeSet<u32> = port.values.iter().filter_map(|(key, _)| queue(key)).collect();
    numbers.into_iter().map(|number| {
        let prefix = format!("queue.{number}.");
        let kernel = port.values.iter().filter_map(|(key, count)| {
            let what = key.strip_prefix(&prefix)?.strip_prefix("kernel.")?;
            (*count != "0").then(|| format!("{what} {count}"))
        });
        let kernel: Vec<String> = kernel.collect();
        vec![
            format!("{}:{number}", port.name),
            port.value(&format!("{prefix}mode")),
            port.value(&format!("{prefix}huge-pages")),
            if kernel.is_empty() { "0".to_owned() } else { kernel.join(", ") },
        ]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_drops_and_queues_are_tables_and_the_rest_follows() {
        let lines = "\
policy.generation 3
policy.refused 1
dataplane.workers 1
port.0.name outside0
port.0.side outside
port.0.non-ip drop
port.0.received.packets 100
port.0.received.bytes 6400
port.0.forwarded.packets 88
port.0.held.packets 2
port.0.dropped.packets 10
port.0.dropped.bytes 640
port.0.dropped.no-policy 0
port.0.dropped.policy-denied 10
port.1.name in.7
port.1.side inside
port.1.non-ip pass
port.1.received.packets 5
port.1.received.bytes 300
port.1.forwarded.packets 5
port.1.held.packets 0
port.1.dropped.packets 0
port.1.dropped.bytes 0
port.1.dropped.no-policy 0
port.1.dropped.policy-denied 0
flows.now 2
port.0.queue.0.mode copy
port.0.queue.0.huge-pages yes
port.0.queue.0.kernel.rx-dropped 0
port.0.queue.0.kernel.rx-ring-full 7
port.1.queue.0.mode zero-copy
port.1.queue.0.huge-pages no
port.1.queue.0.kernel.rx-dropped 0
";
        let expected = "
PORT      SIDE     RECEIVED  BYTES  FORWARDED  HELD  DROPPED  NON-IP
outside0  outside  100       6400   88         2     10       drop
in.7      inside   5         300    5          0     0        pass

DROPPED FOR    outside0  in.7
policy-denied  10        0

QUEUE       MODE       HUGE PAGES  DROPPED BY THE KERNEL
outside0:0  copy       yes         rx-ring-full 7
in.7:0      zero-copy  no          0

policy.refused  1
flows.now       2
";
        assert_eq!(render(&status(lines)), expected);
    }

    #[test]
    fn a_status_without_ports_is_shown_as_it_is() {
        assert_eq!(render(&status("a.b 1\nlonger 2\n")), "\na.b     1\nlonger  2\n");
        assert_eq!(render(&status("policy.generation 1\n")), "");
    }

    fn status(text: &str) -> DataplaneStatus {
        let pairs = text.lines().map(|line| line.split_once(' ').unwrap());
        let lines = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        DataplaneStatus { lines }
    }
}
