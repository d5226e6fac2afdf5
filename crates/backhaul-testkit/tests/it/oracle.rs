//! The oracle has to see each way in which records go wrong.

use backhaul_testkit::{Difference, Ends, Failed, Item, Oracle};

fn oracle() -> Oracle {
    let mut oracle = Oracle::new();
    for (key, stream) in [("1", None), ("2", Some("a")), ("3", Some("b")), ("4", Some("a"))] {
        oracle.acknowledged(key, stream, format!("body {key}"));
    }
    oracle
}

fn items(keys: &[&str]) -> Vec<Item> {
    keys.iter().map(|key| Item::new(*key, format!("body {key}"))).collect()
}

/// What failed was `bad`.
fn ends(arrived: &[&str], failed: &[&str], waiting: &[&str]) -> Ends {
    let waiting = waiting.iter().map(|key| (*key).to_owned()).collect();
    let failed = items(failed).into_iter().map(|item| Failed::new(item, "HTTP 422: bad"));
    Ends { arrived: items(arrived), failed: failed.collect(), waiting }
}

/// What is wrong with these ends where all that failed had to.
fn found(ends: &Ends) -> Vec<Difference> {
    let failed = ends.failed.iter().map(|failed| (&*failed.item.key, "HTTP 422"));
    found_where(&failed.collect::<Vec<_>>(), ends)
}

fn found_where(failures: &[(&str, &str)], ends: &Ends) -> Vec<Difference> {
    let mut oracle = oracle();
    failures.iter().for_each(|(key, reason)| oracle.has_to_fail(*key, *reason));
    oracle.check(ends).map_or_else(|wrong| wrong.list().to_vec(), |()| Vec::new())
}

#[test]
fn all_is_well_when_each_is_somewhere_once_and_streams_are_in_order() {
    assert_eq!((oracle().len(), oracle().is_empty()), (4, false));
    for fine in [
        ends(&["1", "2", "3", "4"], &[], &[]),
        ends(&["3", "2", "4", "1"], &[], &[]),
        ends(&["2", "1"], &["4", "3"], &[]),
        ends(&["4"], &["2", "1", "3"], &[]),
        // The answer to 2 was lost: it waits although it has arrived.
        ends(&["2"], &[], &["1", "2", "3", "4"]),
    ] {
        assert_eq!(found(&fine), [], "{fine:?}");
    }
}

#[test]
fn what_is_nowhere_is_lost() {
    let wrong = found(&ends(&["2", "4"], &["1"], &[]));
    assert_eq!(wrong, [Difference::Lost { key: "3".into() }]);
}

#[test]
fn what_is_there_twice_or_on_both_sides_is_noticed() {
    let wrong = found(&ends(&["1", "2", "3", "4", "1", "1"], &["3"], &[]));
    let expected = [
        Difference::Repeated { key: "1".into(), times: 3 },
        Difference::ArrivedAndFailed { key: "3".into() },
        reason("3", Some("HTTP 422"), None),
    ];
    assert_eq!(wrong, expected);
}

fn reason(key: &str, expected: Option<&str>, found: Option<&str>) -> Difference {
    let [expected, found] = [expected, found].map(|text| text.map(str::to_owned));
    Difference::Reason { key: key.to_owned(), expected, found }
}

#[test]
fn what_fails_has_to_fail_and_for_its_reason() {
    let ends = ends(&["1", "2"], &["3"], &["4"]);
    let found = |failures: &[(&str, &str)]| found_where(failures, &ends);
    assert_eq!(found(&[("3", "422: bad")]), []);
    // What waits may yet fail.
    assert_eq!(found(&[("3", "bad"), ("4", "bad")]), []);
    let why = Some("HTTP 422: bad");
    assert_eq!(found(&[]), [reason("3", None, why)]);
    assert_eq!(found(&[("3", "HTTP 413")]), [reason("3", Some("HTTP 413"), why)]);
    assert_eq!(found(&[("3", "bad"), ("2", "bad")]), [reason("2", Some("bad"), None)]);
    let said = |difference: Difference| difference.to_string();
    assert_eq!(
        said(reason("3", Some("HTTP 413"), why)),
        r#"3 failed with "HTTP 422: bad", and had to fail with "HTTP 413""#
    );
    assert_eq!(said(reason("3", None, why)), r#"3 failed with "HTTP 422: bad", and had to arrive"#);
    assert_eq!(said(reason("2", Some("bad"), None)), r#"2 arrived, and had to fail with "bad""#);
}

#[test]
fn what_is_damaged_at_either_place_is_noticed() {
    let mut ends = ends(&["1", "2", "4"], &["3"], &[]);
    ends.arrived[1].body = b"body X".to_vec();
    ends.failed[0].item.body = b"bo".to_vec();
    let damaged =
        |key: &str, found, at| Difference::Damaged { key: key.to_owned(), expected: 6, found, at };
    assert_eq!(found(&ends), [damaged("2", 6, 5), damaged("3", 2, 2)]);
}

#[test]
fn order_within_a_stream_is_checked_by_first_arrival() {
    let wrong = found(&ends(&["4", "1", "2", "3"], &[], &[]));
    let expected =
        Difference::OutOfOrder { stream: "a".into(), key: "2".into(), after: "4".into() };
    assert_eq!(wrong, [expected]);
}

#[test]
fn what_nobody_acknowledged_is_noticed() {
    let wrong = found(&ends(&["1", "2", "3", "4", "5"], &[], &[]));
    assert_eq!(wrong, [Difference::Unknown { key: "5".into() }]);
}

#[test]
fn differences_are_told_in_words_up_to_ten() {
    let mut oracle = Oracle::new();
    for key in 0..12 {
        oracle.acknowledged(key.to_string(), None, "");
    }
    let text = oracle.check(&Ends::default()).unwrap_err().to_string();
    assert!(text.starts_with("12 things went wrong with 12 acknowledged records:\n- 0 is lost\n"));
    assert!(text.ends_with("\n- 9 is lost\n- and 2 more"), "{text}");
}
