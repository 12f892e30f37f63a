//! Tables of small experiments, as people and machines see them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::render::terminal::terminal;
use super::*;
use crate::corrupt::frost::Source;
use crate::corrupt::{self, Effect};
use crate::event::{Condition, Mode, Protocol};
use crate::experiment::RunSpec;
use crate::fs::ResultsDir;
use crate::id::RunId;
use crate::store::fake::{PROTOCOL, SUITE, condition, metrics, protocol, score_id, spec_with};
use crate::store::{CellRow, CellScore, CellState, ExperimentRows, MadeScore, RunFacts};

/// mIoU of the clean set and of the suite's first corruptions.
type Scores<'a> = &'a [f64];

fn cell(labels: &[(&str, &str)], spec: &RunSpec, scores: Scores<'_>) -> CellRow {
    let run =
        RunId::of(&serde_json::json!([spec.seed, crate::report::model::names::finetuned(spec)]));
    let corruptions = std::iter::once(None).chain(SUITE.map(Some));
    let scores = corruptions.enumerate().map(|(i, corruption)| CellScore {
        planned: crate::event::PlannedScore {
            score: score_id(&run, corruption),
            set: "shapes/val".into(),
            protocol: PROTOCOL.into(),
            protocol_parts: None,
            condition: condition(corruption),
        },
        made: scores.get(i).map(|&miou| MadeScore {
            metrics: metrics(miou),
            checkpoint_step: 3,
            checkpoint_sha256: "ad".into(),
            version: Some("0.1.0".into()),
            git: Some("abc".into()),
            device_name: Some("a CPU".into()),
        }),
    });
    CellRow {
        index: 0,
        labels: labels.iter().map(|(a, v)| ((*a).to_owned(), (*v).to_owned())).collect(),
        facts: Some(RunFacts {
            spec: spec.clone(),
            input_px: [56, 56],
            n_classes: 3,
            classes: vec![],
            tokens: None,
            params_total: Some(304_372_736),
            params_trained: Some(21_525),
        }),
        state: CellState::Done,
        trained_step: Some(3),
        scores: scores.collect(),
        run,
    }
}

fn markdown(table: &Table, columns: Columns) -> String {
    Format::Markdown.render(table, columns)
}

fn csv(table: &Table) -> String {
    Format::Csv.render(table, Columns::Usual)
}

fn experiment(axes: &[&str], cells: Vec<CellRow>) -> ExperimentRows {
    ExperimentRows {
        name: "grid".into(),
        axes: axes.iter().map(|axis| (*axis).to_owned()).collect(),
        suite: Some("test-3 v1".into()),
        suite_corruptions: SUITE.iter().map(|name| (*name).to_owned()).collect(),
        cells,
    }
}

fn seeds(tune: &Value, scores: &[Scores<'_>]) -> Vec<CellRow> {
    let name = format!("{} {}", tune["kind"].as_str().unwrap(), tune["rank"]);
    let cell = |(seed, scores): (usize, &Scores<'_>)| {
        let spec = spec_with(&json!({ "seed": seed, "tune": tune }));
        cell(&[("tune", &name), ("seed", &seed.to_string())], &spec, scores)
    };
    scores.iter().enumerate().map(cell).collect()
}

fn heads(table: &Table) -> Vec<&str> {
    table.columns.iter().map(|column| column.head.as_str()).collect()
}

fn column<'a>(table: &'a Table, head: &str) -> Vec<&'a str> {
    let i = table.columns.iter().position(|column| column.head == head).unwrap();
    table.rows.iter().map(|row| row[i].text.as_str()).collect()
}

/// Every state that a row can be in.
fn mixed() -> Table {
    let mut cells = seeds(
        &json!({ "kind": "lora", "rank": 4 }),
        &[&[0.75, 0.5, 0.25, 0.6], &[0.77, 0.5, 0.3, 0.6], &[0.7]],
    );
    cells.extend(seeds(&json!({ "kind": "frozen" }), &[&[0.5, 0.25, 0.5]]));
    let mut failed = seeds(&json!({ "kind": "full" }), &[&[]]);
    failed[0].state = CellState::Failed("the mask `a|b.png` is torn\nbacktrace".into());
    cells.extend(failed);
    let mut open = seeds(&json!({ "kind": "lora", "rank": 8 }), &[&[]]);
    open[0].state = CellState::Open;
    open[0].facts = None;
    cells.extend(open);
    Table::new(&experiment(&["tune", "seed"], cells))
}

