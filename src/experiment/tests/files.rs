//! Files that older programs wrote.

use super::*;
use crate::experiment::schedule::Terms;

/// An order with these fields in the place of the terms.
fn order(terms: &str) -> Result<Order, serde_json::Error> {
    let json = format!(
        r#"{{"version": 1, "attempt": 2, "device": "cpu", "threads": 4, {terms}
        "facts": {{"data_root": "/data/VOC2012", "n_classes": 21, "train_fingerprint": "t",
        "sets": [], "weights": null, "input_px": [448, 448]}}, "scores": []}}"#
    );
    serde_json::from_str(&json)
}

#[test]
fn orders_of_any_age_are_read() {
    let terms = |terms: &str| order(terms).unwrap().terms;
    let before_the_cache = r#""checkpoint_every_s": 7,"#;
    let expect = Terms { checkpoint_every_s: 7, ..Terms::default() };
    assert_eq!(terms(before_the_cache), expect);
    let before_terms = r#""checkpoint_every_s": 7, "cache": {"memory_mb": 100, "disk_mb": 2000},"#;
    let expect = Terms { cache_mb: 100, cache_disk_mb: 2000, ..expect };
    assert_eq!(terms(before_terms), expect);
    let of_now = r#""terms": {"checkpoint_every_s": 7, "cache_mb": 100, "cache_disk_mb": 2000},"#;
    assert_eq!(terms(of_now), expect);
    let before_a_term = r#""terms": {"checkpoint_every_s": 7},"#;
    assert_eq!(terms(before_a_term), Terms { checkpoint_every_s: 7, ..Terms::default() });
}

#[test]
fn an_order_survives_being_written() {
    let order = order(r#""terms": {"checkpoint_every_s": 7, "cache_mb": 1},"#).unwrap();
    let json = serde_json::to_string(&order).unwrap();
    assert_eq!(serde_json::from_str::<Order>(&json).unwrap(), order);
}

#[test]
fn an_order_with_unknown_fields_is_refused() {
    let refused = |terms: &str| order(terms).unwrap_err().to_string();
    let message = refused(r#""terms": {"cache_gb": 7},"#);
    assert!(message.contains("unknown field `cache_gb`"), "{message}");
    let message = refused(r#""terms": {}, "cache": {},"#);
    assert!(message.contains("unknown field `cache`"), "{message}");
}
