//! The table as a whole: admission, expiry, a full neighbourhood, and several workers at once.

use std::thread;

use super::*;

/// A flow without numbers.
fn opened(state: State) -> Admission {
    Admission {
        opened_by: End::First,
        epoch: 1,
        state,
        connection: Connection::default(),
        is_limited: true,
    }
}

fn table() -> FlowTable {
    FlowTable::new(0, RandomState::new())
}

fn at(millis: u64) -> Moment {
    Moment::from_millis(millis)
}

fn key(number: u64) -> FlowKey {
    FlowKey([number, number + 1, number + 2, number + 3, number + 4, number & 0x3FF])
}

#[test]
fn admitted_flow_is_found_and_others_are_not() {
    let table = table();
    assert_eq!(
        table.admit(&key(1), opened(State::Udp), at(0)),
        Ok(Admitted { started: 1, ended: 0 })
    );
    let flow = table.find(&key(1), at(0)).unwrap();
    assert_eq!((flow.epoch(), flow.state()), (1, State::Udp));
    assert_eq!((flow.way(End::First), flow.way(End::Second)), (Way::Original, Way::Reply));
    assert!(table.find(&key(2), at(0)).is_none());
    assert_eq!(table.live(), 1);
}

#[test]
fn second_admission_of_a_live_flow_changes_nothing() {
    let table = table();
    table.admit(&key(1), opened(State::Udp), at(0)).unwrap();
    let again = Admission { opened_by: End::Second, epoch: 9, ..opened(State::Other) };
    assert_eq!(table.admit(&key(1), again, at(1)), Ok(Admitted::default()));
    assert_eq!(table.find(&key(1), at(1)).unwrap().epoch(), 1);
    assert_eq!(table.live(), 1);
}

#[test]
fn removed_flow_is_gone_and_its_reader_powerless() {
    let table = table();
    table.admit(&key(1), opened(State::Udp), at(0)).unwrap();
    let mut flow = table.find(&key(1), at(0)).unwrap();
    assert!(table.remove(&flow));
    assert!(table.find(&key(1), at(0)).is_none());
    assert_eq!(table.live(), 0);
    assert!(
        !table.remove(&flow)
            && !flow.renew(5)
            && table.replace(&flow, &key(1), opened(State::Udp), at(0)) == Ok(Admitted::default())
    );
    flow.touch(Way::Original, at(9_000));
    assert!(table.find(&key(1), at(0)).is_none());
}

#[test]
fn renewed_flow_carries_the_new_epoch_and_can_be_touched() {
    let table = table();
    table.admit(&key(1), opened(State::Udp), at(0)).unwrap();
    let mut flow = table.find(&key(1), at(0)).unwrap();
    assert!(flow.renew(2));
    flow.touch(Way::Original, at(300_000));
    let found = table.find(&key(1), at(600_000)).unwrap();
    assert_eq!((found.epoch(), found.state()), (2, State::Udp));
}

#[test]
fn flow_lives_as_long_as_its_state_allows_and_no_longer() {
    for state in State::ALL {
        let table = table();
        table.admit(&key(1), opened(state), at(0)).unwrap();
        let timeout = u64::from(Timers::default().millis(state.timer()));
        assert!(table.find(&key(1), at(timeout - 1_000)).is_some(), "{state:?}");
        assert!(table.find(&key(1), at(timeout)).is_some(), "{state:?}");
        assert!(table.find(&key(1), at(timeout + 1_000)).is_none(), "{state:?}");
    }
}

#[test]
fn packets_keep_a_flow_alive() {
    let table = table();
    table.admit(&key(1), opened(State::Udp), at(0)).unwrap();
    for minute in (0..60).step_by(4) {
        let now = at(minute * 60_000);
        let flow = table.find(&key(1), now).unwrap();
        flow.touch(Way::Original, now);
    }
    assert!(table.find(&key(1), at(62 * 60_000)).is_none());
}

#[test]
fn expired_flow_gives_its_place_to_the_next_of_its_key() {
    let table = table();
    table.admit(&key(1), opened(State::Udp), at(0)).unwrap();
    let late = at(400_000);
    let renewed = Admission { epoch: 2, ..opened(State::Udp) };
    assert_eq!(table.admit(&key(1), renewed, late), Ok(Admitted { started: 1, ended: 1 }));
    assert_eq!(table.find(&key(1), late).unwrap().epoch(), 2);
    assert_eq!(table.live(), 1);
}

