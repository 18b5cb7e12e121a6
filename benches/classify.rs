//! What a decision costs, compiled and naive, and what a compile costs. Repeat with `cargo bench --bench classify`.
#![expect(clippy::expect_used, reason = "benches stop at the first surprise")]

use std::hint::black_box;

use classifier::compile::{Limits, compile};
use classifier::packet::{Crossing, PacketKey, Side, Transport, protocol};
use classifier::reference;
use criterion::{Criterion, criterion_group, criterion_main};
use ravelin::support::{ALLOWED_PORT, policy_set};

const RULES: [u16; 4] = [1, 10, 100, 1_000];

fn classify(criterion: &mut Criterion) {
    let families = [("v4", "198.18.0.1", "198.19.0.1"), ("v6", "2001:2::1", "2001:2:1::1")];
    for rules in RULES {
        let set = policy_set(rules);
        let image = compile(&set, 1, &Limits::default()).expect("a policy that compiles");
        let view = image.view();
        for (family, src, dst) in families {
            for (outcome, port) in [("last-rule", ALLOWED_PORT), ("no-rule", 1)] {
                let packet = packet(src, dst, port);
                criterion.bench_function(
                    &format!("classify/{family}/rules-{rules}/{outcome}"),
                    |bench| {
                        bench.iter(|| view.classify(black_box(&packet), INWARD));
                    },
                );
            }
        }
        let packet = packet("198.18.0.1", "198.19.0.1", ALLOWED_PORT);
        criterion.bench_function(&format!("reference/v4/rules-{rules}/last-rule"), |bench| {
            bench.iter(|| reference::evaluate(black_box(&set), &packet, INWARD));
        });
    }
}

fn compile_time(criterion: &mut Criterion) {
    for rules in RULES {
        let set = policy_set(rules);
        criterion.bench_function(&format!("compile/rules-{rules}"), |bench| {
            bench.iter(|| compile(black_box(&set), 1, &Limits::default()));
        });
    }
}

/// From outside to inside.
const INWARD: Crossing = Crossing::sides(Side::Outside, Side::Inside);

/// A UDP packet between the two networks of `policy_set`.
fn packet(src: &str, dst: &str, port: u16) -> PacketKey {
    PacketKey {
        src: src.parse().expect("an address"),
        dst: dst.parse().expect("an address"),
        protocol: protocol::UDP,
        transport: Transport::Ports { src: 1024, dst: port },
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).measurement_time(std::time::Duration::from_secs(2))
        .warm_up_time(std::time::Duration::from_millis(500));
    targets = classify, compile_time
}
criterion_main!(benches);