#[test]
fn replicates_are_a_row_and_what_is_missing_says_why() {
    insta::assert_snapshot!(markdown(&mixed(), Columns::Usual), @"
    | finetuned components   | pre-training    | model       |  params | trained | registers | input px (tokens) |         mIoU clean | mIoU level 5 |         drop |   n | directory   |
    | :--------------------- | :-------------- | :---------- | ------: | ------: | --------: | ----------------: | -----------------: | -----------: | -----------: | --: | :---------- |
    | LoRA r=4 + 1x1 decoder | random (DINOv2) | ViT-tiny/14 | 304.4 M |  21.5 k |         4 |       56x56 (4x4) | 74.00 ± 3.61 (n=3) | 45.83 ± 1.18 | 30.17 ± 0.24 | 2/3 | 5fc87c69 +2 |
    | 1x1 decoder            | random (DINOv2) | ViT-tiny/14 | 304.4 M |  21.5 k |         4 |       56x56 (4x4) |              50.00 |  37.50 (2/3) |            … | 0/1 | b1174d2e    |
    | full + 1x1 decoder     | random (DINOv2) | ViT-tiny/14 | 304.4 M |  21.5 k |         4 |       56x56 (4x4) |             failed |       failed |       failed | 0/1 | c7094071    |
    | tune=lora 8            | –               | –           |       – |       – |         – |                 – |                  … |            … |            … | 0/1 | aa0f9de9    |

    **grid**: mIoU in % on shapes/val: the mean over the 2/3 classes present in the ground truth, from one confusion matrix over the whole set. Level 5: mean over the 3 corruptions of test-3 v1 (over a part of them only where marked); drop: clean minus level 5, in points. Protocol: whole input, labels at native size; checkpoint: the last. Mean ± sample standard deviation over seeds; n: seeds done, of all. Scored by sweep 0.1.0 (abc) on a CPU in f32.
    ");
}

#[test]
fn html_has_the_reference_projects_layout() {
    insta::assert_snapshot!(Format::Html.render(&mixed(), Columns::Usual), @r#"
    <table style="margin: auto">
      <thead>
        <tr>
          <th>finetuned components</th>
          <th>pre-training</th>
          <th>model</th>
          <th># of<br />params</th>
          <th>with<br />registers</th>
          <th>shapes<br />Validation mIoU</th>
          <th>shapes-C<br />level 5<br />Validation mIoU</th>
          <th>n</th>
          <th>Directory</th>
        </tr>
      </thead>
      <tbody>
        <tr>
          <td>LoRA r=4 + 1x1 decoder</td>
          <td>random (DINOv2)</td>
          <td>ViT-tiny/14</td>
          <td align="right">304.4 M</td>
          <td align="center">✅</td>
          <td align="right">74.00 ± 3.61% (n=3)</td>
          <td align="right">45.83 ± 1.18%</td>
          <td align="right">2/3</td>
          <td>5fc87c69 +2</td>
        </tr>
        <tr>
          <td>1x1 decoder</td>
          <td>random (DINOv2)</td>
          <td>ViT-tiny/14</td>
          <td align="right">304.4 M</td>
          <td align="center">✅</td>
          <td align="right">50.00%</td>
          <td align="right">37.50% (2/3)</td>
          <td align="right">0/1</td>
          <td>b1174d2e</td>
        </tr>
        <tr>
          <td>full + 1x1 decoder</td>
          <td>random (DINOv2)</td>
          <td>ViT-tiny/14</td>
          <td align="right">304.4 M</td>
          <td align="center">✅</td>
          <td align="right">failed</td>
          <td align="right">failed</td>
          <td align="right">0/1</td>
          <td>c7094071</td>
        </tr>
        <tr>
          <td>tune=lora 8</td>
          <td>–</td>
          <td>–</td>
          <td align="right">–</td>
          <td align="center">–</td>
          <td align="right">…</td>
          <td align="right">…</td>
          <td align="right">0/1</td>
          <td>aa0f9de9</td>
        </tr>
      </tbody>
    </table>

    <p><b>grid</b>: mIoU in % on shapes/val: the mean over the 2/3 classes present in the ground truth, from one confusion matrix over the whole set. Level 5: mean over the 3 corruptions of test-3 v1 (over a part of them only where marked); drop: clean minus level 5, in points. Protocol: whole input, labels at native size; checkpoint: the last. Mean ± sample standard deviation over seeds; n: seeds done, of all. Scored by sweep 0.1.0 (abc) on a CPU in f32.</p>
    "#);
}

#[test]
fn the_terminal_shows_the_same_and_why_runs_failed() {
    insta::assert_snapshot!(terminal(&mixed(), Columns::Usual, Some(100)).replace('\u{a0}', " "), @"
    grid
    ────────────────────────────────────────────────────────────────────────────────────────────────────
    finetuned  pre-     model        params trained    reg- input px    mIoU    mIoU   drop   n direc-
    components training                              isters (tokens)   clean level 5            tory
    ────────────────────────────────────────────────────────────────────────────────────────────────────
    LoRA r=4 + random   ViT-tiny/14 304.4 M  21.5 k       4    56x56   74.00   45.83  30.17 2/3 5fc87c69
    1x1        (DINOv2)                                        (4x4)  ± 3.61  ± 1.18 ± 0.24     +2
    decoder                                                            (n=3)
    1x1        random   ViT-tiny/14 304.4 M  21.5 k       4    56x56   50.00   37.50      … 0/1 b1174d2e
    decoder    (DINOv2)                                        (4x4)           (2/3)
    full + 1x1 random   ViT-tiny/14 304.4 M  21.5 k       4    56x56  failed  failed failed 0/1 c7094071
    decoder    (DINOv2)                                        (4x4)
    tune=lora  –        –                 –       –       –        –       …       …      … 0/1 aa0f9de9
    8
    ────────────────────────────────────────────────────────────────────────────────────────────────────
    mIoU in % on shapes/val: the mean over the 2/3 classes present in the ground truth, from one confusion matrix over the whole set.
    Level 5: mean over the 3 corruptions of test-3 v1 (over a part of them only where marked); drop: clean minus level 5, in points.
    Protocol: whole input, labels at native size; checkpoint: the last.
    Mean ± sample standard deviation over seeds; n: seeds done, of all.
    Scored by sweep 0.1.0 (abc) on a CPU in f32.
    c7094071 failed: the mask `a|b.png` is torn
    ");
}

#[test]
fn csv_has_raw_numbers_and_parts_of_a_suite_in_a_column_of_their_own() {
    insta::assert_snapshot!(csv(&mixed()).replace("\r\n", "\n"), @"
    finetuned,pretraining,model,params,params_trained,registers,input_px,tokens,miou_clean,miou_clean_std,miou_clean_n,miou_level5,miou_level5_std,miou_level5_n,miou_level5_partial,miou_level5_parts,drop_level5,drop_level5_std,drop_level5_n,n,n_total,reference_metric_clean,reference_metric_clean_std,reference_metric_clean_n,reference_metric_level5,reference_metric_level5_std,reference_metric_level5_n,reference_metric_level5_partial,reference_metric_level5_parts,runs
    LoRA r=4 + 1x1 decoder,random (DINOv2),ViT-tiny/14,304372736,21525,4,56x56,4x4,0.7399999999999999,0.036055512754639925,3,0.4583333333333333,0.01178511301977575,2,,,0.3016666666666667,0.002357022603955213,2,2,3,0.9499999999999998,0.00000000000000013597399555105182,3,0.9499999999999998,0,2,,,5fc87c6990419b79 7f3a0fd09d839880 b9fbd376e0bc92f8
    1x1 decoder,random (DINOv2),ViT-tiny/14,304372736,21525,4,56x56,4x4,0.5,,1,,,0,0.375,2/3,,,0,0,1,0.95,,1,,,0,0.95,2/3,b1174d2ee5682f7c
    full + 1x1 decoder,random (DINOv2),ViT-tiny/14,304372736,21525,4,56x56,4x4,,,0,,,0,,,,,0,0,1,,,0,,,0,,,c70940710a63acd9
    tune=lora 8,,,,,,,,,,0,,,0,,,,,0,0,1,,,0,,,0,,,aa0f9de9fa57afbd
    ");
}

#[test]
fn json_has_every_replicate() {
    let table: Value =
        serde_json::from_str(&Format::Json.render(&mixed(), Columns::Usual)).unwrap();
    assert_eq!(table["version"], 1);
    let rows = table["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    let clean = &rows[0]["miou_clean"];
    assert_eq!(clean["values"][1]["value"], 0.77);
    assert_eq!(clean["values"][1]["seed"], 1);
    assert_eq!(rows[1]["miou_level5"]["partial"], json!({ "mean": 0.375, "done": 2, "total": 3 }));
    assert_eq!(rows[1]["miou_level5"]["mean"], Value::Null);
    assert_eq!(rows[2]["miou_clean"]["missing"], "failed");
    assert_eq!(rows[0]["n"], json!({ "done": 2, "total": 3 }));
    assert_eq!(rows[0]["input_px"], json!({ "px": [56, 56], "tokens": [4, 4] }));
}

#[test]
fn the_reference_metric_is_shown_when_asked_for_only() {
    let table = mixed();
    assert!(!markdown(&table, Columns::Usual).contains("ref. metric"));
    assert!(markdown(&table, Columns::All).contains("ref. metric clean"));
    assert_eq!(column(&table, "ref. metric L5")[0], "95.00 ± 0.00");
}

#[test]
fn axes_that_no_column_shows_lead() {
    let cell = |lr: &str, rank: u32| {
        let mut spec = spec_with(&json!({ "tune": { "kind": "lora", "rank": rank } }));
        spec.train.lr = lr.parse().unwrap();
        cell(&[("lora_rank", &rank.to_string()), ("train.lr", lr)], &spec, &[0.5, 0.5, 0.5, 0.5])
    };
    let cells = vec![cell("0.1", 4), cell("0.2", 4), cell("0.1", 8), cell("0.2", 8)];
    let table = Table::new(&experiment(&["lora_rank", "train.lr"], cells));
    assert_eq!(heads(&table)[..2], ["train.lr", "finetuned components"]);
    assert_eq!(column(&table, "train.lr"), ["0.1", "0.2", "0.1", "0.2"]);
    assert_eq!(table.columns[0].key, "train.lr");
    // Zipped with the rank, the learning rate tells nothing more.
    let cells = vec![cell("0.1", 4), cell("0.2", 8)];
    let table = Table::new(&experiment(&["lora_rank", "train.lr"], cells));
    assert_eq!(heads(&table)[0], "finetuned components");
}

#[test]
fn protocols_and_sets_are_never_mixed() {
    let mut a = cell(&[("size", "tiny")], &spec_with(&json!({})), &[0.5, 0.5, 0.5, 0.5]);
    let mut other = a.scores.clone();
    for score in &mut other {
        score.planned.protocol = "slide 512".into();
    }
    a.scores.extend(other);
    let table = Table::new(&experiment(&["size"], vec![a.clone()]));
    assert_eq!(column(&table, "protocol"), ["whole input, labels at native size", "slide 512"]);
    let mut other = a.scores.split_off(4);
    for score in &mut other {
        score.planned.protocol = PROTOCOL.into();
        score.planned.set = "voc/val".into();
    }
    a.scores.extend(other);
    let table = Table::new(&experiment(&["size"], vec![a]));
    assert_eq!(column(&table, "dataset"), ["shapes/val", "voc/val"]);
    assert!(!heads(&table).contains(&"protocol"));
}

#[test]
fn each_set_is_a_block_of_rows_where_runs_have_several() {
    let on_two_sets = |size: &str, spec: &RunSpec| {
        let mut cell = cell(&[("size", size)], spec, &[0.5]);
        cell.scores.truncate(1);
        let mut other = cell.scores[0].clone();
        other.planned.set = "voc/val".into();
        cell.scores.push(other);
        cell
    };
    let mut small = spec_with(&json!({}));
    small.model.size = crate::model::Size::named("small").unwrap();
    let cells = vec![on_two_sets("tiny", &spec_with(&json!({}))), on_two_sets("small", &small)];
    let table = Table::new(&experiment(&["size"], cells));
    assert_eq!(column(&table, "dataset"), ["shapes/val", "shapes/val", "voc/val", "voc/val"]);
    assert_eq!(column(&table, "model"), ["ViT-tiny/14", "ViT-S/14", "ViT-tiny/14", "ViT-S/14"]);
}

#[test]
fn inputs_of_other_sizes_are_one_protocol() {
    let v2 = cell(&[("dino_type", "dinov2")], &spec_with(&json!({})), &[0.5]);
    let mut spec = spec_with(&json!({}));
    spec.model.dino_type = crate::model::DinoType::Dinov3;
    let mut v3 = cell(&[("dino_type", "dinov3")], &spec, &[0.5]);
    v3.facts.as_mut().unwrap().input_px = [64, 64];
    for score in &mut v3.scores {
        score.planned.protocol = PROTOCOL.replace("56", "64");
    }
    let table = Table::new(&experiment(&["dino_type"], vec![v2, v3]));
    assert!(!heads(&table).contains(&"protocol"));
    assert_eq!(column(&table, "input px (tokens)"), ["56x56 (4x4)", "64x64 (4x4)"]);
    assert_eq!(column(&table, "model"), ["ViT-tiny/14", "ViT-tiny/16"]);
}

/// The scores of `cell` as plans have them now.
fn with_parts(cell: &mut CellRow, protocol: &Protocol) {
    for score in &mut cell.scores {
        score.planned.protocol = protocol.to_string();
        score.planned.protocol_parts = Some(protocol.clone());
    }
}

#[test]
fn inputs_of_other_sizes_are_one_typed_protocol_even_before_anything_has_started() {
    let mut cells = Vec::new();
    for (dino_type, px) in [("dinov2", 56), ("dinov3", 64)] {
        let mut cell = cell(&[("dino_type", dino_type)], &spec_with(&json!({})), &[]);
        cell.run = RunId::of(&json!(dino_type));
        cell.facts = None;
        with_parts(&mut cell, &Protocol { input_px: [px; 2], ..protocol() });
        cells.push(cell);
    }
    let table = Table::new(&experiment(&["dino_type"], cells));
    assert!(!heads(&table).contains(&"protocol"));
    assert!(
        table.caption[2]
            .starts_with("Protocol: whole input, label size, last, ref-metric batch 4;"),
        "{:?}",
        table.caption
    );
}

#[test]
fn typed_protocols_are_never_mixed() {
    let mut a = cell(&[("size", "tiny")], &spec_with(&json!({})), &[0.5, 0.5, 0.5, 0.5]);
    let mut b = a.clone();
    with_parts(&mut a, &protocol());
    // The size of the input stands in it by chance.
    let mode = Mode::Slide { crop: 56, stride: 56, short_side: Some(56) };
    with_parts(&mut b, &Protocol { mode, ..protocol() });
    a.scores.extend(b.scores);
    let table = Table::new(&experiment(&["size"], vec![a]));
    let rest = "label size, last, ref-metric batch 4";
    assert_eq!(
        column(&table, "protocol"),
        [format!("whole input, {rest}"), format!("slide 56/56 at short side 56, {rest}")]
    );
}

#[test]
fn levels_have_a_column_each_and_the_drop_is_to_the_worst() {
    let mut row = cell(&[("size", "tiny")], &spec_with(&json!({})), &[0.75, 0.5, 0.5, 0.5]);
    let mut mild = row.scores[1..].to_vec();
    for score in &mut mild {
        let Condition::Corrupted { severity, .. } = &mut score.planned.condition else {
            panic!("{score:?}")
        };
        *severity = 2;
        score.made.as_mut().unwrap().metrics.miou = Some(0.625);
    }
    row.scores.extend(mild);
    let table = Table::new(&experiment(&["size"], vec![row]));
    assert_eq!(column(&table, "mIoU level 2"), ["62.50"]);
    assert_eq!(column(&table, "mIoU level 5"), ["50.00"]);
    assert_eq!(column(&table, "drop to level 5"), ["25.00"]);
}

#[test]
fn a_score_of_nothing_is_a_dash_and_no_zero() {
    let mut row = cell(&[("size", "tiny")], &spec_with(&json!({})), &[0.75, 0.5, 0.5, 0.5]);
    for score in &mut row.scores {
        let metrics = &mut score.made.as_mut().unwrap().metrics;
        (metrics.miou, metrics.reference_metric) = (None, None);
    }
    let table = Table::new(&experiment(&["size"], vec![row]));
    assert_eq!(column(&table, "mIoU clean"), ["–"]);
    assert_eq!(column(&table, "mIoU level 5"), ["–"]);
    assert_eq!(column(&table, "drop"), ["–"]);
}

/// One cell that is scored on all of a suite, in steps of 0.01 from 0.5 down.
fn suite_table(name: &str, source: Source) -> Table {
    let suite = corrupt::suite::suite(name).unwrap();
    let names: Vec<_> = suite.effects(source).into_iter().map(Effect::name).collect();
    let mut row = cell(&[("size", "tiny")], &spec_with(&json!({})), &[0.75, 0.5]);
    let corrupted = row.scores.remove(1);
    row.scores.truncate(1);
    for (i, name) in names.iter().enumerate() {
        let mut score = corrupted.clone();
        score.planned.condition = condition(Some(name));
        score.made.as_mut().unwrap().metrics.miou = Some(0.5 - 0.01 * i as f64);
        row.scores.push(score);
    }
    let mut experiment = experiment(&["size"], vec![row]);
    experiment.suite = Some(suite.label());
    experiment.suite_corruptions = names;
    Table::new(&experiment)
}

#[test]
fn the_mean_over_the_geometry_free_is_beside_the_mean_over_all() {
    let table = suite_table("imagenet-c-15", Source::Originals);
    assert_eq!(column(&table, "mIoU level 5 (15)"), ["43.00"]);
    // Without places 4, 6 and 12.
    assert_eq!(column(&table, "mIoU level 5 (12)"), ["43.08"]);
    assert_eq!(column(&table, "drop"), ["32.00"]);
    insta::assert_snapshot!(table.caption[1], @"Level 5 (15): mean over the 15 corruptions of imagenet-c-15 v1 (over a part of them only where marked); (12): the 15 without glass_blur, zoom_blur, elastic_transform, which move pixels while labels stay; drop: clean minus level 5 (15), in points.");
    let table = suite_table("imagenet-c-19", Source::Originals);
    assert_eq!(column(&table, "mIoU level 5 (19)"), ["41.00"]);
    assert_eq!(column(&table, "mIoU level 5 (15)"), ["43.00"]);
    insta::assert_snapshot!(table.caption[1], @"Level 5 (19): mean over the 19 corruptions of imagenet-c-19 v1 (over a part of them only where marked); (15): over those of ImageNet-C; (12): the 15 without glass_blur, zoom_blur, elastic_transform, which move pixels while labels stay; drop: clean minus level 5 (19), in points.");
    assert!(csv(&table).contains("miou_level5,"));
    assert!(csv(&table).contains("miou_level5_of15,"));
}

#[test]
fn procedural_frost_is_left_out_and_said_to_be() {
    let table = suite_table("imagenet-c-15", Source::Procedural);
    // Without place 8.
    assert_eq!(column(&table, "mIoU level 5 (14+1)"), ["43.07"]);
    assert_eq!(column(&table, "mIoU level 5 (11+1)"), ["43.18"]);
    insta::assert_snapshot!(table.caption[1], @"Level 5 (14+1): mean over the 15 corruptions of imagenet-c-15 v1 without frost*, which is procedural ice (over a part of them only where marked); (11+1): the 15 without glass_blur, zoom_blur, elastic_transform, which move pixels while labels stay; drop: clean minus level 5 (14+1), in points.");
}

#[test]
fn draws_of_the_reference_have_columns_of_their_own() {
    let table = suite_table("reference_oneof", Source::Originals);
    assert!(heads(&table).iter().all(|head| !head.starts_with("mIoU level")));
    assert_eq!(column(&table, "one-of level 5"), ["45.50"]);
    assert_eq!(column(&table, "± draws"), ["3.03"]);
    insta::assert_snapshot!(table.caption[1], @"One-of level 5: the reference project's pipeline, one random operation an image: mean over the 10 draws of reference_oneof v1 (over a part of them only where marked), no ImageNet-C; ± draws: sample standard deviation over them; drop: clean minus level 5, in points.");
    assert!(!csv(&table).contains(",miou_level5"));
}

#[test]
fn other_checkpoints_and_other_classes_are_marked() {
    let mut best = cell(&[("size", "tiny")], &spec_with(&json!({})), &[0.5, 0.5, 0.5, 0.5]);
    best.trained_step = Some(9);
    let mut spec = spec_with(&json!({}));
    spec.model.size = crate::model::Size::named("small").unwrap();
    let mut last = cell(&[("size", "small")], &spec, &[0.5]);
    last.scores[0].made.as_mut().unwrap().metrics.classes_present = 3;
    let table = Table::new(&experiment(&["size"], vec![best, last]));
    assert_eq!(column(&table, "checkpoint"), ["step 3", "last"]);
    assert_eq!(column(&table, "classes"), ["2/3", "3/3"]);
}

#[test]
fn markup_in_names_is_escaped() {
    let mut spec = spec_with(&json!({}));
    let a = cell(&[("data.root", "a|b")], &spec, &[0.5]);
    spec.train.flip = 0.25;
    let b = cell(&[("data.root", "*c*\nd")], &spec, &[0.5]);
    let table = Table::new(&experiment(&["data.root"], vec![a, b]));
    let text = markdown(&table, Columns::Usual);
    assert!(text.contains("| a\\|b "), "{text}");
    assert!(text.contains("| \\*c\\* d "), "{text}");
    let bars: BTreeSet<_> =
        text.lines().take(4).map(|line| line.replace("\\|", "").matches('|').count()).collect();
    assert_eq!(bars.len(), 1);
    assert!(csv(&table).contains("\"*c*\nd\","));
}

#[test]
fn files_are_written_once_and_the_same_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let results = ResultsDir::new(folder.path());
    let paths = write_files(&results, &mixed()).unwrap();
    let written = |path: &PathBuf| fs_err::metadata(path).unwrap().modified().unwrap();
    let before = paths.iter().map(written).collect::<Vec<_>>();
    let again = write_files(&results, &mixed()).unwrap();
    assert_eq!(again.iter().map(written).collect::<Vec<_>>(), before);
    assert_eq!(fs_err::read_to_string(&paths[0]).unwrap(), markdown(&mixed(), Columns::Usual));
    assert!(paths[1].ends_with("grid.csv"));
}

#[test]
fn files_that_show_none_of_the_runs_are_those_of_another_experiment() {
    let folder = tempfile::tempdir().unwrap();
    let results = ResultsDir::new(folder.path());
    let rows = experiment(&["seed"], seeds(&json!({ "kind": "frozen" }), &[&[0.5], &[0.6]]));
    let runs: Vec<_> = rows.cells.iter().map(|cell| &cell.run).collect();
    let other = RunId::of(&json!("other"));
    let others = |runs: &[&RunId]| files_of_others(&results, "grid", runs).unwrap();
    assert_eq!(others(&[&other]), Vec::<PathBuf>::new(), "there is no table yet");
    let paths = write_files(&results, &Table::new(&rows)).unwrap();
    assert_eq!(others(&[&other]), paths);
    // The second is in the row of the first, by which markdown alone would not know it.
    assert_eq!(others(&[&other, runs[1]]), Vec::<PathBuf>::new());
}
