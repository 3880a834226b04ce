//! `rstun bench`: figures for machines.

use serde_json::Value;

use crate::harness::Site;

#[test]
fn json_with_results() {
    let site = Site::without_keys();
    let ended = site.run(
        site.command("rstun")
            .args(["bench", "--seconds", "1", "--json"]),
    );
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let json: Value = serde_json::from_str(&ended.stdout)
        .unwrap_or_else(|error| panic!("{error} in {}", ended.stdout));
    let results = json["results"].as_array().expect("an array of results");
    assert!(!results.is_empty());
    for result in results {
        assert!(result.is_object(), "{result}");
        assert!(positive_numbers(result) > 0, "nothing measured: {result}");
    }
}

#[test]
fn table_names_its_units() {
    let site = Site::without_keys();
    let mut bench = site.command("rstun");
    bench.args(["bench", "--seconds", "1", "--streams", "2"]);
    let ended = site.run(&mut bench);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    for unit in ["Gbit/s", "p50", "p99"] {
        assert!(ended.stdout.contains(unit), "no {unit}: {}", ended.stdout);
    }
    // The progress bar is for terminals.
    assert!(!ended.stderr.contains('\r'), "{:?}", ended.stderr);
}

/// How many numbers above zero there are anywhere in a value.
fn positive_numbers(value: &Value) -> usize {
    match value {
        Value::Number(number) => usize::from(number.as_f64().is_some_and(|n| n > 0.0)),
        Value::Array(values) => values.iter().map(positive_numbers).sum(),
        Value::Object(values) => values.values().map(positive_numbers).sum(),
        _ => 0,
    }
}
