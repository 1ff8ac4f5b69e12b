//! What `wakumix probe` prints, and when it has failed.

use super::*;

const HEAD_LINE: ProbeJson = ProbeJson { nodes: 2, loops: 4, timeout_ms: 5000 };

fn node(returned: u32, lost: u32, failed: u32) -> ProbedJson {
    ProbedJson {
        peer_id: "16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdAfjgbWM6o".to_owned(),
        returned,
        lost,
        failed,
        error: (failed > 0).then(|| "busy".to_owned()),
        latency_ms: (returned > 0).then_some(LatencyJson { min: 90, mean: 210, max: 400 }),
    }
}

fn reported(nodes: &[ProbedJson], json: bool) -> (Result<(), CommandError>, String) {
    let mut out = Vec::new();
    let mut report = Report { out: &mut out, json, probed: 0, returned: 0, left: 0 };
    report.begin(&HEAD_LINE).unwrap();
    for node in nodes {
        report.add(node).unwrap();
    }
    let done = report.finish(&HEAD_LINE);
    (done, String::from_utf8(out).unwrap())
}

#[test]
fn shows_loss_and_latency_of_each_node() {
    let (done, text) = reported(&[node(3, 1, 0), node(0, 0, 4)], false);
    assert!(done.is_ok());
    let expected = "\
2 nodes, 4 loops each, 5 s for a loop
NODE           BACK  LOSS    MIN   MEAN    MAX  NOT SENT
16U*AfjgbWM6o     3   25%     90    210    400
16U*AfjgbWM6o     0     -      -      -      -  4 (busy)
2 of 2 nodes done: 1 of 4 loops lost
";
    assert_eq!(text, expected);
}

#[test]
fn a_node_that_makes_no_sense_is_shown_without_harm() {
    let mut absurd = node(u32::MAX, u32::MAX, u32::MAX);
    absurd.peer_id = "\u{1b}[31mred\u{1b}[2J".to_owned();
    let (done, text) = reported(&[absurd, node(1, 0, 0)], false);
    assert!(done.is_ok() && text.contains("50%") && !text.contains('\u{1b}'), "{text:?}");
    assert!(reported(&[node(1, 0, 0), node(1, 0, 0), node(1, 0, 0)], false).0.is_err());
}

#[test]
fn prints_json_line_by_line() {
    let (_, text) = reported(&[node(4, 0, 0)], true);
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0], serde_json::json!({ "nodes": 2, "loops": 4, "timeoutMs": 5000 }));
    assert_eq!((&lines[1]["returned"], &lines[1]["latencyMs"]["mean"]), (&4.into(), &210.into()));
}

#[test]
fn a_run_without_loops_or_with_a_missing_end_has_failed() {
    let nothing = reported(&[node(0, 0, 4), node(0, 0, 4)], false).0.unwrap_err();
    assert!(nothing.to_string().contains("nothing could be probed"), "{nothing}");
    let early = reported(&[node(4, 0, 0)], false).0.unwrap_err();
    assert!(early.to_string().contains("1 nodes still to be probed"), "{early}");
    assert!(matches!((nothing, early), (CommandError::Runtime { .. }, CommandError::Runtime { .. })));
    let CommandError::Runtime { message, help: Some(_) } = parse::<ProbeJson>(Some(Ok("{".to_owned()))).unwrap_err()
    else {
        panic!("it says what to do")
    };
    assert!(message.contains("the answer broke off"), "{message}");
}