#[test]
fn full_neighbourhood_refuses_until_a_flow_in_it_expires() {
    let table = table();
    assert_eq!(table.capacity(), SLOTS_MIN, "two buckets: each flow's neighbourhood is the table");
    for number in 0..32 {
        let now = at(number * 1_000);
        assert_eq!(
            table.admit(&key(number), opened(State::UdpAnswered), now),
            Ok(Admitted { started: 1, ended: 0 })
        );
    }
    assert_eq!(table.admit(&key(32), opened(State::UdpAnswered), at(32_000)), Err(Refusal::Full));
    assert!((0..32).all(|number| table.find(&key(number), at(32_000)).is_some()));
    let late = at(301_000);
    assert_eq!(
        table.admit(&key(32), opened(State::UdpAnswered), late),
        Ok(Admitted { started: 1, ended: 1 })
    );
    assert!(table.find(&key(0), late).is_none());
    assert!((1..=32).all(|number| table.find(&key(number), late).is_some()));
    assert_eq!(table.live(), 32);
}

#[test]
fn table_fills_to_four_fifths_before_it_refuses() {
    let table = FlowTable::new(1 << 14, RandomState::new());
    let refused = (0..13_107)
        .filter(|number| table.admit(&key(*number), opened(State::UdpAnswered), at(0)).is_err());
    assert_eq!(refused.count(), 0);
}

#[test]
fn size_is_rounded_up_to_a_power_of_two_within_its_limits() {
    for (asked, capacity) in [(0, 32), (33, 64), (100_000, 131_072)] {
        assert_eq!(FlowTable::new(asked, RandomState::new()).capacity(), capacity);
    }
}

#[test]
fn sweep_frees_expired_flows_a_few_at_a_time_and_leaves_live_ones() {
    let table = FlowTable::new(4_096, RandomState::new());
    for number in 0..2_000 {
        let state = if number % 2 == 0 { State::Query } else { State::Established };
        table.admit(&key(number), opened(state), at(0)).unwrap();
    }
    let mut sweep = Sweep::new(at(100_000));
    assert_eq!(sweep.go_on(&table, at(100_000)), 0, "nothing is due at once");
    let mut most = 0;
    let mut ended = 0;
    for millis in (100_000..102_000).step_by(10) {
        let now = sweep.go_on(&table, at(millis));
        most = most.max(now);
        ended += now;
    }
    assert_eq!((ended, table.live()), (1_000, 1_000));
    assert!(most <= 3 * 16, "three buckets in 10 ms, not {most} flows");
    assert!(
        (0..2_000)
            .all(|number| table.find(&key(number), at(102_000)).is_some() == (number % 2 == 1))
    );
}

#[test]
fn bucket_is_looked_at_when_something_in_it_is_due_and_not_before() {
    let table = table();
    let flow = |number| table.find(&key(number), at(50_000)).unwrap();
    table.admit(&key(1), opened(State::Query), at(0)).unwrap();
    let looked_at = |now: u64| table.buckets.iter().filter(|it| it.due() <= now).count();
    assert_eq!((looked_at(59_999), looked_at(60_000)), (0, 1));
    flow(1).touch(Way::Reply, at(50_000));
    let sweep = |now: u64| Sweep::new(at(now - 2_000)).go_on(&table, at(now));
    assert_eq!(sweep(61_000), 0, "it was used since");
    assert_eq!((looked_at(110_000), looked_at(110_000 + 129)), (0, 1));
    assert_eq!((sweep(110_129), table.live(), looked_at(u64::MAX - 1)), (1, 0, 0));
}

#[test]
fn half_open_ones_expire_sooner_the_more_there_are() {
    let limits = Limits::default().with(Limit::HalfOpen, 1_000);
    let table = FlowTable::with(1 << 13, RandomState::new(), Timers::default(), limits);
    for number in 0..1_000 {
        table.admit(&key(number * 8), opened(State::Opening), at(0)).unwrap();
    }
    assert_eq!((table.half_open(), table.timers().millis(Timer::TcpOpening)), (1_000, 5_000));
    let mut sweep = Sweep::new(at(0));
    let ended: u64 = (0..60_000).step_by(10).map(|now| sweep.go_on(&table, at(now))).sum();
    // With 883 of them patience is a minute; those of one look all go.
    assert!((110..=150).contains(&ended), "{ended}");
    assert_eq!((table.half_open(), table.live()), (1_000 - ended, 1_000 - ended));
    let ended: u64 = (60_000..250_000).step_by(10).map(|now| sweep.go_on(&table, at(now))).sum();
    assert_eq!((table.half_open(), table.live(), ended > 0), (0, 0, true));
}

