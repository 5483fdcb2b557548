//! Tables and messages as terminals show them.

use crate::kit::{check_in_columns, kit_where};

const EVENT: &str = r#"{"Records":[
    {"eventID":"shardId-000000000003:49590338271490256608559692538361571095921575989136588898",
     "kinesis":{"sequenceNumber":"49590338271490256608559692538361571095921575989136588898","partitionKey":"customer-with-a-long-name",
        "data":"eyJjZW50cyI6MTI1MCwibm90ZSI6ImFuIG9yZGVyIG9mIG9uZSB0ZWFwb3QgYW5kIG5vIGN1cHMifQ==","approximateArrivalTimestamp":1545084650.987}},
    {"kinesis":{"sequenceNumber":"5","partitionKey":"k","data":"!"}}
]}"#;

#[test]
fn a_table_takes_the_width_of_the_terminal() {
    check_in_columns(
        "80",
        "inspect",
        EVENT,
        1,
        "\
POSITION
  KEY         ARRIVAL (UTC)            SIZE  DATA
shardId-000000000003/49590338271490256608559692538361571095921575989136588898:0
  customer-…  2018-12-17 22:10:50.987    58  {\"cents\":1250,\"note\":\"an order of …
5
  k           -                           -  INVALID: data is not base64:
                                             illegal byte at 0
",
    );
    check_in_columns(
        "200",
        "inspect",
        EVENT,
        1,
        "\
POSITION                                                                         KEY                        HASH KEY  ARRIVAL (UTC)            SIZE  DATA
shardId-000000000003/49590338271490256608559692538361571095921575989136588898:0  customer-with-a-long-name  -         2018-12-17 22:10:50.987    58  {\"cents\":1250,\"note\":\"an order of one teapot and n…
5                                                                                k                          -         -                           -  INVALID: data is not base64: illegal byte at 0
",
    );
}

#[test]
fn a_width_that_no_terminal_has_is_taken_for_the_widest() {
    for columns in ["65535", "4294967296", "18446744073709551615"] {
        let run = kit_where(&[("COLUMNS", columns)], ["inspect"], EVENT);
        assert_eq!((run.exit_code, run.stdout.lines().count()), (Some(1), 3), "{columns}: {}", run.stderr);
    }
}

#[test]
fn colours_mark_what_is_wrong_and_are_off_where_nobody_wants_them() {
    let run = |variables: &[(&str, &str)]| {
        let run = kit_where(variables, ["inspect"], EVENT);
        let invalid = run.stdout.lines().find(|line| line.contains("INVALID")).expect("a row").to_owned();
        let error = kit_where(variables, ["inspect", "missing.json"], "").stderr;
        (invalid.contains('\u{1b}'), error.contains('\u{1b}'))
    };
    assert_eq!(run(&[]), (false, false));
    assert_eq!(run(&[("CLICOLOR_FORCE", "1")]), (true, true));
    assert_eq!(run(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]), (false, false));
}

#[test]
fn a_program_without_dashes_gets_advice() {
    let run = kit_where(&[], ["replay", "--stream", "orders", "--from", "10m", "target/debug/function"], "");
    assert_eq!(run.exit_code, Some(2));
    let tip = "tip: a program and its arguments go after --: -- target/debug/function …";
    assert!(run.stderr.contains(tip), "{}", run.stderr);
    let run = kit_where(&[], ["simulate", "orders.json", "--", "target/debug/function"], "");
    assert!(
        run.stderr.contains("tip: a scenario is named by an option: --scenario orders.json"),
        "{}",
        run.stderr
    );
    let run = kit_where(&[], ["inspect", "a", "b"], "");
    assert!(!run.stderr.contains("program"), "{}", run.stderr);
}

#[test]
fn a_program_that_was_taken_for_an_event_is_explained() {
    let run = kit_where(&[], "invoke target/debug/function event.json".split(' '), "");
    assert_eq!(run.exit_code, Some(2));
    let tip = "tip: a program that is the function goes after --: -- target/debug/function";
    assert!(run.stderr.contains(tip), "{}", run.stderr);
}
