use super::*;

/// A hub that stores ten records a second.
fn hub() -> Admission {
    Admission::new(NonZeroU32::new(10).unwrap())
}

fn device(number: u64) -> Sender {
    let source = format!("{number:032x}/00000001/normal").parse().unwrap();
    Sender { source: Some(source), is_critical: false }
}

fn critical(number: u64) -> Sender {
    Sender { is_critical: true, ..device(number) }
}

const NAMELESS: Sender = Sender { source: None, is_critical: false };

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[track_caller]
fn come(told: Told) -> Duration {
    match told {
        Told::Come { after } => after,
        Told::Store { .. } => panic!("{told:?}"),
    }
}

/// When it may store, and when it is to come again.
#[track_caller]
fn store(told: Told) -> (Duration, Option<Duration>) {
    match told {
        Told::Store { after, next } => (after, next),
        Told::Come { .. } => panic!("{told:?}"),
    }
}

/// A hub whose line is full for the next 4.1 seconds.
fn busy() -> Admission {
    let mut hub = hub();
    for _ in 0..41 {
        store(hub.ask(Duration::ZERO, NAMELESS, 1, 0));
    }
    hub
}

#[test]
fn whoever_comes_within_the_rate_stores_at_once() {
    let mut hub = hub();
    for tenth in 0..1000 {
        assert_eq!(
            store(hub.ask(millis(tenth * 100), device(tenth), 1, 0)),
            (Duration::ZERO, None)
        );
    }
}

#[test]
fn a_few_too_early_are_held_until_their_turn() {
    let mut hub = hub();
    let turns = [0, 1, 2].map(|number| store(hub.ask(Duration::ZERO, device(number), 5, 0)).0);
    assert_eq!(turns, [0, 500, 1000].map(millis));
}

#[test]
fn those_beyond_get_one_place_after_the_other() {
    let mut hub = busy();
    let places: Vec<u128> = (0..5)
        .map(|number| come(hub.ask(Duration::ZERO, device(number), 5, 0)).as_millis())
        .collect();
    assert_eq!(places, [4100, 4612, 5125, 5637, 6150]);
    assert_eq!(hub.backlog(Duration::ZERO).as_millis(), 6662);
}

#[test]
fn who_comes_too_early_keeps_its_place() {
    let mut hub = busy();
    for number in 0..10 {
        come(hub.ask(Duration::ZERO, device(number), 10, 0));
    }
    for second in 0..5 {
        let now = Duration::from_secs(second);
        assert_eq!(come(hub.ask(now, device(9), 10, 0)), millis(13_325) - now);
    }
    assert_eq!(store(hub.ask(millis(13_325), device(9), 10, 0)).0, Duration::ZERO);
}

#[test]
fn who_was_served_learns_its_next_place_while_others_wait() {
    let mut hub = busy();
    for number in 0..10 {
        come(hub.ask(Duration::ZERO, device(number), 10, 0));
    }
    let (after, next) = store(hub.ask(millis(4100), device(0), 10, 10));
    assert_eq!((after, next), (Duration::ZERO, Some(millis(10_250))));
    // It is kept whatever others do.
    assert_eq!(come(hub.ask(millis(4100), device(50), 10, 10)), millis(11_275));
    assert_eq!(store(hub.ask(millis(14_350), device(0), 10, 10)).0, Duration::ZERO);
}

#[test]
fn more_records_than_were_told_are_paid_for_by_those_behind() {
    let mut hub = busy();
    come(hub.ask(Duration::ZERO, device(0), 1, 0));
    come(hub.ask(Duration::ZERO, device(1), 1, 0));
    assert_eq!(hub.backlog(Duration::ZERO), millis(4305));
    let (_, next) = store(hub.ask(millis(4100), device(0), 51, 0));
    assert_eq!(next, Some(millis(5205)));
}

#[test]
fn critical_records_pass_the_line_and_are_bounded_all_the_same() {
    let mut hub = busy();
    for number in 0..100 {
        come(hub.ask(Duration::ZERO, device(number), 10, 0));
    }
    assert_eq!(store(hub.ask(Duration::ZERO, critical(500), 1, 0)), (millis(4100), None));
    // Those of others are put off by as much, and no flood of them passes the rate.
    let mut turns = Vec::new();
    let mut refused = 0;
    for number in 501..600 {
        match hub.ask(Duration::ZERO, critical(number), 1, 0) {
            Told::Store { after, .. } => turns.push(after),
            Told::Come { .. } => refused += 1,
        }
    }
    assert!(turns.windows(2).all(|pair| pair[1] - pair[0] == millis(100)), "{turns:?}");
    assert!(refused > 60, "{refused}");
}

#[test]
fn time_that_nobody_uses_is_free_for_whoever_comes() {
    let mut hub = busy();
    for number in 0..100 {
        come(hub.ask(Duration::ZERO, device(number), 10, 0));
    }
    // None of them comes.
    come(hub.ask(millis(5000), device(500), 10, 0));
    assert_eq!(store(hub.ask(millis(5100), device(501), 10, 0)).0, Duration::ZERO);
}

#[test]
fn clients_without_names_get_their_turn_and_cannot_push_others_back_for_ever() {
    let mut hub = busy();
    for _ in 0..100_000 {
        come(hub.ask(Duration::ZERO, NAMELESS, 1, 0));
    }
    assert!(hub.backlog(Duration::ZERO) < Duration::from_secs(110));
    // One that keeps coming is served when the first place of them is due.
    let turn = (0..100).position(|tenth| {
        matches!(hub.ask(millis(tenth * 100), NAMELESS, 1, 0), Told::Store { .. })
    });
    assert_eq!(turn, Some(31));
}

#[test]
fn places_are_forgotten_when_nobody_comes_for_them() {
    let mut hub = busy();
    for number in 0..100 {
        come(hub.ask(Duration::ZERO, device(number), 10, 0));
    }
    let late = Duration::from_secs(1000);
    assert_eq!(store(hub.ask(late, device(5), 10, 0)), (Duration::ZERO, None));
    assert_eq!(hub.places.len(), 0);
}

#[test]
fn memory_is_bounded_whatever_the_number_of_senders() {
    let mut hub = busy();
    for number in 0..200_000 {
        come(hub.ask(Duration::ZERO, device(number), 1, 0));
    }
    assert_eq!(hub.places.len(), 65_536);
    // Those without a place are told to come when the last of the others is over.
    let wait = come(hub.ask(Duration::ZERO, device(150_000), 1, 0));
    assert_eq!(wait, hub.backlog(Duration::ZERO));
}