#[test]
fn who_gives_way_is_never_a_flow_that_both_sides_have_a_part_in() {
    use State::{Closed, Established, Opening, Udp, UdpAnswered};
    let table = table();
    // Oldest first: in use, in use, made up, closed, made up.
    let states = [Established, UdpAnswered, Udp, Closed, Opening];
    for (number, state) in (0..32).zip(states.into_iter().cycle()) {
        table.admit(&key(number), opened(state), at(number)).unwrap();
    }
    let is_here = |number: u64| table.find(&key(number), at(100)).is_some();
    let closed = (0..32).filter(|number| number % 5 == 3);
    let made_up = (0..32).filter(|number| number % 5 == 2 || number % 5 == 4);
    let order: Vec<u64> = closed.chain(made_up).collect();
    for (new, gone) in (100..).zip(&order) {
        assert!(is_here(*gone));
        let admitted = table.admit(&key(new), opened(UdpAnswered), at(100));
        assert_eq!(admitted, Ok(Admitted { started: 1, ended: 0 }));
        assert!(!is_here(*gone) && is_here(new), "{gone}");
    }
    assert_eq!(table.admit(&key(200), opened(Opening), at(100)), Err(Refusal::Full));
    assert!((0..32).filter(|number| number % 5 < 2).all(is_here));
    assert_eq!((table.live(), table.gave_way(), table.half_open()), (32, order.len() as u64, 0));
}

#[test]
fn half_open_ones_in_all_never_exceed_their_limit() {
    let limits = Limits::default().with(Limit::HalfOpen, 10);
    let table = FlowTable::with(0, RandomState::new(), Timers::default(), limits);
    for number in 0..1_000 {
        table.admit(&key(number), opened(State::Opening), at(number)).unwrap();
        assert_eq!(table.half_open(), 10.min(number + 1));
    }
    assert!((990..1_000).all(|number| table.find(&key(number), at(1_000)).is_some()));
    assert_eq!((table.live(), table.gave_way()), (10, 990));
    let unlimited = Admission { is_limited: false, ..opened(State::Opening) };
    table.admit(&key(2_000), unlimited, at(1_000)).unwrap();
    assert_eq!(table.half_open(), 11, "counted only");
}

#[test]
fn sweep_of_one_batch_is_bounded_however_late_it_is() {
    let table = FlowTable::new(1 << 16, RandomState::new());
    for number in 0..40_000 {
        table.admit(&key(number), opened(State::Udp), at(0)).unwrap();
    }
    let ended = Sweep::new(at(0)).go_on(&table, at(1_000_000_000));
    assert!((1..=2_048).contains(&ended), "{ended}");
}

/// Every field of a flow is a function of its key, so a reader notices a mixture.
fn derived(number: u64) -> Admission {
    let opened_by = if number.is_multiple_of(2) { End::First } else { End::Second };
    let state = State::ALL[usize::try_from(number % 10).unwrap()];
    Admission { opened_by, epoch: number * 7, ..opened(state) }
}

#[test]
fn no_reader_sees_a_mixture_of_two_flows() {
    let table = table();
    let work = |seed: u64| {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut hits = 0_u64;
        for round in 0..300_000 {
            let number = random.u64(..48);
            match table.find(&key(number), at(round / 100)) {
                Some(flow) => {
                    hits += 1;
                    let Admission { opened_by, epoch, state, .. } = derived(number);
                    assert_eq!((flow.epoch(), flow.state()), (epoch, state));
                    assert_eq!(flow.way(opened_by), Way::Original);
                    flow.touch(Way::Original, at(round / 100));
                    if random.u8(..4) == 0 {
                        let _ = table.remove(&flow);
                    }
                }
                None => drop(table.admit(&key(number), derived(number), at(round / 100))),
            }
        }
        hits
    };
    let hits: Vec<u64> = thread::scope(|scope| {
        let workers = [scope.spawn(|| work(1)), scope.spawn(|| work(2)), scope.spawn(|| work(3))];
        workers.map(|worker| worker.join().unwrap()).to_vec()
    });
    assert!(hits.iter().all(|hits| *hits > 1_000), "{hits:?}");
    let live = (0..48).filter(|number| table.find(&key(*number), at(3_000)).is_some()).count();
    assert_eq!(table.live(), live as u64, "each flow is there once, and counted");
}

/// The steps of two admissions interleaved by hand: each looked before the other had inserted.
#[test]
fn double_admission_is_withdrawn_whoever_notices_first() {
    for first_to_notice in [0, 1] {
        let table = table();
        let address = table.address(&key(1));
        let places =
            [0, 1].map(|_| table.occupy(&address, &key(1), &opened(State::Udp), at(0)).unwrap().0);
        assert_eq!(table.live(), 2);
        let mut sum = Admitted::default();
        for worker in [first_to_notice, 1 - first_to_notice] {
            let admitted = table.withdraw_double(&address, &key(1), places[worker], 0);
            sum.started += admitted.started;
            sum.ended += admitted.ended;
        }
        assert_eq!((table.live(), sum.started - sum.ended), (1, 1), "{sum:?}");
        assert!(table.find(&key(1), at(0)).is_some());
    }
}

#[test]
fn two_workers_that_admit_the_same_flow_leave_one() {
    const ROUNDS: u64 = 1_000;
    let table = FlowTable::new(1 << 14, RandomState::new());
    let reached = [AtomicU64::new(0), AtomicU64::new(0)];
    let work = |me: usize| {
        let mut sum = Admitted::default();
        for number in 1..=ROUNDS {
            reached[me].store(number, Ordering::Release);
            for spins in 0.. {
                if reached[1 - me].load(Ordering::Acquire) >= number {
                    break;
                }
                if spins > 10_000 { thread::yield_now() } else { std::hint::spin_loop() }
            }
            // One of them starts a little later, each time by another little.
            (0..number % 32 * me as u64).for_each(|_| std::hint::spin_loop());
            let Admitted { started, ended } =
                table.admit(&key(number), opened(State::Udp), at(0)).unwrap();
            sum.started += started;
            sum.ended += ended;
        }
        sum
    };
    let [a, b] = thread::scope(|scope| {
        let workers = [scope.spawn(|| work(0)), scope.spawn(|| work(1))];
        workers.map(|worker| worker.join().unwrap())
    });
    assert_eq!(table.live(), ROUNDS, "one place for each flow");
    assert_eq!(a.started + b.started - a.ended - b.ended, ROUNDS);
}

#[test]
fn batch_finds_what_single_lookups_find() {
    let table = FlowTable::new(1 << 10, RandomState::new());
    let mut rng = fastrand::Rng::with_seed(0x5eed_0004);
    let (mut hits, mut expired) = (0, 0);
    for round in 0..2_000 {
        let now = at(round * 1_000);
        for _ in 0..rng.usize(..4) {
            let state = if rng.bool() { State::Udp } else { State::Opening };
            let _ = table.admit(&key(rng.u64(..1_500)), opened(state), now);
        }
        let keys: Vec<FlowKey> = (0..rng.usize(..70)).map(|_| key(rng.u64(..1_500))).collect();
        let mut found = vec![table.find(&key(0), now); keys.len()];
        table.find_batch(&keys, now, &mut found);
        for (key, found) in keys.iter().zip(found) {
            let single = table.find(key, now);
            let seen = |flow: Flow<'_>| (std::ptr::from_ref(flow.place.slot), flow.tenant);
            assert_eq!(found.map(seen), single.map(seen));
            hits += usize::from(found.is_some());
            expired += usize::from(found.is_none() && table.find(key, at(0)).is_some());
        }
    }
    assert!(hits > 1_000 && expired > 1_000, "{hits} found, {expired} expired");
}

#[test]
fn flow_is_the_same_again_until_it_is_renewed_or_over() {
    let table = table();
    table.admit(&key(1), opened(State::Udp), at(0)).unwrap();
    let flow = table.find(&key(1), at(0)).unwrap();
    table.find(&key(1), at(0)).unwrap().touch(Way::Original, at(1_000));
    let again = flow.again().unwrap();
    assert_eq!((again.state(), again.epoch()), (State::Udp, 1));
    assert_ne!(again.tenant.meta, flow.tenant.meta);
    assert!(table.find(&key(1), at(0)).unwrap().renew(2));
    assert!(flow.again().is_none());
    let renewed = table.find(&key(1), at(0)).unwrap();
    assert!(table.remove(&renewed) && renewed.again().is_none());
}
